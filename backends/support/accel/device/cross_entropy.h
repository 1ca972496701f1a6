/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cross_entropy and its backward, after line.h: a line is a row of logits. Words: INDEX_DTYPE; STAT_DTYPE, of loss,
 * log_sum and grad_loss; BACKWARD. Operands: logits, target, loss (backward: its gradient), log_sum, grad (backward).
 */
#define RL_STAT(x) RL_LOCAL(stat)(x)
RL_FN R_DTYPE RL_LOCAL(stat)(T_STAT_DTYPE x) {
    return (R_DTYPE)x;
}
RL_FN int RL_LOCAL(is_class)(rl_long target, rl_long classes) {
    return target >= 0 && target < classes;
}

/* Loss and log_sum of one row, by one work-item. */
#define RL_FINISH_ROW(at, most, total)                                                                                 \
    do {                                                                                                               \
        const rl_long c = (rl_long)target[p.target_offset + (at)*p.target_stride];                                     \
        const R_DTYPE log_total = rl_i_LOG(total);                                                                     \
        R_DTYPE value = 0;                                                                                             \
        log_sum[p.log_sum_offset + (at)*p.log_sum_stride] = (T_STAT_DTYPE)((most) + log_total);                        \
        if (RL_LOCAL(is_class)(c, p.classes) && c != p.ignored)                                                        \
            value = log_total - (I_DTYPE(logits[p.offset + (at)*p.row + c * p.column]) - (most));                      \
        else if (c != p.ignored)                                                                                       \
            rl_flag(flags, RL_FLAG_CROSS_ENTROPY, c, p.classes);                                                       \
        loss[p.loss_offset + (at)*p.loss_stride] = (T_STAT_DTYPE)value;                                                \
    } while (0)

RL_KERNEL(const RL_GLOBAL T_DTYPE *logits, const RL_GLOBAL T_INDEX_DTYPE *target, RL_GLOBAL T_STAT_DTYPE *loss,
          RL_GLOBAL T_STAT_DTYPE *log_sum, RL_GLOBAL T_DTYPE *grad, RL_GLOBAL rl_flags *flags,
          RL_PARAMS(rl_cross_entropy_params) p) {
    RL_LINE_SHARED();
    RL_FOR_LINES(i, own, p.items) {
        const rl_long size = own ? p.classes : 0;
#if COLUMNS
        const rl_long row = i * RL_WIDTH;
        const int lanes = (int)rl_least(p.rows - row, RL_WIDTH);
#define STRIDE p.row
#define GRAD_STRIDE p.grad_row
#else
        const rl_long row = i;
#define STRIDE p.column
#define GRAD_STRIDE p.grad_column
#endif
        const RL_GLOBAL T_DTYPE *x = logits + p.offset + row * p.row;
#if BACKWARD
        RL_GLOBAL T_DTYPE *to = grad + p.grad_offset + row * p.grad_row;
#if COLUMNS
        R_DTYPE each_sum[RL_WIDTH], each_grad[RL_WIDTH];
        long each_class[RL_WIDTH];
        for (int l = 0; l < RL_WIDTH; l++) {
            const rl_long of = row + (l < lanes ? l : 0);
            each_class[l] = (long)target[p.target_offset + of * p.target_stride];
            each_sum[l] = RL_STAT(log_sum[p.log_sum_offset + of * p.log_sum_stride]);
            each_grad[l] = each_class[l] == p.ignored ? 0 : RL_STAT(loss[p.loss_offset + of * p.loss_stride]);
            if (!RL_LOCAL(is_class)(each_class[l], p.classes) && each_class[l] != p.ignored)
                rl_flag(flags, RL_FLAG_CROSS_ENTROPY_BACKWARD, each_class[l], p.classes);
            if (!RL_LOCAL(is_class)(each_class[l], p.classes))
                each_grad[l] = 0;
        }
#if RL_WIDTH > 1
        const V_DTYPE s = RL_WIDE(vload, RL_WIDTH)(0, each_sum), g = RL_WIDE(vload, RL_WIDTH)(0, each_grad);
        const rl_i64 of_class = RL_WIDE(vload, RL_WIDTH)(0, each_class);
#else
        const V_DTYPE s = each_sum[0], g = each_grad[0];
        const rl_i64 of_class = each_class[0];
#endif
        for (rl_long j = 0; j < size; j++) {
            V_DTYPE e = rl_i_EXP(RL_LOCAL(load)(x + j * p.column, STRIDE, lanes) - s);
            const rl_i32 is_it = rl_i_EQ(of_class, (rl_i64)((long)j));
            V_DTYPE y = g * (e - rl_i_SELECT(is_it, RL_LOCAL(all)(1), RL_LOCAL(all)(0)));
            y = rl_i_SELECT(rl_i_EQ(g, RL_LOCAL(all)(0)), RL_LOCAL(all)(0), y);
            RL_LOCAL(store)(to + j * p.grad_column, GRAD_STRIDE, lanes, y);
        }
#else
        const rl_long c = (rl_long)target[p.target_offset + row * p.target_stride];
        const int good = RL_LOCAL(is_class)(c, p.classes) && c != p.ignored;
        const R_DTYPE s = RL_STAT(log_sum[p.log_sum_offset + row * p.log_sum_stride]);
        const R_DTYPE g = good ? RL_STAT(loss[p.loss_offset + row * p.loss_stride]) : 0;
        if (own && RL_MEMBER == 0 && !good && c != p.ignored)
            rl_flag(flags, RL_FLAG_CROSS_ENTROPY_BACKWARD, c, p.classes);
        if (g == 0) {
            rl_long j = RL_FIRST;
#define NOTHING RL_LOCAL(store)(to + j * p.grad_column, GRAD_STRIDE, n, RL_LOCAL(all)(0));
            RL_EACH_VECTOR(j, size, NOTHING)
        } else {
            rl_long j = RL_FIRST;
#define SLOPE                                                                                                          \
    V_DTYPE e = rl_i_EXP(RL_LOCAL(load)(x + j * p.column, STRIDE, n) - s);                                             \
    if (c >= j && c < j + RL_WIDTH) {                                                                                  \
        const rl_i32 is_it = rl_i_EQ(rl_lanes(), (rl_i64)((long)(c - j)));                                             \
        e = e - rl_i_SELECT(is_it, RL_LOCAL(all)(1), RL_LOCAL(all)(0));                                                \
    }                                                                                                                  \
    RL_LOCAL(store)(to + j * p.grad_column, GRAD_STRIDE, n, e * g);
            RL_EACH_VECTOR(j, size, SLOPE)
        }
#endif
#else
        V_DTYPE most = RL_LOCAL(all)(-RL_INFINITY), total = RL_LOCAL(all)(0), part = total;
        rl_long j = RL_FIRST;
#define LOAD RL_LOCAL(load)(x + j * p.column, STRIDE, n)
#if COLUMNS
#define MASK(v, other) v
#else
#define MASK(v, other) (n == RL_WIDTH ? v : RL_LOCAL(first)(v, n, other))
#endif
#define MOST most = RL_LOCAL(greater)(most, MASK(LOAD, most));
        RL_EACH_VECTOR(j, size, MOST)
        RL_JOIN_MAX(most);
        /* Of an infinite greatest no difference is to be taken. */
        most = rl_i_SELECT(rl_i_LT(rl_i_ABS(most), RL_LOCAL(all)(RL_INFINITY)), most, RL_LOCAL(all)(0));
#define SUM part += MASK(RL_LOCAL(decay)(LOAD - most), RL_LOCAL(all)(0));
        for (j = RL_FIRST; j < size;) {
            const rl_long end = rl_least(j + 256 * RL_NEXT, size);
            RL_EACH_VECTOR(j, end, SUM)
            total += part;
            part = RL_LOCAL(all)(0);
        }
        RL_JOIN_SUM(total);
#if COLUMNS && RL_WIDTH > 1
        R_DTYPE each_most[RL_WIDTH], each_total[RL_WIDTH];
        RL_WIDE(vstore, RL_WIDTH)(most, 0, each_most);
        RL_WIDE(vstore, RL_WIDTH)(total, 0, each_total);
        for (int l = 0; l < lanes; l++)
            RL_FINISH_ROW(row + l, each_most[l], each_total[l]);
#else
        if (own && RL_MEMBER == 0)
            RL_FINISH_ROW(row, RL_LOCAL(lane)(most), RL_LOCAL(lane)(total));
#endif
#endif
    }
}
#undef STRIDE
#undef GRAD_STRIDE
#undef NOTHING
#undef SLOPE
#undef LOAD
#undef MASK
#undef MOST
#undef SUM
#undef RL_STAT
#undef RL_FINISH_ROW
