/* SPDX-License-Identifier: Apache-2.0 */
/* Functions of one's own. */
#include <assert.h>
#include <stddef.h>
#include <string.h>

#include "autograd/graph.h"

struct rl_function_call {
    rl_function_class kind; /* a copy */
    void *context;
    node *node;          /* NULL until recorded; then it owns this */
    rl_tensor **to_save; /* during forward: retained */
    saved *saves;
    edge *sources;    /* of saves: their history, of those that are inputs */
    uint16_t *of_out; /* of saves: 1 + which output it is; the node does not hold itself by an edge */
    int64_t n_saves, n_inputs;
    bool *needs;
};

typedef struct function_node {
    node base;
    rl_function_call *call;
    outline *outlines; /* of the inputs */
} function_node;

/* The node, if there is one, has let go of what was saved. */
static void call_free(rl_function_call *self) {
    for (int64_t i = 0; i < self->n_saves; i++) {
        rl_release(self->to_save[i]);
        saved_release(&self->saves[i]);
        edge_release(&self->sources[i]);
    }
    if (self->kind.destroy) {
        rl_error_state outside;
        rl_error_push(&outside);
        self->kind.destroy(self->context);
        rl_error_pop(&outside, NULL);
    }
    rl_free(self->to_save);
    rl_free(self->saves);
    rl_free(self->sources);
    rl_free(self->of_out);
    rl_free(self->needs);
    rl_free(self);
}

/* Each tensor's gradient stands for a whole: NULL in the list is zero. */
static rl_status function_run(node *of, rl_tensor *const *grads, const bool *wanted, rl_tensor **out) {
    rl_function_call *call = ((function_node *)of)->call;
    memcpy(call->needs, wanted, (size_t)call->n_inputs * sizeof *wanted);
    rl_barrier barrier = rl_barrier_enter();
    rl_status status = rl_error_status();
    if (status == RL_OK)
        status = call->kind.backward(call, (rl_tensors){grads, of->n_outputs}, out, call->n_inputs, call->context);
    if (status != RL_OK && !rl_failed())
        rl_fail(status, "%s: backward failed", of->name);
    bool good = !rl_failed();
    for (int64_t i = 0; good && i < call->n_inputs; i++)
        rl_retain(out[i]); /* so that they outlive the barrier */
    rl_barrier_leave(barrier, NULL);
    for (int64_t i = 0; good && i < call->n_inputs; i++)
        out[i] = rl_object_own(out[i]);
    return rl_error_status();
}

static bool function_release(node *of) {
    rl_function_call *call = ((function_node *)of)->call;
    bool any = false;
    for (int64_t i = 0; i < call->n_saves; i++) {
        any |= call->saves[i].tensor != NULL;
        saved_release(&call->saves[i]);
        edge_release(&call->sources[i]);
    }
    return any;
}

static void function_finish(node *of) {
    call_free(((function_node *)of)->call);
}

static const outline *function_outline(const node *of, int number) {
    return &((const function_node *)of)->outlines[number];
}

static const node_class function_node_class = {
    .run = function_run, .release_saved = function_release, .finish = function_finish, .outline_of = function_outline};

/* What forward and backward call --------------------------------------------------------------------------------- */

rl_status rl_function_save(rl_function_call *call, rl_tensors tensors) {
    static const char function[] = "function_save";
    if (rl_failed())
        return rl_error_status();
    if (call == NULL || call->node || call->to_save)
        return rl_fail(RL_INVALID_ARGUMENT, "%s: is to be called once, by forward", function);
    if (rl_tensors_check(function, "tensor", tensors, 0, UINT16_MAX) != RL_OK)
        return rl_error_status();
    size_t count = (size_t)tensors.count + 1;
    call->to_save = rl_alloc_zero(count, sizeof *call->to_save, "saved tensors");
    call->saves = rl_alloc_zero(count, sizeof *call->saves, "saved tensors");
    call->sources = rl_alloc_zero(count, sizeof *call->sources, "saved tensors");
    call->of_out = rl_alloc_zero(count, sizeof *call->of_out, "saved tensors");
    if (rl_failed())
        return rl_error_status();
    for (int64_t i = 0; i < tensors.count; i++)
        call->to_save[i] = rl_retain(tensors.data[i]);
    call->n_saves = tensors.count;
    return RL_OK;
}

rl_tensor *rl_function_saved(rl_function_call *call, int64_t number) {
    static const char function[] = "function_saved";
    if (rl_failed())
        return NULL;
    if (call == NULL || call->node == NULL)
        return rl_fail_null(RL_INVALID_ARGUMENT, "%s: is to be called by backward", function);
    if (number < 0 || number >= call->n_saves)
        return rl_fail_null(RL_INDEX_OUT_OF_RANGE, "%s: number %lld; %lld tensors were saved", function,
                            (long long)number, (long long)call->n_saves);
    uint16_t out = call->of_out[number];
    edge own = {.to = call->node, .output = out - 1u};
    return saved_unpack(&call->saves[number], out ? &own : &call->sources[number], call->node);
}

bool rl_function_needs_grad(const rl_function_call *call, int64_t input) {
    return call && input >= 0 && input < call->n_inputs && call->needs[input];
}

/* Applying ------------------------------------------------------------------------------------------------------- */

static bool is_one_of(const rl_tensor *self, rl_tensors list) {
    for (int64_t i = 0; i < list.count; i++)
        if (list.data[i] == self)
            return true;
    return false;
}

/* Runs forward without recording. Outputs are the innermost scope's: tensors of their own, without history. */
static rl_status run_forward(rl_function_call *call, rl_tensors inputs, rl_tensor **outputs, int64_t n_outputs) {
    bool recording = rl_set_grad_enabled(false);
    rl_barrier barrier = rl_barrier_enter();
    rl_status status = rl_error_status();
    if (status == RL_OK)
        status = call->kind.forward(call, inputs, outputs, n_outputs, call->context);
    if (status != RL_OK && !rl_failed())
        rl_fail(status, "%s: forward failed", call->kind.name);
    for (int64_t i = 0; i < n_outputs && !rl_failed(); i++)
        if (outputs[i] == NULL)
            rl_fail(RL_INVALID_ARGUMENT, "%s: forward gave no output %lld", call->kind.name, (long long)i);
    bool good = !rl_failed();
    for (int64_t i = 0; good && i < n_outputs; i++)
        rl_retain(outputs[i]);
    rl_barrier_leave(barrier, NULL);
    rl_set_grad_enabled(recording);
    for (int64_t i = 0; good && i < n_outputs; i++) {
        rl_tensor *made = outputs[i];
        assert(made != NULL);
        if (made->autograd || is_one_of(made, inputs) || is_one_of(made, (rl_tensors){outputs, i})) {
            outputs[i] = bare_alias(made); /* an input that comes back is another tensor from here on */
            for (int64_t k = 0; k < call->n_saves && outputs[i]; k++) {
                if (call->to_save[k] == made && !is_one_of(made, inputs)) {
                    rl_release(call->to_save[k]);
                    call->to_save[k] = rl_retain(outputs[i]);
                }
            }
            rl_release(made);
        }
        outputs[i] = rl_object_own(outputs[i]);
    }
    if (!rl_failed())
        mark_shared(outputs, n_outputs);
    return rl_error_status();
}

/* What is neither input nor output has no history. */
static rl_status save_all(rl_function_call *call, rl_tensors inputs) {
    for (int64_t i = 0; i < call->n_saves && !rl_failed(); i++) {
        rl_tensor *t = call->to_save[i];
        if (is_one_of(t, inputs))
            edge_of(t, version_of(t), &call->sources[i]);
        if (!rl_failed())
            save_tensor(&call->saves[i], t, &call->sources[i], version_of(t));
    }
    return rl_error_status();
}

/* From here on the node owns the call. */
static function_node *node_make(rl_function_call *call, rl_tensors inputs, int64_t n_outputs) {
    size_t n = (size_t)inputs.count, n_ints = 0;
    for (int64_t i = 0; i < inputs.count; i++)
        n_ints += inputs.data[i]->ndim;
    function_node *self = node_new(sizeof *self + n * (sizeof(edge) + sizeof(outline)) + n_ints * sizeof(int64_t),
                                   &function_node_class, call->kind.name);
    if (self == NULL) {
        call_free(call);
        return NULL;
    }
    self->base.edges = (edge *)(self + 1);
    self->outlines = (outline *)(void *)(self->base.edges + n);
    self->base.n_outputs = (uint16_t)n_outputs;
    self->call = call;
    call->node = &self->base;
    int64_t *shape = (int64_t *)(void *)(self->outlines + n);
    for (int64_t i = 0; i < inputs.count && !rl_failed(); i++) {
        rl_tensor *t = inputs.data[i];
        memcpy(shape, t->shape, sizeof *shape * t->ndim);
        self->outlines[i] = (outline){t->storage->device, shape, t->dtype, t->ndim};
        shape += t->ndim;
        if (edge_of(t, version_of(t), &self->base.edges[i]) == RL_OK)
            self->base.n_edges++;
    }
    if (!rl_failed())
        save_all(call, inputs);
    node_place(&self->base);
    return self;
}

static rl_status record(rl_function_call *call, rl_tensors inputs, rl_tensor **outputs, int64_t n_outputs) {
    function_node *self = node_make(call, inputs, n_outputs);
    for (int64_t i = 0; i < n_outputs && !rl_failed(); i++)
        if (rl_dtype_is_float((rl_dtype)outputs[i]->dtype) && meta_of(outputs[i]))
            set_history(outputs[i], &self->base, (uint32_t)i);
    for (int64_t i = 0; self && i < call->n_saves; i++) { /* a saved output is found again as one of this node */
        for (int64_t k = 0; k < n_outputs; k++)
            if (call->to_save[i] == outputs[k])
                call->of_out[i] = (uint16_t)(k + 1);
        rl_release(call->to_save[i]);
        call->to_save[i] = NULL;
    }
    rl_release(self);
    return rl_error_status();
}

/* How much of the class its maker knew of. */
static size_t size_of(const rl_function_class *function) {
    return function->struct_size < sizeof *function ? function->struct_size : sizeof *function;
}

rl_status check_room(const char *function, rl_tensor **outputs, int64_t n_outputs, int64_t most) {
    if (outputs == NULL)
        return rl_fail(RL_INVALID_ARGUMENT, "%s: outputs is NULL", function);
    if (n_outputs < 1 || n_outputs > most)
        return rl_fail(RL_INVALID_ARGUMENT, "%s: n_outputs must lie within 1 and %lld, got %lld", function,
                       (long long)most, (long long)n_outputs);
    return RL_OK;
}

rl_status check_tensor_fn(const char *function, rl_tensor_fn fn, rl_tensors inputs, int64_t most_inputs,
                          rl_tensor **outputs, int64_t n_outputs, int64_t most_outputs) {
    if (rl_failed())
        return rl_error_status();
    if (fn == NULL)
        return rl_fail(RL_INVALID_ARGUMENT, "%s: fn is NULL", function);
    rl_status status = check_room(function, outputs, n_outputs, most_outputs);
    return status ? status : rl_tensors_check(function, "input", inputs, 0, most_inputs);
}

static rl_status check_function(const rl_function_class *function, rl_tensors inputs, rl_tensor **outputs,
                                int64_t n_outputs) {
    if (function == NULL || size_of(function) < offsetof(rl_function_class, destroy) || function->forward == NULL ||
        function->backward == NULL || function->name == NULL)
        return rl_fail(RL_INVALID_ARGUMENT, "function_apply: the class lacks struct_size, name, forward or backward");
    rl_status status = check_room(function->name, outputs, n_outputs, UINT16_MAX);
    return status ? status : rl_tensors_check(function->name, "input", inputs, 0, UINT16_MAX);
}

static rl_function_call *call_new(const rl_function_class *function, void *context, rl_tensors inputs) {
    rl_function_call *call = rl_alloc_zero(1, sizeof *call, "a function's call");
    bool *needs = call ? rl_alloc_zero((size_t)inputs.count + 1, sizeof *needs, "a function's call") : NULL;
    if (needs == NULL) {
        rl_free(call);
        return NULL;
    }
    for (int64_t i = 0; i < inputs.count; i++)
        needs[i] = rl_recording_ && inputs.data[i]->requires_grad;
    *call = (rl_function_call){.context = context, .n_inputs = inputs.count, .needs = needs};
    memcpy(&call->kind, function, size_of(function));
    return call;
}

rl_status rl_function_apply(const rl_function_class *function, void *context, rl_tensors inputs, rl_tensor **outputs,
                            int64_t n_outputs) {
    rl_status status = rl_error_status();
    if (status == RL_OK)
        status = check_function(function, inputs, outputs, n_outputs);
    rl_function_call *call = status == RL_OK ? call_new(function, context, inputs) : NULL;
    if (call == NULL) {
        if (function && size_of(function) == sizeof *function && function->destroy)
            function->destroy(context);
        return rl_error_status();
    }
    memset(outputs, 0, sizeof *outputs * (size_t)n_outputs);
    bool any = false;
    for (int64_t i = 0; i < inputs.count; i++)
        any |= call->needs[i];
    status = run_forward(call, inputs, outputs, n_outputs);
    if (status == RL_OK && any)
        status = record(call, inputs, outputs, n_outputs);
    else
        call_free(call);
    if (status != RL_OK)
        memset(outputs, 0, sizeof *outputs * (size_t)n_outputs);
    return status;
}
