/* SPDX-License-Identifier: Apache-2.0 */
/* In a program whose locale writes 0,5: files, printed tensors and modules, samples and errors have 0.5. */
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "rushlight/rushlight.h"

/* One of the machine, or one made here; false where there is neither. */
static bool use_comma(void) {
    static const char *const names[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "ru_RU.UTF-8", "rushlight_comma"};
    (void)setenv("LOCPATH", TEST_BINARY_DIR "/locale", 0);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (i == 3 && system("mkdir -p " TEST_BINARY_DIR "/locale && localedef -i de_DE -f UTF-8 " TEST_BINARY_DIR
                             "/locale/rushlight_comma >/dev/null 2>&1") != 0)
            return false;
        if (setlocale(LC_NUMERIC, names[i]) && localeconv()->decimal_point[0] == ',')
            return true;
    }
    return false;
}

static void expect_text(char *text, const char *want) {
    assert_non_null(text);
    assert_string_equal(text, want);
    free(text);
}

static rl_optimizer *new_sgd(double lr) {
    rl_tensor *p = rl_requires_grad(rl_ones(RL_DIMS(2)), true);
    return rl_optimizer_sgd(NULL, .parameters = RL_TENSORS(p), .lr = lr);
}

static void test_comma(void **state) {
    (void)state;
    RL_SCOPE();
    char plain[] = "/tmp/rushlight-locale-XXXXXX", comma[] = "/tmp/rushlight-locale-XXXXXX";
    close(mkstemp(plain));
    close(mkstemp(comma));
    rl_optimizer *optimizer = new_sgd(0.25);
    assert_int_equal(rl_optimizer_save(optimizer, plain), RL_OK);
    if (!use_comma()) {
        print_message("no locale with a decimal comma, and none could be made: not tested\n");
        skip();
    }
    char text[16];
    snprintf(text, sizeof text, "%g", 0.5);
    assert_string_equal(text, "0,5");
    assert_int_equal(rl_optimizer_load(optimizer, plain), RL_OK);
    assert_int_equal(rl_optimizer_save(optimizer, comma), RL_OK);
    assert_string_equal(rl_safetensors_metadata_value(rl_safetensors_open(comma), "lr"), "0.25");
    expect_text(rl_tensor_to_string(rl_full(RL_DIMS(2), 0.5)), "tensor([0.5000, 0.5000])");
    expect_text(rl_tensor_to_string(rl_full(RL_DIMS(1), 1.5e10)), "tensor([1.5000e+10])");
    expect_text(rl_module_to_string(rl_nn_dropout(0.25)), "Dropout(p=0.25, inplace=False)");
    assert_null(rl_dropout(rl_ones(RL_DIMS(1)), 1.5, true));
    assert_non_null(strstr(rl_error_text(), "got 1.5"));
    rl_error_clear();
    assert_null(new_sgd(-0.5));
    assert_non_null(strstr(rl_error_text(), "got -0.5"));
    rl_error_clear();
    snprintf(text, sizeof text, "%g", 0.5); /* the program has its locale back */
    assert_string_equal(text, "0,5");
    setlocale(LC_NUMERIC, "C");
    assert_int_equal(rl_optimizer_load(optimizer, comma), RL_OK);
    unlink(plain);
    unlink(comma);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_comma)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
