/* SPDX-License-Identifier: Apache-2.0 */
/* An optimizer's state in a file: tensors "NUMBER.NAME" for each parameter, step counts and learning rate as metadata.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "io/state.h"
#include "optim/optimizer.h"
#include "tensor/tensor.h"

enum { NAME_ROOM = 48, FIXED_LINES = 2 };
#define MOST_STEPS (INT64_C(1) << 53) /* what a double counts to */

/* The names and tensors of the slots that have a state, and the metadata. */
typedef struct state {
    int64_t count, n_lines;
    const char **names;
    rl_tensor **tensors;
    rl_metadata *lines;
    char *room; /* for names, keys and values */
    size_t used;
} state;

static void state_free(state *self) {
    rl_free((void *)self->names);
    rl_free(self->tensors);
    rl_free(self->lines);
    rl_free(self->room);
}

static rl_status state_reserve(state *self, int64_t n_slots) {
    size_t slots = (size_t)n_slots;
    *self = (state){0};
    self->names = rl_alloc_zero(slots * RULE_STATES + 1, sizeof *self->names, "state of an optimizer");
    self->tensors = rl_alloc_zero(slots * RULE_STATES + 1, sizeof *self->tensors, "state of an optimizer");
    self->lines = rl_alloc_zero(slots + FIXED_LINES, sizeof *self->lines, "state of an optimizer");
    self->room = rl_alloc_zero(slots * (RULE_STATES + 2) + 1, NAME_ROOM, "state of an optimizer");
    return rl_error_status();
}

static char *text_room(state *self) {
    char *text = self->room + self->used;
    self->used += NAME_ROOM;
    return text;
}

static void add_tensors(state *self, const rl_optimizer *optimizer, int64_t number) {
    const slot *from = &optimizer->slots[number];
    int n = optimizer->rule->n_states(&optimizer->options);
    for (int s = 0; s < n; s++) {
        char *name = text_room(self);
        snprintf(name, NAME_ROOM, "%lld.%s", (long long)number, optimizer->rule->state_names[s]);
        self->names[self->count] = name;
        self->tensors[self->count++] = from->states[s];
    }
}

static void step_key(char *key, int64_t number) {
    snprintf(key, NAME_ROOM, "%lld.step", (long long)number);
}

static rl_status check_self(const rl_optimizer *self, const char *function) {
    if (rl_failed())
        return rl_error_status();
    return self ? RL_OK : rl_fail(RL_INVALID_ARGUMENT, "%s: self is NULL", function);
}

rl_status rl_optimizer_save(rl_optimizer *self, const char *path) {
    RL_C_LOCALE();
    state all;
    char lr[NAME_ROOM];
    if (check_self(self, "optimizer_save") != RL_OK)
        return rl_error_status();
    if (state_reserve(&all, self->count) == RL_OK) {
        snprintf(lr, sizeof lr, "%.17g", self->options.lr);
        all.lines[all.n_lines++] = (rl_metadata){"optimizer", self->rule->name};
        all.lines[all.n_lines++] = (rl_metadata){"lr", lr};
        for (int64_t i = 0; i < self->count; i++) {
            char *key, *value;
            if (self->slots[i].steps == 0)
                continue;
            step_key(key = text_room(&all), i);
            snprintf(value = text_room(&all), NAME_ROOM, "%lld", (long long)self->slots[i].steps);
            all.lines[all.n_lines++] = (rl_metadata){key, value};
            add_tensors(&all, self, i);
        }
        rl_safetensors_save(path, all.names, (rl_tensors){all.tensors, all.count}, all.lines, all.n_lines);
    }
    state_free(&all);
    return rl_error_status();
}

/* Step counts of the file; 0 for parameters that it does not name. */
static rl_status read_steps(const rl_optimizer *self, const rl_safetensors *file, int64_t *out_steps) {
    for (int64_t i = 0; i < self->count; i++) {
        char key[NAME_ROOM], *end;
        step_key(key, i);
        const char *text = rl_safetensors_metadata_value(file, key);
        out_steps[i] = text ? strtoll(text, &end, 10) : 0;
        if (text && (*text < '0' || *text > '9' || out_steps[i] < 1 || out_steps[i] > MOST_STEPS || *end))
            return rl_fail(RL_BAD_FORMAT, "optimizer_load: '%s' must be a count of steps, got '%.32s'", key, text);
    }
    return RL_OK;
}

static rl_status read_head(const rl_optimizer *self, const rl_safetensors *file, double *out_lr) {
    const char *kind = rl_safetensors_metadata_value(file, "optimizer");
    const char *lr = rl_safetensors_metadata_value(file, "lr");
    char *end = NULL;
    if (kind == NULL || strcmp(kind, self->rule->name) != 0)
        return rl_fail(RL_BAD_FORMAT, "optimizer_load: the file must hold the state of %s, it holds that of %.32s",
                       self->rule->name, kind ? kind : "no optimizer");
    *out_lr = lr ? strtod(lr, &end) : NAN;
    if (end == NULL || *end || !(*out_lr >= 0.0) || isinf(*out_lr))
        return rl_fail(RL_BAD_FORMAT, "optimizer_load: lr must be a number, 0 or more, got '%.32s'", lr ? lr : "");
    return RL_OK;
}

rl_status rl_optimizer_load(rl_optimizer *self, const char *path) {
    RL_C_LOCALE();
    state all;
    double lr = 0.0;
    RL_SCOPE();
    if (check_self(self, "optimizer_load") != RL_OK)
        return rl_error_status();
    rl_safetensors *file = rl_safetensors_open(path);
    int64_t *steps = rl_alloc_zero((size_t)self->count + 1, sizeof *steps, "state of an optimizer");
    if (state_reserve(&all, self->count) == RL_OK && read_head(self, file, &lr) == RL_OK &&
        read_steps(self, file, steps) == RL_OK) {
        for (int64_t i = 0; i < self->count && !rl_failed(); i++) {
            if (steps[i] > 0 && optimizer_make_states(self, &self->slots[i]) == RL_OK)
                add_tensors(&all, self, i);
        }
        if (rl_state_load("optimizer_load", file, all.names, all.tensors, all.count) == RL_OK) {
            for (int64_t i = 0; i < self->count; i++) {
                self->slots[i].steps = steps[i];
                if (steps[i] == 0)
                    optimizer_drop_states(&self->slots[i]); /* the file has none: as before the first step */
            }
            self->options.lr = lr;
        }
    }
    state_free(&all);
    rl_free(steps);
    return rl_error_status();
}
