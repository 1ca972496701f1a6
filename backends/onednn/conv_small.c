/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small convolutions by plain loops over rows:
 *   y[o, row] += w x[c, row']     gx[c, row'] += w gy[o, row]     gw += x[c, row'] . gy[o, row]
 */
#include "conv_small.h"

#include "backend.h"

typedef struct line { /* elements of a row that a place of the kernel joins: x[i * x_step] with y[i * y_step] */
    float *x, *y, *w;
    int64_t x_step, y_step, n;
} line;

static void join(od_conv_kind kind, const line *l) {
    const float w = *l->w;
    if (kind == OD_CONV_FORWARD) {
        if (l->x_step == 1 && l->y_step == 1)
            for (int64_t i = 0; i < l->n; i++)
                l->y[i] += w * l->x[i];
        else
            for (int64_t i = 0; i < l->n; i++)
                l->y[i * l->y_step] += w * l->x[i * l->x_step];
    } else if (kind == OD_CONV_GRAD_INPUT) {
        for (int64_t i = 0; i < l->n; i++)
            l->x[i * l->x_step] += w * l->y[i * l->y_step];
    } else {
        float sum = 0.0f;
        for (int64_t i = 0; i < l->n; i++)
            sum += l->x[i * l->x_step] * l->y[i * l->y_step];
        *l->w += sum;
    }
}

/* Three spatial dimensions always: those that are not there have size 1. */
typedef struct small {
    od_conv_kind kind;
    int64_t in[3], out[3], kernel[3], stride[3], padding[3], dilation[3];
    int64_t x_stride[3], y_stride[3], w_stride[3];
} small;

static void spread(small *s, const rl_conv_args *g, const rl_operand *x, const rl_operand *w, const rl_operand *y) {
    const int64_t missing = 3 - g->spatial;
    for (int64_t d = 0; d < 3; d++) {
        const int64_t e = d - missing;
        s->in[d] = e < 0 ? 1 : g->in_size[e];
        s->out[d] = e < 0 ? 1 : g->out_size[e];
        s->kernel[d] = e < 0 ? 1 : g->kernel[e];
        s->stride[d] = e < 0 ? 1 : g->stride[e];
        s->padding[d] = e < 0 ? 0 : g->padding[e];
        s->dilation[d] = e < 0 ? 1 : g->dilation[e];
        s->x_stride[d] = e < 0 ? 0 : x->stride[e + 2];
        s->w_stride[d] = e < 0 ? 0 : w->stride[e + 2];
        s->y_stride[d] = e < 0 ? 0 : y->stride[e + 2];
    }
}

/* The places of the output for which this place of the kernel lies within the input: [first, end). */
static void reach(const small *s, int d, int64_t k, int64_t *first, int64_t *end) {
    const int64_t shift = k * s->dilation[d] - s->padding[d], stride = s->stride[d];
    *first = shift >= 0 ? 0 : (-shift + stride - 1) / stride;
    const int64_t room = s->in[d] - 1 - shift;
    *end = room < 0 ? 0 : room / stride + 1;
    *end = *end < s->out[d] ? *end : s->out[d];
}

/* One channel of x with one of y through one kernel. */
static void join_planes(const small *s, float *x, float *w, float *y) {
    int64_t first[3], end[3];
    for (int64_t a = 0; a < s->kernel[0]; a++)
        for (int64_t b = 0; b < s->kernel[1]; b++)
            for (int64_t c = 0; c < s->kernel[2]; c++) {
                reach(s, 0, a, &first[0], &end[0]);
                reach(s, 1, b, &first[1], &end[1]);
                reach(s, 2, c, &first[2], &end[2]);
                for (int64_t i = first[0]; i < end[0]; i++)
                    for (int64_t j = first[1]; j < end[1]; j++) {
                        const int64_t at[3] = {i * s->stride[0] - s->padding[0] + a * s->dilation[0],
                                               j * s->stride[1] - s->padding[1] + b * s->dilation[1],
                                               first[2] * s->stride[2] - s->padding[2] + c * s->dilation[2]};
                        const line l = {.x = x + at[0] * s->x_stride[0] + at[1] * s->x_stride[1] +
                                             at[2] * s->x_stride[2],
                                        .y = y + i * s->y_stride[0] + j * s->y_stride[1] + first[2] * s->y_stride[2],
                                        .w = w + a * s->w_stride[0] + b * s->w_stride[1] + c * s->w_stride[2],
                                        .x_step = s->stride[2] * s->x_stride[2],
                                        .y_step = s->y_stride[2],
                                        .n = end[2] - first[2]};
                        if (l.n > 0)
                            join(s->kind, &l);
                    }
            }
}

/* to[shape] = value: where a sum begins. */
static void set(float *to, const int64_t shape[3], const int64_t stride[3], float value) {
    for (int64_t i = 0; i < shape[0]; i++)
        for (int64_t j = 0; j < shape[1]; j++)
            for (int64_t k = 0; k < shape[2]; k++)
                to[i * stride[0] + j * stride[1] + k * stride[2]] = value;
}
static void relu(float *at, const int64_t shape[3], const int64_t stride[3]) {
    for (int64_t i = 0; i < shape[0]; i++)
        for (int64_t j = 0; j < shape[1]; j++)
            for (int64_t k = 0; k < shape[2]; k++) {
                float *y = &at[i * stride[0] + j * stride[1] + k * stride[2]];
                *y = *y < 0.0f ? 0.0f : *y;
            }
}

void od_conv_small(const rl_conv_args *g, od_conv_kind kind) {
    const rl_operand *x = kind == OD_CONV_GRAD_INPUT ? &g->out : &g->a;
    const rl_operand *y = kind == OD_CONV_FORWARD ? &g->out : kind == OD_CONV_GRAD_INPUT ? &g->a : &g->b;
    const rl_operand *w = kind == OD_CONV_GRAD_WEIGHT ? &g->out : &g->b;
    float *x_at = (float *)(void *)od_address(x), *y_at = (float *)(void *)od_address(y),
          *w_at = (float *)(void *)od_address(w), *bias = g->bias.buffer ? (float *)(void *)od_address(&g->bias) : NULL;
    const int64_t in = g->in_channels / g->groups, out = g->out_channels / g->groups;
    small s = {.kind = kind};
    spread(&s, g, x, w, y);
    for (int64_t n = 0; n < g->batch && kind == OD_CONV_FORWARD; n++)
        for (int64_t o = 0; o < g->out_channels; o++)
            set(y_at + n * y->stride[0] + o * y->stride[1], s.out, s.y_stride,
                bias ? bias[o * g->bias.stride[0]] : 0.0f);
    for (int64_t n = 0; n < g->batch && kind == OD_CONV_GRAD_INPUT; n++)
        for (int64_t c = 0; c < g->in_channels; c++)
            set(x_at + n * x->stride[0] + c * x->stride[1], s.in, s.x_stride,
                bias ? bias[c * g->bias.stride[0]] : 0.0f);
    for (int64_t o = 0; o < g->out_channels && kind == OD_CONV_GRAD_WEIGHT; o++)
        for (int64_t c = 0; c < in; c++)
            set(w_at + o * w->stride[0] + c * w->stride[1], s.kernel, s.w_stride, 0.0f);
    for (int64_t n = 0; n < g->batch; n++)
        for (int64_t o = 0; o < g->out_channels; o++) {
            float *plane = y_at + n * y->stride[0] + o * y->stride[1];
            for (int64_t c = 0; c < in; c++)
                join_planes(&s, x_at + n * x->stride[0] + (o / out * in + c) * x->stride[1],
                            w_at + o * w->stride[0] + c * w->stride[1], plane);
            if (g->activation == RL_ACTIVATION_RELU)
                relu(plane, s.out, s.y_stride);
        }
}
