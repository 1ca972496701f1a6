/* SPDX-License-Identifier: Apache-2.0 */
/* answers.txt in memory: its calls with what PyTorch answered. The format is described in record.py. */
#ifndef RUSHLIGHT_TESTS_GOLDEN_ANSWERS_H
#define RUSHLIGHT_TESTS_GOLDEN_ANSWERS_H

#include "rushlight/op.h"

#define MAX_NUMBERS 320
#define MAX_VALUES 12

/* A recorded tensor; layout 'c' row-major, 't' transposed, 's' every second element, 'e' expanded. */
typedef struct recorded {
    rl_dtype dtype;
    int64_t ndim, numel, shape[RL_MAX_DIMS];
    char layout;
    bool is_float;
    double floats[MAX_NUMBERS];
    int64_t ints[MAX_NUMBERS];
} recorded;

/* An argument: tensors where it is one or a list of some, else value. */
typedef struct parameter {
    char name[40]; /* "" by position */
    bool is_list;
    int n_tensors;
    recorded tensors[MAX_VALUES];
    rl_value value;
    int64_t ints[MAX_NUMBERS];
    char word[32];
} parameter;

typedef struct answer {
    int line; /* in the file, for messages */
    char op[64];
    int n_parameters, n_outs, n_grads;
    parameter parameters[MAX_VALUES];
    recorded outs[MAX_VALUES], grads[MAX_VALUES];
} answer;

typedef struct answers_reader {
    char *text, *at;
    int line;
} answers_reader;

bool answers_open(answers_reader *self, const char *path);
/* The next case; false at the end. Aborts the test on a file that does not read. */
bool answers_next(answers_reader *self, answer *out);
void answers_close(answers_reader *self);

#endif
