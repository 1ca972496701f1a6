/* SPDX-License-Identifier: Apache-2.0 */
/* Products of matrices and vectors. Shapes: a (.., m, k), b (.., k, n), result (.., m, n). */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "ops/op_matmul.h"

/* What they share ------------------------------------------------------------------------------------------------- */

rl_status rl_fail_product(const rl_call *call, int a, int b, int64_t rows, int64_t columns) {
    const rl_schema *schema = &rl_schema_table[call->opcode];
    const rl_tensor *x = rl_arg_tensor(call, a), *y = rl_arg_tensor(call, b);
    char x_text[RL_SHAPE_TEXT], y_text[RL_SHAPE_TEXT];
    return rl_call_fail(call, RL_SHAPE_MISMATCH, "%s %s and %s %s do not fit: %lld and %lld must be equal",
                        schema->params[a].name, rl_shape_text(x->ndim, x->shape, x_text), schema->params[b].name,
                        rl_shape_text(y->ndim, y->shape, y_text), (long long)rows, (long long)columns);
}

rl_status rl_check_factors(const rl_call *call, int first, int last) {
    const rl_schema *schema = &rl_schema_table[call->opcode];
    const rl_tensor *x = rl_arg_tensor(call, first);
    assert(x != NULL);
    rl_status status = rl_check_same_device(call);
    for (int i = first; status == RL_OK && i <= last; i++) {
        const rl_tensor *y = rl_arg_tensor(call, i);
        if (y != NULL && y->dtype != x->dtype)
            return rl_call_fail(call, RL_DTYPE_MISMATCH, "%s is %s and %s %s: they must be of one dtype",
                                schema->params[first].name, rl_dtype_name((rl_dtype)x->dtype), schema->params[i].name,
                                rl_dtype_name((rl_dtype)y->dtype));
    }
    if (status == RL_OK && x->dtype == RL_BOOL)
        return rl_call_fail(call, RL_DTYPE_MISMATCH, "%s is bool: convert it to a number's dtype",
                            schema->params[first].name);
    return status;
}

static rl_status check_rank(const rl_call *call, int arg, int rank) {
    const rl_tensor *x = rl_arg_tensor(call, arg);
    char text[RL_SHAPE_TEXT];
    return x->ndim == rank ? RL_OK
                           : rl_call_fail(call, RL_SHAPE_MISMATCH, "%s %s must have %d dimension%s",
                                          rl_schema_table[call->opcode].params[arg].name,
                                          rl_shape_text(x->ndim, x->shape, text), rank, rank == 1 ? "" : "s");
}

/* meta[0] of the product of args[a] and args[b], of any ranks from 1. */
static rl_status infer_product(rl_call *call, int a, int b) {
    const rl_tensor *x = rl_arg_tensor(call, a), *y = rl_arg_tensor(call, b);
    rl_meta *meta = &call->meta[0];
    rl_status status = rl_check_factors(call, a, b);
    if (status != RL_OK)
        return status;
    if (x->ndim == 0 || y->ndim == 0)
        return rl_call_fail(call, RL_SHAPE_MISMATCH, "%s has no dimensions: multiply by it with mul",
                            rl_schema_table[call->opcode].params[x->ndim == 0 ? a : b].name);
    int64_t inner = y->shape[y->ndim >= 2 ? y->ndim - 2 : 0];
    if (x->shape[x->ndim - 1] != inner)
        return rl_fail_product(call, a, b, x->shape[x->ndim - 1], inner);
    int64_t x_batch = x->ndim > 2 ? x->ndim - 2 : 0, y_batch = y->ndim > 2 ? y->ndim - 2 : 0, ndim;
    status = rl_broadcast_shapes(rl_call_name(call), x_batch, x->shape, y_batch, y->shape, &ndim, meta->shape);
    if (status != RL_OK)
        return status;
    if (x->ndim >= 2)
        meta->shape[ndim++] = x->shape[x->ndim - 2];
    if (y->ndim >= 2)
        meta->shape[ndim++] = y->shape[y->ndim - 1];
    meta->dtype = (rl_dtype)x->dtype;
    meta->device = x->storage->device;
    meta->ndim = ndim;
    return RL_OK;
}

/* x with a dimension of size 1 more at dim. */
static rl_tensor *with_dim(const rl_tensor *x, int64_t dim) {
    rl_geometry g = rl_geometry_of(x);
    if (rl_geometry_insert("matmul", &g, dim, 1, 1) != RL_OK)
        return NULL;
    return rl_over(x, g.ndim, g.shape, g.stride, g.offset);
}

rl_status rl_multiply(const rl_call *call, rl_tensor *a, rl_tensor *b, rl_tensor *c, double alpha, double beta) {
    if (b->ndim == 1) {
        b = with_dim(b, 1);
        c = with_dim(c, c->ndim);
    }
    if (a->ndim == 1) {
        a = with_dim(a, 0);
        c = c ? with_dim(c, c->ndim - 1) : NULL;
    }
    return a && b && c ? rl_row_matmul(rl_call_name(call), a, b, c, alpha, beta) : rl_error_status();
}

static rl_status product_lower(rl_call *call) {
    return rl_multiply(call, rl_arg_tensor(call, 0), rl_arg_tensor(call, 1), call->results[0], 1.0, 0.0);
}

rl_tensor *rl_as_rows(rl_tensor *x) {
    return x->ndim == 2 ? x : rl_reshape(x, RL_DIMS(rl_shape_numel(x->ndim - 1, x->shape), x->shape[x->ndim - 1]));
}

/* ga = g b^T */
static rl_tensor *left_gradient(rl_tensor *g, const rl_meta *a, rl_tensor *b) {
    if (b->ndim == 1) /* an outer product */
        return a->ndim == 1 ? rl_mul(g, b) : rl_mul(rl_unsqueeze(g, -1), b);
    if (a->ndim == 1)
        return rl_squeeze(rl_matmul(b, rl_unsqueeze(g, -1)), .dim = RL_DIMS(-1));
    return rl_matmul(g, rl_transpose(b, -2, -1));
}

/* gb = a^T g; over the rows of all batches at once where b has none. */
static rl_tensor *right_gradient(rl_tensor *g, rl_tensor *a, const rl_meta *b) {
    if (a->ndim == 1)
        return b->ndim == 1 ? rl_mul(g, a) : rl_mul(rl_unsqueeze(a, 1), rl_unsqueeze(g, -2));
    if (b->ndim == 1)
        return rl_matmul(rl_t(rl_as_rows(a)), a->ndim == 2 ? g : rl_reshape(g, RL_DIMS(-1)));
    if (b->ndim == 2 && a->ndim > 2)
        return rl_matmul(rl_t(rl_as_rows(a)), rl_as_rows(g));
    return rl_matmul(rl_transpose(a, -2, -1), g);
}

static void product_vjp(rl_vjp *v) {
    rl_tensor *g = G;
    if (rl_vjp_needs(v, 0))
        rl_vjp_set(v, 0, left_gradient(g, rl_vjp_meta(v, 0), rl_vjp_input(v, 1)));
    if (rl_vjp_needs(v, 1))
        rl_vjp_set(v, 1, right_gradient(g, rl_vjp_input(v, 0), rl_vjp_meta(v, 1)));
}

/* matmul, mm, bmm, mv, dot ---------------------------------------------------------------------------------------- */

static rl_status matmul_infer(rl_call *call) {
    return infer_product(call, 0, 1);
}

static const rl_sample matmul_samples[] = {{"n[3,4], n[4,5]"},
                                           {"n[4], n[4]"},
                                           {"n[4], n[4,5]"},
                                           {"n[3,4], n[4]"},
                                           {"n[2,3,4], n[4,5]"},
                                           {"n[2,3,4], n[2,4,5]"},
                                           {"n[2,1,3,4], n[3,4,5]"},
                                           {"n[3,4], n[2,4,5]"},
                                           {"n[4], n[2,4,5]"},
                                           {"n[2,3,4], n[4]"},
                                           {"n[0,4], n[4,5]"},
                                           {"n[3,0], n[0,5]"},
                                           {"n[0,3,4], n[4,5]"},
                                           {"n[5,7]t, n[7,3]"},
                                           {"n[7,5], n[5,3]t"},
                                           {"n[33]s, n[33]s"},
                                           {"n[1,1], n[1,1]"},
                                           {"n[17,31], n[31,13]"},
                                           {0}};
static const rl_bad matmul_bad[] = {
    {"f[3,4], f[5,2]", RL_SHAPE_MISMATCH, "self (3, 4) and other (5, 2) do not fit: 4 and 5 must be equal"},
    {"f[2,3,4], f[3,4,5]", RL_SHAPE_MISMATCH, "broadcast"},
    {"f[], f[2]", RL_SHAPE_MISMATCH, "self has no dimensions"},
    {"f32[2,2], i64[2,2]", RL_DTYPE_MISMATCH, "self is float32 and other int64"},
    {"b[2,2], b[2,2]", RL_DTYPE_MISMATCH, "bool"},
    {"f[2,2], None", RL_INVALID_ARGUMENT, "other"},
    {0}};

const rl_op_def rl_op_def_matmul = {
    .schema = "matmul(Tensor self, Tensor other) -> Tensor",
    .doc = "y[.., i, j] = sum_k self[.., i, k] other[.., k, j]",
    .note = "A vector on the left is a row, on the right a column, and its dimension is dropped. Batch dimensions "
            "broadcast. float32 and narrower floats are summed in float32 or better and rounded once.",
    .flags = RL_OP_ROWS | RL_OP_AUTOCAST_LOW,
    .saves = RL_SAVE_IN(0) | RL_SAVE_IN(1),
    .infer = matmul_infer,
    .lower = product_lower,
    .vjp = product_vjp, /* ga = g b^T, gb = a^T g */
    .samples = matmul_samples,
    .bad = matmul_bad,
    .sample_dtypes = RL_SAMPLE_NO_BOOL,
};

/* The ranks are checked first, so that the sentence says what this op takes. */
static rl_status infer_ranks(rl_call *call, int a_rank, int b_rank) {
    rl_status status = check_rank(call, 0, a_rank);
    if (status == RL_OK)
        status = check_rank(call, 1, b_rank);
    return status == RL_OK ? infer_product(call, 0, 1) : status;
}

static rl_status mm_infer(rl_call *call) {
    return infer_ranks(call, 2, 2);
}
static const rl_sample mm_samples[] = {{"n[3,4], n[4,5]"},
                                       {"n[0,4], n[4,5]"},
                                       {"n[3,0], n[0,5]"},
                                       {"n[5,7]t, n[7,3]"},
                                       {"n[7,5], n[5,3]t"},
                                       {"n[1,1], n[1,1]"},
                                       {0}};
static const rl_bad mm_bad[] = {{"f[3,4], f[4]", RL_SHAPE_MISMATCH, "mat2 (4) must have 2 dimensions"},
                                {"f[3,4], f[5,2]", RL_SHAPE_MISMATCH, "4 and 5 must be equal"},
                                {0}};

const rl_op_def rl_op_def_mm = {
    .schema = "mm(Tensor self, Tensor mat2) -> Tensor",
    .doc = "y[i, j] = sum_k self[i, k] mat2[k, j]",
    .flags = RL_OP_ROWS | RL_OP_AUTOCAST_LOW,
    .saves = RL_SAVE_IN(0) | RL_SAVE_IN(1),
    .infer = mm_infer,
    .lower = product_lower,
    .vjp = product_vjp,
    .samples = mm_samples,
    .bad = mm_bad,
    .sample_dtypes = RL_SAMPLE_NO_BOOL,
};

static rl_status check_batches(const rl_call *call, int a, int b) {
    int64_t x = rl_arg_tensor(call, a)->shape[0], y = rl_arg_tensor(call, b)->shape[0];
    return x == y ? RL_OK : rl_fail_product(call, a, b, x, y);
}

static rl_status bmm_infer(rl_call *call) {
    rl_status status = infer_ranks(call, 3, 3);
    return status == RL_OK ? check_batches(call, 0, 1) : status;
}
static const rl_sample bmm_samples[] = {
    {"n[2,3,4], n[2,4,5]"}, {"n[0,3,4], n[0,4,5]"}, {"n[2,3,0], n[2,0,5]"}, {"n[1,1,1], n[1,1,1]"}, {0}};
static const rl_bad bmm_bad[] = {{"f[2,3,4], f[4,5]", RL_SHAPE_MISMATCH, "mat2 (4, 5) must have 3 dimensions"},
                                 {"f[2,3,4], f[1,4,5]", RL_SHAPE_MISMATCH, "2 and 1 must be equal"},
                                 {0}};

const rl_op_def rl_op_def_bmm = {
    .schema = "bmm(Tensor self, Tensor mat2) -> Tensor",
    .doc = "y[b, i, j] = sum_k self[b, i, k] mat2[b, k, j]",
    .flags = RL_OP_ROWS | RL_OP_AUTOCAST_LOW,
    .saves = RL_SAVE_IN(0) | RL_SAVE_IN(1),
    .infer = bmm_infer,
    .lower = product_lower,
    .vjp = product_vjp,
    .samples = bmm_samples,
    .bad = bmm_bad,
    .sample_dtypes = RL_SAMPLE_NO_BOOL,
};

static rl_status mv_infer(rl_call *call) {
    return infer_ranks(call, 2, 1);
}
static const rl_sample mv_samples[] = {{"n[3,4], n[4]"}, {"n[0,4], n[4]"}, {"n[3,0], n[0]"}, {"n[5,7]t, n[7]"}, {0}};
static const rl_bad mv_bad[] = {{"f[3,4], f[4,1]", RL_SHAPE_MISMATCH, "vec (4, 1) must have 1 dimension"},
                                {"f[3,4], f[5]", RL_SHAPE_MISMATCH, "4 and 5 must be equal"},
                                {0}};

const rl_op_def rl_op_def_mv = {
    .schema = "mv(Tensor self, Tensor vec) -> Tensor",
    .doc = "y[i] = sum_k self[i, k] vec[k]",
    .flags = RL_OP_ROWS,
    .saves = RL_SAVE_IN(0) | RL_SAVE_IN(1),
    .infer = mv_infer,
    .lower = product_lower,
    .vjp = product_vjp,
    .samples = mv_samples,
    .bad = mv_bad,
    .sample_dtypes = RL_SAMPLE_NO_BOOL,
};

static rl_status dot_infer(rl_call *call) {
    return infer_ranks(call, 1, 1);
}
static const rl_sample dot_samples[] = {{"n[4], n[4]"}, {"n[0], n[0]"}, {"n[33]s, n[33]"}, {"n[4]e, n[4]"}, {0}};
static const rl_bad dot_bad[] = {{"f[3,4], f[4]", RL_SHAPE_MISMATCH, "self (3, 4) must have 1 dimension"},
                                 {"f[4], f[5]", RL_SHAPE_MISMATCH, "4 and 5 must be equal"},
                                 {0}};

const rl_op_def rl_op_def_dot = {
    .schema = "dot(Tensor self, Tensor tensor) -> Tensor",
    .doc = "y = sum_k self[k] tensor[k]",
    .flags = RL_OP_ROWS,
    .saves = RL_SAVE_IN(0) | RL_SAVE_IN(1),
    .infer = dot_infer,
    .lower = product_lower,
    .vjp = product_vjp,
    .samples = dot_samples,
    .bad = dot_bad,
    .sample_dtypes = RL_SAMPLE_NO_BOOL,
};

static rl_status outer_lower(rl_call *call) {
    if (check_rank(call, 0, 1) == RL_OK && check_rank(call, 1, 1) == RL_OK)
        call->results[0] = rl_mul(rl_unsqueeze(rl_arg_tensor(call, 0), 1), rl_arg_tensor(call, 1));
    return rl_error_status();
}
static const rl_sample outer_samples[] = {{"n[4], n[3]"}, {"n[0], n[3]"}, {"n[33]s, n[2]"}, {"n[4]e, n[4]"}, {0}};
static const rl_bad outer_bad[] = {{"f[3,4], f[4]", RL_SHAPE_MISMATCH, "self (3, 4) must have 1 dimension"}, {0}};

const rl_op_def rl_op_def_outer = {
    .schema = "outer(Tensor self, Tensor vec2) -> Tensor",
    .doc = "y[i, j] = self[i] vec2[j]",
    .flags = RL_OP_COMPOSITE,
    .lower = outer_lower,
    .samples = outer_samples,
    .bad = outer_bad,
};

/* addmm, baddbmm, addmv: beta self + alpha a b ----------------------------------------------------------------------
 */

static rl_status infer_sum_of_product(rl_call *call, int a_rank, int b_rank) {
    const rl_tensor *self = rl_arg_tensor(call, 0);
    rl_status status = rl_check_factors(call, 0, 2);
    bool fraction = call->args[3].kind == RL_VALUE_FLOAT || call->args[4].kind == RL_VALUE_FLOAT;
    if (status == RL_OK && fraction && a_rank != 3 && /* baddbmm cuts fractions off, as PyTorch does */
        !rl_dtype_is_float((rl_dtype)self->dtype))
        return rl_call_fail(call, RL_DTYPE_MISMATCH, "beta and alpha must be integers where self is %s",
                            rl_dtype_name((rl_dtype)self->dtype));
    if (status == RL_OK)
        status = check_rank(call, 1, a_rank);
    if (status == RL_OK)
        status = check_rank(call, 2, b_rank);
    if (status == RL_OK)
        status = infer_product(call, 1, 2);
    if (status != RL_OK)
        return status;
    const rl_meta *meta = &call->meta[0];
    bool fits = self->ndim <= meta->ndim;
    for (int64_t d = 1; fits && d <= self->ndim; d++)
        fits = self->shape[self->ndim - d] == 1 || self->shape[self->ndim - d] == meta->shape[meta->ndim - d];
    char have[RL_SHAPE_TEXT], want[RL_SHAPE_TEXT];
    return fits ? RL_OK
                : rl_call_fail(call, RL_SHAPE_MISMATCH, "self %s does not broadcast to the product %s",
                               rl_shape_text(self->ndim, self->shape, have),
                               rl_shape_text(meta->ndim, meta->shape, want));
}

static rl_status sum_of_product_lower(rl_call *call) {
    double beta = rl_arg_double(call, 3), alpha = rl_arg_double(call, 4);
    rl_tensor *self = rl_arg_tensor(call, 0), *out = call->results[0];
    if (!rl_dtype_is_float((rl_dtype)out->dtype)) {
        beta = trunc(beta);
        alpha = trunc(alpha);
    }
    if (beta != 0.0 && !call->inplace && rl_move(rl_call_name(call), out, self) != RL_OK)
        return rl_error_status();
    return rl_multiply(call, rl_arg_tensor(call, 1), rl_arg_tensor(call, 2), out, alpha, beta);
}

/* gself = beta g, ga = alpha g b^T, gb = alpha a^T g */
static void sum_of_product_vjp(rl_vjp *v) {
    rl_value beta = *rl_vjp_arg(v, 3), alpha = *rl_vjp_arg(v, 4);
    rl_tensor *g = G;
    if (rl_vjp_needs(v, 0))
        rl_vjp_set(v, 0, rl_times(g, beta));
    if (rl_vjp_needs(v, 1))
        rl_vjp_set(v, 1, rl_times(left_gradient(g, rl_vjp_meta(v, 1), rl_vjp_input(v, 2)), alpha));
    if (rl_vjp_needs(v, 2))
        rl_vjp_set(v, 2, rl_times(right_gradient(g, rl_vjp_input(v, 1), rl_vjp_meta(v, 2)), alpha));
}

static rl_status addmm_infer(rl_call *call) {
    return infer_sum_of_product(call, 2, 2);
}
static const rl_sample addmm_samples[] = {{"n[3,5], n[3,4], n[4,5]"},       {"n[5], n[3,4], n[4,5], beta=2, alpha=3"},
                                          {"n[], n[3,4], n[4,5]"},          {"n[3,5], n[3,0], n[0,5]"},
                                          {"n[5], n[0,4], n[4,5]"},         {"f[3,1], f[3,4], f[4,5]t, beta=0.5"},
                                          {"n[5], n[3,4], n[4,5], beta=0"}, {0}};
static const rl_bad addmm_bad[] = {
    {"f[2], f[3,4], f[4,5]", RL_SHAPE_MISMATCH, "self (2) does not broadcast to the product (3, 5)"},
    {"f[5], f[3,4], f[5,4]", RL_SHAPE_MISMATCH, "4 and 5 must be equal"},
    {"f[5], f[4], f[5,4]", RL_SHAPE_MISMATCH, "mat1 (4) must have 2 dimensions"},
    {"i64[5], i64[3,4], i64[4,5], alpha=0.5", RL_DTYPE_MISMATCH, "beta and alpha must be integers"},
    {0}};

const rl_op_def rl_op_def_addmm = {
    .schema = "addmm(Tensor self, Tensor mat1, Tensor mat2, *, Scalar beta=1, Scalar alpha=1) -> Tensor",
    .doc = "y = beta self + alpha mat1 mat2",
    .flags = RL_OP_ROWS | RL_OP_INPLACE | RL_OP_AUTOCAST_LOW,
    .saves = RL_SAVE_IN(1) | RL_SAVE_IN(2),
    .infer = addmm_infer,
    .lower = sum_of_product_lower,
    .vjp = sum_of_product_vjp,
    .samples = addmm_samples,
    .bad = addmm_bad,
    .sample_dtypes = RL_SAMPLE_NO_BOOL,
};

static rl_status baddbmm_infer(rl_call *call) {
    rl_status status = infer_sum_of_product(call, 3, 3);
    return status == RL_OK ? check_batches(call, 1, 2) : status;
}
static const rl_sample baddbmm_samples[] = {{"n[2,3,5], n[2,3,4], n[2,4,5]"},
                                            {"n[5], n[2,3,4], n[2,4,5], beta=2, alpha=3"},
                                            {"n[2,3,5], n[2,3,0], n[2,0,5]"},
                                            {"n[1], n[0,3,4], n[0,4,5]"},
                                            {0}};
static const rl_bad baddbmm_bad[] = {
    {"f[5], f[2,3,4], f[3,4,5]", RL_SHAPE_MISMATCH, "broadcast"},
    {"f[5], f[3,4], f[4,5]", RL_SHAPE_MISMATCH, "batch1 (3, 4) must have 3 dimensions"},
    {0}};

const rl_op_def rl_op_def_baddbmm = {
    .schema = "baddbmm(Tensor self, Tensor batch1, Tensor batch2, *, Scalar beta=1, Scalar alpha=1) -> Tensor",
    .doc = "y[b] = beta self[b] + alpha batch1[b] batch2[b]",
    .flags = RL_OP_ROWS | RL_OP_INPLACE | RL_OP_AUTOCAST_LOW,
    .saves = RL_SAVE_IN(1) | RL_SAVE_IN(2),
    .infer = baddbmm_infer,
    .lower = sum_of_product_lower,
    .vjp = sum_of_product_vjp,
    .samples = baddbmm_samples,
    .bad = baddbmm_bad,
    .sample_dtypes = RL_SAMPLE_NO_BOOL,
};

static rl_status addmv_infer(rl_call *call) {
    return infer_sum_of_product(call, 2, 1);
}
static const rl_sample addmv_samples[] = {{"n[3], n[3,4], n[4]"},
                                          {"n[], n[3,4], n[4], beta=2, alpha=3"},
                                          {"n[3], n[3,0], n[0]"},
                                          {"n[1], n[0,4], n[4]"},
                                          {0}};
static const rl_bad addmv_bad[] = {{"f[3], f[3,4], f[4,5]", RL_SHAPE_MISMATCH, "vec (4, 5) must have 1 dimension"},
                                   {0}};

const rl_op_def rl_op_def_addmv = {
    .schema = "addmv(Tensor self, Tensor mat, Tensor vec, *, Scalar beta=1, Scalar alpha=1) -> Tensor",
    .doc = "y = beta self + alpha mat vec",
    .flags = RL_OP_ROWS | RL_OP_INPLACE,
    .saves = RL_SAVE_IN(1) | RL_SAVE_IN(2),
    .infer = addmv_infer,
    .lower = sum_of_product_lower,
    .vjp = sum_of_product_vjp,
    .samples = addmv_samples,
    .bad = addmv_bad,
    .sample_dtypes = RL_SAMPLE_NO_BOOL,
};
