/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes and what they save. */
#include "autograd/graph.h"

#include <string.h>

/* Memory --------------------------------------------------------------------------------------------------------- */

/* Most nodes fit one of these; the others are blocks of their own. */
static rl_pool pools[] = {{.bytes = 320, .what = "a node of the graph"},
                          {.bytes = 512, .what = "a node of the graph"},
                          {.bytes = 1024, .what = "a node of the graph"}};
#define POOLS (sizeof pools / sizeof *pools)

static const rl_object_class node_object_class;

void *node_new(size_t bytes, const node_class *kind, const char *name) {
    uint8_t pool = 0;
    while (pool < POOLS && pools[pool].bytes < bytes)
        pool++;
    node *self = pool < POOLS ? rl_pool_take(&pools[pool]) : rl_alloc(bytes, "a node of the graph");
    if (self == NULL)
        return NULL;
    rl_object_init(&self->object, &node_object_class);
    self->kind = kind;
    self->name = name;
    self->n_edges = self->n_outputs = 0;
    self->pool = pool;
    self->released = false;
    self->hooks = NULL;
    return self;
}

static void node_free(node *self) {
    if (self->pool < POOLS)
        rl_pool_give(&pools[self->pool], self);
    else
        rl_free(self);
}

/* Order ---------------------------------------------------------------------------------------------------------- */

/* Lamport 1978: a thread's clock passes those of all nodes it has pointed to, so that edges always lead down. */
static _Thread_local __attribute__((tls_model("initial-exec"))) uint64_t node_time;

/* The thread's number, from 1, never another one's; 0 until it makes a node. */
static _Thread_local __attribute__((tls_model("initial-exec"))) uint32_t maker;

static uint32_t new_maker(void) {
    static _Atomic(uint32_t) makers;
    return maker = atomic_fetch_add_explicit(&makers, 1, memory_order_relaxed) + 1;
}

uint64_t node_clock(void) {
    return node_time;
}

bool node_is_since(const node *self, uint64_t begin) {
    return self->maker == maker && self->sequence > begin;
}

void node_place(node *self) {
    for (int i = 0; i < self->n_edges; i++)
        if (self->edges[i].to && node_time < self->edges[i].to->sequence)
            node_time = self->edges[i].to->sequence;
    self->sequence = ++node_time;
    self->maker = maker ? maker : new_maker();
}

/* The end of a node ---------------------------------------------------------------------------------------------- */

static _Thread_local struct {
    node *dead;
    bool busy;
} graveyard;

static void bury(node *self) {
    if (self->kind->release_saved && !self->released)
        self->kind->release_saved(self);
    if (self->kind->finish)
        self->kind->finish(self);
    for (int i = 0; i < self->n_edges; i++)
        edge_release(&self->edges[i]);
    hooks_free(self->hooks); /* tensors that keep gradients here hold this node: none is left */
    node_free(self);
}

/* A graph may be a million nodes deep. Nodes that die while another one is being freed wait in a list. */
static void destroy(rl_object *object) {
    node *self = (node *)object;
    self->next_dead = graveyard.dead;
    graveyard.dead = self;
    if (graveyard.busy)
        return;
    graveyard.busy = true;
    while (graveyard.dead) {
        node *next = graveyard.dead;
        graveyard.dead = next->next_dead;
        bury(next);
    }
    graveyard.busy = false;
}
static const rl_object_class node_object_class = {"graph node", destroy};

void node_release(node *self) {
    if (!self->released && self->kind->release_saved)
        self->released = self->kind->release_saved(self);
}

void edge_release(edge *self) {
    rl_release(self->to);
    rl_release(self->leaf);
    *self = (edge){NULL, NULL, 0};
}

edge edge_copy(const edge *self) {
    rl_retain(self->to);
    rl_retain(self->leaf);
    return *self;
}

/* Saved tensors -------------------------------------------------------------------------------------------------- */

rl_tensor *bare_alias(const rl_tensor *self) {
    return rl_tensor_make(self->storage, (rl_dtype)self->dtype, self->ndim, self->shape, self->stride, self->offset);
}

rl_status save_tensor(saved *out, rl_tensor *tensor, const edge *source, uint32_t version) {
    out->version = version;
    out->tensor = source->leaf == tensor ? rl_retain(tensor) : bare_alias(tensor);
    return out->tensor ? RL_OK : rl_error_status();
}

void saved_release(saved *self) {
    rl_release(self->tensor);
    self->tensor = NULL;
}

rl_tensor *saved_unpack(const saved *self, const edge *source, const node *owner) {
    rl_tensor *tensor = self->tensor;
    if (tensor == NULL)
        return rl_fail_null(RL_AUTOGRAD, "backward: %s has released the tensors that it saved", owner->name);
    uint32_t version = version_of(tensor);
    if (version != self->version) {
        char shape[RL_SHAPE_TEXT];
        const char *by = tensor->storage->changed_by;
        return rl_fail_null(RL_AUTOGRAD,
                            "backward: a tensor %s %s that %s saved was changed in place by %s since: it is at version "
                            "%u and was saved at version %u; clone it before it is changed",
                            rl_dtype_name((rl_dtype)tensor->dtype), rl_shape_text(tensor->ndim, tensor->shape, shape),
                            owner->name, by ? by : "an op", version, self->version);
    }
    if (!rl_recording_ || source->to == NULL || !rl_dtype_is_float((rl_dtype)tensor->dtype))
        return tensor;
    rl_tensor *with_history = rl_object_own(bare_alias(tensor));
    if (with_history == NULL || meta_of(with_history) == NULL)
        return NULL;
    set_history(with_history, source->to, source->output);
    return with_history;
}
