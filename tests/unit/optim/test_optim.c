/* SPDX-License-Identifier: Apache-2.0 */
/* Optimizers against PyTorch's numbers (record.py), their state in files, and what they refuse. */
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
#include "dispatch/device.h"
#define EXPECT_PARAMETERS
#include "expected.h"
#include "rushlight/rushlight.h"

enum { PARAMETERS = 2, MOST = 6 };
static const int counts[PARAMETERS] = {6, 4};

typedef struct problem {
    rl_tensor *parameters[PARAMETERS];
    rl_optimizer *optimizer;
} problem;
typedef rl_optimizer *(*make_optimizer)(rl_tensors parameters);

static problem start(make_optimizer make) {
    problem p;
    float values[MOST];
    for (int i = 0; i < MOST; i++)
        values[i] = (float)(i - 2) / 4.0f;
    p.parameters[0] = rl_requires_grad(rl_tensor_from_data(values, RL_DIMS(2, 3), RL_F32, NULL), true);
    p.parameters[1] = rl_requires_grad(rl_tensor_from_data(values, RL_DIMS(4), RL_F32, NULL), true);
    p.optimizer = make((rl_tensors){p.parameters, PARAMETERS});
    return p;
}

static void step(problem *p, int number) {
    for (int k = 0; k < PARAMETERS; k++) {
        float values[MOST];
        for (int i = 0; i < counts[k]; i++)
            values[i] = (float)((i * 7 + number * 3) % 11 - 5) / 8.0f;
        RL_SCOPE();
        rl_ints shape = {rl_tensor_shape(p->parameters[k]), rl_tensor_ndim(p->parameters[k])};
        rl_set_grad(p->parameters[k], rl_tensor_from_data(values, shape, RL_F32, NULL));
    }
    rl_optimizer_step(p->optimizer);
}

static void read_all(const problem *p, float *out) {
    rl_tensor_read(p->parameters[0], out, 6 * sizeof(float));
    rl_tensor_read(p->parameters[1], out + 6, 4 * sizeof(float));
}

static void assert_near(const float *got, const float *want) {
    assert_int_equal(rl_error_status(), RL_OK);
    for (int i = 0; i < 10; i++) {
        if (!(fabsf(got[i] - want[i]) <= 1e-6f + 1e-5f * fabsf(want[i])))
            fail_msg("element %d is %.9g, PyTorch has %.9g", i, (double)got[i], (double)want[i]);
    }
}

/* X(name, call): the optimizers of record.py. */
#define CONFIGS(X)                                                                                                     \
    X(sgd, rl_optimizer_sgd(NULL, .parameters = p, .lr = 0.1))                                                         \
    X(sgd_momentum, rl_optimizer_sgd(NULL, .parameters = p, .lr = 0.1, .momentum = 0.9))                               \
    X(sgd_dampening,                                                                                                   \
      rl_optimizer_sgd(NULL, .parameters = p, .lr = 0.1, .momentum = 0.9, .dampening = 0.5, .weight_decay = 0.01))     \
    X(sgd_nesterov,                                                                                                    \
      rl_optimizer_sgd(NULL, .parameters = p, .lr = 0.1, .momentum = 0.9, .weight_decay = 0.01, .nesterov = true))     \
    X(sgd_maximize, rl_optimizer_sgd(NULL, .parameters = p, .lr = 0.1, .maximize = true))                              \
    X(adam, rl_optimizer_adam(NULL, .parameters = p))                                                                  \
    X(adam_decay, rl_optimizer_adam(NULL, .parameters = p, .lr = 0.05, .beta1 = 0.8, .beta2 = 0.99, .eps = 1e-6,       \
                                    .weight_decay = 0.1))                                                              \
    X(adam_amsgrad, rl_optimizer_adam(NULL, .parameters = p, .lr = 0.05, .amsgrad = true))                             \
    X(adamw, rl_optimizer_adamw(NULL, .parameters = p, .lr = 0.05))                                                    \
    X(adamw_decay, rl_optimizer_adamw(NULL, .parameters = p, .lr = 0.05, .weight_decay = 0.3, .maximize = true))       \
    X(rmsprop, rl_optimizer_rmsprop(NULL, .parameters = p))                                                            \
    X(rmsprop_momentum,                                                                                                \
      rl_optimizer_rmsprop(NULL, .parameters = p, .lr = 0.02, .alpha = 0.9, .momentum = 0.8, .weight_decay = 0.1))     \
    X(rmsprop_centered, rl_optimizer_rmsprop(NULL, .parameters = p, .lr = 0.02, .centered = true, .maximize = true))   \
    X(rmsprop_all,                                                                                                     \
      rl_optimizer_rmsprop(NULL, .parameters = p, .lr = 0.02, .eps = 1e-4, .centered = true, .momentum = 0.5))         \
    X(adagrad, rl_optimizer_adagrad(NULL, .parameters = p))                                                            \
    X(adagrad_all, rl_optimizer_adagrad(NULL, .parameters = p, .lr = 0.1, .lr_decay = 0.2, .weight_decay = 0.1,        \
                                        .eps = 1e-3, .initial_accumulator_value = 0.5, .maximize = true))              \
    X(adadelta, rl_optimizer_adadelta(NULL, .parameters = p))                                                          \
    X(adadelta_all, rl_optimizer_adadelta(NULL, .parameters = p, .lr = 0.5, .rho = 0.8, .eps = 1e-3,                   \
                                          .weight_decay = 0.1, .maximize = true))                                      \
    X(adamax, rl_optimizer_adamax(NULL, .parameters = p))                                                              \
    X(adamax_all, rl_optimizer_adamax(NULL, .parameters = p, .lr = 0.1, .beta1 = 0.8, .beta2 = 0.9, .eps = 1e-3,       \
                                      .weight_decay = 0.1))                                                            \
    X(nadam, rl_optimizer_nadam(NULL, .parameters = p))                                                                \
    X(nadam_all, rl_optimizer_nadam(NULL, .parameters = p, .lr = 0.05, .beta1 = 0.8, .beta2 = 0.9,                     \
                                    .weight_decay = 0.1, .momentum_decay = 0.1))                                       \
    X(nadam_decoupled,                                                                                                 \
      rl_optimizer_nadam(NULL, .parameters = p, .lr = 0.05, .weight_decay = 0.1, .decoupled_weight_decay = true))      \
    X(radam, rl_optimizer_radam(NULL, .parameters = p))                                                                \
    X(radam_all, rl_optimizer_radam(NULL, .parameters = p, .lr = 0.05, .beta1 = 0.8, .beta2 = 0.9,                     \
                                    .weight_decay = 0.1, .maximize = true))                                            \
    X(radam_decoupled,                                                                                                 \
      rl_optimizer_radam(NULL, .parameters = p, .lr = 0.05, .weight_decay = 0.1, .decoupled_weight_decay = true))      \
    X(groups, two_groups(p))

static rl_optimizer *two_groups(rl_tensors p) {
    rl_tensors first = {p.data, 1}, second = {p.data + 1, p.count - 1};
    rl_optimizer *sgd = rl_optimizer_sgd(NULL, .parameters = first, .lr = 0.1, .momentum = 0.9, .weight_decay = 0.1);
    rl_optimizer_add_group(sgd, second, .lr = 0.01, .weight_decay = (double)RL_ZERO, .momentum = 0.5);
    return sgd;
}

#define MAKE(name, call)                                                                                               \
    static rl_optimizer *make_##name(rl_tensors p) {                                                                   \
        return call;                                                                                                   \
    }
CONFIGS(MAKE)
#undef MAKE

static const struct config {
    const char *name;
    make_optimizer make;
    const float *expected;
} configs[] = {
#define ROW(name, call) {#name, make_##name, expected_##name},
    CONFIGS(ROW)
#undef ROW
};
enum { N_CONFIGS = sizeof configs / sizeof configs[0] };

static void test_pytorch_numbers(void **state) {
    (void)state;
    for (int c = 0; c < N_CONFIGS; c++) {
        RL_SCOPE();
        float got[10];
        print_message("%s\n", configs[c].name);
        problem p = start(configs[c].make);
        for (int i = 0; i < STEPS; i++)
            step(&p, i);
        read_all(&p, got);
        assert_near(got, configs[c].expected);
    }
}

/* A file of an optimizer that has made no step takes back the steps of the one that loads it. */
static void test_fresh_state_in_file(void **state) {
    (void)state;
    char path[] = "/tmp/rushlight-optim-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    for (int c = 0; c < N_CONFIGS; c++) {
        RL_SCOPE();
        float got[10], expected[10];
        problem fresh = start(configs[c].make), used = start(configs[c].make), start_again = start(configs[c].make);
        assert_int_equal(rl_optimizer_save(fresh.optimizer, path), RL_OK);
        for (int i = 0; i < 3; i++)
            step(&used, i);
        assert_int_equal(rl_optimizer_load(used.optimizer, path), RL_OK);
        {
            RL_NO_GRAD();
            for (int k = 0; k < PARAMETERS; k++)
                rl_copy_(used.parameters[k], fresh.parameters[k]);
        }
        step(&used, 0);
        step(&start_again, 0);
        read_all(&used, got);
        read_all(&start_again, expected);
        assert_memory_equal(got, expected, sizeof got);
    }
    /* Counts of steps that are none. */
    static const char *const lies[] = {"99999999999999999999", "0", "-1", " 5", "+5", "5x", "", "9007199254740993"};
    RL_SCOPE();
    problem adam = start(make_adam);
    for (int i = 0; i < (int)(sizeof lies / sizeof *lies); i++) {
        const rl_metadata lines[] = {{"optimizer", "Adam"}, {"lr", "0.1"}, {"0.step", lies[i]}};
        assert_int_equal(rl_safetensors_save(path, NULL, (rl_tensors){0}, lines, 3), RL_OK);
        assert_int_equal(rl_optimizer_load(adam.optimizer, path), RL_BAD_FORMAT);
        assert_non_null(strstr(rl_error_text(), "'0.step' must be a count of steps"));
        rl_error_clear();
    }
    unlink(path);
}

/* Two steps, a file, three more by another optimizer: as if nothing had happened between. */
static void test_state_in_file(void **state) {
    (void)state;
    char path[] = "/tmp/rushlight-optim-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    for (int c = 0; c < N_CONFIGS; c++) {
        RL_SCOPE();
        float got[10];
        problem first = start(configs[c].make), second = start(configs[c].make);
        for (int i = 0; i < 2; i++)
            step(&first, i);
        assert_int_equal(rl_optimizer_save(first.optimizer, path), RL_OK);
        {
            RL_NO_GRAD();
            for (int k = 0; k < PARAMETERS; k++)
                rl_copy_(second.parameters[k], first.parameters[k]);
        }
        assert_int_equal(rl_optimizer_load(second.optimizer, path), RL_OK);
        for (int i = 2; i < STEPS; i++)
            step(&second, i);
        read_all(&second, got);
        assert_near(got, configs[c].expected);
    }
    {
        RL_SCOPE();
        problem adam = start(make_adam), adamw = start(make_adamw);
        assert_int_equal(rl_optimizer_save(adamw.optimizer, path), RL_OK);
        assert_int_equal(rl_optimizer_load(adam.optimizer, path), RL_BAD_FORMAT);
        assert_non_null(strstr(rl_error_text(), "AdamW"));
        rl_error_clear();
    }
    unlink(path);
}

static void expect(rl_status status, const char *sentence) {
    assert_int_equal(rl_error_status(), status);
    if (!strstr(rl_error_text(), sentence))
        fail_msg("'%s' does not say '%s'", rl_error_text(), sentence);
    rl_error_clear();
}

static void test_refuses(void **state) {
    (void)state;
    RL_SCOPE();
    rl_module *net = rl_nn_linear(2, 2);
    assert_null(rl_optimizer_sgd(net, .lr = -1.0));
    expect(RL_INVALID_ARGUMENT, "lr");
    assert_null(rl_optimizer_sgd(net, .momentum = -0.5));
    expect(RL_INVALID_ARGUMENT, "momentum");
    assert_null(rl_optimizer_sgd(net, .nesterov = true));
    expect(RL_INVALID_ARGUMENT, "nesterov");
    assert_null(rl_optimizer_adam(net, .beta1 = 1.0));
    expect(RL_INVALID_ARGUMENT, "beta");
    assert_null(rl_optimizer_adam(NULL));
    expect(RL_INVALID_ARGUMENT, "optimizer_adam: neither a module nor .parameters is given");
    assert_null(rl_optimizer_adamw(net, .lr = -1));
    expect(RL_INVALID_ARGUMENT, "optimizer_adamw: lr must be 0 or more, got -1");
    assert_null(rl_optimizer_adamw_opt(net, &(rl_optimizer_adam_options){.lr = 1}));
    expect(RL_INVALID_ARGUMENT, "optimizer_adamw: struct_size of the options is 0");
    assert_null(rl_optimizer_rmsprop(net, .alpha = -1));
    expect(RL_INVALID_ARGUMENT, "optimizer_rmsprop: alpha must be 0 or more, got -1");
    assert_null(rl_optimizer_adam(rl_nn_relu()));
    expect(RL_INVALID_ARGUMENT, "parameters");
    assert_int_equal(rl_optimizer_step(NULL), RL_INVALID_ARGUMENT);
    rl_error_clear();
}

static void test_groups(void **state) {
    (void)state;
    RL_SCOPE();
    problem p = start(make_groups);
    assert_int_equal(rl_optimizer_group_count(p.optimizer), 2);
    assert_true(rl_optimizer_lr(p.optimizer) == 0.1 && rl_optimizer_group_lr(p.optimizer, 1) == 0.01);
    assert_int_equal(rl_optimizer_set_group_lr(p.optimizer, 1, 0.5), RL_OK);
    assert_true(rl_optimizer_lr(p.optimizer) == 0.1 && rl_optimizer_group_lr(p.optimizer, 1) == 0.5);
    assert_int_equal(rl_optimizer_set_lr(p.optimizer, 0.25), RL_OK);
    assert_true(rl_optimizer_lr(p.optimizer) == 0.25 && rl_optimizer_group_lr(p.optimizer, 1) == 0.25);
    assert_int_equal(rl_optimizer_set_group_lr(p.optimizer, 2, 0.5), RL_INVALID_ARGUMENT);
    expect(RL_INVALID_ARGUMENT, "group must lie within 0 and 1, got 2");
    rl_optimizer_add_group(p.optimizer, ((rl_tensors){p.parameters + 1, 1}));
    expect(RL_INVALID_ARGUMENT, "parameter 0 is given twice");
    rl_tensor *fresh[2];
    fresh[0] = fresh[1] = rl_requires_grad(rl_ones(RL_DIMS(2)), true);
    rl_optimizer_add_group(p.optimizer, ((rl_tensors){fresh, 2}));
    expect(RL_INVALID_ARGUMENT, "parameter 1 is given twice");
    rl_optimizer_add_group(p.optimizer, ((rl_tensors){fresh, 1}), .lr = -1.0);
    expect(RL_INVALID_ARGUMENT, "optimizer_add_group: lr must be 0 or more, got -1");
    assert_int_equal(rl_optimizer_group_count(p.optimizer), 2);
    rl_optimizer_add_group(p.optimizer, ((rl_tensors){fresh, 1}));
    assert_int_equal(rl_optimizer_group_count(p.optimizer), 3);
    step(&p, 0);
    assert_int_equal(rl_error_status(), RL_OK);
}

/* f16 and bf16 parameters: the step is computed in f32 and rounded once. */
static void test_half_parameters(void **state) {
    static const rl_dtype dtypes[] = {RL_F16, RL_BF16};
    (void)state;
    for (int d = 0; d < 2; d++) {
        RL_SCOPE();
        float start_at = 1.0f, gradient = 0.375f, got = 0.0f, want = 0.0f;
        rl_tensor *half =
            rl_requires_grad(rl_to(rl_tensor_from_data(&start_at, RL_DIMS(1), RL_F32, NULL), .dtype = dtypes[d]), true);
        rl_optimizer *sgd =
            rl_optimizer_sgd(NULL, .parameters = ((rl_tensors){&half, 1}), .lr = 1.0 / 3.0, .weight_decay = 0.7);
        rl_set_grad(half, rl_to(rl_tensor_from_data(&gradient, RL_DIMS(1), RL_F32, NULL), .dtype = dtypes[d]));
        rl_optimizer_step(sgd);
        float exact = 1.0f - (float)(1.0 / 3.0) * (0.375f + 0.7f * 1.0f);
        rl_tensor_read(rl_to(half, .dtype = RL_F32), &got, sizeof got);
        rl_tensor_read(
            rl_to(rl_to(rl_tensor_from_data(&exact, RL_DIMS(1), RL_F32, NULL), .dtype = dtypes[d]), .dtype = RL_F32),
            &want, sizeof want);
        assert_int_equal(rl_error_status(), RL_OK);
        assert_true(got == want);
    }
}

/* Gradients of several backwards add up: two halves of a batch are the batch. */
static void test_accumulation(void **state) {
    (void)state;
    float values[8 * 3], whole[3], halves[3];
    for (int i = 0; i < 24; i++)
        values[i] = (float)(i * 5 % 7) - 3.0f;
    for (int parts = 1; parts <= 2; parts++) {
        RL_SCOPE();
        rl_tensor *w = rl_requires_grad(rl_ones(RL_DIMS(3, 1)), true),
                  *x = rl_tensor_from_data(values, RL_DIMS(8, 3), RL_F32, NULL);
        rl_optimizer *adam = rl_optimizer_adam(NULL, .parameters = ((rl_tensors){&w, 1}), .lr = 0.1);
        for (int step_number = 0; step_number < 3; step_number++) {
            RL_SCOPE();
            rl_optimizer_zero_grad(adam);
            for (int part = 0; part < parts; part++) {
                rl_tensor *some = rl_narrow(x, 0, part * 8 / parts, 8 / parts);
                rl_backward(rl_div(rl_sum(rl_square(rl_matmul(some, w))), 8.0));
            }
            rl_optimizer_step(adam);
        }
        rl_tensor_read(w, parts == 1 ? whole : halves, sizeof whole);
    }
    assert_int_equal(rl_error_status(), RL_OK);
    for (int i = 0; i < 3; i++)
        assert_true(fabsf(whole[i] - halves[i]) <= 1e-6f);
}

/* A parameter without a gradient stays as it is; the others move. */
static void test_skips_without_gradient(void **state) {
    (void)state;
    RL_SCOPE();
    float got[10];
    problem p = start(make_adam);
    step(&p, 0);
    read_all(&p, got);
    float second = got[6];
    rl_optimizer_zero_grad(p.optimizer);
    rl_set_grad(p.parameters[0], rl_ones_like(p.parameters[0]));
    rl_optimizer_step(p.optimizer);
    float before = got[0];
    read_all(&p, got);
    assert_int_equal(rl_error_status(), RL_OK);
    assert_true(got[0] != before);
    assert_true(got[6] == second);
}

static rl_status (*real_map)(rl_backend_stream *stream, const rl_map_args *args);
static int map_calls;
static rl_status counting_map(rl_backend_stream *stream, const rl_map_args *args) {
    map_calls++;
    return real_map(stream, args);
}

/* A step is one map call for each program, however many parameters there are, and moves each of them. */
static void test_one_call(void **state) {
    (void)state;
    enum { MANY = 150 };
    for (int c = 0; c < N_CONFIGS; c++) {
        RL_SCOPE();
        rl_tensor *p[MANY];
        for (int64_t i = 0; i < MANY; i++)
            p[i] = rl_requires_grad(rl_ones(RL_DIMS(1 + i % 7, 3)), true);
        rl_optimizer *optimizer = configs[c].make((rl_tensors){p, MANY});
        rl_device *device = p[0]->storage->device;
        for (int s = 0; s < 3; s++) { /* the first makes the states, by calls of their own */
            for (int i = 0; i < MANY; i++)
                rl_set_grad(p[i], rl_full_like(p[i], 0.013 * (i + 1)));
            map_calls = 0;
            real_map = device->api.map;
            device->api.map = counting_map;
            rl_optimizer_step(optimizer);
            device->api.map = real_map;
            assert_int_equal(rl_error_status(), RL_OK);
            if (s > 0 && map_calls != rl_optimizer_group_count(optimizer)) /* the two groups' programs differ */
                fail_msg("%s: %d map calls", configs[c].name, map_calls);
        }
        for (int i = 0; i < MANY; i++) {
            if (rl_item(rl_max(p[i])) == 1.0)
                fail_msg("%s leaves parameter %d as it was", configs[c].name, i);
        }
        assert_int_equal(rl_error_status(), RL_OK);
    }
}

/* Every allocation fails once: an error, no leak, and the next try works. */
static void test_without_memory(void **state) {
    (void)state;
    for (uint64_t n = 1; n < 400; n++) {
        RL_SCOPE();
        rl_alloc_fail_at(n, false);
        problem p = start(make_adam);
        if (!rl_failed())
            step(&p, 0);
        rl_alloc_fail_at(0, false);
        bool failed = rl_failed();
        if (failed)
            assert_int_equal(rl_error_status(), RL_OUT_OF_MEMORY);
        rl_error_clear();
        if (!failed)
            return;
    }
    fail_msg("there is no end of allocations");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_pytorch_numbers),
                                       cmocka_unit_test(test_state_in_file),
                                       cmocka_unit_test(test_fresh_state_in_file),
                                       cmocka_unit_test(test_refuses),
                                       cmocka_unit_test(test_skips_without_gradient),
                                       cmocka_unit_test(test_without_memory),
                                       cmocka_unit_test(test_one_call),
                                       cmocka_unit_test(test_groups),
                                       cmocka_unit_test(test_half_parameters),
                                       cmocka_unit_test(test_accumulation)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rl_shutdown();
    return failed;
}
