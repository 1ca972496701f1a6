/* SPDX-License-Identifier: Apache-2.0 */
#include "optim/gradients.h"

#include "base/memory.h"
#include "ops/call.h"
#include "optim/rules.h"
#include "rushlight/autograd.h"
#include "rushlight/ops.h"

const rl_program *gradients_times_factor(rl_dtype grad_dtype, rl_dtype factor_dtype) {
    rl_builder builder, *b = &builder;
    rl_dtype c = compute_dtype(grad_dtype);
    rl_builder_init(b);
    rl_pw g = input(b, grad_dtype, c), factor = input(b, factor_dtype, c);
    rl_build_output(b, OP2(MUL, g, factor), grad_dtype);
    return rl_builder_finish(b);
}

static bool alike(const rl_tensor *a, const rl_tensor *b) {
    return a->dtype == b->dtype && a->storage->device == b->storage->device;
}

typedef struct gradient_job { /* what a gradient's job of a map call points to */
    rl_tensor *inputs[2], *outputs[1];
} gradient_job;

typedef struct gradient_room { /* for as many as there are gradients */
    gradient_job *jobs;
    rl_map_task *tasks;
} gradient_room;

/* All gradients from `first` on that are like it, in one map call. */
static rl_status change_alike(const gradient_work *work, rl_tensor *const *gradients, int64_t first, int64_t count,
                              const gradient_room *room) {
    rl_tensor *like = gradients[first], *factor = work->factor;
    int64_t n = 0;
    if (factor)
        factor = rl_to(factor, .device = like->storage->device);
    const rl_program *program = work->program((rl_dtype)like->dtype, factor ? (rl_dtype)factor->dtype : RL_F32);
    if (!program || rl_failed())
        return rl_error_status();
    for (int64_t i = first; i < count; i++) {
        if (!alike(gradients[i], like))
            continue;
        room->jobs[n] = (gradient_job){{gradients[i], factor}, {gradients[i]}};
        room->tasks[n] = (rl_map_task){room->jobs[n].inputs, room->jobs[n].outputs, work->scalars};
        n++;
        rl_tensor_changed(gradients[i], work->name);
    }
    return rl_row_map_many(work->name, program, room->tasks, n);
}

static rl_status change_all(const gradient_work *work, rl_tensor *const *gradients, int64_t count,
                            const gradient_room *room) {
    for (int64_t i = 0; i < count; i++) {
        bool done = false;
        for (int64_t k = 0; k < i && !done; k++)
            done = alike(gradients[k], gradients[i]);
        if (!done && change_alike(work, gradients, i, count, room))
            return rl_error_status();
    }
    return rl_error_status();
}

rl_status gradients_change(const gradient_work *work, rl_tensor *const *gradients, int64_t count) {
    RL_SCOPE();
    RL_NO_GRAD();
    for (int64_t i = 0; i < count; i++)
        if (rl_overlaps_itself(gradients[i]))
            return rl_fail(RL_INVALID_ARGUMENT,
                           "%s: several elements of gradient %lld are one place in memory (an expanded tensor?): clone "
                           "it first",
                           work->name, (long long)i);
    gradient_room room = {rl_alloc_zero((size_t)count + 1, sizeof *room.jobs, work->name),
                          rl_alloc_zero((size_t)count + 1, sizeof *room.tasks, work->name)};
    rl_status status = rl_failed() ? rl_error_status() : change_all(work, gradients, count, &room);
    rl_free(room.jobs);
    rl_free(room.tasks);
    return status;
}
