/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rnn_direction: one direction of one recurrent layer, given the input's part of the gates for all steps: the fused
 * row, and its lowering to a product and a program a step. backend.h has the formulas of the cells.
 */
#include <string.h>

#include "ops/op_rnn.h"

/* What both directions share -------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    int64_t gates, kept;
} cells[] = {[RL_RNN_LSTM] = {"lstm", 4, 4},
             [RL_RNN_GRU] = {"gru", 3, 4},
             [RL_RNN_TANH] = {"tanh", 1, 0},
             [RL_RNN_RELU] = {"relu", 1, 0}};

const char *rl_rnn_cell_name(rl_rnn_cell cell) {
    return cells[cell].name;
}

static bool find_cell(const char *word, rl_rnn *out) {
    for (int i = 0; i < (int)(sizeof cells / sizeof *cells); i++)
        if (strcmp(cells[i].name, word) == 0) {
            out->cell = (rl_rnn_cell)i;
            out->gates = cells[i].gates;
            out->kept = cells[i].kept;
            return true;
        }
    return false;
}

void rl_rnn_cell_named(const char *word, rl_rnn *out) {
    (void)find_cell(word, out);
}

rl_status rl_rnn_cell_of(const rl_call *call, int arg, rl_rnn *out) {
    if (find_cell(rl_arg_word(call, arg), out))
        return RL_OK;
    return rl_call_fail(call, RL_INVALID_ARGUMENT, "cell must be 'lstm', 'gru', 'tanh' or 'relu', got '%.40s'",
                        rl_arg_word(call, arg));
}

rl_status rl_rnn_check(const rl_call *call, int arg, int64_t ndim, const int64_t *shape, const char *sizes) {
    const rl_tensor *x = rl_arg_tensor(call, arg);
    const char *name = rl_schema_table[call->opcode].params[arg].name;
    char have[RL_SHAPE_TEXT], want[RL_SHAPE_TEXT];
    if (x == NULL)
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "%s is NULL and must be %s, here %s", name, sizes,
                            rl_shape_text(ndim, shape, want));
    if (x->ndim == ndim && memcmp(x->shape, shape, (size_t)ndim * sizeof *shape) == 0)
        return RL_OK;
    return rl_call_fail(call, RL_SHAPE_MISMATCH, "%s %s must be %s, here %s", name,
                        rl_shape_text(x->ndim, x->shape, have), sizes, rl_shape_text(ndim, shape, want));
}

/* Whether all of a batch's row comes before the next row of the batch. */
static bool is_batch_first(const rl_tensor *x) {
    return x->ndim == 3 && x->shape[0] > 1 && x->shape[1] > 1 && x->stride[0] < x->stride[1];
}

void rl_rnn_meta(const rl_rnn *self, const rl_tensor *like, int64_t width, rl_meta *meta) {
    rl_meta_set(meta, (rl_dtype)like->dtype, like->storage->device, 3,
                (const int64_t[]){self->steps, self->batch, width});
    if (is_batch_first(like)) {
        meta->has_stride = true;
        memcpy(meta->stride, (const int64_t[]){width, self->steps * width, 1}, 3 * sizeof *meta->stride);
    }
}

void rl_rnn_meta_none(const rl_tensor *like, rl_meta *meta) {
    rl_meta_set(meta, (rl_dtype)like->dtype, like->storage->device, 1, (const int64_t[]){0});
}

rl_tensor *rl_rnn_block_of(const rl_rnn *self, const rl_tensor *step, int64_t k) {
    return rl_over(step, 2, (const int64_t[]){self->batch, self->hidden}, step->stride,
                   step->offset + k * self->hidden * step->stride[1]);
}

rl_tensor *rl_rnn_at(const rl_tensor *all, int64_t t) {
    return rl_over(all, 2, all->shape + 1, all->stride + 1, all->offset + t * all->stride[0]);
}

rl_tensor *rl_rnn_block(const rl_rnn *self, const rl_tensor *all, int64_t t, int64_t k) {
    return rl_over(all, 2, (const int64_t[]){self->batch, self->hidden}, all->stride + 1,
                   all->offset + t * all->stride[0] + k * self->hidden * all->stride[2]);
}

/* Forward --------------------------------------------------------------------------------------------------------- */

enum { GATES, WEIGHT, BIAS, H0, C0, CELL, REVERSE, KEEP }; /* its arguments */

/* The sizes of a call, checked. */
static rl_status take(const rl_call *call, rl_rnn *out) {
    const rl_tensor *gates = rl_arg_tensor(call, GATES);
    rl_status status = rl_rnn_cell_of(call, CELL, out);
    if (status != RL_OK)
        return status;
    char text[RL_SHAPE_TEXT];
    if (gates->ndim != 3)
        return rl_call_fail(call, RL_SHAPE_MISMATCH, "gates %s must have 3 dimensions (steps, batch, %lld hidden)",
                            rl_shape_text(gates->ndim, gates->shape, text), (long long)out->gates);
    out->steps = gates->shape[0];
    out->batch = gates->shape[1];
    out->hidden = gates->shape[2] / out->gates;
    out->reverse = rl_arg_bool(call, REVERSE);
    if (gates->shape[2] % out->gates != 0)
        return rl_call_fail(
            call, RL_SHAPE_MISMATCH, "gates %s must end with a multiple of %lld, the blocks of one step of '%s'",
            rl_shape_text(gates->ndim, gates->shape, text), (long long)out->gates, rl_rnn_cell_name(out->cell));
    int64_t width = gates->shape[2], hidden = out->hidden, state[] = {out->batch, hidden};
    status = rl_rnn_check(call, WEIGHT, 2, (const int64_t[]){width, hidden}, "(gates hidden, hidden)");
    if (status == RL_OK && rl_arg_given(call, BIAS))
        status = rl_rnn_check(call, BIAS, 1, &width, "(gates hidden)");
    if (status == RL_OK)
        status = rl_rnn_check(call, H0, 2, state, "(batch, hidden)");
    if (status == RL_OK && out->cell == RL_RNN_LSTM)
        status = rl_rnn_check(call, C0, 2, state, "(batch, hidden)");
    if (status == RL_OK && out->cell != RL_RNN_LSTM && rl_arg_given(call, C0))
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "c0 is of 'lstm' alone: '%s' has no such state",
                            rl_rnn_cell_name(out->cell));
    return status;
}

static rl_status rnn_direction_infer(rl_call *call) {
    const rl_tensor *gates = rl_arg_tensor(call, GATES);
    rl_rnn r;
    rl_status status = rl_check_same_device(call);
    if (status == RL_OK)
        status = rl_check_float(call, GATES);
    for (int i = WEIGHT; i <= C0 && status == RL_OK; i++)
        if (rl_arg_given(call, i))
            status = rl_check_dtype_is(call, i, (rl_dtype)gates->dtype);
    if (status == RL_OK)
        status = take(call, &r);
    if (status != RL_OK)
        return status;
    rl_rnn_meta(&r, gates, r.hidden, &call->meta[0]);
    rl_rnn_meta_none(gates, &call->meta[1]);
    rl_rnn_meta_none(gates, &call->meta[2]);
    if (r.cell == RL_RNN_LSTM)
        rl_rnn_meta(&r, gates, r.hidden, &call->meta[1]);
    if (r.kept > 0 && rl_arg_bool(call, KEEP))
        rl_rnn_meta(&r, gates, r.kept * r.hidden, &call->meta[2]);
    return RL_OK;
}

/* One step of a cell: from the input's parts and the state's parts of its gates, then the state before, to the state
 * after and, where it is kept, the reserve. Variant: the cell, and 4 where the reserve is kept. */
static void write_step(rl_builder *b, uint32_t key) {
    rl_rnn_cell cell = (rl_rnn_cell)(rl_key_variant(key) & 3);
    int n = (int)cells[cell].gates, kept = 0;
    rl_pw x[RL_RNN_BLOCKS], s[RL_RNN_BLOCKS] = {0}, u[RL_RNN_BLOCKS] = {0}, keep[RL_RNN_BLOCKS] = {0}, h;
    for (int k = 0; k < n; k++)
        x[k] = rl_key_input(b, key);
    for (int k = 0; k < n; k++)
        s[k] = rl_build_input(b, rl_key_compute(key));
    for (int k = 0; k < n; k++)
        u[k] = cell == RL_RNN_GRU && k == 2 ? x[k] : ADD(x[k], s[k]);
    if (cell == RL_RNN_LSTM) {
        rl_pw before = rl_key_input(b, key);
        for (int k = 0; k < n; k++)
            keep[k] = k == 2 ? TANH(u[k]) : OP1(SIGMOID, u[k]);
        rl_pw c = ADD(MUL(keep[1], before), MUL(keep[0], keep[2]));
        h = MUL(keep[3], TANH(c));
        rl_build_output(b, h, rl_key_out(key));
        rl_build_output(b, c, rl_key_out(key));
        kept = 4;
    } else if (cell == RL_RNN_GRU) {
        rl_pw before = rl_key_input(b, key);
        keep[0] = OP1(SIGMOID, u[0]);
        keep[1] = OP1(SIGMOID, u[1]);
        keep[2] = TANH(ADD(u[2], MUL(keep[0], s[2])));
        keep[3] = s[2];
        h = ADD(MUL(SUB(before, keep[2]), keep[1]), keep[2]); /* (1 - z) n + z h' */
        rl_build_output(b, h, rl_key_out(key));
        kept = 4;
    } else {
        h = cell == RL_RNN_TANH ? TANH(u[0]) : MAX(u[0], NUM(u[0], 0));
        rl_build_output(b, h, rl_key_out(key));
    }
    for (int k = 0; k < kept && (rl_key_variant(key) & 4); k++)
        rl_build_output(b, keep[k], rl_key_out(key));
}

/* What the steps of a lowering use. Products are of F32 or better, whatever the dtype. */
typedef struct lowering {
    const rl_program *program;
    rl_tensor *weight, *state; /* (hidden, gates hidden); the state's part of the gates (batch, gates hidden) */
} lowering;

/* state = bias + h weight^T, then the program. */
static rl_status lower_step(rl_call *call, const rl_rnn *r, const lowering *l, int64_t i) {
    const char *op = rl_call_name(call);
    rl_tensor *bias = rl_arg_tensor(call, BIAS), *h = call->results[0], *c = call->results[1];
    int64_t t = rl_rnn_step(r, i), before = i > 0 ? rl_rnn_step(r, i - 1) : 0;
    RL_SCOPE();
    rl_tensor *last_h = i > 0 ? rl_rnn_at(h, before) : rl_arg_tensor(call, H0);
    rl_tensor *factor = last_h ? rl_as_dtype(call, last_h, (rl_dtype)l->state->dtype) : NULL;
    if (factor == NULL || (bias != NULL && rl_move(op, l->state, bias) != RL_OK) ||
        rl_row_matmul(op, factor, l->weight, l->state, 1.0, bias ? 1.0 : 0.0) != RL_OK)
        return rl_error_status();
    rl_tensor *in[2 * RL_RNN_BLOCKS + 1] = {NULL}, *out[2 + RL_RNN_BLOCKS] = {NULL};
    int inputs = 0, outputs = 0;
    for (int64_t k = 0; k < r->gates; k++)
        in[inputs++] = rl_rnn_block(r, rl_arg_tensor(call, GATES), t, k);
    for (int64_t k = 0; k < r->gates; k++)
        in[inputs++] = rl_rnn_block_of(r, l->state, k);
    if (r->cell == RL_RNN_LSTM)
        in[inputs++] = i > 0 ? rl_rnn_at(c, before) : rl_arg_tensor(call, C0);
    else if (r->cell == RL_RNN_GRU)
        in[inputs++] = last_h;
    out[outputs++] = rl_rnn_at(h, t);
    if (r->cell == RL_RNN_LSTM)
        out[outputs++] = rl_rnn_at(c, t);
    for (int64_t k = 0; k < r->kept && rl_arg_bool(call, KEEP); k++)
        out[outputs++] = rl_rnn_block(r, call->results[2], t, k);
    return rl_failed() ? rl_error_status() : rl_row_map(op, l->program, in, out, NULL);
}

static rl_status lower_forward(rl_call *call, const rl_rnn *r) {
    rl_dtype dtype = call->meta[0].dtype, compute = rl_accumulator(dtype);
    uint32_t variant = (uint32_t)r->cell | (r->kept > 0 && rl_arg_bool(call, KEEP) ? 4u : 0u);
    rl_tensor *weight = rl_as_dtype(call, rl_arg_tensor(call, WEIGHT), compute);
    lowering l = {.program = rl_row_program(write_step, RL_KEY(dtype, compute, dtype, variant)),
                  .weight = weight ? rl_exchanged(weight, 0, 1) : NULL,
                  .state = rl_call_temp(call, compute, 2, (const int64_t[]){r->batch, r->gates * r->hidden})};
    if (l.program == NULL || l.weight == NULL || l.state == NULL)
        return rl_error_status();
    rl_status status = RL_OK;
    for (int64_t i = 0; i < r->steps && status == RL_OK; i++)
        status = lower_step(call, r, &l, i);
    return status;
}

static rl_status rnn_direction_lower(rl_call *call) {
    rl_rnn r;
    rl_status status = take(call, &r);
    rl_tensor *h = call->results[0], *c = call->results[1], *reserve = call->results[2];
    if (status != RL_OK || h->numel == 0)
        return status;
    rl_rnn_args args = {.dtype = h->dtype,
                        .cell = (uint32_t)r.cell,
                        .reverse = r.reverse,
                        .steps = r.steps,
                        .batch = r.batch,
                        .hidden = r.hidden};
    rl_tensor *operands[] = {rl_arg_tensor(call, GATES), rl_arg_tensor(call, WEIGHT),    rl_arg_tensor(call, BIAS),
                             rl_arg_tensor(call, H0),    rl_arg_tensor(call, C0),        h,
                             c->numel ? c : NULL,        reserve->numel ? reserve : NULL};
    bool ran;
    status = rl_row_fused(rl_call_name(call), RL_ROW_RNN, &args, sizeof args, operands, 8, &ran);
    return status == RL_OK && !ran ? lower_forward(call, &r) : status;
}

/* Derivative ------------------------------------------------------------------------------------------------------ */

static rl_tensor *if_any(rl_tensor *x) {
    return x && x->numel > 0 ? x : NULL;
}

/* The state before each step, as rows in the order in which `like` lies, whose rows these are then, too. */
static rl_tensor *states_before(const rl_rnn *r, const rl_rnn_gradients *g, bool batch_first) {
    int64_t dim = batch_first;
    rl_tensor *h = batch_first ? rl_transpose(g->h, 0, 1) : g->h, *first = rl_unsqueeze(g->h0, dim);
    rl_tensor *rest = rl_narrow(h, dim, r->reverse, r->steps - 1);
    rl_tensor *all = r->reverse ? rl_cat(RL_TENSORS(rest, first), .dim = dim ? dim : RL_ZERO)
                                : rl_cat(RL_TENSORS(first, rest), .dim = dim ? dim : RL_ZERO);
    return rl_reshape(all, RL_DIMS(r->steps * r->batch, r->hidden));
}

/* gw = sum over steps of s[t]^T h[t - 1], s the gradient of the state's part: one product. */
static rl_tensor *weight_gradient(const rl_rnn *r, const rl_rnn_gradients *g) {
    rl_tensor *s = g->state_gates;
    if (s == NULL)
        return NULL;
    bool batch_first = is_batch_first(s);
    rl_tensor *rows =
        rl_reshape(batch_first ? rl_transpose(s, 0, 1) : s, RL_DIMS(r->steps * r->batch, r->gates * r->hidden));
    return rl_matmul(rl_t(rows), states_before(r, g, batch_first));
}

static void run_backward(const rl_rnn *r, rl_rnn_gradients *g) {
    rl_rnn_direction_backward_result made =
        rl_rnn_direction_backward(g->grad_h, g->grad_c, g->weight, g->h0, g->c0, g->h, g->c, g->reserve,
                                  rl_rnn_cell_name(r->cell), .reverse = r->reverse);
    g->gates = made.grad_gates;
    g->state_gates = r->cell == RL_RNN_GRU ? made.grad_state_gates : made.grad_gates;
    g->first_h = made.grad_h0;
    g->first_c = made.grad_c0;
}

/* The fused backward where nothing is recorded; else the same by ops, which brings all further derivatives. */
static void rnn_direction_vjp(rl_vjp *v) {
    const rl_meta *gates = rl_vjp_meta(v, GATES);
    rl_rnn r = {.reverse = rl_vjp_arg(v, REVERSE)->as.b, .steps = gates->shape[0], .batch = gates->shape[1]};
    rl_rnn_cell_named(rl_vjp_word(v, CELL), &r);
    r.hidden = gates->shape[2] / r.gates;
    rl_rnn_gradients g = {.grad_h = G,
                          .grad_c = if_any(rl_vjp_grad(v, 1)),
                          .grad_reserve = if_any(rl_vjp_grad(v, 2)),
                          .weight = rl_vjp_input(v, WEIGHT),
                          .h0 = rl_vjp_input(v, H0),
                          .h = rl_vjp_result(v, 0)};
    if (r.cell == RL_RNN_LSTM) {
        g.c0 = rl_vjp_input(v, C0);
        g.c = rl_vjp_result(v, 1);
    }
    if (r.kept > 0)
        g.reserve = rl_vjp_result(v, 2);
    if (g.reserve != NULL && g.reserve->numel == 0 && g.h != NULL && g.h->numel > 0) {
        rl_fail(RL_AUTOGRAD, "rnn_direction: its reserve was not kept: call it with keep=True for gradients");
        return;
    }
    if (g.grad_h == NULL && g.h != NULL)
        g.grad_h = rl_zeros(rl_shape_of(g.h), .dtype = gates->dtype, .device = gates->device);
    if (rl_failed())
        return;
    if (r.steps > 0 && (rl_recording_ || g.grad_reserve != NULL))
        (void)rl_rnn_compose(&r, &g);
    else
        run_backward(&r, &g);
    if (rl_failed())
        return;
    rl_vjp_set(v, GATES, g.gates);
    if (rl_vjp_needs(v, WEIGHT) && r.steps > 0)
        rl_vjp_set(v, WEIGHT, weight_gradient(&r, &g));
    rl_vjp_set(v, BIAS, g.state_gates);
    rl_vjp_set(v, H0, g.first_h);
    rl_vjp_set(v, C0, g.first_c);
}

#define LARGE .no_gradcheck = true, .why = "it is large"
#define NOT_KEPT .no_gradcheck = true, .why = "gradients need the reserve"
static const rl_sample rnn_direction_samples[] = {
    {"f[3,2,12], f[12,3], f[12], f[2,3], f[2,3], \"lstm\""},
    {"f[3,2,12], f[12,3], None, f[2,3], f[2,3], \"lstm\", true"},
    {"f[2,2,12], f[12,3], f[12], f[2,3], f[2,3], \"lstm\", false, false", NOT_KEPT},
    {"f[3,2,9], f[9,3], f[9], f[2,3], None, \"gru\""},
    {"f[3,2,9], f[9,3], None, f[2,3], None, \"gru\", true"},
    {"f[2,2,9], f[9,3], f[9], f[2,3], None, \"gru\", true, false", NOT_KEPT},
    {"f[3,2,3], f[3,3], f[3], f[2,3], None, \"tanh\""},
    {"f[3,2,3], f[3,3], None, f[2,3], None, \"tanh\", true"},
    {"f[3,2,3], f[3,3], f[3], f[2,3], None, \"relu\""},
    {"f[2,3,4]t, f[4,1], f[4], f[3,1], f[3,1], \"lstm\""},
    {"f[1,1,3], f[3,1], f[3], f[1,1], None, \"gru\""},
    {"f[0,2,4], f[4,1], f[4], f[2,1], f[2,1], \"lstm\""},
    {"f[2,0,4], f[4,1], f[4], f[0,1], f[0,1], \"lstm\""},
    {"u[4,21,44], u[44,11], u[44], f[21,11], f[21,11], \"lstm\"", LARGE},
    {"u[3,18,111], u[111,37], u[111], f[18,37], None, \"gru\", true", LARGE},
    {"f[2,5,140], u[140,140], f[140], f[5,140], None, \"tanh\"", LARGE},
    {"f[4,2,140], u[140,140], f[140], f[2,140], None, \"relu\"", LARGE},
    {"f[3,4,35], u[35,35], f[35], f[4,35], None, \"tanh\", true", LARGE},
    {"f[3,8,3], f[3,3], None, f[8,3], None, \"tanh\"", LARGE},
    {"f[3,10,3], f[3,3], None, f[10,3], None, \"tanh\"", LARGE},
    {"f[3,14,17], u[17,17], None, f[14,17], None, \"tanh\"", LARGE},
    {"f[3,37,4], f[4,1], f[4], f[37,1], f[37,1], \"lstm\", true", LARGE},
    {0}};
static const rl_bad rnn_direction_bad[] = {
    {"f[3,2,12], f[12,3], f[12], f[2,3], f[2,3], \"lstn\"", RL_INVALID_ARGUMENT, "cell must be 'lstm'"},
    {"f[2,12], f[12,3], f[12], f[2,3], f[2,3], \"lstm\"", RL_SHAPE_MISMATCH, "gates (2, 12) must have 3 dimensions"},
    {"f[3,2,10], f[12,3], f[12], f[2,3], f[2,3], \"lstm\"", RL_SHAPE_MISMATCH, "a multiple of 4"},
    {"f[3,2,12], f[12,4], f[12], f[2,3], f[2,3], \"lstm\"", RL_SHAPE_MISMATCH, "weight_hh (12, 4) must be"},
    {"f[3,2,12], f[12,3], f[3], f[2,3], f[2,3], \"lstm\"", RL_SHAPE_MISMATCH, "bias_hh (3) must be"},
    {"f[3,2,12], f[12,3], f[12], f[3,3], f[2,3], \"lstm\"", RL_SHAPE_MISMATCH, "h0 (3, 3) must be (batch, hidden)"},
    {"f[3,2,12], f[12,3], f[12], f[2,3], None, \"lstm\"", RL_INVALID_ARGUMENT, "c0 is NULL"},
    {"f[3,2,9], f[9,3], f[9], f[2,3], f[2,3], \"gru\"", RL_INVALID_ARGUMENT, "c0 is of 'lstm' alone"},
    {"f32[3,2,3], f64[3,3], None, f32[2,3], None, \"tanh\"", RL_DTYPE_MISMATCH, "weight_hh must be float32"},
    {"i64[3,2,3], i64[3,3], None, i64[2,3], None, \"tanh\"", RL_DTYPE_MISMATCH, "gates must be of a floating dtype"},
    {0}};

const rl_op_def rl_op_def_rnn_direction = {
    .schema = "rnn_direction(Tensor gates, Tensor weight_hh, Tensor? bias_hh, Tensor h0, Tensor? c0, str cell, "
              "bool reverse=False, bool keep=True) -> (Tensor h, Tensor c, Tensor reserve)",
    .doc = "h[t] = cell(gates[t] + weight_hh h[t-1] + bias_hh): one direction of one recurrent layer",
    .note = "gates (steps, batch, G hidden) is the input's part of the gates; weight_hh (G hidden, hidden). cell is "
            "'lstm' (G 4: i f g o), 'gru' (G 3: r z n), 'tanh' or 'relu' (G 1). h and, for 'lstm', c (steps, batch, "
            "hidden) hold the state after each step; reserve what the derivative needs: the gates after their "
            "activations, and for 'gru' weight_hh h + bias_hh of n. Results that a cell does not have, or that keep "
            "leaves out, have shape (0).",
    .flags = RL_OP_ROWS,
    .saves = RL_SAVE_IN(WEIGHT) | RL_SAVE_IN(H0) | RL_SAVE_IN(C0) | RL_SAVE_OUT(0) | RL_SAVE_OUT(1) | RL_SAVE_OUT(2),
    .infer = rnn_direction_infer,
    .lower = rnn_direction_lower,
    .vjp = rnn_direction_vjp,
    .samples = rnn_direction_samples,
    .bad = rnn_direction_bad,
};
