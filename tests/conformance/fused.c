/* SPDX-License-Identifier: Apache-2.0 */
/* Fused rows against formulas in double: a backend's cell has no other oracle that every backend must bring. */
#include <math.h>
#include <string.h>

#include "conformance.h"
#include "rl_convert.h"

typedef struct fused_context {
    const rl_fused_cell *cell;
    rl_dtype dtype;
    int dim;
    bool log;
    int64_t ndim, shape[RL_MAX_DIMS];
} fused_context;

/* Element access on ref, whose buffers are host memory. */
static unsigned char *address(const suite *self, const rl_operand *operand) {
    void *start = NULL;
    self->ref->mem_map(self->ref_device, operand->buffer, &start);
    return (unsigned char *)start + operand->offset;
}

static double get(const unsigned char *at, rl_dtype dtype) {
    float f;
    double d;
    uint16_t half;
    switch (dtype) {
    case RL_F32:
        return memcpy(&f, at, 4), f;
    case RL_F64:
        return memcpy(&d, at, 8), d;
    default:
        return memcpy(&half, at, 2), dtype == RL_F16 ? rl_f32_from_f16(half) : rl_f32_from_bf16(half);
    }
}

static void put(unsigned char *at, rl_dtype dtype, double value) {
    float f = (float)value;
    uint16_t half = dtype == RL_F16 ? rl_f16_from_f32(f) : rl_bf16_from_f32(f);
    switch (dtype) {
    case RL_F32:
        memcpy(at, &f, 4);
        break;
    case RL_F64:
        memcpy(at, &value, 8);
        break;
    default:
        memcpy(at, &half, 2);
    }
}

/* Lines along dim: calls work with the byte offset of each operand's first element of the line. */
typedef struct line {
    const fused_context *context;
    unsigned char *operands[3];
    int64_t stride[3]; /* bytes along dim */
} line;

static void softmax_line(const line *l) {
    const fused_context *c = l->context;
    int64_t n = c->shape[c->dim];
    double most = -INFINITY, sum = 0.0;
    for (int64_t i = 0; i < n; i++)
        most = fmax(most, get(l->operands[0] + i * l->stride[0], c->dtype));
    for (int64_t i = 0; i < n; i++)
        sum += exp(get(l->operands[0] + i * l->stride[0], c->dtype) - most);
    for (int64_t i = 0; i < n; i++) {
        double x = get(l->operands[0] + i * l->stride[0], c->dtype) - most;
        put(l->operands[1] + i * l->stride[1], c->dtype, c->log ? x - log(sum) : exp(x) / sum);
    }
}

static void softmax_backward_line(const line *l) { /* grad_out, out, grad_in */
    const fused_context *c = l->context;
    int64_t n = c->shape[c->dim];
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++) {
        double g = get(l->operands[0] + i * l->stride[0], c->dtype),
               y = get(l->operands[1] + i * l->stride[1], c->dtype);
        sum += c->log ? g : g * y;
    }
    for (int64_t i = 0; i < n; i++) {
        double g = get(l->operands[0] + i * l->stride[0], c->dtype),
               y = get(l->operands[1] + i * l->stride[1], c->dtype);
        put(l->operands[2] + i * l->stride[2], c->dtype, c->log ? g - exp(y) * sum : y * (g - sum));
    }
}

static void each_line(suite *self, const fused_context *c, const rl_operand *operands, int count,
                      void (*work)(const line *l)) {
    int64_t lines = 1, size = (int64_t)dtype_bytes(c->dtype);
    for (int64_t d = 0; d < c->ndim; d++)
        lines *= d == c->dim ? 1 : c->shape[d];
    for (int64_t number = 0; number < lines; number++) {
        line l = {.context = c};
        for (int i = 0; i < count; i++) {
            int64_t left = number, at = 0;
            for (int64_t d = c->ndim - 1; d >= 0; d--) {
                if (d == c->dim)
                    continue;
                at += left % c->shape[d] * operands[i].stride[d];
                left /= c->shape[d];
            }
            l.operands[i] = address(self, &operands[i]) + at * size;
            l.stride[i] = operands[i].stride[c->dim] * size;
        }
        work(&l);
    }
}

static rl_status issue_fused(test_case *self, const rl_backend *api, rl_backend_stream *stream, bool on_ref,
                             void *context) {
    const fused_context *c = context;
    rl_operand operands[3];
    rl_softmax_args forward = {
        .size = sizeof forward, .dtype = c->dtype, .dim = c->dim, .log = c->log, .ndim = c->ndim};
    rl_softmax_backward_args backward = {
        .size = sizeof backward, .dtype = c->dtype, .dim = c->dim, .log = c->log, .ndim = c->ndim};
    bool is_backward = c->cell->row == RL_ROW_SOFTMAX_BACKWARD;
    (void)api;
    for (int i = 0; i < self->count; i++)
        operands[i] = case_operand(self, i, on_ref);
    memcpy(forward.shape, c->shape, sizeof forward.shape);
    memcpy(backward.shape, c->shape, sizeof backward.shape);
    if (on_ref) {
        each_line(self->suite, c, operands, self->count, is_backward ? softmax_backward_line : softmax_line);
        return RL_OK;
    }
    if (is_backward) {
        backward.grad_out = operands[0];
        backward.out = operands[1];
        backward.grad_in = operands[2];
        return c->cell->run(stream, &backward);
    }
    forward.in = operands[0];
    forward.out = operands[1];
    return c->cell->run(stream, &forward);
}

/* Whether the cell takes these args; what it says must not depend on buffers, so none are given. */
static bool supported(suite *self, const fused_context *c) {
    rl_softmax_args forward = {
        .size = sizeof forward, .dtype = c->dtype, .dim = c->dim, .log = c->log, .ndim = c->ndim};
    rl_softmax_backward_args backward = {
        .size = sizeof backward, .dtype = c->dtype, .dim = c->dim, .log = c->log, .ndim = c->ndim};
    const char *reason = NULL;
    memcpy(forward.shape, c->shape, sizeof forward.shape);
    memcpy(backward.shape, c->shape, sizeof backward.shape);
    for (int64_t d = c->ndim - 1, at = 1; d >= 0; at *= c->shape[d--])
        forward.in.stride[d] = forward.out.stride[d] = backward.grad_out.stride[d] = backward.out.stride[d] =
            backward.grad_in.stride[d] = at;
    const void *args = c->cell->row == RL_ROW_SOFTMAX ? (const void *)&forward : &backward;
    bool takes = c->cell->supports(self->device, args, &reason) != 0;
    check(self, takes || (reason && *reason), "row %u refuses without a reason", c->cell->row);
    return takes;
}

static void run_fused(suite *self, fused_context c) {
    test_case t;
    double rtol = c.dtype == RL_F64 ? 1e-12 : 8 * dtype_rtol(c.dtype);
    if (!supported(self, &c))
        return;
    case_begin(&t, self, "row %u%s, %s along %d of {%lld, %lld, ..}", c.cell->row, c.log ? " (log)" : "",
               dtype_text(c.dtype), c.dim, (long long)c.shape[0], (long long)c.shape[1]);
    case_input(&t, c.dtype, c.ndim, c.shape, LAYOUT_PLAIN, CONTENT_ANY, 0);
    if (c.cell->row == RL_ROW_SOFTMAX_BACKWARD)
        case_input(&t, c.dtype, c.ndim, c.shape, LAYOUT_PLAIN, CONTENT_SMALL, 0);
    case_output(&t, c.dtype, c.ndim, c.shape, LAYOUT_PLAIN, rtol, c.dtype == RL_F64 ? 1e-12 : 1e-5 + rtol);
    case_run(&t, issue_fused, &c);
    case_end(&t);
}

void check_fused(suite *self) {
    static const shape_case shapes[] = {{2, {5, 10}},    {1, {300}},  {3, {3, 4, 65}},
                                        {2, {64, 1000}}, {2, {0, 3}}, {2, {7, 1}}};
    self->section = SECTION_FUSED;
    if (self->api->size < offsetof(rl_backend, n_fused) + sizeof(uint32_t) || self->api->n_fused == 0) {
        skip_section(self, SECTION_FUSED, "the backend brings none: the host lowers them to primitives");
        return;
    }
    for (uint32_t i = 0; i < self->api->n_fused; i++) {
        const rl_fused_cell *cell = &self->api->fused[i];
        if (!check(self, cell->row > RL_ROW_NONE && cell->supports && cell->run, "cell %u is not whole", i) ||
            cell->row >= RL_ROW_COUNT)
            continue;
        if (cell->row != RL_ROW_SOFTMAX && cell->row != RL_ROW_SOFTMAX_BACKWARD)
            continue; /* tests/ops compares the others with their lowering */
        for (const rl_dtype *dtype = suite_dtypes(self); *dtype; dtype++)
            for (size_t s = 0; s < sizeof shapes / sizeof *shapes && dtype_floating(*dtype); s++)
                for (int k = 0; k < 2 * shapes[s].ndim; k++) {
                    fused_context c = {
                        .cell = cell, .dtype = *dtype, .dim = k / 2, .log = k % 2, .ndim = shapes[s].ndim};
                    memcpy(c.shape, shapes[s].shape, sizeof c.shape);
                    self->dtype = *dtype;
                    run_fused(self, c);
                }
    }
    self->dtype = RL_DTYPE_NONE;
}
