/* SPDX-License-Identifier: Apache-2.0 */
/* Elements placed by indices. An index out of range is an error, at the latest when the device is synchronized. */
#include <string.h>

#include "ops/op_index.h"

/* scatter, scatter_add ----------------------------------------------------------------------------------------------
 */

/* args: self, dim, index, src (a tensor or a number) */
rl_status rl_infer_scatter(rl_call *call) {
    const rl_tensor *self = rl_arg_tensor(call, 0), *src = rl_arg_tensor(call, 3);
    int64_t dim = rl_wrap_dim(rl_call_name(call), rl_arg_int(call, 1), self->ndim);
    if (dim < 0)
        return rl_error_status();
    rl_status status = rl_check_same_device(call);
    if (status == RL_OK)
        status = rl_check_index_dtype(call, 2);
    if (status == RL_OK)
        status = rl_check_index_shape(call, 2, 0, dim);
    if (status == RL_OK && src != NULL)
        status = rl_check_index_shape(call, 2, 3, -1);
    if (status == RL_OK && src != NULL && src->dtype != self->dtype)
        return rl_call_fail(call, RL_DTYPE_MISMATCH, "self is %s and src %s: they must be of one dtype",
                            rl_dtype_name((rl_dtype)self->dtype), rl_dtype_name((rl_dtype)src->dtype));
    rl_meta_set(&call->meta[0], (rl_dtype)self->dtype, self->storage->device, self->ndim, self->shape);
    return status == RL_OK ? rl_check_fits(call, 3, (rl_dtype)self->dtype) : status;
}

/* A number as a tensor of one element, read as `shape`. */
static rl_tensor *number_as(const rl_call *call, int arg, const rl_tensor *shape_of) {
    const rl_tensor *self = rl_arg_tensor(call, 0);
    rl_tensor *one =
        rl_full(RL_NO_DIMS, call->args[arg], .dtype = (rl_dtype)self->dtype, .device = self->storage->device);
    return one ? rl_read_as(one, shape_of->ndim, shape_of->shape) : NULL;
}

/* The part of src that index has the shape of. */
static rl_tensor *leading_part(rl_tensor *src, const rl_tensor *index) {
    src = rl_with_dims(src);
    return src ? rl_over(src, index->ndim, index->shape, src->stride, src->offset) : NULL;
}

rl_status rl_scatter_wide(const char *op, rl_tensor *out, int64_t dim, rl_tensor *index, rl_tensor *src,
                          rl_scatter_mode mode) {
    bool half = out->dtype == RL_F16 || out->dtype == RL_BF16;
    if (!half || (mode != RL_SCATTER_ADD && mode != RL_SCATTER_MUL) || index->shape[dim] < 2)
        return rl_row_scatter(op, out, dim, index, src, mode);
    rl_tensor *wide = rl_to(out, .dtype = RL_F32), *values = rl_to(src, .dtype = RL_F32);
    if (wide == NULL || values == NULL || rl_row_scatter(op, wide, dim, index, values, mode) != RL_OK)
        return rl_error_status();
    return rl_move(op, out, wide);
}

/* out op= src at index along dim, on out, which holds self already. */
rl_status rl_scatter_place(rl_call *call, rl_scatter_mode mode) {
    rl_tensor *out = rl_with_dims(call->results[0]), *index = rl_with_dims(rl_arg_tensor(call, 2));
    if (out == NULL || index == NULL || index->numel == 0)
        return rl_error_status();
    rl_tensor *src = rl_arg_tensor(call, 3);
    src = src ? leading_part(src, index) : number_as(call, 3, index);
    if (src == NULL)
        return rl_error_status();
    const char *op = rl_call_name(call);
    return rl_scatter_wide(op, out, rl_wrap_dim(op, rl_arg_int(call, 1), out->ndim), index, src, mode);
}

static rl_status start_from_self(rl_call *call) {
    return call->inplace ? RL_OK : rl_move(rl_call_name(call), call->results[0], rl_arg_tensor(call, 0));
}

static rl_status scatter_mode(const rl_call *call, rl_scatter_mode *out_mode) {
    const char *word = rl_arg_word(call, 4);
    *out_mode = strcmp(word, "add") == 0        ? RL_SCATTER_ADD
                : strcmp(word, "multiply") == 0 ? RL_SCATTER_MUL
                                                : RL_SCATTER_SET;
    if (*out_mode == RL_SCATTER_SET && *word != '\0')
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "reduce must be 'add' or 'multiply', got '%.40s'", word);
    return RL_OK;
}

static rl_status scatter_reducing_infer(rl_call *call) {
    rl_scatter_mode mode;
    rl_status status = scatter_mode(call, &mode);
    return status == RL_OK ? rl_infer_scatter(call) : status;
}

static rl_status scatter_lower(rl_call *call) {
    rl_scatter_mode mode;
    rl_status status = scatter_mode(call, &mode);
    if (status == RL_OK)
        status = start_from_self(call);
    return status == RL_OK ? rl_scatter_place(call, mode) : status;
}

/* gself = g, 0 where something was put; gsrc = g read at index. With reduce: add: gself = g; multiply: not known. */
static void scatter_vjp(rl_vjp *v) {
    rl_tensor *g = G, *index = rl_vjp_input(v, 2);
    const char *word = rl_vjp_word(v, 4);
    int64_t dim = rl_vjp_int(v, 1);
    if (strcmp(word, "multiply") == 0) {
        rl_fail(RL_AUTOGRAD, "scatter: reduce='multiply' has no derivative: use scatter_reduce with 'prod'");
        return;
    }
    if (rl_vjp_needs(v, 0))
        rl_vjp_set(v, 0, *word ? g : rl_scatter(g, dim, index, 0));
    if (rl_vjp_needs(v, 3))
        rl_vjp_set(v, 3, rl_vjp_leading(v, 3, rl_gather(g, dim, index)));
}

static const rl_sample scatter_samples[] = {
    {"n[3,4], 1, i[3,1]<4, n[3,1]"},
    {"n[3,4], 0, i[1,4]<3, n[2,4]"},
    {"n[3,4], 1, i[3,1]<4, 2"},
    {"n[], 0, i[]<1, n[]"},
    {"n[0,3], 1, i[0,2]<3, n[0,2]"},
    {"n[3,4], 1, i[3,0]<4, n[3,4]"},
    {"n[5,7]t, 0, i[1,7]<5, n[1,7]"},
    {"n[3], 0, i[5]<3, n[5], reduce=\"add\""},
    {"n[3], 0, i[5]<3, 2, reduce=\"multiply\"", .no_gradcheck = true, .why = "PyTorch has no derivative for it"},
    {0}};
static const rl_bad scatter_bad[] = {
    {"f[3,4], 1, f[3,4], 1", RL_DTYPE_MISMATCH, "index must be int64 or int32"},
    {"f[3,4], 1, i[4,4]<3, 1", RL_SHAPE_MISMATCH, "index (4, 4) must have as many dimensions as self (3, 4)"},
    {"f[3,4], 1, i[3,4]<3, f[2,4]", RL_SHAPE_MISMATCH, "index (3, 4) must have as many dimensions as src (2, 4)"},
    {"f[2], 0, i[]<2, f[0]", RL_SHAPE_MISMATCH, "index () must have as many dimensions as src (0)"},
    {"f32[3], 0, i[3]<3, i64[3]", RL_DTYPE_MISMATCH, "self is float32 and src int64"},
    {"f[3], 0, i[3]<3, 1, reduce=\"mean\"", RL_INVALID_ARGUMENT, "'add' or 'multiply'"},
    {0}};

const rl_op_def rl_op_def_scatter = {
    .schema = "scatter(Tensor self, int dim, Tensor index, Tensor|Scalar src, *, str? reduce=None) -> Tensor",
    .doc = "y = self with y[.., index[.., i, ..], ..] = src[.., i, ..] along dim",
    .note =
        "Of several values for one place any one stays. reduce 'add' or 'multiply' combines them with what is there.",
    .flags = RL_OP_ROWS | RL_OP_INPLACE,
    .saves = RL_SAVE_IN(2),
    .infer = scatter_reducing_infer,
    .lower = scatter_lower,
    .vjp = scatter_vjp,
    .samples = scatter_samples,
    .bad = scatter_bad,
};

static rl_status scatter_add_lower(rl_call *call) {
    rl_status status = start_from_self(call);
    return status == RL_OK ? rl_scatter_place(call, RL_SCATTER_ADD) : status;
}

/* gself = g, gsrc = g read at index */
static void scatter_add_vjp(rl_vjp *v) {
    if (rl_vjp_needs(v, 0))
        rl_vjp_set(v, 0, G);
    if (rl_vjp_needs(v, 3))
        rl_vjp_set(v, 3, rl_vjp_leading(v, 3, rl_gather(G, rl_vjp_int(v, 1), rl_vjp_input(v, 2))));
}

static const rl_sample scatter_add_samples[] = {{"n[3,4], 1, i[3,6]<4, n[3,6]"},
                                                {"n[3,4], 0, i[5,2]<3, n[5,4]"},
                                                {"n[], 0, i[]<1, n[]"},
                                                {"n[0,3], 1, i[0,2]<3, n[0,2]"},
                                                {"n[5,7]t, 0, i[9,7]<5, n[9,7]"},
                                                {"n[33]s, 0, i[50]<33, n[50]"},
                                                {0}};
static const rl_bad scatter_add_bad[] = {
    {"f[3,4], 1, f[3,4], f[3,4]", RL_DTYPE_MISMATCH, "index must be int64 or int32"},
    {"f[3,4], 1, i[3,4]<3, f[2,4]", RL_SHAPE_MISMATCH, "index (3, 4) must have as many dimensions as src (2, 4)"},
    {0}};

const rl_op_def rl_op_def_scatter_add = {
    .schema = "scatter_add(Tensor self, int dim, Tensor index, Tensor src) -> Tensor",
    .doc = "y = self with src[.., i, ..] added to y[.., index[.., i, ..], ..] along dim",
    .flags = RL_OP_ROWS | RL_OP_INPLACE,
    .saves = RL_SAVE_IN(2),
    .infer = rl_infer_scatter,
    .lower = scatter_add_lower,
    .vjp = scatter_add_vjp,
    .samples = scatter_add_samples,
    .bad = scatter_add_bad,
};

/* index_add, index_copy, index_fill ---------------------------------------------------------------------------------
 */

/* args: self, dim, index, and where source_arg is not 0 a tensor shaped as self but along dim, where it has index's
 * length. */
static rl_status along_infer(rl_call *call, int source_arg) {
    const rl_tensor *self = rl_arg_tensor(call, 0), *index = rl_arg_tensor(call, 2);
    const rl_tensor *source = source_arg ? rl_arg_tensor(call, source_arg) : NULL;
    int64_t dim = rl_wrap_dim(rl_call_name(call), rl_arg_int(call, 1), self->ndim);
    if (dim < 0)
        return rl_error_status();
    rl_status status = rl_check_same_device(call);
    if (status == RL_OK)
        status = rl_check_index_dtype(call, 2);
    if (status != RL_OK)
        return status;
    if (index->ndim > 1)
        return rl_call_fail(call, RL_SHAPE_MISMATCH, "index has %d dimensions and must have at most 1", index->ndim);
    rl_meta *meta = &call->meta[0];
    rl_meta_set(meta, (rl_dtype)self->dtype, self->storage->device, self->ndim, self->shape);
    if (source == NULL)
        return RL_OK;
    bool fits = source->ndim == self->ndim || (source->ndim <= 1 && self->ndim <= 1);
    int64_t source_size = source->ndim > 0 ? source->shape[dim] : 1;
    fits = fits && source_size == index->numel;
    for (int64_t d = 0; fits && d < self->ndim; d++)
        fits = d == dim || source->shape[d] == self->shape[d];
    char have[RL_SHAPE_TEXT], want[RL_SHAPE_TEXT];
    if (!fits)
        return rl_call_fail(call, RL_SHAPE_MISMATCH, "source %s must be as self %s, but along dim %lld have size %lld",
                            rl_shape_text(source->ndim, source->shape, have),
                            rl_shape_text(self->ndim, self->shape, want), (long long)dim, (long long)index->numel);
    if (source->dtype != self->dtype)
        return rl_call_fail(call, RL_DTYPE_MISMATCH, "self is %s and source %s: they must be of one dtype",
                            rl_dtype_name((rl_dtype)self->dtype), rl_dtype_name((rl_dtype)source->dtype));
    return RL_OK;
}

/* out op= source at index along dim; source NULL: the number args[3]. */
static rl_status place_along(rl_call *call, rl_tensor *source, rl_scatter_mode mode) {
    const char *op = rl_call_name(call);
    rl_tensor *out = rl_with_dims(call->results[0]);
    if (out == NULL || start_from_self(call) != RL_OK)
        return rl_error_status();
    int64_t dim = rl_wrap_dim(op, rl_arg_int(call, 1), out->ndim);
    rl_tensor *index = rl_index_along(rl_arg_tensor(call, 2), out, dim);
    if (index == NULL || index->numel == 0)
        return rl_error_status();
    source = source == NULL ? number_as(call, 3, index) : source->ndim == 0 ? rl_with_dims(source) : source;
    return source ? rl_scatter_wide(op, out, dim, index, source, mode) : rl_error_status();
}

static rl_status index_add_infer(rl_call *call) {
    rl_status status = along_infer(call, 3);
    if (status == RL_OK && call->args[4].kind == RL_VALUE_FLOAT && !rl_dtype_is_float(call->meta[0].dtype))
        return rl_call_fail(call, RL_DTYPE_MISMATCH, "alpha must be an integer where self is %s, got %g",
                            rl_dtype_name(call->meta[0].dtype), rl_arg_double(call, 4));
    return status;
}
static rl_status index_add_lower(rl_call *call) {
    rl_tensor *source = rl_arg_tensor(call, 3);
    if (rl_arg_double(call, 4) != 1.0 && (source = rl_mul(source, call->args[4])) != NULL)
        source = rl_as_dtype(call, source, call->meta[0].dtype); /* bool times a number is a number */
    return source ? place_along(call, source, RL_SCATTER_ADD) : rl_error_status();
}

/* gself = g, gsource = alpha g[index] */
static void index_add_vjp(rl_vjp *v) {
    if (rl_vjp_needs(v, 0))
        rl_vjp_set(v, 0, G);
    if (rl_vjp_needs(v, 3)) {
        rl_tensor *picked = rl_index_select(G, rl_vjp_int(v, 1), rl_vjp_input(v, 2));
        rl_vjp_set(v, 3, rl_times(rl_reshape(picked, rl_vjp_shape(v, 3)), *rl_vjp_arg(v, 4)));
    }
}

static const rl_sample index_add_samples[] = {{"n[3,4], 0, i[5]<3, n[5,4]"}, {"n[3,4], 1, i[2]<4, n[3,2], alpha=2"},
                                              {"n[], 0, i[1]<1, n[1]"},      {"n[0,3], 1, i[2]<3, n[0,2]"},
                                              {"n[3,4], 0, i[0]<3, n[0,4]"}, {"n[5,7]t, 0, i[2]<5, n[2,7]"},
                                              {"n[33]s, 0, i[9]<33, n[9]"},  {0}};
static const rl_bad index_add_bad[] = {
    {"f[3,4], 0, i[2]<3, f[3,4]", RL_SHAPE_MISMATCH, "source (3, 4) must be as self (3, 4), but along dim 0"},
    {"f[3,4], 0, i[2,2]<3, f[2,4]", RL_SHAPE_MISMATCH, "index has 2 dimensions"},
    {"f32[3], 0, i[1]<3, i64[1]", RL_DTYPE_MISMATCH, "self is float32 and source int64"},
    {"i64[3], 0, i[1]<3, i64[1], alpha=0.5", RL_DTYPE_MISMATCH, "alpha must be an integer"},
    {0}};

const rl_op_def rl_op_def_index_add = {
    .schema = "index_add(Tensor self, int dim, Tensor index, Tensor source, *, Scalar alpha=1) -> Tensor",
    .doc = "y = self with alpha source[.., i, ..] added to y[.., index[i], ..] along dim",
    .flags = RL_OP_ROWS | RL_OP_INPLACE,
    .saves = RL_SAVE_IN(2),
    .infer = index_add_infer,
    .lower = index_add_lower,
    .vjp = index_add_vjp,
    .samples = index_add_samples,
    .bad = index_add_bad,
};

static rl_status index_copy_infer(rl_call *call) {
    return along_infer(call, 3);
}
static rl_status index_copy_lower(rl_call *call) {
    return place_along(call, rl_arg_tensor(call, 3), RL_SCATTER_SET);
}

/* gself = g, 0 at index; gsource = g[index] */
static void index_copy_vjp(rl_vjp *v) {
    rl_tensor *index = rl_vjp_input(v, 2);
    int64_t dim = rl_vjp_int(v, 1);
    if (rl_vjp_needs(v, 0))
        rl_vjp_set(v, 0, rl_index_fill(G, dim, index, 0));
    if (rl_vjp_needs(v, 3))
        rl_vjp_set(v, 3, rl_reshape(rl_index_select(G, dim, index), rl_vjp_shape(v, 3)));
}

static const rl_sample index_copy_samples[] = {{"n[3,4], 0, i[1]<3, n[1,4]"},  {"n[3,4], 1, i[1]<4, n[3,1]"},
                                               {"n[], 0, i[1]<1, n[1]"},       {"n[0,3], 1, i[1]<3, n[0,1]"},
                                               {"n[5,7]t, 0, i[1]<5, n[1,7]"}, {0}};
static const rl_bad index_copy_bad[] = {
    {"f[3,4], 0, i[2]<3, f[3,4]", RL_SHAPE_MISMATCH, "source (3, 4) must be as self (3, 4)"}, {0}};

const rl_op_def rl_op_def_index_copy = {
    .schema = "index_copy(Tensor self, int dim, Tensor index, Tensor source) -> Tensor",
    .doc = "y = self with y[.., index[i], ..] = source[.., i, ..] along dim",
    .flags = RL_OP_ROWS | RL_OP_INPLACE | RL_OP_AUTOCAST_WIDEST,
    .saves = RL_SAVE_IN(2),
    .infer = index_copy_infer,
    .lower = index_copy_lower,
    .vjp = index_copy_vjp,
    .samples = index_copy_samples,
    .bad = index_copy_bad,
};

static rl_status index_fill_infer(rl_call *call) {
    const rl_tensor *value = rl_arg_tensor(call, 3);
    if (value != NULL && value->ndim > 0)
        return rl_call_fail(call, RL_SHAPE_MISMATCH, "value must be a number or a tensor of no dimensions, has %d",
                            value->ndim);
    rl_status status = rl_check_fits(call, 3, (rl_dtype)rl_arg_tensor(call, 0)->dtype);
    return status == RL_OK ? along_infer(call, 0) : status;
}
static rl_status index_fill_lower(rl_call *call) {
    rl_tensor *value = rl_arg_tensor(call, 3), *self = rl_with_dims(rl_arg_tensor(call, 0));
    if (value != NULL && self != NULL) {
        value = rl_as_dtype(call, value, (rl_dtype)self->dtype);
        int64_t dim = rl_wrap_dim(rl_call_name(call), rl_arg_int(call, 1), self->ndim), shape[RL_MAX_DIMS];
        memcpy(shape, self->shape, (size_t)self->ndim * sizeof *shape);
        shape[dim] = rl_arg_tensor(call, 2)->numel;
        value = value ? rl_read_as(value, self->ndim, shape) : NULL;
    }
    return rl_failed() ? rl_error_status() : place_along(call, value, RL_SCATTER_SET);
}

/* gself = g, 0 at index; gvalue = sum of g[index] */
static void index_fill_vjp(rl_vjp *v) {
    if (rl_vjp_needs(v, 0))
        rl_vjp_set(v, 0, rl_index_fill(G, rl_vjp_int(v, 1), rl_vjp_input(v, 2), 0));
    if (rl_vjp_needs(v, 3))
        rl_vjp_set(v, 3, rl_sum(rl_index_select(G, rl_vjp_int(v, 1), rl_vjp_input(v, 2))));
}

static const rl_sample index_fill_samples[] = {{"n[3,4], 0, i[1]<3, 2"},  {"n[3,4], 1, i[1]<4, n[]"},
                                               {"n[0,3], 1, i[2]<3, 1"},  {"n[], 0, i[1]<1, 3"},
                                               {"n[5,7]t, 0, i[2]<5, 1"}, {0}};
static const rl_bad index_fill_bad[] = {{"f[3], 0, i[1]<3, f[2]", RL_SHAPE_MISMATCH, "no dimensions"}, {0}};

const rl_op_def rl_op_def_index_fill = {
    .schema = "index_fill(Tensor self, int dim, Tensor index, Tensor|Scalar value) -> Tensor",
    .doc = "y = self with y[.., index[i], ..] = value along dim",
    .flags = RL_OP_ROWS | RL_OP_INPLACE,
    .saves = RL_SAVE_IN(2),
    .infer = index_fill_infer,
    .lower = index_fill_lower,
    .vjp = index_fill_vjp,
    .samples = index_fill_samples,
    .bad = index_fill_bad,
};
