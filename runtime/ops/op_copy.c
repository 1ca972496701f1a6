/* SPDX-License-Identifier: Apache-2.0 */
/* Casts and copies: between dtypes, between strides, between devices. */
#include <string.h>

#include "ops/call.h"
#include "ops/op_shared.h"

/* Pieces ---------------------------------------------------------------------------------------------------------- */

/* to = from, cast and broadcast, on one device. */
static rl_status cast_into(const rl_call *call, rl_tensor *to, rl_tensor *from) {
    const rl_program *program = rl_program_cast((rl_dtype)from->dtype, (rl_dtype)to->dtype);
    return program ? rl_row_map(rl_call_name(call), program, &from, &to, NULL) : rl_error_status();
}

static rl_tensor *temp_on(rl_device *device, rl_dtype dtype, const rl_tensor *shape, const int64_t *stride) {
    return rl_object_own(rl_tensor_empty(device, dtype, shape->ndim, shape->shape, stride));
}

static bool same_strides(const rl_tensor *a, const rl_tensor *b) {
    if (a->contiguous && b->contiguous)
        return true;
    return memcmp(a->stride, b->stride, (size_t)a->ndim * sizeof *a->stride) == 0;
}

/* The bytes of a dense tensor of the same shape, dtype and strides on another device. */
static rl_status copy_bytes(rl_tensor *to, const rl_tensor *from) {
    uint64_t size = rl_dtype_size((rl_dtype)to->dtype);
    if (to->numel == 0)
        return RL_OK;
    return rl_storage_copy(to->storage, (uint64_t)to->offset * size, from->storage, (uint64_t)from->offset * size,
                           (uint64_t)to->numel * size);
}

/* to = from, of one shape, on two devices: cast where it comes from (or, where that device lacks the dtype, where it
 * goes to), moved as one block. */
static rl_status transfer(const rl_call *call, rl_tensor *to, rl_tensor *from) {
    bool dense = rl_is_dense(to->ndim, to->shape, to->stride);
    rl_device *source = from->storage->device;
    rl_dtype dtype = (rl_dtype)(rl_device_takes_dtype(source, (rl_dtype)to->dtype) ? to->dtype : from->dtype);
    rl_tensor *landing = to;
    if (!dense || dtype != to->dtype)
        landing = temp_on(to->storage->device, dtype, to, NULL);
    if (landing == NULL)
        return rl_error_status();
    rl_tensor *staged = from;
    if (from->dtype != dtype || !same_strides(from, landing)) {
        staged = temp_on(source, dtype, landing, landing->contiguous ? NULL : landing->stride);
        if (staged == NULL || cast_into(call, staged, from) != RL_OK)
            return rl_error_status();
    }
    rl_status status = copy_bytes(landing, staged);
    return status == RL_OK && landing != to ? cast_into(call, to, landing) : status;
}

/* cast, copy_to, to ----------------------------------------------------------------------------------------------- */

static rl_status cast_infer(rl_call *call) {
    rl_status status = rl_infer_same_as_input(call);
    call->meta[0].dtype = call->compute = rl_arg_dtype(call, 1);
    return status;
}

PROGRAM(cast, x[0])
VJP(cast, G) /* gx = g, cast back */

#define STEPS .no_gradcheck = true, .why = "a narrower dtype has steps where differences are taken"
static const rl_sample cast_samples[] = {{"n[3,4], float64"},
                                         {"n[3,4], float32", STEPS},
                                         {"n[], int64"},
                                         {"n[0,3], bool"},
                                         {"n[5,7]t, float16", STEPS},
                                         {"n[33]s, uint8"},
                                         {"n[4]e, bfloat16", STEPS},
                                         {"n[7], int32"},
                                         {"n[7], int16"},
                                         {"n[7], int8"},
                                         {0}};
static const rl_bad cast_bad[] = {{"f[2], None", RL_INVALID_ARGUMENT, "dtype"}, {0}};

const rl_op_def rl_op_def_cast = {
    .schema = "cast(Tensor self, ScalarType dtype) -> Tensor",
    .doc = "y = self as dtype",
    .note =
        "To a narrower integer wraps; float to integer truncates toward zero; to a narrower float rounds to nearest "
        "even; to bool is self != 0.",
    .flags = RL_OP_POINTWISE,
    .infer = cast_infer,
    .pointwise = cast_program,
    .vjp = cast_vjp,
    .samples = cast_samples,
    .bad = cast_bad,
};

static rl_status copy_to_infer(rl_call *call) {
    rl_status status = rl_infer_same_as_input(call);
    call->meta[0].device = rl_arg_device(call, 1);
    if (rl_arg_given(call, 2))
        call->meta[0].dtype = rl_arg_dtype(call, 2);
    return status;
}

static rl_status copy_to_lower(rl_call *call) {
    rl_tensor *to = call->results[0], *from = rl_arg_tensor(call, 0);
    return to->storage->device == from->storage->device ? cast_into(call, to, from) : transfer(call, to, from);
}

/* gx = g, back where x was */
VJP(copy_to, rl_to(G, .device = rl_vjp_meta(v, 0)->device, .dtype = rl_vjp_meta(v, 0)->dtype))

static const rl_bad copy_to_bad[] = {{"f[2], None", RL_INVALID_ARGUMENT, "device"}, {0}};
static const rl_sample copy_to_samples[] = {{"n[3,4], host"},
                                            {"n[], device"},
                                            {"n[0,3], host"},
                                            {"n[5,7]t, host, dtype=float16", STEPS},
                                            {"n[33]s, device, dtype=int32"},
                                            {"n[4]e, host"},
                                            {0}};

const rl_op_def rl_op_def_copy_to = {
    .schema = "copy_to(Tensor self, Device device, *, ScalarType? dtype=None) -> Tensor",
    .doc = "y = self in new memory on device",
    .flags = RL_OP_ROWS,
    .infer = copy_to_infer,
    .lower = copy_to_lower,
    .vjp = copy_to_vjp,
    .samples = copy_to_samples,
    .bad = copy_to_bad,
};

static rl_status to_lower(rl_call *call) {
    rl_tensor *self = rl_arg_tensor(call, 0);
    rl_dtype dtype = rl_arg_given(call, 1) ? rl_arg_dtype(call, 1) : (rl_dtype)self->dtype;
    rl_device *device = rl_arg_given(call, 2) ? rl_arg_device(call, 2) : self->storage->device;
    if (device != self->storage->device)
        call->results[0] = rl_copy_to(self, device, .dtype = dtype);
    else if (dtype != self->dtype || call->args[3].as.b)
        call->results[0] = rl_cast(self, dtype);
    else
        call->results[0] = self;
    return rl_error_status();
}

static const rl_sample to_samples[] = {{"n[3,4], dtype=float32", STEPS},
                                       {"n[], dtype=int64"},
                                       {"n[0,3], dtype=bool"},
                                       {"n[5,7]t, copy=true"},
                                       {"n[33]s"},
                                       {"n[5,7]t, device=host"},
                                       {"f[4]e, dtype=float16", STEPS},
                                       {0}};

const rl_op_def rl_op_def_to = {
    .schema = "to(Tensor self, *, ScalarType? dtype=None, Device? device=None, bool copy=False) -> Tensor",
    .doc = "y = self as dtype on device; self itself where it is so already and copy is false",
    .flags = RL_OP_COMPOSITE,
    .lower = to_lower,
    .samples = to_samples,
    .bad = rl_bad_unary,
};

/* clone, contiguous ----------------------------------------------------------------------------------------------- */

typedef enum memory_format { PRESERVE, ROW_MAJOR, CHANNELS_LAST } memory_format;

/* channels_last is for (batch, channels, sizes ...) of one or two sizes, channels_last_3d for three. */
static rl_status read_format(const rl_call *call, const char *word, int64_t ndim, memory_format *out) {
    *out = *word == '\0' || strcmp(word, "preserve_format") == 0 ? PRESERVE
           : strcmp(word, "contiguous_format") == 0              ? ROW_MAJOR
                                                                 : CHANNELS_LAST;
    if (*out != CHANNELS_LAST)
        return RL_OK;
    bool deep = strcmp(word, "channels_last_3d") == 0;
    if (!deep && strcmp(word, "channels_last") != 0)
        return rl_call_fail(call, RL_INVALID_ARGUMENT,
                            "memory_format must be 'preserve_format', 'contiguous_format', 'channels_last' or "
                            "'channels_last_3d', got '%.40s'",
                            word);
    if (deep ? ndim == 5 : ndim == 3 || ndim == 4)
        return RL_OK;
    return rl_call_fail(call, RL_SHAPE_MISMATCH, "memory_format %s is for %s dimensions, self has %lld", word,
                        deep ? "5" : "3 or 4", (long long)ndim);
}
static bool has_format(const rl_tensor *self, memory_format wanted) {
    return wanted == PRESERVE    ? true
           : wanted == ROW_MAJOR ? self->contiguous
                                 : rl_is_channels_last(self->ndim, self->shape, self->stride);
}

static rl_status clone_infer(rl_call *call) {
    rl_status status = rl_infer_same_as_input(call);
    const char *format = rl_arg_word(call, 1);
    rl_meta *meta = &call->meta[0];
    memory_format wanted;
    if (status != RL_OK || read_format(call, format, meta->ndim, &wanted) != RL_OK)
        return rl_error_status();
    if (wanted != PRESERVE)
        meta->has_stride = wanted == CHANNELS_LAST;
    if (wanted == CHANNELS_LAST)
        rl_channels_last_strides(meta->ndim, meta->shape, meta->stride);
    return RL_OK;
}
VJP(clone, G) /* gx = g */

const rl_op_def rl_op_def_clone = {
    .schema = "clone(Tensor self, *, str? memory_format=None) -> Tensor",
    .doc = "y = self in new memory",
    .flags = RL_OP_POINTWISE,
    .infer = clone_infer,
    .pointwise = cast_program,
    .vjp = clone_vjp,
    .samples = rl_samples_number,
    .bad = rl_bad_unary,
};

static rl_status contiguous_lower(rl_call *call) {
    rl_tensor *self = rl_arg_tensor(call, 0);
    const char *word = rl_arg_word(call, 1);
    memory_format wanted;
    if (*word == '\0')
        word = "contiguous_format";
    if (read_format(call, word, self->ndim, &wanted) == RL_OK)
        call->results[0] = has_format(self, wanted) ? self : rl_clone(self, .memory_format = word);
    return rl_error_status();
}

const rl_op_def rl_op_def_contiguous = {
    .schema = "contiguous(Tensor self, *, str? memory_format=None) -> Tensor",
    .doc = "y = self with its elements in row-major order, or in memory_format; self itself where they are so already",
    .flags = RL_OP_COMPOSITE,
    .lower = contiguous_lower,
    .samples = rl_samples_number,
    .bad = rl_bad_unary,
};

/* copy_, fill_, zero_ --------------------------------------------------------------------------------------------- */

/* Whether src broadcasts to self's shape. */
static rl_status check_fits(const rl_call *call, const rl_tensor *self, const rl_tensor *src) {
    bool fits = src->ndim <= self->ndim;
    for (int d = 1; fits && d <= src->ndim; d++)
        fits = src->shape[src->ndim - d] == 1 || src->shape[src->ndim - d] == self->shape[self->ndim - d];
    char a[RL_SHAPE_TEXT], c[RL_SHAPE_TEXT];
    return fits ? RL_OK
                : rl_call_fail(call, RL_SHAPE_MISMATCH, "src %s does not broadcast to self %s",
                               rl_shape_text(src->ndim, src->shape, a), rl_shape_text(self->ndim, self->shape, c));
}

/* The result is self as it is, whatever the others are. */
static void infer_self(rl_call *call) {
    const rl_tensor *self = rl_arg_tensor(call, 0);
    call->compute = (rl_dtype)self->dtype;
    rl_meta_set(&call->meta[0], call->compute, self->storage->device, self->ndim, self->shape);
}

static rl_status copy_infer(rl_call *call) {
    infer_self(call);
    return check_fits(call, rl_arg_tensor(call, 0), rl_arg_tensor(call, 1));
}

static rl_status copy_lower(rl_call *call) {
    rl_tensor *self = call->results[0], *src = rl_arg_tensor(call, 1);
    rl_device *device = self->storage->device, *source = src->storage->device;
    if (device == source)
        return rl_pointwise_run(call);
    if (src->ndim == self->ndim && src->numel == self->numel)
        return transfer(call, self, src);
    bool takes = rl_device_takes_dtype(device, (rl_dtype)src->dtype);
    rl_tensor *landing = temp_on(device, (rl_dtype)(takes ? src->dtype : self->dtype), src, NULL);
    if (landing == NULL || transfer(call, landing, src) != RL_OK)
        return rl_error_status();
    return cast_into(call, self, landing);
}

PROGRAM(copy, x[1])

/* gself = 0, gsrc = g */
static void copy_vjp(rl_vjp *v) {
    if (rl_vjp_needs(v, 1))
        rl_vjp_set(v, 1, rl_to(G, .device = rl_vjp_meta(v, 1)->device));
}

static const rl_sample copy_samples[] = {{"n[3,4], n[3,4]"}, {"n[3,4], n[4]"},    {"n[2,3], n[]"},
                                         {"n[0,3], n[3]"},   {"n[5,7]t, n[5,7]"}, {"n[33]s, n[33]"},
                                         {"n[4], i64[4]e"},  {"n[4], f32[4]"},    {0}};
static const rl_bad copy_bad[] = {{"f[2,3], f[4]", RL_SHAPE_MISMATCH, "src (4) does not broadcast to self (2, 3)"},
                                  {"f[4]e, f[4]", RL_INVALID_ARGUMENT, "one place in memory"},
                                  {"f[4], None", RL_INVALID_ARGUMENT, "src"},
                                  {0}};

const rl_op_def rl_op_def_copy_ = {
    .schema = "copy_(Tensor(a!) self, Tensor src, bool non_blocking=False) -> Tensor(a!)",
    .doc = "self = src, cast and broadcast to self's dtype, shape and device",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE_ONLY,
    .infer = copy_infer,
    .pointwise = copy_program,
    .lower = copy_lower,
    .vjp = copy_vjp,
    .samples = copy_samples,
    .bad = copy_bad,
};

static rl_status fill_infer(rl_call *call) {
    const rl_tensor *value = rl_arg_tensor(call, 1);
    infer_self(call);
    if (value == NULL || value->ndim == 0)
        return rl_check_fits(call, 1, call->compute);
    return rl_call_fail(call, RL_SHAPE_MISMATCH, "value must be a number or a tensor of no dimensions, has %d",
                        value->ndim);
}

static void fill_vjp(rl_vjp *v) { /* gself = 0, gvalue = sum g */
    if (rl_vjp_needs(v, 1))
        rl_vjp_set(v, 1, rl_to(G, .device = rl_vjp_meta(v, 1)->device));
}

static const rl_sample fill_samples[] = {{"n[3,4], 2"},  {"n[], 1"}, {"n[0,3], 1"}, {"f[5,7]t, 0.5"}, {"n[33]s, n[]"},
                                         {"n[3], true"}, {0}};
static const rl_bad fill_bad[] = {{"f[2,3], f[3]", RL_SHAPE_MISMATCH, "no dimensions"},
                                  {"f[4]e, 1", RL_INVALID_ARGUMENT, "one place in memory"},
                                  {0}};

const rl_op_def rl_op_def_fill_ = {
    .schema = "fill_(Tensor(a!) self, Tensor|Scalar value) -> Tensor(a!)",
    .doc = "self[i] = value",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE_ONLY,
    .infer = fill_infer,
    .pointwise = copy_program,
    .vjp = fill_vjp,
    .samples = fill_samples,
    .bad = fill_bad,
};

static rl_status zero_infer(rl_call *call) {
    infer_self(call);
    return RL_OK;
}
static const rl_sample zero_samples[] = {{"n[3,4]"}, {"n[]"}, {"n[0,3]"}, {"n[5,7]t"}, {"n[33]s"}, {0}};
static const rl_bad zero_bad[] = {{"f[4]e", RL_INVALID_ARGUMENT, "one place in memory"}, {0}};
PROGRAM(zero, rl_build_constant(b, call->compute, 0))

const rl_op_def rl_op_def_zero_ = {
    .schema = "zero_(Tensor(a!) self) -> Tensor(a!)",
    .doc = "self[i] = 0",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE_ONLY,
    .infer = zero_infer,
    .pointwise = zero_program,
    .vjp = rl_vjp_zero,
    .samples = zero_samples,
    .bad = zero_bad,
};
