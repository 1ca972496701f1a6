/* SPDX-License-Identifier: Apache-2.0 */
/* The instructions themselves are in rl_interp_float.h and rl_interp_int.h. */
#include "rl_interp.h"

#include <math.h>
#include <string.h>

#include "rl_convert.h"
#include "rl_philox.h"

#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#endif

#define NAME run_f32
#define T float
#define M(name) name##f
#include "rl_interp_float.h"

#define NAME run_f64
#define T double
#define M(name) name
#include "rl_interp_float.h"

#define NAME run_i32
#define T int32_t
#define U uint32_t
#define WIDTH 32
#include "rl_interp_int.h"

#define NAME run_i64
#define T int64_t
#define U uint64_t
#define WIDTH 64
#include "rl_interp_int.h"

/* Dtypes ------------------------------------------------------------------------------------------------------- */

size_t rl_interp_dtype_bytes(uint32_t dtype) {
#define BYTES(NAME, code, bytes, reg, text) [code] = bytes,
    static const uint8_t table[] = {RL_DTYPE_LIST(BYTES)};
#undef BYTES
    return dtype < sizeof table ? table[dtype] : 0;
}

rl_reg rl_interp_dtype_reg(uint32_t dtype) {
#define REGISTER(NAME, code, bytes, reg, text) [code] = RL_REG_##reg,
    static const uint8_t table[] = {RL_DTYPE_LIST(REGISTER)};
#undef REGISTER
    return dtype < sizeof table ? (rl_reg)table[dtype] : RL_REG_F32;
}

rl_reg rl_interp_result(const rl_insn *insn) {
    switch (insn->code) {
    case RL_INSN_EQ:
    case RL_INSN_NE:
    case RL_INSN_LT:
    case RL_INSN_LE:
    case RL_INSN_GT:
    case RL_INSN_GE:
    case RL_INSN_PHILOX:
        return RL_REG_I32;
    case RL_INSN_INDEX:
        return RL_REG_I64;
    case RL_INSN_CAST:
        return rl_interp_dtype_reg(insn->dtype);
    default:
        return (rl_reg)insn->type;
    }
}

static size_t register_bytes(rl_reg type) {
    return type == RL_REG_F64 || type == RL_REG_I64 ? 8 : 4;
}

/* Loads and stores --------------------------------------------------------------------------------------------- */

/* A stride of 1 has a loop of its own, for the compiler to vectorize. */
#define LOAD(code, stored, loaded, value)                                                                              \
    case RL_##code: {                                                                                                  \
        const stored *from_ = from;                                                                                    \
        loaded *restrict to_ = out_values;                                                                             \
        if (stride == 1) {                                                                                             \
            for (int64_t i = 0; i < count; i++) {                                                                      \
                stored x = from_[i];                                                                                   \
                to_[i] = (value);                                                                                      \
            }                                                                                                          \
            break;                                                                                                     \
        }                                                                                                              \
        for (int64_t i = 0; i < count; i++) {                                                                          \
            stored x = from_[i * stride];                                                                              \
            to_[i] = (value);                                                                                          \
        }                                                                                                              \
        break;                                                                                                         \
    }

void rl_interp_load(uint32_t dtype, const void *from, int64_t stride, int64_t count, void *out_values) {
    switch (dtype) {
        LOAD(F32, float, float, x)
        LOAD(F64, double, double, x)
        LOAD(F16, uint16_t, float, rl_f32_from_f16(x))
        LOAD(BF16, uint16_t, float, rl_f32_from_bf16(x))
        LOAD(I8, int8_t, int32_t, x)
        LOAD(U8, uint8_t, int32_t, x)
        LOAD(I16, int16_t, int32_t, x)
        LOAD(I32, int32_t, int32_t, x)
        LOAD(I64, int64_t, int64_t, x)
        LOAD(BOOL, uint8_t, int32_t, x != 0)
    default:
        break;
    }
}

/* Out of range and NaN give the least integer, as the x86 instruction does: C leaves them undefined. */
static inline int64_t i64_of(double x) {
    return x >= -0x1p63 && x < 0x1p63 ? (int64_t)x : INT64_MIN;
}
static inline int32_t i32_of(double x) {
    return x > -2147483649.0 && x < 2147483648.0 ? (int32_t)x : INT32_MIN;
}

#define STORE(code, stored, given, value)                                                                              \
    case RL_##code: {                                                                                                  \
        stored *to_ = to;                                                                                              \
        const given *from_ = values;                                                                                   \
        if (stride == 1) {                                                                                             \
            for (int64_t i = 0; i < count; i++) {                                                                      \
                given x = from_[i];                                                                                    \
                to_[i] = (stored)(value);                                                                              \
            }                                                                                                          \
            break;                                                                                                     \
        }                                                                                                              \
        for (int64_t i = 0; i < count; i++) {                                                                          \
            given x = from_[i];                                                                                        \
            to_[i * stride] = (stored)(value);                                                                         \
        }                                                                                                              \
        break;                                                                                                         \
    }

static void store_f32(uint32_t dtype, void *to, int64_t stride, int64_t count, const void *values) {
    switch (dtype) {
        STORE(F32, float, float, x)
        STORE(F64, double, float, x)
        STORE(F16, uint16_t, float, rl_f16_from_f32(x))
        STORE(BF16, uint16_t, float, rl_bf16_from_f32(x))
        STORE(I8, int8_t, float, i32_of(x))
        STORE(U8, uint8_t, float, i32_of(x))
        STORE(I16, int16_t, float, i32_of(x))
        STORE(I32, int32_t, float, i32_of(x))
        STORE(I64, int64_t, float, i64_of(x))
        STORE(BOOL, uint8_t, float, x != 0)
    default:
        break;
    }
}

static void store_f64(uint32_t dtype, void *to, int64_t stride, int64_t count, const void *values) {
    switch (dtype) {
        STORE(F32, float, double, x)
        STORE(F64, double, double, x)
        STORE(F16, uint16_t, double, rl_f16_from_f64(x))
        STORE(BF16, uint16_t, double, rl_bf16_from_f64(x))
        STORE(I8, int8_t, double, i32_of(x))
        STORE(U8, uint8_t, double, i32_of(x))
        STORE(I16, int16_t, double, i32_of(x))
        STORE(I32, int32_t, double, i32_of(x))
        STORE(I64, int64_t, double, i64_of(x))
        STORE(BOOL, uint8_t, double, x != 0)
    default:
        break;
    }
}

static void store_i32(uint32_t dtype, void *to, int64_t stride, int64_t count, const void *values) {
    switch (dtype) {
        STORE(F32, float, int32_t, x)
        STORE(F64, double, int32_t, x)
        STORE(F16, uint16_t, int32_t, rl_f16_from_f64(x))
        STORE(BF16, uint16_t, int32_t, rl_bf16_from_f64(x))
        STORE(I8, int8_t, int32_t, x)
        STORE(U8, uint8_t, int32_t, x)
        STORE(I16, int16_t, int32_t, x)
        STORE(I32, int32_t, int32_t, x)
        STORE(I64, int64_t, int32_t, x)
        STORE(BOOL, uint8_t, int32_t, x != 0)
    default:
        break;
    }
}

static void store_i64(uint32_t dtype, void *to, int64_t stride, int64_t count, const void *values) {
    switch (dtype) {
        STORE(F32, float, int64_t, x)
        STORE(F64, double, int64_t, x)
        STORE(F16, uint16_t, int64_t, rl_f16_from_f64(rl_f64_odd_from_i64(x)))
        STORE(BF16, uint16_t, int64_t, rl_bf16_from_f64(rl_f64_odd_from_i64(x)))
        STORE(I8, int8_t, int64_t, x)
        STORE(U8, uint8_t, int64_t, x)
        STORE(I16, int16_t, int64_t, x)
        STORE(I32, int32_t, int64_t, x)
        STORE(I64, int64_t, int64_t, x)
        STORE(BOOL, uint8_t, int64_t, x != 0)
    default:
        break;
    }
}

void rl_interp_store(uint32_t dtype, void *to, int64_t stride, int64_t count, rl_reg type, const void *values) {
    switch (type) {
    case RL_REG_F32:
        store_f32(dtype, to, stride, count, values);
        break;
    case RL_REG_F64:
        store_f64(dtype, to, stride, count, values);
        break;
    case RL_REG_I32:
        store_i32(dtype, to, stride, count, values);
        break;
    case RL_REG_I64:
        store_i64(dtype, to, stride, count, values);
        break;
    }
}

/* To a narrow dtype by way of its storage, which rounds and wraps as it must. */
static void cast(const rl_insn *insn, int64_t count, const void *values, void *result) {
    if (rl_interp_dtype_bytes(insn->dtype) >= 4) {
        rl_interp_store(insn->dtype, result, 1, count, (rl_reg)insn->type, values);
        return;
    }
    uint16_t stored[RL_INTERP_RUN];
    rl_interp_store(insn->dtype, stored, 1, count, (rl_reg)insn->type, values);
    rl_interp_load(insn->dtype, stored, 1, count, result);
}

/* Instructions without operands -------------------------------------------------------------------------------- */

static void fill(const rl_insn *insn, int64_t count, rl_number number, void *result) {
    switch (insn->type) {
    case RL_REG_F32:
        for (int64_t i = 0; i < count; i++)
            ((float *)result)[i] = (float)number.f;
        break;
    case RL_REG_I32:
        for (int64_t i = 0; i < count; i++)
            ((int32_t *)result)[i] = (int32_t)number.i;
        break;
    default: /* F64 and I64: the same 8 bytes */
        for (int64_t i = 0; i < count; i++)
            ((int64_t *)result)[i] = number.i;
        break;
    }
}

static void count_up(const rl_insn *insn, const rl_interp_span *span, int64_t *result) {
    int64_t first = span->index[insn->imm], step = span->inner == insn->imm;
    for (int64_t i = 0; i < span->count; i++)
        result[i] = first + i * step;
}

/* The random words of a run; neighbours mostly share a block. */
static void random_words(const rl_interp_span *span, const rl_number *state, uint32_t plane, uint32_t *words) {
    uint32_t block[4] = {0};
    uint64_t in_hand = UINT64_MAX;
    for (int64_t i = 0; i < span->count; i++) {
        uint64_t element = span->element + (uint64_t)i * span->element_step;
        if (element / 4 != in_hand) {
            in_hand = element / 4;
            rl_philox_block((uint64_t)state[0].i, (uint64_t)state[1].i + in_hand, plane, block);
        }
        words[i] = block[element % 4];
    }
}

static void random_values(const rl_insn *insn, const rl_interp_span *span, const rl_number *scalars, void *result) {
    uint32_t high[RL_INTERP_RUN], low[RL_INTERP_RUN];
    float *f32 = result;
    double *f64 = result;
    random_words(span, scalars + insn->imm, 0, high);
    if (insn->code == RL_INSN_PHILOX) {
        memcpy(result, high, (size_t)span->count * 4);
    } else if (insn->type == RL_REG_F32) {
        for (int64_t i = 0; i < span->count; i++)
            f32[i] = insn->code == RL_INSN_UNIFORM ? rl_uniform_f32(high[i]) : rl_normal_f32(high[i]);
    } else {
        random_words(span, scalars + insn->imm, 1, low);
        for (int64_t i = 0; i < span->count; i++)
            f64[i] = insn->code == RL_INSN_UNIFORM ? rl_uniform_f64(high[i], low[i]) : rl_normal_f64(high[i], low[i]);
    }
}

/* The interpreter ---------------------------------------------------------------------------------------------- */

size_t rl_interp_bytes(const rl_program *program) {
    return (size_t)program->n_insns * RL_INTERP_RUN * 8;
}

static void step(const rl_insn *insn, const rl_interp_span *span, const rl_number *scalars, const void *const *values,
                 void *result) {
    const void *a = values[insn->a], *b = values[insn->b], *c = values[insn->c];
    int64_t count = span->count;
    switch (insn->code) {
    case RL_INSN_SCALAR:
        fill(insn, count, scalars[insn->imm], result);
        break;
    case RL_INSN_INDEX:
        count_up(insn, span, result);
        break;
    case RL_INSN_PHILOX:
    case RL_INSN_UNIFORM:
    case RL_INSN_NORMAL:
        random_values(insn, span, scalars, result);
        break;
    case RL_INSN_CAST:
        cast(insn, count, a, result);
        break;
    case RL_INSN_BITCAST:
        memcpy(result, a, (size_t)count * register_bytes((rl_reg)insn->type));
        break;
    default:
        switch (insn->type) {
        case RL_REG_F32:
            run_f32(insn->code, count, a, b, c, result);
            break;
        case RL_REG_F64:
            run_f64(insn->code, count, a, b, c, result);
            break;
        case RL_REG_I32:
            run_i32(insn->code, count, a, b, c, result);
            break;
        default:
            run_i64(insn->code, count, a, b, c, result);
            break;
        }
    }
}

/* An input that lies packed and in its register's own type needs no copy. It is copied all the same where it is itself
 * one of several outputs: storing the others first could overwrite it. */
static int readable_in_place(const rl_program *program, int value, const rl_interp_span *span) {
    unsigned input = program->insns[value].imm, dtype = program->input_dtype[input];
    if (span->stride[input] != 1 || dtype == RL_BOOL || rl_interp_dtype_bytes(dtype) < 4)
        return 0;
    for (int k = 0; k < program->n_outputs && program->n_outputs > 1; k++)
        if (program->output_value[k] == value)
            return 0;
    return 1;
}

void rl_interp_run(const rl_program *program, const rl_number *scalars, const rl_interp_span *span, void *memory,
                   const void **out_values, rl_reg *out_types) {
    const void *values[RL_MAX_INSNS + 1];
    values[0] = memory; /* unused operands are 0 and must be an address for the first instruction too */
    for (int v = 0; v < program->n_insns; v++) {
        const rl_insn *insn = &program->insns[v];
        void *result = (char *)memory + (size_t)v * RL_INTERP_RUN * 8;
        if (insn->code != RL_INSN_INPUT) {
            step(insn, span, scalars, values, result);
        } else if (readable_in_place(program, v, span)) {
            values[v] = span->input[insn->imm];
            continue;
        } else {
            rl_interp_load(program->input_dtype[insn->imm], span->input[insn->imm], span->stride[insn->imm],
                           span->count, result);
        }
        values[v] = result;
    }
    for (int k = 0; k < program->n_outputs; k++) {
        out_values[k] = values[program->output_value[k]];
        out_types[k] = rl_interp_result(&program->insns[program->output_value[k]]);
    }
}
