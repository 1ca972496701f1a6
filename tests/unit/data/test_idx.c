/* SPDX-License-Identifier: Apache-2.0 */
/* IDX files, plain and gzipped, honest and lying. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

#include "base/memory.h"
#include "rushlight/rushlight.h"

static char folder[] = "/tmp/rushlight-data-XXXXXX";
enum { IMAGES = 23, ROWS = 4, COLUMNS = 5, PIXELS = ROWS * COLUMNS };

static const char *in_folder(const char *name) {
    static char path[2][256];
    static int turn;
    turn = !turn;
    snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
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

/* gzopen's mode "wbT" writes plain bytes. */
static void write_file(const char *name, const void *bytes, size_t count, bool zipped) {
    gzFile file = gzopen(in_folder(name), zipped ? "wb" : "wbT");
    assert_non_null(file);
    assert_int_equal(gzwrite(file, bytes, (unsigned)count), (int)count);
    assert_int_equal(gzclose(file), Z_OK);
}

static size_t put_header(unsigned char *at, int type, int ndim, const uint32_t *sizes) {
    at[0] = at[1] = 0;
    at[2] = (unsigned char)type;
    at[3] = (unsigned char)ndim;
    for (int d = 0; d < ndim; d++)
        for (int k = 0; k < 4; k++)
            at[4 + 4 * d + k] = (unsigned char)(sizes[d] >> (24 - 8 * k));
    return 4 + 4 * (size_t)ndim;
}

static void expect(rl_status status, const char *sentence) {
    if (rl_error_status() != status || !strstr(rl_error_text(), sentence))
        fail_msg("%d '%s', must be %d with '%s'", (int)rl_error_status(), rl_error_text(), (int)status, sentence);
    rl_error_clear();
}

static void expect_unreadable(const char *name, rl_status status, const char *sentence) {
    rl_dtype dtype;
    int64_t ndim, shape[RL_MAX_DIMS];
    void *data;
    assert_int_equal(rl_idx_read(in_folder(name), &dtype, &ndim, shape, &data), status);
    assert_null(data);
    expect(status, sentence);
}

static void test_dtypes(void **state) {
    (void)state;
    static const struct {
        int type;
        rl_dtype dtype;
        unsigned char bytes[16];
        double first;
    } files[] = {{0x08, RL_U8, {200, 2}, 200.0},
                 {0x09, RL_I8, {0xff, 2}, -1.0},
                 {0x0B, RL_I16, {0x80, 0x01, 0, 2}, -32767.0},
                 {0x0C, RL_I32, {0, 1, 0, 0, 0, 0, 0, 2}, 65536.0},
                 {0x0D, RL_F32, {0x3f, 0xc0, 0, 0}, 1.5},
                 {0x0E, RL_F64, {0xbf, 0xf8, 0, 0, 0, 0, 0, 0}, -1.5}};
    for (size_t i = 0; i < 2 * (sizeof files / sizeof *files); i++) {
        RL_SCOPE();
        unsigned char file[64];
        const uint32_t two = 2;
        size_t head = put_header(file, files[i / 2].type, 1, &two), size = rl_dtype_size(files[i / 2].dtype);
        rl_dtype dtype;
        int64_t ndim, shape[RL_MAX_DIMS];
        void *data;
        memcpy(file + head, files[i / 2].bytes, 2 * size);
        write_file("dtype", file, head + 2 * size, i % 2);
        assert_int_equal(rl_idx_read(in_folder("dtype"), &dtype, &ndim, shape, &data), RL_OK);
        assert_int_equal(dtype, files[i / 2].dtype);
        assert_int_equal(ndim, 1);
        assert_int_equal(shape[0], 2);
        rl_tensor *read = rl_tensor_from_data(data, RL_DIMS(2), dtype, NULL);
        free(data);
        assert_true(rl_item(rl_select(read, 0, 0)) == files[i / 2].first);
    }
}

static void test_lies(void **state) {
    (void)state;
    unsigned char file[4096] = {0};
    const uint32_t huge[] = {0xffffffffu, 0xffffffffu, 0xffffffffu}, large[] = {0x7fffffffu}, ten[] = {10};
    size_t head;
    write_file("empty", file, 0, false);
    expect_unreadable("empty", RL_BAD_FORMAT, "header");
    write_file("text", "hello, world", 12, false);
    expect_unreadable("text", RL_BAD_FORMAT, "no IDX file");
    head = put_header(file, 0x07, 1, ten);
    write_file("type", file, head + 10, false);
    expect_unreadable("type", RL_BAD_FORMAT, "no IDX file");
    put_header(file, 0x08, 13, (const uint32_t[13]){1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1});
    write_file("dims", file, 60, false);
    expect_unreadable("dims", RL_BAD_FORMAT, "13 dimensions");
    head = put_header(file, 0x0E, 3, huge);
    write_file("huge", file, head, false);
    expect_unreadable("huge", RL_INVALID_ARGUMENT, "idx");
    head = put_header(file, 0x08, 1, large); /* two gigabytes that are not there cost no memory */
    write_file("large", file, head + 100, true);
    expect_unreadable("large", RL_BAD_FORMAT, "ends within its elements");
    head = put_header(file, 0x08, 1, ten);
    write_file("short", file, head + 9, false);
    expect_unreadable("short", RL_BAD_FORMAT, "ends within its elements");
    write_file("long", file, head + 11, true);
    expect_unreadable("long", RL_BAD_FORMAT, "goes on after");
    expect_unreadable("not-there", RL_NOT_FOUND, "not-there");
    assert_int_equal(mkfifo(in_folder("fifo"), 0600), 0);
    expect_unreadable("fifo", RL_IO_ERROR, "no regular file");
    expect_unreadable(".", RL_IO_ERROR, "no regular file");
}

/* Every cut, and every changed byte, of a gzipped file is noticed or harmless. */
static void test_damaged_gzip(void **state) {
    (void)state;
    unsigned char file[512], zipped[1024];
    const uint32_t size = 400;
    size_t head = put_header(file, 0x08, 1, &size);
    for (size_t i = 0; i < size; i++)
        file[head + i] = (unsigned char)(i * i % 251);
    write_file("zip", file, head + size, true);
    FILE *raw = fopen(in_folder("zip"), "rb");
    assert_non_null(raw);
    size_t bytes = fread(zipped, 1, sizeof zipped, raw);
    fclose(raw);
    for (size_t i = 0; i < 2 * bytes; i++) {
        rl_dtype dtype;
        int64_t ndim, shape[RL_MAX_DIMS];
        void *data;
        bool cut = i < bytes;
        zipped[i % bytes] ^= cut ? 0 : 0x41;
        FILE *out = fopen(in_folder("damaged"), "wb");
        assert_non_null(out);
        fwrite(zipped, 1, cut ? i : bytes, out);
        fclose(out);
        zipped[i % bytes] ^= cut ? 0 : 0x41;
        rl_status status = rl_idx_read(in_folder("damaged"), &dtype, &ndim, shape, &data);
        if (cut && status == RL_OK)
            fail_msg("the first %zu of %zu bytes are read as if they were whole", i, bytes);
        if (status == RL_OK) { /* a byte of gzip's own header that means nothing */
            assert_memory_equal(data, file + head, size);
            free(data);
        }
        rl_error_clear();
    }
}

static void *read_bytes(const char *name, int64_t count) {
    rl_dtype dtype;
    int64_t ndim, shape[RL_MAX_DIMS];
    void *data;
    assert_int_equal(rl_idx_read(in_folder(name), &dtype, &ndim, shape, &data), RL_OK);
    assert_int_equal(shape[0], count);
    return data;
}

/* What follows the compressed data: another gzip file goes on, anything else is an error, and words are words. */
static void test_after_gzip(void **state) {
    (void)state;
    unsigned char file[64] = {0}, zipped[256];
    const uint32_t size = 20;
    size_t head = put_header(file, 0x08, 1, &size), bytes;
    for (int k = 0; k < 4; k++) {
        write_file("after", file, head + (k == 3 ? size - 5 : size), true);
        FILE *whole = fopen(in_folder("after"), "rb");
        bytes = fread(zipped, 1, sizeof zipped, whole);
        fclose(whole);
        if (k == 1)
            zipped[bytes - 8] ^= 1; /* of the checksum */
        FILE *out = fopen(in_folder("after"), "wb");
        fwrite(zipped, 1, bytes, out);
        if (k == 2)
            fwrite("junk", 1, 4, out);
        fclose(out);
        if (k == 3) {
            gzFile more = gzopen(in_folder("after"), "ab");
            assert_int_equal(gzwrite(more, file + head, 5), 5);
            assert_int_equal(gzclose(more), Z_OK);
        }
        if (k == 1)
            expect_unreadable("after", RL_BAD_FORMAT, "after is damaged: incorrect data check");
        else if (k == 2)
            expect_unreadable("after", RL_BAD_FORMAT, "is damaged: something else follows the compressed data");
        else
            free(read_bytes("after", size));
    }
}

/* A small MNIST -----------------------------------------------------------------------------------------------------
 */

static void write_mnist(uint32_t labels) {
    unsigned char file[1024];
    const uint32_t sizes[] = {IMAGES, ROWS, COLUMNS};
    size_t head = put_header(file, 0x08, 3, sizes);
    for (size_t i = 0; i < IMAGES * PIXELS; i++)
        file[head + i] = (unsigned char)(i % 256);
    write_file("train-images-idx3-ubyte.gz", file, head + IMAGES * PIXELS, true);
    head = put_header(file, 0x08, 1, &labels);
    for (size_t i = 0; i < labels; i++)
        file[head + i] = (unsigned char)(i % 10);
    write_file("train-labels-idx1-ubyte", file, head + labels, false);
}

static void test_mnist(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *x, *y;
    write_mnist(IMAGES);
    rl_dataset *data = rl_dataset_mnist(folder, true);
    assert_int_equal(rl_dataset_size(data), IMAGES);
    rl_loader *loader = rl_loader_new(data, .batch_size = 10);
    assert_true(rl_loader_next2(loader, &x, &y));
    assert_int_equal(rl_tensor_ndim(x), 4);
    assert_int_equal(rl_tensor_size(x, 0), 10);
    assert_int_equal(rl_tensor_size(x, 2), ROWS);
    assert_int_equal(rl_tensor_dtype(x), RL_F32);
    assert_int_equal(rl_tensor_dtype(y), RL_I64);
    assert_int_equal(rl_item_int(rl_select(y, 0, 3)), 3);
    float pixel = (float)rl_item(rl_select(rl_flatten(x), 0, 3 * PIXELS + 7));
    assert_true(pixel == 67.0f / 255.0f);
    assert_null(rl_dataset_mnist(folder, false));
    expect(RL_NOT_FOUND, "t10k-images-idx3-ubyte");
    write_mnist(IMAGES + 1);
    assert_null(rl_dataset_mnist(folder, true));
    expect(RL_BAD_FORMAT, "23 images and 24 labels");
    assert_null(rl_dataset_mnist(NULL, true));
    expect(RL_INVALID_ARGUMENT, "folder");
}

static void test_without_memory(void **state) {
    (void)state;
    write_mnist(IMAGES);
    for (uint64_t n = 1;; n++) {
        RL_SCOPE();
        rl_tensor *x, *y;
        rl_alloc_fail_at(n, false);
        rl_loader *loader = rl_loader_new(rl_dataset_mnist(folder, true), .batch_size = 8, .shuffle = true, .seed = 1,
                                          .prefetch = RL_ZERO);
        while (rl_loader_next2(loader, &x, &y))
            continue;
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
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_dtypes),       cmocka_unit_test(test_lies),
                                       cmocka_unit_test(test_damaged_gzip), cmocka_unit_test(test_after_gzip),
                                       cmocka_unit_test(test_mnist),        cmocka_unit_test(test_without_memory)};
    int failed = cmocka_run_group_tests(tests, make_folder, remove_folder);
    rl_shutdown();
    return failed;
}
