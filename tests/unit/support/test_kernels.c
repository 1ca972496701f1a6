/* SPDX-License-Identifier: Apache-2.0 */
/* The primitives against loops that do nothing but what backend.h says. */
#include "cmocka_support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels.h"
#include "rl_interp.h"
#include "rl_philox.h"

/* A host ------------------------------------------------------------------------------------------------------- */

static char sentence[256];
static int no_scratch;
static void *scratch_block;

static rl_status host_fail(rl_status status, const char *format, ...) {
    va_list list;
    va_start(list, format);
    vsnprintf(sentence, sizeof sentence, format, list);
    va_end(list);
    return status;
}

static void *host_scratch(size_t bytes) {
    free(scratch_block);
    scratch_block = no_scratch ? NULL : aligned_alloc(64, (bytes + 63) & ~(size_t)63);
    return scratch_block;
}

static const rl_host host = {.size = sizeof host, .abi = RL_ABI_VERSION, .fail = host_fail, .scratch = host_scratch};

static int teardown(void **state) {
    (void)state;
    free(scratch_block);
    scratch_block = NULL;
    return 0;
}

/* An operand over an array, row-major; `buffer` outlives it. */
static rl_operand operand(rl_kernel_buffer *buffer, void *data, int64_t ndim, const int64_t *shape) {
    rl_operand self = {.buffer = (rl_backend_buffer *)(void *)buffer};
    int64_t stride = 1;
    buffer->data = data;
    for (int64_t d = ndim - 1; d >= 0; d--) {
        self.stride[d] = stride;
        stride *= shape[d];
    }
    return self;
}

static uint64_t noise = 1;
static double random_number(void) { /* small integers and halves: sums of them are exact */
    noise = noise * 6364136223846793005u + 1442695040888963407u;
    return (double)(int64_t)(noise >> 58) * 0.5 - 16;
}

/* map ---------------------------------------------------------------------------------------------------------- */

static const rl_insn add_insns[] = {
    {.code = RL_INSN_INPUT, .imm = 0}, {.code = RL_INSN_INPUT, .imm = 1}, {.code = RL_INSN_ADD, .a = 0, .b = 1}};
static const rl_program add_program = {.size = sizeof add_program,
                                       .n_inputs = 2,
                                       .n_outputs = 1,
                                       .n_insns = 3,
                                       .input_dtype = {RL_F32, RL_F32},
                                       .output_dtype = {RL_F32},
                                       .output_value = {2},
                                       .insns = add_insns};

static void map_strides(void **state) {
    (void)state;
    enum { M = 37, N = 300 };
    static float a[M * N], b[N * M], out[M * 2 * N];
    rl_kernel_buffer buffers[3];
    const int64_t shape[] = {M, N};
    for (int i = 0; i < M * N; i++)
        a[i] = (float)i, b[i] = (float)(3 * i);
    rl_operand inputs[] = {operand(&buffers[0], a, 2, shape), operand(&buffers[1], b, 2, shape)};
    rl_operand output = operand(&buffers[2], out, 2, shape);
    inputs[0].offset = (M - 1) * N * sizeof *a; /* rows from the last to the first */
    inputs[0].stride[0] = -N;
    inputs[1].stride[0] = 1; /* transposed */
    inputs[1].stride[1] = M;
    output.stride[0] = 2 * N; /* every other row */
    for (int i = 0; i < M * 2 * N; i++)
        out[i] = -1;
    rl_map_job jobs[2] = {{.ndim = 2, .shape = {M, N}, .inputs = inputs, .outputs = &output},
                          {.ndim = 1, .shape = {0}, .inputs = inputs, .outputs = &output}};
    rl_map_args args = {.size = sizeof args, .n_jobs = 2, .program = &add_program, .jobs = jobs};
    assert_int_equal(rl_kernel_map(&host, &args), RL_OK);
    for (int i = 0; i < M; i++)
        for (int j = 0; j < N; j++) {
            assert_true(out[2 * i * N + j] == a[(M - 1 - i) * N + j] + b[j * M + i]);
            assert_true(out[(2 * i + 1) * N + j] == -1);
        }
    no_scratch = 1;
    assert_int_equal(rl_kernel_map(&host, &args), RL_OUT_OF_MEMORY);
    no_scratch = 0;
}

/* Both outputs lie over the inputs, crosswise: neither may be overwritten before it is read. */
static void map_swaps(void **state) {
    (void)state;
    float a[300], b[300];
    rl_kernel_buffer buffers[2];
    const int64_t shape[] = {300};
    for (int i = 0; i < 300; i++)
        a[i] = (float)i, b[i] = (float)-i;
    rl_operand inputs[] = {operand(&buffers[0], a, 1, shape), operand(&buffers[1], b, 1, shape)};
    rl_program swap = add_program;
    swap.n_outputs = 2, swap.n_insns = 2;
    swap.output_dtype[1] = RL_F32, swap.output_value[0] = 1, swap.output_value[1] = 0;
    rl_map_job job = {.ndim = 1, .shape = {300}, .inputs = inputs, .outputs = inputs};
    rl_map_args args = {.size = sizeof args, .n_jobs = 1, .program = &swap, .jobs = &job};
    assert_int_equal(rl_kernel_map(&host, &args), RL_OK);
    for (int i = 0; i < 300; i++)
        assert_true(a[i] == (float)-i && b[i] == (float)i);
}

/* The element number is row-major whatever dimension the runs take. */
static void map_random_order(void **state) {
    (void)state;
    static const rl_insn insns[] = {{.code = RL_INSN_PHILOX, .type = RL_REG_I32, .imm = 0}};
    const rl_program program = {.n_outputs = 1, .n_scalars = 2, .n_insns = 1, .output_dtype = {RL_I32}, .insns = insns};
    static uint32_t out[70 * 3 * 5];
    rl_kernel_buffer buffer;
    rl_map_job job = {.ndim = 3, .shape = {70, 3, 5}};
    rl_operand output = operand(&buffer, out, 3, job.shape);
    const rl_number scalars[] = {{.i = 5}, {.i = 9}};
    job.outputs = &output, job.scalars = scalars;
    rl_map_args args = {.size = sizeof args, .n_jobs = 1, .program = &program, .jobs = &job};
    assert_int_equal(rl_kernel_map(&host, &args), RL_OK);
    for (uint64_t i = 0; i < COUNT(out); i++)
        assert_int_equal(out[i], rl_philox_word(5, 9, i, 0));
}

/* reduce ------------------------------------------------------------------------------------------------------- */

static const uint8_t register_dtype[] = {RL_F32, RL_F64, RL_I32, RL_I64};

/* sum, max, argmin and prod of the input at once, as they are. */
typedef struct reduction {
    rl_insn in[1], out[RL_MAX_COMBINED];
    rl_program prologue, epilogue;
    rl_reduce_args args;
} reduction;

static void make_reduction(reduction *self, uint32_t dtype, const uint8_t *combiner) {
    rl_reg reg = rl_interp_dtype_reg(dtype);
    *self = (reduction){.in = {{.code = RL_INSN_INPUT, .type = (uint8_t)reg}},
                        .prologue = {.n_inputs = 1, .n_outputs = 4, .n_insns = 1, .input_dtype = {(uint8_t)dtype}},
                        .epilogue = {.n_inputs = 4, .n_outputs = 4, .n_insns = 4}};
    self->prologue.insns = self->in;
    self->epilogue.insns = self->out;
    for (int k = 0; k < 4; k++) {
        int argument = combiner[k] >= RL_COMBINE_ARGMAX;
        self->prologue.output_dtype[k] = register_dtype[reg];
        self->epilogue.input_dtype[k] = self->epilogue.output_dtype[k] = argument ? RL_I64 : register_dtype[reg];
        self->epilogue.output_value[k] = (uint8_t)k;
        self->out[k] =
            (rl_insn){.code = RL_INSN_INPUT, .type = argument ? RL_REG_I64 : (uint8_t)reg, .imm = (uint16_t)k};
        self->args.combiner[k] = combiner[k];
    }
    self->args.size = sizeof self->args;
    self->args.prologue = &self->prologue;
    self->args.epilogue = &self->epilogue;
}

/* Whether x is in front of y for ARGMAX. */
static int greater(double x, double y) {
    return isnan(x) ? !isnan(y) : x > y;
}

static double combine(int combiner, double held, double x) {
    switch (combiner) {
    case RL_COMBINE_SUM:
        return held + x;
    case RL_COMBINE_PROD:
        return held * x;
    case RL_COMBINE_MAX:
        return isnan(held) || isnan(x) ? (double)NAN : fmax(held, x);
    default:
        return isnan(held) || isnan(x) ? (double)NAN : fmin(held, x);
    }
}

/* The combiner over one kept element of a (3-d) input, element by element. */
static double naive(int combiner, const double *in, const int64_t *shape, uint32_t reduced, const int64_t *kept) {
    static const double identity[] = {0, 1, -INFINITY, INFINITY, 0, 0};
    double held = identity[combiner];
    int64_t number = 0, at = -1;
    for (int64_t i = 0; i < shape[0]; i++)
        for (int64_t j = 0; j < shape[1]; j++)
            for (int64_t k = 0; k < shape[2]; k++) {
                const int64_t index[] = {i, j, k};
                int here = 1;
                for (int d = 0; d < 3; d++)
                    here &= (reduced >> d & 1u) || index[d] == kept[d];
                if (!here)
                    continue;
                double x = in[(i * shape[1] + j) * shape[2] + k];
                if (combiner < RL_COMBINE_ARGMAX)
                    held = combine(combiner, held, x);
                else if (at < 0 || (combiner == RL_COMBINE_ARGMAX ? greater(x, held)
                                    : isnan(x)                    ? !isnan(held)
                                                                  : x < held))
                    held = x, at = number;
                number++;
            }
    return combiner < RL_COMBINE_ARGMAX ? held : (double)(at < 0 ? 0 : at);
}

static void reduce_case(uint32_t dtype, const int64_t *shape, uint32_t reduced, const uint8_t *combiner, int nans) {
    int64_t numel = shape[0] * shape[1] * shape[2], kept_shape[3], index[3];
    double *numbers = malloc((size_t)numel * 8 + 8), *in = malloc((size_t)numel * 8 + 8), *out[4];
    rl_kernel_buffer buffers[5];
    rl_operand outputs[4];
    reduction self;
    for (int64_t i = 0; i < numel; i++)
        numbers[i] = nans && i % 11 == 5 ? (double)NAN : random_number() > 0 ? 1 : trunc(random_number() / 8);
    rl_interp_store(dtype, in, 1, numel, RL_REG_F64, numbers);
    make_reduction(&self, dtype, combiner);
    rl_operand input = operand(&buffers[4], in, 3, shape);
    int64_t kept = 1;
    for (int d = 0; d < 3; d++) {
        kept_shape[d] = reduced >> d & 1u ? 1 : shape[d];
        kept *= kept_shape[d];
    }
    for (int k = 0; k < 4; k++) {
        out[k] = malloc((size_t)kept * 8 + 8);
        outputs[k] = operand(&buffers[k], out[k], 3, kept_shape);
    }
    self.args.ndim = 3, self.args.reduced = reduced;
    memcpy(self.args.shape, shape, 3 * sizeof *shape);
    self.args.inputs = &input, self.args.outputs = outputs;
    assert_int_equal(rl_kernel_reduce(&host, &self.args), RL_OK);
    for (int64_t n = 0; n < kept; n++) {
        index[0] = n / (kept_shape[1] * kept_shape[2]);
        index[1] = n / kept_shape[2] % kept_shape[1], index[2] = n % kept_shape[2];
        for (int k = 0; k < 4; k++) {
            uint32_t stored = self.epilogue.output_dtype[k];
            double found, loaded, want = naive(combiner[k], numbers, shape, reduced, index);
            rl_interp_load(stored, (char *)out[k] + (size_t)n * rl_interp_dtype_bytes(stored), 1, 1, &loaded);
            rl_interp_store(RL_F64, &found, 1, 1, rl_interp_dtype_reg(stored), &loaded);
            if (isinf(want) && stored == RL_I32)
                want = want > 0 ? (double)INT32_MAX : (double)INT32_MIN;
            if (isinf(want) && stored == RL_I64)
                want = want > 0 ? (double)INT64_MAX : (double)INT64_MIN;
            if (!(found == want || (isnan(found) && isnan(want))))
                fail_msg("dtype %u, mask %u, combiner %d, element %d: %g, expected %g", dtype, reduced, combiner[k],
                         (int)n, found, want);
        }
    }
    for (int k = 0; k < 4; k++)
        free(out[k]);
    free(numbers);
    free(in);
}

static void reduce_everything(void **state) {
    (void)state;
    static const int64_t shapes[][3] = {{4, 3, 5}, {50, 2, 3}, {2, 3, 300}, {3, 270, 2}, {0, 3, 2}, {3, 2, 0}};
    static const uint32_t dtypes[] = {RL_F32, RL_F64, RL_I32, RL_I64};
    static const uint8_t first[] = {RL_COMBINE_SUM, RL_COMBINE_MAX, RL_COMBINE_ARGMAX, RL_COMBINE_MIN};
    static const uint8_t second[] = {RL_COMBINE_MIN, RL_COMBINE_ARGMIN, RL_COMBINE_SUM, RL_COMBINE_MAX};
    for (int s = 0; s < COUNT(shapes); s++)
        for (uint32_t mask = 0; mask < 8; mask++)
            for (int t = 0; t < COUNT(dtypes); t++) {
                reduce_case(dtypes[t], shapes[s], mask, first, 0);
                reduce_case(dtypes[t], shapes[s], mask, second, t < 2);
            }
    static const uint8_t product[] = {RL_COMBINE_PROD, RL_COMBINE_PROD, RL_COMBINE_MIN, RL_COMBINE_ARGMAX};
    static const int64_t small[] = {2, 3, 4};
    for (int t = 0; t < COUNT(dtypes); t++)
        reduce_case(dtypes[t], small, 5, product, 0);
}

/* matmul ------------------------------------------------------------------------------------------------------- */

typedef struct matmul_case {
    int64_t m, n, k;
    int transposed; /* bit 0: a, bit 1: b, bit 2: c */
    double alpha, beta;
} matmul_case;

static void set_matrix(rl_operand *self, int64_t rows, int64_t columns, int transposed) {
    self->stride[0] = rows * columns;
    self->stride[1] = transposed ? 1 : columns;
    self->stride[2] = transposed ? rows : 1;
}

static void fill_elements(uint32_t dtype, void *to, double *numbers, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        double loaded, x = dtype == RL_BOOL ? random_number() > 8 : trunc(random_number() / 4);
        char *at = (char *)to + (size_t)i * rl_interp_dtype_bytes(dtype);
        rl_interp_store(dtype, at, 1, 1, RL_REG_F64, &x); /* what is stored, is expected: u8 has wrapped */
        rl_interp_load(dtype, at, 1, 1, &loaded);
        rl_interp_store(RL_F64, &numbers[i], 1, 1, rl_interp_dtype_reg(dtype), &loaded);
    }
}

static void matmul_case_of(uint32_t dtype, matmul_case c) {
    enum { BATCH = 2 };
    int64_t sizes[] = {BATCH * c.m * c.k, BATCH * c.k * c.n, BATCH * c.m * c.n};
    double *numbers[3];
    void *data[3];
    rl_kernel_buffer buffers[3];
    for (int i = 0; i < 3; i++) {
        numbers[i] = malloc((size_t)sizes[i] * 8 + 8);
        data[i] = malloc((size_t)sizes[i] * 8 + 8);
        fill_elements(dtype, data[i], numbers[i], sizes[i]);
        buffers[i].data = data[i];
    }
    rl_matmul_args args = {.size = sizeof args,
                           .dtype = dtype,
                           .batch_ndim = 1,
                           .batch_shape = {BATCH},
                           .m = c.m,
                           .n = c.n,
                           .k = c.k,
                           .alpha = c.alpha,
                           .beta = c.beta};
    args.a.buffer = (rl_backend_buffer *)(void *)&buffers[0];
    args.b.buffer = (rl_backend_buffer *)(void *)&buffers[1];
    args.c.buffer = (rl_backend_buffer *)(void *)&buffers[2];
    set_matrix(&args.a, c.m, c.k, c.transposed & 1);
    set_matrix(&args.b, c.k, c.n, c.transposed & 2);
    set_matrix(&args.c, c.m, c.n, c.transposed & 4);
    assert_int_equal(rl_kernel_matmul(&host, &args), RL_OK);
    for (int64_t b = 0; b < BATCH; b++)
        for (int64_t i = 0; i < c.m; i++)
            for (int64_t j = 0; j < c.n; j++) {
                double sum = 0, want, found, loaded;
                int64_t at = b * args.c.stride[0] + i * args.c.stride[1] + j * args.c.stride[2];
                for (int64_t p = 0; p < c.k; p++)
                    sum += numbers[0][b * args.a.stride[0] + i * args.a.stride[1] + p * args.a.stride[2]] *
                           numbers[1][b * args.b.stride[0] + p * args.b.stride[1] + j * args.b.stride[2]];
                sum = c.alpha * sum + (c.beta != 0 ? c.beta * numbers[2][at] : 0);
                rl_interp_store(dtype, &loaded, 1, 1, RL_REG_F64, &sum);
                rl_interp_load(dtype, &loaded, 1, 1, &found);
                rl_interp_store(RL_F64, &want, 1, 1, rl_interp_dtype_reg(dtype), &found);
                rl_interp_load(dtype, (char *)data[2] + (size_t)at * rl_interp_dtype_bytes(dtype), 1, 1, &loaded);
                rl_interp_store(RL_F64, &found, 1, 1, rl_interp_dtype_reg(dtype), &loaded);
                if (found != want)
                    fail_msg("dtype %u, (%d, %d, %d), transposed %d: %g, expected %g", dtype, (int)c.m, (int)c.n,
                             (int)c.k, c.transposed, found, want);
            }
    for (int i = 0; i < 3; i++) {
        free(numbers[i]);
        free(data[i]);
    }
}

static void matmul_everything(void **state) {
    (void)state;
    static const int64_t sizes[][3] = {{1, 1, 1}, {3, 5, 7}, {130, 3, 129}, {2, 200, 6}, {3, 4, 0}, {0, 4, 3}};
    for (uint32_t dtype = RL_F32; dtype < RL_DTYPE_COUNT; dtype++)
        for (int s = 0; s < COUNT(sizes); s++)
            for (int transposed = 0; transposed < 8; transposed++) {
                matmul_case c = {sizes[s][0], sizes[s][1], sizes[s][2], transposed, 1, 0};
                matmul_case_of(dtype, c);
                c.alpha = 2, c.beta = transposed & 1 ? 3 : 0;
                matmul_case_of(dtype, c);
            }
}

static void matmul_in_place(void **state) {
    (void)state;
    float a[] = {1, 2, 3, 4}, b[] = {5, 6, 7, 8};
    const int64_t shape[] = {2, 2};
    rl_kernel_buffer buffers[2];
    rl_matmul_args args = {.size = sizeof args, .dtype = RL_F32, .m = 2, .n = 2, .k = 2, .alpha = 1};
    args.a = operand(&buffers[0], a, 2, shape);
    args.b = args.c = operand(&buffers[1], b, 2, shape);
    assert_int_equal(rl_kernel_matmul(&host, &args), RL_OK);
    assert_true(b[0] == 19 && b[1] == 22 && b[2] == 43 && b[3] == 50);
    args.dtype = 99;
    assert_int_equal(rl_kernel_matmul(&host, &args), RL_UNSUPPORTED);
    assert_string_equal(sentence, "matmul: dtype 99 is not known to this backend");
}

/* gather and scatter ------------------------------------------------------------------------------------------- */

static void gather_rows(void **state) {
    (void)state;
    for (uint32_t dtype = RL_F32; dtype < RL_DTYPE_COUNT; dtype++) {
        size_t bytes = rl_interp_dtype_bytes(dtype);
        unsigned char in[5 * 3 * 8], out[4 * 3 * 8];
        int32_t index[4] = {4, 0, 0, 2};
        const int64_t in_shape[] = {5, 3};
        rl_kernel_buffer buffers[3];
        rl_gather_args args = {.size = sizeof args,
                               .dtype = dtype,
                               .index_dtype = RL_I32,
                               .dim = 0,
                               .ndim = 2,
                               .shape = {4, 3},
                               .dim_size = 5};
        for (size_t i = 0; i < sizeof in; i++)
            in[i] = (unsigned char)i;
        args.in = operand(&buffers[0], in, 2, in_shape);
        args.out = operand(&buffers[1], out, 2, args.shape);
        args.index = operand(&buffers[2], index, 2, args.shape);
        args.index.stride[0] = 1, args.index.stride[1] = 0;
        assert_int_equal(rl_kernel_gather(&host, &args), RL_OK);
        for (int i = 0; i < 4; i++)
            assert_memory_equal(out + (size_t)i * 3 * bytes, in + (size_t)index[i] * 3 * bytes, 3 * bytes);
    }
}

static void bad_indices_are_skipped(void **state) {
    (void)state;
    float in[] = {10, 20, 30}, out[] = {1, 2, 3};
    int64_t index[] = {2, 3, 0};
    const int64_t shape[] = {3};
    rl_kernel_buffer buffers[3];
    rl_gather_args gather = {
        .size = sizeof gather, .dtype = RL_F32, .index_dtype = RL_I64, .ndim = 1, .shape = {3}, .dim_size = 3};
    gather.in = operand(&buffers[0], in, 1, shape);
    gather.out = operand(&buffers[1], out, 1, shape);
    gather.index = operand(&buffers[2], index, 1, shape);
    assert_int_equal(rl_kernel_gather(&host, &gather), RL_INDEX_OUT_OF_RANGE);
    assert_string_equal(sentence, "gather: index 3 is out of range for size 3");
    assert_true(out[0] == 30 && out[1] == 2 && out[2] == 10);
    index[1] = -1;
    rl_scatter_args scatter = {.size = sizeof scatter,
                               .dtype = RL_F32,
                               .index_dtype = RL_I64,
                               .ndim = 1,
                               .shape = {3},
                               .dim_size = 3,
                               .mode = RL_SCATTER_ADD};
    scatter.in = gather.in, scatter.out = gather.out, scatter.index = gather.index;
    assert_int_equal(rl_kernel_scatter(&host, &scatter), RL_INDEX_OUT_OF_RANGE);
    assert_string_equal(sentence, "scatter: index -1 is out of range for size 3");
    assert_true(out[0] == 60 && out[1] == 2 && out[2] == 20);
    gather.index_dtype = RL_F32;
    assert_int_equal(rl_kernel_gather(&host, &gather), RL_UNSUPPORTED);
}

static void gather_in_place(void **state) {
    (void)state;
    int64_t data[] = {3, 2, 1, 0};
    rl_kernel_buffer buffer;
    rl_gather_args args = {
        .size = sizeof args, .dtype = RL_I64, .index_dtype = RL_I64, .ndim = 1, .shape = {4}, .dim_size = 4};
    args.in = args.index = args.out = operand(&buffer, data, 1, args.shape);
    assert_int_equal(rl_kernel_gather(&host, &args), RL_OK);
    for (int64_t i = 0; i < 4; i++)
        assert_int_equal(data[i], i);
}

static void scatter_modes(void **state) {
    (void)state;
    static const double want[][2] = {{4, 3}, {2 + 1 + 4, 5 + 3}, {2 * 1 * 4, 5 * 3}, {4, 5}, {1, 3}};
    for (uint32_t dtype = RL_F32; dtype < RL_BOOL; dtype++)
        for (uint32_t mode = 0; mode <= RL_SCATTER_MIN; mode++) {
            const double in_numbers[] = {1, 3, 4}, out_numbers[] = {2, 5};
            double in[3], out[2], loaded[2], found[2];
            int64_t index[] = {0, 1, 0};
            const int64_t out_shape[] = {2};
            rl_kernel_buffer buffers[3];
            rl_interp_store(dtype, in, 1, 3, RL_REG_F64, in_numbers);
            rl_interp_store(dtype, out, 1, 2, RL_REG_F64, out_numbers);
            rl_scatter_args args = {.size = sizeof args,
                                    .dtype = dtype,
                                    .index_dtype = RL_I64,
                                    .ndim = 1,
                                    .shape = {3},
                                    .dim_size = 2,
                                    .mode = mode};
            args.in = operand(&buffers[0], in, 1, args.shape);
            args.out = operand(&buffers[1], out, 1, out_shape);
            args.index = operand(&buffers[2], index, 1, args.shape);
            assert_int_equal(rl_kernel_scatter(&host, &args), RL_OK);
            rl_interp_load(dtype, out, 1, 2, loaded);
            rl_interp_store(RL_F64, found, 1, 2, rl_interp_dtype_reg(dtype), loaded);
            assert_true(found[0] == want[mode][0] && found[1] == want[mode][1]);
        }
}

/* scan, sort, softmax ------------------------------------------------------------------------------------------ */

static void scan_columns(void **state) {
    (void)state;
    const double in[] = {1, 5, 3, 5, NAN, 9, 2, -4, 7, 5}; /* (5, 2) along dim 0 */
    double out[10];
    int64_t indices[10];
    rl_kernel_buffer buffers[3];
    rl_scan_args args = {.size = sizeof args, .dtype = RL_F64, .dim = 0, .ndim = 2, .shape = {5, 2}, .has_indices = 1};
    double copy[10];
    memcpy(copy, in, sizeof in);
    args.in = operand(&buffers[0], copy, 2, args.shape);
    args.out = operand(&buffers[1], out, 2, args.shape);
    args.indices = operand(&buffers[2], indices, 2, args.shape);
    args.op = RL_SCAN_MAX;
    assert_int_equal(rl_kernel_scan(&host, &args), RL_OK);
    static const int64_t max_index[] = {0, 0, 1, 1, 2, 2, 2, 2, 2, 2};
    assert_memory_equal(indices, max_index, sizeof indices);
    assert_true(out[2] == 3 && isnan(out[4]) && isnan(out[8]) && out[3] == 5 && out[9] == 9);
    args.op = RL_SCAN_SUM, args.has_indices = 0;
    assert_int_equal(rl_kernel_scan(&host, &args), RL_OK);
    assert_true(out[2] == 4 && isnan(out[4]) && out[9] == 20);
    args.op = RL_SCAN_PROD;
    assert_int_equal(rl_kernel_scan(&host, &args), RL_OK);
    assert_true(out[9] == 5 * 5 * 9 * -4 * 5);
    args.op = RL_SCAN_LOGSUMEXP;
    assert_int_equal(rl_kernel_scan(&host, &args), RL_OK);
    assert_true(fabs(out[9] - log(3 * exp(5) + exp(9) + exp(-4))) < 1e-12 && isnan(out[8]));
    for (int i = 0; i < 10; i++)
        copy[i] = -INFINITY;
    assert_int_equal(rl_kernel_scan(&host, &args), RL_OK);
    assert_true(isinf(out[9]) && out[9] < 0);
    args.dtype = RL_I64;
    assert_int_equal(rl_kernel_scan(&host, &args), RL_UNSUPPORTED);
}

static void scan_integers(void **state) {
    (void)state;
    int8_t in[] = {100, 100, -3, 100}, out[4];
    rl_kernel_buffer buffers[2];
    rl_scan_args args = {.size = sizeof args, .dtype = RL_I8, .ndim = 1, .shape = {4}, .op = RL_SCAN_SUM};
    args.in = operand(&buffers[0], in, 1, args.shape);
    args.out = operand(&buffers[1], out, 1, args.shape);
    assert_int_equal(rl_kernel_scan(&host, &args), RL_OK);
    assert_true(out[0] == 100 && out[1] == (int8_t)200 && out[2] == (int8_t)197 && out[3] == 41);
    args.op = RL_SCAN_MIN;
    assert_int_equal(rl_kernel_scan(&host, &args), RL_OK);
    assert_true(out[1] == 100 && out[2] == -3 && out[3] == -3);
}

static void sort_is_stable(void **state) {
    (void)state;
    static const float numbers[] = {3, -0.0f, NAN, 0, 3, -INFINITY, INFINITY, -2.5f, NAN};
    static const int64_t ascending[] = {5, 7, 1, 3, 0, 4, 6, 2, 8}, descending[] = {2, 8, 6, 0, 4, 1, 3, 7, 5};
    float in[9];
    int64_t indices[9];
    rl_kernel_buffer buffers[2];
    rl_sort_args args = {.size = sizeof args, .dtype = RL_F32, .ndim = 1, .shape = {9}};
    args.indices = operand(&buffers[1], indices, 1, args.shape);
    for (uint32_t down = 0; down < 2; down++) {
        memcpy(in, numbers, sizeof in);
        args.in = args.values = operand(&buffers[0], in, 1, args.shape); /* in place */
        args.descending = down;
        assert_int_equal(rl_kernel_sort(&host, &args), RL_OK);
        assert_memory_equal(indices, down ? descending : ascending, sizeof indices);
        for (int i = 0; i < 9; i++)
            assert_memory_equal(&in[i], &numbers[indices[i]], sizeof *in);
    }
    no_scratch = 1;
    assert_int_equal(rl_kernel_sort(&host, &args), RL_OUT_OF_MEMORY);
    no_scratch = 0;
}

static void sort_wide_integers(void **state) {
    (void)state;
    int64_t in[] = {INT64_MAX, INT64_MAX - 1, INT64_MIN, -1, 0}, out[5], indices[5];
    static const int64_t order[] = {2, 3, 4, 1, 0};
    rl_kernel_buffer buffers[3];
    rl_sort_args args = {.size = sizeof args, .dtype = RL_I64, .ndim = 1, .shape = {5}};
    args.in = operand(&buffers[0], in, 1, args.shape);
    args.values = operand(&buffers[1], out, 1, args.shape);
    args.indices = operand(&buffers[2], indices, 1, args.shape);
    assert_int_equal(rl_kernel_sort(&host, &args), RL_OK);
    assert_memory_equal(indices, order, sizeof order);
}

static void softmax_rows(void **state) {
    (void)state;
    double x[] = {1000, 1001, -5, 0.5, 0.25, -INFINITY}, y[6], grad[] = {1, 2, 3, 4, 5, 6}, back[6];
    rl_kernel_buffer buffers[4];
    for (uint32_t logarithm = 0; logarithm < 2; logarithm++) {
        rl_softmax_args args = {
            .size = sizeof args, .dtype = RL_F64, .dim = 1, .log = logarithm, .ndim = 2, .shape = {2, 3}};
        args.in = operand(&buffers[0], x, 2, args.shape);
        args.out = operand(&buffers[1], y, 2, args.shape);
        assert_int_equal(rl_kernel_softmax(&host, &args), RL_OK);
        rl_softmax_backward_args backward = {.size = sizeof backward,
                                             .dtype = RL_F64,
                                             .dim = 1,
                                             .log = logarithm,
                                             .ndim = 2,
                                             .shape = {2, 3},
                                             .out = args.out};
        backward.grad_out = operand(&buffers[2], grad, 2, args.shape);
        backward.grad_in = operand(&buffers[3], back, 2, args.shape);
        assert_int_equal(rl_kernel_softmax_backward(&host, &backward), RL_OK);
        for (int row = 0; row < 6; row += 3) {
            double most = fmax(x[row], x[row + 1]), sum = 0, dot = 0, p[3];
            for (int i = 0; i < 3; i++)
                sum += exp(x[row + i] - most);
            for (int i = 0; i < 3; i++) {
                p[i] = exp(x[row + i] - most) / sum;
                dot += grad[row + i] * (logarithm ? 1 : p[i]);
            }
            for (int i = 0; i < 3; i++) {
                double want = logarithm ? x[row + i] - most - log(sum) : p[i];
                double gradient = logarithm ? grad[row + i] - p[i] * dot : p[i] * (grad[row + i] - dot);
                assert_true(y[row + i] == want || fabs(y[row + i] - want) < 1e-12);
                assert_true(fabs(back[row + i] - gradient) < 1e-12);
            }
        }
    }
    rl_softmax_args bad = {.size = sizeof bad, .dtype = RL_I32};
    assert_int_equal(rl_kernel_softmax(&host, &bad), RL_UNSUPPORTED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(map_strides),
        cmocka_unit_test(map_swaps),
        cmocka_unit_test(map_random_order),
        cmocka_unit_test(reduce_everything),
        cmocka_unit_test(matmul_everything),
        cmocka_unit_test(matmul_in_place),
        cmocka_unit_test(gather_rows),
        cmocka_unit_test(gather_in_place),
        cmocka_unit_test(bad_indices_are_skipped),
        cmocka_unit_test(scatter_modes),
        cmocka_unit_test(scan_columns),
        cmocka_unit_test(scan_integers),
        cmocka_unit_test(sort_is_stable),
        cmocka_unit_test(sort_wide_integers),
        cmocka_unit_test(softmax_rows),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
