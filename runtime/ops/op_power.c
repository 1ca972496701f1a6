/* SPDX-License-Identifier: Apache-2.0 */
/* Powers and roots. */
#include "ops/op_shared.h"

/* pow -------------------------------------------------------------------------------------------------------------- */

/* Exponents that have programs of their own: numbers that scripts write. */
enum { POWER_ANY, POWER_2, POWER_3, POWER_HALF, POWER_MINUS_1, POWER_MINUS_2 };

static uint32_t power_variant(const rl_call *call) {
    if (call->args[1].kind == RL_VALUE_TENSOR)
        return POWER_ANY;
    double exponent = rl_arg_double(call, 1);
    bool is_float = rl_dtype_is_float(call->compute);
    return exponent == 2.0    ? POWER_2
           : exponent == 3.0  ? POWER_3
           : !is_float        ? POWER_ANY
           : exponent == 0.5  ? POWER_HALF
           : exponent == -1.0 ? POWER_MINUS_1
           : exponent == -2.0 ? POWER_MINUS_2
                              : POWER_ANY;
}

/* By squaring. Exponents above 65 count as 64 or 65, which is the same for 0, 1, -1 and even numbers; the wrapped
 * powers of other odd numbers are meaningless. Negative exponents give 1 / p^|e|, toward zero. */
static rl_pw integer_power(rl_builder *b, rl_pw p, rl_pw exponent) {
    rl_pw zero = NUM(p, 0), one = NUM(p, 1), limit = NUM(p, 64);
    rl_pw left = ABS(exponent), square = p, result = one;
    left = SELECT(LT(left, limit), left, ADD(limit, AND(left, one)));
    for (int bit = 0; bit < 7; bit++) {
        rl_pw has_bit = NE(AND(left, NUM(left, 1 << bit)), zero);
        result = SELECT(has_bit, MUL(result, square), result);
        square = MUL(square, square);
    }
    rl_pw inverse = SELECT(EQ(ABS(p), one), result, zero);
    return SELECT(LT(exponent, zero), inverse, result);
}

/* The square root is that of C's pow: of -infinity it is infinity, of -0 it is 0. */
static rl_pw power(rl_builder *b, uint32_t variant, rl_pw p, rl_pw exponent) {
    switch (variant) {
    case POWER_2:
        return MUL(p, p);
    case POWER_3:
        return MUL(MUL(p, p), p);
    case POWER_HALF:
        return OP1(SQRT, p);
    case POWER_MINUS_1:
        return OP1(RECIP, p);
    case POWER_MINUS_2:
        return OP1(RECIP, MUL(p, p));
    default:
        return IS_FLOAT(p) ? OP2(POW, p, exponent) : integer_power(b, p, exponent);
    }
}
PROGRAM(pow, power(b, power_variant(call), x[0], x[1]))
PROGRAM(rpow, power(b, POWER_ANY, x[1], x[0]))

static rl_status pow_infer(rl_call *call) {
    rl_status status = rl_infer_broadcast(call);
    if (status == RL_OK && call->compute == RL_BOOL && call->args[1].kind == RL_VALUE_TENSOR)
        return rl_call_fail(call, RL_DTYPE_MISMATCH, "self and exponent must not be bool");
    if (status == RL_OK && call->args[1].kind == RL_VALUE_INT && call->args[1].as.i < 0 &&
        !rl_dtype_is_float(call->compute))
        return rl_call_fail(call, RL_INVALID_ARGUMENT,
                            "exponent is %lld: integers to negative integer powers are not allowed",
                            (long long)call->args[1].as.i);
    return status == RL_OK ? rl_check_fits(call, 1, call->compute) : status;
}

/* y = p^e: gp = g e p^(e-1), 0 where e = 0; ge = g y log p, 0 where p = 0 and e >= 0 */
static rl_tensor *pow_gradient_base(rl_tensor *g, rl_tensor *p, rl_value e) {
    if (e.kind != RL_VALUE_TENSOR) {
        double exponent = rl_value_double(&e);
        if (exponent == 0.0)
            return NULL;
        if (exponent == 1.0)
            return g;
        return rl_mul(g, rl_mul(rl_pow(p, exponent - 1.0), e));
    }
    rl_tensor *slope = rl_mul(rl_pow(p, rl_sub(e.as.tensor, 1)), e);
    return rl_mul(g, rl_where(rl_eq(e.as.tensor, 0), 0, slope));
}
static rl_tensor *pow_gradient_exponent(rl_tensor *g, rl_tensor *y, rl_tensor *log_p, rl_tensor *is_flat) {
    return rl_mul(g, rl_where(is_flat, 0, rl_mul(y, log_p)));
}
static void pow_vjp(rl_vjp *v) {
    rl_value e = ARG(1);
    if (rl_vjp_needs(v, 0))
        rl_vjp_set(v, 0, pow_gradient_base(G, X, e));
    if (rl_vjp_needs(v, 1)) {
        rl_tensor *is_flat = rl_logical_and(rl_eq(X, 0), rl_ge(e.as.tensor, 0));
        rl_vjp_set(v, 1, pow_gradient_exponent(G, Y, rl_log(X), is_flat));
    }
}
/* y = p^x: gx = g y log p */
static void rpow_vjp(rl_vjp *v) {
    rl_tensor *p = rl_full_like(Y, NUMBER(1));
    rl_tensor *is_flat = rl_logical_and(rl_eq(p, 0), rl_ge(X, 0));
    rl_vjp_set(v, 0, pow_gradient_exponent(G, Y, rl_log(p), is_flat));
}

static const rl_sample pow_samples[] = {{"p[3,4], f[3,4]"},
                                        {"p[3,1], f[4]"},
                                        {"p[2,3,1], f[]"},
                                        {"p[0,3], f[3]"},
                                        {"p[5,7]t, f[5,7]"},
                                        {"p[33]s, f[33]"},
                                        {"f[7], 2"},
                                        {"f[7], 3"},
                                        {"p[7], 0.5"},
                                        {"p[7], -1"},
                                        {"p[7], -2"},
                                        {"p[7], 1.5"},
                                        {"f[7], 0"},
                                        {"f[7], 1"},
                                        {"i64[7], 2"},
                                        {"i32[7], 5"},
                                        {"u8[7], 3"},
                                        {"i64[7], i64[7]"},
                                        {0}};
static const rl_bad pow_bad[] = {{"f[2,3], f[4]", RL_SHAPE_MISMATCH, "do not broadcast: 3 and 4"},
                                 {"i64[2], -1", RL_INVALID_ARGUMENT, "negative integer powers"},
                                 {"b[2], b[2]", RL_DTYPE_MISMATCH, "self and exponent must not be bool"},
                                 {"u8[2], 300", RL_INVALID_ARGUMENT, "exponent is 300, which uint8 cannot hold"},
                                 {0}};
static const rl_sample rpow_samples[] = {{"f[3,4], 2"},  {"f[], 0.5"},    {"f[0,3], 2"},
                                         {"f[5,7]t, 3"}, {"f[33]s, 1.5"}, {0}};

const rl_op_def rl_op_def_pow = {
    .schema = "pow(Tensor self, Tensor|Scalar exponent) -> Tensor",
    .doc = "y = self^exponent",
    .note = "Integers wrap; an integer tensor of negative exponents gives 1 / self^|exponent| rounded toward zero.",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE,
    .saves = RL_SAVE_IN(0) | RL_SAVE_IN(1) | RL_SAVE_OUT(0),
    .infer = pow_infer,
    .pointwise = pow_program,
    .variant = power_variant,
    .vjp = pow_vjp,
    .samples = pow_samples,
    .bad = pow_bad,
};

const rl_op_def rl_op_def_rpow = {
    .schema = "rpow(Tensor self, Scalar base) -> Tensor",
    .doc = "y = base^self",
    .flags = RL_OP_POINTWISE,
    .saves = RL_SAVE_IN(0) | RL_SAVE_OUT(0),
    .infer = rl_infer_with_numbers,
    .pointwise = rpow_program,
    .vjp = rpow_vjp,
    .samples = rpow_samples,
    .bad = rl_bad_unary,
};

/* float_power, ldexp ------------------------------------------------------------------------------------------------
 */

/* Both in f64, as PyTorch has it. */
static rl_status float_power_lower(rl_call *call) {
    rl_tensor *self = rl_to(rl_arg_tensor(call, 0), .dtype = RL_F64);
    rl_value exponent = call->args[1];
    if (exponent.kind == RL_VALUE_TENSOR)
        exponent = rl_value_of_tensor(rl_to(exponent.as.tensor, .dtype = RL_F64));
    call->results[0] = rl_pow(self, exponent);
    return rl_error_status();
}

static rl_status ldexp_lower(rl_call *call) {
    rl_tensor *exponent = rl_arg_tensor(call, 1);
    call->results[0] = rl_mul(rl_arg_tensor(call, 0), rl_rpow(exponent, 2.0));
    return rl_error_status();
}

static const rl_sample float_power_samples[] = {{"p[3,4], f[3,4]"}, {"p[3,1], f[4]"}, {"p[0,3], 2"},
                                                {"p[5,7]t, 0.5"},   {"i64[33], 3"},   {0}};
static const rl_bad float_power_bad[] = {{"f[2,3], f[4]", RL_SHAPE_MISMATCH, "do not broadcast: 3 and 4"}, {0}};
static const rl_sample ldexp_samples[] = {{"f[3,4], i32[3,4]"}, {"f[3,1], i64[4]"}, {"f[0,3], i64[3]"},
                                          {"f[5,7]t, f[5,7]"},  {"f[33]s, i32[]"},  {0}};

const rl_op_def rl_op_def_float_power = {
    .schema = "float_power(Tensor self, Tensor|Scalar exponent) -> Tensor",
    .doc = "y = self^exponent in float64",
    .flags = RL_OP_COMPOSITE,
    .lower = float_power_lower,
    .samples = float_power_samples,
    .bad = float_power_bad,
};

const rl_op_def rl_op_def_ldexp = {
    .schema = "ldexp(Tensor self, Tensor other) -> Tensor",
    .doc = "y = self 2^other",
    .flags = RL_OP_COMPOSITE,
    .lower = ldexp_lower,
    .samples = ldexp_samples,
    .bad = float_power_bad,
};

/* square, roots ---------------------------------------------------------------------------------------------------- */

static rl_status square_infer(rl_call *call) {
    rl_status status = rl_infer_same_as_input(call);
    if (call->meta[0].dtype == RL_BOOL)
        call->meta[0].dtype = call->compute = RL_I64;
    return status;
}
PROGRAM(square, MUL(x[0], x[0]))
VJP(square, rl_mul(G, rl_mul(X, 2))) /* gx = 2 g x */
PROGRAM(reciprocal, OP1(RECIP, x[0]))
VJP(reciprocal, rl_neg(rl_mul(G, rl_mul(Y, Y)))) /* gx = -g y^2 */
PROGRAM(sqrt, OP1(SQRT, x[0]))
VJP(sqrt, rl_div(G, rl_mul(Y, 2))) /* gx = g / (2 y) */
PROGRAM(rsqrt, OP1(RSQRT, x[0]))
VJP(rsqrt, rl_mul(rl_mul(G, rl_pow(Y, 3)), -0.5)) /* gx = -g y^3 / 2 */

const rl_op_def rl_op_def_square = {
    .schema = "square(Tensor self) -> Tensor",
    .doc = "y = self^2; of bool, as int64",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE,
    .saves = RL_SAVE_IN(0),
    .infer = square_infer,
    .pointwise = square_program,
    .vjp = square_vjp,
    .samples = rl_samples_number,
    .bad = rl_bad_unary,
};

const rl_op_def rl_op_def_reciprocal = {
    .schema = "reciprocal(Tensor self) -> Tensor",
    .doc = "y = 1 / self",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE | RL_OP_FLOAT_RESULT,
    .saves = RL_SAVE_OUT(0),
    .pointwise = reciprocal_program,
    .vjp = reciprocal_vjp,
    .samples = rl_samples_positive,
    .bad = rl_bad_unary,
};

const rl_op_def rl_op_def_sqrt = {
    .schema = "sqrt(Tensor self) -> Tensor",
    .doc = "y = square root of self, NaN below 0",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE | RL_OP_FLOAT_RESULT,
    .saves = RL_SAVE_OUT(0),
    .pointwise = sqrt_program,
    .vjp = sqrt_vjp,
    .samples = rl_samples_positive,
    .bad = rl_bad_unary,
};

const rl_op_def rl_op_def_rsqrt = {
    .schema = "rsqrt(Tensor self) -> Tensor",
    .doc = "y = 1 / square root of self",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE | RL_OP_FLOAT_RESULT,
    .saves = RL_SAVE_OUT(0),
    .pointwise = rsqrt_program,
    .vjp = rsqrt_vjp,
    .samples = rl_samples_positive,
    .bad = rl_bad_unary,
};
