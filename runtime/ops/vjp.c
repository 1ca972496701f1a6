/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/vjp.h"

rl_tensor *rl_vjp_grad(rl_vjp *self, int result) {
    return self->methods->grad(self, result);
}

rl_tensor *rl_vjp_input(rl_vjp *self, int arg) {
    return self->methods->input(self, arg);
}

rl_tensor *rl_vjp_result(rl_vjp *self, int result) {
    return self->methods->result(self, result);
}

const rl_value *rl_vjp_arg(rl_vjp *self, int arg) {
    return self->methods->arg(self, arg);
}

const rl_meta *rl_vjp_meta(rl_vjp *self, int arg) {
    return self->methods->meta(self, arg);
}

bool rl_vjp_needs(const rl_vjp *self, int arg) {
    return self->methods->needs(self, arg);
}

void rl_vjp_set(rl_vjp *self, int arg, rl_tensor *gradient) {
    self->methods->set(self, arg, gradient);
}

void rl_vjp_set_element(rl_vjp *self, int arg, int64_t i, rl_tensor *gradient) {
    self->methods->set_element(self, arg, i, gradient);
}

const rl_meta *rl_vjp_element_meta(rl_vjp *self, int arg, int64_t i) {
    return self->methods->element_meta(self, arg, i);
}

int64_t rl_vjp_element_count(rl_vjp *self, int arg) {
    return self->methods->element_count(self, arg);
}
