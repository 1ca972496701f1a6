/* SPDX-License-Identifier: Apache-2.0 */
#include "text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Room for `more` characters and the end. */
static int reserve(rl_text_buffer *self, size_t more) {
    if (self->failed)
        return 0;
    if (self->room - self->length > more)
        return 1;
    size_t room = 2 * (self->length + more + 1024);
    char *grown = realloc(self->text, room);
    if (!grown) {
        self->failed = 1;
        return 0;
    }
    self->text = grown;
    self->room = room;
    return 1;
}

void rl_text_put_all(rl_text_buffer *self, const char *text) {
    size_t length = strlen(text);
    if (!reserve(self, length))
        return;
    memcpy(self->text + self->length, text, length + 1);
    self->length += length;
}

void rl_text_put(rl_text_buffer *self, const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    if (length >= 0 && reserve(self, (size_t)length)) {
        vsnprintf(self->text + self->length, (size_t)length + 1, format, again);
        self->length += (size_t)length;
    }
    va_end(again);
    va_end(args);
}

void rl_text_free(rl_text_buffer *self) {
    free(self->text);
    *self = (rl_text_buffer){0};
}

uint64_t rl_text_hash(uint64_t hash, const void *data, size_t bytes) {
    const unsigned char *at = data;
    for (size_t i = 0; i < bytes; i++)
        hash = (hash ^ at[i]) * 0x100000001b3u;
    return hash;
}
