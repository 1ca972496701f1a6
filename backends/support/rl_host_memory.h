/* SPDX-License-Identifier: Apache-2.0 */
/* Memory of the host for tensors: aligned for vectors, big blocks on huge pages where the kernel gives them: fewer
 * faults at first touch, fewer misses later. */
#ifndef RL_HOST_MEMORY_H
#define RL_HOST_MEMORY_H

#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>

#define RL_HOST_ALIGNMENT 64u
#define RL_HOST_HUGE_PAGE ((size_t)2 << 20)

/* `bytes` > 0 of memory, to be given to free(); NULL where there is none. [any] */
static inline void *rl_host_memory(size_t bytes) {
    const size_t alignment = bytes >= 2 * RL_HOST_HUGE_PAGE ? RL_HOST_HUGE_PAGE : RL_HOST_ALIGNMENT;
    void *address = NULL;
    if (posix_memalign(&address, alignment, bytes) != 0)
        return NULL;
#ifdef MADV_HUGEPAGE
    if (alignment == RL_HOST_HUGE_PAGE)
        (void)madvise(address, bytes / RL_HOST_HUGE_PAGE * RL_HOST_HUGE_PAGE, MADV_HUGEPAGE);
#endif
    return address;
}

#endif
