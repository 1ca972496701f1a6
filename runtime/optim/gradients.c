/* SPDX-License-Identifier: Apache-2.0 */
#include "optim/gradients.h"

#include "ops/call.h"
#include "optim/rules.h"
#include "rushlight/autograd.h"
#include "rushlight/ops.h"

enum { TASKS = 64 }; /* jobs of one map call at most */

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

/* All gradients from `first` on that are like it, TASKS at a time. */
static rl_status change_alike(const gradient_work *work, rl_tensor *const *gradients, int64_t first, int64_t count) {
    rl_tensor *inputs[TASKS][2], *outputs[TASKS][1], *like = gradients[first], *factor = work->factor;
    rl_map_task tasks[TASKS];
    int64_t n = 0;
    if (factor)
        factor = rl_to(factor, .device = like->storage->device);
    const rl_program *program = work->program((rl_dtype)like->dtype, factor ? (rl_dtype)factor->dtype : RL_F32);
    if (!program || rl_failed())
        return rl_error_status();
    for (int64_t i = first; i < count; i++) {
        if (alike(gradients[i], like)) {
            inputs[n][0] = outputs[n][0] = gradients[i];
            inputs[n][1] = factor;
            tasks[n] = (rl_map_task){inputs[n], outputs[n], work->scalars};
            n++;
            rl_tensor_changed(gradients[i], work->name);
        }
        if (n == TASKS || (n > 0 && i == count - 1)) {
            if (rl_row_map_many(work->name, program, tasks, n))
                return rl_error_status();
            n = 0;
        }
    }
    return RL_OK;
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
    for (int64_t i = 0; i < count; i++) {
        bool done = false;
        for (int64_t k = 0; k < i && !done; k++)
            done = alike(gradients[k], gradients[i]);
        if (!done && change_alike(work, gradients, i, count))
            return rl_error_status();
    }
    return rl_error_status();
}
