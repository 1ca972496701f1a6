/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "io/safetensors.h"
#include "tensor/tensor.h"

static const char function[] = "safetensors_save";

static int compare_names(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static rl_status check_names(const char *const *names, rl_tensors tensors) {
    for (int64_t i = 0; i < tensors.count; i++) {
        if (tensors.data[i] == NULL)
            return rl_fail(RL_INVALID_ARGUMENT, "%s: tensor %lld is NULL", function, (long long)i);
        if (names[i] == NULL || *names[i] == '\0' || !rl_text_is_utf8(names[i]) ||
            strcmp(names[i], "__metadata__") == 0)
            return rl_fail(RL_INVALID_ARGUMENT, "%s: name %lld must be UTF-8, not empty and not \"__metadata__\"",
                           function, (long long)i);
    }
    const char **sorted = rl_alloc_zero((size_t)tensors.count + 1, sizeof *sorted, "names of tensors");
    if (sorted == NULL)
        return rl_error_status();
    if (tensors.count > 0) {
        memcpy(sorted, names, sizeof *sorted * (size_t)tensors.count);
        qsort(sorted, (size_t)tensors.count, sizeof *sorted, compare_names);
    }
    rl_status status = RL_OK;
    for (int64_t i = 1; i < tensors.count && status == RL_OK; i++) {
        if (strcmp(sorted[i - 1], sorted[i]) == 0)
            status = rl_fail(RL_INVALID_ARGUMENT, "%s: the name '%s' is given twice", function, sorted[i]);
    }
    rl_free((void *)sorted);
    return status;
}

static rl_status check_metadata(const rl_metadata *metadata, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        if (metadata[i].key == NULL || metadata[i].value == NULL || !rl_text_is_utf8(metadata[i].key) ||
            !rl_text_is_utf8(metadata[i].value))
            return rl_fail(RL_INVALID_ARGUMENT, "%s: metadata %lld must be two UTF-8 strings", function, (long long)i);
    }
    return RL_OK;
}

/* The header -------------------------------------------------------------------------------------------------------
 */

static size_t bytes_of(const rl_tensor *tensor) {
    return (size_t)tensor->numel * rl_dtype_size((rl_dtype)tensor->dtype);
}

/* Wide elements come first, so that all are aligned in the file. Calls visit in that order until one fails. */
static rl_status visit_by_width(rl_tensors tensors, rl_status (*visit)(void *context, int64_t number), void *context) {
    rl_status status = RL_OK;
    for (size_t width = 8; width > 0; width /= 2) {
        for (int64_t i = 0; i < tensors.count && status == RL_OK; i++) {
            if (rl_dtype_size((rl_dtype)tensors.data[i]->dtype) == width)
                status = visit(context, i);
        }
    }
    return status;
}

typedef struct header_writer {
    const char *const *names;
    rl_tensors tensors;
    rl_text text;
    uint64_t at;
} header_writer;

static rl_status add_entry(void *context, int64_t number) {
    header_writer *self = context;
    const rl_tensor *tensor = self->tensors.data[number];
    rl_text *text = &self->text;
    rl_text_add(text, text->length > 1 ? "," : "");
    rl_text_add_json(text, self->names[number]);
    rl_text_add(text, ":{\"dtype\":\"%s\",\"shape\":[", safetensors_dtype_name((rl_dtype)tensor->dtype));
    for (int d = 0; d < tensor->ndim; d++)
        rl_text_add(text, "%s%lld", d ? "," : "", (long long)tensor->shape[d]);
    uint64_t end = self->at + bytes_of(tensor);
    rl_text_add(text, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)self->at, (unsigned long long)end);
    self->at = end;
    return RL_OK;
}

/* The first eight bytes and the header, padded so that the data begin at a multiple of 8. free() it. */
static char *make_header(const char *const *names, rl_tensors tensors, const rl_metadata *metadata, int64_t n_metadata,
                         size_t *out_length) {
    header_writer writer = {.names = names, .tensors = tensors};
    rl_text whole = {0};
    rl_text_add(&writer.text, "{");
    for (int64_t i = 0; i < n_metadata; i++) {
        rl_text_add(&writer.text, i ? "," : "\"__metadata__\":{");
        rl_text_add_json(&writer.text, metadata[i].key);
        rl_text_add(&writer.text, ":");
        rl_text_add_json(&writer.text, metadata[i].value);
    }
    if (n_metadata > 0)
        rl_text_add(&writer.text, "}");
    visit_by_width(tensors, add_entry, &writer);
    rl_text_add(&writer.text, "}");
    while (writer.text.length % 8 && !writer.text.failed)
        rl_text_add(&writer.text, " ");
    char length[8];
    for (int i = 0; i < 8; i++)
        length[i] = (char)((uint64_t)writer.text.length >> 8 * i & 0xff);
    rl_text_add_bytes(&whole, length, sizeof length);
    if (writer.text.data)
        rl_text_add_bytes(&whole, writer.text.data, writer.text.length);
    whole.failed |= writer.text.failed;
    *out_length = whole.length;
    rl_text_free(&writer.text);
    return rl_text_take(&whole);
}

/* The file ---------------------------------------------------------------------------------------------------------
 */

typedef struct file_writer {
    const char *target;
    char *path; /* of the temporary file */
    int fd;
    rl_tensors tensors;
} file_writer;

static rl_status io_error(const file_writer *self, const char *doing) {
    return rl_fail(RL_IO_ERROR, "%s: %s: %s: %s", function, self->target, doing, strerror(errno));
}

static rl_status write_all(const file_writer *self, const void *data, size_t bytes) {
    for (size_t done = 0; done < bytes;) {
        ssize_t wrote = write(self->fd, (const char *)data + done, bytes - done);
        if (wrote < 0 && errno != EINTR)
            return io_error(self, "writing");
        done += wrote > 0 ? (size_t)wrote : 0;
    }
    return RL_OK;
}

static rl_status write_tensor(void *context, int64_t number) {
    const file_writer *self = context;
    const rl_tensor *tensor = self->tensors.data[number];
    size_t bytes = bytes_of(tensor);
    void *data = rl_alloc(bytes, "data for a file");
    if (data == NULL)
        return rl_error_status();
    rl_status status = rl_tensor_read(tensor, data, bytes);
    if (status == RL_OK)
        status = write_all(self, data, bytes);
    rl_free(data);
    return status;
}

/* A new file beside the target, with the permissions that the target has or would get. */
static rl_status create_beside(file_writer *self) {
    static _Atomic(unsigned) serial;
    struct stat info;
    bool there = stat(self->target, &info) == 0;
    if (there && !S_ISREG(info.st_mode))
        return rl_fail(RL_IO_ERROR, "%s: %s is no regular file", function, self->target);
    do { /* a name that a killed process left is passed over */
        rl_text path = {0};
        free(self->path);
        rl_text_add(&path, "%s.%ld-%u.tmp", self->target, (long)getpid(), serial++);
        self->path = rl_text_take(&path);
        if (self->path == NULL)
            return rl_error_status();
        self->fd = open(self->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    } while (self->fd < 0 && errno == EEXIST);
    if (self->fd < 0)
        return io_error(self, "creating a file beside it");
    if (there && fchmod(self->fd, info.st_mode & 07777) != 0)
        return io_error(self, "setting its permissions");
    return RL_OK;
}

/* The rename itself is on the disk only once the folder is. */
static rl_status sync_folder(const file_writer *self) {
    char folder[PATH_MAX];
    const char *slash = strrchr(self->target, '/');
    size_t length = slash ? (size_t)(slash - self->target) + 1 : 1;
    if (length >= sizeof folder)
        return RL_OK; /* the file could not have been opened */
    memcpy(folder, slash ? self->target : ".", length);
    folder[length] = '\0';
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return io_error(self, "opening its folder");
    bool synced = fsync(fd) == 0 || errno == EINVAL; /* some file systems cannot */
    rl_status status = synced ? RL_OK : io_error(self, "bringing its folder to the disk");
    close(fd);
    return status;
}

static rl_status write_file(file_writer *self, const char *header, size_t length) {
    rl_status status = create_beside(self);
    if (status == RL_OK)
        status = write_all(self, header, length);
    if (status == RL_OK)
        status = visit_by_width(self->tensors, write_tensor, self);
    if (status == RL_OK && fsync(self->fd) != 0)
        status = io_error(self, "bringing it to the disk");
    if (self->fd >= 0 && close(self->fd) != 0 && status == RL_OK)
        status = io_error(self, "closing");
    if (status == RL_OK && rename(self->path, self->target) != 0)
        status = io_error(self, "renaming");
    if (status == RL_OK)
        return sync_folder(self);
    if (self->fd >= 0)
        unlink(self->path);
    return status;
}

/* A link is followed: the file it points to is replaced, not the link. */
static file_writer writer_for(const char *path, char *resolved, rl_tensors tensors) {
    return (file_writer){.target = realpath(path, resolved) ? resolved : path, .fd = -1, .tensors = tensors};
}

static rl_status check_path(const char *path) {
    if (rl_failed())
        return rl_error_status();
    if (path == NULL || *path == '\0')
        return rl_fail(RL_INVALID_ARGUMENT, "%s: path is %s", function, path ? "empty" : "NULL");
    return RL_OK;
}

rl_status rl_safetensors_can_save(const char *path) {
    char resolved[PATH_MAX];
    if (check_path(path) != RL_OK)
        return rl_error_status();
    file_writer writer = writer_for(path, resolved, (rl_tensors){0});
    rl_status status = create_beside(&writer);
    if (writer.fd >= 0) {
        close(writer.fd);
        unlink(writer.path);
    }
    free(writer.path);
    return status;
}

rl_status rl_safetensors_save(const char *path, const char *const *names, rl_tensors tensors,
                              const rl_metadata *metadata, int64_t n_metadata) {
    char resolved[PATH_MAX];
    size_t length;
    if (check_path(path) != RL_OK)
        return rl_error_status();
    if (tensors.count < 0 || (tensors.count > 0 && (tensors.data == NULL || names == NULL)) || n_metadata < 0 ||
        (n_metadata > 0 && metadata == NULL))
        return rl_fail(RL_INVALID_ARGUMENT, "%s: names, tensors or metadata are missing", function);
    if (check_names(names, tensors) != RL_OK || check_metadata(metadata, n_metadata) != RL_OK)
        return rl_error_status();
    char *header = make_header(names, tensors, metadata, n_metadata, &length);
    if (header == NULL)
        return rl_error_status();
    file_writer writer = writer_for(path, resolved, tensors);
    rl_status status = write_file(&writer, header, length);
    free(writer.path);
    free(header);
    return status;
}
