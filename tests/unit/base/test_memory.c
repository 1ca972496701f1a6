/* SPDX-License-Identifier: Apache-2.0 */
/* Allocation, failure on request, pools. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/memory.h"

static int clear(void **state) {
    (void)state;
    rl_alloc_fail_at(0, false);
    rl_error_clear();
    rl_shutdown();
    return 0;
}

static void blocks(void **state) {
    (void)state;
    uint64_t before = rl_alloc_count();
    char *block = rl_alloc(10, "a test");
    assert_non_null(block);
    memset(block, 1, 10);
    block = rl_realloc(block, 5, 8, "a test");
    assert_non_null(block);
    assert_int_equal(block[9], 1);
    rl_free(block);
    int *zeros = rl_alloc_zero(100, sizeof *zeros, "a test");
    for (int i = 0; i < 100; i++)
        assert_int_equal(zeros[i], 0);
    rl_free(zeros);
    char *copy = rl_strdup("copy", "a test");
    assert_string_equal(copy, "copy");
    rl_free(copy);
    assert_int_equal(rl_alloc_count() - before, 4);
    rl_free(NULL);
}

static void blocks_of_nothing(void **state) {
    (void)state;
    void *all[] = {rl_alloc(0, "x"), rl_alloc_zero(0, 8, "x"), rl_realloc(NULL, 0, 8, "x"), rl_alloc_aligned(0, "x")};
    for (int i = 0; i < 4; i++) {
        assert_non_null(all[i]);
        rl_free(all[i]);
    }
}

static void aligned(void **state) {
    (void)state;
    for (size_t bytes = 1; bytes < 300; bytes += 37) {
        void *block = rl_alloc_aligned(bytes, "a test");
        assert_int_equal((uintptr_t)block % 64, 0);
        memset(block, 7, bytes);
        rl_free(block);
    }
}

static void too_much(void **state) {
    (void)state;
    assert_null(rl_alloc(SIZE_MAX, "the moon"));
    assert_int_equal(rl_error_status(), RL_OUT_OF_MEMORY);
    assert_string_equal(rl_error_text(), "out of memory: 18446744073709551615 bytes for the moon");
    rl_error_clear();
    assert_null(rl_alloc_zero(SIZE_MAX / 2, 3, "products that wrap"));
    assert_true(rl_failed());
    rl_error_clear();
    char *block = rl_alloc(1, "a test");
    assert_null(rl_realloc(block, SIZE_MAX / 4, 8, "products that wrap"));
    assert_true(rl_failed());
    *block = 'x'; /* still there */
    rl_free(block);
    rl_error_clear();
    assert_null(rl_alloc_aligned(SIZE_MAX - 10, "rounding that wraps"));
    assert_true(rl_failed());
}

static void *one_of_each(int which) {
    switch (which) {
    case 0:
        return rl_alloc(8, "one");
    case 1:
        return rl_alloc_zero(2, 4, "one");
    case 2:
        return rl_realloc(NULL, 2, 4, "one");
    case 3:
        return rl_strdup("text", "one");
    default:
        return rl_alloc_aligned(8, "one");
    }
}

static void fails_on_request(void **state) {
    (void)state;
    for (int onward = 0; onward < 2; onward++) {
        for (int n = 1; n <= 5; n++) {
            rl_alloc_fail_at((uint64_t)n, onward);
            for (int i = 0; i < 5; i++) {
                void *block = one_of_each(i);
                bool fails = i + 1 == n || (onward && i + 1 > n);
                assert_int_equal(block == NULL, fails);
                assert_int_equal(rl_failed(), fails);
                if (fails)
                    assert_non_null(strstr(rl_error_text(), "bytes for one"));
                rl_error_clear();
                rl_free(block);
            }
        }
    }
    rl_alloc_fail_at(0, true);
    void *block = rl_alloc(1, "after it");
    assert_non_null(block);
    rl_free(block);
}

/* Blocks carry their own address, so that one given out twice is seen. */
typedef struct block {
    struct block *self;
    char rest[100];
} block;

static rl_pool pool = {.bytes = sizeof(block), .what = "a block"};

static void pool_gives_different_blocks(void **state) {
    (void)state;
    static block *all[6000]; /* more than a thread keeps */
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 6000; i++) {
            all[i] = rl_pool_take(&pool);
            assert_non_null(all[i]);
            all[i]->self = all[i];
        }
        for (int i = 0; i < 6000; i++) {
            assert_ptr_equal(all[i]->self, all[i]);
            all[i]->self = NULL;
            rl_pool_give(&pool, all[i]);
        }
    }
    rl_pool_give(&pool, NULL);
}

static void pool_fails_on_request(void **state) {
    (void)state;
    rl_pool_give(&pool, rl_pool_take(&pool)); /* one lies ready */
    rl_alloc_fail_at(1, false);
    assert_null(rl_pool_take(&pool));
    assert_int_equal(rl_error_status(), RL_OUT_OF_MEMORY);
    assert_non_null(strstr(rl_error_text(), "for a block"));
    rl_error_clear();
    void *taken = rl_pool_take(&pool);
    assert_non_null(taken);
    rl_pool_give(&pool, taken);
}

/* More pools than a thread has lists for work all the same. */
static void many_pools(void **state) {
    (void)state;
    static rl_pool pools[40];
    for (int i = 0; i < 40; i++) {
        rl_pool_init(&pools[i], (size_t)i, "a small block");
        for (int k = 0; k < 3; k++) {
            void *taken = rl_pool_take(&pools[i]);
            assert_non_null(taken);
            memset(taken, 1, (size_t)i);
            rl_pool_give(&pools[i], taken);
        }
    }
}

#define PASSED 4000
static _Atomic(block *) passed[PASSED]; /* from the makers to the takers */
static rl_pool shared_pool = {.bytes = sizeof(block), .what = "a shared block"};
static atomic_int wrong;

static void *make_blocks(void *argument) {
    intptr_t half = (intptr_t)argument;
    for (intptr_t i = half; i < PASSED; i += 2) {
        block *b = rl_pool_take(&shared_pool);
        b->self = b;
        atomic_store_explicit(&passed[i], b, memory_order_release);
        if (i % 3 == 0) {
            block *own = rl_pool_take(&shared_pool);
            own->self = own;
            rl_pool_give(&shared_pool, own);
        }
    }
    return NULL;
}

static void *free_blocks(void *argument) {
    intptr_t half = (intptr_t)argument;
    for (intptr_t i = half; i < PASSED; i += 2) {
        block *b;
        while (!(b = atomic_exchange_explicit(&passed[i], NULL, memory_order_acquire)))
            sched_yield();
        if (b->self != b)
            atomic_fetch_add(&wrong, 1);
        b->self = NULL;
        rl_pool_give(&shared_pool, b);
    }
    return NULL;
}

static void pool_across_threads(void **state) {
    (void)state;
    pthread_t threads[4];
    for (intptr_t i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, make_blocks, (void *)i), 0);
        assert_int_equal(pthread_create(&threads[2 + i], NULL, free_blocks, (void *)i), 0);
    }
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(wrong, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, clear, clear)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(blocks),     TEST(blocks_of_nothing),     TEST(aligned),
        TEST(too_much),   TEST(fails_on_request),      TEST(pool_gives_different_blocks),
        TEST(many_pools), TEST(pool_fails_on_request), TEST(pool_across_threads),
    };
    return cmocka_run_group_tests_name("base: memory", tests, NULL, NULL);
}
