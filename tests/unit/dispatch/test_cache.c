/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel cache: entries come back whole or not at all. */
#include "dispatch/cache.h"

#include "../support/cmocka_support.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[256];

static int set_up(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "%s/cache_XXXXXX", TEST_BINARY_DIR);
    assert_non_null(mkdtemp(folder));
    setenv("RUSHLIGHT_CACHE", folder, 1);
    return 0;
}

/* Calls fn for each file of the folder; returns how many there are. */
static int each_file(void (*fn)(const char *path)) {
    int n = 0;
    DIR *open = opendir(folder);
    assert_non_null(open);
    for (struct dirent *at = readdir(open); at; at = readdir(open)) {
        char path[600];
        if (*at->d_name == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, at->d_name);
        n++;
        if (fn)
            fn(path);
    }
    closedir(open);
    return n;
}

static void remove_file(const char *path) {
    assert_int_equal(unlink(path), 0);
}

static int tear_down(void **state) {
    (void)state;
    chmod(folder, 0700);
    each_file(remove_file);
    assert_int_equal(rmdir(folder), 0);
    return 0;
}

static void put(const char *key, const char *text) {
    assert_int_equal(rl_cache_put(key, text, strlen(text) + 1), RL_OK);
}

static void expect(const char *key, const char *text) {
    char data[64] = "";
    size_t bytes = sizeof data;
    if (!text) {
        assert_int_equal(rl_cache_get(key, data, &bytes), RL_NOT_FOUND);
        assert_int_equal(bytes, 0);
        return;
    }
    assert_int_equal(rl_cache_get(key, data, &bytes), RL_OK);
    assert_int_equal(bytes, strlen(text) + 1);
    assert_string_equal(data, text);
}

static void test_round_trip(void **state) {
    (void)state;
    size_t bytes = 0;
    char part[3];
    expect("a kernel", NULL);
    put("a kernel", "its binary");
    put("another", "");
    expect("a kernel", "its binary");
    expect("another", "");
    put("a kernel", "a newer one");
    expect("a kernel", "a newer one");
    assert_int_equal(rl_cache_get("a kernel", NULL, &bytes), RL_OK); /* how much there is */
    assert_int_equal(bytes, sizeof "a newer one");
    bytes = sizeof part;
    assert_int_equal(rl_cache_get("a kernel", part, &bytes), RL_OK); /* as much as there is room for */
    assert_int_equal(bytes, sizeof "a newer one");
    assert_memory_equal(part, "a n", 3);
}

/* Changes the last byte. */
static void damage(const char *path) {
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    fseek(file, -1, SEEK_END);
    int last = fgetc(file);
    fseek(file, -1, SEEK_END);
    fputc(last ^ 1, file);
    fclose(file);
}
static void cut(const char *path) {
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(truncate(path, info.st_size / 2), 0);
}
static void empty(const char *path) {
    assert_int_equal(truncate(path, 0), 0);
}
static void open_to_all(const char *path) {
    assert_int_equal(chmod(path, 0666), 0);
}
static void make_folder(const char *path) {
    remove_file(path);
    assert_int_equal(mkdir(path, 0700), 0);
}

static void test_what_is_not_taken(void **state) {
    (void)state;
    void (*const harms[])(const char *path) = {damage, cut, empty, open_to_all};
    for (size_t i = 0; i < sizeof harms / sizeof *harms; i++) {
        put("key", "some data");
        each_file(harms[i]);
        expect("key", NULL);
        each_file(remove_file);
    }
    put("key", "some data");
    each_file(make_folder);
    expect("key", NULL);
    assert_int_equal(rl_cache_put("key", "x", 1), RL_IO_ERROR);
    char path[600];
    DIR *open = opendir(folder);
    for (struct dirent *at = readdir(open); at; at = readdir(open))
        if (*at->d_name != '.') {
            snprintf(path, sizeof path, "%s/%s", folder, at->d_name);
            rmdir(path);
        }
    closedir(open);
}

/* A file under the name of another key, as a collision of hashes would be. */
static char only_path[600];
static void remember(const char *path) {
    snprintf(only_path, sizeof only_path, "%s", path);
}
static void test_another_key(void **state) {
    (void)state;
    char first[600];
    put("one", "data of one");
    each_file(remember);
    memcpy(first, only_path, sizeof first);
    assert_int_equal(rename(first, "moved_entry_of_the_cache_test"), 0);
    put("two", "data of two");
    each_file(remember);
    assert_int_equal(rename("moved_entry_of_the_cache_test", only_path), 0);
    expect("two", NULL);
    put("two", "data of two");
    expect("two", "data of two");
}

static void test_a_folder_that_cannot_be_written(void **state) {
    (void)state;
    put("key", "data");
    setenv("RUSHLIGHT_CACHE", "/proc/nowhere/cache", 1);
    assert_int_equal(rl_cache_put("key", "data", 5), RL_IO_ERROR);
    expect("key", NULL);
    setenv("RUSHLIGHT_CACHE", folder, 1);
    if (geteuid() != 0) { /* root writes anywhere */
        chmod(folder, 0500);
        assert_int_equal(rl_cache_put("other", "data", 5), RL_IO_ERROR);
    }
    expect("key", "data");
}

static void *write_often(void *argument) {
    for (int i = 0; i < 200; i++)
        rl_cache_put("shared", argument, strlen(argument) + 1);
    return NULL;
}

/* Readers see one or the other, whole. */
static void test_two_writers(void **state) {
    (void)state;
    static char one[] = "what the one process wrote", two[] = "what the other wrote";
    pid_t child = fork();
    if (child == 0) {
        write_often(one);
        _exit(0);
    }
    pthread_t thread;
    put("shared", one);
    assert_int_equal(pthread_create(&thread, NULL, write_often, two), 0);
    for (int i = 0; i < 500; i++) {
        char data[64] = "";
        size_t bytes = sizeof data;
        assert_int_equal(rl_cache_get("shared", data, &bytes), RL_OK);
        assert_true(strcmp(data, one) == 0 || strcmp(data, two) == 0);
    }
    pthread_join(thread, NULL);
    int status = 1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(each_file(NULL), 1); /* nothing is left behind */
}

static void age(const char *path) {
    const struct timespec long_ago[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    assert_int_equal(utimensat(AT_FDCWD, path, long_ago, 0), 0);
}

static void test_trim(void **state) {
    (void)state;
    char key[16], data[1000] = "";
    for (int i = 0; i < 10; i++) {
        snprintf(key, sizeof key, "key %d", i);
        assert_int_equal(rl_cache_put(key, data, sizeof data), RL_OK);
    }
    each_file(age);
    size_t bytes = sizeof data;
    assert_int_equal(rl_cache_get("key 3", data, &bytes), RL_OK); /* read last: it stays */
    rl_cache_trim(3500);
    assert_int_equal(each_file(NULL), 3);
    bytes = sizeof data;
    assert_int_equal(rl_cache_get("key 3", data, &bytes), RL_OK);
    FILE *stale = fopen("stale", "w");
    assert_non_null(stale);
    fclose(stale);
    char path[600];
    snprintf(path, sizeof path, "%s/0123456789abcdef.1.abcdef", folder); /* a writer's that died */
    assert_int_equal(rename("stale", path), 0);
    age(path);
    rl_cache_trim(UINT64_MAX);
    assert_int_equal(each_file(NULL), 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round_trip, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_not_taken, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_another_key, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_folder_that_cannot_be_written, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_two_writers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_trim, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
