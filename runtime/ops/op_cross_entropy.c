/* SPDX-License-Identifier: Apache-2.0 */
/* Losses of distributions over classes: nll_loss, cross_entropy, kl_div. Classes lie along dimension 1, or 0 where
 * input has one dimension. Made of other ops, which bring their derivatives. */
#include <string.h>

#include "ops/op_loss.h"
#include "ops/op_shared.h"

/* The arguments of both class losses, which stand in one order. */
typedef struct class_loss {
    rl_tensor *input, *target, *weight;
    rl_reduction reduction;
    int64_t dim, classes;
    rl_tensor *keep;   /* where target is not ignore_index */
    rl_tensor *chosen; /* target, with class 0 where it is ignored */
} class_loss;

static rl_ints shape_of(const rl_tensor *t) {
    return (rl_ints){t->shape, t->ndim};
}

static rl_status fail_target_shape(const rl_call *call, const class_loss *c) {
    char input[RL_SHAPE_TEXT], target[RL_SHAPE_TEXT];
    return rl_call_fail(call, RL_SHAPE_MISMATCH, "target %s must have the shape of input %s without its classes",
                        rl_shape_text(c->target->ndim, c->target->shape, target),
                        rl_shape_text(c->input->ndim, c->input->shape, input));
}

static rl_status read_arguments(const rl_call *call, class_loss *c) {
    *c = (class_loss){
        rl_arg_tensor(call, 0), rl_arg_tensor(call, 1), rl_arg_tensor(call, 2), RL_REDUCE_NONE, 0, 0, NULL, NULL};
    rl_status status = rl_loss_reduction(call, 4, &c->reduction);
    if (status == RL_OK)
        status = rl_check_float(call, 0);
    if (status != RL_OK)
        return status;
    if (c->input->ndim == 0)
        return rl_call_fail(call, RL_SHAPE_MISMATCH, "input must have at least one dimension, that of the classes");
    c->dim = c->input->ndim > 1;
    c->classes = c->input->shape[c->dim];
    if (c->weight != NULL && (c->weight->ndim != 1 || c->weight->shape[0] != c->classes)) {
        char weight[RL_SHAPE_TEXT];
        return rl_call_fail(call, RL_SHAPE_MISMATCH,
                            "weight must have one number for each of %lld classes, has shape %s", (long long)c->classes,
                            rl_shape_text(c->weight->ndim, c->weight->shape, weight));
    }
    return RL_OK;
}

/* A target of class numbers, u8 ones as i64. */
static rl_status check_classes(const rl_call *call, class_loss *c) {
    const rl_tensor *input = c->input, *target = c->target;
    if (target->dtype != RL_I64 && target->dtype != RL_I32 && target->dtype != RL_U8)
        return rl_call_fail(call, RL_DTYPE_MISMATCH, "target must be int64 class numbers, not %s",
                            rl_dtype_name((rl_dtype)target->dtype));
    rl_error_about(rl_call_name(call), "target"); /* a class out of range is found by gather */
    if (target->ndim != input->ndim - 1)
        return fail_target_shape(call, c);
    for (int d = 0; d < target->ndim; d++)
        if (target->shape[d] != input->shape[d < c->dim ? d : d + 1])
            return fail_target_shape(call, c);
    if (target->dtype == RL_U8)
        c->target = rl_to(c->target, .dtype = RL_I64);
    return rl_error_status();
}

/* The same, and sets apart those to be ignored. */
static rl_status read_classes(const rl_call *call, class_loss *c) {
    rl_status status = check_classes(call, c);
    if (status != RL_OK)
        return status;
    c->keep = rl_ne(c->target, call->args[3]);
    c->chosen = rl_where(c->keep, c->target, 0);
    return rl_error_status();
}

/* The weight of each target: of its class where there are weights, 0 where it is ignored. */
static rl_tensor *target_weights(const class_loss *c) {
    if (c->weight == NULL)
        return c->keep;
    rl_tensor *each = rl_index_select(c->weight, 0, rl_reshape(c->chosen, RL_DIMS(-1)));
    return rl_only_where(c->keep, rl_reshape(each, shape_of(c->target)));
}

/* -w log p of the target's class, reduced; "mean" is weighted. */
static rl_tensor *negative_log_likelihood(const class_loss *c, rl_tensor *log_p, rl_tensor *weights) {
    rl_tensor *picked = rl_select(rl_gather(log_p, c->dim, rl_unsqueeze(c->chosen, c->dim)), c->dim, 0);
    if (c->weight != NULL)
        picked = rl_mul(picked, weights);
    picked = rl_only_where(c->keep, picked);
    if (c->reduction == RL_REDUCE_NONE)
        return rl_neg(picked);
    rl_tensor *sum = rl_sum(picked);
    return rl_neg(c->reduction == RL_REDUCE_SUM ? sum : rl_div(sum, rl_sum(weights)));
}

static rl_status nll_loss_lower(rl_call *call) {
    class_loss c;
    rl_status status = read_arguments(call, &c);
    if (status == RL_OK)
        status = read_classes(call, &c);
    if (status == RL_OK)
        call->results[0] = negative_log_likelihood(&c, c.input, target_weights(&c));
    return status == RL_OK ? rl_error_status() : status;
}

static const rl_sample class_samples[] = {{"f[4,3], i[4]<3"},
                                          {"f[5], i[]<5"},
                                          {"f[2,3,5], i[2,5]<3"},
                                          {"f[7,3]t, i[7]<3, reduction=\"sum\""},
                                          {"f[4,3], i[4]<3, reduction=\"none\""},
                                          {"f[6,3], i[6]<3, p[3]"},
                                          {"f[6,3], i[6]<3, ignore_index=1"},
                                          {"f[0,3], i[0]<3, reduction=\"sum\""},
                                          {0}};
static const rl_bad class_bad[] = {
    {"f[4,3], i[5]<3", RL_SHAPE_MISMATCH, "target (5) must have the shape of input (4, 3)"},
    {"f[4,3], f32[4]", RL_DTYPE_MISMATCH, "class numbers"},
    {"f[4,3], i[4]<3, p[4]", RL_SHAPE_MISMATCH, "weight must have one number"},
    {"f[4,3], i[4]<3, reduction=\"max\"", RL_INVALID_ARGUMENT, "reduction must be"},
    {"i64[4,3], i[4]<3", RL_DTYPE_MISMATCH, "floating"},
    {0}};

const rl_op_def rl_op_def_nll_loss = {
    .schema = "nll_loss(Tensor input, Tensor target, Tensor? weight=None, int ignore_index=-100, str reduction='mean') "
              "-> Tensor",
    .doc = "y = -sum_i w[i] input[i][target[i]] / sum_i w[i], w[i] = weight[target[i]], 0 where target is ignore_index",
    .note = "input has shape (N, C, ...) or (C), target (N, ...) or (). A class outside 0 .. C - 1 is an index error.",
    .flags = RL_OP_COMPOSITE | RL_OP_AUTOCAST_F32,
    .lower = nll_loss_lower,
    .samples = class_samples,
    .bad = class_bad,
};

/* cross_entropy -----------------------------------------------------------------------------------------------------
 */

/* The weights as they broadcast against input: (C, 1, ...). */
static rl_tensor *class_weights(const class_loss *c) {
    int64_t shape[RL_MAX_DIMS] = {c->classes};
    rl_ints against_input = {shape, c->input->ndim - c->dim};
    for (int64_t d = 1; d < against_input.count; d++)
        shape[d] = 1;
    return rl_reshape(c->weight, against_input);
}

/* The target is a distribution: -sum w t log p over classes; "mean" divides by the number of distributions. */
static rl_tensor *of_probabilities(const class_loss *c, rl_tensor *log_p, double smoothing) {
    rl_tensor *t = c->target;
    if (smoothing > 0.0)
        t = rl_add(rl_mul(t, 1.0 - smoothing), smoothing / (double)c->classes);
    rl_tensor *product = rl_mul(log_p, t);
    if (c->weight != NULL)
        product = rl_mul(product, class_weights(c));
    if (c->reduction == RL_REDUCE_NONE)
        return rl_neg(rl_sum(product, .dim = RL_DIMS(c->dim)));
    rl_tensor *sum = rl_neg(rl_sum(product));
    int64_t count = 1;
    for (int d = 0; d < c->input->ndim; d++)
        count *= d == c->dim ? 1 : c->input->shape[d];
    return c->reduction == RL_REDUCE_SUM ? sum : rl_div(sum, count);
}

/* The share of all classes alike: -sum w log p over classes, where the target is kept. */
static rl_tensor *smoothed_part(const class_loss *c, rl_tensor *log_p, rl_tensor *weights) {
    rl_tensor *all = c->weight ? rl_mul(log_p, class_weights(c)) : log_p;
    rl_tensor *each = rl_only_where(c->keep, rl_neg(rl_sum(all, .dim = RL_DIMS(c->dim))));
    if (c->reduction == RL_REDUCE_NONE)
        return each;
    rl_tensor *sum = rl_sum(each);
    return c->reduction == RL_REDUCE_SUM ? sum : rl_div(sum, rl_sum(weights));
}

static rl_status fail_probabilities(const rl_call *call, const class_loss *c) {
    char input[RL_SHAPE_TEXT], target[RL_SHAPE_TEXT];
    return rl_call_fail(call, RL_SHAPE_MISMATCH, "target %s of probabilities must have the shape of input %s",
                        rl_shape_text(c->target->ndim, c->target->shape, target),
                        rl_shape_text(c->input->ndim, c->input->shape, input));
}

/* Class numbers alone: row by row, the classes last. */
static rl_tensor *of_rows(const rl_call *call, const class_loss *c) {
    rl_tensor *x = c->input, *target = c->target;
    if (x->ndim > 2)
        x = rl_reshape(rl_movedim(x, RL_DIMS(1), RL_DIMS(-1)), RL_DIMS(target->numel, c->classes));
    else if (x->ndim == 1)
        x = rl_unsqueeze(x, 0);
    if (target->ndim != 1)
        target = rl_reshape(target, RL_DIMS(target->numel));
    rl_error_about(rl_call_name(call), "target"); /* a class out of range is found by the row */
    rl_tensor *loss = rl_cross_entropy_rows(x, target, rl_arg_int(call, 3)).loss;
    rl_error_about(rl_call_name(call), NULL);
    if (c->reduction == RL_REDUCE_NONE)
        loss = c->target->ndim == 1 ? loss : rl_reshape(loss, shape_of(c->target));
    else
        loss = rl_sum(loss);
    if (c->reduction == RL_REDUCE_MEAN)
        loss = rl_div(loss, rl_sum(rl_ne(target, call->args[3])));
    return loss && loss->dtype != c->input->dtype ? rl_to(loss, .dtype = (rl_dtype)c->input->dtype) : loss;
}

/* Of class numbers with weights or smoothing. */
static rl_tensor *of_classes(const class_loss *c, rl_tensor *log_p, double smoothing) {
    rl_tensor *weights = target_weights(c);
    rl_tensor *loss = negative_log_likelihood(c, log_p, weights);
    if (smoothing > 0.0)
        loss = rl_add(rl_mul(loss, 1.0 - smoothing),
                      rl_mul(smoothed_part(c, log_p, weights), smoothing / (double)c->classes));
    return loss;
}

static rl_status cross_entropy_lower(rl_call *call) {
    class_loss c;
    double smoothing = rl_arg_double(call, 5);
    rl_status status = read_arguments(call, &c);
    if (status != RL_OK)
        return status;
    if (!(smoothing >= 0.0 && smoothing <= 1.0))
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "label_smoothing must lie within 0 and 1, got %g", smoothing);
    bool probabilities = rl_dtype_is_float((rl_dtype)c.target->dtype);
    if (probabilities && (c.target->ndim != c.input->ndim ||
                          memcmp(c.target->shape, c.input->shape, (size_t)c.input->ndim * sizeof *c.input->shape) != 0))
        return fail_probabilities(call, &c);
    if (probabilities && rl_arg_int(call, 3) >= 0)
        return rl_call_fail(call, RL_INVALID_ARGUMENT,
                            "ignore_index is for a target of class numbers, this one is of probabilities: got %lld",
                            (long long)rl_arg_int(call, 3));
    bool plain = !probabilities && c.weight == NULL && smoothing == 0.0;
    if (!probabilities)
        status = plain ? check_classes(call, &c) : read_classes(call, &c);
    if (status != RL_OK)
        return status;
    if (plain) {
        call->results[0] = of_rows(call, &c);
        return rl_error_status();
    }
    rl_tensor *log_p = rl_log_softmax(c.input, c.dim);
    if (log_p != NULL)
        call->results[0] = probabilities ? of_probabilities(&c, log_p, smoothing) : of_classes(&c, log_p, smoothing);
    return rl_error_status();
}

static const rl_sample cross_entropy_samples[] = {{"f[4,3], i[4]<3"},
                                                  {"f[5], i[]<5"},
                                                  {"f[2,3,5], i[2,5]<3"},
                                                  {"f[7,3]t, i[7]<3, reduction=\"sum\""},
                                                  {"f[4,3], i[4]<3, reduction=\"none\""},
                                                  {"f[6,3], i[6]<3, p[3]"},
                                                  {"f[6,3], i[6]<3, ignore_index=1"},
                                                  {"f[6,3], i[6]<3, label_smoothing=0.1"},
                                                  {"f[6,3], i[6]<3, p[3], label_smoothing=0.25"},
                                                  {"f[4,3], u[4,3]"},
                                                  {"f[4,3], u[4,3], p[3], label_smoothing=0.25"},
                                                  {"f[0,3], i[0]<3, reduction=\"sum\""},
                                                  {0}};
static const rl_bad cross_entropy_bad[] = {
    {"f[4,3], i[5]<3", RL_SHAPE_MISMATCH, "target (5) must have the shape of input (4, 3)"},
    {"f[4,3], f[4,2]", RL_SHAPE_MISMATCH, "of probabilities must have the shape"},
    {"f[4,3], i[4]<3, p[4]", RL_SHAPE_MISMATCH, "weight must have one number"},
    {"f[4,3], i[4]<3, label_smoothing=2.0", RL_INVALID_ARGUMENT, "label_smoothing must lie within"},
    {"f[4,3], u[4,3], ignore_index=1", RL_INVALID_ARGUMENT, "ignore_index is for a target of class numbers"},
    {0}};

const rl_op_def rl_op_def_cross_entropy = {
    .schema = "cross_entropy(Tensor input, Tensor target, Tensor? weight=None, int ignore_index=-100, "
              "str reduction='mean', float label_smoothing=0) -> Tensor",
    .doc = "y = nll_loss(log_softmax(input), target); a float target holds probabilities: y = -sum target "
           "log_softmax(input)",
    .note = "label_smoothing e mixes the target with the uniform distribution: (1 - e) target + e / C.",
    .flags = RL_OP_COMPOSITE | RL_OP_AUTOCAST_F32,
    .lower = cross_entropy_lower,
    .samples = cross_entropy_samples,
    .bad = cross_entropy_bad,
};

/* kl_div ------------------------------------------------------------------------------------------------------------
 */

/* "batchmean" divides by the first size, not by the number of elements. */
static rl_status kl_div_lower(rl_call *call) {
    rl_tensor *input = rl_arg_tensor(call, 0), *target = rl_arg_tensor(call, 1);
    rl_reduction reduction = RL_REDUCE_SUM;
    bool batch = rl_arg_is(call, 2, "batchmean");
    rl_status status = batch ? RL_OK : rl_loss_reduction(call, 2, &reduction);
    if (status != RL_OK)
        return status;
    rl_tensor *each = call->args[3].as.b ? rl_mul(rl_exp(target), rl_sub(target, input))
                                         : rl_sub(rl_xlogy(target, target), rl_mul(target, input));
    if (each == NULL || reduction == RL_REDUCE_NONE) {
        call->results[0] = each;
        return rl_error_status();
    }
    rl_tensor *sum = rl_sum(each);
    int64_t count = batch ? (input->ndim ? input->shape[0] : 1) : each->numel;
    call->results[0] = batch || reduction == RL_REDUCE_MEAN ? rl_div(sum, count) : sum;
    return rl_error_status();
}

static const rl_sample kl_samples[] = {{"f[3,4], u[3,4]"},
                                       {"f[], u[]"},
                                       {"f[0,3], u[0,3], reduction=\"sum\""},
                                       {"f[5,7]t, u[5,7], reduction=\"none\""},
                                       {"f[3,4], u[3,4], reduction=\"batchmean\""},
                                       {"f[33]s, f[33], log_target=true"},
                                       {0}};
static const rl_bad kl_bad[] = {{"f[2,3], u[4]", RL_SHAPE_MISMATCH, "do not broadcast"},
                                {"f[3], u[3], reduction=\"max\"", RL_INVALID_ARGUMENT, "reduction must be"},
                                {0}};

const rl_op_def rl_op_def_kl_div = {
    .schema = "kl_div(Tensor input, Tensor target, str reduction='mean', *, bool log_target=False) -> Tensor",
    .doc = "y = mean of target (log(target) - input); input, and target where log_target, are logarithms",
    .flags = RL_OP_COMPOSITE | RL_OP_AUTOCAST_F32,
    .lower = kl_div_lower,
    .samples = kl_samples,
    .bad = kl_bad,
};
