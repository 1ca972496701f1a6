/* SPDX-License-Identifier: Apache-2.0 */
/* The primitives of the fake device: loops over indices, for every dtype alike, and the rules of backend.h as asserts.
 */
#include "fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "evaluate.h"

/* Every call begins here. */
static rl_status begin(rl_backend_stream *stream, int64_t ndim, const int64_t *shape) {
    assert_ptr_equal(stream, &fake);
    assert_int_equal(fake.depth, 1);
    assert_in_range(ndim, 0, RL_MAX_DIMS);
    fake.calls++;
    fake.ndim = ndim;
    memcpy(fake.shape, shape, (size_t)ndim * sizeof *shape);
    rl_status answer = fake.answer;
    fake.answer = RL_OK;
    return answer;
}

static uint8_t *at(const rl_operand *operand, rl_dtype dtype, int64_t ndim, const int64_t *index) {
    int64_t bytes = (int64_t)rl_dtype_size(dtype), place = (int64_t)operand->offset;
    assert_int_equal(place % bytes, 0);
    for (int64_t d = 0; d < ndim; d++)
        place += index[d] * operand->stride[d] * bytes;
    assert_true(place >= 16 && place + bytes <= (int64_t)operand->buffer->bytes - 16); /* within the storage */
    return operand->buffer->data + place;
}

/* Counts an output's elements, so that inputs that share its memory are seen; `number` 0 forgets them. */
static void own(const rl_operand *operand, rl_dtype dtype, int64_t ndim, const int64_t *index, int32_t number) {
    int64_t place = at(operand, dtype, ndim, index) - operand->buffer->data;
    for (size_t i = 0; i < rl_dtype_size(dtype); i++) {
        assert_true(number == 0 || operand->buffer->owner[place + (int64_t)i] == 0); /* no output overlaps itself */
        operand->buffer->owner[place + (int64_t)i] = number;
    }
}

static void expect_owner(const rl_operand *operand, rl_dtype dtype, int64_t ndim, const int64_t *index,
                         int32_t number) {
    int64_t place = at(operand, dtype, ndim, index) - operand->buffer->data;
    for (size_t i = 0; i < rl_dtype_size(dtype); i++) {
        int32_t owner = operand->buffer->owner[place + (int64_t)i];
        assert_true(owner == 0 || owner == number);
    }
}

static int64_t count_of(int64_t ndim, const int64_t *shape) {
    int64_t count = 1;
    for (int64_t d = 0; d < ndim; d++)
        count *= shape[d];
    return count;
}

/* An input may be an output exactly, and never in part. */
static void check_aliases(const rl_program *p, const rl_map_job *job) {
    for (int pass = 0; pass < 3; pass++) {
        int64_t index[RL_MAX_DIMS] = {0};
        int32_t number = 0;
        do {
            number++;
            for (int k = 0; k < p->n_outputs && pass != 1; k++)
                own(&job->outputs[k], (rl_dtype)p->output_dtype[k], job->ndim, index, pass == 0 ? number : 0);
            for (int k = 0; k < p->n_inputs && pass == 1; k++)
                expect_owner(&job->inputs[k], (rl_dtype)p->input_dtype[k], job->ndim, index, number);
        } while (fake_next(job->ndim, job->shape, index));
    }
}

static void run_job(const rl_program *p, const rl_map_job *job) {
    int64_t index[RL_MAX_DIMS] = {0}, element = 0;
    assert_true(count_of(job->ndim, job->shape) > 0);
    check_aliases(p, job);
    do {
        rl_number in[RL_MAX_INPUTS], out[RL_MAX_OUTPUTS];
        for (int k = 0; k < p->n_inputs; k++)
            in[k] = evaluate_load(at(&job->inputs[k], (rl_dtype)p->input_dtype[k], job->ndim, index),
                                  (rl_dtype)p->input_dtype[k]);
        evaluate(p, in, job->scalars, element++, index, out);
        for (int k = 0; k < p->n_outputs; k++)
            evaluate_store(at(&job->outputs[k], (rl_dtype)p->output_dtype[k], job->ndim, index),
                           (rl_dtype)p->output_dtype[k], out[k]);
    } while (fake_next(job->ndim, job->shape, index));
}

static rl_status map(rl_backend_stream *stream, const rl_map_args *args) {
    assert_int_equal(args->size, sizeof *args);
    assert_true(args->n_jobs > 0);
    fake.map = *args;
    rl_status status = begin(stream, args->jobs[0].ndim, args->jobs[0].shape);
    for (uint32_t i = 0; i < args->n_jobs && status == RL_OK; i++)
        run_job(args->program, &args->jobs[i]);
    return status;
}

/* Reduce ---------------------------------------------------------------------------------------------------------- */

/* Integers only: SUM, MAX and ARGMAX. `n` counts the reduced elements. */
static void combine(int combiner, int64_t n, int64_t x, int64_t *best, int64_t *out) {
    switch (combiner) {
    case RL_COMBINE_SUM:
        *out = n == 0 ? x : *out + x;
        break;
    case RL_COMBINE_MAX:
        *out = n == 0 || x > *out ? x : *out;
        break;
    default:
        assert_int_equal(combiner, RL_COMBINE_ARGMAX);
        if (n == 0 || x > *best) {
            *best = x;
            *out = n;
        }
    }
}

static void reduce_one(const rl_reduce_args *a, const int64_t *kept) {
    const rl_program *p = a->prologue;
    int64_t index[RL_MAX_DIMS] = {0}, element = 0, n = 0, best[RL_MAX_COMBINED] = {0};
    rl_number combined[RL_MAX_COMBINED] = {{.i = 0}}, out[RL_MAX_OUTPUTS];
    bool empty = count_of(a->ndim, a->shape) == 0;
    do {
        bool mine = !empty;
        for (int64_t d = 0; d < a->ndim; d++)
            mine = mine && (a->reduced >> d & 1 || index[d] == kept[d]);
        if (mine) {
            rl_number in[RL_MAX_INPUTS], values[RL_MAX_COMBINED];
            for (int k = 0; k < p->n_inputs; k++)
                in[k] = evaluate_load(at(&a->inputs[k], (rl_dtype)p->input_dtype[k], a->ndim, index),
                                      (rl_dtype)p->input_dtype[k]);
            evaluate(p, in, a->scalars, element, index, values);
            for (int k = 0; k < p->n_outputs; k++)
                combine(a->combiner[k], n, values[k].i, &best[k], &combined[k].i);
            n++;
        }
        element++;
    } while (fake_next(a->ndim, a->shape, index));
    evaluate(a->epilogue, combined, a->epilogue_scalars, 0, NULL, out);
    for (int k = 0; k < a->epilogue->n_outputs; k++)
        evaluate_store(at(&a->outputs[k], (rl_dtype)a->epilogue->output_dtype[k], a->ndim, kept),
                       (rl_dtype)a->epilogue->output_dtype[k], out[k]);
}

static rl_status reduce(rl_backend_stream *stream, const rl_reduce_args *args) {
    rl_status status = begin(stream, args->ndim, args->shape);
    int64_t kept[RL_MAX_DIMS] = {0}, shape[RL_MAX_DIMS];
    assert_int_equal(args->size, sizeof *args);
    assert_int_equal(args->reduced >> args->ndim, 0);
    assert_int_equal(args->prologue->n_outputs, args->epilogue->n_inputs);
    fake.reduce = *args;
    for (int k = 0; k < args->epilogue->n_inputs; k++)
        assert_int_equal(args->epilogue->input_dtype[k],
                         args->combiner[k] >= RL_COMBINE_ARGMAX ? RL_I64 : args->prologue->output_dtype[k]);
    for (int64_t d = 0; d < args->ndim; d++)
        shape[d] = args->reduced >> d & 1 ? 1 : args->shape[d];
    if (status == RL_OK && count_of(args->ndim, shape) > 0) {
        do {
            reduce_one(args, kept);
        } while (fake_next(args->ndim, shape, kept));
    }
    return status;
}

/* Matmul, of I64 -------------------------------------------------------------------------------------------------- */

static rl_status matmul(rl_backend_stream *stream, const rl_matmul_args *args) {
    int64_t nd = args->batch_ndim, shape[RL_MAX_DIMS], index[RL_MAX_DIMS] = {0};
    memcpy(shape, args->batch_shape, sizeof args->batch_shape);
    shape[nd] = args->m;
    shape[nd + 1] = args->n;
    rl_status status = begin(stream, nd + 2, shape);
    assert_int_equal(args->size, sizeof *args);
    fake.matmul = *args;
    do {
        int64_t sum = 0, in_a[RL_MAX_DIMS], in_b[RL_MAX_DIMS];
        memcpy(in_a, index, sizeof in_a);
        memcpy(in_b, index, sizeof in_b);
        for (int64_t k = 0; k < args->k; k++) {
            in_a[nd + 1] = in_b[nd] = k;
            sum += evaluate_load(at(&args->a, RL_I64, nd + 2, in_a), RL_I64).i *
                   evaluate_load(at(&args->b, RL_I64, nd + 2, in_b), RL_I64).i;
        }
        uint8_t *c = at(&args->c, RL_I64, nd + 2, index);
        int64_t old = args->beta != 0 ? evaluate_load(c, RL_I64).i : 0;
        evaluate_store(c, RL_I64, (rl_number){.i = (int64_t)(args->alpha * (double)sum + args->beta * (double)old)});
    } while (status == RL_OK && fake_next(nd + 2, shape, index));
    return status;
}

/* Along one dimension --------------------------------------------------------------------------------------------- */

static rl_status gather(rl_backend_stream *stream, const rl_gather_args *args) {
    rl_status status = begin(stream, args->ndim, args->shape);
    int64_t index[RL_MAX_DIMS] = {0};
    do {
        int64_t from[RL_MAX_DIMS];
        memcpy(from, index, sizeof from);
        from[args->dim] =
            evaluate_load(at(&args->index, (rl_dtype)args->index_dtype, args->ndim, index), (rl_dtype)args->index_dtype)
                .i;
        if (from[args->dim] < 0 || from[args->dim] >= args->dim_size) {
            status = RL_INDEX_OUT_OF_RANGE;
            continue;
        }
        memcpy(at(&args->out, (rl_dtype)args->dtype, args->ndim, index),
               at(&args->in, (rl_dtype)args->dtype, args->ndim, from), rl_dtype_size((rl_dtype)args->dtype));
    } while (fake_next(args->ndim, args->shape, index));
    return status;
}

static rl_status scatter(rl_backend_stream *stream, const rl_scatter_args *args) {
    rl_status status = begin(stream, args->ndim, args->shape);
    int64_t index[RL_MAX_DIMS] = {0};
    assert_int_equal(args->mode, RL_SCATTER_ADD);
    do {
        int64_t to[RL_MAX_DIMS];
        memcpy(to, index, sizeof to);
        to[args->dim] =
            evaluate_load(at(&args->index, (rl_dtype)args->index_dtype, args->ndim, index), (rl_dtype)args->index_dtype)
                .i;
        assert_in_range(to[args->dim], 0, args->dim_size - 1);
        uint8_t *out = at(&args->out, (rl_dtype)args->dtype, args->ndim, to);
        int64_t in = evaluate_load(at(&args->in, (rl_dtype)args->dtype, args->ndim, index), (rl_dtype)args->dtype).i;
        evaluate_store(out, (rl_dtype)args->dtype, (rl_number){.i = evaluate_load(out, (rl_dtype)args->dtype).i + in});
    } while (fake_next(args->ndim, args->shape, index));
    return status;
}

/* Cumulative sums; as indices, those of the last element so far. */
static rl_status scan(rl_backend_stream *stream, const rl_scan_args *args) {
    rl_status status = begin(stream, args->ndim, args->shape);
    int64_t index[RL_MAX_DIMS] = {0};
    do {
        int64_t before[RL_MAX_DIMS];
        rl_number x = evaluate_load(at(&args->in, RL_I64, args->ndim, index), RL_I64);
        memcpy(before, index, sizeof before);
        if (--before[args->dim] >= 0)
            x.i += evaluate_load(at(&args->out, RL_I64, args->ndim, before), RL_I64).i;
        evaluate_store(at(&args->out, RL_I64, args->ndim, index), RL_I64, x);
        if (args->has_indices)
            evaluate_store(at(&args->indices, RL_I64, args->ndim, index), RL_I64, (rl_number){.i = index[args->dim]});
    } while (fake_next(args->ndim, args->shape, index));
    return status;
}

/* Each element goes to the place that its rank among its row gives it. */
static rl_status sort(rl_backend_stream *stream, const rl_sort_args *args) {
    rl_status status = begin(stream, args->ndim, args->shape);
    int64_t index[RL_MAX_DIMS] = {0};
    do {
        int64_t other[RL_MAX_DIMS], to[RL_MAX_DIMS];
        rl_number x = evaluate_load(at(&args->in, RL_I64, args->ndim, index), RL_I64);
        memcpy(other, index, sizeof other);
        memcpy(to, index, sizeof to);
        to[args->dim] = 0;
        for (int64_t i = 0; i < args->shape[args->dim]; i++) {
            other[args->dim] = i;
            int64_t y = evaluate_load(at(&args->in, RL_I64, args->ndim, other), RL_I64).i;
            bool first = args->descending ? y > x.i : y < x.i;
            to[args->dim] += first || (y == x.i && i < index[args->dim]);
        }
        evaluate_store(at(&args->values, RL_I64, args->ndim, to), RL_I64, x);
        evaluate_store(at(&args->indices, RL_I64, args->ndim, to), RL_I64, (rl_number){.i = index[args->dim]});
    } while (fake_next(args->ndim, args->shape, index));
    return status;
}

const rl_backend fake_backend = {
    .size = sizeof(rl_backend),
    .abi = RL_ABI_VERSION,
    .name = "fake",
    .map = map,
    .reduce = reduce,
    .matmul = matmul,
    .gather = gather,
    .scatter = scatter,
    .scan = scan,
    .sort = sort,
};
