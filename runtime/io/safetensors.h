/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The safetensors format: eight bytes with the length of the header, little end first; the header, a JSON object of
 * {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, ...} and at most one "__metadata__" of
 * strings; then the data, which these offsets (from the end of the header) fill without gap or overlap.
 */
#ifndef RUSHLIGHT_RUNTIME_IO_SAFETENSORS_H
#define RUSHLIGHT_RUNTIME_IO_SAFETENSORS_H

#include "base/object.h"
#include "rushlight/io.h"

#define HEADER_MOST (100u * 1000u * 1000u) /* bytes; the format's own limit */

/* X(dtype, "its name in the header") */
#define SAFETENSORS_DTYPES(X)                                                                                          \
    X(F32, "F32")                                                                                                      \
    X(F64, "F64")                                                                                                      \
    X(F16, "F16") X(BF16, "BF16") X(I8, "I8") X(U8, "U8") X(I16, "I16") X(I32, "I32") X(I64, "I64") X(BOOL, "BOOL")

typedef struct file_entry {
    char *name;
    rl_dtype dtype;
    int64_t ndim, shape[RL_MAX_DIMS];
    uint64_t begin, end; /* within the data */
} file_entry;

typedef struct file_metadata {
    char *key, *value;
} file_metadata;

struct rl_safetensors {
    rl_object object;
    char *path;
    int fd;
    uint64_t data_start, data_bytes;
    int64_t n_entries, n_metadata;
    file_entry *entries; /* in the order of their data */
    file_entry **by_name;
    file_metadata *metadata;
};

/* Reads the header's text into self->entries, by_name and metadata, and checks all of it against data_bytes. */
rl_status safetensors_parse(rl_safetensors *self, const char *header, size_t length);
const char *safetensors_dtype_name(rl_dtype dtype);

#endif
