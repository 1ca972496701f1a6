/* SPDX-License-Identifier: Apache-2.0 */
/* A growing string. */
#ifndef RUSHLIGHT_RUNTIME_BASE_TEXT_H
#define RUSHLIGHT_RUNTIME_BASE_TEXT_H

#include "rushlight/base.h"

typedef struct rl_text { /* zero-initialized is an empty text */
    char *data;          /* NUL-terminated once something was added; else NULL */
    size_t length, room;
    bool failed; /* out of memory: later additions do nothing */
} rl_text;
void rl_text_add(rl_text *self, const char *format, ...) RL_PRINTF_(2, 3);
void rl_text_add_bytes(rl_text *self, const char *bytes, size_t count);
/* Adds `text` as a JSON string, quotes included; bytes that are not UTF-8 become U+FFFD. */
void rl_text_add_json(rl_text *self, const char *text);
/* Adds at most `limit` bytes of `text`, control characters as '?', "..." where cut: for text from outside in errors. */
void rl_text_add_excerpt(rl_text *self, const char *text, size_t limit);
/* Gives the string to the caller (free by free()) and empties self; NULL and an error where memory failed. */
char *rl_text_take(rl_text *self);
void rl_text_free(rl_text *self);

/*
 * Numbers in texts are written with a point, and read so, whatever the program's locale: until the enclosing brace
 * ends, RL_C_LOCALE() gives the thread the C locale. To stand where floats are printed or read that files, other
 * programs or the user's eyes are to see; rl_text_add and what makes errors have it.
 */
typedef struct rl_locale_scope {
    void *outer;
} rl_locale_scope;
rl_locale_scope rl_locale_begin(void);
void rl_locale_end(const rl_locale_scope *scope);
#define RL_C_LOCALE()                                                                                                  \
    __attribute__((cleanup(rl_locale_end), unused)) const rl_locale_scope rl_locale_scope_ = rl_locale_begin()

/* True where all of it is well-formed UTF-8. */
bool rl_text_is_utf8(const char *text);

#endif
