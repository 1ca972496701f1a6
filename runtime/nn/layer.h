/* SPDX-License-Identifier: Apache-2.0 */
/* Layers that are one op and a few numbers, in a line each. Included by the files of layers alone. */
#ifndef RUSHLIGHT_RUNTIME_NN_LAYER_H
#define RUSHLIGHT_RUNTIME_NN_LAYER_H

#include <stdio.h>
#include <string.h>

#include "base/sized.h"
#include "nn/module.h"
#include "nn/numbers.h"
#include "rushlight/ops.h"

typedef struct layer_numbers { /* what such a layer is made with */
    double a, b;
    int64_t i, j;
    char word[16];
} layer_numbers;

/* A layer of one op and its numbers: op, printed name, forward expression and description. */
#define LAYER(op, text, expression, ...)                                                                               \
    static rl_tensor *op##_forward(rl_module *self, rl_tensor *input) {                                                \
        const layer_numbers *n = rl_module_data(self);                                                                 \
        (void)n;                                                                                                       \
        return expression;                                                                                             \
    }                                                                                                                  \
    static void op##_describe(const rl_module *self, char *out, size_t room) {                                         \
        const layer_numbers *n = rl_module_data(self);                                                                 \
        (void)n;                                                                                                       \
        snprintf(out, room, __VA_ARGS__);                                                                              \
    }                                                                                                                  \
    static const rl_module_class op##_class = {.struct_size = sizeof(rl_module_class),                                 \
                                               .name = text,                                                           \
                                               .data_bytes = sizeof(layer_numbers),                                    \
                                               .forward = op##_forward,                                                \
                                               .describe = op##_describe};

static inline rl_module *layer_new(const rl_module_class *klass, layer_numbers given) {
    rl_module *self = rl_module_new(klass);
    if (self)
        memcpy(rl_module_data(self), &given, sizeof given);
    return self;
}

#endif
