/* SPDX-License-Identifier: Apache-2.0 */
/* Batches: order, shuffling, the last one, the prefetch thread, errors that come from it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

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

/* A child of fork has no loader's thread: its loader begins one of its own where the parent's stood. */
#ifdef __SANITIZE_THREAD__
#define CHILDREN 1 /* the sanitizer ends a child of several threads that starts another */
#else
#define CHILDREN 2
#endif
static int go_on(rl_loader *loader, const int64_t *want) {
    int64_t got[SIZE], count;
    alarm(20); /* one that hangs dies of it */
    int bad = epoch(loader, got, &count) != 5 || count != SIZE || memcmp(got, want, sizeof got) != 0;
    bad |= rl_loader_epoch(loader) != 2;
    rl_shutdown();
    return bad;
}
static int end_at_once(rl_loader *loader, const int64_t *want) {
    (void)loader, (void)want;
    alarm(20);
    rl_shutdown();
    return 0;
}

static void test_forks(void **state) {
    (void)state;
    static int (*const children[])(rl_loader *, const int64_t *) = {end_at_once, go_on};
    for (int prefetch = 1; prefetch < 8; prefetch += 3) {
        RL_SCOPE();
        int64_t got[SIZE], count;
        rl_loader *loader = rl_loader_new(numbers(), .batch_size = 5, .shuffle = true, .seed = 3, .prefetch = prefetch);
        epoch(loader, got, &count);
        rl_loader *same = rl_loader_new(numbers(), .batch_size = 5, .shuffle = true, .seed = 3);
        epoch(same, got, &count);
        epoch(same, got, &count);
        for (int i = 0; i < CHILDREN; i++) {
            int status;
            fflush(NULL);
            pid_t child = fork();
            if (child == 0)
                _exit(children[i](loader, got));
            assert_int_equal(waitpid(child, &status, 0), child);
            assert_int_equal(status, 0);
        }
        int64_t mine[SIZE];
        assert_int_equal(epoch(loader, mine, &count), 5); /* and the parent goes on */
        assert_memory_equal(mine, got, sizeof got);
    }
}

/* Classes as a program has them that was built with a shorter header, at the end of their memory. */
static int contexts_destroyed;
static void count_context(void *context) {
    (void)context;
    contexts_destroyed++;
}
static rl_status zero_fetch(void *context, const int64_t *numbers, int64_t count, void *const *fields, char *sentence,
                            size_t room) {
    (void)context, (void)numbers, (void)sentence, (void)room;
    memset(fields[0], 0, (size_t)count * sizeof(float));
    return RL_OK;
}

static void test_short_classes(void **state) {
    (void)state;
    const rl_dataset_field field = {.dtype = RL_F32};
    const rl_dataset_class whole = {sizeof whole, "zeros", zero_fetch, count_context};
    static const size_t sizes[] = {sizeof(size_t), offsetof(rl_dataset_class, fetch),
                                   offsetof(rl_dataset_class, destroy), sizeof whole};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        rl_scope scope = rl_scope_begin();
        rl_dataset_class *class = malloc(sizes[i]);
        assert_non_null(class);
        memcpy(class, &whole, sizes[i]);
        memcpy(class, &sizes[i], sizeof(size_t));
        contexts_destroyed = 0;
        rl_dataset *made = rl_dataset_new(class, NULL, 3, &field, 1);
        free(class); /* it is copied */
        if (i < 2) {
            assert_null(made);
            expect(RL_INVALID_ARGUMENT, "dataset: the class must have struct_size and fetch");
        } else {
            rl_tensor *x;
            assert_true(rl_loader_next(rl_loader_new(made, .batch_size = 3), &x));
            assert_true(rl_item(rl_sum(x)) == 0);
        }
        rl_scope_end(scope);
        assert_int_equal(contexts_destroyed, i == 3);
    }
    contexts_destroyed = 0;
    assert_null(rl_dataset_new(&whole, NULL, -1, &field, 1));
    expect(RL_INVALID_ARGUMENT, "size must not be negative");
    assert_null(rl_dataset_new(NULL, NULL, 1, &field, 1));
    expect(RL_INVALID_ARGUMENT, "the class must have");
    assert_int_equal(contexts_destroyed, 1);
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
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_order),
                                       cmocka_unit_test(test_forks),
                                       cmocka_unit_test(test_short_classes),
                                       cmocka_unit_test(test_drop_last),
                                       cmocka_unit_test(test_shuffle),
                                       cmocka_unit_test(test_leave_early),
                                       cmocka_unit_test(test_error_of_a_dataset),
                                       cmocka_unit_test(test_refuses)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rl_shutdown();
    return failed;
}
