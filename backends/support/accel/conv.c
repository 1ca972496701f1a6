/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The convolutions as general products (gemm.h) over images that have their padding in memory:
 *   CONV              c = y: i (image, place), j out channel, k (in channel, window)
 *   CONV_GRAD_INPUT   the same over the gradient of y, with gaps for the stride, by the window turned around
 *   CONV_GRAD_WEIGHT  c = w: i (in channel, window), j out channel, k (image, place)
 * Groups are the batch. An image that needs no padding, gaps or conversion is read where it lies (1x1 windows always).
 * Groups of one input channel are no products: depthwise.h.
 */
#include <string.h>

#include "cells.h"
#include "depthwise.h"
#include "gemm.h"

#define SLOT_IMAGE RL_GEMM_SLOT_A

/* An operand (n, channels, size...) as three spatial dimensions, absent ones of size 1. */
typedef struct image {
    int64_t stride[5], size[3];
} image;

static image image_of(const rl_operand *operand, int64_t spatial, const int64_t *size) {
    image self = {.stride = {operand->stride[0], operand->stride[1]}, .size = {1, 1, 1}};
    for (int64_t d = 0; d < spatial; d++) {
        self.stride[5 - spatial + d] = operand->stride[2 + d];
        self.size[3 - spatial + d] = size[d];
    }
    return self;
}

/* Values per spatial dimension, in the last `spatial` of three; the others are `rest`. */
static void last3(int64_t *out, int64_t spatial, const int64_t *values, int64_t rest) {
    for (int d = 0; d < 3; d++)
        out[d] = d < 3 - spatial ? rest : values[d - (3 - spatial)];
}

/* The args with three spatial dimensions each. */
typedef struct window {
    int64_t kernel[3], stride[3], padding[3], dilation[3], in_size[3], out_size[3];
} window;

static window window_of(const rl_conv_args *args) {
    window self;
    last3(self.kernel, args->spatial, args->kernel, 1);
    last3(self.stride, args->spatial, args->stride, 1);
    last3(self.padding, args->spatial, args->padding, 0);
    last3(self.dilation, args->spatial, args->dilation, 1);
    last3(self.in_size, args->spatial, args->in_size, 1);
    last3(self.out_size, args->spatial, args->out_size, 1);
    return self;
}

/* Makes `img` (of n images and `channels` channels, at offset *at of `operand`) hold place t = origin + step x for t in
 * 0 .. size - 1, zeros elsewhere; as it lies where it does already. */
static rl_status pad(rl_backend_stream *stream, const char *row, const rl_conv_args *args, const rl_operand *operand,
                     int64_t channels, image *img, const int64_t *origin, const int64_t *step, const int64_t *size,
                     rl_gemm *gemm) {
    rl_spread_params spread = {.shape = {args->batch, channels, size[0], size[1], size[2]}};
    int as_it_lies = rl_gemm_register(args->dtype) == args->dtype;
    spread.in_at = rl_accel_offset(operand, args->dtype);
    memcpy(spread.in_stride, img->stride, sizeof spread.in_stride);
    for (int d = 0; d < 3; d++) {
        spread.size[d] = img->size[d];
        spread.origin[d] = origin[d];
        spread.step[d] = step[d];
        as_it_lies &= origin[d] == 0 && step[d] == 1 && size[d] <= img->size[d];
    }
    gemm->a = rl_accel_buffer_of(stream, operand);
    gemm->params.a_at = spread.in_at;
    if (as_it_lies)
        return RL_OK;
    gemm->params.a_at = 0;
    int64_t next = 1;
    for (int d = 4; d >= 0; d--) {
        img->stride[d] = next;
        next *= spread.shape[d];
    }
    return rl_gemm_spread(stream, row, args->dtype, operand, &spread, SLOT_IMAGE, &gemm->a);
}

static void set4(int64_t *to, int64_t first, const int64_t *rest) {
    to[0] = first;
    for (int d = 0; d < 3; d++)
        to[1 + d] = rest[d];
}
static void scaled4(int64_t *to, int64_t first, const int64_t *stride, const int64_t *by) {
    to[0] = first;
    for (int d = 0; d < 3; d++)
        to[1 + d] = stride[d] * by[d];
}

/* What all three share: the operands but a, and the batch of groups, with the strides from a group to the next. */
static void begin(rl_backend_stream *stream, const rl_conv_args *args, const rl_operand *b, int64_t a_group,
                  int64_t b_group, int64_t c_group, int64_t bias_group, rl_gemm *gemm) {
    rl_layout_init(&gemm->batch, 1, &args->groups);
    rl_layout_add(&gemm->batch, &a_group, 0);
    rl_layout_add(&gemm->batch, &b_group, 0);
    rl_layout_add(&gemm->batch, &c_group, 0);
    rl_layout_add(&gemm->batch, &bias_group, 0);
    gemm->dtype = args->dtype;
    gemm->alpha = 1;
    gemm->i_dims = gemm->k_dims = 4;
    gemm->b = rl_accel_buffer_of(stream, b);
    gemm->c = rl_accel_buffer_of(stream, &args->out);
    gemm->params.b_at = rl_accel_offset(b, args->dtype);
    gemm->params.c_at = rl_accel_offset(&args->out, args->dtype);
    if (args->bias.buffer) {
        gemm->bias.buffer = args->bias.buffer;
        gemm->params.bias_at = rl_accel_offset(&args->bias, args->dtype);
        gemm->params.bias_j = args->bias.stride[0];
    }
}

/* A product of four coordinates that walk as one in every operand is one of one coordinate: cheaper, and 1x1 windows
 * become plain products. */
static void join(int64_t *shape, int64_t *const *strides, int n, int *dims) {
    int at = 0;
    for (int d = 1; d < 4; d++) {
        int joins = shape[d] == 1 || shape[at] == 1;
        if (!joins) {
            joins = 1;
            for (int k = 0; k < n; k++)
                joins &= strides[k][at] == strides[k][d] * shape[d];
        }
        if (!joins)
            at++;
        int keep = joins && shape[d] == 1; /* the stride of a dimension of size 1 says nothing */
        for (int k = 0; k < n; k++)
            if (!keep)
                strides[k][at] = strides[k][d];
        shape[at] = joins ? shape[at] * shape[d] : shape[d];
    }
    *dims = at + 1;
}

static rl_status finish(rl_backend_stream *stream, const char *row, rl_gemm *gemm) {
    rl_gemm_params *p = &gemm->params;
    p->m = p->k = 1;
    for (int d = 0; d < 4; d++) {
        p->m *= p->i_shape[d];
        p->k *= p->k_shape[d];
    }
    join(p->i_shape, (int64_t *const[]){p->a_i, p->c_i}, 2, &gemm->i_dims);
    join(p->k_shape, (int64_t *const[]){p->a_k, p->b_k}, 2, &gemm->k_dims);
    return rl_gemm_run(stream, row, gemm);
}

/* A convolution by depthwise.h from `in` to `out`, but its parts. */
static rl_depthwise depthwise_of(const rl_conv_args *args, const window *w, const image *in, const image *k,
                                 const image *out) {
    rl_depthwise self = {.dtype = args->dtype,
                         .activation = args->activation,
                         .in = &args->a,
                         .weight = &args->b,
                         .bias = args->bias.buffer ? &args->bias : NULL,
                         .out = &args->out,
                         .params = {.batch = args->batch, .parts = 1, .divide = 1}};
    rl_depthwise_params *p = &self.params;
    memcpy(p->in_stride, in->stride, sizeof p->in_stride);
    memcpy(p->weight_stride, k->stride, sizeof p->weight_stride);
    memcpy(p->out_stride, out->stride, sizeof p->out_stride);
    for (int d = 0; d < 3; d++) {
        p->in_size[d] = in->size[d];
        p->out_size[d] = out->size[d];
        p->window[d] = w->kernel[d];
        p->dilation[d] = w->dilation[d];
        p->origin[d] = w->padding[d];
        p->step[d] = w->stride[d];
        p->gap[d] = 1;
        p->size[d] = (out->size[d] - 1) * w->stride[d] + (w->kernel[d] - 1) * w->dilation[d] + 1;
    }
    return self;
}

static rl_status depthwise(rl_backend_stream *stream, const rl_conv_args *args) {
    const window w = window_of(args);
    const image x = image_of(&args->a, args->spatial, args->in_size),
                k = image_of(&args->b, args->spatial, args->kernel);
    const image y = image_of(&args->out, args->spatial, args->out_size);
    rl_depthwise self = depthwise_of(args, &w, &x, &k, &y);
    self.params.channels = args->out_channels;
    self.params.divide = args->out_channels / args->groups;
    return rl_depthwise_run(stream, "conv", &self);
}

static rl_status depthwise_grad_input(rl_backend_stream *stream, const rl_conv_args *args) {
    const window w = window_of(args);
    const image g = image_of(&args->a, args->spatial, args->out_size),
                k = image_of(&args->b, args->spatial, args->kernel);
    const image x = image_of(&args->out, args->spatial, args->in_size);
    rl_depthwise self = depthwise_of(args, &w, &g, &k, &x);
    rl_depthwise_params *p = &self.params;
    self.activation = RL_ACTIVATION_NONE;
    p->channels = args->in_channels;
    p->parts = args->out_channels / args->groups;
    p->turned = 1;
    for (int d = 0; d < 3; d++) {
        const int64_t reach = (w.kernel[d] - 1) * w.dilation[d];
        p->origin[d] = reach - w.padding[d];
        p->size[d] = w.in_size[d] + reach;
        p->gap[d] = w.stride[d];
        p->step[d] = 1;
    }
    return rl_depthwise_run(stream, "conv_grad_input", &self);
}

static rl_status depthwise_grad_weight(rl_backend_stream *stream, const rl_conv_args *args) {
    const window w = window_of(args);
    const image x = image_of(&args->a, args->spatial, args->in_size);
    const image g = image_of(&args->b, args->spatial, args->out_size),
                k = image_of(&args->out, args->spatial, args->kernel);
    rl_depthwise self = depthwise_of(args, &w, &x, &k, &g);
    rl_depthwise_params *p = &self.params;
    self.activation = RL_ACTIVATION_NONE;
    self.weight = self.bias = NULL;
    self.grad = &args->b;
    memcpy(p->grad_stride, g.stride, sizeof p->grad_stride);
    p->channels = args->out_channels;
    p->divide = args->out_channels / args->groups;
    return rl_depthwise_run(stream, "conv_grad_weight", &self);
}

static rl_status conv(rl_backend_stream *stream, const void *given) {
    const rl_conv_args *args = given;
    if (rl_depthwise_takes(rl_accel_of(stream), args))
        return depthwise(stream, args);
    static const int64_t ones[3] = {1, 1, 1};
    window w = window_of(args);
    image x = image_of(&args->a, args->spatial, args->in_size), k = image_of(&args->b, args->spatial, args->kernel);
    image y = image_of(&args->out, args->spatial, args->out_size);
    int64_t size[3], in_group = args->in_channels / args->groups, out_group = args->out_channels / args->groups;
    rl_gemm gemm = {.activation = args->activation};
    rl_gemm_params *p = &gemm.params;
    for (int d = 0; d < 3; d++)
        size[d] = (w.out_size[d] - 1) * w.stride[d] + (w.kernel[d] - 1) * w.dilation[d] + 1;
    rl_status status = pad(stream, "conv", args, &args->a, args->in_channels, &x, w.padding, ones, size, &gemm);
    if (status)
        return status;
    begin(stream, args, &args->b, in_group * x.stride[1], out_group * k.stride[0], out_group * y.stride[1],
          out_group * (args->bias.buffer ? args->bias.stride[0] : 0), &gemm);
    set4(p->i_shape, args->batch, w.out_size);
    scaled4(p->a_i, x.stride[0], x.stride + 2, w.stride);
    set4(p->c_i, y.stride[0], y.stride + 2);
    set4(p->k_shape, in_group, w.kernel);
    scaled4(p->a_k, x.stride[1], x.stride + 2, w.dilation);
    set4(p->b_k, k.stride[1], k.stride + 2);
    p->n = out_group;
    p->b_j = k.stride[0];
    p->c_j = y.stride[1];
    return finish(stream, "conv", &gemm);
}

static rl_status conv_grad_input(rl_backend_stream *stream, const void *given) {
    const rl_conv_args *args = given;
    if (rl_depthwise_takes(rl_accel_of(stream), args))
        return depthwise_grad_input(stream, args);
    window w = window_of(args);
    image g = image_of(&args->a, args->spatial, args->out_size), k = image_of(&args->b, args->spatial, args->kernel);
    image x = image_of(&args->out, args->spatial, args->in_size);
    int64_t size[3], origin[3], turned[3], in_group = args->in_channels / args->groups;
    int64_t out_group = args->out_channels / args->groups, last = 0;
    rl_gemm gemm = {0};
    rl_gemm_params *p = &gemm.params;
    for (int d = 0; d < 3; d++) {
        int64_t reach = (w.kernel[d] - 1) * w.dilation[d];
        origin[d] = reach - w.padding[d];
        size[d] = w.in_size[d] + reach;
    }
    rl_status status =
        pad(stream, "conv_grad_input", args, &args->a, args->out_channels, &g, origin, w.stride, size, &gemm);
    if (status)
        return status;
    for (int d = 0; d < 3; d++) { /* window place k is at reach - k dilation */
        last += (w.kernel[d] - 1) * w.dilation[d] * g.stride[2 + d];
        turned[d] = -w.dilation[d];
    }
    begin(stream, args, &args->b, out_group * g.stride[1], out_group * k.stride[0], in_group * x.stride[1],
          in_group * (args->bias.buffer ? args->bias.stride[0] : 0), &gemm);
    p->a_at += last;
    set4(p->i_shape, args->batch, w.in_size);
    set4(p->a_i, g.stride[0], g.stride + 2);
    set4(p->c_i, x.stride[0], x.stride + 2);
    set4(p->k_shape, out_group, w.kernel);
    scaled4(p->a_k, g.stride[1], g.stride + 2, turned);
    set4(p->b_k, k.stride[0], k.stride + 2);
    p->n = in_group;
    p->b_j = k.stride[1];
    p->c_j = x.stride[1];
    return finish(stream, "conv_grad_input", &gemm);
}

static rl_status conv_grad_weight(rl_backend_stream *stream, const void *given) {
    const rl_conv_args *args = given;
    if (rl_depthwise_takes(rl_accel_of(stream), args))
        return depthwise_grad_weight(stream, args);
    static const int64_t ones[3] = {1, 1, 1};
    window w = window_of(args);
    image x = image_of(&args->a, args->spatial, args->in_size), g = image_of(&args->b, args->spatial, args->out_size);
    image k = image_of(&args->out, args->spatial, args->kernel);
    int64_t size[3], in_group = args->in_channels / args->groups, out_group = args->out_channels / args->groups;
    rl_gemm gemm = {0};
    rl_gemm_params *p = &gemm.params;
    for (int d = 0; d < 3; d++)
        size[d] = (w.out_size[d] - 1) * w.stride[d] + (w.kernel[d] - 1) * w.dilation[d] + 1;
    rl_status status =
        pad(stream, "conv_grad_weight", args, &args->a, args->in_channels, &x, w.padding, ones, size, &gemm);
    if (status)
        return status;
    begin(stream, args, &args->b, in_group * x.stride[1], out_group * g.stride[1], out_group * k.stride[0], 0, &gemm);
    set4(p->i_shape, in_group, w.kernel);
    scaled4(p->a_i, x.stride[1], x.stride + 2, w.dilation);
    set4(p->c_i, k.stride[1], k.stride + 2);
    set4(p->k_shape, args->batch, w.out_size);
    scaled4(p->a_k, x.stride[0], x.stride + 2, w.stride);
    set4(p->b_k, g.stride[0], g.stride + 2);
    p->n = out_group;
    p->b_j = g.stride[1];
    p->c_j = k.stride[0];
    return finish(stream, "conv_grad_weight", &gemm);
}

static int conv_supports(rl_backend_device *device, const void *args, const char **out_reason) {
    const rl_conv_args *conv_args = args;
    return rl_accel_takes_float(device, conv_args->dtype, out_reason);
}

const rl_fused_cell rl_cell_conv = {.row = RL_ROW_CONV, .supports = conv_supports, .run = conv};
const rl_fused_cell rl_cell_conv_grad_input = {
    .row = RL_ROW_CONV_GRAD_INPUT, .supports = conv_supports, .run = conv_grad_input};
const rl_fused_cell rl_cell_conv_grad_weight = {
    .row = RL_ROW_CONV_GRAD_WEIGHT, .supports = conv_supports, .run = conv_grad_weight};
