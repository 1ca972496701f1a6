/* SPDX-License-Identifier: Apache-2.0 */
/* The other rows: reduce, matmul, those along one dimension, fused ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/error.h"
#include "evaluate.h"
#include "fake.h"

static int reset(void **state) {
    (void)state;
    assert_int_equal(fake_buffers(), 0);
    fake_reset(0);
    return 0;
}

static int finish(void **state) {
    (void)state;
    assert_int_equal(fake.depth, 0);
    assert_int_equal(fake_buffers(), 0);
    fake_reset(0);
    return 0;
}

static rl_number number(int64_t i) {
    return (rl_number){.i = i};
}

static int64_t random_shape(int64_t least, int64_t most, int64_t *shape) {
    int64_t ndim = least + fake_random(most - least + 1);
    for (int64_t d = 0; d < ndim; d++)
        shape[d] = fake_random(15) == 0 ? 0 : 1 + fake_random(4);
    return ndim;
}

/* Reduce ---------------------------------------------------------------------------------------------------------- */

enum { PLAIN, WITH_INDEX, WITH_RANDOM };

/* x + 2 s and x + y s, plus an index or a random number. */
static const rl_program *prologue_of(int kind, int64_t ndim) {
    rl_builder b;
    rl_builder_init(&b);
    rl_pw x = rl_build_input(&b, RL_I64), y = rl_build_input(&b, RL_I64), s = rl_build_scalar(&b, RL_I64);
    rl_pw seed = rl_build_scalar(&b, RL_I64), two = rl_build_constant(&b, RL_I64, 2);
    rl_build_scalar(&b, RL_I64);
    rl_pw a = rl_build2(&b, RL_INSN_ADD, x, rl_build2(&b, RL_INSN_MUL, two, s));
    rl_pw c = rl_build2(&b, RL_INSN_ADD, x, rl_build2(&b, RL_INSN_MUL, y, s));
    for (int64_t d = 0; d < ndim && kind == WITH_INDEX; d++)
        a = rl_build2(&b, RL_INSN_ADD, rl_build2(&b, RL_INSN_MUL, a, two), rl_build_index(&b, (int)d));
    if (kind == WITH_RANDOM)
        c = rl_build2(&b, RL_INSN_ADD, c, rl_build_cast(&b, rl_build_random(&b, RL_INSN_PHILOX, RL_I32, seed), RL_I64));
    rl_build_output(&b, a, RL_I64);
    rl_build_output(&b, c, RL_I32);
    return rl_builder_finish(&b);
}

/* v0 + s v1, v1, where v1 is an index or a value of I32. */
static const rl_program *epilogue_of(bool is_index) {
    rl_builder b;
    rl_builder_init(&b);
    rl_pw v0 = rl_build_input(&b, RL_I64), v1 = rl_build_input(&b, is_index ? RL_I64 : RL_I32);
    rl_pw s = rl_build_scalar(&b, RL_I64);
    v1 = rl_build_cast(&b, v1, RL_I64);
    rl_build_output(&b, rl_build2(&b, RL_INSN_ADD, v0, rl_build2(&b, RL_INSN_MUL, s, v1)), RL_I64);
    rl_build_output(&b, v1, RL_I64);
    return rl_builder_finish(&b);
}

/* One combined value, from the definition. */
static void combine(int combiner, bool first, int64_t n, int64_t x, int64_t *best, int64_t *out) {
    if (combiner == RL_COMBINE_SUM) {
        *out = first ? x : *out + x;
    } else if (first || x > *best) {
        *best = x;
        *out = combiner == RL_COMBINE_MAX ? x : n;
    }
}

static const rl_number own_scalars[3] = {{.i = 5}, {.i = 7}, {.i = 8}}, epilogue_scalar = {.i = 3};

static void expect_reduce(const rl_reduce_task *t) {
    const rl_program *p = t->prologue;
    int64_t kept[RL_MAX_DIMS] = {0}, kept_shape[RL_MAX_DIMS];
    rl_number scalars[RL_MAX_SCALARS];
    rl_program_scalars(p, own_scalars, scalars);
    for (int64_t d = 0; d < t->ndim; d++)
        kept_shape[d] = t->reduced >> d & 1 ? 1 : t->shape[d];
    do {
        int64_t index[RL_MAX_DIMS] = {0}, n = 0, element = 0, best[2] = {0}, at[RL_MAX_DIMS], n_at = 0;
        rl_number combined[2] = {{.i = 0}, {.i = 0}}, out[2];
        do {
            bool mine = true;
            for (int64_t d = 0; d < t->ndim; d++)
                mine = mine && t->shape[d] > 0 && (t->reduced >> d & 1 || index[d] == kept[d]);
            rl_number in[2], v[2];
            for (int k = 0; k < 2 && mine; k++)
                in[k] = fake_get(t->inputs[k], t->ndim, index);
            if (mine) {
                evaluate(p, in, scalars, element, index, v);
                for (int k = 0; k < 2; k++)
                    combine(t->combiner[k], n == 0, n, v[k].i, &best[k], &combined[k].i);
                n++;
            }
            element++;
        } while (fake_next(t->ndim, t->shape, index));
        if (t->epilogue)
            evaluate(t->epilogue, combined, &epilogue_scalar, 0, NULL, out);
        else
            memcpy(out, combined, sizeof out);
        for (int64_t d = 0; d < t->ndim; d++)
            if (t->outputs[0]->ndim == t->ndim || !(t->reduced >> d & 1))
                at[n_at++] = kept[d];
        for (int k = 0; k < 2; k++)
            fake_expect(t->outputs[k], n_at, at, out[k]);
    } while (fake_next(t->ndim, kept_shape, kept));
}

static rl_tensor *random_input(int64_t ndim, const int64_t *shape) {
    int64_t own[RL_MAX_DIMS];
    for (int64_t d = 0; d < ndim; d++)
        own[d] = fake_random(5) == 0 ? 1 : shape[d];
    return fake_view(RL_I64, ndim, own);
}

static void reduces_whatever_the_strides(void **state) {
    (void)state;
    static const uint8_t combiners[] = {RL_COMBINE_SUM, RL_COMBINE_MAX, RL_COMBINE_ARGMAX};
    for (int round = 0; round < 3000; round++) {
        int64_t shape[RL_MAX_DIMS], ndim = random_shape(0, 4, shape), out_shape[RL_MAX_DIMS], out_ndim = 0;
        uint32_t reduced = (uint32_t)fake_random(1 << ndim);
        bool keep = fake_random(2);
        for (int64_t d = 0; d < ndim; d++)
            if (keep || !(reduced >> d & 1))
                out_shape[out_ndim++] = reduced >> d & 1 ? 1 : shape[d];
        rl_tensor *inputs[2] = {random_input(ndim, shape), random_input(ndim, shape)};
        rl_tensor *outputs[2] = {fake_view(RL_I64, out_ndim, out_shape), fake_view(RL_I64, out_ndim, out_shape)};
        uint8_t second = combiners[fake_random(3)];
        rl_reduce_task task = {.prologue = prologue_of((int)fake_random(3), ndim),
                               .epilogue = fake_random(2) ? epilogue_of(second == RL_COMBINE_ARGMAX) : NULL,
                               .combiner = {combiners[fake_random(3)], second},
                               .inputs = inputs,
                               .outputs = outputs,
                               .scalars = own_scalars,
                               .epilogue_scalars = &epilogue_scalar,
                               .ndim = ndim,
                               .shape = shape,
                               .reduced = reduced};
        fake.calls = 0;
        fake_snapshot();
        if (outputs[0]->numel > 0)
            expect_reduce(&task);
        assert_int_equal(rl_row_reduce("test", &task), RL_OK);
        assert_int_equal(fake.calls, outputs[0]->numel > 0); /* called too where there is nothing to combine */
        fake_compare();
        for (int k = 0; k < 2; k++) {
            rl_release(inputs[k]);
            rl_release(outputs[k]);
        }
    }
}

static void reduce_simplifies_and_separates(void **state) {
    (void)state;
    const int64_t shape[3] = {2, 3, 4}, row[2] = {3, 4};
    rl_tensor *x = fake_tensor(RL_I64, 3, shape), *y = fake_tensor(RL_I64, 3, shape), *inputs[2] = {x, y};
    rl_tensor *outputs[2] = {fake_tensor(RL_I64, 0, shape), fake_tensor(RL_I64, 0, shape)};
    rl_reduce_task task = {.prologue = prologue_of(PLAIN, 3),
                           .combiner = {RL_COMBINE_SUM, RL_COMBINE_ARGMAX},
                           .inputs = inputs,
                           .outputs = outputs,
                           .scalars = own_scalars,
                           .ndim = 3,
                           .shape = shape,
                           .reduced = 7};
    assert_int_equal(rl_row_reduce("test", &task), RL_OK);
    assert_int_equal(fake.ndim, 1);
    assert_int_equal(fake.reduce.reduced, 1);
    rl_release(outputs[0]);
    rl_release(outputs[1]);
    /* Over the first dimension, into the memory of an input. */
    const int64_t stride[2] = {4, 1};
    outputs[0] = rl_tensor_make(x->storage, RL_I64, 2, row, stride, 0);
    outputs[1] = fake_tensor(RL_I64, 2, row);
    task.reduced = 1;
    fake.calls = 0;
    fake_snapshot();
    expect_reduce(&task);
    assert_int_equal(rl_row_reduce("test", &task), RL_OK);
    assert_int_equal(fake.calls, 2); /* a copy first */
    assert_int_equal(fake.ndim, 2);
    fake_compare();
    rl_release(outputs[0]);
    rl_release(outputs[1]);
    rl_release(x);
    rl_release(y);
}

/* Matmul ---------------------------------------------------------------------------------------------------------- */

/* (batch ..., rows, columns), some of the batch left out or 1 where `may_broadcast`. */
static rl_tensor *random_matrix(int64_t batch_ndim, const int64_t *batch, int64_t rows, int64_t columns,
                                bool may_broadcast) {
    int64_t shape[RL_MAX_DIMS], from = may_broadcast ? fake_random(batch_ndim + 1) : 0, ndim = 0;
    for (int64_t d = from; d < batch_ndim; d++)
        shape[ndim++] = may_broadcast && fake_random(3) == 0 ? 1 : batch[d];
    shape[ndim++] = rows;
    shape[ndim++] = columns;
    return fake_view(RL_I64, ndim, shape);
}

static void expect_matmul(const rl_tensor *a, const rl_tensor *b, const rl_tensor *c, double alpha, double beta) {
    int64_t index[RL_MAX_DIMS] = {0}, nd = c->ndim, terms = a->shape[a->ndim - 1];
    do {
        int64_t sum = 0, in_a[RL_MAX_DIMS], in_b[RL_MAX_DIMS];
        memcpy(in_a, index, sizeof in_a);
        memcpy(in_b, index, sizeof in_b);
        for (int64_t k = 0; k < terms; k++) {
            in_a[nd - 1] = in_b[nd - 2] = k;
            sum += fake_get(a, nd, in_a).i * fake_get(b, nd, in_b).i;
        }
        int64_t old = beta != 0 ? fake_get(c, nd, index).i : 0;
        fake_expect(c, nd, index, number((int64_t)(alpha * (double)sum + beta * (double)old)));
    } while (fake_next(nd, c->shape, index));
}

static void multiplies_whatever_the_strides(void **state) {
    (void)state;
    for (int round = 0; round < 3000; round++) {
        int64_t batch[RL_MAX_DIMS], n_batch = random_shape(0, 3, batch);
        int64_t m = fake_random(5), n = 1 + fake_random(4), k = fake_random(5);
        double alpha = 1 + (double)fake_random(2), beta = (double)fake_random(2);
        rl_tensor *a = random_matrix(n_batch, batch, m, k, true), *b = random_matrix(n_batch, batch, k, n, true);
        rl_tensor *c = random_matrix(n_batch, batch, m, n, false);
        fake.calls = 0;
        fake_snapshot();
        if (c->numel > 0)
            expect_matmul(a, b, c, alpha, beta);
        assert_int_equal(rl_row_matmul("test", a, b, c, alpha, beta), RL_OK);
        assert_int_equal(fake.calls, c->numel > 0);
        fake_compare();
        rl_release(a);
        rl_release(b);
        rl_release(c);
    }
}

static void folds_a_batch_over_one_matrix(void **state) {
    (void)state;
    const int64_t a_shape[4] = {2, 3, 4, 5}, b_shape[2] = {5, 6}, c_shape[4] = {2, 3, 4, 6};
    rl_tensor *a = fake_tensor(RL_I64, 4, a_shape), *b = fake_tensor(RL_I64, 2, b_shape);
    rl_tensor *c = fake_tensor(RL_I64, 4, c_shape);
    fake_snapshot();
    expect_matmul(a, b, c, 1, 0);
    assert_int_equal(rl_row_matmul("test", a, b, c, 1, 0), RL_OK);
    assert_int_equal(fake.matmul.batch_ndim, 0);
    assert_int_equal(fake.matmul.m, 24);
    fake_compare();
    /* The product in place of a factor. */
    const int64_t square[2] = {4, 4};
    rl_tensor *s = fake_tensor(RL_I64, 2, square);
    fake_snapshot();
    expect_matmul(s, s, s, 1, 0);
    assert_int_equal(rl_row_matmul("test", s, s, s, 1, 0), RL_OK);
    fake_compare();
    rl_release(a);
    rl_release(b);
    rl_release(c);
    rl_release(s);
}

/* Along one dimension --------------------------------------------------------------------------------------------- */

static rl_tensor *random_indices(int64_t ndim, const int64_t *shape, int64_t limit) {
    rl_tensor *self = fake_view(fake_random(2) ? RL_I64 : RL_I32, ndim, shape);
    int64_t index[RL_MAX_DIMS] = {0};
    if (self->numel > 0) {
        do {
            evaluate_store(fake_element(self, ndim, index), (rl_dtype)self->dtype, number(fake_random(limit)));
        } while (fake_next(ndim, shape, index));
    }
    return self;
}

static void gathers_and_scatters(void **state) {
    (void)state;
    for (int round = 0; round < 3000; round++) {
        int64_t shape[RL_MAX_DIMS], ndim = random_shape(0, 4, shape), whole[RL_MAX_DIMS], index[RL_MAX_DIMS] = {0};
        int64_t dim = ndim > 0 ? fake_random(ndim) : 0, at[RL_MAX_DIMS];
        for (int64_t d = 0; d < ndim; d++)
            whole[d] = d == dim ? 1 + fake_random(4) : shape[d] + fake_random(2);
        bool is_gather = fake_random(2);
        rl_tensor *big = fake_view(RL_I32, ndim, whole), *small = fake_view(RL_I32, ndim, shape);
        rl_tensor *indices = random_indices(ndim, shape, ndim > 0 ? whole[dim] : 1);
        fake_snapshot();
        if (small->numel > 0) {
            do {
                memcpy(at, index, sizeof at);
                at[dim] = fake_get(indices, ndim, index).i;
                uint8_t *sum =
                    big->storage->buffer->before + (fake_element(big, ndim, at) - big->storage->buffer->data);
                if (is_gather)
                    fake_expect(small, ndim, index, fake_get(big, ndim, at));
                else
                    evaluate_store(sum, RL_I32, number(evaluate_load(sum, RL_I32).i + fake_get(small, ndim, index).i));
            } while (fake_next(ndim, shape, index));
        }
        fake.calls = 0;
        assert_int_equal(is_gather ? rl_row_gather("test", big, dim, indices, small)
                                   : rl_row_scatter("test", big, dim, indices, small, RL_SCATTER_ADD),
                         RL_OK);
        assert_int_equal(fake.calls, small->numel > 0);
        fake_compare();
        rl_release(big);
        rl_release(small);
        rl_release(indices);
    }
}

static void says_which_op_had_the_bad_index(void **state) {
    (void)state;
    const int64_t shape[1] = {3};
    rl_tensor *self = fake_tensor(RL_I32, 1, shape), *out = fake_tensor(RL_I32, 1, shape);
    rl_tensor *index = random_indices(1, shape, 3);
    evaluate_store(fake_element(index, 1, (int64_t[]){1}), (rl_dtype)index->dtype, number(3));
    assert_int_equal(rl_row_gather("index_select", self, 0, index, out), RL_INDEX_OUT_OF_RANGE);
    assert_non_null(strstr(rl_error_text(), "index_select: index of dimension 0, on fake:0"));
    rl_release(self);
    rl_release(out);
    rl_release(index);
}

static void scans_and_sorts(void **state) {
    (void)state;
    for (int round = 0; round < 3000; round++) {
        int64_t shape[RL_MAX_DIMS], ndim = random_shape(0, 4, shape), index[RL_MAX_DIMS] = {0}, other[RL_MAX_DIMS];
        int64_t dim = ndim > 0 ? fake_random(ndim) : 0, n = ndim > 0 ? shape[dim] : 1;
        bool is_scan = fake_random(2), descending = fake_random(2);
        rl_tensor *self = fake_view(RL_I64, ndim, shape), *indices = fake_view(RL_I64, ndim, shape);
        rl_tensor *out = is_scan && fake_random(2) ? rl_retain(self) : fake_view(RL_I64, ndim, shape); /* in place */
        fake_snapshot();
        if (self->numel > 0) {
            do {
                int64_t x = fake_get(self, ndim, index).i, sum = 0, rank = 0;
                memcpy(other, index, sizeof other);
                for (int64_t i = 0; i < n; i++) {
                    other[dim] = i;
                    int64_t y = fake_get(self, ndim, other).i;
                    sum += i <= index[dim] ? y : 0;
                    rank += (descending ? y > x : y < x) || (y == x && i < index[dim]);
                }
                other[dim] = is_scan ? index[dim] : rank;
                fake_expect(out, ndim, other, number(is_scan ? sum : x));
                fake_expect(indices, ndim, other, number(index[dim]));
            } while (fake_next(ndim, shape, index));
        }
        fake.calls = 0;
        assert_int_equal(is_scan ? rl_row_scan("test", RL_SCAN_SUM, self, dim, out, indices)
                                 : rl_row_sort("test", self, dim, descending, out, indices),
                         RL_OK);
        assert_int_equal(fake.calls, self->numel > 0);
        fake_compare();
        rl_release(self);
        rl_release(out);
        rl_release(indices);
    }
}

/* Fused ----------------------------------------------------------------------------------------------------------- */

static int asked; /* cells that were asked */
static rl_softmax_args ran;

static int never(rl_backend_device *device, const void *args, const char **out_reason) {
    (void)device;
    (void)args;
    asked++;
    *out_reason = "it never does";
    return 0;
}

static int for_two_dims(rl_backend_device *device, const void *args, const char **out_reason) {
    (void)device;
    asked++;
    *out_reason = "only two dimensions";
    return ((const rl_softmax_args *)args)->ndim == 2;
}

static rl_status keep_args(rl_backend_stream *stream, const void *args) {
    assert_ptr_equal(stream, &fake);
    assert_int_equal(fake.depth, 1);
    fake.calls++;
    ran = *(const rl_softmax_args *)args;
    return fake.answer;
}

static const rl_fused_cell cells[] = {
    {RL_ROW_SOFTMAX_BACKWARD, 0, never, keep_args},
    {RL_ROW_SOFTMAX, 0, never, keep_args},
    {RL_ROW_SOFTMAX, 0, for_two_dims, keep_args},
};

static rl_status softmax(rl_tensor *in, rl_tensor *out, bool *out_ran) {
    rl_softmax_args args = {.dtype = RL_F32, .dim = 1, .ndim = in->ndim};
    rl_tensor *const operands[] = {in, out};
    memcpy(args.shape, in->shape, (size_t)in->ndim * sizeof *args.shape);
    return rl_row_fused("softmax", RL_ROW_SOFTMAX, &args, sizeof args, operands, 2, out_ran);
}

static void runs_the_first_cell_that_takes_it(void **state) {
    (void)state;
    const int64_t shape[3] = {3, 4, 1}, stride[2] = {1, 3}, part[2] = {2, 4};
    rl_tensor *in = fake_tensor(RL_F32, 2, shape), *out = fake_tensor(RL_F32, 2, shape);
    rl_tensor *turned = rl_tensor_make(out->storage, RL_F32, 2, shape, stride, 0);
    bool did_run;
    asked = 0;
    assert_int_equal(softmax(in, out, &did_run), RL_OK);
    assert_false(did_run); /* no cells at all */
    fake_device.api.fused = cells;
    fake_device.api.n_fused = 3;
    assert_int_equal(softmax(in, turned, &did_run), RL_OK);
    assert_true(did_run);
    assert_int_equal(asked, 2);
    assert_int_equal(fake.calls, 1);
    assert_int_equal(fake.used, 2);
    assert_int_equal(ran.size, sizeof ran);
    assert_ptr_equal(ran.in.buffer, in->storage->buffer);
    assert_ptr_equal(ran.out.buffer, out->storage->buffer);
    assert_true(ran.out.offset == out->storage->offset && ran.out.stride[0] == 1 && ran.out.stride[1] == 3);
    assert_true(ran.in.stride[0] == 4 && ran.in.stride[1] == 1 && ran.ndim == 2 && ran.dim == 1);
    /* Neither in place nor in part. */
    assert_int_equal(softmax(in, in, &did_run), RL_OK);
    assert_false(did_run);
    rl_tensor *low = rl_tensor_make(in->storage, RL_F32, 2, part, in->stride, 0);
    rl_tensor *high = rl_tensor_make(in->storage, RL_F32, 2, part, in->stride, 4);
    assert_int_equal(softmax(low, high, &did_run), RL_OK);
    assert_false(did_run);
    rl_tensor *deep = fake_tensor(RL_F32, 3, shape);
    assert_int_equal(softmax(deep, deep, &did_run), RL_OK);
    assert_false(did_run);
    fake.answer = RL_OUT_OF_MEMORY;
    assert_int_equal(softmax(in, out, &did_run), RL_OUT_OF_MEMORY);
    assert_non_null(strstr(rl_error_text(), "softmax: on fake:0"));
    rl_tensor *const made[] = {in, out, turned, low, high, deep};
    for (size_t i = 0; i < sizeof made / sizeof *made; i++)
        rl_release(made[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reduces_whatever_the_strides, reset, finish),
        cmocka_unit_test_setup_teardown(reduce_simplifies_and_separates, reset, finish),
        cmocka_unit_test_setup_teardown(multiplies_whatever_the_strides, reset, finish),
        cmocka_unit_test_setup_teardown(folds_a_batch_over_one_matrix, reset, finish),
        cmocka_unit_test_setup_teardown(gathers_and_scatters, reset, finish),
        cmocka_unit_test_setup_teardown(says_which_op_had_the_bad_index, reset, finish),
        cmocka_unit_test_setup_teardown(scans_and_sorts, reset, finish),
        cmocka_unit_test_setup_teardown(runs_the_first_cell_that_takes_it, reset, finish),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
