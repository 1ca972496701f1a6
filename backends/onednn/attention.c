/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fused row: attention by tiles, with memory linear in the lengths (Dao et al. 2022). A unit of work is OD_TILE queries
 * of one (batch, head), which meets tile after tile of keys: their scores are scaled by the greatest so far, and what
 * was summed before is rescaled when there is a greater one. Tiles that causality hides are skipped. Half floats are
 * loaded as F32; f64 is left to the primitives.
 */
#include "attention.h"

#include <math.h>
#include <string.h>

#define KEYS 128 /* of a tile */

/* Pieces that the backward uses too -------------------------------------------------------------------------------- */

od_matrix od_attention_rows(const od_attention_call *self, const rl_operand *operand, int64_t batch, int64_t head,
                            int64_t first, int64_t rows, int64_t width, float *room) {
    char *at = od_attention_at(operand, self->bytes, batch, head, first);
    if (self->dtype == RL_F32)
        return (od_matrix){(float *)(void *)at, operand->stride[2], operand->stride[3]};
    od_chosen->load[self->dtype](room, at, rows, width, operand->stride[2] * self->bytes,
                                 operand->stride[3] * self->bytes);
    return (od_matrix){room, width, 1};
}

void od_attention_panels(const od_attention_call *self, const rl_operand *operand, int64_t batch, int64_t head,
                         int64_t first, int64_t rows, int64_t width, float scale, float *panels, float *room) {
    for (int64_t i = 0; i < rows; i += OD_PANEL, panels += width * OD_PANEL) {
        const int64_t n = od_at_most(OD_PANEL, rows - i);
        od_matrix x = od_attention_rows(self, operand, batch, head, first + i, n, width, room);
        if (x.col != 1) {
            od_chosen->load[RL_F32](room, (const char *)x.base, n, width, x.row * 4, x.col * 4);
            x = (od_matrix){room, width, 1};
        }
        od_chosen->tile.to_panel(panels, x.base, x.row, n, width, scale);
    }
}

void od_attention_store(const od_attention_call *self, const rl_operand *operand, int64_t batch, int64_t head,
                        int64_t first, int64_t rows, int64_t width, const float *panels, const float *factor,
                        float *room) {
    const int direct = self->dtype == RL_F32 && operand->stride[3] == 1;
    for (int64_t i = 0; i < rows; i += OD_PANEL, panels += width * OD_PANEL) {
        const int64_t n = od_at_most(OD_PANEL, rows - i);
        char *to = od_attention_at(operand, self->bytes, batch, head, first + i);
        od_chosen->tile.from_panel(direct ? (float *)(void *)to : room, direct ? operand->stride[2] : width, panels, n,
                                   width, factor + i);
        if (!direct)
            od_chosen->store[self->dtype](to, room, n, width, operand->stride[2] * self->bytes,
                                          operand->stride[3] * self->bytes);
    }
}

static void hide_future(int64_t query, int64_t key, float *scores, int64_t ld, int64_t rows) {
    for (int64_t r = query > key ? query - key : 0; r < rows; r++) {
        const int64_t hidden = key + r - query < OD_PANEL ? key + r - query : OD_PANEL; /* the first queries */
        for (int64_t j = 0; j < hidden; j++)
            scores[r * ld + j] = -INFINITY;
    }
}

void od_attention_mask(const od_attention_call *self, int64_t batch, int64_t head, int64_t query, int64_t queries,
                       int64_t key, float *scores, int64_t ld, int64_t rows, void *room) {
    if (self->mask_dtype != RL_DTYPE_NONE) {
        const rl_operand *mask = self->mask;
        const int64_t n = od_at_most(queries, OD_PANEL), bytes = self->mask_bytes;
        const char *at = od_attention_at(mask, bytes, batch, head, query) + key * mask->stride[3] * bytes;
        od_chosen->load[self->mask_dtype](room, at, rows, n, mask->stride[3] * bytes, mask->stride[2] * bytes);
        const int32_t *takes = room;
        const float *added = room;
        const int is_bool = self->mask_dtype == RL_BOOL;
        for (int64_t r = 0; r < rows; r++)
            for (int64_t j = 0; j < n; j++) {
                float *s = &scores[r * ld + j];
                *s = !is_bool ? *s + added[r * n + j] : takes[r * n + j] ? *s : -INFINITY;
            }
    }
    if (self->causal)
        hide_future(query, key, scores, ld, rows);
}

/* Forward --------------------------------------------------------------------------------------------------------- */

typedef struct forward {
    od_attention_call a;
    const rl_operand *out, *log_sum;
    int64_t tiles; /* of queries in a head */
    char *scratch;
    int64_t per_thread; /* floats */
} forward;

/* What a thread works in. */
typedef struct room {
    float *q, *out;                      /* panels of queries (width, OD_PANEL), of sums (value_width, OD_PANEL) */
    float *scores, *mask, *k, *v, *line; /* (KEYS, OD_PANEL) twice, keys and values in F32, rows of a panel */
    float max[OD_TILE], sum[OD_TILE], factor[OD_PANEL];
} room;

static int64_t lay_out(const od_attention_call *a, float *base, room *out) {
    const int64_t copied = a->dtype == RL_F32 ? 0 : KEYS,
                  widest = a->width > a->value_width ? a->width : a->value_width;
    int64_t at = 0;
    float **const part[] = {&out->q, &out->out, &out->scores, &out->mask, &out->k, &out->v, &out->line};
    const int64_t floats[] = {OD_TILE * a->width, OD_TILE * a->value_width, KEYS * OD_PANEL,  KEYS * OD_PANEL,
                              copied * a->width,  copied * a->value_width,  OD_PANEL * widest};
    for (int i = 0; i < 7; i++) {
        *part[i] = base ? base + at : NULL;
        at += od_line_floats(floats[i]);
    }
    return at;
}

/* One panel of queries from `query` on meets the keys of a tile. */
static void meet(const forward *self, room *r, int64_t batch, int64_t head, int64_t first, int64_t panel, int64_t key,
                 int64_t keys, const od_matrix *k, const od_matrix *v) {
    const od_attention_call *a = &self->a;
    const od_tile_kernels *tile = &od_chosen->tile;
    const int64_t query = first + panel * OD_PANEL, rows = od_attention_seen(a, query, key, keys);
    if (rows == 0)
        return;
    float *out = r->out + panel * a->value_width * OD_PANEL;
    tile->product(r->scores, OD_PANEL, k->base, k->row, k->col, r->q + panel * a->width * OD_PANEL, OD_PANEL, rows,
                  a->width, 0);
    od_attention_mask(a, batch, head, query, a->length - query, key, r->scores, OD_PANEL, rows, r->mask);
    tile->attend(r->scores, rows, r->max + panel * OD_PANEL, r->sum + panel * OD_PANEL, r->factor);
    if (key > 0)
        tile->scale(out, a->value_width, r->factor);
    tile->product(out, OD_PANEL, v->base, v->col, v->row, r->scores, OD_PANEL, a->value_width, rows, key > 0);
}

/* Rows that saw nothing give 0, and -infinity as log_sum. */
static void finish(const forward *self, room *r, int64_t batch, int64_t head, int64_t first, int64_t count) {
    const rl_operand *log_sum = self->log_sum;
    char *sums = od_attention_at(log_sum, 4, batch, head, first);
    for (int64_t i = 0; i < OD_TILE; i++) {
        if (i < count)
            *(float *)(void *)(sums + i * log_sum->stride[2] * 4) = (float)((double)r->max[i] + log((double)r->sum[i]));
        r->sum[i] = r->sum[i] == 0.0f ? 0.0f : 1.0f / r->sum[i];
    }
    od_attention_store(&self->a, self->out, batch, head, first, count, self->a.value_width, r->out, r->sum, r->line);
}

static void run_tile(void *context, int thread, int64_t unit) {
    const forward *self = context;
    const od_attention_call *a = &self->a;
    const int64_t first = unit % self->tiles * OD_TILE, head = unit / self->tiles % a->heads,
                  batch = unit / self->tiles / a->heads;
    const int64_t count = od_at_most(OD_TILE, a->length - first), panels = (count + OD_PANEL - 1) / OD_PANEL;
    const int64_t seen = a->causal ? od_at_most(a->keys, first + count) : a->keys;
    room r;
    lay_out(a, (float *)(void *)self->scratch + thread * self->per_thread, &r);
    for (int i = 0; i < OD_TILE; i++) {
        r.max[i] = -INFINITY;
        r.sum[i] = 0.0f;
    }
    od_attention_panels(a, a->q, batch, head, first, count, a->width, a->scale, r.q, r.line);
    for (int64_t key = 0; key < seen; key += KEYS) {
        const int64_t keys = od_at_most(KEYS, seen - key);
        const od_matrix k = od_attention_rows(a, a->k, batch, head, key, keys, a->width, r.k);
        const od_matrix v = od_attention_rows(a, a->v, batch, head, key, keys, a->value_width, r.v);
        for (int64_t panel = 0; panel < panels; panel++)
            meet(self, &r, batch, head, first, panel, key, keys, &k, &v);
    }
    finish(self, &r, batch, head, first, count);
}

rl_status od_attention(rl_backend_stream *stream, const void *what) {
    const rl_attention_args *args = what;
    (void)stream;
    forward self = {.a = OD_ATTENTION_CALL(args),
                    .out = &args->out,
                    .log_sum = &args->log_sum,
                    .tiles = (args->q_length + OD_TILE - 1) / OD_TILE};
    const double work = (double)args->q_length * (double)args->k_length * (double)(args->width + args->value_width);
    const int64_t units = args->batch * args->heads * self.tiles;
    const int threads = od_threads(units, (double)(args->batch * args->heads) * work * (args->causal ? 0.015 : 0.03));
    room none;
    self.per_thread = lay_out(&self.a, NULL, &none);
    self.scratch = od_host->scratch((size_t)(threads * self.per_thread) * sizeof(float));
    if (self.scratch == NULL)
        return od_host->fail(RL_OUT_OF_MEMORY, "attention: no scratch memory for %d tiles", threads);
    od_run(threads, units, run_tile, &self);
    return RL_OK;
}

int od_supports_attention(rl_backend_device *device, const void *what, const char **out_reason) {
    const rl_attention_args *args = what;
    (void)device;
    const int good = args->dtype == RL_F32 || args->dtype == RL_F16 || args->dtype == RL_BF16;
    *out_reason = good ? "there are no keys" : "attention is for float32 and narrower";
    return good && args->k_length > 0;
}
