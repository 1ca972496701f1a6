/* SPDX-License-Identifier: Apache-2.0 */
/* Primitive 1: map. Jobs are cut into tiles, runs of tiles into units, and units go to threads. */
#include "backend.h"
#include "runner.h"
#include "space.h"

#define UNIT_COST 10000.0 /* ns */
/* Elements of a tile that goes past the caches: so short that the processor reads the next while this one is written.
 * add of 4 million floats on 2 cores: 0.55 ms, with tiles of 2048 0.80 ms, with tiles of 128 0.79 ms. */
#define STREAMED_TILE 512

/* A job made ready: outputs, inputs and counts are operands of the space, in this order. */
typedef struct job_space {
    od_space space;
    int outer;       /* leading dimensions that tiles do not reach into */
    od_box box, all; /* of a full tile; of the dimensions that tiles cut */
    int64_t tiles[3], n_tiles;
    int past_caches; /* see od_runner_tile */
} job_space;

typedef struct map_call {
    const rl_map_args *args;
    const od_plan *plan;
} map_call;

static void add_counts(od_space *space, const od_plan *plan, const rl_map_job *job) {
    for (int i = 0; i < plan->n_indices; i++) {
        int64_t stride[RL_MAX_DIMS] = {0}, step = 1;
        if (plan->indices[i].dim >= 0)
            stride[plan->indices[i].dim] = 1;
        for (int64_t d = job->ndim - 1; d >= 0 && plan->indices[i].dim < 0; step *= job->shape[d--])
            stride[d] = step;
        od_space_add(space, stride, 1);
    }
}

/* Where some input runs along another dimension than the output, that dimension is moved next to the innermost, and
 * tiles become squares, so that both read and write whole cache lines. */
static int bring_across(od_space *s, const od_plan *plan) {
    const int last = s->ndim - 1;
    for (int i = plan->n_outputs; i < plan->n_outputs + plan->n_inputs; i++) {
        const int64_t bytes = plan->inputs[i - plan->n_outputs].bytes;
        if (s->stride[i][last] == 0 || s->stride[i][last] == bytes)
            continue;
        for (int d = 0; d < last; d++) {
            if (s->stride[i][d] != bytes || s->shape[d] < 4 || s->shape[last] < 4)
                continue;
            const int64_t extent = s->shape[d];
            for (int e = d; e + 1 < last; e++)
                s->shape[e] = s->shape[e + 1];
            s->shape[last - 1] = extent;
            for (int o = 0; o < s->n_operands; o++) {
                const int64_t stride = s->stride[o][d];
                for (int e = d; e + 1 < last; e++)
                    s->stride[o][e] = s->stride[o][e + 1];
                s->stride[o][last - 1] = stride;
            }
            return 1;
        }
    }
    return 0;
}

/* What a job touches, against three quarters of the last cache: then its results would push each other out. */
static int is_past_caches(const od_plan *plan, int64_t count) {
    double bytes = 0.0;
    for (int i = 0; i < plan->n_inputs; i++)
        bytes += plan->inputs[i].bytes;
    for (int k = 0; k < plan->n_outputs; k++)
        bytes += plan->outputs[k].bytes;
    return bytes * (double)count > 0.75 * (double)od_cache_bytes;
}

static void cut(job_space *self, const od_plan *plan) {
    od_space *s = &self->space;
    const int across = s->ndim > 1 && bring_across(s, plan);
    const int n = s->ndim;
    const int64_t tile = self->past_caches ? od_at_most(plan->tile, STREAMED_TILE) : plan->tile;
    self->all = (od_box){n > 2 ? s->shape[n - 3] : 1, n > 1 ? s->shape[n - 2] : 1, s->shape[n - 1]};
    self->outer = n > 3 ? n - 3 : 0;
    self->box = (od_box){1, 1, od_at_most(self->all.cols, across ? 32 : tile)};
    if (across || self->box.cols == self->all.cols)
        self->box.rows = od_at_most(self->all.rows, tile / self->box.cols);
    if (self->box.rows == self->all.rows && self->box.cols == self->all.cols)
        self->box.planes = od_at_most(self->all.planes, tile / (self->box.rows * self->box.cols));
    self->tiles[2] = (self->all.cols + self->box.cols - 1) / self->box.cols;
    self->tiles[1] = (self->all.rows + self->box.rows - 1) / self->box.rows;
    self->tiles[0] = (self->all.planes + self->box.planes - 1) / self->box.planes;
    self->n_tiles = self->tiles[0] * self->tiles[1] * self->tiles[2];
    for (int d = 0; d < self->outer; d++)
        self->n_tiles *= s->shape[d];
}

static void prepare(job_space *self, const od_plan *plan, const rl_map_job *job) {
    od_space_init(&self->space, job->ndim, job->shape, ~0u);
    if (self->space.count == 0)
        return;
    for (int k = 0; k < plan->n_outputs; k++)
        od_space_add(&self->space, job->outputs[k].stride, plan->outputs[k].bytes);
    for (int i = 0; i < plan->n_inputs; i++)
        od_space_add(&self->space, job->inputs[i].stride, plan->inputs[i].bytes);
    if (plan->n_indices)
        add_counts(&self->space, plan, job);
    od_space_finish(&self->space, 1);
    self->past_caches = is_past_caches(plan, self->space.count);
    cut(self, plan);
}

static void set_views(od_runner *r, const job_space *self, const od_plan *plan) {
    const od_space *s = &self->space;
    const int n = s->ndim;
    for (int k = 0; k < plan->n_outputs + plan->n_inputs; k++) {
        od_view *v = k < plan->n_outputs ? &r->out[k] : &r->in[k - plan->n_outputs];
        *v = (od_view){NULL, n > 2 ? s->stride[k][n - 3] : 0, n > 1 ? s->stride[k][n - 2] : 0, s->stride[k][n - 1]};
    }
    for (int i = 0; i < plan->n_indices; i++) {
        const int k = plan->n_outputs + plan->n_inputs + i;
        r->index[i] =
            (od_count){0, n > 2 ? s->stride[k][n - 3] : 0, n > 1 ? s->stride[k][n - 2] : 0, s->stride[k][n - 1]};
    }
}

static void run_tiles(od_runner *r, const job_space *self, const rl_map_job *job, int64_t first, int64_t end) {
    const od_plan *plan = r->plan;
    const od_space *s = &self->space;
    set_views(r, self, plan);
    for (int64_t t = first; t < end; t++) {
        const int64_t j = t % self->tiles[2], i = t / self->tiles[2] % self->tiles[1],
                      p = t / (self->tiles[2] * self->tiles[1]) % self->tiles[0],
                      o = t / (self->tiles[2] * self->tiles[1] * self->tiles[0]);
        const int64_t p0 = p * self->box.planes, i0 = i * self->box.rows, j0 = j * self->box.cols;
        for (int k = 0; k < plan->n_outputs + plan->n_inputs; k++) {
            const int is_out = k < plan->n_outputs;
            od_view *v = is_out ? &r->out[k] : &r->in[k - plan->n_outputs];
            const rl_operand *operand = is_out ? &job->outputs[k] : &job->inputs[k - plan->n_outputs];
            v->base = od_address(operand) + od_space_offset(s, k, self->outer, o) + p0 * v->plane_stride +
                      i0 * v->row_stride + j0 * v->col_stride;
        }
        for (int n = 0; n < plan->n_indices; n++) {
            od_count *c = &r->index[n];
            c->start = od_space_offset(s, plan->n_outputs + plan->n_inputs + n, self->outer, o) + p0 * c->plane_stride +
                       i0 * c->row_stride + j0 * c->col_stride;
        }
        od_runner_tile(r,
                       (od_box){od_at_most(self->box.planes, self->all.planes - p0),
                                od_at_most(self->box.rows, self->all.rows - i0),
                                od_at_most(self->box.cols, self->all.cols - j0)},
                       0);
    }
}

static int64_t count_of(const rl_map_job *job) {
    int64_t count = 1;
    for (int64_t d = 0; d < job->ndim; d++)
        count *= job->shape[d];
    return count;
}

/* The stride of an operand whose dimensions are one run of elements; 0 where they are not. */
static int64_t run_stride(const rl_map_job *job, const rl_operand *operand) {
    int64_t d = job->ndim - 1, count = job->shape[d];
    for (; d > 0; count *= job->shape[--d])
        if (operand->stride[d - 1] != operand->stride[job->ndim - 1] * count)
            return 0;
    return operand->stride[job->ndim - 1];
}

/* The usual small case: one run of elements within one tile. */
static int run_at_once(const od_plan *plan, const rl_map_job *job) {
    if (plan->n_indices != 0)
        return 0;
    int64_t n = 1;
    for (int64_t d = 0; d < job->ndim; d++)
        n *= job->shape[d];
    if (n == 0)
        return 1;
    if (n > plan->tile)
        return 0;
    od_runner r;
    for (int k = 0; k < plan->n_outputs + plan->n_inputs; k++) {
        const int is_out = k < plan->n_outputs;
        const rl_operand *operand = is_out ? &job->outputs[k] : &job->inputs[k - plan->n_outputs];
        const int64_t stride = job->ndim == 0 ? 1 : job->ndim == 1 ? operand->stride[0] : run_stride(job, operand);
        if (stride == 0 && job->ndim > 1)
            return 0;
        const int64_t bytes = is_out ? plan->outputs[k].bytes : plan->inputs[k - plan->n_outputs].bytes;
        *(is_out ? &r.out[k] : &r.in[k - plan->n_outputs]) = (od_view){od_address(operand), 0, 0, stride * bytes};
    }
    od_runner_init(&r, plan, job->scalars);
    od_runner_tile(&r, (od_box){1, 1, n}, 0);
    return 1;
}

static int64_t tiles_per_unit(const od_plan *plan, const job_space *self) {
    const double tile = (double)(self->box.planes * self->box.rows * self->box.cols) * plan->cost;
    const int64_t n = (int64_t)(UNIT_COST / tile);
    return n < 1 ? 1 : n;
}

typedef struct job_run {
    const map_call *call;
    const rl_map_job *job;
    job_space space;
    int64_t per_unit;
} job_run;

static void run_unit(void *context, int thread, int64_t unit) {
    const job_run *self = context;
    (void)thread;
    od_runner r;
    od_runner_init(&r, self->call->plan, self->job->scalars);
    r.past_caches = self->space.past_caches;
    const int64_t first = unit * self->per_unit;
    run_tiles(&r, &self->space, self->job, first, od_at_most(first + self->per_unit, self->space.n_tiles));
    if (self->space.past_caches)
        self->call->plan->kernels->stream_end();
}

static void run_job(const map_call *call, const rl_map_job *job, int alone) {
    if (run_at_once(call->plan, job))
        return;
    job_run run = {.call = call, .job = job};
    prepare(&run.space, call->plan, job);
    if (run.space.space.count == 0)
        return;
    run.per_unit = tiles_per_unit(call->plan, &run.space);
    const int64_t units = (run.space.n_tiles + run.per_unit - 1) / run.per_unit;
    const int threads = alone ? 1 : od_threads(units, (double)run.space.space.count * call->plan->cost);
    if (threads == 1)
        run.per_unit = run.space.n_tiles;
    od_run(threads, threads == 1 ? 1 : units, run_unit, &run);
}

/* Many jobs: big ones by all threads, one after the other; then the small ones, a thread each. */
#define SMALL_COST 40000.0
static int is_small(const map_call *call, int64_t j) {
    return (double)count_of(&call->args->jobs[j]) * call->plan->cost < SMALL_COST;
}
static void run_small(void *context, int thread, int64_t j) {
    const map_call *call = context;
    (void)thread;
    if (is_small(call, j))
        run_job(call, &call->args->jobs[j], 1);
}

rl_status od_map(rl_backend_stream *stream, const rl_map_args *args) {
    (void)stream;
    const map_call call = {args, od_plan_of(args->program)};
    if (call.plan == NULL)
        return RL_OUT_OF_MEMORY;
    if (args->n_jobs == 1) {
        run_job(&call, args->jobs, 0);
        return RL_OK;
    }
    double cost = 0.0;
    for (uint32_t j = 0; j < args->n_jobs; j++) {
        if (is_small(&call, j))
            cost += (double)count_of(&args->jobs[j]) * call.plan->cost + 100.0;
        else
            run_job(&call, &args->jobs[j], 0);
    }
    od_run(od_threads(args->n_jobs, cost), args->n_jobs, run_small, (void *)(uintptr_t)&call);
    return RL_OK;
}
