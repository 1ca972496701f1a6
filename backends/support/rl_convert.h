/* SPDX-License-Identifier: Apache-2.0 */
/*
 * f16 and bf16, as bits, to and from f32 and f64. Rounds to nearest, ties to even; subnormals, infinities and NaN
 * (which stays NaN) included.
 */
#ifndef RL_CONVERT_H
#define RL_CONVERT_H

#include <stdint.h>
#include <string.h>

static inline uint32_t rl_bits_of_f32(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
static inline float rl_f32_of_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline float rl_f32_from_bf16(uint16_t x) {
    return rl_f32_of_bits((uint32_t)x << 16);
}

static inline uint16_t rl_bf16_from_f32(float x) {
    uint32_t bits = rl_bits_of_f32(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(bits >> 16 | 0x40u); /* a quiet NaN, also where all bits set lie below */
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

static inline float rl_f32_from_f16(uint16_t x) {
    uint32_t sign = (uint32_t)(x & 0x8000u) << 16, rest = x & 0x7fffu;
    if (rest >= 0x7c00u)
        return rl_f32_of_bits(sign | 0x7f800000u | (rest & 0x3ffu) << 13);
    if (rest >= 0x400u)
        return rl_f32_of_bits(sign | ((rest << 13) + ((127u - 15u) << 23)));
    float magnitude = (float)rest * 0x1p-24f; /* exact */
    return sign ? -magnitude : magnitude;
}

static inline uint16_t rl_f16_from_f32(float x) {
    uint32_t bits = rl_bits_of_f32(x), sign = bits >> 16 & 0x8000u, rest = bits & 0x7fffffffu;
    if (rest > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u | (rest >> 13 & 0x1ffu));
    if (rest >= 0x477ff000u) /* 65520 and more round to infinity */
        return (uint16_t)(sign | 0x7c00u);
    if (rest >= 0x38800000u) /* 2^-14: normal in f16 */
        return (uint16_t)(sign | ((rest - ((127u - 15u) << 23) + 0xfffu + (rest >> 13 & 1u)) >> 13));
    /* Adding 1/2 leaves the subnormal, in units of 2^-24 and rounded to nearest even, in the low bits. */
    float shifted = rl_f32_of_bits(rest) + 0.5f;
    return (uint16_t)(sign | (rl_bits_of_f32(shifted) - 0x3f000000u));
}

/* f64 as f32 rounded to odd (an inexact result gets its last bit set), so that a second rounding to fewer bits is
 * right: Boldo and Melquiond, "When double rounding is odd" (2005). */
static inline float rl_f32_odd_from_f64(double x) {
    float nearest = (float)x;
    uint32_t bits = rl_bits_of_f32(nearest);
    if ((double)nearest == x || x != x || (bits & 1u))
        return nearest;
    int beyond = x < 0 ? (double)nearest < x : (double)nearest > x; /* rounded away from zero */
    return rl_f32_of_bits(beyond ? bits - 1u : bits + 1u);
}
static inline uint16_t rl_f16_from_f64(double x) {
    return rl_f16_from_f32(rl_f32_odd_from_f64(x));
}
static inline uint16_t rl_bf16_from_f64(double x) {
    return rl_bf16_from_f32(rl_f32_odd_from_f64(x));
}
/* Integers: the bits that f64 cannot hold are gathered into its last one. */
static inline double rl_f64_odd_from_i64(int64_t x) {
    uint64_t magnitude = x < 0 ? 0u - (uint64_t)x : (uint64_t)x;
    if (magnitude >> 53) {
        uint64_t lost = magnitude & 0x7ffu;
        magnitude = (magnitude & ~(uint64_t)0x7ffu) | (lost ? 0x800u : 0u);
    }
    return x < 0 ? -(double)magnitude : (double)magnitude;
}

#endif
