/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Convolution by primitives: a strided view of all windows is copied into a matrix, which matmul takes; in chunks, so
 * that the copy stays below RL_CONV_MEMORY.
 *
 *   n images, g groups, c channels of a group, k places of the kernel, p places of the output, o outputs of a group
 *   windows (n, g, c k, p)   weight (g, o, c k)   result (n, g, o, p)
 */
#include <string.h>

#include "ops/op_conv.h"

/* A part of the work: images and rows (the first spatial dimension of the output). */
typedef struct chunk {
    int64_t image, images, row, rows;
} chunk;

typedef struct unfolding {
    const rl_call *call;
    const char *op;
    const rl_conv_args *g;
    rl_dtype dtype; /* that is computed in */
    int64_t c, o, kernels,
        row_places; /* channels and outputs of a group; places of the kernel, of a row of the output */
    chunk most;
} unfolding;

static void begin(unfolding *self, const rl_call *call, const rl_conv_args *g, rl_dtype dtype) {
    *self = (unfolding){.call = call,
                        .op = rl_call_name(call),
                        .g = g,
                        .dtype = dtype,
                        .c = g->in_channels / g->groups,
                        .o = g->out_channels / g->groups,
                        .kernels = rl_shape_numel(g->spatial, g->kernel),
                        .row_places = rl_shape_numel(g->spatial - 1, g->out_size + 1)};
    int64_t row = g->in_channels * self->kernels * self->row_places * (int64_t)rl_dtype_size(dtype);
    int64_t image = row * g->out_size[0];
    self->most.images = image > 0 && image < RL_CONV_MEMORY ? RL_CONV_MEMORY / image : 1;
    self->most.rows = image <= RL_CONV_MEMORY || row == 0 ? g->out_size[0]
                      : row < RL_CONV_MEMORY              ? RL_CONV_MEMORY / row
                                                          : 1;
}

/* The chunk after `self`, or the first of a zeroed one; false after the last. */
static bool next_chunk(const unfolding *u, chunk *self) {
    if (self->images > 0 && self->row + self->rows < u->g->out_size[0]) {
        self->row += self->rows;
    } else {
        self->image += self->images;
        self->row = 0;
    }
    int64_t images = u->g->batch - self->image, rows = u->g->out_size[0] - self->row;
    self->images = images < u->most.images ? images : u->most.images;
    self->rows = rows < u->most.rows ? rows : u->most.rows;
    return images > 0;
}

/* How far the windows reach along a spatial dimension, beginning with the padding. */
static int64_t reach(const rl_conv_args *g, int64_t d) {
    return (g->out_size[d] - 1) * g->stride[d] + (g->kernel[d] - 1) * g->dilation[d] + 1;
}

/* The part of x (n, c, size ...) that lies where windows reach, and the same part of `padded`. */
static rl_status inner_parts(const rl_conv_args *g, const rl_tensor *x, const rl_tensor *padded, rl_tensor **out_x,
                             rl_tensor **out_padded) {
    rl_geometry a = rl_geometry_of(x), b = rl_geometry_of(padded);
    for (int64_t d = 0; d < g->spatial; d++) {
        int64_t room = padded->shape[d + 2] - g->padding[d], size = x->shape[d + 2];
        a.shape[d + 2] = b.shape[d + 2] = room < 0 ? 0 : size < room ? size : room;
        b.offset += b.shape[d + 2] > 0 ? g->padding[d] * b.stride[d + 2] : 0;
    }
    *out_x = rl_over(x, a.ndim, a.shape, a.stride, a.offset);
    *out_padded = rl_over(padded, b.ndim, b.shape, b.stride, b.offset);
    return rl_error_status();
}

/* A tensor (n, c, reach ...), uninitialized. */
static rl_tensor *padded_temp(const unfolding *u, int64_t images, int64_t channels) {
    int64_t shape[5] = {images, channels};
    for (int64_t d = 0; d < u->g->spatial; d++)
        shape[d + 2] = reach(u->g, d);
    return rl_call_temp(u->call, u->dtype, u->g->spatial + 2, shape);
}

/* x with zeros around it; x itself where windows stay within. */
static rl_tensor *padded_input(const unfolding *u, rl_tensor *x) {
    bool within = true;
    for (int64_t d = 0; d < u->g->spatial; d++)
        within = within && u->g->padding[d] == 0 && reach(u->g, d) <= x->shape[d + 2];
    if (within)
        return x;
    rl_tensor *padded = padded_temp(u, x->shape[0], x->shape[1]), *from, *to;
    if (padded == NULL || rl_clear(u->op, padded) != RL_OK || inner_parts(u->g, x, padded, &from, &to) != RL_OK)
        return NULL;
    return from->numel == 0 || rl_move(u->op, to, from) == RL_OK ? padded : NULL;
}

/* All windows of a chunk, seen in the padded input: (n, g, c, kernel ..., out ...). */
static rl_tensor *windows(const unfolding *u, const rl_tensor *padded, const chunk *part) {
    const rl_conv_args *g = u->g;
    const int64_t *stride = padded->stride;
    rl_geometry w = {.ndim = 3 + 2 * g->spatial,
                     .offset = padded->offset + part->image * stride[0] + part->row * g->stride[0] * stride[2],
                     .shape = {part->images, g->groups, u->c},
                     .stride = {stride[0], u->c * stride[1], stride[1]}};
    for (int64_t d = 0; d < g->spatial; d++) {
        w.shape[3 + d] = g->kernel[d];
        w.stride[3 + d] = stride[2 + d] * g->dilation[d];
        w.shape[3 + g->spatial + d] = d == 0 ? part->rows : g->out_size[d];
        w.stride[3 + g->spatial + d] = stride[2 + d] * g->stride[d];
    }
    return rl_over(padded, w.ndim, w.shape, w.stride, w.offset);
}

/* A dense temporary in the place of `windows`; as (n, g, c k, p) in *out_matrix, or, `grouped`, laid out and seen as
 * (g, c k, n p). */
static rl_tensor *window_temp(const unfolding *u, const rl_tensor *seen, bool grouped, rl_tensor **out_matrix) {
    int64_t n = seen->shape[0], g = seen->shape[1], ck = u->c * u->kernels,
            p = rl_shape_numel(u->g->spatial, seen->shape + 3 + u->g->spatial);
    rl_tensor *temp = rl_call_temp(u->call, u->dtype, seen->ndim, seen->shape);
    if (temp == NULL)
        return NULL;
    if (!grouped) {
        *out_matrix = rl_over(temp, 4, (int64_t[]){n, g, ck, p}, (int64_t[]){g * ck * p, ck * p, p, 1}, 0);
        return *out_matrix ? temp : NULL;
    }
    rl_geometry w = rl_geometry_of(temp); /* strides for n between those of the kernel and of the output */
    w.stride[0] = p;
    w.stride[1] = ck * n * p;
    for (int64_t d = 2; d < 3 + u->g->spatial; d++)
        w.stride[d] *= n;
    *out_matrix = rl_over(temp, 3, (int64_t[]){g, ck, n * p}, (int64_t[]){ck * n * p, n * p, 1}, 0);
    return *out_matrix ? rl_over(temp, w.ndim, w.shape, w.stride, 0) : NULL;
}

/* A chunk of an output-shaped tensor y (n, o, out ...) as (n, g, o, out ...). */
static rl_tensor *output_part(const unfolding *u, const rl_tensor *y, const chunk *part) {
    rl_geometry w = {.ndim = 3 + u->g->spatial,
                     .offset = y->offset + part->image * y->stride[0] + part->row * y->stride[2],
                     .shape = {part->images, u->g->groups, u->o, part->rows},
                     .stride = {y->stride[0], u->o * y->stride[1], y->stride[1], y->stride[2]}};
    for (int64_t d = 1; d < u->g->spatial; d++) {
        w.shape[3 + d] = y->shape[2 + d];
        w.stride[3 + d] = y->stride[2 + d];
    }
    return rl_over(y, w.ndim, w.shape, w.stride, w.offset);
}

/* That as (n, g, o, p), a temporary where its places are no one run; *out_copy then says so. */
static rl_tensor *output_matrix(const unfolding *u, rl_tensor *part, bool *out_copy) {
    int64_t places = rl_shape_numel(u->g->spatial, part->shape + 3), last = part->ndim - 1, run = part->stride[last];
    *out_copy = (rl_dtype)part->dtype != u->dtype;
    for (int64_t d = last; d >= 3; run *= part->shape[d--])
        *out_copy = *out_copy || (part->shape[d] > 1 && part->stride[d] != run);
    int64_t shape[4] = {part->shape[0], part->shape[1], part->shape[2], places};
    if (*out_copy)
        return rl_call_temp(u->call, u->dtype, 4, shape);
    int64_t stride[4] = {part->stride[0], part->stride[1], part->stride[2], part->stride[last]};
    return rl_over(part, 4, shape, stride, part->offset);
}

/* A dense (n, g, o, p) read as the part's shape. */
static rl_tensor *as_part(const rl_tensor *matrix, const rl_tensor *part) {
    rl_geometry w = rl_geometry_row_major(part->ndim, part->shape);
    return rl_over(matrix, w.ndim, w.shape, w.stride, matrix->offset);
}

/* The weight as (g, o, c k) of the dtype that is computed in; a copy where it is not that already. */
static rl_tensor *weight_matrix(const unfolding *u, rl_tensor *w) {
    rl_tensor *dense = w;
    if (!w->contiguous || (rl_dtype)w->dtype != u->dtype) {
        dense = rl_call_temp(u->call, u->dtype, w->ndim, w->shape);
        if (dense == NULL || rl_move(u->op, dense, w) != RL_OK)
            return NULL;
    }
    rl_geometry m = rl_geometry_row_major(3, (int64_t[]){u->g->groups, u->o, u->c * u->kernels});
    return rl_over(dense, m.ndim, m.shape, m.stride, dense->offset);
}

/* bias (channels) as it broadcasts to (n, channels, size ...). */
static rl_tensor *bias_over(const rl_conv_args *g, const rl_tensor *bias) {
    int64_t shape[5] = {1, bias->shape[0], 1, 1, 1}, stride[5] = {0, bias->stride[0], 0, 0, 0};
    return rl_over(bias, g->spatial + 2, shape, stride, bias->offset);
}
static rl_status fill_with_bias(const unfolding *u, rl_tensor *to, const rl_tensor *bias) {
    if (bias == NULL)
        return rl_clear(u->op, to);
    rl_tensor *over = bias_over(u->g, bias);
    return over ? rl_move(u->op, to, over) : rl_error_status();
}

/* Forward --------------------------------------------------------------------------------------------------------- */

static rl_status forward_chunk(const unfolding *u, const rl_tensor *padded, rl_tensor *w, rl_tensor *y,
                               const chunk *part, double beta) {
    RL_SCOPE();
    rl_tensor *seen = windows(u, padded, part), *matrix, *temp = seen ? window_temp(u, seen, false, &matrix) : NULL;
    rl_tensor *out = output_part(u, y, part);
    bool copy;
    rl_tensor *c = out ? output_matrix(u, out, &copy) : NULL;
    if (temp == NULL || c == NULL || rl_move(u->op, temp, seen) != RL_OK)
        return rl_error_status();
    rl_tensor *dense = copy ? as_part(c, out) : NULL;
    if (copy && (dense == NULL || (beta != 0.0 && rl_move(u->op, dense, out) != RL_OK)))
        return rl_error_status();
    rl_status status = rl_row_matmul(u->op, w, matrix, c, 1.0, beta);
    return status == RL_OK && copy ? rl_move(u->op, out, dense) : status;
}

rl_status rl_conv_lower(const rl_call *call, const rl_conv_args *g, rl_tensor *x, rl_tensor *w, rl_tensor *bias,
                        rl_tensor *y) {
    unfolding u;
    begin(&u, call, g, (rl_dtype)y->dtype);
    if (bias != NULL && fill_with_bias(&u, y, bias) != RL_OK)
        return rl_error_status();
    rl_tensor *padded = padded_input(&u, x), *weight = weight_matrix(&u, w);
    if (padded == NULL || weight == NULL)
        return rl_error_status();
    rl_status status = RL_OK;
    for (chunk part = {0}; status == RL_OK && next_chunk(&u, &part);)
        status = forward_chunk(&u, padded, weight, y, &part, bias ? 1.0 : 0.0);
    return status;
}

/* Gradient of the input, which is a transposed convolution -------------------------------------------------------- */

static void write_sum(rl_builder *b, uint32_t key) {
    rl_pw x = rl_build_input(b, rl_key_compute(key)), y = rl_build_input(b, rl_key_compute(key));
    rl_build_output(b, ADD(x, y), rl_key_compute(key));
}

/* Adds each place of the kernel to where its windows are: one map a place, since windows overlap. */
static rl_status fold(const unfolding *u, rl_tensor *temp, rl_tensor *seen) {
    const rl_program *sum = rl_row_program(write_sum, RL_KEY(0, u->dtype, 0, 0));
    const int64_t spatial = u->g->spatial;
    for (int64_t k = 0; k < u->kernels; k++) {
        RL_SCOPE();
        rl_geometry from = rl_geometry_of(temp), to = rl_geometry_of(seen);
        for (int64_t d = spatial - 1, left = k; d >= 0; left /= u->g->kernel[d--]) {
            int64_t at = left % u->g->kernel[d];
            from.offset += at * from.stride[3 + d];
            to.offset += at * to.stride[3 + d];
            rl_geometry_remove(&from, 3 + d);
            rl_geometry_remove(&to, 3 + d);
        }
        rl_tensor *term = rl_over(temp, from.ndim, from.shape, from.stride, from.offset);
        rl_tensor *place = rl_over(seen, to.ndim, to.shape, to.stride, to.offset);
        if (sum == NULL || term == NULL || place == NULL ||
            rl_row_map(u->op, sum, (rl_tensor *[]){place, term}, &place, NULL) != RL_OK)
            return rl_error_status();
    }
    return RL_OK;
}

static rl_status grad_input_chunk(const unfolding *u, rl_tensor *grad, rl_tensor *w, const rl_tensor *padded,
                                  const chunk *part) {
    RL_SCOPE();
    rl_tensor *seen = windows(u, padded, part), *matrix, *temp = seen ? window_temp(u, seen, false, &matrix) : NULL;
    rl_tensor *given = output_part(u, grad, part);
    bool copy;
    rl_tensor *g = given ? output_matrix(u, given, &copy) : NULL;
    if (temp == NULL || g == NULL)
        return rl_error_status();
    if (copy) {
        rl_tensor *dense = as_part(g, given);
        if (dense == NULL || rl_move(u->op, dense, given) != RL_OK)
            return rl_error_status();
    }
    rl_tensor *turned = rl_exchanged(w, 1, 2);
    if (turned == NULL || rl_row_matmul(u->op, turned, g, matrix, 1.0, 0.0) != RL_OK)
        return rl_error_status();
    return fold(u, temp, seen);
}

rl_status rl_conv_grad_input_lower(const rl_call *call, const rl_conv_args *g, rl_tensor *grad, rl_tensor *w,
                                   rl_tensor *bias, rl_tensor *out) {
    unfolding u;
    begin(&u, call, g, rl_accumulator((rl_dtype)out->dtype));
    rl_tensor *padded = padded_temp(&u, out->shape[0], out->shape[1]), *weight = weight_matrix(&u, w), *from, *to;
    if (padded == NULL || weight == NULL || fill_with_bias(&u, padded, bias) != RL_OK ||
        fill_with_bias(&u, out, bias) != RL_OK)
        return rl_error_status();
    rl_status status = RL_OK;
    for (chunk part = {0}; status == RL_OK && next_chunk(&u, &part);)
        status = grad_input_chunk(&u, grad, weight, padded, &part);
    if (status != RL_OK || inner_parts(g, out, padded, &to, &from) != RL_OK)
        return rl_error_status();
    return to->numel > 0 ? rl_move(u.op, to, from) : RL_OK;
}

/* Gradient of the weight ------------------------------------------------------------------------------------------ */

static rl_status grad_weight_chunk(const unfolding *u, const rl_tensor *padded, rl_tensor *grad, rl_tensor *sum,
                                   const chunk *part, bool first) {
    RL_SCOPE();
    rl_tensor *seen = windows(u, padded, part), *matrix, *temp = seen ? window_temp(u, seen, true, &matrix) : NULL;
    rl_tensor *given = output_part(u, grad, part);
    if (temp == NULL || given == NULL || rl_move(u->op, temp, seen) != RL_OK)
        return rl_error_status();
    int64_t n = given->shape[0], g = given->shape[1], p = rl_shape_numel(u->g->spatial, given->shape + 3);
    rl_geometry w = rl_geometry_row_major(given->ndim, given->shape); /* (n, g, o, p), laid out as (g, o, n, p) */
    w.stride[0] = p;
    w.stride[1] = u->o * n * p;
    w.stride[2] = n * p;
    rl_tensor *room = rl_call_temp(u->call, u->dtype, given->ndim, given->shape);
    rl_tensor *to = room ? rl_over(room, w.ndim, w.shape, w.stride, 0) : NULL;
    rl_tensor *rows =
        room ? rl_over(room, 3, (int64_t[]){g, u->o, n * p}, (int64_t[]){u->o * n * p, n * p, 1}, 0) : NULL;
    rl_tensor *turned = rl_exchanged(matrix, 1, 2);
    if (to == NULL || rows == NULL || turned == NULL || rl_move(u->op, to, given) != RL_OK)
        return rl_error_status();
    return rl_row_matmul(u->op, rows, turned, sum, 1.0, first ? 0.0 : 1.0);
}

rl_status rl_conv_grad_weight_lower(const rl_call *call, const rl_conv_args *g, rl_tensor *x, rl_tensor *grad,
                                    rl_tensor *out) {
    unfolding u;
    begin(&u, call, g, rl_accumulator((rl_dtype)out->dtype));
    bool direct = out->contiguous && (rl_dtype)out->dtype == u.dtype;
    rl_tensor *dense = direct ? out : rl_call_temp(call, u.dtype, out->ndim, out->shape);
    rl_tensor *padded = padded_input(&u, x);
    if (dense == NULL || padded == NULL)
        return rl_error_status();
    rl_geometry m = rl_geometry_row_major(3, (int64_t[]){g->groups, u.o, u.c * u.kernels});
    rl_tensor *sum = rl_over(dense, m.ndim, m.shape, m.stride, dense->offset);
    rl_status status = sum == NULL ? rl_error_status() : g->batch == 0 ? rl_clear(u.op, dense) : RL_OK;
    bool first = true;
    for (chunk part = {0}; status == RL_OK && next_chunk(&u, &part); first = false)
        status = grad_weight_chunk(&u, padded, grad, sum, &part, first);
    return status == RL_OK && !direct ? rl_move(u.op, out, dense) : status;
}
