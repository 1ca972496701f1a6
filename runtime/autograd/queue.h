/* SPDX-License-Identifier: Apache-2.0 */
/* What a walk of the graph keeps: gradients that wait for their node to be run, and a table by pointers. */
#ifndef RUSHLIGHT_RUNTIME_AUTOGRAD_QUEUE_H
#define RUSHLIGHT_RUNTIME_AUTOGRAD_QUEUE_H

#include "autograd/graph.h"

/* Pointers to numbers. Zero-initialized is empty; open addressing, never more than half full. */
typedef struct pointer_entry {
    const void *key;
    uint32_t value;
} pointer_entry;
typedef struct pointer_map {
    pointer_entry *entries;
    uint32_t room, count; /* room: 0 or a power of two */
    bool borrowed;        /* entries are not to be freed */
} pointer_map;
rl_status map_put(pointer_map *self, const void *key, uint32_t value); /* of a new key */
bool map_get(const pointer_map *self, const void *key, uint32_t *out_value);
void map_remove(pointer_map *self, const void *key); /* of a key that is there */
void map_free(pointer_map *self);

/* A node, or a leaf, and the gradients of its outputs so far. */
#define FEW_GRADS 2
typedef struct waiting {
    node *node; /* or */
    rl_tensor *leaf;
    rl_tensor *few[FEW_GRADS];
    rl_tensor **many; /* in place of few where there are more outputs */
    uint32_t next;    /* 1 + the next free entry, or the next leaf */
} waiting;
static inline int waiting_count(const waiting *self) {
    return self->node ? self->node->n_outputs : 1;
}
static inline rl_tensor **waiting_grads(waiting *self) {
    return self->many ? self->many : self->few;
}
void waiting_drop(waiting *self); /* releases the gradients */

#define FIRST_ROOM 16
typedef struct queue {
    waiting *entries;
    uint32_t n_entries, room, free_entry;
    uint32_t *heap, n_heap; /* of nodes, the latest first */
    uint32_t first_leaf, last_leaf;
    pointer_map map;
    waiting own_entries[FIRST_ROOM]; /* so that a small graph is walked without allocations */
    uint32_t own_heap[FIRST_ROOM];
    pointer_entry own_map[4 * FIRST_ROOM];
} queue;
void queue_init(queue *self);
void queue_free(queue *self);
/* Adds a gradient to those that flow to the edge's end. The sum is recorded where gradients are. */
rl_status queue_add(queue *self, const edge *to, rl_tensor *gradient);
/* Takes out the latest node; once there is none, the leaves, in the order in which they were reached. */
bool queue_pop(queue *self, waiting *out);
bool queue_pop_leaf(queue *self, waiting *out);

/* Whether nobody else can see the tensor's elements, of which one count is held: it may be changed or handed over. */
bool is_ours_alone(const rl_tensor *t);

#endif
