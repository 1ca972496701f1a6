/* SPDX-License-Identifier: Apache-2.0 */
/* Views with another order of dimensions. */
#include <string.h>

#include "ops/op_rows.h"

/* transpose, t ---------------------------------------------------------------------------------------------------- */

static void exchange(rl_geometry *g, int64_t a, int64_t b) {
    int64_t size = g->shape[a], stride = g->stride[a];
    g->shape[a] = g->shape[b];
    g->stride[a] = g->stride[b];
    g->shape[b] = size;
    g->stride[b] = stride;
}

static rl_status transpose_lower(rl_call *call) {
    rl_geometry g = rl_geometry_of(rl_arg_tensor(call, 0));
    const char *op = rl_call_name(call);
    int64_t a = rl_wrap_dim(op, rl_arg_int(call, 1), g.ndim);
    int64_t b = a < 0 ? -1 : rl_wrap_dim(op, rl_arg_int(call, 2), g.ndim);
    if (b < 0)
        return rl_error_status();
    if (g.ndim > 0)
        exchange(&g, a, b);
    return rl_view_made(call, &g);
}
VJP(transpose, rl_transpose(G, rl_vjp_int(v, 1), rl_vjp_int(v, 2))) /* gx = g transposed back */

static const rl_sample transpose_samples[] = {
    {"n[3,4], 0, 1"}, {"n[2,3,4], -1, 0"}, {"n[], 0, -1"}, {"n[0,3], 0, 1"}, {"n[5,7]t, 0, 1"}, {"n[33]s, 0, 0"}, {0}};
static const rl_bad transpose_bad[] = {{"f[2,3], 0, 2", RL_INDEX_OUT_OF_RANGE, "dim 2 is out of range"},
                                       {"f[2,3], -3, 0", RL_INDEX_OUT_OF_RANGE, "dim -3 is out of range"},
                                       {"None, 0, 1", RL_INVALID_ARGUMENT, "self"},
                                       {0}};

const rl_op_def rl_op_def_transpose = {
    .schema = "transpose(Tensor(a) self, int dim0, int dim1) -> Tensor(a)",
    .doc = "y = self with dimensions dim0 and dim1 exchanged",
    .flags = RL_OP_VIEW,
    .lower = transpose_lower,
    .vjp = transpose_vjp,
    .samples = transpose_samples,
    .bad = transpose_bad,
};

static rl_status t_lower(rl_call *call) {
    rl_geometry g = rl_geometry_of(rl_arg_tensor(call, 0));
    if (g.ndim > 2)
        return rl_call_fail(call, RL_SHAPE_MISMATCH, "self has %lld dimensions and must have at most 2",
                            (long long)g.ndim);
    if (g.ndim == 2)
        exchange(&g, 0, 1);
    return rl_view_made(call, &g);
}
VJP(t, rl_t(G)) /* gx = g^T */

static const rl_sample t_samples[] = {{"n[3,4]"}, {"n[]"}, {"n[5]"}, {"n[0,3]"}, {"n[5,7]t"}, {"n[33]s"}, {0}};
static const rl_bad t_bad[] = {{"f[2,3,4]", RL_SHAPE_MISMATCH, "at most 2"}, {0}};

const rl_op_def rl_op_def_t = {
    .schema = "t(Tensor(a) self) -> Tensor(a)",
    .doc = "y[i][j] = self[j][i]",
    .flags = RL_OP_VIEW,
    .lower = t_lower,
    .vjp = t_vjp,
    .samples = t_samples,
    .bad = t_bad,
};

static rl_status swap_lower(rl_call *call) {
    call->results[0] = rl_transpose(rl_arg_tensor(call, 0), rl_arg_int(call, 1), rl_arg_int(call, 2));
    return rl_error_status();
}

const rl_op_def rl_op_def_swapaxes = {
    .schema = "swapaxes(Tensor(a) self, int axis0, int axis1) -> Tensor(a)",
    .doc = "y = self with dimensions axis0 and axis1 exchanged",
    .flags = RL_OP_COMPOSITE,
    .lower = swap_lower,
    .samples = transpose_samples,
    .bad = transpose_bad,
};

const rl_op_def rl_op_def_swapdims = {
    .schema = "swapdims(Tensor(a) self, int dim0, int dim1) -> Tensor(a)",
    .doc = "y = self with dimensions dim0 and dim1 exchanged",
    .flags = RL_OP_COMPOSITE,
    .lower = swap_lower,
    .samples = transpose_samples,
    .bad = transpose_bad,
};

static rl_status mT_lower(rl_call *call) {
    rl_tensor *self = rl_arg_tensor(call, 0);
    if (self->ndim < 2)
        return rl_call_fail(call, RL_SHAPE_MISMATCH, "self has %d dimensions and must have at least 2", self->ndim);
    call->results[0] = rl_transpose(self, -2, -1);
    return rl_error_status();
}
static const rl_sample mT_samples[] = {{"n[3,4]"}, {"n[2,3,4]"}, {"n[0,3]"}, {"n[5,7]t"}, {0}};
static const rl_bad mT_bad[] = {{"f[3]", RL_SHAPE_MISMATCH, "at least 2"}, {0}};

const rl_op_def rl_op_def_mT = {
    .schema = "mT(Tensor(a) self) -> Tensor(a)",
    .doc = "y = self with its last two dimensions exchanged",
    .flags = RL_OP_COMPOSITE,
    .lower = mT_lower,
    .samples = mT_samples,
    .bad = mT_bad,
};

/* permute, movedim ------------------------------------------------------------------------------------------------ */

static rl_status permute_lower(rl_call *call) {
    const rl_tensor *self = rl_arg_tensor(call, 0);
    rl_ints dims = rl_arg_ints(call, 1);
    uint32_t mask;
    if (dims.count != self->ndim)
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "dims names %lld dimensions and self has %d",
                            (long long)dims.count, self->ndim);
    rl_status status = rl_wrap_dims(rl_call_name(call), dims, self->ndim, &mask);
    if (status != RL_OK)
        return status;
    rl_geometry g = rl_geometry_of(self);
    for (int64_t d = 0; d < g.ndim; d++) {
        int64_t from = dims.data[d] < 0 ? dims.data[d] + g.ndim : dims.data[d];
        g.shape[d] = self->shape[from];
        g.stride[d] = self->stride[from];
    }
    return rl_view_made(call, &g);
}

/* gx = g permuted by the inverse */
static void permute_vjp(rl_vjp *v) {
    rl_ints dims = rl_vjp_ints(v, 1);
    int64_t inverse[RL_MAX_DIMS];
    for (int64_t d = 0; d < dims.count; d++)
        inverse[dims.data[d] < 0 ? dims.data[d] + dims.count : dims.data[d]] = d;
    rl_vjp_set(v, 0, rl_permute(G, ((rl_ints){inverse, dims.count})));
}

static const rl_sample permute_samples[] = {{"n[2,3,4], [2,0,1]"}, {"n[3,4], [-1,0]"}, {"n[], []"}, {"n[0,3], [1,0]"},
                                            {"n[5,7]t, [1,0]"},    {"n[33]s, [0]"},    {0}};
static const rl_bad permute_bad[] = {{"f[2,3], [0]", RL_INVALID_ARGUMENT, "names 1 dimensions and self has 2"},
                                     {"f[2,3], [0,0]", RL_INVALID_ARGUMENT, "given twice"},
                                     {"f[2,3], [0,2]", RL_INDEX_OUT_OF_RANGE, "out of range"},
                                     {0}};

const rl_op_def rl_op_def_permute = {
    .schema = "permute(Tensor(a) self, int[] dims) -> Tensor(a)",
    .doc = "y = self with its dimensions in the order dims",
    .flags = RL_OP_VIEW,
    .lower = permute_lower,
    .vjp = permute_vjp,
    .samples = permute_samples,
    .bad = permute_bad,
};

static rl_status movedim_lower(rl_call *call) {
    rl_tensor *self = rl_arg_tensor(call, 0);
    rl_ints source = rl_arg_ints(call, 1), destination = rl_arg_ints(call, 2);
    const char *op = rl_call_name(call);
    uint32_t from = 0, to = 0;
    if (source.count != destination.count)
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "source names %lld dimensions and destination %lld",
                            (long long)source.count, (long long)destination.count);
    if (rl_wrap_dims(op, source, self->ndim, &from) != RL_OK || rl_wrap_dims(op, destination, self->ndim, &to) != RL_OK)
        return rl_error_status();
    if (source.count == 0 || self->ndim == 0) {
        call->results[0] = rl_alias(self);
        return rl_error_status();
    }
    int64_t dims[RL_MAX_DIMS];
    for (int64_t i = 0; i < source.count; i++)
        dims[destination.data[i] + (destination.data[i] < 0 ? self->ndim : 0)] = source.data[i];
    int64_t next = 0; /* the others keep their order */
    for (int64_t d = 0; d < self->ndim; d++) {
        if (to >> d & 1)
            continue;
        while (from >> next & 1)
            next++;
        dims[d] = next++;
    }
    call->results[0] = rl_permute(self, ((rl_ints){dims, self->ndim}));
    return rl_error_status();
}

static const rl_sample movedim_samples[] = {
    {"n[2,3,4], 0, 2"}, {"n[2,3,4], [0,1], [-1,0]"}, {"n[0,3], 1, 0"}, {"n[5,7]t, 0, 1"}, {"n[], 0, 0"}, {0}};
static const rl_bad movedim_bad[] = {{"f[2,3], [0,1], [0]", RL_INVALID_ARGUMENT, "source names 2 dimensions"},
                                     {"f[2,3], 2, 0", RL_INDEX_OUT_OF_RANGE, "out of range"},
                                     {"f[], 0, 1", RL_INDEX_OUT_OF_RANGE, "dim 1 is out of range"},
                                     {0}};

const rl_op_def rl_op_def_movedim = {
    .schema = "movedim(Tensor(a) self, int[1] source, int[1] destination) -> Tensor(a)",
    .doc = "y = self with dimensions source at the places destination, the others in order around them",
    .flags = RL_OP_COMPOSITE,
    .lower = movedim_lower,
    .samples = movedim_samples,
    .bad = movedim_bad,
};
