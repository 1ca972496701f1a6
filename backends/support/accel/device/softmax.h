/* SPDX-License-Identifier: Apache-2.0 */
/*
 * softmax and softmax_backward, after line.h. Words: LOG; BACKWARD; DIMS of the lines, of which in COLUMNS the last one
 * goes along the lanes; KEEP, 1 where exponentials stay in `out` until they are divided.
 * Operands: forward a = in, b unused; backward a = grad_out, b = the forward's out.
 */
RL_KERNEL(const RL_GLOBAL T_DTYPE *a, const RL_GLOBAL T_DTYPE *b, RL_GLOBAL T_DTYPE *out,
          RL_PARAMS(rl_softmax_params) p) {
    RL_LINE_SHARED();
    RL_FOR_LINES(i, own, p.items) {
        rl_long at[3];
        for (int k = 0; k < 3; k++)
            at[k] = p.offset[k];
#if COLUMNS
        const rl_long outer = (rl_long)((rl_ulong)i / (rl_ulong)p.vectors), column = (i - outer * p.vectors) * RL_WIDTH;
        const int lanes = (int)rl_least(p.shape[DIMS - 1] - column, RL_WIDTH);
        for (int k = 0; k < 3; k++) {
            RL_OFFSET(at[k], outer, DIMS - 1, p.shape, p.stride[k]);
            at[k] += column * p.stride[k][DIMS - 1];
        }
#define STRIDE(k) p.stride[k][DIMS - 1]
#else
        for (int k = 0; k < 3; k++)
            RL_OFFSET(at[k], i, DIMS, p.shape, p.stride[k]);
#define STRIDE(k) p.along[k]
#endif
        const rl_long size = own ? p.size : 0, block = 256 * RL_NEXT;
        const RL_GLOBAL T_DTYPE *pa = a + at[0], *pb = b + at[1];
        RL_GLOBAL T_DTYPE *po = out + at[2];
        V_DTYPE total = RL_LOCAL(all)(0), part = total;
        rl_long j = RL_FIRST;
#define LOAD_A RL_LOCAL(load)(pa + j * p.along[0], STRIDE(0), n)
#define LOAD_B RL_LOCAL(load)(pb + j * p.along[1], STRIDE(1), n)
#define LOAD_OUT RL_LOCAL(load)(po + j * p.along[2], STRIDE(2), n)
#define STORE(value) RL_LOCAL(store)(po + j * p.along[2], STRIDE(2), n, value)
#if BACKWARD
#if LOG
#define SUM part += LOAD_A;
#define PUT STORE(LOAD_A - rl_i_EXP(LOAD_B) * total);
#else
#define SUM part = rl_i_FMA(LOAD_A, LOAD_B, part);
#define PUT STORE(LOAD_B *(LOAD_A - total));
#endif
#else
#if COLUMNS
#define MOST most = RL_LOCAL(greater)(most, LOAD_A);
#define MASK(v, other) v
#else
#define MOST most = RL_LOCAL(greater)(most, MASK(LOAD_A, most));
#define MASK(v, other) (n == RL_WIDTH ? v : RL_LOCAL(first)(v, n, other))
#endif
        V_DTYPE most = RL_LOCAL(all)(-RL_INFINITY);
        RL_EACH_VECTOR(j, size, MOST)
        RL_JOIN_MAX(most);
#if KEEP
#define SUM                                                                                                            \
    const V_DTYPE e = RL_LOCAL(decay)(LOAD_A - most);                                                                  \
    STORE(e);                                                                                                          \
    part += MASK(e, RL_LOCAL(all)(0));
#define PUT STORE(LOAD_OUT *total);
#else
#define SUM part += MASK(RL_LOCAL(decay)(LOAD_A - most), RL_LOCAL(all)(0));
#if LOG
#define PUT STORE(LOAD_A - most - total);
#else
#define PUT STORE(RL_LOCAL(decay)(LOAD_A - most) * total);
#endif
#endif
#endif
        for (j = RL_FIRST; j < size;) {
            const rl_long end = rl_least(j + block, size);
            RL_EACH_VECTOR(j, end, SUM)
            total += part;
            part = RL_LOCAL(all)(0);
        }
        RL_JOIN_SUM(total);
#if !BACKWARD
#if LOG
        total = rl_i_LOG(total);
#else
        total = rl_i_RECIP(total);
#endif
#endif
        j = RL_FIRST;
        RL_EACH_VECTOR(j, size, PUT)
    }
}
#undef STRIDE
#undef LOAD_A
#undef LOAD_B
#undef LOAD_OUT
#undef STORE
#undef SUM
#undef PUT
#undef MOST
#undef MASK
