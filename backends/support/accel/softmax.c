/* SPDX-License-Identifier: Apache-2.0 */
/* Fused rows: softmax, log_softmax and their backwards. */
#include "cells.h"
#include "device/params.h"
#include "device_text.h"
#include "line.h"

enum { WORD_DTYPE, WORD_COLUMNS, WORD_UNIT, WORD_TEAM, WORD_LOG, WORD_BACKWARD, WORD_DIMS, WORD_KEEP };

static const rl_accel_family softmax_family = {.name = "softmax",
                                               .text = rl_device_softmax,
                                               .words = "DTYPE COLUMNS UNIT TEAM LOG BACKWARD DIMS KEEP",
                                               .write = rl_line_write};

/* The args of both directions. */
typedef struct softmax_task {
    const char *row;
    uint32_t dtype, log;
    int backward, dim;
    int64_t ndim;
    const int64_t *shape;
    const rl_operand *operand[3]; /* in or grad_out, nothing or out, out or grad_in */
    rl_layout kept, along;
    rl_line line;
} softmax_task;

static void lay_out(softmax_task *self) {
    rl_layout_init(&self->kept, self->ndim, self->shape);
    for (int k = 0; k < 3; k++)
        rl_layout_add(&self->kept, self->operand[k]->stride, 0);
    rl_layout_split(&self->kept, self->ndim ? 1u << self->dim : 0, &self->along);
    rl_line_sort(&self->kept);
    rl_layout_merge(&self->kept);
    self->line.size = rl_layout_total(&self->along);
    self->line.lines = rl_layout_total(&self->kept);
    self->line.inner = self->kept.dims ? self->kept.shape[self->kept.dims - 1] : 1;
    self->line.along_unit = self->line.across_unit = 1;
    for (int k = 0; k < 3; k++) {
        self->line.along_unit &= self->line.size == 1 || rl_layout_inner(&self->along, k) == 1;
        self->line.across_unit &= rl_layout_inner(&self->kept, k) == 1;
    }
}

static int round_dims(int dims) {
    return dims <= 2 ? (dims < 1 ? 1 : dims) : dims <= 4 ? 4 : 12;
}

static void fill_params(const softmax_task *self, int dims, rl_softmax_params *out) {
    int skip = dims - self->kept.dims;
    *out = (rl_softmax_params){.size = self->line.size};
    for (int d = 0; d < dims; d++)
        out->shape[d] = d < skip ? 1 : self->kept.shape[d - skip];
    for (int k = 0; k < 3; k++) {
        out->offset[k] = rl_accel_offset(self->operand[k], self->dtype);
        out->along[k] = self->along.dims ? self->along.stride[k][0] : 1;
        for (int d = skip; d < dims; d++)
            out->stride[k][d] = self->kept.stride[k][d - skip];
    }
}

static rl_status run(rl_backend_stream *stream, softmax_task *self) {
    rl_accel *accel = rl_accel_of(stream);
    const int64_t width = (int64_t)accel->traits.width;
    lay_out(self);
    if (self->line.size == 0 || self->line.lines == 0)
        return RL_OK;
    const int columns = rl_line_columns(accel, &self->line), dims = round_dims(self->kept.dims);
    const int team = columns ? 1 : rl_line_team(accel, &self->line);
    rl_softmax_params params;
    fill_params(self, dims, &params);
    params.vectors = rl_line_up(self->line.inner, width);
    params.items = columns ? self->line.lines / self->line.inner * params.vectors : self->line.lines;
    const int halves = self->dtype == RL_F16 || self->dtype == RL_BF16;
    const rl_accel_spec spec = {
        .family = &softmax_family,
        .word = {[WORD_DTYPE] = (int32_t)self->dtype,
                 [WORD_COLUMNS] = columns,
                 [WORD_UNIT] = columns ? self->line.across_unit : self->line.along_unit,
                 [WORD_TEAM] = team,
                 [WORD_LOG] = self->log != 0,
                 [WORD_BACKWARD] = self->backward,
                 [WORD_DIMS] = dims,
                 [WORD_KEEP] = !halves && !self->log && !self->backward},
    };
    const rl_accel_arg args[] = {rl_accel_buffer_of(stream, self->operand[0]),
                                 rl_accel_buffer_of(stream, self->operand[1]),
                                 rl_accel_buffer_of(stream, self->operand[2]), RL_ACCEL_VALUE(params)};
    const uint64_t cost = (uint64_t)(self->line.size * (columns ? width : 1)) * (self->backward ? 4 : 30);
    return rl_accel_run(stream, self->row, &spec, args, 4, rl_line_groups(accel, params.items, team, cost));
}

static rl_status run_softmax(rl_backend_stream *stream, const void *what) {
    const rl_softmax_args *args = what;
    softmax_task self = {.row = "softmax",
                         .dtype = args->dtype,
                         .log = args->log,
                         .dim = args->dim,
                         .ndim = args->ndim,
                         .shape = args->shape,
                         .operand = {&args->in, &args->in, &args->out}};
    return run(stream, &self);
}

static rl_status run_softmax_backward(rl_backend_stream *stream, const void *what) {
    const rl_softmax_backward_args *args = what;
    softmax_task self = {.row = "softmax_backward",
                         .dtype = args->dtype,
                         .log = args->log,
                         .backward = 1,
                         .dim = args->dim,
                         .ndim = args->ndim,
                         .shape = args->shape,
                         .operand = {&args->grad_out, &args->out, &args->grad_in}};
    return run(stream, &self);
}

static int supports_softmax(rl_backend_device *device, const void *args, const char **out_reason) {
    return rl_accel_takes_float(device, ((const rl_softmax_args *)args)->dtype, out_reason);
}
static int supports_softmax_backward(rl_backend_device *device, const void *args, const char **out_reason) {
    return rl_accel_takes_float(device, ((const rl_softmax_backward_args *)args)->dtype, out_reason);
}

const rl_fused_cell rl_cell_softmax = {RL_ROW_SOFTMAX, 0, supports_softmax, run_softmax};
const rl_fused_cell rl_cell_softmax_backward = {RL_ROW_SOFTMAX_BACKWARD, 0, supports_softmax_backward,
                                                run_softmax_backward};
