/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locks and forks. A fork copies the calling thread alone, and each lock as it stands: one that another thread holds at
 * that moment would never be free in the child. So every lock of the library that outlives a call is taken before a
 * fork, and given back after it on both sides; no thread is then at what they guard.
 *
 * Backends have locks of their own, which their after_fork makes anew; loaders see by the process's number that their
 * thread is gone.
 */
#ifndef RUSHLIGHT_RUNTIME_BASE_FORK_H
#define RUSHLIGHT_RUNTIME_BASE_FORK_H

#include <pthread.h>

/* All of them, in the order in which a thread that holds one may take another: from the outermost in. */
typedef enum rl_fork_order {
    RL_FORK_LEAVES,   /* autograd/engine.c: gradients of leaves; ops run under it */
    RL_FORK_VIEWS,    /* autograd/view.c */
    RL_FORK_REGISTRY, /* dispatch/registry.c: then shelves, allocators, streams */
    RL_FORK_PROGRAMS, /* dispatch/program_intern.c */
    RL_FORK_SEED,     /* tensor/random.c */
    RL_FORK_WORK,     /* base/object.c: what is to be called at the end */
    RL_FORK_HANDLER,  /* base/error.c */
    RL_FORK_POOLS,    /* base/memory.c */
    RL_FORK_COUNT
} rl_fork_order;

typedef struct rl_fork_locks {
    void (*take)(void);
    void (*give)(void);  /* in the parent */
    void (*child)(void); /* in the child; NULL: give */
} rl_fork_locks;

/* Both are called by constructors, before main: each place in the order once. `locks` and `mutex` are static. */
void rl_at_fork(rl_fork_order order, const rl_fork_locks *locks);
void rl_at_fork_mutex(rl_fork_order order, pthread_mutex_t *mutex);

#endif
