/* SPDX-License-Identifier: Apache-2.0 */
/* Shapes and strides of the operands of a generated kernel, brought to the fewest dimensions. */
#ifndef RL_ACCEL_LAYOUT_H
#define RL_ACCEL_LAYOUT_H

#include "rushlight/backend.h"

/* Inputs and outputs, INDEX of each dimension, the element's number, the number within the reduced dimensions. */
#define RL_LAYOUT_OPERANDS (RL_MAX_INPUTS + RL_MAX_OUTPUTS + RL_MAX_DIMS + 2)

typedef struct rl_layout {
    int dims, n; /* dims may be 0; n operands */
    int64_t shape[RL_MAX_DIMS];
    int64_t stride[RL_LAYOUT_OPERANDS][RL_MAX_DIMS];
} rl_layout;

void rl_layout_init(rl_layout *self, int64_t ndim, const int64_t *shape);
/* Strides in elements, `ndim` of them; those of dimensions in `ignored` count as 0. */
void rl_layout_add(rl_layout *self, const int64_t *stride, uint32_t ignored);
/* An operand whose offset is what it stands for: INDEX of a dimension; the row-major number within the dimensions of
 * the mask `counted`. */
void rl_layout_add_index(rl_layout *self, int dim);
void rl_layout_add_number(rl_layout *self, uint32_t counted);
/* Splits off the dimensions of the mask: out_part has them, self the others. */
void rl_layout_split(rl_layout *self, uint32_t mask, rl_layout *out_part);
/* Drops dimensions of size 1 and joins neighbours that every operand walks through as one. */
void rl_layout_merge(rl_layout *self);
/* Where the last dimension is shorter than `width`, makes the longest the last. */
void rl_layout_lengthen(rl_layout *self, int64_t width);
/* Makes dimension d the last. */
void rl_layout_rotate(rl_layout *self, int d);
int64_t rl_layout_total(const rl_layout *self);
/* The stride of operand k along the last dimension: 0, 1, or 2 for any other. */
int rl_layout_inner(const rl_layout *self, int k);
/* Whether every number of the layout fits 31 bits. */
int rl_layout_narrow(const rl_layout *self);

#endif
