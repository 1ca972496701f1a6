/* SPDX-License-Identifier: Apache-2.0 */
#include "gemm.h"

#include <string.h>

#include "device_text.h"
#include "rl_interp.h"
#include "source.h"

#define KC 256 /* as device/gemm.h has it */
#define ROWS 6
#define GROUP_TILE 64

enum {
    WORD_DTYPE,
    WORD_RDTYPE,
    WORD_BDTYPE,
    WORD_I_DIMS,
    WORD_K_DIMS,
    WORD_A_UNIT,
    WORD_FINISH,
    WORD_ACTIVATION,
    WORD_WIDE
};

void rl_gemm_write_activation(rl_text_buffer *out, const rl_accel *accel, const rl_accel_spec *spec) {
    (void)accel, (void)spec;
    rl_text_put_all(out, rl_device_activation);
}

static const rl_accel_family gemm_family = {.name = "gemm",
                                            .text = rl_device_gemm,
                                            .words = "DTYPE RDTYPE BDTYPE I_DIMS K_DIMS A_UNIT FINISH ACTIVATION WIDE",
                                            .write = rl_gemm_write_activation};
static const rl_accel_family spread_family = {.name = "spread", .text = rl_device_spread, .words = "DTYPE"};

uint32_t rl_gemm_register(uint32_t dtype) {
    static const uint8_t of[] = {
        [RL_REG_F32] = RL_F32, [RL_REG_F64] = RL_F64, [RL_REG_I32] = RL_I32, [RL_REG_I64] = RL_I64};
    return of[rl_interp_dtype_reg(dtype)];
}

rl_status rl_gemm_spread(rl_backend_stream *stream, const char *row, uint32_t dtype, const rl_operand *from,
                         const rl_spread_params *params, unsigned slot, rl_accel_arg *out) {
    rl_accel *self = rl_accel_of(stream);
    rl_accel_spec spec = {.family = &spread_family, .word = {(int32_t)dtype}};
    int64_t rows = params->shape[0] * params->shape[1] * params->shape[2] * params->shape[3];
    int64_t width = self->traits.width, vectors = (params->shape[4] + width - 1) / width;
    uint64_t bytes = (uint64_t)(rows * params->shape[4]) * rl_accel_dtype_bytes(rl_gemm_register(dtype));
    rl_status status = self->driver->scratch(stream, slot, bytes ? bytes : 8, &out->buffer);
    if (status || bytes == 0)
        return status;
    const rl_accel_arg args[] = {rl_accel_buffer_of(stream, from), *out, RL_ACCEL_VALUE(*params)};
    return rl_accel_run(stream, row, &spec, args, 3, rl_accel_groups(self, (uint64_t)(rows * vectors), 64));
}

static void put_batch(rl_gemm *gemm) {
    rl_gemm_params *p = &gemm->params;
    rl_layout *batch = &gemm->batch;
    rl_layout_merge(batch);
    p->batch_dims = batch->dims;
    for (int d = 0; d < batch->dims; d++) {
        p->batch_shape[d] = batch->shape[d];
        p->a_batch[d] = batch->stride[0][d];
        p->b_batch[d] = batch->stride[1][d];
        p->c_batch[d] = batch->stride[2][d];
        p->bias_batch[d] = batch->n < 4 ? 0 : batch->stride[3][d];
    }
    p->batch = rl_layout_total(batch);
}

/* How the work is cut: parts depend on the shape and the kind of device alone, as they change the order of sums. */
static void cut(const rl_accel *self, rl_gemm *gemm) {
    rl_gemm_params *p = &gemm->params;
    int64_t width = self->traits.width, wanted = self->traits.group > 1 ? 256 : 16;
    p->tile_n = p->n < KC ? (p->n + width - 1) / width * width : KC;
    p->tile_m = 32 * ROWS;
    if (self->traits.group > 1)
        p->tile_m = p->tile_n = GROUP_TILE;
    int64_t tiles = p->batch * ((p->m + p->tile_m - 1) / p->tile_m) * ((p->n + p->tile_n - 1) / p->tile_n);
    int64_t parts = (wanted + tiles - 1) / tiles, most = p->k / (4 * KC);
    parts = parts > most ? most : parts;
    p->parts = parts < 1 ? 1 : parts;
    p->part_k = (p->k + p->parts - 1) / p->parts;
    p->part_k = (p->part_k + KC - 1) / KC * KC;
    p->parts = p->k ? (p->k + p->part_k - 1) / p->part_k : 1;
    /* Smaller tiles where that is what keeps all threads busy: sums stay as they are. */
    int64_t busy = 4 * (int64_t)self->traits.units;
    while (self->traits.group == 1 && p->tile_m > 8 * ROWS && tiles * p->parts < busy) {
        p->tile_m /= 2;
        tiles = p->batch * ((p->m + p->tile_m - 1) / p->tile_m) * ((p->n + p->tile_n - 1) / p->tile_n);
    }
}

static rl_status run_stages(rl_backend_stream *stream, const char *row, rl_gemm *gemm, rl_accel_spec *spec) {
    rl_accel *self = rl_accel_of(stream);
    rl_gemm_params *p = &gemm->params;
    uint64_t bytes = rl_accel_dtype_bytes((uint32_t)spec->word[WORD_RDTYPE]);
    uint64_t tiles =
        (uint64_t)(p->batch * p->parts * ((p->m + p->tile_m - 1) / p->tile_m) * ((p->n + p->tile_n - 1) / p->tile_n));
    uint64_t groups = rl_accel_groups(self, tiles * (self->traits.group), 1u << 20);
    int in_parts = p->parts > 1 || gemm->c_overlaps;
    p->to_parts = in_parts;
    rl_backend_buffer *panels = gemm->c.buffer, *partial = gemm->c.buffer;
    rl_status status = RL_OK;
    if (self->traits.group == 1)
        status = self->driver->scratch(stream, RL_GEMM_SLOT_PANELS,
                                       groups * bytes * (uint64_t)(p->tile_n * (KC + p->tile_m + ROWS)), &panels);
    if (!status && in_parts)
        status = self->driver->scratch(stream, RL_GEMM_SLOT_PARTS,
                                       bytes * (uint64_t)(p->batch * p->parts * p->m * p->n), &partial);
    if (status)
        return status;
    rl_accel_arg bias = gemm->bias.buffer ? gemm->bias : gemm->c;
    const rl_accel_arg args[] = {gemm->a,           gemm->b, bias, gemm->c, {.buffer = partial}, {.buffer = panels},
                                 RL_ACCEL_VALUE(*p)};
    status = rl_accel_run(stream, row, spec, args, 7, groups);
    if (status || !in_parts)
        return status;
    const rl_accel_arg finish[] = {{.buffer = partial}, bias, gemm->c, RL_ACCEL_VALUE(*p)};
    int64_t width = self->traits.width;
    spec->word[WORD_FINISH] = 1;
    return rl_accel_run(
        stream, row, spec, finish, 4,
        rl_accel_groups(self, (uint64_t)(p->batch * p->m * ((p->n + width - 1) / width)), (uint64_t)(p->parts * 8)));
}

/* A last dimension of size 1 at d. */
static void add_dim(int64_t *shape, int64_t *first, int64_t *second, int d) {
    shape[d] = 1;
    first[d] = second[d] = 0;
}

rl_status rl_gemm_run(rl_backend_stream *stream, const char *row, rl_gemm *gemm) {
    rl_accel *self = rl_accel_of(stream);
    rl_gemm_params *p = &gemm->params;
    uint32_t reg = rl_gemm_register(gemm->dtype);
    rl_accel_spec spec = {.family = &gemm_family};
    put_batch(gemm);
    if (p->batch == 0 || p->m == 0 || p->n == 0)
        return RL_OK;
    cut(self, gemm);
    p->alpha = rl_accel_bits(reg, gemm->alpha);
    p->beta = rl_accel_bits(reg, gemm->beta);
    spec.word[WORD_DTYPE] = (int32_t)gemm->dtype;
    spec.word[WORD_RDTYPE] = (int32_t)reg;
    spec.word[WORD_BDTYPE] = (int32_t)gemm->dtype;
    spec.word[WORD_I_DIMS] = gemm->i_dims == 1 ? 1 : 4;
    spec.word[WORD_K_DIMS] = gemm->k_dims == 1 ? 1 : 4;
    for (int d = gemm->i_dims; d < 4 && gemm->i_dims > 1; d++)
        add_dim(p->i_shape, p->a_i, p->c_i, d);
    for (int d = gemm->k_dims; d < 4 && gemm->k_dims > 1; d++)
        add_dim(p->k_shape, p->a_k, p->b_k, d);
    spec.word[WORD_A_UNIT] = gemm->k_dims == 1 && (p->a_k[0] == 1 || p->k == 1);
    p->b_unit = p->b_j == 1 || p->n == 1 ? 1 : gemm->k_dims == 1 && p->b_k[0] == 1 ? 2 : 0;
    p->has_beta = gemm->beta != 0;
    p->has_bias = gemm->bias.buffer != NULL;
    spec.word[WORD_ACTIVATION] = (int32_t)gemm->activation;
    spec.word[WORD_WIDE] = reg == RL_F64;
    return run_stages(stream, row, gemm, &spec);
}
