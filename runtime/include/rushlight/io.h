/* SPDX-License-Identifier: Apache-2.0 */
/* Tensors to and from files: the safetensors format (a JSON header and the bytes), which PyTorch programs read too. */
#ifndef RUSHLIGHT_IO_H
#define RUSHLIGHT_IO_H

#include "rushlight/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A line of the file's free-form metadata. UTF-8. */
typedef struct rl_metadata {
    const char *key, *value;
} rl_metadata;

/*
 * Writes tensors.data[i] under names[i], and the metadata (NULL with 0: none), to the file at path. Tensors of any
 * strides on any devices. The file is written beside path and renamed over it when all of it is on the disk: whatever
 * fails, and whenever the machine stops, there is the old file or the new one. A symbolic link at path is followed.
 * Errors: a name that is empty, not UTF-8, "__metadata__" or given twice; input/output; out of memory.
 */
RL_API rl_status rl_safetensors_save(const char *path, const char *const *names, rl_tensors tensors,
                                     const rl_metadata *metadata, int64_t n_metadata);
/* RL_OK where a file could be saved at path now (one is created beside it, and removed): to ask before long work. */
RL_API rl_status rl_safetensors_can_save(const char *path);

typedef struct rl_safetensors rl_safetensors; /* an object: a file opened for reading, its header checked */

/* Reads and checks the header; the data are read when they are asked for. Any thread may read from it. Errors:
 * RL_NOT_FOUND, RL_IO_ERROR, RL_BAD_FORMAT with what is wrong and where. */
RL_API rl_safetensors *rl_safetensors_open(const char *path);

typedef struct rl_safetensors_entry {
    size_t struct_size; /* set by the caller to the size of the struct */
    const char *name;   /* borrowed from the object, as is the shape */
    rl_dtype dtype;
    int64_t ndim;
    const int64_t *shape;
} rl_safetensors_entry;
/* How many tensors, and the one of that number, in the order of their data; false where there is none. */
RL_API int64_t rl_safetensors_count(const rl_safetensors *self);
RL_API bool rl_safetensors_describe(const rl_safetensors *self, int64_t number, rl_safetensors_entry *out_entry);
/* The number of the tensor of that name; -1, without an error, where there is none. */
RL_API int64_t rl_safetensors_find(const rl_safetensors *self, const char *name);

/* The tensor of that number, new, on `device` (NULL: the default). */
RL_API rl_tensor *rl_safetensors_load(rl_safetensors *self, int64_t number, rl_device *device);
/* Overwrites `target`, of the same shape and dtype, wherever it lies. Counts as an in-place change. */
RL_API rl_status rl_safetensors_load_into(rl_safetensors *self, int64_t number, rl_tensor *target);

/* How many lines of metadata, one of them (borrowed; false where there is none), and the value of a key or NULL. */
RL_API int64_t rl_safetensors_metadata_count(const rl_safetensors *self);
RL_API bool rl_safetensors_metadata_get(const rl_safetensors *self, int64_t number, rl_metadata *out_line);
RL_API const char *rl_safetensors_metadata_value(const rl_safetensors *self, const char *key);

#ifdef __cplusplus
}
#endif
#endif
