/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work spread over the threads of GNU OpenMP, which oneDNN uses too. Units are cut by the shape of the work, never by
 * the number of threads, so that results are the same bits on any number. Called straight (GOMP_parallel), so that gcc
 * and clang share one runtime.
 */
#ifndef RUSHLIGHT_BACKENDS_ONEDNN_POOL_H
#define RUSHLIGHT_BACKENDS_ONEDNN_POOL_H

#include <signal.h>

#include "rushlight/backend.h"

extern const rl_host *od_host; /* set by rl_backend_query */

/* One unit of work. `thread` is below the count that od_threads gave. */
typedef void (*od_unit_fn)(void *context, int thread, int64_t unit);

/* Threads that `units` units costing `cost` (about nanoseconds on one thread, all together) are worth: 1 for small
 * work, within another parallel region and in a child made by fork. */
int od_threads(int64_t units, double cost);
/* Runs all units on `threads` threads; returns when all are done. Each thread begins with a range of its own, so that
 * equal calls find their data in the same cache, and then helps the others. */
void od_run(int threads, int64_t units, od_unit_fn unit, void *context);
/* In a child made by fork: no threads from now on. */
void od_stay_alone(void);

/* Calls of oneDNN between these two run on the calling thread alone, and no signal comes there: kernels of oneDNN's
 * sgemm keep an address of the heap in the stack's register, where the frame of a handler would be written. */
typedef struct od_library_state {
    int threads;
    sigset_t signals;
} od_library_state;
od_library_state od_library_begin(void);
void od_library_end(const od_library_state *saved);

#endif
