/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/sized.h"
#include "io/safetensors.h"
#include "tensor/tensor.h"

static void destroy(rl_object *object) {
    rl_safetensors *self = (rl_safetensors *)object;
    for (int64_t i = 0; i < self->n_entries; i++)
        rl_free(self->entries[i].name);
    for (int64_t i = 0; i < self->n_metadata; i++) {
        rl_free(self->metadata[i].key);
        rl_free(self->metadata[i].value);
    }
    rl_free(self->entries);
    rl_free(self->by_name);
    rl_free(self->metadata);
    rl_free(self->path);
    if (self->fd >= 0)
        close(self->fd);
    rl_free(self);
}
static const rl_object_class klass = {"safetensors", destroy};

/* All of [at, at + bytes), or an error that names `function`. */
static rl_status read_at(const rl_safetensors *self, const char *function, void *data, uint64_t bytes, uint64_t at) {
    for (uint64_t done = 0; done < bytes;) {
        ssize_t got = pread(self->fd, (char *)data + done, bytes - done, (off_t)(at + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return rl_fail(RL_IO_ERROR, "%s: %s: %s", function, self->path, strerror(errno));
        if (got == 0)
            return rl_fail(RL_IO_ERROR, "%s: %s became shorter while it was read", function, self->path);
        done += (uint64_t)got;
    }
    return RL_OK;
}

static rl_status open_file(rl_safetensors *self, uint64_t *out_size) {
    struct stat info;
    self->fd = open(self->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not hang us */
    if (self->fd < 0)
        return rl_fail(errno == ENOENT ? RL_NOT_FOUND : RL_IO_ERROR, "safetensors_open: %s: %s", self->path,
                       strerror(errno));
    if (fstat(self->fd, &info) != 0)
        return rl_fail(RL_IO_ERROR, "safetensors_open: %s: %s", self->path, strerror(errno));
    if (!S_ISREG(info.st_mode))
        return rl_fail(RL_IO_ERROR, "safetensors_open: %s is no regular file", self->path);
    *out_size = (uint64_t)info.st_size;
    return RL_OK;
}

static rl_status read_header(rl_safetensors *self, uint64_t size) {
    unsigned char length_bytes[8];
    uint64_t length = 0;
    if (size < sizeof length_bytes)
        return rl_fail(RL_BAD_FORMAT, "safetensors_open: %s has %llu bytes, not even the length of a header",
                       self->path, (unsigned long long)size);
    if (read_at(self, "safetensors_open", length_bytes, sizeof length_bytes, 0) != RL_OK)
        return rl_error_status();
    for (int i = 7; i >= 0; i--)
        length = length << 8 | length_bytes[i];
    if (length > size - sizeof length_bytes || length > HEADER_MOST)
        return rl_fail(RL_BAD_FORMAT, "safetensors_open: %s: a header of %llu bytes; at most %llu are possible",
                       self->path, (unsigned long long)length,
                       (unsigned long long)(size - 8 < HEADER_MOST ? size - 8 : HEADER_MOST));
    self->data_start = sizeof length_bytes + length;
    self->data_bytes = size - self->data_start;
    char *header = rl_alloc(length + 1, "header of a file");
    if (header == NULL)
        return rl_error_status();
    rl_status status = read_at(self, "safetensors_open", header, length, sizeof length_bytes);
    header[length] = '\0';
    if (status == RL_OK)
        status = safetensors_parse(self, header, (size_t)length);
    rl_free(header);
    return status;
}

rl_safetensors *rl_safetensors_open(const char *path) {
    uint64_t size = 0;
    if (rl_failed())
        return NULL;
    if (path == NULL || *path == '\0')
        return rl_fail_null(RL_INVALID_ARGUMENT, "safetensors_open: path is %s", path ? "empty" : "NULL");
    rl_safetensors *self = rl_alloc_zero(1, sizeof *self, "safetensors file");
    if (self == NULL)
        return NULL;
    rl_object_init(&self->object, &klass);
    self->fd = -1;
    self->path = rl_strdup(path, "path of a file");
    if (self->path == NULL || open_file(self, &size) != RL_OK || read_header(self, size) != RL_OK) {
        rl_release(self);
        return NULL;
    }
    return rl_object_own(self);
}

int64_t rl_safetensors_count(const rl_safetensors *self) {
    return self ? self->n_entries : 0;
}

bool rl_safetensors_describe(const rl_safetensors *self, int64_t number, rl_safetensors_entry *out_entry) {
    if (self == NULL || number < 0 || number >= self->n_entries)
        return false;
    const file_entry *entry = &self->entries[number];
    rl_safetensors_entry full = {0, entry->name, entry->dtype, entry->ndim, entry->shape};
    return rl_sized_fill("safetensors_describe", out_entry, &full, sizeof full) == RL_OK;
}

static int compare_name(const void *name, const void *entry) {
    return strcmp(name, (*(file_entry *const *)entry)->name);
}

int64_t rl_safetensors_find(const rl_safetensors *self, const char *name) {
    if (self == NULL || name == NULL)
        return -1;
    file_entry **found = bsearch(name, self->by_name, (size_t)self->n_entries, sizeof *found, compare_name);
    return found ? *found - self->entries : -1;
}

/* The bytes of a tensor of the file, to be freed by the caller; *out_bytes has their number. */
static void *load_bytes(const char *function, rl_safetensors *self, int64_t number, size_t *out_bytes) {
    if (rl_failed())
        return NULL;
    if (self == NULL)
        return rl_fail_null(RL_INVALID_ARGUMENT, "%s: self is NULL", function);
    if (number < 0 || number >= self->n_entries)
        return rl_fail_null(RL_INDEX_OUT_OF_RANGE, "%s: number %lld, but %s holds %lld tensors", function,
                            (long long)number, self->path, (long long)self->n_entries);
    const file_entry *entry = &self->entries[number];
    *out_bytes = (size_t)(entry->end - entry->begin);
    unsigned char *data = rl_alloc(*out_bytes, "data of a file");
    if (data && read_at(self, function, data, *out_bytes, self->data_start + entry->begin) != RL_OK) {
        rl_free(data);
        return NULL;
    }
    for (size_t i = 0; data && entry->dtype == RL_BOOL && i < *out_bytes; i++)
        data[i] = data[i] != 0; /* a bool of ours is 0 or 1 */
    return data;
}

rl_tensor *rl_safetensors_load(rl_safetensors *self, int64_t number, rl_device *device) {
    size_t bytes;
    void *data = load_bytes("safetensors_load", self, number, &bytes);
    if (data == NULL)
        return NULL;
    const file_entry *entry = &self->entries[number];
    rl_tensor *made = rl_tensor_from_data(data, (rl_ints){entry->shape, entry->ndim}, entry->dtype, device);
    rl_free(data);
    return made;
}

rl_status rl_safetensors_load_into(rl_safetensors *self, int64_t number, rl_tensor *target) {
    static const char function[] = "safetensors_load_into";
    char have[RL_SHAPE_TEXT], want[RL_SHAPE_TEXT];
    size_t bytes;
    if (!rl_failed() && target == NULL)
        return rl_fail(RL_INVALID_ARGUMENT, "%s: target is NULL", function);
    void *data = load_bytes(function, self, number, &bytes);
    if (data == NULL)
        return rl_error_status();
    const file_entry *entry = &self->entries[number];
    rl_status status;
    if (entry->ndim != target->ndim || memcmp(entry->shape, target->shape, sizeof(int64_t) * target->ndim) != 0)
        status =
            rl_fail(RL_SHAPE_MISMATCH, "%s: '%s' is %s in the file and %s in target", function, entry->name,
                    rl_shape_text(entry->ndim, entry->shape, have), rl_shape_text(target->ndim, target->shape, want));
    else if (entry->dtype != (rl_dtype)target->dtype)
        status = rl_fail(RL_DTYPE_MISMATCH, "%s: '%s' is %s in the file and %s in target", function, entry->name,
                         rl_dtype_name(entry->dtype), rl_dtype_name((rl_dtype)target->dtype));
    else
        status = rl_tensor_write(target, data, bytes);
    rl_free(data);
    return status;
}

int64_t rl_safetensors_metadata_count(const rl_safetensors *self) {
    return self ? self->n_metadata : 0;
}

bool rl_safetensors_metadata_get(const rl_safetensors *self, int64_t number, rl_metadata *out_line) {
    if (self == NULL || out_line == NULL || number < 0 || number >= self->n_metadata)
        return false;
    *out_line = (rl_metadata){self->metadata[number].key, self->metadata[number].value};
    return true;
}

const char *rl_safetensors_metadata_value(const rl_safetensors *self, const char *key) {
    for (int64_t i = 0; self && key && i < self->n_metadata; i++) {
        if (strcmp(self->metadata[i].key, key) == 0)
            return self->metadata[i].value;
    }
    return NULL;
}
