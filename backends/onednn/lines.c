/* SPDX-License-Identifier: Apache-2.0 */
#include "backend.h"
#include "kernels.h"

rl_status od_gather(rl_backend_stream *stream, const rl_gather_args *args) {
    (void)stream;
    return rl_kernel_gather(od_host, args);
}
rl_status od_scatter(rl_backend_stream *stream, const rl_scatter_args *args) {
    (void)stream;
    return rl_kernel_scatter(od_host, args);
}
rl_status od_scan(rl_backend_stream *stream, const rl_scan_args *args) {
    (void)stream;
    return rl_kernel_scan(od_host, args);
}
rl_status od_sort(rl_backend_stream *stream, const rl_sort_args *args) {
    (void)stream;
    return rl_kernel_sort(od_host, args);
}

static int supports(rl_backend_device *device, const void *args, const char **out_reason) {
    (void)device, (void)args, (void)out_reason;
    return 1;
}
static rl_status run_softmax(rl_backend_stream *stream, const void *args) {
    (void)stream;
    return rl_kernel_softmax(od_host, args);
}
static rl_status run_softmax_backward(rl_backend_stream *stream, const void *args) {
    (void)stream;
    return rl_kernel_softmax_backward(od_host, args);
}
const rl_fused_cell od_softmax_cells[2] = {
    {RL_ROW_SOFTMAX, 0, supports, run_softmax},
    {RL_ROW_SOFTMAX_BACKWARD, 0, supports, run_softmax_backward},
};
