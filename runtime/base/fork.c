/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fork.h"

#include <stdatomic.h>
#include <stddef.h>

static struct {
    _Atomic(const rl_fork_locks *) locks;
    _Atomic(pthread_mutex_t *) mutex;
} places[RL_FORK_COUNT];

static void prepare(void) {
    for (int i = 0; i < RL_FORK_COUNT; i++) {
        const rl_fork_locks *locks = atomic_load(&places[i].locks);
        pthread_mutex_t *mutex = atomic_load(&places[i].mutex);
        if (locks)
            locks->take();
        if (mutex)
            pthread_mutex_lock(mutex);
    }
}

static void after(int child) {
    for (int i = RL_FORK_COUNT; i-- > 0;) {
        const rl_fork_locks *locks = atomic_load(&places[i].locks);
        pthread_mutex_t *mutex = atomic_load(&places[i].mutex);
        if (mutex)
            pthread_mutex_unlock(mutex);
        if (locks)
            (child && locks->child ? locks->child : locks->give)();
    }
}

static void in_parent(void) {
    after(0);
}
static void in_child(void) {
    after(1);
}

__attribute__((constructor)) static void install(void) {
    pthread_atfork(prepare, in_parent, in_child);
}

void rl_at_fork(rl_fork_order order, const rl_fork_locks *locks) {
    atomic_store(&places[order].locks, locks);
}

void rl_at_fork_mutex(rl_fork_order order, pthread_mutex_t *mutex) {
    atomic_store(&places[order].mutex, mutex);
}
