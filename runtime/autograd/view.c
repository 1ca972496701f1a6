/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Views and in-place changes, by PyTorch's rules. A view knows its base (which is no view). An in-place op on a view
 * gives the base a new history, CopySlices: what it was, with a part changed. Every other view of that base is then
 * looked at anew when it is next used: it came from the changed base, by AsStrided.
 */
#include <pthread.h>
#include <string.h>

#include "autograd/graph.h"
#include "base/fork.h"
#include "rushlight/ops.h"

/* Lists of views ------------------------------------------------------------------------------------------------- */

/* Guards the lists of views, the making of what hangs at a base that requires no gradient, and the histories of views
 * that are brought up to date: threads may look at one such tensor together. Held for a few instructions. */
static pthread_mutex_t views_lock = PTHREAD_MUTEX_INITIALIZER;

__attribute__((constructor)) static void mind_forks(void) {
    rl_at_fork_mutex(RL_FORK_VIEWS, &views_lock);
}

static rl_tensor *base_of(rl_tensor *self) {
    return self->autograd && self->autograd->base ? self->autograd->base : self;
}

/* A base that requires no gradient as yet must be able to find its views when it does. */
static rl_autograd_meta *enlist(rl_tensor *view, rl_autograd_meta *mine, rl_tensor *of, rl_tensor **out_base) {
    pthread_mutex_lock(&views_lock);
    rl_tensor *base = base_of(of);
    rl_autograd_meta *its = meta_of(base);
    if (its) {
        mine->listed = true;
        mine->next_view = its->views;
        if (its->views)
            its->views->autograd->last_view = view;
        its->views = view;
        *out_base = base;
    }
    pthread_mutex_unlock(&views_lock);
    return its;
}

rl_status view_made(rl_call *call) {
    rl_tensor *view = call->results[0], *of = call->args[0].as.tensor, *base = NULL;
    if (view->storage != of->storage)
        return RL_OK;
    rl_autograd_meta *mine = meta_of(view);
    if (mine == NULL)
        return rl_error_status();
    if (of->requires_grad && base_of(of)->requires_grad)
        base = base_of(of);
    else if (enlist(view, mine, of, &base) == NULL)
        return rl_error_status();
    mine->base = rl_retain(base);
    atomic_store_explicit(&mine->view_version, version_of(view), memory_order_relaxed);
    return RL_OK;
}

void view_forget(rl_tensor *view) {
    rl_autograd_meta *mine = view->autograd;
    if (mine->listed) {
        pthread_mutex_lock(&views_lock);
        if (mine->last_view)
            mine->last_view->autograd->next_view = mine->next_view;
        else
            mine->base->autograd->views = mine->next_view;
        if (mine->next_view)
            mine->next_view->autograd->last_view = mine->last_view;
        pthread_mutex_unlock(&views_lock);
    }
    rl_release(mine->base);
}

void views_require_grad(rl_tensor *base) {
    if (base->autograd->views == NULL)
        return;
    pthread_mutex_lock(&views_lock);
    for (rl_tensor *v = base->autograd->views; v; v = v->autograd->next_view)
        v->requires_grad = 1;
    pthread_mutex_unlock(&views_lock);
}

/* Where a view looks --------------------------------------------------------------------------------------------- */

typedef struct frame {
    int64_t ndim, offset, shape[RL_MAX_DIMS], stride[RL_MAX_DIMS];
} frame;

static frame frame_of(const rl_tensor *self) {
    frame f = {.ndim = self->ndim, .offset = self->offset};
    memcpy(f.shape, self->shape, sizeof *f.shape * self->ndim);
    memcpy(f.stride, self->stride, sizeof *f.stride * self->ndim);
    return f;
}

static rl_ints frame_shape(const frame *self) {
    return (rl_ints){self->shape, self->ndim};
}
static rl_ints frame_stride(const frame *self) {
    return (rl_ints){self->stride, self->ndim};
}

/* A base and a view of it. Gradients of the base are brought into the order of its memory, in which the view's strides
 * and offset hold: as they are where it is row-major, else as a line with gaps. */
typedef struct view_node {
    node base;
    edge room[1];
    frame whole, part; /* part.offset counts from the first element of the whole */
    bool row_major;
    int64_t extent; /* elements from the first of the whole to its last */
} view_node;

static void place_view(view_node *self, const rl_tensor *base, const rl_tensor *view) {
    self->whole = frame_of(base);
    self->part = frame_of(view);
    self->part.offset -= base->offset;
    self->row_major = base->contiguous;
    self->extent = base->numel > 0;
    for (int64_t d = 0; d < base->ndim && base->numel > 0; d++)
        self->extent += (base->shape[d] - 1) * base->stride[d];
}

/* A gradient of the whole, in the order of memory; and back. */
static rl_tensor *to_memory(const view_node *self, rl_tensor *grad) {
    if (self->row_major)
        return rl_contiguous(grad);
    return rl_unstride(grad, RL_DIMS(self->extent), frame_stride(&self->whole), 0);
}
static rl_tensor *from_memory(const view_node *self, rl_tensor *line) {
    return self->row_major ? line : rl_window(line, frame_shape(&self->whole), frame_stride(&self->whole), 0);
}

static rl_tensor *look(const view_node *self, rl_tensor *memory) {
    return rl_window(memory, frame_shape(&self->part), frame_stride(&self->part), self->part.offset);
}

/* AsStrided: y = the part of x; gx = 0 with g where the view looks. */
static rl_status strided_run(node *of, rl_tensor *const *grads, const bool *wanted, rl_tensor **out) {
    const view_node *self = (const view_node *)of;
    const int64_t extent = self->extent;
    rl_ints size = self->row_major ? frame_shape(&self->whole) : (rl_ints){&extent, 1};
    if (wanted[0])
        out[0] = from_memory(self, rl_unstride(grads[0], size, frame_stride(&self->part), self->part.offset));
    return rl_error_status();
}
static const node_class strided_class = {.run = strided_run};

/* A new node above the base as of this version. */
static view_node *look_anew(const rl_tensor *self, uint32_t version) {
    rl_tensor *base = self->autograd->base;
    view_node *made = node_new(sizeof *made, &strided_class, "AsStridedBackward0");
    if (made == NULL)
        return NULL;
    made->base.edges = made->room;
    made->base.n_outputs = 1;
    if (edge_of(base, version, &made->room[0]) != RL_OK) {
        rl_release(made);
        return NULL;
    }
    made->base.n_edges = 1;
    place_view(made, base, self);
    node_place(&made->base);
    return made;
}

static bool is_up_to_date(const rl_autograd_meta *meta, uint32_t version) {
    return atomic_load_explicit(&meta->view_version, memory_order_acquire) == version;
}

rl_status view_refresh(rl_tensor *self, uint32_t version) {
    rl_autograd_meta *meta = self->autograd;
    if (meta == NULL || meta->base == NULL || is_up_to_date(meta, version) || !meta->base->requires_grad)
        return RL_OK;
    view_node *made = look_anew(self, version);
    if (made == NULL)
        return rl_error_status();
    node *old = NULL;
    pthread_mutex_lock(&views_lock);
    if (!is_up_to_date(meta, version)) { /* else another thread was first */
        old = exchange_history(self, &made->base, 0);
        atomic_store_explicit(&meta->view_version, version, memory_order_release);
    }
    pthread_mutex_unlock(&views_lock);
    rl_release(old);
    rl_release(made);
    return RL_OK;
}

/* CopySlices: the base, with a part that an op changed. Its edges are the base before and the op's own, but for the
 * view. */
typedef struct slices_node {
    view_node view;
    node *change;
    edge room[];
} slices_node;

static rl_status slices_run(node *of, rl_tensor *const *grads, const bool *wanted, rl_tensor **out) {
    const slices_node *self = (const slices_node *)of;
    rl_tensor *memory = to_memory(&self->view, grads[0]), *part = memory ? look(&self->view, memory) : NULL;
    if (part == NULL)
        return rl_error_status();
    rl_status status = self->change->kind->run(self->change, &part, wanted, out);
    if (status != RL_OK || !wanted[0])
        return status;
    /* The gradient of the base before: that of the base, in the part replaced by what the op gave for the view. */
    rl_tensor *before = rl_clone(memory), *place = before ? look(&self->view, before) : NULL;
    rl_tensor *through = out[0] ? fit_gradient(of, out[0], self->change->kind->outline_of(self->change, 0)) : NULL;
    if (place && !rl_failed())
        through ? rl_copy_(place, through) : rl_zero_(place);
    out[0] = from_memory(&self->view, before);
    return rl_error_status();
}

static bool slices_release(node *of) {
    node *change = ((slices_node *)of)->change;
    node_release(change);
    return change->released;
}
static void slices_finish(node *of) {
    rl_release(((slices_node *)of)->change);
}
static const outline *slices_outline(const node *of, int number) {
    const node *change = ((const slices_node *)of)->change;
    return number == 0 ? NULL : change->kind->outline_of(change, number);
}
static void slices_describe(const node *of, char *text, size_t room) {
    const node *change = ((const slices_node *)of)->change;
    change->kind->describe(change, text, room);
}
static const node_class slices_class = {slices_run, slices_release, slices_finish, slices_outline, slices_describe};

/* The op's first argument is the view: its first edge gives way to the base's. */
rl_status view_rebase(rl_tensor *view, node *change) {
    rl_tensor *base = view->autograd->base;
    if (meta_of(base) == NULL)
        return rl_error_status();
    slices_node *made = node_new(sizeof *made + change->n_edges * sizeof *made->room, &slices_class, "CopySlices");
    if (made == NULL)
        return rl_error_status();
    node *self = &made->view.base;
    self->edges = made->room;
    self->n_outputs = 1;
    made->change = rl_retain(change);
    rl_status status = edge_of(base, version_of(base) - 1, &made->room[0]);
    if (status == RL_OK) {
        self->n_edges = change->n_edges;
        for (int i = 1; i < change->n_edges; i++)
            made->room[i] = edge_copy(&change->edges[i]);
        place_view(&made->view, base, view);
        node_place(self);
        set_history(base, self, 0);
        view->requires_grad = 1;
        /* Its history follows from the base's when asked for. */
        atomic_store_explicit(&view->autograd->view_version, version_of(view) - 1, memory_order_relaxed);
        views_require_grad(base);
    }
    rl_release(self);
    return status;
}
