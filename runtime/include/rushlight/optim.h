/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Optimizers. A step updates all parameters that have a gradient by one call of the device. An optimizer is an object,
 * owned by the innermost scope; it retains its parameters. Parameters may be on several devices.
 */
#ifndef RUSHLIGHT_OPTIM_H
#define RUSHLIGHT_OPTIM_H

#include "rushlight/nn.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rl_optimizer rl_optimizer;

typedef struct rl_optimizer_sgd_options {
    size_t struct_size;
    double lr; /* default 1e-3 */
    double momentum, dampening, weight_decay;
    bool nesterov, maximize;
    rl_tensors parameters; /* these instead of all of the module's, which may then be NULL */
} rl_optimizer_sgd_options;
/* p -= lr d, where d = g + weight_decay p, or with momentum m: b = m b + (1 - dampening) d (first b = d), d = b, or
 * d + m b with nesterov. Sutskever et al. 2013, in PyTorch's form. */
RL_API rl_optimizer *rl_optimizer_sgd_opt(rl_module *module, const rl_optimizer_sgd_options *options);
#define rl_optimizer_sgd(...)                                                                                          \
    rl_optimizer_sgd_opt(                                                                                              \
        RL_TAKE1_(__VA_ARGS__, ),                                                                                      \
        &(rl_optimizer_sgd_options){.struct_size = sizeof(rl_optimizer_sgd_options), RL_DROP1_(__VA_ARGS__, )})

typedef struct rl_optimizer_adam_options {
    size_t struct_size;
    double lr;           /* default 1e-3 */
    double beta1, beta2; /* default 0.9, 0.999 */
    double eps;          /* default 1e-8 */
    double weight_decay; /* default 0; AdamW: 0.01 */
    bool amsgrad, maximize;
    rl_tensors parameters;
} rl_optimizer_adam_options;
/* Kingma and Ba 2015; weight decay is added to the gradient. */
RL_API rl_optimizer *rl_optimizer_adam_opt(rl_module *module, const rl_optimizer_adam_options *options);
#define rl_optimizer_adam(...)                                                                                         \
    rl_optimizer_adam_opt(                                                                                             \
        RL_TAKE1_(__VA_ARGS__, ),                                                                                      \
        &(rl_optimizer_adam_options){.struct_size = sizeof(rl_optimizer_adam_options), RL_DROP1_(__VA_ARGS__, )})
/* Loshchilov and Hutter 2019: weight decay apart from the gradient. */
RL_API rl_optimizer *rl_optimizer_adamw_opt(rl_module *module, const rl_optimizer_adam_options *options);
#define rl_optimizer_adamw(...)                                                                                        \
    rl_optimizer_adamw_opt(                                                                                            \
        RL_TAKE1_(__VA_ARGS__, ),                                                                                      \
        &(rl_optimizer_adam_options){.struct_size = sizeof(rl_optimizer_adam_options), RL_DROP1_(__VA_ARGS__, )})

typedef struct rl_optimizer_rmsprop_options {
    size_t struct_size;
    double lr;    /* default 1e-2 */
    double alpha; /* default 0.99 */
    double eps;   /* default 1e-8 */
    double weight_decay, momentum;
    bool centered, maximize;
    rl_tensors parameters;
} rl_optimizer_rmsprop_options;
/* v = alpha v + (1 - alpha) g g; p -= lr g / (sqrt(v - centered m m) + eps), m being the mean of g. Hinton 2012; Graves
 * 2013. */
RL_API rl_optimizer *rl_optimizer_rmsprop_opt(rl_module *module, const rl_optimizer_rmsprop_options *options);
#define rl_optimizer_rmsprop(...)                                                                                      \
    rl_optimizer_rmsprop_opt(RL_TAKE1_(__VA_ARGS__, ),                                                                 \
                             &(rl_optimizer_rmsprop_options){.struct_size = sizeof(rl_optimizer_rmsprop_options),      \
                                                             RL_DROP1_(__VA_ARGS__, )})

typedef struct rl_optimizer_adagrad_options {
    size_t struct_size;
    double lr; /* default 1e-2 */
    double lr_decay, weight_decay, initial_accumulator_value;
    double eps; /* default 1e-10 */
    bool maximize;
    rl_tensors parameters;
} rl_optimizer_adagrad_options;
/* s += g g; p -= lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps). Duchi et al. 2011. */
RL_API rl_optimizer *rl_optimizer_adagrad_opt(rl_module *module, const rl_optimizer_adagrad_options *options);
#define rl_optimizer_adagrad(...)                                                                                      \
    rl_optimizer_adagrad_opt(RL_TAKE1_(__VA_ARGS__, ),                                                                 \
                             &(rl_optimizer_adagrad_options){.struct_size = sizeof(rl_optimizer_adagrad_options),      \
                                                             RL_DROP1_(__VA_ARGS__, )})

typedef struct rl_optimizer_adadelta_options {
    size_t struct_size;
    double lr;  /* default 1 */
    double rho; /* default 0.9 */
    double eps; /* default 1e-6 */
    double weight_decay;
    bool maximize;
    rl_tensors parameters;
} rl_optimizer_adadelta_options;
/* v = rho v + (1 - rho) g g; d = sqrt(u + eps) / sqrt(v + eps) g; u = rho u + (1 - rho) d d; p -= lr d. Zeiler 2012. */
RL_API rl_optimizer *rl_optimizer_adadelta_opt(rl_module *module, const rl_optimizer_adadelta_options *options);
#define rl_optimizer_adadelta(...)                                                                                     \
    rl_optimizer_adadelta_opt(RL_TAKE1_(__VA_ARGS__, ),                                                                \
                              &(rl_optimizer_adadelta_options){.struct_size = sizeof(rl_optimizer_adadelta_options),   \
                                                               RL_DROP1_(__VA_ARGS__, )})

/* Of Adam's relatives; each uses what its rule has. */
typedef struct rl_optimizer_moments_options {
    size_t struct_size;
    double lr;                   /* default 2e-3; RAdam: 1e-3 */
    double beta1, beta2;         /* default 0.9, 0.999 */
    double eps;                  /* default 1e-8 */
    double weight_decay;         /* default 0 */
    double momentum_decay;       /* NAdam: default 4e-3 */
    bool decoupled_weight_decay; /* NAdam, RAdam: as in AdamW */
    bool maximize;
    rl_tensors parameters;
} rl_optimizer_moments_options;
/* Adam with the largest gradient of late in place of the second moment. Kingma and Ba 2015, section 7.1. */
RL_API rl_optimizer *rl_optimizer_adamax_opt(rl_module *module, const rl_optimizer_moments_options *options);
#define rl_optimizer_adamax(...)                                                                                       \
    rl_optimizer_adamax_opt(RL_TAKE1_(__VA_ARGS__, ),                                                                  \
                            &(rl_optimizer_moments_options){.struct_size = sizeof(rl_optimizer_moments_options),       \
                                                            RL_DROP1_(__VA_ARGS__, )})
/* Adam with Nesterov's momentum. Dozat 2016. */
RL_API rl_optimizer *rl_optimizer_nadam_opt(rl_module *module, const rl_optimizer_moments_options *options);
#define rl_optimizer_nadam(...)                                                                                        \
    rl_optimizer_nadam_opt(RL_TAKE1_(__VA_ARGS__, ),                                                                   \
                           &(rl_optimizer_moments_options){.struct_size = sizeof(rl_optimizer_moments_options),        \
                                                           RL_DROP1_(__VA_ARGS__, )})
/* Adam whose second moment is used once its variance is small enough. Liu et al. 2020. */
RL_API rl_optimizer *rl_optimizer_radam_opt(rl_module *module, const rl_optimizer_moments_options *options);
#define rl_optimizer_radam(...)                                                                                        \
    rl_optimizer_radam_opt(RL_TAKE1_(__VA_ARGS__, ),                                                                   \
                           &(rl_optimizer_moments_options){.struct_size = sizeof(rl_optimizer_moments_options),        \
                                                           RL_DROP1_(__VA_ARGS__, )})

/* Groups of parameters ------------------------------------------------------------------------------------------------
 *
 * Parameters that an optimizer is made with are its group 0. Another group has numbers of its own. */

typedef struct rl_optimizer_group_options { /* zero: as group 0 has it; RL_ZERO: a real zero */
    size_t struct_size;
    double lr, weight_decay, momentum, dampening, beta1, beta2, eps, alpha;
} rl_optimizer_group_options;
/* Adds a group of parameters that the optimizer does not have yet: rl_optimizer_add_group(adamw, biases, .weight_decay
 * = RL_ZERO). Schedules are made after all groups. */
RL_API rl_status rl_optimizer_add_group_opt(rl_optimizer *self, rl_tensors parameters,
                                            const rl_optimizer_group_options *options);
#define rl_optimizer_add_group(...)                                                                                    \
    rl_optimizer_add_group_opt(                                                                                        \
        RL_TAKE2_(__VA_ARGS__, ),                                                                                      \
        &(rl_optimizer_group_options){.struct_size = sizeof(rl_optimizer_group_options), RL_DROP2_(__VA_ARGS__, )})
RL_API int64_t rl_optimizer_group_count(const rl_optimizer *self);
/* 0 and an error where there is no such group. */
RL_API double rl_optimizer_group_lr(const rl_optimizer *self, int64_t group);
RL_API rl_status rl_optimizer_set_group_lr(rl_optimizer *self, int64_t group, double lr);

/* Use ----------------------------------------------------------------------------------------------------------------
 */

/* Updates every parameter that has a gradient. Gradients add up until they are taken away, so several backwards before
 * one step are one larger batch. */
RL_API rl_status rl_optimizer_step(rl_optimizer *self);
/* Takes the gradients away. */
RL_API rl_status rl_optimizer_zero_grad(rl_optimizer *self);
/* The learning rate of group 0; setting sets that of all groups. */
RL_API double rl_optimizer_lr(const rl_optimizer *self);
RL_API rl_status rl_optimizer_set_lr(rl_optimizer *self, double lr);

/* The state (step counts, moments; learning rate, momentum and beta1 of each group) to and from a safetensors file, so
 * that training goes on as if it had not stopped. Loading needs an optimizer of the same kind over parameters of the
 * same shapes in the same order; nothing is changed where the file is wrong. */
RL_API rl_status rl_optimizer_save(rl_optimizer *self, const char *path);
RL_API rl_status rl_optimizer_load(rl_optimizer *self, const char *path);

/* Clipping gradients, between backward and step
 * -------------------------------------------------------------------------- */

typedef struct rl_clip_grad_options {
    size_t struct_size;
    double norm_type;        /* default 2; INFINITY: the largest element */
    bool error_if_nonfinite; /* reads the norm to the host, to refuse one that is not finite */
    rl_tensors parameters;   /* these instead of all of the module's, which may then be NULL */
} rl_clip_grad_options;
/* Multiplies all gradients by max_norm / (norm + 1e-6) where that is below 1, norm being that of all of them as one
 * vector. Returns the norm before, a 0-dimensional tensor; nothing is read to the host. Without gradients it is 0. */
RL_API rl_tensor *rl_clip_grad_norm_opt(rl_module *module, double max_norm, const rl_clip_grad_options *options);
#define rl_clip_grad_norm(...)                                                                                         \
    rl_clip_grad_norm_opt(                                                                                             \
        RL_TAKE2_(__VA_ARGS__, ),                                                                                      \
        &(rl_clip_grad_options){.struct_size = sizeof(rl_clip_grad_options), RL_DROP2_(__VA_ARGS__, )})
/* Brings each element of the gradients into [-clip_value, clip_value]. Of the options it takes .parameters. */
RL_API rl_status rl_clip_grad_value_opt(rl_module *module, double clip_value, const rl_clip_grad_options *options);
#define rl_clip_grad_value(...)                                                                                        \
    rl_clip_grad_value_opt(                                                                                            \
        RL_TAKE2_(__VA_ARGS__, ),                                                                                      \
        &(rl_clip_grad_options){.struct_size = sizeof(rl_clip_grad_options), RL_DROP2_(__VA_ARGS__, )})

#ifdef __cplusplus
}
#endif
#endif
