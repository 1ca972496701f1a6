/* SPDX-License-Identifier: Apache-2.0 */
/* gather, scatter, scan, sort and the softmax rows against the plain kernels. */
#include "harness.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct line_case {
    int64_t ndim, shape[RL_MAX_DIMS];
    int dim;
    rl_dtype dtype;
    stride_kind kind, out_kind;
} line_case;

static line_case draw_case(int big) {
    line_case c = {.ndim = 1 + draw_below(4), .dtype = (rl_dtype)(1 + draw_below(10))};
    for (int d = 0; d < c.ndim; d++)
        c.shape[d] = draw_below(25) == 0 ? 0 : 1 + draw_below(7);
    c.dim = (int)draw_below(c.ndim);
    if (big) {
        c.shape[c.dim] = draw_below(2) ? 500 + draw_below(3000) : 1 + draw_below(40);
        c.shape[draw_below(c.ndim)] = 1 + draw_below(300);
        int64_t count = 1;
        for (int d = 0; d < c.ndim; d++) {
            if (count * c.shape[d] > 30000)
                c.shape[d] = 1 + draw_below(30000 / count);
            count *= c.shape[d] > 0 ? c.shape[d] : 1;
        }
    }
    c.kind = (stride_kind)draw_below(5);
    c.out_kind = (stride_kind)draw_below(3);
    return c;
}

/* Index memory in both twins. A few bad ones on wish. */
static void fill_indices(const twin_operand *o, int64_t size, int bad) {
    const int bytes = o->dtype == RL_I64 ? 8 : 4;
    const int64_t n = (int64_t)(o->memory->bytes - 128) / bytes;
    for (int64_t i = 0; i < n; i++) {
        int64_t index = size > 0 ? draw_below(size) : 0;
        if (size == 0 || (bad && draw_below(50) == 0))
            index = draw_below(2) ? size + draw_below(3) : -1 - draw_below(3);
        const int32_t narrow = (int32_t)index;
        for (int w = 0; w < 2; w++)
            memcpy(o->memory->base[w] + 64 + i * bytes, bytes == 8 ? (const void *)&index : (const void *)&narrow,
                   (size_t)bytes);
    }
}

static void gathers(void) {
    for (int round = 0; round < 400; round++) {
        const line_case c = draw_case(round % 8 == 0);
        const rl_dtype index_dtype = draw_below(2) ? RL_I64 : RL_I32;
        const int bad = draw_below(5) == 0;
        int64_t source[RL_MAX_DIMS];
        memcpy(source, c.shape, sizeof source);
        source[c.dim] = draw_below(20) ? 1 + draw_below(9) : 0;
        twin_operand *in = new_operand(c.dtype, c.ndim, source, c.kind),
                     *index = new_operand(index_dtype, c.ndim, c.shape, c.kind),
                     *out = new_operand(c.dtype, c.ndim, c.shape, c.out_kind);
        fill_indices(index, source[c.dim], bad);
        rl_status status[2];
        for (int w = 0; w < 2; w++) {
            rl_gather_args args = {.size = sizeof args,
                                   .dtype = (uint32_t)c.dtype,
                                   .index_dtype = (uint32_t)index_dtype,
                                   .dim = c.dim,
                                   .ndim = c.ndim,
                                   .dim_size = source[c.dim],
                                   .in = in->of[w],
                                   .index = index->of[w],
                                   .out = out->of[w]};
            memcpy(args.shape, c.shape, sizeof args.shape);
            host_text[0] = '\0';
            status[w] = w ? backend->gather(stream, &args) : rl_kernel_gather(&host, &args);
            assert_int_equal(status[w] == RL_OK, host_text[0] == '\0');
        }
        assert_int_equal(status[0], status[1]);
        assert_twins(out, 0, "gather");
        free_operands();
    }
}

static void scatters(void) {
    for (int round = 0; round < 400; round++) {
        const line_case c = draw_case(round % 8 == 0);
        const rl_dtype index_dtype = draw_below(2) ? RL_I64 : RL_I32;
        const int bad = draw_below(5) == 0;
        uint32_t mode = (uint32_t)draw_below(5);
        int64_t target[RL_MAX_DIMS];
        memcpy(target, c.shape, sizeof target);
        target[c.dim] = draw_below(20) ? 1 + draw_below(9) : 0;
        twin_operand *in = new_operand(c.dtype, c.ndim, c.shape, c.kind),
                     *index = new_operand(index_dtype, c.ndim, c.shape, c.kind),
                     *out = new_operand(c.dtype, c.ndim, target, c.out_kind);
        fill_indices(index, target[c.dim], bad);
        rl_status status[2];
        for (int w = 0; w < 2; w++) {
            rl_scatter_args args = {.size = sizeof args,
                                    .dtype = (uint32_t)c.dtype,
                                    .index_dtype = (uint32_t)index_dtype,
                                    .dim = c.dim,
                                    .ndim = c.ndim,
                                    .mode = mode,
                                    .dim_size = target[c.dim],
                                    .in = in->of[w],
                                    .index = index->of[w],
                                    .out = out->of[w]};
            memcpy(args.shape, c.shape, sizeof args.shape);
            host_text[0] = '\0';
            status[w] = w ? backend->scatter(stream, &args) : rl_kernel_scatter(&host, &args);
            assert_int_equal(status[w] == RL_OK, host_text[0] == '\0');
        }
        assert_int_equal(status[0], status[1]);
        assert_twins(out, 0, "scatter");
        free_operands();
    }
}

static void scans(void) {
    for (int round = 0; round < 400; round++) {
        const line_case c = draw_case(round % 8 == 0);
        const uint32_t op = (uint32_t)draw_below(c.dtype <= RL_BF16 ? 5 : 4);
        const uint32_t indices = op == RL_SCAN_MAX || op == RL_SCAN_MIN ? (uint32_t)draw_below(2) : 0;
        twin_operand *in = new_operand(c.dtype, c.ndim, c.shape, c.kind),
                     *out = new_operand(c.dtype, c.ndim, c.shape, c.out_kind),
                     *where = new_operand(RL_I64, c.ndim, c.shape, c.out_kind);
        if (draw_below(3) == 0 && c.kind <= GAPS)
            out = in;
        for (int w = 0; w < 2; w++) {
            rl_scan_args args = {.size = sizeof args,
                                 .dtype = (uint32_t)c.dtype,
                                 .op = op,
                                 .dim = c.dim,
                                 .ndim = c.ndim,
                                 .has_indices = indices,
                                 .in = in->of[w],
                                 .out = out->of[w]};
            if (indices)
                args.indices = where->of[w];
            memcpy(args.shape, c.shape, sizeof args.shape);
            assert_int_equal(w ? backend->scan(stream, &args) : rl_kernel_scan(&host, &args), RL_OK);
        }
        assert_twins(out, 0, "scan");
        assert_twins(where, 0, "scan's indices");
        free_operands();
    }
}

static void sorts(void) {
    for (int round = 0; round < 400; round++) {
        const line_case c = draw_case(round % 4 == 0);
        twin_operand *in = new_operand(c.dtype, c.ndim, c.shape, c.kind),
                     *values = new_operand(c.dtype, c.ndim, c.shape, c.out_kind),
                     *where = new_operand(RL_I64, c.ndim, c.shape, (stride_kind)draw_below(3));
        if (draw_below(3) == 0 && c.kind <= GAPS)
            values = in;
        const uint32_t descending = (uint32_t)draw_below(2);
        for (int w = 0; w < 2; w++) {
            rl_sort_args args = {.size = sizeof args,
                                 .dtype = (uint32_t)c.dtype,
                                 .dim = c.dim,
                                 .descending = descending,
                                 .ndim = c.ndim,
                                 .in = in->of[w],
                                 .values = values->of[w],
                                 .indices = where->of[w]};
            memcpy(args.shape, c.shape, sizeof args.shape);
            assert_int_equal(w ? backend->sort(stream, &args) : rl_kernel_sort(&host, &args), RL_OK);
        }
        assert_twins(where, 0, "sort's indices");
        assert_twins(values, 0, "sort");
        free_operands();
    }
}

static const rl_fused_cell *cell(uint32_t row) {
    for (uint32_t i = 0; i < backend->n_fused; i++)
        if (backend->fused[i].row == row)
            return &backend->fused[i];
    fail_msg("no cell of row %u", row);
    return NULL;
}

/* Finite values of ordinary size: the error of e^x is measured elsewhere. */
static void tame(const twin_operand *o) {
    const twin *t = o->memory;
    fill_small_integers(t->base[0] + 64, o->dtype,
                        (int64_t)(t->bytes - 128) / (o->dtype == RL_F64   ? 8
                                                     : o->dtype == RL_F32 ? 4
                                                                          : 2),
                        6);
    memcpy(t->base[1], t->base[0], t->bytes);
}

static void softmaxes(void) {
    for (int round = 0; round < 300; round++) {
        line_case c = draw_case(round % 8 == 0);
        c.dtype = (rl_dtype)(1 + draw_below(4));
        if (c.kind == BROADCAST || c.kind == ANY)
            c.kind = PACKED;
        twin_operand *in = new_operand(c.dtype, c.ndim, c.shape, c.kind),
                     *out = new_operand(c.dtype, c.ndim, c.shape, c.out_kind),
                     *grad = new_operand(c.dtype, c.ndim, c.shape, c.kind),
                     *grad_in = new_operand(c.dtype, c.ndim, c.shape, c.out_kind);
        tame(in);
        tame(grad);
        if (draw_below(3) == 0)
            out = in;
        const uint32_t log = (uint32_t)draw_below(2);
        for (int w = 0; w < 2; w++) {
            rl_softmax_args args = {.size = sizeof args,
                                    .dtype = (uint32_t)c.dtype,
                                    .dim = c.dim,
                                    .log = log,
                                    .ndim = c.ndim,
                                    .in = in->of[w],
                                    .out = out->of[w]};
            memcpy(args.shape, c.shape, sizeof args.shape);
            const char *reason = NULL;
            assert_true(cell(RL_ROW_SOFTMAX)->supports(device, &args, &reason));
            assert_int_equal(w ? cell(RL_ROW_SOFTMAX)->run(stream, &args) : rl_kernel_softmax(&host, &args), RL_OK);
        }
        /* log_softmax is a difference: units of the greatest term, hence the many of the result's. */
        assert_twins(out, c.dtype == RL_F64 ? 8 : c.dtype == RL_F32 ? (log ? 64 : 8) : 1, "softmax");
        memcpy(out->memory->base[1], out->memory->base[0], out->memory->bytes);
        for (int w = 0; w < 2; w++) {
            rl_softmax_backward_args args = {.size = sizeof args,
                                             .dtype = (uint32_t)c.dtype,
                                             .dim = c.dim,
                                             .log = log,
                                             .ndim = c.ndim,
                                             .grad_out = grad->of[w],
                                             .out = out->of[w],
                                             .grad_in = grad_in->of[w]};
            memcpy(args.shape, c.shape, sizeof args.shape);
            const rl_fused_cell *self = cell(RL_ROW_SOFTMAX_BACKWARD);
            assert_int_equal(w ? self->run(stream, &args) : rl_kernel_softmax_backward(&host, &args), RL_OK);
        }
        const int close = memcmp(grad_in->memory->base[0], grad_in->memory->base[1], grad_in->memory->bytes) == 0;
        const unsigned char *guard = grad_in->memory->base[1];
        for (int i = 0; i < 64; i++)
            assert_int_equal(guard[i], 0xa5);
        if (!close && c.dtype == RL_F32) /* terms of up to 6 * n cancel: compare to their size */
            for (uint64_t i = 0; i < (grad_in->memory->bytes - 128) / 4; i++) {
                float x[2];
                for (int w = 0; w < 2; w++)
                    memcpy(&x[w], grad_in->memory->base[w] + 64 + 4 * i, 4);
                if (fabsf(x[0] - x[1]) > 1e-5f * (float)(1 + (log ? c.shape[c.dim] : 0)))
                    fail_msg("softmax_backward: expected %.9g, got %.9g", (double)x[0], (double)x[1]);
            }
        free_operands();
    }
}

static void integers_are_declined(void) {
    const rl_softmax_args args = {.size = sizeof args, .dtype = RL_I32};
    const char *reason = NULL;
    assert_false(cell(RL_ROW_SOFTMAX)->supports(device, &args, &reason));
    assert_non_null(reason);
}

CLONES(gathers)
CLONES(scatters)
CLONES(scans)
CLONES(sorts)
CLONES(softmaxes)
CLONES(integers_are_declined)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gathers_of_each_clone),   cmocka_unit_test(scatters_of_each_clone),
        cmocka_unit_test(scans_of_each_clone),     cmocka_unit_test(sorts_of_each_clone),
        cmocka_unit_test(softmaxes_of_each_clone), cmocka_unit_test(integers_are_declined_of_each_clone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
