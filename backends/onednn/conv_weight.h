/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Weights of convolutions in their primitive's order, kept from call to call: where the host stamps a weight, and the
 * stamp came before. What changes at each call is never kept; what is only used is reordered twice. Of one place in
 * memory the newest is kept; what was freed since goes when others need the room.
 */
#ifndef RUSHLIGHT_BACKENDS_ONEDNN_CONV_WEIGHT_H
#define RUSHLIGHT_BACKENDS_ONEDNN_CONV_WEIGHT_H

#include "conv_primitive.h"

typedef struct od_weight_key { /* no padding bytes; all of them count */
    od_conv_key conv;          /* of the primitive */
    uint64_t stamp;            /* which numbers: rl_conv_args */
    uint64_t buffer, offset;   /* where they lie, and how */
    int64_t stride[5];
    uint64_t bytes, dtype; /* in the primitive's order; of the weight in memory */
} od_weight_key;

typedef struct od_weight {
    od_prepared prepared;
    od_weight_key key;
    char *data;          /* NULL where there was no memory */
    _Atomic(int) filled; /* conv_weight.c's own */
} od_weight;

extern od_prepared_table od_weights;

/* The place of a weight, to be given back: its data is good, or, with *out_fill set, the caller fills it now and says
 * so with od_weight_filled. NULL: it is not kept. Any thread. */
od_weight *od_weight_take(const od_conv *conv, const rl_operand *weight, uint64_t stamp, rl_dtype dtype, int *out_fill);
void od_weight_filled(od_weight *self, int good);
static inline void od_weight_give(od_weight *self) {
    od_prepared_give(&od_weights, self ? &self->prepared : NULL);
}

#endif
