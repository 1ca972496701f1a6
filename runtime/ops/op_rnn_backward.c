/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rnn_direction_backward: the gradients of one direction of one recurrent layer, from the last step walked to the
 * first: the fused row, its lowering to a program and a product a step, and the same by ops for further derivatives.
 *
 * With h', c' the state before a step and e the gradient of h from outside and from the step after:
 *   LSTM  dc = e o (1 - tanh(c)^2) + grad_c + dc of the step after;  di = dc g, df = dc c', dg = dc i, do = e tanh(c);
 *         the step before gets dc f
 *   GRU   dn = e (1 - z), dz = e (h' - n), dr = dn (1 - n^2) q, dq = dn (1 - n^2) r; the step before gets e z
 * each times the derivative of its activation; through the weight, the step before gets (state's gates) weight.
 */
#include "base/memory.h"
#include "ops/op_rnn.h"

enum { GRAD_H, GRAD_C, WEIGHT, H0, C0, H, C, RESERVE, CELL, REVERSE }; /* its arguments */

static rl_status take(const rl_call *call, rl_rnn *out) {
    const rl_tensor *h = rl_arg_tensor(call, H);
    rl_status status = rl_rnn_cell_of(call, CELL, out);
    if (status != RL_OK)
        return status;
    char text[RL_SHAPE_TEXT];
    if (h->ndim != 3)
        return rl_call_fail(call, RL_SHAPE_MISMATCH, "h %s must have 3 dimensions (steps, batch, hidden)",
                            rl_shape_text(h->ndim, h->shape, text));
    out->steps = h->shape[0];
    out->batch = h->shape[1];
    out->hidden = h->shape[2];
    out->reverse = rl_arg_bool(call, REVERSE);
    const int64_t *all = h->shape, state[] = {out->batch, out->hidden};
    const int64_t kept[] = {out->steps, out->batch, out->kept * out->hidden};
    bool lstm = out->cell == RL_RNN_LSTM;
    status = rl_rnn_check(call, GRAD_H, 3, all, "as h");
    if (status == RL_OK && rl_arg_given(call, GRAD_C))
        status = rl_rnn_check(call, GRAD_C, 3, all, "as h");
    if (status == RL_OK)
        status = rl_rnn_check(call, WEIGHT, 2, (const int64_t[]){out->gates * out->hidden, out->hidden},
                              "(gates hidden, hidden)");
    if (status == RL_OK)
        status = rl_rnn_check(call, H0, 2, state, "(batch, hidden)");
    if (status == RL_OK && lstm)
        status = rl_rnn_check(call, C0, 2, state, "(batch, hidden)");
    if (status == RL_OK && lstm)
        status = rl_rnn_check(call, C, 3, all, "as h");
    if (status == RL_OK && out->kept > 0)
        status = rl_rnn_check(call, RESERVE, 3, kept, "(steps, batch, kept hidden)");
    return status;
}

static rl_status rnn_direction_backward_infer(rl_call *call) {
    const rl_tensor *h = rl_arg_tensor(call, H);
    rl_rnn r;
    rl_status status = rl_check_same_device(call);
    if (status == RL_OK)
        status = rl_check_float(call, H);
    for (int i = GRAD_H; i <= RESERVE && status == RL_OK; i++)
        if (rl_arg_given(call, i))
            status = rl_check_dtype_is(call, i, (rl_dtype)h->dtype);
    if (status == RL_OK)
        status = take(call, &r);
    if (status != RL_OK)
        return status;
    for (int i = 1; i < 4; i++)
        rl_rnn_meta_none(h, &call->meta[i]);
    rl_rnn_meta(&r, h, r.gates * r.hidden, &call->meta[0]);
    if (r.cell == RL_RNN_GRU)
        rl_rnn_meta(&r, h, r.gates * r.hidden, &call->meta[1]);
    rl_meta_set(&call->meta[2], (rl_dtype)h->dtype, h->storage->device, 2, (const int64_t[]){r.batch, r.hidden});
    if (r.cell == RL_RNN_LSTM)
        rl_meta_set(&call->meta[3], (rl_dtype)h->dtype, h->storage->device, 2, (const int64_t[]){r.batch, r.hidden});
    return RL_OK;
}

/* Lowering -------------------------------------------------------------------------------------------------------- */

/* d a (1 - a), behind a sigmoid; d (1 - a^2), behind a tanh. */
static rl_pw through_sigmoid(rl_builder *b, rl_pw d, rl_pw a) {
    return MUL(d, MUL(a, SUB(NUM(a, 1), a)));
}
static rl_pw through_tanh(rl_builder *b, rl_pw d, rl_pw a) {
    return MUL(d, SUB(NUM(a, 1), MUL(a, a)));
}

/* Inputs: the gradient of h from outside, that from the step after; then of c alike (variant & 4: from outside); then
 * what the cell saved. Outputs: the gates, the state's gates, what goes to the step before. */
static rl_pw gradient_of_h(rl_builder *b, uint32_t key) {
    rl_pw outside = rl_key_input(b, key);
    return ADD(outside, rl_build_input(b, rl_key_compute(key)));
}

static void write_lstm(rl_builder *b, uint32_t key) {
    rl_pw e = gradient_of_h(b, key), dc = rl_build_input(b, rl_key_compute(key)), kept[4];
    if (rl_key_variant(key) & 4)
        dc = ADD(dc, rl_key_input(b, key));
    rl_pw before = rl_key_input(b, key), tanh_c = TANH(rl_key_input(b, key));
    for (int k = 0; k < 4; k++)
        kept[k] = rl_key_input(b, key);
    dc = ADD(through_tanh(b, MUL(e, kept[3]), tanh_c), dc);
    rl_build_output(b, through_sigmoid(b, MUL(dc, kept[2]), kept[0]), rl_key_out(key));
    rl_build_output(b, through_sigmoid(b, MUL(dc, before), kept[1]), rl_key_out(key));
    rl_build_output(b, through_tanh(b, MUL(dc, kept[0]), kept[2]), rl_key_out(key));
    rl_build_output(b, through_sigmoid(b, MUL(e, tanh_c), kept[3]), rl_key_out(key));
    rl_build_output(b, MUL(dc, kept[1]), rl_key_compute(key));
}

static void write_gru(rl_builder *b, uint32_t key) {
    rl_pw e = gradient_of_h(b, key), before = rl_key_input(b, key), kept[4];
    for (int k = 0; k < 4; k++)
        kept[k] = rl_key_input(b, key);
    rl_pw r = kept[0], z = kept[1], n = kept[2], q = kept[3];
    rl_pw dn = through_tanh(b, MUL(e, SUB(NUM(z, 1), z)), n);
    rl_pw dr = through_sigmoid(b, MUL(dn, q), r), dz = through_sigmoid(b, MUL(e, SUB(before, n)), z);
    rl_build_output(b, dr, rl_key_out(key));
    rl_build_output(b, dz, rl_key_out(key));
    rl_build_output(b, dn, rl_key_out(key));
    rl_build_output(b, dr, rl_key_out(key));
    rl_build_output(b, dz, rl_key_out(key));
    rl_build_output(b, MUL(dn, r), rl_key_out(key));
    rl_build_output(b, MUL(e, z), rl_key_compute(key));
}

static void write_plain(rl_builder *b, uint32_t key) {
    rl_pw e = gradient_of_h(b, key), h = rl_key_input(b, key);
    bool relu = (rl_key_variant(key) & 3) == RL_RNN_RELU;
    rl_build_output(b, relu ? SELECT(LE(h, NUM(h, 0)), NUM(e, 0), e) : through_tanh(b, e, h), rl_key_out(key));
}

/* The state before step number i of the walk. */
static rl_tensor *state_before(const rl_call *call, const rl_rnn *r, int64_t i, int all, int first) {
    return i > 0 ? rl_rnn_at(rl_arg_tensor(call, all), rl_rnn_step(r, i - 1)) : rl_arg_tensor(call, first);
}

/* What the steps of a lowering use. Products are of F32 or better, and what goes to the step before is kept so. */
typedef struct lowering {
    const rl_program *program;
    rl_tensor *weight, *carry_h, *carry_c;
} lowering;

static rl_status lower_step(rl_call *call, const rl_rnn *r, const lowering *l, int64_t i) {
    const char *op = rl_call_name(call);
    rl_tensor *in[6 + RL_RNN_BLOCKS], *out[2 * RL_RNN_BLOCKS], *gates = call->results[0], *state = call->results[1];
    int inputs = 0, outputs = 0;
    int64_t t = rl_rnn_step(r, i);
    RL_SCOPE();
    in[inputs++] = rl_rnn_at(rl_arg_tensor(call, GRAD_H), t);
    in[inputs++] = l->carry_h;
    if (r->cell == RL_RNN_LSTM) {
        in[inputs++] = l->carry_c;
        if (rl_arg_given(call, GRAD_C))
            in[inputs++] = rl_rnn_at(rl_arg_tensor(call, GRAD_C), t);
        in[inputs++] = state_before(call, r, i, C, C0);
        in[inputs++] = rl_rnn_at(rl_arg_tensor(call, C), t);
    } else {
        in[inputs++] = r->cell == RL_RNN_GRU ? state_before(call, r, i, H, H0) : rl_rnn_at(rl_arg_tensor(call, H), t);
    }
    for (int64_t k = 0; k < r->kept; k++)
        in[inputs++] = rl_rnn_block(r, rl_arg_tensor(call, RESERVE), t, k);
    for (int64_t k = 0; k < r->gates; k++)
        out[outputs++] = rl_rnn_block(r, gates, t, k);
    for (int64_t k = 0; k < r->gates && r->cell == RL_RNN_GRU; k++)
        out[outputs++] = rl_rnn_block(r, state, t, k);
    if (r->cell == RL_RNN_LSTM)
        out[outputs++] = l->carry_c;
    else if (r->cell == RL_RNN_GRU)
        out[outputs++] = l->carry_h;
    rl_tensor *through = rl_rnn_at(r->cell == RL_RNN_GRU ? state : gates, t);
    if (rl_failed() || rl_row_map(op, l->program, in, out, NULL) != RL_OK)
        return rl_error_status();
    through = rl_as_dtype(call, through, (rl_dtype)l->carry_h->dtype);
    if (through == NULL)
        return rl_error_status();
    return rl_row_matmul(op, through, l->weight, l->carry_h, 1.0, r->cell == RL_RNN_GRU ? 1.0 : 0.0);
}

static rl_status lower_backward(rl_call *call, const rl_rnn *r) {
    static const rl_program_writer writers[] = {
        [RL_RNN_LSTM] = write_lstm, [RL_RNN_GRU] = write_gru, [RL_RNN_TANH] = write_plain, [RL_RNN_RELU] = write_plain};
    const char *op = rl_call_name(call);
    rl_dtype dtype = call->meta[0].dtype, compute = rl_accumulator(dtype);
    uint32_t variant = (uint32_t)r->cell | (rl_arg_given(call, GRAD_C) ? 4u : 0u);
    const int64_t shape[] = {r->batch, r->hidden};
    bool lstm = r->cell == RL_RNN_LSTM;
    lowering l = {.program = rl_row_program(writers[r->cell], RL_KEY(dtype, compute, dtype, variant)),
                  .weight = rl_as_dtype(call, rl_arg_tensor(call, WEIGHT), compute),
                  .carry_h = rl_call_temp(call, compute, 2, shape),
                  .carry_c = lstm ? rl_call_temp(call, compute, 2, shape) : NULL};
    if (rl_failed() || rl_clear(op, l.carry_h) != RL_OK || (lstm && rl_clear(op, l.carry_c) != RL_OK))
        return rl_error_status();
    for (int64_t i = r->steps - 1; i >= 0; i--)
        if (lower_step(call, r, &l, i) != RL_OK)
            return rl_error_status();
    if (lstm && rl_move(op, call->results[3], l.carry_c) != RL_OK)
        return rl_error_status();
    return rl_move(op, call->results[2], l.carry_h);
}

static rl_status rnn_direction_backward_lower(rl_call *call) {
    rl_rnn r;
    rl_status status = take(call, &r);
    if (status != RL_OK || r.batch == 0 || r.hidden == 0)
        return status;
    if (r.steps == 0)
        return lower_backward(call, &r);
    bool lstm = r.cell == RL_RNN_LSTM, gru = r.cell == RL_RNN_GRU;
    rl_rnn_backward_args args = {.dtype = call->meta[0].dtype,
                                 .cell = (uint32_t)r.cell,
                                 .reverse = r.reverse,
                                 .steps = r.steps,
                                 .batch = r.batch,
                                 .hidden = r.hidden};
    rl_tensor *operands[] = {rl_arg_tensor(call, GRAD_H),
                             lstm ? rl_arg_tensor(call, GRAD_C) : NULL,
                             rl_arg_tensor(call, WEIGHT),
                             rl_arg_tensor(call, H0),
                             lstm ? rl_arg_tensor(call, C0) : NULL,
                             rl_arg_tensor(call, H),
                             lstm ? rl_arg_tensor(call, C) : NULL,
                             r.kept > 0 ? rl_arg_tensor(call, RESERVE) : NULL,
                             call->results[0],
                             gru ? call->results[1] : NULL,
                             call->results[2],
                             lstm ? call->results[3] : NULL};
    bool ran;
    status = rl_row_fused(rl_call_name(call), RL_ROW_RNN_BACKWARD, &args, sizeof args, operands, 12, &ran);
    return status == RL_OK && !ran ? lower_backward(call, &r) : status;
}

static const rl_sample backward_samples[] = {
    {"f[3,2,3], f[3,2,3], f[12,3], f[2,3], f[2,3], f[3,2,3], f[3,2,3], u[3,2,12], \"lstm\""},
    {"f[3,2,3], None, f[12,3], f[2,3], f[2,3], f[3,2,3], f[3,2,3], u[3,2,12], \"lstm\", true"},
    {"f[3,2,3], None, f[9,3], f[2,3], None, f[3,2,3], None, u[3,2,12], \"gru\""},
    {"f[3,2,3], None, f[9,3], f[2,3], None, f[3,2,3], None, u[3,2,12], \"gru\", true"},
    {"f[3,2,3], None, f[3,3], f[2,3], None, u[3,2,3], None, None, \"tanh\""},
    {"f[3,2,3], None, f[3,3], f[2,3], None, f[3,2,3], None, None, \"relu\", true"},
    {"f[1,2,3]t, None, f[12,3], f[2,3], f[2,3], f[1,2,3]t, f[1,2,3]t, u[1,2,12], \"lstm\""},
    {"f[0,2,3], None, f[12,3], f[2,3], f[2,3], f[0,2,3], f[0,2,3], u[0,2,12], \"lstm\""},
    {"f[2,0,3], None, f[9,3], f[0,3], None, f[2,0,3], None, u[2,0,12], \"gru\""},
    {"f[3,21,11], f[3,21,11], u[44,11], f[21,11], f[21,11], u[3,21,11], u[3,21,11], u[3,21,44], \"lstm\""},
    {"f[2,18,37], None, u[111,37], f[18,37], None, u[2,18,37], None, u[2,18,148], \"gru\", true"},
    {"f[2,5,140], None, u[140,140], f[5,140], None, u[2,5,140], None, None, \"tanh\""},
    {0}};
static const rl_bad backward_bad[] = {
    {"f[2,3], None, f[3,3], f[2,3], None, f[2,3], None, None, \"tanh\"", RL_SHAPE_MISMATCH, "h (2, 3) must have 3"},
    {"f[3,2,2], None, f[3,3], f[2,3], None, f[3,2,3], None, None, \"tanh\"", RL_SHAPE_MISMATCH, "grad_h (3, 2, 2)"},
    {"f[3,2,3], None, f[9,3], f[2,3], None, f[3,2,3], None, None, \"gru\"", RL_INVALID_ARGUMENT, "reserve is NULL"},
    {"f[3,2,3], None, f[9,3], f[2,3], None, f[3,2,3], None, f[3,2,3], \"nothing\"", RL_INVALID_ARGUMENT,
     "cell must be"},
    {0}};

const rl_op_def rl_op_def_rnn_direction_backward = {
    .schema = "rnn_direction_backward(Tensor grad_h, Tensor? grad_c, Tensor weight_hh, Tensor h0, Tensor? c0, "
              "Tensor h, Tensor? c, Tensor? reserve, str cell, bool reverse=False) -> "
              "(Tensor grad_gates, Tensor grad_state_gates, Tensor grad_h0, Tensor grad_c0)",
    .doc = "the gradients of rnn_direction, whose results are h, c and reserve",
    .note = "grad_gates is that of the input's part of the gates; grad_state_gates that of the state's part, which is "
            "another for 'gru' alone. Results that a cell does not have are of shape (0). Has no derivative: where "
            "gradients of gradients are taken, the derivative of rnn_direction is recorded step by step instead.",
    .flags = RL_OP_ROWS | RL_OP_NO_GRAD,
    .infer = rnn_direction_backward_infer,
    .lower = rnn_direction_backward_lower,
    .samples = backward_samples,
    .bad = backward_bad,
};
