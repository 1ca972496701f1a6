/* SPDX-License-Identifier: Apache-2.0 */
/* How losses are reduced: "none", "mean" or "sum"; for the op_*.c of losses. */
#ifndef RUSHLIGHT_RUNTIME_OPS_OP_LOSS_H
#define RUSHLIGHT_RUNTIME_OPS_OP_LOSS_H

#include "ops/op.h"

typedef enum rl_reduction { RL_REDUCE_NONE, RL_REDUCE_MEAN, RL_REDUCE_SUM } rl_reduction;

/* From the argument named `reduction`. */
rl_status rl_loss_reduction(const rl_call *call, int arg, rl_reduction *out_reduction);
/* The loss of each element, reduced by ops. NULL on failure. */
rl_tensor *rl_loss_reduced(rl_tensor *each, rl_reduction reduction);
/* The same as results[0] of a composite, by the argument named `reduction`. */
rl_status rl_loss_result(rl_call *call, int reduction_arg, rl_tensor *each);

#endif
