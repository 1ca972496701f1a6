/* SPDX-License-Identifier: Apache-2.0 */
/* Tensors put together, repeated, turned around. */
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "ops/op_rows.h"

/* cat ---------------------------------------------------------------------------------------------------------------
 */

/* PyTorch passes over tensors of shape (0), whatever the others' dimensions are. */
static bool is_passed_over(int64_t ndim, const int64_t *shape) {
    return ndim == 1 && shape[0] == 0;
}

/* A part has the sizes of the first, but along dim (-1: there too). */
static rl_status check_part(const rl_call *call, const rl_tensor *first, int64_t i, const rl_tensor *part,
                            int64_t dim) {
    bool fits = part->ndim == first->ndim;
    for (int64_t d = 0; fits && d < first->ndim; d++)
        fits = d == dim || part->shape[d] == first->shape[d];
    if (fits)
        return RL_OK;
    char want[RL_SHAPE_TEXT], have[RL_SHAPE_TEXT], but[48] = "";
    if (dim >= 0)
        snprintf(but, sizeof but, " but that of dimension %lld", (long long)dim);
    return rl_call_fail(call, RL_SHAPE_MISMATCH, "tensors[%lld] %s does not fit to %s: all sizes%s must be equal",
                        (long long)i, rl_shape_text(part->ndim, part->shape, have),
                        rl_shape_text(first->ndim, first->shape, want), but);
}

static rl_status cat_infer(rl_call *call) {
    rl_tensors parts = call->args[0].as.tensors;
    rl_status status = rl_check_same_device(call);
    if (status != RL_OK)
        return status;
    if (parts.count == 0)
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "tensors is empty: there must be at least one");
    const rl_tensor *first = parts.data[0];
    rl_dtype dtype = (rl_dtype)first->dtype;
    for (int64_t i = 0; i < parts.count; i++) {
        const rl_tensor *part = parts.data[i];
        if (part->ndim == 0)
            return rl_call_fail(call, RL_SHAPE_MISMATCH, "tensors[%lld] has no dimensions: use stack", (long long)i);
        if (is_passed_over(first->ndim, first->shape))
            first = part;
        if ((rl_dtype)part->dtype != dtype)
            dtype = rl_promote_dtypes(dtype, (rl_dtype)part->dtype);
    }
    int64_t dim = rl_wrap_dim(rl_call_name(call), rl_arg_int(call, 1), first->ndim);
    if (dim < 0)
        return rl_error_status();
    rl_meta *meta = &call->meta[0];
    rl_meta_set(meta, dtype, first->storage->device, first->ndim, first->shape);
    meta->shape[dim] = 0;
    for (int64_t i = 0; i < parts.count; i++) {
        const rl_tensor *part = parts.data[i];
        if (is_passed_over(part->ndim, part->shape))
            continue;
        status = check_part(call, first, i, part, dim);
        if (status != RL_OK)
            return status;
        if (__builtin_add_overflow(meta->shape[dim], part->shape[dim], &meta->shape[dim]))
            return rl_call_fail(call, RL_INVALID_ARGUMENT,
                                "the sizes of tensors along dim %lld add up to more than 2^63", (long long)dim);
    }
    return RL_OK;
}

static rl_status cat_lower(rl_call *call) {
    rl_tensors parts = call->args[0].as.tensors;
    rl_tensor *out = call->results[0];
    int64_t dim = rl_wrap_dim("cat", rl_arg_int(call, 1), out->ndim), offset = out->offset;
    for (int64_t i = 0; i < parts.count; i++) {
        rl_tensor *part = parts.data[i];
        if (part->numel == 0)
            continue;
        rl_tensor *place = rl_over(out, part->ndim, part->shape, out->stride, offset);
        if (place == NULL || rl_move("cat", place, part) != RL_OK)
            return rl_error_status();
        offset += part->shape[dim] * out->stride[dim];
    }
    return RL_OK;
}

/* The gradient of each tensor is its part of g. */
static void cat_vjp(rl_vjp *v) {
    rl_tensor *g = G;
    int64_t dim = rl_vjp_int(v, 1), start = 0;
    dim += dim < 0 ? g->ndim : 0;
    for (int64_t i = 0; i < rl_vjp_element_count(v, 0); i++) {
        const rl_meta *part = rl_vjp_element_meta(v, 0, i);
        if (is_passed_over(part->ndim, part->shape))
            continue;
        rl_vjp_set_element(v, 0, i, rl_narrow(g, dim, start, part->shape[dim]));
        start += part->shape[dim];
    }
}

static const rl_sample cat_samples[] = {{"[n[3,4], n[2,4]]"},
                                        {"[n[3,4], n[3,1], n[3,2]], 1"},
                                        {"[n[2]]"},
                                        {"[n[0,3], n[2,3]]"},
                                        {"[n[0], n[2,3]]"},
                                        {"[n[0], n[0]]"},
                                        {"[n[5,7]t, n[5,7]], -1"},
                                        {"[n[33]s, n[4]e]"},
                                        {"[f32[2], i64[3]]"},
                                        {0}};
static const rl_bad cat_bad[] = {{"[]", RL_INVALID_ARGUMENT, "tensors is empty"},
                                 {"[f[2,3], f[2,4]]", RL_SHAPE_MISMATCH, "tensors[1] (2, 4) does not fit to (2, 3)"},
                                 {"[f[2,3], f[3]]", RL_SHAPE_MISMATCH, "tensors[1] (3) does not fit"},
                                 {"[f[], f[]]", RL_SHAPE_MISMATCH, "use stack"},
                                 {"[f[2], f[2]], 1", RL_INDEX_OUT_OF_RANGE, "dim 1 is out of range"},
                                 {0}};

const rl_op_def rl_op_def_cat = {
    .schema = "cat(Tensor[] tensors, int dim=0) -> Tensor",
    .doc = "y = the tensors one after the other along dim",
    .note = "Dtypes promote. Tensors of shape (0) are passed over.",
    .flags = RL_OP_ROWS | RL_OP_AUTOCAST_WIDEST,
    .infer = cat_infer,
    .lower = cat_lower,
    .vjp = cat_vjp,
    .samples = cat_samples,
    .bad = cat_bad,
};

/* stack -------------------------------------------------------------------------------------------------------------
 */

static rl_status stack_lower(rl_call *call) {
    rl_tensors parts = call->args[0].as.tensors;
    if (parts.count == 0)
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "tensors is empty: there must be at least one");
    const rl_tensor *first = parts.data[0];
    int64_t dim = rl_wrap_dim(rl_call_name(call), rl_arg_int(call, 1), first->ndim + 1);
    if (dim < 0)
        return rl_error_status();
    rl_tensor **wider = rl_alloc((size_t)parts.count * sizeof *wider, "the tensors of stack");
    if (wider == NULL)
        return rl_error_status();
    for (int64_t i = 0; i < parts.count && !rl_failed(); i++) {
        if (check_part(call, first, i, parts.data[i], -1) == RL_OK)
            wider[i] = rl_unsqueeze(parts.data[i], dim);
    }
    if (!rl_failed())
        call->results[0] = rl_cat(((rl_tensors){wider, parts.count}), .dim = dim ? dim : RL_ZERO);
    rl_free(wider);
    return rl_error_status();
}

static const rl_sample stack_samples[] = {{"[n[3,4], n[3,4]]"},    {"[n[3], n[3], n[3]], 1"}, {"[n[], n[]]"},
                                          {"[n[0,3], n[0,3]], 1"}, {"[n[5,7]t, n[5,7]], -1"}, {0}};
static const rl_bad stack_bad[] = {{"[]", RL_INVALID_ARGUMENT, "tensors is empty"},
                                   {"[f[2], f[3]]", RL_SHAPE_MISMATCH, "tensors[1] (3) does not fit to (2)"},
                                   {"[f[2]], 2", RL_INDEX_OUT_OF_RANGE, "dim 2 is out of range"},
                                   {0}};

const rl_op_def rl_op_def_stack = {
    .schema = "stack(Tensor[] tensors, int dim=0) -> Tensor",
    .doc = "y = the tensors, of one shape, side by side along a new dimension dim",
    .flags = RL_OP_COMPOSITE | RL_OP_AUTOCAST_WIDEST,
    .lower = stack_lower,
    .samples = stack_samples,
    .bad = stack_bad,
};

/* repeat, tile, repeat_interleave -----------------------------------------------------------------------------------
 */

/* Size s, r times, is r of s elements each: a dimension of stride 0 before that of s, and both read as one. */
static rl_tensor *repeated(const rl_call *call, rl_tensor *self, rl_ints repeats) {
    int64_t split[2 * RL_MAX_DIMS], whole[2 * RL_MAX_DIMS], shape[RL_MAX_DIMS], n = 0,
                                                                                added = repeats.count - self->ndim;
    if (repeats.count > RL_MAX_DIMS || added < 0)
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "repeats names %lld dimensions and must name %d to %d",
                            (long long)repeats.count, self->ndim, RL_MAX_DIMS),
               NULL;
    for (int64_t d = 0; d < repeats.count; d++) {
        int64_t size = d < added ? 1 : self->shape[d - added], times = repeats.data[d];
        if (times < 0)
            return rl_call_fail(call, RL_INVALID_ARGUMENT, "repeats[%lld] = %lld is negative", (long long)d,
                                (long long)times),
                   NULL;
        if (__builtin_mul_overflow(size, times, &shape[d]))
            return rl_call_fail(call, RL_INVALID_ARGUMENT, "size %lld times %lld overflows", (long long)size,
                                (long long)times),
                   NULL;
        if (size != 1 && times != 1) {
            split[n] = 1;
            whole[n++] = times;
        }
        split[n] = size;
        whole[n++] = size == 1 ? times : size;
    }
    if (n > RL_MAX_DIMS)
        return rl_call_fail(call, RL_UNSUPPORTED, "%lld dimensions would be needed on the way; at most %d are possible",
                            (long long)n, RL_MAX_DIMS),
               NULL;
    rl_tensor *wide = rl_expand(rl_reshape(self, ((rl_ints){split, n})), ((rl_ints){whole, n}));
    return rl_view(rl_clone(wide, .memory_format = "contiguous_format"), ((rl_ints){shape, repeats.count}));
}

static rl_status repeat_lower(rl_call *call) {
    call->results[0] = repeated(call, rl_arg_tensor(call, 0), rl_arg_ints(call, 1));
    return rl_error_status();
}

static const rl_sample repeat_samples[] = {
    {"n[3,4], [2,3]"}, {"n[3], [2,2]"},   {"n[], [3]"},       {"n[], []"},     {"n[2,1], [1,3]"},
    {"n[0,3], [2,1]"}, {"n[3,4], [0,2]"}, {"n[5,7]t, [2,1]"}, {"n[33]s, [2]"}, {0}};
static const rl_bad repeat_bad[] = {{"f[2,3], [2]", RL_INVALID_ARGUMENT, "repeats names 1 dimensions"},
                                    {"f[2], [-1]", RL_INVALID_ARGUMENT, "repeats[0] = -1 is negative"},
                                    {"f[2], [4611686018427387904]", RL_INVALID_ARGUMENT, "overflows"},
                                    {0}};

const rl_op_def rl_op_def_repeat = {
    .schema = "repeat(Tensor self, int[] repeats) -> Tensor",
    .doc = "y = self repeats[d] times along each dimension d, new ones in front",
    .flags = RL_OP_COMPOSITE,
    .lower = repeat_lower,
    .samples = repeat_samples,
    .bad = repeat_bad,
};

static rl_status tile_lower(rl_call *call) {
    rl_tensor *self = rl_arg_tensor(call, 0);
    rl_ints dims = rl_arg_ints(call, 1);
    int64_t repeats[RL_MAX_DIMS] = {0}, ones = dims.count < self->ndim ? self->ndim - dims.count : 0;
    for (int64_t d = 0; d < ones; d++)
        repeats[d] = 1;
    if (ones > 0 && dims.count > 0)
        memcpy(repeats + ones, dims.data, (size_t)dims.count * sizeof *repeats);
    call->results[0] = repeated(call, self, ones > 0 ? (rl_ints){repeats, self->ndim} : dims);
    return rl_error_status();
}
static const rl_sample tile_samples[] = {{"n[3,4], [2]"}, {"n[3], [2,2]"},    {"n[], []"},
                                         {"n[0,3], [2]"}, {"n[5,7]t, [2,1]"}, {0}};
static const rl_bad tile_bad[] = {{"f[2], [-1]", RL_INVALID_ARGUMENT, "repeats[0] = -1 is negative"}, {0}};

const rl_op_def rl_op_def_tile = {
    .schema = "tile(Tensor self, int[] dims) -> Tensor",
    .doc = "y = self dims[d] times along each of its last dimensions",
    .flags = RL_OP_COMPOSITE,
    .lower = tile_lower,
    .samples = tile_samples,
    .bad = tile_bad,
};

static rl_status repeat_interleave_lower(rl_call *call) {
    rl_tensor *self = rl_arg_tensor(call, 0);
    int64_t times = rl_arg_int(call, 1), dim = 0, shape[RL_MAX_DIMS + 1];
    if (!rl_arg_given(call, 2))
        self = rl_reshape(self, RL_DIMS(-1));
    else if ((dim = rl_wrap_dim(rl_call_name(call), rl_arg_int(call, 2), self->ndim)) < 0)
        return rl_error_status();
    else if (self->ndim == 0)
        self = rl_reshape(self, RL_DIMS(1));
    if (times < 0)
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "repeats %lld is negative", (long long)times);
    rl_tensor *wide = rl_unsqueeze(self, dim + 1);
    if (wide == NULL)
        return rl_error_status();
    memcpy(shape, wide->shape, (size_t)wide->ndim * sizeof *shape);
    shape[dim + 1] = times;
    call->results[0] = rl_flatten(rl_expand(wide, ((rl_ints){shape, wide->ndim})), .start_dim = dim ? dim : RL_ZERO,
                                  .end_dim = dim + 1);
    return rl_error_status();
}
static const rl_sample repeat_interleave_samples[] = {
    {"n[3,4], 2"}, {"n[3,4], 2, 1"}, {"n[3,4], 0, 0"}, {"n[], 3"}, {"n[0,3], 2, 1"}, {"n[5,7]t, 2, 0"}, {0}};
static const rl_bad repeat_interleave_bad[] = {{"f[2], -1", RL_INVALID_ARGUMENT, "repeats -1 is negative"},
                                               {"f[2], 2, 1", RL_INDEX_OUT_OF_RANGE, "dim 1 is out of range"},
                                               {0}};

const rl_op_def rl_op_def_repeat_interleave = {
    .schema = "repeat_interleave(Tensor self, int repeats, int? dim=None) -> Tensor",
    .doc = "y = each element of self repeats times along dim; of self flattened for None",
    .flags = RL_OP_COMPOSITE,
    .lower = repeat_interleave_lower,
    .samples = repeat_interleave_samples,
    .bad = repeat_interleave_bad,
};

/* flip, roll --------------------------------------------------------------------------------------------------------
 */

static rl_status flip_infer(rl_call *call) {
    uint32_t mask;
    rl_status status = rl_wrap_dims(rl_call_name(call), rl_arg_ints(call, 1), rl_arg_tensor(call, 0)->ndim, &mask);
    return status == RL_OK ? rl_infer_same_as_input(call) : status;
}

/* A copy from a view whose strides are turned around. */
static rl_status flip_lower(rl_call *call) {
    const rl_tensor *self = rl_arg_tensor(call, 0);
    rl_ints dims = rl_arg_ints(call, 1);
    rl_geometry g = rl_geometry_of(self);
    if (self->numel == 0)
        return RL_OK;
    for (int64_t i = 0; i < dims.count && g.ndim > 0; i++) {
        int64_t d = dims.data[i] < 0 ? dims.data[i] + g.ndim : dims.data[i];
        g.offset += (g.shape[d] - 1) * g.stride[d];
        g.stride[d] = -g.stride[d];
    }
    rl_tensor *turned = rl_over(self, g.ndim, g.shape, g.stride, g.offset);
    return turned ? rl_move("flip", call->results[0], turned) : rl_error_status();
}
VJP(flip, rl_flip(G, rl_vjp_ints(v, 1))) /* gx = g turned back */

static const rl_sample flip_samples[] = {{"n[3,4], [0]"}, {"n[3,4], [0,-1]"}, {"n[], []"},
                                         {"n[3], []"},    {"n[0,3], [1]"},    {"n[5,7]t, [0]"},
                                         {"n[33]s, [0]"}, {"n[4]e, [0]"},     {0}};
static const rl_bad flip_bad[] = {{"f[2,3], [2]", RL_INDEX_OUT_OF_RANGE, "dim 2 is out of range"},
                                  {"f[2,3], [0,0]", RL_INVALID_ARGUMENT, "given twice"},
                                  {0}};

const rl_op_def rl_op_def_flip = {
    .schema = "flip(Tensor self, int[1] dims) -> Tensor",
    .doc = "y[.., i, ..] = self[.., n - 1 - i, ..] along each of dims",
    .flags = RL_OP_ROWS,
    .infer = flip_infer,
    .lower = flip_lower,
    .vjp = flip_vjp,
    .samples = flip_samples,
    .bad = flip_bad,
};

static rl_tensor *rolled(rl_tensor *self, int64_t shift, int64_t dim) {
    int64_t size = self->shape[dim];
    if (size == 0)
        return self;
    int64_t front = shift % size < 0 ? shift % size + size : shift % size; /* elements that come from the end */
    if (front == 0)
        return self;
    return rl_cat(RL_TENSORS(rl_narrow(self, dim, size - front, front), rl_narrow(self, dim, 0, size - front)),
                  .dim = dim ? dim : RL_ZERO);
}

static rl_status roll_lower(rl_call *call) {
    rl_tensor *self = rl_arg_tensor(call, 0), *y = self;
    rl_ints shifts = rl_arg_ints(call, 1), dims = rl_arg_ints(call, 2);
    if (dims.count == 0 && shifts.count == 1) {
        rl_tensor *flat = rl_reshape(self, RL_DIMS(-1));
        y = flat ? rl_reshape(rolled(flat, shifts.data[0], 0), rl_shape_of(self)) : NULL;
    } else if (dims.count != shifts.count || shifts.count == 0) {
        return rl_call_fail(call, RL_INVALID_ARGUMENT,
                            "shifts has %lld numbers and dims %lld: as many are needed, at least one",
                            (long long)shifts.count, (long long)dims.count);
    } else if (self->ndim == 0) {
        return rl_call_fail(call, RL_INDEX_OUT_OF_RANGE, "dims has %lld numbers and self no dimensions",
                            (long long)dims.count);
    }
    for (int64_t i = 0; i < dims.count && y != NULL; i++) {
        int64_t dim = rl_wrap_dim(rl_call_name(call), dims.data[i], self->ndim);
        y = dim < 0 ? y : rolled(y, shifts.data[i], dim);
    }
    if (!rl_failed())
        call->results[0] = y == self ? rl_clone(self) : y;
    return rl_error_status();
}
static const rl_sample roll_samples[] = {{"n[3,4], 1"},
                                         {"n[3,4], [1,-2], [0,1]"},
                                         {"n[3,4], -5, 1"},
                                         {"n[0,3], 1, 0"},
                                         {"n[], 1"},
                                         {"n[5,7]t, 2, 0"},
                                         {"n[33]s, 40, 0"},
                                         {"n[3], 3, 0"},
                                         {0}};
static const rl_bad roll_bad[] = {{"f[], 1, 0", RL_INDEX_OUT_OF_RANGE, "self no dimensions"},
                                  {"f[2], [], []", RL_INVALID_ARGUMENT, "at least one"},
                                  {"f[2,3], [1,2], [0]", RL_INVALID_ARGUMENT, "shifts has 2 numbers and dims 1"},
                                  {"f[2,3], 1, 2", RL_INDEX_OUT_OF_RANGE, "dim 2 is out of range"},
                                  {0}};

const rl_op_def rl_op_def_roll = {
    .schema = "roll(Tensor self, int[1] shifts, int[1] dims=[]) -> Tensor",
    .doc = "y[.., i, ..] = self[.., (i - shift) mod n, ..] along each of dims; of self flattened for none",
    .flags = RL_OP_COMPOSITE,
    .lower = roll_lower,
    .samples = roll_samples,
    .bad = roll_bad,
};
