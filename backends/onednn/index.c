/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Primitives 4 and 5: gather and scatter. Rows that share an index are copied or added as rows. scatter is cut along
 * another dimension than its own, so that no two threads meet in one element, and the order in each is the row-major
 * one: the same bits every time. What is rare goes to the plain kernels.
 */
#include <stdatomic.h>
#include <string.h>

#include "slices.h"
#include "space.h"

static inline int64_t index_at(const char *at, int wide) {
    return wide ? *(const int64_t *)(const void *)at : *(const int32_t *)(const void *)at;
}

/* Gather --------------------------------------------------------------------------------------------------------- */

typedef struct gather {
    const rl_gather_args *args;
    od_space space; /* out, index, in without its stride along dim */
    char *base[3];
    int64_t bytes, step; /* of an element; along dim of in */
    int64_t rows, per_unit;
    _Atomic(int) failed;
} gather;

static inline int is_good(gather *self, int64_t index) {
    if (index >= 0 && index < self->args->dim_size)
        return 1;
    atomic_store(&self->failed, 1);
    return 0;
}

#define GATHER_ROW(T)                                                                                                  \
    for (int64_t i = 0; i < n; i++, out += so, at += si, in += sn) {                                                   \
        const int64_t from = index_at(at, wide);                                                                       \
        if (is_good(self, from))                                                                                       \
            *(T *)(void *)out = *(const T *)(const void *)(in + from * self->step);                                    \
    }                                                                                                                  \
    break;

static void gather_row(gather *self, int64_t row) {
    const od_space *s = &self->space;
    const int last = s->ndim - 1, wide = self->args->index_dtype == RL_I64;
    const int64_t n = s->shape[last], so = s->stride[0][last], si = s->stride[1][last], sn = s->stride[2][last];
    char *out = self->base[0] + od_space_offset(s, 0, last, row);
    const char *at = self->base[1] + od_space_offset(s, 1, last, row);
    const char *in = self->base[2] + od_space_offset(s, 2, last, row);
    if (si == 0 && so == self->bytes && sn == self->bytes) {
        const int64_t from = index_at(at, wide);
        if (is_good(self, from))
            memcpy(out, in + from * self->step, (size_t)(n * self->bytes));
        return;
    }
    switch (self->bytes) {
    case 1:
        GATHER_ROW(uint8_t)
    case 2:
        GATHER_ROW(uint16_t)
    case 4:
        GATHER_ROW(uint32_t)
    default:
        GATHER_ROW(uint64_t)
    }
}

static void gather_unit(void *context, int thread, int64_t unit) {
    gather *self = context;
    (void)thread;
    const int64_t end = od_at_most((unit + 1) * self->per_unit, self->rows);
    for (int64_t row = unit * self->per_unit; row < end; row++)
        gather_row(self, row);
}

static int same_place(const rl_operand *a, const rl_operand *b) {
    return a->buffer == b->buffer && a->offset == b->offset;
}

rl_status od_gather(rl_backend_stream *stream, const rl_gather_args *args) {
    (void)stream;
    if (same_place(&args->out, &args->in) || same_place(&args->out, &args->index))
        return rl_kernel_gather(od_host, args);
    gather self = {.args = args, .bytes = od_dtype_bytes((rl_dtype)args->dtype)};
    int64_t still[RL_MAX_DIMS];
    memcpy(still, args->in.stride, sizeof still);
    self.step = still[args->dim] * self.bytes;
    still[args->dim] = 0;
    od_space_init(&self.space, args->ndim, args->shape, ~0u);
    if (self.space.count == 0)
        return RL_OK;
    self.base[od_space_add(&self.space, args->out.stride, self.bytes)] = od_address(&args->out);
    self.base[od_space_add(&self.space, args->index.stride, args->index_dtype == RL_I64 ? 8 : 4)] =
        od_address(&args->index);
    self.base[od_space_add(&self.space, still, self.bytes)] = od_address(&args->in);
    od_space_finish(&self.space, 1);
    if (self.space.ndim == 1) { /* one long row: cut it, so that threads find something to share */
        od_space *s = &self.space;
        const int64_t piece = 4096;
        if (s->shape[0] >= 2 * piece && s->shape[0] % piece == 0) {
            s->shape[1] = piece;
            s->shape[0] /= piece;
            for (int i = 0; i < 3; i++) {
                s->stride[i][1] = s->stride[i][0];
                s->stride[i][0] *= piece;
            }
            s->ndim = 2;
        }
    }
    const int64_t row = self.space.shape[self.space.ndim - 1];
    self.rows = self.space.count / row;
    self.per_unit = row < 4096 ? 4096 / row : 1;
    const int64_t units = (self.rows + self.per_unit - 1) / self.per_unit;
    od_run(od_threads(units, (double)self.space.count), units, gather_unit, &self);
    if (!self.failed)
        return RL_OK;
    return rl_kernel_fail_index(od_host, "gather", &args->index, args->index_dtype, args->ndim, args->shape,
                                args->dim_size);
}

/* Scatter -------------------------------------------------------------------------------------------------------- */

/* Rows of the last dimension in row-major order; SET moves elements of any dtype, ADD is for f32. */
static void scatter_row(const rl_scatter_args *args, const char *in, const char *at, char *out, int64_t n, int *bad) {
    const int64_t last = args->ndim - 1, bytes = od_dtype_bytes((rl_dtype)args->dtype);
    const int wide = args->index_dtype == RL_I64, add = args->mode == RL_SCATTER_ADD;
    const int64_t step = args->out.stride[args->dim] * bytes, si = args->index.stride[last] * (wide ? 8 : 4);
    const int64_t sn = args->in.stride[last] * bytes, so = args->dim == last ? 0 : args->out.stride[last] * bytes;
    if (si == 0 && args->dim != last && sn == bytes && so == bytes) {
        const int64_t to = index_at(at, wide);
        if (to < 0 || to >= args->dim_size)
            *bad = 1;
        else if (add)
            od_chosen->step[RL_INSN_ADD][RL_REG_F32](out + to * step, out + to * step, in, NULL, n);
        else
            memmove(out + to * step, in, (size_t)(n * bytes));
        return;
    }
    for (int64_t i = 0; i < n; i++, in += sn, at += si, out += so) {
        const int64_t to = index_at(at, wide);
        if (to < 0 || to >= args->dim_size)
            *bad = 1;
        else if (add)
            *(float *)(void *)(out + to * step) += *(const float *)(const void *)in;
        else
            memcpy(out + to * step, in, (size_t)bytes);
    }
}

static rl_status scatter_slice(const rl_host *host, const void *what) {
    const rl_scatter_args *args = what;
    const int64_t bytes = od_dtype_bytes((rl_dtype)args->dtype), last = args->ndim - 1;
    int64_t rows = 1, still[RL_MAX_DIMS];
    int bad = 0;
    memcpy(still, args->out.stride, sizeof still);
    if (args->ndim == 0)
        return rl_kernel_scatter(host, args);
    still[args->dim] = 0;
    for (int d = 0; d < last; d++)
        rows *= args->shape[d];
    for (int64_t row = 0; row < rows; row++) {
        int64_t in = 0, at = 0, out = 0, rest = row;
        for (int64_t d = last - 1; d >= 0; d--) {
            const int64_t x = rest % args->shape[d];
            rest /= args->shape[d];
            in += x * args->in.stride[d];
            at += x * args->index.stride[d];
            out += x * still[d];
        }
        scatter_row(args, od_address(&args->in) + in * bytes,
                    od_address(&args->index) + at * (args->index_dtype == RL_I64 ? 8 : 4),
                    od_address(&args->out) + out * bytes, args->shape[last], &bad);
    }
    if (!bad)
        return RL_OK;
    return host->fail(RL_INDEX_OUT_OF_RANGE, "scatter: index out of range");
}

static rl_status plain_scatter(const rl_host *host, const void *args) {
    return rl_kernel_scatter(host, args);
}

rl_status od_scatter(rl_backend_stream *stream, const rl_scatter_args *args) {
    static const od_slicing how = OD_SLICING(rl_scatter_args, in, index, out);
    const int64_t bytes = od_dtype_bytes((rl_dtype)args->dtype);
    const int64_t each[OD_SLICE_OPERANDS] = {bytes, args->index_dtype == RL_I64 ? 8 : 4, bytes};
    const int quick =
        args->dim_size > 0 && (args->mode == RL_SCATTER_SET || (args->mode == RL_SCATTER_ADD && args->dtype == RL_F32));
    (void)stream;
    const rl_status status = od_slice(&how, args, each, quick ? 1.0 : 20.0, quick ? scatter_slice : plain_scatter);
    return status != RL_INDEX_OUT_OF_RANGE ? status
                                           : rl_kernel_fail_index(od_host, "scatter", &args->index, args->index_dtype,
                                                                  args->ndim, args->shape, args->dim_size);
}
