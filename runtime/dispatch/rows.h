/* SPDX-License-Identifier: Apache-2.0 */
/* What the rows share: operands, overlaps, the layout of a job. Only rows*.c include it. */
#ifndef RUSHLIGHT_RUNTIME_DISPATCH_ROWS_H
#define RUSHLIGHT_RUNTIME_DISPATCH_ROWS_H

#include <assert.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "dispatch/device.h"

/* The dimensions of a job while they are ordered and merged. Marked and unmarked dimensions never merge. */
typedef struct rl_layout {
    int64_t ndim;
    int64_t shape[RL_MAX_DIMS];
    uint32_t marked;     /* bit d: dimension d is reduced, or is the one that gather, scan ... work along */
    bool reorder;        /* dimensions may change places */
    bool keep_marked;    /* a marked dimension stays even where it has one element */
    bool marked_ordered; /* marked dimensions keep their order among themselves */
} rl_layout;

/* Drops dimensions of one element, puts large strides outside, merges what is one run, in all operands alike. Strides
 * of operands[lead] decide first, then the next ones', round to lead - 1. A job without elements stays as it is. */
void rl_layout_simplify(rl_layout *self, rl_operand *operands, int count, int lead);
/* The one marked dimension. */
static inline int32_t rl_layout_marked_dim(const rl_layout *self) {
    return __builtin_ctz(self->marked);
}

typedef enum rl_overlap { RL_APART, RL_SAME, RL_OVERLAPPING } rl_overlap;
/* RL_SAME: element by element the same memory, where both have one shape. RL_OVERLAPPING: they may share some bytes. */
rl_overlap rl_overlap_of(const rl_tensor *a, const rl_tensor *b);

/* A dense copy on the same device; the caller holds its count. NULL on failure. */
rl_tensor *rl_row_copy(const char *op, rl_tensor *self);

/* Copies that stand in for inputs which share memory with an output. */
typedef struct rl_temps {
    rl_tensor *tensors[RL_MAX_INPUTS];
    int count;
} rl_temps;
/* Puts a copy in the place of *input where it shares memory with `output` (but exactly, where `same_passes`). */
rl_status rl_temps_separate(rl_temps *self, const char *op, rl_tensor **input, const rl_tensor *output,
                            bool same_passes);
void rl_temps_release(rl_temps *self);

static inline void rl_operand_base(const rl_tensor *self, rl_operand *out) {
    const rl_storage *storage = self->storage;
    out->buffer = storage->buffer;
    out->offset = storage->offset + (uint64_t)self->offset * rl_dtype_size((rl_dtype)self->dtype);
}

/* An operand that reads `self` as (ndim, shape). */
static inline void rl_operand_broadcast(const rl_tensor *self, int64_t ndim, const int64_t *shape, rl_operand *out) {
    rl_operand_base(self, out);
    rl_broadcast_strides(self->ndim, self->shape, self->stride, ndim, shape, out->stride);
}

/* What rl_host.op gives (host.c). */
extern _Thread_local const char *rl_host_op;

/* Before a call of the backend: work that is done later uses these storages, and its errors name the op. */
static inline void rl_row_uses(const rl_device *device, const char *op, rl_tensor *const *tensors, int64_t count) {
    if (device->api.flags & RL_BACKEND_SYNCHRONOUS)
        return;
    rl_host_op = op;
    for (int64_t i = 0; i < count; i++)
        if (tensors[i] != NULL)
            rl_storage_used(tensors[i]->storage);
}

/* After it. */
static inline rl_status rl_row_leave(rl_device *device, rl_backend_stream *stream, const char *op, rl_status status) {
    rl_host_op = "";
    rl_device_stream_leave(device, stream);
    return status == RL_OK ? RL_OK : rl_device_result(device, op, status);
}

#endif
