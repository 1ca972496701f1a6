/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Instructions beyond the base set, for backends that lack them: each as a formula of base instructions, good to a few
 * units in the last place wherever those are. MIN and MAX pass NaN on, comparisons with NaN are false, and what SELECT
 * passes over may be NaN: the formulas lean on all three.
 */
#include <math.h>

#include "base/memory.h"
#include "dispatch/program_table.h"

/* Short names for the one builder `b` that every formula has. */
#define OP1(code, x) rl_build1(b, RL_INSN_##code, x)
#define OP2(code, x, y) rl_build2(b, RL_INSN_##code, x, y)
#define OP3(code, x, y, z) rl_build3(b, RL_INSN_##code, x, y, z)

/* What a register of floats is made of. */
typedef struct float_kind {
    rl_reg reg, bits; /* and the integer register of its width */
    int mantissa;     /* bits of the fraction */
    int bias;         /* of the exponent */
} float_kind;

static float_kind kind_of(const rl_builder *b, rl_pw x) {
    static const float_kind single = {RL_REG_F32, RL_REG_I32, 23, 127}, wide = {RL_REG_F64, RL_REG_I64, 52, 1023};
    return rl_dtype_reg((rl_dtype)b->value_dtype[x]) == RL_REG_F64 ? wide : single;
}

static rl_pw number(rl_builder *b, float_kind kind, double value) {
    return rl_build_constant(b, rl_reg_dtype(kind.reg), value);
}

static rl_pw integer(rl_builder *b, float_kind kind, int64_t value) {
    return rl_builder_number(b, kind.bits, (rl_number){.i = value});
}

static rl_pw sign_bit(rl_builder *b, float_kind kind, rl_pw x) {
    return OP2(AND, OP1(BITCAST, x), integer(b, kind, kind.reg == RL_REG_F32 ? INT32_MIN : INT64_MIN));
}

/* magnitude, which is not negative, with the sign of x. */
static rl_pw with_sign(rl_builder *b, float_kind kind, rl_pw magnitude, rl_pw x) {
    return OP1(BITCAST, OP2(OR, OP1(BITCAST, magnitude), sign_bit(b, kind, x)));
}

/* e / (1 + e) or 1 / (1 + e) with e = exp(-|x|), which never overflows. */
static rl_pw expand_sigmoid(rl_builder *b, float_kind kind, rl_pw x) {
    rl_pw one = number(b, kind, 1), e = OP1(EXP, OP1(NEG, OP1(ABS, x)));
    rl_pw negative = OP2(LT, x, number(b, kind, 0));
    return OP2(DIV, OP3(SELECT, negative, e, one), OP2(ADD, one, e));
}

/*
 * Logarithms to base 2 and 10. With x = 2^e m and m in [sqrt(1/2), sqrt(2)): e log(2) + log(m), where the first product
 * is exact in its high part, as in fdlibm's e_log10.c (Sun Microsystems, 1993). So powers of 2 come out exact, and of
 * 10 to all practice. log2_high + log2_low = the logarithm of 2, the high part with few bits; scale = 1 / ln(base)
 */
static rl_pw expand_log(rl_builder *b, float_kind kind, rl_pw x, double log2_high, double log2_low, double scale) {
    rl_pw zero = number(b, kind, 0), tiny = OP2(LT, x, number(b, kind, ldexp(1, 1 - kind.bias)));
    double lift = ldexp(1, kind.mantissa + 1); /* makes a subnormal normal */
    rl_pw bits = OP1(BITCAST, OP3(SELECT, tiny, OP2(MUL, x, number(b, kind, lift)), x));
    /* Counted from sqrt(1/2), the exponent's field holds e, and the rest is as far above it as m is. */
    int64_t half = kind.reg == RL_REG_F32 ? INT64_C(0x3f3504f3) : INT64_C(0x3fe6a09e667f3bcd);
    rl_pw above = OP2(SUB, bits, integer(b, kind, half)), shift = integer(b, kind, kind.mantissa);
    rl_pw e = OP2(SHR, above, shift);
    rl_pw m = OP1(BITCAST, OP2(SUB, bits, OP2(SHL, e, shift)));
    rl_pw count = rl_build_cast(b, e, rl_reg_dtype(kind.reg));
    count = OP2(SUB, count, OP3(SELECT, tiny, number(b, kind, kind.mantissa + 1), zero));
    rl_pw low = OP2(MUL, OP1(LOG, m), number(b, kind, scale));
    if (log2_low != 0)
        low = OP2(ADD, OP2(MUL, count, number(b, kind, log2_low)), low);
    rl_pw high = log2_high == 1 ? count : OP2(MUL, count, number(b, kind, log2_high));
    /* 0, infinities, negative numbers and NaN are LOG's own. */
    rl_pw ordinary = OP2(AND, OP2(GT, x, zero), OP2(LT, x, number(b, kind, INFINITY)));
    return OP3(SELECT, ordinary, OP2(ADD, high, low), OP1(LOG, x));
}

static rl_pw expand_log10(rl_builder *b, float_kind kind, rl_pw x) {
    /* log10(2) in two parts; the high one has so few bits that e times it is exact. */
    bool single = kind.reg == RL_REG_F32;
    double high = single ? 0x1.344p-2 : 0x1.344135p-2, low = single ? 0x1.3509f79fef312p-18 : 0x1.3ef3fde623e25p-31;
    return expand_log(b, kind, x, high, low, M_LOG10E);
}

/* atan(x / sqrt(1 - x^2)), the square's rounding avoided. */
static rl_pw expand_asin(rl_builder *b, float_kind kind, rl_pw x) {
    rl_pw one = number(b, kind, 1);
    return OP1(ATAN, OP2(DIV, x, OP1(SQRT, OP2(MUL, OP2(SUB, one, x), OP2(ADD, one, x)))));
}

/* 2 atan(sqrt((1 - x) / (1 + x))): the half-angle formula, good near 1 too. */
static rl_pw expand_acos(rl_builder *b, float_kind kind, rl_pw x) {
    rl_pw one = number(b, kind, 1);
    rl_pw half = OP1(ATAN, OP1(SQRT, OP2(DIV, OP2(SUB, one, x), OP2(ADD, one, x))));
    return OP2(ADD, half, half);
}

/* The angle in the first octant from min / max, mirrored to where the point lies. */
static rl_pw expand_atan2(rl_builder *b, float_kind kind, rl_pw y, rl_pw x) {
    const double low = kind.reg == RL_REG_F32 ? -0x1.777a5cp-25 : 0x1.1a62633145c07p-54; /* pi/2 less its rounding */
    rl_pw zero = number(b, kind, 0), rise = OP1(ABS, y), run = OP1(ABS, x);
    rl_pw least = OP2(MIN, rise, run), most = OP2(MAX, rise, run);
    rl_pw t = OP2(DIV, least, most);
    t = OP3(SELECT, OP2(EQ, most, zero), zero, t);
    t = OP3(SELECT, OP2(EQ, least, number(b, kind, INFINITY)), number(b, kind, 1), t);
    rl_pw angle = OP1(ATAN, t), quarter = number(b, kind, M_PI_2), rest = number(b, kind, low);
    angle = OP3(SELECT, OP2(GT, rise, run), OP2(SUB, quarter, OP2(SUB, angle, rest)), angle);
    rl_pw left = OP2(NE, sign_bit(b, kind, x), integer(b, kind, 0));
    rl_pw mirrored = OP2(SUB, number(b, kind, M_PI), OP2(SUB, angle, OP2(ADD, rest, rest)));
    return with_sign(b, kind, OP3(SELECT, left, mirrored, angle), y);
}

/* e^|x| / 2 as a square, for |x| of 20 and more, where e^-|x| no longer counts: sinh does not overflow before it. */
static rl_pw half_exp(rl_builder *b, float_kind kind, rl_pw magnitude) {
    rl_pw half = number(b, kind, 0.5), root = OP1(EXP, OP2(MUL, half, magnitude));
    return OP2(MUL, OP2(MUL, half, root), root);
}

/* (t + t / (t + 1)) / 2 with t = e^|x| - 1, as fdlibm's e_sinh.c. */
static rl_pw expand_sinh(rl_builder *b, float_kind kind, rl_pw x) {
    rl_pw magnitude = OP1(ABS, x), t = OP1(EXPM1, magnitude), one = number(b, kind, 1);
    rl_pw small = OP2(MUL, number(b, kind, 0.5), OP2(ADD, t, OP2(DIV, t, OP2(ADD, t, one))));
    rl_pw is_small = OP2(LT, magnitude, number(b, kind, 20));
    return with_sign(b, kind, OP3(SELECT, is_small, small, half_exp(b, kind, magnitude)), x);
}

static rl_pw expand_cosh(rl_builder *b, float_kind kind, rl_pw x) {
    rl_pw magnitude = OP1(ABS, x), t = OP1(EXP, magnitude), half = number(b, kind, 0.5);
    rl_pw small = OP2(ADD, OP2(MUL, half, t), OP2(DIV, half, t));
    rl_pw is_small = OP2(LT, magnitude, number(b, kind, 20));
    return OP3(SELECT, is_small, small, half_exp(b, kind, magnitude));
}

/* From here on asinh(x) and acosh(x) are log(2 x), and x^2 would soon overflow. */
#define HUGE_ARGUMENT 0x1p28

static rl_pw log_of_double(rl_builder *b, float_kind kind, rl_pw magnitude) {
    return OP2(ADD, OP1(LOG, magnitude), number(b, kind, M_LN2));
}

/* log1p(|x| + x^2 / (1 + sqrt(1 + x^2))), as fdlibm's s_asinh.c. */
static rl_pw expand_asinh(rl_builder *b, float_kind kind, rl_pw x) {
    rl_pw magnitude = OP1(ABS, x), square = OP2(MUL, x, x), one = number(b, kind, 1);
    rl_pw more = OP2(DIV, square, OP2(ADD, one, OP1(SQRT, OP2(ADD, one, square))));
    rl_pw small = OP1(LOG1P, OP2(ADD, magnitude, more));
    rl_pw is_small = OP2(LT, magnitude, number(b, kind, HUGE_ARGUMENT));
    return with_sign(b, kind, OP3(SELECT, is_small, small, log_of_double(b, kind, magnitude)), x);
}

/* log1p(t + sqrt(t) sqrt(t + 2)) with t = x - 1; two roots, so that it is NaN for every x below 1. */
static rl_pw expand_acosh(rl_builder *b, float_kind kind, rl_pw x) {
    rl_pw t = OP2(SUB, x, number(b, kind, 1));
    rl_pw roots = OP2(MUL, OP1(SQRT, t), OP1(SQRT, OP2(ADD, t, number(b, kind, 2))));
    rl_pw small = OP1(LOG1P, OP2(ADD, t, roots));
    return OP3(SELECT, OP2(LT, x, number(b, kind, HUGE_ARGUMENT)), small, log_of_double(b, kind, x));
}

/* log1p(2 |x| / (1 - |x|)) / 2 */
static rl_pw expand_atanh(rl_builder *b, float_kind kind, rl_pw x) {
    rl_pw magnitude = OP1(ABS, x), one = number(b, kind, 1);
    rl_pw ratio = OP2(DIV, OP2(ADD, magnitude, magnitude), OP2(SUB, one, magnitude));
    return with_sign(b, kind, OP2(MUL, number(b, kind, 0.5), OP1(LOG1P, ratio)), x);
}

/*
 * The midpoint rule for the integral (2 x / pi) e^(-x^2) int_0^inf e^(-t^2) / (x^2 + t^2) dt, which is erfc(x), with
 * the poles at +-ix put right: Chiarella and Reichel, "On the evaluation of integrals related to the error function"
 * (1968); Matta and Reichel (1971). Only positive terms are added up, so nothing cancels. With step h the error is
 * about e^(-pi^2 / h^2); the points' squares ((2 n - 1) h / 2)^2 are built by steps that are exact, h^2 having few
 * bits.
 */
static rl_pw expand_erfc(rl_builder *b, float_kind kind, rl_pw x) {
    bool single = kind.reg == RL_REG_F32;
    const double h2 = single ? 0.4375 : 0.203125, h = sqrt(h2);
    const int terms = single ? 7 : 14;
    rl_pw one = number(b, kind, 1), two = number(b, kind, 2), zero = number(b, kind, 0);
    rl_pw z = OP2(MIN, OP1(ABS, x), number(b, kind, single ? 11 : 28)); /* there it is 0 */
    rl_pw square = OP2(MUL, z, z), rounding = OP3(FMA, z, z, OP1(NEG, square));
    rl_pw point = number(b, kind, -h2 / 4); /* -t^2 */
    rl_pw step = number(b, kind, 2 * h2), stride = step, sum = zero;
    for (int n = 0; n < terms; n++) {
        rl_pw term = OP2(DIV, OP1(EXP, point), OP2(SUB, square, point));
        sum = n == 0 ? term : OP2(ADD, sum, term);
        point = OP2(SUB, point, step);
        step = OP2(ADD, step, stride);
    }
    rl_pw decay = OP1(EXP, OP1(NEG, square));
    decay = OP2(SUB, decay, OP2(MUL, decay, rounding));
    rl_pw integral = OP2(MUL, OP2(MUL, OP2(MUL, number(b, kind, 2 * h / M_PI), z), sum), decay);
    rl_pw pole = OP2(DIV, two, OP2(ADD, one, OP1(EXP, OP2(MUL, number(b, kind, 2 * M_PI / h), z))));
    pole = OP3(SELECT, OP2(LT, z, number(b, kind, M_PI / h)), pole, zero);
    rl_pw right = OP2(ADD, integral, pole);
    return OP3(SELECT, OP2(LT, x, zero), OP2(SUB, two, right), right);
}

rl_pw rl_build_expanded(rl_builder *b, rl_insn_code code, rl_pw x, rl_pw y) {
    float_kind kind = kind_of(b, x);
    switch (code) {
    case RL_INSN_RECIP:
        return OP2(DIV, number(b, kind, 1), x);
    case RL_INSN_RSQRT:
        return OP2(DIV, number(b, kind, 1), OP1(SQRT, x));
    case RL_INSN_SIGMOID:
        return expand_sigmoid(b, kind, x);
    case RL_INSN_EXP2:
        return OP2(POW, number(b, kind, 2), x);
    case RL_INSN_LOG2:
        return expand_log(b, kind, x, 1, 0, M_LOG2E);
    case RL_INSN_LOG10:
        return expand_log10(b, kind, x);
    case RL_INSN_TAN:
        return OP2(DIV, OP1(SIN, x), OP1(COS, x));
    case RL_INSN_ASIN:
        return expand_asin(b, kind, x);
    case RL_INSN_ACOS:
        return expand_acos(b, kind, x);
    case RL_INSN_ATAN2:
        return expand_atan2(b, kind, x, y);
    case RL_INSN_SINH:
        return expand_sinh(b, kind, x);
    case RL_INSN_COSH:
        return expand_cosh(b, kind, x);
    case RL_INSN_ASINH:
        return expand_asinh(b, kind, x);
    case RL_INSN_ACOSH:
        return expand_acosh(b, kind, x);
    case RL_INSN_ATANH:
        return expand_atanh(b, kind, x);
    case RL_INSN_ERFC:
        return expand_erfc(b, kind, x);
    default:
        return rl_builder_failed(b, RL_INTERNAL);
    }
}

/* Programs -------------------------------------------------------------------------------------------------------- */

static const rl_program *expand(const rl_program *self, uint64_t insn_mask) {
    rl_builder builder;
    rl_pw inputs[RL_MAX_INPUTS] = {0}, results[RL_MAX_OUTPUTS] = {0};
    rl_builder_init(&builder);
    for (int k = 0; k < self->n_inputs; k++)
        inputs[k] = rl_build_input(&builder, (rl_dtype)self->input_dtype[k]);
    rl_builder_splice(&builder, self, inputs, NULL, insn_mask, results);
    for (int k = 0; k < self->n_outputs; k++)
        rl_build_output(&builder, results[k], (rl_dtype)self->output_dtype[k]);
    return rl_builder_finish(&builder);
}

const rl_program *rl_program_for_mask(const rl_program *self, uint64_t insn_mask) {
    /* The list alone of an entry changes after it is made, and atomically. */
    rl_program_entry *entry = (rl_program_entry *)(uintptr_t)self;
    uint64_t missing = entry->uses & ~insn_mask & ~RL_INSN_BASE_MASK;
    if (missing == 0)
        return self;
    rl_expansion *e = atomic_load_explicit(&entry->expansions, memory_order_acquire);
    for (; e != NULL; e = e->next)
        if (e->missing == missing)
            return e->program;
    const rl_program *program = expand(self, insn_mask);
    e = program ? rl_alloc(sizeof *e, "an expanded program") : NULL;
    if (e == NULL)
        return NULL;
    *e = (rl_expansion){.missing = missing, .program = program};
    e->next = atomic_load(&entry->expansions);
    while (!atomic_compare_exchange_weak(&entry->expansions, &e->next, e)) {
    }
    return program;
}
