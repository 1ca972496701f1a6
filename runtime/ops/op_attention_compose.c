/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scaled_dot_product_attention, and the derivatives of the rows of attention, written with differentiable ops. First
 * derivatives without a mask that is added stay rows; what is beyond (of the mask, of gradients, of dropout) makes the
 * whole matrix of weights.
 */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "ops/op_attention.h"

/* Compositions ---------------------------------------------------------------------------------------------------- */

static rl_tensor *flipped(rl_tensor *x) {
    return rl_transpose(x, -2, -1);
}

/* True where row i may see column j: j <= i. */
static rl_tensor *causal_mask(rl_tensor *scores) {
    rl_tensor *ones = rl_ones(RL_DIMS(scores->shape[scores->ndim - 2], scores->shape[scores->ndim - 1]),
                              .dtype = RL_BOOL, .device = scores->storage->device);
    return rl_tril(ones);
}

/* scale q k^T with what the mask and causality do to it. */
static rl_tensor *masked_scores(rl_tensor *q, rl_tensor *k, rl_tensor *mask, double scale, bool causal) {
    rl_tensor *s = rl_mul(rl_matmul(q, flipped(k)), scale);
    if (mask != NULL)
        s = mask->dtype == RL_BOOL ? rl_masked_fill(s, rl_logical_not(mask), -INFINITY) : rl_add(s, mask);
    return causal && s ? rl_masked_fill(s, rl_logical_not(causal_mask(s)), -INFINITY) : s;
}

/* The operands of a node as its derivative wants them, halves as F32: q, k, v, mask from argument `first` on. */
typedef struct operands {
    rl_tensor *q, *k, *v, *mask;
    double scale;
    bool causal;
    rl_dtype compute;
} operands;

static rl_tensor *wide(rl_tensor *x, rl_dtype compute) {
    return x && x->dtype != compute ? rl_to(x, .dtype = compute) : x;
}
static operands read_operands(rl_vjp *v, int first, int last) {
    rl_dtype compute = rl_vjp_meta(v, first)->dtype == RL_F64 ? RL_F64 : RL_F32;
    rl_tensor *mask = rl_vjp_arg(v, first + 3)->kind == RL_VALUE_NONE ? NULL : rl_vjp_input(v, first + 3);
    return (operands){.q = wide(rl_vjp_input(v, first), compute),
                      .k = wide(rl_vjp_input(v, first + 1), compute),
                      .v = wide(rl_vjp_input(v, first + 2), compute),
                      .mask = mask && mask->dtype != RL_BOOL ? wide(mask, compute) : mask,
                      .scale = rl_vjp_number(v, last),
                      .causal = rl_vjp_arg(v, last + 1)->as.b,
                      .compute = compute};
}

/* p = exp(s - log_sum): 0 in rows that see nothing. */
static rl_tensor *weights_of(const operands *a, rl_tensor *log_sum) {
    rl_tensor *limit = rl_masked_fill(log_sum, rl_eq(log_sum, -INFINITY), 0.0);
    return rl_exp(rl_sub(masked_scores(a->q, a->k, a->mask, a->scale, a->causal), rl_unsqueeze(limit, -1)));
}
static rl_tensor *sum_row(rl_tensor *x) {
    return rl_sum(x, .dim = RL_DIMS(-1), .keepdim = true);
}
static rl_tensor *plus(rl_tensor *a, rl_tensor *b) {
    return a == NULL ? b : b == NULL ? a : rl_add(a, b);
}

/* Derivatives ----------------------------------------------------------------------------------------------------- */

/* With g the gradient of out and h that of log_sum, ds = p (g v^T - sum(g out) + h): gq = scale ds k, gk = scale ds^T
 * q, gv = p^T g, gmask = ds */
void rl_attention_vjp(rl_vjp *v) {
    rl_tensor *g = rl_vjp_grad(v, 0), *h = rl_vjp_grad(v, 1), *out = rl_vjp_result(v, 0),
              *log_sum = rl_vjp_result(v, 1), *gq = NULL, *gk = NULL, *ds = NULL;
    const bool given = rl_vjp_arg(v, 3)->kind != RL_VALUE_NONE, of_mask = given && rl_vjp_needs(v, 3);
    if (g != NULL && (rl_vjp_needs(v, 0) || rl_vjp_needs(v, 1) || rl_vjp_needs(v, 2))) {
        rl_attention_rows_backward_result r =
            rl_attention_rows_backward(g, X, rl_vjp_input(v, 1), rl_vjp_input(v, 2), given ? rl_vjp_input(v, 3) : NULL,
                                       out, log_sum, rl_vjp_number(v, 4), rl_vjp_arg(v, 5)->as.b);
        gq = r.grad_query;
        gk = r.grad_key;
        rl_vjp_set(v, 2, r.grad_value);
    }
    if (h != NULL || of_mask) {
        operands a = read_operands(v, 0, 4);
        rl_tensor *p = weights_of(&a, log_sum);
        if (h != NULL) {
            ds = rl_mul(p, rl_unsqueeze(h, -1));
            gq = plus(gq, rl_mul(rl_matmul(ds, a.k), a.scale));
            gk = plus(gk, rl_mul(rl_matmul(flipped(ds), a.q), a.scale));
        }
        if (g != NULL && of_mask) {
            g = wide(g, a.compute);
            rl_tensor *above = rl_sub(rl_matmul(g, flipped(a.v)), sum_row(rl_mul(g, wide(out, a.compute))));
            ds = plus(ds, rl_mul(p, above));
        }
        if (of_mask)
            rl_vjp_set(v, 3, ds);
    }
    rl_vjp_set(v, 0, gq);
    rl_vjp_set(v, 1, gk);
}

/*
 * Of gq = scale ds k, gk = scale ds^T q, gv = p^T g with p = exp(s - log_sum), s = scale q k^T + mask, ds = p (dp - d),
 * dp = g v^T, d = sum(g out). With a, b, c the gradients of gq, gk, gv:
 *   h = scale (a k^T + q b^T), that of ds;  hp = h p, that of dp;  hd = -sum(hp), that of d
 *   hs = (g c^T + h (dp - d)) p, that of s
 *   to g: p c + hp v + hd out;  to v: hp^T g;  to out: hd g;  to log_sum: -sum(hs);  to mask: hs
 *   to q: scale (hs k + ds b);  to k: scale (hs^T q + ds^T a)
 */
typedef struct second {
    operands o;
    rl_tensor *g, *out, *a, *b, *c; /* a, b, c may be NULL: zero */
    rl_tensor *p, *above, *ds, *hp, *hd, *hs;
} second;

static second read_second(rl_vjp *v) {
    second s = {.o = read_operands(v, 1, 7)};
    s.g = wide(rl_vjp_input(v, 0), s.o.compute);
    s.out = wide(rl_vjp_input(v, 5), s.o.compute);
    s.a = wide(rl_vjp_grad(v, 0), s.o.compute);
    s.b = wide(rl_vjp_grad(v, 1), s.o.compute);
    s.c = wide(rl_vjp_grad(v, 2), s.o.compute);
    s.p = weights_of(&s.o, wide(rl_vjp_input(v, 6), s.o.compute));
    s.above = rl_sub(rl_matmul(s.g, flipped(s.o.v)), sum_row(rl_mul(s.g, s.out)));
    s.ds = rl_mul(s.p, s.above);
    rl_tensor *h = plus(s.a ? rl_matmul(s.a, flipped(s.o.k)) : NULL, s.b ? rl_matmul(s.o.q, flipped(s.b)) : NULL);
    rl_tensor *hs = s.c ? rl_mul(rl_matmul(s.g, flipped(s.c)), s.p) : NULL;
    if (h != NULL) {
        s.hp = rl_mul(rl_mul(h, s.o.scale), s.p);
        s.hd = rl_neg(sum_row(s.hp));
        hs = plus(hs, rl_mul(s.hp, s.above));
    }
    s.hs = hs;
    return s;
}

void rl_attention_backward_vjp(rl_vjp *v) {
    second s = read_second(v);
    if (rl_failed() || s.hs == NULL)
        return;
    const bool more = s.hp != NULL;
    rl_tensor *of_g = plus(s.c ? rl_matmul(s.p, s.c) : NULL, more ? rl_matmul(s.hp, s.o.v) : NULL);
    rl_vjp_set(v, 0, plus(of_g, more ? rl_mul(s.hd, s.out) : NULL));
    rl_vjp_set(v, 1, rl_mul(plus(rl_matmul(s.hs, s.o.k), s.b ? rl_matmul(s.ds, s.b) : NULL), s.o.scale));
    rl_vjp_set(v, 2,
               rl_mul(plus(rl_matmul(flipped(s.hs), s.o.q), s.a ? rl_matmul(flipped(s.ds), s.a) : NULL), s.o.scale));
    rl_vjp_set(v, 3, more ? rl_matmul(flipped(s.hp), s.g) : NULL);
    if (rl_vjp_arg(v, 4)->kind != RL_VALUE_NONE && s.o.mask != NULL && s.o.mask->dtype != RL_BOOL)
        rl_vjp_set(v, 4, s.hs);
    rl_vjp_set(v, 5, more ? rl_mul(s.hd, s.g) : NULL);
    rl_vjp_set(v, 6, rl_neg(rl_squeeze(sum_row(s.hs), .dim = RL_DIMS(-1))));
}

/* scaled_dot_product_attention ------------------------------------------------------------------------------------ */

typedef struct call_shape {
    rl_tensor *q, *k, *v, *mask;
    double dropout, scale;
    bool causal, grouped; /* grouped: several heads of query share one of key and value */
    int64_t batch_ndim;
    int64_t batch[RL_MAX_DIMS]; /* all dimensions but the last two, broadcast */
} call_shape;

static rl_status fail_heads(const rl_call *call, const call_shape *c) {
    char q[RL_SHAPE_TEXT], k[RL_SHAPE_TEXT], v[RL_SHAPE_TEXT];
    return rl_call_fail(call, RL_SHAPE_MISMATCH,
                        "with enable_gqa, the heads (dimension -3) of query %s must be a multiple of those of key %s "
                        "and value %s",
                        rl_shape_text(c->q->ndim, c->q->shape, q), rl_shape_text(c->k->ndim, c->k->shape, k),
                        rl_shape_text(c->v->ndim, c->v->shape, v));
}

/* (.., heads, n, m) as (.., heads / group, group, n, m), the group being one where a head is shared. */
static rl_tensor *split_heads(rl_tensor *x, int64_t group) {
    return x ? rl_unflatten(x, -3, RL_DIMS(x->shape[x->ndim - 3] / group, group)) : NULL;
}
static rl_status group_heads(const rl_call *call, call_shape *c) {
    if (c->q->ndim < 3 || c->k->ndim < 3 || c->v->ndim < 3 || c->q->ndim >= RL_MAX_DIMS)
        return fail_heads(call, c);
    const int64_t heads = c->q->shape[c->q->ndim - 3], shared = c->k->shape[c->k->ndim - 3];
    if (shared == 0 || heads % shared != 0 || c->v->shape[c->v->ndim - 3] != shared)
        return fail_heads(call, c);
    if (heads == shared)
        return RL_OK;
    c->grouped = true;
    c->q = split_heads(c->q, heads / shared);
    c->k = split_heads(rl_contiguous(c->k), 1); /* so that its batch and heads are one stride */
    c->v = split_heads(rl_contiguous(c->v), 1);
    if (c->mask != NULL && c->mask->ndim >= 3)
        c->mask = c->mask->shape[c->mask->ndim - 3] == heads ? split_heads(c->mask, heads / shared)
                                                             : rl_unsqueeze(c->mask, -3);
    return rl_error_status();
}

static rl_status check_tensors(const rl_call *call, const call_shape *c) {
    rl_tensor *const operand[] = {c->q, c->k, c->v};
    static const char *const names[] = {"query", "key", "value"};
    char text[RL_SHAPE_TEXT], other[RL_SHAPE_TEXT];
    assert(c->q != NULL && c->k != NULL && c->v != NULL);
    rl_status status = rl_check_float(call, 0);
    for (int i = 0; i < 3 && status == RL_OK; i++) {
        status = rl_check_dtype_is(call, i, (rl_dtype)c->q->dtype);
        if (status == RL_OK && operand[i]->ndim < 2)
            status = rl_call_fail(call, RL_SHAPE_MISMATCH, "%s %s must have at least 2 dimensions", names[i],
                                  rl_shape_text(operand[i]->ndim, operand[i]->shape, text));
    }
    if (status != RL_OK)
        return status;
    const rl_tensor *q = c->q, *k = c->k, *v = c->v;
    if (q->shape[q->ndim - 1] != k->shape[k->ndim - 1])
        return rl_call_fail(call, RL_SHAPE_MISMATCH, "query %s and key %s must have one last dimension",
                            rl_shape_text(q->ndim, q->shape, text), rl_shape_text(k->ndim, k->shape, other));
    if (k->shape[k->ndim - 2] != v->shape[v->ndim - 2])
        return rl_call_fail(call, RL_SHAPE_MISMATCH, "key %s and value %s must have one length (dimension -2)",
                            rl_shape_text(k->ndim, k->shape, text), rl_shape_text(v->ndim, v->shape, other));
    if (c->mask != NULL && c->causal)
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "attn_mask must be None where is_causal is set");
    if (c->mask != NULL && c->mask->dtype != RL_BOOL && c->mask->dtype != RL_F32 && c->mask->dtype != q->dtype)
        return rl_call_fail(call, RL_DTYPE_MISMATCH, "attn_mask must be bool, float32 or %s, as query is, not %s",
                            rl_dtype_name((rl_dtype)q->dtype), rl_dtype_name((rl_dtype)c->mask->dtype));
    if (!(c->dropout >= 0.0 && c->dropout <= 1.0))
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "dropout_p must lie within 0 and 1, got %g", c->dropout);
    return rl_check_same_device(call);
}

/* The batch dimensions of all, and that the mask broadcasts to the scores. */
static rl_status broadcast_batches(const rl_call *call, call_shape *c) {
    const char *op = rl_call_name(call);
    int64_t both[RL_MAX_DIMS], n;
    rl_status status = rl_broadcast_shapes(op, c->q->ndim - 2, c->q->shape, c->k->ndim - 2, c->k->shape, &n, both);
    if (status == RL_OK)
        status = rl_broadcast_shapes(op, n, both, c->v->ndim - 2, c->v->shape, &c->batch_ndim, c->batch);
    if (status != RL_OK || c->mask == NULL)
        return status;
    const rl_tensor *mask = c->mask;
    const int64_t scores[2] = {c->q->shape[c->q->ndim - 2], c->k->shape[c->k->ndim - 2]};
    bool fits = mask->ndim <= c->batch_ndim + 2;
    for (int64_t d = 1; fits && d <= mask->ndim; d++) {
        int64_t have = mask->shape[mask->ndim - d], want = d <= 2 ? scores[2 - d] : c->batch[c->batch_ndim + 2 - d];
        fits = have == 1 || have == want;
    }
    char text[RL_SHAPE_TEXT];
    return fits
               ? RL_OK
               : rl_call_fail(call, RL_SHAPE_MISMATCH,
                              "attn_mask %s does not broadcast to the batch dimensions and (%lld queries, %lld keys)",
                              rl_shape_text(mask->ndim, mask->shape, text), (long long)scores[0], (long long)scores[1]);
}

/* x (.., n, m) with all batch dimensions, of which there are to be two: (batch, heads, n, m). */
static rl_tensor *as_rows(const call_shape *c, rl_tensor *x) {
    int64_t shape[RL_MAX_DIMS];
    memcpy(shape, c->batch, (size_t)c->batch_ndim * sizeof *shape);
    shape[c->batch_ndim] = x->shape[x->ndim - 2];
    shape[c->batch_ndim + 1] = x->shape[x->ndim - 1];
    if (x->ndim != c->batch_ndim + 2 || memcmp(shape, x->shape, (size_t)x->ndim * sizeof *shape) != 0)
        x = rl_expand(x, ((rl_ints){shape, c->batch_ndim + 2}));
    for (int64_t d = c->batch_ndim; x && d < 2; d++)
        x = rl_unsqueeze(x, 0);
    return c->batch_ndim > 2 ? rl_flatten(x, .start_dim = RL_ZERO, .end_dim = c->batch_ndim - 2) : x;
}

/* Dropout needs the weights: softmax of the scores, 0 in rows that see nothing. */
static rl_tensor *with_dropout(const call_shape *c) {
    rl_tensor *s = masked_scores(c->q, c->k, c->mask, c->scale, c->causal), *nothing = NULL;
    if (c->mask != NULL) {
        nothing = rl_all(rl_eq(s, -INFINITY), .dim = RL_DIMS(-1), .keepdim = true);
        s = rl_masked_fill(s, nothing, 0.0); /* else the derivative of its softmax is NaN */
    }
    rl_tensor *p = rl_softmax(s, -1);
    if (nothing != NULL)
        p = rl_masked_fill(p, nothing, 0.0);
    return rl_matmul(rl_dropout(p, c->dropout, true), c->v);
}

static rl_tensor *by_rows(const call_shape *c) {
    rl_tensor *mask = c->mask;
    if (mask != NULL) {
        for (int64_t d = mask->ndim; mask && d < 2; d++)
            mask = rl_unsqueeze(mask, 0);
        mask = mask && c->batch_ndim != 2 && mask->ndim > 2 ? as_rows(c, mask) : mask;
    }
    rl_tensor *q = as_rows(c, c->q), *k = as_rows(c, c->k), *v = as_rows(c, c->v);
    rl_tensor *out = rl_attention_rows(q, k, v, mask, c->scale, c->causal).out;
    if (out == NULL || c->batch_ndim == 2)
        return out;
    int64_t shape[RL_MAX_DIMS];
    memcpy(shape, c->batch, (size_t)c->batch_ndim * sizeof *shape);
    memcpy(shape + c->batch_ndim, out->shape + 2, 2 * sizeof *shape);
    return rl_reshape(out, ((rl_ints){shape, c->batch_ndim + 2}));
}

static rl_status scaled_dot_product_attention_lower(rl_call *call) {
    call_shape c = {.q = rl_arg_tensor(call, 0),
                    .k = rl_arg_tensor(call, 1),
                    .v = rl_arg_tensor(call, 2),
                    .mask = rl_arg_tensor(call, 3),
                    .dropout = rl_arg_double(call, 4),
                    .causal = rl_arg_bool(call, 5)};
    assert(c.q != NULL && c.k != NULL && c.v != NULL);
    rl_status status = check_tensors(call, &c);
    if (status != RL_OK)
        return status;
    const int64_t width = c.q->shape[c.q->ndim - 1];
    c.scale = rl_arg_given(call, 6) ? rl_arg_double(call, 6) : width > 0 ? 1.0 / sqrt((double)width) : 1.0;
    if (c.mask != NULL && c.mask->dtype != RL_BOOL && c.mask->dtype != c.q->dtype)
        c.mask = rl_to(c.mask, .dtype = (rl_dtype)c.q->dtype);
    if (rl_arg_bool(call, 7))
        status = group_heads(call, &c);
    if (status == RL_OK)
        status = broadcast_batches(call, &c);
    if (status != RL_OK)
        return status;
    rl_tensor *out = c.dropout > 0.0 ? with_dropout(&c) : by_rows(&c);
    if (out != NULL && c.grouped)
        out = rl_flatten(out, .start_dim = -4, .end_dim = -3);
    call->results[0] = out;
    return rl_error_status();
}

static const rl_sample attention_samples[] = {{"f[3,4], f[5,4], f[5,6]"},
                                              {"f[2,3,4], f[2,5,4], f[2,5,2], b[3,5]"},
                                              {"f[1,2,3,4], f[1,2,3,4], f[1,2,3,4], is_causal=true"},
                                              {"f[2,3,2], f[4,2], f[4,2], f[1,4], scale=0.5"},
                                              {"f[2,1,3,2], f[1,2,4,2], f[2,4,2], f[2,1,3,4]"},
                                              {"f[1,4,3,2], f[1,2,3,2], f[1,2,3,2], is_causal=true, enable_gqa=true"},
                                              {"f[2,4,3,2], f[2,2,4,2], f[2,2,4,2], b[2,4,3,4], enable_gqa=true"},
                                              {"f[2,1,2,3,2], f[2,1,2,3,2], f[2,1,2,3,2]"},
                                              {"f[0,2,3,4], f[0,2,3,4], f[0,2,3,4]"},
                                              {"f[2,3,4]t, f[2,3,4]t, f[2,3,4]t"},
                                              {0}};
static const rl_bad attention_bad[] = {
    {"f[4], f[5,4], f[5,6]", RL_SHAPE_MISMATCH, "query (4) must have at least 2 dimensions"},
    {"f[3,4], f[5,3], f[5,6]", RL_SHAPE_MISMATCH, "query (3, 4) and key (5, 3) must have one last dimension"},
    {"f[3,4], f[5,4], f[6,6]", RL_SHAPE_MISMATCH, "key (5, 4) and value (6, 6) must have one length"},
    {"f[3,4], f[5,4], f[5,6], b[4,5]", RL_SHAPE_MISMATCH, "attn_mask (4, 5) does not broadcast"},
    {"f[3,4], f[5,4], f[5,6], b[3,5], is_causal=true", RL_INVALID_ARGUMENT, "attn_mask must be None"},
    {"f[3,4], f[5,4], f[5,6], i64[3,5]", RL_DTYPE_MISMATCH, "attn_mask must be bool"},
    {"f[3,4], f[5,4], f[5,6], dropout_p=1.5", RL_INVALID_ARGUMENT, "dropout_p must lie within 0 and 1"},
    {"f[2,3,3,4], f[2,2,3,4], f[2,2,3,4], enable_gqa=true", RL_SHAPE_MISMATCH, "must be a multiple"},
    {"f[2,3,4], f[3,3,4], f[3,3,4]", RL_SHAPE_MISMATCH, "broadcast"},
    {"i64[3,4], i64[5,4], i64[5,6]", RL_DTYPE_MISMATCH, "floating"},
    {0}};

const rl_op_def rl_op_def_scaled_dot_product_attention = {
    .schema = "scaled_dot_product_attention(Tensor query, Tensor key, Tensor value, Tensor? attn_mask=None, float "
              "dropout_p=0, bool is_causal=False, *, float? scale=None, bool enable_gqa=False) -> Tensor",
    .doc = "y = dropout(softmax(scale query key^T + attn_mask)) value",
    .note =
        "query (.., L, E), key (.., S, E), value (.., S, V); batch dimensions broadcast, and attn_mask to (.., L, "
        "S): bool (true takes part) or added. scale is 1 / sqrt(E) where it is None. is_causal: row i sees columns "
        "0 .. i. enable_gqa: each head of key and value serves several of query. A row that sees nothing gives 0. "
        "Without dropout, memory is linear in L and S (Dao et al. 2022). dropout_p counts always: give 0 outside of "
        "training.",
    .flags = RL_OP_COMPOSITE | RL_OP_AUTOCAST_LOW,
    .lower = scaled_dot_product_attention_lower,
    .samples = attention_samples,
    .bad = attention_bad,
};
