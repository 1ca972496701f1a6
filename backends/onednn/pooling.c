/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fused rows: pooling and its backward, in planes (clone_pool.h). f32 and f64 whose columns or channels lie side by
 * side are worked on where they are; all else goes through a copy of the plane in F32 or F64. Threads take planes,
 * blocks of channels, or, forward, rows of the output.
 */
#include <string.h>

#include "backend.h"
#include "space.h"

#define OPERANDS 3 /* at most; of a forward two */
#define BLOCK 16   /* channels of a block */

typedef struct pooling {
    od_pool_plane plane;
    rl_dtype dtype;
    rl_reg reg;
    int n, forward; /* operands; the last is the output */
    int has_in;     /* the second operand of a backward */
    const rl_operand *operand[OPERANDS];
    int64_t stride[OPERANDS][5];   /* of batch, channel, depth, row, column; in bytes */
    const int64_t *size[OPERANDS]; /* of a plane */
    int direct[OPERANDS];
    int64_t channels, block, blocks, planes; /* channels together in a plane; blocks of them; planes of all */
    int64_t per_unit, row_blocks;            /* planes of a unit; units of a plane */
    char *scratch;
    size_t per_thread, copy[OPERANDS], room; /* offsets within a thread's scratch */
} pooling;

/* Geometry --------------------------------------------------------------------------------------------------------- */

static void read_window(pooling *self, const rl_pool_window *w) {
    od_pool_plane *p = &self->plane;
    for (int d = 0; d < 3; d++)
        p->in[d] = p->out[d] = p->kernel[d] = p->stride[d] = p->dilation[d] = 1, p->padding[d] = 0;
    const size_t bytes = (size_t)w->spatial * sizeof(int64_t), first = (size_t)(3 - w->spatial);
    memcpy(p->in + first, w->in_size, bytes);
    memcpy(p->out + first, w->out_size, bytes);
    memcpy(p->kernel + first, w->kernel, bytes);
    memcpy(p->stride + first, w->stride, bytes);
    memcpy(p->padding + first, w->padding, bytes);
    memcpy(p->dilation + first, w->dilation, bytes);
    p->is_max = w->kind == RL_POOL_MAX;
    p->divisor = w->divisor;
    p->count_padding = w->count_padding != 0;
    p->tiled = 1;
    for (int d = 0; d < 3; d++)
        p->tiled &= p->stride[d] == p->kernel[d] && p->dilation[d] == 1 && p->padding[d] == 0 &&
                    p->in[d] == p->out[d] * p->kernel[d];
    const int64_t seen = (p->out[2] - 1) * p->stride[2] + (p->kernel[2] - 1) * p->dilation[2] + 1;
    p->width = p->padding[2] + p->in[2] > seen ? p->padding[2] + p->in[2] : seen;
}

static void read_operand(pooling *self, const rl_operand *operand, int64_t spatial, const int64_t *size) {
    const int i = self->n++;
    const int64_t bytes = od_dtype_bytes(self->dtype);
    self->operand[i] = operand;
    self->size[i] = size;
    self->stride[i][0] = operand->stride[0] * bytes;
    self->stride[i][1] = operand->stride[1] * bytes;
    for (int d = 0; d < 3; d++)
        self->stride[i][2 + d] = d < 3 - spatial ? 0 : operand->stride[2 + d - (3 - spatial)] * bytes;
}

/* Whether channels lie side by side in the operand that has the input's sizes, and columns do not. */
static int channels_innermost(const pooling *self, int64_t channels) {
    const int64_t *s = self->stride[self->forward ? 0 : 2], bytes = od_dtype_bytes(self->dtype);
    return channels > 1 && s[1] == bytes && (s[4] != bytes || self->plane.in[2] == 1);
}

/* Where each operand is worked on, and what a thread needs for copies. */
static void place_operands(pooling *self, int innermost) {
    const int64_t bytes = od_dtype_bytes(self->dtype), wide = od_register_bytes(self->reg);
    const int native = od_is_native(self->dtype);
    self->per_thread = 0;
    for (int i = 0; i < self->n; i++) {
        const int64_t *s = self->stride[i], *size = self->size[i];
        if (i == 1 && !self->forward && !self->has_in)
            continue;
        self->direct[i] = native && (innermost ? s[1] == bytes : s[4] == bytes || size[2] == 1);
    }
    /* A copy of many channels of a plane would not stay in the cache. */
    int all = 1;
    for (int i = 0; i < self->n; i++)
        all &= self->direct[i] || (i == 1 && !self->forward && !self->has_in);
    self->block = !innermost ? 1 : all && self->planes >= 8 ? self->channels : BLOCK;
    self->block = self->block < self->channels ? self->block : self->channels;
    while (innermost && self->channels % self->block == 1) /* one channel left would be taken for columns */
        self->block++;
    self->plane.channels = self->block;
    for (int i = 0; i < self->n; i++) {
        const int64_t *s = self->stride[i], *size = self->size[i], c = self->block;
        int64_t *to = self->plane.strides[i];
        for (int d = 0; d < 3; d++)
            to[d] = self->direct[i] ? s[2 + d] / bytes : d == 0 ? size[1] * size[2] * c : d == 1 ? size[2] * c : c;
        self->copy[i] = self->per_thread;
        if (!self->direct[i])
            self->per_thread += od_lines((size_t)(size[0] * size[1] * size[2] * c * wide));
    }
    self->room = self->per_thread;
    self->per_thread += od_lines((size_t)(od_pool_room(&self->plane) * wide));
}

/* Planes ----------------------------------------------------------------------------------------------------------- */

/* A plane at `at` to or from its copy. */
static void copy_plane(const pooling *self, int i, char *at, char *copy, int64_t channels, int store) {
    const int64_t *s = self->stride[i], *size = self->size[i], wide = od_register_bytes(self->reg);
    const int one = channels == 1;
    const int64_t rows = one ? size[1] : size[2], cols = one ? size[2] : channels;
    const int64_t row_stride = one ? s[3] : s[4], col_stride = one ? s[4] : s[1];
    for (int64_t z = 0; z < size[0]; z++)
        for (int64_t y = 0; y < (one ? 1 : size[1]); y++, copy += rows * cols * wide) {
            char *memory = at + z * s[2] + (one ? 0 : y * s[3]);
            if (store)
                od_chosen->store[self->dtype](memory, copy, rows, cols, row_stride, col_stride);
            else
                od_chosen->load[self->dtype](copy, memory, rows, cols, row_stride, col_stride);
        }
}

/* Strides of a copy that holds fewer channels than a whole block. */
static void narrow(const pooling *self, od_pool_plane *plane, int64_t channels) {
    plane->channels = channels;
    for (int i = 0; i < self->n; i++)
        if (!self->direct[i]) {
            plane->strides[i][2] = channels;
            plane->strides[i][1] = self->size[i][2] * channels;
            plane->strides[i][0] = self->size[i][1] * plane->strides[i][1];
        }
}

static void run_plane(const pooling *self, od_pool_plane *plane, char *scratch, int64_t number) {
    const int64_t batch = number / self->blocks, first = number % self->blocks * self->block;
    const int64_t left = self->channels - first, channels = od_at_most(left, self->block);
    const int last = self->n - 1;
    char *memory[OPERANDS] = {NULL}, *at[OPERANDS] = {NULL};
    if (channels != plane->channels)
        narrow(self, plane, channels);
    for (int i = 0; i < self->n; i++) {
        if (i == 1 && !self->forward && !self->has_in)
            continue;
        memory[i] = od_address(self->operand[i]) + batch * self->stride[i][0] + first * self->stride[i][1];
        at[i] = self->direct[i] ? memory[i] : scratch + self->copy[i];
        if (!self->direct[i] && i < last)
            copy_plane(self, i, memory[i], at[i], channels, 0);
    }
    const od_pool_kernels *k = &od_chosen->pool[self->reg];
    if (self->forward)
        k->forward(plane, at[0], at[1], scratch + self->room);
    else
        k->backward(plane, at[0], at[1], at[2], scratch + self->room);
    if (!self->direct[last])
        copy_plane(self, last, memory[last], at[last], channels, 1);
}

static void run_unit(void *context, int thread, int64_t unit) {
    const pooling *self = context;
    char *scratch = self->scratch + (size_t)thread * self->per_thread;
    od_pool_plane plane = self->plane;
    const int64_t rows = plane.out[0] * plane.out[1], part = unit % self->row_blocks;
    const int64_t begin = unit / self->row_blocks * self->per_unit;
    const int64_t end = od_at_most(begin + self->per_unit, self->planes);
    plane.first = rows * part / self->row_blocks;
    plane.end = rows * (part + 1) / self->row_blocks;
    for (int64_t number = begin; number < end; number++) {
        plane.channels = self->plane.channels;
        memcpy(plane.strides, self->plane.strides, sizeof plane.strides);
        run_plane(self, &plane, scratch, number);
    }
}

/* Calls ------------------------------------------------------------------------------------------------------------ */

static rl_status run(pooling *self, const rl_pool_window *w, const char *name) {
    const od_pool_plane *p = &self->plane;
    const int innermost = channels_innermost(self, w->channels);
    self->reg = od_register(self->dtype);
    self->channels = w->channels;
    self->planes = innermost ? w->batch : w->batch * w->channels;
    if (self->planes == 0)
        return RL_OK;
    place_operands(self, innermost);
    self->blocks = innermost ? od_parts(w->channels, self->block) : w->channels;
    self->planes = w->batch * self->blocks;
    int64_t rows = p->out[0] * p->out[1], elements = p->in[0] * p->in[1] * p->in[2];
    const int64_t seen = rows * p->out[2] * p->kernel[0] * p->kernel[1] * p->kernel[2];
    const double cost = (double)(elements + seen) * (double)self->block * (self->forward ? 0.2 : 0.5) + 20.0;
    self->per_unit = cost < 5000.0 ? (int64_t)(5000.0 / cost) + 1 : 1;
    self->row_blocks = 1;
    if (self->forward && self->planes < 8 && self->direct[0] && self->direct[1] && cost > 20000.0)
        self->row_blocks = rows < 8 ? rows : 8;
    const int64_t units = od_parts(self->planes, self->per_unit) * self->row_blocks;
    const int threads = od_threads(units, cost * (double)self->planes);
    self->scratch = od_host->scratch((size_t)threads * self->per_thread);
    if (self->scratch == NULL)
        return od_host->fail(RL_OUT_OF_MEMORY, "%s: no scratch memory for planes of %lld elements", name,
                             (long long)elements);
    od_run(threads, units, run_unit, self);
    return RL_OK;
}

rl_status od_pool(rl_backend_stream *stream, const void *what) {
    const rl_pool_args *args = what;
    (void)stream;
    pooling self = {.dtype = (rl_dtype)args->dtype, .forward = 1};
    read_window(&self, &args->window);
    read_operand(&self, &args->in, args->window.spatial, self.plane.in);
    read_operand(&self, &args->out, args->window.spatial, self.plane.out);
    return run(&self, &args->window, "pool");
}

rl_status od_pool_backward(rl_backend_stream *stream, const void *what) {
    const rl_pool_backward_args *args = what;
    (void)stream;
    pooling self = {.dtype = (rl_dtype)args->dtype, .has_in = args->window.kind == RL_POOL_MAX};
    read_window(&self, &args->window);
    read_operand(&self, &args->grad_out, args->window.spatial, self.plane.out);
    read_operand(&self, &args->in, args->window.spatial, self.plane.in);
    read_operand(&self, &args->grad_in, args->window.spatial, self.plane.in);
    return run(&self, &args->window, "pool_backward");
}

static int takes(uint32_t dtype, const rl_pool_window *w, const char **out_reason) {
    *out_reason = "pooling here is for floats";
    if (dtype != RL_F32 && dtype != RL_F64 && dtype != RL_F16 && dtype != RL_BF16)
        return 0;
    for (int64_t d = 0; d < w->spatial; d++)
        if (w->kind == RL_POOL_AVERAGE && w->dilation[d] != 1) {
            *out_reason = "an average has no dilation";
            return 0;
        }
    return 1;
}
int od_supports_pool(rl_backend_device *device, const void *what, const char **out_reason) {
    const rl_pool_args *args = what;
    (void)device;
    return takes(args->dtype, &args->window, out_reason);
}
int od_supports_pool_backward(rl_backend_device *device, const void *what, const char **out_reason) {
    const rl_pool_backward_args *args = what;
    (void)device;
    return takes(args->dtype, &args->window, out_reason);
}
