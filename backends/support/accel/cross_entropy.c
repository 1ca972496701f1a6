/* SPDX-License-Identifier: Apache-2.0 */
/* Fused rows: cross entropy and its backward. */
#include "cells.h"
#include "device/params.h"
#include "device_text.h"
#include "line.h"

enum { WORD_DTYPE, WORD_COLUMNS, WORD_UNIT, WORD_TEAM, WORD_INDEX_DTYPE, WORD_STAT_DTYPE, WORD_BACKWARD };

static const rl_accel_family cross_entropy_family = {.name = "cross_entropy",
                                                     .text = rl_device_cross_entropy,
                                                     .words = "DTYPE COLUMNS UNIT TEAM INDEX_DTYPE STAT_DTYPE BACKWARD",
                                                     .write = rl_line_write};

/* The args of both directions. */
typedef struct entropy_task {
    const char *row;
    uint32_t dtype, index_dtype, stat_dtype;
    int64_t rows, classes, ignored;
    const rl_operand *logits, *target, *loss, *log_sum;
    const rl_operand *grad; /* NULL: forward */
} entropy_task;

static rl_line line_of(const entropy_task *self) {
    rl_line line = {.size = self->classes, .lines = self->rows, .inner = self->rows};
    line.along_unit = self->logits->stride[1] == 1 || self->classes == 1;
    line.across_unit = self->logits->stride[0] == 1;
    if (self->grad) {
        line.along_unit &= self->grad->stride[1] == 1 || self->classes == 1;
        line.across_unit &= self->grad->stride[0] == 1;
    }
    return line;
}

static void fill_params(const entropy_task *self, int64_t items, rl_cross_entropy_params *out) {
    *out = (rl_cross_entropy_params){
        .items = items,
        .rows = self->rows,
        .classes = self->classes,
        .ignored = self->ignored,
        .offset = rl_accel_offset(self->logits, self->dtype),
        .row = self->logits->stride[0],
        .column = self->logits->stride[1],
        .target_offset = rl_accel_offset(self->target, self->index_dtype),
        .target_stride = self->target->stride[0],
        .loss_offset = rl_accel_offset(self->loss, self->stat_dtype),
        .loss_stride = self->loss->stride[0],
        .log_sum_offset = rl_accel_offset(self->log_sum, self->stat_dtype),
        .log_sum_stride = self->log_sum->stride[0],
    };
    if (self->grad) {
        out->grad_offset = rl_accel_offset(self->grad, self->dtype);
        out->grad_row = self->grad->stride[0];
        out->grad_column = self->grad->stride[1];
    }
}

static rl_status run(rl_backend_stream *stream, const entropy_task *self) {
    static const rl_operand nothing;
    rl_accel *accel = rl_accel_of(stream);
    const int64_t width = (int64_t)accel->traits.width;
    const rl_line line = line_of(self);
    if (line.lines == 0 || (line.size == 0 && self->grad))
        return RL_OK;
    const int columns = rl_line_columns(accel, &line), team = columns ? 1 : rl_line_team(accel, &line);
    const int64_t items = columns ? rl_line_up(line.lines, width) : line.lines;
    rl_cross_entropy_params params;
    fill_params(self, items, &params);
    const rl_accel_spec spec = {
        .family = &cross_entropy_family,
        .word = {[WORD_DTYPE] = (int32_t)self->dtype,
                 [WORD_COLUMNS] = columns,
                 [WORD_UNIT] = columns ? line.across_unit : line.along_unit,
                 [WORD_TEAM] = team,
                 [WORD_INDEX_DTYPE] = (int32_t)self->index_dtype,
                 [WORD_STAT_DTYPE] = (int32_t)self->stat_dtype,
                 [WORD_BACKWARD] = self->grad != NULL},
    };
    const rl_accel_arg args[] = {rl_accel_buffer_of(stream, self->logits),
                                 rl_accel_buffer_of(stream, self->target),
                                 rl_accel_buffer_of(stream, self->loss),
                                 rl_accel_buffer_of(stream, self->log_sum),
                                 rl_accel_buffer_of(stream, self->grad ? self->grad : &nothing),
                                 {.buffer = accel->driver->flags(stream, self->row)},
                                 RL_ACCEL_VALUE(params)};
    const uint64_t cost = (uint64_t)(line.size * (columns ? width : 1)) * 30;
    return rl_accel_run(stream, self->row, &spec, args, 7, rl_line_groups(accel, items, team, cost));
}

static rl_status run_cross_entropy(rl_backend_stream *stream, const void *what) {
    const rl_cross_entropy_args *args = what;
    const entropy_task self = {"cross_entropy", args->dtype,   args->index_dtype,  args->stat_dtype,
                               args->rows,      args->classes, args->ignore_index, &args->logits,
                               &args->target,   &args->loss,   &args->log_sum,     NULL};
    return run(stream, &self);
}

static rl_status run_cross_entropy_backward(rl_backend_stream *stream, const void *what) {
    const rl_cross_entropy_backward_args *args = what;
    const entropy_task self = {"cross_entropy_backward", args->dtype,    args->index_dtype,
                               args->stat_dtype,         args->rows,     args->classes,
                               args->ignore_index,       &args->logits,  &args->target,
                               &args->grad_loss,         &args->log_sum, &args->grad_logits};
    return run(stream, &self);
}

static int supports_cross_entropy(rl_backend_device *device, const void *args, const char **out_reason) {
    return rl_accel_takes_float(device, ((const rl_cross_entropy_args *)args)->dtype, out_reason);
}
static int supports_cross_entropy_backward(rl_backend_device *device, const void *args, const char **out_reason) {
    return rl_accel_takes_float(device, ((const rl_cross_entropy_backward_args *)args)->dtype, out_reason);
}

const rl_fused_cell rl_cell_cross_entropy = {RL_ROW_CROSS_ENTROPY, 0, supports_cross_entropy, run_cross_entropy};
const rl_fused_cell rl_cell_cross_entropy_backward = {RL_ROW_CROSS_ENTROPY_BACKWARD, 0, supports_cross_entropy_backward,
                                                      run_cross_entropy_backward};
