/* SPDX-License-Identifier: Apache-2.0 */
#include "pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

/* libgomp's own entry points (libomp has them too). */
void GOMP_parallel(void (*body)(void *), void *data, unsigned threads, unsigned flags);
int omp_get_thread_num(void);
int omp_in_parallel(void);
int omp_get_max_threads(void);
void omp_set_num_threads(int count);

#define MAX_THREADS 256
#define WORTH_A_THREAD 5000.0 /* ns of work that waking another thread must save */

static atomic_int alone;

typedef struct range {
    _Alignas(64) _Atomic(int64_t) next;
    int64_t end;
} range;

typedef struct team {
    od_unit_fn unit;
    void *context;
    int threads;
    range ranges[MAX_THREADS];
} team;

void od_stay_alone(void) {
    atomic_store(&alone, 1);
}

int od_threads(int64_t units, double cost) {
    if (units < 2 || cost < 2 * WORTH_A_THREAD || atomic_load_explicit(&alone, memory_order_relaxed) ||
        omp_in_parallel())
        return 1;
    int64_t most = od_host->thread_count();
    most = most < MAX_THREADS ? most : MAX_THREADS;
    most = most < units ? most : units;
    const int64_t worth = cost / WORTH_A_THREAD < MAX_THREADS ? (int64_t)(cost / WORTH_A_THREAD) : MAX_THREADS;
    most = most < worth ? most : worth;
    return most < 1 ? 1 : (int)most;
}

static void work(void *data) {
    team *self = data;
    const int me = omp_get_thread_num();
    for (int i = 0; i < self->threads; i++) {
        range *r = &self->ranges[(me + i) % self->threads];
        for (;;) {
            int64_t unit = atomic_fetch_add_explicit(&r->next, 1, memory_order_relaxed);
            if (unit >= r->end)
                break;
            self->unit(self->context, me, unit);
        }
    }
}

void od_run(int threads, int64_t units, od_unit_fn unit, void *context) {
    if (threads <= 1) {
        for (int64_t i = 0; i < units; i++)
            unit(context, 0, i);
        return;
    }
    team self;
    self.unit = unit;
    self.context = context;
    self.threads = threads;
    for (int t = 0; t < threads; t++) {
        atomic_init(&self.ranges[t].next, units * t / threads);
        self.ranges[t].end = units * (t + 1) / threads;
    }
    GOMP_parallel(work, &self, (unsigned)threads, 0);
}

od_library_state od_library_begin(void) {
    od_library_state saved = {.threads = omp_get_max_threads()};
    sigset_t all;
    sigfillset(&all);
    static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT}; /* a fault here must be one */
    for (unsigned i = 0; i < sizeof own / sizeof *own; i++)
        sigdelset(&all, own[i]);
    pthread_sigmask(SIG_SETMASK, &all, &saved.signals);
    if (saved.threads != 1)
        omp_set_num_threads(1);
    return saved;
}

void od_library_end(const od_library_state *saved) {
    if (omp_get_max_threads() != saved->threads)
        omp_set_num_threads(saved->threads);
    pthread_sigmask(SIG_SETMASK, &saved->signals, NULL);
}
