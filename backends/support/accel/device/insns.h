/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The instructions of backend.h as functions rl_i_NAME on values of RL_LANES lanes, overloaded by register; comparisons
 * give I32, 0 or 1. Included after vector.h and math.h.
 */
#define RL_UNARY(NAME, T, value)                                                                                       \
    RL_FN T rl_i_##NAME(T a) {                                                                                         \
        return (value);                                                                                                \
    }
#define RL_BINARY(NAME, T, value)                                                                                      \
    RL_FN T rl_i_##NAME(T a, T b) {                                                                                    \
        return (value);                                                                                                \
    }
#define RL_COMPARE(NAME, T, op)                                                                                        \
    RL_FN I32 rl_i_##NAME(T a, T b) {                                                                                  \
        return TO(int, a op b) & 1;                                                                                    \
    }
#define RL_COMPARISONS(T)                                                                                              \
    RL_COMPARE(EQ, T, ==)                                                                                              \
    RL_COMPARE(NE, T, !=)                                                                                              \
    RL_COMPARE(LT, T, <)                                                                                               \
    RL_COMPARE(LE, T, <=)                                                                                              \
    RL_COMPARE(GT, T, >)                                                                                               \
    RL_COMPARE(GE, T, >=)

/* Integers: sums and products wrap, so they are made without sign. */
#define RL_INTEGERS(T, U, name, uname, WIDTH, PICK)                                                                    \
    RL_COMPARISONS(T)                                                                                                  \
    RL_BINARY(ADD, T, AS(name, AS(uname, a) + AS(uname, b)))                                                           \
    RL_BINARY(SUB, T, AS(name, AS(uname, a) - AS(uname, b)))                                                           \
    RL_BINARY(MUL, T, AS(name, AS(uname, a) * AS(uname, b)))                                                           \
    RL_UNARY(NEG, T, AS(name, (U)(0) - AS(uname, a)))                                                                  \
    RL_UNARY(ABS, T, AS(name, abs(a)))                                                                                 \
    RL_BINARY(MIN, T, min(a, b))                                                                                       \
    RL_BINARY(MAX, T, max(a, b))                                                                                       \
    RL_BINARY(AND, T, a &b)                                                                                            \
    RL_BINARY(OR, T, a | b)                                                                                            \
    RL_BINARY(XOR, T, a ^ b)                                                                                           \
    RL_UNARY(NOT, T, ~a)                                                                                               \
    RL_FN T rl_i_SHL(T a, T b) {                                                                                       \
        return SEL((T)(0), a << (b & (T)(WIDTH - 1)), AS(uname, b) < (U)(WIDTH));                                      \
    }                                                                                                                  \
    RL_FN T rl_i_SHR(T a, T b) {                                                                                       \
        return a >> SEL((T)(WIDTH - 1), b & (T)(WIDTH - 1), AS(uname, b) < (U)(WIDTH));                                \
    }                                                                                                                  \
    /* Division by 0 is 0; the least number by -1 wraps: neither reaches the processor's division. */                  \
    RL_FN T rl_i_IDIV(T a, T b) {                                                                                      \
        T safe = SEL(b, (T)(1), (b == (T)(0)) | (b == (T)(-1)));                                                       \
        T q = SEL(a / safe, rl_i_NEG(a), b == (T)(-1));                                                                \
        return SEL(q, (T)(0), b == (T)(0));                                                                            \
    }                                                                                                                  \
    RL_FN T rl_i_IREM(T a, T b) {                                                                                      \
        T safe = SEL(b, (T)(1), (b == (T)(0)) | (b == (T)(-1)));                                                       \
        return a % safe;                                                                                               \
    }                                                                                                                  \
    RL_FN T rl_i_SELECT(I32 a, T b, T c) {                                                                             \
        return PICK(a, b, c);                                                                                          \
    }
RL_INTEGERS(I32, U32, int, uint, 32, PICK32)
RL_INTEGERS(I64, U64, long, ulong, 64, PICK64)

#define RL_FLOATS(T, PICK, ONE)                                                                                        \
    RL_COMPARISONS(T)                                                                                                  \
    RL_BINARY(ADD, T, a + b)                                                                                           \
    RL_BINARY(SUB, T, a - b)                                                                                           \
    RL_BINARY(MUL, T, a *b)                                                                                            \
    RL_BINARY(DIV, T, a / b)                                                                                           \
    RL_FN T rl_i_FMA(T a, T b, T c) {                                                                                  \
        return fma(a, b, c);                                                                                           \
    }                                                                                                                  \
    RL_UNARY(NEG, T, -a)                                                                                               \
    RL_UNARY(ABS, T, fabs(a))                                                                                          \
    RL_BINARY(MIN, T, PICK(TO(int, (a < b) | (a != a)), a, b))                                                         \
    RL_BINARY(MAX, T, PICK(TO(int, (a > b) | (a != a)), a, b))                                                         \
    RL_FN T rl_i_SELECT(I32 a, T b, T c) {                                                                             \
        return PICK(a, b, c);                                                                                          \
    }                                                                                                                  \
    RL_UNARY(SQRT, T, sqrt(a))                                                                                         \
    RL_UNARY(FLOOR, T, floor(a))                                                                                       \
    RL_UNARY(CEIL, T, ceil(a))                                                                                         \
    RL_UNARY(TRUNC, T, trunc(a))                                                                                       \
    RL_UNARY(ROUND, T, rint(a))                                                                                        \
    RL_UNARY(RECIP, T, ONE / a)                                                                                        \
    RL_UNARY(RSQRT, T, ONE / sqrt(a))

/* The device's own functions, a lane at a time: the same code for every number of lanes, and compiled in little time.
 */
#if RL_LANES > 1
#define RL_EACH_LANE(NAME, T, scalar, value)                                                                           \
    RL_FN T rl_i_##NAME(T va, T vb) {                                                                                  \
        scalar lanes_a[RL_LANES], lanes_b[RL_LANES];                                                                   \
        RL_PASTE(vstore, RL_SUFFIX)(va, 0, lanes_a);                                                                   \
        RL_PASTE(vstore, RL_SUFFIX)(vb, 0, lanes_b);                                                                   \
        for (int l = 0; l < RL_LANES; l++) {                                                                           \
            scalar a = lanes_a[l], b = lanes_b[l];                                                                     \
            lanes_a[l] = (value);                                                                                      \
        }                                                                                                              \
        return RL_PASTE(vload, RL_SUFFIX)(0, lanes_a);                                                                 \
    }
#else
#define RL_EACH_LANE(NAME, T, scalar, value)                                                                           \
    RL_FN T rl_i_##NAME(T a, T b) {                                                                                    \
        return (value);                                                                                                \
    }
#endif
#define RL_EACH_LANE_1(NAME, T, scalar, value)                                                                         \
    RL_EACH_LANE(NAME, T, scalar, value)                                                                               \
    RL_FN T rl_i_##NAME(T a) {                                                                                         \
        return rl_i_##NAME(a, a);                                                                                      \
    }
#define RL_BUILTINS(T, scalar)                                                                                         \
    RL_EACH_LANE(POW, T, scalar, pow(a, b))                                                                            \
    RL_EACH_LANE(FMOD, T, scalar, fmod(a, b))                                                                          \
    RL_EACH_LANE(ATAN2, T, scalar, atan2(a, b))                                                                        \
    RL_EACH_LANE_1(ATAN, T, scalar, atan(a))                                                                           \
    RL_EACH_LANE_1(EXP2, T, scalar, exp2(a))                                                                           \
    RL_EACH_LANE_1(LOG2, T, scalar, log2(a))                                                                           \
    RL_EACH_LANE_1(LOG10, T, scalar, log10(a))                                                                         \
    RL_EACH_LANE_1(TAN, T, scalar, tan(a))                                                                             \
    RL_EACH_LANE_1(ASIN, T, scalar, asin(a))                                                                           \
    RL_EACH_LANE_1(ACOS, T, scalar, acos(a))                                                                           \
    RL_EACH_LANE_1(SINH, T, scalar, sinh(a))                                                                           \
    RL_EACH_LANE_1(COSH, T, scalar, cosh(a))                                                                           \
    RL_EACH_LANE_1(ASINH, T, scalar, asinh(a))                                                                         \
    RL_EACH_LANE_1(ACOSH, T, scalar, acosh(a))                                                                         \
    RL_EACH_LANE_1(ATANH, T, scalar, atanh(a))                                                                         \
    RL_EACH_LANE_1(ERFC, T, scalar, erfc(a))
RL_FLOATS(F32, PICK32, 1.0f)
RL_BUILTINS(F32, float)
RL_UNARY(EXP, F32, rl_exp(a))
RL_UNARY(LOG, F32, rl_log(a))
RL_UNARY(SIN, F32, rl_sin(a))
RL_UNARY(COS, F32, rl_cos(a))
RL_UNARY(TANH, F32, rl_tanh(a))
RL_UNARY(ERF, F32, rl_erf(a))
RL_UNARY(EXPM1, F32, rl_expm1(a))
RL_UNARY(LOG1P, F32, rl_log1p(a))
RL_UNARY(SIGMOID, F32, rl_sigmoid(a))
RL_FN I32 rl_i_BITCAST(F32 a) {
    return AS(int, a);
}
RL_FN F32 rl_i_BITCAST(I32 a) {
    return AS(float, a);
}
#if RL_HAS_F64
RL_FLOATS(F64, PICK64, 1.0)
RL_BUILTINS(F64, double)
RL_EACH_LANE_1(EXP, F64, double, exp(a))
RL_EACH_LANE_1(LOG, F64, double, log(a))
RL_EACH_LANE_1(SIN, F64, double, sin(a))
RL_EACH_LANE_1(COS, F64, double, cos(a))
RL_EACH_LANE_1(TANH, F64, double, tanh(a))
RL_EACH_LANE_1(ERF, F64, double, erf(a))
RL_EACH_LANE_1(EXPM1, F64, double, expm1(a))
RL_EACH_LANE_1(LOG1P, F64, double, log1p(a))
RL_EACH_LANE_1(SIGMOID, F64, double, 1.0 / (1.0 + exp(-a)))
RL_FN I64 rl_i_BITCAST(F64 a) {
    return AS(long, a);
}
RL_FN F64 rl_i_BITCAST(I64 a) {
    return AS(double, a);
}
#endif
#undef RL_UNARY
#undef RL_BINARY
#undef RL_COMPARE
#undef RL_COMPARISONS
#undef RL_INTEGERS
#undef RL_FLOATS
#undef RL_EACH_LANE
#undef RL_EACH_LANE_1
#undef RL_BUILTINS
