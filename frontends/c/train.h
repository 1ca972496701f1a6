/* SPDX-License-Identifier: Apache-2.0 */
/* What the image models beside this file share: a training on Fashion-MNIST, NAME [FOLDER [EPOCHS]]. */
#include <rushlight/rushlight.h>
#include <stdio.h>
#include <stdlib.h>

static double accuracy(rl_module *net, rl_loader *loader) {
    double right = 0, seen = 0;
    rl_tensor *x, *y;
    RL_NO_GRAD();
    while (rl_loader_next2(loader, &x, &y)) {
        RL_SCOPE();
        right += rl_item(rl_sum(rl_eq(rl_argmax(rl_module_forward(net, x), .dim = 1), y)));
        seen += (double)rl_tensor_size(y, 0);
    }
    return right / seen;
}

/* Returns the program's exit status. */
static int train_on_fashion(rl_module *net, double lr, int argc, char **argv) {
    const char *folder = argc > 1 ? argv[1] : "/usr/share/datasets/fashion-mnist";
    int epochs = argc > 2 ? atoi(argv[2]) : 5;
    rl_loader *train = rl_loader_new(rl_dataset_mnist(folder, true), .batch_size = 128, .shuffle = true);
    rl_loader *test = rl_loader_new(rl_dataset_mnist(folder, false), .batch_size = 1000);
    rl_optimizer *adam = rl_optimizer_adamw(net, .lr = lr);
    rl_tensor *x, *y;
    for (int epoch = 1; epoch <= epochs && !rl_failed(); epoch++) {
        rl_module_train(net, true);
        while (rl_loader_next2(train, &x, &y)) {
            RL_SCOPE();
            rl_tensor *loss = rl_cross_entropy(rl_module_forward(net, x), y);
            rl_optimizer_zero_grad(adam);
            rl_backward(loss);
            rl_optimizer_step(adam);
        }
        rl_module_train(net, false);
        printf("epoch %d  test accuracy %.2f %%\n", epoch, 100.0 * accuracy(net, test));
        fflush(stdout);
    }
    int failed = rl_failed();
    if (failed)
        fprintf(stderr, "%s\n", rl_error_text());
    rl_shutdown();
    return failed;
}
