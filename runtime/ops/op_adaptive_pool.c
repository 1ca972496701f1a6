/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Adaptive pooling: window i of n over a dimension of size s is floor(i s / n) .. ceil((i + 1) s / n) - 1. Where all
 * sizes divide, that is plain pooling. Otherwise windows of up to two sizes are gathered side by side, each dimension
 * for itself: window i has `longest` places, of which a shorter one repeats its last.
 */
#include <assert.h>
#include <string.h>

#include "ops/op_pool.h"

/* Sizes ------------------------------------------------------------------------------------------------------------ */

typedef struct adaptive {
    int64_t spatial, first; /* dimensions first .. first + spatial - 1 are pooled */
    int64_t in[3], out[3];  /* sizes */
    int64_t longest[3];     /* window */
    bool divides, empty;    /* all sizes divide; a size asked for is 0 */
} adaptive;

static rl_status read_sizes(const rl_call *call, adaptive *a) {
    static const char *const sizes[] = {"", "L", "H, W", "D, H, W"};
    const rl_tensor *self = rl_arg_tensor(call, 0);
    rl_ints given = rl_arg_ints(call, 1);
    char text[RL_SHAPE_TEXT];
    *a = (adaptive){.spatial = rl_schema_table[call->opcode].params[1].length, .divides = true};
    a->first = self->ndim - a->spatial;
    if (a->first != 1 && a->first != 2)
        return rl_call_fail(call, RL_SHAPE_MISMATCH, "self must have shape (C, %s) or (N, C, %s), has %s",
                            sizes[a->spatial], sizes[a->spatial], rl_shape_text(self->ndim, self->shape, text));
    if (given.count != a->spatial && given.count != 1)
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "output_size must have 1 or %lld numbers, has %lld",
                            (long long)a->spatial, (long long)given.count);
    for (int64_t d = 0; d < a->spatial; d++) {
        int64_t in = a->in[d] = self->shape[a->first + d], out = a->out[d] = given.data[given.count == 1 ? 0 : d];
        if (out < 0 || out > INT64_C(1) << 40)
            return rl_call_fail(call, RL_INVALID_ARGUMENT, "output_size must not be negative or huge, got %lld",
                                (long long)out);
        if (in == 0)
            return rl_call_fail(call, RL_SHAPE_MISMATCH, "self %s: only the batch can be empty",
                                rl_shape_text(self->ndim, self->shape, text));
        a->empty = a->empty || out == 0;
        a->divides = a->divides && out > 0 && in % out == 0;
        if (out > in) /* windows of one element, or of the two that an edge between them lies in */
            a->longest[d] = out % in == 0 ? 1 : 2;
        for (int64_t i = 0; i < out && out <= in; i++) {
            int64_t length = ((i + 1) * in + out - 1) / out - i * in / out;
            a->longest[d] = length > a->longest[d] ? length : a->longest[d];
        }
    }
    return RL_OK;
}

/* Average ---------------------------------------------------------------------------------------------------------- */

/* The mean of each window along one dimension. */
static rl_tensor *mean_along(rl_tensor *x, int64_t dim, int64_t in, int64_t out, int64_t longest) {
    if (out == 0)
        return rl_narrow(x, dim, 0, 0);
    rl_device *device = rl_tensor_device(x);
    int64_t after = x->ndim - dim - 1, shape[RL_MAX_DIMS] = {out, longest};
    rl_tensor *i = rl_unsqueeze(rl_counted(0, out, device), -1);
    rl_tensor *start = rl_floor_divide(rl_mul(i, in), out);
    rl_tensor *end = rl_floor_divide(rl_add(rl_mul(rl_add(i, 1), in), out - 1), out);
    rl_tensor *place = rl_add(start, rl_counted(0, longest, device));
    rl_tensor *inside = rl_lt(place, end), *length = rl_to(rl_sub(end, start), .dtype = rl_tensor_dtype(x));
    for (int64_t d = 0; d < after; d++)
        shape[2 + d] = 1;
    rl_tensor *picked = rl_index_select(x, dim, rl_flatten(rl_minimum(place, rl_sub(end, 1))));
    picked = rl_unflatten(picked, dim, RL_DIMS(out, longest));
    rl_tensor *sum = rl_sum(rl_only_where(rl_view(inside, RL_INTS(shape, 2 + after)), picked), .dim = RL_DIMS(dim + 1));
    shape[1] = 1;
    return rl_div(sum, rl_view(length, RL_INTS(shape, 1 + after)));
}

static rl_status average_lower(rl_call *call) {
    adaptive a;
    rl_tensor *x = rl_arg_tensor(call, 0);
    rl_status status = rl_check_float(call, 0);
    if (status == RL_OK)
        status = read_sizes(call, &a);
    if (status != RL_OK)
        return status;
    if (a.divides && !a.empty) {
        int64_t kernel[3];
        for (int64_t d = 0; d < a.spatial; d++)
            kernel[d] = a.in[d] / a.out[d];
        rl_ints k = {kernel, a.spatial};
        call->results[0] = a.spatial == 1   ? rl_avg_pool1d(x, k)
                           : a.spatial == 2 ? rl_avg_pool2d(x, k)
                                            : rl_avg_pool3d(x, k);
        return rl_error_status();
    }
    rl_dtype dtype = rl_tensor_dtype(x);
    x = dtype == RL_F16 || dtype == RL_BF16 ? rl_to(x, .dtype = RL_F32) : x; /* rounded once */
    for (int64_t d = 0; x != NULL && d < a.spatial; d++)
        if (a.in[d] != a.out[d])
            x = mean_along(x, a.first + d, a.in[d], a.out[d], a.longest[d]);
    call->results[0] = x ? rl_to(x, .dtype = dtype) : NULL;
    return rl_error_status();
}

static const rl_sample average1_samples[] = {
    {"f[2,3,8], 4"},  {"f[3,7], 3"}, {"f[2,5], 1"},   {"f[2,3,4]t, 7"}, {"f[1,2], 5"},
    {"f[1,1,3], 11"}, {"f[2,3], 6"}, {"f[0,2,5], 2"}, {"f[2,5], 0"},    {0}};
static const rl_sample average2_samples[] = {
    {"f[2,3,8,6], [4,3]"},  {"f[2,3,7,5], 3"}, {"f[3,5,7], [5,2]"}, {"f[1,2,9,4]t, 1"},
    {"f[1,2,5,6]s, [7,2]"}, {"f[0,2,5,5], 2"}, {"f[2,4,4], [0,2]"}, {0}};
static const rl_sample average3_samples[] = {
    {"f[1,2,4,6,2], [2,3,1]"}, {"f[2,3,4,5], [2,3,4]"}, {"f[1,2,3,4,5]t, 1"}, {"f[0,2,5,5,5], 2"}, {0}};
static const rl_bad average1_bad[] = {
    {"f[4], 2", RL_SHAPE_MISMATCH, "self must have shape (C, L) or (N, C, L), has (4)"},
    {"i64[2,4], 2", RL_DTYPE_MISMATCH, "floating dtype"},
    {0}};
static const rl_bad average2_bad[] = {
    {"f[4,4], 2", RL_SHAPE_MISMATCH, "self must have shape (C, H, W) or (N, C, H, W), has (4, 4)"},
    {"f[1,4,4], -1", RL_INVALID_ARGUMENT, "output_size must not be negative or huge, got -1"},
    {"f[1,4,4], [1,2,3]", RL_INVALID_ARGUMENT, "output_size must have 1 or 2 numbers, has 3"},
    {"f[1,0,4], 2", RL_SHAPE_MISMATCH, "only the batch can be empty"},
    {0}};
static const rl_bad average3_bad[] = {
    {"f[4,4,4], 2", RL_SHAPE_MISMATCH, "self must have shape (C, D, H, W) or (N, C, D, H, W), has (4, 4, 4)"}, {0}};

const rl_op_def rl_op_def_adaptive_avg_pool1d = {
    .schema = "adaptive_avg_pool1d(Tensor self, int[1] output_size) -> Tensor",
    .doc =
        "y[i] = mean of self[floor(i L / n) .. ceil((i + 1) L / n) - 1], n = output_size, for self (N, C, L) or (C, L)",
    .flags = RL_OP_COMPOSITE,
    .lower = average_lower,
    .samples = average1_samples,
    .bad = average1_bad,
};

const rl_op_def rl_op_def_adaptive_avg_pool2d = {
    .schema = "adaptive_avg_pool2d(Tensor self, int[2] output_size) -> Tensor",
    .doc = "y = the means of output_size windows that cover self (N, C, H, W) or (C, H, W)",
    .note = "Window i of n over size s is floor(i s / n) .. ceil((i + 1) s / n) - 1, in each dimension.",
    .flags = RL_OP_COMPOSITE,
    .lower = average_lower,
    .samples = average2_samples,
    .bad = average2_bad,
};

const rl_op_def rl_op_def_adaptive_avg_pool3d = {
    .schema = "adaptive_avg_pool3d(Tensor self, int[3] output_size) -> Tensor",
    .doc = "y = the means of output_size windows that cover self (N, C, D, H, W) or (C, D, H, W)",
    .note = "Window i of n over size s is floor(i s / n) .. ceil((i + 1) s / n) - 1, in each dimension.",
    .flags = RL_OP_COMPOSITE | RL_OP_AUTOCAST_F32,
    .lower = average_lower,
    .samples = average3_samples,
    .bad = average3_bad,
};

/* Maximum ---------------------------------------------------------------------------------------------------------- */

static rl_status max_infer(rl_call *call) {
    const rl_tensor *self = rl_arg_tensor(call, 0);
    adaptive a;
    if (self->dtype == RL_BOOL)
        return rl_call_fail(call, RL_DTYPE_MISMATCH, "self must not be of dtype bool");
    rl_status status = read_sizes(call, &a);
    if (status != RL_OK)
        return status;
    int64_t shape[RL_MAX_DIMS];
    memcpy(shape, self->shape, (size_t)a.first * sizeof *shape);
    memcpy(shape + a.first, a.out, (size_t)a.spatial * sizeof *shape);
    for (int i = 0; i < call->n_results; i++)
        rl_meta_set(&call->meta[i], i ? RL_I64 : (rl_dtype)self->dtype, self->storage->device, self->ndim, shape);
    return RL_OK;
}

/* Place l of window i, as index (i, l): min(i in / out + l, ((i + 1) in + out - 1) / out - 1) */
static void write_window(rl_builder *b, uint32_t key) {
    (void)key;
    rl_pw in = rl_build_scalar(b, RL_I64), out = rl_build_scalar(b, RL_I64), one = rl_build_constant(b, RL_I64, 1);
    rl_pw i = rl_build_index(b, 0), start = OP2(IDIV, MUL(i, in), out);
    rl_pw end = OP2(IDIV, ADD(MUL(ADD(i, one), in), SUB(out, one)), out);
    rl_build_output(b, MIN(ADD(start, rl_build_index(b, 1)), SUB(end, one)), RL_I64);
}

/* The windows of x along one dimension, side by side. */
static rl_tensor *gather_windows(const rl_call *call, rl_tensor *x, const adaptive *a, int64_t d) {
    const char *op = rl_call_name(call);
    int64_t dim = 2 + d, count = a->out[d] * a->longest[d], shape[5], stride[5] = {0};
    rl_tensor *table = rl_call_temp(call, RL_I64, 2, (const int64_t[]){a->out[d], a->longest[d]});
    const rl_program *program = rl_row_program(write_window, 0);
    const rl_number scalars[2] = {{.i = a->in[d]}, {.i = a->out[d]}};
    memcpy(shape, x->shape, (size_t)x->ndim * sizeof *shape);
    shape[dim] = count;
    stride[dim] = 1;
    rl_tensor *out = rl_call_temp(call, (rl_dtype)x->dtype, x->ndim, shape);
    if (table == NULL || program == NULL || out == NULL || rl_row_map(op, program, NULL, &table, scalars) != RL_OK)
        return NULL;
    rl_tensor *index = rl_over(table, x->ndim, shape, stride, table->offset);
    return index && rl_row_gather(op, x, dim, index, out) == RL_OK ? out : NULL;
}

/* Of the number n within windows (longest, ...): sum over dimensions of (i in / out + step) pitch */
static void write_place(rl_builder *b, uint32_t key) {
    rl_pw n = rl_build_input(b, RL_I64), place = rl_build_constant(b, RL_I64, 0),
          pitch = rl_build_constant(b, RL_I64, 1);
    for (uint32_t d = rl_key_variant(key); d-- > 0;) {
        rl_pw in = rl_build_scalar(b, RL_I64), out = rl_build_scalar(b, RL_I64), longest = rl_build_scalar(b, RL_I64);
        rl_pw start = OP2(IDIV, MUL(rl_build_index(b, 2 + (int)d), in), out);
        place = ADD(place, MUL(ADD(start, OP2(IREM, n, longest)), pitch));
        pitch = MUL(pitch, in);
        n = OP2(IDIV, n, longest);
    }
    rl_build_output(b, place, RL_I64);
}

static rl_status max_lower(rl_call *call) {
    adaptive a;
    rl_status status = read_sizes(call, &a);
    rl_tensor *x = rl_pooling_batched(rl_arg_tensor(call, 0), a.spatial);
    rl_tensor *values = rl_pooling_batched(call->results[0], a.spatial);
    rl_tensor *indices = rl_pooling_batched(call->results[1], a.spatial);
    if (status != RL_OK || x == NULL || values == NULL || indices == NULL || values->numel == 0)
        return rl_error_status();
    for (int64_t d = 0; x != NULL && d < a.spatial; d++)
        x = gather_windows(call, x, &a, d);
    if (x == NULL)
        return rl_error_status();
    int64_t shape[8] = {x->shape[0], x->shape[1]}, stride[8];
    for (int64_t d = 0; d < a.spatial; d++) {
        shape[2 + 2 * d] = a.out[d];
        shape[3 + 2 * d] = a.longest[d];
    }
    rl_contiguous_strides(2 + 2 * a.spatial, shape, stride);
    rl_tensor *windows = rl_over(x, 2 + 2 * a.spatial, shape, stride, x->offset);
    rl_tensor *numbers = rl_call_temp(call, RL_I64, values->ndim, values->shape);
    const rl_program *program = rl_row_program(write_place, RL_KEY(0, 0, 0, a.spatial));
    if (windows == NULL || numbers == NULL || program == NULL)
        return rl_error_status();
    rl_dtype compute = rl_accumulator((rl_dtype)x->dtype);
    rl_reduction r = {.prologue = rl_pooling_write_twice,
                      .prologue_key = RL_KEY(x->dtype, compute, 0, 0),
                      .epilogue = rl_pooling_write_found,
                      .epilogue_key = RL_KEY(0, compute, values->dtype, 0),
                      .combiner = {RL_COMBINE_MAX, RL_COMBINE_ARGMAX},
                      .inputs = {windows},
                      .outputs = {values, numbers},
                      .shape_of = windows,
                      .mask = 0xa8u & ((1u << (2 + 2 * a.spatial)) - 1)}; /* dimensions 3, 5, 7 */
    rl_number scalars[9], *at = scalars;
    for (int64_t d = a.spatial - 1; d >= 0; d--, at += 3) {
        at[0].i = a.in[d];
        at[1].i = a.out[d];
        at[2].i = a.longest[d];
    }
    status = rl_reduce(rl_call_name(call), &r);
    return status == RL_OK ? rl_row_map(rl_call_name(call), program, &numbers, &indices, scalars) : status;
}

static void max1_vjp(rl_vjp *v) {
    rl_pooling_indices_vjp(v, 1);
}
static void max2_vjp(rl_vjp *v) {
    rl_pooling_indices_vjp(v, 2);
}
static void max3_vjp(rl_vjp *v) {
    rl_pooling_indices_vjp(v, 3);
}

/* Without indices: by plain pooling where sizes divide. */
static rl_status values_lower(rl_call *call) {
    adaptive a;
    rl_tensor *x = rl_arg_tensor(call, 0);
    rl_status status = read_sizes(call, &a);
    if (status != RL_OK)
        return status;
    int64_t kernel[3];
    for (int64_t d = 0; d < a.spatial; d++) {
        assert(!a.divides || a.out[d] > 0);
        kernel[d] = a.divides ? a.in[d] / a.out[d] : a.out[d];
    }
    rl_ints k = {kernel, a.spatial};
    if (a.divides)
        call->results[0] = a.spatial == 1   ? rl_max_pool1d(x, k)
                           : a.spatial == 2 ? rl_max_pool2d(x, k)
                                            : rl_max_pool3d(x, k);
    else
        call->results[0] = a.spatial == 1   ? rl_adaptive_max_pool1d_with_indices(x, k).values
                           : a.spatial == 2 ? rl_adaptive_max_pool2d_with_indices(x, k).values
                                            : rl_adaptive_max_pool3d_with_indices(x, k).values;
    return rl_error_status();
}

static const rl_sample max1_samples[] = {{"d[2,3,8], 4"}, {"d[3,7], 3"},    {"d[2,5], 1"},   {"d[2,3,4]t, 7"},
                                         {"d[1,2], 5"},   {"d[1,1,3], 11"}, {"f[0,2,5], 2"}, {0}};
static const rl_sample max2_samples[] = {
    {"d[1,3,8,6], [4,3]"},  {"d[2,3,7,5], 3"}, {"d[3,5,7], [5,2]"}, {"d[1,2,9,4]t, 1"},
    {"d[1,2,5,6]s, [7,2]"}, {"f[0,2,5,5], 2"}, {"f[2,4,4], [0,2]"}, {0}};
static const rl_sample max3_samples[] = {
    {"d[1,2,4,6,2], [2,3,1]"}, {"d[2,3,4,5], [2,3,4]"}, {"d[1,2,3,4,5]t, 1"}, {"f[0,2,5,5,5], 2"}, {0}};
static const rl_bad max1_bad[] = {{"f[4], 2", RL_SHAPE_MISMATCH, "self must have shape (C, L) or (N, C, L), has (4)"},
                                  {"b[2,4], 2", RL_DTYPE_MISMATCH, "bool"},
                                  {0}};
static const rl_bad max2_bad[] = {
    {"f[4,4], 2", RL_SHAPE_MISMATCH, "self must have shape (C, H, W) or (N, C, H, W), has (4, 4)"},
    {"f[1,4,4], -1", RL_INVALID_ARGUMENT, "output_size must not be negative or huge, got -1"},
    {"f[1,4,4], []", RL_INVALID_ARGUMENT, "output_size must have 1 or 2 numbers, has 0"},
    {0}};
static const rl_bad max3_bad[] = {
    {"f[4,4,4], 2", RL_SHAPE_MISMATCH, "self must have shape (C, D, H, W) or (N, C, D, H, W), has (4, 4, 4)"}, {0}};

const rl_op_def rl_op_def_adaptive_max_pool1d = {
    .schema = "adaptive_max_pool1d(Tensor self, int[1] output_size) -> Tensor",
    .doc = "y = the greatest elements of output_size windows that cover self (N, C, L) or (C, L)",
    .flags = RL_OP_COMPOSITE,
    .lower = values_lower,
    .samples = max1_samples,
    .bad = max1_bad,
    .sample_dtypes = RL_SAMPLE_NO_BOOL,
};

const rl_op_def rl_op_def_adaptive_max_pool1d_with_indices = {
    .schema = "adaptive_max_pool1d_with_indices(Tensor self, int[1] output_size) -> (Tensor values, Tensor indices)",
    .doc = "values = adaptive_max_pool1d(self), indices = where these stand in the flattened (L)",
    .flags = RL_OP_ROWS,
    .saves = RL_SAVE_OUT(1),
    .infer = max_infer,
    .lower = max_lower,
    .vjp = max1_vjp,
    .samples = max1_samples,
    .bad = max1_bad,
    .sample_dtypes = RL_SAMPLE_NO_BOOL,
};

const rl_op_def rl_op_def_adaptive_max_pool2d = {
    .schema = "adaptive_max_pool2d(Tensor self, int[2] output_size) -> Tensor",
    .doc = "y = the greatest elements of output_size windows that cover self (N, C, H, W) or (C, H, W)",
    .flags = RL_OP_COMPOSITE,
    .lower = values_lower,
    .samples = max2_samples,
    .bad = max2_bad,
    .sample_dtypes = RL_SAMPLE_NO_BOOL,
};

const rl_op_def rl_op_def_adaptive_max_pool2d_with_indices = {
    .schema = "adaptive_max_pool2d_with_indices(Tensor self, int[2] output_size) -> (Tensor values, Tensor indices)",
    .doc = "values = adaptive_max_pool2d(self), indices = where these stand in the flattened (H, W)",
    .flags = RL_OP_ROWS,
    .saves = RL_SAVE_OUT(1),
    .infer = max_infer,
    .lower = max_lower,
    .vjp = max2_vjp,
    .samples = max2_samples,
    .bad = max2_bad,
    .sample_dtypes = RL_SAMPLE_NO_BOOL,
};

const rl_op_def rl_op_def_adaptive_max_pool3d = {
    .schema = "adaptive_max_pool3d(Tensor self, int[3] output_size) -> Tensor",
    .doc = "y = the greatest elements of output_size windows that cover self (N, C, D, H, W) or (C, D, H, W)",
    .flags = RL_OP_COMPOSITE,
    .lower = values_lower,
    .samples = max3_samples,
    .bad = max3_bad,
    .sample_dtypes = RL_SAMPLE_NO_BOOL,
};

const rl_op_def rl_op_def_adaptive_max_pool3d_with_indices = {
    .schema = "adaptive_max_pool3d_with_indices(Tensor self, int[3] output_size) -> (Tensor values, Tensor indices)",
    .doc = "values = adaptive_max_pool3d(self), indices = where these stand in the flattened (D, H, W)",
    .flags = RL_OP_ROWS,
    .saves = RL_SAVE_OUT(1),
    .infer = max_infer,
    .lower = max_lower,
    .vjp = max3_vjp,
    .samples = max3_samples,
    .bad = max3_bad,
    .sample_dtypes = RL_SAMPLE_NO_BOOL,
};
