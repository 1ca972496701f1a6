/* SPDX-License-Identifier: Apache-2.0 */
/* Layers: each a class of a few lines over an op. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/sized.h"
#include "nn/layer.h"
#include "rushlight/autograd.h"
#include "rushlight/ops.h"

#define DATA(self) rl_module_data(self)

/* Linear
 * ---------------------------------------------------------------------------------------------------------------- */

typedef struct linear {
    int64_t in, out;
    rl_tensor *weight, *bias; /* borrowed from the entries */
} linear;

static rl_tensor *linear_forward(rl_module *self, rl_tensor *input) {
    const linear *l = DATA(self);
    return rl_linear(input, l->weight, .bias = l->bias);
}
static void linear_describe(const rl_module *self, char *text, size_t room) {
    const linear *l = DATA(self);
    snprintf(text, room, "in_features=%lld, out_features=%lld, bias=%s", (long long)l->in, (long long)l->out,
             l->bias ? "True" : "False");
}
static const rl_module_class linear_class = {.struct_size = sizeof(rl_module_class),
                                             .name = "Linear",
                                             .data_bytes = sizeof(linear),
                                             .forward = linear_forward,
                                             .describe = linear_describe};

/* The projection of what attention gives, as PyTorch prints it. */
static const rl_module_class out_proj_class = {.struct_size = sizeof(rl_module_class),
                                               .name = "NonDynamicallyQuantizableLinear",
                                               .data_bytes = sizeof(linear),
                                               .forward = linear_forward,
                                               .describe = linear_describe};

static rl_module *linear_new(const rl_module_class *klass, int64_t in, int64_t out, const rl_nn_linear_options *given) {
    rl_nn_linear_options options = {0};
    rl_module *self;
    double bound;
    linear *l;
    if (rl_failed() || rl_sized_take("linear", &options, sizeof options, given) != RL_OK)
        return NULL;
    if (in < 0 || out < 0)
        return rl_fail_null(RL_INVALID_ARGUMENT, "linear: features must not be negative, got %lld and %lld",
                            (long long)in, (long long)out);
    if (!(self = rl_module_new(klass)))
        return NULL;
    l = DATA(self);
    l->in = in;
    l->out = out;
    bound = in > 0 ? 1.0 / sqrt((double)in) : 0.0;
    RL_SCOPE();
    RL_WITHIN("linear");
    l->weight = rl_empty(RL_DIMS(out, in), .dtype = options.dtype, .device = options.device);
    rl_init_kaiming_uniform(l->weight, sqrt(5.0));
    rl_module_add_parameter(self, "weight", l->weight);
    if (rl_option_truth(options.bias, true)) {
        l->bias = rl_empty(RL_DIMS(out), .dtype = options.dtype, .device = options.device);
        rl_init_uniform(l->bias, -bound, bound);
        rl_module_add_parameter(self, "bias", l->bias);
    }
    return rl_failed() ? NULL : self;
}

rl_module *rl_nn_linear_opt(int64_t in, int64_t out, const rl_nn_linear_options *options) {
    return linear_new(&linear_class, in, out, options);
}
rl_module *rl_nn_out_proj(int64_t in, int64_t out, const rl_nn_linear_options *options) {
    return linear_new(&out_proj_class, in, out, options);
}

/* Activations
 * ------------------------------------------------------------------------------------------------------------ */

#define ACTIVATION(op, text)                                                                                           \
    static rl_tensor *op##_forward(rl_module *self, rl_tensor *input) {                                                \
        (void)self;                                                                                                    \
        return rl_##op(input);                                                                                         \
    }                                                                                                                  \
    static const rl_module_class op##_class = {                                                                        \
        .struct_size = sizeof(rl_module_class), .name = text, .forward = op##_forward};                                \
    rl_module *rl_nn_##op(void) {                                                                                      \
        return rl_module_new(&op##_class);                                                                             \
    }
RL_NN_ACTIVATION_LIST(ACTIVATION)

LAYER(gelu, "GELU", rl_gelu(input, .approximate = n->word), "approximate='%s'", n->word)
LAYER(leaky_relu, "LeakyReLU", rl_leaky_relu(input, .negative_slope = rl_option_of_real(n->a)), "negative_slope=%s",
      PYTHON_FLOAT(n->a))
LAYER(elu, "ELU", rl_elu(input, .alpha = rl_option_of_real(n->a)), "alpha=%s", PYTHON_FLOAT(n->a))
LAYER(softplus, "Softplus", rl_softplus(input, .beta = rl_option_of_real(n->a), .threshold = rl_option_of_real(n->b)),
      "beta=%s, threshold=%s", PYTHON_FLOAT(n->a), PYTHON_FLOAT(n->b))
LAYER(softmax, "Softmax", rl_softmax(input, n->i), "dim=%lld", (long long)n->i)
LAYER(log_softmax, "LogSoftmax", rl_log_softmax(input, n->i), "dim=%lld", (long long)n->i)
LAYER(identity, "Identity", input, "%s", "")
LAYER(dropout, "Dropout", rl_dropout(input, n->a, rl_module_is_training(self)), "p=%s, inplace=False",
      PYTHON_FLOAT(n->a))
LAYER(flatten, "Flatten", rl_flatten(input, .start_dim = rl_option_of_int(n->i), .end_dim = rl_option_of_int(n->j)),
      "start_dim=%lld, end_dim=%lld", (long long)n->i, (long long)n->j)

rl_module *rl_nn_gelu(const char *approximate) {
    layer_numbers n = {0};
    const char *word = approximate ? approximate : "none";
    if (rl_failed())
        return NULL;
    if (strcmp(word, "none") != 0 && strcmp(word, "tanh") != 0)
        return rl_fail_null(RL_INVALID_ARGUMENT, "gelu: approximate must be 'none' or 'tanh', got '%.40s'", word);
    snprintf(n.word, sizeof n.word, "%s", word);
    return layer_new(&gelu_class, n);
}
rl_module *rl_nn_leaky_relu(double slope) {
    return layer_new(&leaky_relu_class, (layer_numbers){.a = slope});
}
rl_module *rl_nn_elu(double alpha) {
    return layer_new(&elu_class, (layer_numbers){.a = alpha});
}
rl_module *rl_nn_softplus(double beta, double threshold) {
    return layer_new(&softplus_class, (layer_numbers){.a = beta, .b = threshold});
}
rl_module *rl_nn_softmax(int64_t dim) {
    return layer_new(&softmax_class, (layer_numbers){.i = dim});
}
rl_module *rl_nn_log_softmax(int64_t dim) {
    return layer_new(&log_softmax_class, (layer_numbers){.i = dim});
}
rl_module *rl_nn_identity(void) {
    return layer_new(&identity_class, (layer_numbers){0});
}
rl_module *rl_nn_dropout(double p) {
    if (!rl_failed() && !(p >= 0.0 && p <= 1.0))
        return rl_fail_null(RL_INVALID_ARGUMENT, "dropout: p must lie within 0 and 1, got %g", p);
    return layer_new(&dropout_class, (layer_numbers){.a = p});
}
rl_module *rl_nn_flatten(int64_t start_dim, int64_t end_dim) {
    return layer_new(&flatten_class, (layer_numbers){.i = start_dim, .j = end_dim});
}

/* Sequential
 * ------------------------------------------------------------------------------------------------------------- */

/* A product and the ReLU after it as one op; NULL where `self` is no product. */
static rl_tensor *forward_with_relu(rl_module *self, rl_tensor *input) {
    if (self->klass->forward != linear_forward)
        return rl_nn_conv_with_relu(self, input);
    const linear *l = DATA(self);
    return rl_linear_activation(input, l->weight, .bias = l->bias, .activation = "relu");
}

static rl_tensor *sequential_forward(rl_module *self, rl_tensor *input) {
    for (int64_t i = 0; i < self->n_entries && !rl_failed(); i++) {
        rl_module *child = entry_child(&self->entries[i]);
        rl_module *next = child && i + 1 < self->n_entries ? entry_child(&self->entries[i + 1]) : NULL;
        rl_tensor *both = next && next->klass->forward == relu_forward ? forward_with_relu(child, input) : NULL;
        if (both)
            i++;
        if (child)
            input = both ? both : rl_module_forward(child, input);
    }
    return input;
}
static const rl_module_class sequential_class = {
    .struct_size = sizeof(rl_module_class), .name = "Sequential", .forward = sequential_forward};

rl_module *rl_nn_sequential_of(rl_module *const *modules, int64_t count) {
    rl_module *self = rl_module_new(&sequential_class);
    char name[24];
    if (self && (count < 0 || (count > 0 && modules == NULL)))
        return rl_fail_null(RL_INVALID_ARGUMENT, "sequential: got %lld modules at %s", (long long)count,
                            modules ? "their address" : "NULL");
    for (int64_t i = 0; self && i < count; i++) {
        snprintf(name, sizeof name, "%lld", (long long)i);
        if (!rl_module_add(self, name, modules[i]))
            return NULL;
    }
    return self;
}
