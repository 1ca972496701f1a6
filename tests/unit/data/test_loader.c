/* SPDX-License-Identifier: Apache-2.0 */
/* Batches: order, shuffling, the last one, the prefetch thread, errors that come from it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "rushlight/rushlight.h"

enum { SIZE = 23 };

static void expect(rl_status status, const char *sentence) {
    if (rl_error_status() != status || !strstr(rl_error_text(), sentence))
        fail_msg("%d '%s', must be %d with '%s'", (int)rl_error_status(), rl_error_text(), (int)status, sentence);
    rl_error_clear();
}

static rl_dataset *numbers(void) {
    return rl_dataset_of_tensors(RL_TENSORS(rl_arange(SIZE)));
}

/* Runs one epoch; out[i] is the i-th sample that came. Returns how many batches there were. */
static int epoch(rl_loader *loader, int64_t *out, int64_t *out_count) {
    rl_tensor *x;
    int batches = 0;
    *out_count = 0;
    while (rl_loader_next(loader, &x)) {
        int64_t n = rl_tensor_size(x, 0);
        assert_int_equal(rl_tensor_read(x, out + *out_count, (size_t)n * sizeof *out), RL_OK);
        *out_count += n;
        batches++;
    }
    assert_int_equal(rl_error_status(), RL_OK);
    return batches;
}

static void test_order(void **state) {
    (void)state;
    for (int prefetch = 0; prefetch < 4; prefetch++) {
        RL_SCOPE();
        int64_t got[SIZE], count;
        rl_loader *loader = rl_loader_new(numbers(), .batch_size = 5, .prefetch = prefetch ? prefetch : RL_ZERO);
        assert_int_equal(rl_loader_batches(loader), 5);
        for (int e = 0; e < 3; e++) {
            assert_int_equal(rl_loader_epoch(loader), e);
            assert_int_equal(epoch(loader, got, &count), 5);
            assert_int_equal(count, SIZE);
            for (int64_t i = 0; i < SIZE; i++)
                assert_int_equal(got[i], i);
        }
    }
}

static void test_drop_last(void **state) {
    (void)state;
    RL_SCOPE();
    int64_t got[SIZE], count;
    rl_loader *loader = rl_loader_new(numbers(), .batch_size = 5, .drop_last = true);
    assert_int_equal(rl_loader_batches(loader), 4);
    assert_int_equal(epoch(loader, got, &count), 4);
    assert_int_equal(count, 20);
    loader = rl_loader_new(rl_dataset_slice(numbers(), 20, 3));
    assert_int_equal(epoch(loader, got, &count), 3);
    assert_int_equal(got[0], 20);
}

/* Each sample once; another order each epoch; the order of an epoch depends on seed and number alone. */
static void test_shuffle(void **state) {
    (void)state;
    RL_SCOPE();
    int64_t first[SIZE], second[SIZE], again[SIZE], other[SIZE], count;
    bool seen[SIZE] = {false};
    rl_loader *loader = rl_loader_new(numbers(), .batch_size = 4, .shuffle = true, .seed = 7);
    epoch(loader, first, &count);
    epoch(loader, second, &count);
    for (int i = 0; i < SIZE; i++) {
        assert_false(seen[first[i]]);
        seen[first[i]] = true;
    }
    assert_memory_not_equal(first, second, sizeof first);
    assert_int_equal(rl_loader_set_epoch(loader, 1), RL_OK);
    epoch(loader, again, &count);
    assert_memory_equal(second, again, sizeof second);
    loader = rl_loader_new(numbers(), .batch_size = 23, .shuffle = true, .seed = 7, .prefetch = RL_ZERO);
    epoch(loader, again, &count);
    assert_memory_equal(first, again, sizeof first);
    loader = rl_loader_new(numbers(), .batch_size = 4, .shuffle = true, .seed = 8);
    epoch(loader, other, &count);
    assert_memory_not_equal(first, other, sizeof first);
}

/* Leaving in the middle of an epoch, at any batch, hangs nothing and leaks nothing. */
static void test_leave_early(void **state) {
    (void)state;
    for (int stop = 0; stop < 7; stop++) {
        RL_SCOPE();
        rl_tensor *x;
        rl_loader *loader = rl_loader_new(numbers(), .batch_size = 4, .shuffle = true, .seed = 1, .prefetch = 3);
        for (int i = 0; i < stop; i++)
            rl_loader_next(loader, &x);
        if (stop % 2)
            rl_loader_set_epoch(loader, 5);
    }
    assert_int_equal(rl_error_status(), RL_OK);
}

static rl_status broken_fetch(void *context, const int64_t *sample, int64_t count, void *const *fields, char *sentence,
                              size_t room) {
    (void)context;
    for (int64_t i = 0; i < count; i++) {
        if (sample[i] == 9) {
            snprintf(sentence, room, "sample 9 is gone");
            return RL_IO_ERROR;
        }
        ((int64_t *)fields[0])[i] = sample[i];
    }
    return RL_OK;
}

static void test_error_of_a_dataset(void **state) {
    (void)state;
    static const rl_dataset_class broken = {sizeof broken, "broken", broken_fetch, NULL};
    const rl_dataset_field field = {RL_I64, 0, {0}};
    for (int prefetch = 0; prefetch < 3; prefetch++) {
        RL_SCOPE();
        rl_tensor *x;
        rl_loader *loader = rl_loader_new(rl_dataset_new(&broken, NULL, SIZE, &field, 1), .batch_size = 4,
                                          .prefetch = prefetch ? prefetch : RL_ZERO);
        assert_true(rl_loader_next(loader, &x));
        assert_true(rl_loader_next(loader, &x));
        assert_false(rl_loader_next(loader, &x));
        expect(RL_IO_ERROR, "sample 9 is gone");
        for (int batch = 3; batch < 6; batch++) { /* the next ones come as ever, and the epoch ends where it should */
            assert_true(rl_loader_next(loader, &x));
            assert_int_equal(rl_item_int(rl_select(x, 0, 0)), 4 * batch);
        }
        assert_false(rl_loader_next(loader, &x));
        assert_int_equal(rl_error_status(), RL_OK);
        assert_int_equal(rl_loader_epoch(loader), 1);
    }
}

static void test_refuses(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *x, *y;
    assert_null(rl_loader_new(numbers(), .batch_size = -1));
    expect(RL_INVALID_ARGUMENT, "batch_size");
    assert_null(rl_loader_new(NULL));
    expect(RL_INVALID_ARGUMENT, "dataset");
    assert_null(rl_dataset_slice(numbers(), 20, 4));
    expect(RL_INDEX_OUT_OF_RANGE, "23");
    assert_null(rl_dataset_of_tensors((rl_tensors){NULL, 2}));
    expect(RL_INVALID_ARGUMENT, "dataset_of_tensors: got 2 tensors at NULL");
    assert_null(rl_dataset_of_tensors(RL_TENSORS(rl_zeros(RL_DIMS(3)), rl_zeros(RL_DIMS(4)))));
    expect(RL_SHAPE_MISMATCH, "4");
    assert_false(rl_loader_next2(NULL, &x, &y));
    assert_string_equal(rl_error_text(), "loader_next2: the loader is NULL");
    rl_error_clear();
    assert_false(rl_loader_next2(rl_loader_new(numbers()), &x, &y));
    expect(RL_INVALID_ARGUMENT, "two fields");
    assert_false(rl_loader_next(NULL, &x));
    rl_error_clear();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),       cmocka_unit_test(test_drop_last),          cmocka_unit_test(test_shuffle),
        cmocka_unit_test(test_leave_early), cmocka_unit_test(test_error_of_a_dataset), cmocka_unit_test(test_refuses)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rl_shutdown();
    return failed;
}
