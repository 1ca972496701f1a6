/* SPDX-License-Identifier: Apache-2.0 */
/* Primitive 3, matmul, and the row linear, by the general product of gemm.h. */
#include "cells.h"
#include "gemm.h"

/* What to take where an operand is not of its register's dtype: a copy that is. a (batch, m, k). */
static rl_status widen_a(rl_backend_stream *stream, const char *row, uint32_t dtype, const rl_operand *a,
                         rl_gemm *gemm) {
    rl_gemm_params *p = &gemm->params;
    rl_layout *batch = &gemm->batch;
    rl_spread_params spread = {.shape = {1, 1, 1, p->m, p->k},
                               .in_at = p->a_at,
                               .in_stride = {0, 0, 0, p->a_i[0], p->a_k[0]},
                               .size = {1, p->m, p->k},
                               .step = {1, 1, 1}};
    /* The batch as one or two dimensions; more only where rows of a are broadcast in odd ways. */
    rl_layout own = *batch;
    own.n = 1;
    for (int d = 0; d < own.dims; d++)
        if (own.stride[0][d] == 0)
            own.shape[d] = 1; /* read once for all */
    rl_layout merged = own;
    rl_layout_merge(&merged);
    if (merged.dims > 3)
        return rl_accel_of(stream)->host->fail(RL_UNSUPPORTED, "%s: a batch of %d separate dimensions", row,
                                               merged.dims);
    for (int d = 0; d < merged.dims; d++) {
        spread.shape[d + 3 - merged.dims] = merged.shape[d];
        spread.in_stride[d + 3 - merged.dims] = merged.stride[0][d];
    }
    spread.size[0] = spread.shape[2];
    rl_status status = rl_gemm_spread(stream, row, dtype, a, &spread, RL_GEMM_SLOT_A, &gemm->a);
    int64_t next = p->m * p->k;
    for (int d = own.dims - 1; d >= 0; d--) {
        batch->stride[0][d] = own.stride[0][d] == 0 ? 0 : next;
        next *= own.shape[d];
    }
    p->a_at = 0;
    p->a_i[0] = p->k;
    p->a_k[0] = 1;
    return status;
}

static int same_place(const rl_operand *a, const rl_operand *b) {
    return a->buffer && a->buffer == b->buffer && a->offset == b->offset;
}

/* c = a b with all that is given; swaps the roles of a and b where there are few columns and many rows. */
static rl_status product(rl_backend_stream *stream, const char *row, uint32_t dtype, const rl_operand *a,
                         const rl_operand *b, const rl_operand *c, const rl_operand *bias, rl_gemm *gemm) {
    gemm->dtype = dtype;
    gemm->i_dims = gemm->k_dims = 1;
    gemm->a = rl_accel_buffer_of(stream, a);
    gemm->b = rl_accel_buffer_of(stream, b);
    gemm->c = rl_accel_buffer_of(stream, c);
    gemm->bias.buffer = bias ? bias->buffer : NULL;
    gemm->params.a_at = rl_accel_offset(a, dtype);
    gemm->params.b_at = rl_accel_offset(b, dtype);
    gemm->params.c_at = rl_accel_offset(c, dtype);
    gemm->params.bias_at = bias ? rl_accel_offset(bias, dtype) : 0;
    gemm->c_overlaps = same_place(c, a) || same_place(c, b);
    rl_status status = RL_OK;
    if (rl_gemm_register(dtype) != dtype && gemm->params.k && gemm->params.m && rl_layout_total(&gemm->batch))
        status = widen_a(stream, row, dtype, a, gemm);
    return status ? status : rl_gemm_run(stream, row, gemm);
}

rl_status rl_accel_matmul(rl_backend_stream *stream, const rl_matmul_args *args) {
    int64_t d = args->batch_ndim, width = rl_accel_of(stream)->traits.width;
    rl_gemm gemm = {.alpha = args->alpha, .beta = args->beta};
    rl_gemm_params *p = &gemm.params;
    const rl_operand *a = &args->a, *b = &args->b, *c = &args->c;
    int turned = args->n < width / 2 && args->m > args->n; /* c' = b' a' */
    rl_layout_init(&gemm.batch, d, args->batch_shape);
    rl_layout_add(&gemm.batch, turned ? b->stride : a->stride, 0);
    rl_layout_add(&gemm.batch, turned ? a->stride : b->stride, 0);
    rl_layout_add(&gemm.batch, c->stride, 0);
    p->m = turned ? args->n : args->m;
    p->n = turned ? args->m : args->n;
    p->k = args->k;
    p->a_i[0] = turned ? b->stride[d + 1] : a->stride[d];
    p->a_k[0] = turned ? b->stride[d] : a->stride[d + 1];
    p->b_k[0] = turned ? a->stride[d + 1] : b->stride[d];
    p->b_j = turned ? a->stride[d] : b->stride[d + 1];
    p->c_i[0] = c->stride[d + turned];
    p->c_j = c->stride[d + !turned];
    return product(stream, "matmul", args->dtype, turned ? b : a, turned ? a : b, c, NULL, &gemm);
}

/* Linear ------------------------------------------------------------------------------------------------------- */

static int linear_supports(rl_backend_device *device, const void *args, const char **out_reason) {
    const rl_linear_args *linear = args;
    return rl_accel_takes_float(device, linear->dtype, out_reason);
}

static rl_status linear(rl_backend_stream *stream, const void *given) {
    const rl_linear_args *args = given;
    rl_gemm gemm = {.alpha = 1, .activation = args->activation};
    rl_gemm_params *p = &gemm.params;
    rl_layout_init(&gemm.batch, 0, NULL);
    gemm.batch.n = 4;
    p->m = args->rows;
    p->n = args->out_features;
    p->k = args->in_features;
    p->a_i[0] = args->in.stride[0];
    p->a_k[0] = args->in.stride[1];
    p->b_k[0] = args->weight.stride[1];
    p->b_j = args->weight.stride[0];
    p->c_i[0] = args->out.stride[0];
    p->c_j = args->out.stride[1];
    p->bias_j = args->bias.buffer ? args->bias.stride[0] : 0;
    return product(stream, "linear", args->dtype, &args->in, &args->weight, &args->out,
                   args->bias.buffer ? &args->bias : NULL, &gemm);
}

const rl_fused_cell rl_cell_linear = {.row = RL_ROW_LINEAR, .supports = linear_supports, .run = linear};
