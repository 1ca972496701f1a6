/* SPDX-License-Identifier: Apache-2.0 */
/* The fused rows' cells; cells.c has them in one table. */
#ifndef RL_ACCEL_CELLS_H
#define RL_ACCEL_CELLS_H

#include "kernel.h"

/* Whether a device takes a float dtype: all of them do, but for F64 on some. */
int rl_accel_takes_float(rl_backend_device *device, uint32_t dtype, const char **out_reason);

extern const rl_fused_cell rl_cell_linear;
extern const rl_fused_cell rl_cell_conv;
extern const rl_fused_cell rl_cell_conv_grad_input;
extern const rl_fused_cell rl_cell_conv_grad_weight;
extern const rl_fused_cell rl_cell_softmax;
extern const rl_fused_cell rl_cell_softmax_backward;
extern const rl_fused_cell rl_cell_cross_entropy;
extern const rl_fused_cell rl_cell_cross_entropy_backward;
extern const rl_fused_cell rl_cell_norm;
extern const rl_fused_cell rl_cell_norm_backward;
extern const rl_fused_cell rl_cell_pool;
extern const rl_fused_cell rl_cell_pool_backward;
extern const rl_fused_cell rl_cell_embedding_backward;
extern const rl_fused_cell rl_cell_attention;
extern const rl_fused_cell rl_cell_attention_backward;

#endif
