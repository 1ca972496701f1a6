/* SPDX-License-Identifier: Apache-2.0 */
/* Training with fewer bits: autocast (autocast.h), and the scaler, which keeps small gradients of f16. */
#ifndef RUSHLIGHT_AMP_H
#define RUSHLIGHT_AMP_H

#include "rushlight/autocast.h"
#include "rushlight/optim.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * The scaler, as torch.amp.GradScaler: the loss is multiplied by a factor so that gradients of f16 do not vanish; a
 * step is left out where a gradient has become inf or NaN, and the factor made smaller; after growth_interval steps
 * without one it is made larger. An object, owned by the innermost scope.
 *
 *     rl_backward(rl_grad_scaler_scale(scaler, loss));
 *     rl_grad_scaler_unscale(scaler, sgd);                  // only where gradients are clipped
 *     rl_grad_scaler_step(scaler, sgd);
 *     rl_grad_scaler_update(scaler);
 */
typedef struct rl_grad_scaler rl_grad_scaler;
typedef struct rl_grad_scaler_options {
    size_t struct_size;
    double init_scale;       /* default 65536 */
    double growth_factor;    /* default 2 */
    double backoff_factor;   /* default 0.5 */
    int64_t growth_interval; /* default 2000 */
    int64_t enabled;         /* default true; RL_ZERO: it does nothing, steps are the optimizer's own */
} rl_grad_scaler_options;
RL_API rl_grad_scaler *rl_grad_scaler_new_opt(const rl_grad_scaler_options *options);
#define rl_grad_scaler_new(...)                                                                                        \
    rl_grad_scaler_new_opt(&(rl_grad_scaler_options){.struct_size = sizeof(rl_grad_scaler_options), __VA_ARGS__})
/* loss times the scale. */
RL_API rl_tensor *rl_grad_scaler_scale(rl_grad_scaler *self, rl_tensor *loss);
/* Divides the optimizer's gradients by the scale, once between two updates, and notes whether all are finite. */
RL_API rl_status rl_grad_scaler_unscale(rl_grad_scaler *self, rl_optimizer *optimizer);
/* Unscales, unless that is done, and has the optimizer step, unless a gradient is not finite. Reads that from the
 * device. Whether it stepped goes to *out_stepped, which may be NULL. */
RL_API rl_status rl_grad_scaler_step_opt(rl_grad_scaler *self, rl_optimizer *optimizer, bool *out_stepped);
#define rl_grad_scaler_step(self, optimizer) rl_grad_scaler_step_opt(self, optimizer, NULL)
/* Once after the steps of all optimizers: the next scale. */
RL_API rl_status rl_grad_scaler_update(rl_grad_scaler *self);
RL_API bool rl_grad_scaler_is_enabled(const rl_grad_scaler *self);
/* 1 where it is not enabled. */
RL_API double rl_grad_scaler_get_scale(const rl_grad_scaler *self);
RL_API rl_status rl_grad_scaler_set_scale(rl_grad_scaler *self, double scale);

/* Scale, factors and steps since the last growth to and from a file; nothing is changed where the file is wrong. */
RL_API rl_status rl_grad_scaler_save(rl_grad_scaler *self, const char *path);
RL_API rl_status rl_grad_scaler_load(rl_grad_scaler *self, const char *path);

#ifdef __cplusplus
}
#endif
#endif
