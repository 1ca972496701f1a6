/* SPDX-License-Identifier: Apache-2.0 */
/* From a call that ran to a node of the graph: its edges, what it saves, and views and in-place changes. */
#include <ctype.h>
#include <pthread.h>
#include <string.h>

#include "autograd/graph.h"
#include "rushlight/ops.h"

/* The node of an op, one block of memory: the struct, edges, outlines, arguments, saved tensors, integers, text. */
typedef struct op_node {
    node base;
    int opcode;
    rl_value *args;    /* without tensors; lists of integers and text are copies */
    outline *outlines; /* one an edge */
    saved *saves;      /* n_saves of them */
    uint8_t n_saves;
    uint8_t save_of[32]; /* 1 + its number among saves, by the bits of RL_SAVE_IN and RL_SAVE_OUT; 0: not saved */
    uint16_t edge_at[RL_MAX_ARGS + 1]; /* the first edge of each argument */
} op_node;

/* The clone of a tensor that an in-place op is about to change and whose derivative needs it as it was. */
static _Thread_local rl_tensor *before_change;

/* Names
 * ----------------------------------------------------------------------------------------------------------------- */

static char names[RL_OPCODE_COUNT][56];

static void make_names(void) {
    for (int i = 0; i < RL_OPCODE_COUNT; i++) {
        char *out = names[i];
        bool up = true;
        for (const char *c = rl_schema_table[i].name; *c && out < names[i] + 40; c++) {
            if (*c != '_')
                *out++ = up ? (char)toupper((unsigned char)*c) : *c;
            up = *c == '_';
        }
        strcpy(out, "Backward0");
    }
}

const char *backward_name(int opcode) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_names);
    return names[opcode];
}

/* The derivative of an op as its node runs it
 * ------------------------------------------------------------------------------ */

typedef struct op_vjp {
    rl_vjp vjp;
    op_node *node;
    rl_tensor *const *grads;
    const bool *wanted;
    rl_tensor **out;
    rl_meta metas[RL_MAX_ARGS];
    uint32_t metas_done;
    rl_meta *element_metas; /* of the elements of a list, made when asked for */
} op_vjp;

static void fill_meta(rl_meta *meta, const outline *from) {
    meta->dtype = (rl_dtype)from->dtype;
    meta->device = from->device;
    meta->ndim = from->ndim;
    meta->has_stride = false;
    memcpy(meta->shape, from->shape, sizeof(int64_t) * from->ndim);
}

static rl_tensor *vjp_grad(rl_vjp *self, int result) {
    return ((op_vjp *)self)->grads[result];
}

static rl_tensor *vjp_saved(rl_vjp *self, uint32_t bit) {
    op_node *n = ((op_vjp *)self)->node;
    int which = n->save_of[__builtin_ctz(bit)];
    return which ? saved_unpack(&n->saves[which - 1], &n->base) : NULL;
}

static rl_tensor *vjp_input(rl_vjp *self, int arg) {
    return vjp_saved(self, RL_SAVE_IN(arg));
}

static rl_tensor *vjp_result(rl_vjp *self, int result) {
    return vjp_saved(self, RL_SAVE_OUT(result));
}

static const rl_value *vjp_arg(rl_vjp *self, int arg) {
    return &((op_vjp *)self)->node->args[arg];
}

static const rl_meta *vjp_meta(rl_vjp *self, int arg) {
    op_vjp *v = (op_vjp *)self;
    int at = v->node->edge_at[arg];
    if (!(v->metas_done >> arg & 1) && at < v->node->edge_at[arg + 1]) {
        fill_meta(&v->metas[arg], &v->node->outlines[at]);
        v->metas_done |= 1u << arg;
    }
    return &v->metas[arg];
}

static bool vjp_needs(const rl_vjp *self, int arg) {
    const op_vjp *v = (const op_vjp *)self;
    bool any = false;
    for (int e = v->node->edge_at[arg]; e < v->node->edge_at[arg + 1]; e++)
        any |= v->wanted[e];
    return any;
}

static void vjp_set_element(rl_vjp *self, int arg, int64_t i, rl_tensor *gradient) {
    op_vjp *v = (op_vjp *)self;
    int64_t at = v->node->edge_at[arg] + i;
    if (i >= 0 && at < v->node->edge_at[arg + 1] && v->wanted[at])
        v->out[at] = gradient;
}

static void vjp_set(rl_vjp *self, int arg, rl_tensor *gradient) {
    vjp_set_element(self, arg, 0, gradient);
}

static int64_t vjp_element_count(rl_vjp *self, int arg) {
    const op_node *n = ((op_vjp *)self)->node;
    return n->edge_at[arg + 1] - n->edge_at[arg];
}

static const rl_meta *vjp_element_meta(rl_vjp *self, int arg, int64_t i) {
    static const rl_meta nothing;
    op_vjp *v = (op_vjp *)self;
    if (v->element_metas == NULL) {
        v->element_metas = rl_alloc_zero(v->node->base.n_edges, sizeof *v->element_metas, "shapes of a list");
        for (int e = 0; v->element_metas && e < v->node->base.n_edges; e++)
            fill_meta(&v->element_metas[e], &v->node->outlines[e]);
    }
    return v->element_metas ? &v->element_metas[v->node->edge_at[arg] + i] : &nothing;
}

static const rl_vjp_methods methods = {.grad = vjp_grad,
                                       .input = vjp_input,
                                       .result = vjp_result,
                                       .arg = vjp_arg,
                                       .meta = vjp_meta,
                                       .needs = vjp_needs,
                                       .set = vjp_set,
                                       .set_element = vjp_set_element,
                                       .element_meta = vjp_element_meta,
                                       .element_count = vjp_element_count};

static rl_status op_run(node *self, rl_tensor *const *grads, const bool *wanted, rl_tensor **out) {
    op_node *n = (op_node *)self;
    const rl_op_def *op = rl_op_table[n->opcode];
    op_vjp v = {.vjp = {&methods}, .node = n, .grads = grads, .wanted = wanted, .out = out};
    if (op->vjp == NULL)
        return rl_fail(RL_AUTOGRAD, "backward: %s has no derivative", rl_schema_table[n->opcode].name);
    op->vjp(&v.vjp);
    rl_free(v.element_metas);
    return rl_error_status();
}

static void op_release_saved(node *self) {
    op_node *n = (op_node *)self;
    for (int i = 0; i < n->n_saves; i++)
        saved_release(&n->saves[i]);
}

static const outline *op_outline(const node *self, int number) {
    return &((const op_node *)self)->outlines[number];
}

static const node_class op_class = {op_run, op_release_saved, op_outline};

/* Making the node
 * --------------------------------------------------------------------------------------------------------- */

static bool is_list(const rl_value *v) {
    return v->kind == RL_VALUE_TENSORS;
}

/* How much room a node for this call needs beside the struct. */
typedef struct sizes {
    size_t edges, ints, text, saves, params;
} sizes;

static sizes measure(const rl_call *call, const rl_schema *schema) {
    sizes s = {.params = (size_t)schema->n_params, .saves = (size_t)__builtin_popcount(call->op->saves)};
    for (int i = 0; i < schema->n_params; i++) {
        const rl_value *v = &call->args[i];
        if (v->kind == RL_VALUE_TENSOR) {
            s.edges++;
            s.ints += v->as.tensor->ndim;
        } else if (is_list(v)) {
            s.edges += (size_t)v->as.tensors.count;
            for (int64_t k = 0; k < v->as.tensors.count; k++)
                s.ints += v->as.tensors.data[k]->ndim;
        } else if (v->kind == RL_VALUE_INTS) {
            s.ints += (size_t)(v->as.ints.count > 0 ? v->as.ints.count : 0);
        } else if (v->kind == RL_VALUE_STRING) {
            s.text += strlen(v->as.string) + 1;
        }
    }
    return s;
}

static op_node *allocate(const rl_call *call, const rl_schema *schema, int64_t **out_ints, char **out_text) {
    sizes s = measure(call, schema);
    size_t bytes = sizeof(op_node) + s.edges * (sizeof(edge) + sizeof(outline)) + s.params * sizeof(rl_value) +
                   s.saves * sizeof(saved) + s.ints * sizeof(int64_t) + s.text;
    if (s.edges > UINT16_MAX) {
        rl_call_fail(call, RL_UNSUPPORTED, "more than %d tensors in one op that records", UINT16_MAX);
        return NULL;
    }
    op_node *self = rl_alloc(bytes, "a node of the graph");
    if (self == NULL)
        return NULL;
    memset(self, 0, sizeof *self);
    node_init(&self->base, &op_class, backward_name(call->opcode));
    char *at = (char *)(self + 1);
    self->base.edges = (edge *)(void *)at;
    at += s.edges * sizeof(edge);
    self->outlines = (outline *)(void *)at;
    at += s.edges * sizeof(outline);
    self->args = (rl_value *)(void *)at;
    at += s.params * sizeof(rl_value);
    self->saves = (saved *)(void *)at;
    at += s.saves * sizeof(saved);
    *out_ints = (int64_t *)(void *)at;
    *out_text = at + s.ints * sizeof(int64_t);
    self->opcode = call->opcode;
    self->base.n_outputs = (uint16_t)call->n_results;
    return self;
}

/* The version of an argument's storage when the op read it. */
static uint32_t version_read(const rl_call *call, const rl_tensor *t) {
    return version_of(t) - (call->inplace && t->storage == call->results[0]->storage ? 1u : 0u);
}

static rl_status add_edge(op_node *self, const rl_call *call, rl_tensor *t, int64_t **ints) {
    uint16_t at = self->base.n_edges;
    rl_status status = edge_of(t, version_read(call, t), &self->base.edges[at]);
    if (status != RL_OK)
        return status;
    self->outlines[at] = (outline){t->storage->device, *ints, t->dtype, t->ndim};
    memcpy(*ints, t->shape, sizeof(int64_t) * t->ndim);
    *ints += t->ndim;
    self->base.n_edges++;
    return RL_OK;
}

static rl_status copy_argument(op_node *self, const rl_call *call, int i, int64_t **ints, char **text) {
    rl_value v = call->args[i];
    rl_status status = RL_OK;
    self->edge_at[i] = self->base.n_edges;
    if (v.kind == RL_VALUE_TENSOR) {
        status = add_edge(self, call, v.as.tensor, ints);
        v = (rl_value){.kind = RL_VALUE_TENSOR};
    } else if (is_list(&v)) {
        for (int64_t k = 0; k < v.as.tensors.count && status == RL_OK; k++)
            status = add_edge(self, call, v.as.tensors.data[k], ints);
        v.as.tensors.data = NULL;
    } else if (v.kind == RL_VALUE_INTS && v.as.ints.count > 0) {
        memcpy(*ints, v.as.ints.data, sizeof(int64_t) * (size_t)v.as.ints.count);
        v.as.ints.data = *ints;
        *ints += v.as.ints.count;
    } else if (v.kind == RL_VALUE_STRING) {
        size_t length = strlen(v.as.string) + 1;
        memcpy(*text, v.as.string, length);
        v.as.string = *text;
        *text += length;
    } else if (v.kind == RL_VALUE_GENERATOR) {
        v.kind = RL_VALUE_NONE;
    }
    self->args[i] = v;
    return status;
}

static rl_status save_one(op_node *self, uint32_t bit, rl_tensor *tensor, int own_output) {
    rl_status status = save_tensor(&self->saves[self->n_saves], tensor, own_output);
    if (status == RL_OK)
        self->save_of[__builtin_ctz(bit)] = ++self->n_saves;
    return status;
}

static rl_status save_all(op_node *self, const rl_call *call) {
    uint32_t saves = call->op->saves;
    rl_status status = RL_OK;
    for (int i = 0; i < rl_schema_table[call->opcode].n_params && status == RL_OK; i++) {
        rl_tensor *t = rl_arg_tensor(call, i);
        if (!(saves & RL_SAVE_IN(i)) || t == NULL)
            continue;
        if (call->inplace && i == 0) { /* it was changed since: what was there is a clone, with the old history */
            if (before_change == NULL)
                continue;
            status = save_one(self, RL_SAVE_IN(0), before_change, 0);
            if (status == RL_OK)
                self->saves[self->n_saves - 1].source = edge_copy(&self->base.edges[self->edge_at[0]]);
        } else {
            status = save_one(self, RL_SAVE_IN(i), t, 0);
        }
    }
    for (int i = 0; i < call->n_results && status == RL_OK; i++) {
        if (saves & RL_SAVE_OUT(i))
            status = save_one(self, RL_SAVE_OUT(i), call->results[i], i + 1);
    }
    return status;
}

static op_node *node_of(rl_call *call) {
    const rl_schema *schema = &rl_schema_table[call->opcode];
    int64_t *ints = NULL;
    char *text = NULL;
    op_node *self = allocate(call, schema, &ints, &text);
    rl_status status = self ? RL_OK : rl_error_status();
    for (int i = 0; i < schema->n_params && status == RL_OK; i++)
        status = copy_argument(self, call, i, &ints, &text);
    for (int i = schema->n_params; self && i <= RL_MAX_ARGS; i++)
        self->edge_at[i] = self->base.n_edges;
    if (status == RL_OK)
        status = save_all(self, call);
    if (status == RL_OK)
        return self;
    rl_release(self);
    return NULL;
}

/* In place on a view: the base came from its old self with a part replaced
 * ----------------------------------------------- */

typedef struct replace_node {
    node base;
    edge room[2]; /* the base as it was; what was put into it */
    rl_device *device;
    rl_dtype dtype;
    int64_t ndim, shape[RL_MAX_DIMS], stride[RL_MAX_DIMS], offset;                     /* of the base */
    int64_t part_ndim, part_shape[RL_MAX_DIMS], part_stride[RL_MAX_DIMS], part_offset; /* of the view */
} replace_node;

/* A copy of the gradient, laid out as the base, so that the view's strides find their elements in it. */
static rl_tensor *gradient_like_base(const replace_node *self, rl_tensor *gradient) {
    rl_tensor *made = rl_object_own(rl_tensor_empty(self->device, self->dtype, self->ndim, self->shape, self->stride));
    return made ? rl_copy_(made, gradient) : NULL;
}

static rl_tensor *part_of(const replace_node *self, rl_tensor *whole) {
    return rl_as_strided(whole, ((rl_ints){self->part_shape, self->part_ndim}),
                         ((rl_ints){self->part_stride, self->part_ndim}),
                         .storage_offset = self->part_offset - self->offset);
}

static rl_status replace_run(node *of, rl_tensor *const *grads, const bool *wanted, rl_tensor **out) {
    const replace_node *self = (const replace_node *)of;
    if (wanted[1])
        out[1] = rl_clone(part_of(self, gradient_like_base(self, grads[0])));
    if (wanted[0]) {
        out[0] = gradient_like_base(self, grads[0]);
        rl_zero_(part_of(self, out[0]));
    }
    return rl_error_status();
}

static const node_class replace_class = {replace_run, NULL, NULL};

static rl_status rebase(rl_tensor *view, op_node *change) {
    rl_tensor *base = view->autograd->base;
    if (!rl_is_dense(base->ndim, base->shape, base->stride))
        return rl_fail(RL_UNSUPPORTED,
                       "%s: in place on a view of a tensor with gaps in memory, while gradients are recorded; clone it "
                       "first",
                       change->base.name);
    replace_node *self = rl_alloc_zero(1, sizeof *self, "a node of the graph");
    if (self == NULL)
        return rl_error_status();
    node_init(&self->base, &replace_class, "CopySlices");
    self->base.edges = self->room;
    self->base.n_outputs = 1;
    rl_status status = edge_of(base, version_of(base) - 1, &self->room[0]);
    self->base.n_edges = 2;
    self->room[1] = (edge){.to = rl_retain(change)};
    self->device = base->storage->device;
    self->dtype = (rl_dtype)base->dtype;
    self->ndim = base->ndim;
    self->offset = base->offset;
    memcpy(self->shape, base->shape, sizeof(int64_t) * base->ndim);
    memcpy(self->stride, base->stride, sizeof(int64_t) * base->ndim);
    self->part_ndim = view->ndim;
    self->part_offset = view->offset;
    memcpy(self->part_shape, view->shape, sizeof(int64_t) * view->ndim);
    memcpy(self->part_stride, view->stride, sizeof(int64_t) * view->ndim);
    if (status == RL_OK) {
        set_history(base, &self->base, 0);
        view->autograd->view_version = version_of(view) - 1; /* its history follows from the base's, when asked for */
        views_require_grad(base);
    }
    rl_release(self);
    return status;
}

/* The hooks of ops/call.c ---------------------------------------------------------------------------------------------
 */

static rl_status give_history(rl_call *call, op_node *self) {
    for (int i = 0; i < call->n_results; i++) {
        rl_tensor *result = call->results[i];
        if (!rl_dtype_is_float((rl_dtype)result->dtype))
            continue;
        if (meta_of(result) == NULL)
            return rl_error_status();
        if (call->inplace && result->autograd->base)
            return rebase(result, self);
        set_history(result, &self->base, (uint32_t)i);
        if (call->inplace)
            views_require_grad(result);
    }
    return RL_OK;
}

static bool any_requires_grad(const rl_call *call, const rl_schema *schema) {
    bool any = false;
    for (uint32_t m = schema->tensors; m != 0; m &= m - 1) {
        const rl_tensor *t = rl_arg_tensor(call, __builtin_ctz(m));
        any |= t && t->requires_grad;
    }
    for (uint32_t m = schema->lists; m != 0; m &= m - 1) {
        const rl_value *v = &call->args[__builtin_ctz(m)];
        for (int64_t i = 0; is_list(v) && i < v->as.tensors.count; i++)
            any |= v->as.tensors.data[i]->requires_grad != 0;
    }
    return any;
}

rl_status record_call(rl_call *call, int opcode) {
    bool view = (call->op->flags & RL_OP_VIEW) && !(call->results[0]->autograd && call->results[0]->autograd->base);
    call->opcode = opcode;
    if (view && view_register(call->results[0], call->args[0].as.tensor) != RL_OK)
        return rl_error_status();
    if (!any_requires_grad(call, &rl_schema_table[opcode]))
        return RL_OK;
    op_node *self = node_of(call);
    if (self == NULL)
        return rl_error_status();
    rl_status status = give_history(call, self);
    if (call->inplace)
        before_change = NULL; /* its scope owns it */
    rl_release(self);
    return status;
}

rl_status check_inplace_allowed(rl_call *call, int opcode) {
    rl_tensor *self = call->args[0].as.tensor;
    before_change = NULL;
    if (!rl_recording_)
        return RL_OK;
    if (self->requires_grad && rl_tensor_is_leaf(self))
        return rl_call_fail(call, RL_AUTOGRAD,
                            "self is a leaf that requires gradients and cannot be changed in place while gradients are "
                            "recorded; use RL_NO_GRAD()");
    const rl_tensor *base = self->autograd ? self->autograd->base : NULL;
    if (base && base->requires_grad && rl_tensor_is_leaf(base))
        return rl_call_fail(call, RL_AUTOGRAD,
                            "self is a view of a leaf that requires gradients and cannot be changed in place while "
                            "gradients are recorded; use RL_NO_GRAD()");
    if ((call->op->saves & RL_SAVE_IN(0)) && any_requires_grad(call, &rl_schema_table[opcode])) {
        RL_NO_GRAD();
        before_change = rl_clone(self);
        if (before_change == NULL)
            return rl_error_status();
    }
    return RL_OK;
}
