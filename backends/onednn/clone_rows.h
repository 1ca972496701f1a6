/* SPDX-License-Identifier: Apache-2.0 */
/* Part of clone.c: rows of softmax, and products of matrices too small for a library. */

static double row_exp_sum(float *out, const float *x, float shift, int64_t n) {
    float block[256];
    double total = 0.0;
    for (int64_t at = 0; at < n; at += 256) {
        const int64_t count = n - at < 256 ? n - at : 256;
        float *to = out ? out + at : block;
        SIMD for (int64_t i = 0; i < count; i++) to[i] = v_exp(x[at + i] - shift);
        total += sum_f32(to, count);
    }
    return total;
}
static double row_sum(const float *a, int64_t n) {
    double total = 0.0;
    for (int64_t at = 0; at < n; at += 512)
        total += sum_f32(a + at, n - at < 512 ? n - at : 512);
    return total;
}
static double row_dot(const float *a, const float *b, int64_t n) {
    float block[256];
    double total = 0.0;
    for (int64_t at = 0; at < n; at += 256) {
        const int64_t count = n - at < 256 ? n - at : 256;
        SIMD for (int64_t i = 0; i < count; i++) block[i] = a[at + i] * b[at + i];
        total += sum_f32(block, count);
    }
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
    SIMD for (int64_t i = 0; i < n; i++) out[i] = g[i] - v_exp(y[i]) * sum;
}
static void row_exp_scale(float *out, const float *x, float shift, float factor, int64_t n) {
    SIMD for (int64_t i = 0; i < n; i++) out[i] = v_exp(x[i] - shift) * factor;
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
