/* SPDX-License-Identifier: Apache-2.0 */
/* Clipping of gradients: what is computed stays on the device. */
#include <math.h>

#include "base/memory.h"
#include "base/sized.h"
#include "optim/gradients.h"
#include "optim/rules.h"
#include "rushlight/autograd.h"
#include "rushlight/ops.h"

typedef struct gradient_list {
    rl_tensor **data; /* rl_free() */
    int64_t count;
} gradient_list;

/* The gradients that there are, of the module's parameters or of these. */
static rl_status gradients_of(const char *function, const rl_module *module, rl_tensors parameters,
                              gradient_list *out) {
    *out = (gradient_list){0};
    if (rl_failed())
        return rl_error_status();
    if (!module && !parameters.data && parameters.count == 0)
        return rl_fail(RL_INVALID_ARGUMENT, "%s: neither a module nor .parameters is given", function);
    if (parameters.data && rl_tensors_check(function, "parameter", parameters, 0, INT32_MAX) != RL_OK)
        return rl_error_status();
    int64_t count = parameters.data ? parameters.count : rl_module_parameters(module, NULL, 0);
    if (!(out->data = rl_alloc_zero((size_t)count + 1, sizeof *out->data, "gradients")))
        return rl_error_status();
    if (!parameters.data) {
        rl_module_parameters(module, out->data, count);
        parameters.data = out->data;
    }
    for (int64_t i = 0; i < count; i++) {
        rl_tensor *grad = rl_grad(parameters.data[i]);
        if (grad)
            out->data[out->count++] = grad;
    }
    return rl_error_status();
}

/* The norm of all as one vector, where the first of them is; the norm of their norms. */
static rl_tensor *total_norm(const gradient_list *gradients, double order) {
    RL_SCOPE();
    if (gradients->count == 0)
        return rl_keep(rl_zeros(RL_NO_DIMS, .dtype = RL_F32));
    rl_tensor **norms = rl_alloc_zero((size_t)gradients->count, sizeof *norms, "norms"), *total = NULL;
    if (!norms)
        return NULL;
    for (int64_t i = 0; i < gradients->count; i++)
        norms[i] = rl_to(rl_linalg_vector_norm(gradients->data[i], .ord = rl_option_of_real(order)),
                         .device = rl_tensor_device(gradients->data[0]));
    if (!rl_failed())
        total =
            rl_linalg_vector_norm(rl_stack(((rl_tensors){norms, gradients->count})), .ord = rl_option_of_real(order));
    rl_free(norms);
    return rl_keep(total);
}

static rl_status check_finite(rl_tensor *norm, double order) {
    double value = rl_item(norm);
    if (rl_failed() || isfinite(value))
        return rl_error_status();
    return rl_fail(RL_INVALID_ARGUMENT,
                   "clip_grad_norm: the norm of order %g of the gradients is %g and cannot be clipped; leave "
                   "error_if_nonfinite away to scale them by it nevertheless",
                   order, value);
}

static rl_tensor *clip_norm(const gradient_list *gradients, double max_norm, double order, bool must_be_finite) {
    RL_SCOPE();
    RL_NO_GRAD();
    rl_tensor *norm = total_norm(gradients, order);
    if (!norm || (must_be_finite && check_finite(norm, order)))
        return NULL;
    rl_tensor *factor = rl_clamp_max(rl_mul(rl_reciprocal(rl_add(norm, 1e-6)), max_norm), 1.0);
    gradient_work work = {"clip_grad_norm", gradients_times_factor, factor, NULL};
    if (rl_failed() || gradients_change(&work, gradients->data, gradients->count))
        return NULL;
    return rl_keep(norm);
}

rl_tensor *rl_clip_grad_norm_opt(rl_module *module, double max_norm, const rl_clip_grad_options *given) {
    rl_clip_grad_options o = {0};
    gradient_list gradients = {0};
    rl_tensor *norm = NULL;
    if (rl_failed() || rl_sized_take("clip_grad_norm", &o, sizeof o, given) != RL_OK)
        return NULL;
    double order = rl_option_real(o.norm_type, 2.0);
    if (isnan(order) || isnan(max_norm))
        return rl_fail_null(RL_INVALID_ARGUMENT,
                            "clip_grad_norm: max_norm and norm_type must be numbers, got %g and %g", max_norm, order);
    if (gradients_of("clip_grad_norm", module, o.parameters, &gradients) == RL_OK)
        norm = clip_norm(&gradients, max_norm, order, o.error_if_nonfinite);
    rl_free(gradients.data);
    return norm;
}

/* min(max(g, -limit), limit); NaN stays. */
static const rl_program *clamp_program(rl_dtype grad_dtype, rl_dtype unused) {
    rl_builder builder, *b = &builder;
    rl_dtype c = compute_dtype(grad_dtype);
    (void)unused;
    rl_builder_init(b);
    rl_pw g = input(b, grad_dtype, c), low = rl_build_scalar(b, c), high = rl_build_scalar(b, c);
    rl_build_output(b, OP2(MIN, OP2(MAX, g, low), high), grad_dtype);
    return rl_builder_finish(b);
}

rl_status rl_clip_grad_value_opt(rl_module *module, double clip_value, const rl_clip_grad_options *given) {
    rl_clip_grad_options o = {0};
    gradient_list gradients = {0};
    if (rl_failed() || rl_sized_take("clip_grad_value", &o, sizeof o, given) != RL_OK)
        return rl_error_status();
    if (isnan(clip_value))
        return rl_fail(RL_INVALID_ARGUMENT, "clip_grad_value: clip_value must be a number, got %g", clip_value);
    rl_number limits[2] = {{.f = -clip_value}, {.f = clip_value}};
    gradient_work work = {"clip_grad_value", clamp_program, NULL, limits};
    if (gradients_of("clip_grad_value", module, o.parameters, &gradients) == RL_OK)
        gradients_change(&work, gradients.data, gradients.count);
    rl_free(gradients.data);
    return rl_error_status();
}
