/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pointwise program made ready to run: which loops in which order on which blocks of a tile. One plan a program, made
 * at its first use and kept by the program's index until shutdown.
 */
#ifndef RUSHLIGHT_BACKENDS_ONEDNN_PLAN_H
#define RUSHLIGHT_BACKENDS_ONEDNN_PLAN_H

#include "clones.h"

/* Values beside the instructions': casts of outputs, element numbers, pairs of seed and offset. */
#define OD_MAX_VALUES (RL_MAX_INSNS + 1 + RL_MAX_OUTPUTS + 1 + RL_MAX_SCALARS)
#define OD_TILE_BYTES (36 * 1024) /* the blocks of one tile: they fit the first-level cache beside the operands */
#define OD_TILE_LIMIT 2048        /* elements */
#define OD_NO_VALUE 0xffffu

typedef struct od_step { /* value[out] = fn(value[a], value[b], value[c]) */
    od_step_fn fn;
    uint16_t out, a, b, c;
} od_step;

typedef struct od_plan_input {
    uint16_t value; /* OD_NO_VALUE where no instruction reads it */
    uint8_t dtype, bytes, native;
    uint16_t last_use; /* the last step that reads it */
    od_load_fn load;
} od_plan_input;

typedef struct od_plan_output {
    uint16_t value; /* in the register of its dtype */
    uint8_t dtype, bytes;
    uint8_t direct;   /* the step that makes the value may write to memory at once */
    uint16_t made_by; /* that step */
    od_store_fn store;
} od_plan_output;

typedef struct od_plan_scalar { /* a launch scalar, spread over a block */
    uint16_t value;
    uint8_t scalar;
    uint8_t reg;
} od_plan_scalar;

typedef struct od_plan_index { /* a block of element numbers, or of indices along a dimension */
    uint16_t value;
    int16_t dim; /* -1: the row-major number */
} od_plan_index;

typedef struct od_plan_pair { /* the address of seed and offset among the launch scalars */
    uint16_t value, scalar;
} od_plan_pair;

typedef struct od_plan {
    const rl_program *program;
    const od_kernels *kernels;
    uint16_t n_inputs, n_outputs, n_steps, n_scalars, n_indices, n_pairs;
    uint16_t n_blocks;
    int32_t tile;        /* elements of a tile */
    int32_t block_bytes; /* from one block to the next */
    int is_input;        /* no step at all: outputs are inputs as they are, in registers */
    float cost;          /* about ns an element on one thread */
    od_plan_input inputs[RL_MAX_INPUTS];
    od_plan_output outputs[RL_MAX_OUTPUTS];
    od_plan_index indices[RL_MAX_DIMS + 1];
    od_plan_scalar *scalars;
    od_plan_pair *pairs;
    uint16_t *block_of; /* by value: the block that it lies in, or OD_NO_VALUE */
    uint16_t n_values;
    od_step *steps;
} od_plan;

/* The plan of a program. NULL after host->fail. Any thread. */
const od_plan *od_plan_of(const rl_program *program);
/* Which clone the plans use from now on. Before any plan is made. */
void od_plans_init(const od_kernels *kernels);
void od_plans_shutdown(void);
void od_plans_forked(void); /* in a child made by fork */

#endif
