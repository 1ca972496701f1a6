/* SPDX-License-Identifier: Apache-2.0 */
/* The row `map`: whatever the shapes, strides, broadcasts and overlaps, its jobs do what the program says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "evaluate.h"
#include "fake.h"

static int reset(void **state) {
    (void)state;
    assert_int_equal(fake_buffers(), 0);
    fake_reset(RL_BACKEND_SYNCHRONOUS);
    return 0;
}

static int finish(void **state) {
    (void)state;
    assert_int_equal(fake.depth, 0);
    assert_int_equal(fake_buffers(), 0);
    fake_reset(0);
    return 0;
}

enum { PLAIN, WITH_INDEX, WITH_RANDOM };

/* in0 - 3 in1 + 2 s + in2 ..., and for a second output in0 in1; plus an index or a random number. */
static const rl_program *program_of(int kind, int n_inputs, int n_outputs, int64_t ndim) {
    rl_builder b;
    rl_builder_init(&b);
    rl_pw three = rl_build_constant(&b, RL_I64, -3), sum = rl_build_scalar(&b, RL_I64), first = 0, product = sum;
    rl_pw seed = rl_build_scalar(&b, RL_I64);
    rl_build_scalar(&b, RL_I64);
    for (int k = 0; k < n_inputs; k++) {
        rl_pw x = rl_build_input(&b, RL_I64);
        first = k == 0 ? x : first;
        product = rl_build2(&b, RL_INSN_MUL, x, product);
        sum = rl_build2(&b, RL_INSN_ADD, rl_build2(&b, RL_INSN_MUL, sum, three), x);
    }
    for (int64_t d = 0; d < ndim && kind == WITH_INDEX; d++)
        sum = rl_build2(&b, RL_INSN_ADD, rl_build2(&b, RL_INSN_MUL, sum, three), rl_build_index(&b, (int)d));
    if (kind == WITH_RANDOM)
        sum = rl_build2(&b, RL_INSN_ADD, sum,
                        rl_build_cast(&b, rl_build_random(&b, RL_INSN_PHILOX, RL_I32, seed), RL_I64));
    rl_build_output(&b, sum, RL_I64);
    if (n_outputs > 1)
        rl_build_output(&b, product, RL_I32);
    const rl_program *p = rl_builder_finish(&b);
    assert_non_null(p);
    return p;
}

static const rl_number own_scalars[3] = {{.i = 5}, {.i = 7}, {.i = 8}};

/* Computes what the outputs should become from what memory holds now. */
static void expect_map(const rl_program *p, rl_tensor *const *inputs, rl_tensor *const *outputs) {
    int64_t index[RL_MAX_DIMS] = {0}, ndim = outputs[0]->ndim, element = 0;
    rl_number scalars[RL_MAX_SCALARS];
    rl_program_scalars(p, own_scalars, scalars);
    if (outputs[0]->numel == 0)
        return;
    do {
        rl_number in[RL_MAX_INPUTS], out[RL_MAX_OUTPUTS];
        for (int k = 0; k < p->n_inputs; k++)
            in[k] = fake_get(inputs[k], ndim, index);
        evaluate(p, in, scalars, element++, index, out);
        for (int k = 0; k < p->n_outputs; k++)
            fake_expect(outputs[k], ndim, index, out[k]);
    } while (fake_next(ndim, outputs[0]->shape, index));
}

static int64_t random_shape(int64_t most, int64_t *shape) {
    int64_t ndim = fake_random(most + 1);
    for (int64_t d = 0; d < ndim; d++)
        shape[d] = fake_random(12) == 0 ? 0 : 1 + fake_random(4);
    return ndim;
}

/* A tensor that broadcasts to the shape. */
static rl_tensor *random_input(rl_dtype dtype, int64_t ndim, const int64_t *shape) {
    int64_t own[RL_MAX_DIMS], from = fake_random(3) == 0 ? fake_random(ndim + 1) : 0;
    for (int64_t d = from; d < ndim; d++)
        own[d - from] = fake_random(4) == 0 ? 1 : shape[d];
    rl_tensor *self = fake_view(dtype, ndim - from, own);
    if (fake_random(4) == 0) { /* expanded */
        for (int64_t d = from; d < ndim; d++) {
            if (own[d - from] == 1 && shape[d] > 1) {
                self->shape[d - from] = shape[d];
                self->stride[d - from] = 0;
                self->numel *= shape[d];
                self->contiguous = 0;
            }
        }
    }
    return self;
}

static void release_all(rl_tensor **tensors, int count) {
    for (int k = 0; k < count; k++)
        rl_release(tensors[k]);
}

static void maps_whatever_the_strides(void **state) {
    (void)state;
    for (int round = 0; round < 3000; round++) {
        int64_t shape[RL_MAX_DIMS], ndim = random_shape(5, shape);
        int kind = (int)fake_random(3), n_inputs = (int)fake_random(4), n_outputs = 1 + (int)fake_random(2);
        const rl_program *p = program_of(kind, n_inputs, n_outputs, ndim);
        rl_tensor *inputs[4], *outputs[2];
        for (int k = 0; k < n_inputs; k++)
            inputs[k] = random_input(RL_I64, ndim, shape);
        for (int k = 0; k < n_outputs; k++)
            outputs[k] = fake_view(k ? RL_I32 : RL_I64, ndim, shape);
        fake.calls = 0;
        fake_snapshot();
        expect_map(p, inputs, outputs);
        assert_int_equal(rl_row_map("test", p, inputs, outputs, own_scalars), RL_OK);
        assert_int_equal(fake.calls, outputs[0]->numel > 0);
        fake_compare();
        release_all(inputs, n_inputs);
        release_all(outputs, n_outputs);
    }
}

/* Another view of the storage of `of`, of the same shape, as far as it fits. */
static rl_tensor *view_beside(const rl_tensor *of) {
    int64_t stride[RL_MAX_DIMS], reach = 0, room = (int64_t)(of->storage->bytes / rl_dtype_size((rl_dtype)of->dtype));
    for (int64_t d = 0; d < of->ndim; d++) {
        stride[d] = fake_random(4) == 0 ? fake_random(3) : of->stride[d] < 0 ? -of->stride[d] : of->stride[d];
        reach += (of->shape[d] - 1) * stride[d];
    }
    if (reach >= room || fake_random(4) == 0)
        return rl_tensor_make(of->storage, (rl_dtype)of->dtype, of->ndim, of->shape, of->stride, of->offset);
    return rl_tensor_make(of->storage, (rl_dtype)of->dtype, of->ndim, of->shape, stride, fake_random(room - reach));
}

static void maps_within_one_storage(void **state) {
    (void)state;
    int same = 0, copied = 0;
    for (int round = 0; round < 3000; round++) {
        int64_t shape[RL_MAX_DIMS], ndim = 1 + fake_random(3);
        for (int64_t d = 0; d < ndim; d++)
            shape[d] = 1 + fake_random(4);
        const rl_program *p = program_of((int)fake_random(3), 2, 1, ndim);
        rl_tensor *out = fake_view(RL_I64, ndim, shape);
        rl_tensor *inputs[2] = {view_beside(out), view_beside(out)};
        fake.calls = 0;
        fake_snapshot();
        expect_map(p, inputs, &out);
        assert_int_equal(rl_row_map("test", p, inputs, &out, own_scalars), RL_OK); /* the fake checks for overlaps */
        same += fake.calls == 1;
        copied += fake.calls > 1;
        fake_compare();
        release_all(inputs, 2);
        rl_release(out);
    }
    assert_true(same > 300 && copied > 300);
}

static int calls_of_map(const rl_tensor *in, const rl_tensor *out) {
    const rl_program *p = program_of(PLAIN, 1, 1, 0);
    rl_tensor *inputs[1] = {(rl_tensor *)(uintptr_t)in}, *outputs[1] = {(rl_tensor *)(uintptr_t)out};
    fake.calls = 0;
    fake_snapshot();
    expect_map(p, inputs, outputs);
    assert_int_equal(rl_row_map("test", p, inputs, outputs, own_scalars), RL_OK);
    fake_compare();
    return fake.calls;
}

static void copies_only_what_overlaps(void **state) {
    (void)state;
    const int64_t shape[2] = {4, 6}, half[2] = {4, 3}, stride[2] = {6, 1}, wide[2] = {6, 2}, narrow[2] = {4, 5};
    rl_tensor *all = fake_tensor(RL_I64, 2, shape);
    rl_storage *s = all->storage;
    rl_tensor *left = rl_tensor_make(s, RL_I64, 2, half, stride, 0);
    rl_tensor *right = rl_tensor_make(s, RL_I64, 2, half, stride, 3);
    rl_tensor *even = rl_tensor_make(s, RL_I64, 2, half, wide, 0), *odd = rl_tensor_make(s, RL_I64, 2, half, wide, 1);
    rl_tensor *near = rl_tensor_make(s, RL_I64, 2, narrow, stride, 0);
    rl_tensor *far = rl_tensor_make(s, RL_I64, 2, narrow, stride, 1);
    rl_tensor *one = rl_tensor_make(s, RL_I64, 0, shape, stride, 7);
    rl_tensor *same = rl_tensor_make(s, RL_I64, 2, shape, stride, 0);
    rl_tensor *first = rl_tensor_make(s, RL_I64, 0, shape, stride, 0);
    assert_int_equal(calls_of_map(all, same), 1);
    assert_int_equal(calls_of_map(left, right), 1);
    assert_int_equal(calls_of_map(even, odd), 1);
    assert_int_equal(calls_of_map(near, far), 2);
    assert_int_equal(calls_of_map(one, all), 2);
    assert_int_equal(calls_of_map(first, all), 2);
    assert_int_equal(calls_of_map(one, one), 1);
    rl_tensor *const made[] = {all, left, right, even, odd, near, far, one, same, first};
    for (size_t i = 0; i < sizeof made / sizeof *made; i++)
        rl_release(made[i]);
}

static void goes_the_short_way(void **state) {
    (void)state;
    const int64_t shape[2] = {4, 4}, flipped[2] = {1, 4};
    rl_tensor *x = fake_tensor(RL_I64, 2, shape), *y = fake_tensor(RL_I64, 2, shape),
              *s = fake_tensor(RL_I64, 0, shape);
    rl_tensor *out = fake_tensor(RL_I64, 2, shape), *inputs[3] = {x, y, s};
    const rl_program *p = program_of(PLAIN, 3, 1, 0), *indexed = program_of(WITH_INDEX, 3, 1, 2);
    const rl_program *random = program_of(WITH_RANDOM, 3, 1, 2);
    uint64_t before = rl_alloc_count();
    assert_int_equal(rl_row_map("test", p, inputs, &out, own_scalars), RL_OK);
    assert_true(rl_alloc_count() == before); /* allocates nothing */
    assert_int_equal(fake.ndim, 1);
    assert_int_equal(fake.shape[0], 16);
    assert_int_equal(fake.entered, 1);
    /* All transposed: one run as well, unless the order counts. */
    rl_tensor *turned[4];
    for (int k = 0; k < 4; k++)
        turned[k] =
            rl_tensor_make(k < 3 ? inputs[k]->storage : out->storage, RL_I64, k == 2 ? 0 : 2, shape, flipped, 0);
    assert_int_equal(rl_row_map("test", p, turned, &turned[3], own_scalars), RL_OK);
    assert_int_equal(fake.ndim, 1);
    assert_int_equal(rl_row_map("test", random, turned, &turned[3], own_scalars), RL_OK);
    assert_int_equal(fake.ndim, 2);
    assert_int_equal(rl_row_map("test", random, inputs, &out, own_scalars), RL_OK);
    assert_int_equal(fake.ndim, 1);
    assert_int_equal(rl_row_map("test", indexed, inputs, &out, own_scalars), RL_OK);
    assert_int_equal(fake.ndim, 2);
    assert_int_equal(atomic_load(&out->storage->version), 0); /* versions are for those above to count */
    release_all(inputs, 3);
    release_all(turned, 4);
    rl_release(out);
}

/* Many ------------------------------------------------------------------------------------------------------------ */

#define MANY 5

typedef struct many_tensors {
    rl_tensor *inputs[MANY][2], *outputs[MANY][2];
    rl_map_task tasks[MANY];
    int with_elements;
} many_tensors;

static void make_many(many_tensors *out) {
    out->with_elements = 0;
    for (int i = 0; i < MANY; i++) {
        int64_t shape[RL_MAX_DIMS], ndim = random_shape(3, shape);
        out->inputs[i][0] = random_input(RL_I64, ndim, shape);
        out->outputs[i][0] = fake_view(RL_I64, ndim, shape);
        out->outputs[i][1] = fake_view(RL_I32, ndim, shape);
        out->inputs[i][1] = out->outputs[i][0]->numel && fake_random(2) ? view_beside(out->outputs[i][0])
                                                                        : random_input(RL_I64, ndim, shape);
        out->tasks[i] = (rl_map_task){out->inputs[i], out->outputs[i], own_scalars};
        out->with_elements += out->outputs[i][0]->numel > 0;
    }
}

static void release_many(many_tensors *self) {
    for (int i = 0; i < MANY; i++) {
        release_all(self->inputs[i], 2);
        release_all(self->outputs[i], 2);
    }
}

static void maps_many_in_one_call(void **state) {
    (void)state;
    for (int round = 0; round < 500; round++) {
        many_tensors many;
        const rl_program *p = program_of(fake_random(2) ? WITH_RANDOM : PLAIN, 2, 2, 0);
        make_many(&many);
        fake_snapshot();
        for (int i = 0; i < MANY; i++)
            expect_map(p, many.inputs[i], many.outputs[i]);
        fake.map.n_jobs = 0;
        assert_int_equal(rl_row_map_many("test", p, many.tasks, MANY), RL_OK);
        assert_int_equal(fake.map.n_jobs, many.with_elements);
        fake_compare();
        release_many(&many);
    }
    assert_int_equal(rl_row_map_many("test", program_of(PLAIN, 2, 2, 0), NULL, 0), RL_OK);
}

static void survives_every_failing_allocation(void **state) {
    (void)state;
    many_tensors many;
    make_many(&many);
    const rl_program *p = program_of(PLAIN, 2, 2, 0);
    for (uint64_t n = 1;; n++) {
        int buffers = fake_buffers();
        rl_alloc_fail_at(n, n % 2);
        rl_status status = rl_row_map_many("test", p, many.tasks, MANY);
        rl_alloc_fail_at(0, false);
        assert_int_equal(fake_buffers(), buffers);
        assert_int_equal(fake.depth, 0);
        if (status == RL_OK) {
            assert_true(n > 1);
            break;
        }
        assert_int_equal(status, RL_OUT_OF_MEMORY);
        rl_error_clear();
    }
    release_many(&many);
}

/* Devices --------------------------------------------------------------------------------------------------------- */

static void expands_what_the_backend_lacks(void **state) {
    (void)state;
    rl_builder b;
    rl_builder_init(&b);
    rl_pw x = rl_build_input(&b, RL_F32), s = rl_build_scalar(&b, RL_F32);
    rl_build_output(&b, rl_build2(&b, RL_INSN_MUL, rl_build1(&b, RL_INSN_SIGMOID, x), s), RL_F32);
    const rl_program *p = rl_builder_finish(&b);
    const int64_t shape[1] = {3};
    rl_tensor *in = fake_tensor(RL_F32, 1, shape), *out = fake_tensor(RL_F32, 1, shape);
    evaluate_store(fake_element(in, 1, (int64_t[]){0}), RL_F32, (rl_number){.f = 0});
    assert_int_equal(rl_row_map("test", p, &in, &out, &(rl_number){.f = 6}), RL_OK);
    assert_ptr_not_equal(fake.map.program, p);
    assert_true(fake_get(out, 1, (int64_t[]){0}).f == 3);
    rl_release(in);
    rl_release(out);
}

static void names_the_op_in_errors(void **state) {
    (void)state;
    const int64_t shape[1] = {3};
    rl_tensor *in = fake_tensor(RL_I64, 1, shape), *out = fake_tensor(RL_I64, 1, shape);
    fake.answer = RL_DEVICE_LOST;
    assert_int_equal(rl_row_map("sqrt", program_of(PLAIN, 1, 1, 0), &in, &out, own_scalars), RL_DEVICE_LOST);
    assert_non_null(strstr(rl_error_text(), "sqrt: on fake:0"));
    assert_int_equal(fake.depth, 0);
    rl_release(in);
    rl_release(out);
}

static void marks_storages_for_later_work(void **state) {
    (void)state;
    const int64_t shape[1] = {3};
    rl_tensor *in = fake_tensor(RL_I64, 1, shape), *out = fake_tensor(RL_I64, 1, shape);
    assert_int_equal(rl_row_map("test", program_of(PLAIN, 1, 1, 0), &in, &out, own_scalars), RL_OK);
    assert_int_equal(fake.used, 0); /* work of a synchronous device is done */
    fake_device.api.flags = 0;
    assert_int_equal(rl_row_map("test", program_of(PLAIN, 1, 1, 0), &in, &out, own_scalars), RL_OK);
    assert_int_equal(fake.used, 2);
    rl_release(in);
    rl_release(out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(maps_whatever_the_strides, reset, finish),
        cmocka_unit_test_setup_teardown(maps_within_one_storage, reset, finish),
        cmocka_unit_test_setup_teardown(copies_only_what_overlaps, reset, finish),
        cmocka_unit_test_setup_teardown(goes_the_short_way, reset, finish),
        cmocka_unit_test_setup_teardown(maps_many_in_one_call, reset, finish),
        cmocka_unit_test_setup_teardown(survives_every_failing_allocation, reset, finish),
        cmocka_unit_test_setup_teardown(expands_what_the_backend_lacks, reset, finish),
        cmocka_unit_test_setup_teardown(names_the_op_in_errors, reset, finish),
        cmocka_unit_test_setup_teardown(marks_storages_for_later_work, reset, finish),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
