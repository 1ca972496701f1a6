/* SPDX-License-Identifier: Apache-2.0 */
/* Elements picked by indices. An index out of range is an error, at the latest when the device is synchronized. */
#include <string.h>

#include "ops/op_index.h"

/* gather ---------------------------------------------------------------------------------------------------------- */

rl_status rl_check_index_shape(const rl_call *call, int index_arg, int other_arg, int64_t dim) {
    const rl_schema *schema = &rl_schema_table[call->opcode];
    const rl_tensor *index = rl_arg_tensor(call, index_arg), *other = rl_arg_tensor(call, other_arg);
    char index_text[RL_SHAPE_TEXT], other_text[RL_SHAPE_TEXT];
    if (index->numel == 0)
        return RL_OK;
    int64_t index_ndim = index->ndim > 0 ? index->ndim : 1, other_ndim = other->ndim > 0 ? other->ndim : 1;
    bool fits = index_ndim == other_ndim;
    for (int64_t d = 0; fits && d < index_ndim; d++) /* without dimensions: one element */
        fits = d == dim || (index->ndim ? index->shape[d] : 1) <= (other->ndim ? other->shape[d] : 1);
    return fits
               ? RL_OK
               : rl_call_fail(call, RL_SHAPE_MISMATCH, "%s %s must have as many dimensions as %s %s and be no larger%s",
                              schema->params[index_arg].name, rl_shape_text(index->ndim, index->shape, index_text),
                              schema->params[other_arg].name, rl_shape_text(other->ndim, other->shape, other_text),
                              dim >= 0 ? ", but along dim" : "");
}

rl_tensor *rl_index_along(const rl_tensor *index, const rl_tensor *like, int64_t dim) {
    int64_t stride[RL_MAX_DIMS] = {0}, shape[RL_MAX_DIMS];
    memcpy(shape, like->shape, (size_t)like->ndim * sizeof *shape);
    shape[dim] = index->numel;
    stride[dim] = index->ndim > 0 ? index->stride[0] : 1;
    return rl_over(index, like->ndim, shape, stride, index->offset);
}

/* In the shape of a row-major src, the part is a window at its beginning. */
rl_tensor *rl_vjp_leading(rl_vjp *v, int arg, rl_tensor *part) {
    const rl_meta *src = rl_vjp_meta(v, arg);
    bool whole = part == NULL || rl_shape_numel(src->ndim, src->shape) == part->numel;
    if (whole)
        return part ? rl_reshape(part, rl_vjp_shape(v, arg)) : NULL;
    int64_t stride[RL_MAX_DIMS];
    rl_contiguous_strides(src->ndim, src->shape, stride);
    return rl_unstride(part, rl_vjp_shape(v, arg), ((rl_ints){stride, part->ndim}), 0);
}

static rl_tensor *wide_index(rl_tensor *index) {
    return rl_tensor_dtype(index) == RL_U8 ? rl_cast(index, RL_I64) : index;
}

static rl_status gather_infer(rl_call *call) {
    const rl_tensor *self = rl_arg_tensor(call, 0), *index = rl_arg_tensor(call, 2);
    int64_t dim = rl_wrap_dim(rl_call_name(call), rl_arg_int(call, 1), self->ndim);
    if (dim < 0)
        return rl_error_status();
    rl_status status = rl_check_same_device(call);
    if (status == RL_OK && index->dtype != RL_U8) /* which PyTorch takes too */
        status = rl_check_index_dtype(call, 2);
    if (status == RL_OK)
        status = rl_check_index_shape(call, 2, 0, dim);
    rl_meta_set(&call->meta[0], (rl_dtype)self->dtype, self->storage->device, index->ndim, index->shape);
    return status;
}

static rl_status gather_lower(rl_call *call) {
    rl_tensor *self = rl_with_dims(rl_arg_tensor(call, 0)), *index = rl_with_dims(rl_arg_tensor(call, 2));
    rl_tensor *out = rl_with_dims(call->results[0]);
    if (index != NULL && index->dtype == RL_U8)
        index = rl_as_dtype(call, index, RL_I64);
    if (self == NULL || index == NULL || out == NULL)
        return rl_error_status();
    if (out->numel == 0)
        return RL_OK;
    return rl_row_gather("gather", self, rl_wrap_dim("gather", rl_arg_int(call, 1), self->ndim), index, out);
}

/* gx = 0 with g added at the places that were read */
VJP(gather, rl_scatter_add(rl_vjp_zeros(v, 0), rl_vjp_int(v, 1), wide_index(rl_vjp_input(v, 2)), G))

static const rl_sample gather_samples[] = {{"n[3,4], 1, i[3,2]<4"},
                                           {"n[3,4], 0, i[2,4]<3"},
                                           {"n[3,4], 0, i[5,2]<3"},
                                           {"n[], 0, i[]<1"},
                                           {"n[3], 0, i[]<3"},
                                           {"n[0,3], 1, i[0,2]<3"},
                                           {"n[3,4], 1, i[3,0]<4"},
                                           {"n[5,7]t, 0, i[2,7]<5"},
                                           {"n[33]s, 0, i[5]<33"},
                                           {"n[2,3,4], -1, i[2,3,5]<4"},
                                           {0}};
static const rl_bad gather_bad[] = {
    {"f[3,4], 1, f[3,4]", RL_DTYPE_MISMATCH, "index must be int64 or int32"},
    {"f[3,4], 2, i[3,4]<3", RL_INDEX_OUT_OF_RANGE, "dim 2 is out of range"},
    {"f[3,4], 1, i[4,4]<3", RL_SHAPE_MISMATCH, "index (4, 4) must have as many dimensions as self (3, 4)"},
    {"f[3,4], 1, i[4]<3", RL_SHAPE_MISMATCH, "as many dimensions"},
    {0}};

const rl_op_def rl_op_def_gather = {
    .schema = "gather(Tensor self, int dim, Tensor index) -> Tensor",
    .doc = "y[.., i, ..] = self[.., index[.., i, ..], ..] along dim",
    .flags = RL_OP_ROWS,
    .saves = RL_SAVE_IN(2),
    .infer = gather_infer,
    .lower = gather_lower,
    .vjp = gather_vjp,
    .samples = gather_samples,
    .bad = gather_bad,
};

/* Negative indices count from the end: along a dimension alone, as in PyTorch. */
static rl_tensor *count_from_end(rl_tensor *index, int64_t size) {
    return rl_where(rl_lt(index, 0), rl_add(index, size), index);
}

static rl_status take_along_dim_lower(rl_call *call) {
    rl_tensor *self = rl_arg_tensor(call, 0), *index = rl_arg_tensor(call, 1);
    rl_status status = rl_check_index_dtype(call, 1);
    if (status != RL_OK)
        return status;
    if (!rl_arg_given(call, 2)) {
        call->results[0] = rl_gather(rl_reshape(self, RL_DIMS(-1)), 0, rl_reshape(index, RL_DIMS(-1)));
        return rl_error_status();
    }
    int64_t dim = rl_wrap_dim(rl_call_name(call), rl_arg_int(call, 2), self->ndim), ndim;
    int64_t self_shape[RL_MAX_DIMS], index_shape[RL_MAX_DIMS], shape[RL_MAX_DIMS];
    if (dim < 0)
        return rl_error_status();
    if (self->ndim != index->ndim)
        return rl_call_fail(call, RL_SHAPE_MISMATCH, "self has %d dimensions and indices %d: they must have as many",
                            self->ndim, index->ndim);
    memcpy(self_shape, self->shape, sizeof self_shape);
    memcpy(index_shape, index->shape, sizeof index_shape);
    self_shape[dim] = index_shape[dim] = 1;
    if (rl_broadcast_shapes(rl_call_name(call), self->ndim, self_shape, index->ndim, index_shape, &ndim, shape) !=
        RL_OK)
        return rl_error_status();
    rl_ints size = {shape, ndim};
    shape[dim] = self->shape[dim];
    rl_tensor *from = rl_expand(self, size);
    shape[dim] = index->shape[dim];
    call->results[0] =
        rl_gather(from, dim, rl_expand(count_from_end(index, self->ndim > 0 ? self->shape[dim] : 1), size));
    return rl_error_status();
}

static const rl_sample take_along_dim_samples[] = {{"n[3,4], i[3,2]<4, 1"}, {"n[3,4], i[1,4]<3, 0"},
                                                   {"n[3,4], i[5]<12"},     {"n[5,7]t, i[2,1]<5, 0"},
                                                   {"n[0,3], i[0,2]<3, 1"}, {0}};
static const rl_bad take_along_dim_bad[] = {{"f[3,4], f[3,1], 1", RL_DTYPE_MISMATCH, "indices must be int64 or int32"},

                                            {"f[3,4], i[2]<3, 1", RL_SHAPE_MISMATCH, "as many"},
                                            {"f[3,4], i[2,2]<3, 1", RL_SHAPE_MISMATCH, "broadcast"},
                                            {0}};

const rl_op_def rl_op_def_take_along_dim = {
    .schema = "take_along_dim(Tensor self, Tensor indices, int? dim=None) -> Tensor",
    .doc =
        "y[.., i, ..] = self[.., indices[.., i, ..], ..] along dim, the others broadcast; of self flattened for None",
    .flags = RL_OP_COMPOSITE,
    .lower = take_along_dim_lower,
    .samples = take_along_dim_samples,
    .bad = take_along_dim_bad,
};

/* index_select ------------------------------------------------------------------------------------------------------
 */

static rl_status index_select_infer(rl_call *call) {
    const rl_tensor *self = rl_arg_tensor(call, 0), *index = rl_arg_tensor(call, 2);
    int64_t dim = rl_wrap_dim(rl_call_name(call), rl_arg_int(call, 1), self->ndim);
    if (dim < 0)
        return rl_error_status();
    rl_status status = rl_check_same_device(call);
    if (status == RL_OK)
        status = rl_check_index_dtype(call, 2);
    if (status == RL_OK && index->ndim > 1)
        return rl_call_fail(call, RL_SHAPE_MISMATCH, "index has %d dimensions and must have at most 1", index->ndim);
    if (status == RL_OK && self->ndim == 0 && index->numel != 1)
        return rl_call_fail(call, RL_SHAPE_MISMATCH,
                            "index has %lld elements and must have 1, as self has no dimensions",
                            (long long)index->numel);
    rl_meta_set(&call->meta[0], (rl_dtype)self->dtype, self->storage->device, self->ndim, self->shape);
    if (self->ndim > 0)
        call->meta[0].shape[dim] = index->numel;
    return status;
}

/* Indices into a tensor without elements, which select nothing, must be in range all the same: they are tried on one of
 * the same size along dim and 1 besides. */
static rl_status check_unused_index(const rl_call *call, const rl_tensor *self, int64_t dim) {
    rl_tensor *index = rl_arg_tensor(call, 2);
    int64_t from[RL_MAX_DIMS], to[RL_MAX_DIMS], still[RL_MAX_DIMS] = {0};
    if (index->numel == 0)
        return RL_OK;
    for (int d = 0; d < self->ndim; d++)
        from[d] = to[d] = 1;
    from[dim] = self->shape[dim];
    to[dim] = index->numel;
    if (from[dim] == 0)
        return rl_call_fail(call, RL_INDEX_OUT_OF_RANGE, "no index is in range for size 0 of dimension %lld",
                            (long long)dim);
    rl_tensor *one = rl_call_temp(call, RL_U8, 0, NULL), *out = rl_call_temp(call, RL_U8, self->ndim, to);
    rl_tensor *tried = one ? rl_over(one, self->ndim, from, still, 0) : NULL;
    if (tried == NULL || out == NULL || rl_clear("index_select", one) != RL_OK)
        return rl_error_status();
    index = rl_index_along(index, out, dim);
    return index ? rl_row_gather("index_select", tried, dim, index, out) : rl_error_status();
}

static rl_status index_select_lower(rl_call *call) {
    rl_tensor *self = rl_with_dims(rl_arg_tensor(call, 0)), *out = rl_with_dims(call->results[0]);
    if (self == NULL || out == NULL)
        return rl_error_status();
    int64_t dim = rl_wrap_dim("index_select", rl_arg_int(call, 1), self->ndim);
    if (out->numel == 0)
        return check_unused_index(call, self, dim);
    rl_tensor *index = rl_index_along(rl_arg_tensor(call, 2), out, dim);
    return index ? rl_row_gather("index_select", self, dim, index, out) : rl_error_status();
}

/* gx = 0 with g[i] added at index[i] along dim */
VJP(index_select, rl_index_add(rl_vjp_zeros(v, 0), rl_vjp_int(v, 1), rl_vjp_input(v, 2), G))

static const rl_sample index_select_samples[] = {{"n[3,4], 0, i[2]<3"},  {"n[3,4], 1, i[6]<4"}, {"n[], 0, i[1]<1"},
                                                 {"n[3,4], 0, i[0]<3"},  {"n[0,3], 1, i[2]<3"}, {"n[5,7]t, -1, i[3]<7"},
                                                 {"n[33]s, 0, i[5]<33"}, {"n[4], 0, i[]<4"},    {0}};
static const rl_bad index_select_bad[] = {
    {"f[3,4], 0, i[2,2]<3", RL_SHAPE_MISMATCH, "index has 2 dimensions"},
    {"f[3,4], 0, f[2]", RL_DTYPE_MISMATCH, "index must be int64 or int32, not float32"},
    {"f[3,4], 3, i[2]<3", RL_INDEX_OUT_OF_RANGE, "dim 3 is out of range"},
    {"f[0,0], -1, i[1]<1", RL_INDEX_OUT_OF_RANGE, "no index is in range for size 0 of dimension 1"},
    {0}};

const rl_op_def rl_op_def_index_select = {
    .schema = "index_select(Tensor self, int dim, Tensor index) -> Tensor",
    .doc = "y[.., i, ..] = self[.., index[i], ..] along dim",
    .flags = RL_OP_ROWS,
    .saves = RL_SAVE_IN(2),
    .infer = index_select_infer,
    .lower = index_select_lower,
    .vjp = index_select_vjp,
    .samples = index_select_samples,
    .bad = index_select_bad,
};

/* embedding ---------------------------------------------------------------------------------------------------------
 */

/* weight (rows, width), indices (..), result (.., width) */
static rl_status embedding_infer(rl_call *call) {
    const rl_tensor *weight = rl_arg_tensor(call, 0), *indices = rl_arg_tensor(call, 1);
    int64_t padding = rl_arg_int(call, 2);
    rl_status status = rl_check_same_device(call);
    if (status == RL_OK)
        status = rl_check_index_dtype(call, 1);
    if (status != RL_OK)
        return status;
    if (weight->ndim != 2 || indices->ndim >= RL_MAX_DIMS)
        return rl_call_fail(call, RL_SHAPE_MISMATCH, "weight has %d dimensions and must have 2; indices %d, at most %d",
                            weight->ndim, indices->ndim, RL_MAX_DIMS - 1);
    if (rl_arg_given(call, 2) && (padding < -weight->shape[0] || padding >= weight->shape[0]))
        return rl_call_fail(call, RL_INDEX_OUT_OF_RANGE, "padding_idx %lld is out of range of the %lld rows of weight",
                            (long long)padding, (long long)weight->shape[0]);
    rl_meta *meta = &call->meta[0];
    rl_meta_set(meta, (rl_dtype)weight->dtype, weight->storage->device, indices->ndim, indices->shape);
    meta->shape[meta->ndim++] = weight->shape[1];
    return RL_OK;
}

/* indices, row-major, as (count). */
static rl_tensor *indices_in_line(const rl_call *call, rl_tensor *indices) {
    if (!indices->contiguous) {
        rl_tensor *copy = rl_call_temp(call, (rl_dtype)indices->dtype, indices->ndim, indices->shape);
        if (copy == NULL || rl_move(rl_call_name(call), copy, indices) != RL_OK)
            return NULL;
        indices = copy;
    }
    return rl_over(indices, 1, &indices->numel, (const int64_t[]){1}, indices->offset);
}
/* The same as (count, 1) read as (count, width). */
static rl_tensor *indices_by_row(const rl_call *call, rl_tensor *indices, int64_t width) {
    rl_tensor *line = indices_in_line(call, indices);
    return line ? rl_over(line, 2, (const int64_t[]){line->numel, width}, (const int64_t[]){1, 0}, line->offset) : NULL;
}
static rl_tensor *as_table(const rl_tensor *x, int64_t rows, int64_t width) {
    return rl_over(x, 2, (const int64_t[]){rows, width}, (const int64_t[]){width, 1}, x->offset);
}

static rl_status embedding_lower(rl_call *call) {
    rl_tensor *weight = rl_arg_tensor(call, 0), *out = call->results[0];
    int64_t width = weight->shape[1];
    if (out->numel == 0)
        return RL_OK;
    rl_tensor *index = indices_by_row(call, rl_arg_tensor(call, 1), width);
    rl_tensor *rows = as_table(out, out->numel / width, width);
    return index && rows ? rl_row_gather("embedding", weight, 0, index, rows) : rl_error_status();
}

/* gw = 0 with g[i] added at row indices[i], but for the row padding_idx */
static void embedding_vjp(rl_vjp *v) {
    const rl_value *padding = rl_vjp_arg(v, 2);
    int64_t rows = rl_vjp_meta(v, 0)->shape[0];
    int64_t skip = padding->kind != RL_VALUE_INT ? -1 : padding->as.i < 0 ? padding->as.i + rows : padding->as.i;
    rl_vjp_set(v, 0, rl_embedding_backward(G, rl_vjp_input(v, 1), rows, skip));
}

static const rl_sample embedding_samples[] = {
    {"n[5,3], i[4]<5"},  {"n[5,3], i[2,4]<5, 1", .no_gradcheck = true, .why = "row padding_idx gets no gradient"},
    {"n[5,3], i[]<5"},   {"n[5,3], i[0]<5"},
    {"n[7,5]t, i[2]<7"}, {"n[5,3], i[4,2]<5, -1", .no_gradcheck = true, .why = "row padding_idx gets no gradient"},
    {"n[5,0], i[4]<5"},  {0}};
static const rl_bad embedding_bad[] = {{"f[5], i[2]<5", RL_SHAPE_MISMATCH, "weight has 1 dimensions and must have 2"},
                                       {"f[5,3], f[2]", RL_DTYPE_MISMATCH, "indices must be int64 or int32"},
                                       {"f[5,3], i[2]<5, 5", RL_INDEX_OUT_OF_RANGE, "padding_idx 5"},
                                       {0}};

const rl_op_def rl_op_def_embedding = {
    .schema = "embedding(Tensor weight, Tensor indices, int? padding_idx=None) -> Tensor",
    .doc = "y[.., j] = weight[indices[..], j]",
    .note = "Row padding_idx gets no gradient.",
    .flags = RL_OP_ROWS,
    .saves = RL_SAVE_IN(1),
    .infer = embedding_infer,
    .lower = embedding_lower,
    .vjp = embedding_vjp,
    .samples = embedding_samples,
    .bad = embedding_bad,
};

/* grad (.., width), indices (..), result (rows, width) */
static rl_status embedding_backward_infer(rl_call *call) {
    const rl_tensor *g = rl_arg_tensor(call, 0), *indices = rl_arg_tensor(call, 1);
    int64_t rows = rl_arg_int(call, 2);
    rl_status status = rl_check_same_device(call);
    if (status == RL_OK)
        status = rl_check_index_dtype(call, 1);
    if (status != RL_OK)
        return status;
    char g_text[RL_SHAPE_TEXT], indices_text[RL_SHAPE_TEXT];
    if (g->ndim != indices->ndim + 1 || memcmp(g->shape, indices->shape, (size_t)indices->ndim * sizeof *g->shape) != 0)
        return rl_call_fail(call, RL_SHAPE_MISMATCH, "grad_output %s must be indices %s and one dimension more",
                            rl_shape_text(g->ndim, g->shape, g_text),
                            rl_shape_text(indices->ndim, indices->shape, indices_text));
    if (rows < 0)
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "num_weights %lld is negative", (long long)rows);
    rl_meta_set(&call->meta[0], (rl_dtype)g->dtype, g->storage->device, 2,
                (const int64_t[]){rows, g->shape[g->ndim - 1]});
    return RL_OK;
}

/* Zeros to which rows are added, then zeros again in the row to be skipped. */
static rl_status lower_embedding_backward(const rl_call *call, rl_tensor *rows, rl_tensor *index, int64_t skip) {
    rl_tensor *out = call->results[0];
    int64_t width = out->shape[1];
    index = rl_over(index, 2, rows->shape, (const int64_t[]){1, 0}, index->offset);
    if (index == NULL || rl_clear(rl_call_name(call), out) != RL_OK ||
        rl_scatter_wide(rl_call_name(call), out, 0, index, rows, RL_SCATTER_ADD) != RL_OK)
        return rl_error_status();
    if (skip < 0 || skip >= out->shape[0])
        return RL_OK;
    rl_tensor *row = rl_over(out, 1, &width, (const int64_t[]){1}, out->offset + skip * width);
    return row ? rl_clear(rl_call_name(call), row) : rl_error_status();
}

static rl_status embedding_backward_lower(rl_call *call) {
    rl_tensor *g = rl_arg_tensor(call, 0), *out = call->results[0];
    int64_t width = out->shape[1], skip = rl_arg_int(call, 3);
    if (g->numel == 0)
        return rl_clear(rl_call_name(call), out);
    if (!g->contiguous) {
        rl_tensor *copy = rl_call_temp(call, (rl_dtype)g->dtype, g->ndim, g->shape);
        if (copy == NULL || rl_move(rl_call_name(call), copy, g) != RL_OK)
            return rl_error_status();
        g = copy;
    }
    rl_tensor *rows = as_table(g, g->numel / width, width), *index = indices_in_line(call, rl_arg_tensor(call, 1));
    if (index == NULL || rows == NULL)
        return rl_error_status();
    rl_embedding_backward_args args = {.dtype = out->dtype,
                                       .index_dtype = index->dtype,
                                       .count = index->numel,
                                       .rows = out->shape[0],
                                       .width = width,
                                       .padding_index = skip < 0 ? -1 : skip};
    bool ran;
    rl_status status = rl_row_fused(rl_call_name(call), RL_ROW_EMBEDDING_BACKWARD, &args, sizeof args,
                                    (rl_tensor *[]){rows, index, out}, 3, &ran);
    return status == RL_OK && !ran ? lower_embedding_backward(call, rows, index, skip) : status;
}

/* gg[..] = u[indices[..]], and 0 where that is padding_idx */
static void embedding_backward_vjp(rl_vjp *v) {
    rl_tensor *indices = rl_vjp_input(v, 1), *rows = rl_embedding(G, indices);
    int64_t skip = rl_vjp_int(v, 3);
    rl_vjp_set(v, 0, skip < 0 ? rows : rl_only_where_not(rl_unsqueeze(rl_eq(indices, skip), -1), rows));
}

static const rl_sample embedding_backward_samples[] = {
    {"n[4,3], i[4]<5, 5, -1"}, {"n[2,4,3], i[2,4]<5, 5, 1"}, {"n[0,3], i[0]<5, 5, -1"}, {"n[3,4]t, i[3]<5, 5, 0"}, {0}};
static const rl_bad embedding_backward_bad[] = {
    {"f[4,3], i[3]<5, 5, -1", RL_SHAPE_MISMATCH, "grad_output (4, 3) must be indices (3)"}, {0}};

const rl_op_def rl_op_def_embedding_backward = {
    .schema = "embedding_backward(Tensor grad_output, Tensor indices, int num_weights, int padding_idx) -> Tensor",
    .doc = "y[r] = sum of grad_output[i] over the i with indices[i] = r; 0 for r = padding_idx",
    .flags = RL_OP_ROWS,
    .saves = RL_SAVE_IN(1),
    .infer = embedding_backward_infer,
    .lower = embedding_backward_lower,
    .vjp = embedding_backward_vjp,
    .samples = embedding_backward_samples,
    .bad = embedding_backward_bad,
};
