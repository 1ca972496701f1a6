/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lockstep: training is chaotic, so two devices that both compute rightly drift apart within ten steps. Here the device
 * trains; at steps 0, every, 2 every, ... ref is given its very state and batch, and computes loss and gradients, which
 * must agree.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"

#define STATE_MOST 256 /* parameters and buffers */

typedef struct pair {
    rl_module *reference, *other;
    rl_tensor *reference_parameters[STATE_MOST], *other_parameters[STATE_MOST];
    rl_tensor *reference_state[STATE_MOST], *other_state[STATE_MOST];
    int64_t count, n_state;
} pair;

/* Adds |a - b|^2 and |b|^2 to sums[0] and sums[1], computed on the host in double. */
static rl_status add_squares(const rl_tensor *a, const rl_tensor *b, double *sums) {
    int64_t n = rl_tensor_numel(b);
    float *x = malloc((size_t)n * sizeof *x), *y = malloc((size_t)n * sizeof *y);
    rl_status status = RL_OUT_OF_MEMORY;
    if (x && y) {
        rl_tensor_read(a, x, (size_t)n * sizeof *x);
        status = rl_tensor_read(b, y, (size_t)n * sizeof *y);
        for (int64_t i = 0; i < n; i++) {
            sums[0] += ((double)x[i] - y[i]) * ((double)x[i] - y[i]);
            sums[1] += (double)y[i] * y[i];
        }
    }
    free(x);
    free(y);
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

/* Whether there is room for them, or the sentence why not. */
static rl_status check_room(const pair *self, const char *model, lockstep_result *result) {
    if (rl_failed() || (self->count <= STATE_MOST && self->n_state <= STATE_MOST))
        return rl_error_status();
    snprintf(result->failure, sizeof result->failure,
             "lockstep: at most %d parameters and buffers can be compared, the model %.60s has %lld", STATE_MOST, model,
             (long long)(self->n_state > self->count ? self->n_state : self->count));
    return RL_UNSUPPORTED;
}

static rl_status compare_point(pair *self, rl_tensor *x, rl_tensor *y, double loss, lockstep_result *result) {
    double reference_loss, difference;
    rl_device *ref = rl_tensor_device(self->reference_state[0]);
    RL_SCOPE();
    {
        RL_NO_GRAD();
        for (int64_t i = 0; i < self->n_state; i++)
            rl_copy_(self->reference_state[i], self->other_state[i]);
    }
    reference_loss = forward_backward(self->reference, rl_to(x, .device = ref), rl_to(y, .device = ref));
    if (rl_failed())
        return rl_error_status();
    difference = fabs(loss - reference_loss) / (fabs(reference_loss) > 0.0 ? fabs(reference_loss) : 1.0);
    keep_largest(&result->loss, difference);
    /* All gradients as one vector: a parameter of which none is due, such as a bias before a batch norm, has rounding
     * for a gradient, of which no two devices have the same. */
    double sums[2] = {0.0, 0.0};
    for (int64_t i = 0; i < self->count; i++) {
        rl_status status =
            add_squares(rl_grad(self->other_parameters[i]), rl_grad(self->reference_parameters[i]), sums);
        if (status != RL_OK) {
            snprintf(result->failure, sizeof result->failure, "lockstep: gradient %lld: %s", (long long)i,
                     rl_status_text(status));
            return status;
        }
    }
    keep_largest(&result->gradient, sums[1] > 0.0 ? sqrt(sums[0] / sums[1]) : sqrt(sums[0]));
    result->points++;
    return RL_OK;
}

rl_status lockstep(const train_options *options, rl_device *device, int points, int every,
                   lockstep_result *out_result) {
    pair self = {.count = 0};
    rl_tensor *x, *y;
    progress bar;
    memset(out_result, 0, sizeof *out_result);
    RL_SCOPE();
    rl_manual_seed((uint64_t)options->seed);
    self.reference = model_new(options->model);
    self.other = model_new(options->model);
    rl_module_to(self.reference, rl_device_get("ref:0"), RL_DTYPE_NONE);
    rl_module_to(self.other, device, RL_DTYPE_NONE);
    self.count = rl_module_parameters(self.reference, self.reference_parameters, STATE_MOST);
    rl_module_parameters(self.other, self.other_parameters, STATE_MOST);
    self.n_state = rl_module_state(self.reference, NULL, self.reference_state, STATE_MOST);
    rl_module_state(self.other, NULL, self.other_state, STATE_MOST);
    rl_status status = check_room(&self, options->model, out_result);
    if (status != RL_OK)
        return status;
    rl_optimizer *optimizer = rl_optimizer_adam(self.other, .lr = rate_option(options->lr));
    rl_loader *loader = rl_loader_new(rl_dataset_mnist(data_folder(options), true), .batch_size = options->batch,
                                      .shuffle = true, .seed = (uint64_t)options->seed + 1, .device = device);
    progress_start(&bar, "lockstep", (int64_t)(points - 1) * every + 1);
    for (int step = 0; step <= (points - 1) * every && !rl_failed() && !interrupted(); step++) {
        if (!rl_loader_next2(loader, &x, &y))
            break;
        double loss = forward_backward(self.other, x, y);
        if (step % every == 0 && !rl_failed() && (status = compare_point(&self, x, y, loss, out_result)) != RL_OK)
            break;
        rl_optimizer_step(optimizer);
        progress_show(&bar, step + 1, rl_device_name(device));
    }
    progress_end(&bar);
    return status != RL_OK ? status : rl_error_status();
}
