/* SPDX-License-Identifier: Apache-2.0 */
/* What must fail: bad inputs, and calls for which there is no memory. */
#include <string.h>

#include "base/memory.h"
#include "driver.h"

/* "add: ..."; a composite's errors may be those of the ops that it is made of. */
static bool names_op(const trial *self, const char *text) {
    rl_op_info info = {.struct_size = sizeof info};
    size_t length = strlen(self->name);
    rl_op_describe(self->op, &info);
    return strcmp(info.kind, "composite") == 0 ? strchr(text, ':') != NULL
                                               : strncmp(text, self->name, length) == 0 && text[length] == ':';
}

void check_bad(trial *self, const rl_test_bad *bad) {
    RL_SCOPE();
    rl_test_call *call = rl_test_bad_call(self->op, self->number, self->device);
    if (call == NULL) {
        check(self, CHECK_BAD, false, "%s", rl_error_text());
        return;
    }
    rl_status status = rl_test_run(call, false);
    const char *text = rl_error_text();
    if (status != bad->status)
        check(self, CHECK_BAD, false, "%s (%s), expected %s", rl_status_text(status), text,
              rl_status_text(bad->status));
    else
        check(self, CHECK_BAD, strstr(text, bad->sentence) && names_op(self, text),
              "\"%s\" does not begin with the op's name and hold \"%s\"", text, bad->sentence);
}

static uint64_t bytes_in_use(rl_device *device) {
    rl_memory_stats stats = {.struct_size = sizeof stats};
    return rl_memory_stats_get(device, &stats) == RL_OK ? stats.allocated : 0;
}

/* The call while allocation n (and all later ones where `onward`) fails. False when it made no n-th allocation. */
static bool fail_at(const trial *self, uint64_t n, bool onward) {
    RL_SCOPE();
    rl_test_call *call = rl_test_sample_call(self->op, self->number, self->dtype, self->device, self->layout);
    if (call == NULL)
        return check(self, CHECK_MEMORY, false, "%s", rl_error_text()) && false;
    uint64_t before = rl_alloc_count();
    rl_alloc_fail_at(n, onward);
    rl_status status = rl_test_run(call, false);
    rl_alloc_fail_at(0, false);
    bool reached = rl_alloc_count() - before >= n;
    if (!reached)
        check(self, CHECK_MEMORY, status == RL_OK, "%s", rl_error_text());
    else if (status != RL_OK)
        check(self, CHECK_MEMORY, status == RL_OUT_OF_MEMORY && *rl_error_text() != '\0',
              "allocation %llu%s failed: %s (\"%s\"), expected an out of memory", (unsigned long long)n,
              onward ? " and all later ones" : "", rl_status_text(status), rl_error_text());
    rl_error_clear();
    return reached;
}

void check_memory(trial *self) {
    enum { MOST = 400 }; /* a call that allocates more often than this does not end */
    for (int onward = 0; onward < 2; onward++) {
        uint64_t before = bytes_in_use(self->device), n = 1;
        while (n < MOST && fail_at(self, n, onward))
            n++;
        uint64_t after = bytes_in_use(self->device);
        check(self, CHECK_MEMORY, n < MOST, "no end of allocations");
        check(self, CHECK_MEMORY, after == before, "%llu bytes of the device are in use, before it were %llu",
              (unsigned long long)after, (unsigned long long)before);
    }
}
