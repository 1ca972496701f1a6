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

/* Updates every parameter that has a gradient. */
RL_API rl_status rl_optimizer_step(rl_optimizer *self);
/* Takes the gradients away. */
RL_API rl_status rl_optimizer_zero_grad(rl_optimizer *self);
RL_API double rl_optimizer_lr(const rl_optimizer *self);
RL_API rl_status rl_optimizer_set_lr(rl_optimizer *self, double lr);

/* The state (step counts, moments, learning rate) to and from a safetensors file, so that training goes on as if it had
 * not stopped. Loading needs an optimizer of the same kind over parameters of the same shapes in the same order;
 * nothing is changed where the file is wrong. */
RL_API rl_status rl_optimizer_save(rl_optimizer *self, const char *path);
RL_API rl_status rl_optimizer_load(rl_optimizer *self, const char *path);

#ifdef __cplusplus
}
#endif
#endif
