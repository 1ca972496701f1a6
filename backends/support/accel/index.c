/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Primitives 4 and 5, gather and scatter, and the fused row embedding_backward. What combines elements that go to one
 * place does so in a fixed order: few elements, or many columns, by an item for each column; else their positions are
 * sorted by where they go, and one item combines what goes to one place.
 */
#include "cells.h"
#include "device_text.h"
#include "move.h"
#include "radix.h"

static rl_status check_dtypes(rl_accel *self, const char *row, uint32_t dtype, uint32_t index_dtype) {
    if (index_dtype != RL_I32 && index_dtype != RL_I64)
        return self->host->fail(RL_UNSUPPORTED, "%s: indices of dtype %u, expected int32 or int64", row,
                                (unsigned)index_dtype);
    if (dtype == RL_DTYPE_NONE || dtype >= RL_DTYPE_COUNT)
        return self->host->fail(RL_UNSUPPORTED, "%s: dtype %u is not known to this backend", row, (unsigned)dtype);
    return RL_OK;
}

/* The move that args of gather or scatter ask for. */
#define MOVE_OF(args, name, how)                                                                                       \
    {                                                                                                                  \
        .row = name, .kind = how, .dtype = (args)->dtype, .index_dtype = (args)->index_dtype, .dim = (args)->dim,      \
        .dim_size = (args)->dim_size, .ndim = (args)->ndim, .shape = (args)->shape, .in = (args)->in,                  \
        .index = (args)->index, .out = (args)->out                                                                     \
    }

rl_status rl_accel_gather(rl_backend_stream *stream, const rl_gather_args *args) {
    rl_move move = MOVE_OF(args, "gather", RL_MOVE_GATHER);
    rl_status status = check_dtypes(rl_accel_of(stream), "gather", args->dtype, args->index_dtype);
    if (status || rl_accel_product(args->ndim, args->shape) == 0)
        return status;
    if (rl_accel_same_place(&args->out, &args->in)) {
        int64_t shape[RL_MAX_DIMS];
        for (int64_t d = 0; d < args->ndim; d++)
            shape[d] = d == args->dim ? args->dim_size : args->shape[d];
        status = rl_accel_set_aside(stream, "gather", 1, args->dtype, args->ndim, shape, &move.in);
    }
    if (!status && rl_accel_same_place(&args->out, &args->index))
        status = rl_accel_set_aside(stream, "gather", 2, args->index_dtype, args->ndim, args->shape, &move.index);
    return status ? status : rl_accel_move(stream, &move);
}

/* Combining in columns ----------------------------------------------------------------------------------------- */

static const rl_accel_family scatter_family = {
    .name = "scatter", .text = rl_device_scatter, .words = "DTYPE INDEX_DTYPE MODE DIMS"};
enum { WORD_DTYPE, WORD_INDEX_DTYPE, WORD_MODE, WORD_DIMS };

static rl_status combine_columns(rl_backend_stream *stream, const rl_scatter_args *args) {
    rl_accel *self = rl_accel_of(stream);
    const rl_operand *operands[] = {&args->in, &args->index, &args->out};
    rl_lines_params p = {.length = args->shape[args->dim], .dim_size = args->dim_size};
    rl_layout lines, along;
    rl_layout_init(&lines, args->ndim, args->shape);
    for (int k = 0; k < 3; k++)
        rl_layout_add(&lines, operands[k]->stride, 0);
    rl_layout_split(&lines, 1u << args->dim, &along);
    rl_layout_merge(&lines);
    int dims = rl_accel_round_dims(lines.dims, 1);
    for (int k = 0; k < 3; k++) {
        rl_accel_pad(&lines, lines.dims, dims, k, p.shape, p.stride[k]);
        p.step[k] = along.stride[k][0];
        p.offset[k] = rl_accel_offset(operands[k], k == 1 ? args->index_dtype : args->dtype);
    }
    p.lines = rl_layout_total(&lines);
    rl_accel_spec spec = {.family = &scatter_family};
    spec.word[WORD_DTYPE] = (int32_t)args->dtype;
    spec.word[WORD_INDEX_DTYPE] = (int32_t)args->index_dtype;
    spec.word[WORD_MODE] = (int32_t)args->mode;
    spec.word[WORD_DIMS] = dims;
    rl_accel_arg list[] = {rl_accel_buffer_of(stream, &args->in),
                           rl_accel_buffer_of(stream, &args->index),
                           rl_accel_buffer_of(stream, &args->out),
                           {.buffer = self->driver->flags(stream, "scatter")},
                           RL_ACCEL_VALUE(p)};
    return rl_accel_run(stream, "scatter", &spec, list, 5,
                        rl_accel_groups(self, (uint64_t)p.lines, 16 * (uint64_t)p.length));
}

/* Combining in order ------------------------------------------------------------------------------------------- */

static const rl_accel_family keys_family = {
    .name = "keys", .text = rl_device_keys, .words = "INDEX_DTYPE KEY_DTYPE FLAG DIMS"};
enum { WORD_KEYS_INDEX_DTYPE, WORD_KEYS_KEY_DTYPE, WORD_KEYS_FLAG, WORD_KEYS_DIMS };
static const rl_accel_family accumulate_family = {
    .name = "accumulate", .text = rl_device_accumulate, .words = "DTYPE KEY_DTYPE AT_DTYPE MODE DIMS OUTER UNIT SOLE"};
enum {
    WORD_SUM_DTYPE,
    WORD_SUM_KEY_DTYPE,
    WORD_SUM_AT_DTYPE,
    WORD_SUM_MODE,
    WORD_SUM_DIMS,
    WORD_SUM_OUTER,
    WORD_SUM_UNIT,
    WORD_SUM_SOLE
};
enum { OPERAND_INDEX, OPERAND_IN, OPERAND_OUT, OPERAND_KEY };

/* A scatter whose positions, the dimensions along which the index changes, are to be sorted; `rest` are the others. */
typedef struct ordered {
    const char *row;
    int flag, mode;
    const rl_scatter_args *args;
    int64_t skip, none; /* an index that gives nothing, the key of positions that go nowhere */
    rl_layout positions, rest;
    rl_radix radix;
} ordered;

static void split_positions(ordered *self) {
    const rl_scatter_args *args = self->args;
    uint32_t along = 1u << args->dim, same = 0;
    int64_t key_stride[RL_MAX_DIMS] = {0};
    self->none = args->dim_size;
    for (int d = (int)args->ndim - 1; d >= 0; d--) {
        if (d == args->dim)
            continue;
        if (args->index.stride[d] == 0) {
            same |= 1u << d;
        } else {
            key_stride[d] = self->none;
            self->none *= args->shape[d];
        }
    }
    rl_layout_init(&self->positions, args->ndim, args->shape);
    rl_layout_add(&self->positions, args->index.stride, 0);
    rl_layout_add(&self->positions, args->in.stride, 0);
    rl_layout_add(&self->positions, args->out.stride, along);
    rl_layout_add(&self->positions, key_stride, 0);
    rl_layout_split(&self->positions, same, &self->rest);
    rl_layout_merge(&self->positions);
    rl_layout_merge(&self->rest);
}

static rl_status write_keys(rl_backend_stream *stream, const ordered *self) {
    rl_accel *accel = rl_accel_of(stream);
    const rl_layout *positions = &self->positions;
    int dims = rl_accel_round_dims(positions->dims, 1);
    rl_keys_params p = {.total = self->radix.length,
                        .dim_size = self->args->dim_size,
                        .skip = self->skip,
                        .none = self->none,
                        .keys_at = self->radix.keys_at,
                        .index_offset = rl_accel_offset(&self->args->index, self->args->index_dtype)};
    rl_accel_pad(positions, positions->dims, dims, OPERAND_INDEX, p.shape, p.index_stride);
    rl_accel_pad(positions, positions->dims, dims, OPERAND_KEY, NULL, p.key_stride);
    rl_accel_spec spec = {.family = &keys_family};
    spec.word[WORD_KEYS_INDEX_DTYPE] = (int32_t)self->args->index_dtype;
    spec.word[WORD_KEYS_KEY_DTYPE] = rl_radix_dtype(self->radix.wide_key);
    spec.word[WORD_KEYS_FLAG] = self->flag;
    spec.word[WORD_KEYS_DIMS] = dims;
    rl_accel_arg args[] = {rl_accel_buffer_of(stream, &self->args->index),
                           {.buffer = self->radix.buffer},
                           {.buffer = accel->driver->flags(stream, self->row)},
                           RL_ACCEL_VALUE(p)};
    return rl_accel_run(stream, self->row, &spec, args, 4, rl_accel_groups(accel, (uint64_t)p.total, 8));
}

static void fill_accumulate(const ordered *self, int dims, int outer, rl_accumulate_params *p) {
    const rl_scatter_args *args = self->args;
    const rl_layout *positions = &self->positions, *rest = &self->rest;
    int last = rest->dims - 1;
    *p = (rl_accumulate_params){.count = self->radix.length,
                                .none = self->none,
                                .inner = last < 0 ? 1 : rest->shape[last],
                                .keys_at = self->radix.keys_at,
                                .order_at = self->radix.order_at,
                                .in_offset = rl_accel_offset(&args->in, args->dtype),
                                .out_offset = rl_accel_offset(&args->out, args->dtype),
                                .dim_stride = args->out.stride[args->dim]};
    for (int k = 0; k < 3; k++)
        rl_accel_pad(positions, positions->dims, dims, OPERAND_IN + k, p->shape, p->stride[k]);
    for (int k = 0; k < 2; k++) {
        rl_accel_pad(rest, last < 0 ? 0 : last, outer, OPERAND_IN + k, p->outer_shape, p->outer_stride[k]);
        p->inner_stride[k] = last < 0 ? 0 : rest->stride[OPERAND_IN + k][last];
    }
    p->rows = rl_accel_product(outer, p->outer_shape);
}

static rl_status accumulate(rl_backend_stream *stream, ordered *self) {
    rl_accel *accel = rl_accel_of(stream);
    const rl_scatter_args *args = self->args;
    rl_accumulate_params p;
    rl_layout_lengthen(&self->rest, (int64_t)accel->traits.width);
    int dims = rl_accel_round_dims(self->positions.dims, 1);
    int outer = rl_accel_round_dims(self->rest.dims > 0 ? self->rest.dims - 1 : 0, 0);
    fill_accumulate(self, dims, outer, &p);
    rl_accel_spec spec = {.family = &accumulate_family};
    spec.word[WORD_SUM_DTYPE] = (int32_t)args->dtype;
    spec.word[WORD_SUM_KEY_DTYPE] = rl_radix_dtype(self->radix.wide_key);
    spec.word[WORD_SUM_AT_DTYPE] = rl_radix_dtype(self->radix.wide_order);
    spec.word[WORD_SUM_MODE] = self->mode;
    spec.word[WORD_SUM_DIMS] = dims;
    spec.word[WORD_SUM_OUTER] = outer;
    spec.word[WORD_SUM_UNIT] = p.inner_stride[0] == 1 && p.inner_stride[1] == 1;
    spec.word[WORD_SUM_SOLE] = self->rest.dims == 0;
    int64_t width = self->rest.dims ? (int64_t)accel->traits.width : 1;
    int64_t items = p.count * p.rows * ((p.inner + width - 1) / width);
    rl_accel_arg memory = {.buffer = self->radix.buffer};
    rl_accel_arg list[] = {rl_accel_buffer_of(stream, &args->in), memory, memory,
                           rl_accel_buffer_of(stream, &args->out), RL_ACCEL_VALUE(p)};
    return rl_accel_run(stream, self->row, &spec, list, 5,
                        rl_accel_groups(accel, (uint64_t)items, (uint64_t)(8 + width)));
}

static int bits_of(int64_t number) {
    int bits = 1;
    while (number >> bits)
        bits++;
    return bits;
}

static rl_status combine_in_order(rl_backend_stream *stream, ordered *self) {
    split_positions(self);
    self->radix = (rl_radix){.row = self->row,
                             .lines = 1,
                             .length = rl_layout_total(&self->positions),
                             .bits = bits_of(self->none),
                             .wide_key = self->none >= INT32_MAX};
    rl_status status = rl_radix_init(stream, &self->radix);
    if (!status)
        status = write_keys(stream, self);
    if (!status)
        status = rl_radix_sort(stream, &self->radix);
    return status ? status : accumulate(stream, self);
}

/* Scatter ------------------------------------------------------------------------------------------------------ */

/* Whether sorting is not worth it: it costs about as much as moving each element a few times, and what it saves is that
 * few items walk along long columns. */
static int by_columns(const rl_accel *self, const rl_scatter_args *args) {
    int64_t total = rl_accel_product(args->ndim, args->shape), length = args->shape[args->dim], same = 1;
    int64_t columns = total / length, units = rl_accel_usual_units(&self->traits);
    for (int64_t d = 0; d < args->ndim; d++)
        if (d != args->dim && args->index.stride[d] == 0)
            same *= args->shape[d];
    if (self->traits.group > 1)
        return length <= 32 || (total <= 16384 && length <= 256) || (same == 1 && columns >= units * 256);
    return total <= 4096 || (same == 1 && (total <= 65536 || columns * 4 >= units));
}

static rl_status move_scatter(rl_backend_stream *stream, const rl_scatter_args *args) {
    rl_move move = MOVE_OF(args, "scatter", RL_MOVE_SCATTER);
    return rl_accel_move(stream, &move);
}

rl_status rl_accel_scatter(rl_backend_stream *stream, const rl_scatter_args *args) {
    rl_accel *self = rl_accel_of(stream);
    rl_scatter_args own = *args;
    rl_status status = check_dtypes(self, "scatter", args->dtype, args->index_dtype);
    if (!status && args->mode > RL_SCATTER_MIN)
        status =
            self->host->fail(RL_UNSUPPORTED, "scatter: mode %u is not known to this backend", (unsigned)args->mode);
    if (status || rl_accel_product(args->ndim, args->shape) == 0)
        return status;
    if (rl_accel_same_place(&args->out, &args->in))
        status = rl_accel_set_aside(stream, "scatter", 1, args->dtype, args->ndim, args->shape, &own.in);
    if (!status && rl_accel_same_place(&args->out, &args->index))
        status = rl_accel_set_aside(stream, "scatter", 2, args->index_dtype, args->ndim, args->shape, &own.index);
    if (status)
        return status;
    if (args->mode == RL_SCATTER_SET)
        return move_scatter(stream, &own);
    if (by_columns(self, &own))
        return combine_columns(stream, &own);
    ordered in_order = {.row = "scatter", .flag = RL_FLAG_SCATTER, .mode = (int)args->mode, .args = &own, .skip = -1};
    return combine_in_order(stream, &in_order);
}

/* Embeddings --------------------------------------------------------------------------------------------------- */

/* As a scatter: index is (count, width), the same along a row. */
static rl_scatter_args scatter_of(const rl_embedding_backward_args *args) {
    rl_scatter_args as = {.dtype = args->dtype,
                          .index_dtype = args->index_dtype,
                          .ndim = 2,
                          .shape = {args->count, args->width},
                          .dim_size = args->rows,
                          .in = args->grad_out,
                          .index = args->index,
                          .out = args->out};
    as.index.stride[1] = 0;
    return as;
}

static rl_status run_embedding(rl_backend_stream *stream, const void *what) {
    const rl_embedding_backward_args *args = what;
    const rl_scatter_args as = scatter_of(args);
    const int64_t table[] = {args->rows, args->width};
    rl_move zero = {.row = "embedding_backward",
                    .kind = RL_MOVE_ZERO,
                    .dtype = args->dtype,
                    .ndim = 2,
                    .shape = table,
                    .out = args->out};
    ordered in_order = {.row = zero.row, .flag = RL_FLAG_EMBEDDING_BACKWARD, .args = &as, .skip = args->padding_index};
    rl_status status = rl_accel_move(stream, &zero);
    if (status || args->count == 0 || args->width == 0)
        return status;
    return combine_in_order(stream, &in_order);
}

static int supports_embedding(rl_backend_device *device, const void *what, const char **out_reason) {
    const rl_embedding_backward_args *args = what;
    if (!rl_accel_takes_float(device, args->dtype, out_reason))
        return 0;
    *out_reason = "indices are int32 or int64";
    return args->index_dtype == RL_I32 || args->index_dtype == RL_I64;
}

const rl_fused_cell rl_cell_embedding_backward = {
    .row = RL_ROW_EMBEDDING_BACKWARD, .supports = supports_embedding, .run = run_embedding};
