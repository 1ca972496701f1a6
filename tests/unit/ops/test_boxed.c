/* SPDX-License-Identifier: Apache-2.0 */
/* Calls by name: how arguments are bound, and what is wrong with those that are not. On ref. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "rushlight/base.h"
#include "rushlight/device.h"
#include "rushlight/op.h"
#include "rushlight/ops.h"

static rl_device *device;
static rl_tensor *x, *y; /* [1, 2, 3] and [10, 20, 30] */

static int start(void **state) {
    (void)state;
    setenv("RUSHLIGHT_DEVICE", "ref", 1);
    device = rl_device_get("ref");
    x = rl_tensor_from_data((const float[]){1, 2, 3}, RL_DIMS(3), RL_F32, device);
    y = rl_tensor_from_data((const float[]){10, 20, 30}, RL_DIMS(3), RL_F32, device);
    return x == NULL || y == NULL;
}

static int stop(void **state) {
    (void)state;
    rl_shutdown();
    return 0;
}

static int clear(void **state) {
    (void)state;
    rl_error_clear();
    return 0;
}

static rl_value number(int64_t i) {
    return rl_value_of_int(i);
}
static rl_value tensor(rl_tensor *t) {
    return rl_value_of_tensor(t);
}
static rl_value word(const char *text) {
    return (rl_value){.kind = RL_VALUE_STRING, .as.string = text};
}
static rl_value ints(rl_ints list) {
    return (rl_value){.kind = RL_VALUE_INTS, .as.ints = list};
}

/* The first element of the one result; the call must succeed. */
static double first(const char *name, const rl_argument *arguments, int64_t count) {
    rl_tensor *result = NULL;
    int64_t n = 0;
    rl_op_call(name, arguments, count, &result, 1, &n);
    assert_string_equal(rl_error_text(), "");
    assert_int_equal(n, 1);
    float data[64];
    assert_int_equal(rl_tensor_read(result, data, (size_t)rl_tensor_numel(result) * sizeof *data), RL_OK);
    return data[0];
}
#define FIRST(name, ...)                                                                                               \
    first(name, (const rl_argument[]){__VA_ARGS__}, sizeof((const rl_argument[]){__VA_ARGS__}) / sizeof(rl_argument))

static void binds_by_position_and_name(void **state) {
    (void)state;
    RL_SCOPE();
    assert_true(FIRST("add", {NULL, tensor(x)}, {NULL, tensor(y)}) == 11);
    assert_true(FIRST("add", {NULL, tensor(x)}, {"other", tensor(y)}, {"alpha", number(2)}) == 21);
    assert_true(FIRST("add", {"alpha", number(2)}, {"other", tensor(x)}, {"self", tensor(y)}) == 12);
    assert_true(FIRST("add", {NULL, tensor(x)}, {NULL, number(5)}) == 6);
    assert_true(FIRST("sum", {NULL, tensor(x)}) == 6);
}

static void works_in_place(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *copy = rl_clone(x), *result = NULL;
    const rl_argument arguments[] = {{NULL, tensor(copy)}, {NULL, number(1)}};
    assert_int_equal(rl_op_call("add_", arguments, 2, &result, 1, NULL), RL_OK);
    assert_ptr_equal(result, copy);
    assert_int_equal(rl_tensor_version(copy), 1);
    const rl_argument filling[] = {{NULL, tensor(copy)}, {NULL, number(7)}};
    assert_int_equal(rl_op_call("fill_", filling, 2, &result, 1, NULL), RL_OK);
    assert_ptr_equal(result, copy);
    assert_true(rl_item(rl_sum(copy)) == 21);
}

/* What a binding has at hand is turned into what the op takes. */
static void converts(void **state) {
    (void)state;
    RL_SCOPE();
    rl_value yes = rl_value_of_bool(true);
    assert_true(FIRST("sum", {NULL, tensor(x)}, {"dim", number(0)}) == 6); /* one int for a list */
    assert_true(FIRST("sum", {NULL, tensor(x)}, {"dim", ints(RL_DIMS(0))}, {"keepdim", yes}) == 6);
    assert_true(FIRST("sum", {NULL, tensor(x)}, {"dtype", word("float32")}) == 6); /* a dtype by name */
    assert_true(FIRST("full", {NULL, ints(RL_DIMS(2))}, {NULL, rl_value_of_float(3)}, {"device", word("ref")}) == 3);
    assert_true(FIRST("leaky_relu", {NULL, tensor(rl_neg(x))}, {NULL, number(2)}) == -2); /* an int for a float */
    assert_true(FIRST("reshape", {NULL, tensor(x)}, {NULL, ints(RL_DIMS(3, 1))}) == 1);
}

static void gives_lists_and_counts(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *results[3] = {NULL, NULL, NULL};
    int64_t count = -1;
    const rl_argument arguments[] = {{NULL, tensor(x)}, {NULL, number(1)}};
    assert_int_equal(rl_op_call("split", arguments, 2, results, 2, &count), RL_OK);
    assert_int_equal(count, 3); /* of which two had room */
    assert_non_null(results[1]);
    assert_null(results[2]);
    const rl_argument sorting[] = {{NULL, tensor(x)}};
    assert_int_equal(rl_op_call("sort", sorting, 1, results, 3, &count), RL_OK);
    assert_int_equal(count, 2);
    assert_int_equal(rl_tensor_dtype(results[1]), RL_I64);
    assert_int_equal(rl_op_call("sort", sorting, 1, NULL, 0, NULL), RL_OK);
}

static void refuses(void **state) {
    (void)state;
    RL_SCOPE();
    rl_value none = {.kind = RL_VALUE_NONE};
    rl_value half = rl_value_of_float(0.5);
    const struct {
        const char *name;
        rl_argument arguments[4];
        int64_t count;
        const char *sentence;
    } cases[] = {
        {"", {{0}}, 0, "op_call: there is no op named "},
        {"_", {{0}}, 0, "there is no op named _"},
        {"no_such_op", {{0}}, 0, "op_call: there is no op named no_such_op"},
        {"softmax_", {{0}}, 0, "there is no op named softmax_"},
        {"add__", {{0}}, 0, "there is no op named add__"},
        {"addd", {{0}}, 0, "there is no op named addd"},
        {"ad", {{0}}, 0, "there is no op named ad"},
        {"add", {{0}}, 0, "add: self is missing"},
        {"add", {{NULL, tensor(x)}}, 1, "add: other is missing"},
        {"add_", {{NULL, tensor(x)}}, 1, "add_: other is missing"},
        {"add", {{NULL, none}, {NULL, number(1)}}, 2, "add: self is NULL"},
        {"add", {{NULL, number(1)}, {NULL, tensor(x)}}, 2, "add: self must be a tensor, not an integer"},
        {"add", {{NULL, tensor(x)}, {NULL, word("1")}}, 2, "add: other must be a tensor or a number, not a string"},
        {"add", {{NULL, tensor(x)}, {NULL, number(1)}, {NULL, number(1)}}, 3, "add: 3 arguments are given by position"},
        {"add", {{NULL, tensor(x)}, {"self", tensor(x)}}, 2, "add: self is given twice"},
        {"add", {{NULL, tensor(x)}, {"beta", number(1)}}, 2, "add: there is no argument beta"},
        {"add", {{"self", tensor(x)}, {NULL, number(1)}}, 2, "add: argument 1 has no name and follows named ones"},
        {"add", {{NULL, tensor(x)}, {NULL, number(1)}, {"alpha", none}}, 3, "add: alpha must be a number, not None"},
        {"sum", {{NULL, tensor(x)}, {"keepdim", number(1)}}, 2, "sum: keepdim must be true or false, not an integer"},
        {"sum", {{NULL, tensor(x)}, {"dim", half}}, 2, "sum: dim must be a list of integers, not a float"},
        {"sum", {{NULL, tensor(x)}, {"dim", ints((rl_ints){NULL, 2})}}, 2, "sum: dim has 2 elements at NULL"},
        {"sum", {{NULL, tensor(x)}, {"dtype", word("float33")}}, 2, "sum: dtype is no name of a dtype"},
        {"sum", {{NULL, tensor(x)}, {"dtype", number(1)}}, 2, "sum: dtype must be a dtype, not an integer"},
        {"softmax", {{NULL, tensor(x)}, {NULL, half}}, 2, "softmax: dim must be an integer, not a float"},
        {"leaky_relu", {{NULL, tensor(x)}, {NULL, word("a")}}, 2, "must be a number, not a string"},
        {"full", {{NULL, ints(RL_DIMS(2))}, {NULL, number(3)}, {"device", word("moon")}}, 3, "moon"},
        {"rand", {{NULL, ints(RL_DIMS(2))}, {"generator", number(3)}}, 2, "generator must be a generator"},
        {"cat", {{NULL, tensor(x)}}, 1, "cat: tensors must be a list of tensors, not a tensor"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rl_tensor *result = NULL;
        int64_t count = 9;
        rl_status status = rl_op_call(cases[i].name, cases[i].arguments, cases[i].count, &result, 1, &count);
        if (status == RL_OK || !strstr(rl_error_text(), cases[i].sentence))
            fail_msg("case %zu: \"%s\", expected \"%s\"", i, rl_error_text(), cases[i].sentence);
        assert_null(result);
        assert_int_equal(count, 0);
        rl_error_clear();
    }
    assert_int_equal(rl_op_call(NULL, NULL, 0, NULL, 0, NULL), RL_INVALID_ARGUMENT);
    rl_error_clear();
    assert_int_equal(rl_op_call("add", NULL, 2, NULL, 0, NULL), RL_INVALID_ARGUMENT);
    rl_error_clear();
    assert_int_equal(rl_op_call("add", NULL, -1, NULL, 0, NULL), RL_INVALID_ARGUMENT);
    rl_error_clear();
    assert_int_equal(rl_op_call("add", NULL, 0, NULL, 1, NULL), RL_INVALID_ARGUMENT);
}

static void keeps_an_error(void **state) {
    (void)state;
    rl_op_call("no_such_op", NULL, 0, NULL, 0, NULL);
    const rl_argument arguments[] = {{NULL, tensor(x)}};
    rl_tensor *result = NULL;
    assert_int_equal(rl_op_call("sum", arguments, 1, &result, 1, NULL), RL_INVALID_ARGUMENT);
    assert_null(result);
    assert_non_null(strstr(rl_error_text(), "no_such_op"));
}

static void describes(void **state) {
    (void)state;
    rl_op_info info = {.struct_size = sizeof info};
    char last[128] = "";
    size_t n = 0;
    for (; rl_op_describe(n, &info); n++) {
        assert_true(strcmp(last, info.name) < 0); /* in alphabetical order */
        snprintf(last, sizeof last, "%s", info.name);
        assert_int_equal(strncmp(info.schema, info.name, strlen(info.name)), 0);
        assert_true(*info.doc && info.note && *info.kind);
        if (strcmp(info.name, "add") == 0) {
            assert_string_equal(info.kind, "pointwise");
            assert_true(info.inplace && info.differentiable && !info.host);
        }
        if (strcmp(info.name, "argmax") == 0)
            assert_false(info.differentiable || info.inplace);
        if (strcmp(info.name, "transpose") == 0)
            assert_string_equal(info.kind, "view");
    }
    assert_int_equal(n, rl_op_count());
    assert_true(n > 60);
    assert_false(rl_op_describe(0, NULL));
    /* An older caller's struct is filled as far as it goes. */
    rl_op_info shorter = {.struct_size = offsetof(rl_op_info, schema)};
    assert_true(rl_op_describe(0, &shorter));
    assert_non_null(shorter.name);
    assert_null(shorter.schema);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(binds_by_position_and_name, clear),
        cmocka_unit_test_teardown(works_in_place, clear),
        cmocka_unit_test_teardown(converts, clear),
        cmocka_unit_test_teardown(refuses, clear),
        cmocka_unit_test_teardown(gives_lists_and_counts, clear),
        cmocka_unit_test_teardown(keeps_an_error, clear),
        cmocka_unit_test_teardown(describes, clear),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
