/* SPDX-License-Identifier: Apache-2.0 */
/* Work on the gradients of many parameters at once: what clipping and the scaler share. */
#ifndef RUSHLIGHT_RUNTIME_OPTIM_GRADIENTS_H
#define RUSHLIGHT_RUNTIME_OPTIM_GRADIENTS_H

#include "dispatch/dispatch.h"
#include "rushlight/optim.h"
#include "tensor/tensor.h"

/* gradient = a program of the gradient and, where it has a second input, of `factor` (0-dimensional, copied to where a
 * gradient is); in place, outside of the graph, one call for gradients of one dtype on one device. */
typedef struct gradient_work {
    const char *name; /* of the function, for errors */
    const rl_program *(*program)(rl_dtype grad_dtype, rl_dtype factor_dtype);
    rl_tensor *factor;        /* may be NULL */
    const rl_number *scalars; /* the program's own; may be NULL */
} gradient_work;
rl_status gradients_change(const gradient_work *work, rl_tensor *const *gradients, int64_t count);

/* gradient = gradient factor, computed in f32 at least. */
const rl_program *gradients_times_factor(rl_dtype grad_dtype, rl_dtype factor_dtype);

#endif
