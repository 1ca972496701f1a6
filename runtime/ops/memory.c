/* SPDX-License-Identifier: Apache-2.0 */
/* Elements in and out of tensors. These wait for the device where they must. Any thread. */
#include <stdlib.h>
#include <string.h>

#include "ops/call.h"

/* Sizes and dtype of a tensor to be made; gives the bytes of its elements. */
static rl_status check_made(const char *function, rl_ints shape, rl_dtype dtype, int64_t *out_numel) {
    if (rl_failed())
        return rl_error_status();
    if (shape.count < 0 || (shape.count > 0 && shape.data == NULL))
        return rl_fail(RL_INVALID_ARGUMENT, "%s: shape is NULL", function);
    if (shape.count > RL_MAX_DIMS)
        return rl_fail(RL_INVALID_ARGUMENT, "%s: shape has %lld dimensions; at most %d are possible", function,
                       (long long)shape.count, RL_MAX_DIMS);
    if (rl_dtype_size(dtype) == 0)
        return rl_fail(RL_INVALID_ARGUMENT, "%s: dtype %d is none", function, (int)dtype);
    return rl_check_shape(function, shape.count, shape.data, dtype, out_numel);
}

rl_tensor *rl_tensor_from_data(const void *data, rl_ints shape, rl_dtype dtype, rl_device *device) {
    static const char function[] = "tensor_from_data";
    int64_t numel = 0;
    if (check_made(function, shape, dtype, &numel) != RL_OK)
        return NULL;
    if (data == NULL && numel > 0)
        return rl_fail_null(RL_INVALID_ARGUMENT, "%s: data is NULL", function);
    if (device == NULL && (device = rl_device_default()) == NULL)
        return NULL;
    if (rl_device_check_dtype(function, device, dtype) != RL_OK)
        return NULL;
    rl_tensor *made = rl_tensor_empty(device, dtype, shape.count, shape.data, NULL);
    if (made == NULL)
        return NULL;
    if (numel > 0 && rl_storage_write(made->storage, 0, data, (uint64_t)numel * rl_dtype_size(dtype)) != RL_OK) {
        rl_release(made);
        return NULL;
    }
    return rl_object_own(made);
}

/* Wrapping ------------------------------------------------------------------------------------------------------- */

/* The elements between the lowest and the highest that (shape, strides) reach: *out_low is where, from the first, the
 * lowest is. False where they overflow. */
static bool reach(rl_ints shape, const int64_t *strides, rl_dtype dtype, int64_t *out_low, uint64_t *out_count) {
    int64_t low = 0, high = 0;
    for (int64_t d = 0; d < shape.count; d++) {
        int64_t extent;
        if (shape.data[d] == 0) {
            *out_low = 0;
            *out_count = 0;
            return true;
        }
        int64_t *end = strides[d] < 0 ? &low : &high;
        if (__builtin_mul_overflow(shape.data[d] - 1, strides[d], &extent) || __builtin_add_overflow(*end, extent, end))
            return false;
    }
    int64_t limit = INT64_MAX / 4 / (int64_t)rl_dtype_size(dtype);
    if (low < -limit || high > limit)
        return false;
    *out_low = low;
    *out_count = (uint64_t)(high - low) + 1;
    return true;
}

/* The device that foreign host memory can belong to. */
static rl_device *wrapping_device(rl_device *device) {
    if (device == NULL && (device = rl_device_default()) == NULL)
        return NULL;
    return rl_device_is_host(device) ? device : NULL;
}

/* Calls destroy unless the storage took it over. */
static void *wrap_failed(void (*destroy)(void *), void *context) {
    if (destroy)
        destroy(context);
    return NULL;
}

rl_tensor *rl_tensor_wrap(void *data, rl_ints shape, rl_ints strides, rl_dtype dtype, rl_device *device,
                          void (*destroy)(void *context), void *context) {
    static const char function[] = "tensor_wrap";
    int64_t numel = 0, low, row_major[RL_MAX_DIMS];
    uint64_t count;
    if (check_made(function, shape, dtype, &numel) != RL_OK)
        return wrap_failed(destroy, context);
    bool given = device != NULL;
    rl_device *host = wrapping_device(device);
    if (host == NULL && !rl_failed() && given)
        rl_fail(RL_DEVICE_MISMATCH, "%s: %s is no host device: memory cannot be shared with it", function,
                rl_device_name(device));
    else if (host == NULL && !rl_failed())
        host = rl_device_get("ref");
    if (strides.data != NULL && strides.count != shape.count)
        rl_fail(RL_INVALID_ARGUMENT, "%s: %lld strides for %lld dimensions", function, (long long)strides.count,
                (long long)shape.count);
    if (data == NULL && numel > 0)
        rl_fail(RL_INVALID_ARGUMENT, "%s: data is NULL", function);
    else if ((uintptr_t)data % (rl_dtype_size(dtype)) != 0)
        rl_fail(RL_INVALID_ARGUMENT, "%s: data is not aligned to the %zu bytes of %s", function, rl_dtype_size(dtype),
                rl_dtype_name(dtype));
    if (rl_failed() || rl_device_check_dtype(function, host, dtype) != RL_OK)
        return wrap_failed(destroy, context);
    rl_contiguous_strides(shape.count, shape.data, row_major);
    const int64_t *stride = strides.data ? strides.data : row_major;
    if (!reach(shape, stride, dtype, &low, &count)) {
        rl_fail(RL_INVALID_ARGUMENT, "%s: the strides reach beyond any memory", function);
        return wrap_failed(destroy, context);
    }
    int64_t size = (int64_t)rl_dtype_size(dtype);
    char *first = count ? (char *)data + low * size : data;
    rl_storage *storage = rl_storage_wrap(host, first, count * (uint64_t)size, destroy, context);
    if (storage == NULL)
        return NULL;
    rl_tensor *made = rl_tensor_make(storage, dtype, shape.count, shape.data, stride, count ? -low : 0);
    rl_release(storage);
    return rl_object_own(made);
}

/* Reading and writing -------------------------------------------------------------------------------------------- */

static rl_status check_access(const char *function, const rl_tensor *self, const void *data, size_t bytes,
                              uint64_t *out_bytes) {
    if (rl_failed())
        return rl_error_status();
    if (self == NULL)
        return rl_fail(RL_INVALID_ARGUMENT, "%s: self is NULL", function);
    if (self->trace)
        return rl_fail(RL_UNSUPPORTED, "%s: self has no elements while its function is being fused", function);
    *out_bytes = (uint64_t)self->numel * rl_dtype_size((rl_dtype)self->dtype);
    if (bytes != *out_bytes)
        return rl_fail(RL_INVALID_ARGUMENT, "%s: %zu bytes for a tensor of %llu", function, bytes,
                       (unsigned long long)*out_bytes);
    if (data == NULL && bytes > 0)
        return rl_fail(RL_INVALID_ARGUMENT, "%s: data is NULL", function);
    return RL_OK;
}

static uint64_t byte_offset(const rl_tensor *self) {
    return (uint64_t)self->offset * rl_dtype_size((rl_dtype)self->dtype);
}

void *rl_tensor_data(rl_tensor *self) {
    if (rl_failed())
        return NULL;
    if (self == NULL)
        return rl_fail_null(RL_INVALID_ARGUMENT, "tensor_data: self is NULL");
    if (self->trace)
        return rl_fail_null(RL_UNSUPPORTED, "tensor_data: self belongs to a function that is being fused");
    char *data = rl_storage_host(self->storage);
    rl_storage_expose(self->storage);
    return data ? data + byte_offset(self) : NULL;
}

rl_status rl_tensor_read(const rl_tensor *self, void *data, size_t bytes) {
    static const char function[] = "tensor_read";
    uint64_t have = 0;
    rl_status status = check_access(function, self, data, bytes, &have);
    if (status != RL_OK || have == 0)
        return status;
    if (self->contiguous)
        return rl_storage_read(self->storage, byte_offset(self), data, have);
    RL_SCOPE();
    rl_tensor *copy = rl_contiguous_copy(function, (rl_tensor *)(uintptr_t)self);
    return copy ? rl_storage_read(copy->storage, 0, data, have) : rl_error_status();
}

rl_status rl_tensor_write(rl_tensor *self, const void *data, size_t bytes) {
    static const char function[] = "tensor_write";
    uint64_t have = 0;
    rl_status status = check_access(function, self, data, bytes, &have);
    if (status != RL_OK || have == 0)
        return status;
    if (self->contiguous) {
        status = rl_storage_write(self->storage, byte_offset(self), data, have);
    } else {
        RL_SCOPE();
        rl_tensor *source =
            rl_tensor_from_data(data, (rl_ints){self->shape, self->ndim}, (rl_dtype)self->dtype, self->storage->device);
        status = source ? rl_copy_into(function, self, source) : rl_error_status();
    }
    rl_tensor_changed(self, function); /* even where it failed: some of it may be there */
    return status;
}

/* One element ---------------------------------------------------------------------------------------------------- */

typedef union element {
    float f32;
    double f64;
    uint16_t bits16;
    int8_t i8;
    uint8_t u8;
    int16_t i16;
    int32_t i32;
    int64_t i64;
} element;

static bool read_item(const char *function, const rl_tensor *self, element *out) {
    if (rl_failed())
        return false;
    if (self != NULL && self->numel != 1) {
        char text[RL_SHAPE_TEXT];
        rl_fail(RL_SHAPE_MISMATCH, "%s: self %s has %lld elements and must have one", function,
                rl_shape_text(self->ndim, self->shape, text), (long long)self->numel);
        return false;
    }
    if (self == NULL) {
        rl_fail(RL_INVALID_ARGUMENT, "%s: self is NULL", function);
        return false;
    }
    if (self->trace) {
        rl_fail(RL_UNSUPPORTED, "%s: self has no elements while its function is being fused", function);
        return false;
    }
    return rl_storage_read(self->storage, byte_offset(self), out, rl_dtype_size((rl_dtype)self->dtype)) == RL_OK;
}

static int64_t integer_of(rl_dtype dtype, const element *e) {
    switch (dtype) {
    case RL_I8:
        return e->i8;
    case RL_U8:
    case RL_BOOL:
        return e->u8;
    case RL_I16:
        return e->i16;
    case RL_I32:
        return e->i32;
    default:
        return e->i64;
    }
}

static double float_of(rl_dtype dtype, const element *e) {
    return dtype == RL_F64 ? e->f64 : dtype == RL_F32 ? e->f32 : rl_half_to_double(dtype, e->bits16);
}

double rl_item(const rl_tensor *self) {
    element e;
    if (!read_item("item", self, &e))
        return 0.0;
    rl_dtype dtype = (rl_dtype)self->dtype;
    return rl_dtype_is_float(dtype) ? float_of(dtype, &e) : (double)integer_of(dtype, &e);
}

int64_t rl_item_int(const rl_tensor *self) {
    element e;
    if (!read_item("item_int", self, &e))
        return 0;
    rl_dtype dtype = (rl_dtype)self->dtype;
    return rl_dtype_is_float(dtype) ? rl_float_to_int(float_of(dtype, &e)) : integer_of(dtype, &e);
}
