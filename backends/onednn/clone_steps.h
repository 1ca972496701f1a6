/* SPDX-License-Identifier: Apache-2.0 */
/* Part of clone.c: one loop for each instruction and register type. */

#define UNARY(name, T, R, expression)                                                                                  \
    static void name(void *out, const void *a, const void *b, const void *c, int64_t n) {                              \
        R *o = out;                                                                                                    \
        const T *xs = a;                                                                                               \
        (void)b, (void)c;                                                                                              \
        SIMD for (int64_t i = 0; i < n; i++) {                                                                         \
            const T x = xs[i];                                                                                         \
            o[i] = (R)(expression);                                                                                    \
        }                                                                                                              \
    }
#define BINARY(name, T, R, expression)                                                                                 \
    static void name(void *out, const void *a, const void *b, const void *c, int64_t n) {                              \
        R *o = out;                                                                                                    \
        const T *xs = a, *ys = b;                                                                                      \
        (void)c;                                                                                                       \
        SIMD for (int64_t i = 0; i < n; i++) {                                                                         \
            const T x = xs[i], y = ys[i];                                                                              \
            o[i] = (R)(expression);                                                                                    \
        }                                                                                                              \
    }
#define TERNARY(name, S, T, expression)                                                                                \
    static void name(void *out, const void *a, const void *b, const void *c, int64_t n) {                              \
        T *o = out;                                                                                                    \
        const S *xs = a;                                                                                               \
        const T *ys = b, *zs = c;                                                                                      \
        SIMD for (int64_t i = 0; i < n; i++) {                                                                         \
            const S x = xs[i];                                                                                         \
            const T y = ys[i], z = zs[i];                                                                              \
            o[i] = expression;                                                                                         \
        }                                                                                                              \
    }
/* Calls of libm, one by one: what is rare, and all of F64. */
#define LIBM1(name, T, function)                                                                                       \
    static void name(void *out, const void *a, const void *b, const void *c, int64_t n) {                              \
        T *o = out;                                                                                                    \
        const T *xs = a;                                                                                               \
        (void)b, (void)c;                                                                                              \
        for (int64_t i = 0; i < n; i++)                                                                                \
            o[i] = function(xs[i]);                                                                                    \
    }
#define LIBM2(name, T, function)                                                                                       \
    static void name(void *out, const void *a, const void *b, const void *c, int64_t n) {                              \
        T *o = out;                                                                                                    \
        const T *xs = a, *ys = b;                                                                                      \
        (void)c;                                                                                                       \
        for (int64_t i = 0; i < n; i++)                                                                                \
            o[i] = function(xs[i], ys[i]);                                                                             \
    }

/* Arithmetic, comparison, selection: floats, then integers, which wrap in unsigned types. */
#define FLOAT_STEPS(t, T)                                                                                              \
    BINARY(add_##t, T, T, x + y)                                                                                       \
    BINARY(sub_##t, T, T, x - y)                                                                                       \
    BINARY(mul_##t, T, T, x *y)                                                                                        \
    BINARY(div_##t, T, T, x / y)                                                                                       \
    UNARY(neg_##t, T, T, -x)                                                                                           \
    BINARY(min_##t, T, T, x < y || x != x ? x : y)                                                                     \
    BINARY(max_##t, T, T, x > y || x != x ? x : y)                                                                     \
    UNARY(recip_##t, T, T, 1 / x)
#define INTEGER_STEPS(t, T, U, bits)                                                                                   \
    BINARY(add_##t, U, U, x + y)                                                                                       \
    BINARY(sub_##t, U, U, x - y)                                                                                       \
    BINARY(mul_##t, U, U, x *y)                                                                                        \
    UNARY(neg_##t, U, U, 0u - x)                                                                                       \
    UNARY(abs_##t, T, U, x < 0 ? 0u - (U)x : (U)x)                                                                     \
    BINARY(min_##t, T, T, x < y ? x : y)                                                                               \
    BINARY(max_##t, T, T, x > y ? x : y)                                                                               \
    BINARY(and_##t, U, U, x &y)                                                                                        \
    BINARY(or_##t, U, U, x | y)                                                                                        \
    BINARY(xor_##t, U, U, x ^ y)                                                                                       \
    UNARY(not_##t, U, U, ~x)                                                                                           \
    BINARY(shl_##t, U, U, y < bits ? x << (y & (bits - 1)) : 0)                                                        \
    BINARY(shr_##t, T, T, x >> ((U)y < bits ? y : bits - 1))                                                           \
    /* -1 apart: the least number over it overflows */                                                                 \
    LIBM2(idiv_##t, T, divide_##t)                                                                                     \
    LIBM2(irem_##t, T, remainder_##t)
#define COMPARE_STEPS(t, T)                                                                                            \
    BINARY(eq_##t, T, int32_t, x == y)                                                                                 \
    BINARY(ne_##t, T, int32_t, x != y)                                                                                 \
    BINARY(lt_##t, T, int32_t, x < y)                                                                                  \
    BINARY(le_##t, T, int32_t, x <= y)                                                                                 \
    BINARY(gt_##t, T, int32_t, x > y)                                                                                  \
    BINARY(ge_##t, T, int32_t, x >= y)                                                                                 \
    TERNARY(select_##t, int32_t, T, x ? y : z)

static inline int32_t divide_i32(int32_t a, int32_t b) {
    return b == 0 ? 0 : b == -1 ? (int32_t)(0u - (uint32_t)a) : a / b;
}
static inline int32_t remainder_i32(int32_t a, int32_t b) {
    return b == 0 || b == -1 ? 0 : a % b;
}
static inline int64_t divide_i64(int64_t a, int64_t b) {
    return b == 0 ? 0 : b == -1 ? (int64_t)(0u - (uint64_t)a) : a / b;
}
static inline int64_t remainder_i64(int64_t a, int64_t b) {
    return b == 0 || b == -1 ? 0 : a % b;
}

FLOAT_STEPS(f32, float)
FLOAT_STEPS(f64, double)
INTEGER_STEPS(i32, int32_t, uint32_t, 32)
INTEGER_STEPS(i64, int64_t, uint64_t, 64)
COMPARE_STEPS(f32, float)
COMPARE_STEPS(f64, double)
COMPARE_STEPS(i32, int32_t)
COMPARE_STEPS(i64, int64_t)

UNARY(abs_f32, float, float, abs32(x))
UNARY(abs_f64, double, double, __builtin_fabs(x))
TERNARY(fma_f32, float, float, __builtin_fmaf(x, y, z))
TERNARY(fma_f64, double, double, __builtin_fma(x, y, z))
UNARY(sqrt_f32, float, float, __builtin_sqrtf(x))
UNARY(sqrt_f64, double, double, __builtin_sqrt(x))
UNARY(rsqrt_f32, float, float, 1.0f / __builtin_sqrtf(x))
UNARY(rsqrt_f64, double, double, 1.0 / __builtin_sqrt(x))
UNARY(floor_f32, float, float, __builtin_floorf(x))
UNARY(floor_f64, double, double, __builtin_floor(x))
UNARY(ceil_f32, float, float, __builtin_ceilf(x))
UNARY(ceil_f64, double, double, __builtin_ceil(x))
UNARY(trunc_f32, float, float, __builtin_truncf(x))
UNARY(trunc_f64, double, double, __builtin_trunc(x))
UNARY(round_f32, float, float, __builtin_rintf(x))
UNARY(round_f64, double, double, __builtin_rint(x))
UNARY(copy_32, uint32_t, uint32_t, x)
UNARY(copy_64, uint64_t, uint64_t, x)

/* Functions of vmath.h. */
UNARY(exp_f32, float, float, v_exp(x))
UNARY(log_f32, float, float, v_log(x))
UNARY(tanh_f32, float, float, v_tanh(x))
UNARY(erf_f32, float, float, v_erf(x))
UNARY(atan_f32, float, float, v_atan(x))
BINARY(pow_f32, float, float, v_pow(x, y))
UNARY(expm1_f32, float, float, v_expm1(x))
UNARY(log1p_f32, float, float, v_log1p(x))
UNARY(sigmoid_f32, float, float, v_sigmoid(x))
UNARY(exp2_f32, float, float, v_exp2(x))
UNARY(log2_f32, float, float, v_log2(x))
UNARY(log10_f32, float, float, v_log10(x))
UNARY(sinh_f32, float, float, v_sinh(x))
UNARY(cosh_f32, float, float, v_cosh(x))
UNARY(sin_near, float, float, v_sin(x))
UNARY(cos_near, float, float, v_cos(x))
LIBM1(sin_far, float, sinf)
LIBM1(cos_far, float, cosf)

/* A block with a finite number beyond the reach of the short reduction goes to libm as a whole. */
static int has_far(const float *x, int64_t n) {
    int far = 0;
    SIMD_SUM(far) for (int64_t i = 0; i < n; i++) far += abs32(x[i]) > TRIGONOMETRIC_LIMIT && abs32(x[i]) < INFINITY;
    return far;
}
static void sin_f32(void *out, const void *a, const void *b, const void *c, int64_t n) {
    (has_far(a, n) ? sin_far : sin_near)(out, a, b, c, n);
}
static void cos_f32(void *out, const void *a, const void *b, const void *c, int64_t n) {
    (has_far(a, n) ? cos_far : cos_near)(out, a, b, c, n);
}

static inline double sigmoid(double x) {
    double e = exp(-fabs(x));
    return (x < 0 ? e : 1.0) / (1.0 + e);
}
LIBM2(fmod_f32, float, fmodf)
LIBM2(fmod_f64, double, fmod)
LIBM2(pow_f64, double, pow)
LIBM2(atan2_f32, float, atan2f)
LIBM2(atan2_f64, double, atan2)
LIBM1(sigmoid_f64, double, sigmoid)
#define LIBM_BOTH(X) X(tan) X(asin) X(acos) X(asinh) X(acosh) X(atanh) X(erfc)
#define LIBM_F64(X)                                                                                                    \
    X(exp) X(log) X(sin) X(cos) X(tanh) X(erf) X(atan) X(expm1) X(log1p) X(exp2) X(log2) X(log10) X(sinh) X(cosh)
#define LIBM_STEP32(name) LIBM1(name##_f32, float, name##f)
#define LIBM_STEP64(name) LIBM1(name##_f64, double, name)
LIBM_BOTH(LIBM_STEP32)
LIBM_BOTH(LIBM_STEP64)
LIBM_F64(LIBM_STEP64)

/* Casts: the operand's register, then the dtype. Wider sources round to odd first, so that they round only once. */
#define INTEGER_CASTS(t, T)                                                                                            \
    UNARY(cast_##t##_i8, T, int32_t, (int8_t)(x))                                                                      \
    UNARY(cast_##t##_u8, T, int32_t, (uint8_t)(x))                                                                     \
    UNARY(cast_##t##_i16, T, int32_t, (int16_t)(x))                                                                    \
    UNARY(cast_##t##_bool, T, int32_t, x != 0)
UNARY(cast_f32_f64, float, double, x)
UNARY(cast_f32_f16, float, float, half_to_float(float_to_half(x)))
UNARY(cast_f32_bf16, float, float, brain_to_float(float_to_brain(x)))
UNARY(cast_f32_i8, float, int32_t, (int8_t)(int32_t)x)
UNARY(cast_f32_u8, float, int32_t, (uint8_t)(int32_t)x)
UNARY(cast_f32_i16, float, int32_t, (int16_t)(int32_t)x)
UNARY(cast_f32_i32, float, int32_t, x)
UNARY(cast_f32_i64, float, int64_t, x)
UNARY(cast_f32_bool, float, int32_t, x != 0)
UNARY(cast_f64_f32, double, float, x)
UNARY(cast_f64_f16, double, float, half_to_float(float_to_half(round_to_odd(x))))
UNARY(cast_f64_bf16, double, float, brain_to_float(float_to_brain(round_to_odd(x))))
UNARY(cast_f64_i8, double, int32_t, (int8_t)(int32_t)x)
UNARY(cast_f64_u8, double, int32_t, (uint8_t)(int32_t)x)
UNARY(cast_f64_i16, double, int32_t, (int16_t)(int32_t)x)
UNARY(cast_f64_i32, double, int32_t, x)
UNARY(cast_f64_i64, double, int64_t, x)
UNARY(cast_f64_bool, double, int32_t, x != 0)
INTEGER_CASTS(i32, int32_t)
UNARY(cast_i32_f32, int32_t, float, x)
UNARY(cast_i32_f64, int32_t, double, x)
UNARY(cast_i32_f16, int32_t, float, half_to_float(float_to_half((float)x))) /* inexact only beyond infinity */
UNARY(cast_i32_bf16, int32_t, float, brain_to_float(float_to_brain(round_to_odd((double)x))))
UNARY(cast_i32_i64, int32_t, int64_t, x)
INTEGER_CASTS(i64, int64_t)
UNARY(cast_i64_f32, int64_t, float, x)
UNARY(cast_i64_f64, int64_t, double, x)
UNARY(cast_i64_f16, int64_t, float, half_to_float(float_to_half(round_to_odd((double)x))))
UNARY(cast_i64_bf16, int64_t, float, brain_to_float(float_to_brain(round_to_odd(odd_double(x)))))
UNARY(cast_i64_i32, int64_t, int32_t, (int32_t)(uint64_t)x)
