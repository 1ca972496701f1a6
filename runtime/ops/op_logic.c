/* SPDX-License-Identifier: Apache-2.0 */
/* Logic, bits, choices by a condition. */
#include "ops/op_shared.h"

/* Logic ------------------------------------------------------------------------------------------------------------ */

static rl_pw is_true(rl_builder *b, rl_pw p) {
    return NE(p, NUM(p, 0));
}
PROGRAM(logical_and, AND(is_true(b, x[0]), is_true(b, x[1])))
PROGRAM(logical_or, OR(is_true(b, x[0]), is_true(b, x[1])))
PROGRAM(logical_xor, NE(is_true(b, x[0]), is_true(b, x[1])))
PROGRAM(logical_not, EQ(x[0], NUM(x[0], 0)))

const rl_op_def rl_op_def_logical_and = {
    .schema = "logical_and(Tensor self, Tensor other) -> Tensor",
    .doc = "y = self != 0 and other != 0",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE | RL_OP_BOOL_RESULT | RL_OP_NO_GRAD,
    .pointwise = logical_and_program,
    .samples = rl_samples_pair_tensors,
    .bad = rl_bad_binary,
};

const rl_op_def rl_op_def_logical_or = {
    .schema = "logical_or(Tensor self, Tensor other) -> Tensor",
    .doc = "y = self != 0 or other != 0",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE | RL_OP_BOOL_RESULT | RL_OP_NO_GRAD,
    .pointwise = logical_or_program,
    .samples = rl_samples_pair_tensors,
    .bad = rl_bad_binary,
};

const rl_op_def rl_op_def_logical_xor = {
    .schema = "logical_xor(Tensor self, Tensor other) -> Tensor",
    .doc = "y = (self != 0) != (other != 0)",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE | RL_OP_BOOL_RESULT | RL_OP_NO_GRAD,
    .pointwise = logical_xor_program,
    .samples = rl_samples_pair_tensors,
    .bad = rl_bad_binary,
};

const rl_op_def rl_op_def_logical_not = {
    .schema = "logical_not(Tensor self) -> Tensor",
    .doc = "y = self == 0",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE | RL_OP_BOOL_RESULT | RL_OP_NO_GRAD,
    .pointwise = logical_not_program,
    .samples = rl_samples_number,
    .bad = rl_bad_unary,
};

/* Bits ------------------------------------------------------------------------------------------------------------- */

PROGRAM(bitwise_and, AND(x[0], x[1]))
PROGRAM(bitwise_or, OR(x[0], x[1]))
PROGRAM(bitwise_xor, OP2(XOR, x[0], x[1]))
PROGRAM(bitwise_not, call->compute == RL_BOOL ? EQ(x[0], NUM(x[0], 0)) : OP1(NOT, x[0]))
PROGRAM(bitwise_left_shift, OP2(SHL, x[0], x[1]))
PROGRAM(bitwise_right_shift, OP2(SHR, x[0], x[1]))

static const rl_bad bits_bad[] = {{"i64[2,3], i64[4]", RL_SHAPE_MISMATCH, "do not broadcast: 3 and 4"},
                                  {"f[2], i64[2]", RL_DTYPE_MISMATCH, "integer dtypes or bool"},
                                  {"i64[2], 0.5", RL_DTYPE_MISMATCH, "integer dtypes or bool"},
                                  {0}};
static const rl_bad shift_bad[] = {
    {"i64[2,3], i64[4]", RL_SHAPE_MISMATCH, "do not broadcast: 3 and 4"},
    {"f[2], i64[2]", RL_DTYPE_MISMATCH, "integer dtypes"},
    {"b[2], b[2]", RL_DTYPE_MISMATCH, "self and other must be of integer dtypes, not bool"},
    {0}};
static const rl_bad not_bad[] = {{"f[2]", RL_DTYPE_MISMATCH, "integer dtypes or bool"}, {0}};
static const rl_sample shift_samples[] = {{"i32[3,4], i32[3,4]"}, {"i64[3,1], i64[4]"}, {"u8[7], 3"}, {"i16[0,3], 1"},
                                          {"i8[5,7]t, 9"},        {"i64[33]s, 64"},     {0}};

const rl_op_def rl_op_def_bitwise_and = {
    .schema = "bitwise_and(Tensor self, Tensor|Scalar other) -> Tensor",
    .doc = "y = self & other",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE | RL_OP_NO_GRAD,
    .infer = rl_infer_no_float,
    .pointwise = bitwise_and_program,
    .samples = rl_samples_pair_integers,
    .bad = bits_bad,
};

const rl_op_def rl_op_def_bitwise_or = {
    .schema = "bitwise_or(Tensor self, Tensor|Scalar other) -> Tensor",
    .doc = "y = self | other",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE | RL_OP_NO_GRAD,
    .infer = rl_infer_no_float,
    .pointwise = bitwise_or_program,
    .samples = rl_samples_pair_integers,
    .bad = bits_bad,
};

const rl_op_def rl_op_def_bitwise_xor = {
    .schema = "bitwise_xor(Tensor self, Tensor|Scalar other) -> Tensor",
    .doc = "y = self ^ other",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE | RL_OP_NO_GRAD,
    .infer = rl_infer_no_float,
    .pointwise = bitwise_xor_program,
    .samples = rl_samples_pair_integers,
    .bad = bits_bad,
};

const rl_op_def rl_op_def_bitwise_not = {
    .schema = "bitwise_not(Tensor self) -> Tensor",
    .doc = "y = ~self; of a bool, whether it is false",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE | RL_OP_NO_GRAD,
    .infer = rl_infer_no_float,
    .pointwise = bitwise_not_program,
    .samples = rl_samples_integers,
    .bad = not_bad,
};

const rl_op_def rl_op_def_bitwise_left_shift = {
    .schema = "bitwise_left_shift(Tensor self, Tensor|Scalar other) -> Tensor",
    .doc = "y = self << other; 0 where other is negative or no less than the bits there are",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE | RL_OP_NO_GRAD,
    .infer = rl_infer_integers_only,
    .pointwise = bitwise_left_shift_program,
    .samples = shift_samples,
    .bad = shift_bad,
};

const rl_op_def rl_op_def_bitwise_right_shift = {
    .schema = "bitwise_right_shift(Tensor self, Tensor|Scalar other) -> Tensor",
    .doc = "y = self >> other, with the sign",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE | RL_OP_NO_GRAD,
    .infer = rl_infer_integers_only,
    .pointwise = bitwise_right_shift_program,
    .samples = shift_samples,
    .bad = shift_bad,
};

/* where, masked_fill ------------------------------------------------------------------------------------------------
 */

static rl_status check_condition(const rl_call *call, int arg) {
    rl_dtype dtype = rl_tensor_dtype(rl_arg_tensor(call, arg));
    return dtype == RL_U8 ? RL_OK : rl_check_dtype_is(call, arg, RL_BOOL); /* bytes: from before there was bool */
}

static rl_status where_infer(rl_call *call) {
    rl_status status = check_condition(call, 0);
    if (status == RL_OK)
        status = rl_infer_broadcast(call);
    for (int i = 1; i <= 2 && status == RL_OK; i++)
        status = rl_check_fits(call, i, call->compute);
    return status;
}
PROGRAM(where, SELECT(x[0], x[1], x[2]))

/* gself = g where the condition holds, else 0; gother the other way round */
static void where_vjp(rl_vjp *v) {
    if (rl_vjp_needs(v, 1))
        rl_vjp_set(v, 1, rl_only_where(X, G));
    if (rl_vjp_needs(v, 2))
        rl_vjp_set(v, 2, rl_only_where_not(X, G));
}

static const rl_sample where_samples[] = {{"b[3,4], n[3,4], n[3,4]"}, {"b[3,1], n[4], n[]"},     {"b[0,3], n[3], 0"},
                                          {"b[5,7]t, n[5,7], 1"},     {"b[33]s, n[33], n[33]s"}, {"b[4], 1, 0"},
                                          {"b[4]e, f[4], 0.5"},       {"b[3], f32[3], i64[3]"},  {0}};
static const rl_bad where_bad[] = {{"b[2,3], f[4], f[3]", RL_SHAPE_MISMATCH, "do not broadcast"},
                                   {"f[3], f[3], f[3]", RL_DTYPE_MISMATCH, "condition must be bool"},
                                   {0}};

const rl_op_def rl_op_def_where = {
    .schema = "where(Tensor condition, Tensor|Scalar self, Tensor|Scalar other) -> Tensor",
    .doc = "y = self where condition holds, else other",
    .flags = RL_OP_POINTWISE,
    .saves = RL_SAVE_IN(0),
    .infer = where_infer,
    .pointwise = where_program,
    .vjp = where_vjp,
    .samples = where_samples,
    .bad = where_bad,
    .as_is = RL_SAVE_IN(0),
};

/* The result keeps self's dtype, whatever value is. */
static rl_status masked_fill_infer(rl_call *call) {
    const rl_tensor *value = rl_arg_tensor(call, 2);
    rl_status status = check_condition(call, 1);
    if (status == RL_OK && value != NULL && value->ndim > 0)
        return rl_call_fail(call, RL_SHAPE_MISMATCH, "value must be a number or a tensor of no dimensions, has %d",
                            value->ndim);
    if (status == RL_OK)
        status = rl_infer_broadcast(call);
    call->meta[0].dtype = call->compute = (rl_dtype)rl_arg_tensor(call, 0)->dtype;
    return status == RL_OK ? rl_check_fits(call, 2, call->compute) : status;
}
PROGRAM(masked_fill, SELECT(x[1], x[2], x[0]))

/* gself = g where the mask does not hold; gvalue = sum of g where it does */
static void masked_fill_vjp(rl_vjp *v) {
    rl_tensor *mask = rl_vjp_input(v, 1);
    if (rl_vjp_needs(v, 0))
        rl_vjp_set(v, 0, rl_only_where_not(mask, G));
    if (rl_vjp_needs(v, 2))
        rl_vjp_set(v, 2, rl_only_where(mask, G));
}

static const rl_sample masked_fill_samples[] = {{"n[3,4], b[3,4], 1"},
                                                {"n[3,4], b[4], n[]"},
                                                {"n[0,3], b[3], 0"},
                                                {"f[5,7]t, b[5,7], 0.5"},
                                                {"n[33]s, b[33]s, 1"},
                                                {"n[4], b[2,4], 1"},
                                                {0}};
static const rl_bad masked_fill_bad[] = {{"f[2,3], b[4], 0", RL_SHAPE_MISMATCH, "do not broadcast"},
                                         {"f[3], f[3], 0", RL_DTYPE_MISMATCH, "mask must be bool"},
                                         {"f[3], b[3], f[3]", RL_SHAPE_MISMATCH, "no dimensions"},
                                         {0}};

const rl_op_def rl_op_def_masked_fill = {
    .schema = "masked_fill(Tensor self, Tensor mask, Tensor|Scalar value) -> Tensor",
    .doc = "y = value where mask holds, else self",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE,
    .saves = RL_SAVE_IN(1),
    .infer = masked_fill_infer,
    .pointwise = masked_fill_program,
    .vjp = masked_fill_vjp,
    .samples = masked_fill_samples,
    .bad = masked_fill_bad,
    .as_is = RL_SAVE_IN(1),
};
