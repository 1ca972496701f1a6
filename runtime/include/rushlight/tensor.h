/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tensors: what they are, how they are made from memory and read. Everything that computes is an op (ops.h).
 * Every function that returns a tensor gives it to the innermost scope (base.h) and returns NULL on error.
 */
#ifndef RUSHLIGHT_TENSOR_H
#define RUSHLIGHT_TENSOR_H

#include "rushlight/base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rl_tensor rl_tensor;       /* an object: counted, owned by scopes */
typedef struct rl_device rl_device;       /* lives until rl_shutdown; compare by pointer */
typedef struct rl_generator rl_generator; /* an object */

/* A number that knows whether it is an integer, a float or a bool: it decides on type promotion as in PyTorch. */
typedef enum rl_value_kind {
    RL_VALUE_NONE = 0,
    RL_VALUE_TENSOR,
    RL_VALUE_INT,
    RL_VALUE_FLOAT,
    RL_VALUE_BOOL,
    RL_VALUE_INTS,
    RL_VALUE_TENSORS,
    RL_VALUE_DTYPE,
    RL_VALUE_DEVICE,
    RL_VALUE_STRING,
    RL_VALUE_GENERATOR
} rl_value_kind;

/* A list of tensors. Borrowed by the call that it is given to: RL_TENSORS(a, b, c). */
typedef struct rl_tensors {
    rl_tensor *const *data;
    int64_t count;
} rl_tensors;
#define RL_TENSORS(...)                                                                                                \
    ((rl_tensors){(rl_tensor *const[]){__VA_ARGS__},                                                                   \
                  (int64_t)(sizeof((rl_tensor *const[]){__VA_ARGS__}) / sizeof(rl_tensor *))})

/* The same of `count` tensors at `data`, known only at run time. */
#define RL_TENSORS_AT(data, count) ((rl_tensors){(data), (count)})

/* Any argument or result of an op. Borrows what it points to. */
typedef struct rl_value {
    rl_value_kind kind;
    union {
        rl_tensor *tensor;
        int64_t i;
        double f;
        bool b;
        rl_ints ints;
        rl_tensors tensors;
        rl_dtype dtype;
        rl_device *device;
        const char *string;
        rl_generator *generator;
    } as;
} rl_value;

static inline rl_value rl_value_of_tensor(rl_tensor *tensor) {
    rl_value v;
    v.kind = tensor ? RL_VALUE_TENSOR : RL_VALUE_NONE;
    v.as.tensor = tensor;
    return v;
}
static inline rl_value rl_value_of_int(int64_t i) {
    rl_value v;
    v.kind = RL_VALUE_INT;
    v.as.i = i;
    return v;
}
static inline rl_value rl_value_of_float(double f) {
    rl_value v;
    v.kind = RL_VALUE_FLOAT;
    v.as.f = f;
    return v;
}
static inline rl_value rl_value_of_bool(bool b) {
    rl_value v;
    v.kind = RL_VALUE_BOOL;
    v.as.b = b;
    return v;
}
static inline rl_value rl_value_of_value(rl_value v) {
    return v;
}

#ifndef __cplusplus
/* A tensor, a C number or an rl_value, as an rl_value: rl_add(x, y) and rl_add(x, 2.5) are both written so. */
#define RL_VALUE(x)                                                                                                    \
    _Generic((x), rl_tensor *                                                                                          \
             : rl_value_of_tensor, rl_value                                                                            \
             : rl_value_of_value, float                                                                                \
             : rl_value_of_float, double                                                                               \
             : rl_value_of_float, bool                                                                                 \
             : rl_value_of_bool, default                                                                               \
             : rl_value_of_int)(x)
#endif

/* What a tensor is. NULL gives 0, RL_DTYPE_NONE, NULL. --------------------------------------------------------- */

RL_API int64_t rl_tensor_ndim(const rl_tensor *self);
RL_API rl_dtype rl_tensor_dtype(const rl_tensor *self);
RL_API rl_device *rl_tensor_device(const rl_tensor *self);
/* Elements in all: the product of the sizes, 1 where there are no dimensions. */
RL_API int64_t rl_tensor_numel(const rl_tensor *self);
/* Size along dim; dim may be negative, counted from the end. -1 and an error where it is out of range. */
RL_API int64_t rl_tensor_size(const rl_tensor *self, int64_t dim);
/* ndim sizes, and strides in elements. Borrowed from the tensor. */
RL_API const int64_t *rl_tensor_shape(const rl_tensor *self);
RL_API const int64_t *rl_tensor_strides(const rl_tensor *self);
/* Offset of the first element in its storage, in elements. */
RL_API int64_t rl_tensor_storage_offset(const rl_tensor *self);
/* True where elements lie in row-major order without gaps. */
RL_API bool rl_tensor_is_contiguous(const rl_tensor *self);
/* Counts in-place changes of the storage. */
RL_API uint32_t rl_tensor_version(const rl_tensor *self);
/* True where both share a storage. */
RL_API bool rl_tensor_shares_storage(const rl_tensor *self, const rl_tensor *other);

/* Bytes of one element; 0 for RL_DTYPE_NONE. */
RL_API size_t rl_dtype_size(rl_dtype dtype);
/* "float32"; "none". */
RL_API const char *rl_dtype_name(rl_dtype dtype);
/* From "float32", "f32", "float" and so on; RL_DTYPE_NONE where it is no dtype. */
RL_API rl_dtype rl_dtype_parse(const char *name);
RL_API bool rl_dtype_is_float(rl_dtype dtype);
/* What PyTorch's promote_types gives. */
RL_API rl_dtype rl_promote_dtypes(rl_dtype a, rl_dtype b);

/* Memory in and out. These wait for the device where they must. ------------------------------------------------- */

/* A new tensor on `device` (NULL: the default) with a copy of the row-major elements at data. */
RL_API rl_tensor *rl_tensor_from_data(const void *data, rl_ints shape, rl_dtype dtype, rl_device *device);
/* A tensor over foreign memory, on the host device that `device` names (NULL: the default, or ref where that is no
 * host device). strides in elements, data NULL in `strides` for row-major. The memory is never copied and must hold
 * all elements; destroy(context) is called, once, when the last tensor over it is gone (also on error). */
RL_API rl_tensor *rl_tensor_wrap(void *data, rl_ints shape, rl_ints strides, rl_dtype dtype, rl_device *device,
                                 void (*destroy)(void *context), void *context);
/* The address of the first element of a tensor on a host device, after its work is done; NULL and an error on others.
 * Writing through it is the caller's affair: no version is counted. */
RL_API void *rl_tensor_data(rl_tensor *self);
/* Copies the elements, row-major, to data, which has room for `bytes`: exactly numel times the size of an element. */
RL_API rl_status rl_tensor_read(const rl_tensor *self, void *data, size_t bytes);
/* Overwrites the elements from row-major data. Counts as an in-place change. */
RL_API rl_status rl_tensor_write(rl_tensor *self, const void *data, size_t bytes);
/* The one element of a tensor, as a double or an integer (floats are truncated). 0 on error. */
RL_API double rl_item(const rl_tensor *self);
RL_API int64_t rl_item_int(const rl_tensor *self);

/* The text that PyTorch prints: "tensor([1.0000, 2.5000])". Gives a string that the caller frees with free(). */
RL_API char *rl_tensor_to_string(const rl_tensor *self);
/* The same to stdout, with a newline. */
RL_API void rl_print(const rl_tensor *self);

/* Random numbers ------------------------------------------------------------------------------------------------- */

/* Seeds the default generator, which else begins with a seed of the system's, another one in each process. */
RL_API void rl_manual_seed(uint64_t seed);
/* A generator of its own: Philox 4x32-10 with this seed. */
RL_API rl_generator *rl_generator_new(uint64_t seed);
RL_API rl_generator *rl_generator_default(void);
/* Seed, and the counter of blocks drawn: all the state there is. self NULL: the default generator; an out that is NULL
 * is left out. */
RL_API void rl_generator_get_state(const rl_generator *self, uint64_t *out_seed, uint64_t *out_offset);
RL_API void rl_generator_set_state(rl_generator *self, uint64_t seed, uint64_t offset);

#ifdef __cplusplus
}
#endif
#endif
