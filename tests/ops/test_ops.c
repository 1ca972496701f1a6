/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every op on every sample with every dtype: test_ops [OP,OP... or PART/PARTS]. On all usable host devices, or on
 * those that RUSHLIGHT_TEST_DEVICES names ("onednn,sim:0"), against the reference device. RUSHLIGHT_TEST_DTYPES
 * ("float32,int64") leaves the other dtypes out, RUSHLIGHT_TEST_ONCE=1 the other layouts and all else but a plain call.
 */
#include <string.h>

#include "dispatch/dispatch.h"
#include "driver.h"

#define SAMPLES_FOR_MEMORY 2 /* of each op, as every one of its allocations fails in turn */

static bool all_take(const driver *self, rl_dtype dtype) {
    for (int k = 0; k < self->n_devices; k++)
        if (!rl_device_takes_dtype(self->devices[k], dtype))
            return false;
    return true;
}

static void try_samples(driver *self, trial *t) {
    size_t count = rl_test_sample_count(t->op);
    for (t->number = 0; t->number < count; t->number++) {
        rl_test_sample sample = {.struct_size = sizeof sample};
        t->args = "";
        if (!rl_test_sample_describe(t->op, t->number, &sample)) {
            check(t, CHECK_REFERENCE, false, "sample %zu: %s", t->number, rl_error_text());
            continue;
        }
        t->args = sample.args;
        for (int dtype = 1; dtype < RL_DTYPE_COUNT; dtype++) {
            t->dtype = (rl_dtype)dtype;
            if ((sample.dtypes & self->dtypes) >> dtype & 1 && all_take(self, t->dtype) &&
                (!sample.f64 || all_take(self, RL_F64)))
                check_results(t, &sample);
        }
        for (int k = 0; !self->once && t->number < SAMPLES_FOR_MEMORY && k < self->n_devices; k++) {
            t->dtype = RL_F32;
            t->device = self->devices[k];
            check_memory(t);
        }
    }
}

static void try_bad(driver *self, trial *t) {
    size_t count = rl_test_bad_count(t->op);
    t->dtype = RL_F32;
    for (t->number = 0; t->number < count; t->number++) {
        rl_test_bad bad = {.struct_size = sizeof bad};
        rl_test_bad_describe(t->op, t->number, &bad);
        t->args = bad.args;
        for (int k = 0; k < self->n_devices; k++) {
            t->device = self->devices[k];
            check_bad(t, &bad);
        }
    }
}

int main(int argc, char **argv) {
    driver self = {0};
    int tried = 0;
    if (!find_ops(&self, argc, argv) || !find_devices(&self, NULL))
        return 1;
    for (size_t op = 0; op < rl_op_count(); op++) {
        rl_op_info info = {.struct_size = sizeof info};
        rl_op_describe(op, &info);
        if (!is_wanted(&self, op, info.name))
            continue;
        trial t = {.driver = &self, .op = op, .name = info.name, .args = "", .device = self.ref, .dtype = RL_F32};
        try_samples(&self, &t);
        if (!self.once)
            try_bad(&self, &t);
        tried++;
    }
    return report(&self, tried);
}
