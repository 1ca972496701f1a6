/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The works of `rushlight bench`: pieces of work that are the same on every device, and (tests/bench/torch_worker.py)
 * in PyTorch under the same names. Each makes its inputs from the default generator, so one seed gives one set of
 * inputs.
 */
#ifndef RUSHLIGHT_FRONTENDS_CLI_WORKS_H
#define RUSHLIGHT_FRONTENDS_CLI_WORKS_H

#include "rushlight/rushlight.h"

typedef enum work_kind { WORK_OP, WORK_MODEL } work_kind;

/* What a work keeps on one device between its runs. Retained: work_state_deinit gives it back. */
typedef struct work_state {
    rl_tensor *a, *b, *c, *d; /* its inputs */
    rl_module *net;
    rl_optimizer *optimizer;
} work_state;

enum { WORK_CHAIN = 100, WORK_4M = 1 << 22, WORK_10M = 10000000 };
/* Counts that the figures of the list follow from. */
#define WORK_LOGITS (256.0 * 10000)                   /* of cross entropy */
#define WORK_IMAGES (64.0 * 32 * 28 * 28)             /* elements that batch norm and pooling go over */
#define WORK_SCORES (8.0 * 1024 * 1024 * 64)          /* multiplications of one of attention's products */
#define WORK_CONV (2.0 * 16 * 64 * 64 * 9 * 28 * 28)  /* operations of conv_fb's forward */
#define WORK_MLP (784.0 * 512 + 512 * 256 + 256 * 10) /* weights of the MLP */
#define WORK_GPT (4.0 * 12 * 128 * 128 + 96 * 128)    /* weights of the GPT that are multiplied with */
/* Of the CNN's step: the first convolution needs no gradient of its input, so two products, else three. */
#define WORK_CNN (2.0 * 64 * (2.0 * 32 * 9 * 784 + 3.0 * 64 * 32 * 9 * 196 + 3.0 * (3136 * 128 + 128 * 10)))

/*
 * X(name, kind, rounds, flops, bytes, what): prepare_NAME makes the inputs, run_NAME does `rounds` rounds. flops and
 * bytes are of one round: the arithmetic by its usual count, and the memory that must be read and written at least,
 * whatever an implementation moves beside. 0: no figure is given.
 */
#define WORK_LIST(X)                                                                                                   \
    X(op_add_16, OP, WORK_CHAIN, 16, 12.0 * 16, "add of 2 x 16 floats, each result into the next")                     \
    X(op_add_16_grad, OP, WORK_CHAIN, 16, 12.0 * 16, "the same, recorded for a backward")                              \
    X(op_matmul_4, OP, WORK_CHAIN, 2.0 * 64, 12.0 * 16, "matmul of 4 x 4, each result into the next")                  \
    X(op_view_slice, OP, WORK_CHAIN, 0, 0, "x[0:8].t(), each result into the next")                                    \
    X(tiny_conv, OP, WORK_CHAIN, 2.0 * 9 * 64, 4.0 * (64 + 9 + 64), "conv2d of one 8 x 8 image, each into the next")   \
    X(matmul_256, OP, 1, 2.0 * 256 * 256 * 256, 12.0 * 256 * 256, "matmul of 256 x 256")                               \
    X(matmul_1024, OP, 1, 2.0 * 1024 * 1024 * 1024, 12.0 * 1024 * 1024, "matmul of 1024 x 1024")                       \
    X(add_4m, OP, 1, WORK_4M, 12.0 * WORK_4M, "add of 2 x 4M floats")                                                  \
    X(exp_4m, OP, 1, WORK_4M, 8.0 * WORK_4M, "exp of 4M floats")                                                       \
    X(gelu_chain_4m, OP, 1, 9.0 * WORK_4M, 8.0 * WORK_4M, "tanh-GELU of 4M floats, written out, as one program")       \
    X(gelu_chain_4m_eager, OP, 1, 9.0 * WORK_4M, 8.0 * WORK_4M, "the same, op by op")                                  \
    X(sum_dim_4m, OP, 1, WORK_4M, 4.0 * WORK_4M, "sum of 2048 x 2048 over the rows")                                   \
    X(transpose_copy_4m, OP, 1, 0, 8.0 * WORK_4M, "copy of 2048 x 2048 transposed")                                    \
    X(softmax_4m, OP, 1, 5.0 * WORK_4M, 8.0 * WORK_4M, "softmax of 4096 x 1024 along rows")                            \
    X(softmax_fb, OP, 1, 9.0 * WORK_4M, 20.0 * WORK_4M, "the same with its backward")                                  \
    X(layernorm_4m, OP, 1, 8.0 * WORK_4M, 8.0 * WORK_4M, "layer norm of 4096 x 1024")                                  \
    X(layernorm_fb, OP, 1, 19.0 * WORK_4M, 20.0 * WORK_4M, "the same with its backward")                               \
    X(batch_norm_fb, OP, 1, 19 * WORK_IMAGES, 20 * WORK_IMAGES,                                                        \
      "batch norm of 64 x 32 x 28 x 28, training, and backward")                                                       \
    X(max_pool, OP, 1, WORK_IMAGES, 5 * WORK_IMAGES, "max pooling by 2 of 64 x 32 x 28 x 28")                          \
    X(attention, OP, 1, 4 * WORK_SCORES, 16.0 * 8 * 1024 * 64, "attention of 8 heads, 1024 places, 64 wide")           \
    X(attention_fb, OP, 1, 14 * WORK_SCORES, 48.0 * 8 * 1024 * 64, "the same with its backward")                       \
    X(cross_entropy_fb, OP, 1, 8 * WORK_LOGITS, 12 * WORK_LOGITS, "cross entropy of 256 x 10000 with its backward")    \
    X(conv_fb, OP, 1, 3 * WORK_CONV, 4.0 * 6 * 16 * 64 * 784, "conv2d 64 to 64, 3 x 3, of 16 x 28 x 28, and backward") \
    X(seed_step, MODEL, 1, 0, 0, "step of Linear(1, 1), mean squared error, SGD")                                      \
    X(adam_10m, MODEL, 1, 14.0 * WORK_10M, 28.0 * WORK_10M, "AdamW's step over 10,000,000 parameters")                 \
    X(mlp_step, MODEL, 1, 6 * 128 * WORK_MLP - 2.0 * 128 * 784 * 512, 40 * WORK_MLP,                                   \
      "step of an MLP 784-512-256-10, batch 128, Adam")                                                                \
    X(cnn_step, MODEL, 1, WORK_CNN, 0, "step of a CNN of two convolutions, batch 64, SGD with momentum")               \
    X(lstm_step, MODEL, 1, 2.0 * 5 * 1024 * 128 * 512, 0, "step of an LSTM of 128, 32 x 32 places, SGD")               \
    X(gpt_step, MODEL, 1, 6 * 768 * WORK_GPT + 12.0 * 4 * 48 * 64 * 64 * 32, 0,                                        \
      "step of a GPT of 4 layers, 128 wide, 12 x 64 tokens, AdamW")                                                    \
    X(gpt_decode, MODEL, 1, 2 * 64 * WORK_GPT + 4.0 * 4 * 4 * 64 * 64 * 32, 0, "the same GPT forward over 64 tokens")

typedef struct work {
    const char *name, *what;
    work_kind kind;
    int rounds;
    double flops, bytes;
    void (*prepare)(work_state *self);   /* on the default device; errors are kept */
    rl_tensor *(*run)(work_state *self); /* its result, of the innermost scope */
} work;

#define WORK_DECLARE_(name, kind, rounds, flops, bytes, what)                                                          \
    void prepare_##name(work_state *self);                                                                             \
    rl_tensor *run_##name(work_state *self);
WORK_LIST(WORK_DECLARE_)
#undef WORK_DECLARE_

#define WORK_ONE_(...) +1
enum { WORKS_COUNT = WORK_LIST(WORK_ONE_) };
#undef WORK_ONE_
extern const work works[WORKS_COUNT];

const work *work_named(const char *name); /* NULL where there is none */
/* "ops", "models", a name, a part of one, or a pattern with * and ?. */
bool work_matches(const work *self, const char *pattern);
void work_state_deinit(work_state *self);

/* For the works themselves: */

/* A normal tensor with one more owner than the scope. */
rl_tensor *work_normal(rl_ints shape);
/* The rest of a step of training, after zero_grad and the loss: backward, step. Returns the loss. */
rl_tensor *work_train(work_state *self, rl_tensor *loss);
/* x -> step(x) WORK_CHAIN times. */
rl_tensor *work_chain(const work_state *self, rl_tensor *(*step)(const work_state *self, rl_tensor *x));

#endif
