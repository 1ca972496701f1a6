/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fused row: the gradient of a table of embeddings. The table is cut into ranges of rows; each unit owns one, clears
 * it and adds what belongs there in the order of the positions: the same bits on any number of threads, no atomics.
 * Positions are first sorted by range, by counting, where there are several.
 */
#include <string.h>

#include "backend.h"

#define RANGE_FLOATS 16384 /* of the table in a range, at least: it stays in the second-level cache */
#define MOST_RANGES 256

typedef struct embedding {
    const rl_embedding_backward_args *args;
    rl_dtype dtype;
    int64_t bytes, per_range, ranges;
    int64_t *positions;              /* by range, in order within each */
    int64_t starts[MOST_RANGES + 1]; /* of each range in positions */
    char *scratch;                   /* of all threads: a range in F32, and a row */
    size_t per_thread;
    int direct; /* sums are made in the table itself */
} embedding;

static int64_t index_at(const embedding *self, int64_t i) {
    const rl_operand *index = &self->args->index;
    const int wide = self->args->index_dtype == RL_I64;
    const char *at = od_address(index) + i * index->stride[0] * (wide ? 8 : 4);
    return wide ? *(const int64_t *)(const void *)at : *(const int32_t *)(const void *)at;
}
static int counts(const embedding *self, int64_t row) {
    return row >= 0 && row < self->args->rows && row != self->args->padding_index;
}

static void run_range(void *context, int thread, int64_t range) {
    const embedding *self = context;
    const rl_embedding_backward_args *args = self->args;
    const int64_t width = args->width, first = range * self->per_range;
    const int64_t end = first + self->per_range < args->rows ? first + self->per_range : args->rows;
    const rl_operand *in = &args->grad_out, *out = &args->out;
    float *room = (float *)(void *)(self->scratch + (size_t)thread * self->per_thread);
    float *row = room, *sums = self->direct ? (float *)(void *)od_address(out) + first * out->stride[0] : room + width;
    const int64_t pitch = self->direct ? out->stride[0] : width;
    for (int64_t r = 0; r < end - first; r++)
        memset(sums + r * pitch, 0, (size_t)width * sizeof *sums);
    for (int64_t at = self->starts[range]; at < self->starts[range + 1]; at++) {
        const int64_t position = self->positions[at];
        const char *from = od_address(in) + position * in->stride[0] * self->bytes;
        const float *x = (const float *)(const void *)from;
        if (self->dtype != RL_F32 || in->stride[1] != 1) {
            od_chosen->load[self->dtype](row, from, 1, width, 0, in->stride[1] * self->bytes);
            x = row;
        }
        od_chosen->row.add(sums + (index_at(self, position) - first) * pitch, x, width);
    }
    if (!self->direct)
        od_chosen->store[self->dtype](od_address(out) + first * out->stride[0] * self->bytes, sums, end - first, width,
                                      out->stride[0] * self->bytes, out->stride[1] * self->bytes);
}

/* The positions of each range, in order. Gives the first position whose index is no row, or -1. */
static int64_t sort_positions(embedding *self) {
    int64_t bad = -1, next[MOST_RANGES] = {0};
    for (int64_t i = 0; i < self->args->count; i++) {
        const int64_t row = index_at(self, i);
        if (counts(self, row))
            next[row / self->per_range]++;
        else if (bad < 0 && (row != self->args->padding_index || row < 0))
            bad = i;
    }
    for (int64_t r = 0, at = 0; r < self->ranges; r++) {
        self->starts[r] = at;
        at += next[r];
        next[r] = self->starts[r];
        self->starts[r + 1] = at;
    }
    for (int64_t i = 0; i < self->args->count; i++) {
        const int64_t row = index_at(self, i);
        if (counts(self, row))
            self->positions[next[row / self->per_range]++] = i;
    }
    return bad;
}

rl_status od_embedding_backward(rl_backend_stream *stream, const void *what) {
    const rl_embedding_backward_args *args = what;
    embedding self = {.args = args, .dtype = (rl_dtype)args->dtype, .bytes = od_dtype_bytes((rl_dtype)args->dtype)};
    (void)stream;
    self.per_range = RANGE_FLOATS / args->width > 0 ? RANGE_FLOATS / args->width : 1;
    if (self.per_range * MOST_RANGES < args->rows)
        self.per_range = (args->rows + MOST_RANGES - 1) / MOST_RANGES;
    if (self.per_range * 4 > args->rows) /* small tables too are worth a few units */
        self.per_range = (args->rows + 3) / 4;
    self.ranges = (args->rows + self.per_range - 1) / self.per_range;
    self.direct = self.dtype == RL_F32 && args->out.stride[1] == 1;
    const int threads = od_threads(self.ranges, (double)(args->count + args->rows) * (double)args->width * 0.25);
    const size_t sorted = od_lines((size_t)args->count * sizeof *self.positions);
    self.per_thread = od_lines((size_t)(args->width * (1 + (self.direct ? 0 : self.per_range))) * sizeof(float));
    char *memory = od_host->scratch(sorted + (size_t)threads * self.per_thread);
    if (memory == NULL)
        return od_host->fail(RL_OUT_OF_MEMORY, "embedding_backward: no scratch memory for %lld positions",
                             (long long)args->count);
    self.positions = (int64_t *)(void *)memory;
    self.scratch = memory + sorted;
    const int64_t bad = sort_positions(&self);
    od_run(threads, self.ranges, run_range, &self);
    if (bad < 0)
        return RL_OK;
    return od_host->fail(RL_INDEX_OUT_OF_RANGE, "index %lld is out of range for %lld rows",
                         (long long)index_at(&self, bad), (long long)args->rows);
}

int od_supports_embedding_backward(rl_backend_device *device, const void *what, const char **out_reason) {
    const rl_embedding_backward_args *args = what;
    (void)device;
    const int good = args->dtype == RL_F32 || args->dtype == RL_F16 || args->dtype == RL_BF16;
    *out_reason = good ? "the table is empty" : "embedding_backward is for float32 and narrower";
    return good && args->rows > 0 && args->width > 0;
}
