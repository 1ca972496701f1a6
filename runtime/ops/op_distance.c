/* SPDX-License-Identifier: Apache-2.0 */
/* Distances between vectors, and the losses made of them. */
#include <math.h>

#include "ops/op_loss.h"
#include "ops/op_rows.h"

/* As the field of an option, where zero stands for the default. */
static double given(double x) {
    return x == 0.0 ? (double)RL_ZERO : x;
}

/* max(x, least), whose gradient is x's everywhere: only the value is held. */
static rl_tensor *held_above(rl_tensor *x, double least) {
    bool recording = rl_recording_;
    rl_recording_ = false;
    rl_tensor *missing = rl_sub(rl_clamp_min(x, least), x);
    rl_recording_ = recording;
    return rl_add(x, missing);
}

/* normalize, cosine_similarity, pairwise_distance, cdist ----------------------------------------------------------- */

/* args: input, p, dim, eps */
static rl_status normalize_lower(rl_call *call) {
    rl_tensor *x = rl_arg_tensor(call, 0);
    rl_tensor *norm =
        rl_norm(x, .p = given(rl_arg_double(call, 1)), .dim = RL_DIMS(rl_arg_int(call, 2)), .keepdim = true);
    call->results[0] = rl_div(x, rl_clamp_min(norm, rl_arg_double(call, 3)));
    return rl_error_status();
}

static const rl_sample normalize_samples[] = {{"f[3,4]"},     {"f[3,4], 1, 0"}, {"p[2,3,4], 3, -1"}, {"f[5,7]t, 2, 0"},
                                              {"f[4], 2, 0"}, {"f[0,3]"},       {"f[2,6]s"},         {0}};
static const rl_bad normalize_bad[] = {{"f[3], 2, 1", RL_INDEX_OUT_OF_RANGE, "dim 1 is out of range"},
                                       {"i64[3,3]", RL_DTYPE_MISMATCH, "floating dtype"},
                                       {0}};

const rl_op_def rl_op_def_normalize = {
    .schema = "normalize(Tensor input, float p=2.0, int dim=1, float eps=1e-12) -> Tensor",
    .doc = "y = input / max(|input|_p, eps) along dim",
    .flags = RL_OP_COMPOSITE,
    .lower = normalize_lower,
    .samples = normalize_samples,
    .bad = normalize_bad,
};

/* args: x1, x2, dim, eps */
static rl_status cosine_similarity_lower(rl_call *call) {
    rl_status status = rl_check_float(call, 0);
    if (status == RL_OK)
        status = rl_check_float(call, 1);
    if (status != RL_OK)
        return status;
    rl_tensor *unit[2];
    int64_t dim = rl_arg_int(call, 2), ndim;
    rl_tensor *x1 = rl_arg_tensor(call, 0), *x2 = rl_arg_tensor(call, 1);
    int64_t shape[RL_MAX_DIMS];
    if (rl_broadcast_shapes(rl_call_name(call), x1->ndim, x1->shape, x2->ndim, x2->shape, &ndim, shape) != RL_OK)
        return rl_error_status();
    for (int i = 0; i < 2; i++) {
        rl_tensor *x = rl_expand(rl_arg_tensor(call, i), RL_INTS(shape, ndim));
        unit[i] = rl_div(x, held_above(rl_norm(x, .dim = RL_DIMS(dim), .keepdim = true), rl_arg_double(call, 3)));
    }
    call->results[0] = rl_sum(rl_mul(unit[0], unit[1]), .dim = RL_DIMS(dim));
    return rl_error_status();
}

static const rl_sample cosine_samples[] = {{"f[3,4], f[3,4]"},
                                           {"f[3,4], f[3,4], 0"},
                                           {"f[2,3,4], f[3,4], -1"},
                                           {"f[5,7]t, f[5,7]s, 1"},
                                           {"f[3,4], f[4], 1"},
                                           {"f[0,3], f[0,3]"},
                                           {0}};
static const rl_bad cosine_bad[] = {{"f[2,3], f[2,4]", RL_SHAPE_MISMATCH, "broadcast"},
                                    {"f[3], f[3]", RL_INDEX_OUT_OF_RANGE, "dim 1 is out of range"},
                                    {"i64[2,3], f[2,3]", RL_DTYPE_MISMATCH, "x1 must be of a floating dtype"},
                                    {0}};

const rl_op_def rl_op_def_cosine_similarity = {
    .schema = "cosine_similarity(Tensor x1, Tensor x2, int dim=1, float eps=1e-8) -> Tensor",
    .doc = "y = sum(x1 / max(|x1|, eps) x2 / max(|x2|, eps)) along dim",
    .flags = RL_OP_COMPOSITE,
    .lower = cosine_similarity_lower,
    .samples = cosine_samples,
    .bad = cosine_bad,
};

static rl_tensor *distance(rl_tensor *x1, rl_tensor *x2, double p, double eps, bool keep) {
    return rl_norm(rl_add(rl_sub(x1, x2), eps), .p = given(p), .dim = RL_DIMS(-1), .keepdim = keep);
}

/* args: x1, x2, p, eps, keepdim */
static rl_status pairwise_distance_lower(rl_call *call) {
    call->results[0] = distance(rl_arg_tensor(call, 0), rl_arg_tensor(call, 1), rl_arg_double(call, 2),
                                rl_arg_double(call, 3), rl_arg_bool(call, 4));
    return rl_error_status();
}

static const rl_sample pairwise_samples[] = {{"f[3,4], f[3,4]"},      {"f[3,4], f[4], 1"},
                                             {"f[4], f[4], 3, 0.25"}, {"f[5,7]t, f[5,7]s, 2, 1e-6, true"},
                                             {"f[0,3], f[0,3]"},      {0}};
static const rl_bad pairwise_bad[] = {{"f[2,3], f[2,4]", RL_SHAPE_MISMATCH, "do not broadcast"}, {0}};

const rl_op_def rl_op_def_pairwise_distance = {
    .schema = "pairwise_distance(Tensor x1, Tensor x2, float p=2, float eps=1e-6, bool keepdim=False) -> Tensor",
    .doc = "y = |x1 - x2 + eps|_p along the last dimension",
    .flags = RL_OP_COMPOSITE,
    .lower = pairwise_distance_lower,
    .samples = pairwise_samples,
    .bad = pairwise_bad,
};

/* args: x1, x2, p */
static rl_status cdist_lower(rl_call *call) {
    rl_tensor *x1 = rl_arg_tensor(call, 0), *x2 = rl_arg_tensor(call, 1);
    double p = rl_arg_double(call, 2);
    if (x1->ndim < 2 || x2->ndim < 2)
        return rl_call_fail(call, RL_SHAPE_MISMATCH, "x1 and x2 must have at least 2 dimensions, have %d and %d",
                            x1->ndim, x2->ndim);
    if (x1->shape[x1->ndim - 1] != x2->shape[x2->ndim - 1])
        return rl_call_fail(call, RL_SHAPE_MISMATCH, "x1 and x2 must have as many columns, have %lld and %lld",
                            (long long)x1->shape[x1->ndim - 1], (long long)x2->shape[x2->ndim - 1]);
    if (!(p >= 0.0))
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "p must not be negative, got %g", p);
    call->results[0] = rl_norm(rl_sub(rl_unsqueeze(x1, -2), rl_unsqueeze(x2, -3)), .p = given(p), .dim = RL_DIMS(-1));
    return rl_error_status();
}

static const rl_sample cdist_samples[] = {{"f[3,4], f[2,4]"},        {"f[2,3,4], f[2,5,4], 1"}, {"f[3,4]t, f[2,4], 3"},
                                          {"f[2,3,2], f[4,2], inf"}, {"f[0,3], f[2,3]"},        {0}};
static const rl_bad cdist_bad[] = {{"f[2,3], f[2,4]", RL_SHAPE_MISMATCH, "as many columns, have 3 and 4"},
                                   {"f[2], f[2,4]", RL_SHAPE_MISMATCH, "at least 2 dimensions, have 1 and 2"},
                                   {"f[2,3], f[2,3], -1", RL_INVALID_ARGUMENT, "p must not be negative"},
                                   {0}};

const rl_op_def rl_op_def_cdist = {
    .schema = "cdist(Tensor x1, Tensor x2, float p=2) -> Tensor",
    .doc = "y[.., i, j] = |x1[.., i] - x2[.., j]|_p",
    .flags = RL_OP_COMPOSITE | RL_OP_AUTOCAST_F32,
    .lower = cdist_lower,
    .samples = cdist_samples,
    .bad = cdist_bad,
};

/* Losses ----------------------------------------------------------------------------------------------------------- */

/* args: input1, input2, target, margin, reduction */
static rl_status cosine_embedding_loss_lower(rl_call *call) {
    rl_tensor *x1 = rl_arg_tensor(call, 0), *x2 = rl_arg_tensor(call, 1), *t = rl_arg_tensor(call, 2);
    if (t->ndim > 1 || x1->ndim != t->ndim + 1 || x2->ndim != t->ndim + 1)
        return rl_call_fail(
            call, RL_SHAPE_MISMATCH,
            "input1 and input2 must be (N, D) with target (N), or (D) with target (): they have %d, %d and "
            "%d dimensions",
            x1->ndim, x2->ndim, t->ndim);
    rl_ints dim = RL_DIMS(t->ndim);
    rl_tensor *size1 = rl_add(rl_sum(rl_square(x1), .dim = dim), 1e-12);
    rl_tensor *size2 = rl_add(rl_sum(rl_square(x2), .dim = dim), 1e-12);
    rl_tensor *cosine = rl_div(rl_sum(rl_mul(x1, x2), .dim = dim), rl_sqrt(rl_mul(size1, size2)));
    rl_tensor *near = rl_only_where(rl_eq(t, 1), rl_rsub(cosine, 1));
    rl_tensor *far = rl_only_where(rl_eq(t, -1), rl_clamp_min(rl_sub(cosine, rl_arg_double(call, 3)), 0));
    return rl_loss_result(call, 4, rl_add(near, far));
}

static const rl_sample cosine_embedding_samples[] = {{"f[3,4], f[3,4], i[3]<2"},
                                                     {"f[4], f[4], i[]<2, 0.5"},
                                                     {"f[4,3]t, f[4,3], i[4]<2, 0.0, \"sum\""},
                                                     {"f[4,3], f[4,3], i[4]<2, reduction=\"none\""},
                                                     {0}};
static const rl_bad cosine_embedding_bad[] = {
    {"f[3,4], f[3,4], i[3,1]<2", RL_SHAPE_MISMATCH, "they have 2, 2 and 2 dimensions"},
    {"f[3,4], f[3,4], i[3]<2, reduction=\"max\"", RL_INVALID_ARGUMENT, "reduction must be"},
    {0}};

const rl_op_def rl_op_def_cosine_embedding_loss = {
    .schema =
        "cosine_embedding_loss(Tensor input1, Tensor input2, Tensor target, float margin=0, str reduction='mean') "
        "-> Tensor",
    .doc = "y = mean of 1 - cos(input1, input2) where target is 1, max(0, cos - margin) where it is -1",
    .flags = RL_OP_COMPOSITE | RL_OP_AUTOCAST_F32,
    .lower = cosine_embedding_loss_lower,
    .samples = cosine_embedding_samples,
    .bad = cosine_embedding_bad,
};

/* args: anchor, positive, negative, margin, p, eps, swap, reduction */
static rl_status triplet_margin_loss_lower(rl_call *call) {
    rl_tensor *anchor = rl_arg_tensor(call, 0), *positive = rl_arg_tensor(call, 1), *negative = rl_arg_tensor(call, 2);
    double margin = rl_arg_double(call, 3), p = rl_arg_double(call, 4), eps = rl_arg_double(call, 5);
    if (anchor->ndim != positive->ndim || anchor->ndim != negative->ndim)
        return rl_call_fail(call, RL_SHAPE_MISMATCH,
                            "anchor, positive and negative must have as many dimensions, have %d, %d and %d",
                            anchor->ndim, positive->ndim, negative->ndim);
    if (!(margin > 0.0))
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "margin must be greater than 0, got %g", margin);
    rl_tensor *near = distance(anchor, positive, p, eps, false), *far = distance(anchor, negative, p, eps, false);
    if (rl_arg_bool(call, 6))
        far = rl_minimum(far, distance(positive, negative, p, eps, false));
    return rl_loss_result(call, 7, rl_clamp_min(rl_add(rl_sub(near, far), margin), 0));
}

static const rl_sample triplet_samples[] = {{"f[3,4], f[3,4], f[3,4]"},
                                            {"f[3,4], f[3,4], f[3,4], 2, 1"},
                                            {"f[5,7]t, f[5,7], f[5,7]s, swap=true, reduction=\"sum\""},
                                            {"f[3,4], f[3,4], f[3,4], margin=0.5, reduction=\"none\""},
                                            {0}};
static const rl_bad triplet_bad[] = {
    {"f[3,4], f[3,4], f[4]", RL_SHAPE_MISMATCH, "as many dimensions, have 2, 2 and 1"},
    {"f[3,4], f[3,4], f[3,4], -1", RL_INVALID_ARGUMENT, "margin must be greater than 0, got -1"},
    {0}};

const rl_op_def rl_op_def_triplet_margin_loss = {
    .schema = "triplet_margin_loss(Tensor anchor, Tensor positive, Tensor negative, float margin=1.0, float p=2, "
              "float eps=1e-6, bool swap=False, str reduction='mean') -> Tensor",
    .doc = "y = mean of max(0, d(anchor, positive) - d(anchor, negative) + margin), d = pairwise_distance",
    .note = "swap: the smaller of d(anchor, negative) and d(positive, negative) counts. Balntas et al. 2016, Learning "
            "shallow convolutional feature descriptors with triplet losses.",
    .flags = RL_OP_COMPOSITE | RL_OP_AUTOCAST_F32,
    .lower = triplet_margin_loss_lower,
    .samples = triplet_samples,
    .bad = triplet_bad,
};
