/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fused rows: convolution and its two gradients, by oneDNN's primitives for channels innermost: of f32, and of half
 * floats where the processor multiplies these, which else are made floats on the way. Activations that lie so
 * are worked on where they are; others are copied before it and after it, a part at a time.
 *
 * Work is cut by shape alone: into parts of some images, or, of few images, of some rows of the output. The gradient of
 * the weight is summed over a fixed number of parts, which are added in their order.
 */
#include "conv_primitive.h"
#include "conv_small.h"
#include "conv_weight.h"

#include <assert.h>
#include <string.h>

#include "backend.h"

#define MOST_PARTS 64            /* of images or rows */
#define WORTH_PARTS 16           /* of them, but for copies */
#define COPIED_BYTES (512 << 10) /* of a part: they stay in the second-level cache */
#define SUM_PARTS 4              /* of a weight's gradient */
#define PART_WORK 2e6            /* multiplications that a part is worth */
#define BLOCK 16                 /* places that are copied at a time */

typedef struct part {
    od_conv *conv;                      /* borrowed from the call's list */
    int64_t image, images, row, in_row; /* rows: of the first spatial dimension */
} part;

typedef struct activation { /* x or y, as (batch, channels, size ...) */
    const rl_operand *operand;
    int64_t channels, places, row_places; /* elements of an image for each channel; of a row */
    const int64_t *size;
    int packed, whole; /* an image lies packed with channels innermost; all images do, one after the other */
} activation;

typedef struct conv_call {
    const rl_conv_args *args;
    od_conv_kind kind;
    rl_dtype dtype, inner; /* of the operands; of what the primitive works on: dtype or F32 */
    int dense;             /* the weight's elements fill one run of memory */
    activation in, out;    /* x and y, whichever of them is read and written */
    part parts[MOST_PARTS];
    od_conv *convs[MOST_PARTS]; /* to be given back */
    int n_parts, n_convs;
    float *bias;
    char *weight;    /* in the primitive's order; of a gradient: one after the other for each part */
    od_weight *kept; /* whose data it is; NULL: it is scratch memory */
    int fill;        /* kept is new */
    size_t weight_step, in_bytes, out_bytes, scratch_bytes, per_thread;
    char *scratch; /* of all threads */
    _Atomic(int) status;
} conv_call;

/* Activations ------------------------------------------------------------------------------------------------------ */

static void look(activation *self, const rl_conv_args *args, rl_dtype inner, const rl_operand *operand,
                 int64_t channels, const int64_t *size) {
    *self = (activation){.operand = operand, .channels = channels, .places = 1, .row_places = 1, .size = size};
    self->packed = args->dtype == (uint32_t)inner && (channels == 1 || operand->stride[1] == 1);
    for (int64_t d = args->spatial - 1, run = channels; d >= 0; run *= size[d--]) {
        self->packed = self->packed && (size[d] == 1 || operand->stride[d + 2] == run);
        self->places *= size[d];
        self->row_places *= d > 0 ? size[d] : 1;
    }
    self->whole = self->packed && (args->batch == 1 || operand->stride[0] == self->places * channels);
}

static int64_t inner_bytes(const conv_call *self) {
    return od_dtype_bytes(self->inner);
}

/* A block of halves to where they belong. */
static void spread_halves(char *to, const char *block, int64_t rows, int64_t cols, int64_t row_stride,
                          int64_t col_stride) {
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++, block += 2)
            memcpy(to + r * row_stride + c * col_stride, block, 2);
}

/* Moves rows of one image between memory and a packed block: runs of places along the last dimension. */
static void move_image(const conv_call *self, const activation *a, int64_t image, int64_t row, int64_t rows,
                       char *block, int out) {
    const int64_t bytes = od_dtype_bytes(self->dtype), spatial = self->args->spatial, *stride = a->operand->stride;
    const int64_t run = spatial == 1 ? rows : a->size[spatial - 1], middle = spatial == 3 ? a->size[1] : 1;
    const int64_t outer = spatial == 1 ? 1 : rows;
    const int as_is = self->inner != RL_F32;
    char *first = od_address(a->operand) + image * stride[0] * bytes;
    for (int64_t i = 0; i < outer * middle; i++) {
        char *line = first + (spatial == 1 ? row * stride[2] : (row + i / middle) * stride[2]) * bytes +
                     (spatial == 3 ? i % middle * stride[3] * bytes : 0);
        const int64_t step = stride[spatial + 1] * bytes, across = stride[1] * bytes;
        for (int64_t p = 0, n; p < run; p += n, block += n * a->channels * inner_bytes(self)) {
            n = od_at_most(BLOCK, run - p);
            if (out && as_is)
                spread_halves(line + p * step, block, n, a->channels, step, across);
            else if (out)
                od_chosen->store[self->dtype](line + p * step, block, n, a->channels, step, across);
            else
                (as_is ? od_chosen->move[1] : od_chosen->load[self->dtype])(block, line + p * step, n, a->channels,
                                                                            step, across);
        }
    }
}

static int in_place(const activation *a, const part *p) {
    return a->whole || (a->packed && p->images == 1);
}
static char *place(const conv_call *self, const activation *a, const part *p, int64_t row) {
    return od_address(a->operand) +
           (p->image * a->operand->stride[0] + row * a->row_places * a->channels) * inner_bytes(self);
}

static void relu(float *x, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        x[i] = x[i] < 0.0f ? 0.0f : x[i];
}

/* After the primitive, while the part is in the cache. Halves have no bias here: it would be rounded twice. */
static void finish_block(const conv_call *self, char *block, int64_t places, int64_t channels) {
    float *x = (float *)(void *)block, piece[256];
    if (self->kind == OD_CONV_GRAD_INPUT && self->bias != NULL)
        for (int64_t p = 0; p < places; p++)
            for (int64_t c = 0; c < channels; c++)
                x[p * channels + c] += self->bias[c];
    if (self->args->activation != RL_ACTIVATION_RELU)
        return;
    if (self->inner == RL_F32) {
        relu(x, places * channels);
        return;
    }
    for (int64_t i = 0, n; i < places * channels; i += n) {
        n = od_at_most((int64_t)(sizeof piece / sizeof *piece), places * channels - i);
        od_chosen->load[self->inner](piece, block + i * 2, 1, n, 0, 2);
        relu(piece, n);
        od_chosen->store[self->inner](block + i * 2, piece, 1, n, 0, 2);
    }
}

static void run_part(void *context, int thread, int64_t number) {
    conv_call *self = context;
    const part *p = &self->parts[number];
    const int gradient = self->kind == OD_CONV_GRAD_INPUT;
    char *scratch = self->scratch + (size_t)thread * self->per_thread;
    const od_conv_key *k = &p->conv->key;
    const activation *const sides[2] = {&self->in, &self->out};
    const int64_t first[2] = {p->in_row, p->row}, rows[2] = {k->in_size[0], k->out_size[0]};
    const int written = self->kind == OD_CONV_GRAD_WEIGHT ? 2 : gradient ? 0 : 1; /* which side; 2: neither */
    char *at[2];
    for (int i = 0; i < 2; i++) {
        const activation *a = sides[i];
        const int64_t image = rows[i] * a->row_places * a->channels * inner_bytes(self);
        at[i] = in_place(a, p) ? place(self, a, p, first[i]) : scratch + (i == 1 ? self->in_bytes : 0);
        for (int64_t n = 0; n < p->images && i != written && !in_place(a, p); n++)
            move_image(self, a, p->image + n, first[i], rows[i], at[i] + n * image, 0);
    }
    char *weight = self->weight + (self->kind == OD_CONV_GRAD_WEIGHT ? (size_t)number * self->weight_step : 0);
    const rl_status status =
        od_conv_run(p->conv, at[0], weight, self->bias, at[1], scratch + self->in_bytes + self->out_bytes);
    if (status != RL_OK)
        self->status = status;
    if (written == 2 || status != RL_OK)
        return;
    const activation *a = sides[written];
    const int64_t places = rows[written] * a->row_places, image = places * a->channels * inner_bytes(self);
    finish_block(self, at[written], p->images * places, a->channels);
    for (int64_t n = 0; n < p->images && !in_place(a, p); n++)
        move_image(self, a, p->image + n, first[written], rows[written], at[written] + n * image, 1);
}

/* Parts ------------------------------------------------------------------------------------------------------------ */

static const rl_operand *weight_of(const conv_call *self) {
    return self->kind == OD_CONV_GRAD_WEIGHT ? &self->args->out : &self->args->b;
}

/* Whether the weight's elements fill one run of memory, in whatever order. */
static int weight_is_dense(const rl_conv_args *g, const rl_operand *w) {
    const int64_t shape[5] = {g->out_channels, g->in_channels / g->groups, g->kernel[0], g->kernel[1], g->kernel[2]};
    int64_t run = 1, left = 0;
    assert(g->spatial >= 1 && g->spatial <= 3);
    for (int64_t d = 0; d < g->spatial + 2; d++)
        left += shape[d] > 1;
    for (int64_t d = 0; d < g->spatial + 2; d++) /* each dimension goes on where a smaller one ended */
        if (shape[d] > 1 && w->stride[d] == run) {
            run *= shape[d];
            left--;
            d = -1;
        }
    return left == 0;
}
/* The weight goes through packed floats before it is reordered, or after. */
static int packs_weight(const conv_call *self) {
    if (self->inner != RL_F32 && self->kind != OD_CONV_GRAD_WEIGHT)
        return 0; /* works_on_halves: it is dense */
    return self->dtype != RL_F32 || !self->dense;
}

static od_conv_key key_of(const conv_call *self, int64_t images) {
    const rl_conv_args *g = self->args;
    od_conv_key k = {.kind = (int32_t)self->kind,
                     .dtype = (int32_t)self->inner,
                     .has_bias = self->kind == OD_CONV_FORWARD && g->bias.buffer != NULL,
                     .spatial = g->spatial,
                     .batch = images,
                     .in_channels = g->in_channels,
                     .out_channels = g->out_channels,
                     .groups = g->groups};
    for (int64_t d = 0; d < g->spatial; d++) {
        k.in_size[d] = g->in_size[d];
        k.out_size[d] = g->out_size[d];
        k.kernel[d] = g->kernel[d];
        k.stride[d] = g->stride[d];
        k.padding[d] = g->padding[d];
        k.dilation[d] = g->dilation[d];
    }
    const rl_operand *w = weight_of(self);
    int64_t run = 1;
    for (int64_t d = g->spatial + 1; d >= 0; d--) { /* see move_weight */
        k.weight_stride[d] = self->dense ? w->stride[d] : run;
        run *= d >= 2 ? g->kernel[d - 2] : g->in_channels / g->groups;
    }
    return k;
}

/* Takes the primitive of a key, or finds it among those that the call has already. */
static rl_status conv_for(conv_call *self, const od_conv_key *key, od_conv **out) {
    for (int i = 0; i < self->n_convs; i++)
        if (memcmp(&self->convs[i]->key, key, sizeof *key) == 0) {
            *out = self->convs[i];
            return RL_OK;
        }
    const rl_status status = od_conv_take(key, out);
    if (status == RL_OK)
        self->convs[self->n_convs++] = *out;
    return status;
}

static rl_status add_part(conv_call *self, const od_conv_key *key, part p) {
    const rl_status status = conv_for(self, key, &p.conv);
    if (status == RL_OK)
        self->parts[self->n_parts++] = p;
    return status;
}

static rl_status cut_images(conv_call *self, int64_t most) {
    const int64_t batch = self->args->batch, images = (batch + most - 1) / most;
    rl_status status = RL_OK;
    for (int64_t n = 0; n < batch && status == RL_OK; n += images) {
        const od_conv_key key = key_of(self, od_at_most(images, batch - n));
        status = add_part(self, &key, (part){.image = n, .images = key.batch});
    }
    return status;
}

/* The rows of the input that the windows of output rows [row, row + rows) reach; 0 where they see padding alone.
 * *out_from is the first, *out_padding how many rows the windows begin before it. */
static int64_t rows_seen(const rl_conv_args *g, int64_t row, int64_t rows, int64_t *out_from, int64_t *out_padding) {
    const int64_t first = row * g->stride[0] - g->padding[0];
    const int64_t end = first + (rows - 1) * g->stride[0] + (g->kernel[0] - 1) * g->dilation[0] + 1;
    *out_from = first < 0 ? 0 : first;
    *out_padding = *out_from - first;
    return od_at_most(end, g->in_size[0]) - *out_from;
}
static int64_t rows_of_block(const rl_conv_args *g, int64_t blocks) {
    return od_parts(g->out_size[0], blocks);
}
/* A block that sees no input is no convolution for the library. */
static int all_see_input(const rl_conv_args *g, int64_t blocks) {
    const int64_t rows = rows_of_block(g, blocks);
    int64_t from, padding;
    for (int64_t row = 0; row < g->out_size[0]; row += rows)
        if (rows_seen(g, row, od_at_most(rows, g->out_size[0] - row), &from, &padding) < 1)
            return 0;
    return 1;
}

/* One image at a time, its output rows in blocks; a block sees the rows of the input that its windows reach. */
static rl_status cut_rows(conv_call *self, int64_t blocks) {
    const rl_conv_args *g = self->args;
    const int64_t rows = rows_of_block(g, blocks);
    rl_status status = RL_OK;
    for (int64_t n = 0; n < g->batch; n++)
        for (int64_t row = 0; row < g->out_size[0] && status == RL_OK; row += rows) {
            od_conv_key key = key_of(self, 1);
            part p = {.image = n, .images = 1, .row = row};
            key.out_size[0] = od_at_most(rows, g->out_size[0] - row);
            key.in_size[0] = rows_seen(g, row, key.out_size[0], &p.in_row, &key.padding[0]);
            status = add_part(self, &key, p);
        }
    return status;
}

static double work_of(const rl_conv_args *g) {
    double work = (double)g->batch * (double)g->out_channels * (double)g->in_channels / (double)g->groups;
    for (int64_t d = 0; d < g->spatial; d++)
        work *= (double)g->out_size[d] * (double)g->kernel[d];
    return work;
}

static int is_small(const rl_conv_args *g) {
    return work_of(g) <= OD_CONV_SMALL && g->dtype == RL_F32;
}

/* Of an image that is copied. */
static int64_t copied_bytes(const conv_call *self, const activation *a) {
    return a->whole ? 0 : a->places * a->channels * inner_bytes(self);
}

static rl_status cut(conv_call *self, double work) {
    const rl_conv_args *g = self->args;
    int64_t most = self->kind == OD_CONV_GRAD_WEIGHT ? SUM_PARTS : WORTH_PARTS;
    const int64_t worth = work / PART_WORK < (double)most ? (int64_t)(work / PART_WORK) + 1 : most;
    most = od_at_most(most, worth);
    const int64_t blocks = od_at_most(4, most);
    if (self->kind == OD_CONV_FORWARD && g->batch <= 2 && most > 1 && g->out_size[0] >= 4 * most &&
        all_see_input(g, blocks))
        return cut_rows(self, blocks);
    if (self->kind != OD_CONV_GRAD_WEIGHT) {
        const int64_t image = copied_bytes(self, &self->in) + copied_bytes(self, &self->out);
        const int64_t small = od_parts(g->batch * image, COPIED_BYTES);
        most = small > most ? od_at_most(small, MOST_PARTS) : most;
    }
    return cut_images(self, most);
}

/* The weight and the bias ------------------------------------------------------------------------------------------ */

static int64_t weight_count(const rl_conv_args *g) {
    int64_t count = g->out_channels * (g->in_channels / g->groups);
    for (int64_t d = 0; d < g->spatial; d++)
        count *= g->kernel[d];
    return count;
}

/* As packed floats, or back: a dense weight keeps its order, others become row-major (see key_of). */
static void move_weight(const conv_call *self, const rl_operand *w, float *packed, int out) {
    const rl_conv_args *g = self->args;
    const int64_t bytes = od_dtype_bytes(self->dtype), count = weight_count(g);
    const int64_t run = self->dense ? count : 1;
    assert(g->spatial >= 1 && g->spatial <= 3);
    const int64_t shape[5] = {g->out_channels, g->in_channels / g->groups, g->kernel[0], g->kernel[1], g->kernel[2]};
    for (int64_t i = 0; i < count; i += run) {
        int64_t at = 0;
        for (int64_t d = g->spatial + 1, left = i; d >= 0; left /= shape[d--])
            at += left % shape[d] * w->stride[d];
        if (out)
            od_chosen->store[self->dtype](od_address(w) + at * bytes, packed + i, 1, run, 0, bytes);
        else
            od_chosen->load[self->dtype](packed + i, od_address(w) + at * bytes, 1, run, 0, bytes);
    }
}

static size_t plain_weight_bytes(const conv_call *self) {
    return !packs_weight(self) ? 0 : od_lines((size_t)weight_count(self->args) * sizeof(float));
}

static rl_status bring_weight(conv_call *self, char *packed) {
    const rl_operand *w = &self->args->b;
    char *plain = od_address(w);
    if (packs_weight(self)) {
        move_weight(self, w, (float *)(void *)packed, 0);
        plain = packed;
    }
    return od_conv_reorder(self->convs[0], plain, self->weight);
}

static rl_status take_weight(conv_call *self, char *packed) {
    const rl_operand *w = &self->args->out;
    const int64_t count = (int64_t)(od_conv_weight_bytes(self->convs[0]) / sizeof(float));
    float *sum = (float *)(void *)self->weight;
    for (int p = 1; p < self->n_parts; p++) {
        const float *more = (const float *)(const void *)(self->weight + (size_t)p * self->weight_step);
        for (int64_t i = 0; i < count; i++)
            sum[i] += more[i];
    }
    const int packs = packs_weight(self);
    const rl_status status = od_conv_reorder(self->convs[0], packs ? packed : od_address(w), self->weight);
    if (status == RL_OK && packs)
        move_weight(self, w, (float *)(void *)packed, 1);
    return status;
}

/* The rows --------------------------------------------------------------------------------------------------------- */

static rl_status with_scratch(conv_call *self, int threads) {
    const int gradient = self->kind == OD_CONV_GRAD_WEIGHT;
    const int bring = !gradient && (self->kept == NULL || self->fill);
    const size_t packed = bring || gradient ? plain_weight_bytes(self) : 0;
    const int64_t biases = self->kind == OD_CONV_GRAD_INPUT ? self->args->in_channels : self->args->out_channels;
    const size_t bias = self->args->bias.buffer ? od_lines((size_t)biases * sizeof(float)) : 0;
    const size_t weights = self->kept ? 0 : self->weight_step * (size_t)(gradient ? self->n_parts : 1);
    const size_t bytes = packed + bias + weights + (size_t)threads * self->per_thread;
    char *at = od_host->scratch(bytes);
    if (at == NULL)
        return od_host->fail(RL_OUT_OF_MEMORY, "onednn: convolution: no scratch memory of %zu bytes", bytes);
    self->weight = self->kept ? self->kept->data : at + packed + bias;
    self->scratch = at + packed + bias + weights;
    if (bias > 0) {
        self->bias = (float *)(void *)(at + packed);
        const int64_t step = self->args->bias.stride[0] * od_dtype_bytes(self->dtype);
        od_chosen->load[self->dtype](self->bias, od_address(&self->args->bias), 1, biases, 0, step);
    }
    rl_status status = bring ? bring_weight(self, at) : RL_OK;
    if (self->fill) {
        od_weight_filled(self->kept, status == RL_OK);
        self->fill = 0;
    }
    if (status == RL_OK) {
        od_run(threads, self->n_parts, run_part, self);
        status = (rl_status)self->status;
    }
    if (status == RL_OK && gradient)
        status = take_weight(self, at);
    return status == RL_OK ? RL_OK : od_host->fail(status, "onednn: oneDNN failed at a convolution");
}

static size_t copy_bytes(const conv_call *self, const activation *a, const part *p, int64_t rows) {
    const int64_t elements = p->images * rows * a->row_places * a->channels;
    return in_place(a, p) ? 0 : od_lines((size_t)(elements * inner_bytes(self)));
}
static void grow(size_t *most, size_t bytes) {
    *most = bytes > *most ? bytes : *most;
}
static void measure(conv_call *self) {
    for (int i = 0; i < self->n_parts; i++) {
        const part *p = &self->parts[i];
        grow(&self->in_bytes, copy_bytes(self, &self->in, p, p->conv->key.in_size[0]));
        grow(&self->out_bytes, copy_bytes(self, &self->out, p, p->conv->key.out_size[0]));
        grow(&self->scratch_bytes, od_lines(od_conv_scratch_bytes(p->conv)));
        grow(&self->weight_step, od_lines(od_conv_weight_bytes(p->conv)));
    }
    self->per_thread = self->in_bytes + self->out_bytes + self->scratch_bytes;
}

/* All parts see the weight in one order: that of the first part's primitive. */
static int one_weight(const conv_call *self) {
    for (int i = 1; i < self->n_convs; i++)
        if (!dnnl_memory_desc_equal(self->convs[0]->weight, self->convs[i]->weight))
            return 0;
    return 1;
}

static void give_convs(conv_call *self) {
    for (int i = 0; i < self->n_convs; i++)
        od_conv_give(self->convs[i]);
    self->n_convs = self->n_parts = 0;
}

/* Halves as they are, where the processor multiplies them. A bias of the gradient would be rounded twice, and a weight
 * with gaps is packed as floats. */
static int works_on_halves(const conv_call *self) {
    return self->dtype != RL_F32 && od_gemm_takes(self->dtype) && (self->kind == OD_CONV_GRAD_WEIGHT || self->dense) &&
           (self->kind != OD_CONV_GRAD_INPUT || self->args->bias.buffer == NULL);
}

static rl_status plan(conv_call *self, rl_dtype inner, double work) {
    const rl_conv_args *g = self->args;
    const rl_operand *x = self->kind == OD_CONV_GRAD_INPUT ? &g->out : &g->a;
    const rl_operand *y = self->kind == OD_CONV_FORWARD ? &g->out : self->kind == OD_CONV_GRAD_INPUT ? &g->a : &g->b;
    self->inner = inner;
    look(&self->in, g, inner, x, g->in_channels, g->in_size);
    look(&self->out, g, inner, y, g->out_channels, g->out_size);
    rl_status status = cut(self, work);
    if (status == RL_OK && !one_weight(self)) { /* then as a whole */
        give_convs(self);
        status = cut_images(self, 1);
    }
    return status;
}

static rl_status run(const rl_conv_args *args, od_conv_kind kind) {
    const double work = work_of(args);
    if (is_small(args)) {
        od_conv_small(args, kind);
        return RL_OK;
    }
    conv_call self = {.args = args, .kind = kind, .dtype = (rl_dtype)args->dtype};
    self.dense = weight_is_dense(args, weight_of(&self));
    rl_status status = works_on_halves(&self) ? plan(&self, self.dtype, work) : RL_UNSUPPORTED;
    if (status == RL_UNSUPPORTED) {
        give_convs(&self);
        status = plan(&self, RL_F32, work);
    }
    if (status == RL_OK) {
        measure(&self);
        if (kind != OD_CONV_GRAD_WEIGHT)
            self.kept = od_weight_take(self.convs[0], &args->b, args->weight_stamp, self.dtype, &self.fill);
        status = with_scratch(&self, od_threads(self.n_parts, work / 20.0));
    }
    if (self.fill) /* there was no memory to do it */
        od_weight_filled(self.kept, 0);
    od_weight_give(self.kept);
    give_convs(&self);
    return status;
}

rl_status od_conv_forward(rl_backend_stream *stream, const void *args) {
    (void)stream;
    return run(args, OD_CONV_FORWARD);
}
rl_status od_conv_grad_input(rl_backend_stream *stream, const void *args) {
    (void)stream;
    return run(args, OD_CONV_GRAD_INPUT);
}
rl_status od_conv_grad_weight(rl_backend_stream *stream, const void *args) {
    (void)stream;
    return run(args, OD_CONV_GRAD_WEIGHT);
}

/* What the library calls a convolution has as many outputs as fit; fewer leave a whole step of the input unseen. */
static int all_is_seen(const rl_conv_args *g) {
    for (int64_t d = 0; d < g->spatial; d++) {
        const int64_t reach = (g->out_size[d] - 1) * g->stride[d] + (g->kernel[d] - 1) * g->dilation[d] + 1;
        if (g->in_size[d] + g->padding[d] - reach >= g->stride[d])
            return 0;
    }
    return 1;
}

static int supports(const void *what, int forward, const char **out_reason) {
    const rl_conv_args *args = what;
    if (args->dtype != RL_F32 && args->dtype != RL_F16 && args->dtype != RL_BF16)
        *out_reason = "convolution is for float32, float16 and bfloat16";
    else if (args->activation != RL_ACTIVATION_NONE && (args->activation != RL_ACTIVATION_RELU || !forward))
        *out_reason = "no other activation than relu is part of it, and of the gradients none";
    else if (args->in_channels == 0 || args->out_channels == 0 || args->batch == 0)
        *out_reason = "there are no channels, or no images";
    else if (!is_small(args) && !all_is_seen(args))
        *out_reason = "more outputs would fit into the input";
    else
        return 1;
    return 0;
}
int od_supports_conv_forward(rl_backend_device *device, const void *args, const char **out_reason) {
    (void)device;
    return supports(args, 1, out_reason);
}
int od_supports_conv_grad_input(rl_backend_device *device, const void *args, const char **out_reason) {
    (void)device;
    return supports(args, 0, out_reason);
}
int od_supports_conv_grad_weight(rl_backend_device *device, const void *args, const char **out_reason) {
    (void)device;
    return supports(args, 0, out_reason);
}
