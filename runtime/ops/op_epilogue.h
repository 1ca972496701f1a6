/* SPDX-License-Identifier: Apache-2.0 */
/* The activation that linear and conv may end with: backend.h's rl_activation as a word. Included by op_*.c alone. */
#ifndef RUSHLIGHT_RUNTIME_OPS_OP_EPILOGUE_H
#define RUSHLIGHT_RUNTIME_OPS_OP_EPILOGUE_H

#include "ops/op_rows.h"

/* The argument's word; an error for one that is none of them. */
rl_status rl_read_activation(const rl_call *call, int arg, rl_activation *out);
/* The op gelu of p, or its approximation by tanh (op_smooth.c). */
rl_pw rl_gelu_value(rl_builder *b, bool tanh, rl_pw p);
/* y = activation(y), by a map. */
rl_status rl_activate(const rl_call *call, rl_tensor *y, rl_activation activation);
/* Runs a fused row that has the activation, or the row without it and then the activation. *out_ran is false where
 * neither ran: then the caller lowers. `activation` points into args. */
rl_status rl_row_with_activation(const rl_call *call, rl_row row, void *args, size_t args_size, uint32_t *activation,
                                 rl_tensor *const *operands, int64_t n_operands, bool *out_ran);
/* The gradient before the activation of argument `arg`: for relu from the saved result, for gelu from the sum that
 * `again` makes anew. */
rl_tensor *rl_vjp_before_activation(rl_vjp *v, int arg, rl_tensor *(*again)(rl_vjp *v));

#endif
