/* SPDX-License-Identifier: Apache-2.0 */
/* IDX, the format of MNIST: two zero bytes, a type, the number of dimensions, their sizes, the elements; big-endian. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/memory.h"
#include "data/gunzip.h"
#include "rushlight/data.h"
#include "tensor/tensor.h"

#define CHUNK ((size_t)1 << 20)

typedef struct idx_file {
    const char *path;
    rl_gunzip *stream;
} idx_file;

/* Opens only a regular file: a FIFO or a device would block or never end. */
static rl_status idx_open(idx_file *self, const char *path) {
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    self->path = path;
    self->stream = NULL;
    if (fd < 0)
        return rl_fail(errno == ENOENT ? RL_NOT_FOUND : RL_IO_ERROR, "idx: cannot open %s: %s", path, strerror(errno));
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        close(fd);
        return rl_fail(RL_IO_ERROR, "idx: %s is no regular file", path);
    }
    self->stream = rl_gunzip_new(fd);
    if (!self->stream) {
        close(fd);
        return rl_failed() ? rl_error_status() : rl_fail(RL_OUT_OF_MEMORY, "idx: out of memory to read %s", path);
    }
    return RL_OK;
}

/* After a read that stopped short. */
static rl_status idx_truncated(const idx_file *self, const char *what) {
    bool cut;
    const char *words = rl_gunzip_damage(self->stream, &cut);
    if (words)
        return rl_fail(RL_BAD_FORMAT, "idx: %s is damaged: %s", self->path, words);
    return rl_fail(RL_BAD_FORMAT, "idx: %s ends within its %s", self->path, what);
}

static rl_status idx_read_exactly(idx_file *self, void *data, size_t bytes, const char *what) {
    return rl_gunzip_read(self->stream, data, bytes) == bytes ? RL_OK : idx_truncated(self, what);
}

static rl_dtype idx_dtype(unsigned char code) {
    switch (code) {
    case 0x08:
        return RL_U8;
    case 0x09:
        return RL_I8;
    case 0x0B:
        return RL_I16;
    case 0x0C:
        return RL_I32;
    case 0x0D:
        return RL_F32;
    case 0x0E:
        return RL_F64;
    default:
        return RL_DTYPE_NONE;
    }
}

static rl_status idx_read_header(idx_file *self, rl_dtype *out_dtype, int64_t *out_ndim, int64_t *out_shape,
                                 size_t *out_bytes) {
    unsigned char head[4], size[4];
    int64_t numel;
    rl_status status = idx_read_exactly(self, head, 4, "header");
    if (status)
        return status;
    *out_dtype = idx_dtype(head[2]);
    if (head[0] != 0 || head[1] != 0 || *out_dtype == RL_DTYPE_NONE)
        return rl_fail(RL_BAD_FORMAT, "idx: %s is no IDX file: it begins with %02x %02x %02x %02x", self->path, head[0],
                       head[1], head[2], head[3]);
    if (head[3] > RL_MAX_DIMS)
        return rl_fail(RL_BAD_FORMAT, "idx: %s has %d dimensions; at most %d are supported", self->path, head[3],
                       RL_MAX_DIMS);
    *out_ndim = head[3];
    for (int64_t d = 0; d < *out_ndim; d++) {
        if ((status = idx_read_exactly(self, size, 4, "header")))
            return status;
        out_shape[d] = (int64_t)size[0] << 24 | (int64_t)size[1] << 16 | (int64_t)size[2] << 8 | size[3];
    }
    if ((status = rl_check_shape("idx", *out_ndim, out_shape, *out_dtype, &numel)))
        return status;
    *out_bytes = (size_t)numel * rl_dtype_size(*out_dtype);
    return RL_OK;
}

/* Grows with what really comes, so that a lying header costs no more memory than the file has data. */
static rl_status idx_read_elements(idx_file *self, size_t bytes, unsigned char **out_data) {
    size_t room = bytes < CHUNK ? bytes : CHUNK, have = 0;
    unsigned char extra, *data = rl_alloc(room ? room : 1, "idx file"), *grown;
    *out_data = data;
    if (!data)
        return RL_OUT_OF_MEMORY;
    while (have < bytes) {
        size_t want = room - have < CHUNK ? room - have : CHUNK;
        if (rl_gunzip_read(self->stream, data + have, want) != want)
            return idx_truncated(self, "elements");
        have += want;
        if (have == room && have < bytes) {
            room = bytes - room < room ? bytes : room * 2;
            if (!(grown = rl_realloc(data, room, 1, "idx file")))
                return RL_OUT_OF_MEMORY;
            *out_data = data = grown;
        }
    }
    if (rl_gunzip_read(self->stream, &extra, 1) == 1)
        return rl_fail(RL_BAD_FORMAT, "idx: %s goes on after the %zu bytes that its header announces", self->path,
                       bytes);
    bool cut;
    return rl_gunzip_damage(self->stream, &cut) || cut ? idx_truncated(self, "checksum") : RL_OK;
}

static void idx_to_native(unsigned char *data, size_t bytes, size_t size) {
    const uint16_t probe = 1;
    if (size == 1 || *(const unsigned char *)&probe == 0)
        return;
    for (size_t at = 0; at + size <= bytes; at += size)
        for (size_t i = 0; i < size / 2; i++) {
            unsigned char swap = data[at + i];
            data[at + i] = data[at + size - 1 - i];
            data[at + size - 1 - i] = swap;
        }
}

rl_status rl_idx_read(const char *path, rl_dtype *out_dtype, int64_t *out_ndim, int64_t *out_shape, void **out_data) {
    idx_file file;
    size_t bytes = 0;
    unsigned char *data = NULL;
    rl_status status;
    if (rl_failed())
        return rl_error_status();
    if (!path || !out_dtype || !out_ndim || !out_shape || !out_data)
        return rl_fail(RL_INVALID_ARGUMENT, "idx_read: an argument is NULL");
    *out_data = NULL;
    if ((status = idx_open(&file, path)))
        return status;
    status = idx_read_header(&file, out_dtype, out_ndim, out_shape, &bytes);
    if (!status)
        status = idx_read_elements(&file, bytes, &data);
    rl_gunzip_free(file.stream);
    if (status) {
        rl_free(data);
        return status;
    }
    idx_to_native(data, bytes, rl_dtype_size(*out_dtype));
    *out_data = data;
    return RL_OK;
}
