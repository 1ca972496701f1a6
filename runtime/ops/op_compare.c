/* SPDX-License-Identifier: Apache-2.0 */
/* Comparisons. Their results are bool; NaN is equal to nothing and neither less nor greater. */
#include <math.h>
#include <string.h>

#include "ops/op_shared.h"

PROGRAM(eq, EQ(x[0], x[1]))
PROGRAM(ne, NE(x[0], x[1]))
PROGRAM(lt, LT(x[0], x[1]))
PROGRAM(le, LE(x[0], x[1]))
PROGRAM(gt, GT(x[0], x[1]))
PROGRAM(ge, GE(x[0], x[1]))

const rl_op_def rl_op_def_eq = {
    .schema = "eq(Tensor self, Tensor|Scalar other) -> Tensor",
    .doc = "y = self == other",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE | RL_OP_BOOL_RESULT | RL_OP_NO_GRAD,
    .pointwise = eq_program,
    .samples = rl_samples_pair,
    .bad = rl_bad_binary,
};

const rl_op_def rl_op_def_ne = {
    .schema = "ne(Tensor self, Tensor|Scalar other) -> Tensor",
    .doc = "y = self != other",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE | RL_OP_BOOL_RESULT | RL_OP_NO_GRAD,
    .pointwise = ne_program,
    .samples = rl_samples_pair,
    .bad = rl_bad_binary,
};

const rl_op_def rl_op_def_lt = {
    .schema = "lt(Tensor self, Tensor|Scalar other) -> Tensor",
    .doc = "y = self < other",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE | RL_OP_BOOL_RESULT | RL_OP_NO_GRAD,
    .pointwise = lt_program,
    .samples = rl_samples_pair,
    .bad = rl_bad_binary,
};

const rl_op_def rl_op_def_le = {
    .schema = "le(Tensor self, Tensor|Scalar other) -> Tensor",
    .doc = "y = self <= other",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE | RL_OP_BOOL_RESULT | RL_OP_NO_GRAD,
    .pointwise = le_program,
    .samples = rl_samples_pair,
    .bad = rl_bad_binary,
};

const rl_op_def rl_op_def_gt = {
    .schema = "gt(Tensor self, Tensor|Scalar other) -> Tensor",
    .doc = "y = self > other",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE | RL_OP_BOOL_RESULT | RL_OP_NO_GRAD,
    .pointwise = gt_program,
    .samples = rl_samples_pair,
    .bad = rl_bad_binary,
};

const rl_op_def rl_op_def_ge = {
    .schema = "ge(Tensor self, Tensor|Scalar other) -> Tensor",
    .doc = "y = self >= other",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE | RL_OP_BOOL_RESULT | RL_OP_NO_GRAD,
    .pointwise = ge_program,
    .samples = rl_samples_pair,
    .bad = rl_bad_binary,
};

/* NaN and infinities ---------------------------------------------------------------------------------------------- */

PROGRAM(isnan, IS_FLOAT(x[0]) ? NE(x[0], x[0]) : rl_pw_truth(b, false))
PROGRAM(isinf, IS_FLOAT(x[0]) ? EQ(ABS(x[0]), NUM(x[0], INFINITY)) : rl_pw_truth(b, false))
PROGRAM(isposinf, IS_FLOAT(x[0]) ? EQ(x[0], NUM(x[0], INFINITY)) : rl_pw_truth(b, false))
PROGRAM(isneginf, IS_FLOAT(x[0]) ? EQ(x[0], NUM(x[0], -INFINITY)) : rl_pw_truth(b, false))
PROGRAM(isfinite, IS_FLOAT(x[0]) ? LT(ABS(x[0]), NUM(x[0], INFINITY)) : rl_pw_truth(b, true))

static rl_pw bits_of(rl_builder *b, rl_pw p) {
    return rl_build1(b, RL_INSN_BITCAST, p);
}
/* The sign bit, also of zeros and NaN. */
static rl_pw sign_bit(rl_builder *b, rl_pw p) {
    rl_pw bits = IS_FLOAT(p) ? bits_of(b, p) : p;
    return LT(bits, NUM(bits, 0));
}
PROGRAM(signbit, sign_bit(b, x[0]))

const rl_op_def rl_op_def_isnan = {
    .schema = "isnan(Tensor self) -> Tensor",
    .doc = "y = whether self is NaN",
    .flags = RL_OP_POINTWISE | RL_OP_BOOL_RESULT | RL_OP_NO_GRAD,
    .pointwise = isnan_program,
    .samples = rl_samples_number,
    .bad = rl_bad_unary,
};

const rl_op_def rl_op_def_isinf = {
    .schema = "isinf(Tensor self) -> Tensor",
    .doc = "y = |self| == infinity",
    .flags = RL_OP_POINTWISE | RL_OP_BOOL_RESULT | RL_OP_NO_GRAD,
    .pointwise = isinf_program,
    .samples = rl_samples_number,
    .bad = rl_bad_unary,
};

const rl_op_def rl_op_def_isposinf = {
    .schema = "isposinf(Tensor self) -> Tensor",
    .doc = "y = self == infinity",
    .flags = RL_OP_POINTWISE | RL_OP_BOOL_RESULT | RL_OP_NO_GRAD,
    .pointwise = isposinf_program,
    .samples = rl_samples_number,
    .bad = rl_bad_unary,
};

const rl_op_def rl_op_def_isneginf = {
    .schema = "isneginf(Tensor self) -> Tensor",
    .doc = "y = self == -infinity",
    .flags = RL_OP_POINTWISE | RL_OP_BOOL_RESULT | RL_OP_NO_GRAD,
    .pointwise = isneginf_program,
    .samples = rl_samples_number,
    .bad = rl_bad_unary,
};

const rl_op_def rl_op_def_isfinite = {
    .schema = "isfinite(Tensor self) -> Tensor",
    .doc = "y = |self| < infinity",
    .flags = RL_OP_POINTWISE | RL_OP_BOOL_RESULT | RL_OP_NO_GRAD,
    .pointwise = isfinite_program,
    .samples = rl_samples_number,
    .bad = rl_bad_unary,
};

const rl_op_def rl_op_def_signbit = {
    .schema = "signbit(Tensor self) -> Tensor",
    .doc = "y = whether the sign of self is negative, -0 included",
    .flags = RL_OP_POINTWISE | RL_OP_BOOL_RESULT | RL_OP_NO_GRAD,
    .pointwise = signbit_program,
    .samples = rl_samples_number,
    .bad = rl_bad_unary,
};

/* |x| with the sign of y. */
PROGRAM(copysign, SELECT(sign_bit(b, x[1]), NEG(ABS(x[0])), ABS(x[0])))

/* gx = g y / x, with 0 where x = 0; gy = 0 */
static void copysign_vjp(rl_vjp *v) {
    if (rl_vjp_needs(v, 0))
        rl_vjp_set(v, 0, rl_mul(G, rl_mul(rl_sign(X), rl_sign(Y))));
}

const rl_op_def rl_op_def_copysign = {
    .schema = "copysign(Tensor self, Tensor|Scalar other) -> Tensor",
    .doc = "y = |self| with the sign of other",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE | RL_OP_FLOAT_RESULT,
    .saves = RL_SAVE_IN(0) | RL_SAVE_OUT(0),
    .pointwise = copysign_program,
    .vjp = copysign_vjp,
    .samples = rl_samples_pair,
    .bad = rl_bad_binary,
};

/* Closeness -------------------------------------------------------------------------------------------------------- */

/* Integers are compared as floats, since the tolerance is one. */
static rl_status isclose_infer(rl_call *call) {
    const rl_tensor *self = rl_arg_tensor(call, 0), *other = rl_arg_tensor(call, 1);
    if (self->dtype != other->dtype)
        return rl_call_fail(call, RL_DTYPE_MISMATCH, "self is %s and other %s: both must be of one dtype",
                            rl_dtype_name((rl_dtype)self->dtype), rl_dtype_name((rl_dtype)other->dtype));
    if (rl_arg_double(call, 2) < 0 || rl_arg_double(call, 3) < 0)
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "rtol and atol must not be negative, got %g and %g",
                            rl_arg_double(call, 2), rl_arg_double(call, 3));
    return rl_infer_broadcast_as(call, RL_OP_BOOL_RESULT | RL_OP_FLOAT_RESULT);
}

static void isclose_program(rl_builder *b, const rl_call *call, const rl_pw *x, rl_pw *out) {
    (void)call;
    rl_pw distance = ABS(SUB(x[0], x[1])), allowed = ADD(x[3], MUL(x[2], ABS(x[1])));
    rl_pw near = AND(LE(distance, allowed), LT(distance, NUM(distance, INFINITY)));
    rl_pw both_nan = AND(AND(NE(x[0], x[0]), NE(x[1], x[1])), NE(x[4], NUM(x[4], 0)));
    out[0] = OR(OR(EQ(x[0], x[1]), near), both_nan);
}

static const rl_sample isclose_samples[] = {{"n[3,4], n[3,4]"},
                                            {"f[3,1], f[4], rtol=0.5"},
                                            {"f[0,3], f[3]"},
                                            {"f[5,7]t, f[5,7], atol=1.0"},
                                            {"f[33]s, f[33]"},
                                            {"n[4], n[4]e, equal_nan=true"},
                                            {0}};
static const rl_bad isclose_bad[] = {{"f[2,3], f[4]", RL_SHAPE_MISMATCH, "do not broadcast"},
                                     {"f[2], i64[2]", RL_DTYPE_MISMATCH, "one dtype"},
                                     {"f[2], f[2], rtol=-1.0", RL_INVALID_ARGUMENT, "must not be negative"},
                                     {0}};

const rl_op_def rl_op_def_isclose = {
    .schema = "isclose(Tensor self, Tensor other, float rtol=1e-05, float atol=1e-08, bool equal_nan=False) -> Tensor",
    .doc = "y = |self - other| <= atol + rtol |other|",
    .flags = RL_OP_POINTWISE | RL_OP_BOOL_RESULT | RL_OP_NO_GRAD,
    .infer = isclose_infer,
    .pointwise = isclose_program,
    .samples = isclose_samples,
    .bad = isclose_bad,
};

static bool same_shape(const rl_tensor *a, const rl_tensor *b) {
    return a->ndim == b->ndim && memcmp(a->shape, b->shape, (size_t)a->ndim * sizeof *a->shape) == 0;
}

/* No element of `exceptions` is true, or (NULL) the shapes differ. */
static rl_status verdict(rl_call *call, rl_tensor *exceptions) {
    call->results[0] = exceptions
                           ? rl_eq(rl_sum(exceptions), 0)
                           : rl_zeros(RL_NO_DIMS, .dtype = RL_BOOL, .device = rl_arg_tensor(call, 0)->storage->device);
    return rl_error_status();
}

static rl_status equal_lower(rl_call *call) {
    rl_tensor *self = rl_arg_tensor(call, 0), *other = rl_arg_tensor(call, 1);
    return verdict(call, same_shape(self, other) ? rl_ne(self, other) : NULL);
}
static rl_status allclose_lower(rl_call *call) {
    const rl_value *args = call->args;
    rl_isclose_options options = {sizeof options, args[2].as.f != 0.0 ? args[2].as.f : (double)RL_ZERO,
                                  args[3].as.f != 0.0 ? args[3].as.f : (double)RL_ZERO, args[4].as.b};
    rl_tensor *close = rl_op_isclose(args[0].as.tensor, args[1].as.tensor, &options);
    return close ? verdict(call, rl_logical_not(close)) : rl_error_status();
}

static const rl_sample equal_samples[] = {{"n[3,4], n[3,4]"}, {"n[3,1], n[4]"}, {"n[0,3], n[0,3]"}, {"n[], n[]"}, {0}};
static const rl_bad equal_bad[] = {{"f[2], None", RL_INVALID_ARGUMENT, "other"}, {0}};

const rl_op_def rl_op_def_equal = {
    .schema = "equal(Tensor self, Tensor other) -> Tensor",
    .doc = "y = whether shapes and all elements are equal: one bool",
    .flags = RL_OP_COMPOSITE,
    .lower = equal_lower,
    .samples = equal_samples,
    .bad = equal_bad,
};

const rl_op_def rl_op_def_allclose = {
    .schema = "allclose(Tensor self, Tensor other, float rtol=1e-05, float atol=1e-08, bool equal_nan=False) -> Tensor",
    .doc = "y = whether all elements are close, as isclose says: one bool",
    .flags = RL_OP_COMPOSITE,
    .lower = allclose_lower,
    .samples = isclose_samples,
    .bad = isclose_bad,
};
