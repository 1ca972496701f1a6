/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The graph. A node is one op that ran: it holds edges to where its inputs came from, and what its derivative needs. A
 * tensor that an op made holds its node; nodes hold nodes below them; a leaf that requires gradients stands at an
 * edge's end itself. Nodes never hold the tensors that hold them: what is saved of a result is another tensor over the
 * same storage, so that there are no cycles.
 */
#ifndef RUSHLIGHT_RUNTIME_AUTOGRAD_GRAPH_H
#define RUSHLIGHT_RUNTIME_AUTOGRAD_GRAPH_H

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
    rl_tensor *tensor; /* NULL: not saved, or released. Another tensor over the same storage, but for leaves */
    uint32_t version;  /* of the storage when it was saved */
} saved;

/* Shape, dtype and device of a tensor that may be gone. */
typedef struct outline {
    rl_device *device;
    const int64_t *shape; /* within the node */
    uint8_t dtype, ndim;
} outline;

typedef struct hook { /* called with the gradient of a tensor */
    struct hook *next;
    int64_t handle;    /* grows with every hook */
    rl_grad_hook call; /* NULL: keeps the gradient in `keeper` */
    void *context;
    rl_tensor *keeper; /* borrowed: it takes the hook away before it goes */
    uint32_t output;
} hook;

/* Where a hook was put, for the tensor that it was registered with: a change in place gives that one another node. */
typedef struct hook_place {
    struct hook_place *next;
    int64_t handle;
    node *at; /* one count */
} hook_place;

typedef struct node_class {
    /* Computes gradients of the edges from those of the outputs (NULL: zero, not all are). Fills out[0 .. n_edges),
     * which are NULL before, where wanted; what it makes belongs to the innermost scope. */
    rl_status (*run)(node *self, rl_tensor *const *grads, const bool *wanted, rl_tensor **out);
    /* Drops what it saved for run; true where there was something. NULL: nothing ever. */
    bool (*release_saved)(node *self);
    /* Frees what release_saved leaves and the node itself does not hold. NULL: nothing. */
    void (*finish)(node *self);
    /* Shape, dtype and device of an edge's tensor, to which its gradient is fitted; NULL: run sees to it. */
    const outline *(*outline_of)(const node *self, int number);
    /* What ran in the forward, for anomaly mode: "mul(self float32 (2, 3), other float32 (3))". NULL: its name. */
    void (*describe)(const node *self, char *text, size_t room);
} node_class;

struct node {
    rl_object object;
    const node_class *kind;
    const char *name;  /* "MulBackward0" */
    uint64_t sequence; /* above those of all nodes it points to; grows as a thread makes nodes: later ones run first */
    uint32_t maker;    /* the number of the thread that made it */
    uint16_t n_edges, n_outputs;
    uint8_t pool;  /* where its memory goes back to */
    bool released; /* what it saved is gone: no second backward */
    edge *edges;
    hook *hooks;
    node *next_dead; /* of the list of nodes that wait to be freed */
};

struct rl_autograd_meta {           /* of a tensor that requires gradients, or is a view, or has views */
    node *grad_fn;                  /* NULL for a leaf */
    uint32_t output;                /* which result of grad_fn */
    _Atomic(uint32_t) view_version; /* of a view: the storage's when grad_fn was right; written after that */
    rl_tensor *grad;
    hook *hooks;                      /* of a leaf; others have theirs at the grad_fn of the moment, which is in ... */
    hook_place *hook_places;          /* ... this list */
    rl_tensor *base;                  /* of a view: what it looks at, no view itself */
    rl_tensor *views;                 /* of a base: views made before it required gradients, a list through ... */
    rl_tensor *next_view, *last_view; /* ... these; of a view that is in no such list both are NULL */
    bool listed, retains_grad;
};

/* Nodes (node.c)
 * ------------------------------------------------------------------------------------------------------- */

/* A new node with `bytes` in all; what follows the head is not initialized. n_outputs and n_edges are 0. */
void *node_new(size_t bytes, const node_class *kind, const char *name);
/* Once its edges are there, and before anything points to it: puts it above them in the order. */
void node_place(node *self);
/* The order's present end for this thread: nodes that it makes later stand above. */
uint64_t node_clock(void);
/* Whether the calling thread made the node after its clock stood at `begin`. Sequences alone do not tell: those of two
 * threads say nothing of each other but along edges. */
bool node_is_since(const node *self, uint64_t begin);
/* Drops what it keeps for its derivative. */
void node_release(node *self);

void edge_release(edge *self);
edge edge_copy(const edge *self);
static inline bool edge_is(const edge *self) {
    return self->to != NULL || self->leaf != NULL;
}
static inline bool edge_same(const edge *a, const edge *b) {
    return a->to == b->to && a->leaf == b->leaf && (a->to == NULL || a->output == b->output);
}

/* Saves `tensor`, which `source` says the history of, as of this version. */
rl_status save_tensor(saved *out, rl_tensor *tensor, const edge *source, uint32_t version);
void saved_release(saved *self);
/* The tensor as it was, borrowed or in the innermost scope; with its history while gradients are recorded. An error
 * where it was changed since, or released. `owner` is named there. */
rl_tensor *saved_unpack(const saved *self, const edge *source, const node *owner);

/* Tensors (meta.c)
 * ----------------------------------------------------------------------------------------------------- */

rl_autograd_meta *meta_of(rl_tensor *self); /* made where there is none; NULL on failure */
/* Where the tensor came from, with counts taken; none where it requires no gradient. `version` is that of its storage
 * (or the one before, for the input of an in-place op that has run). */
rl_status edge_of(rl_tensor *self, uint32_t version, edge *out);
void set_history(rl_tensor *self, node *grad_fn, uint32_t output); /* takes a count of grad_fn; self has its meta */
/* The same; gives back what it had, with its count, which may be the last of a large graph. */
node *exchange_history(rl_tensor *self, node *grad_fn, uint32_t output);
static inline uint32_t version_of(const rl_tensor *self) {
    return atomic_load_explicit(&self->storage->version, memory_order_relaxed);
}
/* A tensor over the same storage, without history. Not owned by a scope. */
rl_tensor *bare_alias(const rl_tensor *self);
/* Outputs of a function with a derivative of its own: those over memory that another tensor has too, be it an input,
 * another output or what the function used besides, are marked as such; their history is not that one's. */
void mark_shared(rl_tensor *const *outputs, int64_t n_outputs);
extern _Thread_local bool detect_anomaly;

/* Hooks (hook.c)
 * ------------------------------------------------------------------------------------------------------- */

rl_status hook_add(hook **list, rl_grad_hook call, void *context, uint32_t output, rl_tensor *keeper,
                   int64_t *out_handle);
bool hook_remove(hook **list, int64_t handle);
/* Adds a hook to a node and remembers where. */
rl_status hook_add_at(hook_place **places, node *at, rl_grad_hook call, void *context, uint32_t output,
                      int64_t *out_handle);
bool hook_remove_at(hook_place **places, int64_t handle);
void hook_places_free(hook_place *places); /* the hooks stay */
/* Moves the hook that keeps gradients in `keeper` to another list, or frees it where that is NULL. */
void hook_move_keeper(hook **from, rl_tensor *keeper, hook **to, uint32_t output);
void hooks_free(hook *list);
/* Calls those of an output, in the order of registration; each may replace *grad, of which one count is held. */
rl_status hooks_run(hook **list, uint32_t output, rl_tensor **grad);

/* Views (view.c)
 * ------------------------------------------------------------------------------------------------------- */

/* The hook of ops/call.c: makes results[0] known as a view of what args[0] looks at. */
rl_status view_made(rl_call *call);
void view_forget(rl_tensor *view);
/* A view whose base was changed since came from the changed base: gives it that history. Threads may do so together,
 * for all that they do is read the view. */
rl_status view_refresh(rl_tensor *self, uint32_t version);
/* `change`, an in-place op on a view, has run: its base came from the base before, with a part changed. */
rl_status view_rebase(rl_tensor *view, node *change);
/* Marks the views of a base as requiring gradients. */
void views_require_grad(rl_tensor *base);

/* Recording (record.c, derive.c, name.c)
 * ------------------------------------------------------------------------------- */

/* The node of an op, one block of memory: the struct, edges, outlines, arguments, saved tensors, integers, text. */
typedef struct op_node {
    node base;
    int opcode;
    uint32_t saves;                    /* as in the op's declaration */
    rl_value *args;                    /* without tensors; lists of integers and text are copies */
    outline *outlines;                 /* one an edge */
    saved *saved;                      /* one for each bit of saves */
    uint16_t edge_at[RL_MAX_ARGS + 1]; /* the first edge of each argument */
} op_node;

extern const node_class op_node_class;
static inline saved *op_node_saved(const op_node *self, uint32_t bit) {
    return self->saves & bit ? &self->saved[__builtin_popcount(self->saves & (bit - 1))] : NULL;
}
/* Hooks of ops/call.c. */
rl_status record_call(rl_call *call, int opcode);
rl_status record_before_inplace(rl_call *call, int opcode);
/* "MulBackward0": as PyTorch prints it. A static string. */
const char *backward_name(const rl_call *call);

/* Tracing (fuse.c): a hook of ops/call.c. */
bool trace_call(rl_call *call, int opcode, rl_status *out_status);

/* Functions that are run again in the backward (replay.c)
 * -------------------------------------------------------------- */

/* What every function that is given room for outputs checks, and every one that is given a function of tensors. */
rl_status check_room(const char *function, rl_tensor **outputs, int64_t n_outputs, int64_t most);
rl_status check_tensor_fn(const char *function, rl_tensor_fn fn, rl_tensors inputs, int64_t most_inputs,
                          rl_tensor **outputs, int64_t n_outputs, int64_t most_outputs);

typedef struct replay replay;
/* Before fn runs for the first time. NULL where gradients are not recorded, or on failure. */
replay *replay_begin(const char *name, rl_tensor_fn fn, void *context, rl_tensors inputs);
/* Calls fn as call_tensor_fn does, and keeps what it draws for the second run. */
rl_status replay_first_run(replay *self, const char *name, rl_tensors inputs, rl_tensor **outputs, int64_t n_outputs);
/* fn uses this tensor, made since `begin` or not: gradients of what it came from are wanted, too. */
rl_status replay_uses(replay *self, rl_tensor *tensor);
/* After it ran: gives outputs[i] a history where differentiable[i] says so. Ends `self`, also on failure. */
rl_status replay_end(replay *self, rl_tensor **outputs, const bool *differentiable, int64_t n_outputs);
void replay_cancel(replay *self); /* NULL does nothing */
/* Calls fn under a barrier; outputs are kept for the scope around it. `name` is named where it fails. */
rl_status call_tensor_fn(const char *name, rl_tensor_fn fn, void *context, rl_tensors inputs, rl_tensor **outputs,
                         int64_t n_outputs);

/* The walk (engine.c)
 * -------------------------------------------------------------------------------------------------- */

typedef struct walk {
    const edge *roots;
    rl_tensor *const *root_grads;
    int64_t n_roots;
    const edge *targets;      /* NULL: into the leaves' own gradients */
    rl_tensor **target_grads; /* filled with one count each */
    int64_t n_targets;
    bool inner;     /* a walk within a node of another, which reaches the same leaves and nodes: hooks are its affair */
    uint64_t floor; /* of an inner walk: only nodes that this thread made since are walked, others only reached */
    bool retain_graph, create_graph;
} walk;
rl_status engine_run(const walk *what);
/* Nodes that wait to be run, latest first (queue.c), and sets of nodes. */

/* A gradient made to fit its tensor: broadcast dimensions added up, in its dtype, on its device. NULL stays NULL. */
rl_tensor *fit_gradient(const node *by, rl_tensor *gradient, const outline *like);

#endif
