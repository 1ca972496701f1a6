/* SPDX-License-Identifier: Apache-2.0 */
/* A small vision transformer (Dosovitskiy et al. 2020): patches of 4 x 4 as tokens, four blocks of width 64. */
#include "train.h"

enum { WIDTH = 64, HEADS = 4, TOKENS = 49 };

typedef struct block {
    rl_module *norm1, *qkv, *out, *norm2, *mlp;
} block;

static rl_tensor *block_forward(rl_module *self, rl_tensor *x) { /* (batch, tokens, width) */
    const block *b = rl_module_data(self);
    int64_t n = rl_tensor_size(x, 0), t = rl_tensor_size(x, 1);
    rl_tensor *qkv = rl_module_forward(b->qkv, rl_module_forward(b->norm1, x));
    rl_tensor *part = rl_permute(rl_view(qkv, RL_DIMS(n, t, 3, HEADS, WIDTH / HEADS)), RL_DIMS(2, 0, 3, 1, 4));
    rl_tensor *y = rl_scaled_dot_product_attention(rl_select(part, 0, 0), rl_select(part, 0, 1), rl_select(part, 0, 2));
    y = rl_reshape(rl_transpose(y, 1, 2), RL_DIMS(n, t, WIDTH));
    x = rl_add(x, rl_module_forward(b->out, y));
    return rl_add(x, rl_module_forward(b->mlp, rl_module_forward(b->norm2, x)));
}
static const rl_module_class block_class = {
    .struct_size = sizeof(rl_module_class), .name = "Block", .data_bytes = sizeof(block), .forward = block_forward};

static rl_module *block_new(void) {
    rl_module *self = rl_module_new(&block_class);
    block *b = rl_module_data(self);
    if (b == NULL)
        return NULL;
    b->norm1 = rl_module_add(self, "norm1", rl_nn_layer_norm(RL_DIMS(WIDTH)));
    b->qkv = rl_module_add(self, "qkv", rl_nn_linear(WIDTH, 3 * WIDTH));
    b->out = rl_module_add(self, "out", rl_nn_linear(WIDTH, WIDTH));
    b->norm2 = rl_module_add(self, "norm2", rl_nn_layer_norm(RL_DIMS(WIDTH)));
    b->mlp = rl_module_add(
        self, "mlp",
        rl_nn_sequential(rl_nn_linear(WIDTH, 4 * WIDTH), rl_nn_gelu(NULL), rl_nn_linear(4 * WIDTH, WIDTH)));
    return self;
}

static rl_tensor *vit_forward(rl_module *self, rl_tensor *images) {
    rl_tensor *patches = rl_module_forward(rl_module_child(self, "patches"), images); /* (batch, width, 7, 7) */
    rl_tensor *x = rl_add(rl_transpose(rl_flatten(patches, .start_dim = 2), 1, 2), rl_module_tensor(self, "positions"));
    x = rl_module_forward(rl_module_child(self, "blocks"), x);
    return rl_module_forward(rl_module_child(self, "head"), rl_mean(x, .dim = RL_DIMS(1)));
}
static const rl_module_class vit_class = {
    .struct_size = sizeof(rl_module_class), .name = "ViT", .forward = vit_forward};

int main(int argc, char **argv) {
    rl_manual_seed(0);
    rl_module *net = rl_module_new(&vit_class);
    rl_module_add(net, "patches", rl_nn_conv2d(1, WIDTH, 4, .stride = 4));
    rl_module_add_parameter(net, "positions", rl_init_normal(rl_empty(RL_DIMS(TOKENS, WIDTH)), 0, 0.02));
    rl_module_add(net, "blocks", rl_nn_sequential(block_new(), block_new(), block_new(), block_new()));
    rl_module_add(net, "head", rl_nn_sequential(rl_nn_layer_norm(RL_DIMS(WIDTH)), rl_nn_linear(WIDTH, 10)));
    return train_on_fashion(net, 1e-3, argc, argv);
}
