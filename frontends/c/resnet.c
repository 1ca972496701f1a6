/* SPDX-License-Identifier: Apache-2.0 */
/* ResNet-18 (He et al. 2015) for images of 32 x 32 or less: a block is a module of one's own. */
#include "train.h"

typedef struct block {
    rl_module *body, *shortcut; /* shortcut NULL: the input as it is */
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

static rl_module *convolution(int64_t in, int64_t out, int64_t kernel, int64_t stride) {
    return rl_nn_conv2d(in, out, kernel, .stride = stride, .padding = kernel / 2, .bias = RL_ZERO);
}

static rl_module *residual(int64_t in, int64_t out, int64_t stride) {
    rl_module *self = rl_module_new(&block_class);
    block *b = rl_module_data(self);
    if (b == NULL)
        return NULL;
    b->body = rl_module_add(self, "body",
                            rl_nn_sequential(convolution(in, out, 3, stride), rl_nn_batch_norm2d(out), rl_nn_relu(),
                                             convolution(out, out, 3, 1), rl_nn_batch_norm2d(out)));
    if (in != out)
        b->shortcut =
            rl_module_add(self, "shortcut", rl_nn_sequential(convolution(in, out, 1, stride), rl_nn_batch_norm2d(out)));
    return self;
}

int main(int argc, char **argv) {
    rl_manual_seed(0);
    rl_module *net =
        rl_nn_sequential(convolution(1, 64, 3, 1), rl_nn_batch_norm2d(64), rl_nn_relu(), residual(64, 64, 1),
                         residual(64, 64, 1), residual(64, 128, 2), residual(128, 128, 1), residual(128, 256, 2),
                         residual(256, 256, 1), residual(256, 512, 2), residual(512, 512, 1),
                         rl_nn_adaptive_avg_pool2d(RL_DIMS(1)), rl_nn_flatten(1, -1), rl_nn_linear(512, 10));
    rl_module_to_memory_format(net, "channels_last"); /* as convolutions like it */
    return train_on_fashion(net, 1e-3, argc, argv);
}
