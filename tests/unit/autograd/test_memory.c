/* SPDX-License-Identifier: Apache-2.0 */
/* Every allocation fails once, and from then on: an error each time, and no leak (the address sanitizer looks). */
#include "base/memory.h"
#include "support.h"

static rl_status twice_forward(rl_function_call *call, rl_tensors in, rl_tensor **out, int64_t n_out, void *context) {
    (void)n_out, (void)context;
    out[0] = rl_mul(in.data[0], 2);
    return rl_function_save(call, RL_TENSORS(in.data[0], out[0]));
}
static rl_status twice_backward(rl_function_call *call, rl_tensors grads, rl_tensor **out, int64_t n_in,
                                void *context) {
    (void)n_in, (void)context;
    out[0] = rl_add(rl_mul(grads.data[0], 2), rl_mul(rl_function_saved(call, 1), 0));
    return rl_error_status();
}
static int given, destroyed;
static void destroy(void *context) {
    (void)context;
    destroyed++;
}
static const rl_function_class twice = {sizeof twice, "TwiceBackward", twice_forward, twice_backward, destroy};

static rl_status pointwise_fn(rl_tensors in, rl_tensor **out, int64_t n_out, void *context) {
    rl_tensor *w = context;
    (void)n_out;
    out[0] = rl_mul(rl_tanh(in.data[0]), w);
    return rl_error_status();
}

static rl_tensor *keep_hook(rl_tensor *grad, void *context) {
    (void)context;
    return rl_mul(grad, 1);
}

/* A bit of everything: ops of one and several results, lists, views changed in place, hooks, functions, gradients of
 * gradients. */
static void everything(void) {
    RL_SCOPE();
    rl_tensor *x = LEAF(1, 2, 3, 4), *w = LEAF(2), *y[1], *g[2];
    rl_tensor *base = rl_mul(rl_view(x, RL_DIMS(2, 2)), w), *row = rl_select(base, 0, 0);
    rl_mul_(row, w);
    rl_register_hook(base, keep_hook, NULL);
    rl_retain_grad(base);
    rl_tensors parts = RL_TENSORS(base, rl_t(base), rl_max_dim(base, 1, .keepdim = true).values);
    rl_tensor *both = rl_cat(parts, .dim = 1);
    given++;
    rl_function_apply(&twice, NULL, RL_TENSORS(both), y, 1);
    rl_checkpoint(pointwise_fn, w, RL_TENSORS(y[0]), y, 1);
    rl_fuse(pointwise_fn, w, RL_TENSORS(y[0]), y, 1);
    rl_tensor *loss = rl_sum(y[0]);
    rl_gradients(RL_TENSORS(loss), RL_TENSORS(x, w), g, .create_graph = true);
    rl_backward(rl_sum(rl_mul(g[0], g[1])), .retain_graph = true);
    rl_backward(loss);
}

static void fail_each(bool onward) {
    rl_error_clear();
    everything(); /* programs and pools are there from now on */
    NO_ERROR();
    for (uint64_t n = 1;; n++) {
        rl_alloc_fail_at(n, onward);
        everything();
        rl_alloc_fail_at(0, false);
        if (!rl_failed())
            break;
        assert_int_equal(rl_error_status(), RL_OUT_OF_MEMORY);
        assert_true(rl_grad_enabled());
        assert_int_equal(destroyed, given);
        rl_error_clear();
        assert_true(n < 100000);
    }
}

static void test_once(void **state) {
    (void)state;
    fail_each(false);
}
static void test_onward(void **state) {
    (void)state;
    fail_each(true);
}

int main(void) {
    const struct CMUnitTest tests[] = {TEST(test_once), TEST(test_onward)};
    return finish(cmocka_run_group_tests(tests, NULL, NULL));
}
