/* SPDX-License-Identifier: Apache-2.0 */
/* opgen INDEX.DEF OUT_HEADER OUT_WRAPPERS OUT_TABLE OUT_TYPED SOURCE... : see gen.h. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "gen.h"

int gen_error_count;
static void *kept; /* a list of all blocks, so that nothing is lost */

void gen_error(const char *file, int line, const char *format, ...) {
    va_list args;
    va_start(args, format);
    fprintf(stderr, "%s:%d: error: ", file, line);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    gen_error_count++;
}

void *gen_keep(size_t bytes) {
    size_t head = sizeof(max_align_t);
    void **block = calloc(1, bytes + head);
    if (block == NULL) {
        fprintf(stderr, "opgen: out of memory\n");
        exit(1);
    }
    *block = kept;
    kept = block;
    return (char *)block + head;
}

char *gen_keep_text(const char *text, size_t length) {
    char *copy = gen_keep(length + 1);
    memcpy(copy, text, length);
    return copy;
}

static void free_kept(void) {
    while (kept != NULL) {
        void *next = *(void **)kept;
        free(kept);
        kept = next;
    }
}

static char *read_whole(const char *path) {
    FILE *in = fopen(path, "rb");
    if (in == NULL) {
        gen_error(path, 1, "cannot be read: %s", strerror(errno));
        return NULL;
    }
    size_t length = 0, room = 1 << 16;
    char *text = gen_keep(room);
    for (size_t got; (got = fread(text + length, 1, room - length - 1, in)) > 0;) {
        length += got;
        if (length + 1 == room) {
            char *larger = gen_keep(2 * room);
            memcpy(larger, text, length);
            text = larger;
            room *= 2;
        }
    }
    fclose(in);
    text[length] = '\0';
    return text;
}

/* The ops in the order of index.def, each exactly once; an error for one that is missing, extra or out of order. */
static void order_by_index(const char *index_path, gen_ops *ops) {
    char *text = read_whole(index_path);
    if (text == NULL)
        return;
    gen_ops ordered = {gen_keep((size_t)(ops->count + 1) * sizeof(gen_op)), 0, ops->count};
    const char *last = "";
    int line = 1;
    for (char *at = text; *at != '\0'; line++) {
        size_t length = strcspn(at, "\n");
        char name[128];
        if (sscanf(at, " RL_OP(%127[A-Za-z0-9_])", name) == 1) {
            int order = strcmp(last, name);
            if (order >= 0)
                gen_error(index_path, line, order ? "%s stands after %s: sort this list" : "%s stands here twice", name,
                          last);
            last = gen_keep_text(name, strlen(name));
            int found = 0;
            while (found < ops->count && strcmp(ops->data[found].name, name) != 0)
                found++;
            if (found == ops->count)
                gen_error(index_path, line, "no source declares rl_op_def_%s", name);
            else if (order < 0)
                ordered.data[ordered.count++] = ops->data[found];
        }
        at += length + (at[length] == '\n');
    }
    for (int i = 0; i < ops->count; i++) {
        const gen_op *op = &ops->data[i];
        for (int j = 0; j < i; j++)
            if (strcmp(ops->data[j].name, op->name) == 0)
                gen_error(op->file, op->line, "%s is declared already, in %s:%d", op->name, ops->data[j].file,
                          ops->data[j].line);
        int found = 0;
        while (found < ordered.count && strcmp(ordered.data[found].name, op->name) != 0)
            found++;
        if (found == ordered.count && gen_error_count == 0)
            gen_error(op->file, op->line, "%s is not in index.def: add RL_OP(%s) there", op->name, op->name);
    }
    *ops = ordered;
}

/* Writes the file unless it already holds just that, so that nothing is rebuilt in vain. */
static void write_file(const char *path, void (*write)(FILE *, const gen_ops *), const gen_ops *ops) {
    char *text = NULL;
    size_t length = 0;
    FILE *memory = open_memstream(&text, &length);
    if (memory == NULL) {
        gen_error(path, 1, "out of memory");
        return;
    }
    write(memory, ops);
    fclose(memory);
    FILE *old = fopen(path, "rb");
    char *old_text = old ? gen_keep(length + 1) : NULL;
    bool same = old && fread(old_text, 1, length + 1, old) == length && memcmp(old_text, text, length) == 0;
    if (old)
        fclose(old);
    FILE *out = same ? NULL : fopen(path, "wb");
    if (!same && (out == NULL || fwrite(text, 1, length, out) != length))
        gen_error(path, 1, "cannot be written: %s", strerror(errno));
    if (out != NULL && fclose(out) != 0)
        gen_error(path, 1, "cannot be written: %s", strerror(errno));
    free(text);
}

int main(int argc, char **argv) {
    if (argc < 7) {
        fprintf(stderr, "usage: opgen INDEX.DEF OUT_HEADER OUT_CPP OUT_WRAPPERS OUT_TABLE OUT_TYPED SOURCE...\n");
        return 2;
    }
    gen_ops ops = {NULL, 0, 0};
    for (int i = 7; i < argc; i++) {
        char *source = read_whole(argv[i]);
        if (source != NULL)
            gen_scan(argv[i], source, &ops);
    }
    order_by_index(argv[1], &ops);
    for (int i = 0; i < ops.count; i++)
        if (gen_parse_schema(&ops.data[i]))
            gen_check(&ops.data[i]);
    if (gen_error_count == 0) {
        write_file(argv[2], gen_write_header, &ops);
        write_file(argv[3], gen_write_cpp, &ops);
        write_file(argv[4], gen_write_wrappers, &ops);
        write_file(argv[5], gen_write_table, &ops);
        write_file(argv[6], gen_write_typed, &ops);
    }
    free_kept();
    return gen_error_count == 0 ? 0 : 1;
}
