/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attention of (batch, head) rows and its backward: the fused rows, and their lowering to primitives. Neither way needs
 * memory of q_length x k_length: the lowering works on some queries at a time, so many that their scores stay below
 * a cap. Half floats are computed in F32 from end to end.
 *
 * Shapes: q, gq (B, H, L, E), k, gk (B, H, S, E), v, gv (B, H, S, V), mask (B, H, L, S), out, go (B, H, L, V), log_sum
 * (B, H, L).
 */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "ops/op_attention.h"

#define SCORE_BYTES (16 << 20) /* of scores at a time */

/* Checks ---------------------------------------------------------------------------------------------------------- */

typedef enum mask_kind { MASK_NONE, MASK_BOOL, MASK_ADDED } mask_kind;

/* The operands of a call, from args[first] on: q, k, v, mask; scale and is_causal at args[last]. */
typedef struct attention {
    rl_tensor *q, *k, *v, *mask;
    int64_t batch, heads, length, keys, width, value_width;
    double scale;
    bool causal;
    mask_kind kind;
    rl_dtype compute;
} attention;

static void read_call(const rl_call *call, int first, int last, attention *a) {
    *a = (attention){.q = rl_arg_tensor(call, first),
                     .k = rl_arg_tensor(call, first + 1),
                     .v = rl_arg_tensor(call, first + 2),
                     .mask = rl_arg_tensor(call, first + 3),
                     .scale = rl_arg_double(call, last),
                     .causal = rl_arg_bool(call, last + 1)};
    assert(a->q != NULL && a->k != NULL && a->v != NULL);
    a->batch = a->q->shape[0];
    a->heads = a->q->shape[1];
    a->length = a->q->shape[2];
    a->keys = a->k->shape[2];
    a->width = a->q->shape[3];
    a->value_width = a->v->shape[3];
    a->kind = a->mask == NULL ? MASK_NONE : a->mask->dtype == RL_BOOL ? MASK_BOOL : MASK_ADDED;
    a->compute = a->q->dtype == RL_F64 ? RL_F64 : RL_F32;
    if (a->mask != NULL)
        a->mask = rl_read_as(a->mask, 4, (const int64_t[]){a->batch, a->heads, a->length, a->keys});
}

static rl_status fail_shape(const rl_call *call, int arg, const char *wanted) {
    const rl_tensor *t = rl_arg_tensor(call, arg);
    char text[RL_SHAPE_TEXT];
    return rl_call_fail(call, RL_SHAPE_MISMATCH, "%s %s must have shape %s",
                        rl_schema_table[call->opcode].params[arg].name, rl_shape_text(t->ndim, t->shape, text), wanted);
}

static rl_status check_mask(const rl_call *call, int arg, const rl_tensor *q, int64_t keys) {
    const rl_tensor *mask = rl_arg_tensor(call, arg);
    if (mask == NULL)
        return RL_OK;
    if (mask->dtype != RL_BOOL && mask->dtype != q->dtype)
        return rl_call_fail(call, RL_DTYPE_MISMATCH, "%s must be bool or %s, as query is, not %s",
                            rl_schema_table[call->opcode].params[arg].name, rl_dtype_name((rl_dtype)q->dtype),
                            rl_dtype_name((rl_dtype)mask->dtype));
    const int64_t shape[4] = {q->shape[0], q->shape[1], q->shape[2], keys};
    bool fits = mask->ndim <= 4;
    for (int d = 1; fits && d <= mask->ndim; d++)
        fits = mask->shape[mask->ndim - d] == 1 || mask->shape[mask->ndim - d] == shape[4 - d];
    return fits ? RL_OK : fail_shape(call, arg, "(batch, heads, queries, keys) or one that broadcasts to it");
}

/* q, k, v, mask from args[first] on. */
static rl_status check_operands(const rl_call *call, int first) {
    const rl_tensor *q = rl_arg_tensor(call, first), *k = rl_arg_tensor(call, first + 1),
                    *v = rl_arg_tensor(call, first + 2);
    rl_status status = rl_check_same_device(call);
    if (status == RL_OK)
        status = rl_check_float(call, first);
    for (int i = 1; i < 3 && status == RL_OK; i++)
        status = rl_check_dtype_is(call, first + i, (rl_dtype)q->dtype);
    if (status != RL_OK)
        return status;
    if (q->ndim != 4)
        return fail_shape(call, first, "(batch, heads, queries, width)");
    if (k->ndim != 4 || k->shape[0] != q->shape[0] || k->shape[1] != q->shape[1] || k->shape[3] != q->shape[3])
        return fail_shape(call, first + 1, "(batch, heads, keys, width), those of query but for keys");
    if (v->ndim != 4 || memcmp(v->shape, k->shape, 3 * sizeof *k->shape) != 0)
        return fail_shape(call, first + 2, "(batch, heads, keys, value width), those of key but for the width");
    return check_mask(call, first + 3, q, k->shape[2]);
}

/* meta[i] of this shape, laid out like `like`. */
static void set_like(rl_call *call, int i, const rl_tensor *like, int64_t last) {
    rl_meta *meta = &call->meta[i];
    rl_meta_set(meta, (rl_dtype)like->dtype, like->storage->device, 4, like->shape);
    meta->shape[3] = last;
    meta->has_stride = true;
    rl_dense_strides_like(4, meta->shape, like->stride, meta->stride);
}

static rl_status attention_rows_infer(rl_call *call) {
    rl_status status = check_operands(call, 0);
    if (status != RL_OK)
        return status;
    const rl_tensor *q = rl_arg_tensor(call, 0);
    set_like(call, 0, q, rl_arg_tensor(call, 2)->shape[3]);
    rl_meta_set(&call->meta[1], q->dtype == RL_F64 ? RL_F64 : RL_F32, q->storage->device, 3, q->shape);
    return RL_OK;
}

static rl_status attention_rows_backward_infer(rl_call *call) {
    rl_status status = check_operands(call, 1);
    for (int i = 0; i <= 5 && status == RL_OK; i += 5) {
        const rl_tensor *q = rl_arg_tensor(call, 1), *v = rl_arg_tensor(call, 3), *t = rl_arg_tensor(call, i);
        status = rl_check_dtype_is(call, i, (rl_dtype)q->dtype);
        if (status == RL_OK &&
            (t->ndim != 4 || memcmp(t->shape, q->shape, 3 * sizeof *t->shape) != 0 || t->shape[3] != v->shape[3]))
            status = fail_shape(call, i, "(batch, heads, queries, value width)");
    }
    if (status == RL_OK)
        status = rl_check_float(call, 6);
    if (status != RL_OK)
        return status;
    const rl_tensor *q = rl_arg_tensor(call, 1), *log_sum = rl_arg_tensor(call, 6);
    if (log_sum->ndim != 3 || memcmp(log_sum->shape, q->shape, 3 * sizeof *q->shape) != 0)
        return fail_shape(call, 6, "(batch, heads, queries)");
    for (int i = 0; i < 3; i++)
        set_like(call, i, rl_arg_tensor(call, 1 + i), rl_arg_tensor(call, 1 + i)->shape[3]);
    return RL_OK;
}

/* Programs -------------------------------------------------------------------------------------------------------- */

/* A key's variant: the mask's kind, times two, and whether it is causal. Its `in` is the mask's dtype. */
static uint32_t score_key(const attention *a) {
    return RL_KEY(a->mask ? a->mask->dtype : 0, a->compute, a->compute, (uint32_t)a->kind << 1 | a->causal);
}

/* A score with what the mask and causality do to it; the scalar is the number of the first query. */
static rl_pw masked_score(rl_builder *b, uint32_t key) {
    rl_pw s = rl_build_input(b, rl_key_compute(key)), nothing = NUM(s, -INFINITY);
    mask_kind kind = (mask_kind)(rl_key_variant(key) >> 1);
    if (kind == MASK_BOOL)
        s = SELECT(rl_build_input(b, RL_BOOL), s, nothing);
    else if (kind == MASK_ADDED)
        s = ADD(s, rl_key_input(b, key));
    if (rl_key_variant(key) & 1)
        s = SELECT(LE(rl_build_index(b, 3), ADD(rl_build_index(b, 2), rl_build_scalar(b, RL_I64))), s, nothing);
    return s;
}
static void write_masked(rl_builder *b, uint32_t key) {
    rl_build_output(b, masked_score(b, key), rl_key_compute(key));
}
/* What scores are compared with: 0 where a row sees nothing, so that its exponentials are 0. */
static rl_pw comparable(rl_builder *b, rl_pw x) {
    return SELECT(EQ(x, NUM(x, -INFINITY)), NUM(x, 0), x);
}
static void write_exp(rl_builder *b, uint32_t key) {
    rl_pw s = rl_build_input(b, rl_key_compute(key)), max = rl_build_input(b, rl_key_compute(key));
    rl_build_output(b, EXP(SUB(s, comparable(b, max))), rl_key_compute(key));
}
/* exp(s - max) / sum, 0 where a row sees nothing */
static void write_weights(rl_builder *b, uint32_t key) {
    rl_dtype compute = rl_key_compute(key);
    rl_pw s = rl_build_input(b, compute), max = rl_build_input(b, compute), sum = rl_build_input(b, compute);
    rl_pw p = DIV(EXP(SUB(s, comparable(b, max))), sum);
    rl_build_output(b, SELECT(EQ(sum, NUM(sum, 0)), NUM(p, 0), p), compute);
}
static void write_log_sum(rl_builder *b, uint32_t key) {
    rl_pw max = rl_build_input(b, rl_key_compute(key)), sum = rl_build_input(b, rl_key_compute(key));
    rl_build_output(b, ADD(max, LOG(sum)), rl_key_compute(key));
}
/* p = exp(s - log_sum) */
static void write_probabilities(rl_builder *b, uint32_t key) {
    rl_pw s = masked_score(b, key), log_sum = rl_build_input(b, rl_key_compute(key));
    rl_build_output(b, EXP(SUB(s, comparable(b, log_sum))), rl_key_compute(key));
}
/* g out: what is summed over a row */
static void write_product(rl_builder *b, uint32_t key) {
    rl_pw g = rl_key_input(b, key);
    rl_build_output(b, MUL(g, rl_key_input(b, key)), rl_key_compute(key));
}
/* ds = p (dp - sum) */
static void write_score_gradient(rl_builder *b, uint32_t key) {
    rl_dtype compute = rl_key_compute(key);
    rl_pw dp = rl_build_input(b, compute), p = rl_build_input(b, compute), sum = rl_build_input(b, compute);
    rl_build_output(b, MUL(p, SUB(dp, sum)), compute);
}

/* Lowering -------------------------------------------------------------------------------------------------------- */

/* How many queries are worked on at a time. */
static int64_t chunk_of(const attention *a) {
    int64_t row = a->batch * a->heads * a->keys * (a->compute == RL_F64 ? 8 : 4);
    int64_t fit = row > 0 ? SCORE_BYTES / row : a->length;
    return fit < 1 ? 1 : fit < a->length ? fit : a->length;
}
/* `count` of the positions along dimension 2, from `first` on. */
static rl_tensor *positions(const rl_tensor *t, int64_t first, int64_t count) {
    rl_geometry g = rl_geometry_of(t);
    g.shape[2] = count;
    return rl_over(t, g.ndim, g.shape, g.stride, g.offset + first * g.stride[2]);
}
/* (B, H, L) as (B, H, L, 1) */
static rl_tensor *as_column(const rl_tensor *t) {
    const int64_t shape[4] = {t->shape[0], t->shape[1], t->shape[2], 1},
                  stride[4] = {t->stride[0], t->stride[1], t->stride[2], 1};
    return rl_over(t, 4, shape, stride, t->offset);
}
static rl_tensor *temp(const rl_call *call, const attention *a, int64_t rows, int64_t columns) {
    return rl_call_temp(call, a->compute, 4, (const int64_t[]){a->batch, a->heads, rows, columns});
}
/* One map over scores; the scalar is the number of the first query, taken by programs that ask for it. */
static rl_status map_scores(const char *op, rl_program_writer write, uint32_t key, rl_tensor *const *inputs,
                            rl_tensor *out, int64_t first) {
    const rl_program *program = rl_row_program(write, key);
    return program ? rl_row_map(op, program, inputs, &out, &(rl_number){.i = first}) : rl_error_status();
}
static rl_status reduce_row(const char *op, rl_program_writer write, uint32_t key, rl_combiner combiner, rl_tensor *x,
                            rl_tensor *y, rl_tensor *out) {
    rl_dtype compute = rl_key_compute(key);
    rl_reduction r = {.prologue = write,
                      .prologue_key = key,
                      .epilogue = rl_write_result,
                      .epilogue_key = RL_KEY(0, compute, compute, 0),
                      .combiner = {(uint8_t)combiner},
                      .inputs = {x, y},
                      .outputs = {out},
                      .shape_of = x,
                      .mask = 8u};
    return rl_reduce(op, &r);
}

/* Scores of a chunk of queries to weights, in place; log_sum of them. */
static rl_status weigh(const rl_call *call, const attention *a, rl_tensor *s, rl_tensor *mask, rl_tensor *log_sum,
                       int64_t first) {
    const char *op = rl_call_name(call);
    const uint32_t key = RL_KEY(a->compute, a->compute, a->compute, 0);
    rl_tensor *max = temp(call, a, s->shape[2], 1), *sum = temp(call, a, s->shape[2], 1);
    if (max == NULL || sum == NULL)
        return rl_error_status();
    if ((mask || a->causal) && map_scores(op, write_masked, score_key(a), (rl_tensor *[]){s, mask}, s, first) != RL_OK)
        return rl_error_status();
    if (reduce_row(op, rl_write_value, key, RL_COMBINE_MAX, s, NULL, max) != RL_OK ||
        reduce_row(op, write_exp, key, RL_COMBINE_SUM, s, max, sum) != RL_OK ||
        map_scores(op, write_weights, key, (rl_tensor *[]){s, max, sum}, s, 0) != RL_OK)
        return rl_error_status();
    return map_scores(op, write_log_sum, key, (rl_tensor *[]){max, sum}, log_sum, 0);
}

static rl_status lower_forward(const rl_call *call, attention a) {
    const char *op = rl_call_name(call);
    rl_tensor *out = call->results[0], *log_sum = as_column(call->results[1]);
    const bool direct = (rl_dtype)out->dtype == a.compute;
    const int64_t chunk = chunk_of(&a);
    a.q = rl_as_dtype(call, a.q, a.compute);
    a.k = rl_as_dtype(call, a.k, a.compute);
    a.v = rl_as_dtype(call, a.v, a.compute);
    rl_tensor *scores = temp(call, &a, chunk, a.keys), *part = direct ? NULL : temp(call, &a, chunk, a.value_width);
    rl_tensor *kt = a.k ? rl_exchanged(a.k, 2, 3) : NULL;
    if (!log_sum || !a.q || !a.v || !scores || !kt)
        return rl_error_status();
    for (int64_t i = 0; i < a.length && !rl_failed(); i += chunk) {
        RL_SCOPE();
        const int64_t n = a.length - i < chunk ? a.length - i : chunk;
        rl_tensor *q = positions(a.q, i, n), *s = positions(scores, 0, n), *o = positions(out, i, n);
        rl_tensor *to = direct ? o : part ? positions(part, 0, n) : NULL, *sums = positions(log_sum, i, n);
        rl_tensor *mask = a.mask ? positions(a.mask, i, n) : NULL;
        if (rl_failed() || rl_row_matmul(op, q, kt, s, a.scale, 0.0) != RL_OK ||
            weigh(call, &a, s, mask, sums, i) != RL_OK || rl_row_matmul(op, s, a.v, to, 1.0, 0.0) != RL_OK)
            break;
        if (!direct)
            rl_move(op, o, to);
    }
    return rl_error_status();
}

/* What the lowering of the backward works on. */
typedef struct gradients {
    rl_tensor *go, *log_sum, *sum; /* sum (B, H, L, 1): of go out over each row */
    rl_tensor *gq, *gk, *gv;       /* in the compute dtype */
    rl_tensor *p, *ds;             /* (B, H, chunk, S) */
} gradients;

static rl_status lower_chunk(const char *op, const attention *a, const gradients *g, int64_t i, int64_t n) {
    RL_SCOPE();
    rl_tensor *q = positions(a->q, i, n), *go = positions(g->go, i, n), *gq = positions(g->gq, i, n);
    rl_tensor *p = positions(g->p, 0, n), *ds = positions(g->ds, 0, n), *sum = positions(g->sum, i, n);
    rl_tensor *log_sum = positions(g->log_sum, i, n), *mask = a->mask ? positions(a->mask, i, n) : NULL;
    rl_tensor *kt = rl_exchanged(a->k, 2, 3), *vt = rl_exchanged(a->v, 2, 3);
    if (rl_failed())
        return rl_error_status();
    rl_tensor *pt = rl_exchanged(p, 2, 3), *dst = rl_exchanged(ds, 2, 3);
    if (pt == NULL || dst == NULL)
        return rl_error_status();
    rl_tensor *with_mask[] = {p, mask, log_sum}, *without[] = {p, log_sum};
    const double more = i > 0 ? 1.0 : 0.0;
    const uint32_t key = RL_KEY(a->compute, a->compute, a->compute, 0);
    if (rl_row_matmul(op, q, kt, p, a->scale, 0.0) != RL_OK ||
        map_scores(op, write_probabilities, score_key(a), mask ? with_mask : without, p, i) != RL_OK ||
        rl_row_matmul(op, pt, go, g->gv, 1.0, more) != RL_OK || rl_row_matmul(op, go, vt, ds, 1.0, 0.0) != RL_OK ||
        map_scores(op, write_score_gradient, key, (rl_tensor *[]){ds, p, sum}, ds, 0) != RL_OK ||
        rl_row_matmul(op, ds, a->k, gq, a->scale, 0.0) != RL_OK)
        return rl_error_status();
    return rl_row_matmul(op, dst, q, g->gk, a->scale, more);
}

static rl_status lower_backward(const rl_call *call, attention a) {
    const char *op = rl_call_name(call);
    const int64_t chunk = chunk_of(&a);
    const bool direct = (rl_dtype)a.q->dtype == a.compute;
    rl_tensor *out = rl_arg_tensor(call, 5), *log_sum = rl_as_dtype(call, rl_arg_tensor(call, 6), a.compute);
    gradients g = {.go = rl_arg_tensor(call, 0),
                   .log_sum = log_sum ? as_column(log_sum) : NULL,
                   .sum = temp(call, &a, a.length, 1),
                   .gq = direct ? call->results[0] : temp(call, &a, a.length, a.width),
                   .gk = direct ? call->results[1] : temp(call, &a, a.keys, a.width),
                   .gv = direct ? call->results[2] : temp(call, &a, a.keys, a.value_width),
                   .p = temp(call, &a, chunk, a.keys),
                   .ds = temp(call, &a, chunk, a.keys)};
    if (rl_failed() || reduce_row(op, write_product, RL_KEY(out->dtype, a.compute, a.compute, 0), RL_COMBINE_SUM, g.go,
                                  out, g.sum) != RL_OK)
        return rl_error_status();
    a.q = rl_as_dtype(call, a.q, a.compute);
    a.k = rl_as_dtype(call, a.k, a.compute);
    a.v = rl_as_dtype(call, a.v, a.compute);
    g.go = rl_as_dtype(call, g.go, a.compute);
    for (int64_t i = 0; i < a.length && !rl_failed(); i += chunk)
        lower_chunk(op, &a, &g, i, a.length - i < chunk ? a.length - i : chunk);
    rl_tensor *made[] = {g.gq, g.gk, g.gv};
    for (int i = 0; i < 3 && !direct && !rl_failed(); i++)
        rl_move(op, call->results[i], made[i]);
    return rl_error_status();
}

/* The rows -------------------------------------------------------------------------------------------------------- */

static rl_status attention_rows_lower(rl_call *call) {
    attention a;
    read_call(call, 0, 4, &a);
    if (rl_failed() || call->results[1]->numel == 0)
        return rl_error_status();
    rl_attention_args args = {.dtype = a.q->dtype,
                              .mask_dtype = a.mask ? a.mask->dtype : 0,
                              .causal = a.causal,
                              .batch = a.batch,
                              .heads = a.heads,
                              .q_length = a.length,
                              .k_length = a.keys,
                              .width = a.width,
                              .value_width = a.value_width,
                              .scale = a.scale};
    bool ran;
    rl_status status =
        rl_row_fused(rl_call_name(call), RL_ROW_ATTENTION, &args, sizeof args,
                     (rl_tensor *[]){a.q, a.k, a.v, a.mask, call->results[0], call->results[1]}, 6, &ran);
    return status == RL_OK && !ran ? lower_forward(call, a) : status;
}

static rl_status clear_all(const rl_call *call) {
    for (int i = 0; i < 3 && !rl_failed(); i++)
        rl_clear(rl_call_name(call), call->results[i]);
    return rl_error_status();
}

static rl_status attention_rows_backward_lower(rl_call *call) {
    attention a;
    read_call(call, 1, 7, &a);
    if (rl_failed())
        return rl_error_status();
    if (a.batch * a.heads * a.length * a.keys == 0)
        return clear_all(call);
    rl_tensor *log_sum = rl_as_dtype(call, rl_arg_tensor(call, 6), a.compute);
    if (log_sum == NULL)
        return rl_error_status();
    rl_attention_backward_args args = {.dtype = a.q->dtype,
                                       .mask_dtype = a.mask ? a.mask->dtype : 0,
                                       .causal = a.causal,
                                       .batch = a.batch,
                                       .heads = a.heads,
                                       .q_length = a.length,
                                       .k_length = a.keys,
                                       .width = a.width,
                                       .value_width = a.value_width,
                                       .scale = a.scale};
    rl_tensor *operands[] = {rl_arg_tensor(call, 0),
                             a.q,
                             a.k,
                             a.v,
                             a.mask,
                             rl_arg_tensor(call, 5),
                             log_sum,
                             call->results[0],
                             call->results[1],
                             call->results[2]};
    bool ran;
    rl_status status =
        rl_row_fused(rl_call_name(call), RL_ROW_ATTENTION_BACKWARD, &args, sizeof args, operands, 10, &ran);
    return status == RL_OK && !ran ? lower_backward(call, a) : status;
}

/* Samples --------------------------------------------------------------------------------------------------------- */

static const rl_sample forward_samples[] = {
    {"f[1,2,3,4], f[1,2,5,4], f[1,2,5,3], None, 0.5, false"},
    {"f[2,1,4,3], f[2,1,4,3], f[2,1,4,3], None, 0.5, true"},
    {"f[1,1,3,2], f[1,1,5,2], f[1,1,5,2], b[3,5], 0.7, false"},
    {"f[1,2,3,2], f[1,2,3,2], f[1,2,3,2], f[1,2,3,3], 0.7, true"},
    {"f[2,3,4,5]t, f[2,3,2,5], f[2,3,2,4], f[2,1,1,2], -0.3, false", .no_gradcheck = true, .why = "slow"},
    {"f[1,1,0,2], f[1,1,3,2], f[1,1,3,2], None, 1.0, false"},
    {"f[1,1,2,2], f[1,1,0,2], f[1,1,0,3], None, 1.0, false", .no_gradcheck = true, .why = "log_sum is -infinity"},
    {"f[1,2,70,16], f[1,2,150,16], f[1,2,150,20], None, 0.25, false", .no_gradcheck = true, .why = "slow"},
    {"f[1,1,150,9], f[1,1,150,9], f[1,1,150,7], None, 0.3, true", .no_gradcheck = true, .why = "slow"},
    {"f[1,1,40,8], f[1,1,90,8], f[1,1,90,8], b[40,90], 0.3, true", .no_gradcheck = true, .why = "slow"},
    {0}};
static const rl_bad forward_bad[] = {
    {"f[2,3,4], f[1,2,3,4], f[1,2,3,4], None, 1.0, false", RL_SHAPE_MISMATCH, "query (2, 3, 4) must have shape"},
    {"f[1,2,3,4], f[1,2,3,5], f[1,2,3,4], None, 1.0, false", RL_SHAPE_MISMATCH, "key (1, 2, 3, 5) must have shape"},
    {"f[1,2,3,4], f[1,2,3,4], f[1,2,4,4], None, 1.0, false", RL_SHAPE_MISMATCH, "value (1, 2, 4, 4) must have shape"},
    {"f[1,2,3,4], f[1,2,3,4], f[1,2,3,4], b[4,3], 1.0, false", RL_SHAPE_MISMATCH, "mask (4, 3) must have shape"},
    {"f[1,2,3,4], f[1,2,3,4], f[1,2,3,4], i64[3,3], 1.0, false", RL_DTYPE_MISMATCH, "mask must be bool or"},
    {"f32[1,2,3,4], f64[1,2,3,4], f32[1,2,3,4], None, 1.0, false", RL_DTYPE_MISMATCH, "key must be float32"},
    {0}};

const rl_op_def rl_op_def_attention_rows = {
    .schema = "attention_rows(Tensor query, Tensor key, Tensor value, Tensor? mask, float scale, bool is_causal) -> "
              "(Tensor out, Tensor log_sum)",
    .doc = "out = softmax(scale query key^T + mask) value for each (batch, head); log_sum = log of the sum of exp(..)",
    .note = "query (batch, heads, queries, width), key (batch, heads, keys, width), value (batch, heads, keys, value "
            "width). A bool mask says what takes part, one of query's dtype is added. A row that sees nothing gives 0. "
            "scaled_dot_product_attention is made of it. Memory is linear in the lengths (Dao et al. 2022).",
    .flags = RL_OP_ROWS | RL_OP_AUTOCAST_LOW,
    .saves = RL_SAVE_IN(0) | RL_SAVE_IN(1) | RL_SAVE_IN(2) | RL_SAVE_IN(3) | RL_SAVE_OUT(0) | RL_SAVE_OUT(1),
    .infer = attention_rows_infer,
    .lower = attention_rows_lower,
    .vjp = rl_attention_vjp,
    .samples = forward_samples,
    .bad = forward_bad,
};

#define SUMS "sums of hundreds of terms that cancel, in another order"
static const rl_sample backward_samples[] = {
    {"f[1,1,2,3], f[1,1,2,2], f[1,1,4,2], f[1,1,4,3], None, f[1,1,2,3], p[1,1,2], 0.5, false"},
    {"f[1,2,3,2], f[1,2,3,2], f[1,2,3,2], f[1,2,3,2], None, f[1,2,3,2], p[1,2,3], 0.5, true"},
    {"f[1,1,3,2], f[1,1,3,2], f[1,1,2,2], f[1,1,2,2], b[3,2], f[1,1,3,2], p[1,1,3], 0.7, false"},
    {"f[1,1,3,2], f[1,1,3,2], f[1,1,2,2], f[1,1,2,2], u[1,1,3,2], f[1,1,3,2], p[1,1,3], 0.7, false"},
    {"u[2,1,5,3]t, u[2,1,5,4], u[2,1,2,4]t, u[2,1,2,3], u[2,1,1,2], u[2,1,5,3], p[2,1,5], 0.3, false",
     .no_gradcheck = true, .why = "slow"},
    {"f[1,1,0,2], f[1,1,0,2], f[1,1,3,2], f[1,1,3,2], None, f[1,1,0,2], p[1,1,0], 1.0, false"},
    {"f[1,1,150,20], u[1,1,150,16], u[1,1,200,16], f[1,1,200,20], None, u[1,1,150,20], p[1,1,150], 0.5, false",
     .no_gradcheck = true, .why = SUMS, .rtol = 1e-5, .atol = 3e-4, .dtypes = 1u << RL_F32 | 1u << RL_F64},
    {"f[1,2,150,5], u[1,2,150,9], u[1,2,130,9], f[1,2,130,5], None, u[1,2,150,5], p[1,2,150], 0.5, true",
     .no_gradcheck = true, .why = SUMS, .rtol = 1e-5, .atol = 3e-4, .dtypes = 1u << RL_F32 | 1u << RL_F64},
    {"f[2,3,100,16], u[2,3,100,9], u[2,3,70,9], f[2,3,70,16], b[100,70], u[2,3,100,16], p[2,3,100], 0.5, true",
     .no_gradcheck = true, .why = SUMS, .rtol = 1e-5, .atol = 3e-4, .dtypes = 1u << RL_F32 | 1u << RL_F64},
    {"f[1,5,75,16], u[1,5,75,16], u[1,5,140,16], f[1,5,140,16], u[1,140], u[1,5,75,16], p[1,5,75], 0.5, true",
     .no_gradcheck = true, .why = SUMS, .rtol = 1e-5, .atol = 3e-4, .dtypes = 1u << RL_F32 | 1u << RL_F64},
    {"f[1,1,2,3], f[1,1,2,2], f[1,1,0,2], f[1,1,0,3], None, f[1,1,2,3], p[1,1,2], 1.0, false"},
    {0}};
static const rl_bad backward_bad[] = {
    {"f[1,1,2,2], f[1,1,2,2], f[1,1,3,2], f[1,1,3,3], None, f[1,1,2,3], f[1,1,2], 1.0, false", RL_SHAPE_MISMATCH,
     "grad_out (1, 1, 2, 2) must have shape"},
    {"f[1,1,2,3], f[1,1,2,2], f[1,1,3,2], f[1,1,3,3], None, f[1,1,2,3], f[1,1,3], 1.0, false", RL_SHAPE_MISMATCH,
     "log_sum (1, 1, 3) must have shape"},
    {0}};

const rl_op_def rl_op_def_attention_rows_backward = {
    .schema = "attention_rows_backward(Tensor grad_out, Tensor query, Tensor key, Tensor value, Tensor? mask, Tensor "
              "out, Tensor log_sum, float scale, bool is_causal) -> (Tensor grad_query, Tensor grad_key, Tensor "
              "grad_value)",
    .doc = "p = exp(scale query key^T + mask - log_sum), ds = p (grad_out value^T - sum(grad_out out)): scale ds key, "
           "scale ds^T query, p^T grad_out",
    .note = "The gradients of attention_rows, whose results are out and log_sum.",
    .flags = RL_OP_ROWS,
    .saves =
        RL_SAVE_IN(0) | RL_SAVE_IN(1) | RL_SAVE_IN(2) | RL_SAVE_IN(3) | RL_SAVE_IN(4) | RL_SAVE_IN(5) | RL_SAVE_IN(6),
    .infer = attention_rows_backward_infer,
    .lower = attention_rows_backward_lower,
    .vjp = rl_attention_backward_vjp,
    .samples = backward_samples,
    .bad = backward_bad,
};
