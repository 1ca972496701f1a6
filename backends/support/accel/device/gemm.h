/* SPDX-License-Identifier: Apache-2.0 */
/*
 * c(i, j) = sum over k of a(i, k) b(k, j), then what the epilogue says. Every index may stand for several: i for
 * I_DIMS coordinates (batch and pixel of an image), k for K_DIMS (channel and place in the window); the addresses are
 * linear in them, so that a convolution over an image with its padding in memory is this product, without a copy of its
 * windows:
 *   a(i, k) = a[a_at + sum a_i[d] i[d] + sum a_k[d] k[d]]     b(k, j) = b[b_at + sum b_k[d] k[d] + b_j j]
 *   c(i, j) = c[c_at + sum c_i[d] i[d] + c_j j]
 * for each index of the batch (p.batch_dims coordinates). a is of RDTYPE, a dtype that is its own register; b of
 * BDTYPE, c of DTYPE.
 *
 * Processors: a thread takes tiles of c. For each KC of k it packs b's part in panels of RL_WIDTH columns, then walks
 * 6 rows of a against a panel at a time, with the 6 x RL_WIDTH sums in registers (Goto and van de Geijn, "Anatomy of
 * high-performance matrix multiplication", 2008; a is read where it lies). Others: a group takes a tile of 64 x 64
 * through shared memory, a work-item 4 columns of some of its rows.
 *
 * Where p.to_parts is set, k is cut into p.parts parts of p.part_k and the sums go into `partial` (batch, part, i, j);
 * the kernel with FINISH adds the parts up in their order and does the epilogue.
 */
#define GEMM_ROWS 6

/* Offset of an index of up to 4 coordinates, the last fastest. */
RL_FN rl_long RL_LOCAL(place)(rl_long index, int dims, rl_long s1, rl_long s2, rl_long s3, rl_long t0, rl_long t1,
                              rl_long t2, rl_long t3) {
    rl_long at = 0;
    if (dims == 1)
        return index * t0;
    rl_ulong rest = (rl_ulong)index;
    if (dims > 3) {
        rl_ulong q = rest / (rl_ulong)s3;
        at += (rl_long)(rest - q * (rl_ulong)s3) * t3;
        rest = q;
    }
    if (dims > 2) {
        rl_ulong q = rest / (rl_ulong)s2;
        at += (rl_long)(rest - q * (rl_ulong)s2) * t2;
        rest = q;
    }
    rl_ulong q = rest / (rl_ulong)s1;
    at += (rl_long)(rest - q * (rl_ulong)s1) * t1;
    return at + (rl_long)q * t0;
}
#define I_PLACE(i, t) RL_LOCAL(place)(i, I_DIMS, p.i_shape[1], p.i_shape[2], p.i_shape[3], t[0], t[1], t[2], t[3])
#define K_PLACE(k, t) RL_LOCAL(place)(k, K_DIMS, p.k_shape[1], p.k_shape[2], p.k_shape[3], t[0], t[1], t[2], t[3])

#if N_RDTYPE
#define MULADD(x, y, z) fma(x, y, z)
#else
#define MULADD(x, y, z) rl_i_ADD(z, rl_i_MUL(x, y))
#endif

/* alpha, beta, bias and activation (activation.h) on a value of the register, for column j. */
#define C_LOAD(at, n) rl_load(c + (at), p.c_j, n)
#define C_STORE(at, n, v)                                                                                              \
    do {                                                                                                               \
        const RL_WIDE(T_DTYPE, RL_WIDTH) stored_ = (v);                                                                \
        if (p.c_j == 1)                                                                                                \
            rl_store(c + (at), n, stored_);                                                                            \
        else                                                                                                           \
            rl_store(c + (at), p.c_j, n, stored_);                                                                     \
    } while (0)

#if WIDE
#define SCALE(bits) as_double(bits)
#elif N_RDTYPE
#define SCALE(bits) as_float((int)(bits))
#else
#define SCALE(bits) ((R_RDTYPE)(bits))
#endif
#define EPILOGUE(sum, at, column, n)                                                                                   \
    do {                                                                                                               \
        V_RDTYPE value_ = (sum);                                                                                       \
        EPILOGUE_ALPHA(value_);                                                                                        \
        EPILOGUE_BETA(value_, at, n);                                                                                  \
        EPILOGUE_BIAS(value_, column, n);                                                                              \
        C_STORE(at, n, O_DTYPE(RL_LOCAL(activate)(value_)));                                                           \
    } while (0)
#define EPILOGUE_ALPHA(v) v = rl_i_MUL(v, (V_RDTYPE)(SCALE(p.alpha)))
#define EPILOGUE_BETA(v, at, n)                                                                                        \
    if (p.has_beta)                                                                                                    \
    v = rl_i_ADD(v, rl_i_MUL((V_RDTYPE)(SCALE(p.beta)), I_DTYPE(C_LOAD(at, n))))
#define EPILOGUE_BIAS(v, column, n)                                                                                    \
    if (p.has_bias)                                                                                                    \
    v = rl_i_ADD(v, I_DTYPE(rl_load(bias + p.bias_at + bias_batch + (column)*p.bias_j, p.bias_j, n)))

/* Offsets of the batch's index g. */
#define BATCH_PLACES(g)                                                                                                \
    rl_long a_batch = p.a_at, b_batch = p.b_at, c_batch = p.c_at, bias_batch = 0;                                      \
    {                                                                                                                  \
        rl_ulong rest_ = (rl_ulong)(g);                                                                                \
        for (int d_ = (int)p.batch_dims - 1; d_ >= 0; d_--) {                                                          \
            const rl_ulong q_ = d_ ? rest_ / (rl_ulong)p.batch_shape[d_] : 0;                                          \
            const rl_long x_ = (rl_long)(rest_ - q_ * (rl_ulong)p.batch_shape[d_]);                                    \
            a_batch += x_ * p.a_batch[d_];                                                                             \
            b_batch += x_ * p.b_batch[d_];                                                                             \
            c_batch += x_ * p.c_batch[d_];                                                                             \
            bias_batch += x_ * p.bias_batch[d_];                                                                       \
            rest_ = q_;                                                                                                \
        }                                                                                                              \
        (void)a_batch, (void)b_batch, (void)c_batch, (void)bias_batch;                                                 \
    }

#if FINISH
RL_KERNEL(const RL_GLOBAL R_RDTYPE *partial, const RL_GLOBAL T_DTYPE *bias, RL_GLOBAL T_DTYPE *c,
          RL_PARAMS(rl_gemm_params) p) {
    const rl_long vectors = (p.n + RL_WIDTH - 1) / RL_WIDTH;
    RL_FOR_ITEMS(t, p.batch * p.m * vectors, 1) {
        const rl_long line = t / vectors, j = (t - line * vectors) * RL_WIDTH;
        const rl_long g = line / p.m, i = line - g * p.m;
        const int n = (int)rl_least(p.n - j, RL_WIDTH);
        V_RDTYPE sum = (V_RDTYPE)(0);
        BATCH_PLACES(g)
        for (rl_long part = 0; part < p.parts; part++)
            sum = rl_i_ADD(sum, rl_load(partial + ((g * p.parts + part) * p.m + i) * p.n + j, n));
        const rl_long at = c_batch + I_PLACE(i, p.c_i) + j * p.c_j;
        EPILOGUE(sum, at, j, n);
    }
}
#elif RL_GROUP == 1
#define GEMM_KC 256
/* Sums 6 rows, given by offsets, and one panel; adds to the tile's sums unless it is the first KC. */
RL_FN void RL_LOCAL(rows)(const RL_GLOBAL T_RDTYPE *a, const rl_long *at, const rl_long *k_at,
                          const RL_GLOBAL R_RDTYPE *panel, int n_k, RL_GLOBAL R_RDTYPE *sums, rl_long tile_n,
                          int first) {
    V_RDTYPE s0 = (V_RDTYPE)(0), s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0;
    const RL_GLOBAL T_RDTYPE *a0 = a + at[0], *a1 = a + at[1], *a2 = a + at[2], *a3 = a + at[3], *a4 = a + at[4],
                             *a5 = a + at[5];
    for (int k = 0; k < n_k; k++) {
        const V_RDTYPE y = RL_WIDE(vload, RL_WIDTH)(k, panel);
#if A_UNIT
        const rl_long x = k;
#else
        const rl_long x = k_at[k];
#endif
        s0 = MULADD((V_RDTYPE)(a0[x]), y, s0);
        s1 = MULADD((V_RDTYPE)(a1[x]), y, s1);
        s2 = MULADD((V_RDTYPE)(a2[x]), y, s2);
        s3 = MULADD((V_RDTYPE)(a3[x]), y, s3);
        s4 = MULADD((V_RDTYPE)(a4[x]), y, s4);
        s5 = MULADD((V_RDTYPE)(a5[x]), y, s5);
    }
#define PUT(r, s)                                                                                                      \
    RL_WIDE(vstore, RL_WIDTH)                                                                                          \
    (first ? s : rl_i_ADD(s, RL_WIDE(vload, RL_WIDTH)(0, sums + r * tile_n)), 0, sums + r * tile_n)
    PUT(0, s0);
    PUT(1, s1);
    PUT(2, s2);
    PUT(3, s3);
    PUT(4, s4);
    PUT(5, s5);
#undef PUT
}

/* Packs b (n_k, columns) in panels of RL_WIDTH columns; columns from `left` on are 0. `b_unit`: 2 where b is contiguous
 * along k, 1 along j, else 0; k_at are the offsets along k. */
RL_FN void RL_LOCAL(pack)(const RL_GLOBAL T_BDTYPE *b, rl_long b_j, int b_unit, const rl_long *k_at, int n_k,
                          rl_long left, RL_GLOBAL R_RDTYPE *panels, rl_long columns) {
    for (rl_long j = 0; j < columns; j += RL_WIDTH) {
        const int n = (int)rl_least(left - j, RL_WIDTH);
        RL_GLOBAL R_RDTYPE *panel = panels + j * GEMM_KC;
        if (b_unit == 1) {
            for (int k = 0; k < n_k; k++)
                RL_WIDE(vstore, RL_WIDTH)(I_BDTYPE(rl_load(b + k_at[k] + j, n)), k, panel);
            continue;
        }
        for (int l = 0; l < RL_WIDTH; l++) {
            const RL_GLOBAL T_BDTYPE *from = b + (l < n ? (j + l) * b_j : 0);
            for (int k = 0; k < n_k; k++)
                panel[k * RL_WIDTH + l] = l < n ? I_BDTYPE(from[b_unit == 2 ? k : k_at[k]]) : (R_RDTYPE)(0);
        }
    }
}

RL_KERNEL(const RL_GLOBAL T_RDTYPE *a, const RL_GLOBAL T_BDTYPE *b, const RL_GLOBAL T_DTYPE *bias, RL_GLOBAL T_DTYPE *c,
          RL_GLOBAL R_RDTYPE *partial, RL_GLOBAL R_RDTYPE *memory, RL_PARAMS(rl_gemm_params) p) {
    const rl_long tiles_m = (p.m + p.tile_m - 1) / p.tile_m, tiles_n = (p.n + p.tile_n - 1) / p.tile_n;
    const rl_long tiles = tiles_m * tiles_n * p.parts;
    RL_GLOBAL R_RDTYPE *panels = memory + RL_GROUP_NUMBER * (p.tile_n * GEMM_KC + (p.tile_m + GEMM_ROWS) * p.tile_n);
    RL_GLOBAL R_RDTYPE *sums = panels + p.tile_n * GEMM_KC;
    rl_long a_k[GEMM_KC], b_k[GEMM_KC];
    RL_FOR_ITEMS(t, tiles * p.batch, 1) {
        const rl_long g = t / tiles, tile = t - g * tiles, part = tile / (tiles_m * tiles_n);
        const rl_long in_part = tile - part * tiles_m * tiles_n;
        const rl_long i0 = in_part / tiles_n * p.tile_m, j0 = in_part % tiles_n * p.tile_n;
        const rl_long rows = rl_least(p.tile_m, p.m - i0), columns = rl_least(p.tile_n, p.n - j0);
        const rl_long k_begin = part * p.part_k, k_end = rl_least(k_begin + p.part_k, p.k);
        BATCH_PLACES(g)
        for (rl_long k0 = k_begin; k0 < k_end; k0 += GEMM_KC) {
            const int n_k = (int)rl_least(k_end - k0, GEMM_KC);
            rl_long a_first = 0, b_first = 0;
#if A_UNIT
            a_first = k0;
#else
            for (int k = 0; k < n_k; k++)
                a_k[k] = K_PLACE(k0 + k, p.a_k);
#endif
            if (p.b_unit == 2)
                b_first = k0;
            else
                for (int k = 0; k < n_k; k++)
                    b_k[k] = K_PLACE(k0 + k, p.b_k);
            RL_LOCAL(pack)
            (b + b_batch + b_first + j0 * p.b_j, p.b_j, (int)p.b_unit, b_k, n_k, p.n - j0, panels, columns);
            for (rl_long r = 0; r < rows; r += GEMM_ROWS) {
                rl_long at[GEMM_ROWS];
                for (int l = 0; l < GEMM_ROWS; l++) /* rows beyond the last do its work again */
                    at[l] = a_batch + a_first + I_PLACE(rl_least(i0 + r + l, p.m - 1), p.a_i);
                for (rl_long j = 0; j < columns; j += RL_WIDTH)
                    RL_LOCAL(rows)
                (a, at, a_k, panels + j * GEMM_KC, n_k, sums + r * p.tile_n + j, p.tile_n, k0 == k_begin);
            }
        }
        for (rl_long r = 0; r < rows; r++) {
            const rl_long at = c_batch + I_PLACE(i0 + r, p.c_i);
            for (rl_long j = 0; j < columns; j += RL_WIDTH) {
                const int n = (int)rl_least(columns - j, RL_WIDTH);
                V_RDTYPE sum = (V_RDTYPE)(0);
                if (k_begin < k_end)
                    sum = RL_WIDE(vload, RL_WIDTH)(0, sums + r * p.tile_n + j);
                if (p.to_parts)
                    rl_store(partial + ((g * p.parts + part) * p.m + i0 + r) * p.n + j0 + j, n, sum);
                else
                    EPILOGUE(sum, at + (j0 + j) * p.c_j, j0 + j, n);
            }
        }
    }
}
#else
#define GEMM_TILE 64
#define GEMM_KT 16
#define GEMM_ITEM_ROWS (GEMM_TILE * GEMM_TILE / RL_WIDTH / RL_GROUP)
#define GEMM_LANES (GEMM_TILE / RL_WIDTH) /* work-items along a row */
RL_KERNEL(const RL_GLOBAL T_RDTYPE *a, const RL_GLOBAL T_BDTYPE *b, const RL_GLOBAL T_DTYPE *bias, RL_GLOBAL T_DTYPE *c,
          RL_GLOBAL R_RDTYPE *partial, RL_GLOBAL R_RDTYPE *memory, RL_PARAMS(rl_gemm_params) p) {
    RL_SHARED R_RDTYPE a_tile[GEMM_KT][GEMM_TILE + 1];
    RL_SHARED R_RDTYPE b_tile[GEMM_KT][GEMM_TILE + 4];
    const rl_long tiles_m = (p.m + GEMM_TILE - 1) / GEMM_TILE, tiles_n = (p.n + GEMM_TILE - 1) / GEMM_TILE;
    const rl_long tiles = tiles_m * tiles_n * p.parts;
    const int column = RL_ITEM % GEMM_LANES * RL_WIDTH, row = RL_ITEM / GEMM_LANES;
    RL_FOR_GROUPS(t, tiles * p.batch) {
        const rl_long g = t / tiles, tile = t - g * tiles, part = tile / (tiles_m * tiles_n);
        const rl_long in_part = tile - part * tiles_m * tiles_n;
        const rl_long i0 = in_part / tiles_n * GEMM_TILE, j0 = in_part % tiles_n * GEMM_TILE;
        const rl_long k_begin = part * p.part_k, k_end = rl_least(k_begin + p.part_k, p.k);
        V_RDTYPE sum[GEMM_ITEM_ROWS];
        BATCH_PLACES(g)
        for (int r = 0; r < GEMM_ITEM_ROWS; r++)
            sum[r] = (V_RDTYPE)(0);
        for (rl_long k0 = k_begin; k0 < k_end; k0 += GEMM_KT) {
            RL_BARRIER();
            for (int e = RL_ITEM; e < GEMM_KT * GEMM_TILE; e += RL_GROUP) {
#if A_UNIT                                /* neighbours in memory go to neighbouring work-items */
                const int k = e % GEMM_KT, x = e / GEMM_KT;
#else
                const int k = e / GEMM_TILE, x = e % GEMM_TILE;
#endif
                const int inside = i0 + x < p.m && k0 + k < k_end;
                a_tile[k][x] = inside ? a[a_batch + I_PLACE(i0 + x, p.a_i) + K_PLACE(k0 + k, p.a_k)] : (R_RDTYPE)(0);
            }
            for (int e = RL_ITEM; e < GEMM_KT * GEMM_TILE; e += RL_GROUP) {
                const int by_k = p.b_unit == 2, k = by_k ? e % GEMM_KT : e / GEMM_TILE;
                const int x = by_k ? e / GEMM_KT : e % GEMM_TILE;
                const int inside = j0 + x < p.n && k0 + k < k_end;
                b_tile[k][x] =
                    inside ? I_BDTYPE(b[b_batch + K_PLACE(k0 + k, p.b_k) + (j0 + x) * p.b_j]) : (R_RDTYPE)(0);
            }
            RL_BARRIER();
            for (int k = 0; k < GEMM_KT; k++) {
                R_RDTYPE lanes[RL_WIDTH];
                for (int l = 0; l < RL_WIDTH; l++)
                    lanes[l] = b_tile[k][column + l];
                const V_RDTYPE y = RL_WIDE(vload, RL_WIDTH)(0, lanes);
                for (int r = 0; r < GEMM_ITEM_ROWS; r++)
                    sum[r] = MULADD((V_RDTYPE)(a_tile[k][row + r * (RL_GROUP / GEMM_LANES)]), y, sum[r]);
            }
        }
        for (int r = 0; r < GEMM_ITEM_ROWS; r++) {
            const rl_long i = i0 + row + r * (RL_GROUP / GEMM_LANES), j = j0 + column;
            const int n = (int)rl_least(p.n - j, RL_WIDTH);
            if (i >= p.m || n <= 0)
                continue;
            const rl_long at = c_batch + I_PLACE(i, p.c_i) + j * p.c_j;
            if (p.to_parts)
                rl_store(partial + ((g * p.parts + part) * p.m + i) * p.n + j, n, sum[r]);
            else
                EPILOGUE(sum[r], at, j, n);
        }
    }
}
#endif
#undef GEMM_ROWS
#undef GEMM_KC
#undef GEMM_TILE
#undef GEMM_KT
#undef GEMM_ITEM_ROWS
#undef GEMM_LANES
#undef I_PLACE
#undef K_PLACE
#undef MULADD
#undef C_LOAD
#undef C_STORE
#undef SCALE
#undef EPILOGUE
#undef EPILOGUE_ALPHA
#undef EPILOGUE_BETA
#undef EPILOGUE_BIAS
#undef BATCH_PLACES
