/* SPDX-License-Identifier: Apache-2.0 */
/* The caching allocator from within: what allocator.c and allocator_shelf.c share. Only these two include it. */
#ifndef RUSHLIGHT_RUNTIME_DISPATCH_ALLOCATOR_H
#define RUSHLIGHT_RUNTIME_DISPATCH_ALLOCATOR_H

#include <stdatomic.h>

#include "dispatch/registry.h"

/* Size classes: eight to each power of two, so that at most an eighth is wasted. */
enum {
    STEP_BITS = 3,
    STEPS = 1 << STEP_BITS,
    LEAST_BITS = 6,
    MOST_BITS = 48,
    LIST_CLASSES = (MOST_BITS - LEAST_BITS) * STEPS
};

struct rl_block {
    rl_allocator *owner;
    rl_block *next;            /* of the free list that it is in */
    rl_block *all_next, **all; /* of all blocks of the allocator */
    rl_backend_buffer *buffer; /* NULL once the device was closed */
    uint64_t bytes;
    uint32_t size_class;
    bool wrapped;              /* foreign memory: never used again */
    _Atomic(uint32_t) stream;  /* that it belongs to; the default one once its own is gone */
    _Atomic(uint64_t) used_on; /* bit n: stream n, not its own, used it; 63 stands for all from 63 on */
};

static inline uint32_t rl_block_stream(const rl_block *self) {
    return atomic_load_explicit(&self->stream, memory_order_relaxed);
}

/* Puts a free block, with no work left on other streams, where the next one of its kind is looked for. */
void rl_allocator_keep(rl_allocator *self, rl_block *block);
/* The same for a chain of blocks (by `next`). Takes the lock. */
void rl_allocator_keep_all(rl_allocator *self, rl_block *chain);

/* The calling thread's shelf: small blocks of the default stream, at hand without the allocator's lock. ------------ */

/* A block of the class; NULL where there is none. */
rl_block *rl_shelf_take(rl_allocator *owner, uint32_t size_class);
/* False where the shelf is full, or the class is not kept on it. */
bool rl_shelf_put(rl_allocator *owner, rl_block *block);
/* Gives what the shelves of all threads hold of an allocator to its lists. Without its lock. */
void rl_shelves_empty(rl_allocator *owner);

#endif
