/* SPDX-License-Identifier: Apache-2.0 */
/* What picking and placing by indices share. Included by op_*.c alone. */
#ifndef RUSHLIGHT_RUNTIME_OPS_OP_INDEX_H
#define RUSHLIGHT_RUNTIME_OPS_OP_INDEX_H

#include "ops/op_rows.h"

/* An error unless the index has as many dimensions as the other argument and is no larger, but along dim (-1: nowhere
 * may it be larger). An index without elements fits all. */
rl_status rl_check_index_shape(const rl_call *call, int index_arg, int other_arg, int64_t dim);
/* An index of at most one dimension, lying along dim and repeated over like's other dimensions. */
rl_tensor *rl_index_along(const rl_tensor *index, const rl_tensor *like, int64_t dim);
/* The gradient of a src of which only the part shaped as `part` was used: `part` with zeros around it. */
rl_tensor *rl_vjp_leading(rl_vjp *v, int arg, rl_tensor *part);
/* infer of self, dim, index, src (a tensor or a number); and out op= src at index, on results[0], which holds self. */
rl_status rl_infer_scatter(rl_call *call);
rl_status rl_scatter_place(rl_call *call, rl_scatter_mode mode);
/* rl_row_scatter, but sums and products of f16 and bf16 are made in f32 and rounded once: the row may round at each
 * step, and 256 + 1 is 256 in bf16. */
rl_status rl_scatter_wide(const char *op, rl_tensor *out, int64_t dim, rl_tensor *index, rl_tensor *src,
                          rl_scatter_mode mode);

#endif
