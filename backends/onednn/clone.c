/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inner loops, compiled several times with OD_CLONE = baseline, avx2, avx512 and the flags of each. Contraction is
 * off, so that all clones compute what is written; fused multiply-add is asked for by name where it helps.
 */
#include "clones.h"
#include "vmath.h"

#if defined(__SSE2__)
#include <immintrin.h>
#endif

/* No iteration depends on another one: `out` is an operand exactly or not at all. */
#define SIMD _Pragma("omp simd")
#define PRAGMA_(text) _Pragma(#text)
#define SIMD_SUM(x) PRAGMA_(omp simd reduction(+ : x))

#include "clone_pool_lanes.h"
#include "clone_vec.h"

#include "clone_attention.h"
#include "clone_memory.h"
#include "clone_norm.h"
#include "clone_random.h"
#include "clone_reduce.h"
#include "clone_rnn.h"
#include "clone_rows.h"
#include "clone_steps.h"

#define T float
#define POOL_LANES 1
#define POOL_SUM sum_f32
#define POOL(name) pool_##name##_f32
#include "clone_pool.h"
#undef T
#undef POOL
#undef POOL_LANES
#undef POOL_SUM
#define T double
#define POOL_LANES 0
#define POOL_SUM sum_f64
#define POOL(name) pool_##name##_f64
#include "clone_pool.h"
#undef T
#undef POOL

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define TEXT_(a) #a
#define TEXT(a) TEXT_(a)

#define ALL(CODE, name) [RL_INSN_##CODE] = {name##_f32, name##_f64, name##_i32, name##_i64}
#define FLOATS(CODE, name) [RL_INSN_##CODE] = {name##_f32, name##_f64, NULL, NULL}
#define INTEGERS(CODE, name) [RL_INSN_##CODE] = {NULL, NULL, name##_i32, name##_i64}
#define COMBINES(kind, name)                                                                                           \
    { kind##_##name##_f32, kind##_##name##_f64, kind##_##name##_i32, kind##_##name##_i64 }

extern const od_kernels JOIN(od_kernels_, OD_CLONE);
const od_kernels JOIN(od_kernels_, OD_CLONE) = {
    .name = TEXT(OD_CLONE),
    .step =
        {
            [RL_INSN_PHILOX] = {NULL, NULL, philox_i32, philox_i32},
            [RL_INSN_UNIFORM] = {uniform_f32, uniform_f64, NULL, NULL},
            [RL_INSN_NORMAL] = {normal_f32, normal_f64, NULL, NULL},
            [RL_INSN_BITCAST] = {copy_32, copy_64, copy_32, copy_64},
            ALL(ADD, add), ALL(SUB, sub), ALL(MUL, mul), ALL(NEG, neg), ALL(ABS, abs), ALL(MIN, min), ALL(MAX, max),
            ALL(EQ, eq), ALL(NE, ne), ALL(LT, lt), ALL(LE, le), ALL(GT, gt), ALL(GE, ge), ALL(SELECT, select),
            INTEGERS(IDIV, idiv), INTEGERS(IREM, irem), INTEGERS(AND, and), INTEGERS(OR, or), INTEGERS(XOR, xor),
            INTEGERS(NOT, not), INTEGERS(SHL, shl), INTEGERS(SHR, shr),
            FLOATS(DIV, div), FLOATS(FMA, fma), FLOATS(SQRT, sqrt), FLOATS(FLOOR, floor), FLOATS(CEIL, ceil),
            FLOATS(TRUNC, trunc), FLOATS(ROUND, round), FLOATS(EXP, exp), FLOATS(LOG, log), FLOATS(SIN, sin),
            FLOATS(COS, cos), FLOATS(TANH, tanh), FLOATS(ERF, erf), FLOATS(ATAN, atan), FLOATS(POW, pow),
            FLOATS(FMOD, fmod), FLOATS(EXPM1, expm1), FLOATS(LOG1P, log1p), FLOATS(RECIP, recip),
            FLOATS(RSQRT, rsqrt), FLOATS(SIGMOID, sigmoid), FLOATS(EXP2, exp2), FLOATS(LOG2, log2),
            FLOATS(LOG10, log10), FLOATS(TAN, tan), FLOATS(ASIN, asin), FLOATS(ACOS, acos), FLOATS(ATAN2, atan2),
            FLOATS(SINH, sinh), FLOATS(COSH, cosh), FLOATS(ASINH, asinh), FLOATS(ACOSH, acosh),
            FLOATS(ATANH, atanh), FLOATS(ERFC, erfc),
        },
    .cast =
        {
            {NULL, copy_32, cast_f32_f64, cast_f32_f16, cast_f32_bf16, cast_f32_i8, cast_f32_u8, cast_f32_i16,
             cast_f32_i32, cast_f32_i64, cast_f32_bool},
            {NULL, cast_f64_f32, copy_64, cast_f64_f16, cast_f64_bf16, cast_f64_i8, cast_f64_u8, cast_f64_i16,
             cast_f64_i32, cast_f64_i64, cast_f64_bool},
            {NULL, cast_i32_f32, cast_i32_f64, cast_i32_f16, cast_i32_bf16, cast_i32_i8, cast_i32_u8, cast_i32_i16,
             copy_32, cast_i32_i64, cast_i32_bool},
            {NULL, cast_i64_f32, cast_i64_f64, cast_i64_f16, cast_i64_bf16, cast_i64_i8, cast_i64_u8, cast_i64_i16,
             cast_i64_i32, copy_64, cast_i64_bool},
        },
    .load = {NULL, load_32, load_64, load_f16, load_bf16, load_i8, load_u8, load_i16, load_32, load_64, load_u8},
    .store = {NULL, store_32, store_64, store_f16, store_bf16, store_i8, store_i8, store_i16, store_32, store_64,
              store_i8},
    .move = {load_8, load_16, load_32, load_64},
    .stream = stream,
    .stream_end = stream_end,
    .fill = {fill_f32, fill_f64, fill_i32, fill_i64},
    .iota = iota,
    .combine_row = {COMBINES(row, sum), COMBINES(row, prod), COMBINES(row, max), COMBINES(row, min),
                    COMBINES(row, argmax), COMBINES(row, argmin)},
    .combine_columns = {COMBINES(columns, sum), COMBINES(columns, prod), COMBINES(columns, max),
                        COMBINES(columns, min), COMBINES(columns, argmax), COMBINES(columns, argmin)},
    .row = {max_row_f32, row_exp_sum, row_dot, row_sum, row_scale, row_shift, row_backward, row_backward_log,
            row_exp_scale, row_add},
    .tile = {tile_product, tile_attend, tile_scale, tile_weights, tile_gradient, tile_to_panel, tile_from_panel},
    .norm = {norm_sum, norm_squares, norm_dots, norm_dots_weighted, norm_scale, norm_affine, norm_grad, norm_columns_sum,
             norm_columns_squares, norm_columns_dots, norm_columns_scale, norm_columns_grad},
    .small_matmul = {small_matmul_f32, small_matmul_f64, small_matmul_i32, small_matmul_i64},
    .rnn = {PANEL,
            rnn_product,
            rnn_add,
            rnn_lstm,
            rnn_gru,
            {rnn_tanh, rnn_relu},
            rnn_lstm_backward,
            rnn_gru_backward,
            {rnn_tanh_backward, rnn_relu_backward}},
    .pool = {{pool_forward_f32, pool_backward_f32}, {pool_forward_f64, pool_backward_f64}},
};
