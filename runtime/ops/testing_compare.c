/* SPDX-License-Identifier: Apache-2.0 */
/* testing.h: whether results agree. Any thread. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "ops/testing.h"

/* One rounding to the dtype, and what a short chain of operations in the compute dtype adds. As PyTorch has them. */
void rl_test_tolerance(rl_dtype dtype, double *out_rtol, double *out_atol) {
    bool floating = rl_dtype_is_float(dtype);
    *out_rtol = dtype == RL_F64 ? 1e-7 : dtype == RL_F32 ? 1.3e-6 : dtype == RL_F16 ? 1e-3 : floating ? 1.6e-2 : 0.0;
    *out_atol = dtype == RL_F64 ? 1e-7 : floating ? 1e-5 : 0.0;
}

static double float_at(const void *data, int64_t k, rl_dtype dtype) {
    return dtype == RL_F64   ? ((const double *)data)[k]
           : dtype == RL_F32 ? (double)((const float *)data)[k]
                             : rl_half_to_double(dtype, ((const uint16_t *)data)[k]);
}

static int64_t integer_at(const void *data, int64_t k, rl_dtype dtype) {
    switch (rl_dtype_size(dtype)) {
    case 8:
        return ((const int64_t *)data)[k];
    case 4:
        return ((const int32_t *)data)[k];
    case 2:
        return ((const int16_t *)data)[k];
    default:
        return dtype == RL_I8 ? ((const int8_t *)data)[k] : ((const uint8_t *)data)[k];
    }
}

static bool close_enough(double actual, double expected, double rtol, double atol) {
    if (isnan(actual) || isnan(expected))
        return isnan(actual) && isnan(expected);
    if (isinf(actual) || isinf(expected))
        return actual == expected;
    return fabs(actual - expected) <= atol + rtol * fabs(expected);
}

/* "[1, 0]" of the k-th element. */
static void index_text(const rl_tensor *t, int64_t k, char *out, size_t room) {
    int64_t index[RL_MAX_DIMS];
    for (int d = t->ndim - 1; d >= 0; k /= t->shape[d--])
        index[d] = k % t->shape[d];
    size_t length = (size_t)snprintf(out, room, "[");
    for (int d = 0; d < t->ndim && length < room; d++)
        length += (size_t)snprintf(out + length, room - length, "%s%" PRId64, d ? ", " : "", index[d]);
    if (length < room)
        snprintf(out + length, room - length, "]");
}

static bool compare_data(const rl_tensor *t, const void *actual, const void *expected, double rtol, double atol,
                         char *out_why, size_t room) {
    rl_dtype dtype = (rl_dtype)t->dtype;
    int64_t wrong = 0, first = 0;
    for (int64_t k = 0; k < t->numel; k++) {
        bool well = rl_dtype_is_float(dtype)
                        ? close_enough(float_at(actual, k, dtype), float_at(expected, k, dtype), rtol, atol)
                        : integer_at(actual, k, dtype) == integer_at(expected, k, dtype);
        if (!well && wrong++ == 0)
            first = k;
    }
    if (wrong == 0)
        return true;
    char at[160];
    index_text(t, first, at, sizeof at);
    if (rl_dtype_is_float(dtype))
        snprintf(out_why, room, "%" PRId64 " of %" PRId64 " elements differ, first at %s: %.9g, expected %.9g", wrong,
                 t->numel, at, float_at(actual, first, dtype), float_at(expected, first, dtype));
    else
        snprintf(out_why, room,
                 "%" PRId64 " of %" PRId64 " elements differ, first at %s: %" PRId64 ", expected %" PRId64, wrong,
                 t->numel, at, integer_at(actual, first, dtype), integer_at(expected, first, dtype));
    return false;
}

static bool same_kind(const rl_tensor *actual, const rl_tensor *expected, char *out_why, size_t room) {
    char have[RL_SHAPE_TEXT], want[RL_SHAPE_TEXT];
    bool shape = actual->ndim == expected->ndim;
    for (int d = 0; shape && d < actual->ndim; d++)
        shape = actual->shape[d] == expected->shape[d];
    if (!shape)
        snprintf(out_why, room, "its shape is %s, expected %s", rl_shape_text(actual->ndim, actual->shape, have),
                 rl_shape_text(expected->ndim, expected->shape, want));
    else if (actual->dtype != expected->dtype)
        snprintf(out_why, room, "it is %s, expected %s", rl_dtype_name((rl_dtype)actual->dtype),
                 rl_dtype_name((rl_dtype)expected->dtype));
    return shape && actual->dtype == expected->dtype;
}

bool rl_test_close(const rl_tensor *actual, const rl_tensor *expected, double rtol, double atol, char *out_why,
                   size_t room) {
    if (actual == NULL || expected == NULL) {
        snprintf(out_why, room, "there is no tensor");
        return false;
    }
    if (!same_kind(actual, expected, out_why, room))
        return false;
    size_t bytes = (size_t)expected->numel * rl_dtype_size((rl_dtype)expected->dtype);
    void *a = rl_alloc(bytes, "elements to compare"), *b = rl_alloc(bytes, "elements to compare");
    bool well = a && b && rl_tensor_read(actual, a, bytes) == RL_OK && rl_tensor_read(expected, b, bytes) == RL_OK;
    if (well)
        well = compare_data(expected, a, b, rtol, atol, out_why, room);
    else
        snprintf(out_why, room, "%s", rl_error_text());
    rl_free(a);
    rl_free(b);
    return well;
}

bool rl_test_agree(const rl_test_call *actual, const rl_test_call *expected, char *out_why, size_t room) {
    if (actual->n_results != expected->n_results) {
        snprintf(out_why, room, "%" PRId64 " results, expected %" PRId64, actual->n_results, expected->n_results);
        return false;
    }
    const rl_sample *sample = expected->sample;
    bool exact = rl_op_table[expected->op]->flags & RL_OP_RANDOM; /* the same bits on every device */
    for (int64_t i = 0; i < expected->n_results; i++) {
        double rtol = 0, atol = 0;
        char why[512];
        if (sample && (sample->rtol != 0 || sample->atol != 0)) {
            rtol = sample->rtol;
            atol = sample->atol;
        } else if (!exact) {
            rl_test_tolerance((rl_dtype)expected->results[i]->dtype, &rtol, &atol);
        }
        if (!rl_test_close(actual->results[i], expected->results[i], rtol, atol, why, sizeof why)) {
            snprintf(out_why, room, "result %" PRId64 ": %s", i, why);
            return false;
        }
    }
    return true;
}
