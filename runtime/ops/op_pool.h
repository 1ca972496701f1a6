/* SPDX-License-Identifier: Apache-2.0 */
/* What the pooling ops share: reading a window, seeing a tensor as (batch, channels, sizes...), views of all windows.
 * Included by op_*pool*.c alone. */
#ifndef RUSHLIGHT_RUNTIME_OPS_OP_POOL_H
#define RUSHLIGHT_RUNTIME_OPS_OP_POOL_H

#include "ops/op_reduce.h"

/* Which arguments of an op mean what; -1: the op has none. */
typedef struct rl_pooling_places {
    int8_t kernel, stride, padding, dilation, ceil, include, divisor;
} rl_pooling_places;

/* The window that the arguments describe over a tensor `name` of this shape, of `spatial` dimensions. */
rl_status rl_pooling_read(const rl_call *call, const char *name, rl_ints shape, int64_t spatial, rl_pool_kind kind,
                          const rl_pooling_places *places, rl_pool_window *out_window);
/* How many spatial dimensions the op has: by the length of its kernel_size, int[2]. */
int64_t rl_pooling_spatial(const rl_call *call, const rl_pooling_places *places);
/* Fills every meta: the shape of the pooled tensor, in `like`'s order of dimensions. */
void rl_pooling_infer(rl_call *call, const rl_tensor *like, const rl_pool_window *w);
/* x as (batch, channels, sizes...). */
rl_tensor *rl_pooling_batched(rl_tensor *x, int64_t spatial);
/* The sizes of the input with what windows see beyond it, and whether they see anything there. */
bool rl_pooling_padded_size(const rl_pool_window *w, int64_t *out_size);
/* (batch, channels, size...) row-major, of size[]. */
rl_tensor *rl_pooling_temp(const rl_call *call, rl_dtype dtype, const rl_pool_window *w, const int64_t *size);
/* The part of padded that is the input itself. */
rl_tensor *rl_pooling_interior(const rl_tensor *padded, const rl_pool_window *w);
/* All windows of x (batch, channels, sizes...): (batch, channels, out sizes..., kernel...). Beyond x stands a value
 * that a maximum or a sum does not see. */
rl_tensor *rl_pooling_windows(const rl_call *call, rl_tensor *x, const rl_pool_window *w);
/* Whether all windows have as many elements to be averaged over, and how many. */
bool rl_pooling_uniform(const rl_pool_window *w, double *out_count);
/* out = in / the number of elements of each window; both (batch, channels, out sizes...). */
rl_status rl_pooling_divide(const rl_call *call, rl_tensor *in, rl_tensor *out, const rl_pool_window *w);
/* number (of an element within its window, row-major) to its place in a plane of size[] that begins `margin` before the
 * input. */
rl_status rl_pooling_place(const rl_call *call, rl_tensor *number, rl_tensor *out, const rl_pool_window *w,
                           const int64_t *margin, const int64_t *size);

/* The dimensions of the kernel in what rl_pooling_windows gives. */
static inline uint32_t rl_pooling_mask(const rl_pool_window *w) {
    return ((1u << w->spatial) - 1) << (2 + w->spatial);
}
/* Argument `arg` of a function of `spatial` dimensions, in which one number may stand for all: as many as those. */
rl_ints rl_pooling_spread(rl_vjp *v, int arg, int64_t spatial, int64_t *room);
/* gx = 0 with g added at the places of the indices: of ops that give values and indices within planes. */
void rl_pooling_indices_vjp(rl_vjp *v, int64_t spatial);
/* prologue: the input as the key's compute dtype, twice. epilogue: a value as the key's out dtype, and its number. */
void rl_pooling_write_twice(rl_builder *b, uint32_t key);
void rl_pooling_write_found(rl_builder *b, uint32_t key);

#endif
