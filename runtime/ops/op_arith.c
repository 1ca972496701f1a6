/* SPDX-License-Identifier: Apache-2.0 */
/* Sums, products, signs. Division stands in op_divide.c, powers in op_power.c. */
#include "ops/op_shared.h"

/* add, sub, rsub -------------------------------------------------------------------------------------------------- */

static bool alpha_is_one(const rl_call *call) {
    return rl_arg_double(call, 2) == 1.0;
}
static uint32_t add_variant(const rl_call *call) {
    return alpha_is_one(call);
}

static rl_status add_infer(rl_call *call) {
    rl_status status = rl_infer_broadcast(call);
    if (status == RL_OK && call->args[2].kind == RL_VALUE_FLOAT && !rl_dtype_is_float(call->compute))
        return rl_call_fail(call, RL_DTYPE_MISMATCH, "alpha must be an integer where the result is %s, got %g",
                            rl_dtype_name(call->compute), rl_arg_double(call, 2));
    return status;
}
static rl_status sub_infer(rl_call *call) {
    for (int i = 0; i < 2; i++)
        if (call->args[i].kind == RL_VALUE_BOOL || rl_tensor_dtype(rl_arg_tensor(call, i)) == RL_BOOL)
            return rl_call_fail(call, RL_DTYPE_MISMATCH,
                                "%s is bool, of which there is no difference: use logical_xor, logical_not, or cast it",
                                i == 0 ? "self" : "other");
    return add_infer(call);
}

/* alpha times p, in the type that p has. */
static rl_pw scaled(rl_builder *b, const rl_call *call, rl_pw p, rl_pw alpha) {
    return alpha_is_one(call) ? p : MUL(p, alpha);
}
PROGRAM(add, ADD(x[0], scaled(b, call, x[1], x[2])))
PROGRAM(sub, SUB(x[0], scaled(b, call, x[1], x[2])))
PROGRAM(rsub, SUB(x[1], scaled(b, call, x[0], x[2])))
VJP2(add, G, rl_times(G, ARG(2)))          /* gx = g, gy = alpha g */
VJP2(sub, G, rl_neg(rl_times(G, ARG(2))))  /* gx = g, gy = -alpha g */
VJP2(rsub, rl_neg(rl_times(G, ARG(2))), G) /* gx = -alpha g, gy = g */

static const rl_sample add_samples[] = {{"n[3,4], n[3,4]"},
                                        {"n[3,1], n[4]"},
                                        {"n[2,3,1], n[]"},
                                        {"n[0,3], n[3]"},
                                        {"n[5,7]t, n[5,7]"},
                                        {"n[33]s, n[33]"},
                                        {"n[4], n[4]e"},
                                        {"n[7], 2"},
                                        {"f[7], 0.5"},
                                        {"n[3], n[3], alpha=2"},
                                        {"f[3], f[3], alpha=-0.5"},
                                        {"f32[3], i64[3]"},
                                        {"f32[3], f64[]"},
                                        {0}};
static const rl_bad add_bad[] = {{"f[2,3], f[4]", RL_SHAPE_MISMATCH, "do not broadcast: 3 and 4"},
                                 {"i64[2], i64[2], alpha=0.5", RL_DTYPE_MISMATCH, "alpha must be an integer"},
                                 {"None, f[4]", RL_INVALID_ARGUMENT, "self"},
                                 {0}};
static const rl_bad sub_bad[] = {{"f[2,3], f[4]", RL_SHAPE_MISMATCH, "do not broadcast: 3 and 4"},
                                 {"b[2], b[2]", RL_DTYPE_MISMATCH, "self is bool"},
                                 {"f[2], b[2]", RL_DTYPE_MISMATCH, "other is bool"},
                                 {"i64[2], true", RL_DTYPE_MISMATCH, "other is bool"},
                                 {"b[2], 1", RL_DTYPE_MISMATCH, "self is bool"},
                                 {0}};
/* as add_samples, without bool tensors */
static const rl_sample sub_samples[] = {{"f[3,4], f[3,4]"},
                                        {"f[3,1], f[4]"},
                                        {"f[2,3,1], f[]"},
                                        {"f[0,3], f[3]"},
                                        {"f[5,7]t, f[5,7]"},
                                        {"f[33]s, f[33]"},
                                        {"f[4], f[4]e"},
                                        {"i32[7], 2"},
                                        {"i64[7], i8[7]"},
                                        {"u8[7], u8[7]"},
                                        {"f[3], f[3], alpha=-0.5"},
                                        {0}};

const rl_op_def rl_op_def_add = {
    .schema = "add(Tensor self, Tensor|Scalar other, *, Scalar alpha=1) -> Tensor",
    .doc = "y = self + alpha other",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE,
    .infer = add_infer,
    .pointwise = add_program,
    .variant = add_variant,
    .vjp = add_vjp,
    .samples = add_samples,
    .bad = add_bad,
};

const rl_op_def rl_op_def_sub = {
    .schema = "sub(Tensor self, Tensor|Scalar other, *, Scalar alpha=1) -> Tensor",
    .doc = "y = self - alpha other",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE,
    .infer = sub_infer,
    .pointwise = sub_program,
    .variant = add_variant,
    .vjp = sub_vjp,
    .samples = sub_samples,
    .bad = sub_bad,
};

const rl_op_def rl_op_def_rsub = {
    .schema = "rsub(Tensor self, Tensor|Scalar other, *, Scalar alpha=1) -> Tensor",
    .doc = "y = other - alpha self",
    .flags = RL_OP_POINTWISE,
    .infer = sub_infer,
    .pointwise = rsub_program,
    .variant = add_variant,
    .vjp = rsub_vjp,
    .samples = sub_samples,
    .bad = sub_bad,
};

/* mul, addcmul, addcdiv, lerp -------------------------------------------------------------------------------------- */

PROGRAM(mul, MUL(x[0], x[1]))
VJP2(mul, rl_mul(G, ARG(1)), rl_mul(G, ARG(0))) /* gx = g y, gy = g x */

const rl_op_def rl_op_def_mul = {
    .schema = "mul(Tensor self, Tensor|Scalar other) -> Tensor",
    .doc = "y = self other",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE,
    .saves = RL_SAVE_IN(0) | RL_SAVE_IN(1),
    .pointwise = mul_program,
    .vjp = mul_vjp,
    .samples = rl_samples_pair,
    .bad = rl_bad_binary,
};

PROGRAM(addcmul, ADD(x[0], MUL(x[3], MUL(x[1], x[2]))))
PROGRAM(addcdiv, ADD(x[0], MUL(x[3], DIV(x[1], x[2]))))

/* y = s + c p q: gs = g, gp = c g q, gq = c g p */
static void addcmul_vjp(rl_vjp *v) {
    rl_tensor *p = rl_vjp_input(v, 1), *q = rl_vjp_input(v, 2);
    rl_vjp_set(v, 0, G);
    if (rl_vjp_needs(v, 1))
        rl_vjp_set(v, 1, rl_times(rl_mul(G, q), ARG(3)));
    if (rl_vjp_needs(v, 2))
        rl_vjp_set(v, 2, rl_times(rl_mul(G, p), ARG(3)));
}

/* y = s + c p / q: gs = g, gp = c g / q, gq = -c g p / q^2 */
static void addcdiv_vjp(rl_vjp *v) {
    rl_tensor *p = rl_vjp_input(v, 1), *q = rl_vjp_input(v, 2);
    rl_vjp_set(v, 0, G);
    if (rl_vjp_needs(v, 1))
        rl_vjp_set(v, 1, rl_times(rl_div(G, q), ARG(3)));
    if (rl_vjp_needs(v, 2))
        rl_vjp_set(v, 2, rl_neg(rl_times(rl_mul(G, rl_div(p, rl_mul(q, q))), ARG(3))));
}

static const rl_sample addcmul_samples[] = {{"n[3,4], n[3,4], n[3,4]"},
                                            {"n[3,1], n[4], n[]"},
                                            {"n[0,3], n[3], n[3]"},
                                            {"f[5,7]t, f[5,7], f[7], value=0.5"},
                                            {"f[33]s, f[33], f[33], value=-2"},
                                            {0}};
static const rl_sample addcdiv_samples[] = {{"f[3,4], f[3,4], p[3,4]"},
                                            {"f[3,1], f[4], p[]"},
                                            {"f[0,3], f[3], p[3]"},
                                            {"f[5,7]t, f[5,7], p[7], value=0.5"},
                                            {"f[33]s, f[33], p[33], value=-2"},
                                            {0}};
static const rl_bad addcmul_bad[] = {{"f[2,3], f[4], f[3]", RL_SHAPE_MISMATCH, "do not broadcast"}, {0}};
static const rl_bad addcdiv_bad[] = {{"f[2,3], f[4], f[3]", RL_SHAPE_MISMATCH, "do not broadcast"},
                                     {"i64[2], i64[2], i64[2]", RL_DTYPE_MISMATCH, "floating"},
                                     {0}};

const rl_op_def rl_op_def_addcmul = {
    .schema = "addcmul(Tensor self, Tensor tensor1, Tensor tensor2, *, Scalar value=1) -> Tensor",
    .doc = "y = self + value tensor1 tensor2",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE,
    .saves = RL_SAVE_IN(1) | RL_SAVE_IN(2),
    .infer = rl_infer_no_bool,
    .pointwise = addcmul_program,
    .vjp = addcmul_vjp,
    .samples = addcmul_samples,
    .bad = addcmul_bad,
    .sample_dtypes = RL_SAMPLE_NO_BOOL,
};

const rl_op_def rl_op_def_addcdiv = {
    .schema = "addcdiv(Tensor self, Tensor tensor1, Tensor tensor2, *, Scalar value=1) -> Tensor",
    .doc = "y = self + value tensor1 / tensor2",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE,
    .saves = RL_SAVE_IN(1) | RL_SAVE_IN(2),
    .infer = rl_infer_floats_only,
    .pointwise = addcdiv_program,
    .vjp = addcdiv_vjp,
    .samples = addcdiv_samples,
    .bad = addcdiv_bad,
};

/* From the nearer end, so that weight = 1 gives `end` exactly. */
PROGRAM(lerp, SELECT(LT(x[2], NUM(x[2], 0.5)), ADD(x[0], MUL(x[2], SUB(x[1], x[0]))),
                     SUB(x[1], MUL(SUB(x[1], x[0]), SUB(NUM(x[2], 1), x[2])))))

/* y = (1 - w) s + w e: gs = (1 - w) g, ge = w g, gw = (e - s) g */
static void lerp_vjp(rl_vjp *v) {
    rl_value w = ARG(2);
    if (rl_vjp_needs(v, 0))
        rl_vjp_set(v, 0, rl_sub(G, rl_mul(G, w)));
    if (rl_vjp_needs(v, 1))
        rl_vjp_set(v, 1, rl_mul(G, w));
    if (rl_vjp_needs(v, 2))
        rl_vjp_set(v, 2, rl_mul(G, rl_sub(rl_vjp_input(v, 1), X)));
}

static const rl_sample lerp_samples[] = {{"f[3,4], f[3,4], 0.25"},  {"f[3,1], f[4], f[]"},   {"f[0,3], f[3], 0.5"},
                                         {"f[5,7]t, f[5,7], u[7]"}, {"f[33]s, f[33], 0.75"}, {0}};
static const rl_bad lerp_bad[] = {{"f[2,3], f[4], 0.5", RL_SHAPE_MISMATCH, "do not broadcast"},
                                  {"i64[2], i64[2], 2", RL_DTYPE_MISMATCH, "floating"},
                                  {0}};

const rl_op_def rl_op_def_lerp = {
    .schema = "lerp(Tensor self, Tensor end, Tensor|Scalar weight) -> Tensor",
    .doc = "y = self + weight (end - self)",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE,
    .saves = RL_SAVE_IN(0) | RL_SAVE_IN(1) | RL_SAVE_IN(2),
    .infer = rl_infer_floats_only,
    .pointwise = lerp_program,
    .vjp = lerp_vjp,
    .samples = lerp_samples,
    .bad = lerp_bad,
};

/* Signs ---------------------------------------------------------------------------------------------------------- */

PROGRAM(neg, NEG(x[0]))
VJP(neg, rl_neg(G)) /* gx = -g */
static const rl_bad neg_bad[] = {{"b[2]", RL_DTYPE_MISMATCH, "bool"}, {"None", RL_INVALID_ARGUMENT, "self"}, {0}};

const rl_op_def rl_op_def_neg = {
    .schema = "neg(Tensor self) -> Tensor",
    .doc = "y = -self",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE,
    .infer = rl_infer_no_bool,
    .pointwise = neg_program,
    .vjp = neg_vjp,
    .samples = rl_samples_real,
    .bad = neg_bad,
};

static rl_status positive_lower(rl_call *call) {
    call->results[0] = rl_arg_tensor(call, 0);
    return call->results[0]->dtype == RL_BOOL ? rl_call_fail(call, RL_DTYPE_MISMATCH, "self must not be bool") : RL_OK;
}

const rl_op_def rl_op_def_positive = {
    .schema = "positive(Tensor self) -> Tensor",
    .doc = "y = +self, which is self",
    .flags = RL_OP_COMPOSITE,
    .lower = positive_lower,
    .samples = rl_samples_real,
    .bad = neg_bad,
};

PROGRAM(abs, ABS(x[0]))
VJP(abs, rl_mul(G, rl_sign(X))) /* gx = g sign(x) */

const rl_op_def rl_op_def_abs = {
    .schema = "abs(Tensor self) -> Tensor",
    .doc = "y = |self|",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE,
    .saves = RL_SAVE_IN(0),
    .infer = rl_infer_no_bool,
    .pointwise = abs_program,
    .vjp = abs_vjp,
    .samples = rl_samples_real,
    .bad = rl_bad_no_bool,
};

/* (x > 0) - (x < 0) : NaN gives 0 */
PROGRAM(sign, CAST(SUB(GT(x[0], NUM(x[0], 0)), LT(x[0], NUM(x[0], 0))), rl_pw_dtype(b, x[0])))

const rl_op_def rl_op_def_sign = {
    .schema = "sign(Tensor self) -> Tensor",
    .doc = "y = 1 where self > 0, -1 where self < 0, else 0",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE,
    .pointwise = sign_program,
    .vjp = rl_vjp_zero,
    .samples = rl_samples_number,
    .bad = rl_bad_unary,
};

const rl_op_def rl_op_def_sgn = {
    .schema = "sgn(Tensor self) -> Tensor",
    .doc = "y = sign(self), for real numbers",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE,
    .pointwise = sign_program,
    .vjp = rl_vjp_zero,
    .samples = rl_samples_number,
    .bad = rl_bad_unary,
};
