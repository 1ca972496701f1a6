/* SPDX-License-Identifier: Apache-2.0 */
/* reduce against the plain kernel. Small whole numbers make every order of additions exact, so that bits can be
 * compared; the error of real sums is measured apart. */
#include "harness.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const rl_dtype accumulators[] = {RL_F32, RL_F64, RL_I32, RL_I64};

/* x, x * x, x * y or x + index, brought into the accumulator. */
static uint8_t put_value(rl_program *p, uint8_t x, uint8_t y, rl_dtype accumulator, int with_index) {
    const rl_reg reg = accumulator == RL_F32   ? RL_REG_F32
                       : accumulator == RL_F64 ? RL_REG_F64
                       : accumulator == RL_I32 ? RL_REG_I32
                                               : RL_REG_I64;
    x = put(p, (rl_insn){.code = RL_INSN_CAST, .type = p->insns[x].type, .dtype = (uint8_t)accumulator, .a = x});
    y = put(p, (rl_insn){.code = RL_INSN_CAST, .type = p->insns[y].type, .dtype = (uint8_t)accumulator, .a = y});
    if (with_index) {
        uint8_t i = put(p, (rl_insn){.code = RL_INSN_INDEX, .type = RL_REG_I64, .imm = (uint16_t)(with_index - 1)});
        i = put(p, (rl_insn){.code = RL_INSN_CAST, .type = RL_REG_I64, .dtype = (uint8_t)accumulator, .a = i});
        return put(p, (rl_insn){.code = RL_INSN_ADD, .type = (uint8_t)reg, .a = x, .b = i});
    }
    return draw_below(2) ? x : put(p, (rl_insn){.code = RL_INSN_MUL, .type = (uint8_t)reg, .a = x, .b = y});
}

typedef struct reduce_case {
    int64_t ndim, shape[RL_MAX_DIMS];
    uint32_t reduced;
    stride_kind kind;
    int whole_numbers;
} reduce_case;

static void run_case(const reduce_case *c) {
    rl_program *pro = begin_program(), *epi = begin_program();
    rl_reduce_args args = {
        .size = sizeof args, .reduced = c->reduced, .ndim = c->ndim, .prologue = pro, .epilogue = epi};
    memcpy(args.shape, c->shape, sizeof args.shape);
    const rl_dtype a = (rl_dtype)(1 + draw_below(10)), b = (rl_dtype)(1 + draw_below(10));
    const uint8_t x = put_input(pro, a), y = put_input(pro, b);
    const int n_values = 1 + (int)draw_below(RL_MAX_COMBINED);
    const int64_t bound = draw_below(3) ? 3 : 1;
    const int with_index = draw_below(4) == 0 && c->ndim > 0 ? 1 + (int)draw_below(c->ndim) : 0;
    for (int k = 0; k < n_values; k++) {
        rl_dtype accumulator = accumulators[draw_below(4)];
        if (!c->whole_numbers)
            accumulator = a <= RL_BF16 && b <= RL_BF16 ? accumulators[draw_below(2)] : accumulators[2 + draw_below(2)];
        if (!c->whole_numbers && (a <= RL_BF16) != (b <= RL_BF16))
            accumulator = RL_F64;
        put_output(pro, put_value(pro, x, y, accumulator, with_index), accumulator);
        do
            args.combiner[k] = (uint8_t)draw_below(6);
        while ((args.combiner[k] == RL_COMBINE_PROD && (bound > 1 || with_index)) ||
               (!c->whole_numbers && args.combiner[k] < RL_COMBINE_MAX));
        const rl_dtype combined = args.combiner[k] >= RL_COMBINE_ARGMAX ? RL_I64 : accumulator;
        const uint8_t v = put_input(epi, combined);
        const uint8_t w = put(epi, (rl_insn){.code = RL_INSN_NEG, .type = epi->insns[v].type, .a = v});
        put_output(epi, w, combined);
    }
    twin_operand *in[2] = {new_operand(a, c->ndim, c->shape, c->kind), new_operand(b, c->ndim, c->shape, c->kind)};
    for (int i = 0; i < 2 && c->whole_numbers; i++) {
        const twin *t = in[i]->memory;
        const int64_t n = (int64_t)(t->bytes - 128) / (in[i]->dtype == RL_F64 || in[i]->dtype == RL_I64    ? 8
                                                       : in[i]->dtype == RL_F32 || in[i]->dtype == RL_I32  ? 4
                                                       : in[i]->dtype >= RL_F16 && in[i]->dtype <= RL_BF16 ? 2
                                                       : in[i]->dtype == RL_I16                            ? 2
                                                                                                           : 1);
        fill_small_integers(t->base[0] + 64, in[i]->dtype, n, bound);
        memcpy(t->base[1], t->base[0], t->bytes);
    }
    int64_t kept[RL_MAX_DIMS];
    for (int d = 0; d < c->ndim; d++)
        kept[d] = c->reduced >> d & 1 ? 1 : c->shape[d];
    twin_operand *out[RL_MAX_COMBINED];
    for (int k = 0; k < n_values; k++)
        out[k] = new_operand((rl_dtype)epi->output_dtype[k], c->ndim, kept, (stride_kind)draw_below(3));
    for (int which = 0; which < 2; which++) {
        const rl_operand inputs[2] = {in[0]->of[which], in[1]->of[which]};
        rl_operand outputs[RL_MAX_COMBINED];
        for (int k = 0; k < n_values; k++)
            outputs[k] = out[k]->of[which];
        args.inputs = inputs;
        args.outputs = outputs;
        const rl_status status = which ? backend->reduce(stream, &args) : rl_kernel_reduce(&host, &args);
        assert_int_equal(status, RL_OK);
    }
    for (int k = 0; k < n_values; k++) {
        char what[160];
        snprintf(what, sizeof what, "reduce: combiner %d of dtype %d, ndim %d, reduced %x, strides %d",
                 args.combiner[k], (int)pro->output_dtype[k], (int)c->ndim, c->reduced, (int)c->kind);
        assert_twins(out[k], 0, what);
    }
    free_operands();
}

static void small_shapes(void) {
    for (int round = 0; round < 1500; round++) {
        reduce_case c = {
            .ndim = draw_below(5), .kind = (stride_kind)draw_below(5), .whole_numbers = draw_below(4) != 0};
        for (int d = 0; d < c.ndim; d++)
            c.shape[d] = draw_below(20) == 0 ? 0 : draw_below(6) == 0 ? draw_below(60) : 1 + draw_below(8);
        c.reduced = (uint32_t)draw_below((int64_t)1 << c.ndim);
        run_case(&c);
    }
}

static void big_shapes(void) {
    static const reduce_case cases[] = {
        {1, {300000}, 1, PACKED, 1},      {2, {3, 100000}, 2, PACKED, 1}, {2, {100000, 3}, 1, PACKED, 1},
        {2, {700, 300}, 1, PACKED, 1},    {2, {700, 300}, 2, PACKED, 1},  {2, {700, 300}, 2, PERMUTED, 1},
        {3, {40, 16, 300}, 5, PACKED, 1}, {2, {5000, 10}, 2, PACKED, 1},  {2, {5000, 10}, 1, GAPS, 1},
        {3, {20, 30, 200}, 2, PACKED, 0}, {1, {200000}, 1, PACKED, 0},    {2, {300, 400}, 3, BROADCAST, 0},
    };
    for (int round = 0; round < 4; round++)
        for (int i = 0; i < COUNT(cases); i++)
            run_case(&cases[i]);
}

/* A sum of a million uniforms: within a few units of the exact one, the same bits from any number of threads. */
static void sums_are_good(void) {
    const int64_t shape[2] = {1000, 1000};
    twin_operand *in = new_operand(RL_F32, 2, shape, PACKED);
    float *x = (float *)(void *)(in->memory->base[1] + 64);
    for (int i = 0; i < 1000000; i++)
        x[i] = (float)(draw() >> 40) * 0x1p-24f;
    for (uint32_t reduced = 1; reduced <= 3; reduced++) {
        rl_program *pro = begin_program(), *epi = begin_program();
        put_output(pro, put_input(pro, RL_F32), RL_F32);
        put_output(epi, put_input(epi, RL_F32), RL_F32);
        const int64_t kept[2] = {reduced & 1 ? 1 : 1000, reduced & 2 ? 1 : 1000};
        twin_operand *out = new_operand(RL_F32, 2, kept, PACKED);
        for (int round = 0; round < 3; round++) {
            static const uint32_t counts[] = {1, 2, 5};
            threads = counts[round];
            rl_reduce_args args = {.size = sizeof args,
                                   .reduced = reduced,
                                   .ndim = 2,
                                   .shape = {1000, 1000},
                                   .prologue = pro,
                                   .epilogue = epi,
                                   .inputs = &in->of[1],
                                   .outputs = &out->of[1]};
            assert_int_equal(backend->reduce(stream, &args), RL_OK);
            if (round == 0)
                memcpy(out->memory->base[0], out->memory->base[1], out->memory->bytes);
            assert_twins(out, 0, "reduce on several threads");
        }
        const float *sums = (const float *)(const void *)(out->memory->base[1] + 64);
        for (int64_t o = 0; o < kept[0] * kept[1]; o++) {
            double exact = 0.0;
            for (int64_t i = 0; i < 1000000; i++)
                if ((reduced & 1 || i / 1000 == o) && (reduced & 2 || i % 1000 == o))
                    exact += (double)x[i];
            if (fabs((double)sums[o] - exact) > 2.4e-7 * exact)
                fail_msg("sum %lld, reduced %x: %.9g, exactly %.9g", (long long)o, reduced, (double)sums[o], exact);
            if (reduced != 3 && o == 20)
                break;
        }
    }
    threads = 2;
}

static void no_scratch_is_an_error(void) {
    const int64_t shape[1] = {300000}, one[1] = {1};
    rl_program *pro = begin_program(), *epi = begin_program();
    put_output(pro, put_input(pro, RL_F32), RL_F32);
    put_output(epi, put_input(epi, RL_F32), RL_F32);
    twin_operand *in = new_operand(RL_F32, 1, shape, PACKED), *out = new_operand(RL_F32, 1, one, PACKED);
    rl_reduce_args args = {.size = sizeof args,
                           .reduced = 1,
                           .ndim = 1,
                           .shape = {300000},
                           .prologue = pro,
                           .epilogue = epi,
                           .inputs = &in->of[1],
                           .outputs = &out->of[1]};
    scratch_fails = 1;
    assert_int_equal(backend->reduce(stream, &args), RL_OUT_OF_MEMORY);
    scratch_fails = 0;
    assert_non_null(strstr(host_text, "reduce"));
}

#define CLONES(name)                                                                                                   \
    static void name##_of_each_clone(void **state) {                                                                   \
        (void)state;                                                                                                   \
        each_clone(name);                                                                                              \
    }
CLONES(small_shapes)
CLONES(big_shapes)
CLONES(sums_are_good)
CLONES(no_scratch_is_an_error)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_shapes_of_each_clone),
        cmocka_unit_test(big_shapes_of_each_clone),
        cmocka_unit_test(sums_are_good_of_each_clone),
        cmocka_unit_test(no_scratch_is_an_error_of_each_clone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
