/* SPDX-License-Identifier: Apache-2.0 */
/* Walking over strided operands: what all the kernels share. */
#ifndef RL_KERNELS_WALK_H
#define RL_KERNELS_WALK_H

#include <stdint.h>

#include "kernels.h"
#include "rl_interp.h"

/* Steps `index` to the next in row-major order, leaving alone the dimensions in `skip`; 0 at the end. Begins at 0. */
static inline int rl_next_index(int64_t ndim, const int64_t *shape, uint32_t skip, int64_t *index) {
    if (ndim < 0 || ndim > RL_MAX_DIMS)
        return 0;
    for (int64_t d = ndim - 1; d >= 0; d--) {
        if (skip >> d & 1u)
            continue;
        if (++index[d] < shape[d])
            return 1;
        index[d] = 0;
    }
    return 0;
}

static inline int64_t rl_numel(int64_t ndim, const int64_t *shape) {
    int64_t numel = 1;
    for (int64_t d = 0; d < ndim; d++)
        numel *= shape[d];
    return numel;
}

/* Address of an operand's element at `index`, of dimensions not in `skip`. An empty operand may have no buffer: NULL.
 */
static inline unsigned char *rl_at(const rl_operand *operand, size_t bytes, int64_t ndim, const int64_t *index,
                                   uint32_t skip) {
    int64_t elements = 0;
    if (!operand->buffer)
        return NULL;
    for (int64_t d = 0; d < ndim; d++)
        if (!(skip >> d & 1u))
            elements += index[d] * operand->stride[d];
    return ((rl_kernel_buffer *)(void *)operand->buffer)->data + operand->offset + elements * (int64_t)bytes;
}

/* Whether an output lies over an input: exactly, since backend.h has it in part never. */
static inline int rl_same_place(const rl_operand *out, const rl_operand *in) {
    return out->buffer == in->buffer && out->offset == in->offset;
}

/* The dimension to run along: the last, unless it is short; then the longest. -1 where there is none. */
static inline int rl_inner_dim(int64_t ndim, const int64_t *shape) {
    int inner = (int)ndim - 1;
    if (ndim && shape[inner] >= 32)
        return inner;
    for (int d = inner - 1; d >= 0; d--)
        if (shape[d] > shape[inner])
            inner = d;
    return inner;
}

static inline void *rl_scratch(const rl_host *host, size_t bytes, const char *kernel) {
    void *memory = host->scratch(bytes);
    if (!memory)
        host->fail(RL_OUT_OF_MEMORY, "%s: no memory for %llu bytes of scratch", kernel, (unsigned long long)bytes);
    return memory;
}

/* Size rounded up, so that what comes after it in scratch is aligned to a cache line. */
static inline size_t rl_padded(size_t bytes) {
    return (bytes + 63) & ~(size_t)63;
}

/* Fails unless the dtype is one that kernels take. */
static inline rl_status rl_check_kernel_dtype(const rl_host *host, const char *kernel, uint32_t dtype) {
    if (rl_interp_dtype_bytes(dtype))
        return RL_OK;
    return host->fail(RL_UNSUPPORTED, "%s: dtype %u is not known to this backend", kernel, (unsigned)dtype);
}

#endif
