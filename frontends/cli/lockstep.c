/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lockstep: training is chaotic, so two devices that both compute rightly drift apart within ten steps. Here the device
 * trains, in f32; at steps 0, every, 2 every, ... its state and batch are given to twins on ref and on the device, a
 * pair for each dtype, whose loss and gradients must agree. In f32 the device's twin is what trains.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"

#define STATE_MOST 256 /* parameters and buffers */

typedef struct twin {
    rl_module *net;
    rl_tensor *parameters[STATE_MOST], *state[STATE_MOST];
    int64_t count, n_state;
} twin;

typedef struct pair {
    const lockstep_bound *bound;
    lockstep_distance *apart;
    twin reference, other;
} pair;

typedef struct lockstep_run {
    const char *model;
    rl_device *device, *ref;
    twin trained;
    int n_pairs;
    pair pairs[LOCKSTEP_DTYPES];
    lockstep_result *result;
} lockstep_run;

static rl_status twin_init(twin *self, const char *model, rl_device *device, rl_dtype dtype) {
    self->net = model_new(model);
    rl_module_to(self->net, device, dtype);
    self->count = rl_module_parameters(self->net, self->parameters, STATE_MOST);
    self->n_state = rl_module_state(self->net, NULL, self->state, STATE_MOST);
    return rl_error_status();
}

/* The numbers of another's parameters and buffers, rounded to its own dtype. */
static void twin_take(twin *self, const twin *from) {
    RL_NO_GRAD();
    for (int64_t i = 0; i < self->n_state; i++)
        rl_copy_(self->state[i], from->state[i]);
}

/* Loss and gradients of one batch; the gradients stay in the module's parameters. */
static double forward_backward(twin *self, rl_tensor *x, rl_tensor *y) {
    RL_SCOPE();
    rl_tensor *first = self->parameters[0];
    rl_device *device = rl_tensor_device(first);
    rl_tensor *input = rl_to(rl_to(x, .device = device), .dtype = rl_tensor_dtype(first));
    rl_tensor *loss = rl_cross_entropy(rl_module_forward(self->net, input), rl_to(y, .device = device));
    rl_module_zero_grad(self->net);
    rl_backward(loss);
    return rl_item(loss);
}

/* Its numbers on the host; the caller frees them. */
static double *numbers_of(rl_tensor *tensor, rl_device *ref) {
    RL_SCOPE();
    size_t n = (size_t)rl_tensor_numel(tensor);
    double *numbers = malloc(n * sizeof *numbers + 1);
    rl_tensor *wide = rl_to(rl_to(tensor, .device = ref), .dtype = RL_F64); /* there first: not all devices take f64 */
    if (numbers)
        rl_tensor_read(wide, numbers, n * sizeof *numbers);
    return numbers;
}

/* Adds |a - b|^2 and |b|^2 to sums[0] and sums[1]. */
static rl_status add_squares(rl_tensor *a, rl_tensor *b, rl_device *ref, double *sums) {
    int64_t n = rl_tensor_numel(b);
    RL_NO_GRAD();
    double *x = numbers_of(a, ref), *y = numbers_of(b, ref);
    for (int64_t i = 0; x && y && i < n; i++) {
        sums[0] += (x[i] - y[i]) * (x[i] - y[i]);
        sums[1] += y[i] * y[i];
    }
    rl_status status = x && y ? rl_error_status() : RL_OUT_OF_MEMORY;
    free(x);
    free(y);
    return status;
}

/* NaN is larger than all. */
static void keep_largest(double *largest, double difference) {
    if (!isnan(*largest) && !(difference <= *largest))
        *largest = difference;
}

/* `loss`: the device's where it is known, else NaN. */
static rl_status compare_pair(lockstep_run *self, pair *of, rl_tensor *x, rl_tensor *y, double loss) {
    RL_SCOPE();
    twin *other = of->bound->dtype == RL_F32 ? &self->trained : &of->other;
    twin_take(&of->reference, &self->trained);
    if (other != &self->trained) {
        twin_take(other, &self->trained);
        loss = forward_backward(other, x, y);
    }
    double reference_loss = forward_backward(&of->reference, x, y);
    if (rl_failed())
        return rl_error_status();
    keep_largest(&of->apart->loss,
                 fabs(loss - reference_loss) / (fabs(reference_loss) > 0.0 ? fabs(reference_loss) : 1.0));
    /* All gradients as one vector: a parameter of which none is due, such as a bias before a batch norm, has rounding
     * for a gradient, of which no two devices have the same. */
    double sums[2] = {0.0, 0.0};
    for (int64_t i = 0; i < other->count; i++) {
        rl_status status =
            add_squares(rl_grad(other->parameters[i]), rl_grad(of->reference.parameters[i]), self->ref, sums);
        if (status != RL_OK) {
            snprintf(self->result->failure, sizeof self->result->failure, "lockstep: gradient %lld: %s", (long long)i,
                     rl_status_text(status));
            return status;
        }
    }
    keep_largest(&of->apart->gradient, sums[1] > 0.0 ? sqrt(sums[0] / sums[1]) : sqrt(sums[0]));
    of->apart->points++;
    return RL_OK;
}

static rl_status compare_point(lockstep_run *self, rl_tensor *x, rl_tensor *y, double loss) {
    rl_status status = RL_OK;
    for (int i = 0; i < self->n_pairs && !status && !interrupted(); i++)
        status = compare_pair(self, &self->pairs[i], x, y, loss);
    return status;
}

/* Whether there is room for them, or the sentence why not. */
static rl_status check_room(const lockstep_run *self) {
    int64_t count = self->trained.count, n_state = self->trained.n_state;
    if (rl_failed() || (count <= STATE_MOST && n_state <= STATE_MOST))
        return rl_error_status();
    snprintf(self->result->failure, sizeof self->result->failure,
             "lockstep: at most %d parameters and buffers can be compared, the model %.60s has %lld", STATE_MOST,
             self->model, (long long)(n_state > count ? n_state : count));
    return RL_UNSUPPORTED;
}

static bool takes_f64(rl_device *device) {
    rl_device_info info = {.size = sizeof info};
    return rl_device_info_get(device, &info) == RL_OK && (info.flags & RL_DEVICE_F64) != 0;
}

/* What trains, and a pair for each dtype that is asked for and that the device takes. */
static rl_status make_twins(lockstep_run *self, uint32_t dtypes) {
    if (twin_init(&self->trained, self->model, self->device, RL_F32) || check_room(self))
        return rl_failed() ? rl_error_status() : RL_UNSUPPORTED;
    for (int i = 0; i < LOCKSTEP_DTYPES; i++) {
        const lockstep_bound *bound = &lockstep_bounds[i];
        pair *made = &self->pairs[self->n_pairs];
        if (!(dtypes >> i & 1) || (bound->dtype == RL_F64 && !takes_f64(self->device)))
            continue;
        made->bound = bound;
        made->apart = &self->result->apart[i];
        twin_init(&made->reference, self->model, self->ref, bound->dtype);
        if (bound->dtype != RL_F32)
            twin_init(&made->other, self->model, self->device, bound->dtype);
        self->n_pairs++;
    }
    return rl_error_status();
}

/* The next batch, of the next epoch where one is at its end. */
static bool next_batch(rl_loader *loader, rl_tensor **x, rl_tensor **y) {
    return rl_loader_next2(loader, x, y) || (!rl_failed() && rl_loader_next2(loader, x, y));
}

static rl_status run_steps(lockstep_run *self, const train_options *options, const lockstep_options *how) {
    rl_optimizer *optimizer = rl_optimizer_adam(self->trained.net, .lr = rate_option(options->lr));
    rl_loader *loader = rl_loader_new(rl_dataset_mnist(data_folder(options), true), .batch_size = options->batch,
                                      .shuffle = true, .seed = (uint64_t)options->seed + 1, .device = self->device);
    rl_tensor *x, *y;
    rl_status status = RL_OK;
    int64_t steps = (int64_t)(how->points - 1) * how->every + 1;
    double started = seconds_now();
    bool late = false; /* the time is up: this step is the last, and is compared */
    progress bar;
    progress_start(&bar, "lockstep", steps);
    for (int64_t step = 0; step < steps && !late && !rl_failed() && !interrupted(); step++) {
        late = step > 0 && how->seconds > 0.0 && seconds_now() - started > how->seconds;
        if (!next_batch(loader, &x, &y))
            break;
        double loss = forward_backward(&self->trained, x, y);
        if ((late || step % how->every == 0) && !rl_failed() && (status = compare_point(self, x, y, loss)) != RL_OK)
            break;
        rl_optimizer_step(optimizer);
        progress_show(&bar, step + 1, rl_device_name(self->device));
    }
    progress_end(&bar);
    return status;
}

rl_status lockstep(const train_options *options, rl_device *device, const lockstep_options *how,
                   lockstep_result *out_result) {
    memset(out_result, 0, sizeof *out_result);
    RL_SCOPE();
    lockstep_run *self = calloc(1, sizeof *self);
    if (!self) {
        snprintf(out_result->failure, sizeof out_result->failure, "lockstep: out of memory");
        return RL_OUT_OF_MEMORY;
    }
    self->model = options->model;
    self->device = device;
    self->ref = rl_device_get("ref:0");
    self->result = out_result;
    rl_manual_seed((uint64_t)options->seed);
    rl_status status = make_twins(self, how->dtypes);
    if (status == RL_OK)
        status = run_steps(self, options, how);
    free(self);
    return status != RL_OK ? status : rl_error_status();
}
