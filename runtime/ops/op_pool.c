/* SPDX-License-Identifier: Apache-2.0 */
/* What the pooling ops share: reading a window, views of all windows, counts and places. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "ops/op_pool.h"

/* Reading ---------------------------------------------------------------------------------------------------------- */

#define MOST (INT64_C(1) << 40) /* of any size here: sums and products of a few do not overflow */

int64_t rl_pooling_spatial(const rl_call *call, const rl_pooling_places *places) {
    return rl_schema_table[call->opcode].params[places->kernel].length;
}

/* Numbers for each spatial dimension; one number stands for all. */
static rl_status read_numbers(const rl_call *call, int arg, int64_t spatial, int64_t least, int64_t *out) {
    const char *name = rl_schema_table[call->opcode].params[arg].name;
    rl_ints given = rl_arg_ints(call, arg);
    if (given.count != spatial && given.count != 1)
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "%s must have 1 or %lld numbers, has %lld", name,
                            (long long)spatial, (long long)given.count);
    for (int64_t d = 0; d < spatial; d++) {
        out[d] = given.data[given.count == 1 ? 0 : d];
        if (out[d] < least)
            return rl_call_fail(call, RL_INVALID_ARGUMENT, "%s must be at least %lld, got %lld", name, (long long)least,
                                (long long)out[d]);
        if (out[d] > MOST)
            return rl_call_fail(call, RL_INVALID_ARGUMENT, "%s of %lld is too large", name, (long long)out[d]);
    }
    return RL_OK;
}

static rl_status check_input(const rl_call *call, const char *name, rl_ints shape, int64_t spatial) {
    static const char *const sizes[] = {"", "L", "H, W", "D, H, W"};
    char text[RL_SHAPE_TEXT];
    if (shape.count != spatial + 1 && shape.count != spatial + 2)
        return rl_call_fail(call, RL_SHAPE_MISMATCH, "%s must have shape (C, %s) or (N, C, %s), has %s", name,
                            sizes[spatial], sizes[spatial], rl_shape_text(shape.count, shape.data, text));
    for (int64_t d = shape.count - spatial - 1; d < shape.count; d++)
        if (shape.data[d] == 0 || shape.data[d] > MOST)
            return rl_call_fail(call, RL_SHAPE_MISMATCH, "%s %s: only the batch can be empty", name,
                                rl_shape_text(shape.count, shape.data, text));
    return RL_OK;
}

/* How many windows fit; a last one in part, where ceil, if it begins within the input or before it. */
static int64_t count_windows(const rl_pool_window *w, int d, bool ceil) {
    int64_t extent = w->dilation[d] * (w->kernel[d] - 1) + 1;
    int64_t room = w->in_size[d] + 2 * w->padding[d] - extent + (ceil ? w->stride[d] - 1 : 0);
    if (room < 0)
        return 0;
    int64_t count = room / w->stride[d] + 1;
    return ceil && (count - 1) * w->stride[d] >= w->in_size[d] + w->padding[d] ? count - 1 : count;
}

static rl_status count_all_windows(const rl_call *call, const char *name, rl_ints shape, bool ceil, rl_pool_window *w) {
    char text[RL_SHAPE_TEXT];
    for (int d = 0; d < w->spatial; d++) {
        int64_t extent;
        if (__builtin_mul_overflow(w->dilation[d], w->kernel[d] - 1, &extent) || extent >= MOST)
            return rl_call_fail(call, RL_INVALID_ARGUMENT, "kernel_size %lld with dilation %lld is too large",
                                (long long)w->kernel[d], (long long)w->dilation[d]);
        if (w->padding[d] > (extent + 1) / 2)
            return rl_call_fail(call, RL_INVALID_ARGUMENT,
                                "padding must be at most half of the kernel's extent, got %lld for an extent of %lld",
                                (long long)w->padding[d], (long long)extent + 1);
        w->out_size[d] = count_windows(w, d, ceil);
        if (w->out_size[d] < 1)
            return rl_call_fail(call, RL_SHAPE_MISMATCH, "%s %s is too small: no window of extent %lld fits into %lld",
                                name, rl_shape_text(shape.count, shape.data, text), (long long)extent + 1,
                                (long long)w->in_size[d] + 2 * w->padding[d]);
    }
    return RL_OK;
}

rl_status rl_pooling_read(const rl_call *call, const char *name, rl_ints shape, int64_t spatial, rl_pool_kind kind,
                          const rl_pooling_places *places, rl_pool_window *w) {
    *w = (rl_pool_window){.spatial = spatial, .batch = 1, .kind = kind, .dilation = {1, 1, 1}};
    rl_status status = check_input(call, name, shape, spatial);
    if (status == RL_OK)
        status = read_numbers(call, places->kernel, spatial, 1, w->kernel);
    if (status == RL_OK && rl_arg_ints(call, places->stride).count > 0)
        status = read_numbers(call, places->stride, spatial, 1, w->stride);
    else
        memcpy(w->stride, w->kernel, sizeof w->stride);
    if (status == RL_OK)
        status = read_numbers(call, places->padding, spatial, 0, w->padding);
    if (status == RL_OK && places->dilation >= 0)
        status = read_numbers(call, places->dilation, spatial, 1, w->dilation);
    if (status != RL_OK)
        return status;
    if (shape.count == spatial + 2)
        w->batch = shape.data[0];
    w->channels = shape.data[shape.count - spatial - 1];
    memcpy(w->in_size, shape.data + shape.count - spatial, (size_t)spatial * sizeof *w->in_size);
    w->count_padding = places->include >= 0 && rl_arg_bool(call, places->include);
    if (places->divisor >= 0 && rl_arg_given(call, places->divisor)) {
        w->divisor = rl_arg_int(call, places->divisor);
        if (w->divisor == 0)
            return rl_call_fail(call, RL_INVALID_ARGUMENT, "divisor_override must not be 0");
    }
    return count_all_windows(call, name, shape, places->ceil >= 0 && rl_arg_bool(call, places->ceil), w);
}

void rl_pooling_infer(rl_call *call, const rl_tensor *like, const rl_pool_window *w) {
    int64_t shape[RL_MAX_DIMS], first = like->ndim - w->spatial;
    memcpy(shape, like->shape, (size_t)first * sizeof *shape);
    memcpy(shape + first, w->out_size, (size_t)w->spatial * sizeof *shape);
    for (int i = 0; i < call->n_results; i++) {
        rl_meta *meta = &call->meta[i];
        rl_meta_set(meta, (rl_dtype)like->dtype, like->storage->device, like->ndim, shape);
        meta->has_stride = !like->contiguous;
        rl_dense_strides_like(meta->ndim, meta->shape, like->stride, meta->stride);
    }
}

/* Views ------------------------------------------------------------------------------------------------------------ */

rl_tensor *rl_pooling_batched(rl_tensor *x, int64_t spatial) {
    if (x == NULL || x->ndim == spatial + 2)
        return x;
    rl_geometry g = rl_geometry_of(x);
    return rl_geometry_insert("pool", &g, 0, 1, 0) == RL_OK ? rl_over(x, g.ndim, g.shape, g.stride, g.offset) : NULL;
}

bool rl_pooling_padded_size(const rl_pool_window *w, int64_t *out_size) {
    bool beyond = false;
    for (int d = 0; d < w->spatial; d++) {
        int64_t seen = (w->out_size[d] - 1) * w->stride[d] + (w->kernel[d] - 1) * w->dilation[d] + 1;
        int64_t whole = w->padding[d] + w->in_size[d];
        out_size[d] = seen > whole ? seen : whole;
        beyond = beyond || out_size[d] > w->in_size[d];
    }
    return beyond;
}

rl_tensor *rl_pooling_temp(const rl_call *call, rl_dtype dtype, const rl_pool_window *w, const int64_t *size) {
    int64_t shape[5] = {w->batch, w->channels};
    memcpy(shape + 2, size, (size_t)w->spatial * sizeof *shape);
    return rl_call_temp(call, dtype, 2 + w->spatial, shape);
}

rl_tensor *rl_pooling_interior(const rl_tensor *padded, const rl_pool_window *w) {
    rl_geometry g = rl_geometry_of(padded);
    for (int d = 0; d < w->spatial; d++) {
        g.offset += w->padding[d] * g.stride[2 + d];
        g.shape[2 + d] = w->in_size[d];
    }
    return rl_over(padded, g.ndim, g.shape, g.stride, g.offset);
}

/* What a maximum (variant 1) or a sum does not see. */
static void write_neutral(rl_builder *b, uint32_t key) {
    rl_dtype dtype = rl_key_out(key);
    double least = rl_dtype_is_float(dtype) ? -INFINITY
                   : dtype == RL_U8         ? 0.0
                                            : -ldexp(1.0, 8 * (int)rl_dtype_size(dtype) - 1);
    rl_build_output(b, rl_build_constant(b, dtype, rl_key_variant(key) ? least : 0.0), dtype);
}

static rl_tensor *padded_copy(const rl_call *call, rl_tensor *x, const rl_pool_window *w, const int64_t *size) {
    const char *op = rl_call_name(call);
    rl_tensor *padded = rl_pooling_temp(call, (rl_dtype)x->dtype, w, size);
    const rl_program *program = rl_row_program(write_neutral, RL_KEY(0, 0, x->dtype, w->kind == RL_POOL_MAX));
    if (padded == NULL || program == NULL || rl_row_map(op, program, NULL, &padded, NULL) != RL_OK)
        return NULL;
    rl_tensor *interior = rl_pooling_interior(padded, w);
    return interior && rl_move(op, interior, x) == RL_OK ? padded : NULL;
}

rl_tensor *rl_pooling_windows(const rl_call *call, rl_tensor *x, const rl_pool_window *w) {
    int64_t size[3];
    if (rl_pooling_padded_size(w, size) && (x = padded_copy(call, x, w, size)) == NULL)
        return NULL;
    rl_geometry g = rl_geometry_of(x);
    for (int64_t d = 0, n = w->spatial; d < n; d++) {
        g.shape[2 + d] = w->out_size[d];
        g.shape[2 + n + d] = w->kernel[d];
        g.stride[2 + n + d] = x->stride[2 + d] * w->dilation[d];
        g.stride[2 + d] = x->stride[2 + d] * w->stride[d];
    }
    return rl_over(x, 2 + 2 * w->spatial, g.shape, g.stride, g.offset);
}

/* Counts ----------------------------------------------------------------------------------------------------------- */

bool rl_pooling_uniform(const rl_pool_window *w, double *out_count) {
    int64_t count = 1;
    for (int d = 0; d < w->spatial; d++) {
        int64_t end = (w->out_size[d] - 1) * w->stride[d] - w->padding[d] + w->kernel[d];
        int64_t margin = w->count_padding ? w->padding[d] : 0;
        if (w->divisor == 0 && (w->padding[d] > margin || end > w->in_size[d] + margin))
            return false;
        count *= w->kernel[d];
    }
    *out_count = (double)(w->divisor ? w->divisor : count);
    return true;
}

/* x / product over dimensions of min(i stride - padding + kernel, high) - max(i stride - padding, low) */
static void write_divide(rl_builder *b, uint32_t key) {
    rl_dtype compute = rl_key_compute(key);
    rl_pw x = rl_key_input(b, key), count = rl_build_constant(b, RL_I64, 1);
    for (uint32_t d = 0; d < rl_key_variant(key); d++) {
        rl_pw stride = rl_build_scalar(b, RL_I64), padding = rl_build_scalar(b, RL_I64);
        rl_pw kernel = rl_build_scalar(b, RL_I64);
        rl_pw low = rl_build_scalar(b, RL_I64), high = rl_build_scalar(b, RL_I64);
        rl_pw start = SUB(MUL(rl_build_index(b, 2 + (int)d), stride), padding);
        count = MUL(count, SUB(MIN(ADD(start, kernel), high), MAX(start, low)));
    }
    rl_build_output(b, DIV(x, CAST(count, compute)), rl_key_out(key));
}
/* x / the launch scalar */
static void write_divide_by(rl_builder *b, uint32_t key) {
    rl_pw x = rl_key_input(b, key);
    rl_build_output(b, DIV(x, rl_build_scalar(b, rl_key_compute(key))), rl_key_out(key));
}

rl_status rl_pooling_divide(const rl_call *call, rl_tensor *in, rl_tensor *out, const rl_pool_window *w) {
    rl_dtype compute = rl_accumulator((rl_dtype)out->dtype);
    double count;
    rl_number scalars[15];
    bool uniform = rl_pooling_uniform(w, &count);
    if (uniform)
        scalars[0].f = count;
    for (int d = 0; !uniform && d < w->spatial; d++) {
        int64_t margin = w->count_padding ? w->padding[d] : 0;
        const int64_t numbers[5] = {w->stride[d], w->padding[d], w->kernel[d], -margin, w->in_size[d] + margin};
        for (int i = 0; i < 5; i++)
            scalars[5 * d + i].i = numbers[i];
    }
    const rl_program *program = rl_row_program(uniform ? write_divide_by : write_divide,
                                               RL_KEY(in->dtype, compute, out->dtype, uniform ? 0 : w->spatial));
    return program ? rl_row_map(rl_call_name(call), program, &in, &out, scalars) : rl_error_status();
}

/* Places ----------------------------------------------------------------------------------------------------------- */

/*
 * Of the number n within a window, by dimension from the last: n mod kernel is the step, i stride - padding + step
 * dilation the place. Where nothing exceeds what stands in for padding, padding is found first: that is the window's
 * first place within the input.
 */
static void write_place(rl_builder *b, uint32_t key) {
    rl_pw n = rl_build_input(b, RL_I64), zero = rl_build_constant(b, RL_I64, 0), one = rl_build_constant(b, RL_I64, 1);
    rl_pw place = zero, pitch = one;
    for (uint32_t d = rl_key_variant(key); d-- > 0;) {
        rl_pw kernel = rl_build_scalar(b, RL_I64), stride = rl_build_scalar(b, RL_I64);
        rl_pw dilation = rl_build_scalar(b, RL_I64), padding = rl_build_scalar(b, RL_I64);
        rl_pw margin = rl_build_scalar(b, RL_I64), size = rl_build_scalar(b, RL_I64);
        rl_pw start = SUB(MUL(rl_build_index(b, 2 + (int)d), stride), padding);
        rl_pw missing = OP2(IDIV, ADD(MAX(NEG(start), zero), SUB(dilation, one)), dilation);
        rl_pw step = MAX(OP2(IREM, n, kernel), missing);
        rl_pw at = ADD(ADD(start, MUL(step, dilation)), margin);
        place = ADD(place, MUL(MIN(at, SUB(size, one)), pitch));
        pitch = MUL(pitch, size);
        n = OP2(IDIV, n, kernel);
    }
    rl_build_output(b, place, RL_I64);
}

rl_status rl_pooling_place(const rl_call *call, rl_tensor *number, rl_tensor *out, const rl_pool_window *w,
                           const int64_t *margin, const int64_t *size) {
    rl_number scalars[18], *at = scalars;
    for (int64_t d = w->spatial - 1; d >= 0; d--, at += 6) {
        const int64_t numbers[6] = {w->kernel[d], w->stride[d], w->dilation[d], w->padding[d], margin[d], size[d]};
        for (int i = 0; i < 6; i++)
            at[i].i = numbers[i];
    }
    const rl_program *program = rl_row_program(write_place, RL_KEY(0, 0, 0, w->spatial));
    return program ? rl_row_map(rl_call_name(call), program, &number, &out, scalars) : rl_error_status();
}

void rl_pooling_write_twice(rl_builder *b, uint32_t key) {
    rl_pw x = rl_key_input(b, key);
    rl_build_output(b, x, rl_key_compute(key));
    rl_build_output(b, x, rl_key_compute(key));
}
void rl_pooling_write_found(rl_builder *b, uint32_t key) {
    rl_pw value = rl_build_input(b, rl_key_compute(key)), number = rl_build_input(b, RL_I64);
    rl_build_output(b, value, rl_key_out(key));
    rl_build_output(b, number, RL_I64);
}

rl_ints rl_pooling_spread(rl_vjp *v, int arg, int64_t spatial, int64_t *room) {
    const rl_ints given = rl_vjp_arg(v, arg)->as.ints;
    assert(given.count == 1 || given.count == spatial);
    for (int64_t d = 0; d < spatial; d++)
        room[d] = given.data[given.count == 1 ? 0 : d];
    return (rl_ints){room, spatial};
}

void rl_pooling_indices_vjp(rl_vjp *v, int64_t spatial) {
    rl_tensor *g = rl_vjp_grad(v, 0), *indices = rl_vjp_result(v, 1);
    rl_ints shape = rl_vjp_shape(v, 0);
    int64_t flat[RL_MAX_DIMS], first = shape.count - spatial, plane = 1;
    if (g == NULL)
        return;
    for (int64_t d = 0; d < shape.count; d++)
        if (d < first)
            flat[d] = shape.data[d];
        else
            plane *= shape.data[d];
    flat[first] = plane;
    const rl_meta *meta = rl_vjp_meta(v, 0);
    rl_tensor *zeros = rl_zeros(RL_INTS(flat, first + 1), .dtype = meta->dtype, .device = meta->device);
    flat[first] = -1;
    if (rl_shape_numel(shape.count, shape.data) == 0) {
        rl_vjp_set(v, 0, rl_vjp_zeros(v, 0));
        return;
    }
    rl_tensor *places = rl_reshape(indices, RL_INTS(flat, first + 1)),
              *values = rl_reshape(g, RL_INTS(flat, first + 1));
    rl_vjp_set(v, 0, rl_reshape(rl_scatter_add(zeros, first, places, values), shape));
}
