/* SPDX-License-Identifier: Apache-2.0 */
/* The numbers of samples. Any thread. */
#include <string.h>

#include "ops/sample.h"

/* splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014). */
static uint64_t next(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* Below n, which is small. */
static int64_t below(uint64_t *state, int64_t n) {
    return (int64_t)((next(state) >> 33) % (uint64_t)n);
}

static uint64_t seed_of(const char *text, int number) {
    uint64_t hash = 0xcbf29ce484222325u + (uint64_t)number;
    for (; *text != '\0'; text++)
        hash = (hash ^ (uint8_t)*text) * 0x100000001b3u;
    return hash;
}

/* The k-th of 256 numbers in an order that jumps about: all different. */
static int64_t shuffled(int64_t k) {
    return (k * 167 + 53) & 255;
}

static double float_of(uint64_t *state, char kind, int64_t k) {
    int64_t sum;
    switch (kind) {
    case 'p': /* 33/64 .. 127/64 */
        return (double)(33 + 2 * below(state, 48)) / 64;
    case 'u': /* 13/256 .. 243/256 */
        return (double)(13 + 2 * below(state, 116)) / 256;
    case 'd':
        return (double)(2 * shuffled(k) - 255) / 64;
    default: /* a sum of four: nearly normal, deviation about 1, within 4 */
        sum = below(state, 56) + below(state, 56) + below(state, 56) + below(state, 56) - 110;
        return (double)(2 * sum + 1) / 64;
    }
}

/* Digits below 2^-9, of which f32 has 12 more and f64 all: far from the next multiple of 2^-7. */
static double further_digits(uint64_t *state, rl_dtype dtype) {
    double part = (double)(next(state) >> 40) / 0x1p24 * 0x1p-10;
    return dtype == RL_F64 ? part : dtype == RL_F32 ? (float)((double)(int64_t)(part * 0x1p21) / 0x1p21) : 0.0;
}

static int64_t integer_of(uint64_t *state, const rl_sample_tensor *tensor, rl_dtype dtype, int64_t k) {
    bool unsigned_ = dtype == RL_U8;
    switch (tensor->kind) {
    case 'i':
        return below(state, tensor->limit);
    case 'd':
        return dtype == RL_BOOL ? k & 1 : shuffled(k) - (unsigned_ ? 0 : 128);
    case 'p':
        return 1 + below(state, 4);
    default:
        return dtype == RL_BOOL ? below(state, 2) : below(state, 19) - (unsigned_ ? 0 : 9);
    }
}

/* The bits of a number that f16 and bf16 hold exactly, and that is not subnormal. */
static uint16_t half_bits(double value, rl_dtype dtype) {
    float f = (float)value;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    if (dtype == RL_BF16)
        return (uint16_t)(bits >> 16);
    uint32_t sign = bits >> 16 & 0x8000;
    return (uint16_t)(f == 0 ? sign : sign | ((bits >> 23 & 255) - 112) << 10 | (bits >> 13 & 0x3ff));
}

static void store_float(void *data, int64_t k, rl_dtype dtype, double value) {
    if (dtype == RL_F64)
        ((double *)data)[k] = value;
    else if (dtype == RL_F32)
        ((float *)data)[k] = (float)value;
    else
        ((uint16_t *)data)[k] = half_bits(value, dtype);
}

static void store_integer(void *data, int64_t k, rl_dtype dtype, int64_t value) {
    if (dtype == RL_I64)
        ((int64_t *)data)[k] = value;
    else if (dtype == RL_I32)
        ((int32_t *)data)[k] = (int32_t)value;
    else if (dtype == RL_I16)
        ((int16_t *)data)[k] = (int16_t)value;
    else
        ((uint8_t *)data)[k] = (uint8_t)value; /* i8 too */
}

void rl_sample_fill(const char *text, int number, const rl_sample_tensor *tensor, rl_dtype dtype, int64_t numel,
                    void *data) {
    uint64_t state = seed_of(text, number);
    for (int64_t k = 0; k < numel; k++) {
        if (!rl_dtype_is_float(dtype)) {
            store_integer(data, k, dtype, integer_of(&state, tensor, dtype, k));
            continue;
        }
        double value = float_of(&state, tensor->kind, k);
        store_float(data, k, dtype, value + further_digits(&state, dtype));
    }
}
