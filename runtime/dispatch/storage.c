/* SPDX-License-Identifier: Apache-2.0 */
/* Storages: blocks of device memory in the hands of tensors, and bytes in and out of them. */
#include <string.h>

#include "dispatch/registry.h"

static void storage_destroy(rl_object *object) {
    rl_storage *self = (rl_storage *)object;
    void (*destroy)(void *) = self->destroy;
    void *context = self->destroy_context;
    if (self->alloc_block)
        rl_allocator_give(self->alloc_block);
    rl_pool_give(&rl_pool_storage, self);
    if (destroy)
        destroy(context);
}
static const rl_object_class storage_class = {"storage", storage_destroy};

/* The stamp of what may change unseen. */
#define NEVER_STAMPED UINT64_MAX

static rl_storage *storage_make(rl_device *device, rl_block *block, uint64_t bytes) {
    rl_storage *self = rl_pool_take(&rl_pool_storage);
    if (self == NULL)
        return NULL;
    rl_object_init(&self->object, &storage_class);
    self->device = device;
    self->buffer = block ? rl_block_buffer(block) : NULL;
    self->offset = 0;
    self->bytes = bytes;
    atomic_init(&self->version, 0);
    atomic_init(&self->stamped, 0);
    atomic_init(&self->stamp, 0);
    self->alloc_block = block;
    self->changed_by = NULL;
    self->destroy = NULL;
    self->destroy_context = NULL;
    return self;
}

rl_storage *rl_storage_new(rl_device *device, uint64_t bytes) {
    if (rl_device_ready(device) != RL_OK)
        return NULL;
    rl_block *block = NULL;
    if (bytes > 0 && (block = rl_allocator_take(device->allocator, bytes)) == NULL)
        return NULL;
    rl_storage *self = storage_make(device, block, bytes);
    if (self == NULL && block)
        rl_allocator_give(block);
    return self;
}

rl_storage *rl_storage_wrap(rl_device *device, void *data, uint64_t bytes, void (*destroy)(void *), void *context) {
    rl_backend_buffer *buffer = NULL;
    rl_block *block = NULL;
    rl_storage *self = NULL;
    if (rl_device_ready(device) != RL_OK)
        goto done;
    if (bytes > 0) {
        if (device->api.mem_wrap == NULL) {
            rl_fail(RL_UNSUPPORTED, "tensor_wrap: %s cannot use memory that is not its own", device->name);
            goto done;
        }
        if (rl_device_result(device, "tensor_wrap", device->api.mem_wrap(device->handle, data, bytes, &buffer)) !=
            RL_OK)
            goto done;
        block = rl_allocator_wrap(device->allocator, buffer, bytes);
        if (block == NULL) {
            device->api.mem_free(device->handle, buffer);
            goto done;
        }
    }
    self = storage_make(device, block, bytes);
    if (self == NULL && block)
        rl_allocator_give(block);
done:
    if (self) {
        self->destroy = destroy;
        self->destroy_context = context;
        rl_storage_expose(self);
    } else if (destroy) {
        destroy(context);
    }
    return self;
}

void rl_storage_used(rl_storage *storage) {
    if (storage->alloc_block)
        rl_block_used_on(storage->alloc_block, rl_stream_current(storage->device)->number);
}

void rl_storage_expose(rl_storage *self) {
    atomic_store_explicit(&self->stamp, NEVER_STAMPED, memory_order_relaxed);
}

/* Threads that ask for one version at the same time may each draw a number: both are good. The stamp is written before
 * the version that it stands for, so that whoever reads the version finds no older one. */
uint64_t rl_storage_stamp(rl_storage *self) {
    static _Atomic(uint64_t) drawn;
    const uint32_t version = atomic_load_explicit(&self->version, memory_order_relaxed);
    const uint32_t stamped = atomic_load_explicit(&self->stamped, memory_order_acquire);
    uint64_t stamp = atomic_load_explicit(&self->stamp, memory_order_relaxed);
    if (stamp == NEVER_STAMPED)
        return 0;
    if (stamp != 0 && stamped == version)
        return stamp;
    const uint64_t fresh = atomic_fetch_add_explicit(&drawn, 1, memory_order_relaxed) + 1;
    if (!atomic_compare_exchange_strong(&self->stamp, &stamp, fresh))
        return stamp == NEVER_STAMPED ? 0 : fresh;
    atomic_store_explicit(&self->stamped, version, memory_order_release);
    return fresh;
}

/* Waits for the calling thread's stream. */
static rl_status wait_for(rl_device *device, const char *function) {
    rl_backend_stream *stream = rl_device_stream_enter(device);
    rl_status status = device->api.stream_sync(stream);
    rl_device_stream_leave(device, stream);
    return rl_device_result(device, function, status);
}

void *rl_storage_host(rl_storage *self) {
    static char nothing[64];
    rl_device *device = self->device;
    void *address = NULL;
    if (!rl_device_is_host(device))
        return rl_fail_null(RL_DEVICE_MISMATCH, "tensor_data: self is on %s, whose memory the host cannot see",
                            device->name);
    if (self->buffer == NULL)
        return nothing;
    if (!(device->api.flags & RL_BACKEND_SYNCHRONOUS) && wait_for(device, "tensor_data") != RL_OK)
        return NULL;
    if (rl_device_result(device, "tensor_data", device->api.mem_map(device->handle, self->buffer, &address)) != RL_OK)
        return NULL;
    return (char *)address + self->offset;
}

rl_tensor *rl_tensor_empty(rl_device *device, rl_dtype dtype, int64_t ndim, const int64_t *shape,
                           const int64_t *stride) {
    int64_t row_major[RL_MAX_DIMS];
    uint64_t bytes;
    int64_t numel;
    if (__builtin_expect(!rl_shape_bytes(ndim, shape, dtype, &bytes), 0)) {
        rl_check_shape("empty", ndim, shape, dtype, &numel);
        return NULL;
    }
    if (stride == NULL) {
        rl_contiguous_strides(ndim, shape, row_major);
        stride = row_major;
    }
    rl_storage *storage = rl_storage_new(device, bytes);
    if (storage == NULL)
        return NULL;
    rl_tensor *made = rl_tensor_make(storage, dtype, ndim, shape, stride, 0);
    rl_release(storage);
    return made;
}

/* Bytes -------------------------------------------------------------------------------------------------------------
 */

rl_status rl_storage_read(const rl_storage *self, uint64_t offset, void *data, uint64_t bytes) {
    rl_device *device = self->device;
    if (bytes == 0)
        return RL_OK;
    rl_storage_used((rl_storage *)(uintptr_t)self);
    rl_backend_stream *stream = rl_device_stream_enter(device);
    rl_status status = device->api.copy_out(stream, data, self->buffer, self->offset + offset, bytes);
    rl_status done = device->api.stream_sync(stream);
    rl_device_stream_leave(device, stream);
    rl_allocator_count_copy(device->allocator, 0, bytes);
    return rl_device_result(device, "copy to the host", status ? status : done);
}

rl_status rl_storage_write(rl_storage *self, uint64_t offset, const void *data, uint64_t bytes) {
    rl_device *device = self->device;
    if (bytes == 0)
        return RL_OK;
    rl_storage_used(self);
    rl_backend_stream *stream = rl_device_stream_enter(device);
    rl_status status = device->api.copy_in(stream, self->buffer, self->offset + offset, data, bytes);
    rl_device_stream_leave(device, stream);
    rl_allocator_count_copy(device->allocator, bytes, 0);
    return rl_device_result(device, "copy from the host", status);
}

static rl_status copy_within(rl_storage *to, uint64_t to_at, const rl_storage *from, uint64_t from_at, uint64_t bytes) {
    rl_device *device = to->device;
    rl_storage_used(to);
    rl_storage_used((rl_storage *)(uintptr_t)from);
    rl_backend_stream *stream = rl_device_stream_enter(device);
    rl_status status =
        device->api.copy(stream, to->buffer, to->offset + to_at, from->buffer, from->offset + from_at, bytes);
    rl_device_stream_leave(device, stream);
    return rl_device_result(device, "copy", status);
}

rl_status rl_storage_copy(rl_storage *to, uint64_t to_at, const rl_storage *from, uint64_t from_at, uint64_t bytes) {
    if (bytes == 0)
        return RL_OK;
    if (to->device == from->device)
        return copy_within(to, to_at, from, from_at, bytes);
    if (rl_device_is_host(from->device)) {
        const char *source = rl_storage_host((rl_storage *)(uintptr_t)from);
        return source ? rl_storage_write(to, to_at, source + from_at, bytes) : rl_error_status();
    }
    if (rl_device_is_host(to->device)) {
        char *target = rl_storage_host(to);
        return target ? rl_storage_read(from, from_at, target + to_at, bytes) : rl_error_status();
    }
    /* Neither side is the host: in pieces through its memory. */
    enum { PIECE = 1 << 22 };
    uint64_t room = bytes < PIECE ? bytes : PIECE;
    void *piece = rl_alloc(room, "a copy between devices");
    rl_status status = piece ? RL_OK : rl_error_status();
    for (uint64_t done = 0; done < bytes && status == RL_OK; done += room) {
        uint64_t n = bytes - done < room ? bytes - done : room;
        status = rl_storage_read(from, from_at + done, piece, n);
        if (status == RL_OK)
            status = rl_storage_write(to, to_at + done, piece, n);
    }
    rl_free(piece);
    return status;
}
