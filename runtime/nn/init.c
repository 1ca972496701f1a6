/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "base/error.h"
#include "base/sized.h"
#include "rushlight/autograd.h"
#include "rushlight/nn.h"
#include "rushlight/ops.h"
#include "tensor/tensor.h"

rl_tensor *rl_init_uniform(rl_tensor *self, double low, double high) {
    RL_NO_GRAD();
    return rl_uniform_(self, .from = rl_option_of_real(low), .to = rl_option_of_real(high));
}
rl_tensor *rl_init_normal(rl_tensor *self, double mean, double std) {
    RL_NO_GRAD();
    return rl_normal_(self, .mean = mean, .std = rl_option_of_real(std));
}
rl_tensor *rl_init_constant(rl_tensor *self, double value) {
    RL_NO_GRAD();
    return rl_fill_(self, value);
}

/* Of a weight (out, in, kernel ...): in times kernel, out times kernel. */
static rl_status fans(const char *name, const rl_tensor *self, double *out_fan_in, double *out_fan_out) {
    double field = 1.0;
    if (rl_failed())
        return rl_error_status();
    if (!self)
        return rl_fail(RL_INVALID_ARGUMENT, "%s: self is NULL", name);
    if (self->ndim < 2)
        return rl_fail(RL_SHAPE_MISMATCH, "%s: self must have at least 2 dimensions, has %d", name, self->ndim);
    for (int d = 2; d < self->ndim; d++)
        field *= (double)self->shape[d];
    *out_fan_in = (double)self->shape[1] * field;
    *out_fan_out = (double)self->shape[0] * field;
    return RL_OK;
}

rl_tensor *rl_init_xavier_uniform(rl_tensor *self, double gain) {
    double in = 0.0, out = 0.0, bound;
    if (fans("xavier_uniform", self, &in, &out))
        return NULL;
    bound = in + out > 0.0 ? gain * sqrt(6.0 / (in + out)) : 0.0;
    return rl_init_uniform(self, -bound, bound);
}
rl_tensor *rl_init_xavier_normal(rl_tensor *self, double gain) {
    double in = 0.0, out = 0.0;
    if (fans("xavier_normal", self, &in, &out))
        return NULL;
    return rl_init_normal(self, 0.0, in + out > 0.0 ? gain * sqrt(2.0 / (in + out)) : 0.0);
}

static double kaiming_std(double a, double fan_in) {
    return fan_in > 0.0 ? sqrt(2.0 / (1.0 + a * a) / fan_in) : 0.0;
}

rl_tensor *rl_init_kaiming_uniform(rl_tensor *self, double a) {
    double in = 0.0, out = 0.0, bound;
    if (fans("kaiming_uniform", self, &in, &out))
        return NULL;
    bound = sqrt(3.0) * kaiming_std(a, in);
    return rl_init_uniform(self, -bound, bound);
}
rl_tensor *rl_init_kaiming_normal(rl_tensor *self, double a) {
    double in = 0.0, out = 0.0;
    if (fans("kaiming_normal", self, &in, &out))
        return NULL;
    return rl_init_normal(self, 0.0, kaiming_std(a, in));
}
