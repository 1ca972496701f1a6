/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Derivatives of every op, of first and second order, on every sample against differences: test_gradcheck
 * [OP,OP... or PART/PARTS]. On the reference device, or on those that RUSHLIGHT_TEST_DEVICES names.
 */
#include <string.h>

#include "driver.h"
#include "rushlight/autograd.h"

typedef rl_status (*gradient_check)(rl_tensor_fn fn, void *context, rl_tensors inputs, int64_t n_outputs,
                                    const rl_gradcheck_options *options);

static void check_derivative(trial *self, check_kind kind, gradient_check run) {
    RL_SCOPE();
    rl_test_call *call = rl_test_sample_call(self->op, self->number, RL_F64, self->device, RL_TEST_CONTIGUOUS);
    if (call == NULL) {
        check(self, kind, false, "%s", rl_error_text());
        return;
    }
    rl_tensors inputs = rl_test_inputs(call);
    int64_t n_outputs = rl_test_output_count(call);
    if (inputs.count == 0 || n_outputs == 0) /* of an op that gives integers: nothing to differentiate */
        return;
    for (int64_t i = 0; i < inputs.count; i++)
        rl_requires_grad(inputs.data[i], true);
    rl_status status = run(rl_test_apply, call, inputs, n_outputs, NULL);
    check(self, kind, status == RL_OK, "%s", rl_error_text());
}

static void try_op(driver *self, trial *t) {
    for (t->number = 0; t->number < rl_test_sample_count(t->op); t->number++) {
        rl_test_sample sample = {.struct_size = sizeof sample};
        if (!rl_test_sample_describe(t->op, t->number, &sample) || !sample.differentiable)
            continue;
        t->args = sample.args;
        for (int k = 0; k < self->n_devices; k++) {
            t->device = self->devices[k];
            check_derivative(t, CHECK_GRADIENT, rl_gradcheck_opt);
            check_derivative(t, CHECK_SECOND, rl_gradgradcheck_opt);
        }
    }
}

int main(int argc, char **argv) {
    driver self = {0};
    if (!find_ops(&self, argc, argv) || !find_devices(&self, "ref"))
        return 1;
    int tried = 0;
    for (size_t op = 0; op < rl_op_count(); op++) {
        rl_op_info info = {.struct_size = sizeof info};
        rl_op_describe(op, &info);
        if (!is_wanted(&self, op, info.name))
            continue;
        trial t = {.driver = &self, .op = op, .name = info.name, .args = "", .device = self.ref, .dtype = RL_F64};
        try_op(&self, &t);
        tried++;
    }
    return report(&self, tried);
}
