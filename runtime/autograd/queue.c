/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gradients on their way. Nodes wait in a heap by their sequence: as edges always lead to a lower one, the highest has
 * all its gradients. So no count of edges is needed, and no more is held than what waits.
 */
#include <string.h>

#include "autograd/queue.h"
#include "rushlight/ops.h"

/* Pointers to numbers -------------------------------------------------------------------------------------------- */

static uint32_t home_of(const pointer_map *self, const void *key) {
    uint64_t hash = ((uint64_t)(uintptr_t)key >> 4) * 0x9E3779B97F4A7C15u;
    return (uint32_t)(hash >> 32) & (self->room - 1);
}

/* Where the key is, or would be. */
static uint32_t slot_of(const pointer_map *self, const void *key) {
    uint32_t at = home_of(self, key);
    while (self->entries[at].key && self->entries[at].key != key)
        at = (at + 1) & (self->room - 1);
    return at;
}

static rl_status map_grow(pointer_map *self) {
    pointer_map grown = {.room = self->room ? 2 * self->room : 64};
    grown.entries = rl_alloc_zero(grown.room, sizeof *grown.entries, "a table of the graph");
    if (grown.entries == NULL)
        return rl_error_status();
    for (uint32_t i = 0; i < self->room; i++)
        if (self->entries[i].key)
            grown.entries[slot_of(&grown, self->entries[i].key)] = self->entries[i];
    grown.count = self->count;
    map_free(self);
    *self = grown;
    return RL_OK;
}

rl_status map_put(pointer_map *self, const void *key, uint32_t value) {
    if (2 * (self->count + 1) > self->room && map_grow(self) != RL_OK)
        return rl_error_status();
    self->entries[slot_of(self, key)] = (pointer_entry){key, value};
    self->count++;
    return RL_OK;
}

bool map_get(const pointer_map *self, const void *key, uint32_t *out_value) {
    if (self->count == 0)
        return false;
    const pointer_entry *e = &self->entries[slot_of(self, key)];
    *out_value = e->value;
    return e->key != NULL;
}

/* Knuth 6.4 R: later entries that could not have stood at the hole otherwise move up. */
void map_remove(pointer_map *self, const void *key) {
    uint32_t mask = self->room - 1, hole = slot_of(self, key);
    for (uint32_t at = (hole + 1) & mask; self->entries[at].key; at = (at + 1) & mask) {
        uint32_t home = home_of(self, self->entries[at].key);
        if (((at - home) & mask) >= ((at - hole) & mask)) {
            self->entries[hole] = self->entries[at];
            hole = at;
        }
    }
    self->entries[hole].key = NULL;
    self->count--;
}

void map_free(pointer_map *self) {
    if (!self->borrowed)
        rl_free(self->entries);
    *self = (pointer_map){0};
}

/* Entries -------------------------------------------------------------------------------------------------------- */

void queue_init(queue *self) {
    self->entries = self->own_entries;
    self->heap = self->own_heap;
    self->room = FIRST_ROOM;
    self->n_entries = self->n_heap = self->free_entry = self->first_leaf = self->last_leaf = 0;
    memset(self->own_map, 0, sizeof self->own_map);
    self->map = (pointer_map){.entries = self->own_map, .room = 4 * FIRST_ROOM, .borrowed = true};
}

void waiting_drop(waiting *self) {
    rl_tensor **grads = waiting_grads(self);
    for (int i = 0; i < waiting_count(self); i++)
        rl_release(grads[i]);
    rl_free(self->many);
    self->many = NULL;
    memset(self->few, 0, sizeof self->few);
}

void queue_free(queue *self) {
    waiting w;
    while (queue_pop(self, &w) || queue_pop_leaf(self, &w))
        waiting_drop(&w);
    if (self->entries != self->own_entries)
        rl_free(self->entries);
    if (self->heap != self->own_heap)
        rl_free(self->heap);
    map_free(&self->map);
}

static rl_status grow(queue *self) {
    uint32_t room = 2 * self->room;
    waiting *entries = rl_alloc_zero(room, sizeof *entries, "gradients of a backward");
    uint32_t *heap = entries ? rl_alloc_zero(room, sizeof *heap, "gradients of a backward") : NULL;
    if (heap == NULL) {
        rl_free(entries);
        return rl_error_status();
    }
    memcpy(entries, self->entries, self->n_entries * sizeof *entries);
    memcpy(heap, self->heap, self->n_heap * sizeof *heap);
    if (self->entries != self->own_entries)
        rl_free(self->entries);
    if (self->heap != self->own_heap)
        rl_free(self->heap);
    self->entries = entries;
    self->heap = heap;
    self->room = room;
    return RL_OK;
}

/* The heap ------------------------------------------------------------------------------------------------------- */

static uint64_t sequence_of(const queue *self, uint32_t number) {
    return self->entries[number].node->sequence;
}

static void push(queue *self, uint32_t number) {
    uint32_t at = self->n_heap++;
    uint64_t sequence = sequence_of(self, number);
    while (at > 0 && sequence_of(self, self->heap[(at - 1) / 2]) < sequence) {
        self->heap[at] = self->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    self->heap[at] = number;
}

static uint32_t pop(queue *self) {
    uint32_t top = self->heap[0], at = 0;
    if (--self->n_heap == 0)
        return top;
    uint32_t last = self->heap[self->n_heap];
    uint64_t sequence = sequence_of(self, last);
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= self->n_heap)
            break;
        if (child + 1 < self->n_heap && sequence_of(self, self->heap[child]) < sequence_of(self, self->heap[child + 1]))
            child++;
        if (sequence >= sequence_of(self, self->heap[child]))
            break;
        self->heap[at] = self->heap[child];
        at = child;
    }
    self->heap[at] = last;
    return top;
}

static void take_out(queue *self, uint32_t number, waiting *out) {
    waiting *w = &self->entries[number];
    *out = *w;
    map_remove(&self->map, w->node ? (const void *)w->node : w->leaf);
    w->next = self->free_entry;
    self->free_entry = number + 1;
}

bool queue_pop(queue *self, waiting *out) {
    if (self->n_heap == 0)
        return false;
    take_out(self, pop(self), out);
    return true;
}

bool queue_pop_leaf(queue *self, waiting *out) {
    if (self->first_leaf == 0)
        return false;
    uint32_t number = self->first_leaf - 1;
    self->first_leaf = self->entries[number].next;
    take_out(self, number, out);
    return true;
}

/* A new entry, in the heap or at the end of the leaves. */
static waiting *insert(queue *self, const edge *to) {
    if (self->free_entry == 0 && self->n_entries == self->room && grow(self) != RL_OK)
        return NULL;
    uint32_t number = self->free_entry ? self->free_entry - 1 : self->n_entries;
    rl_tensor **many = NULL;
    if (to->to && to->to->n_outputs > FEW_GRADS) {
        many = rl_alloc_zero(to->to->n_outputs, sizeof *many, "gradients of a node");
        if (many == NULL)
            return NULL;
    }
    if (map_put(&self->map, to->to ? (const void *)to->to : to->leaf, number) != RL_OK) {
        rl_free(many);
        return NULL;
    }
    waiting *w = &self->entries[number];
    if (self->free_entry)
        self->free_entry = w->next;
    else
        self->n_entries++;
    *w = (waiting){.node = to->to, .leaf = to->to ? NULL : to->leaf, .many = many};
    if (w->node)
        push(self, number);
    else if (self->first_leaf == 0)
        self->first_leaf = self->last_leaf = number + 1;
    else {
        self->entries[self->last_leaf - 1].next = number + 1;
        self->last_leaf = number + 1;
    }
    return w;
}

/* Gradients ------------------------------------------------------------------------------------------------------ */

bool is_ours_alone(const rl_tensor *t) {
    return atomic_load_explicit(&t->object.count, memory_order_acquire) == 1 &&
           atomic_load_explicit(&t->storage->object.count, memory_order_acquire) == 1 &&
           rl_is_dense(t->ndim, t->shape, t->stride);
}

rl_status queue_add(queue *self, const edge *to, rl_tensor *gradient) {
    uint32_t number;
    bool known = map_get(&self->map, to->to ? (const void *)to->to : to->leaf, &number);
    waiting *w = known ? &self->entries[number] : insert(self, to);
    if (w == NULL)
        return rl_error_status();
    rl_tensor **at = &waiting_grads(w)[to->to ? to->output : 0], *old = *at;
    if (old == NULL) {
        *at = rl_retain(gradient);
        return RL_OK;
    }
    if (!rl_recording_ && is_ours_alone(old))
        return rl_add_(old, gradient) ? RL_OK : rl_error_status();
    rl_tensor *sum = rl_add(old, gradient);
    if (sum == NULL)
        return rl_error_status();
    *at = rl_retain(sum);
    rl_release(old);
    return RL_OK;
}
