/* SPDX-License-Identifier: Apache-2.0 */
/* Philox against the paper's known answers, and what is made of its words against their distributions. */
#include "cmocka_support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "rl_philox.h"

#define MANY (1 << 20)

static void known_answers(void **state) {
    (void)state;
    static const uint32_t known[][10] = {
        /* counter, key, words: kat_vectors of Random123 */
        {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
        {~0u, ~0u, ~0u, ~0u, ~0u, ~0u, 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
        {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09, 0x94fdcceb, 0x5001e420,
         0x24126ea1},
    };
    for (int k = 0; k < COUNT(known); k++) {
        uint32_t words[4];
        memcpy(words, known[k], sizeof words);
        rl_philox_rounds(words, known[k][4], known[k][5]);
        assert_memory_equal(words, known[k] + 6, sizeof words);
    }
}

static void elements_take_lanes(void **state) {
    (void)state;
    uint32_t block[4], words[4] = {7, 1, 0, 0}; /* the counter's low word first, then its high word */
    rl_philox_block(0x0123456789abcdefu, 0x100000007u, 0, block);
    rl_philox_rounds(words, 0x89abcdefu, 0x01234567u);
    assert_memory_equal(block, words, sizeof words);
    for (uint32_t lane = 0; lane < 4; lane++)
        assert_int_equal(rl_philox_word(0x0123456789abcdefu, 0x100000005u, 8 + lane, 0), block[lane]);
}

static void uniform_range(void **state) {
    (void)state;
    assert_true(rl_uniform_f32(0) == 0 && rl_uniform_f32(~0u) == 1 - 0x1p-24f);
    assert_true(rl_uniform_f64(0, 0) == 0 && rl_uniform_f64(~0u, ~0u) == 1 - 0x1p-53);
    assert_true(rl_uniform_f64(0x80000000u, 1u << 11) == 0.5 + 0x1p-53);
}

/* How far x is from the exact inverse at the word's probability, by one step of Newton. */
static double normal_error(double x, double p) {
    double found = 0.5 * erfc(fabs(x) / sqrt(2));
    return (found - p) / (exp(-0.5 * x * x) / sqrt(2 * 3.14159265358979323846));
}

static void normal_is_the_inverse(void **state) {
    (void)state;
    for (uint64_t word = 0; word < (uint64_t)1 << 31; word += word < 1 << 16 ? 1 : 9973) {
        double p = (2.0 * (double)word + 1) * 0x1p-33;
        float x = rl_normal_f32((uint32_t)word);
        double error = normal_error((double)x, p), bound = 3e-7 + 1.2e-7 * fabs((double)x);
        if (!(fabs(error) < bound))
            fail_msg("word %u: %.9g is off by %g", (unsigned)word, (double)x, error);
        assert_true(rl_normal_f32((uint32_t)word | 0x80000000u) == -x);
    }
}

static void wide_normal_is_the_inverse(void **state) {
    (void)state;
    for (uint64_t i = 0; i < MANY; i++) {
        uint32_t words[4];
        rl_philox_block(3, i, 0, words);
        words[0] >>= i % 24; /* the tails too */
        if (words[0] << 1 == 0)
            continue; /* beyond the table */
        double r = (double)(((uint64_t)words[0] << 32 | words[1]) & INT64_MAX);
        double error = normal_error(rl_normal_f64(words[0], words[1]), r * 0x1p-64);
        assert_true(fabs(error) < 1e-6);
        /* The same tail with fewer bits. */
        assert_true(words[0] << 1 < 1 << 12 ||
                    fabs(rl_normal_f64(words[0], words[1]) - (double)rl_normal_f32(words[0])) < 1e-3);
    }
    assert_true(rl_normal_f64(0, 0) > 6 && rl_normal_f64(0x80000000u, 0) < -6 && rl_normal_f64(0, ~0u) > 6);
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double normal_cdf(double x) {
    return 0.5 * erfc(-x / sqrt(2));
}
static double uniform_cdf(double x) {
    return x;
}

/* Moments, and the greatest distance of the distribution functions times sqrt(n): 1.95 is passed once in 1000. */
static void check_distribution(const double *sample, int n, double mean, double variance, double (*cdf)(double)) {
    double *sorted = malloc((size_t)n * sizeof *sorted), sum = 0, square = 0, cube = 0, distance = 0;
    assert_non_null(sorted);
    memcpy(sorted, sample, (size_t)n * sizeof *sorted);
    qsort(sorted, (size_t)n, sizeof *sorted, ascending);
    for (int i = 0; i < n; i++) {
        double x = sorted[i] - mean, at = cdf(sorted[i]);
        sum += x, square += x * x, cube += x * x * x;
        distance = fmax(distance, fmax((i + 1.0) / n - at, at - (double)i / n));
    }
    free(sorted);
    assert_true(fabs(sum / n) < 4 * sqrt(variance / n));
    assert_true(fabs(square / n / variance - 1) < 4 * sqrt(2.0 / n));
    assert_true(fabs(cube / n) < 4 * sqrt(15 * variance * variance * variance / n));
    assert_true(distance * sqrt(n) < 1.95);
}

static void distributions(void **state) {
    (void)state;
    static double sample[4][MANY];
    for (uint64_t i = 0; i < MANY; i++) {
        uint32_t high = rl_philox_word(42, 0, i, 0), low = rl_philox_word(42, 0, i, 1);
        sample[0][i] = (double)rl_uniform_f32(high);
        sample[1][i] = rl_uniform_f64(high, low);
        sample[2][i] = (double)rl_normal_f32(high);
        sample[3][i] = rl_normal_f64(high, low);
    }
    check_distribution(sample[0], MANY, 0.5, 1 / 12.0, uniform_cdf);
    check_distribution(sample[1], MANY, 0.5, 1 / 12.0, uniform_cdf);
    check_distribution(sample[2], MANY, 0, 1, normal_cdf);
    check_distribution(sample[3], MANY, 0, 1, normal_cdf);
}

/* The bits of the first numbers of seed 0, summed up by FNV-1a: they are the same on every machine, for ever. */
static void bits_are_frozen(void **state) {
    (void)state;
    uint64_t hash32 = 0xcbf29ce484222325u, hash64 = hash32;
    for (uint64_t i = 0; i < 100000; i++) {
        uint32_t high = rl_philox_word(0, 0, i, 0), low = rl_philox_word(0, 0, i, 1), bits;
        float x = rl_normal_f32(high);
        double y = rl_normal_f64(high, low);
        uint64_t wide;
        memcpy(&bits, &x, sizeof bits);
        memcpy(&wide, &y, sizeof wide);
        hash32 = (hash32 ^ bits) * 0x100000001b3u;
        hash64 = (hash64 ^ wide) * 0x100000001b3u;
    }
    assert_int_equal(hash32, 0x6b8bb9281b94794fu);
    assert_int_equal(hash64, 0x9143bbf7bcfabcc2u);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_answers),
        cmocka_unit_test(elements_take_lanes),
        cmocka_unit_test(uniform_range),
        cmocka_unit_test(normal_is_the_inverse),
        cmocka_unit_test(wide_normal_is_the_inverse),
        cmocka_unit_test(distributions),
        cmocka_unit_test(bits_are_frozen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
