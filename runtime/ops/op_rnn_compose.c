/* SPDX-License-Identifier: Apache-2.0 */
/* The gradients of one direction of a recurrent layer by ops, step by step (op_rnn_backward.c has the formulas). */
#include "base/memory.h"
#include "ops/op_rnn.h"

/* Step t of a (steps, batch, ..), and block k of it. NULL stays NULL. */
static rl_tensor *step_of(rl_tensor *all, int64_t t) {
    return all ? rl_select(all, 0, t) : NULL;
}
static rl_tensor *block_of(const rl_rnn *r, rl_tensor *step, int64_t k) {
    return step ? rl_narrow(step, 1, k * r->hidden, r->hidden) : NULL;
}
/* Sums in which a part may be absent. */
static rl_tensor *plus(rl_tensor *a, rl_tensor *b) {
    return a == NULL ? b : b == NULL ? a : rl_add(a, b);
}
static rl_tensor *through_sigmoid(rl_tensor *d, rl_tensor *a) {
    return rl_sigmoid_backward(d, a);
}
static rl_tensor *through_tanh(rl_tensor *d, rl_tensor *a) {
    return rl_tanh_backward(d, a);
}

typedef struct walk {
    const rl_rnn *r;
    const rl_rnn_gradients *g;
    rl_tensor *e, *dc; /* gradients of h and c at the step; what goes to the step before, through the cell */
    rl_tensor *kept[RL_RNN_BLOCKS];  /* the step's reserve */
    rl_tensor *dkept[RL_RNN_BLOCKS]; /* its gradient, may be NULL */
    rl_tensor *gates, *state_gates;  /* results */
} walk;

static void lstm_step(walk *w, int64_t t, rl_tensor *c_before) {
    rl_tensor *e = w->e, *tanh_c = rl_tanh(step_of(w->g->c, t)), **kept = w->kept;
    rl_tensor *dc = plus(plus(w->dc, step_of(w->g->grad_c, t)), through_tanh(rl_mul(e, kept[3]), tanh_c));
    rl_tensor *parts[] = {through_sigmoid(plus(w->dkept[0], rl_mul(dc, kept[2])), kept[0]),
                          through_sigmoid(plus(w->dkept[1], rl_mul(dc, c_before)), kept[1]),
                          through_tanh(plus(w->dkept[2], rl_mul(dc, kept[0])), kept[2]),
                          through_sigmoid(plus(w->dkept[3], rl_mul(e, tanh_c)), kept[3])};
    w->gates = w->state_gates = rl_cat(RL_TENSORS_AT(parts, 4), .dim = 1);
    w->dc = rl_mul(dc, kept[1]);
    w->e = NULL;
}

static void gru_step(walk *w, rl_tensor *h_before) {
    rl_tensor *e = w->e, *r = w->kept[0], *z = w->kept[1], *n = w->kept[2], *q = w->kept[3];
    rl_tensor *dn = through_tanh(plus(w->dkept[2], rl_sub(e, rl_mul(e, z))), n);
    rl_tensor *dr = through_sigmoid(plus(w->dkept[0], rl_mul(dn, q)), r);
    rl_tensor *dz = through_sigmoid(plus(w->dkept[1], rl_mul(e, rl_sub(h_before, n))), z);
    rl_tensor *dq = plus(w->dkept[3], rl_mul(dn, r));
    w->gates = rl_cat(RL_TENSORS(dr, dz, dn), .dim = 1);
    w->state_gates = rl_cat(RL_TENSORS(dr, dz, dq), .dim = 1);
    w->e = rl_mul(e, z);
}

static void plain_step(walk *w, rl_tensor *h) {
    w->gates = w->state_gates = w->r->cell == RL_RNN_RELU ? rl_threshold_backward(w->e, h, 0) : through_tanh(w->e, h);
    w->e = NULL;
}

static rl_status walk_back(const rl_rnn *r, rl_rnn_gradients *g, rl_tensor **gates, rl_tensor **state_gates) {
    walk w = {.r = r, .g = g};
    for (int64_t i = r->steps - 1; i >= 0 && !rl_failed(); i--) {
        int64_t t = rl_rnn_step(r, i);
        rl_tensor *kept = step_of(g->reserve, t), *dkept = step_of(g->grad_reserve, t);
        for (int64_t k = 0; k < r->kept; k++) {
            w.kept[k] = block_of(r, kept, k);
            w.dkept[k] = block_of(r, dkept, k);
        }
        w.e = plus(w.e, step_of(g->grad_h, t));
        if (r->cell == RL_RNN_LSTM)
            lstm_step(&w, t, i > 0 ? step_of(g->c, rl_rnn_step(r, i - 1)) : g->c0);
        else if (r->cell == RL_RNN_GRU)
            gru_step(&w, i > 0 ? step_of(g->h, rl_rnn_step(r, i - 1)) : g->h0);
        else
            plain_step(&w, step_of(g->h, t));
        gates[t] = w.gates;
        state_gates[t] = w.state_gates;
        w.e = plus(w.e, rl_matmul(w.state_gates, g->weight));
    }
    g->first_h = w.e;
    g->first_c = w.dc;
    return rl_error_status();
}

rl_status rl_rnn_compose(const rl_rnn *r, rl_rnn_gradients *g) {
    rl_tensor **lists = rl_alloc_zero((size_t)r->steps, 2 * sizeof *lists, "gradients of the steps");
    if (lists == NULL)
        return rl_error_status();
    if (walk_back(r, g, lists, lists + r->steps) == RL_OK) {
        g->gates = g->state_gates = rl_stack(RL_TENSORS_AT(lists, r->steps));
        if (r->cell == RL_RNN_GRU)
            g->state_gates = rl_stack(RL_TENSORS_AT(lists + r->steps, r->steps));
    }
    rl_free(lists);
    return rl_error_status();
}
