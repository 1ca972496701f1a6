/* SPDX-License-Identifier: Apache-2.0 */
#include "fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "evaluate.h"

fake_state fake;
rl_device fake_device;

static rl_backend_buffer *buffers;
static uint64_t sequence;

void fake_reset(uint32_t flags) {
    rl_alloc_fail_at(0, false);
    rl_programs_shutdown();
    rl_error_clear();
    memset(&fake, 0, sizeof fake);
    memset(&fake_device, 0, sizeof fake_device);
    fake_device.api = fake_backend;
    fake_device.api.flags = flags;
    strcpy(fake_device.name, "fake:0");
    sequence = 1;
}

int fake_buffers(void) {
    int count = 0;
    for (const rl_backend_buffer *b = buffers; b; b = b->next)
        count++;
    return count;
}

int64_t fake_random(int64_t n) {
    sequence = sequence * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (int64_t)((sequence >> 33) % (uint64_t)n);
}

/* Storages -------------------------------------------------------------------------------------------------------- */

static void destroy(rl_object *object) {
    rl_storage *self = (rl_storage *)object;
    rl_backend_buffer **at = &buffers;
    while (*at != self->buffer)
        at = &(*at)->next;
    *at = self->buffer->next;
    free(self->buffer->data);
    free(self->buffer->before);
    free(self->buffer->owner);
    free(self->buffer);
    rl_free(self);
}

static const rl_object_class storage_class = {"storage", destroy};

static rl_storage *new_storage(uint64_t bytes) {
    rl_storage *self = rl_alloc_zero(1, sizeof *self, "a storage");
    if (self == NULL)
        return NULL;
    rl_object_init(&self->object, &storage_class);
    self->device = &fake_device;
    self->offset = 16; /* storages begin somewhere in a buffer */
    self->bytes = bytes;
    self->buffer = calloc(1, sizeof *self->buffer);
    self->buffer->bytes = bytes + 2 * self->offset;
    self->buffer->data = malloc(self->buffer->bytes);
    self->buffer->owner = calloc(self->buffer->bytes, sizeof *self->buffer->owner);
    for (uint64_t i = 0; i < self->buffer->bytes; i++)
        self->buffer->data[i] = (uint8_t)fake_random(256);
    self->buffer->next = buffers;
    buffers = self->buffer;
    return self;
}

static rl_tensor *over(rl_storage *storage, rl_dtype dtype, int64_t ndim, const int64_t *shape, const int64_t *stride,
                       int64_t offset) {
    rl_tensor *self = storage ? rl_tensor_make(storage, dtype, ndim, shape, stride, offset) : NULL;
    rl_release(storage);
    return self;
}

static int64_t numel_of(int64_t ndim, const int64_t *shape) {
    int64_t numel = 1;
    for (int64_t d = 0; d < ndim; d++)
        numel *= shape[d];
    return numel;
}

rl_tensor *rl_tensor_empty(rl_device *device, rl_dtype dtype, int64_t ndim, const int64_t *shape,
                           const int64_t *stride) {
    int64_t row_major[RL_MAX_DIMS];
    assert_ptr_equal(device, &fake_device);
    rl_contiguous_strides(ndim, shape, row_major);
    rl_storage *storage = new_storage((uint64_t)numel_of(ndim, shape) * rl_dtype_size(dtype));
    return over(storage, dtype, ndim, shape, stride ? stride : row_major, 0);
}

static void fill(rl_tensor *self) {
    int64_t index[RL_MAX_DIMS] = {0};
    if (self->numel == 0)
        return;
    do {
        int64_t x = fake_random(21) - 10;
        bool is_float = rl_dtype_is_float((rl_dtype)self->dtype);
        evaluate_store(fake_element(self, self->ndim, index), (rl_dtype)self->dtype,
                       is_float ? (rl_number){.f = (double)x} : (rl_number){.i = self->dtype == RL_BOOL ? x > 0 : x});
    } while (fake_next(self->ndim, self->shape, index));
}

rl_tensor *fake_tensor(rl_dtype dtype, int64_t ndim, const int64_t *shape) {
    rl_tensor *self = rl_tensor_empty(&fake_device, dtype, ndim, shape, NULL);
    fill(self);
    return self;
}

rl_tensor *fake_view(rl_dtype dtype, int64_t ndim, const int64_t *shape) {
    int64_t order[RL_MAX_DIMS] = {0}, stride[RL_MAX_DIMS], step = 1, offset = fake_random(3), last = offset;
    bool plain = fake_random(3) == 0;
    for (int64_t i = 0; i < ndim; i++) { /* the order of dimensions, innermost first */
        int64_t j = plain ? i : fake_random(i + 1);
        order[i] = order[j];
        order[j] = plain ? ndim - 1 - i : i;
    }
    for (int64_t i = 0; i < ndim; i++) {
        int64_t d = order[i], reach;
        stride[d] = step * (!plain && fake_random(4) == 0 ? 2 : 1);
        step = stride[d] * (shape[d] > 0 ? shape[d] : 1);
        reach = shape[d] > 0 ? (shape[d] - 1) * stride[d] : 0;
        last += reach;
        if (!plain && fake_random(5) == 0) {
            offset += reach;
            stride[d] = -stride[d];
        }
    }
    rl_storage *storage = new_storage((uint64_t)(last + 1) * rl_dtype_size(dtype));
    rl_tensor *self = over(storage, dtype, ndim, shape, stride, offset);
    fill(self);
    return self;
}

/* Elements -------------------------------------------------------------------------------------------------------- */

static uint64_t place_of(const rl_tensor *self, int64_t ndim, const int64_t *index) {
    int64_t at = self->offset;
    for (int64_t d = 0; d < self->ndim; d++)
        if (self->shape[d] != 1)
            at += index[ndim - self->ndim + d] * self->stride[d];
    return self->storage->offset + (uint64_t)at * rl_dtype_size((rl_dtype)self->dtype);
}

uint8_t *fake_element(const rl_tensor *self, int64_t ndim, const int64_t *index) {
    return self->storage->buffer->data + place_of(self, ndim, index);
}

rl_number fake_get(const rl_tensor *self, int64_t ndim, const int64_t *index) {
    return evaluate_load(fake_element(self, ndim, index), (rl_dtype)self->dtype);
}

bool fake_next(int64_t ndim, const int64_t *shape, int64_t *index) {
    for (int64_t d = ndim - 1; d >= 0; d--) {
        if (++index[d] < shape[d])
            return true;
        index[d] = 0;
    }
    return false;
}

void fake_snapshot(void) {
    for (rl_backend_buffer *b = buffers; b; b = b->next) {
        free(b->before);
        b->before = malloc(b->bytes);
        memcpy(b->before, b->data, b->bytes);
    }
}

void fake_expect(const rl_tensor *self, int64_t ndim, const int64_t *index, rl_number number) {
    evaluate_store(self->storage->buffer->before + place_of(self, ndim, index), (rl_dtype)self->dtype, number);
}

void fake_compare(void) {
    for (rl_backend_buffer *b = buffers; b; b = b->next)
        if (b->before != NULL)
            assert_memory_equal(b->data, b->before, b->bytes);
}

/* What the rows need of their neighbours -------------------------------------------------------------------------- */

rl_backend_stream *rl_device_stream_enter(rl_device *self) {
    assert_ptr_equal(self, &fake_device);
    assert_int_equal(fake.depth++, 0);
    fake.entered++;
    return (rl_backend_stream *)&fake;
}

_Thread_local const char *rl_host_op = "";

void rl_device_stream_leave(rl_device *self, rl_backend_stream *stream) {
    assert_ptr_equal(self, &fake_device);
    assert_ptr_equal(stream, &fake);
    fake.depth--;
}

void rl_storage_used(rl_storage *storage) {
    assert_int_equal(fake.depth, 0);
    assert_non_null(storage);
    fake.used++;
}

rl_status rl_device_result(rl_device *self, const char *op, rl_status status) {
    assert_int_equal(fake.depth, 0);
    return rl_fail(status, "%s: on %s: status %d", op, self->name, (int)status);
}
rl_status rl_device_bad_index(rl_device *self, const char *op, int64_t dim) {
    assert_int_equal(fake.depth, 0);
    return rl_fail(RL_INDEX_OUT_OF_RANGE, "%s: index of dimension %d, on %s", op, (int)dim, self->name);
}
