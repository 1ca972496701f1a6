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

/* A function that runs again in the backward uses what another thread made, whose clock is far ahead: this thread's
 * stands at its beginning. */
static rl_tensor *power; /* w^51 */

static rl_status use_power(rl_tensors in, rl_tensor **out, int64_t n_out, void *context) {
    (void)n_out, (void)context;
    out[0] = rl_mul(rl_mul(in.data[0], power), w);
    return rl_error_status();
}

typedef struct again {
    rl_status (*run)(rl_tensor_fn, void *, rl_tensors, rl_tensor **, int64_t);
    rl_tensor *x, *y, *first[2], *second[2]; /* gradients by x and w, and of the latter of them once more */
    bool failed;
} again;

static void *use_elsewhere(void *context) {
    again *self = context;
    self->run(use_power, NULL, RL_TENSORS(self->x), &self->y, 1);
    rl_backward(self->y, .retain_graph = true);
    rl_gradients(RL_TENSORS(self->y), RL_TENSORS(self->x, w), self->first, .create_graph = true);
    rl_gradients(RL_TENSORS(self->first[1]), RL_TENSORS(self->x, w), self->second);
    self->failed = rl_failed();
    for (int i = 0; i < 2; i++) { /* they are looked at after this thread's end */
        rl_retain(self->first[i]);
        rl_retain(self->second[i]);
    }
    rl_retain(self->y);
    return NULL;
}

static void make_power(void) {
    w = LEAF(1);
    power = w;
    for (int i = 0; i < 50; i++)
        power = rl_mul(power, w);
}

static void test_made_elsewhere(void **state) {
    (void)state;
    again all[] = {{.run = rl_checkpoint}, {.run = rl_fuse}};
    for (int k = 0; k < 2; k++) {
        RL_SCOPE();
        pthread_t thread;
        again *a = &all[k];
        a->x = LEAF(1);
        make_power();
        assert_int_equal(pthread_create(&thread, NULL, use_elsewhere, a), 0);
        pthread_join(thread, NULL);
        assert_false(a->failed);
        HAS(rl_grad(a->x), 1);
        HAS(rl_grad(w), 52);
        HAS(a->first[0], 1);
        HAS(a->first[1], 52);
        HAS(a->second[0], 52);
        HAS(a->second[1], 52 * 51);
        for (int i = 0; i < 2; i++) {
            rl_release(a->first[i]);
            rl_release(a->second[i]);
        }
        rl_release(a->y);
    }
}

/* And where the backward alone runs on a thread of its own, what it walks again are the nodes that it made there. */
static void *walk_elsewhere(void *loss) {
    rl_backward(loss);
    return rl_failed() ? "failed" : NULL;
}

static void test_walked_elsewhere(void **state) {
    (void)state;
    RL_SCOPE();
    pthread_t thread;
    void *answer;
    rl_tensor *x = LEAF(2), *y;
    make_power();
    assert_int_equal(rl_checkpoint(use_power, NULL, RL_TENSORS(x), &y, 1), RL_OK);
    assert_int_equal(pthread_create(&thread, NULL, walk_elsewhere, y), 0);
    pthread_join(thread, &answer);
    assert_null(answer);
    HAS(rl_grad(x), 1);
    HAS(rl_grad(w), 104);
}

/* A view of a parameter, made once; the parameter is changed; then threads read the view together. */
static rl_tensor *tied;
static pthread_barrier_t changed, done;

static void *read_view(void *number) {
    for (int i = 0; i < STEPS; i++) {
        pthread_barrier_wait(&changed);
        RL_SCOPE();
        rl_backward(rl_sum(rl_mul(tied, tied)));
        pthread_barrier_wait(&done);
    }
    *(const char **)number = rl_failed() ? "failed" : NULL;
    return NULL;
}

static void test_shared_view(void **state) {
    (void)state;
    RL_SCOPE();
    pthread_t threads[THREADS];
    w = LEAF(1, 2, 3, 4);
    tied = rl_t(rl_view(w, RL_DIMS(2, 2)));
    pthread_barrier_init(&changed, NULL, THREADS + 1);
    pthread_barrier_init(&done, NULL, THREADS + 1);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_view, &sentence[i]), 0);
    for (int i = 0; i < STEPS; i++) {
        {
            RL_NO_GRAD();
            rl_mul_(w, 1);
        }
        pthread_barrier_wait(&changed);
        pthread_barrier_wait(&done);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_null(sentence[i]);
    }
    const double times = 2.0 * THREADS * STEPS;
    HAS(rl_grad(w), times, 2 * times, 3 * times, 4 * times);
}

/* A checkpoint draws in both of its runs, while another thread draws from the same generator: the second run repeats
 * the first one's numbers, nobody else's are repeated. */
static pthread_barrier_t may_draw, have_drawn;
static double elsewhere[2];

static void let_other_draw(void) {
    pthread_barrier_wait(&may_draw);
    pthread_barrier_wait(&have_drawn);
}

static rl_status noisy(rl_tensors in, rl_tensor **out, int64_t n_out, void *context) {
    (void)n_out, (void)context;
    rl_tensor *first = rl_rand(RL_DIMS(4), .dtype = RL_F64);
    let_other_draw();
    out[0] = rl_mul(rl_mul(in.data[0], first), rl_rand(RL_DIMS(4), .dtype = RL_F64));
    return rl_error_status();
}

static void *draw_between(void *unused) {
    (void)unused;
    for (int i = 0; i < 2; i++) {
        RL_SCOPE();
        pthread_barrier_wait(&may_draw);
        elsewhere[i] = rl_item(rl_sum(rl_rand(RL_DIMS(64), .dtype = RL_F64)));
        pthread_barrier_wait(&have_drawn);
    }
    return NULL;
}

static void test_draws(void **state) {
    (void)state;
    RL_SCOPE();
    pthread_t thread;
    rl_tensor *x = LEAF(1, 1, 1, 1), *y;
    rl_manual_seed(3);
    pthread_barrier_init(&may_draw, NULL, 2);
    pthread_barrier_init(&have_drawn, NULL, 2);
    assert_int_equal(pthread_create(&thread, NULL, draw_between, NULL), 0);
    rl_checkpoint(noisy, NULL, RL_TENSORS(x), &y, 1);
    rl_backward(rl_sum(y));
    pthread_join(thread, NULL);
    NO_ERROR();
    assert_true(rl_equal(rl_grad(x), rl_detach(y)));
    double after = rl_item(rl_sum(rl_rand(RL_DIMS(64), .dtype = RL_F64)));
    assert_true(elsewhere[0] != elsewhere[1] && elsewhere[1] != after && elsewhere[0] != after);
    uint64_t offset;
    rl_generator_get_state(NULL, NULL, &offset);
    assert_int_equal(offset, 2 * 1 + 3 * 16); /* the second run drew nothing */
}

int main(void) {
    const struct CMUnitTest tests[] = {TEST(test_shared_leaf),    TEST(test_shared_graph),     TEST(test_handed_over),
                                       TEST(test_made_elsewhere), TEST(test_walked_elsewhere), TEST(test_shared_view),
                                       TEST(test_draws)};
    return finish(cmocka_run_group_tests(tests, NULL, NULL));
}
