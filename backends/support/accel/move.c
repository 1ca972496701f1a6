/* SPDX-License-Identifier: Apache-2.0 */
#include "move.h"

#include "device_text.h"

static const rl_accel_family family = {
    .name = "move", .text = rl_device_move, .words = "DTYPE INDEX_DTYPE MOVE OUTER ROWS UNIT NARROW"};
enum { WORD_DTYPE, WORD_INDEX_DTYPE, WORD_MOVE, WORD_OUTER, WORD_ROWS, WORD_UNIT, WORD_NARROW };

int rl_accel_same_place(const rl_operand *out, const rl_operand *in) {
    return out->buffer == in->buffer && out->offset == in->offset;
}

int64_t rl_accel_product(int64_t ndim, const int64_t *shape) {
    int64_t product = 1;
    for (int64_t d = 0; d < ndim; d++)
        product *= shape[d];
    return product;
}

int32_t rl_accel_bits_dtype(unsigned bytes) {
    return bytes == 1 ? RL_I8 : bytes == 2 ? RL_I16 : bytes == 4 ? RL_I32 : RL_I64;
}

int rl_accel_round_dims(int dims, int least) {
    static const int8_t up[RL_MAX_DIMS + 1] = {0, 1, 2, 3, 6, 6, 6, 12, 12, 12, 12, 12, 12};
    return up[dims < least ? least : dims];
}

void rl_accel_pad(const rl_layout *layout, int from_dims, int dims, int k, int64_t *out_shape, int64_t *out_stride) {
    int skip = dims - from_dims;
    for (int d = 0; d < dims; d++) {
        if (out_shape)
            out_shape[d] = d < skip ? 1 : layout->shape[d - skip];
        out_stride[d] = d < skip ? 0 : layout->stride[k][d - skip];
    }
}

static void lay_out(const rl_accel *self, const rl_move *move, rl_layout *out) {
    static const int64_t none[RL_MAX_DIMS];
    int indexed = move->kind == RL_MOVE_GATHER || move->kind == RL_MOVE_SCATTER;
    uint32_t along = indexed ? 1u << move->dim : 0;
    rl_layout_init(out, move->ndim, move->shape);
    rl_layout_add(out, move->kind == RL_MOVE_ZERO ? none : move->in.stride, move->kind == RL_MOVE_GATHER ? along : 0);
    rl_layout_add(out, indexed ? move->index.stride : none, 0);
    rl_layout_add(out, move->out.stride, move->kind == RL_MOVE_SCATTER ? along : 0);
    rl_layout_merge(out);
    if (self->traits.group == 1)
        rl_layout_lengthen(out, (int64_t)self->traits.width);
}

/* Halves what counts elements of `in` and `out`, where all of it is even: then pairs are moved as one. */
static int pair(rl_move_params *p, int outer) {
    int64_t odd = p->inner | p->offset[0] | p->offset[2] | p->dim_stride;
    for (int d = 0; d < outer; d++)
        odd |= p->stride[0][d] | p->stride[2][d];
    if (odd & 1)
        return 0;
    p->inner /= 2, p->offset[0] /= 2, p->offset[2] /= 2, p->dim_stride /= 2;
    for (int d = 0; d < outer; d++)
        p->stride[0][d] /= 2, p->stride[2][d] /= 2;
    return 1;
}

static void fill_params(const rl_move *move, const rl_layout *layout, int outer, rl_move_params *out) {
    int dims = layout->dims;
    *out = (rl_move_params){.rows = 1, .inner = dims ? layout->shape[dims - 1] : 1, .dim_size = move->dim_size};
    for (int k = 0; k < 3; k++) {
        rl_accel_pad(layout, dims ? dims - 1 : 0, outer, k, out->shape, out->stride[k]);
        out->inner_stride[k] = dims ? layout->stride[k][dims - 1] : k != 1;
    }
    out->rows = rl_accel_product(outer, out->shape);
    out->offset[0] = rl_accel_offset(&move->in, move->dtype);
    out->offset[1] = rl_accel_offset(&move->index, move->index_dtype);
    out->offset[2] = rl_accel_offset(&move->out, move->dtype);
    if (move->kind == RL_MOVE_GATHER)
        out->dim_stride = move->in.stride[move->dim];
    else if (move->kind == RL_MOVE_SCATTER)
        out->dim_stride = move->out.stride[move->dim];
}

/* Words and parameters; gives the number of items. */
static int64_t describe(const rl_accel *self, const rl_move *move, rl_accel_spec *spec, rl_move_params *p) {
    int indexed = move->kind == RL_MOVE_GATHER || move->kind == RL_MOVE_SCATTER, zero = move->kind == RL_MOVE_ZERO;
    unsigned bytes = rl_accel_dtype_bytes(move->dtype);
    rl_layout layout;
    lay_out(self, move, &layout);
    int outer = rl_accel_round_dims(layout.dims ? layout.dims - 1 : 0, 0);
    fill_params(move, &layout, outer, p);
    int rows = p->inner_stride[1] == 0, unit = rows && p->inner_stride[2] == 1 && (zero || p->inner_stride[0] == 1);
    while (unit && bytes < 8 && pair(p, outer))
        bytes *= 2;
    *spec = (rl_accel_spec){.family = &family};
    spec->word[WORD_DTYPE] = rl_accel_bits_dtype(bytes);
    spec->word[WORD_INDEX_DTYPE] = indexed ? (int32_t)move->index_dtype : RL_I32;
    spec->word[WORD_MOVE] = (int32_t)move->kind;
    spec->word[WORD_OUTER] = outer;
    spec->word[WORD_ROWS] = rows;
    spec->word[WORD_UNIT] = unit;
    spec->word[WORD_NARROW] = rl_layout_narrow(&layout);
    int64_t step = rows ? (int64_t)self->traits.width : 1;
    return p->rows * ((p->inner + step - 1) / step);
}

rl_status rl_accel_move(rl_backend_stream *stream, const rl_move *move) {
    rl_accel *self = rl_accel_of(stream);
    int indexed = move->kind == RL_MOVE_GATHER || move->kind == RL_MOVE_SCATTER;
    rl_accel_spec spec;
    rl_move_params p;
    if (rl_accel_product(move->ndim, move->shape) == 0)
        return RL_OK;
    uint64_t items = (uint64_t)describe(self, move, &spec, &p);
    rl_accel_arg args[] = {rl_accel_buffer_of(stream, &move->in),
                           rl_accel_buffer_of(stream, &move->index),
                           rl_accel_buffer_of(stream, &move->out),
                           {.buffer = self->driver->flags(stream, indexed ? move->row : NULL)},
                           RL_ACCEL_VALUE(p)};
    return rl_accel_run(stream, move->row, &spec, args, 5, rl_accel_groups(self, items, 16));
}

rl_status rl_accel_set_aside(rl_backend_stream *stream, const char *row, unsigned slot, uint32_t dtype, int64_t ndim,
                             const int64_t *shape, rl_operand *operand) {
    rl_move move = {.row = row, .kind = RL_MOVE_COPY, .dtype = dtype, .ndim = ndim, .shape = shape, .in = *operand};
    int64_t next = 1;
    for (int64_t d = ndim - 1; d >= 0; d--) {
        move.out.stride[d] = next;
        next *= shape[d];
    }
    rl_status status = rl_accel_of(stream)->driver->scratch(stream, slot, (uint64_t)next * rl_accel_dtype_bytes(dtype),
                                                            &move.out.buffer);
    if (!status)
        status = rl_accel_move(stream, &move);
    *operand = move.out;
    return status;
}
