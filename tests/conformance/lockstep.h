/* SPDX-License-Identifier: Apache-2.0 */
/* How far one step of a training on a device may be from the same step on ref, from the same state. */
#ifndef RUSHLIGHT_TESTS_LOCKSTEP_H
#define RUSHLIGHT_TESTS_LOCKSTEP_H

#include "rushlight/backend.h"

typedef struct lockstep_bound {
    rl_dtype dtype;
    double loss;     /* relative */
    double gradient; /* relative, in the 2-norm */
} lockstep_bound;

enum { LOCKSTEP_DTYPES = 4 };
extern const lockstep_bound lockstep_bounds[LOCKSTEP_DTYPES]; /* f32 first */

#endif
