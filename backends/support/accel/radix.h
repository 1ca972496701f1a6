/* SPDX-License-Identifier: Apache-2.0 */
/* A stable sort by keys, for lines of any length: what sort and scatter are made with. */
#ifndef RL_ACCEL_RADIX_H
#define RL_ACCEL_RADIX_H

#include "kernel.h"

/* Keys stand one line after the other from keys_at on, in elements of I32 or, where they are wide, I64. They are sorted
 * as numbers of `bits` bits without sign. */
typedef struct rl_radix {
    const char *row;
    int64_t lines, length;
    int bits, wide_key;
    /* From rl_radix_init: where the keys are to be written in `buffer`. */
    rl_backend_buffer *buffer;
    int wide_order; /* positions are I64, not I32 */
    int64_t keys_at, order_at;
    int64_t other_keys_at, other_order_at, counts_at, chunks, each;
} rl_radix;

/* Takes scratch memory of slot 0. */
rl_status rl_radix_init(rl_backend_stream *stream, rl_radix *self);
/* Sorts; keys_at and order_at are then where the sorted keys and their positions in their line are. */
rl_status rl_radix_sort(rl_backend_stream *stream, rl_radix *self);
static inline int32_t rl_radix_dtype(int wide) {
    return wide ? RL_I64 : RL_I32;
}

#endif
