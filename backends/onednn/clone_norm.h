/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Part of clone.c: lines of normalizations. Sums go through lanes of float for a block, then into a double, so that the
 * order of additions depends on the length alone.
 */

#define NORM_BLOCK 1024

/* As many registers as make 32 lanes. */
#define PARTS (32 / LANES)
#define EACH_PART PRAGMA_(GCC unroll 8) for (int k = 0; k < PARTS; k++)

/* The sum of 32 lanes: in pairs down to 8, these one after another. */
static inline double lane_sum(const vec *parts) {
    float x[32];
    double total = 0.0;
    memcpy(x, parts, sizeof x);
    SIMD for (int j = 0; j < 16; j++) x[j] += x[j + 16];
    SIMD for (int j = 0; j < 8; j++) x[j] += x[j + 8];
    for (int j = 0; j < 8; j++)
        total += (double)x[j];
    return total;
}
/* Blocks [i, end) of a line, each summed up in float; what fills no register comes after them. */
#define FOR_BLOCKS for (int64_t end; end = n - i < NORM_BLOCK ? n - (n - i) % LANES : i + NORM_BLOCK, i < end;)

static double norm_sum(const float *x, int64_t n) {
    double total = 0.0;
    int64_t i = 0;
    FOR_BLOCKS {
        vec a[PARTS] = {{0}};
        for (; i + 32 <= end; i += 32)
            EACH_PART a[k] += VEC_AT(x, i + k * LANES);
        for (; i < end; i += LANES)
            a[0] += VEC_AT(x, i);
        total += lane_sum(a);
    }
    for (; i < n; i++)
        total += (double)x[i];
    return total;
}

/* The sum of (x - mean)^2. */
static double norm_squares(const float *x, float mean, int64_t n) {
    double total = 0.0;
    int64_t i = 0;
    FOR_BLOCKS {
        vec a[PARTS] = {{0}};
        for (; i + 32 <= end; i += 32)
            EACH_PART {
                const vec p = VEC_AT(x, i + k * LANES) - mean;
                a[k] += p * p;
            }
        for (; i < end; i += LANES)
            a[0] += (VEC_AT(x, i) - mean) * (VEC_AT(x, i) - mean);
        total += lane_sum(a);
    }
    for (; i < n; i++)
        total += (double)((x[i] - mean) * (x[i] - mean));
    return total;
}

/* sums[0] += sum(g), sums[1] += sum(g (x - mean)) */
static void norm_dots(const float *g, const float *x, float mean, int64_t n, double *sums) {
    int64_t i = 0;
    FOR_BLOCKS {
        vec a[PARTS] = {{0}}, b[PARTS] = {{0}};
        for (; i + 32 <= end; i += 32)
            EACH_PART {
                const vec p = VEC_AT(g, i + k * LANES);
                a[k] += p;
                b[k] += p * (VEC_AT(x, i + k * LANES) - mean);
            }
        for (; i < end; i += LANES) {
            a[0] += VEC_AT(g, i);
            b[0] += VEC_AT(g, i) * (VEC_AT(x, i) - mean);
        }
        sums[0] += lane_sum(a);
        sums[1] += lane_sum(b);
    }
    for (; i < n; i++) {
        sums[0] += (double)g[i];
        sums[1] += (double)(g[i] * (x[i] - mean));
    }
}

#define ONE_WEIGHTED(at, k)                                                                                            \
    do {                                                                                                               \
        const int64_t j = (at);                                                                                        \
        const vec p = VEC_AT(g, j), pz = p * ((VEC_AT(x, j) - mean) * scale), weight = VEC_AT(w, j);                   \
        *(vec_in_memory *)(gw + j) += pz;                                                                              \
        *(vec_in_memory *)(gb + j) += p;                                                                               \
        a[k] += p * weight;                                                                                            \
        b[k] += pz * weight;                                                                                           \
    } while (0)
/* With z = (x - mean) scale and d = g w: sums[0] += sum(d), sums[1] += sum(d z), gw += g z, gb += g. */
static void norm_dots_weighted(const float *g, const float *x, const float *w, float mean, float scale, int64_t n,
                               float *gw, float *gb, double *sums) {
    int64_t i = 0;
    FOR_BLOCKS {
        vec a[PARTS] = {{0}}, b[PARTS] = {{0}};
        for (; i + 32 <= end; i += 32)
            EACH_PART ONE_WEIGHTED(i + k * LANES, k);
        for (; i < end; i += LANES)
            ONE_WEIGHTED(i, 0);
        sums[0] += lane_sum(a);
        sums[1] += lane_sum(b);
    }
    for (; i < n; i++) {
        const float gz = g[i] * ((x[i] - mean) * scale);
        gw[i] += gz;
        gb[i] += g[i];
        sums[0] += (double)(g[i] * w[i]);
        sums[1] += (double)(gz * w[i]);
    }
}

/* out = (x - mean) scale + shift */
static void norm_scale(float *out, const float *x, float mean, float scale, float shift, int64_t n) {
    SIMD for (int64_t i = 0; i < n; i++) out[i] = MULADD(x[i] - mean, scale, shift);
}
/* out = (x - mean) scale w + b; w or b may be NULL */
static void norm_affine(float *out, const float *x, float mean, float scale, const float *w, const float *b,
                        int64_t n) {
    if (w && b) {
        SIMD for (int64_t i = 0; i < n; i++) out[i] = MULADD((x[i] - mean) * scale, w[i], b[i]);
    } else if (w) {
        SIMD for (int64_t i = 0; i < n; i++) out[i] = (x[i] - mean) * scale * w[i];
    } else {
        SIMD for (int64_t i = 0; i < n; i++) out[i] = MULADD(x[i] - mean, scale, b[i]);
    }
}
/* out = g scale w + (x - mean) slope + shift; w may be NULL */
static void norm_grad(float *out, const float *g, const float *x, const float *w, float mean, float scale, float slope,
                      float shift, int64_t n) {
    if (w) {
        SIMD for (int64_t i = 0; i < n; i++) out[i] = MULADD(g[i] * w[i], scale, MULADD(x[i] - mean, slope, shift));
    } else {
        SIMD for (int64_t i = 0; i < n; i++) out[i] = MULADD(g[i], scale, MULADD(x[i] - mean, slope, shift));
    }
}

/* Columns: x[r * pitch + c]. A few rows are added in float, 16 columns side by side; the last 16 may begin among those
 * before, whose sums then stay as they are. Fewer than 16 go one by one. ------------------------------------------- */

#define COLUMN_ROWS 64

#define SIDE (16 / LANES) /* registers of 16 columns */
#define EACH_SIDE PRAGMA_(GCC unroll 4) for (int k = 0; k < SIDE; k++)

static inline void column_add(double *to, const vec *sums, int64_t skip) {
    float x[16];
    memcpy(x, sums, sizeof x);
    for (int64_t j = skip; j < 16; j++)
        to[j] += (double)x[j];
}
/* For blocks of 16 columns from c on, `skip` of which are done, and of rows [r, end). */
#define FOR_COLUMNS                                                                                                    \
    for (int64_t next = 0, c, skip; c = next + 16 <= cols ? next : cols - 16, skip = next - c, next < cols;            \
         next += 16)                                                                                                   \
        for (int64_t r = 0, end; end = rows - r < COLUMN_ROWS ? rows : r + COLUMN_ROWS, r < rows; r = end)
#define FOR_ONE_BY_ONE                                                                                                 \
    for (int64_t c = 0; c < cols; c++)                                                                                 \
        for (int64_t r = 0; r < rows; r++)

/* sums[c] += sum over the rows */
static void norm_columns_sum(const float *x, int64_t pitch, int64_t rows, int64_t cols, double *sums) {
    if (cols < 16) {
        FOR_ONE_BY_ONE sums[c] += (double)x[r * pitch + c];
        return;
    }
    FOR_COLUMNS {
        vec a[SIDE] = {{0}}, b[SIDE] = {{0}};
        int64_t i = r;
        for (; i + 2 <= end; i += 2)
            EACH_SIDE {
                a[k] += VEC_AT(x, i * pitch + c + k * LANES);
                b[k] += VEC_AT(x, (i + 1) * pitch + c + k * LANES);
            }
        for (; i < end; i++)
            EACH_SIDE a[k] += VEC_AT(x, i * pitch + c + k * LANES);
        EACH_SIDE a[k] += b[k];
        column_add(sums + c, a, skip);
    }
}
/* sums[c] += sum of (x - mean[c])^2 */
static void norm_columns_squares(const float *x, int64_t pitch, int64_t rows, int64_t cols, const float *mean,
                                 double *sums) {
    if (cols < 16) {
        FOR_ONE_BY_ONE {
            const float apart = x[r * pitch + c] - mean[c];
            sums[c] += (double)(apart * apart);
        }
        return;
    }
    FOR_COLUMNS {
        vec a[SIDE] = {{0}}, b[SIDE] = {{0}};
        int64_t i = r;
        for (; i + 2 <= end; i += 2)
            EACH_SIDE {
                const vec m = VEC_AT(mean, c + k * LANES), p = VEC_AT(x, i * pitch + c + k * LANES) - m;
                const vec q = VEC_AT(x, (i + 1) * pitch + c + k * LANES) - m;
                a[k] += p * p;
                b[k] += q * q;
            }
        for (; i < end; i++)
            EACH_SIDE {
                const vec p = VEC_AT(x, i * pitch + c + k * LANES) - VEC_AT(mean, c + k * LANES);
                a[k] += p * p;
            }
        EACH_SIDE a[k] += b[k];
        column_add(sums + c, a, skip);
    }
}
/* sums[c] += sum of g, dots[c] += sum of g (x - mean[c]) */
static void norm_columns_dots(const float *g, int64_t g_pitch, const float *x, int64_t pitch, int64_t rows,
                              int64_t cols, const float *mean, double *sums, double *dots) {
    if (cols < 16) {
        FOR_ONE_BY_ONE {
            sums[c] += (double)g[r * g_pitch + c];
            dots[c] += (double)(g[r * g_pitch + c] * (x[r * pitch + c] - mean[c]));
        }
        return;
    }
    FOR_COLUMNS {
        vec a[SIDE] = {{0}}, b[SIDE] = {{0}};
        for (int64_t i = r; i < end; i++)
            EACH_SIDE {
                const vec p = VEC_AT(g, i * g_pitch + c + k * LANES);
                a[k] += p;
                b[k] += p * (VEC_AT(x, i * pitch + c + k * LANES) - VEC_AT(mean, c + k * LANES));
            }
        column_add(sums + c, a, skip);
        column_add(dots + c, b, skip);
    }
}
/* out = (x - mean[c]) scale[c] + shift[c] */
static void norm_columns_scale(float *out, const float *x, const float *mean, const float *scale, const float *shift,
                               int64_t cols) {
    SIMD for (int64_t c = 0; c < cols; c++) out[c] = MULADD(x[c] - mean[c], scale[c], shift[c]);
}
/* out = g scale[c] + (x - mean[c]) slope[c] + shift[c] */
static void norm_columns_grad(float *out, const float *g, const float *x, const float *mean, const float *scale,
                              const float *slope, const float *shift, int64_t cols) {
    SIMD for (int64_t c = 0; c < cols; c++) out[c] = MULADD(g[c], scale[c], MULADD(x[c] - mean[c], slope[c], shift[c]));
}
