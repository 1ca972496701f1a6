/* SPDX-License-Identifier: Apache-2.0 */
/* Modules: layers, trees of them, state, initializations, and what they refuse. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/memory.h"
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
    assert_int_equal(rl_error_status(), RL_OK);
    assert_int_equal(rl_tensor_numel(tensor), count);
    assert_int_equal(rl_tensor_read(tensor, got, (size_t)count * sizeof *got), RL_OK);
    for (int i = 0; i < count; i++) {
        if (!(fabsf(got[i] - want[i]) <= 1e-6f))
            fail_msg("element %d is %.9g, must be %.9g", i, (double)got[i], (double)want[i]);
    }
}

/* Layers ------------------------------------------------------------------------------------------------------------
 */

static void assert_printed(const rl_module *module, const char *want) {
    char *text = rl_module_to_string(module);
    assert_string_equal(text, want);
    free(text);
}

/* A kernel of ones sums its windows; what PyTorch prints; what is refused. */
static void test_conv(void **state) {
    (void)state;
    RL_SCOPE();
    rl_module *conv = rl_nn_conv2d(1, 1, 2, .bias = RL_ZERO);
    rl_init_constant(rl_module_tensor(conv, "weight"), 1.0);
    rl_tensor *x = rl_reshape(rl_arange(9, .dtype = RL_F32), RL_DIMS(1, 1, 3, 3));
    assert_elements(rl_module_forward(conv, x), (const float[]){8, 12, 20, 24}, 4);
    assert_int_equal(rl_tensor_ndim(rl_module_forward(conv, rl_select(x, 0, 0))), 3);
    rl_module *same = rl_nn_conv2d(1, 1, 2, .same = true, .bias = RL_ZERO);
    rl_init_constant(rl_module_tensor(same, "weight"), 1.0);
    assert_elements(rl_module_forward(same, x), (const float[]){8, 12, 7, 20, 24, 13, 13, 15, 8}, 9);
    rl_module *turned = rl_nn_conv_transpose2d(2, 4, 3, .stride = 2, .output_padding = 1, .groups = 2);
    assert_int_equal(rl_module_parameter_count(turned), 2 * 2 * 9 + 4);
    assert_int_equal(rl_tensor_size(rl_module_forward(turned, rl_ones(RL_DIMS(1, 2, 3, 3))), 3), 8);
    assert_printed(rl_nn_conv1d(2, 3, 3), "Conv1d(2, 3, kernel_size=(3,), stride=(1,))");
    assert_printed(rl_nn_conv2d(2, 4, 0, .kernel_sizes = RL_DIMS(3, 5), .stride = 2, .paddings = RL_DIMS(1, 2),
                                .dilation = 2, .groups = 2, .bias = RL_ZERO),
                   "Conv2d(2, 4, kernel_size=(3, 5), stride=(2, 2), padding=(1, 2), dilation=(2, 2), groups=2, "
                   "bias=False)");
    assert_printed(rl_nn_conv_transpose2d(2, 4, 3, .stride = 2, .output_padding = 1),
                   "ConvTranspose2d(2, 4, kernel_size=(3, 3), stride=(2, 2), output_padding=(1, 1))");
    assert_printed(rl_nn_conv2d(1, 2, 3, .padding = RL_ZERO), "Conv2d(1, 2, kernel_size=(3, 3), stride=(1, 1))");
    assert_printed(rl_nn_conv_transpose1d(1, 2, 3, .output_padding = RL_ZERO),
                   "ConvTranspose1d(1, 2, kernel_size=(3,), stride=(1,))");
    assert_printed(same, "Conv2d(1, 1, kernel_size=(2, 2), stride=(1, 1), padding=same, bias=False)");
    rl_module *last = rl_nn_conv2d(3, 4, 3);
    rl_tensor *image = rl_ones(RL_DIMS(2, 3, 5, 5)), *before = rl_module_forward(last, image);
    assert_int_equal(rl_module_to_memory_format(last, "channels_last"), RL_OK);
    rl_tensor *after = rl_module_forward(last, image);
    assert_int_equal(rl_tensor_strides(after)[1], 1);
    assert_true(rl_tensor_is_contiguous(before) && !rl_tensor_is_contiguous(after));
    assert_int_equal(rl_item_int(rl_allclose(before, after)), 1);
    assert_int_equal(rl_tensor_strides(rl_contiguous(image, .memory_format = "channels_last"))[1], 1);
    rl_module_to_memory_format(last, "rows");
    expect(RL_INVALID_ARGUMENT, "got 'rows'");
    rl_contiguous(image, .memory_format = "channels_last_3d");
    expect(RL_SHAPE_MISMATCH, "is for 5 dimensions, self has 4");
    rl_nn_conv2d(3, 4, 3, .padding_mode = "mirror");
    expect(RL_INVALID_ARGUMENT, "Conv2d: padding_mode must be zeros, reflect, replicate or circular, got 'mirror'");
    rl_nn_conv_transpose1d(3, 4, 3, .padding_mode = "circular");
    expect(RL_INVALID_ARGUMENT, "ConvTranspose1d: padding_mode must be zeros, got circular");
    rl_nn_conv2d(3, 4, 3, .groups = 2);
    expect(RL_INVALID_ARGUMENT, "divide into the groups");
    rl_nn_conv2d(3, 4, 0);
    expect(RL_INVALID_ARGUMENT, "Conv2d: kernel_size must be 1 or more, got 0");
    rl_nn_conv2d(3, 4, 3, .stride = INT64_C(1) << 40);
    expect(RL_INVALID_ARGUMENT, "Conv2d: stride must be at most 2147483647, got 1099511627776");
    rl_nn_conv2d(3, 4, 3, .stride = RL_ZERO);
    expect(RL_INVALID_ARGUMENT, "Conv2d: stride must be 1 or more, got 0");
    rl_nn_conv2d(3, 4, 3, .groups = RL_ZERO);
    expect(RL_INVALID_ARGUMENT, "got 3 to 4 in 0 groups");
    rl_nn_conv3d(3, 4, 3, .strides = RL_DIMS(1, 2));
    expect(RL_INVALID_ARGUMENT, "Conv3d: stride must be 1 number or 3, got 2");
    rl_nn_conv2d(3, 4, 3, .same = true, .stride = 2);
    expect(RL_INVALID_ARGUMENT, "same needs a stride of 1");
    rl_module_forward(rl_nn_conv2d(3, 4, 3), rl_ones(RL_DIMS(1, 2, 5, 5)));
    expect(RL_SHAPE_MISMATCH, "takes 3 channels, and input has 2");
}

/* What stands in the margins, as PyTorch 2.15 gives it for kernels of ones. */
static void test_conv_margins(void **state) {
    (void)state;
    RL_SCOPE();
    static const struct {
        const char *mode;
        float beside[6], same[9];
    } cases[] = {
        {"reflect", {13, 15, 17, 31, 33, 35}, {8, 12, 12, 20, 24, 24, 20, 24, 24}},
        {"replicate", {11, 15, 19, 29, 33, 37}, {8, 12, 14, 20, 24, 26, 26, 30, 32}},
        {"circular", {15, 15, 15, 33, 33, 33}, {8, 12, 10, 20, 24, 22, 14, 18, 16}},
    };
    rl_tensor *x = rl_reshape(rl_arange(9, .dtype = RL_F32), RL_DIMS(1, 1, 3, 3));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rl_module *beside = rl_nn_conv2d(1, 1, 0, .kernel_sizes = RL_DIMS(2, 3), .paddings = RL_DIMS(0, 1),
                                         .padding_mode = cases[i].mode, .bias = RL_ZERO);
        rl_init_constant(rl_module_tensor(beside, "weight"), 1.0);
        assert_elements(rl_module_forward(beside, x), cases[i].beside, 6);
        rl_module *same = rl_nn_conv2d(1, 1, 2, .same = true, .padding_mode = cases[i].mode, .bias = RL_ZERO);
        rl_init_constant(rl_module_tensor(same, "weight"), 1.0);
        assert_elements(rl_module_forward(same, x), cases[i].same, 9);
        rl_module *fused = rl_nn_sequential(same, rl_nn_relu());
        assert_elements(rl_module_forward(fused, x), cases[i].same, 9);
    }
    assert_printed(rl_nn_conv1d(1, 1, 3, .padding = 1, .padding_mode = "reflect"),
                   "Conv1d(1, 1, kernel_size=(3,), stride=(1,), padding=(1,), padding_mode=reflect)");
    assert_printed(rl_nn_conv1d(1, 1, 3, .padding_mode = "zeros"), "Conv1d(1, 1, kernel_size=(3,), stride=(1,))");
}

static void test_linear(void **state) {
    (void)state;
    RL_SCOPE();
    rl_module *linear = rl_nn_linear(3, 2);
    rl_tensor_write(rl_module_tensor(linear, "weight"), (const float[]){1, 2, 3, 4, 5, 6}, 6 * sizeof(float));
    rl_tensor_write(rl_module_tensor(linear, "bias"), (const float[]){0.5f, -0.5f}, 2 * sizeof(float));
    rl_tensor *x = floats((const float[]){1, 0, -1, 2, 1, 0}, RL_DIMS(2, 3));
    assert_elements(rl_module_forward(linear, x), (const float[]){-1.5f, -2.5f, 4.5f, 12.5f}, 4);
    rl_module *bare = rl_nn_linear(3, 2, .bias = RL_ZERO);
    assert_int_equal(rl_module_parameter_count(bare), 6);
    rl_module_forward(linear, rl_zeros(RL_DIMS(2, 4)));
    assert_int_equal(rl_error_status(), RL_SHAPE_MISMATCH);
    rl_error_clear();
    rl_nn_linear(-1, 2);
    expect(RL_INVALID_ARGUMENT, "features");
    rl_nn_sequential_of(NULL, 2);
    expect(RL_INVALID_ARGUMENT, "sequential: got 2 modules at NULL");
    rl_generator_get_state(rl_generator_default(), NULL, NULL); /* what is not asked for is not given */
}

static void test_activations(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *x = floats((const float[]){-1.0f, 0.0f, 2.0f}, RL_DIMS(3));
    const struct {
        rl_module *module;
        float want[3];
    } cases[] = {{rl_nn_relu(), {0, 0, 2}},
                 {rl_nn_sigmoid(), {0.26894143f, 0.5f, 0.8807971f}},
                 {rl_nn_tanh(), {-0.7615942f, 0.0f, 0.9640276f}},
                 {rl_nn_silu(), {-0.26894143f, 0.0f, 1.7615942f}},
                 {rl_nn_log_sigmoid(), {-1.3132616f, -0.6931472f, -0.126928f}},
                 {rl_nn_gelu("none"), {-0.15865526f, 0.0f, 1.9544997f}},
                 {rl_nn_gelu("tanh"), {-0.1588081f, 0.0f, 1.9545977f}},
                 {rl_nn_leaky_relu(0.1), {-0.1f, 0.0f, 2.0f}},
                 {rl_nn_elu(1.0), {-0.63212055f, 0.0f, 2.0f}},
                 {rl_nn_softplus(1.0, 20.0), {0.3132617f, 0.6931472f, 2.126928f}},
                 {rl_nn_softmax(0), {0.0420101f, 0.1141952f, 0.8437947f}},
                 {rl_nn_identity(), {-1, 0, 2}}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_elements(rl_module_forward(cases[i].module, x), cases[i].want, 3);
}

static void test_dropout(void **state) {
    (void)state;
    RL_SCOPE();
    rl_manual_seed(3);
    rl_module *dropout = rl_nn_dropout(0.25);
    rl_tensor *x = rl_ones(RL_DIMS(100, 100)), *y = rl_module_forward(dropout, x);
    double kept = rl_item(rl_mean(rl_to(rl_ne(y, 0), .dtype = RL_F32)));
    assert_true(fabs(kept - 0.75) < 0.03);
    assert_true(fabs(rl_item(rl_max(y)) - 1.0 / 0.75) < 1e-6);
    rl_module_train(dropout, false);
    assert_true(rl_item(rl_sum(rl_ne(rl_module_forward(dropout, x), x))) == 0.0);
    rl_nn_dropout(1.5);
    expect(RL_INVALID_ARGUMENT, "p");
}

/* Trees -------------------------------------------------------------------------------------------------------------
 */

static rl_module *small_net(void) {
    return rl_nn_sequential(rl_nn_linear(2, 3), rl_nn_relu(),
                            rl_nn_sequential(rl_nn_linear(3, 3, .bias = RL_ZERO), rl_nn_linear(3, 1)));
}

static void test_tree(void **state) {
    (void)state;
    RL_SCOPE();
    rl_module *net = small_net();
    const char *names[8];
    rl_tensor *tensors[8], *parameters[8];
    assert_int_equal(rl_module_state(net, names, tensors, 8), 5);
    assert_string_equal(names[0], "0.weight");
    assert_string_equal(names[2], "2.0.weight");
    assert_string_equal(names[4], "2.1.bias");
    assert_ptr_equal(tensors[2], rl_module_tensor(net, "2.0.weight"));
    assert_int_equal(rl_module_parameters(net, parameters, 8), 5);
    assert_int_equal(rl_module_parameter_count(net), 6 + 3 + 9 + 3 + 1);
    char *text = rl_module_to_string(net);
    assert_string_equal(text, "Sequential(\n"
                              "  (0): Linear(in_features=2, out_features=3, bias=True)\n"
                              "  (1): ReLU()\n"
                              "  (2): Sequential(\n"
                              "    (0): Linear(in_features=3, out_features=3, bias=False)\n"
                              "    (1): Linear(in_features=3, out_features=1, bias=True)\n"
                              "  )\n"
                              ")");
    free(text);
    rl_module_train(net, false);
    assert_false(rl_module_is_training(rl_module_child(net, "2.0")));
    assert_null(rl_module_tensor(net, "2.0.nothing"));
    expect(RL_NOT_FOUND, "2.0.nothing");
    assert_null(rl_module_child(net, "7"));
    expect(RL_NOT_FOUND, "7");
}

/* A module of one's own: two uses of one layer, which counts once. */
typedef struct twice_data {
    rl_module *layer;
} twice_data;

static rl_tensor *twice_forward(rl_module *self, rl_tensor *x) {
    twice_data *data = rl_module_data(self);
    return rl_module_forward(data->layer, rl_relu(rl_module_forward(data->layer, x)));
}

static void test_own_module(void **state) {
    (void)state;
    static const rl_module_class twice = {
        .struct_size = sizeof twice, .name = "Twice", .data_bytes = sizeof(twice_data), .forward = twice_forward};
    RL_SCOPE();
    rl_module *self = rl_module_new(&twice);
    twice_data *data = rl_module_data(self);
    data->layer = rl_module_add(self, "layer", rl_nn_linear(2, 2));
    rl_module_add(self, "again", data->layer);
    rl_module_add_buffer(self, "count", rl_zeros(RL_DIMS(1)));
    assert_int_equal(rl_module_parameter_count(self), 6);
    rl_backward(rl_sum(rl_module_forward(self, rl_ones(RL_DIMS(1, 2)))));
    assert_int_equal(rl_error_status(), RL_OK);
    assert_non_null(rl_grad(rl_module_tensor(self, "layer.weight")));
    rl_module_zero_grad(self);
    assert_null(rl_grad(rl_module_tensor(self, "layer.weight")));
    assert_null(rl_module_add(self, "layer", rl_nn_relu()));
    expect(RL_INVALID_ARGUMENT, "layer");
    assert_null(rl_module_add(self, "a.b", rl_nn_relu()));
    expect(RL_INVALID_ARGUMENT, "a.b");
    assert_null(rl_module_add(self, "none", NULL));
    expect(RL_INVALID_ARGUMENT, "none");
    assert_null(rl_module_add(self, "self", self));
    expect(RL_INVALID_ARGUMENT, "contains the module");
    assert_null(rl_module_add_parameter(self, "whole", rl_arange(3)));
    expect(RL_DTYPE_MISMATCH, "whole");
}

/* In whatever order they were registered, as PyTorch gives them: a module's own first, then the children's. */
static void test_order(void **state) {
    (void)state;
    static const rl_module_class twice = {
        .struct_size = sizeof twice, .name = "Twice", .data_bytes = sizeof(twice_data), .forward = twice_forward};
    static const char *const want[] = {"scale", "shift", "count", "layer.weight", "layer.bias", "last.bias"};
    RL_SCOPE();
    rl_module *self = rl_module_new(&twice), *last = rl_module_new(&twice);
    rl_module *layer = rl_module_add(self, "layer", rl_nn_linear(2, 2));
    rl_module_add_buffer(self, "count", rl_zeros(RL_DIMS(1)));
    rl_tensor *scale = rl_module_add_parameter(self, "scale", rl_ones(RL_DIMS(1)));
    rl_module_add(self, "last", last);
    rl_tensor *shift = rl_module_add_parameter(self, "shift", rl_ones(RL_DIMS(1)));
    rl_tensor *bias = rl_module_add_parameter(last, "bias", rl_ones(RL_DIMS(1)));
    rl_tensor *parameters[8], *tensors[8];
    const char *names[8];
    assert_int_equal(rl_module_parameters(self, parameters, 8), 5);
    assert_ptr_equal(parameters[0], scale);
    assert_ptr_equal(parameters[1], shift);
    assert_ptr_equal(parameters[2], rl_module_tensor(layer, "weight"));
    assert_ptr_equal(parameters[4], bias);
    assert_int_equal(rl_module_state(self, names, tensors, 8), 6);
    for (int i = 0; i < 6; i++)
        assert_string_equal(names[i], want[i]);
}

/* A class as a program has it that was built with a shorter header, at the end of its memory. */
static void test_short_classes(void **state) {
    (void)state;
    const rl_module_class whole = {
        .struct_size = sizeof whole, .name = "Twice", .data_bytes = sizeof(twice_data), .forward = twice_forward};
    static const size_t sizes[] = {sizeof(size_t), offsetof(rl_module_class, forward),
                                   offsetof(rl_module_class, destroy), sizeof whole};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        RL_SCOPE();
        rl_module_class *class = malloc(sizes[i]);
        assert_non_null(class);
        memcpy(class, &whole, sizes[i]);
        memcpy(class, &sizes[i], sizeof(size_t));
        rl_module *made = rl_module_new(class);
        free(class); /* it is copied */
        if (i < 2) {
            assert_null(made);
            expect(RL_INVALID_ARGUMENT, "the class must have struct_size, name and forward");
            continue;
        }
        char *text = rl_module_to_string(made);
        assert_string_equal(text, "Twice()");
        free(text);
        ((twice_data *)rl_module_data(made))->layer = rl_module_add(made, "layer", rl_nn_linear(2, 2));
        assert_non_null(rl_module_forward(made, rl_ones(RL_DIMS(1, 2))));
    }
}

/* State in files ----------------------------------------------------------------------------------------------------
 */

static void test_save_load(void **state) {
    (void)state;
    char path[] = "/tmp/rushlight-nn-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    RL_SCOPE();
    rl_module *one = small_net(), *other = small_net();
    rl_tensor *x = rl_ones(RL_DIMS(4, 2));
    assert_int_equal(rl_module_save(one, path), RL_OK);
    assert_int_equal(rl_module_load(other, path), RL_OK);
    assert_true(rl_item(rl_sum(rl_ne(rl_module_forward(one, x), rl_module_forward(other, x)))) == 0.0);
    rl_module *wider = rl_nn_sequential(rl_nn_linear(2, 4), rl_nn_relu(),
                                        rl_nn_sequential(rl_nn_linear(3, 3, .bias = RL_ZERO), rl_nn_linear(3, 1)));
    rl_module_load(wider, path);
    expect(RL_SHAPE_MISMATCH, "0.weight");
    rl_module_load(rl_nn_linear(2, 3), path);
    expect(RL_NOT_FOUND, "weight");
    rl_module_load(rl_nn_sequential(rl_nn_linear(2, 3)), path);
    expect(RL_BAD_FORMAT, "no place");
    unlink(path);
    rl_module_load(one, path);
    expect(RL_NOT_FOUND, path);
}

static void test_move(void **state) {
    (void)state;
    RL_SCOPE();
    rl_module *net = small_net();
    rl_tensor *weight = rl_module_tensor(net, "0.weight");
    assert_int_equal(rl_module_to(net, NULL, RL_F64), RL_OK);
    assert_ptr_equal(rl_module_tensor(net, "0.weight"), weight);
    assert_int_equal(rl_tensor_dtype(weight), RL_F64);
    assert_true(rl_tensor_requires_grad(weight) && rl_tensor_is_leaf(weight));
    rl_tensor *y = rl_module_forward(net, rl_ones(RL_DIMS(1, 2), .dtype = RL_F64));
    assert_int_equal(rl_tensor_dtype(y), RL_F64);
    rl_module_to(net, NULL, RL_I32);
    expect(RL_DTYPE_MISMATCH, "int32");
}

/* Initializations: bounds and moments of PyTorch's formulas. ----------------------------------------------------------
 */

static double moment(rl_tensor *x, bool second) {
    return rl_item(rl_mean(second ? rl_mul(x, x) : x));
}

static void test_init(void **state) {
    (void)state;
    RL_SCOPE();
    RL_NO_GRAD();
    rl_manual_seed(11);
    rl_tensor *w = rl_module_tensor(rl_nn_linear(400, 300), "weight");
    assert_true(rl_item(rl_max(rl_abs(w))) <= 0.05); /* 1 / sqrt(400) */
    assert_true(fabs(moment(w, true) - 0.05 * 0.05 / 3) < 2e-5);
    rl_tensor *x = rl_empty(RL_DIMS(300, 400));
    double bound = sqrt(6.0 / 700.0);
    rl_init_xavier_uniform(x, 1.0);
    assert_true(rl_item(rl_max(rl_abs(x))) <= bound && fabs(moment(x, true) - bound * bound / 3) < 1e-4);
    rl_init_xavier_normal(x, 2.0);
    assert_true(fabs(moment(x, true) - 4.0 * 2.0 / 700.0) < 2e-4);
    rl_init_constant(x, 1.5);
    assert_true(moment(x, false) == 1.5);
    rl_init_normal(x, 1.0, 0.5);
    assert_true(fabs(moment(x, false) - 1.0) < 0.01 && fabs(moment(x, true) - 1.25) < 0.02);
    rl_init_uniform(x, -2.0, 4.0);
    assert_true(fabs(moment(x, false) - 1.0) < 0.03);
    assert_int_equal(rl_error_status(), RL_OK);
    rl_init_xavier_uniform(rl_empty(RL_DIMS(3)), 1.0);
    assert_int_equal(rl_error_status(), RL_SHAPE_MISMATCH);
    rl_error_clear();
}

static void test_without_memory(void **state) {
    (void)state;
    for (uint64_t n = 1;; n++) {
        RL_SCOPE();
        rl_alloc_fail_at(n, false);
        rl_module *net = small_net();
        rl_tensor *loss = rl_sum(rl_module_forward(net, rl_ones(RL_DIMS(1, 2))));
        rl_backward(loss);
        free(rl_module_to_string(net));
        rl_alloc_fail_at(0, false);
        bool failed = rl_failed();
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
        cmocka_unit_test_setup(test_linear, clean),        cmocka_unit_test_setup(test_conv, clean),
        cmocka_unit_test_setup(test_conv_margins, clean),  cmocka_unit_test_setup(test_activations, clean),
        cmocka_unit_test_setup(test_dropout, clean),       cmocka_unit_test_setup(test_tree, clean),
        cmocka_unit_test_setup(test_own_module, clean),    cmocka_unit_test_setup(test_order, clean),
        cmocka_unit_test_setup(test_short_classes, clean), cmocka_unit_test_setup(test_save_load, clean),
        cmocka_unit_test_setup(test_move, clean),          cmocka_unit_test_setup(test_init, clean),
        cmocka_unit_test_setup(test_without_memory, clean)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rl_shutdown();
    return failed;
}
