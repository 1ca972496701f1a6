/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recurrent networks of several layers and directions, and single cells, made of linear and rnn_direction. The input's
 * part of the gates is one product for all steps. The bias of the state's part joins the input's, where the cell only
 * ever sees their sum (all but GRU).
 */
#include <assert.h>
#include <string.h>

#include "base/memory.h"
#include "ops/op_rnn.h"

typedef struct network { /* the arguments of a call */
    rl_rnn_cell cell;
    rl_tensor *input, *h0, *c0; /* states (layers directions, batch, hidden) */
    rl_tensors params; /* of each layer and direction: weight_ih, weight_hh and, with biases, bias_ih, bias_hh */
    bool biases, train, bidirectional, batch_first;
    int64_t layers, directions;
    double dropout;
    bool keep; /* a derivative may follow */
} network;

typedef struct outcome { /* of one direction of one layer; c is NULL but for LSTM */
    rl_tensor *h, *c, *last_h, *last_c;
} outcome;

static bool is_differentiated(const rl_tensor *x) {
    return rl_recording_ && x && x->requires_grad;
}

/* The weights of one layer and direction; biases are NULL where there are none. */
typedef struct weights {
    rl_tensor *ih, *hh, *bias_ih, *bias_hh;
} weights;

static weights weights_of(const network *n, int64_t number) {
    rl_tensor *const *p = n->params.data + number * (n->biases ? 4 : 2);
    return n->biases ? (weights){p[0], p[1], p[2], p[3]} : (weights){p[0], p[1], NULL, NULL};
}

/* x (.., features) to gates (.., G hidden); bias_hh is taken away where it went in. */
static rl_tensor *gates_of(rl_rnn_cell cell, rl_tensor *x, weights *w) {
    rl_tensor *bias = w->bias_ih;
    if (cell != RL_RNN_GRU && w->bias_hh != NULL) {
        bias = bias ? rl_add(bias, w->bias_hh) : w->bias_hh;
        w->bias_hh = NULL;
    }
    return rl_linear(x, w->ih, .bias = bias);
}

/* x lies as the call's input does; h comes out alike. */
static outcome run_direction(const network *n, rl_tensor *x, int64_t number, bool reverse) {
    weights w = weights_of(n, number);
    rl_tensor *gates = gates_of(n->cell, x, &w);
    if (n->batch_first)
        gates = rl_transpose(gates, 0, 1);
    rl_rnn_direction_result made = rl_rnn_direction(
        gates, w.hh, w.bias_hh, rl_select(n->h0, 0, number), n->c0 ? rl_select(n->c0, 0, number) : NULL,
        rl_rnn_cell_name(n->cell), .reverse = reverse, .keep = n->keep ? 1 : RL_ZERO);
    if (rl_failed())
        return (outcome){0};
    int64_t last = reverse ? 0 : made.h->shape[0] - 1;
    return (outcome){.h = n->batch_first ? rl_transpose(made.h, 0, 1) : made.h,
                     .last_h = rl_select(made.h, 0, last),
                     .last_c = n->c0 ? rl_select(made.c, 0, last) : NULL};
}

/* Layer after layer; last_h and last_c get the final states of all layers and directions. */
static rl_tensor *run_layers(const network *n, rl_tensor **last_h, rl_tensor **last_c) {
    rl_tensor *x = n->input;
    for (int64_t layer = 0; layer < n->layers; layer++) {
        rl_tensor *parts[2] = {NULL};
        for (int64_t d = 0; d < n->directions; d++) {
            int64_t number = layer * n->directions + d;
            outcome made = run_direction(n, x, number, d == 1);
            parts[d] = made.h;
            last_h[number] = made.last_h;
            last_c[number] = made.last_c;
        }
        if (rl_failed())
            return NULL;
        x = n->directions == 2 ? rl_cat(RL_TENSORS_AT(parts, 2), .dim = 2) : parts[0];
        if (n->train && n->dropout > 0.0 && layer + 1 < n->layers)
            x = rl_dropout(x, n->dropout, true);
    }
    return x;
}

static rl_status run_network(rl_call *call, const network *n) {
    int64_t count = n->layers * n->directions;
    rl_tensor **last = rl_alloc_zero((size_t)count, 2 * sizeof *last, "final states");
    if (last == NULL)
        return rl_error_status();
    call->results[0] = run_layers(n, last, last + count);
    if (call->results[0] != NULL) {
        call->results[1] = rl_stack(RL_TENSORS_AT(last, count));
        if (n->cell == RL_RNN_LSTM)
            call->results[2] = rl_stack(RL_TENSORS_AT(last + count, count));
    }
    rl_free(last);
    return rl_error_status();
}

/* The arguments of a network's call ------------------------------------------------------------------------------- */

enum { INPUT, HX, PARAMS, BIASES, LAYERS, DROPOUT, TRAIN, BIDIRECTIONAL, BATCH_FIRST };

static rl_status check_params(const rl_call *call, const network *n) {
    int64_t each = n->biases ? 4 : 2, wanted = n->layers * n->directions * each;
    if (n->params.count != wanted)
        return rl_call_fail(call, RL_INVALID_ARGUMENT,
                            "params has %lld tensors and must have %lld: %lld for each layer and direction",
                            (long long)n->params.count, (long long)wanted, (long long)each);
    for (int64_t i = 0; i < wanted; i++)
        if (i % each < 2 && n->params.data[i]->ndim != 2)
            return rl_call_fail(call, RL_SHAPE_MISMATCH, "params[%lld] is a weight and must have 2 dimensions, has %d",
                                (long long)i, (int)n->params.data[i]->ndim);
    return RL_OK;
}

static rl_status check_state(const rl_call *call, const network *n, const rl_tensor *state, const char *name) {
    assert(n->input != NULL && n->params.data != NULL && n->params.data[1] != NULL);
    int64_t want[] = {n->layers * n->directions, n->input->shape[n->batch_first ? 0 : 1], n->params.data[1]->shape[1]};
    char have[RL_SHAPE_TEXT], text[RL_SHAPE_TEXT];
    if (state->ndim == 3 && memcmp(state->shape, want, sizeof want) == 0)
        return RL_OK;
    return rl_call_fail(call, RL_SHAPE_MISMATCH, "%s %s must have shape (layers directions, batch, hidden), here %s",
                        name, rl_shape_text(state->ndim, state->shape, have), rl_shape_text(3, want, text));
}

static rl_status check_input(const rl_call *call, const network *n) {
    char text[RL_SHAPE_TEXT];
    if (n->layers < 1)
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "num_layers must be at least 1, got %lld", (long long)n->layers);
    if (!(n->dropout >= 0.0 && n->dropout <= 1.0))
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "dropout must lie within 0 and 1, got %g", n->dropout);
    if (n->input->ndim != 3)
        return rl_call_fail(call, RL_SHAPE_MISMATCH, "input %s must have 3 dimensions %s",
                            rl_shape_text(n->input->ndim, n->input->shape, text),
                            n->batch_first ? "(batch, steps, features)" : "(steps, batch, features)");
    if (n->input->shape[n->batch_first ? 1 : 0] == 0)
        return rl_call_fail(call, RL_SHAPE_MISMATCH, "input %s must have at least one step",
                            rl_shape_text(n->input->ndim, n->input->shape, text));
    return check_params(call, n);
}

static void take_network(const rl_call *call, rl_rnn_cell cell, network *n) {
    *n = (network){.cell = cell,
                   .input = rl_arg_tensor(call, INPUT),
                   .params = call->args[PARAMS].as.tensors,
                   .biases = rl_arg_bool(call, BIASES),
                   .train = rl_arg_bool(call, TRAIN),
                   .bidirectional = rl_arg_bool(call, BIDIRECTIONAL),
                   .batch_first = rl_arg_bool(call, BATCH_FIRST),
                   .layers = rl_arg_int(call, LAYERS),
                   .dropout = rl_arg_double(call, DROPOUT)};
    n->directions = n->bidirectional ? 2 : 1;
}

/* The rest, once the states are known. */
static rl_status lower_network(rl_call *call, network *n) {
    rl_status status = check_input(call, n);
    if (status == RL_OK)
        status = check_state(call, n, n->h0, "hx");
    if (status == RL_OK && n->c0 != NULL)
        status = check_state(call, n, n->c0, "hx[1]");
    if (status != RL_OK)
        return status;
    n->keep = is_differentiated(n->input) || is_differentiated(n->h0) || is_differentiated(n->c0);
    for (int64_t i = 0; i < n->params.count; i++)
        n->keep |= is_differentiated(n->params.data[i]);
    return run_network(call, n);
}

static rl_status lstm_lower(rl_call *call) {
    network n;
    rl_tensors hx = call->args[HX].as.tensors;
    take_network(call, RL_RNN_LSTM, &n);
    if (hx.count != 2)
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "hx has %lld tensors and must have 2: h0 and c0",
                            (long long)hx.count);
    n.h0 = hx.data[0];
    n.c0 = hx.data[1];
    return lower_network(call, &n);
}

static rl_status lower_other(rl_call *call, rl_rnn_cell cell) {
    network n;
    take_network(call, cell, &n);
    n.h0 = rl_arg_tensor(call, HX);
    return lower_network(call, &n);
}
static rl_status gru_lower(rl_call *call) {
    return lower_other(call, RL_RNN_GRU);
}
static rl_status rnn_tanh_lower(rl_call *call) {
    return lower_other(call, RL_RNN_TANH);
}
static rl_status rnn_relu_lower(rl_call *call) {
    return lower_other(call, RL_RNN_RELU);
}

/* Declarations ---------------------------------------------------------------------------------------------------- */

static const rl_sample lstm_samples[] = {
    {"f[3,2,4], [f[1,2,3], f[1,2,3]], [f[12,4], f[12,3], f[12], f[12]], true, 1, 0.0, false, false, false"},
    {"f[2,3,4], [f[1,2,3], f[1,2,3]], [f[12,4], f[12,3]], false, 1, 0.0, true, false, true"},
    {"f[2,3,2], [f[4,3,1], f[4,3,1]], [f[4,2], f[4,1], f[4,2], f[4,1], f[4,2], f[4,1], f[4,2], f[4,1]], false, 2, 0.5, "
     "false, true, false"},
    {"f[3,2,1], [f[2,3,1], f[2,3,1]], [f[4,1], f[4,1], f[4], f[4], f[4,1], f[4,1], f[4], f[4]], true, 1, 0.0, false, "
     "true, true"},
    {0}};
static const rl_bad lstm_bad[] = {
    {"f[3,2,4], [f[1,2,3]], [f[12,4], f[12,3]], false, 1, 0.0, false, false, false", RL_INVALID_ARGUMENT,
     "hx has 1 tensors and must have 2"},
    {"f[3,2,4], [f[1,2,3], f[1,2,3]], [f[12,4], f[12,3]], true, 1, 0.0, false, false, false", RL_INVALID_ARGUMENT,
     "params has 2 tensors and must have 4"},
    {"f[3,2,4], [f[1,3,3], f[1,2,3]], [f[12,4], f[12,3]], false, 1, 0.0, false, false, false", RL_SHAPE_MISMATCH,
     "hx (1, 3, 3) must have shape (layers directions, batch, hidden), here (1, 2, 3)"},
    {"f[2,4], [f[1,2,3], f[1,2,3]], [f[12,4], f[12,3]], false, 1, 0.0, false, false, false", RL_SHAPE_MISMATCH,
     "input (2, 4) must have 3 dimensions"},
    {"f[0,2,4], [f[1,2,3], f[1,2,3]], [f[12,4], f[12,3]], false, 1, 0.0, false, false, false", RL_SHAPE_MISMATCH,
     "at least one step"},
    {"f[3,2,5], [f[1,2,3], f[1,2,3]], [f[12,4], f[12,3]], false, 1, 0.0, false, false, false", RL_SHAPE_MISMATCH,
     "5 and 4 must be equal"},
    {"f[3,2,4], [f[1,2,3], f[1,2,3]], [f[12,4], f[12,3]], false, 0, 0.0, false, false, false", RL_INVALID_ARGUMENT,
     "num_layers must be at least 1"},
    {0}};

const rl_op_def rl_op_def_lstm = {
    .schema = "lstm(Tensor input, Tensor[] hx, Tensor[] params, bool has_biases, int num_layers, float dropout, "
              "bool train, bool bidirectional, bool batch_first) -> (Tensor output, Tensor h_n, Tensor c_n)",
    .doc = "i, f, o = sigmoid(u_i, u_f, u_o), g = tanh(u_g), c = f c' + i g, h = o tanh(c); u = W_ih x + b_ih + W_hh "
           "h' + b_hh",
    .note = "input (steps, batch, features), or (batch, steps, features) with batch_first; hx is h0, c0 (layers "
            "directions, batch, hidden); params are, for each layer and direction, weight_ih (4 hidden, features), "
            "weight_hh (4 hidden, hidden) and, with has_biases, bias_ih and bias_hh. Hochreiter and Schmidhuber 1997.",
    .flags = RL_OP_COMPOSITE | RL_OP_AUTOCAST_LOW,
    .lower = lstm_lower,
    .samples = lstm_samples,
    .bad = lstm_bad,
};

static const rl_sample gru_samples[] = {
    {"f[3,2,4], f[1,2,3], [f[9,4], f[9,3], f[9], f[9]], true, 1, 0.0, false, false, false"},
    {"f[2,3,2], f[4,2,1], [f[3,2], f[3,1], f[3,2], f[3,1], f[3,2], f[3,1], f[3,2], f[3,1]], false, 2, 0.5, false, "
     "true, "
     "true"},
    {0}};
static const rl_bad network_bad[] = {{"f[3,2,4], f[1,2,3], [f[9,4], f[9,3], f[9]], true, 1, 0.0, false, false, false",
                                      RL_INVALID_ARGUMENT, "params has 3 tensors and must have 4"},
                                     {"f[3,2,4], f[1,2,3], [f[9,4], f[9]], false, 1, 0.0, false, false, false",
                                      RL_SHAPE_MISMATCH, "params[1] is a weight and must have 2 dimensions"},
                                     {"f[3,2,4], f[2,2,3], [f[9,4], f[9,3]], false, 1, 0.0, false, false, false",
                                      RL_SHAPE_MISMATCH, "hx (2, 2, 3) must have shape"},
                                     {"f[3,2,4], f[1,2,3], [f[9,4], f[9,3]], false, 1, 1.5, false, false, false",
                                      RL_INVALID_ARGUMENT, "dropout must lie within 0 and 1"},
                                     {0}};

const rl_op_def rl_op_def_gru = {
    .schema = "gru(Tensor input, Tensor hx, Tensor[] params, bool has_biases, int num_layers, float dropout, "
              "bool train, bool bidirectional, bool batch_first) -> (Tensor output, Tensor h_n)",
    .doc = "r, z = sigmoid(u_r, u_z), n = tanh(W_in x + b_in + r (W_hn h' + b_hn)), h = (1 - z) n + z h'",
    .note = "As lstm, with blocks of 3 hidden. Cho et al. 2014, the variant that multiplies after the product.",
    .flags = RL_OP_COMPOSITE | RL_OP_AUTOCAST_LOW,
    .lower = gru_lower,
    .samples = gru_samples,
    .bad = network_bad,
};

static const rl_sample rnn_samples[] = {
    {"f[3,2,4], f[1,2,3], [f[3,4], f[3,3], f[3], f[3]], true, 1, 0.0, false, false, false"},
    {"f[2,3,2], f[4,2,1], [f[1,2], f[1,1], f[1,2], f[1,1], f[1,2], f[1,1], f[1,2], f[1,1]], false, 2, 0.5, false, "
     "true, "
     "true"},
    {0}};

const rl_op_def rl_op_def_rnn_tanh = {
    .schema = "rnn_tanh(Tensor input, Tensor hx, Tensor[] params, bool has_biases, int num_layers, float dropout, "
              "bool train, bool bidirectional, bool batch_first) -> (Tensor output, Tensor h_n)",
    .doc = "h = tanh(W_ih x + b_ih + W_hh h' + b_hh)",
    .note = "As lstm, with blocks of hidden. Elman 1990.",
    .flags = RL_OP_COMPOSITE | RL_OP_AUTOCAST_LOW,
    .lower = rnn_tanh_lower,
    .samples = rnn_samples,
    .bad = network_bad,
};

const rl_op_def rl_op_def_rnn_relu = {
    .schema = "rnn_relu(Tensor input, Tensor hx, Tensor[] params, bool has_biases, int num_layers, float dropout, "
              "bool train, bool bidirectional, bool batch_first) -> (Tensor output, Tensor h_n)",
    .doc = "h = max(W_ih x + b_ih + W_hh h' + b_hh, 0)",
    .note = "As rnn_tanh.",
    .flags = RL_OP_COMPOSITE | RL_OP_AUTOCAST_LOW,
    .lower = rnn_relu_lower,
    .samples = rnn_samples,
    .bad = network_bad,
};

/* Cells ----------------------------------------------------------------------------------------------------------- */

/* One step: a network of one layer and step, whose weights stand one by one from argument 2 on. */
static rl_status run_cell(rl_call *call, rl_rnn_cell cell, rl_tensor *h, rl_tensor *c) {
    rl_tensor *x = rl_arg_tensor(call, 0);
    weights w = {rl_arg_tensor(call, 2), rl_arg_tensor(call, 3), rl_arg_tensor(call, 4), rl_arg_tensor(call, 5)};
    char text[RL_SHAPE_TEXT];
    if (x->ndim != 2)
        return rl_call_fail(call, RL_SHAPE_MISMATCH, "input %s must have 2 dimensions (batch, features)",
                            rl_shape_text(x->ndim, x->shape, text));
    bool keep = is_differentiated(x) || is_differentiated(h) || is_differentiated(c);
    for (int i = 2; i < 6; i++)
        keep |= is_differentiated(rl_arg_tensor(call, i));
    rl_tensor *gates = rl_unsqueeze(gates_of(cell, x, &w), 0);
    rl_rnn_direction_result made =
        rl_rnn_direction(gates, w.hh, w.bias_hh, h, c, rl_rnn_cell_name(cell), .keep = keep ? 1 : RL_ZERO);
    if (rl_failed())
        return rl_error_status();
    call->results[0] = rl_select(made.h, 0, 0);
    if (cell == RL_RNN_LSTM)
        call->results[1] = rl_select(made.c, 0, 0);
    return rl_error_status();
}

static rl_status lstm_cell_lower(rl_call *call) {
    rl_tensors hx = call->args[1].as.tensors;
    if (hx.count != 2)
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "hx has %lld tensors and must have 2: h and c",
                            (long long)hx.count);
    return run_cell(call, RL_RNN_LSTM, hx.data[0], hx.data[1]);
}
static rl_status gru_cell_lower(rl_call *call) {
    return run_cell(call, RL_RNN_GRU, rl_arg_tensor(call, 1), NULL);
}
static rl_status rnn_tanh_cell_lower(rl_call *call) {
    return run_cell(call, RL_RNN_TANH, rl_arg_tensor(call, 1), NULL);
}
static rl_status rnn_relu_cell_lower(rl_call *call) {
    return run_cell(call, RL_RNN_RELU, rl_arg_tensor(call, 1), NULL);
}

static const rl_sample lstm_cell_samples[] = {{"f[2,4], [f[2,3], f[2,3]], f[12,4], f[12,3], f[12], f[12]"},
                                              {"f[2,4], [f[2,3], f[2,3]], f[12,4], f[12,3]"},
                                              {"f[0,4], [f[0,3], f[0,3]], f[12,4], f[12,3], f[12], f[12]"},
                                              {0}};
static const rl_bad lstm_cell_bad[] = {
    {"f[2,4], [f[2,3]], f[12,4], f[12,3]", RL_INVALID_ARGUMENT, "hx has 1 tensors and must have 2"},
    {"f[4], [f[2,3], f[2,3]], f[12,4], f[12,3]", RL_SHAPE_MISMATCH, "input (4) must have 2 dimensions"},
    {"f[2,4], [f[3,3], f[2,3]], f[12,4], f[12,3]", RL_SHAPE_MISMATCH, "h0 (3, 3) must be (batch, hidden)"},
    {0}};

const rl_op_def rl_op_def_lstm_cell = {
    .schema = "lstm_cell(Tensor input, Tensor[] hx, Tensor w_ih, Tensor w_hh, Tensor? b_ih=None, Tensor? b_hh=None) -> "
              "(Tensor h, Tensor c)",
    .doc = "one step of lstm: the state after it",
    .note = "input (batch, features); hx is h, c (batch, hidden).",
    .flags = RL_OP_COMPOSITE | RL_OP_AUTOCAST_LOW,
    .lower = lstm_cell_lower,
    .samples = lstm_cell_samples,
    .bad = lstm_cell_bad,
};

static const rl_sample gru_cell_samples[] = {
    {"f[2,4], f[2,3], f[9,4], f[9,3], f[9], f[9]"}, {"f[2,4], f[2,3], f[9,4], f[9,3]"}, {0}};
static const rl_bad cell_bad[] = {
    {"f[4], f[2,3], f[9,4], f[9,3]", RL_SHAPE_MISMATCH, "input (4) must have 2 dimensions"},
    {"f[2,4], f[2,3], f[9,4], f[9,2]", RL_SHAPE_MISMATCH, "weight_hh (9, 2) must be"},
    {0}};

const rl_op_def rl_op_def_gru_cell = {
    .schema = "gru_cell(Tensor input, Tensor hx, Tensor w_ih, Tensor w_hh, Tensor? b_ih=None, Tensor? b_hh=None) -> "
              "Tensor",
    .doc = "one step of gru: the state after it",
    .note = "input (batch, features); hx (batch, hidden).",
    .flags = RL_OP_COMPOSITE | RL_OP_AUTOCAST_LOW,
    .lower = gru_cell_lower,
    .samples = gru_cell_samples,
    .bad = cell_bad,
};

static const rl_sample rnn_cell_samples[] = {
    {"f[2,4], f[2,3], f[3,4], f[3,3], f[3], f[3]"}, {"f[2,4], f[2,3], f[3,4], f[3,3]"}, {0}};

const rl_op_def rl_op_def_rnn_tanh_cell = {
    .schema = "rnn_tanh_cell(Tensor input, Tensor hx, Tensor w_ih, Tensor w_hh, Tensor? b_ih=None, Tensor? b_hh=None) "
              "-> Tensor",
    .doc = "one step of rnn_tanh: the state after it",
    .note = "input (batch, features); hx (batch, hidden).",
    .flags = RL_OP_COMPOSITE | RL_OP_AUTOCAST_LOW,
    .lower = rnn_tanh_cell_lower,
    .samples = rnn_cell_samples,
    .bad = cell_bad,
};

const rl_op_def rl_op_def_rnn_relu_cell = {
    .schema = "rnn_relu_cell(Tensor input, Tensor hx, Tensor w_ih, Tensor w_hh, Tensor? b_ih=None, Tensor? b_hh=None) "
              "-> Tensor",
    .doc = "one step of rnn_relu: the state after it",
    .note = "input (batch, features); hx (batch, hidden).",
    .flags = RL_OP_COMPOSITE | RL_OP_AUTOCAST_LOW,
    .lower = rnn_relu_cell_lower,
    .samples = rnn_cell_samples,
    .bad = cell_bad,
};
