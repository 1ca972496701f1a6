/* SPDX-License-Identifier: Apache-2.0 */
/* What the ops that call rows, and the views, share: programs by key, copies, geometry. Included by op_*.c alone. */
#ifndef RUSHLIGHT_RUNTIME_OPS_OP_ROWS_H
#define RUSHLIGHT_RUNTIME_OPS_OP_ROWS_H

#include "ops/op_shared.h"

/* Programs ------------------------------------------------------------------------------------------------------- */

/* Writes the program that a key stands for. */
typedef void (*rl_program_writer)(rl_builder *b, uint32_t key);
/* The program of a writer and a key: built at first use, kept until rl_shutdown, found without a lock. NULL on
 * failure. */
const rl_program *rl_row_program(rl_program_writer write, uint32_t key);

/* A key of up to three dtypes and a number below 2^20. */
#define RL_KEY(in, compute, out, variant)                                                                              \
    ((uint32_t)(in) | (uint32_t)(compute) << 4 | (uint32_t)(out) << 8 | (uint32_t)(variant) << 12)
static inline rl_dtype rl_key_in(uint32_t key) {
    return (rl_dtype)(key & 15);
}
static inline rl_dtype rl_key_compute(uint32_t key) {
    return (rl_dtype)(key >> 4 & 15);
}
static inline rl_dtype rl_key_out(uint32_t key) {
    return (rl_dtype)(key >> 8 & 15);
}
static inline uint32_t rl_key_variant(uint32_t key) {
    return key >> 12;
}
/* The next input, stored as the key's `in`, as its `compute`. */
static inline rl_pw rl_key_input(rl_builder *b, uint32_t key) {
    return rl_build_cast(b, rl_build_input(b, rl_key_in(key)), rl_key_compute(key));
}

/* What sums and products of a dtype are kept in: F32 or F64 for floats, I64 for integers and bool. */
rl_dtype rl_accumulator(rl_dtype dtype);
/* The dtype of the register that holds it: F32, F64, I32 or I64. */
rl_dtype rl_register_dtype(rl_dtype dtype);

/* Pieces of lowerings -------------------------------------------------------------------------------------------- */

/* to = from, cast and broadcast; to = 0. */
rl_status rl_move(const char *op, rl_tensor *to, rl_tensor *from);
rl_status rl_clear(const char *op, rl_tensor *to);
/* Another tensor over self's storage, owned by the innermost scope; `offset` in elements from its beginning. */
rl_tensor *rl_over(const rl_tensor *self, int64_t ndim, const int64_t *shape, const int64_t *stride, int64_t offset);
/* self read as `shape`, to which it broadcasts; self with dimensions a and b exchanged. */
rl_tensor *rl_read_as(const rl_tensor *self, int64_t ndim, const int64_t *shape);
rl_tensor *rl_exchanged(const rl_tensor *self, int64_t a, int64_t b);
/* x, or where it has no dimensions, x as (1). */
rl_tensor *rl_with_dims(rl_tensor *x);
/* self where it has this dtype, else a cast copy for use within lower. */
rl_tensor *rl_as_dtype(const rl_call *call, rl_tensor *self, rl_dtype dtype);

/* Geometry of views ---------------------------------------------------------------------------------------------- */

typedef struct rl_geometry {
    int64_t ndim, offset; /* offset in elements, from the storage's first */
    int64_t shape[RL_MAX_DIMS], stride[RL_MAX_DIMS];
} rl_geometry;

rl_geometry rl_geometry_of(const rl_tensor *self);
rl_geometry rl_geometry_row_major(int64_t ndim, const int64_t *shape);
void rl_geometry_remove(rl_geometry *self, int64_t dim);
rl_status rl_geometry_insert(const char *op, rl_geometry *self, int64_t dim, int64_t size, int64_t stride);
/* results[0] of a view. */
rl_status rl_view_made(rl_call *call, const rl_geometry *g);

/* Shapes and arguments ------------------------------------------------------------------------------------------- */

static inline rl_ints rl_arg_ints(const rl_call *call, int arg) {
    return call->args[arg].kind == RL_VALUE_INTS ? call->args[arg].as.ints : RL_NO_DIMS;
}
static inline bool rl_arg_bool(const rl_call *call, int arg) {
    return call->args[arg].kind == RL_VALUE_BOOL && call->args[arg].as.b;
}
static inline rl_ints rl_shape_of(const rl_tensor *self) {
    return (rl_ints){self->shape, self->ndim};
}
/* The shape of a tensor argument of a node. */
static inline rl_ints rl_vjp_shape(rl_vjp *v, int arg) {
    const rl_meta *meta = rl_vjp_meta(v, arg);
    return (rl_ints){meta->shape, meta->ndim};
}
static inline int64_t rl_vjp_int(rl_vjp *v, int arg) {
    return rl_vjp_arg(v, arg)->as.i;
}
static inline rl_ints rl_vjp_ints(rl_vjp *v, int arg) {
    const rl_value *given = rl_vjp_arg(v, arg);
    return given->kind == RL_VALUE_INTS ? given->as.ints : RL_NO_DIMS;
}
/* Zeros like a tensor argument of a node. */
static inline rl_tensor *rl_vjp_zeros(rl_vjp *v, int arg) {
    const rl_meta *meta = rl_vjp_meta(v, arg);
    return rl_zeros(rl_vjp_shape(v, arg), .dtype = meta->dtype, .device = meta->device);
}
/* A dimension argument of a node as [0, ndim). */
static inline int64_t rl_vjp_dim(rl_vjp *v, int arg) {
    int64_t ndim = rl_vjp_meta(v, 0)->ndim, dim = rl_vjp_int(v, arg);
    return dim < 0 ? dim + (ndim > 0 ? ndim : 1) : dim;
}
int64_t rl_shape_numel(int64_t ndim, const int64_t *shape);
/* from, from + 1 .. to - 1 as I64. */
static inline rl_tensor *rl_counted(int64_t from, int64_t to, rl_device *device) {
    return rl_arange(RL_VALUE(from), .end = to ? (double)to : (double)RL_ZERO, .dtype = RL_I64, .device = device);
}

#endif
