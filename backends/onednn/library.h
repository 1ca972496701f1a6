/* SPDX-License-Identifier: Apache-2.0 */
/*
 * oneDNN's matmul primitive for half floats, where the machine multiplies them itself: prepared for each size and
 * layout, and kept for some time. f32 goes to dnnl_sgemm, which needs no preparation.
 */
#ifndef RUSHLIGHT_BACKENDS_ONEDNN_LIBRARY_H
#define RUSHLIGHT_BACKENDS_ONEDNN_LIBRARY_H

#include <oneapi/dnnl/dnnl.h>

#include "backend.h"
#include "prepared.h"

/* The library's processor; NULL where it could not be had. Any thread. */
dnnl_engine_t od_engine(void);

/* A primitive and what its arguments look like. One set of the library's objects for a run is kept for the next one. */
#define OD_LAUNCH_ARGS 6
typedef struct od_launch od_launch;
typedef struct od_launcher {
    dnnl_primitive_t primitive; /* borrowed */
    int count;
    int names[OD_LAUNCH_ARGS]; /* DNNL_ARG_ ... */
    const_dnnl_memory_desc_t descs[OD_LAUNCH_ARGS];
    _Atomic(od_launch *) spare;
} od_launcher;
void od_launcher_add(od_launcher *self, int name, const_dnnl_memory_desc_t desc);
/* Runs it on the calling thread with its arguments at these addresses. Any thread. */
rl_status od_launcher_run(od_launcher *self, void *const *at);
void od_launcher_clear(od_launcher *self);

typedef struct od_gemm_shape { /* c (m, n) = a (m, k) b (k, n); strides in elements, one of each pair is 1 */
    int64_t m, n, k, a_row, a_col, b_row, b_col, c_row;
    int32_t dtype; /* of a and b: rl_dtype */
    int32_t wide;  /* 1: c is f32, else of the same dtype */
} od_gemm_shape;

typedef struct od_gemm od_gemm;

/* True where the machine has instructions for products of the dtype that the library uses. */
int od_gemm_takes(rl_dtype dtype);
/* True where sgemm packs its operands itself, false where it reads them in place. */
int od_sgemm_copies(void);
/* The prepared product, to be given back; NULL where the library has only a slow way or no memory. Any thread, outside
 * a parallel region. */
od_gemm *od_gemm_take(const od_gemm_shape *shape);
void od_gemm_give(od_gemm *self); /* takes NULL */
extern od_prepared_table od_gemms;
/* Bytes that od_gemm_run wants as scratch. */
size_t od_gemm_scratch(const od_gemm *self);
/* On the calling thread alone. */
rl_status od_gemm_run(od_gemm *self, void *a, void *b, void *c, void *scratch);
void od_library_shutdown(void);
void od_library_forked(void); /* in a child made by fork */

#endif
