/* SPDX-License-Identifier: Apache-2.0 */
/* Every half there is, both ways, and every place where rounding turns. */
#include "cmocka_support.h"

#include <math.h>

#include "rl_convert.h"

typedef uint16_t (*narrow_fn)(float);
typedef float (*widen_fn)(uint16_t);

/* The value of a half's bits, from the definition of the format. */
static double value_of(uint16_t bits, int exponent_bits, int fraction_bits) {
    int exponent = bits >> fraction_bits & ((1 << exponent_bits) - 1), bias = (1 << (exponent_bits - 1)) - 1;
    double fraction = bits & ((1 << fraction_bits) - 1), sign = bits >> 15 ? -1 : 1;
    if (exponent == (1 << exponent_bits) - 1)
        return fraction == 0 ? sign * INFINITY : NAN;
    if (exponent == 0)
        return sign * ldexp(fraction, 1 - bias - fraction_bits);
    return sign * ldexp(fraction + (1 << fraction_bits), exponent - bias - fraction_bits);
}

static void check_all(int exponent_bits, widen_fn widen, narrow_fn narrow) {
    int fraction_bits = 15 - exponent_bits;
    for (uint32_t bits = 0; bits < 0x10000; bits++) {
        double expected = value_of((uint16_t)bits, exponent_bits, fraction_bits);
        float wide = widen((uint16_t)bits);
        if (isnan(expected)) {
            assert_true(isnan(wide));
            assert_true(isnan(widen(narrow(wide))));
            assert_int_equal(narrow(wide) >> 15, bits >> 15);
            continue;
        }
        assert_true((double)wide == expected);
        assert_true(!signbit(wide) == !(bits >> 15));
        assert_int_equal(narrow(wide), bits);
    }
}

/* Between two neighbours: the middle goes to the even one, what is a little off it to the nearer. */
static void check_rounding(int exponent_bits, narrow_fn narrow) {
    int fraction_bits = 15 - exponent_bits;
    uint16_t infinity = (uint16_t)(((1 << exponent_bits) - 1) << fraction_bits);
    for (uint16_t low = 0; low < infinity; low++) {
        double a = value_of(low, exponent_bits, fraction_bits);
        double b = low + 1 == infinity ? 2 * a - value_of((uint16_t)(low - 1), exponent_bits, fraction_bits)
                                       : value_of((uint16_t)(low + 1), exponent_bits, fraction_bits);
        float middle = (float)((a + b) / 2);
        if (isinf(middle))
            continue;
        uint16_t even = low & 1 ? (uint16_t)(low + 1) : low;
        for (int negative = 0; negative < 2; negative++) {
            float sign = negative ? -1.0f : 1.0f;
            uint16_t top = negative ? 0x8000 : 0;
            assert_int_equal(narrow(sign * middle), even | top);
            assert_int_equal(narrow(sign * nextafterf(middle, 0)), low | top);
            assert_int_equal(narrow(sign * nextafterf(middle, INFINITY)), (low + 1) | top);
        }
    }
}

static void f16(void **state) {
    (void)state;
    check_all(5, rl_f32_from_f16, rl_f16_from_f32);
    check_rounding(5, rl_f16_from_f32);
}

static void bf16(void **state) {
    (void)state;
    check_all(8, rl_f32_from_bf16, rl_bf16_from_f32);
    check_rounding(8, rl_bf16_from_f32);
}

static void nan_with_low_bits_stays_nan(void **state) {
    (void)state;
    assert_true(isnan(rl_f32_from_bf16(rl_bf16_from_f32(rl_f32_of_bits(0x7f800001u)))));
    assert_true(isnan(rl_f32_from_f16(rl_f16_from_f32(rl_f32_of_bits(0xff800001u)))));
}

/* What lies above a middle by less than f32 can tell must not be rounded twice. */
static void wide_numbers_round_once(void **state) {
    (void)state;
    for (uint16_t low = 0; low < 0x7bff; low++) {
        double middle = (value_of(low, 5, 10) + value_of((uint16_t)(low + 1), 5, 10)) / 2;
        assert_int_equal(rl_f16_from_f64(middle), low & 1 ? low + 1 : low);
        assert_int_equal(rl_f16_from_f64(nextafter(middle, 0)), low);
        assert_int_equal(rl_f16_from_f64(nextafter(middle, INFINITY)), low + 1);
        assert_int_equal(rl_f16_from_f64(-nextafter(middle, INFINITY)), (low + 1) | 0x8000);
    }
    assert_int_equal(rl_f16_from_f64(1e300), 0x7c00);
    assert_int_equal(rl_f16_from_f64(-1e-300), 0x8000);
    assert_int_equal(rl_bf16_from_f64(1 + 0x1p-8 + 0x1p-50), 0x3f81);
    assert_int_equal(rl_bf16_from_f64(1 + 0x1p-8), 0x3f80);
    assert_true(isnan(rl_f32_from_f16(rl_f16_from_f64((double)NAN))));
}

static void wide_integers_round_once(void **state) {
    (void)state;
    int64_t middle = ((int64_t)1 << 62) + ((int64_t)1 << 54); /* between 2^62 and the next bf16 */
    assert_int_equal(rl_bf16_from_f64(rl_f64_odd_from_i64(middle)), 0x5e80);
    assert_int_equal(rl_bf16_from_f64(rl_f64_odd_from_i64(middle + 1)), 0x5e81);
    assert_int_equal(rl_bf16_from_f64(rl_f64_odd_from_i64(-middle - 1)), 0xde81);
    assert_int_equal(rl_bf16_from_f64(rl_f64_odd_from_i64(INT64_MIN)), 0xdf00);
    assert_true(rl_f64_odd_from_i64(((int64_t)1 << 53) - 1) == 0x1p53 - 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f16),
        cmocka_unit_test(bf16),
        cmocka_unit_test(nan_with_low_bits_stays_nan),
        cmocka_unit_test(wide_numbers_round_once),
        cmocka_unit_test(wide_integers_round_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
