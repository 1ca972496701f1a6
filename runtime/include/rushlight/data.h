/* SPDX-License-Identifier: Apache-2.0 */
/* Datasets and batches. A dataset gives samples by number; a loader gives batches of them as tensors. */
#ifndef RUSHLIGHT_DATA_H
#define RUSHLIGHT_DATA_H

#include "rushlight/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rl_dataset rl_dataset; /* an object */
typedef struct rl_loader rl_loader;   /* an object */

#define RL_DATASET_FIELDS 4

typedef struct rl_dataset_field { /* one tensor of a sample, such as the image or the label */
    rl_dtype dtype;
    int64_t ndim;
    int64_t shape[RL_MAX_DIMS]; /* of one sample */
} rl_dataset_field;

typedef struct rl_dataset_class { /* is copied, but for the name, which must outlive its datasets */
    size_t struct_size;
    const char *name;
    /* Writes the samples of these numbers, one after another and row-major, to each field's memory. Runs on the
     * loader's thread, one call at a time for one loader; makes no tensors. On failure returns a status and leaves a
     * sentence. */
    rl_status (*fetch)(void *context, const int64_t *numbers, int64_t count, void *const *fields, char *sentence,
                       size_t room);
    void (*destroy)(void *context); /* may be NULL */
} rl_dataset_class;
/* Takes context over, also on failure. */
RL_API rl_dataset *rl_dataset_new(const rl_dataset_class *klass, void *context, int64_t size,
                                  const rl_dataset_field *fields, int64_t n_fields);
/* Samples are the rows of the tensors, which have one first size and are copied to host memory. */
RL_API rl_dataset *rl_dataset_of_tensors(rl_tensors tensors);
/* MNIST and what has its form, Fashion-MNIST among it: the files train-images-idx3-ubyte, train-labels-idx1-ubyte,
 * t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte, with .gz or without, in `folder`. Images become f32 (1, rows,
 * columns) within [0, 1], labels i64 (). */
RL_API rl_dataset *rl_dataset_mnist(const char *folder, bool train);
RL_API int64_t rl_dataset_size(const rl_dataset *self);
/* The part [first, first + count) of a dataset, which it retains. */
RL_API rl_dataset *rl_dataset_slice(rl_dataset *self, int64_t first, int64_t count);

/* An IDX file, gzipped or not, whole: its dtype, shape and elements (big-endian in the file, native here). The caller
 * frees *out_data with free(). What the header claims is held against the file before memory is spent on it. */
RL_API rl_status rl_idx_read(const char *path, rl_dtype *out_dtype, int64_t *out_ndim, int64_t *out_shape,
                             void **out_data);

typedef struct rl_loader_options {
    size_t struct_size;
    int64_t batch_size; /* default 1 */
    bool shuffle;       /* a new order in each epoch */
    bool drop_last;     /* leave out a last batch that is not full */
    uint64_t seed;      /* of the order; default: drawn from the default generator */
    int64_t prefetch;   /* batches made ahead on a thread; default 2; RL_ZERO: none, made on the caller's thread */
    rl_device *device;  /* of the batches; default: the default device */
} rl_loader_options;
RL_API rl_loader *rl_loader_new_opt(rl_dataset *dataset, const rl_loader_options *options);
#define rl_loader_new(...)                                                                                             \
    rl_loader_new_opt(RL_TAKE1_(__VA_ARGS__, ),                                                                        \
                      &(rl_loader_options){.struct_size = sizeof(rl_loader_options), RL_DROP1_(__VA_ARGS__, )})
/* The next batch: fills out_fields[0 .. n_fields) with tensors (batch, ...), which the loader owns and which are valid
 * until its next call or end. False at the end of the epoch (the next call then begins another one) and on error. */
RL_API bool rl_loader_next(rl_loader *self, rl_tensor **out_fields);
/* For datasets of an input and a target. */
RL_API bool rl_loader_next2(rl_loader *self, rl_tensor **out_input, rl_tensor **out_target);
/* Batches of an epoch, and the epoch that the next batch belongs to. */
RL_API int64_t rl_loader_batches(const rl_loader *self);
RL_API int64_t rl_loader_epoch(const rl_loader *self);
/* Goes to the start of an epoch of that number: the order of a shuffled epoch depends on seed and number alone. */
RL_API rl_status rl_loader_set_epoch(rl_loader *self, int64_t epoch);

#ifdef __cplusplus
}
#endif
#endif
