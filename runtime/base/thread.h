/* SPDX-License-Identifier: Apache-2.0 */
/* All that base keeps for one thread. Only files of this folder include it. */
#ifndef RUSHLIGHT_RUNTIME_BASE_THREAD_H
#define RUSHLIGHT_RUNTIME_BASE_THREAD_H

#include "rushlight/base.h"

#define RL_POOL_SLOTS 16
#define RL_ERROR_ROOM 128

/* Thread-local storage of the initial-exec model costs one instruction, but comes out of a small reserve when the
 * library is opened by dlopen: so this struct stays small, and what grows lies on the heap. */
#define RL_THREAD_LOCAL _Thread_local __attribute__((tls_model("initial-exec")))

typedef struct rl_free_list {
    void *head; /* each free block begins with a pointer to the next */
    uint32_t count;
} rl_free_list;

typedef struct rl_scope_entry {
    uint32_t start;         /* its first object in rl_thread.objects */
    uint32_t serial;        /* tells a scope from an ended one of the same number */
    uint32_t outer_barrier; /* of a barrier: rl_thread.barrier before it; else RL_NO_BARRIER */
} rl_scope_entry;
#define RL_NO_BARRIER UINT32_MAX

typedef struct rl_thread {
    /* error.c */
    rl_status error_status;
    uint32_t attempts; /* rl_error_push without rl_error_pop: errors are then nobody's but the pusher's */
    char *error_text;  /* NULL, error_room or a block of its own */
    const char *error_op, *error_about; /* what the caller called, and which argument of it is at work; or NULL */
    /* object.c */
    bool registered;  /* rl_thread_end will be called */
    uint32_t barrier; /* scopes[0 .. barrier) cannot be ended now */
    uint32_t serial;
    uint32_t n_objects, object_room, n_scopes, scope_room;
    void **objects; /* of all scopes, outermost first; objects[0 .. scopes[0].start) are the thread's own */
    rl_scope_entry *scopes;
    /* memory.c */
    rl_free_list lists[RL_POOL_SLOTS];
    /* error.c: an error is kept here where no memory can be had */
    char error_room[RL_ERROR_ROOM];
} rl_thread;
extern RL_THREAD_LOCAL rl_thread rl_thread_;

/* Makes sure that the thread's end frees what the thread holds. False where memory failed; no error is set. */
bool rl_thread_register(void);
void rl_pool_drain_thread(void);

/* An allocation that may fail without an error, for errors themselves. Counted and made to fail like any other. */
void *rl_alloc_quiet(size_t bytes);

/* Forgets that RUSHLIGHT_VERBOSE was found unset. */
void rl_log_reset(void);

#endif
