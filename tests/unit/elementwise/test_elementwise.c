/* SPDX-License-Identifier: Apache-2.0 */
/* Elementwise ops and losses against what PyTorch answers (recorded.h), values and gradients; their special cases. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "recorded.h"
#include "rushlight/autograd.h"
#include "rushlight/ops.h"

/* Inputs, as record.py makes them ---------------------------------------------------------------------------------- */

enum { X, Y, U, ROW, LEAVES };
static rl_tensor *leaves[LEAVES];
static rl_tensor *m, *n, *c, *classes, *weight;
#define x leaves[X]
#define y leaves[Y]
#define u leaves[U]
#define row leaves[ROW]

static rl_tensor *leaf(const double *values, rl_ints shape) {
    rl_tensor *wide = rl_tensor_from_data(values, shape, RL_F64, NULL);
    return rl_requires_grad(rl_to(wide, .dtype = RL_F32), true);
}

static void make_inputs(void) {
    double xs[6], ys[6], us[6];
    int64_t ms[6], ns[6];
    bool cs[6];
    for (int i = 0; i < 6; i++) {
        xs[i] = ((i * 7 + 3) % 11 - 5) / 4.0 + 0.1;
        ys[i] = ((i * 5 + 2) % 7 + 1) / 3.0;
        us[i] = ((i * 3 + 1) % 8 + 0.5) / 9.0;
        ms[i] = (i * 7 + 3) % 11 - 5;
        ns[i] = ((i * 5 + 2) % 3 + 1) * (i % 2 ? 1 : -1);
        cs[i] = i % 3 > 0;
    }
    x = leaf(xs, RL_DIMS(2, 3));
    y = leaf(ys, RL_DIMS(2, 3));
    u = leaf(us, RL_DIMS(2, 3));
    row = leaf((const double[]){-0.4, -0.2, 0.0}, RL_DIMS(3));
    m = rl_tensor_from_data(ms, RL_DIMS(2, 3), RL_I64, NULL);
    n = rl_tensor_from_data(ns, RL_DIMS(2, 3), RL_I64, NULL);
    c = rl_tensor_from_data(cs, RL_DIMS(2, 3), RL_BOOL, NULL);
    classes = rl_tensor_from_data((const int64_t[]){2, 0}, RL_DIMS(2), RL_I64, NULL);
    weight = rl_tensor_from_data((const float[]){0.5f, 1.0f, 2.0f}, RL_DIMS(3), RL_F32, NULL);
}

/* The calls of record.py, by its names ----------------------------------------------------------------------------- */

#define CASES(CASE)                                                                                                    \
    CASE(add, rl_add(x, row, .alpha = 2))                                                                              \
    CASE(sub, rl_sub(x, y, .alpha = 0.5))                                                                              \
    CASE(rsub, rl_rsub(x, y))                                                                                          \
    CASE(mul, rl_mul(x, row))                                                                                          \
    CASE(div, rl_div(x, y))                                                                                            \
    CASE(div_floor, rl_div(x, y, .rounding_mode = "floor"))                                                            \
    CASE(div_trunc, rl_div(x, y, .rounding_mode = "trunc"))                                                            \
    CASE(div_integers, rl_div(m, n))                                                                                   \
    CASE(div_floor_integers, rl_div(m, n, .rounding_mode = "floor"))                                                   \
    CASE(floor_divide, rl_floor_divide(m, n))                                                                          \
    CASE(remainder, rl_remainder(x, y))                                                                                \
    CASE(remainder_integers, rl_remainder(m, n))                                                                       \
    CASE(fmod, rl_fmod(x, y))                                                                                          \
    CASE(fmod_integers, rl_fmod(m, n))                                                                                 \
    CASE(pow, rl_pow(y, x))                                                                                            \
    CASE(pow_square, rl_pow(x, 2))                                                                                     \
    CASE(pow_half, rl_pow(y, 0.5))                                                                                     \
    CASE(pow_scalar, rl_pow(y, 1.5))                                                                                   \
    CASE(pow_integers, rl_pow(m, 3))                                                                                   \
    CASE(pow_base, rl_rpow(x, 2.5))                                                                                    \
    CASE(addcmul, rl_addcmul(x, y, u, .value = 0.5))                                                                   \
    CASE(addcdiv, rl_addcdiv(x, u, y, .value = -2))                                                                    \
    CASE(lerp, rl_lerp(x, y, 0.25))                                                                                    \
    CASE(lerp_tensor, rl_lerp(x, y, u))                                                                                \
    CASE(abs, rl_abs(x))                                                                                               \
    CASE(square, rl_square(x))                                                                                         \
    CASE(rsqrt, rl_rsqrt(y))                                                                                           \
    CASE(reciprocal, rl_reciprocal(y))                                                                                 \
    CASE(clamp, rl_clamp(x, .min = RL_VALUE(-0.5), .max = RL_VALUE(0.5)))                                              \
    CASE(clamp_tensor, rl_clamp(x, .min = RL_VALUE(row), .max = RL_VALUE(y)))                                          \
    CASE(maximum, rl_maximum(x, row))                                                                                  \
    CASE(minimum, rl_minimum(x, y))                                                                                    \
    CASE(round, rl_round(x, .decimals = 1))                                                                            \
    CASE(frac, rl_frac(x))                                                                                             \
    CASE(exp2, rl_exp2(x))                                                                                             \
    CASE(expm1, rl_expm1(x))                                                                                           \
    CASE(log2, rl_log2(y))                                                                                             \
    CASE(log10, rl_log10(y))                                                                                           \
    CASE(log1p, rl_log1p(y))                                                                                           \
    CASE(logaddexp, rl_logaddexp(x, y))                                                                                \
    CASE(xlogy, rl_xlogy(x, y))                                                                                        \
    CASE(erf, rl_erf(x))                                                                                               \
    CASE(erfc, rl_erfc(x))                                                                                             \
    CASE(erfinv, rl_erfinv(u))                                                                                         \
    CASE(sigmoid, rl_sigmoid(x))                                                                                       \
    CASE(logit, rl_logit(u, .eps = 0.25))                                                                              \
    CASE(sin, rl_sin(x))                                                                                               \
    CASE(tan, rl_tan(u))                                                                                               \
    CASE(asin, rl_asin(u))                                                                                             \
    CASE(acos, rl_acos(u))                                                                                             \
    CASE(atan2, rl_atan2(x, y))                                                                                        \
    CASE(sinh, rl_sinh(x))                                                                                             \
    CASE(tanh, rl_tanh(x))                                                                                             \
    CASE(asinh, rl_asinh(x))                                                                                           \
    CASE(atanh, rl_atanh(u))                                                                                           \
    CASE(where, rl_where(c, x, row))                                                                                   \
    CASE(masked_fill, rl_masked_fill(x, c, 2.5))                                                                       \
    CASE(relu, rl_relu(x))                                                                                             \
    CASE(threshold, rl_threshold(x, 0.5, 20))                                                                          \
    CASE(leaky_relu, rl_leaky_relu(x, .negative_slope = 0.2))                                                          \
    CASE(elu, rl_elu(x, .alpha = 1.5))                                                                                 \
    CASE(selu, rl_selu(x))                                                                                             \
    CASE(celu, rl_celu(x, .alpha = 0.5))                                                                               \
    CASE(silu, rl_silu(x))                                                                                             \
    CASE(gelu, rl_gelu(x))                                                                                             \
    CASE(gelu_tanh, rl_gelu(x, .approximate = "tanh"))                                                                 \
    CASE(softplus, rl_softplus(x, .beta = 2, .threshold = 1))                                                          \
    CASE(log_sigmoid, rl_log_sigmoid(x))                                                                               \
    CASE(mish, rl_mish(x))                                                                                             \
    CASE(softsign, rl_softsign(x))                                                                                     \
    CASE(tanhshrink, rl_tanhshrink(x))                                                                                 \
    CASE(hardtanh, rl_hardtanh(x, .min_val = -0.5, .max_val = 0.25))                                                   \
    CASE(hardsigmoid, rl_hardsigmoid(x))                                                                               \
    CASE(hardswish, rl_hardswish(x))                                                                                   \
    CASE(softshrink, rl_softshrink(x, .lambd = 0.25))                                                                  \
    CASE(prelu, rl_prelu(x, row))                                                                                      \
    CASE(tril, rl_tril(x))                                                                                             \
    CASE(triu, rl_triu(x, .diagonal = 1))                                                                              \
    CASE(mse_loss, rl_mse_loss(x, y))                                                                                  \
    CASE(mse_loss_none, rl_mse_loss(x, y, .reduction = "none"))                                                        \
    CASE(l1_loss, rl_l1_loss(x, y, .reduction = "sum"))                                                                \
    CASE(smooth_l1_loss, rl_smooth_l1_loss(x, y, .beta = 0.5))                                                         \
    CASE(huber_loss, rl_huber_loss(x, y, .delta = 0.5))                                                                \
    CASE(binary_cross_entropy, rl_binary_cross_entropy(u, swapped_rows(u), .weight = weight))                          \
    CASE(binary_cross_entropy_with_logits, rl_binary_cross_entropy_with_logits(x, u, .pos_weight = weight))            \
    CASE(nll_loss, rl_nll_loss(x, classes, .weight = weight))                                                          \
    CASE(cross_entropy, rl_cross_entropy(x, classes))                                                                  \
    CASE(cross_entropy_ignored, rl_cross_entropy(x, classes, .weight = weight, .ignore_index = 2))                     \
    CASE(cross_entropy_smoothed, rl_cross_entropy(x, classes, .weight = weight, .label_smoothing = 0.1))               \
    CASE(cross_entropy_probabilities, rl_cross_entropy(x, u, .reduction = "sum"))                                      \
    CASE(kl_div, rl_kl_div(x, u, .reduction = "batchmean"))

static rl_tensor *swapped_rows(rl_tensor *t) {
    return rl_index_select(rl_detach(t), 0, rl_tensor_from_data((const int64_t[]){1, 0}, RL_DIMS(2), RL_I64, NULL));
}

typedef rl_tensor *(*call)(void);
#define FUNCTION(name, expression)                                                                                     \
    static rl_tensor *run_##name(void) {                                                                               \
        return expression;                                                                                             \
    }
CASES(FUNCTION)

typedef struct recorded {
    const double *values;
    int64_t count; /* 1 may stand for all: no gradient */
} recorded;
typedef struct recorded_case {
    const char *name;
    call run;
    recorded result, gradient[LEAVES];
} recorded_case;
#define RECORDED(array)                                                                                                \
    { array, sizeof array / sizeof *array }
#define ROW_OF_TABLE(name, expression)                                                                                 \
    {#name,                                                                                                            \
     run_##name,                                                                                                       \
     RECORDED(name##_result),                                                                                          \
     {RECORDED(name##_dx), RECORDED(name##_dy), RECORDED(name##_du), RECORDED(name##_drow)}},
static const recorded_case table[] = {CASES(ROW_OF_TABLE)};

/* Comparing -------------------------------------------------------------------------------------------------------- */

/* Both are f32 and a few units in the last place apart at most; sums of six are near each other too. */
static void assert_near(const char *name, const char *what, rl_tensor *got, const recorded *want) {
    double values[6] = {0};
    int64_t count = got ? rl_tensor_numel(got) : want->count;
    if (rl_failed())
        fail_msg("%s: %s", name, rl_error_text());
    if (got != NULL)
        rl_tensor_read(rl_to(got, .dtype = RL_F64), values, (size_t)count * sizeof *values);
    if (want->count != 1 && count != want->count)
        fail_msg("%s: %s has %d elements, must have %d", name, what, (int)count, (int)want->count);
    for (int64_t i = 0; i < count; i++) {
        double expected = want->values[want->count == 1 ? 0 : i];
        bool near = fabs(values[i] - expected) <= 2e-6 * (1.0 + fabs(expected));
        if (!near && !(isnan(values[i]) && isnan(expected)))
            fail_msg("%s: element %d of %s is %.9g, must be %.9g", name, (int)i, what, values[i], expected);
    }
}

static rl_tensor *cotangent(const rl_tensor *like) {
    float values[6];
    for (int i = 0; i < 6; i++)
        values[i] = cosf((float)(i + 1));
    rl_ints shape = {rl_tensor_shape(like), rl_tensor_ndim(like)};
    return rl_tensor_from_data(values, shape, RL_F32, NULL);
}

static void test_recorded(void **state) {
    (void)state;
    static const char *const names[] = {"gx", "gy", "gu", "grow"};
    for (size_t k = 0; k < sizeof table / sizeof *table; k++) {
        RL_SCOPE();
        make_inputs();
        rl_tensor *result = table[k].run();
        assert_near(table[k].name, "the result", result, &table[k].result);
        if (!rl_tensor_requires_grad(result))
            continue;
        rl_backward(result, .gradient = cotangent(result));
        for (int i = 0; i < LEAVES; i++)
            assert_near(table[k].name, names[i], rl_grad(leaves[i]), &table[k].gradient[i]);
    }
}

/* Special cases ---------------------------------------------------------------------------------------------------- */

static rl_tensor *floats(const float *values, int64_t count) {
    return rl_tensor_from_data(values, RL_DIMS(count), RL_F32, NULL);
}
static void assert_floats(rl_tensor *got, const float *want, int count) {
    float values[16];
    assert_int_equal(rl_error_status(), RL_OK);
    assert_int_equal(rl_tensor_dtype(got), RL_F32);
    assert_int_equal(rl_tensor_numel(got), count);
    rl_tensor_read(got, values, (size_t)count * sizeof *values);
    for (int i = 0; i < count; i++)
        if (memcmp(&values[i], &want[i], sizeof *values) != 0 && !(isnan(values[i]) && isnan(want[i])))
            fail_msg("element %d is %.9g, must be %.9g", i, (double)values[i], (double)want[i]);
}
static void assert_integers(rl_tensor *got, rl_dtype dtype, const int64_t *want, int count) {
    int64_t values[16];
    assert_int_equal(rl_error_status(), RL_OK);
    assert_int_equal(rl_tensor_dtype(got), dtype);
    rl_tensor_read(rl_to(got, .dtype = RL_I64), values, (size_t)count * sizeof *values);
    assert_memory_equal(values, want, (size_t)count * sizeof *values);
}
static void expect(rl_status status, const char *sentence) {
    if (rl_error_status() != status || !strstr(rl_error_text(), sentence))
        fail_msg("%d '%s', must be %d with '%s'", (int)rl_error_status(), rl_error_text(), (int)status, sentence);
    rl_error_clear();
}

static void test_nan_and_infinities(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *a = floats((const float[]){NAN, INFINITY, -INFINITY, -0.0f, 1.0f}, 5);
    assert_floats(rl_relu(a), (const float[]){NAN, INFINITY, 0, -0.0f, 1}, 5);
    assert_floats(rl_clamp(a, .min = RL_VALUE(-2), .max = RL_VALUE(2)), (const float[]){NAN, 2, -2, -0.0f, 1}, 5);
    assert_floats(rl_maximum(a, rl_zeros_like(a)), (const float[]){NAN, INFINITY, 0, 0, 1}, 5);
    assert_floats(rl_fmax(a, rl_ones_like(a)), (const float[]){1, INFINITY, 1, 1, 1}, 5);
    assert_floats(rl_sign(a), (const float[]){0, 1, -1, 0, 1}, 5);
    assert_floats(rl_nan_to_num(a, .posinf = 5, .neginf = -5), (const float[]){0, 5, -5, -0.0f, 1}, 5);
    assert_integers(rl_isnan(a), RL_BOOL, (const int64_t[]){1, 0, 0, 0, 0}, 5);
    assert_integers(rl_isinf(a), RL_BOOL, (const int64_t[]){0, 1, 1, 0, 0}, 5);
    assert_integers(rl_isfinite(a), RL_BOOL, (const int64_t[]){0, 0, 0, 1, 1}, 5);
    assert_integers(rl_signbit(a), RL_BOOL, (const int64_t[]){signbit(NAN) != 0, 0, 1, 1, 0}, 5);
    assert_integers(rl_eq(a, a), RL_BOOL, (const int64_t[]){0, 1, 1, 1, 1}, 5);
    rl_tensor *one = floats((const float[]){INFINITY, NAN, NAN, -INFINITY}, 4);
    rl_tensor *other = floats((const float[]){NAN, INFINITY, 1, NAN}, 4);
    assert_floats(rl_hypot(one, other), (const float[]){INFINITY, INFINITY, NAN, INFINITY}, 4);
}

static void test_rounded_division(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *a = floats((const float[]){1.0f, -1.0f, 1.0f, -7.0f, 0.0f}, 5);
    rl_tensor *by = floats((const float[]){0.1f, 0.1f, 0.0f, 2.0f, 3.0f}, 5);
    assert_floats(rl_floor_divide(a, by), (const float[]){9, -10, INFINITY, -4, 0}, 5); /* as Python: 1.0 // 0.1 is 9 */
    rl_tensor *i = rl_tensor_from_data((const int64_t[]){7, -7, 7, -7, 5}, RL_DIMS(5), RL_I64, NULL);
    rl_tensor *j = rl_tensor_from_data((const int64_t[]){2, 2, -2, -2, 0}, RL_DIMS(5), RL_I64, NULL);
    assert_integers(rl_floor_divide(i, j), RL_I64, (const int64_t[]){3, -4, -4, 3, 0}, 5);
    assert_integers(rl_remainder(i, j), RL_I64, (const int64_t[]){1, 1, -1, -1, 0}, 5);
    assert_integers(rl_fmod(i, j), RL_I64, (const int64_t[]){1, -1, 1, -1, 0}, 5);
    rl_div(a, 2, .rounding_mode = "up");
    expect(RL_INVALID_ARGUMENT, "div: rounding_mode must be None, 'trunc' or 'floor', got 'up'");
}

static void test_integer_powers(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *p = rl_tensor_from_data((const int64_t[]){2, -1, -1, 0, 3, 2, -1}, RL_DIMS(7), RL_I64, NULL);
    rl_tensor *e = rl_tensor_from_data((const int64_t[]){62, 101, 100, 0, 39, -1, -3}, RL_DIMS(7), RL_I64, NULL);
    assert_integers(rl_pow(p, e), RL_I64,
                    (const int64_t[]){INT64_C(4611686018427387904), -1, 1, 1, INT64_C(4052555153018976267), 0, -1}, 7);
    rl_pow(p, -1);
    expect(RL_INVALID_ARGUMENT, "pow: exponent is -1: integers to negative integer powers are not allowed");
}

/* As multiplying over and over wraps. */
static int64_t wrapped_power(int64_t base, int64_t exponent, rl_dtype dtype) {
    uint64_t result = 1, square = (uint64_t)base;
    for (; exponent > 0; exponent >>= 1) {
        result *= exponent & 1 ? square : 1;
        square *= square;
    }
    return dtype == RL_I64   ? (int64_t)result
           : dtype == RL_I32 ? (int32_t)result
           : dtype == RL_I16 ? (int16_t)result
           : dtype == RL_I8  ? (int8_t)result
                             : (uint8_t)result;
}

static void test_large_integer_powers(void **state) {
    (void)state;
    static const rl_dtype dtypes[] = {RL_I64, RL_I32, RL_I16, RL_I8, RL_U8};
    static const int64_t exponents[] = {63, 64, 65, 66, 100, 101, 127};
    static const int64_t larger[] = {128,       129,        1000003,   1 << 20,
                                     INT32_MAX, 0x3fffffff, INT64_MAX, INT64_C(0x123456789abcdef)};
    enum { BASES = 16 };
    int64_t bases[BASES], want[BASES];
    for (size_t d = 0; d < sizeof dtypes / sizeof *dtypes; d++) {
        rl_dtype dtype = dtypes[d];
        int64_t most = dtype == RL_I64 ? INT64_MAX : dtype == RL_I32 ? INT32_MAX : 127;
        for (int i = 0; i < BASES; i++) /* small ones of both signs, and ones that fill the dtype */
            bases[i] = i < 8 ? (dtype == RL_U8 ? i : i - 3) : wrapped_power(0x5851f42d4c957f2d + i, 3, dtype);
        for (size_t e = 0; e < 15; e++) {
            int64_t exponent = e < 7 ? exponents[e] : larger[e - 7];
            if (exponent > most)
                continue;
            RL_SCOPE();
            rl_tensor *p = rl_to(rl_tensor_from_data(bases, RL_DIMS(BASES), RL_I64, NULL), .dtype = dtype);
            for (int i = 0; i < BASES; i++)
                want[i] = wrapped_power(bases[i], exponent, dtype);
            assert_integers(rl_pow(p, exponent), dtype, want, BASES);
            rl_tensor *exact = rl_full(RL_DIMS(1), exponent, .dtype = dtype);
            assert_integers(rl_pow(p, exact), dtype, want, BASES);
        }
    }
    rl_tensor *three = rl_full(RL_DIMS(1), 3); /* PyTorch's own answer */
    assert_integers(rl_pow(three, 100), RL_I64, (const int64_t[]){INT64_C(-2984622845537545263)}, 1);
}

/* Every power of two times a few numbers is C's ldexp, to the bit. */
static void test_ldexp(void **state) {
    (void)state;
    static const double numbers[] = {1,        -0.0,     3,        0x1p-149, 0x1.fffffep127, -0x1.8p-126,
                                     0x1p-100, INFINITY, 0x1.fp30, 1e-30,    0x1.000002p-1,  0x1.7ffffep-126};
    enum { NUMBERS = sizeof numbers / sizeof *numbers };
    float want[NUMBERS];
    for (int e = -420; e <= 420; e++) {
        RL_SCOPE();
        for (int i = 0; i < NUMBERS; i++)
            want[i] = ldexpf((float)numbers[i], e);
        rl_tensor *wide = rl_tensor_from_data(numbers, RL_DIMS(NUMBERS), RL_F64, NULL);
        rl_tensor *by = rl_full(RL_DIMS(1), e, .dtype = e % 2 ? RL_I32 : RL_I64);
        assert_floats(rl_ldexp(rl_to(wide, .dtype = RL_F32), by), want, NUMBERS);
        double exact[NUMBERS];
        int big = e * 6;
        rl_tensor *exponent = rl_full(RL_DIMS(1), big, .dtype = RL_I64);
        rl_tensor_read(rl_ldexp(wide, exponent), exact, sizeof exact);
        for (int i = 0; i < NUMBERS; i++)
            assert_true(exact[i] == ldexp(numbers[i], big));
    }
    RL_SCOPE();
    rl_tensor *half = rl_full(RL_DIMS(1), 0x1p-20, .dtype = RL_F16);
    rl_tensor *lifted = rl_ldexp(half, rl_full(RL_DIMS(1), 30));
    assert_int_equal(rl_tensor_dtype(lifted), RL_F16);
    assert_true(rl_item(lifted) == 1024);
    assert_floats(rl_ldexp(floats((const float[]){1, 2}, 2), floats((const float[]){0.5f, 3}, 2)),
                  (const float[]){1.41421356f, 16}, 2);
    rl_tensor *leaf = rl_requires_grad(floats((const float[]){3, 0}, 2), true);
    rl_backward(rl_sum(rl_ldexp(leaf, rl_full(RL_DIMS(2), 100))));
    assert_floats(rl_grad(leaf), (const float[]){0x1p100f, 0x1p100f}, 2);
}

static void test_promotion(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *bytes = rl_full(RL_DIMS(2), 200, .dtype = RL_U8);
    assert_integers(rl_add(bytes, 100), RL_U8, (const int64_t[]){44, 44}, 2); /* wraps */
    assert_int_equal(rl_tensor_dtype(rl_add(bytes, 0.5)), RL_F32);
    assert_int_equal(rl_tensor_dtype(rl_exp(bytes)), RL_F32);
    assert_int_equal(rl_tensor_dtype(rl_square(rl_ones(RL_DIMS(2), .dtype = RL_BOOL))), RL_I64);
    assert_int_equal(rl_tensor_dtype(rl_where(rl_eq(bytes, 1), 1.0, 2)), RL_F32);
    rl_add_(bytes, 0.5);
    expect(RL_DTYPE_MISMATCH, "add_: the result is float32 and cannot be stored in self, which is uint8");
    rl_add(bytes, bytes, .alpha = 0.5);
    expect(RL_DTYPE_MISMATCH, "add: alpha must be an integer where the result is uint8, got 0.5");
    rl_bitwise_and(bytes, 0.5);
    expect(RL_DTYPE_MISMATCH, "bitwise_and: self and other must be of integer dtypes or bool");
}

/* Numbers outside the range of a narrow dtype, with PyTorch's answers. */
static void test_numbers_wrap(void **state) {
    (void)state;
    RL_SCOPE();
    const int64_t given[] = {1, 100, 200, 255};
    rl_tensor *a = rl_to(rl_tensor_from_data(given, RL_DIMS(4), RL_I64, NULL), .dtype = RL_U8);
    assert_integers(rl_remainder(a, -3), RL_U8, (const int64_t[]){1, 100, 200, 2}, 4);
    assert_integers(rl_fmod(a, -3), RL_U8, (const int64_t[]){1, 100, 200, 2}, 4);
    assert_integers(rl_fmod(a, 300), RL_U8, (const int64_t[]){1, 12, 24, 35}, 4);
    assert_integers(rl_remainder(a, 1000), RL_U8, (const int64_t[]){1, 100, 200, 23}, 4);
    assert_integers(rl_floor_divide(a, -3), RL_U8, (const int64_t[]){0, 0, 0, 1}, 4);
    assert_integers(rl_floor_divide(a, 300), RL_U8, (const int64_t[]){0, 2, 4, 5}, 4);
    assert_integers(rl_add(a, 300), RL_U8, (const int64_t[]){45, 144, 244, 43}, 4);
    assert_integers(rl_mul(a, -3), RL_U8, (const int64_t[]){253, 212, 168, 3}, 4);
    assert_integers(rl_eq(a, -1), RL_BOOL, (const int64_t[]){0, 0, 0, 1}, 4);
    assert_integers(rl_lt(a, 300), RL_BOOL, (const int64_t[]){1, 0, 0, 0}, 4);
    assert_integers(rl_gt(a, -3), RL_BOOL, (const int64_t[]){0, 0, 0, 1}, 4);
    assert_integers(rl_bitwise_and(a, 300), RL_U8, (const int64_t[]){0, 36, 8, 44}, 4);
    assert_integers(rl_bitwise_left_shift(a, 256), RL_U8, given, 4);
    assert_integers(rl_clamp(a, .min = RL_VALUE(-3)), RL_U8, given, 4); /* bounds do not */
    rl_tensor *bytes =
        rl_to(rl_tensor_from_data((const int64_t[]){1, 100, -128}, RL_DIMS(3), RL_I64, NULL), .dtype = RL_I8);
    assert_integers(rl_remainder(bytes, 200), RL_I8, (const int64_t[]){-55, -12, -16}, 3);
    assert_integers(rl_div(bytes, 200, .rounding_mode = "trunc"), RL_I8, (const int64_t[]){0, -1, 2}, 3);
    assert_integers(rl_floor_divide(bytes, -200), RL_I8, (const int64_t[]){0, 1, -3}, 3);
    assert_integers(rl_lt(bytes, 200), RL_BOOL, (const int64_t[]){0, 0, 1}, 3);
    assert_integers(rl_remainder(bytes, rl_full(RL_NO_DIMS, 200)), RL_I8, (const int64_t[]){-55, -12, -16}, 3);
}

static void test_medians(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *ties = rl_requires_grad(floats((const float[]){1, 3, 2, 2, 2, 5}, 6), true);
    rl_backward(rl_median(ties));
    assert_floats(rl_grad(ties), (const float[]){0, 0, 1 / 3.0f, 1 / 3.0f, 1 / 3.0f, 0}, 6);
    rl_tensor *nans = rl_requires_grad(floats((const float[]){1, NAN, 2, NAN}, 4), true);
    rl_backward(rl_median(nans));
    assert_floats(rl_grad(nans), (const float[]){0, 0.5f, 0, 0.5f}, 4);
    rl_tensor *none = rl_requires_grad(rl_zeros(RL_DIMS(0)), true), *middle = rl_median(none);
    assert_floats(rl_detach(middle), (const float[]){NAN}, 1);
    rl_backward(middle);
    assert_int_equal(rl_tensor_numel(rl_grad(none)), 0);
}

static void test_truths_of_each(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *a = floats((const float[]){1, 0, NAN}, 3);
    assert_integers(rl_all(a, .dim = RL_NO_DIMS), RL_BOOL, (const int64_t[]){1, 0, 1}, 3);
    assert_integers(rl_any(a, .dim = RL_NO_DIMS, .keepdim = true), RL_BOOL, (const int64_t[]){1, 0, 1}, 3);
    assert_integers(rl_any(rl_full(RL_DIMS(2), 2, .dtype = RL_U8), .dim = RL_NO_DIMS), RL_U8, (const int64_t[]){1, 1},
                    2);
    assert_integers(rl_all(a), RL_BOOL, (const int64_t[]){0}, 1);
}

static void test_creation(void **state) {
    (void)state;
    RL_SCOPE();
    assert_integers(rl_arange(5), RL_I64, (const int64_t[]){0, 1, 2, 3, 4}, 5);
    assert_integers(rl_arange(10, .end = 1, .step = -4), RL_I64, (const int64_t[]){10, 6, 2}, 3);
    assert_floats(rl_arange(0.0, .end = 1, .step = 0.25), (const float[]){0, 0.25f, 0.5f, 0.75f}, 4);
    assert_floats(rl_linspace(0, 1, 5), (const float[]){0, 0.25f, 0.5f, 0.75f, 1}, 5);
    assert_floats(rl_linspace(3, 4, 1), (const float[]){3}, 1);
    assert_integers(rl_eye(2, .m = 3, .dtype = RL_I64), RL_I64, (const int64_t[]){1, 0, 0, 0, 1, 0}, 6);
    assert_int_equal(rl_tensor_dtype(rl_full(RL_DIMS(1), (bool)true)), RL_BOOL);
    rl_arange(0, .end = 5, .step = -1);
    expect(RL_INVALID_ARGUMENT, "arange: end 5 cannot be reached from start 0 by steps of -1");
    rl_zeros(RL_DIMS(-1));
    expect(RL_INVALID_ARGUMENT, "zeros: ");
}

static void test_copies(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *a = floats((const float[]){1.75f, -1.75f, 300.0f, 0.0f}, 4);
    assert_integers(rl_to(a, .dtype = RL_I64), RL_I64, (const int64_t[]){1, -1, 300, 0}, 4);
    assert_integers(rl_to(a, .dtype = RL_BOOL), RL_BOOL, (const int64_t[]){1, 1, 1, 0}, 4);
    assert_ptr_equal(rl_to(a, .dtype = RL_F32), a);
    assert_ptr_equal(rl_contiguous(a), a);
    assert_false(rl_tensor_shares_storage(rl_to(a, .copy = true), a));
    rl_tensor *grid = rl_zeros(RL_DIMS(2, 4));
    rl_copy_(grid, a);
    assert_floats(grid, (const float[]){1.75f, -1.75f, 300, 0, 1.75f, -1.75f, 300, 0}, 8);
    rl_copy_(grid, rl_zeros(RL_DIMS(3)));
    expect(RL_SHAPE_MISMATCH, "copy_: src (3) does not broadcast to self (2, 4)");
    rl_fill_(rl_expand(a, RL_DIMS(2, 4)), 1);
    expect(RL_INVALID_ARGUMENT, "one place in memory");
}

static void test_random(void **state) {
    (void)state;
    RL_SCOPE();
    float first[8], again[8];
    rl_manual_seed(7);
    rl_tensor_read(rl_rand(RL_DIMS(8)), first, sizeof first);
    rl_manual_seed(7);
    rl_tensor_read(rl_rand(RL_DIMS(8)), again, sizeof again);
    assert_memory_equal(first, again, sizeof first);
    rl_tensor *order = rl_randperm(100);
    rl_tensor *seen = rl_zeros(RL_DIMS(100), .dtype = RL_I64);
    int64_t values[100];
    rl_tensor_read(order, values, sizeof values);
    for (int i = 0; i < 100; i++) {
        assert_in_range(values[i], 0, 99);
        rl_fill_(rl_select(seen, 0, values[i]), 1);
    }
    assert_int_equal(rl_item_int(rl_sum(seen)), 100);
    rl_tensor *wide = rl_randint(-5, INT64_C(1) << 60, RL_DIMS(64));
    assert_true(rl_item_int(rl_sum(rl_lt(wide, -5))) == 0);
    assert_true(rl_item_int(rl_sum(rl_gt(wide, INT64_C(1) << 33))) > 0);
    rl_tensor *kept = rl_dropout(rl_ones(RL_DIMS(1000)), 0.25, true);
    double mean = rl_item(rl_sum(kept)) / 1000.0;
    assert_true(mean > 0.85 && mean < 1.15);
    assert_ptr_equal(rl_dropout(kept, 0.5, false), kept);
    rl_randint(3, 3, RL_DIMS(2));
    expect(RL_INVALID_ARGUMENT, "randint: low must be less than high, got 3 and 3");
    rl_dropout(kept, 1.5, true);
    expect(RL_INVALID_ARGUMENT, "dropout: p must lie within 0 and 1, got 1.5");
}

static void test_losses_refuse(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *logits = rl_zeros(RL_DIMS(4, 3));
    rl_mse_loss(logits, logits, .reduction = "max");
    expect(RL_INVALID_ARGUMENT, "mse_loss: reduction must be 'none', 'mean' or 'sum', got 'max'");
    rl_cross_entropy(logits, rl_zeros(RL_DIMS(5), .dtype = RL_I64));
    expect(RL_SHAPE_MISMATCH, "cross_entropy: target (5) must have the shape of input (4, 3) without its classes");
    (void)rl_item(rl_cross_entropy(logits, rl_full(RL_DIMS(4), 3))); /* known at once, or when the result is read */
    assert_int_equal(rl_error_status(), RL_INDEX_OUT_OF_RANGE);
    rl_error_clear();
    rl_tensor *ignored = rl_cross_entropy(logits, rl_full(RL_DIMS(4), -100));
    assert_true(isnan(rl_item(ignored)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recorded),
        cmocka_unit_test(test_nan_and_infinities),
        cmocka_unit_test(test_rounded_division),
        cmocka_unit_test(test_integer_powers),
        cmocka_unit_test(test_large_integer_powers),
        cmocka_unit_test(test_ldexp),
        cmocka_unit_test(test_numbers_wrap),
        cmocka_unit_test(test_medians),
        cmocka_unit_test(test_truths_of_each),
        cmocka_unit_test(test_promotion),
        cmocka_unit_test(test_creation),
        cmocka_unit_test(test_copies),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_losses_refuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
