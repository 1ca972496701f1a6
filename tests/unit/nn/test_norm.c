/* SPDX-License-Identifier: Apache-2.0 */
/* Normalizations: PyTorch's numbers, their running statistics, names of the state, printed forms, and what they refuse.
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

#include "base/memory.h"
#include "rushlight/rushlight.h"

static void expect(rl_status status, const char *sentence) {
    if (rl_error_status() != status || !strstr(rl_error_text(), sentence))
        fail_msg("%d '%s', must be %d with '%s'", (int)rl_error_status(), rl_error_text(), (int)status, sentence);
    rl_error_clear();
}

static void set(rl_module *self, const char *name, const float *values, size_t count) {
    rl_tensor_write(rl_module_tensor(self, name), values, count * sizeof *values);
}

/* Within what the mean of numbers near 3, kept in float, makes of differences that are a hundred times smaller. */
static void assert_elements(const rl_tensor *tensor, const float *want, int count) {
    float got[64];
    assert_string_equal(rl_error_text(), "");
    assert_int_equal(rl_tensor_numel(tensor), count);
    assert_int_equal(rl_tensor_read(tensor, got, (size_t)count * sizeof *got), RL_OK);
    for (int i = 0; i < count; i++)
        if (!(fabsf(got[i] - want[i]) <= 1e-5f * (1.0f + fabsf(want[i]))))
            fail_msg("element %d is %.9g, must be %.9g", i, (double)got[i], (double)want[i]);
}
#define ASSERT_ELEMENTS(tensor, ...)                                                                                   \
    assert_elements(tensor, (const float[]){__VA_ARGS__}, (int)(sizeof((const float[]){__VA_ARGS__}) / sizeof(float)))

static void assert_prints(rl_module *module, const char *text) {
    char *printed = rl_module_to_string(module);
    assert_string_equal(printed, text);
    free(printed);
}

static const float four_weights[] = {1, 2, -1, 0.5f}, four_biases[] = {0, 1, 2, 3};

/* (2, 4) */
static rl_tensor *small_input(void) {
    return rl_tensor_from_data((const float[]){1, 2, 4, -3, 0.5f, -1, 2, 8}, RL_DIMS(2, 4), RL_F32, NULL);
}
/* (2, 4, 3): i^2 / 50 - 3 */
static rl_tensor *input(void) {
    float x[24];
    for (int i = 0; i < 24; i++)
        x[i] = (float)(i * i) / 50.0f - 3.0f;
    return rl_tensor_from_data(x, RL_DIMS(2, 4, 3), RL_F32, NULL);
}

static void test_last_dimensions(void **state) {
    (void)state;
    RL_SCOPE();
    rl_module *layer = rl_nn_layer_norm(RL_DIMS(4)), *rms = rl_nn_rms_norm(RL_DIMS(4));
    set(layer, "weight", four_weights, 4);
    set(layer, "bias", four_biases, 4);
    set(rms, "weight", four_weights, 4);
    ASSERT_ELEMENTS(rl_module_forward(layer, small_input()), 0.0f, 1.78446388f, 0.823304057f, 2.21553612f,
                    -0.548821092f, -0.97575593f, 2.1097641f, 3.8232317f);
    ASSERT_ELEMENTS(rl_module_forward(rms, small_input()), 0.365148365f, 1.46059346f, -1.46059346f, -0.547722578f,
                    0.120168358f, -0.480673432f, -0.480673432f, 0.961346865f);
    assert_prints(layer, "LayerNorm((4,), eps=1e-05, elementwise_affine=True, bias=True)");
    assert_prints(rms, "RMSNorm((4,), eps=None, elementwise_affine=True)");
    assert_prints(rl_nn_layer_norm(RL_DIMS(2, 3), .eps = 1e-6, .bias = RL_ZERO),
                  "LayerNorm((2, 3), eps=1e-06, elementwise_affine=True, bias=False)");
    rl_module *bare = rl_nn_layer_norm(RL_DIMS(4), .elementwise_affine = RL_ZERO);
    assert_prints(bare, "LayerNorm((4,), eps=1e-05, elementwise_affine=False, bias=False)");
    assert_int_equal(rl_module_parameter_count(bare), 0);
    assert_prints(rl_nn_rms_norm(RL_DIMS(2, 3), .eps = 0.25, .elementwise_affine = RL_ZERO),
                  "RMSNorm((2, 3), eps=0.25, elementwise_affine=False)");
    assert_prints(rl_nn_rms_norm(RL_DIMS(2), .eps = RL_ZERO), "RMSNorm((2,), eps=0.0, elementwise_affine=True)");
    rl_module_forward(layer, rl_zeros(RL_DIMS(2, 3)));
    expect(RL_SHAPE_MISMATCH, "input (2, 3) must end with normalized_shape (4)");
    assert_null(rl_nn_layer_norm(RL_NO_DIMS));
    expect(RL_INVALID_ARGUMENT, "layer_norm: normalized_shape must have 1 to 12 sizes, has 0");
}

static void test_groups(void **state) {
    (void)state;
    RL_SCOPE();
    rl_module *group = rl_nn_group_norm(2, 4);
    set(group, "weight", four_weights, 4);
    set(group, "bias", four_biases, 4);
    ASSERT_ELEMENTS(rl_module_forward(group, input()), -1.03026152f, -0.917869389f, -0.580693066f, 0.962539673f,
                    2.53602934f, 4.55909014f, 3.34406662f, 2.89795089f, 2.38320208f, 3.10009027f, 3.42609787f,
                    3.78642225f, -1.39477181f, -0.890637398f, -0.346172333f, 1.477247f, 2.72749996f, 4.05841541f,
                    3.41534352f, 2.88726592f, 2.33064318f, 3.12726212f, 3.43411827f, 3.7552464f);
    assert_prints(group, "GroupNorm(2, 4, eps=1e-05, affine=True, bias=True)");
    assert_prints(rl_nn_group_norm(2, 4, .affine = RL_ZERO, .eps = 0.1),
                  "GroupNorm(2, 4, eps=0.1, affine=False, bias=False)");
    assert_null(rl_nn_group_norm(3, 4));
    expect(RL_INVALID_ARGUMENT, "group_norm: num_channels 4 must be a multiple of num_groups 3");
    rl_module *response = rl_nn_local_response_norm(2, .alpha = 0.5);
    ASSERT_ELEMENTS(rl_narrow(rl_module_forward(response, input()), 0, 0, 1), -1.23939204f, -1.2396934f, -1.2403897f,
                    -0.814458132f, -0.799624622f, -0.783927202f, -0.765185177f, -0.739896059f, -0.702159524f,
                    -0.641726077f, -0.540712297f, -0.369583786f);
    assert_prints(rl_nn_local_response_norm(2), "LocalResponseNorm(2, alpha=0.0001, beta=0.75, k=1.0)");
    assert_prints(rl_nn_local_response_norm(2, .alpha = 1.5e-7, .k = 1e22),
                  "LocalResponseNorm(2, alpha=1.5e-07, beta=0.75, k=1e+22)");
    assert_null(rl_nn_local_response_norm(0));
    expect(RL_INVALID_ARGUMENT, "size must be positive");
}

static void test_batch(void **state) {
    (void)state;
    RL_SCOPE();
    rl_module *batch = rl_nn_batch_norm1d(4, .momentum = 0.25);
    ASSERT_ELEMENTS(rl_module_forward(batch, input()), -1.00382793f, -0.992110133f, -0.956956625f, -1.05073082f,
                    -0.993119001f, -0.919046581f, -1.07558787f, -0.993175447f, -0.898084164f, -1.09096503f,
                    -0.993035913f, -0.884798408f, 0.683540463f, 0.976486385f, 1.2928679f, 0.727006972f, 0.98214525f,
                    1.25374424f, 0.750164449f, 0.984722793f, 1.23196018f, 0.764534533f, 0.986163795f, 1.21810114f);
    ASSERT_ELEMENTS(rl_module_tensor(batch, "running_mean"), -0.321666658f, -0.0666666627f, 0.278333336f, 0.713333309f);
    ASSERT_ELEMENTS(rl_module_tensor(batch, "running_var"), 1.62394679f, 2.52154684f, 3.73594666f, 5.26714659f);
    rl_module_forward(batch, small_input());
    rl_module_train(batch, false);
    ASSERT_ELEMENTS(rl_module_forward(batch, small_input()), 0.942796767f, 1.10841608f, 1.6736536f, -0.952482224f,
                    0.495443612f, -0.618985593f, 0.573018253f, 1.5661006f);
    ASSERT_ELEMENTS(rl_module_tensor(batch, "running_var"), 1.24921012f, 3.01616001f, 3.30195999f, 19.0753593f);
    assert_int_equal(rl_item_int(rl_module_tensor(batch, "num_batches_tracked")), 2);
    rl_module *cumulative = rl_nn_batch_norm1d(4, .cumulative = true);
    rl_module_forward(cumulative, input());
    rl_module_forward(cumulative, small_input());
    ASSERT_ELEMENTS(rl_module_tensor(cumulative, "running_mean"), -0.268333316f, 0.116666675f, 2.05666661f,
                    2.67666674f);
    ASSERT_ELEMENTS(rl_module_tensor(cumulative, "running_var"), 1.81039357f, 5.79309368f, 6.97189331f, 39.2842941f);
}

static void test_batch_forms(void **state) {
    (void)state;
    RL_SCOPE();
    const char *names[5];
    rl_module *batch = rl_nn_batch_norm2d(3, .eps = 1e-3, .momentum = 0.01);
    assert_int_equal(rl_module_state(batch, names, NULL, 5), 5);
    assert_string_equal(names[0], "weight");
    assert_string_equal(names[1], "bias");
    assert_string_equal(names[2], "running_mean");
    assert_string_equal(names[3], "running_var");
    assert_string_equal(names[4], "num_batches_tracked");
    assert_int_equal(rl_tensor_dtype(rl_module_tensor(batch, "num_batches_tracked")), RL_I64);
    assert_prints(batch, "BatchNorm2d(3, eps=0.001, momentum=0.01, affine=True, bias=True, track_running_stats=True)");
    assert_prints(rl_nn_batch_norm1d(3, .cumulative = true),
                  "BatchNorm1d(3, eps=1e-05, momentum=None, affine=True, bias=True, track_running_stats=True)");
    rl_module *bare = rl_nn_batch_norm3d(3, .affine = RL_ZERO, .track_running_stats = RL_ZERO);
    assert_prints(bare, "BatchNorm3d(3, eps=1e-05, momentum=0.1, affine=False, bias=False, track_running_stats=False)");
    assert_int_equal(rl_module_state(bare, NULL, NULL, 0), 0);
    rl_module_train(bare, false); /* without running statistics it goes by the batch */
    rl_tensor *x = rl_normal_(rl_empty(RL_DIMS(2, 3, 2, 2, 2)));
    assert_true(fabs(rl_item(rl_mean(rl_module_forward(bare, x)))) < 1e-6);
    rl_module_to(batch, NULL, RL_F64); /* the statistics too; they are the same objects */
    rl_module_forward(batch, rl_to(rl_select(x, 2, 0), .dtype = RL_F64));
    assert_int_equal(rl_tensor_dtype(rl_module_tensor(batch, "running_mean")), RL_F64);
    assert_true(rl_item(rl_max(rl_abs(rl_module_tensor(batch, "running_mean")))) > 0.0);
    assert_int_equal(rl_error_status(), RL_OK);
    rl_module_forward(batch, rl_zeros(RL_DIMS(2, 3)));
    expect(RL_SHAPE_MISMATCH, "BatchNorm2d: input must have 4 dimensions, has 2");
    rl_module_forward(rl_nn_batch_norm1d(3), rl_zeros(RL_DIMS(2, 3, 1, 1)));
    expect(RL_SHAPE_MISMATCH, "BatchNorm1d: input must have 2 or 3 dimensions, has 4");
    rl_module_forward(rl_nn_batch_norm1d(3), rl_zeros(RL_DIMS(2, 4)));
    expect(RL_SHAPE_MISMATCH, "BatchNorm1d: input must have 3 channels along dimension 1, has 4");
    rl_module_forward(rl_nn_batch_norm1d(3), rl_zeros(RL_DIMS(1, 3)));
    expect(RL_SHAPE_MISMATCH, "more than one value for each channel");
    assert_null(rl_nn_batch_norm1d(-1));
    expect(RL_INVALID_ARGUMENT, "batch_norm1d: num_features must not be negative, got -1");
}

static void test_instance(void **state) {
    (void)state;
    RL_SCOPE();
    rl_module *instance = rl_nn_instance_norm1d(4, .affine = true, .track_running_stats = true);
    rl_tensor *one = rl_select(input(), 0, 0); /* (4, 3): no batch */
    ASSERT_ELEMENTS(rl_module_forward(instance, one), -0.976366043f, -0.390546948f, 1.36691034f, -1.17032659f,
                    -0.101766922f, 1.27209735f, -1.19445515f, -0.0582662225f, 1.25272083f, -1.20377457f, -0.0408060551f,
                    1.24458051f);
    ASSERT_ELEMENTS(rl_module_tensor(instance, "running_mean"), -0.296666682f, -0.266666681f, -0.200666666f,
                    -0.0986666605f);
    ASSERT_ELEMENTS(rl_module_tensor(instance, "running_var"), 0.900173306f, 0.902573287f, 0.907853305f, 0.9160133f);
    assert_int_equal(rl_item_int(rl_module_tensor(instance, "num_batches_tracked")), 0);
    rl_module_train(instance, false);
    ASSERT_ELEMENTS(rl_module_forward(instance, one), -2.84927344f, -2.82819366f, -2.76495457f, -2.68759513f,
                    -2.54023361f, -2.35076857f, -2.18229699f, -1.9094224f, -1.59456718f, -1.33877885f, -0.94174242f,
                    -0.5029127f);
    assert_prints(instance,
                  "InstanceNorm1d(4, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)");
    rl_module *cumulative = rl_nn_instance_norm1d(1, .track_running_stats = 1, .cumulative = true);
    rl_module_forward(cumulative, rl_tensor_from_data((const float[]){1, 2, 3, 6}, RL_DIMS(1, 1, 4), RL_F32, NULL));
    ASSERT_ELEMENTS(rl_module_tensor(cumulative, "running_mean"), 0); /* as PyTorch: they stay */
    ASSERT_ELEMENTS(rl_module_tensor(cumulative, "running_var"), 1);
    rl_module *bare = rl_nn_instance_norm2d(3);
    assert_prints(bare, "InstanceNorm2d(3, eps=1e-05, momentum=0.1, affine=False, bias=False, "
                        "track_running_stats=False)");
    assert_int_equal(rl_tensor_ndim(rl_module_forward(bare, rl_ones(RL_DIMS(3, 2, 2)))), 3);
    assert_int_equal(rl_tensor_ndim(rl_module_forward(rl_nn_instance_norm3d(3), rl_ones(RL_DIMS(1, 3, 2, 2, 2)))), 5);
    assert_int_equal(rl_error_status(), RL_OK);
    rl_module_forward(bare, rl_ones(RL_DIMS(2, 2)));
    expect(RL_SHAPE_MISMATCH, "InstanceNorm2d: input must have 3 or 4 dimensions, has 2");
    rl_module_forward(instance, rl_ones(RL_DIMS(2, 3, 2)));
    expect(RL_SHAPE_MISMATCH, "InstanceNorm1d: input must have 4 channels along dimension 1, has 3");
}

/* A gradient reaches every parameter; the running statistics stay out of the graph. */
static void test_gradients(void **state) {
    (void)state;
    RL_SCOPE();
    rl_module *net = rl_nn_sequential(rl_nn_batch_norm1d(4), rl_nn_group_norm(2, 4), rl_nn_layer_norm(RL_DIMS(4)));
    rl_tensor *x = rl_requires_grad(small_input(), true), *parameters[6];
    rl_backward(rl_sum(rl_square(rl_module_forward(net, x))));
    assert_string_equal(rl_error_text(), "");
    assert_int_equal(rl_module_parameters(net, parameters, 6), 6);
    for (int i = 0; i < 6; i++)
        assert_non_null(rl_grad(parameters[i]));
    assert_false(rl_tensor_requires_grad(rl_module_tensor(net, "0.running_mean")));
}

static void test_without_memory(void **state) {
    (void)state;
    for (uint64_t n = 1;; n++) {
        RL_SCOPE();
        rl_alloc_fail_at(n, false);
        rl_module *net = rl_nn_sequential(rl_nn_batch_norm1d(4), rl_nn_layer_norm(RL_DIMS(4)),
                                          rl_nn_rms_norm(RL_DIMS(4)), rl_nn_group_norm(2, 4));
        rl_module_forward(net, rl_ones(RL_DIMS(2, 4)));
        free(rl_module_to_string(net));
        rl_alloc_fail_at(0, false);
        const bool failed = rl_failed();
        if (failed)
            assert_int_equal(rl_error_status(), RL_OUT_OF_MEMORY);
        rl_error_clear();
        if (!failed)
            return;
        assert_true(n < 2000);
    }
}

/* What one test leaves behind is no error of the next one. */
static int clean(void **state) {
    (void)state;
    rl_error_clear();
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_last_dimensions, clean), cmocka_unit_test_setup(test_groups, clean),
        cmocka_unit_test_setup(test_batch, clean),           cmocka_unit_test_setup(test_batch_forms, clean),
        cmocka_unit_test_setup(test_instance, clean),        cmocka_unit_test_setup(test_gradients, clean),
        cmocka_unit_test_setup(test_without_memory, clean)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rl_shutdown();
    return failed;
}
