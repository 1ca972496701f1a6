/* SPDX-License-Identifier: Apache-2.0 */
/* The registry's lives: with threads that all come first, and while our own allocations fail. Plugins of every kind are
 * tried by integration/backends.sh. */
#include "dispatch/registry.h"

#include "../support/cmocka_support.h"

#include <stdlib.h>
#include <string.h>

#define PLUGINS TEST_BINARY_DIR "/lib/test_plugins/"

static int start(void **state) {
    (void)state;
    setenv("RUSHLIGHT_QUIET", "1", 1);
    setenv("RUSHLIGHT_DEVICE", "ref", 1);
    setenv("RUSHLIGHT_BACKEND_PATH",
           PLUGINS "rushlight_backend_longer.so:" PLUGINS "rushlight_backend_lacks_map.so:/no/such/file:relative", 1);
    return 0;
}

static int stop(void **state) {
    (void)state;
    rl_alloc_fail_at(0, false);
    rl_error_clear();
    rl_shutdown();
    return 0;
}

static bool holds(const char *name, rl_load_stage stage, const char *sentence) {
    rl_load_record record = {.struct_size = sizeof record};
    for (size_t i = 0; rl_load_report_get(i, &record); i++) {
        if (strcmp(record.name, name) == 0)
            return record.stage == stage && strstr(record.sentence, sentence) != NULL;
    }
    return false;
}

static void lives_are_alike(void **state) {
    (void)state;
    for (int life = 0; life < 4; life++) {
        rl_device *devices[8];
        size_t n = rl_device_list(devices, COUNT(devices));
        assert_true(n >= 2);
        assert_string_equal(rl_device_name(rl_device_default()), "ref:0");
        assert_true(holds("ref", RL_LOAD_USABLE, ""));
        assert_true(holds("longer", RL_LOAD_DEVICES, ""));
        assert_true(holds("lacks_map", RL_LOAD_SYMBOL, "lacks map"));
        assert_true(holds("relative", RL_LOAD_FOUND, "must begin with '/'"));
        assert_non_null(rl_device_get("longer"));
        assert_true(holds("longer", RL_LOAD_USABLE, ""));
        assert_false(rl_failed());
        rl_shutdown();
    }
}

static void explicit_loading_says_why_not(void **state) {
    (void)state;
    assert_int_equal(rl_backend_load(NULL), RL_INVALID_ARGUMENT);
    rl_error_clear();
    assert_int_equal(rl_backend_load(""), RL_INVALID_ARGUMENT);
    rl_error_clear();
    assert_int_equal(rl_backend_load("/no/such/file"), RL_NOT_FOUND);
    assert_string_equal(rl_error_text(), "backend_load: /no/such/file: it cannot be found: No such file or directory");
    rl_error_clear();
    assert_int_equal(rl_backend_load(PLUGINS "rushlight_backend_query_fails.so"), RL_UNSUPPORTED);
    assert_non_null(strstr(rl_error_text(), "query_fails.so: only on Tuesdays"));
    rl_error_clear();
    assert_int_equal(rl_backend_load(PLUGINS "rushlight_backend_shorter.so"), RL_OK);
    assert_non_null(rl_device_get("shorter:0"));
    assert_int_equal(rl_backend_load(PLUGINS "rushlight_backend_shorter.so"), RL_INVALID_ARGUMENT);
    assert_non_null(strstr(rl_error_text(), "a backend of the name 'shorter' was already loaded"));
}

/* A name of a megabyte, and variables of one: a sentence, not a megabyte of it. */
static void long_names_are_cut(void **state) {
    (void)state;
    enum { MEGABYTE = 1 << 20 };
    char *name = malloc(MEGABYTE + 1);
    memset(name, 'x', MEGABYTE);
    name[MEGABYTE] = '\0';
    assert_null(rl_device_get(name));
    assert_int_equal(rl_error_status(), RL_NOT_FOUND);
    assert_true(strlen(rl_error_text()) < 4000);
    rl_error_clear();
    assert_int_equal(rl_backend_load(name), RL_NOT_FOUND);
    assert_true(strlen(rl_error_text()) < 8000);
    rl_error_clear();
    rl_shutdown();
    static const char *const variables[] = {"DEVICE", "BACKEND_PATH", "THREADS", "VERBOSE",
                                            "QUIET",  "STRICT",       "CACHE",   "MEMORY_LIMIT"};
    for (int i = 0; i < COUNT(variables); i++) {
        char variable[40] = "RUSHLIGHT_";
        strcat(variable, variables[i]);
        assert_int_equal(setenv(variable, name, 1), 0);
        rl_device *device = rl_device_default();
        if (i == 0) {
            assert_null(device);
            assert_true(strlen(rl_error_text()) < 4000);
            rl_error_clear();
            device = rl_device_get("ref");
        }
        assert_non_null(device);
        assert_true(i == 0 || strcmp(rl_device_name(device), "ref:0") == 0);
        rl_shutdown();
        unsetenv(variable);
        start(NULL);
    }
    free(name);
}

/* Each allocation of a life fails, once and from then on: an error, or a life without what it was for. */
static void own_allocations_fail(void **state) {
    (void)state;
    for (int onward = 0; onward < 2; onward++) {
        bool failed = true;
        for (uint64_t n = 1; failed || n < 20; n++) {
            uint64_t before = rl_alloc_count();
            rl_alloc_fail_at(n, onward);
            rl_device *device = rl_device_get("longer");
            rl_status status = rl_error_status();
            if (device == NULL)
                assert_true(status != RL_OK && *rl_error_text());
            else
                assert_int_equal(status, RL_OK);
            rl_error_clear();
            rl_backend_load(PLUGINS "rushlight_backend_shorter.so");
            rl_error_clear();
            rl_load_report_count();
            failed = rl_alloc_count() - before >= n;
            rl_alloc_fail_at(0, false);
            rl_error_clear();
            rl_shutdown(); /* the leak checker sees what it leaves behind */
            assert_true(n < 1000);
        }
        assert_non_null(rl_device_get("longer"));
        assert_non_null(rl_device_get("ref"));
        rl_shutdown();
    }
}

enum { THREADS = 4 };
static pthread_barrier_t barrier;

static void *first(void *name) {
    pthread_barrier_wait(&barrier);
    rl_device *device = name ? rl_device_get(name) : rl_device_default();
    rl_memory_stats stats = {.struct_size = sizeof stats};
    bool well = device != NULL && rl_memory_stats_get(device, &stats) == RL_OK && rl_synchronize(device) == RL_OK &&
                rl_device_list(NULL, 0) >= 2 && rl_load_report_count() >= 4;
    rl_storage *storage = well ? rl_storage_new(device, 1000) : NULL;
    well = well && storage && rl_storage_write(storage, 0, "threads", 8) == RL_OK;
    rl_release(storage);
    return well ? device : NULL;
}

static void threads_may_all_be_first(void **state) {
    (void)state;
    for (int life = 0; life < 20; life++) {
        static const char *const names[THREADS] = {NULL, "longer", "ref", "longer:0"};
        pthread_t threads[THREADS];
        void *devices[THREADS];
        pthread_barrier_init(&barrier, NULL, THREADS);
        for (int i = 0; i < THREADS; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, first, (void *)(uintptr_t)names[i]), 0);
        for (int i = 0; i < THREADS; i++)
            pthread_join(threads[i], &devices[i]);
        pthread_barrier_destroy(&barrier);
        for (int i = 0; i < THREADS; i++)
            assert_non_null(devices[i]);
        assert_ptr_equal(devices[0], devices[2]);
        assert_ptr_equal(devices[1], devices[3]);
        rl_shutdown();
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void) {
    const struct CMUnitTest tests[] = {TEST(lives_are_alike), TEST(explicit_loading_says_why_not),
                                       TEST(long_names_are_cut), TEST(own_allocations_fail),
                                       TEST(threads_may_all_be_first)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
