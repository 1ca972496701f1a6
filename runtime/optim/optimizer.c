/* SPDX-License-Identifier: Apache-2.0 */
#include "optim/optimizer.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/sized.h"
#include "dispatch/dispatch.h"
#include "rushlight/autograd.h"
#include "rushlight/ops.h"
#include "tensor/tensor.h"

#define TASKS 64 /* jobs of one map call at most */

/* Making
 * ------------------------------------------------------------------------------------------------------------------ */

void optimizer_drop_states(slot *of) {
    for (int s = 0; s < RULE_STATES; s++) {
        rl_release(of->states[s]);
        of->states[s] = NULL;
    }
}

static void optimizer_destroy(rl_object *object) {
    rl_optimizer *self = (rl_optimizer *)object;
    for (int64_t i = 0; i < self->count; i++) {
        rl_release(self->slots[i].parameter);
        optimizer_drop_states(&self->slots[i]);
    }
    rl_free(self->slots);
    rl_free(self->due);
    rl_free(self);
}
static const rl_object_class optimizer_class = {"optimizer", optimizer_destroy};

static rl_status add_parameters(rl_optimizer *self, rl_tensors parameters) {
    if (rl_tensors_check(self->rule->name, "parameter", parameters, 0, INT32_MAX) != RL_OK)
        return rl_error_status();
    for (int64_t i = 0; i < parameters.count; i++) {
        rl_tensor *p = parameters.data[i];
        if (!rl_tensor_is_leaf(p) || !rl_dtype_is_float((rl_dtype)p->dtype))
            return rl_fail(RL_INVALID_ARGUMENT, "%s: parameter %lld must be a leaf of floating dtype", self->rule->name,
                           (long long)i);
        for (int64_t k = 0; k < self->count; k++)
            if (self->slots[k].parameter == p)
                return rl_fail(RL_INVALID_ARGUMENT, "%s: parameter %lld is given twice", self->rule->name,
                               (long long)i);
        self->slots[self->count++].parameter = rl_retain(p);
    }
    return RL_OK;
}

static rl_optimizer *optimizer_new(const rule *kind, const rule_options *options, rl_module *module,
                                   rl_tensors parameters) {
    rl_optimizer *self;
    rl_tensor **all = NULL;
    if (rl_failed())
        return NULL;
    if (!module && !parameters.data)
        return rl_fail_null(RL_INVALID_ARGUMENT, "%s: neither a module nor .parameters is given", kind->name);
    if (kind->check(options) || !(self = rl_alloc_zero(1, sizeof *self, "optimizer")))
        return NULL;
    rl_object_init(&self->object, &optimizer_class);
    self->rule = kind;
    self->options = *options;
    if (!parameters.data) {
        int64_t count = rl_module_parameters(module, NULL, 0);
        all = rl_alloc_zero((size_t)count + 1, sizeof *all, "optimizer");
        parameters = (rl_tensors){all, all ? rl_module_parameters(module, all, count) : 0};
    }
    self->slots = rl_alloc_zero((size_t)parameters.count + 1, sizeof *self->slots, "optimizer");
    self->due = rl_alloc_zero((size_t)parameters.count + 1, sizeof *self->due, "optimizer");
    if (!rl_failed() && add_parameters(self, parameters) == RL_OK && self->count == 0)
        (void)rl_fail(RL_INVALID_ARGUMENT, "%s: got no parameters", kind->name);
    if (rl_failed()) {
        rl_release(self);
        self = NULL;
    }
    rl_free(all);
    return self ? rl_object_own(self) : NULL;
}

static double or_default(double given, double normal) {
    return given == 0.0 ? normal : given == (double)RL_ZERO ? 0.0 : given;
}

rl_optimizer *rl_optimizer_sgd_opt(rl_module *module, const rl_optimizer_sgd_options *given) {
    rl_optimizer_sgd_options o = {0};
    if (rl_failed() || rl_sized_take("optimizer_sgd", &o, sizeof o, given) != RL_OK)
        return NULL;
    rule_options options = {.lr = or_default(o.lr, 1e-3),
                            .momentum = or_default(o.momentum, 0.0),
                            .dampening = or_default(o.dampening, 0.0),
                            .weight_decay = or_default(o.weight_decay, 0.0),
                            .nesterov = o.nesterov,
                            .maximize = o.maximize};
    return optimizer_new(&rule_sgd, &options, module, o.parameters);
}

static rl_optimizer *adam(const rule *kind, rl_module *module, const rl_optimizer_adam_options *given, double decay,
                          bool decoupled) {
    rl_optimizer_adam_options o = {0};
    if (rl_failed() || rl_sized_take("optimizer_adam", &o, sizeof o, given) != RL_OK)
        return NULL;
    rule_options options = {.lr = or_default(o.lr, 1e-3),
                            .beta1 = or_default(o.beta1, 0.9),
                            .beta2 = or_default(o.beta2, 0.999),
                            .eps = or_default(o.eps, 1e-8),
                            .weight_decay = or_default(o.weight_decay, decay),
                            .amsgrad = o.amsgrad,
                            .maximize = o.maximize,
                            .decoupled = decoupled};
    return optimizer_new(kind, &options, module, o.parameters);
}
rl_optimizer *rl_optimizer_adam_opt(rl_module *module, const rl_optimizer_adam_options *given) {
    return adam(&rule_adam, module, given, 0.0, false);
}
rl_optimizer *rl_optimizer_adamw_opt(rl_module *module, const rl_optimizer_adam_options *given) {
    return adam(&rule_adamw, module, given, 0.01, true);
}

/* A step
 * ---------------------------------------------------------------------------------------------------------------------
 */

static rl_status check_self(const rl_optimizer *self, const char *name) {
    if (rl_failed())
        return rl_error_status();
    return self ? RL_OK : rl_fail(RL_INVALID_ARGUMENT, "%s: self is NULL", name);
}

/* A state tensor where the parameter is and as it is: zeros at first, moved along when the parameter was moved. */
static rl_status make_state(rl_tensor *parameter, rl_tensor **state) {
    RL_SCOPE();
    rl_tensor *old = *state, *fresh;
    if (old && old->dtype == parameter->dtype && old->storage->device == parameter->storage->device)
        return RL_OK;
    fresh = old ? rl_to(old, .dtype = (rl_dtype)parameter->dtype, .device = parameter->storage->device)
                : rl_zeros_like(parameter);
    if (!fresh)
        return rl_error_status();
    *state = rl_retain(fresh);
    rl_release(old);
    return RL_OK;
}

rl_status optimizer_make_states(const rl_optimizer *self, slot *of) {
    int n = self->rule->n_states(&self->options);
    rl_status status = RL_OK;
    for (int s = 0; s < n && !status; s++)
        status = make_state(of->parameter, &of->states[s]);
    return status;
}

static const rl_program *program_of(rl_optimizer *self, uint8_t dtype, uint8_t grad_dtype, int64_t step) {
    known_program wanted = {dtype, grad_dtype, step == 1, NULL};
    int i = 0;
    for (; i < 4 && self->known[i].program; i++)
        if (self->known[i].dtype == dtype && self->known[i].grad_dtype == grad_dtype &&
            self->known[i].first_step == wanted.first_step)
            return self->known[i].program;
    wanted.program = self->rule->program(&self->options, step, (rl_dtype)dtype, (rl_dtype)grad_dtype);
    if (wanted.program)
        self->known[i < 4 ? i : 0] = wanted;
    return wanted.program;
}

/* Whether one map call can serve both: one program, one device, one set of scalars. */
static bool together(const slot *a, const slot *b) {
    return a->steps == b->steps && a->parameter->dtype == b->parameter->dtype &&
           rl_grad(a->parameter)->dtype == rl_grad(b->parameter)->dtype &&
           a->parameter->storage->device == b->parameter->storage->device;
}

/* One map call for `count` slots that go together. */
static rl_status step_together(rl_optimizer *self, slot **slots, int64_t count) {
    rl_tensor *inputs[TASKS][2 + RULE_STATES], *outputs[TASKS][1 + RULE_STATES];
    rl_map_task tasks[TASKS];
    rl_number scalars[RL_MAX_SCALARS];
    int n = self->rule->n_states(&self->options);
    int64_t step = slots[0]->steps + 1;
    rl_tensor *first = slots[0]->parameter;
    const rl_program *program = program_of(self, first->dtype, rl_grad(first)->dtype, step);
    rl_status status;
    if (!program)
        return rl_error_status();
    self->rule->scalars(&self->options, step, scalars);
    for (int64_t i = 0; i < count; i++) {
        inputs[i][0] = outputs[i][0] = slots[i]->parameter;
        inputs[i][1] = rl_grad(slots[i]->parameter);
        for (int s = 0; s < n; s++)
            inputs[i][2 + s] = outputs[i][1 + s] = slots[i]->states[s];
        tasks[i] = (rl_map_task){inputs[i], outputs[i], scalars};
    }
    if ((status = rl_row_map_many(self->rule->name, program, tasks, count)))
        return status;
    for (int64_t i = 0; i < count; i++) {
        slots[i]->steps = step;
        rl_tensor_changed(slots[i]->parameter, self->rule->name);
    }
    return RL_OK;
}

rl_status rl_optimizer_step(rl_optimizer *self) {
    int64_t due = 0;
    rl_status status = check_self(self, "optimizer_step");
    RL_NO_GRAD();
    for (int64_t i = 0; !status && i < self->count; i++) {
        if (!rl_grad(self->slots[i].parameter))
            continue;
        status = optimizer_make_states(self, &self->slots[i]);
        self->due[due++] = &self->slots[i];
    }
    /* Takes the first that is left and all that go together with it, moving them to the front. */
    for (int64_t at = 0, end; !status && at < due; at = end) {
        end = at + 1;
        for (int64_t i = end; i < due && end - at < TASKS; i++)
            if (together(self->due[at], self->due[i])) {
                slot *swap = self->due[end];
                self->due[end++] = self->due[i];
                self->due[i] = swap;
            }
        status = step_together(self, self->due + at, end - at);
    }
    return status;
}

rl_status rl_optimizer_zero_grad(rl_optimizer *self) {
    rl_status status = check_self(self, "optimizer_zero_grad");
    for (int64_t i = 0; !status && i < self->count; i++)
        status = rl_set_grad(self->slots[i].parameter, NULL);
    return status;
}

double rl_optimizer_lr(const rl_optimizer *self) {
    return self ? self->options.lr : 0.0;
}

rl_status rl_optimizer_set_lr(rl_optimizer *self, double lr) {
    rl_status status = check_self(self, "optimizer_set_lr");
    if (status)
        return status;
    if (!(lr >= 0.0) || !isfinite(lr))
        return rl_fail(RL_INVALID_ARGUMENT, "optimizer_set_lr: lr must be 0 or more, got %g", lr);
    self->options.lr = lr;
    return RL_OK;
}
