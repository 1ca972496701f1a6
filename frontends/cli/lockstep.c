/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lockstep: training is chaotic, so two devices that both compute rightly drift apart within ten steps. Here ref
 * trains; at steps 0, every, 2 every, ... the other device is given ref's very state and batch and computes loss and
 * gradients, which must agree with ref's.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"

#define PARAMETERS_MOST 64

typedef struct pair {
    rl_module *reference, *other;
    rl_tensor *reference_parameters[PARAMETERS_MOST], *other_parameters[PARAMETERS_MOST];
    int64_t count;
    rl_device *device;
} pair;

/* |a - b| / |b| in the 2-norm, computed on the host in double. */
static rl_status relative_difference(const rl_tensor *a, const rl_tensor *b, double *out) {
    int64_t n = rl_tensor_numel(b);
    float *x = malloc((size_t)n * sizeof *x), *y = malloc((size_t)n * sizeof *y);
    double apart = 0.0, whole = 0.0;
    rl_status status = RL_OUT_OF_MEMORY;
    if (x && y) {
        rl_tensor_read(a, x, (size_t)n * sizeof *x);
        status = rl_tensor_read(b, y, (size_t)n * sizeof *y);
        for (int64_t i = 0; i < n; i++) {
            apart += ((double)x[i] - y[i]) * ((double)x[i] - y[i]);
            whole += (double)y[i] * y[i];
        }
    }
    free(x);
    free(y);
    *out = whole > 0.0 ? sqrt(apart / whole) : sqrt(apart);
    return status;
}

/* Loss and gradients of one batch; the gradients stay in the module's parameters. */
static double forward_backward(rl_module *net, rl_tensor *x, rl_tensor *y) {
    RL_SCOPE();
    rl_tensor *loss = rl_cross_entropy(rl_module_forward(net, x), y);
    rl_module_zero_grad(net);
    rl_backward(loss);
    return rl_item(loss);
}

/* NaN is larger than all. */
static void keep_largest(double *largest, double difference) {
    if (!isnan(*largest) && !(difference <= *largest))
        *largest = difference;
}

static rl_status compare_point(pair *self, rl_tensor *x, rl_tensor *y, double loss, lockstep_result *result) {
    double other_loss, difference;
    RL_SCOPE();
    {
        RL_NO_GRAD();
        for (int64_t i = 0; i < self->count; i++)
            rl_copy_(self->other_parameters[i], self->reference_parameters[i]);
    }
    other_loss = forward_backward(self->other, rl_to(x, .device = self->device), rl_to(y, .device = self->device));
    if (rl_failed())
        return rl_error_status();
    difference = fabs(other_loss - loss) / (fabs(loss) > 0.0 ? fabs(loss) : 1.0);
    keep_largest(&result->loss, difference);
    for (int64_t i = 0; i < self->count; i++) {
        if (relative_difference(rl_grad(self->other_parameters[i]), rl_grad(self->reference_parameters[i]),
                                &difference))
            return rl_error_status();
        keep_largest(&result->gradient, difference);
    }
    result->points++;
    return RL_OK;
}

rl_status lockstep(const train_options *options, rl_device *device, int points, int every,
                   lockstep_result *out_result) {
    pair self = {.device = device};
    rl_device *ref = rl_device_get("ref:0");
    rl_tensor *x, *y;
    progress bar;
    memset(out_result, 0, sizeof *out_result);
    RL_SCOPE();
    rl_manual_seed((uint64_t)options->seed);
    self.reference = model_new(options->model);
    self.other = model_new(options->model);
    rl_module_to(self.reference, ref, RL_DTYPE_NONE);
    rl_module_to(self.other, device, RL_DTYPE_NONE);
    self.count = rl_module_parameters(self.reference, self.reference_parameters, PARAMETERS_MOST);
    rl_module_parameters(self.other, self.other_parameters, PARAMETERS_MOST);
    rl_optimizer *optimizer = rl_optimizer_adam(self.reference, .lr = options->lr);
    rl_loader *loader = rl_loader_new(rl_dataset_mnist(data_folder(options), true), .batch_size = options->batch,
                                      .shuffle = true, .seed = (uint64_t)options->seed + 1, .device = ref);
    progress_start(&bar, "lockstep", (int64_t)(points - 1) * every + 1);
    for (int step = 0; step <= (points - 1) * every && !rl_failed() && !interrupted(); step++) {
        if (!rl_loader_next2(loader, &x, &y))
            break;
        double loss = forward_backward(self.reference, x, y);
        if (step % every == 0 && !rl_failed())
            compare_point(&self, x, y, loss, out_result);
        rl_optimizer_step(optimizer);
        progress_show(&bar, step + 1, rl_device_name(device));
    }
    progress_end(&bar);
    return rl_error_status();
}
