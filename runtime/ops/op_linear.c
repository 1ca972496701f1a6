/* SPDX-License-Identifier: Apache-2.0 */
/* linear, alone and with an activation. */
#include "ops/op_epilogue.h"
#include "ops/op_matmul.h"

/* linear and linear_activation are one but for this argument: two ops, since what linear gives is not kept for its
 * derivative, and may be changed in place. */
static rl_status activation_of(const rl_call *call, rl_activation *out) {
    *out = RL_ACTIVATION_NONE;
    if (rl_schema_table[call->opcode].n_params <= 3)
        return RL_OK;
    rl_status status = rl_read_activation(call, 3, out);
    return status == RL_OK ? rl_check_float(call, 0) : status;
}

/* input (.., k), weight (n, k) or (k), bias (n) or () */
static rl_status linear_infer(rl_call *call) {
    rl_activation activation;
    const rl_tensor *x = rl_arg_tensor(call, 0), *w = rl_arg_tensor(call, 1), *bias = rl_arg_tensor(call, 2);
    char text[RL_SHAPE_TEXT];
    rl_status status = rl_check_factors(call, 0, 2);
    if (status == RL_OK)
        status = activation_of(call, &activation);
    if (status != RL_OK)
        return status;
    if (w->ndim != 1 && w->ndim != 2)
        return rl_call_fail(call, RL_SHAPE_MISMATCH, "weight %s must have 2 dimensions, (out, in)",
                            rl_shape_text(w->ndim, w->shape, text));
    if (x->ndim == 0 || x->shape[x->ndim - 1] != w->shape[w->ndim - 1])
        return rl_fail_product(call, 0, 1, x->ndim > 0 ? x->shape[x->ndim - 1] : 1, w->shape[w->ndim - 1]);
    rl_meta *meta = &call->meta[0];
    rl_meta_set(meta, (rl_dtype)x->dtype, x->storage->device, x->ndim - 1, x->shape);
    if (w->ndim == 2)
        meta->shape[meta->ndim++] = w->shape[0];
    if (bias != NULL && (bias->ndim != w->ndim - 1 || (w->ndim == 2 && bias->shape[0] != w->shape[0])))
        return rl_call_fail(call, RL_SHAPE_MISMATCH, "bias %s must have shape %s",
                            rl_shape_text(bias->ndim, bias->shape, text),
                            rl_shape_text(w->ndim - 1, w->shape, (char[RL_SHAPE_TEXT]){0}));
    return RL_OK;
}

/* The fused row, where rows of the input and of the result lie one after the other. */
static rl_status linear_fused(const rl_call *call, rl_activation activation, bool *out_ran) {
    rl_tensor *x = rl_arg_tensor(call, 0), *w = rl_arg_tensor(call, 1), *bias = rl_arg_tensor(call, 2);
    rl_tensor *y = call->results[0];
    *out_ran = false;
    if (w->ndim != 2 || !x->contiguous || y->numel == 0 || (bias == NULL && activation == RL_ACTIVATION_NONE))
        return RL_OK;
    const int64_t n = w->shape[0], k = w->shape[1], rows = y->numel / n;
    rl_linear_args args = {
        .dtype = y->dtype, .activation = activation, .rows = rows, .in_features = k, .out_features = n};
    rl_tensor *in = rl_over(x, 2, (int64_t[]){rows, k}, (int64_t[]){k, 1}, x->offset);
    rl_tensor *out = rl_over(y, 2, (int64_t[]){rows, n}, (int64_t[]){n, 1}, y->offset);
    if (in == NULL || out == NULL)
        return rl_error_status();
    return rl_row_with_activation(call, RL_ROW_LINEAR, &args, sizeof args, &args.activation,
                                  (rl_tensor *[]){in, w, bias, out}, 4, out_ran);
}

/* The bias is written first, so that the product adds to it: one pass over the result fewer. */
static rl_status linear_lower(rl_call *call) {
    rl_tensor *x = rl_arg_tensor(call, 0), *w = rl_arg_tensor(call, 1), *bias = rl_arg_tensor(call, 2);
    rl_tensor *y = call->results[0];
    rl_activation activation;
    bool ran = false;
    rl_status status = activation_of(call, &activation);
    if (status == RL_OK)
        status = linear_fused(call, activation, &ran);
    if (status != RL_OK || ran)
        return status;
    if (bias != NULL && rl_move(rl_call_name(call), y, bias) != RL_OK)
        return rl_error_status();
    if (w->ndim == 2)
        w = rl_exchanged(w, 0, 1);
    status = w ? rl_multiply(call, x, w, y, 1.0, bias ? 1.0 : 0.0) : rl_error_status();
    return status == RL_OK ? rl_activate(call, y, activation) : status;
}

/* gx = g w, gw = g^T x, gb = g summed over all but its last dimension (by the engine) */
static void linear_gradients(rl_vjp *v, rl_tensor *g) {
    bool row = rl_vjp_meta(v, 1)->ndim == 1;
    if (rl_vjp_needs(v, 0)) {
        rl_tensor *w = rl_vjp_input(v, 1);
        rl_vjp_set(v, 0, row ? rl_mul(rl_unsqueeze(g, -1), w) : rl_matmul(g, w));
    }
    if (rl_vjp_needs(v, 1)) {
        rl_tensor *x = rl_vjp_input(v, 0);
        if (row)
            rl_vjp_set(v, 1, rl_mul(rl_unsqueeze(g, -1), x));
        else if (x->ndim == 1)
            rl_vjp_set(v, 1, rl_mul(rl_unsqueeze(g, 1), x));
        else if (x->ndim == 2)
            rl_vjp_set(v, 1, rl_matmul(rl_t(g), x));
        else
            rl_vjp_set(v, 1, rl_matmul(rl_t(rl_as_rows(g)), rl_as_rows(x)));
    }
    if (rl_vjp_arg(v, 2)->kind != RL_VALUE_NONE && rl_vjp_needs(v, 2))
        rl_vjp_set(v, 2, g);
}

static void linear_vjp(rl_vjp *v) {
    linear_gradients(v, G);
}

static rl_tensor *sum_again(rl_vjp *v) {
    rl_tensor *bias = rl_vjp_arg(v, 2)->kind == RL_VALUE_NONE ? NULL : rl_vjp_input(v, 2);
    return rl_linear(X, rl_vjp_input(v, 1), .bias = bias);
}
static void linear_activation_vjp(rl_vjp *v) {
    linear_gradients(v, rl_vjp_before_activation(v, 3, sum_again));
}

static const rl_sample linear_samples[] = {{"n[3,4], n[5,4], n[5]"},
                                           {"n[3,4], n[5,4]"},
                                           {"n[4], n[5,4], n[5]"},
                                           {"n[2,3,4], n[5,4], n[5]"},
                                           {"n[0,4], n[5,4], n[5]"},
                                           {"n[3,0], n[5,0], n[5]"},
                                           {"n[3,4], n[0,4], n[0]"},
                                           {"n[5,7]t, n[3,7]"},
                                           {"n[3,4], n[4]"},
                                           {"n[1,1], n[1,1], n[1]"},
                                           {"n[17,31], n[13,31], n[13]"},
                                           {"n[2,3,4], n[5,4]t"},
                                           {0}};
static const rl_bad linear_bad[] = {
    {"f[3,4], f[5,3]", RL_SHAPE_MISMATCH, "input (3, 4) and weight (5, 3) do not fit: 4 and 3 must be equal"},
    {"f[3,4], f[5,4], f[4]", RL_SHAPE_MISMATCH, "bias (4) must have shape (5)"},
    {"f[3,4], f[2,5,4]", RL_SHAPE_MISMATCH, "2 dimensions"},
    {"f32[3,4], f64[5,4]", RL_DTYPE_MISMATCH, "input is float32 and weight float64"},
    {"f[3,4], None", RL_INVALID_ARGUMENT, "weight"},
    {0}};

const rl_op_def rl_op_def_linear = {
    .schema = "linear(Tensor input, Tensor weight, Tensor? bias=None) -> Tensor",
    .doc = "y[.., j] = sum_k input[.., k] weight[j, k] + bias[j]",
    .flags = RL_OP_ROWS | RL_OP_AUTOCAST_LOW,
    .saves = RL_SAVE_IN(0) | RL_SAVE_IN(1),
    .infer = linear_infer,
    .lower = linear_lower,
    .vjp = linear_vjp,
    .samples = linear_samples,
    .bad = linear_bad,
    .sample_dtypes = RL_SAMPLE_NO_BOOL,
};

static const rl_sample linear_activation_samples[] = {{"f[2,3,4], f[5,4], f[5], \"relu\""},
                                                      RL_SAMPLE_STAGES("f[3,4], f[5,4], None, \"gelu\""),
                                                      RL_SAMPLE_STAGES("f[3,4], f[5,4]t, f[5], \"gelu_tanh\""),
                                                      {"f[0,4], f[5,4], f[5], \"relu\""},
                                                      {"f[4], f[5,4], f[5], \"relu\""},
                                                      {"f[3,4], f[4], None, \"relu\""},
                                                      {"f[40,70], f[50,70], f[50], \"relu\""},
                                                      {"f[3,4], f[5,4], f[5]"},
                                                      {0}};
static const rl_bad linear_activation_bad[] = {
    {"f[3,4], f[5,4], None, \"tanh\"", RL_INVALID_ARGUMENT, "activation must be none, relu, gelu or gelu_tanh"},
    {"i64[3,4], i64[5,4], None, \"relu\"", RL_DTYPE_MISMATCH, "floating"},
    {0}};

const rl_op_def rl_op_def_linear_activation = {
    .schema = "linear_activation(Tensor input, Tensor weight, Tensor? bias=None, str activation='none') -> Tensor",
    .doc = "y = act(linear(input, weight, bias)): linear and an activation in one pass",
    .note = "activation: none, relu, gelu or gelu_tanh.",
    .flags = RL_OP_ROWS | RL_OP_AUTOCAST_LOW,
    .saves = RL_SAVE_IN(0) | RL_SAVE_IN(1) | RL_SAVE_IN(2) | RL_SAVE_OUT(0),
    .infer = linear_infer,
    .lower = linear_lower,
    .vjp = linear_activation_vjp,
    .samples = linear_activation_samples,
    .bad = linear_activation_bad,
};
