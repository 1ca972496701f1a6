/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The walk of the graph: from the roots, each node once all gradients that flow into it are there, later nodes before
 * earlier ones, without recursion. Kahn 1962, with a heap in place of the queue.
 */
#include <string.h>

#include "autograd/graph.h"
#include "rushlight/ops.h"

typedef struct task { /* what the walk knows of a node or a leaf */
    node *node;       /* or */
    rl_tensor *leaf;
    uint32_t dependencies; /* edges into it that have not brought their gradient yet */
    bool reaches;          /* something that is asked for lies at or below it */
    bool runs;             /* ... below it: its derivative is needed */
    rl_tensor *one;        /* the gradients of its outputs; of one output here, else in `many` */
    rl_tensor **many;
} task;

typedef struct engine {
    const walk *walk;
    task *tasks;
    uint32_t n_tasks, room;
    uint32_t *table; /* hash of the pointer to 1 + number of the task */
    uint32_t table_mask;
    uint32_t *heap, n_heap;
} engine;

/* Tasks
 * ------------------------------------------------------------------------------------------------------------------ */

static const void *key_of(const task *t) {
    return t->node ? (const void *)t->node : t->leaf;
}

static uint32_t slot_of(const engine *self, const void *key) {
    uint64_t hash = (uint64_t)(uintptr_t)key >> 4;
    hash *= 0x9E3779B97F4A7C15u;
    uint32_t at = (uint32_t)(hash >> 32) & self->table_mask;
    while (self->table[at] && key_of(&self->tasks[self->table[at] - 1]) != key)
        at = (at + 1) & self->table_mask;
    return at;
}

static rl_status grow(engine *self) {
    uint32_t room = self->room ? 2 * self->room : 32;
    task *tasks = rl_realloc(self->tasks, room, sizeof *tasks, "tasks of a backward");
    if (tasks == NULL)
        return rl_error_status();
    self->tasks = tasks;
    uint32_t *table = rl_alloc_zero(2 * (size_t)room, sizeof *table, "tasks of a backward");
    if (table == NULL)
        return rl_error_status();
    rl_free(self->table);
    self->table = table;
    self->table_mask = 2 * room - 1;
    self->room = room;
    for (uint32_t i = 0; i < self->n_tasks; i++)
        self->table[slot_of(self, key_of(&self->tasks[i]))] = i + 1;
    return RL_OK;
}

/* The number of the task of what the edge points to; made where it is new. UINT32_MAX on failure. */
static uint32_t task_for(engine *self, const edge *to, bool *out_new) {
    if (self->n_tasks == self->room && grow(self) != RL_OK)
        return UINT32_MAX;
    const void *key = to->to ? (const void *)to->to : to->leaf;
    uint32_t at = slot_of(self, key);
    *out_new = self->table[at] == 0;
    if (*out_new) {
        self->tasks[self->n_tasks] =
            (task){.node = to->to, .leaf = to->to ? NULL : to->leaf, .reaches = true, .runs = true};
        self->table[at] = ++self->n_tasks;
    }
    return self->table[at] - 1;
}

static task *task_at(const engine *self, const edge *to) {
    const void *key = to->to ? (const void *)to->to : to->leaf;
    return &self->tasks[self->table[slot_of(self, key)] - 1];
}

/* Finds all that the roots reach, and counts edges. Tasks are visited in the order in which they were found. */
static rl_status discover(engine *self) {
    bool fresh;
    for (int64_t i = 0; i < self->walk->n_roots; i++) {
        if (task_for(self, &self->walk->roots[i], &fresh) == UINT32_MAX)
            return rl_error_status();
    }
    for (uint32_t i = 0; i < self->n_tasks; i++) {
        node *n = self->tasks[i].node;
        for (int e = 0; n && e < n->n_edges; e++) {
            uint32_t to = edge_is(&n->edges[e]) ? task_for(self, &n->edges[e], &fresh) : UINT32_MAX;
            if (to != UINT32_MAX)
                self->tasks[to].dependencies++;
            else if (rl_failed())
                return rl_error_status();
        }
    }
    return RL_OK;
}

/* With targets, only what leads to one of them is run. From the leaves up: a node after all that it points to. */
static rl_status restrict_to_targets(engine *self) {
    const walk *w = self->walk;
    if (w->targets == NULL)
        return RL_OK;
    uint32_t *order = rl_alloc_zero((size_t)self->n_tasks + 1, 2 * sizeof *order, "order of a backward");
    if (order == NULL)
        return rl_error_status();
    uint32_t *left = order + self->n_tasks + 1, count = 0;
    for (uint32_t i = 0; i < self->n_tasks; i++) {
        self->tasks[i].reaches = self->tasks[i].runs = false;
        left[i] = self->tasks[i].dependencies;
        if (left[i] == 0)
            order[count++] = i;
    }
    for (int64_t i = 0; i < w->n_targets; i++) {
        const void *key = w->targets[i].to ? (const void *)w->targets[i].to : w->targets[i].leaf;
        uint32_t at = key ? self->table[slot_of(self, key)] : 0;
        if (at)
            self->tasks[at - 1].reaches = true;
    }
    for (uint32_t i = 0; i < count; i++) {
        node *n = self->tasks[order[i]].node;
        for (int e = 0; n && e < n->n_edges; e++) {
            if (!edge_is(&n->edges[e]))
                continue;
            uint32_t to = (uint32_t)(task_at(self, &n->edges[e]) - self->tasks);
            if (--left[to] == 0)
                order[count++] = to;
        }
    }
    while (count-- > 0) {
        task *t = &self->tasks[order[count]];
        for (int e = 0; t->node && e < t->node->n_edges; e++)
            t->runs |= edge_is(&t->node->edges[e]) && task_at(self, &t->node->edges[e])->reaches;
        t->reaches |= t->runs;
    }
    rl_free(order);
    return RL_OK;
}

/* The heap of tasks that are ready: leaves first, then the latest node
 * ------------------------------------------------------ */

static uint64_t priority(const engine *self, uint32_t number) {
    const task *t = &self->tasks[number];
    return t->node ? t->node->sequence : UINT64_MAX;
}

static void push(engine *self, uint32_t number) {
    uint32_t at = self->n_heap++;
    while (at > 0 && priority(self, self->heap[(at - 1) / 2]) < priority(self, number)) {
        self->heap[at] = self->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    self->heap[at] = number;
}

static uint32_t pop(engine *self) {
    uint32_t top = self->heap[0], last = self->heap[--self->n_heap], at = 0;
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= self->n_heap)
            break;
        if (child + 1 < self->n_heap && priority(self, self->heap[child]) < priority(self, self->heap[child + 1]))
            child++;
        if (priority(self, last) >= priority(self, self->heap[child]))
            break;
        self->heap[at] = self->heap[child];
        at = child;
    }
    self->heap[at] = last;
    return top;
}

/* Gradients
 * ----------------------------------------------------------------------------------------------------------------- */

static int n_outputs(const task *t) {
    return t->node ? t->node->n_outputs : 1;
}

static rl_tensor **grads_of(task *t) {
    if (n_outputs(t) <= 1)
        return &t->one;
    if (t->many == NULL)
        t->many = rl_alloc_zero((size_t)n_outputs(t), sizeof *t->many, "gradients of a node");
    return t->many;
}

static void drop_grads(task *t) {
    rl_tensor **grads = n_outputs(t) <= 1 ? &t->one : t->many;
    for (int i = 0; grads && i < (n_outputs(t) <= 1 ? 1 : n_outputs(t)); i++) {
        rl_release(grads[i]);
        grads[i] = NULL;
    }
    rl_free(t->many);
    t->many = NULL;
}

/* Whether nobody else can see the tensor's elements, so that it may be changed or handed over. */
static bool is_ours_alone(const rl_tensor *t) {
    return atomic_load_explicit(&t->object.count, memory_order_acquire) == 1 &&
           atomic_load_explicit(&t->storage->object.count, memory_order_acquire) == 1 &&
           rl_is_dense(t->ndim, t->shape, t->stride);
}

/* Adds a gradient to those that flow into an output. */
static rl_status flow(engine *self, task *to, uint32_t output, rl_tensor *gradient) {
    rl_tensor **grads = grads_of(to);
    if (grads == NULL)
        return rl_error_status();
    rl_tensor *old = grads[output];
    if (old == NULL) {
        grads[output] = rl_retain(gradient);
        return RL_OK;
    }
    if (!self->walk->create_graph && is_ours_alone(old))
        return rl_add_(old, gradient) ? RL_OK : rl_error_status();
    rl_tensor *sum = rl_add(old, gradient);
    if (sum == NULL)
        return rl_error_status();
    grads[output] = rl_retain(sum);
    rl_release(old);
    return RL_OK;
}

rl_tensor *fit_gradient(rl_tensor *gradient, const outline *like) {
    if (gradient == NULL || like == NULL)
        return gradient;
    bool same = gradient->ndim == like->ndim;
    for (int d = 0; same && d < like->ndim; d++)
        same = gradient->shape[d] == like->shape[d];
    if (!same && gradient->ndim >= like->ndim) {
        int64_t dims[RL_MAX_DIMS], count = 0, lead = gradient->ndim - like->ndim;
        for (int64_t d = 0; d < gradient->ndim; d++) {
            if (d < lead || (like->shape[d - lead] == 1 && gradient->shape[d] != 1))
                dims[count++] = d;
        }
        if (count > 0)
            gradient = rl_sum(gradient, .dim = {dims, count}, .keepdim = true);
        if (lead > 0)
            gradient = rl_reshape(gradient, ((rl_ints){like->shape, like->ndim}));
    } else if (!same) {
        gradient = rl_expand(gradient, ((rl_ints){like->shape, like->ndim}));
    }
    if (gradient && gradient->dtype != like->dtype)
        gradient = rl_to(gradient, .dtype = (rl_dtype)like->dtype);
    return gradient;
}

/* Calls a tensor's hooks in order; each may replace the gradient. */
static rl_status run_hooks(hook *list, uint32_t output, rl_tensor **grad) {
    for (hook *h = list, *next; h; h = next) {
        next = h->next;
        if (h->output != output || *grad == NULL)
            continue;
        if (h->call == NULL) {
            if (rl_set_grad(h->keeper, *grad) != RL_OK)
                return rl_error_status();
            continue;
        }
        rl_barrier barrier = rl_barrier_enter();
        rl_tensor *other = rl_barrier_leave(barrier, h->call(*grad, h->context));
        if (rl_failed())
            return rl_error_status();
        if (other && (other->numel != (*grad)->numel || other->dtype != (*grad)->dtype))
            return rl_fail(RL_SHAPE_MISMATCH, "backward: a hook gave a gradient of another shape or dtype");
        if (other) {
            rl_retain(other);
            rl_release(*grad);
            *grad = other;
        }
    }
    return RL_OK;
}

/* Targets that stand at this output get what flowed into it. */
static void capture(engine *self, const task *t, uint32_t output, rl_tensor *grad) {
    const walk *w = self->walk;
    for (int64_t i = 0; w->targets && grad && i < w->n_targets; i++) {
        const edge *target = &w->targets[i];
        bool here =
            t->node ? target->to == t->node && target->output == output : !target->to && target->leaf == t->leaf;
        if (here && w->target_grads[i] == NULL)
            w->target_grads[i] = rl_retain(grad);
    }
}

static pthread_mutex_t accumulate_lock = PTHREAD_MUTEX_INITIALIZER;

/* Adds to the leaf's own gradient. Several threads may do so at once. */
static rl_status accumulate(engine *self, rl_tensor *leaf, rl_tensor **grad) {
    rl_tensor *old, *fresh = *grad;
    pthread_mutex_lock(&accumulate_lock);
    old = rl_grad(leaf);
    if (self->walk->create_graph) {
        fresh = old ? rl_add(old, fresh) : fresh;
    } else if (old) {
        RL_NO_GRAD();
        fresh = rl_add_(old, fresh);
    } else {
        fresh = is_ours_alone(fresh) ? fresh : rl_clone(fresh);
        fresh = fresh && fresh->requires_grad ? rl_detach(fresh) : fresh;
    }
    rl_status status = fresh ? RL_OK : rl_error_status();
    if (status == RL_OK && fresh != old)
        status = rl_set_grad(leaf, fresh);
    pthread_mutex_unlock(&accumulate_lock);
    return status;
}

/* Running
 * -------------------------------------------------------------------------------------------------------------------
 */

static rl_status check_finite(const node *n, const rl_tensor *gradient) {
    RL_SCOPE();
    RL_NO_GRAD();
    if (gradient && rl_item(rl_any(rl_isnan((rl_tensor *)(uintptr_t)gradient))) != 0.0)
        return rl_fail(RL_AUTOGRAD, "backward: %s gave NaN as a gradient", n->name);
    return rl_error_status();
}

static rl_status run_node(engine *self, task *t, rl_tensor **grads) {
    node *n = t->node;
    bool few_wanted[16], *wanted = few_wanted;
    rl_tensor *few_out[16], **out = few_out;
    void *many = NULL;
    if (n->released)
        return rl_fail(RL_AUTOGRAD,
                       "backward: %s was walked before and what it saved is gone; give the first backward "
                       ".retain_graph = true",
                       n->name);
    if (n->n_edges > 16) {
        many = rl_alloc_zero(n->n_edges, sizeof *out + sizeof *wanted, "gradients of a node");
        if (many == NULL)
            return rl_error_status();
        out = many;
        wanted = (bool *)(out + n->n_edges);
    }
    for (int e = 0; e < n->n_edges; e++) {
        out[e] = NULL;
        wanted[e] = edge_is(&n->edges[e]) && task_at(self, &n->edges[e])->reaches;
    }
    rl_status status = n->kind->run(n, grads, wanted, out);
    for (int e = 0; e < n->n_edges && status == RL_OK; e++) {
        if (!wanted[e] || out[e] == NULL)
            continue;
        rl_tensor *gradient = fit_gradient(out[e], n->kind->outline_of ? n->kind->outline_of(n, e) : NULL);
        status = gradient ? RL_OK : rl_error_status();
        if (status == RL_OK && detect_anomaly)
            status = check_finite(n, gradient);
        if (status == RL_OK)
            status = flow(self, task_at(self, &n->edges[e]), n->edges[e].output, gradient);
    }
    rl_free(many);
    if (status == RL_OK && !self->walk->retain_graph)
        node_release(n);
    return status;
}

static rl_status run_task(engine *self, uint32_t number) {
    task *t = &self->tasks[number];
    rl_tensor **grads = grads_of(t);
    rl_status status = grads ? RL_OK : rl_error_status();
    bool any = false;
    RL_SCOPE();
    for (int i = 0; i < n_outputs(t) && status == RL_OK; i++) {
        status = run_hooks(t->node ? t->node->hooks : t->leaf->autograd->hooks, (uint32_t)i, &grads[i]);
        capture(self, t, (uint32_t)i, grads[i]);
        any |= grads[i] != NULL;
    }
    if (status == RL_OK && any && t->leaf && !self->walk->targets)
        status = accumulate(self, t->leaf, &grads[0]);
    if (status == RL_OK && any && t->node && t->runs)
        status = run_node(self, t, grads);
    drop_grads(t);
    for (int e = 0; t->node && e < t->node->n_edges && status == RL_OK; e++) {
        if (!edge_is(&t->node->edges[e]))
            continue;
        task *to = task_at(self, &t->node->edges[e]);
        if (--to->dependencies == 0)
            push(self, (uint32_t)(to - self->tasks));
    }
    return status;
}

static rl_status run_all(engine *self) {
    rl_status status = discover(self);
    if (status == RL_OK)
        status = restrict_to_targets(self);
    if (status != RL_OK)
        return status;
    self->heap = rl_alloc_zero((size_t)self->n_tasks + 1, sizeof *self->heap, "tasks of a backward");
    if (self->heap == NULL)
        return rl_error_status();
    for (int64_t i = 0; i < self->walk->n_roots && status == RL_OK; i++)
        status =
            flow(self, task_at(self, &self->walk->roots[i]), self->walk->roots[i].output, self->walk->root_grads[i]);
    for (uint32_t i = 0; i < self->n_tasks; i++) {
        if (self->tasks[i].dependencies == 0)
            push(self, i);
    }
    while (self->n_heap > 0 && status == RL_OK)
        status = run_task(self, pop(self));
    return status;
}

rl_status engine_run(const walk *what) {
    engine self = {.walk = what};
    bool recording = rl_recording_;
    rl_recording_ = what->create_graph;
    rl_status status = run_all(&self);
    rl_recording_ = recording;
    for (uint32_t i = 0; i < self.n_tasks; i++)
        drop_grads(&self.tasks[i]);
    rl_free(self.tasks);
    rl_free(self.table);
    rl_free(self.heap);
    return status;
}
