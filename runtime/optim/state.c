/* SPDX-License-Identifier: Apache-2.0 */
/* An optimizer's state in a file: tensors "NUMBER.NAME" for each parameter; as metadata step counts "NUMBER.step" and
 * the numbers of the groups, "lr" of group 0, "lr.1" of group 1 and so on. */
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

enum { NAME_ROOM = 48, FIXED_LINES = 1, SLOT_LINES = 2, GROUP_LINES = 4 };
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

static rl_status state_reserve(state *self, const rl_optimizer *optimizer) {
    size_t slots = (size_t)optimizer->count, groups = (size_t)optimizer->n_groups;
    *self = (state){0};
    self->names = rl_alloc_zero(slots * RULE_STATES + 1, sizeof *self->names, "state of an optimizer");
    self->tensors = rl_alloc_zero(slots * RULE_STATES + 1, sizeof *self->tensors, "state of an optimizer");
    self->lines = rl_alloc_zero(slots * SLOT_LINES + groups * GROUP_LINES + FIXED_LINES, sizeof *self->lines,
                                "state of an optimizer");
    self->room = rl_alloc_zero(slots * (RULE_STATES + 2 * SLOT_LINES) + groups * 2 * GROUP_LINES + 1, NAME_ROOM,
                               "state of an optimizer");
    return rl_error_status();
}

static char *text_room(state *self) {
    char *text = self->room + self->used;
    self->used += NAME_ROOM;
    return text;
}

static void add_tensors(state *self, const rl_optimizer *optimizer, int64_t number) {
    const slot *from = &optimizer->slots[number];
    int n = optimizer->rule->n_states(&optimizer->groups[from->group].options);
    for (int s = 0; s < n; s++) {
        char *name = text_room(self);
        snprintf(name, NAME_ROOM, "%lld.%s", (long long)number, optimizer->rule->state_names[s]);
        self->names[self->count] = name;
        self->tensors[self->count++] = from->states[s];
    }
}

static void add_line(state *self, const char *value_format, double value, const char *key_format, long long number) {
    char *key = text_room(self), *text = text_room(self);
    snprintf(key, NAME_ROOM, key_format, number);
    snprintf(text, NAME_ROOM, value_format, value);
    self->lines[self->n_lines++] = (rl_metadata){key, text};
}

/* The numbers of a group that schedules change; X(key, member, whether the rule has it). */
#define GROUP_NUMBERS(X)                                                                                               \
    X("lr", options.lr, true)                                                                                          \
    X("initial_lr", initial_lr, !isnan(g->initial_lr))                                                                 \
    X("momentum", options.momentum, self->rule->has_momentum)                                                          \
    X("beta1", options.beta1, self->rule->has_betas)

static void add_group(state *all, const rl_optimizer *self, int64_t number) {
    const group *g = &self->groups[number];
#define ADD(key, member, has)                                                                                          \
    if (has)                                                                                                           \
        add_line(all, "%.17g", g->member, number == 0 ? key : key ".%lld", number);
    GROUP_NUMBERS(ADD)
#undef ADD
}

rl_status rl_optimizer_save(rl_optimizer *self, const char *path) {
    RL_C_LOCALE();
    state all;
    RL_SCOPE();
    if (optimizer_check_self(self, "optimizer_save") != RL_OK)
        return rl_error_status();
    if (state_reserve(&all, self) == RL_OK) {
        all.lines[all.n_lines++] = (rl_metadata){"optimizer", self->rule->name};
        for (int64_t i = 0; i < self->n_groups; i++)
            add_group(&all, self, i);
        for (int64_t i = 0; i < self->count; i++) {
            slot *of = &self->slots[i];
            if (of->steps == 0 || optimizer_make_states(self, of) != RL_OK)
                continue;
            add_line(&all, "%.0f", (double)of->steps, "%lld.step", i);
            if (self->rule->product)
                add_line(&all, "%.17g", of->product, "%lld.mu_product", i);
            add_tensors(&all, self, i);
        }
        if (!rl_failed())
            rl_safetensors_save(path, all.names, (rl_tensors){all.tensors, all.count}, all.lines, all.n_lines);
    }
    state_free(&all);
    return rl_error_status();
}

/* What a file says, before anything is changed. */
typedef struct loaded {
    int64_t *steps; /* of each slot; 0 for parameters that the file does not name */
    double *products;
    group *groups;
} loaded;

static rl_status read_slots(const rl_optimizer *self, const rl_safetensors *file, const loaded *out) {
    for (int64_t i = 0; i < self->count; i++) {
        char key[NAME_ROOM], *end;
        snprintf(key, NAME_ROOM, "%lld.step", (long long)i);
        const char *text = rl_safetensors_metadata_value(file, key);
        out->steps[i] = text ? strtoll(text, &end, 10) : 0;
        if (text && (*text < '0' || *text > '9' || out->steps[i] < 1 || out->steps[i] > MOST_STEPS || *end))
            return rl_fail(RL_BAD_FORMAT, "optimizer_load: '%s' must be a count of steps, got '%.32s'", key, text);
        out->products[i] = 1.0;
        if (!self->rule->product || out->steps[i] == 0)
            continue;
        snprintf(key, NAME_ROOM, "%lld.mu_product", (long long)i);
        text = rl_safetensors_metadata_value(file, key);
        out->products[i] = text ? strtod(text, &end) : NAN;
        if (!(out->products[i] >= 0.0 && out->products[i] <= 1.0) || *end)
            return rl_fail(RL_BAD_FORMAT, "optimizer_load: '%s' must be a number within [0, 1], got '%.32s'", key,
                           text ? text : "");
    }
    return RL_OK;
}

/* A number of a group; only lr must be there. */
static rl_status read_number(const rl_safetensors *file, const char *name, int64_t number, double *out) {
    char key[NAME_ROOM], *end = NULL;
    snprintf(key, NAME_ROOM, number == 0 ? "%s" : "%s.%lld", name, (long long)number);
    const char *text = rl_safetensors_metadata_value(file, key);
    if (text == NULL && strcmp(name, "lr") != 0)
        return RL_OK;
    double value = text ? strtod(text, &end) : NAN;
    if (end == NULL || end == text || *end || !(value >= 0.0) || isinf(value))
        return rl_fail(RL_BAD_FORMAT, "optimizer_load: %s must be a number, 0 or more, got '%.32s'", key,
                       text ? text : "");
    *out = value;
    return RL_OK;
}

static rl_status read_groups(const rl_optimizer *self, const rl_safetensors *file, const loaded *out) {
    const char *kind = rl_safetensors_metadata_value(file, "optimizer");
    if (kind == NULL || strcmp(kind, self->rule->name) != 0)
        return rl_fail(RL_BAD_FORMAT, "optimizer_load: the file must hold the state of %s, it holds that of %.32s",
                       self->rule->name, kind ? kind : "no optimizer");
    for (int64_t i = 0; i < self->n_groups; i++) {
        group *g = &out->groups[i];
        *g = self->groups[i];
#define READ(key, member, has)                                                                                         \
    if (read_number(file, key, i, &g->member))                                                                         \
        return rl_error_status();
        GROUP_NUMBERS(READ)
#undef READ
        if (self->rule->check("optimizer_load", &g->options))
            return rl_error_status();
    }
    return RL_OK;
}

/* The tensors of the slots that the file has, and then all the rest. */
static rl_status load_all(rl_optimizer *self, rl_safetensors *file, const loaded *from, state *all) {
    for (int64_t i = 0; i < self->count && !rl_failed(); i++)
        if (from->steps[i] > 0 && optimizer_make_states(self, &self->slots[i]) == RL_OK)
            add_tensors(all, self, i);
    if (rl_state_load("optimizer_load", file, all->names, all->tensors, all->count) != RL_OK)
        return rl_error_status();
    for (int64_t i = 0; i < self->count; i++) {
        self->slots[i].steps = from->steps[i];
        if (from->steps[i] == 0)
            optimizer_drop_states(&self->slots[i]); /* the file has none: as before the first step */
        self->slots[i].product = from->products[i];
    }
    memcpy(self->groups, from->groups, (size_t)self->n_groups * sizeof *self->groups);
    return RL_OK;
}

rl_status rl_optimizer_load(rl_optimizer *self, const char *path) {
    RL_C_LOCALE();
    state all;
    RL_SCOPE();
    if (optimizer_check_self(self, "optimizer_load") != RL_OK)
        return rl_error_status();
    rl_safetensors *file = rl_safetensors_open(path);
    loaded from = {rl_alloc_zero((size_t)self->count + 1, sizeof *from.steps, "state of an optimizer"),
                   rl_alloc_zero((size_t)self->count + 1, sizeof *from.products, "state of an optimizer"),
                   rl_alloc_zero((size_t)self->n_groups, sizeof *from.groups, "state of an optimizer")};
    if (state_reserve(&all, self) == RL_OK && read_groups(self, file, &from) == RL_OK &&
        read_slots(self, file, &from) == RL_OK)
        load_all(self, file, &from, &all);
    state_free(&all);
    rl_free(from.steps);
    rl_free(from.products);
    rl_free(from.groups);
    return rl_error_status();
}
