/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shelves: each thread keeps a few small free blocks of the default stream to itself. A shelf's own flag guards it, for
 * other threads come only when memory is short or all is shut down; so the flag is nearly always free and near.
 *
 * Order of locks: the list of all threads, a shelf's flag, the allocator's lock.
 */
#include <sched.h>

#include "base/object.h"
#include "dispatch/allocator.h"

/* Classes up to 64 KiB have a place on the shelf, for that many blocks each. */
enum { SHELF_CLASSES = (16 - LEAST_BITS) * STEPS + 1, SHELF_DEPTH = 16, SHELVES = 4 };

typedef struct shelf {
    atomic_bool busy;
    _Atomic(rl_allocator *) owner; /* NULL: unused. Set by the thread, cleared by whoever empties the shelf */
    rl_block *blocks[SHELF_CLASSES];
    uint8_t counts[SHELF_CLASSES];
} shelf;

typedef struct shelves { /* of one thread; in a list of all */
    shelf shelf[SHELVES];
    struct shelves *next;
} shelves;

static _Thread_local shelves *thread_shelves __attribute__((tls_model("initial-exec")));
static struct {
    pthread_mutex_t lock;
    shelves *all;
} threads = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void enter(shelf *self) {
    while (atomic_exchange_explicit(&self->busy, true, memory_order_acquire))
        sched_yield();
}

static void leave(shelf *self) {
    atomic_store_explicit(&self->busy, false, memory_order_release);
}

static void shelf_empty(shelf *self, const rl_allocator *of) {
    rl_block *chain = NULL;
    enter(self);
    rl_allocator *owner = atomic_load_explicit(&self->owner, memory_order_relaxed);
    if (owner != NULL && (of == NULL || of == owner)) {
        for (int c = 0; c < SHELF_CLASSES; c++) {
            while (self->blocks[c]) {
                rl_block *block = self->blocks[c];
                self->blocks[c] = block->next;
                block->next = chain;
                chain = block;
            }
            self->counts[c] = 0;
        }
        rl_allocator_keep_all(owner, chain);
        atomic_store_explicit(&self->owner, NULL, memory_order_relaxed);
    }
    leave(self);
}

/* A thread's life --------------------------------------------------------------------------------------------------
 */

static void thread_end(void) {
    shelves *self = thread_shelves;
    if (self == NULL)
        return;
    pthread_mutex_lock(&threads.lock);
    for (shelves **at = &threads.all; *at; at = &(*at)->next) {
        if (*at == self) {
            *at = self->next;
            break;
        }
    }
    for (int i = 0; i < SHELVES; i++)
        shelf_empty(&self->shelf[i], NULL);
    pthread_mutex_unlock(&threads.lock);
    thread_shelves = NULL;
    rl_free(self);
}

/* NULL where memory failed: then there is no shelf, which is no error. */
static shelves *make_shelves(void) {
    rl_error_state saved;
    if (!rl_at_thread_end(thread_end))
        return NULL;
    rl_error_push(&saved);
    shelves *made = rl_alloc_zero(1, sizeof *made, "a thread's free blocks");
    rl_error_pop(&saved, NULL);
    if (made == NULL)
        return NULL;
    pthread_mutex_lock(&threads.lock);
    made->next = threads.all;
    threads.all = made;
    pthread_mutex_unlock(&threads.lock);
    return thread_shelves = made;
}

/* The thread's shelf of the allocator, entered; NULL where it has none. */
static shelf *enter_shelf_of(rl_allocator *owner, bool make) {
    shelves *mine = thread_shelves;
    if (mine == NULL && (!make || (mine = make_shelves()) == NULL))
        return NULL;
    shelf *unused = NULL;
    for (int i = 0; i < SHELVES; i++) {
        shelf *at = &mine->shelf[i];
        rl_allocator *of = atomic_load_explicit(&at->owner, memory_order_relaxed);
        if (of == owner) {
            enter(at);
            if (atomic_load_explicit(&at->owner, memory_order_relaxed) == owner)
                return at;
            leave(at); /* it was emptied just now */
            of = NULL;
        }
        if (of == NULL && unused == NULL)
            unused = at;
    }
    if (!make || unused == NULL)
        return NULL;
    enter(unused); /* only its own thread gives it an owner */
    atomic_store_explicit(&unused->owner, owner, memory_order_relaxed);
    return unused;
}

/* Forks: nobody is at any shelf. What the shelves of threads that are not in the child hold stays there until memory is
 * short. */
void rl_shelves_take(void) {
    pthread_mutex_lock(&threads.lock);
    for (shelves *at = threads.all; at; at = at->next)
        for (int i = 0; i < SHELVES; i++)
            enter(&at->shelf[i]);
}

void rl_shelves_give(void) {
    for (shelves *at = threads.all; at; at = at->next)
        for (int i = 0; i < SHELVES; i++)
            leave(&at->shelf[i]);
    pthread_mutex_unlock(&threads.lock);
}

/* Blocks ----------------------------------------------------------------------------------------------------------- */

rl_block *rl_shelf_take(rl_allocator *owner, uint32_t size_class) {
    shelf *mine = size_class < SHELF_CLASSES ? enter_shelf_of(owner, false) : NULL;
    if (mine == NULL)
        return NULL;
    rl_block *block = mine->blocks[size_class];
    if (block) {
        mine->blocks[size_class] = block->next;
        mine->counts[size_class]--;
    }
    leave(mine);
    return block;
}

bool rl_shelf_put(rl_allocator *owner, rl_block *block) {
    uint32_t size_class = block->size_class;
    shelf *mine = size_class < SHELF_CLASSES ? enter_shelf_of(owner, true) : NULL;
    if (mine == NULL)
        return false;
    bool room = mine->counts[size_class] < SHELF_DEPTH;
    if (room) {
        block->next = mine->blocks[size_class];
        mine->blocks[size_class] = block;
        mine->counts[size_class]++;
    }
    leave(mine);
    return room;
}

void rl_shelves_empty(rl_allocator *owner) {
    pthread_mutex_lock(&threads.lock);
    for (shelves *at = threads.all; at; at = at->next) {
        for (int i = 0; i < SHELVES; i++)
            shelf_empty(&at->shelf[i], owner);
    }
    pthread_mutex_unlock(&threads.lock);
}
