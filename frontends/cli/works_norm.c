/* SPDX-License-Identifier: Apache-2.0 */
/* Works of normalization, pooling and attention. */
#include "works.h"

/* Of y by x and the parameters, with the gradient b. */
static rl_tensor *backward(work_state *self, rl_tensor *y) {
    rl_backward(y, .gradient = self->b);
    return rl_grad(self->a);
}

void prepare_layernorm_4m(work_state *self) {
    self->net = rl_retain(rl_nn_layer_norm(RL_DIMS(1024)));
    self->a = work_normal(RL_DIMS(4096, 1024));
}
rl_tensor *run_layernorm_4m(work_state *self) {
    RL_NO_GRAD();
    return rl_module_forward(self->net, self->a);
}

void prepare_layernorm_fb(work_state *self) {
    prepare_layernorm_4m(self);
    self->b = work_normal(RL_DIMS(4096, 1024));
    rl_requires_grad(self->a, true);
}
rl_tensor *run_layernorm_fb(work_state *self) {
    rl_set_grad(self->a, NULL);
    rl_module_zero_grad(self->net);
    return backward(self, rl_module_forward(self->net, self->a));
}

void prepare_batch_norm_fb(work_state *self) {
    self->net = rl_retain(rl_nn_batch_norm2d(32));
    self->a = work_normal(RL_DIMS(64, 32, 28, 28));
    self->b = work_normal(RL_DIMS(64, 32, 28, 28));
    rl_requires_grad(self->a, true);
}
rl_tensor *run_batch_norm_fb(work_state *self) {
    return run_layernorm_fb(self);
}

void prepare_max_pool(work_state *self) {
    self->a = work_normal(RL_DIMS(64, 32, 28, 28));
}
rl_tensor *run_max_pool(work_state *self) {
    return rl_max_pool2d(self->a, RL_DIMS(2, 2));
}

/* q, k and v are a, b and c. */
void prepare_attention(work_state *self) {
    self->a = work_normal(RL_DIMS(1, 8, 1024, 64));
    self->b = work_normal(RL_DIMS(1, 8, 1024, 64));
    self->c = work_normal(RL_DIMS(1, 8, 1024, 64));
}
rl_tensor *run_attention(work_state *self) {
    return rl_scaled_dot_product_attention(self->a, self->b, self->c);
}

void prepare_attention_fb(work_state *self) {
    prepare_attention(self);
    self->d = work_normal(RL_DIMS(1, 8, 1024, 64));
    rl_requires_grad(self->a, true);
    rl_requires_grad(self->b, true);
    rl_requires_grad(self->c, true);
}
rl_tensor *run_attention_fb(work_state *self) {
    rl_set_grad(self->a, NULL);
    rl_set_grad(self->b, NULL);
    rl_set_grad(self->c, NULL);
    rl_backward(run_attention(self), .gradient = self->d);
    return rl_grad(self->a);
}
