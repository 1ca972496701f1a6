/* SPDX-License-Identifier: Apache-2.0 */
/* Objects, scopes, barriers, the end of threads and of the library. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/object.h"

typedef struct thing {
    rl_object object;
    void (*at_end)(void);
} thing;

static atomic_int alive;

static void destroy(rl_object *object) {
    thing *self = (thing *)object;
    void (*at_end)(void) = self->at_end;
    rl_free(self);
    atomic_fetch_sub(&alive, 1);
    if (at_end)
        at_end();
}
static const rl_object_class thing_class = {"thing", destroy};

static thing *thing_new(void) {
    thing *self = rl_alloc(sizeof *self, "a thing");
    if (!self)
        return NULL;
    rl_object_init(&self->object, &thing_class);
    self->at_end = NULL;
    atomic_fetch_add(&alive, 1);
    return rl_object_own(self);
}

static int clear(void **state) {
    (void)state;
    rl_alloc_fail_at(0, false);
    rl_error_clear();
    rl_shutdown();
    return alive;
}

static void counts(void **state) {
    (void)state;
    RL_SCOPE();
    thing *a = thing_new();
    assert_ptr_equal(rl_retain(a), a);
    rl_release(a);
    assert_int_equal(alive, 1);
    rl_release(NULL);
    assert_null(rl_retain(NULL));
    assert_null(rl_object_own(NULL));
}

static int leave_by_return(void) {
    RL_SCOPE();
    thing_new();
    return alive;
}

static void scopes_end_however_left(void **state) {
    (void)state;
    {
        RL_SCOPE();
        thing_new();
        {
            RL_SCOPE();
            thing_new();
            assert_int_equal(alive, 2);
        }
        assert_int_equal(alive, 1);
    }
    assert_int_equal(alive, 0);
    for (int i = 0; i < 3; i++) {
        RL_SCOPE();
        thing_new();
        if (i == 1)
            continue;
        if (i == 2)
            break;
    }
    assert_int_equal(alive, 0);
    assert_int_equal(leave_by_return(), 1);
    assert_int_equal(alive, 0);
}

static void many_objects(void **state) {
    (void)state;
    RL_SCOPE();
    for (int i = 0; i < 1000; i++) {
        RL_SCOPE();
        for (int k = 0; k < i % 7; k++)
            thing_new();
        if (i % 100 == 0)
            rl_keep(thing_new());
    }
    assert_int_equal(alive, 10);
    rl_scope nested[200];
    for (int i = 0; i < 200; i++) {
        nested[i] = rl_scope_begin();
        thing_new();
    }
    assert_int_equal(alive, 210);
    rl_scope_end(nested[50]); /* and those within it */
    assert_int_equal(alive, 60);
    rl_scope_end(nested[120]); /* ended already */
    rl_scope other = rl_scope_begin();
    thing_new();
    rl_scope_end(nested[51]); /* of that number, but another */
    rl_scope_end((rl_scope){0});
    rl_scope_end((rl_scope){12345});
    assert_int_equal(alive, 61);
    rl_scope_end(other);
    assert_int_equal(alive, 60);
    rl_scope_end(nested[0]);
    assert_int_equal(alive, 10);
}

static void keep(void **state) {
    (void)state;
    assert_null(rl_keep(NULL));
    thing *first, *last;
    {
        RL_SCOPE();
        {
            RL_SCOPE();
            first = thing_new();
            thing_new();
            last = thing_new();
            assert_ptr_equal(rl_keep(last), last);
            assert_ptr_equal(rl_keep(first), first);
            rl_keep(first); /* it is not in the innermost scope any more */
        }
        assert_int_equal(alive, 2);
        rl_keep(first);
    }
    assert_int_equal(alive, 1); /* the thread's own now */
    rl_keep(first);
    assert_int_equal(alive, 1);
    rl_shutdown();
    assert_int_equal(alive, 0);
}

static void keep_one_of_two_owners(void **state) {
    (void)state;
    {
        RL_SCOPE();
        {
            RL_SCOPE();
            thing *a = thing_new();
            rl_object_own(rl_retain(a));
            rl_keep(a);
        }
        assert_int_equal(alive, 1);
    }
    assert_int_equal(alive, 0);
}

static void barriers(void **state) {
    (void)state;
    rl_scope outside = rl_scope_begin();
    thing *before = thing_new();
    rl_barrier barrier = rl_barrier_enter();
    thing_new();
    rl_scope open1 = rl_scope_begin();
    thing_new();
    rl_barrier inner = rl_barrier_enter();
    rl_scope_end(open1); /* outside of the inner barrier */
    assert_int_equal(alive, 3);
    thing *result = thing_new();
    rl_scope_begin(); /* left open */
    thing_new();
    assert_ptr_equal(rl_barrier_leave(inner, result), result);
    assert_int_equal(alive, 4);
    rl_scope_end(outside); /* outside of the outer barrier */
    assert_int_equal(alive, 4);
    rl_scope_end(open1); /* with the result in it */
    assert_int_equal(alive, 2);
    assert_null(rl_barrier_leave(barrier, NULL));
    assert_int_equal(alive, 1);
    rl_barrier again = rl_barrier_enter();
    assert_ptr_equal(rl_barrier_leave(again, before), before); /* it gives what came from outside */
    assert_ptr_equal(rl_barrier_leave(again, before), before); /* left already */
    assert_int_equal(alive, 1);
    rl_scope_end(outside);
    assert_int_equal(alive, 0);
}

/* A result that lives only by something within the barrier outlives it. */
static thing *held;
static void release_held(void) {
    rl_release(held);
}

static void barrier_keeps_borrowed_result(void **state) {
    (void)state;
    RL_SCOPE();
    rl_barrier barrier = rl_barrier_enter();
    {
        RL_SCOPE();
        held = rl_retain(thing_new());
    }
    thing_new()->at_end = release_held;
    assert_ptr_equal(rl_barrier_leave(barrier, held), held);
    assert_int_equal(alive, 1);
    assert_int_equal(held->object.count, 1);
}

/* What is destroyed may run code of the user, which makes, opens, ends, shuts down. */
static rl_scope ended_within;
static void make_more(void) {
    thing_new();
    RL_SCOPE();
    thing_new();
}
static void end_the_same(void) {
    rl_scope_end(ended_within);
}
static void leave_open(void) {
    rl_scope_begin();
    thing_new();
}

static void destroy_runs_code(void **state) {
    (void)state;
    static void (*const codes[])(void) = {make_more, end_the_same, leave_open, rl_shutdown};
    for (int i = 0; i < 4; i++) {
        ended_within = rl_scope_begin();
        thing_new();
        rl_scope_begin();
        thing_new();
        thing_new()->at_end = codes[i];
        thing_new();
        rl_scope_end(ended_within);
        assert_int_equal(alive, 0);
    }
    thing_new()->at_end = leave_open;
    thing_new()->at_end = make_more;
    rl_shutdown();
    assert_int_equal(alive, 0);
}

static void *use_thread(void *argument) {
    thing_new();
    rl_scope_begin();
    thing_new();
    rl_barrier_enter();
    thing_new();
    rl_release(argument);
    return NULL;
}

static void threads_end(void **state) {
    (void)state;
    RL_SCOPE();
    thing *shared = thing_new();
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, use_thread, rl_retain(shared)), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(alive, 1);
    assert_int_equal(shared->object.count, 1);
}

static void *count_often(void *argument) {
    for (int i = 0; i < 20000; i++) {
        rl_retain(argument);
        rl_release(argument);
    }
    rl_release(argument);
    return NULL;
}

static void counts_across_threads(void **state) {
    (void)state;
    thing *shared;
    {
        RL_SCOPE();
        shared = rl_retain(thing_new());
    }
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_often, rl_retain(shared)), 0);
    rl_release(shared); /* whoever comes last destroys it */
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(alive, 0);
}

static char order[8];
static void work_a(void) {
    strcat(order, "a");
}
static void work_b(void) {
    strcat(order, alive == 0 ? "b" : "B"); /* objects went before */
    rl_at_shutdown(work_a);
    thing_new();
}

static void shutdown_in_reverse(void **state) {
    (void)state;
    order[0] = '\0';
    rl_at_shutdown(work_a);
    rl_at_shutdown(work_b);
    rl_at_shutdown(work_a);
    thing_new();
    rl_scope stale = rl_scope_begin();
    thing *retained = rl_retain(thing_new());
    rl_release(rl_retain(retained));
    rl_scope_begin();
    rl_release(thing_new() ? retained : NULL);
    rl_shutdown();
    assert_string_equal(order, "ba");
    assert_int_equal(alive, 0);
    rl_scope_end(stale);
    rl_shutdown(); /* once */
    assert_string_equal(order, "ba");
    RL_SCOPE(); /* and from the start again */
    assert_non_null(thing_new());
    assert_string_equal(rl_version(), RUSHLIGHT_VERSION);
}

/* Every allocation fails in turn: an error, no leak, and scopes that still own. */
static int busy(void) {
    int made = 0;
    rl_scope scope = rl_scope_begin();
    for (int i = 0; i < 70; i++) {
        rl_scope_begin();
        rl_barrier barrier = rl_barrier_enter();
        thing *a = thing_new();
        made += a != NULL;
        made += rl_barrier_leave(barrier, a) != NULL;
    }
    rl_scope_end(scope);
    rl_shutdown();
    return made;
}

static void every_allocation_fails(void **state) {
    (void)state;
    for (int onward = 0; onward < 2; onward++) {
        for (uint64_t n = 1;; n++) {
            assert_true(n < 1000);
            rl_shutdown();
            rl_alloc_fail_at(n, onward);
            int made = busy();
            rl_alloc_fail_at(0, false);
            assert_int_equal(alive, 0);
            if (!rl_failed()) {
                assert_int_equal(made, 140);
                assert_true(n > 70); /* each thing is an allocation */
                break;
            }
            assert_int_equal(rl_error_status(), RL_OUT_OF_MEMORY);
            rl_error_clear();
        }
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, clear, clear)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(counts),
        TEST(scopes_end_however_left),
        TEST(many_objects),
        TEST(keep),
        TEST(keep_one_of_two_owners),
        TEST(barriers),
        TEST(barrier_keeps_borrowed_result),
        TEST(destroy_runs_code),
        TEST(threads_end),
        TEST(counts_across_threads),
        TEST(shutdown_in_reverse),
        TEST(every_allocation_fails),
    };
    return cmocka_run_group_tests_name("base: objects and scopes", tests, NULL, NULL);
}
