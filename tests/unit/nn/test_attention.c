/* SPDX-License-Identifier: Apache-2.0 */
/* Embedding and MultiheadAttention against PyTorch, what they refuse, and that attention's memory is linear. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "expected.h"
#include "rushlight/rushlight.h"

static void expect(rl_status status, const char *sentence) {
    if (rl_error_status() != status || !strstr(rl_error_text(), sentence))
        fail_msg("%d '%s', must be %d with '%s'", (int)rl_error_status(), rl_error_text(), (int)status, sentence);
    rl_error_clear();
}

#define ASSERT_IS(tensor, want) assert_elements(tensor, want, sizeof(want) / sizeof *(want))
static void assert_elements(const rl_tensor *tensor, const float *want, size_t count) {
    float got[256];
    assert_string_equal(rl_error_text(), "");
    assert_true(count <= sizeof got / sizeof *got);
    assert_int_equal(rl_tensor_numel(tensor), count);
    assert_int_equal(rl_tensor_read(tensor, got, count * sizeof *got), RL_OK);
    for (size_t i = 0; i < count; i++)
        if (!(fabsf(got[i] - want[i]) <= 2e-6f))
            fail_msg("element %d is %.9g, must be %.9g", (int)i, (double)got[i], (double)want[i]);
}

/* sin(start), sin(start + 1), .. times 0.5: as record.py has it. */
static rl_tensor *wave(rl_ints shape, int64_t start) {
    int64_t count = 1;
    for (int64_t d = 0; d < shape.count; d++)
        count *= shape.data[d];
    rl_tensor *x = rl_add(rl_arange((double)count, .dtype = RL_F64), (double)start);
    return rl_reshape(rl_to(rl_mul(rl_sin(x), 0.5), .dtype = RL_F32), shape);
}
static rl_module *waved(rl_module *module) {
    rl_tensor *parameters[16];
    int64_t count = rl_module_parameters(module, parameters, 16);
    RL_NO_GRAD();
    for (int64_t i = 0; i < count; i++)
        rl_copy_(parameters[i], wave(RL_INTS(rl_tensor_shape(parameters[i]), rl_tensor_ndim(parameters[i])), 1));
    return module;
}
static rl_tensor *truths(const uint8_t *values, rl_ints shape) {
    return rl_tensor_from_data(values, shape, RL_BOOL, NULL);
}
static void assert_printed(const rl_module *module, const char *want) {
    char *text = rl_module_to_string(module);
    assert_string_equal(text, want);
    free(text);
}

static void test_embedding(void **state) {
    (void)state;
    RL_SCOPE();
    rl_module *plain = rl_nn_embedding(4, 3), *padded = rl_nn_embedding(4, 3, .padding_idx = -1);
    assert_printed(plain, "Embedding(4, 3)");
    assert_printed(padded, "Embedding(4, 3, padding_idx=3)");
    assert_printed(rl_nn_embedding(4, 3, .padding_idx = RL_ZERO, .max_norm = 1.5),
                   "Embedding(4, 3, padding_idx=0, max_norm=1.5)");
    assert_printed(rl_nn_embedding(4, 3, .max_norm = 1, .norm_type = 3),
                   "Embedding(4, 3, max_norm=1.0, norm_type=3.0)");
    rl_tensor *x = rl_tensor_from_data((const int64_t[]){3, 1, 3}, RL_DIMS(3), RL_I64, NULL);
    rl_tensor *y = rl_module_forward(padded, x);
    ASSERT_IS(rl_narrow(y, 0, 0, 1), ((const float[]){0, 0, 0}));
    rl_backward(rl_sum(y));
    ASSERT_IS(rl_grad(rl_module_tensor(padded, "weight")), ((const float[]){0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0}));
    rl_backward(rl_sum(rl_module_forward(plain, x)));
    ASSERT_IS(rl_grad(rl_module_tensor(plain, "weight")), ((const float[]){0, 0, 0, 1, 1, 1, 0, 0, 0, 2, 2, 2}));
    rl_module *limited = rl_nn_embedding(2, 2, .max_norm = 1.0);
    rl_init_constant(rl_module_tensor(limited, "weight"), 3.0);
    rl_tensor *first = rl_tensor_from_data((const int64_t[]){1, 1}, RL_DIMS(2), RL_I64, NULL);
    const float s = sqrtf(0.5f);
    ASSERT_IS(rl_module_forward(limited, first), ((const float[]){s, s, s, s}));
    ASSERT_IS(rl_module_tensor(limited, "weight"), ((const float[]){3, 3, s, s}));
    assert_null(rl_nn_embedding(4, 3, .padding_idx = 4));
    expect(RL_INVALID_ARGUMENT, "padding_idx 4 must be within 4 embeddings");
    assert_null(rl_module_forward(plain, rl_tensor_from_data((const int64_t[]){4}, RL_DIMS(1), RL_I64, NULL)));
    expect(RL_INDEX_OUT_OF_RANGE, "4");
}

/* A limit of 0, and a limit to the number of elements that are not 0. */
static void test_embedding_of_zero(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *x = rl_tensor_from_data((const int64_t[]){0, 1}, RL_DIMS(2), RL_I64, NULL);
    rl_module *nothing = rl_nn_embedding(2, 2, .max_norm = (double)RL_ZERO);
    assert_printed(nothing, "Embedding(2, 2, max_norm=0.0)");
    ASSERT_IS(rl_module_forward(nothing, x), ((const float[]){0, 0, 0, 0}));
    ASSERT_IS(rl_module_tensor(nothing, "weight"), ((const float[]){0, 0, 0, 0}));
    rl_module *counted = rl_nn_embedding(2, 2, .max_norm = 1, .norm_type = (double)RL_ZERO);
    assert_printed(counted, "Embedding(2, 2, max_norm=1.0, norm_type=0.0)");
    {
        RL_NO_GRAD();
        rl_copy_(rl_module_tensor(counted, "weight"),
                 rl_tensor_from_data((const float[]){3, 4, 0, 5}, RL_DIMS(2, 2), RL_F32, NULL));
    }
    ASSERT_IS(rl_module_forward(counted, x), ((const float[]){1.5f, 2, 0, 5}));
}

static void test_self_attention(void **state) {
    (void)state;
    RL_SCOPE();
    rl_module *m = waved(rl_nn_multihead_attention(4, 2, .batch_first = true));
    assert_printed(m, "MultiheadAttention(\n  (out_proj): NonDynamicallyQuantizableLinear(in_features=4, "
                      "out_features=4, bias=True)\n)");
    rl_tensor *y = rl_module_forward(m, wave(RL_DIMS(2, 3, 4), 1));
    ASSERT_IS(y, self_output);
    rl_backward(rl_sum(rl_mul(y, wave(RL_DIMS(2, 3, 4), 7))));
    ASSERT_IS(rl_grad(rl_module_tensor(m, "in_proj_weight")), self_in_proj_grad);
    ASSERT_IS(rl_grad(rl_module_tensor(m, "in_proj_bias")), self_bias_grad);
    assert_non_null(rl_grad(rl_module_tensor(m, "out_proj.weight")));
}

static void test_cross_attention(void **state) {
    (void)state;
    RL_SCOPE();
    rl_module *m = waved(rl_nn_multihead_attention(4, 2));
    rl_tensor *padding = truths((const uint8_t[]){0, 1, 0, 0}, RL_DIMS(2, 2)), *weights, *out[2];
    rl_tensor *in[] = {wave(RL_DIMS(3, 2, 4), 1), wave(RL_DIMS(2, 2, 4), 101), wave(RL_DIMS(2, 2, 4), 201), padding,
                       wave(RL_DIMS(3, 2), 11)};
    rl_tensor *y =
        rl_nn_attend(m, in[0], in[1], in[2], .key_padding_mask = padding, .attn_mask = in[4], .out_weights = &weights);
    ASSERT_IS(y, cross_output);
    ASSERT_IS(weights, cross_weights);
    ASSERT_IS(rl_nn_attend(m, in[0], in[1], in[2], .key_padding_mask = padding, .attn_mask = in[4]), cross_output);
    assert_int_equal(rl_module_forward_many(m, RL_TENSORS_AT(in, 5), out, 2), RL_OK);
    ASSERT_IS(out[0], cross_output);
    ASSERT_IS(out[1], cross_weights);
}

static void test_more_attention(void **state) {
    (void)state;
    RL_SCOPE();
    rl_module *m =
        waved(rl_nn_multihead_attention(4, 2, .kdim = 3, .vdim = 2, .add_bias_kv = true, .add_zero_attn = true));
    rl_tensor *q = wave(RL_DIMS(3, 4), 1), *k = wave(RL_DIMS(2, 3), 101), *v = wave(RL_DIMS(2, 2), 201), *weights;
    ASSERT_IS(rl_nn_attend(m, q, k, v, .average_attn_weights = RL_ZERO, .out_weights = &weights), more_output);
    ASSERT_IS(weights, more_weights);
    ASSERT_IS(rl_nn_attend(m, q, k, v), more_output);
    rl_module *blind = rl_nn_multihead_attention(4, 2, .kdim = RL_ZERO);
    rl_tensor *seen = rl_nn_attend(blind, q, rl_zeros(RL_DIMS(2, 0)), wave(RL_DIMS(2, 4), 201));
    assert_int_equal(rl_tensor_numel(seen), 3 * 4);
    rl_module *one = waved(rl_nn_multihead_attention(4, 1, .bias = RL_ZERO, .batch_first = true));
    rl_tensor *x = wave(RL_DIMS(2, 3, 4), 1);
    rl_tensor *padding = truths((const uint8_t[]){0, 0, 1, 0, 1, 0}, RL_DIMS(2, 3));
    ASSERT_IS(rl_nn_attend(one, x, x, x, .key_padding_mask = padding, .is_causal = true), causal_output);
    ASSERT_IS(rl_nn_attend(one, x, x, x, .key_padding_mask = padding, .is_causal = true, .out_weights = &weights),
              causal_output);
}

static void assert_same(rl_tensor *a, rl_tensor *b) {
    assert_string_equal(rl_error_text(), "");
    assert_int_equal(rl_item_int(rl_allclose(a, b, .atol = 1e-6)), 1);
}

/* A row that sees nothing gives no gradient, be the mask of truths or added. */
static void test_gradients_of_nothing(void **state) {
    (void)state;
    RL_SCOPE();
    const float added[4] = {0, 0, -INFINITY, -INFINITY};
    rl_tensor *mask = rl_tensor_from_data(added, RL_DIMS(2, 2), RL_F32, NULL);
    rl_tensor *masks[2] = {mask, rl_eq(mask, 0)};
    for (int i = 0; i < 4; i++) {
        RL_SCOPE();
        rl_tensor *x = rl_requires_grad(rl_ones(RL_DIMS(1, 2, 3)), true);
        rl_tensor *y = rl_scaled_dot_product_attention(x, x, x, .attn_mask = masks[i % 2],
                                                       .dropout_p = i < 2 ? 0.25 : (double)RL_ZERO);
        rl_backward(rl_sum(y));
        assert_false(rl_failed());
        assert_true(rl_item(rl_sum(rl_select(y, 1, 1))) == 0.0);
        assert_true(isfinite(rl_item(rl_sum(rl_grad(x)))));
    }
}

/* Without weights, a row that sees nothing is 0 in training with dropout too; so next to no dropout changes nothing. */
static void test_dropout(void **state) {
    (void)state;
    RL_SCOPE();
    rl_module *half = waved(rl_nn_multihead_attention(4, 2, .dropout = 0.5, .bias = RL_ZERO, .batch_first = true));
    rl_module *little = waved(rl_nn_multihead_attention(4, 2, .dropout = 1e-12, .bias = RL_ZERO, .batch_first = true));
    rl_tensor *x = rl_requires_grad(wave(RL_DIMS(1, 3, 4), 1), true);
    rl_tensor *second = truths((const uint8_t[]){0, 0, 0, 1, 1, 1, 0, 0, 0}, RL_DIMS(3, 3));
    rl_tensor *first = truths((const uint8_t[]){1, 0, 0}, RL_DIMS(1, 3));
    rl_tensor *added = rl_where(second, -INFINITY, wave(RL_DIMS(3, 3), 5));
    rl_tensor *y = rl_nn_attend(half, x, x, x, .attn_mask = second);
    ASSERT_IS(rl_select(y, 1, 1), ((const float[]){0, 0, 0, 0}));
    rl_backward(rl_sum(y));
    assert_int_equal(rl_item_int(rl_all(rl_isfinite(rl_grad(x)))), 1);
    y = rl_nn_attend(half, x, x, x, .key_padding_mask = first, .is_causal = true);
    ASSERT_IS(rl_select(y, 1, 0), ((const float[]){0, 0, 0, 0}));
    ASSERT_IS(rl_select(rl_nn_attend(half, x, x, x, .attn_mask = added), 1, 1), ((const float[]){0, 0, 0, 0}));
    rl_tensor *trained[] = {
        rl_nn_attend(little, x, x, x, .attn_mask = second), rl_nn_attend(little, x, x, x, .attn_mask = added),
        rl_nn_attend(little, x, x, x, .is_causal = true),
        rl_nn_attend(little, x, x, x, .key_padding_mask = first, .is_causal = true),
        rl_nn_attend(little, x, x, x, .key_padding_mask = wave(RL_DIMS(1, 3), 2), .is_causal = true)};
    rl_module_train(little, false);
    assert_same(trained[0], rl_nn_attend(little, x, x, x, .attn_mask = second));
    assert_same(trained[1], rl_nn_attend(little, x, x, x, .attn_mask = added));
    assert_same(trained[2], rl_nn_attend(little, x, x, x, .is_causal = true));
    assert_same(trained[3], rl_nn_attend(little, x, x, x, .key_padding_mask = first, .is_causal = true));
    assert_same(trained[4],
                rl_nn_attend(little, x, x, x, .key_padding_mask = wave(RL_DIMS(1, 3), 2), .is_causal = true));
    assert_non_null(rl_nn_multihead_attention(4, 2, .dropout = (double)RL_ZERO));
}

static void test_refused(void **state) {
    (void)state;
    RL_SCOPE();
    assert_null(rl_nn_multihead_attention(5, 2));
    expect(RL_INVALID_ARGUMENT, "embed_dim must be a multiple of num_heads");
    rl_module *m = rl_nn_multihead_attention(4, 2);
    rl_tensor *x = wave(RL_DIMS(3, 2, 4), 1), *y = wave(RL_DIMS(3, 2, 5), 1), *out[3];
    assert_null(rl_nn_attend(m, x, y, y));
    expect(RL_SHAPE_MISMATCH, "key must be 4 wide, is 5");
    assert_null(rl_nn_attend(m, x, rl_select(x, 0, 0), x));
    expect(RL_SHAPE_MISMATCH, "must all have 3 dimensions");
    assert_null(rl_nn_attend(m, x, x, x, .attn_mask = y));
    expect(RL_SHAPE_MISMATCH,
           "attn_mask must have shape (L, S) = (3, 3) or (N num_heads, L, S) = (4, 3, 3), has (3, 2, 5)");
    assert_null(rl_nn_attend(m, x, x, x, .key_padding_mask = rl_ones(RL_DIMS(3, 2), .dtype = RL_BOOL)));
    expect(RL_SHAPE_MISMATCH, "key_padding_mask must have shape (N, S) = (2, 3), has (3, 2)");
    rl_tensor *single = rl_select(x, 1, 0);
    assert_null(rl_nn_attend(m, single, single, single, .key_padding_mask = rl_ones(RL_DIMS(2), .dtype = RL_BOOL)));
    expect(RL_SHAPE_MISMATCH, "key_padding_mask must have shape (N, S) = (1, 3), or (S) without a batch, has (2)");
    assert_null(rl_nn_attend(m, x, wave(RL_DIMS(5, 2, 4), 1), wave(RL_DIMS(6, 2, 4), 1)));
    expect(RL_SHAPE_MISMATCH, "multihead_attention: key and value must be of one length, are 5 and 6 long");
    assert_null(rl_nn_attend(m, x, wave(RL_DIMS(5, 1, 4), 1), wave(RL_DIMS(5, 1, 4), 1)));
    expect(RL_SHAPE_MISMATCH, "multihead_attention: key must have the batch of query, which is 2, has 1");
    assert_null(rl_nn_attend(m, x, x, wave(RL_DIMS(3, 4, 4), 1)));
    expect(RL_SHAPE_MISMATCH, "multihead_attention: value must have the batch of query, which is 2, has 4");
    assert_null(rl_nn_attend(rl_nn_identity(), x, x, x));
    expect(RL_INVALID_ARGUMENT, "no MultiheadAttention");
    assert_int_equal(rl_module_forward_many(m, RL_TENSORS(x, x), out, 1), RL_INVALID_ARGUMENT);
    expect(RL_INVALID_ARGUMENT, "takes query, key, value");
}

/* Bytes that attention of this length takes at most, forward and backward, beyond its inputs. */
static uint64_t peak_of(rl_device *device, int64_t length) {
    RL_SCOPE();
    rl_tensor *x[3], *grads[3];
    rl_memory_stats before = {.struct_size = sizeof before}, after = {.struct_size = sizeof after};
    for (int i = 0; i < 3; i++)
        x[i] = rl_requires_grad(rl_randn(RL_DIMS(1, 1, length, 16), .device = device), true);
    assert_int_equal(rl_memory_stats_get(device, &before), RL_OK);
    rl_memory_reset_peak(device);
    rl_tensor *y = rl_sum(rl_scaled_dot_product_attention(x[0], x[1], x[2], .is_causal = true));
    assert_int_equal(rl_gradients(RL_TENSORS(y), RL_TENSORS_AT(x, 3), grads), RL_OK);
    assert_int_equal(rl_memory_stats_get(device, &after), RL_OK);
    return after.allocated_peak - before.allocated;
}

static void test_linear_memory(void **state) {
    (void)state;
    RL_SCOPE();
    rl_device *device = rl_device_get("onednn");
    if (device == NULL) {
        print_message("no onednn here: %s\n", rl_error_text());
        rl_error_clear();
        skip();
    }
    uint64_t once = peak_of(device, 2048), twice = peak_of(device, 4096);
    if (twice > 2 * once + once / 4 || once > 2048 * 16 * 4 * 16)
        fail_msg("2048 queries took %llu bytes, 4096 took %llu", (unsigned long long)once, (unsigned long long)twice);
}

static int clean(void **state) {
    (void)state;
    rl_error_clear();
    rl_manual_seed(0);
    return 0;
}

int main(void) {
    setenv("RUSHLIGHT_BACKEND_PATH", TEST_BINARY_DIR "/lib/rushlight", 0);
    setenv("RUSHLIGHT_DEVICE", "ref", 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_embedding, clean),        cmocka_unit_test_setup(test_self_attention, clean),
        cmocka_unit_test_setup(test_cross_attention, clean),  cmocka_unit_test_setup(test_more_attention, clean),
        cmocka_unit_test_setup(test_refused, clean),          cmocka_unit_test_setup(test_linear_memory, clean),
        cmocka_unit_test_setup(test_dropout, clean),          cmocka_unit_test_setup(test_gradients_of_nothing, clean),
        cmocka_unit_test_setup(test_embedding_of_zero, clean)};
    return cmocka_run_group_tests_name("attention", tests, NULL, NULL);
}
