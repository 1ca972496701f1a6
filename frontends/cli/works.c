/* SPDX-License-Identifier: Apache-2.0 */
/* The table of works, and what several of them do. */
#include <fnmatch.h>
#include <string.h>

#include "works.h"

#define ROW(name, kind, rounds, flops, bytes, what)                                                                    \
    {#name, what, WORK_##kind, rounds, flops, bytes, prepare_##name, run_##name},
const work works[WORKS_COUNT] = {WORK_LIST(ROW)};
#undef ROW

const work *work_named(const char *name) {
    for (int i = 0; i < WORKS_COUNT; i++)
        if (!strcmp(works[i].name, name))
            return &works[i];
    return NULL;
}

bool work_matches(const work *self, const char *pattern) {
    if (!strcmp(pattern, "ops") || !strcmp(pattern, "models"))
        return self->kind == (*pattern == 'o' ? WORK_OP : WORK_MODEL);
    if (strpbrk(pattern, "*?["))
        return fnmatch(pattern, self->name, 0) == 0;
    /* A whole name means that work alone: "softmax_4m", but "softmax" means all of its kind. */
    return work_named(pattern) ? !strcmp(self->name, pattern) : strstr(self->name, pattern) != NULL;
}

void work_state_deinit(work_state *self) {
    rl_release(self->optimizer);
    rl_release(self->net);
    rl_release(self->d);
    rl_release(self->c);
    rl_release(self->b);
    rl_release(self->a);
    memset(self, 0, sizeof *self);
}

rl_tensor *work_normal(rl_ints shape) {
    return rl_retain(rl_randn(shape));
}

rl_tensor *work_train(work_state *self, rl_tensor *loss) {
    rl_backward(loss);
    rl_optimizer_step(self->optimizer);
    return loss;
}

rl_tensor *work_chain(const work_state *self, rl_tensor *(*step)(const work_state *self, rl_tensor *x)) {
    rl_tensor *y = rl_retain(self->a), *next;
    for (int i = 1; i < WORK_CHAIN; i++) {
        RL_SCOPE(); /* each result goes when the next is there, as "x = step(x)" has it */
        next = rl_retain(step(self, y));
        rl_release(y);
        y = next;
    }
    next = step(self, y);
    rl_release(y);
    return next;
}
