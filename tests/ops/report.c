/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* Whether `name` is one of "a,b,c". */
static bool is_in(const char *list, const char *name) {
    size_t length = strlen(name);
    for (; *list; list += strcspn(list, ","), list += *list == ',')
        if (strcspn(list, ",") == length && strncmp(list, name, length) == 0)
            return true;
    return false;
}

static int names_in(const char *list) {
    int count = 1;
    for (; *list; list++)
        count += *list == ',';
    return count;
}

static bool find_options(driver *self) {
    const char *wanted = getenv("RUSHLIGHT_TEST_DTYPES");
    int found = 0;
    self->once = getenv("RUSHLIGHT_TEST_ONCE") != NULL;
    self->dtypes = UINT32_MAX;
    if (!wanted || !*wanted)
        return true;
    self->dtypes = 0;
    for (int dtype = 1; dtype < RL_DTYPE_COUNT; dtype++)
        if (is_in(wanted, rl_dtype_name((rl_dtype)dtype))) {
            self->dtypes |= 1u << dtype;
            found++;
        }
    if (found != names_in(wanted))
        printf("FAILED: RUSHLIGHT_TEST_DTYPES: '%s' are not all dtypes\n", wanted);
    return found == names_in(wanted);
}

static bool find_named_ops(driver *self, const char *names) {
    int found = 0;
    self->only = names;
    for (size_t op = 0; op < rl_op_count(); op++) {
        rl_op_info info = {.struct_size = sizeof info};
        rl_op_describe(op, &info);
        found += is_in(names, info.name);
    }
    if (found != names_in(names))
        printf("FAILED: '%s' are not all ops\n", names);
    return found == names_in(names);
}

bool find_ops(driver *self, int argc, char **argv) {
    const char *given = argc > 1 ? argv[1] : "1/1";
    char *rest = NULL;
    self->parts = 1;
    if (!find_options(self))
        return false;
    if (!strchr(given, '/'))
        return find_named_ops(self, given);
    self->part = (int)strtol(given, &rest, 10) - 1;
    self->parts = *rest == '/' ? (int)strtol(rest + 1, &rest, 10) : 0;
    if (*rest == '\0' && self->part >= 0 && self->part < self->parts)
        return true;
    printf("FAILED: '%s' is no part of all ops: \"1/4\" to \"4/4\" are\n", given);
    return false;
}

bool is_wanted(const driver *self, size_t op, const char *name) {
    return self->only ? is_in(self->only, name) : (int)(op % (size_t)self->parts) == self->part;
}

int report(const driver *self, int tried) {
    int failed = 0;
    if (self->hidden > 0)
        printf("... and %d more failures, of the same lines or later ones\n", self->hidden);
    printf("%d ops on", tried);
    for (int k = 0; k < self->n_devices; k++)
        printf(" %s", rl_device_name(self->devices[k]));
    printf("\n%-28s %8s %8s\n", "", "passed", "failed");
    for (int k = 0; k < CHECK_COUNT; k++) {
        if (self->passed[k] + self->failed[k] > 0)
            printf("%-28s %8d %8d\n", check_texts[k], self->passed[k], self->failed[k]);
        failed += self->failed[k];
    }
    rl_shutdown();
    return failed == 0 && tried > 0 ? 0 : 1;
}

/* Devices -------------------------------------------------------------------------------------------------------- */

static bool add_device(driver *self, rl_device *device) {
    if (device == NULL || self->n_devices == MOST_DEVICES)
        return false;
    self->devices[self->n_devices++] = device;
    return true;
}

static bool find_named(driver *self, const char *names) {
    char copy[256];
    if (snprintf(copy, sizeof copy, "%s", names) >= (int)sizeof copy)
        return false;
    for (char *name = strtok(copy, ","); name; name = strtok(NULL, ","))
        if (!add_device(self, rl_device_get(name)))
            return false;
    return self->n_devices > 0;
}

bool find_devices(driver *self, const char *names) {
    const char *wanted = getenv("RUSHLIGHT_TEST_DEVICES");
    rl_device *all[32];
    if (wanted && *wanted)
        names = wanted;
    setenv("RUSHLIGHT_BACKEND_PATH", TEST_BINARY_DIR "/lib/rushlight", 0);
    self->ref = rl_device_get("ref");
    size_t count = names ? 0 : rl_device_list(all, 32);
    for (size_t k = 0; k < count && k < 32; k++) {
        if (rl_device_is_host(all[k]) && rl_device_usable(all[k]))
            add_device(self, all[k]);
        else
            printf("SKIPPED %s: %s\n", rl_device_name(all[k]),
                   rl_device_is_host(all[k]) ? "it is not usable" : "it is no host device, and not named");
        rl_error_clear();
    }
    if ((names && !find_named(self, names)) || self->n_devices == 0 || self->ref == NULL) {
        printf("FAILED to find devices: %s\n", rl_error_text());
        return false;
    }
    if (!names && self->n_devices == 1)
        printf("SKIPPED all devices but %s: no other backend was built\n", rl_device_name(self->devices[0]));
    return true;
}
