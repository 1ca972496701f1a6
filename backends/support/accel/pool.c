/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fused rows: pool and pool_backward. Threads that have planes of grad_in of their own add to them what the windows
 * give, in memory of theirs; else the backward of MAX first finds for each window the place of its first greatest
 * element, and then lets each element of grad_in look for itself at the windows that cover it.
 */
#include "cells.h"
#include "device/params.h"
#include "device_text.h"
#include "line.h"

enum { WORD_DTYPE, WORD_COLUMNS, WORD_UNIT, WORD_TEAM, WORD_AVERAGE, WORD_LANES, WORD_PASS, WORD_STEP };
enum { LANES_NONE, LANES_CHANNELS, LANES_ROW };
#define SLOT_WHERE 0
#define SLOT_MEMORY 1
enum { PASS_FORWARD, PASS_WHERE, PASS_GATHER, PASS_SCATTER };

static const rl_accel_family pool_family = {.name = "pool",
                                            .text = rl_device_pool,
                                            .words = "DTYPE COLUMNS UNIT TEAM AVERAGE LANES PASS STEP",
                                            .write = rl_line_write};

/* The args of both directions; in backward `out` is grad_in. */
typedef struct pool_task {
    const char *row;
    uint32_t dtype;
    const rl_pool_window *window;
    const rl_operand *in, *out, *grad; /* NULL: absent */
    rl_pool_params params;
} pool_task;

/* Strides of batch, channel and three spatial dimensions, absent ones leading. */
static void spread(const rl_operand *operand, int64_t spatial, int64_t *out_stride) {
    const int64_t lead = 3 - spatial;
    out_stride[0] = operand->stride[0];
    out_stride[1] = operand->stride[1];
    for (int64_t d = 0; d < 3; d++)
        out_stride[2 + d] = d < lead ? 0 : operand->stride[2 + d - lead];
}

/* One more than the greatest offset of an element of `in`. */
static int64_t end_of(const rl_pool_params *p) {
    const int64_t size[5] = {p->batch, p->channels, p->in_size[0], p->in_size[1], p->in_size[2]};
    int64_t end = 1;
    for (int d = 0; d < 5; d++)
        end += p->in_stride[d] > 0 ? (size[d] - 1) * p->in_stride[d] : 0;
    return end;
}

static void fill_params(pool_task *self) {
    const rl_pool_window *w = self->window;
    rl_pool_params *p = &self->params;
    const int64_t lead = 3 - w->spatial;
    *p = (rl_pool_params){.together = 1,
                          .batch = w->batch,
                          .channels = w->channels,
                          .divisor = w->divisor,
                          .count_padding = w->count_padding != 0};
    for (int64_t d = 0; d < 3; d++) {
        const int64_t from = d - lead;
        p->in_size[d] = from < 0 ? 1 : w->in_size[from];
        p->out_size[d] = from < 0 ? 1 : w->out_size[from];
        p->window[d] = from < 0 ? 1 : w->kernel[from];
        p->step[d] = from < 0 ? 1 : w->stride[from];
        p->padding[d] = from < 0 ? 0 : w->padding[from];
        p->dilation[d] = from < 0 || w->dilation[from] < 1 ? 1 : w->dilation[from];
    }
    if (self->in) {
        p->in_offset = rl_accel_offset(self->in, self->dtype);
        spread(self->in, w->spatial, p->in_stride);
        p->in_end = p->in_offset + end_of(p);
    }
    p->out_offset = rl_accel_offset(self->out, self->dtype);
    spread(self->out, w->spatial, p->out_stride);
    if (self->grad) {
        p->grad_offset = rl_accel_offset(self->grad, self->dtype);
        spread(self->grad, w->spatial, p->grad_stride);
    }
}

static int64_t places(const int64_t *size) {
    return size[0] * size[1] * size[2];
}

/* Whether channels lie next to each other in all operands, and there are enough for a vector. */
static int channels_last(const rl_accel *accel, const pool_task *self) {
    const rl_pool_params *p = &self->params;
    return 2 * p->channels >= (int64_t)accel->traits.width && (!self->in || p->in_stride[1] == 1) &&
           p->out_stride[1] == 1 && (!self->grad || p->grad_stride[1] == 1);
}

/* What a pass takes; its items, and about how much work each is. */
static uint64_t count_items(const rl_accel *accel, rl_pool_params *p, int pass, int lanes) {
    const int64_t *size = pass == PASS_GATHER ? p->in_size : p->out_size;
    const int64_t width = accel->traits.width;
    const int64_t vectors = lanes == LANES_CHANNELS ? rl_line_up(p->channels, p->together * width) : p->channels;
    const int64_t each = pass == PASS_SCATTER ? 1 : lanes == LANES_ROW ? size[0] * size[1] : places(size);
    p->items = p->batch * vectors * each;
    return (uint64_t)(places(p->window) * 8 * (places(size) / each) * p->together);
}

static rl_status run_pass(rl_backend_stream *stream, pool_task *self, int pass, int lanes, rl_backend_buffer *where) {
    static const rl_operand nothing;
    rl_accel *accel = rl_accel_of(stream);
    rl_pool_params *p = &self->params;
    const int64_t step = p->step[2] == 1 || p->step[2] == 2 ? p->step[2] : 0;
    const uint64_t cost = count_items(accel, p, pass, lanes);
    const uint64_t bytes = pass == PASS_SCATTER ? (uint64_t)p->memory * (self->dtype == RL_F64 ? 8 : 4) : 0;
    const uint64_t groups = rl_accel_groups_with(accel, (uint64_t)p->items, cost, bytes);
    rl_backend_buffer *none = accel->driver->flags(stream, NULL), *memory = none;
    const int rows = lanes == LANES_ROW, scatter = pass == PASS_SCATTER;
    const int unit = !rows || ((!self->in || p->in_stride[4] == 1) &&
                               (!scatter || (p->out_stride[4] == 1 && p->grad_stride[4] == 1)));
    const rl_accel_spec spec = {
        .family = &pool_family,
        .word = {[WORD_DTYPE] = (int32_t)self->dtype,
                 [WORD_COLUMNS] = 1,
                 [WORD_UNIT] = unit,
                 [WORD_TEAM] = 1,
                 [WORD_AVERAGE] = self->window->kind == RL_POOL_AVERAGE,
                 [WORD_LANES] = lanes,
                 [WORD_PASS] = pass,
                 [WORD_STEP] = rows ? (int32_t)step : 0},
    };
    if (scatter) {
        rl_status status = accel->driver->scratch(stream, SLOT_MEMORY, groups * bytes, &memory);
        if (status)
            return status;
    }
    const rl_accel_arg args[] = {rl_accel_buffer_of(stream, self->in ? self->in : &nothing),
                                 rl_accel_buffer_of(stream, self->out),
                                 rl_accel_buffer_of(stream, self->grad ? self->grad : &nothing),
                                 {.buffer = where ? where : none},
                                 {.buffer = memory},
                                 RL_ACCEL_VALUE(*p)};
    return rl_accel_run(stream, self->row, &spec, args, 6, groups);
}

/* Sizes of a thread's memory for SCATTER: a plane and a line, of whole vectors and one or two more. Whether it is to be
 * done so: threads have planes enough, and memory. */
static int scatters(const rl_accel *accel, rl_pool_params *p, int lanes) {
    const int64_t width = accel->traits.width, units = rl_accel_usual_units(&accel->traits);
    const int64_t vectors = lanes == LANES_CHANNELS ? rl_line_up(p->channels, width) : p->channels;
    int64_t place = 1;
    if (lanes == LANES_CHANNELS) { /* all channels, which lie in a row, where that leaves work for all threads */
        p->together = p->batch >= units ? vectors : 1;
        place = p->together * width;
    }
    p->line_at = (rl_line_up(places(p->in_size) * place, width) + 1) * width;
    p->memory = p->line_at + (rl_line_up(p->in_size[2], width) + 2) * width;
    if (accel->traits.group == 1 && width > 1 && 4 * p->batch * vectors >= units &&
        p->memory * 8 < RL_ACCEL_MOST_MEMORY / 64)
        return 1;
    p->together = 1;
    return 0;
}

static rl_status run_pool(rl_backend_stream *stream, const void *what) {
    const rl_pool_args *args = what;
    rl_accel *accel = rl_accel_of(stream);
    pool_task self = {"pool", args->dtype, &args->window, &args->in, &args->out, NULL, {0}};
    fill_params(&self);
    if (self.params.batch * self.params.channels * places(self.params.out_size) == 0)
        return RL_OK;
    const int by_rows = accel->traits.group == 1 && accel->traits.width > 1;
    return run_pass(stream, &self, PASS_FORWARD,
                    channels_last(accel, &self) ? LANES_CHANNELS
                    : by_rows                   ? LANES_ROW
                                                : LANES_NONE,
                    NULL);
}

static rl_status run_pool_backward(rl_backend_stream *stream, const void *what) {
    const rl_pool_backward_args *args = what;
    rl_accel *accel = rl_accel_of(stream);
    const int average = args->window.kind == RL_POOL_AVERAGE;
    pool_task self = {"pool_backward", args->dtype, &args->window, average ? NULL : &args->in, &args->grad_in,
                      &args->grad_out, {0}};
    rl_backend_buffer *where = NULL;
    fill_params(&self);
    const rl_pool_params *p = &self.params;
    const int64_t planes = p->batch * p->channels;
    if (planes * places(p->in_size) == 0)
        return RL_OK;
    const int lanes = channels_last(accel, &self) ? LANES_CHANNELS : LANES_NONE;
    if (scatters(accel, &self.params, lanes))
        return run_pass(stream, &self, PASS_SCATTER, lanes == LANES_CHANNELS ? LANES_CHANNELS : LANES_ROW, NULL);
    rl_status status = RL_OK;
    const int64_t windows = planes * places(p->out_size);
    if (!average && windows > 0) {
        status = accel->driver->scratch(stream, SLOT_WHERE, (uint64_t)windows * 4, &where);
        if (!status)
            status = run_pass(stream, &self, PASS_WHERE, lanes, where);
    }
    return status ? status : run_pass(stream, &self, PASS_GATHER, lanes, where);
}

static int supports_window(rl_backend_device *device, uint32_t dtype, const rl_pool_window *window,
                           const char **out_reason) {
    double most = 1.0, places_of = 1.0; /* numbers that the kernels divide, and places in a plane, in 31 bits */
    for (int64_t d = 0; d < window->spatial; d++) {
        const double size = (double)window->in_size[d] + 2.0 * (double)window->padding[d] + (double)window->stride[d] +
                            (double)window->kernel[d] * (double)window->dilation[d];
        most = size > most ? size : most;
        places_of *= (double)window->in_size[d];
    }
    if (most < 0x1p30 && places_of < 0x1p30)
        return rl_accel_takes_float(device, dtype, out_reason);
    *out_reason = "sizes do not fit 30 bits";
    return 0;
}
static int supports_pool(rl_backend_device *device, const void *what, const char **out_reason) {
    const rl_pool_args *args = what;
    return supports_window(device, args->dtype, &args->window, out_reason);
}
static int supports_pool_backward(rl_backend_device *device, const void *what, const char **out_reason) {
    const rl_pool_backward_args *args = what;
    return supports_window(device, args->dtype, &args->window, out_reason);
}

const rl_fused_cell rl_cell_pool = {RL_ROW_POOL, 0, supports_pool, run_pool};
const rl_fused_cell rl_cell_pool_backward = {RL_ROW_POOL_BACKWARD, 0, supports_pool_backward, run_pool_backward};
