/* SPDX-License-Identifier: Apache-2.0 */
/* gather, scatter, scan and sort: what moves elements along a dimension. */
#include <string.h>

#include "conformance.h"

static const shape_case shapes[] = {{1, {13}},         {2, {6, 40}}, {3, {4, 5, 6}}, {2, {0, 3}},
                                    {4, {2, 3, 1, 7}}, {1, {1}},     {1, {3000}}};
enum { N_SHAPES = sizeof shapes / sizeof shapes[0] };

typedef struct index_context {
    rl_dtype dtype, index_dtype;
    int dim;
    int64_t ndim, shape[RL_MAX_DIMS], dim_size;
    rl_scatter_mode mode;
} index_context;

static rl_status issue_gather(test_case *self, const rl_backend *api, rl_backend_stream *stream, bool on_ref,
                              void *context) {
    const index_context *c = context;
    rl_gather_args args = {.size = sizeof args,
                           .dtype = c->dtype,
                           .index_dtype = c->index_dtype,
                           .dim = c->dim,
                           .ndim = c->ndim,
                           .dim_size = c->dim_size,
                           .in = case_operand(self, 0, on_ref),
                           .index = case_operand(self, 1, on_ref),
                           .out = case_operand(self, 2, on_ref)};
    memcpy(args.shape, c->shape, sizeof args.shape);
    return api->gather(stream, &args);
}

static rl_status issue_scatter(test_case *self, const rl_backend *api, rl_backend_stream *stream, bool on_ref,
                               void *context) {
    const index_context *c = context;
    rl_scatter_args args = {.size = sizeof args,
                            .dtype = c->dtype,
                            .index_dtype = c->index_dtype,
                            .dim = c->dim,
                            .ndim = c->ndim,
                            .dim_size = c->dim_size,
                            .mode = c->mode,
                            .in = case_operand(self, 0, on_ref),
                            .index = case_operand(self, 1, on_ref),
                            .out = case_operand(self, 2, on_ref)};
    memcpy(args.shape, c->shape, sizeof args.shape);
    return api->scatter(stream, &args);
}

static index_context along(rl_dtype dtype, const shape_case *shape, int dim, int64_t dim_size) {
    index_context c = {.dtype = dtype,
                       .index_dtype = (dim + dtype) % 2 ? RL_I64 : RL_I32,
                       .dim = dim,
                       .ndim = shape->ndim,
                       .dim_size = dim_size};
    memcpy(c.shape, shape->shape, sizeof c.shape);
    return c;
}

static void run_gather(suite *self, index_context c, int layout) {
    test_case t;
    int64_t from[RL_MAX_DIMS];
    memcpy(from, c.shape, sizeof from);
    from[c.dim] = c.dim_size;
    case_begin(&t, self, "gather %s along %d of %lld, layout %d", dtype_text(c.dtype), c.dim, (long long)c.ndim,
               layout);
    case_input(&t, c.dtype, c.ndim, from, layout, CONTENT_ANY, 0);
    case_input(&t, c.index_dtype, c.ndim, c.shape, (layout + 1) % LAYOUT_COUNT ? LAYOUT_PLAIN : LAYOUT_BROADCAST,
               CONTENT_INDEX, c.dim_size);
    case_output(&t, c.dtype, c.ndim, c.shape, (layout + 1) % LAYOUT_COUNT, 0.0, 0.0);
    case_run(&t, issue_gather, &c);
    case_end(&t);
}

static void run_scatter(suite *self, index_context c, int layout, int content) {
    test_case t;
    int64_t to[RL_MAX_DIMS];
    bool orders = dtype_floating(c.dtype) && (c.mode == RL_SCATTER_ADD || c.mode == RL_SCATTER_MUL);
    memcpy(to, c.shape, sizeof to);
    to[c.dim] = c.dim_size;
    case_begin(&t, self, "scatter mode %d, %s along %d of %lld, layout %d%s", (int)c.mode, dtype_text(c.dtype), c.dim,
               (long long)c.ndim, layout, content == CONTENT_SPECIAL ? ", NaN and infinities on both sides" : "");
    /* SET keeps any one of several: all of a line bring the same value there. */
    int in = case_input(&t, c.dtype, c.ndim, c.shape, layout, content, 0);
    if (c.mode == RL_SCATTER_SET)
        t.fields[in].stride[c.dim] = 0;
    case_input(&t, c.index_dtype, c.ndim, c.shape, LAYOUT_PLAIN, CONTENT_INDEX, c.dim_size);
    case_inout(&t, c.dtype, c.ndim, to, (layout + 1) % LAYOUT_COUNT, content, orders ? 30 * dtype_rtol(c.dtype) : 1e-30,
               orders ? 10 * dtype_rtol(c.dtype) : 0.0);
    case_run(&t, issue_scatter, &c);
    case_end(&t);
}

void check_gather_scatter(suite *self) {
    for (const rl_dtype *dtype = suite_dtypes(self); *dtype; dtype++) {
        self->dtype = *dtype;
        for (int s = 0; s < N_SHAPES; s++)
            for (int dim = 0; dim < shapes[s].ndim; dim++)
                for (int layout = 0; layout < LAYOUT_COUNT; layout++) {
                    self->section = SECTION_GATHER;
                    run_gather(self, along(*dtype, &shapes[s], dim, 9), layout);
                    self->section = SECTION_SCATTER;
                    for (int mode = RL_SCATTER_SET; mode <= RL_SCATTER_MIN; mode++) {
                        index_context c = along(*dtype, &shapes[s], dim, shapes[s].shape[dim] > 1000 ? 2000 : 9);
                        c.mode = (rl_scatter_mode)mode;
                        run_scatter(self, c, layout, CONTENT_ANY);
                        if (mode >= RL_SCATTER_MAX && dtype_floating(*dtype))
                            run_scatter(self, c, layout, CONTENT_SPECIAL);
                    }
                }
    }
    self->dtype = RL_DTYPE_NONE;
}

/* Scan and sort
 * ------------------------------------------------------------------------------------------------------------ */

typedef struct scan_context {
    rl_dtype dtype;
    int dim;
    rl_scan_op op;
    bool indices, descending;
    int64_t ndim, shape[RL_MAX_DIMS];
} scan_context;

static rl_status issue_scan(test_case *self, const rl_backend *api, rl_backend_stream *stream, bool on_ref,
                            void *context) {
    const scan_context *c = context;
    rl_scan_args args = {.size = sizeof args,
                         .dtype = c->dtype,
                         .op = c->op,
                         .dim = c->dim,
                         .ndim = c->ndim,
                         .has_indices = c->indices,
                         .in = case_operand(self, 0, on_ref),
                         .out = case_operand(self, 1, on_ref)};
    memcpy(args.shape, c->shape, sizeof args.shape);
    if (c->indices)
        args.indices = case_operand(self, 2, on_ref);
    return api->scan(stream, &args);
}

static rl_status issue_sort(test_case *self, const rl_backend *api, rl_backend_stream *stream, bool on_ref,
                            void *context) {
    const scan_context *c = context;
    rl_sort_args args = {.size = sizeof args,
                         .dtype = c->dtype,
                         .dim = c->dim,
                         .descending = c->descending,
                         .ndim = c->ndim,
                         .in = case_operand(self, 0, on_ref),
                         .values = case_operand(self, 1, on_ref),
                         .indices = case_operand(self, 2, on_ref)};
    memcpy(args.shape, c->shape, sizeof args.shape);
    return api->sort(stream, &args);
}

static void run_scan(suite *self, scan_context c, int layout) {
    test_case t;
    bool picks = c.op == RL_SCAN_MAX || c.op == RL_SCAN_MIN;
    double rtol = picks ? 1e-30 : 30 * dtype_rtol(c.dtype);
    int content = picks ? CONTENT_SPECIAL : c.op == RL_SCAN_PROD ? CONTENT_SMALL : CONTENT_ANY;
    c.indices = picks && layout % 2;
    case_begin(&t, self, "scan op %d, %s along %d of %lld, layout %d", (int)c.op, dtype_text(c.dtype), c.dim,
               (long long)c.ndim, layout);
    case_input(&t, c.dtype, c.ndim, c.shape, layout, content, 0);
    case_output(&t, c.dtype, c.ndim, c.shape, (layout + 1) % LAYOUT_COUNT, rtol,
                picks || !dtype_floating(c.dtype) ? 0.0
                : c.dtype == RL_F64               ? 1e-11
                                                  : 2e-4 + 4 * dtype_rtol(c.dtype));
    if (c.indices)
        case_output(&t, RL_I64, c.ndim, c.shape, layout, 0.0, 0.0);
    case_run(&t, issue_scan, &c);
    case_end(&t);
}

static void run_sort(suite *self, scan_context c, int layout, int content) {
    test_case t;
    case_begin(&t, self, "sort %s %s along %d of %lld, layout %d, content %d", dtype_text(c.dtype),
               c.descending ? "descending" : "ascending", c.dim, (long long)c.ndim, layout, content);
    case_input(&t, c.dtype, c.ndim, c.shape, layout, content, 0);
    case_output(&t, c.dtype, c.ndim, c.shape, (layout + 1) % LAYOUT_COUNT, 1e-30, 0.0);
    case_output(&t, RL_I64, c.ndim, c.shape, (layout + 2) % LAYOUT_COUNT, 0.0, 0.0);
    case_run(&t, issue_sort, &c);
    case_end(&t);
}

void check_scan_sort(suite *self) {
    for (const rl_dtype *dtype = suite_dtypes(self); *dtype; dtype++) {
        self->dtype = *dtype;
        for (int s = 0; s < N_SHAPES; s++)
            for (int dim = 0; dim < shapes[s].ndim; dim++)
                for (int layout = 0; layout < LAYOUT_COUNT; layout++) {
                    scan_context c = {.dtype = *dtype, .dim = dim, .ndim = shapes[s].ndim};
                    memcpy(c.shape, shapes[s].shape, sizeof c.shape);
                    self->section = SECTION_SCAN;
                    for (int op = RL_SCAN_SUM; op <= (dtype_floating(*dtype) ? RL_SCAN_LOGSUMEXP : RL_SCAN_MIN); op++) {
                        c.op = (rl_scan_op)op;
                        if (op != RL_SCAN_SUM || c.shape[dim] < 1000 || !dtype_floating(*dtype))
                            run_scan(self, c, layout);
                    }
                    self->section = SECTION_SORT;
                    for (int kind = 0; kind < 4; kind++) {
                        c.descending = kind & 1;
                        run_sort(self, c, layout, kind & 2 ? CONTENT_SPECIAL : CONTENT_SMALL);
                    }
                }
    }
    self->dtype = RL_DTYPE_NONE;
}
