/* SPDX-License-Identifier: Apache-2.0 */
/* Schedules whose rate is a formula of the step, in PyTorch's order of operations: most go from one rate to the next.
 */
#include <math.h>

#include "base/error.h"
#include "base/sized.h"
#include "optim/schedule.h"

#define PI 3.14159265358979323846

/* Ends the making of a schedule, by its numbers or by the error that they met. */
static rl_schedule *finish(rl_schedule *self, rl_status status) {
    if (status == RL_OK)
        return schedule_start(self);
    rl_release(self);
    return NULL;
}

static rl_status check_positive(const char *function, const char *name, int64_t value) {
    return value > 0
               ? RL_OK
               : rl_fail(RL_INVALID_ARGUMENT, "%s: %s must be above 0, got %lld", function, name, (long long)value);
}
static rl_status check_number(const char *function, const char *name, double value) {
    return isfinite(value) ? RL_OK
                           : rl_fail(RL_INVALID_ARGUMENT, "%s: %s must be a number, got %g", function, name, value);
}

/* Steps, powers -----------------------------------------------------------------------------------------------------
 */

static double step_rate(const rl_schedule *self, schedule_moment moment, double base, double lr) {
    if (moment != SCHEDULE_STEP)
        return moment == SCHEDULE_BEGINS ? base : lr;
    return self->t % self->period == 0 ? lr * self->gamma : lr;
}
static const schedule_kind step_kind = {.name = "StepLR", .rate = step_rate};

static rl_schedule *with_gamma(const char *function, const schedule_kind *kind, rl_optimizer *optimizer,
                               const rl_schedule_gamma_options *given) {
    rl_schedule_gamma_options o = {0};
    if (rl_failed() || rl_sized_take(function, &o, sizeof o, given) != RL_OK ||
        check_number(function, "gamma", o.gamma) != RL_OK)
        return NULL;
    rl_schedule *self = schedule_new(function, kind, optimizer);
    if (self)
        self->gamma = rl_option_real(o.gamma, 0.1);
    return self;
}

rl_schedule *rl_schedule_step_lr_opt(rl_optimizer *optimizer, int64_t step_size,
                                     const rl_schedule_gamma_options *options) {
    static const char function[] = "schedule_step_lr";
    rl_schedule *self = with_gamma(function, &step_kind, optimizer, options);
    if (!self)
        return NULL;
    self->period = step_size;
    return finish(self, check_positive(function, "step_size", step_size));
}

static double multi_step_rate(const rl_schedule *self, schedule_moment moment, double base, double lr) {
    int64_t passed = schedule_milestones_passed(self, self->t);
    int64_t here = passed - schedule_milestones_passed(self, self->t - 1);
    if (moment == SCHEDULE_BEGINS)
        return base * pow(self->gamma, (double)passed);
    return here > 0 ? lr * pow(self->gamma, (double)here) : lr;
}
static const schedule_kind multi_step_kind = {.name = "MultiStepLR", .rate = multi_step_rate};

rl_schedule *rl_schedule_multi_step_lr_opt(rl_optimizer *optimizer, rl_ints milestones,
                                           const rl_schedule_gamma_options *options) {
    static const char function[] = "schedule_multi_step_lr";
    rl_schedule *self = with_gamma(function, &multi_step_kind, optimizer, options);
    return self ? finish(self, schedule_set_milestones(function, self, milestones)) : NULL;
}

static double exponential_rate(const rl_schedule *self, schedule_moment moment, double base, double lr) {
    return moment == SCHEDULE_STEP ? lr * self->gamma : moment == SCHEDULE_BEGINS ? base : lr;
}
static const schedule_kind exponential_kind = {.name = "ExponentialLR", .rate = exponential_rate};

rl_schedule *rl_schedule_exponential_lr(rl_optimizer *optimizer, double gamma) {
    static const char function[] = "schedule_exponential_lr";
    rl_schedule *self = schedule_new(function, &exponential_kind, optimizer);
    if (!self)
        return NULL;
    self->gamma = gamma;
    return finish(self, check_number(function, "gamma", gamma));
}

/* Factors -----------------------------------------------------------------------------------------------------------
 */

static double constant_rate(const rl_schedule *self, schedule_moment moment, double base, double lr) {
    if (moment == SCHEDULE_MADE)
        return lr * self->factor;
    if (moment == SCHEDULE_BEGINS)
        return base * (self->total <= 0 ? 1.0 : self->factor);
    return self->t == self->total ? lr * (1.0 / self->factor) : lr;
}
static const schedule_kind constant_kind = {.name = "ConstantLR", .rate = constant_rate};

static double linear_rate(const rl_schedule *self, schedule_moment moment, double base, double lr) {
    double change = self->end_factor - self->factor;
    if (moment != SCHEDULE_STEP)
        return (moment == SCHEDULE_MADE ? lr : base) * self->factor;
    if (self->t > self->total)
        return lr;
    return lr * (1.0 + change / ((double)self->total * self->factor + (double)(self->t - 1) * change));
}
static const schedule_kind linear_kind = {.name = "LinearLR", .rate = linear_rate};

static double polynomial_rate(const rl_schedule *self, schedule_moment moment, double base, double lr) {
    double t = (double)self->t, total = (double)self->total;
    if (moment != SCHEDULE_STEP)
        return moment == SCHEDULE_BEGINS ? base : lr;
    return self->t > self->total ? lr : lr * pow((1.0 - t / total) / (1.0 - (t - 1.0) / total), self->power);
}
static const schedule_kind polynomial_kind = {.name = "PolynomialLR", .rate = polynomial_rate};

static rl_schedule *with_factor(const char *function, const schedule_kind *kind, rl_optimizer *optimizer,
                                const rl_schedule_factor_options *given, rl_schedule_factor_options *o) {
    *o = (rl_schedule_factor_options){0};
    if (rl_failed() || rl_sized_take(function, o, sizeof *o, given) != RL_OK)
        return NULL;
    o->total_iters = rl_option_int(o->total_iters, 5);
    if (check_positive(function, "total_iters", o->total_iters) != RL_OK)
        return NULL;
    rl_schedule *self = schedule_new(function, kind, optimizer);
    if (self)
        self->total = o->total_iters;
    return self;
}

static rl_status check_factor(const char *function, const char *name, double value, bool zero_too) {
    return value <= 1.0 && (value > 0.0 || (zero_too && value == 0.0))
               ? RL_OK
               : rl_fail(RL_INVALID_ARGUMENT, "%s: %s must be %s 0 and at most 1, got %g", function, name,
                         zero_too ? "at least" : "above", value);
}

rl_schedule *rl_schedule_constant_lr_opt(rl_optimizer *optimizer, const rl_schedule_factor_options *options) {
    static const char function[] = "schedule_constant_lr";
    rl_schedule_factor_options o;
    rl_schedule *self = with_factor(function, &constant_kind, optimizer, options, &o);
    if (!self)
        return NULL;
    self->factor = rl_option_real(o.factor, 1.0 / 3.0);
    return finish(self, check_factor(function, "factor", self->factor, false));
}

rl_schedule *rl_schedule_linear_lr_opt(rl_optimizer *optimizer, const rl_schedule_factor_options *options) {
    static const char function[] = "schedule_linear_lr";
    rl_schedule_factor_options o;
    rl_schedule *self = with_factor(function, &linear_kind, optimizer, options, &o);
    if (!self)
        return NULL;
    self->factor = rl_option_real(o.start_factor, 1.0 / 3.0);
    self->end_factor = rl_option_real(o.end_factor, 1.0);
    rl_status status = check_factor(function, "start_factor", self->factor, false);
    return finish(self, status ? status : check_factor(function, "end_factor", self->end_factor, true));
}

rl_schedule *rl_schedule_polynomial_lr_opt(rl_optimizer *optimizer, const rl_schedule_factor_options *options) {
    static const char function[] = "schedule_polynomial_lr";
    rl_schedule_factor_options o;
    rl_schedule *self = with_factor(function, &polynomial_kind, optimizer, options, &o);
    if (!self)
        return NULL;
    self->power = rl_option_real(o.power, 1.0);
    return finish(self, check_number(function, "power", self->power));
}

/* Cosines -----------------------------------------------------------------------------------------------------------
 */

static double cosine_rate(const rl_schedule *self, schedule_moment moment, double base, double lr) {
    double t = (double)self->t, period = (double)self->period, low = self->eta_min;
    if (moment == SCHEDULE_MADE)
        return lr;
    if (moment == SCHEDULE_BEGINS)
        return low + (base - low) * 2.0 / 2.0;
    if ((self->t - 1 - self->period) % (2 * self->period) == 0) /* out of the lowest point, where the ratio has none */
        return lr + (base - low) * (1.0 - cos(PI / period)) / 2.0;
    return (1.0 + cos(PI * t / period)) / (1.0 + cos(PI * (t - 1.0) / period)) * (lr - low) + low;
}
static const schedule_kind cosine_kind = {.name = "CosineAnnealingLR", .rate = cosine_rate};

static rl_schedule *with_cosine(const char *function, const schedule_kind *kind, rl_optimizer *optimizer,
                                int64_t period, const rl_schedule_cosine_options *given) {
    rl_schedule_cosine_options o = {0};
    if (rl_failed() || rl_sized_take(function, &o, sizeof o, given) != RL_OK)
        return NULL;
    rl_schedule *self = schedule_new(function, kind, optimizer);
    if (!self)
        return NULL;
    self->eta_min = rl_option_real(o.eta_min, 0.0);
    self->period = self->restart.length = period;
    self->restart.mult = rl_option_int(o.t_mult, 1);
    rl_status status = check_number(function, "eta_min", self->eta_min);
    if (!status)
        status = check_positive(function, kind == &cosine_kind ? "t_max" : "t_0", period);
    return finish(self, status ? status : check_positive(function, "t_mult", self->restart.mult));
}

rl_schedule *rl_schedule_cosine_annealing_lr_opt(rl_optimizer *optimizer, int64_t t_max,
                                                 const rl_schedule_cosine_options *options) {
    return with_cosine("schedule_cosine_annealing_lr", &cosine_kind, optimizer, t_max, options);
}

static double restarts_rate(const rl_schedule *self, schedule_moment moment, double base, double lr) {
    (void)moment, (void)lr;
    return self->eta_min +
           (base - self->eta_min) * (1.0 + cos(PI * (double)self->restart.now / (double)self->restart.length)) / 2.0;
}
static rl_status restarts_advance(rl_schedule *self) {
    if (++self->restart.now >= self->restart.length) {
        self->restart.now = 0;
        if (__builtin_mul_overflow(self->restart.length, self->restart.mult, &self->restart.length))
            self->restart.length = INT64_MAX;
    }
    return RL_OK;
}
const schedule_kind schedule_restarts = {
    .name = "CosineAnnealingWarmRestarts", .rate = restarts_rate, .advance = restarts_advance};

rl_schedule *rl_schedule_cosine_annealing_warm_restarts_opt(rl_optimizer *optimizer, int64_t t_0,
                                                            const rl_schedule_cosine_options *options) {
    return with_cosine("schedule_cosine_annealing_warm_restarts", &schedule_restarts, optimizer, t_0, options);
}

/* A function of the user's ------------------------------------------------------------------------------------------
 */

static double lambda_rate(const rl_schedule *self, schedule_moment moment, double base, double lr) {
    (void)moment, (void)lr;
    rl_barrier barrier = rl_barrier_enter();
    double factor = self->fn(self->t, self->context);
    rl_barrier_leave(barrier, NULL);
    return base * factor;
}
static const schedule_kind lambda_kind = {.name = "LambdaLR", .rate = lambda_rate};

rl_schedule *rl_schedule_lambda_lr(rl_optimizer *optimizer, rl_schedule_fn factor, void *context) {
    static const char function[] = "schedule_lambda_lr";
    rl_schedule *self = schedule_new(function, &lambda_kind, optimizer);
    if (!self)
        return NULL;
    self->fn = factor;
    self->context = context;
    return finish(self, factor ? RL_OK : rl_fail(RL_INVALID_ARGUMENT, "%s: factor is NULL", function));
}
