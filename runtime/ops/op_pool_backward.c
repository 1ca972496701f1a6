/* SPDX-License-Identifier: Apache-2.0 */
/* Backwards of pooling: the fused row, and its lowering. */
#include <string.h>

#include "ops/op_pool.h"

/* Of the maximum --------------------------------------------------------------------------------------------------- */

/* (grad_output, self, kernel_size, stride, padding, dilation, ceil_mode) */
static const rl_pooling_places max_places = {2, 3, 4, 5, 6, -1, -1};

static rl_status check_grad(const rl_call *call, rl_ints shape, const rl_pool_window *w) {
    const rl_tensor *g = rl_arg_tensor(call, 0);
    int64_t want[RL_MAX_DIMS];
    char g_text[RL_SHAPE_TEXT], want_text[RL_SHAPE_TEXT];
    memcpy(want, shape.data, (size_t)shape.count * sizeof *want);
    memcpy(want + shape.count - w->spatial, w->out_size, (size_t)w->spatial * sizeof *want);
    if (g->ndim == shape.count && memcmp(g->shape, want, (size_t)g->ndim * sizeof *want) == 0)
        return RL_OK;
    return rl_call_fail(call, RL_SHAPE_MISMATCH, "grad_output must have shape %s, has %s",
                        rl_shape_text(shape.count, want, want_text), rl_shape_text(g->ndim, g->shape, g_text));
}

static rl_status check_spatial(const rl_call *call, int64_t spatial) {
    return spatial >= 1 && spatial <= 3
               ? RL_OK
               : rl_call_fail(call, RL_INVALID_ARGUMENT,
                              "kernel_size must have 1 to 3 numbers, one for each dimension, has "
                              "%lld",
                              (long long)spatial);
}

static rl_status read_max(const rl_call *call, rl_pool_window *w) {
    int64_t spatial = rl_arg_ints(call, max_places.kernel).count;
    rl_status status = check_spatial(call, spatial);
    return status == RL_OK ? rl_pooling_read(call, "self", rl_shape_of(rl_arg_tensor(call, 1)), spatial, RL_POOL_MAX,
                                             &max_places, w)
                           : status;
}

static rl_status max_backward_infer(rl_call *call) {
    const rl_tensor *self = rl_arg_tensor(call, 1);
    rl_pool_window w;
    rl_status status = rl_check_same_device(call);
    if (status == RL_OK)
        status = rl_check_float(call, 1);
    if (status == RL_OK)
        status = rl_check_dtype_is(call, 0, (rl_dtype)self->dtype);
    if (status == RL_OK)
        status = read_max(call, &w);
    if (status == RL_OK)
        status = check_grad(call, rl_shape_of(self), &w);
    rl_meta *meta = &call->meta[0];
    rl_meta_set(meta, (rl_dtype)self->dtype, self->storage->device, self->ndim, self->shape);
    meta->has_stride = !self->contiguous;
    rl_dense_strides_like(meta->ndim, meta->shape, self->stride, meta->stride);
    return status;
}

/* The places of the first maxima in planes of size[], which begin `padding` before the input. */
static rl_tensor *find_places(const rl_call *call, rl_tensor *x, const rl_pool_window *w, const int64_t *size) {
    rl_tensor *windows = rl_pooling_windows(call, x, w), *numbers = rl_pooling_temp(call, RL_I64, w, w->out_size);
    if (windows == NULL || numbers == NULL)
        return NULL;
    rl_dtype compute = rl_accumulator((rl_dtype)x->dtype);
    rl_reduction r = {.prologue = rl_write_value,
                      .prologue_key = RL_KEY(x->dtype, compute, 0, 0),
                      .epilogue = rl_write_result,
                      .epilogue_key = RL_KEY(0, RL_I64, RL_I64, 0),
                      .combiner = {RL_COMBINE_ARGMAX},
                      .inputs = {windows},
                      .outputs = {numbers},
                      .shape_of = windows,
                      .mask = rl_pooling_mask(w)};
    if (rl_reduce(rl_call_name(call), &r) != RL_OK)
        return NULL;
    return rl_pooling_place(call, numbers, numbers, w, w->padding, size) == RL_OK ? numbers : NULL;
}

/* x (batch, channels, sizes...), row-major, as (batch, channels, product of sizes). */
static rl_tensor *planes(const rl_tensor *x) {
    int64_t plane = rl_shape_numel(x->ndim - 2, x->shape + 2);
    const int64_t shape[3] = {x->shape[0], x->shape[1], plane};
    return rl_over(x, 3, shape, (const int64_t[]){x->shape[1] * plane, plane, 1}, x->offset);
}

/* g is added at the places, in planes with the padding around them, whose interior is the result. */
static rl_status lower_max_backward(const rl_call *call, rl_tensor *g, rl_tensor *x, rl_tensor *out,
                                    const rl_pool_window *w) {
    const char *op = rl_call_name(call);
    rl_dtype compute = rl_accumulator((rl_dtype)out->dtype);
    int64_t size[3];
    rl_pooling_padded_size(w, size);
    rl_tensor *sums = rl_pooling_temp(call, compute, w, size), *values = rl_pooling_temp(call, compute, w, w->out_size);
    rl_tensor *places = find_places(call, x, w, size);
    if (sums == NULL || values == NULL || places == NULL || rl_clear(op, sums) != RL_OK ||
        rl_move(op, values, g) != RL_OK)
        return rl_error_status();
    rl_tensor *interior = rl_pooling_interior(sums, w);
    sums = planes(sums);
    values = planes(values);
    places = planes(places);
    if (interior == NULL || sums == NULL || values == NULL || places == NULL)
        return rl_error_status();
    rl_status status = rl_row_scatter(op, sums, 2, places, values, RL_SCATTER_ADD);
    return status == RL_OK ? rl_move(op, out, interior) : status;
}

static rl_status max_backward_lower(rl_call *call) {
    rl_pool_backward_args args = {.dtype = call->meta[0].dtype};
    rl_pool_window *w = &args.window;
    rl_status status = read_max(call, w);
    rl_tensor *g = rl_pooling_batched(rl_arg_tensor(call, 0), w->spatial);
    rl_tensor *x = rl_pooling_batched(rl_arg_tensor(call, 1), w->spatial);
    rl_tensor *out = rl_pooling_batched(call->results[0], w->spatial);
    if (status != RL_OK || g == NULL || x == NULL || out == NULL || out->numel == 0)
        return rl_error_status();
    bool ran;
    status =
        rl_row_fused(rl_call_name(call), RL_ROW_POOL_BACKWARD, &args, sizeof args, (rl_tensor *[]){g, x, out}, 3, &ran);
    return status == RL_OK && !ran ? lower_max_backward(call, g, x, out, w) : status;
}

/* Where the maxima of self stand, by the op of its number of dimensions. */
static rl_tensor *max_indices(rl_vjp *v, rl_tensor *x) {
    rl_ints kernel = rl_vjp_ints(v, 2), stride = rl_vjp_ints(v, 3);
    rl_ints padding = rl_vjp_ints(v, 4), dilation = rl_vjp_ints(v, 5);
    bool ceil = rl_vjp_arg(v, 6)->as.b;
    return kernel.count == 1   ? rl_max_pool1d_with_indices(x, kernel, stride, padding, dilation, ceil).indices
           : kernel.count == 2 ? rl_max_pool2d_with_indices(x, kernel, stride, padding, dilation, ceil).indices
                               : rl_max_pool3d_with_indices(x, kernel, stride, padding, dilation, ceil).indices;
}

/* Linear in g, flat in x: gg = u at the places of the maxima */
static void max_backward_vjp(rl_vjp *v) {
    if (!rl_vjp_needs(v, 0))
        return;
    rl_tensor *x = rl_vjp_input(v, 1), *indices = max_indices(v, x);
    int64_t first = rl_vjp_shape(v, 1).count - rl_vjp_ints(v, 2).count;
    if (rl_shape_numel(rl_vjp_shape(v, 1).count, rl_vjp_shape(v, 1).data) == 0) {
        rl_vjp_set(v, 0, rl_vjp_zeros(v, 0));
        return;
    }
    rl_tensor *u = rl_flatten(G, first ? first : RL_ZERO, -1),
              *places = rl_flatten(indices, first ? first : RL_ZERO, -1);
    rl_vjp_set(v, 0, rl_reshape(rl_gather(u, -1, places), rl_vjp_shape(v, 0)));
}

#define EMPTY_WINDOWS "a window without elements has no index"
static const rl_sample max_backward_samples[] = {
    {"f[2,3,3,4], d[2,3,6,8], [2,2], [2,2], [0,0], [1,1], false"},
    {"f[2,3,4], d[2,3,9], [3], [2], [0], [1], false"},
    {"f[1,2,4,5], d[1,2,7,9], [3,3], [2,2], [1,1], [1,1], false"},
    {"f[3,4,3]t, d[3,5,5]t, [2,3], [1,2], [0,1], [1,1], true"},
    {"f[2,5,3,1]t, d[2,5,7,3]t, [2,2], [2,2], [0,0], [1,1], false"},
    {"f[1,2,5,4], d[1,2,8,8]s, [3,2], [2,2], [1,0], [1,2], true"},
    {"f[0,2,2,2], f[0,2,4,4], [2,2], [2,2], [0,0], [1,1], false"},
    {"f[1,2,2,2,2], d[1,2,4,4,4], [2,2,2], [], [0,0,0], [1,1,1], false"},
    {"f[1,2,3,5,2], d[1,2,4,5,2], [2,3,2], [2,1,1], [1,1,1], [1,1,2], false"},
    {"f[1,2,1,8], d[1,2,2,8], [2,1], [1,1], [1,0], [3,1], false", .no_gradcheck = true, .why = EMPTY_WINDOWS},
    {"f[1,2,8,1], d[1,2,8,2], [1,2], [1,1], [0,1], [1,3], false", .no_gradcheck = true, .why = EMPTY_WINDOWS},
    {"f[1,2,2,3], d[1,2,4,2], [1,2], [2,1], [0,2], [1,3], false", .no_gradcheck = true, .why = EMPTY_WINDOWS},
    {0}};
static const rl_bad max_backward_bad[] = {
    {"f[2,3,3,3], f[2,3,6,8], [2,2], [2,2], [0,0], [1,1], false", RL_SHAPE_MISMATCH,
     "grad_output must have shape (2, 3, 3, 4), has (2, 3, 3, 3)"},
    {"f[2,3], f[2,6], [], [], [0], [1], false", RL_INVALID_ARGUMENT, "kernel_size must have 1 to 3 numbers"},
    {"f64[2,3], f32[2,6], [2], [], [0], [1], false", RL_DTYPE_MISMATCH, "grad_output must be float32"},
    {"i64[2,3], i64[2,6], [2], [], [0], [1], false", RL_DTYPE_MISMATCH, "self must be of a floating dtype"},
    {0}};

const rl_op_def rl_op_def_max_pool_backward = {
    .schema = "max_pool_backward(Tensor grad_output, Tensor self, int[] kernel_size, int[] stride, int[] padding, "
              "int[] dilation, bool ceil_mode) -> Tensor",
    .doc =
        "z = 0 with grad_output added at the first greatest element of each window: the gradient of max_pool1d, 2d, 3d",
    .flags = RL_OP_ROWS,
    .saves = RL_SAVE_IN(1),
    .infer = max_backward_infer,
    .lower = max_backward_lower,
    .vjp = max_backward_vjp,
    .samples = max_backward_samples,
    .bad = max_backward_bad,
};

/* Of the average --------------------------------------------------------------------------------------------------- */

/* (grad_output, input_size, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override) */
static const rl_pooling_places average_places = {2, 3, 4, -1, 5, 6, 7};

static rl_status read_average(const rl_call *call, rl_pool_window *w) {
    int64_t spatial = rl_arg_ints(call, average_places.kernel).count;
    rl_status status = check_spatial(call, spatial);
    return status == RL_OK
               ? rl_pooling_read(call, "input_size", rl_arg_ints(call, 1), spatial, RL_POOL_AVERAGE, &average_places, w)
               : status;
}

static rl_status average_backward_infer(rl_call *call) {
    const rl_tensor *g = rl_arg_tensor(call, 0);
    rl_ints size = rl_arg_ints(call, 1);
    rl_pool_window w;
    int64_t numel;
    rl_status status = rl_check_float(call, 0);
    if (status == RL_OK && size.count <= RL_MAX_DIMS)
        status = rl_check_shape(rl_call_name(call), size.count, size.data, (rl_dtype)g->dtype, &numel);
    if (status == RL_OK)
        status = read_average(call, &w);
    if (status == RL_OK)
        status = check_grad(call, size, &w);
    if (status != RL_OK)
        return status;
    rl_meta *meta = &call->meta[0];
    rl_meta_set(meta, (rl_dtype)g->dtype, g->storage->device, size.count, size.data);
    meta->has_stride = !g->contiguous;
    rl_dense_strides_like(meta->ndim, meta->shape, g->stride, meta->stride);
    return RL_OK;
}

static void write_add(rl_builder *b, uint32_t key) {
    rl_pw x = rl_build_input(b, rl_key_compute(key)), y = rl_build_input(b, rl_key_compute(key));
    rl_build_output(b, ADD(x, y), rl_key_compute(key));
}

/* Adds to out each of the elements of `from` along dimension 2 + d, kernel times from its window's beginning on: by
 * steps of the kernel, or by windows where these are fewer. */
static rl_status spread(const rl_call *call, rl_tensor *from, rl_tensor *out, const rl_pool_window *w, int d) {
    const char *op = rl_call_name(call);
    int64_t kernel = w->kernel[d], windows = w->out_size[d], dim = 2 + d;
    bool by_step = kernel <= windows;
    const rl_program *program = rl_row_program(write_add, RL_KEY(0, out->dtype, 0, 0));
    if (program == NULL || rl_clear(op, out) != RL_OK)
        return rl_error_status();
    for (int64_t i = 0; i < (by_step ? kernel : windows); i++) {
        rl_geometry source = rl_geometry_of(from), target = rl_geometry_of(out);
        target.offset += (by_step ? i : i * w->stride[d]) * target.stride[dim];
        target.shape[dim] = source.shape[dim] = by_step ? windows : kernel;
        if (by_step) {
            target.stride[dim] *= w->stride[d];
        } else {
            source.offset += i * source.stride[dim];
            source.stride[dim] = 0;
        }
        rl_tensor *in = rl_over(from, source.ndim, source.shape, source.stride, source.offset);
        rl_tensor *to = rl_over(out, target.ndim, target.shape, target.stride, target.offset);
        if (in == NULL || to == NULL || rl_row_map(op, program, (rl_tensor *[]){to, in}, &to, NULL) != RL_OK)
            return rl_error_status();
    }
    return RL_OK;
}

/* The share of each window, spread along one dimension after the other. */
static rl_status lower_average_backward(const rl_call *call, rl_tensor *g, rl_tensor *out, const rl_pool_window *w) {
    rl_dtype compute = rl_accumulator((rl_dtype)out->dtype);
    int64_t padded[3], size[3];
    rl_pooling_padded_size(w, padded);
    memcpy(size, w->out_size, sizeof size);
    rl_tensor *share = rl_pooling_temp(call, compute, w, size);
    if (share == NULL || rl_pooling_divide(call, g, share, w) != RL_OK)
        return rl_error_status();
    for (int d = (int)w->spatial - 1; d >= 0; d--) {
        size[d] = padded[d];
        rl_tensor *wider = rl_pooling_temp(call, compute, w, size);
        if (wider == NULL || spread(call, share, wider, w, d) != RL_OK)
            return rl_error_status();
        share = wider;
    }
    rl_tensor *interior = rl_pooling_interior(share, w);
    return interior ? rl_move(rl_call_name(call), out, interior) : rl_error_status();
}

static rl_status average_backward_lower(rl_call *call) {
    rl_pool_backward_args args = {.dtype = call->meta[0].dtype};
    rl_pool_window *w = &args.window;
    rl_status status = read_average(call, w);
    rl_tensor *g = rl_pooling_batched(rl_arg_tensor(call, 0), w->spatial);
    rl_tensor *out = rl_pooling_batched(call->results[0], w->spatial);
    if (status != RL_OK || g == NULL || out == NULL || out->numel == 0)
        return rl_error_status();
    bool ran;
    status = rl_row_fused(rl_call_name(call), RL_ROW_POOL_BACKWARD, &args, sizeof args, (rl_tensor *[]){g, NULL, out},
                          3, &ran);
    return status == RL_OK && !ran ? lower_average_backward(call, g, out, w) : status;
}

/* Linear in g: gg = the average of u */
static void average_backward_vjp(rl_vjp *v) {
    rl_ints kernel = rl_vjp_ints(v, 2), stride = rl_vjp_ints(v, 3), padding = rl_vjp_ints(v, 4);
    bool ceil = rl_vjp_arg(v, 5)->as.b;
    int64_t include = rl_vjp_arg(v, 6)->as.b ? 1 : RL_ZERO;
    int64_t divisor = rl_vjp_arg(v, 7)->kind == RL_VALUE_INT ? rl_vjp_int(v, 7) : 0;
    rl_vjp_set(v, 0,
               kernel.count == 1   ? rl_avg_pool1d(G, kernel, stride, padding, ceil, include)
               : kernel.count == 2 ? rl_avg_pool2d(G, kernel, stride, padding, ceil, include, divisor)
                                   : rl_avg_pool3d(G, kernel, stride, padding, ceil, include, divisor));
}

static const rl_sample average_backward_samples[] = {
    {"f[2,3,3,4], [2,3,6,8], [2,2], [2,2], [0,0]"},
    {"f[2,3,4], [2,3,9], [3], [2], [0]"},
    {"f[1,2,4,5], [1,2,7,9], [3,3], [2,2], [1,1]"},
    {"f[1,2,4,5], [1,2,7,9], [3,3], [2,2], [1,1], false, false"},
    {"f[3,4,3]t, [3,5,5], [2,3], [1,2], [0,1], true, false"},
    {"f[2,5,3,1]t, [2,5,7,3], [2,2], [2,2], [0,0]"},
    {"f[1,2,4,2]s, [1,2,8,6], [7,5], [1,1], [1,0]"},
    {"f[0,2,2,2], [0,2,4,4], [2,2], [2,2], [0,0]"},
    {"f[1,2,2,2,2], [1,2,4,4,4], [2,2,2], [], [0,0,0], false, true, 3"},
    {0}};
static const rl_bad average_backward_bad[] = {
    {"f[2,3,3,3], [2,3,6,8], [2,2], [2,2], [0,0]", RL_SHAPE_MISMATCH,
     "grad_output must have shape (2, 3, 3, 4), has (2, 3, 3, 3)"},
    {"f[2,3,3,3], [2,3,-6,8], [2,2], [2,2], [0,0]", RL_INVALID_ARGUMENT, "-6"},
    {"f[2,3], [2,6], [2], [], [0], false, true, 0", RL_INVALID_ARGUMENT, "divisor_override must not be 0"},
    {"i64[2,3], [2,6], [2], [], [0]", RL_DTYPE_MISMATCH, "floating dtype"},
    {0}};

const rl_op_def rl_op_def_avg_pool_backward = {
    .schema = "avg_pool_backward(Tensor grad_output, int[] input_size, int[] kernel_size, int[] stride, int[] padding, "
              "bool ceil_mode=False, bool count_include_pad=True, int? divisor_override=None) -> Tensor",
    .doc = "z = the share of each element in the averages, times their grad_output: the gradient of avg_pool1d, 2d, 3d",
    .flags = RL_OP_ROWS,
    .infer = average_backward_infer,
    .lower = average_backward_lower,
    .vjp = average_backward_vjp,
    .samples = average_backward_samples,
    .bad = average_backward_bad,
};
