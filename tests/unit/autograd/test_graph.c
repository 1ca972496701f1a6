/* SPDX-License-Identifier: Apache-2.0 */
/* The graph and its walk: leaves, gradients, hooks, modes, errors, depth. */
#include "support.h"

static void test_leaves(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *x = CONSTANT(1, 2, 3);
    assert_false(rl_tensor_requires_grad(x));
    assert_true(rl_tensor_is_leaf(x));
    assert_ptr_equal(rl_requires_grad(x, true), x);
    assert_true(rl_tensor_requires_grad(x) && rl_tensor_is_leaf(x));
    assert_null(rl_tensor_grad_fn(x));
    assert_null(rl_grad(x));
    rl_tensor *y = rl_mul(x, x);
    assert_true(rl_tensor_requires_grad(y) && !rl_tensor_is_leaf(y));
    assert_string_equal(rl_tensor_grad_fn(y), "MulBackward0");
    assert_ptr_equal(rl_requires_grad(y, true), y);
    assert_null(rl_requires_grad(y, false));
    FAILED_WITH(RL_AUTOGRAD, "self is no leaf");
    assert_null(rl_requires_grad(rl_arange(3), true));
    FAILED_WITH(RL_DTYPE_MISMATCH, "self is int64");
    assert_null(rl_requires_grad(NULL, true));
    FAILED_WITH(RL_INVALID_ARGUMENT, "self is NULL");
    rl_tensor *d = rl_detach(y);
    assert_true(!rl_tensor_requires_grad(d) && rl_tensor_is_leaf(d) && rl_tensor_shares_storage(d, y));
    assert_false(rl_tensor_requires_grad(rl_gt(x, 1)));
    assert_false(rl_tensor_requires_grad(rl_to(x, .dtype = RL_I64)));
    assert_false(rl_tensor_requires_grad(NULL));
    NO_ERROR();
}

static void test_names(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *x = LEAF(1, 2, 3, 4), *m = rl_view(x, RL_DIMS(2, 2));
    assert_string_equal(rl_tensor_grad_fn(m), "ViewBackward0");
    assert_string_equal(rl_tensor_grad_fn(rl_add(x, 1)), "AddBackward0");
    assert_string_equal(rl_tensor_grad_fn(rl_log1p(x)), "Log1PBackward0");
    assert_string_equal(rl_tensor_grad_fn(rl_sum(x)), "SumBackward0");
    assert_string_equal(rl_tensor_grad_fn(rl_sum(m, .dim = RL_DIMS(0))), "SumBackward1");
    assert_string_equal(rl_tensor_grad_fn(rl_pow(x, 2)), "PowBackward0");
    assert_string_equal(rl_tensor_grad_fn(rl_pow(x, x)), "PowBackward1");
    assert_string_equal(rl_tensor_grad_fn(rl_t(m)), "TBackward0");
    assert_string_equal(rl_tensor_grad_fn(rl_mm(m, m)), "MmBackward0");
    assert_string_equal(rl_tensor_grad_fn(rl_mse_loss(x, x)), "MseLossBackward0");
    assert_string_equal(rl_tensor_grad_fn(rl_log_softmax(m, 1)), "LogSoftmaxBackward0");
    assert_string_equal(rl_tensor_grad_fn(rl_linear(m, m, .bias = rl_select(m, 0, 0))), "AddmmBackward0");
    NO_ERROR();
}

static void test_gradients_add_up(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *x = LEAF(1, 2, 3), *w = LEAF(4, 5, 6);
    rl_backward(rl_sum(rl_add(rl_mul(x, w), rl_mul(x, x))));
    HAS(rl_grad(x), 6, 9, 12);
    HAS(rl_grad(w), 1, 2, 3);
    rl_tensor *held = rl_grad(x);
    rl_backward(rl_sum(x)); /* adds in place: who holds the gradient sees it */
    assert_ptr_equal(rl_grad(x), held);
    HAS(held, 7, 10, 13);
    rl_set_grad(x, NULL);
    assert_null(rl_grad(x));
    rl_backward(rl_mul(x, 2), .gradient = CONSTANT(1, 10, 100));
    HAS(rl_grad(x), 2, 20, 200);
    rl_tensor *a = LEAF(1), *b = LEAF(2); /* one gradient for two leaves: each has its own */
    rl_tensor *s = rl_add(a, b);
    rl_backward(s);
    rl_backward(rl_mul(a, 5));
    HAS(rl_grad(a), 6);
    HAS(rl_grad(b), 1);
    rl_backward(a); /* a leaf is its own graph */
    HAS(rl_grad(a), 7);
}

static void test_broadcast_and_dtype(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *m = rl_requires_grad(rl_ones(RL_DIMS(2, 3), .dtype = RL_F64), true);
    rl_tensor *row = LEAF(1, 2, 3), *one = rl_requires_grad(rl_ones(RL_DIMS(2, 1), .dtype = RL_F32), true);
    rl_backward(rl_sum(rl_mul(rl_mul(m, row), one)));
    HAS(rl_grad(row), 2, 2, 2);
    HAS(rl_grad(one), 6, 6);
    assert_int_equal(rl_tensor_dtype(rl_grad(one)), RL_F32);
    assert_int_equal(rl_tensor_ndim(rl_grad(one)), 2);
    HAS(rl_grad(m), 1, 2, 3, 1, 2, 3);
    rl_tensor *h = rl_requires_grad(rl_ones(RL_DIMS(2), .dtype = RL_F16), true);
    rl_backward(rl_sum(rl_to(h, .dtype = RL_F32)));
    assert_int_equal(rl_tensor_dtype(rl_grad(h)), RL_F16);
    NO_ERROR();
}

/* The sum over many elements of a half goes into a wide parameter unrounded, and does not run over. */
static void test_wide_sums_of_halves(void **state) {
    (void)state;
    RL_SCOPE();
    rl_device *ref = rl_device_get("ref");
    rl_tensor *x = rl_ones(RL_DIMS(90001, 1), .dtype = RL_F16, .device = ref);
    rl_tensor *bias = rl_requires_grad(rl_zeros(RL_DIMS(1), .dtype = RL_F32, .device = ref), true);
    rl_tensor *one = rl_ones(RL_DIMS(1), .dtype = RL_F32, .device = ref);
    rl_backward(rl_native_norm_inference(x, one, one, bias), .gradient = x);
    HAS(rl_grad(bias), 90001);
}

static void test_errors(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *x = LEAF(1, 2, 3), *y = rl_mul(x, x);
    rl_backward(y);
    FAILED_WITH(RL_SHAPE_MISMATCH, "self (3) has 3 elements");
    rl_backward(CONSTANT(1));
    FAILED_WITH(RL_AUTOGRAD, "requires no gradient and has no grad_fn");
    rl_backward(NULL);
    FAILED_WITH(RL_INVALID_ARGUMENT, "self is NULL");
    rl_backward(y, .gradient = CONSTANT(1, 2));
    FAILED_WITH(RL_SHAPE_MISMATCH, "gradient must have self's shape (3), has (2)");
    rl_tensor *loss = rl_sum(y);
    rl_backward(loss, .retain_graph = true);
    rl_backward(loss);
    HAS(rl_grad(x), 4, 8, 12);
    rl_backward(loss);
    FAILED_WITH(RL_AUTOGRAD, "MulBackward0 was walked before");
    rl_set_grad(x, CONSTANT(1));
    FAILED_WITH(RL_SHAPE_MISMATCH, "set_grad: grad must have self's shape (3), has (1)");
    rl_set_grad(x, rl_ones(RL_DIMS(3)));
    FAILED_WITH(RL_DTYPE_MISMATCH, "grad must be float64");
    rl_retain_grad(CONSTANT(1));
    FAILED_WITH(RL_AUTOGRAD, "requires no gradient");
    HAS(rl_grad(x), 4, 8, 12);
    rl_tensor *linear = rl_sum(rl_mul(x, 2)); /* nothing saved: it may be walked again, as in PyTorch */
    rl_backward(linear);
    rl_backward(linear);
    NO_ERROR();
}

static void test_gradients_of(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *x = LEAF(2), *y = LEAF(3), *unused = LEAF(1), *g[3];
    rl_tensor *z = rl_mul(x, y), *f = rl_mul(z, z);
    rl_gradients(RL_TENSORS(f), RL_TENSORS(x, z), g, .retain_graph = true);
    HAS(g[0], 36);
    HAS(g[1], 12);
    assert_null(rl_grad(x));
    rl_gradients(RL_TENSORS(f), RL_TENSORS(x, unused), g, .retain_graph = true);
    FAILED_WITH(RL_AUTOGRAD, "input 1 is not part of the graph");
    assert_null(g[0]);
    rl_gradients(RL_TENSORS(f), RL_TENSORS(x, unused), g, .retain_graph = true, .allow_unused = true);
    NO_ERROR();
    assert_null(g[1]);
    rl_gradients(RL_TENSORS(f, z), RL_TENSORS(y, f), g, .grad_outputs = RL_TENSORS(CONSTANT(10), CONSTANT(1)),
                 .retain_graph = true);
    HAS(g[0], 242);
    HAS(g[1], 10);
    rl_gradients(RL_TENSORS(f), RL_TENSORS(z), g); /* walks no further than z: x y is not released */
    rl_gradients(RL_TENSORS(z), RL_TENSORS(x), g);
    HAS(g[0], 3);
    rl_gradients(RL_TENSORS(f), RL_TENSORS(CONSTANT(1)), g);
    FAILED_WITH(RL_AUTOGRAD, "input 0 requires no gradient");
    rl_gradients(RL_TENSORS(f), RL_TENSORS(x), NULL);
    FAILED_WITH(RL_INVALID_ARGUMENT, "out_grads is NULL");
}

/* Leaves with the same gradient do not share it, recorded or not: the next one is added to each. */
static void test_gradients_are_not_shared(void **state) {
    (void)state;
    for (int recorded = 0; recorded < 2; recorded++) {
        RL_SCOPE();
        rl_tensor *x = LEAF(1), *y = LEAF(2);
        rl_backward(rl_add(x, y), .create_graph = recorded);
        assert_ptr_not_equal(rl_grad(x), rl_grad(y));
        rl_backward(rl_add(x, y));
        HAS(rl_grad(x), 2);
        HAS(rl_grad(y), 2);
    }
}

/* d^3/dx^3 of x^4 is 24 x; of sin, -cos */
static void test_any_order(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *x = LEAF(0.5), *y = rl_pow(x, 4), *s = rl_sin(x);
    for (int i = 0; i < 3; i++) {
        rl_gradients(RL_TENSORS(y), RL_TENSORS(x), &y, .create_graph = true);
        rl_gradients(RL_TENSORS(s), RL_TENSORS(x), &s, .create_graph = true);
    }
    HAS(y, 12);
    HAS(s, -cos(0.5));
    rl_tensor *z = rl_mul(rl_mul(x, x), x);
    rl_backward(z, .create_graph = true);
    assert_true(rl_tensor_requires_grad(rl_grad(x)));
    rl_tensor *g = rl_grad(x);
    rl_backward(g); /* x.grad = 3 x^2 + 6 x, recorded */
    HAS(rl_grad(x), 0.75 + 3);
    rl_set_grad(x, NULL); /* the gradient holds the graph, which holds x */
}

static int calls;
static rl_tensor *twice_hook(rl_tensor *grad, void *context) {
    calls++;
    return context ? rl_mul(grad, *(const double *)context) : NULL;
}
static rl_tensor *wrong_hook(rl_tensor *grad, void *context) {
    (void)grad;
    (void)context;
    return rl_ones(RL_DIMS(7), .dtype = RL_F64);
}
static rl_tensor *failing_hook(rl_tensor *grad, void *context) {
    (void)context;
    rl_scope_begin(); /* left open: the barrier ends it */
    return rl_mm(grad, grad);
}

static void test_hooks(void **state) {
    (void)state;
    RL_SCOPE();
    double factor = 10;
    rl_tensor *x = LEAF(1, 2), *y = rl_mul(x, 3);
    calls = 0;
    int64_t on_y = rl_register_hook(y, twice_hook, &factor), on_x = rl_register_hook(x, twice_hook, NULL);
    assert_true(on_y > 0 && on_x > on_y);
    rl_retain_grad(y);
    rl_backward(rl_sum(rl_add(y, y)), .retain_graph = true);
    HAS(rl_grad(y), 20, 20);
    HAS(rl_grad(x), 60, 60);
    assert_int_equal(calls, 2);
    rl_remove_hook(y, on_y);
    rl_remove_hook(x, on_x);
    rl_remove_hook(x, on_x);
    FAILED_WITH(RL_NOT_FOUND, "no hook");
    rl_backward(rl_sum(y));
    HAS(rl_grad(y), 1, 1);
    assert_int_equal(calls, 2);
    rl_register_hook(x, wrong_hook, NULL);
    rl_backward(rl_sum(x));
    FAILED_WITH(RL_SHAPE_MISMATCH, "a hook must give a gradient of shape (2), gave (7)");
    rl_tensor *z = LEAF(1);
    rl_register_hook(z, failing_hook, NULL);
    rl_backward(rl_mul(z, 2));
    FAILED_WITH(RL_SHAPE_MISMATCH, "mm");
    assert_int_equal(rl_register_hook(CONSTANT(1), twice_hook, NULL), 0);
    FAILED_WITH(RL_AUTOGRAD, "requires no gradient");
    assert_int_equal(rl_register_hook(x, NULL, NULL), 0);
    FAILED_WITH(RL_INVALID_ARGUMENT, "hook is NULL");
}

static void test_modes(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *x = LEAF(1), *y = rl_sum(rl_mul(x, x));
    assert_true(rl_grad_enabled());
    {
        RL_NO_GRAD();
        assert_false(rl_grad_enabled());
        assert_false(rl_tensor_requires_grad(rl_mul(x, x)));
        rl_add_(x, 1); /* allowed here */
        rl_set_grad_enabled(true);
        assert_true(rl_tensor_requires_grad(rl_mul(x, 2)));
        rl_set_grad_enabled(false);
        rl_backward(y); /* a graph can be walked while nothing is recorded */
    }
    assert_true(rl_grad_enabled());
    FAILED_WITH(RL_AUTOGRAD, "changed in place by add_");
    rl_backward(rl_mul(x, x));
    assert_true(rl_grad_enabled());
    HAS(rl_grad(x), 4);
}

static void test_anomaly(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *x = LEAF(0), *y = rl_mul(rl_sqrt(x), 0);
    assert_false(rl_set_detect_anomaly(true));
    rl_backward(rl_sum(y));
    FAILED_WITH(RL_AUTOGRAD,
                "SqrtBackward0 gave NaN in the gradient of its input 0; in the forward: sqrt(self float64 (1))");
    assert_true(rl_set_detect_anomaly(false));
    rl_tensor *z = rl_sqrt(x);
    rl_backward(rl_sum(rl_mul(z, 0)));
    NO_ERROR();
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define DEPTH 200000 /* is enough for a recursion to end badly */
#else
#define DEPTH 1000000
#endif

/* Deeper than any stack, and wider than any small buffer. */
static void test_deep_and_wide(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *x = LEAF(1), *deep = x;
    rl_retain(deep);
    for (int i = 0; i < DEPTH; i++) {
        RL_SCOPE();
        rl_tensor *next = rl_retain(rl_neg(deep));
        rl_release(deep);
        deep = next;
    }
    rl_backward(deep);
    HAS(rl_grad(x), 1);
    rl_release(deep);
    enum { WIDE = 300 };
    rl_tensor *many[WIDE], *w = LEAF(2);
    for (int i = 0; i < WIDE; i++)
        many[i] = rl_mul(rl_mul(w, i), w);
    rl_tensors all = {many, WIDE};
    rl_backward(rl_sum(rl_cat(all)));
    HAS(rl_grad(w), 4.0 * WIDE * (WIDE - 1) / 2);
    rl_tensor *sum = w; /* the number of ways grows as a power of two: each node runs once */
    for (int i = 0; i < 50; i++)
        sum = rl_add(sum, sum);
    rl_set_grad(w, NULL);
    rl_backward(sum);
    HAS(rl_grad(w), ldexp(1, 50));
}

/* Of an op of several results, some get no gradient. */
static void test_missing_gradients(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *x = rl_view(LEAF(1, 5, 3, 2), RL_DIMS(2, 2));
    rl_max_dim_result both = rl_max_dim(x, 1);
    rl_tensor *g;
    rl_gradients(RL_TENSORS(rl_sum(both.values)), RL_TENSORS(x), &g);
    HAS(g, 0, 1, 1, 0);
    rl_tensor *parts[2] = {rl_select(x, 0, 0), rl_select(x, 0, 1)};
    rl_gradients(RL_TENSORS(rl_sum(parts[1])), RL_TENSORS(x), &g);
    HAS(g, 0, 0, 1, 1);
}

static void test_what_lives_on(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *x = LEAF(1, 2), *loss;
    {
        rl_scope inner = rl_scope_begin();
        loss = rl_keep(rl_sum(rl_mul(rl_exp(x), x)));
        rl_scope_end(inner); /* what lies between is held by the graph */
    }
    rl_backward(loss);
    HAS(rl_grad(x), 2 * exp(1), 3 * exp(2));
    rl_tensor *y = rl_mul(x, x); /* gone without ever being walked */
    rl_retain_grad(y);
    rl_register_hook(y, twice_hook, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {TEST(test_leaves),
                                       TEST(test_names),
                                       TEST(test_gradients_add_up),
                                       TEST(test_broadcast_and_dtype),
                                       TEST(test_wide_sums_of_halves),
                                       TEST(test_errors),
                                       TEST(test_gradients_of),
                                       TEST(test_any_order),
                                       TEST(test_gradients_are_not_shared),
                                       TEST(test_hooks),
                                       TEST(test_modes),
                                       TEST(test_anomaly),
                                       TEST(test_deep_and_wide),
                                       TEST(test_missing_gradients),
                                       TEST(test_what_lives_on)};
    return finish(cmocka_run_group_tests(tests, NULL, NULL));
}
