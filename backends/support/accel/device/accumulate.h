/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Combines the elements of positions that are sorted by where they go, in that order. The first position of each run of
 * equal keys stands for the run: an item takes that and a vector of the dimensions along which the index is the same.
 * MODE as rl_scatter_mode; 0: a sum that begins with 0 in place of what `out` holds. SOLE: there is one such element.
 */
#if SOLE
typedef R_DTYPE RL_LOCAL(value);
#else
typedef V_DTYPE RL_LOCAL(value);
#endif
RL_FN RL_LOCAL(value) RL_LOCAL(combine)(RL_LOCAL(value) a, RL_LOCAL(value) b) {
#if MODE <= 1
    return rl_i_ADD(a, b);
#elif MODE == 2
    return rl_i_MUL(a, b);
#elif MODE == 3
    return rl_i_MAX(a, b);
#else
    return rl_i_MIN(a, b);
#endif
}
RL_FN RL_LOCAL(value) RL_LOCAL(load)(const RL_GLOBAL T_DTYPE *from, rl_long stride, int n) {
#if SOLE
    return I_DTYPE(*from);
#elif UNIT
    return I_DTYPE(rl_load(from, n));
#else
    return I_DTYPE(rl_load(from, stride, n));
#endif
}
RL_KERNEL(const RL_GLOBAL T_DTYPE *in, const RL_GLOBAL T_KEY_DTYPE *keys, const RL_GLOBAL T_AT_DTYPE *order,
          RL_GLOBAL T_DTYPE *out, RL_PARAMS(rl_accumulate_params) p) {
    const int step = SOLE ? 1 : RL_WIDTH;
    const rl_long pieces = (p.inner + step - 1) / step, each = p.rows * pieces;
    keys += p.keys_at;
    order += p.order_at;
    RL_FOR_ITEMS(t, p.count * each, 1) {
        const rl_long first = SOLE ? t : (rl_long)((rl_ulong)t / (rl_ulong)each);
        const T_KEY_DTYPE key = keys[first];
        if ((rl_long)key != p.none && (first == 0 || keys[first - 1] != key)) {
            const rl_long rest = t - first * each, row = OUTER && !SOLE ? rest / pieces : 0;
            const rl_long j = SOLE ? 0 : (rest - row * pieces) * step;
            const int n = (int)rl_least(p.inner - j, step);
            const rl_long position = (rl_long)order[first];
            rl_long in_row = p.in_offset + j * p.inner_stride[0], out_at = p.out_offset + j * p.inner_stride[1];
            rl_long base = 0;
#if OUTER && !SOLE
            RL_OFFSET(in_row, row, OUTER, p.outer_shape, p.outer_stride[0]);
            RL_OFFSET(out_at, row, OUTER, p.outer_shape, p.outer_stride[1]);
#endif
            RL_OFFSET(out_at, position, DIMS, p.shape, p.stride[1]);
            RL_OFFSET(base, position, DIMS, p.shape, p.stride[2]);
            RL_GLOBAL T_DTYPE *to = out + out_at + ((rl_long)key - base) * p.dim_stride;
#if MODE == 0
            RL_LOCAL(value) held = (RL_LOCAL(value))(0);
#else
            RL_LOCAL(value) held = RL_LOCAL(load)(to, p.inner_stride[1], n);
#endif
            for (rl_long q = first; q < p.count && keys[q] == key; q++) {
                rl_long at = in_row;
                RL_OFFSET(at, (rl_long)order[q], DIMS, p.shape, p.stride[0]);
                held = RL_LOCAL(combine)(held, RL_LOCAL(load)(in + at, p.inner_stride[0], n));
            }
#if SOLE
            *to = O_DTYPE(held);
#elif UNIT
            rl_store(to, n, O_DTYPE(held));
#else
            rl_store(to, p.inner_stride[1], n, O_DTYPE(held));
#endif
        }
    }
}
