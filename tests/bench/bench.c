/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker of `./dev bench`: does a named piece of work for some time and prints what one round of it costs. It reads
 * lines "NAME SECONDS" and answers "NAME NANOSECONDS", so that compare.py can have it and a PyTorch worker take turns.
 */
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "rushlight/rushlight.h"

enum { LARGE = 4 * 1000 * 1000, BATCH = 128, IN = 784, HIDDEN = 512, HIDDEN_2 = 256, CLASSES = 10 };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static rl_tensor *normal(rl_ints shape) {
    return rl_normal_(rl_empty(shape));
}

/* add of two small tensors, two large ones ------------------------------------------------------------------------ */

static rl_tensor *small[2], *large[2], *square[2][2];

static void prepare_add16(void) {
    for (int i = 0; i < 2; i++)
        small[i] = normal(RL_DIMS(16));
}

static void add16(void) {
    RL_SCOPE();
    for (int i = 0; i < 100; i++) {
        RL_SCOPE();
        rl_add(small[0], small[1]);
    }
}

static void prepare_large(void) {
    for (int i = 0; i < 2; i++)
        large[i] = normal(RL_DIMS(LARGE));
}

static void add_large(void) {
    RL_SCOPE();
    rl_add(large[0], large[1]);
}

/* as "y = a + b" in a loop: the last result lives until the next is there */
static void add_large_kept(void) {
    static rl_tensor *y;
    RL_SCOPE();
    rl_tensor *before = y;
    y = rl_retain(rl_add(large[0], large[1]));
    rl_release(before);
}

/* 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), traced into one program */
static rl_status gelu_chain(rl_tensors in, rl_tensor **out, int64_t n, void *context) {
    (void)n;
    (void)context;
    rl_tensor *x = in.data[0];
    rl_tensor *inner = rl_mul(rl_add(x, rl_mul(rl_mul(rl_mul(x, x), x), 0.044715)), 0.7978845608028654);
    out[0] = rl_mul(rl_mul(x, 0.5), rl_add(rl_tanh(inner), 1.0));
    return rl_error_status();
}

static void gelu_fused(void) {
    RL_SCOPE();
    rl_tensor *y;
    rl_fuse(gelu_chain, NULL, RL_TENSORS(large[0]), &y, 1);
}

static void gelu_eager(void) {
    RL_SCOPE();
    rl_tensor *y;
    gelu_chain(RL_TENSORS(large[0]), &y, 1, NULL);
}

/* matmul, and oneDNN's own sgemm from the library that the onednn backend has loaded ---------------------- */

static float *plain[2][3];
typedef int (*sgemm_function)(char, char, int64_t, int64_t, int64_t, float, const float *, int64_t, const float *,
                              int64_t, float, float *, int64_t);
static sgemm_function sgemm;

static void prepare_square(int which, int64_t n) {
    for (int i = 0; i < 2; i++)
        square[which][i] = normal(RL_DIMS(n, n));
    for (int i = 0; i < 3; i++) {
        plain[which][i] = aligned_alloc(64, (size_t)(n * n) * sizeof(float));
        if (plain[which][i] == NULL)
            exit(1);
        rl_tensor_read(square[which][i % 2], plain[which][i], (size_t)(n * n) * sizeof(float));
    }
}

static void prepare_256(void) {
    prepare_square(0, 256);
}

static void prepare_1024(void) {
    prepare_square(1, 1024);
}

static void multiply(int which) {
    RL_SCOPE();
    rl_matmul(square[which][0], square[which][1]);
}

static void matmul_256(void) {
    multiply(0);
}

static void matmul_1024(void) {
    multiply(1);
}

static void prepare_sgemm(void) {
    void *library = dlopen("libdnnl.so.3", RTLD_NOW | RTLD_NOLOAD);
    if (library)
        *(void **)&sgemm = dlsym(library, "dnnl_sgemm");
}

static void sgemm_n(int which, int64_t n) {
    if (sgemm)
        sgemm('N', 'N', n, n, n, 1.0f, plain[which][0], n, plain[which][1], n, 0.0f, plain[which][2], n);
}

static void sgemm_256(void) {
    sgemm_n(0, 256);
}

static void sgemm_1024(void) {
    sgemm_n(1, 1024);
}

/* Training steps -------------------------------------------------------------------------------------------------- */

typedef struct training {
    rl_module *net;
    rl_optimizer *optimizer;
    rl_tensor *x, *y;
} training;
static training classic, mlp;

static void prepare_classic(void) {
    classic.net = rl_nn_linear(1, 1);
    classic.optimizer = rl_optimizer_sgd(classic.net, .lr = 0.01);
    classic.x = rl_tensor_from_data((const float[]){1, 2, 3}, RL_DIMS(3, 1), RL_F32, NULL);
    classic.y = rl_tensor_from_data((const float[]){2, 4, 6}, RL_DIMS(3, 1), RL_F32, NULL);
}

static void classic_step(void) {
    RL_SCOPE();
    rl_tensor *loss = rl_mse_loss(rl_module_forward(classic.net, classic.x), classic.y);
    rl_optimizer_zero_grad(classic.optimizer);
    rl_backward(loss);
    rl_optimizer_step(classic.optimizer);
}

static void prepare_mlp(void) {
    int64_t labels[BATCH];
    for (int i = 0; i < BATCH; i++)
        labels[i] = i % CLASSES;
    mlp.net = rl_nn_sequential(rl_nn_linear(IN, HIDDEN), rl_nn_relu(), rl_nn_linear(HIDDEN, HIDDEN_2), rl_nn_relu(),
                               rl_nn_linear(HIDDEN_2, CLASSES));
    mlp.optimizer = rl_optimizer_adam(mlp.net, .lr = 1e-3);
    mlp.x = normal(RL_DIMS(BATCH, IN));
    mlp.y = rl_tensor_from_data(labels, RL_DIMS(BATCH), RL_I64, NULL);
}

static void mlp_step(void) {
    RL_SCOPE();
    rl_tensor *loss = rl_cross_entropy(rl_module_forward(mlp.net, mlp.x), mlp.y);
    rl_optimizer_zero_grad(mlp.optimizer);
    rl_backward(loss);
    rl_optimizer_step(mlp.optimizer);
}

/* The list --------------------------------------------------------------------------------------------------------- */

typedef struct work {
    const char *name;
    void (*prepare)(void);
    void (*run)(void);
    int rounds; /* that one call of run does */
    bool prepared;
} work;
static work works[] = {{"add16", prepare_add16, add16, 100, false},
                       {"classic_step", prepare_classic, classic_step, 1, false},
                       {"matmul_256", prepare_256, matmul_256, 1, false},
                       {"sgemm_256", prepare_sgemm, sgemm_256, 1, false},
                       {"matmul_1024", prepare_1024, matmul_1024, 1, false},
                       {"sgemm_1024", prepare_sgemm, sgemm_1024, 1, false},
                       {"add_4m", prepare_large, add_large, 1, false},
                       {"add_4m_kept", NULL, add_large_kept, 1, false},
                       {"gelu_4m", NULL, gelu_fused, 1, false},
                       {"gelu_4m_eager", NULL, gelu_eager, 1, false},
                       {"mlp_step", prepare_mlp, mlp_step, 1, false}};
enum { N_WORKS = sizeof works / sizeof works[0] };

/* Nanoseconds of one round: the mean over at least `seconds`. 0 where it could not be done. */
static double measure(work *self, double seconds) {
    if (!self->prepared) {
        if (self->prepare)
            self->prepare();
        self->run();
        self->prepared = true;
    }
    int64_t calls = 0;
    double start = now(), passed;
    do {
        self->run();
        calls++;
        passed = now() - start;
    } while (passed < seconds);
    if (rl_failed() || (strncmp(self->name, "sgemm", 5) == 0 && sgemm == NULL))
        return 0.0;
    rl_synchronize(rl_device_default());
    return 1e9 * passed / (double)(calls * self->rounds);
}

int main(int argc, char **argv) {
    char line[128], name[64];
    double seconds;
    if (argc > 1) {
        fprintf(stderr, "usage: %s   (reads lines 'NAME SECONDS')\n", argv[0]);
        return 2;
    }
    rl_manual_seed(0);
    for (int i = 0; i < N_WORKS; i++) /* in the order of the list: some use what others made */
        measure(&works[i], 0.0);
    while (fgets(line, sizeof line, stdin)) {
        if (sscanf(line, "%63s %lf", name, &seconds) != 2)
            continue;
        double cost = 0.0;
        for (int i = 0; i < N_WORKS; i++)
            if (strcmp(works[i].name, name) == 0)
                cost = measure(&works[i], seconds);
        printf("%s %.1f\n", name, cost);
        fflush(stdout);
        if (rl_failed()) {
            fprintf(stderr, "%s: %s\n", name, rl_error_text());
            return 1;
        }
    }
    rl_shutdown();
    return 0;
}
