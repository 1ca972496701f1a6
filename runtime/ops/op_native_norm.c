/* SPDX-License-Identifier: Apache-2.0 */
/* native_norm, which layer, group, instance, batch and RMS normalization are made of: the fused row, and its lowering
 * to reductions and a map. Its backward stands in op_native_norm_backward.c. */
#include "ops/op_native_norm.h"

#include <string.h>

/* Arguments ------------------------------------------------------------------------------------------------------- */

static rl_status read_affine(const rl_call *call, const rl_tensor *input, const rl_tensor *affine, uint32_t *out_mask) {
    int64_t lead = input->ndim - affine->ndim;
    char text[RL_SHAPE_TEXT], input_text[RL_SHAPE_TEXT];
    bool fits = lead >= 0;
    *out_mask = 0;
    for (int64_t d = 0; fits && d < affine->ndim; d++) {
        fits = affine->shape[d] == 1 || affine->shape[d] == input->shape[lead + d];
        *out_mask |= affine->shape[d] != 1 ? 1u << (lead + d) : 0;
    }
    if (!fits)
        return rl_call_fail(call, RL_SHAPE_MISMATCH, "weight or bias %s must broadcast to input %s",
                            rl_shape_text(affine->ndim, affine->shape, text),
                            rl_shape_text(input->ndim, input->shape, input_text));
    if (affine->dtype != input->dtype && (affine->dtype != RL_F32 || input->dtype == RL_F64))
        return rl_call_fail(call, RL_DTYPE_MISMATCH, "weight and bias must be %s%s, not %s",
                            rl_dtype_name((rl_dtype)input->dtype),
                            input->dtype == RL_F16 || input->dtype == RL_BF16 ? " or float32" : "",
                            rl_dtype_name((rl_dtype)affine->dtype));
    return RL_OK;
}

rl_status rl_norm_read(const rl_call *call, int input_arg, int dim_arg, const rl_tensor *affine, rl_norm_shape *out) {
    const rl_tensor *input = rl_arg_tensor(call, input_arg);
    *out = (rl_norm_shape){.param = affine ? (rl_dtype)affine->dtype : (rl_dtype)input->dtype};
    rl_status status = rl_check_float(call, input_arg);
    if (status == RL_OK && input->ndim == 0)
        return rl_call_fail(call, RL_SHAPE_MISMATCH, "input must have at least one dimension");
    if (status == RL_OK)
        status = rl_wrap_dims(rl_call_name(call), rl_arg_ints(call, dim_arg), input->ndim, &out->normalized);
    if (status == RL_OK && affine)
        status = read_affine(call, input, affine, &out->affine);
    if (status != RL_OK)
        return status;
    out->normalized &= (1u << input->ndim) - 1;
    out->count = (double)rl_reduced_count(input, out->normalized);
    out->stat = rl_accumulator((rl_dtype)input->dtype);
    return RL_OK;
}

void rl_norm_kept(const rl_tensor *input, uint32_t kept, int64_t *out_shape) {
    for (int64_t d = 0; d < input->ndim; d++)
        out_shape[d] = kept >> d & 1 ? input->shape[d] : 1;
}

void rl_norm_absent(rl_call *call, int result) {
    rl_meta *meta = &call->meta[result];
    rl_meta_set(meta, call->meta[0].dtype, call->meta[0].device, 1, (const int64_t[]){0});
}

rl_tensor *rl_norm_over_input(const rl_tensor *input, rl_tensor *t) {
    return t ? rl_read_as(t, input->ndim, input->shape) : NULL;
}

/* args: input, dim, weight, bias, eps, center */
static const rl_tensor *affine_of(const rl_call *call) {
    return rl_arg_tensor(call, rl_arg_given(call, 2) ? 2 : 3);
}

static rl_status check_alike(const rl_call *call) {
    const rl_tensor *weight = rl_arg_tensor(call, 2), *bias = rl_arg_tensor(call, 3);
    char w_text[RL_SHAPE_TEXT], b_text[RL_SHAPE_TEXT];
    if (weight == NULL || bias == NULL)
        return RL_OK;
    if (weight->ndim != bias->ndim || memcmp(weight->shape, bias->shape, (size_t)bias->ndim * sizeof *bias->shape) != 0)
        return rl_call_fail(call, RL_SHAPE_MISMATCH, "weight %s and bias %s must have one shape",
                            rl_shape_text(weight->ndim, weight->shape, w_text),
                            rl_shape_text(bias->ndim, bias->shape, b_text));
    return rl_check_dtype_is(call, 3, (rl_dtype)weight->dtype);
}

static rl_status native_norm_infer(rl_call *call) {
    rl_norm_shape shape;
    int64_t kept[RL_MAX_DIMS];
    const rl_tensor *input = rl_arg_tensor(call, 0);
    rl_status status = rl_infer_same_as_input(call);
    if (status == RL_OK)
        status = rl_norm_read(call, 0, 1, affine_of(call), &shape);
    if (status == RL_OK)
        status = check_alike(call);
    if (status != RL_OK)
        return status;
    rl_norm_kept(input, ~shape.normalized, kept);
    for (int i = 1; i < 3; i++)
        rl_meta_set(&call->meta[i], shape.stat, input->storage->device, input->ndim, kept);
    if (!rl_arg_bool(call, 5))
        rl_norm_absent(call, 1);
    return RL_OK;
}

/* Lowering -------------------------------------------------------------------------------------------------------- */

rl_pw rl_norm_write_standard(rl_builder *b, uint32_t key, rl_pw *out_root) {
    rl_dtype compute = rl_key_compute(key);
    rl_pw x = rl_key_input(b, key);
    if (rl_key_variant(key) & RL_NORM_CENTER)
        x = SUB(x, rl_build_input(b, compute));
    rl_pw var = rl_build_input(b, compute), root = OP1(SQRT, ADD(var, rl_build_scalar(b, compute)));
    if (out_root)
        *out_root = root;
    return DIV(x, root);
}

rl_pw rl_norm_write_param(rl_builder *b, uint32_t key) {
    rl_dtype param = (rl_dtype)(rl_key_variant(key) >> RL_NORM_PARAM_SHIFT & 15);
    return CAST(rl_build_input(b, param), rl_key_compute(key));
}

/* (x - mean)^2, or x^2 */
static void write_square(rl_builder *b, uint32_t key) {
    rl_pw x = rl_key_input(b, key);
    if (rl_key_variant(key) & RL_NORM_CENTER)
        x = SUB(x, rl_build_input(b, rl_key_compute(key)));
    rl_build_output(b, MUL(x, x), rl_key_compute(key));
}
/* z weight + bias */
static void write_norm(rl_builder *b, uint32_t key) {
    rl_pw y = rl_norm_write_standard(b, key, NULL);
    if (rl_key_variant(key) & RL_NORM_WEIGHT)
        y = MUL(y, rl_norm_write_param(b, key));
    if (rl_key_variant(key) & RL_NORM_BIAS)
        y = ADD(y, rl_norm_write_param(b, key));
    rl_build_output(b, y, rl_key_out(key));
}

/* operands: input, weight, bias, output, mean, var; of the last two the mean may be NULL */
static rl_status lower_norm(rl_call *call, const rl_norm_shape *shape, rl_tensor *const *operands) {
    const char *op = rl_call_name(call);
    rl_tensor *x = operands[0], *weight = operands[1], *bias = operands[2], *mean = operands[4], *var = operands[5];
    uint32_t variant = (mean ? RL_NORM_CENTER : 0u) | (weight ? RL_NORM_WEIGHT : 0u) | (bias ? RL_NORM_BIAS : 0u) |
                       (uint32_t)shape->param << RL_NORM_PARAM_SHIFT;
    rl_reduction r = {.prologue = rl_write_value,
                      .prologue_key = RL_KEY(x->dtype, shape->stat, 0, 0),
                      .epilogue = rl_write_mean,
                      .epilogue_key = RL_KEY(0, shape->stat, shape->stat, 0),
                      .combiner = {RL_COMBINE_SUM},
                      .inputs = {x, mean},
                      .outputs = {mean},
                      .epilogue_scalars = {{.f = shape->count}},
                      .shape_of = x,
                      .mask = shape->normalized};
    rl_status status = mean ? rl_reduce(op, &r) : RL_OK;
    r.prologue = write_square;
    r.prologue_key = RL_KEY(x->dtype, shape->stat, 0, variant & RL_NORM_CENTER);
    r.outputs[0] = var;
    if (status == RL_OK)
        status = rl_reduce(op, &r);
    const rl_program *program = rl_row_program(write_norm, RL_KEY(x->dtype, shape->stat, x->dtype, variant));
    if (status != RL_OK || program == NULL)
        return rl_error_status();
    rl_tensor *inputs[5], *all[] = {x, mean, var, weight, bias};
    int n = 0;
    for (int i = 0; i < 5; i++)
        if (all[i])
            inputs[n++] = all[i];
    return rl_row_map(op, program, inputs, &operands[3], &(rl_number){.f = rl_arg_double(call, 4)});
}

static rl_status native_norm_lower(rl_call *call) {
    rl_tensor *x = rl_arg_tensor(call, 0), *weight = rl_arg_tensor(call, 2), *bias = rl_arg_tensor(call, 3);
    rl_norm_shape shape;
    bool center = rl_arg_bool(call, 5), ran;
    rl_status status = rl_norm_read(call, 0, 1, affine_of(call), &shape);
    if (status != RL_OK)
        return status;
    if (x->numel == 0) { /* nothing to take a mean of */
        status = rl_clear(rl_call_name(call), call->results[1]);
        return status == RL_OK ? rl_clear(rl_call_name(call), call->results[2]) : status;
    }
    rl_tensor *operands[] = {x,
                             rl_norm_over_input(x, weight),
                             rl_norm_over_input(x, bias),
                             call->results[0],
                             center ? call->results[1] : NULL,
                             call->results[2]};
    if (rl_failed())
        return rl_error_status();
    rl_norm_args args = {.dtype = x->dtype,
                         .param_dtype = shape.param,
                         .stat_dtype = shape.stat,
                         .normalized = shape.normalized,
                         .affine = shape.affine,
                         .center = center,
                         .ndim = x->ndim,
                         .eps = rl_arg_double(call, 4)};
    memcpy(args.shape, x->shape, (size_t)x->ndim * sizeof *args.shape);
    status = rl_row_fused(rl_call_name(call), RL_ROW_NORM, &args, sizeof args, operands, 6, &ran);
    return status == RL_OK && !ran ? lower_norm(call, &shape, operands) : status;
}

/* Derivative ------------------------------------------------------------------------------------------------------ */

/* What mean and var, as results of their own, give: (gm + 2 gv (x - mean)) / n. */
static rl_tensor *of_statistics(rl_vjp *v, rl_tensor *gm, rl_tensor *gv) {
    const rl_meta *meta = rl_vjp_meta(v, 0);
    rl_ints dims = rl_vjp_ints(v, 1);
    bool center = rl_vjp_arg(v, 5)->as.b;
    uint32_t mask;
    double n = 1;
    if (rl_wrap_dims("backward", dims, meta->ndim, &mask) != RL_OK)
        return NULL;
    for (int64_t d = 0; d < meta->ndim; d++)
        n *= mask >> d & 1 ? (double)meta->shape[d] : 1.0;
    rl_tensor *sum = center && gm ? rl_div(gm, n) : NULL;
    if (gv) {
        rl_tensor *x = X, *c = center ? rl_sub(x, rl_vjp_result(v, 1)) : x, *of_var = rl_mul(c, rl_mul(gv, 2.0 / n));
        sum = sum ? rl_add(of_var, sum) : of_var;
    }
    return sum ? rl_expand(sum, rl_vjp_shape(v, 0)) : NULL;
}

/* z = (x - mean) / sqrt(var + eps), d = g weight: gx = (d - mean(d) - z mean(d z)) / sqrt(var + eps), gw = sum(g z),
 * gb = sum(g) */
static void native_norm_vjp(rl_vjp *v) {
    rl_tensor *g = G, *weight = rl_vjp_input(v, 2), *gx = NULL;
    bool center = rl_vjp_arg(v, 5)->as.b, bias = rl_vjp_needs(v, 3), bias_alone = bias && weight == NULL;
    bool needs = rl_vjp_needs(v, 0) || rl_vjp_needs(v, 2) || (bias && !bias_alone);
    if (g && needs) {
        rl_native_norm_backward_result r = rl_native_norm_backward(
            g, X, weight, center ? rl_vjp_result(v, 1) : NULL, rl_vjp_result(v, 2), rl_vjp_ints(v, 1), NUMBER(4),
            rl_vjp_needs(v, 0), rl_vjp_needs(v, 2), bias && !bias_alone);
        gx = r.grad_input;
        rl_vjp_set(v, 2, r.grad_weight);
        if (!bias_alone)
            rl_vjp_set(v, 3, r.grad_bias);
    }
    if (bias_alone)
        rl_vjp_set(v, 3, g);
    if (!rl_vjp_needs(v, 0))
        return;
    rl_tensor *more = of_statistics(v, rl_vjp_grad(v, 1), rl_vjp_grad(v, 2));
    rl_vjp_set(v, 0, gx && more ? rl_add(gx, more) : more ? more : gx);
}

static const rl_sample native_norm_samples[] = {{"f[3,5], [1], p[5], f[5], 0.01, true"},
                                                {"f[4,3,5], [0,2], p[3,1], f[3,1], 0.01, true"},
                                                {"f[4,5,3], [0,1], p[3], f[3], 0.01, true"},
                                                {"f[2,3,2,5], [2,3], p[3,2,1], f[3,2,1], 0.1, true"},
                                                {"f[2,3,2,5], [2,3], p[3,2,1], f[3,2,1], 0.1, false"},
                                                {"f[3,5], [-1], p[5], None, 0.01, false"},
                                                {"f[3,5], [-1], None, f[5], 0.01, true"},
                                                {"f[2,3,4], [1,2], None, None, 0.01, true"},
                                                {"f[5,7]t, [1], p[7], f[7], 0.01, true"},
                                                {"f[2,3,5,4]t, [0,2,3], p[3,1,1]s, f[3,1,1], 0.01, true"},
                                                {"f[2,6,5]t, [2], p[6,1], f[6,1], 0.01, true"},
                                                {"f[2,3,2,5]t, [2,3], p[3,2,1], f[3,2,1], 0.1, true"},
                                                {"f[7,33]s, [1], p[33]s, f[33], 0.01, true"},
                                                {"f[5,4], [0,1], p[5,4], f[5,4], 0.01, true"},
                                                {"f[2,5,4], [1], p[5,1], None, 0.01, true"},
                                                {"f[2,3,70], [2], p[3,1], f[3,1], 0.01, true"},
                                                {"f[131], [0], p[131], f[131], 0.01, true"},
                                                {"f[3,4]e, [1], p[4], f[4], 0.5, true"},
                                                {"f[0,3], [1], p[3], f[3], 0.01, true"},
                                                {"f[0,3], [0], p[3], f[3], 0.01, true"},
                                                {"f[3,1], [1], p[1], f[1], 0.01, true"},
                                                {0}};
static const rl_bad native_norm_bad[] = {
    {"f[2,3], [1], f[2], None, 0.01, true", RL_SHAPE_MISMATCH, "weight or bias (2) must broadcast to input (2, 3)"},
    {"f[2,3], [1], f[1,1,3], None, 0.01, true", RL_SHAPE_MISMATCH, "must broadcast to input (2, 3)"},
    {"f[2,3], [1], f[3], f[1,3], 0.01, true", RL_SHAPE_MISMATCH, "weight (3) and bias (1, 3) must have one shape"},
    {"f[2,3], [2], None, None, 0.01, true", RL_INDEX_OUT_OF_RANGE, "dim 2 is out of range"},
    {"f[], [0], None, None, 0.01, true", RL_SHAPE_MISMATCH, "at least one dimension"},
    {"i64[2], [0], None, None, 0.01, true", RL_DTYPE_MISMATCH, "floating"},
    {"f32[2,3], [1], f64[3], None, 0.01, true", RL_DTYPE_MISMATCH, "weight and bias must be float32, not float64"},
    {"f16[2,3], [1], f16[3], f32[3], 0.01, true", RL_DTYPE_MISMATCH, "bias must be float16"},
    {0}};

const rl_op_def rl_op_def_native_norm = {
    .schema = "native_norm(Tensor input, int[] dim, Tensor? weight, Tensor? bias, float eps, bool center) -> "
              "(Tensor output, Tensor mean, Tensor var)",
    .doc = "output = (input - mean) / sqrt(var + eps) weight + bias; var = mean((input - mean)^2) over dim",
    .note = "mean is that over dim, or 0 (and the result mean without elements) where center is false. weight and bias "
            "broadcast to input. Statistics are float32, of float64 float64, with the dimensions dim as 1.",
    .flags = RL_OP_ROWS,
    .saves = RL_SAVE_IN(0) | RL_SAVE_IN(2) | RL_SAVE_OUT(1) | RL_SAVE_OUT(2),
    .infer = native_norm_infer,
    .lower = native_norm_lower,
    .vjp = native_norm_vjp,
    .samples = native_norm_samples,
    .bad = native_norm_bad,
};
