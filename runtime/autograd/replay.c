/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Functions that are run again in the backward: checkpoints, and fused functions (fuse.c). The first run, on inputs cut
 * off from their history, tells where else gradients are wanted: at the leaves and earlier nodes that the function uses
 * beside its inputs. The node has edges to all of these; its derivative runs the function again with recording on and
 * walks what was recorded, down to those very ends and no further.
 */
#include <assert.h>
#include <string.h>

#include "autograd/queue.h"
#include "rushlight/ops.h"

typedef struct edge_list {
    edge *edges;
    uint32_t count, room;
} edge_list;

struct replay {
    const char *name;
    rl_tensor_fn fn;
    void *context;
    rl_tensors inputs;     /* the caller's */
    rl_tensor **stand_ins; /* one count each: the inputs cut off from their history, requiring gradients as they do */
    rl_draws draws;        /* of the first run */
    rl_autocast autocast;  /* the regions that it was in */
    uint64_t begin;        /* nodes of this thread above were made by fn */
    edge_list uses;        /* ends of what fn used beside its inputs */
    pointer_map seen;      /* nodes that fn made and that were looked through */
};

typedef struct replay_node {
    node base;
    rl_tensor_fn fn;
    void *context;
    rl_draws draws;
    rl_autocast autocast;
    uint16_t n_inputs; /* edges beyond these are what fn uses besides */
    saved *saved;      /* the inputs */
} replay_node;

rl_status call_tensor_fn(const char *name, rl_tensor_fn fn, void *context, rl_tensors inputs, rl_tensor **outputs,
                         int64_t n_outputs) {
    memset(outputs, 0, sizeof *outputs * (size_t)n_outputs);
    rl_barrier barrier = rl_barrier_enter();
    rl_autocast around = rl_autocast_enter(rl_autocast_now());
    rl_status status = rl_error_status();
    if (status == RL_OK)
        status = fn(inputs, outputs, n_outputs, context);
    rl_autocast_end(around);
    if (status != RL_OK && !rl_failed())
        rl_fail(status, "%s: the function failed", name);
    for (int64_t i = 0; i < n_outputs && !rl_failed(); i++)
        if (outputs[i] == NULL)
            rl_fail(RL_INVALID_ARGUMENT, "%s: the function gave no output %lld", name, (long long)i);
    bool good = !rl_failed();
    for (int64_t i = 0; good && i < n_outputs; i++)
        rl_retain(outputs[i]);
    rl_barrier_leave(barrier, NULL);
    for (int64_t i = 0; i < n_outputs; i++)
        outputs[i] = good ? rl_object_own(outputs[i]) : NULL;
    return rl_error_status();
}

/* The first run -------------------------------------------------------------------------------------------------- */

replay *replay_begin(const char *name, rl_tensor_fn fn, void *context, rl_tensors inputs) {
    replay *self = rl_alloc_zero(1, sizeof *self + (size_t)inputs.count * sizeof *self->stand_ins, "a checkpoint");
    if (self == NULL)
        return NULL;
    *self = (replay){.name = name,
                     .fn = fn,
                     .context = context,
                     .inputs = inputs,
                     .stand_ins = (rl_tensor **)(self + 1),
                     .autocast = rl_autocast_now()};
    for (int64_t i = 0; i < inputs.count && !rl_failed(); i++) {
        rl_tensor *t = inputs.data[i];
        self->stand_ins[i] = bare_alias(t);
        if (self->stand_ins[i] && t->requires_grad)
            rl_requires_grad(self->stand_ins[i], true);
    }
    self->begin = node_clock();
    if (!rl_failed())
        return self;
    replay_cancel(self);
    return NULL;
}

rl_status replay_first_run(replay *self, const char *name, rl_tensors inputs, rl_tensor **outputs, int64_t n_outputs) {
    rl_draw_scope scope;
    rl_draws_enter(&scope, &self->draws, false);
    rl_status status = call_tensor_fn(name, self->fn, self->context, inputs, outputs, n_outputs);
    rl_draws_leave(&scope);
    return status;
}

void replay_cancel(replay *self) {
    if (self == NULL)
        return;
    for (int64_t i = 0; i < self->inputs.count; i++)
        rl_release(self->stand_ins[i]);
    for (uint32_t i = 0; i < self->uses.count; i++)
        edge_release(&self->uses.edges[i]);
    rl_free(self->uses.edges);
    map_free(&self->seen);
    rl_draws_free(&self->draws);
    rl_free(self);
}

/* Appends a copy of the edge. */
static rl_status append(edge_list *list, const edge *e) {
    if (list->count == list->room) {
        uint32_t room = list->room ? 2 * list->room : 16;
        edge *grown = rl_realloc(list->edges, room, sizeof *grown, "edges of a checkpoint");
        if (grown == NULL)
            return rl_error_status();
        list->edges = grown;
        list->room = room;
    }
    list->edges[list->count++] = edge_copy(e);
    return RL_OK;
}

static bool is_stand_in(const replay *self, const rl_tensor *leaf) {
    for (int64_t i = 0; i < self->inputs.count; i++)
        if (self->stand_ins[i] == leaf)
            return true;
    return false;
}

/* An end that is not known yet goes to the uses, a node that fn made to `through`, to be looked through. */
static rl_status sort_edge(replay *self, edge_list *through, const edge *e) {
    uint32_t unused;
    if (!edge_is(e) || (e->leaf && is_stand_in(self, e->leaf)))
        return RL_OK;
    if (e->to && node_is_since(e->to, self->begin)) {
        if (map_get(&self->seen, e->to, &unused))
            return RL_OK;
        rl_status status = map_put(&self->seen, e->to, 0);
        return status == RL_OK ? append(through, e) : status;
    }
    for (uint32_t i = 0; i < self->uses.count; i++)
        if (edge_same(&self->uses.edges[i], e))
            return RL_OK;
    return append(&self->uses, e);
}

rl_status replay_uses(replay *self, rl_tensor *tensor) {
    edge_list through = {0};
    edge first;
    rl_status status = edge_of(tensor, version_of(tensor), &first);
    if (status == RL_OK)
        status = sort_edge(self, &through, &first);
    edge_release(&first);
    for (uint32_t i = 0; i < through.count && status == RL_OK; i++) {
        const node *n = through.edges[i].to;
        for (int e = 0; e < n->n_edges && status == RL_OK; e++)
            status = sort_edge(self, &through, &n->edges[e]);
    }
    for (uint32_t i = 0; i < through.count; i++)
        edge_release(&through.edges[i]);
    rl_free(through.edges);
    return status;
}

/* Running again -------------------------------------------------------------------------------------------------- */

/* The inputs for the second run, and the edges at which their gradients will be found. While gradients of gradients
 * are recorded, they have their history, but stand at nodes of their own, so that one tensor may be given twice. */
static rl_status second_inputs(replay_node *self, const bool *wanted, rl_tensor **inputs, edge *targets) {
    for (int i = 0; i < self->n_inputs && !rl_failed(); i++) {
        rl_tensor *before = saved_unpack(&self->saved[i], &self->base.edges[i], &self->base);
        inputs[i] = before == NULL ? NULL : rl_recording_ ? rl_alias(before) : rl_detach(before);
        if (inputs[i] && wanted[i] && !rl_recording_)
            rl_requires_grad(inputs[i], true);
        if (inputs[i] && wanted[i])
            edge_of(inputs[i], version_of(inputs[i]), &targets[i]);
    }
    return rl_error_status();
}

static rl_status run_again(replay_node *self, rl_tensor **inputs, rl_tensor **outputs) {
    rl_draw_scope scope;
    rl_draws_enter(&scope, &self->draws, true);
    bool recording = rl_set_grad_enabled(true);
    rl_autocast around = rl_autocast_enter(self->autocast);
    rl_status status = call_tensor_fn(self->base.name, self->fn, self->context, (rl_tensors){inputs, self->n_inputs},
                                      outputs, self->base.n_outputs);
    rl_autocast_end(around);
    rl_set_grad_enabled(recording);
    rl_draws_leave(&scope);
    return status;
}

/* Room for one run of the derivative, in one block. */
typedef struct second_run {
    edge *targets, *roots;
    rl_tensor **found, **inputs, **outputs, **seeds;
} second_run;

static rl_status walk_again(replay_node *self, const second_run *r, rl_tensor *const *grads, uint64_t floor) {
    int64_t n_roots = 0;
    rl_status status = RL_OK;
    for (int i = 0; i < self->base.n_outputs && status == RL_OK; i++) {
        rl_tensor *y = r->outputs[i];
        if (grads[i] == NULL || !y->requires_grad)
            continue;
        r->seeds[n_roots] = grads[i];
        status = edge_of(y, version_of(y), &r->roots[n_roots++]);
    }
    if (status == RL_OK)
        status = engine_run(&(walk){.roots = r->roots,
                                    .root_grads = r->seeds,
                                    .n_roots = n_roots,
                                    .targets = r->targets,
                                    .target_grads = r->found,
                                    .n_targets = self->base.n_edges,
                                    .floor = floor,
                                    .inner = true,
                                    .retain_graph = rl_recording_,
                                    .create_graph = rl_recording_});
    for (int64_t i = 0; i < n_roots; i++)
        edge_release(&r->roots[i]);
    return status;
}

static rl_status replay_run(node *of, rl_tensor *const *grads, const bool *wanted, rl_tensor **out) {
    replay_node *self = (replay_node *)of;
    size_t n_edges = of->n_edges, n_outputs = of->n_outputs;
    second_run r;
    r.targets = rl_alloc_zero(1, (n_edges + n_outputs) * sizeof(edge) + 2 * (n_edges + n_outputs) * sizeof(rl_tensor *),
                              "a checkpoint's second run");
    if (r.targets == NULL)
        return rl_error_status();
    r.roots = r.targets + n_edges;
    r.found = (rl_tensor **)(r.roots + n_outputs);
    r.inputs = r.found + n_edges;
    r.outputs = r.inputs + n_edges;
    r.seeds = r.outputs + n_outputs;
    rl_status status = second_inputs(self, wanted, r.inputs, r.targets);
    for (size_t i = self->n_inputs; i < n_edges; i++)
        if (wanted[i])
            r.targets[i] = edge_copy(&of->edges[i]);
    uint64_t floor = node_clock();
    if (status == RL_OK && run_again(self, r.inputs, r.outputs) == RL_OK)
        (void)walk_again(self, &r, grads, floor);
    for (size_t i = 0; i < n_edges; i++) {
        out[i] = rl_object_own(r.found[i]); /* also on failure, so that they are freed */
        edge_release(&r.targets[i]);
    }
    rl_free(r.targets);
    return rl_error_status();
}

static bool replay_release(node *of) {
    replay_node *self = (replay_node *)of;
    bool any = false;
    for (int i = 0; i < self->n_inputs; i++) {
        any |= self->saved[i].tensor != NULL;
        saved_release(&self->saved[i]);
    }
    return any;
}

static void replay_finish(node *of) {
    rl_draws_free(&((replay_node *)of)->draws);
}

static const node_class replay_class = {.run = replay_run, .release_saved = replay_release, .finish = replay_finish};

/* Making the node ------------------------------------------------------------------------------------------------ */

static replay_node *node_make(replay *self, int64_t n_outputs) {
    size_t n_inputs = (size_t)self->inputs.count, n_edges = n_inputs + self->uses.count;
    if (n_edges > UINT16_MAX)
        return rl_fail_null(RL_UNSUPPORTED, "%s: the function uses %zu tensors; at most %d can be recorded", self->name,
                            n_edges, UINT16_MAX);
    replay_node *made =
        node_new(sizeof *made + n_edges * sizeof(edge) + n_inputs * sizeof(saved), &replay_class, self->name);
    if (made == NULL)
        return NULL;
    made->base.edges = (edge *)(made + 1);
    made->base.n_outputs = (uint16_t)n_outputs;
    made->saved = (saved *)(void *)(made->base.edges + n_edges);
    made->n_inputs = 0;
    made->fn = self->fn;
    made->context = self->context;
    made->draws = self->draws;
    made->autocast = self->autocast;
    self->draws = (rl_draws){0};
    for (int64_t i = 0; i < self->inputs.count && !rl_failed(); i++) {
        rl_tensor *t = self->inputs.data[i];
        edge *e = &made->base.edges[i];
        if (edge_of(t, version_of(t), e) != RL_OK)
            break;
        made->base.n_edges++;
        if (save_tensor(&made->saved[i], t, e, version_of(t)) == RL_OK)
            made->n_inputs++;
    }
    for (uint32_t i = 0; i < self->uses.count && !rl_failed(); i++)
        made->base.edges[made->base.n_edges++] = edge_copy(&self->uses.edges[i]);
    node_place(&made->base);
    return made;
}

rl_status replay_end(replay *self, rl_tensor **outputs, const bool *differentiable, int64_t n_outputs) {
    bool any = false;
    for (int64_t i = 0; i < n_outputs; i++)
        any |= differentiable[i];
    replay_node *made = any && !rl_failed() ? node_make(self, n_outputs) : NULL;
    for (int64_t i = 0; i < n_outputs && made && !rl_failed(); i++)
        if (differentiable[i] && meta_of(outputs[i]))
            set_history(outputs[i], &made->base, (uint32_t)i);
    rl_release(made);
    replay_cancel(self);
    return rl_error_status();
}

/* Checkpoints ---------------------------------------------------------------------------------------------------- */

/* Outputs without the graph of the first run; which of them were part of it. */
static rl_status cut_off(replay *self, rl_tensor **outputs, bool *differentiable, int64_t n_outputs) {
    rl_status status = RL_OK;
    for (int64_t i = 0; i < n_outputs && status == RL_OK; i++) {
        assert(outputs[i] != NULL);
        differentiable[i] = outputs[i]->requires_grad;
        status = replay_uses(self, outputs[i]);
        outputs[i] = status == RL_OK ? rl_detach(outputs[i]) : NULL;
    }
    return rl_error_status();
}

static rl_status run_checkpoint(replay *self, rl_tensor **outputs, bool *differentiable, int64_t n_outputs) {
    rl_scope scope = rl_scope_begin();
    rl_status status = rl_error_status();
    if (status == RL_OK)
        status =
            replay_first_run(self, self->name, (rl_tensors){self->stand_ins, self->inputs.count}, outputs, n_outputs);
    if (status == RL_OK)
        status = cut_off(self, outputs, differentiable, n_outputs);
    for (int64_t i = 0; i < n_outputs && status == RL_OK; i++)
        rl_keep(outputs[i]);
    rl_scope_end(scope);
    if (status == RL_OK)
        mark_shared(outputs, n_outputs);
    return status;
}

rl_status rl_checkpoint(rl_tensor_fn fn, void *context, rl_tensors inputs, rl_tensor **outputs, int64_t n_outputs) {
    static const char name[] = "CheckpointFunctionBackward";
    if (check_tensor_fn("checkpoint", fn, inputs, UINT16_MAX, outputs, n_outputs, UINT16_MAX) != RL_OK)
        return rl_error_status();
    if (!rl_recording_)
        return call_tensor_fn("checkpoint", fn, context, inputs, outputs, n_outputs);
    bool *differentiable = rl_alloc_zero((size_t)n_outputs, sizeof *differentiable, "a checkpoint");
    replay *self = differentiable ? replay_begin(name, fn, context, inputs) : NULL;
    if (self) {
        if (run_checkpoint(self, outputs, differentiable, n_outputs) == RL_OK)
            replay_end(self, outputs, differentiable, n_outputs);
        else
            replay_cancel(self);
    }
    rl_free(differentiable);
    if (rl_failed())
        memset(outputs, 0, sizeof *outputs * (size_t)n_outputs);
    return rl_error_status();
}
