/* SPDX-License-Identifier: Apache-2.0 */
/* Clipping: PyTorch's numbers, dtypes, non-finite norms, many gradients in one call. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "dispatch/device.h"
#include "rushlight/rushlight.h"

enum { MANY = 150 };

/* A leaf with a gradient of these numbers. */
static rl_tensor *leaf(const float *gradient, int64_t count, rl_dtype dtype) {
    rl_tensor *p = rl_requires_grad(rl_zeros(RL_INTS(&count, 1), .dtype = dtype), true);
    rl_set_grad(p, rl_to(rl_tensor_from_data(gradient, RL_INTS(&count, 1), RL_F32, NULL), .dtype = dtype));
    return p;
}
static void assert_gradient(rl_tensor *p, const float *want, int count, float tolerance) {
    float got[8] = {0};
    rl_tensor_read(rl_to(rl_grad(p), .dtype = RL_F32), got, (size_t)count * sizeof *got);
    assert_int_equal(rl_error_status(), RL_OK);
    for (int i = 0; i < count; i++)
        if (!(fabsf(got[i] - want[i]) <= tolerance))
            fail_msg("element %d is %.9g, not %.9g", i, (double)got[i], (double)want[i]);
}

static const float a[] = {3.0f, -4.0f}, b[] = {12.0f};

/* The norm of (3, -4, 12) is 13. */
static void test_norm(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *p[] = {leaf(a, 2, RL_F32), rl_requires_grad(rl_zeros(RL_DIMS(3)), true), leaf(b, 1, RL_F32)};
    rl_tensors all = {p, 3};
    assert_true(rl_item(rl_clip_grad_norm(NULL, 20.0, .parameters = all)) == 13.0);
    assert_gradient(p[0], a, 2, 0.0f);
    assert_true(rl_item(rl_clip_grad_norm(NULL, 6.5, .parameters = all)) == 13.0);
    assert_gradient(p[0], (float[]){1.5f, -2.0f}, 2, 1e-6f);
    assert_gradient(p[2], (float[]){6.0f}, 1, 1e-6f);
    assert_true(fabs(rl_item(rl_clip_grad_norm(NULL, 3.0, .norm_type = INFINITY, .parameters = all)) - 6.0) < 1e-6);
    assert_gradient(p[2], (float[]){3.0f}, 1, 1e-6f);
    assert_true(fabs(rl_item(rl_clip_grad_norm(NULL, 100.0, .norm_type = 1.0, .parameters = all)) - 4.75) < 1e-6);
    rl_tensor *counted = rl_clip_grad_norm(NULL, 100.0, .norm_type = (double)RL_ZERO, .parameters = all);
    assert_true(rl_item(counted) == 2.0); /* gradients that are not all 0 */
    assert_true(rl_item(rl_clip_grad_norm(rl_nn_linear(2, 2), 1.0)) == 0.0);
    assert_int_equal(rl_error_status(), RL_OK);
}

static void test_dtypes(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *p[] = {leaf(a, 2, RL_BF16), leaf(b, 1, RL_F16), leaf(a, 2, RL_F32), leaf(b, 1, RL_F64)};
    rl_tensor *norm = rl_clip_grad_norm(NULL, 1.0, .parameters = ((rl_tensors){p, 4}));
    assert_true(fabs(rl_item(norm) - sqrt(338.0)) < 0.05);
    float by = 1.0f / sqrtf(338.0f);
    assert_gradient(p[0], (float[]){3 * by, -4 * by}, 2, 1e-3f);
    assert_gradient(p[1], (float[]){12 * by}, 1, 1e-3f);
    assert_gradient(p[3], (float[]){12 * by}, 1, 1e-3f);
    assert_int_equal(rl_tensor_dtype(rl_grad(p[0])), RL_BF16);
}

static void test_not_finite(void **state) {
    (void)state;
    RL_SCOPE();
    float got[2];
    rl_tensor *p = leaf((float[]){1.0f, INFINITY}, 2, RL_F32);
    assert_null(rl_clip_grad_norm(NULL, 1.0, .error_if_nonfinite = true, .parameters = ((rl_tensors){&p, 1})));
    assert_non_null(strstr(rl_error_text(), "is inf and cannot be clipped"));
    rl_error_clear();
    rl_tensor_read(rl_grad(p), got, sizeof got);
    assert_true(got[0] == 1.0f && isinf(got[1]));
    assert_true(isinf(rl_item(rl_clip_grad_norm(NULL, 1.0, .parameters = ((rl_tensors){&p, 1})))));
    rl_tensor_read(rl_grad(p), got, sizeof got);
    assert_true(got[0] == 0.0f && isnan(got[1])); /* as PyTorch: times 0 */
    assert_null(rl_clip_grad_norm(NULL, 1.0));
    assert_non_null(strstr(rl_error_text(), "neither a module nor"));
    rl_error_clear();
    assert_null(rl_clip_grad_norm(NULL, NAN, .parameters = ((rl_tensors){&p, 1})));
    rl_error_clear();
    rl_tensor *wide = rl_requires_grad(rl_zeros(RL_DIMS(4)), true);
    rl_set_grad(wide, rl_expand(rl_full(RL_DIMS(1), 2.0), RL_DIMS(4)));
    assert_null(rl_clip_grad_norm(NULL, 1.0, .parameters = ((rl_tensors){&wide, 1})));
    assert_non_null(strstr(rl_error_text(), "one place in memory"));
    rl_error_clear();
}

static rl_status (*real_map)(rl_backend_stream *stream, const rl_map_args *args);
static int map_calls;
static rl_status counting_map(rl_backend_stream *stream, const rl_map_args *args) {
    map_calls++;
    return real_map(stream, args);
}

static void test_value(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *p[MANY];
    for (int i = 0; i < MANY; i++)
        p[i] = leaf((float[]){-3.0f, 0.25f, NAN, (float)i}, 4, i % 2 ? RL_F32 : RL_F16);
    rl_device *device = p[0]->storage->device;
    real_map = device->api.map;
    device->api.map = counting_map;
    assert_int_equal(rl_clip_grad_value(NULL, 0.5, .parameters = ((rl_tensors){p, MANY})), RL_OK);
    device->api.map = real_map;
    assert_int_equal(map_calls, 2); /* one for each dtype */
    for (int i = 0; i < MANY; i++) {
        float got[4];
        rl_tensor_read(rl_to(rl_grad(p[i]), .dtype = RL_F32), got, sizeof got);
        assert_true(got[0] == -0.5f && got[1] == 0.25f && isnan(got[2]) && got[3] == (i == 0 ? 0.0f : 0.5f));
    }
    rl_tensor *norm = rl_clip_grad_norm(NULL, 1.0, .parameters = ((rl_tensors){p, MANY}));
    assert_true(isnan(rl_item(norm)));
}

static void test_without_memory(void **state) {
    (void)state;
    for (uint64_t n = 1; n < 400; n++) {
        RL_SCOPE();
        rl_tensor *p[] = {leaf(a, 2, RL_F32), leaf(b, 1, RL_F16)};
        rl_alloc_fail_at(n, false);
        rl_clip_grad_norm(NULL, 1.0, .parameters = ((rl_tensors){p, 2}));
        rl_alloc_fail_at(0, false);
        bool failed = rl_failed();
        assert_int_equal(rl_error_status(), failed ? RL_OUT_OF_MEMORY : RL_OK);
        rl_error_clear();
        if (!failed)
            return;
    }
    fail_msg("there is no end of allocations");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_norm), cmocka_unit_test(test_dtypes),
                                       cmocka_unit_test(test_not_finite), cmocka_unit_test(test_value),
                                       cmocka_unit_test(test_without_memory)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rl_shutdown();
    return failed;
}
