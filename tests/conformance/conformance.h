/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The conformance suite: what backend.h promises, one check a sentence, against any plugin. `rushlight check PATH.so`
 * runs it. The oracle is the reference backend; every buffer has guard zones, and whatever lies between or beyond the
 * elements of an operand must be as it was.
 */
#ifndef RUSHLIGHT_TESTS_CONFORMANCE_H
#define RUSHLIGHT_TESTS_CONFORMANCE_H

#include <stdbool.h>
#include <stdio.h>

#include "rushlight/backend.h"

/* X(NAME, "name"): the rows of the table, in the order in which they run. */
#define SECTION_LIST(X)                                                                                                \
    X(LIFECYCLE, "lifecycle")                                                                                          \
    X(MEMORY, "memory")                                                                                                \
    X(STREAMS, "streams, events")                                                                                      \
    X(ERRORS, "errors")                                                                                                \
    X(MAP, "map")                                                                                                      \
    X(RANDOM, "random numbers")                                                                                        \
    X(REDUCE, "reduce")                                                                                                \
    X(MATMUL, "matmul")                                                                                                \
    X(GATHER, "gather")                                                                                                \
    X(SCATTER, "scatter")                                                                                              \
    X(SCAN, "scan")                                                                                                    \
    X(SORT, "sort")                                                                                                    \
    X(FUSED, "fused rows")                                                                                             \
    X(OPS, "ops")                                                                                                      \
    X(GRADCHECK, "gradcheck")                                                                                          \
    X(LOCKSTEP, "lockstep")
#define SECTION_ENUM(NAME, text) SECTION_##NAME,
typedef enum section { SECTION_LIST(SECTION_ENUM) SECTION_COUNT } section;
#undef SECTION_ENUM

#define COLUMNS (RL_DTYPE_COUNT) /* 0: without dtype */

typedef struct tally {
    int passed, failed;
} tally;

typedef struct suite {
    /* The plugin under test, and the oracle. */
    const rl_backend *api, *ref;
    rl_backend table; /* what api points to: the plugin's, at this header's size */
    char name[64];
    FILE *out;
    rl_backend_device *device, *ref_device;
    rl_backend_stream *stream, *ref_stream;
    bool f64;           /* the device takes it */
    bool started;       /* init was called and is to be followed by shutdown */
    bool device_worked; /* it could be opened, so that the runtime's sections make sense */
    bool verbose;       /* every check is named */
    int shown;          /* failures printed so far; the rest is only counted */
    uint64_t random;    /* state of the generator of cases */

    section section;
    rl_dtype dtype; /* column of the table */
    tally tallies[SECTION_COUNT][COLUMNS];
    const char *skipped[SECTION_COUNT]; /* why a section did not run */

    uint32_t next_program; /* index of the next program made */
    struct made_program *programs;
    char sentence[512]; /* the plugin's last host->fail */
} suite;

/* One check. `name` as printf; shown when it fails. Returns `passed`. */
bool check(suite *self, bool passed, const char *format, ...) RL_PRINTF_(3, 4);
void skip_section(suite *self, section which, const char *why);
/* A number below n of the suite's own generator. */
int64_t pick(suite *self, int64_t n);

/* Sections that speak to the backend's table alone. */
void check_lifecycle(suite *self); /* opens device and stream for those that follow */
void check_memory(suite *self);
void check_streams(suite *self);
void check_errors(suite *self);
void check_map(suite *self);
void check_random(suite *self);
void check_reduce(suite *self);
void check_matmul(suite *self);
void check_gather_scatter(suite *self);
void check_scan_sort(suite *self);
void check_fused(suite *self);
void close_suite(suite *self);

/* Sections that go through the runtime (runtime.c), which loads the plugin anew; all, or `only` one of them. */
void check_runtime(suite *self, const char *path, const char *name, const char *only);

/* Training in lockstep with ref (lockstep.c), in each dtype. */
struct rl_device;
void check_lockstep(suite *self, struct rl_device *device, struct rl_device *ref);

/* All of it: prints what fails, the table and the score. Returns the number of failed checks; -1 where the plugin could
 * not be loaded (the sentence was printed). */
typedef struct conformance_options {
    bool verbose;
    bool abi_only;    /* nothing through the runtime */
    const char *only; /* NULL, or the one part that is to run: conformance_has_part */
} conformance_options;
bool conformance_has_part(const char *name);
int run_conformance(const char *path, const conformance_options *options, FILE *out);

/* Operands with guards (case.c)
 * ------------------------------------------------------------------------------------------- */

enum layout { LAYOUT_PLAIN, LAYOUT_REVERSED, LAYOUT_GAPPED, LAYOUT_NEGATIVE, LAYOUT_COUNT, LAYOUT_BROADCAST };
enum content {
    CONTENT_ANY,
    CONTENT_POSITIVE,
    CONTENT_SPECIAL,
    CONTENT_SMALL,
    CONTENT_DISTINCT,
    CONTENT_INDEX,
    CONTENT_NAN /* in floats: quiet and signalling ones, of either sign, with bits high and low; else as ANY */
};
#define MOST_OPERANDS 24

typedef struct field { /* one operand of a case, on both devices */
    rl_dtype dtype;
    int64_t ndim, shape[RL_MAX_DIMS], stride[RL_MAX_DIMS];
    uint64_t bytes, offset; /* of the whole buffer; of element 0 */
    bool output;
    unsigned char *image; /* the buffer's bytes before */
    rl_backend_buffer *buffer, *ref_buffer;
    double rtol, atol; /* for outputs; 0, 0: the same bits */
} field;

typedef struct test_case {
    suite *suite;
    int count;
    field fields[MOST_OPERANDS];
    char name[160];
    bool broken; /* could not be set up; counted as failed */
} test_case;

void case_begin(test_case *self, suite *owner, const char *format, ...) RL_PRINTF_(3, 4);
/* Adds an operand filled with numbers; `limit` bounds CONTENT_INDEX. Returns its number. */
int case_input(test_case *self, rl_dtype dtype, int64_t ndim, const int64_t *shape, int layout, int content,
               int64_t limit);
/* An output that is only written: what it held before, NaN in floats, must go where elements are, and stay elsewhere.
 */
int case_output(test_case *self, rl_dtype dtype, int64_t ndim, const int64_t *shape, int layout, double rtol,
                double atol);
/* An output that is read, too: filled as an input. */
int case_inout(test_case *self, rl_dtype dtype, int64_t ndim, const int64_t *shape, int layout, int content,
               double rtol, double atol);
/* The operand as the ABI has it; on ref where `on_ref`. */
rl_operand case_operand(const test_case *self, int field, bool on_ref);
/* Issues the call on both sides and compares outputs and guards. `issue` builds its args from the operands. */
typedef rl_status (*case_issue)(test_case *self, const rl_backend *api, rl_backend_stream *stream, bool on_ref,
                                void *context);
void case_run(test_case *self, case_issue issue, void *context);
/* As case_run, for calls that must end in `status`, at once or at the next stream_sync. */
void case_run_status(test_case *self, case_issue issue, void *context, rl_status expected);
void case_end(test_case *self);

/* Shapes that every primitive is tried on; quick ones first. */
typedef struct shape_case {
    int64_t ndim, shape[RL_MAX_DIMS];
} shape_case;
extern const shape_case shape_cases[];
extern const int n_shape_cases;

/* Programs (program.c): valid until the suite closes; equal ones are one. */
typedef struct program_maker {
    rl_program program;
    rl_insn insns[RL_MAX_INSNS];
} program_maker;
void make_begin(program_maker *self);
int make_insn(program_maker *self, rl_insn_code code, int type, int dtype, int a, int b, int c, int imm);
int make_input(program_maker *self, rl_dtype dtype);
int make_scalar(program_maker *self, rl_reg type);
void make_output(program_maker *self, rl_dtype dtype, int value);
const rl_program *make_end(program_maker *self, suite *owner);
void free_programs(suite *self);
/* A program that gives its input unchanged. */
const rl_program *copy_program(suite *self, rl_dtype from, rl_dtype to);

size_t dtype_bytes(rl_dtype dtype);
const char *dtype_text(rl_dtype dtype);
rl_reg dtype_register(rl_dtype dtype);
bool dtype_floating(rl_dtype dtype);
/* Tolerance for one rounding to dtype after f32 or f64 arithmetic of some ulp. */
double dtype_rtol(rl_dtype dtype);
/* The dtypes that the device takes, ended by RL_DTYPE_NONE. */
const rl_dtype *suite_dtypes(const suite *self);

#endif
