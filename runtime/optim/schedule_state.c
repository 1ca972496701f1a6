/* SPDX-License-Identifier: Apache-2.0 */
/* A schedule's state in a file: metadata alone. Those of a sequence have their number before each key. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "optim/schedule.h"
#include "rushlight/io.h"

enum { KEY_ROOM = 64, NUMBERS = 6 };

/* Where a number of the state is. */
typedef struct place {
    char key[KEY_ROOM];
    int64_t *whole; /* one of the two */
    double *real;
    int64_t least; /* of a whole number */
} place;

/* All numbers of a schedule's state, under keys with `prefix`; returns how many. */
static int64_t places_of(rl_schedule *self, const char *prefix, place *out) {
    int64_t n = 0;
#define WHOLE(name, member)                                                                                            \
    snprintf(out[n].key, KEY_ROOM, "%s" name, prefix);                                                                 \
    out[n++].whole = &self->member;
    WHOLE("steps", t)
    if (self->kind == &schedule_restarts) {
        WHOLE("t_cur", restart.now)
        WHOLE("t_i", restart.length)
        out[n - 1].least = 1;
    }
    if (self->kind == &schedule_plateau) {
        WHOLE("num_bad_steps", plateau.bad)
        WHOLE("cooldown_counter", plateau.cooling)
        snprintf(out[n].key, KEY_ROOM, "%sbest", prefix);
        out[n++].real = &self->plateau.best;
    }
    for (int64_t i = 0; i < self->n_groups; i++) {
        snprintf(out[n].key, KEY_ROOM, "%sbase_lr.%lld", prefix, (long long)i);
        out[n++].real = &self->bases[i];
    }
    for (int64_t i = 0; i < self->n_children; i++) {
        char deeper[32];
        snprintf(deeper, sizeof deeper, "%lld.", (long long)i);
        n += places_of(self->children[i], deeper, out + n);
    }
    return n;
}

static place *places(rl_schedule *self, int64_t *out_count) {
    int64_t most = (self->n_children + 1) * (NUMBERS + self->n_groups);
    place *all = rl_alloc_zero((size_t)most, sizeof *all, "state of a schedule");
    *out_count = all ? places_of(self, "", all) : 0;
    return all;
}

rl_status rl_schedule_save(rl_schedule *self, const char *path) {
    RL_C_LOCALE();
    int64_t count;
    if (optimizer_check_self(self, "schedule_save"))
        return rl_error_status();
    place *all = places(self, &count);
    char(*texts)[KEY_ROOM] = rl_alloc_zero((size_t)count + 1, KEY_ROOM, "state of a schedule");
    rl_metadata *lines = rl_alloc_zero((size_t)count + 1, sizeof *lines, "state of a schedule");
    if (!rl_failed()) {
        lines[0] = (rl_metadata){"schedule", self->kind->name};
        for (int64_t i = 0; i < count; i++) {
            if (all[i].whole)
                snprintf(texts[i], KEY_ROOM, "%lld", (long long)*all[i].whole);
            else
                snprintf(texts[i], KEY_ROOM, "%.17g", *all[i].real);
            lines[i + 1] = (rl_metadata){all[i].key, texts[i]};
        }
        rl_safetensors_save(path, NULL, (rl_tensors){0}, lines, count + 1);
    }
    rl_free(all);
    rl_free(texts);
    rl_free(lines);
    return rl_error_status();
}

typedef union value {
    int64_t whole;
    double real;
} value;

static rl_status read_value(const rl_safetensors *file, const place *from, value *out) {
    const char *text = rl_safetensors_metadata_value(file, from->key);
    char *end = NULL;
    if (text && from->whole)
        out->whole = strtoll(text, &end, 10);
    else if (text)
        out->real = strtod(text, &end);
    bool good = text && end != text && !*end && (!from->whole || out->whole >= from->least);
    return good ? RL_OK
                : rl_fail(RL_BAD_FORMAT, "schedule_load: '%s' must be a number, got '%.32s'", from->key,
                          text ? text : "");
}

rl_status rl_schedule_load(rl_schedule *self, const char *path) {
    RL_C_LOCALE();
    int64_t count;
    RL_SCOPE();
    if (optimizer_check_self(self, "schedule_load"))
        return rl_error_status();
    const rl_safetensors *file = rl_safetensors_open(path);
    const char *kind = file ? rl_safetensors_metadata_value(file, "schedule") : NULL;
    if (file && (!kind || strcmp(kind, self->kind->name) != 0))
        return rl_fail(RL_BAD_FORMAT, "schedule_load: the file must hold the state of %s, it holds that of %.32s",
                       self->kind->name, kind ? kind : "no schedule");
    place *all = places(self, &count);
    value *values = rl_alloc_zero((size_t)count + 1, sizeof *values, "state of a schedule");
    for (int64_t i = 0; i < count && !rl_failed(); i++)
        read_value(file, &all[i], &values[i]);
    for (int64_t i = 0; i < count && !rl_failed(); i++) {
        if (all[i].whole)
            *all[i].whole = values[i].whole;
        else
            *all[i].real = values[i].real;
    }
    rl_free(all);
    rl_free(values);
    return rl_error_status();
}
