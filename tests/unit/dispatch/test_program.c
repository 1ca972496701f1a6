/* SPDX-License-Identifier: Apache-2.0 */
/* Pointwise programs: written, kept once, spliced, printed. Their expansion is in test_expand.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "evaluate.h"

#include "dispatch/program.h"

static int reset(void **state) {
    (void)state;
    rl_alloc_fail_at(0, false);
    rl_programs_shutdown();
    rl_error_clear();
    return 0;
}

/* x + constant, of f32 */
static const rl_program *plus(double constant) {
    rl_builder b;
    rl_builder_init(&b);
    rl_pw x = rl_build_input(&b, RL_F32);
    rl_build_output(&b, rl_build2(&b, RL_INSN_ADD, x, rl_build_constant(&b, RL_F32, constant)), RL_F32);
    return rl_builder_finish(&b);
}

static void finds_common_subexpressions(void **state) {
    (void)state;
    rl_builder b;
    rl_builder_init(&b);
    rl_pw x = rl_build_input(&b, RL_F32), y = rl_build_input(&b, RL_F32);
    assert_int_not_equal(x, y);
    rl_pw product = rl_build2(&b, RL_INSN_MUL, x, y);
    assert_int_equal(rl_build2(&b, RL_INSN_MUL, x, y), product);
    assert_int_equal(rl_build2(&b, RL_INSN_MUL, y, x), product);
    assert_int_not_equal(rl_build2(&b, RL_INSN_SUB, x, y), rl_build2(&b, RL_INSN_SUB, y, x));
    assert_int_not_equal(rl_build2(&b, RL_INSN_MIN, x, y), rl_build2(&b, RL_INSN_MIN, y, x));
    assert_int_equal(rl_build1(&b, RL_INSN_EXP, product), rl_build1(&b, RL_INSN_EXP, product));
    rl_pw half = rl_build_constant(&b, RL_F32, 0.5);
    assert_int_equal(rl_build_constant(&b, RL_F32, 0.5), half);
    assert_int_not_equal(rl_build_constant(&b, RL_F64, 0.5), half);
    assert_int_not_equal(rl_build_constant(&b, RL_F32, 0.0), rl_build_constant(&b, RL_F32, -0.0));
    /* A scalar of the launch is no constant, and each is another. */
    rl_pw scalar = rl_build_scalar(&b, RL_F32);
    assert_int_not_equal(scalar, rl_build_scalar(&b, RL_F32));
    assert_int_equal(rl_build_constant(&b, RL_F32, 0.5), half);
    assert_int_equal(b.status, RL_OK);
}

static void leaves_out_what_no_output_needs(void **state) {
    (void)state;
    rl_builder b;
    rl_builder_init(&b);
    rl_pw x = rl_build_input(&b, RL_F32), y = rl_build_input(&b, RL_F32);
    rl_build1(&b, RL_INSN_EXP, y);
    rl_pw sum = rl_build2(&b, RL_INSN_ADD, x, x);
    rl_build1(&b, RL_INSN_LOG, sum);
    rl_build_output(&b, sum, RL_F32);
    const rl_program *p = rl_builder_finish(&b);
    assert_non_null(p);
    assert_int_equal(p->n_insns, 2);
    assert_int_equal(p->n_inputs, 2); /* the interface stays */
    assert_int_equal(p->output_value[0], 1);
}

static void knows_idle_casts(void **state) {
    (void)state;
    rl_builder b;
    rl_builder_init(&b);
    rl_pw x = rl_build_input(&b, RL_F16);
    assert_int_equal(rl_build_cast(&b, x, RL_F16), x);
    rl_pw sum = rl_build2(&b, RL_INSN_ADD, rl_build_cast(&b, x, RL_F32), x);
    assert_int_equal(b.value_dtype[sum], RL_F32); /* not exact in f16 */
    rl_pw rounded = rl_build_cast(&b, sum, RL_F16);
    rl_build_output(&b, rl_build2(&b, RL_INSN_MUL, rounded, x), RL_F32);
    rl_build_output(&b, rl_build_cast(&b, sum, RL_F16), RL_F16); /* storing rounds anyway */
    const rl_program *p = rl_builder_finish(&b);
    char *text = rl_program_to_string(p);
    assert_string_equal(text, "v0 = input.f32 0 float16\n"
                              "v1 = add.f32 v0 v0\n"
                              "v2 = cast.f32 v1 float16\n"
                              "v3 = mul.f32 v0 v2\n"
                              "output 0 = v3 float32\n"
                              "output 1 = v1 float16\n");
    free(text);
    rl_builder_init(&b);
    x = rl_build_input(&b, RL_F16);
    rl_pw wide = rl_build_input(&b, RL_F32), other = rl_build_input(&b, RL_F16);
    assert_int_equal(b.value_dtype[rl_build2(&b, RL_INSN_MAX, x, other)], RL_F16);
    assert_int_equal(b.value_dtype[rl_build2(&b, RL_INSN_MAX, x, wide)], RL_F32);
    assert_int_equal(b.value_dtype[rl_build1(&b, RL_INSN_FLOOR, x)], RL_F16);
    assert_int_equal(b.value_dtype[rl_build2(&b, RL_INSN_LT, x, wide)], RL_BOOL);
    /* A sum of bools is no bool until it is cast. */
    rl_builder_init(&b);
    x = rl_build_input(&b, RL_BOOL);
    rl_pw two = rl_build2(&b, RL_INSN_ADD, x, x);
    rl_pw truth = rl_build_cast(&b, two, RL_BOOL);
    assert_int_not_equal(truth, two);
    rl_build_output(&b, rl_build_cast(&b, truth, RL_I64), RL_I64);
    p = rl_builder_finish(&b);
    rl_number in = {.i = 1}, out;
    evaluate(p, &in, NULL, 0, NULL, &out);
    assert_int_equal(out.i, 1);
}

static void keeps_equal_programs_once(void **state) {
    (void)state;
    const rl_program *one = plus(1), *two = plus(2);
    assert_ptr_equal(one, plus(1));
    assert_ptr_not_equal(one, two);
    assert_true(one->hash == two->hash); /* to a backend they are the same: its cache on disk finds them */
    assert_int_equal(one->index, 0);
    assert_int_equal(two->index, 1);
    assert_ptr_not_equal(plus(0.0), plus(-0.0));
    assert_ptr_equal(plus(0.1), plus((float)0.1)); /* as it is loaded */
    for (int i = 0; i < 1000; i++)                 /* the table grows */
        assert_int_equal(plus(i + 1)->index, i < 2 ? i : i + 3);
    assert_ptr_equal(one, plus(1));
    rl_number scalar;
    rl_program_scalars(two, NULL, &scalar);
    assert_true(scalar.f == 2);
    assert_int_equal(rl_program_own_scalars(two), 0);
    rl_programs_shutdown();
    assert_int_equal(plus(3)->index, 0);
}

static void fills_constants_in_among_own_scalars(void **state) {
    (void)state;
    rl_builder b;
    rl_builder_init(&b);
    rl_pw s = rl_build_scalar(&b, RL_F32), c = rl_build_constant(&b, RL_F32, 7), t = rl_build_scalar(&b, RL_I64);
    rl_pw sum = rl_build2(&b, RL_INSN_ADD, s, c);
    rl_build_output(&b, rl_build2(&b, RL_INSN_ADD, sum, rl_build_cast(&b, t, RL_F32)), RL_F32);
    const rl_program *p = rl_builder_finish(&b);
    assert_int_equal(p->n_scalars, 3);
    assert_int_equal(rl_program_own_scalars(p), 2);
    rl_number own[2] = {{.f = 0.5}, {.i = 4}}, all[3], out;
    rl_program_scalars(p, own, all);
    assert_true(all[0].f == 0.5 && all[1].f == 7 && all[2].i == 4);
    evaluate(p, NULL, all, 0, NULL, &out);
    assert_true(out.f == 11.5);
}

static void casts_are_at_hand(void **state) {
    (void)state;
    const rl_program *p = rl_program_cast(RL_F64, RL_I8);
    assert_int_equal(p->n_insns, 1);
    assert_int_equal(p->input_dtype[0], RL_F64);
    assert_int_equal(p->output_dtype[0], RL_I8);
    assert_ptr_equal(rl_program_cast(RL_F64, RL_I8), p);
    assert_ptr_not_equal(rl_program_cast(RL_F64, RL_F64), p);
    rl_programs_shutdown();
    assert_int_equal(rl_program_cast(RL_F64, RL_F64)->index, 0);
    assert_int_equal(rl_program_cast(RL_F64, RL_I8)->index, 1);
}

static void sets_flags(void **state) {
    (void)state;
    rl_builder b;
    rl_builder_init(&b);
    rl_build_output(&b, rl_build_index(&b, 3), RL_I64);
    assert_int_equal(rl_builder_finish(&b)->flags, RL_PROGRAM_INDEX);
    rl_builder_init(&b);
    rl_build_constant(&b, RL_F32, 1);
    rl_pw seed = rl_build_scalar(&b, RL_I64);
    rl_build_scalar(&b, RL_I64);
    rl_build_output(&b, rl_build_random(&b, RL_INSN_UNIFORM, RL_F16, seed), RL_F16);
    const rl_program *p = rl_builder_finish(&b);
    assert_int_equal(p->flags, RL_PROGRAM_RANDOM);
    assert_int_equal(p->n_insns, 1); /* nothing loads seed and offset */
    assert_int_equal(p->insns[0].imm, 1);
    assert_int_equal(p->n_scalars, 3);
    assert_int_equal(plus(1)->flags, 0);
}

/* Splicing -------------------------------------------------------------------------------------------------------- */

static void splices_another_program(void **state) {
    (void)state;
    rl_builder b;
    rl_builder_init(&b);
    rl_pw x = rl_build_input(&b, RL_F16), s = rl_build_scalar(&b, RL_F32);
    rl_pw y = rl_build2(&b, RL_INSN_ADD, rl_build2(&b, RL_INSN_MUL, x, s), rl_build_constant(&b, RL_F32, 0.25));
    rl_build_output(&b, y, RL_F16);
    const rl_program *inner = rl_builder_finish(&b);

    rl_builder_init(&b);
    x = rl_build_input(&b, RL_F32);
    s = rl_build_scalar(&b, RL_F32);
    rl_pw once, twice;
    rl_build_inline(&b, inner, &x, &s, &once);
    rl_build_inline(&b, inner, &once, NULL, &twice); /* another scalar is made */
    rl_build_output(&b, twice, RL_F32);
    const rl_program *outer = rl_builder_finish(&b);
    assert_non_null(outer);
    assert_int_equal(rl_program_own_scalars(outer), 2);
    /* The input and each result are rounded to f16 as they would be in memory. */
    rl_number own[2] = {{.f = 1.5}, {.f = 3}}, all[3], in = {.f = 1.0f / 3}, out;
    rl_program_scalars(outer, own, all);
    evaluate(outer, &in, all, 0, NULL, &out);
    rl_number h = evaluate_cast(in, RL_REG_F32, RL_F16);
    h = evaluate_cast((rl_number){.f = (float)(h.f * 1.5) + 0.25f}, RL_REG_F32, RL_F16);
    h = evaluate_cast((rl_number){.f = (float)(h.f * 3) + 0.25f}, RL_REG_F32, RL_F16);
    assert_true(out.f == h.f);
}

static void splices_random_numbers_with_their_scalars(void **state) {
    (void)state;
    rl_builder b;
    rl_builder_init(&b);
    rl_pw seed = rl_build_scalar(&b, RL_I64);
    rl_build_scalar(&b, RL_I64);
    rl_build_output(&b, rl_build_random(&b, RL_INSN_NORMAL, RL_F64, seed), RL_F64);
    const rl_program *inner = rl_builder_finish(&b);
    rl_builder_init(&b);
    rl_pw given[2], first, second;
    rl_build_scalar(&b, RL_F32);
    given[0] = rl_build_scalar(&b, RL_I64);
    given[1] = rl_build_scalar(&b, RL_I64);
    rl_build_inline(&b, inner, NULL, given, &first);
    rl_build_inline(&b, inner, NULL, NULL, &second);
    rl_build_output(&b, first, RL_F64);
    rl_build_output(&b, second, RL_F64);
    const rl_program *p = rl_builder_finish(&b);
    rl_number scalars[5] = {{.f = 9}, {.i = 11}, {.i = 12}, {.i = 21}, {.i = 22}}, out[2], alone[2];
    evaluate(p, NULL, scalars, 5, NULL, out);
    evaluate(inner, NULL, scalars + 1, 5, NULL, &alone[0]);
    evaluate(inner, NULL, scalars + 3, 5, NULL, &alone[1]);
    assert_true(out[0].f == alone[0].f && out[1].f == alone[1].f && out[0].f != out[1].f);
}

/* Failing --------------------------------------------------------------------------------------------------------- */

static void expect_failure(rl_builder *b, rl_status status, const char *part) {
    assert_null(rl_builder_finish(b));
    assert_int_equal(rl_error_status(), status);
    assert_non_null(strstr(rl_error_text(), part));
    rl_error_clear();
    rl_builder_init(b);
}

static void says_what_is_too_much(void **state) {
    (void)state;
    rl_builder b;
    rl_builder_init(&b);
    for (int i = 0; i <= RL_MAX_INPUTS; i++)
        rl_build_output(&b, rl_build_input(&b, RL_F32), RL_F32);
    expect_failure(&b, RL_UNSUPPORTED, "more than");
    for (int i = 0; i <= RL_MAX_SCALARS; i++)
        rl_build_scalar(&b, RL_F32);
    expect_failure(&b, RL_UNSUPPORTED, "more than");
    rl_pw x = rl_build_input(&b, RL_F32);
    for (int i = 0; i < RL_MAX_INSNS; i++)
        x = rl_build2(&b, RL_INSN_ADD, x, x);
    assert_int_equal(x, 0);
    rl_build_output(&b, x, RL_F32);
    expect_failure(&b, RL_UNSUPPORTED, "255 instructions");
    x = rl_build_input(&b, RL_F32);
    for (int i = 0; i < RL_MAX_INSNS - 1; i++)
        x = rl_build2(&b, RL_INSN_ADD, x, x);
    rl_build_output(&b, x, RL_F32);
    assert_non_null(rl_builder_finish(&b)); /* as many as fit */
}

static void refuses_wrong_operands(void **state) {
    (void)state;
    rl_builder b;
    rl_builder_init(&b);
    rl_pw f = rl_build_input(&b, RL_F32), i = rl_build_input(&b, RL_I64);
    rl_build_output(&b, rl_build2(&b, RL_INSN_ADD, f, i), RL_F32);
    expect_failure(&b, RL_INTERNAL, "operands");
    rl_build1(&b, RL_INSN_EXP, rl_build_input(&b, RL_I64));
    expect_failure(&b, RL_INTERNAL, "operands");
    f = rl_build_input(&b, RL_F32);
    rl_build3(&b, RL_INSN_SELECT, f, f, f);
    expect_failure(&b, RL_INTERNAL, "operands");
    rl_build1(&b, RL_INSN_NEG, 3);
    expect_failure(&b, RL_INTERNAL, "operands");
    rl_build_random(&b, RL_INSN_UNIFORM, RL_F32, rl_build_scalar(&b, RL_I64)); /* no offset beside it */
    expect_failure(&b, RL_INTERNAL, "operands");
    rl_build_index(&b, RL_MAX_DIMS);
    expect_failure(&b, RL_INTERNAL, "operands");
    rl_build_input(&b, RL_F32);
    expect_failure(&b, RL_INTERNAL, "operands"); /* no output */
}

static void survives_every_failing_allocation(void **state) {
    (void)state;
    for (uint64_t n = 1;; n++) {
        rl_programs_shutdown();
        rl_alloc_fail_at(n, false);
        const rl_program *p = plus(1);
        char *text = p ? rl_program_to_string(p) : NULL;
        rl_alloc_fail_at(0, false);
        if (text != NULL) {
            free(text);
            assert_true(n > 2);
            return;
        }
        assert_int_equal(rl_error_status(), RL_OUT_OF_MEMORY);
        rl_error_clear();
    }
}

/* Threads and tables ---------------------------------------------------------------------------------------------- */

#define THREADS 4
#define PROGRAMS 300

static void *make_programs(void *out) {
    for (int i = 0; i < PROGRAMS; i++)
        ((const rl_program **)out)[i] = rl_program_for_mask(plus(i), 0);
    return NULL;
}

static void threads_share_programs(void **state) {
    (void)state;
    static const rl_program *made[THREADS][PROGRAMS];
    pthread_t threads[THREADS];
    for (int t = 0; t < THREADS; t++)
        assert_int_equal(pthread_create(&threads[t], NULL, make_programs, made[t]), 0);
    for (int t = 0; t < THREADS; t++)
        pthread_join(threads[t], NULL);
    bool seen[PROGRAMS] = {false};
    for (int i = 0; i < PROGRAMS; i++) {
        for (int t = 1; t < THREADS; t++)
            assert_ptr_equal(made[t][i], made[0][i]);
        assert_in_range(made[0][i]->index, 0, PROGRAMS - 1);
        assert_false(seen[made[0][i]->index]);
        seen[made[0][i]->index] = true;
    }
}

static void describes_instructions(void **state) {
    (void)state;
#define CHECK(NAME, number, count, kinds, meaning)                                                                     \
    assert_string_equal(rl_insn_describe(RL_INSN_##NAME)->name, #NAME);                                                \
    assert_int_equal(rl_insn_describe(RL_INSN_##NAME)->operands, count);                                               \
    assert_int_equal(rl_insn_describe(RL_INSN_##NAME)->types, #kinds[0]);
    RL_INSN_LIST(CHECK)
    assert_null(rl_insn_describe((rl_insn_code)RL_INSN_COUNT));
}

static void prints(void **state) {
    (void)state;
    rl_builder b;
    rl_builder_init(&b);
    rl_pw x = rl_build_input(&b, RL_BF16), i = rl_build_index(&b, 1), s = rl_build_scalar(&b, RL_I64);
    rl_pw less = rl_build2(&b, RL_INSN_LT, i, s);
    rl_pw two = rl_build_constant(&b, RL_BF16, 2), most = rl_build_constant(&b, RL_I32, -3);
    rl_build_output(&b, rl_build3(&b, RL_INSN_SELECT, less, x, two), RL_BF16);
    rl_build_output(&b, rl_build1(&b, RL_INSN_BITCAST, rl_build1(&b, RL_INSN_NEG, most)), RL_F32);
    char *text = rl_program_to_string(rl_builder_finish(&b));
    assert_string_equal(text, "v0 = input.f32 0 bfloat16\n"
                              "v1 = index.i64 1\n"
                              "v2 = scalar.i64 0\n"
                              "v3 = lt.i64 v1 v2\n"
                              "v4 = scalar.f32 1 = 2\n"
                              "v5 = scalar.i32 2 = -3\n"
                              "v6 = select.f32 v3 v0 v4\n"
                              "v7 = neg.i32 v5\n"
                              "v8 = bitcast.f32 v7\n"
                              "output 0 = v6 bfloat16\n"
                              "output 1 = v8 float32\n");
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(finds_common_subexpressions, reset, reset),
        cmocka_unit_test_setup_teardown(leaves_out_what_no_output_needs, reset, reset),
        cmocka_unit_test_setup_teardown(knows_idle_casts, reset, reset),
        cmocka_unit_test_setup_teardown(keeps_equal_programs_once, reset, reset),
        cmocka_unit_test_setup_teardown(fills_constants_in_among_own_scalars, reset, reset),
        cmocka_unit_test_setup_teardown(casts_are_at_hand, reset, reset),
        cmocka_unit_test_setup_teardown(sets_flags, reset, reset),
        cmocka_unit_test_setup_teardown(splices_another_program, reset, reset),
        cmocka_unit_test_setup_teardown(splices_random_numbers_with_their_scalars, reset, reset),
        cmocka_unit_test_setup_teardown(says_what_is_too_much, reset, reset),
        cmocka_unit_test_setup_teardown(refuses_wrong_operands, reset, reset),
        cmocka_unit_test_setup_teardown(survives_every_failing_allocation, reset, reset),
        cmocka_unit_test_setup_teardown(threads_share_programs, reset, reset),
        cmocka_unit_test_setup_teardown(describes_instructions, reset, reset),
        cmocka_unit_test_setup_teardown(prints, reset, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
