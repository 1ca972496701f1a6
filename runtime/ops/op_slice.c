/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Views of a part of the elements. Each is a change of geometry, written once: the op applies it to self's own strides,
 * its derivative to those of a row-major tensor of self's shape, into which `unstride` puts the gradient.
 */
#include <string.h>

#include "ops/call.h"
#include "ops/op_index.h"
#include "ops/op_rows.h"

typedef rl_status (*geometry_change)(const char *op, rl_geometry *g, const rl_value *args);

static rl_status lower_change(rl_call *call, geometry_change change) {
    rl_geometry g = rl_geometry_of(rl_arg_tensor(call, 0));
    rl_status status = change(rl_call_name(call), &g, call->args);
    return status == RL_OK ? rl_view_made(call, &g) : status;
}

/* gx = 0 with g where the view looks */
static void change_vjp(rl_vjp *v, geometry_change change, int n_args) {
    rl_ints shape = rl_vjp_shape(v, 0);
    rl_geometry g = rl_geometry_row_major(shape.count, shape.data);
    rl_value args[RL_MAX_ARGS];
    for (int i = 1; i < n_args; i++)
        args[i] = *rl_vjp_arg(v, i);
    if (change("backward", &g, args) == RL_OK)
        rl_vjp_set(v, 0, rl_unstride(G, shape, ((rl_ints){g.stride, g.ndim}), g.offset));
}

#define CHANGE(name, n_args)                                                                                           \
    static rl_status name##_lower(rl_call *call) {                                                                     \
        return lower_change(call, name##_change);                                                                      \
    }                                                                                                                  \
    static void name##_vjp(rl_vjp *v) {                                                                                \
        change_vjp(v, name##_change, n_args);                                                                          \
    }

static int64_t wrap(const char *op, const rl_geometry *g, int64_t dim) {
    if (g->ndim > 0)
        return rl_wrap_dim(op, dim, g->ndim);
    rl_fail(RL_SHAPE_MISMATCH, "%s: self has no dimensions and must have at least 1", op);
    return -1;
}

/* slice, narrow, select ---------------------------------------------------------------------------------------------
 */

static int64_t clamp(int64_t i, int64_t low, int64_t high) {
    return i < low ? low : i > high ? high : i;
}
/* The first element lies `steps` further along dim. */
static void move(rl_geometry *g, int64_t dim, int64_t steps) {
    int64_t by, offset;
    if (!__builtin_mul_overflow(steps, g->stride[dim], &by) && !__builtin_add_overflow(g->offset, by, &offset))
        g->offset = offset; /* else nothing is left of the view, or the strides would reach outside the storage */
}
static void scale_stride(rl_geometry *g, int64_t dim, int64_t step) {
    if (__builtin_mul_overflow(g->stride[dim], step, &g->stride[dim]))
        g->stride[dim] = 1; /* so long a step leaves one element at most: the stride says nothing */
}

/* args: self, dim, start, end, step */
static rl_status slice_change(const char *op, rl_geometry *g, const rl_value *args) {
    int64_t dim = wrap(op, g, args[1].as.i), step = args[4].as.i;
    if (dim < 0)
        return rl_error_status();
    if (step <= 0)
        return rl_fail(RL_INVALID_ARGUMENT, "%s: step must be positive, got %lld", op, (long long)step);
    int64_t size = g->shape[dim];
    int64_t start = args[2].kind == RL_VALUE_INT ? args[2].as.i : 0;
    int64_t end = args[3].kind == RL_VALUE_INT ? args[3].as.i : size;
    start = clamp(start < 0 ? start + size : start, 0, size);
    end = clamp(end < 0 ? end + size : end, start, size);
    move(g, dim, start);
    g->shape[dim] = end > start ? 1 + (end - start - 1) / step : 0;
    scale_stride(g, dim, step);
    return RL_OK;
}
CHANGE(slice, 5)

static const rl_sample slice_samples[] = {{"n[3,4], 1, 1, 3"},
                                          {"n[7], 0, 1, -1, 2"},
                                          {"n[7], 0, -3"},
                                          {"n[3,4]"},
                                          {"n[3,4], 0, 2, 1"},
                                          {"n[0,3], 1, 1, 2"},
                                          {"n[5,7]t, 0, 1, 9, 3"},
                                          {"n[33]s, 0, 3, 30, 4"},
                                          {"n[4]e, 0, 1, 3"},
                                          {"n[5], 0, -9, 9"},
                                          {0}};
static const rl_bad slice_bad[] = {{"f[], 0, 0, 1", RL_SHAPE_MISMATCH, "self has no dimensions"},
                                   {"f[3], 1, 0, 1", RL_INDEX_OUT_OF_RANGE, "dim 1 is out of range"},
                                   {"f[3], 0, 0, 1, 0", RL_INVALID_ARGUMENT, "step must be positive, got 0"},
                                   {0}};

const rl_op_def rl_op_def_slice = {
    .schema = "slice(Tensor(a) self, int dim=0, int? start=None, int? end=None, int step=1) -> Tensor(a)",
    .doc = "y = self[start:end:step] along dim",
    .note = "As in Python: negative numbers count from the end, and what lies beyond is cut off.",
    .flags = RL_OP_VIEW,
    .lower = slice_lower,
    .vjp = slice_vjp,
    .samples = slice_samples,
    .bad = slice_bad,
};

/* args: self, dim, start, length */
static rl_status narrow_change(const char *op, rl_geometry *g, const rl_value *args) {
    int64_t dim = wrap(op, g, args[1].as.i), start = args[2].as.i, length = args[3].as.i;
    if (dim < 0)
        return rl_error_status();
    int64_t size = g->shape[dim];
    if (start < -size || start > size)
        return rl_fail(RL_INDEX_OUT_OF_RANGE, "%s: start %lld is out of range: expected %lld to %lld", op,
                       (long long)start, (long long)-size, (long long)size);
    start += start < 0 ? size : 0;
    if (length < 0 || length > size - start)
        return rl_fail(RL_INDEX_OUT_OF_RANGE,
                       "%s: length %lld from %lld on does not fit into size %lld of dimension %lld", op,
                       (long long)length, (long long)start, (long long)size, (long long)dim);
    move(g, dim, start);
    g->shape[dim] = length;
    return RL_OK;
}
CHANGE(narrow, 4)

static const rl_sample narrow_samples[] = {{"n[3,4], 1, 1, 2"},
                                           {"n[3,4], 0, -2, 2"},
                                           {"n[3,4], 0, 3, 0"},
                                           {"n[0,3], 1, 0, 2"},
                                           {"n[5,7]t, 0, 1, 3"},
                                           {"n[33]s, 0, 30, 3"},
                                           {0}};
static const rl_bad narrow_bad[] = {
    {"f[3], 0, 1, 3", RL_INDEX_OUT_OF_RANGE, "length 3 from 1 on does not fit into size 3"},
    {"f[3], 0, 4, 0", RL_INDEX_OUT_OF_RANGE, "start 4 is out of range"},
    {"f[3], 0, 0, -1", RL_INDEX_OUT_OF_RANGE, "length -1"},
    {"f[], 0, 0, 1", RL_SHAPE_MISMATCH, "no dimensions"},
    {0}};

const rl_op_def rl_op_def_narrow = {
    .schema = "narrow(Tensor(a) self, int dim, int start, int length) -> Tensor(a)",
    .doc = "y = self[start : start + length] along dim",
    .flags = RL_OP_VIEW,
    .lower = narrow_lower,
    .vjp = narrow_vjp,
    .samples = narrow_samples,
    .bad = narrow_bad,
};

/* args: self, dim, index */
static rl_status select_change(const char *op, rl_geometry *g, const rl_value *args) {
    int64_t dim = wrap(op, g, args[1].as.i), index = args[2].as.i;
    if (dim < 0)
        return rl_error_status();
    int64_t size = g->shape[dim];
    if (index < -size || index >= size)
        return rl_fail(RL_INDEX_OUT_OF_RANGE, "%s: index %lld is out of range for size %lld of dimension %lld", op,
                       (long long)index, (long long)size, (long long)dim);
    move(g, dim, index < 0 ? index + size : index);
    rl_geometry_remove(g, dim);
    return RL_OK;
}
CHANGE(select, 3)

static const rl_sample select_samples[] = {
    {"n[3,4], 1, 2"}, {"n[3,4], 0, -1"}, {"n[5], 0, 0"}, {"n[0,3], 1, 1"}, {"n[5,7]t, 0, 1"}, {"n[33]s, 0, 30"}, {0}};
static const rl_bad select_bad[] = {{"f[3], 0, 3", RL_INDEX_OUT_OF_RANGE, "index 3 is out of range for size 3"},
                                    {"f[0], 0, 0", RL_INDEX_OUT_OF_RANGE, "index 0 is out of range for size 0"},
                                    {"f[], 0, 0", RL_SHAPE_MISMATCH, "no dimensions"},
                                    {0}};

const rl_op_def rl_op_def_select = {
    .schema = "select(Tensor(a) self, int dim, int index) -> Tensor(a)",
    .doc = "y = self[index] along dim, which is dropped",
    .flags = RL_OP_VIEW,
    .lower = select_lower,
    .vjp = select_vjp,
    .samples = select_samples,
    .bad = select_bad,
};

/* diagonal, unfold --------------------------------------------------------------------------------------------------
 */

/* args: self, offset, dim1, dim2 */
static rl_status diagonal_change(const char *op, rl_geometry *g, const rl_value *args) {
    int64_t dim1 = wrap(op, g, args[2].as.i), dim2 = dim1 < 0 ? -1 : wrap(op, g, args[3].as.i);
    if (dim2 < 0)
        return rl_error_status();
    if (dim1 == dim2)
        return rl_fail(RL_INVALID_ARGUMENT, "%s: dim1 and dim2 are both %lld and must differ", op, (long long)dim1);
    int64_t rows = g->shape[dim1], columns = g->shape[dim2], right = clamp(args[1].as.i, -rows, columns);
    int64_t row = right < 0 ? -right : 0, column = right > 0 ? right : 0;
    int64_t size = rows - row < columns - column ? rows - row : columns - column;
    int64_t stride;
    if (__builtin_add_overflow(g->stride[dim1], g->stride[dim2], &stride))
        stride = 1; /* of one element at most */
    if (size > 0) {
        move(g, dim1, row);
        move(g, dim2, column);
    }
    rl_geometry_remove(g, dim1 > dim2 ? dim1 : dim2);
    rl_geometry_remove(g, dim1 > dim2 ? dim2 : dim1);
    return rl_geometry_insert(op, g, g->ndim, size, stride);
}
CHANGE(diagonal, 4)

static const rl_sample diagonal_samples[] = {{"n[3,4]"},    {"n[3,4], 1"},         {"n[3,4], -2"},
                                             {"n[3,4], 9"}, {"n[2,3,4], 0, 0, 2"}, {"n[2,3,4], 1, -1, 0"},
                                             {"n[0,3]"},    {"n[5,7]t"},           {0}};
static const rl_bad diagonal_bad[] = {
    {"f[3]", RL_INDEX_OUT_OF_RANGE, "dim 1 is out of range"}, {"f[3,3], 0, 1, -1", RL_INVALID_ARGUMENT, "both 1"}, {0}};

const rl_op_def rl_op_def_diagonal = {
    .schema = "diagonal(Tensor(a) self, int offset=0, int dim1=0, int dim2=1) -> Tensor(a)",
    .doc = "y[.., i] = self with i along dim1 and i + offset along dim2",
    .flags = RL_OP_VIEW,
    .lower = diagonal_lower,
    .vjp = diagonal_vjp,
    .samples = diagonal_samples,
    .bad = diagonal_bad,
};

/* args: self, dimension, size, step */
static rl_status unfold_change(const char *op, rl_geometry *g, const rl_value *args) {
    int64_t dim = rl_wrap_dim(op, args[1].as.i, g->ndim), size = args[2].as.i, step = args[3].as.i;
    if (dim < 0)
        return rl_error_status();
    int64_t whole = g->ndim > 0 ? g->shape[dim] : 1, stride = g->ndim > 0 ? g->stride[dim] : 1;
    if (size < 0 || size > whole)
        return rl_fail(RL_INVALID_ARGUMENT, "%s: size %lld must be 0 to %lld, the size of dimension %lld", op,
                       (long long)size, (long long)whole, (long long)dim);
    if (step <= 0)
        return rl_fail(RL_INVALID_ARGUMENT, "%s: step must be positive, got %lld", op, (long long)step);
    if (g->ndim > 0) {
        g->shape[dim] = (whole - size) / step + 1;
        scale_stride(g, dim, step);
    }
    return rl_geometry_insert(op, g, g->ndim, size, stride);
}
CHANGE(unfold, 4)

static const rl_sample unfold_samples[] = {
    {"n[7], 0, 3, 2"},    {"n[3,8], 1, 4, 1"}, {"n[], 0, 1, 1"},  {"n[0,3], 1, 2, 1"},
    {"n[5,7]t, 0, 2, 2"}, {"n[33]s, 0, 5, 7"}, {"n[4], 0, 0, 1"}, {0}};
static const rl_bad unfold_bad[] = {{"f[3], 0, 4, 1", RL_INVALID_ARGUMENT, "size 4 must be 0 to 3"},
                                    {"f[3], 0, 2, 0", RL_INVALID_ARGUMENT, "step must be positive, got 0"},
                                    {"f[3], 1, 2, 1", RL_INDEX_OUT_OF_RANGE, "dim 1 is out of range"},
                                    {0}};

const rl_op_def rl_op_def_unfold = {
    .schema = "unfold(Tensor(a) self, int dimension, int size, int step) -> Tensor(a)",
    .doc = "y[.., i, .., j] = self[.., i step + j, ..] along dimension",
    .flags = RL_OP_VIEW,
    .lower = unfold_lower,
    .vjp = unfold_vjp,
    .samples = unfold_samples,
    .bad = unfold_bad,
};

/* as_strided, window ------------------------------------------------------------------------------------------------
 */

static rl_status check_window(const rl_call *call, rl_ints size, rl_ints stride, int64_t offset, uint64_t elements) {
    const rl_tensor *self = rl_arg_tensor(call, 0);
    const char *op = rl_call_name(call);
    int64_t numel;
    if (size.count != stride.count)
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "size names %lld dimensions and stride %lld",
                            (long long)size.count, (long long)stride.count);
    rl_status status = rl_check_shape(op, size.count, size.data, (rl_dtype)self->dtype, &numel);
    for (int64_t d = 0; status == RL_OK && d < stride.count; d++)
        if (stride.data[d] < 0)
            return rl_call_fail(call, RL_INVALID_ARGUMENT, "stride %lld of dimension %lld is negative",
                                (long long)stride.data[d], (long long)d);
    return status == RL_OK ? rl_check_within(op, size.count, size.data, stride.data, offset, elements) : status;
}

/* A window of a tensor that is differentiated must lie within it, and its place be known by the order of elements. */
static rl_status window_lower(rl_call *call) {
    const rl_tensor *self = rl_arg_tensor(call, 0);
    rl_ints size = rl_arg_ints(call, 1), stride = rl_arg_ints(call, 2);
    int64_t offset = rl_arg_int(call, 3), first;
    if (__builtin_add_overflow(offset, self->offset, &first))
        first = INT64_MAX; /* outside of any storage */
    uint64_t elements = self->storage->bytes / rl_dtype_size((rl_dtype)self->dtype);
    bool differentiated = self->requires_grad && rl_recording_;
    if (differentiated && !self->contiguous)
        return rl_call_fail(call, RL_UNSUPPORTED, "self requires gradients and is not contiguous: make it contiguous");
    rl_status status = differentiated ? check_window(call, size, stride, offset, (uint64_t)self->numel)
                                      : check_window(call, size, stride, first, elements);
    if (status != RL_OK)
        return status;
    rl_geometry g = {.ndim = size.count, .offset = first};
    memcpy(g.shape, size.data, (size_t)size.count * sizeof *g.shape);
    memcpy(g.stride, stride.data, (size_t)size.count * sizeof *g.stride);
    return rl_view_made(call, &g);
}

/* gx = 0 with g added where the window looks */
VJP(window, rl_unstride(G, rl_vjp_shape(v, 0), rl_vjp_ints(v, 2), rl_vjp_int(v, 3)))

static const rl_sample window_samples[] = {{"n[12], [3,2], [4,1], 1"}, {"n[7], [3,3], [2,1], 0"}, {"n[3,4], [], [], 5"},
                                           {"n[3], [2,0], [1,1], 0"},  {"n[], [2,2], [0,0], 0"},  {0}};
static const rl_bad window_bad[] = {
    {"f[4], [3], [2], 0", RL_INVALID_ARGUMENT, "reaches outside a storage of 4 elements"},
    {"f[4], [3], [1,1], 0", RL_INVALID_ARGUMENT, "size names 1 dimensions and stride 2"},
    {"f[4], [3], [-1], 3", RL_INVALID_ARGUMENT, "stride -1 of dimension 0 is negative"},
    {"f[4], [2], [1], -1", RL_INVALID_ARGUMENT, "reaches outside"},
    {"f[4], [2], [9223372036854775807], 1", RL_INVALID_ARGUMENT, "reaches outside"},
    {0}};

const rl_op_def rl_op_def_window = {
    .schema = "window(Tensor(a) self, int[] size, int[] stride, int offset) -> Tensor(a)",
    .doc = "y[i, j, ..] = the element offset + i stride[0] + j stride[1] .. of self, in the order of its memory",
    .note = "as_strided with an offset that counts from self's first element.",
    .flags = RL_OP_VIEW | RL_OP_LAYOUT,
    .lower = window_lower,
    .vjp = window_vjp,
    .samples = window_samples,
    .bad = window_bad,
};

static rl_status as_strided_lower(rl_call *call) {
    rl_tensor *self = rl_arg_tensor(call, 0);
    int64_t offset = rl_arg_given(call, 3) ? rl_arg_int(call, 3) : self->offset;
    if (offset < 0)
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "storage_offset %lld is negative", (long long)offset);
    /* Both are at least 0, so the difference cannot overflow. */
    call->results[0] = rl_window(self, rl_arg_ints(call, 1), rl_arg_ints(call, 2), offset - self->offset);
    return rl_error_status();
}

static const rl_sample as_strided_samples[] = {
    {"n[12], [3,2], [4,1], 1"}, {"n[7], [3,3], [2,1]"}, {"n[3], [2,0], [1,1]"}, {"n[], [2,2], [0,0]"}, {0}};
static const rl_bad as_strided_bad[] = {{"f[4], [3], [2]", RL_INVALID_ARGUMENT, "reaches outside"},
                                        {"f[4], [3], [1], -1", RL_INVALID_ARGUMENT, "storage_offset -1 is negative"},
                                        {0}};

const rl_op_def rl_op_def_as_strided = {
    .schema = "as_strided(Tensor(a) self, int[] size, int[] stride, int? storage_offset=None) -> Tensor(a)",
    .doc = "y[i, j, ..] = the element storage_offset + i stride[0] + j stride[1] .. of self's storage",
    .flags = RL_OP_COMPOSITE | RL_OP_LAYOUT,
    .lower = as_strided_lower,
    .samples = as_strided_samples,
    .bad = as_strided_bad,
};

/* unstride: the derivative of every view above ----------------------------------------------------------------------
 */

/* args: grad, size, stride, offset */
static rl_status unstride_infer(rl_call *call) {
    const rl_tensor *g = rl_arg_tensor(call, 0);
    rl_ints size = rl_arg_ints(call, 1), stride = rl_arg_ints(call, 2);
    int64_t numel;
    if (stride.count != g->ndim)
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "stride names %lld dimensions and grad has %d",
                            (long long)stride.count, g->ndim);
    rl_status status = rl_check_shape(rl_call_name(call), size.count, size.data, (rl_dtype)g->dtype, &numel);
    if (status == RL_OK)
        status =
            rl_check_within(rl_call_name(call), g->ndim, g->shape, stride.data, rl_arg_int(call, 3), (uint64_t)numel);
    if (status == RL_OK)
        rl_meta_set(&call->meta[0], (rl_dtype)g->dtype, g->storage->device, size.count, size.data);
    return status;
}

/* offset + i stride[0] + j stride[1] .. at (i, j, ..), of as many dimensions as the key says */
static void write_places(rl_builder *b, uint32_t key) {
    rl_pw place = rl_build_scalar(b, RL_I64);
    for (uint32_t d = 0; d < rl_key_variant(key); d++)
        place = ADD(place, MUL(rl_build_index(b, (int)d), rl_build_scalar(b, RL_I64)));
    rl_build_output(b, place, RL_I64);
}

/* Where elements of the view share a place, gradients are added there one by one. */
static rl_status add_overlapping(rl_call *call, rl_tensor *g) {
    const char *op = rl_call_name(call);
    rl_tensor *out = call->results[0], *places = rl_call_temp(call, RL_I64, g->ndim, g->shape);
    rl_tensor *values = rl_call_temp(call, (rl_dtype)g->dtype, g->ndim, g->shape);
    const rl_program *program = rl_row_program(write_places, RL_KEY(0, 0, 0, g->ndim));
    rl_number scalars[RL_MAX_DIMS + 1] = {{.i = rl_arg_int(call, 3)}};
    rl_ints stride = rl_arg_ints(call, 2);
    for (int64_t d = 0; d < stride.count; d++)
        scalars[d + 1].i = stride.data[d];
    if (places == NULL || values == NULL || program == NULL || rl_move(op, values, g) != RL_OK ||
        rl_row_map(op, program, NULL, &places, scalars) != RL_OK)
        return rl_error_status();
    const int64_t one = 1;
    out = rl_over(out, 1, &out->numel, &one, out->offset);
    places = rl_over(places, 1, &g->numel, &one, places->offset);
    values = rl_over(values, 1, &g->numel, &one, values->offset);
    if (out == NULL || places == NULL || values == NULL)
        return rl_error_status();
    return rl_scatter_wide(op, out, 0, places, values, RL_SCATTER_ADD);
}

static rl_status unstride_lower(rl_call *call) {
    rl_tensor *g = rl_arg_tensor(call, 0), *out = call->results[0];
    const char *op = rl_call_name(call);
    rl_tensor *part = rl_over(out, g->ndim, g->shape, rl_arg_ints(call, 2).data, rl_arg_int(call, 3));
    if (part == NULL)
        return rl_error_status();
    bool overlaps = rl_overlaps_itself(part);
    if ((overlaps || g->numel != out->numel) && rl_clear(op, out) != RL_OK)
        return rl_error_status();
    return g->numel == 0 ? RL_OK : overlaps ? add_overlapping(call, g) : rl_move(op, part, g);
}

/* gg = u seen through the window */
static void unstride_vjp(rl_vjp *v) {
    rl_vjp_set(v, 0, rl_window(rl_contiguous(G), rl_vjp_shape(v, 0), rl_vjp_ints(v, 2), rl_vjp_int(v, 3)));
}

static const rl_sample unstride_samples[] = {{"n[3,2], [12], [4,1], 1"},  {"n[3,3], [7], [2,1], 0"},
                                             {"n[], [3,4], [], 5"},       {"n[2,0], [3], [1,1], 0"},
                                             {"n[5,7]t, [35], [7,1], 0"}, {0}};
static const rl_bad unstride_bad[] = {{"f[3], [4], [2], 0", RL_INVALID_ARGUMENT, "reaches outside"},
                                      {"f[3], [4], [2,1], 0", RL_INVALID_ARGUMENT, "stride names 2 dimensions"},
                                      {0}};

const rl_op_def rl_op_def_unstride = {
    .schema = "unstride(Tensor grad, int[] size, int[] stride, int offset) -> Tensor",
    .doc = "y = zeros(size) with grad[i, j, ..] added at its element offset + i stride[0] + j stride[1] ..",
    .flags = RL_OP_ROWS,
    .infer = unstride_infer,
    .lower = unstride_lower,
    .vjp = unstride_vjp,
    .samples = unstride_samples,
    .bad = unstride_bad,
};
