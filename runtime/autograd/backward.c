/* SPDX-License-Identifier: Apache-2.0 */
/* rl_backward and rl_gradients: arguments checked, then the walk. */
#include <string.h>

#include "autograd/graph.h"
#include "base/sized.h"
#include "rushlight/device.h"
#include "rushlight/ops.h"

/* The gradient to begin with: the given one, or 1. */
static rl_tensor *first_gradient(const char *function, rl_tensor *self, rl_tensor *given) {
    char want[RL_SHAPE_TEXT], have[RL_SHAPE_TEXT];
    if (given == NULL) {
        if (self->numel != 1)
            return rl_fail_null(RL_SHAPE_MISMATCH,
                                "%s: self %s has %lld elements: the gradient to begin with is 1 for one element alone; "
                                "give %s",
                                function, rl_shape_text(self->ndim, self->shape, want), (long long)self->numel,
                                strcmp(function, "backward") == 0 ? ".gradient" : ".grad_outputs");
        RL_NO_GRAD();
        return rl_ones_like(self);
    }
    if (given->ndim != self->ndim || memcmp(given->shape, self->shape, sizeof(int64_t) * self->ndim) != 0)
        return rl_fail_null(RL_SHAPE_MISMATCH, "%s: gradient must have self's shape %s, has %s", function,
                            rl_shape_text(self->ndim, self->shape, want),
                            rl_shape_text(given->ndim, given->shape, have));
    if (given->storage->device != self->storage->device)
        return rl_fail_null(RL_DEVICE_MISMATCH, "%s: gradient must be on %s as self, is on %s", function,
                            rl_device_name(self->storage->device), rl_device_name(given->storage->device));
    return given->dtype == self->dtype ? given : rl_to(given, .dtype = (rl_dtype)self->dtype);
}

static rl_status check_root(const char *function, const rl_tensor *self) {
    if (self == NULL)
        return rl_fail(RL_INVALID_ARGUMENT, "%s: self is NULL", function);
    if (!self->requires_grad)
        return rl_fail(RL_AUTOGRAD,
                       "%s: self requires no gradient and has no grad_fn: no recorded op made it, there is no graph to "
                       "walk",
                       function);
    return RL_OK;
}

rl_status rl_backward_opt(rl_tensor *self, const rl_backward_options *given) {
    rl_backward_options options = {0};
    if (rl_failed() || check_root("backward", self) != RL_OK)
        return rl_error_status();
    if (rl_sized_take("backward", &options, sizeof options, given) != RL_OK)
        return rl_error_status();
    RL_SCOPE();
    edge root = {0};
    rl_tensor *gradient = first_gradient("backward", self, options.gradient);
    if (gradient == NULL || edge_of(self, version_of(self), &root) != RL_OK)
        return rl_error_status();
    rl_status status = engine_run(&(walk){.roots = &root,
                                          .root_grads = &gradient,
                                          .n_roots = 1,
                                          .retain_graph = options.retain_graph || options.create_graph,
                                          .create_graph = options.create_graph});
    edge_release(&root);
    return status;
}

/* Arrays for a walk over several roots and targets. */
typedef struct ends {
    edge *roots, *targets;
    rl_tensor **root_grads, **target_grads;
} ends;

static rl_status ends_make(ends *self, int64_t n_roots, int64_t n_targets) {
    self->roots = rl_alloc_zero((size_t)n_roots + 1, sizeof *self->roots, "gradients");
    self->targets = rl_alloc_zero((size_t)n_targets + 1, sizeof *self->targets, "gradients");
    self->root_grads = rl_alloc_zero((size_t)n_roots + 1, sizeof *self->root_grads, "gradients");
    self->target_grads = rl_alloc_zero((size_t)n_targets + 1, sizeof *self->target_grads, "gradients");
    return rl_error_status();
}

static void ends_free(ends *self, int64_t n_roots, int64_t n_targets) {
    for (int64_t i = 0; self->roots && i < n_roots; i++)
        edge_release(&self->roots[i]);
    for (int64_t i = 0; self->targets && i < n_targets; i++)
        edge_release(&self->targets[i]);
    for (int64_t i = 0; self->target_grads && i < n_targets; i++)
        rl_release(self->target_grads[i]);
    rl_free(self->roots);
    rl_free(self->targets);
    rl_free(self->root_grads);
    rl_free(self->target_grads);
}

static rl_status fill_ends(ends *self, rl_tensors outputs, rl_tensors inputs, const rl_gradients_options *options) {
    static const char function[] = "gradients";
    for (int64_t i = 0; i < outputs.count; i++) {
        rl_tensor *given = options->grad_outputs.data ? options->grad_outputs.data[i] : NULL;
        if (check_root(function, outputs.data[i]) != RL_OK)
            return rl_error_status();
        self->root_grads[i] = first_gradient(function, outputs.data[i], given);
        if (self->root_grads[i] == NULL ||
            edge_of(outputs.data[i], version_of(outputs.data[i]), &self->roots[i]) != RL_OK)
            return rl_error_status();
    }
    for (int64_t i = 0; i < inputs.count; i++) {
        rl_tensor *input = inputs.data[i];
        if (!input->requires_grad)
            return rl_fail(RL_AUTOGRAD, "%s: input %lld requires no gradient", function, (long long)i);
        if (edge_of(input, version_of(input), &self->targets[i]) != RL_OK)
            return rl_error_status();
    }
    return RL_OK;
}

rl_status rl_gradients_opt(rl_tensors outputs, rl_tensors inputs, rl_tensor **out_grads,
                           const rl_gradients_options *given) {
    rl_gradients_options options = {0};
    ends e = {0};
    if (rl_failed() || rl_sized_take("gradients", &options, sizeof options, given) != RL_OK)
        return rl_error_status();
    if (out_grads == NULL)
        return rl_fail(RL_INVALID_ARGUMENT, "gradients: out_grads is NULL");
    if (rl_tensors_check("gradients", "output", outputs, 1, UINT16_MAX) != RL_OK ||
        rl_tensors_check("gradients", "input", inputs, 1, UINT16_MAX) != RL_OK)
        return rl_error_status();
    if (options.grad_outputs.data && options.grad_outputs.count != outputs.count)
        return rl_fail(RL_INVALID_ARGUMENT, "gradients: expected as many grad_outputs as outputs, %lld, got %lld",
                       (long long)outputs.count, (long long)options.grad_outputs.count);
    memset(out_grads, 0, sizeof *out_grads * (size_t)inputs.count);
    rl_scope scope = rl_scope_begin();
    rl_status status = ends_make(&e, outputs.count, inputs.count);
    if (status == RL_OK)
        status = fill_ends(&e, outputs, inputs, &options);
    if (status == RL_OK)
        status = engine_run(&(walk){.roots = e.roots,
                                    .root_grads = e.root_grads,
                                    .n_roots = outputs.count,
                                    .targets = e.targets,
                                    .target_grads = e.target_grads,
                                    .n_targets = inputs.count,
                                    .retain_graph = options.retain_graph || options.create_graph,
                                    .create_graph = options.create_graph});
    rl_scope_end(scope);
    for (int64_t i = 0; i < inputs.count && status == RL_OK; i++) {
        if (e.target_grads[i])
            out_grads[i] = rl_object_own(rl_retain(e.target_grads[i]));
        else if (!options.allow_unused)
            status =
                rl_fail(RL_AUTOGRAD,
                        "gradients: input %lld is not part of the graph of the outputs; .allow_unused = true gives "
                        "NULL in place of this error",
                        (long long)i);
    }
    if (rl_failed())
        memset(out_grads, 0, sizeof *out_grads * (size_t)inputs.count);
    ends_free(&e, outputs.count, inputs.count);
    return rl_error_status();
}
