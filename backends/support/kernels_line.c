/* SPDX-License-Identifier: Apache-2.0 */
/* What works on a line along one dimension at a time: primitives 6 and 7, scan and sort, and the softmax rows. */
#include <math.h>
#include <string.h>

#include "kernels_walk.h"

static double load_float(uint32_t dtype, const unsigned char *at) {
    double wide;
    float narrow;
    if (dtype == RL_F64) {
        memcpy(&wide, at, sizeof wide);
        return wide;
    }
    rl_interp_load(dtype, at, 1, 1, &narrow);
    return (double)narrow;
}
static int64_t load_integer(uint32_t dtype, const unsigned char *at) {
    int64_t wide;
    int32_t narrow;
    if (dtype == RL_I64) {
        memcpy(&wide, at, sizeof wide);
        return wide;
    }
    rl_interp_load(dtype, at, 1, 1, &narrow);
    return narrow;
}
static void store_float(uint32_t dtype, unsigned char *at, double value) {
    rl_interp_store(dtype, at, 1, 1, RL_REG_F64, &value);
}
static void store_integer(uint32_t dtype, unsigned char *at, int64_t value) {
    rl_interp_store(dtype, at, 1, 1, RL_REG_I64, &value);
}

static int is_float(uint32_t dtype) {
    rl_reg reg = rl_interp_dtype_reg(dtype);
    return reg == RL_REG_F32 || reg == RL_REG_F64;
}

/* Scan --------------------------------------------------------------------------------------------------------- */

/* log(e^a + e^b) without overflow; NaN if either is. */
static double log_add(double a, double b) {
    double high = a > b ? a : b, low = a > b ? b : a;
    if (a != a || b != b)
        return a + b;
    return isinf(high) ? high : high + log1p(exp(low - high));
}

static double scan_floats(uint32_t op, double held, double x) {
    switch (op) {
    case RL_SCAN_SUM:
        return held + x;
    case RL_SCAN_PROD:
        return held * x;
    case RL_SCAN_LOGSUMEXP:
        return log_add(held, x);
    case RL_SCAN_MAX: /* the last among equals; a NaN stays */
        return held != held || !(x >= held || x != x) ? held : x;
    default:
        return held != held || !(x <= held || x != x) ? held : x;
    }
}

static int64_t scan_integers(uint32_t op, int64_t held, int64_t x) {
    switch (op) {
    case RL_SCAN_SUM:
        return (int64_t)((uint64_t)held + (uint64_t)x);
    case RL_SCAN_PROD:
        return (int64_t)((uint64_t)held * (uint64_t)x);
    case RL_SCAN_MAX:
        return x >= held ? x : held;
    default:
        return x <= held ? x : held;
    }
}

/* Whether MAX or MIN holds x from now on, and with it x's index. */
static int float_taken(uint32_t op, double held, double x) {
    return held == held && (x != x || (op == RL_SCAN_MAX ? x >= held : x <= held));
}
static int integer_taken(uint32_t op, int64_t held, int64_t x) {
    return op == RL_SCAN_MAX ? x >= held : x <= held;
}

static void scan_line(const rl_scan_args *args, size_t bytes, const int64_t *index) {
    const unsigned char *in = rl_at(&args->in, bytes, args->ndim, index, 0);
    unsigned char *out = rl_at(&args->out, bytes, args->ndim, index, 0);
    unsigned char *held_at = args->has_indices ? rl_at(&args->indices, 8, args->ndim, index, 0) : NULL;
    int64_t in_step = args->in.stride[args->dim] * (int64_t)bytes;
    int64_t out_step = args->out.stride[args->dim] * (int64_t)bytes, held_index = 0, integer = 0;
    double number = 0;
    for (int64_t i = 0; i < args->shape[args->dim]; i++, in += in_step, out += out_step) {
        int taken;
        if (is_float(args->dtype)) {
            double x = load_float(args->dtype, in);
            taken = float_taken(args->op, number, x);
            number = i ? scan_floats(args->op, number, x) : x;
            store_float(args->dtype, out, number);
        } else {
            int64_t x = load_integer(args->dtype, in);
            taken = integer_taken(args->op, integer, x);
            integer = i ? scan_integers(args->op, integer, x) : x;
            integer = rl_interp_dtype_reg(args->dtype) == RL_REG_I32 ? (int32_t)integer : integer;
            store_integer(args->dtype, out, integer);
        }
        held_index = i == 0 || taken ? i : held_index;
        if (held_at)
            memcpy(held_at + i * args->indices.stride[args->dim] * 8, &held_index, sizeof held_index);
    }
}

rl_status rl_kernel_scan(const rl_host *host, const rl_scan_args *args) {
    rl_status status = rl_check_kernel_dtype(host, "scan", args->dtype);
    int64_t index[RL_MAX_DIMS] = {0};
    if (status)
        return status;
    if (args->op > RL_SCAN_LOGSUMEXP || (args->op == RL_SCAN_LOGSUMEXP && !is_float(args->dtype)))
        return host->fail(RL_UNSUPPORTED, "scan: op %u of dtype %u is not known to this backend", (unsigned)args->op,
                          (unsigned)args->dtype);
    if (rl_numel(args->ndim, args->shape) == 0)
        return RL_OK;
    do
        scan_line(args, rl_interp_dtype_bytes(args->dtype), index);
    while (rl_next_index(args->ndim, args->shape, 1u << args->dim, index));
    return RL_OK;
}

/* Sort --------------------------------------------------------------------------------------------------------- */

typedef struct sort_entry {
    uint64_t key; /* orders as the elements do */
    int64_t index;
} sort_entry;

/* Unsigned integers in the elements' order: the sign bit flipped, and of negative floats all bits. -0 is 0, and every
 * NaN the same, above infinity. Descending order flips all of them. */
static uint64_t sort_key(const rl_sort_args *args, const unsigned char *at) {
    uint64_t key;
    if (is_float(args->dtype)) {
        double x = load_float(args->dtype, at);
        x = x == 0 ? 0 : x;
        memcpy(&key, &x, sizeof key);
        key = x != x ? UINT64_MAX : key >> 63 ? ~key : key | (uint64_t)1 << 63;
    } else {
        key = (uint64_t)load_integer(args->dtype, at) ^ (uint64_t)1 << 63;
    }
    return args->descending ? ~key : key;
}

/* Merges the sorted runs [0, middle) and [middle, n); of equals those of the first come first. */
static void merge(const sort_entry *from, int64_t middle, int64_t n, sort_entry *to) {
    int64_t i = 0, j = middle;
    while (i < middle && j < n)
        *to++ = from[j].key < from[i].key ? from[j++] : from[i++];
    while (i < middle)
        *to++ = from[i++];
    while (j < n)
        *to++ = from[j++];
}

/* Merge sort from the bottom up; returns the one of both arrays that holds the result. */
static const sort_entry *sort_entries(sort_entry *entries, sort_entry *spare, int64_t n) {
    for (int64_t run = 1; run < n; run *= 2) {
        for (int64_t first = 0; first < n; first += 2 * run) {
            int64_t rest = n - first;
            merge(entries + first, run < rest ? run : rest, 2 * run < rest ? 2 * run : rest, spare + first);
        }
        sort_entry *swap = entries;
        entries = spare;
        spare = swap;
    }
    return entries;
}

/* `memory`: two arrays of entries, and the elements themselves, as values may lie over in. */
static void sort_line(const rl_sort_args *args, size_t bytes, const int64_t *index, unsigned char *memory) {
    int64_t n = args->shape[args->dim];
    const unsigned char *in = rl_at(&args->in, bytes, args->ndim, index, 0);
    unsigned char *values = rl_at(&args->values, bytes, args->ndim, index, 0);
    unsigned char *indices = rl_at(&args->indices, 8, args->ndim, index, 0);
    sort_entry *entries = (sort_entry *)(void *)memory;
    unsigned char *elements = memory + 2 * (size_t)n * sizeof *entries;
    for (int64_t i = 0; i < n; i++) {
        const unsigned char *at = in + i * args->in.stride[args->dim] * (int64_t)bytes;
        entries[i] = (sort_entry){sort_key(args, at), i};
        memcpy(elements + i * (int64_t)bytes, at, bytes);
    }
    const sort_entry *sorted = sort_entries(entries, entries + n, n);
    for (int64_t i = 0; i < n; i++) {
        memcpy(values + i * args->values.stride[args->dim] * (int64_t)bytes,
               elements + sorted[i].index * (int64_t)bytes, bytes);
        memcpy(indices + i * args->indices.stride[args->dim] * 8, &sorted[i].index, 8);
    }
}

rl_status rl_kernel_sort(const rl_host *host, const rl_sort_args *args) {
    rl_status status = rl_check_kernel_dtype(host, "sort", args->dtype);
    int64_t index[RL_MAX_DIMS] = {0};
    size_t bytes = rl_interp_dtype_bytes(args->dtype);
    if (status)
        return status;
    if (rl_numel(args->ndim, args->shape) == 0)
        return RL_OK;
    size_t line = (size_t)args->shape[args->dim] * (2 * sizeof(sort_entry) + bytes);
    unsigned char *memory = rl_scratch(host, line, "sort");
    if (!memory)
        return RL_OUT_OF_MEMORY;
    do
        sort_line(args, bytes, index, memory);
    while (rl_next_index(args->ndim, args->shape, 1u << args->dim, index));
    return RL_OK;
}

/* Softmax rows ------------------------------------------------------------------------------------------------- */

static void softmax_line(const rl_softmax_args *args, size_t bytes, const int64_t *index) {
    const unsigned char *in = rl_at(&args->in, bytes, args->ndim, index, 0);
    unsigned char *out = rl_at(&args->out, bytes, args->ndim, index, 0);
    int64_t n = args->shape[args->dim], in_step = args->in.stride[args->dim] * (int64_t)bytes;
    int64_t out_step = args->out.stride[args->dim] * (int64_t)bytes;
    double most = -INFINITY, sum = 0;
    for (int64_t i = 0; i < n; i++) {
        double x = load_float(args->dtype, in + i * in_step);
        most = x > most || x != x ? x : most;
    }
    for (int64_t i = 0; i < n; i++)
        sum += exp(load_float(args->dtype, in + i * in_step) - most);
    double log_sum = log(sum), scale = 1 / sum;
    for (int64_t i = 0; i < n; i++) {
        double x = load_float(args->dtype, in + i * in_step) - most;
        store_float(args->dtype, out + i * out_step, args->log ? x - log_sum : exp(x) * scale);
    }
}

/* Fails unless the dtype is a float. */
static rl_status check_float(const rl_host *host, const char *kernel, uint32_t dtype) {
    rl_status status = rl_check_kernel_dtype(host, kernel, dtype);
    if (status == RL_OK && !is_float(dtype))
        return host->fail(RL_UNSUPPORTED, "%s: dtype %u, expected a float", kernel, (unsigned)dtype);
    return status;
}

rl_status rl_kernel_softmax(const rl_host *host, const rl_softmax_args *args) {
    int64_t index[RL_MAX_DIMS] = {0};
    rl_status status = check_float(host, "softmax", args->dtype);
    if (status || rl_numel(args->ndim, args->shape) == 0)
        return status;
    do
        softmax_line(args, rl_interp_dtype_bytes(args->dtype), index);
    while (rl_next_index(args->ndim, args->shape, 1u << args->dim, index));
    return RL_OK;
}

static void softmax_backward_line(const rl_softmax_backward_args *args, size_t bytes, const int64_t *index) {
    const unsigned char *g = rl_at(&args->grad_out, bytes, args->ndim, index, 0);
    const unsigned char *y = rl_at(&args->out, bytes, args->ndim, index, 0);
    unsigned char *out = rl_at(&args->grad_in, bytes, args->ndim, index, 0);
    int64_t n = args->shape[args->dim], g_step = args->grad_out.stride[args->dim] * (int64_t)bytes;
    int64_t y_step = args->out.stride[args->dim] * (int64_t)bytes;
    int64_t out_step = args->grad_in.stride[args->dim] * (int64_t)bytes;
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += load_float(args->dtype, g + i * g_step) * (args->log ? 1 : load_float(args->dtype, y + i * y_step));
    for (int64_t i = 0; i < n; i++) {
        double gi = load_float(args->dtype, g + i * g_step), yi = load_float(args->dtype, y + i * y_step);
        store_float(args->dtype, out + i * out_step, args->log ? gi - exp(yi) * sum : yi * (gi - sum));
    }
}

rl_status rl_kernel_softmax_backward(const rl_host *host, const rl_softmax_backward_args *args) {
    int64_t index[RL_MAX_DIMS] = {0};
    rl_status status = check_float(host, "softmax_backward", args->dtype);
    if (status || rl_numel(args->ndim, args->shape) == 0)
        return status;
    do
        softmax_backward_line(args, rl_interp_dtype_bytes(args->dtype), index);
    while (rl_next_index(args->ndim, args->shape, 1u << args->dim, index));
    return RL_OK;
}
