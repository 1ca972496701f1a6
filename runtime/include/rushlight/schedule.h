/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Schedules of learning rates. A schedule is an object, owned by the innermost scope; it retains its optimizer, whose
 * learning rates it sets: at once when it is made, and with every rl_schedule_step. Names, arguments and numbers are
 * those of torch.optim.lr_scheduler.
 */
#ifndef RUSHLIGHT_SCHEDULE_H
#define RUSHLIGHT_SCHEDULE_H

#include "rushlight/optim.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rl_schedule rl_schedule;

/* In what follows t counts the steps of the schedule from 0, and every group's rate starts from its own. */

typedef struct rl_schedule_gamma_options {
    size_t struct_size;
    double gamma; /* default 0.1 */
} rl_schedule_gamma_options;
/* lr times gamma every step_size steps. */
RL_API rl_schedule *rl_schedule_step_lr_opt(rl_optimizer *optimizer, int64_t step_size,
                                            const rl_schedule_gamma_options *options);
#define rl_schedule_step_lr(...)                                                                                       \
    rl_schedule_step_lr_opt(                                                                                           \
        RL_TAKE2_(__VA_ARGS__, ),                                                                                      \
        &(rl_schedule_gamma_options){.struct_size = sizeof(rl_schedule_gamma_options), RL_DROP2_(__VA_ARGS__, )})
/* lr times gamma at each milestone, in any order: rl_schedule_multi_step_lr(sgd, RL_DIMS(30, 80)). */
RL_API rl_schedule *rl_schedule_multi_step_lr_opt(rl_optimizer *optimizer, rl_ints milestones,
                                                  const rl_schedule_gamma_options *options);
#define rl_schedule_multi_step_lr(...)                                                                                 \
    rl_schedule_multi_step_lr_opt(                                                                                     \
        RL_TAKE2_(__VA_ARGS__, ),                                                                                      \
        &(rl_schedule_gamma_options){.struct_size = sizeof(rl_schedule_gamma_options), RL_DROP2_(__VA_ARGS__, )})
/* lr times gamma at each step. */
RL_API rl_schedule *rl_schedule_exponential_lr(rl_optimizer *optimizer, double gamma);

typedef struct rl_schedule_factor_options {
    size_t struct_size;
    double factor, start_factor; /* default 1/3: that of constant_lr, that of linear_lr */
    double end_factor;           /* default 1 */
    double power;                /* default 1 */
    int64_t total_iters;         /* default 5 */
} rl_schedule_factor_options;
/* lr times factor until step total_iters. Takes .factor, .total_iters. */
RL_API rl_schedule *rl_schedule_constant_lr_opt(rl_optimizer *optimizer, const rl_schedule_factor_options *options);
#define rl_schedule_constant_lr(...)                                                                                   \
    rl_schedule_constant_lr_opt(                                                                                       \
        RL_TAKE1_(__VA_ARGS__, ),                                                                                      \
        &(rl_schedule_factor_options){.struct_size = sizeof(rl_schedule_factor_options), RL_DROP1_(__VA_ARGS__, )})
/* lr times a factor that goes from start_factor to end_factor in total_iters steps: a warmup. Takes .start_factor,
 * .end_factor, .total_iters. */
RL_API rl_schedule *rl_schedule_linear_lr_opt(rl_optimizer *optimizer, const rl_schedule_factor_options *options);
#define rl_schedule_linear_lr(...)                                                                                     \
    rl_schedule_linear_lr_opt(                                                                                         \
        RL_TAKE1_(__VA_ARGS__, ),                                                                                      \
        &(rl_schedule_factor_options){.struct_size = sizeof(rl_schedule_factor_options), RL_DROP1_(__VA_ARGS__, )})
/* lr (1 - t / total_iters)^power, 0 from total_iters on. Takes .total_iters, .power. */
RL_API rl_schedule *rl_schedule_polynomial_lr_opt(rl_optimizer *optimizer, const rl_schedule_factor_options *options);
#define rl_schedule_polynomial_lr(...)                                                                                 \
    rl_schedule_polynomial_lr_opt(                                                                                     \
        RL_TAKE1_(__VA_ARGS__, ),                                                                                      \
        &(rl_schedule_factor_options){.struct_size = sizeof(rl_schedule_factor_options), RL_DROP1_(__VA_ARGS__, )})

typedef struct rl_schedule_cosine_options {
    size_t struct_size;
    double eta_min; /* default 0 */
    int64_t t_mult; /* default 1 */
} rl_schedule_cosine_options;
/* From lr to eta_min and back along a cosine of half period t_max. Takes .eta_min. Loshchilov and Hutter 2017. */
RL_API rl_schedule *rl_schedule_cosine_annealing_lr_opt(rl_optimizer *optimizer, int64_t t_max,
                                                        const rl_schedule_cosine_options *options);
#define rl_schedule_cosine_annealing_lr(...)                                                                           \
    rl_schedule_cosine_annealing_lr_opt(                                                                               \
        RL_TAKE2_(__VA_ARGS__, ),                                                                                      \
        &(rl_schedule_cosine_options){.struct_size = sizeof(rl_schedule_cosine_options), RL_DROP2_(__VA_ARGS__, )})
/* From lr to eta_min, then from lr again; the first time in t_0 steps, each later time in t_mult times as many. */
RL_API rl_schedule *rl_schedule_cosine_annealing_warm_restarts_opt(rl_optimizer *optimizer, int64_t t_0,
                                                                   const rl_schedule_cosine_options *options);
#define rl_schedule_cosine_annealing_warm_restarts(...)                                                                \
    rl_schedule_cosine_annealing_warm_restarts_opt(                                                                    \
        RL_TAKE2_(__VA_ARGS__, ),                                                                                      \
        &(rl_schedule_cosine_options){.struct_size = sizeof(rl_schedule_cosine_options), RL_DROP2_(__VA_ARGS__, )})

typedef struct rl_schedule_one_cycle_options {
    size_t struct_size;
    int64_t total_steps; /* or both of these: */
    int64_t epochs, steps_per_epoch;
    double pct_start;                    /* default 0.3: the part of the steps in which lr rises */
    const char *anneal_strategy;         /* "cos", the default, or "linear" */
    int64_t cycle_momentum;              /* default true; RL_ZERO: momentum stays */
    double base_momentum, max_momentum;  /* default 0.85, 0.95 */
    double div_factor, final_div_factor; /* default 25, 1e4 */
    bool three_phase;
} rl_schedule_one_cycle_options;
/* From max_lr / div_factor up to max_lr and down to max_lr / div_factor / final_div_factor, while momentum (or beta1)
 * goes down and up again. max_lr is that of all groups. More than total_steps steps are an error. Smith and Topin
 * 2018. */
RL_API rl_schedule *rl_schedule_one_cycle_lr_opt(rl_optimizer *optimizer, double max_lr,
                                                 const rl_schedule_one_cycle_options *options);
#define rl_schedule_one_cycle_lr(...)                                                                                  \
    rl_schedule_one_cycle_lr_opt(RL_TAKE2_(__VA_ARGS__, ),                                                             \
                                 &(rl_schedule_one_cycle_options){                                                     \
                                     .struct_size = sizeof(rl_schedule_one_cycle_options), RL_DROP2_(__VA_ARGS__, )})

typedef struct rl_schedule_plateau_options {
    size_t struct_size;
    const char *mode;           /* "min", the default, or "max" */
    double factor;              /* default 0.1 */
    int64_t patience;           /* default 10; RL_ZERO: none */
    double threshold;           /* default 1e-4 */
    const char *threshold_mode; /* "rel", the default, or "abs" */
    int64_t cooldown;
    double min_lr;
    double eps; /* default 1e-8: a change of less is not made */
} rl_schedule_plateau_options;
/* lr times factor when a metric has not become better for more than `patience` steps: rl_schedule_step_metric. */
RL_API rl_schedule *rl_schedule_reduce_lr_on_plateau_opt(rl_optimizer *optimizer,
                                                         const rl_schedule_plateau_options *options);
#define rl_schedule_reduce_lr_on_plateau(...)                                                                          \
    rl_schedule_reduce_lr_on_plateau_opt(                                                                              \
        RL_TAKE1_(__VA_ARGS__, ),                                                                                      \
        &(rl_schedule_plateau_options){.struct_size = sizeof(rl_schedule_plateau_options), RL_DROP1_(__VA_ARGS__, )})

/* lr times factor(t, context), of each group its rate at first. */
typedef double (*rl_schedule_fn)(int64_t step, void *context);
RL_API rl_schedule *rl_schedule_lambda_lr(rl_optimizer *optimizer, rl_schedule_fn factor, void *context);

/* One schedule after the other: count - 1 milestones are the steps at which the next one takes over and begins with its
 * own step 0. All are of this optimizer and are stepped by this one alone; it retains them. */
RL_API rl_schedule *rl_schedule_sequential_lr(rl_optimizer *optimizer, rl_schedule *const *schedules, int64_t count,
                                              rl_ints milestones);

/* Use ----------------------------------------------------------------------------------------------------------------
 */

/* After the optimizer's step. */
RL_API rl_status rl_schedule_step(rl_schedule *self);
/* The same with a metric, which reduce_lr_on_plateau needs; others take no notice of it. */
RL_API rl_status rl_schedule_step_metric(rl_schedule *self, double metric);
/* The learning rate of group 0, as it is now. */
RL_API double rl_schedule_lr(const rl_schedule *self);
/* How many steps were taken. */
RL_API int64_t rl_schedule_steps(const rl_schedule *self);

/* The state to and from a file, beside the optimizer's own, which holds the learning rates: load both. Loading needs a
 * schedule of the same kind and, of one_cycle_lr, the same numbers; nothing is changed where the file is wrong. */
RL_API rl_status rl_schedule_save(rl_schedule *self, const char *path);
RL_API rl_status rl_schedule_load(rl_schedule *self, const char *path);

#ifdef __cplusplus
}
#endif
#endif
