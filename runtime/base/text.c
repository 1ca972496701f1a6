/* SPDX-License-Identifier: Apache-2.0 */
/* A growing string. */
#include "base/text.h"

#include <assert.h>
#include <locale.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"

/* The C locale, kept once made; threads that make it at once are given the same by the C library, or lose one. */
static locale_t c_locale(void) {
    static _Atomic(locale_t) kept;
    locale_t known = atomic_load_explicit(&kept, memory_order_acquire);
    if (known)
        return known;
    locale_t made = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (atomic_compare_exchange_strong(&kept, &known, made))
        return made;
    if (made && made != known)
        freelocale(made);
    return known;
}

rl_locale_scope rl_locale_begin(void) {
    return (rl_locale_scope){uselocale(c_locale())};
}

void rl_locale_end(const rl_locale_scope *scope) {
    uselocale(scope->outer);
}

/* Makes room for `more` bytes and a NUL. */
static bool reserve(rl_text *self, size_t more) {
    if (self->failed)
        return false;
    size_t need;
    if (__builtin_add_overflow(self->length + 1, more, &need)) {
        rl_fail(RL_OUT_OF_MEMORY, "out of memory: a text of more than %zu bytes", more);
        self->failed = true;
        return false;
    }
    if (need <= self->room)
        return true;
    size_t room = self->room ? self->room * 2 : 64;
    if (room < need)
        room = need;
    char *data = rl_realloc(self->data, room, 1, "a text");
    self->failed = !data;
    if (!data)
        return false;
    self->data = data;
    self->room = room;
    return true;
}

void rl_text_add_bytes(rl_text *self, const char *bytes, size_t count) {
    if (!reserve(self, count))
        return;
    assert(self->data != NULL);
    if (count > 0)
        memcpy(self->data + self->length, bytes, count);
    self->length += count;
    self->data[self->length] = '\0';
}

void rl_text_add(rl_text *self, const char *format, ...) {
    RL_C_LOCALE();
    va_list args;
    va_start(args, format);
    int count = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (count < 0 || !reserve(self, (size_t)count))
        return;
    va_start(args, format);
    vsnprintf(self->data + self->length, (size_t)count + 1, format, args);
    va_end(args);
    self->length += (size_t)count;
}

/* Bytes of the UTF-8 character at `text`; 0 where there is none (overlong, surrogate, cut off, stray byte). */
static size_t utf8_length(const char *text) {
    const unsigned char *s = (const unsigned char *)text;
    if (s[0] < 0x80)
        return 1;
    size_t length = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4)
        return 0;
    for (size_t i = 1; i < length; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    }
    bool overlong = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xf0 && s[1] < 0x90);
    bool beyond = (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf4 && s[1] > 0x8f);
    return overlong || beyond ? 0 : length;
}

bool rl_text_is_utf8(const char *text) {
    size_t length = 1;
    for (; *text && length > 0; text += length)
        length = utf8_length(text);
    return length > 0;
}

static void add_json_ascii(rl_text *self, char c) {
    static const char plain[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
    const char *found = strchr(plain, c);
    if (found)
        rl_text_add(self, "\\%c", letters[found - plain]);
    else if ((unsigned char)c < 32 || c == 127)
        rl_text_add(self, "\\u%04x", (unsigned)(unsigned char)c);
    else
        rl_text_add_bytes(self, &c, 1);
}

void rl_text_add_json(rl_text *self, const char *text) {
    rl_text_add_bytes(self, "\"", 1);
    while (*text) {
        size_t length = utf8_length(text);
        if (length == 1)
            add_json_ascii(self, *text);
        else if (length == 0)
            rl_text_add_bytes(self, "\xef\xbf\xbd", 3);
        else
            rl_text_add_bytes(self, text, length);
        text += length ? length : 1;
    }
    rl_text_add_bytes(self, "\"", 1);
}

void rl_text_add_excerpt(rl_text *self, const char *text, size_t limit) {
    size_t done = 0;
    while (text[done]) {
        size_t length = utf8_length(text + done);
        if (done + (length ? length : 1) > limit) {
            rl_text_add_bytes(self, "...", 3);
            return;
        }
        bool shown = length > 1 || (length == 1 && (unsigned char)text[done] >= 32 && text[done] != 127);
        rl_text_add_bytes(self, shown ? text + done : "?", shown ? length : 1);
        done += length ? length : 1;
    }
}

char *rl_text_take(rl_text *self) {
    if (!self->data && !self->failed)
        rl_text_add_bytes(self, "", 0);
    if (self->failed) {
        rl_text_free(self);
        return rl_fail_null(RL_OUT_OF_MEMORY, "out of memory: a text");
    }
    char *data = self->data;
    *self = (rl_text){0};
    return data;
}

void rl_text_free(rl_text *self) {
    rl_free(self->data);
    *self = (rl_text){0};
}
