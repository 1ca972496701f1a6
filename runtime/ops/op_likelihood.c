/* SPDX-License-Identifier: Apache-2.0 */
/* Negative log likelihoods of numbers: Poisson and Gaussian. Made of other ops. */
#include "ops/op_loss.h"
#include "ops/op_rows.h"

#define HALF_LOG_2PI 0.91893853320467274178
#define TWO_PI 6.28318530717958647693

/* args: input, target, log_input, full, eps, reduction */
static rl_status poisson_nll_loss_lower(rl_call *call) {
    rl_tensor *x = rl_arg_tensor(call, 0), *t = rl_arg_tensor(call, 1);
    rl_tensor *each = rl_arg_bool(call, 2) ? rl_sub(rl_exp(x), rl_mul(t, x))
                                           : rl_sub(x, rl_mul(t, rl_log(rl_add(x, rl_arg_double(call, 4)))));
    if (rl_arg_bool(call, 3)) { /* Stirling's log(t!) */
        rl_tensor *stirling = rl_add(rl_sub(rl_mul(t, rl_log(t)), t), rl_mul(rl_log(rl_mul(t, TWO_PI)), 0.5));
        each = rl_add(each, rl_only_where(rl_gt(t, 1), stirling));
    }
    return rl_loss_result(call, 5, each);
}

static const rl_sample poisson_samples[] = {{"f[3,4], p[3,4]"},
                                            {"f[], p[], true, true"},
                                            {"p[5,7]t, p[5,7], false, reduction=\"sum\""},
                                            {"p[33]s, p[33], false, true, 0.5, \"none\""},
                                            {"f[0,3], p[0,3], reduction=\"sum\""},
                                            {0}};
static const rl_bad poisson_bad[] = {{"f[2,3], f[4]", RL_SHAPE_MISMATCH, "do not broadcast"},
                                     {"f[3], f[3], reduction=\"max\"", RL_INVALID_ARGUMENT, "reduction must be"},
                                     {0}};

const rl_op_def rl_op_def_poisson_nll_loss = {
    .schema = "poisson_nll_loss(Tensor input, Tensor target, bool log_input=True, bool full=False, float eps=1e-8, "
              "str reduction='mean') -> Tensor",
    .doc = "y = mean of e^input - target input; input - target log(input + eps) where log_input is false",
    .note = "full adds Stirling's approximation of log(target!) where target > 1.",
    .flags = RL_OP_COMPOSITE | RL_OP_AUTOCAST_F32,
    .lower = poisson_nll_loss_lower,
    .samples = poisson_samples,
    .bad = poisson_bad,
};

/* var as it broadcasts against input: of its shape, or with the last size 1 or absent. */
static rl_tensor *fitting_variance(const rl_call *call, const rl_tensor *x, rl_tensor *var) {
    bool fits = var->ndim == x->ndim || var->ndim == x->ndim - 1;
    for (int d = 0; fits && d < var->ndim; d++)
        fits = var->shape[d] == x->shape[d] || (d == x->ndim - 1 && var->shape[d] == 1);
    char x_text[RL_SHAPE_TEXT], var_text[RL_SHAPE_TEXT];
    if (!fits && var->ndim > 0) {
        (void)rl_call_fail(call, RL_SHAPE_MISMATCH,
                           "var %s must have the shape of input %s, or 1 or nothing as its last size",
                           rl_shape_text(var->ndim, var->shape, var_text), rl_shape_text(x->ndim, x->shape, x_text));
        return NULL;
    }
    return fits && var->ndim < x->ndim ? rl_unsqueeze(var, -1) : var;
}

/* args: input, target, var, full, eps, reduction. var is held above eps; its gradient is not. */
static rl_status gaussian_nll_loss_lower(rl_call *call) {
    rl_tensor *x = rl_arg_tensor(call, 0), *t = rl_arg_tensor(call, 1);
    rl_tensor *var = fitting_variance(call, x, rl_arg_tensor(call, 2));
    double eps = rl_arg_double(call, 4);
    if (var == NULL)
        return rl_error_status();
    if (!(eps > 0.0))
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "eps must be greater than 0, got %g", eps);
    bool recording = rl_recording_;
    rl_recording_ = false;
    rl_tensor *missing = rl_sub(rl_clamp_min(var, eps), var);
    rl_recording_ = recording;
    var = rl_add(var, missing);
    rl_tensor *each = rl_mul(rl_add(rl_log(var), rl_div(rl_square(rl_sub(x, t)), var)), 0.5);
    if (rl_arg_bool(call, 3))
        each = rl_add(each, HALF_LOG_2PI);
    return rl_loss_result(call, 5, each);
}

static const rl_sample gaussian_samples[] = {{"f[3,4], f[3,4], p[3,4]"},
                                             {"f[3,4], f[3,4], p[3], true"},
                                             {"f[5,7]t, f[5,7], p[5,1], reduction=\"sum\""},
                                             {"f[33]s, f[33], p[33], true, 1e-3, \"none\""},
                                             {"f[0,3], f[0,3], p[0,3], reduction=\"sum\""},
                                             {0}};
static const rl_bad gaussian_bad[] = {
    {"f[2,3], f[2,3], p[3]", RL_SHAPE_MISMATCH, "var (3) must have the shape of input (2, 3)"},
    {"f[2,3], f[2,3], p[2,3], false, -1.0", RL_INVALID_ARGUMENT, "eps must be greater than 0, got -1"},
    {0}};

const rl_op_def rl_op_def_gaussian_nll_loss = {
    .schema = "gaussian_nll_loss(Tensor input, Tensor target, Tensor var, bool full=False, float eps=1e-6, "
              "str reduction='mean') -> Tensor",
    .doc = "y = mean of (log(v) + (input - target)^2 / v) / 2, v = max(var, eps); full adds log(2 pi) / 2",
    .note = "var has the shape of input, or 1 or nothing as its last size.",
    .flags = RL_OP_COMPOSITE,
    .lower = gaussian_nll_loss_lower,
    .samples = gaussian_samples,
    .bad = gaussian_bad,
};
