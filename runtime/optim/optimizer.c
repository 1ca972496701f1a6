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

/* Making
 * ------------------------------------------------------------------------------------------------------------------ */

void optimizer_drop_states(slot *of) {
    for (int s = 0; s < RULE_STATES; s++) {
        rl_release(of->states[s]);
        of->states[s] = NULL;
    }
    of->product = 1.0;
}

static void free_arrays(rl_optimizer *self) {
    rl_free(self->groups);
    rl_free(self->slots);
    rl_free(self->due);
    rl_free(self->jobs);
    rl_free(self->tasks);
}

static void optimizer_destroy(rl_object *object) {
    rl_optimizer *self = (rl_optimizer *)object;
    for (int64_t i = 0; i < self->count; i++) {
        rl_release(self->slots[i].parameter);
        optimizer_drop_states(&self->slots[i]);
    }
    free_arrays(self);
    rl_free(self);
}
static const rl_object_class optimizer_class = {"optimizer", optimizer_destroy};

static rl_status check_parameter(const char *function, const rl_optimizer *self, rl_tensors parameters,
                                 int64_t number) {
    rl_tensor *p = parameters.data[number];
    if (!rl_tensor_is_leaf(p) || !rl_dtype_is_float((rl_dtype)p->dtype))
        return rl_fail(RL_INVALID_ARGUMENT, "%s: parameter %lld must be a leaf of floating dtype", function,
                       (long long)number);
    bool known = false;
    for (int64_t k = 0; k < self->count && !known; k++)
        known = self->slots[k].parameter == p;
    for (int64_t k = 0; k < number && !known; k++)
        known = parameters.data[k] == p;
    return known ? rl_fail(RL_INVALID_ARGUMENT, "%s: parameter %lld is given twice", function, (long long)number)
                 : RL_OK;
}

/* Copies of the arrays, longer. */
static rl_status grow(rl_optimizer *self, int64_t more) {
    size_t count = (size_t)(self->count + more) + 1;
    rl_optimizer longer = *self;
    longer.groups = rl_alloc_zero((size_t)self->n_groups + 1, sizeof *longer.groups, "optimizer");
    longer.slots = rl_alloc_zero(count, sizeof *longer.slots, "optimizer");
    longer.due = rl_alloc_zero(count, sizeof *longer.due, "optimizer");
    longer.jobs = rl_alloc_zero(count, sizeof *longer.jobs, "optimizer");
    longer.tasks = rl_alloc_zero(count, sizeof *longer.tasks, "optimizer");
    if (rl_failed()) {
        free_arrays(&longer);
        return rl_error_status();
    }
    if (self->n_groups > 0)
        memcpy(longer.groups, self->groups, (size_t)self->n_groups * sizeof *longer.groups);
    if (self->count > 0)
        memcpy(longer.slots, self->slots, (size_t)self->count * sizeof *longer.slots);
    free_arrays(self);
    self->groups = longer.groups;
    self->slots = longer.slots;
    self->due = longer.due;
    self->jobs = longer.jobs;
    self->tasks = longer.tasks;
    return RL_OK;
}

/* All of the group or nothing. */
static rl_status add_group(const char *function, rl_optimizer *self, const rule_options *options,
                           rl_tensors parameters) {
    if (self->rule->check(function, options) || rl_tensors_check(function, "parameter", parameters, 0, INT32_MAX))
        return rl_error_status();
    if (parameters.count == 0)
        return rl_fail(RL_INVALID_ARGUMENT, "%s: got no parameters", function);
    for (int64_t i = 0; i < parameters.count; i++)
        if (check_parameter(function, self, parameters, i))
            return rl_error_status();
    if (grow(self, parameters.count))
        return rl_error_status();
    for (int64_t i = 0; i < parameters.count; i++)
        self->slots[self->count++] =
            (slot){.parameter = rl_retain(parameters.data[i]), .group = self->n_groups, .product = 1.0};
    self->groups[self->n_groups++] = (group){.options = *options, .initial_lr = NAN};
    return RL_OK;
}

rl_optimizer *optimizer_new(const char *function, const rule *kind, const rule_options *options, rl_module *module,
                            rl_tensors parameters) {
    rl_optimizer *self;
    rl_tensor **all = NULL;
    if (rl_failed())
        return NULL;
    if (!module && !parameters.data)
        return rl_fail_null(RL_INVALID_ARGUMENT, "%s: neither a module nor .parameters is given", function);
    if (!(self = rl_alloc_zero(1, sizeof *self, "optimizer")))
        return NULL;
    rl_object_init(&self->object, &optimizer_class);
    self->rule = kind;
    if (!parameters.data) {
        int64_t count = rl_module_parameters(module, NULL, 0);
        all = rl_alloc_zero((size_t)count + 1, sizeof *all, "optimizer");
        parameters = (rl_tensors){all, all ? rl_module_parameters(module, all, count) : 0};
    }
    if (rl_failed() || add_group(function, self, options, parameters)) {
        rl_release(self);
        self = NULL;
    }
    rl_free(all);
    return self ? rl_object_own(self) : NULL;
}

rl_status rl_optimizer_add_group_opt(rl_optimizer *self, rl_tensors parameters,
                                     const rl_optimizer_group_options *given) {
    static const char function[] = "optimizer_add_group";
    rl_optimizer_group_options o = {0};
    rule_options options;
    if (optimizer_check_self(self, function) || rl_sized_take(function, &o, sizeof o, given) != RL_OK)
        return rl_error_status();
    options = self->groups[0].options;
    options.lr = rl_option_real(o.lr, options.lr);
    options.weight_decay = rl_option_real(o.weight_decay, options.weight_decay);
    options.momentum = rl_option_real(o.momentum, options.momentum);
    options.dampening = rl_option_real(o.dampening, options.dampening);
    options.beta1 = rl_option_real(o.beta1, options.beta1);
    options.beta2 = rl_option_real(o.beta2, options.beta2);
    options.eps = rl_option_real(o.eps, options.eps);
    options.alpha = rl_option_real(o.alpha, options.alpha);
    return add_group(function, self, &options, parameters);
}

/* A step
 * ---------------------------------------------------------------------------------------------------------------------
 */

rl_status optimizer_check_self(const void *self, const char *name) {
    if (rl_failed())
        return rl_error_status();
    return self ? RL_OK : rl_fail(RL_INVALID_ARGUMENT, "%s: self is NULL", name);
}

/* A state tensor where the parameter is and as it is: of `initial` at first, moved along when the parameter was moved.
 */
static rl_status make_state(rl_tensor *parameter, double initial, rl_tensor **state) {
    RL_SCOPE();
    rl_tensor *old = *state, *fresh;
    if (old && old->dtype == parameter->dtype && old->storage->device == parameter->storage->device)
        return RL_OK;
    fresh = old ? rl_to(old, .dtype = (rl_dtype)parameter->dtype, .device = parameter->storage->device)
                : rl_full_like(parameter, initial);
    if (!fresh)
        return rl_error_status();
    *state = rl_retain(fresh);
    rl_release(old);
    return RL_OK;
}

rl_status optimizer_make_states(const rl_optimizer *self, slot *of) {
    const rule_options *options = &self->groups[of->group].options;
    int n = self->rule->n_states(options);
    rl_status status = RL_OK;
    for (int s = 0; s < n && !status; s++)
        status = make_state(of->parameter, options->initial, &of->states[s]);
    return status;
}

/* The program of a slot's next step. */
static const rl_program *program_of(rl_optimizer *self, const slot *of) {
    group *g = &self->groups[of->group];
    int64_t step = of->steps + 1;
    known_program wanted = {of->parameter->dtype, rl_grad(of->parameter)->dtype,
                            self->rule->variant ? self->rule->variant(&g->options, step) : 0, NULL};
    int i = 0;
    for (; i < KNOWN_PROGRAMS && g->known[i].program; i++)
        if (g->known[i].dtype == wanted.dtype && g->known[i].grad_dtype == wanted.grad_dtype &&
            g->known[i].variant == wanted.variant)
            return g->known[i].program;
    wanted.program = self->rule->program(&g->options, step, (rl_dtype)wanted.dtype, (rl_dtype)wanted.grad_dtype);
    if (wanted.program)
        g->known[i < KNOWN_PROGRAMS ? i : 0] = wanted;
    return wanted.program;
}

/* Whether one map call can serve both. */
static bool together(const due_slot *a, const due_slot *b) {
    return a->program == b->program && a->slot->parameter->storage->device == b->slot->parameter->storage->device;
}

/* The launch scalars of a slot's step: those of the slot before it, `scalars`, where they are the same, else in `room`.
 */
static rl_number *scalars_of(const rl_optimizer *self, const slot *of, const slot *before, rl_number *scalars,
                             rl_number *room) {
    rule_step step = {of->steps + 1, of->product};
    if (before && before->group == of->group && before->steps == of->steps && before->product == of->product)
        return scalars;
    self->rule->scalars(&self->groups[of->group].options, &step, room);
    return room;
}

/* One map call for `count` slots that go together. */
static rl_status step_together(rl_optimizer *self, const due_slot *due, int64_t count) {
    rl_number *scalars = NULL;
    rl_status status;
    for (int64_t i = 0; i < count; i++) {
        const slot *of = due[i].slot;
        slot_job *job = &self->jobs[i];
        int n = self->rule->n_states(&self->groups[of->group].options);
        job->inputs[0] = job->outputs[0] = of->parameter;
        job->inputs[1] = rl_grad(of->parameter);
        for (int s = 0; s < n; s++)
            job->inputs[2 + s] = job->outputs[1 + s] = of->states[s];
        scalars = scalars_of(self, of, i > 0 ? due[i - 1].slot : NULL, scalars, job->scalars);
        self->tasks[i] = (rl_map_task){job->inputs, job->outputs, scalars};
    }
    status = rl_row_map_many(self->rule->name, due[0].program, self->tasks, count);
    for (int64_t i = 0; i < count; i++) /* even where it failed: some of it may be done */
        rl_tensor_changed(due[i].slot->parameter, self->rule->name);
    if (status != RL_OK)
        return status;
    for (int64_t i = 0; i < count; i++) {
        slot *of = due[i].slot;
        rule_step step = {++of->steps, of->product};
        if (self->rule->product)
            of->product = self->rule->product(&self->groups[of->group].options, &step);
    }
    return RL_OK;
}

rl_status rl_optimizer_step(rl_optimizer *self) {
    int64_t due = 0;
    rl_status status = optimizer_check_self(self, "optimizer_step");
    RL_NO_GRAD();
    for (int64_t i = 0; !status && i < self->count; i++) {
        slot *of = &self->slots[i];
        if (!rl_grad(of->parameter))
            continue;
        status = optimizer_make_states(self, of);
        self->due[due] = (due_slot){of, status ? NULL : program_of(self, of)};
        if (!status && !self->due[due++].program)
            status = rl_error_status();
    }
    /* Takes the first that is left and all that go together with it, moving them to the front. */
    for (int64_t at = 0, end; !status && at < due; at = end) {
        end = at + 1;
        for (int64_t i = end; i < due; i++)
            if (together(&self->due[at], &self->due[i])) {
                due_slot swap = self->due[end];
                self->due[end++] = self->due[i];
                self->due[i] = swap;
            }
        status = step_together(self, self->due + at, end - at);
    }
    return status;
}

rl_status rl_optimizer_zero_grad(rl_optimizer *self) {
    rl_status status = optimizer_check_self(self, "optimizer_zero_grad");
    for (int64_t i = 0; !status && i < self->count; i++)
        status = rl_set_grad(self->slots[i].parameter, NULL);
    return status;
}

/* Groups
 * ------------------------------------------------------------------------------------------------------------------ */

int64_t rl_optimizer_group_count(const rl_optimizer *self) {
    return self ? self->n_groups : 0;
}

static rl_status check_group(const rl_optimizer *self, const char *function, int64_t number) {
    if (optimizer_check_self(self, function))
        return rl_error_status();
    return number >= 0 && number < self->n_groups
               ? RL_OK
               : rl_fail(RL_INVALID_ARGUMENT, "%s: group must lie within 0 and %lld, got %lld", function,
                         (long long)self->n_groups - 1, (long long)number);
}

double rl_optimizer_group_lr(const rl_optimizer *self, int64_t number) {
    return check_group(self, "optimizer_group_lr", number) ? 0.0 : self->groups[number].options.lr;
}

static rl_status check_lr(const char *function, double lr) {
    return lr >= 0.0 && isfinite(lr) ? RL_OK
                                     : rl_fail(RL_INVALID_ARGUMENT, "%s: lr must be 0 or more, got %g", function, lr);
}

rl_status rl_optimizer_set_group_lr(rl_optimizer *self, int64_t number, double lr) {
    rl_status status = check_group(self, "optimizer_set_group_lr", number);
    if (!status && !(status = check_lr("optimizer_set_group_lr", lr)))
        self->groups[number].options.lr = lr;
    return status;
}

double rl_optimizer_lr(const rl_optimizer *self) {
    return self ? self->groups[0].options.lr : 0.0;
}

rl_status rl_optimizer_set_lr(rl_optimizer *self, double lr) {
    rl_status status = optimizer_check_self(self, "optimizer_set_lr");
    if (!status && !(status = check_lr("optimizer_set_lr", lr)))
        for (int64_t i = 0; i < self->n_groups; i++)
            self->groups[i].options.lr = lr;
    return status;
}
