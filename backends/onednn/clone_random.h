/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Part of clone.c: random words for elements whose numbers are a[i]; b is the pair of launch scalars, seed and offset.
 * Consecutive numbers, the usual case, share blocks of four.
 */
#include "rl_philox.h"

static int is_consecutive(const int64_t *numbers, int64_t n) {
    int64_t gaps = 0;
    SIMD_SUM(gaps) for (int64_t i = 0; i < n; i++) gaps += numbers[i] != numbers[0] + i;
    return gaps == 0;
}

/* Blocks of four from counter `first` on. No SIMD here: gcc vectorizes the interleaved stores only without it. */
static void random_blocks(uint32_t *restrict words, uint64_t seed, uint64_t first, int64_t blocks, uint32_t plane) {
    for (int64_t j = 0; j < blocks; j++) {
        uint32_t w[4];
        rl_philox_block(seed, first + (uint64_t)j, plane, w);
        words[4 * j] = w[0];
        words[4 * j + 1] = w[1];
        words[4 * j + 2] = w[2];
        words[4 * j + 3] = w[3];
    }
}

static void random_words(uint32_t *out, const int64_t *numbers, const rl_number *pair, int64_t n, uint32_t plane) {
    const uint64_t seed = (uint64_t)pair[0].i, offset = (uint64_t)pair[1].i;
    int64_t i = 0;
    if (is_consecutive(numbers, n)) {
        for (; i < n && (numbers[i] & 3) != 0; i++)
            out[i] = rl_philox_word(seed, offset, (uint64_t)numbers[i], plane);
        if (i + 4 <= n) {
            random_blocks(out + i, seed, offset + (uint64_t)numbers[i] / 4, (n - i) / 4, plane);
            i += (n - i) / 4 * 4;
        }
    }
    for (; i < n; i++)
        out[i] = rl_philox_word(seed, offset, (uint64_t)numbers[i], plane);
}

#define RANDOM_BLOCK 256
#define RANDOM_STEP(name, T, expression, planes)                                                                       \
    static void name(void *out, const void *a, const void *b, const void *c, int64_t n) {                              \
        uint32_t high[RANDOM_BLOCK], low[RANDOM_BLOCK] = {0};                                                          \
        (void)c;                                                                                                       \
        for (int64_t at = 0; at < n; at += RANDOM_BLOCK) {                                                             \
            const int64_t count = n - at < RANDOM_BLOCK ? n - at : RANDOM_BLOCK;                                       \
            T *o = (T *)out + at;                                                                                      \
            random_words(high, (const int64_t *)a + at, b, count, 0);                                                  \
            if (planes == 2)                                                                                           \
                random_words(low, (const int64_t *)a + at, b, count, 1);                                               \
            SIMD for (int64_t i = 0; i < count; i++) o[i] = (T)(expression);                                           \
        }                                                                                                              \
        (void)low;                                                                                                     \
    }

RANDOM_STEP(philox_i32, uint32_t, high[i], 1)
RANDOM_STEP(uniform_f32, float, rl_uniform_f32(high[i]), 1)
RANDOM_STEP(uniform_f64, double, rl_uniform_f64(high[i], low[i]), 2)
RANDOM_STEP(normal_f32, float, rl_normal_f32(high[i]), 1)
RANDOM_STEP(normal_f64, double, rl_normal_f64(high[i], low[i]), 2)
