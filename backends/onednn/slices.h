/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A primitive that works along one dimension, cut along another one: slices are independent, so threads may do one
 * each. What is rare goes, slice by slice, to the plain kernels of support/.
 */
#ifndef RUSHLIGHT_BACKENDS_ONEDNN_SLICES_H
#define RUSHLIGHT_BACKENDS_ONEDNN_SLICES_H

#include <stddef.h>

#include "backend.h"

#define OD_SLICE_OPERANDS 3
#define OD_SLICE_ROOM 1024 /* bytes: the greatest of the args structs */

typedef struct od_slicing { /* where the parts of an args struct are */
    size_t size, ndim, shape, dim;
    size_t operand[OD_SLICE_OPERANDS]; /* 0: there are fewer */
} od_slicing;
#define OD_SLICING(T, a, b, c)                                                                                         \
    {                                                                                                                  \
        sizeof(T), offsetof(T, ndim), offsetof(T, shape), offsetof(T, dim), {                                          \
            offsetof(T, a), offsetof(T, b), offsetof(T, c)                                                             \
        }                                                                                                              \
    }

/* Does one slice. `host` keeps the sentence of a failure for od_slice. */
typedef rl_status (*od_slice_fn)(const rl_host *host, const void *args);

/* Runs `kernel` over slices of `args`; `bytes` are those of the operands' elements, `cost` is ns an element. Returns
 * the status of the first slice that failed, after host->fail with its sentence. */
rl_status od_slice(const od_slicing *how, const void *args, const int64_t *bytes, double cost, od_slice_fn kernel);

#endif
