/* SPDX-License-Identifier: Apache-2.0 */
/* Works of training: whole steps, and an optimizer's alone. */
#include "works.h"

void prepare_seed_step(work_state *self) {
    self->net = rl_retain(rl_nn_linear(1, 1));
    self->optimizer = rl_retain(rl_optimizer_sgd(self->net, .lr = 0.01));
    self->a = rl_retain(rl_tensor_from_data((const float[]){1, 2, 3}, RL_DIMS(3, 1), RL_F32, NULL));
    self->b = rl_retain(rl_tensor_from_data((const float[]){2, 4, 6}, RL_DIMS(3, 1), RL_F32, NULL));
}
rl_tensor *run_seed_step(work_state *self) {
    rl_optimizer_zero_grad(self->optimizer);
    return work_train(self, rl_mse_loss(rl_module_forward(self->net, self->a), self->b));
}

void prepare_adam_10m(work_state *self) {
    self->a = work_normal(RL_DIMS(WORK_10M));
    rl_requires_grad(self->a, true);
    rl_set_grad(self->a, rl_randn(RL_DIMS(WORK_10M)));
    self->optimizer = rl_retain(rl_optimizer_adamw(NULL, .parameters = RL_TENSORS(self->a), .lr = 1e-3));
}
rl_tensor *run_adam_10m(work_state *self) {
    rl_optimizer_step(self->optimizer);
    return self->a;
}

void prepare_mlp_step(work_state *self) {
    self->net = rl_retain(rl_nn_sequential(rl_nn_linear(784, 512), rl_nn_relu(), rl_nn_linear(512, 256), rl_nn_relu(),
                                           rl_nn_linear(256, 10)));
    self->optimizer = rl_retain(rl_optimizer_adam(self->net, .lr = 1e-3));
    self->a = work_normal(RL_DIMS(128, 784));
    self->b = rl_retain(rl_randint(0, 10, RL_DIMS(128)));
}
rl_tensor *run_mlp_step(work_state *self) {
    rl_optimizer_zero_grad(self->optimizer);
    return work_train(self, rl_cross_entropy(rl_module_forward(self->net, self->a), self->b));
}
