/* SPDX-License-Identifier: Apache-2.0 */
/* Functions of one's own, and checkpoints, which are one. */
#include <string.h>

#include "autograd/graph.h"
#include "rushlight/ops.h"

struct rl_function_call {
    const rl_function_class *kind;
    void *context;
    node *node;          /* NULL until recorded; then it owns this */
    rl_tensors inputs;   /* during forward */
    rl_tensor **to_save; /* during forward: retained */
    saved *saves;
    int64_t n_saves, n_inputs;
    bool *needs;
};

typedef struct function_node {
    node base;
    rl_function_call *call;
    outline *outlines; /* of the inputs */
    int64_t *shapes;
} function_node;

static void call_free(rl_function_call *self) {
    for (int64_t i = 0; i < self->n_saves; i++) {
        if (self->to_save)
            rl_release(self->to_save[i]);
        if (self->saves)
            saved_release(&self->saves[i]);
    }
    if (self->kind->destroy && self->context)
        self->kind->destroy(self->context);
    rl_free(self->to_save);
    rl_free(self->saves);
    rl_free(self->needs);
    rl_free(self);
}

static rl_status function_run(node *of, rl_tensor *const *grads, const bool *wanted, rl_tensor **out) {
    function_node *self = (function_node *)of;
    rl_function_call *call = self->call;
    for (int64_t i = 0; i < call->n_inputs; i++)
        call->needs[i] = wanted[i];
    rl_status status =
        call->kind->backward(call, (rl_tensors){grads, of->n_outputs}, out, call->n_inputs, call->context);
    if (status != RL_OK && !rl_failed())
        status = rl_fail(status, "backward: %s failed", of->name);
    for (int64_t i = 0; i < call->n_inputs && status == RL_OK; i++) {
        if (out[i] && out[i]->storage->device != self->outlines[i].device)
            status = rl_fail(RL_DEVICE_MISMATCH, "backward: %s gave a gradient on another device for input %lld",
                             of->name, (long long)i);
    }
    return status ? status : rl_error_status();
}

static void function_release(node *of) {
    function_node *self = (function_node *)of;
    call_free(self->call);
    rl_free(self->outlines);
    rl_free(self->shapes);
    self->call = NULL;
    self->outlines = NULL;
    self->shapes = NULL;
}

static const outline *function_outline(const node *of, int number) {
    const function_node *self = (const function_node *)of;
    return self->outlines ? &self->outlines[number] : NULL;
}

static const node_class function_node_class = {function_run, function_release, function_outline};

/* What forward and backward call
 * ---------------------------------------------------------------------------------------- */

rl_status rl_function_save(rl_function_call *call, rl_tensors tensors) {
    if (rl_failed())
        return rl_error_status();
    if (call == NULL || call->node || call->to_save || tensors.count < 0)
        return rl_fail(RL_INVALID_ARGUMENT, "function_save: is to be called once, by forward");
    call->to_save = rl_alloc_zero((size_t)tensors.count + 1, sizeof *call->to_save, "saved tensors");
    call->saves = rl_alloc_zero((size_t)tensors.count + 1, sizeof *call->saves, "saved tensors");
    if (call->to_save == NULL || call->saves == NULL)
        return rl_error_status();
    for (int64_t i = 0; i < tensors.count; i++) {
        if (tensors.data[i] == NULL)
            return rl_fail(RL_INVALID_ARGUMENT, "function_save: tensor %lld is NULL", (long long)i);
        call->to_save[call->n_saves++] = rl_retain(tensors.data[i]);
    }
    return RL_OK;
}

rl_tensor *rl_function_saved(rl_function_call *call, int64_t number) {
    if (rl_failed())
        return NULL;
    if (call == NULL || call->node == NULL)
        return rl_fail_null(RL_INVALID_ARGUMENT, "function_saved: is to be called by backward");
    if (number < 0 || number >= call->n_saves)
        return rl_fail_null(RL_INDEX_OUT_OF_RANGE, "function_saved: number %lld of %lld saved tensors",
                            (long long)number, (long long)call->n_saves);
    return saved_unpack(&call->saves[number], call->node);
}

bool rl_function_needs_grad(const rl_function_call *call, int64_t input) {
    return call && input >= 0 && input < call->n_inputs && call->needs[input];
}

/* Applying
 * ---------------------------------------------------------------------------------------------------------------- */

static rl_status run_forward(rl_function_call *call, rl_tensors inputs, rl_tensor **outputs, int64_t n_outputs) {
    bool recording = rl_recording_;
    rl_recording_ = false;
    rl_barrier barrier = rl_barrier_enter();
    rl_status status = rl_error_status();
    if (status == RL_OK)
        status = call->kind->forward(call, inputs, outputs, n_outputs, call->context);
    if (status != RL_OK && !rl_failed())
        rl_fail(status, "%s: forward failed", call->kind->name);
    for (int64_t i = 0; i < n_outputs && !rl_failed(); i++) {
        if (outputs[i] == NULL)
            rl_fail(RL_INVALID_ARGUMENT, "%s: forward gave no output %lld", call->kind->name, (long long)i);
    }
    bool good = !rl_failed();
    for (int64_t i = 0; good && i < n_outputs; i++)
        rl_retain(outputs[i]);
    rl_barrier_leave(barrier, NULL);
    rl_recording_ = recording;
    for (int64_t i = 0; good && i < n_outputs; i++) { /* an input that comes back is another tensor from here on */
        bool known = outputs[i]->autograd != NULL;
        for (int64_t k = 0; k < inputs.count; k++)
            known |= inputs.data[k] == outputs[i];
        if (known) {
            rl_tensor *alias = bare_alias(outputs[i]);
            rl_release(outputs[i]);
            outputs[i] = alias;
        }
        if (outputs[i])
            outputs[i] = rl_object_own(outputs[i]);
    }
    return rl_error_status();
}

/* From here on the node owns the call. */
static function_node *function_node_make(rl_function_call *call, rl_tensors inputs, int64_t n_outputs) {
    size_t bytes = sizeof(function_node) + (size_t)inputs.count * sizeof(edge);
    function_node *self = rl_alloc_zero(1, bytes, "a node of the graph");
    if (self == NULL)
        return NULL;
    node_init(&self->base, &function_node_class, call->kind->name);
    self->base.edges = (edge *)(self + 1);
    self->base.n_outputs = (uint16_t)n_outputs;
    self->call = call;
    call->node = &self->base;
    self->outlines = rl_alloc_zero((size_t)inputs.count + 1, sizeof *self->outlines, "a node of the graph");
    self->shapes = rl_alloc_zero((size_t)inputs.count + 1, RL_MAX_DIMS * sizeof(int64_t), "a node of the graph");
    for (int64_t i = 0; i < inputs.count && !rl_failed(); i++) {
        rl_tensor *t = inputs.data[i];
        int64_t *shape = self->shapes + i * RL_MAX_DIMS;
        memcpy(shape, t->shape, sizeof(int64_t) * t->ndim);
        self->outlines[i] = (outline){t->storage->device, shape, t->dtype, t->ndim};
        edge_of(t, version_of(t), &self->base.edges[i]);
        self->base.n_edges++;
    }
    return self;
}

static rl_status save_all(rl_function_call *call, rl_tensor **outputs, int64_t n_outputs) {
    for (int64_t i = 0; i < call->n_saves && !rl_failed(); i++) {
        int own = 0;
        for (int64_t k = 0; k < n_outputs; k++)
            own = call->to_save[i] == outputs[k] ? (int)k + 1 : own;
        save_tensor(&call->saves[i], call->to_save[i], own);
        rl_release(call->to_save[i]);
        call->to_save[i] = NULL;
    }
    return rl_error_status();
}

static rl_status record(rl_function_call *call, rl_tensors inputs, rl_tensor **outputs, int64_t n_outputs) {
    function_node *self = function_node_make(call, inputs, n_outputs);
    if (self == NULL) {
        call_free(call);
        return rl_error_status();
    }
    save_all(call, outputs, n_outputs);
    for (int64_t i = 0; i < n_outputs && !rl_failed(); i++) {
        if (rl_dtype_is_float((rl_dtype)outputs[i]->dtype) && meta_of(outputs[i]))
            set_history(outputs[i], &self->base, (uint32_t)i);
    }
    rl_release(self);
    return rl_error_status();
}

static rl_status check_function(const rl_function_class *function, rl_tensors inputs, rl_tensor **outputs,
                                int64_t n_outputs) {
    if (function == NULL || function->forward == NULL || function->backward == NULL || function->name == NULL)
        return rl_fail(RL_INVALID_ARGUMENT, "function_apply: the class lacks name, forward or backward");
    if (outputs == NULL || n_outputs < 1 || n_outputs > 250 || inputs.count < 0 || inputs.count > UINT16_MAX)
        return rl_fail(RL_INVALID_ARGUMENT, "%s: needs 1 to 250 outputs, and inputs", function->name);
    for (int64_t i = 0; i < inputs.count; i++) {
        if (inputs.data[i] == NULL)
            return rl_fail(RL_INVALID_ARGUMENT, "%s: input %lld is NULL", function->name, (long long)i);
    }
    return RL_OK;
}

rl_status rl_function_apply(const rl_function_class *function, void *context, rl_tensors inputs, rl_tensor **outputs,
                            int64_t n_outputs) {
    rl_status status = rl_error_status();
    if (status == RL_OK)
        status = check_function(function, inputs, outputs, n_outputs);
    rl_function_call *call = status == RL_OK ? rl_alloc_zero(1, sizeof *call, "a function's call") : NULL;
    if (call == NULL) {
        if (function && function->destroy && context)
            function->destroy(context);
        return rl_error_status();
    }
    memset(outputs, 0, sizeof *outputs * (size_t)n_outputs);
    call->kind = function;
    call->context = context;
    call->n_inputs = inputs.count;
    call->needs = rl_alloc_zero((size_t)inputs.count + 1, sizeof *call->needs, "a function's call");
    bool any = false;
    for (int64_t i = 0; i < inputs.count && call->needs; i++)
        any |= call->needs[i] = rl_recording_ && inputs.data[i]->requires_grad;
    status = run_forward(call, inputs, outputs, n_outputs);
    if (status == RL_OK && any)
        status = record(call, inputs, outputs, n_outputs);
    else
        call_free(call);
    if (status != RL_OK)
        memset(outputs, 0, sizeof *outputs * (size_t)n_outputs);
    return status;
}

/* Checkpoints
 * ------------------------------------------------------------------------------------------------------------- */

typedef struct checkpoint {
    rl_tensor_fn fn;
    void *context;
    uint64_t seed, offset; /* of the default generator before forward, so that the second run draws the same numbers */
} checkpoint;

static rl_status checkpoint_forward(rl_function_call *call, rl_tensors inputs, rl_tensor **outputs, int64_t n_outputs,
                                    void *context) {
    checkpoint *self = context;
    rl_generator_get_state(rl_generator_default(), &self->seed, &self->offset);
    rl_function_save(call, inputs);
    return rl_failed() ? rl_error_status() : self->fn(inputs, outputs, n_outputs, self->context);
}

/* Runs fn again with its graph, and walks that: gradients of what fn uses beside its inputs go where they always go. */
static rl_status checkpoint_walk(const checkpoint *self, rl_tensor **inputs, int64_t n_inputs, rl_tensors grads) {
    rl_tensor **outputs = rl_alloc_zero((size_t)grads.count + 1, sizeof *outputs, "a checkpoint");
    uint64_t seed, offset;
    if (outputs == NULL)
        return rl_error_status();
    rl_generator_get_state(rl_generator_default(), &seed, &offset);
    rl_generator_set_state(rl_generator_default(), self->seed, self->offset);
    bool recording = rl_set_grad_enabled(true);
    rl_status status = self->fn((rl_tensors){inputs, n_inputs}, outputs, grads.count, self->context);
    rl_set_grad_enabled(recording);
    rl_generator_set_state(rl_generator_default(), seed, offset);
    for (int64_t i = 0; i < grads.count && status == RL_OK; i++) {
        if (grads.data[i] && outputs[i] && outputs[i]->requires_grad)
            status = rl_backward(outputs[i], .gradient = grads.data[i], .retain_graph = i + 1 < grads.count);
    }
    rl_free(outputs);
    return status ? status : rl_error_status();
}

static rl_status checkpoint_backward(rl_function_call *call, rl_tensors grads, rl_tensor **out, int64_t n_inputs,
                                     void *context) {
    if (rl_recording_)
        return rl_fail(RL_UNSUPPORTED, "checkpoint: gradients of gradients are not recorded; call the function itself");
    rl_tensor **inputs = rl_alloc_zero((size_t)n_inputs + 1, sizeof *inputs, "a checkpoint");
    if (inputs == NULL)
        return rl_error_status();
    for (int64_t i = 0; i < n_inputs && !rl_failed(); i++) {
        inputs[i] = rl_detach(rl_function_saved(call, i));
        if (rl_function_needs_grad(call, i))
            rl_requires_grad(inputs[i], true);
    }
    if (!rl_failed())
        checkpoint_walk(context, inputs, n_inputs, grads);
    for (int64_t i = 0; i < n_inputs && !rl_failed(); i++)
        out[i] = rl_grad(inputs[i]);
    rl_free(inputs);
    return rl_error_status();
}

static void checkpoint_destroy(void *context) {
    rl_free(context);
}

rl_status rl_checkpoint(rl_tensor_fn fn, void *context, rl_tensors inputs, rl_tensor **outputs, int64_t n_outputs) {
    static const rl_function_class kind = {sizeof kind, "CheckpointFunctionBackward", checkpoint_forward,
                                           checkpoint_backward, checkpoint_destroy};
    if (rl_failed())
        return rl_error_status();
    if (fn == NULL)
        return rl_fail(RL_INVALID_ARGUMENT, "checkpoint: fn is NULL");
    checkpoint *self = rl_alloc_zero(1, sizeof *self, "a checkpoint");
    if (self == NULL)
        return rl_error_status();
    self->fn = fn;
    self->context = context;
    return rl_function_apply(&kind, self, inputs, outputs, n_outputs);
}
