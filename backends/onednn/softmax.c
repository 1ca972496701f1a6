/* SPDX-License-Identifier: Apache-2.0 */
/* Fused rows: softmax, log_softmax and their backwards. A row that lies packed as f32 is worked on where it is, other
 * rows and half floats through a copy in F32; f64 goes to the plain kernels. */
#include <math.h>
#include <string.h>

#include "slices.h"
#include "space.h"

typedef struct rows {
    rl_dtype dtype;
    int log;
    int64_t n, bytes, along[3];   /* elements of a row, bytes of one, strides along the row in bytes */
    const rl_operand *operand[3]; /* the last is the output */
    int n_operands;
    od_space space; /* of the rows: offsets of the operands */
    int64_t per_unit;
    char *scratch;
    size_t per_thread;
} rows;

static int is_packed(const rows *self, int i) {
    return self->dtype == RL_F32 && (self->along[i] == 4 || self->n == 1);
}

static void forward(const rows *self, float *y, const float *x) {
    const od_row_kernels *k = &od_chosen->row;
    const float most = k->max(x, self->n);
    if (self->log) {
        const float log_sum = (float)log(k->exp_sum(NULL, x, most, self->n));
        k->shift(y, x, most, log_sum, self->n);
    } else {
        const double sum = k->exp_sum(y, x, most, self->n);
        k->scale(y, y, (float)(1.0 / sum), self->n);
    }
}

static void backward(const rows *self, float *out, const float *g, const float *y) {
    const od_row_kernels *k = &od_chosen->row;
    if (self->log)
        k->backward_log(out, g, y, (float)k->sum(g, self->n), self->n);
    else
        k->backward(out, g, y, (float)k->dot(g, y, self->n), self->n);
}

static void run_rows(void *context, int thread, int64_t unit) {
    const rows *self = context;
    const int last = self->n_operands - 1;
    float *room = (float *)(void *)(self->scratch + (size_t)thread * self->per_thread);
    const int64_t first = unit * self->per_unit;
    const int64_t end = od_at_most(first + self->per_unit, self->space.count);
    for (int64_t row = first; row < end; row++) {
        float *x[3] = {NULL};
        for (int i = 0; i < self->n_operands; i++) {
            char *at = od_address(self->operand[i]) + od_space_offset(&self->space, i, self->space.ndim, row);
            x[i] = is_packed(self, i) ? (float *)(void *)at : room + i * self->n;
            if (i < last && !is_packed(self, i))
                od_chosen->load[self->dtype](x[i], at, 1, self->n, 0, self->along[i]);
        }
        if (last == 1)
            forward(self, x[1], x[0]);
        else
            backward(self, x[2], x[0], x[1]);
        if (!is_packed(self, last))
            od_chosen->store[self->dtype](od_address(self->operand[last]) +
                                              od_space_offset(&self->space, last, self->space.ndim, row),
                                          x[last], 1, self->n, 0, self->along[last]);
    }
}

static rl_status run(rows *self, int64_t ndim, const int64_t *shape, int dim, const char *name) {
    const uint32_t others = ((1u << ndim) - 1) & ~(ndim > 0 ? 1u << dim : 0u);
    int copies = 0;
    self->n = ndim > 0 ? shape[dim] : 1;
    self->bytes = od_dtype_bytes(self->dtype);
    od_space_init(&self->space, ndim, shape, others);
    if (self->n == 0 || self->space.count == 0)
        return RL_OK;
    for (int i = self->n_operands - 1; i >= 0; i--)
        self->along[i] = ndim > 0 ? self->operand[i]->stride[dim] * self->bytes : self->bytes;
    for (int i = 0; i < self->n_operands; i++) {
        od_space_add(&self->space, self->operand[i]->stride, self->bytes);
        copies |= !is_packed(self, i);
    }
    od_space_finish(&self->space, 1);
    self->per_unit = self->n < 4096 ? 4096 / self->n : 1;
    const int64_t units = (self->space.count + self->per_unit - 1) / self->per_unit;
    const int threads = od_threads(units, (double)self->space.count * (double)self->n * 0.8);
    if (copies) {
        self->per_thread = od_lines((size_t)(self->n_operands * self->n) * sizeof(float));
        self->scratch = od_host->scratch((size_t)threads * self->per_thread);
        if (self->scratch == NULL)
            return od_host->fail(RL_OUT_OF_MEMORY, "%s: no scratch memory for rows of %lld elements", name,
                                 (long long)self->n);
    }
    od_run(threads, units, run_rows, self);
    return RL_OK;
}

static rl_status plain_softmax(const rl_host *host, const void *args) {
    return rl_kernel_softmax(host, args);
}
static rl_status plain_backward(const rl_host *host, const void *args) {
    return rl_kernel_softmax_backward(host, args);
}

rl_status od_softmax(rl_backend_stream *stream, const void *what) {
    static const od_slicing how = {sizeof(rl_softmax_args),
                                   offsetof(rl_softmax_args, ndim),
                                   offsetof(rl_softmax_args, shape),
                                   offsetof(rl_softmax_args, dim),
                                   {offsetof(rl_softmax_args, in), offsetof(rl_softmax_args, out), 0}};
    static const int64_t wide[OD_SLICE_OPERANDS] = {8, 8, 0};
    const rl_softmax_args *args = what;
    (void)stream;
    if (args->dtype == RL_F64)
        return od_slice(&how, args, wide, 40.0, plain_softmax);
    rows self = {
        .dtype = (rl_dtype)args->dtype, .log = (int)args->log, .operand = {&args->in, &args->out}, .n_operands = 2};
    return run(&self, args->ndim, args->shape, args->dim, "softmax");
}

rl_status od_softmax_backward(rl_backend_stream *stream, const void *what) {
    static const od_slicing how = OD_SLICING(rl_softmax_backward_args, grad_out, out, grad_in);
    static const int64_t wide[OD_SLICE_OPERANDS] = {8, 8, 8};
    const rl_softmax_backward_args *args = what;
    (void)stream;
    if (args->dtype == RL_F64)
        return od_slice(&how, args, wide, 40.0, plain_backward);
    rows self = {.dtype = (rl_dtype)args->dtype,
                 .log = (int)args->log,
                 .operand = {&args->grad_out, &args->out, &args->grad_in},
                 .n_operands = 3};
    return run(&self, args->ndim, args->shape, args->dim, "softmax_backward");
}

static int takes_floats(uint32_t dtype, const char **out_reason) {
    if (dtype == RL_F32 || dtype == RL_F64 || dtype == RL_F16 || dtype == RL_BF16)
        return 1;
    *out_reason = "softmax is for floats";
    return 0;
}
int od_supports_softmax(rl_backend_device *device, const void *args, const char **out_reason) {
    (void)device;
    return takes_floats(((const rl_softmax_args *)args)->dtype, out_reason);
}
int od_supports_softmax_backward(rl_backend_device *device, const void *args, const char **out_reason) {
    (void)device;
    return takes_floats(((const rl_softmax_backward_args *)args)->dtype, out_reason);
}
