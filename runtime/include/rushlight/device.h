/* SPDX-License-Identifier: Apache-2.0 */
/* Devices: which there are, which is used, what became of each candidate, memory and streams. */
#ifndef RUSHLIGHT_DEVICE_H
#define RUSHLIGHT_DEVICE_H

#include "rushlight/base.h"
#include "rushlight/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Finding --------------------------------------------------------------------------------------------------------- */

/* The device of that name: "onednn", "onednn:0". Loads, opens and probes it at its first use. NULL with an error that
 * lists every candidate and why it was passed over. Borrowed, valid until rl_shutdown. */
RL_API rl_device *rl_device_get(const char *name);
/* RUSHLIGHT_DEVICE, else the usable device of the highest rank; said on stderr once (RUSHLIGHT_QUIET silences it). */
RL_API rl_device *rl_device_default(void);
/* Makes `device` this process's default. */
RL_API rl_status rl_device_set_default(rl_device *device);
/* All devices of all loaded backends, highest rank first; fills up to `room`, returns how many there are. Not probed.
 */
RL_API size_t rl_device_list(rl_device **out_devices, size_t room);

/* "onednn:0" */
RL_API const char *rl_device_name(const rl_device *self);
/* Probes it: a tiny kernel ran and was right. */
RL_API bool rl_device_usable(rl_device *self);
/* True where tensors lie in host memory. */
RL_API bool rl_device_is_host(const rl_device *self);
RL_API rl_status rl_device_info_get(rl_device *self, rl_device_info *out_info);
/* Waits for all work on the device's streams; returns errors of that work. */
RL_API rl_status rl_synchronize(rl_device *device);

/* Adds a backend from this file, now. The explicit call of the search order. */
RL_API rl_status rl_backend_load(const char *path);
/* What is looked at before a file is opened: that it is a regular file and a whole shared object of this machine, and
 * that neither it nor its folder is another user's or writable by everybody. RL_OK, or an error that says which. */
RL_API rl_status rl_backend_examine(const char *path);

/* The load report ---------------------------------------------------------------------------------------------------
 */

/* How far a candidate got; X(NAME, "text"). */
#define RL_LOAD_STAGE_LIST(X)                                                                                          \
    X(FOUND, "found")                                                                                                  \
    X(DLOPEN, "dlopen")                                                                                                \
    X(SYMBOL, "symbol")                                                                                                \
    X(ABI, "abi")                                                                                                      \
    X(INIT, "init")                                                                                                    \
    X(DEVICES, "devices")                                                                                              \
    X(USABLE, "usable")
#define RL_LOAD_STAGE_ENUM_(NAME, text) RL_LOAD_##NAME,
typedef enum rl_load_stage { RL_LOAD_STAGE_LIST(RL_LOAD_STAGE_ENUM_) RL_LOAD_STAGE_COUNT } rl_load_stage;
#undef RL_LOAD_STAGE_ENUM_

typedef struct rl_load_record {
    size_t struct_size;   /* set by the caller to the size of the struct */
    const char *name;     /* of the backend as far as known, else the file's name */
    const char *path;     /* "(built in)" for the linked-in ref */
    rl_load_stage stage;  /* the last stage that it passed */
    rl_status status;     /* RL_OK, or why it got no further */
    const char *sentence; /* what went wrong, in the loader's or the backend's own words; "" */
    const char *hint;     /* what to do about it; "" */
    uint32_t device_count;
} rl_load_record;

/* The number of candidates, and one of them, in the order in which they were met. Strings are borrowed and valid until
 * rl_shutdown. False where there is no such record. */
RL_API size_t rl_load_report_count(void);
RL_API bool rl_load_report_get(size_t number, rl_load_record *out_record);

/* Memory ------------------------------------------------------------------------------------------------------------
 */

typedef struct rl_memory_stats {
    size_t struct_size;                 /* set by the caller to the size of the struct */
    uint64_t allocated, allocated_peak; /* bytes in use by storages, now and at most */
    uint64_t reserved, reserved_peak;   /* bytes taken from the backend, in use or cached */
    uint64_t allocations;               /* requests served in all */
    uint64_t backend_allocations;       /* of these, by the backend: the others came from the cache */
    uint64_t flushes;                   /* times that the cache was emptied for lack of memory */
    uint64_t bytes_in, bytes_out;       /* copied from and to the host */
} rl_memory_stats;
RL_API rl_status rl_memory_stats_get(rl_device *device, rl_memory_stats *out_stats);
RL_API rl_status rl_memory_reset_peak(rl_device *device);
/* Gives cached blocks back to the device. */
RL_API rl_status rl_memory_empty_cache(rl_device *device);

/* Streams and events
 * --------------------------------------------------------------------------------------------------- */

typedef struct rl_stream rl_stream; /* an object */
typedef struct rl_event rl_event;   /* an object */
RL_API rl_stream *rl_stream_new(rl_device *device);
/* Makes it the calling thread's stream on its device; NULL with a device: the device's default stream again. */
RL_API rl_status rl_stream_use(rl_device *device, rl_stream *stream);
RL_API rl_status rl_stream_synchronize(rl_stream *self);
RL_API rl_event *rl_event_new(rl_device *device);
RL_API rl_status rl_event_record(rl_event *self, rl_stream *stream); /* stream NULL: the current one */
RL_API rl_status rl_stream_wait_event(rl_stream *self, rl_event *event);
RL_API bool rl_event_done(rl_event *self);
RL_API rl_status rl_event_synchronize(rl_event *self);

#ifdef __cplusplus
}
#endif
#endif
