/* SPDX-License-Identifier: Apache-2.0 */
/* A network on Fashion-MNIST: fashion [FOLDER [EPOCHS]]. RUSHLIGHT_DEVICE picks the device. */
#include "train.h"

int main(int argc, char **argv) {
    rl_manual_seed(0);
    rl_module *net = rl_nn_sequential(rl_nn_flatten(1, -1), rl_nn_linear(784, 256), rl_nn_relu(), rl_nn_dropout(0.1),
                                      rl_nn_linear(256, 10));
    return train_on_fashion(net, 1e-3, argc, argv);
}
