/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The caching allocator. Blocks that tensors give back are kept by size and used again without asking the backend.
 *
 * Work on one stream happens in order, so a block that was freed may be given out again on its own stream at once, even
 * while the device still works on it. A block that other streams used too waits for their events first.
 *
 * Three places hold free blocks, nearest first: the shelf of the thread (allocator_shelf.c: small blocks of the default
 * stream), the allocator's lists (by stream and size class, one lock), and the waiting list (used on other streams).
 */
#include <stdlib.h>
#include <string.h>

#include "base/env.h"
#include "dispatch/allocator.h"

enum { MOST_EVENTS = 64 };

typedef struct waiting { /* a free block, and what must be done first */
    rl_block *block;
    rl_backend_event *events[MOST_EVENTS];
    int n_events;
    struct waiting *next;
} waiting;

typedef struct lists { /* of one stream */
    uint32_t stream;
    struct lists *next;
    rl_block *free[LIST_CLASSES];
} lists;

struct rl_allocator {
    rl_device *device;          /* NULL once it was closed; the allocator then lives as long as blocks of it are held */
    rl_allocator *next, **link; /* of the list of all */
    pthread_mutex_t lock;
    lists first; /* of the default stream */
    waiting *waiting;
    rl_block *blocks; /* all */
    uint64_t limit;
    _Atomic(uint64_t) held; /* blocks in the hands of storages */
    _Atomic(uint64_t) allocated, allocated_peak, reserved, reserved_peak;
    _Atomic(uint64_t) allocations, backend_allocations, flushes, bytes_in, bytes_out;
};

/* All allocators, so that a fork finds their locks; its own is taken before theirs. */
static struct {
    pthread_mutex_t lock;
    rl_allocator *all;
} allocators = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Sizes -------------------------------------------------------------------------------------------------------------
 */

/* The class whose blocks are just large enough; *out_bytes is what they hold. */
static uint32_t class_of(uint64_t bytes, uint64_t *out_bytes) {
    if (bytes <= (uint64_t)1 << LEAST_BITS) {
        *out_bytes = (uint64_t)1 << LEAST_BITS;
        return 0;
    }
    uint32_t top = 63 - (uint32_t)__builtin_clzll(bytes - 1); /* 2^top < bytes <= 2^(top + 1) */
    uint64_t step = (uint64_t)1 << (top >= STEP_BITS ? top - STEP_BITS : 0);
    uint64_t steps = (bytes - ((uint64_t)1 << top) + step - 1) >> (top - STEP_BITS); /* 1 .. STEPS */
    *out_bytes = ((uint64_t)1 << top) + steps * step;
    return (top - LEAST_BITS) * STEPS + (uint32_t)steps;
}

static void add(_Atomic(uint64_t) *counter, uint64_t n) {
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static void sub(_Atomic(uint64_t) *counter, uint64_t n) {
    atomic_fetch_sub_explicit(counter, n, memory_order_relaxed);
}

static uint64_t get(const _Atomic(uint64_t) *counter) {
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static void raise_peak(_Atomic(uint64_t) *peak, uint64_t value) {
    uint64_t seen = get(peak);
    while (seen < value &&
           !atomic_compare_exchange_weak_explicit(peak, &seen, value, memory_order_relaxed, memory_order_relaxed))
        continue;
}

/* Lists: under the lock ---------------------------------------------------------------------------------------------
 */

static lists *lists_of(rl_allocator *self, uint32_t stream, bool make) {
    lists *at = &self->first;
    while (at && at->stream != stream)
        at = at->next;
    if (at == NULL && make) {
        rl_error_state saved;
        rl_error_push(&saved);
        at = rl_alloc_zero(1, sizeof *at, "free blocks of a stream");
        rl_error_pop(&saved, NULL);
        if (at) {
            at->stream = stream;
            at->next = self->first.next;
            self->first.next = at;
        }
    }
    return at;
}

/* Gives a block back to the backend. */
static void discard(rl_allocator *self, rl_block *block) {
    *block->all = block->all_next;
    if (block->all_next)
        block->all_next->all = block->all;
    if (!block->wrapped)
        sub(&self->reserved, block->bytes);
    if (block->buffer && self->device)
        self->device->api.mem_free(self->device->handle, block->buffer);
    rl_free(block);
}

/* Waits for all streams that the block was used on, its own included. */
static void wait_for_users(rl_device *device, rl_block *block) {
    uint64_t used = get(&block->used_on);
    pthread_mutex_lock(&device->streams_lock);
    for (rl_stream *s = device->streams; s; s = s->next) {
        if (s->number == rl_block_stream(block) || (used >> (s->number < 63 ? s->number : 63) & 1))
            rl_stream_wait(s);
    }
    pthread_mutex_unlock(&device->streams_lock);
}

void rl_allocator_keep(rl_allocator *self, rl_block *block) {
    lists *of_stream = self->device ? lists_of(self, rl_block_stream(block), true) : NULL;
    if (of_stream == NULL) {
        if (self->device)
            wait_for_users(self->device, block);
        discard(self, block);
        return;
    }
    block->next = of_stream->free[block->size_class];
    of_stream->free[block->size_class] = block;
}

void rl_allocator_keep_all(rl_allocator *self, rl_block *chain) {
    pthread_mutex_lock(&self->lock);
    for (rl_block *block = chain, *next; block; block = next) {
        next = block->next;
        rl_allocator_keep(self, block);
    }
    pthread_mutex_unlock(&self->lock);
}

/* Blocks whose other streams are done become free; with `wait`, all of them. */
static void collect(rl_allocator *self, bool wait) {
    const rl_backend *api = &self->device->api;
    for (waiting **at = &self->waiting; *at;) {
        waiting *w = *at;
        while (w->n_events > 0) {
            rl_backend_event *event = w->events[w->n_events - 1];
            if (wait)
                api->event_sync(event);
            else if (!api->event_done(event))
                break;
            api->event_destroy(event);
            w->n_events--;
        }
        if (w->n_events > 0) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        rl_allocator_keep(self, w->block);
        rl_free(w);
    }
}

static void free_lists(rl_allocator *self) {
    for (lists *l = &self->first; l; l = l->next) {
        for (int c = 0; c < LIST_CLASSES; c++) {
            while (l->free[c]) {
                rl_block *block = l->free[c];
                l->free[c] = block->next;
                discard(self, block);
            }
        }
    }
}

/* The waiting and the free blocks, the shelves' too, go back to the backend. */
static void flush(rl_allocator *self) {
    rl_shelves_empty(self); /* takes the lock itself */
    pthread_mutex_lock(&self->lock);
    collect(self, true);
    /* Work on freed blocks may still be under way: a buffer goes back only when it is done. */
    pthread_mutex_lock(&self->device->streams_lock);
    for (rl_stream *s = self->device->streams; s; s = s->next)
        rl_stream_wait(s);
    pthread_mutex_unlock(&self->device->streams_lock);
    free_lists(self);
    pthread_mutex_unlock(&self->lock);
}

/* Taking ------------------------------------------------------------------------------------------------------------
 */

static rl_block *counted(rl_allocator *self, rl_block *block) {
    uint64_t now = atomic_fetch_add_explicit(&self->allocated, block->bytes, memory_order_relaxed) + block->bytes;
    if (now > get(&self->allocated_peak))
        raise_peak(&self->allocated_peak, now);
    add(&self->allocations, 1);
    add(&self->held, 1);
    return block;
}

/* A block of the calling thread's stream, in the list of all. */
static rl_block *block_make(rl_allocator *self, rl_backend_buffer *buffer, uint64_t bytes, uint32_t size_class,
                            bool wrapped) {
    rl_block *block = rl_alloc_zero(1, sizeof *block, "a block of device memory");
    if (block == NULL)
        return NULL;
    block->owner = self;
    block->buffer = buffer;
    block->bytes = bytes;
    block->size_class = size_class;
    block->wrapped = wrapped;
    atomic_init(&block->stream, rl_stream_current(self->device)->number);
    pthread_mutex_lock(&self->lock);
    block->all = &self->blocks;
    block->all_next = self->blocks;
    if (self->blocks)
        self->blocks->all = &block->all_next;
    self->blocks = block;
    pthread_mutex_unlock(&self->lock);
    return block;
}

/* Counts the bytes as reserved; false where that is over the limit. */
static bool reserve(rl_allocator *self, uint64_t bytes) {
    uint64_t seen = get(&self->reserved);
    do {
        if (self->limit && (bytes > self->limit || seen > self->limit - bytes))
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&self->reserved, &seen, seen + bytes, memory_order_relaxed,
                                                    memory_order_relaxed));
    return true;
}

static rl_status from_backend(rl_allocator *self, uint64_t bytes, rl_backend_buffer **out) {
    rl_device *device = self->device;
    rl_host_sentence(); /* what the backend said before is not about this */
    if (!reserve(self, bytes))
        return RL_OUT_OF_MEMORY;
    rl_status status = rl_device_alloc(device, bytes, out);
    if (status == RL_OK)
        raise_peak(&self->reserved_peak, get(&self->reserved));
    else
        sub(&self->reserved, bytes);
    return status;
}

static rl_status no_memory(rl_allocator *self, uint64_t bytes) {
    rl_device *device = self->device;
    const char *sentence = rl_host_sentence();
    rl_text text = {0};
    rl_text_add(&text, "out of memory on %s: %llu bytes asked for; %llu are in use by tensors, %llu reserved",
                device->name, (unsigned long long)bytes, (unsigned long long)get(&self->allocated),
                (unsigned long long)get(&self->reserved));
    if (self->limit)
        rl_text_add(&text, ", RUSHLIGHT_MEMORY_LIMIT is %llu", (unsigned long long)self->limit);
    if (device->info.memory_total)
        rl_text_add(&text, ", the device has %llu", (unsigned long long)device->info.memory_total);
    if (*sentence)
        rl_text_add(&text, "; %s", sentence);
    rl_status status = rl_fail(RL_OUT_OF_MEMORY, "%s", text.failed ? "out of memory" : text.data);
    rl_text_free(&text);
    return status;
}

/* A new block from the backend, if need be after giving back all that is cached. `asked` is for the error. */
static rl_block *take_new(rl_allocator *self, uint64_t asked, uint64_t bytes, uint32_t size_class) {
    rl_backend_buffer *buffer = NULL;
    rl_status status = from_backend(self, bytes, &buffer);
    if (status == RL_OUT_OF_MEMORY) {
        flush(self);
        add(&self->flushes, 1);
        status = from_backend(self, bytes, &buffer);
    }
    if (status != RL_OK) {
        if (status == RL_OUT_OF_MEMORY)
            no_memory(self, asked);
        else
            rl_device_result(self->device, "allocation", status);
        return NULL;
    }
    rl_block *block = block_make(self, buffer, bytes, size_class, false);
    if (block == NULL) {
        self->device->api.mem_free(self->device->handle, buffer);
        sub(&self->reserved, bytes);
        return NULL;
    }
    add(&self->backend_allocations, 1);
    rl_log(RL_LOG_DEBUG, "memory", "%s: %llu bytes from the backend", self->device->name, (unsigned long long)bytes);
    return block;
}

static rl_block *take_listed(rl_allocator *self, uint32_t size_class, uint32_t stream) {
    pthread_mutex_lock(&self->lock);
    if (self->waiting)
        collect(self, false);
    lists *of_stream = lists_of(self, stream, false);
    rl_block *block = of_stream ? of_stream->free[size_class] : NULL;
    if (block)
        of_stream->free[size_class] = block->next;
    pthread_mutex_unlock(&self->lock);
    return block;
}

rl_block *rl_allocator_take(rl_allocator *self, uint64_t bytes) {
    uint64_t rounded;
    if (bytes > (uint64_t)1 << (MOST_BITS - 1)) {
        no_memory(self, bytes);
        return NULL;
    }
    uint32_t size_class = class_of(bytes, &rounded), stream = rl_stream_current(self->device)->number;
    rl_block *block = stream == 0 ? rl_shelf_take(self, size_class) : NULL;
    if (block == NULL)
        block = take_listed(self, size_class, stream);
    if (block == NULL)
        block = take_new(self, bytes, rounded, size_class);
    return block ? counted(self, block) : NULL;
}

rl_block *rl_allocator_wrap(rl_allocator *self, rl_backend_buffer *buffer, uint64_t bytes) {
    rl_block *block = block_make(self, buffer, bytes, 0, true);
    if (block)
        add(&self->held, 1);
    return block;
}

/* Giving back -------------------------------------------------------------------------------------------------------
 */

static void allocator_delete(rl_allocator *self) {
    pthread_mutex_lock(&allocators.lock);
    *self->link = self->next;
    if (self->next)
        self->next->link = self->link;
    pthread_mutex_unlock(&allocators.lock);
    while (self->first.next) {
        lists *next = self->first.next->next;
        rl_free(self->first.next);
        self->first.next = next;
    }
    pthread_mutex_destroy(&self->lock);
    rl_free(self);
}

/* An event on each other stream that used the block. Where one cannot be made, the stream is waited for instead. */
static waiting *events_for(rl_allocator *self, rl_block *block) {
    rl_device *device = self->device;
    uint64_t used = atomic_exchange(&block->used_on, 0);
    rl_error_state saved;
    rl_error_push(&saved);
    waiting *w = rl_alloc_zero(1, sizeof *w, "a block that waits");
    rl_error_pop(&saved, NULL);
    pthread_mutex_lock(&device->streams_lock);
    for (rl_stream *s = device->streams; s; s = s->next) {
        uint32_t bit = s->number < 63 ? s->number : 63;
        if (!(used >> bit & 1) || s->number == rl_block_stream(block))
            continue;
        rl_backend_event *event = NULL;
        if (w == NULL || w->n_events == MOST_EVENTS || device->api.event_create(device->handle, &event) != RL_OK) {
            rl_stream_wait(s);
        } else if (!rl_stream_record(s, event)) {
            device->api.event_destroy(event);
            rl_stream_wait(s);
        } else {
            w->events[w->n_events++] = event;
        }
    }
    pthread_mutex_unlock(&device->streams_lock);
    return w;
}

static void give_slowly(rl_allocator *self, rl_block *block) {
    waiting *w = NULL;
    if (get(&block->used_on) && self->device)
        w = events_for(self, block);
    pthread_mutex_lock(&self->lock);
    if (w && w->n_events > 0) {
        w->block = block;
        w->next = self->waiting;
        self->waiting = w;
        w = NULL;
    } else {
        rl_allocator_keep(self, block);
    }
    pthread_mutex_unlock(&self->lock);
    rl_free(w);
}

void rl_allocator_give(rl_block *block) {
    rl_allocator *self = block->owner;
    if (block->wrapped) {
        /* The memory is the caller's again once this returns. */
        if (self->device && !(self->device->api.flags & RL_BACKEND_SYNCHRONOUS))
            wait_for_users(self->device, block);
        pthread_mutex_lock(&self->lock);
        discard(self, block);
        pthread_mutex_unlock(&self->lock);
    } else {
        sub(&self->allocated, block->bytes);
        bool near = rl_block_stream(block) == 0 && self->device && !get(&block->used_on);
        if (!near || !rl_shelf_put(self, block))
            give_slowly(self, block);
    }
    if (atomic_fetch_sub_explicit(&self->held, 1, memory_order_acq_rel) == 1 && self->device == NULL)
        allocator_delete(self);
}

/* Before the device works on a stream that is not the block's own. */
void rl_block_used_on(rl_block *block, uint32_t stream) {
    if (stream != rl_block_stream(block))
        atomic_fetch_or_explicit(&block->used_on, (uint64_t)1 << (stream < 63 ? stream : 63), memory_order_relaxed);
}

rl_backend_buffer *rl_block_buffer(const rl_block *block) {
    return block->buffer;
}

void rl_allocator_stream_gone(rl_allocator *self, uint32_t stream) {
    pthread_mutex_lock(&self->lock);
    if (self->device) {
        collect(self, false);
        for (rl_block *b = self->blocks; b; b = b->all_next) {
            if (rl_block_stream(b) == stream)
                atomic_store_explicit(&b->stream, 0, memory_order_relaxed);
        }
        for (lists **at = &self->first.next; *at; at = &(*at)->next) {
            lists *gone = *at;
            if (gone->stream != stream)
                continue;
            *at = gone->next;
            for (int c = 0; c < LIST_CLASSES; c++) {
                while (gone->free[c]) {
                    rl_block *block = gone->free[c];
                    gone->free[c] = block->next;
                    rl_allocator_keep(self, block);
                }
            }
            rl_free(gone);
            break;
        }
    }
    pthread_mutex_unlock(&self->lock);
}

/* Life and figures --------------------------------------------------------------------------------------------------
 */

rl_allocator *rl_allocator_new(rl_device *device) {
    rl_allocator *self = rl_alloc_zero(1, sizeof *self, "an allocator");
    if (self == NULL)
        return NULL;
    pthread_mutex_init(&self->lock, NULL);
    self->device = device;
    self->limit = (uint64_t)rl_env_int(RL_ENV_MEMORY_LIMIT, 0, INT64_MAX, 0);
    pthread_mutex_lock(&allocators.lock);
    self->link = &allocators.all;
    self->next = allocators.all;
    if (self->next)
        self->next->link = &self->next;
    allocators.all = self;
    pthread_mutex_unlock(&allocators.lock);
    return self;
}

void rl_allocators_take(void) {
    pthread_mutex_lock(&allocators.lock);
    for (rl_allocator *at = allocators.all; at; at = at->next)
        pthread_mutex_lock(&at->lock);
}

void rl_allocators_give(void) {
    for (rl_allocator *at = allocators.all; at; at = at->next)
        pthread_mutex_unlock(&at->lock);
    pthread_mutex_unlock(&allocators.lock);
}

void rl_allocator_free(rl_allocator *self) {
    if (self == NULL)
        return;
    flush(self);
    pthread_mutex_lock(&self->lock);
    for (rl_block *b = self->blocks; b; b = b->all_next) { /* what users still hold loses its memory */
        self->device->api.mem_free(self->device->handle, b->buffer);
        b->buffer = NULL;
    }
    self->device = NULL;
    pthread_mutex_unlock(&self->lock);
    if (get(&self->held) == 0)
        allocator_delete(self);
}

rl_status rl_allocator_flush(rl_allocator *self) {
    flush(self);
    return RL_OK;
}

void rl_allocator_count_copy(rl_allocator *self, uint64_t in, uint64_t out) {
    add(&self->bytes_in, in);
    add(&self->bytes_out, out);
}

void rl_allocator_stats(rl_allocator *self, rl_memory_stats *out) {
    *out = (rl_memory_stats){.allocated = get(&self->allocated),
                             .allocated_peak = get(&self->allocated_peak),
                             .reserved = get(&self->reserved),
                             .reserved_peak = get(&self->reserved_peak),
                             .allocations = get(&self->allocations),
                             .backend_allocations = get(&self->backend_allocations),
                             .flushes = get(&self->flushes),
                             .bytes_in = get(&self->bytes_in),
                             .bytes_out = get(&self->bytes_out)};
}

void rl_allocator_reset_peak(rl_allocator *self) {
    atomic_store(&self->allocated_peak, get(&self->allocated));
    atomic_store(&self->reserved_peak, get(&self->reserved));
}
