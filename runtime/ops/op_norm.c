/* SPDX-License-Identifier: Apache-2.0 */
/* Variances, norms and logsumexp: reductions of two passes or with a power. */
#include <math.h>

#include "ops/op_reduce.h"

/* var, std ----------------------------------------------------------------------------------------------------------
 */

/* args: self, dim, correction, keepdim */
static rl_status var_infer(rl_call *call) {
    rl_status status = rl_check_float(call, 0);
    return status == RL_OK ? rl_infer_reduced(call, 1, 3, (rl_dtype)rl_arg_tensor(call, 0)->dtype) : status;
}

static void write_squared_difference(rl_builder *b, uint32_t key) {
    rl_pw x = rl_key_input(b, key), mean = rl_build_input(b, rl_key_compute(key)), difference = SUB(x, mean);
    rl_build_output(b, MUL(difference, difference), rl_key_compute(key));
}
/* sum / n, its root for the standard deviation */
static void write_var(rl_builder *b, uint32_t key) {
    rl_pw sum = rl_build_input(b, rl_key_compute(key)), var = DIV(sum, rl_build_scalar(b, rl_key_compute(key)));
    rl_build_output(b, rl_key_variant(key) ? OP1(SQRT, var) : var, rl_key_out(key));
}

static double degrees_of_freedom(double count, double correction) {
    return count > correction ? count - correction : 0.0;
}

/* The mean first, so that nothing cancels. */
static rl_status lower_var(rl_call *call, bool root) {
    rl_tensor *self = rl_arg_tensor(call, 0), *out = call->results[0];
    const char *op = rl_call_name(call);
    rl_dtype compute = rl_accumulator((rl_dtype)self->dtype);
    uint32_t mask;
    if (rl_reduced_mask(call, 1, &mask) != RL_OK)
        return rl_error_status();
    double count = (double)rl_reduced_count(self, mask);
    rl_tensor *mean = rl_reduced_temp(call, self, mask, compute);
    if (mean == NULL)
        return rl_error_status();
    rl_reduction r = {.prologue = rl_write_value,
                      .prologue_key = RL_KEY(self->dtype, compute, 0, 0),
                      .epilogue = rl_write_mean,
                      .epilogue_key = RL_KEY(0, compute, compute, 0),
                      .combiner = {RL_COMBINE_SUM},
                      .inputs = {self},
                      .outputs = {mean},
                      .epilogue_scalars = {{.f = count}},
                      .shape_of = self,
                      .mask = mask};
    rl_status status = rl_reduce(op, &r);
    r.prologue = write_squared_difference;
    r.epilogue = write_var;
    r.epilogue_key = RL_KEY(0, compute, out->dtype, root);
    r.inputs[1] = mean;
    r.outputs[0] = out;
    r.epilogue_scalars[0].f = degrees_of_freedom(count, rl_arg_given(call, 2) ? rl_arg_double(call, 2) : 1.0);
    return status == RL_OK ? rl_reduce(op, &r) : status;
}
static rl_status var_lower(rl_call *call) {
    return lower_var(call, false);
}
static rl_status std_lower(rl_call *call) {
    return lower_var(call, true);
}

/* (x - mean) times factor */
static rl_tensor *centered(rl_vjp *v, rl_tensor *g, double factor) {
    double correction = rl_vjp_arg(v, 2)->kind == RL_VALUE_NONE ? 1.0 : NUMBER(2);
    double n = degrees_of_freedom((double)rl_vjp_reduced_count(v, 1), correction);
    rl_tensor *x = X, *mean = rl_mean(x, .dim = rl_vjp_ints(v, 1), .keepdim = true);
    return rl_mul(rl_mul(rl_unreduced(v, g, 1, 3), factor / n), rl_sub(x, mean));
}
/* gx = 2 g (x - mean) / (n - correction) */
VJP(var, centered(v, G, 2.0))
/* gx = g (x - mean) / (y (n - correction)); 0 where y is 0 */
VJP(std, centered(v, rl_only_where_not(rl_eq(Y, 0), rl_div(G, Y)), 1.0))

static const rl_sample var_samples[] = {{"f[3,4]"},
                                        {"f[3,4], 1"},
                                        {"f[2,3,4], [0,2], keepdim=true"},
                                        {"f[5,7]t, 0"},
                                        {"f[33]s"},
                                        {"f[3,4], correction=0"},
                                        {"f[0,3], 1"},
                                        {"f[3,4], 1, correction=2"},
                                        {0}};
static const rl_bad var_bad[] = {{"i64[3]", RL_DTYPE_MISMATCH, "self must be of a floating dtype, not int64"},
                                 {"f[2,3], 2", RL_INDEX_OUT_OF_RANGE, "dim 2 is out of range"},
                                 {0}};

const rl_op_def rl_op_def_var = {
    .schema = "var(Tensor self, int[1]? dim=None, *, Scalar? correction=None, bool keepdim=False) -> Tensor",
    .doc = "y = sum_i (x[i] - mean)^2 / (n - correction) over dim, or over all; correction is 1 where it is None",
    .flags = RL_OP_ROWS,
    .saves = RL_SAVE_IN(0),
    .infer = var_infer,
    .lower = var_lower,
    .vjp = var_vjp,
    .samples = var_samples,
    .bad = var_bad,
};

const rl_op_def rl_op_def_std = {
    .schema = "std(Tensor self, int[1]? dim=None, *, Scalar? correction=None, bool keepdim=False) -> Tensor",
    .doc = "y = sqrt(sum_i (x[i] - mean)^2 / (n - correction)) over dim, or over all; correction is 1 where it is None",
    .flags = RL_OP_ROWS,
    .saves = RL_SAVE_IN(0) | RL_SAVE_OUT(0),
    .infer = var_infer,
    .lower = std_lower,
    .vjp = std_vjp,
    .samples = var_samples,
    .bad = var_bad,
};

/* args[2] as the field of an options struct. */
static double correction_field(const rl_call *call) {
    double correction = rl_arg_given(call, 2) ? rl_arg_double(call, 2) : 1.0;
    return correction == 0.0 ? (double)RL_ZERO : correction;
}
static rl_status var_mean_lower(rl_call *call) {
    rl_tensor *self = rl_arg_tensor(call, 0);
    rl_ints dim = rl_arg_ints(call, 1);
    bool keep = rl_arg_bool(call, 3);
    call->results[0] = rl_var(self, .dim = dim, .correction = correction_field(call), .keepdim = keep);
    call->results[1] = rl_mean(self, .dim = dim, .keepdim = keep);
    return rl_error_status();
}
static rl_status std_mean_lower(rl_call *call) {
    rl_tensor *self = rl_arg_tensor(call, 0);
    rl_ints dim = rl_arg_ints(call, 1);
    bool keep = rl_arg_bool(call, 3);
    call->results[0] = rl_std(self, .dim = dim, .correction = correction_field(call), .keepdim = keep);
    call->results[1] = rl_mean(self, .dim = dim, .keepdim = keep);
    return rl_error_status();
}

const rl_op_def rl_op_def_var_mean = {
    .schema = "var_mean(Tensor self, int[1]? dim=None, *, Scalar? correction=None, bool keepdim=False) -> (Tensor var, "
              "Tensor mean)",
    .doc = "var and mean of x over dim, or over all",
    .flags = RL_OP_COMPOSITE,
    .lower = var_mean_lower,
    .samples = var_samples,
    .bad = var_bad,
};

const rl_op_def rl_op_def_std_mean = {
    .schema = "std_mean(Tensor self, int[1]? dim=None, *, Scalar? correction=None, bool keepdim=False) -> (Tensor std, "
              "Tensor mean)",
    .doc = "standard deviation and mean of x over dim, or over all",
    .flags = RL_OP_COMPOSITE,
    .lower = std_mean_lower,
    .samples = var_samples,
    .bad = var_bad,
};

/* norms -------------------------------------------------------------------------------------------------------------
 */

typedef enum norm_kind { NORM_ANY, NORM_0, NORM_1, NORM_2, NORM_MAX, NORM_MIN } norm_kind;

static norm_kind kind_of(double p) {
    return p == 0.0   ? NORM_0
           : p == 1.0 ? NORM_1
           : p == 2.0 ? NORM_2
           : isinf(p) ? (p > 0 ? NORM_MAX : NORM_MIN)
                      : NORM_ANY;
}

/* args: self, p, dim, keepdim, dtype */
static rl_status norm_infer(rl_call *call) {
    const rl_tensor *self = rl_arg_tensor(call, 0);
    rl_dtype dtype = rl_arg_given(call, 4) ? rl_arg_dtype(call, 4) : (rl_dtype)self->dtype;
    norm_kind kind = kind_of(rl_arg_double(call, 1));
    if (!rl_dtype_is_float(dtype))
        return rl_call_fail(call, RL_DTYPE_MISMATCH, "self must be of a floating dtype, not %s", rl_dtype_name(dtype));
    if (kind == NORM_MAX || kind == NORM_MIN) {
        rl_status status = rl_check_nonempty(call, 2);
        if (status != RL_OK)
            return status;
    }
    return rl_infer_reduced(call, 2, 3, dtype);
}

/* |x|^p, or what stands for it; p is the launch scalar */
static void write_power(rl_builder *b, uint32_t key) {
    rl_pw x = rl_key_input(b, key), y;
    switch ((norm_kind)rl_key_variant(key)) {
    case NORM_ANY:
        y = OP2(POW, ABS(x), rl_build_scalar(b, rl_key_compute(key)));
        break;
    case NORM_0:
        y = rl_build_cast(b, NE(x, NUM(x, 0)), rl_key_compute(key));
        break;
    case NORM_2:
        y = MUL(x, x);
        break;
    default:
        y = ABS(x);
    }
    rl_build_output(b, y, rl_key_compute(key));
}
/* sum^(1/p); 1/p is the launch scalar */
static void write_root(rl_builder *b, uint32_t key) {
    rl_pw sum = rl_build_input(b, rl_key_compute(key)), y = sum;
    if (rl_key_variant(key) == NORM_2)
        y = OP1(SQRT, sum);
    else if (rl_key_variant(key) == NORM_ANY)
        y = OP2(POW, sum, rl_build_scalar(b, rl_key_compute(key)));
    rl_build_output(b, y, rl_key_out(key));
}

static rl_status norm_lower(rl_call *call) {
    rl_tensor *self = rl_arg_tensor(call, 0), *out = call->results[0];
    double p = rl_arg_double(call, 1);
    norm_kind kind = kind_of(p);
    rl_dtype compute = rl_accumulator((rl_dtype)out->dtype);
    rl_combiner combiner = kind == NORM_MAX ? RL_COMBINE_MAX : kind == NORM_MIN ? RL_COMBINE_MIN : RL_COMBINE_SUM;
    rl_reduction r = {.prologue = write_power,
                      .prologue_key = RL_KEY(self->dtype, compute, 0, kind),
                      .epilogue = write_root,
                      .epilogue_key = RL_KEY(0, compute, out->dtype, kind),
                      .combiner = {(uint8_t)combiner},
                      .inputs = {self},
                      .outputs = {out},
                      .scalars = {{.f = p}},
                      .epilogue_scalars = {{.f = 1.0 / p}},
                      .shape_of = self};
    rl_status status = rl_reduced_mask(call, 2, &r.mask);
    return status == RL_OK ? rl_reduce(rl_call_name(call), &r) : status;
}

/*
 * gx = g sign(x) |x|^(p-1) / y^(p-1), 0 where y is 0: g x / y for p = 2, g sign(x) for p = 1, and for the extremes
 * g sign(x) shared among the elements that are y.
 */
static void norm_vjp(rl_vjp *v) {
    double p = NUMBER(1);
    rl_tensor *x = X, *y = rl_unreduced(v, Y, 2, 3), *g = rl_unreduced(v, G, 2, 3);
    rl_tensor *is_zero = rl_eq(y, 0);
    switch (kind_of(p)) {
    case NORM_0:
        return;
    case NORM_1:
        rl_vjp_set(v, 0, rl_mul(g, rl_sign(x)));
        return;
    case NORM_2:
        rl_vjp_set(v, 0, rl_mul(x, rl_only_where_not(is_zero, rl_div(g, y))));
        return;
    case NORM_MAX:
    case NORM_MIN: {
        rl_tensor *equal = rl_eq(rl_abs(x), y);
        rl_tensor *share = rl_div(g, rl_sum(equal, .dim = rl_vjp_ints(v, 2), .keepdim = true));
        rl_vjp_set(v, 0, rl_only_where(equal, rl_mul(share, rl_sign(x))));
        return;
    }
    case NORM_ANY:
        break;
    }
    rl_tensor *scale = rl_only_where_not(is_zero, rl_div(g, rl_pow(y, p - 1.0)));
    rl_tensor *power = rl_only_where_not(rl_eq(x, 0), rl_pow(rl_abs(x), p - 1.0));
    rl_vjp_set(v, 0, rl_mul(rl_mul(rl_sign(x), power), scale));
}

static const rl_sample norm_samples[] = {{"f[3,4]"},
                                         {"f[3,4], 1"},
                                         {"p[3,4], 3, 1"},
                                         {"d[3,4], inf, 0", .dtypes = RL_SAMPLE_FLOATS},
                                         {"d[3,4], -inf, 1, true", .dtypes = RL_SAMPLE_FLOATS},
                                         {"f[3,4], 0, 1"},
                                         {"f[2,3,4], 2, [0,2]"},
                                         {"p[3,4], 0.5"},
                                         {"f[]"},
                                         {"f[0,3], 2, 0"},
                                         {"f[5,7]t, 2, 0"},
                                         {"f[33]s"},
                                         {"f[4]e"},
                                         {0}};
static const rl_bad norm_bad[] = {{"i64[3]", RL_DTYPE_MISMATCH, "self must be of a floating dtype, not int64"},
                                  {"f[0], inf", RL_INVALID_ARGUMENT, "no elements along dimension 0"},
                                  {"f[2,3], 2, 2", RL_INDEX_OUT_OF_RANGE, "dim 2 is out of range"},
                                  {0}};

const rl_op_def rl_op_def_norm = {
    .schema =
        "norm(Tensor self, Scalar p=2, int[1]? dim=None, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor",
    .doc = "y = (sum_i |x[i]|^p)^(1/p) over dim, or over all",
    .note = "p = 0 counts what is not 0, inf is the greatest |x[i]|, -inf the least.",
    .flags = RL_OP_ROWS,
    .saves = RL_SAVE_IN(0) | RL_SAVE_OUT(0),
    .infer = norm_infer,
    .lower = norm_lower,
    .vjp = norm_vjp,
    .samples = norm_samples,
    .bad = norm_bad,
};

const rl_op_def rl_op_def_linalg_vector_norm = {
    .schema = "linalg_vector_norm(Tensor self, Scalar ord=2, int[1]? dim=None, bool keepdim=False, *, ScalarType? "
              "dtype=None) -> Tensor",
    .doc = "y = (sum_i |x[i]|^ord)^(1/ord) over dim, or over all",
    .note = "ord = 0 counts what is not 0, inf is the greatest |x[i]|, -inf the least.",
    .flags = RL_OP_ROWS,
    .saves = RL_SAVE_IN(0) | RL_SAVE_OUT(0),
    .infer = norm_infer,
    .lower = norm_lower,
    .vjp = norm_vjp,
    .samples = norm_samples,
    .bad = norm_bad,
};

/* logsumexp ---------------------------------------------------------------------------------------------------------
 */

/* args: self, dim, keepdim */
static rl_status logsumexp_infer(rl_call *call) {
    rl_dtype dtype = (rl_dtype)rl_arg_tensor(call, 0)->dtype;
    return rl_infer_reduced(call, 1, 2, rl_dtype_is_float(dtype) ? dtype : RL_F32);
}

/* exp(x - max) and max, where an infinite max counts as 0 */
static void write_shifted_exp(rl_builder *b, uint32_t key) {
    rl_dtype compute = rl_key_compute(key);
    rl_pw x = rl_key_input(b, key), max = rl_build_input(b, compute);
    rl_pw shift = SELECT(EQ(ABS(max), NUM(max, INFINITY)), NUM(max, 0), max);
    rl_build_output(b, EXP(SUB(x, shift)), compute);
    rl_build_output(b, shift, compute);
}
static void write_log_sum(rl_builder *b, uint32_t key) {
    rl_pw sum = rl_build_input(b, rl_key_compute(key)), shift = rl_build_input(b, rl_key_compute(key));
    rl_build_output(b, ADD(LOG(sum), shift), rl_key_out(key));
}

static rl_status logsumexp_lower(rl_call *call) {
    rl_tensor *self = rl_arg_tensor(call, 0), *out = call->results[0];
    rl_dtype compute = rl_accumulator((rl_dtype)out->dtype);
    uint32_t mask;
    if (rl_reduced_mask(call, 1, &mask) != RL_OK)
        return rl_error_status();
    rl_tensor *max = rl_reduced_temp(call, self, mask, compute);
    if (max == NULL)
        return rl_error_status();
    rl_reduction r = {.prologue = rl_write_value,
                      .prologue_key = RL_KEY(self->dtype, compute, 0, 0),
                      .epilogue = rl_write_result,
                      .epilogue_key = RL_KEY(0, compute, compute, 0),
                      .combiner = {RL_COMBINE_MAX},
                      .inputs = {self},
                      .outputs = {max},
                      .shape_of = self,
                      .mask = mask};
    rl_status status = rl_reduce(rl_call_name(call), &r);
    r.prologue = write_shifted_exp;
    r.epilogue = write_log_sum;
    r.epilogue_key = RL_KEY(0, compute, out->dtype, 0);
    r.combiner[0] = RL_COMBINE_SUM;
    r.combiner[1] = RL_COMBINE_MAX;
    r.inputs[1] = max;
    r.outputs[0] = out;
    return status == RL_OK ? rl_reduce(rl_call_name(call), &r) : status;
}

/* gx[i] = g exp(x[i] - y); 0 where all is -infinity */
static void logsumexp_vjp(rl_vjp *v) {
    rl_tensor *y = rl_unreduced(v, Y, 1, 2);
    rl_tensor *shift = rl_only_where_not(rl_eq(y, -INFINITY), y);
    rl_vjp_set(v, 0, rl_mul(rl_unreduced(v, G, 1, 2), rl_exp(rl_sub(X, shift))));
}

static const rl_sample logsumexp_samples[] = {
    {"f[3,4], 1"}, {"f[3,4], 0, true"}, {"f[2,3,4], [0,2]"}, {"f[], 0"}, {"f[0,3], 0"}, {"f[0,3], 1"}, {"f[5,7]t, 0"},
    {"f[33]s, 0"}, {"f[4]e, 0"},        {"i32[3,4], 1"},     {0}};
static const rl_bad logsumexp_bad[] = {{"f[2,3], 2", RL_INDEX_OUT_OF_RANGE, "dim 2 is out of range"}, {0}};

const rl_op_def rl_op_def_logsumexp = {
    .schema = "logsumexp(Tensor self, int[1] dim, bool keepdim=False) -> Tensor",
    .doc = "y = log(sum_i exp(x[i])) over dim",
    .flags = RL_OP_ROWS,
    .saves = RL_SAVE_IN(0) | RL_SAVE_OUT(0),
    .infer = logsumexp_infer,
    .lower = logsumexp_lower,
    .vjp = logsumexp_vjp,
    .samples = logsumexp_samples,
    .bad = logsumexp_bad,
};
