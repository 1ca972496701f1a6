/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Normalization of rows. A row is `lines` lines of `length` elements; weight and bias vary along the lines, from line
 * to line, both or not at all. Rows are worked on in parts that fit the cache; where there are few of them, the threads
 * share a row's parts, each of which first gives moments or sums, which are then joined in their order.
 */
#ifndef RUSHLIGHT_BACKENDS_ONEDNN_NORM_ROWS_H
#define RUSHLIGHT_BACKENDS_ONEDNN_NORM_ROWS_H

#include "norm.h"

#define STREAM_BLOCK 256 /* elements of a result that are written at a time where they go past the caches */

typedef struct rows {
    od_norm_task *task;
    int64_t lines, length, n;
    int64_t line[NORM_OPERANDS], step[NORM_OPERANDS]; /* bytes from line to line, from element to element */
    int vary_lines, vary_length;                      /* along which weight varies */
    int64_t positions;                             /* of weight in a row: (vary_lines ? lines : 1) (vary_length ? ..) */
    int64_t parts;                                 /* of a row */
    int64_t n_groups, n_repeats, per_unit, chunks; /* rows = groups x repeats; a unit has per_unit repeats */
    int streams;                                   /* results go past the caches */
    int64_t ahead[NORM_OPERANDS];                  /* bytes to the next row, if it is to be fetched meanwhile; else 0 */
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

static inline part part_of(const rows *self, int64_t number) {
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

/* Operands -------------------------------------------------------------------------------------------------------- */

static inline char *row_at(const rows *self, int k, int64_t group, int64_t repeat) {
    const od_norm_task *task = self->task;
    return od_norm_at(task, k) + od_space_offset(&task->groups, k, task->groups.ndim, group) +
           od_space_offset(&task->repeats, k, task->repeats.ndim, repeat);
}
static inline int is_packed(const rows *self, int k) {
    return self->task->dtype == RL_F32 && (self->step[k] == 4 || self->length == 1);
}
static inline char *part_at(const rows *self, int k, char *row, const part *p) {
    return row + p->first * self->line[k] + p->begin * self->step[k];
}
/* A part where it lies, or else in `room`: there as it is, or (with `load`) copied. */
static inline lines lines_of(const rows *self, int k, char *row, const part *p, float *room, int load) {
    char *at = part_at(self, k, row, p);
    if (is_packed(self, k))
        return (lines){(float *)(void *)at, self->line[k] / 4};
    if (load)
        od_chosen->load[self->task->dtype](room, at, p->count, p->length, self->line[k], self->step[k]);
    return (lines){room, p->length};
}
static inline void store_lines(const rows *self, char *row, const part *p, const lines *y) {
    if (!is_packed(self, NORM_Y))
        od_chosen->store[self->task->dtype](part_at(self, NORM_Y, row, p), y->at, p->count, p->length,
                                            self->line[NORM_Y], self->step[NORM_Y]);
}

/* Weight or bias of a group in F32: at[l * pitch + i], or where it varies along one of them only, at[l * pitch] or
 * at[i]. */
static inline lines param_of(const rows *self, int k, int64_t group) {
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
/* Where line l, from element `begin` on, has its weight. */
static inline const float *param_line(const rows *self, const lines *param, int64_t l, int64_t begin) {
    return param->at ? param->at + l * param->pitch + (self->vary_length ? begin : 0) : NULL;
}

static inline float *room_of(const rows *self, int thread, int64_t number) {
    return (float *)(void *)(self->task->scratch + self->rooms + (size_t)thread * self->per_thread) + number;
}

/* Statistics of one row. */
typedef struct statistics {
    double mean, scale; /* 1 / sqrt(var + eps) */
} statistics;

static inline float *statistic_at(const rows *self, int k, int64_t group, int64_t repeat) {
    return self->task->operand[k] ? (float *)(void *)row_at(self, k, group, repeat) : NULL;
}

/* While a block is computed, its place in the next row comes from memory. Beyond the last row nothing happens. */
static inline void fetch_ahead(const rows *self, int k, const float *block, int64_t count) {
    if (self->ahead[k] != 0)
        for (int64_t i = 0; i < count; i += 16)
            __builtin_prefetch((const char *)(block + i) + self->ahead[k]);
}

/* What a part of a row gives to the backward: its share of s0 and s1, and of the gradients of weight and bias. */
typedef struct row_sums {
    double sums[2], affine[2];
} row_sums;

/* Runs all rows on `threads` threads; `split`: their parts. */
void od_norm_rows_forward(rows *self, int threads, int split);
void od_norm_rows_backward(rows *self, int threads, int split);

#endif
