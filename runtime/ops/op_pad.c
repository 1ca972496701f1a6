/* SPDX-License-Identifier: Apache-2.0 */
/* Margins around a tensor. `pad` lists them from the last dimension on: before and behind the last, before and behind
 * the one before it ... A negative margin cuts off. */
#include <string.h>

#include "ops/op_rows.h"

/* constant_pad_nd -------------------------------------------------------------------------------------------------- */

static rl_status check_pad(const rl_call *call, const rl_tensor *self, rl_ints pad) {
    if (pad.count % 2 == 0 && pad.count / 2 <= self->ndim)
        return RL_OK;
    return rl_call_fail(call, RL_INVALID_ARGUMENT,
                        "pad must have two numbers for each of at most %d dimensions, has %lld", self->ndim,
                        (long long)pad.count);
}

/* The margins of dimension d. */
static void margins_of(rl_ints pad, int64_t ndim, int64_t d, int64_t *before, int64_t *behind) {
    int64_t at = 2 * (ndim - 1 - d);
    bool padded = at < pad.count;
    *before = padded ? pad.data[at] : 0;
    *behind = padded ? pad.data[at + 1] : 0;
}

static rl_status padded_shape(const rl_call *call, int64_t *out_shape) {
    const rl_tensor *self = rl_arg_tensor(call, 0);
    rl_ints pad = rl_arg_ints(call, 1);
    rl_status status = check_pad(call, self, pad);
    for (int64_t d = 0; status == RL_OK && d < self->ndim; d++) {
        int64_t before, behind;
        margins_of(pad, self->ndim, d, &before, &behind);
        if (__builtin_add_overflow(self->shape[d], before, &out_shape[d]) || before == INT64_MIN ||
            __builtin_add_overflow(out_shape[d], behind, &out_shape[d]) || behind == INT64_MIN || out_shape[d] < 0)
            return rl_call_fail(call, RL_INVALID_ARGUMENT,
                                "pad of %lld and %lld makes no size of the %lld of dimension %lld", (long long)before,
                                (long long)behind, (long long)self->shape[d], (long long)d);
    }
    return status;
}

static rl_status constant_pad_infer(rl_call *call) {
    const rl_tensor *self = rl_arg_tensor(call, 0);
    int64_t shape[RL_MAX_DIMS];
    rl_status status = padded_shape(call, shape);
    if (status == RL_OK)
        status = rl_check_fits(call, 2, (rl_dtype)self->dtype);
    if (status != RL_OK)
        return status;
    rl_meta *meta = &call->meta[0];
    rl_meta_set(meta, (rl_dtype)self->dtype, self->storage->device, self->ndim, shape);
    meta->has_stride = !self->contiguous;
    rl_dense_strides_like(meta->ndim, meta->shape, self->stride, meta->stride);
    return RL_OK;
}

static void write_number(rl_builder *b, uint32_t key) {
    rl_build_output(b, rl_build_scalar(b, rl_key_compute(key)), rl_key_out(key));
}

/* Two slabs for each dimension, of which `inner` (a window of out) leaves out what is filled already. */
static rl_status fill_margins(const rl_call *call, rl_tensor *out, rl_ints pad) {
    rl_tensor *slabs[2 * RL_MAX_DIMS];
    rl_map_task tasks[2 * RL_MAX_DIMS];
    rl_geometry inner = rl_geometry_of(out);
    int64_t count = 0;
    rl_dtype compute = rl_register_dtype((rl_dtype)out->dtype);
    const rl_value *value = &call->args[2];
    rl_number number;
    if (rl_dtype_is_float(compute))
        number.f = rl_value_double(value);
    else
        number.i = out->dtype == RL_BOOL         ? rl_value_double(value) != 0.0
                   : value->kind == RL_VALUE_INT ? value->as.i
                                                 : (int64_t)rl_value_double(value);
    const rl_program *program = rl_row_program(write_number, RL_KEY(0, compute, out->dtype, 0));
    if (program == NULL)
        return rl_error_status();
    for (int64_t d = 0; d < out->ndim; d++) {
        int64_t margin[2];
        margins_of(pad, out->ndim, d, &margin[0], &margin[1]);
        for (int side = 0; side < 2; side++) {
            int64_t size = margin[side] < inner.shape[d] ? margin[side] : inner.shape[d];
            if (size <= 0)
                continue;
            rl_geometry slab = inner;
            slab.shape[d] = size;
            slab.offset += side ? (inner.shape[d] - size) * inner.stride[d] : 0;
            inner.offset += side ? 0 : size * inner.stride[d];
            inner.shape[d] -= size;
            slabs[count] = rl_over(out, slab.ndim, slab.shape, slab.stride, slab.offset);
            if (slabs[count] == NULL)
                return rl_error_status();
            tasks[count] = (rl_map_task){.outputs = &slabs[count], .scalars = &number};
            count++;
        }
    }
    return count ? rl_row_map_many(rl_call_name(call), program, tasks, count) : RL_OK;
}

static rl_status constant_pad_lower(rl_call *call) {
    rl_tensor *self = rl_arg_tensor(call, 0), *out = call->results[0];
    rl_ints pad = rl_arg_ints(call, 1);
    if (out->numel == 0)
        return RL_OK;
    rl_geometry from = rl_geometry_of(self), to = rl_geometry_of(out);
    for (int64_t d = 0; d < out->ndim; d++) {
        int64_t before, behind;
        margins_of(pad, out->ndim, d, &before, &behind);
        int64_t cut = before < 0 ? -before : 0, shift = before > 0 ? before : 0;
        int64_t kept = self->shape[d] - cut + (behind < 0 ? behind : 0);
        to.shape[d] = from.shape[d] = kept > 0 ? kept : 0;
        from.offset += kept > 0 ? cut * from.stride[d] : 0;
        to.offset += kept > 0 ? shift * to.stride[d] : 0;
    }
    rl_tensor *source = rl_over(self, from.ndim, from.shape, from.stride, from.offset);
    rl_tensor *target = rl_over(out, to.ndim, to.shape, to.stride, to.offset);
    if (source == NULL || target == NULL || fill_margins(call, out, pad) != RL_OK)
        return rl_error_status();
    return rl_move(rl_call_name(call), target, source);
}

/* gx = g without the margins: with them cut off, or put back as zeros */
static void constant_pad_vjp(rl_vjp *v) {
    rl_ints pad = rl_vjp_ints(v, 1);
    int64_t negated[2 * RL_MAX_DIMS];
    for (int64_t i = 0; i < pad.count; i++)
        negated[i] = -pad.data[i];
    rl_vjp_set(v, 0, rl_constant_pad_nd(G, RL_INTS(negated, pad.count)));
}

static const rl_sample constant_pad_samples[] = {{"n[3,4], [1,2]"},
                                                 {"n[2,3,4], [0,1,2,0,1,1], 2"},
                                                 {"n[2,5], [-1,2,1,-1], 3"},
                                                 {"n[3], [-2,-1], 1"},
                                                 {"n[3], [-4,5], 1"},
                                                 {"n[], []"},
                                                 {"n[0,3], [1,1,2,0], 7"},
                                                 {"f[5,7]t, [1,0,0,2], -0.5"},
                                                 {"n[9]s, [2,2]"},
                                                 {"n[4]e, [1,1], 1"},
                                                 {0}};
static const rl_bad constant_pad_bad[] = {
    {"f[3], [1]", RL_INVALID_ARGUMENT, "pad must have two numbers for each of at most 1 dimensions, has 1"},
    {"f[3], [1,1,1,1]", RL_INVALID_ARGUMENT, "has 4"},
    {"f[3], [-2,-2]", RL_INVALID_ARGUMENT, "makes no size of the 3 of dimension 0"},
    {"f[3], [9223372036854775807,0]", RL_INVALID_ARGUMENT, "makes no size"},
    {"f[3], [-9223372036854775808,9223372036854775807]", RL_INVALID_ARGUMENT, "makes no size"},
    {"u8[3], [1,1], 300", RL_INVALID_ARGUMENT, "value is 300, which uint8 cannot hold"},
    {0}};

const rl_op_def rl_op_def_constant_pad_nd = {
    .schema = "constant_pad_nd(Tensor self, int[] pad, Scalar value=0) -> Tensor",
    .doc =
        "y = self with margins of `value`: pad[0] before and pad[1] behind the last dimension, pad[2] and pad[3] the "
        "one before it ...",
    .note = "Negative numbers cut off. The result has the memory order of self.",
    .flags = RL_OP_ROWS,
    .infer = constant_pad_infer,
    .lower = constant_pad_lower,
    .vjp = constant_pad_vjp,
    .samples = constant_pad_samples,
    .bad = constant_pad_bad,
};

/* pad -------------------------------------------------------------------------------------------------------------- */

typedef enum pad_mode { PAD_CONSTANT, PAD_REFLECT, PAD_REPLICATE, PAD_CIRCULAR, PAD_MODES } pad_mode;

static pad_mode mode_of(const rl_call *call) {
    static const char *const words[PAD_MODES] = {"constant", "reflect", "replicate", "circular"};
    int mode = 0;
    while (mode < PAD_MODES && !rl_arg_is(call, 2, words[mode]))
        mode++;
    return (pad_mode)mode;
}

static rl_status check_margins(const rl_call *call, pad_mode mode) {
    const rl_tensor *self = rl_arg_tensor(call, 0);
    rl_ints pad = rl_arg_ints(call, 1);
    int64_t shape[RL_MAX_DIMS], dims = pad.count / 2;
    rl_status status = padded_shape(call, shape);
    if (status != RL_OK)
        return status;
    if (dims < 1 || dims > 3 || (self->ndim != dims + 1 && self->ndim != dims + 2))
        return rl_call_fail(call, RL_SHAPE_MISMATCH,
                            "'%s' pads the last 1, 2 or 3 dimensions behind (C) or (N, C): pad has %lld numbers for %d "
                            "dimensions",
                            rl_arg_word(call, 2), (long long)pad.count, self->ndim);
    for (int64_t d = self->ndim - dims; d < self->ndim; d++) {
        int64_t margin[2], size = self->shape[d];
        margins_of(pad, self->ndim, d, &margin[0], &margin[1]);
        const int64_t left = size + (margin[0] < 0 ? margin[0] : 0) + (margin[1] < 0 ? margin[1] : 0);
        const int64_t most = mode == PAD_REFLECT ? size - 1 : mode == PAD_CIRCULAR ? left : size;
        if (size == 0 || shape[d] == 0 || (mode == PAD_CIRCULAR && left < 1))
            return rl_call_fail(call, RL_SHAPE_MISMATCH, "dimension %lld %s: there is nothing to repeat", (long long)d,
                                size == 0 ? "is empty" : "is cut off");
        for (int side = 0; side < 2; side++)
            if (mode != PAD_REPLICATE && margin[side] > most)
                return rl_call_fail(call, RL_INVALID_ARGUMENT,
                                    "pad of %lld with '%s' must be at most %lld, as dimension %lld has size %lld%s",
                                    (long long)margin[side], rl_arg_word(call, 2), (long long)most, (long long)d,
                                    (long long)left, left < size ? " after it is cut" : "");
    }
    return RL_OK;
}

/* Which elements stand where: for i from -before to size + behind - 1. What is cut off comes around no more. */
static rl_tensor *places_of(rl_tensor *self, pad_mode mode, int64_t size, int64_t before, int64_t behind) {
    rl_tensor *i = rl_counted(-before, size + behind, rl_tensor_device(self));
    const int64_t first = before < 0 ? -before : 0, left = size - first + (behind < 0 ? behind : 0);
    switch (mode) {
    case PAD_REFLECT: /* last - |last - |i|| */
        return rl_rsub(rl_abs(rl_rsub(rl_abs(i), RL_VALUE(size - 1))), RL_VALUE(size - 1));
    case PAD_REPLICATE:
        return rl_clamp(i, .min = RL_VALUE(0), .max = RL_VALUE(size - 1));
    default:
        return rl_add(rl_remainder(rl_sub(i, RL_VALUE(first)), RL_VALUE(left)), RL_VALUE(first));
    }
}

static rl_status pad_lower(rl_call *call) {
    rl_tensor *x = rl_arg_tensor(call, 0);
    rl_ints pad = rl_arg_ints(call, 1);
    pad_mode mode = mode_of(call);
    if (mode == PAD_MODES)
        return rl_call_fail(call, RL_INVALID_ARGUMENT,
                            "mode must be 'constant', 'reflect', 'replicate' or 'circular', got '%.40s'",
                            rl_arg_word(call, 2));
    if (mode == PAD_CONSTANT) {
        call->results[0] = rl_constant_pad_nd(x, pad, .value = rl_arg_double(call, 3));
        return rl_error_status();
    }
    if (rl_arg_given(call, 3) && rl_arg_double(call, 3) != 0.0)
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "value is for mode 'constant', not for '%s'",
                            rl_arg_word(call, 2));
    rl_status status = check_margins(call, mode);
    for (int64_t d = x->ndim - pad.count / 2; status == RL_OK && x != NULL && d < x->ndim; d++) {
        int64_t before, behind;
        margins_of(pad, x->ndim, d, &before, &behind);
        if (before != 0 || behind != 0)
            x = rl_index_select(x, d, places_of(x, mode, x->shape[d], before, behind));
    }
    call->results[0] = x;
    return status == RL_OK ? rl_error_status() : status;
}

static const rl_sample pad_samples[] = {{"n[2,3,4], [1,2]"},
                                        {"n[2,3,4], [1,2], value=3"},
                                        {"n[2,3,4], [1,2], \"reflect\""},
                                        {"n[2,3,4], [5,-1], \"replicate\""},
                                        {"n[2,3,4], [3,4], \"circular\""},
                                        {"n[1,5], [-1,2], \"circular\""},
                                        {"n[1,5], [3,-2], \"circular\""},
                                        {"f[1,2,3,4]t, [1,2,2,0], \"reflect\""},
                                        {"f[2,3,4], [-1,2,0,3], \"replicate\""},
                                        {"n[1,2,3,4]s, [1,2,1,1], \"circular\""},
                                        {"f[1,1,2,2,3], [2,2,1,1,1,0], \"reflect\""},
                                        {"n[0,2,3], [1,1], \"reflect\""},
                                        {0}};
static const rl_bad pad_bad[] = {
    {"f[2,3], [1,1], \"mirror\"", RL_INVALID_ARGUMENT, "mode must be 'constant', 'reflect', 'replicate' or 'circular'"},
    {"f[2,3], [3,0], \"reflect\"", RL_INVALID_ARGUMENT, "pad of 3 with 'reflect' must be at most 2"},
    {"f[2,3], [0,4], \"circular\"", RL_INVALID_ARGUMENT, "pad of 4 with 'circular' must be at most 3"},
    {"f[2,3,4,5], [1,1], \"reflect\"", RL_SHAPE_MISMATCH, "pad has 2 numbers for 4 dimensions"},
    {"f[2,3], [1,1], \"reflect\", 1", RL_INVALID_ARGUMENT, "value is for mode 'constant', not for 'reflect'"},
    {"f[2,0], [1,1], \"replicate\"", RL_SHAPE_MISMATCH, "dimension 1 is empty"},
    {"f[2,3], [-1,-2], \"replicate\"", RL_SHAPE_MISMATCH, "dimension 1 is cut off"},
    {"f[2,3], [-1,3], \"circular\"", RL_INVALID_ARGUMENT, "at most 2, as dimension 1 has size 2 after it is cut"},
    {0}};

const rl_op_def rl_op_def_pad = {
    .schema = "pad(Tensor self, int[] pad, str mode='constant', Scalar? value=None) -> Tensor",
    .doc = "y = self with margins: constant_pad_nd, or 'reflect', 'replicate', 'circular' repetitions of self",
    .note = "pad is listed from the last dimension on: before, behind, before, behind ... Negative numbers cut off.",
    .flags = RL_OP_COMPOSITE,
    .lower = pad_lower,
    .samples = pad_samples,
    .bad = pad_bad,
};
