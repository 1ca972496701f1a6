/* SPDX-License-Identifier: Apache-2.0 */
/* Circular and hyperbolic functions and their inverses. */
#include <math.h>

#include "ops/op_shared.h"

#define PI 3.14159265358979323846

/* Circular --------------------------------------------------------------------------------------------------------- */

PROGRAM(sin, OP1(SIN, x[0]))
VJP(sin, rl_mul(G, rl_cos(X))) /* gx = g cos x */
PROGRAM(cos, OP1(COS, x[0]))
VJP(cos, rl_neg(rl_mul(G, rl_sin(X)))) /* gx = -g sin x */
PROGRAM(tan, OP1(TAN, x[0]))
VJP(tan, rl_mul(G, rl_add(rl_square(Y), 1))) /* gx = g (1 + y^2) */
PROGRAM(asin, OP1(ASIN, x[0]))
VJP(asin, rl_mul(G, rl_rsqrt(rl_rsub(rl_square(X), 1)))) /* gx = g / sqrt(1 - x^2) */
PROGRAM(acos, OP1(ACOS, x[0]))
VJP(acos, rl_neg(rl_mul(G, rl_rsqrt(rl_rsub(rl_square(X), 1))))) /* gx = -g / sqrt(1 - x^2) */
PROGRAM(atan, OP1(ATAN, x[0]))
VJP(atan, rl_div(G, rl_add(rl_square(X), 1))) /* gx = g / (1 + x^2) */

const rl_op_def rl_op_def_sin = {
    .schema = "sin(Tensor self) -> Tensor",
    .doc = "y = sine of self, in radians",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE | RL_OP_FLOAT_RESULT,
    .saves = RL_SAVE_IN(0),
    .pointwise = sin_program,
    .vjp = sin_vjp,
    .samples = rl_samples_real,
    .bad = rl_bad_unary,
};

const rl_op_def rl_op_def_cos = {
    .schema = "cos(Tensor self) -> Tensor",
    .doc = "y = cosine of self, in radians",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE | RL_OP_FLOAT_RESULT,
    .saves = RL_SAVE_IN(0),
    .pointwise = cos_program,
    .vjp = cos_vjp,
    .samples = rl_samples_real,
    .bad = rl_bad_unary,
};

const rl_op_def rl_op_def_tan = {
    .schema = "tan(Tensor self) -> Tensor",
    .doc = "y = tangent of self, in radians",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE | RL_OP_FLOAT_RESULT,
    .saves = RL_SAVE_OUT(0),
    .pointwise = tan_program,
    .vjp = tan_vjp,
    .samples = rl_samples_unit,
    .bad = rl_bad_unary,
};

const rl_op_def rl_op_def_asin = {
    .schema = "asin(Tensor self) -> Tensor",
    .doc = "y = the angle in [-pi/2, pi/2] whose sine is self",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE | RL_OP_FLOAT_RESULT,
    .saves = RL_SAVE_IN(0),
    .pointwise = asin_program,
    .vjp = asin_vjp,
    .samples = rl_samples_unit,
    .bad = rl_bad_unary,
};

const rl_op_def rl_op_def_acos = {
    .schema = "acos(Tensor self) -> Tensor",
    .doc = "y = the angle in [0, pi] whose cosine is self",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE | RL_OP_FLOAT_RESULT,
    .saves = RL_SAVE_IN(0),
    .pointwise = acos_program,
    .vjp = acos_vjp,
    .samples = rl_samples_unit,
    .bad = rl_bad_unary,
};

const rl_op_def rl_op_def_atan = {
    .schema = "atan(Tensor self) -> Tensor",
    .doc = "y = the angle in (-pi/2, pi/2) whose tangent is self",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE | RL_OP_FLOAT_RESULT,
    .saves = RL_SAVE_IN(0),
    .pointwise = atan_program,
    .vjp = atan_vjp,
    .samples = rl_samples_real,
    .bad = rl_bad_unary,
};

/* Of two numbers --------------------------------------------------------------------------------------------------- */

PROGRAM(atan2, OP2(ATAN2, x[0], x[1]))

/* y = angle of (q, p): gp = g q / (p^2 + q^2), gq = -g p / (p^2 + q^2); 0 at the origin */
static void atan2_vjp(rl_vjp *v) {
    rl_tensor *p = X, *q = rl_vjp_input(v, 1);
    rl_tensor *squared = rl_add(rl_square(p), rl_square(q));
    rl_tensor *share = rl_only_where_not(rl_eq(squared, 0), rl_div(G, squared));
    if (rl_vjp_needs(v, 0))
        rl_vjp_set(v, 0, rl_mul(share, q));
    if (rl_vjp_needs(v, 1))
        rl_vjp_set(v, 1, rl_neg(rl_mul(share, p)));
}

/* The greater times sqrt(1 + ratio^2), so that no square overflows; 0 has no ratio. Infinite beside an infinity,
 * whatever the other is, a NaN too (C, annex F). */
static rl_pw hypotenuse(rl_builder *b, rl_pw p, rl_pw q) {
    rl_pw big = MAX(ABS(p), ABS(q)), small = MIN(ABS(p), ABS(q));
    rl_pw ratio = DIV(small, big);
    rl_pw y = MUL(big, OP1(SQRT, ADD(NUM(p, 1), MUL(ratio, ratio))));
    rl_pw infinite = OR(EQ(ABS(p), NUM(p, INFINITY)), EQ(ABS(q), NUM(q, INFINITY)));
    return SELECT(infinite, NUM(p, INFINITY), SELECT(EQ(big, NUM(big, 0)), big, y));
}
PROGRAM(hypot, hypotenuse(b, x[0], x[1]))
VJP2(hypot, rl_mul(G, rl_div(X, Y)), rl_mul(G, rl_div(rl_vjp_input(v, 1), Y))) /* gp = g p / y, gq = g q / y */

const rl_op_def rl_op_def_atan2 = {
    .schema = "atan2(Tensor self, Tensor other) -> Tensor",
    .doc = "y = the angle of the point (other, self), in (-pi, pi]",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE | RL_OP_FLOAT_RESULT,
    .saves = RL_SAVE_IN(0) | RL_SAVE_IN(1),
    .pointwise = atan2_program,
    .vjp = atan2_vjp,
    .samples = rl_samples_pair_tensors,
    .bad = rl_bad_binary,
};

static const rl_bad hypot_bad[] = {{"f[2,3], f[4]", RL_SHAPE_MISMATCH, "do not broadcast: 3 and 4"},
                                   {"i64[2], i64[2]", RL_DTYPE_MISMATCH, "floating"},
                                   {0}};

const rl_op_def rl_op_def_hypot = {
    .schema = "hypot(Tensor self, Tensor other) -> Tensor",
    .doc = "y = sqrt(self^2 + other^2)",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE,
    .saves = RL_SAVE_IN(0) | RL_SAVE_IN(1) | RL_SAVE_OUT(0),
    .infer = rl_infer_floats_only,
    .pointwise = hypot_program,
    .vjp = hypot_vjp,
    .samples = rl_samples_pair_positive,
    .bad = hypot_bad,
};

/* sin(pi x) / (pi x), 1 at 0 */
static rl_pw sinc_of(rl_builder *b, rl_pw p) {
    rl_pw angle = MUL(p, NUM(p, PI));
    return SELECT(EQ(p, NUM(p, 0)), NUM(p, 1), DIV(OP1(SIN, angle), angle));
}
PROGRAM(sinc, sinc_of(b, x[0]))

/* gx = g (cos(pi x) - y) / x, 0 at 0 */
VJP(sinc, rl_mul(G, rl_where(rl_eq(X, 0), 0, rl_div(rl_sub(rl_cos(rl_mul(X, PI)), rl_sinc(X)), X))))

const rl_op_def rl_op_def_sinc = {
    .schema = "sinc(Tensor self) -> Tensor",
    .doc = "y = sin(pi self) / (pi self), 1 at 0",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE | RL_OP_FLOAT_RESULT,
    .saves = RL_SAVE_IN(0),
    .pointwise = sinc_program,
    .vjp = sinc_vjp,
    .samples = rl_samples_positive,
    .bad = rl_bad_unary,
};

PROGRAM(deg2rad, MUL(x[0], NUM(x[0], PI / 180)))
VJP(deg2rad, rl_mul(G, PI / 180))
PROGRAM(rad2deg, MUL(x[0], NUM(x[0], 180 / PI)))
VJP(rad2deg, rl_mul(G, 180 / PI))

const rl_op_def rl_op_def_deg2rad = {
    .schema = "deg2rad(Tensor self) -> Tensor",
    .doc = "y = self pi / 180",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE | RL_OP_FLOAT_RESULT,
    .pointwise = deg2rad_program,
    .vjp = deg2rad_vjp,
    .samples = rl_samples_real,
    .bad = rl_bad_unary,
};

const rl_op_def rl_op_def_rad2deg = {
    .schema = "rad2deg(Tensor self) -> Tensor",
    .doc = "y = self 180 / pi",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE | RL_OP_FLOAT_RESULT,
    .pointwise = rad2deg_program,
    .vjp = rad2deg_vjp,
    .samples = rl_samples_real,
    .bad = rl_bad_unary,
};

/* Hyperbolic ------------------------------------------------------------------------------------------------------- */

PROGRAM(sinh, OP1(SINH, x[0]))
VJP(sinh, rl_mul(G, rl_cosh(X))) /* gx = g cosh x */
PROGRAM(cosh, OP1(COSH, x[0]))
VJP(cosh, rl_mul(G, rl_sinh(X))) /* gx = g sinh x */
PROGRAM(tanh, TANH(x[0]))
VJP(tanh, rl_tanh_backward(G, Y)) /* gx = g (1 - y^2) */
PROGRAM(tanh_backward, MUL(x[0], SUB(NUM(x[1], 1), MUL(x[1], x[1]))))
/* z = g (1 - y^2): gg = h (1 - y^2), gy = -2 h g y */
VJP2(tanh_backward, rl_tanh_backward(G, rl_vjp_input(v, 1)), rl_mul(rl_mul(G, rl_mul(X, rl_vjp_input(v, 1))), -2))
PROGRAM(asinh, OP1(ASINH, x[0]))
VJP(asinh, rl_mul(G, rl_rsqrt(rl_add(rl_square(X), 1)))) /* gx = g / sqrt(x^2 + 1) */
PROGRAM(acosh, OP1(ACOSH, x[0]))
VJP(acosh, rl_mul(G, rl_rsqrt(rl_sub(rl_square(X), 1)))) /* gx = g / sqrt(x^2 - 1) */
PROGRAM(atanh, OP1(ATANH, x[0]))
VJP(atanh, rl_div(G, rl_rsub(rl_square(X), 1))) /* gx = g / (1 - x^2) */

static const rl_sample acosh_samples[] = {
    {"d[3,4]", .dtypes = 1u << RL_F32 | 1u << RL_F64, .no_gradcheck = true, .why = "defined from 1 on"},
    {"p[0,3]"},
    {0}};
static const rl_bad tanh_backward_bad[] = {{"i64[2], i64[2]", RL_DTYPE_MISMATCH, "floating"}, {0}};

const rl_op_def rl_op_def_sinh = {
    .schema = "sinh(Tensor self) -> Tensor",
    .doc = "y = (e^self - e^-self) / 2",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE | RL_OP_FLOAT_RESULT,
    .saves = RL_SAVE_IN(0),
    .pointwise = sinh_program,
    .vjp = sinh_vjp,
    .samples = rl_samples_real,
    .bad = rl_bad_unary,
};

const rl_op_def rl_op_def_cosh = {
    .schema = "cosh(Tensor self) -> Tensor",
    .doc = "y = (e^self + e^-self) / 2",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE | RL_OP_FLOAT_RESULT,
    .saves = RL_SAVE_IN(0),
    .pointwise = cosh_program,
    .vjp = cosh_vjp,
    .samples = rl_samples_real,
    .bad = rl_bad_unary,
};

const rl_op_def rl_op_def_tanh = {
    .schema = "tanh(Tensor self) -> Tensor",
    .doc = "y = sinh(self) / cosh(self)",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE | RL_OP_FLOAT_RESULT,
    .saves = RL_SAVE_OUT(0),
    .pointwise = tanh_program,
    .vjp = tanh_vjp,
    .samples = rl_samples_real,
    .bad = rl_bad_unary,
};

const rl_op_def rl_op_def_tanh_backward = {
    .schema = "tanh_backward(Tensor grad_output, Tensor output) -> Tensor",
    .doc = "y = grad_output (1 - output^2)",
    .flags = RL_OP_POINTWISE,
    .saves = RL_SAVE_IN(0) | RL_SAVE_IN(1),
    .infer = rl_infer_floats_only,
    .pointwise = tanh_backward_program,
    .vjp = tanh_backward_vjp,
    .samples = rl_samples_pair_positive,
    .bad = tanh_backward_bad,
};

const rl_op_def rl_op_def_asinh = {
    .schema = "asinh(Tensor self) -> Tensor",
    .doc = "y such that sinh(y) = self",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE | RL_OP_FLOAT_RESULT,
    .saves = RL_SAVE_IN(0),
    .pointwise = asinh_program,
    .vjp = asinh_vjp,
    .samples = rl_samples_real,
    .bad = rl_bad_unary,
};

const rl_op_def rl_op_def_acosh = {
    .schema = "acosh(Tensor self) -> Tensor",
    .doc = "y >= 0 such that cosh(y) = self",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE | RL_OP_FLOAT_RESULT,
    .saves = RL_SAVE_IN(0),
    .pointwise = acosh_program,
    .vjp = acosh_vjp,
    .samples = acosh_samples,
    .bad = rl_bad_unary,
};

const rl_op_def rl_op_def_atanh = {
    .schema = "atanh(Tensor self) -> Tensor",
    .doc = "y such that tanh(y) = self",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE | RL_OP_FLOAT_RESULT,
    .saves = RL_SAVE_IN(0),
    .pointwise = atanh_program,
    .vjp = atanh_vjp,
    .samples = rl_samples_unit,
    .bad = rl_bad_unary,
};
