/* SPDX-License-Identifier: Apache-2.0 */
/* The general product behind matmul, linear and the convolutions (device/gemm.h has its mathematics). */
#ifndef RL_ACCEL_GEMM_H
#define RL_ACCEL_GEMM_H

#include "device/params.h"
#include "kernel.h"
#include "layout.h"

typedef struct rl_gemm {
    uint32_t dtype;      /* of c and bias, and of a and b but where `registers` says otherwise */
    int a_register;      /* 1: a is of the dtype's register already */
    uint32_t activation; /* rl_activation */
    double alpha, beta;
    rl_accel_arg a, b, bias, c; /* bias.buffer NULL: none */
    int64_t bias_at;
    int i_dims, k_dims;    /* 1 to 4 */
    rl_layout batch;       /* of the strides of a, b, c and bias, in this order; merged by rl_gemm_run */
    int c_overlaps;        /* c lies where a or b does */
    rl_gemm_params params; /* but batch and what depends on how the work is cut; alpha and beta */
} rl_gemm;

rl_status rl_gemm_run(rl_backend_stream *stream, const char *row, rl_gemm *gemm);

/* A copy of an operand of (shape[0] ... shape[4]) as spread.h makes it, in scratch memory of slot `slot`. */
rl_status rl_gemm_spread(rl_backend_stream *stream, const char *row, uint32_t dtype, const rl_operand *from,
                         const rl_spread_params *params, unsigned slot, rl_accel_arg *out);
/* Writes device/activation.h: the `write` of a family. */
void rl_gemm_write_activation(rl_text_buffer *out, const rl_accel *accel, const rl_accel_spec *spec);
/* The dtype that is the register of `dtype`: F32, F64, I32 or I64. */
uint32_t rl_gemm_register(uint32_t dtype);

/* Slots of scratch memory that rl_gemm_run uses; callers take the others. */
#define RL_GEMM_SLOT_PANELS 0
#define RL_GEMM_SLOT_PARTS 1
#define RL_GEMM_SLOT_A 2

#endif
