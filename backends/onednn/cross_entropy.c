/* SPDX-License-Identifier: Apache-2.0 */
/* Fused rows: cross entropy and its backward. Forward reads each row of logits once, a block of it while that lies in
 * the first-level cache; backward reads it once and writes the gradient. f64 is left to the primitives. */
#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "backend.h"

#define BLOCK 2048 /* floats: what is looked at for its greatest, then for its exponentials */

typedef struct rows {
    rl_dtype dtype;
    int wide; /* targets are I64 */
    int64_t count, classes, ignored, per_unit, bytes;
    const rl_operand *logits, *target, *log_sum;
    const rl_operand *loss; /* forward: out; backward: its gradient */
    const rl_operand *grad; /* of logits; NULL forward */
    char *scratch;
    size_t per_thread;
    _Atomic(int) failed; /* there is a target that is no class */
} rows;

static char *row_of(const rl_operand *operand, int64_t row, int64_t bytes) {
    return od_address(operand) + row * operand->stride[0] * bytes;
}
static float *float_of(const rl_operand *operand, int64_t row) {
    return (float *)(void *)row_of(operand, row, 4);
}
static int64_t target_of(const rows *self, int64_t row) {
    const char *at = row_of(self->target, row, self->wide ? 8 : 4);
    return self->wide ? *(const int64_t *)(const void *)at : *(const int32_t *)(const void *)at;
}
static int is_packed(const rows *self, const rl_operand *operand) {
    return self->dtype == RL_F32 && (operand->stride[1] == 1 || self->classes == 1);
}

/* The greatest of a row and the sum of e^(x - it), in one reading: what was summed is rescaled when a block has a
 * greater one. A row without a finite or infinite greatest has no sum: NaN. */
static double sum_row(const float *x, int64_t n, float *out_most) {
    const od_row_kernels *k = &od_chosen->row;
    float most = -INFINITY;
    double total = 0.0;
    for (int64_t at = 0; at < n; at += BLOCK) {
        const int64_t count = od_at_most(n - at, BLOCK);
        const float here = k->max(x + at, count);
        if (!(here <= most)) {
            total *= exp((double)most - (double)here);
            most = here;
        }
        if (most != -INFINITY)
            total += k->exp_sum(NULL, x + at, most, count);
    }
    *out_most = most;
    return most == -INFINITY ? NAN : total;
}

static void forward_row(rows *self, const float *x, int64_t row) {
    const int64_t target = target_of(self, row);
    float most, *loss = float_of(self->loss, row);
    const double log_total = log(sum_row(x, self->classes, &most));
    *float_of(self->log_sum, row) = (float)((double)most + log_total);
    *loss = 0.0f;
    if (target == self->ignored)
        return;
    if (target >= 0 && target < self->classes) {
        *loss = (float)(log_total - ((double)x[target] - (double)most));
        return;
    }
    atomic_store(&self->failed, 1);
}

static void backward_row(const rows *self, float *out, const float *x, int64_t row) {
    const int64_t target = target_of(self, row);
    if (target == self->ignored) {
        memset(out, 0, (size_t)self->classes * sizeof *out);
        return;
    }
    const float g = *float_of(self->loss, row), log_sum = *float_of(self->log_sum, row);
    const int good = target >= 0 && target < self->classes;
    const float of_target = good ? g * (expf(x[target] - log_sum) - 1.0f) : 0.0f; /* `out` may be where x is */
    od_chosen->row.exp_scale(out, x, log_sum, g, self->classes);
    if (good)
        out[target] = of_target;
}

static void run_rows(void *context, int thread, int64_t unit) {
    rows *self = context;
    float *room = (float *)(void *)(self->scratch + (size_t)thread * self->per_thread);
    const int64_t first = unit * self->per_unit;
    const int64_t end = od_at_most(first + self->per_unit, self->count);
    for (int64_t row = first; row < end; row++) {
        const char *in = row_of(self->logits, row, self->bytes);
        const float *x = (const float *)(const void *)in;
        if (!is_packed(self, self->logits)) {
            od_chosen->load[self->dtype](room, in, 1, self->classes, 0, self->logits->stride[1] * self->bytes);
            x = room;
        }
        if (self->grad == NULL) {
            forward_row(self, x, row);
            continue;
        }
        char *out = row_of(self->grad, row, self->bytes);
        const int packed = is_packed(self, self->grad);
        backward_row(self, packed ? (float *)(void *)out : room, x, row);
        if (!packed)
            od_chosen->store[self->dtype](out, room, 1, self->classes, 0, self->grad->stride[1] * self->bytes);
    }
}

/* The first, looked for anew: threads meet them in any order. */
static rl_status fail_target(const rows *self) {
    int64_t row = 0, target;
    do
        target = target_of(self, row);
    while (((target >= 0 && target < self->classes) || target == self->ignored) && ++row < self->count);
    return od_host->fail(RL_INDEX_OUT_OF_RANGE, "target %lld is out of range for %lld classes", (long long)target,
                         (long long)self->classes);
}

static rl_status run(rows *self) {
    self->bytes = od_dtype_bytes(self->dtype);
    self->per_unit = self->classes < 4096 ? 4096 / self->classes : 1;
    const int64_t units = (self->count + self->per_unit - 1) / self->per_unit;
    const int threads = od_threads(units, (double)self->count * (double)self->classes * 0.5);
    if (!is_packed(self, self->logits) || (self->grad && !is_packed(self, self->grad))) {
        self->per_thread = od_lines((size_t)self->classes * sizeof(float));
        self->scratch = od_host->scratch((size_t)threads * self->per_thread);
        if (self->scratch == NULL)
            return od_host->fail(RL_OUT_OF_MEMORY, "cross_entropy: no scratch memory for rows of %lld classes",
                                 (long long)self->classes);
    }
    od_run(threads, units, run_rows, self);
    return self->failed ? fail_target(self) : RL_OK;
}

rl_status od_cross_entropy(rl_backend_stream *stream, const void *what) {
    const rl_cross_entropy_args *args = what;
    (void)stream;
    rows self = {.dtype = (rl_dtype)args->dtype,
                 .wide = args->index_dtype == RL_I64,
                 .count = args->rows,
                 .classes = args->classes,
                 .ignored = args->ignore_index,
                 .logits = &args->logits,
                 .target = &args->target,
                 .log_sum = &args->log_sum,
                 .loss = &args->loss};
    return run(&self);
}

rl_status od_cross_entropy_backward(rl_backend_stream *stream, const void *what) {
    const rl_cross_entropy_backward_args *args = what;
    (void)stream;
    rows self = {.dtype = (rl_dtype)args->dtype,
                 .wide = args->index_dtype == RL_I64,
                 .count = args->rows,
                 .classes = args->classes,
                 .ignored = args->ignore_index,
                 .logits = &args->logits,
                 .target = &args->target,
                 .log_sum = &args->log_sum,
                 .loss = &args->grad_loss,
                 .grad = &args->grad_logits};
    return run(&self);
}

static int takes(uint32_t dtype, int64_t classes, const char **out_reason) {
    const int good = dtype == RL_F32 || dtype == RL_F16 || dtype == RL_BF16;
    *out_reason = good ? "there are no classes" : "cross entropy is for float32 and narrower";
    return good && classes > 0;
}
int od_supports_cross_entropy(rl_backend_device *device, const void *what, const char **out_reason) {
    const rl_cross_entropy_args *args = what;
    (void)device;
    return takes(args->dtype, args->classes, out_reason);
}
int od_supports_cross_entropy_backward(rl_backend_device *device, const void *what, const char **out_reason) {
    const rl_cross_entropy_backward_args *args = what;
    (void)device;
    return takes(args->dtype, args->classes, out_reason);
}
