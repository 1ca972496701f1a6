/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Part of clone.c: combining a row, or a column each. Sums of F32 go through 32 lanes and then, for each block, into a
 * double: the order depends on the length alone.
 */

/* 64 bytes: one register under AVX-512, several elsewhere, the same additions everywhere. */
typedef double v8d __attribute__((vector_size(64), aligned(8), may_alias));

static double sum_f32(const float *x, int64_t n) {
    double total = 0.0;
    int64_t i = 0;
    if (n >= 32) {
        vec sum[32 / LANES];
        float lane[32];
#define BEGIN(v) sum[v] = (vec){0};
#define STEP(v) sum[v] += vec_load(x + i + (v)*LANES);
#define END(v) vec_store(lane + (v)*LANES, sum[v]);
        EACH_32(BEGIN)
        for (; i + 32 <= n; i += 32) {
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
        total += (double)x[i];
    return total;
}
static double sum_f64(const double *x, int64_t n) {
    double total = 0.0;
    int64_t i = 0;
    if (n >= 16) {
        v8d a = {0}, b = {0};
        for (; i + 16 <= n; i += 16) {
            a += *(const v8d *)(x + i);
            b += *(const v8d *)(x + i + 8);
        }
        a += b;
        total = ((a[0] + a[1]) + (a[2] + a[3])) + ((a[4] + a[5]) + (a[6] + a[7]));
    }
    for (; i < n; i++)
        total += x[i];
    return total;
}

/* sign is 1 for the greatest, -1 for the least. NaN wins. */
static inline float extreme_f32(const float *x, int64_t n, float sign) {
    float best = -INFINITY;
    int64_t i = 0, nan = 0;
    if (n >= 32) {
        const vec s = vec_all(sign);
        vec most[32 / LANES];
        veci odd = {0};
#define BEGIN(v) most[v] = vec_all(-INFINITY);
#define STEP(v)                                                                                                        \
    {                                                                                                                  \
        const vec here = vec_load(x + i + (v)*LANES) * s;                                                              \
        most[v] = VEC_MAX(here, most[v]);                                                                              \
        odd |= here != here;                                                                                           \
    }
#define JOIN_0(v) most[0] = VEC_MAX(most[v], most[0]);
        EACH_32(BEGIN)
        for (; i + 32 <= n; i += 32) {
            EACH_32(STEP)
        }
        EACH_32(JOIN_0)
#undef BEGIN
#undef STEP
#undef JOIN_0
        for (int j = 0; j < LANES; j++) {
            best = most[0][j] > best ? most[0][j] : best;
            nan |= odd[j];
        }
        best = nan ? NAN : best;
    }
    for (; i < n; i++) {
        float v = x[i] * sign;
        best = v > best || v != v ? v : best;
    }
    return best * sign;
}
static float max_row_f32(const float *x, int64_t n) {
    return extreme_f32(x, n, 1.0f);
}

static void row_sum_f32(od_accumulator *acc, int64_t *position, const void *x, int64_t n, int64_t first) {
    (void)position, (void)first;
    acc->f += sum_f32(x, n);
}
static void row_sum_f64(od_accumulator *acc, int64_t *position, const void *x, int64_t n, int64_t first) {
    (void)position, (void)first;
    acc->f += sum_f64(x, n);
}
static void row_max_f32(od_accumulator *acc, int64_t *position, const void *x, int64_t n, int64_t first) {
    (void)position, (void)first;
    double v = (double)extreme_f32(x, n, 1.0f);
    acc->f = v > acc->f || v != v ? v : acc->f;
}
static void row_min_f32(od_accumulator *acc, int64_t *position, const void *x, int64_t n, int64_t first) {
    (void)position, (void)first;
    double v = (double)extreme_f32(x, n, -1.0f);
    acc->f = v < acc->f || v != v ? v : acc->f;
}

#define PLAIN_ROW(name, T, A, member, update)                                                                          \
    static void row_##name(od_accumulator *acc, int64_t *position, const void *x, int64_t n, int64_t first) {          \
        const T *xs = x;                                                                                               \
        A best = (A)acc->member;                                                                                       \
        (void)position, (void)first;                                                                                   \
        for (int64_t i = 0; i < n; i++) {                                                                              \
            const A v = (A)xs[i];                                                                                      \
            best = update;                                                                                             \
        }                                                                                                              \
        acc->member = best;                                                                                            \
    }
#define PLAIN_COLUMNS(name, T, A, member, update)                                                                      \
    static void columns_##name(od_accumulator *acc, int64_t *position, const void *x, int64_t rows, int64_t cols,      \
                               int64_t pitch, int64_t first) {                                                         \
        const T *xs = x;                                                                                               \
        A *member = (A *)acc;                                                                                          \
        (void)position, (void)first;                                                                                   \
        for (int64_t r = 0; r < rows; r++, xs += pitch)                                                                \
            SIMD for (int64_t c = 0; c < cols; c++) {                                                                  \
                const A v = (A)xs[c], best = member[c];                                                                \
                member[c] = update;                                                                                    \
            }                                                                                                          \
    }
#define ARG_ROW(name, T, A, member, better)                                                                            \
    static void row_##name(od_accumulator *acc, int64_t *position, const void *x, int64_t n, int64_t first) {          \
        const T *xs = x;                                                                                               \
        A best = acc->member;                                                                                          \
        int64_t at = *position;                                                                                        \
        for (int64_t i = 0; i < n; i++) {                                                                              \
            const A v = (A)xs[i];                                                                                      \
            if (at < 0 || (better))                                                                                    \
                best = v, at = first + i;                                                                              \
        }                                                                                                              \
        acc->member = best;                                                                                            \
        *position = at;                                                                                                \
    }
#define ARG_COLUMNS(name, T, A, member, better)                                                                        \
    static void columns_##name(od_accumulator *acc, int64_t *position, const void *x, int64_t rows, int64_t cols,      \
                               int64_t pitch, int64_t first) {                                                         \
        const T *xs = x;                                                                                               \
        A *member = (A *)acc;                                                                                          \
        for (int64_t r = 0; r < rows; r++, xs += pitch, first++)                                                       \
            SIMD for (int64_t c = 0; c < cols; c++) {                                                                  \
                const A v = (A)xs[c], best = member[c];                                                                \
                const int64_t at = position[c];                                                                        \
                const int take = (at < 0) | (better);                                                                  \
                member[c] = take ? v : best;                                                                           \
                position[c] = take ? first : at;                                                                       \
            }                                                                                                          \
    }
#define FLOAT_GREATER ((v > best) | ((v != v) & (best == best)))
#define FLOAT_LESS ((v < best) | ((v != v) & (best == best)))
#define FLOAT_MAX v > best || v != v ? v : best
#define FLOAT_MIN v < best || v != v ? v : best

PLAIN_ROW(max_f64, double, double, f, FLOAT_MAX)
PLAIN_ROW(min_f64, double, double, f, FLOAT_MIN)
#define FLOAT_COMBINES(t, T)                                                                                           \
    PLAIN_ROW(prod_##t, T, double, f, best *v)                                                                         \
    PLAIN_COLUMNS(prod_##t, T, double, f, best *v)                                                                     \
    PLAIN_COLUMNS(max_##t, T, double, f, FLOAT_MAX)                                                                    \
    PLAIN_COLUMNS(min_##t, T, double, f, FLOAT_MIN)                                                                    \
    ARG_ROW(argmin_##t, T, double, f, FLOAT_LESS)                                                                      \
    ARG_COLUMNS(argmax_##t, T, double, f, FLOAT_GREATER)                                                               \
    ARG_COLUMNS(argmin_##t, T, double, f, FLOAT_LESS)
#define INTEGER_COMBINES(t, T)                                                                                         \
    PLAIN_ROW(sum_##t, T, uint64_t, i, best + v)                                                                       \
    PLAIN_ROW(prod_##t, T, uint64_t, i, best *v)                                                                       \
    PLAIN_ROW(max_##t, T, int64_t, i, v > best ? v : best)                                                             \
    PLAIN_ROW(min_##t, T, int64_t, i, v < best ? v : best)                                                             \
    PLAIN_COLUMNS(sum_##t, T, uint64_t, i, best + v)                                                                   \
    PLAIN_COLUMNS(prod_##t, T, uint64_t, i, best *v)                                                                   \
    PLAIN_COLUMNS(max_##t, T, int64_t, i, v > best ? v : best)                                                         \
    PLAIN_COLUMNS(min_##t, T, int64_t, i, v < best ? v : best)                                                         \
    ARG_ROW(argmax_##t, T, int64_t, i, v > best)                                                                       \
    ARG_ROW(argmin_##t, T, int64_t, i, v < best)                                                                       \
    ARG_COLUMNS(argmax_##t, T, int64_t, i, v > best)                                                                   \
    ARG_COLUMNS(argmin_##t, T, int64_t, i, v < best)
FLOAT_COMBINES(f32, float)
FLOAT_COMBINES(f64, double)
INTEGER_COMBINES(i32, int32_t)
INTEGER_COMBINES(i64, int64_t)
ARG_ROW(argmax_f64, double, double, f, FLOAT_GREATER)
PLAIN_COLUMNS(sum_f64, double, double, f, best + v)

/* A few rows at a time are added in float, side by side, then their sum to the double. */
static void columns_sum_f32(od_accumulator *acc, int64_t *position, const void *x, int64_t rows, int64_t cols,
                            int64_t pitch, int64_t first) {
    const float *xs = x;
    double *f = (double *)acc;
    int64_t c = 0;
    (void)position, (void)first;
    for (; c + 64 <= cols; c += 64) {
        vec low[32 / LANES], high[32 / LANES];
        float sums[64];
        const float *at = xs + c;
#define BEGIN(v) low[v] = high[v] = (vec){0};
#define STEP(v)                                                                                                        \
    low[v] += vec_load(at + (v)*LANES);                                                                                \
    high[v] += vec_load(at + 32 + (v)*LANES);
#define END(v)                                                                                                         \
    vec_store(sums + (v)*LANES, low[v]);                                                                               \
    vec_store(sums + 32 + (v)*LANES, high[v]);
        EACH_32(BEGIN)
        for (int64_t r = 0; r < rows; r++, at += pitch) {
            EACH_32(STEP)
        }
        EACH_32(END)
#undef BEGIN
#undef STEP
#undef END
        SIMD for (int i = 0; i < 64; i++) f[c + i] += (double)sums[i];
    }
    if (c == cols)
        return;
    float sums[64] = {0};
    for (int64_t r = 0; r < rows; r++)
        SIMD for (int64_t i = c; i < cols; i++) sums[i - c] += xs[r * pitch + i];
    SIMD for (int64_t i = c; i < cols; i++) f[i] += (double)sums[i - c];
}

/* The greatest first, by lanes, then where it stands: two fast passes instead of one slow one. */
static void row_argmax_f32(od_accumulator *acc, int64_t *position, const void *x, int64_t n, int64_t first) {
    const float *xs = x;
    const float most = extreme_f32(xs, n, 1.0f);
    const double v = (double)most, best = acc->f;
    if (n <= 0 || (*position >= 0 && !FLOAT_GREATER))
        return;
    int64_t i = 0;
    while (most == most ? xs[i] != most : xs[i] == xs[i])
        i++;
    acc->f = v;
    *position = first + i;
}
