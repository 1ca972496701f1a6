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

/* c (m, n) += a (m, k) b (k, n) */
#define SMALL_MATMUL(t, T)                                                                                             \
    static void small_matmul_##t(void *c, const void *a, const void *b, int64_t m, int64_t n, int64_t k, int64_t ra,   \
                                 int64_t ca, int64_t ldb, int64_t ldc) {                                               \
        for (int64_t i = 0; i < m; i++) {                                                                              \
            T *row = (T *)c + i * ldc;                                                                                 \
            for (int64_t p = 0; p < k; p++) {                                                                          \
                const T factor = ((const T *)a)[i * ra + p * ca];                                                      \
                const T *from = (const T *)b + p * ldb;                                                                \
                SIMD for (int64_t j = 0; j < n; j++) row[j] += factor * from[j];                                       \
            }                                                                                                          \
        }                                                                                                              \
    }
SMALL_MATMUL(f32, float)
SMALL_MATMUL(f64, double)
SMALL_MATMUL(i32, uint32_t)
SMALL_MATMUL(i64, uint64_t)
