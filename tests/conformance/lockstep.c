/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lockstep: a network trains on ref, in f32; at each step its state and batch are given to twins on ref and on the
 * device, a pair for each dtype, whose losses and gradients must agree. And, in f64 alone, two trainings that run free:
 * there the differences are so small to begin with that they are still small after 100 steps.
 */
#include "lockstep.h"

#include <math.h>

#include "conformance.h"
#include "rushlight/rushlight.h"

/*
 * f32: 84 and 839 epsilons. A step of a network with batch norm measures 20 in norm and, where an activation or two
 * fall on the other side of zero, 460.
 *
 * f64: 450 and 4500. More of them, for ref adds up reductions of f32 in f64, those of f64 in nothing better.
 *
 * f16, bf16: 4 and 8. Products and sums are kept in f32 and rounded once, so that two devices mostly round the same
 * number, the same way. But a device whose fused row keeps in f32 what others store in between leaves a rounding out:
 * half an epsilon at most in each element, 0.29 in the mean square. Of twenty such, on the way forward and back, that
 * add up as random numbers do come 1.3 in norm; the bound has room for a network that enlarges them six times. In the
 * loss, half of them take part; it is a half itself, too, and may differ by an epsilon for that alone.
 */
const lockstep_bound lockstep_bounds[LOCKSTEP_DTYPES] = {{RL_F32, 1e-5, 1e-4},
                                                         {RL_F64, 1e-13, 1e-12},
                                                         {RL_F16, 4 * 0x1p-10, 8 * 0x1p-10},
                                                         {RL_BF16, 4 * 0x1p-7, 8 * 0x1p-7}};

enum { INPUT = 20, HIDDEN = 32, CLASSES = 5, BATCH = 16, STEPS = 20, FREE_STEPS = 100, PARAMETERS = 6 };
#define FREE_BOUND 1e-9 /* of the loss, relative, at every step */

typedef struct twin {
    rl_module *net;
    rl_tensor *parameters[PARAMETERS];
    rl_tensor *x, *y; /* the batch, as it takes it */
} twin;

static twin twin_make(rl_device *device, rl_dtype dtype, rl_tensor *x, rl_tensor *y) {
    twin t;
    t.net = rl_nn_sequential(rl_nn_linear(INPUT, HIDDEN), rl_nn_relu(), rl_nn_linear(HIDDEN, HIDDEN),
                             rl_nn_gelu("tanh"), rl_nn_linear(HIDDEN, CLASSES));
    rl_module_to(t.net, device, dtype);
    rl_module_parameters(t.net, t.parameters, PARAMETERS);
    t.x = rl_to(rl_to(x, .dtype = dtype), .device = device);
    t.y = rl_to(y, .device = device);
    return t;
}

/* Another's parameters, rounded to its own dtype. */
static void twin_take(twin *self, const twin *from) {
    RL_NO_GRAD();
    for (int i = 0; i < PARAMETERS; i++)
        rl_copy_(self->parameters[i], from->parameters[i]);
}

static double loss_and_gradients(twin *self) {
    RL_SCOPE();
    rl_module_zero_grad(self->net);
    rl_tensor *loss = rl_cross_entropy(rl_module_forward(self->net, self->x), self->y);
    rl_backward(loss);
    return rl_item(loss);
}

/* |a - b| / |b| in the 2-norm, in f64 on ref, where b is. */
static double apart(rl_tensor *a, rl_tensor *b) {
    RL_SCOPE();
    RL_NO_GRAD();
    rl_tensor *here = rl_to(rl_to(a, .device = rl_tensor_device(b)), .dtype = RL_F64),
              *whole = rl_to(b, .dtype = RL_F64);
    double of = rl_item(rl_sum(rl_square(rl_sub(here, whole)))), all = rl_item(rl_sum(rl_square(whole)));
    return sqrt(of / (all > 0.0 ? all : 1.0));
}

static void compare_twins(suite *self, const lockstep_bound *bound, twin *ours, twin *oracle, int step) {
    RL_SCOPE();
    double loss = loss_and_gradients(oracle), other = loss_and_gradients(ours);
    if (rl_failed())
        return;
    check(self, fabs(other - loss) <= bound->loss * fabs(loss), "step %d: loss %.17g, on ref %.17g", step, other, loss);
    for (int i = 0; i < PARAMETERS && !rl_failed(); i++) {
        double distance = apart(rl_grad(ours->parameters[i]), rl_grad(oracle->parameters[i]));
        check(self, distance <= bound->gradient, "step %d: gradient %d differs by %.3g in norm", step, i, distance);
    }
}

static void run_lockstep(suite *self, rl_device *device, rl_device *ref, rl_tensor *x, rl_tensor *y) {
    RL_SCOPE();
    twin trained = twin_make(ref, RL_F32, x, y), oracle[LOCKSTEP_DTYPES], ours[LOCKSTEP_DTYPES];
    rl_optimizer *optimizer = rl_optimizer_adam(trained.net, .lr = 1e-2);
    for (int d = 0; d < LOCKSTEP_DTYPES; d++)
        if (lockstep_bounds[d].dtype != RL_F64 || self->f64) {
            oracle[d] = twin_make(ref, lockstep_bounds[d].dtype, x, y);
            ours[d] = twin_make(device, lockstep_bounds[d].dtype, x, y);
        }
    for (int step = 0; step < STEPS && !rl_failed(); step++) {
        for (int d = 0; d < LOCKSTEP_DTYPES; d++) {
            if (lockstep_bounds[d].dtype == RL_F64 && !self->f64)
                continue;
            self->dtype = lockstep_bounds[d].dtype;
            twin_take(&oracle[d], &trained);
            twin_take(&ours[d], &trained);
            compare_twins(self, &lockstep_bounds[d], &ours[d], &oracle[d], step);
        }
        loss_and_gradients(&trained);
        rl_optimizer_step(optimizer);
    }
}

static void run_free(suite *self, rl_device *device, rl_device *ref, rl_tensor *x, rl_tensor *y) {
    RL_SCOPE();
    twin oracle = twin_make(ref, RL_F64, x, y), ours = twin_make(device, RL_F64, x, y);
    twin_take(&ours, &oracle);
    rl_optimizer *there = rl_optimizer_adam(oracle.net, .lr = 1e-2), *here = rl_optimizer_adam(ours.net, .lr = 1e-2);
    double farthest = 0.0;
    int at = 0;
    for (int step = 0; step < FREE_STEPS && !rl_failed(); step++) {
        double loss = loss_and_gradients(&oracle), other = loss_and_gradients(&ours);
        double distance = fabs(other - loss) / fabs(loss);
        if (!(distance <= farthest)) {
            farthest = distance;
            at = step;
        }
        rl_optimizer_step(there);
        rl_optimizer_step(here);
    }
    if (!rl_failed())
        check(self, farthest <= FREE_BOUND, "%d steps that run free: the loss of step %d differs by %.3g", FREE_STEPS,
              at, farthest);
}

void check_lockstep(suite *self, rl_device *device, rl_device *ref) {
    RL_SCOPE();
    char why[400];
    self->section = SECTION_LOCKSTEP;
    rl_manual_seed(5);
    rl_tensor *x = rl_normal_(rl_empty(RL_DIMS(BATCH, INPUT), .device = ref));
    rl_tensor *y = rl_remainder(rl_arange(BATCH, .device = ref), CLASSES);
    run_lockstep(self, device, ref, x, y);
    self->dtype = RL_F64;
    if (self->f64)
        run_free(self, device, ref, x, y);
    self->dtype = RL_DTYPE_NONE;
    snprintf(why, sizeof why, "%s", rl_error_text());
    check(self, !rl_failed(), "training: %s", why);
    rl_error_clear();
}
