/* SPDX-License-Identifier: Apache-2.0 */
/* Files: there and back, every lie that a header can tell, and what stays when a write fails. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/memory.h"
#include "rushlight/rushlight.h"

static char folder[] = "/tmp/rushlight-io-XXXXXX";

static const char *in_folder(const char *name) {
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static int make_folder(void **state) {
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    char command[300];
    (void)state;
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

static void write_bytes(const char *path, const void *data, size_t bytes) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
}

static void expect(rl_status status, const char *sentence) {
    if (rl_error_status() != status || !strstr(rl_error_text(), sentence))
        fail_msg("%d '%s', must be %d with '%s'", (int)rl_error_status(), rl_error_text(), (int)status, sentence);
    rl_error_clear();
}

/* There and back ----------------------------------------------------------------------------------------------------
 */

static void assert_same(rl_tensor *a, rl_tensor *b) {
    assert_int_equal(rl_error_status(), RL_OK);
    assert_int_equal(rl_tensor_dtype(a), rl_tensor_dtype(b));
    assert_int_equal(rl_tensor_numel(a), rl_tensor_numel(b));
    size_t bytes = (size_t)rl_tensor_numel(a) * rl_dtype_size(rl_tensor_dtype(a));
    unsigned char *x = malloc(bytes + 1), *y = malloc(bytes + 1);
    assert_int_equal(rl_tensor_read(a, x, bytes), RL_OK);
    assert_int_equal(rl_tensor_read(b, y, bytes), RL_OK);
    if (bytes > 0)
        assert_memory_equal(x, y, bytes);
    free(x);
    free(y);
}

static void test_round_trip(void **state) {
    (void)state;
    static const rl_dtype dtypes[] = {RL_BOOL, RL_F32, RL_I8, RL_F64, RL_F16, RL_U8, RL_BF16, RL_I64, RL_I16, RL_I32};
    enum { COUNT = 10 };
    const char *names[COUNT + 3] = {"a.weight", "b", "\xc3\xa9\"\\\n", "d", "e", "f", "g", "h", "i", "j", "k",
                                    "l",        "m"};
    rl_tensor *tensors[COUNT + 3];
    RL_SCOPE();
    for (int i = 0; i < COUNT; i++)
        tensors[i] = rl_to(rl_view(rl_arange(15), RL_DIMS(3, 5)), .dtype = dtypes[i]);
    tensors[COUNT] = rl_t(tensors[1]);
    tensors[COUNT + 1] = rl_ones(RL_NO_DIMS);
    tensors[COUNT + 2] = rl_zeros(RL_DIMS(0, 4));
    const rl_metadata lines[] = {{"format", "rl"}, {"note", "\"quoted\""}};
    const char *path = in_folder("all.safetensors");
    assert_int_equal(rl_safetensors_save(path, names, (rl_tensors){tensors, COUNT + 3}, lines, 2), RL_OK);
    rl_safetensors *file = rl_safetensors_open(path);
    assert_int_equal(rl_safetensors_count(file), COUNT + 3);
    for (int i = 0; i < COUNT + 3; i++) {
        int64_t number = rl_safetensors_find(file, names[i]);
        assert_true(number >= 0);
        assert_same(rl_safetensors_load(file, number, NULL), tensors[i]);
    }
    assert_int_equal(rl_safetensors_find(file, "nothing"), -1);
    assert_int_equal(rl_safetensors_metadata_count(file), 2);
    assert_string_equal(rl_safetensors_metadata_value(file, "note"), "\"quoted\"");
    assert_null(rl_safetensors_metadata_value(file, "nothing"));
}

/* Wide elements come first, so that each tensor lies aligned in the file. */
static void test_aligned(void **state) {
    (void)state;
    RL_SCOPE();
    const char *names[] = {"bytes", "doubles"};
    assert_int_equal(
        rl_safetensors_save(in_folder("aligned"), names,
                            RL_TENSORS(rl_zeros(RL_DIMS(3), .dtype = RL_U8), rl_zeros(RL_DIMS(2), .dtype = RL_F64)),
                            NULL, 0),
        RL_OK);
    rl_safetensors_entry entry = {.struct_size = sizeof entry};
    rl_safetensors *file = rl_safetensors_open(in_folder("aligned"));
    assert_true(rl_safetensors_describe(file, 0, &entry));
    assert_string_equal(entry.name, "doubles");
    assert_false(rl_safetensors_describe(file, 2, &entry));
}

static void test_load_into(void **state) {
    (void)state;
    RL_SCOPE();
    const char *names[] = {"x"};
    rl_tensor *x = rl_view(rl_to(rl_arange(6), .dtype = RL_F32), RL_DIMS(2, 3));
    rl_safetensors_save(in_folder("into"), names, RL_TENSORS(x), NULL, 0);
    rl_safetensors *file = rl_safetensors_open(in_folder("into"));
    rl_tensor *target = rl_t(rl_zeros(RL_DIMS(3, 2)));
    uint32_t version = rl_tensor_version(target);
    assert_int_equal(rl_safetensors_load_into(file, 0, target), RL_OK);
    assert_same(target, x);
    assert_true(rl_tensor_version(target) > version);
    rl_safetensors_load_into(file, 0, rl_zeros(RL_DIMS(6)));
    expect(RL_SHAPE_MISMATCH, "(2, 3)");
    rl_safetensors_load_into(file, 0, rl_zeros(RL_DIMS(2, 3), .dtype = RL_I32));
    expect(RL_DTYPE_MISMATCH, "int32");
    rl_safetensors_load(file, 1, NULL);
    expect(RL_INDEX_OUT_OF_RANGE, "1");
}

/* Lies --------------------------------------------------------------------------------------------------------------
 */

typedef struct lie {
    const char *header;
    size_t data; /* bytes after it */
    rl_status status;
    const char *sentence;
} lie;

#define ENTRY(dtype, shape, begin, end)                                                                                \
    "{\"dtype\":\"" dtype "\",\"shape\":[" shape "],\"data_offsets\":[" #begin "," #end "]}"
static const lie lies[] = {
    {"", 0, RL_BAD_FORMAT, "no JSON"},
    {"{", 0, RL_BAD_FORMAT, "no JSON"},
    {"[1]", 0, RL_BAD_FORMAT, "JSON object"},
    {"{} x", 0, RL_BAD_FORMAT, "goes on"},
    {"{}", 4, RL_BAD_FORMAT, "belong to no tensor"},
    {"{\"a\":1}", 0, RL_BAD_FORMAT, "must be an object"},
    {"{\"a\":{}}", 0, RL_BAD_FORMAT, "dtype must be a string"},
    {"{\"a\":{\"dtype\":\"F32\"}}", 0, RL_BAD_FORMAT, "shape"},
    {"{\"a\":" ENTRY("F8_E4M3", "1", 0, 1) "}", 1, RL_UNSUPPORTED, "F8_E4M3"},
    {"{\"a\":" ENTRY("F32", "2", 0, 8) "}", 4, RL_BAD_FORMAT, "lie outside"},
    {"{\"a\":" ENTRY("F32", "2", 0, 4) "}", 4, RL_BAD_FORMAT, "need 8"},
    {"{\"a\":" ENTRY("F32", "1", 4, 0) "}", 4, RL_BAD_FORMAT, "lie outside"},
    {"{\"a\":" ENTRY("F32", "-1", 0, 4) "}", 4, RL_BAD_FORMAT, "whole number"},
    {"{\"a\":" ENTRY("F32", "1.5", 0, 4) "}", 4, RL_BAD_FORMAT, "whole number"},
    {"{\"a\":" ENTRY("F32", "01", 0, 4) "}", 4, RL_BAD_FORMAT, "not written as a whole number (at byte 29)"},
    {"{\"a\":" ENTRY("F32", "1e0", 0, 4) "}", 4, RL_BAD_FORMAT, "not written as a whole number"},
    {"{\"a\":" ENTRY("F32", "1.0", 0, 4) "}", 4, RL_BAD_FORMAT, "not written as a whole number"},
    {"{\"a\":" ENTRY("F32", "1,-0", 0, 0) "}", 0, RL_BAD_FORMAT, "not written as a whole number"},
    {"{\"a\\u0000b\":" ENTRY("F32", "1", 0, 4) "}", 4, RL_BAD_FORMAT, "holds U+0000"},
    {"{\"a\\\\\\u0000b\":" ENTRY("F32", "1", 0, 4) "}", 4, RL_BAD_FORMAT, "holds U+0000"},
    {"{\"a\tb\":" ENTRY("F32", "1", 0, 4) "}", 4, RL_BAD_FORMAT, "holds a control character"},
    {"{\"__metadata__\":{\"k\":\"x\\u0000y\"}}", 0, RL_BAD_FORMAT, "holds U+0000"},
    {"{\"__metadata__\":{\"k\":\"x\",\"l\":\"\",\"k\":\"y\"}}", 0, RL_BAD_FORMAT, "__metadata__ has 'k' twice"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"dtype\":\"I32\"}}", 4, RL_BAD_FORMAT,
     "dtype is there twice"},
    {"{\"a\":{\"shape\":[1],\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, RL_BAD_FORMAT,
     "shape is there twice"},
    {"{\"a\":" ENTRY("F32", "1e30", 0, 4) "}", 4, RL_BAD_FORMAT, "whole number"},
    {"{\"a\":" ENTRY("F32", "\"1\"", 0, 4) "}", 4, RL_BAD_FORMAT, "whole number"},
    {"{\"a\":" ENTRY("F32", "4294967296,4294967296", 0, 4) "}", 4, RL_BAD_FORMAT, "overflows"},
    {"{\"a\":" ENTRY("F64", "2251799813685248,4096,1", 0, 0) "}", 0, RL_BAD_FORMAT, "overflows"},
    {"{\"a\":" ENTRY("F32", "1,1,1,1,1,1,1,1,1,1,1,1,1", 0, 4) "}", 4, RL_UNSUPPORTED, "12 dimensions"},
    {"{\"a\":" ENTRY("F32", "1", 0, 18446744073709551616) "}", 4, RL_BAD_FORMAT, "data_offsets"},
    {"{\"a\":" ENTRY("F32", "1", 0, 4) ",\"b\":" ENTRY("F32", "1", 2, 6) "}", 6, RL_BAD_FORMAT, "overlap"},
    {"{\"a\":" ENTRY("F32", "1", 0, 4) ",\"b\":" ENTRY("F32", "1", 8, 12) "}", 12, RL_BAD_FORMAT, "no tensor"},
    {"{\"a\":" ENTRY("F32", "0", 0, 0) ",\"a\":" ENTRY("F32", "1", 0, 4) "}", 4, RL_BAD_FORMAT, "twice"},
    {"{\"__metadata__\":{\"a\":1}}", 0, RL_BAD_FORMAT, "strings"},
    {"{\"__metadata__\":[]}", 0, RL_BAD_FORMAT, "__metadata__"},
    {"{\"\xff\":" ENTRY("F32", "1", 0, 4) "}", 4, RL_BAD_FORMAT, "UTF-8"},
};

static void test_lies(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        RL_SCOPE();
        char file[512] = {0};
        size_t length = strlen(lies[i].header);
        file[0] = (char)length;
        memcpy(file + 8, lies[i].header, length);
        write_bytes(in_folder("lie"), file, 8 + length + lies[i].data);
        print_message("%s\n", lies[i].header);
        assert_null(rl_safetensors_open(in_folder("lie")));
        expect(lies[i].status, lies[i].sentence);
    }
}

/* Control characters are no JSON, wherever in the header they stand; tab, newline and return are, between its parts. */
static void test_control_bytes(void **state) {
    (void)state;
    static const char header[] = "{\"a\": " ENTRY("F32", "1, 1", 0, 4) ", \"__metadata__\": {\"k\": \"v\"}}";
    const size_t length = sizeof header - 1;
    for (size_t at = 0; at <= length; at++)
        for (int c = 0; c < 32; c++) {
            RL_SCOPE();
            char file[512] = {(char)(length + 1)};
            bool blank = c == '\t' || c == '\n' || c == '\r';
            memcpy(file + 8, header, at);
            file[8 + at] = (char)c;
            memcpy(file + 8 + at + 1, header + at, length - at);
            write_bytes(in_folder("control"), file, 8 + length + 1 + 4);
            rl_safetensors *opened = rl_safetensors_open(in_folder("control"));
            if (opened && !blank)
                fail_msg("byte %d at %zu is taken", c, at);
            if (!opened && blank && header[at > 0 ? at - 1 : 0] == ' ')
                fail_msg("byte %d at %zu is refused: %s", c, at, rl_error_text());
            rl_error_clear();
        }
    char between[] = "\x13\0\0\0\0\0\0\0{\0\"__metadata__\":{}}";
    between[0] = sizeof between - 9;
    write_bytes(in_folder("control"), between, sizeof between - 1);
    assert_null(rl_safetensors_open(in_folder("control")));
    expect(RL_BAD_FORMAT, "a control character between its texts (at byte 1)");
}

static void test_bad_files(void **state) {
    (void)state;
    RL_SCOPE();
    const unsigned char huge[] = {0, 0, 0, 0, 0, 0, 0, 0x80, '{', '}'}; /* a header of 2^63 bytes */
    const unsigned char all[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, '{', '}'};
    write_bytes(in_folder("huge"), huge, sizeof huge);
    assert_null(rl_safetensors_open(in_folder("huge")));
    expect(RL_BAD_FORMAT, "9223372036854775808");
    write_bytes(in_folder("all"), all, sizeof all);
    assert_null(rl_safetensors_open(in_folder("all")));
    expect(RL_BAD_FORMAT, "header");
    write_bytes(in_folder("short"), huge, 7);
    assert_null(rl_safetensors_open(in_folder("short")));
    expect(RL_BAD_FORMAT, "7 bytes");
    write_bytes(in_folder("empty"), huge, 0);
    assert_null(rl_safetensors_open(in_folder("empty")));
    expect(RL_BAD_FORMAT, "0 bytes");
    assert_null(rl_safetensors_open(in_folder("not-there")));
    expect(RL_NOT_FOUND, "not-there");
    assert_null(rl_safetensors_open(folder));
    expect(RL_IO_ERROR, "regular file");
    assert_int_equal(mkfifo(in_folder("fifo"), 0600), 0);
    assert_null(rl_safetensors_open(in_folder("fifo")));
    expect(RL_IO_ERROR, "regular file");
    assert_null(rl_safetensors_open(NULL));
    expect(RL_INVALID_ARGUMENT, "path");
}

/* Every prefix of a good file, and every single changed byte, is read or refused, never more. */
static void test_mutations(void **state) {
    (void)state;
    RL_SCOPE();
    const char *names[] = {"x", "y"};
    unsigned char bytes[512];
    rl_safetensors_save(in_folder("good"), names, RL_TENSORS(rl_ones(RL_DIMS(2)), rl_ones(RL_DIMS(3), .dtype = RL_I64)),
                        NULL, 0);
    FILE *file = fopen(in_folder("good"), "rb");
    assert_non_null(file);
    size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    for (size_t cut = 0; cut < size; cut++) {
        write_bytes(in_folder("cut"), bytes, cut);
        assert_null(rl_safetensors_open(in_folder("cut")));
        rl_error_clear();
    }
    for (size_t at = 0; at < size; at++) {
        RL_SCOPE();
        static const unsigned char changes[] = {0, '"', '9', 0xff};
        for (size_t k = 0; k < sizeof changes; k++) {
            unsigned char was = bytes[at];
            bytes[at] = changes[k];
            write_bytes(in_folder("changed"), bytes, size);
            bytes[at] = was;
            rl_safetensors *opened = rl_safetensors_open(in_folder("changed"));
            for (int64_t i = 0; i < rl_safetensors_count(opened); i++)
                rl_safetensors_load(opened, i, NULL);
            rl_error_clear();
        }
    }
}

/* Writing -----------------------------------------------------------------------------------------------------------
 */

static void test_save_refuses(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *x = rl_ones(RL_DIMS(2));
    const char *twice[] = {"x", "x"}, *empty[] = {""}, *reserved[] = {"__metadata__"}, *bad[] = {"\xff"},
               *good[] = {"x"};
    const char *path = in_folder("refused");
    rl_safetensors_save(path, twice, RL_TENSORS(x, x), NULL, 0);
    expect(RL_INVALID_ARGUMENT, "twice");
    rl_safetensors_save(path, empty, RL_TENSORS(x), NULL, 0);
    expect(RL_INVALID_ARGUMENT, "not empty");
    rl_safetensors_save(path, reserved, RL_TENSORS(x), NULL, 0);
    expect(RL_INVALID_ARGUMENT, "__metadata__");
    rl_safetensors_save(path, bad, RL_TENSORS(x), NULL, 0);
    expect(RL_INVALID_ARGUMENT, "UTF-8");
    rl_safetensors_save(path, good, RL_TENSORS(NULL), NULL, 0);
    expect(RL_INVALID_ARGUMENT, "NULL");
    rl_safetensors_save(folder, good, RL_TENSORS(x), NULL, 0);
    expect(RL_IO_ERROR, "regular file");
    rl_safetensors_save("/dev/null", good, RL_TENSORS(x), NULL, 0);
    expect(RL_IO_ERROR, "regular file");
    rl_safetensors_save(in_folder("no/such/folder"), good, RL_TENSORS(x), NULL, 0);
    expect(RL_IO_ERROR, "No such file");
    assert_int_not_equal(access(path, F_OK), 0);
}

/* A link is followed, permissions stay, and nothing is left beside the file. */
static void test_replaces(void **state) {
    (void)state;
    RL_SCOPE();
    const char *names[] = {"x"};
    char target[256];
    struct stat info;
    snprintf(target, sizeof target, "%s/target", folder);
    write_bytes(target, "old", 3);
    assert_int_equal(chmod(target, 0640), 0);
    assert_int_equal(symlink("target", in_folder("link")), 0);
    assert_int_equal(rl_safetensors_save(in_folder("link"), names, RL_TENSORS(rl_ones(RL_DIMS(2))), NULL, 0), RL_OK);
    assert_int_equal(lstat(in_folder("link"), &info), 0);
    assert_true(S_ISLNK(info.st_mode));
    assert_int_equal(stat(target, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0640);
    assert_int_equal(rl_safetensors_count(rl_safetensors_open(target)), 1);
}

/* A disk that is full: the old file stays whole, and the temporary one goes. */
static void test_full_disk(void **state) {
    (void)state;
    RL_SCOPE();
    const char *names[] = {"x"}, *path = in_folder("full");
    char command[400];
    struct rlimit was, small = {2048, RLIM_INFINITY};
    assert_int_equal(rl_safetensors_save(path, names, RL_TENSORS(rl_ones(RL_DIMS(2))), NULL, 0), RL_OK);
    rl_tensor *large = rl_ones(RL_DIMS(100000));
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
    small.rlim_max = was.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    rl_status status = rl_safetensors_save(path, names, RL_TENSORS(large), NULL, 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
    assert_int_equal(status, RL_IO_ERROR);
    expect(RL_IO_ERROR, "writing");
    assert_int_equal(rl_safetensors_count(rl_safetensors_open(path)), 1);
    snprintf(command, sizeof command, "! ls %s | grep -q 'full[.]'", folder);
    assert_int_equal(system(command), 0);
}

static void test_without_memory(void **state) {
    (void)state;
    const char *names[] = {"x", "y"};
    for (uint64_t n = 1;; n++) {
        RL_SCOPE();
        rl_tensor *x = rl_ones(RL_DIMS(2, 3)), *view = rl_t(x);
        rl_alloc_fail_at(n, false);
        const rl_metadata line = {"k", "v"};
        rl_safetensors_save(in_folder("memory"), names, RL_TENSORS(x, view), &line, 1);
        rl_safetensors *file = rl_safetensors_open(in_folder("memory"));
        rl_safetensors_load(file, 0, NULL);
        rl_safetensors_load_into(file, 1, view);
        rl_alloc_fail_at(0, false);
        bool failed = rl_failed();
        if (failed)
            assert_int_equal(rl_error_status(), RL_OUT_OF_MEMORY);
        rl_error_clear();
        if (!failed)
            return;
        assert_true(n < 1000);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_aligned),       cmocka_unit_test(test_load_into),
        cmocka_unit_test(test_lies),       cmocka_unit_test(test_control_bytes), cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_mutations),  cmocka_unit_test(test_save_refuses),  cmocka_unit_test(test_replaces),
        cmocka_unit_test(test_full_disk),  cmocka_unit_test(test_without_memory)};
    signal(SIGXFSZ, SIG_IGN);
    int failed = cmocka_run_group_tests(tests, make_folder, remove_folder);
    rl_shutdown();
    return failed;
}
