/* SPDX-License-Identifier: Apache-2.0 */
/* Stamps of storages: a number stands for bytes that nobody changed. And what a backend keeps by them, of a convolution
 * whose weight changes in every way that there is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dispatch/dispatch.h"
#include "rushlight/device.h"
#include "rushlight/ops.h"
#include "rushlight/tensor.h"

static rl_device *onednn, *ref;

static uint64_t stamp(const rl_tensor *t) {
    return rl_storage_stamp(t->storage);
}

static void changes_are_stamped(void **state) {
    (void)state;
    RL_SCOPE();
    rl_device_set_default(ref);
    const float numbers[6] = {1, 2, 3, 4, 5, 6};
    rl_tensor *a = rl_ones(RL_DIMS(2, 3)), *b = rl_ones(RL_DIMS(2, 3)), *view = rl_transpose(a, 0, 1);
    uint64_t last = stamp(a);
    assert_true(last != 0);
    assert_true(stamp(a) == last && stamp(view) == last);
    assert_true(stamp(b) != last && stamp(b) == stamp(b));
    rl_add(a, 1.0); /* reads only */
    assert_true(stamp(a) == last);
#define CHANGES(change)                                                                                                \
    do {                                                                                                               \
        change;                                                                                                        \
        assert_false(rl_failed());                                                                                     \
        assert_true(stamp(a) != last && stamp(a) != 0);                                                                \
        last = stamp(a);                                                                                               \
        assert_true(stamp(view) == last);                                                                              \
    } while (0)
    CHANGES(rl_add_(a, b));
    CHANGES(rl_mul_(view, 2.0));
    CHANGES(rl_zero_(rl_select(a, 0, 1)));
    CHANGES(rl_tensor_write(a, numbers, sizeof numbers));
    CHANGES(rl_copy_(a, b));
    /* Also a change that did not come to its end. */
    rl_tensor *far = rl_tensor_from_data(&(int64_t){7}, RL_DIMS(1), RL_I64, ref);
    rl_index_fill_(a, 0, far, 3.0);
    assert_true(rl_failed());
    rl_error_clear();
    CHANGES((void)0);
    /* Memory in other hands may change at any time. */
    assert_non_null(rl_tensor_data(view));
    assert_true(stamp(a) == 0);
    rl_add_(a, b);
    assert_true(stamp(a) == 0 && stamp(view) == 0);
    float foreign[2] = {0};
    rl_tensor *wrapped = rl_tensor_wrap(foreign, RL_DIMS(2), (rl_ints){0}, RL_F32, ref, NULL, NULL);
    assert_non_null(wrapped);
    assert_true(stamp(wrapped) == 0);
}

/* A storage's memory goes to the next one: not its stamp. */
static void new_storages_are_new(void **state) {
    (void)state;
    rl_device_set_default(ref);
    uint64_t last = 0;
    for (int i = 0; i < 20; i++) {
        RL_SCOPE();
        rl_tensor *t = rl_ones(RL_DIMS(100));
        assert_true(stamp(t) > last);
        last = stamp(t);
    }
}

static rl_tensor *w, *x;
static void check(const char *what) {
    for (int i = 0; i < 3; i++) { /* a weight is kept the second time that it comes */
        RL_SCOPE();
        rl_device_set_default(onednn);
        rl_tensor *got = rl_conv2d(x, w, NULL, .padding = RL_DIMS(1));
        rl_tensor *back = rl_conv_grad_input(got, w, NULL, RL_DIMS(20, 20), .padding = RL_DIMS(1));
        rl_tensor *fresh = rl_clone(w);
        rl_tensor *want = rl_conv2d(x, fresh, NULL, .padding = RL_DIMS(1));
        rl_tensor *want_back = rl_conv_grad_input(got, fresh, NULL, RL_DIMS(20, 20), .padding = RL_DIMS(1));
        assert_false(rl_failed());
        if (!rl_equal(got, want) || !rl_equal(back, want_back))
            fail_msg("after %s, call %d: the convolution has an older weight", what, i + 1);
    }
}

static void convolutions_see_changes(void **state) {
    (void)state;
    if (onednn == NULL)
        skip();
    RL_SCOPE();
    rl_device_set_default(onednn);
    rl_manual_seed(1);
    x = rl_randn(RL_DIMS(2, 16, 20, 20));
    w = rl_randn(RL_DIMS(16, 16, 3, 3));
    static float numbers[16 * 16 * 9], foreign[16 * 16 * 9];
    for (int i = 0; i < 16 * 16 * 9; i++)
        numbers[i] = (float)(i % 17) - 8.0f;
    check("nothing");
    rl_mul_(w, 2.0);
    check("an op in place");
    rl_zero_(rl_select(w, 0, 3));
    check("a change of a view");
    rl_tensor_write(w, numbers, sizeof numbers);
    check("a write");
    rl_copy_(w, rl_randn(RL_DIMS(16, 16, 3, 3)));
    check("a copy");
    w = rl_transpose(w, 2, 3);
    check("other strides");
    float *data = rl_tensor_data(w);
    assert_non_null(data);
    for (int i = 0; i < 4; i++) {
        data[7] += 100.0f;
        check("a change through its address");
    }
    memcpy(foreign, numbers, sizeof numbers);
    w = rl_tensor_wrap(foreign, RL_DIMS(16, 16, 3, 3), (rl_ints){0}, RL_F32, onednn, NULL, NULL);
    for (int i = 0; i < 4; i++) {
        foreign[9] += 100.0f;
        check("a change of foreign memory");
    }
}

int main(void) {
    setenv("RUSHLIGHT_BACKEND_PATH", TEST_BINARY_DIR "/lib/rushlight", 0);
    ref = rl_device_get("ref");
    if (ref == NULL)
        fprintf(stderr, "%s\n", rl_error_text());
    onednn = rl_device_get("onednn");
    if (onednn == NULL)
        fprintf(stderr, "SKIPPED: %s\n", rl_error_text());
    rl_error_clear();
    const struct CMUnitTest tests[] = {cmocka_unit_test(changes_are_stamped), cmocka_unit_test(new_storages_are_new),
                                       cmocka_unit_test(convolutions_see_changes)};
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rl_shutdown();
    return failed;
}
