/* SPDX-License-Identifier: Apache-2.0 */
/* Activations with numbers, and those with a parameter. */
#include "base/error.h"
#include "nn/layer.h"

LAYER(celu, "CELU", rl_celu(input, .alpha = rl_option_of_real(n->a)), "alpha=%s", PYTHON_FLOAT(n->a))
LAYER(hardtanh, "Hardtanh", rl_hardtanh(input, .min_val = rl_option_of_real(n->a), .max_val = rl_option_of_real(n->b)),
      "min_val=%s, max_val=%s", PYTHON_FLOAT(n->a), PYTHON_FLOAT(n->b))
LAYER(hardshrink, "Hardshrink", rl_hardshrink(input, .lambd = rl_option_of_real(n->a)), "%s", PYTHON_FLOAT(n->a))
LAYER(softshrink, "Softshrink", rl_softshrink(input, .lambd = rl_option_of_real(n->a)), "%s", PYTHON_FLOAT(n->a))
LAYER(threshold, "Threshold", rl_threshold(input, RL_VALUE(n->a), RL_VALUE(n->b)), "threshold=%s, value=%s",
      PYTHON_FLOAT(n->a), PYTHON_FLOAT(n->b))
LAYER(rrelu, "RReLU",
      rl_rrelu(input, .lower = rl_option_of_real(n->a), .upper = rl_option_of_real(n->b),
               .training = rl_module_is_training(self)),
      "lower=%s, upper=%s", PYTHON_FLOAT(n->a), PYTHON_FLOAT(n->b))
LAYER(softmin, "Softmin", rl_softmin(input, n->i), "dim=%lld", (long long)n->i)
LAYER(glu, "GLU", rl_glu(input, .dim = rl_option_of_int(n->i)), "dim=%lld", (long long)n->i)

rl_module *rl_nn_celu(double alpha) {
    return layer_new(&celu_class, (layer_numbers){.a = alpha});
}
rl_module *rl_nn_hardtanh(double min_val, double max_val) {
    if (!rl_failed() && !(min_val < max_val))
        return rl_fail_null(RL_INVALID_ARGUMENT, "hardtanh: min_val must be less than max_val, got %g and %g", min_val,
                            max_val);
    return layer_new(&hardtanh_class, (layer_numbers){.a = min_val, .b = max_val});
}
rl_module *rl_nn_hardshrink(double lambd) {
    return layer_new(&hardshrink_class, (layer_numbers){.a = lambd});
}
rl_module *rl_nn_softshrink(double lambd) {
    return layer_new(&softshrink_class, (layer_numbers){.a = lambd});
}
rl_module *rl_nn_threshold(double threshold, double value) {
    return layer_new(&threshold_class, (layer_numbers){.a = threshold, .b = value});
}
rl_module *rl_nn_rrelu(double lower, double upper) {
    return layer_new(&rrelu_class, (layer_numbers){.a = lower, .b = upper});
}
rl_module *rl_nn_softmin(int64_t dim) {
    return layer_new(&softmin_class, (layer_numbers){.i = dim});
}
rl_module *rl_nn_glu(int64_t dim) {
    return layer_new(&glu_class, (layer_numbers){.i = dim});
}

/* PReLU --------------------------------------------------------------------------------------------------------------
 */

static rl_tensor *prelu_forward(rl_module *self, rl_tensor *input) {
    rl_tensor *const *weight = rl_module_data(self);
    return rl_prelu(input, *weight);
}
static void prelu_describe(const rl_module *self, char *text, size_t room) {
    rl_tensor *const *weight = rl_module_data(self);
    snprintf(text, room, "num_parameters=%lld", (long long)rl_tensor_numel(*weight));
}
static const rl_module_class prelu_class = {.struct_size = sizeof(rl_module_class),
                                            .name = "PReLU",
                                            .data_bytes = sizeof(rl_tensor *), /* weight, borrowed from the entries */
                                            .forward = prelu_forward,
                                            .describe = prelu_describe};

rl_module *rl_nn_prelu(int64_t num_parameters, double init) {
    rl_module *self;
    rl_tensor **weight;
    if (rl_failed())
        return NULL;
    if (num_parameters < 1)
        return rl_fail_null(RL_INVALID_ARGUMENT, "prelu: num_parameters must be at least 1, got %lld",
                            (long long)num_parameters);
    if (!(self = rl_module_new(&prelu_class)))
        return NULL;
    RL_SCOPE();
    weight = rl_module_data(self);
    *weight = rl_full(RL_DIMS(num_parameters), init, .dtype = RL_F32);
    rl_module_add_parameter(self, "weight", *weight);
    return rl_failed() ? NULL : self;
}
