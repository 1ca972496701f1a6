/* SPDX-License-Identifier: Apache-2.0 */
/* The walk of the graph: from the roots, the latest node first, until the gradients are where they are wanted. */
#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "autograd/queue.h"
#include "base/fork.h"
#include "rushlight/ops.h"

typedef struct engine {
    const walk *walk;
    queue queue;
    /* With targets alone: */
    pointer_map targets; /* nodes and leaves at which some target stands */
    pointer_map nodes;   /* number of each node that the roots reach */
    bool *reaches;       /* by that number: a target stands below it */
} engine;

/* What leads to the targets -------------------------------------------------------------------------------------- */

static const void *end_of(const edge *self) {
    return self->to ? (const void *)self->to : self->leaf;
}

static bool is_target(const engine *self, const edge *e) {
    uint32_t unused;
    if (!map_get(&self->targets, end_of(e), &unused))
        return false;
    bool found = e->to == NULL;
    for (int64_t i = 0; i < self->walk->n_targets && !found; i++)
        found = edge_same(&self->walk->targets[i], e);
    return found;
}

/* Whether a gradient along the edge is of use. */
static bool is_wanted(const engine *self, const edge *e) {
    uint32_t number;
    if (!edge_is(e))
        return false;
    return self->walk->targets == NULL || is_target(self, e) ||
           (e->to && map_get(&self->nodes, e->to, &number) && self->reaches[number]);
}

static rl_status add_targets(engine *self) {
    uint32_t unused;
    rl_status status = RL_OK;
    for (int64_t i = 0; i < self->walk->n_targets && status == RL_OK; i++) {
        const edge *target = &self->walk->targets[i];
        if (edge_is(target) && !map_get(&self->targets, end_of(target), &unused))
            status = map_put(&self->targets, end_of(target), 0);
    }
    return status;
}

typedef struct node_list {
    node **nodes;
    uint32_t count, room;
} node_list;

static bool is_walked(const engine *self, const node *n) {
    return !self->walk->inner || node_is_since(n, self->walk->floor);
}

/* Adds what an edge leads to, if it is to be walked and new. */
static rl_status discover(engine *self, node_list *list, const edge *e) {
    uint32_t unused;
    if (e->to == NULL || !is_walked(self, e->to) || map_get(&self->nodes, e->to, &unused))
        return RL_OK;
    if (list->count == list->room) {
        uint32_t room = list->room ? 2 * list->room : 64;
        node **grown = rl_realloc(list->nodes, room, sizeof *grown, "nodes of a backward");
        if (grown == NULL)
            return rl_error_status();
        list->nodes = grown;
        list->room = room;
    }
    list->nodes[list->count++] = e->to;
    return map_put(&self->nodes, e->to, 0);
}

static int earlier_first(const void *a, const void *b) {
    uint64_t x = (*(node *const *)a)->sequence, y = (*(node *const *)b)->sequence;
    return x < y ? -1 : x > y;
}

/* Nodes above a target, from the earliest up: a node's edges lead to earlier ones. */
static rl_status mark_reaching(engine *self, node_list *list) {
    self->reaches = rl_alloc_zero((size_t)list->count + 1, sizeof *self->reaches, "nodes of a backward");
    if (self->reaches == NULL)
        return rl_error_status();
    map_free(&self->nodes);
    if (list->count > 0)
        qsort(list->nodes, list->count, sizeof *list->nodes, earlier_first);
    rl_status status = RL_OK;
    for (uint32_t i = 0; i < list->count && status == RL_OK; i++) {
        const node *n = list->nodes[i];
        for (int e = 0; e < n->n_edges; e++)
            self->reaches[i] |= is_wanted(self, &n->edges[e]);
        status = map_put(&self->nodes, n, i);
    }
    return status;
}

static rl_status find_ways(engine *self) {
    const walk *w = self->walk;
    node_list list = {0};
    rl_status status = add_targets(self);
    for (int64_t i = 0; i < w->n_roots && status == RL_OK; i++)
        status = discover(self, &list, &w->roots[i]);
    for (uint32_t i = 0; i < list.count && status == RL_OK; i++)
        for (int e = 0; e < list.nodes[i]->n_edges && status == RL_OK; e++)
            status = discover(self, &list, &list.nodes[i]->edges[e]);
    if (status == RL_OK)
        status = mark_reaching(self, &list);
    rl_free(list.nodes);
    return status;
}

/* Gradients ------------------------------------------------------------------------------------------------------ */

static bool same_shape(const rl_tensor *t, const outline *like) {
    bool same = t->ndim == like->ndim;
    for (int d = 0; same && d < like->ndim; d++)
        same = t->shape[d] == like->shape[d];
    return same;
}

/* The derivative of broadcasting is a sum; a gradient that is one number for many elements is given as such. NULL where
 * the shapes do not fit. */
static rl_tensor *unbroadcast(rl_tensor *gradient, const outline *like) {
    int64_t dims[RL_MAX_DIMS], count = 0, lead = gradient->ndim - like->ndim;
    rl_ints shape = {like->shape, like->ndim};
    for (int64_t d = 0; d < gradient->ndim; d++) {
        int64_t have = gradient->shape[d], want = d < lead ? 1 : like->shape[d - lead];
        if (have != want && want != 1 && have != 1)
            return NULL;
        if (d < lead || (want == 1 && have != 1))
            dims[count++] = d;
    }
    /* Where the tensor is of a wider float than the gradient, it gets the sum that is rounded to that one. */
    const bool wider = rl_dtype_is_float((rl_dtype)like->dtype) &&
                       rl_dtype_size((rl_dtype)like->dtype) > rl_dtype_size((rl_dtype)gradient->dtype) &&
                       rl_device_takes_dtype(gradient->storage->device, (rl_dtype)like->dtype);
    if (count > 0)
        gradient = rl_sum(gradient, .dim = {dims, count}, .keepdim = true,
                          .dtype = wider ? (rl_dtype)like->dtype : RL_DTYPE_NONE);
    if (gradient && lead > 0)
        gradient = rl_reshape(gradient, ((rl_ints){gradient->shape + lead, like->ndim}));
    return gradient && !same_shape(gradient, like) ? rl_expand(gradient, shape) : gradient;
}

rl_tensor *fit_gradient(const node *by, rl_tensor *gradient, const outline *like) {
    if (gradient == NULL || like == NULL)
        return gradient;
    if (!same_shape(gradient, like)) {
        char have[RL_SHAPE_TEXT], want[RL_SHAPE_TEXT];
        rl_shape_text(gradient->ndim, gradient->shape, have);
        gradient = unbroadcast(gradient, like);
        if (gradient == NULL)
            return rl_fail_null(RL_SHAPE_MISMATCH, "backward: %s gave a gradient of shape %s for a tensor of shape %s",
                                by->name, have, rl_shape_text(like->ndim, like->shape, want));
    }
    if (gradient->storage->device != like->device)
        return rl_to(gradient, .device = like->device, .dtype = (rl_dtype)like->dtype);
    return gradient->dtype == like->dtype ? gradient : rl_to(gradient, .dtype = (rl_dtype)like->dtype);
}

/* Targets that stand at this output get what flowed into it. */
static void capture(engine *self, const waiting *at, uint32_t output, rl_tensor *grad) {
    const walk *w = self->walk;
    edge here = {at->node, at->leaf, output};
    uint32_t unused;
    if (!map_get(&self->targets, end_of(&here), &unused))
        return;
    for (int64_t i = 0; i < w->n_targets; i++)
        if (edge_same(&w->targets[i], &here) && w->target_grads[i] == NULL)
            w->target_grads[i] = rl_retain(grad);
}

/* Threads that share a leaf add to its gradient one after the other. */
#define LOCK PTHREAD_MUTEX_INITIALIZER
static pthread_mutex_t leaf_locks[] = {LOCK, LOCK, LOCK, LOCK, LOCK, LOCK, LOCK, LOCK};
#define LEAF_LOCKS (sizeof leaf_locks / sizeof *leaf_locks)

static void leaves_take(void) {
    for (size_t i = 0; i < LEAF_LOCKS; i++)
        pthread_mutex_lock(&leaf_locks[i]);
}
static void leaves_give(void) {
    for (size_t i = LEAF_LOCKS; i-- > 0;)
        pthread_mutex_unlock(&leaf_locks[i]);
}
__attribute__((constructor)) static void mind_forks(void) {
    static const rl_fork_locks locks = {.take = leaves_take, .give = leaves_give};
    rl_at_fork(RL_FORK_LEAVES, &locks);
}

static pthread_mutex_t *lock_of(const rl_tensor *leaf) {
    return &leaf_locks[((uintptr_t)leaf >> 6) % LEAF_LOCKS];
}

/* Adds to the leaf's own gradient: in place, so that who holds it sees it, unless the sum is recorded. */
static rl_status accumulate(rl_tensor *leaf, rl_tensor *gradient) {
    RL_SCOPE();
    rl_tensor *fresh;
    assert(gradient != NULL);
    pthread_mutex_lock(lock_of(leaf));
    rl_tensor *old = rl_grad(leaf);
    if (rl_recording_) /* others may hold the gradient, and change it */
        fresh = old ? rl_add(old, gradient) : is_ours_alone(gradient) ? gradient : rl_clone(gradient);
    else if (old)
        fresh = rl_add_(old, gradient);
    else
        fresh = is_ours_alone(gradient) && !gradient->requires_grad ? gradient : rl_detach(rl_clone(gradient));
    rl_status status = fresh ? RL_OK : rl_error_status();
    if (status == RL_OK && fresh != old)
        status = rl_set_grad(leaf, fresh);
    pthread_mutex_unlock(lock_of(leaf));
    return status;
}

/* Running -------------------------------------------------------------------------------------------------------- */

static rl_status check_no_nan(const node *n, int input, rl_tensor *gradient) {
    RL_SCOPE();
    RL_NO_GRAD();
    bool nan = rl_item(rl_any(rl_isnan(gradient))) != 0.0;
    if (rl_failed())
        return rl_error_status();
    return nan ? rl_fail(RL_AUTOGRAD, "backward: %s gave NaN in the gradient of its input %d", n->name, input) : RL_OK;
}

static rl_status run_with(engine *self, node *n, rl_tensor **grads, bool *wanted, rl_tensor **out) {
    for (int e = 0; e < n->n_edges; e++) {
        out[e] = NULL;
        wanted[e] = is_wanted(self, &n->edges[e]);
    }
    rl_status status = n->kind->run(n, grads, wanted, out);
    for (int e = 0; e < n->n_edges && status == RL_OK; e++) {
        if (!wanted[e] || out[e] == NULL)
            continue;
        rl_tensor *gradient = fit_gradient(n, out[e], n->kind->outline_of ? n->kind->outline_of(n, e) : NULL);
        status = gradient ? RL_OK : rl_error_status();
        if (status == RL_OK && detect_anomaly)
            status = check_no_nan(n, e, gradient);
        if (status == RL_OK)
            status = queue_add(&self->queue, &n->edges[e], gradient);
    }
    return status;
}

static rl_status run_node(engine *self, node *n, rl_tensor **grads) {
    bool few_wanted[16];
    rl_tensor *few_out[16];
    if (n->released)
        return rl_fail(RL_AUTOGRAD,
                       "backward: %s was walked before, and the tensors that it saved are gone; to walk a graph twice, "
                       "give the first backward .retain_graph = true",
                       n->name);
    RL_SCOPE();
    if (n->n_edges <= 16)
        return run_with(self, n, grads, few_wanted, few_out);
    rl_tensor **out = rl_alloc(n->n_edges * (sizeof *out + sizeof(bool)), "gradients of a node");
    if (out == NULL)
        return rl_error_status();
    rl_status status = run_with(self, n, grads, (bool *)(out + n->n_edges), out);
    rl_free(out);
    return status;
}

/* In anomaly mode an error says what ran in the forward. */
static rl_status run_watched(engine *self, node *n, rl_tensor **grads) {
    rl_error_state outside;
    char forward[512], *text = NULL;
    rl_error_push(&outside);
    run_node(self, n, grads);
    rl_status status = rl_error_pop(&outside, &text);
    if (status != RL_OK) {
        snprintf(forward, sizeof forward, "%s", n->name);
        if (n->kind->describe)
            n->kind->describe(n, forward, sizeof forward);
        rl_fail(status, "%s; in the forward: %s", text ? text : "out of memory", forward);
    }
    free(text);
    return status;
}

static rl_status run_waiting(engine *self, waiting *w) {
    rl_tensor **grads = waiting_grads(w);
    rl_status status = RL_OK;
    hook **hooks = w->node ? &w->node->hooks : w->leaf->autograd ? &w->leaf->autograd->hooks : NULL;
    if (self->walk->inner && (w->node == NULL || !is_walked(self, w->node)))
        hooks = NULL;
    for (int i = 0; i < waiting_count(w) && status == RL_OK; i++) {
        if (grads[i] == NULL)
            continue;
        if (hooks && *hooks)
            status = hooks_run(hooks, (uint32_t)i, &grads[i]);
        if (self->walk->targets)
            capture(self, w, (uint32_t)i, grads[i]);
    }
    uint32_t number;
    const walk *what = self->walk;
    node *n = w->node;
    if (status != RL_OK)
        return status;
    if (n == NULL)
        return what->targets ? RL_OK : accumulate(w->leaf, grads[0]);
    if (what->targets && !(map_get(&self->nodes, n, &number) && self->reaches[number]))
        return RL_OK;
    status = detect_anomaly ? run_watched(self, n, grads) : run_node(self, n, grads);
    if (status == RL_OK && !what->retain_graph)
        node_release(n);
    return status;
}

static rl_status run_all(engine *self) {
    const walk *w = self->walk;
    waiting next;
    rl_status status = w->targets ? find_ways(self) : RL_OK;
    for (int64_t i = 0; i < w->n_roots && status == RL_OK; i++) {
        RL_SCOPE();
        status = queue_add(&self->queue, &w->roots[i], w->root_grads[i]);
    }
    while (status == RL_OK && (queue_pop(&self->queue, &next) || queue_pop_leaf(&self->queue, &next))) {
        status = run_waiting(self, &next);
        waiting_drop(&next);
    }
    return status;
}

rl_status engine_run(const walk *what) {
    engine self;
    self.walk = what;
    self.targets = self.nodes = (pointer_map){0};
    self.reaches = NULL;
    queue_init(&self.queue);
    /* Derivatives run in the dtypes of the forward, whatever region this is. */
    bool recording = rl_set_grad_enabled(what->create_graph), autocasting = rl_autocasting_;
    rl_autocasting_ = false;
    rl_status status = run_all(&self);
    rl_autocasting_ = autocasting;
    rl_set_grad_enabled(recording);
    queue_free(&self.queue);
    map_free(&self.targets);
    map_free(&self.nodes);
    rl_free(self.reaches);
    return status;
}
