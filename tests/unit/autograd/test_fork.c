/* SPDX-License-Identifier: Apache-2.0 */
/* A process forks while its threads are everywhere in the library: no lock is left held in the child. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support.h"

enum { FORKS = 300 };

static atomic_bool stop;
static rl_tensor *leaf, *data; /* shared by all */

/* Memory: shelves, allocators, and the backend. */
static void use_memory(int step) {
    rl_empty(RL_DIMS(16));
    rl_empty(RL_DIMS(64 * 1024 + step % 7 * 4096));
    if (step % 50 == 0)
        rl_memory_empty_cache(rl_device_get("ref"));
}

/* The gradient of a shared leaf, and views of data that requires none. */
static void use_graph(int step) {
    (void)step;
    rl_tensor *part = rl_slice(data, 0, .end = 2);
    rl_backward(rl_sum(rl_mul(leaf, part)));
}

/* A program that was not there before. */
static rl_status plus_number(rl_tensors in, rl_tensor **out, int64_t n_out, void *context) {
    (void)n_out;
    out[0] = rl_clamp(in.data[0], .min = RL_VALUE(0.5), .max = RL_VALUE(*(const int *)context));
    for (int i = 0; i < *(const int *)context % 20; i++)
        out[0] = rl_mul(out[0], rl_add(out[0], in.data[0]));
    return rl_error_status();
}
static void use_programs(int step) {
    rl_tensor *y;
    rl_fuse(plus_number, &step, RL_TENSORS(data), &y, 1);
}

static void handle(rl_status status, const char *text, void *context) {
    (void)status, (void)text, (void)context;
}

/* Seeds, streams, the error handler, the registry. */
static void use_the_rest(int step) {
    rl_manual_seed((uint64_t)step);
    rl_stream *s = rl_stream_new(rl_device_get("ref"));
    rl_event *e = rl_event_new(rl_device_get("ref"));
    rl_event_record(e, s);
    rl_synchronize(rl_device_get("ref"));
    rl_set_error_handler(step % 2 ? handle : NULL, NULL);
}

typedef void (*task)(int step);
static const task tasks[] = {use_memory, use_graph, use_programs, use_the_rest};
enum { TASKS = sizeof tasks / sizeof *tasks };

static void *keep_busy(void *number) {
    task self = *(const task *)number;
    for (int step = 0; !stop && !rl_failed(); step++) {
        RL_SCOPE();
        self(step);
    }
    return rl_failed() ? "failed" : NULL;
}

/* The address sanitizer's allocator has locks that a child of fork finds held by threads that it has not: there some
 * children may hang, in the sanitizer's own code. */
#ifdef __SANITIZE_ADDRESS__
enum { PATIENCE = 8, MAY_HANG = 5 };
#else
enum { PATIENCE = 20, MAY_HANG = 0 };
#endif

static int child(void) {
    alarm(PATIENCE); /* one that hangs dies of it */
    RL_SCOPE();
    for (int step = 1000; step < 1004; step++)
        for (int i = 0; i < TASKS; i++)
            tasks[i](step);
    return rl_failed() ? 1 : 0;
}

static void test_forks(void **state) {
    (void)state;
    RL_SCOPE();
    pthread_t threads[TASKS];
    leaf = LEAF(1, 2);
    data = CONSTANT(1, 2, 3);
    for (int i = 0; i < TASKS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, keep_busy, (void *)(uintptr_t)&tasks[i]), 0);
    int bad = 0, hung = 0;
    for (int i = 0; i < FORKS && bad == 0; i++) {
        int status = 0;
        pid_t pid = fork();
        if (pid == 0)
            _exit(child());
        assert_int_equal(waitpid(pid, &status, 0), pid);
        bool hangs = WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM && hung < MAY_HANG;
        hung += hangs;
        bad = hangs ? 0 : status;
    }
    if (hung > 0)
        printf("%d of %d children were given up: the sanitizer's allocator was locked when they were made\n", hung,
               FORKS);
    stop = true;
    for (int i = 0; i < TASKS; i++) {
        void *answer;
        pthread_join(threads[i], &answer);
        assert_null(answer);
    }
    rl_set_error_handler(NULL, NULL);
    assert_int_equal(bad, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {TEST(test_forks)};
    return finish(cmocka_run_group_tests(tests, NULL, NULL));
}
