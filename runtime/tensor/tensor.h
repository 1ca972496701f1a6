/* SPDX-License-Identifier: Apache-2.0 */
/* Tensors and storages from within. A storage is a block of device memory; a tensor is a strided view of one. */
#ifndef RUSHLIGHT_RUNTIME_TENSOR_TENSOR_H
#define RUSHLIGHT_RUNTIME_TENSOR_TENSOR_H

#include "base/error.h"
#include "base/object.h"
#include "rushlight/tensor.h"

/* A storage is made and destroyed by dispatch (dispatch/dispatch.h). */
typedef struct rl_storage {
    rl_object object;
    rl_device *device;
    rl_backend_buffer *buffer; /* NULL where bytes is 0 */
    uint64_t offset;           /* bytes into buffer where this storage begins */
    uint64_t bytes;
    _Atomic(uint32_t) version; /* in-place changes */
    _Atomic(uint32_t) stamped; /* the version that stamp stands for */
    _Atomic(uint64_t) stamp;   /* rl_storage_stamp; 0: none yet */
    void *alloc_block;         /* dispatch's own */
    const char *changed_by;    /* op that last changed it in place; a static string; NULL */
    void (*destroy)(void *context);
    void *destroy_context;
} rl_storage;

typedef struct rl_autograd_meta rl_autograd_meta; /* autograd's own */

/* Why others over the same memory cannot learn of a recorded change to a tensor. Views of it inherit it. */
typedef enum rl_untracked {
    RL_TRACKED = 0,
    RL_UNTRACKED_VIEW,  /* a view made while gradients were not recorded */
    RL_UNTRACKED_OUTPUT /* an output of a function with a derivative of its own */
} rl_untracked;

struct rl_tensor {
    rl_object object;
    uint8_t dtype; /* rl_dtype */
    uint8_t ndim;
    uint8_t contiguous;    /* row-major without gaps; kept right by whoever sets shape and strides */
    uint8_t requires_grad; /* a leaf that asks for gradients, or made by a recorded op */
    uint8_t untracked;     /* rl_untracked */
    int64_t numel;
    int64_t offset; /* elements into the storage */
    rl_storage *storage;
    rl_autograd_meta *autograd; /* NULL unless autograd knows it; freed by rl_tensor_hooks.autograd_free */
    void *trace;                /* rl_fuse's own while tracing; else NULL */
    int64_t shape[RL_MAX_DIMS]; /* the first ndim are valid */
    int64_t stride[RL_MAX_DIMS];
};

/* What layers above hang into the life of a tensor; set once when they start. */
typedef struct rl_tensor_hooks {
    void (*autograd_free)(rl_tensor *self);
} rl_tensor_hooks;
extern rl_tensor_hooks rl_tensor_hooks_;

/* A new tensor over `storage` (one more count is taken). Not owned by any scope: the caller holds the one count.
 * NULL on failure. Does not check that the elements lie within the storage: rl_check_within does. */
rl_tensor *rl_tensor_make(rl_storage *storage, rl_dtype dtype, int64_t ndim, const int64_t *shape,
                          const int64_t *stride, int64_t offset);
/* Row-major strides of a shape. */
void rl_contiguous_strides(int64_t ndim, const int64_t *shape, int64_t *out_stride);
/* Strides of a dense tensor of `shape` in the same order of dimensions as `like` has (row-major where it has none). */
void rl_dense_strides_like(int64_t ndim, const int64_t *shape, const int64_t *like_stride, int64_t *out_stride);
bool rl_is_contiguous(int64_t ndim, const int64_t *shape, const int64_t *stride);
/* True where the elements fill a block without gap or overlap, in whatever order of dimensions. */
bool rl_is_dense(int64_t ndim, const int64_t *shape, const int64_t *stride);

/* Of (batch, channels, sizes ...): dense with the channels innermost, by the very strides; as PyTorch tells it. */
bool rl_is_channels_last(int64_t ndim, const int64_t *shape, const int64_t *stride);
void rl_channels_last_strides(int64_t ndim, const int64_t *shape, int64_t *out_stride);

/* Shape arithmetic. `op` is named in the errors. --------------------------------------------------------------------
 */

/* The product of the sizes; an error where one is negative or the bytes overflow 2^62. */
rl_status rl_check_shape(const char *op, int64_t ndim, const int64_t *shape, rl_dtype dtype, int64_t *out_numel);
/* Whether a shape has a size of 0, and the product of its others is within 2^63. */
bool rl_shape_is_empty(int64_t ndim, const int64_t *shape);
/* The same question, quickly: false where rl_check_shape refuses a shape of sizes that are not negative. The bytes of
 * the elements go to *out_bytes. */
static inline bool rl_shape_bytes(int64_t ndim, const int64_t *shape, rl_dtype dtype, uint64_t *out_bytes) {
    int64_t bytes = (int64_t)rl_dtype_size(dtype), room = bytes;
    for (int64_t d = 0; d < ndim; d++) {
        if (__builtin_mul_overflow(room, shape[d] > 0 ? shape[d] : 1, &room)) {
            *out_bytes = 0;
            return rl_shape_is_empty(ndim, shape);
        }
        bytes = shape[d] == 0 ? 0 : bytes * shape[d];
    }
    *out_bytes = (uint64_t)bytes;
    return room <= INT64_C(1) << 62 || bytes == 0;
}
/* dim in [-ndim, ndim) as [0, ndim); a 0-dimensional tensor takes -1 and 0. -1 and an error otherwise. */
int64_t rl_wrap_dim(const char *op, int64_t dim, int64_t ndim);
/* Dimensions as a bit mask; none means all. An error for one given twice. */
rl_status rl_wrap_dims(const char *op, rl_ints dims, int64_t ndim, uint32_t *out_mask);
/* The broadcast shape of two shapes, in out_shape (RL_MAX_DIMS). */
rl_status rl_broadcast_shapes(const char *op, int64_t a_ndim, const int64_t *a, int64_t b_ndim, const int64_t *b,
                              int64_t *out_ndim, int64_t *out_shape);
/* Strides with which a tensor of (ndim, shape, stride) is read as out_shape: 0 where broadcast. Shapes must fit. */
void rl_broadcast_strides(int64_t ndim, const int64_t *shape, const int64_t *stride, int64_t out_ndim,
                          const int64_t *out_shape, int64_t *out_stride);
/* Whether `view` of another shape needs no copy, and then its strides. False where the shapes hold different numbers
 * of elements. */
bool rl_view_strides(int64_t ndim, const int64_t *shape, const int64_t *stride, int64_t new_ndim,
                     const int64_t *new_shape, int64_t *out_stride);
/* An error unless every element of (shape, stride, offset in elements) lies within `elements`. */
rl_status rl_check_within(const char *op, int64_t ndim, const int64_t *shape, const int64_t *stride, int64_t offset,
                          uint64_t elements);
/* "(3, 4)" into a buffer of RL_SHAPE_TEXT; returns it. */
#define RL_SHAPE_TEXT 320
char *rl_shape_text(int64_t ndim, const int64_t *shape, char *buffer);

/* Dtypes
 * --------------------------------------------------------------------------------------------------------------- */

rl_reg rl_dtype_reg(rl_dtype dtype);                              /* the register that programs compute it in */
void rl_dtype_range(rl_dtype dtype, int64_t *low, int64_t *high); /* of an integer dtype; of bool 0 and 1 */
bool rl_dtype_is_integer(rl_dtype dtype);                         /* bool is not */
/* PyTorch's rule for a result of several operands: those with dimensions before those without before numbers, a
 * higher category (bool < integer < float) before a lower. `default float` (f32) for a float number among integers. */
rl_dtype rl_result_dtype(const rl_value *operands, int64_t count);
/* Whether PyTorch lets a result of dtype `from` be stored in `to` by an in-place op: no float into integer or bool,
 * and nothing but bool into bool. */
bool rl_can_cast(rl_dtype from, rl_dtype to);
/* The number that 16 bits of f16 or bf16 stand for. Exact. */
double rl_half_to_double(rl_dtype dtype, uint16_t bits);
/* Toward zero; beyond int64 its nearest end, NaN 0. */
int64_t rl_float_to_int(double value);

/* Random numbers
 * --------------------------------------------------------------------------------------------------------- */

struct rl_generator {
    rl_object object;
    uint64_t seed;
    _Atomic(uint64_t) offset;
};
/* Takes the blocks for `numel` elements (numel / 4, rounded up): what a program's launch scalars need. NULL: default.
 */
void rl_generator_take(rl_generator *self, int64_t numel, uint64_t *out_seed, uint64_t *out_offset);

/* What a thread draws from the default generator can be kept and drawn again, whatever other threads draw meanwhile:
 * the generator itself is neither wound back nor advanced. Zero-initialized is empty. */
typedef struct rl_draws {
    struct rl_draw *list;
    uint32_t count, room;
} rl_draws;
void rl_draws_free(rl_draws *self);
/* From enter to leave, on this thread: draws are added to `draws`; or, with `repeat`, are those, as long as there are
 * any, and seeding the default generator changes nothing. Pairs nest. A failed allocation is the thread's error. */
typedef struct rl_draw_scope {
    rl_draws *draws;
    uint32_t next;
    bool repeat;
    struct rl_draw_scope *outer;
} rl_draw_scope;
void rl_draws_enter(rl_draw_scope *scope, rl_draws *draws, bool repeat);
void rl_draws_leave(rl_draw_scope *scope);

/* A list of `least` to `most` tensors, none of them NULL; else an error that speaks of a `noun` ("input"). */
rl_status rl_tensors_check(const char *function, const char *noun, rl_tensors list, int64_t least, int64_t most);

static inline void rl_tensor_changed(rl_tensor *self, const char *op) {
    atomic_fetch_add_explicit(&self->storage->version, 1, memory_order_relaxed);
    self->storage->changed_by = op;
}

#endif
