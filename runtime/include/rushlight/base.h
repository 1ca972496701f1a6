/* SPDX-License-Identifier: Apache-2.0 */
/* Errors, objects and scopes: what every other header of Rushlight's C API builds on. */
#ifndef RUSHLIGHT_BASE_H
#define RUSHLIGHT_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rushlight/backend.h"

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define RL_API __attribute__((visibility("default")))
#else
#define RL_API
#endif

/*
 * Errors are sticky. The first error of a thread is kept with its sentence. Until rl_error_clear(), functions that
 * return an object return NULL and do nothing, and functions that return a status return that of the first error.
 * So a chain of calls needs one check at its end.
 */

/* True where this thread holds an error. */
RL_API bool rl_failed(void);
/* The status of the first error; RL_OK where there is none. */
RL_API rl_status rl_error_status(void);
/* Its sentence; "" where there is none. Borrowed, valid until the thread's next rl_error_clear. */
RL_API const char *rl_error_text(void);
RL_API void rl_error_clear(void);
/* "out of memory" and so on. A static string; for an unknown number "unknown status". */
RL_API const char *rl_status_text(rl_status status);

/* Called, on the failing thread, for every first error. NULL takes it away. Returns, or ends the
 * process; it must not leave by longjmp or an exception, for what runs around it has to be put back in order. */
typedef void (*rl_error_handler)(rl_status status, const char *sentence, void *context);
RL_API void rl_set_error_handler(rl_error_handler handler, void *context);

/*
 * Objects (tensors, modules, optimizers, datasets ...) are counted. Scopes own: what is made while a scope of the
 * thread is open belongs to that scope and goes when it ends, however it is left; outside every scope it belongs to
 * the thread, until rl_shutdown or the thread's end. So a program needs neither retain nor release.
 */

/* Opens a scope until the end of the enclosing brace: RL_SCOPE(); */
#define RL_SCOPE_NAME_(line) rl_scope_guard_##line
#define RL_SCOPE_LINE_(line) RL_SCOPE_NAME_(line)
#define RL_SCOPE()                                                                                                     \
    __attribute__((cleanup(rl_scope_leave_), unused)) rl_scope RL_SCOPE_LINE_(__LINE__) = rl_scope_begin()

typedef struct rl_scope { /* a mark on the thread's stack of owned objects */
    uint64_t depth;
} rl_scope;

/* For bindings. Scopes nest; ending an outer one ends those within it. */
RL_API rl_scope rl_scope_begin(void);
RL_API void rl_scope_end(rl_scope scope);
static inline void rl_scope_leave_(rl_scope *scope) {
    rl_scope_end(*scope);
}

/* Moves `object` (any object of ours, or NULL) from the innermost scope to the one around it. Returns it. */
RL_API void *rl_keep(void *object);
/* One more owner, beside the scopes: must be given back by rl_release. NULL does nothing. Returns `object`. */
RL_API void *rl_retain(void *object);
RL_API void rl_release(void *object);

/* Gives all back: the calling thread's objects, caches, devices, backends. Afterwards the library may be used again
 * from the start. Objects that are still retained stay valid only to be released. */
RL_API void rl_shutdown(void);

/* The environment variables that Rushlight reads, from 0 on; false where there is none of that number. Static strings;
 * value is that of now, NULL where it is unset or empty, borrowed from the environment. */
typedef struct rl_env_description {
    const char *name, *default_text, *meaning, *value;
} rl_env_description;
RL_API bool rl_env_variable(size_t number, rl_env_description *out_description);

/* "0.1.0" */
RL_API const char *rl_version(void);

/* A list of integers (a shape, dimensions): RL_DIMS(2, 3). Borrowed by the call that it is given to. */
typedef struct rl_ints {
    const int64_t *data;
    int64_t count;
} rl_ints;
#define RL_DIMS(...)                                                                                                   \
    ((rl_ints){(const int64_t[]){__VA_ARGS__}, (int64_t)(sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t))})
/* The same of `count` integers at `data`, known only at run time. */
#define RL_INTS(data, count) ((rl_ints){(data), (count)})
/* The empty list: the shape of a 0-dimensional tensor. */
#define RL_NO_DIMS ((rl_ints){(const int64_t[]){0}, 0})

/* In option structs zero means the default. RL_ZERO is a real zero, or false. Works in integer and double fields. */
#define RL_ZERO (-INT64_C(4611686018427387904))

/* Takes the first k of its arguments, or those after them; for the macros of functions with options. */
#define RL_TAKE1_(a, ...) a
#define RL_TAKE2_(a, b, ...) a, b
#define RL_TAKE3_(a, b, c, ...) a, b, c
#define RL_TAKE4_(a, b, c, d, ...) a, b, c, d
#define RL_TAKE5_(a, b, c, d, e, ...) a, b, c, d, e
#define RL_DROP1_(a, ...) __VA_ARGS__
#define RL_DROP2_(a, b, ...) __VA_ARGS__
#define RL_DROP3_(a, b, c, ...) __VA_ARGS__
#define RL_DROP4_(a, b, c, d, ...) __VA_ARGS__
#define RL_DROP5_(a, b, c, d, e, ...) __VA_ARGS__

#ifdef __cplusplus
}
#endif
#endif
