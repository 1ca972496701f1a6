/* SPDX-License-Identifier: Apache-2.0 */
/* Attention: what the rows (op_attention.c) and the compositions of differentiable ops (op_attention_compose.c) share.
 */
#ifndef RUSHLIGHT_RUNTIME_OPS_OP_ATTENTION_H
#define RUSHLIGHT_RUNTIME_OPS_OP_ATTENTION_H

#include "ops/op_reduce.h"

/* The derivatives of attention_rows and attention_rows_backward. */
void rl_attention_vjp(rl_vjp *v);
void rl_attention_backward_vjp(rl_vjp *v);

#endif
