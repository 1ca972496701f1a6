/* SPDX-License-Identifier: Apache-2.0 */
/* Part of clone.c: recurrent layers: a product with a packed weight, and the cells, forwards and backwards. */

/* Tiles of c: PANEL columns, two vectors, of up to RNN_TILE_ROWS rows, all in registers. */
#if VEC_BYTES == 64
#define RNN_TILE_ROWS 8
#else
#define RNN_TILE_ROWS 6
#endif
#define PANEL (2 * LANES)

/* c (rows, panels PANEL) += a (rows, k) packed, for numbers of rows and panels that are known when this is compiled:
 * two sums a row and panel, at least eight to keep the units for multiplication busy, and all of them in registers. */
static inline __attribute__((always_inline)) void tile(float *c, const float *a, const float *packed, int64_t k,
                                                       int64_t ldc, int64_t lda, const int rows, const int panels) {
    vec sum[2 * RNN_TILE_ROWS];
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 8
        for (int j = 0; j < 2 * panels; j++)
            sum[r * 2 * panels + j] = vec_load(c + r * ldc + j * LANES);
    }
    for (int64_t p = 0; p < k; p++, packed += PANEL) {
#pragma GCC unroll 8
        for (int j = 0; j < panels; j++) {
            const vec left = vec_load(packed + j * k * PANEL), right = vec_load(packed + j * k * PANEL + LANES);
#pragma GCC unroll 8
            for (int r = 0; r < rows; r++) {
                const vec x = vec_all(a[r * lda + p]);
                vec *both = sum + r * 2 * panels + 2 * j;
                both[0] = VEC_MULADD(x, left, both[0]);
                both[1] = VEC_MULADD(x, right, both[1]);
            }
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 8
        for (int j = 0; j < 2 * panels; j++)
            vec_store(c + r * ldc + j * LANES, sum[r * 2 * panels + j]);
    }
}

/* One panel, all rows. */
static void tiles(float *c, const float *a, const float *packed, int64_t rows, int64_t k, int64_t ldc, int64_t lda) {
    for (; rows >= RNN_TILE_ROWS; rows -= RNN_TILE_ROWS, c += RNN_TILE_ROWS * ldc, a += RNN_TILE_ROWS * lda)
        tile(c, a, packed, k, ldc, lda, RNN_TILE_ROWS, 1);
    switch (rows) {
#if RNN_TILE_ROWS > 6
    case 7:
        tile(c, a, packed, k, ldc, lda, 7, 1);
        break;
    case 6:
        tile(c, a, packed, k, ldc, lda, 6, 1);
        break;
#endif
    case 5:
        tile(c, a, packed, k, ldc, lda, 5, 1);
        break;
    case 4:
        tile(c, a, packed, k, ldc, lda, 4, 1);
        break;
    case 3:
        tile(c, a, packed, k, ldc, lda, 3, 1);
        break;
    case 2:
        tile(c, a, packed, k, ldc, lda, 2, 1);
        break;
    case 1:
        tile(c, a, packed, k, ldc, lda, 1, 1);
        break;
    default:
        break;
    }
}

/* Several panels at once where there are one or two rows: how many were done. */
static int64_t wide_tiles(float *c, const float *a, const float *packed, int64_t rows, int64_t panels, int64_t k,
                          int64_t ldc, int64_t lda) {
    int64_t j = 0;
    for (; rows == 1 && j + 4 <= panels; j += 4)
        tile(c + j * PANEL, a, packed + j * k * PANEL, k, ldc, lda, 1, 4);
    for (; rows == 2 && j + 2 <= panels; j += 2)
        tile(c + j * PANEL, a, packed + j * k * PANEL, k, ldc, lda, 2, 2);
    return j;
}

/* A panel's strip of OD_RNN_STRIP rows lies in the first-level cache while all rows of c take their part. */
static void rnn_product(float *c, const float *a, const float *packed, int64_t rows, int64_t panels, int64_t k,
                        int64_t ldc, int64_t lda) {
    for (int64_t p = 0; p < k; p += OD_RNN_STRIP) {
        const int64_t strip = k - p < OD_RNN_STRIP ? k - p : OD_RNN_STRIP;
        int64_t j = rows <= 2 ? wide_tiles(c, a + p, packed, rows, panels, strip, ldc, lda) : 0;
        for (; j < panels; j++)
            tiles(c + j * PANEL, a + p, packed + j * strip * PANEL, rows, strip, ldc, lda);
        packed += panels * strip * PANEL;
    }
}

static void rnn_add(float *out, const float *a, const float *b, int64_t n) {
    SIMD for (int64_t i = 0; i < n; i++) out[i] = a[i] + b[i];
}

/* The cells; backend.h has the formulas. u (blocks of n) becomes the reserve. ----------------------------------------
 */

static void rnn_lstm(float *u, float *c, float *h, int64_t n) {
    float *i = u, *f = u + n, *g = u + 2 * n, *o = u + 3 * n;
    SIMD for (int64_t k = 0; k < n; k++) {
        i[k] = v_sigmoid(i[k]);
        f[k] = v_sigmoid(f[k]);
        g[k] = v_tanh(g[k]);
    }
    SIMD for (int64_t k = 0; k < n; k++) {
        o[k] = v_sigmoid(o[k]);
        c[k] = f[k] * c[k] + i[k] * g[k];
        h[k] = o[k] * v_tanh(c[k]);
    }
}

/* x is the input's part of n; h becomes the state after. */
static void rnn_gru(float *u, const float *x, float *h, int64_t n) {
    float *r = u, *z = u + n, *m = u + 2 * n, *q = u + 3 * n;
    SIMD for (int64_t k = 0; k < n; k++) {
        r[k] = v_sigmoid(r[k]);
        z[k] = v_sigmoid(z[k]);
    }
    SIMD for (int64_t k = 0; k < n; k++) {
        q[k] = m[k];
        m[k] = v_tanh(x[k] + r[k] * q[k]);
        h[k] = (h[k] - m[k]) * z[k] + m[k];
    }
}

static void rnn_tanh(float *h, const float *u, int64_t n) {
    SIMD for (int64_t k = 0; k < n; k++) h[k] = v_tanh(u[k]);
}
static void rnn_relu(float *h, const float *u, int64_t n) {
    SIMD for (int64_t k = 0; k < n; k++) h[k] = u[k] > 0.0f || u[k] != u[k] ? u[k] : 0.0f;
}

/* e is the gradient of h; dc that of c, and then that of c before. */
static void rnn_lstm_backward(float *du, const float *e, float *dc, const float *u, const float *before, const float *c,
                              int64_t n) {
    const float *i = u, *f = u + n, *g = u + 2 * n, *o = u + 3 * n;
    float *di = du, *df = du + n, *dg = du + 2 * n, *d_o = du + 3 * n;
    SIMD for (int64_t k = 0; k < n; k++) {
        const float t = v_tanh(c[k]), d = e[k] * o[k] * (1.0f - t * t) + dc[k];
        d_o[k] = e[k] * t * (o[k] * (1.0f - o[k]));
        di[k] = d * g[k] * (i[k] * (1.0f - i[k]));
        df[k] = d * before[k] * (f[k] * (1.0f - f[k]));
        dg[k] = d * i[k] * (1.0f - g[k] * g[k]);
        dc[k] = d * f[k];
    }
}

/* du: of the input's part, ds: of the state's; e becomes what goes to the state before past the weight. */
static void rnn_gru_backward(float *du, float *ds, float *e, const float *u, const float *before, int64_t n) {
    const float *r = u, *z = u + n, *m = u + 2 * n, *q = u + 3 * n;
    SIMD for (int64_t k = 0; k < n; k++) {
        const float dm = e[k] * (1.0f - z[k]) * (1.0f - m[k] * m[k]);
        const float dr = dm * q[k] * (r[k] * (1.0f - r[k])), dz = e[k] * (before[k] - m[k]) * (z[k] * (1.0f - z[k]));
        du[k] = dr;
        du[n + k] = dz;
        du[2 * n + k] = dm;
        ds[k] = dr;
        ds[n + k] = dz;
        ds[2 * n + k] = dm * r[k];
        e[k] = e[k] * z[k];
    }
}

static void rnn_tanh_backward(float *du, const float *e, const float *h, int64_t n) {
    SIMD for (int64_t k = 0; k < n; k++) du[k] = e[k] * (1.0f - h[k] * h[k]);
}
static void rnn_relu_backward(float *du, const float *e, const float *h, int64_t n) {
    SIMD for (int64_t k = 0; k < n; k++) du[k] = h[k] <= 0.0f ? 0.0f : e[k];
}
