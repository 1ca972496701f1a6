/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a plan tile by tile. A tile is a box of planes x rows x cols elements; each operand has an address and three
 * strides. Operands that lie in memory as the block would are used in place; all others are loaded and stored.
 */
#ifndef RUSHLIGHT_BACKENDS_ONEDNN_RUNNER_H
#define RUSHLIGHT_BACKENDS_ONEDNN_RUNNER_H

#include "plan.h"

typedef struct od_box {
    int64_t planes, rows, cols;
} od_box;

typedef struct od_view { /* of one operand in the tile; strides in bytes */
    char *base;
    int64_t plane_stride, row_stride, col_stride;
} od_view;

typedef struct od_count { /* the same for indices and numbers, which count instead of lying in memory */
    int64_t start, plane_stride, row_stride, col_stride;
} od_count;

typedef struct od_runner {
    const od_plan *plan;
    const rl_number *scalars;
    int past_caches; /* results are too big to stay there: see od_runner_tile */
    int64_t spread;  /* elements of the scalars' blocks that are filled */
    od_view in[RL_MAX_INPUTS], out[RL_MAX_OUTPUTS];
    od_count index[RL_MAX_DIMS + 1];
    const char *loaded[RL_MAX_INPUTS]; /* where a block's content comes from, to load what does not move but once */
    od_box loaded_box;
    char *value[OD_MAX_VALUES];
    _Alignas(64) char tile[OD_TILE_BYTES];
} od_runner;

/* Prepares for tiles of at most `elements`. Cheap; call it again when the scalars change. */
void od_runner_init(od_runner *self, const od_plan *plan, const rl_number *scalars);
/* Forgets what is loaded: before the operands of another job. */
void od_runner_forget(od_runner *self);
/* Runs the program for one box, with results streamed past the caches where past_caches is set (kernels->stream_end
 * must follow); outputs are stored, unless `keep`: then od_runner_result tells where each lies. */
void od_runner_tile(od_runner *self, od_box box, int keep);
static inline const void *od_runner_result(const od_runner *self, int output) {
    return self->value[self->plan->outputs[output].value];
}

#endif
