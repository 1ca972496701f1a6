/* SPDX-License-Identifier: Apache-2.0 */
/* Part of clone.c: rows of softmax, and products of matrices too small for a library. */

/* As vec_exp. */
static inline float exp_or_zero(float x) {
    return x < -87.0f ? 0.0f : v_exp_short(x);
}

/* The sum in 32 lanes of F32, 1024 numbers at a time, then in double. `out` NULL where this is called: the sum alone.
 */
static inline __attribute__((always_inline)) double exp_sum(float *out, const float *x, float shift, int64_t n) {
    const vec s = vec_all(shift);
    double total = 0.0;
    int64_t i = 0;
    while (i + 32 <= n) {
        const int64_t end = i + 1024 < n ? i + 1024 : n;
        vec sum[32 / LANES];
        float lane[32];
#define BEGIN(v) sum[v] = (vec){0};
#define STEP(v)                                                                                                        \
    {                                                                                                                  \
        const vec e = vec_exp(vec_load(x + i + (v)*LANES) - s);                                                        \
        if (out)                                                                                                       \
            vec_store(out + i + (v)*LANES, e);                                                                         \
        sum[v] += e;                                                                                                   \
    }
#define END(v) vec_store(lane + (v)*LANES, sum[v]);
        EACH_32(BEGIN)
        for (; i + 32 <= end; i += 32) {
            EACH_32(STEP)
        }
        EACH_32(END)
#undef BEGIN
#undef STEP
#undef END
        for (int j = 0; j < 16; j++)
            total += (double)lane[j] + (double)lane[j + 16];
    }
    for (; i < n; i++) {
        const float e = exp_or_zero(x[i] - shift);
        if (out)
            out[i] = e;
        total += (double)e;
    }
    return total;
}
static double row_exp_sum(float *out, const float *x, float shift, int64_t n) {
    return out ? exp_sum(out, x, shift, n) : exp_sum(NULL, x, shift, n);
}
static double row_sum(const float *a, int64_t n) {
    double total = 0.0;
    for (int64_t at = 0; at < n; at += 512)
        total += sum_f32(a + at, n - at < 512 ? n - at : 512);
    return total;
}
/* As exp_sum adds. */
static double row_dot(const float *a, const float *b, int64_t n) {
    double total = 0.0;
    int64_t i = 0;
    while (i + 32 <= n) {
        const int64_t end = i + 1024 < n ? i + 1024 : n;
        vec sum[32 / LANES];
        float lane[32];
#define BEGIN(v) sum[v] = (vec){0};
#define STEP(v) sum[v] = VEC_MULADD(vec_load(a + i + (v)*LANES), vec_load(b + i + (v)*LANES), sum[v]);
#define END(v) vec_store(lane + (v)*LANES, sum[v]);
        EACH_32(BEGIN)
        for (; i + 32 <= end; i += 32) {
            EACH_32(STEP)
        }
        EACH_32(END)
#undef BEGIN
#undef STEP
#undef END
        for (int j = 0; j < 16; j++)
            total += (double)lane[j] + (double)lane[j + 16];
    }
    for (; i < n; i++)
        total += (double)a[i] * (double)b[i];
    return total;
}
static void row_scale(float *out, const float *x, float factor, int64_t n) {
    SIMD for (int64_t i = 0; i < n; i++) out[i] = x[i] * factor;
}
static void row_shift(float *out, const float *x, float shift, float log_sum, int64_t n) {
    SIMD for (int64_t i = 0; i < n; i++) out[i] = (x[i] - shift) - log_sum;
}
static void row_backward(float *out, const float *g, const float *y, float sum, int64_t n) {
    SIMD for (int64_t i = 0; i < n; i++) out[i] = y[i] * (g[i] - sum);
}
static void row_backward_log(float *out, const float *g, const float *y, float sum, int64_t n) {
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        vec_store(out + i, vec_load(g + i) - vec_exp(vec_load(y + i)) * sum);
    for (; i < n; i++)
        out[i] = g[i] - exp_or_zero(y[i]) * sum;
}
static void row_exp_scale(float *out, const float *x, float shift, float factor, int64_t n) {
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        vec_store(out + i, vec_exp(vec_load(x + i) - shift) * factor);
    for (; i < n; i++)
        out[i] = exp_or_zero(x[i] - shift) * factor;
}
static void row_add(float *out, const float *x, int64_t n) {
    SIMD for (int64_t i = 0; i < n; i++) out[i] += x[i];
}

/* c (m, n) += a (m, k) b (k, n), four rows of b at a time, so that c is read and written a quarter as often. */
#define PLAIN_MULADD(a, b, c) ((a) * (b) + (c))
#define SMALL_MATMUL(t, T, MAC)                                                                                        \
    static void small_matmul_##t(void *c, const void *a, const void *b, int64_t m, int64_t n, int64_t k, int64_t ra,   \
                                 int64_t ca, int64_t ldb, int64_t ldc) {                                               \
        for (int64_t i = 0; i < m; i++) {                                                                              \
            T *row = (T *)c + i * ldc;                                                                                 \
            const T *x = (const T *)a + i * ra, *y = b;                                                                \
            int64_t p = 0;                                                                                             \
            for (; p + 4 <= k; p += 4, x += 4 * ca, y += 4 * ldb) {                                                    \
                const T x0 = x[0], x1 = x[ca], x2 = x[2 * ca], x3 = x[3 * ca];                                         \
                SIMD for (int64_t j = 0; j < n; j++) {                                                                 \
                    T sum = MAC(x0, y[j], row[j]);                                                                     \
                    sum = MAC(x1, y[ldb + j], sum);                                                                    \
                    sum = MAC(x2, y[2 * ldb + j], sum);                                                                \
                    row[j] = MAC(x3, y[3 * ldb + j], sum);                                                             \
                }                                                                                                      \
            }                                                                                                          \
            for (; p < k; p++, x += ca, y += ldb) {                                                                    \
                const T x0 = x[0];                                                                                     \
                SIMD for (int64_t j = 0; j < n; j++) row[j] = MAC(x0, y[j], row[j]);                                   \
            }                                                                                                          \
        }                                                                                                              \
    }
SMALL_MATMUL(f32, float, MULADD)
SMALL_MATMUL(f64, double, MULADD64)
SMALL_MATMUL(i32, uint32_t, PLAIN_MULADD)
SMALL_MATMUL(i64, uint64_t, PLAIN_MULADD)
