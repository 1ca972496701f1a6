/* SPDX-License-Identifier: Apache-2.0 */
/* From a call that ran to a node of the graph: its edges, and what it saves. The hot path of every recorded op. */
#include <string.h>

#include "autograd/graph.h"
#include "rushlight/ops.h"

/* The clone of a tensor that an in-place op is about to change and whose derivative needs it as it was. Belongs to a
 * scope; NULL once the op is recorded. */
static _Thread_local __attribute__((tls_model("initial-exec"))) rl_tensor *before_change;

/* Making the node ------------------------------------------------------------------------------------------------ */

/* How much room a node for this call needs beside the struct. */
typedef struct sizes {
    size_t edges, ints, text;
} sizes;

static sizes measure(const rl_call *call, int n_params) {
    sizes s = {0, 0, 0};
    for (int i = 0; i < n_params; i++) {
        const rl_value *v = &call->args[i];
        switch (v->kind) {
        case RL_VALUE_TENSOR:
            s.edges++;
            s.ints += v->as.tensor->ndim;
            break;
        case RL_VALUE_TENSORS:
            s.edges += (size_t)v->as.tensors.count;
            for (int64_t k = 0; k < v->as.tensors.count; k++)
                s.ints += v->as.tensors.data[k]->ndim;
            break;
        case RL_VALUE_INTS:
            s.ints += (size_t)(v->as.ints.count > 0 ? v->as.ints.count : 0);
            break;
        case RL_VALUE_STRING:
            s.text += strlen(v->as.string) + 1;
            break;
        default:
            break;
        }
    }
    return s;
}

/* What is left to be filled of the block: integers, then text. */
typedef struct tail {
    int64_t *ints;
    char *text;
} tail;

static op_node *allocate(const rl_call *call, int n_params, tail *out_tail) {
    sizes s = measure(call, n_params);
    uint32_t saves = call->op->saves;
    size_t n_saved = (size_t)__builtin_popcount(saves);
    if (s.edges > UINT16_MAX) {
        rl_call_fail(call, RL_UNSUPPORTED, "%zu tensors in one op; at most %d can be recorded", s.edges, UINT16_MAX);
        return NULL;
    }
    op_node *self =
        node_new(sizeof *self + s.edges * (sizeof(edge) + sizeof(outline)) + (size_t)n_params * sizeof(rl_value) +
                     n_saved * sizeof(saved) + s.ints * sizeof(int64_t) + s.text,
                 &op_node_class, backward_name(call));
    if (self == NULL)
        return NULL;
    self->base.edges = (edge *)(void *)(self + 1);
    self->outlines = (outline *)(void *)(self->base.edges + s.edges);
    self->args = (rl_value *)(void *)(self->outlines + s.edges);
    self->saved = (saved *)(void *)(self->args + n_params);
    out_tail->ints = (int64_t *)(void *)(self->saved + n_saved);
    out_tail->text = (char *)(out_tail->ints + s.ints);
    self->opcode = call->opcode;
    self->saves = saves;
    memset(self->saved, 0, n_saved * sizeof *self->saved);
    self->base.n_outputs = (uint16_t)call->n_results;
    return self;
}

/* The version of an argument's storage when the op read it. */
static inline uint32_t version_read(const rl_call *call, const rl_tensor *t) {
    return version_of(t) - (call->inplace && t->storage == call->results[0]->storage ? 1u : 0u);
}

static rl_status add_edge(op_node *self, const rl_call *call, rl_tensor *t, tail *rest) {
    uint16_t at = self->base.n_edges;
    rl_status status = edge_of(t, version_read(call, t), &self->base.edges[at]);
    if (status != RL_OK)
        return status;
    self->outlines[at] = (outline){t->storage->device, rest->ints, t->dtype, t->ndim};
    for (int d = 0; d < t->ndim; d++)
        *rest->ints++ = t->shape[d];
    self->base.n_edges++;
    return RL_OK;
}

static rl_status copy_argument(op_node *self, const rl_call *call, int i, tail *rest) {
    rl_value v = call->args[i];
    rl_status status = RL_OK;
    self->edge_at[i] = self->base.n_edges;
    switch (v.kind) {
    case RL_VALUE_TENSOR:
        status = add_edge(self, call, v.as.tensor, rest);
        v.as.tensor = NULL; /* that it was given is all that may be known: it may be gone */
        break;
    case RL_VALUE_TENSORS:
        for (int64_t k = 0; k < v.as.tensors.count && status == RL_OK; k++)
            status = add_edge(self, call, v.as.tensors.data[k], rest);
        v.as.tensors.data = NULL;
        break;
    case RL_VALUE_INTS:
        if (v.as.ints.count > 0) {
            memcpy(rest->ints, v.as.ints.data, sizeof(int64_t) * (size_t)v.as.ints.count);
            v.as.ints.data = rest->ints;
            rest->ints += v.as.ints.count;
        }
        break;
    case RL_VALUE_STRING:
        rest->text = (char *)memcpy(rest->text, v.as.string, strlen(v.as.string) + 1);
        v.as.string = rest->text;
        rest->text += strlen(rest->text) + 1;
        break;
    case RL_VALUE_GENERATOR:
        v.as.generator = NULL;
        break;
    default:
        break;
    }
    self->args[i] = v;
    return status;
}

/* Of a product, a factor is wanted only for the other one's gradient: that argument; -1 where it is wanted anyway. */
static int saved_for(int opcode, int arg) {
    switch (opcode) {
    case RL_OPCODE_mul:
    case RL_OPCODE_matmul:
    case RL_OPCODE_mm:
    case RL_OPCODE_bmm:
    case RL_OPCODE_mv:
    case RL_OPCODE_dot:
    case RL_OPCODE_linear:
        return 1 - arg;
    case RL_OPCODE_div:
        return arg == 0 ? 1 : -1;
    case RL_OPCODE_addmm:
    case RL_OPCODE_addmv:
    case RL_OPCODE_baddbmm:
    case RL_OPCODE_addcmul:
        return 3 - arg;
    default:
        return -1;
    }
}

static bool has_edge(const op_node *self, int arg) {
    int at = self->edge_at[arg];
    return at < self->edge_at[arg + 1] && edge_is(&self->base.edges[at]);
}

static rl_status save_all(op_node *self, const rl_call *call) {
    rl_status status = RL_OK;
    for (uint32_t m = self->saves & 0xffff; m != 0 && status == RL_OK; m &= m - 1) {
        int i = __builtin_ctz(m);
        int wanted_for = saved_for(call->opcode, i);
        rl_tensor *t = rl_arg_tensor(call, i);
        if (t == NULL || (wanted_for >= 0 && !has_edge(self, wanted_for)))
            continue;
        const edge *source = &self->base.edges[self->edge_at[i]];
        bool changed = call->inplace && i == 0; /* what was there is a clone */
        if (changed && before_change)
            status = save_tensor(op_node_saved(self, m & -m), before_change, source, version_of(before_change));
        else
            status = save_tensor(op_node_saved(self, m & -m), t, source, version_read(call, t));
    }
    for (uint32_t m = self->saves & 0xffff0000u; m != 0 && status == RL_OK; m &= m - 1) {
        rl_tensor *t = call->results[__builtin_ctz(m) - 16];
        status = save_tensor(op_node_saved(self, m & -m), t, &(edge){0}, version_of(t));
    }
    return status;
}

static op_node *node_of(rl_call *call) {
    int n_params = rl_schema_table[call->opcode].n_params;
    tail rest;
    op_node *self = allocate(call, n_params, &rest);
    if (self == NULL)
        return NULL;
    rl_status status = RL_OK;
    for (int i = 0; i < n_params && status == RL_OK; i++)
        status = copy_argument(self, call, i, &rest);
    for (int i = n_params; i <= RL_MAX_ARGS; i++)
        self->edge_at[i] = self->base.n_edges;
    if (status == RL_OK)
        status = save_all(self, call);
    if (status == RL_OK) {
        node_place(&self->base);
        return self;
    }
    rl_release(self);
    return NULL;
}

/* The hooks of ops/call.c ---------------------------------------------------------------------------------------- */

static rl_status give_history(rl_call *call, op_node *self) {
    for (int i = 0; i < call->n_results; i++) {
        rl_tensor *result = call->results[i];
        if (!rl_dtype_is_float((rl_dtype)result->dtype))
            continue;
        if (meta_of(result) == NULL)
            return rl_error_status();
        if (call->inplace && result->autograd->base)
            return view_rebase(result, &self->base);
        set_history(result, &self->base, (uint32_t)i);
        if (call->inplace)
            views_require_grad(result);
    }
    return RL_OK;
}

rl_status record_call(rl_call *call, int opcode) {
    (void)opcode;
    op_node *self = node_of(call);
    if (call->inplace)
        before_change = NULL;
    if (self == NULL)
        return rl_error_status();
    rl_status status = give_history(call, self);
    rl_release(self);
    return status;
}

static bool any_requires_grad(const rl_call *call) {
    const rl_schema *schema = &rl_schema_table[call->opcode];
    bool any = false;
    for (uint32_t m = schema->tensors; m != 0; m &= m - 1) {
        const rl_tensor *t = rl_arg_tensor(call, __builtin_ctz(m));
        any |= t && t->requires_grad;
    }
    for (uint32_t m = schema->lists; m != 0; m &= m - 1) {
        const rl_value *v = &call->args[__builtin_ctz(m)];
        for (int64_t i = 0; v->kind == RL_VALUE_TENSORS && i < v->as.tensors.count; i++)
            any |= v->as.tensors.data[i]->requires_grad != 0;
    }
    return any;
}

/* Whether the derivative will ask for args[0] as it was. */
static bool needs_self_before(const rl_call *call) {
    if (!(call->op->saves & RL_SAVE_IN(0)))
        return false;
    int wanted_for = saved_for(call->opcode, 0);
    const rl_tensor *other = wanted_for < 0 ? NULL : rl_arg_tensor(call, wanted_for);
    return wanted_for < 0 || (other && other->requires_grad);
}

rl_status record_before_inplace(rl_call *call, int opcode) {
    (void)opcode;
    if (!rl_recording_)
        return RL_OK;
    before_change = NULL;
    rl_tensor *self = call->args[0].as.tensor;
    const rl_tensor *base = self->autograd ? self->autograd->base : NULL;
    if (base && base->requires_grad && rl_tensor_is_leaf(base))
        return rl_call_fail(call, RL_AUTOGRAD,
                            "self is a view of a leaf that requires gradients and cannot be changed in place while "
                            "gradients are recorded; use RL_NO_GRAD()");
    if (self->requires_grad && rl_tensor_is_leaf(self))
        return rl_failed() ? rl_error_status()
                           : rl_call_fail(call, RL_AUTOGRAD,
                                          "self is a leaf that requires gradients and cannot be changed in place while "
                                          "gradients are recorded; use RL_NO_GRAD()");
    if (call->op->flags & RL_OP_NO_GRAD || !any_requires_grad(call))
        return RL_OK;
    if (self->untracked == RL_UNTRACKED_VIEW)
        return rl_call_fail(call, RL_AUTOGRAD,
                            "self is a view that was made while gradients were not recorded: what it looks at cannot "
                            "learn of this change; make the view again, or change it under RL_NO_GRAD()");
    if (self->untracked == RL_UNTRACKED_OUTPUT)
        return rl_call_fail(call, RL_AUTOGRAD,
                            "self is an output of a checkpoint, or of a function of one's own, that shares its memory "
                            "with an input or another tensor, which cannot learn of this change; let the function "
                            "return a clone, or change it under RL_NO_GRAD()");
    if (needs_self_before(call)) {
        RL_NO_GRAD();
        before_change = rl_clone(self);
        if (before_change == NULL)
            return rl_error_status();
    }
    return RL_OK;
}
