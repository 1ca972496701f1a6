/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Instructions on one integer register. Included by rl_interp.c once for each, with T the type, U its unsigned type,
 * WIDTH its bits and NAME the function to define. Sums and products are computed unsigned, so that they wrap.
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
        EACH(ADD, r, (T)((U)a[i] + (U)b[i]))
        EACH(SUB, r, (T)((U)a[i] - (U)b[i]))
        EACH(MUL, r, (T)((U)a[i] * (U)b[i]))
        EACH(NEG, r, (T)(0u - (U)a[i]))
        EACH(ABS, r, a[i] < 0 ? (T)(0u - (U)a[i]) : a[i])
        EACH(MIN, r, a[i] < b[i] ? a[i] : b[i])
        EACH(MAX, r, a[i] > b[i] ? a[i] : b[i])
        /* The most negative number divided by -1 wraps to itself; the processor would trap. */
        EACH(IDIV, r, b[i] == 0 ? 0 : b[i] == -1 ? (T)(0u - (U)a[i]) : a[i] / b[i])
        EACH(IREM, r, b[i] == 0 || b[i] == -1 ? 0 : a[i] % b[i])
        EACH(EQ, flag, a[i] == b[i])
        EACH(NE, flag, a[i] != b[i])
        EACH(LT, flag, a[i] < b[i])
        EACH(LE, flag, a[i] <= b[i])
        EACH(GT, flag, a[i] > b[i])
        EACH(GE, flag, a[i] >= b[i])
        EACH(SELECT, r, mask[i] ? b[i] : c[i])
        EACH(AND, r, a[i] & b[i])
        EACH(OR, r, a[i] | b[i])
        EACH(XOR, r, a[i] ^ b[i])
        EACH(NOT, r, ~a[i])
        EACH(SHL, r, (U)b[i] < WIDTH ? (T)((U)a[i] << b[i]) : 0)
        EACH(SHR, r, a[i] >> ((U)b[i] < WIDTH ? b[i] : WIDTH - 1))
    default:
        break;
    }
}
#undef EACH
#undef NAME
#undef T
#undef U
#undef WIDTH
