/* SPDX-License-Identifier: Apache-2.0 */
#include "conv_weight.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "sizes.h"

#define MOST_WEIGHTS 1024
#define MOST_BYTES ((size_t)128 << 20) /* ResNet-50's weights take 90 MiB */
#define SETS 256                       /* of stamps that came once */
#define WAYS 4

enum { EMPTY, BEING_FILLED, FILLED };

static rl_status make(od_prepared *entry) {
    od_weight *self = (od_weight *)(void *)entry;
    self->data = aligned_alloc(64, od_lines((size_t)self->key.bytes));
    entry->bytes = self->data ? (size_t)self->key.bytes : 0;
    return RL_OK;
}
static void drop(od_prepared *entry) {
    free(((od_weight *)(void *)entry)->data);
}
static void forked(od_prepared *entry) { /* whoever was filling it is not here */
    od_weight *self = (od_weight *)(void *)entry;
    int state = BEING_FILLED;
    (void)atomic_compare_exchange_strong(&self->filled, &state, EMPTY);
}
od_prepared_table od_weights =
    OD_PREPARED_TABLE(od_weight, od_weight_key, MOST_WEIGHTS, MOST_BYTES, make, drop, forked);

/* Whether an entry has other numbers of the same place in memory: those are gone. */
static int is_older(const od_prepared *entry, const void *context) {
    const od_weight_key *key = &((const od_weight *)(const void *)entry)->key, *now = context;
    return key->buffer == now->buffer && key->offset == now->offset && key->stamp != now->stamp;
}

/* Whether a weight came before. May forget one, and may, if numbers collide, take one for another: then it is kept one
 * call too early. */
static int came_before(const od_weight_key *key, const od_conv *conv) {
    static _Atomic(uint64_t) seen[SETS][WAYS];
    uint64_t hash = (key->stamp ^ key->offset << 40 ^ (uint64_t)(uintptr_t)conv << 16) * 0x9E3779B97F4A7C15u;
    hash ^= hash >> 31;
    _Atomic(uint64_t) *set = seen[hash % SETS];
    for (int i = 0; i < WAYS; i++)
        if (atomic_load_explicit(&set[i], memory_order_relaxed) == hash)
            return 1;
    atomic_store_explicit(&set[key->stamp % WAYS], hash, memory_order_relaxed);
    return 0;
}

od_weight *od_weight_take(const od_conv *conv, const rl_operand *weight, uint64_t stamp, rl_dtype dtype,
                          int *out_fill) {
    od_weight_key key = {.conv = conv->key,
                         .stamp = stamp,
                         .buffer = (uint64_t)(uintptr_t)weight->buffer,
                         .offset = weight->offset,
                         .bytes = od_conv_weight_bytes(conv),
                         .dtype = (uint64_t)dtype};
    for (int64_t d = 0; d < conv->key.spatial + 2; d++)
        key.stride[d] = weight->stride[d];
    *out_fill = 0;
    if (stamp == 0 || key.bytes > MOST_BYTES / 2)
        return NULL;
    od_weight *self = (od_weight *)(void *)od_prepared_find(&od_weights, &key);
    if (self == NULL && came_before(&key, conv)) {
        od_prepared *entry;
        od_prepared_drop(&od_weights, is_older, &key);
        (void)od_prepared_take(&od_weights, &key, &entry); /* not to keep it is no error */
        self = (od_weight *)(void *)entry;
    }
    if (self == NULL)
        return NULL;
    int state = EMPTY;
    if (self->data != NULL && atomic_compare_exchange_strong(&self->filled, &state, BEING_FILLED))
        *out_fill = 1;
    else if (state != FILLED) { /* another thread is at it, or there was no memory */
        od_weight_give(self);
        return NULL;
    }
    return self;
}

void od_weight_filled(od_weight *self, int good) {
    atomic_store_explicit(&self->filled, good ? FILLED : EMPTY, memory_order_release);
}
