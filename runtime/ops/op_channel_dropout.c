/* SPDX-License-Identifier: Apache-2.0 */
/* Dropout of whole channels, and dropout that keeps mean and variance of what SELU gives. The one draw is that of
 * native_dropout, over ones. */
#include <math.h>

#include "ops/op_rows.h"

/* Ones of x's shape, or of (N, C, 1, ...); an unbatched x has its channels first. */
static rl_tensor *ones_like(rl_tensor *x, bool channels, bool batched) {
    int64_t shape[RL_MAX_DIMS];
    for (int64_t d = 0; d < x->ndim; d++)
        shape[d] = !channels || d < (batched ? 2 : 1) ? x->shape[d] : 1;
    return rl_ones(RL_INTS(shape, x->ndim), .dtype = rl_tensor_dtype(x), .device = rl_tensor_device(x));
}

/* args: input, p, train */
static rl_status check_arguments(const rl_call *call) {
    double p = rl_arg_double(call, 1);
    if (!(p >= 0.0 && p <= 1.0))
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "p must lie within 0 and 1, got %g", p);
    return rl_check_float(call, 0);
}

static rl_status check_dims(const rl_call *call, int64_t least, int64_t most) {
    const rl_tensor *x = rl_arg_tensor(call, 0);
    char text[RL_SHAPE_TEXT];
    return x->ndim >= least && x->ndim <= most
               ? RL_OK
               : rl_call_fail(call, RL_SHAPE_MISMATCH, "input must have %lld or %lld dimensions, has shape %s",
                              (long long)least, (long long)most, rl_shape_text(x->ndim, x->shape, text));
}

static bool draws(const rl_call *call) {
    return rl_arg_bool(call, 2) && rl_arg_double(call, 1) != 0.0;
}

static rl_status drop_channels(rl_call *call, bool batched) {
    rl_tensor *x = rl_arg_tensor(call, 0);
    rl_status status = check_arguments(call);
    if (status != RL_OK)
        return status;
    call->results[0] =
        draws(call) ? rl_mul(x, rl_native_dropout(ones_like(x, true, batched), rl_arg_double(call, 1)).output) : x;
    return rl_error_status();
}

static rl_status dropout1d_lower(rl_call *call) {
    return check_dims(call, 2, 3) == RL_OK ? drop_channels(call, rl_arg_tensor(call, 0)->ndim == 3) : rl_error_status();
}
static rl_status dropout2d_lower(rl_call *call) {
    return check_dims(call, 3, 4) == RL_OK ? drop_channels(call, true) : rl_error_status();
}
static rl_status dropout3d_lower(rl_call *call) {
    return check_dims(call, 4, 5) == RL_OK ? drop_channels(call, rl_arg_tensor(call, 0)->ndim == 5) : rl_error_status();
}
static rl_status feature_dropout_lower(rl_call *call) {
    return check_dims(call, 2, RL_MAX_DIMS) == RL_OK ? drop_channels(call, true) : rl_error_status();
}

#define ALPHA 1.7580993408473766 /* scale times alpha of selu, the value that it tends to */

/* y = a (x where kept, else -ALPHA) + a p ALPHA, a = 1 / sqrt((1 - p) (1 + p ALPHA^2)) */
static rl_status drop_to_alpha(rl_call *call, bool channels) {
    rl_tensor *x = rl_arg_tensor(call, 0);
    double p = rl_arg_double(call, 1);
    rl_status status = check_arguments(call);
    if (status != RL_OK)
        return status;
    if (!draws(call)) {
        call->results[0] = x;
        return RL_OK;
    }
    if (p == 1.0) {
        call->results[0] = rl_mul(x, 0);
        return rl_error_status();
    }
    double a = 1.0 / sqrt((1.0 - p) * (1.0 + p * ALPHA * ALPHA));
    rl_tensor *kept = rl_native_dropout(ones_like(x, channels, true), p).mask;
    call->results[0] = rl_where(kept, rl_add(rl_mul(x, a), a * p * ALPHA), a * (p - 1.0) * ALPHA);
    return rl_error_status();
}
static rl_status alpha_dropout_lower(rl_call *call) {
    return drop_to_alpha(call, false);
}
static rl_status feature_alpha_dropout_lower(rl_call *call) {
    return check_dims(call, 2, RL_MAX_DIMS) == RL_OK ? drop_to_alpha(call, true) : rl_error_status();
}

static const rl_sample dropout1_samples[] = {
    {"f[3,4,5], 0.5, true"}, {"f[3,5], 0.25, true"}, {"f[0,3,2], 0.5, true"}, {"f[5,7,2]t, 0.5, false"}, {0}};
static const rl_sample dropout2_samples[] = {
    {"f[3,4,2,3], 0.5, true"}, {"f[3,4,5], 0.25, true"}, {"f[2,3,2,2]t, 1.0, true"}, {0}};
static const rl_sample dropout3_samples[] = {{"f[2,3,2,2,2], 0.5, true"}, {"f[3,2,2,2], 0.25, true"}, {0}};
static const rl_sample alpha_samples[] = {{"f[3,4], 0.5, true"}, {"f[5,7]t, 0.25, true"}, {"f[0,3], 0.5, true"},
                                          {"f[3,4], 1.0, true"}, {"f[3,4], 0.5, false"},  {0}};
static const rl_bad dropout1_bad[] = {
    {"f[2], 0.5, true", RL_SHAPE_MISMATCH, "input must have 2 or 3 dimensions, has shape (2)"},
    {"f[2,3], 1.5, true", RL_INVALID_ARGUMENT, "p must lie within 0 and 1, got 1.5"},
    {"i64[2,3], 0.5, true", RL_DTYPE_MISMATCH, "floating dtype"},
    {0}};
static const rl_bad dropout2_bad[] = {
    {"f[2,3], 0.5, true", RL_SHAPE_MISMATCH, "input must have 3 or 4 dimensions, has shape (2, 3)"}, {0}};
static const rl_bad dropout3_bad[] = {
    {"f[2,3], 0.5, true", RL_SHAPE_MISMATCH, "input must have 4 or 5 dimensions, has shape (2, 3)"}, {0}};
static const rl_bad feature_bad[] = {{"f[2], 0.5, true", RL_SHAPE_MISMATCH, "input must have 2 or 12 dimensions"}, {0}};
static const rl_bad alpha_bad[] = {{"f[2,3], -0.5, true", RL_INVALID_ARGUMENT, "p must lie within 0 and 1, got -0.5"},
                                   {0}};

const rl_op_def rl_op_def_dropout1d = {
    .schema = "dropout1d(Tensor input, float p=0.5, bool train=True) -> Tensor",
    .doc = "y = input with whole channels of (N, C, L) or (C, L) zeroed with probability p, the others over 1 - p",
    .flags = RL_OP_COMPOSITE | RL_OP_RANDOM,
    .lower = dropout1d_lower,
    .samples = dropout1_samples,
    .bad = dropout1_bad,
};

const rl_op_def rl_op_def_dropout2d = {
    .schema = "dropout2d(Tensor input, float p=0.5, bool train=True) -> Tensor",
    .doc = "y = input with whole channels of (N, C, H, W) zeroed with probability p, the others over 1 - p",
    .note = "Three dimensions are taken as (N, C, L), as PyTorch does.",
    .flags = RL_OP_COMPOSITE | RL_OP_RANDOM,
    .lower = dropout2d_lower,
    .samples = dropout2_samples,
    .bad = dropout2_bad,
};

const rl_op_def rl_op_def_dropout3d = {
    .schema = "dropout3d(Tensor input, float p=0.5, bool train=True) -> Tensor",
    .doc =
        "y = input with whole channels of (N, C, D, H, W) or (C, D, H, W) zeroed with probability p, the others over "
        "1 - p",
    .flags = RL_OP_COMPOSITE | RL_OP_RANDOM,
    .lower = dropout3d_lower,
    .samples = dropout3_samples,
    .bad = dropout3_bad,
};

const rl_op_def rl_op_def_feature_dropout = {
    .schema = "feature_dropout(Tensor input, float p, bool train) -> Tensor",
    .doc = "y = input with whole channels of (N, C, ...) zeroed with probability p, the others over 1 - p",
    .flags = RL_OP_COMPOSITE | RL_OP_RANDOM,
    .lower = feature_dropout_lower,
    .samples = dropout2_samples,
    .bad = feature_bad,
};

const rl_op_def rl_op_def_alpha_dropout = {
    .schema = "alpha_dropout(Tensor input, float p=0.5, bool train=False) -> Tensor",
    .doc = "y = a (input, or -1.7581 with probability p) + b, with a and b that keep mean 0 and variance 1",
    .note = "Klambauer et al. 2017, Self-Normalizing Neural Networks.",
    .flags = RL_OP_COMPOSITE | RL_OP_RANDOM,
    .lower = alpha_dropout_lower,
    .samples = alpha_samples,
    .bad = alpha_bad,
};

const rl_op_def rl_op_def_feature_alpha_dropout = {
    .schema = "feature_alpha_dropout(Tensor input, float p=0.5, bool train=False) -> Tensor",
    .doc = "y = alpha_dropout of whole channels of input (N, C, ...)",
    .flags = RL_OP_COMPOSITE | RL_OP_RANDOM,
    .lower = feature_alpha_dropout_lower,
    .samples = alpha_samples,
    .bad = feature_bad,
};
