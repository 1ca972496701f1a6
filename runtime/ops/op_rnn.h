/* SPDX-License-Identifier: Apache-2.0 */
/* One direction of one recurrent layer: what its forward, its backward and the layers above share. Included by
 * op_rnn*.c and op_recurrent.c alone. */
#ifndef RUSHLIGHT_RUNTIME_OPS_OP_RNN_H
#define RUSHLIGHT_RUNTIME_OPS_OP_RNN_H

#include "ops/op_rows.h"

/* Most blocks of `hidden` that one step's gates have, and the reserve. */
#define RL_RNN_BLOCKS 4

typedef struct rl_rnn {
    rl_rnn_cell cell;
    bool reverse;
    int64_t steps, batch, hidden;
    int64_t gates, kept; /* blocks of `hidden` in a step's gates and in its reserve */
} rl_rnn;

/* "lstm", "gru", "tanh", "relu": sets cell, gates and kept; an error where the word is another. */
rl_status rl_rnn_cell_of(const rl_call *call, int arg, rl_rnn *out);
/* The same word of a node, whose call was checked. */
void rl_rnn_cell_named(const char *word, rl_rnn *out);
const char *rl_rnn_cell_name(rl_rnn_cell cell);

/* The number of the step that is walked as number i. */
static inline int64_t rl_rnn_step(const rl_rnn *self, int64_t i) {
    return self->reverse ? self->steps - 1 - i : i;
}

/* An error unless the tensor argument has this shape; its meaning stands in `sizes` ("(batch, hidden)"). */
rl_status rl_rnn_check(const rl_call *call, int arg, int64_t ndim, const int64_t *shape, const char *sizes);
/* meta as (steps, batch, width), in memory by steps first, or by batch first as `like` lies. */
void rl_rnn_meta(const rl_rnn *self, const rl_tensor *like, int64_t width, rl_meta *meta);
/* meta of a result that this cell does not have: shape (0). */
void rl_rnn_meta_none(const rl_tensor *like, rl_meta *meta);

/* Within lower: block k of step t of a (steps, batch, blocks hidden), and of a (batch, blocks hidden). */
rl_tensor *rl_rnn_block(const rl_rnn *self, const rl_tensor *all, int64_t t, int64_t k);
rl_tensor *rl_rnn_block_of(const rl_rnn *self, const rl_tensor *step, int64_t k);
/* All blocks of step t. */
rl_tensor *rl_rnn_at(const rl_tensor *all, int64_t t);

/* The gradients of one direction, by ops that can be differentiated again: what is recorded when gradients of gradients
 * are taken. NULL stands for absent gradients and for what the cell does not have. */
typedef struct rl_rnn_gradients {
    rl_tensor *grad_h, *grad_c, *grad_reserve;
    rl_tensor *weight, *h0, *c0, *h, *c, *reserve;
    rl_tensor *gates, *state_gates, *first_h, *first_c; /* results; gates and state_gates are one but for GRU */
} rl_rnn_gradients;
rl_status rl_rnn_compose(const rl_rnn *self, rl_rnn_gradients *g);

#endif
