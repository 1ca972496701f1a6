/* SPDX-License-Identifier: Apache-2.0 */
/* LeNet-5 (LeCun et al. 1998) with ReLU and max pooling, on Fashion-MNIST. */
#include "train.h"

int main(int argc, char **argv) {
    rl_manual_seed(0);
    rl_module *net =
        rl_nn_sequential(rl_nn_conv2d(1, 6, 5, .padding = 2), rl_nn_relu(), rl_nn_max_pool2d(2), rl_nn_conv2d(6, 16, 5),
                         rl_nn_relu(), rl_nn_max_pool2d(2), rl_nn_flatten(1, -1), rl_nn_linear(16 * 5 * 5, 120),
                         rl_nn_relu(), rl_nn_linear(120, 84), rl_nn_relu(), rl_nn_linear(84, 10));
    return train_on_fashion(net, 2e-3, argc, argv);
}
