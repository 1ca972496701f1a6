/* SPDX-License-Identifier: Apache-2.0 */
/* layer_norm, rms_norm, group_norm, local_response_norm: made of other ops, which bring their derivatives. */
#include <float.h>
#include <string.h>

#include "ops/op_rows.h"

static rl_status fail_not_vector(const rl_call *call, const char *name, const rl_tensor *t, int64_t channels) {
    char text[RL_SHAPE_TEXT];
    return rl_call_fail(call, RL_SHAPE_MISMATCH, "%s must have one number for each of %lld channels, has shape %s",
                        name, (long long)channels, rl_shape_text(t->ndim, t->shape, text));
}

/* layer_norm, rms_norm -------------------------------------------------------------------------------------------- */

/* normalized_shape must be the end of input's shape, and the shape of weight and bias. */
static rl_status check_normalized(const rl_call *call, int n_params) {
    static const char *const names[] = {"weight", "bias"};
    const rl_tensor *input = rl_arg_tensor(call, 0);
    rl_ints shape = rl_arg_ints(call, 1);
    int64_t lead = input->ndim - shape.count;
    char text[RL_SHAPE_TEXT], expected[RL_SHAPE_TEXT];
    if (shape.count == 0 || shape.count > RL_MAX_DIMS)
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "normalized_shape must have 1 to %d sizes, has %lld",
                            RL_MAX_DIMS, (long long)shape.count);
    rl_shape_text(shape.count, shape.data, expected);
    if (lead < 0 || memcmp(input->shape + lead, shape.data, (size_t)shape.count * sizeof *shape.data) != 0)
        return rl_call_fail(call, RL_SHAPE_MISMATCH, "input %s must end with normalized_shape %s",
                            rl_shape_text(input->ndim, input->shape, text), expected);
    for (int i = 0; i < n_params; i++) {
        const rl_tensor *t = rl_arg_tensor(call, 2 + i);
        if (t && (t->ndim != shape.count || memcmp(t->shape, shape.data, (size_t)t->ndim * sizeof *t->shape) != 0))
            return rl_call_fail(call, RL_SHAPE_MISMATCH, "%s %s must have normalized_shape %s", names[i],
                                rl_shape_text(t->ndim, t->shape, text), expected);
    }
    return RL_OK;
}

/* Normalizes over the last dimensions, as many as normalized_shape has. */
static rl_status over_last(rl_call *call, rl_tensor *input, rl_tensor *weight, rl_tensor *bias, double eps,
                           bool center) {
    int64_t dims[RL_MAX_DIMS], count = rl_arg_ints(call, 1).count;
    for (int64_t i = 0; i < count; i++)
        dims[i] = i - count;
    call->results[0] = rl_native_norm(input, RL_INTS(dims, count), weight, bias, eps, center).output;
    return rl_error_status();
}

static rl_status layer_norm_lower(rl_call *call) {
    rl_status status = check_normalized(call, 2);
    return status == RL_OK ? over_last(call, rl_arg_tensor(call, 0), rl_arg_tensor(call, 2), rl_arg_tensor(call, 3),
                                       rl_arg_double(call, 4), true)
                           : status;
}

static const rl_sample layer_norm_samples[] = {{"f[3,5], [5], p[5], f[5]"},
                                               {"f[2,3,5], [3,5], p[3,5], f[3,5], 0.1"},
                                               {"f[3,5], [5]"},
                                               {"f[3,5], [5], p[5]"},
                                               {"f[3,5], [5], None, f[5]"},
                                               {"f[0,5], [5], p[5], f[5]"},
                                               {"f[2,4,7]t, [7], p[7], f[7]"},
                                               {"f[3,33]s, [33], p[33]s, f[33]"},
                                               {"f[5], [5], f[5]e, f[5]"},
                                               {0}};
static const rl_bad layer_norm_bad[] = {
    {"f[2,4], [3]", RL_SHAPE_MISMATCH, "input (2, 4) must end with normalized_shape (3)"},
    {"f[4], [1,4]", RL_SHAPE_MISMATCH, "input (4) must end with normalized_shape (1, 4)"},
    {"f[2,4], []", RL_INVALID_ARGUMENT, "normalized_shape must have 1 to 12 sizes, has 0"},
    {"f[2,4], [4], f[3]", RL_SHAPE_MISMATCH, "weight (3) must have normalized_shape (4)"},
    {"f[2,4], [4], f[4], f[1]", RL_SHAPE_MISMATCH, "bias (1) must have normalized_shape (4)"},
    {"i64[2,4], [4]", RL_DTYPE_MISMATCH, "floating"},
    {0}};

const rl_op_def rl_op_def_layer_norm = {
    .schema = "layer_norm(Tensor input, int[] normalized_shape, Tensor? weight=None, Tensor? bias=None, "
              "float eps=1e-5) -> Tensor",
    .doc =
        "y = (input - mean) / sqrt(var + eps) weight + bias, with the mean and variance (by n) of the last dimensions",
    .note =
        "normalized_shape is the end of input's shape, and the shape of weight and bias. Ba, Kiros and Hinton 2016.",
    .flags = RL_OP_COMPOSITE,
    .lower = layer_norm_lower,
    .samples = layer_norm_samples,
    .bad = layer_norm_bad,
};

/* eps None is the rounding error of what is computed in. A weight of another dtype makes input one of that, then. */
static rl_status rms_norm_lower(rl_call *call) {
    rl_tensor *input = rl_arg_tensor(call, 0), *weight = rl_arg_tensor(call, 2);
    rl_status status = check_normalized(call, 1);
    if (status == RL_OK)
        status = rl_check_float(call, 0);
    if (status != RL_OK)
        return status;
    double eps = rl_arg_given(call, 3)    ? rl_arg_double(call, 3)
                 : input->dtype == RL_F64 ? DBL_EPSILON
                                          : (double)FLT_EPSILON;
    return over_last(call, input, weight, NULL, eps, false);
}

static const rl_sample rms_norm_samples[] = {{"f[3,5], [5], p[5]"},
                                             {"f[2,3,5], [3,5], p[3,5], 0.1"},
                                             {"f[3,5], [5], None, 0.01"},
                                             {"f[0,5], [5], p[5]"},
                                             {"f[2,4,7]t, [7], p[7]"},
                                             {"f[3,33]s, [33], p[33]s"},
                                             {0}};
static const rl_bad rms_norm_bad[] = {
    {"f[2,4], [3]", RL_SHAPE_MISMATCH, "input (2, 4) must end with normalized_shape (3)"},
    {"f[2,4], [4], f[3]", RL_SHAPE_MISMATCH, "weight (3) must have normalized_shape (4)"},
    {"i64[2,4], [4]", RL_DTYPE_MISMATCH, "floating"},
    {0}};

const rl_op_def rl_op_def_rms_norm = {
    .schema = "rms_norm(Tensor input, int[] normalized_shape, Tensor? weight=None, float? eps=None) -> Tensor",
    .doc = "y = input / sqrt(mean(input^2) + eps) weight, the mean over the last dimensions",
    .note = "normalized_shape is the end of input's shape, and the shape of weight. eps None is the step above 1 of "
            "float32, of float64 that of float64. Zhang and Sennrich 2019.",
    .flags = RL_OP_COMPOSITE,
    .lower = rms_norm_lower,
    .samples = rms_norm_samples,
    .bad = rms_norm_bad,
};

/* group_norm ------------------------------------------------------------------------------------------------------ */

static rl_status check_groups(const rl_call *call) {
    const rl_tensor *input = rl_arg_tensor(call, 0);
    int64_t groups = rl_arg_int(call, 1);
    char text[RL_SHAPE_TEXT];
    if (input->ndim < 2 || input->ndim == RL_MAX_DIMS)
        return rl_call_fail(call, RL_SHAPE_MISMATCH, "input must have 2 to %d dimensions, not %d", RL_MAX_DIMS - 1,
                            input->ndim);
    if (groups < 1)
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "num_groups must be positive, got %lld", (long long)groups);
    if (input->shape[1] % groups != 0)
        return rl_call_fail(call, RL_SHAPE_MISMATCH, "the channels of input %s must be a multiple of num_groups %lld",
                            rl_shape_text(input->ndim, input->shape, text), (long long)groups);
    for (int i = 2; i < 4; i++) {
        const rl_tensor *t = rl_arg_tensor(call, i);
        if (t && (t->ndim != 1 || t->shape[0] != input->shape[1]))
            return fail_not_vector(call, i == 2 ? "weight" : "bias", t, input->shape[1]);
    }
    return RL_OK;
}

/* As (N, groups, channels of a group, ...), normalized from the third dimension on. */
static rl_status group_norm_lower(rl_call *call) {
    rl_tensor *input = rl_arg_tensor(call, 0), *params[2] = {rl_arg_tensor(call, 2), rl_arg_tensor(call, 3)};
    rl_status status = check_groups(call);
    if (status != RL_OK)
        return status;
    int64_t groups = rl_arg_int(call, 1), dims[RL_MAX_DIMS], shape[RL_MAX_DIMS];
    for (int64_t d = 0; d < input->ndim; d++) {
        dims[d] = d + 2;
        shape[d] = 1;
    }
    shape[0] = groups;
    shape[1] = input->shape[1] / groups;
    for (int i = 0; i < 2; i++)
        if (params[i])
            params[i] = rl_reshape(params[i], RL_INTS(shape, input->ndim));
    rl_tensor *grouped = rl_unflatten(input, 1, RL_INTS(shape, 2));
    rl_tensor *y =
        rl_native_norm(grouped, RL_INTS(dims, input->ndim - 1), params[0], params[1], rl_arg_double(call, 4), true)
            .output;
    call->results[0] = y ? rl_reshape(y, rl_shape_of(input)) : NULL;
    return rl_error_status();
}

static const rl_sample group_norm_samples[] = {
    {"f[2,4,5], 2, p[4], f[4]"}, {"f[2,6,2,3], 3, p[6], f[6], 0.1"}, {"f[2,6,2,3], 1"},
    {"f[2,6,2,3], 6, p[6]"},     {"f[3,6], 2, p[6], f[6]"},          {"f[2,4,3]t, 2, None, f[4]"},
    {"f[0,4,3], 2, p[4], f[4]"}, {"f[2,4,33]s, 2, p[4]s, f[4]"},     {0}};
static const rl_bad group_norm_bad[] = {
    {"f[2,4], 3", RL_SHAPE_MISMATCH, "the channels of input (2, 4) must be a multiple of num_groups 3"},
    {"f[2,4], 0", RL_INVALID_ARGUMENT, "num_groups must be positive, got 0"},
    {"f[4], 2", RL_SHAPE_MISMATCH, "input must have 2 to 11 dimensions, not 1"},
    {"f[2,4,3], 2, f[3]", RL_SHAPE_MISMATCH, "weight must have one number for each of 4 channels, has shape (3)"},
    {"i64[2,4], 2", RL_DTYPE_MISMATCH, "floating"},
    {0}};

const rl_op_def rl_op_def_group_norm = {
    .schema = "group_norm(Tensor input, int num_groups, Tensor? weight=None, Tensor? bias=None, float eps=1e-5) -> "
              "Tensor",
    .doc =
        "y = (input - mean) / sqrt(var + eps) weight + bias, with the mean and variance (by n) of a group of channels",
    .note = "input has shape (N, C, ...), weight and bias (C). Wu and He 2018.",
    .flags = RL_OP_COMPOSITE,
    .lower = group_norm_lower,
    .samples = group_norm_samples,
    .bad = group_norm_bad,
};

/* local_response_norm --------------------------------------------------------------------------------------------- */

/* The squares with zeros before and behind the channels, so that each window has `size` of them. */
static rl_tensor *padded_squares(rl_tensor *input, int64_t size) {
    int64_t shape[RL_MAX_DIMS];
    memcpy(shape, input->shape, (size_t)input->ndim * sizeof *shape);
    rl_tensor *parts[3] = {NULL, rl_square(input), NULL};
    for (int i = 0; i < 3; i += 2) {
        shape[1] = i == 0 ? size / 2 : (size - 1) / 2;
        parts[i] =
            rl_zeros(RL_INTS(shape, input->ndim), .dtype = (rl_dtype)input->dtype, .device = input->storage->device);
    }
    return rl_cat(((rl_tensors){parts, 3}), .dim = 1);
}

static rl_status local_response_norm_lower(rl_call *call) {
    rl_tensor *input = rl_arg_tensor(call, 0);
    int64_t size = rl_arg_int(call, 1);
    rl_status status = rl_check_float(call, 0);
    if (status != RL_OK)
        return status;
    if (input->ndim < 3 || input->ndim == RL_MAX_DIMS)
        return rl_call_fail(call, RL_SHAPE_MISMATCH, "input must have 3 to %d dimensions, not %d", RL_MAX_DIMS - 1,
                            input->ndim);
    if (size < 1)
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "size must be positive, got %lld", (long long)size);
    if (input->numel == 0) {
        call->results[0] = input;
        return RL_OK;
    }
    rl_tensor *windows = rl_unfold(padded_squares(input, size), 1, size, 1);
    rl_tensor *mean = rl_mean(windows, .dim = RL_DIMS(-1));
    rl_tensor *divisor =
        rl_pow(rl_add(rl_mul(mean, rl_arg_double(call, 2)), rl_arg_double(call, 4)), rl_arg_double(call, 3));
    call->results[0] = rl_div(input, divisor);
    return rl_error_status();
}

static const rl_sample local_response_norm_samples[] = {{"f[2,5,3], 3, 0.5"},  {"f[2,5,2,3], 2, 0.5, 0.5, 2.0"},
                                                        {"f[2,3,3], 5, 0.5"},  {"f[2,3,0], 2"},
                                                        {"f[2,4,3]t, 1, 0.5"}, {0}};
static const rl_bad local_response_norm_bad[] = {
    {"f[2,5], 3", RL_SHAPE_MISMATCH, "input must have 3 to 11 dimensions, not 2"},
    {"f[2,5,3], 0", RL_INVALID_ARGUMENT, "size must be positive, got 0"},
    {"i64[2,5,3], 2", RL_DTYPE_MISMATCH, "floating"},
    {0}};

const rl_op_def rl_op_def_local_response_norm = {
    .schema = "local_response_norm(Tensor input, int size, float alpha=1e-4, float beta=0.75, float k=1.0) -> Tensor",
    .doc = "y = input / (k + alpha m)^beta, m the mean of input^2 over `size` channels around each",
    .note = "input has shape (N, C, ...); channels beyond the first and the last are 0. Krizhevsky et al. 2012.",
    .flags = RL_OP_COMPOSITE,
    .lower = local_response_norm_lower,
    .samples = local_response_norm_samples,
    .bad = local_response_norm_bad,
};
