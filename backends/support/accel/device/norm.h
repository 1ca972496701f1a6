/* SPDX-License-Identifier: Apache-2.0 */
/*
 * norm and norm_backward, after line.h. A line is one place of the kept dimensions; along it lie `rows` rows of `inner`
 * elements. Words:
 *   BACKWARD, CENTER
 *   PASS         0 WHOLE     what a line needs is found, and then used
 *                1 PARTS     what a part of a line gives goes to scratch
 *                2 MERGE     parts of a line become one
 *                3 APPLY     uses that
 *   OUT          whether `out` (backward: grad_in) is written
 *   LINE_WEIGHT  weight is one number for each line; then sums are without it, and are the gradients of weight and bias
 *   WEIGHT, BIAS, GRAD_WEIGHT  3: absent; else how they go along the lanes, 0: one for all, 1: next to each other, 2:
 * by stride; bias is grad_bias in backward STAT         how mean and var go along the lanes, as these; 3: both are
 * absent (never in backward) LINE_STAT    mean and var are one for each line
 *
 * Sums are of differences from a shift, the mean so far: with n numbers seen, whose differences sum up to d in a block
 * and their squares to q, the squares of differences from the mean grow by q - d d / n, and the mean by d / n.
 */
#if WIDE
#define NORM_EPS rl_i_BITCAST((long)p.eps)
#define NORM_REGISTER(x) rl_out_F64(x)
#else
#define NORM_EPS rl_i_BITCAST((int)p.eps)
#define NORM_REGISTER(x) rl_out_F32(x)
#endif
#define NORM_X 0
#define NORM_G 1
#define NORM_OUT 2
#define NORM_W 3
#define NORM_B 4
#define NORM_MEAN 5
#define NORM_VAR 6
#define NORM_GW 7

RL_FN V_DTYPE RL_LOCAL(parameter)(const RL_GLOBAL T_PARAM_DTYPE *from, rl_long stride, int n, int mode) {
    if (mode == 1)
        return NORM_REGISTER(I_PARAM_DTYPE(rl_load(from, n)));
    if (mode == 2)
        return NORM_REGISTER(I_PARAM_DTYPE(rl_load(from, stride, n)));
    return RL_LOCAL(all)(NORM_REGISTER(I_PARAM_DTYPE(*from)));
}
RL_FN void RL_LOCAL(put_parameter)(RL_GLOBAL T_PARAM_DTYPE *to, rl_long stride, int n, V_DTYPE value) {
#if COLUMNS
    rl_store(to, stride, n, O_PARAM_DTYPE(value));
#else
    *to = O_PARAM_DTYPE(RL_LOCAL(lane)(value));
#endif
}
RL_FN V_DTYPE RL_LOCAL(number)(const RL_GLOBAL R_DTYPE *from, rl_long stride, int n, int mode) {
    if (mode == 1)
        return rl_load(from, n);
    if (mode == 2)
        return rl_load(from, stride, n);
    return RL_LOCAL(all)(*from);
}
/* One number for each line. */
RL_FN void RL_LOCAL(put_number)(RL_GLOBAL R_DTYPE *to, rl_long stride, int n, V_DTYPE value) {
#if COLUMNS
    rl_store(to, stride, n, value);
#else
    *to = RL_LOCAL(lane)(value);
#endif
}
RL_FN R_DTYPE RL_LOCAL(positive)(R_DTYPE x) {
    return x < 0 ? 0 : x;
}
RL_FN V_DTYPE RL_LOCAL(inverse)(V_DTYPE var, R_DTYPE eps) {
    return rl_i_RSQRT(var + RL_LOCAL(all)(eps));
}
RL_FN V_DTYPE RL_LOCAL(inverse_at)(const RL_GLOBAL R_DTYPE *var, rl_long stride, int n, int mode, R_DTYPE eps) {
    if (mode == 0) /* one root, not one for each lane */
        return RL_LOCAL(all)(rl_i_RSQRT(*var + eps));
    return RL_LOCAL(inverse)(RL_LOCAL(number)(var, stride, n, mode), eps);
}

/* Numbers of a line's parts, in scratch: two for each part, then two for the line. */
#define NORM_PART(k, part, line) scratch[((k)*p.parts + (part)) * p.lines + (line)]
#define NORM_RESULT(k, line) scratch[(2 * p.parts + (k)) * p.lines + (line)]

#if PASS == 2
/* Elements of part `part`. */
RL_FN rl_long RL_LOCAL(count)(rl_norm_params p, rl_long part) {
    rl_long row = part / p.column_parts, column = part - row * p.column_parts;
    row *= p.row_step;
    column *= p.column_step;
    return rl_least(p.row_step, p.rows - row) * rl_least(p.column_step, p.inner - column);
}
#endif

RL_KERNEL(const RL_GLOBAL T_DTYPE *x, const RL_GLOBAL T_DTYPE *g, RL_GLOBAL T_DTYPE *out,
          const RL_GLOBAL T_PARAM_DTYPE *w, RL_GLOBAL T_PARAM_DTYPE *b, RL_GLOBAL R_DTYPE *mean, RL_GLOBAL R_DTYPE *var,
          RL_GLOBAL T_PARAM_DTYPE *gw, RL_GLOBAL R_DTYPE *scratch, RL_PARAMS(rl_norm_params) p) {
#if PASS == 2
    /* A group takes a line; each work-item joins some of the parts, in their order, and then all join theirs. */
    RL_SHARED R_DTYPE shared_n[RL_GROUP], shared_a[RL_GROUP], shared_b[RL_GROUP];
#if RL_GROUP > 1
    RL_FOR_GROUPS(line, p.lines) {
#else
    RL_FOR_ITEMS(line, p.lines, 1) {
#endif
        R_DTYPE n = 0, first = 0, second = 0;
        for (rl_long part = RL_ITEM; part < p.parts; part += RL_GROUP) {
            const R_DTYPE a = NORM_PART(0, part, line), c = NORM_PART(1, part, line);
#if BACKWARD
            first += a;
            second += c;
#else
            const R_DTYPE more = (R_DTYPE)RL_LOCAL(count)(p, part), all = n + more, apart = a - first;
            first += apart * (more / all);
            second += c + apart * apart * (n * (more / all));
            n = all;
#endif
        }
        shared_n[RL_ITEM] = n;
        shared_a[RL_ITEM] = first;
        shared_b[RL_ITEM] = second;
        for (int s = RL_GROUP / 2; s > 0; s /= 2) {
            RL_BARRIER();
            if (RL_ITEM < s) {
                const int o = RL_ITEM + s;
#if BACKWARD
                shared_a[RL_ITEM] += shared_a[o];
                shared_b[RL_ITEM] += shared_b[o];
#else
                if (shared_n[o] > 0) {
                    const R_DTYPE all = shared_n[RL_ITEM] + shared_n[o], apart = shared_a[o] - shared_a[RL_ITEM];
                    shared_a[RL_ITEM] += apart * (shared_n[o] / all);
                    shared_b[RL_ITEM] += shared_b[o] + apart * apart * (shared_n[RL_ITEM] * (shared_n[o] / all));
                    shared_n[RL_ITEM] = all;
                }
#endif
            }
        }
        if (RL_ITEM == 0) {
#if BACKWARD
            NORM_RESULT(0, line) = shared_a[0];
            NORM_RESULT(1, line) = shared_b[0];
#if LINE_WEIGHT && BIAS != 3
            rl_long b_at = p.offset[NORM_B];
            RL_OFFSET(b_at, line, KEPT, p.kept, p.kept_stride[NORM_B]);
            b[b_at] = O_PARAM_DTYPE(shared_a[0]);
#endif
#if LINE_WEIGHT && GRAD_WEIGHT != 3
            rl_long gw_at = p.offset[NORM_GW];
            RL_OFFSET(gw_at, line, KEPT, p.kept, p.kept_stride[NORM_GW]);
            gw[gw_at] = O_PARAM_DTYPE(shared_b[0]);
#endif
#else
            const R_DTYPE variance = RL_LOCAL(positive)(shared_b[0] / shared_n[0]);
            NORM_RESULT(0, line) = CENTER ? shared_a[0] : 0;
            NORM_RESULT(1, line) = rl_i_RSQRT(variance + NORM_EPS);
#if STAT != 3
            rl_long mean_at = p.offset[NORM_MEAN], var_at = p.offset[NORM_VAR];
            RL_OFFSET(mean_at, line, KEPT, p.kept, p.kept_stride[NORM_MEAN]);
            RL_OFFSET(var_at, line, KEPT, p.kept, p.kept_stride[NORM_VAR]);
#if CENTER
            mean[mean_at] = shared_a[0];
#endif
            var[var_at] = variance;
#endif
#endif
        }
        RL_BARRIER();
    }
#else
    RL_LINE_SHARED();
    RL_FOR_LINES(unit, own, p.items * p.parts) {
        /* Where the line and its part are. */
        rl_long at[RL_NORM_OPERANDS];
        for (int k = 0; k < RL_NORM_OPERANDS; k++)
            at[k] = p.offset[k];
#if COLUMNS
        const rl_long part = unit / p.items, item = unit - part * p.items;
        const rl_long outer = item / p.vectors, column = (item - outer * p.vectors) * RL_WIDTH;
        const rl_long line = outer * p.kept[KEPT - 1] + column;
        const int lanes = (int)rl_least(p.kept[KEPT - 1] - column, RL_WIDTH);
        for (int k = 0; k < RL_NORM_OPERANDS; k++) {
            RL_OFFSET(at[k], outer, KEPT - 1, p.kept, p.kept_stride[k]);
            at[k] += column * p.kept_stride[k][KEPT - 1];
        }
#define LANE(k) p.kept_stride[k][KEPT - 1]
#define NORM_BLOCK 128
#define NORM_LEAST 64
#else
        const rl_long line = unit / p.parts, part = unit - line * p.parts;
        const int lanes = RL_WIDTH;
        for (int k = 0; k < RL_NORM_OPERANDS; k++)
            RL_OFFSET(at[k], line, KEPT, p.kept, p.kept_stride[k]);
#define LANE(k) p.along_stride[k][ALONG - 1]
#define NORM_BLOCK (256 * RL_WIDTH)
#define NORM_LEAST (64 * RL_WIDTH)
#endif
#define NEXT(k) p.along_stride[k][ALONG - 1]
        const rl_long row_part = part / p.column_parts;
        const rl_long row_begin = row_part * p.row_step, row_end = rl_least(row_begin + p.row_step, p.rows);
        const rl_long j_begin = (part - row_part * p.column_parts) * p.column_step;
        const rl_long j_end = rl_least(j_begin + p.column_step, p.inner);
#if !COLUMNS
        const rl_long row_vectors = (j_end - j_begin + RL_WIDTH - 1) / RL_WIDTH;
        const rl_long vectors = own ? (row_end - row_begin) * row_vectors : 0;
#endif
        const V_DTYPE zero = RL_LOCAL(all)(0), one = RL_LOCAL(all)(1);

/* Walks along the part: BEGIN at each row, ADD for each vector at j, FLUSH with the elements seen after each block. */
#define NORM_ROW(k) row_##k
#define NORM_SEEK(k)                                                                                                   \
    rl_long row_##k = at[k];                                                                                           \
    RL_OFFSET(row_##k, row, ALONG - 1, p.along, p.along_stride[k])
#define NORM_AT(k, j) (row_##k + (j)*NEXT(k))
#if !COLUMNS && TEAM > 1
#define NORM_WALK(BEGIN, ADD, FLUSH)                                                                                   \
    for (rl_long block = 0, seen = 0; block < (row_end - row_begin) * row_vectors; block += 64 * TEAM) {               \
        const rl_long block_end = rl_least(block + 64 * TEAM, vectors);                                                \
        for (rl_long v = block + RL_MEMBER; v < block_end; v += TEAM) {                                                \
            const rl_long below = v / row_vectors, row = row_begin + below;                                            \
            const rl_long j = j_begin + (v - below * row_vectors) * RL_WIDTH;                                          \
            const int n = (int)rl_least(j_end - j, RL_WIDTH);                                                          \
            BEGIN ADD                                                                                                  \
        }                                                                                                              \
        const rl_long last = rl_least(block + 64 * TEAM, (row_end - row_begin) * row_vectors),                         \
                      full = last / row_vectors;                                                                       \
        const rl_long total =                                                                                          \
            full * (j_end - j_begin) + rl_least((last - full * row_vectors) * RL_WIDTH, j_end - j_begin);              \
        seen = total;                                                                                                  \
        FLUSH                                                                                                          \
    }
#else
#define NORM_WALK(BEGIN, ADD, FLUSH)                                                                                   \
    {                                                                                                                  \
        rl_long seen = 0, flushed = 0;                                                                                 \
        for (rl_long row = row_begin; row < row_end; row++) {                                                          \
            BEGIN for (rl_long block = j_begin; block < j_end; block += NORM_BLOCK) {                                  \
                const rl_long block_end = rl_least(block + NORM_BLOCK, j_end);                                         \
                rl_long j = block;                                                                                     \
                RL_EACH_VECTOR(j, block_end, ADD)                                                                      \
                seen += block_end - block;                                                                             \
                if (seen - flushed >= NORM_LEAST || (row + 1 == row_end && block_end == j_end)) {                      \
                    FLUSH flushed = seen;                                                                              \
                }                                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
    }
#endif
#define NORM_MASK(v, other)                                                                                            \
    if (!COLUMNS && n < RL_WIDTH)                                                                                      \
    v = RL_LOCAL(first)(v, n, other)

#if BACKWARD
        /* What mean and var say of each line, or below of each place. */
#if LINE_STAT
        const V_DTYPE middle = CENTER ? RL_LOCAL(number)(mean + at[NORM_MEAN], LANE(NORM_MEAN), lanes, STAT) : zero;
        const V_DTYPE inverse = RL_LOCAL(inverse_at)(var + at[NORM_VAR], LANE(NORM_VAR), lanes, STAT, NORM_EPS);
#define NORM_SEEK_STAT
#define NORM_STAT
#elif STAT == 0 && !COLUMNS
#define NORM_SEEK_STAT                                                                                                 \
    NORM_SEEK(NORM_MEAN);                                                                                              \
    NORM_SEEK(NORM_VAR);                                                                                               \
    const V_DTYPE middle = CENTER ? RL_LOCAL(number)(mean + row_NORM_MEAN, 0, RL_WIDTH, 0) : zero;                     \
    const V_DTYPE inverse = RL_LOCAL(inverse_at)(var + row_NORM_VAR, 0, RL_WIDTH, 0, NORM_EPS);
#define NORM_STAT
#else
#define NORM_SEEK_STAT                                                                                                 \
    NORM_SEEK(NORM_MEAN);                                                                                              \
    NORM_SEEK(NORM_VAR);
#define NORM_STAT                                                                                                      \
    const V_DTYPE middle = CENTER ? RL_LOCAL(number)(mean + NORM_AT(NORM_MEAN, j), LANE(NORM_MEAN), n, STAT) : zero;   \
    const V_DTYPE inverse = RL_LOCAL(inverse_at)(var + NORM_AT(NORM_VAR, j), LANE(NORM_VAR), n, STAT, NORM_EPS);
#endif
#endif
#if WEIGHT == 3
#define NORM_SEEK_WEIGHT
#define NORM_WEIGHT
#elif LINE_WEIGHT
        const V_DTYPE weight = RL_LOCAL(parameter)(w + at[NORM_W], LANE(NORM_W), lanes, WEIGHT);
#define NORM_SEEK_WEIGHT
#define NORM_WEIGHT *weight
#else
#define NORM_SEEK_WEIGHT NORM_SEEK(NORM_W);
#define NORM_WEIGHT *RL_LOCAL(parameter)(w + NORM_AT(NORM_W, j), LANE(NORM_W), n, WEIGHT)
#endif

#if PASS == 3
#if COLUMNS
        const V_DTYPE first = rl_load(&NORM_RESULT(0, line), lanes), second = rl_load(&NORM_RESULT(1, line), lanes);
#else
        const V_DTYPE first = RL_LOCAL(all)(NORM_RESULT(0, line)), second = RL_LOCAL(all)(NORM_RESULT(1, line));
#endif
#else
        V_DTYPE first = zero, second = zero, sum = zero, squares = zero;
#if BACKWARD
#define BEGIN                                                                                                          \
    NORM_SEEK(NORM_X);                                                                                                 \
    NORM_SEEK(NORM_G);                                                                                                 \
    NORM_SEEK_STAT NORM_SEEK_SUM_WEIGHT
#if LINE_WEIGHT
#define NORM_SEEK_SUM_WEIGHT
#define NORM_SUM_WEIGHT
#else
#define NORM_SEEK_SUM_WEIGHT NORM_SEEK_WEIGHT
#define NORM_SUM_WEIGHT NORM_WEIGHT
#endif
#define ADD                                                                                                            \
    NORM_STAT const V_DTYPE gv = RL_LOCAL(load)(g + NORM_AT(NORM_G, j), LANE(NORM_G), n) NORM_SUM_WEIGHT;              \
    V_DTYPE z = (RL_LOCAL(load)(x + NORM_AT(NORM_X, j), LANE(NORM_X), n) - middle) * inverse;                          \
    NORM_MASK(z, zero);                                                                                                \
    sum += gv;                                                                                                         \
    squares = rl_i_FMA(gv, z, squares);
#define FLUSH                                                                                                          \
    first += sum;                                                                                                      \
    second += squares;                                                                                                 \
    sum = squares = zero;
        NORM_WALK(BEGIN, ADD, FLUSH)
        RL_JOIN_SUM(first);
        RL_JOIN_SUM(second);
#else
#if CENTER
        { /* the first shift: the mean of a few elements */
            const rl_long row = row_begin;
            NORM_SEEK(NORM_X);
#if COLUMNS
            const rl_long few = rl_least(j_end - j_begin, 8);
            for (rl_long j = j_begin; j < j_begin + few; j++)
                first += RL_LOCAL(load)(x + NORM_AT(NORM_X, j), LANE(NORM_X), lanes);
#else
            const rl_long j = j_begin, few = rl_least(j_end - j_begin, RL_WIDTH);
            first = RL_LOCAL(all)(RL_LOCAL(sum)(RL_LOCAL(load)(x + NORM_AT(NORM_X, j), LANE(NORM_X), (int)few)));
#endif
            first = first / RL_LOCAL(all)((R_DTYPE)few);
        }
#endif
#define BEGIN NORM_SEEK(NORM_X);
#define ADD                                                                                                            \
    V_DTYPE d = RL_LOCAL(load)(x + NORM_AT(NORM_X, j), LANE(NORM_X), n) - first;                                       \
    NORM_MASK(d, zero);                                                                                                \
    sum += d;                                                                                                          \
    squares = rl_i_FMA(d, d, squares);
#if CENTER
#define FLUSH                                                                                                          \
    RL_JOIN_SUM(sum);                                                                                                  \
    RL_JOIN_SUM(squares);                                                                                              \
    sum = sum / RL_LOCAL(all)((R_DTYPE)seen);                                                                          \
    second += squares - sum * sum * RL_LOCAL(all)((R_DTYPE)seen);                                                      \
    first += sum;                                                                                                      \
    sum = squares = zero;
#else
#define FLUSH                                                                                                          \
    RL_JOIN_SUM(squares);                                                                                              \
    second += squares;                                                                                                 \
    squares = zero;
#endif
        NORM_WALK(BEGIN, ADD, FLUSH)
#endif
#undef BEGIN
#undef ADD
#undef FLUSH
#endif

        const int speaks = own && RL_MEMBER == 0; /* for the line */
#if PASS == 1
        if (speaks) {
            RL_LOCAL(put_number)(&NORM_PART(0, part, line), 1, lanes, first);
            RL_LOCAL(put_number)(&NORM_PART(1, part, line), 1, lanes, second);
        }
#else
#if BACKWARD
#if PASS == 0 && LINE_WEIGHT && BIAS != 3
        if (speaks)
            RL_LOCAL(put_parameter)(b + at[NORM_B], LANE(NORM_B), lanes, first);
#endif
#if PASS == 0 && LINE_WEIGHT && GRAD_WEIGHT != 3
        if (speaks)
            RL_LOCAL(put_parameter)(gw + at[NORM_GW], LANE(NORM_GW), lanes, second);
#endif
#if OUT
        const V_DTYPE size = RL_LOCAL(all)((R_DTYPE)(p.rows * p.inner));
#if LINE_WEIGHT
        const V_DTYPE less = CENTER ? first NORM_WEIGHT / size : zero, slope = second NORM_WEIGHT / size;
#else
        const V_DTYPE less = CENTER ? first / size : zero, slope = second / size;
#endif
#define BEGIN                                                                                                          \
    NORM_SEEK(NORM_X);                                                                                                 \
    NORM_SEEK(NORM_G);                                                                                                 \
    NORM_SEEK(NORM_OUT);                                                                                               \
    NORM_SEEK_STAT NORM_SEEK_WEIGHT
#define ADD                                                                                                            \
    NORM_STAT V_DTYPE d = RL_LOCAL(load)(g + NORM_AT(NORM_G, j), LANE(NORM_G), n) NORM_WEIGHT;                         \
    const V_DTYPE z = (RL_LOCAL(load)(x + NORM_AT(NORM_X, j), LANE(NORM_X), n) - middle) * inverse;                    \
    d = (d - less - z * slope) * inverse;                                                                              \
    RL_LOCAL(store)(out + NORM_AT(NORM_OUT, j), LANE(NORM_OUT), n, d);
#define FLUSH
        NORM_WALK(BEGIN, ADD, FLUSH)
#undef BEGIN
#undef ADD
#undef FLUSH
#endif
#else
#if PASS == 0
        V_DTYPE variance = second / RL_LOCAL(all)((R_DTYPE)(p.rows * p.inner));
        variance = rl_i_SELECT(rl_i_LT(variance, zero), zero, variance);
#if STAT != 3
        if (speaks) {
            if (CENTER)
                RL_LOCAL(put_number)(mean + at[NORM_MEAN], LANE(NORM_MEAN), lanes, first);
            RL_LOCAL(put_number)(var + at[NORM_VAR], LANE(NORM_VAR), lanes, variance);
        }
#endif
        second = RL_LOCAL(inverse)(variance, NORM_EPS);
#endif
#if BIAS == 3
#define NORM_SEEK_BIAS
#define NORM_BIAS
#else
#define NORM_SEEK_BIAS NORM_SEEK(NORM_B);
#define NORM_BIAS +RL_LOCAL(parameter)(b + NORM_AT(NORM_B, j), LANE(NORM_B), n, BIAS)
#endif
#define BEGIN                                                                                                          \
    NORM_SEEK(NORM_X);                                                                                                 \
    NORM_SEEK(NORM_OUT);                                                                                               \
    NORM_SEEK_WEIGHT NORM_SEEK_BIAS
#define ADD                                                                                                            \
    V_DTYPE y = (RL_LOCAL(load)(x + NORM_AT(NORM_X, j), LANE(NORM_X), n) - first) * second;                            \
    y = y NORM_WEIGHT NORM_BIAS;                                                                                       \
    RL_LOCAL(store)(out + NORM_AT(NORM_OUT, j), LANE(NORM_OUT), n, y);
#define FLUSH
        NORM_WALK(BEGIN, ADD, FLUSH)
#undef BEGIN
#undef ADD
#undef FLUSH
#undef NORM_SEEK_BIAS
#undef NORM_BIAS
#endif
#endif
    }
#endif
}
#undef NORM_EPS
#undef NORM_REGISTER
#undef NORM_PART
#undef NORM_RESULT
#undef LANE
#undef NEXT
#undef NORM_BLOCK
#undef NORM_LEAST
#undef NORM_ROW
#undef NORM_SEEK
#undef NORM_AT
#undef NORM_WALK
#undef NORM_MASK
#undef NORM_SEEK_STAT
#undef NORM_STAT
#undef NORM_SEEK_WEIGHT
#undef NORM_WEIGHT
#undef NORM_SEEK_SUM_WEIGHT
#undef NORM_SUM_WEIGHT
#undef NORM_X
#undef NORM_G
#undef NORM_OUT
#undef NORM_W
#undef NORM_B
#undef NORM_MEAN
#undef NORM_VAR
#undef NORM_GW
