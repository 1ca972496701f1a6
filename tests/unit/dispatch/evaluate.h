/* SPDX-License-Identifier: Apache-2.0 */
/* One element through a program, as slowly and plainly as can be: what the tests of dispatch compare with. */
#ifndef RUSHLIGHT_TESTS_DISPATCH_EVALUATE_H
#define RUSHLIGHT_TESTS_DISPATCH_EVALUATE_H

#include "rushlight/backend.h"

/* Numbers lie in .f for float registers and in .i for integer ones. Inputs are as loaded, outputs as stored. `element`
 * is the number that random instructions take, `index` what INDEX gives. PHILOX is a hash of seed, offset and element,
 * UNIFORM and NORMAL are made of it: not the real ones. */
void evaluate(const rl_program *program, const rl_number *inputs, const rl_number *scalars, int64_t element,
              const int64_t *index, rl_number *outputs);
/* CAST. */
rl_number evaluate_cast(rl_number x, rl_reg from, rl_dtype to);

/* Elements in memory. */
rl_number evaluate_load(const void *address, rl_dtype dtype);
void evaluate_store(void *address, rl_dtype dtype, rl_number x);

#endif
