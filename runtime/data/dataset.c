/* SPDX-License-Identifier: Apache-2.0 */
#include "data/dataset.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/sized.h"
#include "tensor/tensor.h"

static void dataset_destroy(rl_object *object) {
    rl_dataset *self = (rl_dataset *)object;
    if (self->klass.destroy)
        self->klass.destroy(self->context);
    rl_free(self);
}
static const rl_object_class dataset_object_class = {"dataset", dataset_destroy};

static rl_status dataset_check(const rl_dataset_class *klass, int64_t size, const rl_dataset_field *fields,
                               int64_t n_fields, size_t *sample_bytes) {
    if (!klass->fetch)
        return rl_fail(RL_INVALID_ARGUMENT, "dataset: the class must have struct_size and fetch");
    if (size < 0)
        return rl_fail(RL_INVALID_ARGUMENT, "dataset: size must not be negative, got %lld", (long long)size);
    if (!fields || n_fields < 1 || n_fields > RL_DATASET_FIELDS)
        return rl_fail(RL_INVALID_ARGUMENT, "dataset: expected 1 to %d fields, got %lld", RL_DATASET_FIELDS,
                       (long long)n_fields);
    for (int64_t i = 0; i < n_fields; i++) {
        int64_t numel;
        if (!rl_dtype_size(fields[i].dtype))
            return rl_fail(RL_INVALID_ARGUMENT, "dataset: field %lld has no dtype", (long long)i);
        if (fields[i].ndim < 0 || fields[i].ndim >= RL_MAX_DIMS)
            return rl_fail(RL_INVALID_ARGUMENT, "dataset: field %lld has %lld dimensions; 0 to %d are supported",
                           (long long)i, (long long)fields[i].ndim, RL_MAX_DIMS - 1);
        if (rl_check_shape("dataset", fields[i].ndim, fields[i].shape, fields[i].dtype, &numel))
            return rl_error_status();
        sample_bytes[i] = (size_t)numel * rl_dtype_size(fields[i].dtype);
    }
    return RL_OK;
}

rl_dataset *rl_dataset_new(const rl_dataset_class *klass, void *context, int64_t size, const rl_dataset_field *fields,
                           int64_t n_fields) {
    rl_dataset *self = NULL;
    rl_dataset_class known;
    size_t sample_bytes[RL_DATASET_FIELDS] = {0};
    (void)rl_sized_class(&known, sizeof known, klass, offsetof(rl_dataset_class, fetch) + sizeof known.fetch);
    if (!rl_failed() && !dataset_check(&known, size, fields, n_fields, sample_bytes))
        self = rl_alloc_zero(1, sizeof *self, "dataset");
    if (!self) {
        if (known.destroy)
            known.destroy(context);
        return NULL;
    }
    rl_object_init(&self->object, &dataset_object_class);
    self->klass = known;
    self->context = context;
    self->size = size;
    self->n_fields = n_fields;
    memcpy(self->fields, fields, (size_t)n_fields * sizeof *fields);
    memcpy(self->sample_bytes, sample_bytes, sizeof sample_bytes);
    return rl_object_own(self);
}

int64_t rl_dataset_size(const rl_dataset *self) {
    return self ? self->size : 0;
}

/* Rows in memory -----------------------------------------------------------------------------------------------------
 */

typedef struct rows {
    int64_t n_fields;
    size_t row_bytes[RL_DATASET_FIELDS];
    unsigned char *data[RL_DATASET_FIELDS];
} rows;

static rl_status rows_fetch(void *context, const int64_t *numbers, int64_t count, void *const *fields, char *sentence,
                            size_t room) {
    const rows *self = context;
    (void)sentence, (void)room;
    for (int64_t f = 0; f < self->n_fields; f++)
        for (int64_t i = 0; i < count; i++)
            memcpy((unsigned char *)fields[f] + (size_t)i * self->row_bytes[f],
                   self->data[f] + (size_t)numbers[i] * self->row_bytes[f], self->row_bytes[f]);
    return RL_OK;
}
static void rows_destroy(void *context) {
    rows *self = context;
    if (!self)
        return;
    for (int64_t f = 0; f < self->n_fields; f++)
        rl_free(self->data[f]);
    rl_free(self);
}
static const rl_dataset_class rows_class = {sizeof(rl_dataset_class), "rows", rows_fetch, rows_destroy};

static rl_status rows_add(rows *self, rl_dataset_field *fields, const rl_tensor *tensor, int64_t size) {
    int64_t f = self->n_fields;
    size_t bytes;
    if (!tensor)
        return rl_fail(RL_INVALID_ARGUMENT, "dataset_of_tensors: tensor %lld is NULL", (long long)f);
    if (tensor->ndim < 1 || tensor->shape[0] != size)
        return rl_fail(RL_SHAPE_MISMATCH,
                       "dataset_of_tensors: tensor %lld must have %lld rows as the first one, got %lld", (long long)f,
                       (long long)size, tensor->ndim < 1 ? 0LL : (long long)tensor->shape[0]);
    fields[f].dtype = (rl_dtype)tensor->dtype;
    fields[f].ndim = tensor->ndim - 1;
    memcpy(fields[f].shape, tensor->shape + 1, (size_t)fields[f].ndim * sizeof(int64_t));
    bytes = (size_t)tensor->numel * rl_dtype_size((rl_dtype)tensor->dtype);
    self->row_bytes[f] = size ? bytes / (size_t)size : 0;
    if (!(self->data[f] = rl_alloc(bytes ? bytes : 1, "dataset")))
        return RL_OUT_OF_MEMORY;
    self->n_fields++;
    return rl_tensor_read(tensor, self->data[f], bytes);
}

rl_dataset *rl_dataset_of_tensors(rl_tensors tensors) {
    rl_dataset_field fields[RL_DATASET_FIELDS];
    rows *self;
    int64_t size;
    if (rl_failed())
        return NULL;
    if (rl_tensors_check("dataset_of_tensors", "tensor", tensors, 1, RL_DATASET_FIELDS) != RL_OK)
        return NULL;
    if (!(self = rl_alloc_zero(1, sizeof *self, "dataset")))
        return NULL;
    size = tensors.data[0] && tensors.data[0]->ndim > 0 ? tensors.data[0]->shape[0] : 0;
    for (int64_t i = 0; i < tensors.count; i++)
        if (rows_add(self, fields, tensors.data[i], size)) {
            rows_destroy(self);
            return NULL;
        }
    return rl_dataset_new(&rows_class, self, size, fields, self->n_fields);
}

/* MNIST --------------------------------------------------------------------------------------------------------------
 */

typedef struct mnist {
    unsigned char *images, *labels;
    size_t pixels;
} mnist;

static rl_status mnist_fetch(void *context, const int64_t *numbers, int64_t count, void *const *fields, char *sentence,
                             size_t room) {
    const mnist *self = context;
    float *images = fields[0];
    int64_t *labels = fields[1];
    (void)sentence, (void)room;
    for (int64_t i = 0; i < count; i++) {
        const unsigned char *image = self->images + (size_t)numbers[i] * self->pixels;
        float *out = images + (size_t)i * self->pixels;
        for (size_t p = 0; p < self->pixels; p++)
            out[p] = (float)image[p] / 255.0f;
        labels[i] = self->labels[numbers[i]];
    }
    return RL_OK;
}
static void mnist_destroy(void *context) {
    mnist *self = context;
    if (!self)
        return;
    rl_free(self->images);
    rl_free(self->labels);
    rl_free(self);
}
static const rl_dataset_class mnist_class = {sizeof(rl_dataset_class), "mnist", mnist_fetch, mnist_destroy};

/* Reads folder/name.gz or folder/name, which must be bytes of `ndim` dimensions. */
static rl_status mnist_read(const char *folder, const char *name, int64_t ndim, int64_t *out_shape,
                            unsigned char **out_data) {
    char path[4096];
    rl_dtype dtype;
    int64_t have;
    void *data = NULL;
    rl_status status;
    if (snprintf(path, sizeof path, "%s/%s.gz", folder, name) >= (int)sizeof path)
        return rl_fail(RL_INVALID_ARGUMENT, "dataset_mnist: the folder's name is longer than a path can be");
    if (access(path, F_OK) != 0)
        path[strlen(path) - 3] = 0;
    if (access(path, F_OK) != 0)
        return rl_fail(RL_NOT_FOUND,
                       "dataset_mnist: neither %s nor %s.gz is there; name the folder of the four IDX files", path,
                       path);
    if ((status = rl_idx_read(path, &dtype, &have, out_shape, &data)))
        return status;
    if (dtype != RL_U8 || have != ndim) {
        rl_free(data);
        return rl_fail(RL_BAD_FORMAT, "dataset_mnist: %s must hold uint8 of %lld dimensions, has %s of %lld", path,
                       (long long)ndim, rl_dtype_name(dtype), (long long)have);
    }
    *out_data = data;
    return RL_OK;
}

rl_dataset *rl_dataset_mnist(const char *folder, bool train) {
    int64_t shape[RL_MAX_DIMS] = {0}, count[RL_MAX_DIMS] = {0};
    rl_dataset_field fields[2] = {{RL_F32, 3, {1, 0, 0}}, {RL_I64, 0, {0}}};
    mnist *self;
    if (rl_failed())
        return NULL;
    if (!folder || !*folder)
        return rl_fail_null(RL_INVALID_ARGUMENT, "dataset_mnist: folder is %s", folder ? "empty" : "NULL");
    if (!(self = rl_alloc_zero(1, sizeof *self, "dataset")))
        return NULL;
    if (mnist_read(folder, train ? "train-images-idx3-ubyte" : "t10k-images-idx3-ubyte", 3, shape, &self->images) ||
        mnist_read(folder, train ? "train-labels-idx1-ubyte" : "t10k-labels-idx1-ubyte", 1, count, &self->labels)) {
        mnist_destroy(self);
        return NULL;
    }
    if (shape[0] != count[0]) {
        mnist_destroy(self);
        return rl_fail_null(RL_BAD_FORMAT, "dataset_mnist: %s has %lld images and %lld labels", folder,
                            (long long)shape[0], (long long)count[0]);
    }
    if (shape[0] == 0 || shape[1] == 0 || shape[2] == 0) {
        mnist_destroy(self);
        return rl_fail_null(RL_BAD_FORMAT, "dataset_mnist: %s has %lld %s images of %lld x %lld, expected some", folder,
                            (long long)shape[0], train ? "training" : "test", (long long)shape[1], (long long)shape[2]);
    }
    self->pixels = (size_t)shape[1] * (size_t)shape[2];
    fields[0].shape[1] = shape[1];
    fields[0].shape[2] = shape[2];
    return rl_dataset_new(&mnist_class, self, shape[0], fields, 2);
}

/* A slice ------------------------------------------------------------------------------------------------------------
 */

typedef struct slice {
    rl_dataset *whole;
    int64_t first;
} slice;

static rl_status slice_fetch(void *context, const int64_t *numbers, int64_t count, void *const *fields, char *sentence,
                             size_t room) {
    const slice *self = context;
    int64_t shifted[256];
    rl_status status = RL_OK;
    unsigned char *at[RL_DATASET_FIELDS];
    for (int64_t f = 0; f < self->whole->n_fields; f++)
        at[f] = fields[f];
    for (int64_t done = 0; done < count && !status; done += 256) {
        int64_t n = count - done < 256 ? count - done : 256;
        for (int64_t i = 0; i < n; i++)
            shifted[i] = numbers[done + i] + self->first;
        status = self->whole->klass.fetch(self->whole->context, shifted, n, (void *const *)at, sentence, room);
        for (int64_t f = 0; f < self->whole->n_fields; f++)
            at[f] += (size_t)n * self->whole->sample_bytes[f];
    }
    return status;
}
static void slice_destroy(void *context) {
    slice *self = context;
    if (!self)
        return;
    rl_release(self->whole);
    rl_free(self);
}
static const rl_dataset_class slice_class = {sizeof(rl_dataset_class), "slice", slice_fetch, slice_destroy};

rl_dataset *rl_dataset_slice(rl_dataset *whole, int64_t first, int64_t count) {
    slice *self;
    if (rl_failed())
        return NULL;
    if (!whole)
        return rl_fail_null(RL_INVALID_ARGUMENT, "dataset_slice: self is NULL");
    if (first < 0 || count < 0 || first > whole->size || count > whole->size - first)
        return rl_fail_null(RL_INDEX_OUT_OF_RANGE, "dataset_slice: %lld samples from %lld on do not lie within %lld",
                            (long long)count, (long long)first, (long long)whole->size);
    if (!(self = rl_alloc_zero(1, sizeof *self, "dataset")))
        return NULL;
    self->whole = rl_retain(whole);
    self->first = first;
    return rl_dataset_new(&slice_class, self, count, whole->fields, whole->n_fields);
}
