/* SPDX-License-Identifier: Apache-2.0 */
/* The node of an op runs the op's derivative: what stands behind rl_vjp_input and its like (ops/op.h). */
#include <stdio.h>
#include <string.h>

#include "autograd/graph.h"
#include "rushlight/ops.h"

typedef struct op_vjp {
    rl_vjp vjp;
    op_node *node;
    rl_tensor *const *grads;
    const bool *wanted;
    rl_tensor **out;
    rl_meta *element_metas; /* of the elements of lists, made when asked for */
    uint32_t metas_done;
    rl_meta metas[RL_MAX_ARGS];
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

static rl_tensor *vjp_input(rl_vjp *self, int arg) {
    const op_node *n = ((op_vjp *)self)->node;
    const saved *s = op_node_saved(n, RL_SAVE_IN(arg));
    return s && (s->tensor || n->base.released) ? saved_unpack(s, &n->base.edges[n->edge_at[arg]], &n->base) : NULL;
}

static rl_tensor *vjp_result(rl_vjp *self, int result) {
    op_node *n = ((op_vjp *)self)->node;
    const saved *s = op_node_saved(n, RL_SAVE_OUT(result));
    return s ? saved_unpack(s, &(edge){.to = &n->base, .output = (uint32_t)result}, &n->base) : NULL;
}

static const rl_value *vjp_arg(rl_vjp *self, int arg) {
    return &((op_vjp *)self)->node->args[arg];
}

static const rl_meta *vjp_meta(rl_vjp *self, int arg) {
    static const rl_meta nothing;
    op_vjp *v = (op_vjp *)self;
    int at = v->node->edge_at[arg];
    if (at == v->node->edge_at[arg + 1])
        return &nothing;
    if (!(v->metas_done >> arg & 1))
        fill_meta(&v->metas[arg], &v->node->outlines[at]);
    v->metas_done |= 1u << arg;
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

static rl_tensor *zeros_like(const outline *like) {
    return rl_zeros(((rl_ints){like->shape, like->ndim}), .dtype = (rl_dtype)like->dtype, .device = like->device);
}

static rl_status op_run(node *self, rl_tensor *const *grads, const bool *wanted, rl_tensor **out) {
    op_node *n = (op_node *)self;
    const rl_op_def *op = rl_op_table[n->opcode];
    if (op->vjp == NULL)
        return rl_fail(RL_AUTOGRAD, "backward: %s has no derivative", rl_schema_table[n->opcode].name);
    op_vjp v; /* metas are filled when asked for */
    v.vjp.methods = &methods;
    v.node = n;
    v.grads = grads;
    v.wanted = wanted;
    v.out = out;
    v.element_metas = NULL;
    v.metas_done = 0;
    op->vjp(&v.vjp);
    rl_free(v.element_metas);
    for (int e = 0; e < self->n_edges && !rl_failed(); e++)
        if (wanted[e] && out[e] == NULL) /* flat: its gradient is zero, as PyTorch's, and not none */
            out[e] = zeros_like(&n->outlines[e]);
    return rl_error_status();
}

static bool op_release(node *self) {
    op_node *n = (op_node *)self;
    bool any = false;
    for (int i = 0; i < __builtin_popcount(n->saves); i++) {
        any |= n->saved[i].tensor != NULL;
        saved_release(&n->saved[i]);
    }
    return any;
}

static const outline *op_outline(const node *self, int number) {
    return &((const op_node *)self)->outlines[number];
}

/* "mul(self float32 (2, 3), other float32 (3))" */
static void op_describe(const node *self, char *text, size_t room) {
    const op_node *n = (const op_node *)self;
    const rl_schema *schema = &rl_schema_table[n->opcode];
    char shape[RL_SHAPE_TEXT];
    size_t at = (size_t)snprintf(text, room, "%s(", schema->name);
    const char *comma = "";
    for (int i = 0; i < schema->n_params; i++) {
        for (int e = n->edge_at[i]; e < n->edge_at[i + 1] && at < room; e++, comma = ", ") {
            const outline *o = &n->outlines[e];
            at += (size_t)snprintf(text + at, room - at, "%s%s %s %s", comma, schema->params[i].name,
                                   rl_dtype_name((rl_dtype)o->dtype), rl_shape_text(o->ndim, o->shape, shape));
        }
    }
    if (at < room)
        snprintf(text + at, room - at, ")");
}

const node_class op_node_class = {op_run, op_release, NULL, op_outline, op_describe};
