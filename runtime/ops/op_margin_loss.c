/* SPDX-License-Identifier: Apache-2.0 */
/* Losses by margins and by logistic curves. Made of other ops, which bring their derivatives. */
#include <string.h>

#include "ops/op_loss.h"
#include "ops/op_rows.h"

/* Of pairs --------------------------------------------------------------------------------------------------------- */

/* args: input1, input2, target, margin, reduction */
static rl_status margin_ranking_loss_lower(rl_call *call) {
    rl_tensor *x1 = rl_arg_tensor(call, 0), *x2 = rl_arg_tensor(call, 1), *t = rl_arg_tensor(call, 2);
    if (x1->ndim != x2->ndim || x1->ndim != t->ndim)
        return rl_call_fail(call, RL_SHAPE_MISMATCH,
                            "input1, input2 and target must have as many dimensions, have %d, %d and %d", x1->ndim,
                            x2->ndim, t->ndim);
    rl_tensor *lead = rl_mul(rl_neg(t), rl_sub(x1, x2));
    return rl_loss_result(call, 4, rl_clamp_min(rl_add(lead, rl_arg_double(call, 3)), 0));
}

static const rl_sample ranking_samples[] = {{"f[5], f[5], f[5]"},
                                            {"f[3,4], f[3,4], f[3,4], 0.5, \"sum\""},
                                            {"f[5,7]t, f[5,7]s, f[5,7], reduction=\"none\""},
                                            {"f[0], f[0], f[0], reduction=\"sum\""},
                                            {0}};
static const rl_bad ranking_bad[] = {{"f[3], f[3,4], f[3]", RL_SHAPE_MISMATCH, "as many dimensions, have 1, 2 and 1"},
                                     {"f[3], f[3], f[3], reduction=\"max\"", RL_INVALID_ARGUMENT, "reduction must be"},
                                     {0}};

const rl_op_def rl_op_def_margin_ranking_loss = {
    .schema = "margin_ranking_loss(Tensor input1, Tensor input2, Tensor target, float margin=0, str reduction='mean') "
              "-> Tensor",
    .doc = "y = mean of max(0, -target (input1 - input2) + margin), target 1 or -1",
    .flags = RL_OP_COMPOSITE | RL_OP_AUTOCAST_F32,
    .lower = margin_ranking_loss_lower,
    .samples = ranking_samples,
    .bad = ranking_bad,
};

/* args: input, target, margin, reduction */
static rl_status hinge_embedding_loss_lower(rl_call *call) {
    rl_tensor *x = rl_arg_tensor(call, 0), *t = rl_arg_tensor(call, 1);
    rl_tensor *far = rl_clamp_min(rl_rsub(x, rl_arg_double(call, 2)), 0);
    return rl_loss_result(call, 3, rl_add(rl_only_where_not(rl_eq(t, 1), far), rl_only_where_not(rl_eq(t, -1), x)));
}

static const rl_sample hinge_samples[] = {{"f[5], i[5]<2"},
                                          {"f[3,4], i[3,4]<2, 0.5, \"sum\""},
                                          {"f[5,7]t, i[5,7]<2, reduction=\"none\""},
                                          {"f[0], i[0]<2, reduction=\"sum\""},
                                          {0}};
static const rl_bad pair_bad[] = {{"f[2,3], f[4]", RL_SHAPE_MISMATCH, "do not broadcast"},
                                  {"f[3], f[3], reduction=\"max\"", RL_INVALID_ARGUMENT, "reduction must be"},
                                  {0}};

const rl_op_def rl_op_def_hinge_embedding_loss = {
    .schema = "hinge_embedding_loss(Tensor input, Tensor target, float margin=1.0, str reduction='mean') -> Tensor",
    .doc = "y = mean of input where target is 1, max(0, margin - input) where it is -1",
    .flags = RL_OP_COMPOSITE | RL_OP_AUTOCAST_F32,
    .lower = hinge_embedding_loss_lower,
    .samples = hinge_samples,
    .bad = pair_bad,
};

/* args: input, target, reduction. log(1 + e^-z) without overflow. */
static rl_status soft_margin_loss_lower(rl_call *call) {
    rl_tensor *z = rl_mul(rl_arg_tensor(call, 0), rl_arg_tensor(call, 1));
    return rl_loss_result(call, 2, rl_neg(rl_log_sigmoid(z)));
}

static const rl_sample soft_samples[] = {
    {"f[5], f[5]"}, {"f[3,4], f[3,4], \"sum\""}, {"f[5,7]t, f[5,7]s, \"none\""}, {"f[0], f[0], \"sum\""}, {0}};

const rl_op_def rl_op_def_soft_margin_loss = {
    .schema = "soft_margin_loss(Tensor input, Tensor target, str reduction='mean') -> Tensor",
    .doc = "y = mean of log(1 + e^(-target input)), target 1 or -1",
    .flags = RL_OP_COMPOSITE | RL_OP_AUTOCAST_F32,
    .lower = soft_margin_loss_lower,
    .samples = soft_samples,
    .bad = pair_bad,
};

/* Of classes ------------------------------------------------------------------------------------------------------- */

/* input (N, C) or (C), read as (N, C); target with `columns` of them, or without. */
static rl_status check_classes(const rl_call *call, bool columns) {
    const rl_tensor *x = rl_arg_tensor(call, 0), *t = rl_arg_tensor(call, 1);
    char x_text[RL_SHAPE_TEXT], t_text[RL_SHAPE_TEXT];
    int64_t ndim = columns ? x->ndim : x->ndim - 1;
    bool fits = (x->ndim == 1 || x->ndim == 2) && t->ndim == ndim && x->shape[x->ndim - 1] > 0;
    for (int64_t d = 0; fits && d < ndim; d++)
        fits = t->shape[d] == x->shape[d];
    if (!fits)
        return rl_call_fail(call, RL_SHAPE_MISMATCH, "input must be (N, C) with target %s, has shape %s, and target %s",
                            columns ? "(N, C)" : "(N)", rl_shape_text(x->ndim, x->shape, x_text),
                            rl_shape_text(t->ndim, t->shape, t_text));
    rl_status status = rl_check_float(call, 0);
    return status == RL_OK ? rl_check_index_dtype(call, 1) : status;
}

/* args: input, target, p, margin, weight, reduction */
static rl_status multi_margin_loss_lower(rl_call *call) {
    rl_tensor *x = rl_arg_tensor(call, 0), *t = rl_arg_tensor(call, 1), *weight = rl_arg_tensor(call, 4);
    double p = rl_arg_double(call, 2);
    rl_status status = check_classes(call, false);
    if (status != RL_OK)
        return status;
    if (p != 1.0 && p != 2.0)
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "p must be 1 or 2, got %g", p);
    int64_t classes = x->shape[x->ndim - 1];
    if (weight != NULL && (weight->ndim != 1 || weight->shape[0] != classes))
        return rl_call_fail(call, RL_SHAPE_MISMATCH, "weight must have one number for each of %lld classes",
                            (long long)classes);
    rl_tensor *place = rl_unsqueeze(t, -1);
    rl_tensor *over = rl_clamp_min(rl_add(rl_sub(x, rl_gather(x, -1, place)), rl_arg_double(call, 3)), 0);
    if (p == 2.0)
        over = rl_square(over);
    if (weight != NULL)
        over = rl_mul(over, rl_reshape(rl_index_select(weight, 0, rl_reshape(t, RL_DIMS(-1))), rl_shape_of(place)));
    rl_tensor *others = rl_ne(rl_counted(0, classes, rl_tensor_device(x)), place);
    rl_tensor *each = rl_div(rl_sum(rl_only_where(others, over), .dim = RL_DIMS(-1)), classes);
    return rl_loss_result(call, 5, each);
}

static const rl_sample multi_samples[] = {{"f[4,3], i[4]<3"},
                                          {"f[5], i[]<5, 2"},
                                          {"f[7,3]t, i[7]<3, 1, 0.5, p[3], \"sum\""},
                                          {"f[4,3], i[4]<3, 2, 2.0, reduction=\"none\""},
                                          {0}};
static const rl_bad multi_bad[] = {
    {"f[4,3], i[3]<3", RL_SHAPE_MISMATCH, "input must be (N, C) with target (N), has shape (4, 3), and target (3)"},
    {"f[4,3], i[4]<3, 3", RL_INVALID_ARGUMENT, "p must be 1 or 2, got 3"},
    {"f[4,3], i[4]<3, 1, 1, p[4]", RL_SHAPE_MISMATCH, "weight must have one number for each of 3 classes"},
    {0}};

const rl_op_def rl_op_def_multi_margin_loss = {
    .schema = "multi_margin_loss(Tensor input, Tensor target, Scalar p=1, Scalar margin=1, Tensor? weight=None, "
              "str reduction='mean') -> Tensor",
    .doc = "y = mean of sum_{j != t} weight[t] max(0, margin - input[t] + input[j])^p / C, t = target",
    .flags = RL_OP_COMPOSITE | RL_OP_AUTOCAST_F32,
    .lower = multi_margin_loss_lower,
    .samples = multi_samples,
    .bad = multi_bad,
};

/* args: input, target, reduction. A row's targets end before its first negative number. */
static rl_status multilabel_margin_loss_lower(rl_call *call) {
    rl_tensor *x = rl_arg_tensor(call, 0), *t = rl_arg_tensor(call, 1);
    rl_status status = check_classes(call, true);
    if (status != RL_OK)
        return status;
    int64_t classes = x->shape[x->ndim - 1];
    rl_tensor *counts = rl_ge(rl_cummin(t, -1).values, 0), *place = rl_only_where(counts, t);
    rl_tensor *hits = rl_scatter_add(rl_zeros(rl_shape_of(t), .dtype = RL_I64, .device = rl_tensor_device(x)), -1,
                                     place, rl_to(counts, .dtype = RL_I64));
    rl_tensor *pairs =
        rl_logical_and(rl_unsqueeze(counts, -1), rl_unsqueeze(rl_eq(hits, 0), -2)); /* (.., target, other) */
    rl_tensor *lead = rl_sub(rl_unsqueeze(rl_gather(x, -1, place), -1), rl_unsqueeze(x, -2));
    rl_tensor *over = rl_only_where(pairs, rl_clamp_min(rl_rsub(lead, 1), 0));
    return rl_loss_result(call, 2, rl_div(rl_sum(over, .dim = RL_DIMS(-2, -1)), classes));
}

static const rl_sample multilabel_samples[] = {
    {"f[4,3], i[4,3]<3"}, {"f[5], i[5]<4"}, {"f[7,3]t, i[7,3]<2, \"sum\""}, {"f[4,3], i[4,3]<1, \"none\""}, {0}};
static const rl_bad multilabel_bad[] = {
    {"f[4,3], i[4]<3", RL_SHAPE_MISMATCH, "input must be (N, C) with target (N, C)"}, {0}};

const rl_op_def rl_op_def_multilabel_margin_loss = {
    .schema = "multilabel_margin_loss(Tensor input, Tensor target, str reduction='mean') -> Tensor",
    .doc = "y = mean of sum over j in target, i not in target of max(0, 1 - (input[j] - input[i])) / C",
    .note = "A row of target lists classes; it ends before its first negative number.",
    .flags = RL_OP_COMPOSITE | RL_OP_AUTOCAST_F32,
    .lower = multilabel_margin_loss_lower,
    .samples = multilabel_samples,
    .bad = multilabel_bad,
};

/* args: input, target, weight, reduction */
static rl_status multilabel_soft_margin_loss_lower(rl_call *call) {
    rl_tensor *x = rl_arg_tensor(call, 0), *t = rl_arg_tensor(call, 1), *weight = rl_arg_tensor(call, 2);
    if (x->ndim == 0)
        return rl_call_fail(call, RL_SHAPE_MISMATCH, "input must have at least one dimension, that of the classes");
    rl_tensor *yes = rl_mul(t, rl_log_sigmoid(x)), *no = rl_mul(rl_rsub(t, 1), rl_log_sigmoid(rl_neg(x)));
    rl_tensor *each = rl_neg(rl_add(yes, no));
    if (weight != NULL)
        each = rl_mul(each, weight);
    return rl_loss_result(call, 3, rl_mean(each, .dim = RL_DIMS(-1)));
}

static const rl_sample multilabel_soft_samples[] = {{"f[4,3], u[4,3]"},
                                                    {"f[5], u[5]"},
                                                    {"f[7,3]t, u[7,3], p[3], \"sum\""},
                                                    {"f[4,3], u[4,3], reduction=\"none\""},
                                                    {0}};

const rl_op_def rl_op_def_multilabel_soft_margin_loss = {
    .schema = "multilabel_soft_margin_loss(Tensor input, Tensor target, Tensor? weight=None, str reduction='mean') "
              "-> Tensor",
    .doc = "y = mean of -weight (target log sigmoid(input) + (1 - target) log sigmoid(-input))",
    .flags = RL_OP_COMPOSITE,
    .lower = multilabel_soft_margin_loss_lower,
    .samples = multilabel_soft_samples,
    .bad = pair_bad,
};
