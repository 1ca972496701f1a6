/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Primitive 6, scan. Many lines: each is an item's or, where neighbouring lines are neighbours in memory, a vector's;
 * long ones along contiguous memory are a group's. Too few lines are cut in chunks, in three launches. How lines are
 * cut depends on shapes and the device alone.
 */
#include "device_text.h"
#include "move.h"

static const rl_accel_family family = {
    .name = "scan", .text = rl_device_scan, .words = "DTYPE OP INDICES PHASE WAY DIMS"};
enum { WORD_DTYPE, WORD_OP, WORD_INDICES, WORD_PHASE, WORD_WAY, WORD_DIMS };
enum { PHASE_TOTALS, PHASE_PREFIXES, PHASE_WRITE, PHASE_ALONE };
enum { WAY_ITEM, WAY_VECTOR, WAY_GROUP };

typedef struct scan {
    const rl_scan_args *args;
    rl_lines_params p;
    int dims, way;
    rl_backend_buffer *parts;
} scan;

static int is_float(uint32_t dtype) {
    return dtype == RL_F32 || dtype == RL_F64 || dtype == RL_F16 || dtype == RL_BF16;
}

static void lay_out(scan *self) {
    const rl_scan_args *args = self->args;
    const rl_operand *operands[] = {&args->in, &args->out, args->has_indices ? &args->indices : &args->out};
    rl_lines_params *p = &self->p;
    rl_layout lines, along;
    rl_layout_init(&lines, args->ndim, args->shape);
    for (int k = 0; k < 3; k++)
        rl_layout_add(&lines, operands[k]->stride, 0);
    rl_layout_split(&lines, 1u << args->dim, &along);
    rl_layout_merge(&lines);
    int last = lines.dims - 1;
    self->dims = rl_accel_round_dims(last > 0 ? last : 0, 1);
    for (int k = 0; k < 3; k++) {
        rl_accel_pad(&lines, last > 0 ? last : 0, self->dims, k, p->shape, p->stride[k]);
        p->inner_stride[k] = last < 0 ? 0 : lines.stride[k][last];
        p->step[k] = along.stride[k][0];
        p->offset[k] = rl_accel_offset(operands[k], k == 2 && args->has_indices ? RL_I64 : args->dtype);
    }
    p->length = args->shape[args->dim];
    p->inner = last < 0 ? 1 : lines.shape[last];
    p->rows = rl_accel_product(self->dims, p->shape);
    p->lines = p->rows * p->inner;
}

static int64_t most_of(int64_t a, int64_t b) {
    return a > b ? a : b;
}

/* Cuts lines so that there are about `wanted` pieces of work, where `items` lines or vectors of lines are too few. */
static void cut(rl_lines_params *p, int64_t items, int64_t wanted, int64_t least) {
    int64_t chunks = items * 2 <= wanted ? wanted / items : 1;
    if (chunks > p->length / least)
        chunks = most_of(p->length / least, 1);
    p->each = (p->length + chunks - 1) / chunks;
    p->chunks = (p->length + p->each - 1) / p->each;
}

/* The way, and the number of items or groups in a chunk of all lines. */
static int64_t choose(const rl_accel *accel, scan *self) {
    const rl_lines_params *p = &self->p;
    int64_t width = (int64_t)accel->traits.width, units = rl_accel_usual_units(&accel->traits);
    int unit = p->inner_stride[0] == 1 && p->inner_stride[1] == 1 && p->inner_stride[2] == 1;
    if (accel->traits.group > 1 && p->length >= 128 && (p->step[0] == 1 || p->lines < units * 64)) {
        self->way = WAY_GROUP;
        return p->lines;
    }
    self->way = unit && p->inner > 1 ? WAY_VECTOR : WAY_ITEM;
    return p->rows * (self->way == WAY_VECTOR ? (p->inner + width - 1) / width : p->inner);
}

static rl_status run(rl_backend_stream *stream, const scan *self, int phase, uint64_t groups) {
    const rl_scan_args *args = self->args;
    rl_accel *accel = rl_accel_of(stream);
    rl_accel_spec spec = {.family = &family};
    spec.word[WORD_DTYPE] = (int32_t)args->dtype;
    spec.word[WORD_OP] = (int32_t)args->op;
    spec.word[WORD_INDICES] = args->has_indices != 0;
    spec.word[WORD_PHASE] = phase;
    spec.word[WORD_WAY] = phase == PHASE_PREFIXES ? WAY_ITEM : self->way;
    spec.word[WORD_DIMS] = phase == PHASE_PREFIXES ? 1 : self->dims;
    rl_accel_arg stand_in = {.buffer = accel->driver->flags(stream, NULL)};
    rl_accel_arg parts = self->parts ? (rl_accel_arg){.buffer = self->parts} : stand_in;
    rl_accel_arg list[] = {rl_accel_buffer_of(stream, &args->in),
                           rl_accel_buffer_of(stream, &args->out),
                           args->has_indices ? rl_accel_buffer_of(stream, &args->indices) : stand_in,
                           parts,
                           parts,
                           RL_ACCEL_VALUE(self->p)};
    int skip = phase == PHASE_PREFIXES ? 3 : 0;
    return rl_accel_run(stream, "scan", &spec, list + skip, 6 - (unsigned)skip, groups);
}

/* Room for what a chunk's elements combine to: two values each. */
static rl_status take_parts(rl_backend_stream *stream, scan *self) {
    uint64_t bytes = ((uint64_t)(self->p.lines * self->p.chunks) * 8 + 63) / 64 * 64;
    const rl_accel *accel = rl_accel_of(stream);
    int wide = self->args->has_indices || self->args->dtype == RL_I64 || self->args->dtype == RL_F64 ||
               (accel->traits.f64 && accel->traits.group == 1 && is_float(self->args->dtype) &&
                self->args->op != RL_SCAN_MAX && self->args->op != RL_SCAN_MIN);
    self->p.more_at = (int64_t)(bytes / (wide ? 8 : 4));
    return accel->driver->scratch(stream, 0, 2 * bytes, &self->parts);
}

static rl_status run_chunks(rl_backend_stream *stream, scan *self, uint64_t groups) {
    rl_status status = take_parts(stream, self);
    if (!status)
        status = run(stream, self, PHASE_TOTALS, groups);
    if (!status)
        status = run(stream, self, PHASE_PREFIXES,
                     rl_accel_groups(rl_accel_of(stream), (uint64_t)self->p.lines, 8 * (uint64_t)self->p.chunks));
    return status ? status : run(stream, self, PHASE_WRITE, groups);
}

static rl_status check(const rl_host *host, const rl_scan_args *args) {
    int known = args->dtype > RL_DTYPE_NONE && args->dtype < RL_DTYPE_COUNT;
    if (known && (args->op <= RL_SCAN_MIN || (args->op == RL_SCAN_LOGSUMEXP && is_float(args->dtype))))
        return RL_OK;
    return host->fail(RL_UNSUPPORTED, "scan: op %u of dtype %u is not known to this backend", (unsigned)args->op,
                      (unsigned)args->dtype);
}

rl_status rl_accel_scan(rl_backend_stream *stream, const rl_scan_args *args) {
    rl_accel *accel = rl_accel_of(stream);
    scan self = {.args = args};
    rl_status status = check(accel->host, args);
    if (status || rl_accel_product(args->ndim, args->shape) == 0)
        return status;
    lay_out(&self);
    int64_t items = choose(accel, &self), units = rl_accel_usual_units(&accel->traits);
    const int64_t group = accel->traits.group;
    uint64_t groups;
    if (self.way == WAY_GROUP)
        cut(&self.p, items, units * 8, group * 16);
    else
        cut(&self.p, items, group > 1 ? units * group * 4 : units, group > 1 ? 32 : 4096);
    if (self.way == WAY_GROUP)
        groups = (uint64_t)(items * self.p.chunks < units * 32 ? items * self.p.chunks : units * 32);
    else
        groups = rl_accel_groups(accel, (uint64_t)(items * self.p.chunks), 8 * (uint64_t)self.p.each);
    return self.p.chunks > 1 ? run_chunks(stream, &self, groups) : run(stream, &self, PHASE_ALONE, groups);
}
