/* SPDX-License-Identifier: Apache-2.0 */
/* Growing strings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"

static int clear(void **state) {
    (void)state;
    rl_alloc_fail_at(0, false);
    rl_error_clear();
    return 0;
}

static void grows(void **state) {
    (void)state;
    rl_text text = {0};
    for (int i = 0; i < 500; i++)
        rl_text_add(&text, "%d,", i % 10);
    rl_text_add_bytes(&text, "end", 3);
    rl_text_add_bytes(&text, NULL, 0);
    assert_int_equal(text.length, 1003);
    char *data = rl_text_take(&text);
    assert_int_equal(strlen(data), 1003);
    assert_string_equal(data + 998, "9,end");
    free(data);
    assert_null(text.data);
    data = rl_text_take(&text); /* an empty one is a string too */
    assert_string_equal(data, "");
    free(data);
    rl_text_free(&text);
}

static void json(void **state) {
    (void)state;
    static const struct {
        const char *text, *expected;
    } cases[] = {
        {"", "\"\""},
        {"plain", "\"plain\""},
        {"\"\\/\b\f\n\r\t\x01\x7f", "\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u007f\""},
        {"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\""},
        {"a\xff"
         "b",
         "\"a\xef\xbf\xbd"
         "b\""},
        {"\xc3", "\"\xef\xbf\xbd\""},
        {"\xc0\xaf", "\"\xef\xbf\xbd\xef\xbf\xbd\""},                                 /* overlong */
        {"\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},                 /* a surrogate */
        {"\xf4\x90\x80\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""}, /* beyond the last character */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rl_text text = {0};
        rl_text_add_json(&text, cases[i].text);
        assert_string_equal(text.data, cases[i].expected);
        rl_text_free(&text);
    }
}

static void excerpts(void **state) {
    (void)state;
    static const struct {
        const char *text;
        size_t limit;
        const char *expected;
    } cases[] = {
        {"short", 10, "short"},
        {"exactly10!", 10, "exactly10!"},
        {"eleven char", 10, "eleven cha..."},
        {"\033[2J\n", 10, "?[2J?"},
        {"ab\xe2\x82\xac", 5, "ab\xe2\x82\xac"},
        {"ab\xe2\x82\xac", 4, "ab..."}, /* no half of a character */
        {"\xff\xfe", 10, "??"},
        {"x", 0, "..."},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rl_text text = {0};
        rl_text_add_excerpt(&text, cases[i].text, cases[i].limit);
        assert_string_equal(text.data, cases[i].expected);
        rl_text_free(&text);
    }
}

static char *build(void) {
    rl_text text = {0};
    for (int i = 0; i < 30; i++) {
        rl_text_add(&text, "%s", "some text that needs room, ");
        rl_text_add_json(&text, "\n");
        rl_text_add_excerpt(&text, "much of it", 4);
    }
    return rl_text_take(&text);
}

static void every_allocation_fails(void **state) {
    (void)state;
    for (int onward = 0; onward < 2; onward++) {
        for (uint64_t n = 1;; n++) {
            assert_true(n < 100);
            rl_alloc_fail_at(n, onward);
            char *data = build();
            rl_alloc_fail_at(0, false);
            if (data) {
                assert_false(rl_failed());
                free(data);
                assert_true(n > 1);
                break;
            }
            assert_int_equal(rl_error_status(), RL_OUT_OF_MEMORY);
            rl_error_clear();
        }
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, clear, clear)

int main(void) {
    const struct CMUnitTest tests[] = {TEST(grows), TEST(json), TEST(excerpts), TEST(every_allocation_fails)};
    return cmocka_run_group_tests_name("base: text", tests, NULL, NULL);
}
