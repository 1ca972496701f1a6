/* SPDX-License-Identifier: Apache-2.0 */
/* The variables RUSHLIGHT_SIM_*: read at init, so that a test can set them between two lives. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

static const char *const failure_names[FAIL_COUNT] = {
    [FAIL_ALLOC] = "alloc", [FAIL_COPY] = "copy", [FAIL_LAUNCH] = "launch", [FAIL_SYNC] = "sync", [FAIL_LOST] = "lost"};

/* A number in decimal and what follows it; false where there is none. */
static bool read_number(const char *text, uint64_t *out_number, const char **out_rest) {
    char *end;
    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    *out_number = strtoull(text, &end, 10);
    *out_rest = end;
    return errno == 0;
}

static rl_status read_memory(const char *text) {
    const char *rest;
    static const char suffixes[] = "kMG";
    if (!read_number(text, &sim.memory, &rest))
        rest = "?";
    const char *suffix = *rest ? strchr(suffixes, *rest) : NULL;
    unsigned shift = suffix ? 10u * (unsigned)(suffix - suffixes + 1) : 0;
    if ((*rest && !suffix) || (suffix && rest[1]) || sim.memory == 0 || sim.memory > UINT64_MAX >> shift >> 1)
        return sim.host->fail(RL_INVALID_ARGUMENT,
                              "RUSHLIGHT_SIM_MEMORY is '%.32s', expected bytes, or a number with k, M or G", text);
    sim.memory <<= shift;
    return RL_OK;
}

static rl_status read_devices(const char *text) {
    uint64_t number;
    const char *rest;
    if (!read_number(text, &number, &rest) || *rest || number > MOST_DEVICES)
        return sim.host->fail(RL_INVALID_ARGUMENT, "RUSHLIGHT_SIM_DEVICES is '%.32s', expected a number from 0 to %d",
                              text, MOST_DEVICES);
    sim.n_devices = (uint32_t)number;
    return RL_OK;
}

static rl_status read_failure(const char *text) {
    const char *colon = strchr(text, ':'), *rest = "?";
    size_t length = colon ? (size_t)(colon - text) : 0;
    for (int f = FAIL_ALLOC; f < FAIL_COUNT && length; f++)
        if (strlen(failure_names[f]) == length && memcmp(failure_names[f], text, length) == 0)
            sim.failure = (sim_failure)f;
    if (sim.failure == FAIL_NONE || !read_number(colon + 1, &sim.fail_at, &rest) || sim.fail_at == 0 ||
        (strcmp(rest, "") != 0 && strcmp(rest, "+") != 0))
        return sim.host->fail(RL_INVALID_ARGUMENT,
                              "RUSHLIGHT_SIM_FAIL is '%.32s', expected alloc, copy, launch, sync or lost, then :N or "
                              ":N+ with N from 1",
                              text);
    sim.fail_on = *rest == '+' || sim.failure == FAIL_LOST;
    return RL_OK;
}

rl_status sim_read_settings(void) {
    const char *memory = secure_getenv("RUSHLIGHT_SIM_MEMORY"), *devices = secure_getenv("RUSHLIGHT_SIM_DEVICES");
    const char *failure = secure_getenv("RUSHLIGHT_SIM_FAIL"), *eager = secure_getenv("RUSHLIGHT_SIM_EAGER");
    rl_status status = RL_OK;
    sim.memory = (uint64_t)256 << 20;
    sim.n_devices = 1;
    sim.failure = FAIL_NONE;
    memset(sim.calls, 0, sizeof sim.calls);
    sim.eager = eager && *eager && strcmp(eager, "0") != 0;
    if (memory && *memory)
        status = read_memory(memory);
    if (!status && devices && *devices)
        status = read_devices(devices);
    if (!status && failure && *failure)
        status = read_failure(failure);
    return status;
}

rl_status sim_admit_locked(sim_device *device, sim_failure kind, const char *call) {
    static const rl_status results[FAIL_COUNT] = {[FAIL_ALLOC] = RL_OUT_OF_MEMORY,
                                                  [FAIL_COPY] = RL_IO_ERROR,
                                                  [FAIL_LAUNCH] = RL_INTERNAL,
                                                  [FAIL_SYNC] = RL_INTERNAL};
    uint64_t number = ++sim.calls[kind], any = ++sim.calls[FAIL_LOST];
    if (sim.failure == FAIL_LOST && any >= sim.fail_at)
        device->lost = true;
    if (device->lost)
        return sim.host->fail(RL_DEVICE_LOST, "%s: sim:%u is lost, as RUSHLIGHT_SIM_FAIL asks", call,
                              (unsigned)device->number);
    if (sim.failure != kind || number < sim.fail_at || (number > sim.fail_at && !sim.fail_on))
        return RL_OK;
    return sim.host->fail(results[kind], "%s: %s number %llu fails, as RUSHLIGHT_SIM_FAIL asks", call,
                          failure_names[kind], (unsigned long long)number);
}
