/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fused rows: one direction of a recurrent layer, forwards and backwards. A unit of work is a chunk of the batch, which
 * walks all steps by itself: a product with the weight, which is packed once for all, then the cell row by row. All in
 * F32; half floats are rounded where they are stored and go on as they were stored. f64 is lowered.
 *
 * Shapes: steps T, batch B, hidden H, gates G blocks of H, rows R of a chunk.
 */
#include <string.h>

#include "backend.h"

#define MOST_ROWS 16 /* of a chunk: so many share each reading of the weight */
#define FEWEST_STEPS 3
#define MOST_KEPT 4 /* blocks of a reserve, at most */

typedef struct plane { /* (T, B, width) or, with step 0, (B, width); strides in bytes; base NULL: absent */
    char *base;
    int64_t step, row, along;
    int packed; /* a row is F32 as it stands */
} plane;

typedef struct layer {
    rl_dtype dtype;
    rl_rnn_cell cell;
    int reverse;
    int64_t steps, batch, hidden;
    int64_t gates, kept;      /* blocks of H */
    int64_t rows, units;      /* of a chunk; chunks */
    int threads;              /* that work on them */
    int64_t n, k, panels;     /* the packed weight is (k, n), n in panels */
    const char *weight;       /* its elements: strides in bytes */
    int64_t along_n, along_k; /* of the weight */
    float *packed, *bias;     /* bias (G H), or NULL */
    char *scratch;            /* of the threads */
    size_t per_thread;
    plane x, h0, c0, h, c, reserve, grad_h, grad_c, grad_x, grad_state, grad_h0, grad_c0;
} layer;

static const int64_t gate_blocks[] = {[RL_RNN_LSTM] = 4, [RL_RNN_GRU] = 3, [RL_RNN_TANH] = 1, [RL_RNN_RELU] = 1};
static const int64_t kept_blocks[] = {[RL_RNN_LSTM] = 4, [RL_RNN_GRU] = 4, [RL_RNN_TANH] = 0, [RL_RNN_RELU] = 0};

static plane plane_of(const layer *self, const rl_operand *operand, int ndim) {
    const int64_t bytes = od_dtype_bytes(self->dtype);
    if (operand->buffer == NULL)
        return (plane){0};
    const int64_t along = operand->stride[ndim - 1] * bytes;
    return (plane){.base = od_address(operand),
                   .step = ndim == 3 ? operand->stride[0] * bytes : 0,
                   .row = operand->stride[ndim - 2] * bytes,
                   .along = along,
                   .packed = self->dtype == RL_F32 && along == bytes};
}

/* Elements first .. first + n - 1 of a row: where they are, or as a copy in `room`. */
static const float *read_row(const layer *self, const plane *p, int64_t t, int64_t row, int64_t first, int64_t n,
                             float *room) {
    const char *at = p->base + t * p->step + row * p->row + first * p->along;
    if (p->packed)
        return (const float *)(const void *)at;
    od_chosen->load[self->dtype](room, at, 1, n, 0, p->along);
    return room;
}

/* Stores a row; x holds it then as it is stored. */
static void write_row(const layer *self, const plane *p, int64_t t, int64_t row, float *x, int64_t n) {
    if (p->base == NULL)
        return;
    char *at = p->base + t * p->step + row * p->row;
    if (p->packed) {
        memcpy(at, x, (size_t)n * sizeof *x);
        return;
    }
    if (self->dtype != RL_F32)
        od_chosen->cast[RL_REG_F32][self->dtype](x, x, NULL, NULL, n);
    od_chosen->store[self->dtype](at, x, 1, n, 0, p->along);
}

static int64_t step_of(const layer *self, int64_t i) {
    return self->reverse ? self->steps - 1 - i : i;
}

/* The state before step number i of the walk. */
static const float *before(const layer *self, const plane *all, const plane *first, int64_t i, int64_t row,
                           float *room) {
    return i > 0 ? read_row(self, all, step_of(self, i - 1), row, 0, self->hidden, room)
                 : read_row(self, first, 0, row, 0, self->hidden, room);
}

/* The weight ------------------------------------------------------------------------------------------------------ */

/* One panel of one strip: rows p .. of the (k, n) matrix, columns j .. */
static void pack_unit(void *context, int thread, int64_t unit) {
    const layer *self = context;
    const int64_t panel = od_chosen->rnn.panel, p = unit / self->panels * OD_RNN_STRIP;
    const int64_t j = unit % self->panels * panel, strip = od_at_most(OD_RNN_STRIP, self->k - p);
    const int64_t columns = od_at_most(panel, self->n - j);
    float *out = self->packed + p * self->panels * panel + unit % self->panels * strip * panel;
    float line[OD_RNN_STRIP] = {0};
    (void)thread;
    const char *at = self->weight + p * self->along_k + j * self->along_n;
    if (self->along_n == od_dtype_bytes(self->dtype)) { /* rows of the panel lie packed */
        for (int64_t r = 0; r < strip; r++, at += self->along_k, out += panel) {
            od_chosen->load[self->dtype](out, at, 1, columns, 0, self->along_n);
            memset(out + columns, 0, (size_t)(panel - columns) * sizeof *out);
        }
        return;
    }
    for (int64_t c = 0; c < panel; c++, at += self->along_n) {
        if (c < columns)
            od_chosen->load[self->dtype](line, at, 1, strip, 0, self->along_k);
        else if (c == columns)
            memset(line, 0, sizeof line);
        for (int64_t r = 0; r < strip; r++)
            out[r * panel + c] = line[r];
    }
}

static size_t lines(int64_t floats) {
    return od_lines((size_t)floats * sizeof(float));
}

/* Sets sizes, takes scratch memory (floats a row of a chunk and besides, for one thread) and packs the weight. */
static rl_status prepare(layer *self, const rl_operand *bias, int64_t floats_a_row, int64_t floats, const char *name) {
    const int64_t panel = od_chosen->rnn.panel, width = self->gates * self->hidden;
    const double work = (double)self->steps * (double)self->batch * (double)self->n * (double)self->k / 20.0;
    self->threads = od_threads(self->units, work);
    const int64_t pack_units = self->panels * od_parts(self->k, OD_RNN_STRIP);
    const size_t packed = lines(self->k * self->panels * panel), biases = bias && bias->buffer ? lines(width) : 0;
    self->per_thread = lines(self->rows * floats_a_row) + lines(floats);
    const size_t wanted = packed + biases + (size_t)self->threads * self->per_thread;
    char *scratch = od_host->scratch(wanted);
    if (scratch == NULL)
        return od_host->fail(RL_OUT_OF_MEMORY, "onednn: %s: no scratch memory of %zu bytes", name, wanted);
    self->packed = (float *)(void *)scratch;
    if (biases > 0) {
        self->bias = (float *)(void *)(scratch + packed);
        od_chosen->load[self->dtype](self->bias, od_address(bias), 1, width, 0,
                                     bias->stride[0] * od_dtype_bytes(self->dtype));
    }
    self->scratch = scratch + packed + biases;
    od_run(od_threads(pack_units, (double)self->n * (double)self->k), pack_units, pack_unit, self);
    return RL_OK;
}

/* Chunks by the batch alone: two at least, as soon as there are two rows. */
static void cut(layer *self) {
    self->gates = gate_blocks[self->cell];
    self->kept = kept_blocks[self->cell];
    self->rows = od_at_most(MOST_ROWS, od_parts(self->batch, 2));
    self->units = od_parts(self->batch, self->rows);
}

/* Forward --------------------------------------------------------------------------------------------------------- */

/* Floats of a row of u: the product's columns, or the reserve. */
static int64_t width_of_u(const layer *self) {
    const int64_t product = self->panels * od_chosen->rnn.panel, kept = self->kept * self->hidden;
    return product > kept ? product : kept;
}

/* u = the input's part + bias; of GRU's n the bias alone, since its parts stay apart. */
static void begin_row(const layer *self, float *u, int64_t t, int64_t row, float *room) {
    const int64_t width = (self->cell == RL_RNN_GRU ? 2 : self->gates) * self->hidden;
    const float *x = read_row(self, &self->x, t, row, 0, width, room);
    if (self->bias != NULL)
        od_chosen->rnn.add(u, x, self->bias, width);
    else
        memcpy(u, x, (size_t)width * sizeof *u);
    if (self->cell != RL_RNN_GRU)
        return;
    if (self->bias != NULL)
        memcpy(u + width, self->bias + width, (size_t)self->hidden * sizeof *u);
    else
        memset(u + width, 0, (size_t)self->hidden * sizeof *u);
}

static void end_row(const layer *self, float *u, float *h, float *c, int64_t t, int64_t row, float *room) {
    const od_rnn_kernels *k = &od_chosen->rnn;
    const int64_t n = self->hidden;
    switch (self->cell) {
    case RL_RNN_LSTM:
        k->lstm(u, c, h, n);
        write_row(self, &self->c, t, row, c, n);
        break;
    case RL_RNN_GRU:
        k->gru(u, read_row(self, &self->x, t, row, 2 * n, n, room), h, n);
        break;
    default:
        k->plain[self->cell == RL_RNN_RELU](h, u, n);
        break;
    }
    write_row(self, &self->h, t, row, h, n);
    write_row(self, &self->reserve, t, row, u, self->kept * n);
}

/* u (R, width), h, c (R, H), room for one row */
static void forward_unit(void *context, int thread, int64_t unit) {
    const layer *self = context;
    const int64_t first = unit * self->rows, rows = od_at_most(self->rows, self->batch - first), n = self->hidden;
    const int64_t width = width_of_u(self);
    float *u = (float *)(void *)(self->scratch + (size_t)thread * self->per_thread);
    float *h = u + self->rows * width, *c = h + self->rows * n, *room = c + self->rows * n;
    memset(u, 0, (size_t)(rows * width) * sizeof *u);
    for (int64_t r = 0; r < rows; r++) {
        memcpy(h + r * n, read_row(self, &self->h0, 0, first + r, 0, n, room), (size_t)n * sizeof *h);
        if (self->cell == RL_RNN_LSTM)
            memcpy(c + r * n, read_row(self, &self->c0, 0, first + r, 0, n, room), (size_t)n * sizeof *c);
    }
    for (int64_t i = 0; i < self->steps; i++) {
        const int64_t t = step_of(self, i);
        for (int64_t r = 0; r < rows; r++)
            begin_row(self, u + r * width, t, first + r, room);
        od_chosen->rnn.product(u, h, self->packed, rows, self->panels, self->k, width, n);
        for (int64_t r = 0; r < rows; r++)
            end_row(self, u + r * width, h + r * n, c + r * n, t, first + r, room);
    }
}

rl_status od_rnn(rl_backend_stream *stream, const void *what) {
    const rl_rnn_args *args = what;
    (void)stream;
    layer self = {.dtype = (rl_dtype)args->dtype,
                  .cell = (rl_rnn_cell)args->cell,
                  .reverse = (int)args->reverse,
                  .steps = args->steps,
                  .batch = args->batch,
                  .hidden = args->hidden};
    if (self.steps == 0 || self.batch == 0 || self.hidden == 0)
        return RL_OK;
    cut(&self);
    self.x = plane_of(&self, &args->gates, 3);
    self.h0 = plane_of(&self, &args->h0, 2);
    self.c0 = plane_of(&self, &args->c0, 2);
    self.h = plane_of(&self, &args->h, 3);
    self.c = plane_of(&self, &args->c, 3);
    self.reserve = plane_of(&self, &args->reserve, 3);
    self.n = self.gates * self.hidden;
    self.k = self.hidden;
    self.panels = od_parts(self.n, od_chosen->rnn.panel);
    self.weight = od_address(&args->weight);
    self.along_n = args->weight.stride[0] * od_dtype_bytes(self.dtype);
    self.along_k = args->weight.stride[1] * od_dtype_bytes(self.dtype);
    const rl_status status =
        prepare(&self, &args->bias, width_of_u(&self) + 2 * self.hidden, self.gates * self.hidden, "rnn");
    if (status != RL_OK)
        return status;
    od_run(self.threads, self.units, forward_unit, &self);
    return RL_OK;
}

/* Backward -------------------------------------------------------------------------------------------------------- */

/* A row of the chunk on its way back: e is the gradient of h, dc of c; du and ds, one but for GRU, those of the parts
 * of the gates. `room` has space for the reserve and two states. */
static void backward_row(const layer *self, float *e, float *dc, float *du, float *ds, int64_t i, int64_t row,
                         float *room) {
    const od_rnn_kernels *k = &od_chosen->rnn;
    const int64_t n = self->hidden, t = step_of(self, i);
    float *room_a = room + MOST_KEPT * n, *room_b = room_a + n;
    k->add(e, e, read_row(self, &self->grad_h, t, row, 0, n, room_a), n);
    const float *kept = self->kept > 0 ? read_row(self, &self->reserve, t, row, 0, self->kept * n, room) : NULL;
    switch (self->cell) {
    case RL_RNN_LSTM:
        if (self->grad_c.base != NULL)
            k->add(dc, dc, read_row(self, &self->grad_c, t, row, 0, n, room_a), n);
        k->lstm_backward(du, e, dc, kept, before(self, &self->c, &self->c0, i, row, room_a),
                         read_row(self, &self->c, t, row, 0, n, room_b), n);
        break;
    case RL_RNN_GRU:
        k->gru_backward(du, ds, e, kept, before(self, &self->h, &self->h0, i, row, room_a), n);
        write_row(self, &self->grad_state, t, row, ds, 3 * n);
        break;
    default:
        k->plain_backward[self->cell == RL_RNN_RELU](du, e, read_row(self, &self->h, t, row, 0, n, room_a), n);
        break;
    }
    write_row(self, &self->grad_x, t, row, du, self->gates * n);
    if (self->cell != RL_RNN_GRU) /* all goes through the weight */
        memset(e, 0, (size_t)n * sizeof *e);
}

/* e (R, width of the product), dc (R, H), ds (R, G H), du (G H) of one row, room for one row */
static void backward_unit(void *context, int thread, int64_t unit) {
    const layer *self = context;
    const int64_t first = unit * self->rows, rows = od_at_most(self->rows, self->batch - first), n = self->hidden;
    const int64_t width = self->panels * od_chosen->rnn.panel, gates = self->gates * n;
    float *e = (float *)(void *)(self->scratch + (size_t)thread * self->per_thread);
    float *dc = e + self->rows * width, *ds = dc + self->rows * n, *du = ds + self->rows * gates, *room = du + gates;
    memset(e, 0, (size_t)(rows * width) * sizeof *e);
    memset(dc, 0, (size_t)(rows * n) * sizeof *dc);
    for (int64_t i = self->steps - 1; i >= 0; i--) {
        for (int64_t r = 0; r < rows; r++) {
            float *state = ds + r * gates;
            backward_row(self, e + r * width, dc + r * n, self->cell == RL_RNN_GRU ? du : state, state, i, first + r,
                         room);
        }
        od_chosen->rnn.product(e, ds, self->packed, rows, self->panels, self->k, width, gates);
    }
    for (int64_t r = 0; r < rows; r++) {
        write_row(self, &self->grad_h0, 0, first + r, e + r * width, n);
        write_row(self, &self->grad_c0, 0, first + r, dc + r * n, n);
    }
}

static void take_backward(layer *self, const rl_rnn_backward_args *args) {
    self->grad_h = plane_of(self, &args->grad_h, 3);
    self->grad_c = plane_of(self, &args->grad_c, 3);
    self->h0 = plane_of(self, &args->h0, 2);
    self->c0 = plane_of(self, &args->c0, 2);
    self->h = plane_of(self, &args->h, 3);
    self->c = plane_of(self, &args->c, 3);
    self->reserve = plane_of(self, &args->reserve, 3);
    self->grad_x = plane_of(self, &args->grad_gates, 3);
    self->grad_state = plane_of(self, &args->grad_state_gates, 3);
    self->grad_h0 = plane_of(self, &args->grad_h0, 2);
    self->grad_c0 = plane_of(self, &args->grad_c0, 2);
    self->weight = od_address(&args->weight);
    self->along_k = args->weight.stride[0] * od_dtype_bytes(self->dtype);
    self->along_n = args->weight.stride[1] * od_dtype_bytes(self->dtype);
}

rl_status od_rnn_backward(rl_backend_stream *stream, const void *what) {
    const rl_rnn_backward_args *args = what;
    (void)stream;
    layer self = {.dtype = (rl_dtype)args->dtype,
                  .cell = (rl_rnn_cell)args->cell,
                  .reverse = (int)args->reverse,
                  .steps = args->steps,
                  .batch = args->batch,
                  .hidden = args->hidden};
    if (self.batch == 0 || self.hidden == 0)
        return RL_OK;
    cut(&self);
    take_backward(&self, args);
    self.n = self.hidden;
    self.k = self.gates * self.hidden;
    self.panels = od_parts(self.n, od_chosen->rnn.panel);
    const int64_t a_row = self.panels * od_chosen->rnn.panel + self.hidden + self.k;
    const rl_status status = prepare(&self, NULL, a_row, self.k + (MOST_KEPT + 2) * self.hidden, "rnn_backward");
    if (status != RL_OK)
        return status;
    od_run(self.threads, self.units, backward_unit, &self);
    return RL_OK;
}

/* Supports -------------------------------------------------------------------------------------------------------- */

static int takes(uint32_t dtype, uint32_t cell, int64_t steps, const char **out_reason) {
    if (dtype != RL_F32 && dtype != RL_F16 && dtype != RL_BF16)
        *out_reason = "it computes in f32";
    else if (cell > RL_RNN_RELU)
        *out_reason = "it does not know this cell";
    else if (steps < FEWEST_STEPS)
        *out_reason = "so few steps are not worth packing the weight";
    else
        return 1;
    return 0;
}
int od_supports_rnn(rl_backend_device *device, const void *args, const char **out_reason) {
    const rl_rnn_args *a = args;
    (void)device;
    return takes(a->dtype, a->cell, a->steps, out_reason);
}
int od_supports_rnn_backward(rl_backend_device *device, const void *args, const char **out_reason) {
    const rl_rnn_backward_args *a = args;
    (void)device;
    return takes(a->dtype, a->cell, a->steps, out_reason);
}
