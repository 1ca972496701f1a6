/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attention, forward and backward, without memory for the scores (Dao et al., "FlashAttention", 2022): an item is
 * RL_WIDTH rows, one a lane, of queries (PASS 0, the output; PASS 1, the gradient of q) or of keys (PASS 2, the
 * gradients of k and v), and walks along the other side's rows, KEYS at a time, whose numbers are broadcast.
 *
 * Of the forward, `top` is the greatest score met, `sum` the sum of exp(score - top), and `o` the same sum of v. The
 * operands that are walked along are of RDTYPE; MOST is the room for a row's numbers.
 */
#define AT(name, b, h) (p.name##_at + (b)*p.name##_stride[0] + (h)*p.name##_stride[1])
#if RDTYPE_WIDE
#define SCALE as_double(p.scale)
#else
#define SCALE as_float((int)p.scale)
#endif

/* The score of lanes' rows with a row of the other side, from their product; -infinity where they do not see each
 * other. `row` and `column` are the first lane's, a lane adds `row_step` and `column_step` of them; mask at the first
 * lane. */
#define MASKED(score, mask_at, step, n)                                                                                \
    if (p.mask_kind == 1)                                                                                              \
        score = rl_i_SELECT(rl_in_BOOL(rl_load(mask + (mask_at), step, n)), score, (V_RDTYPE)(-RL_INFINITY));          \
    else if (p.mask_kind == 2)                                                                                         \
    score = rl_i_ADD(score, I_DTYPE(rl_load((const RL_GLOBAL T_DTYPE *)mask + (mask_at), step, n)))
#define SEEN(score, row, column)                                                                                       \
    if (p.causal)                                                                                                      \
    score = rl_i_SELECT(rl_i_LE(column, row), score, (V_RDTYPE)(-RL_INFINITY))

#if PASS == 0
RL_KERNEL(const RL_GLOBAL T_DTYPE *q, const RL_GLOBAL T_RDTYPE *k, const RL_GLOBAL T_RDTYPE *v,
          const RL_GLOBAL uchar *mask, RL_GLOBAL T_DTYPE *out, RL_GLOBAL R_RDTYPE *log_sum,
          RL_PARAMS(rl_attention_params) p) {
    const rl_long blocks = (p.q_length + RL_WIDTH - 1) / RL_WIDTH;
    const int width = (int)p.width, value_width = (int)p.value_width;
    RL_FOR_ITEMS(t, p.batch * p.heads * blocks, 1) {
        const rl_long line = t / blocks, i0 = (t - line * blocks) * RL_WIDTH, b = line / p.heads,
                      h = line - b * p.heads;
        const int n = (int)rl_least(p.q_length - i0, RL_WIDTH);
        const rl_i64 rows = (rl_i64)(i0) + rl_lanes();
        V_RDTYPE x[MOST], o[MOST], top = (V_RDTYPE)(-RL_INFINITY), sum = (V_RDTYPE)(0);
        const rl_long end = p.causal ? rl_least(p.k_length, i0 + n) : p.k_length;
        for (int d = 0; d < width; d++)
            x[d] =
                rl_i_MUL((V_RDTYPE)(SCALE),
                         I_DTYPE(rl_load(q + AT(q, b, h) + i0 * p.q_stride[2] + d * p.q_stride[3], p.q_stride[2], n)));
        for (int d = 0; d < value_width; d++)
            o[d] = (V_RDTYPE)(0);
        for (rl_long j0 = 0; j0 < end; j0 += 4) {
            const int keys = (int)rl_least(end - j0, 4);
            V_RDTYPE s[4], next = top;
            const RL_GLOBAL T_RDTYPE *k0 = k + AT(k, b, h) + j0 * p.k_stride[2];
            if (keys == 4) {
                const RL_GLOBAL T_RDTYPE *k1 = k0 + p.k_stride[2], *k2 = k1 + p.k_stride[2], *k3 = k2 + p.k_stride[2];
                V_RDTYPE s0 = (V_RDTYPE)(0), s1 = s0, s2 = s0, s3 = s0;
                for (int d = 0; d < width; d++) {
                    const rl_long at = d * p.k_stride[3];
                    s0 = fma(x[d], (V_RDTYPE)(k0[at]), s0);
                    s1 = fma(x[d], (V_RDTYPE)(k1[at]), s1);
                    s2 = fma(x[d], (V_RDTYPE)(k2[at]), s2);
                    s3 = fma(x[d], (V_RDTYPE)(k3[at]), s3);
                }
                s[0] = s0;
                s[1] = s1;
                s[2] = s2;
                s[3] = s3;
            } else {
                for (int c = 0; c < 4; c++) {
                    s[c] = (V_RDTYPE)(0);
                    for (int d = 0; d < width && c < keys; d++)
                        s[c] = fma(x[d], (V_RDTYPE)(k0[c * p.k_stride[2] + d * p.k_stride[3]]), s[c]);
                }
            }
            for (int c = 0; c < 4; c++) {
                if (c >= keys) {
                    s[c] = (V_RDTYPE)(-RL_INFINITY);
                    continue;
                }
                MASKED(s[c], AT(mask, b, h) + i0 * p.mask_stride[2] + (j0 + c) * p.mask_stride[3], p.mask_stride[2], n);
                SEEN(s[c], rows, (rl_i64)(j0 + c));
                next = rl_i_MAX(s[c], next);
            }
            /* Rows that have seen nothing yet have no top to take away. */
            const V_RDTYPE less = rl_i_SELECT(rl_i_EQ(next, (V_RDTYPE)(-RL_INFINITY)), (V_RDTYPE)(0), next);
            const V_RDTYPE fade = rl_i_EXP(rl_i_SUB(top, less));
            top = next;
            sum = sum * fade;
            for (int c = 0; c < 4; c++) {
                s[c] = rl_i_EXP(rl_i_SUB(s[c], less));
                sum = sum + s[c];
            }
            const RL_GLOBAL T_RDTYPE *v0 = v + AT(v, b, h) + j0 * p.v_stride[2];
            const rl_long v1 = keys > 1 ? p.v_stride[2] : 0, v2 = keys > 2 ? 2 * p.v_stride[2] : 0;
            const rl_long v3 = keys > 3 ? 3 * p.v_stride[2] : 0;
            for (int d = 0; d < value_width; d++) {
                const RL_GLOBAL T_RDTYPE *at = v0 + d * p.v_stride[3];
                V_RDTYPE y = fma(s[0], (V_RDTYPE)(at[0]), o[d] * fade);
                y = fma(s[1], (V_RDTYPE)(at[v1]), y);
                y = fma(s[2], (V_RDTYPE)(at[v2]), y);
                o[d] = fma(s[3], (V_RDTYPE)(at[v3]), y);
            }
        }
        const V_RDTYPE none = (V_RDTYPE)(0), by = rl_i_SELECT(rl_i_EQ(sum, none), none, (V_RDTYPE)(1) / sum);
        for (int d = 0; d < value_width; d++)
            rl_store(out + AT(out, b, h) + i0 * p.out_stride[2] + d * p.out_stride[3], p.out_stride[2], n,
                     O_DTYPE(o[d] * by));
        rl_store(log_sum + AT(log, b, h) + i0 * p.log_stride[2], p.log_stride[2], n, rl_i_ADD(top, rl_i_LOG(sum)));
    }
}
#elif PASS == 1
RL_KERNEL(const RL_GLOBAL T_DTYPE *grad_out, const RL_GLOBAL T_DTYPE *q, const RL_GLOBAL T_RDTYPE *k,
          const RL_GLOBAL T_RDTYPE *v, const RL_GLOBAL uchar *mask, const RL_GLOBAL T_DTYPE *out,
          const RL_GLOBAL R_RDTYPE *log_sum, RL_GLOBAL T_DTYPE *grad_q, RL_GLOBAL R_RDTYPE *dots,
          RL_PARAMS(rl_attention_params) p) {
    const rl_long blocks = (p.q_length + RL_WIDTH - 1) / RL_WIDTH;
    const int width = (int)p.width, value_width = (int)p.value_width;
    RL_FOR_ITEMS(t, p.batch * p.heads * blocks, 1) {
        const rl_long line = t / blocks, i0 = (t - line * blocks) * RL_WIDTH, b = line / p.heads,
                      h = line - b * p.heads;
        const int n = (int)rl_least(p.q_length - i0, RL_WIDTH);
        const rl_i64 rows = (rl_i64)(i0) + rl_lanes();
        V_RDTYPE x[MOST], g[MOST], dq[MOST], dot_o = (V_RDTYPE)(0);
        const rl_long end = p.causal ? rl_least(p.k_length, i0 + n) : p.k_length;
        for (int d = 0; d < width; d++) {
            x[d] =
                rl_i_MUL((V_RDTYPE)(SCALE),
                         I_DTYPE(rl_load(q + AT(q, b, h) + i0 * p.q_stride[2] + d * p.q_stride[3], p.q_stride[2], n)));
            dq[d] = (V_RDTYPE)(0);
        }
        for (int d = 0; d < value_width; d++) {
            g[d] = I_DTYPE(
                rl_load(grad_out + AT(grad, b, h) + i0 * p.grad_stride[2] + d * p.grad_stride[3], p.grad_stride[2], n));
            dot_o = fma(
                g[d],
                I_DTYPE(rl_load(out + AT(out, b, h) + i0 * p.out_stride[2] + d * p.out_stride[3], p.out_stride[2], n)),
                dot_o);
        }
        rl_store(dots + line * p.q_length + i0, n, dot_o);
        const V_RDTYPE sums = rl_load(log_sum + AT(log, b, h) + i0 * p.log_stride[2], p.log_stride[2], n);
        for (rl_long j = 0; j < end; j++) {
            const RL_GLOBAL T_RDTYPE *kj = k + AT(k, b, h) + j * p.k_stride[2];
            const RL_GLOBAL T_RDTYPE *vj = v + AT(v, b, h) + j * p.v_stride[2];
            V_RDTYPE s = (V_RDTYPE)(0), dp = (V_RDTYPE)(0);
            for (int d = 0; d < width; d++)
                s = fma(x[d], (V_RDTYPE)(kj[d * p.k_stride[3]]), s);
            for (int d = 0; d < value_width; d++)
                dp = fma(g[d], (V_RDTYPE)(vj[d * p.v_stride[3]]), dp);
            MASKED(s, AT(mask, b, h) + i0 * p.mask_stride[2] + j * p.mask_stride[3], p.mask_stride[2], n);
            SEEN(s, rows, (rl_i64)(j));
            const rl_i32 unseen = rl_i_EQ(s, (V_RDTYPE)(-RL_INFINITY));
            const V_RDTYPE w = rl_i_SELECT(unseen, (V_RDTYPE)(0), rl_i_EXP(rl_i_SUB(s, sums)));
            const V_RDTYPE ds = w * (dp - dot_o) * (V_RDTYPE)(SCALE);
            for (int d = 0; d < width; d++)
                dq[d] = fma(ds, (V_RDTYPE)(kj[d * p.k_stride[3]]), dq[d]);
        }
        for (int d = 0; d < width; d++)
            rl_store(grad_q + AT(dq, b, h) + i0 * p.dq_stride[2] + d * p.dq_stride[3], p.dq_stride[2], n,
                     O_DTYPE(dq[d]));
    }
}
#else
RL_KERNEL(const RL_GLOBAL T_RDTYPE *grad_out, const RL_GLOBAL T_RDTYPE *q, const RL_GLOBAL T_DTYPE *k,
          const RL_GLOBAL T_DTYPE *v, const RL_GLOBAL uchar *mask, const RL_GLOBAL R_RDTYPE *log_sum,
          const RL_GLOBAL R_RDTYPE *dots, RL_GLOBAL T_DTYPE *grad_k, RL_GLOBAL T_DTYPE *grad_v,
          RL_PARAMS(rl_attention_params) p) {
    const rl_long blocks = (p.k_length + RL_WIDTH - 1) / RL_WIDTH;
    const int width = (int)p.width, value_width = (int)p.value_width;
    RL_FOR_ITEMS(t, p.batch * p.heads * blocks, 1) {
        const rl_long line = t / blocks, j0 = (t - line * blocks) * RL_WIDTH, b = line / p.heads,
                      h = line - b * p.heads;
        const int n = (int)rl_least(p.k_length - j0, RL_WIDTH);
        const rl_i64 columns = (rl_i64)(j0) + rl_lanes();
        V_RDTYPE x[MOST], y[MOST], dk[MOST], dv[MOST];
        for (int d = 0; d < width; d++) {
            x[d] =
                rl_i_MUL((V_RDTYPE)(SCALE),
                         I_DTYPE(rl_load(k + AT(k, b, h) + j0 * p.k_stride[2] + d * p.k_stride[3], p.k_stride[2], n)));
            dk[d] = (V_RDTYPE)(0);
        }
        for (int d = 0; d < value_width; d++) {
            y[d] = I_DTYPE(rl_load(v + AT(v, b, h) + j0 * p.v_stride[2] + d * p.v_stride[3], p.v_stride[2], n));
            dv[d] = (V_RDTYPE)(0);
        }
        for (rl_long i = p.causal ? j0 : 0; i < p.q_length; i++) {
            const RL_GLOBAL T_RDTYPE *qi = q + AT(q, b, h) + i * p.q_stride[2];
            const RL_GLOBAL T_RDTYPE *gi = grad_out + AT(grad, b, h) + i * p.grad_stride[2];
            V_RDTYPE s = (V_RDTYPE)(0), dp = (V_RDTYPE)(0);
            for (int d = 0; d < width; d++)
                s = fma(x[d], (V_RDTYPE)(qi[d * p.q_stride[3]]), s);
            for (int d = 0; d < value_width; d++)
                dp = fma(y[d], (V_RDTYPE)(gi[d * p.grad_stride[3]]), dp);
            MASKED(s, AT(mask, b, h) + i * p.mask_stride[2] + j0 * p.mask_stride[3], p.mask_stride[3], n);
            SEEN(s, (rl_i64)(i), columns);
            const rl_i32 unseen = rl_i_EQ(s, (V_RDTYPE)(-RL_INFINITY));
            const V_RDTYPE sums = (V_RDTYPE)(log_sum[AT(log, b, h) + i * p.log_stride[2]]);
            const V_RDTYPE w = rl_i_SELECT(unseen, (V_RDTYPE)(0), rl_i_EXP(rl_i_SUB(s, sums)));
            const V_RDTYPE ds = w * (dp - (V_RDTYPE)(dots[line * p.q_length + i])) * (V_RDTYPE)(SCALE);
            for (int d = 0; d < value_width; d++)
                dv[d] = fma(w, (V_RDTYPE)(gi[d * p.grad_stride[3]]), dv[d]);
            for (int d = 0; d < width; d++)
                dk[d] = fma(ds, (V_RDTYPE)(qi[d * p.q_stride[3]]), dk[d]);
        }
        for (int d = 0; d < width; d++)
            rl_store(grad_k + AT(dk, b, h) + j0 * p.dk_stride[2] + d * p.dk_stride[3], p.dk_stride[2], n,
                     O_DTYPE(dk[d]));
        for (int d = 0; d < value_width; d++)
            rl_store(grad_v + AT(dv, b, h) + j0 * p.dv_stride[2] + d * p.dv_stride[3], p.dv_stride[2], n,
                     O_DTYPE(dv[d]));
    }
}
#endif
#undef AT
#undef SCALE
#undef MASKED
#undef SEEN
