/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules, as programs. Each mirrors the operations of PyTorch's fused optimizers on processors with FMA, so that the
 * f32 numbers are the same to the bit. Its unfused ones differ now and then in the last place: they take square roots
 * by a library that does not round them correctly, round twice where elements fill no vector, and f16 after each
 * operation.
 */
#include "optim/rules.h"

rl_status rule_check_common(const char *function, const rule_options *o) {
    if (!(o->lr >= 0.0) || !isfinite(o->lr))
        return rl_fail(RL_INVALID_ARGUMENT, "%s: lr must be 0 or more, got %g", function, o->lr);
    if (!(o->weight_decay >= 0.0))
        return rl_fail(RL_INVALID_ARGUMENT, "%s: weight_decay must be 0 or more, got %g", function, o->weight_decay);
    if (!(o->eps >= 0.0))
        return rl_fail(RL_INVALID_ARGUMENT, "%s: eps must be 0 or more, got %g", function, o->eps);
    if (!(o->momentum >= 0.0))
        return rl_fail(RL_INVALID_ARGUMENT, "%s: momentum must be 0 or more, got %g", function, o->momentum);
    return RL_OK;
}
rl_status rule_check_moments(const char *function, const rule_options *o) {
    if (rule_check_common(function, o))
        return rl_error_status();
    if (!(o->beta1 >= 0.0 && o->beta1 < 1.0) || !(o->beta2 >= 0.0 && o->beta2 < 1.0))
        return rl_fail(RL_INVALID_ARGUMENT, "%s: betas must lie within [0, 1), got %g and %g", function, o->beta1,
                       o->beta2);
    return RL_OK;
}

/* SGD
 * ---------------------------------------------------------------------------------------------------------------------
 */

static rl_status sgd_check(const char *function, const rule_options *o) {
    if (rule_check_common(function, o))
        return rl_error_status();
    if (o->nesterov && (o->momentum <= 0.0 || o->dampening != 0.0))
        return rl_fail(RL_INVALID_ARGUMENT, "%s: nesterov needs a momentum above 0 and a dampening of 0, got %g and %g",
                       function, o->momentum, o->dampening);
    return RL_OK;
}
static int sgd_n_states(const rule_options *o) {
    return o->momentum != 0.0;
}
static int sgd_variant(const rule_options *o, int64_t step) {
    return o->momentum != 0.0 ? 1 + (step == 1) : 0;
}

/* d = g + wd p;  buf = step 1 ? d : momentum buf + (1 - dampening) d;  d = nesterov ? d + momentum buf : buf;
 * p = p - lr d */
static const rl_program *sgd_program(const rule_options *o, int64_t step, rl_dtype dtype, rl_dtype grad_dtype) {
    rl_builder builder, *b = &builder;
    rl_dtype c = compute_dtype(dtype);
    rl_pw p, d, lr, decay, momentum, damp;
    rl_builder_init(b);
    p = input(b, dtype, c);
    d = gradient(b, o, grad_dtype, c);
    lr = rl_build_scalar(b, c);
    decay = rl_build_scalar(b, c);
    momentum = rl_build_scalar(b, c);
    damp = rl_build_scalar(b, c);
    if (o->weight_decay != 0.0)
        d = FMA(decay, p, d);
    if (o->momentum != 0.0) {
        rl_pw buf = input(b, dtype, c);
        buf = step == 1 ? d : FMA(damp, d, OP2(MUL, momentum, buf));
        d = o->nesterov ? FMA(momentum, buf, d) : buf;
        rl_build_output(b, FMA(OP1(NEG, lr), d, p), dtype);
        rl_build_output(b, buf, dtype);
    } else {
        rl_build_output(b, FMA(OP1(NEG, lr), d, p), dtype);
    }
    return rl_builder_finish(b);
}
static void sgd_scalars(const rule_options *o, const rule_step *step, rl_number *out) {
    (void)step;
    out[0].f = o->lr;
    out[1].f = o->weight_decay;
    out[2].f = o->momentum;
    out[3].f = 1.0 - o->dampening;
}
const rule rule_sgd = {.name = "SGD",
                       .has_momentum = true,
                       .check = sgd_check,
                       .n_states = sgd_n_states,
                       .state_names = {"momentum_buffer"},
                       .program = sgd_program,
                       .variant = sgd_variant,
                       .scalars = sgd_scalars};

/* Adam and AdamW
 * ---------------------------------------------------------------------------------------------------------- */

static rl_status adam_check(const char *function, const rule_options *o) {
    return rule_check_moments(function, o);
}
static int adam_n_states(const rule_options *o) {
    return o->amsgrad ? 3 : 2;
}

/* decoupled: p = p (1 - lr wd), else g = g + wd p;  m = m + (1 - beta1) (g - m);  v = beta2 v + (1 - beta2) g g;
 * denom = sqrt(amsgrad ? (w = max(w, v)) : v) / sqrt(1 - beta2^t) + eps;  p = p - (lr / (1 - beta1^t) m) / denom */
static const rl_program *adam_program(const rule_options *o, int64_t step, rl_dtype dtype, rl_dtype grad_dtype) {
    rl_builder builder, *b = &builder;
    rl_dtype c = compute_dtype(dtype);
    rl_pw p, g, m, v, w = 0, decay, weight1, beta2, weight2, root, eps, size;
    (void)step;
    rl_builder_init(b);
    p = input(b, dtype, c);
    g = gradient(b, o, grad_dtype, c);
    m = input(b, dtype, c);
    v = input(b, dtype, c);
    if (o->amsgrad)
        w = input(b, dtype, c);
    decay = rl_build_scalar(b, c);
    weight1 = rl_build_scalar(b, c);
    beta2 = rl_build_scalar(b, c);
    weight2 = rl_build_scalar(b, c);
    root = rl_build_scalar(b, c);
    eps = rl_build_scalar(b, c);
    size = rl_build_scalar(b, c);
    if (o->weight_decay != 0.0 && o->decoupled)
        p = OP2(MUL, p, decay);
    else if (o->weight_decay != 0.0)
        g = FMA(decay, p, g);
    m = toward(b, m, g, weight1);
    v = mean_square(b, v, g, beta2, weight2);
    if (o->amsgrad)
        w = OP2(MAX, w, v);
    p = OP2(SUB, p, OP2(DIV, OP2(MUL, size, m), OP2(ADD, OP2(DIV, OP1(SQRT, o->amsgrad ? w : v), root), eps)));
    rl_build_output(b, p, dtype);
    rl_build_output(b, m, dtype);
    rl_build_output(b, v, dtype);
    if (o->amsgrad)
        rl_build_output(b, w, dtype);
    return rl_builder_finish(b);
}
static void adam_scalars(const rule_options *o, const rule_step *step, rl_number *out) {
    double number = (double)step->number;
    out[0].f = o->decoupled ? 1.0 - o->lr * o->weight_decay : o->weight_decay;
    out[1].f = 1.0 - o->beta1;
    out[2].f = o->beta2;
    out[3].f = 1.0 - o->beta2;
    out[4].f = sqrt(1.0 - pow(o->beta2, number));
    out[5].f = o->eps;
    out[6].f = o->lr / (1.0 - pow(o->beta1, number));
}
#define ADAM(text)                                                                                                     \
    {                                                                                                                  \
        .name = text, .has_betas = true, .check = adam_check, .n_states = adam_n_states,                               \
        .state_names = {"exp_avg", "exp_avg_sq", "max_exp_avg_sq"}, .program = adam_program, .scalars = adam_scalars   \
    }
const rule rule_adam = ADAM("Adam");
const rule rule_adamw = ADAM("AdamW");
