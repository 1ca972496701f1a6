/* SPDX-License-Identifier: Apache-2.0 */
/* Steps of the optimizers are those of PyTorch's fused ones, to the bit (exact.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "exact.h"
#include "rushlight/rushlight.h"

enum { SIZE = 64, STEPS = 5 };

/* As record_exact.py has it. */
static float number(uint32_t i, uint32_t step) {
    uint32_t x = i * 2654435761u + step * 40503u + 12345u;
    x = (x ^ (x >> 15)) * 2246822519u;
    return (float)((int32_t)((x ^ (x >> 13)) % (1u << 24)) - (1 << 23)) / (float)(1 << 22);
}

static rl_tensor *numbers(uint32_t step) {
    float values[SIZE];
    for (uint32_t i = 0; i < SIZE; i++)
        values[i] = number(i, step);
    return rl_tensor_from_data(values, RL_DIMS(SIZE), RL_F32, NULL);
}

#define CASES(CASE)                                                                                                    \
    CASE(sgd, rl_optimizer_sgd(NULL, .parameters = RL_TENSORS(p), .lr = 0.1))                                          \
    CASE(sgd_momentum, rl_optimizer_sgd(NULL, .parameters = RL_TENSORS(p), .lr = 0.1, .momentum = 0.9,                 \
                                        .dampening = 0.3, .weight_decay = 0.01))                                       \
    CASE(sgd_nesterov, rl_optimizer_sgd(NULL, .parameters = RL_TENSORS(p), .lr = 0.1, .momentum = 0.9,                 \
                                        .weight_decay = 0.01, .nesterov = true))                                       \
    CASE(adam, rl_optimizer_adam(NULL, .parameters = RL_TENSORS(p)))                                                   \
    CASE(adam_decay, rl_optimizer_adam(NULL, .parameters = RL_TENSORS(p), .lr = 0.05, .beta1 = 0.8, .beta2 = 0.99,     \
                                       .eps = 1e-6, .weight_decay = 0.1))                                              \
    CASE(adam_amsgrad, rl_optimizer_adam(NULL, .parameters = RL_TENSORS(p), .lr = 0.05, .amsgrad = true))              \
    CASE(adamw,                                                                                                        \
         rl_optimizer_adamw(NULL, .parameters = RL_TENSORS(p), .lr = 0.05, .weight_decay = 0.3, .maximize = true))

#define FUNCTION(name, call)                                                                                           \
    static rl_optimizer *make_##name(rl_tensor *p) {                                                                   \
        return call;                                                                                                   \
    }
CASES(FUNCTION)

static const struct {
    const char *name;
    rl_optimizer *(*make)(rl_tensor *p);
    const float *exact;
} table[] = {
#define ROW(name, call) {#name, make_##name, exact_##name},
    CASES(ROW)};

static void test_exact(void **state) {
    (void)state;
    for (size_t c = 0; c < sizeof table / sizeof *table; c++) {
        RL_SCOPE();
        float got[SIZE];
        rl_tensor *p = rl_requires_grad(numbers(0), true);
        rl_optimizer *optimizer = table[c].make(p);
        for (uint32_t step = 1; step <= STEPS; step++) {
            rl_set_grad(p, numbers(step));
            rl_optimizer_step(optimizer);
        }
        assert_int_equal(rl_tensor_read(p, got, sizeof got), RL_OK);
        for (int i = 0; i < SIZE; i++)
            if (got[i] != table[c].exact[i])
                fail_msg("%s: element %d is %a, must be %a", table[c].name, i, (double)got[i],
                         (double)table[c].exact[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_exact)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
