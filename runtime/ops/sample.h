/* SPDX-License-Identifier: Apache-2.0 */
/* The lines of samples (their grammar is described in op.h), parsed, and the numbers that their tensors hold. */
#ifndef RUSHLIGHT_RUNTIME_OPS_SAMPLE_H
#define RUSHLIGHT_RUNTIME_OPS_SAMPLE_H

#include "ops/op.h"

#define RL_SAMPLE_TENSORS 24
#define RL_SAMPLE_INTS 64
#define RL_SAMPLE_TEXT 256

typedef struct rl_sample_tensor {
    char kind;      /* 'f' 'p' 'u' 'n' 'd' 'i' 'b'; 0: None, among a list of tensors */
    rl_dtype dtype; /* RL_DTYPE_NONE: the dtype under test */
    char layout;    /* 't' 's' 'e'; 0: row-major */
    int64_t limit;  /* of 'i' */
    int ndim;
    int64_t shape[RL_MAX_DIMS];
} rl_sample_tensor;

typedef enum rl_sample_item_kind {
    RL_ITEM_VALUE,
    RL_ITEM_TENSOR,
    RL_ITEM_TENSORS,
    RL_ITEM_INTS,
    RL_ITEM_DEVICE /* the device under test; ref where count is 1 */
} rl_sample_item_kind;

typedef struct rl_sample_item {
    const char *name; /* NULL: by position */
    rl_sample_item_kind kind;
    rl_value value;   /* of RL_ITEM_VALUE; strings point into the line's text */
    int first, count; /* into tensors or ints */
} rl_sample_item;

typedef struct rl_sample_line {
    int n_items, n_tensors, n_ints;
    rl_sample_item items[RL_MAX_ARGS];
    rl_sample_tensor tensors[RL_SAMPLE_TENSORS];
    int64_t ints[RL_SAMPLE_INTS];
    char text[RL_SAMPLE_TEXT]; /* a copy, cut into names and strings */
} rl_sample_line;

/* Errors say where the line is wrong. */
rl_status rl_sample_parse(const char *text, rl_sample_line *out_line);

/* The dtypes that may be under test: where the sample says nothing, floats if it has an 'f', 'p' or 'u' tensor, those
 * of op->sample_dtypes if it has only 'n' and 'd' ones, and f32 alone if no tensor of it is of the dtype under test. */
uint32_t rl_sample_dtypes(const rl_op_def *op, const rl_sample *sample, const rl_sample_line *line);
/* Whether the numbers of the tensor depend on the dtype under test. */
bool rl_sample_under_test(const rl_sample_tensor *tensor);

/*
 * Writes the numbers of tensor `number` of a line, row-major, `bytes` of them for its elements, as `dtype`. They depend
 * on the text, the number and the dtype alone. Floats are odd multiples of 2^-6 (u: of 2^-8), which all float dtypes
 * hold exactly, so that none lies on 0, 1/2 or 1, where functions have kinks; f32 and f64 have further digits below.
 */
void rl_sample_fill(const char *text, int number, const rl_sample_tensor *tensor, rl_dtype dtype, int64_t numel,
                    void *data);

#endif
