/* SPDX-License-Identifier: Apache-2.0 */
/* Activations made of straight pieces. Smooth ones stand in op_smooth.c. */
#include "ops/op_shared.h"

/* relu, threshold ---------------------------------------------------------------------------------------------------
 */

PROGRAM(relu, MAX(NUM(x[0], 0), x[0]))    /* of equal ones MAX gives the second: -0 stays */
VJP(relu, rl_threshold_backward(G, Y, 0)) /* gx = g where y > 0 */
PROGRAM(threshold, SELECT(LE(x[0], x[1]), x[2], x[0]))
VJP(threshold, rl_threshold_backward(G, X, ARG(1))) /* gx = g where x > threshold */
PROGRAM(threshold_backward, SELECT(LE(x[1], x[2]), NUM(x[0], 0), x[0]))
VJP(threshold_backward, rl_threshold_backward(G, rl_vjp_input(v, 1), ARG(2))) /* linear in g, flat in x */

const rl_op_def rl_op_def_relu = {
    .schema = "relu(Tensor self) -> Tensor",
    .doc = "y = max(self, 0)",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE,
    .saves = RL_SAVE_OUT(0),
    .infer = rl_infer_no_bool,
    .pointwise = relu_program,
    .vjp = relu_vjp,
    .samples = rl_samples_real,
    .bad = rl_bad_unary,
};

static const rl_sample threshold_samples[] = {{"f[3,4], 0, 1"},      {"f[], 0.5, -1"},  {"f[0,3], 0, 1"},
                                              {"f[5,7]t, 0.25, 20"}, {"f[33]s, -1, 0"}, {0}};
static const rl_bad threshold_bad[] = {{"b[2], 0, 1", RL_DTYPE_MISMATCH, "self must not be bool"}, {0}};
static const rl_sample threshold_backward_samples[] = {
    {"f[3,4], f[3,4], 0"}, {"f[], f[], 0.5"}, {"f[0,3], f[0,3], 0"}, {"f[5,7]t, f[5,7], 0.25"}, {0}};

const rl_op_def rl_op_def_threshold = {
    .schema = "threshold(Tensor self, Scalar threshold, Scalar value) -> Tensor",
    .doc = "y = self where self > threshold, else value",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE,
    .saves = RL_SAVE_IN(0),
    .infer = rl_infer_no_bool,
    .pointwise = threshold_program,
    .vjp = threshold_vjp,
    .samples = threshold_samples,
    .bad = threshold_bad,
};

const rl_op_def rl_op_def_threshold_backward = {
    .schema = "threshold_backward(Tensor grad_output, Tensor self, Scalar threshold) -> Tensor",
    .doc = "y = grad_output where self > threshold, else 0",
    .flags = RL_OP_POINTWISE,
    .saves = RL_SAVE_IN(1),
    .pointwise = threshold_backward_program,
    .vjp = threshold_backward_vjp,
    .samples = threshold_backward_samples,
};

/* leaky_relu, prelu -------------------------------------------------------------------------------------------------
 */

PROGRAM(leaky_relu, SELECT(GT(x[0], NUM(x[0], 0)), x[0], MUL(x[0], x[1])))
VJP(leaky_relu, rl_where(rl_gt(X, 0), G, rl_mul(G, ARG(1)))) /* gx = g where x > 0, else slope g */

static const rl_sample leaky_relu_samples[] = {{"f[3,4]"},        {"f[]"},          {"f[0,3]"},
                                               {"f[5,7]t, 0.25"}, {"f[33]s, -0.5"}, {0}};
static const rl_bad float_bad[] = {{"i64[2]", RL_DTYPE_MISMATCH, "floating"}, {0}};

const rl_op_def rl_op_def_leaky_relu = {
    .schema = "leaky_relu(Tensor self, Scalar negative_slope=0.01) -> Tensor",
    .doc = "y = self where self > 0, else negative_slope self",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE,
    .saves = RL_SAVE_IN(0),
    .infer = rl_infer_floats_only,
    .pointwise = leaky_relu_program,
    .vjp = leaky_relu_vjp,
    .samples = leaky_relu_samples,
    .bad = float_bad,
};

static rl_status prelu_lower(rl_call *call) {
    rl_tensor *self = rl_arg_tensor(call, 0), *weight = rl_arg_tensor(call, 1);
    int64_t channels = self->ndim > 1 ? self->shape[1] : 1;
    if (weight->ndim > 1 || (weight->numel != 1 && weight->numel != channels)) {
        char text[RL_SHAPE_TEXT];
        return rl_call_fail(call, RL_SHAPE_MISMATCH,
                            "weight must have 1 or %lld elements in one dimension, has shape %s", (long long)channels,
                            rl_shape_text(weight->ndim, weight->shape, text));
    }
    if (weight->numel > 1) {
        int64_t shape[RL_MAX_DIMS] = {channels};
        for (int d = 1; d < self->ndim - 1; d++)
            shape[d] = 1;
        rl_ints against_self = {shape, self->ndim - 1};
        weight = rl_reshape(weight, against_self);
    } else if (self->ndim == 0) {
        weight = rl_reshape(weight, RL_NO_DIMS);
    }
    call->results[0] = rl_where(rl_gt(self, 0), self, rl_mul(self, weight));
    return rl_error_status();
}

static const rl_sample prelu_samples[] = {{"f[3,4], p[4]"},   {"f[], p[1]"},     {"f[0,3], p[3]"},
                                          {"f[2,3,5], p[3]"}, {"f[5,7]t, p[1]"}, {0}};
static const rl_bad prelu_bad[] = {{"f[3,4], p[3]", RL_SHAPE_MISMATCH, "weight must have 1 or 4 elements"}, {0}};

const rl_op_def rl_op_def_prelu = {
    .schema = "prelu(Tensor self, Tensor weight) -> Tensor",
    .doc = "y = self where self > 0, else weight self; weight is one number, or one for each channel (dimension 1)",
    .flags = RL_OP_COMPOSITE | RL_OP_AUTOCAST_LOW,
    .lower = prelu_lower,
    .samples = prelu_samples,
    .bad = prelu_bad,
};

/* Between two bounds ------------------------------------------------------------------------------------------------
 */

PROGRAM(hardtanh, MIN(x[2], MAX(x[1], x[0])))
/* gx = g where min < y < max */
VJP(hardtanh, rl_only_where(rl_logical_and(rl_gt(Y, ARG(1)), rl_lt(Y, ARG(2))), G))

static rl_status hardtanh_infer(rl_call *call) {
    if (rl_arg_double(call, 1) > rl_arg_double(call, 2))
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "min_val must be no greater than max_val, got %g and %g",
                            rl_arg_double(call, 1), rl_arg_double(call, 2));
    rl_status status = rl_infer_no_bool(call);
    return status == RL_OK ? rl_infer_bounds(call) : status;
}

static const rl_sample hardtanh_samples[] = {{"f[3,4]"},   {"f[]"}, {"f[0,3]"}, {"f[5,7]t, -0.5, 0.25"},
                                             {"i32[33]s"}, {0}};
static const rl_bad hardtanh_bad[] = {{"f[2], 1, -1", RL_INVALID_ARGUMENT, "min_val must be no greater"}, {0}};

const rl_op_def rl_op_def_hardtanh = {
    .schema = "hardtanh(Tensor self, Scalar min_val=-1, Scalar max_val=1) -> Tensor",
    .doc = "y = min(max(self, min_val), max_val)",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE,
    .saves = RL_SAVE_OUT(0),
    .infer = hardtanh_infer,
    .pointwise = hardtanh_program,
    .vjp = hardtanh_vjp,
    .samples = hardtanh_samples,
    .bad = hardtanh_bad,
};

static rl_pw bounded(rl_builder *b, rl_pw p, double low, double high) {
    return MIN(NUM(p, high), MAX(NUM(p, low), p));
}
PROGRAM(relu6, bounded(b, x[0], 0, 6))
VJP(relu6, rl_only_where(rl_logical_and(rl_gt(Y, 0), rl_lt(Y, 6)), G)) /* gx = g where 0 < y < 6 */

const rl_op_def rl_op_def_relu6 = {
    .schema = "relu6(Tensor self) -> Tensor",
    .doc = "y = min(max(self, 0), 6)",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE,
    .saves = RL_SAVE_OUT(0),
    .infer = rl_infer_no_bool,
    .pointwise = relu6_program,
    .vjp = relu6_vjp,
    .samples = rl_samples_real,
    .bad = rl_bad_unary,
};

PROGRAM(hardsigmoid, DIV(bounded(b, ADD(x[0], NUM(x[0], 3)), 0, 6), NUM(x[0], 6)))
VJP(hardsigmoid, rl_only_where(rl_logical_and(rl_gt(Y, 0), rl_lt(Y, 1)), rl_div(G, 6))) /* gx = g / 6 where 0 < y < 1 */

const rl_op_def rl_op_def_hardsigmoid = {
    .schema = "hardsigmoid(Tensor self) -> Tensor",
    .doc = "y = min(max(self + 3, 0), 6) / 6",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE,
    .saves = RL_SAVE_OUT(0),
    .infer = rl_infer_floats_only,
    .pointwise = hardsigmoid_program,
    .vjp = hardsigmoid_vjp,
    .samples = rl_samples_floats,
    .bad = float_bad,
};

PROGRAM(hardswish, DIV(MUL(x[0], bounded(b, ADD(x[0], NUM(x[0], 3)), 0, 6)), NUM(x[0], 6)))
/* gx = 0 where x <= -3, g where x >= 3, else g (x / 3 + 1 / 2) */
VJP(hardswish, rl_where(rl_ge(X, 3), G, rl_only_where(rl_gt(X, -3), rl_mul(G, rl_add(rl_div(X, 3), 0.5)))))

const rl_op_def rl_op_def_hardswish = {
    .schema = "hardswish(Tensor self) -> Tensor",
    .doc = "y = self min(max(self + 3, 0), 6) / 6",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE,
    .saves = RL_SAVE_IN(0),
    .infer = rl_infer_floats_only,
    .pointwise = hardswish_program,
    .vjp = hardswish_vjp,
    .samples = rl_samples_floats,
    .bad = float_bad,
};

/* Shrinking ---------------------------------------------------------------------------------------------------------
 */

static rl_status shrink_infer(rl_call *call) {
    if (call->op == &rl_op_def_softshrink && !(rl_arg_double(call, 1) >= 0.0))
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "lambd must not be negative, got %g", rl_arg_double(call, 1));
    return rl_infer_floats_only(call);
}
PROGRAM(hardshrink, SELECT(AND(GE(x[0], NEG(x[1])), LE(x[0], x[1])), NUM(x[0], 0), x[0]))
PROGRAM(softshrink,
        SELECT(GT(x[0], x[1]), SUB(x[0], x[1]), SELECT(LT(x[0], NEG(x[1])), ADD(x[0], x[1]), MUL(x[0], NUM(x[0], 0)))))
VJP(hardshrink, rl_only_where(rl_ne(Y, 0), G)) /* gx = g where y is not 0 */
VJP(softshrink, rl_only_where(rl_ne(Y, 0), G)) /* gx = g where y is not 0 */

static const rl_sample shrink_samples[] = {{"f[3,4]"}, {"f[]"}, {"f[0,3]"}, {"f[5,7]t, 0.25"}, {"f[33]s, 1"}, {0}};
static const rl_bad softshrink_bad[] = {{"f[2], -1", RL_INVALID_ARGUMENT, "lambd must not be negative"}, {0}};

const rl_op_def rl_op_def_hardshrink = {
    .schema = "hardshrink(Tensor self, Scalar lambd=0.5) -> Tensor",
    .doc = "y = self where |self| > lambd, else 0",
    .flags = RL_OP_POINTWISE,
    .saves = RL_SAVE_OUT(0),
    .infer = shrink_infer,
    .pointwise = hardshrink_program,
    .vjp = hardshrink_vjp,
    .samples = shrink_samples,
    .bad = float_bad,
};

const rl_op_def rl_op_def_softshrink = {
    .schema = "softshrink(Tensor self, Scalar lambd=0.5) -> Tensor",
    .doc = "y = self - lambd where self > lambd, self + lambd where self < -lambd, else 0",
    .flags = RL_OP_POINTWISE,
    .saves = RL_SAVE_OUT(0),
    .infer = shrink_infer,
    .pointwise = softshrink_program,
    .vjp = softshrink_vjp,
    .samples = shrink_samples,
    .bad = softshrink_bad,
};
