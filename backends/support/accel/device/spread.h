/* SPDX-License-Identifier: Apache-2.0 */
/* Copies an operand in the form that gemm.h reads: contiguous, in its register's type, with padding, and with the gaps
 * of a strided convolution's gradient, in memory. */
RL_KERNEL(const RL_GLOBAL T_DTYPE *in, RL_GLOBAL R_DTYPE *out, RL_PARAMS(rl_spread_params) p) {
    const rl_long vectors = (p.shape[4] + RL_WIDTH - 1) / RL_WIDTH;
    RL_FOR_ITEMS(t, p.shape[0] * p.shape[1] * p.shape[2] * p.shape[3] * vectors, 1) {
        const rl_long row = t / vectors, j = (t - row * vectors) * RL_WIDTH;
        const int n = (int)rl_least(p.shape[4] - j, RL_WIDTH);
        rl_long rest = row, at = p.in_at;
        int inside = 1;
        for (int d = 3; d >= 0; d--) {
            rl_long x = rest % p.shape[d];
            rest /= p.shape[d];
            if (d >= 2) {
                x -= p.origin[d - 2];
                inside &= x >= 0 && x % p.step[d - 2] == 0;
                x /= p.step[d - 2];
                inside &= x < p.size[d - 2];
            }
            at += x * p.in_stride[d];
        }
        const rl_long first = j - p.origin[2];
        V_DTYPE value;
        if (inside && p.step[2] == 1 && p.in_stride[4] == 1 && first >= 0 && first + n <= p.size[2]) {
            value = I_DTYPE(rl_load(in + at + first, n));
        } else {
            R_DTYPE lanes[RL_WIDTH];
            for (int l = 0; l < RL_WIDTH; l++) {
                const rl_long x = first + l, from = x / p.step[2];
                const int good = inside && l < n && x >= 0 && from * p.step[2] == x && from < p.size[2];
                lanes[l] = good ? I_DTYPE(in[at + from * p.in_stride[4]]) : (R_DTYPE)(0);
            }
            value = RL_WIDE(vload, RL_WIDTH)(0, lanes);
        }
        rl_store(out + row * p.shape[4] + j, n, value);
    }
}
