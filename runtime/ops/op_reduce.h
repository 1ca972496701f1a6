/* SPDX-License-Identifier: Apache-2.0 */
/* Reductions: which dimensions, what results, how a task is put together. Included by op_*.c alone. */
#ifndef RUSHLIGHT_RUNTIME_OPS_OP_REDUCE_H
#define RUSHLIGHT_RUNTIME_OPS_OP_REDUCE_H

#include "ops/op_rows.h"

/* The dimensions that an argument (int, int[], None: all) names, as a mask. */
rl_status rl_reduced_mask(const rl_call *call, int dim_arg, uint32_t *out_mask);
/* Fills every meta: args[0]'s shape without the reduced dimensions, or with them as 1. keepdim_arg -1: without. */
rl_status rl_infer_reduced(rl_call *call, int dim_arg, int keepdim_arg, rl_dtype dtype);
/* An error where a reduced dimension has no elements, which have no greatest one. */
rl_status rl_check_nonempty(const rl_call *call, int dim_arg);
/* How many elements go into one result. */
int64_t rl_reduced_count(const rl_tensor *self, uint32_t mask);
/* A tensor for use within lower: self's shape with the reduced dimensions as 1. */
rl_tensor *rl_reduced_temp(const rl_call *call, const rl_tensor *self, uint32_t mask, rl_dtype dtype);

typedef struct rl_reduction {
    rl_program_writer prologue, epilogue;
    uint32_t prologue_key, epilogue_key;
    uint8_t combiner[RL_MAX_COMBINED];
    rl_tensor *inputs[RL_MAX_COMBINED], *outputs[RL_MAX_COMBINED];
    rl_number scalars[2], epilogue_scalars[2];
    const rl_tensor *shape_of; /* its shape is reduced, by mask */
    uint32_t mask;
} rl_reduction;
rl_status rl_reduce(const char *op, const rl_reduction *reduction);

/* prologue: the input as the key's compute dtype. epilogue: such a value as the key's out dtype. */
void rl_write_value(rl_builder *b, uint32_t key);
void rl_write_result(rl_builder *b, uint32_t key);
/* epilogue: such a sum divided by the launch scalar. */
void rl_write_mean(rl_builder *b, uint32_t key);

/* t, a result (or its gradient) of the reduction that v is of, with the reduced dimensions as 1, so that it broadcasts
 * to the argument. */
rl_tensor *rl_unreduced(rl_vjp *v, rl_tensor *t, int dim_arg, int keepdim_arg);
/* gx[i] = g / n where x[i] is one of the n elements equal to y, the result over dims. NaN equals NaN here. */
rl_tensor *rl_shared_among(rl_tensor *x, rl_tensor *y, rl_tensor *g, rl_ints dims);
int64_t rl_vjp_reduced_count(rl_vjp *v, int dim_arg);

#endif
