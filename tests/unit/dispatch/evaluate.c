/* SPDX-License-Identifier: Apache-2.0 */
#include "evaluate.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "dispatch/program.h"

static bool is_float(rl_reg reg) {
    return reg == RL_REG_F32 || reg == RL_REG_F64;
}

/* To so many bits of significand, ties to even. */
static double round_to(double x, int bits, int least_exponent, double most) {
    int exponent;
    if (x == 0 || !isfinite(x))
        return x;
    frexp(x, &exponent);
    double step = ldexp(1, (exponent < least_exponent ? least_exponent : exponent) - bits);
    x = rint(x / step) * step;
    return fabs(x) > most ? copysign(INFINITY, x) : x;
}

static int64_t truncate(double x) {
    return x >= 0x1p63 ? INT64_MAX : x >= -0x1p63 ? (int64_t)x : INT64_MIN;
}

rl_number evaluate_cast(rl_number x, rl_reg from, rl_dtype to) {
    if (to == RL_BOOL)
        return (rl_number){.i = is_float(from) ? x.f != 0 : x.i != 0};
    if (is_float(rl_dtype_reg(to))) {
        if (to == RL_F32)
            return (rl_number){.f = is_float(from) ? (float)x.f : (float)x.i};
        double wide = is_float(from) ? x.f : (double)x.i;
        return (rl_number){.f = to == RL_F16    ? round_to(wide, 11, -13, 65504)
                                : to == RL_BF16 ? round_to(wide, 8, -125, 0x1.fep127)
                                                : wide};
    }
    int64_t i = is_float(from) ? truncate(x.f) : x.i;
    switch (to) {
    case RL_I8:
        return (rl_number){.i = (int8_t)i};
    case RL_U8:
        return (rl_number){.i = (uint8_t)i};
    case RL_I16:
        return (rl_number){.i = (int16_t)i};
    case RL_I32:
        return (rl_number){.i = (int32_t)i};
    default:
        return (rl_number){.i = i};
    }
}

/* Memory ---------------------------------------------------------------------------------------------------------- */

#define PLAIN_DTYPES(X)                                                                                                \
    X(F32, float, f)                                                                                                   \
    X(F64, double, f)                                                                                                  \
    X(I8, int8_t, i) X(U8, uint8_t, i) X(I16, int16_t, i) X(I32, int32_t, i) X(I64, int64_t, i) X(BOOL, uint8_t, i)

rl_number evaluate_load(const void *address, rl_dtype dtype) {
    rl_number out = {.i = 0};
    switch (dtype) {
#define LOAD(NAME, type, field)                                                                                        \
    case RL_##NAME: {                                                                                                  \
        type x;                                                                                                        \
        memcpy(&x, address, sizeof x);                                                                                 \
        out.field = x;                                                                                                 \
        break;                                                                                                         \
    }
        PLAIN_DTYPES(LOAD)
    default:
        abort();
    }
    return out;
}

void evaluate_store(void *address, rl_dtype dtype, rl_number number) {
    switch (dtype) {
#define STORE(NAME, type, field)                                                                                       \
    case RL_##NAME: {                                                                                                  \
        type x = (type)number.field;                                                                                   \
        memcpy(address, &x, sizeof x);                                                                                 \
        break;                                                                                                         \
    }
        PLAIN_DTYPES(STORE)
    default:
        abort();
    }
}

/* Instructions ---------------------------------------------------------------------------------------------------- */

static double unary(rl_insn_code code, double x) {
    switch (code) {
    case RL_INSN_NEG:
        return -x;
    case RL_INSN_ABS:
        return fabs(x);
    case RL_INSN_SQRT:
        return sqrt(x);
    case RL_INSN_FLOOR:
        return floor(x);
    case RL_INSN_CEIL:
        return ceil(x);
    case RL_INSN_TRUNC:
        return trunc(x);
    case RL_INSN_ROUND:
        return rint(x);
    case RL_INSN_EXP:
        return exp(x);
    case RL_INSN_LOG:
        return log(x);
    case RL_INSN_SIN:
        return sin(x);
    case RL_INSN_COS:
        return cos(x);
    case RL_INSN_TANH:
        return tanh(x);
    case RL_INSN_ERF:
        return erf(x);
    case RL_INSN_ATAN:
        return atan(x);
    case RL_INSN_EXPM1:
        return expm1(x);
    case RL_INSN_LOG1P:
        return log1p(x);
    default:
        abort(); /* only base instructions */
    }
}

static double smaller(double a, double b) {
    return isnan(a) || isnan(b) ? NAN : a < b ? a : b;
}

static double binary(rl_insn_code code, double a, double b) {
    switch (code) {
    case RL_INSN_ADD:
        return a + b;
    case RL_INSN_SUB:
        return a - b;
    case RL_INSN_MUL:
        return a * b;
    case RL_INSN_DIV:
        return a / b;
    case RL_INSN_MIN:
        return smaller(a, b);
    case RL_INSN_MAX:
        return -smaller(-a, -b);
    case RL_INSN_POW:
        return pow(a, b);
    case RL_INSN_FMOD:
        return fmod(a, b);
    default:
        abort();
    }
}

static int64_t compare(rl_insn_code code, double a, double b) {
    switch (code) {
    case RL_INSN_EQ:
        return a == b;
    case RL_INSN_NE:
        return a != b;
    case RL_INSN_LT:
        return a < b;
    case RL_INSN_LE:
        return a <= b;
    case RL_INSN_GT:
        return a > b;
    default:
        return a >= b;
    }
}

static int64_t integer(rl_insn_code code, int64_t a, int64_t b, int width) {
    uint64_t x = (uint64_t)a, y = (uint64_t)b;
    bool outside = b < 0 || b >= width;
    switch (code) {
    case RL_INSN_NEG:
        return (int64_t)(0 - x);
    case RL_INSN_ABS:
        return a < 0 ? (int64_t)(0 - x) : a;
    case RL_INSN_NOT:
        return ~a;
    case RL_INSN_ADD:
        return (int64_t)(x + y);
    case RL_INSN_SUB:
        return (int64_t)(x - y);
    case RL_INSN_MUL:
        return (int64_t)(x * y);
    case RL_INSN_MIN:
        return a < b ? a : b;
    case RL_INSN_MAX:
        return a > b ? a : b;
    case RL_INSN_EQ:
        return a == b;
    case RL_INSN_NE:
        return a != b;
    case RL_INSN_LT:
        return a < b;
    case RL_INSN_LE:
        return a <= b;
    case RL_INSN_GT:
        return a > b;
    case RL_INSN_GE:
        return a >= b;
    case RL_INSN_AND:
        return a & b;
    case RL_INSN_OR:
        return a | b;
    case RL_INSN_XOR:
        return a ^ b;
    case RL_INSN_SHL:
        return outside ? 0 : (int64_t)(x << y);
    case RL_INSN_SHR:
        return a >> (outside ? width - 1 : b);
    default:
        abort();
    }
}

static rl_number bitcast(rl_number x, rl_reg to) {
    rl_number out = x; /* f64 with i64 */
    float f;
    int32_t i;
    if (to == RL_REG_F32) {
        i = (int32_t)x.i;
        memcpy(&f, &i, sizeof f);
        out.f = f;
    } else if (to == RL_REG_I32) {
        f = (float)x.f;
        memcpy(&i, &f, sizeof i);
        out.i = i;
    }
    return out;
}

static rl_number random_number(const rl_insn *insn, const rl_number *scalars, int64_t element) {
    uint64_t h = (uint64_t)scalars[insn->imm].i * 31 + (uint64_t)scalars[insn->imm + 1].i * 17 + (uint64_t)element;
    h = (h ^ h >> 29) * UINT64_C(0x9e3779b97f4a7c15);
    if (insn->code == RL_INSN_PHILOX)
        return (rl_number){.i = (int32_t)(h >> 32)};
    return (rl_number){.f = (double)(h >> 40) * 0x1p-24 - (insn->code == RL_INSN_NORMAL ? 0.5 : 0)};
}

static rl_number step(const rl_insn *insn, const rl_number *v) {
    rl_reg reg = (rl_reg)insn->type;
    rl_insn_code code = (rl_insn_code)insn->code;
    rl_number a = v[insn->a], b = v[insn->b], out = {.i = 0};
    if (code == RL_INSN_BITCAST)
        return bitcast(a, reg);
    if (code == RL_INSN_SELECT)
        return a.i ? b : v[insn->c];
    if (code == RL_INSN_FMA)
        out.f = reg == RL_REG_F32 ? fmaf((float)a.f, (float)b.f, (float)v[insn->c].f) : fma(a.f, b.f, v[insn->c].f);
    else if (!is_float(reg))
        out.i = integer(code, a.i, b.i, reg == RL_REG_I32 ? 32 : 64);
    else if (code >= RL_INSN_EQ && code <= RL_INSN_GE)
        return (rl_number){.i = compare(code, a.f, b.f)};
    else
        out.f = rl_insn_describe(code)->operands == 2 ? binary(code, a.f, b.f) : unary(code, a.f);
    if (reg == RL_REG_F32)
        out.f = (float)out.f;
    if (reg == RL_REG_I32)
        out.i = (int32_t)out.i;
    return out;
}

void evaluate(const rl_program *program, const rl_number *inputs, const rl_number *scalars, int64_t element,
              const int64_t *index, rl_number *outputs) {
    rl_number v[RL_MAX_INSNS];
    rl_reg reg[RL_MAX_INSNS];
    for (int i = 0; i < program->n_insns; i++) {
        const rl_insn *insn = &program->insns[i];
        reg[i] = (rl_reg)insn->type;
        switch (insn->code) {
        case RL_INSN_INPUT:
            v[i] = inputs[insn->imm];
            break;
        case RL_INSN_SCALAR:
            v[i] = scalars[insn->imm];
            if (insn->type == RL_REG_F32)
                v[i].f = (float)v[i].f;
            break;
        case RL_INSN_INDEX:
            v[i].i = index[insn->imm];
            break;
        case RL_INSN_PHILOX:
        case RL_INSN_UNIFORM:
        case RL_INSN_NORMAL:
            v[i] = random_number(insn, scalars, element);
            break;
        case RL_INSN_CAST:
            v[i] = evaluate_cast(v[insn->a], reg[insn->a], (rl_dtype)insn->dtype);
            reg[i] = rl_dtype_reg((rl_dtype)insn->dtype);
            break;
        default:
            v[i] = step(insn, v);
            if (insn->code >= RL_INSN_EQ && insn->code <= RL_INSN_GE)
                reg[i] = RL_REG_I32;
        }
    }
    for (int k = 0; k < program->n_outputs; k++) {
        uint8_t value = program->output_value[k];
        outputs[k] = evaluate_cast(v[value], reg[value], (rl_dtype)program->output_dtype[k]);
    }
}
