/* SPDX-License-Identifier: Apache-2.0 */
/* A device: its life, whether it works, what it says of itself, and how its errors become ours. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/env.h"
#include "base/sized.h"
#include "dispatch/registry.h"

rl_device *rl_device_make(rl_registry_entry *backend, uint32_t number) {
    rl_device *self = rl_alloc_zero(1, sizeof *self, "a device");
    if (self == NULL)
        return NULL;
    self->api = backend->api;
    self->backend = backend;
    self->number = number;
    self->info.size = sizeof self->info;
    pthread_mutex_init(&self->streams_lock, NULL);
    snprintf(self->name, sizeof self->name, "%s:%u", self->api.name, number);
    if (self->api.device_info(number, &self->info) != RL_OK)
        rl_host_sentence();
    self->info.size = sizeof self->info;
    self->info.name[sizeof self->info.name - 1] = '\0';
    self->info.driver[sizeof self->info.driver - 1] = '\0';
    return self;
}

static void device_close(rl_device *self) {
    if (self->handle == NULL)
        return;
    if (self->allocator)
        rl_allocator_free(self->allocator);
    rl_device_streams_stop(self);
    self->api.device_close(self->handle);
    self->allocator = NULL;
    self->handle = NULL;
    self->stream = NULL;
}

void rl_device_free(rl_device *self) {
    device_close(self);
    pthread_mutex_destroy(&self->streams_lock);
    rl_free(self);
}

rl_status rl_device_alloc(rl_device *self, uint64_t bytes, rl_backend_buffer **out) {
    *out = NULL;
    rl_status status = self->api.mem_alloc(self->handle, RL_MEMORY_DEVICE, bytes, out);
    if (status == RL_OK && *out == NULL)
        return rl_host_table.fail(RL_INTERNAL, "the backend gave no buffer");
    return status;
}

/* First use -----------------------------------------------------------------------------------------------------------
 */

enum { PROBE = 64, PROBE_VALUE = 0x5eed };

/* A tiny kernel ran and was right: every element holds its index plus a number. */
static rl_status probe(rl_device *self) {
    rl_builder builder;
    rl_builder_init(&builder);
    rl_pw index = rl_build_cast(&builder, rl_build_index(&builder, 0), RL_I32);
    rl_build_output(&builder, rl_build2(&builder, RL_INSN_ADD, index, rl_build_scalar(&builder, RL_I32)), RL_I32);
    const rl_program *program = rl_builder_finish(&builder);
    int32_t got[PROBE] = {0};
    rl_backend_buffer *buffer = NULL;
    if (program == NULL)
        return rl_error_status();
    rl_status status = rl_device_alloc(self, sizeof got, &buffer);
    if (status != RL_OK)
        return rl_device_result(self, "probe", status);
    rl_operand out = {.buffer = buffer, .stride = {1}};
    rl_number scalar = {.i = PROBE_VALUE};
    rl_map_job job = {.ndim = 1, .shape = {PROBE}, .outputs = &out, .scalars = &scalar};
    rl_map_args args = {.size = sizeof args, .n_jobs = 1, .program = program, .jobs = &job};
    status = self->api.map(self->stream, &args);
    if (status == RL_OK)
        status = self->api.copy_out(self->stream, got, buffer, 0, sizeof got);
    rl_status done = self->api.stream_sync(self->stream);
    self->api.mem_free(self->handle, buffer);
    status = status ? status : done;
    if (status != RL_OK)
        return rl_device_result(self, "probe", status);
    for (int i = 0; i < PROBE; i++) {
        if (got[i] != PROBE_VALUE + i)
            return rl_fail(RL_INTERNAL, "probe: %s computes wrongly: %d in place of %d", self->name, (int)got[i],
                           PROBE_VALUE + i);
    }
    return RL_OK;
}

static rl_status open_device(rl_device *self) {
    rl_status status = self->api.device_open(self->number, &self->handle);
    if (status != RL_OK || self->handle == NULL) {
        self->handle = NULL;
        return rl_device_result(self, "open", status ? status : RL_INTERNAL);
    }
    self->allocator = rl_allocator_new(self);
    if (self->allocator == NULL || rl_device_streams_start(self) != RL_OK)
        return rl_error_status();
    return probe(self);
}

rl_status rl_device_ready(rl_device *self) {
    int state = atomic_load_explicit(&self->state, memory_order_acquire);
    if (state == 1)
        return rl_error_status();
    if (rl_failed())
        return rl_error_status();
    rl_registry_lock();
    state = atomic_load(&self->state);
    if (state == 0) {
        rl_error_state saved;
        char *text = NULL;
        rl_error_push(&saved);
        open_device(self);
        rl_status status = rl_error_pop(&saved, &text);
        if (status == RL_OK) {
            rl_report_pass(self->backend->record, RL_LOAD_USABLE);
        } else {
            rl_report_fail(self->backend->record, status, "", "%s", text ? text : rl_status_text(status));
            device_close(self);
            self->failure = status;
            snprintf(self->failure_text, sizeof self->failure_text, "%s", text ? text : rl_status_text(status));
        }
        free(text);
        state = status == RL_OK ? 1 : 2;
        atomic_store_explicit(&self->state, state, memory_order_release);
    }
    rl_registry_unlock();
    return state == 1 ? RL_OK : rl_fail(self->failure, "%s", self->failure_text);
}

/* Errors
 * ---------------------------------------------------------------------------------------------------------------- */

rl_status rl_device_result(rl_device *self, const char *op, rl_status status) {
    if (status == RL_OK)
        return RL_OK;
    const char *sentence = rl_host_sentence();
    return rl_fail(status, "%s: on %s: %s", op, self->name, *sentence ? sentence : rl_status_text(status));
}

rl_status rl_device_bad_index(rl_device *self, const char *op, int64_t dim) {
    const char *sentence = rl_host_sentence(), *kernel = strstr(sentence, ": ");
    if (*sentence == '\0')
        return rl_device_result(self, op, RL_INDEX_OUT_OF_RANGE);
    return rl_fail(RL_INDEX_OUT_OF_RANGE, "%s: %s of dimension %lld, on %s", op, kernel ? kernel + 2 : sentence,
                   (long long)dim, self->name);
}

static _Atomic(uint64_t) host_ops;

rl_status rl_note_host_op(const char *op, rl_device *device) {
    if (rl_env_flag(RL_ENV_STRICT))
        return rl_fail(RL_UNSUPPORTED, "%s: computes on the host instead of %s, which RUSHLIGHT_STRICT forbids", op,
                       device->name);
    uint64_t count = atomic_fetch_add_explicit(&host_ops, 1, memory_order_relaxed) + 1;
    rl_log(RL_LOG_DEBUG, "dispatch", "%s: on the host for %s (%llu so far)", op, device->name,
           (unsigned long long)count);
    return RL_OK;
}

/* What it is
 * ------------------------------------------------------------------------------------------------------------ */

const char *rl_device_name(const rl_device *self) {
    return self ? self->name : "";
}

bool rl_device_usable(rl_device *self) {
    rl_error_state saved;
    if (self == NULL)
        return false;
    rl_error_push(&saved);
    bool usable = rl_device_ready(self) == RL_OK;
    rl_error_pop(&saved, NULL);
    return usable;
}

bool rl_device_is_host(const rl_device *self) {
    return self && (self->api.flags & RL_BACKEND_HOST_MEMORY);
}

bool rl_device_takes_dtype(rl_device *device, rl_dtype dtype) {
    return dtype != RL_F64 || (device->info.flags & RL_DEVICE_F64);
}

rl_status rl_device_check_dtype(const char *op, rl_device *device, rl_dtype dtype) {
    if (rl_device_takes_dtype(device, dtype))
        return RL_OK;
    return rl_fail(RL_UNSUPPORTED, "%s: %s is not available on %s", op, rl_dtype_name(dtype), device->name);
}

int rl_device_number(const rl_device *device) {
    return device->index;
}

rl_status rl_device_info_get(rl_device *self, rl_device_info *out_info) {
    if (rl_failed())
        return rl_error_status();
    if (self == NULL || out_info == NULL)
        return rl_fail(RL_INVALID_ARGUMENT, "device_info_get: %s is NULL", self ? "out_info" : "self");
    if (out_info->size <= sizeof out_info->size)
        return rl_fail(RL_INVALID_ARGUMENT,
                       "device_info_get: size of out_info is %u; it must be set to that of the struct", out_info->size);
    uint32_t size = out_info->size < sizeof self->info ? out_info->size : (uint32_t)sizeof self->info;
    uint32_t given = out_info->size;
    memcpy(out_info, &self->info, size);
    out_info->size = given;
    return RL_OK;
}

static rl_status ready_or_default(rl_device **device) {
    if (rl_failed())
        return rl_error_status();
    if (*device == NULL && (*device = rl_device_default()) == NULL)
        return rl_error_status();
    return rl_device_ready(*device);
}

rl_status rl_memory_stats_get(rl_device *device, rl_memory_stats *out_stats) {
    rl_memory_stats full;
    if (ready_or_default(&device) != RL_OK)
        return rl_error_status();
    rl_allocator_stats(device->allocator, &full);
    return rl_sized_fill("memory_stats_get", out_stats, &full, sizeof full);
}

rl_status rl_memory_reset_peak(rl_device *device) {
    rl_status status = ready_or_default(&device);
    if (status == RL_OK)
        rl_allocator_reset_peak(device->allocator);
    return status;
}

rl_status rl_memory_empty_cache(rl_device *device) {
    rl_status status = ready_or_default(&device);
    return status == RL_OK ? rl_allocator_flush(device->allocator) : status;
}
