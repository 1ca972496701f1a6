/* SPDX-License-Identifier: Apache-2.0 */
/* Lines on stderr for those who ask for them by RUSHLIGHT_VERBOSE. */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/env.h"
#include "base/error.h"
#include "base/text.h"
#include "base/thread.h"

static atomic_bool known_unset; /* so that silence costs one load */
static atomic_bool words_checked;

void rl_log_reset(void) {
    atomic_store(&known_unset, false);
    atomic_store(&words_checked, false);
}

static bool is_word(const char *word, size_t length, const char *other) {
    return strlen(other) == length && strncasecmp(word, other, length) == 0;
}

static const char *const levels[] = {"error", "warning", "info", "debug"};

/* A word that asks for nothing is told, once: a mistake in it would look like silence. */
static void check_words(const char *words) {
    static const char *const topics[] = {"load", "dispatch", "memory", "backend", "all", "1"};
    if (atomic_exchange(&words_checked, true))
        return;
    while (*words) {
        size_t length = strcspn(words, ", ");
        bool known = length == 0;
        for (size_t i = 0; i < sizeof topics / sizeof *topics; i++)
            known = known || is_word(words, length, topics[i]);
        for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
            known = known || is_word(words, length, levels[i]);
        if (!known) {
            rl_text word = {0};
            char copy[64];
            snprintf(copy, sizeof copy, "%.*s", (int)(length < sizeof copy ? length : sizeof copy - 1), words);
            rl_text_add_excerpt(&word, copy, 40);
            fprintf(
                stderr,
                "rushlight: RUSHLIGHT_VERBOSE: there is no topic \"%s\", but load, dispatch, memory, backend, all and "
                "the levels error, warning, info, debug\n",
                word.data ? word.data : "");
            rl_text_free(&word);
        }
        words += length + (words[length] != '\0');
    }
}

/* One word of the variable: a topic shows all of that topic, "all" all, and a level all up to that level. */
static bool word_wants(const char *word, size_t length, rl_log_level level, const char *topic) {
    if (is_word(word, length, "all") || is_word(word, length, "1") || is_word(word, length, topic))
        return true;
    for (int i = 0; i < 4; i++) {
        if (is_word(word, length, levels[i]))
            return (int)level <= i;
    }
    return false;
}

bool rl_log_wanted(rl_log_level level, const char *topic) {
    if (atomic_load_explicit(&known_unset, memory_order_relaxed))
        return false;
    const char *words = rl_env_get(RL_ENV_VERBOSE);
    if (!words) {
        atomic_store_explicit(&known_unset, true, memory_order_relaxed);
        return false;
    }
    check_words(words);
    while (*words) {
        size_t length = strcspn(words, ", ");
        if (length > 0 && word_wants(words, length, level, topic))
            return true;
        words += length + (words[length] != '\0');
    }
    return false;
}

void rl_log_va(rl_log_level level, const char *topic, const char *format, va_list args) {
    if (rl_log_wanted(level, topic))
        rl_log_always(topic, format, args);
}

void rl_log_always(const char *topic, const char *format, va_list args) {
    char line[1024]; /* one write a line, so that lines of several threads do not mix */
    int start = snprintf(line, sizeof line, "rushlight: %s: ", topic);
    if (start < 0 || start > 256)
        return;
    int length = vsnprintf(line + start, sizeof line - (size_t)start - 1, format, args);
    size_t end = length < 0 ? (size_t)start : strlen(line);
    for (size_t i = (size_t)start; i < end; i++) {
        if ((unsigned char)line[i] < 32)
            line[i] = ' ';
    }
    line[end] = '\n';
    fwrite(line, 1, end + 1, stderr);
}

void rl_log(rl_log_level level, const char *topic, const char *format, ...) {
    va_list args;
    va_start(args, format);
    rl_log_va(level, topic, format, args);
    va_end(args);
}
