/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fused rows: norm and norm_backward. A line is a place of the kept dimensions, along which are all others; a kernel
 * finds what a line needs and uses it. Where there are too few lines for the device, parts of lines are looked at first
 * and joined in their order. Gradients of weight and bias are sums of lines too: those of the gradient of the input
 * where weight is one number for each of them (batch normalization), else of lines of their own.
 */
#include <string.h>

#include "cells.h"
#include "device/params.h"
#include "device_text.h"
#include "line.h"

enum {
    WORD_DTYPE,
    WORD_COLUMNS,
    WORD_UNIT,
    WORD_TEAM,
    WORD_PARAM_DTYPE,
    WORD_WIDE,
    WORD_KEPT,
    WORD_ALONG,
    WORD_BACKWARD,
    WORD_CENTER,
    WORD_PASS,
    WORD_OUT,
    WORD_LINE_WEIGHT,
    WORD_WEIGHT,
    WORD_BIAS,
    WORD_GRAD_WEIGHT,
    WORD_STAT,
    WORD_LINE_STAT
};
enum { PASS_WHOLE, PASS_PARTS, PASS_MERGE, PASS_APPLY };
enum { AT_X, AT_G, AT_OUT, AT_WEIGHT, AT_BIAS, AT_MEAN, AT_VAR, AT_GRAD_WEIGHT };
enum { MODE_ABSENT = 3 };

static const rl_accel_family norm_family = {
    .name = "norm",
    .text = rl_device_norm,
    .words = "DTYPE COLUMNS UNIT TEAM PARAM_DTYPE WIDE KEPT ALONG BACKWARD CENTER PASS OUT LINE_WEIGHT WEIGHT BIAS "
             "GRAD_WEIGHT STAT LINE_STAT",
    .write = rl_line_write};

/* The args of both directions. */
typedef struct norm_args {
    const char *row;
    uint32_t dtype, param_dtype, normalized, affine;
    int backward, center;
    int64_t ndim;
    const int64_t *shape;
    double eps;
    const rl_operand *operand[RL_NORM_OPERANDS]; /* NULL: absent */
} norm_args;

/* One pass over lines, and what the kernels are to know of them. */
typedef struct norm_task {
    const norm_args *args;
    const rl_operand *operand[RL_NORM_OPERANDS];
    int line_weight;
    rl_layout kept, along;
    rl_line line;
    int columns, team;
    rl_norm_params params;
} norm_task;

static const rl_operand *present(const rl_operand *operand) {
    return operand->buffer ? operand : NULL;
}

static norm_args read_forward(const rl_norm_args *args) {
    return (norm_args){.row = "norm",
                       .dtype = args->dtype,
                       .param_dtype = args->param_dtype,
                       .normalized = args->normalized,
                       .affine = args->affine,
                       .center = args->center != 0,
                       .ndim = args->ndim,
                       .shape = args->shape,
                       .eps = args->eps,
                       .operand = {[AT_X] = &args->in,
                                   [AT_OUT] = &args->out,
                                   [AT_WEIGHT] = present(&args->weight),
                                   [AT_BIAS] = present(&args->bias),
                                   [AT_MEAN] = args->center ? present(&args->mean) : NULL,
                                   [AT_VAR] = present(&args->var)}};
}

static norm_args read_backward(const rl_norm_backward_args *args) {
    return (norm_args){.row = "norm_backward",
                       .backward = 1,
                       .dtype = args->dtype,
                       .param_dtype = args->param_dtype,
                       .normalized = args->normalized,
                       .affine = args->affine,
                       .center = args->center != 0,
                       .ndim = args->ndim,
                       .shape = args->shape,
                       .eps = args->eps,
                       .operand = {[AT_X] = &args->in,
                                   [AT_G] = &args->grad_out,
                                   [AT_OUT] = present(&args->grad_in),
                                   [AT_WEIGHT] = present(&args->weight),
                                   [AT_BIAS] = present(&args->grad_bias),
                                   [AT_MEAN] = args->center ? &args->mean : NULL,
                                   [AT_VAR] = &args->var,
                                   [AT_GRAD_WEIGHT] = present(&args->grad_weight)}};
}

/* Dimensions of the mask that have more than one place. */
static uint32_t long_dims(const norm_args *args, uint32_t mask) {
    uint32_t out = 0;
    for (int64_t d = 0; d < args->ndim; d++)
        if ((mask >> d & 1u) && args->shape[d] != 1)
            out |= 1u << d;
    return out;
}

/* Dimensions along which the strides of an operand are to be ignored. */
static uint32_t ignored_dims(const norm_args *args, int k) {
    return k == AT_MEAN || k == AT_VAR                             ? args->normalized
           : k == AT_WEIGHT || k == AT_BIAS || k == AT_GRAD_WEIGHT ? ~args->affine
                                                                   : 0;
}

static int is_unit(const rl_layout *layout, const rl_operand *const *operand) {
    for (int k = AT_X; k <= AT_OUT; k++)
        if (operand[k] && rl_layout_inner(layout, k) != 1)
            return 0;
    return 1;
}

static void lay_out(norm_task *self, uint32_t kept) {
    static const int64_t none[RL_MAX_DIMS];
    const norm_args *args = self->args;
    rl_layout_init(&self->kept, args->ndim, args->shape);
    for (int k = 0; k < RL_NORM_OPERANDS; k++)
        rl_layout_add(&self->kept, self->operand[k] ? self->operand[k]->stride : none, ignored_dims(args, k));
    rl_layout_split(&self->kept, ~kept, &self->along);
    rl_line_sort(&self->kept);
    rl_line_sort(&self->along);
    rl_layout_merge(&self->kept);
    rl_layout_merge(&self->along);
    rl_line *line = &self->line;
    *line = (rl_line){.size = rl_layout_total(&self->along), .lines = rl_layout_total(&self->kept)};
    line->inner = self->kept.dims ? self->kept.shape[self->kept.dims - 1] : 1;
    line->along_unit = line->size == 1 || is_unit(&self->along, self->operand);
    line->across_unit = is_unit(&self->kept, self->operand);
}

static void start(norm_task *self, const norm_args *args, uint32_t kept) {
    self->args = args;
    self->line_weight = long_dims(args, args->affine) == long_dims(args, kept);
    memcpy(self->operand, args->operand, sizeof self->operand);
    lay_out(self, kept);
}

static int takes_dims(const norm_task *self, const char **out_reason) {
    if (self->kept.dims <= RL_NORM_DIMS && self->along.dims <= RL_NORM_DIMS)
        return 1;
    *out_reason = "more than four dimensions of a kind do not lie in one piece";
    return 0;
}

/* The kept dimensions of the sums that give grad_in, and of those that give grad_weight and grad_bias. */
static uint32_t kept_of_grad(const norm_args *args) {
    return ((1u << args->ndim) - 1) & ~args->normalized;
}
static uint32_t kept_of_affine(const norm_args *args) {
    return ((1u << args->ndim) - 1) & args->affine;
}
static int asks_affine(const norm_args *args) {
    return args->backward && (args->operand[AT_BIAS] || args->operand[AT_GRAD_WEIGHT]);
}

static int supports(rl_backend_device *device, const norm_args *args, const char **out_reason) {
    norm_task self;
    if (!rl_accel_takes_float(device, args->dtype, out_reason) ||
        !rl_accel_takes_float(device, args->param_dtype, out_reason))
        return 0;
    start(&self, args, kept_of_grad(args));
    if (!takes_dims(&self, out_reason))
        return 0;
    if (self.line.size == 0 || self.line.lines == 0) {
        *out_reason = "there are no elements";
        return 0;
    }
    if (!asks_affine(args))
        return 1;
    start(&self, args, kept_of_affine(args));
    return takes_dims(&self, out_reason);
}

/* Parts --------------------------------------------------------------------------------------------------------- */

static int64_t at_most(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* How many parts of a line there may be: as many as keep the device busy, but none too short. */
static int64_t wanted_parts(const rl_accel *accel, const norm_task *self) {
    const int64_t units = rl_accel_usual_units(&accel->traits), group = (int64_t)accel->traits.group;
    const int64_t width = (int64_t)accel->traits.width;
    int64_t busy, least;
    if (self->columns) {
        busy = group > 1 ? units * 1024 : units * 4;
        least = group > 1 ? 64 : 512;
    } else {
        busy = units * 4;
        least = group > 1 ? 8 * group * width : 16384;
    }
    if (self->params.items * 2 > busy)
        return 1;
    return at_most(at_most(busy / self->params.items, self->line.size / least), 4096);
}

static void make_parts(const rl_accel *accel, norm_task *self) {
    rl_norm_params *p = &self->params;
    const int64_t wanted = wanted_parts(accel, self), step = self->columns ? 1 : (int64_t)accel->traits.width;
    p->row_step = p->rows;
    p->column_step = p->inner;
    if (wanted > 1 && p->rows >= wanted) {
        p->row_step = rl_line_up(p->rows, wanted);
    } else if (wanted > 1) {
        p->row_step = 1;
        p->column_step = rl_line_up(rl_line_up(p->inner, rl_line_up(wanted, p->rows)), step) * step;
        p->column_step = at_most(p->column_step, p->inner);
    }
    p->column_parts = rl_line_up(p->inner, p->column_step);
    p->parts = rl_line_up(p->rows, p->row_step) * p->column_parts;
    if (p->parts > 1 && !self->columns)
        self->team = (int)accel->traits.group;
}

/* Kernels ------------------------------------------------------------------------------------------------------- */

static int round_dims(int dims, int is_little) {
    return is_little || dims > 2 ? RL_NORM_DIMS : dims < 1 ? 1 : dims;
}

/* Of little work one kernel does for all layouts: it costs less to build than it loses. */
static int is_little(const norm_task *self) {
    return self->line.size * self->line.lines <= RL_LINE_LITTLE;
}

/* Leading dimensions of size 1 fill up. */
static void fill_dims(const rl_layout *layout, int dims, int64_t *shape, int64_t (*stride)[RL_NORM_DIMS]) {
    const int skip = dims - layout->dims;
    for (int d = 0; d < dims; d++) {
        shape[d] = d < skip ? 1 : layout->shape[d - skip];
        for (int k = 0; k < RL_NORM_OPERANDS; k++)
            stride[k][d] = d < skip ? 0 : layout->stride[k][d - skip];
    }
}

static uint32_t dtype_of(const norm_args *args, int k) {
    return k <= AT_OUT                   ? args->dtype
           : k == AT_MEAN || k == AT_VAR ? (args->dtype == RL_F64 ? RL_F64 : RL_F32)
                                         : args->param_dtype;
}

static void fill_params(const rl_accel *accel, norm_task *self) {
    rl_norm_params *p = &self->params;
    const int64_t width = (int64_t)accel->traits.width;
    *p = (rl_norm_params){.lines = self->line.lines, .eps = rl_accel_bits(self->args->dtype, self->args->eps)};
    fill_dims(&self->kept, round_dims(self->kept.dims, is_little(self)), p->kept, p->kept_stride);
    fill_dims(&self->along, round_dims(self->along.dims, is_little(self)), p->along, p->along_stride);
    for (int k = 0; k < RL_NORM_OPERANDS; k++)
        p->offset[k] = self->operand[k] ? rl_accel_offset(self->operand[k], dtype_of(self->args, k)) : 0;
    p->inner = self->along.dims ? self->along.shape[self->along.dims - 1] : 1;
    p->rows = self->line.size / p->inner;
    p->vectors = rl_line_up(self->line.inner, width);
    p->items = self->columns ? self->line.lines / self->line.inner * p->vectors : self->line.lines;
}

/* How operand k goes along the lanes. */
static int mode_of(const norm_task *self, int k) {
    if (!self->operand[k] || is_little(self))
        return self->operand[k] ? 2 : MODE_ABSENT;
    return rl_layout_inner(self->columns ? &self->kept : &self->along, k);
}
static int stat_mode(const norm_task *self) {
    const int var = mode_of(self, AT_VAR), mean = self->operand[AT_MEAN] ? mode_of(self, AT_MEAN) : var;
    return mean == var ? var : 2;
}
static int is_fixed(const norm_task *self, int k) {
    for (int d = 0; d < self->along.dims && self->operand[k]; d++)
        if (self->along.stride[k][d] != 0)
            return 0;
    return 1;
}

static rl_accel_spec spec_of(const norm_task *self, int pass) {
    const norm_args *args = self->args;
    const int of_lines = pass == PASS_MERGE;
    return (rl_accel_spec){
        .family = &norm_family,
        .word = {[WORD_DTYPE] = (int32_t)args->dtype,
                 [WORD_COLUMNS] = of_lines ? 0 : self->columns,
                 [WORD_UNIT] = of_lines          ? 1
                               : is_little(self) ? 0
                               : self->columns   ? self->line.across_unit
                                                 : self->line.along_unit,
                 [WORD_TEAM] = of_lines ? 1 : self->team,
                 [WORD_PARAM_DTYPE] = (int32_t)args->param_dtype,
                 [WORD_WIDE] = args->dtype == RL_F64,
                 [WORD_KEPT] = round_dims(self->kept.dims, is_little(self)),
                 [WORD_ALONG] = round_dims(self->along.dims, is_little(self)),
                 [WORD_BACKWARD] = args->backward,
                 [WORD_CENTER] = args->center,
                 [WORD_PASS] = pass,
                 [WORD_OUT] = self->operand[AT_OUT] != NULL,
                 [WORD_LINE_WEIGHT] = args->backward ? self->line_weight : 0,
                 [WORD_WEIGHT] = mode_of(self, AT_WEIGHT),
                 [WORD_BIAS] = mode_of(self, AT_BIAS),
                 [WORD_GRAD_WEIGHT] = mode_of(self, AT_GRAD_WEIGHT),
                 [WORD_STAT] = stat_mode(self),
                 [WORD_LINE_STAT] = !is_little(self) && is_fixed(self, AT_MEAN) && is_fixed(self, AT_VAR)},
    };
}

static rl_status run_pass(rl_backend_stream *stream, const norm_task *self, int pass, rl_backend_buffer *scratch) {
    static const rl_operand nothing;
    rl_accel *accel = rl_accel_of(stream);
    const rl_accel_spec spec = spec_of(self, pass);
    rl_accel_arg args[RL_NORM_OPERANDS + 2];
    for (int k = 0; k < RL_NORM_OPERANDS; k++)
        args[k] = rl_accel_buffer_of(stream, self->operand[k] ? self->operand[k] : &nothing);
    args[RL_NORM_OPERANDS] = (rl_accel_arg){.buffer = scratch ? scratch : accel->driver->flags(stream, NULL)};
    args[RL_NORM_OPERANDS + 1] = RL_ACCEL_VALUE(self->params);
    const int64_t units = self->params.items * self->params.parts;
    uint64_t cost = (uint64_t)(self->line.size / self->params.parts) * (self->columns ? accel->traits.width : 1) * 8;
    uint64_t groups = rl_line_groups(accel, units, self->team, cost);
    if (pass == PASS_MERGE)
        groups = rl_line_groups(accel, self->params.lines, (int)accel->traits.group, (uint64_t)self->params.parts * 16);
    return rl_accel_run(stream, self->args->row, &spec, args, RL_NORM_OPERANDS + 2, groups);
}

static rl_status run_task(rl_backend_stream *stream, norm_task *self) {
    rl_accel *accel = rl_accel_of(stream);
    rl_backend_buffer *scratch = NULL;
    self->columns = rl_line_columns(accel, &self->line);
    self->team = self->columns ? 1 : rl_line_team(accel, &self->line);
    fill_params(accel, self);
    make_parts(accel, self);
    if (self->params.parts == 1)
        return run_pass(stream, self, PASS_WHOLE, NULL);
    const uint64_t bytes = (uint64_t)(2 * (self->params.parts + 1) * self->params.lines) * 8;
    rl_status status = accel->driver->scratch(stream, 0, bytes, &scratch);
    if (!status)
        status = run_pass(stream, self, PASS_PARTS, scratch);
    if (!status)
        status = run_pass(stream, self, PASS_MERGE, scratch);
    if (!status && self->operand[AT_OUT])
        status = run_pass(stream, self, PASS_APPLY, scratch);
    return status;
}

static rl_status run_forward(rl_backend_stream *stream, const void *what) {
    const norm_args args = read_forward(what);
    norm_task self;
    start(&self, &args, kept_of_grad(&args));
    return run_task(stream, &self);
}

static rl_status run_backward(rl_backend_stream *stream, const void *what) {
    const norm_args args = read_backward(what);
    norm_task self;
    rl_status status = RL_OK;
    start(&self, &args, kept_of_grad(&args));
    if (self.line_weight)
        return args.operand[AT_OUT] || asks_affine(&args) ? run_task(stream, &self) : RL_OK;
    if (args.operand[AT_OUT]) {
        self.operand[AT_BIAS] = self.operand[AT_GRAD_WEIGHT] = NULL;
        status = run_task(stream, &self);
    }
    if (status || !asks_affine(&args))
        return status;
    norm_args sums = args;
    sums.operand[AT_OUT] = sums.operand[AT_WEIGHT] = NULL;
    start(&self, &sums, kept_of_affine(&args));
    return run_task(stream, &self);
}

static int supports_forward(rl_backend_device *device, const void *what, const char **out_reason) {
    const norm_args args = read_forward(what);
    return supports(device, &args, out_reason);
}
static int supports_backward(rl_backend_device *device, const void *what, const char **out_reason) {
    const norm_args args = read_backward(what);
    return supports(device, &args, out_reason);
}

const rl_fused_cell rl_cell_norm = {RL_ROW_NORM, 0, supports_forward, run_forward};
const rl_fused_cell rl_cell_norm_backward = {RL_ROW_NORM_BACKWARD, 0, supports_backward, run_backward};
