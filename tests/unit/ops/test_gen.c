/* SPDX-License-Identifier: Apache-2.0 */
/* The generator on declarations that are wrong, each in one way: it names file, line and op, and writes nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define ROOM 4096

static char folder[64];

static void write_text(const char *name, const char *text) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    fputs(text, out);
    fclose(out);
}

static int has_file(const char *name) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return access(path, F_OK) == 0;
}

/* Runs the generator; what it prints goes to `out`. Returns its exit status. */
static int generate(const char *index, const char *source, char *out) {
    char line[512];
    write_text("index.def", index);
    write_text("op_test.c", source);
    snprintf(line, sizeof line,
             "cd %s && %s/bin/opgen index.def out.h out.hpp out_calls.c out_table.c out_typed.c op_test.c 2>&1", folder,
             TEST_BINARY_DIR);
    FILE *in = popen(line, "r");
    assert_non_null(in);
    size_t length = fread(out, 1, ROOM - 1, in);
    out[length] = '\0';
    return WEXITSTATUS(pclose(in));
}

static int make_folder(void **state) {
    (void)state;
    strcpy(folder, "/tmp/rushlight-gen-XXXXXX");
    return mkdtemp(folder) == NULL;
}

static int remove_folder(void **state) {
    (void)state;
    static const char *const names[] = {"index.def",   "op_test.c",   "out.h",       "out.hpp",
                                        "out_calls.c", "out_table.c", "out_typed.c", ""};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        if (*names[i])
            unlink(path);
    }
    return rmdir(folder);
}

/* A declaration with these fields; line 1. */
#define OP(name, fields) "const rl_op_def rl_op_def_" name " = {" fields "};\n"
#define FIELDS(schema, flags) ".schema = \"" schema "\", .doc = \"y = 2 x\", .flags = " flags ", .samples = samples"
#define TWICE(schema, flags) OP("twice", FIELDS(schema, flags))
#define GOOD TWICE("twice(Tensor self) -> Tensor", "RL_OP_POINTWISE")

static void takes_what_is_right(void **state) {
    (void)state;
    char out[ROOM];
    assert_int_equal(generate("RL_OP(twice)\n", GOOD, out), 0);
    assert_string_equal(out, "");
    assert_true(has_file("out.h") && has_file("out.hpp") && has_file("out_calls.c") && has_file("out_table.c") &&
                has_file("out_typed.c"));
}

static void refuses(void **state) {
    (void)state;
    static const struct {
        const char *index, *source, *sentence;
    } cases[] = {
        /* The list of ops. */
        {"RL_OP(twice)\nRL_OP(other)\n", GOOD, "index.def:2: error: other stands after twice: sort this list"},
        {"RL_OP(twice)\nRL_OP(twice)\n", GOOD, "index.def:2: error: twice stands here twice"},
        {"RL_OP(thrice)\nRL_OP(twice)\n", GOOD, "index.def:1: error: no source declares rl_op_def_thrice"},
        {"", GOOD, "op_test.c:1: error: twice is not in index.def: add RL_OP(twice) there"},
        {"RL_OP(twice)\n", GOOD GOOD, "op_test.c:2: error: twice is declared already, in op_test.c:1"},
        /* Fields. */
        {"RL_OP(twice)\n", OP("twice", ".doc = \"y\", .flags = RL_OP_ROWS, .samples = s"), "twice has no .schema"},
        {"RL_OP(twice)\n", OP("twice", ".schema = \"twice(Tensor x) -> Tensor\", .flags = RL_OP_ROWS, .samples = s"),
         "twice has no .doc: one line of mathematics"},
        {"RL_OP(twice)\n", OP("twice", ".schema = \"twice(Tensor x) -> Tensor\", .doc = \"y\", .flags = RL_OP_ROWS"),
         "twice has no .samples"},
        {"RL_OP(twice)\n", OP("twice", ".schema = TEXT, .doc = \"y\", .flags = RL_OP_ROWS, .samples = s"),
         ".schema must be written out as string literals here"},
        {"RL_OP(twice)\n", TWICE("twice(Tensor self) -> Tensor", "RL_OP_FAST"), ".flags must be RL_OP_... joined by |"},
        {"RL_OP(twice)\n", TWICE("twice(Tensor self) -> Tensor", "RL_OP_ROWS | RL_OP_VIEW"), ".flags needs one of"},
        {"RL_OP(twice)\n", TWICE("twice(Tensor self) -> Tensor", "RL_OP_NO_GRAD"), ".flags needs one of"},
        {"RL_OP(twice)\n", "const rl_op_def rl_op_def_twice = {.doc = \"y", "this string does not end on its line"},
        {"RL_OP(twice)\n", "const rl_op_def rl_op_def_twice = {.doc = \"y\"", "the declaration does not end"},
        /* Schemas. */
        {"RL_OP(twice)\n", TWICE("once(Tensor self) -> Tensor", "RL_OP_ROWS"), "names another op: once"},
        {"RL_OP(twice)\n", TWICE("twice(Tensor self", "RL_OP_ROWS"), "schema of twice: at \"\": expected"},
        {"RL_OP(twice)\n", TWICE("twice(Tensr self) -> Tensor", "RL_OP_ROWS"), "schema of twice: at "},
        {"RL_OP(twice)\n", TWICE("twice(Tensor self) -> int", "RL_OP_ROWS"), "schema of twice: at "},
        {"RL_OP(twice)\n", TWICE("twice(Tensor self, Tensor self) -> Tensor", "RL_OP_ROWS"), "self stands there twice"},
        {"RL_OP(twice)\n", TWICE("twice(Tensor self, int a=1, int b) -> Tensor", "RL_OP_ROWS"), "b needs a default"},
        {"RL_OP(twice)\n", TWICE("twice(Tensor self, int? a) -> Tensor", "RL_OP_ROWS"), "a may be None"},
        {"RL_OP(twice)\n", TWICE("twice(Tensor self) -> Tensor[]", "RL_OP_ROWS"), "only an RL_OP_COMPOSITE returns"},
        {"RL_OP(twice)\n", TWICE("twice(int n) -> Tensor", "RL_OP_VIEW"), "a view takes a Tensor first"},
        {"RL_OP(twice)\n", TWICE("twice(int n) -> Tensor", "RL_OP_ROWS | RL_OP_INPLACE"),
         "an in-place op takes a Tensor first"},
        {"RL_OP(twice)\n", TWICE("twice(Tensor self) -> Tensor", "RL_OP_VIEW | RL_OP_INPLACE"),
         "a view cannot be in place"},
        {"RL_OP(twice)\n", TWICE("twice(Tensor self) -> Tensor", "RL_OP_ROWS | RL_OP_INPLACE_ONLY"),
         "a name ends in _"},
        {"RL_OP(twice)\n",
         TWICE("twice(Tensor self, Generator? a=None, Generator? b=None) -> Tensor", "RL_OP_POINTWISE"),
         "at most one Generator"},
        {"RL_OP(twice)\n",
         TWICE("twice(Tensor a, Tensor b, Tensor c, Tensor d, Tensor e, Tensor f, Tensor g, Tensor h, Tensor i) -> "
               "Tensor",
               "RL_OP_POINTWISE"),
         "at most 8 operands"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char out[ROOM];
        remove_folder(NULL);
        assert_int_equal(make_folder(NULL), 0);
        int status = generate(cases[i].index, cases[i].source, out);
        if (status != 1 || !strstr(out, cases[i].sentence))
            fail_msg("case %zu: status %d, \"%s\", expected \"%s\"", i, status, out, cases[i].sentence);
        assert_false(has_file("out.h") || has_file("out_calls.c") || has_file("out_table.c") ||
                     has_file("out_typed.c"));
    }
}

/* All that is wrong is said at once. */
static void goes_on(void **state) {
    (void)state;
    char out[ROOM];
    int status = generate("RL_OP(one)\nRL_OP(two)\n",
                          OP("one", FIELDS("one(Tensr x) -> Tensor", "RL_OP_ROWS"))
                              OP("two", FIELDS("two(Tensor x) -> Tensr", "RL_OP_ROWS")),
                          out);
    assert_int_equal(status, 1);
    assert_non_null(strstr(out, "op_test.c:1: error: schema of one"));
    assert_non_null(strstr(out, "op_test.c:2: error: schema of two"));
}

static void needs_its_files(void **state) {
    (void)state;
    char line[512];
    snprintf(line, sizeof line, "%s/bin/opgen 2>/dev/null", TEST_BINARY_DIR);
    assert_int_equal(WEXITSTATUS(system(line)), 2);
    snprintf(line, sizeof line, "cd %s && %s/bin/opgen no.def a b c d e no.c 2>/dev/null", folder, TEST_BINARY_DIR);
    assert_int_equal(WEXITSTATUS(system(line)), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(takes_what_is_right, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(refuses, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(goes_on, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(needs_its_files, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
