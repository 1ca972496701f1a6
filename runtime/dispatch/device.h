/* SPDX-License-Identifier: Apache-2.0 */
/* A device from within this folder. */
#ifndef RUSHLIGHT_RUNTIME_DISPATCH_DEVICE_H
#define RUSHLIGHT_RUNTIME_DISPATCH_DEVICE_H

#include <pthread.h>

#include "dispatch/dispatch.h"

typedef struct rl_registry_entry rl_registry_entry; /* a loaded backend: registry.c's own */
typedef struct rl_allocator rl_allocator;           /* allocator.c's own */

struct rl_device {
    rl_backend api;            /* the backend's table, at this host's size: what it lacks is zero */
    rl_backend_device *handle; /* NULL until the device is opened */
    rl_backend_stream *stream; /* its default stream */
    rl_stream *default_stream;
    pthread_mutex_t streams_lock; /* guards the two lists and next_stream */
    rl_stream *streams;
    rl_event *events;
    uint32_t next_stream;
    rl_registry_entry *backend;
    rl_allocator *allocator;
    uint32_t number;    /* within its backend */
    int index;          /* among all devices */
    _Atomic(int) state; /* 0 not tried, 1 usable, 2 not usable */
    rl_status failure;  /* why it is not usable */
    char failure_text[512];
    rl_device_info info;
    char name[80]; /* "onednn:0" */
};

/* Opens and probes the device at its first use; the same status again later. Cheap once it is ready. */
rl_status rl_device_ready(rl_device *self);

/* The calling thread's stream on the device, held for one call of the backend: between enter and leave no other thread
 * uses it, unless the backend is RL_BACKEND_CONCURRENT (then neither costs anything). */
rl_backend_stream *rl_device_stream_enter(rl_device *self);
void rl_device_stream_leave(rl_device *self, rl_backend_stream *stream);

/* Marks a storage as used by the calling thread's stream, where that is not the one it was made on. */
void rl_storage_used(rl_storage *storage);

/* Turns what a backend returned into this thread's error: "OP: on DEVICE: sentence of the backend". RL_OK passes. */
rl_status rl_device_result(rl_device *self, const char *op, rl_status status);
/* The same for RL_INDEX_OUT_OF_RANGE of gather and scatter, of the caller's dimension `dim`. */
rl_status rl_device_bad_index(rl_device *self, const char *op, int64_t dim);

#endif
