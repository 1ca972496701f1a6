/* SPDX-License-Identifier: Apache-2.0 */
/* Fused rows: the first cell of the device that takes the arguments; where none does, the caller lowers. */
#include <stddef.h>

#include "dispatch/rows.h"

_Thread_local bool rl_fused_rows_ = true;

/* Where each row's operands stand in its struct, outputs last. */
static const struct row_info {
    const char *name;
    size_t args_size, operands;
    int n_operands, n_outputs;
} row_table[RL_ROW_COUNT] = {
#define ROW(NAME, number, args, first, operands, outputs, text)                                                        \
    [RL_ROW_##NAME] = {text, sizeof(args), offsetof(args, first), operands, outputs},
    RL_ROW_LIST(ROW)
#undef ROW
};

static void passed_over(const rl_device *device, const char *op, const char *row, const char *reason) {
    rl_log(RL_LOG_DEBUG, "dispatch", "%s: %s on %s was passed over: %s", op, row, device->name,
           reason ? reason : "the backend gives no reason");
}

/* Outputs share no memory with inputs. */
static bool overlaps(const struct row_info *info, rl_tensor *const *tensors) {
    int n_inputs = info->n_operands - info->n_outputs;
    for (int j = n_inputs; j < info->n_operands; j++)
        for (int k = 0; k < n_inputs; k++)
            if (tensors[j] && tensors[k] && rl_overlap_of(tensors[k], tensors[j]) != RL_APART)
                return true;
    return false;
}

static const rl_fused_cell *find_cell(rl_device *device, const char *op, rl_row row, const void *args) {
    bool known = false;
    for (uint32_t i = 0; i < device->api.n_fused; i++) {
        const rl_fused_cell *cell = &device->api.fused[i];
        const char *reason = NULL;
        if (cell->row != (uint32_t)row)
            continue;
        if (cell->supports(device->handle, args, &reason))
            return cell;
        passed_over(device, op, row_table[row].name, reason);
        known = true;
    }
    if (!known)
        passed_over(device, op, row_table[row].name, "the backend has no such row");
    return NULL;
}

rl_status rl_row_fused(const char *op, rl_row row, void *args, size_t args_size, rl_tensor *const *operands,
                       int64_t n_operands, bool *out_ran) {
    const struct row_info *info = &row_table[row];
    assert(row > RL_ROW_NONE && row < RL_ROW_COUNT);
    assert(args_size == info->args_size && n_operands == info->n_operands);
    const rl_tensor *any = NULL; /* operands that are absent are NULL */
    for (int64_t k = 0; k < n_operands && any == NULL; k++)
        any = operands[k];
    assert(any != NULL);
    rl_device *device = any->storage->device;
    *out_ran = false;
    if (!rl_fused_rows_)
        return RL_OK;
    if (overlaps(info, operands)) {
        passed_over(device, op, info->name, "an output shares memory with an input");
        return RL_OK;
    }
    uint32_t size = (uint32_t)args_size;
    memcpy(args, &size, sizeof size); /* every struct begins with it */
    for (int64_t k = 0; k < n_operands; k++) {
        rl_operand operand = {0};
        if (operands[k] != NULL)
            rl_operand_of(operands[k], &operand);
        memcpy((char *)args + info->operands + (size_t)k * sizeof operand, &operand, sizeof operand);
    }
    const rl_fused_cell *cell = find_cell(device, op, row, args);
    if (cell == NULL)
        return RL_OK;
    *out_ran = true;
    rl_row_uses(device, op, operands, n_operands);
    rl_backend_stream *stream = rl_device_stream_enter(device);
    return rl_row_leave(device, stream, op, cell->run(stream, args));
}
