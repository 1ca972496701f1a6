/* SPDX-License-Identifier: Apache-2.0 */
/* That gradcheck and gradgradcheck find what is wrong, and say where. */
#include "support.h"

/* y = a b, by an op of one's own whose derivatives are wrong by choice. */
typedef struct faults {
    double factor; /* of the gradient of b: 1 where it is right */
    bool forget;   /* the gradients do not know that they depend on a and b */
} faults;

static rl_status product_forward(rl_function_call *call, rl_tensors in, rl_tensor **out, int64_t n_out, void *context) {
    (void)n_out, (void)context;
    out[0] = rl_mul(in.data[0], in.data[1]);
    return rl_function_save(call, in);
}

static rl_status product_backward(rl_function_call *call, rl_tensors grads, rl_tensor **out, int64_t n_in,
                                  void *context) {
    const faults *wrong = context;
    rl_tensor *a = rl_function_saved(call, 0), *b = rl_function_saved(call, 1);
    (void)n_in;
    out[0] = rl_mul(grads.data[0], wrong->forget ? rl_detach(b) : b);
    out[1] = rl_mul(rl_mul(grads.data[0], wrong->forget ? rl_detach(a) : a), wrong->factor);
    return rl_error_status();
}

static rl_status product(rl_tensors in, rl_tensor **out, int64_t n_out, void *context) {
    static const rl_function_class kind = {sizeof kind, "ProductBackward", product_forward, product_backward, NULL};
    return rl_function_apply(&kind, context, in, out, n_out);
}

static const rl_gradcheck_options fine = {.struct_size = sizeof fine, .rtol = 1e-5, .atol = 1e-7};

static void test_finds(void **state) {
    (void)state;
    RL_SCOPE();
    faults none = {1.0, false}, factor = {1.001, false}, nan = {NAN, false}, forget = {1.0, true};
    rl_tensor *a = LEAF(0.5, -1.25), *b = LEAF(2, 3);
    rl_tensors in = RL_TENSORS(a, b);
    assert_int_equal(rl_gradcheck_opt(product, &none, in, 1, &fine), RL_OK);
    assert_int_equal(rl_gradgradcheck_opt(product, &none, in, 1, &fine), RL_OK);
    NO_ERROR();
    assert_int_equal(rl_gradcheck_opt(product, &factor, in, 1, &fine), RL_AUTOGRAD);
    assert_non_null(strstr(rl_error_text(), "by input 1, element 0, of output 0, element 0,"));
    FAILED_WITH(RL_AUTOGRAD, "the graph gives 0.5005");
    rl_gradcheck_opt(product, &nan, in, 1, &fine);
    FAILED_WITH(RL_AUTOGRAD, "gives nan");
    assert_int_equal(rl_gradcheck_opt(product, &forget, in, 1, &fine), RL_OK);
    assert_int_equal(rl_gradgradcheck_opt(product, &forget, in, 1, &fine), RL_AUTOGRAD);
    FAILED_WITH(RL_AUTOGRAD, "gradgradcheck: the derivative by input 0");
    HAS(rl_detach(a), 0.5, -1.25); /* the inputs are as they were */
}

/* A function whose result depends on an input of which its graph knows nothing. */
static rl_status hidden(rl_tensors in, rl_tensor **out, int64_t n_out, void *context) {
    (void)n_out, (void)context;
    out[0] = rl_mul(rl_detach(in.data[0]), in.data[1]);
    return rl_error_status();
}
static rl_status sum_fn(rl_tensors in, rl_tensor **out, int64_t n_out, void *context) {
    (void)n_out;
    out[0] = context ? context : rl_sum(in.data[0]);
    return rl_error_status();
}
static rl_status nothing(rl_tensors in, rl_tensor **out, int64_t n_out, void *context) {
    (void)in, (void)out, (void)n_out, (void)context;
    return RL_OK;
}

static void test_finds_hidden(void **state) {
    (void)state;
    RL_SCOPE();
    rl_gradcheck_opt(hidden, NULL, RL_TENSORS(LEAF(2), LEAF(3)), 1, NULL);
    FAILED_WITH(RL_AUTOGRAD, "by input 0, element 0, of output 0, element 0, is expected to be 3");
    rl_tensor *expanded = rl_requires_grad(rl_detach(rl_expand(CONSTANT(1), RL_DIMS(3))), true);
    rl_gradcheck_opt(sum_fn, NULL, RL_TENSORS(expanded), 1, NULL);
    assert_true(rl_failed()); /* its elements are one place in memory: none can be moved alone */
    rl_error_clear();
    rl_tensor *column = rl_requires_grad(rl_detach(rl_t(rl_view(CONSTANT(1, 2, 3, 4), RL_DIMS(2, 2)))), true);
    assert_int_equal(rl_gradcheck_opt(sum_fn, NULL, RL_TENSORS(column), 1, &fine), RL_OK);
}

static void test_errors(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *x = LEAF(1, 2);
    rl_gradcheck_opt(sum_fn, NULL, RL_TENSORS(CONSTANT(1)), 1, NULL);
    FAILED_WITH(RL_INVALID_ARGUMENT, "gradcheck: no input requires gradients");
    rl_gradcheck_opt(sum_fn, NULL, RL_TENSORS(rl_requires_grad(rl_ones(RL_DIMS(2)), true)), 1, NULL);
    FAILED_WITH(RL_DTYPE_MISMATCH, "input 0 must be float64, is float32");
    rl_gradcheck_opt(NULL, NULL, RL_TENSORS(x), 1, NULL);
    FAILED_WITH(RL_INVALID_ARGUMENT, "fn is NULL");
    rl_gradcheck_opt(nothing, NULL, RL_TENSORS(x), 1, NULL);
    FAILED_WITH(RL_INVALID_ARGUMENT, "gave no output 0");
    rl_gradgradcheck_opt(sum_fn, CONSTANT(3), RL_TENSORS(x), 1, NULL);
    FAILED_WITH(RL_INVALID_ARGUMENT, "no output requires gradients");
}

/* Products with zeros among their factors: what is 0 there has derivatives that are not. */
static rl_status prod_fn(rl_tensors in, rl_tensor **out, int64_t n_out, void *context) {
    (void)n_out;
    const int64_t *dim = context;
    out[0] = dim ? rl_prod(in.data[0], .dim = RL_INTS(dim, 1)) : rl_prod(in.data[0]);
    return rl_error_status();
}

static rl_status cumprod_fn(rl_tensors in, rl_tensor **out, int64_t n_out, void *dim) {
    (void)n_out;
    out[0] = rl_cumprod(in.data[0], *(int64_t *)dim);
    return rl_error_status();
}

static void test_products_at_zero(void **state) {
    (void)state;
    RL_SCOPE();
    int64_t dims[] = {0, 1, -1};
    rl_tensor *leaves[] = {LEAF(0, 3, 2),    LEAF(0, 0, 2),      LEAF(1, 0, 2, 3),
                           LEAF(2, 0, 0, 3), LEAF(0, 1.5, 0, 3), LEAF(0)};
    for (size_t i = 0; i < sizeof leaves / sizeof *leaves; i++) {
        rl_gradgradcheck_opt(prod_fn, NULL, RL_TENSORS(leaves[i]), 1, NULL);
        rl_gradgradcheck_opt(cumprod_fn, &dims[0], RL_TENSORS(leaves[i]), 1, NULL);
        NO_ERROR();
    }
    rl_tensor *flat = CONSTANT(0, 1, 2, 0, 3, 0, 0, 2, 1.5, 0, 1, 2);
    rl_tensor *x = rl_requires_grad(rl_reshape(flat, RL_DIMS(3, 4)), true);
    for (int i = 0; i < 3; i++) {
        rl_gradgradcheck_opt(prod_fn, &dims[i], RL_TENSORS(x), 1, NULL);
        rl_gradgradcheck_opt(cumprod_fn, &dims[i], RL_TENSORS(x), 1, NULL);
        NO_ERROR();
    }
}

/* Where a formula divides 0 by 0 or takes infinity from infinity. */
static void test_corners(void **state) {
    (void)state;
    RL_SCOPE();
    double grad[3];
    rl_tensor *x = LEAF(3, -INFINITY, INFINITY), *low = LEAF(-INFINITY, -INFINITY), *zero = LEAF(0),
              *odds = LEAF(0.25, 1.5);
    rl_backward(rl_logsumexp(x, RL_DIMS(0)));
    rl_tensor_read(rl_grad(x), grad, sizeof grad);
    assert_true(grad[0] == 0 && grad[1] == 0 && isnan(grad[2]));
    rl_backward(rl_logsumexp(low, RL_DIMS(0)));
    HAS(rl_grad(low), 0, 0);
    rl_backward(rl_sum(rl_atan2(zero, CONSTANT(0))));
    HAS(rl_grad(zero), 0);
    rl_backward(rl_sum(rl_logit(odds)));
    rl_tensor_read(rl_grad(odds), grad, 2 * sizeof *grad);
    assert_true(fabs(grad[0] - 16.0 / 3) < 1e-12 && isnan(grad[1]));
    NO_ERROR();
}

int main(void) {
    const struct CMUnitTest tests[] = {TEST(test_finds), TEST(test_products_at_zero), TEST(test_corners),
                                       TEST(test_finds_hidden), TEST(test_errors)};
    return finish(cmocka_run_group_tests(tests, NULL, NULL));
}
