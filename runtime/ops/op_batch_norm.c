/* SPDX-License-Identifier: Apache-2.0 */
/* batch_norm and instance_norm, which keep running statistics, and the program that normalizes with given ones. */
#include <assert.h>
#include <string.h>

#include "ops/op_rows.h"

/* Channels are dimension 1. ---------------------------------------------------------------------------------------- */

typedef struct channel_norm {
    rl_tensor *input, *running[2], *params[2]; /* mean and var, weight and bias; each pair may be NULL */
    int64_t channels;
    bool training;
    double momentum, eps;
} channel_norm;

static rl_status check_vector(const rl_call *call, const char *name, const rl_tensor *t, int64_t channels) {
    char text[RL_SHAPE_TEXT];
    if (t == NULL || (t->ndim == 1 && t->shape[0] == channels))
        return RL_OK;
    return rl_call_fail(call, RL_SHAPE_MISMATCH, "%s must have one number for each of %lld channels, has shape %s",
                        name, (long long)channels, rl_shape_text(t->ndim, t->shape, text));
}

/* Both ops have: input, running_mean, running_var, weight, bias, training (or use_input_stats), momentum, eps. */
static rl_status read_arguments(const rl_call *call, int least_dims, channel_norm *out) {
    static const char *const names[] = {"running_mean", "running_var", "weight", "bias"};
    *out = (channel_norm){.input = rl_arg_tensor(call, 0),
                          .running = {rl_arg_tensor(call, 1), rl_arg_tensor(call, 2)},
                          .params = {rl_arg_tensor(call, 3), rl_arg_tensor(call, 4)},
                          .training = rl_arg_bool(call, 5),
                          .momentum = rl_arg_double(call, 6),
                          .eps = rl_arg_double(call, 7)};
    assert(out->input != NULL);
    rl_status status = rl_check_float(call, 0);
    if (status == RL_OK && out->input->ndim < least_dims)
        status = rl_call_fail(call, RL_SHAPE_MISMATCH, "input must have at least %d dimensions, has %d", least_dims,
                              out->input->ndim);
    if (status != RL_OK)
        return status;
    out->channels = out->input->shape[1];
    for (int i = 0; i < 4 && status == RL_OK; i++)
        status = check_vector(call, names[i], rl_arg_tensor(call, 1 + i), out->channels);
    if (status != RL_OK)
        return status;
    if ((out->running[0] == NULL) != (out->running[1] == NULL))
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "running_mean and running_var must be given both or neither");
    for (int i = 0; i < 2 && out->running[0] && status == RL_OK; i++)
        status = rl_check_float(call, 1 + i);
    return status;
}

/* (C) as (C, 1, ...), which broadcasts to input; NULL stays NULL. */
static rl_tensor *over_channels(const channel_norm *self, rl_tensor *t) {
    int64_t shape[RL_MAX_DIMS] = {self->channels};
    for (int64_t d = 1; d < self->input->ndim - 1; d++)
        shape[d] = 1;
    return t && self->input->ndim > 2 ? rl_reshape(t, RL_INTS(shape, self->input->ndim - 1)) : t;
}

static rl_native_norm_result normalize(const channel_norm *self, rl_ints dims) {
    return rl_native_norm(self->input, dims, over_channels(self, self->params[0]), over_channels(self, self->params[1]),
                          self->eps, true);
}

/* running = (1 - momentum) running + momentum now, outside of the graph; the variance by n - 1. */
static rl_status update_running(const channel_norm *self, rl_tensor *mean, rl_tensor *var, double n) {
    rl_tensor *now[2] = {mean, var};
    bool was = rl_recording_;
    rl_recording_ = false;
    for (int i = 0; i < 2 && !rl_failed(); i++) {
        rl_tensor *flat = rl_reshape(now[i], RL_DIMS(self->channels));
        double share = self->momentum * (i == 1 ? n / (n - 1.0) : 1.0);
        rl_mul_(self->running[i], 1.0 - self->momentum);
        rl_add_(self->running[i], flat, .alpha = share == 0.0 ? (double)RL_ZERO : share);
    }
    rl_recording_ = was;
    return rl_error_status();
}

/* (C) as (C, 1, ...), another tensor over its storage, without history. */
static rl_tensor *constant_over_channels(const channel_norm *self, const rl_tensor *t) {
    int64_t shape[RL_MAX_DIMS] = {self->channels}, stride[RL_MAX_DIMS] = {t->stride[0]};
    for (int64_t d = 1; d < self->input->ndim - 1; d++)
        shape[d] = 1;
    return rl_over(t, self->input->ndim - 1, shape, stride, t->offset);
}

/* With the running statistics, which are constants: weight / sqrt(var + eps) is taken once for each channel. */
static rl_status normalize_by_running(rl_call *call, const channel_norm *self) {
    rl_dtype compute = rl_accumulator((rl_dtype)self->input->dtype);
    rl_tensor *weight = over_channels(self, self->params[0]), *bias = over_channels(self, self->params[1]);
    rl_tensor *mean = constant_over_channels(self, self->running[0]);
    rl_tensor *var = constant_over_channels(self, self->running[1]);
    if (var && (rl_dtype)var->dtype != compute)
        var = rl_to(var, .dtype = compute);
    rl_tensor *scale = rl_rsqrt(rl_add(var, self->eps));
    call->results[0] = rl_native_norm_inference(self->input, mean, weight ? rl_mul(scale, weight) : scale, bias);
    return rl_error_status();
}

/* batch_norm ------------------------------------------------------------------------------------------------------ */

static rl_status batch_norm_lower(rl_call *call) {
    channel_norm self;
    rl_status status = read_arguments(call, 2, &self);
    if (status != RL_OK)
        return status;
    const rl_tensor *input = self.input;
    if (!self.training && self.running[0] == NULL)
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "without training, running_mean and running_var must be given");
    if (!self.training)
        return normalize_by_running(call, &self);
    double n = 1.0;
    int64_t dims[RL_MAX_DIMS];
    for (int64_t d = 0; d < input->ndim; d++) {
        dims[d > 0 ? d - 1 : 0] = d;
        n *= d == 1 ? 1.0 : (double)input->shape[d];
    }
    dims[0] = 0;
    if (n == 1.0) {
        char text[RL_SHAPE_TEXT];
        return rl_call_fail(call, RL_SHAPE_MISMATCH,
                            "training needs more than one value for each channel, input has shape %s",
                            rl_shape_text(input->ndim, input->shape, text));
    }
    rl_native_norm_result r = normalize(&self, RL_INTS(dims, input->ndim - 1));
    call->results[0] = r.output;
    return r.output && self.running[0] && input->numel > 0 ? update_running(&self, r.mean, r.var, n)
                                                           : rl_error_status();
}

#define CONSTANT .no_gradcheck = true, .why = "running statistics are constants"
static const rl_sample batch_norm_samples[] = {{"f[4,3,5], None, None, p[3], f[3], true"},
                                               {"f[4,3], None, None, p[3], f[3], true, 0.1, 0.01"},
                                               {"f[2,3,2,4], None, None, None, None, true"},
                                               {"f[2,3,2,4], None, None, p[3], None, true"},
                                               {"f[2,3,2,4], None, None, None, f[3], true"},
                                               {"f[4,3,5], f[3], p[3], p[3], f[3], false", CONSTANT},
                                               {"f[4,3], f[3], p[3], p[3], f[3], false, 0.1, 0.01", CONSTANT},
                                               {"f[4,3,2,2]t, f[3], p[3], None, None, false", CONSTANT},
                                               {"f[4,3,7]t, None, None, p[3], f[3], true"},
                                               {"f[0,3,5], None, None, p[3], f[3], true"},
                                               {"f[2,3,33]s, None, None, p[3]s, f[3], true"},
                                               {0}};
static const rl_bad batch_norm_bad[] = {
    {"f[1,3], None, None, None, None, true", RL_SHAPE_MISMATCH, "more than one value for each channel"},
    {"f[2,3], None, None", RL_INVALID_ARGUMENT, "without training, running_mean"},
    {"f[2,3], f[3], None", RL_INVALID_ARGUMENT, "both or neither"},
    {"f[2,3], f[4], p[4]", RL_SHAPE_MISMATCH, "running_mean must have one number for each of 3 channels"},
    {"f[2,3], f[3], p[3], f[2]", RL_SHAPE_MISMATCH, "weight must have one number for each of 3 channels"},
    {"f[3], f[3], p[3]", RL_SHAPE_MISMATCH, "input must have at least 2 dimensions, has 1"},
    {"f[2,3], i64[3], p[3]", RL_DTYPE_MISMATCH, "running_mean must be of a floating dtype"},
    {"i64[2,3], None, None, None, None, true", RL_DTYPE_MISMATCH, "floating"},
    {0}};

const rl_op_def rl_op_def_batch_norm = {
    .schema = "batch_norm(Tensor input, Tensor? running_mean, Tensor? running_var, Tensor? weight=None, "
              "Tensor? bias=None, bool training=False, float momentum=0.1, float eps=1e-5) -> Tensor",
    .doc = "y = (input - mean) / sqrt(var + eps) weight + bias, with the mean and variance (by n) of each channel",
    .note =
        "input has shape (N, C, ...), the others (C). Where training is set, mean and variance are input's, and the "
        "running ones, if given, move toward them by momentum (the variance by n - 1), outside of the graph; else "
        "the running ones are used. Ioffe and Szegedy 2015.",
    .flags = RL_OP_COMPOSITE,
    .lower = batch_norm_lower,
    .samples = batch_norm_samples,
    .bad = batch_norm_bad,
};

/* instance_norm --------------------------------------------------------------------------------------------------- */

static rl_status instance_norm_lower(rl_call *call) {
    channel_norm self;
    rl_status status = read_arguments(call, 3, &self);
    if (status != RL_OK)
        return status;
    const rl_tensor *input = self.input;
    if (!self.training && self.running[0] == NULL)
        return rl_call_fail(call, RL_INVALID_ARGUMENT,
                            "without use_input_stats, running_mean and running_var must be given");
    if (!self.training)
        return normalize_by_running(call, &self);
    double n = 1.0;
    int64_t dims[RL_MAX_DIMS];
    for (int64_t d = 2; d < input->ndim; d++) {
        dims[d - 2] = d;
        n *= (double)input->shape[d];
    }
    if (n == 1.0) {
        char text[RL_SHAPE_TEXT];
        return rl_call_fail(call, RL_SHAPE_MISMATCH,
                            "use_input_stats needs more than one element in space, input has shape %s",
                            rl_shape_text(input->ndim, input->shape, text));
    }
    rl_native_norm_result r = normalize(&self, RL_INTS(dims, input->ndim - 2));
    call->results[0] = r.output;
    if (r.output == NULL || self.running[0] == NULL || input->numel == 0)
        return rl_error_status();
    bool was = rl_recording_;
    rl_recording_ = false;
    rl_tensor *mean = rl_mean(r.mean, .dim = RL_DIMS(0)), *var = rl_mean(r.var, .dim = RL_DIMS(0));
    rl_recording_ = was;
    return mean && var ? update_running(&self, mean, var, n) : rl_error_status();
}

static const rl_sample instance_norm_samples[] = {
    {"f[4,3,5], None, None, p[3], f[3]"},    {"f[2,3,2,4], eps=0.1"},
    {"f[2,3,2,4], None, None, p[3]"},        {"f[2,3,4], f[3], p[3], p[3], f[3], false", CONSTANT},
    {"f[4,3,7]t, None, None, p[3], f[3]"},   {"f[0,3,5], None, None, p[3], f[3]"},
    {"f[2,3,33]s, None, None, p[3]s, f[3]"}, {0}};
static const rl_bad instance_norm_bad[] = {
    {"f[2,3,1]", RL_SHAPE_MISMATCH, "more than one element in space"},
    {"f[2,3]", RL_SHAPE_MISMATCH, "input must have at least 3 dimensions, has 2"},
    {"f[2,3,4], use_input_stats=false", RL_INVALID_ARGUMENT, "without use_input_stats, running_mean"},
    {"f[2,3,4], f[4], p[4]", RL_SHAPE_MISMATCH, "running_mean must have one number for each of 3 channels"},
    {"i64[2,3,4]", RL_DTYPE_MISMATCH, "floating"},
    {0}};
#undef CONSTANT

const rl_op_def rl_op_def_instance_norm = {
    .schema = "instance_norm(Tensor input, Tensor? running_mean=None, Tensor? running_var=None, Tensor? weight=None, "
              "Tensor? bias=None, bool use_input_stats=True, float momentum=0.1, float eps=1e-5) -> Tensor",
    .doc =
        "y = (input - mean) / sqrt(var + eps) weight + bias, with the mean and variance (by n) of each channel of each "
        "sample",
    .note = "input has shape (N, C, ...), the others (C). The running statistics, if given, move toward the means over "
            "N; where use_input_stats is not set, they are used. Ulyanov, Vedaldi and Lempitsky 2016.",
    .flags = RL_OP_COMPOSITE,
    .lower = instance_norm_lower,
    .samples = instance_norm_samples,
    .bad = instance_norm_bad,
};

/* native_norm_inference ------------------------------------------------------------------------------------------- */

/* args: input, mean, scale, bias */
static rl_status inference_infer(rl_call *call) {
    const rl_tensor *input = rl_arg_tensor(call, 0);
    rl_status status = rl_check_float(call, 0);
    if (status == RL_OK)
        status = rl_infer_same_as_input(call);
    call->compute = rl_accumulator((rl_dtype)input->dtype);
    for (int i = 1; i < 4 && status == RL_OK; i++) {
        const rl_tensor *t = rl_arg_tensor(call, i);
        if (t == NULL)
            continue;
        status = rl_check_float(call, i);
        int64_t lead = input->ndim - t->ndim;
        bool fits = lead >= 0;
        for (int64_t d = 0; d < t->ndim && fits; d++)
            fits = t->shape[d] == 1 || t->shape[d] == input->shape[lead + d];
        char text[RL_SHAPE_TEXT], input_text[RL_SHAPE_TEXT];
        if (status == RL_OK && !fits)
            return rl_call_fail(call, RL_SHAPE_MISMATCH, "%s %s must broadcast to input %s",
                                rl_schema_table[call->opcode].params[i].name, rl_shape_text(t->ndim, t->shape, text),
                                rl_shape_text(input->ndim, input->shape, input_text));
    }
    return status;
}

static void inference_program(rl_builder *b, const rl_call *call, const rl_pw *x, rl_pw *out) {
    rl_dtype compute = call->compute;
    rl_pw y = MUL(SUB(x[0], CAST(x[1], compute)), CAST(x[2], compute));
    out[0] = rl_arg_given(call, 3) ? ADD(y, CAST(x[3], compute)) : y;
}

/* sum(g (x - mean)) over the dimensions along which scale does not vary: the derivative of native_norm by its weight,
 * which reads memory once, with a variance of 1. NULL where mean and scale do not have one shape, or vary along all
 * dimensions. */
static rl_tensor *scale_gradient(rl_vjp *v) {
    rl_tensor *x = X, *mean = rl_vjp_input(v, 1), *scale = rl_vjp_input(v, 2);
    if (x == NULL || x->ndim == 0 || mean->ndim != scale->ndim ||
        memcmp(mean->shape, scale->shape, (size_t)mean->ndim * sizeof *mean->shape) != 0)
        return NULL;
    int64_t dims[RL_MAX_DIMS], shape[RL_MAX_DIMS], count = 0, lead = x->ndim - mean->ndim;
    for (int64_t d = 0; d < x->ndim; d++) {
        shape[d] = d < lead ? 1 : mean->shape[d - lead];
        if (shape[d] == 1)
            dims[count++] = d;
    }
    if (count == 0 || (scale->dtype != x->dtype && (scale->dtype != RL_F32 || x->dtype == RL_F64)))
        return NULL;
    rl_tensor *full = rl_reshape(mean, RL_INTS(shape, x->ndim));
    return rl_native_norm_backward(G, x, scale, full, rl_ones_like(full), RL_INTS(dims, count), 0.0, false, true, false)
        .grad_weight;
}

/* gx = g scale, gmean = -g scale, gscale = g (x - mean), gb = g */
static void native_norm_inference_vjp(rl_vjp *v) {
    rl_tensor *gx = rl_vjp_needs(v, 0) || rl_vjp_needs(v, 1) ? rl_mul(G, rl_vjp_input(v, 2)) : NULL;
    rl_vjp_set(v, 0, gx);
    if (rl_vjp_needs(v, 1))
        rl_vjp_set(v, 1, rl_neg(gx));
    if (rl_vjp_needs(v, 2)) {
        rl_tensor *sum = scale_gradient(v);
        rl_vjp_set(v, 2, sum ? sum : rl_mul(G, rl_sub(X, rl_vjp_input(v, 1))));
    }
    rl_vjp_set(v, 3, G);
}

static const rl_sample inference_samples[] = {
    {"f[4,3,5], f[3,1], p[3,1], f[3,1]"}, {"f[4,3], f[3], f[3], None"},
    {"f[4,3], f[3], f[4,3], f[3]"},       {"f[4,3], f[4,3], f[4,3], f[3]"},
    {"f[4,3], f32[3], f32[3], f[1,3]"},   {"f[], f[], f[], f[]"},
    {"f[0,3], f[3], p[3], f[3]"},         {"f[4,3,7]t, f[3,1], p[3,1], f[3,1]"},
    {"f[4,33]s, f[33], f[33]s, f[33]"},   {0}};
static const rl_bad inference_bad[] = {
    {"f[2,3], f[2], p[3], None", RL_SHAPE_MISMATCH, "mean (2) must broadcast to input (2, 3)"},
    {"i64[2,3], f[3], p[3], None", RL_DTYPE_MISMATCH, "floating"},
    {"f[2,3], f[3], i64[3], None", RL_DTYPE_MISMATCH, "scale must be of a floating dtype"},
    {0}};

const rl_op_def rl_op_def_native_norm_inference = {
    .schema = "native_norm_inference(Tensor input, Tensor mean, Tensor scale, Tensor? bias) -> Tensor",
    .doc = "y = (input - mean) scale + bias; all broadcast to input",
    .note = "What is computed is float32, of float64 float64.",
    .flags = RL_OP_POINTWISE,
    .saves = RL_SAVE_IN(0) | RL_SAVE_IN(1) | RL_SAVE_IN(2),
    .infer = inference_infer,
    .pointwise = inference_program,
    .vjp = native_norm_inference_vjp,
    .samples = inference_samples,
    .bad = inference_bad,
    .as_is = RL_SAVE_IN(1) | RL_SAVE_IN(2) | RL_SAVE_IN(3),
};
