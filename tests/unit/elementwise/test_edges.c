/* SPDX-License-Identifier: Apache-2.0 */
/* Single numbers at the edges of elementwise ops, on every device at hand: those of mpmath and of PyTorch. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "rushlight/device.h"
#include "rushlight/ops.h"

#define COUNT(array) ((int64_t)(sizeof(array) / sizeof *(array)))

static int use_device(void **state) {
    rl_device *device = rl_device_get(*state);
    if (device != NULL && rl_device_set_default(device) == RL_OK)
        return 0;
    fprintf(stderr, "SKIPPED on %s: %s\n", (const char *)*state, rl_error_text());
    rl_error_clear();
    *state = NULL;
    return 0;
}
#define ON_DEVICE(state)                                                                                               \
    if (*(state) == NULL)                                                                                              \
        skip();                                                                                                        \
    RL_SCOPE()

static rl_tensor *numbers(const double *values, int64_t count, rl_dtype dtype) {
    return rl_to(rl_tensor_from_data(values, RL_DIMS(count), RL_F64, NULL), .dtype = dtype);
}
/* Equal to `relative`, zeros with their sign, NaN to NaN. */
static void assert_numbers(const char *what, rl_tensor *got, const double *want, int64_t count, double relative) {
    double values[64];
    assert_int_equal(rl_error_status(), RL_OK);
    assert_int_equal(rl_tensor_numel(got), count);
    rl_tensor_read(rl_to(got, .dtype = RL_F64), values, (size_t)count * sizeof *values);
    for (int64_t i = 0; i < count; i++) {
        bool near = values[i] == want[i] ? signbit(values[i]) == signbit(want[i])
                                         : fabs(values[i] - want[i]) <= relative * fabs(want[i]);
        if (!near && !(isnan(values[i]) && isnan(want[i])))
            fail_msg("%s: element %d is %.17g, must be %.17g", what, (int)i, values[i], want[i]);
    }
}
static void assert_error(rl_status status, const char *sentence) {
    if (rl_error_status() != status || !strstr(rl_error_text(), sentence))
        fail_msg("%d '%s', must be %d with '%s'", (int)rl_error_status(), rl_error_text(), (int)status, sentence);
    rl_error_clear();
}

/* mpmath's, of the doubles as they are: mpmath.mp.dps = 40; mpmath.erfinv(mpmath.mpf(x)). */
static const struct {
    double x, y;
} erfinv_table[] = {
    {1e-300, 8.86226925452758e-301},
    {1e-20, 8.86226925452758e-21},
    {1e-08, 8.86226925452758e-09},
    {0.001, 0.0008862271574665521},
    {0.03, 0.02659307523408841},
    {0.1, 0.08885599049425769},
    {0.25, 0.2253120550121781},
    {0.4, 0.37080715859355795},
    {0.49999999, 0.47693626507862175},
    {0.5, 0.4769362762044699},
    {0.50000001, 0.4769362873303182},
    {0.6, 0.5951160814499948},
    {0.75, 0.8134198475976185},
    {0.9, 1.1630871536766743},
    {0.95, 1.3859038243496777},
    {0.99, 1.8213863677184494},
    {0.995, 1.984872612615532},
    {0.9966, 2.071150939906553},
    {0.999, 2.3267537655135246},
    {0.9999, 2.75106390571208},
    {0.99999, 3.123413274341571},
    {0.999999, 3.458910737275499},
    {0.9999999, 3.7665625816384707},
    {0.99999994, 3.831671051435217},
    {0.999999944, 3.840385069056697},
    {0.99999999, 4.052237243268763},
    {0.9999999999, 4.572824958544925},
    {0.999999999999, 5.042031898572696},
    {0.9999999999999, 5.261483331372676},
    {0.999999999999999, 5.675915739744713},
    {0.9999999999999998, 5.805018683193453},
    {0.9999999999999999, 5.8635847487551676},
};

static void test_erfinv(void **state) {
    ON_DEVICE(state);
    double x[2 * COUNT(erfinv_table)], y[COUNT(x)];
    for (int64_t i = 0; i < COUNT(erfinv_table); i++) {
        x[2 * i] = erfinv_table[i].x, y[2 * i] = erfinv_table[i].y;
        x[2 * i + 1] = -x[2 * i], y[2 * i + 1] = -y[2 * i];
    }
    assert_numbers("erfinv", rl_erfinv(numbers(x, COUNT(x), RL_F64)), y, COUNT(x), 4e-15);
    const double ends[] = {1, -1, 1.5, -2, NAN, 0}, at_ends[] = {INFINITY, -INFINITY, NAN, NAN, NAN, 0};
    assert_numbers("erfinv", rl_erfinv(numbers(ends, 6, RL_F64)), at_ends, 6, 0);
    const double last = 1 - 0x1p-24, at_last = 3.8325068569007109; /* the last float before 1 */
    assert_numbers("erfinv", rl_erfinv(numbers(&last, 1, RL_F32)), &at_last, 1, 1e-6);
}

static void test_hypot(void **state) {
    ON_DEVICE(state);
    const double p[] = {INFINITY, NAN, NAN, -INFINITY, 0, NAN, 3}, q[] = {NAN, -INFINITY, 0, 1, 0, NAN, 4};
    const double y[] = {INFINITY, INFINITY, NAN, INFINITY, 0, NAN, 5};
    for (rl_dtype dtype = RL_F32; dtype <= RL_BF16; dtype++)
        if (rl_dtype_is_float(dtype))
            assert_numbers("hypot", rl_hypot(numbers(p, 7, dtype), numbers(q, 7, dtype)), y, 7, 0);
}

static void test_logaddexp2(void **state) {
    ON_DEVICE(state);
    const double p[] = {0, -104, INFINITY, -INFINITY}, q[] = {-104, 0, INFINITY, -INFINITY};
    const double y[] = {7.113035724e-32, 7.113035724e-32, INFINITY, -INFINITY};
    assert_numbers("logaddexp2", rl_logaddexp2(numbers(p, 4, RL_F32), numbers(q, 4, RL_F32)), y, 4, 1e-6);
}

/* A zero within the bounds keeps its sign. */
static void test_signs_of_zeros(void **state) {
    ON_DEVICE(state);
    double minus[35], plus[35];
    for (int i = 0; i < 35; i++)
        minus[i] = -0.0, plus[i] = 0.0;
    for (rl_dtype dtype = RL_F32; dtype <= RL_BF16; dtype++) {
        if (!rl_dtype_is_float(dtype))
            continue;
        rl_tensor *x = numbers(minus, 35, dtype), *p = numbers(plus, 35, dtype);
        assert_numbers("relu", rl_relu(x), minus, 35, 0);
        assert_numbers("relu6", rl_relu6(x), minus, 35, 0);
        assert_numbers("hardtanh", rl_hardtanh(x, .min_val = RL_ZERO), minus, 35, 0);
        assert_numbers("clamp", rl_clamp(x, .min = RL_VALUE(0), .max = RL_VALUE(0)), minus, 35, 0);
        assert_numbers("clamp_min", rl_clamp_min(x, 0), minus, 35, 0);
        assert_numbers("clamp_max", rl_clamp_max(p, -0.0), plus, 35, 0);
    }
}

/* Beside a tensor of bytes a number is a byte: it wraps, in comparisons too. Alone it must fit. */
static void test_bytes(void **state) {
    ON_DEVICE(state);
    rl_tensor *x = numbers((const double[]){0, 1, 255}, 3, RL_U8);
    assert_numbers("eq -1", rl_eq(x, -1), (const double[]){0, 0, 1}, 3, 0);
    assert_numbers("ne 256", rl_ne(x, 256), (const double[]){0, 1, 1}, 3, 0);
    assert_numbers("lt -1", rl_lt(x, -1), (const double[]){1, 1, 0}, 3, 0);
    assert_numbers("le 300", rl_le(x, 300), (const double[]){1, 1, 0}, 3, 0);
    assert_numbers("gt -1", rl_gt(x, -1), (const double[]){0, 0, 0}, 3, 0);
    assert_numbers("ge 256", rl_ge(x, 256), (const double[]){1, 1, 1}, 3, 0);
    assert_numbers("gt -0.5", rl_gt(x, -0.5), (const double[]){1, 1, 1}, 3, 0);
    assert_numbers("remainder 300", rl_remainder(x, 300), (const double[]){0, 1, 35}, 3, 0);
    assert_numbers("clamp -1", rl_clamp_min(x, -1), (const double[]){0, 1, 255}, 3, 0);
    assert_numbers("clamp 300", rl_clamp_max(x, 300), (const double[]){0, 1, 255}, 3, 0);
    assert_numbers("full -1", rl_full_like(x, -1), (const double[]){255, 255, 255}, 3, 0);
    rl_where(rl_eq(x, 1), x, 300);
    assert_error(RL_INVALID_ARGUMENT, "where: other is 300, which uint8 cannot hold");
    rl_masked_fill(x, rl_eq(x, 1), -300);
    assert_error(RL_INVALID_ARGUMENT, "masked_fill: value is -300, which uint8 cannot hold");
    rl_fill_(x, 1e9);
    assert_error(RL_INVALID_ARGUMENT, "fill_: value is 1e+09, which uint8 cannot hold");
    rl_threshold(x, 1, 256);
    assert_error(RL_INVALID_ARGUMENT, "threshold: value is 256, which uint8 cannot hold");
    rl_index_fill(x, 0, rl_zeros(RL_DIMS(1), .dtype = RL_I64), 256);
    assert_error(RL_INVALID_ARGUMENT, "index_fill: value is 256, which uint8 cannot hold");
}

#define TESTS(name)                                                                                                    \
    cmocka_unit_test_prestate_setup_teardown(name, use_device, NULL, "ref"),                                           \
        cmocka_unit_test_prestate_setup_teardown(name, use_device, NULL, "onednn")

int main(void) {
    setenv("RUSHLIGHT_BACKEND_PATH", TEST_BINARY_DIR "/lib/rushlight", 0);
    const struct CMUnitTest tests[] = {
        TESTS(test_erfinv), TESTS(test_hypot), TESTS(test_logaddexp2), TESTS(test_signs_of_zeros), TESTS(test_bytes),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rl_shutdown();
    return failed;
}
