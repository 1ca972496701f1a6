/* SPDX-License-Identifier: Apache-2.0 */
/* The models that train and compare know by name, for images of 28 x 28 in one channel and ten classes. */
#include <string.h>

#include "command.h"

static rl_module *mlp_new(void) {
    return rl_nn_sequential(rl_nn_flatten(1, -1), rl_nn_linear(784, 512), rl_nn_relu(), rl_nn_linear(512, 256),
                            rl_nn_relu(), rl_nn_linear(256, 10));
}

static rl_module *cnn_new(void) {
    return rl_nn_sequential(rl_nn_conv2d(1, 32, 3, .padding = 1), rl_nn_batch_norm2d(32), rl_nn_relu(),
                            rl_nn_max_pool2d(2), rl_nn_conv2d(32, 64, 3, .padding = 1), rl_nn_batch_norm2d(64),
                            rl_nn_relu(), rl_nn_max_pool2d(2), rl_nn_flatten(1, -1), rl_nn_linear(3136, 128),
                            rl_nn_relu(), rl_nn_linear(128, 10));
}

/* ResNet-18 (He et al. 2015) as it is built for small images: a first convolution of 3 x 3 and no first pooling.
 * ------------------------------------------------------------------------------------------------------------------ */

typedef struct block { /* borrowed from the module's children; shortcut NULL: the input itself */
    rl_module *body, *shortcut;
} block;

static rl_tensor *block_forward(rl_module *self, rl_tensor *x) {
    const block *b = rl_module_data(self);
    rl_tensor *y = rl_module_forward(b->body, x);
    return rl_relu(rl_add(y, b->shortcut ? rl_module_forward(b->shortcut, x) : x));
}
static const rl_module_class block_class = {.struct_size = sizeof(rl_module_class),
                                            .name = "BasicBlock",
                                            .data_bytes = sizeof(block),
                                            .forward = block_forward};

static rl_module *block_new(int64_t in, int64_t out, int64_t stride) {
    rl_module *self = rl_module_new(&block_class);
    block *b = rl_module_data(self);
    if (b == NULL)
        return NULL;
    b->body = rl_module_add(self, "body",
                            rl_nn_sequential(rl_nn_conv2d(in, out, 3, .stride = stride, .padding = 1, .bias = RL_ZERO),
                                             rl_nn_batch_norm2d(out), rl_nn_relu(),
                                             rl_nn_conv2d(out, out, 3, .padding = 1, .bias = RL_ZERO),
                                             rl_nn_batch_norm2d(out)));
    if (in != out || stride != 1)
        b->shortcut = rl_module_add(
            self, "shortcut",
            rl_nn_sequential(rl_nn_conv2d(in, out, 1, .stride = stride, .bias = RL_ZERO), rl_nn_batch_norm2d(out)));
    return self;
}

static rl_module *resnet18_new(void) {
    return rl_nn_sequential(rl_nn_conv2d(1, 64, 3, .padding = 1, .bias = RL_ZERO), rl_nn_batch_norm2d(64), rl_nn_relu(),
                            block_new(64, 64, 1), block_new(64, 64, 1), block_new(64, 128, 2), block_new(128, 128, 1),
                            block_new(128, 256, 2), block_new(256, 256, 1), block_new(256, 512, 2),
                            block_new(512, 512, 1), rl_nn_adaptive_avg_pool2d(RL_DIMS(1)), rl_nn_flatten(1, -1),
                            rl_nn_linear(512, 10));
}

static const struct model {
    const char *name;
    rl_module *(*make)(void);
    bool small;
} models[] = {{"mlp", mlp_new, true}, {"cnn", cnn_new, true}, {"resnet18", resnet18_new, false}};
#define N_MODELS ((int)(sizeof models / sizeof models[0]))

static const struct model *find(const char *name) {
    for (int i = 0; i < N_MODELS; i++)
        if (!strcmp(models[i].name, name))
            return &models[i];
    return NULL;
}

bool model_known(const char *name) {
    return find(name) != NULL;
}
bool model_small(const char *name) {
    return find(name) && find(name)->small;
}

const char *model_names(void) {
    return "mlp, cnn, resnet18";
}

/* Convolutions compute with channels innermost; their weights are laid out so, and results follow. */
rl_module *model_new(const char *name) {
    const struct model *model = find(name);
    rl_module *made = model ? model->make() : NULL;
    return made && rl_module_to_memory_format(made, "channels_last") == RL_OK ? made : NULL;
}
