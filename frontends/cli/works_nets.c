/* SPDX-License-Identifier: Apache-2.0 */
/* Works of whole networks: convolutional, recurrent, and a small GPT. */
#include "command.h"
#include "works.h"

void prepare_cnn_step(work_state *self) {
    self->net = rl_retain(model_new("cnn"));
    self->optimizer = rl_retain(rl_optimizer_sgd(self->net, .lr = 0.1, .momentum = 0.9));
    self->a = work_normal(RL_DIMS(64, 1, 28, 28));
    self->b = rl_retain(rl_randint(0, 10, RL_DIMS(64)));
}
rl_tensor *run_cnn_step(work_state *self) {
    rl_optimizer_zero_grad(self->optimizer);
    return work_train(self, rl_cross_entropy(rl_module_forward(self->net, self->a), self->b));
}

void prepare_lstm_step(work_state *self) {
    self->net = rl_retain(rl_nn_lstm(128, 128, .batch_first = true));
    self->optimizer = rl_retain(rl_optimizer_sgd(self->net, .lr = 0.1));
    self->a = work_normal(RL_DIMS(32, 32, 128));
}
rl_tensor *run_lstm_step(work_state *self) {
    rl_optimizer_zero_grad(self->optimizer);
    return work_train(self, rl_sum(rl_module_forward(self->net, self->a)));
}

/* A small GPT
 * ------------------------------------------------------------------------------------------------------------------ */

enum { WORDS = 96, WIDTH = 128, HEADS = 4, LAYERS = 4, LENGTH = 64, BATCH = 12 };

typedef struct block { /* borrowed: the module retains its children */
    rl_module *l1, *l2, *qkv, *proj, *up, *down;
} block;

static rl_tensor *block_forward(rl_module *self, rl_tensor *x) {
    const block *b = rl_module_data(self);
    int64_t batch = rl_tensor_size(x, 0), length = rl_tensor_size(x, 1);
    rl_ints heads = RL_DIMS(batch, length, HEADS, WIDTH / HEADS);
    rl_tensor *qkv = rl_module_forward(b->qkv, rl_module_forward(b->l1, x)), *part[3], *y;
    for (int i = 0; i < 3; i++)
        part[i] = rl_transpose(rl_view(rl_narrow(qkv, 2, i * WIDTH, WIDTH), heads), 1, 2);
    y = rl_scaled_dot_product_attention(part[0], part[1], part[2], .is_causal = true);
    y = rl_view(rl_contiguous(rl_transpose(y, 1, 2)), RL_DIMS(batch, length, WIDTH));
    x = rl_add(x, rl_module_forward(b->proj, y));
    y = rl_gelu(rl_module_forward(b->up, rl_module_forward(b->l2, x)));
    return rl_add(x, rl_module_forward(b->down, y));
}

static const rl_module_class block_class = {
    .struct_size = sizeof(rl_module_class), .name = "Block", .data_bytes = sizeof(block), .forward = block_forward};

static rl_module *block_new(void) {
    rl_module *self = rl_module_new(&block_class);
    block *b = rl_module_data(self);
    if (!b)
        return NULL;
    b->l1 = rl_module_add(self, "l1", rl_nn_layer_norm(RL_DIMS(WIDTH)));
    b->l2 = rl_module_add(self, "l2", rl_nn_layer_norm(RL_DIMS(WIDTH)));
    b->qkv = rl_module_add(self, "qkv", rl_nn_linear(WIDTH, 3 * WIDTH));
    b->proj = rl_module_add(self, "proj", rl_nn_linear(WIDTH, WIDTH));
    b->up = rl_module_add(self, "up", rl_nn_linear(WIDTH, 4 * WIDTH));
    b->down = rl_module_add(self, "down", rl_nn_linear(4 * WIDTH, WIDTH));
    return self;
}

typedef struct gpt {
    rl_module *tok, *pos, *blocks, *ln, *head;
} gpt;

/* tokens (batch, length) -> (batch, length, WORDS) */
static rl_tensor *gpt_forward(rl_module *self, rl_tensor *tokens) {
    const gpt *g = rl_module_data(self);
    rl_tensor *places = rl_arange(rl_tensor_size(tokens, 1));
    rl_tensor *x = rl_add(rl_module_forward(g->tok, tokens), rl_module_forward(g->pos, places));
    return rl_module_forward(g->head, rl_module_forward(g->ln, rl_module_forward(g->blocks, x)));
}

static const rl_module_class gpt_class = {
    .struct_size = sizeof(rl_module_class), .name = "GPT", .data_bytes = sizeof(gpt), .forward = gpt_forward};

static rl_module *gpt_new(void) {
    rl_module *self = rl_module_new(&gpt_class), *blocks[LAYERS];
    gpt *g = rl_module_data(self);
    if (!g)
        return NULL;
    for (int i = 0; i < LAYERS; i++)
        blocks[i] = block_new();
    g->tok = rl_module_add(self, "tok", rl_nn_embedding(WORDS, WIDTH));
    g->pos = rl_module_add(self, "pos", rl_nn_embedding(LENGTH, WIDTH));
    g->blocks = rl_module_add(self, "blocks", rl_nn_sequential_of(blocks, LAYERS));
    g->ln = rl_module_add(self, "ln", rl_nn_layer_norm(RL_DIMS(WIDTH)));
    g->head = rl_module_add(self, "head", rl_nn_linear(WIDTH, WORDS, .bias = RL_ZERO));
    return self;
}

void prepare_gpt_step(work_state *self) {
    self->net = rl_retain(gpt_new());
    self->optimizer = rl_retain(rl_optimizer_adamw(self->net, .lr = 1e-3));
    self->a = rl_retain(rl_randint(0, WORDS, RL_DIMS(BATCH, LENGTH)));
    self->b = rl_retain(rl_randint(0, WORDS, RL_DIMS(BATCH * LENGTH)));
}
rl_tensor *run_gpt_step(work_state *self) {
    rl_optimizer_zero_grad(self->optimizer);
    rl_tensor *logits = rl_view(rl_module_forward(self->net, self->a), RL_DIMS(-1, WORDS));
    return work_train(self, rl_cross_entropy(logits, self->b));
}

void prepare_gpt_decode(work_state *self) {
    self->net = rl_retain(gpt_new());
    rl_module_train(self->net, false);
    self->a = rl_retain(rl_randint(0, WORDS, RL_DIMS(1, LENGTH)));
}
rl_tensor *run_gpt_decode(work_state *self) {
    RL_NO_GRAD();
    return rl_module_forward(self->net, self->a);
}
