/* SPDX-License-Identifier: Apache-2.0 */
/* What a backend sees of the host: messages, threads, scratch memory, the kernel cache (cache.c). */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/env.h"
#include "dispatch/cache.h"
#include "dispatch/registry.h"
#include "dispatch/rows.h"

/* Per thread, freed at its end. */
typedef struct host_thread {
    char sentence[512];
    void *scratch;
    size_t scratch_bytes;
} host_thread;

static _Thread_local host_thread *thread_state;
static _Atomic(bool) forked;

static void thread_end(void) {
    if (thread_state) {
        rl_free(thread_state->scratch);
        rl_free(thread_state);
        thread_state = NULL;
    }
}

/* NULL where memory failed. */
static host_thread *this_thread(void) {
    if (thread_state == NULL && rl_at_thread_end(thread_end)) {
        rl_error_state saved;
        rl_error_push(&saved); /* a backend's message is no error of ours */
        thread_state = rl_alloc_zero(1, sizeof *thread_state, "a thread's host state");
        rl_error_pop(&saved, NULL);
    }
    return thread_state;
}

static rl_status host_fail(rl_status status, const char *format, ...) RL_PRINTF_(2, 3);
static rl_status host_fail(rl_status status, const char *format, ...) {
    host_thread *self = this_thread();
    va_list args;
    va_start(args, format);
    if (self)
        vsnprintf(self->sentence, sizeof self->sentence, format, args);
    va_end(args);
    return status;
}

const char *rl_host_sentence(void) {
    static _Thread_local char sentence[sizeof((host_thread *)0)->sentence];
    host_thread *self = this_thread();
    *sentence = '\0';
    if (self) {
        memcpy(sentence, self->sentence, sizeof sentence);
        self->sentence[0] = '\0';
    }
    return sentence;
}

static void host_log(rl_log_level level, const char *format, ...) RL_PRINTF_(2, 3);
static void host_log(rl_log_level level, const char *format, ...) {
    va_list args;
    va_start(args, format);
    if (level <= RL_LOG_WARNING && !rl_env_flag(RL_ENV_QUIET))
        rl_log_always("backend", format, args);
    else
        rl_log_va(level, "backend", format, args);
    va_end(args);
}

void rl_host_forked(void) {
    atomic_store(&forked, true);
}

static uint32_t host_thread_count(void) {
    cpu_set_t set;
    if (atomic_load_explicit(&forked, memory_order_relaxed))
        return 1;
    int cores = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return (uint32_t)rl_env_int(RL_ENV_THREADS, 1, 1024, cores < 1024 ? cores : 1024);
}

static void *host_scratch(size_t bytes) {
    host_thread *self = this_thread();
    if (self == NULL)
        return NULL;
    if (bytes > self->scratch_bytes) {
        rl_error_state saved;
        rl_error_push(&saved);
        void *grown = rl_alloc_aligned(bytes, "scratch memory of a backend");
        rl_error_pop(&saved, NULL);
        if (grown == NULL)
            return NULL;
        rl_free(self->scratch);
        self->scratch = grown;
        self->scratch_bytes = bytes;
    }
    return self->scratch ? self->scratch : host_scratch(64);
}

_Thread_local const char *rl_host_op = "";

static const char *host_op(void) {
    return rl_host_op;
}

const rl_host rl_host_table = {.size = sizeof(rl_host),
                               .abi = RL_ABI_VERSION,
                               .fail = host_fail,
                               .log = host_log,
                               .thread_count = host_thread_count,
                               .scratch = host_scratch,
                               .cache_get = rl_cache_get,
                               .cache_put = rl_cache_put,
                               .op = host_op};
