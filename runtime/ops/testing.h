/* SPDX-License-Identifier: Apache-2.0 */
/* The call of a sample, as testing.c makes it and testing_compare.c compares it. */
#ifndef RUSHLIGHT_RUNTIME_OPS_TESTING_H
#define RUSHLIGHT_RUNTIME_OPS_TESTING_H

#include "ops/sample.h"
#include "rushlight/testing.h"

#define RL_TEST_RESULTS 32

struct rl_test_call {
    rl_object object;
    size_t op;
    const rl_sample *sample; /* NULL where the line is none of the op's own */
    const char *text;
    rl_dtype dtype; /* under test */
    rl_device *device;
    rl_test_layout layout;
    rl_sample_line line;
    rl_argument arguments[RL_MAX_ARGS + 1];
    int64_t count, n_results, n_inputs;
    rl_tensor *tensors[RL_SAMPLE_TENSORS]; /* counted; those of the line */
    rl_tensor *inputs[RL_SAMPLE_TENSORS];  /* of these, the floating ones under test */
    rl_tensor *results[RL_TEST_RESULTS];   /* borrowed from the scope that they were made in */
};

#endif
