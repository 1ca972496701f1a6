/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dimensions that a job runs over, as few as can be: those of one element are gone, neighbours that all operands
 * lay out as one are merged, and the first operand's smallest stride comes last.
 */
#ifndef RUSHLIGHT_BACKENDS_ONEDNN_SPACE_H
#define RUSHLIGHT_BACKENDS_ONEDNN_SPACE_H

#include "rushlight/backend.h"

/* Outputs, inputs, indices and element numbers. */
#define OD_MAX_OPERANDS (RL_MAX_OUTPUTS + RL_MAX_INPUTS + RL_MAX_DIMS + 1)

typedef struct od_space {
    int ndim; /* at least 1 */
    int n_operands;
    uint32_t dims; /* the dimensions of the job that count, as a bit mask */
    int64_t count; /* of elements */
    int64_t shape[RL_MAX_DIMS];
    int64_t stride[OD_MAX_OPERANDS][RL_MAX_DIMS];
} od_space;

/* Starts with the dimensions in `dims` (a bit mask) of a shape; operands follow, with strides times `scale` (bytes),
 * and get the numbers 0, 1, ... */
void od_space_init(od_space *self, int64_t ndim, const int64_t *shape, uint32_t dims);
int od_space_add(od_space *self, const int64_t *stride, int64_t scale);
/* Merges, and with `sort` first orders the dimensions. */
void od_space_finish(od_space *self, int sort);

/* The offset of an operand at row-major number `index` of the first `ndim` dimensions. */
static inline int64_t od_space_offset(const od_space *self, int operand, int ndim, int64_t index) {
    int64_t offset = 0;
    for (int d = ndim - 1; d >= 0 && index != 0; d--) {
        offset += index % self->shape[d] * self->stride[operand][d];
        index /= self->shape[d];
    }
    return offset;
}

#endif
