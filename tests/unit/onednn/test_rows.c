/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every fused row on packed operands, and then on the same numbers in any memory: dimensions in another order, gaps,
 * negative strides. Either the row declines, with a reason, or it gives the same and changes no byte between. The
 * numbers of the packed calls are checked against the reference device in tests/ops.
 */
#include "harness.h"

#include <math.h>
#include <string.h>

enum { MOST_SLOTS = 10, MOST_ELEMENTS = 20000, ROUNDS = 24 };

typedef struct slot { /* an operand: where it stands in the args; of how many dimensions and which of them are 0 */
    size_t at;
    int ndim;
    int64_t shape[4];
    uint32_t fixed; /* dimensions of stride 0 */
    rl_dtype dtype; /* 0: f32 */
    int64_t limit;  /* of indices; of f32: 1 positive numbers */
} slot;

typedef struct row_case {
    const char *name;
    rl_row row;
    const void *args;
    size_t size;
    int n_outputs; /* the last slots */
    slot slots[MOST_SLOTS];
} row_case;

#define AT(type, member, dims, ...)                                                                                    \
    { .at = offsetof(type, member), .ndim = (dims), .shape = __VA_ARGS__ }
#define ARGS(type, ...) &(const type){.size = sizeof(type), .dtype = RL_F32, __VA_ARGS__}, sizeof(type)

#define NORM(mask)                                                                                                     \
    .param_dtype = RL_F32, .stat_dtype = RL_F32, .normalized = (mask), .affine = 2, .center = 1, .ndim = 2,            \
    .shape = {20, 40}, .eps = 0.01
#define ATTENTION .batch = 2, .heads = 2, .q_length = 50, .k_length = 70, .width = 16, .value_width = 16, .scale = 0.25
#define CONV                                                                                                           \
    .spatial = 2, .batch = 2, .in_channels = 8, .out_channels = 12, .groups = 1, .in_size = {20, 18},                  \
    .out_size = {18, 16}, .kernel = {3, 3}, .stride = {1, 1}, .dilation = {1, 1}
#define POOL(k)                                                                                                        \
    .window = {.spatial = 2,                                                                                           \
               .batch = 2,                                                                                             \
               .channels = 8,                                                                                          \
               .in_size = {20, 18},                                                                                    \
               .out_size = {10, 9},                                                                                    \
               .kernel = {3, 3},                                                                                       \
               .stride = {2, 2},                                                                                       \
               .padding = {1, 1},                                                                                      \
               .dilation = {1, 1},                                                                                     \
               .kind = (k)}
#define RNN(c) .cell = (c), .steps = 5, .batch = 6, .hidden = 7

/* Rows of normalizations: of (20, 40) over dimension 1, or down dimension 0; statistics stand along the other one. */
#define NORM_CASE(what, mask, n, m)                                                                                    \
    {                                                                                                                  \
        what, RL_ROW_NORM, ARGS(rl_norm_args, NORM(mask)), 3, {                                                        \
            AT(rl_norm_args, in, 2, {20, 40}), AT(rl_norm_args, weight, 2, {1, 40}, .fixed = 1),                       \
                AT(rl_norm_args, bias, 2, {1, 40}, .fixed = 1), AT(rl_norm_args, out, 2, {20, 40}),                    \
                AT(rl_norm_args, mean, 2, {n, m}, .fixed = (mask)), AT(rl_norm_args, var, 2, {n, m}, .fixed = (mask))  \
        }                                                                                                              \
    }
#define NORM_BACKWARD_CASE(what, mask, n, m)                                                                           \
    {                                                                                                                  \
        what, RL_ROW_NORM_BACKWARD, ARGS(rl_norm_backward_args, NORM(mask)), 3, {                                      \
            AT(rl_norm_backward_args, grad_out, 2, {20, 40}), AT(rl_norm_backward_args, in, 2, {20, 40}),              \
                AT(rl_norm_backward_args, weight, 2, {1, 40}, .fixed = 1),                                             \
                AT(rl_norm_backward_args, mean, 2, {n, m}, .fixed = (mask)),                                           \
                AT(rl_norm_backward_args, var, 2, {n, m}, .fixed = (mask), .limit = 1),                                \
                AT(rl_norm_backward_args, grad_in, 2, {20, 40}),                                                       \
                AT(rl_norm_backward_args, grad_weight, 2, {1, 40}, .fixed = 1),                                        \
                AT(rl_norm_backward_args, grad_bias, 2, {1, 40}, .fixed = 1)                                           \
        }                                                                                                              \
    }
#define CONV_CASE(what, row, n, m, k)                                                                                  \
    {                                                                                                                  \
        what, row, ARGS(rl_conv_args, CONV), 1, {                                                                      \
            AT(rl_conv_args, a, 4, n), AT(rl_conv_args, b, 4, m), AT(rl_conv_args, out, 4, k)                          \
        }                                                                                                              \
    }
#define X_SHAPE                                                                                                        \
    { 2, 8, 20, 18 }
#define W_SHAPE                                                                                                        \
    { 12, 8, 3, 3 }
#define Y_SHAPE                                                                                                        \
    { 2, 12, 18, 16 }

/* clang-format off */
static const row_case cases[] = {
    {"softmax", RL_ROW_SOFTMAX, ARGS(rl_softmax_args, .dim = 1, .ndim = 2, .shape = {9, 33}), 1,
     {AT(rl_softmax_args, in, 2, {9, 33}), AT(rl_softmax_args, out, 2, {9, 33})}},
    {"softmax_backward", RL_ROW_SOFTMAX_BACKWARD,
     ARGS(rl_softmax_backward_args, .dim = 0, .ndim = 2, .shape = {9, 33}), 1,
     {AT(rl_softmax_backward_args, grad_out, 2, {9, 33}), AT(rl_softmax_backward_args, out, 2, {9, 33}),
      AT(rl_softmax_backward_args, grad_in, 2, {9, 33})}},
    CONV_CASE("conv", RL_ROW_CONV, X_SHAPE, W_SHAPE, Y_SHAPE),
    {"conv with bias", RL_ROW_CONV, ARGS(rl_conv_args, CONV, .activation = RL_ACTIVATION_RELU), 1,
     {AT(rl_conv_args, a, 4, X_SHAPE), AT(rl_conv_args, b, 4, W_SHAPE), AT(rl_conv_args, bias, 1, {12}),
      AT(rl_conv_args, out, 4, Y_SHAPE)}},
    CONV_CASE("conv_grad_input", RL_ROW_CONV_GRAD_INPUT, Y_SHAPE, W_SHAPE, X_SHAPE),
    CONV_CASE("conv_grad_weight", RL_ROW_CONV_GRAD_WEIGHT, X_SHAPE, Y_SHAPE, W_SHAPE),
    {"maxima", RL_ROW_POOL, ARGS(rl_pool_args, POOL(RL_POOL_MAX)), 1,
     {AT(rl_pool_args, in, 4, X_SHAPE), AT(rl_pool_args, out, 4, {2, 8, 10, 9})}},
    {"averages", RL_ROW_POOL, ARGS(rl_pool_args, POOL(RL_POOL_AVERAGE)), 1,
     {AT(rl_pool_args, in, 4, X_SHAPE), AT(rl_pool_args, out, 4, {2, 8, 10, 9})}},
    {"maxima backward", RL_ROW_POOL_BACKWARD, ARGS(rl_pool_backward_args, POOL(RL_POOL_MAX)), 1,
     {AT(rl_pool_backward_args, grad_out, 4, {2, 8, 10, 9}), AT(rl_pool_backward_args, in, 4, X_SHAPE),
      AT(rl_pool_backward_args, grad_in, 4, X_SHAPE)}},
    {"averages backward", RL_ROW_POOL_BACKWARD, ARGS(rl_pool_backward_args, POOL(RL_POOL_AVERAGE)), 1,
     {AT(rl_pool_backward_args, grad_out, 4, {2, 8, 10, 9}), AT(rl_pool_backward_args, grad_in, 4, X_SHAPE)}},
    NORM_CASE("norm of rows", 2, 20, 1),
    NORM_CASE("norm of columns", 1, 1, 40),
    NORM_BACKWARD_CASE("norm_backward of rows", 2, 20, 1),
    NORM_BACKWARD_CASE("norm_backward of columns", 1, 1, 40),
    {"cross_entropy", RL_ROW_CROSS_ENTROPY,
     ARGS(rl_cross_entropy_args, .index_dtype = RL_I64, .stat_dtype = RL_F32, .rows = 37, .classes = 50,
          .ignore_index = 3), 2,
     {AT(rl_cross_entropy_args, logits, 2, {37, 50}), AT(rl_cross_entropy_args, target, 1, {37}, .dtype = RL_I64, .limit = 50),
      AT(rl_cross_entropy_args, loss, 1, {37}), AT(rl_cross_entropy_args, log_sum, 1, {37})}},
    {"attention", RL_ROW_ATTENTION, ARGS(rl_attention_args, ATTENTION, .causal = 1), 2,
     {AT(rl_attention_args, q, 4, {2, 2, 50, 16}), AT(rl_attention_args, k, 4, {2, 2, 70, 16}),
      AT(rl_attention_args, v, 4, {2, 2, 70, 16}), AT(rl_attention_args, out, 4, {2, 2, 50, 16}),
      AT(rl_attention_args, log_sum, 3, {2, 2, 50})}},
    {"attention_backward", RL_ROW_ATTENTION_BACKWARD, ARGS(rl_attention_backward_args, ATTENTION), 3,
     {AT(rl_attention_backward_args, grad_out, 4, {2, 2, 50, 16}), AT(rl_attention_backward_args, q, 4, {2, 2, 50, 16}),
      AT(rl_attention_backward_args, k, 4, {2, 2, 70, 16}), AT(rl_attention_backward_args, v, 4, {2, 2, 70, 16}),
      AT(rl_attention_backward_args, out, 4, {2, 2, 50, 16}),
      AT(rl_attention_backward_args, log_sum, 3, {2, 2, 50}, .limit = 1),
      AT(rl_attention_backward_args, grad_q, 4, {2, 2, 50, 16}),
      AT(rl_attention_backward_args, grad_k, 4, {2, 2, 70, 16}),
      AT(rl_attention_backward_args, grad_v, 4, {2, 2, 70, 16})}},
    {"embedding_backward", RL_ROW_EMBEDDING_BACKWARD,
     ARGS(rl_embedding_backward_args, .index_dtype = RL_I64, .count = 90, .rows = 20, .width = 24, .padding_index = 4),
     1,
     {AT(rl_embedding_backward_args, grad_out, 2, {90, 24}),
      AT(rl_embedding_backward_args, index, 1, {90}, .dtype = RL_I64, .limit = 20), AT(rl_embedding_backward_args, out, 2, {20, 24})}},
    {"lstm", RL_ROW_RNN, ARGS(rl_rnn_args, RNN(RL_RNN_LSTM)), 3,
     {AT(rl_rnn_args, gates, 3, {5, 6, 28}), AT(rl_rnn_args, weight, 2, {28, 7}), AT(rl_rnn_args, bias, 1, {28}),
      AT(rl_rnn_args, h0, 2, {6, 7}), AT(rl_rnn_args, c0, 2, {6, 7}), AT(rl_rnn_args, h, 3, {5, 6, 7}),
      AT(rl_rnn_args, c, 3, {5, 6, 7}), AT(rl_rnn_args, reserve, 3, {5, 6, 28})}},
    {"gru", RL_ROW_RNN, ARGS(rl_rnn_args, RNN(RL_RNN_GRU)), 2,
     {AT(rl_rnn_args, gates, 3, {5, 6, 21}), AT(rl_rnn_args, weight, 2, {21, 7}), AT(rl_rnn_args, h0, 2, {6, 7}),
      AT(rl_rnn_args, h, 3, {5, 6, 7}), AT(rl_rnn_args, reserve, 3, {5, 6, 28})}},
    {"linear", RL_ROW_LINEAR, ARGS(rl_linear_args, .rows = 64, .in_features = 32, .out_features = 48), 1,
     {AT(rl_linear_args, in, 2, {64, 32}), AT(rl_linear_args, weight, 2, {48, 32}), AT(rl_linear_args, bias, 1, {48}),
      AT(rl_linear_args, out, 2, {64, 48})}},
    {"linear with relu", RL_ROW_LINEAR,
     ARGS(rl_linear_args, .rows = 64, .in_features = 32, .out_features = 48, .activation = RL_ACTIVATION_RELU), 1,
     {AT(rl_linear_args, in, 2, {64, 32}), AT(rl_linear_args, weight, 2, {48, 32}),
      AT(rl_linear_args, out, 2, {64, 48})}},
};
/* clang-format on */

static int count_slots(const row_case *c) {
    int n = 0;
    while (n < MOST_SLOTS && c->slots[n].ndim > 0)
        n++;
    return n;
}
static int64_t count_of(const slot *s) {
    int64_t count = 1;
    for (int d = 0; d < s->ndim; d++)
        count *= s->shape[d];
    assert_true(count <= MOST_ELEMENTS);
    return count;
}
static size_t bytes_of(const slot *s) {
    return s->dtype == RL_I64 ? sizeof(int64_t) : sizeof(float);
}

/* Element i, row-major, in the memory that the plugin gets, or in the copy that stays. */
static char *element(const slot *s, const twin_operand *o, int which, int64_t i) {
    int64_t at = 0;
    for (int d = s->ndim - 1; d >= 0; i /= s->shape[d--])
        at += i % s->shape[d] * o->of[which].stride[d];
    return (char *)o->memory->base[which] + o->of[which].offset + at * (int64_t)bytes_of(s);
}

static void draw_numbers(const slot *s, char *to) {
    for (int64_t i = 0; i < count_of(s); i++) {
        const int64_t index = s->dtype == RL_I64 ? draw_below(s->limit) : 0;
        const float number = (float)(draw_below(2001) - 1000) / 1000.0f;
        const float value = s->limit == 1 ? fabsf(number) + 3.0f : number;
        memcpy(to + i * (int64_t)bytes_of(s), s->dtype == RL_I64 ? (const void *)&index : (const void *)&value,
               bytes_of(s));
    }
}

static char numbers[MOST_SLOTS][MOST_ELEMENTS * 8], results[MOST_SLOTS][MOST_ELEMENTS * 8];

/* Runs the case with operands of this kind: 0 where the row declines. Outputs go to `to`. */
static int run_case(const row_case *c, int only, stride_kind kind, char to[][MOST_ELEMENTS * 8]) {
    union {
        rl_norm_backward_args norm;
        rl_attention_backward_args attention;
        rl_conv_args conv;
        rl_rnn_args rnn;
        char bytes[2048];
    } args;
    twin_operand *operand[MOST_SLOTS] = {NULL};
    const char *reason = NULL;
    const int n = count_slots(c);
    assert_true(c->size <= sizeof args);
    memcpy(&args, c->args, c->size);
    for (int k = 0; k < n; k++) {
        const slot *s = &c->slots[k];
        operand[k] =
            new_operand(s->dtype ? s->dtype : RL_F32, s->ndim, s->shape, only < 0 || only == k ? kind : PACKED);
        for (int64_t i = 0; i < count_of(s) && k < n - c->n_outputs; i++)
            for (int which = 0; which < 2; which++)
                memcpy(element(s, operand[k], which, i), numbers[k] + i * (int64_t)bytes_of(s), bytes_of(s));
        rl_operand given = operand[k]->of[1];
        for (int d = 0; d < s->ndim; d++)
            if (s->fixed >> d & 1)
                given.stride[d] = 0;
        memcpy(args.bytes + s->at, &given, sizeof given);
    }
    const rl_fused_cell *cell = cell_of(c->row);
    if (!cell->supports(device, &args, &reason)) {
        assert_non_null(reason);
        free_operands();
        return 0;
    }
    if (cell->run(stream, &args) != RL_OK)
        fail_msg("%s: %s", c->name, host_text);
    for (int k = 0; k < n; k++) { /* what was written is as it should be but for its elements */
        const slot *s = &c->slots[k];
        for (int64_t i = 0; i < count_of(s) && k >= n - c->n_outputs; i++) {
            memcpy(to[k] + i * 4, element(s, operand[k], 1, i), 4);
            memcpy(element(s, operand[k], 0, i), element(s, operand[k], 1, i), 4);
        }
        if (memcmp(operand[k]->memory->base[0], operand[k]->memory->base[1], operand[k]->memory->bytes) != 0)
            fail_msg("%s: operand %d: bytes that are none of its elements were changed", c->name, k);
    }
    free_operands();
    return 1;
}

static void compare(const row_case *c, char want[][MOST_ELEMENTS * 8], char got[][MOST_ELEMENTS * 8]) {
    const int n = count_slots(c);
    for (int k = n - c->n_outputs; k < n; k++)
        for (int64_t i = 0; i < count_of(&c->slots[k]); i++) {
            float x, y;
            memcpy(&x, want[k] + i * 4, 4);
            memcpy(&y, got[k] + i * 4, 4);
            if (!(fabsf(x - y) <= 1e-4f * (1.0f + fabsf(x))))
                fail_msg("%s: output %d, element %lld is %.9g, packed %.9g", c->name, k, (long long)i, (double)y,
                         (double)x);
        }
}

static void any_memory(void) {
    static char want[MOST_SLOTS][MOST_ELEMENTS * 8];
    for (int i = 0; i < COUNT(cases); i++) {
        const row_case *c = &cases[i];
        int taken = 0;
        for (int k = 0; k < count_slots(c); k++)
            draw_numbers(&c->slots[k], numbers[k]);
        threads = 2;
        if (!run_case(c, -1, PACKED, want))
            fail_msg("%s declines packed operands", c->name);
        for (int round = 0; round < ROUNDS; round++) { /* each operand by itself, then all of them */
            const int only = round < count_slots(c) * 2 ? round % count_slots(c) : -1;
            threads = (uint32_t)(1 + draw_below(4));
            if (!run_case(c, only, draw_below(3) ? GAPS : PERMUTED, results))
                continue;
            compare(c, want, results);
            taken++;
        }
        if (taken == 0)
            fail_msg("%s took nothing but packed operands", c->name);
    }
}

CLONES(any_memory)

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(any_memory_of_each_clone)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
