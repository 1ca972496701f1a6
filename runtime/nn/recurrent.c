/* SPDX-License-Identifier: Apache-2.0 */
/* Recurrent layers and cells: parameters and states around the ops rnn_tanh, rnn_relu, lstm, gru and those of cells. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/sized.h"
#include "nn/module.h"
#include "nn/numbers.h"
#include "rushlight/ops.h"

#define DATA(self) rl_module_data(self)
#define MOST_LAYERS 4096 /* beyond it, a mistake */

typedef enum cell_kind { TANH, RELU, LSTM, GRU } cell_kind;

typedef struct recurrent { /* of layers and cells */
    cell_kind kind;
    int64_t input, hidden, layers, directions;
    bool bias, batch_first;
    double dropout;
    rl_tensor **params; /* borrowed from the entries, in their order */
    int64_t n_params;
} recurrent;

static int64_t states_of(const recurrent *r) {
    return r->kind == LSTM ? 2 : 1;
}

/* Making ---------------------------------------------------------------------------------------------------------- */

/* The options that layers and cells share, checked. */
static rl_status check_sizes(const char *what, int64_t input, int64_t hidden) {
    return input >= 0 && hidden > 0
               ? RL_OK
               : rl_fail(RL_INVALID_ARGUMENT,
                         "%s: input_size must not be negative and hidden_size must be positive, got %lld and %lld",
                         what, (long long)input, (long long)hidden);
}

static rl_status read_nonlinearity(const char *what, const char *word, cell_kind *out) {
    if (word == NULL || strcmp(word, "tanh") == 0 || strcmp(word, "relu") == 0) {
        *out = word && *word == 'r' ? RELU : TANH;
        return RL_OK;
    }
    return rl_fail(RL_INVALID_ARGUMENT, "%s: nonlinearity must be 'tanh' or 'relu', got '%.40s'", what, word);
}

static void add_parameter(rl_module *self, const char *name, rl_ints shape, rl_device *device, rl_dtype dtype) {
    recurrent *r = DATA(self);
    double bound = 1.0 / sqrt((double)r->hidden);
    rl_tensor *p = rl_empty(shape, .dtype = dtype, .device = device);
    if (rl_module_add_parameter(self, name, rl_init_uniform(p, -bound, bound)))
        r->params[r->n_params++] = p;
}

/* weight_ih, weight_hh, bias_ih, bias_hh with `suffix`. */
static void add_parameters(rl_module *self, const char *suffix, int64_t input, rl_device *device, rl_dtype dtype) {
    static const int64_t gates[] = {[TANH] = 1, [RELU] = 1, [LSTM] = 4, [GRU] = 3};
    static const char *const names[] = {"weight_ih", "weight_hh", "bias_ih", "bias_hh"};
    const recurrent *r = DATA(self);
    int64_t rows = gates[r->kind] * r->hidden;
    for (int i = 0; i < (r->bias ? 4 : 2) && !rl_failed(); i++) {
        char name[64];
        snprintf(name, sizeof name, "%s%s", names[i], suffix);
        rl_ints shape = i == 0 ? RL_DIMS(rows, input) : i == 1 ? RL_DIMS(rows, r->hidden) : RL_DIMS(rows);
        add_parameter(self, name, shape, device, dtype);
    }
}

static rl_module *make(const rl_module_class *klass, const recurrent *given) {
    rl_module *self;
    recurrent *r;
    int64_t count = given->layers * given->directions * (given->bias ? 4 : 2);
    rl_tensor **params = rl_alloc_zero((size_t)count, sizeof *params, "parameters of a recurrent layer");
    if (params == NULL)
        return NULL;
    if (!(self = rl_module_new(klass))) {
        rl_free(params);
        return NULL;
    }
    r = DATA(self);
    *r = *given;
    r->params = params;
    return self;
}

static void destroy(rl_module *self) {
    recurrent *r = DATA(self);
    rl_free(r->params);
}

/* Running --------------------------------------------------------------------------------------------------------- */

static const char *name_of(const rl_module *self) {
    return self->klass->name;
}

static rl_status check_inputs(const rl_module *self, rl_tensors inputs, int64_t n_outputs, int64_t most_outputs,
                              int64_t ndim) {
    const recurrent *r = DATA(self);
    const rl_tensor *x = inputs.data[0];
    int64_t dims = rl_tensor_ndim(x), features = dims > 0 ? rl_tensor_shape(x)[dims - 1] : -1;
    if (inputs.count != 1 && inputs.count != 1 + states_of(r))
        return rl_fail(RL_INVALID_ARGUMENT, "%s: takes the input alone or with %lld states, got %lld tensors",
                       name_of(self), (long long)states_of(r), (long long)inputs.count);
    for (int64_t i = 0; i < inputs.count; i++)
        if (inputs.data[i] == NULL)
            return rl_fail(RL_INVALID_ARGUMENT, "%s: input %lld is NULL", name_of(self), (long long)i);
    if (n_outputs > most_outputs)
        return rl_fail(RL_INVALID_ARGUMENT, "%s: gives %lld outputs, not %lld", name_of(self), (long long)most_outputs,
                       (long long)n_outputs);
    if (dims != ndim && dims != ndim - 1)
        return rl_fail(RL_SHAPE_MISMATCH, "%s: input must have %lld dimensions, or %lld without a batch, has %lld",
                       name_of(self), (long long)ndim, (long long)ndim - 1, (long long)dims);
    if (features != r->input)
        return rl_fail(RL_SHAPE_MISMATCH, "%s: input must end with input_size %lld, ends with %lld", name_of(self),
                       (long long)r->input, (long long)features);
    return RL_OK;
}

/* The states given, with a batch, or zeros. */
static void take_states(const recurrent *r, rl_tensors inputs, bool batched, int64_t dim, rl_ints shape,
                        rl_tensor **out) {
    const rl_tensor *x = inputs.data[0];
    rl_tensor *zeros = NULL;
    for (int64_t i = 0; i < states_of(r); i++) {
        if (inputs.count > 1)
            out[i] = batched ? inputs.data[1 + i] : rl_unsqueeze(inputs.data[1 + i], dim);
        else if (zeros == NULL)
            out[i] = zeros = rl_zeros(shape, .dtype = rl_tensor_dtype(x), .device = rl_tensor_device(x));
        else
            out[i] = zeros;
    }
}

/* made[0 ..] are the output and the last states. */
static void run_op(const rl_module *self, rl_tensor *x, rl_tensor *const *states, rl_tensor **made) {
    const recurrent *r = DATA(self);
    rl_tensors params = RL_TENSORS_AT(r->params, r->n_params);
    bool train = rl_module_is_training(self), both = r->directions == 2;
    if (r->kind == LSTM) {
        rl_lstm_result y =
            rl_lstm(x, RL_TENSORS_AT(states, 2), params, r->bias, r->layers, r->dropout, train, both, r->batch_first);
        made[0] = y.output;
        made[1] = y.h_n;
        made[2] = y.c_n;
    } else if (r->kind == GRU) {
        rl_gru_result y = rl_gru(x, states[0], params, r->bias, r->layers, r->dropout, train, both, r->batch_first);
        made[0] = y.output;
        made[1] = y.h_n;
    } else if (r->kind == TANH) {
        rl_rnn_tanh_result y =
            rl_rnn_tanh(x, states[0], params, r->bias, r->layers, r->dropout, train, both, r->batch_first);
        made[0] = y.output;
        made[1] = y.h_n;
    } else {
        rl_rnn_relu_result y =
            rl_rnn_relu(x, states[0], params, r->bias, r->layers, r->dropout, train, both, r->batch_first);
        made[0] = y.output;
        made[1] = y.h_n;
    }
}

static rl_status layer_forward_many(rl_module *self, rl_tensors inputs, rl_tensor **outputs, int64_t n_outputs) {
    const recurrent *r = DATA(self);
    rl_tensor *x = inputs.data[0], *states[2] = {NULL}, *made[3] = {NULL};
    if (check_inputs(self, inputs, n_outputs, 1 + states_of(r), 3) != RL_OK)
        return rl_error_status();
    bool batched = rl_tensor_ndim(x) == 3;
    int64_t dim = r->batch_first ? 0 : 1, batch = batched ? rl_tensor_shape(x)[dim] : 1;
    take_states(r, inputs, batched, 1, RL_DIMS(r->layers * r->directions, batch, r->hidden), states);
    run_op(self, batched ? x : rl_unsqueeze(x, dim), states, made);
    for (int64_t i = 0; i < n_outputs && !rl_failed(); i++)
        outputs[i] = batched ? made[i] : rl_select(made[i], i == 0 ? dim : 1, 0);
    return rl_error_status();
}

static rl_status cell_forward_many(rl_module *self, rl_tensors inputs, rl_tensor **outputs, int64_t n_outputs) {
    const recurrent *r = DATA(self);
    rl_tensor *x = inputs.data[0], *states[2] = {NULL}, *made[2] = {NULL}, *const *p = r->params;
    if (check_inputs(self, inputs, n_outputs, states_of(r), 2) != RL_OK)
        return rl_error_status();
    bool batched = rl_tensor_ndim(x) == 2;
    rl_tensor *bias_ih = r->bias ? p[2] : NULL, *bias_hh = r->bias ? p[3] : NULL;
    take_states(r, inputs, batched, 0, RL_DIMS(batched ? rl_tensor_shape(x)[0] : 1, r->hidden), states);
    x = batched ? x : rl_unsqueeze(x, 0);
    if (r->kind == LSTM) {
        rl_lstm_cell_result y = rl_lstm_cell(x, RL_TENSORS_AT(states, 2), p[0], p[1], .b_ih = bias_ih, .b_hh = bias_hh);
        made[0] = y.h;
        made[1] = y.c;
    } else if (r->kind == GRU) {
        made[0] = rl_gru_cell(x, states[0], p[0], p[1], .b_ih = bias_ih, .b_hh = bias_hh);
    } else if (r->kind == TANH) {
        made[0] = rl_rnn_tanh_cell(x, states[0], p[0], p[1], .b_ih = bias_ih, .b_hh = bias_hh);
    } else {
        made[0] = rl_rnn_relu_cell(x, states[0], p[0], p[1], .b_ih = bias_ih, .b_hh = bias_hh);
    }
    for (int64_t i = 0; i < n_outputs && !rl_failed(); i++)
        outputs[i] = batched ? made[i] : rl_select(made[i], 0, 0);
    return rl_error_status();
}

static rl_tensor *layer_forward(rl_module *self, rl_tensor *input) {
    rl_tensor *output = NULL;
    return layer_forward_many(self, RL_TENSORS(input), &output, 1) == RL_OK ? output : NULL;
}
static rl_tensor *cell_forward(rl_module *self, rl_tensor *input) {
    rl_tensor *output = NULL;
    return cell_forward_many(self, RL_TENSORS(input), &output, 1) == RL_OK ? output : NULL;
}

/* Printed forms --------------------------------------------------------------------------------------------------- */

static void layer_describe(const rl_module *self, char *text, size_t room) {
    const recurrent *r = DATA(self);
    char layers[40] = "", dropout[FLOAT_TEXT + 16] = "";
    if (r->layers != 1)
        snprintf(layers, sizeof layers, ", num_layers=%lld", (long long)r->layers);
    if (r->dropout != 0.0)
        snprintf(dropout, sizeof dropout, ", dropout=%s", PYTHON_FLOAT(r->dropout));
    snprintf(text, room, "%lld, %lld%s%s%s%s%s", (long long)r->input, (long long)r->hidden, layers,
             r->bias ? "" : ", bias=False", r->batch_first ? ", batch_first=True" : "", dropout,
             r->directions == 2 ? ", bidirectional=True" : "");
}

static void cell_describe(const rl_module *self, char *text, size_t room) {
    const recurrent *r = DATA(self);
    snprintf(text, room, "%lld, %lld%s%s", (long long)r->input, (long long)r->hidden, r->bias ? "" : ", bias=False",
             r->kind == RELU ? ", nonlinearity=relu" : "");
}

#define RECURRENT_CLASS(klass, text, what)                                                                             \
    static const rl_module_class klass = {.struct_size = sizeof(rl_module_class),                                      \
                                          .name = text,                                                                \
                                          .data_bytes = sizeof(recurrent),                                             \
                                          .forward = what##_forward,                                                   \
                                          .destroy = destroy,                                                          \
                                          .describe = what##_describe,                                                 \
                                          .forward_many = what##_forward_many};
RECURRENT_CLASS(rnn_class, "RNN", layer)
RECURRENT_CLASS(lstm_class, "LSTM", layer)
RECURRENT_CLASS(gru_class, "GRU", layer)
RECURRENT_CLASS(rnn_cell_class, "RNNCell", cell)
RECURRENT_CLASS(lstm_cell_class, "LSTMCell", cell)
RECURRENT_CLASS(gru_cell_class, "GRUCell", cell)

/* Layers ---------------------------------------------------------------------------------------------------------- */

static rl_status check_layer(const char *what, cell_kind kind, const rl_nn_rnn_options *o, int64_t layers,
                             double dropout) {
    if (layers < 1 || layers > MOST_LAYERS)
        return rl_fail(RL_INVALID_ARGUMENT, "%s: num_layers must be 1 or more, got %lld", what, (long long)layers);
    if (!(dropout >= 0.0 && dropout <= 1.0))
        return rl_fail(RL_INVALID_ARGUMENT, "%s: dropout must lie within 0 and 1, got %g", what, dropout);
    if (rl_option_int(o->proj_size, 0) != 0)
        return rl_fail(kind == LSTM ? RL_UNSUPPORTED : RL_INVALID_ARGUMENT,
                       kind == LSTM ? "%s: projections are not there yet, proj_size must be 0, got %lld"
                                    : "%s: proj_size is of lstm alone, got %lld",
                       what, (long long)o->proj_size);
    if (o->nonlinearity != NULL && (kind == LSTM || kind == GRU))
        return rl_fail(RL_INVALID_ARGUMENT, "%s: nonlinearity is of rnn alone, got '%.40s'", what, o->nonlinearity);
    return RL_OK;
}

static rl_module *layer_new(const rl_module_class *klass, const char *what, cell_kind kind, int64_t input,
                            int64_t hidden, const rl_nn_rnn_options *given) {
    rl_nn_rnn_options o = {0};
    if (rl_failed() || rl_sized_take(what, &o, sizeof o, given) != RL_OK || check_sizes(what, input, hidden) != RL_OK)
        return NULL;
    int64_t layers = rl_option_int(o.num_layers, 1);
    double dropout = rl_option_real(o.dropout, 0.0);
    if (check_layer(what, kind, &o, layers, dropout) != RL_OK ||
        (kind == TANH && read_nonlinearity(what, o.nonlinearity, &kind) != RL_OK))
        return NULL;
    rl_module *self = make(klass, &(recurrent){.kind = kind,
                                               .input = input,
                                               .hidden = hidden,
                                               .layers = layers,
                                               .directions = o.bidirectional ? 2 : 1,
                                               .bias = rl_option_truth(o.bias, true),
                                               .batch_first = o.batch_first,
                                               .dropout = dropout});
    if (self == NULL)
        return NULL;
    RL_SCOPE();
    for (int64_t i = 0; i < layers * (o.bidirectional ? 2 : 1) && !rl_failed(); i++) {
        int64_t directions = o.bidirectional ? 2 : 1, layer = i / directions;
        char suffix[40];
        snprintf(suffix, sizeof suffix, "_l%lld%s", (long long)layer, i % directions ? "_reverse" : "");
        add_parameters(self, suffix, layer == 0 ? input : directions * hidden, o.device, o.dtype);
    }
    return rl_failed() ? NULL : self;
}

rl_module *rl_nn_rnn_opt(int64_t input_size, int64_t hidden_size, const rl_nn_rnn_options *options) {
    return layer_new(&rnn_class, "rnn", TANH, input_size, hidden_size, options);
}
rl_module *rl_nn_lstm_opt(int64_t input_size, int64_t hidden_size, const rl_nn_rnn_options *options) {
    return layer_new(&lstm_class, "lstm", LSTM, input_size, hidden_size, options);
}
rl_module *rl_nn_gru_opt(int64_t input_size, int64_t hidden_size, const rl_nn_rnn_options *options) {
    return layer_new(&gru_class, "gru", GRU, input_size, hidden_size, options);
}

/* Cells ----------------------------------------------------------------------------------------------------------- */

static rl_module *cell_new(const rl_module_class *klass, const char *what, cell_kind kind, int64_t input,
                           int64_t hidden, const rl_nn_rnn_cell_options *given) {
    rl_nn_rnn_cell_options o = {0};
    if (rl_failed() || rl_sized_take(what, &o, sizeof o, given) != RL_OK || check_sizes(what, input, hidden) != RL_OK)
        return NULL;
    if (o.nonlinearity != NULL && kind != TANH)
        return rl_fail_null(RL_INVALID_ARGUMENT, "%s: nonlinearity is of rnn_cell alone, got '%.40s'", what,
                            o.nonlinearity);
    if (read_nonlinearity(what, o.nonlinearity, kind == TANH ? &kind : &(cell_kind){TANH}) != RL_OK)
        return NULL;
    rl_module *self = make(klass, &(recurrent){.kind = kind,
                                               .input = input,
                                               .hidden = hidden,
                                               .layers = 1,
                                               .directions = 1,
                                               .bias = rl_option_truth(o.bias, true)});
    if (self == NULL)
        return NULL;
    RL_SCOPE();
    add_parameters(self, "", input, o.device, o.dtype);
    return rl_failed() ? NULL : self;
}

rl_module *rl_nn_rnn_cell_opt(int64_t input_size, int64_t hidden_size, const rl_nn_rnn_cell_options *options) {
    return cell_new(&rnn_cell_class, "rnn_cell", TANH, input_size, hidden_size, options);
}
rl_module *rl_nn_lstm_cell_opt(int64_t input_size, int64_t hidden_size, const rl_nn_rnn_cell_options *options) {
    return cell_new(&lstm_cell_class, "lstm_cell", LSTM, input_size, hidden_size, options);
}
rl_module *rl_nn_gru_cell_opt(int64_t input_size, int64_t hidden_size, const rl_nn_rnn_cell_options *options) {
    return cell_new(&gru_cell_class, "gru_cell", GRU, input_size, hidden_size, options);
}
