/* SPDX-License-Identifier: Apache-2.0 */
/* native_norm_backward: the fused row, its lowering, and its own derivative, in which mean and var stand as arguments
 * of their own: what they owe to input, the derivative of native_norm adds. */
#include <string.h>

#include "ops/op_native_norm.h"

/* args: grad_output, input, weight, mean, var, dim, eps, need_input, need_weight, need_bias */
enum { GRAD, INPUT, WEIGHT, MEAN, VAR, DIM, EPS, NEED_INPUT, NEED_WEIGHT, NEED_BIAS };

static rl_status check_shape(const rl_call *call, int arg, const char *name, int64_t ndim, const int64_t *shape) {
    const rl_tensor *t = rl_arg_tensor(call, arg);
    char text[RL_SHAPE_TEXT], expected[RL_SHAPE_TEXT];
    if (t->ndim == ndim && memcmp(t->shape, shape, (size_t)ndim * sizeof *shape) == 0)
        return RL_OK;
    return rl_call_fail(call, RL_SHAPE_MISMATCH, "%s must have shape %s, not %s", name,
                        rl_shape_text(ndim, shape, expected), rl_shape_text(t->ndim, t->shape, text));
}

static rl_status check_statistic(const rl_call *call, int arg, const char *name, const rl_norm_shape *shape) {
    const rl_tensor *input = rl_arg_tensor(call, INPUT);
    int64_t kept[RL_MAX_DIMS];
    rl_norm_kept(input, ~shape->normalized, kept);
    rl_status status = check_shape(call, arg, name, input->ndim, kept);
    return status == RL_OK ? rl_check_float(call, arg) : status;
}

static rl_status backward_infer(rl_call *call) {
    const rl_tensor *input = rl_arg_tensor(call, INPUT), *weight = rl_arg_tensor(call, WEIGHT);
    rl_norm_shape shape;
    rl_status status = rl_norm_read(call, INPUT, DIM, weight, &shape);
    if (status == RL_OK)
        status = rl_infer_same_as_input(call); /* the devices */
    if (status == RL_OK)
        status = check_shape(call, GRAD, "grad_output", input->ndim, input->shape);
    if (status == RL_OK)
        status = rl_check_dtype_is(call, GRAD, (rl_dtype)input->dtype);
    if (status == RL_OK && rl_arg_given(call, MEAN))
        status = check_statistic(call, MEAN, "mean", &shape);
    if (status == RL_OK)
        status = check_statistic(call, VAR, "var", &shape);
    if (status != RL_OK)
        return status;
    if (weight == NULL && (rl_arg_bool(call, NEED_WEIGHT) || rl_arg_bool(call, NEED_BIAS)))
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "without weight there are no need_weight and need_bias");
    rl_meta_set(&call->meta[0], (rl_dtype)input->dtype, input->storage->device, input->ndim, input->shape);
    if (!input->contiguous) {
        call->meta[0].has_stride = true;
        rl_dense_strides_like(input->ndim, input->shape, input->stride, call->meta[0].stride);
    }
    for (int i = 1; i < 3 && weight; i++)
        rl_meta_set(&call->meta[i], (rl_dtype)weight->dtype, input->storage->device, weight->ndim, weight->shape);
    for (int i = 0; i < 3; i++)
        if (!rl_arg_bool(call, NEED_INPUT + i))
            rl_norm_absent(call, i);
    return RL_OK;
}

/* Lowering -------------------------------------------------------------------------------------------------------- */

/* g weight, or g */
static rl_pw write_weighted(rl_builder *b, uint32_t key) {
    rl_pw g = rl_key_input(b, key);
    return rl_key_variant(key) & RL_NORM_WEIGHT ? MUL(g, rl_norm_write_param(b, key)) : g;
}
/* d z, and d where it is centered */
static void write_products(rl_builder *b, uint32_t key) {
    rl_pw z = rl_norm_write_standard(b, key, NULL), d = write_weighted(b, key);
    rl_build_output(b, MUL(d, z), rl_key_compute(key));
    if (rl_key_variant(key) & RL_NORM_CENTER)
        rl_build_output(b, d, rl_key_compute(key));
}
static void write_means(rl_builder *b, uint32_t key) {
    rl_dtype compute = rl_key_compute(key);
    bool two = rl_key_variant(key) & RL_NORM_CENTER;
    rl_pw first = rl_build_input(b, compute), second = two ? rl_build_input(b, compute) : first;
    rl_pw count = rl_build_scalar(b, compute);
    rl_build_output(b, DIV(first, count), compute);
    if (two)
        rl_build_output(b, DIV(second, count), compute);
}
/* (d - z mean(d z) - mean(d)) / root */
static void write_grad_input(rl_builder *b, uint32_t key) {
    rl_pw root, z = rl_norm_write_standard(b, key, &root), d = write_weighted(b, key);
    rl_pw y = SUB(d, MUL(z, rl_build_input(b, rl_key_compute(key))));
    if (rl_key_variant(key) & RL_NORM_CENTER)
        y = SUB(y, rl_build_input(b, rl_key_compute(key)));
    rl_build_output(b, DIV(y, root), rl_key_out(key));
}
/* g z and g, as they are wanted */
static void write_affine(rl_builder *b, uint32_t key) {
    bool weight = rl_key_variant(key) & RL_NORM_GRAD_WEIGHT;
    rl_pw z = weight ? rl_norm_write_standard(b, key, NULL) : 0, g = rl_key_input(b, key);
    if (weight)
        rl_build_output(b, MUL(g, z), rl_key_compute(key));
    if (rl_key_variant(key) & RL_NORM_GRAD_BIAS)
        rl_build_output(b, g, rl_key_compute(key));
}
static void write_results(rl_builder *b, uint32_t key) {
    uint32_t both = RL_NORM_GRAD_WEIGHT | RL_NORM_GRAD_BIAS;
    rl_pw first = rl_build_input(b, rl_key_compute(key));
    rl_pw second = (rl_key_variant(key) & both) == both ? rl_build_input(b, rl_key_compute(key)) : first;
    rl_build_output(b, first, rl_key_out(key));
    if (second != first)
        rl_build_output(b, second, rl_key_out(key));
}

typedef struct backward {
    rl_call *call;
    rl_norm_shape shape;
    rl_tensor *g, *x, *weight, *mean, *var; /* over x's shape; weight and mean may be NULL */
    rl_tensor *grad_input, *grad_affine[2]; /* NULL where absent; of weight and bias */
} backward;

/* x, mean, var, g, weight: those of them that are there. Returns how many. */
static int gather_inputs(const backward *self, bool standard, bool weight, rl_tensor **out) {
    rl_tensor *all[] = {standard ? self->x : NULL, standard ? self->mean : NULL, standard ? self->var : NULL, self->g,
                        weight ? self->weight : NULL};
    int n = 0;
    for (int i = 0; i < 5; i++)
        if (all[i])
            out[n++] = all[i];
    return n;
}

static rl_status run_reduce(const backward *self, const rl_program *prologue, const rl_program *epilogue,
                            rl_tensor *const *inputs, rl_tensor *const *outputs, uint32_t mask) {
    rl_number eps = {.f = rl_arg_double(self->call, EPS)}, count = {.f = self->shape.count};
    rl_reduce_task task = {.prologue = prologue,
                           .epilogue = epilogue,
                           .combiner = {RL_COMBINE_SUM, RL_COMBINE_SUM},
                           .inputs = inputs,
                           .outputs = outputs,
                           .scalars = &eps,
                           .epilogue_scalars = &count,
                           .ndim = self->x->ndim,
                           .shape = self->x->shape,
                           .reduced = mask};
    return prologue && epilogue ? rl_row_reduce(rl_call_name(self->call), &task) : rl_error_status();
}

static rl_status lower_grad_input(const backward *self, uint32_t variant) {
    rl_dtype compute = self->shape.stat;
    rl_tensor *inputs[7], *x = self->x;
    int n = gather_inputs(self, true, true, inputs);
    rl_tensor *means[2] = {rl_reduced_temp(self->call, x, self->shape.normalized, compute), NULL};
    if (self->mean)
        means[1] = rl_reduced_temp(self->call, x, self->shape.normalized, compute);
    if (rl_failed())
        return rl_error_status();
    uint32_t key = RL_KEY(x->dtype, compute, x->dtype, variant);
    rl_status status = run_reduce(self, rl_row_program(write_products, key), rl_row_program(write_means, key), inputs,
                                  means, self->shape.normalized);
    const rl_program *program = rl_row_program(write_grad_input, key);
    if (status != RL_OK || program == NULL)
        return rl_error_status();
    inputs[n++] = means[0];
    inputs[n] = means[1];
    rl_tensor *out = self->grad_input;
    return rl_row_map(rl_call_name(self->call), program, inputs, &out,
                      &(rl_number){.f = rl_arg_double(self->call, EPS)});
}

static rl_status lower_affine(const backward *self, uint32_t variant) {
    rl_tensor *inputs[5], *outputs[2];
    int n = 0;
    for (int i = 0; i < 2; i++)
        if (self->grad_affine[i]) {
            outputs[n++] = self->grad_affine[i];
            variant |= i == 0 ? RL_NORM_GRAD_WEIGHT : RL_NORM_GRAD_BIAS;
        }
    gather_inputs(self, self->grad_affine[0], false, inputs);
    uint32_t key = RL_KEY(self->x->dtype, self->shape.stat, self->shape.param, variant);
    uint32_t others = ~self->shape.affine & ((1u << self->x->ndim) - 1);
    return run_reduce(self, rl_row_program(write_affine, key), rl_row_program(write_results, key), inputs, outputs,
                      others);
}

static rl_status lower_backward(const backward *self) {
    uint32_t variant = (self->mean ? RL_NORM_CENTER : 0u) | (self->weight ? RL_NORM_WEIGHT : 0u) |
                       (uint32_t)self->shape.param << RL_NORM_PARAM_SHIFT;
    rl_status status = self->grad_input ? lower_grad_input(self, variant) : RL_OK;
    if (status == RL_OK && (self->grad_affine[0] || self->grad_affine[1]))
        status = lower_affine(self, variant);
    return status;
}

/* A gradient of weight's shape, row-major, as one of input's number of dimensions. */
static rl_tensor *over_affine(const backward *self, rl_tensor *t) {
    int64_t shape[RL_MAX_DIMS], stride[RL_MAX_DIMS];
    rl_norm_kept(self->x, self->shape.affine, shape);
    rl_contiguous_strides(self->x->ndim, shape, stride);
    return rl_over(t, self->x->ndim, shape, stride, t->offset);
}

static rl_status run_backward(const backward *self) {
    rl_call *call = self->call;
    bool ran;
    rl_norm_backward_args args = {.dtype = self->x->dtype,
                                  .param_dtype = self->shape.param,
                                  .stat_dtype = self->shape.stat,
                                  .normalized = self->shape.normalized,
                                  .affine = self->shape.affine,
                                  .center = self->mean != NULL,
                                  .ndim = self->x->ndim,
                                  .eps = rl_arg_double(call, EPS)};
    memcpy(args.shape, self->x->shape, (size_t)self->x->ndim * sizeof *args.shape);
    rl_tensor *operands[] = {self->g,   self->x,          self->weight,         self->mean,
                             self->var, self->grad_input, self->grad_affine[0], self->grad_affine[1]};
    rl_status status = rl_row_fused(rl_call_name(call), RL_ROW_NORM_BACKWARD, &args, sizeof args, operands, 8, &ran);
    return status == RL_OK && !ran ? lower_backward(self) : status;
}

static rl_status native_norm_backward_lower(rl_call *call) {
    backward self = {.call = call, .g = rl_arg_tensor(call, GRAD), .x = rl_arg_tensor(call, INPUT)};
    rl_status status = rl_norm_read(call, INPUT, DIM, rl_arg_tensor(call, WEIGHT), &self.shape);
    for (int i = 0; i < 3 && status == RL_OK && self.x->numel == 0; i++)
        status = rl_clear(rl_call_name(call), call->results[i]);
    if (status != RL_OK || self.x->numel == 0)
        return status;
    self.weight = rl_norm_over_input(self.x, rl_arg_tensor(call, WEIGHT));
    self.mean = rl_arg_given(call, MEAN) ? rl_as_dtype(call, rl_arg_tensor(call, MEAN), self.shape.stat) : NULL;
    self.var = rl_as_dtype(call, rl_arg_tensor(call, VAR), self.shape.stat);
    self.grad_input = rl_arg_bool(call, NEED_INPUT) ? call->results[0] : NULL;
    for (int i = 0; i < 2; i++)
        self.grad_affine[i] = rl_arg_bool(call, NEED_WEIGHT + i) ? over_affine(&self, call->results[1 + i]) : NULL;
    return rl_failed() ? rl_error_status() : run_backward(&self);
}

/* Derivative ------------------------------------------------------------------------------------------------------ */

/* The gradient of a result that is there, else NULL. */
static rl_tensor *gradient_of(rl_vjp *v, int result) {
    rl_tensor *t = rl_vjp_grad(v, result);
    return rl_vjp_arg(v, NEED_INPUT + result)->as.b ? t : NULL;
}
static rl_tensor *plus(rl_tensor *a, rl_tensor *b) {
    return a && b ? rl_add(a, b) : a ? a : b;
}
static rl_tensor *mean_over(rl_vjp *v, rl_tensor *a) {
    return rl_mean(a, .dim = rl_vjp_ints(v, DIM), .keepdim = true);
}

/*
 * With r = 1 / sqrt(var + eps), c = x - mean, z = c r, d = g w, and u, p, q the gradients of the three results:
 *     u gx summed = sum of r (d u - mean(d) mean(u) n - mean(d z) mean(u z) n) = sum of r d h,
 *     h = u - mean(u) - z mean(u z)
 * so that gg = w r h + p z + q, gw = g r h; what z gets is s = p g - r (d mean(u z) + u mean(d z)); then gx = s r,
 * gmean = -s r and gvar = -r^3/2 (d h + s c), each summed as the engine does.
 */
static void native_norm_backward_vjp(rl_vjp *v) {
    rl_tensor *u = gradient_of(v, 0), *p = gradient_of(v, 1), *q = gradient_of(v, 2);
    rl_tensor *g = rl_vjp_input(v, GRAD), *x = rl_vjp_input(v, INPUT), *w = rl_vjp_input(v, WEIGHT);
    rl_tensor *mean = rl_vjp_input(v, MEAN), *r = rl_rsqrt(rl_add(rl_vjp_input(v, VAR), NUMBER(EPS)));
    rl_tensor *c = mean ? rl_sub(x, mean) : x, *z = rl_mul(c, r), *s = NULL, *gg = NULL, *of_r = NULL;
    if (u) {
        rl_tensor *d = w ? rl_mul(g, w) : g, *uz = mean_over(v, rl_mul(u, z)), *h = rl_sub(u, rl_mul(z, uz));
        if (mean)
            h = rl_sub(h, mean_over(v, u));
        rl_tensor *rh = rl_mul(r, h);
        if (rl_vjp_needs(v, WEIGHT))
            rl_vjp_set(v, WEIGHT, rl_mul(g, rh));
        gg = w ? rl_mul(w, rh) : rh;
        of_r = rl_mul(d, h);
        s = rl_neg(rl_mul(r, rl_add(rl_mul(d, uz), rl_mul(u, mean_over(v, rl_mul(d, z))))));
    }
    if (p) {
        gg = plus(gg, rl_mul(p, z));
        s = plus(s, rl_mul(p, g));
    }
    gg = plus(gg, q);
    if (gg)
        rl_vjp_set(v, GRAD, rl_expand(gg, rl_vjp_shape(v, GRAD)));
    if (s == NULL)
        return;
    rl_tensor *sr = rl_mul(s, r);
    rl_vjp_set(v, INPUT, sr);
    if (mean && rl_vjp_needs(v, MEAN))
        rl_vjp_set(v, MEAN, rl_neg(sr));
    if (rl_vjp_needs(v, VAR))
        rl_vjp_set(v, VAR, rl_mul(plus(of_r, rl_mul(s, c)), rl_mul(rl_pow(r, 3), -0.5)));
}

#define ALL "true, true, true"
static const rl_sample backward_samples[] = {
    {"f[3,5], f[3,5], p[5], f[3,1], p[3,1], [1], 0.01, " ALL},
    {"f[4,3,5], f[4,3,5], p[3,1], f[1,3,1], p[1,3,1], [0,2], 0.01, " ALL},
    {"f[4,5,3], f[4,5,3], p[3], f[1,1,3], p[1,1,3], [0,1], 0.01, " ALL},
    {"f[2,3,2,5], f[2,3,2,5], p[3,2,1], f[2,3,1,1], p[2,3,1,1], [2,3], 0.1, " ALL},
    {"f[2,3,2,5], f[2,3,2,5]t, p[3,2,1], f[2,3,1,1], p[2,3,1,1], [2,3], 0.1, " ALL},
    {"f[3,5], f[3,5], p[5], None, p[3,1], [1], 0.01, true, true, false"},
    {"f[3,5], f[3,5], None, f[3,1], p[3,1], [1], 0.01, true, false, false"},
    {"f[3,5], f[3,5], p[5], f[3,1], p[3,1], [1], 0.01, false, false, true"},
    {"f[3,5], f[3,5], p[5], f[3,1], p[3,1], [1], 0.01, true, false, true"},
    {"f[2,3,4], f[2,3,4], None, f[2,1,1], p[2,1,1], [1,2], 0.01, true, false, false"},
    {"f[7,5]t, f[7,5]t, p[5], f[7,1], p[7,1], [1], 0.01, " ALL},
    {"f[33,5]e, f[33,5], p[5], f[33,1], p[33,1], [1], 0.01, " ALL},
    {"f[2,3,5,4]t, f[2,3,5,4]t, p[3,1,1]s, f[1,3,1,1], p[1,3,1,1], [0,2,3], 0.01, " ALL},
    {"f[2,6,5], f[2,6,5]t, p[6,1], f[2,6,1], p[2,6,1], [2], 0.01, " ALL},
    {"f[5,4], f[5,4], p[5,4], f[1,1], p[1,1], [0,1], 0.01, " ALL},
    {"f[2,5,4], f[2,5,4], p[5,1], f[2,1,4], p[2,1,4], [1], 0.01, " ALL},
    {"f[2,3,70], f[2,3,70], p[3,1], f[2,3,1], p[2,3,1], [2], 0.01, " ALL},
    {"f[131], f[131], p[131], f[1], p[1], [0], 0.01, " ALL},
    {"f[6,1], f[6,1], p[1], f[6,1], p[6,1], [1], 0.01, " ALL},
    {"f[16,1,8]t, f[16,1,8]t, p[1,1], f[16,1,1], p[16,1,1], [1,2], 0.01, " ALL},
    {"f[9,5]t, f[9,5]t, p[1], f[9,1], p[9,1], [1], 0.01, " ALL},
    {"f[0,3], f[0,3], p[3], f[0,1], p[0,1], [1], 0.01, " ALL},
    {0}};
static const rl_bad backward_bad[] = {
    {"f[3,4], f[3,5], p[5], f[3,1], p[3,1], [1], 0.01, " ALL, RL_SHAPE_MISMATCH, "grad_output must have shape (3, 5)"},
    {"f[3,5], f[3,5], p[5], f[3], p[3,1], [1], 0.01, " ALL, RL_SHAPE_MISMATCH, "mean must have shape (3, 1), not (3)"},
    {"f[3,5], f[3,5], p[5], f[3,1], p[1,5], [1], 0.01, " ALL, RL_SHAPE_MISMATCH, "var must have shape (3, 1)"},
    {"f[3,5], f[3,5], None, f[3,1], p[3,1], [1], 0.01, " ALL, RL_INVALID_ARGUMENT, "without weight"},
    {"f16[3,5], f32[3,5], p[5], f[3,1], p[3,1], [1], 0.01, " ALL, RL_DTYPE_MISMATCH, "grad_output must be float32"},
    {0}};
#undef ALL

const rl_op_def rl_op_def_native_norm_backward = {
    .schema = "native_norm_backward(Tensor grad_output, Tensor input, Tensor? weight, Tensor? mean, Tensor var, "
              "int[] dim, float eps, bool need_input, bool need_weight, bool need_bias) -> "
              "(Tensor grad_input, Tensor grad_weight, Tensor grad_bias)",
    .doc = "with d = g weight, z = (input - mean) / sqrt(var + eps): grad_input = (d - mean(d) - z mean(d z)) / "
           "sqrt(var + eps), grad_weight = sum(g z), grad_bias = sum(g)",
    .note =
        "The derivative of native_norm, whose mean (None: not centered) and var these are. What is not needed has no "
        "elements.",
    .flags = RL_OP_ROWS,
    .saves = RL_SAVE_IN(0) | RL_SAVE_IN(1) | RL_SAVE_IN(2) | RL_SAVE_IN(3) | RL_SAVE_IN(4),
    .infer = backward_infer,
    .lower = native_norm_backward_lower,
    .vjp = native_norm_backward_vjp,
    .samples = backward_samples,
    .bad = backward_bad,
};
