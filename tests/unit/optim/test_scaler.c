/* SPDX-License-Identifier: Apache-2.0 */
/* The gradient scaler does what torch.amp.GradScaler does. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/memory.h"
#include "rushlight/rushlight.h"

static rl_tensor *leaf(rl_dtype dtype) {
    return rl_requires_grad(rl_ones(RL_DIMS(3), .dtype = dtype), true);
}
static void expect(rl_status status, const char *sentence) {
    assert_int_equal(status, RL_INVALID_ARGUMENT);
    if (!strstr(rl_error_text(), sentence))
        fail_msg("'%s' does not say '%s'", rl_error_text(), sentence);
    rl_error_clear();
}
static void has(rl_tensor *t, float a, float b, float c) {
    float got[3];
    rl_tensor_read(t, got, sizeof got);
    assert_int_equal(rl_error_status(), RL_OK);
    if (got[0] != a || got[1] != b || got[2] != c)
        fail_msg("%g %g %g, not %g %g %g", (double)got[0], (double)got[1], (double)got[2], (double)a, (double)b,
                 (double)c);
}

static void test_steps(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *p = leaf(RL_F32), *q = leaf(RL_F32);
    rl_optimizer *sgd = rl_optimizer_sgd(NULL, .lr = 1.0, .parameters = RL_TENSORS(p, q));
    rl_grad_scaler *scaler = rl_grad_scaler_new(.init_scale = 8.0, .growth_interval = 2);
    bool stepped;
    double scales[] = {8.0, 8.0, 16.0, 8.0, 8.0, 16.0, 16.0};
    for (int i = 0; i < 6; i++) {
        assert_true(rl_grad_scaler_get_scale(scaler) == scales[i]);
        rl_optimizer_zero_grad(sgd);
        rl_tensor *loss = rl_grad_scaler_scale(scaler, rl_sum(rl_mul(p, 0.25)));
        rl_backward(loss);
        if (i == 2)
            rl_set_grad(q, rl_tensor_from_data((float[]){0.0f, NAN, 1.0f}, RL_DIMS(3), RL_F32, NULL));
        if (i == 1) {
            rl_grad_scaler_unscale(scaler, sgd);
            has(rl_grad(p), 0.25f, 0.25f, 0.25f);
        }
        assert_int_equal(rl_grad_scaler_step_opt(scaler, sgd, &stepped), RL_OK);
        assert_true(stepped == (i != 2));
        assert_int_equal(rl_grad_scaler_update(scaler), RL_OK);
    }
    has(p, -0.25f, -0.25f, -0.25f);
    has(q, 1.0f, 1.0f, 1.0f);
}

/* Infinities of each kind, in each dtype, in whatever layout; large numbers are none. */
static void test_finds(void **state) {
    (void)state;
    static const float values[] = {INFINITY, -INFINITY, NAN, 3e38f};
    for (int i = 0; i < 4; i++)
        for (int bf16 = 0; bf16 < 2; bf16++) {
            RL_SCOPE();
            bool stepped;
            rl_tensor *p = rl_requires_grad(rl_zeros(RL_DIMS(3, 5), .dtype = bf16 ? RL_BF16 : RL_F32), true);
            rl_tensor *g = rl_zeros(RL_DIMS(5, 3)), *at = rl_select(rl_select(g, 0, 4), 0, 1);
            rl_fill_(at, (double)values[i]);
            rl_set_grad(p, rl_to(rl_t(g), .dtype = bf16 ? RL_BF16 : RL_F32));
            rl_optimizer *sgd = rl_optimizer_sgd(NULL, .parameters = RL_TENSORS(p));
            rl_grad_scaler *scaler = rl_grad_scaler_new(.init_scale = 2.0);
            rl_grad_scaler_step_opt(scaler, sgd, &stepped);
            rl_grad_scaler_update(scaler);
            assert_int_equal(rl_error_status(), RL_OK);
            assert_true(stepped == (i == 3));
            assert_true(rl_grad_scaler_get_scale(scaler) == (i == 3 ? 2.0 : 1.0));
        }
}

static void test_order(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *p = leaf(RL_F32), *h = leaf(RL_F16);
    rl_optimizer *sgd = rl_optimizer_sgd(NULL, .parameters = RL_TENSORS(p));
    rl_grad_scaler *scaler = rl_grad_scaler_new(.init_scale = 4.0);
    expect(rl_grad_scaler_update(scaler), "no optimizer was stepped");
    rl_set_grad(p, rl_ones_like(p));
    rl_grad_scaler_unscale(scaler, sgd);
    expect(rl_grad_scaler_unscale(scaler, sgd), "was unscaled before");
    rl_grad_scaler_step(scaler, sgd);
    expect(rl_grad_scaler_unscale(scaler, sgd), "has stepped");
    expect(rl_grad_scaler_step(scaler, sgd), "has stepped");
    assert_int_equal(rl_grad_scaler_update(scaler), RL_OK);
    rl_set_grad(h, rl_ones_like(h));
    expect(rl_grad_scaler_step(scaler, rl_optimizer_sgd(NULL, .parameters = RL_TENSORS(h))), "is f16");
    expect(rl_grad_scaler_step(scaler, NULL), "optimizer is NULL");
    expect(rl_grad_scaler_set_scale(scaler, 0.0), "above 0");
    assert_null(rl_grad_scaler_new(.growth_factor = 0.5));
    expect(rl_error_status(), "growth_factor must be above 1");
    assert_null(rl_grad_scaler_new(.growth_factor = (double)RL_ZERO));
    expect(rl_error_status(), "growth_factor must be above 1, got 0");
    assert_null(rl_grad_scaler_new(.growth_interval = RL_ZERO));
    expect(rl_error_status(), "growth_interval must be above 0, got 0");
    assert_null(rl_grad_scaler_new(.backoff_factor = 1.5));
    expect(rl_error_status(), "backoff_factor");
}

static void test_not_enabled(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *p = leaf(RL_F32);
    rl_optimizer *sgd = rl_optimizer_sgd(NULL, .lr = 1.0, .parameters = RL_TENSORS(p));
    rl_grad_scaler *scaler = rl_grad_scaler_new(.enabled = RL_ZERO);
    rl_tensor *loss = rl_sum(p);
    assert_ptr_equal(rl_grad_scaler_scale(scaler, loss), loss);
    assert_true(rl_grad_scaler_get_scale(scaler) == 1.0 && !rl_grad_scaler_is_enabled(scaler));
    rl_backward(loss);
    rl_grad_scaler_step(scaler, sgd);
    assert_int_equal(rl_grad_scaler_update(scaler), RL_OK);
    has(p, 0.0f, 0.0f, 0.0f);
}

static void test_file(void **state) {
    (void)state;
    RL_SCOPE();
    char path[] = "/tmp/rushlight-scaler-XXXXXX";
    close(mkstemp(path));
    rl_tensor *p = leaf(RL_F32);
    rl_optimizer *sgd = rl_optimizer_sgd(NULL, .parameters = RL_TENSORS(p));
    rl_grad_scaler *a = rl_grad_scaler_new(.init_scale = 32.0, .growth_interval = 3), *b = rl_grad_scaler_new();
    for (int i = 0; i < 2; i++)
        rl_grad_scaler_step(a, sgd), rl_grad_scaler_update(a);
    assert_int_equal(rl_grad_scaler_save(a, path), RL_OK);
    assert_int_equal(rl_grad_scaler_load(b, path), RL_OK);
    rl_grad_scaler_step(b, sgd), rl_grad_scaler_update(b);
    assert_true(rl_grad_scaler_get_scale(b) == 64.0);
    const rl_metadata lines[] = {{"scale", "nan"}};
    rl_safetensors_save(path, NULL, (rl_tensors){0}, lines, 1);
    assert_int_equal(rl_grad_scaler_load(b, path), RL_BAD_FORMAT);
    rl_error_clear();
    unlink(path);
}

/* A small net in f16: gradients that would vanish do not. */
static void test_trains(void **state) {
    (void)state;
    RL_SCOPE();
    double first = 0.0, last = 0.0;
    rl_manual_seed(3);
    rl_module *net = rl_nn_sequential(rl_nn_linear(4, 16), rl_nn_tanh(), rl_nn_linear(16, 1));
    rl_optimizer *sgd = rl_optimizer_sgd(net, .lr = 0.1);
    rl_grad_scaler *scaler = rl_grad_scaler_new();
    rl_tensor *x = rl_randn(RL_DIMS(64, 4)), *y = rl_sum(x, .dim = RL_DIMS(1), .keepdim = true);
    for (int i = 0; i < 60; i++) {
        RL_SCOPE();
        rl_tensor *loss;
        {
            RL_AUTOCAST(RL_F16);
            loss = rl_mse_loss(rl_module_forward(net, x), y);
        }
        assert_int_equal(rl_tensor_dtype(loss), RL_F32);
        last = rl_item(loss);
        first = i == 0 ? last : first;
        rl_optimizer_zero_grad(sgd);
        rl_backward(rl_grad_scaler_scale(scaler, loss));
        rl_grad_scaler_unscale(scaler, sgd);
        rl_clip_grad_norm(net, 5.0);
        rl_grad_scaler_step(scaler, sgd);
        rl_grad_scaler_update(scaler);
    }
    assert_int_equal(rl_error_status(), RL_OK);
    assert_true(last < 0.1 * first);
}

/* Layers compute in the region's dtype; their parameters and gradients stay f32. */
static void test_layers(void **state) {
    (void)state;
    RL_SCOPE();
    rl_module *layers[] = {rl_nn_linear(4, 3), rl_nn_conv2d(4, 3, 1)};
    rl_tensor *inputs[] = {rl_ones(RL_DIMS(2, 4)), rl_ones(RL_DIMS(2, 4, 3, 3))};
    for (int i = 0; i < 2; i++) {
        rl_tensor *y;
        {
            RL_AUTOCAST(RL_BF16);
            y = rl_module_forward(layers[i], inputs[i]);
        }
        assert_int_equal(rl_tensor_dtype(y), RL_BF16);
        rl_backward(rl_sum(y));
        assert_int_equal(rl_tensor_dtype(rl_grad(rl_module_tensor(layers[i], "weight"))), RL_F32);
    }
    assert_int_equal(rl_error_status(), RL_OK);
}

static void test_without_memory(void **state) {
    (void)state;
    bool failed = true;
    for (uint64_t n = 1; failed; n++) {
        RL_SCOPE();
        rl_tensor *p = leaf(RL_F32), *q = leaf(RL_F32);
        rl_optimizer *sgd = rl_optimizer_sgd(NULL, .parameters = RL_TENSORS(p, q));
        rl_set_grad(p, rl_ones_like(p));
        rl_set_grad(q, rl_ones_like(p));
        rl_alloc_fail_at(n, false);
        rl_grad_scaler *scaler = rl_grad_scaler_new();
        if (scaler)
            rl_grad_scaler_step(scaler, sgd);
        if (!rl_failed())
            rl_grad_scaler_update(scaler);
        rl_alloc_fail_at(0, false);
        failed = rl_failed();
        assert_int_equal(rl_error_status(), failed ? RL_OUT_OF_MEMORY : RL_OK);
        rl_error_clear();
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_steps),  cmocka_unit_test(test_finds),
                                       cmocka_unit_test(test_order),  cmocka_unit_test(test_not_enabled),
                                       cmocka_unit_test(test_file),   cmocka_unit_test(test_trains),
                                       cmocka_unit_test(test_layers), cmocka_unit_test(test_without_memory)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rl_shutdown();
    return failed;
}
