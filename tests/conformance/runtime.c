/* SPDX-License-Identifier: Apache-2.0 */
/* The plugin within the runtime: every op on every sample, and gradients. */
#include <string.h>

#include "conformance.h"
#include "rushlight/rushlight.h"
#include "rushlight/testing.h"

static const char *op_name(size_t op) {
    rl_op_info info = {.struct_size = sizeof info};
    return rl_op_describe(op, &info) ? info.name : "?";
}

/* Failures of the runtime are results here, not errors of ours. */
static const char *take_error(char *text, size_t room) {
    snprintf(text, room, "%s", rl_error_text());
    rl_error_clear();
    return text;
}

/* Ops -----------------------------------------------------------------------------------------------------------------
 */

static void run_sample(suite *self, rl_device *device, rl_device *ref, size_t op, size_t number, rl_dtype dtype,
                       rl_test_layout layout, bool inplace) {
    RL_SCOPE();
    char why[400];
    rl_test_sample sample = {.struct_size = sizeof sample};
    rl_test_sample_describe(op, number, &sample);
    if (!sample.layouts && layout != RL_TEST_AS_WRITTEN)
        return;
    rl_test_call *oracle = rl_test_sample_call(op, number, dtype, ref, layout);
    rl_test_call *ours = rl_test_sample_call(op, number, dtype, device, layout);
    bool agree = oracle && ours && rl_test_run(oracle, inplace) == RL_OK;
    if (inplace && !agree && oracle && ours) { /* its result does not fit into the first argument: no device's affair */
        rl_error_clear();
        return;
    }
    agree = agree && rl_test_run(ours, inplace) == RL_OK && rl_synchronize(device) == RL_OK;
    if (agree)
        agree = rl_test_agree(ours, oracle, why, sizeof why);
    if (agree && !rl_test_gaps_untouched(ours)) {
        agree = false;
        snprintf(why, sizeof why, "wrote beside the elements of an argument");
    }
    if (rl_failed()) {
        agree = false;
        take_error(why, sizeof why);
    }
    check(self, agree, "%s%s(%s), %s, %s: %s", op_name(op), inplace ? "_" : "", sample.args, dtype_text(dtype),
          rl_test_layout_name(layout), agree ? "" : why);
}

static void check_op(suite *self, rl_device *device, rl_device *ref, size_t op) {
    for (size_t s = 0; s < rl_test_sample_count(op); s++) {
        rl_test_sample sample = {.struct_size = sizeof sample};
        rl_test_sample_describe(op, s, &sample);
        if (sample.f64 && !self->f64)
            continue;
        for (const rl_dtype *dtype = suite_dtypes(self); *dtype; dtype++) {
            if (!(sample.dtypes >> *dtype & 1))
                continue;
            self->dtype = *dtype;
            for (int layout = 0; layout < RL_TEST_LAYOUT_COUNT; layout++) {
                run_sample(self, device, ref, op, s, *dtype, (rl_test_layout)layout, false);
                if (sample.inplace && layout != RL_TEST_AS_WRITTEN)
                    run_sample(self, device, ref, op, s, *dtype, (rl_test_layout)layout, true);
            }
        }
    }
    self->dtype = RL_DTYPE_NONE;
}

static void check_bad_inputs(suite *self, rl_device *device, size_t op) {
    for (size_t i = 0; i < rl_test_bad_count(op); i++) {
        RL_SCOPE();
        char why[400];
        rl_test_bad bad = {.struct_size = sizeof bad};
        rl_test_bad_describe(op, i, &bad);
        rl_test_call *call = rl_test_bad_call(op, i, device);
        rl_status status = call ? rl_test_run(call, false) : rl_error_status();
        if (status == RL_OK)
            status = rl_synchronize(device); /* a bad index may surface only here */
        take_error(why, sizeof why);
        check(self, status == bad.status, "%s(%s) must fail with status %d, has %d: %s", op_name(op), bad.args,
              (int)bad.status, (int)status, why);
    }
}

/* Gradients
 * ------------------------------------------------------------------------------------------------------------- */

static void check_gradients(suite *self, rl_device *device, size_t op) {
    for (size_t s = 0; s < rl_test_sample_count(op); s++) {
        RL_SCOPE();
        char why[400];
        rl_test_sample sample = {.struct_size = sizeof sample};
        rl_test_sample_describe(op, s, &sample);
        if (!sample.differentiable)
            continue;
        /* Each element of its own: where several are one place in memory, one cannot be moved alone. */
        rl_test_call *call = rl_test_sample_call(op, s, RL_F64, device, RL_TEST_CONTIGUOUS);
        rl_tensors inputs = call ? rl_test_inputs(call) : (rl_tensors){0};
        int64_t n_outputs = call ? rl_test_output_count(call) : 0;
        if (!rl_failed() && (inputs.count == 0 || n_outputs == 0))
            continue;
        for (int64_t i = 0; i < inputs.count; i++)
            rl_requires_grad(inputs.data[i], true);
        bool good = !rl_failed() && rl_gradcheck_opt(rl_test_apply, call, inputs, n_outputs, NULL) == RL_OK;
        take_error(why, sizeof why);
        check(self, good, "%s(%s): %s", op_name(op), sample.args, why);
    }
}

static bool is_wanted(const char *only, const char *part) {
    return only == NULL || strcmp(only, part) == 0;
}

void check_runtime(suite *self, const char *path, const char *name, const char *only) {
    char why[400];
    self->section = SECTION_OPS;
    rl_error_clear();
    rl_device *ref = rl_device_get("ref:0");
    rl_device *device =
        strcmp(name, "ref") == 0 ? ref : NULL; /* the linked-in one has that name: it is tried as itself */
    if (device == NULL && rl_backend_load(path) != RL_OK)
        rl_error_clear(); /* found already in its usual place: then the name is known */
    device = device ? device : rl_device_get(name);
    if (!check(self, device != NULL && ref != NULL, "the runtime cannot use it: %s", take_error(why, sizeof why)))
        return;
    rl_device_set_default(device);
    for (size_t op = 0; op < rl_op_count(); op++) {
        self->section = SECTION_OPS;
        if (is_wanted(only, "ops")) {
            check_op(self, device, ref, op);
            check_bad_inputs(self, device, op);
        }
        self->section = SECTION_GRADCHECK;
        if (self->f64 && is_wanted(only, "gradcheck"))
            check_gradients(self, device, op);
    }
    if (!self->f64)
        skip_section(self, SECTION_GRADCHECK, "the device takes no float64");
    if (is_wanted(only, "lockstep"))
        check_lockstep(self, device, ref);
    rl_shutdown();
}
