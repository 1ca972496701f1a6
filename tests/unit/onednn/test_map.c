/* SPDX-License-Identifier: Apache-2.0 */
/* map against the plain kernel: random programs of exact instructions, random shapes and strides, all bytes. */
#include "harness.h"

#include <string.h>

static rl_number scalars[RL_MAX_SCALARS];
static void draw_scalars(void) {
    for (int i = 0; i < 4; i++)
        scalars[i] = i < 2 ? (rl_number){.f = (double)draw_below(100) / 7 - 5} : (rl_number){.i = draw_below(40) - 20};
}

static int64_t draw_shape(int64_t *shape, int64_t limit) {
    const int64_t ndim = draw_below(6);
    int64_t count = 1;
    for (int d = 0; d < ndim; d++) {
        shape[d] = draw_below(8) == 0 ? draw_below(200) : draw_below(30) == 0 ? 0 : 1 + draw_below(7);
        if (count * shape[d] > limit)
            shape[d] = 1;
        count *= shape[d] > 0 ? shape[d] : 1;
    }
    return ndim;
}

typedef struct job_pair {
    int64_t ndim, shape[RL_MAX_DIMS];
    twin_operand *in[RL_MAX_INPUTS], *out[RL_MAX_OUTPUTS];
    rl_operand inputs[2][RL_MAX_INPUTS], outputs[2][RL_MAX_OUTPUTS];
} job_pair;

static void make_job(const rl_program *p, job_pair *job, stride_kind kind) {
    for (int i = 0; i < p->n_inputs; i++)
        job->in[i] = new_operand((rl_dtype)p->input_dtype[i], job->ndim, job->shape, kind);
    for (int k = 0; k < p->n_outputs; k++) {
        job->out[k] = NULL;
        for (int i = 0; i < p->n_inputs && draw_below(3) == 0; i++) { /* in place, where that is allowed */
            int fits = p->input_dtype[i] == p->output_dtype[k];
            for (int j = 0; j < k; j++)
                fits &= job->out[j] != job->in[i];
            for (int d = 0; d < job->ndim; d++)
                fits &= job->in[i]->of[0].stride[d] != 0 || job->shape[d] <= 1;
            if (fits)
                job->out[k] = job->in[i];
        }
        if (job->out[k] == NULL) {
            const stride_kind own = kind == ANY ? (stride_kind)draw_below(3) : kind == BROADCAST ? PACKED : kind;
            job->out[k] = new_operand((rl_dtype)p->output_dtype[k], job->ndim, job->shape, own);
        }
    }
    for (int which = 0; which < 2; which++) {
        for (int i = 0; i < p->n_inputs; i++)
            job->inputs[which][i] = job->in[i]->of[which];
        for (int k = 0; k < p->n_outputs; k++)
            job->outputs[which][k] = job->out[k]->of[which];
    }
}

static void run_jobs(const rl_program *p, job_pair *jobs, int n_jobs) {
    rl_map_job list[2][64];
    assert_true(n_jobs <= 64);
    for (int which = 0; which < 2; which++)
        for (int j = 0; j < n_jobs; j++) {
            rl_map_job *job = &list[which][j];
            *job = (rl_map_job){.ndim = jobs[j].ndim,
                                .inputs = jobs[j].inputs[which],
                                .outputs = jobs[j].outputs[which],
                                .scalars = scalars};
            memcpy(job->shape, jobs[j].shape, sizeof job->shape);
        }
    rl_map_args args = {sizeof args, (uint32_t)n_jobs, p, list[0]};
    assert_int_equal(rl_kernel_map(&host, &args), RL_OK);
    args.jobs = list[1];
    assert_int_equal(backend->map(stream, &args), RL_OK);
    for (int j = 0; j < n_jobs; j++)
        for (int k = 0; k < p->n_outputs; k++)
            assert_twins(jobs[j].out[k], 0, "map");
}

static void random_programs(void) {
    static job_pair jobs[64];
    for (int round = 0; round < 300; round++) {
        const int with_index = (int)draw_below(3) == 0 ? 1 + (int)draw_below(2) : 0;
        const int n_inputs = (int)draw_below(5), n_insns = n_inputs + 6 + (int)draw_below(round % 16 ? 12 : 200);
        draw_scalars();
        job_pair *job = &jobs[0];
        job->ndim = draw_shape(job->shape, 4000);
        const int64_t need = with_index;
        while (job->ndim < need)
            job->shape[job->ndim++] = 1 + draw_below(4);
        rl_program *p = random_program(n_inputs, 1 + (int)draw_below(3), n_insns, with_index);
        make_job(p, job, (stride_kind)draw_below(5));
        run_jobs(p, jobs, 1);
        free_operands();
    }
}

static void many_jobs(void) {
    static job_pair jobs[64];
    for (int round = 0; round < 10; round++) {
        rl_program *p = random_program(3, 2, 16, 0);
        const int n = 1 + (int)draw_below(60);
        draw_scalars();
        for (int j = 0; j < n; j++) {
            jobs[j].ndim = draw_shape(jobs[j].shape, 3000);
            make_job(p, &jobs[j], j % 2 ? ANY : PACKED);
        }
        run_jobs(p, jobs, n);
        free_operands();
    }
}

/* x = x + y, y = x * y at once: what an output overwrites is still wanted by the other. */
static void in_place(void) {
    static job_pair job;
    for (int round = 0; round < 6; round++) {
        const rl_dtype dtype = round % 2 ? RL_F32 : RL_I64;
        const uint8_t reg = round % 2 ? RL_REG_F32 : RL_REG_I64;
        rl_program *p = begin_program();
        const uint8_t x = put_input(p, dtype), y = put_input(p, dtype);
        const uint8_t sum = put(p, (rl_insn){.code = RL_INSN_ADD, .type = reg, .a = x, .b = y});
        const uint8_t product = put(p, (rl_insn){.code = RL_INSN_MUL, .type = reg, .a = x, .b = y});
        put_output(p, sum, dtype);
        put_output(p, product, dtype);
        job.ndim = 1;
        job.shape[0] = round < 2 ? 16 : round < 4 ? 5000 : 400000;
        for (int i = 0; i < 2; i++)
            job.in[i] = job.out[i] = new_operand(dtype, 1, job.shape, PACKED);
        for (int which = 0; which < 2; which++)
            for (int i = 0; i < 2; i++)
                job.inputs[which][i] = job.outputs[which][i] = job.in[i]->of[which];
        run_jobs(p, &job, 1);
        free_operands();
    }
}

/* More than the caches hold: results are streamed past them, at any alignment. */
static void past_the_caches(void) {
    static job_pair job;
    rl_program *p = begin_program();
    const uint8_t x = put_input(p, RL_F32);
    put_output(p, put(p, (rl_insn){.code = RL_INSN_NEG, .type = RL_REG_F32, .a = x}), RL_F32);
    job.ndim = 1;
    job.shape[0] = 3500003;
    job.in[0] = new_operand(RL_F32, 1, job.shape, PACKED);
    job.out[0] = new_operand(RL_F32, 1, job.shape, PACKED);
    for (int which = 0; which < 2; which++) {
        job.inputs[which][0] = job.in[0]->of[which];
        job.inputs[which][0].offset += 4;
        job.outputs[which][0] = job.out[0]->of[which];
        job.outputs[which][0].offset += 8;
    }
    job.shape[0] -= 2;
    run_jobs(p, &job, 1);
}

/* Big enough for several threads and units, in one piece, transposed, and broadcast. */
static void big_jobs(void) {
    static job_pair job;
    for (int round = 0; round < 12; round++) {
        rl_program *p = random_program(2, 1, 10, round % 3 == 0 ? 2 : 0);
        draw_scalars();
        job.ndim = 2;
        job.shape[0] = 200 + draw_below(300);
        job.shape[1] = 200 + draw_below(500);
        make_job(p, &job, (stride_kind)(round % 5));
        run_jobs(p, &job, 1);
        free_operands();
    }
}

/* All ten dtypes to all ten. Values that fit: others have no defined result as integers. */
static void casts(void) {
    for (int from = RL_F32; from <= RL_BOOL; from++)
        for (int to = RL_F32; to <= RL_BOOL; to++)
            for (int by_insn = 0; by_insn < 2; by_insn++) {
                static job_pair job;
                rl_program *p = begin_program();
                uint8_t x = put_input(p, (rl_dtype)from);
                if (by_insn)
                    x = put(p, (rl_insn){.code = RL_INSN_CAST, .type = p->insns[x].type, .dtype = (uint8_t)to, .a = x});
                put_output(p, x, (rl_dtype)to);
                job.ndim = 1;
                job.shape[0] = 1000;
                make_job(p, &job, PACKED);
                const int is_float = from <= RL_BF16, to_integer = to > RL_BF16 && to != RL_BOOL;
                if (is_float && to_integer)
                    for (int i = 0; i < 2; i++) {
                        seed(7);
                        fill_small_integers(job.in[0]->memory->base[i] + 64, (rl_dtype)from, 1000, 100);
                    }
                run_jobs(p, &job, 1);
                free_operands();
            }
}

/* The generator's bits, for numbers in order, permuted and broadcast. */
static void random_numbers(void) {
    static const uint8_t codes[] = {RL_INSN_PHILOX, RL_INSN_UNIFORM, RL_INSN_NORMAL, RL_INSN_UNIFORM, RL_INSN_NORMAL};
    for (int c = 0; c < COUNT(codes); c++)
        for (int round = 0; round < 20; round++) {
            static job_pair job;
            const rl_reg reg = codes[c] == RL_INSN_PHILOX ? RL_REG_I32 : c > 2 ? RL_REG_F64 : RL_REG_F32;
            rl_program *p = begin_program();
            p->n_scalars = 2;
            uint8_t x = put_input(p, RL_U8);
            (void)x;
            uint8_t y = put(p, (rl_insn){.code = codes[c], .type = (uint8_t)reg, .imm = 0});
            put_output(p, y, reg == RL_REG_I32 ? RL_I32 : reg == RL_REG_F64 ? RL_F64 : RL_F32);
            scalars[0].i = (int64_t)draw();
            scalars[1].i = round % 2 ? (int64_t)draw() : -3;
            job.ndim = draw_shape(job.shape, 5000);
            make_job(p, &job, (stride_kind)(round % 5));
            run_jobs(p, &job, 1);
            free_operands();
        }
}

/* The same bits from one, two and five threads. */
static void any_threads(void) {
    rl_program *p = begin_program();
    const uint8_t x = put_input(p, RL_F32);
    const uint8_t e = put(p, (rl_insn){.code = RL_INSN_TANH, .type = RL_REG_F32, .a = x});
    put_output(p, put(p, (rl_insn){.code = RL_INSN_MUL, .type = RL_REG_F32, .a = e, .b = x}), RL_F32);
    const int64_t shape[1] = {300001};
    twin_operand *in = new_operand(RL_F32, 1, shape, PACKED), *out = new_operand(RL_F32, 1, shape, PACKED);
    for (int round = 0; round < 3; round++) {
        static const uint32_t counts[] = {1, 2, 5};
        threads = counts[round];
        rl_map_job job = {.ndim = 1, .shape = {300001}, .inputs = &in->of[1], .outputs = &out->of[1]};
        rl_map_args args = {sizeof args, 1, p, &job};
        assert_int_equal(backend->map(stream, &args), RL_OK);
        if (round == 0)
            memcpy(out->memory->base[0], out->memory->base[1], out->memory->bytes);
        assert_twins(out, 0, "map on several threads");
    }
    threads = 2;
}

CLONES(random_programs)
CLONES(many_jobs)
CLONES(big_jobs)
CLONES(in_place)
CLONES(past_the_caches)
CLONES(casts)
CLONES(random_numbers)
CLONES(any_threads)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_programs_of_each_clone), cmocka_unit_test(many_jobs_of_each_clone),
        cmocka_unit_test(big_jobs_of_each_clone),        cmocka_unit_test(in_place_of_each_clone),
        cmocka_unit_test(past_the_caches_of_each_clone), cmocka_unit_test(casts_of_each_clone),
        cmocka_unit_test(random_numbers_of_each_clone),  cmocka_unit_test(any_threads_of_each_clone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
