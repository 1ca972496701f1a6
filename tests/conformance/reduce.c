/* SPDX-License-Identifier: Apache-2.0 */
/* reduce and matmul. */
#include <string.h>

#include "conformance.h"

typedef struct reduce_context {
    const rl_program *prologue, *epilogue;
    uint8_t combiner[RL_MAX_COMBINED];
    uint32_t reduced;
    int64_t ndim, shape[RL_MAX_DIMS];
    int n_outputs;
    rl_number epilogue_scalar;
} reduce_context;

static rl_status issue_reduce(test_case *self, const rl_backend *api, rl_backend_stream *stream, bool on_ref,
                              void *context) {
    const reduce_context *c = context;
    rl_operand input = case_operand(self, 0, on_ref), outputs[RL_MAX_OUTPUTS];
    rl_reduce_args args = {.size = sizeof args,
                           .reduced = c->reduced,
                           .ndim = c->ndim,
                           .prologue = c->prologue,
                           .epilogue = c->epilogue,
                           .inputs = &input,
                           .outputs = outputs,
                           .epilogue_scalars = &c->epilogue_scalar};
    memcpy(args.shape, c->shape, sizeof args.shape);
    memcpy(args.combiner, c->combiner, sizeof args.combiner);
    for (int i = 0; i < c->n_outputs; i++)
        outputs[i] = case_operand(self, 1 + i, on_ref);
    return api->reduce(stream, &args);
}

/* The kept dimensions, those reduced with size 1: the shape of an output's elements. */
static void kept_shape(const reduce_context *c, int64_t *out) {
    for (int64_t d = 0; d < c->ndim; d++)
        out[d] = c->reduced >> d & 1 ? 1 : c->shape[d];
}

/* The dtype in which a dtype's values are combined. */
static rl_dtype accumulator(rl_dtype dtype, int combiner) {
    bool sums = combiner == RL_COMBINE_SUM || combiner == RL_COMBINE_PROD;
    switch (dtype_register(dtype)) {
    case RL_REG_F64:
        return RL_F64;
    case RL_REG_F32:
        return RL_F32;
    case RL_REG_I64:
        return RL_I64;
    default:
        return sums ? RL_I64 : RL_I32;
    }
}

static void run_combiner(suite *self, rl_dtype dtype, int combiner, const shape_case *shape, uint32_t reduced,
                         int layout) {
    static const char *const names[] = {"sum", "prod", "max", "min", "argmax", "argmin"};
    test_case t;
    program_maker maker;
    rl_dtype held = accumulator(dtype, combiner);
    bool picks = combiner >= RL_COMBINE_ARGMAX;
    rl_dtype out = picks ? RL_I64 : held;
    reduce_context c = {.combiner = {(uint8_t)combiner}, .reduced = reduced, .ndim = shape->ndim, .n_outputs = 1};
    memcpy(c.shape, shape->shape, sizeof c.shape);
    c.prologue = copy_program(self, dtype, held);
    make_begin(&maker);
    make_output(&maker, out, make_input(&maker, out));
    c.epilogue = make_end(&maker, self);
    int64_t kept[RL_MAX_DIMS] = {0};
    kept_shape(&c, kept);
    int content = combiner >= RL_COMBINE_MAX    ? CONTENT_SPECIAL
                  : combiner == RL_COMBINE_PROD ? CONTENT_SMALL
                                                : CONTENT_ANY;
    case_begin(&t, self, "%s of %s, shape {%lld, %lld, ..} of %lld, reduced %x, layout %d", names[combiner],
               dtype_text(dtype), (long long)c.shape[0], (long long)c.shape[1], (long long)c.ndim, reduced, layout);
    case_input(&t, dtype, c.ndim, c.shape, layout, content, 0);
    case_output(&t, out, c.ndim, kept, layout == LAYOUT_BROADCAST ? LAYOUT_PLAIN : layout,
                combiner == RL_COMBINE_SUM || combiner == RL_COMBINE_PROD ? 20 * dtype_rtol(held) : 1e-30,
                combiner == RL_COMBINE_SUM ? 1e-4 * (held == RL_F64 ? 1e-8 : 1.0) : 0.0);
    case_run(&t, issue_reduce, &c);
    case_end(&t);
}

/* Mean and variance in one pass: two combined values, an epilogue of two outputs and a scalar. */
static void run_moments(suite *self, rl_dtype dtype, const shape_case *shape, uint32_t reduced) {
    test_case t;
    program_maker maker;
    reduce_context c = {.combiner = {RL_COMBINE_SUM, RL_COMBINE_SUM, RL_COMBINE_MAX},
                        .reduced = reduced,
                        .ndim = shape->ndim,
                        .n_outputs = 2};
    int64_t count = 1, kept[RL_MAX_DIMS] = {0};
    memcpy(c.shape, shape->shape, sizeof c.shape);
    for (int64_t d = 0; d < c.ndim; d++)
        count *= reduced >> d & 1 ? c.shape[d] : 1;
    make_begin(&maker);
    int x = make_input(&maker, dtype);
    make_output(&maker, RL_F32, x);
    make_output(&maker, RL_F32, make_insn(&maker, RL_INSN_MUL, RL_REG_F32, 0, x, x, 0, 0));
    make_output(&maker, RL_F32, x);
    c.prologue = make_end(&maker, self);
    make_begin(&maker);
    int sum = make_input(&maker, RL_F32), squares = make_input(&maker, RL_F32), most = make_input(&maker, RL_F32);
    int n = make_scalar(&maker, RL_REG_F32);
    int mean = make_insn(&maker, RL_INSN_DIV, RL_REG_F32, 0, sum, n, 0, 0);
    make_output(&maker, dtype, make_insn(&maker, RL_INSN_ADD, RL_REG_F32, 0, mean, most, 0, 0));
    make_output(&maker, RL_F32, make_insn(&maker, RL_INSN_DIV, RL_REG_F32, 0, squares, n, 0, 0));
    c.epilogue = make_end(&maker, self);
    c.epilogue_scalar.f = (double)count;
    kept_shape(&c, kept);
    case_begin(&t, self, "mean + max and mean square of %s, reduced %x", dtype_text(dtype), reduced);
    case_input(&t, dtype, c.ndim, c.shape, LAYOUT_PLAIN, CONTENT_ANY, 0);
    case_output(&t, dtype, c.ndim, kept, LAYOUT_PLAIN, 10 * dtype_rtol(dtype), 1e-5);
    case_output(&t, RL_F32, c.ndim, kept, LAYOUT_GAPPED, 2e-5, 1e-5);
    case_run(&t, issue_reduce, &c);
    case_end(&t);
}

void check_reduce(suite *self) {
    static const shape_case shapes[] = {{1, {1000}}, {2, {37, 300}}, {3, {7, 9, 65}}, {4, {3, 5, 4, 6}},
                                        {0, {0}},    {2, {0, 5}},    {1, {1}},        {2, {5000, 3}}};
    self->section = SECTION_REDUCE;
    for (const rl_dtype *dtype = suite_dtypes(self); *dtype; dtype++) {
        self->dtype = *dtype;
        for (int combiner = 0; combiner <= RL_COMBINE_ARGMIN; combiner++)
            for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
                for (uint32_t reduced = 0; reduced < 1u << shapes[s].ndim; reduced++)
                    run_combiner(self, *dtype, combiner, &shapes[s], reduced,
                                 (int)(s + reduced + (unsigned)combiner) % (LAYOUT_COUNT + 1) == LAYOUT_COUNT
                                     ? LAYOUT_BROADCAST
                                     : (int)(s + reduced + (unsigned)combiner) % (LAYOUT_COUNT + 1));
        if (dtype_register(*dtype) == RL_REG_F32)
            for (uint32_t reduced = 0; reduced < 8; reduced++)
                run_moments(self, *dtype, &shapes[2], reduced);
    }
    self->dtype = RL_DTYPE_NONE;
}

/* matmul
 * -------------------------------------------------------------------------------------------------------------------
 */

typedef struct matmul_context {
    rl_dtype dtype;
    int64_t batch_ndim, batch[RL_MAX_DIMS], m, n, k;
    double alpha, beta;
} matmul_context;

static rl_status issue_matmul(test_case *self, const rl_backend *api, rl_backend_stream *stream, bool on_ref,
                              void *context) {
    const matmul_context *c = context;
    rl_matmul_args args = {.size = sizeof args,
                           .dtype = c->dtype,
                           .batch_ndim = c->batch_ndim,
                           .m = c->m,
                           .n = c->n,
                           .k = c->k,
                           .alpha = c->alpha,
                           .beta = c->beta,
                           .a = case_operand(self, 0, on_ref),
                           .b = case_operand(self, 1, on_ref),
                           .c = case_operand(self, 2, on_ref)};
    memcpy(args.batch_shape, c->batch, sizeof args.batch_shape);
    return api->matmul(stream, &args);
}

static void run_matmul(suite *self, matmul_context c, const int *layouts) {
    test_case t;
    int64_t a[RL_MAX_DIMS], b[RL_MAX_DIMS], out[RL_MAX_DIMS], nd = c.batch_ndim + 2;
    memcpy(a, c.batch, sizeof a);
    memcpy(b, c.batch, sizeof b);
    memcpy(out, c.batch, sizeof out);
    a[nd - 2] = out[nd - 2] = c.m;
    a[nd - 1] = b[nd - 2] = c.k;
    b[nd - 1] = out[nd - 1] = c.n;
    case_begin(&t, self, "matmul %s, batch %lld, m %lld, n %lld, k %lld, alpha %g, beta %g, layouts %d %d %d",
               dtype_text(c.dtype), (long long)c.batch_ndim, (long long)c.m, (long long)c.n, (long long)c.k, c.alpha,
               c.beta, layouts[0], layouts[1], layouts[2]);
    case_input(&t, c.dtype, nd, a, layouts[0], CONTENT_SMALL, 0);
    case_input(&t, c.dtype, nd, b, layouts[1], CONTENT_SMALL, 0);
    /* With beta = 0, c is never read: NaN there must not show. */
    case_inout(&t, c.dtype, nd, out, layouts[2], c.beta == 0.0 ? CONTENT_NAN : CONTENT_ANY,
               dtype_floating(c.dtype) ? 2 * dtype_rtol(c.dtype) : 0.0, dtype_floating(c.dtype) ? 1e-5 : 0.0);
    case_run(&t, issue_matmul, &c);
    case_end(&t);
}

void check_matmul(suite *self) {
    static const int64_t sizes[][3] = {{1, 1, 1},    {3, 5, 7}, {17, 1, 33}, {1, 40, 64},
                                       {65, 70, 31}, {0, 3, 2}, {4, 4, 0},   {128, 96, 80}};
    static const int layouts[][3] = {{0, 0, 0}, {1, 0, 0}, {0, 1, 0}, {1, 1, 1}, {2, 3, 2}, {5, 0, 3}, {0, 5, 1}};
    self->section = SECTION_MATMUL;
    for (const rl_dtype *dtype = suite_dtypes(self); *dtype; dtype++) {
        self->dtype = *dtype;
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
            for (size_t l = 0; l < sizeof layouts / sizeof *layouts; l++) {
                matmul_context c = {
                    .dtype = *dtype, .m = sizes[s][0], .n = sizes[s][1], .k = sizes[s][2], .alpha = 1.0};
                run_matmul(self, c, layouts[l]);
                if (s == 7)
                    continue;
                c.alpha = dtype_floating(*dtype) ? 0.5 : 2.0;
                c.beta = 3.0;
                c.batch_ndim = 2;
                c.batch[0] = 2;
                c.batch[1] = l % 2 ? 3 : 1;
                run_matmul(self, c, layouts[l]);
            }
    }
    self->dtype = RL_DTYPE_NONE;
}
