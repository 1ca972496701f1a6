/* SPDX-License-Identifier: Apache-2.0 */
/* Reads answers.txt, line by line, word by word. */
#include "answers.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool answers_open(answers_reader *self, const char *path) {
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return false;
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    rewind(file);
    self->text = self->at = malloc((size_t)size + 1);
    self->line = 1;
    bool whole = self->text != NULL && fread(self->text, 1, (size_t)size, file) == (size_t)size;
    if (whole)
        self->text[size] = '\0';
    fclose(file);
    return whole;
}

void answers_close(answers_reader *self) {
    free(self->text);
}

static void fail(const answers_reader *self, const char *expected) {
    fprintf(stderr, "answers.txt:%d: expected %s at \"%.20s\"\n", self->line, expected, self->at);
    abort();
}

/* The next word of the line, "" at its end. */
static void read_word(answers_reader *self, char *word, size_t room) {
    self->at += strspn(self->at, " ");
    size_t length = strcspn(self->at, " \n");
    if (length >= room)
        fail(self, "a shorter word");
    memcpy(word, self->at, length);
    word[length] = '\0';
    self->at += length;
}

static void next_line(answers_reader *self) {
    self->at += strcspn(self->at, "\n");
    if (*self->at == '\n') {
        self->at++;
        self->line++;
    }
}

static bool line_begins(const answers_reader *self, const char *word) {
    size_t length = strlen(word);
    return strncmp(self->at, word, length) == 0 && (self->at[length] == ' ' || self->at[length] == '\n');
}

static int64_t read_int(answers_reader *self) {
    char word[64];
    read_word(self, word, sizeof word);
    return strtoll(word, NULL, 10);
}
static double read_float(answers_reader *self) {
    char word[64];
    read_word(self, word, sizeof word);
    return strtod(word, NULL); /* inf and nan too */
}

static rl_dtype read_dtype(answers_reader *self) {
    char word[32];
    read_word(self, word, sizeof word);
    rl_dtype dtype = strcmp(word, "b") == 0 ? RL_BOOL : rl_dtype_parse(word);
    if (dtype == RL_DTYPE_NONE)
        fail(self, "a dtype");
    return dtype;
}

static void read_shape(answers_reader *self, recorded *out) {
    char word[64];
    read_word(self, word, sizeof word);
    out->ndim = 0;
    out->numel = 1;
    for (char *at = word; *at != '-' && *at != '\0' && out->ndim < RL_MAX_DIMS; at += *at == ',') {
        out->shape[out->ndim] = strtoll(at, &at, 10);
        out->numel *= out->shape[out->ndim++];
    }
    if (out->numel > MAX_NUMBERS)
        fail(self, "a smaller tensor");
}

static void read_numbers(answers_reader *self, recorded *out) {
    out->is_float = rl_dtype_is_float(out->dtype);
    for (int64_t i = 0; i < out->numel; i++) {
        if (out->is_float)
            out->floats[i] = read_float(self);
        else
            out->ints[i] = read_int(self);
    }
}

/* "DTYPE SHAPE LAYOUT VALUES" */
static void read_tensor(answers_reader *self, recorded *out) {
    char word[32];
    out->dtype = read_dtype(self);
    read_shape(self, out);
    read_word(self, word, sizeof word);
    out->layout = word[0];
    read_numbers(self, out);
}

static void read_value(answers_reader *self, parameter *out, char kind) {
    switch (kind) {
    case 'i':
        out->value = rl_value_of_int(read_int(self));
        break;
    case 'f':
        out->value = rl_value_of_float(read_float(self));
        break;
    case 'b':
        out->value = rl_value_of_bool(read_int(self) != 0);
        break;
    case 'd':
        out->value = (rl_value){.kind = RL_VALUE_DTYPE, .as.dtype = read_dtype(self)};
        break;
    case 's':
        read_word(self, out->word, sizeof out->word);
        out->value = (rl_value){.kind = RL_VALUE_STRING, .as.string = out->word};
        break;
    case 'n':
        out->value = (rl_value){.kind = RL_VALUE_NONE};
        break;
    case 'l': {
        int64_t count = read_int(self);
        if (count > MAX_NUMBERS)
            fail(self, "a shorter list");
        for (int64_t i = 0; i < count; i++)
            out->ints[i] = read_int(self);
        out->value = (rl_value){.kind = RL_VALUE_INTS, .as.ints = {out->ints, count}};
        break;
    }
    default:
        fail(self, "one of t, tl, i, f, b, d, s, n, l");
    }
}

static void read_parameter(answers_reader *self, parameter *out) {
    char word[64];
    read_word(self, word, sizeof word);
    size_t length = strlen(word);
    out->name[0] = '\0';
    if (length > 0 && word[length - 1] == '=') {
        snprintf(out->name, sizeof out->name, "%.*s", (int)length - 1, word);
        read_word(self, word, sizeof word);
    }
    out->n_tensors = 0;
    out->is_list = strcmp(word, "tl") == 0;
    if (strcmp(word, "t") == 0) {
        out->n_tensors = 1;
        read_tensor(self, &out->tensors[0]);
    } else if (!out->is_list) {
        read_value(self, out, word[0]);
    }
    int64_t count = out->is_list ? read_int(self) : 0;
    next_line(self);
    for (; count > 0; count--) {
        read_word(self, word, sizeof word);
        if (strcmp(word, "t") != 0 || out->n_tensors == MAX_VALUES)
            fail(self, "a tensor of the list");
        read_tensor(self, &out->tensors[out->n_tensors++]);
        next_line(self);
    }
}

/* The lines of one kind: `out` has a dtype, `grad` only a shape. */
static int read_results(answers_reader *self, const char *kind, recorded *out) {
    int count = 0;
    while (line_begins(self, kind)) {
        if (count == MAX_VALUES)
            fail(self, "fewer results");
        char word[8];
        read_word(self, word, sizeof word);
        out[count].dtype = strcmp(kind, "out") == 0 ? read_dtype(self) : RL_F64;
        read_shape(self, &out[count]);
        read_numbers(self, &out[count++]);
        next_line(self);
    }
    return count;
}

bool answers_next(answers_reader *self, answer *out) {
    while (*self->at == '#')
        next_line(self);
    if (*self->at == '\0')
        return false;
    if (!line_begins(self, "case"))
        fail(self, "case");
    out->line = self->line;
    read_word(self, out->op, sizeof out->op);
    read_word(self, out->op, sizeof out->op);
    next_line(self);
    out->n_parameters = 0;
    while (!line_begins(self, "out")) {
        if (out->n_parameters == MAX_VALUES || *self->at == '\0')
            fail(self, "out");
        read_parameter(self, &out->parameters[out->n_parameters++]);
    }
    out->n_outs = read_results(self, "out", out->outs);
    out->n_grads = read_results(self, "grad", out->grads);
    return true;
}
