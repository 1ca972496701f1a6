/* SPDX-License-Identifier: Apache-2.0 */
/* What the driver over all ops shares. */
#ifndef RUSHLIGHT_TESTS_OPS_DRIVER_H
#define RUSHLIGHT_TESTS_OPS_DRIVER_H

#include "rushlight/device.h"
#include "rushlight/testing.h"

/* X(NAME, "text"): what is checked, a line of the summary each. */
#define CHECK_LIST(X)                                                                                                  \
    X(REFERENCE, "as the reference device")                                                                            \
    X(LAYOUT, "the same in other layouts")                                                                             \
    X(INPLACE, "the same in place")                                                                                    \
    X(FUSED, "fused as lowered")                                                                                       \
    X(TYPED, "typed as by name")                                                                                       \
    X(BAD, "bad inputs")                                                                                               \
    X(COPIES, "no copies from or to host")                                                                             \
    X(MEMORY, "allocations that fail")                                                                                 \
    X(GRADIENT, "gradcheck")                                                                                           \
    X(SECOND, "gradgradcheck")
#define CHECK_ENUM(NAME, text) CHECK_##NAME,
typedef enum check_kind { CHECK_LIST(CHECK_ENUM) CHECK_COUNT } check_kind;
#undef CHECK_ENUM

#define MOST_DEVICES 8

typedef struct driver {
    rl_device *ref, *devices[MOST_DEVICES]; /* devices: all that are tried, ref among them */
    int n_devices;
    const char *only; /* ops, "add,mul"; NULL: all */
    uint32_t dtypes;  /* those that are tried: bit 1 << dtype */
    bool once;        /* RUSHLIGHT_TEST_ONCE: each sample as it is written, and nothing more */
    int part, parts;  /* of all ops, those whose number is `part` modulo `parts` */
    int passed[CHECK_COUNT], failed[CHECK_COUNT], shown, hidden;
    const char *last_failed[CHECK_COUNT]; /* the line of the last failure, whose further ones are only counted */
} driver;

/* One trial: an op on a line of arguments. */
typedef struct trial {
    driver *driver;
    size_t op, number;
    const char *name, *args;
    rl_dtype dtype;
    rl_device *device;
    rl_test_layout layout;
} trial;

/* Counts it, and says what was tried where it failed. Forgets the thread's error. Returns `passed`. */
bool check(const trial *self, check_kind kind, bool passed, const char *format, ...) RL_PRINTF_(4, 5);
/* Finds the devices that RUSHLIGHT_TEST_DEVICES or else `names` ("onednn,sim:0") names; names NULL: all usable host
 * devices. False, and said, where there are none. */
bool find_devices(driver *self, const char *names);
/* Reads "OP,OP...", "PART/PARTS" (of all ops the 1st, 2nd ... of so many equal parts) or nothing, and the dtypes that
 * RUSHLIGHT_TEST_DTYPES names ("float32,int64"; without it all). False, and said, else. */
bool find_ops(driver *self, int argc, char **argv);
/* Whether the op of that number and name is to be tried. */
bool is_wanted(const driver *self, size_t op, const char *name);
/* Prints the summary of `tried` ops and ends the library. The exit status. */
int report(const driver *self, int tried);

/* One sample with one dtype under test, on all devices (check_results.c). */
void check_results(trial *self, const rl_test_sample *sample);
/* The sample by the typed call, NAME_ where `inplace` (check_typed.c). */
void check_typed(trial *self, bool inplace);
/* One bad input, one sample with failing allocations, on one device (check_failures.c). */
void check_bad(trial *self, const rl_test_bad *bad);
void check_memory(trial *self);

#endif
