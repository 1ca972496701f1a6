/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool and pool_backward, after line.h (COLUMNS 1, TEAM 1; UNIT only says how channels lie). Words:
 *   AVERAGE  else MAX
 *   LANES    0: an item is an element; 1: a vector of channels; 2: a row of out, by vectors (not on GPUs)
 *   PASS     0 FORWARD
 *            1 WHERE: the place in the plane of each window's first greatest element, to `where`
 *            2 GATHER: an element of grad_in is what the windows that cover it give
 *            3 SCATTER: an item is a plane of grad_in, or p.together vectors of them; a thread adds its windows to a
 *              plane in its own memory, by rows (LANES 2) or by channels
 *   STEP     LANES 2: the windows' step along a row is 1, 2, or 0 for another
 * A place in a plane is a row-major number.
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
#if AVERAGE
#define POOL_JOIN(a, b) ((a) + (b))
#define POOL_NONE 0
#else
#define POOL_JOIN(a, b) rl_i_MAX(b, a)
#define POOL_NONE -RL_INFINITY
#endif

/* a / b; sizes fit 31 bits, and most steps are 1: dividing wide numbers would take longer than all else. */
RL_FN rl_long RL_LOCAL(div)(rl_long a, rl_long b) {
    return b == 1 ? a : (rl_long)((rl_uint)a / (rl_uint)b);
}

/* A window along a dimension: where it starts, and its part that lies within, from `begin` to before `end`. */
typedef struct RL_LOCAL(span) {
    rl_long start, begin, end;
} RL_LOCAL(span);
RL_FN RL_LOCAL(span) RL_LOCAL(span_of)(const rl_pool_params *p, int d, rl_long o, rl_long size) {
    RL_LOCAL(span) s;
    s.start = o * p->step[d] - p->padding[d];
    s.begin = s.start < 0 ? RL_LOCAL(div)(p->dilation[d] - 1 - s.start, p->dilation[d]) : 0;
    s.end = size <= s.start
                ? 0
                : rl_least(p->window[d], RL_LOCAL(div)(size - s.start + p->dilation[d] - 1, p->dilation[d]));
    return s;
}

/* By what the sum over output (o0, o1, o2) is divided: along one dimension, and all. */
RL_FN rl_long RL_LOCAL(counted)(const rl_pool_params *p, int d, rl_long o) {
    const RL_LOCAL(span) s = RL_LOCAL(span_of)(p, d, o, p->in_size[d] + (p->count_padding ? p->padding[d] : 0));
    return p->divisor ? (d == 0 ? p->divisor : 1) : p->count_padding ? s.end : s.end - s.begin;
}
RL_FN R_DTYPE RL_LOCAL(parts)(const rl_pool_params *p, rl_long o0, rl_long o1, rl_long o2) {
    return (R_DTYPE)(RL_LOCAL(counted)(p, 0, o0) * RL_LOCAL(counted)(p, 1, o1) * RL_LOCAL(counted)(p, 2, o2));
}

/* For each element of the window of output (o0, o1, o2) that lies within: its place x, and its offset `at` in `in`. */
#define POOL_WINDOW(o0, o1, o2)                                                                                        \
    const RL_LOCAL(span) s0 = RL_LOCAL(span_of)(p, 0, o0, p->in_size[0]);                                              \
    const RL_LOCAL(span) s1 = RL_LOCAL(span_of)(p, 1, o1, p->in_size[1]);                                              \
    const RL_LOCAL(span) s2 = RL_LOCAL(span_of)(p, 2, o2, p->in_size[2])
#define POOL_PLACE(k0, k1, k2)                                                                                         \
    (((s0.start + (k0)*p->dilation[0]) * p->in_size[1] + s1.start + (k1)*p->dilation[1]) * p->in_size[2] + s2.start +  \
     (k2)*p->dilation[2])
#define POOL_EACH                                                                                                      \
    for (rl_long k0 = s0.begin; k0 < s0.end; k0++)                                                                     \
        for (rl_long k1 = s1.begin; k1 < s1.end; k1++)                                                                 \
            for (rl_long k2 = s2.begin, x = POOL_PLACE(k0, k1, k2),                                                    \
                         at = (s0.start + k0 * p->dilation[0]) * p->in_stride[2] +                                     \
                              (s1.start + k1 * p->dilation[1]) * p->in_stride[3] +                                     \
                              (s2.start + k2 * p->dilation[2]) * p->in_stride[4];                                      \
                 k2 < s2.end; k2++, x += p->dilation[2], at += p->dilation[2] * p->in_stride[4])

/* One window of the plane, or vector of planes, at `in`: what it becomes, and the place of its first greatest element.
 */
RL_FN POOL_V RL_LOCAL(value)(const RL_GLOBAL T_DTYPE *in, int lanes, const rl_pool_params *p, rl_long o0, rl_long o1,
                             rl_long o2) {
    POOL_V value = (POOL_V)(POOL_NONE);
    POOL_WINDOW(o0, o1, o2);
    POOL_EACH
    value = POOL_JOIN(value, POOL_LOAD(in + at, p->in_stride[1]));
    return AVERAGE ? value / (POOL_V)(RL_LOCAL(parts)(p, o0, o1, o2)) : value;
}
/* Where v is greater than `most`, or the first NaN, it and its place are kept in place of those before. */
#define POOL_MORE(v, most) ((v > most) | ((v != v) & (most == most)))
#if RL_WIDTH > 1
RL_FN void RL_LOCAL(keep)(V_DTYPE v, int x, V_DTYPE *most, rl_i32 *place) {
    *place = select(*place, (rl_i32)(x), RL_WIDE(convert_int, RL_WIDTH)(POOL_MORE(v, *most)));
    *most = select(*most, v, POOL_MORE(v, *most));
}
#endif
RL_FN void RL_LOCAL(keep)(R_DTYPE v, int x, R_DTYPE *most, int *place) {
    const int more = POOL_MORE(v, *most);
    *place = more ? x : *place;
    *most = more ? v : *most;
}
RL_FN POOL_I RL_LOCAL(place)(const RL_GLOBAL T_DTYPE *in, int lanes, const rl_pool_params *p, rl_long o0, rl_long o1,
                             rl_long o2) {
    POOL_WINDOW(o0, o1, o2);
    POOL_V most = (POOL_V)(-RL_INFINITY);
    POOL_I place = (POOL_I)((int)POOL_PLACE(s0.begin, s1.begin, s2.begin));
    POOL_EACH
    RL_LOCAL(keep)(POOL_LOAD(in + at, p->in_stride[1]), (int)x, &most, &place);
    return place;
}

#if LANES == 2
/* The elements that n windows, side by side, have at one place of theirs; before `end` there are elements. */
RL_FN V_DTYPE RL_LOCAL(elements)(const RL_GLOBAL T_DTYPE *from, const RL_GLOBAL T_DTYPE *end, rl_long step, int n) {
#if STEP == 1 && UNIT
    return I_DTYPE(rl_load(from, from + RL_WIDTH <= end ? RL_WIDTH : n));
#elif STEP == 2 && UNIT
    if (from + 2 * RL_WIDTH <= end) {
        RL_WIDE(T_DTYPE, RL_WIDTH) taken = rl_load(from, RL_WIDTH);
        taken.lo = taken.even;
        taken.hi = rl_load(from + RL_WIDTH, RL_WIDTH).even;
        return I_DTYPE(taken);
    }
    return I_DTYPE(rl_load(from, 2, n));
#else
    return I_DTYPE(rl_load(from, step, n));
#endif
}
#define POOL_ELEMENTS RL_LOCAL(elements)(in + at, end, p->step[2] * p->in_stride[4], n)
/* As value and place, of the n windows from o2 on, which lie within along the row; places as if all were the first. */
RL_FN V_DTYPE RL_LOCAL(values)(const RL_GLOBAL T_DTYPE *in, const RL_GLOBAL T_DTYPE *end, int n,
                               const rl_pool_params *p, rl_long o0, rl_long o1, rl_long o2) {
    V_DTYPE value = RL_LOCAL(all)(POOL_NONE);
    POOL_WINDOW(o0, o1, o2);
    POOL_EACH
    value = POOL_JOIN(value, POOL_ELEMENTS);
    return AVERAGE ? value / RL_LOCAL(all)(RL_LOCAL(parts)(p, o0, o1, o2)) : value;
}
RL_FN rl_i32 RL_LOCAL(places)(const RL_GLOBAL T_DTYPE *in, const RL_GLOBAL T_DTYPE *end, int n, const rl_pool_params *p,
                              rl_long o0, rl_long o1, rl_long o2) {
    POOL_WINDOW(o0, o1, o2);
    V_DTYPE most = RL_LOCAL(all)(-RL_INFINITY);
    rl_i32 place = (rl_i32)((int)POOL_PLACE(s0.begin, s1.begin, s2.begin));
    POOL_EACH
    RL_LOCAL(keep)(POOL_ELEMENTS, (int)x, &most, &place);
    return place;
}

/* How many windows from o2 on lie within along the row, at most RL_WIDTH; 1 where that one does not. */
RL_FN int RL_LOCAL(together)(const rl_pool_params *p, rl_long o2) {
    const rl_long reach = (p->window[2] - 1) * p->dilation[2], start = o2 * p->step[2] - p->padding[2];
    const rl_long room = p->in_size[2] - 1 - reach - start;
    if (start < 0 || room < 0)
        return 1;
    return (int)rl_least(RL_LOCAL(div)(room, p->step[2]) + 1, rl_least(p->out_size[2] - o2, RL_WIDTH));
}
#endif

#if PASS == 0 && LANES == 2
RL_FN void RL_LOCAL(forward_row)(const RL_GLOBAL T_DTYPE *in, const RL_GLOBAL T_DTYPE *end, RL_GLOBAL T_DTYPE *out,
                                 const rl_pool_params *p, rl_long o0, rl_long o1) {
    for (rl_long o2 = 0, n; o2 < p->out_size[2]; o2 += n, out += n * p->out_stride[4]) {
        n = RL_LOCAL(together)(p, o2);
        if (n == 1)
            *out = O_DTYPE(RL_LOCAL(value)(in, 1, p, o0, o1, o2));
        else if (p->out_stride[4] == 1)
            rl_store(out, (int)n, O_DTYPE(RL_LOCAL(values)(in, end, (int)n, p, o0, o1, o2)));
        else
            rl_store(out, p->out_stride[4], (int)n, O_DTYPE(RL_LOCAL(values)(in, end, (int)n, p, o0, o1, o2)));
    }
}
#endif

#if PASS == 2
/* Outputs o whose windows have place x along a dimension: o step - padding + k dilation = x for a k of the window. */
RL_FN rl_long RL_LOCAL(first_cover)(const rl_pool_params *p, int d, rl_long x) {
    const rl_long least = x + p->padding[d] - (p->window[d] - 1) * p->dilation[d];
    return least <= 0 ? 0 : RL_LOCAL(div)(least + p->step[d] - 1, p->step[d]);
}
RL_FN rl_long RL_LOCAL(last_cover)(const rl_pool_params *p, int d, rl_long x) {
    return rl_least(p->out_size[d] - 1, RL_LOCAL(div)(x + p->padding[d], p->step[d]));
}
RL_FN int RL_LOCAL(covers)(const rl_pool_params *p, int d, rl_long x, rl_long o) {
    const rl_long apart = x + p->padding[d] - o * p->step[d];
    return RL_LOCAL(div)(apart, p->dilation[d]) * p->dilation[d] == apart;
}
/* The gradient of element (x0, x1, x2), from those of a plane of windows and, for MAX, where these found their greatest
 * elements: `next` numbers on from one window to the next. */
RL_FN POOL_V RL_LOCAL(gathered)(const RL_GLOBAL T_DTYPE *grad, const RL_GLOBAL int *where, rl_long next, int lanes,
                                const rl_pool_params *p, rl_long x0, rl_long x1, rl_long x2) {
    const rl_long last0 = RL_LOCAL(last_cover)(p, 0, x0), last1 = RL_LOCAL(last_cover)(p, 1, x1);
    const rl_long last2 = RL_LOCAL(last_cover)(p, 2, x2);
    const int x = (int)((x0 * p->in_size[1] + x1) * p->in_size[2] + x2);
    POOL_V value = (POOL_V)(0);
    for (rl_long o0 = RL_LOCAL(first_cover)(p, 0, x0); o0 <= last0; o0++)
        for (rl_long o1 = RL_LOCAL(first_cover)(p, 1, x1); o1 <= last1; o1++)
            for (rl_long o2 = RL_LOCAL(first_cover)(p, 2, x2); o2 <= last2; o2++) {
                if (!RL_LOCAL(covers)(p, 0, x0, o0) || !RL_LOCAL(covers)(p, 1, x1, o1) ||
                    !RL_LOCAL(covers)(p, 2, x2, o2))
                    continue;
                const POOL_V g = POOL_LOAD(
                    grad + o0 * p->grad_stride[2] + o1 * p->grad_stride[3] + o2 * p->grad_stride[4], p->grad_stride[1]);
#if AVERAGE
                value += g / (POOL_V)(RL_LOCAL(parts)(p, o0, o1, o2));
#else
                const RL_GLOBAL int *at = where + ((o0 * p->out_size[1] + o1) * p->out_size[2] + o2) * next;
#if LANES == 1
                const POOL_I place = rl_load(at, lanes);
#else
                const POOL_I place = *at;
#endif
                value += rl_i_SELECT(rl_i_EQ(place, (POOL_I)(x)), g, (POOL_V)(0));
#endif
            }
    return value;
}
#endif

#if PASS == 3
#define POOL_VECTOR(at) RL_WIDE(vload, RL_WIDTH)(0, at)
#define POOL_ADD(at, value) RL_WIDE(vstore, RL_WIDTH)(POOL_VECTOR(at) + (value), 0, at)
RL_FN void RL_LOCAL(clear)(RL_GLOBAL R_DTYPE *to, rl_long n) {
    for (rl_long i = 0; i < n; i += RL_WIDTH)
        RL_WIDE(vstore, RL_WIDTH)(RL_LOCAL(all)(0), i / RL_WIDTH, to);
}

/* Adds what the windows of row (o0, o1), with gradients `grad`, give to the plane `sums`. */
#if LANES == 1
RL_FN void RL_LOCAL(scatter_row)(const RL_GLOBAL T_DTYPE *in, const RL_GLOBAL T_DTYPE *end,
                                 const RL_GLOBAL T_DTYPE *grad, RL_GLOBAL R_DTYPE *sums, RL_GLOBAL R_DTYPE *line,
                                 int channels, const rl_pool_params *p, rl_long o0, rl_long o1) {
    const rl_long next = p->together * RL_WIDTH;
    for (rl_long o2 = 0; o2 < p->out_size[2]; o2++, grad += p->grad_stride[4]) {
        POOL_WINDOW(o0, o1, o2);
#if AVERAGE
        const V_DTYPE parts = RL_LOCAL(all)(RL_LOCAL(parts)(p, o0, o1, o2));
#endif
        for (int c = 0; c < channels; c += RL_WIDTH) {
            const int lanes = (int)rl_least(channels - c, RL_WIDTH);
            const V_DTYPE g = RL_LOCAL(load)(grad + c, 1, lanes);
#if AVERAGE
            const V_DTYPE share = g / parts;
            POOL_EACH
            POOL_ADD(sums + c + x * next, share);
#else
            const rl_i32 place = RL_LOCAL(place)(in + c, lanes, p, o0, o1, o2);
            POOL_EACH
            POOL_ADD(sums + c + x * next, rl_i_SELECT(rl_i_EQ(place, (rl_i32)((int)x)), g, RL_LOCAL(all)(0)));
#endif
        }
    }
}
#elif AVERAGE
/* Adds a share to each place of the window of output o2 in a line; or n shares, of windows that lie within. */
RL_FN void RL_LOCAL(share)(RL_GLOBAL R_DTYPE *line, R_DTYPE share, const rl_pool_params *p, rl_long o2) {
    const RL_LOCAL(span) s = RL_LOCAL(span_of)(p, 2, o2, p->in_size[2]);
    for (rl_long k = s.begin; k < s.end; k++)
        line[s.start + k * p->dilation[2]] += share;
}
#if STEP > 0
RL_FN void RL_LOCAL(shares)(RL_GLOBAL R_DTYPE *line, V_DTYPE share, const rl_pool_params *p, rl_long o2) {
    RL_GLOBAL R_DTYPE *to = line + o2 * STEP - p->padding[2];
    for (rl_long k = 0; k < p->window[2]; k++, to += p->dilation[2]) {
#if STEP == 1
        POOL_ADD(to, share);
#else
        V_DTYPE apart = RL_LOCAL(all)(0);
        apart.even = share.lo;
        POOL_ADD(to, apart);
        apart.even = share.hi;
        POOL_ADD(to + RL_WIDTH, apart);
#endif
    }
}
#endif
/* First in a line, which is then added to each row. */
RL_FN void RL_LOCAL(scatter_row)(const RL_GLOBAL T_DTYPE *in, const RL_GLOBAL T_DTYPE *end,
                                 const RL_GLOBAL T_DTYPE *grad, RL_GLOBAL R_DTYPE *sums, RL_GLOBAL R_DTYPE *line,
                                 int channels, const rl_pool_params *p, rl_long o0, rl_long o1) {
    const rl_long counted = RL_LOCAL(counted)(p, 0, o0) * RL_LOCAL(counted)(p, 1, o1);
    RL_LOCAL(clear)(line, p->in_size[2] + 2 * RL_WIDTH); /* what whole vectors may add zeros to, too */
    for (rl_long o2 = 0, n; o2 < p->out_size[2]; o2 += n, grad += n * p->grad_stride[4]) {
        const R_DTYPE parts = (R_DTYPE)(counted * RL_LOCAL(counted)(p, 2, o2));
        n = STEP ? RL_LOCAL(together)(p, o2) : 1;
#if STEP > 0
        if (n > 1) {
            const V_DTYPE g = RL_LOCAL(load)(grad, p->grad_stride[4], (int)n);
            RL_LOCAL(shares)(line, g / RL_LOCAL(all)(parts), p, o2);
            continue;
        }
#endif
        RL_LOCAL(share)(line, I_DTYPE(*grad) / parts, p, o2);
    }
    const RL_LOCAL(span) s0 = RL_LOCAL(span_of)(p, 0, o0, p->in_size[0]);
    const RL_LOCAL(span) s1 = RL_LOCAL(span_of)(p, 1, o1, p->in_size[1]);
    for (rl_long k0 = s0.begin; k0 < s0.end; k0++)
        for (rl_long k1 = s1.begin; k1 < s1.end; k1++) {
            const rl_long i0 = s0.start + k0 * p->dilation[0], i1 = s1.start + k1 * p->dilation[1];
            RL_GLOBAL R_DTYPE *row = sums + (i0 * p->in_size[1] + i1) * p->in_size[2];
            for (rl_long x = 0; x < p->in_size[2]; x += RL_WIDTH) /* zeros follow the line */
                POOL_ADD(row + x, POOL_VECTOR(line + x));
        }
}
#else
RL_FN void RL_LOCAL(scatter_row)(const RL_GLOBAL T_DTYPE *in, const RL_GLOBAL T_DTYPE *end,
                                 const RL_GLOBAL T_DTYPE *grad, RL_GLOBAL R_DTYPE *sums, RL_GLOBAL R_DTYPE *line,
                                 int channels, const rl_pool_params *p, rl_long o0, rl_long o1) {
    const RL_LOCAL(span) s0 = RL_LOCAL(span_of)(p, 0, o0, p->in_size[0]);
    const RL_LOCAL(span) s1 = RL_LOCAL(span_of)(p, 1, o1, p->in_size[1]);
    int place[RL_WIDTH];
    if (s0.begin >= s0.end || s1.begin >= s1.end) /* windows without elements give nothing */
        return;
    for (rl_long o2 = 0, n; o2 < p->out_size[2]; o2 += n) {
        const RL_LOCAL(span) s2 = RL_LOCAL(span_of)(p, 2, o2, p->in_size[2]);
        n = RL_LOCAL(together)(p, o2);
        if (s2.begin >= s2.end) {
            grad += p->grad_stride[4];
            continue;
        }
        if (n == 1)
            place[0] = RL_LOCAL(place)(in, 1, p, o0, o1, o2);
        else
            RL_WIDE(vstore, RL_WIDTH)(RL_LOCAL(places)(in, end, (int)n, p, o0, o1, o2), 0, place);
        RL_GLOBAL R_DTYPE *to = sums;
        for (rl_long l = 0; l < n; l++, to += p->step[2], grad += p->grad_stride[4])
            to[place[l]] += I_DTYPE(*grad);
    }
}
#endif

/* The plane, or vector of planes, becomes part of grad_in. */
RL_FN void RL_LOCAL(put)(const RL_GLOBAL R_DTYPE *sums, RL_GLOBAL T_DTYPE *out, int channels, const rl_pool_params *p) {
    for (rl_long x0 = 0; x0 < p->in_size[0]; x0++)
        for (rl_long x1 = 0; x1 < p->in_size[1]; x1++) {
            RL_GLOBAL T_DTYPE *to = out + x0 * p->out_stride[2] + x1 * p->out_stride[3];
#if LANES == 1
            for (rl_long x2 = 0; x2 < p->in_size[2]; x2++, sums += p->together * RL_WIDTH, to += p->out_stride[4])
                for (int c = 0; c < channels; c += RL_WIDTH)
                    RL_LOCAL(store)(to + c, 1, (int)rl_least(channels - c, RL_WIDTH), POOL_VECTOR(sums + c));
#else
            for (rl_long x2 = 0; x2 < p->in_size[2]; x2 += RL_WIDTH) {
                const int n = (int)rl_least(p->in_size[2] - x2, RL_WIDTH);
                RL_LOCAL(store)(to + x2 * p->out_stride[4], p->out_stride[4], n, POOL_VECTOR(sums + x2));
            }
            sums += p->in_size[2];
#endif
        }
}
#endif

/* Of an item. */
#define POOL_CHANNELS (LANES == 1 ? p->together * RL_WIDTH : 1)
#define POOL_SPLIT(name, size)                                                                                         \
    const rl_long name = (rl_long)(rest % (rl_ulong)(size));                                                           \
    rest /= (rl_ulong)(size)
#define POOL_AT(name) p->name##_offset + batch * p->name##_stride[0] + channel * p->name##_stride[1]

RL_KERNEL(const RL_GLOBAL T_DTYPE *in, RL_GLOBAL T_DTYPE *out, const RL_GLOBAL T_DTYPE *grad, RL_GLOBAL int *where,
          RL_GLOBAL R_DTYPE *memory, RL_PARAMS(rl_pool_params) params) {
    const rl_pool_params *p = &params;
    const RL_GLOBAL T_DTYPE *end = in + p->in_end;
#if PASS == 3
    RL_GLOBAL R_DTYPE *sums = memory + RL_GROUP_NUMBER * p->memory, *line = sums + p->line_at;
#endif
    RL_FOR_ITEMS(item, p->items, 1) {
        rl_ulong rest = (rl_ulong)item;
        /* Items are numbered as rows of channels where those are the lanes, else as planes; of grad_in, else of out. */
#if LANES == 1
        POOL_SPLIT(part, (p->channels + POOL_CHANNELS - 1) / POOL_CHANNELS);
#endif
#if LANES == 2 && PASS == 0
        POOL_SPLIT(x1, p->out_size[1]);
        POOL_SPLIT(x0, p->out_size[0]);
#elif PASS < 3
        const rl_long *size = PASS == 2 ? p->in_size : p->out_size;
        POOL_SPLIT(x2, size[2]);
        POOL_SPLIT(x1, size[1]);
        POOL_SPLIT(x0, size[0]);
#endif
#if LANES != 1
        POOL_SPLIT(part, (p->channels + POOL_CHANNELS - 1) / POOL_CHANNELS);
#endif
        const rl_long batch = (rl_long)rest, channel = part * POOL_CHANNELS;
        const int lanes = (int)rl_least(p->channels - channel, POOL_CHANNELS);
        const RL_GLOBAL T_DTYPE *from = in + POOL_AT(in);
        RL_GLOBAL T_DTYPE *to = out + POOL_AT(out);
#if PASS == 3
        RL_LOCAL(clear)(sums, p->line_at);
        for (rl_long o0 = 0; o0 < p->out_size[0]; o0++)
            for (rl_long o1 = 0; o1 < p->out_size[1]; o1++)
                RL_LOCAL(scatter_row)
        (from, end, grad + POOL_AT(grad) + o0 * p->grad_stride[2] + o1 * p->grad_stride[3], sums, line, lanes, p, o0,
         o1);
        RL_LOCAL(put)(sums, to, lanes, p);
#else
        to += x0 * p->out_stride[2] + x1 * p->out_stride[3];
#if LANES == 2
        RL_LOCAL(forward_row)(from, end, to, p, x0, x1);
#else
        to += x2 * p->out_stride[4];
        /* Windows' numbers in `where`: as items of out. */
        const rl_long windows = p->out_size[0] * p->out_size[1] * p->out_size[2], next = LANES == 1 ? p->channels : 1;
        RL_GLOBAL int *found = where + batch * windows * p->channels + channel * (LANES == 1 ? 1 : windows);
#if PASS == 0
        POOL_STORE(to, p->out_stride[1], RL_LOCAL(value)(from, lanes, p, x0, x1, x2));
#elif PASS == 1
        found += ((x0 * p->out_size[1] + x1) * p->out_size[2] + x2) * next;
#if LANES == 1
        rl_store(found, lanes, RL_LOCAL(place)(from, lanes, p, x0, x1, x2));
#else
        *found = RL_LOCAL(place)(from, lanes, p, x0, x1, x2);
#endif
#else
        POOL_STORE(to, p->out_stride[1], RL_LOCAL(gathered)(grad + POOL_AT(grad), found, next, lanes, p, x0, x1, x2));
#endif
#endif
#endif
    }
}
#undef POOL_V
#undef POOL_I
#undef POOL_LOAD
#undef POOL_STORE
#undef POOL_JOIN
#undef POOL_NONE
#undef POOL_WINDOW
#undef POOL_PLACE
#undef POOL_EACH
#undef POOL_MORE
#undef POOL_ELEMENTS
#undef POOL_VECTOR
#undef POOL_ADD
#undef POOL_CHANNELS
#undef POOL_SPLIT
#undef POOL_AT
