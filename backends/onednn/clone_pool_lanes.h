/* SPDX-License-Identifier: Apache-2.0 */
/* Part of clone.c, for pooling: POOL_WIDTH floats as one value, for loops whose elements lie in pairs, which the
 * compiler makes no vectors of where they are short. Arithmetic and comparisons are C's own. */

#ifdef __AVX__
#define POOL_WIDTH 8
#else
#define POOL_WIDTH 4
#endif
typedef float pool_lanes __attribute__((vector_size(4 * POOL_WIDTH)));
typedef int32_t pool_mask
    __attribute__((vector_size(4 * POOL_WIDTH))); /* -1 or 0 in each lane: what comparisons give */

#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (pool_mask){__VA_ARGS__})
#endif
#if POOL_WIDTH == 8
#define EVENS(a, b) SHUFFLE(a, b, 0, 2, 4, 6, 8, 10, 12, 14)
#define ODDS(a, b) SHUFFLE(a, b, 1, 3, 5, 7, 9, 11, 13, 15)
#define PAIRS_LOW(a, b) SHUFFLE(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define PAIRS_HIGH(a, b) SHUFFLE(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#else
#define EVENS(a, b) SHUFFLE(a, b, 0, 2, 4, 6)
#define ODDS(a, b) SHUFFLE(a, b, 1, 3, 5, 7)
#define PAIRS_LOW(a, b) SHUFFLE(a, b, 0, 4, 1, 5)
#define PAIRS_HIGH(a, b) SHUFFLE(a, b, 2, 6, 3, 7)
#endif

static inline pool_lanes load_pool_lanes(const float *from) {
    pool_lanes v;
    memcpy(&v, from, sizeof v);
    return v;
}
static inline void store_pool_lanes(float *to, pool_lanes v) {
    memcpy(to, &v, sizeof v);
}
/* v where mask holds, else 0 */
static inline pool_lanes lanes_where(pool_mask mask, pool_lanes v) {
    return (pool_lanes)((pool_mask)v & mask);
}
/* The greater; NaN wins. */
static inline pool_lanes greater_lanes(pool_lanes v, pool_lanes m) {
    const pool_mask take = (v > m) | (v != v); /* NOLINT(misc-redundant-expression): NaN */
    return (pool_lanes)(((pool_mask)v & take) | ((pool_mask)m & ~take));
}
/* Where v, one of several, is m, the greatest of them. */
static inline pool_mask found_lanes(pool_lanes v, pool_lanes m) {
    return (v == m) | (v != v); /* NOLINT(misc-redundant-expression): NaN */
}

/* Of windows of 2 x 2 over rows a and b: the greatest; and its gradient g at the first of these, 0 at the others. */
static inline void pool_two_by_two_forward(float *out, const float *a, const float *b) {
    const pool_lanes a0 = load_pool_lanes(a), a1 = load_pool_lanes(a + POOL_WIDTH), b0 = load_pool_lanes(b),
                     b1 = load_pool_lanes(b + POOL_WIDTH);
    const pool_lanes upper = greater_lanes(ODDS(a0, a1), EVENS(a0, a1)),
                     lower = greater_lanes(ODDS(b0, b1), EVENS(b0, b1));
    store_pool_lanes(out, greater_lanes(lower, upper));
}
static inline void pool_two_by_two_backward(const float *g, const float *a, const float *b, float *A, float *B) {
    const pool_lanes a0 = load_pool_lanes(a), a1 = load_pool_lanes(a + POOL_WIDTH), b0 = load_pool_lanes(b),
                     b1 = load_pool_lanes(b + POOL_WIDTH);
    const pool_lanes p = EVENS(a0, a1), q = ODDS(a0, a1), r = EVENS(b0, b1), s = ODDS(b0, b1),
                     grad = load_pool_lanes(g);
    const pool_lanes most = greater_lanes(greater_lanes(s, r), greater_lanes(q, p));
    const pool_mask is_p = found_lanes(p, most), is_q = found_lanes(q, most) & ~is_p;
    const pool_mask is_r = found_lanes(r, most) & ~(is_p | is_q), is_s = ~(is_p | is_q | is_r);
    const pool_lanes gp = lanes_where(is_p, grad), gq = lanes_where(is_q, grad);
    const pool_lanes gr = lanes_where(is_r, grad), gs = lanes_where(is_s, grad);
    store_pool_lanes(A, PAIRS_LOW(gp, gq));
    store_pool_lanes(A + POOL_WIDTH, PAIRS_HIGH(gp, gq));
    store_pool_lanes(B, PAIRS_LOW(gr, gs));
    store_pool_lanes(B + POOL_WIDTH, PAIRS_HIGH(gr, gs));
}

/* x[0], x[step], x[2 step] ...; may look at 2 POOL_WIDTH elements. */
static inline pool_lanes pool_pick(const float *x, int64_t step) {
    if (step == 1)
        return load_pool_lanes(x);
    if (step == 2) {
        const pool_lanes a = load_pool_lanes(x), b = load_pool_lanes(x + POOL_WIDTH);
        return EVENS(a, b);
    }
    float picked[POOL_WIDTH];
    for (int i = 0; i < POOL_WIDTH; i++)
        picked[i] = x[i * step];
    return load_pool_lanes(picked);
}

/* Of POOL_WIDTH windows side by side, in rows whose margins are -infinity: found[i] is the number, row-major over
 * n_rows and kernel, of the first greatest element of window i; -1 where all are -infinity. */
static inline void pool_find_lanes(int32_t *found, const float *const *rows, int n_rows, int64_t kernel,
                                   int64_t dilation, int64_t step) {
    pool_lanes best = (pool_lanes){0} - INFINITY;
    pool_mask number = (pool_mask){0} - 1, code = {0};
    for (int r = 0; r < n_rows; r++)
        for (int64_t t = 0; t < kernel; t++, code += 1) {
            const pool_lanes v = pool_pick(rows[r] + t * dilation, step);
            const pool_mask take =
                (v > best) | ((v != v) & (best == best)); /* NOLINT(misc-redundant-expression): NaN */
            best = (pool_lanes)(((pool_mask)v & take) | ((pool_mask)best & ~take));
            number = (code & take) | (number & ~take);
        }
    memcpy(found, &number, sizeof number);
}

/* One window of POOL_WIDTH channels: g goes to the first of `n` elements, at in[at[i]], that is the greatest. */
static inline void pool_give_lanes(float *grad, const int64_t *grad_at, const float *in, const int64_t *in_at,
                                   int64_t n, const float *g) {
    pool_lanes most = load_pool_lanes(in + in_at[0]), rest = load_pool_lanes(g);
    for (int64_t i = 1; i < n; i++)
        most = greater_lanes(load_pool_lanes(in + in_at[i]), most);
    for (int64_t i = 0; i < n; i++) {
        const pool_mask found = found_lanes(load_pool_lanes(in + in_at[i]), most);
        store_pool_lanes(grad + grad_at[i], load_pool_lanes(grad + grad_at[i]) + lanes_where(found, rest));
        rest = lanes_where(~found, rest);
    }
}
