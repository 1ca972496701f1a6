/* SPDX-License-Identifier: Apache-2.0 */
/* Layers: each a class of a few lines over an op. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/sized.h"
#include "nn/module.h"
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
static const rl_module_class linear_class = {sizeof(rl_module_class), "Linear", sizeof(linear),
                                             linear_forward,          NULL,     linear_describe};

rl_module *rl_nn_linear_opt(int64_t in, int64_t out, const rl_nn_linear_options *given) {
    rl_nn_linear_options options = {0};
    rl_module *self;
    double bound;
    linear *l;
    if (rl_failed() || rl_sized_take("linear", &options, sizeof options, given) != RL_OK)
        return NULL;
    if (in < 0 || out < 0)
        return rl_fail_null(RL_INVALID_ARGUMENT, "linear: features must not be negative, got %lld and %lld",
                            (long long)in, (long long)out);
    if (!(self = rl_module_new(&linear_class)))
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
    if (options.bias != RL_ZERO) {
        l->bias = rl_empty(RL_DIMS(out), .dtype = options.dtype, .device = options.device);
        rl_init_uniform(l->bias, -bound, bound);
        rl_module_add_parameter(self, "bias", l->bias);
    }
    return rl_failed() ? NULL : self;
}

/* Activations
 * ------------------------------------------------------------------------------------------------------------ */

#define ACTIVATION(name, text)                                                                                         \
    static rl_tensor *name##_forward(rl_module *self, rl_tensor *input) {                                              \
        (void)self;                                                                                                    \
        return rl_##name(input);                                                                                       \
    }                                                                                                                  \
    static const rl_module_class name##_class = {sizeof(rl_module_class), text, 0, name##_forward, NULL, NULL};        \
    rl_module *rl_nn_##name(void) {                                                                                    \
        return rl_module_new(&name##_class);                                                                           \
    }
RL_NN_ACTIVATION_LIST(ACTIVATION)

typedef struct numbers { /* what the layers below are made with */
    double a, b;
    int64_t i, j;
    char word[16];
} numbers;

/* A layer of one op and its numbers: name, printed name, forward expression and description. */
#define LAYER(name, text, expression, ...)                                                                             \
    static rl_tensor *name##_forward(rl_module *self, rl_tensor *input) {                                              \
        const numbers *n = DATA(self);                                                                                 \
        (void)n;                                                                                                       \
        return expression;                                                                                             \
    }                                                                                                                  \
    static void name##_describe(const rl_module *self, char *out, size_t room) {                                       \
        const numbers *n = DATA(self);                                                                                 \
        (void)n;                                                                                                       \
        snprintf(out, room, __VA_ARGS__);                                                                              \
    }                                                                                                                  \
    static const rl_module_class name##_class = {sizeof(rl_module_class), text, sizeof(numbers),                       \
                                                 name##_forward,          NULL, name##_describe};

static double real(double x) {
    return x == 0.0 ? (double)RL_ZERO : x;
} /* zero meant as zero, in an option */

LAYER(gelu, "GELU", rl_gelu(input, .approximate = n->word), "approximate='%s'", n->word)
LAYER(leaky_relu, "LeakyReLU", rl_leaky_relu(input, .negative_slope = real(n->a)), "negative_slope=%g", n->a)
LAYER(elu, "ELU", rl_elu(input, .alpha = real(n->a)), "alpha=%g", n->a)
LAYER(softplus, "Softplus", rl_softplus(input, .beta = real(n->a), .threshold = real(n->b)), "beta=%g, threshold=%g",
      n->a, n->b)
LAYER(softmax, "Softmax", rl_softmax(input, n->i), "dim=%lld", (long long)n->i)
LAYER(log_softmax, "LogSoftmax", rl_log_softmax(input, n->i), "dim=%lld", (long long)n->i)
LAYER(identity, "Identity", input, "%s", "")
LAYER(dropout, "Dropout", rl_dropout(input, n->a, rl_module_is_training(self)), "p=%g, inplace=False", n->a)
LAYER(flatten, "Flatten", rl_flatten(input, .start_dim = n->i ? n->i : RL_ZERO, .end_dim = n->j ? n->j : RL_ZERO),
      "start_dim=%lld, end_dim=%lld", (long long)n->i, (long long)n->j)

static rl_module *layer_new(const rl_module_class *klass, numbers given) {
    rl_module *self = rl_module_new(klass);
    if (self)
        memcpy(DATA(self), &given, sizeof given);
    return self;
}

rl_module *rl_nn_gelu(const char *approximate) {
    numbers n = {0};
    const char *word = approximate ? approximate : "none";
    if (rl_failed())
        return NULL;
    if (strcmp(word, "none") != 0 && strcmp(word, "tanh") != 0)
        return rl_fail_null(RL_INVALID_ARGUMENT, "gelu: approximate must be 'none' or 'tanh', got '%.40s'", word);
    snprintf(n.word, sizeof n.word, "%s", word);
    return layer_new(&gelu_class, n);
}
rl_module *rl_nn_leaky_relu(double slope) {
    return layer_new(&leaky_relu_class, (numbers){.a = slope});
}
rl_module *rl_nn_elu(double alpha) {
    return layer_new(&elu_class, (numbers){.a = alpha});
}
rl_module *rl_nn_softplus(double beta, double threshold) {
    return layer_new(&softplus_class, (numbers){.a = beta, .b = threshold});
}
rl_module *rl_nn_softmax(int64_t dim) {
    return layer_new(&softmax_class, (numbers){.i = dim});
}
rl_module *rl_nn_log_softmax(int64_t dim) {
    return layer_new(&log_softmax_class, (numbers){.i = dim});
}
rl_module *rl_nn_identity(void) {
    return layer_new(&identity_class, (numbers){0});
}
rl_module *rl_nn_dropout(double p) {
    if (!rl_failed() && !(p >= 0.0 && p <= 1.0))
        return rl_fail_null(RL_INVALID_ARGUMENT, "dropout: p must lie within 0 and 1, got %g", p);
    return layer_new(&dropout_class, (numbers){.a = p});
}
rl_module *rl_nn_flatten(int64_t start_dim, int64_t end_dim) {
    return layer_new(&flatten_class, (numbers){.i = start_dim, .j = end_dim});
}

/* Sequential
 * ------------------------------------------------------------------------------------------------------------- */

static rl_tensor *sequential_forward(rl_module *self, rl_tensor *input) {
    for (int64_t i = 0; i < self->n_entries; i++)
        if (entry_child(&self->entries[i]))
            input = rl_module_forward(entry_child(&self->entries[i]), input);
    return input;
}
static const rl_module_class sequential_class = {sizeof(rl_module_class), "Sequential", 0,
                                                 sequential_forward,      NULL,         NULL};

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
