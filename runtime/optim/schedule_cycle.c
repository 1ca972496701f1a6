/* SPDX-License-Identifier: Apache-2.0 */
/* One cycle, which moves momentum too, and the plateau, which follows a metric. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/sized.h"
#include "optim/schedule.h"

#define PI 3.14159265358979323846
enum { LR_INITIAL, LR_MAX, LR_MIN };
enum { MOMENTUM_BASE, MOMENTUM_MAX };

/* A choice between two words; NULL is the first. */
static rl_status choose(const char *function, const char *name, const char *given, const char *first,
                        const char *second, bool *out_second) {
    *out_second = given && strcmp(given, second) == 0;
    return !given || *out_second || strcmp(given, first) == 0
               ? RL_OK
               : rl_fail(RL_INVALID_ARGUMENT, "%s: %s must be '%s' or '%s', got '%.32s'", function, name, first, second,
                         given);
}

/* One cycle ---------------------------------------------------------------------------------------------------------
 */

static double anneal(const one_cycle *cycle, double from, double to, double part) {
    return cycle->linear ? (to - from) * part + from : to + (from - to) / 2.0 * (cos(PI * part) + 1.0);
}

/* Where step t is: the phase, and how much of it is over. */
static int phase_of(const one_cycle *cycle, int64_t t, double *out_part) {
    double start = 0.0;
    int i = 0;
    for (; i < cycle->phases - 1 && (double)t > cycle->end[i]; i++)
        start = cycle->end[i];
    *out_part = cycle->end[i] == start ? 1.0 : ((double)t - start) / (cycle->end[i] - start);
    return i;
}

static void set_momentum(const rl_schedule *self, double momentum) {
    for (int64_t i = 0; i < self->n_groups; i++) {
        rule_options *options = &self->optimizer->groups[i].options;
        *(self->optimizer->rule->has_betas ? &options->beta1 : &options->momentum) = momentum;
    }
}

static double one_cycle_rate(const rl_schedule *self, schedule_moment moment, double base, double lr) {
    const one_cycle *cycle = &self->cycle;
    double part;
    int i = phase_of(cycle, self->t, &part);
    (void)moment, (void)base, (void)lr;
    if (cycle->cycle_momentum)
        set_momentum(self, anneal(cycle, cycle->momentum[cycle->momentum_at[i]],
                                  cycle->momentum[cycle->momentum_at[i + 1]], part));
    return anneal(cycle, cycle->lr[cycle->lr_at[i]], cycle->lr[cycle->lr_at[i + 1]], part);
}
static rl_status one_cycle_advance(rl_schedule *self) {
    return self->t < self->total
               ? RL_OK
               : rl_fail(RL_INVALID_ARGUMENT, "schedule_step: one_cycle_lr has %lld steps, and all of them were taken",
                         (long long)self->total);
}
static const schedule_kind one_cycle_kind = {
    .name = "OneCycleLR", .rate = one_cycle_rate, .advance = one_cycle_advance};

static void set_phases(one_cycle *cycle, double pct_start, int64_t total_steps, bool three) {
    double total = (double)total_steps;
    *cycle = three ? (one_cycle){.phases = 3,
                                 .end = {pct_start * total - 1.0, 2.0 * pct_start * total - 2.0, total - 1.0},
                                 .lr_at = {LR_INITIAL, LR_MAX, LR_INITIAL, LR_MIN},
                                 .momentum_at = {MOMENTUM_MAX, MOMENTUM_BASE, MOMENTUM_MAX, MOMENTUM_MAX}}
                   : (one_cycle){.phases = 2,
                                 .end = {pct_start * total - 1.0, total - 1.0},
                                 .lr_at = {LR_INITIAL, LR_MAX, LR_MIN},
                                 .momentum_at = {MOMENTUM_MAX, MOMENTUM_BASE, MOMENTUM_MAX}};
}

static rl_status set_total(const char *function, rl_schedule *self, const rl_schedule_one_cycle_options *o) {
    const int64_t epochs = rl_option_int(o->epochs, 0), steps = rl_option_int(o->steps_per_epoch, 0);
    int64_t product = 0;
    if (epochs > 0 && steps > 0 && __builtin_mul_overflow(epochs, steps, &product))
        return rl_fail(RL_INVALID_ARGUMENT, "%s: %lld epochs of %lld steps are too many steps", function,
                       (long long)epochs, (long long)steps);
    self->total = rl_option_int(o->total_steps, product);
    return self->total > 0 && epochs >= 0 && steps >= 0
               ? RL_OK
               : rl_fail(RL_INVALID_ARGUMENT,
                         "%s: total_steps, or both epochs and steps_per_epoch, must be given and above 0", function);
}

static rl_status set_one_cycle(const char *function, rl_schedule *self, double max_lr,
                               const rl_schedule_one_cycle_options *o) {
    double pct_start = rl_option_real(o->pct_start, 0.3);
    const rule *kind = self->optimizer->rule;
    bool linear;
    if (set_total(function, self, o) != RL_OK)
        return rl_error_status();
    if (!(pct_start >= 0.0 && pct_start <= 1.0))
        return rl_fail(RL_INVALID_ARGUMENT, "%s: pct_start must lie within [0, 1], got %g", function, pct_start);
    if (!(max_lr >= 0.0) || isinf(max_lr))
        return rl_fail(RL_INVALID_ARGUMENT, "%s: max_lr must be 0 or more, got %g", function, max_lr);
    if (choose(function, "anneal_strategy", o->anneal_strategy, "cos", "linear", &linear))
        return rl_error_status();
    set_phases(&self->cycle, pct_start, self->total, o->three_phase);
    self->cycle.linear = linear;
    self->cycle.cycle_momentum = rl_option_truth(o->cycle_momentum, true);
    if (self->cycle.cycle_momentum && !kind->has_betas && !kind->has_momentum)
        return rl_fail(RL_INVALID_ARGUMENT, "%s: %s has no momentum: give .cycle_momentum = RL_ZERO", function,
                       kind->name);
    self->cycle.lr[LR_INITIAL] = max_lr / rl_option_real(o->div_factor, 25.0);
    self->cycle.lr[LR_MAX] = max_lr;
    self->cycle.lr[LR_MIN] = self->cycle.lr[LR_INITIAL] / rl_option_real(o->final_div_factor, 1e4);
    self->cycle.momentum[MOMENTUM_BASE] = rl_option_real(o->base_momentum, 0.85);
    self->cycle.momentum[MOMENTUM_MAX] = rl_option_real(o->max_momentum, 0.95);
    for (int i = 0; i < 3; i++)
        if (!isfinite(self->cycle.lr[i]))
            return rl_fail(RL_INVALID_ARGUMENT, "%s: div_factor and final_div_factor must not be 0", function);
    for (int i = 0; i < 2 && self->cycle.cycle_momentum; i++)
        if (!(self->cycle.momentum[i] >= 0.0 && (self->cycle.momentum[i] < 1.0 || !kind->has_betas)))
            return rl_fail(RL_INVALID_ARGUMENT, "%s: momenta must lie within [0, 1), got %g", function,
                           self->cycle.momentum[i]);
    return RL_OK;
}

rl_schedule *rl_schedule_one_cycle_lr_opt(rl_optimizer *optimizer, double max_lr,
                                          const rl_schedule_one_cycle_options *given) {
    static const char function[] = "schedule_one_cycle_lr";
    rl_schedule_one_cycle_options o = {0};
    if (rl_failed() || rl_sized_take(function, &o, sizeof o, given) != RL_OK)
        return NULL;
    rl_schedule *self = schedule_new(function, &one_cycle_kind, optimizer);
    if (!self)
        return NULL;
    if (set_one_cycle(function, self, max_lr, &o)) {
        rl_release(self);
        return NULL;
    }
    for (int64_t i = 0; i < self->n_groups; i++)
        optimizer->groups[i].initial_lr = self->cycle.lr[LR_INITIAL];
    return schedule_start(self);
}

/* The plateau -------------------------------------------------------------------------------------------------------
 */

static bool is_better(const rl_schedule *self, double metric) {
    double best = self->plateau.best, threshold = self->plateau.threshold;
    double mark = self->plateau.absolute ? (self->plateau.max ? best + threshold : best - threshold)
                                         : best * (self->plateau.max ? threshold + 1.0 : 1.0 - threshold);
    return self->plateau.max ? metric > mark : metric < mark;
}

static void reduce(rl_schedule *self) {
    for (int64_t i = 0; i < self->n_groups; i++) {
        double *lr = &self->optimizer->groups[i].options.lr;
        double fresh = *lr * self->factor;
        fresh = self->plateau.min_lr > fresh ? self->plateau.min_lr : fresh;
        if (*lr - fresh > self->plateau.eps)
            *lr = fresh;
    }
}

static rl_status plateau_step(rl_schedule *self, const double *metric) {
    if (!metric)
        return rl_fail(RL_INVALID_ARGUMENT, "schedule_step: reduce_lr_on_plateau needs a metric: call "
                                            "rl_schedule_step_metric");
    self->t++;
    if (is_better(self, *metric)) {
        self->plateau.best = *metric;
        self->plateau.bad = 0;
    } else {
        self->plateau.bad++;
    }
    if (self->plateau.cooling > 0) {
        self->plateau.cooling--;
        self->plateau.bad = 0;
    }
    if (self->plateau.bad > self->plateau.patience) {
        reduce(self);
        self->plateau.cooling = self->plateau.cooldown;
        self->plateau.bad = 0;
    }
    return RL_OK;
}
const schedule_kind schedule_plateau = {.name = "ReduceLROnPlateau", .step = plateau_step};

static rl_status set_plateau(const char *function, rl_schedule *self, const rl_schedule_plateau_options *o) {
    self->factor = rl_option_real(o->factor, 0.1);
    if (!(self->factor < 1.0))
        return rl_fail(RL_INVALID_ARGUMENT, "%s: factor must be below 1, got %g", function, self->factor);
    if (choose(function, "mode", o->mode, "min", "max", &self->plateau.max) ||
        choose(function, "threshold_mode", o->threshold_mode, "rel", "abs", &self->plateau.absolute))
        return rl_error_status();
    self->plateau.patience = rl_option_int(o->patience, 10);
    self->plateau.cooldown = rl_option_int(o->cooldown, 0);
    self->plateau.threshold = rl_option_real(o->threshold, 1e-4);
    self->plateau.min_lr = rl_option_real(o->min_lr, 0.0);
    self->plateau.eps = rl_option_real(o->eps, 1e-8);
    self->plateau.best = self->plateau.max ? -INFINITY : INFINITY;
    return RL_OK;
}

rl_schedule *rl_schedule_reduce_lr_on_plateau_opt(rl_optimizer *optimizer, const rl_schedule_plateau_options *given) {
    static const char function[] = "schedule_reduce_lr_on_plateau";
    rl_schedule_plateau_options o = {0};
    if (rl_failed() || rl_sized_take(function, &o, sizeof o, given) != RL_OK)
        return NULL;
    rl_schedule *self = schedule_new(function, &schedule_plateau, optimizer);
    if (!self)
        return NULL;
    if (set_plateau(function, self, &o)) {
        rl_release(self);
        return NULL;
    }
    return schedule_start(self);
}
