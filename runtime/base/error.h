/* SPDX-License-Identifier: Apache-2.0 */
/* How the runtime itself reports errors and writes to its log. */
#ifndef RUSHLIGHT_RUNTIME_BASE_ERROR_H
#define RUSHLIGHT_RUNTIME_BASE_ERROR_H

#include <stdarg.h>

#include "rushlight/base.h"

/* Keeps the sentence as this thread's error, unless it holds one already, and returns the first error's status. */
rl_status rl_fail(rl_status status, const char *format, ...) RL_PRINTF_(2, 3);
#ifdef __clang_analyzer__ /* what it cannot see: a failure is never RL_OK */
static inline rl_status rl_fail_not_ok_(rl_status status) {
    if (status == RL_OK)
        __builtin_unreachable();
    return status;
}
#define rl_fail(...) rl_fail_not_ok_(rl_fail(__VA_ARGS__))
#endif
rl_status rl_fail_va(rl_status status, const char *format, va_list args);
/* The same for functions that return an object. */
#define rl_fail_null(...) ((void)rl_fail(__VA_ARGS__), NULL)

/* What the user called, while it calls others: a sentence that one of these fails with begins with its name, "OP:
 * inner:
 * ...". The outermost stays; NAME lives as long as the program. Given back to rl_error_leave when the call ends. */
typedef struct rl_error_context {
    const char *op, *about;
} rl_error_context;
rl_error_context rl_error_enter(const char *op);
void rl_error_leave(rl_error_context *before);
/* From now on it is this argument of op that the sentences are about: "OP: ARGUMENT: inner: ...". NULL: none again.
 * Nothing where it was not op that the user called. */
void rl_error_about(const char *op, const char *argument);
#define RL_WITHIN(name)                                                                                                \
    rl_error_context rl_within_ __attribute__((cleanup(rl_error_leave), unused)) = rl_error_enter(name)

/* The thread's error set aside, so that work in between starts clean (the loader's attempts, finalizers). */
typedef struct rl_error_state {
    rl_status status;
    char *text;
} rl_error_state;
void rl_error_push(rl_error_state *out_saved);
/* Puts the saved error back in place of the present one. The text of the present one, if any, goes to *out_text when
 * out_text is not NULL (free() it), and its status is returned. */
rl_status rl_error_pop(rl_error_state *saved, char **out_text);

/* One line to stderr under RUSHLIGHT_VERBOSE (a list of topics, "all", or a level), prefixed "rushlight: ". */
/* (In parentheses, as ops.h has a macro of this name, the logarithm: a file with both logs by (rl_log)(...).) */
void(rl_log)(rl_log_level level, const char *topic, const char *format, ...) RL_PRINTF_(3, 4);
void rl_log_va(rl_log_level level, const char *topic, const char *format, va_list args);
void rl_log_always(const char *topic, const char *format, va_list args); /* whatever RUSHLIGHT_VERBOSE says */
/* True where such a line would be shown: guards costly messages. */
bool rl_log_wanted(rl_log_level level, const char *topic);

#endif
