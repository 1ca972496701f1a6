/* SPDX-License-Identifier: Apache-2.0 */
/* Channels into space and back, blocks into columns and back. Made of views and copies. */
#include <assert.h>
#include <string.h>

#include "ops/op_rows.h"

/* pixel_shuffle and its like --------------------------------------------------------------------------------------- */

static rl_status check_images(const rl_call *call, const rl_tensor *self) {
    char text[RL_SHAPE_TEXT];
    return self->ndim >= 3 ? RL_OK
                           : rl_call_fail(call, RL_SHAPE_MISMATCH, "self must have shape (..., C, H, W), has %s",
                                          rl_shape_text(self->ndim, self->shape, text));
}

/* An integer argument that is a factor: at least 1. */
static rl_status read_factor(const rl_call *call, int arg, int64_t *out) {
    *out = rl_arg_int(call, arg);
    return *out >= 1 && *out < INT64_C(1) << 30
               ? RL_OK
               : rl_call_fail(call, RL_INVALID_ARGUMENT, "%s must be at least 1, got %lld",
                              rl_schema_table[call->opcode].params[arg].name, (long long)*out);
}

/* x (..., c, h, w) as (lead, parts...), permuted by `order`, as (..., C, H, W). */
static rl_tensor *shuffled(rl_tensor *x, rl_ints parts, rl_ints order, int64_t c, int64_t h, int64_t w) {
    int64_t shape[RL_MAX_DIMS];
    memcpy(shape, x->shape, (size_t)x->ndim * sizeof *shape);
    shape[x->ndim - 3] = c;
    shape[x->ndim - 2] = h;
    shape[x->ndim - 1] = w;
    return rl_reshape(rl_permute(rl_reshape(x, parts), order), RL_INTS(shape, x->ndim));
}
static int64_t lead_of(const rl_tensor *x) {
    return rl_shape_numel(x->ndim - 3, x->shape);
}

static rl_status pixel_shuffle_lower(rl_call *call) {
    rl_tensor *x = rl_arg_tensor(call, 0);
    int64_t r;
    if (check_images(call, x) != RL_OK || read_factor(call, 1, &r) != RL_OK)
        return rl_error_status();
    int64_t c = x->shape[x->ndim - 3], h = x->shape[x->ndim - 2], w = x->shape[x->ndim - 1];
    if (c % (r * r) != 0)
        return rl_call_fail(call, RL_SHAPE_MISMATCH, "self has %lld channels, which %lld^2 does not divide",
                            (long long)c, (long long)r);
    c /= r * r;
    call->results[0] = shuffled(x, RL_DIMS(lead_of(x), c, r, r, h, w), RL_DIMS(0, 1, 4, 2, 5, 3), c, h * r, w * r);
    return rl_error_status();
}

static rl_status pixel_unshuffle_lower(rl_call *call) {
    rl_tensor *x = rl_arg_tensor(call, 0);
    int64_t r;
    if (check_images(call, x) != RL_OK || read_factor(call, 1, &r) != RL_OK)
        return rl_error_status();
    int64_t c = x->shape[x->ndim - 3], h = x->shape[x->ndim - 2], w = x->shape[x->ndim - 1];
    if (h % r != 0 || w % r != 0)
        return rl_call_fail(call, RL_SHAPE_MISMATCH, "self has height %lld and width %lld, which %lld does not divide",
                            (long long)h, (long long)w, (long long)r);
    call->results[0] =
        shuffled(x, RL_DIMS(lead_of(x), c, h / r, r, w / r, r), RL_DIMS(0, 1, 3, 5, 2, 4), c * r * r, h / r, w / r);
    return rl_error_status();
}

static rl_status channel_shuffle_lower(rl_call *call) {
    rl_tensor *x = rl_arg_tensor(call, 0);
    int64_t groups;
    char text[RL_SHAPE_TEXT];
    if (x->ndim < 3)
        return rl_call_fail(call, RL_SHAPE_MISMATCH,
                            "self must have shape (N, C, ...) with more than 2 dimensions, has %s",
                            rl_shape_text(x->ndim, x->shape, text));
    if (read_factor(call, 1, &groups) != RL_OK)
        return rl_error_status();
    int64_t c = x->shape[1], rest = rl_shape_numel(x->ndim - 2, x->shape + 2);
    if (c % groups != 0)
        return rl_call_fail(call, RL_SHAPE_MISMATCH, "self has %lld channels, which %lld groups do not divide",
                            (long long)c, (long long)groups);
    rl_tensor *parts = rl_reshape(x, RL_DIMS(x->shape[0], groups, c / groups, rest));
    call->results[0] = rl_reshape(rl_permute(parts, RL_DIMS(0, 2, 1, 3)), rl_shape_of(x));
    return rl_error_status();
}

static const rl_sample shuffle_samples[] = {{"n[1,8,2,3], 2"},  {"n[9,1,2], 3"},   {"n[2,2,4,2,2], 2"},
                                            {"f[2,4,3,2]t, 1"}, {"n[0,4,2,2], 2"}, {0}};
static const rl_sample unshuffle_samples[] = {{"n[1,2,4,6], 2"},  {"n[1,3,6], 3"},   {"n[2,2,1,2,2], 2"},
                                              {"f[2,4,4,2]t, 2"}, {"n[0,4,2,2], 2"}, {0}};
static const rl_sample channel_samples[] = {
    {"n[1,6,2,3], 3"}, {"n[2,4,2], 2"}, {"f[2,4,3,2]t, 4"}, {"n[0,4,2,2], 2"}, {0}};
static const rl_bad shuffle_bad[] = {
    {"f[1,6,2,2], 2", RL_SHAPE_MISMATCH, "6 channels, which 2^2 does not divide"},
    {"f[4,4], 2", RL_SHAPE_MISMATCH, "self must have shape (..., C, H, W), has (4, 4)"},
    {"f[1,4,2,2], 0", RL_INVALID_ARGUMENT, "upscale_factor must be at least 1, got 0"},
    {0}};
static const rl_bad unshuffle_bad[] = {
    {"f[1,6,2,3], 2", RL_SHAPE_MISMATCH, "height 2 and width 3, which 2 does not divide"}, {0}};
static const rl_bad channel_bad[] = {{"f[1,6,2,3], 4", RL_SHAPE_MISMATCH, "6 channels, which 4 groups do not divide"},
                                     {"f[4,4], 2", RL_SHAPE_MISMATCH, "more than 2 dimensions"},
                                     {0}};

const rl_op_def rl_op_def_pixel_shuffle = {
    .schema = "pixel_shuffle(Tensor self, int upscale_factor) -> Tensor",
    .doc = "y[.., c, h r + i, w r + j] = self[.., c r^2 + i r + j, h, w], r = upscale_factor",
    .note = "Shi et al. 2016, Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel "
            "Convolutional Neural Network.",
    .flags = RL_OP_COMPOSITE,
    .lower = pixel_shuffle_lower,
    .samples = shuffle_samples,
    .bad = shuffle_bad,
};

const rl_op_def rl_op_def_pixel_unshuffle = {
    .schema = "pixel_unshuffle(Tensor self, int downscale_factor) -> Tensor",
    .doc = "y[.., c r^2 + i r + j, h, w] = self[.., c, h r + i, w r + j], r = downscale_factor",
    .flags = RL_OP_COMPOSITE,
    .lower = pixel_unshuffle_lower,
    .samples = unshuffle_samples,
    .bad = unshuffle_bad,
};

const rl_op_def rl_op_def_channel_shuffle = {
    .schema = "channel_shuffle(Tensor self, int groups) -> Tensor",
    .doc = "y[n, i groups + g, ..] = self[n, g C / groups + i, ..]",
    .flags = RL_OP_COMPOSITE,
    .lower = channel_shuffle_lower,
    .samples = channel_samples,
    .bad = channel_bad,
};

/* im2col, col2im --------------------------------------------------------------------------------------------------- */

typedef struct blocks { /* of images (batch, channels, size) padded to `padded`, in two dimensions */
    int64_t batch, channels, size[2], padded[2], kernel[2], dilation[2], padding[2], stride[2], count[2];
    int64_t shape[6],
        steps[6]; /* all blocks as a window of a padded row-major image: (batch, channels, kernel, count) */
} blocks;

static rl_status read_pair(const rl_call *call, int arg, int64_t least, int64_t *out) {
    const char *name = rl_schema_table[call->opcode].params[arg].name;
    rl_ints given = rl_arg_ints(call, arg);
    if (given.count != 2 && given.count != 1)
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "%s must have 1 or 2 numbers, has %lld", name,
                            (long long)given.count);
    for (int d = 0; d < 2; d++) {
        out[d] = given.data[given.count == 1 ? 0 : d];
        if (out[d] < least || out[d] > INT64_C(1) << 30)
            return rl_call_fail(call, RL_INVALID_ARGUMENT, "%s must be at least %lld, got %lld", name, (long long)least,
                                (long long)out[d]);
    }
    return RL_OK;
}

/* Arguments kernel_size, dilation, padding, stride from `arg` on; size and channels are known. */
static rl_status read_blocks(const rl_call *call, int arg, blocks *b) {
    if (read_pair(call, arg, 1, b->kernel) != RL_OK || read_pair(call, arg + 1, 1, b->dilation) != RL_OK ||
        read_pair(call, arg + 2, 0, b->padding) != RL_OK || read_pair(call, arg + 3, 1, b->stride) != RL_OK)
        return rl_error_status();
    for (int d = 0; d < 2; d++) {
        int64_t extent = b->dilation[d] * (b->kernel[d] - 1) + 1;
        b->padded[d] = b->size[d] + 2 * b->padding[d];
        if (extent > b->padded[d])
            return rl_call_fail(call, RL_SHAPE_MISMATCH, "no block of extent %lld fits into %lld of dimension %d",
                                (long long)extent, (long long)b->padded[d], d);
        assert(b->stride[d] > 0);
        b->count[d] = (b->padded[d] - extent) / b->stride[d] + 1;
    }
    const int64_t shape[6] = {b->batch, b->channels, b->kernel[0], b->kernel[1], b->count[0], b->count[1]};
    const int64_t row = b->padded[1], plane = b->padded[0] * row;
    const int64_t steps[6] = {b->channels * plane, plane,       b->dilation[0] * row, b->dilation[1],
                              b->stride[0] * row,  b->stride[1]};
    memcpy(b->shape, shape, sizeof shape);
    memcpy(b->steps, steps, sizeof steps);
    return RL_OK;
}

static rl_status im2col_lower(rl_call *call) {
    rl_tensor *x = rl_arg_tensor(call, 0);
    char text[RL_SHAPE_TEXT];
    if (x->ndim != 3 && x->ndim != 4)
        return rl_call_fail(call, RL_SHAPE_MISMATCH, "self must have shape (C, H, W) or (N, C, H, W), has %s",
                            rl_shape_text(x->ndim, x->shape, text));
    const int64_t *shape = x->shape + x->ndim - 3;
    blocks b = {.batch = x->ndim == 4 ? x->shape[0] : 1, .channels = shape[0], .size = {shape[1], shape[2]}};
    if (read_blocks(call, 1, &b) != RL_OK)
        return rl_error_status();
    const int64_t *p = b.padding;
    int64_t rows = b.channels * b.kernel[0] * b.kernel[1], columns = b.count[0] * b.count[1];
    if (p[0] > 0 || p[1] > 0)
        x = rl_constant_pad_nd(x, RL_DIMS(p[1], p[1], p[0], p[0]));
    rl_tensor *all = rl_window(rl_contiguous(x), RL_INTS(b.shape, 6), RL_INTS(b.steps, 6), 0);
    call->results[0] =
        rl_reshape(all, x != NULL && x->ndim == 4 ? RL_DIMS(b.batch, rows, columns) : RL_DIMS(rows, columns));
    return rl_error_status();
}

static rl_status col2im_lower(rl_call *call) {
    rl_tensor *x = rl_arg_tensor(call, 0);
    blocks b = {.batch = 1};
    char text[RL_SHAPE_TEXT];
    if (x->ndim != 2 && x->ndim != 3)
        return rl_call_fail(call, RL_SHAPE_MISMATCH, "self must have shape (C kernel, L) or (N, C kernel, L), has %s",
                            rl_shape_text(x->ndim, x->shape, text));
    if (read_pair(call, 1, 1, b.size) != RL_OK || read_pair(call, 2, 1, b.kernel) != RL_OK)
        return rl_error_status();
    int64_t rows = x->shape[x->ndim - 2], kernel = b.kernel[0] * b.kernel[1];
    b.batch = x->ndim == 3 ? x->shape[0] : 1;
    assert(kernel > 0);
    b.channels = rows / kernel;
    if (rows % kernel != 0)
        return rl_call_fail(call, RL_SHAPE_MISMATCH,
                            "self has %lld rows, which the %lld elements of kernel_size do not divide", (long long)rows,
                            (long long)kernel);
    if (read_blocks(call, 2, &b) != RL_OK)
        return rl_error_status();
    if (x->shape[x->ndim - 1] != b.count[0] * b.count[1])
        return rl_call_fail(call, RL_SHAPE_MISMATCH, "self has %lld columns and must have %lld, one for each block",
                            (long long)x->shape[x->ndim - 1], (long long)b.count[0] * b.count[1]);
    rl_ints size = x->ndim == 3 ? RL_DIMS(b.batch, b.channels, b.padded[0], b.padded[1])
                                : RL_DIMS(b.channels, b.padded[0], b.padded[1]);
    int first = x->ndim == 3 ? 0 : 1; /* without the batch */
    rl_tensor *all = rl_reshape(x, RL_INTS(b.shape + first, 6 - first));
    rl_tensor *image = rl_unstride(all, size, RL_INTS(b.steps + first, 6 - first), 0);
    const int64_t *p = b.padding;
    if (p[0] > 0 || p[1] > 0)
        image = rl_constant_pad_nd(image, RL_DIMS(-p[1], -p[1], -p[0], -p[0]));
    call->results[0] = image;
    return rl_error_status();
}

static const rl_sample im2col_samples[] = {
    {"f[2,3,4,5], 2"}, {"f[3,4,5], [2,3], 1, 1, [2,1]"}, {"f[1,2,5,6]t, 2, 2, [1,0], 1"},
    {"f[0,2,3,3], 2"}, {"i32[1,1,3,3], 2, 1, 1"},        {0}};
static const rl_sample col2im_samples[] = {{"f[2,12,12], [4,5], 2"},
                                           {"f[18,15], [4,5], [2,3], 1, 1, [2,1]"},
                                           {"f[1,8,20], [5,6], 2, 2, [1,0], 1"},
                                           {"f[0,8,4], [3,3], 2"},
                                           {0}};
static const rl_bad im2col_bad[] = {{"f[3,3], 2", RL_SHAPE_MISMATCH, "self must have shape (C, H, W) or (N, C, H, W)"},
                                    {"f[1,3,3], 4", RL_SHAPE_MISMATCH, "no block of extent 4 fits into 3"},
                                    {"f[1,3,3], 0", RL_INVALID_ARGUMENT, "kernel_size must be at least 1, got 0"},
                                    {0}};
static const rl_bad col2im_bad[] = {{"f[9,4], [3,3], 2", RL_SHAPE_MISMATCH, "9 rows, which the 4 elements"},
                                    {"f[8,5], [3,3], 2", RL_SHAPE_MISMATCH, "5 columns and must have 4"},
                                    {0}};

const rl_op_def rl_op_def_im2col = {
    .schema = "im2col(Tensor self, int[2] kernel_size, int[2] dilation=1, int[2] padding=0, int[2] stride=1) -> Tensor",
    .doc = "y[n, (c, i, j), (h, w)] = self[n, c, h stride + i dilation - padding, w ...]: each block as a column",
    .note = "torch.nn.functional.unfold. self has shape (N, C, H, W) or (C, H, W).",
    .flags = RL_OP_COMPOSITE,
    .lower = im2col_lower,
    .samples = im2col_samples,
    .bad = im2col_bad,
};

const rl_op_def rl_op_def_col2im = {
    .schema = "col2im(Tensor self, int[2] output_size, int[2] kernel_size, int[2] dilation=1, int[2] padding=0, "
              "int[2] stride=1) -> Tensor",
    .doc = "y = zeros with each column of self added at its block: the transpose of im2col",
    .note = "torch.nn.functional.fold. self has shape (N, C kernel, L) or (C kernel, L).",
    .flags = RL_OP_COMPOSITE,
    .lower = col2im_lower,
    .samples = col2im_samples,
    .bad = col2im_bad,
};
