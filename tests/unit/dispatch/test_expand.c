/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Instructions beyond the base set, expanded: against the C library in the next wider type, in units in the last place.
 * The base instructions are evaluated as well as they can be, so the figures are those of the formulas.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/memory.h"
#include "dispatch/program.h"
#include "evaluate.h"

static int reset(void **state) {
    (void)state;
    rl_alloc_fail_at(0, false);
    rl_programs_shutdown();
    rl_error_clear();
    return 0;
}

static long double recip_of(long double x) {
    return 1 / x;
}
static long double rsqrt_of(long double x) {
    return 1 / sqrtl(x);
}
static long double sigmoid_of(long double x) {
    return 1 / (1 + expl(-x));
}

/* `log_range`: arguments run over all magnitudes from e^low to e^high, of both signs; else evenly from low to high. */
static const struct {
    rl_insn_code code;
    long double (*reference)(long double);
    bool log_range;
    double low, high;
    double ulps; /* 0.5 is the best there is */
} cases[] = {
    {RL_INSN_RECIP, recip_of, true, -80, 80, 0.6},    {RL_INSN_RSQRT, rsqrt_of, true, -80, 80, 1.6},
    {RL_INSN_SIGMOID, sigmoid_of, false, -80, 80, 2}, {RL_INSN_EXP2, exp2l, false, -120, 120, 1},
    {RL_INSN_LOG2, log2l, true, -85, 85, 2},          {RL_INSN_LOG2, log2l, false, 0.4, 2.5, 2},
    {RL_INSN_LOG10, log10l, true, -85, 85, 2},        {RL_INSN_LOG10, log10l, false, 0.4, 2.5, 2},
    {RL_INSN_TAN, tanl, false, -20, 20, 2},           {RL_INSN_ASIN, asinl, false, -1, 1, 3},
    {RL_INSN_ASIN, asinl, true, -60, 0, 3},           {RL_INSN_ACOS, acosl, false, -1, 1, 3},
    {RL_INSN_SINH, sinhl, false, -88, 88, 3},         {RL_INSN_SINH, sinhl, true, -60, 4, 3},
    {RL_INSN_COSH, coshl, false, -88, 88, 3},         {RL_INSN_ASINH, asinhl, true, -60, 85, 3},
    {RL_INSN_ACOSH, acoshl, false, 1, 40, 3},         {RL_INSN_ACOSH, acoshl, true, 0, 85, 3},
    {RL_INSN_ATANH, atanhl, false, -1, 1, 3},         {RL_INSN_ATANH, atanhl, true, -60, 0, 3},
    {RL_INSN_ERFC, erfcl, false, -6, 9, 8},           {RL_INSN_ERFC, erfcl, true, -60, 1, 8},
};

static const rl_program *program_of(rl_insn_code code, rl_dtype dtype) {
    rl_builder b;
    rl_builder_init(&b);
    rl_pw x = rl_build_input(&b, dtype);
    rl_build_output(&b,
                    rl_insn_describe(code)->operands == 2 ? rl_build2(&b, code, x, rl_build_input(&b, dtype))
                                                          : rl_build1(&b, code, x),
                    dtype);
    const rl_program *p = rl_program_for_mask(rl_builder_finish(&b), 0);
    assert_non_null(p);
    for (int i = 0; i < p->n_insns; i++)
        assert_true(p->insns[i].code < RL_INSN_BASE_END);
    return p;
}

static double run(const rl_program *p, double x, double y) {
    rl_number in[2] = {{.f = x}, {.f = y}}, scalars[RL_MAX_SCALARS], out;
    rl_program_scalars(p, NULL, scalars);
    evaluate(p, in, scalars, 0, NULL, &out);
    return out.f;
}

/* How far `got` is from `expected`, in the spacing of `dtype`'s numbers there. */
static double distance(double got, long double expected, rl_dtype dtype) {
    int exponent, bits = dtype == RL_F32 ? FLT_MANT_DIG : DBL_MANT_DIG;
    int least = dtype == RL_F32 ? FLT_MIN_EXP : DBL_MIN_EXP;
    double rounded = dtype == RL_F32 ? (float)expected : (double)expected;
    if (isnan(rounded) || isinf(rounded))
        return (isnan(got) && isnan(rounded)) || got == rounded ? 0 : INFINITY;
    frexpl(expected, &exponent);
    return (double)(fabsl(got - expected) / ldexpl(1, (exponent < least ? least : exponent) - bits));
}

/* Numbers of a sequence that fills [0, 1) evenly. */
static double spread(int i) {
    double x = i * 0.6180339887498949;
    return x - floor(x);
}

static void is_accurate(rl_dtype dtype) {
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        const rl_program *p = program_of(cases[c].code, dtype);
        double worst = 0, worst_x = 0;
        for (int i = 0; i < 4000; i++) {
            double x = cases[c].low + (cases[c].high - cases[c].low) * spread(i);
            if (cases[c].log_range)
                x = (i & 1) && cases[c].code != RL_INSN_RSQRT ? -exp(x) : exp(x);
            if (dtype == RL_F32)
                x = (float)x;
            double d = distance(run(p, x, 0), cases[c].reference(x), dtype);
            if (!(d <= worst)) {
                worst = d;
                worst_x = x;
            }
        }
        if (getenv("SHOW_ULPS"))
            print_message("%-8s %s [%g, %g]%s: %.2f ulp at %.9g, %d instructions\n",
                          rl_insn_describe(cases[c].code)->name, rl_dtype_name(dtype), cases[c].low, cases[c].high,
                          cases[c].log_range ? " (logarithms)" : "", worst, worst_x, p->n_insns);
        if (!(worst <= cases[c].ulps))
            fail_msg("%s of %s: %.2f ulp at %.17g", rl_insn_describe(cases[c].code)->name, rl_dtype_name(dtype), worst,
                     worst_x);
    }
}

static void is_accurate_in_f32(void **state) {
    (void)state;
    is_accurate(RL_F32);
}

static void is_accurate_in_f64(void **state) {
    (void)state;
    is_accurate(RL_F64);
}

static void knows_the_ends(void **state) {
    (void)state;
    static const struct {
        rl_insn_code code;
        double x, y;
    } ends[] = {
        {RL_INSN_RECIP, -0.0, -INFINITY},
        {RL_INSN_RSQRT, 0, INFINITY},
        {RL_INSN_RSQRT, -1, NAN},
        {RL_INSN_SIGMOID, INFINITY, 1},
        {RL_INSN_SIGMOID, -INFINITY, 0},
        {RL_INSN_SIGMOID, 0, 0.5},
        {RL_INSN_SIGMOID, NAN, NAN},
        {RL_INSN_EXP2, -INFINITY, 0},
        {RL_INSN_EXP2, 10, 1024},
        {RL_INSN_LOG2, 0, -INFINITY},
        {RL_INSN_LOG2, -1, NAN},
        {RL_INSN_LOG2, INFINITY, INFINITY},
        {RL_INSN_LOG2, 0x1p-149, -149},
        {RL_INSN_LOG2, 0x1p127, 127},
        {RL_INSN_LOG2, 1, 0},
        {RL_INSN_LOG2, NAN, NAN},
        {RL_INSN_LOG10, 1000, 3},
        {RL_INSN_LOG10, 1e10, 10},
        {RL_INSN_LOG10, 0, -INFINITY},
        {RL_INSN_LOG10, 1, 0},
        {RL_INSN_TAN, INFINITY, NAN},
        {RL_INSN_TAN, -0.0, -0.0},
        {RL_INSN_ASIN, 1.5, NAN},
        {RL_INSN_ASIN, -0.0, -0.0},
        {RL_INSN_ACOS, 1, 0},
        {RL_INSN_ACOS, -1.5, NAN},
        {RL_INSN_ACOS, NAN, NAN},
        {RL_INSN_SINH, -INFINITY, -INFINITY},
        {RL_INSN_SINH, -0.0, -0.0},
        {RL_INSN_SINH, NAN, NAN},
        {RL_INSN_COSH, -INFINITY, INFINITY},
        {RL_INSN_COSH, 0, 1},
        {RL_INSN_COSH, NAN, NAN},
        {RL_INSN_ASINH, -0.0, -0.0},
        {RL_INSN_ASINH, -INFINITY, -INFINITY},
        {RL_INSN_ASINH, NAN, NAN},
        {RL_INSN_ACOSH, 1, 0},
        {RL_INSN_ACOSH, 0.5, NAN},
        {RL_INSN_ACOSH, -3, NAN},
        {RL_INSN_ACOSH, INFINITY, INFINITY},
        {RL_INSN_ATANH, 1, INFINITY},
        {RL_INSN_ATANH, -1, -INFINITY},
        {RL_INSN_ATANH, 2, NAN},
        {RL_INSN_ATANH, -0.0, -0.0},
        {RL_INSN_ERFC, 0, 1},
        {RL_INSN_ERFC, INFINITY, 0},
        {RL_INSN_ERFC, -INFINITY, 2},
        {RL_INSN_ERFC, NAN, NAN},
        {RL_INSN_ERFC, 30, 0},
    };
    for (int d = 0; d < 2; d++) {
        for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
            double got = run(program_of(ends[i].code, d ? RL_F64 : RL_F32), ends[i].x, 0);
            bool right = isnan(ends[i].y) ? isnan(got) : got == ends[i].y && signbit(got) == signbit(ends[i].y);
            if (!right)
                fail_msg("%s(%g) is %.17g", rl_insn_describe(ends[i].code)->name, ends[i].x, got);
        }
    }
}

static void atan2_knows_every_quarter(void **state) {
    (void)state;
    static const double ends[] = {0.0, -0.0, 1, -1, 0.5, -3, 1e-30, -1e30, INFINITY, -INFINITY, NAN};
    const int count = sizeof ends / sizeof *ends;
    for (int k = 0; k < 2; k++) {
        rl_dtype dtype = k ? RL_F64 : RL_F32;
        const rl_program *p = program_of(RL_INSN_ATAN2, dtype);
        for (int i = 0; i < count * count + 4000; i++) {
            double y = i < count * count ? ends[i / count] : 8 * spread(i) - 4;
            double x = i < count * count ? ends[i % count] : 8 * spread(7 * i) - 4;
            if (dtype == RL_F32) {
                x = (float)x;
                y = (float)y;
            }
            double got = run(p, y, x);
            if (!(distance(got, atan2l(y, x), dtype) <= 2) || (!isnan(got) && signbit(got) != signbit(y)))
                fail_msg("atan2(%g, %g) of %s is %.17g", y, x, rl_dtype_name(dtype), got);
        }
    }
}

/* Programs -------------------------------------------------------------------------------------------------------- */

/* sigmoid(x) + rsqrt(x) * scalar + uniform */
static const rl_program *mixed(void) {
    rl_builder b;
    rl_builder_init(&b);
    rl_pw x = rl_build_input(&b, RL_F64), c = rl_build_constant(&b, RL_F64, 3), s = rl_build_scalar(&b, RL_F64);
    rl_pw seed = rl_build_scalar(&b, RL_I64);
    rl_build_scalar(&b, RL_I64);
    rl_pw y = rl_build3(&b, RL_INSN_FMA, rl_build1(&b, RL_INSN_RSQRT, x), s, rl_build1(&b, RL_INSN_SIGMOID, x));
    y = rl_build2(&b, RL_INSN_ADD, y, rl_build_random(&b, RL_INSN_UNIFORM, RL_F64, seed));
    rl_build_output(&b, rl_build2(&b, RL_INSN_MUL, y, c), RL_F64);
    return rl_builder_finish(&b);
}

static bool has(const rl_program *p, rl_insn_code code) {
    for (int i = 0; i < p->n_insns; i++)
        if (p->insns[i].code == code)
            return true;
    return false;
}

static void expands_what_the_mask_lacks(void **state) {
    (void)state;
    const rl_program *p = mixed();
    uint64_t rsqrt = UINT64_C(1) << RL_INSN_RSQRT, sigmoid = UINT64_C(1) << RL_INSN_SIGMOID;
    assert_ptr_equal(rl_program_for_mask(p, rsqrt | sigmoid), p);
    const rl_program *base = rl_program_for_mask(p, 0), *half = rl_program_for_mask(p, rsqrt);
    assert_ptr_equal(rl_program_for_mask(p, UINT64_C(1) << RL_INSN_ERFC), base); /* which it does not need */
    assert_ptr_equal(rl_program_for_mask(base, 0), base);
    assert_false(has(base, RL_INSN_RSQRT) || has(base, RL_INSN_SIGMOID));
    assert_true(has(half, RL_INSN_RSQRT) && !has(half, RL_INSN_SIGMOID));
    assert_int_equal(base->flags, RL_PROGRAM_RANDOM);
    assert_int_equal(rl_program_own_scalars(base), 3);
    uint64_t before = rl_alloc_count();
    assert_ptr_equal(rl_program_for_mask(p, 0), base);
    assert_true(rl_alloc_count() == before); /* kept */
    /* The caller's scalars are the same and in the same order. */
    rl_number own[3] = {{.f = 0.5}, {.i = 5}, {.i = 6}}, scalars[RL_MAX_SCALARS], in = {.f = 4}, out, uniform;
    rl_program_scalars(base, own, scalars);
    evaluate(base, &in, scalars, 9, NULL, &out);
    rl_builder b;
    rl_builder_init(&b);
    rl_pw seed = rl_build_scalar(&b, RL_I64);
    rl_build_scalar(&b, RL_I64);
    rl_build_output(&b, rl_build_random(&b, RL_INSN_UNIFORM, RL_F64, seed), RL_F64);
    evaluate(rl_builder_finish(&b), NULL, own + 1, 9, NULL, &uniform);
    assert_true(fabs(out.f - 3 * (0.25 + 1 / (1 + exp(-4)) + uniform.f)) < 1e-14);
}

static void survives_every_failing_allocation(void **state) {
    (void)state;
    for (uint64_t n = 1;; n++) {
        rl_programs_shutdown();
        const rl_program *p = mixed();
        rl_alloc_fail_at(n, false);
        const rl_program *base = rl_program_for_mask(p, 0);
        rl_alloc_fail_at(0, false);
        if (base != NULL) {
            assert_true(n > 2);
            return;
        }
        assert_int_equal(rl_error_status(), RL_OUT_OF_MEMORY);
        rl_error_clear();
    }
}

static void says_when_the_expansion_is_too_long(void **state) {
    (void)state;
    rl_builder b;
    rl_builder_init(&b);
    rl_pw x = rl_build_input(&b, RL_F32);
    for (int i = 0; i < 40; i++)
        x = rl_build1(&b, RL_INSN_SINH, x);
    rl_build_output(&b, x, RL_F32);
    const rl_program *p = rl_builder_finish(&b);
    assert_ptr_equal(rl_program_for_mask(p, UINT64_MAX), p);
    assert_null(rl_program_for_mask(p, 0));
    assert_int_equal(rl_error_status(), RL_UNSUPPORTED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(is_accurate_in_f32, reset, reset),
        cmocka_unit_test_setup_teardown(is_accurate_in_f64, reset, reset),
        cmocka_unit_test_setup_teardown(knows_the_ends, reset, reset),
        cmocka_unit_test_setup_teardown(atan2_knows_every_quarter, reset, reset),
        cmocka_unit_test_setup_teardown(expands_what_the_mask_lacks, reset, reset),
        cmocka_unit_test_setup_teardown(survives_every_failing_allocation, reset, reset),
        cmocka_unit_test_setup_teardown(says_when_the_expansion_is_too_long, reset, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
