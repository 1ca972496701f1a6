/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fused row: the backward of attention. Weights are computed anew, tile by tile, from log_sum: with p = e^(s - log_sum)
 * and d = sum(grad_out out), ds = scale p (grad_out v^T - d); grad_q = ds k, grad_k = ds^T q, grad_v = p^T grad_out. As
 * everywhere here, scores stand as (keys, queries).
 *
 * A unit of work is a (batch, head), which takes tile after tile of queries and adds to the gradients of keys and
 * values in that order. Where there are few heads, the work is done in two rounds instead: grad_q by tiles of queries,
 * grad_k and grad_v by tiles of keys, each with the same sums in the same order, but the weights computed twice.
 */
#include <math.h>
#include <string.h>

#include "attention.h"

#define KEYS 64     /* of a tile */
#define FEW_HEADS 4 /* (batch, head) pairs below which work is cut into tiles */

typedef enum part { OF_QUERIES = 1, OF_KEYS = 2 } part;

typedef struct backward {
    od_attention_call a;
    const rl_operand *grad_out, *out, *log_sum, *grad_q, *grad_k, *grad_v;
    int64_t tiles, key_tiles; /* of queries, keys in a head */
    int64_t wide, value_wide; /* widths as whole panels */
    int64_t kept;             /* keys whose gradients a unit sums */
    int direct_k, direct_v;   /* they are summed in the output itself */
    char *scratch;
    int64_t per_thread; /* floats */
} backward;

/* What a thread works in. */
typedef struct room {
    float *q_panels, *g_panels; /* (width, OD_PANEL) of queries, of grad_out */
    float *q, *g;               /* the same as rows, padded to whole panels: (OD_TILE, wide) */
    float *p, *ds;              /* (KEYS, OD_TILE) */
    float *grad_q;              /* panels */
    float *k, *v, *mask, *line; /* a tile in F32, a mask's tile, rows of a panel */
    float *grad_k, *grad_v;     /* (kept, wide) */
    float log_sum[OD_TILE], d[OD_TILE];
    int64_t count;                  /* queries of the tile */
    int64_t grad_k_row, grad_v_row; /* strides */
} room;

static int64_t lay_out(const backward *self, float *base, room *out) {
    const od_attention_call *a = &self->a;
    const int64_t copied = a->dtype == RL_F32 ? 0 : KEYS,
                  widest = a->width > a->value_width ? a->width : a->value_width;
    const struct {
        float **at;
        int64_t floats;
    } parts[] = {{&out->q_panels, OD_TILE * a->width},
                 {&out->g_panels, OD_TILE * a->value_width},
                 {&out->q, OD_TILE * self->wide},
                 {&out->g, OD_TILE * self->value_wide},
                 {&out->p, KEYS * OD_TILE},
                 {&out->ds, KEYS * OD_TILE},
                 {&out->grad_q, OD_TILE * a->width},
                 {&out->k, copied * a->width},
                 {&out->v, copied * a->value_width},
                 {&out->mask, KEYS * OD_PANEL},
                 {&out->line, 2 * OD_PANEL * widest},
                 {&out->grad_k, self->direct_k ? 0 : self->kept * self->wide},
                 {&out->grad_v, self->direct_v ? 0 : self->kept * self->value_wide}};
    int64_t at = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        *parts[i].at = base ? base + at : NULL;
        at += od_line_floats(parts[i].floats);
    }
    return at;
}

/* Rows of a tile of queries as F32, zeros beyond. */
static void copy_rows(const backward *self, const rl_operand *operand, int64_t batch, int64_t head, int64_t first,
                      int64_t rows, int64_t width, int64_t wide, float *out) {
    const int64_t whole = (rows + OD_PANEL - 1) / OD_PANEL * OD_PANEL;
    if (rows < whole || width < wide)
        memset(out, 0, (size_t)(whole * wide) * sizeof *out);
    for (int64_t i = 0; i < rows; i++)
        od_chosen->load[self->a.dtype](out + i * wide, od_attention_at(operand, self->a.bytes, batch, head, first + i),
                                       1, width, 0, operand->stride[3] * self->a.bytes);
}

/* Reads a tile of queries: themselves, their gradients, log_sum and d. Queries beyond the last have neither. */
static void read_queries(const backward *self, room *r, int64_t batch, int64_t head, int64_t first, int parts) {
    const od_attention_call *a = &self->a;
    r->count = od_at_most(OD_TILE, a->length - first);
    copy_rows(self, self->grad_out, batch, head, first, r->count, a->value_width, self->value_wide, r->g);
    if (parts & OF_KEYS)
        copy_rows(self, a->q, batch, head, first, r->count, a->width, self->wide, r->q);
    od_attention_panels(a, a->q, batch, head, first, r->count, a->width, a->scale, r->q_panels, r->line);
    for (int64_t i = 0; i < r->count; i += OD_PANEL)
        od_chosen->tile.to_panel(r->g_panels + i * a->value_width, r->g + i * self->value_wide, self->value_wide,
                                 od_at_most(OD_PANEL, r->count - i), a->value_width, 1.0f);
    memset(r->log_sum, 0, sizeof r->log_sum);
    memset(r->d, 0, sizeof r->d);
    const char *sums = od_attention_at(self->log_sum, 4, batch, head, first);
    for (int64_t i = 0; i < r->count; i++) {
        const float sum = *(const float *)(const void *)(sums + i * self->log_sum->stride[2] * 4);
        od_chosen->load[a->dtype](r->line, od_attention_at(self->out, a->bytes, batch, head, first + i), 1,
                                  a->value_width, 0, self->out->stride[3] * a->bytes);
        r->log_sum[i] = sum == -INFINITY ? 0.0f : sum; /* a row that sees nothing: all its scores are -infinity */
        r->d[i] = (float)od_chosen->row.dot(r->g + i * self->value_wide, r->line, a->value_width);
    }
}

/* p and ds of a panel of queries and a tile of keys. */
static void weigh(const backward *self, room *r, int64_t batch, int64_t head, int64_t first, int64_t panel, int64_t key,
                  int64_t keys, const od_matrix *k, const od_matrix *v, int parts) {
    const od_attention_call *a = &self->a;
    const od_tile_kernels *tile = &od_chosen->tile;
    const int64_t query = first + panel * OD_PANEL, rows = od_attention_seen(a, query, key, keys);
    float *p = r->p + panel * OD_PANEL, *ds = r->ds + panel * OD_PANEL;
    if (rows > 0) {
        tile->product(p, OD_TILE, k->base, k->row, k->col, r->q_panels + panel * a->width * OD_PANEL, OD_PANEL, rows,
                      a->width, 0);
        od_attention_mask(a, batch, head, query, a->length - query, key, p, OD_TILE, rows, r->mask);
        tile->weights(p, OD_TILE, rows, r->log_sum + panel * OD_PANEL);
        tile->product(ds, OD_TILE, v->base, v->row, v->col, r->g_panels + panel * a->value_width * OD_PANEL, OD_PANEL,
                      rows, a->value_width, 0);
        tile->gradient(ds, p, OD_TILE, rows, r->d + panel * OD_PANEL, a->scale);
        if (parts & OF_QUERIES)
            tile->product(r->grad_q + panel * a->width * OD_PANEL, OD_PANEL, k->base, k->col, k->row, ds, OD_TILE,
                          a->width, rows, key > 0);
    }
    for (int64_t i = rows; i < keys && parts & OF_KEYS; i++) {
        memset(p + i * OD_TILE, 0, OD_PANEL * sizeof *p);
        memset(ds + i * OD_TILE, 0, OD_PANEL * sizeof *ds);
    }
}

/* grad (keys, wide) += left (keys, queries) right (queries, wide); queries that see none of some keys are left out. */
static void add_keys(const backward *self, const room *r, int64_t first, int64_t key, int64_t keys, const float *left,
                     const float *right, int64_t wide, float *grad, int64_t row) {
    const int64_t queries = (r->count + OD_PANEL - 1) / OD_PANEL * OD_PANEL;
    const int64_t step = self->a.causal && key + keys > first + OD_PANEL ? OD_PANEL : keys;
    for (int64_t i = 0; i < keys; i += step) {
        const int64_t ahead = self->a.causal ? key + i - first : 0, from = ahead > 0 ? ahead / OD_PANEL * OD_PANEL : 0;
        for (int64_t j = 0; j < wide && from < queries; j += OD_PANEL)
            od_chosen->tile.product(grad + i * row + j, row, left + i * OD_TILE + from, OD_TILE, 1,
                                    right + from * wide + j, wide, od_at_most(step, keys - i), queries - from, 1);
    }
}

/* A tile of queries, which has been read, against a tile of keys. `base`: the key that grad_k and grad_v begin with. */
static void meet(const backward *self, room *r, int64_t batch, int64_t head, int64_t first, int64_t key, int64_t base,
                 int parts) {
    const od_attention_call *a = &self->a;
    const int64_t keys = od_at_most(KEYS, a->keys - key);
    const od_matrix k = od_attention_rows(a, a->k, batch, head, key, keys, a->width, r->k);
    const od_matrix v = od_attention_rows(a, a->v, batch, head, key, keys, a->value_width, r->v);
    for (int64_t panel = 0; panel * OD_PANEL < r->count; panel++)
        weigh(self, r, batch, head, first, panel, key, keys, &k, &v, parts);
    if (!(parts & OF_KEYS))
        return;
    add_keys(self, r, first, key, keys, r->p, r->g, self->value_wide, r->grad_v + (key - base) * r->grad_v_row,
             r->grad_v_row);
    add_keys(self, r, first, key, keys, r->ds, r->q, self->wide, r->grad_k + (key - base) * r->grad_k_row,
             r->grad_k_row);
}

static void store_queries(const backward *self, room *r, int64_t batch, int64_t head, int64_t first) {
    float one[OD_TILE];
    for (int i = 0; i < OD_TILE; i++)
        one[i] = 1.0f;
    od_attention_store(&self->a, self->grad_q, batch, head, first, r->count, self->a.width, r->grad_q, one, r->line);
}

/* Where the gradients of keys from `base` on are summed: zeros at first. */
static void begin_keys(const backward *self, room *r, int64_t batch, int64_t head, int64_t base, int64_t count) {
    r->grad_k_row = self->direct_k ? self->grad_k->stride[2] : self->wide;
    r->grad_v_row = self->direct_v ? self->grad_v->stride[2] : self->value_wide;
    if (self->direct_k)
        r->grad_k = (float *)(void *)od_attention_at(self->grad_k, 4, batch, head, base);
    if (self->direct_v)
        r->grad_v = (float *)(void *)od_attention_at(self->grad_v, 4, batch, head, base);
    for (int64_t i = 0; i < count; i++) {
        memset(r->grad_k + i * r->grad_k_row, 0, (size_t)self->wide * sizeof(float));
        memset(r->grad_v + i * r->grad_v_row, 0, (size_t)self->value_wide * sizeof(float));
    }
}
static void store_keys(const backward *self, const room *r, int64_t batch, int64_t head, int64_t base, int64_t count) {
    const od_attention_call *a = &self->a;
    const od_store_fn store = od_chosen->store[a->dtype];
    for (int64_t i = 0; i < count && !self->direct_k; i++)
        store(od_attention_at(self->grad_k, a->bytes, batch, head, base + i), r->grad_k + i * self->wide, 1, a->width,
              0, self->grad_k->stride[3] * a->bytes);
    for (int64_t i = 0; i < count && !self->direct_v; i++)
        store(od_attention_at(self->grad_v, a->bytes, batch, head, base + i), r->grad_v + i * self->value_wide, 1,
              a->value_width, 0, self->grad_v->stride[3] * a->bytes);
}

/* A tile of queries against all keys that it sees. */
static void run_queries(const backward *self, room *r, int64_t batch, int64_t head, int64_t first, int parts) {
    const od_attention_call *a = &self->a;
    read_queries(self, r, batch, head, first, parts);
    const int64_t seen = a->causal ? od_at_most(a->keys, first + r->count) : a->keys;
    for (int64_t key = 0; key < seen; key += KEYS)
        meet(self, r, batch, head, first, key, 0, parts);
    store_queries(self, r, batch, head, first);
}

static room room_of(const backward *self, int thread) {
    room r;
    lay_out(self, (float *)(void *)self->scratch + thread * self->per_thread, &r);
    return r;
}

static void run_head(void *context, int thread, int64_t unit) {
    const backward *self = context;
    const int64_t head = unit % self->a.heads, batch = unit / self->a.heads;
    room r = room_of(self, thread);
    begin_keys(self, &r, batch, head, 0, self->a.keys);
    for (int64_t first = 0; first < self->a.length; first += OD_TILE)
        run_queries(self, &r, batch, head, first, OF_QUERIES | OF_KEYS);
    store_keys(self, &r, batch, head, 0, self->a.keys);
}

static void run_query_tile(void *context, int thread, int64_t unit) {
    const backward *self = context;
    const int64_t pair = unit / self->tiles;
    room r = room_of(self, thread);
    run_queries(self, &r, pair / self->a.heads, pair % self->a.heads, unit % self->tiles * OD_TILE, OF_QUERIES);
}

static void run_key_tile(void *context, int thread, int64_t unit) {
    const backward *self = context;
    const int64_t pair = unit / self->key_tiles, head = pair % self->a.heads, batch = pair / self->a.heads;
    const int64_t key = unit % self->key_tiles * KEYS, count = od_at_most(KEYS, self->a.keys - key);
    room r = room_of(self, thread);
    begin_keys(self, &r, batch, head, key, count);
    for (int64_t first = self->a.causal ? key / OD_TILE * OD_TILE : 0; first < self->a.length; first += OD_TILE) {
        read_queries(self, &r, batch, head, first, OF_KEYS);
        meet(self, &r, batch, head, first, key, key, OF_KEYS);
    }
    store_keys(self, &r, batch, head, key, count);
}

static int is_direct(const backward *self, const rl_operand *operand, int64_t width) {
    return self->a.dtype == RL_F32 && operand->stride[3] == 1 && width % OD_PANEL == 0;
}

static rl_status run(backward *self, double cost) {
    const int64_t pairs = self->a.batch * self->a.heads;
    const int by_head = pairs >= FEW_HEADS;
    const int64_t units = by_head ? pairs : pairs * (self->tiles > self->key_tiles ? self->tiles : self->key_tiles);
    const int threads = od_threads(units, cost);
    room none;
    self->kept = by_head ? self->a.keys : KEYS;
    self->per_thread = lay_out(self, NULL, &none);
    self->scratch = od_host->scratch((size_t)(threads * self->per_thread) * sizeof(float));
    if (self->scratch == NULL)
        return od_host->fail(RL_OUT_OF_MEMORY, "attention_backward: no scratch memory for %lld keys",
                             (long long)self->a.keys);
    if (by_head) {
        od_run(threads, pairs, run_head, self);
    } else {
        od_run(threads, pairs * self->tiles, run_query_tile, self);
        od_run(threads, pairs * self->key_tiles, run_key_tile, self);
    }
    return RL_OK;
}

rl_status od_attention_backward(rl_backend_stream *stream, const void *what) {
    const rl_attention_backward_args *args = what;
    (void)stream;
    backward self = {.a = OD_ATTENTION_CALL(args),
                     .grad_out = &args->grad_out,
                     .out = &args->out,
                     .log_sum = &args->log_sum,
                     .grad_q = &args->grad_q,
                     .grad_k = &args->grad_k,
                     .grad_v = &args->grad_v,
                     .tiles = (args->q_length + OD_TILE - 1) / OD_TILE,
                     .key_tiles = (args->k_length + KEYS - 1) / KEYS,
                     .wide = od_line_floats(args->width),
                     .value_wide = od_line_floats(args->value_width)};
    self.direct_k = is_direct(&self, self.grad_k, args->width);
    self.direct_v = is_direct(&self, self.grad_v, args->value_width);
    const double work =
        (double)args->q_length * (double)args->k_length * (3.0 * (double)args->width + 2.0 * (double)args->value_width);
    return run(&self, (double)(args->batch * args->heads) * work * (args->causal ? 0.015 : 0.03));
}

int od_supports_attention_backward(rl_backend_device *device, const void *what, const char **out_reason) {
    const rl_attention_backward_args *args = what;
    (void)device;
    const int good = args->dtype == RL_F32 || args->dtype == RL_F16 || args->dtype == RL_BF16;
    *out_reason = good ? "there are no keys" : "attention is for float32 and narrower";
    return good && args->k_length > 0;
}
