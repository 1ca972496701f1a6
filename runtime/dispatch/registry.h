/* SPDX-License-Identifier: Apache-2.0 */
/* Backends and devices as this folder keeps them. One lock guards the registry; it is taken at first uses only. */
#ifndef RUSHLIGHT_RUNTIME_DISPATCH_REGISTRY_H
#define RUSHLIGHT_RUNTIME_DISPATCH_REGISTRY_H

#include <pthread.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "dispatch/device.h"

struct rl_registry_entry { /* a backend that was initialized */
    rl_backend api;        /* at this host's size */
    void *library;         /* NULL for what is linked in */
    size_t record;         /* its line of the load report */
    uint32_t n_devices;
    rl_device **devices;
    rl_registry_entry *next;
};

/* The load report (report.c). Under the registry's lock. --------------------------------------------------------- */

/* A new record at stage FOUND; its number. SIZE_MAX and an error where there is no memory. */
size_t rl_report_add(const char *name, const char *path);
void rl_report_rename(size_t number, const char *name);
/* The stage that was passed last; all is well so far. */
void rl_report_pass(size_t number, rl_load_stage stage);
void rl_report_fail(size_t number, rl_status status, const char *hint, const char *format, ...) RL_PRINTF_(4, 5);
void rl_report_devices(size_t number, uint32_t count);
/* Every candidate with its reason, a line each, for an error. */
void rl_report_describe(rl_text *text);
void rl_report_clear(void);

/* Finding (loader.c). Under the lock. ---------------------------------------------------------------------------- */

/* Looks at all candidates of the search order. Nothing that it meets is an error of the caller's. */
void rl_loader_search(void);
/* One file, now; the number of its record, SIZE_MAX and an error where there is no memory for one. */
size_t rl_loader_try(const char *path);
/* Takes a backend into the registry: checks its table, initializes it, makes its devices. False where it said why in
 * the record; the library is the caller's then. */
bool rl_registry_admit(const rl_backend *table, void *library, size_t record);

/* The host's side of the ABI (host.c). ------------------------------------------------------------------------------
 */

extern const rl_host rl_host_table;
/* The sentence that a backend left on this thread, "" where it left none; it is then forgotten. */
const char *rl_host_sentence(void);
/* In the child of a fork: one thread from now on. */
void rl_host_forked(void);

/* Devices (device.c) --------------------------------------------------------------------------------------------------
 */

rl_device *rl_device_make(rl_registry_entry *backend, uint32_t number);
void rl_device_free(rl_device *self);
/* The backend's mem_alloc; that it gives a buffer is not taken for granted. */
rl_status rl_device_alloc(rl_device *self, uint64_t bytes, rl_backend_buffer **out);
/* In the child of a fork: no call reaches the backend any more. */
void rl_device_abandon(rl_device *self);

/* Streams (stream.c) --------------------------------------------------------------------------------------------------
 */

struct rl_stream {
    rl_object object;
    rl_device *device;
    rl_backend_stream *handle;
    pthread_mutex_t lock;   /* held for a call, unless the backend is concurrent */
    uint32_t number;        /* within its device; never used again. 0: the default stream */
    rl_stream *next;        /* of the device's list of streams */
    rl_backend_event *mark; /* rl_stream_wait's own; guarded by the device's streams_lock */
};
/* The calling thread's stream on the device. */
rl_stream *rl_stream_current(rl_device *device);
rl_status rl_device_streams_start(rl_device *device);
void rl_device_streams_stop(rl_device *device);
/* Marks what the stream was given so far; false where the backend cannot. Under the device's streams_lock. */
bool rl_stream_record(rl_stream *self, rl_backend_event *event);
/* Waits for what the stream was given so far, without taking its error. Under the device's streams_lock. */
void rl_stream_wait(rl_stream *self);
/* For a fork: streams_lock, and those of all its streams. */
void rl_device_streams_take(rl_device *device);
void rl_device_streams_give(rl_device *device);

/* Memory (allocator.c) ------------------------------------------------------------------------------------------------
 */

typedef struct rl_block rl_block;
rl_allocator *rl_allocator_new(rl_device *device);
void rl_allocator_free(rl_allocator *self);
rl_block *rl_allocator_take(rl_allocator *self, uint64_t bytes);
/* A block over foreign memory. */
rl_block *rl_allocator_wrap(rl_allocator *self, rl_backend_buffer *buffer, uint64_t bytes);
void rl_allocator_give(rl_block *block);
void rl_block_used_on(rl_block *block, uint32_t stream);
rl_backend_buffer *rl_block_buffer(const rl_block *block);
void rl_allocator_count_copy(rl_allocator *self, uint64_t in, uint64_t out);
/* A stream is gone, and all its work with it: what it cached goes to the default stream. */
void rl_allocator_stream_gone(rl_allocator *self, uint32_t stream);
void rl_allocator_stats(rl_allocator *self, rl_memory_stats *out);
void rl_allocator_reset_peak(rl_allocator *self);
rl_status rl_allocator_flush(rl_allocator *self);
/* For a fork: the locks of all shelves, then of all allocators. */
void rl_shelves_take(void);
void rl_shelves_give(void);
void rl_allocators_take(void);
void rl_allocators_give(void);

void rl_registry_lock(void);
void rl_registry_unlock(void);

#endif
