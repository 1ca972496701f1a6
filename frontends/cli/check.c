/* SPDX-License-Identifier: Apache-2.0 */
/* `rushlight check`: the conformance suite (tests/conformance) against one plugin. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "conformance.h"

static int run_check(int argc, char **argv);

const command command_check = {
    "check", "how far a backend keeps the plugin ABI",
    "usage: rushlight check [--verbose] [--abi-only | --only PART] PATH.so|NAME\n\n"
    "Runs the conformance suite against the backend in PATH.so, or the one that was found under NAME:\n"
    "lifecycle, memory, streams and events, errors, every primitive with guard zones around every buffer,\n"
    "every op, gradcheck and lockstep, all against the reference.\n"
    "Prints what fails, a table (sections by dtypes) and a score. Status 0 where all passed.\n\n"
    "  --verbose    name every check\n"
    "  --abi-only   only what speaks to the backend's table, nothing through the runtime\n"
    "  --only PART  of that only one part: memory, streams, errors, map, random, reduce, matmul, gather (and\n"
    "               scatter), scan (and sort), fused, ops, gradcheck or lockstep\n",
    run_check};

/* The operand is a path, or the name of a backend that was found; NULL where it is the one that is built in. */
static const char *path_of(const char *operand) {
    rl_load_record record = {.struct_size = sizeof record};
    if (strchr(operand, '/') || access(operand, F_OK) == 0)
        return operand;
    for (size_t i = 0; rl_load_report_get(i, &record); i++) {
        if (strcmp(record.name, operand) != 0)
            continue;
        if (*record.path == '/')
            return record.path;
        fprintf(stderr, "rushlight: %s is built in: it is what the others are held against\n", operand);
        return NULL;
    }
    return operand;
}

static int run_check(int argc, char **argv) {
    conformance_options options = {0};
    const char *operand = NULL;
    bool done;
    int count, failed, status;
    const option_spec specs[] = {{"--verbose", OPTION_FLAG, &options.verbose, 0, 0},
                                 {"--abi-only", OPTION_FLAG, &options.abi_only, 0, 0},
                                 {"--only", OPTION_TEXT, &options.only, 0, 0}};
    status = parse_options(&command_check, argc, argv, specs, 3, &operand, 1, &count, &done);
    if (status || done)
        return status;
    if (options.only && !conformance_has_part(options.only))
        return usage_error(&command_check, "there is no part of that name to run --only");
    if (count == 0)
        return usage_error(&command_check, "needs the path of a backend");
    operand = path_of(operand);
    if (!operand)
        return EXIT_FAILED;
    if (rl_backend_examine(operand))
        return report_error();
    char *path = realpath(operand, NULL); /* dlopen would look for a bare name elsewhere */
    if (!path) {
        fprintf(stderr, "rushlight: %s: it cannot be found\n", operand);
        return EXIT_FAILED;
    }
    rl_shutdown(); /* the suite has the plugin's init and shutdown to itself, and then begins the runtime anew */
    failed = run_conformance(path, &options, stdout);
    free(path);
    return failed == 0 ? EXIT_OK : EXIT_FAILED;
}
