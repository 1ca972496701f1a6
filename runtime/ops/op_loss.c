/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Losses that compare input and target element by element. Each is one program l(x, t); "mean" and "sum" run it as the
 * prologue of one reduction, so that memory is read once. In the derivatives g stands for the gradient of each element:
 * that of the result, divided by the number of elements for "mean". Cross entropy stands in op_cross_entropy.c.
 */
#include <math.h>
#include <string.h>

#include "ops/call.h"
#include "ops/op_loss.h"
#include "ops/op_shared.h"

/* Reduction -------------------------------------------------------------------------------------------------------- */

static bool parse_reduction(const char *word, rl_reduction *out) {
    *out = strcmp(word, "mean") == 0 ? RL_REDUCE_MEAN : strcmp(word, "sum") == 0 ? RL_REDUCE_SUM : RL_REDUCE_NONE;
    return *out != RL_REDUCE_NONE || strcmp(word, "none") == 0;
}

rl_status rl_loss_reduction(const rl_call *call, int arg, rl_reduction *out_reduction) {
    if (parse_reduction(rl_arg_word(call, arg), out_reduction))
        return RL_OK;
    return rl_call_fail(call, RL_INVALID_ARGUMENT, "reduction must be 'none', 'mean' or 'sum', got '%.40s'",
                        rl_arg_word(call, arg));
}

rl_tensor *rl_loss_reduced(rl_tensor *each, rl_reduction reduction) {
    return each == NULL || reduction == RL_REDUCE_NONE ? each
           : reduction == RL_REDUCE_SUM                ? rl_sum(each)
                                                       : rl_mean(each);
}

rl_status rl_loss_result(rl_call *call, int arg, rl_tensor *each) {
    rl_reduction reduction;
    rl_status status = rl_loss_reduction(call, arg, &reduction);
    if (status == RL_OK)
        call->results[0] = rl_loss_reduced(each, reduction);
    return status == RL_OK ? rl_error_status() : status;
}

/* The argument named `reduction`: each loss has one. */
static int reduction_arg(int opcode) {
    const rl_schema *schema = &rl_schema_table[opcode];
    int i = schema->n_params - 1;
    while (i > 0 && strcmp(schema->params[i].name, "reduction") != 0)
        i--;
    return i;
}

static rl_status loss_infer(rl_call *call) {
    rl_reduction reduction;
    rl_status status = rl_loss_reduction(call, reduction_arg(call->opcode), &reduction);
    if (status == RL_OK)
        status = rl_infer_floats_only(call);
    if (status == RL_OK && reduction != RL_REDUCE_NONE)
        rl_meta_set(&call->meta[0], call->compute, call->meta[0].device, 0, NULL);
    return status;
}

/* The same, and target has input's very shape. */
static rl_status cross_infer(rl_call *call) {
    const rl_tensor *x = rl_arg_tensor(call, 0), *t = rl_arg_tensor(call, 1);
    char input[RL_SHAPE_TEXT], target[RL_SHAPE_TEXT];
    if (x->ndim != t->ndim || memcmp(x->shape, t->shape, (size_t)x->ndim * sizeof *x->shape) != 0)
        return rl_call_fail(call, RL_SHAPE_MISMATCH, "target %s must have the shape of input %s",
                            rl_shape_text(t->ndim, t->shape, target), rl_shape_text(x->ndim, x->shape, input));
    return loss_infer(call);
}

/* sum / n in the accumulator's dtype. */
static const rl_program *mean_program(rl_dtype accumulator, rl_dtype result) {
    rl_builder builder, *b = &builder;
    rl_builder_init(b);
    rl_pw sum = rl_build_input(b, accumulator);
    rl_build_output(b, DIV(sum, rl_build_scalar(b, accumulator)), result);
    return rl_builder_finish(b);
}

static int64_t count_elements(const rl_meta *meta) {
    int64_t count = 1;
    for (int64_t d = 0; d < meta->ndim; d++)
        count *= meta->shape[d];
    return count;
}

static rl_status loss_lower(rl_call *call) {
    rl_reduction reduction;
    rl_status status = rl_loss_reduction(call, reduction_arg(call->opcode), &reduction);
    if (status != RL_OK || reduction == RL_REDUCE_NONE)
        return status == RL_OK ? rl_pointwise_run(call) : status;
    rl_call whole = *call; /* the same loss without reduction, kept in the accumulator's dtype */
    status = rl_infer_broadcast(&whole);
    int64_t elements = 0;
    if (status == RL_OK)
        status = rl_check_shape(rl_call_name(call), whole.meta[0].ndim, whole.meta[0].shape, RL_F64, &elements);
    rl_dtype accumulator = call->compute == RL_F64 ? RL_F64 : RL_F32;
    whole.compute = whole.meta[0].dtype = accumulator;
    rl_pointwise_launch launch;
    if (status == RL_OK)
        status = rl_pointwise_prepare(&whole, call->opcode, &launch);
    if (status != RL_OK)
        return status;
    const rl_meta *meta = &whole.meta[0];
    rl_number count = {.f = (double)elements};
    bool mean = reduction == RL_REDUCE_MEAN;
    const rl_program *epilogue = mean ? mean_program(accumulator, call->meta[0].dtype) : NULL;
    if (mean && epilogue == NULL)
        return rl_error_status();
    rl_reduce_task task = {.prologue = launch.program,
                           .epilogue = epilogue,
                           .combiner = {RL_COMBINE_SUM},
                           .inputs = launch.inputs,
                           .outputs = call->results,
                           .scalars = launch.scalars,
                           .epilogue_scalars = mean ? &count : NULL,
                           .ndim = meta->ndim,
                           .shape = meta->shape,
                           .reduced = (1u << meta->ndim) - 1};
    return rl_row_reduce(rl_call_name(call), &task);
}

/* The gradient of each element of the loss: of the shape of all, or one for all of them. */
static rl_tensor *element_gradient(rl_vjp *v, int arg) {
    rl_reduction reduction;
    parse_reduction(rl_vjp_word(v, arg), &reduction);
    if (reduction != RL_REDUCE_MEAN)
        return G;
    rl_meta whole;
    const rl_meta *x = rl_vjp_meta(v, 0), *t = rl_vjp_meta(v, 1);
    if (rl_broadcast_shapes("loss", x->ndim, x->shape, t->ndim, t->shape, &whole.ndim, whole.shape) != RL_OK)
        return NULL;
    return rl_div(G, count_elements(&whole));
}

/* Gives input's gradient, and its negative to the target: for losses of input - target. */
static void set_opposite(rl_vjp *v, rl_tensor *gradient) {
    if (rl_vjp_needs(v, 0))
        rl_vjp_set(v, 0, gradient);
    if (rl_vjp_needs(v, 1))
        rl_vjp_set(v, 1, rl_neg(gradient));
}
#define T rl_vjp_input(v, 1)

static const rl_sample loss_samples[] = {{"f[3,4], f[3,4]"},
                                         {"f[], f[]"},
                                         {"f[0,3], f[0,3], reduction=\"sum\""},
                                         {"f[5,7]t, f[5,7], reduction=\"none\""},
                                         {"f[33]s, f[33], reduction=\"sum\""},
                                         {"f[3,1], f[4]"},
                                         {0}};
static const rl_bad loss_bad[] = {{"f[2,3], f[4]", RL_SHAPE_MISMATCH, "do not broadcast: 3 and 4"},
                                  {"f[3], f[3], reduction=\"max\"", RL_INVALID_ARGUMENT, "reduction must be"},
                                  {"i64[3], i64[3]", RL_DTYPE_MISMATCH, "floating"},
                                  {0}};

static const rl_bad cross_bad[] = {
    {"f[2,3], f[4]", RL_SHAPE_MISMATCH, "target (4) must have the shape of input (2, 3)"},
    {"f[2,3], f[3]", RL_SHAPE_MISMATCH, "target (3) must have the shape of input (2, 3)"},
    {"f[3], f[3], reduction=\"max\"", RL_INVALID_ARGUMENT, "reduction must be"},
    {"i64[3], i64[3]", RL_DTYPE_MISMATCH, "floating"},
    {0}};

/* Of the difference ------------------------------------------------------------------------------------------------ */

static rl_pw squared(rl_builder *b, rl_pw p) {
    return MUL(p, p);
}
PROGRAM(mse_loss, squared(b, SUB(x[0], x[1])))
PROGRAM(l1_loss, ABS(SUB(x[0], x[1])))

static void mse_loss_vjp(rl_vjp *v) { /* gx = 2 (x - t) g, gt = -gx */
    set_opposite(v, rl_mul(rl_sub(X, T), rl_mul(element_gradient(v, 2), 2)));
}
static void l1_loss_vjp(rl_vjp *v) { /* gx = sign(x - t) g, gt = -gx */
    set_opposite(v, rl_mul(rl_sign(rl_sub(X, T)), element_gradient(v, 2)));
}

const rl_op_def rl_op_def_mse_loss = {
    .schema = "mse_loss(Tensor input, Tensor target, *, str reduction='mean') -> Tensor",
    .doc = "y = mean of (input - target)^2",
    .flags = RL_OP_ROWS | RL_OP_AUTOCAST_F32,
    .saves = RL_SAVE_IN(0) | RL_SAVE_IN(1),
    .infer = loss_infer,
    .pointwise = mse_loss_program,
    .lower = loss_lower,
    .vjp = mse_loss_vjp,
    .samples = loss_samples,
    .bad = loss_bad,
};

const rl_op_def rl_op_def_l1_loss = {
    .schema = "l1_loss(Tensor input, Tensor target, *, str reduction='mean') -> Tensor",
    .doc = "y = mean of |input - target|",
    .flags = RL_OP_ROWS | RL_OP_AUTOCAST_F32,
    .saves = RL_SAVE_IN(0) | RL_SAVE_IN(1),
    .infer = loss_infer,
    .pointwise = l1_loss_program,
    .lower = loss_lower,
    .vjp = l1_loss_vjp,
    .samples = loss_samples,
    .bad = loss_bad,
};

/* d^2 / (2 beta) below beta, else |d| - beta / 2; huber is that times delta */
static rl_pw smooth_abs(rl_builder *b, rl_pw d, rl_pw beta) {
    rl_pw size = ABS(d), half = NUM(d, 0.5);
    return SELECT(LT(size, beta), DIV(MUL(half, MUL(d, d)), beta), SUB(size, MUL(half, beta)));
}
static rl_pw huber(rl_builder *b, rl_pw d, rl_pw delta) {
    rl_pw size = ABS(d), half = NUM(d, 0.5);
    return SELECT(LT(size, delta), MUL(half, MUL(d, d)), MUL(delta, SUB(size, MUL(half, delta))));
}
PROGRAM(smooth_l1_loss, smooth_abs(b, SUB(x[0], x[1]), x[3]))
PROGRAM(huber_loss, huber(b, SUB(x[0], x[1]), x[3]))

static rl_status smooth_l1_loss_infer(rl_call *call) {
    if (!(rl_arg_double(call, 3) >= 0.0))
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "beta must not be negative, got %g", rl_arg_double(call, 3));
    return loss_infer(call);
}
static rl_status huber_loss_infer(rl_call *call) {
    if (!(rl_arg_double(call, 3) > 0.0))
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "delta must be greater than 0, got %g", rl_arg_double(call, 3));
    return loss_infer(call);
}
static void smooth_l1_loss_vjp(rl_vjp *v) { /* gx = g clamp((x - t) / beta, -1, 1), gt = -gx */
    double beta = NUMBER(3);
    rl_tensor *d = rl_sub(X, T);
    rl_tensor *slope = beta > 0.0 ? rl_clamp(rl_div(d, beta), .min = RL_VALUE(-1), .max = RL_VALUE(1)) : rl_sign(d);
    set_opposite(v, rl_mul(slope, element_gradient(v, 2)));
}
static void huber_loss_vjp(rl_vjp *v) { /* gx = g clamp(x - t, -delta, delta), gt = -gx */
    double delta = NUMBER(3);
    rl_tensor *slope = rl_clamp(rl_sub(X, T), .min = RL_VALUE(-delta), .max = RL_VALUE(delta));
    set_opposite(v, rl_mul(slope, element_gradient(v, 2)));
}

static const rl_sample smooth_samples[] = {{"f[3,4], f[3,4]"},
                                           {"f[], f[]"},
                                           {"f[0,3], f[0,3], reduction=\"sum\""},
                                           {"f[5,7]t, f[5,7], reduction=\"none\""},
                                           {"f[33]s, f[33], reduction=\"sum\""},
                                           {"f[3,1], f[4]"},
                                           {0}};
static const rl_bad smooth_l1_bad[] = {{"f[3], f[3], beta=-1.0", RL_INVALID_ARGUMENT, "beta must not be negative"},
                                       {0}};
static const rl_bad huber_bad[] = {{"f[3], f[3], delta=0.0", RL_INVALID_ARGUMENT, "delta must be greater"}, {0}};

const rl_op_def rl_op_def_smooth_l1_loss = {
    .schema = "smooth_l1_loss(Tensor input, Tensor target, *, str reduction='mean', float beta=1) -> Tensor",
    .doc = "y = mean of d^2 / (2 beta) where |d| < beta, else |d| - beta / 2; d = input - target",
    .flags = RL_OP_ROWS | RL_OP_AUTOCAST_F32,
    .saves = RL_SAVE_IN(0) | RL_SAVE_IN(1),
    .infer = smooth_l1_loss_infer,
    .pointwise = smooth_l1_loss_program,
    .lower = loss_lower,
    .vjp = smooth_l1_loss_vjp,
    .samples = smooth_samples,
    .bad = smooth_l1_bad,
};

const rl_op_def rl_op_def_huber_loss = {
    .schema = "huber_loss(Tensor input, Tensor target, *, str reduction='mean', float delta=1) -> Tensor",
    .doc = "y = mean of d^2 / 2 where |d| < delta, else delta (|d| - delta / 2); d = input - target",
    .flags = RL_OP_ROWS | RL_OP_AUTOCAST_F32,
    .saves = RL_SAVE_IN(0) | RL_SAVE_IN(1),
    .infer = huber_loss_infer,
    .pointwise = huber_loss_program,
    .lower = loss_lower,
    .vjp = huber_loss_vjp,
    .samples = smooth_samples,
    .bad = huber_bad,
};

/* Of probabilities --------------------------------------------------------------------------------------------------
 */

static uint32_t weights_variant(const rl_call *call) {
    return (uint32_t)(rl_arg_given(call, 2) | rl_arg_given(call, 3) << 1);
}
static rl_pw weighted(rl_builder *b, const rl_call *call, rl_pw loss, rl_pw weight) {
    return rl_arg_given(call, 2) ? MUL(loss, weight) : loss;
}

/* Logarithms are kept above -100, as PyTorch does, so that 0 times log 0 is 0. */
static rl_pw bounded_log(rl_builder *b, rl_pw log) {
    return MAX(log, NUM(log, -100));
}
static rl_pw bce(rl_builder *b, rl_pw p, rl_pw t) {
    rl_pw yes = bounded_log(b, LOG(p)), no = bounded_log(b, OP1(LOG1P, NEG(p)));
    return SUB(MUL(SUB(t, NUM(t, 1)), no), MUL(t, yes));
}
PROGRAM(binary_cross_entropy, weighted(b, call, bce(b, x[0], x[1]), x[2]))

/* The gradient of each element before its weight, if it has one. */
static rl_tensor *weighted_gradient(rl_vjp *v, rl_tensor *g) {
    rl_tensor *weight = rl_vjp_input(v, 2);
    return weight ? rl_mul(g, weight) : g;
}
/* gx = g (x - t) / (x (1 - x)), gt = g (log(1 - x) - log x), gweight = g y */
static void binary_cross_entropy_vjp(rl_vjp *v) {
    rl_tensor *whole = element_gradient(v, 3), *g = weighted_gradient(v, whole);
    if (rl_vjp_needs(v, 0))
        rl_vjp_set(v, 0, rl_mul(g, rl_div(rl_sub(X, T), rl_clamp_min(rl_mul(X, rl_rsub(X, 1)), 1e-12))));
    if (rl_vjp_needs(v, 1))
        rl_vjp_set(v, 1, rl_mul(g, rl_sub(rl_clamp_min(rl_log1p(rl_neg(X)), -100), rl_clamp_min(rl_log(X), -100))));
    if (rl_vjp_needs(v, 2))
        rl_vjp_set(v, 2, rl_mul(rl_binary_cross_entropy(X, T, .reduction = "none"), whole));
}

static const rl_sample bce_samples[] = {{"u[3,4], u[3,4]"},
                                        {"u[], u[]"},
                                        {"u[0,3], u[0,3], reduction=\"sum\""},
                                        {"u[5,7]t, u[5,7], reduction=\"none\""},
                                        {"u[33]s, u[33], p[33]"},
                                        {0}};

const rl_op_def rl_op_def_binary_cross_entropy = {
    .schema = "binary_cross_entropy(Tensor input, Tensor target, Tensor? weight=None, str reduction='mean') -> Tensor",
    .doc = "y = mean of -weight (target log(input) + (1 - target) log(1 - input))",
    .note = "input is of the shape of target and lies in [0, 1], which is not looked at: outside, the result is not a "
            "number or one of -100. A logarithm is -100 at least.",
    .flags = RL_OP_ROWS | RL_OP_AUTOCAST_F32,
    .saves = RL_SAVE_IN(0) | RL_SAVE_IN(1) | RL_SAVE_IN(2),
    .infer = cross_infer,
    .pointwise = binary_cross_entropy_program,
    .variant = weights_variant,
    .lower = loss_lower,
    .vjp = binary_cross_entropy_vjp,
    .samples = bce_samples,
    .bad = cross_bad,
};

/* (1 - t) z + c (log(1 + e^-|z|) + max(-z, 0)) with c = 1 + (pos_weight - 1) t */
static rl_pw logits_loss(rl_builder *b, const rl_call *call, const rl_pw *x) {
    rl_pw z = x[0], t = x[1], one = NUM(z, 1);
    rl_pw rest = ADD(OP1(LOG1P, EXP(NEG(ABS(z)))), MAX(NEG(z), NUM(z, 0)));
    if (rl_arg_given(call, 3))
        rest = MUL(rest, ADD(one, MUL(SUB(x[3], one), t)));
    return ADD(MUL(SUB(one, t), z), rest);
}
PROGRAM(binary_cross_entropy_with_logits, weighted(b, call, logits_loss(b, call, x), x[2]))

/* With c as above, s = sigmoid(z), w = pos_weight, p = log(1 + e^-z):
 * gz = g (c s - w t), gt = g (-z + (w - 1) p), gw = g t p, gweight = g y */
static void binary_cross_entropy_with_logits_vjp(rl_vjp *v) {
    rl_tensor *whole = element_gradient(v, 4), *g = weighted_gradient(v, whole), *w = rl_vjp_input(v, 3);
    if (rl_vjp_needs(v, 0)) {
        rl_tensor *s = rl_sigmoid(X), *t = T;
        rl_tensor *slope = w ? rl_sub(rl_mul(s, rl_add(rl_mul(rl_sub(w, 1), t), 1)), rl_mul(w, t)) : rl_sub(s, t);
        rl_vjp_set(v, 0, rl_mul(g, slope));
    }
    if (rl_vjp_needs(v, 1)) {
        rl_tensor *slope = w ? rl_sub(rl_neg(rl_mul(rl_sub(w, 1), rl_log_sigmoid(X))), X) : rl_neg(X);
        rl_vjp_set(v, 1, rl_mul(g, slope));
    }
    if (rl_vjp_needs(v, 2))
        rl_vjp_set(v, 2,
                   rl_mul(rl_binary_cross_entropy_with_logits(X, T, .pos_weight = w, .reduction = "none"), whole));
    if (rl_vjp_needs(v, 3))
        rl_vjp_set(v, 3, rl_neg(rl_mul(g, rl_mul(T, rl_log_sigmoid(X)))));
}

static const rl_sample logits_samples[] = {{"f[3,4], u[3,4]"},
                                           {"f[], u[]"},
                                           {"f[0,3], u[0,3], reduction=\"sum\""},
                                           {"f[5,7]t, u[5,7], reduction=\"none\""},
                                           {"f[33]s, u[33], p[33]"},
                                           {"f[3,4], u[3,4], None, p[4]"},
                                           {0}};

const rl_op_def rl_op_def_binary_cross_entropy_with_logits = {
    .schema = "binary_cross_entropy_with_logits(Tensor input, Tensor target, Tensor? weight=None, "
              "Tensor? pos_weight=None, str reduction='mean') -> Tensor",
    .doc = "y = mean of -weight (pos_weight target log(s) + (1 - target) log(1 - s)), s = sigmoid(input)",
    .flags = RL_OP_ROWS | RL_OP_AUTOCAST_F32,
    .saves = RL_SAVE_IN(0) | RL_SAVE_IN(1) | RL_SAVE_IN(2) | RL_SAVE_IN(3),
    .infer = cross_infer,
    .pointwise = binary_cross_entropy_with_logits_program,
    .variant = weights_variant,
    .lower = loss_lower,
    .vjp = binary_cross_entropy_with_logits_vjp,
    .samples = logits_samples,
    .bad = cross_bad,
};
