/* SPDX-License-Identifier: Apache-2.0 */
/* Programs that mix views and changes in place. The numbers are those that PyTorch 2.15 gives for the same lines. */
#include "support.h"

static rl_tensor *part(rl_tensor *self, int64_t start, int64_t end) {
    return rl_slice(self, .start = start ? start : RL_ZERO, .end = end);
}
static rl_tensor *square_sum(rl_tensor *self) {
    return rl_sum(rl_mul(self, self));
}
static rl_tensor *zeros(int64_t count) {
    return rl_zeros(RL_DIMS(count), .dtype = RL_F64);
}

/* x = a*2; v = x[1:3]; x.mul_(3); (v*v).sum() */
static void test_base_then_view(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *a = LEAF(1, 2, 3, 4), *x = rl_mul(a, 2), *v = part(x, 1, 3);
    rl_mul_(x, 3);
    assert_string_equal(rl_tensor_grad_fn(v), "AsStridedBackward0");
    assert_string_equal(rl_tensor_grad_fn(x), "MulBackward0");
    rl_backward(square_sum(v));
    HAS(rl_grad(a), 0, 144, 216, 0);
}

/* x = a*2; v = x[1:3]; x.mul_(3); v.mul_(5); (x.sum() + v.sum()) */
static void test_base_and_view(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *a = LEAF(1, 2, 3, 4), *x = rl_mul(a, 2), *v = part(x, 1, 3);
    rl_mul_(x, 3);
    rl_mul_(v, 5);
    rl_backward(rl_add(rl_sum(x), rl_sum(v)));
    HAS(rl_grad(a), 6, 60, 60, 6);
}

/* x = a*1; v1 = x[0:2]; v2 = x[1:3]; v1.mul_(2); (v2*v2).sum() */
static void test_views_that_overlap(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *a = LEAF(1, 2, 3, 4), *x = rl_mul(a, 1), *v1 = part(x, 0, 2), *v2 = part(x, 1, 3);
    rl_mul_(v1, 2);
    rl_backward(square_sum(v2));
    HAS(rl_grad(a), 0, 16, 6, 0);
}

/* x = (a*1).view(2,3); v = x.t(); u = v[1]; u.mul_(10); ((x*x).sum() + v.sum() + 3*u.sum()) */
static void test_chain(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *a = LEAF(1, 2, 3, 4, 5, 6), *x = rl_view(rl_mul(a, 1), RL_DIMS(2, 3)), *v = rl_t(x);
    rl_tensor *u = rl_select(v, 0, 1);
    rl_mul_(u, 10);
    HAS(rl_detach(x), 1, 20, 3, 4, 50, 6);
    rl_backward(rl_add(rl_add(square_sum(x), rl_sum(v)), rl_mul(rl_sum(u), 3)));
    HAS(rl_grad(a), 3, 440, 7, 9, 1040, 13);
}

/* x = a*2; v = x.view(2,2); u = v[0]; x.add_(1); v.mul_(2); u.exp_(); (x*[1,2,3,4]).sum() */
static void test_all_levels_change(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *a = LEAF(1, 2, 3, 4), *x = rl_mul(a, 2), *v = rl_view(x, RL_DIMS(2, 2)), *u = rl_select(v, 0, 0);
    rl_add_(x, 1);
    rl_mul_(v, 2);
    rl_exp_(u);
    rl_backward(rl_sum(rl_mul(x, CONSTANT(1, 2, 3, 4))));
    HAS(rl_detach(x), 403.4287934927351, 22026.465794806718, 14, 18);
    HAS(rl_grad(a), 1613.7151739709404, 176211.72635845374, 12, 16);
}

/* x = a.view(2,3).t()*2, in column order; v = x[0]; v.mul_(3); (x*x).sum() */
static void test_column_order(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *a = LEAF(1, 2, 3, 4, 5, 6), *x = rl_mul(rl_t(rl_view(a, RL_DIMS(2, 3))), 2), *v = rl_select(x, 0, 0);
    assert_int_equal(rl_tensor_strides(x)[0], 1);
    rl_mul_(v, 3);
    rl_backward(square_sum(x));
    HAS(rl_grad(a), 72, 16, 24, 288, 40, 48);
}

/* b = zeros(4); v = b[1:3]; v.copy_(a); (b*b).sum() */
static void test_written_into_zeros(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *a = LEAF(1, 2), *b = zeros(4), *v = part(b, 1, 3);
    rl_copy_(v, a);
    assert_string_equal(rl_tensor_grad_fn(b), "CopySlices");
    rl_backward(square_sum(b));
    HAS(rl_grad(a), 2, 4);
}

/* b = zeros(4); v = b[1:3]; b.copy_(a*a); (v*v).sum() */
static void test_view_made_before(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *a = LEAF(1, 2, 3, 4), *b = zeros(4), *v = part(b, 1, 3);
    rl_copy_(b, rl_mul(a, a));
    assert_true(rl_tensor_requires_grad(v));
    assert_string_equal(rl_tensor_grad_fn(v), "AsStridedBackward0");
    rl_backward(square_sum(v));
    HAS(rl_grad(a), 0, 32, 108, 0);
}

/* out = zeros(3); out[i].copy_(a[i] * (i + 1)); (out*out).sum() */
static void test_filled_one_by_one(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *a = LEAF(1, 2, 3), *out = zeros(3);
    for (int i = 0; i < 3; i++)
        rl_copy_(rl_select(out, 0, i), rl_mul(rl_select(a, 0, i), i + 1));
    rl_backward(square_sum(out));
    HAS(rl_grad(a), 2, 16, 54);
}

/* x = a*2; v = x[1:3]; v.fill_(5); (x*x).sum(); then the same with v.zero_() and x.sum() */
static void test_overwritten(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *a = LEAF(1, 2, 3, 4), *x = rl_mul(a, 2);
    rl_fill_(part(x, 1, 3), 5);
    rl_backward(square_sum(x));
    HAS(rl_grad(a), 8, 0, 0, 32);
    rl_set_grad(a, NULL);
    x = rl_mul(a, 2);
    rl_zero_(part(x, 1, 3));
    assert_string_equal(rl_tensor_grad_fn(x), "CopySlices");
    rl_backward(rl_sum(x));
    HAS(rl_grad(a), 2, 0, 0, 2);
}

/* x = a*1; x.mul_(w); x.mul_(w); (x*x).sum(): each product needs x as it was before it */
static void test_needs_itself(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *a = LEAF(1, 2, 3), *w = LEAF(2, 3, 4), *x = rl_mul(a, 1);
    rl_mul_(x, w);
    rl_mul_(x, w);
    rl_backward(square_sum(x));
    HAS(rl_grad(a), 32, 324, 1536);
    HAS(rl_grad(w), 32, 432, 2304);
    x = rl_mul(a, 1);
    rl_mul_(x, x); /* the other factor is saved as it was, and changed: PyTorch refuses, too */
    rl_backward(rl_sum(x));
    FAILED_WITH(RL_AUTOGRAD, "that MulBackward0 saved was changed in place by mul_");
}

/* x = a*1; v = x[1:3]; v.mul_(w); g, h = grad((x**3).sum(), [a, w], create_graph); (g.sum() + h.sum()).backward() */
static void test_second_order(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *a = LEAF(1, 2, 3), *w = LEAF(2, 3), *x = rl_mul(a, 1), *g[2];
    rl_mul_(part(x, 1, 3), w);
    rl_gradients(RL_TENSORS(rl_sum(rl_pow(x, 3))), RL_TENSORS(a, w), g, .create_graph = true);
    HAS(g[0], 3, 96, 729);
    HAS(g[1], 96, 729);
    rl_backward(rl_add(rl_sum(g[0]), rl_sum(g[1])));
    HAS(rl_grad(a), 6, 240, 1215);
    HAS(rl_grad(w), 240, 1215);
}

static rl_tensor *ten_times(rl_tensor *grad, void *context) {
    (void)context;
    return rl_mul(grad, 10);
}

/* x = a*1; x.register_hook(10 g); x.retain_grad(); x.mul_(2); x.sum(): the hook stays with x as it was, the kept
 * gradient is that of x as it is */
static void test_hooks_and_changes(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *a = LEAF(1, 2, 3), *x = rl_mul(a, 1);
    rl_register_hook(x, ten_times, NULL);
    rl_retain_grad(x);
    rl_mul_(x, 2);
    rl_backward(rl_sum(x));
    HAS(rl_grad(a), 20, 20, 20);
    HAS(rl_grad(x), 1, 1, 1);
}

/* It can be taken away all the same, by way of that tensor alone. */
static void test_hooks_go(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *a = LEAF(1, 2, 3), *x = rl_mul(a, 1), *v = part(x, 0, 2);
    int64_t first = rl_register_hook(x, ten_times, NULL), on_view = rl_register_hook(v, ten_times, NULL);
    rl_mul_(x, 2);
    int64_t second = rl_register_hook(x, ten_times, NULL);
    assert_int_equal(rl_remove_hook(x, first), RL_OK);
    rl_backward(rl_sum(x), .retain_graph = true);
    HAS(rl_grad(a), 20, 20, 20);
    assert_int_equal(rl_remove_hook(x, second), RL_OK);
    rl_remove_hook(x, first);
    FAILED_WITH(RL_NOT_FOUND, "self has no hook of handle");
    rl_remove_hook(x, on_view);
    FAILED_WITH(RL_NOT_FOUND, "self has no hook of handle");
    rl_set_grad(a, NULL);
    assert_int_equal(rl_remove_hook(v, on_view), RL_OK); /* its history is another one, too */
    rl_backward(rl_add(rl_sum(x), rl_sum(v)));
    HAS(rl_grad(a), 4, 4, 2);
    rl_register_hook(x, ten_times, NULL); /* and it may stay until the tensor goes */
}

/* The same with a view: its history is made anew when the base has changed. */
static void test_retained_view(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *a = LEAF(1, 2, 3, 4), *x = rl_mul(a, 1), *v = part(x, 1, 3);
    rl_retain_grad(v);
    rl_mul_(x, 2);
    rl_backward(square_sum(v));
    HAS(rl_grad(v), 8, 12);
    HAS(rl_grad(a), 0, 16, 24, 0);
}

/* b = zeros(3); v = b[0:2]; b.requires_grad_(); v.mul_(2): b is a leaf now, whenever the view was made */
static void test_base_becomes_leaf(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *b = zeros(3), *v = part(b, 0, 2);
    rl_requires_grad(b, true);
    assert_null(rl_mul_(v, 2));
    FAILED_WITH(RL_AUTOGRAD, "mul_: self is a view of a leaf that requires gradients");
    assert_false(rl_tensor_requires_grad(v));
}

/* A change through detach is no part of the graph, but is seen where what it changed was saved. */
static void test_detached(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *a = LEAF(1, 2), *x = rl_exp(a);
    rl_mul_(rl_detach(x), 2);
    rl_backward(rl_sum(x));
    FAILED_WITH(RL_AUTOGRAD, "that ExpBackward0 saved was changed in place by mul_");
}

/* A view outlives its base, and a base its views. */
static void test_who_lives(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *a = LEAF(1, 2, 3, 4), *v, *b = zeros(4);
    {
        rl_scope inner = rl_scope_begin();
        rl_tensor *x = rl_mul(a, 2);
        rl_scope views = rl_scope_begin();
        rl_copy_(part(b, 0, 2), part(a, 2, 4));
        rl_mul_(part(x, 0, 1), 7);
        rl_scope_end(views);
        v = rl_keep(part(x, 0, 2));
        rl_scope_end(inner);
    }
    rl_mul_(v, 3);
    rl_backward(rl_add(rl_sum(v), square_sum(b)));
    HAS(rl_grad(a), 42, 6, 6, 8);
}

/* An expanded base: a change of one of its places in memory would be one of many elements. */
static void test_expanded(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *a = LEAF(3), *x = rl_mul(a, 1), *wide = rl_expand(x, RL_DIMS(4));
    assert_null(rl_mul_(wide, 2));
    FAILED_WITH(RL_INVALID_ARGUMENT, "one place in memory");
    rl_mul_(x, 2); /* of the base it is well defined */
    rl_backward(square_sum(wide));
    HAS(rl_grad(a), 4 * 2 * 6 * 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {TEST(test_base_then_view),
                                       TEST(test_base_and_view),
                                       TEST(test_views_that_overlap),
                                       TEST(test_chain),
                                       TEST(test_all_levels_change),
                                       TEST(test_column_order),
                                       TEST(test_written_into_zeros),
                                       TEST(test_view_made_before),
                                       TEST(test_filled_one_by_one),
                                       TEST(test_overwritten),
                                       TEST(test_needs_itself),
                                       TEST(test_second_order),
                                       TEST(test_hooks_and_changes),
                                       TEST(test_hooks_go),
                                       TEST(test_retained_view),
                                       TEST(test_base_becomes_leaf),
                                       TEST(test_detached),
                                       TEST(test_who_lives),
                                       TEST(test_expanded)};
    return finish(cmocka_run_group_tests(tests, NULL, NULL));
}
