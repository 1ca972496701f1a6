/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Elementary functions without branches, tables or calls, so that the compiler makes vector loops of them.
 *
 * Sources: S. Moshier's Cephes (expf, logf, tanhf, atanf: polynomials), FreeBSD's msun (log in double: e_log.c; sine
 * and cosine in double on [-pi/4, pi/4]: k_sinf.c, k_cosf.c; two-part pi/2: e_rem_pio2f.c), N. Juffa's erff (two
 * intervals, below one ulp). What cancels in single precision is done in double with polynomials just good enough for
 * it.
 */
#ifndef RUSHLIGHT_BACKENDS_ONEDNN_VMATH_H
#define RUSHLIGHT_BACKENDS_ONEDNN_VMATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#ifdef __FMA__
#define MULADD(a, b, c) __builtin_fmaf(a, b, c)
#define MULADD64(a, b, c) __builtin_fma(a, b, c)
#else
#define MULADD(a, b, c) ((a) * (b) + (c))
#define MULADD64(a, b, c) ((a) * (b) + (c))
#endif

static inline uint32_t bits32(float x) {
    uint32_t u;
    memcpy(&u, &x, 4);
    return u;
}
static inline float float32(uint32_t u) {
    float x;
    memcpy(&x, &u, 4);
    return x;
}
static inline uint64_t bits64(double x) {
    uint64_t u;
    memcpy(&u, &x, 8);
    return u;
}
static inline double float64(uint64_t u) {
    double x;
    memcpy(&x, &u, 8);
    return x;
}
static inline float abs32(float x) {
    return float32(bits32(x) & 0x7fffffffu);
}
static inline float sign32(float magnitude, float sign) {
    return float32((bits32(magnitude) & 0x7fffffffu) | (bits32(sign) & 0x80000000u));
}

/* Adding and taking away 1.5 * 2^23 (2^52) rounds to an integer, which also stands in the low bits of the sum. */
#define ROUNDER 12582912.0f
#define ROUNDER64 6755399441055744.0

/* e^x: 2^n e^r with |r| <= ln 2 / 2; the power in two factors, so that subnormal results round once. */
static inline float v_exp(float x) {
    float y = x < -104.0f ? -104.0f : x;
    y = y > 89.0f ? 89.0f : y;
    float t = MULADD(y, 1.44269504088896341f, ROUNDER);
    uint32_t n = bits32(t) - bits32(ROUNDER);
    float nf = t - ROUNDER;
    float r = MULADD(nf, -0.693359375f, y);
    r = MULADD(nf, 2.12194440e-4f, r);
    float p = 1.9875691500e-4f;
    p = MULADD(p, r, 1.3981999507e-3f);
    p = MULADD(p, r, 8.3334519073e-3f);
    p = MULADD(p, r, 4.1665795894e-2f);
    p = MULADD(p, r, 1.6666665459e-1f);
    p = MULADD(p, r, 5.0000001201e-1f);
    p = MULADD(p, r * r, r) + 1.0f;
    uint32_t h = (uint32_t)((int32_t)n >> 1);
    return p * float32((h + 127u) << 23) * float32((n - h + 127u) << 23);
}

/* The same for -87 <= x <= 0 or a little more, where the power is one normal number; smaller x give nearly 0. */
static inline float v_exp_short(float x) {
    float y = x < -87.0f ? -87.0f : x;
    float t = MULADD(y, 1.44269504088896341f, ROUNDER);
    uint32_t n = bits32(t) - bits32(ROUNDER);
    float nf = t - ROUNDER;
    float r = MULADD(nf, -0.693359375f, y);
    r = MULADD(nf, 2.12194440e-4f, r);
    float p = 1.9875691500e-4f;
    p = MULADD(p, r, 1.3981999507e-3f);
    p = MULADD(p, r, 8.3334519073e-3f);
    p = MULADD(p, r, 4.1665795894e-2f);
    p = MULADD(p, r, 1.6666665459e-1f);
    p = MULADD(p, r, 5.0000001201e-1f);
    p = MULADD(p, r * r, r) + 1.0f;
    return p * float32((n + 127u) << 23);
}

/* x = 2^k m with m in [sqrt(1/2), sqrt(2)): k, and f = m - 1. For positive x, subnormals too. */
static inline float split32(float x, float *out_k) {
    float tiny = x < 1.17549435e-38f ? 1.0f : 0.0f;
    float scaled = x < 1.17549435e-38f ? x * 8388608.0f : x;
    uint32_t i = bits32(scaled) - 0x3f3504f3u;
    *out_k = (float)((int32_t)i >> 23) - 23.0f * tiny;
    return float32((i & 0x7fffffu) + 0x3f3504f3u) - 1.0f;
}

/* What every logarithm gives at 0, below 0, at infinity and NaN. */
static inline float log_edges(float r, float x) {
    r = x == 0.0f ? -INFINITY : r;
    r = x < 0.0f ? NAN : r;
    r = x == INFINITY ? x : r;
    return x != x ? x : r;
}

static inline float v_log(float x) {
    float k, f = split32(x, &k), z = f * f;
    float p = 7.0376836292e-2f;
    p = MULADD(p, f, -1.1514610310e-1f);
    p = MULADD(p, f, 1.1676998740e-1f);
    p = MULADD(p, f, -1.2420140846e-1f);
    p = MULADD(p, f, 1.4249322787e-1f);
    p = MULADD(p, f, -1.6668057665e-1f);
    p = MULADD(p, f, 2.0000714765e-1f);
    p = MULADD(p, f, -2.4999993993e-1f);
    p = MULADD(p, f, 3.3333331174e-1f);
    float y = p * f * z;
    y = MULADD(k, -2.12194440e-4f, y);
    y = MULADD(z, -0.5f, y);
    return log_edges(MULADD(k, 0.693359375f, f + y), x);
}

/* log(1 + f) in double for f in [sqrt(1/2) - 1, sqrt(2) - 1]. */
static inline double log_poly64(double f) {
    double s = f / (2.0 + f), z = s * s;
    double p = 1.479819860511658591e-01;
    p = MULADD64(p, z, 1.531383769920937332e-01);
    p = MULADD64(p, z, 1.818357216161805012e-01);
    p = MULADD64(p, z, 2.222219843214978396e-01);
    p = MULADD64(p, z, 2.857142874366239149e-01);
    p = MULADD64(p, z, 3.999999999940941908e-01);
    p = MULADD64(p, z, 6.666666666666735130e-01);
    double half = 0.5 * f * f;
    return f - (half - s * (half + p * z));
}
/* log x in double for positive, finite x; and for x = 1 + a float's value. */
static inline double log_of_float(float x) {
    float k, f = split32(x, &k);
    return MULADD64((double)k, 0.69314718055994530942, log_poly64((double)f));
}
static inline double log_of_double(double x) {
    uint64_t i = bits64(x) - 0x3fe6a09e667f3bcdu + 0x3ff0000000000000u;
    double k = float64((i >> 52) | 0x4330000000000000u) - (4503599627370496.0 + 1023.0);
    double m = float64((i & 0xfffffffffffffu) + 0x3fe6a09e667f3bcdu);
    return MULADD64(k, 0.69314718055994530942, log_poly64(m - 1.0));
}
static inline float v_log2(float x) {
    return log_edges((float)(log_of_float(x) * 1.44269504088896340736), x);
}
static inline float v_log10(float x) {
    return log_edges((float)(log_of_float(x) * 0.43429448190325182765), x);
}
static inline float v_log1p(float x) {
    double u = 1.0 + (double)x;
    double r = log_of_double(u) + ((double)x - (u - 1.0)) / u; /* what 1 + x lost comes back */
    float y = (float)r;
    y = x == -1.0f ? -INFINITY : y;
    y = x < -1.0f ? NAN : y;
    y = x == INFINITY || x != x ? x : y;
    return x == 0.0f ? x : y;
}

/* e^x in double, about 45 bits, for |x| <= 700. Taylor to degree 11 on [-ln 2 / 2, ln 2 / 2]. */
static inline double exp_for_float(double x) {
    double t = MULADD64(x, 1.44269504088896340736, ROUNDER64), n = t - ROUNDER64;
    double r = MULADD64(n, -6.93147180369123816490e-01, x);
    r = MULADD64(n, -1.90821492927058770002e-10, r);
    double p = 1.0 / 39916800;
    p = MULADD64(p, r, 1.0 / 3628800);
    p = MULADD64(p, r, 1.0 / 362880);
    p = MULADD64(p, r, 1.0 / 40320);
    p = MULADD64(p, r, 1.0 / 5040);
    p = MULADD64(p, r, 1.0 / 720);
    p = MULADD64(p, r, 1.0 / 120);
    p = MULADD64(p, r, 1.0 / 24);
    p = MULADD64(p, r, 1.0 / 6);
    p = MULADD64(p, r, 0.5);
    p = MULADD64(p, r, 1.0);
    p = MULADD64(p, r, 1.0);
    return p * float64((bits64(t) + 1023u) << 52);
}
static inline double clamp64(double x, double low, double high) {
    x = x < low ? low : x;
    return x > high ? high : x;
}
static inline float v_expm1(float x) {
    double e = exp_for_float(clamp64((double)x, -60.0, 120.0)) - 1.0;
    return abs32(x) < 0x1p-26f ? x : (float)e;
}
static inline float v_exp2(float x) {
    return (float)exp_for_float(clamp64((double)x, -200.0, 200.0) * 0.69314718055994530942);
}
static inline float v_sinh(float x) {
    double e = exp_for_float(clamp64((double)x, -120.0, 120.0));
    return abs32(x) < 0x1p-13f ? x : (float)(0.5 * (e - 1.0 / e));
}
static inline float v_cosh(float x) {
    double e = exp_for_float(clamp64((double)x, -120.0, 120.0));
    return (float)(0.5 * (e + 1.0 / e));
}

static inline float v_sigmoid(float x) {
    /* e^-|x| never overflows; 1 - s would cancel, so that negative x take e / (1 + e). */
    float e = v_exp(-abs32(x));
    return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}

static inline float v_tanh(float x) {
    float a = abs32(x), z = x * x;
    float p = -5.70498872745e-3f;
    p = MULADD(p, z, 2.06390887954e-2f);
    p = MULADD(p, z, -5.37397155531e-2f);
    p = MULADD(p, z, 1.33314422036e-1f);
    p = MULADD(p, z, -3.33332819422e-1f);
    float small = sign32(MULADD(p * z, x, x), x); /* the sign of -0 too */
    float e = v_exp_short(-2.0f * a);             /* 1 - 2e / (1 + e) */
    float large = sign32(1.0f - (e + e) / (1.0f + e), x);
    large = x != x ? x : large;
    return a < 0.625f ? small : large;
}

static inline float v_erf(float x) {
    float t = abs32(x), s = x * x;
    float r = MULADD(-1.72853470e-5f, t, 3.83197126e-4f), u = MULADD(-3.88396438e-3f, t, 2.42546219e-2f);
    r = MULADD(r, s, u);
    r = MULADD(r, t, -1.06777877e-1f);
    r = MULADD(r, t, -6.34846687e-1f);
    r = MULADD(r, t, -1.28717512e-1f);
    r = MULADD(r, t, -t);
    r = r != r ? -100.0f : r; /* of infinity */
    r = sign32(1.0f - v_exp_short(r), x);
    float q = -5.96761703e-4f;
    q = MULADD(q, s, 4.99119423e-3f);
    q = MULADD(q, s, -2.67681349e-2f);
    q = MULADD(q, s, 1.12819925e-1f);
    q = MULADD(q, s, -3.76125336e-1f);
    q = MULADD(q, s, 1.28379166e-1f);
    q = MULADD(q, x, x);
    r = t > 0.927734375f ? r : q;
    r = t > 4.0f ? sign32(1.0f, x) : r;
    return x != x ? x : r;
}

static inline float v_atan(float x) {
    float a = abs32(x);
    int big = a > 2.414213562373095f, middle = a > 0.4142135623730950f;
    float top = big ? -1.0f : middle ? a - 1.0f : a, bottom = big ? a : middle ? a + 1.0f : 1.0f;
    float base = big ? 1.5707963267948966f : middle ? 0.7853981633974483f : 0.0f;
    float rest = big ? -4.371139e-8f : middle ? -2.1855695e-8f : 0.0f; /* of pi/2, pi/4 */
    float y = top / bottom, z = y * y;
    float p = 8.05374449538e-2f;
    p = MULADD(p, z, -1.38776856032e-1f);
    p = MULADD(p, z, 1.99777106478e-1f);
    p = MULADD(p, z, -3.33329491539e-1f);
    return sign32(base + (MULADD(p * z, y, y) + rest), x);
}

/* Above this the two-part reduction is no longer exact enough: callers give such blocks to libm. */
#define TRIGONOMETRIC_LIMIT 1e8f
/* sin(x + quadrant * pi / 2). */
static inline float sin_quadrant(float x, uint32_t quadrant) {
    double t = MULADD64((double)x, 0.63661977236758134308, ROUNDER64), n = t - ROUNDER64;
    double r = MULADD64(n, -1.57079631090164184570, (double)x);
    r = MULADD64(n, -1.58932547735281966916e-08, r);
    uint32_t q = (uint32_t)bits64(t) + quadrant;
    double z = r * r;
    double s = MULADD64(z, 2.718311493989822e-06, -1.9839334836096632e-04);
    s = MULADD64(s, z, 8.333329385889463e-03);
    s = MULADD64(s, z, -1.6666666641626524e-01);
    s = MULADD64(s * z, r, r);
    double c = MULADD64(z, 2.439044879627741e-05, -1.388676377460993e-03);
    c = MULADD64(c, z, 4.16666233237390e-02);
    c = MULADD64(c, z, -4.99999997251031e-01);
    c = MULADD64(c, z, 1.0);
    float y = (float)((q & 1u) ? c : s);
    return float32(bits32(y) ^ ((q & 2u) << 30));
}
static inline float v_sin(float x) {
    return x == 0.0f ? x : sin_quadrant(x, 0);
}
static inline float v_cos(float x) {
    return sin_quadrant(x, 1);
}

/* By bits: joined conditions would become branches, which stop the vectorizer. */
static inline float pick(int32_t condition, float yes, float no) {
    uint32_t mask = 0u - (uint32_t)condition;
    return float32((bits32(yes) & mask) | (bits32(no) & ~mask));
}

/* C's pow: |x|^y by logarithm and exponential in double, then the sign and the special cases. */
static inline float v_pow(float x, float y) {
    float a = abs32(x), ay = abs32(y);
    double l = log_of_float(a);
    l = a == 0.0f ? -INFINITY : l;
    l = a == INFINITY ? INFINITY : l;
    float r = (float)exp_for_float(clamp64((double)y * l, -200.0, 200.0));
    float t = ay < 16777216.0f ? ay : 16777216.0f; /* larger ones are even; a NaN too */
    int32_t whole = (int32_t)t;
    int32_t integer = (float)whole == t, odd = integer & whole & 1;
    r = pick((a == 1.0f) | (y == 0.0f), 1.0f, r);
    r = pick((x != x) & (y != 0.0f), x, r);
    r = pick((y != y) & (x != 1.0f), y, r);
    r = pick((x < 0.0f) & (integer == 0) & (a != INFINITY), NAN, r);
    return float32(bits32(r) ^ (bits32(x) & (uint32_t)odd << 31));
}

#endif
