/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scatter that combines, for few elements or many columns: an item owns a column along the dimension (all other
 * coordinates fixed), so that elements meet in one order. MODE as rl_scatter_mode, 1 .. 4.
 */
RL_FN R_DTYPE RL_LOCAL(combine)(R_DTYPE a, R_DTYPE b) {
#if MODE == 1
    return rl_i_ADD(a, b);
#elif MODE == 2
    return rl_i_MUL(a, b);
#elif MODE == 3
    return rl_i_MAX(a, b);
#else
    return rl_i_MIN(a, b);
#endif
}
RL_KERNEL(const RL_GLOBAL T_DTYPE *in, const RL_GLOBAL T_INDEX_DTYPE *index, RL_GLOBAL T_DTYPE *out,
          RL_GLOBAL rl_flags *flags, RL_PARAMS(rl_lines_params) p) {
    RL_FOR_ITEMS(c, p.lines, 1) {
        rl_long in_at = p.offset[0], index_at = p.offset[1], out_at = p.offset[2];
        RL_OFFSET(in_at, c, DIMS, p.shape, p.stride[0]);
        RL_OFFSET(index_at, c, DIMS, p.shape, p.stride[1]);
        RL_OFFSET(out_at, c, DIMS, p.shape, p.stride[2]);
        for (rl_long j = 0; j < p.length; j++) {
            const rl_long at = (rl_long)index[index_at + j * p.step[1]];
            if (at >= 0 && at < p.dim_size) {
                RL_GLOBAL T_DTYPE *to = out + out_at + at * p.step[2];
                *to = O_DTYPE(RL_LOCAL(combine)(I_DTYPE(*to), I_DTYPE(in[in_at + j * p.step[0]])));
            } else {
                rl_flag(flags, RL_FLAG_SCATTER, at, p.dim_size);
            }
        }
    }
}
