/* SPDX-License-Identifier: Apache-2.0 */
/* The primitives: arguments are borrowed until the call returns, and the work is later, so all is copied. */
#include <stdlib.h>
#include <string.h>

#include "sim.h"

sim_task *sim_task_new(task_kind kind, size_t extra) {
    sim_task *task = extra > SIZE_MAX / 2 ? NULL : calloc(1, sizeof *task + extra);
    if (!task) {
        sim.host->fail(RL_OUT_OF_MEMORY, "no host memory for a task of %llu bytes", (unsigned long long)extra);
        return NULL;
    }
    task->kind = kind;
    return task;
}

/* A host that is older than the backend gives shorter args: the rest is zero, as the task is. */
static void take_args(void *to, size_t known, const void *from, uint32_t given) {
    memcpy(to, from, given < known ? given : known);
}

/* Copies `count` things to *room and steps over them. */
static void *take(char **room, const void *from, size_t count, size_t bytes) {
    char *to = *room;
    if (count)
        memcpy(to, from, count * bytes);
    *room = to + count * bytes;
    return to;
}

rl_status sim_map(rl_backend_stream *stream, const rl_map_args *args) {
    const rl_program *program = args->program;
    size_t in = program->n_inputs, out = program->n_outputs, scalars = program->n_scalars;
    size_t one = sizeof(rl_map_job) + (in + out) * sizeof(rl_operand) + scalars * sizeof(rl_number);
    sim_task *task = sim_task_new(TASK_MAP, args->n_jobs * one);
    if (task) {
        char *room = (char *)(task + 1);
        take_args(&task->args.map, sizeof task->args.map, args, args->size);
        rl_map_job *jobs = take(&room, args->jobs, args->n_jobs, sizeof *jobs);
        task->args.map.jobs = jobs;
        for (uint32_t j = 0; j < args->n_jobs; j++) {
            jobs[j].inputs = take(&room, args->jobs[j].inputs, in, sizeof(rl_operand));
            jobs[j].outputs = take(&room, args->jobs[j].outputs, out, sizeof(rl_operand));
            jobs[j].scalars = take(&room, args->jobs[j].scalars, scalars, sizeof(rl_number));
        }
    }
    return sim_submit(stream, FAIL_LAUNCH, "map", task);
}

rl_status sim_reduce(rl_backend_stream *stream, const rl_reduce_args *args) {
    size_t in = args->prologue->n_inputs, out = args->epilogue->n_outputs;
    size_t scalars = args->prologue->n_scalars, more = args->epilogue->n_scalars;
    sim_task *task = sim_task_new(TASK_REDUCE, (in + out) * sizeof(rl_operand) + (scalars + more) * sizeof(rl_number));
    if (task) {
        char *room = (char *)(task + 1);
        take_args(&task->args.reduce, sizeof task->args.reduce, args, args->size);
        task->args.reduce.inputs = take(&room, args->inputs, in, sizeof(rl_operand));
        task->args.reduce.outputs = take(&room, args->outputs, out, sizeof(rl_operand));
        task->args.reduce.scalars = take(&room, args->scalars, scalars, sizeof(rl_number));
        task->args.reduce.epilogue_scalars = take(&room, args->epilogue_scalars, more, sizeof(rl_number));
    }
    return sim_submit(stream, FAIL_LAUNCH, "reduce", task);
}

/* The rest hold all they have in themselves. */
static rl_status launch(rl_backend_stream *stream, task_kind kind, const char *call, size_t known, const void *args,
                        uint32_t given) {
    sim_task *task = sim_task_new(kind, 0);
    if (task)
        take_args(&task->args, known, args, given);
    return sim_submit(stream, FAIL_LAUNCH, call, task);
}

rl_status sim_matmul(rl_backend_stream *stream, const rl_matmul_args *args) {
    return launch(stream, TASK_MATMUL, "matmul", sizeof *args, args, args->size);
}
rl_status sim_gather(rl_backend_stream *stream, const rl_gather_args *args) {
    return launch(stream, TASK_GATHER, "gather", sizeof *args, args, args->size);
}
rl_status sim_scatter(rl_backend_stream *stream, const rl_scatter_args *args) {
    return launch(stream, TASK_SCATTER, "scatter", sizeof *args, args, args->size);
}
rl_status sim_scan(rl_backend_stream *stream, const rl_scan_args *args) {
    return launch(stream, TASK_SCAN, "scan", sizeof *args, args, args->size);
}
rl_status sim_sort(rl_backend_stream *stream, const rl_sort_args *args) {
    return launch(stream, TASK_SORT, "sort", sizeof *args, args, args->size);
}
