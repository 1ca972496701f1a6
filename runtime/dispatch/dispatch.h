/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The op table: rows (seven primitives, fused rows) by columns (devices). Everything above calls these functions with
 * tensors; only this folder calls a backend, and only it reads a storage's buffer.
 */
#ifndef RUSHLIGHT_RUNTIME_DISPATCH_DISPATCH_H
#define RUSHLIGHT_RUNTIME_DISPATCH_DISPATCH_H

#include "dispatch/program.h"
#include "rushlight/device.h"
#include "tensor/tensor.h"

/* Storages
 * -------------------------------------------------------------------------------------------------------------- */

/* A block of the device's memory, uninitialized, from the caching allocator. The caller holds its one count. */
rl_storage *rl_storage_new(rl_device *device, uint64_t bytes);
/* Over foreign host memory; destroy is called when it goes, also on error. */
rl_storage *rl_storage_wrap(rl_device *device, void *data, uint64_t bytes, void (*destroy)(void *), void *context);
/* The host's address of the storage's first byte on a host device, after its work is done; NULL and an error otherwise.
 */
void *rl_storage_host(rl_storage *self);
/* A number that no other storage and no other version of this one has or had: who finds it again finds the same bytes.
 * 0 where they may change unseen, from rl_storage_expose on and in foreign memory. */
uint64_t rl_storage_stamp(rl_storage *self);
void rl_storage_expose(rl_storage *self);
/* A new tensor of this shape on a new storage; strides NULL: row-major. Not owned by a scope. */
rl_tensor *rl_tensor_empty(rl_device *device, rl_dtype dtype, int64_t ndim, const int64_t *shape,
                           const int64_t *stride);
/* The error "f64 is not available on X" where the device cannot hold the dtype. */
rl_status rl_device_check_dtype(const char *op, rl_device *device, rl_dtype dtype);
bool rl_device_takes_dtype(rl_device *device, rl_dtype dtype);
/* Number of the device among all opened ones: an index for tables by device. */
int rl_device_number(const rl_device *device);

/* Bytes between host and device, and between devices. Blocks until a copy to the host is done.
 * ------------------------------ */

rl_status rl_storage_read(const rl_storage *self, uint64_t offset, void *data, uint64_t bytes);
rl_status rl_storage_write(rl_storage *self, uint64_t offset, const void *data, uint64_t bytes);
rl_status rl_storage_copy(rl_storage *to, uint64_t to_offset, const rl_storage *from, uint64_t from_offset,
                          uint64_t bytes);

/*
 * Rows. `op` names the op in errors, also in those that surface later. Tensors are borrowed and all on one device (the
 * caller has checked). Inputs broadcast to the outputs' shape. Dimensions are merged and ordered for the backend here.
 */

/* outputs[j] = program(inputs); own scalars only (program.h). All outputs have one shape. */
rl_status rl_row_map(const char *op, const rl_program *program, rl_tensor *const *inputs, rl_tensor *const *outputs,
                     const rl_number *scalars);

typedef struct rl_map_task { /* one job of rl_row_map_many */
    rl_tensor *const *inputs;
    rl_tensor *const *outputs;
    const rl_number *scalars;
} rl_map_task;
/* Several jobs of different shapes in one call of the backend, on one device. */
rl_status rl_row_map_many(const char *op, const rl_program *program, const rl_map_task *tasks, int64_t count);

/* Inputs broadcast to `shape`; `reduced` is a mask of its dimensions. Outputs have `shape` with the reduced dimensions
 * either absent or 1 (either is taken). epilogue NULL: the combined values as they are, cast to the outputs' dtypes. */
typedef struct rl_reduce_task {
    const rl_program *prologue;
    const rl_program *epilogue;
    uint8_t combiner[RL_MAX_COMBINED];
    rl_tensor *const *inputs;
    rl_tensor *const *outputs;
    const rl_number *scalars;          /* own scalars of the prologue */
    const rl_number *epilogue_scalars; /* own scalars of the epilogue */
    int64_t ndim;
    const int64_t *shape;
    uint32_t reduced;
} rl_reduce_task;
rl_status rl_row_reduce(const char *op, const rl_reduce_task *task);

/* c = alpha a b + beta c: (..., m, k), (..., k, n), (..., m, n); batch dimensions of a and b broadcast to c's. */
rl_status rl_row_matmul(const char *op, rl_tensor *a, rl_tensor *b, rl_tensor *c, double alpha, double beta);
/* out[x] = self[x with x[dim] = index[x]]; index and out have one shape (broadcast by stride 0 allowed for index);
 * self's other dimensions are no smaller. */
rl_status rl_row_gather(const char *op, rl_tensor *self, int64_t dim, rl_tensor *index, rl_tensor *out);
rl_status rl_row_scatter(const char *op, rl_tensor *out, int64_t dim, rl_tensor *index, rl_tensor *source,
                         rl_scatter_mode mode);
rl_status rl_row_scan(const char *op, rl_scan_op scan, rl_tensor *self, int64_t dim, rl_tensor *out,
                      rl_tensor *indices /* may be NULL */);
rl_status rl_row_sort(const char *op, rl_tensor *self, int64_t dim, bool descending, rl_tensor *values,
                      rl_tensor *indices);
/* Runs the fused row on the device, if a cell takes it: *out_ran says so, and otherwise the caller lowers it. Fills the
 * operands from tensors in the order in which they stand in the struct; `args` has the rest. */
rl_status rl_row_fused(const char *op, rl_row row, void *args, size_t args_size, rl_tensor *const *operands,
                       int64_t n_operands, bool *out_ran);

/* Whether this thread takes fused rows where a device has them, on at first; off, everything is lowered: for tests. */
extern _Thread_local __attribute__((tls_model("initial-exec"))) bool rl_fused_rows_;

/* An operand for a tensor of the same ndim as the call. */
void rl_operand_of(const rl_tensor *self, rl_operand *out_operand);

/* Counts a computation that was done on the host for a device; an error under RUSHLIGHT_STRICT=1. */
rl_status rl_note_host_op(const char *op, rl_device *device);

#endif
