/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parameters of kernels, as host and device see them: structs of 8-byte integers and doubles only, so that every
 * compiler lays them out alike. Offsets and strides in elements. Kernels of families with a text have one such struct,
 * by value, as their last argument.
 */
#ifndef RL_ACCEL_PARAMS_H
#define RL_ACCEL_PARAMS_H

#ifdef RL_DEVICE
#define RL_PARAM_I64 rl_long
#else
#include <stdint.h>
#define RL_PARAM_I64 int64_t
#endif

/* A stream's report of a bad index: which row found it (0: none did), the index and the size that it had to stay
 * below. Where several did, one of them. */
typedef struct rl_flags {
    RL_PARAM_I64 claimed, row, index, size, unused[4];
} rl_flags;
#define RL_FLAG_GATHER 1
#define RL_FLAG_SCATTER 2
#define RL_FLAG_CROSS_ENTROPY 3
#define RL_FLAG_EMBEDDING_BACKWARD 4
#define RL_FLAG_CROSS_ENTROPY_BACKWARD 5
#define RL_FLAG_COUNT 6
#define RL_FLAG_NAMES                                                                                                  \
    { "", "gather", "scatter", "cross_entropy", "embedding_backward", "cross_entropy_backward" }
#ifdef RL_DEVICE
RL_FN void rl_flag(RL_GLOBAL rl_flags *flags, int row, rl_long index, rl_long size) {
    if (RL_ATOMIC_CLAIM(&flags->claimed)) {
        flags->row = row;
        flags->index = index;
        flags->size = size;
    }
}
#endif

#define RL_PARAM_DIMS 12
/* Operands of move.h: in, index, out; `rows` is the product of shape. */
typedef struct rl_move_params {
    RL_PARAM_I64 rows, inner, dim_size, dim_stride;
    RL_PARAM_I64 shape[RL_PARAM_DIMS], offset[3], inner_stride[3], stride[3][RL_PARAM_DIMS];
} rl_move_params;

/* What works along lines of a dimension: scatter.h (operands in, index, out), scan.h (in, out, indices), sort.h (in,
 * values, indices). Lines are the indices of shape, in scan.h those of shape and `inner`; `step` is the stride along a
 * line. */
typedef struct rl_lines_params {
    RL_PARAM_I64 lines, length, dim_size, rows, inner, chunks, each, more_at, keys_at, order_at, exponent, flip;
    RL_PARAM_I64 shape[RL_PARAM_DIMS], offset[3], step[3], inner_stride[3], stride[3][RL_PARAM_DIMS];
} rl_lines_params;

typedef struct rl_keys_params {
    RL_PARAM_I64 total, dim_size, skip, none, keys_at, index_offset;
    RL_PARAM_I64 shape[RL_PARAM_DIMS], index_stride[RL_PARAM_DIMS], key_stride[RL_PARAM_DIMS];
} rl_keys_params;

typedef struct rl_radix_params { /* lines one after the other; `each` elements in a chunk */
    RL_PARAM_I64 lines, length, chunks, each, shift, keys_from, keys_to, order_from, order_to, counts_at;
} rl_radix_params;

/* Positions are numbers within shape, whose operands are in, out and key; the dimensions along which the index is the
 * same are those of outer_shape, of `rows` elements, and `inner`, with operands in and out. */
typedef struct rl_accumulate_params {
    RL_PARAM_I64 count, none, rows, inner, keys_at, order_at, in_offset, out_offset, dim_stride;
    RL_PARAM_I64 shape[RL_PARAM_DIMS], stride[3][RL_PARAM_DIMS], inner_stride[2];
    RL_PARAM_I64 outer_shape[RL_PARAM_DIMS], outer_stride[2][RL_PARAM_DIMS];
} rl_accumulate_params;

/* interpreter.h: a program with its operands (inputs, outputs, then those whose offset is a number: see generate.h) and
 * its scalars, or for reduce two programs, one after the other. An instruction's bytes, from the lowest: code, type,
 * dtype, register of the result, a, b, c; a and b also hold the numbers of slots, INPUT and STORE have an operand in b
 * and the pointer (inputs from 0, outputs from 16) in c. What the two programs of reduce exchange is in registers from
 * RL_INTERPRETER_REGISTERS on. */
#define RL_INTERPRETER_INSNS 96
#define RL_INTERPRETER_SLOTS 64
#define RL_INTERPRETER_REGISTERS 16
#define RL_INTERPRETER_EXCHANGED 4
#define RL_INTERPRETER_OPERANDS 38
#define RL_INTERPRETER_INPUT 0 /* as rl_insn_code */
#define RL_INTERPRETER_SCALAR 1
#define RL_INTERPRETER_INDEX 2
#define RL_INTERPRETER_PHILOX 3
#define RL_INTERPRETER_UNIFORM 4
#define RL_INTERPRETER_NORMAL 5
#define RL_INTERPRETER_CAST 6
#define RL_INTERPRETER_BITCAST 7
#define RL_INTERPRETER_STORE 200
typedef struct rl_interpreter_params {
    RL_PARAM_I64 items, dims, n_insns, n_end; /* n_end: of both programs */
    /* Of reduce: the last reduced_dims dimensions are `rows` lines of `inner`; `number`: an operand, or -1. */
    RL_PARAM_I64 reduced_dims, rows, inner, number, combined;
    RL_PARAM_I64 combiner[RL_INTERPRETER_EXCHANGED], identity[RL_INTERPRETER_EXCHANGED]; /* combiner * 4 + register */
    RL_PARAM_I64 shape[RL_PARAM_DIMS], slot[RL_INTERPRETER_SLOTS], insn[RL_INTERPRETER_INSNS];
    struct {
        RL_PARAM_I64 offset, stride[RL_PARAM_DIMS];
    } operand[RL_INTERPRETER_OPERANDS]; /* last: unused ones are not sent */
} rl_interpreter_params;

/* gemm.h; alpha and beta as the bits of the register's number. */
#define RL_GEMM_BATCH 10
typedef struct rl_gemm_params {
    RL_PARAM_I64 batch, batch_dims, m, n, k, parts, part_k, to_parts, tile_m, tile_n;
    RL_PARAM_I64 b_unit, has_beta, has_bias;
    RL_PARAM_I64 a_at, b_at, c_at, bias_at, b_j, c_j, bias_j, alpha, beta;
    RL_PARAM_I64 i_shape[4], k_shape[4], a_i[4], a_k[4], b_k[4], c_i[4];
    RL_PARAM_I64 batch_shape[RL_GEMM_BATCH], a_batch[RL_GEMM_BATCH], b_batch[RL_GEMM_BATCH], c_batch[RL_GEMM_BATCH],
        bias_batch[RL_GEMM_BATCH];
} rl_gemm_params;

/* spread.h: out (shape), contiguous, from in; along the last three dimensions place t holds in's (t - origin) / step
 * where that is whole and within size, else 0. */
typedef struct rl_spread_params {
    RL_PARAM_I64 shape[5], in_at, in_stride[5], size[3], origin[3], step[3];
} rl_spread_params;

/* depthwise.h; strides of channels and so on as image's of conv.c. Place x of `in` goes to origin + gap x of an image
 * of `size`, `count` of them along a row from `skip` on; outputs are `step` apart. Plane `part` of channel c of out is
 * (c parts + part) / divide of `in`. Elements of a phase of a row, an image, and a thread's memory come last. */
typedef struct rl_depthwise_params {
    RL_PARAM_I64 batch, channels, parts, divide, turned, has_bias;
    RL_PARAM_I64 in_at, in_stride[5], in_size[3], origin[3], gap[3], skip, count;
    RL_PARAM_I64 size[3], step[3], window[3], dilation[3], taps;
    RL_PARAM_I64 weight_at, weight_stride[5], bias_at, bias_stride, grad_at, grad_stride[5];
    RL_PARAM_I64 out_at, out_stride[5], out_size[3], phase_size, image, memory;
} rl_depthwise_params;

/* softmax.h; operands: in or grad_out, nothing or out, out or grad_in. */
typedef struct rl_softmax_params {
    RL_PARAM_I64 items, size, vectors; /* vectors of lines along the last dimension, for COLUMNS */
    RL_PARAM_I64 shape[RL_PARAM_DIMS], offset[3], along[3], stride[3][RL_PARAM_DIMS];
} rl_softmax_params;

/* cross_entropy.h */
typedef struct rl_cross_entropy_params {
    RL_PARAM_I64 items, rows, classes, ignored;
    RL_PARAM_I64 offset, row, column, grad_offset, grad_row, grad_column;
    RL_PARAM_I64 target_offset, target_stride, loss_offset, loss_stride, log_sum_offset, log_sum_stride;
} rl_cross_entropy_params;

/* norm.h: lines (kept dimensions) along the others, `inner` of which are the last; parts of a line are row_step rows by
 * column_step elements. eps as the bits of a float or double. Operands: x, g, out, w, b (or grad_bias), mean, var,
 * grad_weight. */
#define RL_NORM_DIMS 4
#define RL_NORM_OPERANDS 8
typedef struct rl_norm_params {
    RL_PARAM_I64 items, lines, vectors, rows, inner, parts, row_step, column_step, column_parts, eps;
    RL_PARAM_I64 kept[RL_NORM_DIMS], along[RL_NORM_DIMS], offset[RL_NORM_OPERANDS];
    RL_PARAM_I64 kept_stride[RL_NORM_OPERANDS][RL_NORM_DIMS], along_stride[RL_NORM_OPERANDS][RL_NORM_DIMS];
} rl_norm_params;

/* pool.h; strides of batch, channel and three spatial dimensions (absent ones of size 1 lead). Before in_end there are
 * elements of `in`. `together` vectors of channels are an item. A thread's memory is `memory` elements, with a line
 * from line_at on. */
typedef struct rl_pool_params {
    RL_PARAM_I64 items, together, in_end, memory, line_at, batch, channels, divisor, count_padding;
    RL_PARAM_I64 in_size[3], out_size[3], window[3], step[3], padding[3], dilation[3];
    RL_PARAM_I64 in_offset, out_offset, grad_offset, in_stride[5], out_stride[5], grad_stride[5];
} rl_pool_params;

/* attention.h: strides are (batch, head, place, number); scale as the bits of the register's number. */
typedef struct rl_attention_params {
    RL_PARAM_I64 batch, heads, q_length, k_length, width, value_width, scale;
    RL_PARAM_I64 mask_kind, causal; /* 0: none, 1: bool, 2: added */
    RL_PARAM_I64 q_at, k_at, v_at, mask_at, out_at, log_at, grad_at, dq_at, dk_at, dv_at;
    RL_PARAM_I64 q_stride[4], k_stride[4], v_stride[4], mask_stride[4], out_stride[4], log_stride[4], grad_stride[4],
        dq_stride[4], dk_stride[4], dv_stride[4];
} rl_attention_params;

#endif
