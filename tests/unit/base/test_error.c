/* SPDX-License-Identifier: Apache-2.0 */
/* The sticky error of a thread, errors set aside, the handler, the log. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/env.h"
#include "base/error.h"
#include "base/memory.h"

static int clear(void **state) {
    (void)state;
    rl_alloc_fail_at(0, false);
    rl_set_error_handler(NULL, NULL);
    rl_error_clear();
    rl_shutdown();
    return 0;
}

static void no_error_at_first(void **state) {
    (void)state;
    assert_false(rl_failed());
    assert_int_equal(rl_error_status(), RL_OK);
    assert_string_equal(rl_error_text(), "");
}

static void first_error_stays(void **state) {
    (void)state;
    assert_int_equal(rl_fail(RL_SHAPE_MISMATCH, "add: %d and %d", 3, 4), RL_SHAPE_MISMATCH);
    assert_int_equal(rl_fail(RL_IO_ERROR, "later"), RL_SHAPE_MISMATCH);
    assert_null(rl_fail_null(RL_IO_ERROR, "later"));
    assert_true(rl_failed());
    assert_string_equal(rl_error_text(), "add: 3 and 4");
    rl_error_clear();
    assert_false(rl_failed());
    assert_int_equal(rl_fail(RL_IO_ERROR, "now"), RL_IO_ERROR);
    assert_string_equal(rl_error_text(), "now");
}

static void an_error_is_never_ok(void **state) {
    (void)state;
    assert_int_equal(rl_fail(RL_OK, "a bug of ours"), RL_INTERNAL);
}

static void status_texts(void **state) {
    (void)state;
    assert_string_equal(rl_status_text(RL_OK), "ok");
    assert_string_equal(rl_status_text(RL_OUT_OF_MEMORY), "out of memory");
    assert_string_equal(rl_status_text((rl_status)999), "unknown status");
}

static void long_sentences_are_whole(void **state) {
    (void)state;
    char sentence[2001];
    for (size_t length = 100; length <= 2000; length += 1 + length / 5) {
        memset(sentence, 'x', length);
        sentence[length] = '\0';
        rl_fail(RL_NOT_FOUND, "%s", sentence);
        assert_string_equal(rl_error_text(), sentence);
        rl_error_clear();
    }
}

/* Without memory the status is kept and the sentence cut, between characters. */
/* Called within another, a function's sentence begins with the outermost one's name, and the argument it is about. */
static void what_was_called(void **state) {
    (void)state;
    rl_error_context before = rl_error_enter("outer");
    rl_error_about("middle", "x"); /* not what was called */
    {
        RL_WITHIN("middle");
        rl_fail(RL_INVALID_ARGUMENT, "inner: %d", 3);
    }
    assert_string_equal(rl_error_text(), "outer: inner: 3");
    before = (rl_error_leave(&before), rl_error_enter("outer"));
    rl_error_state saved;
    rl_error_push(&saved);
    rl_fail(RL_INVALID_ARGUMENT, "outer: named already");
    assert_string_equal(rl_error_text(), "outer: named already");
    rl_error_pop(&saved, NULL);
    rl_error_clear();
    rl_error_enter("outer");
    rl_error_about("outer", "target");
    rl_fail(RL_INVALID_ARGUMENT, "inner: %0300d", 7); /* too long for the room in the thread */
    assert_int_equal(strlen(rl_error_text()), strlen("outer: target: inner: ") + 300);
    assert_memory_equal(rl_error_text(), "outer: target: inner: 0", 23);
    rl_error_push(&saved);
    rl_fail(RL_INVALID_ARGUMENT, "outer: index 3");
    assert_string_equal(rl_error_text(), "outer: target: index 3");
    rl_error_pop(&saved, NULL);
    rl_error_push(&saved);
    rl_fail(RL_INVALID_ARGUMENT, "outer: target 3 is no class");
    assert_string_equal(rl_error_text(), "outer: target 3 is no class");
    rl_error_pop(&saved, NULL);
    rl_error_leave(&before);
    rl_error_clear();
    rl_fail(RL_INVALID_ARGUMENT, "alone");
    assert_string_equal(rl_error_text(), "alone");
}

static void kept_without_memory(void **state) {
    (void)state;
    char sentence[301] = "";
    for (int i = 0; i < 100; i++)
        strcat(sentence, "\xe2\x82\xac"); /* the euro sign, three bytes */
    for (int shift = 0; shift < 3; shift++) {
        rl_alloc_fail_at(1, true);
        rl_fail(RL_DEVICE_LOST, "%.*s%s", shift, "ab", sentence);
        rl_alloc_fail_at(0, false);
        assert_int_equal(rl_error_status(), RL_DEVICE_LOST);
        const char *text = rl_error_text();
        size_t length = strlen(text);
        assert_in_range(length, 100, 128);
        assert_string_equal(text + length - 3, "...");
        assert_int_equal((length - 3 - (size_t)shift) % 3, 0);
        rl_error_clear();
    }
}

static void set_aside(void **state) {
    (void)state;
    rl_error_state saved, inner;
    char *text;
    rl_fail(RL_IO_ERROR, "outer");
    rl_error_push(&saved);
    assert_false(rl_failed());
    rl_fail(RL_NOT_FOUND, "attempt");
    rl_error_push(&inner);
    assert_false(rl_failed());
    assert_int_equal(rl_error_pop(&inner, &text), RL_OK);
    assert_null(text);
    assert_string_equal(rl_error_text(), "attempt");
    assert_int_equal(rl_error_pop(&saved, &text), RL_NOT_FOUND);
    assert_string_equal(text, "attempt");
    free(text);
    assert_int_equal(rl_error_status(), RL_IO_ERROR);
    assert_string_equal(rl_error_text(), "outer");
}

static void set_aside_nothing(void **state) {
    (void)state;
    rl_error_state saved;
    rl_error_push(&saved);
    rl_fail(RL_NOT_FOUND, "attempt");
    assert_int_equal(rl_error_pop(&saved, NULL), RL_NOT_FOUND);
    assert_false(rl_failed());
}

static void set_aside_without_memory(void **state) {
    (void)state;
    rl_error_state saved;
    char *text;
    rl_fail(RL_IO_ERROR, "outer");
    rl_alloc_fail_at(1, true);
    rl_error_push(&saved);
    rl_fail(RL_NOT_FOUND, "attempt");
    assert_int_equal(rl_error_pop(&saved, &text), RL_NOT_FOUND);
    rl_alloc_fail_at(0, false);
    assert_null(text);
    assert_int_equal(rl_error_status(), RL_IO_ERROR);
    assert_string_equal(rl_error_text(), "input/output error");
}

typedef struct seen {
    int calls;
    rl_status status;
    char text[64];
} seen;

static void on_error(rl_status status, const char *sentence, void *context) {
    seen *s = context;
    s->calls++;
    s->status = status;
    snprintf(s->text, sizeof s->text, "%s", sentence);
    rl_fail(RL_INTERNAL, "an error in the handler");
}

static void handler_sees_first_errors(void **state) {
    (void)state;
    seen s = {0};
    rl_set_error_handler(on_error, &s);
    rl_fail(RL_IO_ERROR, "one");
    rl_fail(RL_IO_ERROR, "two");
    assert_int_equal(s.calls, 1);
    assert_int_equal(s.status, RL_IO_ERROR);
    assert_string_equal(s.text, "one");
    rl_error_clear();
    rl_error_state saved;
    rl_error_push(&saved);
    rl_fail(RL_IO_ERROR, "an attempt is nobody's error");
    rl_error_pop(&saved, NULL);
    assert_int_equal(s.calls, 1);
    rl_fail(RL_NOT_FOUND, "three");
    assert_int_equal(s.calls, 2);
    assert_string_equal(s.text, "three");
}

static int went_well;
static void *fail_elsewhere(void *unused) {
    (void)unused;
    char sentence[500];
    memset(sentence, 'y', sizeof sentence - 1);
    sentence[sizeof sentence - 1] = '\0';
    bool clean = !rl_failed();
    rl_fail(RL_IO_ERROR, "%s", sentence); /* never cleared: the thread's end frees it */
    return clean && strcmp(rl_error_text(), sentence) == 0 ? &went_well : NULL;
}

static void each_thread_its_own(void **state) {
    (void)state;
    rl_fail(RL_NOT_FOUND, "mine");
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, fail_elsewhere, NULL), 0);
    for (int i = 0; i < 4; i++) {
        void *result;
        pthread_join(threads[i], &result);
        assert_non_null(result);
    }
    assert_string_equal(rl_error_text(), "mine");
}

/* What `say` writes to stderr. */
static const char *stderr_of(void (*say)(void)) {
    static char text[4096];
    FILE *file = tmpfile();
    assert_non_null(file);
    fflush(stderr);
    int kept = dup(2);
    assert_true(dup2(fileno(file), 2) == 2);
    say();
    fflush(stderr);
    dup2(kept, 2);
    close(kept);
    rewind(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    return text;
}

static void say_lines(void) {
    rl_log(RL_LOG_INFO, "load", "one %d", 1);
    rl_log(RL_LOG_DEBUG, "memory", "two\nlines");
}

static void log_topics_and_levels(void **state) {
    (void)state;
    static const char one[] = "rushlight: load: one 1\n", two[] = "rushlight: memory: two lines\n";
    static const struct {
        const char *value;
        bool one, two;
    } cases[] = {{"", 0, 0},      {"load", 1, 0}, {"memory,load", 1, 1}, {"all", 1, 1},        {"info", 1, 0},
                 {"debug", 1, 1}, {"LOAD", 1, 0}, {"warning", 0, 0},     {",,, load ,", 1, 0}, {"dispatch", 0, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        setenv("RUSHLIGHT_VERBOSE", cases[i].value, 1);
        rl_shutdown();
        char expected[128] = "";
        strcat(expected, cases[i].one ? one : "");
        strcat(expected, cases[i].two ? two : "");
        assert_string_equal(stderr_of(say_lines), expected);
    }
    setenv("RUSHLIGHT_VERBOSE", "loads\033,load", 1);
    rl_shutdown();
    assert_string_equal(
        stderr_of(say_lines),
        "rushlight: RUSHLIGHT_VERBOSE: there is no topic \"loads?\", but load, dispatch, memory, backend, "
        "all and the levels error, warning, info, debug\nrushlight: load: one 1\n");
    unsetenv("RUSHLIGHT_VERBOSE");
}

static int64_t got;
static bool flag;
static void read_number(void) {
    got = rl_env_int(RL_ENV_THREADS, 1, 1024, 7);
}
static void read_flag(void) {
    flag = rl_env_flag(RL_ENV_QUIET);
}

static void environment_numbers(void **state) {
    (void)state;
    unsetenv("RUSHLIGHT_THREADS");
    assert_null(rl_env_get(RL_ENV_THREADS));
    assert_int_equal(rl_env_int(RL_ENV_THREADS, 1, 1024, 7), 7);
    setenv("RUSHLIGHT_THREADS", "12", 1);
    assert_string_equal(rl_env_get(RL_ENV_THREADS), "12");
    assert_string_equal(stderr_of(read_number), "");
    assert_int_equal(got, 12);
    static const char *const wrong[] = {"0", "1025", "x", "1x", " 1", "99999999999999999999", "-1", "1.5"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        setenv("RUSHLIGHT_THREADS", wrong[i], 1);
        const char *said = stderr_of(read_number);
        assert_int_equal(got, 7);
        if (i == 0)
            assert_string_equal(said,
                                "rushlight: RUSHLIGHT_THREADS=\"0\" is not an integer from 1 to 1024 and is passed "
                                "over\n");
        else
            assert_string_equal(said, ""); /* once */
    }
    unsetenv("RUSHLIGHT_THREADS");
}

static void environment_flags(void **state) {
    (void)state;
    unsetenv("RUSHLIGHT_QUIET");
    assert_false(rl_env_flag(RL_ENV_QUIET));
    setenv("RUSHLIGHT_QUIET", "1", 1);
    assert_true(rl_env_flag(RL_ENV_QUIET));
    setenv("RUSHLIGHT_QUIET", "off", 1);
    assert_false(rl_env_flag(RL_ENV_QUIET));
    setenv("RUSHLIGHT_QUIET", "perhaps\033[1m", 1);
    assert_string_equal(stderr_of(read_flag),
                        "rushlight: RUSHLIGHT_QUIET=\"perhaps?[1m\" is not 0 or 1 and is passed over\n");
    assert_false(flag);
    unsetenv("RUSHLIGHT_QUIET");
}

static void environment_table(void **state) {
    (void)state;
    assert_string_equal(rl_env_describe(RL_ENV_DEVICE)->name, "RUSHLIGHT_DEVICE");
    for (int i = 0; i < RL_ENV_COUNT; i++) {
        assert_non_null(rl_env_describe((rl_env)i)->default_text);
        assert_true(strlen(rl_env_describe((rl_env)i)->text) > 0);
    }
    assert_null(rl_env_describe(RL_ENV_COUNT));
    assert_null(rl_env_get(RL_ENV_COUNT));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, clear, clear)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(no_error_at_first),         TEST(first_error_stays),
        TEST(an_error_is_never_ok),      TEST(status_texts),
        TEST(long_sentences_are_whole),  TEST(what_was_called),
        TEST(kept_without_memory),       TEST(set_aside),
        TEST(set_aside_nothing),         TEST(set_aside_without_memory),
        TEST(handler_sees_first_errors), TEST(each_thread_its_own),
        TEST(log_topics_and_levels),     TEST(environment_numbers),
        TEST(environment_flags),         TEST(environment_table),
    };
    return cmocka_run_group_tests_name("base: errors, log, environment", tests, NULL, NULL);
}
