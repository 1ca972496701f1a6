/* SPDX-License-Identifier: Apache-2.0 */
/* Tables of what is prepared: bounded, what is in use stays, failures are not kept. And oneDNN's products in one. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "library.h"

/* The host, which nothing here asks for much. */
static rl_status host_fail(rl_status status, const char *format, ...) {
    (void)format;
    return status;
}
static uint32_t host_threads(void) {
    return 1;
}
static const rl_host host = {.size = sizeof host, .fail = host_fail, .thread_count = host_threads};
const rl_host *od_host = &host;

/* Entries that count themselves ----------------------------------------------------------------------------------- */

enum { MOST = 8, MOST_BYTES = 1000 };
typedef struct thing {
    od_prepared base;
    int64_t key;
    int64_t value;
} thing;
static int made, alive, fails;

static rl_status make_thing(od_prepared *entry) {
    thing *self = (thing *)(void *)entry;
    made++;
    alive++;
    self->value = self->key * 10;
    entry->bytes = self->key < 0 ? (size_t)-self->key : 0; /* negative keys are large */
    return fails ? RL_OUT_OF_MEMORY : RL_OK;
}
static void drop_thing(od_prepared *entry) {
    ((thing *)(void *)entry)->value = -1;
    alive--;
}
static od_prepared_table things = OD_PREPARED_TABLE(thing, int64_t, MOST, MOST_BYTES, make_thing, drop_thing, NULL);

static thing *take(int64_t key) {
    od_prepared *entry;
    const rl_status status = od_prepared_take(&things, &key, &entry);
    assert_int_equal(status, fails ? RL_OUT_OF_MEMORY : RL_OK);
    return (thing *)(void *)entry;
}
static void give(thing *self) {
    od_prepared_give(&things, &self->base);
}
static void use(int64_t key) {
    thing *self = take(key);
    assert_non_null(self);
    assert_int_equal(self->value, key * 10);
    give(self);
}

static void the_oldest_goes(void **state) {
    (void)state;
    made = 0;
    for (int64_t key = 0; key < MOST; key++)
        use(key);
    use(0);
    use(100); /* 1 goes for it */
    assert_int_equal(made, MOST + 1);
    assert_int_equal(alive, MOST);
    use(0);
    assert_int_equal(made, MOST + 1);
    use(1);
    assert_int_equal(made, MOST + 2);
    od_prepared_clear(&things);
    assert_int_equal(alive, 0);
}

static void what_is_in_use_stays(void **state) {
    (void)state;
    thing *held = take(7);
    for (int64_t key = 1000; key < 1000 + 3 * MOST; key++)
        use(key);
    assert_int_equal(held->value, 70);
    assert_int_equal(alive, MOST);
    od_prepared_forked(&things); /* its user is not in the child: it goes like any other */
    for (int64_t key = 0; key < 2 * MOST; key++)
        use(key + 2000);
    assert_int_equal(alive, MOST);
    od_prepared_clear(&things);
}

static void bytes_are_bounded(void **state) {
    (void)state;
    made = 0;
    assert_null(od_prepared_find(&things, &(int64_t){-400}));
    for (int64_t key = -400; key > -403; key--) /* the third is too much: the first goes */
        use(key);
    assert_int_equal(alive, 2);
    assert_int_equal(things.bytes, 401 + 402);
    thing *held = take(-401);
    use(-900); /* more than fits beside what is in use: only that stays */
    assert_int_equal(alive, 2);
    give(held);
    od_prepared *found = od_prepared_find(&things, &(int64_t){-900});
    assert_non_null(found);
    od_prepared_forked(&things);
    assert_int_equal(things.bytes, 401 + 900);
    use(1);
    assert_int_equal(things.bytes, 900);
    assert_int_equal(made, 5);
    od_prepared_clear(&things);
    assert_int_equal(things.bytes, 0);
}

static int is_even(const od_prepared *entry, const void *unused) {
    (void)unused;
    return ((const thing *)(const void *)entry)->key % 2 == 0;
}
static void some_are_dropped(void **state) {
    (void)state;
    for (int64_t key = 1; key <= 6; key++)
        use(key);
    thing *held = take(4);
    od_prepared_drop(&things, is_even, NULL);
    assert_int_equal(alive, 4); /* 1, 3, 5, and 4, which is in use */
    assert_int_equal(things.count, 4);
    assert_int_equal(held->value, 40);
    give(held);
    od_prepared_clear(&things);
    assert_int_equal(alive, 0);
}

static void failures_are_not_kept(void **state) {
    (void)state;
    fails = 1;
    assert_null(take(3));
    assert_int_equal(alive, 0);
    fails = 0;
    use(3);
    assert_int_equal(alive, 1);
    od_prepared_clear(&things);
}

static void *use_many(void *seed) {
    uint64_t state = *(const uint64_t *)seed;
    for (int i = 0; i < 20000; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        int64_t key = (int64_t)(state >> 33) % (3 * MOST);
        thing *self = take(key);
        if (self == NULL || self->value != key * 10)
            return seed;
        give(self);
    }
    return NULL;
}

static void several_users(void **state) {
    (void)state;
    pthread_t threads[4];
    uint64_t seeds[4] = {1, 2, 3, 4};
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, use_many, &seeds[i]), 0);
    for (int i = 0; i < 4; i++) {
        void *failed;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    assert_true(alive <= MOST + 4); /* as many as were in use at once may stand beyond the bound */
    od_prepared_clear(&things);
    assert_int_equal(alive, 0);
}

/* Products -------------------------------------------------------------------------------------------------------- */

enum { K = 8, N = 4 };
static od_gemm_shape shape_of(int64_t m) {
    return (od_gemm_shape){
        .m = m, .n = N, .k = K, .a_row = K, .a_col = 1, .b_row = N, .b_col = 1, .c_row = N, .dtype = RL_F32};
}

/* Ones times ones. */
static void run(od_gemm *gemm, int64_t m) {
    static float a[2000 * K], b[K * N], c[2000 * N];
    static _Alignas(64) char scratch[1 << 20];
    assert_true(od_gemm_scratch(gemm) <= sizeof scratch);
    for (int i = 0; i < 2000 * K; i++)
        a[i] = 1;
    for (int i = 0; i < K * N; i++)
        b[i] = 1;
    memset(c, 0, sizeof c);
    assert_int_equal(od_gemm_run(gemm, a, b, c, scratch), RL_OK);
    for (int64_t i = 0; i < m * N; i++)
        assert_true(c[i] == K);
}

static void products_are_bounded(void **state) {
    (void)state;
    const od_gemm_shape first = shape_of(1900);
    od_gemm *held = od_gemm_take(&first);
    if (held == NULL) {
        print_message("oneDNN multiplies slowly here: not tested\n");
        skip();
    }
    for (int64_t m = 1; m <= 1100; m++) {
        const od_gemm_shape shape = shape_of(m);
        od_gemm *gemm = od_gemm_take(&shape);
        assert_non_null(gemm);
        if (m % 100 == 1)
            run(gemm, m);
        od_gemm_give(gemm);
    }
    assert_int_equal(od_gemms.count, od_gemms.most);
    run(held, 1900);
    od_gemm *again = od_gemm_take(&first);
    assert_ptr_equal(again, held);
    od_gemm_give(again);
    od_gemm_give(held);
    od_gemm_give(NULL);
    od_prepared_clear(&od_gemms);
    assert_int_equal(od_gemms.count, 0);
    od_library_shutdown();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_oldest_goes),       cmocka_unit_test(what_is_in_use_stays),
        cmocka_unit_test(bytes_are_bounded),     cmocka_unit_test(some_are_dropped),
        cmocka_unit_test(failures_are_not_kept), cmocka_unit_test(several_users),
        cmocka_unit_test(products_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
