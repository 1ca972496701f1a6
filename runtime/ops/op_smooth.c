/* SPDX-License-Identifier: Apache-2.0 */
/* Smooth activations. sigmoid stands in op_exp.c, tanh in op_trig.c. */
#include "ops/op_epilogue.h"
#include "ops/op_shared.h"

static const rl_bad float_bad[] = {
    {"i64[2]", RL_DTYPE_MISMATCH, "floating"}, {"None", RL_INVALID_ARGUMENT, "self"}, {0}};

/* elu, selu, celu ---------------------------------------------------------------------------------------------------
 */

/* scale x above 0, else scale alpha (e^(input_scale x) - 1) */
PROGRAM(elu, MUL(x[2], SELECT(GT(x[0], NUM(x[0], 0)), x[0], MUL(x[1], OP1(EXPM1, MUL(x[0], x[3]))))))

/* gx = g scale above 0, else g scale alpha input_scale e^(input_scale x) */
static void elu_vjp(rl_vjp *v) {
    double alpha = NUMBER(1), scale = NUMBER(2), inner = NUMBER(3);
    rl_tensor *low = rl_mul(G, rl_mul(rl_exp(rl_mul(X, inner)), alpha * scale * inner));
    rl_vjp_set(v, 0, rl_where(rl_gt(X, 0), rl_times(G, rl_value_of_float(scale)), low));
}

static const rl_sample elu_samples[] = {{"f[3,4]"}, {"f[]"}, {"f[0,3]"}, {"f[5,7]t, 0.25"}, {"f[33]s, 1.5, 2, 0.5"},
                                        {0}};

const rl_op_def rl_op_def_elu = {
    .schema = "elu(Tensor self, Scalar alpha=1, Scalar scale=1, Scalar input_scale=1) -> Tensor",
    .doc = "y = scale self where self > 0, else scale alpha (e^(input_scale self) - 1)",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE,
    .saves = RL_SAVE_IN(0),
    .infer = rl_infer_floats_only,
    .pointwise = elu_program,
    .vjp = elu_vjp,
    .samples = elu_samples,
    .bad = float_bad,
};

/* An op that is elu with other numbers. */
static rl_status lower_to_elu(rl_call *call, double alpha, double scale, double input_scale) {
    rl_tensor *self = rl_arg_tensor(call, 0);
    rl_elu_options options = {sizeof options, alpha, scale, input_scale};
    call->results[0] = call->inplace ? rl_op_elu_(self, &options) : rl_op_elu(self, &options);
    return rl_error_status();
}

/* Self-normalizing: Klambauer et al. 2017, whose fixed point gives the two numbers. */
static rl_status selu_lower(rl_call *call) {
    return lower_to_elu(call, 1.6732632423543772848170429916717, 1.0507009873554804934193349852946, 1.0);
}
static rl_status celu_lower(rl_call *call) {
    double alpha = rl_arg_double(call, 1);
    if (alpha == 0.0)
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "alpha must not be 0");
    return lower_to_elu(call, alpha, 1.0, 1.0 / alpha);
}

static const rl_sample celu_samples[] = {{"f[3,4]"}, {"f[]"}, {"f[0,3]"}, {"f[5,7]t, 0.25"}, {"f[33]s, 1.5"}, {0}};
static const rl_bad celu_bad[] = {{"f[2], 0.0", RL_INVALID_ARGUMENT, "alpha must not be 0"}, {0}};

const rl_op_def rl_op_def_selu = {
    .schema = "selu(Tensor self) -> Tensor",
    .doc = "y = 1.0507 (self where self > 0, else 1.6733 (e^self - 1))",
    .flags = RL_OP_COMPOSITE | RL_OP_INPLACE,
    .lower = selu_lower,
    .samples = rl_samples_floats,
    .bad = float_bad,
};

const rl_op_def rl_op_def_celu = {
    .schema = "celu(Tensor self, Scalar alpha=1) -> Tensor",
    .doc = "y = self where self > 0, else alpha (e^(self / alpha) - 1)",
    .flags = RL_OP_COMPOSITE | RL_OP_INPLACE,
    .lower = celu_lower,
    .samples = celu_samples,
    .bad = celu_bad,
};

/* silu --------------------------------------------------------------------------------------------------------------
 */

PROGRAM(silu, MUL(x[0], OP1(SIGMOID, x[0])))
VJP(silu, rl_silu_backward(G, X))

static rl_pw silu_slope(rl_builder *b, rl_pw p) {
    rl_pw s = OP1(SIGMOID, p), one = NUM(p, 1);
    return MUL(s, ADD(one, MUL(p, SUB(one, s))));
}
PROGRAM(silu_backward, MUL(x[0], silu_slope(b, x[1])))

/* z = g f'(x), s = sigmoid(x): gg = h f'(x), gx = h g s (1 - s) (2 + x (1 - 2 s)) */
static void silu_backward_vjp(rl_vjp *v) {
    rl_tensor *x = rl_vjp_input(v, 1);
    if (rl_vjp_needs(v, 0))
        rl_vjp_set(v, 0, rl_silu_backward(G, x));
    if (rl_vjp_needs(v, 1)) {
        rl_tensor *s = rl_sigmoid(x);
        rl_tensor *bend = rl_sigmoid_backward(rl_add(rl_mul(x, rl_rsub(s, 1, .alpha = 2)), 2), s);
        rl_vjp_set(v, 1, rl_mul(rl_mul(G, X), bend));
    }
}

static const rl_sample backward_samples[] = {
    {"f[3,4], f[3,4]"}, {"f[], f[]"}, {"f[0,3], f[0,3]"}, {"f[5,7]t, f[5,7]"}, {0}};

const rl_op_def rl_op_def_silu = {
    .schema = "silu(Tensor self) -> Tensor",
    .doc = "y = self sigmoid(self)",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE,
    .saves = RL_SAVE_IN(0),
    .infer = rl_infer_floats_only,
    .pointwise = silu_program,
    .vjp = silu_vjp,
    .samples = rl_samples_floats,
    .bad = float_bad,
};

const rl_op_def rl_op_def_silu_backward = {
    .schema = "silu_backward(Tensor grad_output, Tensor self) -> Tensor",
    .doc = "y = grad_output s (1 + self (1 - s)), s = sigmoid(self)",
    .flags = RL_OP_POINTWISE,
    .saves = RL_SAVE_IN(0) | RL_SAVE_IN(1),
    .infer = rl_infer_floats_only,
    .pointwise = silu_backward_program,
    .vjp = silu_backward_vjp,
    .samples = backward_samples,
};

/* gelu --------------------------------------------------------------------------------------------------------------
 */

#define SQRT_HALF 0.70710678118654752440        /* sqrt(1/2) */
#define INVERSE_SQRT_2PI 0.39894228040143267794 /* 1 / sqrt(2 pi) */
#define SQRT_2_OVER_PI 0.79788456080286535588   /* sqrt(2 / pi) */
#define CUBIC 0.044715

static bool by_tanh(const char *approximate) {
    return *approximate == 't';
}
static uint32_t gelu_variant(const rl_call *call) {
    return by_tanh(rl_arg_word(call, 1));
}
static uint32_t gelu_backward_variant(const rl_call *call) {
    return by_tanh(rl_arg_word(call, 2));
}
static rl_status check_approximate(rl_call *call, int arg) {
    if (!rl_arg_is(call, arg, "none") && !rl_arg_is(call, arg, "tanh"))
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "approximate must be 'none' or 'tanh', got '%.40s'",
                            rl_arg_word(call, arg));
    return rl_infer_floats_only(call);
}
static rl_status gelu_infer(rl_call *call) {
    return check_approximate(call, 1);
}
static rl_status gelu_backward_infer(rl_call *call) {
    return check_approximate(call, 2);
}

/* The distribution function of the normal distribution. */
static rl_pw normal_cdf(rl_builder *b, rl_pw p) {
    return MUL(NUM(p, 0.5), ADD(NUM(p, 1), OP1(ERF, MUL(p, NUM(p, SQRT_HALF)))));
}
/* tanh(sqrt(2 / pi) (p + 0.044715 p^3)): twice the distribution function less one, nearly. */
static rl_pw tanh_of_cubic(rl_builder *b, rl_pw p) {
    rl_pw cube = MUL(MUL(p, p), p);
    return TANH(MUL(NUM(p, SQRT_2_OVER_PI), ADD(p, MUL(NUM(p, CUBIC), cube))));
}
rl_pw rl_gelu_value(rl_builder *b, bool tanh, rl_pw p) {
    if (!tanh)
        return MUL(p, normal_cdf(b, p));
    return MUL(MUL(NUM(p, 0.5), p), ADD(NUM(p, 1), tanh_of_cubic(b, p)));
}
/* Phi(p) + p phi(p); or (1 + t) / 2 + p (1 - t^2) u' / 2 with t = tanh(u) */
static rl_pw gelu_slope(rl_builder *b, bool tanh, rl_pw p) {
    rl_pw half = NUM(p, 0.5), one = NUM(p, 1), square = MUL(p, p);
    if (!tanh) {
        rl_pw density = MUL(NUM(p, INVERSE_SQRT_2PI), EXP(MUL(NEG(half), square)));
        return ADD(normal_cdf(b, p), MUL(p, density));
    }
    rl_pw t = tanh_of_cubic(b, p);
    rl_pw inner = MUL(NUM(p, SQRT_2_OVER_PI), ADD(one, MUL(NUM(p, 3 * CUBIC), square)));
    return MUL(half, ADD(ADD(one, t), MUL(MUL(p, SUB(one, MUL(t, t))), inner)));
}
PROGRAM(gelu, rl_gelu_value(b, by_tanh(rl_arg_word(call, 1)), x[0]))
VJP(gelu, rl_gelu_backward(G, X, .approximate = rl_vjp_word(v, 1)))
PROGRAM(gelu_backward, MUL(x[0], gelu_slope(b, by_tanh(rl_arg_word(call, 2)), x[1])))

/* f'' = phi(x) (2 - x^2) */
static rl_tensor *gelu_bend(rl_tensor *x) {
    rl_tensor *square = rl_square(x);
    rl_tensor *density = rl_mul(rl_exp(rl_mul(square, -0.5)), INVERSE_SQRT_2PI);
    return rl_mul(density, rl_rsub(square, 2));
}
/* f'' = (1 - t^2) (u' + x (u'' / 2 - t u'^2)), u' = k (1 + 3 c x^2), u'' = 6 k c x */
static rl_tensor *gelu_tanh_bend(rl_tensor *x) {
    rl_tensor *square = rl_square(x);
    rl_tensor *u = rl_mul(rl_mul(x, rl_add(rl_mul(square, CUBIC), 1)), SQRT_2_OVER_PI);
    rl_tensor *slope = rl_mul(rl_add(rl_mul(square, 3 * CUBIC), 1), SQRT_2_OVER_PI);
    rl_tensor *t = rl_tanh(u);
    rl_tensor *bent = rl_sub(rl_mul(x, 3 * SQRT_2_OVER_PI * CUBIC), rl_mul(t, rl_square(slope)));
    return rl_mul(rl_rsub(rl_square(t), 1), rl_add(slope, rl_mul(x, bent)));
}
/* z = g f'(x): gg = h f'(x), gx = h g f''(x) */
static void gelu_backward_vjp(rl_vjp *v) {
    rl_tensor *x = rl_vjp_input(v, 1);
    const char *approximate = rl_vjp_word(v, 2);
    if (rl_vjp_needs(v, 0))
        rl_vjp_set(v, 0, rl_gelu_backward(G, x, .approximate = approximate));
    if (rl_vjp_needs(v, 1))
        rl_vjp_set(v, 1, rl_mul(rl_mul(G, X), by_tanh(approximate) ? gelu_tanh_bend(x) : gelu_bend(x)));
}

static const rl_sample gelu_samples[] = {
    {"f[3,4]"}, {"f[]"}, {"f[0,3]"}, {"f[5,7]t, approximate=\"tanh\""}, {"f[33]s, approximate=\"tanh\""}, {0}};
static const rl_bad gelu_bad[] = {{"f[2], approximate=\"fast\"", RL_INVALID_ARGUMENT, "approximate must be"},
                                  {"i64[2]", RL_DTYPE_MISMATCH, "floating"},
                                  {0}};
static const rl_sample gelu_backward_samples[] = {
    {"f[3,4], f[3,4]"}, {"f[0,3], f[0,3]"}, {"f[5,7]t, f[5,7], approximate=\"tanh\""}, {0}};

const rl_op_def rl_op_def_gelu = {
    .schema = "gelu(Tensor self, *, str approximate='none') -> Tensor",
    .doc = "y = self Phi(self), Phi the distribution function of the normal distribution, or by tanh",
    .note = "'tanh' is self (1 + tanh(sqrt(2 / pi) (self + 0.044715 self^3))) / 2.",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE,
    .saves = RL_SAVE_IN(0),
    .infer = gelu_infer,
    .pointwise = gelu_program,
    .variant = gelu_variant,
    .vjp = gelu_vjp,
    .samples = gelu_samples,
    .bad = gelu_bad,
};

const rl_op_def rl_op_def_gelu_backward = {
    .schema = "gelu_backward(Tensor grad_output, Tensor self, *, str approximate='none') -> Tensor",
    .doc = "y = grad_output times the derivative of gelu at self",
    .flags = RL_OP_POINTWISE,
    .saves = RL_SAVE_IN(0) | RL_SAVE_IN(1),
    .infer = gelu_backward_infer,
    .pointwise = gelu_backward_program,
    .variant = gelu_backward_variant,
    .vjp = gelu_backward_vjp,
    .samples = gelu_backward_samples,
};

/* softplus, log_sigmoid, mish ----------------------------------------------------------------------------------------
 */

PROGRAM(softplus, SELECT(GT(MUL(x[0], x[1]), x[2]), x[0], DIV(OP1(LOG1P, EXP(MUL(x[0], x[1]))), x[1])))
/* gx = g sigmoid(beta x), or g where the op is linear */
static void softplus_vjp(rl_vjp *v) {
    rl_tensor *z = rl_times(X, ARG(1));
    rl_vjp_set(v, 0, rl_where(rl_gt(z, ARG(2)), G, rl_mul(G, rl_sigmoid(z))));
}

static const rl_sample softplus_samples[] = {{"f[3,4]"}, {"f[]"}, {"f[0,3]"}, {"f[5,7]t, 0.5"}, {"f[33]s, 2, 1"}, {0}};

const rl_op_def rl_op_def_softplus = {
    .schema = "softplus(Tensor self, Scalar beta=1, Scalar threshold=20) -> Tensor",
    .doc = "y = log(1 + e^(beta self)) / beta, and self where beta self > threshold",
    .flags = RL_OP_POINTWISE,
    .saves = RL_SAVE_IN(0),
    .infer = rl_infer_floats_only,
    .pointwise = softplus_program,
    .vjp = softplus_vjp,
    .samples = softplus_samples,
    .bad = float_bad,
};

PROGRAM(log_sigmoid, SUB(MIN(x[0], NUM(x[0], 0)), OP1(LOG1P, EXP(NEG(ABS(x[0]))))))
VJP(log_sigmoid, rl_mul(G, rl_sigmoid(rl_neg(X)))) /* gx = g sigmoid(-x) */

const rl_op_def rl_op_def_log_sigmoid = {
    .schema = "log_sigmoid(Tensor self) -> Tensor",
    .doc = "y = log(1 / (1 + e^-self))",
    .flags = RL_OP_POINTWISE,
    .saves = RL_SAVE_IN(0),
    .infer = rl_infer_floats_only,
    .pointwise = log_sigmoid_program,
    .vjp = log_sigmoid_vjp,
    .samples = rl_samples_floats,
    .bad = float_bad,
};

/* log(1 + e^p) without overflow */
static rl_pw softplus_of(rl_builder *b, rl_pw p) {
    return ADD(MAX(p, NUM(p, 0)), OP1(LOG1P, EXP(NEG(ABS(p)))));
}
PROGRAM(mish, MUL(x[0], TANH(softplus_of(b, x[0]))))

/* t = tanh(softplus(x)): gx = g (t + x sigmoid(x) (1 - t^2)) */
static void mish_vjp(rl_vjp *v) {
    rl_tensor *t = rl_tanh(rl_softplus(X));
    rl_vjp_set(v, 0, rl_mul(G, rl_add(t, rl_tanh_backward(rl_silu(X), t))));
}

const rl_op_def rl_op_def_mish = {
    .schema = "mish(Tensor self) -> Tensor",
    .doc = "y = self tanh(log(1 + e^self))",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE,
    .saves = RL_SAVE_IN(0),
    .infer = rl_infer_floats_only,
    .pointwise = mish_program,
    .vjp = mish_vjp,
    .samples = rl_samples_floats,
    .bad = float_bad,
};

/* softsign, tanhshrink -----------------------------------------------------------------------------------------------
 */

PROGRAM(softsign, DIV(x[0], ADD(NUM(x[0], 1), ABS(x[0]))))
VJP(softsign, rl_div(G, rl_square(rl_add(rl_abs(X), 1)))) /* gx = g / (1 + |x|)^2 */
PROGRAM(tanhshrink, SUB(x[0], TANH(x[0])))
VJP(tanhshrink, rl_mul(G, rl_square(rl_tanh(X)))) /* gx = g tanh(x)^2 */

const rl_op_def rl_op_def_softsign = {
    .schema = "softsign(Tensor self) -> Tensor",
    .doc = "y = self / (1 + |self|)",
    .flags = RL_OP_POINTWISE | RL_OP_FLOAT_RESULT,
    .saves = RL_SAVE_IN(0),
    .pointwise = softsign_program,
    .vjp = softsign_vjp,
    .samples = rl_samples_real,
    .bad = rl_bad_unary,
};

const rl_op_def rl_op_def_tanhshrink = {
    .schema = "tanhshrink(Tensor self) -> Tensor",
    .doc = "y = self - tanh(self)",
    .flags = RL_OP_POINTWISE | RL_OP_FLOAT_RESULT,
    .saves = RL_SAVE_IN(0),
    .pointwise = tanhshrink_program,
    .vjp = tanhshrink_vjp,
    .samples = rl_samples_real,
    .bad = rl_bad_unary,
};
