/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RUSHLIGHT_RUNTIME_OPTIM_SCHEDULE_H
#define RUSHLIGHT_RUNTIME_OPTIM_SCHEDULE_H

#include "optim/optimizer.h"
#include "rushlight/schedule.h"

typedef enum schedule_moment {
    SCHEDULE_MADE,  /* step 0, when it is made: from the rate that is there */
    SCHEDULE_STEP,  /* a later step: most go from the rate before, as PyTorch's do, which is their rounding */
    SCHEDULE_BEGINS /* step 0, when it takes over within a sequence: from the group's rate at first */
} schedule_moment;

typedef struct schedule_kind {
    const char *name; /* "StepLR" */
    /* The rate of a group at step self->t; `base` is its rate at first, `lr` the one before. */
    double (*rate)(const rl_schedule *self, schedule_moment moment, double base, double lr);
    /* Before the rates of a step are asked for; may fail, then changing nothing. May be NULL. */
    rl_status (*advance)(rl_schedule *self);
    /* In place of all this. May be NULL. */
    rl_status (*step)(rl_schedule *self, const double *metric);
} schedule_kind;

typedef struct one_cycle {
    int phases;
    double end[3];             /* steps */
    int lr_at[4];              /* where the phases begin and end: an index of .lr */
    int momentum_at[4];        /* and of .momentum */
    double lr[3], momentum[2]; /* initial, max, min; base, max */
    bool linear, cycle_momentum;
} one_cycle;

struct rl_schedule {
    rl_object object;
    const schedule_kind *kind;
    rl_optimizer *optimizer;
    int64_t n_groups;
    double *bases; /* of each group, its rate at first */
    int64_t t;     /* steps taken */
    double gamma, factor, end_factor, power, eta_min;
    int64_t period, total; /* step_size, t_max, t_0; total_iters, total_steps */
    int64_t *milestones;   /* in order */
    int64_t n_milestones;
    struct {
        int64_t now, length, mult;
    } restart;
    one_cycle cycle;
    struct {
        bool max, absolute;
        int64_t patience, cooldown;
        double threshold, min_lr, eps;
        double best;
        int64_t bad, cooling;
    } plateau;
    rl_schedule_fn fn;
    void *context;
    rl_schedule **children;
    int64_t n_children;
};

extern const schedule_kind schedule_plateau, schedule_sequential, schedule_restarts;

/* A schedule of that kind without rates yet; NULL on failure. The caller fills in its numbers and calls
 * schedule_start, or releases it. */
rl_schedule *schedule_new(const char *function, const schedule_kind *kind, rl_optimizer *optimizer);
/* Sets the rates of step 0; gives the schedule to the innermost scope. */
rl_schedule *schedule_start(rl_schedule *self);
/* Milestones, sorted. */
rl_status schedule_set_milestones(const char *function, rl_schedule *self, rl_ints milestones);
/* How many milestones are at or before t. */
int64_t schedule_milestones_passed(const rl_schedule *self, int64_t t);

#endif
