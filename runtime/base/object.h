/* SPDX-License-Identifier: Apache-2.0 */
/* The head of every counted object, and the scopes that own them. */
#ifndef RUSHLIGHT_RUNTIME_BASE_OBJECT_H
#define RUSHLIGHT_RUNTIME_BASE_OBJECT_H

#include <stdatomic.h>

#include "rushlight/base.h"

typedef struct rl_object rl_object;

typedef struct rl_object_class {
    const char *name;
    void (*destroy)(rl_object *self); /* the count is 0: frees all, self included; never fails */
} rl_object_class;

struct rl_object { /* at offset 0 of every object */
    _Atomic(int32_t) count;
    const rl_object_class *klass;
};

static inline void rl_object_init(rl_object *self, const rl_object_class *klass) {
    atomic_init(&self->count, 1);
    self->klass = klass;
}
/* Gives the caller's count to the innermost scope. Returns self; on failure releases it and returns NULL. */
void *rl_object_own(void *self);

/* A barrier around a callback of the user: scopes that it leaves open are ended by rl_barrier_leave, and it cannot end
 * scopes from outside. */
typedef struct rl_barrier {
    uint64_t depth;
} rl_barrier;
rl_barrier rl_barrier_enter(void);
/* Ends what is open above the barrier; `result` (or NULL), an object, is kept for the scope around it. */
void *rl_barrier_leave(rl_barrier barrier, void *result);

/* Work to be done by rl_shutdown, last registered first, and once. */
void rl_at_shutdown(void (*work)(void));

/* Has `work` called at the end of each thread that has state here, and on rl_shutdown's thread by rl_shutdown; so it
 * looks whether the calling thread has anything to give back. Registering a function again changes nothing. False, and
 * no error, where the thread's end cannot be watched. Thread-safe. */
bool rl_at_thread_end(void (*work)(void));

#endif
