/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reference backend: the host's processor and memory, one thread, plain loops (../support/kernels.h). It is the
 * oracle of the tests, and the file to copy for a backend of your own: everything a backend must have is here, in the
 * order of backend.h.
 *
 * All work is done when a call returns, so streams and events have nothing to hold or to wait for.
 */
#include "ref.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernels.h"
#include "rl_interp.h"

#define ALIGNMENT 64

struct rl_backend_device {
    int open;
};
struct rl_backend_stream {
    rl_backend_device *device;
};
struct rl_backend_event {
    rl_backend_device *device;
};
struct rl_backend_buffer {
    rl_kernel_buffer memory; /* first: the kernels see a handle as this */
    int owned;               /* 0: wrapped, the caller's */
};

static const rl_host *host;
static rl_backend_device the_device;

/* Life --------------------------------------------------------------------------------------------------------- */

static rl_status init(void) {
    return RL_OK;
}

static void shutdown(void) {}

static rl_status after_fork(void) {
    return RL_OK; /* no threads, no handles of a driver: the child has all there is */
}

/* Devices ------------------------------------------------------------------------------------------------------ */

static uint32_t device_count(void) {
    return 1;
}

static rl_status check_number(uint32_t number) {
    if (number == 0)
        return RL_OK;
    return host->fail(RL_INVALID_ARGUMENT, "ref has one device, number 0; %u was asked for", (unsigned)number);
}

/* Bytes of the machine's memory, all or free (_SC_PHYS_PAGES, _SC_AVPHYS_PAGES); 0: not known. */
static uint64_t memory_of(int pages_name) {
    long pages = sysconf(pages_name), page = sysconf(_SC_PAGESIZE);
    return pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : 0;
}

static rl_status device_info(uint32_t number, rl_device_info *info) {
    rl_status status = check_number(number);
    if (status)
        return status;
    rl_device_info filled = {
        .size = info->size,
        .flags = RL_DEVICE_CPU | RL_DEVICE_F64 | RL_DEVICE_UNIFIED,
        .name = "the host's processor, one thread",
        .driver = "plain C",
        .memory_total = memory_of(_SC_PHYS_PAGES),
        .memory_free = memory_of(_SC_AVPHYS_PAGES),
        .compute_units = 1,
        .alignment = ALIGNMENT,
    };
    memcpy(info, &filled, info->size < sizeof filled ? info->size : sizeof filled);
    return RL_OK;
}

static rl_status device_open(uint32_t number, rl_backend_device **out_device) {
    rl_status status = check_number(number);
    if (status)
        return status;
    if (the_device.open)
        return host->fail(RL_INVALID_ARGUMENT, "ref:0 is open already");
    the_device.open = 1;
    *out_device = &the_device;
    return RL_OK;
}

static void device_close(rl_backend_device *device) {
    device->open = 0;
}

/* Memory ------------------------------------------------------------------------------------------------------- */

static rl_status out_of_memory(uint64_t bytes) {
    return host->fail(RL_OUT_OF_MEMORY, "no %llu bytes of host memory", (unsigned long long)bytes);
}

static rl_status mem_wrap(rl_backend_device *device, void *address, uint64_t bytes, rl_backend_buffer **out_buffer) {
    (void)device, (void)bytes;
    rl_backend_buffer *self = malloc(sizeof *self);
    if (!self)
        return out_of_memory(sizeof *self);
    *self = (rl_backend_buffer){.memory.data = address};
    *out_buffer = self;
    return RL_OK;
}

static rl_status mem_alloc(rl_backend_device *device, uint32_t kind, uint64_t bytes, rl_backend_buffer **out_buffer) {
    (void)kind; /* the device's memory is the host's */
    uint64_t total = memory_of(_SC_PHYS_PAGES);
    if (bytes > (total ? total : PTRDIFF_MAX / 2)) /* the C library might promise it all the same */
        return out_of_memory(bytes);
    void *memory = aligned_alloc(ALIGNMENT, ((size_t)bytes + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1));
    if (!memory)
        return out_of_memory(bytes);
    rl_status status = mem_wrap(device, memory, bytes, out_buffer);
    if (status)
        free(memory);
    else
        (*out_buffer)->owned = 1;
    return status;
}

static void mem_free(rl_backend_device *device, rl_backend_buffer *buffer) {
    (void)device;
    if (buffer && buffer->owned)
        free(buffer->memory.data);
    free(buffer);
}

static rl_status mem_map(rl_backend_device *device, rl_backend_buffer *buffer, void **out_address) {
    (void)device;
    *out_address = buffer->memory.data;
    return RL_OK;
}

static rl_status copy_in(rl_backend_stream *stream, rl_backend_buffer *to, uint64_t to_offset, const void *source,
                         uint64_t bytes) {
    (void)stream;
    if (bytes)
        memmove(to->memory.data + to_offset, source, (size_t)bytes);
    return RL_OK;
}

static rl_status copy_out(rl_backend_stream *stream, void *target, rl_backend_buffer *from, uint64_t from_offset,
                          uint64_t bytes) {
    (void)stream;
    if (bytes)
        memmove(target, from->memory.data + from_offset, (size_t)bytes);
    return RL_OK;
}

static rl_status copy(rl_backend_stream *stream, rl_backend_buffer *to, uint64_t to_offset, rl_backend_buffer *from,
                      uint64_t from_offset, uint64_t bytes) {
    return copy_in(stream, to, to_offset, from->memory.data + from_offset, bytes);
}

/* Streams and events ------------------------------------------------------------------------------------------- */

static rl_status stream_create(rl_backend_device *device, rl_backend_stream **out_stream) {
    rl_backend_stream *self = malloc(sizeof *self);
    if (!self)
        return out_of_memory(sizeof *self);
    self->device = device;
    *out_stream = self;
    return RL_OK;
}

static void stream_destroy(rl_backend_stream *stream) {
    free(stream);
}

static rl_status stream_sync(rl_backend_stream *stream) {
    (void)stream;
    return RL_OK;
}

static rl_status event_create(rl_backend_device *device, rl_backend_event **out_event) {
    rl_backend_event *self = malloc(sizeof *self);
    if (!self)
        return out_of_memory(sizeof *self);
    self->device = device;
    *out_event = self;
    return RL_OK;
}

static void event_destroy(rl_backend_event *event) {
    free(event);
}

static rl_status event_record(rl_backend_event *event, rl_backend_stream *stream) {
    (void)event, (void)stream;
    return RL_OK;
}

static rl_status stream_wait(rl_backend_stream *stream, rl_backend_event *event) {
    (void)stream, (void)event;
    return RL_OK;
}

static int event_done(rl_backend_event *event) {
    (void)event;
    return 1;
}

static rl_status event_sync(rl_backend_event *event) {
    (void)event;
    return RL_OK;
}

/* Primitives --------------------------------------------------------------------------------------------------- */

static rl_status map(rl_backend_stream *stream, const rl_map_args *args) {
    (void)stream;
    return rl_kernel_map(host, args);
}

static rl_status reduce(rl_backend_stream *stream, const rl_reduce_args *args) {
    (void)stream;
    return rl_kernel_reduce(host, args);
}

static rl_status matmul(rl_backend_stream *stream, const rl_matmul_args *args) {
    (void)stream;
    return rl_kernel_matmul(host, args);
}

static rl_status gather(rl_backend_stream *stream, const rl_gather_args *args) {
    (void)stream;
    return rl_kernel_gather(host, args);
}

static rl_status scatter(rl_backend_stream *stream, const rl_scatter_args *args) {
    (void)stream;
    return rl_kernel_scatter(host, args);
}

static rl_status scan(rl_backend_stream *stream, const rl_scan_args *args) {
    (void)stream;
    return rl_kernel_scan(host, args);
}

static rl_status sort(rl_backend_stream *stream, const rl_sort_args *args) {
    (void)stream;
    return rl_kernel_sort(host, args);
}

/* Fused rows --------------------------------------------------------------------------------------------------- */

static int takes_float(uint32_t dtype, const char **out_reason) {
    if (dtype == RL_F32 || dtype == RL_F64 || dtype == RL_F16 || dtype == RL_BF16)
        return 1;
    *out_reason = "the dtype is no float";
    return 0;
}

static int softmax_supports(rl_backend_device *device, const void *args, const char **out_reason) {
    (void)device;
    return takes_float(((const rl_softmax_args *)args)->dtype, out_reason);
}

static rl_status softmax(rl_backend_stream *stream, const void *args) {
    (void)stream;
    return rl_kernel_softmax(host, args);
}

static int softmax_backward_supports(rl_backend_device *device, const void *args, const char **out_reason) {
    (void)device;
    return takes_float(((const rl_softmax_backward_args *)args)->dtype, out_reason);
}

static rl_status softmax_backward(rl_backend_stream *stream, const void *args) {
    (void)stream;
    return rl_kernel_softmax_backward(host, args);
}

static const rl_fused_cell fused[] = {
    {.row = RL_ROW_SOFTMAX, .supports = softmax_supports, .run = softmax},
    {.row = RL_ROW_SOFTMAX_BACKWARD, .supports = softmax_backward_supports, .run = softmax_backward},
};

/* The table ---------------------------------------------------------------------------------------------------- */

static const rl_backend table = {
    .size = sizeof table,
    .abi = RL_ABI_VERSION,
    .name = "ref",
    .version = "1",
    .summary = "plain loops on the host's processor: the reference",
    .rank = 0,
    .flags = RL_BACKEND_HOST_MEMORY | RL_BACKEND_SYNCHRONOUS | RL_BACKEND_CONCURRENT,
    .insn_mask = RL_INTERP_ALL,
    .init = init,
    .shutdown = shutdown,
    .device_count = device_count,
    .device_info = device_info,
    .device_open = device_open,
    .device_close = device_close,
    .mem_alloc = mem_alloc,
    .mem_free = mem_free,
    .mem_wrap = mem_wrap,
    .mem_map = mem_map,
    .copy_in = copy_in,
    .copy_out = copy_out,
    .copy = copy,
    .stream_create = stream_create,
    .stream_destroy = stream_destroy,
    .stream_sync = stream_sync,
    .event_create = event_create,
    .event_destroy = event_destroy,
    .event_record = event_record,
    .stream_wait = stream_wait,
    .event_done = event_done,
    .event_sync = event_sync,
    .map = map,
    .reduce = reduce,
    .matmul = matmul,
    .gather = gather,
    .scatter = scatter,
    .scan = scan,
    .sort = sort,
    .fused = fused,
    .n_fused = sizeof fused / sizeof *fused,
    .after_fork = after_fork,
};

const rl_backend *rl_ref_backend(const rl_host *given) {
    host = given;
    return &table;
}
