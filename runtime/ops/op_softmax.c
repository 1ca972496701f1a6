/* SPDX-License-Identifier: Apache-2.0 */
/* softmax, log_softmax and their backwards: the fused rows, and their lowering to primitives. */
#include <string.h>

#include "ops/op_reduce.h"

/* Forward --------------------------------------------------------------------------------------------------------- */

static rl_status softmax_infer(rl_call *call) {
    const rl_tensor *self = rl_arg_tensor(call, 0);
    rl_dtype dtype = rl_arg_given(call, 2) ? rl_arg_dtype(call, 2) : (rl_dtype)self->dtype;
    if (!rl_dtype_is_float(dtype))
        return rl_call_fail(call, RL_DTYPE_MISMATCH, "self must be of a floating dtype, not %s: give dtype",
                            rl_dtype_name(dtype));
    if (rl_wrap_dim(rl_call_name(call), rl_arg_int(call, 1), self->ndim) < 0)
        return rl_error_status();
    rl_status status = rl_infer_same_as_input(call);
    call->meta[0].dtype = dtype;
    return status;
}

/* exp(x - max) */
static void write_exp(rl_builder *b, uint32_t key) {
    rl_pw x = rl_key_input(b, key), max = rl_build_input(b, rl_key_compute(key));
    rl_build_output(b, EXP(SUB(x, max)), rl_key_compute(key));
}
/* exp(x - max) / sum, or its logarithm x - max - log(sum) */
static void write_softmax(rl_builder *b, uint32_t key) {
    rl_dtype compute = rl_key_compute(key);
    rl_pw x = rl_key_input(b, key), max = rl_build_input(b, compute), sum = rl_build_input(b, compute);
    rl_pw shifted = SUB(x, max);
    rl_build_output(b, rl_key_variant(key) ? SUB(shifted, LOG(sum)) : DIV(EXP(shifted), sum), rl_key_out(key));
}

/* Two reductions, so that no exponential overflows, and one map. */
static rl_status lower_softmax(const rl_call *call, rl_tensor *x, rl_tensor *out, int64_t dim, bool log) {
    const char *op = rl_call_name(call);
    rl_dtype compute = rl_accumulator((rl_dtype)out->dtype);
    uint32_t mask = 1u << dim, key = RL_KEY(x->dtype, compute, 0, 0), result_key = RL_KEY(0, compute, compute, 0);
    rl_tensor *max = rl_reduced_temp(call, x, mask, compute), *sum = rl_reduced_temp(call, x, mask, compute);
    if (max == NULL || sum == NULL)
        return rl_error_status();
    rl_reduction r = {.prologue = rl_write_value,
                      .prologue_key = key,
                      .epilogue = rl_write_result,
                      .epilogue_key = result_key,
                      .combiner = {RL_COMBINE_MAX},
                      .inputs = {x},
                      .outputs = {max},
                      .shape_of = x,
                      .mask = mask};
    rl_status status = rl_reduce(op, &r);
    r.prologue = write_exp;
    r.combiner[0] = RL_COMBINE_SUM;
    r.inputs[1] = max;
    r.outputs[0] = sum;
    if (status == RL_OK)
        status = rl_reduce(op, &r);
    const rl_program *program = rl_row_program(write_softmax, RL_KEY(x->dtype, compute, out->dtype, log));
    if (status != RL_OK || program == NULL)
        return rl_error_status();
    return rl_row_map(op, program, (rl_tensor *[]){x, max, sum}, &out, NULL);
}

static rl_status run_softmax(rl_call *call, bool log) {
    rl_tensor *out = rl_with_dims(call->results[0]);
    rl_tensor *x = rl_as_dtype(call, rl_arg_tensor(call, 0), call->meta[0].dtype);
    if (out == NULL || x == NULL || (x = rl_with_dims(x)) == NULL)
        return rl_error_status();
    if (out->numel == 0)
        return RL_OK;
    int64_t dim = rl_wrap_dim(rl_call_name(call), rl_arg_int(call, 1), out->ndim);
    rl_softmax_args args = {.dtype = out->dtype, .dim = (int32_t)dim, .log = log, .ndim = out->ndim};
    memcpy(args.shape, out->shape, (size_t)out->ndim * sizeof *args.shape);
    bool ran;
    rl_status status =
        rl_row_fused(rl_call_name(call), RL_ROW_SOFTMAX, &args, sizeof args, (rl_tensor *[]){x, out}, 2, &ran);
    return status == RL_OK && !ran ? lower_softmax(call, x, out, dim, log) : status;
}

static rl_status softmax_lower(rl_call *call) {
    return run_softmax(call, false);
}
static rl_status log_softmax_lower(rl_call *call) {
    return run_softmax(call, true);
}

/* gx = y (g - sum(g y)) */
VJP(softmax, rl_softmax_backward(G, Y, rl_vjp_dim(v, 1)))
/* gx = g - exp(y) sum(g) */
VJP(log_softmax, rl_log_softmax_backward(G, Y, rl_vjp_dim(v, 1)))

static const rl_sample softmax_samples[] = {{"f[3,4], 1"},
                                            {"f[3,4], 0"},
                                            {"f[2,3,4], -2"},
                                            {"f[], 0"},
                                            {"f[0,3], 1"},
                                            {"f[3,0], 1"},
                                            {"f[5,7]t, 1"},
                                            {"f[33]s, 0"},
                                            {"f[4]e, 0"},
                                            {"f[3,131], 1"},
                                            {"f[1,1], 1"},
                                            {"i32[3,4], 1, dtype=float32"},
                                            {0}};
static const rl_bad softmax_bad[] = {{"f[2,3], 2", RL_INDEX_OUT_OF_RANGE, "dim 2 is out of range"},
                                     {"i64[2,3], 1", RL_DTYPE_MISMATCH, "self must be of a floating dtype, not int64"},
                                     {"None, 1", RL_INVALID_ARGUMENT, "self"},
                                     {0}};

const rl_op_def rl_op_def_softmax = {
    .schema = "softmax(Tensor self, int dim, ScalarType? dtype=None) -> Tensor",
    .doc = "y[i] = exp(x[i]) / sum_j exp(x[j]) along dim",
    .note = "The greatest element is subtracted first; sums are kept in float32 or better.",
    .flags = RL_OP_ROWS,
    .saves = RL_SAVE_OUT(0),
    .infer = softmax_infer,
    .lower = softmax_lower,
    .vjp = softmax_vjp,
    .samples = softmax_samples,
    .bad = softmax_bad,
};

const rl_op_def rl_op_def_log_softmax = {
    .schema = "log_softmax(Tensor self, int dim, ScalarType? dtype=None) -> Tensor",
    .doc = "y[i] = x[i] - log(sum_j exp(x[j])) along dim",
    .note = "The greatest element is subtracted first; sums are kept in float32 or better.",
    .flags = RL_OP_ROWS,
    .saves = RL_SAVE_OUT(0),
    .infer = softmax_infer,
    .lower = log_softmax_lower,
    .vjp = log_softmax_vjp,
    .samples = softmax_samples,
    .bad = softmax_bad,
};

/* Backward -------------------------------------------------------------------------------------------------------- */

static rl_status backward_infer(rl_call *call) {
    const rl_tensor *g = rl_arg_tensor(call, 0), *y = rl_arg_tensor(call, 1);
    char g_text[RL_SHAPE_TEXT], y_text[RL_SHAPE_TEXT];
    if (g->ndim != y->ndim || memcmp(g->shape, y->shape, (size_t)g->ndim * sizeof *g->shape) != 0)
        return rl_call_fail(call, RL_SHAPE_MISMATCH, "grad_output %s and output %s must have one shape",
                            rl_shape_text(g->ndim, g->shape, g_text), rl_shape_text(y->ndim, y->shape, y_text));
    if (rl_wrap_dim(rl_call_name(call), rl_arg_int(call, 2), g->ndim) < 0)
        return rl_error_status();
    rl_status status = rl_check_float(call, 1);
    if (status == RL_OK)
        status = rl_check_dtype_is(call, 0, (rl_dtype)y->dtype);
    return status == RL_OK ? rl_infer_same_as_input(call) : status;
}

/* g y, or g for the logarithm: what is summed. */
static void write_product(rl_builder *b, uint32_t key) {
    rl_pw g = rl_key_input(b, key);
    rl_build_output(b, rl_key_variant(key) ? g : MUL(g, rl_key_input(b, key)), rl_key_compute(key));
}
/* y (g - sum), or g - exp(y) sum */
static void write_backward(rl_builder *b, uint32_t key) {
    rl_pw g = rl_key_input(b, key), y = rl_key_input(b, key), sum = rl_build_input(b, rl_key_compute(key));
    rl_build_output(b, rl_key_variant(key) ? SUB(g, MUL(EXP(y), sum)) : MUL(y, SUB(g, sum)), rl_key_out(key));
}

static rl_status lower_backward(const rl_call *call, rl_tensor *g, rl_tensor *y, rl_tensor *out, int64_t dim,
                                bool log) {
    const char *op = rl_call_name(call);
    rl_dtype compute = rl_accumulator((rl_dtype)out->dtype);
    rl_tensor *sum = rl_reduced_temp(call, y, 1u << dim, compute);
    if (sum == NULL)
        return rl_error_status();
    rl_reduction r = {.prologue = write_product,
                      .prologue_key = RL_KEY(y->dtype, compute, 0, log),
                      .epilogue = rl_write_result,
                      .epilogue_key = RL_KEY(0, compute, compute, 0),
                      .combiner = {RL_COMBINE_SUM},
                      .inputs = {g, y},
                      .outputs = {sum},
                      .shape_of = y,
                      .mask = 1u << dim};
    const rl_program *program = rl_row_program(write_backward, RL_KEY(y->dtype, compute, out->dtype, log));
    if (program == NULL || rl_reduce(op, &r) != RL_OK)
        return rl_error_status();
    return rl_row_map(op, program, (rl_tensor *[]){g, y, sum}, &out, NULL);
}

static rl_status run_backward(rl_call *call, bool log) {
    rl_tensor *g = rl_with_dims(rl_arg_tensor(call, 0)), *y = rl_with_dims(rl_arg_tensor(call, 1));
    rl_tensor *out = rl_with_dims(call->results[0]);
    if (g == NULL || y == NULL || out == NULL)
        return rl_error_status();
    if (out->numel == 0)
        return RL_OK;
    int64_t dim = rl_wrap_dim(rl_call_name(call), rl_arg_int(call, 2), out->ndim);
    rl_softmax_backward_args args = {.dtype = out->dtype, .dim = (int32_t)dim, .log = log, .ndim = out->ndim};
    memcpy(args.shape, out->shape, (size_t)out->ndim * sizeof *args.shape);
    bool ran;
    rl_status status = rl_row_fused(rl_call_name(call), RL_ROW_SOFTMAX_BACKWARD, &args, sizeof args,
                                    (rl_tensor *[]){g, y, out}, 3, &ran);
    return status == RL_OK && !ran ? lower_backward(call, g, y, out, dim, log) : status;
}

static rl_status softmax_backward_lower(rl_call *call) {
    return run_backward(call, false);
}
static rl_status log_softmax_backward_lower(rl_call *call) {
    return run_backward(call, true);
}

/* The sum along the dimension that the op works along, kept. */
static rl_tensor *sum_along(rl_vjp *v, rl_tensor *a) {
    return rl_sum(a, .dim = RL_DIMS(rl_vjp_int(v, 2)), .keepdim = true);
}
#define YIN rl_vjp_input(v, 1)

/* z = y (g - s), s = sum(g y); with u the gradient of z: gg = y (u - sum(u y)), gy = u (g - s) - g sum(u y) */
static void softmax_backward_vjp(rl_vjp *v) {
    rl_tensor *u = G, *g = X, *y = YIN, *uy = sum_along(v, rl_mul(u, y));
    if (rl_vjp_needs(v, 0))
        rl_vjp_set(v, 0, rl_mul(y, rl_sub(u, uy)));
    if (rl_vjp_needs(v, 1))
        rl_vjp_set(v, 1, rl_sub(rl_mul(u, rl_sub(g, sum_along(v, rl_mul(g, y)))), rl_mul(g, uy)));
}

/* z = g - e s, e = exp(y), s = sum(g); with u the gradient of z: gg = u - sum(u e), gy = -u e s */
static void log_softmax_backward_vjp(rl_vjp *v) {
    rl_tensor *u = G, *ue = rl_mul(u, rl_exp(YIN));
    if (rl_vjp_needs(v, 0))
        rl_vjp_set(v, 0, rl_sub(u, sum_along(v, ue)));
    if (rl_vjp_needs(v, 1))
        rl_vjp_set(v, 1, rl_neg(rl_mul(ue, sum_along(v, X))));
}

static const rl_sample backward_samples[] = {{"f[3,4], u[3,4], 1"},
                                             {"f[3,4], u[3,4], 0"},
                                             {"f[], u[], 0"},
                                             {"f[0,3], u[0,3], 1"},
                                             {"f[5,7]t, u[5,7], 1"},
                                             {"f[33]s, u[33], 0"},
                                             {"f[2,3,4], u[2,3,4], -2"},
                                             {0}};
static const rl_bad backward_bad[] = {{"f[2,3], f[3,2], 1", RL_SHAPE_MISMATCH, "must have one shape"},
                                      {"f[2,3], f[2,3], 2", RL_INDEX_OUT_OF_RANGE, "dim 2 is out of range"},
                                      {"f64[2], f32[2], 0", RL_DTYPE_MISMATCH, "grad_output must be float32"},
                                      {0}};

const rl_op_def rl_op_def_softmax_backward = {
    .schema = "softmax_backward(Tensor grad_output, Tensor output, int dim) -> Tensor",
    .doc = "z = y (g - sum(g y)) along dim: the gradient of softmax, whose result is y",
    .flags = RL_OP_ROWS,
    .saves = RL_SAVE_IN(0) | RL_SAVE_IN(1),
    .infer = backward_infer,
    .lower = softmax_backward_lower,
    .vjp = softmax_backward_vjp,
    .samples = backward_samples,
    .bad = backward_bad,
};

const rl_op_def rl_op_def_log_softmax_backward = {
    .schema = "log_softmax_backward(Tensor grad_output, Tensor output, int dim) -> Tensor",
    .doc = "z = g - exp(y) sum(g) along dim: the gradient of log_softmax, whose result is y",
    .flags = RL_OP_ROWS,
    .saves = RL_SAVE_IN(0) | RL_SAVE_IN(1),
    .infer = backward_infer,
    .lower = log_softmax_backward_lower,
    .vjp = log_softmax_backward_vjp,
    .samples = backward_samples,
    .bad = backward_bad,
};
