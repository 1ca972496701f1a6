/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every inexact instruction against libm in the next wider type: all over its domain, at its edges, in each clone. The
 * bounds are what was measured, rounded up: a worse polynomial is seen.
 */
#include "harness.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef long double (*exact_fn)(long double, long double);
#define EXACT1(name, expression)                                                                                       \
    static long double name(long double x, long double y) {                                                            \
        (void)y;                                                                                                       \
        return expression;                                                                                             \
    }
EXACT1(exact_exp, expl(x))
EXACT1(exact_log, logl(x))
EXACT1(exact_sin, sinl(x))
EXACT1(exact_cos, cosl(x))
EXACT1(exact_tanh, tanhl(x))
EXACT1(exact_erf, erfl(x))
EXACT1(exact_atan, atanl(x))
EXACT1(exact_expm1, expm1l(x))
EXACT1(exact_log1p, log1pl(x))
EXACT1(exact_rsqrt, 1.0L / sqrtl(x))
EXACT1(exact_sigmoid, x < -11000 ? 0.0L : 1.0L / (1.0L + expl(-x)))
EXACT1(exact_exp2, exp2l(x))
EXACT1(exact_log2, log2l(x))
EXACT1(exact_log10, log10l(x))
EXACT1(exact_tan, tanl(x))
EXACT1(exact_asin, asinl(x))
EXACT1(exact_acos, acosl(x))
EXACT1(exact_sinh, sinhl(x))
EXACT1(exact_cosh, coshl(x))
EXACT1(exact_asinh, asinhl(x))
EXACT1(exact_acosh, acoshl(x))
EXACT1(exact_atanh, atanhl(x))
EXACT1(exact_erfc, erfcl(x))
static long double exact_pow(long double x, long double y) {
    return powl(x, y);
}
static long double exact_atan2(long double y, long double x) {
    return atan2l(y, x);
}

typedef struct accuracy {
    const char *name;
    rl_insn_code code;
    int operands;
    exact_fn exact;
    double ulps; /* of F32; F64 is libm's, allowed 4 */
} accuracy;
static const accuracy table[] = {
    {"exp", RL_INSN_EXP, 1, exact_exp, 1.5},
    {"log", RL_INSN_LOG, 1, exact_log, 1.5},
    {"sin", RL_INSN_SIN, 1, exact_sin, 1.0},
    {"cos", RL_INSN_COS, 1, exact_cos, 1.0},
    {"tanh", RL_INSN_TANH, 1, exact_tanh, 2.0},
    {"erf", RL_INSN_ERF, 1, exact_erf, 2.0},
    {"atan", RL_INSN_ATAN, 1, exact_atan, 2.5},
    {"expm1", RL_INSN_EXPM1, 1, exact_expm1, 1.0},
    {"log1p", RL_INSN_LOG1P, 1, exact_log1p, 1.0},
    {"rsqrt", RL_INSN_RSQRT, 1, exact_rsqrt, 1.5},
    {"sigmoid", RL_INSN_SIGMOID, 1, exact_sigmoid, 3.0},
    {"exp2", RL_INSN_EXP2, 1, exact_exp2, 1.0},
    {"log2", RL_INSN_LOG2, 1, exact_log2, 1.0},
    {"log10", RL_INSN_LOG10, 1, exact_log10, 1.0},
    {"tan", RL_INSN_TAN, 1, exact_tan, 1.5},
    {"asin", RL_INSN_ASIN, 1, exact_asin, 1.5},
    {"acos", RL_INSN_ACOS, 1, exact_acos, 1.5},
    {"sinh", RL_INSN_SINH, 1, exact_sinh, 1.0},
    {"cosh", RL_INSN_COSH, 1, exact_cosh, 1.0},
    {"asinh", RL_INSN_ASINH, 1, exact_asinh, 2.5},
    {"acosh", RL_INSN_ACOSH, 1, exact_acosh, 2.5},
    {"atanh", RL_INSN_ATANH, 1, exact_atanh, 2.5},
    {"erfc", RL_INSN_ERFC, 1, exact_erfc, 4.0},
    {"pow", RL_INSN_POW, 2, exact_pow, 1.0},
    {"atan2", RL_INSN_ATAN2, 2, exact_atan2, 1.5},
};

#define N 20000

static double from_bits(uint64_t bits, int wide) {
    double x;
    float f;
    const uint32_t narrow = (uint32_t)(bits >> 32);
    if (wide) {
        memcpy(&x, &bits, 8);
        return x;
    }
    memcpy(&f, &narrow, 4);
    return (double)f;
}

/* Edges, then ordinary numbers, then all bit patterns. */
static double sample(int i, int wide) {
    static const double edges[] = {0.0,    -0.0,          1.0,    -1.0,         0.5,           -0.5,        2.0,
                                   -2.0,   3.0,           -3.0,   INFINITY,     -INFINITY,     (double)NAN, 1e-45,
                                   -1e-45, 1.1754943e-38, -1e-40, 3.4028234e38, -3.4028234e38, 88.7,        88.8,
                                   -87.3,  -103.9,        -104.1, 16777216.0,   16777215.0,    1e10,        -1e10,
                                   0.625,  0.927734375,   1e-4,   -1e-8};
    if (i < COUNT(edges) * COUNT(edges))
        return edges[i % COUNT(edges)];
    if (i % 3 == 0)
        return from_bits(draw(), wide);
    const double scale = i % 3 == 1 ? 1.5 : i % 7 == 0 ? 700.0 : 12.0;
    return ((double)(draw() >> 11) * 0x1p-53 - 0.5) * 2.0 * scale;
}
static double second_sample(int i, int wide) {
    static const double edges[] = {0.0,    -0.0,          1.0,    -1.0,         0.5,           -0.5,        2.0,
                                   -2.0,   3.0,           -3.0,   INFINITY,     -INFINITY,     (double)NAN, 1e-45,
                                   -1e-45, 1.1754943e-38, -1e-40, 3.4028234e38, -3.4028234e38, 88.7,        88.8,
                                   -87.3,  -103.9,        -104.1, 16777216.0,   16777215.0,    1e10,        -1e10,
                                   0.625,  0.927734375,   1e-4,   -1e-8};
    return i < COUNT(edges) * COUNT(edges) ? edges[i / COUNT(edges)] : sample(i + N, wide);
}

/* Units of the result's type between what came and the exact value, infinite for a wrong kind of number. */
static double error_of(long double exact, double got, int wide) {
    const double rounded = wide ? (double)exact : (double)(float)exact;
    int e;
    if (isnan(exact) || isnan(got))
        return isnan(exact) && isnan(got) ? 0.0 : INFINITY;
    if (rounded == got)
        return signbit(rounded) == signbit(got) || rounded != 0.0 ? 0.0 : INFINITY;
    if (isinf(rounded) || isinf(got)) /* the last step before infinity counts as one */
        return fabs(isinf(rounded) ? got : rounded) > (wide ? 1.7976931348623e308 : 3.40282e38) ? 1.0 : INFINITY;
    (void)frexpl(exact, &e);
    const int least = wide ? -1021 : -125, digits = wide ? 53 : 24;
    return (double)(fabsl((long double)got - exact) / ldexpl(1.0L, (exact == 0.0L || e < least ? least : e) - digits));
}

/* Returns 1 where it was worse than allowed. */
static int check(const accuracy *a, int wide) {
    const rl_dtype dtype = wide ? RL_F64 : RL_F32;
    rl_program *p = begin_program();
    const int64_t shape[1] = {N};
    const uint8_t x = put_input(p, dtype), y = put_input(p, dtype);
    put_output(p,
               put(p, (rl_insn){.code = (uint8_t)a->code,
                                .type = wide ? RL_REG_F64 : RL_REG_F32,
                                .a = x,
                                .b = a->operands > 1 ? y : 0}),
               dtype);
    twin_operand *in[2] = {new_operand(dtype, 1, shape, PACKED), new_operand(dtype, 1, shape, PACKED)},
                 *out = new_operand(dtype, 1, shape, PACKED);
    unsigned char *const to[2] = {in[0]->memory->base[1] + 64, in[1]->memory->base[1] + 64};
    for (int i = 0; i < N; i++)
        for (int k = 0; k < 2; k++) {
            const double v = k ? second_sample(i, wide) : sample(i, wide);
            const float f = (float)v;
            memcpy(to[k] + i * (wide ? 8 : 4), wide ? (const void *)&v : (const void *)&f, wide ? 8 : 4);
        }
    const rl_operand inputs[2] = {in[0]->of[1], in[1]->of[1]};
    rl_map_job job = {.ndim = 1, .shape = {N}, .inputs = inputs, .outputs = &out->of[1]};
    rl_map_args args = {sizeof args, 1, p, &job};
    assert_int_equal(backend->map(stream, &args), RL_OK);
    double worst = 0.0, worst_x = 0.0, worst_y = 0.0, worst_got = 0.0;
    for (int i = 0; i < N; i++) {
        double v[3];
        const unsigned char *at[3] = {to[0], to[1], out->memory->base[1] + 64};
        for (int k = 0; k < 3; k++) {
            float f;
            memcpy(&v[k], at[k] + i * (wide ? 8 : 0), 8);
            memcpy(&f, at[k] + i * 4, 4);
            v[k] = wide ? v[k] : (double)f;
        }
        const double error = error_of(a->exact((long double)v[0], (long double)v[1]), v[2], wide);
        if (error > worst)
            worst = error, worst_x = v[0], worst_y = v[1], worst_got = v[2];
    }
    free_operands();
    if (worst <= (wide ? 4.0 : a->ulps))
        return 0;
    print_error("%s of %s(%.9g, %.9g): got %.17g, %.3g ulp off\n", wide ? "float64" : "float32", a->name, worst_x,
                worst_y, worst_got, worst);
    return 1;
}

static void narrow_functions(void) {
    int bad = 0;
    for (int i = 0; i < COUNT(table); i++)
        bad += check(&table[i], 0);
    assert_int_equal(bad, 0);
}
static void wide_functions(void) {
    int bad = 0;
    for (int i = 0; i < COUNT(table); i++)
        bad += check(&table[i], 1);
    assert_int_equal(bad, 0);
}

CLONES(narrow_functions)
CLONES(wide_functions)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(narrow_functions_of_each_clone),
        cmocka_unit_test(wide_functions_of_each_clone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
