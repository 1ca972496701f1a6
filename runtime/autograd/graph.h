/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The graph. A node is one op that ran: it holds edges to where its inputs came from, and what its derivative needs. A
 * tensor that an op made holds its node; nodes hold nodes below them; a leaf that requires gradients stands at an
 * edge's end itself. Nodes never hold the tensors that hold them: what is saved of a result is another tensor over the
 * same storage, so that there are no cycles.
 */
#ifndef RUSHLIGHT_RUNTIME_AUTOGRAD_GRAPH_H
#define RUSHLIGHT_RUNTIME_AUTOGRAD_GRAPH_H

#include <pthread.h>

#include "base/memory.h"
#include "ops/call.h"
#include "ops/vjp.h"
#include "rushlight/autograd.h"

typedef struct node node;

/* Where a tensor came from: a result of a node, or a leaf; neither: no gradient is wanted. Holds what it points to. */
typedef struct edge {
    node *to;
    rl_tensor *leaf;
    uint32_t output; /* which result of `to` */
} edge;

/* A tensor kept for the derivative, as it was. */
typedef struct saved {
    rl_tensor *tensor;  /* NULL: not saved. Another tensor over the same storage, but for leaves */
    edge source;        /* its history, for gradients of gradients */
    uint32_t version;   /* of the storage when it was saved */
    uint8_t own_output; /* 1 + which result of the node itself it is; 0: an input */
} saved;

/* Shape, dtype and device of a tensor that may be gone. */
typedef struct outline {
    rl_device *device;
    const int64_t *shape; /* within the node */
    uint8_t dtype, ndim;
} outline;

typedef struct hook { /* called with the gradient of a tensor */
    struct hook *next;
    int64_t handle;
    rl_grad_hook call; /* NULL: keeps the gradient in `keeper` */
    void *context;
    rl_tensor *keeper; /* borrowed: it takes the hook away before it goes */
    uint32_t output;
} hook;

typedef struct node_class {
    /* Computes gradients of the edges from those of the outputs (NULL: zero). Fills out[0 .. n_edges) where wanted, in
     * the innermost scope. */
    rl_status (*run)(node *self, rl_tensor *const *grads, const bool *wanted, rl_tensor **out);
    void (*release_saved)(node *self);                          /* what it keeps for run; called once */
    const outline *(*outline_of)(const node *self, int number); /* of an edge's tensor; NULL: unknown */
} node_class;

struct node {
    rl_object object;
    const node_class *kind;
    const char *name;  /* "MulBackward0" */
    uint64_t sequence; /* grows as nodes are made: later ones run first */
    uint16_t n_edges, n_outputs;
    bool released; /* what it saved is gone: no second backward */
    edge *edges;
    hook *hooks;
    node *next_dead; /* of the list of nodes that wait to be freed */
};

struct rl_autograd_meta {  /* of a tensor that requires gradients, or is a view */
    node *grad_fn;         /* NULL for a leaf */
    uint32_t output;       /* which result of grad_fn */
    uint32_t view_version; /* of a view: the storage's when grad_fn was right */
    rl_tensor *grad;
    hook *hooks;                      /* of a leaf; others have theirs at grad_fn */
    rl_tensor *base;                  /* of a view: what it looks at, no view itself */
    rl_tensor *views;                 /* of a base: its living views, a list through ... */
    rl_tensor *next_view, *last_view; /* ... these */
    bool retains_grad;
};

/* Nodes (node.c) */
void node_init(node *self, const node_class *kind, const char *name);
/* Frees a node and, without recursion, all that only it held. */
void node_destroy(rl_object *object);
extern const rl_object_class node_object_class;
void edge_release(edge *self);
edge edge_copy(const edge *self);
static inline bool edge_is(const edge *self) {
    return self->to != NULL || self->leaf != NULL;
}
/* Drops what it keeps for its derivative. */
void node_release(node *self);

/* Saves `tensor`; `own_output` as above. */
rl_status save_tensor(saved *out, rl_tensor *tensor, int own_output);
void saved_release(saved *self);
/* The tensor as it was, in the innermost scope; with its history while gradients are recorded. Errors: changed since,
 * or released. `number` names it in errors. */
rl_tensor *saved_unpack(const saved *self, node *owner);

/* Tensors (meta.c) */
rl_autograd_meta *meta_of(rl_tensor *self); /* made where there is none; NULL on failure */
/* Where the tensor came from, with counts taken; none where it requires no gradient. `version` is that of its storage
 * (or the one before, for the input of an in-place op that has run). */
rl_status edge_of(rl_tensor *self, uint32_t version, edge *out);
void set_history(rl_tensor *self, node *grad_fn, uint32_t output); /* takes a count of grad_fn */
rl_status hook_add(hook **list, rl_grad_hook call, void *context, uint32_t output, int64_t *out_handle);
bool hook_remove(hook **list, int64_t handle);
void hooks_free(hook *list);
static inline uint32_t version_of(const rl_tensor *self) {
    return atomic_load_explicit(&self->storage->version, memory_order_relaxed);
}
/* A tensor over the same storage, without history. Not owned by a scope. */
rl_tensor *bare_alias(const rl_tensor *self);
/* Makes `view` known as a view of what `of` is a view of, or of `of`. */
rl_status view_register(rl_tensor *view, rl_tensor *of);
/* Marks every living view of a base as requiring gradients. */
void views_require_grad(rl_tensor *base);

/* Recording (record.c) */
rl_status record_call(rl_call *call, int opcode);
const char *backward_name(int opcode);
rl_status check_inplace_allowed(rl_call *call, int opcode);

/* Tracing (fuse.c) */
bool trace_call(rl_call *call, int opcode, rl_status *out_status);

/* The walk (engine.c) */
typedef struct walk {
    const edge *roots;
    rl_tensor *const *root_grads;
    int64_t n_roots;
    const edge *targets;      /* NULL: into the leaves' own gradients */
    rl_tensor **target_grads; /* filled with one count each */
    int64_t n_targets;
    bool retain_graph, create_graph;
} walk;
rl_status engine_run(const walk *what);

/* The derivative of an op with respect to a tensor as a sum: broadcast dimensions added up, in the tensor's dtype. */
rl_tensor *fit_gradient(rl_tensor *gradient, const outline *like);
extern _Thread_local bool detect_anomaly;

#endif
