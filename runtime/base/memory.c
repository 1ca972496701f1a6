/* SPDX-License-Identifier: Apache-2.0 */
/* Host memory: the one gate to malloc, which tests can shut, and pools of small objects behind it. */
#include "base/memory.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/fork.h"
#include "base/thread.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#endif
#if defined(__SANITIZE_ADDRESS__)
#define POOLS_PASS_THROUGH 1
#endif
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer)
#define SANITIZED 1
#define POOLS_PASS_THROUGH 1
#elif __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

/* No address space holds more; a sanitizer's malloc would end the process instead of returning NULL. */
#ifdef SANITIZED
#define MOST_BYTES ((size_t)1 << 39)
#else
#define MOST_BYTES ((size_t)1 << 47)
#endif

static _Atomic(uint64_t) allocations;
static atomic_bool armed; /* some allocation is to fail */
static atomic_bool fails_onward;
static _Atomic(int64_t) countdown;

void rl_alloc_fail_at(uint64_t n, bool onward) {
    atomic_store(&armed, false);
    atomic_store(&fails_onward, onward);
    atomic_store(&countdown, (int64_t)n);
    atomic_store(&armed, n > 0);
}

uint64_t rl_alloc_count(void) {
    return atomic_load_explicit(&allocations, memory_order_relaxed);
}

/* Counts an allocation and says whether it may happen. */
static bool admit(size_t bytes) {
    atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
    if (atomic_load_explicit(&armed, memory_order_acquire)) {
        int64_t left = atomic_fetch_sub(&countdown, 1);
        if (left == 1 || (left < 1 && atomic_load(&fails_onward)))
            return false;
    }
    return bytes <= MOST_BYTES;
}

static void *out_of_memory(size_t bytes, const char *what) {
    return rl_fail_null(RL_OUT_OF_MEMORY, "out of memory: %zu bytes for %s", bytes, what);
}

void *rl_alloc_quiet(size_t bytes) {
    return admit(bytes) ? malloc(bytes ? bytes : 1) : NULL;
}

void *rl_alloc(size_t bytes, const char *what) {
    void *block = rl_alloc_quiet(bytes);
    return block ? block : out_of_memory(bytes, what);
}

static bool product(size_t count, size_t size, size_t *out_bytes) {
    if (!__builtin_mul_overflow(count, size, out_bytes))
        return true;
    *out_bytes = SIZE_MAX;
    return false;
}

void *rl_alloc_zero(size_t count, size_t size, const char *what) {
    size_t bytes;
    void *block = NULL;
    if (product(count, size, &bytes) && admit(bytes))
        block = calloc(bytes ? bytes : 1, 1);
    return block ? block : out_of_memory(bytes, what);
}

void *rl_realloc(void *block, size_t count, size_t size, const char *what) {
    size_t bytes;
    void *grown = NULL;
    if (product(count, size, &bytes) && admit(bytes))
        grown = realloc(block, bytes ? bytes : 1);
    return grown ? grown : out_of_memory(bytes, what);
}

char *rl_strdup(const char *text, const char *what) {
    size_t bytes = strlen(text) + 1;
    char *copy = rl_alloc(bytes, what);
    return copy ? memcpy(copy, text, bytes) : NULL;
}

void *rl_alloc_aligned(size_t bytes, const char *what) {
    void *block = NULL;
    if (admit(bytes))
        block = aligned_alloc(64, bytes ? (bytes + 63) & ~(size_t)63 : 64);
    return block ? block : out_of_memory(bytes, what);
}

void rl_free(void *block) {
    free(block);
}

/* Pools ---------------------------------------------------------------------------------------------------------- */

/* A thread keeps at most so many free blocks of a pool; the rest goes back to malloc. */
#define MOST_FREE 4096u

/* Slot 0 is of pools that were not used yet; pools beyond the last slot do without free lists (slot -1). */
static pthread_mutex_t slot_lock = PTHREAD_MUTEX_INITIALIZER;
static int slots_used = 1;

__attribute__((constructor)) static void mind_forks(void) {
    rl_at_fork_mutex(RL_FORK_POOLS, &slot_lock);
}

static int slot_of(rl_pool *pool) {
    int slot = __atomic_load_n(&pool->slot, __ATOMIC_ACQUIRE);
    if (slot != 0)
        return slot;
    pthread_mutex_lock(&slot_lock);
    slot = pool->slot;
    if (slot == 0) {
        slot = slots_used < RL_POOL_SLOTS ? slots_used++ : -1;
        __atomic_store_n(&pool->slot, slot, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&slot_lock);
    return slot;
}

void rl_pool_init(rl_pool *pool, size_t bytes, const char *what) {
    pool->bytes = bytes < sizeof(void *) ? sizeof(void *) : bytes;
    pool->what = what;
    (void)slot_of(pool);
}

void *rl_pool_take(rl_pool *pool) {
#ifndef POOLS_PASS_THROUGH
    int slot = __atomic_load_n(&pool->slot, __ATOMIC_RELAXED);
    if (slot > 0) {
        rl_free_list *list = &rl_thread_.lists[slot];
        void *block = list->head;
        /* While a test makes allocations fail, every block is an allocation. */
        if (block && !atomic_load_explicit(&armed, memory_order_relaxed)) {
            memcpy(&list->head, block, sizeof(void *));
            list->count--;
            return block;
        }
    }
#endif
    return rl_alloc(pool->bytes, pool->what);
}

void rl_pool_give(rl_pool *pool, void *block) {
    if (!block)
        return;
#ifndef POOLS_PASS_THROUGH
    int slot = slot_of(pool);
    rl_free_list *list = slot > 0 ? &rl_thread_.lists[slot] : NULL;
    if (list && list->count < MOST_FREE && (rl_thread_.registered || rl_thread_register())) {
        memcpy(block, &list->head, sizeof(void *));
        list->head = block;
        list->count++;
        return;
    }
#else
    (void)pool;
#endif
    rl_free(block);
}

void rl_pool_drain_thread(void) {
    for (int slot = 1; slot < RL_POOL_SLOTS; slot++) {
        rl_free_list *list = &rl_thread_.lists[slot];
        while (list->head) {
            void *block = list->head;
            memcpy(&list->head, block, sizeof(void *));
            rl_free(block);
        }
        list->count = 0;
    }
}
