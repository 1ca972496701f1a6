/* SPDX-License-Identifier: Apache-2.0 */
/* Powers and roots. */
#include <math.h>

#include "ops/op_shared.h"

/* pow -------------------------------------------------------------------------------------------------------------- */

enum { LOW_BITS = 6 }; /* of an integer exponent: those that are gone through one by one */
/* Exponents that have programs of their own: numbers that scripts write; integers of LOW_BITS alone. */
enum { POWER_ANY, POWER_SMALL, POWER_2, POWER_3, POWER_HALF, POWER_MINUS_1, POWER_MINUS_2 };

static uint32_t power_variant(const rl_call *call) {
    if (call->args[1].kind == RL_VALUE_TENSOR)
        return POWER_ANY;
    double exponent = rl_arg_double(call, 1);
    bool is_float = rl_dtype_is_float(call->compute);
    return exponent == 2.0    ? POWER_2
           : exponent == 3.0  ? POWER_3
           : !is_float        ? (exponent >= 0.0 && exponent < 1 << LOW_BITS ? POWER_SMALL : POWER_ANY)
           : exponent == 0.5  ? POWER_HALF
           : exponent == -1.0 ? POWER_MINUS_1
           : exponent == -2.0 ? POWER_MINUS_2
                              : POWER_ANY;
}

/* p to the lowest LOW_BITS bits of `left`, by squaring; *square becomes p^(2^LOW_BITS). */
static rl_pw low_power(rl_builder *b, rl_pw p, rl_pw left, rl_pw *square) {
    rl_pw result = NUM(p, 1);
    *square = p;
    for (int bit = 0; bit < LOW_BITS; bit++) {
        rl_pw has_bit = NE(AND(left, NUM(left, 1 << bit)), NUM(left, 0));
        result = SELECT(has_bit, MUL(result, *square), result);
        *square = MUL(*square, *square);
    }
    return result;
}

/*
 * s^m modulo 2^64 (2^32), where s - 1 = x is a multiple of 2^(LOW_BITS + 2), as odd^(2^LOW_BITS) - 1 is: the binomial
 * series sum_i C(m, i) x^i, which ends where x^i wraps to 0, by Horner's rule
 *
 *     1 + x/1 m (1 + x/2 (m - 1) (1 + x/3 (m - 2) (...)))
 *
 * i = o 2^z with o odd: dividing by o is a product with its inverse modulo 2^64, and by 2^z a shift, which loses but
 * high bits that the outer factor x wraps away.
 */
static rl_pw power_near_one(rl_builder *b, rl_pw s, rl_pw m) {
    static const int64_t inverse[] = {0,
                                      1,
                                      1,
                                      INT64_C(-0x5555555555555555),
                                      1,
                                      INT64_C(-0x3333333333333333),
                                      INT64_C(-0x5555555555555555),
                                      INT64_C(0x6db6db6db6db6db7)};
    static const int shift[] = {0, 0, 1, 0, 2, 0, 1, 0};
    rl_dtype dtype = rl_pw_dtype(b, s);
    rl_pw one = NUM(s, 1), x = SUB(s, one), sum = one;
    int terms = rl_dtype_reg(dtype) == RL_REG_I64 ? 7 : 3;
    for (int i = terms; i >= 1; i--) {
        rl_pw part = shift[i] ? OP2(SHR, x, NUM(s, shift[i])) : x;
        part = inverse[i] == 1 ? part : MUL(part, rl_build_integer(b, dtype, inverse[i]));
        sum = ADD(one, MUL(MUL(part, SUB(m, NUM(m, i - 1))), sum));
    }
    return sum;
}

/* Wraps as multiplying so often does. Negative exponents give 1 / p^|e|, toward zero. */
static rl_pw integer_power(rl_builder *b, rl_pw p, rl_pw exponent, bool small) {
    rl_pw zero = NUM(p, 0), one = NUM(p, 1), left = ABS(exponent), square;
    rl_pw result = low_power(b, p, left, &square);
    if (!small) {
        rl_pw high = OP2(SHR, left, NUM(left, LOW_BITS));
        rl_pw rest = SELECT(NE(AND(p, one), zero), power_near_one(b, square, high), zero); /* even^64 wraps to 0 */
        result = SELECT(EQ(high, NUM(high, 0)), result, MUL(result, rest));
    }
    rl_pw inverse = SELECT(EQ(ABS(p), one), result, zero);
    return SELECT(LT(exponent, NUM(exponent, 0)), inverse, result);
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
        return IS_FLOAT(p) ? OP2(POW, p, exponent) : integer_power(b, p, exponent, variant == POWER_SMALL);
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

static const rl_sample pow_samples[] = {{"p[3,4], f[3,4]"},   {"p[3,1], f[4]"},    {"p[2,3,1], f[]"},
                                        {"p[0,3], f[3]"},     {"p[5,7]t, f[5,7]"}, {"p[33]s, f[33]"},
                                        {"f[7], 2"},          {"f[7], 3"},         {"p[7], 0.5"},
                                        {"p[7], -1"},         {"p[7], -2"},        {"p[7], 1.5"},
                                        {"f[7], 0"},          {"f[7], 1"},         {"i64[7], 2"},
                                        {"i32[7], 5"},        {"u8[7], 3"},        {"i64[7], i64[7]"},
                                        {"i64[33], 1000003"}, {"i32[7], 100"},     {0}};
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

/* What a float register is made of. */
typedef struct ldexp_kind {
    rl_dtype bits; /* the integer of its width */
    int mantissa, bias;
} ldexp_kind;

/* 2^k for the exponents k of normal numbers. */
static rl_pw exact_power_of_two(rl_builder *b, ldexp_kind kind, rl_pw k) {
    return OP1(BITCAST, OP2(SHL, ADD(k, NUM(k, kind.bias)), NUM(k, kind.mantissa)));
}

/* p 2^*k as far as one factor reaches, which leaves the rest in *k. A step down stops early enough that, where it
 * rounds to a subnormal, the rest makes 0 of it: nothing is rounded twice. Method: musl's scalbn. */
static rl_pw ldexp_step(rl_builder *b, ldexp_kind kind, rl_pw p, rl_pw *k) {
    rl_pw most = NUM(*k, kind.bias), least = NUM(*k, 1 - kind.bias), down = NUM(*k, 2 - kind.bias + kind.mantissa);
    rl_pw step = SELECT(LT(*k, least), down, MIN(*k, most));
    *k = SUB(*k, step);
    return MUL(p, exact_power_of_two(b, kind, step));
}

/* As C's ldexp: what 2^k alone would overflow to, or underflow, is no matter. */
static rl_pw exact_ldexp(rl_builder *b, rl_pw p, rl_pw exponent) {
    bool wide = rl_dtype_reg(rl_pw_dtype(b, p)) == RL_REG_F64;
    ldexp_kind kind = wide ? (ldexp_kind){RL_I64, 52, 1023} : (ldexp_kind){RL_I32, 23, 127};
    double limit = 3 * kind.bias; /* from the least number to beyond the greatest, and back */
    rl_pw k = CAST(MAX(MIN(exponent, NUM(exponent, limit)), NUM(exponent, -limit)), kind.bits);
    p = ldexp_step(b, kind, p, &k);
    p = ldexp_step(b, kind, p, &k);
    return MUL(p, exact_power_of_two(b, kind, MAX(MIN(k, NUM(k, kind.bias)), NUM(k, 1 - kind.bias))));
}

static uint32_t ldexp_variant(const rl_call *call) {
    return rl_dtype_is_float((rl_dtype)rl_arg_tensor(call, 1)->dtype);
}
static void ldexp_program(rl_builder *b, const rl_call *call, const rl_pw *x, rl_pw *out) {
    out[0] = ldexp_variant(call) ? MUL(x[0], OP2(POW, NUM(x[0], 2), x[1])) : exact_ldexp(b, x[0], x[1]);
}
/* y = p 2^e: gp = g 2^e, ge = g y log 2 */
VJP2(ldexp, rl_ldexp(G, rl_vjp_input(v, 1)), rl_mul(rl_mul(G, Y), M_LN2))

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
    .flags = RL_OP_POINTWISE | RL_OP_FLOAT_RESULT,
    .saves = RL_SAVE_IN(1) | RL_SAVE_OUT(0),
    .pointwise = ldexp_program,
    .variant = ldexp_variant,
    .vjp = ldexp_vjp,
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
