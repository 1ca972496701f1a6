/* SPDX-License-Identifier: Apache-2.0 */
#include "data/gunzip.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "base/memory.h"

enum { ROOM = 1 << 17, GZIP_ALONE = 16 + MAX_WBITS };

struct rl_gunzip {
    z_stream zip; /* next_in, avail_in: what was read and not yet taken, zipped or not */
    int fd;
    bool zipped, begun, within; /* a gzip header has begun; its end is still to come */
    char damage[96];
    unsigned char room[ROOM];
};

static void damaged(rl_gunzip *self, const char *words) {
    size_t length = strlen(words);
    length = length < sizeof self->damage ? length : sizeof self->damage - 1;
    memcpy(self->damage, words, length);
    self->damage[length] = '\0';
}

/* Makes sure that there is something to take; false at the end of the file. */
static bool fill(rl_gunzip *self) {
    if (self->zip.avail_in > 0)
        return true;
    ssize_t got;
    do
        got = read(self->fd, self->room, ROOM);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        damaged(self, strerror(errno));
    self->zip.next_in = self->room;
    self->zip.avail_in = got > 0 ? (uInt)got : 0;
    return got > 0;
}

rl_gunzip *rl_gunzip_new(int fd) {
    rl_gunzip *self = rl_alloc_zero(1, sizeof *self, "file");
    if (self == NULL)
        return NULL;
    self->fd = fd;
    self->zipped = fill(self) && self->zip.avail_in >= 2 && self->room[0] == 0x1f && self->room[1] == 0x8b;
    if (self->zipped && inflateInit2(&self->zip, GZIP_ALONE) != Z_OK) {
        rl_free(self);
        errno = ENOMEM;
        return NULL;
    }
    return self;
}

void rl_gunzip_free(rl_gunzip *self) {
    if (self->zipped)
        inflateEnd(&self->zip);
    close(self->fd);
    rl_free(self);
}

static size_t copy(rl_gunzip *self, unsigned char *data, size_t bytes) {
    size_t done = 0;
    while (done < bytes && fill(self)) {
        size_t n = bytes - done < self->zip.avail_in ? bytes - done : self->zip.avail_in;
        memcpy(data + done, self->zip.next_in, n);
        self->zip.next_in += n;
        self->zip.avail_in -= (uInt)n;
        done += n;
    }
    return done;
}

/* A file may be several gzip files, one after the other; nothing else may follow. */
static bool begin_member(rl_gunzip *self) {
    if (!fill(self))
        return false;
    if (self->begun && *self->zip.next_in != 0x1f) {
        damaged(self, "something else follows the compressed data");
        return false;
    }
    if (self->begun)
        inflateReset(&self->zip);
    self->begun = self->within = true;
    return true;
}

static size_t inflated(rl_gunzip *self, unsigned char *data, size_t bytes) {
    self->zip.next_out = data;
    self->zip.avail_out = (uInt)bytes;
    while (self->zip.avail_out > 0 && !*self->damage) {
        if (!self->within && !begin_member(self))
            break;
        if (!fill(self))
            break;
        int code = inflate(&self->zip, Z_NO_FLUSH);
        if (code == Z_STREAM_END)
            self->within = false;
        else if (code != Z_OK && code != Z_BUF_ERROR)
            damaged(self, self->zip.msg ? self->zip.msg : zError(code));
    }
    return bytes - self->zip.avail_out;
}

size_t rl_gunzip_read(rl_gunzip *self, void *data, size_t bytes) {
    unsigned char *at = data;
    const size_t most = (size_t)1 << 30; /* zlib counts in unsigned int */
    for (size_t left = bytes; left > 0;) {
        size_t part = left < most ? left : most;
        size_t got = self->zipped ? inflated(self, at, part) : copy(self, at, part);
        at += got;
        left -= got;
        if (got < part)
            break;
    }
    return (size_t)(at - (unsigned char *)data);
}

const char *rl_gunzip_damage(const rl_gunzip *self, bool *out_cut) {
    *out_cut = self->within;
    return *self->damage ? self->damage : NULL;
}
