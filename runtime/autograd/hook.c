/* SPDX-License-Identifier: Apache-2.0 */
/* Hooks: what is called with the gradient of a tensor. */
#include <string.h>

#include "autograd/graph.h"
#include "rushlight/device.h"

static void append(hook **list, hook *made) {
    while (*list) /* in the order of registration */
        list = &(*list)->next;
    made->next = NULL;
    *list = made;
}

rl_status hook_add(hook **list, rl_grad_hook call, void *context, uint32_t output, rl_tensor *keeper,
                   int64_t *out_handle) {
    static _Atomic(int64_t) handles;
    hook *made = rl_alloc(sizeof *made, "a hook");
    if (made == NULL)
        return rl_error_status();
    *made = (hook){.handle = ++handles, .call = call, .context = context, .keeper = keeper, .output = output};
    append(list, made);
    *out_handle = made->handle;
    return RL_OK;
}

bool hook_remove(hook **list, int64_t handle) {
    for (; *list; list = &(*list)->next) {
        hook *gone = *list;
        if (gone->handle == handle && gone->call) {
            *list = gone->next;
            rl_free(gone);
            return true;
        }
    }
    return false;
}

rl_status hook_add_at(hook_place **places, node *at, rl_grad_hook call, void *context, uint32_t output,
                      int64_t *out_handle) {
    hook_place *place = rl_alloc(sizeof *place, "a hook");
    if (place == NULL)
        return rl_error_status();
    rl_status status = hook_add(&at->hooks, call, context, output, NULL, out_handle);
    if (status != RL_OK) {
        rl_free(place);
        return status;
    }
    *place = (hook_place){.next = *places, .handle = *out_handle, .at = rl_retain(at)};
    *places = place;
    return RL_OK;
}

bool hook_remove_at(hook_place **places, int64_t handle) {
    while (*places && (*places)->handle != handle)
        places = &(*places)->next;
    hook_place *found = *places;
    if (found == NULL)
        return false;
    *places = found->next;
    hook_remove(&found->at->hooks, handle);
    rl_release(found->at);
    rl_free(found);
    return true;
}

void hook_places_free(hook_place *places) {
    while (places) {
        hook_place *next = places->next;
        rl_release(places->at);
        rl_free(places);
        places = next;
    }
}

void hook_move_keeper(hook **from, rl_tensor *keeper, hook **to, uint32_t output) {
    while (*from && (*from)->keeper != keeper)
        from = &(*from)->next;
    hook *moved = *from;
    if (moved == NULL)
        return;
    *from = moved->next;
    moved->output = output;
    if (to)
        append(to, moved);
    else
        rl_free(moved);
}

void hooks_free(hook *list) {
    while (list) {
        hook *next = list->next;
        rl_free(list);
        list = next;
    }
}

/* A hook may give another gradient of the same shape, dtype and device. */
static rl_status replace(rl_tensor **grad, rl_tensor *other) {
    char have[RL_SHAPE_TEXT], want[RL_SHAPE_TEXT];
    const rl_tensor *g = *grad;
    if (other->ndim != g->ndim || memcmp(other->shape, g->shape, sizeof(int64_t) * g->ndim) != 0)
        return rl_fail(RL_SHAPE_MISMATCH, "backward: a hook must give a gradient of shape %s, gave %s",
                       rl_shape_text(g->ndim, g->shape, want), rl_shape_text(other->ndim, other->shape, have));
    if (other->dtype != g->dtype)
        return rl_fail(RL_DTYPE_MISMATCH, "backward: a hook must give a gradient of %s, gave %s",
                       rl_dtype_name((rl_dtype)g->dtype), rl_dtype_name((rl_dtype)other->dtype));
    if (other->storage->device != g->storage->device)
        return rl_fail(RL_DEVICE_MISMATCH, "backward: a hook must give a gradient on %s, gave one on %s",
                       rl_device_name(g->storage->device), rl_device_name(other->storage->device));
    rl_retain(other);
    rl_release(*grad);
    *grad = other;
    return RL_OK;
}

static rl_status run_one(rl_grad_hook call, void *context, rl_tensor **grad) {
    rl_barrier barrier = rl_barrier_enter();
    rl_tensor *other = rl_failed() ? NULL : call(*grad, context);
    other = rl_barrier_leave(barrier, other);
    if (rl_failed())
        return rl_error_status();
    return other && other != *grad ? replace(grad, other) : RL_OK;
}

/* A hook may add and remove hooks: so nothing is remembered across a call but the last handle. */
rl_status hooks_run(hook **list, uint32_t output, rl_tensor **grad) {
    rl_status status = RL_OK;
    int64_t last = 0;
    for (hook *h = *list; h && status == RL_OK;) {
        if (h->output != output || h->handle <= last || h->call == NULL) {
            h = h->next;
            continue;
        }
        last = h->handle;
        status = run_one(h->call, h->context, grad);
        h = *list;
    }
    for (hook *h = *list; h && status == RL_OK; h = h->next) /* kept as the other hooks leave it */
        if (h->call == NULL && h->output == output)
            status = rl_set_grad(h->keeper, *grad);
    return status;
}
