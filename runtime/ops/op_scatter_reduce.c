/* SPDX-License-Identifier: Apache-2.0 */
/* scatter_reduce: several values for one place are combined. */
#include <math.h>
#include <string.h>

#include "ops/op_index.h"

typedef enum reduce_kind { BY_SUM, BY_PROD, BY_MEAN, BY_MAX, BY_MIN, BY_NONE } reduce_kind;

static reduce_kind kind_of(const char *word) {
    static const char *const words[] = {"sum", "prod", "mean", "amax", "amin"};
    for (int i = 0; i < BY_NONE; i++)
        if (strcmp(word, words[i]) == 0)
            return (reduce_kind)i;
    return BY_NONE;
}

/* args: self, dim, index, src, reduce, include_self */
static rl_status infer(rl_call *call) {
    const char *word = rl_arg_word(call, 4);
    if (kind_of(word) == BY_NONE)
        return rl_call_fail(call, RL_INVALID_ARGUMENT,
                            "reduce must be 'sum', 'prod', 'mean', 'amax' or 'amin', got '%.40s'", word);
    return rl_infer_scatter(call);
}

/* What a place begins with where self does not count: combined with x it gives x. */
static rl_value identity_of(reduce_kind kind, rl_dtype dtype) {
    static const int64_t greatest[RL_DTYPE_COUNT] = {[RL_I8] = INT8_MAX,   [RL_U8] = UINT8_MAX,  [RL_I16] = INT16_MAX,
                                                     [RL_I32] = INT32_MAX, [RL_I64] = INT64_MAX, [RL_BOOL] = 1};
    static const int64_t least[RL_DTYPE_COUNT] = {
        [RL_I8] = INT8_MIN, [RL_I16] = INT16_MIN, [RL_I32] = INT32_MIN, [RL_I64] = INT64_MIN};
    switch (kind) {
    case BY_PROD:
        return rl_value_of_int(1);
    case BY_MAX:
        return rl_dtype_is_float(dtype) ? rl_value_of_float(-INFINITY) : rl_value_of_int(least[dtype]);
    case BY_MIN:
        return rl_dtype_is_float(dtype) ? rl_value_of_float(INFINITY) : rl_value_of_int(greatest[dtype]);
    default:
        return rl_value_of_int(0);
    }
}

/* How many values each place of y combines, at least 1, so that it can divide; halves are counted in f32. */
static rl_tensor *counts(rl_tensor *like, int64_t dim, rl_tensor *index, bool include) {
    rl_dtype dtype = like->dtype == RL_F16 || like->dtype == RL_BF16 ? RL_F32 : (rl_dtype)like->dtype;
    rl_tensor *start = include ? rl_ones_like(like, .dtype = dtype) : rl_zeros_like(like, .dtype = dtype);
    rl_tensor *ones = rl_ones(rl_shape_of(index), .dtype = dtype, .device = like->storage->device);
    rl_tensor *count = rl_scatter_add(start, dim, index, ones);
    return rl_where(rl_eq(count, 0), 1, count);
}

static rl_status lower(rl_call *call) {
    static const rl_scatter_mode modes[] = {RL_SCATTER_ADD, RL_SCATTER_MUL, RL_SCATTER_ADD, RL_SCATTER_MAX,
                                            RL_SCATTER_MIN};
    reduce_kind kind = kind_of(rl_arg_word(call, 4));
    bool include = rl_arg_bool(call, 5);
    rl_tensor *self = rl_arg_tensor(call, 0), *out = call->results[0], *index = rl_arg_tensor(call, 2);
    rl_value src = call->args[3];
    rl_status status = call->inplace ? RL_OK : rl_move(rl_call_name(call), out, self);
    if (status == RL_OK && !include) {
        call->args[3] = identity_of(kind, (rl_dtype)self->dtype);
        status = rl_scatter_place(call, RL_SCATTER_SET);
        call->args[3] = src;
    }
    if (status == RL_OK)
        status = rl_scatter_place(call, modes[kind]);
    if (status != RL_OK || kind != BY_MEAN)
        return status;
    rl_tensor *count = counts(out, rl_arg_int(call, 1), index, include);
    bool whole = !rl_dtype_is_float((rl_dtype)out->dtype);
    rl_tensor *mean = whole ? rl_div(out, count, .rounding_mode = "floor") : rl_div(out, count);
    return mean ? rl_move(rl_call_name(call), out, mean) : rl_error_status();
}

/* Derivatives -------------------------------------------------------------------------------------------------------
 */

typedef struct reduced {
    rl_tensor *g, *self, *src, *y, *index;
    int64_t dim;
    bool include;
} reduced;

static rl_tensor *read_back(const reduced *r, rl_tensor *x) {
    return rl_gather(x, r->dim, r->index);
}
static void set_gradients(rl_vjp *v, const reduced *r, rl_tensor *to_self, rl_tensor *to_src) {
    if (rl_vjp_needs(v, 0))
        rl_vjp_set(v, 0, r->include ? to_self : rl_scatter(to_self, r->dim, r->index, 0));
    if (rl_vjp_needs(v, 3))
        rl_vjp_set(v, 3, rl_vjp_leading(v, 3, to_src));
}

/* amax, amin: g shared among the values that are y */
static void extreme_vjp(rl_vjp *v, const reduced *r) {
    rl_dtype dtype = (rl_dtype)r->y->dtype;
    rl_tensor *of_self = rl_to(rl_eq(r->self, r->y), .dtype = dtype);
    if (!r->include)
        of_self = rl_scatter(of_self, r->dim, r->index, 0);
    rl_tensor *of_src = rl_to(rl_eq(r->src, read_back(r, r->y)), .dtype = dtype);
    rl_tensor *count = rl_scatter_add(of_self, r->dim, r->index, of_src);
    rl_tensor *share = rl_div(r->g, rl_where(rl_eq(count, 0), 1, count));
    rl_tensor *untouched = r->include ? rl_mul(of_self, share) : r->g;
    set_gradients(v, r, untouched, rl_mul(of_src, read_back(r, share)));
}

/* g times the product of the others: g y / x, and where x is the only zero of its place, g times the rest */
static rl_tensor *prod_gradient(rl_tensor *g, rl_tensor *rest, rl_tensor *zeros, rl_tensor *x) {
    rl_tensor *is_zero = rl_eq(x, 0), *g_rest = rl_mul(g, rest);
    rl_tensor *at_zero = rl_only_where(rl_eq(zeros, 1), g_rest), *elsewhere = rl_only_where(rl_eq(zeros, 0), g_rest);
    return rl_where(is_zero, at_zero, rl_div(elsewhere, rl_where(is_zero, 1, x)));
}
static void prod_vjp(rl_vjp *v, const reduced *r) {
    rl_tensor *src_zero = rl_eq(r->src, 0), *self_zero = rl_eq(r->self, 0);
    rl_tensor *rest =
        rl_scatter_reduce(rl_where(self_zero, 1, r->self), r->dim, r->index, rl_where(src_zero, 1, r->src), "prod",
                          .include_self = r->include ? 1 : RL_ZERO);
    rl_dtype dtype = (rl_dtype)r->y->dtype;
    rl_tensor *start = rl_to(self_zero, .dtype = dtype);
    if (!r->include)
        start = rl_scatter(start, r->dim, r->index, 0);
    rl_tensor *zeros = rl_scatter_add(start, r->dim, r->index, rl_to(src_zero, .dtype = dtype));
    rl_tensor *to_self = r->include ? prod_gradient(r->g, rest, zeros, r->self) : r->g;
    set_gradients(v, r, to_self, prod_gradient(read_back(r, r->g), read_back(r, rest), read_back(r, zeros), r->src));
}

static void scatter_reduce_vjp(rl_vjp *v) {
    reduced r = {.g = G,
                 .self = X,
                 .y = Y,
                 .index = rl_vjp_input(v, 2),
                 .dim = rl_vjp_int(v, 1),
                 .include = rl_vjp_arg(v, 5)->as.b};
    rl_tensor *src = rl_vjp_input(v, 3);
    if (r.index->numel == 0) {
        set_gradients(v, &r, r.g, NULL);
        return;
    }
    rl_ints shape = rl_shape_of(r.index);
    int64_t stride[RL_MAX_DIMS];
    rl_contiguous_strides(src->ndim, src->shape, stride);
    bool part = src->numel != r.index->numel;
    r.src = part ? rl_window(rl_contiguous(src), shape, ((rl_ints){stride, shape.count}), 0) : rl_reshape(src, shape);
    switch (kind_of(rl_vjp_word(v, 4))) {
    case BY_SUM: /* gself = g, gsrc = g read at index */
        set_gradients(v, &r, r.g, read_back(&r, r.g));
        break;
    case BY_MEAN: { /* the same of g / count */
        rl_tensor *share = rl_div(r.g, counts(r.y, r.dim, r.index, r.include));
        set_gradients(v, &r, share, read_back(&r, share));
        break;
    }
    case BY_PROD:
        prod_vjp(v, &r);
        break;
    default:
        extreme_vjp(v, &r);
    }
}

static const rl_sample samples[] = {{"n[3,4], 1, i[3,6]<4, n[3,6], \"sum\""},
                                    {"p[3,4], 0, i[5,2]<3, p[5,4], \"prod\""},
                                    {"f[3,4], 1, i[3,6]<4, f[3,6], \"mean\""},
                                    {"d[3,4], 1, i[3,6]<4, f[3,6], \"amax\""},
                                    {"d[3,4], 1, i[3,6]<4, f[3,6], \"amin\""},
                                    {"f[3,4], 1, i[3,3]<4, f[3,3], \"mean\", include_self=false"},
                                    {"p[4], 0, i[5]<4, p[5], \"prod\", include_self=false"},
                                    {"d[4], 0, i[5]<4, f[5], \"amax\", include_self=false"},
                                    {"n[], 0, i[]<1, n[], \"sum\""},
                                    {"n[0,3], 1, i[0,2]<3, n[0,2], \"sum\""},
                                    {"n[5,7]t, 0, i[9,7]<5, n[9,7], \"sum\""},
                                    {0}};
static const rl_bad bad[] = {{"f[3], 0, i[3]<3, f[3], \"median\"", RL_INVALID_ARGUMENT, "reduce must be 'sum'"},
                             {"f[3], 0, f[3], f[3], \"sum\"", RL_DTYPE_MISMATCH, "index must be int64 or int32"},
                             {0}};

const rl_op_def rl_op_def_scatter_reduce = {
    .schema =
        "scatter_reduce(Tensor self, int dim, Tensor index, Tensor src, str reduce, *, bool include_self=True) -> "
        "Tensor",
    .doc = "y[.., j, ..] = the sum, prod, mean, amax or amin of self[.., j, ..] and all src[.., i, ..] with "
           "index[.., i, ..] = j",
    .note = "include_self false: self counts only where no index leads.",
    .flags = RL_OP_ROWS | RL_OP_INPLACE,
    .saves = RL_SAVE_IN(0) | RL_SAVE_IN(2) | RL_SAVE_IN(3) | RL_SAVE_OUT(0),
    .infer = infer,
    .lower = lower,
    .vjp = scatter_reduce_vjp,
    .samples = samples,
    .bad = bad,
};
