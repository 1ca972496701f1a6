/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Instructions on one float register. Included by rl_interp.c once for each, with T the type, M(f) the name of the
 * mathematical function f for it, and NAME the function to define. NaN: comparisons of NaN are false, != is true.
 */
#define EACH(code, place, value)                                                                                       \
    case RL_INSN_##code:                                                                                               \
        for (int64_t i = 0; i < n; i++)                                                                                \
            place[i] = (value);                                                                                        \
        break;

static void NAME(unsigned code, int64_t n, const void *va, const void *vb, const void *vc, void *result) {
    const T *a = va, *b = vb, *c = vc;
    const int32_t *mask = va;
    T *restrict r = result;
    int32_t *restrict flag = result;
    switch (code) {
        EACH(ADD, r, a[i] + b[i])
        EACH(SUB, r, a[i] - b[i])
        EACH(MUL, r, a[i] * b[i])
        EACH(DIV, r, a[i] / b[i])
        EACH(FMA, r, M(fma)(a[i], b[i], c[i]))
        EACH(NEG, r, -a[i])
        EACH(ABS, r, M(fabs)(a[i]))
        EACH(MIN, r, a[i] < b[i] || a[i] != a[i] ? a[i] : b[i])
        EACH(MAX, r, a[i] > b[i] || a[i] != a[i] ? a[i] : b[i])
        EACH(EQ, flag, a[i] == b[i])
        EACH(NE, flag, a[i] != b[i])
        EACH(LT, flag, a[i] < b[i])
        EACH(LE, flag, a[i] <= b[i])
        EACH(GT, flag, a[i] > b[i])
        EACH(GE, flag, a[i] >= b[i])
        EACH(SELECT, r, mask[i] ? b[i] : c[i])
        EACH(SQRT, r, M(sqrt)(a[i]))
        EACH(FLOOR, r, M(floor)(a[i]))
        EACH(CEIL, r, M(ceil)(a[i]))
        EACH(TRUNC, r, M(trunc)(a[i]))
        EACH(ROUND, r, M(rint)(a[i]))
        EACH(EXP, r, M(exp)(a[i]))
        EACH(LOG, r, M(log)(a[i]))
        EACH(SIN, r, M(sin)(a[i]))
        EACH(COS, r, M(cos)(a[i]))
        EACH(TANH, r, M(tanh)(a[i]))
        EACH(ERF, r, M(erf)(a[i]))
        EACH(ATAN, r, M(atan)(a[i]))
        EACH(POW, r, M(pow)(a[i], b[i]))
        EACH(FMOD, r, M(fmod)(a[i], b[i]))
        EACH(EXPM1, r, M(expm1)(a[i]))
        EACH(LOG1P, r, M(log1p)(a[i]))
        EACH(RECIP, r, 1 / a[i])
        EACH(RSQRT, r, 1 / M(sqrt)(a[i]))
        EACH(SIGMOID, r, 1 / (1 + M(exp)(-a[i])))
        EACH(EXP2, r, M(exp2)(a[i]))
        EACH(LOG2, r, M(log2)(a[i]))
        EACH(LOG10, r, M(log10)(a[i]))
        EACH(TAN, r, M(tan)(a[i]))
        EACH(ASIN, r, M(asin)(a[i]))
        EACH(ACOS, r, M(acos)(a[i]))
        EACH(ATAN2, r, M(atan2)(a[i], b[i]))
        EACH(SINH, r, M(sinh)(a[i]))
        EACH(COSH, r, M(cosh)(a[i]))
        EACH(ASINH, r, M(asinh)(a[i]))
        EACH(ACOSH, r, M(acosh)(a[i]))
        EACH(ATANH, r, M(atanh)(a[i]))
        EACH(ERFC, r, M(erfc)(a[i]))
    default:
        break;
    }
}
#undef EACH
#undef NAME
#undef T
#undef M
