/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Primitive 2: reduce. Outputs are taken in groups along the innermost kept dimension, the reduced elements of a group
 * in tiles, runs of tiles in chunks. Within a tile a row is combined by lanes, or columns side by side, whichever way
 * memory runs; tiles, then chunks, are combined in their order. All of that is cut by shape and strides alone.
 */
#include <math.h>
#include <string.h>

#include "backend.h"
#include "runner.h"
#include "space.h"

#define GROUP 512         /* outputs of a group, at most */
#define CHUNK 65536       /* elements of a unit, at least, where there are that many */
#define MOST_PARTIALS 128 /* groups times chunks, where there is more than one chunk */

typedef enum way {
    ROWS_WHOLE, /* the reduced elements of several outputs fill one tile */
    ROWS,       /* a tile is part of one output's elements */
    COLUMNS     /* a tile is part of a whole group's elements, an output a column */
} way;

typedef struct combined { /* of a group */
    od_accumulator value[RL_MAX_COMBINED][GROUP];
    int64_t position[RL_MAX_COMBINED][GROUP];
} combined;

typedef struct call {
    const rl_reduce_args *args;
    const od_plan *pro, *epi;
    od_space kept; /* outputs, inputs, counts */
    od_space red;  /* inputs, counts */
    way way;
    int in_memory; /* COLUMNS: the values combined are the inputs, packed along the columns: no tile is needed */
    int64_t group, blocks, groups;    /* outputs of a group, groups along the last kept dimension, groups in all */
    int64_t tile_rows, tile_cols;     /* a full tile, in the reduced space */
    int64_t tiles_across, tiles_down; /* tiles along its last dimension, and the one before */
    int64_t tiles, per_chunk, chunks;
    combined *partials; /* by group and chunk, where there are several chunks */
} call;

static void add_counts(od_space *space, const od_plan *plan, const rl_reduce_args *args) {
    for (int i = 0; i < plan->n_indices; i++) {
        int64_t stride[RL_MAX_DIMS] = {0}, step = 1;
        if (plan->indices[i].dim >= 0)
            stride[plan->indices[i].dim] = 1;
        for (int64_t d = args->ndim - 1; d >= 0 && plan->indices[i].dim < 0; step *= args->shape[d--])
            stride[d] = step;
        od_space_add(space, stride, 1);
    }
}

static void make_spaces(call *self) {
    const rl_reduce_args *args = self->args;
    const uint32_t all = (1u << args->ndim) - 1, reduced = args->reduced & all;
    int ordered = 0; /* positions are row-major numbers of the reduced dimensions as they stand */
    for (int k = 0; k < self->pro->n_outputs; k++)
        ordered |= args->combiner[k] >= RL_COMBINE_ARGMAX;
    od_space_init(&self->kept, args->ndim, args->shape, all & ~reduced);
    od_space_init(&self->red, args->ndim, args->shape, reduced);
    for (int k = 0; k < self->epi->n_outputs; k++)
        od_space_add(&self->kept, args->outputs[k].stride, self->epi->outputs[k].bytes);
    for (int i = 0; i < self->pro->n_inputs; i++) {
        od_space_add(&self->kept, args->inputs[i].stride, self->pro->inputs[i].bytes);
        od_space_add(&self->red, args->inputs[i].stride, self->pro->inputs[i].bytes);
    }
    add_counts(&self->kept, self->pro, args);
    add_counts(&self->red, self->pro, args);
    od_space_finish(&self->kept, 1);
    od_space_finish(&self->red, !ordered);
}

static int64_t kept_stride(const call *self, int i) {
    return self->kept.stride[self->epi->n_outputs + i][self->kept.ndim - 1];
}
static int64_t red_stride(const call *self, int i) {
    return self->red.stride[i][self->red.ndim - 1];
}
static int64_t size_of(int64_t x) {
    return x < 0 ? -x : x;
}

static way choose_way(const call *self) {
    const int64_t cols = self->kept.shape[self->kept.ndim - 1], n = self->red.shape[self->red.ndim - 1];
    int columns = 0;
    for (int i = 0; i < self->pro->n_inputs; i++) {
        const int64_t k = size_of(kept_stride(self, i)), r = size_of(red_stride(self, i));
        if (k != 0 && r != 0 && k != r) {
            columns = k < r;
            break;
        }
    }
    if ((columns && cols >= 4) || (n < 4 && cols >= 16))
        return COLUMNS;
    return self->red.ndim == 1 && n * 2 <= self->pro->tile ? ROWS_WHOLE : ROWS;
}

static void cut(call *self) {
    const od_space *red = &self->red, *kept = &self->kept;
    const int64_t inner = red->shape[red->ndim - 1], cols = kept->shape[kept->ndim - 1], tile = self->pro->tile;
    const int64_t before = red->ndim > 1 ? red->shape[red->ndim - 2] : 1;
    self->way = choose_way(self);
    if (self->way == COLUMNS) {
        self->group = od_at_most(cols, od_at_most(GROUP, tile));
        self->tile_rows = 1;
        self->in_memory = self->pro->is_input;
        for (int i = 0; i < self->pro->n_inputs; i++)
            self->in_memory &= kept_stride(self, i) == self->pro->inputs[i].bytes &&
                               red_stride(self, i) % self->pro->inputs[i].bytes == 0;
        /* rows of the tile, along the reduced dimension */
        self->tile_cols =
            od_at_most(inner, od_at_most(OD_COLUMN_ROWS, self->in_memory ? OD_COLUMN_ROWS : tile / self->group));
    } else {
        const int64_t fill = CHUNK / (red->count > 0 ? red->count : 1);
        self->group = od_at_most(cols, od_at_most(GROUP, fill > 1 ? fill : 1));
        self->tile_cols = od_at_most(inner, tile);
        self->tile_rows = self->tile_cols == inner ? od_at_most(before, tile / inner) : 1;
    }
    self->blocks = od_parts(cols, self->group);
    self->groups = kept->count / cols * self->blocks;
    self->tiles_across = od_parts(inner, self->tile_cols);
    self->tiles_down = od_parts(before, self->tile_rows);
    self->tiles = red->count / inner / before * self->tiles_across * self->tiles_down;
    if (self->tiles == 0) { /* nothing to combine */
        self->chunks = 1;
        return;
    }
    const int64_t outputs = self->way == COLUMNS ? self->group : 1;
    self->per_chunk = od_parts(CHUNK, self->tile_rows * self->tile_cols * outputs);
    const int64_t most = MOST_PARTIALS / self->groups;
    self->chunks = most < 2 || self->way == ROWS_WHOLE ? 1 : od_at_most(most, od_parts(self->tiles, self->per_chunk));
    self->per_chunk = od_parts(self->tiles, self->chunks);
    self->chunks = od_parts(self->tiles, self->per_chunk);
}

/* Combined values ------------------------------------------------------------------------------------------------ */

static rl_reg register_of(const call *self, int k) {
    return od_register((rl_dtype)self->pro->program->output_dtype[k]);
}

static void start(const call *self, combined *acc, int64_t n) {
    for (int k = 0; k < self->pro->n_outputs; k++) {
        const rl_reg reg = register_of(self, k);
        const int is_float = reg == RL_REG_F32 || reg == RL_REG_F64, narrow = reg == RL_REG_I32;
        od_accumulator first = {.i = 0};
        switch (self->args->combiner[k]) {
        case RL_COMBINE_PROD:
            if (is_float)
                first.f = 1.0;
            else
                first.i = 1;
            break;
        case RL_COMBINE_MAX:
            if (is_float)
                first.f = -INFINITY;
            else
                first.i = narrow ? INT32_MIN : INT64_MIN;
            break;
        case RL_COMBINE_MIN:
            if (is_float)
                first.f = INFINITY;
            else
                first.i = narrow ? INT32_MAX : INT64_MAX;
            break;
        case RL_COMBINE_ARGMAX:
            if (is_float)
                first.f = -INFINITY;
            else
                first.i = INT64_MIN;
            break;
        case RL_COMBINE_ARGMIN:
            if (is_float)
                first.f = INFINITY;
            else
                first.i = INT64_MAX;
            break;
        default:
            break;
        }
        for (int64_t i = 0; i < n; i++) {
            acc->value[k][i] = first;
            acc->position[k][i] = -1;
        }
    }
}

/* The combined values of a later chunk are one more row; their positions are told, not counted. */
static void merge(const call *self, combined *acc, const combined *later, int64_t n) {
    for (int k = 0; k < self->pro->n_outputs; k++) {
        const int combiner = self->args->combiner[k];
        const rl_reg reg = register_of(self, k);
        const rl_reg wide = reg == RL_REG_F32 || reg == RL_REG_F64 ? RL_REG_F64 : RL_REG_I64;
        if (combiner < RL_COMBINE_ARGMAX) {
            self->pro->kernels->combine_columns[combiner][wide](acc->value[k], acc->position[k], later->value[k], 1, n,
                                                                n, 0);
            continue;
        }
        for (int64_t i = 0; i < n; i++)
            self->pro->kernels->combine_row[combiner][wide](&acc->value[k][i], &acc->position[k][i],
                                                            &later->value[k][i], 1, later->position[k][i]);
    }
}

/* Epilogue ------------------------------------------------------------------------------------------------------- */

static void narrow(const call *self, const combined *acc, int k, int64_t n, char *to) {
    const rl_reg reg = register_of(self, k);
    for (int64_t i = 0; i < n; i++) {
        const od_accumulator v = acc->value[k][i];
        if (self->args->combiner[k] >= RL_COMBINE_ARGMAX) {
            const int64_t at = acc->position[k][i] < 0 ? 0 : acc->position[k][i];
            memcpy(to + 8 * i, &at, 8);
        } else if (reg == RL_REG_F32) {
            const float x = (float)v.f;
            memcpy(to + 4 * i, &x, 4);
        } else if (reg == RL_REG_I32) {
            const uint32_t x = (uint32_t)v.i;
            memcpy(to + 4 * i, &x, 4);
        } else {
            memcpy(to + 8 * i, &v, 8);
        }
    }
}

static void finish_group(const call *self, int64_t group, const combined *acc) {
    _Alignas(64) char packed[RL_MAX_COMBINED][GROUP * 8];
    const od_space *kept = &self->kept;
    const int last = kept->ndim - 1;
    const int64_t outer = group / self->blocks, at = group % self->blocks * self->group;
    const int64_t n = od_at_most(self->group, kept->shape[last] - at);
    for (int k = 0; k < self->pro->n_outputs; k++)
        narrow(self, acc, k, n, packed[k]);
    od_runner r;
    od_runner_init(&r, self->epi, self->args->epilogue_scalars);
    for (int64_t done = 0; done < n; done += self->epi->tile) {
        for (int k = 0; k < self->epi->n_inputs; k++) {
            const int64_t bytes = self->epi->inputs[k].bytes;
            r.in[k] = (od_view){packed[k] + done * bytes, 0, 0, bytes};
        }
        for (int k = 0; k < self->epi->n_outputs; k++) {
            const int64_t step = kept->stride[k][last];
            r.out[k] = (od_view){od_address(&self->args->outputs[k]) + od_space_offset(kept, k, last, outer) +
                                     (at + done) * step,
                                 0, 0, step};
        }
        od_runner_tile(&r, (od_box){1, 1, od_at_most(self->epi->tile, n - done)}, 0);
    }
}

/* Prologue ------------------------------------------------------------------------------------------------------- */

typedef struct work { /* one group, one chunk */
    const call *call;
    od_runner runner;
    char *base[RL_MAX_INPUTS]; /* of the group's first output */
    int64_t count[RL_MAX_DIMS + 1];
    int64_t n; /* outputs */
} work;

static void begin(work *w, int64_t group) {
    const call *self = w->call;
    const od_space *kept = &self->kept;
    const int last = kept->ndim - 1, first = self->epi->n_outputs;
    const int64_t outer = group / self->blocks, at = group % self->blocks * self->group;
    w->n = od_at_most(self->group, kept->shape[last] - at);
    for (int i = 0; i < self->pro->n_inputs; i++)
        w->base[i] = od_address(&self->args->inputs[i]) + od_space_offset(kept, first + i, last, outer) +
                     at * kept_stride(self, i);
    for (int i = 0; i < self->pro->n_indices; i++) {
        const int k = first + self->pro->n_inputs + i;
        w->count[i] = od_space_offset(kept, k, last, outer) + at * kept->stride[k][last];
    }
    od_runner_init(&w->runner, self->pro, self->args->scalars);
}

/* Sets every operand to the tile at reduced coordinates (outer, row, col) of the output `which`. */
static void aim(work *w, int64_t which, int64_t outer, int64_t row, int64_t col) {
    const call *self = w->call;
    const od_space *red = &self->red, *kept = &self->kept;
    const int last = red->ndim - 1, klast = kept->ndim - 1;
    for (int i = 0; i < self->pro->n_inputs + self->pro->n_indices; i++) {
        const int64_t down = red->ndim > 1 ? red->stride[i][last - 1] : 0, across = red->stride[i][last];
        const int64_t aside = kept->stride[self->epi->n_outputs + i][klast];
        const int64_t offset =
            od_space_offset(red, i, red->ndim > 1 ? last - 1 : 0, outer) + row * down + col * across + which * aside;
        const int64_t rows = self->way == ROWS ? down : self->way == COLUMNS ? across : aside;
        const int64_t cols = self->way == COLUMNS ? aside : across;
        if (i < self->pro->n_inputs)
            w->runner.in[i] = (od_view){w->base[i] + offset, 0, rows, cols};
        else
            w->runner.index[i - self->pro->n_inputs] =
                (od_count){w->count[i - self->pro->n_inputs] + offset, 0, rows, cols};
    }
}

static void combine_whole_rows(work *w, combined *acc) {
    const call *self = w->call;
    const int64_t cols = self->red.count, rows = self->pro->tile / cols;
    for (int64_t at = 0; at < w->n; at += rows) {
        const int64_t count = od_at_most(rows, w->n - at);
        aim(w, at, 0, 0, 0);
        od_runner_tile(&w->runner, (od_box){1, count, cols}, 1);
        for (int k = 0; k < self->pro->n_outputs; k++) {
            const rl_reg reg = register_of(self, k);
            const od_combine_row_fn combine = self->pro->kernels->combine_row[self->args->combiner[k]][reg];
            const char *x = od_runner_result(&w->runner, k);
            const int64_t step = cols * od_register_bytes(reg);
            for (int64_t r = 0; r < count; r++)
                combine(&acc->value[k][at + r], &acc->position[k][at + r], x + r * step, cols, 0);
        }
    }
}

static void combine_in_memory(work *w, combined *acc, int64_t rows, int64_t first) {
    const call *self = w->call;
    for (int k = 0; k < self->pro->n_outputs; k++) {
        int i = 0;
        while (self->pro->inputs[i].value != self->pro->outputs[k].value)
            i++;
        const od_view *v = &w->runner.in[i];
        self->pro->kernels->combine_columns[self->args->combiner[k]][register_of(self, k)](
            acc->value[k], acc->position[k], v->base, rows, w->n, v->row_stride / self->pro->inputs[i].bytes, first);
    }
}

static void combine_tile(work *w, combined *acc, int64_t which, int64_t tile) {
    const call *self = w->call;
    const od_space *red = &self->red;
    const int64_t inner = red->shape[red->ndim - 1], before = red->ndim > 1 ? red->shape[red->ndim - 2] : 1;
    const int64_t j = tile % self->tiles_across * self->tile_cols;
    const int64_t i = tile / self->tiles_across % self->tiles_down * self->tile_rows;
    const int64_t outer = tile / self->tiles_across / self->tiles_down;
    const int64_t cols = od_at_most(self->tile_cols, inner - j), rows = od_at_most(self->tile_rows, before - i);
    const int64_t first = (outer * before + i) * inner + j;
    const int columns = self->way == COLUMNS;
    aim(w, which, outer, i, j);
    if (self->in_memory)
        combine_in_memory(w, acc, cols, first);
    else
        od_runner_tile(&w->runner, columns ? (od_box){1, cols, w->n} : (od_box){1, rows, cols}, 1);
    for (int k = 0; k < self->pro->n_outputs && !self->in_memory; k++) {
        const rl_reg reg = register_of(self, k);
        const int combiner = self->args->combiner[k];
        const void *x = od_runner_result(&w->runner, k);
        if (columns)
            self->pro->kernels->combine_columns[combiner][reg](acc->value[k], acc->position[k], x, cols, w->n, w->n,
                                                               first);
        else
            self->pro->kernels->combine_row[combiner][reg](&acc->value[k][which], &acc->position[k][which], x,
                                                           rows * cols, first);
    }
}

static void run_unit(void *context, int thread, int64_t unit) {
    const call *self = context;
    const int64_t group = unit / self->chunks, chunk = unit % self->chunks;
    const int64_t first = chunk * self->per_chunk, end = od_at_most(first + self->per_chunk, self->tiles);
    combined own, *acc = self->partials ? &self->partials[unit] : &own;
    work w;
    (void)thread;
    w.call = self;
    begin(&w, group);
    start(self, acc, w.n);
    if (self->red.count == 0) {
        /* nothing to combine */
    } else if (self->way == ROWS_WHOLE) {
        combine_whole_rows(&w, acc);
    } else if (self->way == COLUMNS) {
        for (int64_t t = first; t < end; t++)
            combine_tile(&w, acc, 0, t);
    } else {
        for (int64_t which = 0; which < w.n; which++)
            for (int64_t t = first; t < end; t++)
                combine_tile(&w, acc, which, t);
    }
    if (self->partials == NULL)
        finish_group(self, group, acc);
}

rl_status od_reduce(rl_backend_stream *stream, const rl_reduce_args *args) {
    call self = {.args = args, .pro = od_plan_of(args->prologue), .epi = od_plan_of(args->epilogue)};
    (void)stream;
    if (self.pro == NULL || self.epi == NULL)
        return RL_OUT_OF_MEMORY;
    make_spaces(&self);
    if (self.kept.count == 0)
        return RL_OK;
    if (self.red.count == 0) { /* one empty tile for each group */
        self.red.ndim = 1;
        self.red.shape[0] = 1;
    }
    cut(&self);
    const int64_t units = self.groups * self.chunks;
    if (self.chunks > 1) {
        self.partials = od_host->scratch((size_t)units * sizeof(combined));
        if (self.partials == NULL)
            return od_host->fail(RL_OUT_OF_MEMORY, "onednn: reduce: no scratch memory for %lld partial results",
                                 (long long)units);
    }
    const double cost = (double)self.kept.count * (double)self.red.count * self.pro->cost;
    od_run(od_threads(units, cost), units, run_unit, &self);
    for (int64_t g = 0; g < self.groups && self.partials != NULL; g++) {
        combined *acc = &self.partials[g * self.chunks];
        const int64_t at = g % self.blocks * self.group, n = self.kept.shape[self.kept.ndim - 1] - at;
        for (int64_t c = 1; c < self.chunks; c++)
            merge(&self, acc, acc + c, od_at_most(self.group, n));
        finish_group(&self, g, acc);
    }
    return RL_OK;
}
