/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Convolution: three ops that are each other's derivatives (conv, conv_grad_input, conv_grad_weight: the product of two
 * of input, weight and output gives the third), and PyTorch's functions over them.
 */
#include <assert.h>
#include <string.h>

#include "ops/op_conv.h"
#include "ops/op_epilogue.h"

/* Geometry -------------------------------------------------------------------------------------------------------- */

enum { MOST_SPATIAL = 3 };

static rl_status check_dtypes(const rl_call *call, int first, int second) {
    const rl_schema *schema = &rl_schema_table[call->opcode];
    rl_status status = rl_check_same_device(call);
    if (status == RL_OK)
        status = rl_check_float(call, first);
    const int others[2] = {second, 2};
    for (int i = 0; i < 2 && status == RL_OK; i++) {
        const rl_tensor *a = rl_arg_tensor(call, first),
                        *b = schema->params[others[i]].type == RL_PARAM_TENSOR ? rl_arg_tensor(call, others[i]) : NULL;
        if (b != NULL && b->dtype != a->dtype)
            status = rl_call_fail(call, RL_DTYPE_MISMATCH, "%s is %s and %s %s: they must be of one dtype",
                                  schema->params[first].name, rl_dtype_name((rl_dtype)a->dtype),
                                  schema->params[others[i]].name, rl_dtype_name((rl_dtype)b->dtype));
    }
    return status;
}

/* The numbers of a list argument, one for each spatial dimension; one number stands for all. */
static rl_status read_list(const rl_call *call, int arg, int64_t least, int64_t spatial, int64_t *out) {
    const char *name = rl_schema_table[call->opcode].params[arg].name;
    rl_ints list = rl_arg_ints(call, arg);
    if (list.count != 1 && list.count != spatial)
        return rl_call_fail(call, RL_INVALID_ARGUMENT,
                            "%s must have 1 number or %lld, one for each spatial dimension, has %lld", name,
                            (long long)spatial, (long long)list.count);
    for (int64_t d = 0; d < spatial; d++) {
        out[d] = list.data[list.count == 1 ? 0 : d];
        if (out[d] < least)
            return rl_call_fail(call, RL_INVALID_ARGUMENT, "%s must be %lld or more, got %lld", name, (long long)least,
                                (long long)out[d]);
        if (out[d] > INT32_MAX)
            return rl_call_fail(call, RL_INVALID_ARGUMENT, "%s must be at most %d, got %lld", name, INT32_MAX,
                                (long long)out[d]);
    }
    return RL_OK;
}

/* Arguments from `first` on: stride, padding, dilation, groups. `back` is padding behind, where it is given apart: then
 * padding has two numbers for each dimension, those before first. */
static rl_status read_geometry(const rl_call *call, int first, rl_conv_args *g, int64_t *back) {
    const int64_t spatial = g->spatial;
    rl_ints padding = rl_arg_ints(call, first + 1);
    rl_status status = read_list(call, first, 1, spatial, g->stride);
    if (status == RL_OK)
        status = read_list(call, first + 2, 1, spatial, g->dilation);
    if (status == RL_OK && padding.count == 2 * spatial && padding.count > 1 && back != NULL) {
        for (int64_t d = 0; d < spatial; d++) {
            g->padding[d] = padding.data[d];
            back[d] = padding.data[spatial + d];
            if (g->padding[d] < 0 || back[d] < 0 || g->padding[d] > INT32_MAX || back[d] > INT32_MAX)
                return rl_call_fail(call, RL_INVALID_ARGUMENT, "padding must be 0 or more, got %lld and %lld",
                                    (long long)g->padding[d], (long long)back[d]);
        }
    } else if (status == RL_OK) {
        status = read_list(call, first + 1, 0, spatial, g->padding);
        if (back != NULL)
            memcpy(back, g->padding, sizeof g->padding);
    }
    g->groups = rl_arg_int(call, first + 3);
    if (status == RL_OK && g->groups < 1)
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "groups must be 1 or more, got %lld", (long long)g->groups);
    return status;
}

/* Two operands of spatial + 2 dimensions each. */
static rl_status read_ranks(const rl_call *call, int a, int b, rl_conv_args *g) {
    const rl_schema *schema = &rl_schema_table[call->opcode];
    const rl_tensor *x = rl_arg_tensor(call, a), *y = rl_arg_tensor(call, b);
    char x_text[RL_SHAPE_TEXT], y_text[RL_SHAPE_TEXT];
    if (x->ndim < 3 || x->ndim > MOST_SPATIAL + 2 || y->ndim != x->ndim)
        return rl_call_fail(call, RL_SHAPE_MISMATCH,
                            "%s %s and %s %s must both have 3, 4 or 5 dimensions: batch, channels, 1 to 3 sizes",
                            schema->params[a].name, rl_shape_text(x->ndim, x->shape, x_text), schema->params[b].name,
                            rl_shape_text(y->ndim, y->shape, y_text));
    g->spatial = x->ndim - 2;
    return RL_OK;
}

static rl_status read_channels(const rl_call *call, const char *name, int64_t channels, rl_conv_args *g,
                               const int64_t *weight_shape) {
    char text[RL_SHAPE_TEXT];
    g->in_channels = weight_shape[1] * g->groups;
    g->out_channels = weight_shape[0];
    if (g->out_channels % g->groups != 0)
        return rl_call_fail(call, RL_SHAPE_MISMATCH, "weight %s: its %lld outputs must divide into %lld groups",
                            rl_shape_text(g->spatial + 2, weight_shape, text), (long long)g->out_channels,
                            (long long)g->groups);
    for (int64_t d = 0; d < g->spatial; d++) {
        g->kernel[d] = weight_shape[d + 2];
        if (g->kernel[d] < 1 || g->kernel[d] > INT32_MAX)
            return rl_call_fail(call, RL_SHAPE_MISMATCH, "weight %s: the kernel must have elements, at most %d a side",
                                rl_shape_text(g->spatial + 2, weight_shape, text), INT32_MAX);
    }
    if (name != NULL && channels != g->in_channels)
        return rl_call_fail(call, RL_SHAPE_MISMATCH, "weight %s in %lld group%s takes %lld channels, and %s has %lld",
                            rl_shape_text(g->spatial + 2, weight_shape, text), (long long)g->groups,
                            g->groups == 1 ? "" : "s", (long long)g->in_channels, name, (long long)channels);
    return RL_OK;
}

/* The output's size along d for the input's; 0 where the kernel does not fit. */
static int64_t output_size(const rl_conv_args *g, int64_t d, int64_t back) {
    int64_t room = g->in_size[d] + g->padding[d] + back - g->dilation[d] * (g->kernel[d] - 1) - 1;
    return room < 0 ? 0 : room / g->stride[d] + 1;
}

/* out_size is given, by a gradient: it may be what the input gives, or less. */
static rl_status check_output(const rl_call *call, const rl_tensor *grad, const rl_conv_args *g, const int64_t *back) {
    char text[RL_SHAPE_TEXT];
    bool fits = grad->shape[0] == g->batch && grad->shape[1] == g->out_channels;
    for (int64_t d = 0; d < g->spatial; d++)
        fits = fits && g->out_size[d] >= 1 && g->out_size[d] <= output_size(g, d, back[d]);
    return fits ? RL_OK
                : rl_call_fail(call, RL_SHAPE_MISMATCH, "grad %s is no result of this convolution",
                               rl_shape_text(grad->ndim, grad->shape, text));
}

static rl_status check_bias(const rl_call *call, int64_t channels) {
    const rl_tensor *bias = rl_arg_tensor(call, 2);
    char text[RL_SHAPE_TEXT];
    if (bias == NULL || (bias->ndim == 1 && bias->shape[0] == channels))
        return RL_OK;
    return rl_call_fail(call, RL_SHAPE_MISMATCH, "bias %s must have shape (%lld), one number for each output channel",
                        rl_shape_text(bias->ndim, bias->shape, text), (long long)channels);
}

/* The result (n, c, size ...): channels innermost where either of the two operands is laid out so, as in PyTorch. */
static void set_result(rl_call *call, const rl_tensor *like, const rl_tensor *other, int64_t n, int64_t c,
                       int64_t spatial, const int64_t *size) {
    int64_t shape[MOST_SPATIAL + 2] = {n, c};
    memcpy(shape + 2, size, (size_t)spatial * sizeof *size);
    rl_meta *meta = &call->meta[0];
    rl_meta_set(meta, (rl_dtype)like->dtype, like->storage->device, spatial + 2, shape);
    meta->has_stride = rl_is_channels_last(like->ndim, like->shape, like->stride) ||
                       rl_is_channels_last(other->ndim, other->shape, other->stride);
    if (meta->has_stride)
        rl_channels_last_strides(meta->ndim, meta->shape, meta->stride);
}

/* conv: args input, weight, bias, stride, padding, dilation, groups; conv_activation: and activation
 * ----------------------------------- */

static rl_status read_conv(const rl_call *call, rl_conv_args *g) {
    const rl_tensor *x = rl_arg_tensor(call, 0), *w = rl_arg_tensor(call, 1);
    int64_t back[MOST_SPATIAL];
    *g = (rl_conv_args){.dtype = x->dtype, .batch = x->shape[0]};
    rl_status status = read_ranks(call, 0, 1, g);
    if (status == RL_OK)
        status = read_geometry(call, 3, g, back);
    if (status == RL_OK)
        status = read_channels(call, "input", x->shape[1], g, w->shape);
    for (int64_t d = 0; status == RL_OK && d < g->spatial; d++) {
        g->in_size[d] = x->shape[d + 2];
        g->out_size[d] = output_size(g, d, back[d]);
        if (g->out_size[d] < 1)
            return rl_call_fail(call, RL_SHAPE_MISMATCH,
                                "the kernel reaches over %lld elements along spatial dimension %lld, and input with "
                                "its padding has %lld",
                                (long long)g->dilation[d] * (g->kernel[d] - 1) + 1, (long long)d,
                                (long long)g->in_size[d] + g->padding[d] + back[d]);
    }
    return status;
}

/* conv and conv_activation are one but for this argument: two ops, since what conv gives is not kept for its
 * derivative, and may be changed in place. */
static rl_status conv_activation_of(const rl_call *call, rl_activation *out) {
    *out = RL_ACTIVATION_NONE;
    return rl_schema_table[call->opcode].n_params > 7 ? rl_read_activation(call, 7, out) : RL_OK;
}

static rl_status conv_infer(rl_call *call) {
    rl_conv_args g;
    rl_activation activation = RL_ACTIVATION_NONE;
    rl_status status = check_dtypes(call, 0, 1);
    if (status == RL_OK)
        status = read_conv(call, &g);
    if (status == RL_OK)
        status = check_bias(call, g.out_channels);
    if (status == RL_OK)
        status = conv_activation_of(call, &activation);
    if (status == RL_OK)
        set_result(call, rl_arg_tensor(call, 0), rl_arg_tensor(call, 1), g.batch, g.out_channels, g.spatial,
                   g.out_size);
    return status;
}

static rl_status conv_lower(rl_call *call) {
    rl_conv_args g;
    rl_tensor *x = rl_arg_tensor(call, 0), *w = rl_arg_tensor(call, 1), *bias = rl_arg_tensor(call, 2);
    rl_tensor *y = call->results[0];
    rl_activation activation;
    bool ran;
    if (read_conv(call, &g) != RL_OK || conv_activation_of(call, &activation) != RL_OK)
        return rl_error_status();
    if (y->numel == 0)
        return RL_OK;
    g.activation = activation;
    g.weight_stamp = rl_storage_stamp(w->storage);
    rl_status status =
        rl_row_with_activation(call, RL_ROW_CONV, &g, sizeof g, &g.activation, (rl_tensor *[]){x, w, bias, y}, 4, &ran);
    if (status != RL_OK || ran)
        return status;
    status = rl_conv_lower(call, &g, x, w, bias, y);
    return status == RL_OK ? rl_activate(call, y, activation) : status;
}

/* A result that is one row or column larger than it was asked for: see check_output. */
static rl_tensor *cut_to(rl_tensor *y, const rl_meta *want) {
    for (int64_t d = 2; d < want->ndim && !rl_failed(); d++)
        if (rl_tensor_size(y, d) != want->shape[d])
            y = rl_narrow(y, d, 0, want->shape[d]);
    return y;
}

#define LIST(i) rl_vjp_ints(v, i)
/* g over all dimensions but that of the channels */
static rl_tensor *bias_gradient(rl_tensor *g) {
    static const int64_t dims[] = {0, 2, 3, 4};
    return rl_sum(g, .dim = RL_INTS(dims, rl_tensor_ndim(g) - 1));
}

/* gx = g * w turned, gw = x * g, gb = sum(g) */
static void conv_gradients(rl_vjp *v, rl_tensor *g) {
    const rl_meta *x = rl_vjp_meta(v, 0), *w = rl_vjp_meta(v, 1);
    if (rl_vjp_needs(v, 0))
        rl_vjp_set(v, 0,
                   rl_conv_grad_input(g, rl_vjp_input(v, 1), NULL, RL_INTS(x->shape + 2, x->ndim - 2),
                                      .stride = LIST(3), .padding = LIST(4), .dilation = LIST(5),
                                      .groups = rl_vjp_int(v, 6)));
    if (rl_vjp_needs(v, 1))
        rl_vjp_set(v, 1,
                   rl_conv_grad_weight(X, g, RL_INTS(w->shape + 2, w->ndim - 2), .stride = LIST(3), .padding = LIST(4),
                                       .dilation = LIST(5), .groups = rl_vjp_int(v, 6)));
    if (rl_vjp_arg(v, 2)->kind != RL_VALUE_NONE && rl_vjp_needs(v, 2))
        rl_vjp_set(v, 2, bias_gradient(g));
}
static void conv_vjp(rl_vjp *v) {
    conv_gradients(v, G);
}

static rl_tensor *sum_again(rl_vjp *v) {
    rl_tensor *bias = rl_vjp_arg(v, 2)->kind == RL_VALUE_NONE ? NULL : rl_vjp_input(v, 2);
    return rl_conv(X, rl_vjp_input(v, 1), .bias = bias, .stride = LIST(3), .padding = LIST(4), .dilation = LIST(5),
                   .groups = rl_vjp_int(v, 6));
}
static void conv_activation_vjp(rl_vjp *v) {
    conv_gradients(v, rl_vjp_before_activation(v, 7, sum_again));
}

#define LONG_SUMS "sums of thousands in another order; too large for differences"
#define LARGE (1u << RL_F32 | 1u << RL_BF16)
static const rl_sample conv_samples[] = {
    {"f[2,3,7], f[4,3,3], f[4]"},
    {"f[2,3,7,6], f[4,3,3,2], f[4], 2, [1,2]"},
    {"f[1,1,8,8], f[1,1,3,3]"},
    {"f[2,4,6,5], f[6,2,3,3], f[6], [2,1], 1, [1,2], 2"},
    {"f[2,4,5,5], f[4,1,3,3], f[4], 1, 1, groups=4"},
    {"f[2,3,7,21], f[6,1,3,2], f[6], [1,2], [1,3], [2,1], 3"},
    {"f[2,3,4,4], f[5,3,1,1], f[5]"},
    {"f[2,5,7]t, f[3,5,1]"},
    {"f[0,3,5,5], f[2,3,3,3], f[2]"},
    {"f[2,2,4,5,4], f[3,2,2,3,2], f[3], 1, [1,0,1]"},
    {"f[1,2,5,5], f[3,2,2,2], padding=[0,0,1,1]"},
    /* Several parts of images or rows, both layouts, groups, on backends that cut the work. */
    {"f[5,8,24,24], f[16,8,3,3], f[16], 1, 1", .dtypes = LARGE, .rtol = 1e-3, .atol = 1e-3, .no_gradcheck = true,
     .why = LONG_SUMS},
    {"f[1,16,40,36], f[16,16,3,3], f[16], 1, 1", .dtypes = LARGE, .rtol = 1e-3, .atol = 1e-3, .no_gradcheck = true,
     .why = LONG_SUMS},
    {"f[2,16,40,36], f[8,16,5,3], f[8], 2, [2,1]", .dtypes = LARGE, .rtol = 1e-3, .atol = 1e-3, .no_gradcheck = true,
     .why = LONG_SUMS},
    {"f[33,8,30], f[16,8,5], None, 2, 2", .dtypes = LARGE, .rtol = 1e-3, .atol = 1e-3, .no_gradcheck = true,
     .why = LONG_SUMS},
    {"f[3,16,16,16], f[16,1,3,3], f[16], 1, 1, 1, 16", .dtypes = LARGE, .rtol = 1e-3, .atol = 1e-3,
     .no_gradcheck = true, .why = LONG_SUMS},
    {"f[1,4,64,20], f[8,4,7,3], f[8], [3,1], [3,1], [2,1]", .dtypes = LARGE, .rtol = 1e-3, .atol = 1e-3,
     .no_gradcheck = true, .why = LONG_SUMS},
    /* Rows that see padding alone; weights with gaps, and with elements that are one. */
    {"f[1,16,21,21], f[16,16,1,1], f[16], 1, 20", .dtypes = LARGE, .rtol = 1e-3, .atol = 1e-3, .no_gradcheck = true,
     .why = LONG_SUMS},
    {"f[1,8,20,20], f[8,8,3,3], padding=[0,0,60,60]", .dtypes = LARGE, .rtol = 1e-3, .atol = 1e-3, .no_gradcheck = true,
     .why = LONG_SUMS},
    {"f[2,16,40], f[16,16,3]s", .dtypes = LARGE, .rtol = 1e-3, .atol = 1e-3, .no_gradcheck = true, .why = LONG_SUMS},
    {"f[2,16,40], f[16,16,3]e", .dtypes = LARGE, .rtol = 1e-3, .atol = 1e-3, .no_gradcheck = true, .why = LONG_SUMS},
    {0}};
static const rl_bad conv_bad[] = {
    {"f[2,3,7], f[4,2,3]", RL_SHAPE_MISMATCH, "takes 2 channels, and input has 3"},
    {"f[2,3], f[4,3]", RL_SHAPE_MISMATCH, "must both have 3, 4 or 5 dimensions"},
    {"f[2,3,7,7], f[4,3,3]", RL_SHAPE_MISMATCH, "must both have 3, 4 or 5 dimensions"},
    {"f[2,3,2], f[4,3,3]", RL_SHAPE_MISMATCH, "the kernel reaches over 3 elements"},
    {"f[2,3,7], f[4,3,3], f[3]", RL_SHAPE_MISMATCH, "bias (3) must have shape (4)"},
    {"f[2,3,7], f[4,3,3], stride=0", RL_INVALID_ARGUMENT, "stride must be 1 or more, got 0"},
    {"f[2,3,7], f[4,3,3], padding=-1", RL_INVALID_ARGUMENT, "padding must be 0 or more, got -1"},
    {"f[2,3,7], f[4,3,3], dilation=[1,1,1]", RL_INVALID_ARGUMENT, "dilation must have 1 number or 1"},
    {"f[2,4,7], f[3,2,3], groups=2", RL_SHAPE_MISMATCH, "3 outputs must divide into 2 groups"},
    {"f[2,3,7], f[4,3,3], groups=0", RL_INVALID_ARGUMENT, "groups must be 1 or more"},
    {"f[2,3,7], f[4,3,3], stride=1099511627776", RL_INVALID_ARGUMENT, "stride must be at most 2147483647"},
    {"i64[2,3,7], i64[4,3,3]", RL_DTYPE_MISMATCH, "floating"},
    {"f32[2,3,7], f64[4,3,3]", RL_DTYPE_MISMATCH, "input is float32 and weight float64"},
    {"None, f[4,3,3]", RL_INVALID_ARGUMENT, "input"},
    {0}};

const rl_op_def rl_op_def_conv = {
    .schema = "conv(Tensor input, Tensor weight, Tensor? bias=None, int[] stride=[1], int[] padding=[0], int[] "
              "dilation=[1], int groups=1) -> Tensor",
    .doc = "y[n, o, p] = bias[o] + sum_{c, k} input[n, c, p stride - padding + k dilation] weight[o, c, k]",
    .note = "input (N, C, size ...), weight (O, C / groups, kernel ...), bias (O), of 1 to 3 spatial dimensions; the "
            "result is (N, O, ...). Lists have one number, or one for each spatial dimension; padding may have two for "
            "each, those before first. A result is laid out with channels innermost where input or weight is.",
    .flags = RL_OP_ROWS | RL_OP_AUTOCAST_LOW,
    .saves = RL_SAVE_IN(0) | RL_SAVE_IN(1),
    .infer = conv_infer,
    .lower = conv_lower,
    .vjp = conv_vjp,
    .samples = conv_samples,
    .bad = conv_bad,
};

static const rl_sample conv_activation_samples[] = {
    {"f[2,17,9,9], f[16,17,3,3], f[16], 1, 1, activation=\"relu\""},
    RL_SAMPLE_STAGES("f[2,3,5,5], f[4,3,3,3], f[4], activation=\"gelu\""),
    RL_SAMPLE_STAGES("f[2,3,5,5], f[4,3,3,3], f[4], activation=\"gelu_tanh\""),
    {"f[2,4,9,10,8], f[8,4,3,3,3], f[8], 1, 1, activation=\"relu\"", .dtypes = LARGE, .rtol = 1e-3, .atol = 1e-3,
     .no_gradcheck = true, .why = LONG_SUMS},
    {"f[2,3,7], f[4,3,3], activation=\"none\""},
    {0}};
static const rl_bad conv_activation_bad[] = {
    {"f[2,3,7], f[4,3,3], activation=\"tanh\"", RL_INVALID_ARGUMENT, "activation must be none"},
    {"f[2,3,7], f[4,2,3]", RL_SHAPE_MISMATCH, "takes 2 channels, and input has 3"},
    {0}};

const rl_op_def rl_op_def_conv_activation = {
    .schema =
        "conv_activation(Tensor input, Tensor weight, Tensor? bias=None, int[] stride=[1], int[] padding=[0], int[] "
        "dilation=[1], int groups=1, str activation='none') -> Tensor",
    .doc = "y = act(conv(input, weight, bias)): conv and an activation in one pass",
    .note = "activation: none, relu, gelu or gelu_tanh.",
    .flags = RL_OP_ROWS | RL_OP_AUTOCAST_LOW,
    .saves = RL_SAVE_IN(0) | RL_SAVE_IN(1) | RL_SAVE_IN(2) | RL_SAVE_OUT(0),
    .infer = conv_infer,
    .lower = conv_lower,
    .vjp = conv_activation_vjp,
    .samples = conv_activation_samples,
    .bad = conv_activation_bad,
};

/* conv_grad_input: args grad, weight, bias, input_size, stride, padding, dilation, groups -------------------------- */

static rl_status read_grad_input(const rl_call *call, rl_conv_args *g) {
    const rl_tensor *grad = rl_arg_tensor(call, 0), *w = rl_arg_tensor(call, 1);
    int64_t back[MOST_SPATIAL];
    *g = (rl_conv_args){.dtype = grad->dtype, .batch = grad->shape[0]};
    rl_status status = read_ranks(call, 0, 1, g);
    if (status == RL_OK)
        status = read_list(call, 3, 1, g->spatial, g->in_size);
    if (status == RL_OK)
        status = read_geometry(call, 4, g, back);
    if (status == RL_OK)
        status = read_channels(call, NULL, 0, g, w->shape);
    if (status != RL_OK)
        return status;
    memcpy(g->out_size, grad->shape + 2, (size_t)g->spatial * sizeof *g->out_size);
    return check_output(call, grad, g, back);
}

static rl_status grad_input_infer(rl_call *call) {
    rl_conv_args g;
    rl_status status = check_dtypes(call, 0, 1);
    if (status == RL_OK)
        status = read_grad_input(call, &g);
    if (status == RL_OK)
        status = check_bias(call, g.in_channels);
    if (status == RL_OK)
        set_result(call, rl_arg_tensor(call, 0), rl_arg_tensor(call, 1), g.batch, g.in_channels, g.spatial, g.in_size);
    return status;
}

static rl_status grad_input_lower(rl_call *call) {
    rl_conv_args g;
    rl_tensor *grad = rl_arg_tensor(call, 0), *w = rl_arg_tensor(call, 1), *bias = rl_arg_tensor(call, 2);
    rl_tensor *out = call->results[0];
    bool ran;
    if (read_grad_input(call, &g) != RL_OK)
        return rl_error_status();
    if (out->numel == 0)
        return RL_OK;
    g.weight_stamp = rl_storage_stamp(w->storage);
    rl_status status = rl_row_fused(rl_call_name(call), RL_ROW_CONV_GRAD_INPUT, &g, sizeof g,
                                    (rl_tensor *[]){grad, w, bias, out}, 4, &ran);
    return status == RL_OK && !ran ? rl_conv_grad_input_lower(call, &g, grad, w, bias, out) : status;
}

/* With u the gradient of the result: ggrad = u * w, gw = u * grad, gb = sum(u) */
static void grad_input_vjp(rl_vjp *v) {
    rl_tensor *u = G;
    const rl_meta *w = rl_vjp_meta(v, 1);
    if (rl_vjp_needs(v, 0))
        rl_vjp_set(v, 0,
                   cut_to(rl_conv(u, rl_vjp_input(v, 1), .stride = LIST(4), .padding = LIST(5), .dilation = LIST(6),
                                  .groups = rl_vjp_int(v, 7)),
                          rl_vjp_meta(v, 0)));
    if (rl_vjp_needs(v, 1))
        rl_vjp_set(v, 1,
                   rl_conv_grad_weight(u, X, RL_INTS(w->shape + 2, w->ndim - 2), .stride = LIST(4), .padding = LIST(5),
                                       .dilation = LIST(6), .groups = rl_vjp_int(v, 7)));
    if (rl_vjp_arg(v, 2)->kind != RL_VALUE_NONE && rl_vjp_needs(v, 2))
        rl_vjp_set(v, 2, bias_gradient(u));
}

static const rl_sample grad_input_samples[] = {
    {"f[2,4,5], f[4,3,3], None, [7]"},
    {"f[2,4,4,8], f[4,3,3,2], f[3], [8,5], [2,1], [1,2]"},
    {"f[2,6,2,5], f[6,2,3,3], None, [4,7], [2,1], [1,1], [1,2], 2"},
    {"f[2,4,5,5], f[4,1,3,3], f[4], [5,5], 1, 1, groups=4"},
    {"f[2,6,5,13], f[6,1,3,2], None, [7,21], [1,2], [1,3], [2,1], 3"},
    {"f[2,5,4,4], f[5,3,1,1], None, [4,4]"},
    {"f[0,2,3,3], f[2,3,3,3], None, [5,5]"},
    {"f[2,5,7]t, f[5,3,1], f[3], 7"},
    {"f[2,3,4,3,4], f[3,2,2,3,2], None, [4,5,4], 1, [1,0,1]"},
    {"f[1,3,2,2], f[3,2,3,3], None, [6,6], 2"},
    /* Several parts of images or rows, both layouts, groups, on backends that cut the work. */
    {"f[5,16,24,24], f[16,8,3,3], f[8], [24,24], 1, 1", .dtypes = LARGE, .rtol = 1e-3, .atol = 1e-3,
     .no_gradcheck = true, .why = LONG_SUMS},
    {"f[3,16,12,12], f[16,8,4,4], None, [24,24], 2, 1", .dtypes = LARGE, .rtol = 1e-3, .atol = 1e-3,
     .no_gradcheck = true, .why = LONG_SUMS},
    {"f[9,16,20], f[16,8,5], None, [39], 2, 2", .dtypes = LARGE, .rtol = 1e-3, .atol = 1e-3, .no_gradcheck = true,
     .why = LONG_SUMS},
    {"f[3,16,16,16], f[16,1,3,3], None, [16,16], 1, 1, 1, 16", .dtypes = LARGE, .rtol = 1e-3, .atol = 1e-3,
     .no_gradcheck = true, .why = LONG_SUMS},
    /* More outputs would fit. */
    {"f[2,16,30], f[16,16,3], None, [60]", .dtypes = LARGE, .rtol = 1e-3, .atol = 1e-3, .no_gradcheck = true,
     .why = LONG_SUMS},
    {0}};
static const rl_bad grad_input_bad[] = {
    {"f[2,4,6], f[4,3,3], None, [7]", RL_SHAPE_MISMATCH, "grad (2, 4, 6) is no result of this convolution"},
    {"f[2,5,5], f[4,3,3], None, [7]", RL_SHAPE_MISMATCH, "grad (2, 5, 5) is no result of this convolution"},
    {"f[2,4,5], f[4,3,3], f[4], [7]", RL_SHAPE_MISMATCH, "bias (4) must have shape (3)"},
    {"f[2,4,5], f[4,3,3], None, [0]", RL_INVALID_ARGUMENT, "input_size must be 1 or more"},
    {0}};

const rl_op_def rl_op_def_conv_grad_input = {
    .schema = "conv_grad_input(Tensor grad, Tensor weight, Tensor? bias, int[] input_size, int[] stride=[1], "
              "int[] padding=[0], int[] dilation=[1], int groups=1) -> Tensor",
    .doc =
        "x[n, c, i] = bias[c] + sum of grad[n, o, p] weight[o, c, k] over all o, p, k with i = p stride - padding + k "
        "dilation",
    .note = "The gradient of conv's input, whose sizes are input_size; also the transposed convolution.",
    .flags = RL_OP_ROWS,
    .saves = RL_SAVE_IN(0) | RL_SAVE_IN(1),
    .infer = grad_input_infer,
    .lower = grad_input_lower,
    .vjp = grad_input_vjp,
    .samples = grad_input_samples,
    .bad = grad_input_bad,
};

/* conv_grad_weight: args input, grad, kernel_size, stride, padding, dilation, groups ------------------------------- */

static rl_status read_grad_weight(const rl_call *call, rl_conv_args *g) {
    const rl_tensor *x = rl_arg_tensor(call, 0), *grad = rl_arg_tensor(call, 1);
    int64_t back[MOST_SPATIAL];
    *g = (rl_conv_args){
        .dtype = x->dtype, .batch = x->shape[0], .in_channels = x->shape[1], .out_channels = grad->shape[1]};
    rl_status status = read_ranks(call, 0, 1, g);
    if (status == RL_OK)
        status = read_list(call, 2, 1, g->spatial, g->kernel);
    if (status == RL_OK)
        status = read_geometry(call, 3, g, back);
    assert(status != RL_OK || g->groups > 0);
    if (status == RL_OK && (g->in_channels % g->groups != 0 || g->out_channels % g->groups != 0))
        status = rl_call_fail(call, RL_SHAPE_MISMATCH,
                              "the %lld channels of input and %lld of grad must divide into "
                              "%lld groups",
                              (long long)g->in_channels, (long long)g->out_channels, (long long)g->groups);
    if (status != RL_OK)
        return status;
    memcpy(g->in_size, x->shape + 2, (size_t)g->spatial * sizeof *g->in_size);
    memcpy(g->out_size, grad->shape + 2, (size_t)g->spatial * sizeof *g->out_size);
    return check_output(call, grad, g, back);
}

static rl_status grad_weight_infer(rl_call *call) {
    rl_conv_args g;
    rl_status status = check_dtypes(call, 0, 1);
    if (status == RL_OK)
        status = read_grad_weight(call, &g);
    if (status != RL_OK)
        return status;
    set_result(call, rl_arg_tensor(call, 0), rl_arg_tensor(call, 1), g.out_channels, g.in_channels / g.groups,
               g.spatial, g.kernel);
    return RL_OK;
}

static rl_status grad_weight_lower(rl_call *call) {
    rl_conv_args g;
    rl_tensor *x = rl_arg_tensor(call, 0), *grad = rl_arg_tensor(call, 1), *out = call->results[0];
    bool ran;
    if (read_grad_weight(call, &g) != RL_OK)
        return rl_error_status();
    if (out->numel == 0)
        return RL_OK;
    if (g.batch == 0)
        return rl_clear(rl_call_name(call), out);
    rl_status status = rl_row_fused(rl_call_name(call), RL_ROW_CONV_GRAD_WEIGHT, &g, sizeof g,
                                    (rl_tensor *[]){x, grad, NULL, out}, 4, &ran);
    return status == RL_OK && !ran ? rl_conv_grad_weight_lower(call, &g, x, grad, out) : status;
}

/* With u the gradient of the result: gx = grad * u turned, ggrad = x * u */
static void grad_weight_vjp(rl_vjp *v) {
    rl_tensor *u = G;
    const rl_meta *x = rl_vjp_meta(v, 0);
    if (rl_vjp_needs(v, 0))
        rl_vjp_set(v, 0,
                   rl_conv_grad_input(rl_vjp_input(v, 1), u, NULL, RL_INTS(x->shape + 2, x->ndim - 2),
                                      .stride = LIST(3), .padding = LIST(4), .dilation = LIST(5),
                                      .groups = rl_vjp_int(v, 6)));
    if (rl_vjp_needs(v, 1))
        rl_vjp_set(v, 1,
                   cut_to(rl_conv(X, u, .stride = LIST(3), .padding = LIST(4), .dilation = LIST(5),
                                  .groups = rl_vjp_int(v, 6)),
                          rl_vjp_meta(v, 1)));
}

static const rl_sample grad_weight_samples[] = {
    {"f[2,3,7], f[2,4,5], [3]"},
    {"f[2,3,8,5], f[2,4,4,8], [3,2], [2,1], [1,2]"},
    {"f[2,4,4,7], f[2,6,2,5], 3, [2,1], 1, [1,2], 2"},
    {"f[2,4,5,5], f[2,4,5,5], 3, 1, 1, groups=4"},
    {"f[2,3,7,21], f[2,6,5,13], [3,2], [1,2], [1,3], [2,1], 3"},
    {"f[2,3,4,4], f[2,5,4,4], 1"},
    {"f[0,3,5,5], f[0,2,3,3], 3"},
    {"f[2,5,7]t, f[2,3,7], 1"},
    {"f[2,2,4,5,4], f[2,3,5,3,5], [2,3,2], 1, [1,0,1]"},
    {"f[9,3,6,6], f[9,2,2,2], 3, 2"},
    /* Several parts of images or rows, both layouts, groups, on backends that cut the work. */
    {"f[7,8,24,24], f[7,16,24,24], 3, 1, 1", .dtypes = LARGE, .rtol = 1e-3, .atol = 1e-3, .no_gradcheck = true,
     .why = LONG_SUMS},
    {"f[3,8,25,24], f[3,16,13,12], 3, 2, 1", .dtypes = LARGE, .rtol = 1e-3, .atol = 1e-3, .no_gradcheck = true,
     .why = LONG_SUMS},
    {"f[9,8,39], f[9,16,20], 5, 2, 2", .dtypes = LARGE, .rtol = 1e-3, .atol = 1e-3, .no_gradcheck = true,
     .why = LONG_SUMS},
    {"f[3,16,16,16], f[3,16,16,16], 3, 1, 1, 1, 16", .dtypes = LARGE, .rtol = 1e-3, .atol = 1e-3, .no_gradcheck = true,
     .why = LONG_SUMS},
    {"f[2,16,60], f[2,16,30], 3", .dtypes = LARGE, .rtol = 1e-3, .atol = 1e-3, .no_gradcheck = true, .why = LONG_SUMS},
    {0}};
static const rl_bad grad_weight_bad[] = {
    {"f[2,3,7], f[2,4,6], [3]", RL_SHAPE_MISMATCH, "grad (2, 4, 6) is no result of this convolution"},
    {"f[2,3,7], f[3,4,5], [3]", RL_SHAPE_MISMATCH, "grad (3, 4, 5) is no result of this convolution"},
    {"f[2,3,7], f[2,4,5], [3], groups=2", RL_SHAPE_MISMATCH, "must divide into 2 groups"},
    {0}};

const rl_op_def rl_op_def_conv_grad_weight = {
    .schema = "conv_grad_weight(Tensor input, Tensor grad, int[] kernel_size, int[] stride=[1], int[] padding=[0], "
              "int[] dilation=[1], int groups=1) -> Tensor",
    .doc = "w[o, c, k] = sum_{n, p} input[n, c, p stride - padding + k dilation] grad[n, o, p]",
    .note = "The gradient of conv's weight, whose kernel has kernel_size.",
    .flags = RL_OP_ROWS,
    .saves = RL_SAVE_IN(0) | RL_SAVE_IN(1),
    .infer = grad_weight_infer,
    .lower = grad_weight_lower,
    .vjp = grad_weight_vjp,
    .samples = grad_weight_samples,
    .bad = grad_weight_bad,
};
