/* SPDX-License-Identifier: Apache-2.0 */
/* The named rules that ops infer their results by, and the checks that name op and argument. Any thread. */
#include <stdio.h>
#include <string.h>

#include "ops/op.h"

static const rl_schema *schema_of(const rl_call *call) {
    return &rl_schema_table[call->opcode];
}
static const char *arg_name(const rl_call *call, int i) {
    return schema_of(call)->params[i].name;
}

void rl_meta_set(rl_meta *meta, rl_dtype dtype, rl_device *device, int64_t ndim, const int64_t *shape) {
    meta->dtype = dtype;
    meta->device = device;
    meta->ndim = ndim;
    meta->has_stride = false;
    for (int64_t d = 0; d < ndim; d++)
        meta->shape[d] = shape[d];
}

rl_status rl_infer_view(rl_call *call) {
    (void)call;
    return RL_OK;
}

/* Checks --------------------------------------------------------------------------------------------------------- */

/* "self", or "tensors[2]" of a list. */
#define ARG_TEXT 80
static const char *element_name(const rl_call *call, int arg, bool list, int64_t k, char *out) {
    snprintf(out, ARG_TEXT, list ? "%.40s[%lld]" : "%.40s", arg_name(call, arg), (long long)k);
    return out;
}

static rl_status fail_devices(const rl_call *call, const char *a, const rl_device *a_device, const char *b,
                              const rl_device *b_device) {
    return rl_call_fail(call, RL_DEVICE_MISMATCH,
                        "%s is on %s and %s on %s: all tensors of a call must be on one device", a,
                        rl_device_name(a_device), b, rl_device_name(b_device));
}

rl_status rl_check_same_device(const rl_call *call) {
    const rl_schema *schema = schema_of(call);
    const rl_device *first = NULL;
    char name[ARG_TEXT], other[ARG_TEXT];
    for (uint32_t m = schema->tensors | schema->lists; m != 0; m &= m - 1) {
        int i = __builtin_ctz(m);
        const rl_value *v = &call->args[i];
        bool list = v->kind == RL_VALUE_TENSORS;
        rl_tensor *const *tensors = list ? v->as.tensors.data : &v->as.tensor;
        int64_t count = list ? v->as.tensors.count : v->kind == RL_VALUE_TENSOR;
        for (int64_t k = 0; k < count; k++) {
            const rl_device *device = tensors[k]->storage->device;
            if (first == NULL) {
                first = device;
                element_name(call, i, list, k, name);
            }
            if (device != first)
                return fail_devices(call, name, first, element_name(call, i, list, k, other), device);
        }
    }
    return RL_OK;
}

rl_status rl_check_float(const rl_call *call, int arg) {
    rl_dtype dtype = rl_tensor_dtype(rl_arg_tensor(call, arg));
    if (rl_dtype_is_float(dtype))
        return RL_OK;
    return rl_call_fail(call, RL_DTYPE_MISMATCH, "%s must be of a floating dtype, not %s", arg_name(call, arg),
                        rl_dtype_name(dtype));
}

rl_status rl_check_dtype_is(const rl_call *call, int arg, rl_dtype expected) {
    rl_dtype dtype = rl_tensor_dtype(rl_arg_tensor(call, arg));
    if (dtype == expected)
        return RL_OK;
    return rl_call_fail(call, RL_DTYPE_MISMATCH, "%s must be %s, not %s", arg_name(call, arg), rl_dtype_name(expected),
                        rl_dtype_name(dtype));
}

rl_status rl_check_no_bool(const rl_call *call, int arg) {
    if (rl_tensor_dtype(rl_arg_tensor(call, arg)) != RL_BOOL)
        return RL_OK;
    return rl_call_fail(call, RL_DTYPE_MISMATCH, "%s must not be bool", arg_name(call, arg));
}

rl_status rl_check_index_dtype(const rl_call *call, int arg) {
    rl_dtype dtype = rl_tensor_dtype(rl_arg_tensor(call, arg));
    if (dtype == RL_I32 || dtype == RL_I64)
        return RL_OK;
    return rl_call_fail(call, RL_DTYPE_MISMATCH, "%s must be int64 or int32, not %s", arg_name(call, arg),
                        rl_dtype_name(dtype));
}

/* Whether an integer of that dtype can hold the number. Negative ones may wrap where there is no sign, as in PyTorch.
 */
static bool fits(const rl_value *v, double low, double high, bool is_signed) {
    if (v->kind == RL_VALUE_FLOAT)
        return v->as.f >= low && v->as.f <= high; /* NaN does not */
    return v->kind != RL_VALUE_INT || ((double)v->as.i <= high && (double)v->as.i >= (is_signed ? low : -high));
}

rl_status rl_check_fits(const rl_call *call, int arg, rl_dtype dtype) {
    const rl_value *v = &call->args[arg];
    if (!rl_value_is_number(v) || rl_dtype_is_float(dtype) || dtype == RL_BOOL)
        return RL_OK;
    int64_t low, high;
    rl_dtype_range(dtype, &low, &high);
    if (fits(v, (double)low, dtype == RL_I64 ? 0x1.fffffffffffffp62 : (double)high, low < 0) ||
        (dtype == RL_I64 && v->kind == RL_VALUE_INT))
        return RL_OK;
    if (v->kind == RL_VALUE_FLOAT)
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "%s is %g, which %s cannot hold", arg_name(call, arg), v->as.f,
                            rl_dtype_name(dtype));
    return rl_call_fail(call, RL_INVALID_ARGUMENT, "%s is %lld, which %s cannot hold", arg_name(call, arg),
                        (long long)v->as.i, rl_dtype_name(dtype));
}

/* Dtypes --------------------------------------------------------------------------------------------------------- */

/* Fills the dtype of meta[0], and the compute dtype, from the promoted one. */
static void set_dtypes(rl_call *call, uint32_t flags, rl_dtype promoted) {
    if ((flags & RL_OP_FLOAT_RESULT) && !rl_dtype_is_float(promoted))
        promoted = RL_F32;
    call->compute = promoted;
    call->meta[0].dtype = flags & RL_OP_BOOL_RESULT ? RL_BOOL : promoted;
}

static rl_dtype promote(const rl_call *call) {
    rl_value operands[RL_MAX_ARGS];
    int64_t count = 0;
    rl_dtype only = RL_DTYPE_NONE; /* the one dtype of all so far */
    for (uint32_t m = schema_of(call)->tensors & ~call->op->as_is; m != 0; m &= m - 1) {
        const rl_value *v = &call->args[__builtin_ctz(m)];
        if (v->kind == RL_VALUE_NONE)
            continue;
        rl_dtype dtype = v->kind == RL_VALUE_TENSOR ? (rl_dtype)v->as.tensor->dtype : RL_DTYPE_NONE;
        only = count == 0 || only == dtype ? dtype : RL_DTYPE_NONE;
        operands[count++] = *v;
    }
    return only ? only : rl_result_dtype(operands, count);
}

/* Shapes --------------------------------------------------------------------------------------------------------- */

/* The strides of the result follow `like`, which has its shape. */
static void set_stride_like(rl_meta *meta, const rl_tensor *like) {
    if (like->contiguous)
        return;
    meta->has_stride = true;
    rl_dense_strides_like(meta->ndim, meta->shape, like->stride, meta->stride);
}

rl_status rl_infer_same_as_input(rl_call *call) {
    const rl_tensor *self = rl_arg_tensor(call, 0);
    rl_status status = rl_check_same_device(call);
    if (status != RL_OK)
        return status;
    for (int i = 0; i < call->n_results; i++) {
        rl_meta_set(&call->meta[i], (rl_dtype)self->dtype, self->storage->device, self->ndim, self->shape);
        set_stride_like(&call->meta[i], self);
    }
    set_dtypes(call, call->op->flags, (rl_dtype)self->dtype);
    return RL_OK;
}

static bool same_shape(const rl_tensor *a, const rl_tensor *b) {
    if (a->ndim != b->ndim)
        return false;
    for (int d = 0; d < a->ndim; d++)
        if (a->shape[d] != b->shape[d])
            return false;
    return true;
}

/* The two arguments that do not fit, counted from the last dimension, and where. */
static rl_status fail_broadcast(const rl_call *call, int a, int b, int from_end) {
    const rl_tensor *x = rl_arg_tensor(call, a), *y = rl_arg_tensor(call, b);
    char x_text[RL_SHAPE_TEXT], y_text[RL_SHAPE_TEXT];
    return rl_call_fail(call, RL_SHAPE_MISMATCH,
                        "%s %s and %s %s do not broadcast: %lld and %lld must be equal or one of them 1",
                        arg_name(call, a), rl_shape_text(x->ndim, x->shape, x_text), arg_name(call, b),
                        rl_shape_text(y->ndim, y->shape, y_text), (long long)x->shape[x->ndim - 1 - from_end],
                        (long long)y->shape[y->ndim - 1 - from_end]);
}

/* Broadcasts all tensors into meta->shape. owner[] remembers which argument gave each size, for the error. */
static rl_status broadcast(const rl_call *call, rl_meta *meta) {
    int64_t sizes[RL_MAX_DIMS]; /* from the last dimension */
    int owner[RL_MAX_DIMS];
    int ndim = 0;
    for (uint32_t m = schema_of(call)->tensors; m != 0; m &= m - 1) {
        int i = __builtin_ctz(m);
        const rl_tensor *t = rl_arg_tensor(call, i);
        for (int e = 0; t != NULL && e < t->ndim; e++) {
            int64_t size = t->shape[t->ndim - 1 - e];
            if (e >= ndim || sizes[e] == 1) {
                sizes[e] = size;
                owner[e] = i;
                ndim = e >= ndim ? e + 1 : ndim;
            } else if (size != 1 && size != sizes[e]) {
                return fail_broadcast(call, owner[e], i, e);
            }
        }
    }
    meta->ndim = ndim;
    for (int e = 0; e < ndim; e++)
        meta->shape[ndim - 1 - e] = sizes[e];
    return RL_OK;
}

/* The device of the result: that of all tensors, but that a tensor without dimensions on a host may be joined with
 * tensors of another device, where it is read as a number. */
static rl_status find_device(const rl_call *call, rl_device **out_device) {
    rl_device *device = NULL;
    int owner = 0;
    for (int pass = 0; pass < 2; pass++) { /* those that must be there decide; if all could be read, the first */
        for (uint32_t m = schema_of(call)->tensors; m != 0; m &= m - 1) {
            int i = __builtin_ctz(m);
            const rl_tensor *t = rl_arg_tensor(call, i);
            if (t == NULL)
                continue;
            rl_device *its = t->storage->device;
            bool readable = t->ndim == 0 && rl_device_is_host(its) && !(call->op->as_is >> i & 1);
            if (device == NULL && (!readable || pass == 1)) {
                device = its;
                owner = i;
            } else if (device != NULL && its != device && !readable) {
                return fail_devices(call, arg_name(call, owner), device, arg_name(call, i), its);
            }
        }
    }
    *out_device = device;
    return RL_OK;
}

/* Several shapes, strides or devices. */
static rl_status infer_mixed(rl_call *call, rl_meta *meta) {
    rl_status status = find_device(call, &meta->device);
    if (status == RL_OK)
        status = broadcast(call, meta);
    if (status != RL_OK)
        return status;
    for (uint32_t m = schema_of(call)->tensors; m != 0; m &= m - 1) {
        const rl_tensor *t = rl_arg_tensor(call, __builtin_ctz(m));
        if (t == NULL || t->ndim != meta->ndim ||
            memcmp(t->shape, meta->shape, (size_t)t->ndim * sizeof *t->shape) != 0)
            continue;
        set_stride_like(meta, t);
        break; /* the first that has the result's shape decides on the order of its dimensions */
    }
    return RL_OK;
}

rl_status rl_infer_broadcast_as(rl_call *call, uint32_t flags) {
    rl_meta *meta = &call->meta[0];
    const rl_tensor *first = NULL;
    bool alike = true;
    for (uint32_t m = schema_of(call)->tensors; m != 0; m &= m - 1) {
        const rl_tensor *t = rl_arg_tensor(call, __builtin_ctz(m));
        if (t == NULL)
            continue;
        if (first == NULL)
            first = t;
        alike = alike && t->contiguous && t->storage->device == first->storage->device && same_shape(t, first);
    }
    if (first == NULL)
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "%s or another argument must be a tensor", arg_name(call, 0));
    meta->has_stride = false;
    if (alike) {
        rl_meta_set(meta, RL_DTYPE_NONE, first->storage->device, first->ndim, first->shape);
    } else {
        rl_status status = infer_mixed(call, meta);
        if (status != RL_OK)
            return status;
    }
    set_dtypes(call, flags, promote(call));
    for (int i = 1; i < call->n_results; i++)
        call->meta[i] = *meta;
    return RL_OK;
}

rl_status rl_infer_broadcast(rl_call *call) {
    return rl_infer_broadcast_as(call, call->op->flags);
}
