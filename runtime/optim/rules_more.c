/* SPDX-License-Identifier: Apache-2.0 */
/* More rules as programs: RMSprop, Adagrad, Adadelta, Adamax, NAdam, RAdam. */
#include "optim/rules.h"

/* RMSprop
 * ------------------------------------------------------------------------------------------------------------------ */

static rl_status rmsprop_check(const char *function, const rule_options *o) {
    if (rule_check_common(function, o))
        return rl_error_status();
    if (!(o->alpha >= 0.0))
        return rl_fail(RL_INVALID_ARGUMENT, "%s: alpha must be 0 or more, got %g", function, o->alpha);
    return RL_OK;
}
static int rmsprop_n_states(const rule_options *o) {
    return 1 + (o->momentum > 0.0) + o->centered;
}
static int rmsprop_variant(const rule_options *o, int64_t step) {
    (void)step;
    return o->momentum > 0.0;
}

/* g += wd p;  v = alpha v + (1 - alpha) g g;  centered: a = a + (1 - alpha) (g - a), s = sqrt(v - a a), else
 * s = sqrt(v);  d = g / (s + eps);  momentum: buf = momentum buf + d, d = buf;  p = p - lr d */
static const rl_program *rmsprop_program(const rule_options *o, int64_t step, rl_dtype dtype, rl_dtype grad_dtype) {
    rl_builder builder, *b = &builder;
    rl_dtype c = compute_dtype(dtype);
    rl_pw p, g, v, buf = 0, mean = 0, root, decay, alpha, weight, eps, momentum, lr;
    (void)step;
    rl_builder_init(b);
    p = input(b, dtype, c);
    g = gradient(b, o, grad_dtype, c);
    v = input(b, dtype, c);
    if (o->centered)
        mean = input(b, dtype, c);
    if (o->momentum > 0.0)
        buf = input(b, dtype, c);
    decay = rl_build_scalar(b, c);
    alpha = rl_build_scalar(b, c);
    weight = rl_build_scalar(b, c);
    eps = rl_build_scalar(b, c);
    momentum = rl_build_scalar(b, c);
    lr = rl_build_scalar(b, c);
    if (o->weight_decay != 0.0)
        g = FMA(decay, p, g);
    v = mean_square(b, v, g, alpha, weight);
    if (o->centered)
        mean = toward(b, mean, g, weight);
    root = OP2(ADD, OP1(SQRT, o->centered ? OP2(SUB, v, OP2(MUL, mean, mean)) : v), eps);
    if (o->momentum > 0.0) {
        buf = OP2(ADD, OP2(MUL, momentum, buf), OP2(DIV, g, root));
        p = FMA(OP1(NEG, lr), buf, p);
    } else {
        p = OP2(SUB, p, OP2(DIV, OP2(MUL, lr, g), root));
    }
    rl_build_output(b, p, dtype);
    rl_build_output(b, v, dtype);
    if (o->centered)
        rl_build_output(b, mean, dtype);
    if (o->momentum > 0.0)
        rl_build_output(b, buf, dtype);
    return rl_builder_finish(b);
}
static void rmsprop_scalars(const rule_options *o, const rule_step *step, rl_number *out) {
    (void)step;
    out[0].f = o->weight_decay;
    out[1].f = o->alpha;
    out[2].f = 1.0 - o->alpha;
    out[3].f = o->eps;
    out[4].f = o->momentum;
    out[5].f = o->lr;
}
#define RMSPROP(...)                                                                                                   \
    {                                                                                                                  \
        .name = "RMSprop", .has_momentum = true, .check = rmsprop_check, .n_states = rmsprop_n_states,                 \
        .state_names = {"square_avg", __VA_ARGS__}, .program = rmsprop_program, .variant = rmsprop_variant,            \
        .scalars = rmsprop_scalars                                                                                     \
    }
const rule rule_rmsprop = RMSPROP("momentum_buffer");
const rule rule_rmsprop_centered = RMSPROP("grad_avg", "momentum_buffer");

/* Adagrad
 * ------------------------------------------------------------------------------------------------------------------ */

static rl_status adagrad_check(const char *function, const rule_options *o) {
    if (rule_check_common(function, o))
        return rl_error_status();
    if (!(o->lr_decay >= 0.0))
        return rl_fail(RL_INVALID_ARGUMENT, "%s: lr_decay must be 0 or more, got %g", function, o->lr_decay);
    if (!(o->initial >= 0.0))
        return rl_fail(RL_INVALID_ARGUMENT, "%s: initial_accumulator_value must be 0 or more, got %g", function,
                       o->initial);
    return RL_OK;
}
static int one_state(const rule_options *o) {
    (void)o;
    return 1;
}
static int two_states(const rule_options *o) {
    (void)o;
    return 2;
}

/* g += wd p;  s = s + g g;  p = p - lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps) */
static const rl_program *adagrad_program(const rule_options *o, int64_t step, rl_dtype dtype, rl_dtype grad_dtype) {
    rl_builder builder, *b = &builder;
    rl_dtype c = compute_dtype(dtype);
    rl_pw p, g, s, decay, size, eps;
    (void)step;
    rl_builder_init(b);
    p = input(b, dtype, c);
    g = gradient(b, o, grad_dtype, c);
    s = input(b, dtype, c);
    decay = rl_build_scalar(b, c);
    size = rl_build_scalar(b, c);
    eps = rl_build_scalar(b, c);
    if (o->weight_decay != 0.0)
        g = FMA(decay, p, g);
    s = FMA(g, g, s);
    rl_build_output(b, OP2(SUB, p, OP2(DIV, OP2(MUL, size, g), OP2(ADD, OP1(SQRT, s), eps))), dtype);
    rl_build_output(b, s, dtype);
    return rl_builder_finish(b);
}
static void adagrad_scalars(const rule_options *o, const rule_step *step, rl_number *out) {
    out[0].f = o->weight_decay;
    out[1].f = o->lr / (1.0 + (double)(step->number - 1) * o->lr_decay);
    out[2].f = o->eps;
}
const rule rule_adagrad = {.name = "Adagrad",
                           .check = adagrad_check,
                           .n_states = one_state,
                           .state_names = {"sum"},
                           .program = adagrad_program,
                           .scalars = adagrad_scalars};

/* Adadelta
 * ------------------------------------------------------------------------------------------------------------------ */

static rl_status adadelta_check(const char *function, const rule_options *o) {
    if (rule_check_common(function, o))
        return rl_error_status();
    if (!(o->alpha >= 0.0 && o->alpha <= 1.0))
        return rl_fail(RL_INVALID_ARGUMENT, "%s: rho must lie within [0, 1], got %g", function, o->alpha);
    return RL_OK;
}

/* g += wd p;  v = rho v + (1 - rho) g g;  d = sqrt(u + eps) / sqrt(v + eps) g;  u = rho u + (1 - rho) d d;
 * p = p - lr d */
static const rl_program *adadelta_program(const rule_options *o, int64_t step, rl_dtype dtype, rl_dtype grad_dtype) {
    rl_builder builder, *b = &builder;
    rl_dtype c = compute_dtype(dtype);
    rl_pw p, g, v, u, d, decay, rho, weight, eps, lr;
    (void)step;
    rl_builder_init(b);
    p = input(b, dtype, c);
    g = gradient(b, o, grad_dtype, c);
    v = input(b, dtype, c);
    u = input(b, dtype, c);
    decay = rl_build_scalar(b, c);
    rho = rl_build_scalar(b, c);
    weight = rl_build_scalar(b, c);
    eps = rl_build_scalar(b, c);
    lr = rl_build_scalar(b, c);
    if (o->weight_decay != 0.0)
        g = FMA(decay, p, g);
    v = mean_square(b, v, g, rho, weight);
    d = OP2(MUL, OP2(DIV, OP1(SQRT, OP2(ADD, u, eps)), OP1(SQRT, OP2(ADD, v, eps))), g);
    u = mean_square(b, u, d, rho, weight);
    rl_build_output(b, FMA(OP1(NEG, lr), d, p), dtype);
    rl_build_output(b, v, dtype);
    rl_build_output(b, u, dtype);
    return rl_builder_finish(b);
}
static void adadelta_scalars(const rule_options *o, const rule_step *step, rl_number *out) {
    (void)step;
    out[0].f = o->weight_decay;
    out[1].f = o->alpha;
    out[2].f = 1.0 - o->alpha;
    out[3].f = o->eps;
    out[4].f = o->lr;
}
const rule rule_adadelta = {.name = "Adadelta",
                            .check = adadelta_check,
                            .n_states = two_states,
                            .state_names = {"square_avg", "acc_delta"},
                            .program = adadelta_program,
                            .scalars = adadelta_scalars};

/* Adamax
 * ------------------------------------------------------------------------------------------------------------------ */

static rl_status adamax_check(const char *function, const rule_options *o) {
    return rule_check_moments(function, o);
}

/* g += wd p;  m = m + (1 - beta1) (g - m);  u = max(beta2 u, |g| + eps);  p = p - lr / (1 - beta1^t) m / u */
static const rl_program *adamax_program(const rule_options *o, int64_t step, rl_dtype dtype, rl_dtype grad_dtype) {
    rl_builder builder, *b = &builder;
    rl_dtype c = compute_dtype(dtype);
    rl_pw p, g, m, u, decay, weight1, beta2, eps, size;
    (void)step;
    rl_builder_init(b);
    p = input(b, dtype, c);
    g = gradient(b, o, grad_dtype, c);
    m = input(b, dtype, c);
    u = input(b, dtype, c);
    decay = rl_build_scalar(b, c);
    weight1 = rl_build_scalar(b, c);
    beta2 = rl_build_scalar(b, c);
    eps = rl_build_scalar(b, c);
    size = rl_build_scalar(b, c);
    if (o->weight_decay != 0.0)
        g = FMA(decay, p, g);
    m = toward(b, m, g, weight1);
    u = OP2(MAX, OP2(MUL, beta2, u), OP2(ADD, OP1(ABS, g), eps));
    rl_build_output(b, OP2(SUB, p, OP2(DIV, OP2(MUL, size, m), u)), dtype);
    rl_build_output(b, m, dtype);
    rl_build_output(b, u, dtype);
    return rl_builder_finish(b);
}
static void adamax_scalars(const rule_options *o, const rule_step *step, rl_number *out) {
    out[0].f = o->weight_decay;
    out[1].f = 1.0 - o->beta1;
    out[2].f = o->beta2;
    out[3].f = o->eps;
    out[4].f = o->lr / (1.0 - pow(o->beta1, (double)step->number));
}
const rule rule_adamax = {.name = "Adamax",
                          .has_betas = true,
                          .check = adamax_check,
                          .n_states = two_states,
                          .state_names = {"exp_avg", "exp_inf"},
                          .program = adamax_program,
                          .scalars = adamax_scalars};

/* NAdam and RAdam
 * ------------------------------------------------------------------------------------------------------------------ */

/* What both begin with: inputs, weight decay, both moments. */
typedef struct moments {
    rl_pw p, g, m, v;
} moments;
enum { MOMENT_SCALARS = 4 }; /* decay, 1 - beta1, beta2, 1 - beta2 */

/* decoupled: p = p (1 - lr wd), else g = g + wd p;  m = m + (1 - beta1) (g - m);  v = beta2 v + (1 - beta2) g g */
static moments moments_begin(rl_builder *b, const rule_options *o, rl_dtype dtype, rl_dtype grad_dtype) {
    rl_dtype c = compute_dtype(dtype);
    moments s;
    s.p = input(b, dtype, c);
    s.g = gradient(b, o, grad_dtype, c);
    s.m = input(b, dtype, c);
    s.v = input(b, dtype, c);
    rl_pw decay = rl_build_scalar(b, c), weight1 = rl_build_scalar(b, c), beta2 = rl_build_scalar(b, c),
          weight2 = rl_build_scalar(b, c);
    if (o->weight_decay != 0.0 && o->decoupled)
        s.p = OP2(MUL, s.p, decay);
    else if (o->weight_decay != 0.0)
        s.g = FMA(decay, s.p, s.g);
    s.m = toward(b, s.m, s.g, weight1);
    s.v = mean_square(b, s.v, s.g, beta2, weight2);
    return s;
}
static const rl_program *moments_end(rl_builder *b, const moments *s, rl_dtype dtype) {
    rl_build_output(b, s->p, dtype);
    rl_build_output(b, s->m, dtype);
    rl_build_output(b, s->v, dtype);
    return rl_builder_finish(b);
}
static void moments_scalars(const rule_options *o, rl_number *out) {
    out[0].f = o->decoupled ? 1.0 - o->lr * o->weight_decay : o->weight_decay;
    out[1].f = 1.0 - o->beta1;
    out[2].f = o->beta2;
    out[3].f = 1.0 - o->beta2;
}

static rl_status nadam_check(const char *function, const rule_options *o) {
    if (rule_check_moments(function, o))
        return rl_error_status();
    if (!(o->momentum_decay >= 0.0))
        return rl_fail(RL_INVALID_ARGUMENT, "%s: momentum_decay must be 0 or more, got %g", function,
                       o->momentum_decay);
    return RL_OK;
}

/* denom = sqrt(v / (1 - beta2^t)) + eps;  p = p - lr (1 - mu) / (1 - product) g / denom
 *                                               - lr mu' / (1 - product mu') m / denom, mu' being the next step's */
static const rl_program *nadam_program(const rule_options *o, int64_t step, rl_dtype dtype, rl_dtype grad_dtype) {
    rl_builder builder, *b = &builder;
    rl_dtype c = compute_dtype(dtype);
    (void)step;
    rl_builder_init(b);
    moments s = moments_begin(b, o, dtype, grad_dtype);
    rl_pw correction = rl_build_scalar(b, c), eps = rl_build_scalar(b, c), now = rl_build_scalar(b, c),
          next = rl_build_scalar(b, c);
    rl_pw denom = OP2(ADD, OP1(SQRT, OP2(DIV, s.v, correction)), eps);
    s.p = OP2(SUB, s.p, OP2(DIV, OP2(MUL, now, s.g), denom));
    s.p = OP2(SUB, s.p, OP2(DIV, OP2(MUL, next, s.m), denom));
    return moments_end(b, &s, dtype);
}
static double nadam_mu(const rule_options *o, int64_t step) {
    return o->beta1 * (1.0 - 0.5 * pow(0.96, (double)step * o->momentum_decay));
}
/* An f32, as the tensor is in which PyTorch keeps it. */
static double nadam_product(const rule_options *o, const rule_step *step) {
    return (double)((float)step->product * (float)nadam_mu(o, step->number));
}
static void nadam_scalars(const rule_options *o, const rule_step *step, rl_number *out) {
    double product = nadam_product(o, step), next = nadam_mu(o, step->number + 1);
    moments_scalars(o, out);
    out[MOMENT_SCALARS].f = 1.0 - pow(o->beta2, (double)step->number);
    out[MOMENT_SCALARS + 1].f = o->eps;
    out[MOMENT_SCALARS + 2].f = o->lr * (1.0 - nadam_mu(o, step->number)) / (1.0 - product);
    out[MOMENT_SCALARS + 3].f = o->lr * next / (1.0 - product * next);
}
const rule rule_nadam = {.name = "NAdam",
                         .has_betas = true,
                         .check = nadam_check,
                         .n_states = two_states,
                         .state_names = {"exp_avg", "exp_avg_sq"},
                         .program = nadam_program,
                         .scalars = nadam_scalars,
                         .product = nadam_product};

static rl_status radam_check(const char *function, const rule_options *o) {
    return rule_check_moments(function, o);
}

/* The length of the approximated simple moving average (section 4 of the paper), of a step and in the end. */
static double radam_end_length(const rule_options *o) {
    return 2.0 / (1.0 - o->beta2) - 1.0;
}
static double radam_length(const rule_options *o, int64_t step) {
    double power = pow(o->beta2, (double)step);
    return radam_end_length(o) - 2.0 * (double)step * power / (1.0 - power);
}
static int radam_variant(const rule_options *o, int64_t step) {
    return radam_length(o, step) > 5.0;
}

/* d = m / (1 - beta1^t) lr;  length > 5: d = d (sqrt(1 - beta2^t) / (sqrt(v) + eps)) rectification;  p = p - d */
static const rl_program *radam_program(const rule_options *o, int64_t step, rl_dtype dtype, rl_dtype grad_dtype) {
    rl_builder builder, *b = &builder;
    rl_dtype c = compute_dtype(dtype);
    rl_builder_init(b);
    moments s = moments_begin(b, o, dtype, grad_dtype);
    rl_pw correction = rl_build_scalar(b, c), lr = rl_build_scalar(b, c), root = rl_build_scalar(b, c),
          eps = rl_build_scalar(b, c), rectification = rl_build_scalar(b, c);
    rl_pw d = OP2(MUL, OP2(DIV, s.m, correction), lr);
    if (radam_variant(o, step))
        d = OP2(MUL, OP2(MUL, d, OP2(DIV, root, OP2(ADD, OP1(SQRT, s.v), eps))), rectification);
    s.p = OP2(SUB, s.p, d);
    return moments_end(b, &s, dtype);
}
static void radam_scalars(const rule_options *o, const rule_step *step, rl_number *out) {
    double end = radam_end_length(o), length = radam_length(o, step->number);
    moments_scalars(o, out);
    out[MOMENT_SCALARS].f = 1.0 - pow(o->beta1, (double)step->number);
    out[MOMENT_SCALARS + 1].f = o->lr;
    out[MOMENT_SCALARS + 2].f = sqrt(1.0 - pow(o->beta2, (double)step->number));
    out[MOMENT_SCALARS + 3].f = o->eps;
    out[MOMENT_SCALARS + 4].f =
        length > 5.0 ? sqrt((length - 4.0) * (length - 2.0) * end / ((end - 4.0) * (end - 2.0) * length)) : 0.0;
}
const rule rule_radam = {.name = "RAdam",
                         .has_betas = true,
                         .check = radam_check,
                         .n_states = two_states,
                         .state_names = {"exp_avg", "exp_avg_sq"},
                         .program = radam_program,
                         .variant = radam_variant,
                         .scalars = radam_scalars};
