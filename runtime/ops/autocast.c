/* SPDX-License-Identifier: Apache-2.0 */
/* Autocast: regions, and the casts of a call's arguments. Off, it costs a call one test of a flag of the thread. */
#include "rushlight/autocast.h"

#include <string.h>

#include "base/memory.h"
#include "base/sized.h"
#include "dispatch/device.h"
#include "ops/call.h"
#include "rushlight/ops.h"

_Thread_local bool rl_autocasting_;

enum { HOST, ACCELERATOR, KINDS };

/* A parameter that was cast in this region. */
typedef struct cached_cast {
    rl_tensor *parameter; /* one count; NULL: free */
    rl_tensor *cast;      /* one count */
    uint32_t version;     /* of the parameter when it was cast */
} cached_cast;

typedef struct thread_state {
    uint8_t dtype[KINDS]; /* RL_DTYPE_NONE: off */
    bool cache;
    bool watched;       /* the thread's end gives the cache back */
    cached_cast *casts; /* open addressing; room is a power of two, at most half of it is taken */
    uint32_t count, room;
} thread_state;
static _Thread_local thread_state state;

/* The cache ---------------------------------------------------------------------------------------------------------
 */

static void cache_clear(void) {
    for (uint32_t i = 0; i < state.room; i++) {
        rl_release(state.casts[i].parameter);
        rl_release(state.casts[i].cast);
    }
    rl_free(state.casts);
    state.casts = NULL;
    state.count = state.room = 0;
}

/* The entry of a parameter, or the free one where it would be. There must be room. */
static cached_cast *entry_of(const rl_tensor *parameter) {
    uint32_t at = (uint32_t)(((uintptr_t)parameter >> 4) * 0x9E3779B1u);
    for (;; at++) {
        cached_cast *entry = &state.casts[at & (state.room - 1)];
        if (entry->parameter == parameter || entry->parameter == NULL)
            return entry;
    }
}

static bool make_room(void) {
    if (2 * (state.count + 1) <= state.room)
        return true;
    cached_cast *old = state.casts;
    uint32_t old_room = state.room, room = old_room ? 2 * old_room : 64;
    cached_cast *fresh = rl_alloc_zero(room, sizeof *fresh, "casts of parameters");
    if (fresh == NULL)
        return false;
    state.casts = fresh;
    state.room = room;
    for (uint32_t i = 0; i < old_room; i++)
        if (old[i].parameter != NULL)
            *entry_of(old[i].parameter) = old[i];
    rl_free(old);
    return true;
}

/* Only casts of leaves, which are parameters most likely, are worth keeping. One made while gradients were not recorded
 * is of no use when they are. */
static rl_tensor *cast_parameter(rl_tensor *t, rl_dtype to) {
    if (!make_room())
        return NULL;
    cached_cast *entry = entry_of(t);
    uint32_t version = atomic_load_explicit(&t->storage->version, memory_order_relaxed);
    if (entry->parameter && entry->version == version && entry->cast->dtype == to &&
        (entry->cast->requires_grad || !rl_recording_))
        return entry->cast;
    rl_tensor *fresh = rl_cast(t, to);
    if (fresh == NULL)
        return NULL;
    if (entry->parameter == NULL) {
        entry->parameter = rl_retain(t);
        state.count++;
    }
    rl_release(entry->cast);
    entry->cast = rl_retain(fresh);
    entry->version = version;
    return fresh;
}

/* Arguments ---------------------------------------------------------------------------------------------------------
 */

static rl_dtype region_dtype(const rl_device *device) {
    return (rl_dtype)state.dtype[rl_device_is_host(device) ? HOST : ACCELERATOR];
}

/* Floating, but not f64, and where autocast is on. */
static bool is_eligible(const rl_tensor *t) {
    return rl_dtype_is_float((rl_dtype)t->dtype) && t->dtype != RL_F64 &&
           region_dtype(t->storage->device) != RL_DTYPE_NONE;
}

static rl_tensor *cast_one(rl_tensor *t, rl_dtype to) {
    if (!is_eligible(t) || t->dtype == to)
        return t;
    if (state.cache && to != RL_F32 && t->dtype == RL_F32 && rl_record_hooks_.is_leaf && rl_record_hooks_.is_leaf(t))
        return cast_parameter(t, to);
    return rl_cast(t, to);
}

typedef rl_tensor *(*visitor)(rl_tensor *t, rl_dtype *dtype);

static bool visit_list(rl_value *v, visitor visit, rl_dtype *dtype) {
    int64_t count = v->as.tensors.count;
    rl_tensor **room = rl_tensor_list_new(count);
    if (room == NULL)
        return false;
    for (int64_t i = 0; i < count; i++)
        if ((room[i] = visit(v->as.tensors.data[i], dtype)) == NULL)
            return false;
    v->as.tensors.data = room;
    return true;
}

/* Puts what `visit` returns for it in the place of each tensor of the call; false where that is NULL. */
static bool visit_all(rl_call *call, visitor visit, rl_dtype *dtype) {
    const rl_schema *schema = &rl_schema_table[call->opcode];
    for (uint32_t m = schema->tensors | schema->lists; m != 0; m &= m - 1) {
        rl_value *v = &call->args[__builtin_ctz(m)];
        if (v->kind == RL_VALUE_TENSOR && (v->as.tensor = visit(v->as.tensor, dtype)) == NULL)
            return false;
        if (v->kind == RL_VALUE_TENSORS && !visit_list(v, visit, dtype))
            return false;
    }
    return true;
}

static rl_tensor *note_widest(rl_tensor *t, rl_dtype *dtype) {
    if (is_eligible(t))
        *dtype = *dtype == RL_DTYPE_NONE || *dtype == t->dtype ? (rl_dtype)t->dtype : RL_F32;
    return t;
}
static rl_tensor *cast_low(rl_tensor *t, rl_dtype *unused) {
    (void)unused;
    return cast_one(t, region_dtype(t->storage->device));
}
static rl_tensor *cast_to(rl_tensor *t, rl_dtype *dtype) {
    return cast_one(t, *dtype);
}

rl_status rl_autocast_arguments(rl_call *call) {
    uint32_t flags = call->op->flags;
    rl_dtype dtype = flags & RL_OP_AUTOCAST_F32 ? RL_F32 : RL_DTYPE_NONE;
    bool good = true;
    if (flags & RL_OP_AUTOCAST_LOW)
        good = visit_all(call, cast_low, &dtype);
    else if (flags & RL_OP_AUTOCAST_WIDEST)
        good = visit_all(call, note_widest, &dtype) && visit_all(call, cast_to, &dtype);
    else
        good = visit_all(call, cast_to, &dtype);
    return good ? RL_OK : rl_error_status();
}

/* Regions -----------------------------------------------------------------------------------------------------------
 */

static rl_status take_options(rl_dtype dtype, const rl_autocast_options *given, rl_autocast_options *out) {
    *out = (rl_autocast_options){0};
    if (rl_failed() || rl_sized_take("autocast", out, sizeof *out, given) != RL_OK)
        return rl_error_status();
    return dtype == RL_DTYPE_NONE || dtype == RL_F16 || dtype == RL_BF16
               ? RL_OK
               : rl_fail(RL_INVALID_ARGUMENT,
                         "autocast: dtype must be float16 or bfloat16, or none to switch it off, got %s",
                         rl_dtype_name(dtype));
}

rl_autocast rl_autocast_now(void) {
    return (rl_autocast){{state.dtype[HOST], state.dtype[ACCELERATOR]}, state.cache, !rl_autocasting_};
}

rl_autocast rl_autocast_begin_opt(rl_dtype dtype, const rl_autocast_options *given) {
    rl_autocast before = rl_autocast_now();
    rl_autocast_options o;
    if (take_options(dtype, given, &o) != RL_OK)
        return before;
    for (int kind = 0; kind < KINDS; kind++)
        if (o.device == NULL || kind == (rl_device_is_host(o.device) ? HOST : ACCELERATOR))
            state.dtype[kind] = (uint8_t)dtype;
    state.watched = state.watched || rl_at_thread_end(cache_clear);
    state.cache = state.watched && o.cache_enabled != RL_ZERO;
    rl_autocasting_ = state.dtype[HOST] != RL_DTYPE_NONE || state.dtype[ACCELERATOR] != RL_DTYPE_NONE;
    return before;
}

rl_autocast rl_autocast_enter(rl_autocast as) {
    rl_autocast before = rl_autocast_now();
    memcpy(state.dtype, as.dtype, sizeof state.dtype);
    state.cache = false;
    rl_autocasting_ = !as.outermost;
    return before;
}

void rl_autocast_end(rl_autocast before) {
    memcpy(state.dtype, before.dtype, sizeof state.dtype);
    state.cache = before.cache;
    rl_autocasting_ = !before.outermost;
    if (before.outermost && state.room > 0)
        cache_clear();
}

rl_dtype rl_autocast_dtype(const rl_device *device) {
    return rl_autocasting_ ? device ? region_dtype(device) : (rl_dtype)state.dtype[HOST] : RL_DTYPE_NONE;
}
