/* SPDX-License-Identifier: Apache-2.0 */
/* What autograd knows of a tensor: leaf or result, gradient, hooks. And the modes of a thread. */
#include <string.h>

#include "autograd/graph.h"
#include "rushlight/device.h"

static rl_pool meta_pool = {.bytes = sizeof(rl_autograd_meta), .what = "autograd's part of a tensor"};

rl_autograd_meta *meta_of(rl_tensor *self) {
    if (self->autograd == NULL) {
        self->autograd = rl_pool_take(&meta_pool);
        if (self->autograd)
            memset(self->autograd, 0, sizeof *self->autograd);
    }
    return self->autograd;
}

/* History -------------------------------------------------------------------------------------------------------- */

rl_status edge_of(rl_tensor *self, uint32_t version, edge *out) {
    *out = (edge){NULL, NULL, 0};
    if (!self->requires_grad)
        return RL_OK;
    rl_autograd_meta *meta = self->autograd;
    if (meta && meta->base) {
        rl_status status = view_refresh(self, version);
        if (status != RL_OK)
            return status;
    }
    if (meta && meta->grad_fn) {
        out->to = rl_retain(meta->grad_fn);
        out->output = meta->output;
    } else {
        out->leaf = rl_retain(self);
    }
    return RL_OK;
}

node *exchange_history(rl_tensor *self, node *grad_fn, uint32_t output) {
    rl_autograd_meta *meta = self->autograd;
    node *old = meta->grad_fn;
    if (meta->retains_grad && old)
        hook_move_keeper(&old->hooks, self, &grad_fn->hooks, output);
    meta->grad_fn = rl_retain(grad_fn);
    meta->output = output;
    if (!self->requires_grad) /* of a view that threads refresh, others read it just now */
        self->requires_grad = 1;
    return old;
}

void set_history(rl_tensor *self, node *grad_fn, uint32_t output) {
    rl_release(exchange_history(self, grad_fn, output));
}

void mark_shared(rl_tensor *const *outputs, int64_t n_outputs) {
    for (int64_t i = 0; i < n_outputs; i++) {
        bool alone = atomic_load_explicit(&outputs[i]->storage->object.count, memory_order_relaxed) == 1;
        outputs[i]->untracked = alone ? RL_TRACKED : RL_UNTRACKED_OUTPUT;
    }
}

/* When a tensor goes. */
static void forget_tensor(rl_tensor *self) {
    rl_autograd_meta *meta = self->autograd;
    if (meta->retains_grad && meta->grad_fn)
        hook_move_keeper(&meta->grad_fn->hooks, self, NULL, 0);
    if (meta->base)
        view_forget(self);
    hooks_free(meta->hooks);
    self->autograd = NULL;
    rl_tensor *grad = meta->grad;
    node *grad_fn = meta->grad_fn;
    hook_place *places = meta->hook_places;
    rl_pool_give(&meta_pool, meta);
    rl_release(grad);
    rl_release(grad_fn);
    hook_places_free(places);
}

static bool is_parameter(const rl_tensor *self) {
    return self->requires_grad && self->autograd && self->autograd->grad_fn == NULL && self->autograd->base == NULL;
}

/* The layers below call up through these; set before main, as they are constants. */
__attribute__((constructor)) static void install(void) {
    rl_tensor_hooks_.autograd_free = forget_tensor;
    rl_record_hooks_ = (rl_record_hooks){record_call, record_before_inplace, trace_call, view_made, is_parameter};
}

/* Leaves --------------------------------------------------------------------------------------------------------- */

static rl_status check_self(const char *function, const rl_tensor *self) {
    if (rl_failed())
        return rl_error_status();
    return self ? RL_OK : rl_fail(RL_INVALID_ARGUMENT, "%s: self is NULL", function);
}

/* Its history as it is now: a view's may be out of date. */
static node *grad_fn_of(const rl_tensor *self) {
    rl_tensor *t = (rl_tensor *)(uintptr_t)self;
    if (t == NULL || !t->requires_grad || t->autograd == NULL || view_refresh(t, version_of(t)) != RL_OK)
        return NULL;
    return t->autograd->grad_fn;
}

bool rl_tensor_is_leaf(const rl_tensor *self) {
    return grad_fn_of(self) == NULL;
}

rl_tensor *rl_requires_grad(rl_tensor *self, bool requires_grad) {
    static const char function[] = "requires_grad";
    if (check_self(function, self) != RL_OK)
        return NULL;
    bool leaf = rl_tensor_is_leaf(self);
    if (rl_failed())
        return NULL;
    if (!leaf)
        return requires_grad ? self
                             : rl_fail_null(RL_AUTOGRAD,
                                            "%s: self is no leaf: whether it requires gradients follows from the "
                                            "inputs of %s, which made it; detach it first",
                                            function, self->autograd->grad_fn->name);
    if (requires_grad && !rl_dtype_is_float((rl_dtype)self->dtype))
        return rl_fail_null(RL_DTYPE_MISMATCH, "%s: only tensors of floating dtypes can require gradients, self is %s",
                            function, rl_dtype_name((rl_dtype)self->dtype));
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

static rl_status check_grad(const char *function, const rl_tensor *self, const rl_tensor *grad) {
    char have[RL_SHAPE_TEXT], want[RL_SHAPE_TEXT];
    if (grad == NULL)
        return RL_OK;
    if (grad == self)
        return rl_fail(RL_INVALID_ARGUMENT, "%s: grad is self itself", function);
    if (grad->ndim != self->ndim || memcmp(grad->shape, self->shape, sizeof(int64_t) * self->ndim) != 0)
        return rl_fail(RL_SHAPE_MISMATCH, "%s: grad must have self's shape %s, has %s", function,
                       rl_shape_text(self->ndim, self->shape, want), rl_shape_text(grad->ndim, grad->shape, have));
    if (grad->dtype != self->dtype)
        return rl_fail(RL_DTYPE_MISMATCH, "%s: grad must be %s as self, is %s", function,
                       rl_dtype_name((rl_dtype)self->dtype), rl_dtype_name((rl_dtype)grad->dtype));
    if (grad->storage->device != self->storage->device)
        return rl_fail(RL_DEVICE_MISMATCH, "%s: grad must be on %s as self, is on %s", function,
                       rl_device_name(self->storage->device), rl_device_name(grad->storage->device));
    return RL_OK;
}

rl_status rl_set_grad(rl_tensor *self, rl_tensor *grad) {
    static const char function[] = "set_grad";
    if (check_self(function, self) != RL_OK || check_grad(function, self, grad) != RL_OK)
        return rl_error_status();
    if (grad == NULL && self->autograd == NULL)
        return RL_OK;
    if (meta_of(self) == NULL)
        return rl_error_status();
    rl_tensor *old = self->autograd->grad;
    self->autograd->grad = rl_retain(grad);
    rl_release(old);
    return RL_OK;
}

rl_tensor *rl_detach(rl_tensor *self) {
    return check_self("detach", self) == RL_OK ? rl_object_own(bare_alias(self)) : NULL;
}

const char *rl_tensor_grad_fn(const rl_tensor *self) {
    const node *grad_fn = grad_fn_of(self);
    return grad_fn ? grad_fn->name : NULL;
}

/* Hooks ---------------------------------------------------------------------------------------------------------- */

rl_status rl_retain_grad(rl_tensor *self) {
    int64_t handle;
    if (check_self("retain_grad", self) != RL_OK)
        return rl_error_status();
    if (!self->requires_grad)
        return rl_fail(RL_AUTOGRAD, "retain_grad: self requires no gradient");
    node *from = grad_fn_of(self);
    if (rl_failed() || from == NULL || self->autograd->retains_grad)
        return rl_error_status();
    rl_status status = hook_add(&from->hooks, NULL, NULL, self->autograd->output, self, &handle);
    self->autograd->retains_grad = status == RL_OK;
    return status;
}

int64_t rl_register_hook(rl_tensor *self, rl_grad_hook call, void *context) {
    static const char function[] = "register_hook";
    int64_t handle = 0;
    if (check_self(function, self) != RL_OK)
        return 0;
    if (call == NULL)
        rl_fail(RL_INVALID_ARGUMENT, "%s: hook is NULL", function);
    else if (!self->requires_grad)
        rl_fail(RL_AUTOGRAD, "%s: self requires no gradient", function);
    node *from = rl_failed() ? NULL : grad_fn_of(self);
    if (rl_failed() || meta_of(self) == NULL)
        return 0;
    rl_autograd_meta *meta = self->autograd;
    if (from)
        hook_add_at(&meta->hook_places, from, call, context, meta->output, &handle);
    else
        hook_add(&meta->hooks, call, context, 0, NULL, &handle);
    return handle;
}

rl_status rl_remove_hook(rl_tensor *self, int64_t handle) {
    if (check_self("remove_hook", self) != RL_OK)
        return rl_error_status();
    rl_autograd_meta *meta = self->autograd;
    if (meta && (hook_remove(&meta->hooks, handle) || hook_remove_at(&meta->hook_places, handle)))
        return RL_OK;
    return rl_fail(RL_NOT_FOUND, "remove_hook: self has no hook of handle %lld", (long long)handle);
}

/* Modes ---------------------------------------------------------------------------------------------------------- */

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
