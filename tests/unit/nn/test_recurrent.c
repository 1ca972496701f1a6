/* SPDX-License-Identifier: Apache-2.0 */
/* Recurrent layers and cells: states, directions and layers against cells walked by hand, and what is refused. The
 * numbers themselves are PyTorch's by tests/golden. */
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

static void assert_shape(const rl_tensor *x, rl_ints shape) {
    if (rl_failed())
        fail_msg("%s", rl_error_text());
    assert_int_equal(rl_tensor_ndim(x), shape.count);
    assert_memory_equal(rl_tensor_shape(x), shape.data, (size_t)shape.count * sizeof *shape.data);
}

static void assert_near(rl_tensor *a, rl_tensor *b) {
    double apart = rl_item(rl_max(rl_abs(rl_sub(a, b))));
    if (rl_failed())
        fail_msg("%s", rl_error_text());
    assert_true(apart < 1e-5);
}

static void assert_printed(const rl_module *module, const char *want) {
    char *text = rl_module_to_string(module);
    assert_string_equal(text, want);
    free(text);
}

/* Walks a cell with the parameters of one direction of one layer over x (steps, batch, features). */
static rl_tensor *walk(rl_module *layer, rl_module *cell, const char *suffix, bool reverse, rl_tensor *x, rl_tensor *h,
                       rl_tensor *c) {
    static const char *const names[] = {"weight_ih", "weight_hh", "bias_ih", "bias_hh"};
    int64_t steps = rl_tensor_size(x, 0);
    rl_tensor *states[3] = {NULL, h, c}, *outputs[16];
    RL_NO_GRAD();
    for (int i = 0; i < 4; i++) {
        char name[40];
        snprintf(name, sizeof name, "%s%s", names[i], suffix);
        rl_copy_(rl_module_tensor(cell, names[i]), rl_module_tensor(layer, name));
    }
    for (int64_t i = 0; i < steps; i++) {
        int64_t t = reverse ? steps - 1 - i : i;
        states[0] = rl_select(x, 0, t);
        rl_tensor *next[2] = {NULL};
        rl_module_forward_many(cell, RL_TENSORS_AT(states, c ? 3 : 2), next, c ? 2 : 1);
        outputs[t] = states[1] = next[0];
        states[2] = next[1];
    }
    return rl_stack(RL_TENSORS_AT(outputs, steps));
}

static void test_against_cells(void **state) {
    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        RL_SCOPE();
        bool lstm = kind == 0;
        rl_module *layer = lstm        ? rl_nn_lstm(3, 5, .num_layers = 2, .bidirectional = true)
                           : kind == 1 ? rl_nn_gru(3, 5, .num_layers = 2, .bidirectional = true)
                                       : rl_nn_rnn(3, 5, .num_layers = 2, .bidirectional = true,
                                                   .nonlinearity = kind == 2 ? "tanh" : "relu");
        rl_tensor *x = rl_randn(RL_DIMS(4, 6, 3)), *h = rl_randn(RL_DIMS(4, 6, 5)), *c = rl_randn(RL_DIMS(4, 6, 5));
        rl_tensor *made[3], *inputs[] = {x, h, c}, *seen = x;
        rl_module_forward_many(layer, RL_TENSORS_AT(inputs, lstm ? 3 : 2), made, lstm ? 3 : 2);
        for (int64_t k = 0; k < 2; k++) {
            rl_tensor *parts[2];
            for (int64_t d = 0; d < 2; d++) {
                char suffix[40];
                int64_t in = k ? 10 : 3, number = 2 * k + d;
                snprintf(suffix, sizeof suffix, "_l%d%s", (int)k, d ? "_reverse" : "");
                rl_module *cell = lstm        ? rl_nn_lstm_cell(in, 5)
                                  : kind == 1 ? rl_nn_gru_cell(in, 5)
                                              : rl_nn_rnn_cell(in, 5, .nonlinearity = kind == 2 ? "tanh" : "relu");
                parts[d] = walk(layer, cell, suffix, d == 1, seen, rl_select(h, 0, number),
                                lstm ? rl_select(c, 0, number) : NULL);
                assert_near(rl_select(made[1], 0, number), rl_select(parts[d], 0, d ? 0 : 3));
            }
            seen = rl_cat(RL_TENSORS_AT(parts, 2), .dim = 2);
        }
        assert_near(made[0], seen);
        assert_shape(made[0], RL_DIMS(4, 6, 10));
        assert_shape(made[1], RL_DIMS(4, 6, 5));
        if (lstm)
            assert_shape(made[2], RL_DIMS(4, 6, 5));
    }
}

/* (batch, steps, ..), no batch, and no states give the same. */
static void test_layouts(void **state) {
    (void)state;
    RL_SCOPE();
    rl_module *plain = rl_nn_lstm(3, 4), *first = rl_nn_lstm(3, 4, .batch_first = true);
    rl_tensor *x = rl_randn(RL_DIMS(5, 2, 3)), *zeros = rl_zeros(RL_DIMS(1, 2, 4));
    rl_tensor *made[3], *turned[3], *alone[3], *given[3], *parameters[8];
    assert_int_equal(rl_module_parameters(plain, parameters, 8), 4);
    for (int i = 0; i < 4; i++) {
        RL_NO_GRAD();
        rl_tensor *others[8];
        rl_module_parameters(first, others, 8);
        rl_copy_(others[i], parameters[i]);
    }
    rl_module_forward_many(plain, RL_TENSORS(x), made, 3);
    rl_module_forward_many(first, RL_TENSORS(rl_transpose(x, 0, 1)), turned, 3);
    rl_module_forward_many(plain, RL_TENSORS(x, zeros, zeros), given, 3);
    rl_module_forward_many(plain, RL_TENSORS(rl_select(x, 1, 1)), alone, 3);
    assert_shape(turned[0], RL_DIMS(2, 5, 4));
    assert_near(rl_transpose(turned[0], 0, 1), made[0]);
    assert_shape(alone[0], RL_DIMS(5, 4));
    assert_shape(alone[2], RL_DIMS(1, 4));
    assert_near(alone[0], rl_select(made[0], 1, 1));
    assert_near(alone[2], rl_select(made[2], 1, 1));
    assert_near(turned[1], made[1]);
    assert_near(given[2], made[2]);
    assert_near(rl_module_forward(plain, x), made[0]);
    rl_tensor *both[] = {x, zeros, zeros};
    rl_module_forward_many(plain, RL_TENSORS_AT(both, 3), both, 3);
    assert_near(both[2], made[2]);
    rl_tensor *states = rl_randn(RL_DIMS(1, 4));
    rl_module_forward_many(first, RL_TENSORS(rl_select(x, 1, 0), states, states), alone, 3);
    assert_shape(alone[1], RL_DIMS(1, 4));
    rl_module *cell = rl_nn_gru_cell(3, 4);
    assert_shape(rl_module_forward(cell, rl_randn(RL_DIMS(3))), RL_DIMS(4));
    assert_shape(rl_module_forward(cell, rl_randn(RL_DIMS(2, 3))), RL_DIMS(2, 4));
    rl_tensor *cell_inputs[] = {rl_randn(RL_DIMS(3)), rl_randn(RL_DIMS(4))}, *after;
    rl_module_forward_many(cell, RL_TENSORS_AT(cell_inputs, 2), &after, 1);
    assert_shape(after, RL_DIMS(4));
}

static void test_parameters(void **state) {
    (void)state;
    RL_SCOPE();
    const char *names[16];
    rl_tensor *tensors[16];
    rl_module *net = rl_nn_gru(3, 4, .num_layers = 2, .bidirectional = true, .bias = RL_ZERO);
    static const char *const want[] = {"weight_ih_l0", "weight_hh_l0", "weight_ih_l0_reverse", "weight_hh_l0_reverse",
                                       "weight_ih_l1", "weight_hh_l1", "weight_ih_l1_reverse", "weight_hh_l1_reverse"};
    assert_int_equal(rl_module_state(net, names, tensors, 16), 8);
    for (int i = 0; i < 8; i++)
        assert_string_equal(names[i], want[i]);
    assert_shape(tensors[0], RL_DIMS(12, 3));
    assert_shape(tensors[4], RL_DIMS(12, 8));
    assert_shape(tensors[5], RL_DIMS(12, 4));
    assert_true(rl_item(rl_max(rl_abs(tensors[4]))) <= 0.5); /* 1 / sqrt(4) */
    assert_true(rl_item(rl_max(rl_abs(tensors[4]))) > 0.4);
    rl_module *lstm = rl_nn_lstm(2, 3);
    assert_shape(rl_module_tensor(lstm, "bias_hh_l0"), RL_DIMS(12));
    assert_int_equal(rl_module_parameter_count(lstm), 12 * 2 + 12 * 3 + 24);
    rl_backward(rl_sum(rl_module_forward(lstm, rl_ones(RL_DIMS(4, 2, 2)))));
    assert_non_null(rl_grad(rl_module_tensor(lstm, "bias_hh_l0")));
    assert_near(rl_grad(rl_module_tensor(lstm, "bias_hh_l0")), rl_grad(rl_module_tensor(lstm, "bias_ih_l0")));
}

static void test_dropout(void **state) {
    (void)state;
    RL_SCOPE();
    rl_module *net = rl_nn_rnn(3, 4, .num_layers = 2, .dropout = 1.0);
    rl_tensor *x = rl_randn(RL_DIMS(4, 2, 3)), *y = rl_randn(RL_DIMS(4, 2, 3));
    assert_near(rl_module_forward(net, x), rl_module_forward(net, y)); /* nothing of the first layer gets through */
    rl_module_train(net, false);
    assert_true(rl_item(rl_max(rl_abs(rl_sub(rl_module_forward(net, x), rl_module_forward(net, y))))) > 1e-3);
}

static void test_printed(void **state) {
    (void)state;
    RL_SCOPE();
    assert_printed(rl_nn_lstm(3, 4), "LSTM(3, 4)");
    assert_printed(
        rl_nn_gru(3, 4, .num_layers = 2, .bias = RL_ZERO, .batch_first = true, .dropout = 0.25, .bidirectional = true),
        "GRU(3, 4, num_layers=2, bias=False, batch_first=True, dropout=0.25, bidirectional=True)");
    assert_printed(rl_nn_rnn(3, 4, .nonlinearity = "relu"), "RNN(3, 4)");
    assert_printed(rl_nn_lstm(3, 4, .num_layers = 2, .dropout = 0.123456789),
                   "LSTM(3, 4, num_layers=2, dropout=0.123456789)");
    assert_printed(rl_nn_lstm(3, 4, .num_layers = 2, .dropout = 1), "LSTM(3, 4, num_layers=2, dropout=1.0)");
    assert_printed(rl_nn_rnn_cell(3, 4, .nonlinearity = "relu", .bias = RL_ZERO),
                   "RNNCell(3, 4, bias=False, nonlinearity=relu)");
    assert_printed(rl_nn_lstm_cell(3, 4), "LSTMCell(3, 4)");
    assert_printed(rl_nn_gru_cell(3, 4, .bias = RL_ZERO), "GRUCell(3, 4, bias=False)");
}

static void test_refusals(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *made[4], *x = rl_randn(RL_DIMS(4, 2, 3)), *h = rl_zeros(RL_DIMS(1, 2, 4));
    rl_nn_lstm(3, 0);
    expect(RL_INVALID_ARGUMENT, "lstm: input_size must not be negative and hidden_size must be positive, got 3 and 0");
    rl_nn_lstm(3, 4, .proj_size = 2);
    expect(RL_UNSUPPORTED, "lstm: projections are not there yet");
    rl_nn_gru(3, 4, .proj_size = 2);
    expect(RL_INVALID_ARGUMENT, "proj_size is of lstm alone");
    rl_nn_gru(3, 4, .nonlinearity = "tanh");
    expect(RL_INVALID_ARGUMENT, "nonlinearity is of rnn alone");
    rl_nn_rnn(3, 4, .nonlinearity = "gelu");
    expect(RL_INVALID_ARGUMENT, "rnn: nonlinearity must be 'tanh' or 'relu', got 'gelu'");
    rl_nn_rnn(3, 4, .num_layers = -1);
    expect(RL_INVALID_ARGUMENT, "num_layers must be 1 or more, got -1");
    rl_nn_rnn(3, 4, .dropout = 1.5);
    expect(RL_INVALID_ARGUMENT, "dropout must lie within 0 and 1");
    rl_nn_lstm_cell(3, 4, .nonlinearity = "tanh");
    expect(RL_INVALID_ARGUMENT, "nonlinearity is of rnn_cell alone");
    rl_module *lstm = rl_nn_lstm(3, 4), *linear = rl_nn_linear(3, 4);
    rl_module_forward(lstm, rl_zeros(RL_DIMS(4, 2, 5)));
    expect(RL_SHAPE_MISMATCH, "LSTM: input must end with input_size 3, ends with 5");
    rl_module_forward(lstm, rl_zeros(RL_DIMS(3)));
    expect(RL_SHAPE_MISMATCH, "LSTM: input must have 3 dimensions, or 2 without a batch, has 1");
    rl_module_forward_many(lstm, RL_TENSORS(x, h), made, 1);
    expect(RL_INVALID_ARGUMENT, "LSTM: takes the input alone or with 2 states, got 2 tensors");
    rl_module_forward_many(lstm, RL_TENSORS(x), made, 4);
    expect(RL_INVALID_ARGUMENT, "LSTM: gives 3 outputs, not 4");
    assert_null(made[0]);
    rl_module_forward_many(lstm, RL_TENSORS(x, h, rl_zeros(RL_DIMS(1, 3, 4))), made, 3);
    expect(RL_SHAPE_MISMATCH, "hx[1] (1, 3, 4) must have shape (layers directions, batch, hidden), here (1, 2, 4)");
    rl_module_forward_many(linear, RL_TENSORS(x, x), made, 1);
    expect(RL_INVALID_ARGUMENT, "Linear takes one input and gives one output, not 2 and 1");
    rl_module_forward_many(linear, RL_TENSORS(x), made, 17);
    expect(RL_INVALID_ARGUMENT, "at most 16 outputs, not 17");
    rl_module_forward_many(linear, RL_TENSORS(x), made, 0);
    expect(RL_INVALID_ARGUMENT, "no room for an output");
    rl_module_forward_many(NULL, RL_TENSORS(x), made, 1);
    expect(RL_INVALID_ARGUMENT, "self is NULL");
    assert_int_equal(rl_module_forward_many(linear, RL_TENSORS(x), made, 1), RL_OK);
    assert_shape(made[0], RL_DIMS(4, 2, 4));
}

/* Classes built before there was forward_many end with describe. */
static rl_tensor *same_forward(rl_module *self, rl_tensor *input) {
    (void)self;
    return input;
}
static void test_shorter_class(void **state) {
    (void)state;
    static const rl_module_class old = {
        .struct_size = offsetof(rl_module_class, forward_many), .name = "Old", .forward = same_forward};
    RL_SCOPE();
    rl_module *self = rl_module_new(&old);
    rl_tensor *x = rl_ones(RL_DIMS(2)), *made = NULL;
    assert_ptr_equal(rl_module_forward(self, x), x);
    assert_int_equal(rl_module_forward_many(self, RL_TENSORS(x), &made, 1), RL_OK);
    assert_ptr_equal(made, x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_cells), cmocka_unit_test(test_layouts), cmocka_unit_test(test_parameters),
        cmocka_unit_test(test_dropout),       cmocka_unit_test(test_printed), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_shorter_class),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
