/* SPDX-License-Identifier: Apache-2.0 */
/* The geometry of a convolution, shared by its three rows and their lowering. Included by op_conv*.c alone. */
#ifndef RUSHLIGHT_RUNTIME_OPS_OP_CONV_H
#define RUSHLIGHT_RUNTIME_OPS_OP_CONV_H

#include "ops/op_rows.h"

/* Lowers the row: the operands as rl_conv_args has them, bias may be NULL; activation excepted. */
rl_status rl_conv_lower(const rl_call *call, const rl_conv_args *g, rl_tensor *x, rl_tensor *w, rl_tensor *bias,
                        rl_tensor *y);
rl_status rl_conv_grad_input_lower(const rl_call *call, const rl_conv_args *g, rl_tensor *grad, rl_tensor *w,
                                   rl_tensor *bias, rl_tensor *out);
rl_status rl_conv_grad_weight_lower(const rl_call *call, const rl_conv_args *g, rl_tensor *x, rl_tensor *grad,
                                    rl_tensor *out);

/* Bytes that a lowering takes at most for unfolded windows (or one row of the output's, where that is more). */
#define RL_CONV_MEMORY ((int64_t)32 << 20)

#endif
