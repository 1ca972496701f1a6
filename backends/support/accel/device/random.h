/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The random instructions on RL_WIDTH lanes. Elements that follow each other from a multiple of 4 on take RL_WIDTH / 4
 * whole blocks of rl_philox.h, made at once; else each lane has a block made for it.
 */
#if RL_WIDTH > 1
#if RL_WIDTH == 16
#define RL_BLOCKS 4
#define RL_PAIRS 8
#elif RL_WIDTH == 8
#define RL_BLOCKS 2
#define RL_PAIRS 4
#else /* 4 */
#define RL_BLOCKS
#define RL_PAIRS 2
#endif
typedef RL_WIDE(ulong, RL_BLOCKS) rl_blocks; /* a number of RL_WIDTH / 4 blocks each */
typedef RL_WIDE(uint, RL_WIDTH) rl_words;
#define RL_LOW(x) ((x) & (rl_blocks)(0xffffffffu))

/* Words 0 and 1 of each block, and words 2 and 3, the first ones in the low bits. A word is kept in 64 bits, whose high
 * ones are anything: products of the low ones are one instruction. */
RL_FN void rl_block_pairs(rl_ulong seed, rl_blocks counter, rl_ulong plane, rl_blocks *out_first,
                          rl_blocks *out_second) {
    rl_blocks c0 = counter, c1 = counter >> (rl_blocks)(32), c2 = (rl_blocks)(plane), c3 = (rl_blocks)(0);
    rl_u32 key0 = (rl_u32)seed, key1 = (rl_u32)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        const rl_blocks even = RL_LOW(c0) * (rl_blocks)(0xD2511F53u), odd = RL_LOW(c2) * (rl_blocks)(0xCD9E8D57u);
        c0 = odd >> (rl_blocks)(32) ^ c1 ^ (rl_blocks)(key0);
        c2 = even >> (rl_blocks)(32) ^ c3 ^ (rl_blocks)(key1);
        c1 = odd;
        c3 = even;
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    *out_first = RL_LOW(c0) | c1 << (rl_blocks)(32);
    *out_second = RL_LOW(c2) | c3 << (rl_blocks)(32);
}

/* Each lane's word of a plane. */
RL_FN rl_words rl_lane_words(rl_ulong seed, rl_ulong offset, rl_i64 element, rl_ulong plane) {
    rl_blocks first, second;
    const rl_i64 next = (rl_i64)(element.s0) + rl_lanes();
    if (element.s0 % 4 == 0 && all(element == next)) {
        RL_WIDE(ulong, RL_PAIRS) pairs;
        rl_block_pairs(seed, offset + RL_WIDE(as_ulong, RL_BLOCKS)(element.even.even) / 4, plane, &first, &second);
        pairs.even = first;
        pairs.odd = second;
        return RL_WIDE(as_uint, RL_WIDTH)(pairs);
    }
    union {
        rl_i64 all;
        rl_blocks part[4];
    } lanes;
    lanes.all = element;
#pragma unroll 1
    for (int q = 0; q < 4; q++) {
        const rl_blocks e = lanes.part[q];
        rl_block_pairs(seed, offset + e / 4, plane, &first, &second);
        first ^= (first ^ second) & -(e / 2 % 2);
        lanes.part[q] = first >> e % 2 * 32;
    }
    return RL_WIDE(convert_uint, RL_WIDTH)(lanes.all);
}
#undef RL_LOW
#undef RL_BLOCKS
#undef RL_PAIRS

RL_FN rl_i32 rl_lane_philox(rl_ulong seed, rl_ulong offset, rl_i64 element) {
    return RL_WIDE(as_int, RL_WIDTH)(rl_lane_words(seed, offset, element, 0));
}
RL_FN rl_f32 rl_lane_uniform_f32(rl_ulong seed, rl_ulong offset, rl_i64 element) {
    const rl_words words = rl_lane_words(seed, offset, element, 0) >> 8;
    return RL_WIDE(convert_float, RL_WIDTH)(RL_WIDE(as_int, RL_WIDTH)(words)) * 0x1p-24f;
}
RL_FN rl_f32 rl_lane_normal_f32(rl_ulong seed, rl_ulong offset, rl_i64 element) {
    rl_uint words[RL_WIDTH];
    float values[RL_WIDTH];
    RL_WIDE(vstore, RL_WIDTH)(rl_lane_words(seed, offset, element, 0), 0, words);
    for (int l = 0; l < RL_WIDTH; l++)
        values[l] = rl_normal_f32(words[l]);
    return RL_WIDE(vload, RL_WIDTH)(0, values);
}
#if RL_HAS_F64
/* The words of both planes, plane 0 in the high bits. */
RL_FN RL_WIDE(ulong, RL_WIDTH) rl_lane_wide_words(rl_ulong seed, rl_ulong offset, rl_i64 element) {
    RL_WIDE(ulong, RL_WIDTH) words = 0;
#pragma unroll 1
    for (int plane = 0; plane < 2; plane++)
        words = words << 32 | RL_WIDE(convert_ulong, RL_WIDTH)(rl_lane_words(seed, offset, element, (rl_ulong)plane));
    return words;
}
RL_FN rl_f64 rl_lane_uniform_f64(rl_ulong seed, rl_ulong offset, rl_i64 element) {
    return RL_WIDE(convert_double, RL_WIDTH)(rl_lane_wide_words(seed, offset, element) >> 11) * 0x1p-53;
}
RL_FN rl_f64 rl_lane_normal_f64(rl_ulong seed, rl_ulong offset, rl_i64 element) {
    rl_ulong words[RL_WIDTH];
    double values[RL_WIDTH];
    RL_WIDE(vstore, RL_WIDTH)(rl_lane_wide_words(seed, offset, element), 0, words);
    for (int l = 0; l < RL_WIDTH; l++)
        values[l] = rl_normal_f64((rl_uint)(words[l] >> 32), (rl_uint)words[l]);
    return RL_WIDE(vload, RL_WIDTH)(0, values);
}
#endif
#else
RL_FN int rl_lane_philox(rl_ulong seed, rl_ulong offset, long element) {
    return (int)rl_philox_word(seed, offset, (rl_ulong)element, 0);
}
RL_FN float rl_lane_uniform_f32(rl_ulong seed, rl_ulong offset, long element) {
    return rl_uniform_f32(rl_philox_word(seed, offset, (rl_ulong)element, 0));
}
RL_FN float rl_lane_normal_f32(rl_ulong seed, rl_ulong offset, long element) {
    return rl_normal_f32(rl_philox_word(seed, offset, (rl_ulong)element, 0));
}
#if RL_HAS_F64
RL_FN double rl_lane_uniform_f64(rl_ulong seed, rl_ulong offset, long element) {
    return rl_uniform_f64(rl_philox_word(seed, offset, (rl_ulong)element, 0),
                          rl_philox_word(seed, offset, (rl_ulong)element, 1));
}
RL_FN double rl_lane_normal_f64(rl_ulong seed, rl_ulong offset, long element) {
    return rl_normal_f64(rl_philox_word(seed, offset, (rl_ulong)element, 0),
                         rl_philox_word(seed, offset, (rl_ulong)element, 1));
}
#endif
#endif
