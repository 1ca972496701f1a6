/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a tensor, and what it is. */
#include "tensor/tensor.h"

#include <inttypes.h>

#include "base/memory.h"

rl_tensor_hooks rl_tensor_hooks_;

rl_pool rl_pool_tensor = {.bytes = sizeof(rl_tensor), .what = "a tensor"};
rl_pool rl_pool_storage = {.bytes = sizeof(rl_storage), .what = "a storage"};

static void destroy(rl_object *object) {
    rl_tensor *self = (rl_tensor *)object;
    if (self->autograd && rl_tensor_hooks_.autograd_free)
        rl_tensor_hooks_.autograd_free(self);
    rl_storage *storage = self->storage;
    rl_pool_give(&rl_pool_tensor, self);
    rl_release(storage); /* last: it may run code of the user */
}

static const rl_object_class tensor_class = {"tensor", destroy};

rl_tensor *rl_tensor_make(rl_storage *storage, rl_dtype dtype, int64_t ndim, const int64_t *shape,
                          const int64_t *stride, int64_t offset) {
    rl_tensor *self = rl_pool_take(&rl_pool_tensor);
    if (!self)
        return NULL;
    rl_object_init(&self->object, &tensor_class);
    self->dtype = (uint8_t)dtype;
    self->ndim = (uint8_t)ndim;
    self->requires_grad = 0;
    self->untracked = RL_TRACKED;
    self->offset = offset;
    self->storage = rl_retain(storage);
    self->autograd = NULL;
    self->trace = NULL;
    int64_t numel = 1, dense = 1;
    bool contiguous = true;
    for (int64_t d = ndim - 1; d >= 0; d--) {
        self->shape[d] = shape[d];
        self->stride[d] = stride[d];
        contiguous = contiguous && (shape[d] == 1 || stride[d] == dense);
        /* Stand-ins of a trace may have any shape; where it overflows, what comes of it is refused. */
        (void)__builtin_mul_overflow(dense, shape[d] > 0 ? shape[d] : 1, &dense);
        (void)__builtin_mul_overflow(numel, shape[d], &numel);
    }
    self->numel = numel;
    self->contiguous = contiguous || numel == 0;
    return self;
}

int64_t rl_tensor_ndim(const rl_tensor *self) {
    return self ? self->ndim : 0;
}

rl_dtype rl_tensor_dtype(const rl_tensor *self) {
    return self ? (rl_dtype)self->dtype : RL_DTYPE_NONE;
}

rl_device *rl_tensor_device(const rl_tensor *self) {
    return self && self->storage ? self->storage->device : NULL;
}

int64_t rl_tensor_numel(const rl_tensor *self) {
    return self ? self->numel : 0;
}

int64_t rl_tensor_size(const rl_tensor *self, int64_t dim) {
    if (!self)
        return 0;
    int64_t ndim = self->ndim;
    if (dim < -ndim || dim >= ndim) {
        if (ndim == 0)
            rl_fail(RL_INDEX_OUT_OF_RANGE, "size: dim %" PRId64 " of a tensor without dimensions", dim);
        else
            rl_wrap_dim("size", dim, ndim);
        return -1;
    }
    return self->shape[dim < 0 ? dim + ndim : dim];
}

const int64_t *rl_tensor_shape(const rl_tensor *self) {
    return self ? self->shape : NULL;
}

const int64_t *rl_tensor_strides(const rl_tensor *self) {
    return self ? self->stride : NULL;
}

int64_t rl_tensor_storage_offset(const rl_tensor *self) {
    return self ? self->offset : 0;
}

bool rl_tensor_is_contiguous(const rl_tensor *self) {
    return self && self->contiguous;
}

uint32_t rl_tensor_version(const rl_tensor *self) {
    return self && self->storage ? atomic_load_explicit(&self->storage->version, memory_order_relaxed) : 0;
}

bool rl_tensor_shares_storage(const rl_tensor *self, const rl_tensor *other) {
    return self && other && self->storage && self->storage == other->storage;
}

rl_status rl_tensors_check(const char *function, const char *noun, rl_tensors list, int64_t least, int64_t most) {
    if (list.count < least || list.count > most)
        return rl_fail(RL_INVALID_ARGUMENT, "%s: expected %lld to %lld %ss, got %lld", function, (long long)least,
                       (long long)most, noun, (long long)list.count);
    if (list.count > 0 && list.data == NULL)
        return rl_fail(RL_INVALID_ARGUMENT, "%s: got %lld %ss at NULL", function, (long long)list.count, noun);
    for (int64_t i = 0; i < list.count; i++) {
        if (list.data[i] == NULL)
            return rl_fail(RL_INVALID_ARGUMENT, "%s: %s %lld is NULL", function, noun, (long long)i);
    }
    return RL_OK;
}
