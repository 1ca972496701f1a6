/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of autograd share: short tensors, and looking at them. */
#ifndef RUSHLIGHT_TESTS_UNIT_AUTOGRAD_SUPPORT_H
#define RUSHLIGHT_TESTS_UNIT_AUTOGRAD_SUPPORT_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "rushlight/autograd.h"
#include "rushlight/device.h"
#include "rushlight/ops.h"

#define COUNT(...) ((int64_t)(sizeof((const double[]){__VA_ARGS__}) / sizeof(double)))
/* A float64 tensor of these numbers; a leaf that requires gradients. */
#define CONSTANT(...) constant((const double[]){__VA_ARGS__}, COUNT(__VA_ARGS__))
#define LEAF(...) rl_requires_grad(CONSTANT(__VA_ARGS__), true)
/* The elements of a tensor, row-major, are these. */
#define HAS(tensor, ...) has(tensor, (const double[]){__VA_ARGS__}, COUNT(__VA_ARGS__), __FILE__, __LINE__)

static inline rl_tensor *constant(const double *values, int64_t count) {
    return rl_tensor_from_data(values, (rl_ints){&count, 1}, RL_F64, rl_device_get("ref"));
}

static inline void has(rl_tensor *tensor, const double *values, int64_t count, const char *file, int line) {
    double found[64];
    if (rl_failed())
        print_error("%s\n", rl_error_text());
    _assert_true(!rl_failed(), "no error", file, line);
    _assert_true(tensor != NULL, "a tensor", file, line);
    _assert_int_equal((uintmax_t)rl_tensor_numel(tensor), (uintmax_t)count, file, line);
    RL_SCOPE();
    RL_NO_GRAD();
    rl_tensor_read(rl_to(tensor, .dtype = RL_F64), found, (size_t)count * sizeof *found);
    for (int64_t i = 0; i < count; i++) {
        if (!(fabs(found[i] - values[i]) <= 1e-12 + 1e-9 * fabs(values[i])))
            print_error("element %d is %.17g, expected %.17g\n", (int)i, found[i], values[i]);
        _assert_true(fabs(found[i] - values[i]) <= 1e-12 + 1e-9 * fabs(values[i]), "equal", file, line);
    }
}

/* The thread's error is of this status, and its sentence holds these words. Clears it. */
#define FAILED_WITH(status, words) failed_with(status, words, __FILE__, __LINE__)
static inline void failed_with(rl_status status, const char *words, const char *file, int line) {
    if (rl_error_status() != status || strstr(rl_error_text(), words) == NULL)
        print_error("status %d '%s', expected %d '%s'\n", rl_error_status(), rl_error_text(), status, words);
    _assert_int_equal((uintmax_t)rl_error_status(), (uintmax_t)status, file, line);
    _assert_true(strstr(rl_error_text(), words) != NULL, words, file, line);
    rl_error_clear();
}
#define NO_ERROR() has_no_error(__FILE__, __LINE__)
static inline void has_no_error(const char *file, int line) {
    if (rl_failed())
        print_error("%s\n", rl_error_text());
    _assert_true(!rl_failed(), "no error", file, line);
}

/* Each test begins without an error or a mode that a failed one left, on the device that can be counted on. */
static inline int begin(void **state) {
    (void)state;
    rl_device_set_default(rl_device_get("ref"));
    rl_error_clear();
    rl_set_grad_enabled(true);
    return 0;
}
#define TEST(function) cmocka_unit_test_setup(function, begin)

static inline int finish(int failures) {
    rl_shutdown();
    return failures;
}

#endif
