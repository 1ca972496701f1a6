/* SPDX-License-Identifier: Apache-2.0 */
/* PyTorch's functions over conv and conv_grad_input: conv1d .. conv3d, conv_transpose1d .. 3d, convolution. */
#include "base/sized.h"
#include "ops/op_conv.h"

/* input (N, C, ...) or (C, ...): then the batch of one is put before, and taken away again after. */
static rl_tensor *with_batch(const rl_call *call, int64_t spatial, bool *out_added) {
    rl_tensor *x = rl_arg_tensor(call, 0);
    char text[RL_SHAPE_TEXT];
    *out_added = x->ndim == spatial + 1;
    if (*out_added)
        return rl_unsqueeze(x, 0);
    if (x->ndim != spatial + 2) {
        rl_call_fail(call, RL_SHAPE_MISMATCH, "input %s must have %lld dimensions, or %lld without a batch",
                     rl_shape_text(x->ndim, x->shape, text), (long long)spatial + 2, (long long)spatial + 1);
        return NULL;
    }
    return x;
}
static rl_status give(rl_call *call, rl_tensor *y, bool added) {
    call->results[0] = added && y ? rl_squeeze(y, .dim = RL_DIMS(0)) : y;
    return rl_error_status();
}

/* args: input, weight, bias, stride, padding, dilation, groups */
static rl_status plain(rl_call *call, int64_t spatial) {
    bool added;
    rl_tensor *x = with_batch(call, spatial, &added);
    if (x == NULL)
        return rl_error_status();
    return give(call,
                rl_conv(x, rl_arg_tensor(call, 1), .bias = rl_arg_tensor(call, 2), .stride = rl_arg_ints(call, 3),
                        .padding = rl_arg_ints(call, 4), .dilation = rl_arg_ints(call, 5),
                        .groups = rl_option_of_int(rl_arg_int(call, 6))),
                added);
}

typedef struct transposed {
    rl_ints stride, padding, output_padding, dilation;
    int64_t groups;
} transposed;

static int64_t number(rl_ints list, int64_t d) {
    return list.count == 0 ? 0 : list.data[list.count == 1 ? 0 : d];
}

/* size = (input - 1) stride - 2 padding + dilation (kernel - 1) + output_padding + 1; false where that is none. */
static bool turned_size(int64_t input, int64_t kernel, int64_t stride, int64_t dilation, int64_t padding, int64_t more,
                        int64_t *out) {
    int64_t steps, reach, margins, sum;
    return !__builtin_mul_overflow(input - 1, stride, &steps) &&
           !__builtin_mul_overflow(kernel - 1, dilation, &reach) && !__builtin_mul_overflow(padding, 2, &margins) &&
           !__builtin_add_overflow(steps, reach, &sum) && !__builtin_sub_overflow(sum, margins, &sum) &&
           !__builtin_add_overflow(sum, more, &sum) && !__builtin_add_overflow(sum, 1, out) && *out >= 1;
}

static rl_tensor *transpose(rl_call *call, rl_tensor *x, const transposed *t) {
    rl_tensor *w = rl_arg_tensor(call, 1);
    int64_t size[RL_MAX_DIMS], spatial = x->ndim - 2;
    const rl_ints lists[] = {t->stride, t->padding, t->output_padding, t->dilation};
    char text[RL_SHAPE_TEXT], x_text[RL_SHAPE_TEXT];
    if (w->ndim != x->ndim || w->shape[0] != x->shape[1]) {
        rl_call_fail(call, RL_SHAPE_MISMATCH,
                     "weight %s must have shape (%lld, outputs / groups, kernel ...) for the channels of input %s",
                     rl_shape_text(w->ndim, w->shape, text), (long long)x->shape[1],
                     rl_shape_text(x->ndim, x->shape, x_text));
        return NULL;
    }
    for (int i = 0; i < 4; i++)
        if (lists[i].count != 1 && lists[i].count != spatial) {
            static const char *const names[] = {"stride", "padding", "output_padding", "dilation"};
            rl_call_fail(call, RL_INVALID_ARGUMENT, "%s must have 1 number or %lld, has %lld", names[i],
                         (long long)spatial, (long long)lists[i].count);
            return NULL;
        }
    for (int64_t d = 0; d < spatial; d++) {
        int64_t stride = number(t->stride, d), dilation = number(t->dilation, d), more = number(t->output_padding, d);
        if (more < 0 || (more >= stride && more >= dilation)) {
            rl_call_fail(call, RL_INVALID_ARGUMENT,
                         "output_padding must be 0 or more and smaller than stride or dilation, got %lld, stride %lld, "
                         "dilation %lld",
                         (long long)more, (long long)stride, (long long)dilation);
            return NULL;
        }
        if (!turned_size(x->shape[d + 2], w->shape[d + 2], stride, dilation, number(t->padding, d), more, &size[d])) {
            rl_call_fail(call, RL_SHAPE_MISMATCH,
                         "no result has the size along spatial dimension %lld that comes of input size %lld, kernel "
                         "%lld, stride %lld, padding %lld, dilation %lld",
                         (long long)d, (long long)x->shape[d + 2], (long long)w->shape[d + 2], (long long)stride,
                         (long long)number(t->padding, d), (long long)dilation);
            return NULL;
        }
    }
    return rl_conv_grad_input(x, w, rl_arg_tensor(call, 2), RL_INTS(size, spatial), .stride = t->stride,
                              .padding = t->padding, .dilation = t->dilation, .groups = rl_option_of_int(t->groups));
}

/* args: input, weight, bias, stride, padding, output_padding, groups, dilation */
static rl_status turned(rl_call *call, int64_t spatial) {
    bool added;
    rl_tensor *x = with_batch(call, spatial, &added);
    transposed t = {rl_arg_ints(call, 3), rl_arg_ints(call, 4), rl_arg_ints(call, 5), rl_arg_ints(call, 7),
                    rl_arg_int(call, 6)};
    return x ? give(call, transpose(call, x, &t), added) : rl_error_status();
}

/* args: input, weight, bias, stride, padding, dilation, transposed, output_padding, groups */
static rl_status convolution_lower(rl_call *call) {
    rl_tensor *x = rl_arg_tensor(call, 0);
    transposed t = {rl_arg_ints(call, 3), rl_arg_ints(call, 4), rl_arg_ints(call, 7), rl_arg_ints(call, 5),
                    rl_arg_int(call, 8)};
    call->results[0] = rl_arg_bool(call, 6) ? transpose(call, x, &t)
                                            : rl_conv(x, rl_arg_tensor(call, 1), .bias = rl_arg_tensor(call, 2),
                                                      .stride = t.stride, .padding = t.padding, .dilation = t.dilation,
                                                      .groups = rl_option_of_int(t.groups));
    return rl_error_status();
}

/* The functions of one number of spatial dimensions; the generator wants declarations as they stand. */
#define LOWER(n)                                                                                                       \
    static rl_status conv##n##d_lower(rl_call *call) {                                                                 \
        return plain(call, n);                                                                                         \
    }                                                                                                                  \
    static rl_status conv_transpose##n##d_lower(rl_call *call) {                                                       \
        return turned(call, n);                                                                                        \
    }
LOWER(1)
LOWER(2)
LOWER(3)

static const rl_sample samples1[] = {
    {"f[2,3,7], f[4,3,3], f[4]"}, {"f[3,7], f[4,3,3], f[4], 2, 1"}, {"f[2,4,9], f[6,2,3], None, 1, 2, 2, 2"}, {0}};
static const rl_sample samples2[] = {{"f[2,3,7,6], f[4,3,3,2], f[4]"},
                                     {"f[3,7,6], f[4,3,3,3], f[4], 2, 1"},
                                     {"f[2,4,9,8], f[6,2,3,3], None, [1,2], [2,1], 2, 2"},
                                     {0}};
static const rl_sample samples3[] = {{"f[1,2,3,4,5], f[3,2,2,3,2], f[3], 1, 1"}, {"f[2,3,4,3], f[1,2,2,2,2]"}, {0}};
static const rl_sample turned_samples1[] = {
    {"f[2,3,5], f[3,4,3], f[4], 2, 1, 1"}, {"f[3,5], f[3,4,3]"}, {"f[2,4,5], f[4,3,3], f[6], 1, 0, 0, 2, 2"}, {0}};
static const rl_sample turned_samples2[] = {{"f[2,3,5,4], f[3,4,3,2], f[4], 2, 1, 1"},
                                            {"f[3,5,4], f[3,4,3,3]"},
                                            {"f[2,4,3,4], f[4,3,3,3], f[6], [1,2], [0,1], [0,1], 2, [2,1]"},
                                            {0}};
static const rl_sample turned_samples3[] = {{"f[1,2,3,2,3], f[2,3,2,2,2], f[3], 2"}, {0}};
static const rl_bad bad1[] = {{"f[7], f[4,3,3]", RL_SHAPE_MISMATCH, "input (7) must have 3 dimensions, or 2"}, {0}};
static const rl_bad bad2[] = {{"f[3,7], f[4,3,3,3]", RL_SHAPE_MISMATCH, "must have 4 dimensions, or 3"}, {0}};
static const rl_bad bad3[] = {{"f[3,7], f[4,3,3,3,3]", RL_SHAPE_MISMATCH, "must have 5 dimensions, or 4"}, {0}};
static const rl_bad turned_bad1[] = {
    {"f[2,3,5], f[3,4,3], groups=0", RL_INVALID_ARGUMENT, "groups must be 1 or more, got 0"},
    {"f[2,3,5], f[4,3,3]", RL_SHAPE_MISMATCH, "must have shape (3, outputs / groups, kernel ...)"},
    {"f[2,3,5], f[3,4,3], output_padding=1", RL_INVALID_ARGUMENT, "smaller than stride or dilation"},
    {"f[2,3,1], f[3,4,1], padding=1", RL_SHAPE_MISMATCH, "no result has the size"},
    {0}};
static const rl_bad turned_bad2[] = {{"f[3,7], f[4,3,3,3]", RL_SHAPE_MISMATCH, "must have 4 dimensions, or 3"}, {0}};
static const rl_bad turned_bad3[] = {{"f[3,7], f[4,3,3,3,3]", RL_SHAPE_MISMATCH, "must have 5 dimensions, or 4"}, {0}};

const rl_op_def rl_op_def_conv1d = {
    .schema = "conv1d(Tensor input, Tensor weight, Tensor? bias=None, int[1] stride=1, int[1] padding=0, int[1] "
              "dilation=1, int groups=1) -> Tensor",
    .doc = "y[n, o, p] = bias[o] + sum_{c, k} input[n, c, p stride - padding + k dilation] weight[o, c, k]",
    .note = "input (N, C, L) or (C, L), weight (O, C / groups, kernel ...), bias (O).",
    .flags = RL_OP_COMPOSITE | RL_OP_AUTOCAST_LOW,
    .lower = conv1d_lower,
    .samples = samples1,
    .bad = bad1,
};

const rl_op_def rl_op_def_conv_transpose1d = {
    .schema = "conv_transpose1d(Tensor input, Tensor weight, Tensor? bias=None, int[1] stride=1, int[1] padding=0, "
              "int[1] output_padding=0, int groups=1, int[1] dilation=1) -> Tensor",
    .doc = "y[n, o, i] = bias[o] + sum of input[n, c, p] weight[c, o, k] over c, p, k with i = p stride - padding + k "
           "dilation",
    .note = "input (N, C, L) or (C, L), weight (C, O / groups, kernel ...), bias (O): the gradient of a convolution "
            "by its input.",
    .flags = RL_OP_COMPOSITE | RL_OP_AUTOCAST_LOW,
    .lower = conv_transpose1d_lower,
    .samples = turned_samples1,
    .bad = turned_bad1,
};

const rl_op_def rl_op_def_conv2d = {
    .schema = "conv2d(Tensor input, Tensor weight, Tensor? bias=None, int[2] stride=1, int[2] padding=0, int[2] "
              "dilation=1, int groups=1) -> Tensor",
    .doc = "y[n, o, p] = bias[o] + sum_{c, k} input[n, c, p stride - padding + k dilation] weight[o, c, k]",
    .note = "input (N, C, H, W) or (C, H, W), weight (O, C / groups, kernel ...), bias (O).",
    .flags = RL_OP_COMPOSITE | RL_OP_AUTOCAST_LOW,
    .lower = conv2d_lower,
    .samples = samples2,
    .bad = bad2,
};

const rl_op_def rl_op_def_conv_transpose2d = {
    .schema = "conv_transpose2d(Tensor input, Tensor weight, Tensor? bias=None, int[2] stride=1, int[2] padding=0, "
              "int[2] output_padding=0, int groups=1, int[2] dilation=1) -> Tensor",
    .doc = "y[n, o, i] = bias[o] + sum of input[n, c, p] weight[c, o, k] over c, p, k with i = p stride - padding + k "
           "dilation",
    .note =
        "input (N, C, H, W) or (C, H, W), weight (C, O / groups, kernel ...), bias (O): the gradient of a convolution "
        "by its input.",
    .flags = RL_OP_COMPOSITE | RL_OP_AUTOCAST_LOW,
    .lower = conv_transpose2d_lower,
    .samples = turned_samples2,
    .bad = turned_bad2,
};

const rl_op_def rl_op_def_conv3d = {
    .schema = "conv3d(Tensor input, Tensor weight, Tensor? bias=None, int[3] stride=1, int[3] padding=0, int[3] "
              "dilation=1, int groups=1) -> Tensor",
    .doc = "y[n, o, p] = bias[o] + sum_{c, k} input[n, c, p stride - padding + k dilation] weight[o, c, k]",
    .note = "input (N, C, D, H, W) or (C, D, H, W), weight (O, C / groups, kernel ...), bias (O).",
    .flags = RL_OP_COMPOSITE | RL_OP_AUTOCAST_LOW,
    .lower = conv3d_lower,
    .samples = samples3,
    .bad = bad3,
};

const rl_op_def rl_op_def_conv_transpose3d = {
    .schema = "conv_transpose3d(Tensor input, Tensor weight, Tensor? bias=None, int[3] stride=1, int[3] padding=0, "
              "int[3] output_padding=0, int groups=1, int[3] dilation=1) -> Tensor",
    .doc = "y[n, o, i] = bias[o] + sum of input[n, c, p] weight[c, o, k] over c, p, k with i = p stride - padding + k "
           "dilation",
    .note = "input (N, C, D, H, W) or (C, D, H, W), weight (C, O / groups, kernel ...), bias (O): the gradient of a "
            "convolution "
            "by its input.",
    .flags = RL_OP_COMPOSITE | RL_OP_AUTOCAST_LOW,
    .lower = conv_transpose3d_lower,
    .samples = turned_samples3,
    .bad = turned_bad3,
};

static const rl_sample convolution_samples[] = {{"f[2,3,7,6], f[4,3,3,2], f[4], [1,1], [0,1], [1,1], false, [0,0], 1"},
                                                {"f[2,3,5], f[3,4,3], None, [2], [1], [1], true, [1], 1"},
                                                {0}};
static const rl_bad convolution_bad[] = {
    {"f[2,3,5], f[3,4,3], None, [2], [1], [1], true, [1,1], 1", RL_INVALID_ARGUMENT, "output_padding must have 1"},
    {0}};

const rl_op_def rl_op_def_convolution = {
    .schema =
        "convolution(Tensor input, Tensor weight, Tensor? bias, int[] stride, int[] padding, int[] dilation, bool "
        "transposed, int[] output_padding, int groups) -> Tensor",
    .doc = "conv, or where transposed is set its transposed form, of input (N, C, size ...)",
    .flags = RL_OP_COMPOSITE,
    .lower = convolution_lower,
    .samples = convolution_samples,
    .bad = convolution_bad,
};
