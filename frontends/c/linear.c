/* SPDX-License-Identifier: Apache-2.0 */
/* The classic first script: one weight and one bias learn y = 2x. */
#include <rushlight/rushlight.h>
#include <stdio.h>

int main(void) {
    rl_manual_seed(0);
    rl_module *net = rl_nn_linear(1, 1);
    rl_optimizer *sgd = rl_optimizer_sgd(net, .lr = 0.01);
    rl_tensor *x = rl_tensor_from_data((float[]){1, 2, 3}, RL_DIMS(3, 1), RL_F32, NULL);
    rl_tensor *y = rl_tensor_from_data((float[]){2, 4, 6}, RL_DIMS(3, 1), RL_F32, NULL);

    for (int epoch = 0; epoch < 100; epoch++) {
        RL_SCOPE();
        rl_tensor *loss = rl_mse_loss(rl_module_forward(net, x), y);
        rl_optimizer_zero_grad(sgd);
        rl_backward(loss);
        rl_optimizer_step(sgd);
        if ((epoch + 1) % 10 == 0)
            printf("epoch %3d  loss %.6f\n", epoch + 1, rl_item(loss));
    }
    printf("weight %.4f  bias %.4f\n", rl_item(rl_module_tensor(net, "weight")),
           rl_item(rl_module_tensor(net, "bias")));

    int failed = rl_failed();
    if (failed)
        fprintf(stderr, "%s\n", rl_error_text());
    rl_shutdown();
    return failed;
}
