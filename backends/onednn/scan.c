/* SPDX-License-Identifier: Apache-2.0 */
/* Primitive 6: scan. A line goes through registers a piece at a time; lines are shared by the threads. */
#include <string.h>

#include "slices.h"

#define PIECE 512

/* What a line holds so far: floats in double, integers in 64 bits. */
typedef struct held {
    double f;
    uint64_t i;
    int64_t position;
} held;

#define TAKE_MAX(x, h) ((x) >= (h))
#define TAKE_MIN(x, h) ((x) <= (h))
#define FLOAT_TAKE(x, h, better) ((h) == (h) && ((x) != (x) || better(x, h)))
#define SCAN(name, T, A, member, first, next)                                                                          \
    static void name(T *x, int64_t n, int64_t at, held *h, int64_t *positions) {                                       \
        A v = (A)h->member;                                                                                            \
        int64_t position = h->position;                                                                                \
        (void)positions;                                                                                               \
        for (int64_t i = 0; i < n; i++) {                                                                              \
            const A e = (A)x[i];                                                                                       \
            if (at + i == 0)                                                                                           \
                v = e, position = 0;                                                                                   \
            else                                                                                                       \
                next;                                                                                                  \
            x[i] = (T)v;                                                                                               \
            if (positions != NULL)                                                                                     \
                positions[i] = position;                                                                               \
        }                                                                                                              \
        h->member = first v;                                                                                           \
        h->position = position;                                                                                        \
    }
#define FLOAT_SCANS(t, T)                                                                                              \
    SCAN(sum_##t, T, double, f, (double), v += e)                                                                      \
    SCAN(prod_##t, T, double, f, (double), v *= e)                                                                     \
    SCAN(max_##t, T, double, f, (double), if (FLOAT_TAKE(e, v, TAKE_MAX))(v = e, position = at + i))                   \
    SCAN(min_##t, T, double, f, (double), if (FLOAT_TAKE(e, v, TAKE_MIN))(v = e, position = at + i))
#define INTEGER_SCANS(t, T, U)                                                                                         \
    SCAN(sum_##t, U, U, i, (uint64_t), v += e)                                                                         \
    SCAN(prod_##t, U, U, i, (uint64_t), v *= e)                                                                        \
    SCAN(max_##t, T, T, i, (uint64_t), if (TAKE_MAX(e, v))(v = e, position = at + i))                                  \
    SCAN(min_##t, T, T, i, (uint64_t), if (TAKE_MIN(e, v))(v = e, position = at + i))
FLOAT_SCANS(f32, float)
FLOAT_SCANS(f64, double)
INTEGER_SCANS(i32, int32_t, uint32_t)
INTEGER_SCANS(i64, int64_t, uint64_t)

#define DISPATCH(t, T, U)                                                                                              \
    switch (op) {                                                                                                      \
    case RL_SCAN_SUM:                                                                                                  \
        sum_##t((U *)x, n, at, h, positions);                                                                          \
        break;                                                                                                         \
    case RL_SCAN_PROD:                                                                                                 \
        prod_##t((U *)x, n, at, h, positions);                                                                         \
        break;                                                                                                         \
    case RL_SCAN_MAX:                                                                                                  \
        max_##t((T *)x, n, at, h, positions);                                                                          \
        break;                                                                                                         \
    default:                                                                                                           \
        min_##t((T *)x, n, at, h, positions);                                                                          \
        break;                                                                                                         \
    }
static void scan_piece(rl_reg reg, uint32_t op, void *x, int64_t n, int64_t at, held *h, int64_t *positions) {
    switch (reg) {
    case RL_REG_F32:
        DISPATCH(f32, float, float) break;
    case RL_REG_F64:
        DISPATCH(f64, double, double) break;
    case RL_REG_I32:
        DISPATCH(i32, int32_t, uint32_t) break;
    default:
        DISPATCH(i64, int64_t, uint64_t) break;
    }
}

static void scan_line(const rl_scan_args *args, const int64_t *index) {
    const rl_dtype dtype = (rl_dtype)args->dtype;
    const int half = dtype == RL_F16 || dtype == RL_BF16; /* in double to the end, so that they round once */
    const rl_reg reg = half ? RL_REG_F64 : od_register(dtype);
    const int64_t bytes = od_dtype_bytes(dtype), n = args->shape[args->dim];
    const int64_t si = args->in.stride[args->dim] * bytes, so = args->out.stride[args->dim] * bytes;
    union {
        double f64[PIECE];
        int64_t i64[PIECE];
    } x, y;
    int64_t positions[PIECE], in = 0, out = 0, where = 0;
    held h = {0};
    for (int64_t d = 0; d < args->ndim; d++) {
        in += index[d] * args->in.stride[d] * bytes;
        out += index[d] * args->out.stride[d] * bytes;
        where += args->has_indices ? index[d] * args->indices.stride[d] * 8 : 0;
    }
    for (int64_t at = 0; at < n; at += PIECE) {
        const int64_t count = n - at < PIECE ? n - at : PIECE;
        od_chosen->load[dtype](half ? &y : &x, od_address(&args->in) + in + at * si, 1, count, 0, si);
        if (half)
            od_chosen->cast[RL_REG_F32][RL_F64](&x, &y, NULL, NULL, count);
        scan_piece(reg, args->op, &x, count, at, &h, args->has_indices ? positions : NULL);
        if (half || dtype == RL_BOOL)
            od_chosen->cast[reg][dtype](&y, &x, NULL, NULL, count);
        od_chosen->store[dtype](od_address(&args->out) + out + at * so, half || dtype == RL_BOOL ? &y : &x, 1, count, 0,
                                so);
        if (args->has_indices) {
            const int64_t sp = args->indices.stride[args->dim] * 8;
            od_chosen->store[RL_I64](od_address(&args->indices) + where + at * sp, positions, 1, count, 0, sp);
        }
    }
}

static rl_status scan_slice(const rl_host *host, const void *what) {
    const rl_scan_args *args = what;
    int64_t index[RL_MAX_DIMS] = {0};
    (void)host;
    for (int64_t d = 0; d < args->ndim; d++)
        if (args->shape[d] == 0)
            return RL_OK;
    for (;;) {
        scan_line(args, index);
        int64_t d = args->ndim - 1;
        while (d >= 0 && (d == args->dim || ++index[d] == args->shape[d]))
            index[d--] = 0;
        if (d < 0)
            return RL_OK;
    }
}

static rl_status plain_scan(const rl_host *host, const void *args) {
    return rl_kernel_scan(host, args);
}

rl_status od_scan(rl_backend_stream *stream, const rl_scan_args *args) {
    static const od_slicing with = OD_SLICING(rl_scan_args, in, out, indices);
    od_slicing how = with;
    const int64_t bytes = od_dtype_bytes((rl_dtype)args->dtype);
    const int64_t each[OD_SLICE_OPERANDS] = {bytes, bytes, 8};
    (void)stream;
    if (!args->has_indices)
        how.operand[2] = 0;
    if (args->ndim == 0 || args->op >= RL_SCAN_LOGSUMEXP)
        return od_slice(&how, args, each, 40.0, plain_scan);
    return od_slice(&how, args, each, 1.5, scan_slice);
}
