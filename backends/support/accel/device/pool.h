/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool and pool_backward, after line.h (COLUMNS 1, TEAM 1; UNIT only says how channels lie). Words:
 *   AVERAGE  else MAX
 *   LANES    0: an item is an element; 1: a vector of channels; 2: a row of out, by vectors (forward only)
 *   PASS     0 FORWARD  1 WHERE: the number within its window of each first greatest element, to `where`
 *            2 GATHER: an element of grad_in is what the windows that cover it give
 *            3 SCATTER: an item is a plane of grad_in, to which windows are added one by one
 *   STEP     LANES 2: the windows' step along a row is 1, 2, or 0 for another
 */
#if LANES == 1
#define POOL_V V_DTYPE
#define POOL_I rl_i32
#define POOL_LOAD(from, stride) RL_LOCAL(load)(from, stride, lanes)
#define POOL_STORE(to, stride, value) RL_LOCAL(store)(to, stride, lanes, value)
#else
#define POOL_V R_DTYPE
#define POOL_I int
#define POOL_LOAD(from, stride) I_DTYPE(*(from))
#define POOL_STORE(to, stride, value) *(to) = O_DTYPE(value)
#endif

/* a / b; sizes fit 31 bits, and most steps are 1: dividing wide numbers would take longer than all else. */
RL_FN rl_long RL_LOCAL(div)(rl_long a, rl_long b) {
    return b == 1 ? a : (rl_long)((rl_uint)a / (rl_uint)b);
}
/* The part of a window that lies within: first and end. (Numbers, not the parameters: copies of those cost more.) */
RL_FN rl_long RL_LOCAL(begin)(rl_long start, rl_long dilation) {
    return start < 0 ? RL_LOCAL(div)(dilation - 1 - start, dilation) : 0;
}
RL_FN rl_long RL_LOCAL(end)(rl_long start, rl_long size, rl_long window, rl_long dilation) {
    return size <= start ? 0 : rl_least(window, RL_LOCAL(div)(size - start + dilation - 1, dilation));
}
#define POOL_START(d, o) ((o)*p.step[d] - p.padding[d])
#define POOL_BEGIN(d, start) RL_LOCAL(begin)(start, p.dilation[d])
#define POOL_END(d, start, size) RL_LOCAL(end)(start, size, p.window[d], p.dilation[d])
/* By what the sum over output (o0, o1, o2) is divided: along one dimension, and all. */
#define POOL_DIVISOR(d, o)                                                                                             \
    (p.count_padding ? POOL_END(d, POOL_START(d, o), p.in_size[d] + p.padding[d])                                      \
                     : POOL_END(d, POOL_START(d, o), p.in_size[d]) - POOL_BEGIN(d, POOL_START(d, o)))
#define POOL_PARTS(o0, o1, o2)                                                                                         \
    (R_DTYPE)(p.divisor ? p.divisor : POOL_DIVISOR(0, o0) * POOL_DIVISOR(1, o1) * POOL_DIVISOR(2, o2))

/* For each place k of the window of output (o0, o1, o2) that lies within: k0, k1, k2, and its element's offset `at`. */
#define POOL_SPAN(d, o)                                                                                                \
    const rl_long s##d = POOL_START(d, o), b##d = POOL_BEGIN(d, s##d), e##d = POOL_END(d, s##d, p.in_size[d]);
#define POOL_WINDOW(o0, o1, o2) POOL_SPAN(0, o0) POOL_SPAN(1, o1) POOL_SPAN(2, o2)
#define POOL_EACH(base, stride)                                                                                        \
    for (rl_long k0 = b0; k0 < e0; k0++)                                                                               \
        for (rl_long k1 = b1; k1 < e1; k1++)                                                                           \
            for (rl_long k2 = b2, at = (base) + (s0 + k0 * p.dilation[0]) * (stride)[2] +                              \
                                       (s1 + k1 * p.dilation[1]) * (stride)[3] +                                       \
                                       (s2 + k2 * p.dilation[2]) * (stride)[4];                                        \
                 k2 < e2; k2++, at += p.dilation[2] * (stride)[4])
#define POOL_PLACE(k0, k1, k2) (int)(((k0)*p.window[1] + (k1)) * p.window[2] + (k2))

#if LANES == 2
/* Every second element of 2 RL_WIDTH ones, from the first or the second on. */
RL_FN V_DTYPE RL_LOCAL(second)(V_DTYPE a, V_DTYPE b, int from) {
    R_DTYPE both[2 * RL_WIDTH], lanes[RL_WIDTH];
    RL_WIDE(vstore, RL_WIDTH)(a, 0, both);
    RL_WIDE(vstore, RL_WIDTH)(b, 1, both);
    for (int l = 0; l < RL_WIDTH; l++)
        lanes[l] = both[2 * l + from];
    return RL_WIDE(vload, RL_WIDTH)(0, lanes);
}
#if AVERAGE
#define POOL_JOIN(a, b) ((a) + (b))
#define POOL_NONE RL_LOCAL(all)(0)
#else
#define POOL_JOIN(a, b) rl_i_MAX(b, a)
#define POOL_NONE RL_LOCAL(all)(-RL_INFINITY)
#endif
#endif

RL_KERNEL(const RL_GLOBAL T_DTYPE *in, RL_GLOBAL T_DTYPE *out, const RL_GLOBAL T_DTYPE *grad, RL_GLOBAL int *where,
          RL_PARAMS(rl_pool_params) p) {
#if PASS == 3
    RL_FOR_ITEMS(plane, p.items, 1) {
        const rl_long batch = plane / p.channels, channel = plane - batch * p.channels;
        const rl_long to = p.out_offset + batch * p.out_stride[0] + channel * p.out_stride[1];
        const rl_long from = p.in_offset + batch * p.in_stride[0] + channel * p.in_stride[1];
        const rl_long given = p.grad_offset + batch * p.grad_stride[0] + channel * p.grad_stride[1];
        for (rl_long i0 = 0; i0 < p.in_size[0]; i0++)
            for (rl_long i1 = 0; i1 < p.in_size[1]; i1++)
                for (rl_long i2 = 0; i2 < p.in_size[2]; i2 += RL_WIDTH)
                    RL_LOCAL(store)
        (out + to + i0 * p.out_stride[2] + i1 * p.out_stride[3] + i2 * p.out_stride[4], p.out_stride[4],
         (int)rl_least(p.in_size[2] - i2, RL_WIDTH), RL_LOCAL(all)(0));
        for (rl_long o0 = 0; o0 < p.out_size[0]; o0++) {
            POOL_SPAN(0, o0)
            for (rl_long o1 = 0; o1 < p.out_size[1]; o1++) {
                POOL_SPAN(1, o1)
                for (rl_long o2 = 0; o2 < p.out_size[2]; o2++) {
                    POOL_SPAN(2, o2)
                    if (b0 >= e0 || b1 >= e1 || b2 >= e2)
                        continue;
                    const R_DTYPE g =
                        I_DTYPE(grad[given + o0 * p.grad_stride[2] + o1 * p.grad_stride[3] + o2 * p.grad_stride[4]]);
#if AVERAGE
                    const R_DTYPE share = g / POOL_PARTS(o0, o1, o2);
                    POOL_EACH(to, p.out_stride)
                    out[at] = O_DTYPE(I_DTYPE(out[at]) + share);
#else
                    R_DTYPE most = -RL_INFINITY;
                    rl_long m0 = b0, m1 = b1, m2 = b2;
                    POOL_EACH(from, p.in_stride) {
                        const R_DTYPE v = I_DTYPE(in[at]);
                        const int more = (v > most) | ((v != v) & (most == most));
                        most = more ? v : most;
                        m0 = more ? k0 : m0;
                        m1 = more ? k1 : m1;
                        m2 = more ? k2 : m2;
                    }
                    const rl_long at = to + (s0 + m0 * p.dilation[0]) * p.out_stride[2] +
                                       (s1 + m1 * p.dilation[1]) * p.out_stride[3] +
                                       (s2 + m2 * p.dilation[2]) * p.out_stride[4];
                    out[at] = O_DTYPE(I_DTYPE(out[at]) + g);
#endif
                }
            }
        }
    }
#elif LANES == 2
    const rl_long reach = (p.window[2] - 1) * p.dilation[2];
    RL_FOR_ITEMS(row, p.items, 1) {
        rl_long rest = row / p.out_size[1];
        const rl_long o1 = row - rest * p.out_size[1];
        rl_long next = rest / p.out_size[0];
        const rl_long o0 = rest - next * p.out_size[0];
        const rl_long batch = next / p.channels, channel = next - batch * p.channels;
        const rl_long from = p.in_offset + batch * p.in_stride[0] + channel * p.in_stride[1];
        const rl_long to = p.out_offset + batch * p.out_stride[0] + channel * p.out_stride[1] + o0 * p.out_stride[2] +
                           o1 * p.out_stride[3];
        /* Outputs whose windows lie within along the row: vectors, the last one begun early so that it is full. */
        const rl_long inside = rl_least((p.padding[2] + p.step[2] - 1) / p.step[2], p.out_size[2]);
        const rl_long within = p.in_size[2] - 1 + p.padding[2] - reach;
        const rl_long beyond = within < 0 ? inside : rl_least(p.out_size[2], within / p.step[2] + 1);
#if STEP == 2 && UNIT
        /* The last output from which a vector on, all that is loaded lies within the row. */
        const rl_long room = p.in_size[2] - 2 * RL_WIDTH - (p.window[2] - 1) / 2 * 2 + p.padding[2];
        const rl_long fit = p.dilation[2] == 1 && room >= 0 ? room / 2 : -1;
#endif
        POOL_SPAN(0, o0)
        POOL_SPAN(1, o1)
        for (rl_long o2 = 0; o2 < p.out_size[2];) {
            if (o2 < inside || o2 >= beyond || o2 + 1 == beyond) {
                R_DTYPE value = AVERAGE ? 0 : -RL_INFINITY;
                POOL_SPAN(2, o2)
                POOL_EACH(from, p.in_stride) {
                    const R_DTYPE v = I_DTYPE(in[at]);
                    value = AVERAGE ? value + v : rl_i_MAX(v, value);
                }
                if (AVERAGE)
                    value = value / POOL_PARTS(o0, o1, o2);
                out[to + o2 * p.out_stride[4]] = O_DTYPE(value);
                o2++;
                continue;
            }
            if (o2 + RL_WIDTH > beyond && beyond - inside >= RL_WIDTH)
                o2 = beyond - RL_WIDTH;
#if STEP == 2 && UNIT
            if (o2 > fit && fit >= inside && beyond - fit >= RL_WIDTH && fit + 1 >= o2) /* and all before was done */
                o2 = fit;
#endif
            const int lanes = (int)rl_least(beyond - o2, RL_WIDTH);
            POOL_SPAN(2, o2)
            V_DTYPE value = POOL_NONE;
#if STEP == 2 && UNIT
            if (lanes == RL_WIDTH && o2 <= fit) {
                for (rl_long k2 = 0; k2 < p.window[2]; k2 += 2) {
                    V_DTYPE low = POOL_NONE, high = POOL_NONE;
                    for (rl_long k0 = b0; k0 < e0; k0++)
                        for (rl_long k1 = b1; k1 < e1; k1++) {
                            const RL_GLOBAL T_DTYPE *x = in + from + (s0 + k0 * p.dilation[0]) * p.in_stride[2] +
                                                         (s1 + k1 * p.dilation[1]) * p.in_stride[3] + s2 + k2;
                            low = POOL_JOIN(low, I_DTYPE(rl_load(x, RL_WIDTH)));
                            high = POOL_JOIN(high, I_DTYPE(rl_load(x + RL_WIDTH, RL_WIDTH)));
                        }
                    value = POOL_JOIN(value, RL_LOCAL(second)(low, high, 0));
                    if (k2 + 1 < p.window[2])
                        value = POOL_JOIN(value, RL_LOCAL(second)(low, high, 1));
                }
            } else
#endif
            {
                POOL_EACH(from, p.in_stride) {
#if STEP == 1 && UNIT
                    value = POOL_JOIN(value, I_DTYPE(rl_load(in + at, lanes)));
#else
                    value = POOL_JOIN(value, I_DTYPE(rl_load(in + at, p.step[2] * p.in_stride[4], lanes)));
#endif
                }
            }
            if (AVERAGE)
                value = value / RL_LOCAL(all)(POOL_PARTS(o0, o1, o2));
            if (p.out_stride[4] == 1)
                rl_store(out + to + o2, lanes, O_DTYPE(value));
            else
                rl_store(out + to + o2 * p.out_stride[4], p.out_stride[4], lanes, O_DTYPE(value));
            o2 += lanes;
        }
    }
#else
    /* Items are numbered as rows of channels where those are the lanes, else as planes; of grad_in, else of out. */
#if PASS == 2
    const rl_long size0 = p.in_size[0], size1 = p.in_size[1], size2 = p.in_size[2];
#else
    const rl_long size0 = p.out_size[0], size1 = p.out_size[1], size2 = p.out_size[2];
#endif
    RL_FOR_ITEMS(item, p.items, 1) {
        rl_ulong rest = (rl_ulong)item, next;
#define POOL_SPLIT(name, size)                                                                                         \
    next = rest / (rl_ulong)(size);                                                                                    \
    const rl_long name = (rl_long)(rest - next * (rl_ulong)(size));                                                    \
    rest = next
#if LANES == 1
        POOL_SPLIT(vector, (p.channels + RL_WIDTH - 1) / RL_WIDTH);
        const rl_long channel = vector * RL_WIDTH;
        const int lanes = (int)rl_least(p.channels - channel, RL_WIDTH);
#endif
        POOL_SPLIT(x2, size2);
        POOL_SPLIT(x1, size1);
        POOL_SPLIT(x0, size0);
#if LANES == 0
        POOL_SPLIT(channel, p.channels);
#endif
        const rl_long batch = (rl_long)rest;
        const rl_long from = p.in_offset + batch * p.in_stride[0] + channel * p.in_stride[1];
        const rl_long to = p.out_offset + batch * p.out_stride[0] + channel * p.out_stride[1] + x0 * p.out_stride[2] +
                           x1 * p.out_stride[3] + x2 * p.out_stride[4];
        /* Where the window's number is in `where`. */
#if LANES == 1
#define POOL_WHERE(o0, o1, o2)                                                                                         \
    ((((batch * p.out_size[0] + (o0)) * p.out_size[1] + (o1)) * p.out_size[2] + (o2)) * p.channels + channel)
#else
#define POOL_WHERE(o0, o1, o2)                                                                                         \
    ((((batch * p.channels + channel) * p.out_size[0] + (o0)) * p.out_size[1] + (o1)) * p.out_size[2] + (o2))
#endif
#if PASS == 0
        POOL_V value = (POOL_V)(AVERAGE ? 0 : -RL_INFINITY);
        POOL_WINDOW(x0, x1, x2)
        POOL_EACH(from, p.in_stride) {
            const POOL_V v = POOL_LOAD(in + at, p.in_stride[1]);
#if AVERAGE
            value += v;
#else
            value = rl_i_MAX(v, value);
#endif
        }
        if (AVERAGE)
            value = value / (POOL_V)(POOL_PARTS(x0, x1, x2));
        POOL_STORE(out + to, p.out_stride[1], value);
#elif PASS == 1
        POOL_V most = (POOL_V)(-RL_INFINITY);
        POOL_WINDOW(x0, x1, x2)
        POOL_I place = (POOL_I)(POOL_PLACE(b0, b1, b2));
        POOL_EACH(from, p.in_stride) {
            const POOL_V v = POOL_LOAD(in + at, p.in_stride[1]);
            const POOL_I more = rl_i_GT(v, most) | (rl_i_NE(v, v) & rl_i_EQ(most, most));
            most = rl_i_SELECT(more, v, most);
            place = rl_i_SELECT(more, (POOL_I)(POOL_PLACE(k0, k1, k2)), place);
        }
#if LANES == 1
        rl_store(where + POOL_WHERE(x0, x1, x2), lanes, place);
#else
        where[POOL_WHERE(x0, x1, x2)] = place;
#endif
#else
        /* Outputs o whose windows have the element: o step - padding + k dilation = x for a k of the window. */
#define POOL_COVER(d, x)                                                                                               \
    const rl_long last##d = rl_least(p.out_size[d] - 1, RL_LOCAL(div)(x + p.padding[d], p.step[d]));                   \
    const rl_long least##d = x + p.padding[d] - (p.window[d] - 1) * p.dilation[d];                                     \
    for (rl_long o##d = least##d <= 0 ? 0 : RL_LOCAL(div)(least##d + p.step[d] - 1, p.step[d]); o##d <= last##d;       \
         o##d++) {                                                                                                     \
        const rl_long apart##d = x + p.padding[d] - o##d * p.step[d], k##d = RL_LOCAL(div)(apart##d, p.dilation[d]);   \
        if (k##d * p.dilation[d] != apart##d)                                                                          \
            continue;
        POOL_V value = (POOL_V)(0);
        POOL_COVER(0, x0)
        POOL_COVER(1, x1)
        POOL_COVER(2, x2)
        const POOL_V g = POOL_LOAD(grad + p.grad_offset + batch * p.grad_stride[0] + channel * p.grad_stride[1] +
                                       o0 * p.grad_stride[2] + o1 * p.grad_stride[3] + o2 * p.grad_stride[4],
                                   p.grad_stride[1]);
#if AVERAGE
        value += g / (POOL_V)(POOL_PARTS(o0, o1, o2));
#else
#if LANES == 1
        const POOL_I place = rl_load(where + POOL_WHERE(o0, o1, o2), lanes);
#else
        const POOL_I place = where[POOL_WHERE(o0, o1, o2)];
#endif
        value += rl_i_SELECT(rl_i_EQ(place, (POOL_I)(POOL_PLACE(k0, k1, k2))), g, (POOL_V)(0));
#endif
    }
}
}
POOL_STORE(out + to, p.out_stride[1], value);
#endif
    }
#endif
}
#undef POOL_V
#undef POOL_I
#undef POOL_LOAD
#undef POOL_STORE
#undef POOL_START
#undef POOL_BEGIN
#undef POOL_END
#undef POOL_DIVISOR
#undef POOL_PARTS
#undef POOL_SPAN
#undef POOL_WINDOW
#undef POOL_EACH
#undef POOL_PLACE
#undef POOL_JOIN
#undef POOL_NONE
#undef POOL_SPLIT
#undef POOL_WHERE
#undef POOL_COVER
