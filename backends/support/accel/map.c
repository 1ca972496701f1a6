/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Primitive 1, map: a kernel written for a program and a class of layouts.
 *
 * All operands of one dimension with strides 0 and 1 (flat): an item is a vector of elements; several such jobs go in
 * one launch. Else (rows): an item is a vector along the last dimension, where operands have stride 0, 1 or another
 * one, known to the kernel, and any strides along the others. A thread of its own walks along a row and divides once a
 * row.
 */
#include <string.h>

#include "generate.h"
#include "interpreter.h"

#define MOST_JOBS 8
#define MOST_ARGS 62
#define MOST_PARAMS (2 * RL_MAX_INSNS + (RL_LAYOUT_OPERANDS + 1) * (RL_MAX_DIMS + 1) + 128)

enum { WORD_DIMS, WORD_JOBS, WORD_NARROW, WORD_BY_MEMORY, WORD_MODES }; /* DIMS 0: flat */

static int real_operands(const rl_program *program) {
    return program->n_inputs + program->n_outputs;
}

static int all_operands(const rl_program *program) {
    return real_operands(program) + rl_generate_pseudo_count(program);
}

/* Parameters: 8-byte numbers in this order.
 *   total (jobs), offset (jobs, operands), slot (jobs, slots + 1); where not flat, shape (dims), stride (operands,
 * dims)
 */
static void write_params(rl_text_buffer *out, const rl_program *program, int dims, int jobs) {
    int n = all_operands(program), slots = rl_source_slots(program, NULL, NULL);
    rl_text_put(out, "typedef struct {\nrl_long total[%d], offset[%d][%d], slot[%d][%d];\n", jobs, jobs, n, jobs,
                slots + 1);
    if (dims)
        rl_text_put(out, "rl_long shape[%d], stride[%d][%d];\n", dims, n, dims);
    rl_text_put_all(out, "} RL_LOCAL(params);\n");
}

static size_t params_bytes(const rl_program *program, int dims, int jobs) {
    int n = all_operands(program), slots = rl_source_slots(program, NULL, NULL);
    return 8 * (size_t)(jobs * (1 + n + slots + 1) + dims + n * dims);
}

static void write_arguments(rl_text_buffer *out, const rl_program *program, int jobs, int by_memory) {
    rl_text_put_all(out, "RL_KERNEL(");
    for (int j = 0; j < jobs; j++) {
        for (int k = 0; k < program->n_inputs; k++)
            rl_text_put(out, "const RL_GLOBAL rl_T_%s *in%d_%d, ", rl_source_dtype(program->input_dtype[k]), k, j);
        for (int k = 0; k < program->n_outputs; k++)
            rl_text_put(out, "RL_GLOBAL rl_T_%s *out%d_%d, ", rl_source_dtype(program->output_dtype[k]), k, j);
    }
    rl_generate_params(out, by_memory);
}

/* in0, out0, ... of the job at hand, at its first element. */
static void write_pointers(rl_text_buffer *out, const rl_program *program, int jobs) {
    for (int k = 0; k < real_operands(program); k++) {
        int is_in = k < program->n_inputs, number = is_in ? k : k - program->n_inputs;
        uint32_t dtype = is_in ? program->input_dtype[number] : program->output_dtype[number];
        const char *kind = is_in ? "in" : "out";
        rl_text_put(out, "%sRL_GLOBAL rl_T_%s *%s%d = (", is_in ? "const " : "", rl_source_dtype(dtype), kind, number);
        for (int j = 0; j < jobs - 1; j++)
            rl_text_put(out, "job == %d ? %s%d_%d : ", j, kind, number, j);
        rl_text_put(out, "%s%d_%d) + p.offset[job][%d];\n", kind, number, jobs - 1, k);
    }
}

static void write_body(rl_text_buffer *out, const rl_program *program, const rl_walk *walk) {
    rl_generate_loads(out, program, "", walk);
    rl_generate_pseudo(out, program, real_operands(program), walk);
    rl_source_program(out, program, "", "p.slot[job]");
    rl_generate_stores(out, program, "", program->n_inputs, walk);
}

static void write_flat(rl_text_buffer *out, const rl_program *program, const rl_accel_spec *spec) {
    int jobs = spec->word[WORD_JOBS];
    rl_walk walk = {.modes = spec->word + WORD_MODES, .column = "i"};
    rl_text_put(out, "for (int job = 0; job < %d; job++) {\nconst rl_long total = p.total[job];\n", jobs);
    write_pointers(out, program, jobs);
    rl_text_put_all(out, "RL_FOR_ITEMS(i, total, RL_WIDTH) {\nconst int n = (int)rl_least(total - i, RL_WIDTH);\n");
    write_body(out, program, &walk);
    rl_text_put_all(out, "}\n}\n");
}

static void write_rows(rl_text_buffer *out, const rl_program *program, const rl_accel_spec *spec) {
    int dims = spec->word[WORD_DIMS], n = all_operands(program);
    rl_walk walk = {.modes = spec->word + WORD_MODES, .at = "at", .column = "j", .stride = "p.stride", .dims = dims};
    rl_text_put(out,
                "const int job = 0;\nconst rl_long inner = p.shape[%d];\n"
                "const rl_long vectors = (inner + RL_WIDTH - 1) / RL_WIDTH;\n"
                "rl_long row = -1, column = 0, at[%d];\n",
                dims - 1, n);
    write_pointers(out, program, 1);
    rl_text_put_all(out, "RL_FOR_ITEMS(t, p.total[0], 1) {\n"
                         "if (RL_GROUP > 1 || row < 0 || column >= vectors) {\n"
                         "row = (rl_long)((RL_UINDEX)t / (RL_UINDEX)vectors);\ncolumn = t - row * vectors;\n");
    rl_generate_decode(out, "RL_UINDEX", "at", NULL, "row", "p.shape", "p.stride", dims - 1, n);
    rl_text_put_all(out, "}\nconst rl_long j = column * RL_WIDTH;\n"
                         "const int n = (int)rl_least(inner - j, RL_WIDTH);\n");
    write_body(out, program, &walk);
    rl_text_put_all(out, "column++;\n}\n");
}

static void write_map(rl_text_buffer *out, const rl_accel *accel, const rl_accel_spec *spec) {
    const rl_program *program = spec->program[0];
    int dims = spec->word[WORD_DIMS], jobs = spec->word[WORD_JOBS];
    (void)accel;
    rl_text_put(out, "#define RL_UINDEX %s\n", spec->word[WORD_NARROW] ? "rl_uint" : "rl_ulong");
    write_params(out, program, dims, jobs);
    write_arguments(out, program, jobs, spec->word[WORD_BY_MEMORY]);
    (dims ? write_rows : write_flat)(out, program, spec);
    rl_generate_params_end(out, spec->word[WORD_BY_MEMORY]);
    rl_text_put_all(out, "#undef RL_UINDEX\n");
}

static const rl_accel_family map_family = {.name = "map", .write = write_map};
static const rl_accel_family random_map_family = {.name = "map", .write = write_map, .random = 1};

/* Launch ------------------------------------------------------------------------------------------------------- */

/* A single element is a vector of one: a kernel of its own would be a waste. */
static void as_vector(rl_layout *layout) {
    if (layout->dims)
        return;
    layout->dims = 1;
    layout->shape[0] = 1;
    for (int k = 0; k < layout->n; k++)
        layout->stride[k][0] = 1;
}

static void lay_out(const rl_accel *self, const rl_program *program, const rl_map_job *job, rl_layout *out) {
    rl_generate_map_layout(out, program, job);
    rl_layout_lengthen(out, (int64_t)self->traits.width);
    as_vector(out);
}

static int is_flat(const rl_layout *layout) {
    for (int k = 0; k < layout->n; k++)
        if (rl_layout_inner(layout, k) == 2)
            return 0;
    return layout->dims <= 1;
}

/* Kernels are written for these numbers of dimensions; a layout of fewer has leading ones of size 1. */
static int round_dims(const rl_layout *layout) {
    static const int8_t up[RL_MAX_DIMS + 1] = {2, 2, 2, 3, 4, 6, 6, 8, 8, 12, 12, 12, 12};
    int dims = up[layout->dims];
    return rl_layout_total(layout) > RL_GENERATE_LITTLE ? dims : dims <= 4 ? 4 : 12;
}

/* One launch: jobs that are flat with the same modes, or a single one. */
typedef struct map_launch {
    const rl_program *program;
    const rl_map_job *const *jobs;
    const rl_layout *layout; /* of the first job */
    int n_jobs, room, dims;  /* room: jobs that the kernel takes; dims: its dimensions, 0 where flat */
    rl_accel_spec spec;
    int64_t params[MOST_PARAMS];
    rl_accel_arg args[MOST_ARGS + 2];
    unsigned n_args;
    int64_t items;
} map_launch;

static int64_t elements_of(const rl_map_job *job) {
    int64_t total = 1;
    for (int64_t d = 0; d < job->ndim; d++)
        total *= job->shape[d];
    return total;
}

static void specify(const rl_accel *self, map_launch *out) {
    rl_accel_spec *spec = &out->spec;
    size_t bytes = params_bytes(out->program, out->dims, out->room);
    spec->family = out->program->flags & RL_PROGRAM_RANDOM ? &random_map_family : &map_family;
    spec->program[0] = out->program;
    spec->word[WORD_DIMS] = out->dims;
    spec->word[WORD_JOBS] = out->room;
    spec->word[WORD_NARROW] = out->dims == 0 || rl_layout_narrow(out->layout);
    spec->word[WORD_BY_MEMORY] =
        bytes + 8 * (size_t)(real_operands(out->program) * out->room) > self->traits.param_bytes;
    rl_generate_modes(out->layout, out->dims && rl_layout_total(out->layout) <= RL_GENERATE_LITTLE,
                      spec->word + WORD_MODES);
}

/* The buffers of the kernel's j-th job, and its offsets, slots and total; where there are fewer jobs, of nothing. */
static void add_job(rl_backend_stream *stream, map_launch *self, int j) {
    const rl_program *program = self->program;
    const rl_map_job *job = self->jobs[j < self->n_jobs ? j : 0];
    int n = all_operands(program), slots = rl_source_slots(program, NULL, NULL) + 1;
    int64_t *total = self->params, *offset = total + self->room + j * n;
    int64_t *slot = total + self->room + self->room * n + j * slots;
    for (int k = 0; k < real_operands(program); k++) {
        int is_in = k < program->n_inputs, number = is_in ? k : k - program->n_inputs;
        const rl_operand *operand = is_in ? &job->inputs[number] : &job->outputs[number];
        self->args[self->n_args++] = rl_accel_buffer_of(stream, operand);
        offset[k] = rl_accel_offset(operand, is_in ? program->input_dtype[number] : program->output_dtype[number]);
    }
    if (j < self->n_jobs) {
        total[j] = elements_of(job);
        rl_source_slots(program, job->scalars, slot);
    }
}

/* Shape and strides, for a kernel of rows; its total is that of vectors. */
static void add_rows(map_launch *self, int64_t width) {
    const rl_layout *layout = self->layout;
    int dims = self->dims, n = all_operands(self->program), skip = dims - layout->dims;
    int64_t *shape = self->params + 1 + n + rl_source_slots(self->program, NULL, NULL) + 1, *stride = shape + dims;
    int64_t inner = layout->dims ? layout->shape[layout->dims - 1] : 1;
    for (int d = 0; d < dims; d++) {
        shape[d] = d < skip ? 1 : layout->shape[d - skip];
        for (int k = 0; k < n; k++)
            stride[k * dims + d] = d < skip ? 0 : layout->stride[k][d - skip];
    }
    self->items = self->params[0] = self->params[0] / inner * ((inner + width - 1) / width);
}

static void count_vectors(map_launch *self, int64_t width) {
    int64_t most = 0;
    for (int j = 0; j < self->n_jobs; j++)
        most = self->params[j] > most ? self->params[j] : most;
    self->items = (most + width - 1) / width;
}

/* Whether the interpreter is to be asked, slow as it is. */
static int is_small(const rl_accel *self, const rl_map_job *const *jobs, int n_jobs) {
    int64_t all = 0;
    for (int j = 0; j < n_jobs; j++)
        all += elements_of(jobs[j]);
    return all <= RL_INTERPRETER_MOST || self->traits.interpret == RL_ACCEL_INTERPRET_ALWAYS;
}

static rl_status interpret(rl_backend_stream *stream, const map_launch *self) {
    rl_status status = RL_OK;
    for (int j = 0; j < self->n_jobs && !status; j++)
        status = rl_interpreter_map(stream, self->program, self->jobs[j]);
    return status;
}

static rl_status launch(rl_backend_stream *stream, const rl_program *program, const rl_map_job *const *jobs,
                        const rl_layout *layout, int n_jobs, int room, int dims) {
    rl_accel *accel = rl_accel_of(stream);
    int64_t width = (int64_t)accel->traits.width;
    map_launch self = {
        .program = program, .jobs = jobs, .layout = layout, .n_jobs = n_jobs, .room = room, .dims = dims};
    rl_accel_kernel *kernel = NULL;
    specify(accel, &self);
    rl_status status = rl_accel_find_ready(accel, "map", &self.spec, &kernel);
    if (!status && !kernel && is_small(accel, jobs, n_jobs) && rl_interpreter_takes(program))
        return interpret(stream, &self);
    if (!status && !kernel)
        status = rl_accel_find(accel, "map", &self.spec, &kernel);
    if (status)
        return status;
    for (int j = 0; j < room; j++)
        add_job(stream, &self, j);
    if (dims)
        add_rows(&self, width);
    else
        count_vectors(&self, width);
    return rl_accel_send(stream, "map", kernel, self.args, self.n_args, self.params, params_bytes(program, dims, room),
                         self.spec.word[WORD_BY_MEMORY],
                         rl_accel_groups(accel, (uint64_t)self.items, program->n_insns * (uint64_t)width));
}

/* Whether flat layouts a and b are for one kernel. */
static int alike(const rl_layout *a, const rl_layout *b) {
    for (int k = 0; k < a->n; k++)
        if (rl_layout_inner(a, k) != rl_layout_inner(b, k))
            return 0;
    return 1;
}

static int jobs_room(const rl_accel *self, const rl_program *program) {
    int room = MOST_JOBS, real = real_operands(program);
    while (room > 1 && (room * real > MOST_ARGS ||
                        params_bytes(program, 0, room) + 8 * (size_t)(room * real) > self->traits.param_bytes))
        room /= 2;
    return room;
}

rl_status rl_accel_map(rl_backend_stream *stream, const rl_map_args *args) {
    rl_accel *self = rl_accel_of(stream);
    const rl_program *program = args->program;
    int most = args->n_jobs > 1 ? jobs_room(self, program) : 1, held = 0;
    const rl_map_job *jobs[MOST_JOBS];
    rl_layout layout, first;
    rl_status status = RL_OK;
    for (uint32_t j = 0; j < args->n_jobs && !status; j++) {
        const rl_map_job *job = &args->jobs[j];
        if (elements_of(job) == 0)
            continue;
        lay_out(self, program, job, &layout);
        int flat = is_flat(&layout);
        if (held && (!flat || held == most || !alike(&layout, &first))) {
            status = launch(stream, program, jobs, &first, held, held > 1 ? most : 1, 0);
            held = 0;
        }
        if (!flat && !status) {
            status = launch(stream, program, &job, &layout, 1, 1, round_dims(&layout));
        } else if (flat) {
            if (!held)
                first = layout;
            jobs[held++] = job;
        }
    }
    if (held && !status)
        status = launch(stream, program, jobs, &first, held, held > 1 ? most : 1, 0);
    return status;
}
