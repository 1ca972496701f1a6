/* SPDX-License-Identifier: Apache-2.0 */
/* Under autocast every recorded call gives results of the dtypes that PyTorch gives, from f32 and from bf16. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "rushlight/autocast.h"
#include "rushlight/device.h"
#include "rushlight/testing.h"

/* Where ours is another: op and dtype of its floats. */
static const struct difference {
    const char *op;
    rl_dtype dtype;
    const char *why;
} differences[] = {
    {"local_response_norm", RL_BF16, "PyTorch makes it of avg_pool3d, which it computes in f32"},
    {"pad", RL_BF16, "in PyTorch reflect and replicate are ops of their own, in f32; here all modes copy"},
    {"gru", RL_F32, "PyTorch composes it of products in bf16 and a state in f32; here, and in its lstm, all is bf16"},
    {"gru_cell", RL_F32, "as gru"},
    {"lstm_cell", RL_F32, "as gru"},
};

static bool is_known(const char *op, rl_dtype dtype) {
    for (size_t i = 0; i < sizeof differences / sizeof *differences; i++)
        if (strcmp(differences[i].op, op) == 0 && differences[i].dtype == dtype)
            return true;
    return false;
}

static size_t op_number(const char *name) {
    rl_op_info info = {.struct_size = sizeof info};
    for (size_t i = 0; i < rl_op_count(); i++)
        if (rl_op_describe(i, &info) && strcmp(info.name, name) == 0)
            return i;
    return rl_op_count();
}

/* "bf16,i64" */
static void dtypes_of(rl_tensors results, char *text, size_t room) {
    size_t used = 0;
    text[0] = 0;
    for (int64_t i = 0; i < results.count && used < room; i++) {
        static const char *const words[RL_DTYPE_COUNT] = {
            [RL_F32] = "f32", [RL_F64] = "f64", [RL_F16] = "f16", [RL_BF16] = "bf16", [RL_I64] = "i64",
            [RL_I32] = "i32", [RL_I16] = "i16", [RL_I8] = "i8",   [RL_U8] = "u8",     [RL_BOOL] = "b"};
        used +=
            (size_t)snprintf(text + used, room - used, "%s%s", i ? "," : "", words[rl_tensor_dtype(results.data[i])]);
    }
}

/* One call, from floats of this dtype; says what is wrong. */
static bool agrees(const char *op, const char *line, rl_dtype dtype, const char *want) {
    char got[256];
    RL_SCOPE();
    rl_test_call *call = rl_test_line_call(op_number(op), line, dtype, rl_device_get("ref"), RL_TEST_AS_WRITTEN);
    if (strcmp(want, "-") == 0 || !call)
        return call != NULL;
    {
        RL_AUTOCAST(RL_BF16);
        rl_test_run(call, false);
    }
    if (rl_failed()) {
        print_error("%s %s: %s\n", op, line, rl_error_text());
        return false;
    }
    dtypes_of(rl_test_results(call), got, sizeof got);
    if (strcmp(got, want) == 0 || is_known(op, dtype))
        return true;
    print_error("%s %s of %s gives %s, PyTorch %s\n", op, line, rl_dtype_name(dtype), got, want);
    return false;
}

static void test_dtypes(void **state) {
    (void)state;
    FILE *file = fopen(TEST_SOURCE_DIR "/tests/golden/autocast.txt", "r");
    char line[1024], *part[4];
    int calls = 0, wrong = 0;
    assert_non_null(file);
    while (fgets(line, sizeof line, file)) {
        if (line[0] == '#')
            continue;
        line[strcspn(line, "\n")] = 0;
        part[0] = line;
        for (int i = 1; i < 4; i++) {
            char *bar = strchr(part[i - 1], '|');
            assert_non_null(bar);
            *bar = 0;
            part[i] = bar + 1;
        }
        wrong += !agrees(part[0], part[1], RL_F32, part[2]);
        rl_error_clear();
        wrong += !agrees(part[0], part[1], RL_BF16, part[3]);
        rl_error_clear();
        calls++;
    }
    fclose(file);
    print_message("%d calls\n", calls);
    assert_true(calls > 200);
    assert_int_equal(wrong, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_dtypes)};
    rl_device_set_default(rl_device_get("ref"));
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rl_shutdown();
    return failed;
}
