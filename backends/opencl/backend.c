/* SPDX-License-Identifier: Apache-2.0 */
/* The OpenCL backend's table and its exported symbol. */
#include <stddef.h>

#include "opencl.h"

const rl_host *ocl_host;

#define RANK_GPU 150
#define RANK_CPU 50 /* below onednn: it runs on the same processor */

static rl_status init(void);

static rl_backend table = {
    .size = sizeof table,
    .abi = RL_ABI_VERSION,
    .name = "opencl",
    .version = RUSHLIGHT_VERSION,
    .summary = "any device with an OpenCL 1.2 driver",
    .rank = RANK_CPU,
    .insn_mask = ~(uint64_t)0,
    .init = init,
    .shutdown = ocl_shutdown,
    .device_count = ocl_device_count,
    .device_info = ocl_device_info,
    .device_open = ocl_device_open,
    .device_close = ocl_device_close,
    .mem_alloc = ocl_mem_alloc,
    .mem_free = ocl_mem_free,
    .copy_in = ocl_copy_in,
    .copy_out = ocl_copy_out,
    .copy = ocl_copy,
    .stream_create = ocl_stream_create,
    .stream_destroy = ocl_stream_destroy,
    .stream_sync = ocl_stream_sync,
    .event_create = ocl_event_create,
    .event_destroy = ocl_event_destroy,
    .event_record = ocl_event_record,
    .stream_wait = ocl_stream_wait,
    .event_done = ocl_event_done,
    .event_sync = ocl_event_sync,
    .map = rl_accel_map,
    .reduce = rl_accel_reduce,
    .matmul = rl_accel_matmul,
    .gather = rl_accel_gather,
    .scatter = rl_accel_scatter,
    .scan = rl_accel_scan,
    .sort = rl_accel_sort,
};

static rl_status init(void) {
    rl_status status = ocl_init();
    if (!status)
        table.rank = ocl_has_gpu() ? RANK_GPU : RANK_CPU;
    return status;
}

int rl_backend_query(uint32_t host_abi, const rl_host *host, const rl_backend **out_backend) {
    if (host_abi != RL_ABI_VERSION || host->size < offsetof(rl_host, cache_put) + sizeof host->cache_put)
        return host->fail(RL_ABI_MISMATCH, "built for version %u of the ABI, the host has version %u",
                          (unsigned)RL_ABI_VERSION, (unsigned)host_abi);
    ocl_host = host;
    table.fused = rl_accel_cells(&table.n_fused);
    *out_backend = &table;
    return RL_OK;
}
