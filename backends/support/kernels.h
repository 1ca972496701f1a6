/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seven primitives and the softmax rows as plain loops over host memory: what the reference backend is made of, and
 * what a new backend may begin with and replace piece by piece.
 *
 * Every buffer handle in the args points to an rl_kernel_buffer: a backend's own buffer struct begins with one. All
 * kernels run in the calling thread and are done when they return; any number may run at once. Their one need besides
 * is host->scratch and host->fail. They return RL_OK, RL_INDEX_OUT_OF_RANGE after doing the rest, RL_OUT_OF_MEMORY or
 * RL_UNSUPPORTED before doing anything.
 */
#ifndef RL_KERNELS_H
#define RL_KERNELS_H

#include "rushlight/backend.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rl_kernel_buffer {
    unsigned char *data;
} rl_kernel_buffer;

rl_status rl_kernel_map(const rl_host *host, const rl_map_args *args);
rl_status rl_kernel_reduce(const rl_host *host, const rl_reduce_args *args);
rl_status rl_kernel_matmul(const rl_host *host, const rl_matmul_args *args);
rl_status rl_kernel_gather(const rl_host *host, const rl_gather_args *args);
rl_status rl_kernel_scatter(const rl_host *host, const rl_scatter_args *args);
/* Fails as these two do, with the first bad index in row-major order: for those who only know that there is one. */
rl_status rl_kernel_fail_index(const rl_host *host, const char *kernel, const rl_operand *index, uint32_t index_dtype,
                               int64_t ndim, const int64_t *shape, int64_t size);
rl_status rl_kernel_scan(const rl_host *host, const rl_scan_args *args);
rl_status rl_kernel_sort(const rl_host *host, const rl_sort_args *args);
rl_status rl_kernel_softmax(const rl_host *host, const rl_softmax_args *args);
rl_status rl_kernel_softmax_backward(const rl_host *host, const rl_softmax_backward_args *args);

#ifdef __cplusplus
}
#endif
#endif
