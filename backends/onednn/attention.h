/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What attention and its backward share: a call as the tiles want it. A tile is OD_TILE queries, in panels of OD_PANEL
 * side by side, against some keys: scores stand as (keys, queries), so that keys and values stay where they lie.
 */
#ifndef RUSHLIGHT_BACKENDS_ONEDNN_ATTENTION_H
#define RUSHLIGHT_BACKENDS_ONEDNN_ATTENTION_H

#include "backend.h"

#define OD_TILE 64 /* queries of a tile */
#define OD_PANELS (OD_TILE / OD_PANEL)

typedef struct od_attention_call {
    rl_dtype dtype, mask_dtype; /* mask_dtype 0: no mask */
    int causal;
    int64_t bytes, mask_bytes;
    int64_t batch, heads, length, keys, width, value_width;
    float scale;
    const rl_operand *q, *k, *v, *mask;
} od_attention_call;

/* The call that the args of either row ask for: both have these fields. */
#define OD_ATTENTION_CALL(args)                                                                                        \
    {                                                                                                                  \
        .dtype = (rl_dtype)(args)->dtype, .mask_dtype = (rl_dtype)(args)->mask_dtype, .causal = (int)(args)->causal,   \
        .bytes = od_dtype_bytes((rl_dtype)(args)->dtype), .mask_bytes = od_dtype_bytes((rl_dtype)(args)->mask_dtype),  \
        .batch = (args)->batch, .heads = (args)->heads, .length = (args)->q_length, .keys = (args)->k_length,          \
        .width = (args)->width, .value_width = (args)->value_width, .scale = (float)(args)->scale, .q = &(args)->q,    \
        .k = &(args)->k, .v = &(args)->v, .mask = &(args)->mask,                                                       \
    }
/* Floats, as many as whole cache lines hold. */
static inline int64_t od_line_floats(int64_t n) {
    return (n + 15) / 16 * 16;
}

/* A matrix of floats; strides in elements. */
typedef struct od_matrix {
    float *base;
    int64_t row, col;
} od_matrix;

/* Where the matrix of (batch, head) begins at row `row`. */
static inline char *od_attention_at(const rl_operand *operand, int64_t bytes, int64_t batch, int64_t head,
                                    int64_t row) {
    return od_address(operand) +
           (batch * operand->stride[0] + head * operand->stride[1] + row * operand->stride[2]) * bytes;
}
/* Rows `first` .. of a matrix: where they lie if they are f32, else loaded into `room` (packed). */
od_matrix od_attention_rows(const od_attention_call *self, const rl_operand *operand, int64_t batch, int64_t head,
                            int64_t first, int64_t rows, int64_t width, float *room);
/* The transposes of rows `first` .. in panels (width, OD_PANEL), times scale; room for one panel's rows. */
void od_attention_panels(const od_attention_call *self, const rl_operand *operand, int64_t batch, int64_t head,
                         int64_t first, int64_t rows, int64_t width, float scale, float *panels, float *room);
/* And back: panels, each column times its factor, to rows `first` .. of an output. */
void od_attention_store(const od_attention_call *self, const rl_operand *operand, int64_t batch, int64_t head,
                        int64_t first, int64_t rows, int64_t width, const float *panels, const float *factor,
                        float *room);
/* How many of the keys key .. key + keys - 1 some query of the panel from `query` on sees. */
static inline int64_t od_attention_seen(const od_attention_call *self, int64_t query, int64_t key, int64_t keys) {
    const int64_t seen = query + OD_PANEL - key;
    return !self->causal || seen > keys ? keys : seen < 0 ? 0 : seen;
}
/* What the mask and causality do to scores (rows, OD_PANEL), rows ld floats apart, of keys `key` .. and queries `query`
 * ..; room for as many numbers. */
void od_attention_mask(const od_attention_call *self, int64_t batch, int64_t head, int64_t query, int64_t queries,
                       int64_t key, float *scores, int64_t ld, int64_t rows, void *room);

#endif
