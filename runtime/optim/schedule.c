/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a schedule, and schedules one after the other. */
#include "optim/schedule.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"

static void schedule_destroy(rl_object *object) {
    rl_schedule *self = (rl_schedule *)object;
    for (int64_t i = 0; i < self->n_children; i++)
        rl_release(self->children[i]);
    rl_release(self->optimizer);
    rl_free(self->children);
    rl_free(self->milestones);
    rl_free(self->bases);
    rl_free(self);
}
static const rl_object_class schedule_class = {"schedule", schedule_destroy};

rl_schedule *schedule_new(const char *function, const schedule_kind *kind, rl_optimizer *optimizer) {
    rl_schedule *self;
    if (rl_failed())
        return NULL;
    if (!optimizer)
        return rl_fail_null(RL_INVALID_ARGUMENT, "%s: optimizer is NULL", function);
    if (!(self = rl_alloc_zero(1, sizeof *self, "schedule")))
        return NULL;
    rl_object_init(&self->object, &schedule_class);
    self->kind = kind;
    self->optimizer = rl_retain(optimizer);
    self->n_groups = optimizer->n_groups;
    if (!(self->bases = rl_alloc_zero((size_t)self->n_groups, sizeof *self->bases, "schedule"))) {
        rl_release(self);
        return NULL;
    }
    return self;
}

static void set_rates(rl_schedule *self, schedule_moment moment) {
    for (int64_t i = 0; i < self->n_groups; i++) {
        double *lr = &self->optimizer->groups[i].options.lr;
        *lr = self->kind->rate(self, moment, self->bases[i], *lr);
    }
}

rl_schedule *schedule_start(rl_schedule *self) {
    for (int64_t i = 0; i < self->n_groups; i++) {
        group *g = &self->optimizer->groups[i];
        if (isnan(g->initial_lr))
            g->initial_lr = g->options.lr;
        self->bases[i] = g->initial_lr;
    }
    if (self->kind->rate)
        set_rates(self, SCHEDULE_MADE);
    return rl_object_own(self);
}

static int compare_steps(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

rl_status schedule_set_milestones(const char *function, rl_schedule *self, rl_ints milestones) {
    if (milestones.count < 0 || (milestones.count > 0 && !milestones.data))
        return rl_fail(RL_INVALID_ARGUMENT, "%s: milestones are %lld at NULL", function, (long long)milestones.count);
    self->milestones = rl_alloc_zero((size_t)milestones.count + 1, sizeof *self->milestones, "schedule");
    if (!self->milestones)
        return rl_error_status();
    if (milestones.count > 0)
        memcpy(self->milestones, milestones.data, (size_t)milestones.count * sizeof *self->milestones);
    self->n_milestones = milestones.count;
    qsort(self->milestones, (size_t)milestones.count, sizeof *self->milestones, compare_steps);
    return RL_OK;
}

int64_t schedule_milestones_passed(const rl_schedule *self, int64_t t) {
    int64_t passed = 0;
    while (passed < self->n_milestones && self->milestones[passed] <= t)
        passed++;
    return passed;
}

/* Steps ----------------------------------------------------------------------------------------------------------- */

static rl_status step(rl_schedule *self, const double *metric) {
    if (self->n_groups != self->optimizer->n_groups)
        return rl_fail(RL_INVALID_ARGUMENT,
                       "schedule_step: the optimizer has %lld groups, it had %lld when the schedule was made: add "
                       "groups before",
                       (long long)self->optimizer->n_groups, (long long)self->n_groups);
    if (self->kind->step)
        return self->kind->step(self, metric);
    if (self->kind->advance && self->kind->advance(self))
        return rl_error_status();
    self->t++;
    set_rates(self, SCHEDULE_STEP);
    return RL_OK;
}

rl_status rl_schedule_step(rl_schedule *self) {
    return optimizer_check_self(self, "schedule_step") ? rl_error_status() : step(self, NULL);
}
rl_status rl_schedule_step_metric(rl_schedule *self, double metric) {
    return optimizer_check_self(self, "schedule_step_metric") ? rl_error_status() : step(self, &metric);
}
double rl_schedule_lr(const rl_schedule *self) {
    return self ? rl_optimizer_lr(self->optimizer) : 0.0;
}
int64_t rl_schedule_steps(const rl_schedule *self) {
    return self ? self->t : 0;
}

/* One after the other --------------------------------------------------------------------------------------------- */

/* The one whose turn it is begins at its milestone and steps otherwise. */
static rl_status sequential_step(rl_schedule *self, const double *metric) {
    int64_t t = self->t + 1, number = schedule_milestones_passed(self, t);
    rl_schedule *child = self->children[number];
    (void)metric;
    if (number > 0 && self->milestones[number - 1] == t) {
        child->t = 0;
        set_rates(child, SCHEDULE_BEGINS);
    } else if (step(child, NULL)) {
        return rl_error_status();
    }
    self->t = t;
    return RL_OK;
}
const schedule_kind schedule_sequential = {.name = "SequentialLR", .step = sequential_step};

static rl_status check_children(const rl_schedule *self, rl_schedule *const *schedules, int64_t count) {
    static const char function[] = "schedule_sequential_lr";
    for (int64_t i = 0; i < count; i++) {
        const rl_schedule *child = schedules[i];
        if (!child)
            return rl_fail(RL_INVALID_ARGUMENT, "%s: schedules[%lld] is NULL", function, (long long)i);
        if (child->optimizer != self->optimizer)
            return rl_fail(RL_INVALID_ARGUMENT, "%s: schedules[%lld] is of another optimizer", function, (long long)i);
        if (!child->kind->rate)
            return rl_fail(RL_INVALID_ARGUMENT, "%s: schedules[%lld] is a %s, which cannot be part of a sequence",
                           function, (long long)i, child->kind->name);
    }
    return RL_OK;
}

static rl_status take_children(rl_schedule *self, rl_schedule *const *schedules, int64_t count, rl_ints milestones) {
    static const char function[] = "schedule_sequential_lr";
    if (count < 1 || !schedules)
        return rl_fail(RL_INVALID_ARGUMENT, "%s: it needs at least one schedule", function);
    if (milestones.count != count - 1)
        return rl_fail(RL_INVALID_ARGUMENT, "%s: %lld schedules need %lld milestones, got %lld", function,
                       (long long)count, (long long)count - 1, (long long)milestones.count);
    if (check_children(self, schedules, count) || schedule_set_milestones(function, self, milestones))
        return rl_error_status();
    for (int64_t i = 0; i + 1 < count; i++)
        if (milestones.data[i] < 1 || (i > 0 && milestones.data[i] <= milestones.data[i - 1]))
            return rl_fail(RL_INVALID_ARGUMENT, "%s: milestones must be above 0 and rise", function);
    if (!(self->children = rl_alloc_zero((size_t)count, sizeof(rl_schedule *), "schedule")))
        return rl_error_status();
    for (int64_t i = 0; i < count; i++)
        self->children[self->n_children++] = rl_retain(schedules[i]);
    return RL_OK;
}

rl_schedule *rl_schedule_sequential_lr(rl_optimizer *optimizer, rl_schedule *const *schedules, int64_t count,
                                       rl_ints milestones) {
    rl_schedule *self = schedule_new("schedule_sequential_lr", &schedule_sequential, optimizer);
    if (!self)
        return NULL;
    if (take_children(self, schedules, count, milestones)) {
        rl_release(self);
        return NULL;
    }
    /* Each has set its rates when it was made: back to those at first, and only the first sets its own again. */
    for (int64_t i = 0; i < self->n_groups; i++)
        optimizer->groups[i].options.lr = optimizer->groups[i].initial_lr;
    set_rates(self->children[0], SCHEDULE_MADE);
    return schedule_start(self);
}
