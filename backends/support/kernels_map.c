/* SPDX-License-Identifier: Apache-2.0 */
/* Primitive 1, map: each job's elements in runs through the interpreter. */
#include "kernels_walk.h"

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* Row-major number of the element at `index`. */
static uint64_t element_number(int64_t ndim, const int64_t *shape, const int64_t *index) {
    uint64_t number = 0;
    for (int64_t d = 0; d < ndim; d++)
        number = number * (uint64_t)shape[d] + (uint64_t)index[d];
    return number;
}

static uint64_t row_major_stride(int64_t ndim, const int64_t *shape, int inner) {
    uint64_t stride = 1;
    for (int64_t d = ndim - 1; d > inner; d--)
        stride *= (uint64_t)shape[d];
    return inner < 0 ? 0 : stride;
}

static void run_span(const rl_program *program, const rl_map_job *job, rl_interp_span *span, void *memory) {
    const void *values[RL_MAX_OUTPUTS];
    rl_reg types[RL_MAX_OUTPUTS];
    for (int k = 0; k < program->n_inputs; k++)
        span->input[k] =
            rl_at(&job->inputs[k], rl_interp_dtype_bytes(program->input_dtype[k]), job->ndim, span->index, 0);
    rl_interp_run(program, job->scalars, span, memory, values, types);
    for (int k = 0; k < program->n_outputs; k++) {
        uint32_t dtype = program->output_dtype[k];
        void *to = rl_at(&job->outputs[k], rl_interp_dtype_bytes(dtype), job->ndim, span->index, 0);
        int64_t stride = span->inner < 0 ? 1 : job->outputs[k].stride[span->inner];
        rl_interp_store(dtype, to, stride, span->count, types[k], values[k]);
    }
}

static void run_job(const rl_program *program, const rl_map_job *job, void *memory) {
    int inner = rl_inner_dim(job->ndim, job->shape);
    int64_t length = inner < 0 ? 1 : job->shape[inner];
    rl_interp_span span = {.inner = inner, .element_step = row_major_stride(job->ndim, job->shape, inner)};
    for (int k = 0; k < program->n_inputs; k++)
        span.stride[k] = inner < 0 ? 1 : job->inputs[k].stride[inner];
    if (rl_numel(job->ndim, job->shape) == 0)
        return;
    do {
        for (int64_t first = 0; first < length; first += RL_INTERP_RUN) {
            if (inner >= 0)
                span.index[inner] = first;
            span.count = least(length - first, RL_INTERP_RUN);
            span.element = element_number(job->ndim, job->shape, span.index);
            run_span(program, job, &span, memory);
        }
        if (inner >= 0)
            span.index[inner] = 0;
    } while (rl_next_index(job->ndim, job->shape, inner < 0 ? 0 : 1u << inner, span.index));
}

rl_status rl_kernel_map(const rl_host *host, const rl_map_args *args) {
    void *memory = rl_scratch(host, rl_interp_bytes(args->program), "map");
    if (!memory)
        return RL_OUT_OF_MEMORY;
    for (uint32_t j = 0; j < args->n_jobs; j++)
        run_job(args->program, &args->jobs[j], memory);
    return RL_OK;
}
