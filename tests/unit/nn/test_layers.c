/* SPDX-License-Identifier: Apache-2.0 */
/* Layers without parameters and losses: their printed form and numbers as PyTorch 2 gives them, and what they refuse.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "rushlight/rushlight.h"

static void expect(rl_status status, const char *sentence) {
    if (rl_error_status() != status || !strstr(rl_error_text(), sentence))
        fail_msg("%d '%s', must be %d with '%s'", (int)rl_error_status(), rl_error_text(), (int)status, sentence);
    rl_error_clear();
}

static rl_tensor *floats(const float *values, rl_ints shape) {
    return rl_tensor_from_data(values, shape, RL_F32, NULL);
}

static void assert_elements(const rl_tensor *tensor, const float *want, int count) {
    float got[64];
    if (rl_failed())
        fail_msg("%s", rl_error_text());
    assert_int_equal(rl_tensor_numel(tensor), count);
    assert_int_equal(rl_tensor_read(tensor, got, (size_t)count * sizeof *got), RL_OK);
    for (int i = 0; i < count; i++)
        if (!(fabsf(got[i] - want[i]) <= 1e-6f))
            fail_msg("element %d is %.9g, must be %.9g", i, (double)got[i], (double)want[i]);
}

static void assert_printed(rl_module *module, const char *want) {
    char *text = rl_module_to_string(module);
    if (rl_failed())
        fail_msg("%s: %s", want, rl_error_text());
    assert_string_equal(text, want);
    free(text);
}

/* Printed form ------------------------------------------------------------------------------------------------------
 */

static void test_printed(void **state) {
    (void)state;
    RL_SCOPE();
    assert_printed(rl_nn_max_pool2d(2), "MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)");
    assert_printed(rl_nn_max_pool2d(3, .stride = 2, .padding = 1, .ceil_mode = true),
                   "MaxPool2d(kernel_size=3, stride=2, padding=1, dilation=1, ceil_mode=True)");
    assert_printed(rl_nn_max_pool1d(3, .stride = 1, .dilation = 2),
                   "MaxPool1d(kernel_size=3, stride=1, padding=0, dilation=2, ceil_mode=False)");
    assert_printed(rl_nn_max_pool2d(2, .padding = RL_ZERO),
                   "MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)");
    assert_printed(rl_nn_max_pool2d(0, .kernel_sizes = RL_DIMS(3, 2)),
                   "MaxPool2d(kernel_size=(3, 2), stride=(3, 2), padding=0, dilation=1, ceil_mode=False)");
    assert_printed(rl_nn_avg_pool1d(2), "AvgPool1d(kernel_size=(2,), stride=(2,), padding=(0,))");
    assert_printed(rl_nn_avg_pool2d(3, .stride = 2, .padding = 1, .count_include_pad = RL_ZERO),
                   "AvgPool2d(kernel_size=3, stride=2, padding=1)");
    assert_printed(rl_nn_avg_pool3d(0, .kernel_sizes = RL_DIMS(1, 2, 2), .stride = 2),
                   "AvgPool3d(kernel_size=(1, 2, 2), stride=2, padding=0)");
    assert_printed(rl_nn_adaptive_avg_pool2d(RL_DIMS(1, 7)), "AdaptiveAvgPool2d(output_size=(1, 7))");
    assert_printed(rl_nn_adaptive_max_pool1d(RL_DIMS(4)), "AdaptiveMaxPool1d(output_size=4)");
    assert_printed(rl_nn_upsample(.scale_factor = 2), "Upsample(scale_factor=2.0, mode='nearest')");
    assert_printed(rl_nn_upsample(.size = RL_DIMS(4, 6), .mode = "bilinear"), "Upsample(size=(4, 6), mode='bilinear')");
    assert_printed(rl_nn_zero_pad2d(RL_DIMS(1)), "ZeroPad2d((1, 1, 1, 1))");
    assert_printed(rl_nn_pad(1, "constant", RL_DIMS(1, 2), 3.5), "ConstantPad1d(padding=(1, 2), value=3.5)");
    assert_printed(rl_nn_reflection_pad2d(RL_DIMS(1, 2, 0, 1)), "ReflectionPad2d((1, 2, 0, 1))");
    assert_printed(rl_nn_pad(3, "circular", RL_DIMS(1), 0), "CircularPad3d((1, 1, 1, 1, 1, 1))");
    assert_printed(rl_nn_pixel_shuffle(2), "PixelShuffle(upscale_factor=2)");
    assert_printed(rl_nn_channel_shuffle(3), "ChannelShuffle(groups=3)");
    assert_printed(rl_nn_dropout2d(0.25), "Dropout2d(p=0.25, inplace=False)");
    assert_printed(rl_nn_alpha_dropout(0.5), "AlphaDropout(p=0.5, inplace=False)");
    assert_printed(rl_nn_celu(0.5), "CELU(alpha=0.5)");
    assert_printed(rl_nn_hardtanh(-1, 1), "Hardtanh(min_val=-1.0, max_val=1.0)");
    assert_printed(rl_nn_hardshrink(0.5), "Hardshrink(0.5)");
    assert_printed(rl_nn_softshrink(0.25), "Softshrink(0.25)");
    assert_printed(rl_nn_threshold(0.1, 20), "Threshold(threshold=0.1, value=20.0)");
    assert_printed(rl_nn_rrelu(1.0 / 8, 1.0 / 3), "RReLU(lower=0.125, upper=0.3333333333333333)");
    assert_printed(rl_nn_prelu(3, 0.25), "PReLU(num_parameters=3)");
    assert_printed(rl_nn_glu(1), "GLU(dim=1)");
    assert_printed(rl_nn_softmin(1), "Softmin(dim=1)");
    assert_printed(rl_nn_relu6(), "ReLU6()");
    assert_printed(rl_nn_elu(1.0), "ELU(alpha=1.0)");
    assert_printed(rl_nn_softplus(1.0, 20.0), "Softplus(beta=1.0, threshold=20.0)");
    assert_printed(rl_nn_cross_entropy_loss(), "CrossEntropyLoss()");
    assert_printed(rl_nn_kl_div_loss(.reduction = "batchmean"), "KLDivLoss()");
}

/* Numbers -----------------------------------------------------------------------------------------------------------
 */

static void test_activations(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *x = floats((const float[]){-1.0f, 0.0f, 2.0f}, RL_DIMS(3));
    const struct {
        rl_module *module;
        float want[3];
    } cases[] = {{rl_nn_relu6(), {0, 0, 2}},
                 {rl_nn_selu(), {-1.1113307f, 0, 2.101402f}},
                 {rl_nn_mish(), {-0.30340144f, 0, 1.943959f}},
                 {rl_nn_hardswish(), {-0.33333334f, 0, 1.6666666f}},
                 {rl_nn_hardsigmoid(), {0.33333334f, 0.5f, 0.83333331f}},
                 {rl_nn_softsign(), {-0.5f, 0, 0.66666669f}},
                 {rl_nn_tanhshrink(), {-0.23840582f, 0, 1.0359724f}},
                 {rl_nn_celu(0.5), {-0.43233237f, 0, 2}},
                 {rl_nn_hardtanh(-0.5, 0.5), {-0.5f, 0, 0.5f}},
                 {rl_nn_hardshrink(1.5), {0, 0, 2}},
                 {rl_nn_softshrink(0.5), {-0.5f, 0, 1.5f}},
                 {rl_nn_threshold(0.1, 7), {7, 7, 2}},
                 {rl_nn_prelu(1, 0.25), {-0.25f, 0, 2}},
                 {rl_nn_softmin(0), {0.70538455f, 0.25949648f, 0.035119027f}}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_elements(rl_module_forward(cases[i].module, x), cases[i].want, 3);
    rl_module *rrelu = rl_nn_rrelu(0.25, 0.5);
    rl_module_train(rrelu, false);
    assert_elements(rl_module_forward(rrelu, x), (const float[]){-0.375f, 0, 2}, 3);
    assert_int_equal(rl_module_parameter_count(rl_nn_prelu(3, 0.25)), 3);
}

static void test_pooling(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *x = rl_reshape(rl_arange(RL_VALUE(0), .end = 16, .dtype = RL_F32), RL_DIMS(1, 1, 4, 4));
    assert_elements(rl_module_forward(rl_nn_max_pool2d(2), x), (const float[]){5, 7, 13, 15}, 4);
    assert_elements(rl_module_forward(rl_nn_avg_pool2d(2), x), (const float[]){2.5f, 4.5f, 10.5f, 12.5f}, 4);
    assert_elements(rl_module_forward(rl_nn_avg_pool2d(2, .divisor_override = 2), x), (const float[]){5, 9, 21, 25}, 4);
    assert_elements(rl_module_forward(rl_nn_adaptive_avg_pool2d(RL_DIMS(1)), x), (const float[]){7.5f}, 1);
    assert_elements(rl_module_forward(rl_nn_adaptive_max_pool2d(RL_DIMS(2, 1)), x), (const float[]){7, 15}, 2);
    assert_elements(rl_module_forward(rl_nn_max_pool1d(3), rl_reshape(x, RL_DIMS(2, 8))), (const float[]){2, 5, 10, 13},
                    4);
    /* channels last stays channels last */
    rl_tensor *last =
        rl_permute(rl_contiguous(rl_permute(rl_ones(RL_DIMS(2, 3, 4, 4)), RL_DIMS(0, 2, 3, 1))), RL_DIMS(0, 3, 1, 2));
    const int64_t *stride = rl_tensor_strides(rl_module_forward(rl_nn_max_pool2d(2), last));
    assert_int_equal(stride[1], 1);
    assert_int_equal(stride[3], 3);
}

/* Nothing but the input is kept for the gradient: the result may be changed in place. */
static void test_in_place_after_pooling(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *x = floats((const float[]){-1, -2, 3, 4}, RL_DIMS(1, 2, 2));
    rl_requires_grad(x, true);
    rl_backward(rl_sum(rl_relu_(rl_max_pool1d(x, RL_DIMS(2)))));
    assert_elements(rl_grad(x), (const float[]){0, 0, 0, 1}, 4);
}

static void test_sizes(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *x = floats((const float[]){1, 2, 3, 4}, RL_DIMS(1, 1, 2, 2));
    assert_elements(rl_module_forward(rl_nn_upsample(.scale_factor = 2), x),
                    (const float[]){1, 1, 2, 2, 1, 1, 2, 2, 3, 3, 4, 4, 3, 3, 4, 4}, 16);
    assert_elements(rl_module_forward(rl_nn_upsample(.size = RL_DIMS(2, 3), .mode = "bilinear", .align_corners = 1), x),
                    (const float[]){1, 1.5f, 2, 3, 3.5f, 4}, 6);
    assert_elements(rl_module_forward(rl_nn_zero_pad2d(RL_DIMS(1, 0, 0, 0)), x), (const float[]){0, 1, 2, 0, 3, 4}, 6);
    assert_elements(rl_module_forward(rl_nn_replication_pad2d(RL_DIMS(0, 1, 0, 0)), x),
                    (const float[]){1, 2, 2, 3, 4, 4}, 6);
    assert_elements(rl_module_forward(rl_nn_pixel_shuffle(2), rl_reshape(x, RL_DIMS(1, 4, 1, 1))),
                    (const float[]){1, 2, 3, 4}, 4);
}

static void test_dropouts(void **state) {
    (void)state;
    RL_SCOPE();
    rl_manual_seed(5);
    rl_module *drop = rl_nn_dropout2d(0.5);
    rl_tensor *x = rl_ones(RL_DIMS(20, 50, 2, 2)), *y = rl_module_forward(drop, x);
    rl_tensor *sums = rl_sum(y, .dim = RL_DIMS(2, 3)); /* whole channels: 0 or 8 */
    assert_true(rl_item(rl_sum(rl_logical_or(rl_eq(sums, 0), rl_eq(sums, 8)))) == 1000.0);
    assert_true(fabs(rl_item(rl_mean(y)) - 1.0) < 0.1);
    rl_module_train(drop, false);
    assert_true(rl_item(rl_sum(rl_ne(rl_module_forward(drop, x), x))) == 0.0);
    rl_tensor *z = rl_module_forward(rl_nn_alpha_dropout(0.3), rl_randn(RL_DIMS(100000)));
    assert_true(fabs(rl_item(rl_mean(z))) < 0.02 && fabs(rl_item(rl_std(z)) - 1.0) < 0.02);
    rl_nn_dropout1d(-0.5);
    expect(RL_INVALID_ARGUMENT, "Dropout1d: p must lie within 0 and 1, got -0.5");
}

/* Losses ------------------------------------------------------------------------------------------------------------
 */

static void test_losses(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *x = floats((const float[]){1, 2, 3, 5}, RL_DIMS(2, 2)), *t = rl_zeros(RL_DIMS(2, 2));
    const int64_t classes[2] = {0, 1};
    rl_tensor *c = rl_tensor_from_data(classes, RL_DIMS(2), RL_I64, NULL);
    assert_elements(rl_module_call(rl_nn_mse_loss(), x, t), (const float[]){9.75f}, 1);
    assert_elements(rl_module_call(rl_nn_mse_loss(.reduction = "sum"), x, t), (const float[]){39}, 1);
    assert_elements(rl_module_call(rl_nn_l1_loss(.reduction = "none"), x, t), (const float[]){1, 2, 3, 5}, 4);
    assert_elements(rl_module_call(rl_nn_smooth_l1_loss(.beta = RL_ZERO), x, t), (const float[]){2.75f}, 1);
    assert_elements(rl_module_call(rl_nn_cross_entropy_loss(), x, c), (const float[]){0.7200949f}, 1);
    assert_elements(rl_module_call(rl_nn_margin_ranking_loss(.margin = 0.5), x, t, rl_ones(RL_DIMS(2, 2))),
                    (const float[]){0}, 1);
    rl_module *weighted = rl_nn_cross_entropy_loss(.weight = floats((const float[]){1, 3}, RL_DIMS(2)));
    assert_elements(rl_module_call(weighted, x, c), (const float[]){0.4235115f}, 1);
    assert_non_null(rl_module_tensor(weighted, "weight"));
    rl_tensor *output;
    assert_int_equal(rl_module_forward_many(rl_nn_huber_loss(), RL_TENSORS(x, t), &output, 1), RL_OK);
    assert_elements(output, (const float[]){2.25f}, 1);
    rl_module_forward(rl_nn_mse_loss(), x);
    expect(RL_INVALID_ARGUMENT, "MSELoss takes 2 inputs, got 1: rl_module_call(loss, input, target)");
    rl_module_call(rl_nn_triplet_margin_loss(), x, t);
    expect(RL_INVALID_ARGUMENT, "TripletMarginLoss takes 3 inputs, got 2");
    rl_nn_mse_loss(.reduction = "batchmean");
    expect(RL_INVALID_ARGUMENT, "MSELoss: reduction must be 'none', 'mean' or 'sum', got 'batchmean'");
}

static void test_refused(void **state) {
    (void)state;
    RL_SCOPE();
    rl_nn_max_pool2d(0);
    expect(RL_INVALID_ARGUMENT, "MaxPool2d: kernel_size must be 1 or more, got 0");
    rl_nn_max_pool2d(2, .strides = RL_DIMS(1, 2, 3));
    expect(RL_INVALID_ARGUMENT, "MaxPool2d: stride must be 1 number or 2, got 3");
    rl_nn_avg_pool2d(2, .dilation = 2);
    expect(RL_INVALID_ARGUMENT, "AvgPool2d: dilation is for maxima alone");
    rl_nn_max_pool2d(2, .stride = INT64_C(1) << 40);
    expect(RL_INVALID_ARGUMENT, "MaxPool2d: stride must be at most 2147483647, got 1099511627776");
    rl_nn_max_pool2d(2, .stride = RL_ZERO);
    expect(RL_INVALID_ARGUMENT, "MaxPool2d: stride must be 1 or more, got 0");
    rl_nn_adaptive_avg_pool2d(RL_DIMS(1, 2, 3));
    expect(RL_INVALID_ARGUMENT, "AdaptiveAvgPool2d: output_size must be 1 number or 2, got 3");
    rl_nn_pool_opt(4, false, 2, NULL);
    expect(RL_INVALID_ARGUMENT, "pool: spatial must be 1, 2 or 3, got 4");
    rl_nn_upsample();
    expect(RL_INVALID_ARGUMENT, "upsample: give either size");
    rl_nn_upsample(.scale_factor = (double)RL_ZERO);
    expect(RL_INVALID_ARGUMENT, "upsample: scale_factor must be above 0, got 0");
    rl_nn_pad(2, "mirror", RL_DIMS(1), 0);
    expect(RL_INVALID_ARGUMENT, "pad: mode must be 'zero'");
    rl_nn_pad(2, "zero", RL_DIMS(1, 2), 0);
    expect(RL_INVALID_ARGUMENT, "ZeroPad2d: padding must be 1 number or 4, got 2");
    rl_nn_pixel_shuffle(0);
    expect(RL_INVALID_ARGUMENT, "PixelShuffle: upscale_factor must be at least 1, got 0");
    rl_nn_hardtanh(1, -1);
    expect(RL_INVALID_ARGUMENT, "hardtanh: min_val must be less than max_val");
    rl_nn_prelu(0, 0.25);
    expect(RL_INVALID_ARGUMENT, "prelu: num_parameters must be at least 1, got 0");
}

/* A small network of channels: it learns to tell a bright upper half from a bright lower one. */
static void test_learns(void **state) {
    (void)state;
    RL_SCOPE();
    rl_manual_seed(1);
    rl_module *net =
        rl_nn_sequential(rl_nn_conv2d(1, 4, 3, .padding = 1), rl_nn_relu(), rl_nn_max_pool2d(2),
                         rl_nn_adaptive_avg_pool2d(RL_DIMS(2, 1)), rl_nn_flatten(1, -1), rl_nn_linear(8, 2));
    rl_module *criterion = rl_nn_cross_entropy_loss();
    rl_tensor *x = rl_zeros(RL_DIMS(2, 1, 8, 8));
    rl_fill_(rl_narrow(rl_select(x, 0, 0), 1, 0, 4), 1);
    rl_fill_(rl_narrow(rl_select(x, 0, 1), 1, 4, 4), 1);
    const int64_t classes[2] = {0, 1};
    rl_tensor *t = rl_tensor_from_data(classes, RL_DIMS(2), RL_I64, NULL);
    rl_optimizer *sgd = rl_optimizer_sgd(net, .lr = 0.5);
    double loss = 0.0;
    for (int i = 0; i < 60 && !rl_failed(); i++) {
        RL_SCOPE();
        rl_tensor *l = rl_module_call(criterion, rl_module_forward(net, x), t);
        rl_optimizer_zero_grad(sgd);
        rl_backward(l);
        rl_optimizer_step(sgd);
        loss = rl_item(l);
    }
    if (rl_failed())
        fail_msg("%s", rl_error_text());
    assert_true(loss < 0.1);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_printed), cmocka_unit_test(test_activations),
                                       cmocka_unit_test(test_pooling), cmocka_unit_test(test_in_place_after_pooling),
                                       cmocka_unit_test(test_sizes),   cmocka_unit_test(test_dropouts),
                                       cmocka_unit_test(test_losses),  cmocka_unit_test(test_refused),
                                       cmocka_unit_test(test_learns)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rl_shutdown();
    return failed;
}
