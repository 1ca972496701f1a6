/* SPDX-License-Identifier: Apache-2.0 */
/* Shape arithmetic. Strides are in elements; everywhere the innermost dimension is the last. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tensor/tensor.h"

char *rl_shape_text(int64_t ndim, const int64_t *shape, char *buffer) {
    char *end = buffer;
    *end++ = '(';
    for (int64_t d = 0; d < ndim && d < RL_MAX_DIMS; d++)
        end += sprintf(end, "%s%" PRId64, d > 0 ? ", " : "", shape[d]);
    if (ndim > RL_MAX_DIMS)
        end += sprintf(end, ", ...");
    strcpy(end, ")");
    return buffer;
}

/* Strides -------------------------------------------------------------------------------------------------------- */

void rl_contiguous_strides(int64_t ndim, const int64_t *shape, int64_t *out_stride) {
    int64_t step = 1;
    for (int64_t d = ndim - 1; d >= 0; d--) {
        out_stride[d] = step;
        if (__builtin_mul_overflow(step, shape[d] > 0 ? shape[d] : 1, &step))
            step = 0; /* of a shape that rl_check_shape refuses */
    }
}

static int64_t magnitude(int64_t stride) {
    return stride == INT64_MIN ? INT64_MAX : stride < 0 ? -stride : stride;
}

/* Whether dimension `inner` should rather lie outside of `outer`: 1 yes, -1 no, 0 the strides do not tell. */
static int misplaced(const int64_t *shape, const int64_t *stride, int64_t inner, int64_t outer) {
    int64_t a = magnitude(stride[inner]), b = magnitude(stride[outer]);
    if (a == 0 || b == 0)
        return 0;
    if (a != b)
        return a > b ? 1 : -1;
    return shape[inner] > shape[outer] ? 1 : 0;
}

void rl_dense_strides_like(int64_t ndim, const int64_t *shape, const int64_t *like_stride, int64_t *out_stride) {
    if (!like_stride) {
        rl_contiguous_strides(ndim, shape, out_stride);
        return;
    }
    int64_t order[RL_MAX_DIMS]; /* innermost first; an insertion sort that steps over dimensions that do not tell */
    for (int64_t i = 0; i < ndim; i++) {
        order[i] = ndim - 1 - i;
        int64_t at = i;
        for (int64_t j = i - 1; j >= 0; j--) {
            int wrong = misplaced(shape, like_stride, order[j], order[at]);
            if (wrong < 0)
                break;
            if (wrong > 0) {
                int64_t swapped = order[j];
                order[j] = order[at];
                order[at] = swapped;
                at = j;
            }
        }
    }
    int64_t step = 1;
    for (int64_t i = 0; i < ndim; i++) {
        out_stride[order[i]] = step;
        /* Of a shape that is too large the strides wrap; making its tensor is refused (rl_shape_bytes). */
        (void)__builtin_mul_overflow(step, shape[order[i]] > 0 ? shape[order[i]] : 1, &step);
    }
}

bool rl_is_contiguous(int64_t ndim, const int64_t *shape, const int64_t *stride) {
    int64_t step = 1;
    bool contiguous = true;
    for (int64_t d = ndim - 1; d >= 0; d--) {
        if (shape[d] == 0)
            return true;
        contiguous = contiguous && (shape[d] == 1 || stride[d] == step);
        if (contiguous)
            step *= shape[d];
    }
    return contiguous;
}

bool rl_is_dense(int64_t ndim, const int64_t *shape, const int64_t *stride) {
    int64_t sizes[RL_MAX_DIMS], steps[RL_MAX_DIMS]; /* of the dimensions that matter, by growing stride */
    int64_t count = 0;
    for (int64_t d = 0; d < ndim; d++) {
        if (shape[d] == 0)
            return true;
        if (shape[d] == 1)
            continue;
        int64_t i = count++;
        for (; i > 0 && steps[i - 1] > stride[d]; i--) {
            steps[i] = steps[i - 1];
            sizes[i] = sizes[i - 1];
        }
        steps[i] = stride[d];
        sizes[i] = shape[d];
    }
    int64_t step = 1;
    for (int64_t i = 0; i < count; i++) {
        if (steps[i] != step)
            return false;
        step *= sizes[i];
    }
    return true;
}

void rl_broadcast_strides(int64_t ndim, const int64_t *shape, const int64_t *stride, int64_t out_ndim,
                          const int64_t *out_shape, int64_t *out_stride) {
    int64_t added = out_ndim - ndim;
    for (int64_t d = 0; d < added; d++)
        out_stride[d] = 0;
    for (int64_t d = 0; d < ndim; d++) {
        bool repeated = shape[d] == 1 && out_shape[added + d] != 1;
        out_stride[added + d] = repeated ? 0 : stride[d];
    }
}

/* -1 where it overflows, which no tensor does. */
static int64_t product(int64_t ndim, const int64_t *shape) {
    int64_t numel = 1;
    for (int64_t d = 0; d < ndim; d++) {
        if (__builtin_mul_overflow(numel, shape[d], &numel))
            return -1;
    }
    return numel;
}

/*
 * Old dimensions that lie one within the other without gaps form a chunk, which is one long dimension. A new shape
 * needs no copy where its dimensions, from the innermost, split each chunk exactly.
 */
bool rl_view_strides(int64_t ndim, const int64_t *shape, const int64_t *stride, int64_t new_ndim,
                     const int64_t *new_shape, int64_t *out_stride) {
    int64_t numel = product(ndim, shape);
    if (numel != product(new_ndim, new_shape))
        return false;
    if (numel == 0) {
        if (ndim == new_ndim && memcmp(shape, new_shape, (size_t)ndim * sizeof *shape) == 0)
            memcpy(out_stride, stride, (size_t)ndim * sizeof *stride);
        else
            rl_contiguous_strides(new_ndim, new_shape, out_stride);
        return true;
    }
    int64_t to = new_ndim - 1; /* the next new dimension to be placed */
    for (int64_t d = ndim - 1; d >= 0; d--) {
        int64_t base = stride[d], chunk = shape[d];
        while (d > 0 && (shape[d - 1] == 1 || stride[d - 1] == base * chunk))
            chunk *= shape[--d];
        int64_t placed = 1;
        while (to >= 0 && (placed < chunk || new_shape[to] == 1)) {
            out_stride[to] = base * placed;
            placed *= new_shape[to--];
        }
        if (placed != chunk)
            return false;
    }
    for (; to >= 0; to--) /* a tensor without dimensions as (1, 1, ...) */
        out_stride[to] = 1;
    return true;
}

/* Checks --------------------------------------------------------------------------------------------------------- */

bool rl_shape_is_empty(int64_t ndim, const int64_t *shape) {
    int64_t product = 1;
    bool empty = false;
    for (int64_t d = 0; d < ndim; d++) {
        empty |= shape[d] == 0;
        if (__builtin_mul_overflow(product, shape[d] > 0 ? shape[d] : 1, &product))
            return false; /* its strides would overflow */
    }
    return empty;
}

rl_status rl_check_shape(const char *op, int64_t ndim, const int64_t *shape, rl_dtype dtype, int64_t *out_numel) {
    char text[RL_SHAPE_TEXT];
    if (ndim < 0 || ndim > RL_MAX_DIMS)
        return rl_fail(RL_INVALID_ARGUMENT, "%s: a shape of %" PRId64 " dimensions: expected 0 to %d", op, ndim,
                       RL_MAX_DIMS);
    int64_t bytes = rl_dtype_size(dtype) ? (int64_t)rl_dtype_size(dtype) : 1, numel = 1;
    bool empty = rl_shape_is_empty(ndim, shape);
    for (int64_t d = 0; d < ndim; d++) {
        if (shape[d] < 0)
            return rl_fail(RL_INVALID_ARGUMENT, "%s: shape %s: size %" PRId64 " of dimension %" PRId64 " is negative",
                           op, rl_shape_text(ndim, shape, text), shape[d], d);
        if (!empty && (__builtin_mul_overflow(bytes, shape[d] > 0 ? shape[d] : 1, &bytes) || bytes > INT64_C(1) << 62))
            return rl_fail(RL_INVALID_ARGUMENT, "%s: shape %s of %s: its bytes overflow 2^62", op,
                           rl_shape_text(ndim, shape, text), rl_dtype_name(dtype));
        numel = empty ? 0 : numel * shape[d];
    }
    *out_numel = numel;
    return RL_OK;
}

int64_t rl_wrap_dim(const char *op, int64_t dim, int64_t ndim) {
    int64_t range = ndim > 0 ? ndim : 1;
    if (dim >= -range && dim < range)
        return dim < 0 ? dim + range : dim;
    rl_fail(RL_INDEX_OUT_OF_RANGE,
            "%s: dim %" PRId64 " is out of range: expected %" PRId64 " to %" PRId64 " for a tensor of %" PRId64
            " dimensions",
            op, dim, -range, range - 1, ndim);
    return -1;
}

rl_status rl_wrap_dims(const char *op, rl_ints dims, int64_t ndim, uint32_t *out_mask) {
    uint32_t mask = 0, all = (1u << ndim) - 1;
    for (int64_t i = 0; i < dims.count; i++) {
        int64_t dim = rl_wrap_dim(op, dims.data[i], ndim);
        if (dim < 0)
            return rl_error_status();
        if (mask & 1u << dim)
            return rl_fail(RL_INVALID_ARGUMENT, "%s: dim %" PRId64 " is given twice", op, dim);
        mask |= 1u << dim;
    }
    *out_mask = dims.count > 0 ? mask & all : all;
    return RL_OK;
}

rl_status rl_broadcast_shapes(const char *op, int64_t a_ndim, const int64_t *a, int64_t b_ndim, const int64_t *b,
                              int64_t *out_ndim, int64_t *out_shape) {
    int64_t ndim = a_ndim > b_ndim ? a_ndim : b_ndim;
    int64_t shape[RL_MAX_DIMS]; /* out_shape may be a or b */
    for (int64_t back = 1; back <= ndim; back++) {
        int64_t x = back <= a_ndim ? a[a_ndim - back] : 1, y = back <= b_ndim ? b[b_ndim - back] : 1;
        if (x != y && x != 1 && y != 1) {
            char a_text[RL_SHAPE_TEXT], b_text[RL_SHAPE_TEXT];
            return rl_fail(RL_SHAPE_MISMATCH,
                           "%s: shapes %s and %s do not broadcast: sizes %" PRId64 " and %" PRId64
                           " at dimension %" PRId64 " must be equal, or one of them 1",
                           op, rl_shape_text(a_ndim, a, a_text), rl_shape_text(b_ndim, b, b_text), x, y, ndim - back);
        }
        shape[ndim - back] = x == 1 ? y : x;
    }
    memcpy(out_shape, shape, (size_t)ndim * sizeof *shape);
    *out_ndim = ndim;
    return RL_OK;
}

rl_status rl_check_within(const char *op, int64_t ndim, const int64_t *shape, const int64_t *stride, int64_t offset,
                          uint64_t elements) {
    int64_t low = offset, high = offset;
    bool wraps = false, empty = false;
    for (int64_t d = 0; d < ndim; d++) {
        int64_t reach;
        if (shape[d] == 0)
            empty = true;
        else if (__builtin_mul_overflow(shape[d] - 1, stride[d], &reach))
            wraps = true;
        else if (reach < 0)
            wraps |= __builtin_add_overflow(low, reach, &low);
        else
            wraps |= __builtin_add_overflow(high, reach, &high);
    }
    if (empty ? offset >= 0 : !wraps && low >= 0 && (uint64_t)high < elements)
        return RL_OK;
    char shape_text[RL_SHAPE_TEXT], stride_text[RL_SHAPE_TEXT];
    return rl_fail(
        RL_INVALID_ARGUMENT,
        "%s: shape %s with strides %s at offset %" PRId64 " reaches outside a storage of %" PRIu64 " elements", op,
        rl_shape_text(ndim, shape, shape_text), rl_shape_text(ndim, stride, stride_text), offset, elements);
}

/* Strides grow from the channels over the sizes, last first, to the batch. The strides of dimensions of one element
 * count too, or else images of one channel would be of both layouts. */
bool rl_is_channels_last(int64_t ndim, const int64_t *shape, const int64_t *stride) {
    if (ndim < 3 || stride[1] != 1)
        return false;
    int64_t run = shape[1];
    for (int64_t d = ndim - 1; d >= 2; run *= shape[d--])
        if (stride[d] != run)
            return false;
    return stride[0] == run && run > 1 && !(shape[0] == 1 && run == shape[1]);
}

void rl_channels_last_strides(int64_t ndim, const int64_t *shape, int64_t *out_stride) {
    int64_t run = shape[1] > 0 ? shape[1] : 1;
    out_stride[1] = 1;
    for (int64_t d = ndim - 1; d >= 2; d--) { /* wraps as above */
        out_stride[d] = run;
        (void)__builtin_mul_overflow(run, shape[d] > 0 ? shape[d] : 1, &run);
    }
    out_stride[0] = run;
}
