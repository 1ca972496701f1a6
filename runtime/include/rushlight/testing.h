/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every op is to be tried on. Each op declares samples, lines like "f[2,3], n[3], alpha=2", and calls that must
 * fail. `rushlight check`, the tests and an author of a backend run them on any device and compare with the reference.
 *
 *     for (size_t s = 0; s < rl_test_sample_count(op); s++) {
 *         RL_SCOPE();
 *         rl_test_call *ours = rl_test_sample_call(op, s, RL_F32, device, RL_TEST_AS_WRITTEN);
 *         rl_test_call *oracle = rl_test_sample_call(op, s, RL_F32, ref, RL_TEST_AS_WRITTEN);
 *         if (rl_test_run(ours, false) == RL_OK && rl_test_run(oracle, false) == RL_OK)
 *             agree = rl_test_agree(ours, oracle, why, sizeof why);
 *         ...
 *     }
 *
 * Ops are numbered as by rl_op_describe. Functions without a device in them touch none. Any thread.
 */
#ifndef RUSHLIGHT_TESTING_H
#define RUSHLIGHT_TESTING_H

#include "rushlight/op.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Samples and bad inputs ---------------------------------------------------------------------------------------------
 */

typedef struct rl_test_sample {
    size_t struct_size;  /* set by the caller to the size of the struct */
    const char *args;    /* the line */
    const char *why;     /* the reason of a tolerance of its own, or of no gradcheck; "" */
    uint32_t dtypes;     /* bit 1u << RL_F32 ...: what the dtype under test may be; one bit where the line names none */
    double rtol, atol;   /* 0: by dtype */
    bool differentiable; /* gradcheck, in f64, makes sense: rl_test_inputs gives some input */
    bool random;         /* draws random numbers; rl_test_run seeds them, so that they are the same on every device */
    bool layouts;        /* may be made in any layout; else only in RL_TEST_AS_WRITTEN, which it depends on */
    bool f64;            /* something is float64 whatever the dtype under test is: not for devices without it */
    bool inplace;        /* NAME_ takes the line too, in the layouts other than RL_TEST_AS_WRITTEN, where the result has
                          * shape and dtype of the first argument */
} rl_test_sample;
/* How many samples the op has, and one of them; false where there is none of that number. */
RL_API size_t rl_test_sample_count(size_t op);
RL_API bool rl_test_sample_describe(size_t op, size_t number, rl_test_sample *out_sample);

typedef struct rl_test_bad {
    size_t struct_size; /* set by the caller to the size of the struct */
    const char *args;
    rl_status status;     /* with which it must fail */
    const char *sentence; /* what its sentence must hold */
} rl_test_bad;
RL_API size_t rl_test_bad_count(size_t op);
RL_API bool rl_test_bad_describe(size_t op, size_t number, rl_test_bad *out_bad);

/* Calls --------------------------------------------------------------------------------------------------------------
 */

/* How tensors lie in memory. What lies between and around their elements is filled with NaN, or -1. */
typedef enum rl_test_layout {
    RL_TEST_AS_WRITTEN, /* as the line says: "t", "s", "e" */
    RL_TEST_CONTIGUOUS, /* row-major, from the start of the storage */
    RL_TEST_GAPPED,     /* row-major with every second element left out, from the fourth on */
    RL_TEST_REVERSED,   /* the first dimension innermost, from the third element on */
    RL_TEST_LAYOUT_COUNT
} rl_test_layout;
RL_API const char *rl_test_layout_name(rl_test_layout layout);

/* An object, owned by the innermost scope: an op with the arguments of a line. The numbers in its tensors depend on the
 * line and the dtype alone: they are the same on every device and in every layout. */
typedef struct rl_test_call rl_test_call;
RL_API rl_test_call *rl_test_sample_call(size_t op, size_t number, rl_dtype dtype, rl_device *device,
                                         rl_test_layout layout);
/* The bad input of that number; its dtype under test is f32. */
RL_API rl_test_call *rl_test_bad_call(size_t op, size_t number, rl_device *device);
/* Any line. */
RL_API rl_test_call *rl_test_line_call(size_t op, const char *line, rl_dtype dtype, rl_device *device,
                                       rl_test_layout layout);

/* Runs it by rl_op_call, the variant NAME_ where `inplace`. Results belong to the innermost scope and can be asked for
 * while they live. A call in place changes its argument: run it once. */
RL_API rl_status rl_test_run(rl_test_call *self, bool inplace);
RL_API const rl_argument *rl_test_arguments(const rl_test_call *self, int64_t *out_count);
RL_API rl_tensors rl_test_results(const rl_test_call *self);
/* What lies between and around the elements of every argument is as it was. */
RL_API bool rl_test_gaps_untouched(const rl_test_call *self);

/* Compares the results of two calls of one sample: shapes, dtypes, elements within the sample's tolerances (NaN equals
 * NaN). Where they differ, says where and how in `out_why`. */
RL_API bool rl_test_agree(const rl_test_call *actual, const rl_test_call *expected, char *out_why, size_t room);
/* The same for two tensors; |actual - expected| <= atol + rtol |expected|, integers and bools exactly. */
RL_API bool rl_test_close(const rl_tensor *actual, const rl_tensor *expected, double rtol, double atol, char *out_why,
                          size_t room);
/* The tolerances with which results of this dtype are compared where the sample has none of its own. */
RL_API void rl_test_tolerance(rl_dtype dtype, double *out_rtol, double *out_atol);

/* For gradcheck: the tensors of the dtype under test, borrowed from the call; and the call as a function of them, whose
 * outputs are its floating results (rl_test_output_count says how many, by running it):
 *     rl_gradcheck_opt(rl_test_apply, call, rl_test_inputs(call), rl_test_output_count(call), NULL) */
RL_API rl_tensors rl_test_inputs(const rl_test_call *self);
RL_API int64_t rl_test_output_count(rl_test_call *self);
RL_API rl_status rl_test_apply(rl_tensors inputs, rl_tensor **outputs, int64_t n_outputs, void *call);

/* Whether fused rows run where the device has them (so at first); off: everything is lowered to primitives. Of this
 * thread. Returns what it was. */
RL_API bool rl_test_set_fused(bool enabled);

#ifdef __cplusplus
}
#endif
#endif
