/* SPDX-License-Identifier: Apache-2.0 */
/* Changes in place, and views: the rules of PyTorch, whose numbers these are. */
#include "support.h"

static rl_tensor *rows(rl_tensor *flat) {
    return rl_view(flat, RL_DIMS(2, 3));
}

static void test_versions(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *x = LEAF(1, 2, 3), *e = rl_exp(x), *y = rl_mul(e, 2);
    rl_mul_(e, 3); /* exp saved its result */
    rl_backward(rl_sum(y));
    FAILED_WITH(RL_AUTOGRAD,
                "that ExpBackward0 saved was changed in place by mul_ since: it is at version 1 and was saved "
                "at version 0");
    rl_tensor *s = rl_sum(rl_mul(x, x));
    {
        RL_NO_GRAD();
        rl_zero_(x);
    }
    rl_backward(s);
    FAILED_WITH(RL_AUTOGRAD, "that MulBackward0 saved was changed in place by zero_");
    rl_tensor *a = rl_mul(x, 1), *b = rl_add(a, 1); /* add saves nothing: no harm */
    rl_mul_(a, 5);
    rl_backward(rl_sum(b));
    HAS(rl_grad(x), 1, 1, 1);
    rl_tensor *c = rl_mul(x, 1), *square = rl_mul(c, c), *part = rl_select(c, 0, 0);
    rl_add_(part, 1); /* through a view */
    rl_backward(rl_sum(square));
    FAILED_WITH(RL_AUTOGRAD, "by add_");
}

static void test_leaves_stay(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *x = LEAF(1, 2, 3);
    assert_null(rl_add_(x, 1));
    FAILED_WITH(RL_AUTOGRAD, "add_: self is a leaf that requires gradients");
    assert_null(rl_zero_(rl_select(x, 0, 1)));
    FAILED_WITH(RL_AUTOGRAD, "zero_: self is a view of a leaf that requires gradients");
    HAS(rl_detach(x), 1, 2, 3);
    {
        RL_NO_GRAD();
        rl_add_(x, 1);
        rl_zero_(rl_select(x, 0, 1));
    }
    HAS(rl_detach(x), 2, 0, 4);
    rl_backward(rl_sum(rl_mul(x, x)));
    HAS(rl_grad(x), 4, 0, 8);
}

static void test_inplace_history(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *x = LEAF(1, 2, 3), *w = LEAF(4, 5, 6), *y = rl_mul(x, 2);
    rl_mul_(y, w); /* needs y as it was */
    assert_string_equal(rl_tensor_grad_fn(y), "MulBackward0");
    rl_sin_(y);
    rl_backward(rl_sum(y));
    HAS(rl_grad(x), 8 * cos(8), 10 * cos(20), 12 * cos(36));
    HAS(rl_grad(w), 2 * cos(8), 4 * cos(20), 6 * cos(36));
    rl_tensor *z = rl_zeros(RL_DIMS(3), .dtype = RL_F64); /* comes to require gradients */
    assert_true(rl_tensor_is_leaf(z));
    rl_add_(z, x);
    assert_true(rl_tensor_requires_grad(z) && !rl_tensor_is_leaf(z));
    rl_tensor *g;
    rl_gradients(RL_TENSORS(rl_sum(rl_mul(z, z))), RL_TENSORS(x), &g);
    HAS(g, 2, 4, 6);
    rl_tensor *r = rl_mul(x, 1);
    rl_retain_grad(r);
    rl_mul_(r, 3); /* the gradient that is kept is that of r as it is now */
    rl_backward(rl_sum(rl_mul(r, 5)));
    HAS(rl_grad(r), 5, 5, 5);
    rl_tensor *f = rl_mul(x, 1);
    rl_fill_(f, 7);
    rl_gradients(RL_TENSORS(rl_sum(f)), RL_TENSORS(x), &g);
    HAS(g, 0, 0, 0);
}

/* The base learns of what is done to its views. */
static void test_change_of_view(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *x = LEAF(1, 2, 3, 4, 5, 6), *w = LEAF(10, 20, 30), *base = rl_mul(rows(x), 2);
    rl_tensor *row = rl_select(base, 0, 1), *column = rl_select(base, 1, 0);
    rl_mul_(row, w);
    assert_string_equal(rl_tensor_grad_fn(base), "CopySlices");
    assert_string_equal(rl_tensor_grad_fn(row), "AsStridedBackward0");
    rl_backward(rl_sum(rl_mul(base, base)), .retain_graph = true);
    HAS(rl_grad(x), 8, 16, 24, 4.0 * 2 * 4 * 100, 4.0 * 2 * 5 * 400, 4.0 * 2 * 6 * 900);
    HAS(rl_grad(w), 2.0 * 64 * 10, 2.0 * 100 * 20, 2.0 * 144 * 30);
    rl_tensor *g;
    rl_gradients(RL_TENSORS(rl_sum(column)), RL_TENSORS(x), &g, .retain_graph = true); /* made before the change */
    HAS(g, 2, 0, 0, 20, 0, 0);
    rl_gradients(RL_TENSORS(rl_sum(row)), RL_TENSORS(w), &g);
    HAS(g, 8, 10, 12);
}

static void test_view_of_constant(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *w = LEAF(1, 2, 3), *base = rl_zeros(RL_DIMS(2, 3), .dtype = RL_F64), *g;
    rl_tensor *row = rl_select(base, 0, 0), *other = rl_select(base, 1, 1);
    rl_copy_(row, w);
    assert_true(rl_tensor_requires_grad(base) && rl_tensor_requires_grad(other));
    HAS(base, 1, 2, 3, 0, 0, 0);
    rl_gradients(RL_TENSORS(rl_sum(rl_mul(base, base))), RL_TENSORS(w), &g);
    HAS(g, 2, 4, 6);
    rl_gradients(RL_TENSORS(rl_sum(other)), RL_TENSORS(w), &g, .allow_unused = true);
    HAS(g, 0, 1, 0);
}

/* Views of views, of transposed memory, of parts; gradients of gradients through them. */
static void test_views_of_views(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *x = LEAF(1, 2, 3, 4, 5, 6), *w = LEAF(7), *g;
    rl_tensor *base = rl_mul(rl_t(rows(x)), 1); /* 3 x 2 in column order */
    assert_false(rl_tensor_is_contiguous(base));
    rl_tensor *corner = rl_narrow(rl_narrow(base, 0, 1, 2), 1, 0, 1);
    rl_mul_(corner, w);
    HAS(base, 1, 4, 14, 5, 21, 6);
    rl_tensor *loss = rl_sum(rl_mul(base, base));
    rl_gradients(RL_TENSORS(loss), RL_TENSORS(x), &g, .create_graph = true);
    HAS(g, 2, 2 * 2 * 49, 2 * 3 * 49, 8, 10, 12);
    rl_tensor *both[2];
    rl_gradients(RL_TENSORS(rl_sum(g)), RL_TENSORS(w, x), both);
    HAS(both[0], 2 * 2 * 7 * 2 + 2 * 2 * 7 * 3);
    HAS(both[1], 2, 98, 98, 2, 2, 2);
}

static void test_base_changes_views(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *x = LEAF(1, 2, 3, 4, 5, 6), *base = rl_mul(rows(x), 1), *view = rl_t(base), *g;
    rl_mul_(base, 10);
    assert_string_equal(rl_tensor_grad_fn(view), "AsStridedBackward0");
    rl_gradients(RL_TENSORS(rl_sum(rl_mul(view, 3))), RL_TENSORS(x), &g);
    HAS(g, 30, 30, 30, 30, 30, 30);
    rl_tensor *detached = rl_detach(base); /* shares memory, knows of no history */
    rl_zero_(detached);
    assert_false(rl_tensor_requires_grad(detached));
    HAS(rl_detach(base), 0, 0, 0, 0, 0, 0);
}

static void test_view_without_grad(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *w = LEAF(1, 2, 3), *base = rl_zeros(RL_DIMS(2, 3), .dtype = RL_F64), *row;
    {
        RL_NO_GRAD();
        row = rl_select(base, 0, 0);
        rl_add_(row, w);
    }
    assert_false(rl_tensor_requires_grad(base));
    assert_null(rl_mul_(row, w));
    FAILED_WITH(RL_AUTOGRAD, "mul_: self is a view that was made while gradients were not recorded");
    assert_null(rl_mul_(rl_slice(row, 0, .end = 3), w)); /* a view of it that is recorded is no better */
    FAILED_WITH(RL_AUTOGRAD, "mul_: self is a view that was made while gradients were not recorded");
    rl_mul_(row, 2);
    HAS(base, 2, 4, 6, 0, 0, 0);
}

/* A parameter's view, while an optimizer changes the parameter. */
static void test_view_of_parameter(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *w = LEAF(1, 2, 3, 4, 5, 6), *view = rl_t(rows(w));
    {
        RL_NO_GRAD();
        rl_mul_(w, 2);
    }
    rl_backward(rl_sum(rl_mul(view, view)));
    HAS(rl_grad(w), 4, 8, 12, 16, 20, 24);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_versions),           TEST(test_leaves_stay),       TEST(test_inplace_history),
        TEST(test_change_of_view),     TEST(test_view_of_constant),  TEST(test_views_of_views),
        TEST(test_base_changes_views), TEST(test_view_without_grad), TEST(test_view_of_parameter)};
    return finish(cmocka_run_group_tests(tests, NULL, NULL));
}
