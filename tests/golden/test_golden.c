/* SPDX-License-Identifier: Apache-2.0 */
/* Every recorded call, made by name on each device at hand, gives what PyTorch gave: values, shapes, dtypes, gradients.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "answers.h"
#include "rushlight/autograd.h"
#include "rushlight/device.h"
#include "rushlight/ops.h"

#define MAX_LEAVES 16

/* A call with its tensors on the device; leaves are the floating ones, in the order of the record. */
typedef struct golden_call {
    rl_argument arguments[MAX_VALUES];
    rl_tensor *lists[MAX_VALUES][MAX_VALUES];
    rl_tensor *leaves[MAX_LEAVES];
    int n_leaves;
    rl_tensor *results[MAX_VALUES];
    int64_t n_results;
} golden_call;

/* Making ---------------------------------------------------------------------------------------------------------- */

/* The same elements, lying in memory as the record says. */
static rl_tensor *lay_out(rl_tensor *x, char layout) {
    if (layout == 't') {
        int64_t reversed[RL_MAX_DIMS], ndim = rl_tensor_ndim(x);
        for (int64_t d = 0; d < ndim; d++)
            reversed[d] = ndim - 1 - d;
        rl_ints order = {reversed, ndim};
        return rl_permute(rl_contiguous(rl_permute(x, order)), order);
    }
    if (layout == 's')
        return rl_select(rl_stack(RL_TENSORS(x, rl_full_like(x, 99)), .dim = -1), -1, 0);
    if (layout == 'e') {
        rl_ints shape = {rl_tensor_shape(x), rl_tensor_ndim(x)};
        rl_tensor *one = x;
        for (int64_t d = 0; d < shape.count; d++)
            one = rl_narrow(one, d, 0, 1);
        return rl_expand(rl_contiguous(one), shape);
    }
    return x;
}

static rl_tensor *make_tensor(const recorded *r, rl_device *device) {
    rl_ints shape = {r->shape, r->ndim};
    const void *data = r->is_float ? (const void *)r->floats : (const void *)r->ints;
    rl_tensor *wide = rl_tensor_from_data(data, shape, r->is_float ? RL_F64 : RL_I64, device);
    return lay_out(rl_to(wide, .dtype = r->dtype), r->layout);
}

static rl_tensor *make_leaf(golden_call *call, const recorded *r, rl_device *device) {
    rl_tensor *x = make_tensor(r, device);
    if (r->is_float && call->n_leaves < MAX_LEAVES)
        call->leaves[call->n_leaves++] = rl_requires_grad(x, true);
    return x;
}

static void make_call(golden_call *call, const answer *a, rl_device *device) {
    call->n_leaves = 0;
    for (int i = 0; i < a->n_parameters; i++) {
        const parameter *p = &a->parameters[i];
        rl_value value = p->value;
        for (int k = 0; k < p->n_tensors; k++)
            call->lists[i][k] = make_leaf(call, &p->tensors[k], device);
        if (p->is_list)
            value = (rl_value){.kind = RL_VALUE_TENSORS, .as.tensors = {call->lists[i], p->n_tensors}};
        else if (p->n_tensors == 1)
            value = rl_value_of_tensor(call->lists[i][0]);
        call->arguments[i] = (rl_argument){p->name[0] ? p->name : NULL, value};
    }
    rl_op_call(a->op, call->arguments, a->n_parameters, call->results, MAX_VALUES, &call->n_results);
}

/* Comparing ------------------------------------------------------------------------------------------------------- */

static bool differs(const answer *a, const char *what, int number) {
    fprintf(stderr, "answers.txt:%d: %s: %s %d: ", a->line, a->op, what, number);
    return false;
}

/* A few units in the last place of the dtype for each of the few steps of these calls. */
static double tolerance(rl_dtype dtype) {
    return dtype == RL_F64 ? 1e-12 : dtype == RL_F32 ? 2e-5 : 2e-3;
}

static bool numbers_agree(const answer *a, const char *what, int number, const rl_tensor *y, const recorded *want,
                          double bound) {
    double floats[MAX_NUMBERS];
    int64_t ints[MAX_NUMBERS];
    rl_tensor *wide = rl_to((rl_tensor *)(uintptr_t)y, .dtype = want->is_float ? RL_F64 : RL_I64);
    size_t bytes = (size_t)want->numel * 8;
    if (rl_tensor_read(wide, want->is_float ? (void *)floats : (void *)ints, bytes) != RL_OK)
        return differs(a, what, number), fprintf(stderr, "%s\n", rl_error_text()), false;
    for (int64_t i = 0; i < want->numel; i++) {
        bool same = want->is_float ? floats[i] == want->floats[i] || (isnan(floats[i]) && isnan(want->floats[i])) ||
                                         fabs(floats[i] - want->floats[i]) <= bound * (fabs(want->floats[i]) + 0.1)
                                   : ints[i] == want->ints[i];
        if (same)
            continue;
        differs(a, what, number);
        if (want->is_float)
            fprintf(stderr, "element %d is %.9g, PyTorch's %.9g\n", (int)i, floats[i], want->floats[i]);
        else
            fprintf(stderr, "element %d is %lld, PyTorch's %lld\n", (int)i, (long long)ints[i],
                    (long long)want->ints[i]);
        return false;
    }
    return true;
}

static bool shape_agrees(const answer *a, const char *what, int number, const rl_tensor *y, const recorded *want) {
    bool same = rl_tensor_ndim(y) == want->ndim;
    for (int64_t d = 0; same && d < want->ndim; d++)
        same = rl_tensor_shape(y)[d] == want->shape[d];
    if (!same)
        differs(a, what, number), fprintf(stderr, "another shape than PyTorch's\n");
    return same;
}

static bool results_agree(const answer *a, const golden_call *call) {
    if (rl_failed())
        return differs(a, "call", 0), fprintf(stderr, "%s\n", rl_error_text()), false;
    if (call->n_results != a->n_outs)
        return differs(a, "call", 0), fprintf(stderr, "%d results, PyTorch has %d\n", (int)call->n_results, a->n_outs),
               false;
    for (int i = 0; i < a->n_outs; i++) {
        const rl_tensor *y = call->results[i];
        if (!shape_agrees(a, "result", i, y, &a->outs[i]))
            return false;
        if (rl_tensor_dtype(y) != a->outs[i].dtype)
            return differs(a, "result", i), fprintf(stderr, "is %s\n", rl_dtype_name(rl_tensor_dtype(y))), false;
        if (!numbers_agree(a, "result", i, y, &a->outs[i], tolerance(a->outs[i].dtype)))
            return false;
    }
    return true;
}

/* cos(1), cos(2) .. in the shape of y */
static rl_tensor *cotangent(const rl_tensor *y) {
    double numbers[MAX_NUMBERS];
    for (int64_t i = 0; i < rl_tensor_numel(y); i++)
        numbers[i] = cos((double)(i + 1));
    rl_ints shape = {rl_tensor_shape(y), rl_tensor_ndim(y)};
    return rl_to(rl_tensor_from_data(numbers, shape, RL_F64, rl_tensor_device(y)), .dtype = rl_tensor_dtype(y));
}

static bool gradients_agree(const answer *a, const golden_call *call) {
    rl_tensor *outputs[MAX_VALUES], *seeds[MAX_VALUES], *grads[MAX_LEAVES] = {NULL};
    int64_t n = 0;
    for (int64_t i = 0; i < call->n_results; i++) {
        if (!rl_tensor_requires_grad(call->results[i]))
            continue;
        outputs[n] = call->results[i];
        seeds[n++] = cotangent(call->results[i]);
    }
    if (a->n_grads == 0 || call->n_leaves != a->n_grads)
        return a->n_grads == 0 || (differs(a, "gradients", 0), fprintf(stderr, "%d leaves\n", call->n_leaves), false);
    rl_gradients(((rl_tensors){outputs, n}), ((rl_tensors){call->leaves, call->n_leaves}), grads,
                 .grad_outputs = {seeds, n}, .allow_unused = true);
    if (rl_failed())
        return differs(a, "gradients", 0), fprintf(stderr, "%s\n", rl_error_text()), false;
    for (int i = 0; i < a->n_grads; i++) {
        rl_tensor *g = grads[i] ? grads[i] : rl_zeros_like(call->leaves[i]);
        double bound = tolerance(rl_tensor_dtype(call->leaves[i]));
        if (!shape_agrees(a, "gradient", i, g, &a->grads[i]) ||
            !numbers_agree(a, "gradient", i, g, &a->grads[i], bound))
            return false;
    }
    return true;
}

/* Tests ----------------------------------------------------------------------------------------------------------- */

static bool case_agrees(const answer *a, rl_device *device) {
    RL_SCOPE();
    golden_call call;
    make_call(&call, a, device);
    bool agrees = results_agree(a, &call) && gradients_agree(a, &call);
    rl_error_clear();
    return agrees;
}

static void run_all(const char *name) {
    rl_device *device = rl_device_get(name);
    if (device == NULL || rl_device_set_default(device) != RL_OK) {
        fprintf(stderr, "SKIPPED on %s: %s\n", name, rl_error_text());
        rl_error_clear();
        skip();
    }
    answers_reader reader;
    assert_true(answers_open(&reader, TEST_SOURCE_DIR "/tests/golden/answers.txt"));
    answer *a = malloc(sizeof *a);
    assert_non_null(a);
    int cases = 0, failed = 0;
    while (answers_next(&reader, a)) {
        cases++;
        failed += !case_agrees(a, device);
    }
    free(a);
    answers_close(&reader);
    assert_true(cases > 300);
    assert_int_equal(failed, 0);
}

static void test_ref(void **state) {
    (void)state;
    run_all("ref");
}
static void test_onednn(void **state) {
    (void)state;
    run_all("onednn");
}

int main(void) {
    setenv("RUSHLIGHT_BACKEND_PATH", TEST_BINARY_DIR "/lib/rushlight", 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ref),
        cmocka_unit_test(test_onednn),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rl_shutdown();
    return failed;
}
