/* SPDX-License-Identifier: Apache-2.0 */
/* Views that hold all elements: other shapes, other orders of dimensions, repetition by stride 0. No kernel runs. */
#include <string.h>

#include "ops/op_rows.h"

/* view, reshape, flatten ------------------------------------------------------------------------------------------ */

/* The new shape, its one -1 replaced by what is left for it. */
static rl_status find_shape(const rl_call *call, const rl_tensor *self, rl_ints size, int64_t *out_shape) {
    char want[RL_SHAPE_TEXT];
    int64_t known = 1, open = -1;
    if (size.count > RL_MAX_DIMS)
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "a shape of %lld dimensions; at most %d are possible",
                            (long long)size.count, RL_MAX_DIMS);
    bool fits = true;
    for (int64_t d = 0; d < size.count; d++) {
        out_shape[d] = size.data[d];
        if (size.data[d] == -1 && open >= 0)
            return rl_call_fail(call, RL_INVALID_ARGUMENT, "shape %s: only one size can be -1",
                                rl_shape_text(size.count, size.data, want));
        if (size.data[d] == -1)
            open = d;
        else if (size.data[d] < 0)
            return rl_call_fail(call, RL_INVALID_ARGUMENT, "shape %s: size %lld of dimension %lld is negative",
                                rl_shape_text(size.count, size.data, want), (long long)size.data[d], (long long)d);
        else
            fits = fits && !__builtin_mul_overflow(known, size.data[d], &known);
    }
    if (open >= 0 && fits && known == 0)
        return rl_call_fail(call, RL_SHAPE_MISMATCH, "shape %s: -1 could be any size, as another one is 0",
                            rl_shape_text(size.count, size.data, want));
    if (open >= 0 && fits && self->numel % known == 0) {
        out_shape[open] = self->numel / known;
        known = self->numel;
    }
    if (fits && known == self->numel)
        return RL_OK;
    char have[RL_SHAPE_TEXT];
    return rl_call_fail(call, RL_SHAPE_MISMATCH, "shape %s does not hold the %lld elements of self %s",
                        rl_shape_text(size.count, size.data, want), (long long)self->numel,
                        rl_shape_text(self->ndim, self->shape, have));
}

static rl_status view_lower(rl_call *call) {
    const rl_tensor *self = rl_arg_tensor(call, 0);
    rl_ints size = rl_arg_ints(call, 1);
    rl_geometry g = {.ndim = size.count, .offset = self->offset};
    rl_status status = find_shape(call, self, size, g.shape);
    if (status != RL_OK)
        return status;
    if (rl_view_strides(self->ndim, self->shape, self->stride, g.ndim, g.shape, g.stride))
        return rl_view_made(call, &g);
    char have[RL_SHAPE_TEXT], strides[RL_SHAPE_TEXT], want[RL_SHAPE_TEXT];
    return rl_call_fail(call, RL_INVALID_ARGUMENT,
                        "self %s with strides %s cannot be seen as %s without a copy: use reshape",
                        rl_shape_text(self->ndim, self->shape, have), rl_shape_text(self->ndim, self->stride, strides),
                        rl_shape_text(g.ndim, g.shape, want));
}
VJP(view, rl_reshape(G, rl_vjp_shape(v, 0))) /* gx = g in the shape of x */

static const rl_sample view_samples[] = {
    {"n[3,4], [4,3]"},    {"n[3,4], [2,-1]"}, {"n[], [1,1]"},   {"n[1], []"},        {"n[0,3], [3,0]"},
    {"n[5,7]t, [5,7,1]"}, {"n[33]s, [3,11]"}, {"n[4]e, [2,2]"}, {"n[2,3,5], [6,5]"}, {0}};
static const rl_bad view_bad[] = {{"f[2,3], [4]", RL_SHAPE_MISMATCH, "(4) does not hold the 6 elements of self (2, 3)"},
                                  {"f[2,3], [-1,-1]", RL_INVALID_ARGUMENT, "only one size can be -1"},
                                  {"f[2,3], [-2,3]", RL_INVALID_ARGUMENT, "negative"},
                                  {"f[0,3], [0,-1]", RL_SHAPE_MISMATCH, "-1 could be any size"},
                                  {"f[5,7]t, [35]", RL_INVALID_ARGUMENT, "use reshape"},
                                  {"f[2,3], [4294967296,4294967296]", RL_SHAPE_MISMATCH, "does not hold"},
                                  {"None, [2]", RL_INVALID_ARGUMENT, "self"},
                                  {0}};

const rl_op_def rl_op_def_view = {
    .schema = "view(Tensor(a) self, int[] size) -> Tensor(a)",
    .doc = "y = the elements of self in row-major order, in another shape",
    .note = "One size may be -1: what is left. An error where the strides would need a copy: reshape makes one.",
    .flags = RL_OP_VIEW | RL_OP_LAYOUT,
    .lower = view_lower,
    .vjp = view_vjp,
    .samples = view_samples,
    .bad = view_bad,
};

static rl_tensor *reshaped(const rl_call *call, rl_tensor *self, rl_ints size) {
    int64_t shape[RL_MAX_DIMS], stride[RL_MAX_DIMS];
    if (find_shape(call, self, size, shape) != RL_OK)
        return NULL;
    rl_ints found = {shape, size.count};
    if (rl_view_strides(self->ndim, self->shape, self->stride, size.count, shape, stride))
        return rl_view(self, found);
    return rl_view(rl_clone(self, .memory_format = "contiguous_format"), found);
}

static rl_status reshape_lower(rl_call *call) {
    call->results[0] = reshaped(call, rl_arg_tensor(call, 0), rl_arg_ints(call, 1));
    return rl_error_status();
}

static const rl_sample reshape_samples[] = {{"n[3,4], [4,3]"},  {"n[3,4], [-1]"},  {"n[], [1,1]"},
                                            {"n[1], []"},       {"n[0,3], [3,0]"}, {"n[5,7]t, [35]"},
                                            {"n[33]s, [-1,3]"}, {"n[4]e, [2,2]"},  {0}};
static const rl_bad reshape_bad[] = {{"f[2,3], [4]", RL_SHAPE_MISMATCH, "(4) does not hold the 6 elements"},
                                     {"f[2,3], [-1,-1]", RL_INVALID_ARGUMENT, "only one size can be -1"},
                                     {"None, [2]", RL_INVALID_ARGUMENT, "self"},
                                     {0}};

const rl_op_def rl_op_def_reshape = {
    .schema = "reshape(Tensor(a) self, int[] shape) -> Tensor(a)",
    .doc = "y = the elements of self in row-major order, in another shape",
    .note = "A view where the strides allow it, else a copy. One size may be -1: what is left.",
    .flags = RL_OP_COMPOSITE,
    .lower = reshape_lower,
    .samples = reshape_samples,
    .bad = reshape_bad,
};

static rl_status reshape_as_lower(rl_call *call) {
    call->results[0] = reshaped(call, rl_arg_tensor(call, 0), rl_shape_of(rl_arg_tensor(call, 1)));
    return rl_error_status();
}
static const rl_sample reshape_as_samples[] = {{"n[3,4], f[4,3]"}, {"n[5,7]t, f[35]"}, {"n[0,3], f[3,0]"}, {0}};
static const rl_bad reshape_as_bad[] = {{"f[2,3], f[4]", RL_SHAPE_MISMATCH, "does not hold the 6 elements"}, {0}};

const rl_op_def rl_op_def_reshape_as = {
    .schema = "reshape_as(Tensor(a) self, Tensor other) -> Tensor(a)",
    .doc = "y = the elements of self in the shape of other",
    .flags = RL_OP_COMPOSITE,
    .lower = reshape_as_lower,
    .samples = reshape_as_samples,
    .bad = reshape_as_bad,
};

static rl_status view_as_lower(rl_call *call) {
    call->results[0] = rl_view(rl_arg_tensor(call, 0), rl_shape_of(rl_arg_tensor(call, 1)));
    return rl_error_status();
}
static const rl_sample view_as_samples[] = {{"n[3,4], f[4,3]"}, {"n[0,3], f[3,0]"}, {0}};

const rl_op_def rl_op_def_view_as = {
    .schema = "view_as(Tensor(a) self, Tensor other) -> Tensor(a)",
    .doc = "y = self viewed in the shape of other",
    .flags = RL_OP_COMPOSITE | RL_OP_LAYOUT,
    .lower = view_as_lower,
    .samples = view_as_samples,
    .bad = reshape_as_bad,
};

static rl_status flatten_lower(rl_call *call) {
    rl_tensor *self = rl_arg_tensor(call, 0);
    const char *op = rl_call_name(call);
    int64_t start = rl_wrap_dim(op, rl_arg_int(call, 1), self->ndim);
    int64_t end = start < 0 ? -1 : rl_wrap_dim(op, rl_arg_int(call, 2), self->ndim);
    if (end < 0)
        return rl_error_status();
    if (start > end)
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "start_dim %lld comes after end_dim %lld", (long long)start,
                            (long long)end);
    if (self->ndim > 0 && start == end) {
        call->results[0] = self;
        return RL_OK;
    }
    int64_t shape[RL_MAX_DIMS], n = 0, joined = 1;
    for (int64_t d = 0; d < self->ndim; d++) {
        joined *= d >= start && d <= end ? self->shape[d] : 1;
        if (d < start || d > end)
            shape[n++] = self->shape[d];
        else if (d == end)
            shape[n++] = joined;
    }
    if (self->ndim == 0)
        shape[n++] = 1;
    call->results[0] = reshaped(call, self, (rl_ints){shape, n});
    return rl_error_status();
}

static const rl_sample flatten_samples[] = {{"n[2,3,4]"}, {"n[2,3,4], 1"}, {"n[2,3,4], 0, 1"}, {"n[]"}, {"n[0,3]"},
                                            {"n[5,7]t"},  {"n[33]s"},      {"n[2,3,4], 1, 1"}, {0}};
static const rl_bad flatten_bad[] = {{"f[2,3], 2", RL_INDEX_OUT_OF_RANGE, "dim 2 is out of range"},
                                     {"f[2,3], 1, 0", RL_INVALID_ARGUMENT, "start_dim 1 comes after end_dim 0"},
                                     {0}};

const rl_op_def rl_op_def_flatten = {
    .schema = "flatten(Tensor(a) self, int start_dim=0, int end_dim=-1) -> Tensor(a)",
    .doc = "y = self with dimensions start_dim to end_dim as one",
    .flags = RL_OP_COMPOSITE,
    .lower = flatten_lower,
    .samples = flatten_samples,
    .bad = flatten_bad,
};

static rl_status unflatten_lower(rl_call *call) {
    rl_tensor *self = rl_arg_tensor(call, 0);
    rl_ints sizes = rl_arg_ints(call, 2);
    int64_t dim = rl_wrap_dim(rl_call_name(call), rl_arg_int(call, 1), self->ndim);
    if (dim < 0)
        return rl_error_status();
    if (self->ndim == 0 || sizes.count == 0 || self->ndim - 1 + sizes.count > RL_MAX_DIMS)
        return rl_call_fail(call, RL_INVALID_ARGUMENT,
                            "self has %d dimensions and sizes %lld: there must be some of each and a result of at most "
                            "%d dimensions",
                            self->ndim, (long long)sizes.count, RL_MAX_DIMS);
    int64_t shape[RL_MAX_DIMS], known = 1, open = -1;
    memcpy(shape, self->shape, (size_t)dim * sizeof *shape);
    memcpy(shape + dim, sizes.data, (size_t)sizes.count * sizeof *shape);
    memcpy(shape + dim + sizes.count, self->shape + dim + 1, (size_t)(self->ndim - dim - 1) * sizeof *shape);
    bool fits = true;
    for (int64_t i = 0; i < sizes.count; i++) {
        if (sizes.data[i] == -1 && open < 0)
            open = dim + i;
        else
            fits = fits && sizes.data[i] >= 0 && !__builtin_mul_overflow(known, sizes.data[i], &known);
    }
    if (open >= 0 && fits && known > 0 && self->shape[dim] % known == 0) {
        shape[open] = self->shape[dim] / known;
        known = self->shape[dim];
    }
    if (!fits || known != self->shape[dim]) {
        char text[RL_SHAPE_TEXT];
        return rl_call_fail(call, RL_SHAPE_MISMATCH, "sizes %s do not multiply to %lld, the size of dimension %lld",
                            rl_shape_text(sizes.count, sizes.data, text), (long long)self->shape[dim], (long long)dim);
    }
    call->results[0] = rl_view(self, (rl_ints){shape, self->ndim - 1 + sizes.count});
    return rl_error_status();
}

static const rl_sample unflatten_samples[] = {
    {"n[12,2], 0, [3,4]"}, {"n[2,12], -1, [-1,6]"}, {"n[0,3], 0, [0,2]"}, {"n[6,5]t, 1, [5,1]"}, {0}};
static const rl_bad unflatten_bad[] = {{"f[12], 0, [5,2]", RL_SHAPE_MISMATCH, "do not multiply to 12"},
                                       {"f[12], 1, [3,4]", RL_INDEX_OUT_OF_RANGE, "out of range"},
                                       {0}};

const rl_op_def rl_op_def_unflatten = {
    .schema = "unflatten(Tensor(a) self, int dim, int[] sizes) -> Tensor(a)",
    .doc = "y = self with dimension dim as several",
    .flags = RL_OP_COMPOSITE,
    .lower = unflatten_lower,
    .samples = unflatten_samples,
    .bad = unflatten_bad,
};

/* alias ----------------------------------------------------------------------------------------------------------- */

static rl_status alias_lower(rl_call *call) {
    rl_geometry g = rl_geometry_of(rl_arg_tensor(call, 0));
    return rl_view_made(call, &g);
}
VJP(alias, G) /* gx = g */

const rl_op_def rl_op_def_alias = {
    .schema = "alias(Tensor(a) self) -> Tensor(a)",
    .doc = "y = self, as another tensor over the same storage",
    .flags = RL_OP_VIEW,
    .lower = alias_lower,
    .vjp = alias_vjp,
    .samples = rl_samples_number,
    .bad = rl_bad_unary,
};

/* squeeze, unsqueeze ---------------------------------------------------------------------------------------------- */

static rl_status squeeze_lower(rl_call *call) {
    rl_geometry g = rl_geometry_of(rl_arg_tensor(call, 0));
    uint32_t mask = UINT32_MAX;
    if (rl_arg_given(call, 1)) {
        rl_ints dims = rl_arg_ints(call, 1);
        rl_status status = rl_wrap_dims(rl_call_name(call), dims, g.ndim, &mask);
        if (status != RL_OK)
            return status;
        mask = dims.count > 0 ? mask : 0;
    }
    for (int64_t d = g.ndim - 1; d >= 0; d--)
        if ((mask >> d & 1) && g.shape[d] == 1)
            rl_geometry_remove(&g, d);
    return rl_view_made(call, &g);
}

static const rl_sample squeeze_samples[] = {{"n[1,3,1]"}, {"n[1,3,1], 0"}, {"n[1,3,1], [0,2]"}, {"n[2,3], 1"}, {"n[]"},
                                            {"n[], 0"},   {"n[0,1]"},      {"n[1,5,7]t"},       {"n[1]s"},     {0}};
static const rl_bad squeeze_bad[] = {{"f[2,1], 2", RL_INDEX_OUT_OF_RANGE, "dim 2 is out of range"},
                                     {"f[1,1], [0,-2]", RL_INVALID_ARGUMENT, "given twice"},
                                     {0}};

const rl_op_def rl_op_def_squeeze = {
    .schema = "squeeze(Tensor(a) self, int[1]? dim=None) -> Tensor(a)",
    .doc = "y = self without the dimensions (all, or those given) of size 1",
    .flags = RL_OP_VIEW,
    .lower = squeeze_lower,
    .vjp = view_vjp,
    .samples = squeeze_samples,
    .bad = squeeze_bad,
};

static rl_status unsqueeze_lower(rl_call *call) {
    rl_geometry g = rl_geometry_of(rl_arg_tensor(call, 0));
    const char *op = rl_call_name(call);
    int64_t dim = rl_wrap_dim(op, rl_arg_int(call, 1), g.ndim + 1);
    if (dim < 0)
        return rl_error_status();
    int64_t stride = dim < g.ndim ? g.shape[dim] * g.stride[dim] : 1;
    rl_status status = rl_geometry_insert(op, &g, dim, 1, stride);
    return status == RL_OK ? rl_view_made(call, &g) : status;
}

static const rl_sample unsqueeze_samples[] = {{"n[3,4], 0"},  {"n[3,4], -1"}, {"n[], 0"},   {"n[], -1"}, {"n[0,3], 1"},
                                              {"n[5,7]t, 1"}, {"n[33]s, 1"},  {"n[4]e, 0"}, {0}};
static const rl_bad unsqueeze_bad[] = {{"f[2], 2", RL_INDEX_OUT_OF_RANGE, "dim 2 is out of range"},
                                       {"f[1,1,1,1,1,1,1,1,1,1,1,1], 0", RL_INVALID_ARGUMENT, "at most 12"},
                                       {0}};

const rl_op_def rl_op_def_unsqueeze = {
    .schema = "unsqueeze(Tensor(a) self, int dim) -> Tensor(a)",
    .doc = "y = self with a new dimension of size 1 at dim",
    .flags = RL_OP_VIEW,
    .lower = unsqueeze_lower,
    .vjp = view_vjp,
    .samples = unsqueeze_samples,
    .bad = unsqueeze_bad,
};

/* expand ---------------------------------------------------------------------------------------------------------- */

static rl_status expand_lower(rl_call *call) {
    const rl_tensor *self = rl_arg_tensor(call, 0);
    rl_ints size = rl_arg_ints(call, 1);
    char have[RL_SHAPE_TEXT], want[RL_SHAPE_TEXT];
    if (size.count > RL_MAX_DIMS)
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "a size of %lld dimensions; at most %d are possible",
                            (long long)size.count, RL_MAX_DIMS);
    rl_geometry g = {.ndim = size.count, .offset = self->offset};
    int64_t added = size.count - self->ndim, numel;
    bool fits = added >= 0;
    for (int64_t d = 0; fits && d < size.count; d++) {
        int64_t own = d < added ? 1 : self->shape[d - added];
        g.shape[d] = size.data[d] == -1 && d >= added ? own : size.data[d];
        fits = own == 1 || g.shape[d] == own;
    }
    if (!fits)
        return rl_call_fail(call, RL_SHAPE_MISMATCH,
                            "self %s cannot be expanded to %s: counted from the last, sizes must be equal, or self's 1",
                            rl_shape_text(self->ndim, self->shape, have), rl_shape_text(size.count, size.data, want));
    rl_status status = rl_check_shape(rl_call_name(call), g.ndim, g.shape, (rl_dtype)self->dtype, &numel);
    if (status != RL_OK)
        return status;
    rl_broadcast_strides(self->ndim, self->shape, self->stride, g.ndim, g.shape, g.stride);
    return rl_view_made(call, &g);
}
VJP(expand, G) /* gx = g summed over what was repeated */

static const rl_sample expand_samples[] = {{"n[3,1], [3,4]"},  {"n[4], [3,-1]"},  {"n[], [2,2]"},
                                           {"n[1], [0]"},      {"n[0,3], [0,3]"}, {"n[5,7]t, [2,5,7]"},
                                           {"n[33]s, [2,33]"}, {"n[], []"},       {0}};
static const rl_bad expand_bad[] = {{"f[2,3], [3]", RL_SHAPE_MISMATCH, "cannot be expanded"},
                                    {"f[2,3], [4,3]", RL_SHAPE_MISMATCH, "self (2, 3) cannot be expanded to (4, 3)"},
                                    {"f[3], [-1,3]", RL_INVALID_ARGUMENT, "negative"},
                                    {"f[1], [4611686018427387904]", RL_INVALID_ARGUMENT, "overflow"},
                                    {0}};

const rl_op_def rl_op_def_expand = {
    .schema = "expand(Tensor(a) self, int[] size) -> Tensor(a)",
    .doc = "y = self repeated along dimensions of size 1, and along new ones in front, without a copy",
    .note = "-1 keeps a size as it is.",
    .flags = RL_OP_VIEW,
    .lower = expand_lower,
    .vjp = expand_vjp,
    .samples = expand_samples,
    .bad = expand_bad,
};

static rl_status expand_as_lower(rl_call *call) {
    call->results[0] = rl_expand(rl_arg_tensor(call, 0), rl_shape_of(rl_arg_tensor(call, 1)));
    return rl_error_status();
}
static const rl_sample expand_as_samples[] = {{"n[3,1], f[3,4]"}, {"n[], f[2,2]"}, {"n[1], f[0]"}, {0}};
static const rl_bad expand_as_bad[] = {{"f[2,3], f[3]", RL_SHAPE_MISMATCH, "cannot be expanded"}, {0}};

const rl_op_def rl_op_def_expand_as = {
    .schema = "expand_as(Tensor(a) self, Tensor other) -> Tensor(a)",
    .doc = "y = self expanded to the shape of other",
    .flags = RL_OP_COMPOSITE,
    .lower = expand_as_lower,
    .samples = expand_as_samples,
    .bad = expand_as_bad,
};

static rl_status broadcast_to_lower(rl_call *call) {
    call->results[0] = rl_expand(rl_arg_tensor(call, 0), rl_arg_ints(call, 1));
    return rl_error_status();
}

const rl_op_def rl_op_def_broadcast_to = {
    .schema = "broadcast_to(Tensor(a) self, int[] size) -> Tensor(a)",
    .doc = "y = self repeated along dimensions of size 1, and along new ones in front, without a copy",
    .flags = RL_OP_COMPOSITE,
    .lower = broadcast_to_lower,
    .samples = expand_samples,
    .bad = expand_bad,
};
