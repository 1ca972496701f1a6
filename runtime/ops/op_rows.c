/* SPDX-License-Identifier: Apache-2.0 */
/* Programs by key, copies and geometry for the ops that call rows. Any thread. */
#include <string.h>

#include "base/memory.h"
#include "ops/op_rows.h"

/* Programs ------------------------------------------------------------------------------------------------------- */

typedef struct program_entry {
    struct program_entry *next;
    rl_program_writer write;
    uint32_t key;
    const rl_program *program;
} program_entry;

#define PROGRAM_LISTS 256u
static _Atomic(program_entry *) programs[PROGRAM_LISTS];

/* Programs live until rl_shutdown, and so does what points to them. */
static void forget_programs(void) {
    for (uint32_t i = 0; i < PROGRAM_LISTS; i++) {
        program_entry *entry = atomic_exchange(&programs[i], NULL);
        while (entry != NULL) {
            program_entry *next = entry->next;
            rl_free(entry);
            entry = next;
        }
    }
}

static const rl_program *add_program(_Atomic(program_entry *) *list, rl_program_writer write, uint32_t key) {
    rl_builder b;
    rl_builder_init(&b);
    write(&b, key);
    const rl_program *program = rl_builder_finish(&b);
    program_entry *entry = program ? rl_alloc(sizeof *entry, "a program of a row") : NULL;
    if (entry == NULL)
        return NULL;
    *entry = (program_entry){.write = write, .key = key, .program = program};
    rl_at_shutdown(forget_programs);
    entry->next = atomic_load(list);
    while (!atomic_compare_exchange_weak(list, &entry->next, entry)) {
    }
    return program;
}

const rl_program *rl_row_program(rl_program_writer write, uint32_t key) {
    uint64_t hash = ((uint64_t)(uintptr_t)write + key) * UINT64_C(0x9e3779b97f4a7c15);
    _Atomic(program_entry *) *list = &programs[hash >> 56];
    const program_entry *entry = atomic_load_explicit(list, memory_order_acquire);
    while (entry != NULL && (entry->write != write || entry->key != key))
        entry = entry->next;
    return entry ? entry->program : add_program(list, write, key);
}

rl_dtype rl_accumulator(rl_dtype dtype) {
    return dtype == RL_F64 ? RL_F64 : rl_dtype_is_float(dtype) ? RL_F32 : RL_I64;
}

rl_dtype rl_register_dtype(rl_dtype dtype) {
    static const rl_dtype dtypes[] = {
        [RL_REG_F32] = RL_F32, [RL_REG_F64] = RL_F64, [RL_REG_I32] = RL_I32, [RL_REG_I64] = RL_I64};
    return dtypes[rl_dtype_reg(dtype)];
}

/* Pieces of lowerings -------------------------------------------------------------------------------------------- */

static void write_move(rl_builder *b, uint32_t key) {
    rl_build_output(b, rl_build_input(b, rl_key_in(key)), rl_key_out(key));
}
static void write_clear(rl_builder *b, uint32_t key) {
    rl_build_output(b, rl_build_constant(b, rl_key_out(key), 0), rl_key_out(key));
}

rl_status rl_move(const char *op, rl_tensor *to, rl_tensor *from) {
    const rl_program *program = rl_row_program(write_move, RL_KEY(from->dtype, 0, to->dtype, 0));
    return program ? rl_row_map(op, program, &from, &to, NULL) : rl_error_status();
}

rl_status rl_clear(const char *op, rl_tensor *to) {
    const rl_program *program = rl_row_program(write_clear, RL_KEY(0, 0, to->dtype, 0));
    return program ? rl_row_map(op, program, NULL, &to, NULL) : rl_error_status();
}

rl_tensor *rl_over(const rl_tensor *self, int64_t ndim, const int64_t *shape, const int64_t *stride, int64_t offset) {
    return rl_object_own(rl_tensor_make(self->storage, (rl_dtype)self->dtype, ndim, shape, stride, offset));
}

rl_tensor *rl_read_as(const rl_tensor *self, int64_t ndim, const int64_t *shape) {
    int64_t stride[RL_MAX_DIMS];
    rl_broadcast_strides(self->ndim, self->shape, self->stride, ndim, shape, stride);
    return rl_over(self, ndim, shape, stride, self->offset);
}

rl_tensor *rl_exchanged(const rl_tensor *self, int64_t a, int64_t b) {
    rl_geometry g = rl_geometry_of(self);
    g.shape[a] = self->shape[b];
    g.shape[b] = self->shape[a];
    g.stride[a] = self->stride[b];
    g.stride[b] = self->stride[a];
    return rl_over(self, g.ndim, g.shape, g.stride, g.offset);
}

rl_tensor *rl_with_dims(rl_tensor *x) {
    return x->ndim > 0 ? x : rl_over(x, 1, (const int64_t[]){1}, (const int64_t[]){1}, x->offset);
}

rl_tensor *rl_as_dtype(const rl_call *call, rl_tensor *self, rl_dtype dtype) {
    if ((rl_dtype)self->dtype == dtype)
        return self;
    rl_tensor *cast = rl_call_temp(call, dtype, self->ndim, self->shape);
    return cast && rl_move(rl_call_name(call), cast, self) == RL_OK ? cast : NULL;
}

/* Geometry ------------------------------------------------------------------------------------------------------- */

rl_geometry rl_geometry_of(const rl_tensor *self) {
    rl_geometry g = {.ndim = self->ndim, .offset = self->offset};
    memcpy(g.shape, self->shape, (size_t)self->ndim * sizeof *g.shape);
    memcpy(g.stride, self->stride, (size_t)self->ndim * sizeof *g.stride);
    return g;
}

rl_geometry rl_geometry_row_major(int64_t ndim, const int64_t *shape) {
    rl_geometry g = {.ndim = ndim};
    memcpy(g.shape, shape, (size_t)ndim * sizeof *g.shape);
    rl_contiguous_strides(ndim, shape, g.stride);
    return g;
}

void rl_geometry_remove(rl_geometry *self, int64_t dim) {
    self->ndim--;
    for (int64_t d = dim; d < self->ndim; d++) {
        self->shape[d] = self->shape[d + 1];
        self->stride[d] = self->stride[d + 1];
    }
}

rl_status rl_geometry_insert(const char *op, rl_geometry *self, int64_t dim, int64_t size, int64_t stride) {
    if (self->ndim == RL_MAX_DIMS)
        return rl_fail(RL_INVALID_ARGUMENT, "%s: the result would have %d dimensions; at most %d are possible", op,
                       RL_MAX_DIMS + 1, RL_MAX_DIMS);
    for (int64_t d = self->ndim++; d > dim; d--) {
        self->shape[d] = self->shape[d - 1];
        self->stride[d] = self->stride[d - 1];
    }
    self->shape[dim] = size;
    self->stride[dim] = stride;
    return RL_OK;
}

rl_status rl_view_made(rl_call *call, const rl_geometry *g) {
    const rl_tensor *self = rl_arg_tensor(call, 0);
    int64_t numel;
    rl_status status = rl_check_shape(rl_call_name(call), g->ndim, g->shape, (rl_dtype)self->dtype, &numel);
    if (status != RL_OK)
        return status;
    int64_t end = (int64_t)(self->storage->bytes / rl_dtype_size((rl_dtype)self->dtype));
    int64_t offset = numel == 0 && g->offset > end ? end : g->offset; /* an empty view lies within the storage too */
    call->results[0] = rl_tensor_make(self->storage, (rl_dtype)self->dtype, g->ndim, g->shape, g->stride, offset);
    return call->results[0] ? RL_OK : rl_error_status();
}

int64_t rl_shape_numel(int64_t ndim, const int64_t *shape) {
    int64_t numel = 1;
    for (int64_t d = 0; d < ndim; d++)
        numel *= shape[d];
    return numel;
}
