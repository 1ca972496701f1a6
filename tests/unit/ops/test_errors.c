/* SPDX-License-Identifier: Apache-2.0 */
/* What the sentences name: the op that was called, its argument, the caller's dimension, the first bad index; on every
 * device at hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "rushlight/device.h"
#include "rushlight/ops.h"

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

static void assert_says(rl_status status, const char *sentence) {
    if (rl_error_status() != status || strncmp(rl_error_text(), sentence, strlen(sentence)) != 0)
        fail_msg("%d '%s', must be %d and begin '%s'", (int)rl_error_status(), rl_error_text(), (int)status, sentence);
    rl_error_clear();
}
/* The same, with these words later on. */
static void assert_names(rl_status status, const char *sentence, const char *word, const char *what) {
    const char *at = strstr(rl_error_text(), word);
    if (at == NULL || strstr(at, what) == NULL)
        fail_msg("'%s' must have '%s' and then '%s'", rl_error_text(), word, what);
    assert_says(status, sentence);
}
static rl_tensor *integers(const int64_t *values, rl_ints shape) {
    return rl_tensor_from_data(values, shape, RL_I64, NULL);
}

static void test_names_of_ops(void **state) {
    ON_DEVICE(state);
    rl_tensor *x = rl_ones(RL_DIMS(2, 3)), *classes = integers((const int64_t[]){1, 3}, RL_DIMS(2));
    rl_cross_entropy(x, classes);
    assert_names(RL_INDEX_OUT_OF_RANGE, "cross_entropy: ", "target", "3 is out of range for ");
    rl_cross_entropy(x, classes, .weight = rl_ones(RL_DIMS(3)));
    assert_says(RL_INDEX_OUT_OF_RANGE, "cross_entropy: target: ");
    rl_cross_entropy(x, classes, .reduction = "max");
    assert_says(RL_INVALID_ARGUMENT, "cross_entropy: reduction must be");
    rl_nll_loss(x, classes);
    assert_says(RL_INDEX_OUT_OF_RANGE, "nll_loss: target: gather: index 3");
    rl_one_hot(classes, .num_classes = 2);
    assert_says(RL_INDEX_OUT_OF_RANGE, "one_hot: ");
    rl_as_strided(x, RL_DIMS(5, 5), RL_DIMS(5, 1));
    assert_says(RL_INVALID_ARGUMENT, "as_strided: ");
    rl_gather(x, 0, classes);
    assert_says(RL_SHAPE_MISMATCH, "gather: ");
    rl_select(x, 0, 5); /* and what fails by itself is named once, after all of these */
    assert_says(RL_INDEX_OUT_OF_RANGE, "select: index 5");
}

static void test_names_of_arguments(void **state) {
    ON_DEVICE(state);
    rl_tensor *x = rl_ones(RL_DIMS(2, 3)), *n = rl_ones(RL_DIMS(2), .dtype = RL_I64);
    rl_l1_loss(n, n);
    assert_says(RL_DTYPE_MISMATCH, "l1_loss: input and target must be of a floating dtype, not int64");
    rl_bitwise_not(x);
    assert_says(RL_DTYPE_MISMATCH, "bitwise_not: self must be of integer dtypes or bool, not float32");
    rl_stack(RL_TENSORS(x, n));
    assert_says(RL_SHAPE_MISMATCH, "stack: tensors[1] (2) does not fit to (2, 3): all sizes must be equal");
    rl_sum_options short_options = {.struct_size = 1};
    rl_op_sum(x, &short_options);
    assert_says(RL_INVALID_ARGUMENT, "sum: options.struct_size is 1");
}

static void test_devices(void **state) {
    ON_DEVICE(state);
    rl_device *onednn = rl_device_get("onednn"), *ref = rl_device_get("ref");
    if (onednn == NULL) {
        rl_error_clear();
        skip();
    }
    rl_tensor *a = rl_ones(RL_DIMS(2), .device = ref), *b = rl_ones(RL_DIMS(2), .device = onednn);
    rl_cat(RL_TENSORS(a, a, b));
    assert_says(RL_DEVICE_MISMATCH, "cat: tensors[0] is on ref:0 and tensors[2] on onednn:0");
}

static void test_dimensions(void **state) {
    ON_DEVICE(state);
    rl_tensor *x = rl_ones(RL_DIMS(2, 3)), *index = integers((const int64_t[]){0, 7}, RL_DIMS(2, 1));
    rl_gather(x, 1, index);
    assert_says(RL_INDEX_OUT_OF_RANGE, "gather: index 7 is out of range for size 3 of dimension 1, on ");
    rl_gather(x, 0, integers((const int64_t[]){0, 1, -1}, RL_DIMS(1, 3)));
    assert_says(RL_INDEX_OUT_OF_RANGE, "gather: index -1 is out of range for size 2 of dimension 0, on ");
    rl_take_along_dim(x, index, .dim = 1);
    assert_says(RL_INDEX_OUT_OF_RANGE, "take_along_dim: ");
    rl_scatter(x, -1, index, 0);
    assert_says(RL_INDEX_OUT_OF_RANGE, "scatter: index 7 is out of range for size 3 of dimension 1, on ");
    rl_index_select(rl_ones(RL_DIMS(4, 2, 3)), 2, integers((const int64_t[]){3}, RL_DIMS(1)));
    assert_says(RL_INDEX_OUT_OF_RANGE, "index_select: index 3 is out of range for size 3 of dimension 2, on ");
}

/* Of several, the first in row-major order, however the work is shared out. */
static void test_first_bad_index(void **state) {
    ON_DEVICE(state);
    enum { ROWS = 64, COLUMNS = 5000 };
    int64_t *index = calloc(ROWS * COLUMNS, sizeof *index);
    assert_non_null(index);
    index[5 * COLUMNS + 4000] = 10005;
    index[6 * COLUMNS + 1] = 10006;
    index[63 * COLUMNS + 10] = 10063;
    rl_tensor *at = integers(index, RL_DIMS(ROWS, COLUMNS)), *x = rl_ones(RL_DIMS(ROWS, COLUMNS));
    free(index);
    for (int dim = 0; dim < 2; dim++) {
        rl_gather(x, dim, at);
        assert_says(RL_INDEX_OUT_OF_RANGE, "gather: index 10005 ");
        rl_scatter(x, dim, at, x);
        assert_says(RL_INDEX_OUT_OF_RANGE, "scatter: index 10005 ");
        rl_scatter_reduce(x, dim, at, x, "amax");
        assert_says(RL_INDEX_OUT_OF_RANGE, "scatter_reduce: index 10005 ");
    }
}

#define TESTS(name)                                                                                                    \
    cmocka_unit_test_prestate_setup_teardown(name, use_device, NULL, "ref"),                                           \
        cmocka_unit_test_prestate_setup_teardown(name, use_device, NULL, "onednn")

int main(void) {
    setenv("RUSHLIGHT_BACKEND_PATH", TEST_BINARY_DIR "/lib/rushlight", 0);
    const struct CMUnitTest tests[] = {
        TESTS(test_names_of_ops), TESTS(test_names_of_arguments), TESTS(test_devices),
        TESTS(test_dimensions),   TESTS(test_first_bad_index),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rl_shutdown();
    return failed;
}
