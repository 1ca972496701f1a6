/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rl_fuse: a function of pointwise ops runs once on tensors that hold nothing but a value of a program being built;
 * each op that meets one splices its own program in. Then the whole is one map. Its derivative runs the function op by
 * op.
 */
#include <string.h>

#include "autograd/graph.h"
#include "rushlight/device.h"
#include "rushlight/ops.h"

enum { MOST_INPUTS = RL_MAX_INPUTS };

typedef struct trace { /* of one call of rl_fuse */
    rl_builder builder;
    rl_tensor *inputs[MOST_INPUTS]; /* real tensors, in the program's order; one count each */
    rl_pw input_values[MOST_INPUTS];
    int n_inputs, n_scalars;
    rl_number scalars[RL_MAX_SCALARS];
    struct traced *all; /* what was handed out, to be cut off at the end */
    replay *replay;     /* NULL where gradients are not recorded */
    bool uses_more;     /* gradients are wanted of more than the inputs */
} trace;

typedef struct traced { /* hangs at tensor->trace */
    trace *owner;
    rl_pw value;
    rl_tensor *tensor;
    struct traced *next;
} traced;

/* A tensor that stands for a value: one real element, seen everywhere, so that nothing can read beyond it. */
static rl_tensor *stand_in(trace *self, rl_pw value, rl_dtype dtype, rl_device *device, int64_t ndim,
                           const int64_t *shape) {
    const int64_t strides[RL_MAX_DIMS] = {0};
    traced *mark = rl_alloc_zero(1, sizeof *mark, "a traced value");
    rl_storage *storage = mark ? rl_storage_new(device, rl_dtype_size(dtype)) : NULL;
    rl_tensor *made = storage ? rl_tensor_make(storage, dtype, ndim, shape, strides, 0) : NULL;
    rl_release(storage);
    if (made == NULL) {
        rl_free(mark);
        return NULL;
    }
    *mark = (traced){self, value, made, self->all};
    self->all = mark;
    made->trace = mark;
    return rl_object_own(rl_retain(made)); /* the list holds the other count */
}

static void cut_off(trace *self) {
    for (int i = 0; i < self->n_inputs; i++)
        rl_release(self->inputs[i]);
    while (self->all) {
        traced *next = self->all->next;
        self->all->tensor->trace = NULL;
        rl_release(self->all->tensor);
        rl_free(self->all);
        self->all = next;
    }
}

static rl_pw add_input(trace *self, rl_tensor *tensor) {
    int i = self->n_inputs++;
    self->inputs[i] = rl_retain(tensor);
    return self->input_values[i] = rl_build_input(&self->builder, (rl_dtype)tensor->dtype);
}

/* The value of an input of an op's program: a traced one, or a real tensor, which becomes an input. */
static rl_status value_of(trace *self, rl_tensor *tensor, rl_pw *out) {
    traced *mark = tensor->trace;
    if (mark) {
        *out = mark->value;
        return RL_OK;
    }
    int i = 0;
    while (i < self->n_inputs && self->inputs[i] != tensor)
        i++;
    if (i == MOST_INPUTS)
        return rl_fail(RL_UNSUPPORTED, "fuse: more than %d input tensors", MOST_INPUTS);
    *out = i < self->n_inputs ? self->input_values[i] : add_input(self, tensor);
    if (self->replay == NULL || !tensor->requires_grad)
        return RL_OK;
    self->uses_more = true;
    return replay_uses(self->replay, tensor);
}

static trace *trace_of(const rl_call *call, const rl_schema *schema) {
    for (uint32_t m = schema->tensors; m != 0; m &= m - 1) {
        const rl_tensor *t = rl_arg_tensor(call, __builtin_ctz(m));
        if (t && t->trace)
            return ((traced *)t->trace)->owner;
    }
    for (uint32_t m = schema->lists; m != 0; m &= m - 1) {
        const rl_value *v = &call->args[__builtin_ctz(m)];
        for (int64_t i = 0; v->kind == RL_VALUE_TENSORS && i < v->as.tensors.count; i++) {
            const rl_tensor *t = v->as.tensors.data[i];
            if (t->trace)
                return ((traced *)t->trace)->owner;
        }
    }
    return NULL;
}

static rl_status splice(trace *self, rl_call *call, const rl_schema *schema) {
    rl_pointwise_launch launch;
    rl_pw args[RL_MAX_INPUTS], results[RL_MAX_OUTPUTS];
    rl_status status = rl_pointwise_prepare(call, call->opcode, &launch);
    if (status != RL_OK)
        return status;
    if (launch.program->flags)
        return rl_fail(RL_UNSUPPORTED, "fuse: %s depends on where an element stands and cannot be fused", schema->name);
    if (self->n_scalars + launch.n_scalars > RL_MAX_SCALARS)
        return rl_fail(RL_UNSUPPORTED, "fuse: more than %d numbers", RL_MAX_SCALARS);
    for (int i = 0; i < launch.n_inputs && status == RL_OK; i++)
        status = value_of(self, launch.inputs[i], &args[i]);
    if (status != RL_OK)
        return status;
    rl_build_inline(&self->builder, launch.program, args, NULL, results);
    for (int i = 0; i < launch.n_scalars; i++)
        self->scalars[self->n_scalars++] = launch.scalars[i];
    for (int i = 0; i < call->n_results && status == RL_OK; i++) {
        const rl_meta *meta = &call->meta[i];
        call->results[i] = stand_in(self, results[i], meta->dtype, meta->device, meta->ndim, meta->shape);
        status = call->results[i] ? self->builder.status : rl_error_status();
    }
    return status;
}

/* The hook of ops/call.c: true where it took the call. */
bool trace_call(rl_call *call, int opcode, rl_status *out_status) {
    const rl_schema *schema = &rl_schema_table[opcode];
    trace *self = trace_of(call, schema);
    if (self == NULL)
        return false;
    call->opcode = opcode;
    if (!(call->op->flags & RL_OP_POINTWISE) || call->op->lower || call->inplace)
        *out_status = rl_fail(RL_UNSUPPORTED, "fuse: %s is %s; only pointwise ops can be fused", rl_call_name(call),
                              call->inplace ? "in place" : "not pointwise");
    else
        *out_status = splice(self, call, schema);
    return true;
}

/* Running -------------------------------------------------------------------------------------------------------- */

static rl_status check_outputs(const trace *self, rl_tensor *const *outputs, int64_t n_outputs) {
    char a[RL_SHAPE_TEXT], b[RL_SHAPE_TEXT];
    for (int64_t i = 0; i < n_outputs; i++) {
        const traced *mark = outputs[i]->trace;
        if (mark == NULL || mark->owner != self)
            return rl_fail(RL_UNSUPPORTED, "fuse: output %lld does not come from the inputs by pointwise ops",
                           (long long)i);
        if (outputs[i]->ndim != outputs[0]->ndim ||
            memcmp(outputs[i]->shape, outputs[0]->shape, sizeof(int64_t) * outputs[0]->ndim) != 0)
            return rl_fail(RL_SHAPE_MISMATCH,
                           "fuse: all outputs must have one shape; output 0 has %s and output %lld %s",
                           rl_shape_text(outputs[0]->ndim, outputs[0]->shape, a), (long long)i,
                           rl_shape_text(outputs[i]->ndim, outputs[i]->shape, b));
    }
    return RL_OK;
}

/* Outputs like the first input of their shape, whose order of dimensions they keep. */
static rl_tensor *output_like(const trace *self, const rl_tensor *like) {
    int64_t stride[RL_MAX_DIMS];
    const rl_tensor *model = NULL;
    for (int i = 0; i < self->n_inputs && model == NULL; i++) {
        const rl_tensor *t = self->inputs[i];
        if (t->ndim == like->ndim && memcmp(t->shape, like->shape, sizeof(int64_t) * like->ndim) == 0)
            model = t;
    }
    if (model)
        rl_dense_strides_like(like->ndim, like->shape, model->stride, stride);
    return rl_object_own(
        rl_tensor_empty(like->storage->device, (rl_dtype)like->dtype, like->ndim, like->shape, model ? stride : NULL));
}

/* Replaces the traced outputs by real ones. */
static rl_status run_program(trace *self, rl_tensor **outputs, int64_t n_outputs) {
    rl_tensor *made[RL_MAX_OUTPUTS];
    for (int64_t i = 0; i < n_outputs; i++) {
        rl_build_output(&self->builder, ((traced *)outputs[i]->trace)->value, (rl_dtype)outputs[i]->dtype);
        made[i] = output_like(self, outputs[i]);
        if (made[i] == NULL)
            return rl_error_status();
    }
    const rl_program *program = rl_builder_finish(&self->builder);
    rl_status status = program ? rl_row_map("fuse", program, self->inputs, made, self->scalars) : rl_error_status();
    memcpy(outputs, made, sizeof *made * (size_t)n_outputs);
    return status;
}

static rl_status trace_and_run(trace *self, rl_tensor_fn fn, void *context, rl_tensors inputs, rl_tensor **outputs,
                               int64_t n_outputs) {
    rl_tensor *given[MOST_INPUTS];
    for (int64_t i = 0; i < inputs.count; i++) {
        const rl_tensor *t = inputs.data[i];
        given[i] =
            stand_in(self, add_input(self, inputs.data[i]), (rl_dtype)t->dtype, t->storage->device, t->ndim, t->shape);
        if (given[i] == NULL)
            return rl_error_status();
    }
    rl_tensors stand_ins = {given, inputs.count};
    rl_status status = self->replay ? replay_first_run(self->replay, "fuse", stand_ins, outputs, n_outputs)
                                    : call_tensor_fn("fuse", fn, context, stand_ins, outputs, n_outputs);
    if (status == RL_OK)
        status = check_outputs(self, outputs, n_outputs);
    return status == RL_OK ? run_program(self, outputs, n_outputs) : status;
}

/* The derivative runs the function op by op. Every floating output has one where an input or what else is used does. */
static rl_status give_history(replay *of, rl_tensors inputs, rl_tensor **outputs, int64_t n_outputs, bool uses_more) {
    bool differentiable[RL_MAX_OUTPUTS], any = uses_more;
    for (int64_t i = 0; i < inputs.count; i++)
        any |= inputs.data[i]->requires_grad != 0;
    for (int64_t i = 0; i < n_outputs; i++)
        differentiable[i] = any && rl_dtype_is_float((rl_dtype)outputs[i]->dtype);
    return replay_end(of, outputs, differentiable, n_outputs);
}

static rl_status run_fused(trace *self, rl_tensor_fn fn, void *context, rl_tensors inputs, rl_tensor **outputs,
                           int64_t n_outputs) {
    rl_scope scope = rl_scope_begin();
    rl_status status = rl_error_status();
    if (status == RL_OK)
        status = trace_and_run(self, fn, context, inputs, outputs, n_outputs);
    for (int64_t i = 0; i < n_outputs && status == RL_OK; i++)
        rl_keep(outputs[i]);
    rl_scope_end(scope);
    return status;
}

static rl_status check_arguments(rl_tensor_fn fn, rl_tensors inputs, rl_tensor **outputs, int64_t n_outputs) {
    if (check_tensor_fn("fuse", fn, inputs, MOST_INPUTS, outputs, n_outputs, RL_MAX_OUTPUTS) != RL_OK)
        return rl_error_status();
    if (inputs.count == 0)
        return rl_fail(RL_INVALID_ARGUMENT, "fuse: expected 1 to %d inputs, got 0", MOST_INPUTS);
    for (int64_t i = 0; i < inputs.count; i++) {
        if (inputs.data[i]->trace)
            return rl_fail(RL_UNSUPPORTED, "fuse: input %lld belongs to a function that is being fused", (long long)i);
    }
    return RL_OK;
}

rl_status rl_fuse(rl_tensor_fn fn, void *context, rl_tensors inputs, rl_tensor **outputs, int64_t n_outputs) {
    trace self = {0};
    rl_status status = check_arguments(fn, inputs, outputs, n_outputs);
    if (status != RL_OK)
        return status;
    rl_builder_init(&self.builder);
    if (rl_recording_ && (self.replay = replay_begin("FusedBackward", fn, context, inputs)) == NULL)
        return rl_error_status();
    status = run_fused(&self, fn, context, inputs, outputs, n_outputs);
    cut_off(&self);
    if (self.replay && status == RL_OK)
        status = give_history(self.replay, inputs, outputs, n_outputs, self.uses_more);
    else
        replay_cancel(self.replay);
    if (status != RL_OK)
        memset(outputs, 0, sizeof *outputs * (size_t)n_outputs);
    return status;
}
