/* SPDX-License-Identifier: Apache-2.0 */
/* Autocast: which op computes in what, gradients through casts, the cache of parameters, regions within regions. */
#include <pthread.h>

#include "rushlight/autocast.h"
#include "support.h"

static rl_tensor *matrix(double value, bool leaf) {
    rl_tensor *m = rl_full(RL_DIMS(2, 2), value, .dtype = RL_F32);
    return leaf ? rl_requires_grad(m, true) : m;
}
#define IS(tensor, want) assert_int_equal(rl_tensor_dtype(tensor), want)

static void test_policies(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *a = matrix(1.0, false), *b = matrix(2.0, false), *half = rl_to(b, .dtype = RL_BF16);
    rl_tensor *wide = rl_to(a, .dtype = RL_F64), *i = rl_ones(RL_DIMS(2, 2), .dtype = RL_I64);
    {
        RL_AUTOCAST(RL_BF16);
        assert_int_equal(rl_autocast_dtype(NULL), RL_BF16);
        IS(rl_mm(a, b), RL_BF16);
        IS(rl_mm(a, half), RL_BF16);
        IS(rl_mm(wide, wide), RL_F64);
        IS(rl_linear(a, b), RL_BF16);
        IS(rl_mse_loss(half, half), RL_F32);
        IS(rl_mse_loss(wide, wide), RL_F64);
        IS(rl_cat(RL_TENSORS(half, a)), RL_F32);
        IS(rl_stack(RL_TENSORS(half, half)), RL_BF16);
        IS(rl_cat(RL_TENSORS(half, rl_to(a, .dtype = RL_F16))), RL_F32);
        IS(rl_prod(half), RL_F32);
        IS(rl_prod(i), RL_I64);
        IS(rl_exp(half), RL_BF16);
        IS(rl_add(half, a), RL_F32);
        IS(rl_matmul(rl_to(a, .dtype = RL_F16), half), RL_BF16);
        IS(rl_addmm_(a, b, b), RL_F32); /* in place: as it is */
    }
    assert_int_equal(rl_autocast_dtype(NULL), RL_DTYPE_NONE);
    IS(rl_mm(a, b), RL_F32);
    NO_ERROR();
}

static void test_regions(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *a = matrix(1.0, false);
    RL_AUTOCAST(RL_F16);
    IS(rl_mm(a, a), RL_F16);
    {
        RL_AUTOCAST(RL_BF16);
        IS(rl_mm(a, a), RL_BF16);
        RL_AUTOCAST(RL_DTYPE_NONE);
        IS(rl_mm(a, a), RL_F32);
    }
    IS(rl_mm(a, a), RL_F16);
    {
        RL_AUTOCAST(RL_DTYPE_NONE, .device = rl_device_get("ref"));
        IS(rl_mm(a, a), RL_F32);
    }
    NO_ERROR();
    rl_autocast before = rl_autocast_begin(RL_F32);
    FAILED_WITH(RL_INVALID_ARGUMENT, "float16 or bfloat16");
    rl_autocast_end(before);
    IS(rl_mm(a, a), RL_F16);
}

/* y = sum(x w) with x and w in bf16: gradients are f32, as the leaves are. */
static void test_gradients(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *x = matrix(1.00390625, true), *w = matrix(3.0, true); /* x is 1 in bf16 (a tie goes to even) */
    rl_tensor *y;
    {
        RL_AUTOCAST(RL_BF16);
        y = rl_sum(rl_mm(x, w));
    }
    IS(y, RL_BF16);
    rl_backward(y);
    IS(rl_grad(w), RL_F32);
    HAS(rl_grad(w), 2, 2, 2, 2);
    HAS(rl_grad(x), 6, 6, 6, 6);
    assert_string_equal(rl_tensor_grad_fn(y), "SumBackward0");
    NO_ERROR();
}

/* A backward within a region computes as the forward did. */
static void test_backward_within(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *w = rl_requires_grad(rl_full(RL_DIMS(2, 2), 1.00390625, .dtype = RL_F32), true);
    rl_tensor *y = rl_sum(rl_mm(w, w));
    RL_AUTOCAST(RL_BF16);
    rl_backward(y);
    HAS(rl_grad(w), 4.015625, 4.015625, 4.015625, 4.015625);
    rl_tensor *g;
    rl_tensor *z = rl_sum(rl_mm(w, w));
    rl_gradients(RL_TENSORS(z), RL_TENSORS(w), &g, .create_graph = true);
    IS(g, RL_F32);
    rl_backward(rl_sum(g));
    NO_ERROR();
}

/* A parameter is cast once in a region; again where it has been changed, where gradients are wanted now, in the next
 * region. Several backwards go through the one cast. */
static rl_tensor *saved_by(rl_tensor *w) {
    rl_tensor *x = rl_ones(RL_DIMS(2, 2), .dtype = RL_F32);
    return rl_mm(x, w);
}
static void test_cache(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *w = matrix(1.0, true);
    rl_memory_stats before = {.struct_size = sizeof before}, after = before;
    rl_device *device = rl_device_get("ref");
    RL_AUTOCAST(RL_BF16);
    {
        RL_NO_GRAD();
        HAS(saved_by(w), 2, 2, 2, 2);
    }
    rl_tensor *y = saved_by(w);
    assert_true(rl_tensor_requires_grad(y)); /* the cast that was made without a graph was not taken */
    rl_backward(rl_sum(y));
    rl_backward(rl_sum(saved_by(w)));
    HAS(rl_grad(w), 4, 4, 4, 4);
    {
        RL_NO_GRAD();
        rl_fill_(w, 5.0);
    }
    HAS(saved_by(w), 10, 10, 10, 10);
    /* One cast for many uses: a big parameter, so that its casts are seen in the device's memory. */
    rl_tensor *big = rl_requires_grad(rl_ones(RL_DIMS(256, 256), .dtype = RL_F32), true);
    rl_tensor *row = rl_ones(RL_DIMS(1, 256), .dtype = RL_F32), *kept[4];
    kept[0] = rl_mm(row, big);
    rl_memory_stats_get(device, &before);
    for (int i = 1; i < 4; i++)
        kept[i] = rl_mm(row, big);
    rl_memory_stats_get(device, &after);
    assert_true(after.allocated - before.allocated < 256 * 256 * 2);
    for (int i = 0; i < 4; i++)
        assert_true(rl_tensor_requires_grad(kept[i]));
    NO_ERROR();
}

static void test_many_parameters(void **state) {
    (void)state;
    enum { MANY = 300 };
    rl_tensor *w[MANY];
    RL_SCOPE();
    for (int i = 0; i < MANY; i++)
        w[i] = matrix(i, true);
    for (int round = 0; round < 2; round++) {
        RL_SCOPE();
        RL_AUTOCAST(RL_BF16);
        rl_tensor *sum = rl_zeros(RL_DIMS(2, 2), .dtype = RL_F32);
        for (int i = 0; i < MANY; i++)
            sum = rl_add(sum, rl_mm(w[i], w[i]));
        rl_backward(rl_sum(sum));
    }
    HAS(rl_grad(w[3]), 24, 24, 24, 24);
    NO_ERROR();
}

/* Checkpoints run again as they ran first, wherever the backward is. */
static rl_status twice(rl_tensors inputs, rl_tensor **outputs, int64_t n_outputs, void *context) {
    (void)n_outputs;
    rl_tensor *w = context;
    outputs[0] = rl_mm(rl_mm(inputs.data[0], w), w);
    return rl_error_status();
}
static void test_checkpoint(void **state) {
    (void)state;
    rl_tensor *grads[2];
    RL_SCOPE();
    for (int with = 0; with < 2; with++) {
        rl_tensor *x = matrix(1.0, true), *w = matrix(1.00390625, true), *y, *before;
        {
            RL_AUTOCAST(RL_BF16);
            before = rl_mm(x, w); /* its cast of w is in the cache */
            if (with)
                rl_checkpoint(twice, w, RL_TENSORS(x), &y, 1);
            else
                twice(RL_TENSORS(x), &y, 1, w);
        }
        IS(y, RL_BF16);
        rl_backward(rl_sum(rl_add(y, before)));
        grads[with] = rl_grad(w);
        NO_ERROR();
        assert_non_null(grads[with]);
    }
    assert_true(rl_item(rl_equal(grads[0], grads[1])) != 0.0);
}

/* A region is of its thread. */
static void *other_thread(void *out) {
    rl_tensor *a = matrix(1.0, false);
    *(rl_dtype *)out = rl_tensor_dtype(rl_mm(a, a));
    (void)rl_autocast_begin(RL_F16); /* left open: its cache goes with the thread */
    rl_mm(matrix(1.0, true), a);
    return NULL;
}
static void test_threads(void **state) {
    (void)state;
    RL_SCOPE();
    pthread_t thread;
    rl_dtype there = RL_DTYPE_NONE;
    RL_AUTOCAST(RL_BF16);
    assert_int_equal(pthread_create(&thread, NULL, other_thread, &there), 0);
    pthread_join(thread, NULL);
    assert_int_equal(there, RL_F32);
}

int main(void) {
    const struct CMUnitTest tests[] = {TEST(test_policies),        TEST(test_regions), TEST(test_gradients),
                                       TEST(test_backward_within), TEST(test_cache),   TEST(test_many_parameters),
                                       TEST(test_checkpoint),      TEST(test_threads)};
    return finish(cmocka_run_group_tests(tests, NULL, NULL));
}
