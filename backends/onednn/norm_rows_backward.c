/* SPDX-License-Identifier: Apache-2.0 */
/* Normalization of rows (norm_rows.h), backward: with d = g w, s0 = sum(d), s1 = sum(d z): grad_in = r d - r s0 / n -
 * (x - mean) r^2 s1 / n. */
#include "norm_rows.h"

#include <math.h>
#include <string.h>

#define FLOAT_LINES 64 /* so many lines are added in float before they go to a double */

/* What a unit gathers: sums[0 .. positions) for weight, then as many for bias; `floats` are added to it now and then.
 */
typedef struct gathering {
    double *sums;
    float *floats; /* of lines along which weight varies; else NULL */
    int64_t lines; /* in floats */
} gathering;

static void flush(const rows *self, gathering *to) {
    for (int64_t i = 0; i < 2 * self->positions; i++)
        to->sums[i] += (double)to->floats[i];
    memset(to->floats, 0, (size_t)(2 * self->positions) * sizeof *to->floats);
    to->lines = 0;
}

/* Adds a part's share of s0 and s1. */
static void sum_part(const rows *self, const lines *g, const lines *x, const part *p, const lines *weight,
                     const statistics *s, gathering *to, double *sums) {
    for (int64_t l = 0; l < p->count; l++) {
        const float *w = param_line(self, weight, p->first + l, p->begin);
        const float *gs = g->at + l * g->pitch, *xs = x->at + l * x->pitch;
        const int64_t position = self->vary_lines ? p->first + l : 0;
        if (self->vary_length) {
            float *floats = to->floats + position * self->length + p->begin;
            od_chosen->norm.dots_weighted(gs, xs, w, (float)s->mean, (float)s->scale, p->length, floats,
                                          floats + self->positions, sums);
            if (++to->lines >= FLOAT_LINES && !self->vary_lines)
                flush(self, to);
            continue;
        }
        double dots[2] = {0.0, 0.0};
        od_chosen->norm.dots(gs, xs, (float)s->mean, p->length, dots);
        dots[1] *= s->scale;
        to->sums[position] += dots[1];
        to->sums[self->positions + position] += dots[0];
        sums[0] += w ? dots[0] * (double)*w : dots[0];
        sums[1] += w ? dots[1] * (double)*w : dots[1];
    }
}

static void write_gradient(const rows *self, const lines *g, const lines *x, const lines *y, const part *p,
                           const lines *weight, const statistics *s, const double *sums) {
    const double n = (double)self->n;
    const float mean = (float)s->mean, slope = (float)(-s->scale * s->scale * sums[1] / n);
    const float shift = self->task->center ? (float)(-s->scale * sums[0] / n) : 0.0f;
    float block[STREAM_BLOCK];
    for (int64_t l = 0; l < p->count; l++) {
        const float *w = param_line(self, weight, p->first + l, p->begin);
        const float *gs = g->at + l * g->pitch, *xs = x->at + l * x->pitch;
        const float scale = (float)(w && !self->vary_length ? s->scale * (double)*w : s->scale);
        float *to = y->at + l * y->pitch;
        if (!self->vary_length)
            w = NULL;
        if (!self->streams) {
            od_chosen->norm.grad(to, gs, xs, w, mean, scale, slope, shift, p->length);
            continue;
        }
        for (int64_t at = 0; at < p->length; at += STREAM_BLOCK) {
            const int64_t count = od_at_most(p->length - at, STREAM_BLOCK);
            fetch_ahead(self, NORM_G, gs + at, count);
            fetch_ahead(self, NORM_X, xs + at, count);
            od_chosen->norm.grad(block, gs + at, xs + at, w ? w + at : NULL, mean, scale, slope, shift, count);
            od_chosen->stream((char *)(to + at), (const char *)block, count * 4);
        }
    }
}

static statistics given_statistics(const rows *self, int64_t group, int64_t repeat) {
    const float *mean = statistic_at(self, NORM_MEAN, group, repeat),
                *var = statistic_at(self, NORM_VAR, group, repeat);
    return (statistics){mean ? (double)*mean : 0.0, 1.0 / sqrt((double)*var + self->task->eps)};
}

/* Parts [first, end) of a row: their sums (sums[0], sums[1] are added to), or the gradient once the sums are known. */
static void backward_parts(const rows *self, int thread, int64_t group, int64_t repeat, int64_t first, int64_t end,
                           gathering *to, double *sums) {
    const lines weight = param_of(self, NORM_W, group);
    const statistics s = given_statistics(self, group, repeat);
    const int write = to == NULL || (self->parts == 1 && self->task->operand[NORM_Y]);
    for (int64_t i = first; i < end; i++) {
        const part p = part_of(self, i);
        const lines x = lines_of(self, NORM_X, row_at(self, NORM_X, group, repeat), &p, room_of(self, thread, 0), 1);
        const lines g =
            lines_of(self, NORM_G, row_at(self, NORM_G, group, repeat), &p, room_of(self, thread, NORM_PART), 1);
        if (to)
            sum_part(self, &g, &x, &p, &weight, &s, to, sums);
        if (!write)
            continue;
        char *y_row = row_at(self, NORM_Y, group, repeat);
        const lines y = lines_of(self, NORM_Y, y_row, &p, room_of(self, thread, 0), 0);
        write_gradient(self, &g, &x, &y, &p, &weight, &s, sums);
        store_lines(self, y_row, &p, &y);
    }
}

static double *partial_of(const rows *self, int64_t unit) {
    return (double *)(void *)(self->task->scratch + self->partials) + unit * 2 * self->positions;
}

static void backward_unit(void *context, int thread, int64_t unit) {
    const rows *self = context;
    const int64_t group = unit / self->chunks, first = unit % self->chunks * self->per_unit;
    const int64_t left = self->n_repeats - first, end = first + od_at_most(left, self->per_unit);
    gathering to = {partial_of(self, unit), room_of(self, thread, (int64_t)self->floats), 0};
    memset(to.sums, 0, (size_t)(2 * self->positions) * sizeof *to.sums);
    if (self->vary_length)
        memset(to.floats, 0, (size_t)(2 * self->positions) * sizeof *to.floats);
    for (int64_t repeat = first; repeat < end; repeat++) {
        double sums[2] = {0.0, 0.0};
        backward_parts(self, thread, group, repeat, 0, self->parts, &to, sums);
        if (self->parts > 1 && self->task->operand[NORM_Y])
            backward_parts(self, thread, group, repeat, 0, self->parts, NULL, sums);
        if (self->vary_length && to.lines >= (self->vary_lines ? 32 * self->lines : FLOAT_LINES))
            flush(self, &to);
    }
    if (self->vary_length)
        flush(self, &to);
    if (self->streams)
        od_chosen->stream_end();
}

/* Few rows, along which weight does not vary: unit is a part of a row. */
static row_sums *sums_of(const rows *self, int64_t row) {
    return (row_sums *)(void *)(self->task->scratch + self->statistics) + row * self->parts;
}
static void sums_unit(void *context, int thread, int64_t unit) {
    const rows *self = context;
    const int64_t row = unit / self->parts, number = unit % self->parts;
    row_sums *sums = sums_of(self, row) + number;
    *sums = (row_sums){{0.0, 0.0}, {0.0, 0.0}};
    gathering to = {sums->affine, NULL, 0};
    backward_parts(self, thread, row / self->n_repeats, row % self->n_repeats, number, number + 1, &to, sums->sums);
}
static void gradient_unit(void *context, int thread, int64_t unit) {
    const rows *self = context;
    const int64_t row = unit / self->parts, number = unit % self->parts;
    backward_parts(self, thread, row / self->n_repeats, row % self->n_repeats, number, number + 1, NULL,
                   sums_of(self, row)->sums);
    if (self->streams)
        od_chosen->stream_end();
}
/* Into the sums of the row's first part, and the group's partial. */
static void join_sums(const rows *self, int64_t row) {
    row_sums *sums = sums_of(self, row);
    double *partial = partial_of(self, row / self->n_repeats);
    for (int64_t i = 1; i < self->parts; i++)
        for (int k = 0; k < 2; k++) {
            sums->sums[k] += sums[i].sums[k];
            sums->affine[k] += sums[i].affine[k];
        }
    for (int k = 0; k < 2; k++)
        partial[k] = (row % self->n_repeats ? partial[k] : 0.0) + sums->affine[k];
}

/* Gradients of weight and bias: the partials of a group's units, in their order. Unit: up to AFFINE_BLOCK positions of
 * a line of weight. */
#define AFFINE_BLOCK 512
static void affine_unit(void *context, int thread, int64_t unit) {
    const rows *self = context;
    const od_norm_task *task = self->task;
    const int64_t length = self->vary_length ? self->length : 1, lines_of_weight = self->vary_lines ? self->lines : 1;
    const int64_t blocks = od_parts(length, AFFINE_BLOCK), begin = unit % blocks * AFFINE_BLOCK;
    const int64_t line = unit / blocks % lines_of_weight, group = unit / blocks / lines_of_weight;
    const int64_t count = od_at_most(length - begin, AFFINE_BLOCK);
    double sums[AFFINE_BLOCK];
    float results[AFFINE_BLOCK];
    (void)thread;
    for (int k = NORM_GW; k <= NORM_GB; k++) {
        if (task->operand[k] == NULL)
            continue;
        memset(sums, 0, sizeof sums);
        for (int64_t chunk = 0; chunk < self->chunks; chunk++) {
            const double *from = partial_of(self, group * self->chunks + chunk) + (k == NORM_GB ? self->positions : 0) +
                                 line * length + begin;
            for (int64_t i = 0; i < count; i++)
                sums[i] += from[i];
        }
        for (int64_t i = 0; i < count; i++)
            results[i] = (float)sums[i];
        od_chosen->store[task->param_dtype](od_norm_at(task, k) +
                                                od_space_offset(&task->groups, k, task->groups.ndim, group) +
                                                line * self->line[k] + begin * self->step[k],
                                            results, 1, count, 0, self->step[k]);
    }
}

void od_norm_rows_backward(rows *self, int threads, int split) {
    const int64_t n_rows = self->n_groups * self->n_repeats;
    if (split) {
        od_run(threads, n_rows * self->parts, sums_unit, self);
        for (int64_t row = 0; row < n_rows; row++)
            join_sums(self, row);
        if (self->task->operand[NORM_Y])
            od_run(threads, n_rows * self->parts, gradient_unit, self);
    } else {
        od_run(threads, self->n_groups * self->chunks, backward_unit, self);
    }
    if (self->task->operand[NORM_GW] == NULL && self->task->operand[NORM_GB] == NULL)
        return;
    const int64_t length = self->vary_length ? self->length : 1;
    const int64_t units = self->n_groups * (self->positions / length) * (od_parts(length, AFFINE_BLOCK));
    od_run(od_threads(units, (double)(self->n_groups * self->positions * self->chunks)), units, affine_unit, self);
}
