/* SPDX-License-Identifier: Apache-2.0 */
/* Environment variables, from the one table in env.h. */
#include "base/env.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"

static const rl_env_info table[RL_ENV_COUNT] = {
#define ROW(NAME, default_text, text) [RL_ENV_##NAME] = {"RUSHLIGHT_" #NAME, default_text, text},
    RL_ENV_LIST(ROW)
#undef ROW
};

static atomic_bool warned[RL_ENV_COUNT];

const rl_env_info *rl_env_describe(rl_env variable) {
    return (unsigned)variable < RL_ENV_COUNT ? &table[variable] : NULL;
}

const char *rl_env_get(rl_env variable) {
    if ((unsigned)variable >= RL_ENV_COUNT)
        return NULL;
    const char *value = secure_getenv(table[variable].name);
    return value && *value ? value : NULL;
}

/* Says once for each variable that its value is not taken. Not an error: a program must not fail for it. */
static void warn(rl_env variable, const char *value, const char *expected) {
    if (atomic_exchange(&warned[variable], true))
        return;
    rl_text text = {0};
    rl_text_add_excerpt(&text, value, 40);
    fprintf(stderr, "rushlight: %s=\"%s\" is not %s and is passed over\n", table[variable].name,
            text.data ? text.data : "", expected);
    rl_text_free(&text);
}

int64_t rl_env_int(rl_env variable, int64_t low, int64_t high, int64_t fallback) {
    const char *value = rl_env_get(variable);
    if (!value)
        return fallback;
    char *end;
    errno = 0;
    long long number = strtoll(value, &end, 10);
    bool digits = (value[0] >= '0' && value[0] <= '9') || value[0] == '-';
    if (digits && end != value && *end == '\0' && errno == 0 && number >= low && number <= high)
        return number;
    char expected[96];
    snprintf(expected, sizeof expected, "an integer from %" PRId64 " to %" PRId64, low, high);
    warn(variable, value, expected);
    return fallback;
}

bool rl_env_flag(rl_env variable) {
    static const char *const words[] = {"0", "1", "no", "yes", "off", "on", "false", "true"};
    const char *value = rl_env_get(variable);
    if (!value)
        return false;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcmp(value, words[i]) == 0)
            return i % 2 == 1;
    }
    warn(variable, value, "0 or 1");
    return false;
}

bool rl_env_variable(size_t number, rl_env_description *out_description) {
    if (number >= RL_ENV_COUNT || !out_description)
        return false;
    const rl_env_info *info = &table[number];
    *out_description = (rl_env_description){info->name, info->default_text, info->text, rl_env_get((rl_env)number)};
    return true;
}
