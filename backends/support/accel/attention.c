/* SPDX-License-Identifier: Apache-2.0 */
/* The rows attention and attention_backward. */
#include <string.h>

#include "cells.h"
#include "device_text.h"
#include "gemm.h"

#define MOST_WIDTH 256

enum { PASS_FORWARD, PASS_QUERIES, PASS_KEYS };
enum { WORD_DTYPE, WORD_RDTYPE, WORD_WIDE, WORD_PASS, WORD_MOST };
/* Slots of scratch memory. */
enum { SLOT_DOTS, SLOT_FIRST, SLOT_SECOND, SLOT_THIRD, SLOT_FOURTH };

static const rl_accel_family family = {
    .name = "attention", .text = rl_device_attention, .words = "DTYPE RDTYPE RDTYPE_WIDE PASS MOST"};

static void place(const rl_operand *operand, uint32_t dtype, int dims, int64_t *out_at, int64_t *out_stride) {
    *out_at = operand->buffer ? rl_accel_offset(operand, dtype) : 0;
    for (int d = 0; d < dims; d++)
        out_stride[d] = operand->buffer ? operand->stride[d] : 0;
}

static int64_t mask_kind(uint32_t mask_dtype) {
    return mask_dtype == 0 ? 0 : mask_dtype == RL_BOOL ? 1 : 2;
}

/* The parameters of either direction's args, but for its operands. */
#define PARAMS_OF(args)                                                                                                \
    {                                                                                                                  \
        .batch = (args)->batch, .heads = (args)->heads, .q_length = (args)->q_length, .k_length = (args)->k_length,    \
        .width = (args)->width, .value_width = (args)->value_width,                                                    \
        .scale = rl_accel_bits((args)->dtype, (args)->scale), .mask_kind = mask_kind((args)->mask_dtype),              \
        .causal = (args)->causal != 0                                                                                  \
    }

/* The operands that both directions read. */
static void place_all(uint32_t dtype, const rl_operand *q, const rl_operand *k, const rl_operand *v,
                      uint32_t mask_dtype, const rl_operand *mask, const rl_operand *out, const rl_operand *log_sum,
                      rl_attention_params *p) {
    place(q, dtype, 4, &p->q_at, p->q_stride);
    place(k, dtype, 4, &p->k_at, p->k_stride);
    place(v, dtype, 4, &p->v_at, p->v_stride);
    place(mask, mask_dtype, 4, &p->mask_at, p->mask_stride);
    place(out, dtype, 4, &p->out_at, p->out_stride);
    place(log_sum, rl_gemm_register(dtype), 3, &p->log_at, p->log_stride);
}

static rl_accel_spec spec_of(uint32_t dtype, int64_t width, int64_t value_width) {
    rl_accel_spec spec = {.family = &family};
    int64_t widest = width > value_width ? width : value_width;
    spec.word[WORD_DTYPE] = (int32_t)dtype;
    spec.word[WORD_RDTYPE] = (int32_t)rl_gemm_register(dtype);
    spec.word[WORD_WIDE] = dtype == RL_F64;
    spec.word[WORD_MOST] = widest <= 64 ? 64 : MOST_WIDTH;
    return spec;
}

/* An operand whose rows are walked along: as it lies where it is of its register's dtype, else a copy that is. */
static rl_status walked(rl_backend_stream *stream, const char *row, uint32_t dtype, const rl_operand *operand,
                        const int64_t *shape, unsigned slot, int64_t *at, int64_t *stride, rl_accel_arg *out) {
    *out = rl_accel_buffer_of(stream, operand);
    if (rl_gemm_register(dtype) == dtype)
        return RL_OK;
    rl_spread_params spread = {.shape = {1, shape[0], shape[1], shape[2], shape[3]},
                               .in_at = *at,
                               .in_stride = {0, stride[0], stride[1], stride[2], stride[3]},
                               .size = {shape[1], shape[2], shape[3]},
                               .step = {1, 1, 1}};
    *at = 0;
    for (int64_t d = 3, next = 1; d >= 0; d--) {
        stride[d] = next;
        next *= shape[d];
    }
    return rl_gemm_spread(stream, row, dtype, operand, &spread, slot, out);
}

static uint64_t groups_of(const rl_accel *self, int64_t lines, int64_t rows, int64_t cost) {
    int64_t width = self->traits.width;
    return rl_accel_groups(self, (uint64_t)(lines * ((rows + width - 1) / width)), (uint64_t)cost + 16);
}

static int takes(rl_backend_device *device, uint32_t dtype, uint32_t mask_dtype, int64_t width, int64_t value_width,
                 const char **out_reason) {
    if (!rl_accel_takes_float(device, dtype, out_reason))
        return 0;
    *out_reason = "a head is wider than 256";
    if (width > MOST_WIDTH || value_width > MOST_WIDTH)
        return 0;
    *out_reason = "the mask's dtype is neither bool nor the operands'";
    return mask_dtype == 0 || mask_dtype == RL_BOOL || mask_dtype == dtype;
}

static int supports(rl_backend_device *device, const void *given, const char **out_reason) {
    const rl_attention_args *args = given;
    return takes(device, args->dtype, args->mask_dtype, args->width, args->value_width, out_reason);
}

static rl_status attention(rl_backend_stream *stream, const void *given) {
    const rl_attention_args *args = given;
    rl_accel *self = rl_accel_of(stream);
    uint32_t dtype = args->dtype;
    rl_accel_spec spec = spec_of(dtype, args->width, args->value_width);
    rl_attention_params p = PARAMS_OF(args);
    const int64_t k_shape[4] = {args->batch, args->heads, args->k_length, args->width};
    const int64_t v_shape[4] = {args->batch, args->heads, args->k_length, args->value_width};
    rl_accel_arg k, v;
    if (args->batch * args->heads * args->q_length == 0)
        return RL_OK;
    place_all(dtype, &args->q, &args->k, &args->v, args->mask_dtype, &args->mask, &args->out, &args->log_sum, &p);
    rl_status status = walked(stream, "attention", dtype, &args->k, k_shape, SLOT_FIRST, &p.k_at, p.k_stride, &k);
    if (!status)
        status = walked(stream, "attention", dtype, &args->v, v_shape, SLOT_SECOND, &p.v_at, p.v_stride, &v);
    if (status)
        return status;
    const rl_accel_arg call[] = {rl_accel_buffer_of(stream, &args->q),
                                 k,
                                 v,
                                 rl_accel_buffer_of(stream, &args->mask),
                                 rl_accel_buffer_of(stream, &args->out),
                                 rl_accel_buffer_of(stream, &args->log_sum),
                                 RL_ACCEL_VALUE(p)};
    return rl_accel_run(stream, "attention", &spec, call, 7,
                        groups_of(self, p.batch * p.heads, p.q_length, p.k_length * (p.width + p.value_width)));
}

static int backward_supports(rl_backend_device *device, const void *given, const char **out_reason) {
    const rl_attention_backward_args *args = given;
    return takes(device, args->dtype, args->mask_dtype, args->width, args->value_width, out_reason);
}

/* The gradient of q; and `dots`, for each row the product of its gradient with its output. */
static rl_status run_queries(rl_backend_stream *stream, const rl_attention_backward_args *args, rl_attention_params p,
                             rl_accel_spec spec, rl_accel_arg dots) {
    const int64_t k_shape[4] = {args->batch, args->heads, args->k_length, args->width};
    const int64_t v_shape[4] = {args->batch, args->heads, args->k_length, args->value_width};
    rl_accel_arg k, v;
    rl_status status =
        walked(stream, "attention_backward", args->dtype, &args->k, k_shape, SLOT_FIRST, &p.k_at, p.k_stride, &k);
    if (!status)
        status =
            walked(stream, "attention_backward", args->dtype, &args->v, v_shape, SLOT_SECOND, &p.v_at, p.v_stride, &v);
    if (status)
        return status;
    const rl_accel_arg call[] = {rl_accel_buffer_of(stream, &args->grad_out),
                                 rl_accel_buffer_of(stream, &args->q),
                                 k,
                                 v,
                                 rl_accel_buffer_of(stream, &args->mask),
                                 rl_accel_buffer_of(stream, &args->out),
                                 rl_accel_buffer_of(stream, &args->log_sum),
                                 rl_accel_buffer_of(stream, &args->grad_q),
                                 dots,
                                 RL_ACCEL_VALUE(p)};
    spec.word[WORD_PASS] = PASS_QUERIES;
    return rl_accel_run(
        stream, "attention_backward", &spec, call, 10,
        groups_of(rl_accel_of(stream), p.batch * p.heads, p.q_length, p.k_length * (2 * p.width + p.value_width)));
}

static rl_status run_keys(rl_backend_stream *stream, const rl_attention_backward_args *args, rl_attention_params p,
                          rl_accel_spec spec, rl_accel_arg dots) {
    const int64_t q_shape[4] = {args->batch, args->heads, args->q_length, args->width};
    const int64_t g_shape[4] = {args->batch, args->heads, args->q_length, args->value_width};
    rl_accel_arg q, g;
    rl_status status =
        walked(stream, "attention_backward", args->dtype, &args->q, q_shape, SLOT_THIRD, &p.q_at, p.q_stride, &q);
    if (!status)
        status = walked(stream, "attention_backward", args->dtype, &args->grad_out, g_shape, SLOT_FOURTH, &p.grad_at,
                        p.grad_stride, &g);
    if (status)
        return status;
    const rl_accel_arg call[] = {g,
                                 q,
                                 rl_accel_buffer_of(stream, &args->k),
                                 rl_accel_buffer_of(stream, &args->v),
                                 rl_accel_buffer_of(stream, &args->mask),
                                 rl_accel_buffer_of(stream, &args->log_sum),
                                 dots,
                                 rl_accel_buffer_of(stream, &args->grad_k),
                                 rl_accel_buffer_of(stream, &args->grad_v),
                                 RL_ACCEL_VALUE(p)};
    spec.word[WORD_PASS] = PASS_KEYS;
    return rl_accel_run(
        stream, "attention_backward", &spec, call, 10,
        groups_of(rl_accel_of(stream), p.batch * p.heads, p.k_length, 2 * p.q_length * (p.width + p.value_width)));
}

static rl_status attention_backward(rl_backend_stream *stream, const void *given) {
    const rl_attention_backward_args *args = given;
    rl_accel *self = rl_accel_of(stream);
    uint32_t dtype = args->dtype, reg = rl_gemm_register(dtype);
    rl_accel_spec spec = spec_of(dtype, args->width, args->value_width);
    rl_attention_params p = PARAMS_OF(args);
    rl_accel_arg dots = {0};
    place(&args->grad_out, dtype, 4, &p.grad_at, p.grad_stride);
    place_all(dtype, &args->q, &args->k, &args->v, args->mask_dtype, &args->mask, &args->out, &args->log_sum, &p);
    place(&args->grad_q, dtype, 4, &p.dq_at, p.dq_stride);
    place(&args->grad_k, dtype, 4, &p.dk_at, p.dk_stride);
    place(&args->grad_v, dtype, 4, &p.dv_at, p.dv_stride);
    int64_t rows = args->batch * args->heads * args->q_length;
    rl_status status =
        self->driver->scratch(stream, SLOT_DOTS, (uint64_t)(rows ? rows : 1) * rl_accel_dtype_bytes(reg), &dots.buffer);
    if (!status && rows)
        status = run_queries(stream, args, p, spec, dots);
    if (!status && args->batch * args->heads * args->k_length > 0)
        status = run_keys(stream, args, p, spec, dots);
    return status;
}

const rl_fused_cell rl_cell_attention = {.row = RL_ROW_ATTENTION, .supports = supports, .run = attention};
const rl_fused_cell rl_cell_attention_backward = {
    .row = RL_ROW_ATTENTION_BACKWARD, .supports = backward_supports, .run = attention_backward};
