/* SPDX-License-Identifier: Apache-2.0 */
/* What a backend sees of the host: messages, threads, scratch memory, the kernel cache. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/env.h"
#include "dispatch/registry.h"

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

/* The kernel cache: a file an entry, named by a hash of its key; the key itself stands first in it. -------------------
 */

static uint64_t hash_text(const char *text) { /* FNV-1a */
    uint64_t hash = 0xcbf29ce484222325u;
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 0x100000001b3u;
    return hash;
}

/* The folder of the cache, without a trailing slash; false where there is none. */
static bool cache_folder(rl_text *out) {
    const char *given = rl_env_get(RL_ENV_CACHE), *xdg = secure_getenv("XDG_CACHE_HOME"), *home = secure_getenv("HOME");
    if (given)
        rl_text_add(out, "%s", given);
    else if (xdg && *xdg == '/')
        rl_text_add(out, "%s/rushlight", xdg);
    else if (home && *home == '/')
        rl_text_add(out, "%s/.cache/rushlight", home);
    return out->data && !out->failed;
}

static bool make_folders(char *path) {
    for (char *at = path + 1; *at; at++) {
        if (*at == '/') {
            *at = '\0';
            mkdir(path, 0700);
            *at = '/';
        }
    }
    return mkdir(path, 0700) == 0 || errno == EEXIST;
}

static FILE *cache_open(const char *entry, bool write, char *final, char *temporary, size_t room) {
    rl_text folder = {0};
    FILE *file = NULL;
    if (cache_folder(&folder) && (!write || make_folders(folder.data))) {
        snprintf(final, room, "%s/%016llx", folder.data, (unsigned long long)hash_text(entry));
        snprintf(temporary, room, "%s.%ld.XXXXXX", final, (long)getpid());
        int fd = write ? mkostemp(temporary, O_CLOEXEC) : open(final, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        file = fd >= 0 ? fdopen(fd, write ? "wb" : "rb") : NULL;
        if (fd >= 0 && file == NULL)
            close(fd);
    }
    rl_text_free(&folder);
    return file;
}

static rl_status host_cache_get(const char *entry, void *data, size_t *bytes) {
    char final[4096], temporary[4096];
    FILE *file = cache_open(entry, false, final, temporary, sizeof final);
    rl_status status = RL_NOT_FOUND;
    size_t length = strlen(entry) + 1, room = *bytes;
    *bytes = 0;
    if (file == NULL)
        return RL_NOT_FOUND;
    char *key_text = malloc(length);
    struct stat info;
    if (key_text && fstat(fileno(file), &info) == 0 && (size_t)info.st_size >= length &&
        fread(key_text, 1, length, file) == length && memcmp(key_text, entry, length) == 0) {
        size_t whole = (size_t)info.st_size - length, part = whole < room ? whole : room;
        if (part == 0 || (data && fread(data, 1, part, file) == part)) {
            *bytes = whole;
            status = RL_OK;
        }
    }
    free(key_text);
    fclose(file);
    return status;
}

static rl_status host_cache_put(const char *entry, const void *data, size_t bytes) {
    char final[4096], temporary[4096];
    size_t length = strlen(entry) + 1;
    FILE *file = cache_open(entry, true, final, temporary, sizeof final);
    if (file == NULL)
        return RL_IO_ERROR;
    bool written = fwrite(entry, 1, length, file) == length && fwrite(data, 1, bytes, file) == bytes;
    written = fclose(file) == 0 && written;
    if (written && rename(temporary, final) == 0)
        return RL_OK;
    unlink(temporary);
    return RL_IO_ERROR;
}

const rl_host rl_host_table = {.size = sizeof(rl_host),
                               .abi = RL_ABI_VERSION,
                               .fail = host_fail,
                               .log = host_log,
                               .thread_count = host_thread_count,
                               .scratch = host_scratch,
                               .cache_get = host_cache_get,
                               .cache_put = host_cache_put};
