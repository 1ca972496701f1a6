/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Elementary functions of F32 without branches or tables, on any number of lanes: a vendor's may be slow (one lane at a
 * time) and differ between devices. Errors stay within what OpenCL 1.2 section 7.4 allows its own: exp, log, log1p,
 * expm1 3 ulp, sin, cos 4 ulp, tanh 5 ulp, erf 16 ulp.
 *
 * Sources: S. Moshier's Cephes (expf, logf, tanhf: polynomials; sine and cosine on [-pi/4, pi/4]), N. Juffa's erff (two
 * intervals), W. Kahan's log1p.
 */
/* The whole number next to x, for |x| < 2^22, and the same as an integer: a device's rint may be slow. */
#define RL_NEAREST(n, k, x)                                                                                            \
    const F32 n##_high = (x) + 12582912.0f, n = n##_high - 12582912.0f;                                                \
    const I32 k = AS(int, n##_high) - 0x4b400000

/* e^x: 2^n e^r with |r| <= ln 2 / 2; the power in two factors, so that subnormal results round once. */
RL_FN F32 rl_exp_poly(F32 r) {
    F32 p = fma((F32)(1.9875691500e-4f), r, (F32)(1.3981999507e-3f));
    p = fma(p, r, (F32)(8.3334519073e-3f));
    p = fma(p, r, (F32)(4.1665795894e-2f));
    p = fma(p, r, (F32)(1.6666665459e-1f));
    p = fma(p, r, (F32)(5.0000001201e-1f));
    return fma(p, r * r, r); /* e^r - 1 */
}
RL_FN F32 rl_exp(F32 x) {
    F32 y = PICK32(TO(int, x < -104.0f), (F32)(-104.0f), x);
    y = PICK32(TO(int, y > 89.0f), (F32)(89.0f), y);
    RL_NEAREST(n, k, y * 1.44269504088896341f); /* of NaN anything: p is NaN */
    F32 r = fma(n, (F32)(-0.693359375f), y);
    r = fma(n, (F32)(2.12194440e-4f), r);
    F32 p = rl_exp_poly(r) + 1.0f;
    I32 h = k >> 1;
    return p * AS(float, (h + 127) << 23) * AS(float, (k - h + 127) << 23);
}
/* The same for x <= 0, where the power is one normal number; below -87 it stays as at -87. */
RL_FN F32 rl_exp_negative(F32 x) {
    F32 y = PICK32(TO(int, x < -87.0f), (F32)(-87.0f), x);
    RL_NEAREST(n, k, y * 1.44269504088896341f);
    F32 r = fma(n, (F32)(-0.693359375f), y);
    r = fma(n, (F32)(2.12194440e-4f), r);
    return (rl_exp_poly(r) + 1.0f) * AS(float, (k + 127) << 23);
}
RL_FN F32 rl_expm1(F32 x) {
    F32 small = rl_exp_poly(x), large = rl_exp(x) - 1.0f;
    F32 y = PICK32(TO(int, fabs(x) < 0.34f), small, large);
    return PICK32(TO(int, x == 0.0f), x, y);
}

/* x = 2^k (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)), for x > 0, subnormals too; then k ln 2 + log(1 + f). */
RL_FN F32 rl_log(F32 x) {
    I32 tiny = TO(int, x < 1.17549435e-38f);
    F32 scaled = PICK32(tiny, x * 8388608.0f, x);
    I32 i = AS(int, scaled) - 0x3f3504f3;
    F32 k = TO(float, i >> 23) - PICK32(tiny, (F32)(23.0f), (F32)(0.0f));
    F32 f = AS(float, (i & 0x7fffff) + 0x3f3504f3) - 1.0f, z = f * f;
    F32 p = fma((F32)(7.0376836292e-2f), f, (F32)(-1.1514610310e-1f));
    p = fma(p, f, (F32)(1.1676998740e-1f));
    p = fma(p, f, (F32)(-1.2420140846e-1f));
    p = fma(p, f, (F32)(1.4249322787e-1f));
    p = fma(p, f, (F32)(-1.6668057665e-1f));
    p = fma(p, f, (F32)(2.0000714765e-1f));
    p = fma(p, f, (F32)(-2.4999993993e-1f));
    p = fma(p, f, (F32)(3.3333331174e-1f));
    F32 y = p * f * z;
    y = fma(k, (F32)(-2.12194440e-4f), y);
    y = fma(z, (F32)(-0.5f), y);
    F32 r = fma(k, (F32)(0.693359375f), f + y);
    r = PICK32(TO(int, x == 0.0f), (F32)(-RL_INFINITY), r);
    r = PICK32(TO(int, x < 0.0f), (F32)(RL_NAN), r);
    return PICK32(TO(int, (x == RL_INFINITY) | (x != x)), x, r);
}
/* What 1 + x lost comes back as a factor. */
RL_FN F32 rl_log1p(F32 x) {
    F32 u = 1.0f + x, d = u - 1.0f;
    F32 r = rl_log(u) * (x / d);
    r = PICK32(TO(int, (d == 0.0f) | (x == RL_INFINITY)), x, r);
    return PICK32(TO(int, x == -1.0f), (F32)(-RL_INFINITY), r);
}

RL_FN F32 rl_sigmoid(F32 x) {
    /* e^-|x| never overflows; 1 - s would cancel, so that negative x take e / (1 + e). */
    F32 e = rl_exp(-fabs(x));
    return PICK32(TO(int, x < 0.0f), e, (F32)(1.0f)) / (1.0f + e);
}

RL_FN F32 rl_tanh(F32 x) {
    F32 a = fabs(x), z = x * x;
    F32 p = fma((F32)(-5.70498872745e-3f), z, (F32)(2.06390887954e-2f));
    p = fma(p, z, (F32)(-5.37397155531e-2f));
    p = fma(p, z, (F32)(1.33314422036e-1f));
    p = fma(p, z, (F32)(-3.33332819422e-1f));
    F32 small = copysign(fma(p * z, x, x), x); /* the sign of -0 too */
    F32 e = rl_exp_negative(-2.0f * a);        /* 1 - 2e / (1 + e) */
    F32 large = copysign(1.0f - (e + e) / (1.0f + e), x);
    F32 r = PICK32(TO(int, a < 0.625f), small, large);
    return PICK32(TO(int, x != x), x, r);
}

RL_FN F32 rl_erf(F32 x) {
    F32 t = fabs(x), s = x * x;
    F32 r = fma((F32)(-1.72853470e-5f), t, (F32)(3.83197126e-4f));
    F32 u = fma((F32)(-3.88396438e-3f), t, (F32)(2.42546219e-2f));
    r = fma(r, s, u);
    r = fma(r, t, (F32)(-1.06777877e-1f));
    r = fma(r, t, (F32)(-6.34846687e-1f));
    r = fma(r, t, (F32)(-1.28717512e-1f));
    r = fma(r, t, -t);
    r = PICK32(TO(int, r != r), (F32)(-100.0f), r); /* of infinity */
    F32 large = copysign(1.0f - rl_exp_negative(r), x);
    F32 q = fma((F32)(-5.96761703e-4f), s, (F32)(4.99119423e-3f));
    q = fma(q, s, (F32)(-2.67681349e-2f));
    q = fma(q, s, (F32)(1.12819925e-1f));
    q = fma(q, s, (F32)(-3.76125336e-1f));
    q = fma(q, s, (F32)(1.28379166e-1f));
    q = fma(q, x, x);
    r = PICK32(TO(int, t > 0.927734375f), large, q);
    r = PICK32(TO(int, t > 4.0f), copysign((F32)(1.0f), x), r);
    return PICK32(TO(int, x != x), x, r);
}

/* sin(x + quadrant pi / 2) for |x| < 30000: pi / 2 in three parts, each product exact or rounded once. */
RL_FN F32 rl_sin_quadrant(F32 x, int quadrant) {
    RL_NEAREST(n, k, x * 0.63661977236758134f);
    F32 r = fma(n, (F32)(-1.57079637050628662109375f), x);
    r = fma(n, (F32)(4.37113900018624283e-8f), r);
    r = fma(n, (F32)(1.71512451e-15f), r);
    I32 q = k + quadrant;
    F32 z = r * r;
    F32 s = fma((F32)(-1.9515295891e-4f), z, (F32)(8.3321608736e-3f));
    s = fma(s, z, (F32)(-1.6666654611e-1f));
    s = fma(s * z, r, r);
    F32 c = fma((F32)(2.443315711809948e-5f), z, (F32)(-1.388731625493765e-3f));
    c = fma(c, z, (F32)(4.166664568298827e-2f));
    c = fma(c, z * z, fma(z, (F32)(-0.5f), (F32)(1.0f)));
    F32 y = PICK32(q & 1, c, s);
    return AS(float, AS(int, y) ^ ((q & 2) << 30));
}
/* `near`, but f(x), the device's own and a lane at a time, where that does not hold: a lane never depends on others. */
#if RL_LANES > 1
#define RL_FAR(f, x, near)                                                                                             \
    if (any(!(fabs(x) < 30000.0f))) {                                                                                  \
        float lanes[RL_LANES], far[RL_LANES];                                                                          \
        RL_PASTE(vstore, RL_SUFFIX)(near, 0, lanes);                                                                   \
        RL_PASTE(vstore, RL_SUFFIX)(x, 0, far);                                                                        \
        for (int l = 0; l < RL_LANES; l++)                                                                             \
            lanes[l] = fabs(far[l]) < 30000.0f ? lanes[l] : f(far[l]);                                                 \
        near = RL_PASTE(vload, RL_SUFFIX)(0, lanes);                                                                   \
    }
#else
#define RL_FAR(f, x, near)                                                                                             \
    if (!(fabs(x) < 30000.0f))                                                                                         \
        near = f(x);
#endif
RL_FN F32 rl_sin(F32 x) {
    F32 y = PICK32(TO(int, x == 0.0f), x, rl_sin_quadrant(x, 0));
    RL_FAR(sin, x, y)
    return y;
}
RL_FN F32 rl_cos(F32 x) {
    F32 y = rl_sin_quadrant(x, 1);
    RL_FAR(cos, x, y)
    return y;
}
#undef RL_FAR
#undef RL_NEAREST
