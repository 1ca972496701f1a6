/* SPDX-License-Identifier: Apache-2.0 */
/* native_norm and its backward at sizes that samples do not have: rows in parts, strips of columns, groups, memory past
 * the caches. onednn's fused rows against the lowering in float64, and the same bits on any number of threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "rushlight/device.h"
#include "rushlight/ops.h"
#include "rushlight/testing.h"

typedef struct norm_case {
    int64_t shape[5];     /* ends with 0 */
    int64_t order[5];     /* of the dimensions in memory; all 0: row-major */
    int64_t dims[4];      /* normalized; -1 ends them */
    int64_t affine[5];    /* the shape of weight; ends with 0 */
    bool center, strided; /* strided: grad_output is expanded along its last dimension */
} norm_case;

static const norm_case cases[] = {
    {{300, 1000}, {0}, {1, -1}, {1000}, true, false},                    /* layer norm */
    {{300, 1000}, {0}, {1, -1}, {1000}, false, true},                    /* RMS norm */
    {{70000, 8}, {0}, {1, -1}, {8}, true, false},                        /* of short rows */
    {{3, 40000}, {0}, {1, -1}, {40000}, true, false},                    /* of few rows in parts */
    {{20, 20000}, {0}, {1, -1}, {20000}, true, false},                   /* of more */
    {{3400, 1000}, {0}, {1, -1}, {1000}, true, false},                   /* past the caches */
    {{5, 6, 7, 8}, {0, 2, 3, 1}, {1, 2, 3, -1}, {6, 7, 8}, true, false}, /* of channels-last images */
    {{8, 3, 100, 220}, {0}, {0, 2, 3, -1}, {3, 1, 1}, true, false},      /* batch norm of few channels */
    {{40, 30, 7, 7}, {0}, {0, 2, 3, -1}, {30, 1, 1}, true, true},
    {{64, 32, 28, 28}, {0, 2, 3, 1}, {0, 2, 3, -1}, {32, 1, 1}, true, false}, /* of channels-last images */
    {{50, 24, 9, 7}, {0, 2, 3, 1}, {0, 2, 3, -1}, {24, 1, 1}, true, false},
    {{41, 3, 33, 5}, {0, 2, 3, 1}, {0, 2, 3, -1}, {3, 1, 1}, false, false},
    {{50, 24, 9, 7}, {0, 2, 3, 1}, {0, 2, 3, -1}, {24, 1, 1}, true, true},
    {{5000, 300}, {0}, {0, -1}, {300}, true, false}, /* of vectors */
    {{7, 3}, {0}, {0, -1}, {3}, true, false},
    {{3300, 1000}, {0}, {0, -1}, {1000}, true, false},        /* past the caches */
    {{6, 4, 5, 49}, {0}, {2, 3, -1}, {4, 5, 1}, true, false}, /* group norm */
    {{2, 3, 5, 20000}, {0}, {2, 3, -1}, {3, 5, 1}, true, false},
    {{6, 4, 5, 7, 7}, {0, 3, 4, 1, 2}, {2, 3, 4, -1}, {4, 5, 1, 1}, true, false}, /* of channels-last images */
    {{3, 2, 300, 3, 7}, {0, 3, 4, 1, 2}, {2, 3, 4, -1}, {2, 300, 1, 1}, true, false},
    {{6, 20, 50}, {0, 2, 1}, {2, -1}, {20, 1}, true, false}, /* instance norm of channels last */
    {{6, 20, 50}, {0}, {2, -1}, {20, 1}, true, false},
};

static rl_device *onednn;

static rl_ints sizes(const int64_t *list) {
    int64_t count = 0;
    while (count < 5 && list[count] > 0)
        count++;
    return RL_INTS(list, count);
}
static rl_ints normalized(const norm_case *c) {
    int64_t count = 0;
    while (c->dims[count] >= 0)
        count++;
    return RL_INTS(c->dims, count);
}

/* Normal numbers around `center`, in the case's order in memory. */
static rl_tensor *draw(const norm_case *c, rl_ints shape, double center, bool ordered) {
    int64_t inner[5], back[5], ndim = shape.count;
    if (!ordered || c->order[1] == 0)
        return rl_add(rl_randn(shape), center);
    for (int64_t d = 0; d < ndim; d++) {
        inner[d] = shape.data[c->order[d]];
        back[c->order[d]] = d;
    }
    return rl_add(rl_permute(rl_randn(RL_INTS(inner, ndim)), RL_INTS(back, ndim)), center);
}

typedef struct arguments {
    rl_tensor *x, *g, *weight, *bias;
} arguments;

static arguments in_dtype(const arguments *a, rl_dtype dtype, rl_dtype param) {
    return (arguments){rl_to(a->x, .dtype = dtype), rl_to(a->g, .dtype = dtype), rl_to(a->weight, .dtype = param),
                       rl_to(a->bias, .dtype = param)};
}

/* output, mean, var, grad_input, grad_weight, grad_bias */
#define RESULTS 6
static void run(const norm_case *c, const arguments *a, rl_tensor **out) {
    rl_tensor *g = a->g;
    rl_native_norm_result r = rl_native_norm(a->x, normalized(c), a->weight, a->bias, 1e-5, c->center);
    if (c->strided)
        g = rl_expand(rl_narrow(g, -1, 0, 1), RL_INTS(rl_tensor_shape(g), rl_tensor_ndim(g)));
    rl_native_norm_backward_result b = rl_native_norm_backward(g, a->x, a->weight, c->center ? r.mean : NULL, r.var,
                                                               normalized(c), 1e-5, true, true, true);
    rl_tensor *all[RESULTS] = {r.output, r.mean, r.var, b.grad_input, b.grad_weight, b.grad_bias};
    memcpy(out, all, sizeof all);
    assert_string_equal(rl_error_text(), "");
}

static void compare(size_t number, rl_tensor *const *got, rl_tensor *const *want, double bound) {
    static const char *const names[RESULTS] = {"output", "mean", "var", "grad_input", "grad_weight", "grad_bias"};
    for (int i = 0; i < RESULTS; i++) {
        if (rl_tensor_numel(want[i]) == 0)
            continue;
        const double most = rl_item(rl_max(rl_abs(want[i])));
        const double error = rl_item(rl_max(rl_abs(rl_sub(rl_to(got[i], .dtype = RL_F64), want[i]))));
        if (!(error <= bound * most))
            fail_msg("case %zu: %s is off by %g of %g", number, names[i], error, most);
    }
}

static void try_dtype(size_t number, rl_dtype dtype, rl_dtype param, double bound) {
    RL_SCOPE();
    rl_manual_seed((int64_t)number);
    const norm_case *c = &cases[number];
    rl_tensor *want[RESULTS], *got[RESULTS], *again[RESULTS];
    const arguments drawn = {draw(c, sizes(c->shape), 1.5, true), draw(c, sizes(c->shape), 0.0, true),
                             draw(c, sizes(c->affine), 1.5, false), draw(c, sizes(c->affine), 0.0, false)};
    const arguments a = in_dtype(&drawn, dtype, param), wide = in_dtype(&a, RL_F64, RL_F64);
    run(c, &wide, want);
    setenv("RUSHLIGHT_THREADS", "1", 1);
    run(c, &a, got);
    setenv("RUSHLIGHT_THREADS", "3", 1);
    run(c, &a, again);
    unsetenv("RUSHLIGHT_THREADS");
    compare(number, got, want, bound);
    for (int i = 0; i < RESULTS; i++)
        if (rl_tensor_numel(got[i]) > 0)
            assert_true(rl_equal(got[i], again[i]));
}

static void test_fused(void **state) {
    (void)state;
    if (onednn == NULL)
        skip();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        try_dtype(i, RL_F32, RL_F32, 1e-5);
}

static void test_half(void **state) {
    (void)state;
    if (onednn == NULL)
        skip();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        try_dtype(i, RL_BF16, RL_F32, 1.0 / 128);
        try_dtype(i, RL_F16, RL_F16, 1.0 / 1024);
    }
}

int main(void) {
    setenv("RUSHLIGHT_BACKEND_PATH", TEST_BINARY_DIR "/lib/rushlight", 0);
    onednn = rl_device_get("onednn");
    if (onednn == NULL)
        fprintf(stderr, "SKIPPED: %s\n", rl_error_text());
    rl_error_clear();
    if (onednn)
        rl_device_set_default(onednn);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_fused), cmocka_unit_test(test_half)};
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rl_shutdown();
    return failed;
}
