/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Elements from one place to another. MOVE 0: copy; 1: gather, `in` at an index along a dimension; 2: scatter, `out` at
 * an index; 3: zeros to `out`. DTYPE is any of the elements' size. OUTER dimensions and an inner one are walked; where
 * the index does not change along the inner one (ROWS), an item is a vector along it, with UNIT of strides 1.
 */
#if NARROW
typedef rl_uint RL_LOCAL(number);
#else
typedef rl_ulong RL_LOCAL(number);
#endif
RL_KERNEL(const RL_GLOBAL T_DTYPE *in, const RL_GLOBAL T_INDEX_DTYPE *index, RL_GLOBAL T_DTYPE *out,
          RL_GLOBAL rl_flags *flags, RL_PARAMS(rl_move_params) p) {
    const int step = ROWS ? RL_WIDTH : 1;
    const rl_long pieces = (p.inner + step - 1) / step, total = p.rows * pieces;
    RL_FOR_ITEMS(t, total, 1) {
        const rl_long row = (rl_long)((RL_LOCAL(number))t / (RL_LOCAL(number))pieces), piece = t - row * pieces;
        rl_long in_row = p.offset[0], index_row = p.offset[1], out_row = p.offset[2], end = piece + 1;
        RL_LOCAL(number) rest = (RL_LOCAL(number))row;
        for (int d = OUTER - 1; d >= 0; d--) {
            const RL_LOCAL(number) next = d ? rest / (RL_LOCAL(number))p.shape[d] : 0;
            const rl_long x = (rl_long)(d ? rest - next * (RL_LOCAL(number))p.shape[d] : rest);
            in_row += x * p.stride[0][d];
            index_row += x * p.stride[1][d];
            out_row += x * p.stride[2][d];
            rest = next;
        }
#if RL_GROUP == 1 /* the thread's items in this row */
        end = rl_least(pieces, piece + (t_end - t));
        t += end - piece - 1;
#endif
#if ROWS && (MOVE == 1 || MOVE == 2)
        const rl_long at = (rl_long)index[index_row];
        if (at < 0 || at >= p.dim_size) {
            rl_flag(flags, MOVE == 1 ? RL_FLAG_GATHER : RL_FLAG_SCATTER, at, p.dim_size);
            continue;
        }
        if (MOVE == 1)
            in_row += at * p.dim_stride;
        else
            out_row += at * p.dim_stride;
#endif
        for (rl_long j = piece * step; j < end * step; j += step) {
            rl_long in_at = in_row + j * p.inner_stride[0], out_at = out_row + j * p.inner_stride[2];
#if ROWS
            const int n = (int)rl_least(p.inner - j, RL_WIDTH);
#if UNIT && MOVE != 3
            rl_store(out + out_at, n, rl_load(in + in_at, n));
#else
            const rl_long in_step = p.inner_stride[0], out_step = UNIT ? 1 : p.inner_stride[2];
            if (n == RL_WIDTH)
                for (int l = 0; l < RL_WIDTH; l++)
                    out[out_at + l * out_step] = MOVE == 3 ? (T_DTYPE)0 : in[in_at + l * in_step];
            else
                for (int l = 0; l < n; l++)
                    out[out_at + l * out_step] = MOVE == 3 ? (T_DTYPE)0 : in[in_at + l * in_step];
#endif
#else
            const rl_long at = (rl_long)index[index_row + j * p.inner_stride[1]];
            if (at < 0 || at >= p.dim_size) {
                rl_flag(flags, MOVE == 1 ? RL_FLAG_GATHER : RL_FLAG_SCATTER, at, p.dim_size);
                continue;
            }
            if (MOVE == 1)
                in_at += at * p.dim_stride;
            else
                out_at += at * p.dim_stride;
            out[out_at] = in[in_at];
#endif
        }
    }
}
