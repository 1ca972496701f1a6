/* SPDX-License-Identifier: Apache-2.0 */
/* Primitives 4 and 5, gather and scatter, an element at a time. A bad index is skipped and told at the end. */
#include <string.h>

#include "kernels_walk.h"

static int64_t index_at(uint32_t dtype, const unsigned char *at) {
    int64_t wide = 0;
    int32_t narrow;
    if (dtype == RL_I64) {
        memcpy(&wide, at, sizeof wide);
        return wide;
    }
    memcpy(&narrow, at, sizeof narrow);
    return narrow;
}

/* The first bad index of a call. */
typedef struct bad_index {
    int found;
    int64_t value;
} bad_index;

static int check(bad_index *self, int64_t index, int64_t size) {
    if (index >= 0 && index < size)
        return 1;
    if (!self->found)
        *self = (bad_index){1, index};
    return 0;
}

/* Not in which dimension: the caller's are other ones, before they were ordered and merged. */
static rl_status result(const rl_host *host, const char *kernel, const bad_index *bad, int64_t size) {
    if (!bad->found)
        return RL_OK;
    return host->fail(RL_INDEX_OUT_OF_RANGE, "%s: index %lld is out of range for size %lld", kernel,
                      (long long)bad->value, (long long)size);
}

rl_status rl_kernel_fail_index(const rl_host *host, const char *kernel, const rl_operand *index, uint32_t index_dtype,
                               int64_t ndim, const int64_t *shape, int64_t size) {
    bad_index bad = {0};
    int64_t at[RL_MAX_DIMS] = {0};
    size_t bytes = rl_interp_dtype_bytes(index_dtype);
    do
        (void)check(&bad, index_at(index_dtype, rl_at(index, bytes, ndim, at, 0)), size);
    while (!bad.found && rl_next_index(ndim, shape, 0, at));
    return bad.found ? result(host, kernel, &bad, size)
                     : host->fail(RL_INDEX_OUT_OF_RANGE, "%s: an index is out of range for size %lld", kernel,
                                  (long long)size);
}

static rl_status check_dtypes(const rl_host *host, const char *kernel, uint32_t dtype, uint32_t index_dtype) {
    if (index_dtype != RL_I32 && index_dtype != RL_I64)
        return host->fail(RL_UNSUPPORTED, "%s: indices of dtype %u, expected int32 or int64", kernel,
                          (unsigned)index_dtype);
    return rl_check_kernel_dtype(host, kernel, dtype);
}

/* Gather ------------------------------------------------------------------------------------------------------- */

/* A line along dim is set aside before it is written: out may be the very memory of in or index. */
static void gather_lines(const rl_gather_args *args, size_t bytes, unsigned char *line, bad_index *bad) {
    int64_t index[RL_MAX_DIMS] = {0}, length = args->shape[args->dim];
    uint32_t along = 1u << args->dim;
    size_t index_bytes = rl_interp_dtype_bytes(args->index_dtype);
    int64_t in_step = args->in.stride[args->dim] * (int64_t)bytes;
    int64_t out_step = args->out.stride[args->dim] * (int64_t)bytes;
    int64_t index_step = args->index.stride[args->dim] * (int64_t)index_bytes;
    do {
        const unsigned char *in = rl_at(&args->in, bytes, args->ndim, index, 0);
        const unsigned char *at = rl_at(&args->index, index_bytes, args->ndim, index, 0);
        unsigned char *out = rl_at(&args->out, bytes, args->ndim, index, 0);
        for (int64_t i = 0; i < length; i++) {
            int64_t from = index_at(args->index_dtype, at + i * index_step);
            int good = check(bad, from, args->dim_size);
            memcpy(line + i * (int64_t)bytes, good ? in + from * in_step : out + i * out_step, bytes);
        }
        for (int64_t i = 0; i < length; i++)
            memcpy(out + i * out_step, line + i * (int64_t)bytes, bytes);
    } while (rl_next_index(args->ndim, args->shape, along, index));
}

static void gather_elements(const rl_gather_args *args, size_t bytes, bad_index *bad) {
    int64_t index[RL_MAX_DIMS] = {0}, last = args->ndim - 1, dim = args->dim;
    size_t index_bytes = rl_interp_dtype_bytes(args->index_dtype);
    int64_t in_step = last == dim ? 0 : args->in.stride[last] * (int64_t)bytes;
    int64_t out_step = args->out.stride[last] * (int64_t)bytes, dim_step = args->in.stride[dim] * (int64_t)bytes;
    int64_t index_step = args->index.stride[last] * (int64_t)index_bytes;
    do {
        const unsigned char *in = rl_at(&args->in, bytes, args->ndim, index, 1u << dim);
        const unsigned char *at = rl_at(&args->index, index_bytes, args->ndim, index, 0);
        unsigned char *out = rl_at(&args->out, bytes, args->ndim, index, 0);
        for (int64_t i = 0; i < args->shape[last]; i++) {
            int64_t from = index_at(args->index_dtype, at + i * index_step);
            if (!check(bad, from, args->dim_size))
                continue;
            const unsigned char *source = in + i * in_step + from * dim_step;
            switch (bytes) { /* a copy of known size is one instruction */
            case 4:
                memcpy(out + i * out_step, source, 4);
                break;
            case 8:
                memcpy(out + i * out_step, source, 8);
                break;
            default:
                memcpy(out + i * out_step, source, bytes);
            }
        }
    } while (rl_next_index(args->ndim, args->shape, 1u << last, index));
}

rl_status rl_kernel_gather(const rl_host *host, const rl_gather_args *args) {
    bad_index bad = {0};
    size_t bytes = rl_interp_dtype_bytes(args->dtype);
    rl_status status = check_dtypes(host, "gather", args->dtype, args->index_dtype);
    if (status)
        return status;
    if (rl_numel(args->ndim, args->shape) == 0)
        return RL_OK;
    if (rl_same_place(&args->out, &args->in) || rl_same_place(&args->out, &args->index)) {
        unsigned char *line = rl_scratch(host, (size_t)args->shape[args->dim] * bytes, "gather");
        if (!line)
            return RL_OUT_OF_MEMORY;
        gather_lines(args, bytes, line, &bad);
    } else {
        gather_elements(args, bytes, &bad);
    }
    return result(host, "gather", &bad, args->dim_size);
}

/* Scatter ------------------------------------------------------------------------------------------------------ */

static double combine_floats(uint32_t mode, double a, double b) {
    switch (mode) {
    case RL_SCATTER_ADD:
        return a + b;
    case RL_SCATTER_MUL:
        return a * b;
    case RL_SCATTER_MAX:
        return a > b || a != a ? a : b;
    default:
        return a < b || a != a ? a : b;
    }
}

static int64_t combine_integers(uint32_t mode, int64_t a, int64_t b) {
    switch (mode) {
    case RL_SCATTER_ADD:
        return (int64_t)((uint64_t)a + (uint64_t)b);
    case RL_SCATTER_MUL:
        return (int64_t)((uint64_t)a * (uint64_t)b);
    case RL_SCATTER_MAX:
        return a > b ? a : b;
    default:
        return a < b ? a : b;
    }
}

/* *out op= *in, through the register; a sum of bools is stored as x != 0, so ADD is or. */
static void combine(uint32_t dtype, uint32_t mode, unsigned char *out, const unsigned char *in) {
    union {
        float f32;
        double f64;
        int32_t i32;
        int64_t i64;
    } a, b;
    rl_reg reg = rl_interp_dtype_reg(dtype);
    rl_interp_load(dtype, out, 1, 1, &a);
    rl_interp_load(dtype, in, 1, 1, &b);
    switch (reg) {
    case RL_REG_F32: /* one operation in double, rounded to float, is the operation in float */
        a.f32 = (float)combine_floats(mode, (double)a.f32, (double)b.f32);
        break;
    case RL_REG_F64:
        a.f64 = combine_floats(mode, a.f64, b.f64);
        break;
    case RL_REG_I32:
        a.i32 = (int32_t)combine_integers(mode, a.i32, b.i32);
        break;
    case RL_REG_I64:
        a.i64 = combine_integers(mode, a.i64, b.i64);
        break;
    }
    rl_interp_store(dtype, out, 1, 1, reg, &a);
}

static void scatter_elements(const rl_scatter_args *args, size_t bytes, bad_index *bad) {
    int64_t index[RL_MAX_DIMS] = {0}, dim = args->dim;
    size_t index_bytes = rl_interp_dtype_bytes(args->index_dtype);
    int64_t dim_step = args->out.stride[dim] * (int64_t)bytes;
    do {
        int64_t to = index_at(args->index_dtype, rl_at(&args->index, index_bytes, args->ndim, index, 0));
        if (!check(bad, to, args->dim_size))
            continue;
        const unsigned char *in = rl_at(&args->in, bytes, args->ndim, index, 0);
        unsigned char *out = rl_at(&args->out, bytes, args->ndim, index, 1u << dim) + to * dim_step;
        if (args->mode == RL_SCATTER_SET)
            memmove(out, in, bytes);
        else
            combine(args->dtype, args->mode, out, in);
    } while (rl_next_index(args->ndim, args->shape, 0, index));
}

rl_status rl_kernel_scatter(const rl_host *host, const rl_scatter_args *args) {
    bad_index bad = {0};
    rl_status status = check_dtypes(host, "scatter", args->dtype, args->index_dtype);
    if (status)
        return status;
    if (args->mode > RL_SCATTER_MIN)
        return host->fail(RL_UNSUPPORTED, "scatter: mode %u is not known to this backend", (unsigned)args->mode);
    if (rl_numel(args->ndim, args->shape))
        scatter_elements(args, rl_interp_dtype_bytes(args->dtype), &bad);
    return result(host, "scatter", &bad, args->dim_size);
}
