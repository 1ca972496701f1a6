/* SPDX-License-Identifier: Apache-2.0 */
/* The row `reduce`. */
#include "dispatch/rows.h"

/* What the epilogue gets for the k-th combined value. */
static rl_dtype combined_dtype(const rl_reduce_task *task, int k) {
    bool is_index = task->combiner[k] == RL_COMBINE_ARGMAX || task->combiner[k] == RL_COMBINE_ARGMIN;
    return is_index ? RL_I64 : (rl_dtype)task->prologue->output_dtype[k];
}

/* The combined values as they are, stored as the outputs' dtypes. */
static const rl_program *plain_epilogue(const rl_reduce_task *task) {
    int count = task->prologue->n_outputs;
    if (count == 1)
        return rl_program_cast(combined_dtype(task, 0), (rl_dtype)task->outputs[0]->dtype);
    rl_builder b;
    rl_builder_init(&b);
    for (int k = 0; k < count; k++)
        rl_build_output(&b, rl_build_input(&b, combined_dtype(task, k)), (rl_dtype)task->outputs[k]->dtype);
    return rl_builder_finish(&b);
}

/* The output's strides among all dimensions; it has the reduced ones as 1 or not at all. */
static void fill_output(const rl_reduce_task *task, const rl_tensor *out, rl_operand *operand) {
    bool absent = out->ndim != task->ndim;
    int64_t at = 0;
    rl_operand_base(out, operand);
    for (int64_t d = 0; d < task->ndim; d++) {
        bool reduced = task->reduced >> d & 1;
        operand->stride[d] = reduced ? 0 : out->stride[absent ? at : d];
        at += !reduced;
    }
}

/* Whether the order of the reduced dimensions counts; with random numbers or INDEX none may move at all. */
static bool is_ordered(const rl_reduce_task *task) {
    for (int k = 0; k < task->prologue->n_outputs; k++)
        if (task->combiner[k] == RL_COMBINE_ARGMAX || task->combiner[k] == RL_COMBINE_ARGMIN)
            return true;
    return false;
}

static rl_status fill_args(const char *op, const rl_reduce_task *task, rl_reduce_args *args, rl_operand *operands,
                           rl_temps *temps) {
    int n_inputs = args->prologue->n_inputs, n_outputs = args->epilogue->n_outputs;
    rl_layout layout = {.ndim = task->ndim, .marked = task->reduced, .marked_ordered = is_ordered(task)};
    memcpy(layout.shape, task->shape, (size_t)task->ndim * sizeof *layout.shape);
    for (int k = 0; k < n_inputs; k++) {
        rl_tensor *in = task->inputs[k];
        assert(in->dtype == args->prologue->input_dtype[k] && in->ndim <= task->ndim);
        for (int j = 0; j < n_outputs; j++) {
            rl_status status = rl_temps_separate(temps, op, &in, task->outputs[j], false);
            if (status != RL_OK)
                return status;
        }
        rl_operand_broadcast(in, layout.ndim, layout.shape, &operands[k]);
    }
    for (int j = 0; j < n_outputs; j++) {
        assert(task->outputs[j]->dtype == args->epilogue->output_dtype[j]);
        fill_output(task, task->outputs[j], &operands[n_inputs + j]);
    }
    if (!(args->prologue->flags & RL_PROGRAM_INDEX)) {
        layout.reorder = !(args->prologue->flags & RL_PROGRAM_RANDOM);
        rl_layout_simplify(&layout, operands, n_inputs + n_outputs, 0);
    }
    args->inputs = operands;
    args->outputs = operands + n_inputs;
    args->ndim = layout.ndim;
    args->reduced = layout.marked;
    memcpy(args->shape, layout.shape, (size_t)layout.ndim * sizeof *layout.shape);
    return RL_OK;
}

rl_status rl_row_reduce(const char *op, const rl_reduce_task *task) {
    if (task->outputs[0]->numel == 0)
        return RL_OK;
    rl_device *device = task->outputs[0]->storage->device;
    const rl_program *epilogue = task->epilogue ? task->epilogue : plain_epilogue(task);
    const rl_program *prologue = rl_program_for_mask(task->prologue, device->api.insn_mask);
    epilogue = epilogue ? rl_program_for_mask(epilogue, device->api.insn_mask) : NULL;
    if (prologue == NULL || epilogue == NULL)
        return rl_error_status();
    assert(prologue->n_outputs == epilogue->n_inputs && prologue->n_outputs <= RL_MAX_COMBINED);
    assert(!(epilogue->flags & (RL_PROGRAM_INDEX | RL_PROGRAM_RANDOM)));
    rl_operand operands[RL_MAX_INPUTS + RL_MAX_OUTPUTS];
    rl_number scalars[RL_MAX_SCALARS], epilogue_scalars[RL_MAX_SCALARS];
    rl_temps temps;
    temps.count = 0;
    rl_reduce_args args = {.size = sizeof args,
                           .prologue = prologue,
                           .epilogue = epilogue,
                           .scalars = scalars,
                           .epilogue_scalars = epilogue_scalars};
    memcpy(args.combiner, task->combiner, sizeof args.combiner);
    rl_program_scalars(prologue, task->scalars, scalars);
    rl_program_scalars(epilogue, task->epilogue_scalars, epilogue_scalars);
    rl_status status = fill_args(op, task, &args, operands, &temps);
    if (status == RL_OK) {
        rl_row_uses(device, op, task->inputs, prologue->n_inputs);
        rl_row_uses(device, op, task->outputs, epilogue->n_outputs);
        rl_backend_stream *stream = rl_device_stream_enter(device);
        status = rl_row_leave(device, stream, op, device->api.reduce(stream, &args));
    }
    rl_temps_release(&temps);
    return status;
}
