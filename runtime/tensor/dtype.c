/* SPDX-License-Identifier: Apache-2.0 */
/* Data types, and PyTorch's promotion of them. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "tensor/tensor.h"

static const struct {
    const char *name;
    uint8_t bytes, reg;
} table[RL_DTYPE_COUNT] = {[RL_DTYPE_NONE] = {"none", 0, RL_REG_I32},
#define ROW(NAME, code, size, reg, text) [RL_##NAME] = {text, size, RL_REG_##reg},
                           RL_DTYPE_LIST(ROW)
#undef ROW
};

static bool known(rl_dtype dtype) {
    return (unsigned)dtype < RL_DTYPE_COUNT;
}

size_t rl_dtype_size(rl_dtype dtype) {
    return known(dtype) ? table[dtype].bytes : 0;
}

const char *rl_dtype_name(rl_dtype dtype) {
    return known(dtype) ? table[dtype].name : "none";
}

rl_reg rl_dtype_reg(rl_dtype dtype) {
    return known(dtype) ? (rl_reg)table[dtype].reg : RL_REG_I32;
}

rl_dtype rl_dtype_parse(const char *name) {
    static const struct {
        const char *name;
        uint8_t dtype;
    } other_names[] = {
        {"f32", RL_F32},   {"float", RL_F32}, {"f64", RL_F64}, {"double", RL_F64}, {"f16", RL_F16},  {"half", RL_F16},
        {"bf16", RL_BF16}, {"i8", RL_I8},     {"char", RL_I8}, {"u8", RL_U8},      {"byte", RL_U8},  {"i16", RL_I16},
        {"short", RL_I16}, {"i32", RL_I32},   {"int", RL_I32}, {"i64", RL_I64},    {"long", RL_I64},
    };
    if (!name)
        return RL_DTYPE_NONE;
    for (int dtype = RL_DTYPE_NONE + 1; dtype < RL_DTYPE_COUNT; dtype++) {
        if (strcmp(name, table[dtype].name) == 0)
            return (rl_dtype)dtype;
    }
    for (size_t i = 0; i < sizeof other_names / sizeof *other_names; i++) {
        if (strcmp(name, other_names[i].name) == 0)
            return (rl_dtype)other_names[i].dtype;
    }
    return RL_DTYPE_NONE;
}

void rl_dtype_range(rl_dtype dtype, int64_t *low, int64_t *high) {
    int bits = 8 * (int)rl_dtype_size(dtype);
    bool is_signed = dtype != RL_U8 && dtype != RL_BOOL;
    assert(bits > 0);
    *high = dtype == RL_BOOL ? 1 : (int64_t)(UINT64_MAX >> (64 - bits + is_signed));
    *low = is_signed ? -*high - 1 : 0;
}

bool rl_dtype_is_float(rl_dtype dtype) {
    return dtype == RL_F32 || dtype == RL_F64 || dtype == RL_F16 || dtype == RL_BF16;
}

bool rl_dtype_is_integer(rl_dtype dtype) {
    return dtype >= RL_I8 && dtype <= RL_I64;
}

rl_dtype rl_promote_dtypes(rl_dtype a, rl_dtype b) {
    if (a == b || b == RL_DTYPE_NONE || b == RL_BOOL)
        return a == RL_DTYPE_NONE ? b : a;
    if (a == RL_DTYPE_NONE || a == RL_BOOL)
        return b;
    bool a_float = rl_dtype_is_float(a), b_float = rl_dtype_is_float(b);
    if (a_float != b_float)
        return a_float ? a : b;
    if (a_float) /* f16 and bf16 hold each other only in f32 */
        return a == RL_F64 || b == RL_F64 ? RL_F64 : RL_F32;
    if ((a == RL_U8 && b == RL_I8) || (a == RL_I8 && b == RL_U8))
        return RL_I16;
    return a > b ? a : b; /* the codes of the integers grow with their width */
}

/* Operands of a higher rank (with dimensions, without, numbers) decide, unless the others' category is higher. */
static rl_dtype combine(rl_dtype higher, rl_dtype lower) {
    if (rl_dtype_is_float(higher))
        return higher;
    if (higher == RL_DTYPE_NONE || higher == RL_BOOL || rl_dtype_is_float(lower))
        return rl_promote_dtypes(higher, lower);
    return higher;
}

typedef struct ranks {
    rl_dtype with_dims, without_dims, number;
} ranks;

static void rank_tensor(ranks *r, const rl_tensor *tensor) {
    if (!tensor)
        return;
    rl_dtype *rank = tensor->ndim > 0 ? &r->with_dims : &r->without_dims;
    *rank = rl_promote_dtypes(*rank, (rl_dtype)tensor->dtype);
}

rl_dtype rl_result_dtype(const rl_value *operands, int64_t count) {
    ranks r = {RL_DTYPE_NONE, RL_DTYPE_NONE, RL_DTYPE_NONE};
    for (int64_t i = 0; i < count; i++) {
        const rl_value *v = &operands[i];
        switch (v->kind) {
        case RL_VALUE_TENSOR:
            rank_tensor(&r, v->as.tensor);
            break;
        case RL_VALUE_TENSORS:
            for (int64_t k = 0; k < v->as.tensors.count; k++)
                rank_tensor(&r, v->as.tensors.data[k]);
            break;
        case RL_VALUE_INT:
            r.number = rl_promote_dtypes(r.number, RL_I64);
            break;
        case RL_VALUE_FLOAT:
            r.number = rl_promote_dtypes(r.number, RL_F32);
            break;
        case RL_VALUE_BOOL:
            r.number = rl_promote_dtypes(r.number, RL_BOOL);
            break;
        default:
            break;
        }
    }
    return combine(r.with_dims, combine(r.without_dims, r.number));
}

bool rl_can_cast(rl_dtype from, rl_dtype to) {
    if (rl_dtype_is_float(from))
        return rl_dtype_is_float(to);
    return to != RL_BOOL || from == RL_BOOL;
}

double rl_half_to_double(rl_dtype dtype, uint16_t bits) {
    int fraction_bits = dtype == RL_BF16 ? 7 : 10, bias = dtype == RL_BF16 ? 127 : 15;
    int exponent_mask = dtype == RL_BF16 ? 0xff : 0x1f;
    int exponent = bits >> fraction_bits & exponent_mask, fraction = bits & ((1 << fraction_bits) - 1);
    double magnitude;
    if (exponent == exponent_mask)
        magnitude = fraction ? (double)NAN : (double)INFINITY;
    else if (exponent == 0) /* subnormal */
        magnitude = ldexp(fraction, 1 - bias - fraction_bits);
    else
        magnitude = ldexp(fraction + (1 << fraction_bits), exponent - bias - fraction_bits);
    return bits & 0x8000 ? -magnitude : magnitude;
}

int64_t rl_float_to_int(double value) {
    if (isnan(value))
        return 0;
    return value >= 0x1p63 ? INT64_MAX : value <= -0x1p63 ? INT64_MIN : (int64_t)value;
}
