/* SPDX-License-Identifier: Apache-2.0 */
#include "runner.h"

#include <string.h>

static inline char *block(od_runner *self, uint16_t value) {
    return self->tile + (int64_t)self->plan->block_of[value] * self->plan->block_bytes;
}

void od_runner_forget(od_runner *self) {
    for (int i = 0; i < self->plan->n_inputs; i++)
        self->loaded[i] = NULL;
}

void od_runner_init(od_runner *self, const od_plan *plan, const rl_number *scalars) {
    self->plan = plan;
    self->scalars = scalars;
    self->spread = 0;
    self->past_caches = 0;
    self->loaded_box = (od_box){0, 0, 0};
    for (int s = 0; s < plan->n_steps; s++)
        self->value[plan->steps[s].out] = block(self, plan->steps[s].out);
    for (int i = 0; i < plan->n_scalars; i++)
        self->value[plan->scalars[i].value] = block(self, plan->scalars[i].value);
    for (int i = 0; i < plan->n_indices; i++)
        self->value[plan->indices[i].value] = block(self, plan->indices[i].value);
    for (int i = 0; i < plan->n_pairs; i++)
        memcpy(&self->value[plan->pairs[i].value], &(const rl_number *){&scalars[plan->pairs[i].scalar]},
               sizeof(char *));
    od_runner_forget(self);
}

static inline int is_packed(const od_view *v, od_box box, int64_t bytes) {
    return (v->col_stride == bytes || box.cols == 1) && (v->row_stride == box.cols * bytes || box.rows == 1) &&
           (v->plane_stride == box.rows * box.cols * bytes || box.planes == 1);
}

static void load(od_runner *self, int i, od_box box) {
    const od_plan_input *in = &self->plan->inputs[i];
    const od_view *v = &self->in[i];
    char *to = block(self, in->value);
    const int64_t plane = box.rows * box.cols * od_register_bytes(od_register((rl_dtype)in->dtype));
    self->value[in->value] = to;
    if (self->loaded[i] == v->base)
        return;
    self->loaded[i] = v->base;
    for (int64_t p = 0; p < box.planes; p++)
        in->load(to + p * plane, v->base + p * v->plane_stride, box.rows, box.cols, v->row_stride, v->col_stride);
}

static int is_in_place(const od_runner *self, int k) {
    for (int i = 0; i < self->plan->n_inputs; i++)
        if (self->in[i].base == self->out[k].base)
            return 1;
    return 0;
}

static void store(od_runner *self, int k, od_box box) {
    const od_plan_output *out = &self->plan->outputs[k];
    const od_view *v = &self->out[k];
    const char *from = self->value[out->value];
    if (self->past_caches && od_is_native((rl_dtype)out->dtype) && is_packed(v, box, out->bytes) &&
        !is_in_place(self, k)) {
        self->plan->kernels->stream(v->base, from, box.planes * box.rows * box.cols * out->bytes);
        return;
    }
    const int64_t plane = box.rows * box.cols * od_register_bytes(od_register((rl_dtype)out->dtype));
    for (int64_t p = 0; p < box.planes; p++)
        out->store(v->base + p * v->plane_stride, from + p * plane, box.rows, box.cols, v->row_stride, v->col_stride);
}

/* An output goes straight to memory, unless an input that is used in place there is read again by a later step. */
static inline int goes_straight(const od_runner *self, int k, od_box box, uint32_t in_place) {
    const od_plan_output *out = &self->plan->outputs[k];
    if (!out->direct || !is_packed(&self->out[k], box, out->bytes))
        return 0;
    for (; in_place != 0; in_place &= in_place - 1) {
        const int i = __builtin_ctz(in_place);
        if (self->in[i].base == self->out[k].base && self->plan->inputs[i].last_use > out->made_by)
            return 0;
    }
    return 1;
}

void od_runner_tile(od_runner *self, od_box box, int keep) {
    const od_plan *plan = self->plan;
    const int64_t n = box.planes * box.rows * box.cols;
    if (box.cols != self->loaded_box.cols || box.rows != self->loaded_box.rows ||
        box.planes != self->loaded_box.planes) {
        self->loaded_box = box;
        od_runner_forget(self);
    }
    if (self->spread < n) {
        self->spread = n;
        for (int i = 0; i < plan->n_scalars; i++)
            plan->kernels->fill[plan->scalars[i].reg](self->value[plan->scalars[i].value],
                                                      self->scalars[plan->scalars[i].scalar], n);
    }
    uint32_t in_place = 0, straight = 0;
    for (int i = 0; i < plan->n_inputs; i++) {
        const od_plan_input *in = &plan->inputs[i];
        if (in->value == OD_NO_VALUE)
            continue;
        if (in->native && is_packed(&self->in[i], box, in->bytes)) {
            self->value[in->value] = self->in[i].base;
            in_place |= 1u << i;
        } else {
            load(self, i, box);
        }
    }
    for (int i = 0; i < plan->n_indices; i++) {
        const od_count *c = &self->index[i];
        int64_t *to = (int64_t *)(void *)self->value[plan->indices[i].value];
        for (int64_t p = 0; p < box.planes; p++, to += box.rows * box.cols)
            plan->kernels->iota(to, c->start + p * c->plane_stride, box.rows, box.cols, c->row_stride, c->col_stride);
    }
    for (int k = 0; k < plan->n_outputs && !keep; k++)
        if (plan->outputs[k].direct) {
            const uint16_t v = plan->outputs[k].value;
            const int yes = goes_straight(self, k, box, in_place) && (!self->past_caches || is_in_place(self, k));
            self->value[v] = yes ? self->out[k].base : block(self, v);
            straight |= (uint32_t)yes << k;
        }
    for (int s = 0; s < plan->n_steps; s++) {
        const od_step *step = &plan->steps[s];
        step->fn(self->value[step->out], self->value[step->a], self->value[step->b], self->value[step->c], n);
    }
    for (int k = 0; k < plan->n_outputs && !keep; k++)
        if (!(straight >> k & 1))
            store(self, k, box);
}
