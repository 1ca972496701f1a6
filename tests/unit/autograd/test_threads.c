/* SPDX-License-Identifier: Apache-2.0 */
/* Threads walk graphs of their own that share leaves, data, and views of both. */
#include <pthread.h>

#include "support.h"

enum { THREADS = 4, STEPS = 40 };

static rl_tensor *w, *data;
static const char *sentence[THREADS];

static void *work(void *number) {
    for (int i = 0; i < STEPS && !rl_failed(); i++) {
        RL_SCOPE();
        rl_tensor *rows = rl_view(data, RL_DIMS(2, 2)), *by = rl_t(rl_view(w, RL_DIMS(2, 2)));
        rl_tensor *own = rl_mm(rows, by), *part = rl_select(own, 0, 1);
        rl_mul_(part, 2);
        rl_backward(rl_sum(rl_add(own, own)));
    }
    *(const char **)number = rl_failed() ? "failed" : NULL;
    return NULL;
}

static void test_shared_leaf(void **state) {
    (void)state;
    RL_SCOPE();
    pthread_t threads[THREADS];
    w = LEAF(1, 2, 3, 4);
    data = CONSTANT(1, 10, 100, 1000);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work, &sentence[i]), 0);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_null(sentence[i]);
    }
    const double times = 2.0 * THREADS * STEPS, a = times * (1 + 2 * 100), b = times * (10 + 2 * 1000);
    HAS(rl_grad(w), a, b, a, b);
}

/* One graph, kept, walked by several threads at once. */
static rl_tensor *shared_loss;

static void *walk(void *number) {
    for (int i = 0; i < STEPS && !rl_failed(); i++) {
        RL_SCOPE();
        rl_tensor *g;
        rl_gradients(RL_TENSORS(shared_loss), RL_TENSORS(w), &g, .retain_graph = true);
        rl_backward(shared_loss, .retain_graph = true);
    }
    *(const char **)number = rl_failed() ? "failed" : NULL;
    return NULL;
}

static void test_shared_graph(void **state) {
    (void)state;
    RL_SCOPE();
    pthread_t threads[THREADS];
    w = LEAF(1, 2);
    shared_loss = rl_sum(rl_mul(rl_mul(w, w), w));
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, walk, &sentence[i]), 0);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_null(sentence[i]);
    }
    HAS(rl_grad(w), 3.0 * THREADS * STEPS, 12.0 * THREADS * STEPS);
}

/* A graph made on one thread is walked, and let go, on another. */
static void *make(void *out) {
    rl_tensor *x = rl_mul(w, w);
    for (int i = 0; i < 1000; i++)
        x = rl_neg(x);
    *(rl_tensor **)out = rl_retain(x);
    return NULL;
}

static void test_handed_over(void **state) {
    (void)state;
    RL_SCOPE();
    pthread_t thread;
    rl_tensor *made = NULL;
    w = LEAF(3);
    assert_int_equal(pthread_create(&thread, NULL, make, &made), 0);
    pthread_join(thread, NULL);
    rl_tensor *here = rl_mul(made, made); /* stands above what the other thread made */
    rl_backward(here);
    HAS(rl_grad(w), 108);
    rl_release(made);
}

int main(void) {
    const struct CMUnitTest tests[] = {TEST(test_shared_leaf), TEST(test_shared_graph), TEST(test_handed_over)};
    return finish(cmocka_run_group_tests(tests, NULL, NULL));
}
