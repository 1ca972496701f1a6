/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a call: arguments checked, results inferred and made, the op lowered, the call recorded. Any thread. */
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "ops/call.h"

rl_record_hooks rl_record_hooks_;
_Thread_local bool rl_recording_ = true;
_Thread_local bool rl_tracing_;

#define UNLIKELY(x) __builtin_expect(!!(x), 0)

const char *rl_call_name(const rl_call *call) {
    const rl_schema *schema = &rl_schema_table[call->opcode];
    return call->inplace ? schema->inplace_name : schema->name;
}

rl_status rl_call_fail(const rl_call *call, rl_status status, const char *format, ...) {
    RL_C_LOCALE();
    char sentence[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    return rl_fail(status, "%s: %s", rl_call_name(call), sentence);
}

/* Arguments ------------------------------------------------------------------------------------------------------ */

static rl_status fail_missing(const rl_call *call, const rl_param *param) {
    bool pointer = param->type == RL_PARAM_TENSOR || param->type == RL_PARAM_TENSOR_OR_SCALAR;
    return rl_call_fail(call, RL_INVALID_ARGUMENT, pointer ? "%s is NULL" : "%s is missing", param->name);
}

static rl_status fail_kind(const rl_call *call, const rl_param *param) {
    return rl_call_fail(call, RL_INVALID_ARGUMENT, "%s must be %s", param->name,
                        param->type == RL_PARAM_TENSOR   ? "a tensor"
                        : param->type == RL_PARAM_SCALAR ? "a number"
                                                         : "a tensor or a number");
}

/* What the tensors of a call say about how it is to run. */
typedef struct call_traits {
    bool requires_grad, traced;
} call_traits;

static inline void note_tensor(call_traits *traits, const rl_tensor *t) {
    traits->requires_grad |= t->requires_grad;
    traits->traced |= t->trace != NULL;
}

static rl_status check_list(const rl_call *call, const rl_param *param, const rl_value *v, call_traits *traits) {
    if (v->kind == RL_VALUE_NONE)
        return param->optional ? RL_OK : fail_missing(call, param);
    if (v->as.tensors.count < 0 || (v->as.tensors.count > 0 && v->as.tensors.data == NULL))
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "%s has %lld elements at NULL", param->name,
                            (long long)v->as.tensors.count);
    for (int64_t i = 0; i < v->as.tensors.count; i++) {
        if (v->as.tensors.data[i] == NULL)
            return rl_call_fail(call, RL_INVALID_ARGUMENT, "%s[%lld] is NULL", param->name, (long long)i);
        note_tensor(traits, v->as.tensors.data[i]);
    }
    return RL_OK;
}

/* A dtype that there is; a list that lies somewhere. */
static rl_status check_value(const rl_call *call, const rl_param *param, const rl_value *v) {
    if (v->kind == RL_VALUE_DTYPE && rl_dtype_size(v->as.dtype) == 0)
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "%s: there is no dtype %d", param->name, (int)v->as.dtype);
    if (v->kind == RL_VALUE_INTS && (v->as.ints.count < 0 || (v->as.ints.count > 0 && v->as.ints.data == NULL)))
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "%s has %lld elements at NULL", param->name,
                            (long long)v->as.ints.count);
    return RL_OK;
}

/* The typed calls and the boxed one give each argument its kind, but for what comes as an rl_value from the caller. */
static rl_status check_arguments(rl_call *call, const rl_schema *schema, call_traits *traits) {
    for (uint32_t m = schema->tensors; m != 0; m &= m - 1) {
        int i = __builtin_ctz(m);
        rl_value *v = &call->args[i];
        if (v->kind == RL_VALUE_TENSOR && v->as.tensor != NULL)
            note_tensor(traits, v->as.tensor);
        else if (v->kind == RL_VALUE_NONE || v->kind == RL_VALUE_TENSOR) {
            if (schema->required >> i & 1)
                return fail_missing(call, &schema->params[i]);
            v->kind = RL_VALUE_NONE;
        } else if (!rl_value_is_number(v) || !(schema->tensors_or_scalars >> i & 1))
            return fail_kind(call, &schema->params[i]);
    }
    for (uint32_t m = schema->required & ~(schema->tensors | schema->lists); m != 0; m &= m - 1) {
        int i = __builtin_ctz(m);
        if (UNLIKELY(call->args[i].kind == RL_VALUE_NONE))
            return fail_missing(call, &schema->params[i]);
    }
    for (uint32_t m = schema->numbers & ~schema->tensors; m != 0; m &= m - 1) {
        int i = __builtin_ctz(m);
        if (UNLIKELY(call->args[i].kind != RL_VALUE_NONE && !rl_value_is_number(&call->args[i])))
            return fail_kind(call, &schema->params[i]);
    }
    for (uint32_t m = schema->checked; m != 0; m &= m - 1) {
        int i = __builtin_ctz(m);
        rl_status status = check_value(call, &schema->params[i], &call->args[i]);
        if (status != RL_OK)
            return status;
    }
    for (uint32_t m = schema->lists; m != 0; m &= m - 1) {
        int i = __builtin_ctz(m);
        rl_status status = check_list(call, &schema->params[i], &call->args[i], traits);
        if (status != RL_OK)
            return status;
    }
    return RL_OK;
}

/* Results -------------------------------------------------------------------------------------------------------- */

/* Owned from the start, so that whatever fails later leaves nothing to undo. */
static rl_status make_results(rl_call *call) {
    for (int i = 0; i < call->n_results; i++) {
        const rl_meta *meta = &call->meta[i];
        rl_status status;
        if (meta->dtype == RL_F64 &&
            (status = rl_device_check_dtype(rl_call_name(call), meta->device, RL_F64)) != RL_OK)
            return status;
        uint64_t bytes;
        int64_t numel;
        if (UNLIKELY(!rl_shape_bytes(meta->ndim, meta->shape, meta->dtype, &bytes)))
            return rl_check_shape(rl_call_name(call), meta->ndim, meta->shape, meta->dtype, &numel);
        rl_tensor *made =
            rl_tensor_empty(meta->device, meta->dtype, meta->ndim, meta->shape, meta->has_stride ? meta->stride : NULL);
        call->results[i] = rl_object_own(made);
        if (UNLIKELY(call->results[i] == NULL))
            return rl_error_status();
    }
    return RL_OK;
}

rl_tensor *rl_call_temp(const rl_call *call, rl_dtype dtype, int64_t ndim, const int64_t *shape) {
    return rl_object_own(rl_tensor_empty(call->meta[0].device, dtype, ndim, shape, NULL));
}

/* The room of a Tensor[] result: an object of its own, so that a scope can own it. */
typedef struct tensor_list {
    rl_object object;
    rl_tensor *data[];
} tensor_list;

static void list_destroy(rl_object *self) {
    rl_free(self);
}
static const rl_object_class list_class = {"tensor list", list_destroy};

static tensor_list *list_of(rl_tensors list) {
    return (tensor_list *)((char *)(uintptr_t)list.data - offsetof(tensor_list, data));
}

rl_tensor **rl_tensor_list_new(int64_t count) {
    tensor_list *list = rl_alloc_zero(1, sizeof *list + (size_t)count * sizeof *list->data, "a list of tensors");
    if (list == NULL)
        return NULL;
    rl_object_init(&list->object, &list_class);
    return rl_object_own(list) ? list->data : NULL;
}

rl_tensor **rl_call_list(rl_call *call, int64_t count) {
    rl_tensor **room = rl_tensor_list_new(count);
    if (room != NULL)
        call->list = (rl_tensors){room, count};
    return room;
}

/* In place ------------------------------------------------------------------------------------------------------- */

/* The elements of the storage that t spans: [*low, *high]; not for empty tensors. */
static void element_range(const rl_tensor *t, int64_t *low, int64_t *high) {
    *low = *high = t->offset;
    for (int d = 0; d < t->ndim; d++)
        *(t->stride[d] < 0 ? low : high) += (t->shape[d] - 1) * t->stride[d];
}

/* Whether two different elements of t may be one place. Strides that nest (each at least the extent of the smaller
 * ones) never do; those of views by slicing, transposing and so on nest always. */
bool rl_overlaps_itself(const rl_tensor *t) {
    if (t->contiguous || t->numel <= 1)
        return false;
    uint32_t left = 0;
    for (int d = 0; d < t->ndim; d++)
        if (t->shape[d] > 1)
            left |= 1u << d;
    int64_t extent = 1;
    while (left != 0) {
        int smallest = __builtin_ctz(left);
        for (uint32_t m = left; m != 0; m &= m - 1)
            if (llabs(t->stride[__builtin_ctz(m)]) < llabs(t->stride[smallest]))
                smallest = __builtin_ctz(m);
        int64_t stride = llabs(t->stride[smallest]);
        if (stride < extent)
            return true;
        extent += stride * (t->shape[smallest] - 1);
        left &= ~(1u << smallest);
    }
    return false;
}

/* Whether writing `self` element by element would change elements of `input` that are still to be read: they share
 * memory, but not exactly. */
static bool partly_aliases(const rl_tensor *self, const rl_tensor *input) {
    if (input == self || input->storage != self->storage || input->numel == 0 || self->numel == 0)
        return false;
    if (input->offset == self->offset && input->ndim == self->ndim && input->dtype == self->dtype) {
        bool same = true;
        for (int d = 0; d < self->ndim; d++)
            same = same && input->shape[d] == self->shape[d] &&
                   (input->stride[d] == self->stride[d] || self->shape[d] == 1);
        if (same)
            return false;
    }
    int64_t low, high, input_low, input_high;
    element_range(self, &low, &high);
    element_range(input, &input_low, &input_high);
    return input_low <= high && low <= input_high;
}

static rl_status check_inplace(const rl_call *call) {
    const rl_tensor *self = call->args[0].as.tensor;
    const rl_meta *meta = &call->meta[0];
    char want[RL_SHAPE_TEXT], have[RL_SHAPE_TEXT];
    if (meta->ndim != self->ndim || memcmp(meta->shape, self->shape, (size_t)self->ndim * sizeof *self->shape) != 0)
        return rl_call_fail(call, RL_SHAPE_MISMATCH, "the result %s does not fit into self %s, whose shape must stay",
                            rl_shape_text(meta->ndim, meta->shape, want), rl_shape_text(self->ndim, self->shape, have));
    if (meta->dtype != self->dtype && !rl_can_cast(meta->dtype, self->dtype))
        return rl_call_fail(call, RL_DTYPE_MISMATCH, "the result is %s and cannot be stored in self, which is %s",
                            rl_dtype_name(meta->dtype), rl_dtype_name(self->dtype));
    if (meta->device != self->storage->device)
        return rl_call_fail(call, RL_DEVICE_MISMATCH, "self is on %s and cannot hold a result on %s",
                            rl_device_name(self->storage->device), rl_device_name(meta->device));
    if (rl_overlaps_itself(self))
        return rl_call_fail(call, RL_INVALID_ARGUMENT,
                            "several elements of self are one place in memory (an expanded tensor?): clone it first");
    return RL_OK;
}

/* Replaces inputs that share memory with self in part by copies, as if all were read before anything is written. */
static rl_status separate_inputs(rl_call *call, const rl_schema *schema) {
    const rl_tensor *self = call->results[0];
    for (uint32_t m = schema->tensors & ~1u; m != 0; m &= m - 1) {
        rl_value *v = &call->args[__builtin_ctz(m)];
        if (v->kind != RL_VALUE_TENSOR || !partly_aliases(self, v->as.tensor))
            continue;
        v->as.tensor = rl_contiguous_copy(rl_call_name(call), v->as.tensor);
        if (v->as.tensor == NULL)
            return rl_error_status();
    }
    return RL_OK;
}

/* Running -------------------------------------------------------------------------------------------------------- */

static rl_status infer(rl_call *call) {
    const rl_op_def *op = call->op;
    for (int i = 0; i < call->n_results; i++)
        call->meta[i].has_stride = false;
    if (op->infer)
        return op->infer(call);
    return op->flags & RL_OP_POINTWISE ? rl_infer_broadcast(call) : rl_infer_view(call);
}

/* Lowers within a scope, recording nothing. */
static rl_status lower_in_scope(rl_call *call, const rl_schema *schema) {
    rl_value args[RL_MAX_ARGS];
    memcpy(args, call->args, (size_t)schema->n_params * sizeof *args);
    rl_error_context context = rl_error_enter(rl_call_name(call));
    rl_scope scope = rl_scope_begin();
    bool recording = rl_recording_, autocasting = rl_autocasting_;
    rl_recording_ = rl_autocasting_ = false;
    rl_status status = rl_error_status(); /* of rl_scope_begin */
    if (status == RL_OK && call->inplace)
        status = separate_inputs(call, schema);
    if (status == RL_OK && (call->op->flags & RL_OP_HOST))
        status = rl_note_host_op(rl_call_name(call), call->meta[0].device);
    if (status == RL_OK)
        status = call->op->lower ? call->op->lower(call) : rl_pointwise_run(call);
    if (status == RL_OK)
        status = rl_error_status(); /* of an op within, which lower did not look at */
    rl_recording_ = recording;
    rl_autocasting_ = autocasting;
    rl_scope_end(scope);
    rl_error_leave(&context);
    memcpy(call->args, args, (size_t)schema->n_params * sizeof *args);
    return status;
}

static rl_status lower(rl_call *call, const rl_schema *schema) {
    uint32_t flags = call->op->flags;
    if (flags & RL_OP_VIEW) {
        rl_error_context context = rl_error_enter(rl_call_name(call));
        rl_status status = call->op->lower(call);
        rl_error_leave(&context);
        if (status != RL_OK)
            return status;
        rl_tensor *view = call->results[0] = rl_object_own(call->results[0]);
        if (view == NULL)
            return rl_error_status();
        const rl_tensor *of = call->args[0].as.tensor;
        if (view->storage == of->storage)
            view->untracked = rl_recording_ ? of->untracked : RL_UNTRACKED_VIEW;
        return rl_recording_ && rl_record_hooks_.view ? rl_record_hooks_.view(call) : RL_OK;
    }
    /* A plain pointwise op leaves nothing behind and calls no op: it does without a scope. */
    if ((flags & RL_OP_POINTWISE) && call->op->lower == NULL && !call->inplace)
        return rl_pointwise_run(call);
    return lower_in_scope(call, schema);
}

/* A composite's results are results of other ops: they move from its scope to the one around it. */
static rl_status run_composite(rl_call *call, const rl_schema *schema) {
    rl_error_context context = rl_error_enter(rl_call_name(call));
    rl_scope scope = rl_scope_begin();
    rl_status status = rl_error_status();
    if (call->inplace)
        call->results[0] = call->args[0].as.tensor;
    if (status == RL_OK)
        status = call->op->lower(call);
    if (status == RL_OK)
        status = rl_error_status();
    rl_tensor *const *results = schema->returns_list ? call->list.data : call->results;
    int64_t count = schema->returns_list ? call->list.count : call->n_results;
    bool own = status == RL_OK && !call->inplace;
    for (int64_t i = 0; own && i < count; i++)
        if (rl_retain(results[i]) == NULL)
            status = rl_call_fail(call, RL_INTERNAL, "its lowering gave no result %lld", (long long)i);
    if (own && call->list.data)
        rl_retain(list_of(call->list));
    rl_scope_end(scope);
    for (int64_t i = 0; own && i < count; i++)
        if (rl_object_own(results[i]) == NULL)
            status = rl_error_status();
    if (own && call->list.data && rl_object_own(list_of(call->list)) == NULL)
        status = rl_error_status();
    rl_error_leave(&context);
    return status;
}

static bool has_float_result(const rl_call *call) {
    for (int i = 0; i < call->n_results; i++)
        if (rl_dtype_is_float((rl_dtype)call->results[i]->dtype))
            return true;
    return false;
}

static rl_status run(rl_call *call, const rl_schema *schema, call_traits traits) {
    uint32_t flags = call->op->flags;
    if (flags & RL_OP_COMPOSITE)
        return run_composite(call, schema);
    rl_status status = infer(call);
    if (status != RL_OK)
        return status;
    if (UNLIKELY(traits.traced | rl_tracing_) && rl_record_hooks_.trace &&
        rl_record_hooks_.trace(call, call->opcode, &status))
        return status;
    if (call->inplace) {
        status = check_inplace(call);
        if (status == RL_OK && rl_record_hooks_.before_inplace)
            status = rl_record_hooks_.before_inplace(call, call->opcode);
        call->results[0] = call->args[0].as.tensor;
    } else if (!(flags & RL_OP_VIEW)) {
        status = make_results(call);
    }
    if (status != RL_OK)
        return status;
    status = lower(call, schema);
    if (call->inplace) /* even where it failed: some of it may be done */
        rl_tensor_changed(call->results[0], schema->inplace_name);
    if (status != RL_OK)
        return status;
    if (traits.requires_grad && rl_recording_ && rl_record_hooks_.record && !(flags & RL_OP_NO_GRAD) &&
        has_float_result(call))
        return rl_record_hooks_.record(call, call->opcode);
    return RL_OK;
}

/* The same on arguments cast as autocast has it; within, the op's choice stands. */
static rl_status run_autocast(rl_call *call, const rl_schema *schema) {
    call_traits traits = {false, false};
    rl_status status = rl_autocast_arguments(call);
    if (status == RL_OK)
        status = check_arguments(call, schema, &traits);
    rl_autocasting_ = false;
    if (status == RL_OK)
        status = run(call, schema, traits);
    rl_autocasting_ = true;
    return status;
}

rl_status rl_call_run(rl_call *call, int opcode) {
    const rl_schema *schema = &rl_schema_table[opcode];
    call->op = rl_op_table[opcode];
    call->opcode = opcode;
    call->n_results = schema->n_results;
    call->compute = RL_DTYPE_NONE;
    call->list = (rl_tensors){NULL, 0};
    for (int i = 0; i < RL_MAX_RESULTS; i++)
        call->results[i] = NULL;
    if (UNLIKELY(rl_failed()))
        return rl_error_status();
    call_traits traits = {false, false};
    rl_status status = check_arguments(call, schema, &traits);
    if (status == RL_OK)
        status = UNLIKELY(rl_autocasting_) && (call->op->flags & RL_OP_AUTOCAST) && !call->inplace
                     ? run_autocast(call, schema)
                     : run(call, schema, traits);
    if (UNLIKELY(status != RL_OK)) {
        for (int i = 0; i < RL_MAX_RESULTS; i++)
            call->results[i] = NULL;
        call->list = (rl_tensors){NULL, 0};
    }
    return status;
}
