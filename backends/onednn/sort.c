/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Primitive 7: sort. A long line goes through a radix sort from the lowest digit, which is stable by nature, of keys
 * that order as the elements do; digits in which all keys agree are passed over. Short lines go to the plain kernel's
 * merge sort. Lines are shared by the threads.
 */
#include <string.h>

#include "slices.h"

#define SHORT 400 /* elements of a line below which counting digits costs more than merging */
#define DIGIT 11
#define BUCKETS (1 << DIGIT)

typedef struct entry {
    uint64_t key;
    int64_t index;
} entry;

/* The sign bit flipped, and of negative floats all bits; -0 is 0, every NaN the same above infinity. Narrow dtypes are
 * exact in their register. Descending order flips all the bits of the key. */
static uint64_t key_of_f32(float x) {
    uint32_t u;
    x += 0.0f;
    memcpy(&u, &x, 4);
    return x != x ? UINT32_MAX : u >> 31 ? (uint32_t)~u : u | 0x80000000u;
}
static uint64_t key_of_f64(double x) {
    uint64_t u;
    x += 0.0;
    memcpy(&u, &x, 8);
    return x != x ? UINT64_MAX : u >> 63 ? ~u : u | (uint64_t)1 << 63;
}

static void load_keys(const rl_sort_args *args, const char *in, int64_t stride, int64_t n, entry *out) {
    const rl_dtype dtype = (rl_dtype)args->dtype;
    const rl_reg reg = od_register(dtype);
    const uint64_t flip = !args->descending ? 0 : reg == RL_REG_F32 || reg == RL_REG_I32 ? UINT32_MAX : UINT64_MAX;
    for (int64_t at = 0; at < n; at += 256) {
        const int64_t count = n - at < 256 ? n - at : 256;
        union {
            float f32[256];
            double f64[256];
            uint32_t i32[256];
            uint64_t i64[256];
        } x;
        od_chosen->load[dtype](&x, in + at * stride, 1, count, 0, stride);
        for (int64_t i = 0; i < count; i++) {
            const uint64_t key = reg == RL_REG_F32   ? key_of_f32(x.f32[i])
                                 : reg == RL_REG_F64 ? key_of_f64(x.f64[i])
                                 : reg == RL_REG_I32 ? x.i32[i] ^ 0x80000000u
                                                     : x.i64[i] ^ (uint64_t)1 << 63;
            out[at + i] = (entry){key ^ flip, at + i};
        }
    }
}

/* Returns the one of both arrays that holds the result. */
static const entry *radix_sort(entry *from, entry *to, int64_t n) {
    uint64_t all = from[0].key, any = from[0].key;
    for (int64_t i = 1; i < n; i++)
        all &= from[i].key, any |= from[i].key;
    for (int shift = 0; shift < 64; shift += DIGIT) {
        if (((all ^ any) >> shift & (BUCKETS - 1)) == 0)
            continue;
        int64_t start[BUCKETS] = {0}, sum = 0;
        for (int64_t i = 0; i < n; i++)
            start[from[i].key >> shift & (BUCKETS - 1)]++;
        for (int b = 0; b < BUCKETS; b++) {
            const int64_t count = start[b];
            start[b] = sum;
            sum += count;
        }
        for (int64_t i = 0; i < n; i++)
            to[start[from[i].key >> shift & (BUCKETS - 1)]++] = from[i];
        entry *swap = from;
        from = to;
        to = swap;
    }
    return from;
}

static void sort_line(const rl_sort_args *args, const int64_t *index, char *memory) {
    const int64_t bytes = od_dtype_bytes((rl_dtype)args->dtype), n = args->shape[args->dim];
    int64_t in = 0, values = 0, indices = 0;
    for (int64_t d = 0; d < args->ndim; d++) {
        in += index[d] * args->in.stride[d] * bytes;
        values += index[d] * args->values.stride[d] * bytes;
        indices += index[d] * args->indices.stride[d] * 8;
    }
    entry *entries = (entry *)(void *)memory;
    char *elements = memory + 2 * (size_t)n * sizeof *entries; /* as they were: values may lie over in */
    const char *from = od_address(&args->in) + in;
    char *to = od_address(&args->values) + values, *where = od_address(&args->indices) + indices;
    const int64_t si = args->in.stride[args->dim] * bytes, sv = args->values.stride[args->dim] * bytes;
    const int64_t sw = args->indices.stride[args->dim] * 8;
    load_keys(args, from, si, n, entries);
    od_chosen->move[__builtin_ctz((unsigned)bytes)](elements, from, 1, n, n * bytes, si);
    const entry *sorted = radix_sort(entries, entries + n, n);
    for (int64_t i = 0; i < n; i++) {
        memcpy(to + i * sv, elements + sorted[i].index * bytes, (size_t)bytes);
        memcpy(where + i * sw, &sorted[i].index, 8);
    }
}

static rl_status sort_slice(const rl_host *host, const void *what) {
    const rl_sort_args *args = what;
    int64_t index[RL_MAX_DIMS] = {0};
    const int64_t n = args->shape[args->dim];
    for (int64_t d = 0; d < args->ndim; d++)
        if (args->shape[d] == 0)
            return RL_OK;
    char *memory = host->scratch((size_t)n * (2 * sizeof(entry) + 8));
    if (memory == NULL)
        return host->fail(RL_OUT_OF_MEMORY, "sort: no scratch memory for a line of %lld elements", (long long)n);
    for (;;) {
        sort_line(args, index, memory);
        int64_t d = args->ndim - 1;
        while (d >= 0 && (d == args->dim || ++index[d] == args->shape[d]))
            index[d--] = 0;
        if (d < 0)
            return RL_OK;
    }
}

static rl_status plain_sort(const rl_host *host, const void *args) {
    return rl_kernel_sort(host, args);
}

rl_status od_sort(rl_backend_stream *stream, const rl_sort_args *args) {
    static const od_slicing how = OD_SLICING(rl_sort_args, in, values, indices);
    const int64_t bytes = od_dtype_bytes((rl_dtype)args->dtype);
    const int64_t each[OD_SLICE_OPERANDS] = {bytes, bytes, 8};
    (void)stream;
    if (args->ndim == 0 || args->shape[args->dim] < SHORT)
        return od_slice(&how, args, each, 40.0, plain_sort);
    return od_slice(&how, args, each, 20.0, sort_slice);
}
