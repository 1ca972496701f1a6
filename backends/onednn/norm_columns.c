/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Normalization of columns: `samples` times (N of an instance or group norm; 1 for batch norm) a matrix of `height`
 * rows and `width` columns next to each other, of which each `joint` ones are normalized together (the channels of a
 * group; 1 otherwise). Threads take strips of rows; each strip gives moments or sums of its columns, which are then
 * joined in their order.
 *
 * Narrow matrices whose rows lie next to each other are read as matrices of `fold` times the width, so that 16 lanes
 * are filled; what repeats along the width is repeated then.
 */
#include "norm.h"

#include <math.h>
#include <string.h>

#define STREAM_BLOCK 1024

typedef struct columns {
    od_norm_task *task;
    int64_t samples, height, width, joint, fold;
    /* Strides in bytes; of mean and var, `column` is from group to group. */
    int64_t sample[NORM_OPERANDS], row[NORM_OPERANDS], column[NORM_OPERANDS];
    int64_t strip, strips; /* rows of a strip (a multiple of fold), strips of a sample */
    int streams;
    size_t partials, vectors, rooms, per_thread;
} columns;

/* Vectors of width * fold floats for each sample: forward mean, scale, shift; backward mean, scale, shift, slope. */
enum { MEAN, SCALE, SHIFT, SLOPE, VECTORS };
static float *vector_of(const columns *self, int64_t sample, int which) {
    return (float *)(void *)(self->task->scratch + self->vectors) +
           (sample * VECTORS + which) * self->width * self->fold;
}
/* Two rows of doubles for each strip: mean and squares, or sums and dots. */
static double *partial_of(const columns *self, int64_t unit, int which) {
    return (double *)(void *)(self->task->scratch + self->partials) + (unit * 2 + which) * self->width;
}
/* A thread's room: x, g and out of a strip, then sums of NORM_COLUMNS or of all folded columns. */
static float *room_of(const columns *self, int thread, int which) {
    return (float *)(void *)(self->task->scratch + self->rooms + (size_t)thread * self->per_thread) +
           which * self->strip * self->width;
}

typedef struct strip {
    int64_t sample, first, rows;
    const float *x, *g;
    int64_t x_pitch, g_pitch;
} strip;

static char *at(const columns *self, int k, int64_t sample, int64_t row, int64_t column) {
    return od_norm_at(self->task, k) + sample * self->sample[k] + row * self->row[k] + column * self->column[k];
}
static int is_packed(const columns *self, int k) {
    return self->task->dtype == RL_F32 && self->column[k] == 4;
}
static const float *load(const columns *self, int k, const strip *s, float *room, int64_t *out_pitch) {
    char *from = at(self, k, s->sample, s->first, 0);
    *out_pitch = is_packed(self, k) ? self->row[k] / 4 : self->width;
    if (is_packed(self, k))
        return (const float *)(void *)from;
    od_chosen->load[self->task->dtype](room, from, s->rows, self->width, self->row[k], self->column[k]);
    return room;
}
static strip strip_of(const columns *self, int thread, int64_t unit) {
    strip s = {.sample = unit / self->strips, .first = unit % self->strips * self->strip};
    s.rows = od_at_most(self->height - s.first, self->strip);
    s.x = load(self, NORM_X, &s, room_of(self, thread, 0), &s.x_pitch);
    if (self->task->operand[NORM_G])
        s.g = load(self, NORM_G, &s, room_of(self, thread, 1), &s.g_pitch);
    return s;
}

/* Folds apply where the rows of all that is read lie next to each other: how many rows are one then. */
static int64_t fold_of(const columns *self, const strip *s) {
    const int64_t w = self->width;
    return s->x_pitch == w && (s->g == NULL || s->g_pitch == w) && s->rows >= self->fold ? self->fold : 1;
}

/* Moments and sums of a strip ------------------------------------------------------------------------------------- */

/* sums[0 .. cols) = sums[c] + sums[cols + c] + .., of `fold` times cols. */
static void fold_sums(double *sums, int64_t cols, int64_t fold) {
    for (int64_t f = 1; f < fold; f++)
        for (int64_t c = 0; c < cols; c++)
            sums[c] += sums[f * cols + c];
}

typedef struct column_sums {
    double sums[16 * NORM_COLUMNS], more[16 * NORM_COLUMNS];
    float mean[16 * NORM_COLUMNS];
} column_sums;

/* Of columns [c, c + cols): the mean and the squares of differences from it. */
static void strip_moments(const columns *self, const strip *s, int64_t c, int64_t cols, column_sums *t, double *mean,
                          double *squares) {
    const od_norm_kernels *k = &od_chosen->norm;
    const int64_t fold = cols == self->width ? fold_of(self, s) : 1, rows = s->rows / fold, done = rows * fold;
    const int64_t wide = cols * fold, pitch = s->x_pitch * fold;
    const float *x = s->x + c, *rest = x + done * s->x_pitch;
    memset(t->sums, 0, (size_t)wide * sizeof *t->sums);
    memset(t->more, 0, (size_t)wide * sizeof *t->more);
    memset(t->mean, 0, (size_t)wide * sizeof *t->mean);
    if (self->task->center) {
        k->columns_sum(x, pitch, rows, wide, t->sums);
        k->columns_sum(rest, s->x_pitch, s->rows - done, cols, t->sums);
        fold_sums(t->sums, cols, fold);
        for (int64_t i = 0; i < cols; i++) {
            mean[i] = t->sums[i] / (double)s->rows;
            for (int64_t f = 0; f < fold; f++)
                t->mean[f * cols + i] = (float)mean[i];
        }
    }
    k->columns_squares(x, pitch, rows, wide, t->mean, t->more);
    k->columns_squares(rest, s->x_pitch, s->rows - done, cols, t->mean, t->more);
    fold_sums(t->more, cols, fold);
    for (int64_t i = 0; i < cols; i++) {
        const double apart = self->task->center ? mean[i] - (double)t->mean[i] : 0.0; /* what the float has lost */
        squares[i] = t->more[i] - apart * apart * (double)s->rows;
    }
}

static void moments_unit(void *context, int thread, int64_t unit) {
    const columns *self = context;
    const strip s = strip_of(self, thread, unit);
    column_sums t;
    for (int64_t c = 0; c < self->width; c += NORM_COLUMNS) {
        const int64_t cols = od_at_most(self->width - c, NORM_COLUMNS);
        strip_moments(self, &s, c, cols, &t, partial_of(self, unit, 0) + c, partial_of(self, unit, 1) + c);
    }
}

static void sums_unit(void *context, int thread, int64_t unit) {
    const columns *self = context;
    const strip s = strip_of(self, thread, unit);
    column_sums t;
    for (int64_t c = 0; c < self->width; c += NORM_COLUMNS) {
        const int64_t cols = od_at_most(self->width - c, NORM_COLUMNS);
        const int64_t fold = cols == self->width ? fold_of(self, &s) : 1, rows = s.rows / fold, done = rows * fold;
        const float *mean = vector_of(self, s.sample, MEAN) + c;
        memset(t.sums, 0, (size_t)(cols * fold) * sizeof *t.sums);
        memset(t.more, 0, (size_t)(cols * fold) * sizeof *t.more);
        od_chosen->norm.columns_dots(s.g + c, s.g_pitch * fold, s.x + c, s.x_pitch * fold, rows, cols * fold, mean,
                                     t.sums, t.more);
        od_chosen->norm.columns_dots(s.g + c + done * s.g_pitch, s.g_pitch, s.x + c + done * s.x_pitch, s.x_pitch,
                                     s.rows - done, cols, mean, t.sums, t.more);
        fold_sums(t.sums, cols, fold);
        fold_sums(t.more, cols, fold);
        memcpy(partial_of(self, unit, 0) + c, t.sums, (size_t)cols * sizeof *t.sums);
        memcpy(partial_of(self, unit, 1) + c, t.more, (size_t)cols * sizeof *t.more);
    }
}

/* Joining: unit is a block of groups of columns, of all samples --------------------------------------------------- */

typedef struct block {
    int64_t first, cols;
} block;
static int64_t block_cols(const columns *self) {
    return NORM_COLUMNS / self->joint * self->joint;
}
static block block_of(const columns *self, int64_t unit) {
    const int64_t first = unit * block_cols(self), left = self->width - first;
    return (block){first, od_at_most(left, block_cols(self))};
}
/* The block of a vector as it is read along folded rows. */
static void repeat(const columns *self, int64_t sample, int which, const block *b) {
    float *vector = vector_of(self, sample, which);
    for (int64_t f = 1; f < self->fold; f++)
        memcpy(vector + f * self->width + b->first, vector + b->first, (size_t)b->cols * sizeof *vector);
}
/* Weight or bias of a sample's block; `otherwise` where it is absent. */
static void read_param(const columns *self, int k, int64_t sample, const block *b, float otherwise, float *out) {
    if (self->task->operand[k])
        od_chosen->load[self->task->param_dtype](out, at(self, k, sample, 0, b->first), 1, b->cols, 0, self->column[k]);
    else
        for (int64_t i = 0; i < b->cols; i++)
            out[i] = otherwise;
}
static float *statistic_at(const columns *self, int k, int64_t sample, int64_t column) {
    return (float *)(void *)at(self, k, sample, 0, column / self->joint);
}

/* The group that begins at column c. */
static void finish_group(const columns *self, int64_t sample, int64_t c) {
    od_moments m = {0};
    for (int64_t i = 0; i < self->strips; i++) {
        const int64_t unit = sample * self->strips + i, left = self->height - i * self->strip;
        const double count = (double)od_at_most(left, self->strip);
        const double *mean = partial_of(self, unit, 0) + c, *squares = partial_of(self, unit, 1) + c;
        for (int64_t k = 0; k < self->joint; k++) {
            if (self->task->center)
                od_moments_join(&m, count, mean[k], squares[k]);
            else
                m.squares += squares[k];
        }
    }
    double var = m.squares / (double)self->task->n;
    var = var < 0.0 ? 0.0 : var;
    if (self->task->operand[NORM_MEAN])
        *statistic_at(self, NORM_MEAN, sample, c) = (float)m.mean;
    if (self->task->operand[NORM_VAR])
        *statistic_at(self, NORM_VAR, sample, c) = (float)var;
    const float scale = (float)(1.0 / sqrt(var + self->task->eps));
    for (int64_t k = c; k < c + self->joint; k++) {
        vector_of(self, sample, MEAN)[k] = (float)m.mean;
        vector_of(self, sample, SCALE)[k] *= scale;
    }
}
static void finish_forward(void *context, int thread, int64_t unit) {
    const columns *self = context;
    const block b = block_of(self, unit);
    (void)thread;
    for (int64_t sample = 0; sample < self->samples; sample++) {
        read_param(self, NORM_W, sample, &b, 1.0f, vector_of(self, sample, SCALE) + b.first);
        read_param(self, NORM_B, sample, &b, 0.0f, vector_of(self, sample, SHIFT) + b.first);
        for (int64_t c = b.first; c < b.first + b.cols; c += self->joint)
            finish_group(self, sample, c);
        for (int which = MEAN; which <= SHIFT; which++)
            repeat(self, sample, which, &b);
    }
}

static void read_means(void *context, int thread, int64_t unit) {
    const columns *self = context;
    const block b = block_of(self, unit);
    (void)thread;
    for (int64_t sample = 0; sample < self->samples; sample++) {
        for (int64_t c = b.first; c < b.first + b.cols; c++)
            vector_of(self, sample, MEAN)[c] =
                self->task->operand[NORM_MEAN] ? *statistic_at(self, NORM_MEAN, sample, c) : 0.0f;
        repeat(self, sample, MEAN, &b);
    }
}

/* What the sums of the group that begins at column c give: of each column sum(g) and sum(g z), and grad_in = g scale +
 * (x - mean) slope + shift. SCALE holds the weights before. */
static void finish_sums(const columns *self, int64_t sample, int64_t c, double *out_sums, double *out_dots) {
    const double n = (double)self->task->n;
    const double root = 1.0 / sqrt((double)*statistic_at(self, NORM_VAR, sample, c) + self->task->eps);
    float *scale = vector_of(self, sample, SCALE) + c;
    double sum = 0.0, dot = 0.0; /* weighted */
    for (int64_t k = 0; k < self->joint; k++) {
        out_sums[k] = out_dots[k] = 0.0;
        for (int64_t i = 0; i < self->strips; i++) {
            out_sums[k] += partial_of(self, sample * self->strips + i, 0)[c + k];
            out_dots[k] += partial_of(self, sample * self->strips + i, 1)[c + k];
        }
        out_dots[k] *= root;
        sum += (double)scale[k] * out_sums[k];
        dot += (double)scale[k] * out_dots[k];
    }
    for (int64_t k = 0; k < self->joint; k++) {
        scale[k] = (float)(root * (double)scale[k]);
        vector_of(self, sample, SLOPE)[c + k] = (float)(-root * root * dot / n);
        vector_of(self, sample, SHIFT)[c + k] = self->task->center ? (float)(-root * sum / n) : 0.0f;
    }
}
static void store_gradient(const columns *self, int k, int64_t sample, const block *b, const double *sums) {
    float results[NORM_COLUMNS];
    if (self->task->operand[k] == NULL)
        return;
    for (int64_t i = 0; i < b->cols; i++)
        results[i] = (float)sums[i];
    od_chosen->store[self->task->param_dtype](at(self, k, sample, 0, b->first), results, 1, b->cols, 0,
                                              self->column[k]);
}
/* Samples share a gradient, or have one each. */
static void finish_backward(void *context, int thread, int64_t unit) {
    const columns *self = context;
    const block b = block_of(self, unit);
    const int shared = self->sample[NORM_AFFINE] == 0;
    double sums[NORM_COLUMNS] = {0}, dots[NORM_COLUMNS] = {0}, own[2][NORM_COLUMNS] = {{0}};
    (void)thread;
    for (int64_t sample = 0; sample < self->samples; sample++) {
        read_param(self, NORM_W, sample, &b, 1.0f, vector_of(self, sample, SCALE) + b.first);
        for (int64_t i = 0; i < b.cols; i += self->joint)
            finish_sums(self, sample, b.first + i, own[0] + i, own[1] + i);
        for (int64_t i = 0; i < b.cols; i++) {
            sums[i] = shared ? sums[i] + own[0][i] : own[0][i];
            dots[i] = shared ? dots[i] + own[1][i] : own[1][i];
        }
        for (int which = SCALE; which <= SLOPE; which++)
            repeat(self, sample, which, &b);
        if (shared && sample + 1 < self->samples)
            continue;
        store_gradient(self, NORM_GW, sample, &b, dots);
        store_gradient(self, NORM_GB, sample, &b, sums);
    }
}

/* Results --------------------------------------------------------------------------------------------------------- */

/* A row, or `fold` rows as one, or a piece of it from column c on. */
static void write_row(const columns *self, const strip *s, int64_t row, int64_t c, int64_t cols, float *out) {
    const float *mean = vector_of(self, s->sample, MEAN) + c, *scale = vector_of(self, s->sample, SCALE) + c;
    const float *shift = vector_of(self, s->sample, SHIFT) + c, *x = s->x + row * s->x_pitch + c;
    if (s->g)
        od_chosen->norm.columns_grad(out, s->g + row * s->g_pitch + c, x, mean, scale,
                                     vector_of(self, s->sample, SLOPE) + c, shift, cols);
    else
        od_chosen->norm.columns_scale(out, x, mean, scale, shift, cols);
}

static void stream_row(const columns *self, const strip *s, int64_t row, int64_t cols, float *out) {
    float piece[STREAM_BLOCK];
    for (int64_t c = 0; c < cols; c += STREAM_BLOCK) {
        const int64_t count = od_at_most(cols - c, STREAM_BLOCK);
        write_row(self, s, row, c, count, piece);
        od_chosen->stream((char *)(out + c), (const char *)piece, count * 4);
    }
}

static void result_unit(void *context, int thread, int64_t unit) {
    const columns *self = context;
    const strip s = strip_of(self, thread, unit);
    const int packed = is_packed(self, NORM_Y);
    char *to = at(self, NORM_Y, s.sample, s.first, 0);
    float *y = packed ? (float *)(void *)to : room_of(self, thread, 2);
    const int64_t pitch = packed ? self->row[NORM_Y] / 4 : self->width;
    const int64_t fold = pitch == self->width ? fold_of(self, &s) : 1;
    int64_t row = 0;
    for (; row + fold <= s.rows; row += fold) {
        if (self->streams)
            stream_row(self, &s, row, self->width * fold, y + row * pitch);
        else
            write_row(self, &s, row, 0, self->width * fold, y + row * pitch);
    }
    for (; row < s.rows; row++)
        write_row(self, &s, row, 0, self->width, y + row * pitch);
    if (!packed)
        od_chosen->store[self->task->dtype](to, y, s.rows, self->width, self->row[NORM_Y], self->column[NORM_Y]);
    if (self->streams)
        od_chosen->stream_end();
}

/* Both directions ------------------------------------------------------------------------------------------------- */

static int64_t greatest_divisor(int64_t a, int64_t b) {
    while (b != 0) {
        const int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

static void measure(columns *self, od_norm_task *task) {
    const od_space *along = &task->along, *kept = &task->kept;
    const int last = kept->ndim - 1;
    *self = (columns){.task = task,
                      .samples = last > 0 ? kept->shape[0] : 1,
                      .height = along->shape[0],
                      .joint = along->ndim == 2 ? along->shape[1] : 1};
    self->width = kept->shape[last] * self->joint;
    for (int k = 0; k < NORM_OPERANDS; k++) {
        const int of_group = self->joint == 1 || k == NORM_MEAN || k == NORM_VAR;
        self->sample[k] = last > 0 ? kept->stride[k][0] : 0;
        self->row[k] = along->stride[k][0];
        self->column[k] = of_group ? kept->stride[k][last] : along->stride[k][1];
    }
    self->fold = self->width < NORM_COLUMNS ? 16 / greatest_divisor(self->width, 16) : 1;
    self->strip = NORM_PART / self->width > 64 ? NORM_PART / self->width : 64;
    self->strip = (self->strip + self->fold - 1) / self->fold * self->fold;
    self->strips = od_parts(self->height, self->strip);
}

static rl_status reserve(columns *self, int threads) {
    const od_norm_task *task = self->task;
    size_t total = 0;
    self->vectors = od_norm_take(&total, self->samples * VECTORS * self->width * self->fold * 4);
    self->partials = od_norm_take(&total, self->samples * self->strips * 2 * self->width * 8);
    const int loads = !is_packed(self, NORM_X) || (task->operand[NORM_Y] && !is_packed(self, NORM_Y)) ||
                      (task->operand[NORM_G] && !is_packed(self, NORM_G));
    self->per_thread = loads ? od_lines((size_t)(3 * self->strip * self->width) * 4) : 0;
    self->rooms = od_norm_take(&total, (int64_t)self->per_thread * threads);
    return od_norm_scratch(self->task, total);
}

rl_status od_norm_columns(od_norm_task *task) {
    columns self;
    measure(&self, task);
    const double elements = (double)self.samples * (double)self.height * (double)self.width;
    const int64_t units = self.samples * self.strips, blocks = od_parts(self.width, block_cols(&self));
    const int threads = od_threads(units, elements * (task->backward ? 0.6 : 0.4));
    const int joiners = od_threads(blocks, (double)(units * self.width) * 4.0);
    self.streams = task->operand[NORM_Y] && is_packed(&self, NORM_Y) && self.width * self.fold >= 64 &&
                   elements * (task->backward ? 12.0 : 8.0) > 0.75 * (double)od_cache_bytes;
    const rl_status status = reserve(&self, threads);
    if (status != RL_OK)
        return status;
    if (task->backward)
        od_run(joiners, blocks, read_means, &self);
    od_run(threads, units, task->backward ? sums_unit : moments_unit, &self);
    od_run(joiners, blocks, task->backward ? finish_backward : finish_forward, &self);
    if (task->operand[NORM_Y])
        od_run(threads, units, result_unit, &self);
    return RL_OK;
}
