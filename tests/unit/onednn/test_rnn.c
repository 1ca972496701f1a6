/* SPDX-License-Identifier: Apache-2.0 */
/* Recurrent layers: the same bits on any number of threads, in any memory; what is refused; no memory. Their numbers
 * are compared with the lowering by the samples of rnn_direction. */
#include <stdlib.h>
#include <string.h>

#include "harness.h"

static const int gates_of[] = {4, 3, 1, 1}, kept_of[] = {4, 4, 0, 0};

typedef struct rnn_case {
    rl_rnn_args forward;
    rl_rnn_backward_args backward;
    twin_operand *outputs[7];
    int n_outputs;
} rnn_case;

/* Numbers within -1 and 1, in all of an operand's memory. */
static rl_operand input(int64_t ndim, const int64_t *shape, stride_kind kind) {
    twin_operand *o = new_operand(RL_F32, ndim, shape, kind);
    const int64_t n = (int64_t)(o->memory->bytes - 128) / 4;
    for (int64_t i = 0; i < n; i++) {
        const float x = (float)(draw_below(2001) - 1000) / 1000.0f;
        memcpy(o->memory->base[1] + 64 + i * 4, &x, 4);
    }
    return o->of[1];
}
static rl_operand output(rnn_case *c, int64_t ndim, const int64_t *shape, stride_kind kind) {
    twin_operand *o = new_operand(RL_F32, ndim, shape, kind);
    c->outputs[c->n_outputs++] = o;
    return o->of[1];
}

static rnn_case draw_case(void) {
    const int64_t steps = 3 + draw_below(4), batch = 1 + draw_below(40), hidden = 1 + draw_below(60);
    const uint32_t cell = (uint32_t)draw_below(4), reverse = (uint32_t)draw_below(2);
    const int64_t width = gates_of[cell] * hidden, kept = kept_of[cell] * hidden;
    const int64_t all[] = {steps, batch, hidden}, gates[] = {steps, batch, width}, reserve[] = {steps, batch, kept},
                  state[] = {batch, hidden}, weight[] = {width, hidden};
    const stride_kind kind = (stride_kind)draw_below(3);
    rnn_case c = {.forward = {.size = sizeof c.forward,
                              .dtype = RL_F32,
                              .cell = cell,
                              .reverse = reverse,
                              .steps = steps,
                              .batch = batch,
                              .hidden = hidden},
                  .backward = {.size = sizeof c.backward,
                               .dtype = RL_F32,
                               .cell = cell,
                               .reverse = reverse,
                               .steps = steps,
                               .batch = batch,
                               .hidden = hidden}};
    rl_rnn_args *f = &c.forward;
    rl_rnn_backward_args *b = &c.backward;
    f->gates = input(3, gates, kind);
    f->weight = b->weight = input(2, weight, kind);
    if (draw_below(2))
        f->bias = input(1, &width, kind);
    f->h0 = b->h0 = input(2, state, kind);
    f->h = b->h = output(&c, 3, all, kind);
    if (cell == RL_RNN_LSTM) {
        f->c0 = b->c0 = input(2, state, kind);
        f->c = b->c = output(&c, 3, all, kind);
        b->grad_c0 = output(&c, 2, state, kind);
        if (draw_below(2))
            b->grad_c = input(3, all, kind);
    }
    if (kept > 0)
        f->reserve = b->reserve = output(&c, 3, reserve, kind);
    b->grad_h = input(3, all, kind);
    b->grad_gates = output(&c, 3, gates, kind);
    b->grad_h0 = output(&c, 2, state, kind);
    if (cell == RL_RNN_GRU)
        b->grad_state_gates = output(&c, 3, gates, kind);
    return c;
}

static void run_both(const rnn_case *c) {
    const char *reason = NULL;
    const rl_fused_cell *forward = cell_of(RL_ROW_RNN), *backward = cell_of(RL_ROW_RNN_BACKWARD);
    assert_true(forward->supports(device, &c->forward, &reason));
    assert_true(backward->supports(device, &c->backward, &reason));
    assert_int_equal(forward->run(stream, &c->forward), RL_OK);
    assert_int_equal(backward->run(stream, &c->backward), RL_OK);
}

static void same_bits(void) {
    for (int round = 0; round < 60; round++) {
        const rnn_case c = draw_case();
        unsigned char *first[7] = {NULL};
        threads = 1;
        run_both(&c);
        for (int i = 0; i < c.n_outputs; i++) {
            const twin *memory = c.outputs[i]->memory;
            first[i] = malloc(memory->bytes);
            assert_non_null(first[i]);
            memcpy(first[i], memory->base[1], memory->bytes);
        }
        threads = 2 + (uint32_t)draw_below(4);
        run_both(&c);
        for (int i = 0; i < c.n_outputs; i++) {
            const twin *memory = c.outputs[i]->memory;
            assert_memory_equal(first[i], memory->base[1], memory->bytes);
            assert_memory_equal(memory->base[0], memory->base[1], 64); /* the guards are as they were */
            assert_memory_equal(memory->base[0] + memory->bytes - 64, memory->base[1] + memory->bytes - 64, 64);
            free(first[i]);
        }
        free_operands();
    }
    threads = 2;
}

static void refusals(void) {
    rl_rnn_args args = {.size = sizeof args, .dtype = RL_F64, .steps = 9, .batch = 2, .hidden = 3};
    const rl_fused_cell *cell = cell_of(RL_ROW_RNN);
    const char *reason = NULL;
    assert_false(cell->supports(device, &args, &reason));
    assert_non_null(strstr(reason, "f32"));
    args.dtype = RL_BF16;
    assert_true(cell->supports(device, &args, &reason));
    args.cell = 9;
    assert_false(cell->supports(device, &args, &reason));
    assert_non_null(strstr(reason, "cell"));
    args.cell = RL_RNN_GRU;
    args.steps = 1;
    assert_false(cell->supports(device, &args, &reason));
    assert_non_null(strstr(reason, "steps"));
}

static void no_memory(void) {
    const rnn_case c = draw_case();
    scratch_fails = 1;
    assert_int_equal(cell_of(RL_ROW_RNN)->run(stream, &c.forward), RL_OUT_OF_MEMORY);
    assert_int_equal(cell_of(RL_ROW_RNN_BACKWARD)->run(stream, &c.backward), RL_OUT_OF_MEMORY);
    scratch_fails = 0;
    free_operands();
}

static void test_all(void **state) {
    (void)state;
    each_clone(same_bits);
    each_clone(refusals);
    each_clone(no_memory);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
