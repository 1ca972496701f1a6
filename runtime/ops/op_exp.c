/* SPDX-License-Identifier: Apache-2.0 */
/* Exponentials, logarithms, the error function and what is made of them. */
#include <math.h>

#include "ops/op_shared.h"

#define LN2 0.69314718055994530942
#define LN10 2.30258509299404568402
#define TWO_OVER_SQRT_PI 1.12837916709551257390

/* Exponentials ----------------------------------------------------------------------------------------------------- */

PROGRAM(exp, EXP(x[0]))
VJP(exp, rl_mul(G, Y)) /* gx = g y */
PROGRAM(exp2, OP1(EXP2, x[0]))
VJP(exp2, rl_mul(rl_mul(G, Y), LN2)) /* gx = g y log 2 */
PROGRAM(expm1, OP1(EXPM1, x[0]))
VJP(expm1, rl_add(rl_mul(G, Y), G)) /* gx = g (y + 1) */

const rl_op_def rl_op_def_exp = {
    .schema = "exp(Tensor self) -> Tensor",
    .doc = "y = e^self",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE | RL_OP_FLOAT_RESULT,
    .saves = RL_SAVE_OUT(0),
    .pointwise = exp_program,
    .vjp = exp_vjp,
    .samples = rl_samples_real,
    .bad = rl_bad_unary,
};

const rl_op_def rl_op_def_exp2 = {
    .schema = "exp2(Tensor self) -> Tensor",
    .doc = "y = 2^self",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE | RL_OP_FLOAT_RESULT,
    .saves = RL_SAVE_OUT(0),
    .pointwise = exp2_program,
    .vjp = exp2_vjp,
    .samples = rl_samples_real,
    .bad = rl_bad_unary,
};

const rl_op_def rl_op_def_expm1 = {
    .schema = "expm1(Tensor self) -> Tensor",
    .doc = "y = e^self - 1, without cancellation near 0",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE | RL_OP_FLOAT_RESULT,
    .saves = RL_SAVE_OUT(0),
    .pointwise = expm1_program,
    .vjp = expm1_vjp,
    .samples = rl_samples_real,
    .bad = rl_bad_unary,
};

/* Logarithms ------------------------------------------------------------------------------------------------------- */

PROGRAM(log, LOG(x[0]))
VJP(log, rl_div(G, X)) /* gx = g / x */
PROGRAM(log2, OP1(LOG2, x[0]))
VJP(log2, rl_div(G, rl_mul(X, LN2))) /* gx = g / (x log 2) */
PROGRAM(log10, OP1(LOG10, x[0]))
VJP(log10, rl_div(G, rl_mul(X, LN10))) /* gx = g / (x log 10) */
PROGRAM(log1p, OP1(LOG1P, x[0]))
VJP(log1p, rl_div(G, rl_add(X, 1))) /* gx = g / (1 + x) */

const rl_op_def rl_op_def_log = {
    .schema = "log(Tensor self) -> Tensor",
    .doc = "y = log(self), to base e",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE | RL_OP_FLOAT_RESULT,
    .saves = RL_SAVE_IN(0),
    .pointwise = log_program,
    .vjp = log_vjp,
    .samples = rl_samples_positive,
    .bad = rl_bad_unary,
};

const rl_op_def rl_op_def_log2 = {
    .schema = "log2(Tensor self) -> Tensor",
    .doc = "y = log(self) / log(2)",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE | RL_OP_FLOAT_RESULT,
    .saves = RL_SAVE_IN(0),
    .pointwise = log2_program,
    .vjp = log2_vjp,
    .samples = rl_samples_positive,
    .bad = rl_bad_unary,
};

const rl_op_def rl_op_def_log10 = {
    .schema = "log10(Tensor self) -> Tensor",
    .doc = "y = log(self) / log(10)",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE | RL_OP_FLOAT_RESULT,
    .saves = RL_SAVE_IN(0),
    .pointwise = log10_program,
    .vjp = log10_vjp,
    .samples = rl_samples_positive,
    .bad = rl_bad_unary,
};

const rl_op_def rl_op_def_log1p = {
    .schema = "log1p(Tensor self) -> Tensor",
    .doc = "y = log(1 + self), without cancellation near 0",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE | RL_OP_FLOAT_RESULT,
    .saves = RL_SAVE_IN(0),
    .pointwise = log1p_program,
    .vjp = log1p_vjp,
    .samples = rl_samples_positive,
    .bad = rl_bad_unary,
};

/* logaddexp, xlogy ------------------------------------------------------------------------------------------------- */

/* The greater plus what the other adds to it; equal infinities stay as they are. */
static rl_pw log_add(rl_builder *b, rl_pw p, rl_pw q, bool base_two) {
    rl_pw gap = NEG(ABS(SUB(p, q)));
    rl_pw more = base_two ? DIV(OP1(LOG1P, OP1(EXP2, gap)), NUM(gap, LN2)) : OP1(LOG1P, EXP(gap));
    rl_pw infinite = AND(EQ(p, q), EQ(ABS(p), NUM(p, INFINITY)));
    return SELECT(infinite, p, ADD(MAX(p, q), more));
}
PROGRAM(logaddexp, log_add(b, x[0], x[1], false))
PROGRAM(logaddexp2, log_add(b, x[0], x[1], true))
/* y = log(e^p + e^q): gp = g e^(p - y), gq = g e^(q - y) */
VJP2(logaddexp, rl_mul(G, rl_sigmoid(rl_sub(X, rl_vjp_input(v, 1)))),
     rl_mul(G, rl_sigmoid(rl_sub(rl_vjp_input(v, 1), X))))
VJP2(logaddexp2, rl_mul(G, rl_sigmoid(rl_mul(rl_sub(X, rl_vjp_input(v, 1)), LN2))),
     rl_mul(G, rl_sigmoid(rl_mul(rl_sub(rl_vjp_input(v, 1), X), LN2))))

static const rl_sample float_pairs[] = {{"f[3,4], f[3,4]"},  {"f[3,1], f[4]"},  {"f[2,3,1], f[]"}, {"f[0,3], f[3]"},
                                        {"f[5,7]t, f[5,7]"}, {"f[33]s, f[33]"}, {"f[4], f[4]e"},   {0}};
static const rl_bad float_pairs_bad[] = {{"f[2,3], f[4]", RL_SHAPE_MISMATCH, "do not broadcast: 3 and 4"},
                                         {"i64[2], i64[2]", RL_DTYPE_MISMATCH, "floating"},
                                         {0}};

const rl_op_def rl_op_def_logaddexp = {
    .schema = "logaddexp(Tensor self, Tensor other) -> Tensor",
    .doc = "y = log(e^self + e^other)",
    .flags = RL_OP_POINTWISE,
    .saves = RL_SAVE_IN(0) | RL_SAVE_IN(1),
    .infer = rl_infer_floats_only,
    .pointwise = logaddexp_program,
    .vjp = logaddexp_vjp,
    .samples = float_pairs,
    .bad = float_pairs_bad,
};

const rl_op_def rl_op_def_logaddexp2 = {
    .schema = "logaddexp2(Tensor self, Tensor other) -> Tensor",
    .doc = "y = log2(2^self + 2^other)",
    .flags = RL_OP_POINTWISE,
    .saves = RL_SAVE_IN(0) | RL_SAVE_IN(1),
    .infer = rl_infer_floats_only,
    .pointwise = logaddexp2_program,
    .vjp = logaddexp2_vjp,
    .samples = float_pairs,
    .bad = float_pairs_bad,
};

/* 0 where p = 0, but NaN where q is NaN */
PROGRAM(xlogy, SELECT(AND(EQ(x[0], NUM(x[0], 0)), EQ(x[1], x[1])), NUM(x[0], 0), MUL(x[0], LOG(x[1]))))

/* y = p log q: gp = g log q (0 where p = 0 and q <= 0), gq = g p / q */
static void xlogy_vjp(rl_vjp *v) {
    rl_value p = ARG(0), q = ARG(1);
    if (rl_vjp_needs(v, 0)) {
        rl_tensor *log_q = q.kind == RL_VALUE_TENSOR ? rl_log(q.as.tensor) : rl_log(rl_full_like(X, NUMBER(1)));
        rl_tensor *nothing = rl_logical_and(rl_eq(X, 0), q.kind == RL_VALUE_TENSOR ? rl_le(q.as.tensor, 0)
                                                                                   : rl_full_like(X, NUMBER(1) <= 0));
        rl_vjp_set(v, 0, rl_mul(G, rl_where(nothing, 0, log_q)));
    }
    if (rl_vjp_needs(v, 1))
        rl_vjp_set(v, 1, rl_mul(G, rl_div(p.as.tensor, q)));
}

const rl_op_def rl_op_def_xlogy = {
    .schema = "xlogy(Tensor self, Tensor|Scalar other) -> Tensor",
    .doc = "y = self log(other), and 0 where self is 0",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE | RL_OP_FLOAT_RESULT,
    .saves = RL_SAVE_IN(0) | RL_SAVE_IN(1),
    .pointwise = xlogy_program,
    .vjp = xlogy_vjp,
    .samples = rl_samples_pair_positive,
    .bad = rl_bad_binary,
};

/* Error function --------------------------------------------------------------------------------------------------- */

PROGRAM(erf, OP1(ERF, x[0]))
VJP(erf, rl_mul(rl_mul(G, rl_exp(rl_neg(rl_square(X)))), TWO_OVER_SQRT_PI)) /* gx = 2 g e^(-x^2) / sqrt(pi) */
PROGRAM(erfc, OP1(ERFC, x[0]))
VJP(erfc, rl_mul(rl_mul(G, rl_exp(rl_neg(rl_square(X)))), -TWO_OVER_SQRT_PI)) /* gx = -2 g e^(-x^2) / sqrt(pi) */

/* c[0] + p (c[1] + p (...)) */
static rl_pw polynomial(rl_builder *b, rl_pw p, const double *c, int count) {
    rl_pw sum = NUM(p, c[count - 1]);
    for (int i = count - 2; i >= 0; i--)
        sum = ADD(MUL(sum, p), NUM(p, c[i]));
    return sum;
}

/* A first value, good to five digits, as a polynomial of w = -log(1 - size^2), or in the tail, up to the last double
 * before 1, of its root. Coefficients: the middle's from M. Giles, "Approximating the erfinv function", single
 * precision; the tail's our own, interpolated at the Chebyshev points of sqrt(w) in [2.22, 6.07]. */
static rl_pw guess_inverse_erf(rl_builder *b, rl_pw size) {
    static const double middle[] = {1.50140941,      0.246640727,    -0.00417768164, -0.00125372503, 0.000218580870,
                                    -4.39150654e-06, -3.5233877e-06, 3.43273939e-07, 2.81022636e-08};
    static const double tail[] = {3.83978528188,     1.0094845742,       0.00124037557257, -0.000830156420242,
                                  0.000310521136646, -0.000101235874989, 1.73222483626e-5};
    rl_pw w = NEG(ADD(OP1(LOG1P, NEG(size)), OP1(LOG1P, size)));
    rl_pw near = MUL(polynomial(b, SUB(w, NUM(w, 2.5)), middle, 9), size);
    rl_pw far = polynomial(b, SUB(OP1(SQRT, w), NUM(w, 4)), tail, 7);
    return SELECT(LT(w, NUM(w, 5)), near, far);
}

/* Then one step of Halley's method, which triples the digits: with erf itself near 0, and from 1/2 on, where 1 - size
 * is exact and erf has lost the digits that count, with erfc. */
static rl_pw inverse_erf(rl_builder *b, rl_pw y) {
    rl_pw one = NUM(y, 1), size = ABS(y), root = guess_inverse_erf(b, size);
    rl_pw upper = SUB(SUB(one, size), OP1(ERFC, root)), lower = SUB(OP1(ERF, root), size);
    rl_pw error = SELECT(GT(size, NUM(y, 0.5)), upper, lower);
    rl_pw step = DIV(error, MUL(NUM(root, TWO_OVER_SQRT_PI), EXP(NEG(MUL(root, root)))));
    root = SUB(root, DIV(step, ADD(one, MUL(root, step))));
    root = SELECT(EQ(size, one), NUM(root, INFINITY), root);
    root = SELECT(LT(y, NUM(y, 0)), NEG(root), root);
    return SELECT(LE(size, one), root, NUM(root, NAN));
}
PROGRAM(erfinv, inverse_erf(b, x[0]))
VJP(erfinv, rl_div(rl_mul(G, rl_exp(rl_square(Y))), TWO_OVER_SQRT_PI)) /* gx = sqrt(pi) / 2 g e^(y^2) */

const rl_op_def rl_op_def_erf = {
    .schema = "erf(Tensor self) -> Tensor",
    .doc = "y = 2 / sqrt(pi) integral from 0 to self of e^(-t^2) dt",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE | RL_OP_FLOAT_RESULT,
    .saves = RL_SAVE_IN(0),
    .pointwise = erf_program,
    .vjp = erf_vjp,
    .samples = rl_samples_real,
    .bad = rl_bad_unary,
};

const rl_op_def rl_op_def_erfc = {
    .schema = "erfc(Tensor self) -> Tensor",
    .doc = "y = 1 - erf(self), without cancellation",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE | RL_OP_FLOAT_RESULT,
    .saves = RL_SAVE_IN(0),
    .pointwise = erfc_program,
    .vjp = erfc_vjp,
    .samples = rl_samples_real,
    .bad = rl_bad_unary,
};

const rl_op_def rl_op_def_erfinv = {
    .schema = "erfinv(Tensor self) -> Tensor",
    .doc = "y such that erf(y) = self",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE | RL_OP_FLOAT_RESULT,
    .saves = RL_SAVE_OUT(0),
    .pointwise = erfinv_program,
    .vjp = erfinv_vjp,
    .samples = rl_samples_unit,
    .bad = rl_bad_unary,
};

/* sigmoid, logit --------------------------------------------------------------------------------------------------- */

PROGRAM(sigmoid, OP1(SIGMOID, x[0]))
VJP(sigmoid, rl_sigmoid_backward(G, Y)) /* gx = g y (1 - y) */
PROGRAM(sigmoid_backward, MUL(x[0], MUL(x[1], SUB(NUM(x[1], 1), x[1]))))
/* z = g y (1 - y): gg = h y (1 - y), gy = h g (1 - 2 y) */
VJP2(sigmoid_backward, rl_sigmoid_backward(G, rl_vjp_input(v, 1)),
     rl_mul(G, rl_mul(X, rl_rsub(rl_vjp_input(v, 1), 1, .alpha = 2))))

const rl_op_def rl_op_def_sigmoid = {
    .schema = "sigmoid(Tensor self) -> Tensor",
    .doc = "y = 1 / (1 + e^-self)",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE | RL_OP_FLOAT_RESULT,
    .saves = RL_SAVE_OUT(0),
    .pointwise = sigmoid_program,
    .vjp = sigmoid_vjp,
    .samples = rl_samples_real,
    .bad = rl_bad_unary,
};

const rl_op_def rl_op_def_sigmoid_backward = {
    .schema = "sigmoid_backward(Tensor grad_output, Tensor output) -> Tensor",
    .doc = "y = grad_output output (1 - output)",
    .flags = RL_OP_POINTWISE,
    .saves = RL_SAVE_IN(0) | RL_SAVE_IN(1),
    .infer = rl_infer_floats_only,
    .pointwise = sigmoid_backward_program,
    .vjp = sigmoid_backward_vjp,
    .samples = float_pairs,
    .bad = float_pairs_bad,
};

static uint32_t logit_variant(const rl_call *call) {
    return rl_arg_given(call, 1);
}
/* In PyTorch's order, which matters where eps is above 1/2. */
static rl_pw held_within(rl_builder *b, rl_pw p, rl_pw eps) {
    rl_pw high = SUB(NUM(eps, 1), eps);
    return SELECT(LT(p, eps), eps, SELECT(GT(p, high), high, p));
}
static rl_pw log_odds(rl_builder *b, rl_pw p) {
    return LOG(DIV(p, SUB(NUM(p, 1), p)));
}
PROGRAM(logit, log_odds(b, rl_arg_given(call, 1) ? held_within(b, x[0], x[1]) : x[0]))

/* gx = g / (x (1 - x)); where eps clamps x, 0 */
static void logit_vjp(rl_vjp *v) {
    rl_tensor *gradient = rl_div(G, rl_mul(X, rl_rsub(X, 1)));
    if (rl_vjp_arg(v, 1)->kind != RL_VALUE_NONE) {
        rl_tensor *inside = rl_logical_and(rl_ge(X, NUMBER(1)), rl_le(X, 1 - NUMBER(1)));
        gradient = rl_only_where(inside, gradient);
    } else {
        gradient = rl_where(rl_logical_and(rl_ge(X, 0), rl_le(X, 1)), gradient, (double)NAN); /* as is y */
    }
    rl_vjp_set(v, 0, gradient);
}

static const rl_sample logit_samples[] = {{"u[3,4]"},         {"u[]"}, {"u[0,3]"}, {"u[5,7]t, eps=0.1"}, {"u[33]s"},
                                          {"f[9], eps=0.25"}, {0}};

const rl_op_def rl_op_def_logit = {
    .schema = "logit(Tensor self, float? eps=None) -> Tensor",
    .doc = "y = log(z / (1 - z)), z = self clamped to [eps, 1 - eps]; without eps z = self",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE | RL_OP_FLOAT_RESULT,
    .saves = RL_SAVE_IN(0),
    .pointwise = logit_program,
    .variant = logit_variant,
    .vjp = logit_vjp,
    .samples = logit_samples,
    .bad = rl_bad_unary,
};
