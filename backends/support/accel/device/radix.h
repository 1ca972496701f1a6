/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One pass of a stable sort by digits of BITS bits: keys and, with each, its position in its line. Lines are cut in
 * chunks. PHASE 0 counts the digits of each chunk, 1 makes of the counts the places where each chunk's digits begin, 2
 * moves; 3 is all of it for lines of one chunk, where a work-item is a thread. FIRST: positions are not there yet.
 *
 * A group gives each item a stretch of the chunk; a column of the shared table holds the item's counts.
 */
#define RL_BINS (1 << BITS)
#define RL_DIGIT(key) ((int)((key) >> p.shift) & (RL_BINS - 1))
RL_KERNEL(RL_GLOBAL T_KEY_DTYPE *keys, RL_GLOBAL T_AT_DTYPE *order, RL_GLOBAL T_AT_DTYPE *counts,
          RL_PARAMS(rl_radix_params) p) {
    const RL_GLOBAL T_KEY_DTYPE *from = keys + p.keys_from;
    RL_GLOBAL T_KEY_DTYPE *to = keys + p.keys_to;
    const RL_GLOBAL T_AT_DTYPE *order_from = order + p.order_from;
    RL_GLOBAL T_AT_DTYPE *order_to = order + p.order_to;
    counts += p.counts_at;
#if RL_GROUP > 1 && PHASE != 1
    RL_SHARED int table[RL_BINS * RL_GROUP];
    RL_SHARED T_AT_DTYPE begin[RL_BINS];
    const int me = RL_ITEM;
#elif RL_GROUP > 1
    RL_SHARED T_AT_DTYPE sums[RL_GROUP];
    const int me = RL_ITEM;
#else
    T_AT_DTYPE table[RL_BINS];
#endif
#if PHASE == 1
    const rl_long n = RL_BINS * p.chunks;
    RL_FOR_GROUPS(line, p.lines) {
        RL_GLOBAL T_AT_DTYPE *count = counts + line * n;
        T_AT_DTYPE sum = 0;
#if RL_GROUP > 1
        const rl_long each = (n + RL_GROUP - 1) / RL_GROUP;
        const rl_long first = rl_least(n, me * each), end = rl_least(n, first + each);
        for (rl_long i = first; i < end; i++)
            sum += count[i];
        sums[me] = sum;
        RL_BARRIER();
        for (int s = 1; s < RL_GROUP; s *= 2) {
            const T_AT_DTYPE before = me >= s ? sums[me - s] : 0;
            RL_BARRIER();
            sums[me] += before;
            RL_BARRIER();
        }
        sum = sums[me] - sum;
        RL_BARRIER();
#else
        const rl_long first = 0, end = n;
#endif
        for (rl_long i = first; i < end; i++) {
            const T_AT_DTYPE own = count[i];
            count[i] = sum;
            sum += own;
        }
    }
#else
    RL_FOR_GROUPS(g, p.lines * p.chunks) {
        const rl_long line = g / p.chunks, chunk = g - line * p.chunks, line_at = line * p.length;
        const rl_long first = chunk * p.each, end = rl_least(p.length, first + p.each);
        RL_GLOBAL T_AT_DTYPE *count = counts + line * RL_BINS * p.chunks + chunk;
#if RL_GROUP > 1
        const rl_long share = (p.each + RL_GROUP - 1) / RL_GROUP;
        const rl_long my_first = rl_least(end, first + me * share), my_end = rl_least(end, my_first + share);
        for (int d = 0; d < RL_BINS; d++)
            table[d * RL_GROUP + me] = 0;
        for (rl_long i = my_first; i < my_end; i++)
            table[RL_DIGIT(from[line_at + i]) * RL_GROUP + me]++;
        RL_BARRIER();
#if PHASE == 0
        for (int s = RL_GROUP / 2; s > 0; s /= 2) {
            if (me < s)
                for (int d = 0; d < RL_BINS; d++)
                    table[d * RL_GROUP + me] += table[d * RL_GROUP + me + s];
            RL_BARRIER();
        }
        for (int d = me; d < RL_BINS; d += RL_GROUP)
            count[d * p.chunks] = table[d * RL_GROUP];
        RL_BARRIER();
#else
        int before[RL_BINS];
        for (int s = 1; s < RL_GROUP; s *= 2) {
            for (int d = 0; d < RL_BINS; d++)
                before[d] = me >= s ? table[d * RL_GROUP + me - s] : 0;
            RL_BARRIER();
            for (int d = 0; d < RL_BINS; d++)
                table[d * RL_GROUP + me] += before[d];
            RL_BARRIER();
        }
        for (int d = 0; d < RL_BINS; d++)
            before[d] = me ? table[d * RL_GROUP + me - 1] : 0;
        for (int d = me; d < RL_BINS; d += RL_GROUP)
            begin[d] = count[d * p.chunks];
        RL_BARRIER();
        for (int d = 0; d < RL_BINS; d++)
            table[d * RL_GROUP + me] = before[d];
        for (rl_long i = my_first; i < my_end; i++) {
            const T_KEY_DTYPE key = from[line_at + i];
            const int d = RL_DIGIT(key);
            const rl_long at = line_at + begin[d] + table[d * RL_GROUP + me]++;
            to[at] = key;
            order_to[at] = FIRST ? (T_AT_DTYPE)i : order_from[line_at + i];
        }
        RL_BARRIER();
#endif
#else
#if PHASE != 2
        for (int d = 0; d < RL_BINS; d++)
            table[d] = 0;
        for (rl_long i = first; i < end; i++)
            table[RL_DIGIT(from[line_at + i])]++;
#endif
#if PHASE == 0
        for (int d = 0; d < RL_BINS; d++)
            count[d * p.chunks] = table[d];
#elif PHASE == 2
        for (int d = 0; d < RL_BINS; d++)
            table[d] = count[d * p.chunks];
#else
        T_AT_DTYPE sum = 0;
        for (int d = 0; d < RL_BINS; d++) {
            const T_AT_DTYPE own = table[d];
            table[d] = sum;
            sum += own;
        }
#endif
#if PHASE >= 2
        for (rl_long i = first; i < end; i++) {
            const T_KEY_DTYPE key = from[line_at + i];
            const rl_long at = line_at + table[RL_DIGIT(key)]++;
            to[at] = key;
            order_to[at] = FIRST ? (T_AT_DTYPE)i : order_from[line_at + i];
        }
#endif
#endif
    }
#endif
}
#undef RL_BINS
#undef RL_DIGIT
