/* SPDX-License-Identifier: Apache-2.0 */
/* The row `map`: pointwise programs over tensors. A call of one job allocates nothing. */
#include "dispatch/program_table.h"
#include "dispatch/rows.h"

/* What becomes of one task; `operands` has room for inputs and outputs, `numbers` for the scalars. */
typedef struct job_room {
    rl_operand *operands;
    rl_number *numbers;
} job_room;

/*
 * Fills the operands as one run of elements, inputs of one element repeated, and says whether the task is so simple:
 * everything row-major, of the outputs' size, and apart or exactly the same where storages are shared.
 */
static bool fill_flat(const rl_program *program, const rl_map_task *task, int64_t numel, rl_operand *operand) {
    if (program->flags & RL_PROGRAM_INDEX)
        return false;
    for (int k = 0; k < program->n_inputs; k++, operand++) {
        const rl_tensor *in = task->inputs[k];
        bool whole = in->numel == numel;
        if (!in->contiguous || (!whole && in->numel != 1))
            return false;
        for (int j = 0; j < program->n_outputs; j++) {
            const rl_tensor *out = task->outputs[j];
            if (in->storage == out->storage && (!whole || in->offset != out->offset || in->dtype != out->dtype))
                return false;
        }
        rl_operand_base(in, operand);
        operand->stride[0] = whole;
    }
    for (int j = 0; j < program->n_outputs; j++, operand++) {
        if (!task->outputs[j]->contiguous)
            return false;
        rl_operand_base(task->outputs[j], operand);
        operand->stride[0] = 1;
    }
    return true;
}

static rl_status fill_general(const char *op, const rl_program *program, const rl_map_task *task, rl_map_job *job,
                              rl_operand *operands, rl_temps *temps) {
    int n_inputs = program->n_inputs, n_outputs = program->n_outputs;
    const rl_tensor *first = task->outputs[0];
    rl_layout layout = {.ndim = first->ndim, .reorder = !(program->flags & RL_PROGRAM_RANDOM)};
    memcpy(layout.shape, first->shape, (size_t)first->ndim * sizeof *layout.shape);
    for (int k = 0; k < n_inputs; k++) {
        rl_tensor *in = task->inputs[k];
        for (int j = 0; j < n_outputs; j++) {
            rl_status status = rl_temps_separate(temps, op, &in, task->outputs[j], in->numel == first->numel);
            if (status != RL_OK)
                return status;
        }
        rl_operand_broadcast(in, layout.ndim, layout.shape, &operands[k]);
    }
    for (int j = 0; j < n_outputs; j++)
        rl_operand_broadcast(task->outputs[j], layout.ndim, layout.shape, &operands[n_inputs + j]);
    /* INDEX counts along the dimensions as they are. */
    if (!(program->flags & RL_PROGRAM_INDEX))
        rl_layout_simplify(&layout, operands, n_inputs + n_outputs, n_inputs);
    job->ndim = layout.ndim;
    memcpy(job->shape, layout.shape, (size_t)layout.ndim * sizeof *layout.shape);
    return RL_OK;
}

static void check_task(const rl_program *program, const rl_map_task *task) {
    (void)program;
    (void)task;
#ifndef NDEBUG
    const rl_tensor *first = task->outputs[0];
    for (int k = 0; k < program->n_inputs; k++) {
        assert(task->inputs[k]->dtype == program->input_dtype[k]);
        assert(task->inputs[k]->storage->device == first->storage->device);
        assert(task->inputs[k]->ndim <= first->ndim);
    }
    for (int j = 0; j < program->n_outputs; j++) {
        assert(task->outputs[j]->dtype == program->output_dtype[j]);
        assert(task->outputs[j]->storage->device == first->storage->device);
        assert(task->outputs[j]->ndim == first->ndim && task->outputs[j]->numel == first->numel);
    }
#endif
}

/* `program` is the caller's, `taken` what the backend gets. */
static inline rl_status fill_job(const char *op, const rl_program *program, const rl_program *taken,
                                 const rl_map_task *task, rl_map_job *job, job_room room, rl_temps *temps) {
    check_task(program, task);
    int64_t numel = task->outputs[0]->numel;
    job->inputs = room.operands;
    job->outputs = room.operands + program->n_inputs;
    job->scalars = task->scalars;
    if (rl_program_entry_of(taken)->constants != 0) {
        rl_program_scalars(taken, task->scalars, room.numbers);
        job->scalars = room.numbers;
    }
    if (fill_flat(taken, task, numel, room.operands)) {
        job->ndim = 1;
        job->shape[0] = numel;
        return RL_OK;
    }
    return fill_general(op, taken, task, job, room.operands, temps);
}

static inline rl_status run_jobs(const char *op, rl_device *device, const rl_program *taken, const rl_map_job *jobs,
                                 int64_t count) {
    rl_map_args args = {.size = sizeof args, .n_jobs = (uint32_t)count, .program = taken, .jobs = jobs};
    rl_backend_stream *stream = rl_device_stream_enter(device);
    return rl_row_leave(device, stream, op, device->api.map(stream, &args));
}

rl_status rl_row_map(const char *op, const rl_program *program, rl_tensor *const *inputs, rl_tensor *const *outputs,
                     const rl_number *scalars) {
    if (outputs[0]->numel == 0)
        return RL_OK;
    rl_device *device = outputs[0]->storage->device;
    const rl_program *taken = rl_program_for_mask(program, device->api.insn_mask);
    if (taken == NULL)
        return rl_error_status();
    rl_map_task task = {.inputs = inputs, .outputs = outputs, .scalars = scalars};
    rl_operand operands[RL_MAX_INPUTS + RL_MAX_OUTPUTS];
    rl_number numbers[RL_MAX_SCALARS];
    rl_map_job job;
    rl_temps temps;
    temps.count = 0;
    rl_status status = fill_job(op, program, taken, &task, &job, (job_room){operands, numbers}, &temps);
    if (status == RL_OK) {
        rl_row_uses(device, op, inputs, program->n_inputs);
        rl_row_uses(device, op, outputs, program->n_outputs);
        status = run_jobs(op, device, taken, &job, 1);
    }
    rl_temps_release(&temps);
    return status;
}

/* Several jobs ---------------------------------------------------------------------------------------------------- */

/* Room for all jobs of a call in one block: jobs, their operands, their scalars, and copies of their inputs. */
typedef struct many_room {
    rl_map_job *jobs;
    rl_operand *operands;
    rl_number *numbers;
    rl_tensor **copies;
    int64_t n_copies;
} many_room;

static bool make_room(const rl_program *taken, int64_t count, many_room *out) {
    size_t n = (size_t)count, n_operands = n * ((size_t)taken->n_inputs + taken->n_outputs);
    size_t bytes = n * sizeof *out->jobs + n_operands * sizeof *out->operands +
                   n * taken->n_scalars * sizeof *out->numbers + n * taken->n_inputs * sizeof *out->copies;
    out->jobs = rl_alloc(bytes, "the jobs of a map");
    if (out->jobs == NULL)
        return false;
    out->operands = (rl_operand *)(out->jobs + n);
    out->numbers = (rl_number *)(out->operands + n_operands);
    out->copies = (rl_tensor **)(out->numbers + n * taken->n_scalars);
    out->n_copies = 0;
    return true;
}

static rl_status run_many(const char *op, const rl_program *program, const rl_program *taken, const rl_map_task *tasks,
                          int64_t count, many_room *room) {
    rl_device *device = tasks[0].outputs[0]->storage->device;
    int64_t n_jobs = 0;
    for (int64_t i = 0; i < count; i++) {
        const rl_map_task *task = &tasks[i];
        if (task->outputs[0]->numel == 0)
            continue;
        job_room place = {room->operands + n_jobs * (taken->n_inputs + taken->n_outputs),
                          room->numbers + n_jobs * taken->n_scalars};
        rl_temps temps;
        temps.count = 0;
        rl_status status = fill_job(op, program, taken, task, &room->jobs[n_jobs++], place, &temps);
        for (int k = 0; k < temps.count; k++)
            room->copies[room->n_copies++] = temps.tensors[k];
        if (status != RL_OK)
            return status;
        rl_row_uses(device, op, task->inputs, taken->n_inputs);
        rl_row_uses(device, op, task->outputs, taken->n_outputs);
    }
    return n_jobs > 0 ? run_jobs(op, device, taken, room->jobs, n_jobs) : RL_OK;
}

rl_status rl_row_map_many(const char *op, const rl_program *program, const rl_map_task *tasks, int64_t count) {
    if (count == 0)
        return RL_OK;
    const rl_program *taken = rl_program_for_mask(program, tasks[0].outputs[0]->storage->device->api.insn_mask);
    many_room room;
    if (taken == NULL || !make_room(taken, count, &room))
        return rl_error_status();
    rl_status status = run_many(op, program, taken, tasks, count, &room);
    while (room.n_copies > 0)
        rl_release(room.copies[--room.n_copies]);
    rl_free(room.jobs);
    return status;
}
