/* SPDX-License-Identifier: Apache-2.0 */
/* A text that grows. Where memory fails it stays as it is, and failed is set: to be looked at once, at the end. */
#ifndef RL_ACCEL_TEXT_H
#define RL_ACCEL_TEXT_H

#include <stddef.h>
#include <stdint.h>

#include "rushlight/backend.h"

typedef struct rl_text_buffer {
    char *text; /* NULL: empty */
    size_t length, room;
    int failed;
} rl_text_buffer;

void rl_text_put(rl_text_buffer *self, const char *format, ...) RL_PRINTF_(2, 3);
void rl_text_put_all(rl_text_buffer *self, const char *text); /* as it is */
void rl_text_free(rl_text_buffer *self);
/* FNV-1a, going on from `hash` (begin with RL_TEXT_HASH). */
#define RL_TEXT_HASH 0xcbf29ce484222325u
uint64_t rl_text_hash(uint64_t hash, const void *data, size_t bytes);

#endif
