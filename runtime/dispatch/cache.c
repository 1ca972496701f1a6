/* SPDX-License-Identifier: Apache-2.0 */
#include "dispatch/cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/env.h"
#include "base/text.h"

#define NAME_LENGTH 16     /* of an entry's file: the hash in hexadecimal digits */
#define STALE_SECONDS 3600 /* a file that a writer left behind */

static uint64_t hash_bytes(const void *data, size_t bytes) { /* FNV-1a */
    uint64_t hash = 0xcbf29ce484222325u;
    for (const unsigned char *at = data, *end = at + bytes; at < end; at++)
        hash = (hash ^ *at) * 0x100000001b3u;
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

/* An entry's file: the key with its end, the checksum of the data, the data. */
static FILE *open_entry(const char *key, size_t *out_bytes) {
    rl_text path = {0};
    struct stat info;
    size_t head = strlen(key) + 1 + sizeof(uint64_t);
    int fd = -1;
    if (cache_folder(&path)) {
        rl_text_add(&path, "/%016llx", (unsigned long long)hash_bytes(key, strlen(key)));
        fd = path.failed ? -1 : open(path.data, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    }
    rl_text_free(&path);
    if (fd < 0)
        return NULL;
    bool ours = fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && info.st_uid == geteuid() &&
                (info.st_mode & (S_IWGRP | S_IWOTH)) == 0 && (size_t)info.st_size >= head;
    FILE *file = ours ? fdopen(fd, "rb") : NULL;
    if (!file) {
        close(fd);
        return NULL;
    }
    *out_bytes = (size_t)info.st_size - head;
    return file;
}

static bool read_head(FILE *file, const char *key, uint64_t *out_checksum) {
    size_t length = strlen(key) + 1;
    char *text = malloc(length);
    bool same = text && fread(text, 1, length, file) == length && memcmp(text, key, length) == 0 &&
                fread(out_checksum, sizeof *out_checksum, 1, file) == 1;
    free(text);
    return same;
}

rl_status rl_cache_get(const char *key, void *data, size_t *bytes) {
    size_t room = *bytes, whole = 0;
    uint64_t checksum = 0;
    *bytes = 0;
    FILE *file = open_entry(key, &whole);
    if (!file)
        return RL_NOT_FOUND;
    size_t part = whole < room ? whole : room;
    bool good = read_head(file, key, &checksum) && (part == 0 || (data && fread(data, 1, part, file) == part));
    if (good && part == whole) {
        good = hash_bytes(data, part) == checksum;
        futimens(fileno(file), NULL); /* read now: it stays longer */
    }
    fclose(file);
    if (good)
        *bytes = whole;
    return good ? RL_OK : RL_NOT_FOUND;
}

static bool write_entry(FILE *file, const char *key, const void *data, size_t bytes) {
    uint64_t checksum = hash_bytes(data, bytes);
    size_t length = strlen(key) + 1;
    return fwrite(key, 1, length, file) == length && fwrite(&checksum, sizeof checksum, 1, file) == 1 &&
           (bytes == 0 || fwrite(data, 1, bytes, file) == bytes);
}

rl_status rl_cache_put(const char *key, const void *data, size_t bytes) {
    rl_text path = {0}, temporary = {0};
    rl_status status = RL_IO_ERROR;
    if (cache_folder(&path) && make_folders(path.data)) {
        rl_text_add(&path, "/%016llx", (unsigned long long)hash_bytes(key, strlen(key)));
        rl_text_add(&temporary, "%s.%ld.XXXXXX", path.data, (long)getpid());
    }
    int fd = temporary.data && !path.failed && !temporary.failed ? mkostemp(temporary.data, O_CLOEXEC) : -1;
    FILE *file = fd >= 0 ? fdopen(fd, "wb") : NULL;
    if (file) {
        bool written = write_entry(file, key, data, bytes);
        written = fclose(file) == 0 && written;
        if (written && rename(temporary.data, path.data) == 0)
            status = RL_OK;
        else
            unlink(temporary.data);
    } else if (fd >= 0) {
        close(fd);
        unlink(temporary.data);
    }
    rl_text_free(&path);
    rl_text_free(&temporary);
    if (status == RL_OK)
        rl_cache_trim(RL_CACHE_BYTES);
    return status;
}

/* Trimming ------------------------------------------------------------------------------------------------------- */

typedef struct cache_file {
    char name[NAME_LENGTH + 1];
    struct timespec used;
    uint64_t bytes;
} cache_file;

typedef struct cache_files {
    cache_file *files;
    size_t n, room;
    uint64_t bytes;
} cache_files;

static int by_use(const void *a, const void *b) {
    const struct timespec *x = &((const cache_file *)a)->used, *y = &((const cache_file *)b)->used;
    if (x->tv_sec != y->tv_sec)
        return x->tv_sec < y->tv_sec ? -1 : 1;
    return x->tv_nsec < y->tv_nsec ? -1 : x->tv_nsec > y->tv_nsec;
}

static void add_file(cache_files *self, const char *name, const struct stat *info) {
    if (self->n == self->room) {
        size_t room = 2 * self->room + 64;
        cache_file *grown = realloc(self->files, room * sizeof *grown);
        if (!grown)
            return;
        self->files = grown;
        self->room = room;
    }
    cache_file *file = &self->files[self->n++];
    memcpy(file->name, name, NAME_LENGTH + 1);
    file->used = info->st_mtim;
    file->bytes = (uint64_t)info->st_size;
    self->bytes += file->bytes;
}

/* Entries, by their names; what a writer left behind long ago is removed. */
static void list_files(DIR *folder, cache_files *out) {
    for (struct dirent *at = readdir(folder); at; at = readdir(folder)) {
        struct stat info;
        size_t digits = strspn(at->d_name, "0123456789abcdef");
        if (digits != NAME_LENGTH || fstatat(dirfd(folder), at->d_name, &info, AT_SYMLINK_NOFOLLOW) ||
            !S_ISREG(info.st_mode))
            continue;
        if (at->d_name[NAME_LENGTH] == '\0')
            add_file(out, at->d_name, &info);
        else if (at->d_name[NAME_LENGTH] == '.' && info.st_mtime < time(NULL) - STALE_SECONDS)
            unlinkat(dirfd(folder), at->d_name, 0);
    }
}

void rl_cache_trim(uint64_t most) {
    rl_text path = {0};
    cache_files all = {0};
    DIR *folder = cache_folder(&path) ? opendir(path.data) : NULL;
    if (folder) {
        list_files(folder, &all);
        if (all.bytes > most && all.n)
            qsort(all.files, all.n, sizeof *all.files, by_use);
        for (size_t i = 0; i < all.n && all.bytes > most; i++)
            if (unlinkat(dirfd(folder), all.files[i].name, 0) == 0 || errno == ENOENT)
                all.bytes -= all.files[i].bytes;
        closedir(folder);
    }
    free(all.files);
    rl_text_free(&path);
}
