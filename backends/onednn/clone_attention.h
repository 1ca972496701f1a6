/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Part of clone.c: tiles of attention. A panel is OD_PANEL queries side by side, so that what is done to each query's
 * row (greatest, exponentials, sums) is done lane by lane, and keys and values are read where they lie: they only ever
 * stand on the left of a product, one number at a time.
 */

#if VEC_BYTES == 64
#define TILE_ROWS 12 /* rows of sums that the registers hold */
#elif VEC_BYTES == 32
#define TILE_ROWS 6
#else
#define TILE_ROWS 3
#endif
#define VECS (OD_PANEL / LANES) /* registers of a panel's row */
#define UNROLL _Pragma("GCC unroll 16")

/* What follows is written out, not looped, so that the compiler keeps the sums in registers. */
#if VECS == 1
#define EACH_VEC(X, i) X(i, 0)
#elif VECS == 2
#define EACH_VEC(X, i) X(i, 0) X(i, 1)
#else
#define EACH_VEC(X, i) X(i, 0) X(i, 1) X(i, 2) X(i, 3)
#endif
#if TILE_ROWS == 3
#define EACH_ROW(X) X(0) X(1) X(2)
#elif TILE_ROWS == 6
#define EACH_ROW(X) X(0) X(1) X(2) X(3) X(4) X(5)
#else
#define EACH_ROW(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#endif
#define SUM_BEGIN(i, v) sum[i][v] = add ? vec_load(c + (i)*ldc + (v)*LANES) : (vec){0};
#define SUM_STEP(i, v) sum[i][v] = VEC_MULADD(x, y[v], sum[i][v]);
#define SUM_END(i, v) vec_store(c + (i)*ldc + (v)*LANES, sum[i][v]);
#define LOAD_STEP(i, v) y[v] = vec_load(b + (v)*LANES);
#define ROW_BEGIN(i)                                                                                                   \
    if (rows > (i)) {                                                                                                  \
        EACH_VEC(SUM_BEGIN, i)                                                                                         \
    }
#define ROW_STEP(i)                                                                                                    \
    if (rows > (i)) {                                                                                                  \
        const vec x = vec_all(a[(i)*ra]);                                                                              \
        EACH_VEC(SUM_STEP, i)                                                                                          \
    }
#define ROW_END(i)                                                                                                     \
    if (rows > (i)) {                                                                                                  \
        EACH_VEC(SUM_END, i)                                                                                           \
    }

/* Some rows of c = [c +] a b, all in registers; `rows` is a constant where this is called. */
static inline __attribute__((always_inline)) void tile_rows(float *c, int64_t ldc, const float *a, int64_t ra,
                                                            int64_t ca, const float *b, int64_t ldb, int64_t k, int add,
                                                            const int rows) {
    vec sum[TILE_ROWS][VECS], y[VECS];
    EACH_ROW(ROW_BEGIN)
    for (int64_t p = 0; p < k; p++, a += ca, b += ldb) {
        EACH_VEC(LOAD_STEP, 0)
        EACH_ROW(ROW_STEP)
    }
    EACH_ROW(ROW_END)
}

#define TILE_CASE(n)                                                                                                   \
    case n:                                                                                                            \
        tile_rows(to, ldc, from, ra, ca, b, ldb, k, add, n < TILE_ROWS ? n : TILE_ROWS);                               \
        break;

/* Blocks of rows as even as can be: few rows leave the multipliers idle. */
static void tile_product(float *c, int64_t ldc, const float *a, int64_t ra, int64_t ca, const float *b, int64_t ldb,
                         int64_t m, int64_t k, int add) {
    const int64_t blocks = (m + TILE_ROWS - 1) / TILE_ROWS;
    int64_t i = 0;
    for (int64_t block = 0; block < blocks; block++) {
        const int64_t end = m * (block + 1) / blocks;
        float *to = c + i * ldc;
        const float *from = a + i * ra;
        switch (end - i) {
            TILE_CASE(1)
            TILE_CASE(2)
            TILE_CASE(3)
#if TILE_ROWS > 3
            TILE_CASE(4)
            TILE_CASE(5)
            TILE_CASE(6)
#endif
#if TILE_ROWS > 6
            TILE_CASE(7)
            TILE_CASE(8)
            TILE_CASE(9)
            TILE_CASE(10)
            TILE_CASE(11)
            TILE_CASE(12)
#endif
        default:
            break;
        }
        i = end;
    }
}

/* One tile of scores s (rows, OD_PANEL) joins what was seen before: Milakov and Gimelshein 2018. */
static void tile_attend(float *s, int64_t rows, float *max, float *sum, float *factor) {
    UNROLL for (int v = 0; v < VECS; v++) {
        float *x = s + v * LANES;
        const vec old = vec_load(max + v * LANES);
        vec most[4] = {old, old, old, old};
        int64_t r = 0;
        for (; r + 4 <= rows; r += 4)
            UNROLL for (int i = 0; i < 4; i++) most[i] = VEC_MAX(vec_load(x + (r + i) * OD_PANEL), most[i]);
        for (; r < rows; r++)
            most[0] = VEC_MAX(vec_load(x + r * OD_PANEL), most[0]);
        const vec now = VEC_MAX(VEC_MAX(most[0], most[1]), VEC_MAX(most[2], most[3]));
        const vec shift = (vec)((veci)now & ~(now == vec_all(-INFINITY))); /* where nothing was seen yet: 0 */
        vec total = {0};
        for (r = 0; r < rows; r++) {
            const vec e = vec_exp(vec_load(x + r * OD_PANEL) - shift);
            vec_store(x + r * OD_PANEL, e);
            total += e;
        }
        const vec f = vec_exp(old - shift);
        vec_store(factor + v * LANES, f);
        vec_store(sum + v * LANES, vec_load(sum + v * LANES) * f + total);
        vec_store(max + v * LANES, now);
    }
}
static void tile_scale(float *x, int64_t rows, const float *factor) {
    for (int64_t r = 0; r < rows; r++)
        UNROLL for (int v = 0; v < VECS; v++) vec_store(
            x + r * OD_PANEL + v * LANES, vec_load(x + r * OD_PANEL + v * LANES) * vec_load(factor + v * LANES));
}
/* s = e^(s - log_sum) */
static void tile_weights(float *s, int64_t ld, int64_t rows, const float *log_sum) {
    for (int64_t r = 0; r < rows; r++)
        UNROLL for (int v = 0; v < VECS; v++) {
            float *x = s + r * ld + v * LANES;
            vec_store(x, vec_exp(vec_load(x) - vec_load(log_sum + v * LANES)));
        }
}
/* dp = scale p (dp - sum) */
static void tile_gradient(float *dp, const float *p, int64_t ld, int64_t rows, const float *sum, float scale) {
    for (int64_t r = 0; r < rows; r++)
        UNROLL for (int v = 0; v < VECS; v++) {
            float *x = dp + r * ld + v * LANES;
            vec_store(x, (vec_load(x) - vec_load(sum + v * LANES)) * vec_load(p + r * ld + v * LANES) * scale);
        }
}

/* out (width, OD_PANEL) = scale times the transpose of in (n, width); columns n .. are 0. */
static void tile_to_panel(float *out, const float *in, int64_t stride, int64_t n, int64_t width, float scale) {
    int64_t e = 0;
#if defined(__SSE2__)
    const __m128 s = _mm_set1_ps(scale);
    for (; n == OD_PANEL && e + 4 <= width; e += 4)
        for (int64_t j = 0; j < OD_PANEL; j += 4) {
            const float *x = in + j * stride + e;
            float *y = out + e * OD_PANEL + j;
            __m128 a = _mm_loadu_ps(x), b = _mm_loadu_ps(x + stride), c = _mm_loadu_ps(x + 2 * stride),
                   d = _mm_loadu_ps(x + 3 * stride);
            _MM_TRANSPOSE4_PS(a, b, c, d);
            _mm_storeu_ps(y, _mm_mul_ps(a, s));
            _mm_storeu_ps(y + OD_PANEL, _mm_mul_ps(b, s));
            _mm_storeu_ps(y + 2 * OD_PANEL, _mm_mul_ps(c, s));
            _mm_storeu_ps(y + 3 * OD_PANEL, _mm_mul_ps(d, s));
        }
#endif
    for (; e < width; e++)
        for (int64_t j = 0; j < OD_PANEL; j++)
            out[e * OD_PANEL + j] = j < n ? in[j * stride + e] * scale : 0.0f;
}
/* And back: out (n, width) = the transpose of in (width, OD_PANEL), its columns times factor. */
static void tile_from_panel(float *out, int64_t stride, const float *in, int64_t n, int64_t width,
                            const float *factor) {
    int64_t e = 0;
#if defined(__SSE2__)
    for (; n == OD_PANEL && e + 4 <= width; e += 4)
        for (int64_t j = 0; j < OD_PANEL; j += 4) {
            const float *x = in + e * OD_PANEL + j;
            float *y = out + j * stride + e;
            const __m128 f = _mm_loadu_ps(factor + j);
            __m128 a = _mm_mul_ps(_mm_loadu_ps(x), f), b = _mm_mul_ps(_mm_loadu_ps(x + OD_PANEL), f),
                   c = _mm_mul_ps(_mm_loadu_ps(x + 2 * OD_PANEL), f), d = _mm_mul_ps(_mm_loadu_ps(x + 3 * OD_PANEL), f);
            _MM_TRANSPOSE4_PS(a, b, c, d);
            _mm_storeu_ps(y, a);
            _mm_storeu_ps(y + stride, b);
            _mm_storeu_ps(y + 2 * stride, c);
            _mm_storeu_ps(y + 3 * stride, d);
        }
#endif
    for (; e < width; e++)
        for (int64_t j = 0; j < n; j++)
            out[j * stride + e] = in[e * OD_PANEL + j] * factor[j];
}
