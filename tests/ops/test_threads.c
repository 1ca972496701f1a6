/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A backend's threads: the same bits on 1, 2, 3 and 4 of them, in a child made by fork, and while several threads of
 * the user's compute at once. Every primitive and every fused row that has a cell, on work that is worth the threads.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dispatch/dispatch.h"
#include "driver.h"

/* An op on a line of arguments: large, odd sizes, uneven ends. */
static const struct large {
    const char *op, *line;
} large[] = {
    /* map: one run, broadcast, strided, of halves, random */
    {"exp", "f[300,701]"},
    {"gelu", "f[300,701]"},
    {"add", "f[301,1,257], f[37,257]"},
    {"mul", "f[300,701]t, f[300,701]"},
    {"where", "b[300,701], f[300,701], f[701]"},
    {"tanh", "bf16[300,701]"},
    {"clone", "f[701,300]t"},
    {"tril", "f[501,503]"},
    {"rand", "[300, 701]"},
    {"randn", "[300, 701]"},
    /* reduce: all, rows, columns, the middle, with indices, of halves */
    {"sum", "f[300,701]"},
    {"sum", "f[300,701], [1]"},
    {"sum", "f[3001,70], [0]"},
    {"sum", "f[31,701,17], [1]"},
    {"sum", "bf16[300,701]"},
    {"mean", "f[300,701]"},
    {"var", "f[300,701], [1]"},
    {"prod", "p[300,701]"},
    {"amax", "f[300,701], [0]"},
    {"argmax", "f[300,701], 1"},
    {"max_dim", "f[300,701], 0"},
    {"linalg_vector_norm", "f[300,701]"},
    {"logsumexp", "f[300,701], [1]"},
    {"mse_loss", "f[300,701], f[300,701]"},
    {"cross_entropy", "f[300,701], i[300]<701"},
    /* matmul: square, thin, batched, transposed, of halves */
    {"mm", "f[301,303], f[303,305]"},
    {"mm", "f[301,303]t, f[303,305]t"},
    {"mm", "f[2,2001], f[2001,501]"},
    {"mm", "bf16[301,303], bf16[303,305]"},
    {"mm", "f64[201,203], f64[203,205]"},
    {"bmm", "f[33,65,67], f[33,67,63]"},
    {"mv", "f[1001,703], f[703]"},
    {"linear", "f[301,303], f[305,303], f[305]"},
    {"linear_activation", "f[301,303], f[305,303], f[305], \"relu\""},
    /* convolution */
    {"conv2d", "f[4,16,33,35], f[32,16,3,3], f[32], 1, 1"},
    {"conv1d", "f[4,16,1001], f[33,16,5]"},
    {"conv2d", "bf16[4,16,33,35], bf16[32,16,3,3]"},
    {"conv_grad_input", "f[4,32,33,35], f[32,16,3,3], None, [33,35], [1], [1]"},
    {"conv_grad_weight", "f[4,16,33,35], f[4,32,33,35], [3,3], [1], [1]"},
    {"conv_transpose2d", "f[4,16,33,35], f[16,32,3,3]"},
    /* gather, scatter with indices that come again */
    {"index_select", "f[701,300], 0, i[1201]<701"},
    {"gather", "f[300,701], 1, i[300,701]<701"},
    {"embedding", "f[501,257], i[41,37]<501"},
    {"scatter_add", "f[300,701], 1, i[300,701]<701, f[300,701]"},
    {"index_add", "f[501,257], 0, i[1501]<501, f[1501,257]"},
    {"scatter_reduce", "f[300,701], 0, i[300,701]<300, f[300,701], \"amax\""},
    {"embedding_backward", "f[1517,257], i[1517]<501, 501, -1"},
    /* scan, sort */
    {"cumsum", "f[300,701], 1"},
    {"cumsum", "f[300,701], 0"},
    {"cumprod", "p[200001], 0"},
    {"logcumsumexp", "f[300,701], 1"},
    {"cummax", "f[300,701], 0"},
    {"sort", "f[300,701], 1"},
    {"sort", "n[200001], 0"},
    {"topk", "f[300,701], 17"},
    /* rows of softmax */
    {"softmax", "f[300,701], 1"},
    {"softmax", "f[300,701], 0"},
    {"softmax_backward", "f[300,701], u[300,701], 1"},
    {"log_softmax", "bf16[300,701], 1"},
    {"log_softmax_backward", "f[300,701], f[300,701], 1"},
};
enum { N_LARGE = sizeof large / sizeof *large, RESULTS = 4, MOST_THREADS = 4 };

typedef struct bytes {
    void *data[RESULTS];
    size_t size[RESULTS];
    int64_t count;
} bytes;

static void bytes_free(bytes *self) {
    for (int64_t i = 0; i < self->count; i++)
        free(self->data[i]);
    self->count = 0;
}

static size_t op_of(const char *name) {
    rl_op_info info = {.struct_size = sizeof info};
    size_t op = 0;
    while (op < rl_op_count() && !(rl_op_describe(op, &info) && strcmp(info.name, name) == 0))
        op++;
    return op;
}

/* Runs one; false, and a sentence on stderr, where that fails. */
static bool run_one(rl_device *device, int number, bytes *out) {
    RL_SCOPE();
    out->count = 0;
    rl_test_call *call =
        rl_test_line_call(op_of(large[number].op), large[number].line, RL_F32, device, RL_TEST_AS_WRITTEN);
    rl_tensors results = {NULL, 0};
    if (rl_test_run(call, false) == RL_OK)
        results = rl_test_results(call);
    for (int64_t i = 0; i < results.count && i < RESULTS && !rl_failed(); i++) {
        rl_tensor *t = results.data[i];
        out->size[i] = (size_t)rl_tensor_numel(t) * rl_dtype_size(rl_tensor_dtype(t));
        out->data[i] = malloc(out->size[i] + 1);
        out->count++;
        if (out->data[i])
            rl_tensor_read(t, out->data[i], out->size[i]);
    }
    if (!rl_failed())
        return true;
    fprintf(stderr, "%s %s: %s\n", large[number].op, large[number].line, rl_error_text());
    rl_error_clear();
    return false;
}

static bool same(const bytes *a, const bytes *b) {
    bool same = a->count == b->count && a->count > 0;
    for (int64_t i = 0; i < a->count && same; i++)
        same = a->size[i] == b->size[i] && memcmp(a->data[i], b->data[i], a->size[i]) == 0;
    return same;
}

static void use_threads(int count) {
    char text[16];
    snprintf(text, sizeof text, "%d", count);
    setenv("RUSHLIGHT_THREADS", text, 1);
}

/* Runs one and compares; says with what it differs. */
static int differs(rl_device *device, int number, const bytes *want, const char *when) {
    bytes got;
    bool good = run_one(device, number, &got) && same(&got, want);
    bytes_free(&got);
    if (!good)
        fprintf(stderr, "%s on %s: %s %s gives other bits %s\n", "FAIL", rl_device_name(device), large[number].op,
                large[number].line, when);
    return !good;
}

static int on_any_number(rl_device *device, const bytes *want) {
    int wrong = 0;
    for (int n = 2; n <= MOST_THREADS; n++) {
        char when[32];
        snprintf(when, sizeof when, "on %d threads", n);
        use_threads(n);
        for (int i = 0; i < N_LARGE; i++)
            wrong += differs(device, i, &want[i], when);
    }
    return wrong;
}

static int in_child(rl_device *device, const bytes *want) {
    int status = 0;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        int wrong = 0;
        alarm(300); /* a child that hangs dies of it */
        for (int i = 0; i < N_LARGE; i++)
            wrong += differs(device, i, &want[i], "in a child made by fork");
        fflush(NULL);
        _exit(wrong != 0);
    }
    if (child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    fprintf(stderr, "FAIL on %s: a child made by fork\n", rl_device_name(device));
    return 1;
}

typedef struct user {
    pthread_t thread;
    rl_device *device;
    const bytes *want;
    int first, wrong;
} user;

static void *compute(void *data) {
    user *self = data;
    for (int i = 0; i < N_LARGE; i++) {
        int number = (self->first + i) % N_LARGE;
        self->wrong += differs(self->device, number, &self->want[number], "beside other threads");
    }
    return NULL;
}

static int side_by_side(rl_device *device, const bytes *want) {
    enum { USERS = 4 };
    user users[USERS];
    int wrong = 0;
    for (int i = 0; i < USERS; i++) {
        users[i] = (user){.device = device, .want = want, .first = i * N_LARGE / USERS};
        wrong += pthread_create(&users[i].thread, NULL, compute, &users[i]) != 0;
    }
    for (int i = 0; i < USERS && !wrong; i++)
        pthread_join(users[i].thread, NULL);
    for (int i = 0; i < USERS; i++)
        wrong += users[i].wrong;
    return wrong;
}

static int check_device(rl_device *device, bool has_threads) {
    static bytes want[N_LARGE];
    int wrong = 0;
    use_threads(1);
    for (int i = 0; i < N_LARGE; i++)
        wrong += !run_one(device, i, &want[i]);
    if (has_threads)
        wrong += on_any_number(device, want);
    wrong += in_child(device, want);
    wrong += side_by_side(device, want);
    wrong += in_child(device, want);
    for (int i = 0; i < N_LARGE; i++)
        bytes_free(&want[i]);
    return wrong;
}

int main(void) {
    driver self = {0};
    int wrong = 0;
    if (!find_devices(&self, NULL))
        return 1;
    for (int k = 0; k < self.n_devices; k++) {
        wrong += check_device(self.devices[k], self.devices[k] != self.ref);
        printf("%s: %d ops, %s\n", rl_device_name(self.devices[k]), N_LARGE, wrong ? "FAILED" : "the same bits");
    }
    rl_shutdown();
    return wrong != 0;
}
