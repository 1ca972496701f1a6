/* SPDX-License-Identifier: Apache-2.0 */
/* Part of clone.c: one register of floats, for loops whose sums must stay in registers: vectors that are wider than
 * these the compiler keeps in memory. */

#if defined(__AVX512F__)
#define VEC_BYTES 64
#elif defined(__AVX2__)
#define VEC_BYTES 32
#else
#define VEC_BYTES 16
#endif
#define LANES (VEC_BYTES / 4)

typedef float vec __attribute__((vector_size(VEC_BYTES)));
typedef int32_t veci __attribute__((vector_size(VEC_BYTES)));
typedef float vec_in_memory __attribute__((vector_size(VEC_BYTES), aligned(4), may_alias));

#define VEC_AT(p, i) (*(const vec_in_memory *)((p) + (i)))
static inline vec vec_load(const float *x) {
    return *(const vec_in_memory *)x;
}
static inline void vec_store(float *x, vec y) {
    *(vec_in_memory *)x = y;
}
#if defined(__AVX512F__)
#define vec_all(x) ((vec)_mm512_set1_ps(x))
#define VEC_MULADD(a, b, c) ((vec)_mm512_fmadd_ps((__m512)(a), (__m512)(b), (__m512)(c)))
#define VEC_MAX(a, b) ((vec)_mm512_max_ps((__m512)(a), (__m512)(b)))
#elif defined(__AVX2__) && defined(__FMA__)
#define vec_all(x) ((vec)_mm256_set1_ps(x))
#define VEC_MULADD(a, b, c) ((vec)_mm256_fmadd_ps((__m256)(a), (__m256)(b), (__m256)(c)))
#define VEC_MAX(a, b) ((vec)_mm256_max_ps((__m256)(a), (__m256)(b)))
#else
static inline vec vec_all(float x) {
    return (vec){x, x, x, x};
}
#define VEC_MULADD(a, b, c) ((a) * (b) + (c))
#define VEC_MAX(a, b) vec_max(a, b)
static inline vec vec_max(vec a, vec b) {
    const veci greater = a > b;
    return (vec)((greater & (veci)a) | (~greater & (veci)b));
}
#endif
/* VEC_MAX is a where a > b, else b: also where one of them is NaN. */

/* As v_exp_short, but 0 below -87, and so for -infinity. */
static inline vec vec_exp(vec x) {
    const vec y = VEC_MAX(vec_all(-87.0f), x);
    const vec t = VEC_MULADD(y, vec_all(1.44269504088896341f), vec_all(ROUNDER));
    const veci n = (veci)t - (veci)vec_all(ROUNDER);
    const vec nf = t - ROUNDER;
    vec r = VEC_MULADD(nf, vec_all(-0.693359375f), y);
    r = VEC_MULADD(nf, vec_all(2.12194440e-4f), r);
    vec p = VEC_MULADD(vec_all(1.9875691500e-4f), r, vec_all(1.3981999507e-3f));
    p = VEC_MULADD(p, r, vec_all(8.3334519073e-3f));
    p = VEC_MULADD(p, r, vec_all(4.1665795894e-2f));
    p = VEC_MULADD(p, r, vec_all(1.6666665459e-1f));
    p = VEC_MULADD(p, r, vec_all(5.0000001201e-1f));
    p = VEC_MULADD(p, r * r, r) + 1.0f;
    p *= (vec)((n + 127) << 23);
    return (vec)((veci)p & ~(x < vec_all(-87.0f)));
}

/* EACH_32(X): X(0), X(1) .. for the registers that hold 32 numbers. */
#if VEC_BYTES == 64
#define EACH_32(X) X(0) X(1)
#elif VEC_BYTES == 32
#define EACH_32(X) X(0) X(1) X(2) X(3)
#else
#define EACH_32(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
#endif
