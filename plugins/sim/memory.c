/* SPDX-License-Identifier: Apache-2.0 */
/* The device's memory, of which there is little, and copies. */
#include <stdlib.h>
#include <string.h>

#include "sim.h"

void sim_buffer_release_locked(sim_buffer *buffer) {
    if (buffer->uses || !buffer->freed)
        return;
    buffer->device->memory_used -= buffer->bytes;
    free(buffer->memory.data);
    free(buffer);
}

static rl_status alloc_locked(sim_device *device, uint64_t bytes, rl_backend_buffer **out_buffer) {
    rl_status status = sim_admit_locked(device, FAIL_ALLOC, "mem_alloc");
    if (status)
        return status;
    if (bytes > sim.memory - device->memory_used)
        return sim.host->fail(RL_OUT_OF_MEMORY, "mem_alloc: %llu bytes of sim:%u, %llu of %llu are free",
                              (unsigned long long)bytes, (unsigned)device->number,
                              (unsigned long long)(sim.memory - device->memory_used), (unsigned long long)sim.memory);
    sim_buffer *buffer = calloc(1, sizeof *buffer);
    unsigned char *data = buffer ? aligned_alloc(64, ((size_t)bytes + 63) & ~(size_t)63) : NULL;
    uintptr_t handle = data ? sim_handle_new_locked(HANDLE_BUFFER, buffer) : 0;
    if (!handle) {
        free(data);
        free(buffer);
        return sim.host->fail(RL_OUT_OF_MEMORY, "mem_alloc: no host memory to simulate %llu bytes",
                              (unsigned long long)bytes);
    }
    memset(data, 0xcd, (size_t)bytes); /* what was not written reads as rubbish, the same each time */
    *buffer = (sim_buffer){.memory = {data}, .device = device, .bytes = bytes};
    device->memory_used += bytes;
    device->n_buffers++;
    *out_buffer = (rl_backend_buffer *)handle;
    return RL_OK;
}

rl_status sim_mem_alloc(rl_backend_device *handle, uint32_t kind, uint64_t bytes, rl_backend_buffer **out_buffer) {
    if (kind != RL_MEMORY_DEVICE)
        return sim.host->fail(RL_UNSUPPORTED, "mem_alloc: sim has memory of kind 1 (device) only; %u was asked for",
                              (unsigned)kind);
    pthread_mutex_lock(&sim.lock);
    sim_device *device = sim_handle_find_locked(HANDLE_DEVICE, handle);
    rl_status status = device
                           ? alloc_locked(device, bytes, out_buffer)
                           : sim.host->fail(RL_INVALID_ARGUMENT, "mem_alloc: %p is no device of sim", (void *)handle);
    pthread_mutex_unlock(&sim.lock);
    return status;
}

/* Freeing what work still waits for is found out when that work runs: its handle is no buffer any more. */
void sim_mem_free(rl_backend_device *device, rl_backend_buffer *handle) {
    (void)device;
    pthread_mutex_lock(&sim.lock);
    sim_buffer *buffer = handle ? sim_handle_find_locked(HANDLE_BUFFER, handle) : NULL;
    if (buffer) {
        sim_handle_free_locked(handle);
        buffer->device->n_buffers--;
        buffer->freed = true;
        sim_buffer_release_locked(buffer);
    } else if (handle) {
        sim_misuse("mem_free of %p, which is no buffer, or was freed already", (void *)handle);
    }
    pthread_mutex_unlock(&sim.lock);
}

rl_status sim_copy_in(rl_backend_stream *stream, rl_backend_buffer *to, uint64_t to_offset, const void *source,
                      uint64_t bytes) {
    sim_task *task = sim_task_new(TASK_COPY_IN, (size_t)bytes); /* the source may change once this returns */
    if (task) {
        void *kept = task + 1;
        if (bytes)
            memcpy(kept, source, (size_t)bytes);
        task->args.copy = (copy_args){.bytes = (int64_t)bytes, .source = kept};
        task->args.copy.to = (rl_operand){.buffer = to, .offset = to_offset, .stride = {1}};
    }
    return sim_submit(stream, FAIL_COPY, "copy_in", task);
}

rl_status sim_copy_out(rl_backend_stream *stream, void *target, rl_backend_buffer *from, uint64_t from_offset,
                       uint64_t bytes) {
    sim_task *task = sim_task_new(TASK_COPY_OUT, 0);
    if (task) {
        task->args.copy = (copy_args){.bytes = (int64_t)bytes, .target = target};
        task->args.copy.from = (rl_operand){.buffer = from, .offset = from_offset, .stride = {1}};
    }
    return sim_submit(stream, FAIL_COPY, "copy_out", task);
}

rl_status sim_copy(rl_backend_stream *stream, rl_backend_buffer *to, uint64_t to_offset, rl_backend_buffer *from,
                   uint64_t from_offset, uint64_t bytes) {
    sim_task *task = sim_task_new(TASK_COPY, 0);
    if (task) {
        task->args.copy = (copy_args){.bytes = (int64_t)bytes};
        task->args.copy.to = (rl_operand){.buffer = to, .offset = to_offset, .stride = {1}};
        task->args.copy.from = (rl_operand){.buffer = from, .offset = from_offset, .stride = {1}};
    }
    return sim_submit(stream, FAIL_COPY, "copy", task);
}
