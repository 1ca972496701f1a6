/* SPDX-License-Identifier: Apache-2.0 */
/* Reductions: what they share, then sums, means, products, truths and counts. */
#include <string.h>

#include "ops/op_reduce.h"

/* Dimensions ------------------------------------------------------------------------------------------------------ */

static rl_status mask_of(const char *op, const rl_value *dim, int64_t ndim, uint32_t *out_mask) {
    rl_ints dims = {NULL, 0};
    if (dim->kind == RL_VALUE_INTS)
        dims = dim->as.ints;
    else if (dim->kind == RL_VALUE_INT)
        dims = (rl_ints){&dim->as.i, 1};
    return rl_wrap_dims(op, dims, ndim, out_mask);
}

rl_status rl_reduced_mask(const rl_call *call, int dim_arg, uint32_t *out_mask) {
    return mask_of(rl_call_name(call), &call->args[dim_arg], rl_arg_tensor(call, 0)->ndim, out_mask);
}

rl_status rl_infer_reduced(rl_call *call, int dim_arg, int keepdim_arg, rl_dtype dtype) {
    const rl_tensor *self = rl_arg_tensor(call, 0);
    uint32_t mask = UINT32_MAX;
    rl_status status = dim_arg < 0 ? RL_OK : rl_reduced_mask(call, dim_arg, &mask);
    if (status != RL_OK)
        return status;
    bool keep = keepdim_arg >= 0 && rl_arg_bool(call, keepdim_arg);
    int64_t shape[RL_MAX_DIMS], ndim = 0;
    for (int64_t d = 0; d < self->ndim; d++) {
        bool reduced = mask >> d & 1;
        if (!reduced || keep)
            shape[ndim++] = reduced ? 1 : self->shape[d];
    }
    for (int i = 0; i < call->n_results; i++)
        rl_meta_set(&call->meta[i], dtype, self->storage->device, ndim, shape);
    return RL_OK;
}

rl_status rl_check_nonempty(const rl_call *call, int dim_arg) {
    const rl_tensor *self = rl_arg_tensor(call, 0);
    uint32_t mask = UINT32_MAX;
    rl_status status = dim_arg < 0 ? RL_OK : rl_reduced_mask(call, dim_arg, &mask);
    for (int64_t d = 0; status == RL_OK && d < self->ndim; d++) {
        char text[RL_SHAPE_TEXT];
        if ((mask >> d & 1) && self->shape[d] == 0)
            return rl_call_fail(call, RL_INVALID_ARGUMENT,
                                "self %s has no elements along dimension %lld to choose from",
                                rl_shape_text(self->ndim, self->shape, text), (long long)d);
    }
    return status;
}

int64_t rl_reduced_count(const rl_tensor *self, uint32_t mask) {
    int64_t count = 1;
    for (int64_t d = 0; d < self->ndim; d++)
        count *= mask >> d & 1 ? self->shape[d] : 1;
    return count;
}

rl_tensor *rl_reduced_temp(const rl_call *call, const rl_tensor *self, uint32_t mask, rl_dtype dtype) {
    int64_t shape[RL_MAX_DIMS];
    for (int64_t d = 0; d < self->ndim; d++)
        shape[d] = mask >> d & 1 ? 1 : self->shape[d];
    return rl_call_temp(call, dtype, self->ndim, shape);
}

rl_tensor *rl_unreduced(rl_vjp *v, rl_tensor *t, int dim_arg, int keepdim_arg) {
    const rl_meta *x = rl_vjp_meta(v, 0);
    uint32_t mask;
    if (t == NULL || t->ndim == 0 || (keepdim_arg >= 0 && rl_vjp_arg(v, keepdim_arg)->as.b))
        return t;
    if (mask_of("backward", rl_vjp_arg(v, dim_arg), x->ndim, &mask) != RL_OK)
        return NULL;
    int64_t shape[RL_MAX_DIMS];
    for (int64_t d = 0; d < x->ndim; d++)
        shape[d] = mask >> d & 1 ? 1 : x->shape[d];
    return rl_view(t, ((rl_ints){shape, x->ndim}));
}

int64_t rl_vjp_reduced_count(rl_vjp *v, int dim_arg) {
    const rl_meta *x = rl_vjp_meta(v, 0);
    uint32_t mask = UINT32_MAX;
    int64_t count = 1;
    if (dim_arg >= 0 && mask_of("backward", rl_vjp_arg(v, dim_arg), x->ndim, &mask) != RL_OK)
        return 0;
    for (int64_t d = 0; d < x->ndim; d++)
        count *= mask >> d & 1 ? x->shape[d] : 1;
    return count;
}

/* Tasks ----------------------------------------------------------------------------------------------------------- */

rl_status rl_reduce(const char *op, const rl_reduction *r) {
    const rl_program *prologue = rl_row_program(r->prologue, r->prologue_key);
    const rl_program *epilogue = prologue ? rl_row_program(r->epilogue, r->epilogue_key) : NULL;
    if (epilogue == NULL)
        return rl_error_status();
    rl_reduce_task task = {.prologue = prologue,
                           .epilogue = epilogue,
                           .inputs = r->inputs,
                           .outputs = r->outputs,
                           .scalars = r->scalars,
                           .epilogue_scalars = r->epilogue_scalars,
                           .ndim = r->shape_of->ndim,
                           .shape = r->shape_of->shape,
                           .reduced = r->shape_of->ndim > 0 ? r->mask & ((1u << r->shape_of->ndim) - 1) : 0};
    memcpy(task.combiner, r->combiner, sizeof task.combiner);
    return rl_row_reduce(op, &task);
}

void rl_write_value(rl_builder *b, uint32_t key) {
    rl_build_output(b, rl_key_input(b, key), rl_key_compute(key));
}
void rl_write_result(rl_builder *b, uint32_t key) {
    rl_build_output(b, rl_build_input(b, rl_key_compute(key)), rl_key_out(key));
}

/* sum, mean, prod ------------------------------------------------------------------------------------------------- */

/* dtype where it is given, else integers and bool as int64. */
static rl_dtype sum_dtype(const rl_call *call, int dtype_arg) {
    rl_dtype self = (rl_dtype)rl_arg_tensor(call, 0)->dtype, given = rl_arg_dtype(call, dtype_arg);
    return given ? given : rl_dtype_is_float(self) ? self : RL_I64;
}

static rl_status sum_infer(rl_call *call) {
    return rl_infer_reduced(call, 1, 2, sum_dtype(call, 3));
}

/* One value of self[x], combined, finished by `epilogue`, whose scalar is the number of elements. */
static rl_status reduce_plainly(rl_call *call, rl_program_writer prologue, rl_combiner combiner,
                                rl_program_writer epilogue, uint32_t variant) {
    rl_tensor *self = rl_arg_tensor(call, 0), *out = call->results[0];
    rl_dtype compute = rl_accumulator((rl_dtype)out->dtype);
    rl_reduction r = {.prologue = prologue,
                      .epilogue = epilogue,
                      .prologue_key = RL_KEY(self->dtype, compute, 0, variant),
                      .epilogue_key = RL_KEY(0, compute, out->dtype, variant),
                      .combiner = {(uint8_t)combiner},
                      .inputs = {self},
                      .outputs = {out},
                      .shape_of = self};
    rl_status status = rl_reduced_mask(call, 1, &r.mask);
    if (status != RL_OK)
        return status;
    r.epilogue_scalars[0].f = (double)rl_reduced_count(self, r.mask);
    return rl_reduce(rl_call_name(call), &r);
}

static rl_status sum_lower(rl_call *call) {
    return reduce_plainly(call, rl_write_value, RL_COMBINE_SUM, rl_write_result, 0);
}
VJP(sum, rl_expand(rl_unreduced(v, G, 1, 2), rl_vjp_shape(v, 0))) /* gx[i] = g */

static const rl_sample sum_samples[] = {{"n[3,4]"},
                                        {"n[3,4], 1"},
                                        {"n[2,3,4], [0,2]"},
                                        {"n[2,3,4], [0,2], true"},
                                        {"n[]"},
                                        {"n[0,3]"},
                                        {"n[0,3], 0"},
                                        {"n[3,0], 0"},
                                        {"n[5,7]t, 0"},
                                        {"n[33]s"},
                                        {"n[4]e"},
                                        {"n[3,4], dtype=float32", .no_gradcheck = true, .why = "float32 rounds"},
                                        {"n[], 0"},
                                        {"n[37,129], 1"},
                                        {0}};
static const rl_bad sum_bad[] = {{"f[2,3], 2", RL_INDEX_OUT_OF_RANGE, "dim 2 is out of range"},
                                 {"f[2,3], [0,-2]", RL_INVALID_ARGUMENT, "given twice"},
                                 {"None", RL_INVALID_ARGUMENT, "self"},
                                 {0}};

const rl_op_def rl_op_def_sum = {
    .schema = "sum(Tensor self, int[1]? dim=None, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor",
    .doc = "y = sum_i x[i] over dim, or over all",
    .note = "Integers and bool are summed as int64. Sums of float32 and narrower floats are kept in float32 or better.",
    .flags = RL_OP_ROWS,
    .infer = sum_infer,
    .lower = sum_lower,
    .vjp = sum_vjp,
    .samples = sum_samples,
    .bad = sum_bad,
};

static void write_not_nan(rl_builder *b, uint32_t key) {
    rl_pw x = rl_key_input(b, key);
    rl_build_output(b, SELECT(EQ(x, x), x, NUM(x, 0)), rl_key_compute(key));
}
static rl_status nansum_lower(rl_call *call) {
    return reduce_plainly(call, write_not_nan, RL_COMBINE_SUM, rl_write_result, 0);
}
/* gx[i] = g where x[i] is no NaN */
VJP(nansum, rl_where(rl_eq(X, X), rl_unreduced(v, G, 1, 2), 0))

const rl_op_def rl_op_def_nansum = {
    .schema = "nansum(Tensor self, int[1]? dim=None, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor",
    .doc = "y = sum_i x[i] over dim, or over all, with NaN as 0",
    .flags = RL_OP_ROWS,
    .saves = RL_SAVE_IN(0),
    .infer = sum_infer,
    .lower = nansum_lower,
    .vjp = nansum_vjp,
    .samples = sum_samples,
    .bad = sum_bad,
};

static rl_status mean_infer(rl_call *call) {
    const rl_tensor *self = rl_arg_tensor(call, 0);
    rl_dtype dtype = rl_arg_given(call, 3) ? rl_arg_dtype(call, 3) : (rl_dtype)self->dtype;
    if (!rl_dtype_is_float(dtype))
        return rl_call_fail(call, RL_DTYPE_MISMATCH,
                            "the mean is of a floating dtype, not %s: give dtype, or convert self",
                            rl_dtype_name(dtype));
    return rl_infer_reduced(call, 1, 2, dtype);
}

void rl_write_mean(rl_builder *b, uint32_t key) {
    rl_pw sum = rl_build_input(b, rl_key_compute(key));
    rl_build_output(b, DIV(sum, rl_build_scalar(b, rl_key_compute(key))), rl_key_out(key));
}
static rl_status mean_lower(rl_call *call) {
    return reduce_plainly(call, rl_write_value, RL_COMBINE_SUM, rl_write_mean, 0);
}

/* gx[i] = g / n */
static void mean_vjp(rl_vjp *v) {
    rl_tensor *g = rl_div(G, rl_vjp_reduced_count(v, 1));
    rl_vjp_set(v, 0, rl_expand(rl_unreduced(v, g, 1, 2), rl_vjp_shape(v, 0)));
}

static const rl_sample mean_samples[] = {{"f[3,4]"},
                                         {"f[3,4], 1"},
                                         {"f[2,3,4], [0,2]"},
                                         {"f[2,3,4], [0,2], true"},
                                         {"f[]"},
                                         {"f[0,3]"},
                                         {"f[3,0], 0"},
                                         {"f[5,7]t, 0"},
                                         {"f[33]s"},
                                         {"f[4]e"},
                                         {"i32[3,4], dtype=float32"},
                                         {"f[37,129], 1"},
                                         {0}};
static const rl_bad mean_bad[] = {{"i64[2,3]", RL_DTYPE_MISMATCH, "the mean is of a floating dtype, not int64"},
                                  {"f[2,3], 2", RL_INDEX_OUT_OF_RANGE, "dim 2 is out of range"},
                                  {0}};

const rl_op_def rl_op_def_mean = {
    .schema = "mean(Tensor self, int[1]? dim=None, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor",
    .doc = "y = 1/n sum_i x[i] over dim, or over all",
    .flags = RL_OP_ROWS,
    .infer = mean_infer,
    .lower = mean_lower,
    .vjp = mean_vjp,
    .samples = mean_samples,
    .bad = mean_bad,
};

static rl_status prod_lower(rl_call *call) {
    return reduce_plainly(call, rl_write_value, RL_COMBINE_PROD, rl_write_result, 0);
}

/* Along the last dimension: the product of the elements before each, 1 for the first. */
static rl_tensor *products_before(rl_tensor *x) {
    int64_t n = rl_tensor_size(x, -1);
    return rl_cat(RL_TENSORS(rl_ones_like(rl_narrow(x, -1, 0, 1)), rl_cumprod(rl_narrow(x, -1, 0, n - 1), -1)),
                  .dim = -1);
}

/* The product of all others over the dimensions of the mask, at each element: without a division, so that it has a
 * derivative at zeros, too. */
static rl_tensor *products_of_others(rl_tensor *x, uint32_t mask) {
    int64_t order[RL_MAX_DIMS], back[RL_MAX_DIMS], n = 0;
    for (uint32_t reduced = 0; reduced < 2; reduced++) /* the dimensions of the mask go last */
        for (int64_t d = 0; d < x->ndim; d++)
            if ((mask >> d & 1) == reduced)
                order[n++] = d;
    for (int64_t d = 0; d < n; d++)
        back[order[d]] = d;
    int64_t kept = n - __builtin_popcount(mask & ((1u << n) - 1));
    rl_tensor *turned = rl_permute(x, RL_INTS(order, n));
    if (turned == NULL)
        return NULL;
    int64_t along = 1;
    for (int64_t d = kept; d < n; d++)
        along *= turned->shape[d];
    rl_tensor *flat = rl_reshape(turned, RL_DIMS(-1, along));
    rl_ints last = RL_DIMS(1);
    rl_tensor *others = rl_mul(products_before(flat), rl_flip(products_before(rl_flip(flat, last)), last));
    return rl_permute(rl_reshape(others, RL_INTS(turned->shape, n)), RL_INTS(back, n));
}

/* gx[i] = g prod_{j != i} x[j]: g y / x[i]; where one x[i] is 0, it alone gets g times the others' product. That does
 * for numbers; as a function of x it says nothing of what happens around zeros. */
static void prod_vjp(rl_vjp *v) {
    uint32_t mask;
    if (rl_recording_ && X && X->numel > 0) {
        if (mask_of("backward", rl_vjp_arg(v, 1), X->ndim, &mask) == RL_OK)
            rl_vjp_set(v, 0, rl_mul(rl_unreduced(v, G, 1, 2), products_of_others(X, mask)));
        return;
    }
    rl_tensor *g = rl_unreduced(v, G, 1, 2), *y = rl_unreduced(v, Y, 1, 2);
    rl_tensor *is_zero = rl_eq(X, 0), *others = rl_where(is_zero, 1, X);
    rl_ints dims = rl_vjp_ints(v, 1);
    rl_tensor *zeros = rl_sum(is_zero, .dim = dims, .keepdim = true);
    rl_tensor *rest = rl_mul(g, rl_prod(others, .dim = dims, .keepdim = true));
    rl_tensor *only_zero = rl_logical_and(is_zero, rl_eq(zeros, 1));
    rl_vjp_set(v, 0, rl_where(only_zero, rest, rl_only_where_not(is_zero, rl_div(rl_mul(g, y), others))));
}

static const rl_sample prod_samples[] = {{"p[3,4]"},
                                         {"p[3,4], 1"},
                                         {"p[2,3,4], [0,2], true"},
                                         {"p[]"},
                                         {"p[0,3]"},
                                         {"p[0,3], 0"},
                                         {"p[5,7]t, 0"},
                                         {"p[7]s"},
                                         {"p[4]e"},
                                         {"n[3,2], 1"},
                                         {0}};

const rl_op_def rl_op_def_prod = {
    .schema = "prod(Tensor self, int[1]? dim=None, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor",
    .doc = "y = prod_i x[i] over dim, or over all",
    .flags = RL_OP_ROWS | RL_OP_AUTOCAST_F32,
    .saves = RL_SAVE_IN(0) | RL_SAVE_OUT(0),
    .infer = sum_infer,
    .lower = prod_lower,
    .vjp = prod_vjp,
    .samples = prod_samples,
    .bad = sum_bad,
};

/* any, all, count_nonzero ----------------------------------------------------------------------------------------- */

/* Truths are bool, but of uint8, where PyTorch keeps uint8. Over an empty list of dimensions, which other reductions
 * take for all, they are those of each element. */
static bool no_dims(const rl_call *call) {
    return call->args[1].kind == RL_VALUE_INTS && call->args[1].as.ints.count == 0;
}
static rl_status truth_infer(rl_call *call) {
    const rl_tensor *self = rl_arg_tensor(call, 0);
    rl_dtype dtype = self->dtype == RL_U8 ? RL_U8 : RL_BOOL;
    if (!no_dims(call))
        return rl_infer_reduced(call, 1, 2, dtype);
    rl_meta_set(&call->meta[0], dtype, self->storage->device, self->ndim, self->shape);
    return RL_OK;
}

/* 1 where the input is not 0. */
static void write_truth(rl_builder *b, uint32_t key) {
    rl_build_output(b, rl_build_cast(b, rl_build_input(b, rl_key_in(key)), RL_BOOL), rl_key_compute(key));
}
/* Of no elements, max is the least integer: not above 0; min is the greatest. */
static void write_is_positive(rl_builder *b, uint32_t key) {
    rl_pw x = rl_build_input(b, rl_key_compute(key));
    rl_build_output(b, GT(x, NUM(x, 0)), rl_key_out(key));
}

static rl_status truth_of_each(rl_call *call) {
    rl_tensor *truth = rl_ne(rl_arg_tensor(call, 0), 0);
    truth = truth ? rl_to(truth, .dtype = (rl_dtype)call->results[0]->dtype) : NULL;
    return truth ? rl_move(rl_call_name(call), call->results[0], truth) : rl_error_status();
}

static rl_status any_lower(rl_call *call) {
    return no_dims(call) ? truth_of_each(call)
                         : reduce_plainly(call, write_truth, RL_COMBINE_MAX, write_is_positive, 0);
}
static rl_status all_lower(rl_call *call) {
    return no_dims(call) ? truth_of_each(call)
                         : reduce_plainly(call, write_truth, RL_COMBINE_MIN, write_is_positive, 0);
}

static const rl_sample truth_samples[] = {{"b[3,4]"},
                                          {"b[3,4], 1"},
                                          {"b[2,3,4], [0,2], true"},
                                          {"b[]"},
                                          {"b[0,3]"},
                                          {"b[0,3], 0"},
                                          {"b[5,7]t, 0"},
                                          {"f[33]s"},
                                          {"i32[3,4], 0"},
                                          {"u8[4]e"},
                                          {"n[3,4], []"},
                                          {"u8[0,3], []"},
                                          {0}};

const rl_op_def rl_op_def_any = {
    .schema = "any(Tensor self, int[1]? dim=None, bool keepdim=False) -> Tensor",
    .doc = "y = whether some x[i] is not 0",
    .flags = RL_OP_ROWS | RL_OP_NO_GRAD,
    .infer = truth_infer,
    .lower = any_lower,
    .samples = truth_samples,
    .bad = sum_bad,
};

const rl_op_def rl_op_def_all = {
    .schema = "all(Tensor self, int[1]? dim=None, bool keepdim=False) -> Tensor",
    .doc = "y = whether every x[i] is not 0",
    .flags = RL_OP_ROWS | RL_OP_NO_GRAD,
    .infer = truth_infer,
    .lower = all_lower,
    .samples = truth_samples,
    .bad = sum_bad,
};

static rl_status count_nonzero_infer(rl_call *call) {
    return rl_infer_reduced(call, 1, -1, RL_I64);
}
static rl_status count_nonzero_lower(rl_call *call) {
    return reduce_plainly(call, write_truth, RL_COMBINE_SUM, rl_write_result, 0);
}

static const rl_sample count_nonzero_samples[] = {
    {"b[3,4]"}, {"n[3,4], 1"}, {"i32[2,3,4], [0,2]"}, {"n[]"}, {"n[0,3], 0"}, {"b[5,7]t, 0"}, {"n[33]s"}, {0}};

const rl_op_def rl_op_def_count_nonzero = {
    .schema = "count_nonzero(Tensor self, int[1]? dim=None) -> Tensor",
    .doc = "y = how many x[i] are not 0",
    .flags = RL_OP_ROWS | RL_OP_NO_GRAD,
    .infer = count_nonzero_infer,
    .lower = count_nonzero_lower,
    .samples = count_nonzero_samples,
    .bad = sum_bad,
};
