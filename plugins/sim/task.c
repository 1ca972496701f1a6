/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running a task on the worker: each operand's handle is looked up, its elements are checked to lie within the buffer,
 * and memory takes the handle's place; then the SDK's kernel does the work.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rl_interp.h"
#include "sim.h"

/* The host that the kernels see --------------------------------------------------------------------------------------
 */

static _Thread_local sim_device *working;
static _Thread_local char *said;

static rl_status say(rl_status status, const char *format, ...) RL_PRINTF_(2, 3);
static rl_status say(rl_status status, const char *format, ...) {
    va_list list;
    va_start(list, format);
    vsnprintf(said, SENTENCE, format, list);
    va_end(list);
    return status;
}

static void *scratch(size_t bytes) {
    if (bytes > working->scratch_bytes) {
        free(working->scratch);
        working->scratch = aligned_alloc(64, (bytes + 63) & ~(size_t)63);
        working->scratch_bytes = working->scratch ? bytes : 0;
    }
    return working->scratch;
}

static const rl_host kernel_host = {.size = sizeof kernel_host, .abi = RL_ABI_VERSION, .fail = say, .scratch = scratch};

/* Operands -----------------------------------------------------------------------------------------------------------
 */

typedef struct extent { /* what of an operand is touched */
    const char *call, *role;
    int number; /* of several in one role; -1: there is one */
    uint32_t dtype;
    int64_t ndim;
    const int64_t *shape;
    uint32_t skip; /* dimensions that the operand does not have */
} extent;

typedef rl_status (*visit)(rl_operand *operand, const extent *extent, sim_device *device);

static const char *role_text(const extent *e, char *text, size_t room) {
    snprintf(text, room, e->number < 0 ? "%s" : "%s %d", e->role, e->number);
    return text;
}

/* Least and greatest element, counted from the operand's offset. False where there is none; *wraps: beyond 64 bits. */
static bool range(const rl_operand *operand, const extent *e, int64_t *low, int64_t *high, bool *wraps) {
    *low = *high = 0;
    *wraps = false;
    for (int64_t d = 0; d < e->ndim; d++) {
        int64_t span;
        if (e->shape[d] == 0)
            return e->skip >> d & 1u; /* nothing reduced: the output has its element all the same */
        if (e->skip >> d & 1u)
            continue;
        *wraps |= __builtin_mul_overflow(e->shape[d] - 1, operand->stride[d], &span);
        *wraps |= __builtin_add_overflow(*(span < 0 ? low : high), span, span < 0 ? low : high);
    }
    return true;
}

static bool within(const rl_operand *operand, int64_t low, int64_t high, int64_t bytes, uint64_t size) {
    int64_t first, last, offset = (int64_t)operand->offset;
    return operand->offset <= INT64_MAX && !__builtin_mul_overflow(low, bytes, &first) &&
           !__builtin_add_overflow(first, offset, &first) && !__builtin_mul_overflow(high, bytes, &last) &&
           !__builtin_add_overflow(last, offset, &last) && !__builtin_add_overflow(last, bytes, &last) && first >= 0 &&
           (uint64_t)last <= size;
}

/* Puts the buffer in the handle's place. An operand that is empty or refused, or comes
 * after one that was refused, gets none. */
static rl_status acquire_locked(rl_operand *operand, const extent *e, sim_device *device) {
    char role[48];
    int64_t low, high, bytes = (int64_t)rl_interp_dtype_bytes(e->dtype);
    bool wraps;
    rl_backend_buffer *handle = operand->buffer;
    operand->buffer = NULL;
    if (said[0] || !range(operand, e, &low, &high, &wraps))
        return RL_OK;
    role_text(e, role, sizeof role);
    sim_buffer *buffer = sim_handle_find_locked(HANDLE_BUFFER, handle);
    if (!buffer)
        return say(RL_INVALID_ARGUMENT, "%s: %s is in buffer %p, which was freed or never made", e->call, role,
                   (void *)handle);
    if (buffer->device != device)
        return say(RL_DEVICE_MISMATCH, "%s: %s is in a buffer of sim:%u, the stream belongs to sim:%u", e->call, role,
                   (unsigned)buffer->device->number, (unsigned)device->number);
    if (bytes && operand->offset % (uint64_t)bytes)
        return say(RL_INVALID_ARGUMENT, "%s: %s has offset %llu, no multiple of its element's %d bytes", e->call, role,
                   (unsigned long long)operand->offset, (int)bytes);
    if (wraps || !within(operand, low, high, bytes, buffer->bytes))
        return say(RL_INVALID_ARGUMENT,
                   "%s: %s at offset %llu, elements %lld to %lld of %d bytes, is not within its buffer of %llu bytes",
                   e->call, role, (unsigned long long)operand->offset, (long long)low, (long long)high, (int)bytes,
                   (unsigned long long)buffer->bytes);
    buffer->uses++;
    operand->buffer = (rl_backend_buffer *)(void *)buffer;
    return RL_OK;
}

static rl_status release_locked(rl_operand *operand, const extent *e, sim_device *device) {
    (void)e, (void)device;
    if (operand->buffer) {
        sim_buffer *buffer = (sim_buffer *)(void *)operand->buffer;
        buffer->uses--;
        sim_buffer_release_locked(buffer);
    }
    return RL_OK;
}

/* Visits an array of operands, which lies in the task and so may be written to; the first error counts. */
static rl_status visit_all(visit fn, const rl_operand *operands, int count, const uint8_t *dtypes, extent e,
                           sim_device *device) {
    rl_status first = RL_OK;
    for (int k = 0; k < count; k++) {
        e.number = k;
        e.dtype = dtypes[k];
        rl_status status = fn((rl_operand *)&operands[k], &e, device);
        first = first ? first : status;
    }
    return first;
}

static rl_status first_of(rl_status a, rl_status b) {
    return a ? a : b;
}

static rl_status visit_map(visit fn, sim_task *task, sim_device *device) {
    const rl_map_args *args = &task->args.map;
    rl_status status = RL_OK;
    for (uint32_t j = 0; j < args->n_jobs; j++) {
        const rl_map_job *job = &args->jobs[j];
        extent in = {"map", "input", 0, 0, job->ndim, job->shape, 0}, out = in;
        out.role = "output";
        status = first_of(status,
                          visit_all(fn, job->inputs, args->program->n_inputs, args->program->input_dtype, in, device));
        status = first_of(
            status, visit_all(fn, job->outputs, args->program->n_outputs, args->program->output_dtype, out, device));
    }
    return status;
}

static rl_status visit_reduce(visit fn, sim_task *task, sim_device *device) {
    const rl_reduce_args *args = &task->args.reduce;
    extent in = {"reduce", "input", 0, 0, args->ndim, args->shape, 0}, out = in;
    out.role = "output";
    out.skip = args->reduced;
    rl_status status = visit_all(fn, args->inputs, args->prologue->n_inputs, args->prologue->input_dtype, in, device);
    return first_of(status,
                    visit_all(fn, args->outputs, args->epilogue->n_outputs, args->epilogue->output_dtype, out, device));
}

static rl_status visit_matmul(visit fn, sim_task *task, sim_device *device) {
    rl_matmul_args *args = &task->args.matmul;
    const int64_t last[3][2] = {{args->m, args->k}, {args->k, args->n}, {args->m, args->n}};
    static const char *const roles[] = {"a", "b", "c"};
    rl_operand *operands[] = {&args->a, &args->b, &args->c};
    rl_status status = RL_OK;
    for (int k = 0; k < 3; k++) {
        int64_t shape[RL_MAX_DIMS];
        memcpy(shape, args->batch_shape, (size_t)args->batch_ndim * sizeof *shape);
        memcpy(shape + args->batch_ndim, last[k], sizeof last[k]);
        extent e = {"matmul", roles[k], -1, args->dtype, args->batch_ndim + 2, shape, 0};
        status = first_of(status, fn(operands[k], &e, device));
    }
    return status;
}

/* `side` is the operand with dim_size elements along dim: in of gather, out of scatter. */
static rl_status visit_indexed(visit fn, extent e, const int64_t *shape, int32_t dim, int64_t dim_size,
                               uint32_t index_dtype, rl_operand *in, rl_operand *index, rl_operand *out,
                               const rl_operand *side, sim_device *device) {
    int64_t side_shape[RL_MAX_DIMS];
    memcpy(side_shape, shape, sizeof side_shape);
    side_shape[dim] = dim_size;
    e.shape = side == in ? side_shape : shape;
    e.role = "in";
    rl_status status = fn(in, &e, device);
    e.shape = side == out ? side_shape : shape;
    e.role = "out";
    status = first_of(status, fn(out, &e, device));
    e.shape = shape;
    e.role = "index";
    e.dtype = index_dtype;
    return first_of(status, fn(index, &e, device));
}

static rl_status visit_along(visit fn, extent e, rl_operand *in, rl_operand *out, rl_operand *indices,
                             sim_device *device) {
    e.role = "in";
    rl_status status = fn(in, &e, device);
    e.role = "out";
    status = first_of(status, fn(out, &e, device));
    e.role = "indices";
    e.dtype = RL_I64;
    return indices ? first_of(status, fn(indices, &e, device)) : status;
}

static rl_status visit_copy(visit fn, sim_task *task, sim_device *device) {
    copy_args *args = &task->args.copy;
    extent e = {"copy", "source", -1, RL_U8, 1, &args->bytes, 0};
    rl_status status = task->kind == TASK_COPY_IN ? RL_OK : fn(&args->from, &e, device);
    e.role = "target";
    return task->kind == TASK_COPY_OUT ? status : first_of(status, fn(&args->to, &e, device));
}

static rl_status visit_operands(visit fn, sim_task *task, sim_device *device) {
    switch (task->kind) {
    case TASK_WAIT:
        return RL_OK;
    case TASK_COPY_IN:
    case TASK_COPY_OUT:
    case TASK_COPY:
        return visit_copy(fn, task, device);
    case TASK_MAP:
        return visit_map(fn, task, device);
    case TASK_REDUCE:
        return visit_reduce(fn, task, device);
    case TASK_MATMUL:
        return visit_matmul(fn, task, device);
    case TASK_GATHER: {
        rl_gather_args *g = &task->args.gather;
        extent e = {"gather", "", -1, g->dtype, g->ndim, NULL, 0};
        return visit_indexed(fn, e, g->shape, g->dim, g->dim_size, g->index_dtype, &g->in, &g->index, &g->out, &g->in,
                             device);
    }
    case TASK_SCATTER: {
        rl_scatter_args *s = &task->args.scatter;
        extent e = {"scatter", "", -1, s->dtype, s->ndim, NULL, 0};
        return visit_indexed(fn, e, s->shape, s->dim, s->dim_size, s->index_dtype, &s->in, &s->index, &s->out, &s->out,
                             device);
    }
    case TASK_SCAN: {
        rl_scan_args *s = &task->args.scan;
        extent e = {"scan", "", -1, s->dtype, s->ndim, s->shape, 0};
        return visit_along(fn, e, &s->in, &s->out, s->has_indices ? &s->indices : NULL, device);
    }
    case TASK_SORT: {
        rl_sort_args *s = &task->args.sort;
        extent e = {"sort", "", -1, s->dtype, s->ndim, s->shape, 0};
        return visit_along(fn, e, &s->in, &s->values, &s->indices, device);
    }
    }
    return RL_OK;
}

/* Running ------------------------------------------------------------------------------------------------------------
 */

static unsigned char *address(const rl_operand *operand) {
    return ((sim_buffer *)(void *)operand->buffer)->memory.data + operand->offset;
}

static void run_copy(const sim_task *task) {
    const copy_args *args = &task->args.copy;
    if (args->bytes == 0)
        return;
    const void *from = task->kind == TASK_COPY_IN ? args->source : address(&args->from);
    memmove(task->kind == TASK_COPY_OUT ? args->target : address(&args->to), from, (size_t)args->bytes);
}

static rl_status run(const sim_task *task) {
    switch (task->kind) {
    case TASK_MAP:
        return rl_kernel_map(&kernel_host, &task->args.map);
    case TASK_REDUCE:
        return rl_kernel_reduce(&kernel_host, &task->args.reduce);
    case TASK_MATMUL:
        return rl_kernel_matmul(&kernel_host, &task->args.matmul);
    case TASK_GATHER:
        return rl_kernel_gather(&kernel_host, &task->args.gather);
    case TASK_SCATTER:
        return rl_kernel_scatter(&kernel_host, &task->args.scatter);
    case TASK_SCAN:
        return rl_kernel_scan(&kernel_host, &task->args.scan);
    case TASK_SORT:
        return rl_kernel_sort(&kernel_host, &task->args.sort);
    default:
        run_copy(task);
        return RL_OK;
    }
}

rl_status sim_task_run(sim_device *device, sim_task *task, char *out_sentence) {
    working = device;
    said = out_sentence;
    pthread_mutex_lock(&sim.lock);
    rl_status status = visit_operands(acquire_locked, task, device);
    pthread_mutex_unlock(&sim.lock);
    if (!status)
        status = run(task);
    pthread_mutex_lock(&sim.lock);
    visit_operands(release_locked, task, device);
    pthread_mutex_unlock(&sim.lock);
    return status;
}
