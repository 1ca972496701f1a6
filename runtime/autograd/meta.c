/* SPDX-License-Identifier: Apache-2.0 */
/* What autograd knows of a tensor: leaf or result, gradient, view, hooks. And the modes of a thread. */
#include <pthread.h>
#include <string.h>

#include "autograd/graph.h"
#include "rushlight/device.h"
#include "rushlight/ops.h"

/* Guards the lists of views, which tensors of several threads may share. Held for a few instructions. */
static pthread_mutex_t views_lock = PTHREAD_MUTEX_INITIALIZER;

rl_autograd_meta *meta_of(rl_tensor *self) {
    if (self->autograd == NULL)
        self->autograd = rl_alloc_zero(1, sizeof *self->autograd, "autograd's part of a tensor");
    return self->autograd;
}

/* Views ---------------------------------------------------------------------------------------------------------------
 */

/* Makes `view` known as a view of what `of` is a view of, or of `of`. */
rl_status view_register(rl_tensor *view, rl_tensor *of) {
    rl_tensor *base = of->autograd && of->autograd->base ? of->autograd->base : of;
    pthread_mutex_lock(&views_lock);
    rl_autograd_meta *mine = meta_of(view), *its = mine ? meta_of(base) : NULL;
    if (its) {
        mine->base = rl_retain(base);
        mine->view_version = version_of(view);
        mine->next_view = its->views;
        if (its->views)
            its->views->autograd->last_view = view;
        its->views = view;
    }
    pthread_mutex_unlock(&views_lock);
    return its ? RL_OK : rl_error_status();
}

static void view_forget(rl_tensor *view) {
    rl_autograd_meta *mine = view->autograd;
    pthread_mutex_lock(&views_lock);
    if (mine->last_view)
        mine->last_view->autograd->next_view = mine->next_view;
    else
        mine->base->autograd->views = mine->next_view;
    if (mine->next_view)
        mine->next_view->autograd->last_view = mine->last_view;
    pthread_mutex_unlock(&views_lock);
}

void views_require_grad(rl_tensor *base) {
    pthread_mutex_lock(&views_lock);
    for (rl_tensor *v = base->autograd ? base->autograd->views : NULL; v; v = v->autograd->next_view)
        v->requires_grad = 1;
    pthread_mutex_unlock(&views_lock);
}

/* A view whose base was changed came from the changed base: its history is made anew, as that of as_strided. */
static rl_status refresh_view(rl_tensor *self, uint32_t version) {
    rl_autograd_meta *meta = self->autograd;
    if (meta == NULL || meta->base == NULL || meta->view_version == version || !meta->base->requires_grad)
        return RL_OK;
    rl_call call = {.op = rl_op_table[RL_OPCODE_as_strided], .opcode = RL_OPCODE_as_strided, .n_results = 1};
    call.args[0] = rl_value_of_tensor(meta->base);
    call.args[1] = (rl_value){.kind = RL_VALUE_INTS, .as.ints = {self->shape, self->ndim}};
    call.args[2] = (rl_value){.kind = RL_VALUE_INTS, .as.ints = {self->stride, self->ndim}};
    call.args[3] = rl_value_of_int(self->offset);
    call.results[0] = self;
    rl_release(meta->grad_fn);
    meta->grad_fn = NULL;
    meta->view_version = version;
    return record_call(&call, RL_OPCODE_as_strided);
}

/* History -------------------------------------------------------------------------------------------------------------
 */

rl_status edge_of(rl_tensor *self, uint32_t version, edge *out) {
    *out = (edge){NULL, NULL, 0};
    if (!self->requires_grad)
        return RL_OK;
    rl_status status = refresh_view(self, version);
    if (status != RL_OK)
        return status;
    rl_autograd_meta *meta = self->autograd;
    if (meta && meta->grad_fn) {
        out->to = rl_retain(meta->grad_fn);
        out->output = meta->output;
    } else {
        out->leaf = rl_retain(self);
    }
    return RL_OK;
}

void set_history(rl_tensor *self, node *grad_fn, uint32_t output) {
    node *old = self->autograd->grad_fn;
    self->autograd->grad_fn = rl_retain(grad_fn);
    self->autograd->output = output;
    self->requires_grad = 1;
    rl_release(old);
}

/* When a tensor goes. */
static void forget_tensor(rl_tensor *self) {
    rl_autograd_meta *meta = self->autograd;
    if (meta->retains_grad && meta->grad_fn) {
        for (hook **at = &meta->grad_fn->hooks; *at; at = &(*at)->next) {
            if ((*at)->keeper == self) {
                hook *gone = *at;
                *at = gone->next;
                rl_free(gone);
                break;
            }
        }
    }
    if (meta->base) {
        view_forget(self);
        rl_release(meta->base);
    }
    hooks_free(meta->hooks);
    rl_release(meta->grad);
    rl_release(meta->grad_fn);
    rl_free(meta);
    self->autograd = NULL;
}

/* The layers below call up through these; set before main, as they are constants. */
__attribute__((constructor)) static void install(void) {
    rl_tensor_hooks_.autograd_free = forget_tensor;
    rl_record_hooks_ = (rl_record_hooks){record_call, check_inplace_allowed, trace_call};
}

/* Hooks ---------------------------------------------------------------------------------------------------------------
 */

rl_status hook_add(hook **list, rl_grad_hook call, void *context, uint32_t output, int64_t *out_handle) {
    static _Atomic(int64_t) handles;
    hook *made = rl_alloc_zero(1, sizeof *made, "a hook");
    if (made == NULL)
        return rl_error_status();
    made->handle = ++handles;
    made->call = call;
    made->context = context;
    made->output = output;
    while (*list) /* in the order of registration */
        list = &(*list)->next;
    *list = made;
    *out_handle = made->handle;
    return RL_OK;
}

bool hook_remove(hook **list, int64_t handle) {
    for (; *list; list = &(*list)->next) {
        if ((*list)->handle == handle) {
            hook *gone = *list;
            *list = gone->next;
            rl_free(gone);
            return true;
        }
    }
    return false;
}

void hooks_free(hook *list) {
    while (list) {
        hook *next = list->next;
        rl_free(list);
        list = next;
    }
}

/* Public --------------------------------------------------------------------------------------------------------------
 */

static rl_status check_self(const char *function, const rl_tensor *self) {
    if (rl_failed())
        return rl_error_status();
    return self ? RL_OK : rl_fail(RL_INVALID_ARGUMENT, "%s: self is NULL", function);
}

bool rl_tensor_is_leaf(const rl_tensor *self) {
    if (self == NULL || !self->requires_grad)
        return true;
    refresh_view((rl_tensor *)(uintptr_t)self, version_of(self));
    return self->autograd == NULL || self->autograd->grad_fn == NULL;
}

rl_tensor *rl_requires_grad(rl_tensor *self, bool requires_grad) {
    static const char function[] = "requires_grad";
    if (check_self(function, self) != RL_OK)
        return NULL;
    if (!rl_tensor_is_leaf(self)) {
        if (requires_grad)
            return self;
        return rl_fail_null(RL_AUTOGRAD, "%s: self is no leaf, its gradients follow from its inputs; detach it first",
                            function);
    }
    if (requires_grad && !rl_dtype_is_float((rl_dtype)self->dtype))
        return rl_fail_null(RL_DTYPE_MISMATCH, "%s: only floating tensors can require gradients, self is %s", function,
                            rl_dtype_name((rl_dtype)self->dtype));
    if (requires_grad && meta_of(self) == NULL)
        return NULL;
    self->requires_grad = requires_grad;
    return self;
}

bool rl_tensor_requires_grad(const rl_tensor *self) {
    return self && self->requires_grad;
}

rl_tensor *rl_grad(const rl_tensor *self) {
    return self && self->autograd ? self->autograd->grad : NULL;
}

rl_status rl_set_grad(rl_tensor *self, rl_tensor *grad) {
    static const char function[] = "set_grad";
    char have[RL_SHAPE_TEXT], want[RL_SHAPE_TEXT];
    if (check_self(function, self) != RL_OK)
        return rl_error_status();
    if (grad == NULL && self->autograd == NULL)
        return RL_OK;
    if (grad && (grad->ndim != self->ndim || memcmp(grad->shape, self->shape, sizeof(int64_t) * self->ndim) != 0))
        return rl_fail(RL_SHAPE_MISMATCH, "%s: grad must have self's shape %s, has %s", function,
                       rl_shape_text(self->ndim, self->shape, want), rl_shape_text(grad->ndim, grad->shape, have));
    if (grad && grad->dtype != self->dtype)
        return rl_fail(RL_DTYPE_MISMATCH, "%s: grad must be %s as self, is %s", function,
                       rl_dtype_name((rl_dtype)self->dtype), rl_dtype_name((rl_dtype)grad->dtype));
    if (grad && grad->storage->device != self->storage->device)
        return rl_fail(RL_DEVICE_MISMATCH, "%s: grad must be on %s as self, is on %s", function,
                       rl_device_name(self->storage->device), rl_device_name(grad->storage->device));
    if (meta_of(self) == NULL)
        return rl_error_status();
    rl_tensor *old = self->autograd->grad;
    self->autograd->grad = rl_retain(grad);
    rl_release(old);
    return RL_OK;
}

rl_status rl_retain_grad(rl_tensor *self) {
    int64_t handle = 0;
    if (check_self("retain_grad", self) != RL_OK)
        return rl_error_status();
    if (!self->requires_grad)
        return rl_fail(RL_AUTOGRAD, "retain_grad: self requires no gradient");
    if (rl_tensor_is_leaf(self) || self->autograd->retains_grad)
        return rl_error_status();
    node *from = self->autograd->grad_fn;
    if (hook_add(&from->hooks, NULL, NULL, self->autograd->output, &handle) != RL_OK)
        return rl_error_status();
    for (hook *h = from->hooks; h; h = h->next) {
        if (h->handle == handle)
            h->keeper = self;
    }
    self->autograd->retains_grad = true;
    return RL_OK;
}

rl_tensor *rl_detach(rl_tensor *self) {
    return check_self("detach", self) == RL_OK ? rl_object_own(bare_alias(self)) : NULL;
}

const char *rl_tensor_grad_fn(const rl_tensor *self) {
    return rl_tensor_is_leaf(self) ? NULL : self->autograd->grad_fn->name;
}

int64_t rl_register_hook(rl_tensor *self, rl_grad_hook call, void *context) {
    int64_t handle = 0;
    if (check_self("register_hook", self) != RL_OK)
        return 0;
    if (call == NULL) {
        rl_fail(RL_INVALID_ARGUMENT, "register_hook: hook is NULL");
        return 0;
    }
    if (!self->requires_grad) {
        rl_fail(RL_AUTOGRAD, "register_hook: self requires no gradient");
        return 0;
    }
    bool leaf = rl_tensor_is_leaf(self);
    if (rl_failed() || meta_of(self) == NULL)
        return 0;
    hook_add(leaf ? &self->autograd->hooks : &self->autograd->grad_fn->hooks, call, context,
             leaf ? 0 : self->autograd->output, &handle);
    return handle;
}

rl_status rl_remove_hook(rl_tensor *self, int64_t handle) {
    if (check_self("remove_hook", self) != RL_OK)
        return rl_error_status();
    rl_autograd_meta *meta = self->autograd;
    if (meta && (hook_remove(&meta->hooks, handle) || (meta->grad_fn && hook_remove(&meta->grad_fn->hooks, handle))))
        return RL_OK;
    return rl_fail(RL_NOT_FOUND, "remove_hook: self has no hook %lld", (long long)handle);
}

bool rl_set_grad_enabled(bool enabled) {
    bool was = rl_recording_;
    rl_recording_ = enabled;
    return was;
}

bool rl_grad_enabled(void) {
    return rl_recording_;
}

_Thread_local bool detect_anomaly;

bool rl_set_detect_anomaly(bool enabled) {
    bool was = detect_anomaly;
    detect_anomaly = enabled;
    return was;
}
