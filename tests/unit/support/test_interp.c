/* SPDX-License-Identifier: Apache-2.0 */
/* Each instruction against libm in double, or against what backend.h says in words. */
#include "cmocka_support.h"

#include <math.h>
#include <stdalign.h>
#include <string.h>

#include "rl_convert.h"
#include "rl_interp.h"
#include "rl_philox.h"

static alignas(64) char memory[RL_MAX_INSNS * RL_INTERP_RUN * 8];

/* Runs one instruction over the inputs, given packed in its register; returns the packed result. */
static const void *run1(rl_insn insn, const rl_reg *operands, int count, const void *const *inputs, int64_t n) {
    static const uint8_t dtypes[] = {RL_F32, RL_F64, RL_I32, RL_I64};
    rl_insn insns[4] = {{0}};
    rl_program program = {.size = sizeof program, .n_inputs = (uint16_t)count, .n_outputs = 1, .insns = insns};
    rl_interp_span span = {.count = n, .inner = -1};
    const void *values[RL_MAX_OUTPUTS];
    rl_reg types[RL_MAX_OUTPUTS];
    for (int k = 0; k < count; k++) {
        insns[k] = (rl_insn){.code = RL_INSN_INPUT, .type = (uint8_t)operands[k], .imm = (uint16_t)k};
        program.input_dtype[k] = dtypes[operands[k]];
        span.input[k] = inputs[k];
        span.stride[k] = 1;
    }
    insn.a = 0, insn.b = 1, insn.c = 2;
    insns[count] = insn;
    program.n_insns = (uint16_t)(count + 1);
    program.output_value[0] = (uint8_t)count;
    rl_interp_run(&program, NULL, &span, memory, values, types);
    assert_int_equal(types[0], rl_interp_result(&insn));
    return values[0];
}

/* Float instructions ------------------------------------------------------------------------------------------- */

static double expected(int code, double a, double b, double c) {
    switch (code) {
#define IS(CODE, value)                                                                                                \
    case RL_INSN_##CODE:                                                                                               \
        return value
        IS(ADD, a + b);
        IS(SUB, a - b);
        IS(MUL, a * b);
        IS(DIV, a / b);
        IS(FMA, fma(a, b, c));
        IS(NEG, -a);
        IS(ABS, fabs(a));
        IS(MIN, isnan(a) || isnan(b) ? NAN : fmin(a, b));
        IS(MAX, isnan(a) || isnan(b) ? NAN : fmax(a, b));
        IS(EQ, a == b);
        IS(NE, a != b);
        IS(LT, a < b);
        IS(LE, a <= b);
        IS(GT, a > b);
        IS(GE, a >= b);
        IS(SQRT, sqrt(a));
        IS(FLOOR, floor(a));
        IS(CEIL, ceil(a));
        IS(TRUNC, trunc(a));
        IS(ROUND, nearbyint(a));
        IS(EXP, exp(a));
        IS(LOG, log(a));
        IS(SIN, sin(a));
        IS(COS, cos(a));
        IS(TANH, tanh(a));
        IS(ERF, erf(a));
        IS(ATAN, atan(a));
        IS(POW, pow(a, b));
        IS(FMOD, fmod(a, b));
        IS(EXPM1, expm1(a));
        IS(LOG1P, log1p(a));
        IS(RECIP, 1 / a);
        IS(RSQRT, 1 / sqrt(a));
        IS(SIGMOID, 1 / (1 + exp(-a)));
        IS(EXP2, exp2(a));
        IS(LOG2, log2(a));
        IS(LOG10, log10(a));
        IS(TAN, tan(a));
        IS(ASIN, asin(a));
        IS(ACOS, acos(a));
        IS(ATAN2, atan2(a, b));
        IS(SINH, sinh(a));
        IS(COSH, cosh(a));
        IS(ASINH, asinh(a));
        IS(ACOSH, acosh(a));
        IS(ATANH, atanh(a));
        IS(ERFC, erfc(a));
#undef IS
    default:
        fail_msg("instruction %d has no expectation", code);
        return 0;
    }
}

static const float numbers[] = {0.0f,  -0.0f, 1.0f,     -1.0f,     0.5f, -2.5f,  3.5f,  1e-3f,  -7.25f,
                                42.0f, 0.1f,  INFINITY, -INFINITY, NAN,  1e-40f, 3e38f, -0.75f, 2.5f};

/* Every pair of the numbers, and a third beside them. */
static int make_operands(double *a, double *b, double *c) {
    int n = 0;
    for (int i = 0; i < COUNT(numbers); i++)
        for (int j = 0; j < COUNT(numbers) && n < RL_INTERP_RUN; j++, n++)
            a[n] = (double)numbers[(i * 7 + j) % COUNT(numbers)], b[n] = (double)numbers[j],
            c[n] = (double)numbers[(i + 2 * j) % COUNT(numbers)];
    return n;
}

static int agree(double found, double wanted, double ulp) {
    if (isnan(wanted) || isnan(found))
        return isnan(wanted) && isnan(found);
    return found == wanted || fabs(found - wanted) <= ulp * fmax(fabs(wanted), 1e-37);
}

static int is_comparison(int code) {
    return code >= RL_INSN_EQ && code <= RL_INSN_GE;
}

static void float_instructions(void **state) {
    (void)state;
    static const struct {
        uint8_t code, operands;
        char types;
    } table[] = {
#define ROW(NAME, number, operands, types, text) {number, operands, #types[0]},
        RL_INSN_LIST(ROW)
#undef ROW
    };
    double wide[3][RL_INTERP_RUN];
    float narrow[3][RL_INTERP_RUN];
    int n = make_operands(wide[0], wide[1], wide[2]), tried = 0;
    for (int k = 0; k < 3; k++)
        for (int i = 0; i < n; i++)
            narrow[k][i] = (float)wide[k][i];
    for (int t = 0; t < COUNT(table); t++) {
        int code = table[t].code;
        if (table[t].operands == 0 || table[t].types == 'I' || code == RL_INSN_CAST || code == RL_INSN_BITCAST ||
            code == RL_INSN_SELECT)
            continue;
        tried++;
        for (int reg = RL_REG_F32; reg <= RL_REG_F64; reg++) {
            const rl_reg regs[] = {(rl_reg)reg, (rl_reg)reg, (rl_reg)reg};
            const void *in32[] = {narrow[0], narrow[1], narrow[2]}, *in64[] = {wide[0], wide[1], wide[2]};
            const void *got = run1((rl_insn){.code = (uint8_t)code, .type = (uint8_t)reg}, regs, table[t].operands,
                                   reg == RL_REG_F32 ? in32 : in64, n);
            for (int i = 0; i < n; i++) {
                double want = expected(code, wide[0][i], wide[1][i], wide[2][i]);
                double found = is_comparison(code) ? ((const int32_t *)got)[i]
                               : reg == RL_REG_F32 ? (double)((const float *)got)[i]
                                                   : ((const double *)got)[i];
                want = reg == RL_REG_F32 ? (double)(float)want : want;
                double ulp = code < RL_INSN_EXP ? 0 : reg == RL_REG_F32 ? 6e-7 : 1e-15;
                if (!agree(found, want, ulp))
                    fail_msg("instruction %d, register %d, of %g %g %g: %.17g, expected %.17g", code, reg, wide[0][i],
                             wide[1][i], wide[2][i], found, want);
            }
        }
    }
    assert_int_equal(tried, 47); /* all that there are: a new one must get its expectation here */
}

/* Integer instructions ----------------------------------------------------------------------------------------- */

static void integer_instructions(void **state) {
    (void)state;
    static const struct {
        uint8_t code;
        int64_t a, b, want32, want64;
    } rows[] = {
        {RL_INSN_ADD, INT32_MAX, 1, INT32_MIN, (int64_t)INT32_MAX + 1},
        {RL_INSN_SUB, INT32_MIN, 1, INT32_MAX, (int64_t)INT32_MIN - 1},
        {RL_INSN_MUL, 1 << 20, 1 << 20, 0, (int64_t)1 << 40},
        {RL_INSN_NEG, INT32_MIN, 0, INT32_MIN, -(int64_t)INT32_MIN},
        {RL_INSN_ABS, -5, 0, 5, 5},
        {RL_INSN_ABS, INT32_MIN, 0, INT32_MIN, -(int64_t)INT32_MIN},
        {RL_INSN_MIN, -3, 4, -3, -3},
        {RL_INSN_MAX, -3, 4, 4, 4},
        {RL_INSN_IDIV, -7, 2, -3, -3},
        {RL_INSN_IDIV, 9, 0, 0, 0},
        {RL_INSN_IDIV, INT32_MIN, -1, INT32_MIN, -(int64_t)INT32_MIN},
        {RL_INSN_IREM, -7, 2, -1, -1},
        {RL_INSN_IREM, 9, 0, 0, 0},
        {RL_INSN_IREM, INT32_MIN, -1, 0, 0},
        {RL_INSN_EQ, 4, 4, 1, 1},
        {RL_INSN_NE, 4, 4, 0, 0},
        {RL_INSN_LT, -1, 0, 1, 1},
        {RL_INSN_LE, 1, 0, 0, 0},
        {RL_INSN_GT, -1, 0, 0, 0},
        {RL_INSN_GE, 0, 0, 1, 1},
        {RL_INSN_AND, 12, 10, 8, 8},
        {RL_INSN_OR, 12, 10, 14, 14},
        {RL_INSN_XOR, 12, 10, 6, 6},
        {RL_INSN_NOT, 0, 0, -1, -1},
        {RL_INSN_SHL, 3, 4, 48, 48},
        {RL_INSN_SHL, 1, 32, 0, (int64_t)1 << 32},
        {RL_INSN_SHL, 1, -1, 0, 0},
        {RL_INSN_SHL, 1, 64, 0, 0},
        {RL_INSN_SHR, -16, 2, -4, -4},
        {RL_INSN_SHR, -16, 77, -1, -1},
        {RL_INSN_SHR, 16, -1, 0, 0},
    };
    for (int t = 0; t < COUNT(rows); t++) {
        int32_t a = (int32_t)rows[t].a, b = (int32_t)rows[t].b;
        const rl_reg r32[] = {RL_REG_I32, RL_REG_I32}, r64[] = {RL_REG_I64, RL_REG_I64};
        const void *in32[] = {&a, &b}, *in64[] = {&rows[t].a, &rows[t].b};
        const int32_t *got = run1((rl_insn){.code = rows[t].code, .type = RL_REG_I32}, r32, 2, in32, 1);
        assert_int_equal(*got, rows[t].want32);
        got = run1((rl_insn){.code = rows[t].code, .type = RL_REG_I64}, r64, 2, in64, 1);
        int64_t wide = *got;
        if (!is_comparison(rows[t].code))
            memcpy(&wide, got, sizeof wide);
        assert_int_equal(wide, rows[t].want64);
    }
}

static void select_takes_a_mask(void **state) {
    (void)state;
    const int32_t mask[] = {1, 0, -7};
    const double b[] = {1, 2, 3}, c[] = {4, 5, 6};
    const rl_reg regs[] = {RL_REG_I32, RL_REG_F64, RL_REG_F64};
    const void *inputs[] = {mask, b, c};
    const double *got = run1((rl_insn){.code = RL_INSN_SELECT, .type = RL_REG_F64}, regs, 3, inputs, 3);
    assert_true(got[0] == 1 && got[1] == 5 && got[2] == 3);
}

/* Casts -------------------------------------------------------------------------------------------------------- */

/* A number in a register, cast to a dtype and read as a number again. */
static double cast(rl_reg from, double f, int64_t i, rl_dtype to) {
    const float narrow = (float)f;
    const int32_t small = (int32_t)i;
    const void *at[] = {&narrow, &f, &small, &i};
    const rl_reg regs[] = {from};
    const void *inputs[] = {at[from]};
    double result;
    const void *got =
        run1((rl_insn){.code = RL_INSN_CAST, .type = (uint8_t)from, .dtype = (uint8_t)to}, regs, 1, inputs, 1);
    rl_interp_store(RL_F64, &result, 1, 1, rl_interp_dtype_reg(to), got);
    return result;
}

static void casts(void **state) {
    (void)state;
    for (int r = RL_REG_F32; r <= RL_REG_F64; r++) {
        rl_reg reg = (rl_reg)r;
        assert_true(cast(reg, -2.75, 0, RL_I32) == -2 && cast(reg, 2.75, 0, RL_I64) == 2);
        assert_true(cast(reg, 300, 0, RL_U8) == 44 && cast(reg, -1, 0, RL_U8) == 255);
        assert_true(cast(reg, 200, 0, RL_I8) == -56 && cast(reg, 40000, 0, RL_I16) == -25536);
        assert_true(cast(reg, 0.25, 0, RL_BOOL) == 1 && cast(reg, -0.0, 0, RL_BOOL) == 0);
        assert_true(cast(reg, (double)NAN, 0, RL_BOOL) == 1);
        assert_true(cast(reg, 1 + 0x1p-11, 0, RL_F16) == 1 && cast(reg, 1 + 3 * 0x1p-11, 0, RL_F16) == 1 + 0x1p-9);
        assert_true(cast(reg, 1 + 0x1p-8, 0, RL_BF16) == 1 && cast(reg, 70000, 0, RL_F16) == (double)INFINITY);
        cast(reg, 1e30, 0, RL_I64), cast(reg, (double)NAN, 0, RL_I32), cast(reg, -1e30, 0, RL_U8); /* no trap */
    }
    assert_true(cast(RL_REG_F64, 0.1, 0, RL_F32) == (double)0.1f);
    assert_true(cast(RL_REG_I64, 0, (int64_t)1 << 32, RL_I32) == 0);
    assert_true(cast(RL_REG_I64, 0, (int64_t)1 << 32, RL_BOOL) == 1);
    assert_true(cast(RL_REG_I32, 0, -129, RL_I8) == 127 && cast(RL_REG_I32, 0, -1, RL_I64) == -1);
    assert_true(cast(RL_REG_I32, 0, 16777217, RL_F32) == 16777216 && cast(RL_REG_I32, 0, 257, RL_BF16) == 256);
}

static void bitcast(void **state) {
    (void)state;
    const float one = 1;
    const double two = 2;
    const rl_reg f32[] = {RL_REG_F32}, f64[] = {RL_REG_F64};
    const void *in32[] = {&one}, *in64[] = {&two};
    assert_int_equal(*(const int32_t *)run1((rl_insn){.code = RL_INSN_BITCAST, .type = RL_REG_I32}, f32, 1, in32, 1),
                     0x3f800000);
    assert_int_equal(*(const int64_t *)run1((rl_insn){.code = RL_INSN_BITCAST, .type = RL_REG_I64}, f64, 1, in64, 1),
                     0x4000000000000000);
}

/* What depends on the span ------------------------------------------------------------------------------------- */

static void leaves(void **state) {
    (void)state;
    const rl_insn insns[] = {
        {.code = RL_INSN_INDEX, .type = RL_REG_I64, .imm = 0},  {.code = RL_INSN_INDEX, .type = RL_REG_I64, .imm = 1},
        {.code = RL_INSN_PHILOX, .type = RL_REG_I32, .imm = 1}, {.code = RL_INSN_UNIFORM, .type = RL_REG_F64, .imm = 1},
        {.code = RL_INSN_NORMAL, .type = RL_REG_F32, .imm = 1}, {.code = RL_INSN_SCALAR, .type = RL_REG_F32, .imm = 0},
    };
    rl_program program = {
        .n_outputs = 6, .n_scalars = 3, .n_insns = 6, .insns = insns, .output_value = {0, 1, 2, 3, 4, 5}};
    const rl_number scalars[] = {{.f = 0.1}, {.i = 77}, {.i = 1000}};
    for (int step = 1; step <= 5; step += 4) {
        rl_interp_span span = {
            .count = 100, .index = {3, 10}, .inner = 1, .element = 13, .element_step = (uint64_t)step};
        const void *values[RL_MAX_OUTPUTS];
        rl_reg types[RL_MAX_OUTPUTS];
        rl_interp_run(&program, scalars, &span, memory, values, types);
        for (uint64_t i = 0; i < 100; i++) {
            uint64_t element = 13 + i * (uint64_t)step;
            uint32_t high = rl_philox_word(77, 1000, element, 0), low = rl_philox_word(77, 1000, element, 1);
            assert_int_equal(((const int64_t *)values[0])[i], 3);
            assert_int_equal(((const int64_t *)values[1])[i], 10 + i);
            assert_int_equal(((const uint32_t *)values[2])[i], high);
            assert_true(((const double *)values[3])[i] == rl_uniform_f64(high, low));
            assert_true(((const float *)values[4])[i] == rl_normal_f32(high));
            assert_true(((const float *)values[5])[i] == 0.1f);
        }
    }
}

static void loads_and_stores_of_every_dtype(void **state) {
    (void)state;
    for (uint32_t dtype = RL_F32; dtype < RL_DTYPE_COUNT; dtype++) {
        rl_reg reg = rl_interp_dtype_reg(dtype);
        for (int64_t stride = -3; stride <= 3; stride++) {
            double numbers_in[5] = {0, 1, 2, 3, 100}, values[5], again[5], numbers_out[5];
            alignas(8) unsigned char stored[16 * 8];
            memset(stored, 0xa5, sizeof stored);
            unsigned char *at = stored + (stride < 0 ? -4 * stride : 0) * (int64_t)rl_interp_dtype_bytes(dtype);
            rl_interp_store(dtype == RL_BOOL ? RL_I32 : dtype, values, 1, 5, RL_REG_F64, numbers_in);
            if (dtype == RL_F16 || dtype == RL_BF16 || rl_interp_dtype_bytes(dtype) < 4)
                rl_interp_store(reg == RL_REG_F32 ? RL_F32 : RL_I32, values, 1, 5, RL_REG_F64, numbers_in);
            rl_interp_store(dtype, at, stride, 5, reg, values);
            rl_interp_load(dtype, at, stride, 5, again);
            rl_interp_store(RL_F64, numbers_out, 1, 5, reg, again);
            for (int i = 0; i < 5; i++)
                assert_true(numbers_out[i] == (stride == 0        ? numbers_in[4] != 0 && dtype == RL_BOOL ? 1 : 100
                                               : dtype == RL_BOOL ? numbers_in[i] != 0
                                                                  : numbers_in[i]));
            assert_int_equal(stored[sizeof stored - 1], 0xa5);
        }
    }
    assert_int_equal(rl_interp_dtype_bytes(RL_DTYPE_NONE), 0);
    assert_int_equal(rl_interp_dtype_bytes(1000), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(float_instructions),
        cmocka_unit_test(integer_instructions),
        cmocka_unit_test(select_takes_a_mask),
        cmocka_unit_test(casts),
        cmocka_unit_test(bitcast),
        cmocka_unit_test(leaves),
        cmocka_unit_test(loads_and_stores_of_every_dtype),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
