/* SPDX-License-Identifier: Apache-2.0 */
/* Normalization of rows (norm_rows.h), forward: mean and variance of a row, then out = (x - mean) r w + b with r = 1 /
 * sqrt(var + eps). What both directions need to begin stands here too. */
#include "norm_rows.h"

#include <math.h>
#include <string.h>

#define FEW_ROWS 16 /* below it, the parts of a row are units of their own */
#define UNITS 32    /* about as many units are made of all rows for the gradients of weight */

/* Forward --------------------------------------------------------------------------------------------------------- */

static void add_part(const rows *self, const lines *x, const part *p, od_moments *moments) {
    const double count = (double)(p->count * p->length);
    double sum = 0.0, squares = 0.0;
    for (int64_t l = 0; self->task->center && l < p->count; l++)
        sum += od_chosen->norm.sum(x->at + l * x->pitch, p->length);
    const float mean = (float)(sum / count);
    for (int64_t l = 0; l < p->count; l++)
        squares += od_chosen->norm.squares(x->at + l * x->pitch, mean, p->length);
    const double apart = sum / count - (double)mean; /* what the float has lost */
    if (self->task->center)
        od_moments_join(moments, count, sum / count, squares - apart * apart * count);
    else
        moments->squares += squares;
}

static statistics finish_moments(const rows *self, const od_moments *moments, int64_t group, int64_t repeat) {
    double var = moments->squares / (double)self->n;
    var = var < 0.0 ? 0.0 : var;
    float *mean_at = statistic_at(self, NORM_MEAN, group, repeat),
          *var_at = statistic_at(self, NORM_VAR, group, repeat);
    if (mean_at)
        *mean_at = (float)moments->mean;
    if (var_at)
        *var_at = (float)var;
    return (statistics){moments->mean, 1.0 / sqrt(var + self->task->eps)};
}

/* One line of the result, in blocks where it goes past the caches. */
static void write_line(const rows *self, float *out, const float *x, const float *w, const float *b,
                       const statistics *s, int64_t length) {
    const float mean = (float)s->mean, scale = (float)s->scale;
    if (self->vary_length)
        od_chosen->norm.affine(out, x, mean, scale, w, b, length);
    else
        od_chosen->norm.scale(out, x, mean, w ? (float)(s->scale * (double)*w) : scale, b ? *b : 0.0f, length);
}

static void write_part(const rows *self, const lines *x, const lines *y, const part *p, const lines *weight,
                       const lines *bias, const statistics *s) {
    float block[STREAM_BLOCK];
    for (int64_t l = 0; l < p->count; l++) {
        const float *w = param_line(self, weight, p->first + l, p->begin);
        const float *b = param_line(self, bias, p->first + l, p->begin);
        const float *from = x->at + l * x->pitch;
        float *to = y->at + l * y->pitch;
        if (!self->streams) {
            write_line(self, to, from, w, b, s, p->length);
            continue;
        }
        for (int64_t at = 0; at < p->length; at += STREAM_BLOCK) {
            const int64_t count = od_at_most(p->length - at, STREAM_BLOCK);
            const int64_t shift = self->vary_length ? at : 0;
            fetch_ahead(self, NORM_X, from + at, count);
            write_line(self, block, from + at, w ? w + shift : NULL, b ? b + shift : NULL, s, count);
            od_chosen->stream((char *)(to + at), (const char *)block, count * 4);
        }
    }
}

static void forward_parts(const rows *self, int thread, int64_t group, int64_t repeat, int64_t first, int64_t end,
                          const statistics *s, const lines *loaded) {
    const lines weight = param_of(self, NORM_W, group), bias = param_of(self, NORM_B, group);
    char *x_row = row_at(self, NORM_X, group, repeat), *y_row = row_at(self, NORM_Y, group, repeat);
    for (int64_t i = first; i < end; i++) {
        const part p = part_of(self, i);
        const lines x = loaded ? *loaded : lines_of(self, NORM_X, x_row, &p, room_of(self, thread, 0), 1);
        const lines y = lines_of(self, NORM_Y, y_row, &p, room_of(self, thread, NORM_PART), 0);
        write_part(self, &x, &y, &p, &weight, &bias, s);
        store_lines(self, y_row, &p, &y);
    }
}

static void forward_row(const rows *self, int thread, int64_t group, int64_t repeat) {
    char *x_row = row_at(self, NORM_X, group, repeat);
    od_moments moments = {0};
    lines x = {NULL, 0};
    for (int64_t i = 0; i < self->parts; i++) {
        const part p = part_of(self, i);
        x = lines_of(self, NORM_X, x_row, &p, room_of(self, thread, 0), 1);
        add_part(self, &x, &p, &moments);
    }
    const statistics s = finish_moments(self, &moments, group, repeat);
    forward_parts(self, thread, group, repeat, 0, self->parts, &s, self->parts == 1 ? &x : NULL);
}

/* Unit: some repeats of a group. */
static void forward_unit(void *context, int thread, int64_t unit) {
    const rows *self = context;
    const int64_t first = unit % self->chunks * self->per_unit, left = self->n_repeats - first;
    const int64_t end = first + od_at_most(left, self->per_unit);
    for (int64_t repeat = first; repeat < end; repeat++)
        forward_row(self, thread, unit / self->chunks, repeat);
    if (self->streams)
        od_chosen->stream_end();
}

/* Few rows: unit is a part of a row. */
static od_moments *moments_of(const rows *self, int64_t row) {
    return (od_moments *)(void *)(self->task->scratch + self->partials) + row * self->parts;
}
static statistics *statistics_of(const rows *self, int64_t row) {
    return (statistics *)(void *)(self->task->scratch + self->statistics) + row;
}
static void moments_unit(void *context, int thread, int64_t unit) {
    const rows *self = context;
    const int64_t row = unit / self->parts, group = row / self->n_repeats, repeat = row % self->n_repeats;
    const part p = part_of(self, unit % self->parts);
    const lines x = lines_of(self, NORM_X, row_at(self, NORM_X, group, repeat), &p, room_of(self, thread, 0), 1);
    od_moments *to = moments_of(self, row) + unit % self->parts;
    *to = (od_moments){0};
    add_part(self, &x, &p, to);
}
static void join_moments(const rows *self, int64_t row) {
    od_moments sum = *moments_of(self, row);
    for (int64_t i = 1; i < self->parts; i++) {
        const od_moments *next = moments_of(self, row) + i;
        if (self->task->center)
            od_moments_join(&sum, next->count, next->mean, next->squares);
        else
            sum.squares += next->squares;
    }
    *statistics_of(self, row) = finish_moments(self, &sum, row / self->n_repeats, row % self->n_repeats);
}
static void part_unit(void *context, int thread, int64_t unit) {
    const rows *self = context;
    const int64_t row = unit / self->parts, number = unit % self->parts;
    forward_parts(self, thread, row / self->n_repeats, row % self->n_repeats, number, number + 1,
                  statistics_of(self, row), NULL);
    if (self->streams)
        od_chosen->stream_end();
}

void od_norm_rows_forward(rows *self, int threads, int split) {
    const int64_t n_rows = self->n_groups * self->n_repeats;
    if (!split) {
        od_run(threads, self->n_groups * self->chunks, forward_unit, self);
        return;
    }
    od_run(threads, n_rows * self->parts, moments_unit, self);
    for (int64_t row = 0; row < n_rows; row++)
        join_moments(self, row);
    od_run(threads, n_rows * self->parts, part_unit, self);
}

/* Both ------------------------------------------------------------------------------------------------------------ */

static int64_t count_parts(const rows *self) {
    if (self->n <= NORM_PART)
        return 1;
    if (self->length > NORM_PART / 2)
        return self->lines * ((self->length + NORM_PART - 1) / NORM_PART);
    const int64_t per_part = NORM_PART / self->length;
    return (self->lines + per_part - 1) / per_part;
}

static void measure(rows *self, od_norm_task *task) {
    const od_space *along = &task->along;
    const int last = along->ndim - 1;
    *self = (rows){.task = task, .n = task->n, .lines = last > 0 ? along->shape[0] : 1, .length = along->shape[last]};
    for (int k = 0; k < NORM_OPERANDS; k++) {
        self->line[k] = last > 0 ? along->stride[k][0] : 0;
        self->step[k] = along->stride[k][last];
    }
    self->vary_lines = self->line[NORM_AFFINE] != 0;
    self->vary_length = self->step[NORM_AFFINE] != 0;
    self->positions = (self->vary_lines ? self->lines : 1) * (self->vary_length ? self->length : 1);
    self->parts = count_parts(self);
    self->n_groups = task->groups.count;
    self->n_repeats = task->repeats.count;
}

/* How many repeats a unit has: some thousand elements, and backwards so many that the partials are few and small. */
static void cut(rows *self) {
    int64_t wanted = self->n < 8192 ? 8192 / self->n : 1;
    if (self->task->backward) {
        const int64_t rows_per_unit = (self->n_repeats * self->n_groups + UNITS - 1) / UNITS;
        const int64_t worth = 32 * self->positions / self->n, half = (self->n_repeats + 1) / 2;
        wanted = wanted > rows_per_unit ? wanted : rows_per_unit;
        if (wanted < worth)
            wanted = worth < half ? worth : half;
    }
    self->per_unit = wanted < self->n_repeats ? wanted : self->n_repeats;
    self->chunks = (self->n_repeats + self->per_unit - 1) / self->per_unit;
}

static int param_is_packed(const rows *self, int k) {
    return self->task->param_dtype == RL_F32 && (!self->vary_length || self->step[k] == 4);
}
static void copy_param(const rows *self, int k) {
    const od_norm_task *task = self->task;
    if (task->operand[k] == NULL || self->params[k - NORM_W] == SIZE_MAX)
        return;
    float *copy = (float *)(void *)(task->scratch + self->params[k - NORM_W]);
    for (int64_t group = 0; group < self->n_groups; group++, copy += self->positions)
        od_chosen->load[task->param_dtype](
            copy, od_norm_at(task, k) + od_space_offset(&task->groups, k, task->groups.ndim, group),
            self->vary_lines ? self->lines : 1, self->vary_length ? self->length : 1, self->line[k], self->step[k]);
}
static rl_status reserve(rows *self, int threads, int split) {
    const od_norm_task *task = self->task;
    const int64_t n_rows = self->n_groups * self->n_repeats;
    size_t total = 0;
    for (int i = 0; i < 2; i++) {
        const int k = NORM_W + i, copied = task->operand[k] && !param_is_packed(self, k);
        self->params[i] = copied ? od_norm_take(&total, self->n_groups * self->positions * 4) : SIZE_MAX;
    }
    const int loads = !is_packed(self, NORM_X) || (task->operand[NORM_Y] && !is_packed(self, NORM_Y)) ||
                      (task->operand[NORM_G] && !is_packed(self, NORM_G));
    const int64_t floats = task->backward && self->vary_length ? 2 * self->positions : 0;
    self->floats = loads ? 2 * NORM_PART : 0;
    self->per_thread = od_lines((self->floats + (size_t)floats) * 4);
    self->rooms = od_norm_take(&total, (int64_t)self->per_thread * threads);
    if (task->backward)
        self->partials = od_norm_take(&total, self->n_groups * self->chunks * 2 * self->positions * 8);
    else if (split)
        self->partials = od_norm_take(&total, n_rows * self->parts * (int64_t)sizeof(od_moments));
    if (split)
        self->statistics = od_norm_take(&total, task->backward ? n_rows * self->parts * (int64_t)sizeof(row_sums)
                                                               : n_rows * (int64_t)sizeof(statistics));
    return od_norm_scratch(self->task, total);
}

rl_status od_norm_rows(od_norm_task *task) {
    rows self;
    measure(&self, task);
    const int64_t n_rows = self.n_groups * self.n_repeats;
    const int split = n_rows < FEW_ROWS && self.parts > 1 && (!task->backward || self.positions == 1);
    cut(&self);
    if (split)
        self.per_unit = self.n_repeats, self.chunks = 1;
    const double elements = (double)n_rows * (double)self.n;
    self.streams = task->operand[NORM_Y] && is_packed(&self, NORM_Y) && self.length >= 64 &&
                   elements * (task->backward ? 12.0 : 8.0) > 0.75 * (double)od_cache_bytes;
    for (int k = NORM_X; k <= NORM_G; k++)
        if (self.streams && self.parts == 1 && is_packed(&self, k) && task->repeats.ndim == 1)
            self.ahead[k] = task->repeats.stride[k][0];
    const int64_t units = split ? n_rows * self.parts : self.n_groups * self.chunks;
    const int threads = od_threads(units, elements * (task->backward ? 0.6 : 0.4));
    const rl_status status = reserve(&self, threads, split);
    if (status != RL_OK)
        return status;
    copy_param(&self, NORM_W);
    copy_param(&self, NORM_B);
    if (task->backward)
        od_norm_rows_backward(&self, threads, split);
    else
        od_norm_rows_forward(&self, threads, split);
    return RL_OK;
}
