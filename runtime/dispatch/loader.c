/* SPDX-License-Identifier: Apache-2.0 */
/* Finding backends: where is looked, what a candidate must be before it is opened, and opening it. */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/env.h"
#include "dispatch/elf.h"
#include "dispatch/registry.h"

static const char name_start[] = "rushlight_backend_", name_end[] = ".so";

/* "sim" of "/some/where/rushlight_backend_sim.so"; else the file's own name. */
static void name_of(const char *path, char *name, size_t room) {
    const char *file = strrchr(path, '/');
    file = file ? file + 1 : path;
    size_t length = strlen(file), start = sizeof name_start - 1, end = sizeof name_end - 1;
    if (length > start + end && strncmp(file, name_start, start) == 0 && strcmp(file + length - end, name_end) == 0) {
        file += start;
        length -= start + end;
    }
    snprintf(name, room, "%.*s", (int)(length < room ? length : room - 1), file);
}

static bool matches(const char *file) {
    size_t length = strlen(file), start = sizeof name_start - 1, end = sizeof name_end - 1;
    return length > start + end && strncmp(file, name_start, start) == 0 && strcmp(file + length - end, name_end) == 0;
}

/* What a candidate must be ------------------------------------------------------------------------------------------
 */

/* Writable by everybody, or owned by somebody else: others could put their code into this process. */
static const char *distrust(const struct stat *info, const char **out_hint) {
    if (info->st_uid != 0 && info->st_uid != geteuid()) {
        *out_hint = "make it yours, or root's: chown";
        return "is owned by another user";
    }
    *out_hint = "chmod o-w";
    return info->st_mode & S_IWOTH ? "is writable by everybody" : NULL;
}

/* Why a file is not opened. */
typedef struct refusal {
    rl_status status; /* RL_OK: nothing speaks against it */
    const char *hint;
    char sentence[256];
} refusal;

static refusal refuse(rl_status status, const char *hint, const char *format, ...) RL_PRINTF_(3, 4);
static refusal refuse(rl_status status, const char *hint, const char *format, ...) {
    refusal made = {.status = status, .hint = hint};
    va_list args;
    va_start(args, format);
    vsnprintf(made.sentence, sizeof made.sentence, format, args);
    va_end(args);
    return made;
}

static refusal examine_file(const char *path) {
    struct stat info;
    const char *complaint, *hint;
    refusal result = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not hang us */
    if (fd < 0 || fstat(fd, &info) != 0)
        result = refuse(errno == ENOENT ? RL_NOT_FOUND : RL_IO_ERROR, "", "it cannot be opened: %s", strerror(errno));
    else if (!S_ISREG(info.st_mode))
        result = refuse(RL_BAD_FORMAT, "", "it is no regular file");
    else if ((complaint = distrust(&info, &hint)) != NULL)
        result = refuse(RL_INVALID_ARGUMENT, hint, "it %s", complaint);
    else if ((complaint = rl_elf_complaint(fd, (uint64_t)info.st_size)) != NULL)
        result = refuse(RL_BAD_FORMAT, "build or copy it again", "%s", complaint);
    if (fd >= 0)
        close(fd);
    return result;
}

/* The folder that a file lies in must be trusted too: its files can be replaced. */
static refusal examine_folder(const char *path) {
    char folder[PATH_MAX];
    struct stat info;
    const char *slash = strrchr(path, '/');
    size_t length = slash == path ? 1 : (size_t)(slash - path);
    memcpy(folder, path, length);
    folder[length] = '\0';
    const char *hint = "", *complaint = stat(folder, &info) == 0 ? distrust(&info, &hint) : NULL;
    if (complaint && (info.st_mode & S_ISVTX) && (info.st_uid == 0 || info.st_uid == geteuid()))
        complaint = NULL; /* as /tmp: others cannot replace files in it */
    return complaint ? refuse(RL_INVALID_ARGUMENT, hint, "its folder %s", complaint) : (refusal){0};
}

/* All that can be known of a file before it is opened; `absolute` has room for PATH_MAX and gets where it is, or "". */
static refusal examine(const char *path, char *absolute) {
    *absolute = '\0';
    if (strlen(path) >= PATH_MAX)
        return refuse(RL_NOT_FOUND, "", "it cannot be found: its name is longer than a path can be");
    if (realpath(path, absolute) == NULL) {
        *absolute = '\0';
        return refuse(RL_NOT_FOUND, "", "it cannot be found: %s", strerror(errno));
    }
    refusal of_folder = examine_folder(absolute);
    return of_folder.status ? of_folder : examine_file(absolute);
}

rl_status rl_backend_examine(const char *path) {
    char absolute[PATH_MAX];
    if (rl_failed())
        return rl_error_status();
    if (path == NULL)
        return rl_fail(RL_INVALID_ARGUMENT, "backend_examine: path is NULL");
    refusal result = examine(path, absolute);
    if (result.status == RL_OK)
        return RL_OK;
    return rl_fail(result.status, "%.200s: %s%s%s", path, result.sentence, *result.hint ? "; " : "", result.hint);
}

/* Opening -----------------------------------------------------------------------------------------------------------
 */

static bool query(size_t record, void *library) {
    rl_backend_query_fn function;
    const rl_backend *table = NULL;
    *(void **)&function = dlsym(library, RL_BACKEND_QUERY_SYMBOL);
    if (function == NULL) {
        rl_report_fail(record, RL_BAD_FORMAT, "is it a backend of Rushlight?", "it has no symbol %s",
                       RL_BACKEND_QUERY_SYMBOL);
        return false;
    }
    rl_report_pass(record, RL_LOAD_SYMBOL);
    rl_host_sentence();
    rl_status status = (rl_status)function(RL_ABI_VERSION, &rl_host_table, &table);
    const char *sentence = rl_host_sentence();
    const char *hint = status == RL_ABI_MISMATCH ? "build it against this version of Rushlight" : "";
    if (status == RL_OK && table == NULL)
        rl_report_fail(record, RL_INTERNAL, hint, "its query gives no table");
    else if (status != RL_OK && *sentence)
        rl_report_fail(record, status, hint, "%s", sentence);
    else if (status != RL_OK)
        rl_report_fail(record, status, hint, "its query fails with status %d and gives no reason", (int)status);
    if (status != RL_OK || table == NULL)
        return false;
    return rl_registry_admit(table, library, record);
}

/* Loads what passed the checks. path is absolute. */
static void open_library(size_t record, const char *path) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        rl_report_fail(record, RL_NOT_FOUND, "install what is missing", "%s", dlerror());
        return;
    }
    rl_report_pass(record, RL_LOAD_DLOPEN);
    if (!query(record, library))
        dlclose(library);
}

size_t rl_loader_try(const char *path) {
    char name[64], absolute[PATH_MAX];
    name_of(path, name, sizeof name);
    refusal result = examine(path, absolute);
    size_t record = rl_report_add(name, *absolute ? absolute : path);
    if (record == SIZE_MAX)
        return record;
    if (result.status != RL_OK)
        rl_report_fail(record, result.status, result.hint, "%s", result.sentence);
    else
        open_library(record, absolute);
    return record;
}

/* Searching ---------------------------------------------------------------------------------------------------------
 */

static int by_name(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int select_backend(const struct dirent *entry) {
    return matches(entry->d_name);
}

/* The backends of a folder, in alphabetical order. False where there is no such folder. */
static bool try_folder(const char *folder) {
    struct dirent **entries;
    int count = scandir(folder, &entries, select_backend, by_name);
    for (int i = 0; i < count; i++) {
        rl_text path = {0};
        rl_text_add(&path, "%s/%s", folder, entries[i]->d_name);
        if (!path.failed)
            rl_loader_try(path.data);
        rl_text_free(&path);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
    return count >= 0;
}

/* An entry of RUSHLIGHT_BACKEND_PATH: a folder, or anything else as a file. Relative ones are not taken: what the
 * current directory holds must never be loaded. */
static void try_entry(const char *entry) {
    struct stat info;
    if (*entry != '/') {
        size_t record = rl_report_add(entry, entry);
        if (record != SIZE_MAX)
            rl_report_fail(record, RL_INVALID_ARGUMENT, "name it from the root on",
                           "an entry of RUSHLIGHT_BACKEND_PATH must begin with '/'");
    } else if (stat(entry, &info) != 0 || !S_ISDIR(info.st_mode) || !try_folder(entry)) {
        rl_loader_try(entry);
    }
}

static void try_path_variable(const char *value) {
    while (value && *value) {
        const char *colon = strchrnul(value, ':');
        char *entry = strndup(value, (size_t)(colon - value));
        if (entry && *entry)
            try_entry(entry);
        free(entry);
        value = *colon ? colon + 1 : colon;
    }
}

/* The folder of this library (of the program, where it is linked in) and `rushlight` in it; else the installed one. */
static void try_beside(void) {
    Dl_info info;
    char path[PATH_MAX], folder[PATH_MAX + 16];
    void *here;
    *(void (**)(void)) & here = try_beside;
    bool found = dladdr(here, &info) != 0 && info.dli_fname && realpath(info.dli_fname, path);
    if (found) {
        *strrchr(path, '/') = '\0';
        snprintf(folder, sizeof folder, "%s/rushlight", path);
        try_folder(path);
        found = try_folder(folder);
    }
    if (!found)
        try_folder(RUSHLIGHT_BACKEND_DIR);
}

void rl_loader_search(void) {
    rl_error_state saved;
    rl_error_push(&saved);
    try_path_variable(rl_env_get(RL_ENV_BACKEND_PATH));
    try_beside();
    rl_error_pop(&saved, NULL);
}
