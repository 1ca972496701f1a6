/* SPDX-License-Identifier: Apache-2.0 */
/* Sorting, and what follows from it. NaN is greater than all; equal elements keep their order. */
#include <math.h>
#include <string.h>

#include "ops/op_reduce.h"

/* args: self, .., dim at `dim_arg`. */
static rl_status sorted_infer(rl_call *call, int dim_arg) {
    if (rl_wrap_dim(rl_call_name(call), rl_arg_int(call, dim_arg), rl_arg_tensor(call, 0)->ndim) < 0)
        return rl_error_status();
    rl_status status = rl_infer_same_as_input(call);
    call->meta[1].dtype = RL_I64;
    return status;
}

static rl_status sort_infer(rl_call *call) {
    return sorted_infer(call, 1);
}
static rl_status sort_lower(rl_call *call) {
    rl_tensor *self = rl_with_dims(rl_arg_tensor(call, 0)), *values = rl_with_dims(call->results[0]);
    rl_tensor *indices = rl_with_dims(call->results[1]);
    if (self == NULL || values == NULL || indices == NULL)
        return rl_error_status();
    const char *op = rl_call_name(call);
    int64_t dim = rl_wrap_dim(op, rl_arg_int(call, 1), self->ndim);
    return rl_row_sort(op, self, dim, rl_arg_bool(call, 2), values, indices);
}

/* gx = 0 with g where the values came from */
VJP(sort, rl_scatter(rl_vjp_zeros(v, 0), rl_vjp_int(v, 1), rl_vjp_result(v, 1), G))

static const rl_sample sort_samples[] = {{"d[3,4]"},
                                         {"d[3,4], 0"},
                                         {"d[3,4], 1, true"},
                                         {"d[]"},
                                         {"d[0,3], 0"},
                                         {"d[3,0]"},
                                         {"d[5,7]t, 0"},
                                         {"d[33]s"},
                                         {"n[4]e, 0", .no_gradcheck = true, .why = "the elements are equal"},
                                         {"i32[9], 0, true"},
                                         {"b[9]"},
                                         {0}};
static const rl_bad sort_bad[] = {
    {"f[2,3], 2", RL_INDEX_OUT_OF_RANGE, "dim 2 is out of range"}, {"None", RL_INVALID_ARGUMENT, "self"}, {0}};

const rl_op_def rl_op_def_sort = {
    .schema =
        "sort(Tensor self, int dim=-1, bool descending=False, bool stable=False) -> (Tensor values, Tensor indices)",
    .doc = "values = self in order along dim, indices = where each came from",
    .note = "Always stable.",
    .flags = RL_OP_ROWS,
    .saves = RL_SAVE_OUT(1),
    .infer = sort_infer,
    .lower = sort_lower,
    .vjp = sort_vjp,
    .samples = sort_samples,
    .bad = sort_bad,
};

static rl_status argsort_lower(rl_call *call) {
    int64_t dim = rl_arg_int(call, 1);
    call->results[0] =
        rl_sort(rl_arg_tensor(call, 0), .dim = dim ? dim : RL_ZERO, .descending = rl_arg_bool(call, 2)).indices;
    return rl_error_status();
}

const rl_op_def rl_op_def_argsort = {
    .schema = "argsort(Tensor self, int dim=-1, bool descending=False, bool stable=False) -> Tensor",
    .doc = "y = where the elements of self in order along dim come from",
    .flags = RL_OP_COMPOSITE,
    .lower = argsort_lower,
    .samples = sort_samples,
    .bad = sort_bad,
};

/* topk, kthvalue ----------------------------------------------------------------------------------------------------
 */

/* The results are `count` elements from the k-th on of self sorted along dim. */
static rl_status take_sorted(rl_call *call, int64_t dim, bool descending, int64_t first, int64_t count) {
    rl_tensor *self = rl_with_dims(rl_arg_tensor(call, 0));
    const char *op = rl_call_name(call);
    rl_tensor *sorted[2] = {rl_call_temp(call, (rl_dtype)self->dtype, self->ndim, self->shape),
                            rl_call_temp(call, RL_I64, self->ndim, self->shape)};
    if (sorted[0] == NULL || sorted[1] == NULL || rl_row_sort(op, self, dim, descending, sorted[0], sorted[1]) != RL_OK)
        return rl_error_status();
    for (int i = 0; i < 2; i++) {
        rl_geometry g = rl_geometry_of(sorted[i]);
        g.offset += first * g.stride[dim];
        g.shape[dim] = count;
        if (call->results[i]->ndim < g.ndim)
            rl_geometry_remove(&g, dim);
        rl_tensor *part = rl_over(sorted[i], g.ndim, g.shape, g.stride, g.offset);
        if (part == NULL || rl_move(op, call->results[i], part) != RL_OK)
            return rl_error_status();
    }
    return RL_OK;
}

static rl_status topk_infer(rl_call *call) {
    rl_status status = rl_check_no_bool(call, 0);
    if (status == RL_OK)
        status = sorted_infer(call, 2);
    if (status != RL_OK)
        return status;
    rl_meta *meta = call->meta;
    int64_t dim = rl_wrap_dim("topk", rl_arg_int(call, 2), meta->ndim), k = rl_arg_int(call, 1);
    int64_t size = meta->ndim > 0 ? meta->shape[dim] : 1;
    if (k < 0 || k > size)
        return rl_call_fail(call, RL_INDEX_OUT_OF_RANGE,
                            "k %lld is out of range: expected 0 to %lld, the size of dimension "
                            "%lld",
                            (long long)k, (long long)size, (long long)dim);
    for (int i = 0; i < 2; i++) {
        meta[i].has_stride = false;
        if (meta->ndim > 0)
            meta[i].shape[dim] = k;
    }
    return RL_OK;
}
static rl_status topk_lower(rl_call *call) {
    int64_t ndim = rl_arg_tensor(call, 0)->ndim;
    return take_sorted(call, rl_wrap_dim("topk", rl_arg_int(call, 2), ndim), rl_arg_bool(call, 3), 0,
                       rl_arg_int(call, 1));
}
/* gx = 0 with g where the values came from */
VJP(topk, rl_scatter(rl_vjp_zeros(v, 0), rl_vjp_int(v, 2), rl_vjp_result(v, 1), G))

static const rl_sample topk_samples[] = {{"d[3,4], 2"},     {"d[3,4], 2, 0"}, {"d[7], 3, 0, false"},
                                         {"d[], 1"},        {"d[3], 0"},      {"d[0,3], 2"},
                                         {"d[5,7]t, 3, 0"}, {"d[33]s, 5"},    {0}};
static const rl_bad topk_bad[] = {{"b[3], 1", RL_DTYPE_MISMATCH, "self must not be bool"},
                                  {"f[3], 4", RL_INDEX_OUT_OF_RANGE, "k 4 is out of range: expected 0 to 3"},
                                  {"f[3], 1, 1", RL_INDEX_OUT_OF_RANGE, "dim 1 is out of range"},
                                  {0}};

const rl_op_def rl_op_def_topk = {
    .schema =
        "topk(Tensor self, int k, int dim=-1, bool largest=True, bool sorted=True) -> (Tensor values, Tensor indices)",
    .doc = "values = the k greatest (least) elements along dim in order, indices = where each came from",
    .note = "Always sorted.",
    .flags = RL_OP_ROWS,
    .saves = RL_SAVE_OUT(1),
    .infer = topk_infer,
    .lower = topk_lower,
    .vjp = topk_vjp,
    .samples = topk_samples,
    .bad = topk_bad,
    .sample_dtypes = RL_SAMPLE_NO_BOOL,
};

static rl_status kthvalue_infer(rl_call *call) {
    const rl_tensor *self = rl_arg_tensor(call, 0);
    int64_t dim = rl_wrap_dim(rl_call_name(call), rl_arg_int(call, 2), self->ndim), k = rl_arg_int(call, 1);
    if (dim < 0)
        return rl_error_status();
    int64_t size = self->ndim > 0 ? self->shape[dim] : 1;
    if (k < 1 || k > size)
        return rl_call_fail(call, RL_INDEX_OUT_OF_RANGE, "k %lld is out of range: expected 1 to %lld", (long long)k,
                            (long long)size);
    rl_status status = rl_check_no_bool(call, 0);
    if (status == RL_OK)
        status = rl_infer_reduced(call, 2, 3, (rl_dtype)self->dtype);
    call->meta[1].dtype = RL_I64;
    return status;
}
static rl_status kthvalue_lower(rl_call *call) {
    int64_t ndim = rl_arg_tensor(call, 0)->ndim;
    return take_sorted(call, rl_wrap_dim("kthvalue", rl_arg_int(call, 2), ndim), false, rl_arg_int(call, 1) - 1, 1);
}
/* gx = 0 with g where the value came from */
VJP(kthvalue, rl_scatter(rl_vjp_zeros(v, 0), rl_vjp_int(v, 2), rl_unreduced(v, rl_vjp_result(v, 1), 2, 3),
                         rl_unreduced(v, G, 2, 3)))

static const rl_sample kthvalue_samples[] = {{"d[3,4], 2"}, {"d[3,4], 2, 0, true"}, {"d[7], 7"},   {"d[], 1"},
                                             {"d[0,3], 2"}, {"d[5,7]t, 3, 0"},      {"d[33]s, 5"}, {0}};
static const rl_bad kthvalue_bad[] = {{"b[3], 1", RL_DTYPE_MISMATCH, "self must not be bool"},
                                      {"f[3], 4", RL_INDEX_OUT_OF_RANGE, "k 4 is out of range: expected 1 to 3"},
                                      {"f[3], 0", RL_INDEX_OUT_OF_RANGE, "k 0 is out of range"},
                                      {0}};

const rl_op_def rl_op_def_kthvalue = {
    .schema = "kthvalue(Tensor self, int k, int dim=-1, bool keepdim=False) -> (Tensor values, Tensor indices)",
    .doc = "values = the k-th least element along dim, counted from 1, indices = where it is",
    .flags = RL_OP_ROWS,
    .saves = RL_SAVE_OUT(1),
    .infer = kthvalue_infer,
    .lower = kthvalue_lower,
    .vjp = kthvalue_vjp,
    .samples = kthvalue_samples,
    .bad = kthvalue_bad,
    .sample_dtypes = RL_SAMPLE_NO_BOOL,
};

/* median ------------------------------------------------------------------------------------------------------------
 */

/* Where the median along dim is: the lower of two middle ones; the first NaN where there is one. */
static rl_tensor *median_place(rl_tensor *self, int64_t dim) {
    int64_t size = self->shape[dim];
    rl_tensor *order = rl_sort(self, .dim = dim ? dim : RL_ZERO).indices;
    rl_tensor *numbers = rl_sum(rl_eq(self, self), .dim = RL_DIMS(dim), .keepdim = true);
    rl_tensor *place = rl_where(rl_eq(numbers, size), (size - 1) / 2, numbers);
    return rl_gather(order, dim, place);
}

static rl_status median_infer(rl_call *call) {
    const rl_tensor *self = rl_arg_tensor(call, 0);
    if (rl_check_no_bool(call, 0) != RL_OK)
        return rl_error_status();
    if (self->numel == 0 && !rl_dtype_is_float((rl_dtype)self->dtype))
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "self has no elements to choose from");
    return rl_infer_reduced(call, -1, -1, (rl_dtype)self->dtype);
}

static rl_status median_lower(rl_call *call) {
    rl_tensor *self = rl_arg_tensor(call, 0), *flat = rl_reshape(self, RL_DIMS(-1));
    if (flat == NULL)
        return rl_error_status();
    rl_tensor *value = self->numel == 0 ? rl_full_like(call->results[0], NAN)
                                        : rl_reshape(rl_gather(flat, 0, median_place(flat, 0)), RL_NO_DIMS);
    return value ? rl_move(rl_call_name(call), call->results[0], value) : rl_error_status();
}
/* gx[i] = g / n where x[i] is one of the n elements equal to y */
VJP(median, rl_shared_among(X, Y, G, RL_NO_DIMS))

static const rl_sample median_samples[] = {{"d[3,4]"},
                                           {"d[3,3]"},
                                           {"d[]"},
                                           {"d[5,7]t"},
                                           {"d[33]s"},
                                           {"f[0,3]"},
                                           {"n[3,4]", .no_gradcheck = true, .why = "elements are equal"},
                                           {0}};
static const rl_bad median_bad[] = {{"b[3]", RL_DTYPE_MISMATCH, "self must not be bool"},
                                    {"i64[0]", RL_INVALID_ARGUMENT, "no elements"},
                                    {"None", RL_INVALID_ARGUMENT, "self"},
                                    {0}};

const rl_op_def rl_op_def_median = {
    .schema = "median(Tensor self) -> Tensor",
    .doc = "y = the element in the middle of all in order, the lower of two; NaN where there is one, or nothing at all",
    .note = "The gradient is shared among equals.",
    .flags = RL_OP_ROWS,
    .saves = RL_SAVE_IN(0) | RL_SAVE_OUT(0),
    .infer = median_infer,
    .lower = median_lower,
    .vjp = median_vjp,
    .samples = median_samples,
    .bad = median_bad,
    .sample_dtypes = RL_SAMPLE_NO_BOOL,
};

static rl_status median_dim_lower(rl_call *call) {
    rl_tensor *self = rl_arg_tensor(call, 0);
    int64_t dim = rl_wrap_dim(rl_call_name(call), rl_arg_int(call, 1), self->ndim);
    if (dim < 0 || rl_check_no_bool(call, 0) != RL_OK || rl_check_nonempty(call, 1) != RL_OK)
        return rl_error_status();
    rl_tensor *wide = self->ndim == 0 ? rl_reshape(self, RL_DIMS(1)) : self;
    rl_tensor *place = wide ? median_place(wide, dim) : NULL, *value = place ? rl_gather(wide, dim, place) : NULL;
    bool drop = self->ndim == 0 || !rl_arg_bool(call, 2);
    call->results[0] = drop ? rl_squeeze(value, .dim = RL_DIMS(dim)) : value;
    call->results[1] = drop ? rl_squeeze(place, .dim = RL_DIMS(dim)) : place;
    return rl_error_status();
}
static const rl_sample median_dim_samples[] = {{"d[3,4], 1"},  {"d[3,4], 0, true"}, {"d[], 0"}, {"d[0,3], 1"},
                                               {"d[5,7]t, 0"}, {"d[33]s, 0"},       {0}};
static const rl_bad median_dim_bad[] = {{"b[3], 0", RL_DTYPE_MISMATCH, "self must not be bool"},
                                        {"f[3,0], 1", RL_INVALID_ARGUMENT, "no elements along dimension 1"},
                                        {"f[3], 1", RL_INDEX_OUT_OF_RANGE, "dim 1 is out of range"},
                                        {0}};

const rl_op_def rl_op_def_median_dim = {
    .schema = "median_dim(Tensor self, int dim, bool keepdim=False) -> (Tensor values, Tensor indices)",
    .doc =
        "values = the element in the middle along dim, the lower of two, indices = where it is; NaN where there is one",
    .flags = RL_OP_COMPOSITE,
    .lower = median_dim_lower,
    .samples = median_dim_samples,
    .bad = median_dim_bad,
    .sample_dtypes = RL_SAMPLE_NO_BOOL,
};
