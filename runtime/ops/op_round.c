/* SPDX-License-Identifier: Apache-2.0 */
/* Rounding, bounds, the greater and the lesser. */
#include <float.h>
#include <math.h>

#include "ops/op_shared.h"

/* Rounding: integers stay as they are --------------------------------------------------------------------------------
 */

PROGRAM(floor, IS_FLOAT(x[0]) ? OP1(FLOOR, x[0]) : x[0])
PROGRAM(ceil, IS_FLOAT(x[0]) ? OP1(CEIL, x[0]) : x[0])
PROGRAM(trunc, IS_FLOAT(x[0]) ? OP1(TRUNC, x[0]) : x[0])
PROGRAM(frac, SUB(x[0], OP1(TRUNC, x[0])))
VJP(frac, G) /* gx = g */

const rl_op_def rl_op_def_floor = {
    .schema = "floor(Tensor self) -> Tensor",
    .doc = "y = self rounded toward minus infinity",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE,
    .infer = rl_infer_no_bool,
    .pointwise = floor_program,
    .vjp = rl_vjp_zero,
    .samples = rl_samples_number,
    .bad = rl_bad_no_bool,
    .sample_dtypes = RL_SAMPLE_NO_BOOL,
};

const rl_op_def rl_op_def_ceil = {
    .schema = "ceil(Tensor self) -> Tensor",
    .doc = "y = self rounded toward plus infinity",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE,
    .infer = rl_infer_no_bool,
    .pointwise = ceil_program,
    .vjp = rl_vjp_zero,
    .samples = rl_samples_number,
    .bad = rl_bad_no_bool,
    .sample_dtypes = RL_SAMPLE_NO_BOOL,
};

const rl_op_def rl_op_def_trunc = {
    .schema = "trunc(Tensor self) -> Tensor",
    .doc = "y = self rounded toward zero",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE,
    .infer = rl_infer_no_bool,
    .pointwise = trunc_program,
    .vjp = rl_vjp_zero,
    .samples = rl_samples_number,
    .bad = rl_bad_no_bool,
    .sample_dtypes = RL_SAMPLE_NO_BOOL,
};

static const rl_bad frac_bad[] = {{"i64[2]", RL_DTYPE_MISMATCH, "floating"}, {0}};

const rl_op_def rl_op_def_frac = {
    .schema = "frac(Tensor self) -> Tensor",
    .doc = "y = self - trunc(self)",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE,
    .infer = rl_infer_floats_only,
    .pointwise = frac_program,
    .vjp = frac_vjp,
    .samples = rl_samples_floats,
    .bad = frac_bad,
};

enum { ROUND_WHOLE, ROUND_FINER, ROUND_COARSER };
static uint32_t round_variant(const rl_call *call) {
    int64_t decimals = rl_arg_int(call, 1);
    return decimals == 0 ? ROUND_WHOLE : decimals > 0 ? ROUND_FINER : ROUND_COARSER;
}
static rl_pw rounded(rl_builder *b, uint32_t variant, rl_pw p, rl_pw decimals) {
    if (!IS_FLOAT(p))
        return p;
    if (variant == ROUND_WHOLE)
        return OP1(ROUND, p);
    rl_dtype dtype = rl_dtype_reg(rl_pw_dtype(b, p)) == RL_REG_F64 ? RL_F64 : RL_F32;
    rl_pw power = OP2(POW, rl_build_constant(b, dtype, 10), ABS(CAST(decimals, dtype)));
    return variant == ROUND_FINER ? DIV(OP1(ROUND, MUL(p, power)), power) : MUL(OP1(ROUND, DIV(p, power)), power);
}
PROGRAM(round, rounded(b, round_variant(call), x[0], x[1]))

static const rl_sample round_samples[] = {
    {"n[3,4]"}, {"n[]"}, {"n[0,3]"}, {"f[5,7]t, decimals=1"}, {"f[33]s, decimals=-1"}, {"n[4]e"}, {0}};

const rl_op_def rl_op_def_round = {
    .schema = "round(Tensor self, *, int decimals=0) -> Tensor",
    .doc = "y = self rounded to so many decimals, ties to even",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE,
    .infer = rl_infer_no_bool,
    .pointwise = round_program,
    .variant = round_variant,
    .vjp = rl_vjp_zero,
    .samples = round_samples,
    .bad = rl_bad_no_bool,
    .sample_dtypes = RL_SAMPLE_NO_BOOL,
};

/* clamp -------------------------------------------------------------------------------------------------------------
 */

/* Integers may be given bounds beyond their range: one that holds for all is as good as the end of the range, one that
 * none can keep is an error. */
static rl_status hold_bound(rl_call *call, int arg, bool is_min) {
    rl_value *v = &call->args[arg];
    int64_t low, high;
    if (v->kind != RL_VALUE_INT || rl_dtype_is_float(call->compute))
        return RL_OK;
    rl_dtype_range(call->compute, &low, &high);
    if (is_min ? v->as.i > high : v->as.i < low)
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "%s is %lld, beyond all that %s can hold",
                            rl_schema_table[call->opcode].params[arg].name, (long long)v->as.i,
                            rl_dtype_name(call->compute));
    v->as.i = v->as.i < low ? low : v->as.i > high ? high : v->as.i;
    return RL_OK;
}
/* Broadcasts; args[1] is min, args[2] max. */
rl_status rl_infer_bounds(rl_call *call) {
    rl_status status = rl_infer_broadcast(call);
    if (status == RL_OK)
        status = hold_bound(call, 1, true);
    return status == RL_OK ? hold_bound(call, 2, false) : status;
}
static rl_status clamp_min_infer(rl_call *call) {
    rl_status status = rl_infer_broadcast(call);
    return status == RL_OK ? hold_bound(call, 1, true) : status;
}
static rl_status clamp_max_infer(rl_call *call) {
    rl_status status = rl_infer_broadcast(call);
    return status == RL_OK ? hold_bound(call, 1, false) : status;
}

static rl_status clamp_infer(rl_call *call) {
    if (!rl_arg_given(call, 1) && !rl_arg_given(call, 2))
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "min and max are both None: at least one must be given");
    return rl_infer_bounds(call);
}
/* Of equal ones MAX and MIN give the second: a zero within the bounds keeps its sign. */
static rl_pw clamped(rl_builder *b, const rl_call *call, const rl_pw *x) {
    rl_pw y = rl_arg_given(call, 1) ? MAX(x[1], x[0]) : x[0];
    return rl_arg_given(call, 2) ? MIN(x[2], y) : y;
}
PROGRAM(clamp, clamped(b, call, x))
PROGRAM(clamp_min, MAX(x[1], x[0]))
PROGRAM(clamp_max, MIN(x[1], x[0]))

/* g for the one that is taken; where both are equal, each has half. Of NaN, both have all, as in PyTorch. */
static rl_tensor *winner_gradient(rl_tensor *g, rl_tensor *loses, rl_tensor *ties) {
    return rl_only_where_not(loses, rl_where(ties, rl_mul(g, 0.5), g));
}
/* All of g, half of it, or none. */
static rl_tensor *share(rl_tensor *g, rl_tensor *all, rl_tensor *half) {
    return rl_where(all, g, rl_only_where(half, rl_mul(g, 0.5)));
}

static rl_tensor *bound_of(rl_vjp *v, int arg) {
    return ARG(arg).kind == RL_VALUE_TENSOR ? ARG(arg).as.tensor : rl_full_like(X, NUMBER(arg));
}
/* l, h the bounds: gx = g where l < x < h or x = l = h, half of it where x is at one of them; gl = g where x < l <= h,
 * half where x = l < h; gh = g where x > h or l > h, half where x = h > l */
static void clamp_between_tensors(rl_vjp *v, rl_tensor *x) {
    rl_tensor *l = bound_of(v, 1), *h = bound_of(v, 2);
    rl_tensor *at_l = rl_eq(x, l), *at_h = rl_eq(x, h), *ordered = rl_lt(l, h);
    rl_tensor *above = rl_gt(x, l), *below = rl_lt(x, h);
    if (rl_vjp_needs(v, 0)) {
        rl_tensor *all = rl_logical_or(rl_logical_and(above, below), rl_logical_and(at_l, at_h));
        rl_tensor *half = rl_logical_or(rl_logical_and(at_l, below), rl_logical_and(at_h, above));
        rl_vjp_set(v, 0, share(G, all, half));
    }
    if (rl_vjp_needs(v, 1))
        rl_vjp_set(v, 1, share(G, rl_logical_and(rl_lt(x, l), rl_le(l, h)), rl_logical_and(at_l, ordered)));
    if (rl_vjp_needs(v, 2))
        rl_vjp_set(v, 2, share(G, rl_logical_or(rl_gt(x, h), rl_gt(l, h)), rl_logical_and(at_h, ordered)));
}

/* max(x, l): gx = g where x > l; a bound that is a tensor shares where they are equal. And the mirror image. */
static void clamp_below(rl_vjp *v, int arg) {
    rl_value bound = ARG(arg);
    if (bound.kind != RL_VALUE_TENSOR) {
        rl_vjp_set(v, 0, rl_only_where(rl_gt(X, bound), G));
        return;
    }
    rl_tensor *ties = rl_eq(X, bound);
    if (rl_vjp_needs(v, 0))
        rl_vjp_set(v, 0, winner_gradient(G, rl_lt(X, bound), ties));
    if (rl_vjp_needs(v, arg))
        rl_vjp_set(v, arg, winner_gradient(G, rl_gt(X, bound), ties));
}
static void clamp_above(rl_vjp *v, int arg) {
    rl_value bound = ARG(arg);
    if (bound.kind != RL_VALUE_TENSOR) {
        rl_vjp_set(v, 0, rl_only_where(rl_lt(X, bound), G));
        return;
    }
    rl_tensor *ties = rl_eq(X, bound);
    if (rl_vjp_needs(v, 0))
        rl_vjp_set(v, 0, winner_gradient(G, rl_gt(X, bound), ties));
    if (rl_vjp_needs(v, arg))
        rl_vjp_set(v, arg, winner_gradient(G, rl_lt(X, bound), ties));
}

static void clamp_vjp(rl_vjp *v) {
    rl_value low = ARG(1), high = ARG(2);
    if (high.kind == RL_VALUE_NONE)
        clamp_below(v, 1);
    else if (low.kind == RL_VALUE_NONE)
        clamp_above(v, 2);
    else if (low.kind == RL_VALUE_TENSOR || high.kind == RL_VALUE_TENSOR)
        clamp_between_tensors(v, X);
    else
        rl_vjp_set(v, 0, rl_only_where(rl_logical_and(rl_gt(X, low), rl_lt(X, high)), G));
}
static void clamp_min_vjp(rl_vjp *v) {
    clamp_below(v, 1);
}
static void clamp_max_vjp(rl_vjp *v) {
    clamp_above(v, 1);
}

static const rl_sample clamp_samples[] = {{"n[3,4], -1, 1"},      {"n[], 0"},
                                          {"n[0,3], 0, 1"},       {"f[5,7]t, -0.5, 0.5"},
                                          {"f[33]s, None, 0.25"}, {"f[3,4], f[4], p[3,1]"},
                                          {"f[4]e, f[4]"},        {0}};
static const rl_bad clamp_bad[] = {{"f[2]", RL_INVALID_ARGUMENT, "both None"},
                                   {"f[2,3], f[4]", RL_SHAPE_MISMATCH, "do not broadcast"},
                                   {"u8[2], 300", RL_INVALID_ARGUMENT, "min is 300, beyond all that uint8 can hold"},
                                   {"u8[2], None, -1", RL_INVALID_ARGUMENT, "max is -1, beyond all that uint8 can"},
                                   {0}};

const rl_op_def rl_op_def_clamp = {
    .schema = "clamp(Tensor self, Tensor|Scalar? min=None, Tensor|Scalar? max=None) -> Tensor",
    .doc = "y = min(max(self, min), max)",
    .note = "NaN stays NaN. Where min is greater than max, the result is max.",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE,
    .saves = RL_SAVE_IN(0) | RL_SAVE_IN(1) | RL_SAVE_IN(2),
    .infer = clamp_infer,
    .pointwise = clamp_program,
    .vjp = clamp_vjp,
    .samples = clamp_samples,
    .bad = clamp_bad,
};

const rl_op_def rl_op_def_clamp_min = {
    .schema = "clamp_min(Tensor self, Tensor|Scalar min) -> Tensor",
    .doc = "y = max(self, min)",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE,
    .saves = RL_SAVE_IN(0) | RL_SAVE_IN(1),
    .infer = clamp_min_infer,
    .pointwise = clamp_min_program,
    .vjp = clamp_min_vjp,
    .samples = rl_samples_pair,
    .bad = rl_bad_unary,
};

const rl_op_def rl_op_def_clamp_max = {
    .schema = "clamp_max(Tensor self, Tensor|Scalar max) -> Tensor",
    .doc = "y = min(self, max)",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE,
    .saves = RL_SAVE_IN(0) | RL_SAVE_IN(1),
    .infer = clamp_max_infer,
    .pointwise = clamp_max_program,
    .vjp = clamp_max_vjp,
    .samples = rl_samples_pair,
    .bad = rl_bad_unary,
};

/* maximum, minimum, fmax, fmin ------------------------------------------------------------------------------------- */

PROGRAM(maximum, MAX(x[0], x[1]))
PROGRAM(minimum, MIN(x[0], x[1]))
PROGRAM(fmax, SELECT(NE(x[0], x[0]), x[1], SELECT(NE(x[1], x[1]), x[0], MAX(x[0], x[1]))))
PROGRAM(fmin, SELECT(NE(x[0], x[0]), x[1], SELECT(NE(x[1], x[1]), x[0], MIN(x[0], x[1]))))

#define OTHER rl_vjp_input(v, 1)
VJP2(maximum, winner_gradient(G, rl_lt(X, OTHER), rl_eq(X, OTHER)),
     winner_gradient(G, rl_gt(X, OTHER), rl_eq(X, OTHER)))
VJP2(minimum, winner_gradient(G, rl_gt(X, OTHER), rl_eq(X, OTHER)),
     winner_gradient(G, rl_lt(X, OTHER), rl_eq(X, OTHER)))

/* As above, but NaN always loses. */
static rl_tensor *loses_to(rl_tensor *is_worse, rl_tensor *mine, rl_tensor *others) {
    return rl_logical_or(is_worse, rl_logical_and(rl_isnan(mine), rl_logical_not(rl_isnan(others))));
}
VJP2(fmax, winner_gradient(G, loses_to(rl_lt(X, OTHER), X, OTHER), rl_eq(X, OTHER)),
     winner_gradient(G, loses_to(rl_lt(OTHER, X), OTHER, X), rl_eq(X, OTHER)))
VJP2(fmin, winner_gradient(G, loses_to(rl_gt(X, OTHER), X, OTHER), rl_eq(X, OTHER)),
     winner_gradient(G, loses_to(rl_gt(OTHER, X), OTHER, X), rl_eq(X, OTHER)))

const rl_op_def rl_op_def_maximum = {
    .schema = "maximum(Tensor self, Tensor other) -> Tensor",
    .doc = "y = the greater; NaN if either is",
    .flags = RL_OP_POINTWISE,
    .saves = RL_SAVE_IN(0) | RL_SAVE_IN(1),
    .pointwise = maximum_program,
    .vjp = maximum_vjp,
    .samples = rl_samples_pair_tensors,
    .bad = rl_bad_binary,
};

const rl_op_def rl_op_def_minimum = {
    .schema = "minimum(Tensor self, Tensor other) -> Tensor",
    .doc = "y = the lesser; NaN if either is",
    .flags = RL_OP_POINTWISE,
    .saves = RL_SAVE_IN(0) | RL_SAVE_IN(1),
    .pointwise = minimum_program,
    .vjp = minimum_vjp,
    .samples = rl_samples_pair_tensors,
    .bad = rl_bad_binary,
};

const rl_op_def rl_op_def_fmax = {
    .schema = "fmax(Tensor self, Tensor other) -> Tensor",
    .doc = "y = the greater; where one is NaN, the other",
    .flags = RL_OP_POINTWISE,
    .saves = RL_SAVE_IN(0) | RL_SAVE_IN(1),
    .pointwise = fmax_program,
    .vjp = fmax_vjp,
    .samples = rl_samples_pair_tensors,
    .bad = rl_bad_binary,
};

const rl_op_def rl_op_def_fmin = {
    .schema = "fmin(Tensor self, Tensor other) -> Tensor",
    .doc = "y = the lesser; where one is NaN, the other",
    .flags = RL_OP_POINTWISE,
    .saves = RL_SAVE_IN(0) | RL_SAVE_IN(1),
    .pointwise = fmin_program,
    .vjp = fmin_vjp,
    .samples = rl_samples_pair_tensors,
    .bad = rl_bad_binary,
};

/* nan_to_num ---------------------------------------------------------------------------------------------------------
 */

static uint32_t nan_to_num_variant(const rl_call *call) {
    return (uint32_t)(rl_arg_given(call, 2) | rl_arg_given(call, 3) << 1);
}
/* The greatest finite number of a dtype. */
static double greatest(rl_dtype dtype) {
    return dtype == RL_F64 ? DBL_MAX : dtype == RL_F16 ? 65504.0 : dtype == RL_BF16 ? 0x1.fep127 : FLT_MAX;
}
static void nan_to_num_program(rl_builder *b, const rl_call *call, const rl_pw *x, rl_pw *out) {
    out[0] = x[0];
    if (!IS_FLOAT(x[0]))
        return;
    double most = greatest(call->meta[0].dtype);
    rl_pw high = rl_arg_given(call, 2) ? x[2] : NUM(x[0], most), low = rl_arg_given(call, 3) ? x[3] : NUM(x[0], -most);
    rl_pw nan = rl_arg_given(call, 1) ? x[1] : NUM(x[0], 0);
    rl_pw y = SELECT(EQ(x[0], NUM(x[0], INFINITY)), high, x[0]);
    y = SELECT(EQ(x[0], NUM(x[0], -INFINITY)), low, y);
    out[0] = SELECT(NE(x[0], x[0]), nan, y);
}
VJP(nan_to_num, rl_only_where(rl_isfinite(X), G)) /* gx = g where x is finite */

static const rl_sample nan_to_num_samples[] = {
    {"n[3,4]"}, {"n[]"}, {"n[0,3]"}, {"f[5,7]t, 0.5"}, {"f[33]s, None, 1.0, -1.0"}, {0}};

const rl_op_def rl_op_def_nan_to_num = {
    .schema = "nan_to_num(Tensor self, float? nan=None, float? posinf=None, float? neginf=None) -> Tensor",
    .doc = "y = self with NaN as nan (0), infinities as posinf and neginf (the greatest and least finite numbers)",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE,
    .saves = RL_SAVE_IN(0),
    .pointwise = nan_to_num_program,
    .variant = nan_to_num_variant,
    .vjp = nan_to_num_vjp,
    .samples = nan_to_num_samples,
    .bad = rl_bad_unary,
};
