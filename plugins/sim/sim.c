/* SPDX-License-Identifier: Apache-2.0 */
/* The backend's table, its life and its devices. */
#include "sim.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

sim_state sim = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

/* Life ------------------------------------------------------------------------------------------------------------ */

void sim_misuse(const char *format, ...) {
    va_list list;
    va_start(list, format);
    vsnprintf(sim.misuse, sizeof sim.misuse, format, list);
    va_end(list);
    sim.host->log(RL_LOG_ERROR, "sim: %s", sim.misuse);
}

/* What the last life did wrong in calls that return nothing is an error of this one, once. */
static rl_status init(void) {
    if (sim.misuse[0]) {
        char told[SENTENCE];
        memcpy(told, sim.misuse, sizeof told);
        sim.misuse[0] = 0;
        return sim.host->fail(RL_INTERNAL, "%s", told);
    }
    return sim_read_settings();
}

static void shutdown(void) {
    sim_handles_clear();
}

/* Devices --------------------------------------------------------------------------------------------------------- */

static uint32_t device_count(void) {
    return sim.n_devices;
}

static rl_status no_device(const char *call, uint32_t number) {
    return sim.host->fail(RL_INVALID_ARGUMENT, "%s: sim has %u devices, number %u is none of them", call,
                          (unsigned)sim.n_devices, (unsigned)number);
}

static rl_status device_info(uint32_t number, rl_device_info *info) {
    if (number >= sim.n_devices)
        return no_device("device_info", number);
    pthread_mutex_lock(&sim.lock);
    rl_device_info filled = {
        .size = info->size,
        .flags = RL_DEVICE_F64,
        .name = "a device that does not exist",
        .driver = "simulated on a thread",
        .memory_total = sim.memory,
        .memory_free = sim.memory - sim.devices[number].memory_used,
        .compute_units = 1,
        .alignment = 64,
    };
    pthread_mutex_unlock(&sim.lock);
    memcpy(info, &filled, info->size < sizeof filled ? info->size : sizeof filled);
    return RL_OK;
}

static rl_status device_open(uint32_t number, rl_backend_device **out_device) {
    if (number >= sim.n_devices)
        return no_device("device_open", number);
    sim_device *device = &sim.devices[number];
    pthread_mutex_lock(&sim.lock);
    bool open = device->open;
    uintptr_t handle = open ? 0 : sim_handle_new_locked(HANDLE_DEVICE, device);
    if (handle)
        *device = (sim_device){.number = number, .open = true, .handle = handle};
    pthread_mutex_unlock(&sim.lock);
    if (open)
        return sim.host->fail(RL_INVALID_ARGUMENT, "device_open: sim:%u is open already", (unsigned)number);
    if (!handle)
        return sim.host->fail(RL_OUT_OF_MEMORY, "device_open: no host memory for a handle");
    *out_device = (rl_backend_device *)handle;
    return RL_OK;
}

static void tell_leaks(const sim_device *device) {
    if (device->n_buffers || device->n_streams || device->n_events)
        sim_misuse("sim:%u was closed with %u buffers (%llu bytes), %u streams and %u events still alive",
                   (unsigned)device->number, (unsigned)device->n_buffers, (unsigned long long)device->memory_used,
                   (unsigned)device->n_streams, (unsigned)device->n_events);
}

/* Frees what the host left of a device, and its own handle. */
static void free_leak(handle_kind kind, void *object, const void *handle, void *context) {
    sim_device *device = context;
    sim_buffer *buffer = object;
    sim_event *event = object;
    sim_queue *queue = object;
    if (kind == HANDLE_EVENT && event->device == device) {
        sim_mark_drop_locked(&event->mark);
        free(event);
    } else if (kind == HANDLE_STREAM && queue->device == device) {
        sim_queue_end_locked(queue);
    } else if (kind == HANDLE_BUFFER && buffer->device == device) {
        buffer->freed = true;
        sim_buffer_release_locked(buffer);
    } else if (object != device) {
        return;
    }
    sim_handle_free_locked(handle);
}

static void device_close(rl_backend_device *handle) {
    pthread_mutex_lock(&sim.lock);
    sim_device *device = sim_handle_find_locked(HANDLE_DEVICE, handle);
    pthread_mutex_unlock(&sim.lock);
    if (!device)
        return;
    sim_stop(device);
    pthread_mutex_lock(&sim.lock);
    tell_leaks(device);
    sim_handles_each_locked(free_leak, device);
    free(device->scratch);
    device->scratch = NULL;
    device->open = false;
    pthread_mutex_unlock(&sim.lock);
}

/* The table ------------------------------------------------------------------------------------------------------- */

/* No fused rows and the base instructions only: what lowers and what expands is then tried on it. Nothing of host
 * memory: no mem_map, no mem_wrap. No after_fork: the worker does not live on in a child. */
static const rl_backend table = {
    .size = sizeof table,
    .abi = RL_ABI_VERSION,
    .name = "sim",
    .version = "1",
    .summary = "a device that does not exist: keeps the plugin interface honest",
    .rank = -10,
    .flags = 0,
    .insn_mask = ((uint64_t)1 << RL_INSN_BASE_END) - 1,
    .init = init,
    .shutdown = shutdown,
    .device_count = device_count,
    .device_info = device_info,
    .device_open = device_open,
    .device_close = device_close,
    .mem_alloc = sim_mem_alloc,
    .mem_free = sim_mem_free,
    .copy_in = sim_copy_in,
    .copy_out = sim_copy_out,
    .copy = sim_copy,
    .stream_create = sim_stream_create,
    .stream_destroy = sim_stream_destroy,
    .stream_sync = sim_stream_sync,
    .event_create = sim_event_create,
    .event_destroy = sim_event_destroy,
    .event_record = sim_event_record,
    .stream_wait = sim_stream_wait,
    .event_done = sim_event_done,
    .event_sync = sim_event_sync,
    .map = sim_map,
    .reduce = sim_reduce,
    .matmul = sim_matmul,
    .gather = sim_gather,
    .scatter = sim_scatter,
    .scan = sim_scan,
    .sort = sim_sort,
};

int rl_backend_query(uint32_t host_abi, const rl_host *host, const rl_backend **out_backend) {
    if (host_abi != RL_ABI_VERSION || host->size < offsetof(rl_host, thread_count))
        return host->fail(RL_ABI_MISMATCH, "sim was built for version %u of the ABI, the host has version %u",
                          (unsigned)RL_ABI_VERSION, (unsigned)host_abi);
    sim.host = host;
    *out_backend = &table;
    return RL_OK;
}
