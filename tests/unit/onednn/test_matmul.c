/* SPDX-License-Identifier: Apache-2.0 */
/* matmul against the plain kernel: small whole numbers, so that sums are exact in any order, all bytes compared. */
#include "harness.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>

typedef struct matmul_case {
    rl_dtype dtype;
    int64_t batch_ndim, batch[2], m, n, k;
    stride_kind kind;
    double alpha, beta;
    int again; /* so many calls more (beta 0) */
} matmul_case;

static void whole_numbers(const twin_operand *o) {
    const twin *t = o->memory;
    static const int8_t bytes[RL_DTYPE_COUNT] = {0, 4, 8, 2, 2, 1, 1, 2, 4, 8, 1};
    fill_small_integers(t->base[0] + 64, o->dtype, (int64_t)(t->bytes - 128) / bytes[o->dtype], 2);
    memcpy(t->base[1], t->base[0], t->bytes);
}

static void run_case(const matmul_case *c) {
    rl_matmul_args args = {.size = sizeof args,
                           .dtype = (uint32_t)c->dtype,
                           .batch_ndim = c->batch_ndim,
                           .m = c->m,
                           .n = c->n,
                           .k = c->k,
                           .alpha = c->alpha,
                           .beta = c->beta};
    int64_t shape[3][RL_MAX_DIMS] = {{0}};
    for (int d = 0; d < c->batch_ndim; d++)
        args.batch_shape[d] = shape[0][d] = shape[1][d] = shape[2][d] = c->batch[d];
    const int64_t d = c->batch_ndim;
    shape[0][d] = c->m, shape[0][d + 1] = c->k;
    shape[1][d] = c->k, shape[1][d + 1] = c->n;
    shape[2][d] = c->m, shape[2][d + 1] = c->n;
    const stride_kind out_kind = c->kind == ANY || c->kind == BROADCAST ? (stride_kind)draw_below(3) : c->kind;
    twin_operand *a = new_operand(c->dtype, d + 2, shape[0], c->kind),
                 *b = new_operand(c->dtype, d + 2, shape[1], c->kind),
                 *out = new_operand(c->dtype, d + 2, shape[2], out_kind);
    whole_numbers(a);
    whole_numbers(b);
    whole_numbers(out);
    if (c->beta == 0.0 && c->dtype == RL_F32) /* what is never read may be anything */
        for (int i = 0; i < 2; i++)
            memset(out->memory->base[i] + 64, 0xff, out->memory->bytes - 128);
    args.a = a->of[0], args.b = b->of[0], args.c = out->of[0];
    assert_int_equal(rl_kernel_matmul(&host, &args), RL_OK);
    args.a = a->of[1], args.b = b->of[1], args.c = out->of[1];
    for (int i = 0; i <= c->again; i++)
        assert_int_equal(backend->matmul(stream, &args), RL_OK);
    char what[200];
    snprintf(what, sizeof what, "matmul: dtype %d, batch %d, %lld %lld %lld, strides %d, alpha %g, beta %g",
             (int)c->dtype, (int)c->batch_ndim, (long long)c->m, (long long)c->n, (long long)c->k, (int)c->kind,
             c->alpha, c->beta);
    assert_twins(out, 0.0, what);
    free_operands();
}

static int64_t draw_size(int round) {
    return draw_below(25) == 0 ? 0 : round % 5 == 0 ? 1 + draw_below(60) : 1 + draw_below(9);
}

static void random_products(void) {
    static const double factors[] = {1.0, 0.0, 2.0, -1.0};
    for (int round = 0; round < 1500; round++) {
        matmul_case c = {.dtype = (rl_dtype)(1 + round % 10),
                         .batch_ndim = draw_below(3),
                         .m = draw_size(round),
                         .n = draw_size(round),
                         .k = draw_size(round),
                         .kind = (stride_kind)draw_below(5),
                         .alpha = factors[draw_below(4)],
                         .beta = factors[draw_below(4)]};
        c.batch[0] = draw_below(4);
        c.batch[1] = 1 + draw_below(3);
        run_case(&c);
    }
}

/* Several blocks and threads, vectors, and every layout that the library takes or does not take. */
static void big_products(void) {
    static const int64_t sizes[][3] = {{300, 200, 50}, {1, 700, 90},  {700, 1, 90},
                                       {65, 65, 300},  {200, 500, 1}, {512, 512, 70}};
    for (int dtype = RL_F32; dtype <= RL_BOOL; dtype++)
        for (int i = 0; i < COUNT(sizes); i++)
            for (int kind = PACKED; kind <= BROADCAST; kind++) {
                if ((i + kind + dtype) % 3 != 0 && dtype != RL_F32)
                    continue;
                run_case(&(matmul_case){(rl_dtype)dtype,
                                        0,
                                        {0},
                                        sizes[i][0],
                                        sizes[i][1],
                                        sizes[i][2],
                                        (stride_kind)kind,
                                        1.0,
                                        kind % 2 ? 1.0 : 0.0,
                                        0});
            }
}

static void any_threads(void) {
    const int64_t shape[2] = {300, 300};
    twin_operand *a = new_operand(RL_F32, 2, shape, PACKED), *b = new_operand(RL_F32, 2, shape, PACKED),
                 *c = new_operand(RL_F32, 2, shape, PACKED);
    for (int i = 0; i < 90000; i++) {
        ((float *)(void *)(a->memory->base[1] + 64))[i] = (float)(draw() >> 40) * 0x1p-24f - 0.5f;
        ((float *)(void *)(b->memory->base[1] + 64))[i] = (float)(draw() >> 40) * 0x1p-24f - 0.5f;
    }
    for (int round = 0; round < 3; round++) {
        static const uint32_t counts[] = {1, 2, 5};
        threads = counts[round];
        rl_matmul_args args = {.size = sizeof args,
                               .dtype = RL_F32,
                               .m = 300,
                               .n = 300,
                               .k = 300,
                               .alpha = 1.0,
                               .a = a->of[1],
                               .b = b->of[1],
                               .c = c->of[1]};
        assert_int_equal(backend->matmul(stream, &args), RL_OK);
        if (round == 0)
            memcpy(c->memory->base[0], c->memory->base[1], c->memory->bytes);
        assert_twins(c, 0, "matmul on several threads");
    }
    threads = 2;
}

static volatile sig_atomic_t signals;
static void count_signal(int number) {
    (void)number;
    signals++;
}

/* A signal whose handler runs on the ordinary stack, somewhere within oneDNN: kernels of its own use the stack's
 * register for other memory, so a handler must not run there. */
static void signals_come_meanwhile(void) {
    static const int64_t sizes[][3] = {{128, 512, 784}, {128, 784, 512}, {512, 784, 128}, {128, 256, 10}, {67, 67, 67}};
    struct sigaction action = {.sa_handler = count_signal, .sa_flags = SA_RESTART}, before;
    struct itimerval often = {{0, 150}, {0, 150}}, never = {{0, 0}, {0, 0}};
    seed(11);
    signals = 0;
    assert_int_equal(sigaction(SIGALRM, &action, &before), 0);
    assert_int_equal(setitimer(ITIMER_REAL, &often, NULL), 0);
    for (int round = 0; round < 2 * COUNT(sizes); round++) {
        const int64_t *size = sizes[round / 2];
        run_case(&(matmul_case){
            RL_F32, 0, {0}, size[0], size[1], size[2], round % 2 ? PERMUTED : PACKED, 1, 0, .again = 100});
    }
    assert_int_equal(setitimer(ITIMER_REAL, &never, NULL), 0);
    assert_int_equal(sigaction(SIGALRM, &before, NULL), 0);
    assert_true(signals > 10);
}

static void no_scratch_is_an_error(void) {
    const int64_t shape[2] = {100, 100};
    twin_operand *a = new_operand(RL_BF16, 2, shape, PACKED);
    rl_matmul_args args = {.size = sizeof args,
                           .dtype = RL_BF16,
                           .m = 100,
                           .n = 100,
                           .k = 100,
                           .alpha = 1.0,
                           .a = a->of[1],
                           .b = a->of[1],
                           .c = new_operand(RL_BF16, 2, shape, PACKED)->of[1]};
    scratch_fails = 1;
    assert_int_equal(backend->matmul(stream, &args), RL_OUT_OF_MEMORY);
    scratch_fails = 0;
    assert_non_null(strstr(host_text, "matmul"));
}

CLONES(random_products)
CLONES(big_products)
CLONES(any_threads)
CLONES(signals_come_meanwhile)
CLONES(no_scratch_is_an_error)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_products_of_each_clone),
        cmocka_unit_test(big_products_of_each_clone),
        cmocka_unit_test(any_threads_of_each_clone),
        cmocka_unit_test(signals_come_meanwhile_of_each_clone),
        cmocka_unit_test(no_scratch_is_an_error_of_each_clone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
