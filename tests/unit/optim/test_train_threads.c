/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads of the user's train nets of their own at once, each with its optimizer, schedule and autocast: what comes out
 * is what one after the other gives, bit by bit. A fork in the middle of it goes on in the child.
 */
#include <pthread.h>
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

#include "rushlight/rushlight.h"

enum { USERS = 4, STEPS = 25, ROWS = 64, COLUMNS = 8, HIDDEN = 96, MOST = COLUMNS * HIDDEN + 2 * HIDDEN + 1 };

typedef struct training {
    rl_device *device;
    int number;
    float result[MOST];
    char sentence[256]; /* what went wrong */
} training;

/* Numbers that need no generator, which is shared. */
static rl_tensor *numbers(rl_device *device, int64_t rows, int64_t columns, int by, double scale) {
    float values[ROWS * HIDDEN];
    for (int64_t i = 0; i < rows * columns; i++)
        values[i] = (float)(((double)((i * 7919 + by * 104729) % 1013) / 1013.0 - 0.5) * scale);
    return rl_tensor_from_data(values, RL_DIMS(rows, columns), RL_F32, device);
}

typedef struct net {
    rl_tensor *parameters[4];
} net;

static rl_tensor *forward(const net *n, rl_tensor *x) {
    return rl_linear(rl_tanh(rl_linear(x, n->parameters[0], .bias = n->parameters[1])), n->parameters[2],
                     .bias = n->parameters[3]);
}

static rl_optimizer *optimizer_of(net *n, int number) {
    rl_tensors all = {n->parameters, 4};
    return number % 4 == 0   ? rl_optimizer_adam(NULL, .lr = 0.01, .parameters = all)
           : number % 4 == 1 ? rl_optimizer_sgd(NULL, .lr = 0.05, .momentum = 0.9, .parameters = all)
           : number % 4 == 2 ? rl_optimizer_rmsprop(NULL, .parameters = all)
                             : rl_optimizer_nadam(NULL, .parameters = all);
}

static void train(training *self) {
    RL_SCOPE();
    int by = self->number + 1;
    net n = {{numbers(self->device, HIDDEN, COLUMNS, by, 0.5), numbers(self->device, 1, HIDDEN, by, 0.1),
              numbers(self->device, 1, HIDDEN, by + 1, 0.3), numbers(self->device, 1, 1, by, 0.1)}};
    n.parameters[1] = rl_clone(rl_flatten(n.parameters[1]));
    n.parameters[3] = rl_clone(rl_flatten(n.parameters[3]));
    for (int i = 0; i < 4; i++)
        rl_requires_grad(n.parameters[i], true);
    rl_tensor *x = numbers(self->device, ROWS, COLUMNS, by + 2, 2.0);
    rl_tensor *y = rl_sin(rl_sum(x, .dim = RL_DIMS(1), .keepdim = true));
    rl_optimizer *optimizer = optimizer_of(&n, self->number);
    rl_schedule *schedule = rl_schedule_cosine_annealing_lr(optimizer, STEPS);
    for (int step = 0; step < STEPS && !rl_failed(); step++) {
        RL_SCOPE();
        rl_tensor *loss;
        {
            RL_AUTOCAST(self->number % 2 ? RL_BF16 : RL_DTYPE_NONE);
            loss = rl_mse_loss(forward(&n, x), y);
        }
        rl_optimizer_zero_grad(optimizer);
        rl_backward(loss);
        rl_clip_grad_norm(NULL, 1.0, .parameters = ((rl_tensors){n.parameters, 4}));
        rl_optimizer_step(optimizer);
        rl_schedule_step(schedule);
    }
    for (int i = 0, at = 0; i < 4 && !rl_failed(); at += (int)rl_tensor_numel(n.parameters[i++]))
        rl_tensor_read(n.parameters[i], self->result + at, (size_t)rl_tensor_numel(n.parameters[i]) * sizeof(float));
    if (rl_failed())
        snprintf(self->sentence, sizeof self->sentence, "%s", rl_error_text());
}

static void *thread(void *data) {
    train(data);
    return NULL;
}

static rl_device *device_or_skip(const char *name) {
    rl_device *device = rl_device_get(name);
    if (device == NULL) {
        print_message("SKIPPED on %s: %s\n", name, rl_error_text());
        rl_error_clear();
        skip();
    }
    return device;
}

static void compare(const training *got, const training *want) {
    assert_string_equal(got->sentence, "");
    for (int i = 0; i < MOST; i++)
        assert_true(want->result[i] == want->result[i]);
    assert_memory_equal(got->result, want->result, sizeof want->result);
}

static void train_side_by_side(const char *name) {
    static training want[USERS], got[USERS];
    pthread_t threads[USERS];
    rl_device *device = device_or_skip(name);
    for (int i = 0; i < USERS; i++) {
        want[i] = got[i] = (training){.device = device, .number = i};
        train(&want[i]);
        assert_string_equal(want[i].sentence, "");
    }
    for (int i = 0; i < USERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, thread, &got[i]), 0);
    for (int i = 0; i < USERS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < USERS; i++)
        compare(&got[i], &want[i]);
}

static void test_ref(void **state) {
    (void)state;
    train_side_by_side("ref");
}
static void test_onednn(void **state) {
    (void)state;
    train_side_by_side("onednn");
}

/* The child of a process that has trained trains the same. */
static void test_child(void **state) {
    (void)state;
#ifdef __SANITIZE_THREAD__
    puts("SKIPPED: the thread sanitizer does not see that the child makes the registry's lock anew, and takes it as "
         "held");
    skip();
#endif
    static training want, got;
    rl_device *device = rl_device_get("onednn");
    rl_error_clear();
    device = device ? device : device_or_skip("ref");
    want = got = (training){.device = device, .number = 1};
    train(&want);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        alarm(100); /* a child that hangs dies of it, and the test fails */
        train(&got);
        _exit(got.sentence[0] != 0 || memcmp(got.result, want.result, sizeof want.result) != 0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(void) {
    setenv("RUSHLIGHT_BACKEND_PATH", TEST_BINARY_DIR "/lib/rushlight", 0);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_ref), cmocka_unit_test(test_onednn),
                                       cmocka_unit_test(test_child)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rl_shutdown();
    return failed;
}
