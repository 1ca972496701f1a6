/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of `rushlight bench` share. */
#ifndef RUSHLIGHT_FRONTENDS_CLI_BENCH_H
#define RUSHLIGHT_FRONTENDS_CLI_BENCH_H

#include "command.h"
#include "works.h"

enum { BENCH_DEVICES_MOST = 16, BENCH_ROUNDS_MOST = 1000 };

/* One work on one device. */
typedef struct bench_cell {
    const work *work;
    rl_device *device;
    work_state state;
    bool prepared;
    double *turns; /* nanoseconds of one round of the work, of each turn */
    int n_turns;
    double spent, longest; /* seconds of all turns; of the longest run */
    double error;          /* the largest relative difference from ref; NaN: not compared */
    double peak_memory;    /* bytes, beyond what was allocated before the work; NaN: not known */
    char failure[512];     /* "" where all went well */
} bench_cell;

/* The best that a device was seen to do. */
typedef struct bench_peak {
    double flops, bytes; /* a second; 0: not measured */
} bench_peak;

typedef struct bench {
    const work **works;
    int n_works;
    rl_device *devices[BENCH_DEVICES_MOST];
    bench_peak peaks[BENCH_DEVICES_MOST];
    int n_devices, baseline;
    bench_cell *cells; /* (n_works, n_devices) */
    double *turns;     /* of all cells, in one block */
    double seconds;    /* of each cell in all, about */
    int64_t rounds, seed;
    bool check; /* compare with ref */
} bench;

static inline bench_cell *bench_cell_at(const bench *self, int number, int device) {
    return &self->cells[number * self->n_devices + device];
}

/* Measuring (bench_measure.c)
 * ------------------------------------------------------------------------------------------------------------------ */

/* Makes the inputs of the cell's work from the seed, and does it once. Where out_result is given, the work's result is
 * retained there for bench_compare. A failure is written into the cell. */
void bench_prepare(bench_cell *self, uint64_t seed, rl_tensor **out_result);
/* The largest difference between two results of one work relative to the largest magnitude in the reference's, or the
 * same of all gradients of its parameters together (alone, one whose gradient is zero but for rounding would differ
 * wholly): whichever is larger. */
double bench_compare(const bench_cell *self, rl_tensor *result, const bench_cell *reference, rl_tensor *expected);
/* Does the work for `seconds`, once at least, and returns the nanoseconds of one round; 0 where it failed. */
double bench_turn(bench_cell *self, double seconds);
/* Prepares every cell, compares with ref, measures memory; then devices and works take turns. Stops at Ctrl-C. */
void bench_measure(bench *self);
/* Value at `share` (0 .. 1) of sorted numbers, interpolated; NaN where there are none. */
double bench_quantile(const double *sorted, int count, double share);

/* bench_peaks.c: the best matmul and the best copy or triad over a few sizes. Keeps what was better before. */
void bench_find_peak(rl_device *device, double seconds, bench_peak *peak);

/* Reports (bench_report.c)
 * ------------------------------------------------------------------------------------------------------------------ */

void bench_print(const bench *self);
void bench_print_json(const bench *self, FILE *out);
void bench_print_list(const bench *self);

/* bench_serve.c: answers lines "NAME SECONDS" with "NAME NANOSECONDS", for tests/bench/compare.py. */
int bench_serve(rl_device *device, uint64_t seed);

#endif
