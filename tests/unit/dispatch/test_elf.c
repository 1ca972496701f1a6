/* SPDX-License-Identifier: Apache-2.0 */
/* A plugin with a bit turned over in its headers or tables is refused, or loads, or fails to; it does not kill the
 * process. What the tables lead to, code and the data that leads on to code, is trusted (SECURITY.md): addresses of
 * functions, and what relocations write where, are left alone here. */
#include "dispatch/registry.h"

#include "../support/cmocka_support.h"

#include <dlfcn.h>
#include <elf.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROOM = 1 << 24, STEP = 5 };
static const char original[] = TEST_BINARY_DIR "/lib/test_plugins/rushlight_backend_longer.so";
static const char turned[] = TEST_BINARY_DIR "/lib/turned.so";

static unsigned char *file;
static size_t size;
static int tried, refused, crashed;

static int read_plugin(void **state) {
    (void)state;
    FILE *in = fopen(original, "rb");
    assert_non_null(in);
    file = malloc(ROOM);
    assert_non_null(file);
    size = fread(file, 1, ROOM, in);
    fclose(in);
    tried = refused = crashed = 0;
    return size == ROOM || size < sizeof(Elf64_Ehdr) ? -1 : 0;
}
static int forget_plugin(void **state) {
    (void)state;
    free(file);
    unlink(turned);
    rl_error_clear();
    return 0;
}

static void write_plugin(size_t bytes) {
    unlink(turned); /* a file that is mapped must not change */
    FILE *out = fopen(turned, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(file, 1, bytes, out), bytes);
    assert_int_equal(fclose(out), 0);
}

/* Whether the dynamic loader survives the file. */
static bool survives(void) {
    int status;
    pid_t child = fork();
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL); /* cmocka's would go on with the next test */
        signal(SIGBUS, SIG_DFL);
        signal(SIGFPE, SIG_DFL);
        signal(SIGILL, SIG_DFL);
        signal(SIGABRT, SIG_DFL);
        alarm(20);
        _exit(dlopen(turned, RTLD_NOW | RTLD_LOCAL) != NULL);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) && WEXITSTATUS(status) <= 1; /* the loader's own assertions exit with 127 */
}

static void turn(const char *where, size_t offset, int bit) {
    file[offset] ^= (unsigned char)(1 << bit);
    write_plugin(size);
    file[offset] ^= (unsigned char)(1 << bit);
    tried++;
    if (rl_backend_examine(turned) != RL_OK) {
        refused++;
        rl_error_clear();
    } else if (!survives()) {
        crashed++;
        fprintf(stderr, "%s: killed by bit %d of byte %zu\n", where, bit, offset);
    }
}
static void turn_range(const char *where, size_t offset, size_t bytes) {
    for (size_t k = (size_t)tried % STEP; k < bytes * 8; k += STEP)
        turn(where, offset + k / 8, (int)(k % 8));
}

static void test_headers(void **state) {
    (void)state;
    const Elf64_Ehdr *head = (const Elf64_Ehdr *)(const void *)file;
    turn_range("header", 0, sizeof *head);
    turn_range("segments", head->e_phoff, (size_t)head->e_phnum * sizeof(Elf64_Phdr));
    assert_int_equal(crashed, 0);
    assert_true(refused > tried / 4);
}

/* The values of DT_INIT and others are addresses of code. */
static void turn_dynamic(size_t offset, size_t bytes) {
    for (size_t at = offset; at < offset + bytes; at += sizeof(Elf64_Dyn)) {
        Elf64_Dyn entry;
        memcpy(&entry, file + at, sizeof entry);
        bool is_code = entry.d_tag == DT_INIT || entry.d_tag == DT_FINI || entry.d_tag == DT_INIT_ARRAY ||
                       entry.d_tag == DT_FINI_ARRAY;
        turn_range(".dynamic", at, is_code ? sizeof entry.d_tag : sizeof entry);
    }
}
static void turn_relocations(size_t offset, size_t bytes) {
    for (size_t at = offset; at < offset + bytes; at += sizeof(Elf64_Rela))
        turn_range("relocations", at + offsetof(Elf64_Rela, r_info), 4); /* the kind */
}

static void test_tables(void **state) {
    (void)state;
    const Elf64_Ehdr *head = (const Elf64_Ehdr *)(const void *)file;
    const Elf64_Shdr *sections = (const Elf64_Shdr *)(const void *)(file + head->e_shoff);
    for (unsigned i = 1; i < head->e_shnum; i++) {
        size_t offset = sections[i].sh_offset, bytes = sections[i].sh_size;
        if (sections[i].sh_type == SHT_DYNAMIC)
            turn_dynamic(offset, bytes);
        else if (sections[i].sh_type == SHT_RELA)
            turn_relocations(offset, bytes < 2400 ? bytes : 2400);
        else if (sections[i].sh_type == SHT_GNU_HASH || sections[i].sh_type == SHT_HASH ||
                 sections[i].sh_type == SHT_DYNSYM || sections[i].sh_type == SHT_GNU_versym ||
                 sections[i].sh_type == SHT_GNU_verneed || sections[i].sh_type == SHT_GNU_verdef)
            turn_range("a table", offset, bytes < 1024 ? bytes : 1024);
    }
    assert_int_equal(crashed, 0);
    assert_true(refused > tried / 4);
}

/* Whole, every plugin here is well; cut anywhere, none is. */
static void test_cut(void **state) {
    (void)state;
    assert_int_equal(rl_backend_examine(original), RL_OK);
    for (size_t bytes = 0; bytes < size; bytes += 1 + size / 64) {
        write_plugin(bytes);
        assert_int_equal(rl_backend_examine(turned), RL_BAD_FORMAT);
        rl_error_clear();
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_headers, read_plugin, forget_plugin),
        cmocka_unit_test_setup_teardown(test_tables, read_plugin, forget_plugin),
        cmocka_unit_test_setup_teardown(test_cut, read_plugin, forget_plugin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
