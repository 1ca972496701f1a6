/* SPDX-License-Identifier: Apache-2.0 */
/* The lines of samples: their grammar, their numbers, the layouts of their tensors, the comparison. On ref. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ops/testing.h"
#include "rushlight/ops.h"

static int start(void **state) {
    (void)state;
    setenv("RUSHLIGHT_DEVICE", "ref", 1);
    return rl_device_get("ref") == NULL;
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

static size_t find_op(const char *name) {
    rl_op_info info = {.struct_size = sizeof info};
    for (size_t op = 0; rl_op_describe(op, &info); op++)
        if (strcmp(info.name, name) == 0)
            return op;
    fail_msg("there is no op %s", name);
    return 0;
}

/* Grammar -------------------------------------------------------------------------------------------------------- */

static void parses(void **state) {
    (void)state;
    rl_sample_line line;
    assert_int_equal(
        rl_sample_parse("f[2,3]t, i[4]<3 , bf16[]s,[f[1], None], [1, -2], [], -3, 2.5, -inf, true, float16, "
                        "dim=None, word=\"a b\", 1e3",
                        &line),
        RL_OK);
    assert_int_equal(line.n_items, 14);
    assert_int_equal(line.n_tensors, 5);
    const rl_sample_tensor *t = line.tensors;
    assert_true(t[0].kind == 'f' && t[0].ndim == 2 && t[0].shape[1] == 3 && t[0].layout == 't' && t[0].dtype == 0);
    assert_true(t[1].kind == 'i' && t[1].limit == 3 && t[1].dtype == RL_I64);
    assert_true(t[2].kind == 'n' && t[2].dtype == RL_BF16 && t[2].ndim == 0 && t[2].layout == 's');
    assert_true(t[3].kind == 'f' && t[4].kind == 0);
    const rl_sample_item *i = line.items;
    assert_true(i[3].kind == RL_ITEM_TENSORS && i[3].first == 3 && i[3].count == 2);
    assert_true(i[4].kind == RL_ITEM_INTS && i[4].count == 2 && line.ints[i[4].first + 1] == -2);
    assert_true(i[5].kind == RL_ITEM_INTS && i[5].count == 0);
    assert_true(i[6].value.kind == RL_VALUE_INT && i[6].value.as.i == -3);
    assert_true(i[7].value.kind == RL_VALUE_FLOAT && i[7].value.as.f == 2.5);
    assert_true(i[8].value.kind == RL_VALUE_FLOAT && i[8].value.as.f == -(double)INFINITY);
    assert_true(i[9].value.kind == RL_VALUE_BOOL && i[9].value.as.b);
    assert_true(i[10].value.kind == RL_VALUE_DTYPE && i[10].value.as.dtype == RL_F16);
    assert_true(i[11].value.kind == RL_VALUE_NONE);
    assert_string_equal(i[11].name, "dim");
    assert_string_equal(i[12].name, "word");
    assert_string_equal(i[12].value.as.string, "a b");
    assert_true(i[13].value.kind == RL_VALUE_FLOAT && i[13].value.as.f == 1000);
    assert_int_equal(rl_sample_parse("", &line), RL_OK);
    assert_int_equal(line.n_items, 0);
}

static void refuses(void **state) {
    (void)state;
    static const struct {
        const char *text, *sentence;
    } cases[] = {
        {"f[2", ", or ] expected at character 4"},
        {"f[2,", "a size expected"},
        {"f[-1]", "a size expected"},
        {"x[2]", "a tensor expected at character 1"},
        {"i[2]", "< and a limit expected"},
        {"i[2]<0", "< and a limit expected"},
        {"f[2] f[3]", ", or the end expected"},
        {"f[2],", "a value expected"},
        {"word", "a value expected"},
        {"\"word", "a shorter string with its end expected"},
        {"1x", "a value expected"},
        {"[1, 2", ", or ] expected"},
        {"[f[2], 3]", "a tensor expected"},
        {"99999999999999999999", "an integer of 64 bits expected"},
        {"f[1,1,1,1,1,1,1,1,1,1,1,1,1]", "a size"},
        {"f[2]]", ", or the end"},
        {"1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1", "an end"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rl_sample_line line;
        assert_int_equal(rl_sample_parse(cases[i].text, &line), RL_INVALID_ARGUMENT);
        if (!strstr(rl_error_text(), cases[i].sentence))
            fail_msg("\"%s\": \"%s\", expected \"%s\"", cases[i].text, rl_error_text(), cases[i].sentence);
        rl_error_clear();
    }
}

static void every_declaration_parses(void **state) {
    (void)state;
    for (size_t op = 0; op < rl_op_count(); op++) {
        rl_sample_line line;
        if (rl_test_sample_count(op) == 0)
            fail_msg("%s has no sample", rl_op_table[op]->schema);
        for (size_t s = 0; s < rl_test_sample_count(op); s++) {
            rl_test_sample sample = {.struct_size = sizeof sample};
            if (!rl_test_sample_describe(op, s, &sample) || sample.dtypes == 0)
                fail_msg("%s", rl_error_text());
            if ((sample.rtol != 0 || sample.atol != 0) && *sample.why == '\0')
                fail_msg("%s(%s) has a tolerance without a reason", rl_op_table[op]->schema, sample.args);
        }
        for (size_t b = 0; b < rl_test_bad_count(op); b++) {
            rl_test_bad bad = {.struct_size = sizeof bad};
            assert_true(rl_test_bad_describe(op, b, &bad));
            if (rl_sample_parse(bad.args, &line) != RL_OK || bad.status == RL_OK || *bad.sentence == '\0')
                fail_msg("%s: \"%s\" %s", rl_op_table[op]->schema, bad.args, rl_error_text());
        }
    }
    rl_test_sample sample = {.struct_size = sizeof sample};
    assert_false(rl_test_sample_describe(rl_op_count(), 0, &sample));
    assert_false(rl_test_sample_describe(0, 1000, &sample));
}

/* Numbers -------------------------------------------------------------------------------------------------------- */

static void read_as_doubles(rl_tensor *t, double *out) {
    rl_tensor *wide = rl_to(t, .dtype = RL_F64);
    assert_int_equal(rl_tensor_read(wide, out, (size_t)rl_tensor_numel(t) * sizeof *out), RL_OK);
}

static rl_tensor *tensor_of(const char *line, rl_dtype dtype, rl_test_layout layout) {
    int64_t count;
    rl_test_call *call = rl_test_line_call(find_op("neg"), line, dtype, rl_device_get("ref"), layout);
    assert_non_null(call);
    return rl_test_arguments(call, &count)[0].value.as.tensor;
}

static void numbers_keep_their_ranges(void **state) {
    (void)state;
    static const struct {
        const char *line;
        rl_dtype dtype;
        double low, high;
    } cases[] = {
        {"f[200]", RL_F32, -4, 4},  {"f[200]", RL_BF16, -4, 4},     {"p[200]", RL_F16, 0.5, 2},
        {"p[200]", RL_F64, 0.5, 2}, {"u[200]", RL_F32, 0.05, 0.95}, {"u[200]", RL_BF16, 0.05, 0.95},
        {"n[200]", RL_I8, -9, 9},   {"n[200]", RL_U8, 0, 18},       {"n[200]", RL_BOOL, 0, 1},
        {"i[200]<5", RL_F32, 0, 4}, {"d[200]", RL_U8, 0, 255},      {"d[200]", RL_I64, -128, 127},
        {"d[200]", RL_F16, -4, 4},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        RL_SCOPE();
        double data[200], sum = 0;
        read_as_doubles(tensor_of(cases[i].line, cases[i].dtype, RL_TEST_AS_WRITTEN), data);
        for (int k = 0; k < 200; k++) {
            assert_true(data[k] >= cases[i].low && data[k] <= cases[i].high);
            for (int j = 0; *cases[i].line == 'd' && j < k; j++)
                assert_true(data[j] != data[k]);
            sum += data[k];
        }
        double middle = (cases[i].low + cases[i].high) / 2, width = cases[i].high - cases[i].low;
        assert_true(fabs(sum / 200 - middle) < width / 8); /* not all at one end */
    }
}

/* What f16 and bf16 hold is what f32 and f64 have too, but for their further digits. */
static void numbers_are_alike_in_all_dtypes(void **state) {
    (void)state;
    static const char *const lines[] = {"f[50]", "p[50]", "u[50]", "d[50]"};
    for (size_t i = 0; i < 4; i++) {
        RL_SCOPE();
        double f64[50], other[50];
        read_as_doubles(tensor_of(lines[i], RL_F64, RL_TEST_AS_WRITTEN), f64);
        static const rl_dtype dtypes[] = {RL_F32, RL_F16, RL_BF16};
        for (size_t d = 0; d < 3; d++) {
            read_as_doubles(tensor_of(lines[i], dtypes[d], RL_TEST_AS_WRITTEN), other);
            for (int k = 0; k < 50; k++)
                assert_true(f64[k] - other[k] >= 0 && f64[k] - other[k] < 0x1p-10);
        }
    }
}

static void numbers_do_not_depend_on_layouts(void **state) {
    (void)state;
    static const char *const lines[] = {"f[5,7]t", "f[33]s", "f[4,3]e", "f[]", "f[2,3,4]"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        RL_SCOPE();
        char why[256];
        rl_tensor *plain = tensor_of(lines[i], RL_F32, RL_TEST_CONTIGUOUS);
        assert_true(rl_tensor_is_contiguous(plain));
        for (int layout = 0; layout < RL_TEST_LAYOUT_COUNT; layout++)
            assert_true(rl_test_close(tensor_of(lines[i], RL_F32, (rl_test_layout)layout), plain, 0, 0, why, 256));
    }
    RL_SCOPE();
    assert_int_equal(rl_tensor_strides(tensor_of("f[5,7]t", RL_F32, RL_TEST_AS_WRITTEN))[0], 1);
    assert_int_equal(rl_tensor_strides(tensor_of("f[33]s", RL_F32, RL_TEST_AS_WRITTEN))[0], 2);
    assert_int_equal(rl_tensor_strides(tensor_of("f[4,3]e", RL_F32, RL_TEST_AS_WRITTEN))[0], 0);
    rl_tensor *gapped = tensor_of("f[2,3]", RL_F32, RL_TEST_GAPPED);
    assert_int_equal(rl_tensor_strides(gapped)[1], 2);
    assert_int_equal(rl_tensor_storage_offset(gapped), 3);
}

/* Calls ---------------------------------------------------------------------------------------------------------- */

static void sees_writes_between_elements(void **state) {
    (void)state;
    RL_SCOPE();
    int64_t count;
    rl_test_call *call = rl_test_line_call(find_op("neg"), "f[2,3]", RL_F32, NULL, RL_TEST_GAPPED);
    float *data = rl_tensor_data(rl_test_arguments(call, &count)[0].value.as.tensor);
    assert_true(rl_test_gaps_untouched(call));
    data[0] = 5; /* an element */
    assert_true(rl_test_gaps_untouched(call));
    data[1] = 5;
    assert_false(rl_test_gaps_untouched(call));
}

static void random_calls_agree_and_leave_the_generator(void **state) {
    (void)state;
    RL_SCOPE();
    char why[256];
    uint64_t seed, offset;
    size_t rand = find_op("rand");
    rl_manual_seed(99);
    rl_test_call *a = rl_test_line_call(rand, "[50]", RL_F32, NULL, RL_TEST_AS_WRITTEN);
    rl_test_call *b = rl_test_line_call(rand, "[50]", RL_F32, NULL, RL_TEST_AS_WRITTEN);
    assert_int_equal(rl_test_run(a, false), RL_OK);
    assert_int_equal(rl_test_run(b, false), RL_OK);
    assert_true(rl_test_agree(a, b, why, sizeof why));
    rl_generator_get_state(rl_generator_default(), &seed, &offset);
    assert_true(seed == 99 && offset == 0);
}

static void applies_to_inputs(void **state) {
    (void)state;
    RL_SCOPE();
    rl_test_call *call = rl_test_line_call(find_op("cat"), "[f[2], i32[1], f[3]], 0", RL_F64, NULL, RL_TEST_CONTIGUOUS);
    rl_tensors inputs = rl_test_inputs(call);
    assert_int_equal(inputs.count, 2); /* i32 is not under test */
    assert_int_equal(rl_test_output_count(call), 1);
    rl_tensor *others[] = {rl_mul(inputs.data[0], 0), rl_mul(inputs.data[1], 0)}, *output = NULL;
    assert_int_equal(rl_test_apply((rl_tensors){others, 2}, &output, 1, call), RL_OK);
    double data[6];
    read_as_doubles(output, data);
    assert_true(data[0] == 0 && data[1] == 0 && data[3] == 0 && data[5] == 0);
    assert_int_equal(rl_test_apply((rl_tensors){others, 2}, &output, 2, call), RL_INVALID_ARGUMENT);
    rl_error_clear();
    /* An op that is only in place changes a copy. */
    call = rl_test_line_call(find_op("zero_"), "p[3]", RL_F64, NULL, RL_TEST_CONTIGUOUS);
    assert_int_equal(rl_test_apply(rl_test_inputs(call), &output, 1, call), RL_OK);
    assert_true(rl_item(rl_sum(output)) == 0);
    assert_true(rl_item(rl_sum(rl_test_inputs(call).data[0])) > 1);
}

static void wrong_calls_fail(void **state) {
    (void)state;
    RL_SCOPE();
    assert_null(rl_test_line_call(rl_op_count(), "f[2]", RL_F32, NULL, RL_TEST_AS_WRITTEN));
    assert_non_null(strstr(rl_error_text(), "there is no op number"));
    rl_error_clear();
    assert_null(rl_test_line_call(0, "f[", RL_F32, NULL, RL_TEST_AS_WRITTEN));
    rl_error_clear();
    assert_null(rl_test_sample_call(0, 1000, RL_F32, NULL, RL_TEST_AS_WRITTEN));
    rl_error_clear();
    assert_null(rl_test_bad_call(0, 1000, NULL));
    rl_error_clear();
    rl_test_call *call = rl_test_line_call(find_op("softmax"), "f[2], 0", RL_F32, NULL, RL_TEST_AS_WRITTEN);
    assert_int_equal(rl_test_run(call, true), RL_INVALID_ARGUMENT);
    assert_non_null(strstr(rl_error_text(), "softmax has no variant in place"));
}

/* Comparing ------------------------------------------------------------------------------------------------------ */

static rl_tensor *floats(const float *data, int64_t count) {
    return rl_tensor_from_data(data, RL_DIMS(count), RL_F32, NULL);
}

static void compares(void **state) {
    (void)state;
    RL_SCOPE();
    char why[256];
    const float a[] = {1, 2, NAN, INFINITY}, b[] = {1, 2.0001f, NAN, INFINITY}, c[] = {1, 2, 3, INFINITY},
                d[] = {1, 2, NAN, -INFINITY};
    assert_true(rl_test_close(floats(a, 4), floats(a, 4), 0, 0, why, sizeof why));
    assert_true(rl_test_close(floats(b, 4), floats(a, 4), 1e-4, 0, why, sizeof why));
    assert_true(rl_test_close(floats(b, 4), floats(a, 4), 0, 2e-4, why, sizeof why));
    assert_false(rl_test_close(floats(b, 4), floats(a, 4), 1e-5, 1e-5, why, sizeof why));
    assert_non_null(strstr(why, "1 of 4 elements differ, first at [1]: 2.00009"));
    assert_false(rl_test_close(floats(c, 4), floats(a, 4), 1, 1, why, sizeof why));
    assert_non_null(strstr(why, "first at [2]: 3, expected nan"));
    assert_false(rl_test_close(floats(d, 4), floats(a, 4), 1, 1, why, sizeof why));
    assert_false(rl_test_close(floats(a, 3), floats(a, 4), 1, 1, why, sizeof why));
    assert_string_equal(why, "its shape is (3), expected (4)");
    assert_false(rl_test_close(rl_to(floats(a, 1), .dtype = RL_F64), floats(a, 1), 1, 1, why, sizeof why));
    assert_string_equal(why, "it is float64, expected float32");
    assert_false(rl_test_close(NULL, floats(a, 1), 1, 1, why, sizeof why));
    rl_tensor *i = rl_tensor_from_data((const int64_t[]){INT64_MAX, 2}, RL_DIMS(2), RL_I64, NULL);
    rl_tensor *j = rl_tensor_from_data((const int64_t[]){INT64_MAX - 1, 2}, RL_DIMS(2), RL_I64, NULL);
    assert_false(rl_test_close(i, j, 1, 1, why, sizeof why)); /* integers exactly */
    assert_non_null(strstr(why, "9223372036854775807, expected 9223372036854775806"));
    double rtol, atol;
    rl_test_tolerance(RL_I32, &rtol, &atol);
    assert_true(rtol == 0 && atol == 0);
    rl_test_tolerance(RL_BF16, &rtol, &atol);
    assert_true(rtol > 1e-3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(parses, clear),
        cmocka_unit_test_teardown(refuses, clear),
        cmocka_unit_test_teardown(every_declaration_parses, clear),
        cmocka_unit_test_teardown(numbers_keep_their_ranges, clear),
        cmocka_unit_test_teardown(numbers_are_alike_in_all_dtypes, clear),
        cmocka_unit_test_teardown(numbers_do_not_depend_on_layouts, clear),
        cmocka_unit_test_teardown(sees_writes_between_elements, clear),
        cmocka_unit_test_teardown(random_calls_agree_and_leave_the_generator, clear),
        cmocka_unit_test_teardown(applies_to_inputs, clear),
        cmocka_unit_test_teardown(wrong_calls_fail, clear),
        cmocka_unit_test_teardown(compares, clear),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
