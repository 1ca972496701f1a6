/* SPDX-License-Identifier: Apache-2.0 */
/* Host memory of the runtime itself. Every allocation goes through here, so that tests can make any of them fail. */
#ifndef RUSHLIGHT_RUNTIME_BASE_MEMORY_H
#define RUSHLIGHT_RUNTIME_BASE_MEMORY_H

#include "rushlight/base.h"

/* As malloc, calloc, realloc, strdup; on failure NULL and the error "out of memory: N bytes for WHAT". count * size is
 * checked for overflow. A size of 0 gives a valid block. */
void *rl_alloc(size_t bytes, const char *what);
void *rl_alloc_zero(size_t count, size_t size, const char *what);
void *rl_realloc(void *block, size_t count, size_t size, const char *what);
char *rl_strdup(const char *text, const char *what);
/* Aligned to 64 bytes; freed by rl_free like the rest. */
void *rl_alloc_aligned(size_t bytes, const char *what);
void rl_free(void *block);

/* For tests: the n-th allocation from now (1 is the next) fails, and every later one too where `onward`. 0: none. */
RL_API void rl_alloc_fail_at(uint64_t n, bool onward);
/* Allocations so far, of all threads. */
RL_API uint64_t rl_alloc_count(void);

/* A pool of objects of one size, per thread, without locks; blocks may be freed on another thread than their own.
 * Under the address sanitizer it hands straight through to rl_alloc, so that every use after free is seen. */
typedef struct rl_pool rl_pool;
void *rl_pool_take(rl_pool *pool);
void rl_pool_give(rl_pool *pool, void *block);
extern rl_pool rl_pool_tensor, rl_pool_storage; /* sizes are set by the folders that own them */
void rl_pool_init(rl_pool *pool, size_t bytes, const char *what);
struct rl_pool {
    size_t bytes;
    const char *what;
    int slot; /* into the thread's free lists */
};

#endif
