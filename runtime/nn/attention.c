/* SPDX-License-Identifier: Apache-2.0 */
/* Embedding and MultiheadAttention. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/sized.h"
#include "nn/module.h"
#include "nn/numbers.h"
#include "rushlight/autograd.h"
#include "rushlight/ops.h"
#include "tensor/tensor.h"

/* Embedding ------------------------------------------------------------------------------------------------------- */

typedef struct embedding {
    int64_t count, width, padding; /* padding -1: none */
    bool limited;
    double max_norm, norm_type; /* where limited */
    rl_tensor *weight;          /* borrowed from the entries */
} embedding;

/* Rows whose norm is above max_norm are scaled to it. */
static void limit_rows(const embedding *e, rl_tensor *input) {
    RL_NO_GRAD();
    rl_tensor *index = rl_reshape(input, RL_DIMS(-1)), *rows = rl_index_select(e->weight, 0, index);
    rl_tensor *norms = rl_norm(rows, .p = rl_option_of_real(e->norm_type), .dim = RL_DIMS(1), .keepdim = true);
    rl_tensor *scale =
        rl_where(rl_gt(norms, e->max_norm), rl_mul(rl_reciprocal(rl_add(norms, 1e-7)), e->max_norm), 1.0);
    rl_index_copy_(e->weight, 0, index, rl_mul(rows, scale));
}

static rl_tensor *embedding_forward(rl_module *self, rl_tensor *input) {
    const embedding *e = rl_module_data(self);
    if (e->limited)
        limit_rows(e, input);
    return e->padding < 0 ? rl_embedding(e->weight, input)
                          : rl_embedding(e->weight, input, .padding_idx = rl_option_of_int(e->padding));
}

static void embedding_describe(const rl_module *self, char *text, size_t room) {
    const embedding *e = rl_module_data(self);
    char padding[40] = "", norm[2 * FLOAT_TEXT + 32] = "";
    if (e->padding >= 0)
        snprintf(padding, sizeof padding, ", padding_idx=%lld", (long long)e->padding);
    if (e->limited)
        snprintf(norm, sizeof norm, ", max_norm=%s", PYTHON_FLOAT(e->max_norm));
    if (e->norm_type != 2.0)
        snprintf(norm + strlen(norm), sizeof norm - strlen(norm), ", norm_type=%s", PYTHON_FLOAT(e->norm_type));
    snprintf(text, room, "%lld, %lld%s%s", (long long)e->count, (long long)e->width, padding, norm);
}

static const rl_module_class embedding_class = {.struct_size = sizeof(rl_module_class),
                                                .name = "Embedding",
                                                .data_bytes = sizeof(embedding),
                                                .forward = embedding_forward,
                                                .describe = embedding_describe};

rl_module *rl_nn_embedding_opt(int64_t count, int64_t width, const rl_nn_embedding_options *given) {
    rl_nn_embedding_options options = {0};
    if (rl_failed() || rl_sized_take("embedding", &options, sizeof options, given) != RL_OK)
        return NULL;
    if (count < 0 || width < 0)
        return rl_fail_null(RL_INVALID_ARGUMENT, "embedding: sizes must not be negative, got %lld and %lld",
                            (long long)count, (long long)width);
    int64_t padding = rl_option_int(options.padding_idx, 0);
    if (options.padding_idx != 0 && (padding < -count || padding >= count))
        return rl_fail_null(RL_INVALID_ARGUMENT, "embedding: padding_idx %lld must be within %lld embeddings",
                            (long long)padding, (long long)count);
    rl_module *self = rl_module_new(&embedding_class);
    if (self == NULL)
        return NULL;
    embedding *e = rl_module_data(self);
    *e = (embedding){.count = count,
                     .width = width,
                     .padding = options.padding_idx == 0 ? -1
                                : padding < 0            ? padding + count
                                                         : padding,
                     .limited = options.max_norm != 0.0,
                     .max_norm = rl_option_real(options.max_norm, 0.0),
                     .norm_type = rl_option_real(options.norm_type, 2.0)};
    RL_SCOPE();
    e->weight = rl_empty(RL_DIMS(count, width), .dtype = options.dtype, .device = options.device);
    rl_init_normal(e->weight, 0.0, 1.0);
    if (e->padding >= 0)
        rl_init_constant(rl_select(e->weight, 0, e->padding), 0.0);
    rl_module_add_parameter(self, "weight", e->weight);
    return rl_failed() ? NULL : self;
}

/* MultiheadAttention ---------------------------------------------------------------------------------------------- */

typedef struct attention {
    int64_t width, heads, kdim, vdim;
    double dropout;
    bool add_zero, batch_first;
    rl_tensor *weight;       /* in_proj_weight, or */
    rl_tensor *weight_of[3]; /* of query, key, value */
    rl_tensor *bias, *bias_k, *bias_v;
    rl_module *out_proj;
} attention;

/* The part of in_proj for query (0), key (1) or value (2), `parts` of them. */
static rl_tensor *project(const attention *a, rl_tensor *x, int64_t part, int64_t parts) {
    const bool whole = parts == 3;
    rl_tensor *bias = a->bias == NULL || whole ? a->bias : rl_narrow(a->bias, 0, part * a->width, parts * a->width);
    rl_tensor *weight = a->weight == NULL ? a->weight_of[part]
                        : whole           ? a->weight
                                          : rl_narrow(a->weight, 0, part * a->width, parts * a->width);
    return rl_linear(x, weight, .bias = bias);
}

/* Inputs (N, length, width) to projections, with as few products as the inputs share. */
static void project_all(const attention *a, rl_tensor *const input[3], rl_tensor *out[3]) {
    const bool same_kv = a->weight != NULL && input[1] == input[2], same = same_kv && input[0] == input[1];
    const int64_t first = same ? 0 : 1;
    if (!same)
        out[0] = project(a, input[0], 0, 1);
    if (!same_kv) {
        out[1] = project(a, input[1], 1, 1);
        out[2] = project(a, input[2], 2, 1);
        return;
    }
    rl_tensor *all = project(a, input[1], first, 3 - first);
    for (int64_t i = first; i < 3; i++)
        out[i] = rl_narrow(all, -1, (i - first) * a->width, a->width);
}

/* One more key and value for each (1, 1, width) given, or of zeros. */
static rl_tensor *one_more(rl_tensor *x, rl_tensor *given) {
    rl_ints shape = RL_DIMS(rl_tensor_size(x, 0), 1, rl_tensor_size(x, 2));
    rl_tensor *row =
        given ? rl_expand(given, shape) : rl_zeros(shape, .dtype = rl_tensor_dtype(x), .device = rl_tensor_device(x));
    return rl_cat(RL_TENSORS(x, row), .dim = 1);
}

/* (N, length, width) as (N, heads, length, width / heads) */
static rl_tensor *by_heads(const attention *a, rl_tensor *x) {
    return rl_transpose(rl_unflatten(x, 2, RL_DIMS(a->heads, a->width / a->heads)), 1, 2);
}

/* A mask, true where something is left out or added, widened by `more` columns that are not; (.., L, S) as what
 * broadcasts to (N, heads, L, S). */
static rl_tensor *widen_mask(rl_tensor *mask, int64_t more) {
    int64_t shape[3] = {0};
    const int64_t ndim = rl_tensor_ndim(mask);
    if (more == 0)
        return mask;
    for (int64_t d = 0; d < ndim; d++)
        shape[d] = rl_tensor_size(mask, d);
    shape[ndim - 1] = more;
    rl_tensor *nothing =
        rl_zeros(((rl_ints){shape, ndim}), .dtype = rl_tensor_dtype(mask), .device = rl_tensor_device(mask));
    return rl_cat(RL_TENSORS(mask, nothing), .dim = -1);
}
/* As numbers to be added, of x's dtype. */
static rl_tensor *as_added(rl_tensor *mask, rl_tensor *x) {
    if (rl_tensor_dtype(mask) != RL_BOOL)
        return rl_to(mask, .dtype = rl_tensor_dtype(x));
    rl_tensor *zero = rl_zeros(RL_NO_DIMS, .dtype = rl_tensor_dtype(x), .device = rl_tensor_device(x));
    return rl_where(mask, -INFINITY, zero);
}

static rl_status check_mask(const char *name, const rl_tensor *mask, bool fits, const char *wanted) {
    char text[RL_SHAPE_TEXT];
    if (rl_failed() || mask == NULL)
        return rl_error_status();
    if (rl_tensor_dtype(mask) != RL_BOOL && !rl_dtype_is_float(rl_tensor_dtype(mask)))
        return rl_fail(RL_DTYPE_MISMATCH, "multihead_attention: %s must be bool or floating, not %s", name,
                       rl_dtype_name(rl_tensor_dtype(mask)));
    return fits ? RL_OK
                : rl_fail(RL_SHAPE_MISMATCH, "multihead_attention: %s must have shape %s, has %s", name, wanted,
                          rl_shape_text(mask->ndim, mask->shape, text));
}
static bool has_shape(rl_tensor *x, int64_t ndim, int64_t a, int64_t b, int64_t c) {
    const int64_t want[3] = {a, b, c};
    if (x == NULL || rl_tensor_ndim(x) != ndim)
        return false;
    for (int64_t d = 0; d < ndim; d++)
        if (rl_tensor_size(x, d) != want[d])
            return false;
    return true;
}

static rl_status check_masks(const attention *a, const rl_nn_attend_options *o, int64_t n, int64_t length,
                             int64_t keys) {
    rl_tensor *mask = o->attn_mask, *padding = o->key_padding_mask;
    char wanted[160];
    snprintf(wanted, sizeof wanted, "(L, S) = (%lld, %lld) or (N num_heads, L, S) = (%lld, %lld, %lld)",
             (long long)length, (long long)keys, (long long)n * a->heads, (long long)length, (long long)keys);
    if (check_mask("attn_mask", mask,
                   has_shape(mask, 2, length, keys, 0) || has_shape(mask, 3, n * a->heads, length, keys),
                   wanted) != RL_OK)
        return rl_error_status();
    snprintf(wanted, sizeof wanted, "(N, S) = (%lld, %lld)%s", (long long)n, (long long)keys,
             n == 1 ? ", or (S) without a batch" : "");
    return check_mask("key_padding_mask", padding,
                      has_shape(padding, 2, n, keys, 0) || (n == 1 && has_shape(padding, 1, keys, 0, 0)), wanted);
}

/* Both masks as one that scaled_dot_product_attention takes: true takes part, or added. NULL: none. */
static rl_tensor *join_masks(const attention *a, const rl_nn_attend_options *o, rl_tensor *q, rl_tensor *k,
                             int64_t more) {
    const int64_t n = rl_tensor_size(q, 0), length = rl_tensor_size(q, 1), keys = rl_tensor_size(k, 1) - more;
    rl_tensor *mask = o->attn_mask, *padding = o->key_padding_mask;
    if (check_masks(a, o, n, length, keys) != RL_OK)
        return NULL;
    if (mask != NULL) {
        mask = widen_mask(mask, more);
        if (rl_tensor_ndim(mask) == 3)
            mask = rl_unflatten(mask, 0, RL_DIMS(n, a->heads));
    }
    if (padding != NULL)
        padding = rl_reshape(widen_mask(padding, more), RL_DIMS(n, 1, 1, keys + more));
    if (mask == NULL || padding == NULL) {
        rl_tensor *one = mask ? mask : padding;
        return one == NULL || rl_tensor_dtype(one) != RL_BOOL ? (one ? as_added(one, q) : NULL) : rl_logical_not(one);
    }
    if (rl_tensor_dtype(mask) == RL_BOOL && rl_tensor_dtype(padding) == RL_BOOL)
        return rl_logical_not(rl_logical_or(mask, padding));
    return rl_add(as_added(mask, q), as_added(padding, q));
}

static double scale_of(const attention *a) {
    return 1.0 / sqrt((double)a->width / (double)a->heads);
}

/* (L, S): true where query i sees key j, j <= i. */
static rl_tensor *causal_mask(const rl_tensor *q, const rl_tensor *k) {
    return rl_tril(
        rl_ones(RL_DIMS(rl_tensor_size(q, 2), rl_tensor_size(k, 2)), .dtype = RL_BOOL, .device = rl_tensor_device(q)));
}

/* The weights themselves, then: softmax of all scores at once. */
static rl_tensor *attend_with_weights(const attention *a, rl_tensor *const x[3], rl_tensor *mask, bool causal,
                                      bool average, double dropout, rl_tensor **out_weights) {
    rl_tensor *s = rl_matmul(rl_mul(x[0], scale_of(a)), rl_transpose(x[1], -2, -1));
    if (causal)
        s = rl_masked_fill(s, rl_logical_not(causal_mask(x[0], x[1])), -INFINITY);
    if (mask != NULL)
        s = rl_tensor_dtype(mask) == RL_BOOL ? rl_masked_fill(s, rl_logical_not(mask), -INFINITY) : rl_add(s, mask);
    rl_tensor *p = rl_softmax(s, -1);
    if (dropout > 0.0)
        p = rl_dropout(p, dropout, true);
    *out_weights = average ? rl_mean(p, .dim = RL_DIMS(1)) : p;
    return rl_matmul(p, x[2]);
}

/* Rows that see nothing are 0 here. The op takes no mask beside causality, the row, without dropout, does. */
static rl_tensor *attend_without_weights(const attention *a, rl_tensor *const x[3], rl_tensor *mask, bool causal,
                                         double dropout) {
    if (dropout == 0.0)
        return rl_attention_rows(x[0], x[1], x[2], mask, scale_of(a), causal).out;
    if (mask != NULL && causal) {
        rl_tensor *seen = causal_mask(x[0], x[1]);
        mask = rl_tensor_dtype(mask) == RL_BOOL ? rl_logical_and(mask, seen) : rl_where(seen, mask, -INFINITY);
    }
    return rl_scaled_dot_product_attention(x[0], x[1], x[2], .attn_mask = mask, .dropout_p = dropout,
                                           .is_causal = causal && mask == NULL);
}

static rl_status check_inputs(const attention *a, rl_tensor *const input[3]) {
    static const char *const names[] = {"query", "key", "value"};
    const int64_t widths[] = {a->width, a->kdim, a->vdim};
    if (!input[0] || !input[1] || !input[2])
        return rl_failed() ? rl_error_status()
                           : rl_fail(RL_INVALID_ARGUMENT, "multihead_attention: query, key or value is NULL");
    const int64_t ndim = rl_tensor_ndim(input[0]);
    for (int i = 0; i < 3; i++) {
        if (ndim < 2 || ndim > 3 || rl_tensor_ndim(input[i]) != ndim)
            return rl_fail(RL_SHAPE_MISMATCH,
                           "multihead_attention: query, key and value must all have 3 dimensions, or all 2 without a "
                           "batch; %s has %lld",
                           names[i], (long long)rl_tensor_ndim(input[i]));
        if (rl_tensor_size(input[i], -1) != widths[i])
            return rl_fail(RL_SHAPE_MISMATCH, "multihead_attention: %s must be %lld wide, is %lld", names[i],
                           (long long)widths[i], (long long)rl_tensor_size(input[i], -1));
    }
    const int64_t length = ndim == 2 || !a->batch_first ? 0 : 1, n = rl_tensor_size(input[0], 1 - length);
    for (int i = 1; i < 3 && ndim == 3; i++)
        if (rl_tensor_size(input[i], 1 - length) != n)
            return rl_fail(RL_SHAPE_MISMATCH,
                           "multihead_attention: %s must have the batch of query, which is %lld, has %lld", names[i],
                           (long long)n, (long long)rl_tensor_size(input[i], 1 - length));
    const int64_t keys = rl_tensor_size(input[1], length), values = rl_tensor_size(input[2], length);
    return keys == values ? RL_OK
                          : rl_fail(RL_SHAPE_MISMATCH,
                                    "multihead_attention: key and value must be of one length, are %lld and %lld long",
                                    (long long)keys, (long long)values);
}

/* (L, N, E), or without N, or with it first, as (N, L, E). */
static rl_tensor *batch_first(const attention *a, rl_tensor *x) {
    return rl_tensor_ndim(x) == 2 ? rl_unsqueeze(x, 0) : a->batch_first ? x : rl_transpose(x, 0, 1);
}

static rl_tensor *attend(rl_module *self, rl_tensor *const given[3], const rl_nn_attend_options *o) {
    const attention *a = rl_module_data(self);
    const bool average = rl_option_truth(o->average_attn_weights, true);
    const double dropout = rl_module_is_training(self) ? a->dropout : 0.0;
    rl_tensor *x[3], *input[3], *y;
    int64_t more = (a->bias_k ? 1 : 0) + (a->add_zero ? 1 : 0);
    if (check_inputs(a, given) != RL_OK)
        return NULL;
    for (int i = 0; i < 3; i++) /* those that are the same stay the same */
        input[i] = i > 0 && given[i] == given[i - 1] ? input[i - 1] : batch_first(a, given[i]);
    project_all(a, input, x);
    for (int i = 1; i < 3 && a->bias_k; i++)
        x[i] = one_more(x[i], i == 1 ? a->bias_k : a->bias_v);
    for (int i = 1; i < 3 && a->add_zero; i++)
        x[i] = one_more(x[i], NULL);
    if (rl_failed())
        return NULL;
    rl_tensor *mask = join_masks(a, o, x[0], x[1], more);
    const bool causal = o->is_causal && o->attn_mask == NULL;
    for (int i = 0; i < 3; i++)
        x[i] = by_heads(a, x[i]);
    if (rl_failed())
        return NULL;
    if (o->out_weights != NULL) {
        rl_tensor *weights;
        y = attend_with_weights(a, x, mask, causal, average, dropout, &weights);
        *o->out_weights = rl_tensor_ndim(given[0]) == 2 ? rl_squeeze(weights, .dim = RL_DIMS(0)) : weights;
    } else {
        y = attend_without_weights(a, x, mask, causal, dropout);
    }
    y = rl_module_forward(a->out_proj, rl_flatten(rl_transpose(y, 1, 2), .start_dim = 2));
    if (y == NULL)
        return NULL;
    return rl_tensor_ndim(given[0]) == 2 ? rl_squeeze(y, .dim = RL_DIMS(0))
           : a->batch_first              ? y
                                         : rl_transpose(y, 0, 1);
}

static rl_tensor *attention_forward(rl_module *self, rl_tensor *x) {
    return attend(self, (rl_tensor *[]){x, x, x}, &(rl_nn_attend_options){0});
}

static rl_status attention_forward_many(rl_module *self, rl_tensors inputs, rl_tensor **outputs, int64_t n_outputs) {
    if ((inputs.count != 1 && inputs.count < 3) || inputs.count > 5 || n_outputs > 2)
        return rl_fail(RL_INVALID_ARGUMENT,
                       "multihead_attention: takes query, key, value, key_padding_mask, attn_mask, the last two if "
                       "wanted, and gives 1 or 2 outputs; got %lld inputs and %lld outputs",
                       (long long)inputs.count, (long long)n_outputs);
    rl_tensor *const *in = inputs.data;
    rl_nn_attend_options options = {.key_padding_mask = inputs.count > 3 ? in[3] : NULL,
                                    .attn_mask = inputs.count > 4 ? in[4] : NULL,
                                    .out_weights = n_outputs > 1 ? &outputs[1] : NULL};
    outputs[0] =
        inputs.count == 1 ? attend(self, (rl_tensor *[]){in[0], in[0], in[0]}, &options) : attend(self, in, &options);
    return rl_error_status();
}

static const rl_module_class attention_class = {.struct_size = sizeof(rl_module_class),
                                                .name = "MultiheadAttention",
                                                .data_bytes = sizeof(attention),
                                                .forward = attention_forward,
                                                .forward_many = attention_forward_many};

rl_tensor *rl_nn_attend_opt(rl_module *self, rl_tensor *query, rl_tensor *key, rl_tensor *value,
                            const rl_nn_attend_options *given) {
    rl_nn_attend_options options = {0};
    if (rl_failed() || rl_sized_take("attend", &options, sizeof options, given) != RL_OK)
        return NULL;
    if (self == NULL || self->klass->forward != attention_forward)
        return rl_fail_null(RL_INVALID_ARGUMENT, "attend: %s",
                            self ? "the module is no MultiheadAttention" : "self is NULL");
    rl_tensor *weights = NULL, **out_weights = options.out_weights;
    if (out_weights != NULL)
        options.out_weights = &weights;
    rl_barrier barrier = rl_barrier_enter();
    (void)rl_scope_begin(); /* what is made on the way goes, but for the two results */
    rl_tensor *y = attend(self, (rl_tensor *[]){query, key, value}, &options);
    weights = rl_retain(rl_failed() ? NULL : weights);
    y = rl_barrier_leave(barrier, y);
    if (weights != NULL)
        weights = rl_object_own(weights);
    if (out_weights != NULL)
        *out_weights = rl_failed() ? NULL : weights;
    return rl_failed() ? NULL : y;
}

/* Making one ------------------------------------------------------------------------------------------------------ */

static rl_tensor *parameter(rl_module *self, const rl_nn_multihead_attention_options *o, const char *name,
                            rl_ints shape) {
    rl_tensor *made = rl_empty(shape, .dtype = o->dtype, .device = o->device);
    return rl_module_add_parameter(self, name, made);
}

/* The numbers are drawn in PyTorch's order: out_proj first. */
static void make_parameters(rl_module *self, attention *a, const rl_nn_multihead_attention_options *o) {
    static const char *const names[] = {"q_proj_weight", "k_proj_weight", "v_proj_weight"};
    const int64_t widths[] = {a->width, a->kdim, a->vdim};
    const bool bias = rl_option_truth(o->bias, true);
    rl_nn_linear_options linear = {
        .struct_size = sizeof linear, .bias = rl_option_of_truth(bias), .device = o->device, .dtype = o->dtype};
    rl_module *out_proj = rl_nn_out_proj(a->width, a->width, &linear);
    if (a->kdim == a->width && a->vdim == a->width)
        a->weight = parameter(self, o, "in_proj_weight", RL_DIMS(3 * a->width, a->width));
    for (int i = 0; i < 3 && a->weight == NULL; i++)
        a->weight_of[i] = parameter(self, o, names[i], RL_DIMS(a->width, widths[i]));
    if (bias)
        a->bias = parameter(self, o, "in_proj_bias", RL_DIMS(3 * a->width));
    if (o->add_bias_kv) {
        a->bias_k = parameter(self, o, "bias_k", RL_DIMS(1, 1, a->width));
        a->bias_v = parameter(self, o, "bias_v", RL_DIMS(1, 1, a->width));
    }
    a->out_proj = rl_module_add(self, "out_proj", out_proj);
    if (rl_failed())
        return;
    if (a->weight != NULL)
        rl_init_xavier_uniform(a->weight, 1.0);
    for (int i = 0; i < 3 && a->weight == NULL; i++)
        rl_init_xavier_uniform(a->weight_of[i], 1.0);
    if (bias) {
        rl_init_constant(a->bias, 0.0);
        rl_init_constant(rl_module_tensor(out_proj, "bias"), 0.0);
    }
    if (o->add_bias_kv) {
        rl_init_xavier_normal(a->bias_k, 1.0);
        rl_init_xavier_normal(a->bias_v, 1.0);
    }
}

rl_module *rl_nn_multihead_attention_opt(int64_t width, int64_t heads, const rl_nn_multihead_attention_options *given) {
    rl_nn_multihead_attention_options options = {0};
    if (rl_failed() || rl_sized_take("multihead_attention", &options, sizeof options, given) != RL_OK)
        return NULL;
    if (width <= 0 || heads <= 0 || width % heads != 0)
        return rl_fail_null(RL_INVALID_ARGUMENT,
                            "multihead_attention: embed_dim must be a multiple of num_heads, both positive; got %lld "
                            "and %lld",
                            (long long)width, (long long)heads);
    const int64_t kdim = rl_option_int(options.kdim, width), vdim = rl_option_int(options.vdim, width);
    const double dropout = rl_option_real(options.dropout, 0.0);
    if (kdim < 0 || vdim < 0 || !(dropout >= 0.0 && dropout <= 1.0))
        return rl_fail_null(RL_INVALID_ARGUMENT,
                            "multihead_attention: kdim and vdim must not be negative and dropout lie within 0 and 1; "
                            "got %lld, %lld and %g",
                            (long long)kdim, (long long)vdim, dropout);
    rl_module *self = rl_module_new(&attention_class);
    if (self == NULL)
        return NULL;
    attention *a = rl_module_data(self);
    *a = (attention){.width = width,
                     .heads = heads,
                     .kdim = kdim,
                     .vdim = vdim,
                     .dropout = dropout,
                     .add_zero = options.add_zero_attn,
                     .batch_first = options.batch_first};
    RL_SCOPE();
    make_parameters(self, a, &options);
    return rl_failed() ? NULL : self;
}
