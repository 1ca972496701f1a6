/* SPDX-License-Identifier: Apache-2.0 */
/* The random instructions on RL_WIDTH lanes; lanes of neighbours mostly share a block of rl_philox.h. */
typedef struct rl_block {
    rl_ulong number;
    rl_u32 words[2][4];
} rl_block;

RL_FN void rl_block_at(rl_block *self, rl_ulong seed, rl_ulong offset, rl_ulong number, int planes) {
    if (self->number == number)
        return;
    self->number = number;
    rl_philox_block(seed, offset + number, 0, self->words[0]);
    if (planes > 1)
        rl_philox_block(seed, offset + number, 1, self->words[1]);
}

#if RL_WIDTH > 1
#define RL_SPREAD(element) RL_WIDE(vstore, RL_WIDTH)(element, 0, elements)
#define RL_GATHERED(values) RL_WIDE(vload, RL_WIDTH)(0, values)
#else
#define RL_SPREAD(element) (elements[0] = (element))
#define RL_GATHERED(values) ((values)[0])
#endif
#define RL_RANDOM(name, vector, scalar, planes, value)                                                                 \
    RL_FN vector rl_lane_##name(rl_ulong seed, rl_ulong offset, rl_i64 element) {                                      \
        long elements[RL_WIDTH];                                                                                       \
        scalar values[RL_WIDTH];                                                                                       \
        rl_block block;                                                                                                \
        block.number = ~(rl_ulong)0;                                                                                   \
        RL_SPREAD(element);                                                                                            \
        for (int l = 0; l < RL_WIDTH; l++) {                                                                           \
            rl_ulong e = (rl_ulong)elements[l];                                                                        \
            rl_block_at(&block, seed, offset, e / 4, planes);                                                          \
            rl_u32 high = block.words[0][e % 4];                                                                       \
            rl_u32 low = planes > 1 ? block.words[1][e % 4] : 0;                                                       \
            values[l] = (value);                                                                                       \
            (void)low;                                                                                                 \
        }                                                                                                              \
        return RL_GATHERED(values);                                                                                    \
    }
RL_RANDOM(philox, rl_i32, int, 1, (int)high)
RL_RANDOM(uniform_f32, rl_f32, float, 1, rl_uniform_f32(high))
RL_RANDOM(normal_f32, rl_f32, float, 1, rl_normal_f32(high))
#if RL_HAS_F64
RL_RANDOM(uniform_f64, rl_f64, double, 2, rl_uniform_f64(high, low))
RL_RANDOM(normal_f64, rl_f64, double, 2, rl_normal_f64(high, low))
#endif
#undef RL_RANDOM
#undef RL_SPREAD
#undef RL_GATHERED
