/* SPDX-License-Identifier: Apache-2.0 */
/* Schedules against PyTorch's rates (record.py), their state in files, and what they refuse. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/memory.h"
#include "expected.h"
#include "optim/optimizer.h"
#include "rushlight/rushlight.h"

static double one_over(int64_t t, void *context) {
    (void)context;
    return 1.0 / (1.0 + (double)t);
}

static rl_schedule *sequence(rl_optimizer *o) {
    return rl_schedule_sequential_lr(o,
                                     (rl_schedule *[]){rl_schedule_linear_lr(o, .start_factor = 0.1, .total_iters = 4),
                                                       rl_schedule_cosine_annealing_lr(o, 12),
                                                       rl_schedule_exponential_lr(o, 0.8)},
                                     3, RL_DIMS(4, 15));
}
static rl_schedule *sequence_more(rl_optimizer *o) {
    return rl_schedule_sequential_lr(
        o,
        (rl_schedule *[]){rl_schedule_constant_lr(o, .factor = 0.5, .total_iters = 3), rl_schedule_step_lr(o, 2),
                          rl_schedule_cosine_annealing_warm_restarts(o, 4), rl_schedule_lambda_lr(o, one_over, NULL)},
        4, RL_DIMS(3, 9, 16));
}
static rl_schedule *sequence_rest(rl_optimizer *o) {
    return rl_schedule_sequential_lr(
        o,
        (rl_schedule *[]){rl_schedule_polynomial_lr(o, .total_iters = 4), rl_schedule_multi_step_lr(o, RL_DIMS(0, 2)),
                          rl_schedule_linear_lr(o), rl_schedule_constant_lr(o), rl_schedule_polynomial_lr(o)},
        5, RL_DIMS(5, 9, 13, 18));
}

/* X(name, call): the schedules of record.py. */
#define SCHEDULES(X)                                                                                                   \
    X(step, rl_schedule_step_lr(o, 3, .gamma = 0.5))                                                                   \
    X(step_default, rl_schedule_step_lr(o, 7))                                                                         \
    X(multi_step, rl_schedule_multi_step_lr(o, RL_DIMS(9, 4, 9, 15), .gamma = 0.3))                                    \
    X(multi_step_zero, rl_schedule_multi_step_lr(o, RL_DIMS(0, 2)))                                                    \
    X(exponential, rl_schedule_exponential_lr(o, 0.9))                                                                 \
    X(constant, rl_schedule_constant_lr(o))                                                                            \
    X(constant_long, rl_schedule_constant_lr(o, .factor = 0.7, .total_iters = 9))                                      \
    X(linear, rl_schedule_linear_lr(o))                                                                                \
    X(linear_down, rl_schedule_linear_lr(o, .start_factor = 0.9, .end_factor = (double)RL_ZERO, .total_iters = 11))    \
    X(polynomial, rl_schedule_polynomial_lr(o, .total_iters = 10, .power = 2.0))                                       \
    X(cosine, rl_schedule_cosine_annealing_lr(o, 6, .eta_min = 0.01))                                                  \
    X(cosine_odd, rl_schedule_cosine_annealing_lr(o, 7))                                                               \
    X(restarts, rl_schedule_cosine_annealing_warm_restarts(o, 5, .eta_min = 0.02))                                     \
    X(restarts_longer, rl_schedule_cosine_annealing_warm_restarts(o, 3, .t_mult = 2))                                  \
    X(one_cycle, rl_schedule_one_cycle_lr(o, 0.4, .total_steps = 24))                                                  \
    X(one_cycle_linear, rl_schedule_one_cycle_lr(                                                                      \
                            o, 0.4, .epochs = 5, .steps_per_epoch = 5, .anneal_strategy = "linear", .pct_start = 0.4,  \
                            .div_factor = 10.0, .final_div_factor = 100.0, .base_momentum = 0.7, .max_momentum = 0.8)) \
    X(one_cycle_three,                                                                                                 \
      rl_schedule_one_cycle_lr(o, 0.4, .total_steps = 30, .three_phase = true, .cycle_momentum = RL_ZERO))             \
    X(lambda, rl_schedule_lambda_lr(o, one_over, NULL))                                                                \
    X(sequence, sequence(o))                                                                                           \
    X(sequence_more, sequence_more(o))                                                                                 \
    X(sequence_rest, sequence_rest(o))                                                                                 \
    X(plateau, rl_schedule_reduce_lr_on_plateau(o, .patience = 2))                                                     \
    X(plateau_max,                                                                                                     \
      rl_schedule_reduce_lr_on_plateau(o, .mode = "max", .factor = 0.5, .patience = RL_ZERO, .threshold = 0.1,         \
                                       .threshold_mode = "abs", .cooldown = 2, .min_lr = 0.03))

typedef rl_schedule *(*make_schedule)(rl_optimizer *o);
#define MAKE(name, call)                                                                                               \
    static rl_schedule *make_##name(rl_optimizer *o) {                                                                 \
        return call;                                                                                                   \
    }
SCHEDULES(MAKE)
#undef MAKE

static const struct config {
    const char *name;
    make_schedule make;
    const double *rates;
} configs[] = {
#define ROW(name, call) {#name, make_##name, rates_##name},
    SCHEDULES(ROW)
#undef ROW
};
enum { N_CONFIGS = sizeof configs / sizeof configs[0] };

static rl_optimizer *optimizer(void) {
    rl_tensor *a = rl_requires_grad(rl_zeros(RL_DIMS(1)), true), *b = rl_requires_grad(rl_zeros(RL_DIMS(1)), true);
    rl_optimizer *sgd = rl_optimizer_sgd(NULL, .parameters = ((rl_tensors){&a, 1}), .lr = 0.2, .momentum = 0.9);
    rl_optimizer_add_group(sgd, ((rl_tensors){&b, 1}), .lr = 0.03);
    return sgd;
}

static double metric(int step) {
    return (double)(7 * step % 11) / 4.0 - (double)step / 8.0 + 2.0;
}

/* The same numbers but for the last bit, which Python's own arithmetic may round otherwise. */
static void assert_rates(const rl_optimizer *o, const double *want, int step) {
    double got[3] = {rl_optimizer_lr(o), rl_optimizer_group_lr(o, 1), o->groups[0].options.momentum};
    assert_int_equal(rl_error_status(), RL_OK);
    for (int i = 0; i < 3; i++)
        if (!(fabs(got[i] - want[3 * step + i]) <= 2e-15 * fabs(want[3 * step + i]) + 1e-18))
            fail_msg("step %d, number %d is %.17g, PyTorch has %.17g", step, i, got[i], want[3 * step + i]);
}

static void test_pytorch_rates(void **state) {
    (void)state;
    int equal = 0;
    for (int c = 0; c < N_CONFIGS; c++) {
        RL_SCOPE();
        print_message("%s\n", configs[c].name);
        rl_optimizer *o = optimizer();
        rl_schedule *schedule = configs[c].make(o);
        for (int i = 0; i < RATES; i++) {
            assert_rates(o, configs[c].rates, i);
            assert_true(rl_schedule_lr(schedule) == rl_optimizer_lr(o));
            assert_int_equal(rl_schedule_steps(schedule), i);
            equal += rl_optimizer_lr(o) == configs[c].rates[3 * i];
            rl_schedule_step_metric(schedule, metric(i));
        }
        assert_int_equal(rl_error_status(), RL_OK);
    }
    print_message("%d of %d rates are the very same bits\n", equal, N_CONFIGS * RATES);
}

/* Some steps, a file of each, the rest by another pair: as if nothing had happened between. */
static void test_state_in_file(void **state) {
    (void)state;
    char path[] = "/tmp/rushlight-schedule-XXXXXX", other[] = "/tmp/rushlight-schedule-XXXXXX";
    close(mkstemp(path));
    close(mkstemp(other));
    for (int c = 0; c < N_CONFIGS; c++) {
        RL_SCOPE();
        rl_optimizer *first = optimizer(), *second = optimizer();
        rl_schedule *a = configs[c].make(first), *b = configs[c].make(second);
        for (int i = 0; i < 11; i++)
            rl_schedule_step_metric(a, metric(i));
        assert_int_equal(rl_optimizer_save(first, path), RL_OK);
        assert_int_equal(rl_schedule_save(a, other), RL_OK);
        assert_int_equal(rl_optimizer_load(second, path), RL_OK);
        assert_int_equal(rl_schedule_load(b, other), RL_OK);
        for (int i = 11; i < RATES; i++) {
            assert_rates(second, configs[c].rates, i);
            rl_schedule_step_metric(b, metric(i));
        }
    }
    RL_SCOPE();
    rl_optimizer *o = optimizer();
    rl_schedule *schedule = rl_schedule_step_lr(o, 2);
    assert_int_equal(rl_schedule_load(schedule, other), RL_BAD_FORMAT);
    assert_non_null(strstr(rl_error_text(), "must hold the state of StepLR, it holds that of ReduceLROnPlateau"));
    rl_error_clear();
    static const char *const lies[] = {"-1", "x", "", "1x"};
    for (int i = 0; i < 4; i++) {
        const rl_metadata lines[] = {
            {"schedule", "StepLR"}, {"base_lr.0", "1"}, {"base_lr.1", "1"}, {"steps", lies[i]}};
        assert_int_equal(rl_safetensors_save(path, NULL, (rl_tensors){0}, lines, 4), RL_OK);
        assert_int_equal(rl_schedule_load(schedule, path), RL_BAD_FORMAT);
        rl_error_clear();
        assert_int_equal(rl_schedule_steps(schedule), 0);
    }
    unlink(path);
    unlink(other);
}

static void expect(const void *result, const char *sentence) {
    assert_null(result);
    assert_int_equal(rl_error_status(), RL_INVALID_ARGUMENT);
    if (!strstr(rl_error_text(), sentence))
        fail_msg("'%s' does not say '%s'", rl_error_text(), sentence);
    rl_error_clear();
}

static void test_refuses(void **state) {
    (void)state;
    RL_SCOPE();
    rl_optimizer *o = optimizer(), *o2 = optimizer();
    expect(rl_schedule_step_lr(NULL, 3), "optimizer is NULL");
    expect(rl_schedule_step_lr(o, 0), "step_size must be above 0");
    expect(rl_schedule_exponential_lr(o, NAN), "gamma must be a number");
    expect(rl_schedule_constant_lr(o, .factor = 2.0), "factor must be above 0 and at most 1");
    expect(rl_schedule_linear_lr(o, .end_factor = 1.5), "end_factor must be at least 0");
    expect(rl_schedule_polynomial_lr(o, .total_iters = -1), "total_iters");
    expect(rl_schedule_linear_lr(o, .total_iters = RL_ZERO), "total_iters must be above 0, got 0");
    expect(rl_schedule_cosine_annealing_warm_restarts(o, 3, .t_mult = RL_ZERO), "t_mult must be above 0, got 0");
    expect(rl_schedule_one_cycle_lr(o, 0.1, .epochs = INT64_MAX, .steps_per_epoch = 2), "are too many steps");
    expect(rl_schedule_one_cycle_lr(o, 0.1, .total_steps = RL_ZERO, .epochs = 2, .steps_per_epoch = 2), "above 0");
    expect(rl_schedule_cosine_annealing_lr(o, 0), "t_max");
    expect(rl_schedule_cosine_annealing_warm_restarts(o, 3, .t_mult = -1), "t_mult");
    expect(rl_schedule_one_cycle_lr(o, 0.1), "total_steps");
    expect(rl_schedule_one_cycle_lr(o, 0.1, .total_steps = 4, .pct_start = 2.0), "pct_start");
    expect(rl_schedule_one_cycle_lr(o, 0.1, .total_steps = 4, .anneal_strategy = "sin"),
           "'cos' or 'linear', got 'sin'");
    expect(rl_schedule_one_cycle_lr(rl_optimizer_adagrad(rl_nn_linear(1, 1)), 0.1, .total_steps = 4),
           "Adagrad has no momentum");
    expect(rl_schedule_reduce_lr_on_plateau(o, .factor = 1.0), "factor must be below 1");
    expect(rl_schedule_reduce_lr_on_plateau(o, .mode = "best"), "'min' or 'max', got 'best'");
    expect(rl_schedule_lambda_lr(o, NULL, NULL), "factor is NULL");
    rl_schedule *step = rl_schedule_step_lr(o, 3), *plateau = rl_schedule_reduce_lr_on_plateau(o);
    expect(rl_schedule_sequential_lr(o, (rl_schedule *[]){step, step}, 2, RL_NO_DIMS), "2 schedules need 1 milestones");
    expect(rl_schedule_sequential_lr(o, (rl_schedule *[]){step, step}, 2, RL_DIMS(0)), "must be above 0");
    expect(rl_schedule_sequential_lr(o, (rl_schedule *[]){step, plateau}, 2, RL_DIMS(3)), "cannot be part");
    expect(rl_schedule_sequential_lr(o2, (rl_schedule *[]){step}, 1, RL_NO_DIMS), "of another optimizer");
    assert_int_equal(rl_schedule_step(plateau), RL_INVALID_ARGUMENT);
    expect(NULL, "rl_schedule_step_metric");
    rl_schedule *cycle = rl_schedule_one_cycle_lr(o2, 0.1, .total_steps = 2);
    assert_int_equal(rl_schedule_step(cycle) | rl_schedule_step(cycle), RL_OK);
    assert_int_equal(rl_schedule_step(cycle), RL_INVALID_ARGUMENT);
    expect(NULL, "all of them were taken");
    rl_tensor *late = rl_requires_grad(rl_zeros(RL_DIMS(1)), true);
    rl_optimizer_add_group(o, ((rl_tensors){&late, 1}));
    assert_int_equal(rl_schedule_step(step), RL_INVALID_ARGUMENT);
    expect(NULL, "has 3 groups, it had 2");
    assert_int_equal(rl_schedule_step(NULL), RL_INVALID_ARGUMENT);
    rl_error_clear();
}

/* beta1 of Adam goes up and down as momentum does. */
static void test_cycles_beta1(void **state) {
    (void)state;
    RL_SCOPE();
    rl_optimizer *adam = rl_optimizer_adam(rl_nn_linear(1, 1));
    rl_schedule *schedule = rl_schedule_one_cycle_lr(adam, 0.1, .total_steps = 10);
    assert_true(adam->groups[0].options.beta1 == 0.95);
    rl_schedule_step(schedule), rl_schedule_step(schedule);
    assert_true(adam->groups[0].options.beta1 == 0.85);
    assert_int_equal(rl_error_status(), RL_OK);
}

static void test_without_memory(void **state) {
    (void)state;
    for (int c = 0; c < N_CONFIGS; c++) {
        bool failed = true;
        for (uint64_t n = 1; failed; n++) {
            RL_SCOPE();
            rl_optimizer *o = optimizer();
            rl_alloc_fail_at(n, false);
            rl_schedule *schedule = configs[c].make(o);
            rl_alloc_fail_at(0, false);
            failed = rl_failed();
            assert_int_equal(rl_error_status(), failed ? RL_OUT_OF_MEMORY : RL_OK);
            assert_true(failed == !schedule);
            rl_error_clear();
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_pytorch_rates), cmocka_unit_test(test_state_in_file),
                                       cmocka_unit_test(test_refuses), cmocka_unit_test(test_cycles_beta1),
                                       cmocka_unit_test(test_without_memory)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rl_shutdown();
    return failed;
}
