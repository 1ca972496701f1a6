/* SPDX-License-Identifier: Apache-2.0 */
/* Elements in and out of tensors. On ref. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "rushlight/device.h"
#include "rushlight/ops.h"
#include "rushlight/tensor.h"

static rl_device *device;

static int start(void **state) {
    (void)state;
    setenv("RUSHLIGHT_DEVICE", "ref", 1);
    device = rl_device_get("ref");
    return device == NULL;
}

static int stop(void **state) {
    (void)state;
    rl_shutdown();
    return 0;
}

static int clear(void **state) {
    (void)state;
    rl_alloc_fail_at(0, false);
    rl_error_clear();
    return 0;
}

static void expect(rl_status status, const char *sentence) {
    if (rl_error_status() != status || !strstr(rl_error_text(), sentence))
        fail_msg("\"%s\", expected \"%s\"", rl_error_text(), sentence);
    rl_error_clear();
}

static const int32_t six[] = {1, 2, 3, 4, 5, 6};

static void copies_in_and_out(void **state) {
    (void)state;
    RL_SCOPE();
    int32_t out[6] = {0};
    rl_tensor *t = rl_tensor_from_data(six, RL_DIMS(2, 3), RL_I32, device);
    assert_int_equal(rl_tensor_read(t, out, sizeof out), RL_OK);
    assert_memory_equal(out, six, sizeof six);
    /* A transposed tensor is read and written row by row of its own. */
    static const int32_t turned[] = {1, 4, 2, 5, 3, 6}, other[] = {10, 40, 20, 50, 30, 60};
    rl_tensor *view = rl_transpose(t, 0, 1);
    assert_int_equal(rl_tensor_read(view, out, sizeof out), RL_OK);
    assert_memory_equal(out, turned, sizeof turned);
    assert_int_equal(rl_tensor_write(view, other, sizeof other), RL_OK);
    assert_int_equal(rl_tensor_read(t, out, sizeof out), RL_OK);
    static const int32_t written[] = {10, 20, 30, 40, 50, 60};
    assert_memory_equal(out, written, sizeof written);
    assert_int_equal(rl_tensor_version(t), 1);
    assert_int_equal(rl_tensor_write(t, six, sizeof six), RL_OK);
    assert_int_equal(rl_tensor_version(view), 2); /* of one storage */
    const int64_t sizes[] = {2, 3};
    rl_tensor *const list[] = {t, t};
    assert_int_equal(rl_tensor_numel(rl_zeros(RL_INTS(sizes, 2))), 6);
    assert_int_equal(rl_tensor_size(rl_cat(RL_TENSORS_AT(list, 2)), 0), 4);
    /* Of none there is nothing to copy. */
    rl_tensor *empty = rl_tensor_from_data(NULL, RL_DIMS(0, 3), RL_F32, device);
    assert_int_equal(rl_tensor_read(empty, NULL, 0), RL_OK);
    assert_int_equal(rl_tensor_write(empty, NULL, 0), RL_OK);
}

static void items(void **state) {
    (void)state;
    RL_SCOPE();
    assert_true(rl_item(rl_tensor_from_data((const float[]){2.75f}, RL_NO_DIMS, RL_F32, NULL)) == 2.75);
    assert_int_equal(rl_item_int(rl_tensor_from_data((const double[]){-2.75}, RL_DIMS(1, 1), RL_F64, NULL)), -2);
    assert_int_equal(rl_item_int(rl_tensor_from_data((const double[]){1e300}, RL_NO_DIMS, RL_F64, NULL)), INT64_MAX);
    assert_int_equal(rl_item_int(rl_tensor_from_data((const float[]){NAN}, RL_NO_DIMS, RL_F32, NULL)), 0);
    assert_true(rl_item(rl_tensor_from_data((const uint16_t[]){0x3c00}, RL_NO_DIMS, RL_F16, NULL)) == 1);
    assert_true(rl_item(rl_tensor_from_data((const uint16_t[]){0xc000}, RL_NO_DIMS, RL_BF16, NULL)) == -2);
    assert_int_equal(rl_item_int(rl_tensor_from_data((const int8_t[]){-7}, RL_NO_DIMS, RL_I8, NULL)), -7);
    assert_int_equal(rl_item_int(rl_tensor_from_data((const uint8_t[]){200}, RL_NO_DIMS, RL_U8, NULL)), 200);
    assert_int_equal(rl_item_int(rl_tensor_from_data((const int16_t[]){-300}, RL_NO_DIMS, RL_I16, NULL)), -300);
    assert_true(rl_item(rl_tensor_from_data((const bool[]){true}, RL_NO_DIMS, RL_BOOL, NULL)) == 1);
    assert_int_equal(rl_item_int(rl_tensor_from_data((const int64_t[]){INT64_MIN}, RL_NO_DIMS, RL_I64, NULL)),
                     INT64_MIN);
    /* Somewhere within a storage. */
    rl_tensor *t = rl_tensor_from_data(six, RL_DIMS(6), RL_I32, NULL);
    assert_int_equal(rl_item_int(rl_select(t, 0, 4)), 5);
    rl_item(t);
    expect(RL_SHAPE_MISMATCH, "item: self (6) has 6 elements and must have one");
    rl_item_int(NULL);
    expect(RL_INVALID_ARGUMENT, "item_int: self is NULL");
}

static void wrong_data_is_refused(void **state) {
    (void)state;
    RL_SCOPE();
    int64_t many[13] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    assert_null(rl_tensor_from_data(six, RL_DIMS(-1), RL_I32, device));
    expect(RL_INVALID_ARGUMENT, "tensor_from_data");
    assert_null(rl_tensor_from_data(six, (rl_ints){many, 13}, RL_I32, device));
    expect(RL_INVALID_ARGUMENT, "shape has 13 dimensions; at most 12 are possible");
    assert_null(rl_tensor_from_data(six, (rl_ints){NULL, 2}, RL_I32, device));
    expect(RL_INVALID_ARGUMENT, "shape is NULL");
    assert_null(rl_tensor_from_data(six, RL_DIMS(INT64_MAX / 2, 4), RL_I32, device));
    assert_true(rl_failed());
    rl_error_clear();
    assert_null(rl_tensor_from_data(six, RL_DIMS(6), RL_DTYPE_NONE, device));
    expect(RL_INVALID_ARGUMENT, "dtype 0 is none");
    assert_null(rl_tensor_from_data(NULL, RL_DIMS(6), RL_I32, device));
    expect(RL_INVALID_ARGUMENT, "data is NULL");
    rl_tensor *t = rl_tensor_from_data(six, RL_DIMS(6), RL_I32, device);
    int32_t out[6];
    rl_tensor_read(t, out, 20);
    expect(RL_INVALID_ARGUMENT, "tensor_read: 20 bytes for a tensor of 24");
    rl_tensor_read(t, NULL, 24);
    expect(RL_INVALID_ARGUMENT, "tensor_read: data is NULL");
    rl_tensor_read(NULL, out, 24);
    expect(RL_INVALID_ARGUMENT, "tensor_read: self is NULL");
    rl_tensor_write(t, six, 28);
    expect(RL_INVALID_ARGUMENT, "tensor_write: 28 bytes for a tensor of 24");
    rl_tensor_data(NULL);
    expect(RL_INVALID_ARGUMENT, "tensor_data: self is NULL");
    /* While the thread holds an error, nothing is done. */
    rl_tensor_data(NULL);
    assert_null(rl_tensor_from_data(six, RL_DIMS(6), RL_I32, device));
    assert_int_equal(rl_tensor_write(t, six, sizeof six), RL_INVALID_ARGUMENT);
    assert_int_equal(rl_tensor_version(t), 0);
}

static void count_destroys(void *context) {
    ++*(int *)context;
}

static void wraps_foreign_memory(void **state) {
    (void)state;
    int destroyed = 0;
    int32_t data[6] = {1, 2, 3, 4, 5, 6};
    {
        RL_SCOPE();
        rl_tensor *t = rl_tensor_wrap(data, RL_DIMS(2, 3), (rl_ints){0}, RL_I32, device, count_destroys, &destroyed);
        assert_non_null(t);
        assert_ptr_equal(rl_tensor_data(t), data);
        rl_mul_(t, 2);
        assert_int_equal(data[5], 12);
        rl_tensor *row = rl_keep(rl_select(t, 0, 1)); /* lives as long as a view of it does */
        assert_ptr_equal(rl_tensor_data(row), data + 3);
        assert_int_equal(destroyed, 0);
        rl_tensor *back = rl_tensor_wrap(data + 5, RL_DIMS(6), RL_DIMS(-1), RL_I32, device, NULL, NULL);
        assert_int_equal(rl_item_int(rl_select(back, 0, 0)), 12);
        assert_int_equal(rl_item_int(rl_select(back, 0, 5)), 2);
    }
    assert_int_equal(destroyed, 0);
    rl_shutdown(); /* ends what belongs to the thread: the kept row */
    assert_int_equal(destroyed, 1);
    device = rl_device_get("ref");
    assert_non_null(device);
}

/* Whatever is wrong with it, foreign memory is given back, once. */
static void wrong_memory_is_refused(void **state) {
    (void)state;
    int32_t data[6] = {0};
    int64_t far[] = {INT64_MAX, INT64_MAX};
    const struct {
        void *data;
        rl_ints shape, strides;
        rl_dtype dtype;
        const char *sentence;
    } cases[] = {
        {NULL, RL_DIMS(6), {0}, RL_I32, "tensor_wrap: data is NULL"},
        {(char *)data + 1, RL_DIMS(3), {0}, RL_I32, "data is not aligned to the 4 bytes of int32"},
        {data, RL_DIMS(2, 3), RL_DIMS(1), RL_I32, "1 strides for 2 dimensions"},
        {data, RL_DIMS(2, 3), {far, 2}, RL_I32, "the strides reach beyond any memory"},
        {data, RL_DIMS(-6), {0}, RL_I32, "tensor_wrap"},
        {data, RL_DIMS(6), {0}, RL_DTYPE_COUNT, "is none"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        RL_SCOPE();
        int destroyed = 0;
        assert_null(rl_tensor_wrap(cases[i].data, cases[i].shape, cases[i].strides, cases[i].dtype, device,
                                   count_destroys, &destroyed));
        expect(RL_INVALID_ARGUMENT, cases[i].sentence);
        assert_int_equal(destroyed, 1);
    }
}

/* Each allocation of each function fails in turn: an error, and no memory lost. */
static void allocations_may_fail(void **state) {
    (void)state;
    for (int onward = 0; onward < 2; onward++) {
        bool reached = true;
        for (uint64_t n = 1; reached; n++) {
            RL_SCOPE();
            int32_t data[6], foreign[6] = {0};
            int destroyed = 0;
            uint64_t before = rl_alloc_count();
            rl_alloc_fail_at(n, onward);
            rl_tensor *t = rl_tensor_from_data(six, RL_DIMS(2, 3), RL_I32, device);
            rl_tensor *view = t ? rl_transpose(t, 0, 1) : NULL;
            if (view) {
                rl_tensor_read(view, data, sizeof data);
                rl_tensor_write(view, six, sizeof six);
            }
            rl_tensor *wrapped =
                rl_tensor_wrap(foreign, RL_DIMS(6), (rl_ints){0}, RL_I32, device, count_destroys, &destroyed);
            rl_alloc_fail_at(0, false);
            reached = rl_alloc_count() - before >= n;
            assert_int_equal(destroyed, wrapped == NULL);
            assert_true(reached || !rl_failed());
            if (rl_failed())
                expect(RL_OUT_OF_MEMORY, "out of memory");
            assert_true(n < 200);
        }
    }
}

/* Results of sizes that inputs made of nothing ask for: their bytes wrap to 0, or to few. */
static void overflowing_results_are_refused(void **state) {
    (void)state;
    RL_SCOPE();
    const int64_t half = INT64_C(1) << 31;
    rl_tensor *one = rl_ones(RL_DIMS(1, 1), .device = device), *row = rl_expand(one, RL_DIMS(1, half));
    rl_tensor *index = rl_zeros(RL_DIMS(16), .dtype = RL_I64, .device = device);
    rl_tensor *bytes = rl_expand(rl_ones(RL_DIMS(1), .dtype = RL_U8, .device = device), RL_DIMS(INT64_C(1) << 62));
    rl_tensor *wide = rl_expand(one, RL_DIMS(1, INT64_C(1) << 60));
    for (int64_t more = 0; more < 3; more++) {
        rl_tensor *column = rl_expand(one, RL_DIMS(half + more, 1));
        rl_tensor *results[] = {rl_add(column, row), (rl_error_clear(), rl_matmul(column, row)),
                                (rl_error_clear(), rl_where(rl_gt(column, 0.0), column, row)),
                                (rl_error_clear(), rl_linear(column, rl_expand(one, RL_DIMS(half + more, 1))))};
        for (int i = 0; i < (int)(sizeof results / sizeof *results); i++)
            assert_null(results[i]);
        expect(RL_INVALID_ARGUMENT, "of float32: its bytes overflow 2^62");
    }
    assert_null(rl_cast(bytes, RL_I64));
    expect(RL_INVALID_ARGUMENT, "cast: shape (4611686018427387904) of int64: its bytes overflow 2^62");
    assert_null(rl_cat(RL_TENSORS(bytes, bytes)));
    expect(RL_INVALID_ARGUMENT, "cat: the sizes of tensors along dim 0 add up to more than 2^63");
    assert_null(rl_index_select(wide, 0, index));
    expect(RL_INVALID_ARGUMENT, "index_select: shape (16, 1152921504606846976) of float32");
    assert_null(rl_embedding(wide, index));
    expect(RL_INVALID_ARGUMENT, "embedding: shape (16, 1152921504606846976) of float32");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(copies_in_and_out, clear),
        cmocka_unit_test_teardown(items, clear),
        cmocka_unit_test_teardown(wrong_data_is_refused, clear),
        cmocka_unit_test_teardown(overflowing_results_are_refused, clear),
        cmocka_unit_test_teardown(wraps_foreign_memory, clear),
        cmocka_unit_test_teardown(wrong_memory_is_refused, clear),
        cmocka_unit_test_teardown(allocations_may_fail, clear),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
