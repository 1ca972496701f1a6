/* SPDX-License-Identifier: Apache-2.0 */
/* What calls compute: on every device, in every layout, in place, fused and lowered, all as the reference has it. */
#include <string.h>

#include "driver.h"

static rl_test_call *make_call(const trial *self) {
    return rl_test_sample_call(self->op, self->number, self->dtype, self->device, self->layout);
}

static uint64_t bytes_copied(rl_device *device) {
    rl_memory_stats stats = {.struct_size = sizeof stats};
    rl_memory_stats_get(device, &stats);
    return stats.bytes_in + stats.bytes_out;
}

/* What may be copied: of an op that is marked, or whose arguments name the host; a table of places that the host makes
 * (interpolate); sizes that depend on values (the others). */
static bool may_copy(const trial *self) {
    static const char *const names[] = {"interpolate", "masked_select", "one_hot"};
    rl_op_info info = {.struct_size = sizeof info};
    rl_op_describe(self->op, &info);
    bool may = info.host || strstr(self->args, "host");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        may |= strcmp(info.name, names[i]) == 0;
    return may;
}

/* Runs it: nothing else goes from or to the host meanwhile. */
static rl_status run_call(const trial *self, rl_test_call *call, bool inplace) {
    uint64_t before = bytes_copied(self->device);
    rl_status status = rl_test_run(call, inplace);
    uint64_t copied = bytes_copied(self->device) - before;
    if (status == RL_OK && !may_copy(self))
        check(self, CHECK_COPIES, copied == 0, "%llu bytes were copied", (unsigned long long)copied);
    return status;
}

/* The call ran, agrees with `expected` and left the rest of its memory alone. */
static bool check_call(const trial *self, check_kind kind, rl_test_call *call, bool inplace,
                       const rl_test_call *expected) {
    char why[640];
    if (call == NULL || run_call(self, call, inplace) != RL_OK)
        return check(self, kind, false, "%s", rl_error_text());
    if (!rl_test_agree(call, expected, why, sizeof why))
        return check(self, kind, false, "%s", why);
    return check(self, kind, rl_test_gaps_untouched(call), "memory between the elements of an argument has changed");
}

static void check_layouts(trial *self, const rl_test_call *expected) {
    for (self->layout = RL_TEST_CONTIGUOUS; self->layout < RL_TEST_LAYOUT_COUNT; self->layout++) {
        RL_SCOPE();
        check_call(self, CHECK_LAYOUT, make_call(self), false, expected);
    }
    self->layout = RL_TEST_AS_WRITTEN;
}

/* Whether NAME_ can hold the result in its first argument. */
static bool fits_inplace(const rl_test_call *expected) {
    int64_t count;
    const rl_argument *arguments = rl_test_arguments(expected, &count);
    rl_tensors results = rl_test_results(expected);
    if (count == 0 || arguments[0].value.kind != RL_VALUE_TENSOR || results.count != 1)
        return false;
    const rl_tensor *self = arguments[0].value.as.tensor, *result = results.data[0];
    return rl_tensor_dtype(self) == rl_tensor_dtype(result) && rl_tensor_ndim(self) == rl_tensor_ndim(result) &&
           memcmp(rl_tensor_shape(self), rl_tensor_shape(result),
                  (size_t)rl_tensor_ndim(self) * sizeof *rl_tensor_shape(self)) == 0;
}

static void check_inplace(trial *self, const rl_test_call *expected) {
    for (self->layout = RL_TEST_CONTIGUOUS; self->layout < RL_TEST_LAYOUT_COUNT; self->layout++) {
        RL_SCOPE();
        int64_t count;
        rl_test_call *call = make_call(self);
        rl_tensor *first = call ? rl_test_arguments(call, &count)[0].value.as.tensor : NULL;
        uint32_t version = rl_tensor_version(first);
        if (!check_call(self, CHECK_INPLACE, call, true, expected))
            continue;
        check(self, CHECK_INPLACE, rl_test_results(call).data[0] == first, "it returns another tensor than self");
        check(self, CHECK_INPLACE, rl_tensor_version(first) == version + 1, "the version went from %u to %u", version,
              rl_tensor_version(first));
    }
    self->layout = RL_TEST_CONTIGUOUS;
    check_typed(self, true);
    self->layout = RL_TEST_AS_WRITTEN;
}

static void check_lowered(trial *self, const rl_test_call *expected) {
    RL_SCOPE();
    bool was = rl_test_set_fused(false);
    check_call(self, CHECK_FUSED, make_call(self), false, expected);
    rl_test_set_fused(was);
}

void check_results(trial *self, const rl_test_sample *sample) {
    RL_SCOPE();
    driver *owner = self->driver;
    self->device = owner->ref;
    self->layout = RL_TEST_AS_WRITTEN;
    rl_test_call *expected = make_call(self);
    if (expected == NULL || rl_test_run(expected, false) != RL_OK) {
        check(self, CHECK_REFERENCE, false, "%s", rl_error_text());
        return;
    }
    check(self, CHECK_REFERENCE, true, "ran");
    for (int k = 0; k < owner->n_devices; k++) {
        RL_SCOPE();
        self->device = owner->devices[k];
        if (self->device != owner->ref && !check_call(self, CHECK_REFERENCE, make_call(self), false, expected))
            continue;
        if (owner->once)
            continue;
        if (sample->layouts)
            check_layouts(self, expected);
        check_typed(self, false);
        if (sample->inplace && fits_inplace(expected))
            check_inplace(self, expected);
        if (self->device != owner->ref)
            check_lowered(self, expected);
    }
}
