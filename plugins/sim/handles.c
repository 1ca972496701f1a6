/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handles: a slot's number, its generation and what it is, below bits that no address of this machine has. A handle
 * that was freed is found out by its generation, whatever the slot holds now.
 */
#include <stdlib.h>

#include "sim.h"

_Static_assert(sizeof(uintptr_t) == 8, "handles need 64 bits");

#define MARK ((uintptr_t)0x51 << 56)
#define SLOT_BITS 24
#define GENERATION_BITS 28
#define SLOT(handle) ((handle) >> 4 & ((1u << SLOT_BITS) - 1))
#define GENERATION(handle) ((uint32_t)((handle) >> (4 + SLOT_BITS) & ((1u << GENERATION_BITS) - 1)))

typedef struct slot {
    void *object; /* of a free slot NULL */
    uint32_t generation;
    uint8_t kind;
    uint32_t next_free; /* slot + 1; 0: none */
} slot;

static slot *slots;
static uint32_t n_slots, room, first_free;

static bool grow(void) {
    uint32_t larger = room ? 2 * room : 64;
    slot *moved = larger >> SLOT_BITS ? NULL : realloc(slots, larger * sizeof *slots);
    if (!moved)
        return false;
    slots = moved;
    room = larger;
    return true;
}

static uintptr_t handle_of(uint32_t at) {
    return MARK | (uintptr_t)slots[at].generation << (4 + SLOT_BITS) | (uintptr_t)at << 4 | (uintptr_t)slots[at].kind;
}

uintptr_t sim_handle_new_locked(handle_kind kind, void *object) {
    uint32_t at;
    if (first_free) {
        at = first_free - 1;
        first_free = slots[at].next_free;
    } else {
        if (n_slots == room && !grow())
            return 0;
        at = n_slots++;
        slots[at].generation = 0;
    }
    slots[at].object = object;
    slots[at].kind = (uint8_t)kind;
    slots[at].generation = (slots[at].generation + 1) & ((1u << GENERATION_BITS) - 1);
    return handle_of(at);
}

void *sim_handle_find_locked(handle_kind kind, const void *handle) {
    uintptr_t value = (uintptr_t)handle;
    uint32_t at = (uint32_t)SLOT(value);
    if (value >> 56 != MARK >> 56 || (value & 15) != (uintptr_t)kind || at >= n_slots)
        return NULL;
    return slots[at].kind == kind && slots[at].generation == GENERATION(value) ? slots[at].object : NULL;
}

void sim_handle_free_locked(const void *handle) {
    uint32_t at = (uint32_t)SLOT((uintptr_t)handle);
    slots[at].object = NULL;
    slots[at].next_free = first_free;
    first_free = at + 1;
}

void sim_handles_each_locked(void (*fn)(handle_kind kind, void *object, const void *handle, void *context),
                             void *context) {
    for (uint32_t at = 0; at < n_slots; at++)
        if (slots[at].object)
            fn((handle_kind)slots[at].kind, slots[at].object, (const void *)handle_of(at), context);
}

void sim_handles_clear(void) {
    free(slots);
    slots = NULL;
    n_slots = room = first_free = 0;
}
