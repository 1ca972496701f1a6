/* SPDX-License-Identifier: Apache-2.0 */
/* Printed tensors, to the character as PyTorch prints them (record.py). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "rushlight/rushlight.h"

typedef struct printed_case {
    rl_dtype dtype;
    int64_t ndim, shape[4];
    int n_values;
    double scale; /* times the number of the element is added */
    double reals[4];
    int64_t wholes[4];
    const char *text;
} printed_case;

#include "printed.h"
enum { N_CASES = sizeof printed_cases / sizeof printed_cases[0] };

static rl_tensor *make(const printed_case *c) {
    int64_t count = 1;
    for (int64_t d = 0; d < c->ndim; d++)
        count *= c->shape[d];
    bool floating = rl_dtype_is_float(c->dtype);
    double *reals = calloc((size_t)count + 1, sizeof *reals);
    int64_t *wholes = calloc((size_t)count + 1, sizeof *wholes);
    assert_non_null(reals);
    assert_non_null(wholes);
    for (int64_t i = 0; i < count; i++) {
        reals[i] = c->reals[i % c->n_values] + c->scale * (double)i;
        wholes[i] = c->wholes[i % c->n_values] + (int64_t)c->scale * i;
    }
    rl_tensor *made = rl_tensor_from_data(floating ? (const void *)reals : wholes, (rl_ints){c->shape, c->ndim},
                                          floating ? RL_F64 : RL_I64, NULL);
    free(reals);
    free(wholes);
    return rl_to(made, .dtype = c->dtype);
}

static void expect_text(const rl_tensor *tensor, const char *text) {
    char *printed = rl_tensor_to_string(tensor);
    if (printed == NULL)
        fail_msg("%s", rl_error_text());
    else if (strcmp(printed, text) != 0)
        fail_msg("printed\n%s\nPyTorch prints\n%s", printed, text);
    free(printed);
}

static void test_recorded(void **state) {
    (void)state;
    for (int i = 0; i < N_CASES; i++) {
        RL_SCOPE();
        expect_text(make(&printed_cases[i]), printed_cases[i].text);
    }
}

static void test_history(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *x = rl_requires_grad(rl_ones(RL_DIMS(2)), true);
    expect_text(x, "tensor([1., 1.], requires_grad=True)");
    expect_text(rl_mul(x, 2), "tensor([2., 2.], grad_fn=<MulBackward0>)");
    expect_text(rl_requires_grad(rl_zeros(RL_DIMS(2, 0), .dtype = RL_F64), true),
                "tensor([], size=(2, 0), dtype=torch.float64, requires_grad=True)");
}

/* Views print what they show, and a suffix that does not fit begins a line of its own. */
static void test_layout(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *x = rl_view(rl_arange(6), RL_DIMS(2, 3));
    expect_text(rl_t(x), "tensor([[0, 3],\n        [1, 4],\n        [2, 5]])");
    expect_text(rl_full(RL_DIMS(9), 12345, .dtype = RL_I32),
                "tensor([12345, 12345, 12345, 12345, 12345, 12345, 12345, 12345, 12345],\n       dtype=torch.int32)");
}

static void test_refuses(void **state) {
    (void)state;
    assert_null(rl_tensor_to_string(NULL));
    assert_int_equal(rl_error_status(), RL_INVALID_ARGUMENT);
    rl_error_clear();
    RL_SCOPE();
    rl_tensor *x = rl_t(rl_ones(RL_DIMS(20, 30)));
    for (uint64_t n = 1;; n++) {
        rl_alloc_fail_at(n, false);
        char *text = rl_tensor_to_string(x);
        rl_alloc_fail_at(0, false);
        if (text) {
            free(text);
            break;
        }
        assert_int_equal(rl_error_status(), RL_OUT_OF_MEMORY);
        rl_error_clear();
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_recorded), cmocka_unit_test(test_history),
                                       cmocka_unit_test(test_layout), cmocka_unit_test(test_refuses)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rl_shutdown();
    return failed;
}
