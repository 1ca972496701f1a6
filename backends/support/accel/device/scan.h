/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scan: OP as rl_scan_op, INDICES 1 where MAX and MIN give them too. Lines are cut in chunks: with PHASE 0 each chunk's
 * elements are combined, PHASE 1 makes of that what is before each chunk, and PHASE 2 writes the lines; for lines of
 * one chunk PHASE 3 does it alone. WAY 0: a line's chunk is an item's; 1: neighbouring lines are lanes of a vector; 2:
 * a chunk is a group's.
 *
 * What is held is a pair. Sums of floats: the sum and what it lost by rounding; a thread of its own takes f64 instead.
 * LOGSUMEXP: the greatest element m, and the sum of e^(x - m), that one in f64 by a thread of its own. With INDICES:
 * value and index. Else the second is unused.
 */
#define RL_OF_DOUBLES (RL_HAS_F64 && RL_GROUP == 1 && N_DTYPE && OP <= 1)
#define RL_COMPENSATED (!RL_OF_DOUBLES && N_DTYPE && OP == 0)
#if RL_OF_DOUBLES
typedef double RL_LOCAL(one);
typedef rl_f64 RL_LOCAL(many);
#else
typedef R_DTYPE RL_LOCAL(one);
typedef V_DTYPE RL_LOCAL(many);
#endif
#if INDICES
typedef rl_long RL_LOCAL(one_more);
typedef rl_i64 RL_LOCAL(many_more);
#elif RL_HAS_F64 && RL_GROUP == 1 && OP == 4
#define RL_TO_MORE(x) rl_out_F64(x)
#if DTYPE == 2 /* RL_F64 */
#define RL_FROM_MORE(x) (x)
#else
#define RL_FROM_MORE(x) rl_out_F32(x)
#endif
typedef double RL_LOCAL(one_more);
typedef rl_f64 RL_LOCAL(many_more);
#else
#define RL_TO_MORE(x) (x)
#define RL_FROM_MORE(x) (x)
typedef RL_LOCAL(one) RL_LOCAL(one_more);
typedef RL_LOCAL(many) RL_LOCAL(many_more);
#endif

/* *a, *b combine what they hold with what comes after it. */
#if INDICES
#define RL_COMBINE(one, more, mask)                                                                                    \
    RL_FN void RL_LOCAL(add)(one * a, more * b, one x, more y) {                                                       \
        const mask better = OP == 2 ? rl_i_GE(x, *a) : rl_i_LE(x, *a);                                                 \
        const mask taken = rl_i_EQ(*a, *a) & (better | rl_i_NE(x, x));                                                 \
        *a = rl_i_SELECT(taken, x, *a);                                                                                \
        *b = rl_i_SELECT(taken, y, *b);                                                                                \
    }
#elif RL_COMPENSATED
#define RL_COMBINE(one, more, mask)                                                                                    \
    RL_FN void RL_LOCAL(add)(one * a, more * b, one x, more y) {                                                       \
        const one sum = *a + x, part = sum - *a;                                                                       \
        const one lost = (*a - (sum - part)) + (x - part);                                                             \
        *a = sum;                                                                                                      \
        *b = *b + y + rl_i_SELECT(rl_i_EQ(lost, lost), lost, (one)(0));                                                \
    }
#elif OP == 4
#define RL_COMBINE(one, more, mask)                                                                                    \
    RL_FN void RL_LOCAL(add)(one * a, more * b, one x, more y) {                                                       \
        const one top = rl_i_MAX(*a, x);                                                                               \
        const one da = rl_i_SELECT(rl_i_EQ(*a, top), (one)(0), *a - top);                                              \
        const one dx = rl_i_SELECT(rl_i_EQ(x, top), (one)(0), x - top);                                                \
        *b = *b * RL_TO_MORE(rl_i_EXP(da)) + y * RL_TO_MORE(rl_i_EXP(dx));                                             \
        *a = top;                                                                                                      \
    }
#elif OP == 0
#define RL_COMBINE(one, more, mask)                                                                                    \
    RL_FN void RL_LOCAL(add)(one * a, more * b, one x, more y) {                                                       \
        *a = rl_i_ADD(*a, x);                                                                                          \
    }
#elif OP == 1
#define RL_COMBINE(one, more, mask)                                                                                    \
    RL_FN void RL_LOCAL(add)(one * a, more * b, one x, more y) {                                                       \
        *a = rl_i_MUL(*a, x);                                                                                          \
    }
#elif OP == 2
#define RL_COMBINE(one, more, mask)                                                                                    \
    RL_FN void RL_LOCAL(add)(one * a, more * b, one x, more y) {                                                       \
        *a = rl_i_MAX(*a, x);                                                                                          \
    }
#else
#define RL_COMBINE(one, more, mask)                                                                                    \
    RL_FN void RL_LOCAL(add)(one * a, more * b, one x, more y) {                                                       \
        *a = rl_i_MIN(*a, x);                                                                                          \
    }
#endif
#if WAY == 1 && PHASE != 1 && RL_WIDTH > 1
RL_COMBINE(RL_LOCAL(many), RL_LOCAL(many_more), rl_i32)
#else
RL_COMBINE(RL_LOCAL(one), RL_LOCAL(one_more), int)
#endif

/* What a pair stands for, and the second of an element's pair. */
#if RL_COMPENSATED
#define RL_RESULT(a, b, one) rl_i_SELECT(rl_i_EQ(b, (one)(0)), a, a + b)
#elif OP == 4
#define RL_RESULT(a, b, one) (a + rl_i_LOG(RL_FROM_MORE(b)))
#else
#define RL_RESULT(a, b, one) (a)
#endif
#if INDICES
#define RL_SECOND(i, more) ((more)(i))
#else
#define RL_SECOND(i, more) ((more)(OP == 4))
#endif

#if PHASE == 1
/* Totals become what is held after each chunk. */
RL_KERNEL(RL_GLOBAL RL_LOCAL(one) * parts, RL_GLOBAL RL_LOCAL(one_more) * more_parts, RL_PARAMS(rl_lines_params) p) {
    RL_FOR_ITEMS(line, p.lines, 1) {
        const rl_long first = line * p.chunks, more_first = p.more_at + first;
        RL_LOCAL(one) a = parts[first];
        RL_LOCAL(one_more) b = more_parts[more_first];
        for (rl_long c = 1; c < p.chunks; c++) {
            RL_LOCAL(add)(&a, &b, parts[first + c], more_parts[more_first + c]);
            parts[first + c] = a;
            more_parts[more_first + c] = b;
        }
    }
}
#elif WAY < 2
#if WAY == 1 && RL_WIDTH > 1
#define RL_ONE RL_LOCAL(many)
#define RL_MORE RL_LOCAL(many_more)
#define RL_LANES_USED RL_WIDTH
#define RL_LOAD(from) rl_load(from, n)
#define RL_STORE(to, value) rl_store(to, n, value)
#define RL_LOAD_PART(from) rl_load(from, p.chunks, n)
#define RL_STORE_PART(to, value) rl_store(to, p.chunks, n, value)
#else
#define RL_ONE RL_LOCAL(one)
#define RL_MORE RL_LOCAL(one_more)
#define RL_LANES_USED 1
#define RL_LOAD(from) (*(from))
#define RL_STORE(to, value) (*(to) = (value))
#define RL_LOAD_PART(from) (*(from))
#define RL_STORE_PART(to, value) (*(to) = (value))
#endif
#if RL_OF_DOUBLES
#define RL_WIDEN(x) rl_out_F64(x)
#else
#define RL_WIDEN(x) (x)
#endif
RL_KERNEL(const RL_GLOBAL T_DTYPE *in, RL_GLOBAL T_DTYPE *out, RL_GLOBAL rl_long *indices,
          RL_GLOBAL RL_LOCAL(one) * parts, RL_GLOBAL RL_LOCAL(one_more) * more_parts, RL_PARAMS(rl_lines_params) p) {
    const rl_long pieces = (p.inner + RL_LANES_USED - 1) / RL_LANES_USED, each = p.rows * pieces;
    RL_FOR_ITEMS(t, each * p.chunks, 1) {
        const rl_long chunk = (rl_long)((rl_ulong)t / (rl_ulong)each), rest = t - chunk * each;
        const rl_long row = (rl_long)((rl_ulong)rest / (rl_ulong)pieces), j = (rest - row * pieces) * RL_LANES_USED;
        const int n = (int)rl_least(p.inner - j, RL_LANES_USED);
        const rl_long first = chunk * p.each, end = rl_least(p.length, first + p.each);
        const rl_long part = (row * p.inner + j) * p.chunks + chunk;
        rl_long in_at = p.offset[0] + j * p.inner_stride[0], out_at = p.offset[1] + j * p.inner_stride[1];
        rl_long index_at = p.offset[2] + j * p.inner_stride[2];
        RL_OFFSET(in_at, row, DIMS, p.shape, p.stride[0]);
        RL_OFFSET(out_at, row, DIMS, p.shape, p.stride[1]);
        RL_OFFSET(index_at, row, DIMS, p.shape, p.stride[2]);
        rl_long i = first;
        RL_ONE a;
        RL_MORE b;
#if PHASE == 2
        if (chunk > 0) {
            a = RL_LOAD_PART(parts + part - 1);
            b = RL_LOAD_PART(more_parts + p.more_at + part - 1);
        } else
#endif
        {
            a = RL_WIDEN(I_DTYPE(RL_LOAD(in + in_at + i * p.step[0])));
            b = RL_SECOND(i, RL_MORE);
#if PHASE >= 2
            RL_STORE(out + out_at + i * p.step[1], O_DTYPE(RL_RESULT(a, b, RL_ONE)));
#if INDICES
            RL_STORE(indices + index_at + i * p.step[2], b);
#endif
#endif
            i++;
        }
        for (; i < end; i++) {
            const RL_ONE x = RL_WIDEN(I_DTYPE(RL_LOAD(in + in_at + i * p.step[0])));
            RL_LOCAL(add)(&a, &b, x, RL_SECOND(i, RL_MORE));
#if PHASE >= 2
            RL_STORE(out + out_at + i * p.step[1], O_DTYPE(RL_RESULT(a, b, RL_ONE)));
#if INDICES
            RL_STORE(indices + index_at + i * p.step[2], b);
#endif
#endif
        }
#if PHASE == 0
        RL_STORE_PART(parts + part, a);
        RL_STORE_PART(more_parts + p.more_at + part, b);
#endif
    }
}
#undef RL_ONE
#undef RL_MORE
#undef RL_LANES_USED
#undef RL_LOAD
#undef RL_STORE
#undef RL_LOAD_PART
#undef RL_STORE_PART
#undef RL_WIDEN
#elif RL_GROUP > 1
#define RL_OWN 4 /* neighbours that an item takes in a round */
RL_KERNEL(const RL_GLOBAL T_DTYPE *in, RL_GLOBAL T_DTYPE *out, RL_GLOBAL rl_long *indices,
          RL_GLOBAL RL_LOCAL(one) * parts, RL_GLOBAL RL_LOCAL(one_more) * more_parts, RL_PARAMS(rl_lines_params) p) {
    RL_SHARED RL_LOCAL(one) shared_a[RL_GROUP];
    RL_SHARED RL_LOCAL(one_more) shared_b[RL_GROUP];
    const int me = RL_ITEM;
    RL_FOR_GROUPS(g, p.rows * p.inner * p.chunks) {
        const rl_long line = g / p.chunks, chunk = g - line * p.chunks;
        const rl_long row = line / p.inner, j = line - row * p.inner;
        const rl_long first = chunk * p.each, end = rl_least(p.length, first + p.each);
        rl_long in_at = p.offset[0] + j * p.inner_stride[0], out_at = p.offset[1] + j * p.inner_stride[1];
        rl_long index_at = p.offset[2] + j * p.inner_stride[2];
        RL_OFFSET(in_at, row, DIMS, p.shape, p.stride[0]);
        RL_OFFSET(out_at, row, DIMS, p.shape, p.stride[1]);
        RL_OFFSET(index_at, row, DIMS, p.shape, p.stride[2]);
        int held = 0; /* what is before the round is in held_a, held_b */
        RL_LOCAL(one) held_a = 0;
        RL_LOCAL(one_more) held_b = 0;
#if PHASE == 2
        if (chunk > 0) {
            held = 1;
            held_a = parts[line * p.chunks + chunk - 1];
            held_b = more_parts[p.more_at + line * p.chunks + chunk - 1];
        }
#endif
        for (rl_long round = first; round < end; round += RL_GROUP * RL_OWN) {
            const rl_long from = round + me * RL_OWN;
            const int n = (int)rl_least(RL_OWN, end - from); /* 0 or less: nothing */
            const int active = (int)rl_least(RL_GROUP, (end - round + RL_OWN - 1) / RL_OWN);
            RL_LOCAL(one) own[RL_OWN], a = 0;
            RL_LOCAL(one_more) b = 0;
            for (int k = 0; k < RL_OWN; k++) {
                own[k] = 0;
                if (k < n) {
                    own[k] = I_DTYPE(in[in_at + (from + k) * p.step[0]]);
                    if (k == 0) {
                        a = own[0];
                        b = RL_SECOND(from, RL_LOCAL(one_more));
                    } else {
                        RL_LOCAL(add)(&a, &b, own[k], RL_SECOND(from + k, RL_LOCAL(one_more)));
                    }
                }
            }
            shared_a[me] = a;
            shared_b[me] = b;
            RL_BARRIER();
            for (int s = 1; s < RL_GROUP; s *= 2) {
                RL_LOCAL(one) before_a = me >= s ? shared_a[me - s] : a;
                RL_LOCAL(one_more) before_b = me >= s ? shared_b[me - s] : b;
                RL_BARRIER();
                if (me >= s && n > 0) {
                    RL_LOCAL(add)(&before_a, &before_b, a, b);
                    a = before_a, b = before_b;
                    shared_a[me] = a;
                    shared_b[me] = b;
                }
                RL_BARRIER();
            }
#if PHASE >= 2
            if (n > 0) {
                int has = held;
                a = held_a, b = held_b;
                if (me > 0) {
                    RL_LOCAL(one) last_a = shared_a[me - 1];
                    RL_LOCAL(one_more) last_b = shared_b[me - 1];
                    if (has)
                        RL_LOCAL(add)(&a, &b, last_a, last_b);
                    else
                        a = last_a, b = last_b;
                    has = 1;
                }
                for (int k = 0; k < RL_OWN; k++)
                    if (k < n) {
                        if (has)
                            RL_LOCAL(add)(&a, &b, own[k], RL_SECOND(from + k, RL_LOCAL(one_more)));
                        else
                            a = own[k], b = RL_SECOND(from + k, RL_LOCAL(one_more));
                        has = 1;
                        out[out_at + (from + k) * p.step[1]] = O_DTYPE(RL_RESULT(a, b, RL_LOCAL(one)));
#if INDICES
                        indices[index_at + (from + k) * p.step[2]] = b;
#endif
                    }
            }
#endif
            a = shared_a[active - 1];
            b = shared_b[active - 1];
            if (held)
                RL_LOCAL(add)(&held_a, &held_b, a, b);
            else
                held_a = a, held_b = b;
            held = 1;
            RL_BARRIER();
        }
#if PHASE == 0
        if (me == 0) {
            parts[line * p.chunks + chunk] = held_a;
            more_parts[p.more_at + line * p.chunks + chunk] = held_b;
        }
#endif
    }
}
#undef RL_OWN
#endif
#undef RL_OF_DOUBLES
#undef RL_COMPENSATED
#undef RL_COMBINE
#undef RL_RESULT
#undef RL_SECOND
#undef RL_TO_MORE
#undef RL_FROM_MORE
