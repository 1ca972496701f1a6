/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stdio.h>

#include "driver.h"

#define MOST_SHOWN 100

static const char *const check_texts[] = {
#define CHECK_TEXT(NAME, text) text,
    CHECK_LIST(CHECK_TEXT)
#undef CHECK_TEXT
};

bool check(const trial *self, check_kind kind, bool passed, const char *format, ...) {
    driver *owner = self->driver;
    (passed ? owner->passed : owner->failed)[kind]++;
    bool again = owner->last_failed[kind] == self->args;
    if (!passed && (again || owner->shown == MOST_SHOWN)) {
        owner->hidden++;
    } else if (!passed) {
        char why[768];
        va_list args;
        va_start(args, format);
        vsnprintf(why, sizeof why, format, args);
        va_end(args);
        owner->last_failed[kind] = self->args;
        owner->shown++;
        printf("FAILED %s(%s) %s, %s, %s: %s: %s\n", self->name, self->args, rl_dtype_name(self->dtype),
               rl_test_layout_name(self->layout), rl_device_name(self->device), check_texts[kind], why);
    }
    rl_error_clear();
    return passed;
}

int report(const driver *self) {
    int failed = 0;
    if (self->hidden > 0)
        printf("... and %d more failures, of the same lines or later ones\n", self->hidden);
    printf("\n%-28s %8s %8s\n", "", "passed", "failed");
    for (int k = 0; k < CHECK_COUNT; k++) {
        printf("%-28s %8d %8d\n", check_texts[k], self->passed[k], self->failed[k]);
        failed += self->failed[k];
    }
    return failed;
}
