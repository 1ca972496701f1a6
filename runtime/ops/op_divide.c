/* SPDX-License-Identifier: Apache-2.0 */
/* Division and its remainders. Of integers, a number 0 as divisor is an error; elements that are 0 give 0, since to see
 * them would take a pass over the divisor, and a wait for the device. */
#include <string.h>

#include "ops/op_shared.h"

/* Rounded quotients ----------------------------------------------------------------------------------------------- */

static rl_pw truncated(rl_builder *b, rl_pw p, rl_pw q) {
    return IS_FLOAT(p) ? OP1(TRUNC, DIV(p, q)) : OP2(IDIV, p, q);
}

/* Whether a remainder is not 0 and has another sign than the divisor: then the floor is one below. */
static rl_pw is_one_off(rl_builder *b, rl_pw remainder, rl_pw divisor) {
    rl_pw zero = NUM(remainder, 0);
    return AND(NE(remainder, zero), NE(LT(remainder, zero), LT(divisor, zero)));
}

/* As Python's //: from the exact remainder, so that 1 // 0.1 is 9. Method: CPython's float_divmod. */
static rl_pw floored(rl_builder *b, rl_pw p, rl_pw q) {
    if (!IS_FLOAT(p)) {
        rl_pw quotient = OP2(IDIV, p, q);
        return SELECT(is_one_off(b, OP2(IREM, p, q), q), SUB(quotient, NUM(quotient, 1)), quotient);
    }
    rl_pw ratio = DIV(p, q), remainder = OP2(FMOD, p, q);
    rl_pw quotient = DIV(SUB(p, remainder), q);
    quotient = SELECT(is_one_off(b, remainder, q), SUB(quotient, NUM(quotient, 1)), quotient);
    rl_pw floor = OP1(FLOOR, quotient);
    floor = SELECT(GT(SUB(quotient, floor), NUM(quotient, 0.5)), ADD(floor, NUM(floor, 1)), floor);
    floor = SELECT(EQ(quotient, NUM(quotient, 0)), MUL(ratio, NUM(ratio, 0)), floor);
    return SELECT(EQ(q, NUM(q, 0)), ratio, floor);
}

static rl_pw remainder_of(rl_builder *b, rl_pw p, rl_pw q) {
    rl_pw r = IS_FLOAT(p) ? OP2(FMOD, p, q) : OP2(IREM, p, q);
    return SELECT(is_one_off(b, r, q), ADD(r, q), r);
}

/* div ------------------------------------------------------------------------------------------------------------- */

enum { DIVIDE_EXACT, DIVIDE_TRUNC, DIVIDE_FLOOR, DIVIDE_UNKNOWN };

static uint32_t rounding(const char *word) {
    return *word == '\0'                ? DIVIDE_EXACT
           : strcmp(word, "trunc") == 0 ? DIVIDE_TRUNC
           : strcmp(word, "floor") == 0 ? DIVIDE_FLOOR
                                        : DIVIDE_UNKNOWN;
}
static uint32_t div_variant(const rl_call *call) {
    return rounding(rl_arg_word(call, 2));
}

/* What rounded quotients and remainders of integers refuse. */
static rl_status check_divisor(const rl_call *call) {
    if (call->compute == RL_BOOL)
        return rl_call_fail(call, RL_DTYPE_MISMATCH, "self and other must not be bool");
    if (!rl_dtype_is_float(call->compute) && rl_value_is_number(&call->args[1]) && rl_arg_double(call, 1) == 0.0)
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "other is 0: integers cannot be divided by it");
    return RL_OK;
}
static rl_status whole_infer(rl_call *call) {
    rl_status status = rl_infer_broadcast(call);
    return status == RL_OK ? check_divisor(call) : status;
}

static rl_status div_infer(rl_call *call) {
    uint32_t mode = div_variant(call);
    if (mode == DIVIDE_UNKNOWN)
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "rounding_mode must be None, 'trunc' or 'floor', got '%.40s'",
                            rl_arg_word(call, 2));
    if (mode != DIVIDE_EXACT)
        return whole_infer(call);
    return rl_infer_broadcast_as(call, RL_OP_FLOAT_RESULT);
}

static void div_program(rl_builder *b, const rl_call *call, const rl_pw *x, rl_pw *out) {
    uint32_t mode = div_variant(call);
    out[0] = mode == DIVIDE_EXACT   ? DIV(x[0], x[1])
             : mode == DIVIDE_TRUNC ? truncated(b, x[0], x[1])
                                    : floored(b, x[0], x[1]);
}

/* y = p / q: gp = g / q, gq = -g (p / q) / q. Rounded: 0 */
static void div_vjp(rl_vjp *v) {
    if (rounding(rl_vjp_word(v, 2)) != DIVIDE_EXACT)
        return;
    rl_value q = ARG(1);
    if (rl_vjp_needs(v, 0))
        rl_vjp_set(v, 0, rl_div(G, q));
    if (rl_vjp_needs(v, 1))
        rl_vjp_set(v, 1, rl_neg(rl_mul(G, rl_div(rl_div(X, q), q))));
}

static const rl_sample div_samples[] = {{"f[3,4], p[3,4]"},
                                        {"f[3,1], p[4]"},
                                        {"f[2,3,1], p[]"},
                                        {"f[0,3], p[3]"},
                                        {"f[5,7]t, p[5,7]"},
                                        {"f[33]s, p[33]"},
                                        {"f[4], p[4]e"},
                                        {"f[7], 2"},
                                        {"i64[7], 2"},
                                        {"i64[7], 3, rounding_mode=\"floor\""},
                                        {"i32[7], -3, rounding_mode=\"trunc\""},
                                        {"f[7], 0.3, rounding_mode=\"floor\""},
                                        {"f[7], 0.3, rounding_mode=\"trunc\""},
                                        {0}};
static const rl_bad div_bad[] = {{"f[2,3], f[4]", RL_SHAPE_MISMATCH, "do not broadcast: 3 and 4"},
                                 {"f[2], 2, rounding_mode=\"up\"", RL_INVALID_ARGUMENT, "rounding_mode must be"},
                                 {"u8[2], 0, rounding_mode=\"floor\"", RL_INVALID_ARGUMENT, "other is 0"},
                                 {0}};
static const rl_bad floor_bad[] = {{"f[2,3], f[4]", RL_SHAPE_MISMATCH, "do not broadcast: 3 and 4"},
                                   {"b[2], b[2]", RL_DTYPE_MISMATCH, "self and other must not be bool"},
                                   {"i64[2], 0", RL_INVALID_ARGUMENT, "other is 0: integers cannot be divided by it"},
                                   {0}};
static const rl_sample floor_samples[] = {{"f[3,4], p[3,4]"},
                                          {"f[3,1], p[4]"},
                                          {"f[2,3,1], p[]"},
                                          {"f[0,3], p[3]"},
                                          {"f[5,7]t, p[5,7]"},
                                          {"f[33]s, p[33]"},
                                          {"i64[7], 3"},
                                          {"i32[7], -3"},
                                          {"u8[7], 3"},
                                          {"f[7], -0.3"},
                                          {0}};

const rl_op_def rl_op_def_div = {
    .schema = "div(Tensor self, Tensor|Scalar other, *, str? rounding_mode=None) -> Tensor",
    .doc = "y = self / other; rounding_mode 'trunc' rounds toward zero, 'floor' down",
    .note = "Without a rounding_mode, integers give floats. Where rounded, integers divided by the number 0 are an "
            "error, by elements that are 0 they give 0.",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE,
    .saves = RL_SAVE_IN(0) | RL_SAVE_IN(1),
    .infer = div_infer,
    .pointwise = div_program,
    .variant = div_variant,
    .vjp = div_vjp,
    .samples = div_samples,
    .bad = div_bad,
};

static rl_status true_divide_lower(rl_call *call) {
    rl_tensor *self = rl_arg_tensor(call, 0);
    call->results[0] = call->inplace ? rl_div_(self, call->args[1]) : rl_div(self, call->args[1]);
    return rl_error_status();
}

const rl_op_def rl_op_def_true_divide = {
    .schema = "true_divide(Tensor self, Tensor|Scalar other) -> Tensor",
    .doc = "y = self / other",
    .flags = RL_OP_COMPOSITE | RL_OP_INPLACE,
    .lower = true_divide_lower,
    .samples = rl_samples_pair_positive,
    .bad = rl_bad_binary,
};

PROGRAM(floor_divide, floored(b, x[0], x[1]))

const rl_op_def rl_op_def_floor_divide = {
    .schema = "floor_divide(Tensor self, Tensor|Scalar other) -> Tensor",
    .doc = "y = floor(self / other), as Python's //",
    .note = "Of integers, a number 0 for other is an error; where an element of other is 0, y is 0.",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE | RL_OP_NO_GRAD,
    .infer = whole_infer,
    .pointwise = floor_divide_program,
    .samples = floor_samples,
    .bad = floor_bad,
};

/* Remainders ------------------------------------------------------------------------------------------------------ */

PROGRAM(remainder, remainder_of(b, x[0], x[1]))
VJP2(remainder, G, rl_neg(rl_mul(G, rl_div(X, ARG(1), .rounding_mode = "floor")))) /* gp = g, gq = -g floor(p / q) */
PROGRAM(fmod, IS_FLOAT(x[0]) ? OP2(FMOD, x[0], x[1]) : OP2(IREM, x[0], x[1]))
VJP2(fmod, G, rl_neg(rl_mul(G, rl_div(X, ARG(1), .rounding_mode = "trunc")))) /* gp = g, gq = -g trunc(p / q) */

const rl_op_def rl_op_def_remainder = {
    .schema = "remainder(Tensor self, Tensor|Scalar other) -> Tensor",
    .doc = "y = self - other floor(self / other), with the sign of other, as Python's %",
    .note = "Of integers, a number 0 for other is an error; where an element of other is 0, y is 0.",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE,
    .saves = RL_SAVE_IN(0) | RL_SAVE_IN(1),
    .infer = whole_infer,
    .pointwise = remainder_program,
    .vjp = remainder_vjp,
    .samples = floor_samples,
    .bad = floor_bad,
};

const rl_op_def rl_op_def_fmod = {
    .schema = "fmod(Tensor self, Tensor|Scalar other) -> Tensor",
    .doc = "y = self - other trunc(self / other), with the sign of self, as C's fmod",
    .note = "Of integers, a number 0 for other is an error; where an element of other is 0, y is 0.",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE,
    .saves = RL_SAVE_IN(0) | RL_SAVE_IN(1),
    .infer = whole_infer,
    .pointwise = fmod_program,
    .vjp = fmod_vjp,
    .samples = floor_samples,
    .bad = floor_bad,
};
