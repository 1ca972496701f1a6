/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Normalization of rows. A row is `lines` lines of `length` elements; weight and bias vary along the lines, from line
 * to line, both or not at all. Rows are worked on in parts that fit the cache; where there are few of them, the threads
 * share a row's parts, each of which first gives moments or sums, which are then joined in their order.
 *
 * Forward: mean and variance of a row, then out = (x - mean) r w + b with r = 1 / sqrt(var + eps).
 * Backward: with d = g w, s0 = sum(d), s1 = sum(d z): grad_in = r d - r s0 / n - (x - mean) r^2 s1 / n.
 */
#include "norm.h"

#include <math.h>
#include <string.h>

#define FEW_ROWS 16    /* below it, the parts of a row are units of their own */
#define UNITS 32       /* about as many units are made of all rows for the gradients of weight */
#define FLOAT_LINES 64 /* so many lines are added in float before they go to a double */
#define STREAM_BLOCK 1024

typedef struct rows {
    od_norm_task *task;
    int64_t lines, length, n;
    int64_t line[NORM_OPERANDS], step[NORM_OPERANDS]; /* bytes from line to line, from element to element */
    int vary_lines, vary_length;                      /* along which weight varies */
    int64_t positions;                             /* of weight in a row: (vary_lines ? lines : 1) (vary_length ? ..) */
    int64_t parts;                                 /* of a row */
    int64_t n_groups, n_repeats, per_unit, chunks; /* rows = groups x repeats; a unit has per_unit repeats */
    int streams;                                   /* results go past the caches */
    size_t params[2], rooms, per_thread, floats, partials, statistics; /* places in the scratch memory */
} rows;

/* Part of a row: count lines from `first` on, of each `length` elements from `begin` on. */
typedef struct part {
    int64_t first, count, begin, length;
} part;
/* Element (l, i) of it is at[l * pitch + i]. */
typedef struct lines {
    float *at;
    int64_t pitch;
} lines;

static part part_of(const rows *self, int64_t number) {
    if (self->parts == 1)
        return (part){0, self->lines, 0, self->length};
    if (self->length > NORM_PART / 2) {
        const int64_t pieces = (self->length + NORM_PART - 1) / NORM_PART, begin = number % pieces * NORM_PART;
        const int64_t left = self->length - begin;
        return (part){number / pieces, 1, begin, left < NORM_PART ? left : NORM_PART};
    }
    const int64_t per_part = NORM_PART / self->length, first = number * per_part, left = self->lines - first;
    return (part){first, left < per_part ? left : per_part, 0, self->length};
}
static int64_t count_parts(const rows *self) {
    if (self->n <= NORM_PART)
        return 1;
    if (self->length > NORM_PART / 2)
        return self->lines * ((self->length + NORM_PART - 1) / NORM_PART);
    const int64_t per_part = NORM_PART / self->length;
    return (self->lines + per_part - 1) / per_part;
}

/* Operands -------------------------------------------------------------------------------------------------------- */

static char *row_at(const rows *self, int k, int64_t group, int64_t repeat) {
    const od_norm_task *task = self->task;
    return od_norm_at(task, k) + od_space_offset(&task->groups, k, task->groups.ndim, group) +
           od_space_offset(&task->repeats, k, task->repeats.ndim, repeat);
}
static int is_packed(const rows *self, int k) {
    return self->task->dtype == RL_F32 && (self->step[k] == 4 || self->length == 1);
}
static char *part_at(const rows *self, int k, char *row, const part *p) {
    return row + p->first * self->line[k] + p->begin * self->step[k];
}
/* A part where it lies, or else in `room`: there as it is, or (with `load`) copied. */
static lines lines_of(const rows *self, int k, char *row, const part *p, float *room, int load) {
    char *at = part_at(self, k, row, p);
    if (is_packed(self, k))
        return (lines){(float *)(void *)at, self->line[k] / 4};
    if (load)
        od_chosen->load[self->task->dtype](room, at, p->count, p->length, self->line[k], self->step[k]);
    return (lines){room, p->length};
}
static void store_lines(const rows *self, char *row, const part *p, const lines *y) {
    if (!is_packed(self, NORM_Y))
        od_chosen->store[self->task->dtype](part_at(self, NORM_Y, row, p), y->at, p->count, p->length,
                                            self->line[NORM_Y], self->step[NORM_Y]);
}

/* Weight or bias of a group in F32: at[l * pitch + i], or where it varies along one of them only, at[l * pitch] or
 * at[i]. */
static lines param_of(const rows *self, int k, int64_t group) {
    const od_norm_task *task = self->task;
    if (task->operand[k] == NULL)
        return (lines){NULL, 0};
    if (self->params[k - NORM_W] == SIZE_MAX)
        return (lines){
            (float *)(void *)(od_norm_at(task, k) + od_space_offset(&task->groups, k, task->groups.ndim, group)),
            self->vary_lines ? self->line[k] / 4 : 0};
    float *copy = (float *)(void *)(task->scratch + self->params[k - NORM_W]) + group * self->positions;
    return (lines){copy, !self->vary_lines ? 0 : self->vary_length ? self->length : 1};
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
/* Where line l, from element `begin` on, has its weight. */
static const float *param_line(const rows *self, const lines *param, int64_t l, int64_t begin) {
    return param->at ? param->at + l * param->pitch + (self->vary_length ? begin : 0) : NULL;
}

static float *room_of(const rows *self, int thread, int64_t number) {
    return (float *)(void *)(self->task->scratch + self->rooms + (size_t)thread * self->per_thread) + number;
}

/* Statistics of one row. */
typedef struct statistics {
    double mean, scale; /* 1 / sqrt(var + eps) */
} statistics;

static float *statistic_at(const rows *self, int k, int64_t group, int64_t repeat) {
    return self->task->operand[k] ? (float *)(void *)row_at(self, k, group, repeat) : NULL;
}

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
            const int64_t count = p->length - at < STREAM_BLOCK ? p->length - at : STREAM_BLOCK;
            const int64_t shift = self->vary_length ? at : 0;
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
    const int64_t end = first + (left < self->per_unit ? left : self->per_unit);
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

static void run_forward(rows *self, int threads, int split) {
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

/* Backward -------------------------------------------------------------------------------------------------------- */

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
            const int64_t count = p->length - at < STREAM_BLOCK ? p->length - at : STREAM_BLOCK;
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
    const int64_t left = self->n_repeats - first, end = first + (left < self->per_unit ? left : self->per_unit);
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
typedef struct row_sums {
    double sums[2], affine[2];
} row_sums;
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
    const int64_t blocks = (length + AFFINE_BLOCK - 1) / AFFINE_BLOCK, begin = unit % blocks * AFFINE_BLOCK;
    const int64_t line = unit / blocks % lines_of_weight, group = unit / blocks / lines_of_weight;
    const int64_t count = length - begin < AFFINE_BLOCK ? length - begin : AFFINE_BLOCK;
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

static void run_backward(rows *self, int threads, int split) {
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
    const int64_t units = self->n_groups * (self->positions / length) * ((length + AFFINE_BLOCK - 1) / AFFINE_BLOCK);
    od_run(od_threads(units, (double)(self->n_groups * self->positions * self->chunks)), units, affine_unit, self);
}

/* Both ------------------------------------------------------------------------------------------------------------ */

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
    self->per_thread = ((self->floats + (size_t)floats) * 4 + 63) / 64 * 64;
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
    const int64_t units = split ? n_rows * self.parts : self.n_groups * self.chunks;
    const int threads = od_threads(units, elements * (task->backward ? 0.6 : 0.4));
    const rl_status status = reserve(&self, threads, split);
    if (status != RL_OK)
        return status;
    copy_param(&self, NORM_W);
    copy_param(&self, NORM_B);
    if (task->backward)
        run_backward(&self, threads, split);
    else
        run_forward(&self, threads, split);
    return RL_OK;
}
