/* SPDX-License-Identifier: Apache-2.0 */
/* Cumulative sums, products, extremes: the row `scan`. */
#include <math.h>

#include "base/memory.h"
#include "ops/op_rows.h"

static rl_status check_dim(const rl_call *call) {
    return rl_wrap_dim(rl_call_name(call), rl_arg_int(call, 1), rl_arg_tensor(call, 0)->ndim) < 0 ? rl_error_status()
                                                                                                  : RL_OK;
}

static rl_status lower_scan(rl_call *call, rl_scan_op scan) {
    rl_tensor *out = rl_with_dims(call->results[0]);
    rl_tensor *self = rl_as_dtype(call, rl_arg_tensor(call, 0), call->meta[0].dtype);
    rl_tensor *indices = call->results[1] ? rl_with_dims(call->results[1]) : NULL;
    if (out == NULL || self == NULL || (self = rl_with_dims(self)) == NULL)
        return rl_error_status();
    const char *op = rl_call_name(call);
    return rl_row_scan(op, scan, self, rl_wrap_dim(op, rl_arg_int(call, 1), out->ndim), out, indices);
}

/* sum from the end: z[i] = x[i] + x[i+1] + .. */
static rl_tensor *sum_from_end(rl_tensor *x, int64_t dim) {
    return rl_flip(rl_cumsum(rl_flip(x, RL_DIMS(dim)), dim), RL_DIMS(dim));
}

/* cumsum, cumprod ---------------------------------------------------------------------------------------------------
 */

static rl_status cumulate_infer(rl_call *call) {
    rl_dtype self = (rl_dtype)rl_arg_tensor(call, 0)->dtype;
    rl_status status = check_dim(call);
    if (status == RL_OK)
        status = rl_infer_same_as_input(call);
    call->meta[0].dtype = rl_arg_given(call, 2) ? rl_arg_dtype(call, 2) : rl_dtype_is_float(self) ? self : RL_I64;
    return status;
}

static rl_status cumsum_lower(rl_call *call) {
    return lower_scan(call, RL_SCAN_SUM);
}
VJP(cumsum, sum_from_end(G, rl_vjp_int(v, 1))) /* gx[i] = g[i] + g[i+1] + .. */

static const rl_sample cumulate_samples[] = {
    {"n[3,4], 1"},
    {"n[3,4], 0"},
    {"n[2,3,4], -2"},
    {"n[], 0"},
    {"n[0,3], 0"},
    {"n[3,0], 1"},
    {"n[5,7]t, 0"},
    {"n[33]s, 0"},
    {"n[4]e, 0"},
    {"n[3,4], 1, dtype=float32", .no_gradcheck = true, .why = "float32 rounds"},
    {0}};
static const rl_bad cumulate_bad[] = {
    {"f[2,3], 2", RL_INDEX_OUT_OF_RANGE, "dim 2 is out of range"}, {"None, 0", RL_INVALID_ARGUMENT, "self"}, {0}};

const rl_op_def rl_op_def_cumsum = {
    .schema = "cumsum(Tensor self, int dim, *, ScalarType? dtype=None) -> Tensor",
    .doc = "y[i] = x[0] + .. + x[i] along dim",
    .note = "Integers and bool are summed as int64.",
    .flags = RL_OP_ROWS,
    .infer = cumulate_infer,
    .lower = cumsum_lower,
    .vjp = cumsum_vjp,
    .samples = cumulate_samples,
    .bad = cumulate_bad,
};

static rl_status cumprod_lower(rl_call *call) {
    return lower_scan(call, RL_SCAN_PROD);
}

/* The derivative as a function of x, which the division and the cases below are not: gx[k] is the sum, over i >= k, of
 * g[i] and the products up to i that leave x[k] out. */
static rl_tensor *cumprod_gradient(rl_tensor *g, rl_tensor *x, int64_t dim) {
    int64_t n = rl_tensor_size(x, dim);
    rl_tensor **parts = rl_alloc_zero((size_t)n, sizeof *parts, "gradients of cumprod");
    for (int64_t k = 0; parts && k < n && !rl_failed(); k++) {
        rl_tensor *before = rl_prod(rl_narrow(x, dim, 0, k), .dim = RL_DIMS(dim), .keepdim = true);
        rl_tensor *after = rl_mul(before, rl_cumprod(rl_narrow(x, dim, k + 1, n - k - 1), dim));
        rl_tensor *products = rl_cat(RL_TENSORS(before, after), .dim = dim);
        parts[k] = rl_sum(rl_mul(rl_narrow(g, dim, k, n - k), products), .dim = RL_DIMS(dim), .keepdim = true);
    }
    rl_tensor *gradient = parts && !rl_failed() ? rl_cat(RL_TENSORS_AT(parts, n), .dim = dim) : NULL;
    rl_free(parts);
    return gradient;
}

/*
 * gx[k] = sum over i >= k of g[i] y[i] / x[k]. From the first zero z on y is 0: beyond z nothing counts, and at z the
 * sum runs over the products without x[z].
 */
static void cumprod_vjp(rl_vjp *v) {
    rl_tensor *g = G, *x = X;
    int64_t dim = rl_vjp_int(v, 1);
    if (rl_recording_ && x && x->ndim > 0 && x->numel > 0) {
        rl_vjp_set(v, 0, cumprod_gradient(g, x, dim));
        return;
    }
    rl_tensor *is_zero = rl_eq(x, 0), *zeros = rl_cumsum(is_zero, dim);
    rl_tensor *is_first = rl_logical_and(is_zero, rl_eq(zeros, 1));
    rl_tensor *before = rl_div(sum_from_end(rl_mul(g, Y), dim), rl_where(is_zero, 1, x));
    rl_tensor *others = rl_cumprod(rl_where(is_first, 1, x), dim);
    rl_tensor *at_first = sum_from_end(rl_mul(g, others), dim);
    rl_vjp_set(v, 0, rl_where(rl_eq(zeros, 0), before, rl_only_where(is_first, at_first)));
}

static const rl_sample cumprod_samples[] = {{"p[3,4], 1"}, {"p[3,4], 0"},  {"p[], 0"},
                                            {"p[0,3], 0"}, {"p[5,7]t, 0"}, {"p[9]s, 0"},
                                            {"p[4]e, 0"},  {"n[3,2], 1"},  {0}};

const rl_op_def rl_op_def_cumprod = {
    .schema = "cumprod(Tensor self, int dim, *, ScalarType? dtype=None) -> Tensor",
    .doc = "y[i] = x[0] .. x[i] along dim",
    .note = "Integers and bool are multiplied as int64.",
    .flags = RL_OP_ROWS,
    .saves = RL_SAVE_IN(0) | RL_SAVE_OUT(0),
    .infer = cumulate_infer,
    .lower = cumprod_lower,
    .vjp = cumprod_vjp,
    .samples = cumprod_samples,
    .bad = cumulate_bad,
};

/* cummax, cummin ----------------------------------------------------------------------------------------------------
 */

static rl_status extremes_infer(rl_call *call) {
    rl_status status = check_dim(call);
    if (status == RL_OK)
        status = rl_infer_same_as_input(call);
    call->meta[0].dtype = (rl_dtype)rl_arg_tensor(call, 0)->dtype;
    call->meta[1].dtype = RL_I64;
    return status;
}
static rl_status cummax_lower(rl_call *call) {
    return lower_scan(call, RL_SCAN_MAX);
}
static rl_status cummin_lower(rl_call *call) {
    return lower_scan(call, RL_SCAN_MIN);
}
/* gx = 0 with g added where the values came from */
VJP(extremes, rl_scatter_add(rl_vjp_zeros(v, 0), rl_vjp_int(v, 1), rl_vjp_result(v, 1), G))

static const rl_sample extremes_samples[] = {{"d[3,4], 1"},
                                             {"d[3,4], 0"},
                                             {"d[2,3,4], -2"},
                                             {"d[], 0"},
                                             {"d[0,3], 0"},
                                             {"d[3,0], 1"},
                                             {"d[5,7]t, 0"},
                                             {"d[33]s, 0"},
                                             {"n[4]e, 0", .no_gradcheck = true, .why = "the elements are equal"},
                                             {0}};

const rl_op_def rl_op_def_cummax = {
    .schema = "cummax(Tensor self, int dim) -> (Tensor values, Tensor indices)",
    .doc = "values[i] = the greatest of x[0] .. x[i] along dim, indices = where the last such is",
    .flags = RL_OP_ROWS,
    .saves = RL_SAVE_OUT(1),
    .infer = extremes_infer,
    .lower = cummax_lower,
    .vjp = extremes_vjp,
    .samples = extremes_samples,
    .bad = cumulate_bad,
};

const rl_op_def rl_op_def_cummin = {
    .schema = "cummin(Tensor self, int dim) -> (Tensor values, Tensor indices)",
    .doc = "values[i] = the least of x[0] .. x[i] along dim, indices = where the last such is",
    .flags = RL_OP_ROWS,
    .saves = RL_SAVE_OUT(1),
    .infer = extremes_infer,
    .lower = cummin_lower,
    .vjp = extremes_vjp,
    .samples = extremes_samples,
    .bad = cumulate_bad,
};

/* logcumsumexp ------------------------------------------------------------------------------------------------------
 */

static rl_status logcumsumexp_infer(rl_call *call) {
    rl_status status = rl_check_float(call, 0);
    if (status == RL_OK)
        status = check_dim(call);
    return status == RL_OK ? rl_infer_same_as_input(call) : status;
}
static rl_status logcumsumexp_lower(rl_call *call) {
    return lower_scan(call, RL_SCAN_LOGSUMEXP);
}

/* exp(x[k]) times the sum over i >= k of h[i] exp(-y[i]), for h >= 0, without overflow; where h is 0 so is its share,
 * also when y is infinite. */
static rl_tensor *weighted(rl_tensor *h, rl_tensor *x, rl_tensor *y, int64_t dim) {
    rl_ints along = RL_DIMS(dim);
    rl_tensor *counts = rl_gt(h, 0);
    rl_tensor *logs = rl_where(counts, rl_sub(rl_log(rl_where(counts, h, 1)), y), -INFINITY);
    return rl_exp(rl_add(rl_flip(rl_logcumsumexp(rl_flip(logs, along), dim), along), x));
}
/* gx[k] = sum over i >= k of g[i] exp(x[k] - y[i]), for positive and negative g apart */
static void logcumsumexp_vjp(rl_vjp *v) {
    int64_t dim = rl_vjp_int(v, 1);
    rl_tensor *g = G, *x = X, *y = Y;
    rl_tensor *positive = rl_only_where(rl_gt(g, 0), g), *negative = rl_only_where(rl_lt(g, 0), rl_neg(g));
    rl_vjp_set(v, 0, rl_sub(weighted(positive, x, y, dim), weighted(negative, x, y, dim)));
}

static const rl_sample logcumsumexp_samples[] = {{"f[3,4], 1"},  {"f[3,4], 0"}, {"f[], 0"},   {"f[0,3], 0"},
                                                 {"f[5,7]t, 0"}, {"f[33]s, 0"}, {"f[4]e, 0"}, {0}};
static const rl_bad logcumsumexp_bad[] = {{"f[2,3], 2", RL_INDEX_OUT_OF_RANGE, "dim 2 is out of range"},
                                          {"i64[2], 0", RL_DTYPE_MISMATCH, "self must be of a floating dtype"},
                                          {0}};

const rl_op_def rl_op_def_logcumsumexp = {
    .schema = "logcumsumexp(Tensor self, int dim) -> Tensor",
    .doc = "y[i] = log(exp(x[0]) + .. + exp(x[i])) along dim",
    .flags = RL_OP_ROWS,
    .saves = RL_SAVE_IN(0) | RL_SAVE_OUT(0),
    .infer = logcumsumexp_infer,
    .lower = logcumsumexp_lower,
    .vjp = logcumsumexp_vjp,
    .samples = logcumsumexp_samples,
    .bad = logcumsumexp_bad,
};
