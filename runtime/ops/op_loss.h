/* SPDX-License-Identifier: Apache-2.0 */
/* How losses are reduced: "none", "mean" or "sum"; for op_loss.c and op_cross_entropy.c. */
#ifndef RUSHLIGHT_RUNTIME_OPS_OP_LOSS_H
#define RUSHLIGHT_RUNTIME_OPS_OP_LOSS_H

#include "ops/op.h"

typedef enum rl_reduction { RL_REDUCE_NONE, RL_REDUCE_MEAN, RL_REDUCE_SUM } rl_reduction;

/* From the argument named `reduction`. */
rl_status rl_loss_reduction(const rl_call *call, int arg, rl_reduction *out_reduction);

#endif
