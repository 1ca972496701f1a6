/* SPDX-License-Identifier: Apache-2.0 */
/* Buffers, and copies: data from the host go through rings of staging memory, so that no call waits for the queue. */
#include <stdlib.h>
#include <string.h>

#include "opencl.h"
#include "rl_host_memory.h"

static void CL_CALLBACK free_memory(cl_mem mem, void *memory) {
    (void)mem;
    free(memory);
}

/* A processor's big buffers lie in memory of ours, on huge pages; the driver says when nothing uses it any more. */
static cl_int create(const rl_backend_device *device, cl_mem_flags flags, rl_backend_buffer *self) {
    const size_t bytes = (size_t)self->bytes;
    const bool ours = device->is_cpu && bytes >= 2 * RL_HOST_HUGE_PAGE;
    void *memory = ours ? rl_host_memory(bytes) : NULL;
    cl_int error = CL_SUCCESS;
    if (ours && !memory)
        return CL_OUT_OF_HOST_MEMORY;
    flags = ours ? (flags & ~(cl_mem_flags)CL_MEM_ALLOC_HOST_PTR) | CL_MEM_USE_HOST_PTR : flags;
    cl_mem mem = clCreateBuffer(device->context, CL_MEM_READ_WRITE | flags, bytes, memory, &error);
    if (error) {
        free(memory);
        return error;
    }
    if (ours && (error = clSetMemObjectDestructorCallback(mem, free_memory, memory))) {
        clReleaseMemObject(mem);
        free(memory);
        return error;
    }
    self->mem = mem;
    return CL_SUCCESS;
}

rl_status ocl_buffer_init(rl_backend_device *device, cl_mem_flags flags, uint64_t bytes, rl_backend_buffer *out) {
    cl_int error = CL_SUCCESS;
    *out = (rl_backend_buffer){.bytes = bytes};
    if (bytes > device->largest)
        return ocl_host->fail(RL_OUT_OF_MEMORY, "%llu bytes are asked for in one buffer; %s gives at most %llu",
                              (unsigned long long)bytes, device->name, (unsigned long long)device->largest);
    uint64_t used = __atomic_add_fetch(&device->memory_used, bytes, __ATOMIC_RELAXED);
    if (used > device->memory) { /* some drivers would promise it and fail in the middle of a kernel */
        used = __atomic_sub_fetch(&device->memory_used, bytes, __ATOMIC_RELAXED);
        return ocl_host->fail(RL_OUT_OF_MEMORY, "%llu bytes are asked for; of the %llu of %s, %llu are in use",
                              (unsigned long long)bytes, (unsigned long long)device->memory, device->name,
                              (unsigned long long)used);
    }
    error = create(device, flags, out);
    if (!error)
        return RL_OK;
    __atomic_fetch_sub(&device->memory_used, bytes, __ATOMIC_RELAXED);
    return ocl_fail(error, "clCreateBuffer", NULL);
}

void ocl_buffer_deinit(rl_backend_device *device, rl_backend_buffer *self) {
    if (!self->mem)
        return;
    clReleaseMemObject(self->mem);
    __atomic_fetch_sub(&device->memory_used, self->bytes, __ATOMIC_RELAXED);
    self->mem = NULL;
}

rl_status ocl_mem_alloc(rl_backend_device *device, uint32_t kind, uint64_t bytes, rl_backend_buffer **out_buffer) {
    rl_backend_buffer *self = malloc(sizeof *self);
    if (!self)
        return ocl_host->fail(RL_OUT_OF_MEMORY, "no host memory for a buffer's handle");
    rl_status status = ocl_buffer_init(device, kind == RL_MEMORY_HOST ? CL_MEM_ALLOC_HOST_PTR : 0, bytes, self);
    if (status)
        free(self);
    else
        *out_buffer = self;
    return status;
}

void ocl_mem_free(rl_backend_device *device, rl_backend_buffer *buffer) {
    if (buffer)
        ocl_buffer_deinit(device, buffer);
    free(buffer);
}

/* Rings -------------------------------------------------------------------------------------------------------- */

rl_status ocl_ring_init(ocl_ring *self, rl_backend_stream *stream, unsigned n_slots, uint64_t slot_bytes) {
    cl_int error = CL_SUCCESS;
    size_t bytes = (size_t)(n_slots * slot_bytes);
    *self = (ocl_ring){.n_slots = n_slots, .slot_bytes = slot_bytes};
    self->busy = calloc(n_slots, sizeof *self->busy);
    if (stream->device->is_cpu) { /* its memory is all alike */
        self->memory = malloc(bytes);
    } else {
        self->pinned =
            clCreateBuffer(stream->device->context, CL_MEM_READ_WRITE | CL_MEM_ALLOC_HOST_PTR, bytes, NULL, &error);
        if (!error)
            self->memory =
                clEnqueueMapBuffer(stream->queue, self->pinned, CL_TRUE, CL_MAP_WRITE, 0, bytes, 0, NULL, NULL, &error);
    }
    if (self->busy && self->memory && !error)
        return RL_OK;
    if (error)
        return ocl_fail(error, "pinned memory for copies", NULL);
    return ocl_host->fail(RL_OUT_OF_MEMORY, "no host memory for a stream");
}

void ocl_ring_deinit(ocl_ring *self, rl_backend_stream *stream) {
    for (unsigned i = 0; self->busy && i < self->n_slots; i++)
        if (self->busy[i])
            clReleaseEvent(self->busy[i]);
    free(self->busy);
    if (self->pinned) {
        if (self->memory)
            clEnqueueUnmapMemObject(stream->queue, self->pinned, self->memory, 0, NULL, NULL);
        clReleaseMemObject(self->pinned);
    } else {
        free(self->memory);
    }
    *self = (ocl_ring){0};
}

rl_status ocl_ring_write(ocl_ring *self, rl_backend_stream *stream, unsigned slot, cl_mem to, uint64_t to_offset,
                         const void *source, uint64_t bytes, const char *row) {
    cl_int error = CL_SUCCESS;
    if (self->busy[slot]) {
        error = clWaitForEvents(1, &self->busy[slot]);
        clReleaseEvent(self->busy[slot]);
        self->busy[slot] = NULL;
        if (error)
            return ocl_fail(error, "clWaitForEvents", row);
    }
    unsigned char *at = self->memory + slot * self->slot_bytes;
    memcpy(at, source, (size_t)bytes);
    error = clEnqueueWriteBuffer(stream->queue, to, CL_FALSE, (size_t)to_offset, (size_t)bytes, at, 0, NULL,
                                 &self->busy[slot]);
    return error ? ocl_fail(error, "clEnqueueWriteBuffer", row) : RL_OK;
}

unsigned ocl_ring_next(ocl_ring *self) {
    unsigned slot = self->next;
    self->next = (slot + 1) % self->n_slots;
    return slot;
}

/* Copies ------------------------------------------------------------------------------------------------------- */

rl_status ocl_copy_in(rl_backend_stream *stream, rl_backend_buffer *to, uint64_t to_offset, const void *source,
                      uint64_t bytes) {
    ocl_ring *ring = bytes <= stream->small.slot_bytes ? &stream->small : &stream->large;
    rl_status status = RL_OK;
    for (uint64_t done = 0; done < bytes && !status;) {
        uint64_t piece = bytes - done < ring->slot_bytes ? bytes - done : ring->slot_bytes;
        status = ocl_ring_write(ring, stream, ocl_ring_next(ring), to->mem, to_offset + done,
                                (const unsigned char *)source + done, piece, "copy_in");
        done += piece;
    }
    return status;
}

rl_status ocl_copy_out(rl_backend_stream *stream, void *target, rl_backend_buffer *from, uint64_t from_offset,
                       uint64_t bytes) {
    if (bytes == 0)
        return RL_OK;
    cl_int error = clEnqueueReadBuffer(stream->queue, from->mem, CL_FALSE, (size_t)from_offset, (size_t)bytes, target,
                                       0, NULL, NULL);
    return error ? ocl_fail(error, "clEnqueueReadBuffer", "copy_out") : RL_OK;
}

rl_status ocl_copy(rl_backend_stream *stream, rl_backend_buffer *to, uint64_t to_offset, rl_backend_buffer *from,
                   uint64_t from_offset, uint64_t bytes) {
    if (bytes == 0)
        return RL_OK;
    cl_int error = clEnqueueCopyBuffer(stream->queue, from->mem, to->mem, (size_t)from_offset, (size_t)to_offset,
                                       (size_t)bytes, 0, NULL, NULL);
    return error ? ocl_fail(error, "clEnqueueCopyBuffer", "copy") : RL_OK;
}
