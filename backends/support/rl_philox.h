/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random numbers that are the same bits on every device: Philox 4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random
 * numbers: as easy as 1, 2, 3", 2011). Element i of a program takes lane i % 4 of the block at counter offset + i / 4.
 * This text is C99, C++, CUDA and OpenCL C. All arithmetic is on integers, or exact, or an explicit fma, so no
 * compiler's contraction and no vendor's logarithm can change a bit.
 */
#ifndef RL_PHILOX_H
#define RL_PHILOX_H

#if defined(__OPENCL_VERSION__) || defined(__OPENCL_C_VERSION__)
#define RL_PHILOX_OPENCL
typedef uint rl_u32;
typedef ulong rl_u64;
#define RL_PHILOX_FN static inline
#define RL_PHILOX_TABLE __constant
#define RL_PHILOX_TABLE_AT __constant
#define RL_FMAF(a, b, c) fma(a, b, c)
#define RL_CLZ32(x) clz(x)
#elif defined(__CUDACC__) || defined(__CUDACC_RTC__)
typedef unsigned int rl_u32;
typedef unsigned long long rl_u64;
#define RL_PHILOX_FN static __device__ __forceinline__
#define RL_PHILOX_TABLE static __device__ const
#define RL_PHILOX_TABLE_AT const
#define RL_FMAF(a, b, c) fmaf(a, b, c)
#define RL_CLZ32(x) ((rl_u32)__clz((int)(x)))
#else
#include <math.h>
#include <stdint.h>
typedef uint32_t rl_u32;
typedef uint64_t rl_u64;
#define RL_PHILOX_FN static inline
#define RL_PHILOX_TABLE static const
#define RL_PHILOX_TABLE_AT const
#define RL_FMAF(a, b, c) fmaf(a, b, c)
#if defined(__GNUC__)
#define RL_CLZ32(x) ((rl_u32)__builtin_clz(x))
#else
static inline rl_u32 rl_clz32(rl_u32 x) {
    rl_u32 count = 0;
    for (; !(x >> 31); x <<= 1)
        count++;
    return count;
}
#define RL_CLZ32(x) rl_clz32(x)
#endif
#endif

/* Four random words for a counter of four words and a key of two, in place of the counter. */
RL_PHILOX_FN void rl_philox_rounds(rl_u32 *counter, rl_u32 key0, rl_u32 key1) {
    rl_u32 c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    for (int round = 0; round < 10; round++) {
        rl_u64 even = (rl_u64)0xD2511F53u * c0, odd = (rl_u64)0xCD9E8D57u * c2;
        c0 = (rl_u32)(odd >> 32) ^ c1 ^ key0;
        c2 = (rl_u32)(even >> 32) ^ c3 ^ key1;
        c1 = (rl_u32)odd;
        c3 = (rl_u32)even;
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    counter[0] = c0;
    counter[1] = c1;
    counter[2] = c2;
    counter[3] = c3;
}

/* The block at `counter`. Plane 0 holds the words of PHILOX and the high words of the rest; plane 1 the low words that
 * f64 takes besides. */
RL_PHILOX_FN void rl_philox_block(rl_u64 seed, rl_u64 counter, rl_u32 plane, rl_u32 *out_words) {
    out_words[0] = (rl_u32)counter;
    out_words[1] = (rl_u32)(counter >> 32);
    out_words[2] = plane;
    out_words[3] = 0;
    rl_philox_rounds(out_words, (rl_u32)seed, (rl_u32)(seed >> 32));
}

/* One element's word. */
RL_PHILOX_FN rl_u32 rl_philox_word(rl_u64 seed, rl_u64 offset, rl_u64 element, rl_u32 plane) {
    rl_u32 words[4];
    rl_philox_block(seed, offset + element / 4, plane, words);
    return words[element % 4];
}

/* [0, 1) in steps of 2^-24. */
RL_PHILOX_FN float rl_uniform_f32(rl_u32 word) {
    return (float)(word >> 8) * 0x1p-24f;
}

RL_PHILOX_TABLE float rl_normal_table[256][5] = {
#include "rl_normal_table.h"
};

/* The word's top bit is the sign; the others, and a one below them, are the probability p = r / 2^33 of the tail. Its
 * leading zeros choose the octave, its next three bits the segment, 24 more the place t in it. */
RL_PHILOX_FN float rl_normal_f32(rl_u32 word) {
    rl_u32 r = word << 1 | 1u, octave = RL_CLZ32(r);
    r = r << octave << 1;
    RL_PHILOX_TABLE_AT float *c = rl_normal_table[octave * 8 + (r >> 29)];
    float t = (float)(r << 3 >> 8) * 0x1p-24f;
    float x = RL_FMAF(RL_FMAF(RL_FMAF(RL_FMAF(c[4], t, c[3]), t, c[2]), t, c[1]), t, c[0]);
    return word >> 31 ? -x : x;
}

#if !defined(RL_PHILOX_OPENCL) || defined(cl_khr_fp64) || defined(__opencl_c_fp64)
/* [0, 1) in steps of 2^-53; the f32 uniform of the high word is this one cut short. */
RL_PHILOX_FN double rl_uniform_f64(rl_u32 high, rl_u32 low) {
    return (double)(((rl_u64)high << 32 | low) >> 11) * 0x1p-53;
}

/* As rl_normal_f32 with 32 bits more of p: the same table, so within 3e-7 of the exact inverse, at full resolution. */
RL_PHILOX_FN double rl_normal_f64(rl_u32 high, rl_u32 low) {
    rl_u32 top = high << 1 | low >> 31, octave = RL_CLZ32(top | 1u);
    rl_u64 r = ((rl_u64)high << 32 | low) << 1;
    r = top ? r << octave << 1 : 0;
    RL_PHILOX_TABLE_AT float *c = rl_normal_table[octave * 8 + (rl_u32)(r >> 61)];
    double t = (double)(r << 3 >> 11) * 0x1p-53;
    double x = fma(fma(fma(fma((double)c[4], t, (double)c[3]), t, (double)c[2]), t, (double)c[1]), t, (double)c[0]);
    return high >> 31 ? -x : x;
}
#endif

#endif
