/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"

int usage_error(const command *about, const char *format, ...) {
    va_list args;
    va_start(args, format);
    fprintf(stderr, "rushlight %s: ", about->name);
    vfprintf(stderr, format, args);
    fprintf(stderr, "; see rushlight %s --help\n", about->name);
    va_end(args);
    return EXIT_USAGE;
}

int report_error(void) {
    fprintf(stderr, "rushlight: %s\n", rl_failed() ? rl_error_text() : "failed without an error");
    rl_error_clear();
    return EXIT_FAILED;
}

static int parse_number(const command *about, const option_spec *spec, const char *text) {
    char *end = NULL;
    double real;
    long long whole = 0;
    errno = 0;
    if (spec->kind == OPTION_INT) {
        whole = strtoll(text, &end, 10);
        real = (double)whole;
    } else {
        real = strtod(text, &end);
    }
    if (end == text || *end || isnan(real))
        return usage_error(about, "%s takes %s, got '%.60s'", spec->name,
                           spec->kind == OPTION_INT ? "a whole number" : "a number", text);
    if (errno == ERANGE || real < spec->low || real > spec->high)
        return usage_error(about, "%s must lie within %.0f and %.0f, got %.60s", spec->name, spec->low, spec->high,
                           text);
    if (spec->kind == OPTION_INT)
        *(int64_t *)spec->target = whole;
    else
        *(double *)spec->target = real;
    return EXIT_OK;
}

/* argv[*at] is an option: takes it, and its value from "--name=value" or from the next argument. */
static int parse_option(const command *about, int argc, char **argv, int *at, const option_spec *specs, int n_specs) {
    const char *text = argv[*at], *equals = strchr(text, '='), *value = equals ? equals + 1 : NULL;
    size_t length = equals ? (size_t)(equals - text) : strlen(text);
    for (int i = 0; i < n_specs; i++) {
        const option_spec *spec = &specs[i];
        if (strlen(spec->name) != length || strncmp(spec->name, text, length) != 0)
            continue;
        if (spec->kind == OPTION_FLAG) {
            if (value)
                return usage_error(about, "%s takes no value", spec->name);
            *(bool *)spec->target = true;
            return EXIT_OK;
        }
        if (!value && *at + 1 < argc)
            value = argv[++*at];
        if (!value)
            return usage_error(about, "%s needs a value", spec->name);
        if (spec->kind != OPTION_TEXT)
            return parse_number(about, spec, value);
        *(const char **)spec->target = value;
        return EXIT_OK;
    }
    return usage_error(about, "no option '%.60s'", text);
}

int parse_options(const command *about, int argc, char **argv, const option_spec *specs, int n_specs,
                  const char **operands, int room, int *out_operands, bool *out_done) {
    int count = 0, status = EXIT_OK;
    bool only_operands = false;
    *out_done = false;
    for (int i = 1; i < argc && status == EXIT_OK; i++) {
        if (!only_operands && (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))) {
            fputs(about->help, stdout);
            *out_done = true;
            return EXIT_OK;
        }
        if (!only_operands && !strcmp(argv[i], "--"))
            only_operands = true;
        else if (!only_operands && argv[i][0] == '-' && argv[i][1])
            status = parse_option(about, argc, argv, &i, specs, n_specs);
        else if (count == room)
            status = usage_error(about, "does not know what to do with '%.60s'", argv[i]);
        else
            operands[count++] = argv[i];
    }
    *out_operands = count;
    return status;
}

int parse_devices(const char *names, rl_device **out_devices, int room) {
    char *copy, *name, *rest = NULL;
    int count = 0;
    if (!strcmp(names, "all")) {
        rl_device *all[256];
        size_t n = rl_device_list(all, 256);
        for (size_t i = 0; i < n && i < 256 && count < room; i++) {
            if (strncmp(rl_device_name(all[i]), "sim:", 4) != 0 && rl_device_usable(all[i]))
                out_devices[count++] = all[i];
            rl_error_clear();
        }
        return count;
    }
    if (!(copy = strdup(names)))
        return 0;
    for (name = strtok_r(copy, ",", &rest); name && count >= 0; name = strtok_r(NULL, ",", &rest)) {
        rl_device *device = rl_device_get(name);
        bool known = false;
        for (int i = 0; i < count; i++)
            known = known || out_devices[i] == device;
        if (!device)
            count = -1;
        else if (!known && count < room)
            out_devices[count++] = device;
    }
    free(copy);
    return count;
}
