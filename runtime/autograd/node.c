/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes and what they save. */
#include "autograd/graph.h"

#include <string.h>

static _Thread_local struct {
    node *dead;
    bool busy;
} graveyard;

void node_init(node *self, const node_class *kind, const char *name) {
    static _Thread_local uint64_t sequence;
    rl_object_init(&self->object, &node_object_class);
    self->kind = kind;
    self->name = name;
    self->sequence = ++sequence;
    self->released = false;
    self->hooks = NULL;
    self->next_dead = NULL;
}

static void node_bury(node *self) {
    node_release(self);
    for (int i = 0; i < self->n_edges; i++)
        edge_release(&self->edges[i]);
    hooks_free(self->hooks); /* tensors that keep gradients here hold this node: none is left */
    rl_free(self);
}

/* A graph may be a million nodes deep. Nodes that die while another one is being freed wait in a list. */
void node_destroy(rl_object *object) {
    node *self = (node *)object;
    self->next_dead = graveyard.dead;
    graveyard.dead = self;
    if (graveyard.busy)
        return;
    graveyard.busy = true;
    while (graveyard.dead) {
        node *next = graveyard.dead;
        graveyard.dead = next->next_dead;
        node_bury(next);
    }
    graveyard.busy = false;
}
const rl_object_class node_object_class = {"graph node", node_destroy};

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

void node_release(node *self) {
    if (self->released)
        return;
    self->released = true;
    if (self->kind->release_saved)
        self->kind->release_saved(self);
}

/* Saved tensors -------------------------------------------------------------------------------------------------------
 */

rl_tensor *bare_alias(const rl_tensor *self) {
    return rl_tensor_make(self->storage, (rl_dtype)self->dtype, self->ndim, self->shape, self->stride, self->offset);
}

rl_status save_tensor(saved *out, rl_tensor *tensor, int own_output) {
    *out = (saved){.version = version_of(tensor), .own_output = (uint8_t)own_output};
    if (own_output == 0) {
        rl_status status = edge_of(tensor, out->version, &out->source);
        if (status != RL_OK)
            return status;
    }
    out->tensor = out->source.leaf ? rl_retain(tensor) : bare_alias(tensor);
    if (out->tensor)
        return RL_OK;
    edge_release(&out->source);
    return rl_error_status();
}

void saved_release(saved *self) {
    rl_release(self->tensor);
    edge_release(&self->source);
    self->tensor = NULL;
}

rl_tensor *saved_unpack(const saved *self, node *owner) {
    rl_tensor *tensor = self->tensor;
    if (tensor == NULL)
        return rl_fail_null(RL_INTERNAL, "backward: %s asks for a tensor that it did not save", owner->name);
    uint32_t version = version_of(tensor);
    if (version != self->version) {
        char shape[RL_SHAPE_TEXT];
        const char *by = tensor->storage->changed_by;
        return rl_fail_null(RL_AUTOGRAD,
                            "backward: a tensor %s %s that %s needs was changed in place by %s: it is at version %u, "
                            "version %u was saved; clone it before the change",
                            rl_dtype_name((rl_dtype)tensor->dtype), rl_shape_text(tensor->ndim, tensor->shape, shape),
                            owner->name, by ? by : "an op", version, self->version);
    }
    if (!rl_recording_ || tensor == self->source.leaf)
        return tensor;
    if (!self->own_output && self->source.to == NULL)
        return tensor;
    rl_tensor *view = rl_object_own(bare_alias(tensor));
    if (view == NULL || meta_of(view) == NULL)
        return NULL;
    set_history(view, self->own_output ? owner : self->source.to,
                self->own_output ? self->own_output - 1u : self->source.output);
    return view;
}
