/* SPDX-License-Identifier: Apache-2.0 */
#include "cells.h"

int rl_accel_takes_float(rl_backend_device *device, uint32_t dtype, const char **out_reason) {
    const rl_accel *accel = (const rl_accel *)(const void *)device; /* its first member */
    if (dtype == RL_F32 || dtype == RL_F16 || dtype == RL_BF16 || (dtype == RL_F64 && accel->traits.f64))
        return 1;
    *out_reason = dtype == RL_F64 ? "the device has no float64" : "the dtype is no float";
    return 0;
}

const rl_fused_cell *rl_accel_cells(uint32_t *out_n) {
    static rl_fused_cell cells[RL_ROW_COUNT];
    const rl_fused_cell *const all[] = {
        &rl_cell_softmax,
        &rl_cell_softmax_backward,
        &rl_cell_conv,
        &rl_cell_conv_grad_input,
        &rl_cell_conv_grad_weight,
        &rl_cell_pool,
        &rl_cell_pool_backward,
        &rl_cell_norm,
        &rl_cell_norm_backward,
        &rl_cell_cross_entropy,
        &rl_cell_cross_entropy_backward,
        &rl_cell_attention,
        &rl_cell_attention_backward,
        &rl_cell_embedding_backward,
        &rl_cell_linear,
    };
    *out_n = sizeof all / sizeof *all;
    for (uint32_t i = 0; i < *out_n; i++)
        cells[i] = *all[i];
    return cells;
}
