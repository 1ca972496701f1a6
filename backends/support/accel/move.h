/* SPDX-License-Identifier: Apache-2.0 */
/* Moving elements, and what the rows that work along one dimension share: index.c, scan.c, sort.c. */
#ifndef RL_ACCEL_MOVE_H
#define RL_ACCEL_MOVE_H

#include "device/params.h"
#include "kernel.h"
#include "layout.h"

typedef enum rl_move_kind { RL_MOVE_COPY, RL_MOVE_GATHER, RL_MOVE_SCATTER, RL_MOVE_ZERO } rl_move_kind;

/* out = in, with gather's or scatter's index along `dim` where the kind has one; for RL_MOVE_ZERO only out counts. */
typedef struct rl_move {
    const char *row;
    rl_move_kind kind;
    uint32_t dtype, index_dtype;
    int dim;
    int64_t dim_size, ndim;
    const int64_t *shape;
    rl_operand in, index, out;
} rl_move;

rl_status rl_accel_move(rl_backend_stream *stream, const rl_move *move);
/* Copies the operand to scratch memory of that slot, densely, and makes it stand for the copy. */
rl_status rl_accel_set_aside(rl_backend_stream *stream, const char *row, unsigned slot, uint32_t dtype, int64_t ndim,
                             const int64_t *shape, rl_operand *operand);
int rl_accel_same_place(const rl_operand *out, const rl_operand *in);
int64_t rl_accel_product(int64_t ndim, const int64_t *shape);
/* The integer dtype of that many bytes: what moves elements of any dtype of that size. */
int32_t rl_accel_bits_dtype(unsigned bytes);
/* Kernels are written for certain numbers of dimensions: the next that is at least `dims`, which is at least `least`.
 */
int rl_accel_round_dims(int dims, int least);
/* Shape (unless NULL) and the strides of operand k of the first `from_dims` dimensions, as `dims` ones: leading ones of
 * size 1. */
void rl_accel_pad(const rl_layout *layout, int from_dims, int dims, int k, int64_t *out_shape, int64_t *out_stride);

#endif
