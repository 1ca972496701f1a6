/* SPDX-License-Identifier: Apache-2.0 */
/* The table, the one device, its memory. Work is done when a call returns, so streams and events keep nothing. */
#include "backend.h"

#include <oneapi/dnnl/dnnl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conv_primitive.h"
#include "conv_weight.h"
#include "library.h"
#include "plan.h"
#include "rl_host_memory.h"

struct rl_backend_device {
    int open;
};
struct rl_backend_stream {
    rl_backend_device *device;
};
struct rl_backend_event {
    rl_backend_device *device;
};

const rl_host *od_host;
const od_kernels *od_chosen;
int64_t od_cache_bytes = (int64_t)32 << 20;
static rl_backend_device the_device;
static char version[64];
static uint64_t most_bytes = (uint64_t)1 << 47; /* of a buffer: more than this can never be had */

/* Life ----------------------------------------------------------------------------------------------------------- */

/*
 * Locks of the library's that another thread holds when the process forks would stay locked in the child. They are
 * taken while primitives are made, which is done under the locks of these tables: a fork waits for those.
 */
static od_prepared_table *const tables[] = {&od_convs, &od_weights, &od_gemms};
enum { TABLES = sizeof tables / sizeof *tables };
static void before_fork(void) {
    for (int i = 0; i < TABLES; i++)
        od_prepared_hold(tables[i]);
}
static void after_fork_in_parent(void) {
    for (int i = TABLES - 1; i >= 0; i--)
        od_prepared_release(tables[i]);
}
static void after_fork_in_child(void) {
    for (int i = 0; i < TABLES; i++)
        od_prepared_forked(tables[i]);
}
static void watch_forks(void) { /* for good: this library stays loaded */
    (void)pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

static rl_status init(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, watch_forks);
    const char *reason = NULL;
    od_chosen = od_pick_kernels(&reason);
    if (od_chosen == NULL)
        return od_host->fail(RL_INVALID_ARGUMENT, "onednn: RUSHLIGHT_ONEDNN_ISA=%s %s", getenv("RUSHLIGHT_ONEDNN_ISA"),
                             reason);
    od_plans_init(od_chosen);
    const long page = sysconf(_SC_PAGESIZE), pages = sysconf(_SC_PHYS_PAGES);
    if (page > 0 && pages > 0)
        most_bytes = 2 * (uint64_t)page * (uint64_t)pages;
    const long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
    if (cache > 0 && cache < od_cache_bytes) /* some machines report the sum of many */
        od_cache_bytes = cache;
    const dnnl_version_t *v = dnnl_version();
    if (v->major != 3)
        return od_host->fail(RL_UNSUPPORTED, "onednn: the oneDNN found at run time is %d.%d.%d, 3 is needed", v->major,
                             v->minor, v->patch);
    od_host->log(RL_LOG_INFO, "onednn: oneDNN %d.%d.%d, loops for %s", v->major, v->minor, v->patch, od_chosen->name);
    return RL_OK;
}

static void shutdown(void) {
    od_plans_shutdown();
    for (int i = 0; i < TABLES; i++)
        od_prepared_clear(tables[i]);
    od_library_shutdown();
}

static rl_status after_fork(void) {
    od_stay_alone();
    od_plans_forked();
    od_library_forked();
    return RL_OK;
}

/* The device ----------------------------------------------------------------------------------------------------- */

static uint32_t device_count(void) {
    return 1;
}

static void processor_name(char *to, size_t size) {
    snprintf(to, size, "CPU");
    FILE *f = fopen("/proc/cpuinfo", "r");
    char line[256];
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || colon == NULL)
            continue;
        line[strcspn(line, "\n")] = '\0';
        snprintf(to, size, "%s", colon + 2);
        break;
    }
    if (f != NULL)
        fclose(f);
}

static rl_status device_info(uint32_t number, rl_device_info *info) {
    if (number != 0)
        return od_host->fail(RL_NOT_FOUND, "onednn: there is no device %u, only 0", number);
    rl_device_info mine = {.flags = RL_DEVICE_CPU | RL_DEVICE_F64 | RL_DEVICE_UNIFIED, .alignment = RL_HOST_ALIGNMENT};
    /* Products of them are then made without conversion to f32. */
    mine.flags |= od_gemm_takes(RL_F16) ? RL_DEVICE_NATIVE_F16 : 0;
    mine.flags |= od_gemm_takes(RL_BF16) ? RL_DEVICE_NATIVE_BF16 : 0;
    const dnnl_version_t *v = dnnl_version();
    processor_name(mine.name, sizeof mine.name);
    snprintf(mine.driver, sizeof mine.driver, "oneDNN %d.%d.%d, %s", v->major, v->minor, v->patch,
             od_chosen ? od_chosen->name : "not initialized");
    const long page = sysconf(_SC_PAGESIZE), pages = sysconf(_SC_PHYS_PAGES), available = sysconf(_SC_AVPHYS_PAGES);
    mine.memory_total = page > 0 && pages > 0 ? (uint64_t)page * (uint64_t)pages : 0;
    mine.memory_free = page > 0 && available > 0 ? (uint64_t)page * (uint64_t)available : 0;
    mine.compute_units = od_host->thread_count();
    mine.size = info->size;
    memcpy(info, &mine, info->size < sizeof mine ? info->size : sizeof mine);
    return RL_OK;
}

static rl_status device_open(uint32_t number, rl_backend_device **out_device) {
    if (number != 0)
        return od_host->fail(RL_NOT_FOUND, "onednn: there is no device %u, only 0", number);
    the_device.open = 1;
    *out_device = &the_device;
    return RL_OK;
}

static void device_close(rl_backend_device *device) {
    device->open = 0;
}

/* Memory --------------------------------------------------------------------------------------------------------- */

static rl_status new_buffer(void *address, int owned, rl_backend_buffer **out_buffer) {
    rl_backend_buffer *buffer = malloc(sizeof *buffer);
    if (buffer == NULL)
        return od_host->fail(RL_OUT_OF_MEMORY, "onednn: no memory for a buffer's handle");
    buffer->memory.data = address;
    buffer->owned = owned;
    *out_buffer = buffer;
    return RL_OK;
}

static rl_status mem_alloc(rl_backend_device *device, uint32_t kind, uint64_t bytes, rl_backend_buffer **out_buffer) {
    (void)device, (void)kind;
    void *address = bytes > most_bytes ? NULL : rl_host_memory((size_t)bytes);
    if (!address)
        return od_host->fail(RL_OUT_OF_MEMORY, "onednn: no memory for a buffer of %llu bytes",
                             (unsigned long long)bytes);
    const rl_status status = new_buffer(address, 1, out_buffer);
    if (status != RL_OK)
        free(address);
    return status;
}

static void mem_free(rl_backend_device *device, rl_backend_buffer *buffer) {
    (void)device;
    if (buffer != NULL && buffer->owned)
        free(buffer->memory.data);
    free(buffer);
}

static rl_status mem_wrap(rl_backend_device *device, void *address, uint64_t bytes, rl_backend_buffer **out_buffer) {
    (void)device, (void)bytes;
    return new_buffer(address, 0, out_buffer);
}

static rl_status mem_map(rl_backend_device *device, rl_backend_buffer *buffer, void **out_address) {
    (void)device;
    *out_address = buffer->memory.data;
    return RL_OK;
}

static rl_status copy_in(rl_backend_stream *stream, rl_backend_buffer *to, uint64_t to_offset, const void *source,
                         uint64_t bytes) {
    (void)stream;
    if (bytes > 0)
        memcpy(to->memory.data + to_offset, source, (size_t)bytes);
    return RL_OK;
}

static rl_status copy_out(rl_backend_stream *stream, void *target, rl_backend_buffer *from, uint64_t from_offset,
                          uint64_t bytes) {
    (void)stream;
    if (bytes > 0)
        memcpy(target, from->memory.data + from_offset, (size_t)bytes);
    return RL_OK;
}

static rl_status copy(rl_backend_stream *stream, rl_backend_buffer *to, uint64_t to_offset, rl_backend_buffer *from,
                      uint64_t from_offset, uint64_t bytes) {
    return copy_in(stream, to, to_offset, from->memory.data + from_offset, bytes);
}

/* Streams and events ----------------------------------------------------------------------------------------------- */

static rl_status stream_create(rl_backend_device *device, rl_backend_stream **out_stream) {
    rl_backend_stream *stream = malloc(sizeof *stream);
    if (stream == NULL)
        return od_host->fail(RL_OUT_OF_MEMORY, "onednn: no memory for a stream");
    stream->device = device;
    *out_stream = stream;
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
    rl_backend_event *event = malloc(sizeof *event);
    if (event == NULL)
        return od_host->fail(RL_OUT_OF_MEMORY, "onednn: no memory for an event");
    event->device = device;
    *out_event = event;
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
    (void)event, (void)stream;
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

/* The table ------------------------------------------------------------------------------------------------------- */

static const rl_fused_cell cells[] = {
#define CELL(ROW, name) {RL_ROW_##ROW, 0, od_supports_##name, od_##name},
    OD_CELL_LIST(CELL)
#undef CELL
};

static const rl_backend table = {
    .size = sizeof(rl_backend),
    .abi = RL_ABI_VERSION,
    .name = "onednn",
    .version = version,
    .summary = "the processor: fused pointwise loops for its vectors, products by oneDNN",
    .rank = 100,
    .flags = RL_BACKEND_HOST_MEMORY | RL_BACKEND_SYNCHRONOUS | RL_BACKEND_CONCURRENT,
    .insn_mask = UINT64_MAX, /* every one of RL_INSN_LIST */
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
    .map = od_map,
    .reduce = od_reduce,
    .matmul = od_matmul,
    .gather = od_gather,
    .scatter = od_scatter,
    .scan = od_scan,
    .sort = od_sort,
    .fused = cells,
    .n_fused = sizeof cells / sizeof *cells,
    .after_fork = after_fork,
};

int rl_backend_query(uint32_t host_abi, const rl_host *host, const rl_backend **out_backend) {
    od_host = host;
    if (host_abi != RL_ABI_VERSION)
        return host->fail(RL_ABI_MISMATCH, "onednn: built for ABI %u, the host has %u", RL_ABI_VERSION, host_abi);
    const dnnl_version_t *v = dnnl_version();
    snprintf(version, sizeof version, "%s (oneDNN %d.%d.%d)", RUSHLIGHT_VERSION, v->major, v->minor, v->patch);
    *out_backend = &table;
    return RL_OK;
}
