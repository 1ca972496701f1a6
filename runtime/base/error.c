/* SPDX-License-Identifier: Apache-2.0 */
/* The sticky error of a thread. */
#include "base/error.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fork.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/thread.h"

static struct {
    pthread_mutex_t lock; /* handler and context change together */
    rl_error_handler call;
    void *context;
} handler = {.lock = PTHREAD_MUTEX_INITIALIZER};

__attribute__((constructor)) static void mind_forks(void) {
    rl_at_fork_mutex(RL_FORK_HANDLER, &handler.lock);
}

void rl_set_error_handler(rl_error_handler call, void *context) {
    pthread_mutex_lock(&handler.lock);
    handler.call = call;
    handler.context = context;
    pthread_mutex_unlock(&handler.lock);
}

static void call_handler(const rl_thread *t) {
    pthread_mutex_lock(&handler.lock);
    rl_error_handler call = handler.call;
    void *context = handler.context;
    pthread_mutex_unlock(&handler.lock);
    if (call)
        call(t->error_status, t->error_text, context); /* unlocked: it may fail again, or never return */
}

bool rl_failed(void) {
    return rl_thread_.error_status != RL_OK;
}

rl_status rl_error_status(void) {
    return rl_thread_.error_status;
}

const char *rl_error_text(void) {
    return rl_thread_.error_text ? rl_thread_.error_text : "";
}

static void forget(rl_thread *t) {
    if (t->error_text != t->error_room)
        rl_free(t->error_text);
    t->error_text = NULL;
    t->error_status = RL_OK;
}

void rl_error_clear(void) {
    rl_thread *t = &rl_thread_;
    forget(t);
    t->error_op = t->error_about = NULL; /* a handler may have left the op by a jump */
}

rl_error_context rl_error_enter(const char *op) {
    rl_thread *t = &rl_thread_;
    rl_error_context before = {t->error_op, t->error_about};
    if (t->error_op == NULL)
        t->error_op = op;
    return before;
}

void rl_error_leave(rl_error_context *before) {
    rl_thread_.error_op = before->op;
    rl_thread_.error_about = before->about;
}

void rl_error_about(const char *op, const char *argument) {
    rl_thread *t = &rl_thread_;
    if (t->error_op != NULL && strcmp(t->error_op, op) == 0)
        t->error_about = argument;
}

const char *rl_status_text(rl_status status) {
    switch (status) {
#define CASE(NAME, number, text)                                                                                       \
    case RL_##NAME:                                                                                                    \
        return text;
        RL_STATUS_LIST(CASE)
#undef CASE
    default:
        return "unknown status";
    }
}

/* Marks a sentence that did not fit with "...", which replaces no half of a UTF-8 character. */
static void mark_cut(char *room) {
    size_t end = RL_ERROR_ROOM - 4;
    while (end > 0 && ((unsigned char)room[end] & 0xc0) == 0x80)
        end--;
    memcpy(room + end, "...", 4);
}

/* What stands before a sentence, instead of its first `skip` bytes. */
typedef struct sentence_lead {
    char text[96];
    size_t skip;
} sentence_lead;

/* "OP: " or "OP: ARGUMENT: ", where the sentence does not say so already; `sentence` may be its beginning alone. */
static sentence_lead find_lead(const rl_thread *t, const char *sentence) {
    sentence_lead lead = {"", 0};
    if (t->error_op == NULL)
        return lead;
    size_t length = strlen(t->error_op);
    bool named = strncmp(sentence, t->error_op, length) == 0 && strncmp(sentence + length, ": ", 2) == 0;
    bool about = t->error_about != NULL && strstr(sentence, t->error_about) == NULL;
    lead.skip = named && about ? length + 2 : 0;
    if (about)
        snprintf(lead.text, sizeof lead.text, "%s: %s: ", t->error_op, t->error_about);
    else if (!named)
        snprintf(lead.text, sizeof lead.text, "%s: ", t->error_op);
    return lead;
}

/* As snprintf, with the lead. */
static int write_sentence(char *room, size_t size, const sentence_lead *lead, const char *format, va_list args) {
    int length = vsnprintf(room, size, format, args);
    size_t before = strlen(lead->text);
    if (length < 0 || before == 0)
        return length;
    size_t rest = ((size_t)length < size ? (size_t)length : size - 1) - lead->skip;
    rest = rest < size - 1 - before ? rest : size - 1 - before;
    memmove(room + before, room + lead->skip, rest);
    memcpy(room, lead->text, before);
    room[before + rest] = '\0';
    return length + (int)before - (int)lead->skip;
}

rl_status rl_fail_va(rl_status status, const char *format, va_list args) {
    rl_thread *t = &rl_thread_;
    if (t->error_status != RL_OK)
        return t->error_status;
    rl_locale_scope locale = rl_locale_begin();
    va_list again, once_more;
    va_copy(again, args);
    va_copy(once_more, args);
    sentence_lead lead = {"", 0};
    int length = write_sentence(t->error_room, RL_ERROR_ROOM, &lead, format, args);
    if (length >= 0) {
        lead = find_lead(t, t->error_room);
        if (*lead.text)
            length = write_sentence(t->error_room, RL_ERROR_ROOM, &lead, format, again);
    }
    t->error_text = t->error_room;
    if (length < 0) {
        snprintf(t->error_room, RL_ERROR_ROOM, "%s", rl_status_text(status));
    } else if (length >= RL_ERROR_ROOM) {
        size_t bytes = (size_t)length + lead.skip + 1;
        char *block = rl_thread_register() ? rl_alloc_quiet(bytes) : NULL;
        if (block) {
            write_sentence(block, bytes, &lead, format, once_more);
            t->error_text = block;
        } else {
            mark_cut(t->error_room);
        }
    }
    va_end(once_more);
    va_end(again);
    rl_locale_end(&locale);
    t->error_status = status == RL_OK ? RL_INTERNAL : status;
    if (t->attempts == 0)
        call_handler(t);
    return t->error_status;
}

rl_status(rl_fail)(rl_status status, const char *format, ...) {
    va_list args;
    va_start(args, format);
    status = rl_fail_va(status, format, args);
    va_end(args);
    return status;
}

/* Gives the present text to the caller; NULL where there is none, or no memory for a copy. */
static char *take_text(rl_thread *t) {
    char *text = t->error_text;
    t->error_text = NULL;
    if (text != t->error_room)
        return text;
    size_t bytes = strlen(text) + 1;
    char *copy = rl_alloc_quiet(bytes);
    return copy ? memcpy(copy, text, bytes) : NULL;
}

void rl_error_push(rl_error_state *out_saved) {
    rl_thread *t = &rl_thread_;
    out_saved->status = t->error_status;
    out_saved->text = take_text(t);
    t->error_status = RL_OK;
    t->attempts++;
}

rl_status rl_error_pop(rl_error_state *saved, char **out_text) {
    rl_thread *t = &rl_thread_;
    rl_status status = t->error_status;
    if (out_text)
        *out_text = take_text(t);
    forget(t);
    t->error_status = saved->status;
    t->error_text = saved->text;
    if (saved->status != RL_OK && !saved->text) {
        snprintf(t->error_room, RL_ERROR_ROOM, "%s", rl_status_text(saved->status));
        t->error_text = t->error_room;
    }
    saved->status = RL_OK;
    saved->text = NULL;
    if (t->attempts > 0)
        t->attempts--;
    return status;
}
