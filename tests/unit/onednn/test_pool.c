/* SPDX-License-Identifier: Apache-2.0 */
/* The pooling rows against loops written as backend.h words them: random windows, strides and numbers, NaN too. */
#include "harness.h"

#include <math.h>
#include <string.h>

static rl_pool_window draw_window(int big) {
    rl_pool_window w = {.spatial = 1 + draw_below(3), .batch = 1 + draw_below(big ? 10 : 3), .dilation = {1, 1, 1}};
    w.channels = draw_below(3) ? 1 + draw_below(5) : 8 + draw_below(30);
    w.kind = draw_below(2) ? RL_POOL_MAX : RL_POOL_AVERAGE;
    w.count_padding = (uint32_t)draw_below(2);
    w.divisor = w.kind == RL_POOL_AVERAGE && draw_below(4) == 0 ? 1 + draw_below(5) : 0;
    const int tiled = draw_below(3) == 0;
    for (int d = 0; d < w.spatial; d++) {
        w.kernel[d] = 1 + draw_below(4);
        w.stride[d] = tiled ? w.kernel[d] : 1 + draw_below(4);
        if (w.kind == RL_POOL_MAX && !tiled)
            w.dilation[d] = 1 + draw_below(3);
        const int64_t extent = (w.kernel[d] - 1) * w.dilation[d] + 1;
        w.padding[d] = tiled ? 0 : draw_below(extent / 2 + 1);
        w.out_size[d] = 1 + draw_below(big && w.spatial < 3 ? 20 : 5);
        const int64_t seen = (w.out_size[d] - 1) * w.stride[d] + extent - 2 * w.padding[d];
        w.in_size[d] = seen + draw_below(w.stride[d]) * !tiled - (!tiled && draw_below(4) == 0);
        if (w.in_size[d] < 1 || (w.out_size[d] - 1) * w.stride[d] >= w.in_size[d] + w.padding[d])
            w.in_size[d] = (w.out_size[d] - 1) * w.stride[d] + extent; /* the last window begins within the input */
    }
    return w;
}

/* Elements ------------------------------------------------------------------------------------------------------------
 */

static char *place(const twin_operand *o, int which, int64_t spatial, int64_t n, int64_t c, const int64_t *at) {
    const rl_operand *operand = &o->of[which];
    int64_t offset = n * operand->stride[0] + c * operand->stride[1];
    for (int64_t d = 0; d < spatial; d++)
        offset += at[d] * operand->stride[2 + d];
    return (char *)o->memory->base[which] + operand->offset + offset * (o->dtype == RL_F64 ? 8 : 4);
}
static double get(const twin_operand *o, const char *from) {
    float narrow;
    double wide;
    memcpy(&narrow, from, sizeof narrow);
    if (o->dtype == RL_F64)
        memcpy(&wide, from, sizeof wide);
    return o->dtype == RL_F64 ? wide : (double)narrow;
}
static void put_number(const twin_operand *o, char *to, double value) {
    const float narrow = (float)value;
    memcpy(to, o->dtype == RL_F64 ? (const void *)&value : (const void *)&narrow, o->dtype == RL_F64 ? 8 : 4);
}

/* Number i of a row-major shape. */
static void unravel(int64_t i, int64_t ndim, const int64_t *shape, int64_t *at) {
    for (int64_t d = ndim - 1; d >= 0; d--) {
        at[d] = i % shape[d];
        i /= shape[d];
    }
}
static int64_t count_of(int64_t ndim, const int64_t *shape) {
    int64_t count = 1;
    for (int64_t d = 0; d < ndim; d++)
        count *= shape[d];
    return count;
}

/* The oracle ----------------------------------------------------------------------------------------------------------
 */

/* Element k of the window at out[]: whether it lies within the input, and whether an average counts it. */
static int element(const rl_pool_window *w, const int64_t *out, int64_t k, int64_t *in, int *counts) {
    int64_t step[3];
    int within = 1;
    unravel(k, w->spatial, w->kernel, step);
    *counts = 1;
    for (int d = 0; d < w->spatial; d++) {
        in[d] = out[d] * w->stride[d] - w->padding[d] + step[d] * w->dilation[d];
        within &= in[d] >= 0 && in[d] < w->in_size[d];
        *counts &= w->count_padding ? in[d] < w->in_size[d] + w->padding[d] : in[d] >= 0 && in[d] < w->in_size[d];
    }
    return within;
}

typedef struct found {
    double value; /* the greatest, or the sum */
    int64_t first[3], count;
    int any;
} found;
static found look(const rl_pool_window *w, const twin_operand *in, int64_t n, int64_t c, const int64_t *out) {
    found f = {.value = w->kind == RL_POOL_MAX ? -INFINITY : 0.0};
    for (int64_t k = 0; k < count_of(w->spatial, w->kernel); k++) {
        int64_t at[3];
        int counts;
        const int within = element(w, out, k, at, &counts);
        f.count += counts;
        if (!within)
            continue;
        const double v = in ? get(in, place(in, 0, w->spatial, n, c, at)) : 0.0;
        if (w->kind == RL_POOL_AVERAGE)
            f.value += v;
        else if (!f.any || v > f.value || (isnan(v) && !isnan(f.value))) {
            f.value = v;
            memcpy(f.first, at, sizeof at);
        }
        f.any = 1;
    }
    if (w->divisor)
        f.count = w->divisor;
    return f;
}

static void plain_forward(const rl_pool_window *w, const twin_operand *in, const twin_operand *out) {
    for (int64_t n = 0; n < w->batch; n++)
        for (int64_t c = 0; c < w->channels; c++)
            for (int64_t o = 0; o < count_of(w->spatial, w->out_size); o++) {
                int64_t at[3];
                unravel(o, w->spatial, w->out_size, at);
                const found f = look(w, in, n, c, at);
                put_number(out, place(out, 0, w->spatial, n, c, at),
                           w->kind == RL_POOL_MAX ? f.value : f.value / (double)f.count);
            }
}

static void plain_backward(const rl_pool_window *w, const twin_operand *g, const twin_operand *in,
                           const twin_operand *grad) {
    for (int64_t n = 0; n < w->batch; n++)
        for (int64_t c = 0; c < w->channels; c++) {
            int64_t at[3], to[3];
            for (int64_t i = 0; i < count_of(w->spatial, w->in_size); i++) {
                unravel(i, w->spatial, w->in_size, at);
                put_number(grad, place(grad, 0, w->spatial, n, c, at), 0.0);
            }
            for (int64_t o = 0; o < count_of(w->spatial, w->out_size); o++) {
                unravel(o, w->spatial, w->out_size, at);
                const found f = look(w, in, n, c, at);
                const double given = get(g, place(g, 0, w->spatial, n, c, at));
                for (int64_t k = 0; k < count_of(w->spatial, w->kernel); k++) {
                    int counts;
                    if (!element(w, at, k, to, &counts))
                        continue;
                    const int takes =
                        w->kind == RL_POOL_AVERAGE || memcmp(to, f.first, (size_t)w->spatial * sizeof *to) == 0;
                    char *place_of_it = place(grad, 0, w->spatial, n, c, to);
                    if (takes)
                        put_number(grad, place_of_it,
                                   get(grad, place_of_it) + (w->kind == RL_POOL_MAX ? given : given / (double)f.count));
                }
            }
        }
}

/* Tests ---------------------------------------------------------------------------------------------------------------
 */

/* All elements nearly the same, and no byte between them changed. */
static void compare(const rl_pool_window *w, const twin_operand *o, const int64_t *size, const char *what) {
    for (int64_t i = 0; i < w->batch * w->channels * count_of(w->spatial, size); i++) {
        const int64_t shape[5] = {w->batch, w->channels, size[0], size[1], size[2]};
        int64_t at[5] = {0};
        unravel(i, 2 + w->spatial, shape, at);
        char *want = place(o, 0, w->spatial, at[0], at[1], at + 2),
             *got = place(o, 1, w->spatial, at[0], at[1], at + 2);
        const double x = get(o, want), y = get(o, got);
        if (!(x == y || (isnan(x) && isnan(y)) || fabs(x - y) <= 1e-5 * (1.0 + fabs(x))))
            fail_msg("%s: element %lld: expected %.9g, got %.9g", what, (long long)i, x, y);
        memcpy(got, want, o->dtype == RL_F64 ? 8 : 4);
    }
    assert_twins(o, 0, what);
}

static twin_operand *operand_of(const rl_pool_window *w, rl_dtype dtype, const int64_t *size, stride_kind kind) {
    const int64_t shape[5] = {w->batch, w->channels, size[0], size[1], size[2]};
    return new_operand(dtype, 2 + w->spatial, shape, kind);
}

static void forwards(void) {
    const rl_fused_cell *cell = cell_of(RL_ROW_POOL);
    for (int round = 0; round < 300; round++) {
        rl_pool_args args = {.size = sizeof args, .window = draw_window(round % 5 == 0)};
        const rl_pool_window *w = &args.window;
        args.dtype = draw_below(3) ? RL_F32 : RL_F64;
        threads = (uint32_t)(1 + draw_below(4));
        const stride_kind kind = (stride_kind)draw_below(3);
        twin_operand *in = operand_of(w, (rl_dtype)args.dtype, w->in_size, kind);
        twin_operand *out = operand_of(w, (rl_dtype)args.dtype, w->out_size, (stride_kind)draw_below(3));
        if (w->kind == RL_POOL_AVERAGE)
            for (int i = 0; i < 2; i++)
                fill_small_integers(in->memory->base[i] + 64, in->dtype,
                                    (int64_t)(in->memory->bytes - 128) / (in->dtype == RL_F64 ? 8 : 4), 9);
        if (w->kind == RL_POOL_AVERAGE)
            memcpy(in->memory->base[1], in->memory->base[0], in->memory->bytes);
        args.in = in->of[1];
        args.out = out->of[1];
        const char *reason;
        assert_true(cell->supports(device, &args, &reason));
        assert_int_equal(cell->run(stream, &args), RL_OK);
        plain_forward(w, in, out);
        compare(w, out, w->out_size, w->kind == RL_POOL_MAX ? "max" : "average");
        free_operands();
    }
}

static void backwards(void) {
    const rl_fused_cell *cell = cell_of(RL_ROW_POOL_BACKWARD);
    for (int round = 0; round < 300; round++) {
        rl_pool_backward_args args = {.size = sizeof args, .window = draw_window(round % 5 == 0)};
        const rl_pool_window *w = &args.window;
        args.dtype = draw_below(3) ? RL_F32 : RL_F64;
        threads = (uint32_t)(1 + draw_below(4));
        const rl_dtype dtype = (rl_dtype)args.dtype;
        twin_operand *g = operand_of(w, dtype, w->out_size, (stride_kind)draw_below(3));
        twin_operand *in = w->kind == RL_POOL_MAX ? operand_of(w, dtype, w->in_size, (stride_kind)draw_below(3)) : NULL;
        twin_operand *grad = operand_of(w, dtype, w->in_size, (stride_kind)draw_below(3));
        const int64_t numbers = (int64_t)(g->memory->bytes - 128) / (dtype == RL_F64 ? 8 : 4);
        fill_small_integers(g->memory->base[0] + 64, dtype, numbers, 9);
        memcpy(g->memory->base[1], g->memory->base[0], g->memory->bytes);
        args.grad_out = g->of[1];
        if (in)
            args.in = in->of[1];
        args.grad_in = grad->of[1];
        const char *reason;
        assert_true(cell->supports(device, &args, &reason));
        assert_int_equal(cell->run(stream, &args), RL_OK);
        plain_backward(w, g, in, grad);
        compare(w, grad, w->in_size, w->kind == RL_POOL_MAX ? "gradient of max" : "gradient of average");
        free_operands();
    }
}

static void what_is_refused(void) {
    rl_pool_args args = {.size = sizeof args, .dtype = RL_I64};
    const char *reason = NULL;
    assert_false(cell_of(RL_ROW_POOL)->supports(device, &args, &reason));
    assert_non_null(reason);
    rl_pool_window w = {.spatial = 1,
                        .batch = 1,
                        .channels = 2,
                        .in_size = {4},
                        .out_size = {2},
                        .kernel = {2},
                        .stride = {2},
                        .dilation = {1}};
    twin_operand *in = operand_of(&w, RL_F32, w.in_size, PACKED), *out = operand_of(&w, RL_F32, w.out_size, PACKED);
    args = (rl_pool_args){.size = sizeof args, .dtype = RL_F32, .window = w, .in = in->of[1], .out = out->of[1]};
    scratch_fails = 1;
    assert_int_equal(cell_of(RL_ROW_POOL)->run(stream, &args), RL_OUT_OF_MEMORY);
    scratch_fails = 0;
    free_operands();
}

CLONES(forwards)
CLONES(backwards)
CLONES(what_is_refused)

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(forwards_of_each_clone),
                                       cmocka_unit_test(backwards_of_each_clone),
                                       cmocka_unit_test(what_is_refused_of_each_clone)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
