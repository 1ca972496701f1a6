/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Primitive 2, reduce: kernels written for a pair of programs, their combiners and a class of layouts.
 *
 * The kept dimensions number the items, the reduced ones are walked by each. Two kinds of kernel differ in what the
 * lanes of a vector are: neighbours along the last reduced dimension (LINES: a group an item, lanes and work-items are
 * combined at the end), or along the last kept one (COLUMNS: a work-item a vector of items). Where items are few and
 * long, each is cut into parts, whose combined values a second kernel combines in their order.
 *
 * The order of a sum depends on shape, strides and the kind of device, never on how many threads there are. A lane adds
 * up at most RL_GENERATE_BLOCK values before its sum goes into another, so errors grow like the block and
 * the number of blocks, not like what is summed. Little work is done by the interpreter in the same order until its
 * kernel is built.
 */
#include <stdio.h>
#include <string.h>

#include "generate.h"
#include "interpreter.h"
#include "rl_interp.h"

#define MOST_PARTS 512
#define UNROLL 4          /* vectors of a line that are added up beside each other, each of 4-byte lanes */
#define SPAN_WORDS 2048   /* of 4 bytes: the sums of neighbouring columns that a thread takes together */
#define LEAST_SPAN 131072 /* elements of a part of such columns */
#define MOST_PARAMS (4 * RL_MAX_INSNS + RL_LAYOUT_OPERANDS * (2 * RL_MAX_DIMS + 1) + 64)
#define MOST_ARGS (RL_MAX_INPUTS + RL_MAX_OUTPUTS + 2 * RL_MAX_COMBINED + 2)

typedef enum reduce_kind { KIND_LINES, KIND_COLUMNS, KIND_FINISH } reduce_kind;

enum { WORD_KIND, WORD_KEPT, WORD_REDUCED, WORD_COMBINERS, WORD_PARTIAL, WORD_BY_MEMORY, WORD_UNROLL, WORD_MODES };

/* Operands: inputs of the prologue, outputs of the epilogue, pseudo operands of the prologue, and for ARGMAX and ARGMIN
 * the number within the reduced dimensions. */
typedef struct reduction {
    const rl_program *prologue, *epilogue;
    int combined, has_number;
    uint8_t combiner[RL_MAX_COMBINED];
    int n, number; /* operands; which one is the number */
    int pro_slots, epi_slots;
} reduction;

static int is_arg(unsigned combiner) {
    return combiner == RL_COMBINE_ARGMAX || combiner == RL_COMBINE_ARGMIN;
}

static reduction describe(const rl_program *prologue, const rl_program *epilogue, const uint8_t *combiner) {
    reduction self = {.prologue = prologue, .epilogue = epilogue, .combined = prologue->n_outputs};
    for (int k = 0; k < self.combined; k++) {
        self.combiner[k] = combiner[k];
        self.has_number |= is_arg(combiner[k]);
    }
    self.number = prologue->n_inputs + epilogue->n_outputs + rl_generate_pseudo_count(prologue);
    self.n = self.number + self.has_number;
    self.pro_slots = rl_source_slots(prologue, NULL, NULL);
    self.epi_slots = rl_source_slots(epilogue, NULL, NULL);
    return self;
}

static reduction of_spec(const rl_accel_spec *spec) {
    uint8_t combiner[RL_MAX_COMBINED];
    for (int k = 0; k < RL_MAX_COMBINED; k++)
        combiner[k] = (uint8_t)(spec->word[WORD_COMBINERS] >> 4 * k & 15);
    return describe(spec->program[0], spec->program[1], combiner);
}

/* The size of a lane's sums in 4-byte words. */
static int sum_words(const reduction *self) {
    int words = 0;
    for (int k = 0; k < self->combined; k++) {
        rl_reg reg = rl_interp_dtype_reg(self->prologue->output_dtype[k]);
        words += (reg == RL_REG_F64 || reg == RL_REG_I64 ? 2 : 1) + (is_arg(self->combiner[k]) ? 2 : 0);
    }
    return words ? words : 1;
}

/* Vectors of columns that a thread takes together, rows of memory being read in longer pieces then. */
static int64_t span_of(const reduction *self, int64_t width) {
    return SPAN_WORDS / (width * sum_words(self));
}

/* Source ------------------------------------------------------------------------------------------------------- */

/* The scalar of combined value k, and its name in "rl_f32". */
static const char *scalar_of(const reduction *self, int k) {
    static const char *const names[] = {
        [RL_REG_F32] = "float", [RL_REG_F64] = "double", [RL_REG_I32] = "int", [RL_REG_I64] = "long"};
    return names[rl_interp_dtype_reg(self->prologue->output_dtype[k])];
}
static const char *vector_of(const reduction *self, int k) {
    return rl_source_register(rl_interp_dtype_reg(self->prologue->output_dtype[k]));
}

static void write_identity(rl_text_buffer *out, const reduction *self, int k) {
    static const char *const form[] = {[RL_REG_F32] = "as_float((int)0x%llxu)",
                                       [RL_REG_F64] = "as_double((long)0x%llxUL)",
                                       [RL_REG_I32] = "(int)0x%llxu",
                                       [RL_REG_I64] = "(long)0x%llxUL"};
    rl_reg reg = rl_interp_dtype_reg(self->prologue->output_dtype[k]);
    uint64_t bits = (uint64_t)rl_generate_identity(self->combiner[k], reg);
    if (reg == RL_REG_F32 || reg == RL_REG_I32)
        bits &= UINT32_MAX;
    rl_text_put(out, form[reg], (unsigned long long)bits);
}

/* acc = acc combined with v; for ARGMAX and ARGMIN also their numbers. `vectors` 1: names of vectors. */
static void write_combine(rl_text_buffer *out, const reduction *self, int k, const char *acc, const char *v,
                          int vectors) {
    static const char *const insn[] = {
        [RL_COMBINE_SUM] = "ADD", [RL_COMBINE_PROD] = "MUL", [RL_COMBINE_MAX] = "MAX", [RL_COMBINE_MIN] = "MIN"};
    if (!is_arg(self->combiner[k])) {
        rl_text_put(out, "%s%d = rl_i_%s(%s%d, %s%d);\n", acc, k, insn[self->combiner[k] & 3], v, k, acc, k);
        return;
    }
    const char *mask = vectors ? "rl_i32" : "int", *order = self->combiner[k] == RL_COMBINE_ARGMAX ? "GT" : "LT";
    rl_reg reg = rl_interp_dtype_reg(self->prologue->output_dtype[k]);
    int is_float = reg == RL_REG_F32 || reg == RL_REG_F64;
    rl_text_put(out, "{ %s before = rl_i_%s(%s%d, %s%d), same = rl_i_EQ(%s%d, %s%d);\n", mask, order, v, k, acc, k, v,
                k, acc, k);
    if (is_float)
        rl_text_put(out,
                    "const %s nan = rl_i_NE(%s%d, %s%d), held = rl_i_NE(%s%d, %s%d);\n"
                    "before |= nan & ~held; same |= nan & held;\n",
                    mask, v, k, v, k, acc, k, acc, k);
    rl_text_put(
        out,
        "before |= same & rl_i_LT(%snumber%d, %snumber%d);\n"
        "%s%d = rl_i_SELECT(before, %s%d, %s%d);\n%snumber%d = rl_i_SELECT(before, %snumber%d, %snumber%d); }\n",
        v, k, acc, k, acc, k, v, k, acc, k, acc, k, v, k, acc, k);
}

/* Declares accumulators with the identity: "acc0", "accnumber0". */
static void write_identities(rl_text_buffer *out, const reduction *self, const char *acc, int vectors) {
    for (int k = 0; k < self->combined; k++) {
        const char *type = vectors ? vector_of(self, k) : scalar_of(self, k);
        rl_text_put(out, "%s %s%d = (%s)(", type, acc, k, type);
        write_identity(out, self, k);
        rl_text_put_all(out, ");\n");
        if (is_arg(self->combiner[k]))
            rl_text_put(out, "%s %snumber%d = (%s)(" RL_GENERATE_NO_NUMBER ");\n", vectors ? "rl_i64" : "long", acc, k,
                        vectors ? "rl_i64" : "long");
    }
}

/* Parameters: 8-byte numbers in this order. */
static void write_params(rl_text_buffer *out, const reduction *self, int kept, int reduced) {
    rl_text_put(out,
                "typedef struct {\nrl_long items, parts, chunk, length, offset[%d], kept_shape[%d], shape[%d], "
                "kept[%d][%d], stride[%d][%d], slot[%d], end_slot[%d];\n} RL_LOCAL(params);\n",
                self->n, kept, reduced, self->n, kept, self->n, reduced, self->pro_slots + 1, self->epi_slots + 1);
}
static int params_count(const reduction *self, int kept, int reduced) {
    return 4 + self->n + kept + reduced + self->n * (kept + reduced) + self->pro_slots + 1 + self->epi_slots + 1;
}

static void write_arguments(rl_text_buffer *out, const reduction *self, const rl_accel_spec *spec) {
    int kind = spec->word[WORD_KIND], partial = spec->word[WORD_PARTIAL];
    rl_text_put_all(out, "RL_KERNEL(");
    for (int k = 0; k < self->prologue->n_inputs && kind != KIND_FINISH; k++)
        rl_text_put(out, "const RL_GLOBAL rl_T_%s *in%d, ", rl_source_dtype(self->prologue->input_dtype[k]), k);
    for (int k = 0; k < self->epilogue->n_outputs && !partial; k++)
        rl_text_put(out, "RL_GLOBAL rl_T_%s *out%d, ", rl_source_dtype(self->epilogue->output_dtype[k]), k);
    for (int k = 0; k < self->combined && (partial || kind == KIND_FINISH); k++) {
        rl_text_put(out, "RL_GLOBAL %s *part%d, ", scalar_of(self, k), k);
        if (is_arg(self->combiner[k]))
            rl_text_put(out, "RL_GLOBAL long *partnumber%d, ", k);
    }
    rl_generate_params(out, spec->word[WORD_BY_MEMORY]);
    if (kind == KIND_LINES) {
        rl_text_put_all(out, "#if RL_GROUP > 1\n");
        for (int k = 0; k < self->combined; k++) {
            rl_text_put(out, "RL_SHARED %s shared%d[RL_GROUP];\n", scalar_of(self, k), k);
            if (is_arg(self->combiner[k]))
                rl_text_put(out, "RL_SHARED long sharednumber%d[RL_GROUP];\n", k);
        }
        rl_text_put_all(out, "#endif\n");
    }
}

static void write_values(rl_text_buffer *out, const reduction *self, const rl_walk *walk, int mask) {
    int first = self->prologue->n_inputs + self->epilogue->n_outputs;
    rl_generate_loads(out, self->prologue, "", walk);
    rl_generate_pseudo(out, self->prologue, first, walk);
    if (self->has_number)
        rl_generate_number(out, "number", self->number, walk);
    rl_source_program(out, self->prologue, "", "p.slot");
    for (int k = 0; k < self->combined; k++) {
        const char *type = vector_of(self, k);
        rl_text_put(out, "%s w%d = rl_in_%s(rl_out_%s(v%d));\n", type, k,
                    rl_source_dtype(self->prologue->output_dtype[k]), rl_source_dtype(self->prologue->output_dtype[k]),
                    self->prologue->output_value[k]);
        if (is_arg(self->combiner[k]))
            rl_text_put(out, "rl_i64 wnumber%d = number;\n", k);
    }
    if (!mask)
        return;
    rl_text_put_all(out, "if (n < RL_WIDTH) {\nconst rl_i32 inside = rl_i_LT(rl_lanes(), (rl_i64)((long)n));\n");
    for (int k = 0; k < self->combined; k++) {
        rl_text_put(out, "w%d = rl_i_SELECT(inside, w%d, (%s)(", k, k, vector_of(self, k));
        write_identity(out, self, k);
        rl_text_put_all(out, "));\n");
        if (is_arg(self->combiner[k]))
            rl_text_put(out, "wnumber%d = rl_i_SELECT(inside, wnumber%d, (rl_i64)(" RL_GENERATE_NO_NUMBER "));\n", k,
                        k);
    }
    rl_text_put_all(out, "}\n");
}

static void combine_all(rl_text_buffer *out, const reduction *self, const char *acc, const char *v, int vectors) {
    for (int k = 0; k < self->combined; k++)
        write_combine(out, self, k, acc, v, vectors);
}

/* The epilogue on acc0, ... (scalars, or vectors), and its stores; or the partial values' stores. */
static void write_end(rl_text_buffer *out, const reduction *self, const rl_accel_spec *spec, const rl_walk *walk,
                      int vectors, const char *place) {
    for (int k = 0; k < self->combined; k++) {
        const char *number = is_arg(self->combiner[k]) ? "number" : "";
        if (spec->word[WORD_PARTIAL]) {
            rl_text_put(out, vectors ? "rl_store(part%d + %s, n, acc%d);\n" : "part%d[%s] = acc%d;\n", k, place, k);
            if (*number)
                rl_text_put(out,
                            vectors ? "rl_store(partnumber%d + %s, n, accnumber%d);\n"
                                    : "partnumber%d[%s] = accnumber%d;\n",
                            k, place, k);
            continue;
        }
        if (*number) /* nothing to combine gives 0 */
            rl_text_put(out,
                        "const rl_i64 ex%d = rl_i_SELECT(rl_i_EQ((rl_i64)(accnumber%d), (rl_i64)(" RL_GENERATE_NO_NUMBER
                        ")), (rl_i64)(0L), (rl_i64)(accnumber%d));\n",
                        k, k, k);
        else
            rl_text_put(out, "const %s ex%d = (%s)(acc%d);\n", vector_of(self, k), k, vector_of(self, k), k);
    }
    if (spec->word[WORD_PARTIAL])
        return;
    rl_source_program(out, self->epilogue, "e", "p.end_slot");
    rl_generate_stores(out, self->epilogue, "e", self->prologue->n_inputs, walk);
}

/* Whole vectors from j on, `unroll` at a time, each added to sums of its own: no addition waits for the one before. */
static void write_full_vectors(rl_text_buffer *out, const reduction *self, int unroll, const rl_walk *walk) {
    char acc[16];
    if (unroll < 2)
        return;
    for (int u = 0; u < unroll; u++) {
        snprintf(acc, sizeof acc, "acc%c", 'a' + u);
        write_identities(out, self, acc, 1);
    }
    rl_text_put(out, "for (; j + (%d * RL_GROUP + 1) * RL_WIDTH <= to; ) {\nconst int n = RL_WIDTH;\n", unroll - 1);
    for (int u = 0; u < unroll; u++) {
        snprintf(acc, sizeof acc, "acc%c", 'a' + u);
        rl_text_put_all(out, "{\n");
        write_values(out, self, walk, 0);
        combine_all(out, self, acc, "w", 1);
        rl_text_put_all(out, "}\nj += RL_GROUP * RL_WIDTH;\n");
    }
    rl_text_put_all(out, "}\n");
    for (int u = 0; u < unroll; u++) {
        snprintf(acc, sizeof acc, "acc%c", 'a' + u);
        combine_all(out, self, "sum", acc, 1);
    }
}

/* Declares scalars "lane0" ... from element `at` of arrays named like them. */
static void write_take(rl_text_buffer *out, const reduction *self, const char *arrays, const char *at) {
    for (int k = 0; k < self->combined; k++) {
        rl_text_put(out, "const %s lane%d = %s%d[%s];\n", scalar_of(self, k), k, arrays, k, at);
        if (is_arg(self->combiner[k]))
            rl_text_put(out, "const long lanenumber%d = %snumber%d[%s];\n", k, arrays, k, at);
    }
}

static void write_share(rl_text_buffer *out, const reduction *self) {
    for (int k = 0; k < self->combined; k++) {
        rl_text_put(out, "shared%d[RL_ITEM] = acc%d;\n", k, k);
        if (is_arg(self->combiner[k]))
            rl_text_put(out, "sharednumber%d[RL_ITEM] = accnumber%d;\n", k, k);
    }
}

/* acc0, ...: the lanes of sum0, ..., then those of the group's work-items. */
static void write_join(rl_text_buffer *out, const reduction *self) {
    write_identities(out, self, "acc", 0);
    rl_text_put_all(out, "{\n");
    for (int k = 0; k < self->combined; k++) {
        rl_text_put(out, "%s lanes%d[RL_WIDTH];\nRL_WIDE(vstore, RL_WIDTH)(sum%d, 0, lanes%d);\n", scalar_of(self, k),
                    k, k, k);
        if (is_arg(self->combiner[k]))
            rl_text_put(out,
                        "long lanesnumber%d[RL_WIDTH];\nRL_WIDE(vstore, RL_WIDTH)(sumnumber%d, 0, lanesnumber%d);\n", k,
                        k, k);
    }
    rl_text_put_all(out, "for (int l = 0; l < RL_WIDTH; l++) {\n");
    write_take(out, self, "lanes", "l");
    combine_all(out, self, "acc", "lane", 0);
    rl_text_put_all(out, "}\n}\n#if RL_GROUP > 1\n");
    write_share(out, self);
    rl_text_put_all(out,
                    "RL_BARRIER();\nfor (int step = RL_GROUP / 2; step > 0; step /= 2) {\nif (RL_ITEM < step) {\n");
    write_take(out, self, "shared", "RL_ITEM + step");
    combine_all(out, self, "acc", "lane", 0);
    write_share(out, self);
    rl_text_put_all(out, "}\nRL_BARRIER();\n}\n#endif\n");
}

static void write_lines(rl_text_buffer *out, const reduction *self, const rl_accel_spec *spec) {
    int kept = spec->word[WORD_KEPT], reduced = spec->word[WORD_REDUCED];
    static const int32_t single[RL_MODE_WORDS] = {0};
    rl_walk walk = {.modes = spec->word + WORD_MODES, .at = "at", .column = "j", .stride = "p.stride", .dims = reduced};
    rl_walk end = {.modes = single, .at = "base", .column = "0", .stride = "p.kept", .dims = kept};
    rl_text_put(out,
                "const rl_long inner = p.shape[%d];\nrl_long base[%d], at[%d];\n"
                "RL_FOR_GROUPS(t, p.items * p.parts) {\nconst rl_long item = t / p.parts, part = t - item * p.parts;\n",
                reduced - 1, self->n, self->n);
    rl_generate_decode(out, "rl_ulong", "base", "p.offset", "item", "p.kept_shape", "p.kept", kept, self->n);
    write_identities(out, self, "sum", 1);
    rl_text_put_all(out, "const rl_long begin = part * p.chunk, end = rl_least(begin + p.chunk, p.length);\n"
                         "for (rl_long position = begin; position < end;) {\n"
                         "const rl_long row = position / inner, first = position - row * inner;\n"
                         "const rl_long stop = rl_least(inner, first + (end - position));\n");
    rl_generate_decode(out, "rl_ulong", "at", "base", "row", "p.shape", "p.stride", reduced - 1, self->n);
    rl_text_put(out, "for (rl_long from = first; from < stop; from += %d * RL_GROUP * RL_WIDTH) {\n",
                RL_GENERATE_BLOCK);
    rl_text_put(out,
                "const rl_long to = rl_least(stop, from + %d * RL_GROUP * RL_WIDTH);\n"
                "rl_long j = from + RL_ITEM * RL_WIDTH;\n",
                RL_GENERATE_BLOCK);
    write_full_vectors(out, self, spec->word[WORD_UNROLL], &walk);
    write_identities(out, self, "acc", 1);
    rl_text_put_all(out, "for (; j < to; j += RL_GROUP * RL_WIDTH) {\n"
                         "const int n = (int)rl_least(to - j, RL_WIDTH);\n");
    write_values(out, self, &walk, 1);
    combine_all(out, self, "acc", "w", 1);
    rl_text_put_all(out, "}\n");
    combine_all(out, self, "sum", "acc", 1);
    rl_text_put_all(out, "}\nposition += stop - first;\n}\n");
    write_join(out, self);
    rl_text_put_all(out, "if (RL_ITEM == 0) {\n");
    write_end(out, self, spec, &end, 0, "part * p.items + item");
    rl_text_put_all(out, "}\nRL_BARRIER();\n}\n");
}

/* Declares arrays of SPAN accumulators, or takes accumulator u of an array into "acc0" or puts it back. */
static void write_span(rl_text_buffer *out, const reduction *self, const char *array, const char *name, int put) {
    for (int k = 0; k < self->combined; k++)
        for (int number = 0; number <= is_arg(self->combiner[k]); number++) {
            const char *type = number ? "rl_i64" : vector_of(self, k), *kind = number ? "number" : "";
            if (!name)
                rl_text_put(out, "%s %s%s%d[RL_SPAN];\n", type, array, kind, k);
            else if (put)
                rl_text_put(out, "%s%s%d[u] = %s%s%d;\n", array, kind, k, name, kind, k);
            else
                rl_text_put(out, "%s %s%s%d = %s%s%d[u];\n", type, name, kind, k, array, kind, k);
        }
}

#define EACH_OF_SPAN "for (int u = 0; u < span; u++) {\n"
#define VECTOR_OF_SPAN "const rl_long j = from + u * RL_WIDTH;\nconst int n = (int)rl_least(inner - j, RL_WIDTH);\n"

static void write_fill(rl_text_buffer *out, const reduction *self, const char *array) {
    rl_text_put_all(out, EACH_OF_SPAN);
    write_identities(out, self, "begin", 1);
    write_span(out, self, array, "begin", 1);
    rl_text_put_all(out, "}\n");
}

/* An item takes up to RL_SPAN neighbouring vectors. */
static void write_columns(rl_text_buffer *out, const reduction *self, const rl_accel_spec *spec) {
    int kept = spec->word[WORD_KEPT], reduced = spec->word[WORD_REDUCED];
    rl_walk walk = {.modes = spec->word + WORD_MODES, .at = "at", .column = "j", .stride = "p.kept", .dims = kept};
    rl_walk end = walk;
    end.at = "base";
    rl_text_put(out, "#define RL_SPAN (RL_GROUP > 1 ? 1 : %d / RL_WIDTH)\n", (int)span_of(self, 1));
    rl_text_put(out,
                "const rl_long inner = p.kept_shape[%d], wide = RL_SPAN * RL_WIDTH, spans = (inner + wide - 1) / wide;"
                "\nconst rl_long length = p.shape[%d], all = p.items / inner * spans;\nrl_long base[%d], at[%d];\n"
                "RL_FOR_ITEMS(t, all * p.parts, 1) {\nconst rl_long part = t / all, item = t - part * all;\n"
                "const rl_long line = item / spans, from = (item - line * spans) * wide;\n"
                "const int span = (int)((rl_least(inner - from, wide) + RL_WIDTH - 1) / RL_WIDTH);\n",
                kept - 1, reduced - 1, self->n, self->n);
    rl_generate_decode(out, "rl_ulong", "base", "p.offset", "line", "p.kept_shape", "p.kept", kept - 1, self->n);
    write_span(out, self, "sums", NULL, 0);
    write_span(out, self, "accs", NULL, 0);
    write_fill(out, self, "sums");
    rl_text_put_all(out, "const rl_long begin = part * p.chunk, end = rl_least(begin + p.chunk, p.length);\n"
                         "for (rl_long position = begin; position < end;) {\n"
                         "const rl_long row = position / length, first = position - row * length;\n");
    rl_text_put(out, "const rl_long stop = rl_least(length, first + rl_least(end - position, %d));\n",
                RL_GENERATE_BLOCK);
    rl_generate_decode(out, "rl_ulong", "at", "base", "row", "p.shape", "p.stride", reduced - 1, self->n);
    rl_text_put(out, "for (int k = 0; k < %d; k++)\nat[k] += first * p.stride[k][%d];\n", self->n, reduced - 1);
    write_fill(out, self, "accs");
    rl_text_put_all(out, "for (rl_long q = first; q < stop; q++) {\n" EACH_OF_SPAN VECTOR_OF_SPAN);
    write_span(out, self, "accs", "acc", 0);
    write_values(out, self, &walk, 0);
    combine_all(out, self, "acc", "w", 1);
    write_span(out, self, "accs", "acc", 1);
    rl_text_put(out, "}\nfor (int k = 0; k < %d; k++)\nat[k] += p.stride[k][%d];\n}\n", self->n, reduced - 1);
    rl_text_put_all(out, EACH_OF_SPAN);
    write_span(out, self, "sums", "sum", 0);
    write_span(out, self, "accs", "acc", 0);
    combine_all(out, self, "sum", "acc", 1);
    write_span(out, self, "sums", "sum", 1);
    rl_text_put_all(out, "}\nposition += stop - first;\n}\n" EACH_OF_SPAN VECTOR_OF_SPAN);
    write_span(out, self, "sums", "acc", 0);
    write_end(out, self, spec, &end, 1, "part * p.items + line * inner + j");
    rl_text_put_all(out, "}\n}\n#undef RL_SPAN\n");
}

/* Vectors of items along the last kept dimension. */
static void write_finish(rl_text_buffer *out, const reduction *self, const rl_accel_spec *spec) {
    int kept = spec->word[WORD_KEPT];
    rl_walk end = {.modes = spec->word + WORD_MODES, .at = "base", .column = "j", .stride = "p.kept", .dims = kept};
    rl_text_put(out,
                "const rl_long inner = p.kept_shape[%d], vectors = (inner + RL_WIDTH - 1) / RL_WIDTH;\n"
                "rl_long base[%d];\nRL_FOR_ITEMS(t, p.items / inner * vectors, 1) {\n"
                "const rl_long line = t / vectors, j = (t - line * vectors) * RL_WIDTH, item = line * inner + j;\n"
                "const int n = (int)rl_least(inner - j, RL_WIDTH);\n",
                kept - 1, self->n);
    rl_generate_decode(out, "rl_ulong", "base", "p.offset", "line", "p.kept_shape", "p.kept", kept - 1, self->n);
    write_identities(out, self, "acc", 1);
    rl_text_put_all(out, "for (rl_long part = 0; part < p.parts; part++) {\n");
    for (int k = 0; k < self->combined; k++) {
        rl_text_put(out, "const %s w%d = rl_load(part%d + part * p.items + item, n);\n", vector_of(self, k), k, k);
        if (is_arg(self->combiner[k]))
            rl_text_put(out, "const rl_i64 wnumber%d = rl_load(partnumber%d + part * p.items + item, n);\n", k, k);
    }
    combine_all(out, self, "acc", "w", 1);
    rl_text_put_all(out, "}\n");
    write_end(out, self, spec, &end, 1, "0");
    rl_text_put_all(out, "}\n");
}

static void write_reduce(rl_text_buffer *out, const rl_accel *accel, const rl_accel_spec *spec) {
    static void (*const writers[])(rl_text_buffer *, const reduction *, const rl_accel_spec *) = {
        [KIND_LINES] = write_lines, [KIND_COLUMNS] = write_columns, [KIND_FINISH] = write_finish};
    reduction self = of_spec(spec);
    (void)accel;
    write_params(out, &self, spec->word[WORD_KEPT], spec->word[WORD_REDUCED]);
    write_arguments(out, &self, spec);
    writers[spec->word[WORD_KIND]](out, &self, spec);
    rl_generate_params_end(out, spec->word[WORD_BY_MEMORY]);
}

static const rl_accel_family reduce_family = {.name = "reduce", .write = write_reduce};
static const rl_accel_family random_reduce_family = {.name = "reduce", .write = write_reduce, .random = 1};

/* Launch ------------------------------------------------------------------------------------------------------- */

typedef struct plan {
    reduction what;
    rl_layout kept, reduced;
    reduce_kind kind;
    int64_t items, length, parts, chunk;
    int kept_dims, reduced_dims; /* rounded up */
    int is_little;
} plan;

static void lay_out(const rl_reduce_args *args, plan *out) {
    const rl_program *prologue = args->prologue;
    rl_layout *layout = &out->kept;
    rl_layout_init(layout, args->ndim, args->shape);
    for (int k = 0; k < prologue->n_inputs; k++)
        rl_layout_add(layout, args->inputs[k].stride, 0);
    for (int k = 0; k < args->epilogue->n_outputs; k++)
        rl_layout_add(layout, args->outputs[k].stride, args->reduced);
    rl_generate_add_pseudo(layout, prologue);
    if (out->what.has_number)
        rl_layout_add_number(layout, args->reduced);
    rl_layout_split(layout, args->reduced, &out->reduced);
    out->items = rl_layout_total(&out->kept);
    out->length = rl_layout_total(&out->reduced);
    rl_layout_merge(&out->kept);
    rl_layout_merge(&out->reduced);
}

/* Whether the inputs are walked by 0 or 1 along the last dimension, one of them by 1. */
static int is_contiguous(const rl_layout *layout, int n_inputs) {
    int any = 0;
    for (int k = 0; k < n_inputs; k++) {
        int stride = rl_layout_inner(layout, k);
        if (stride == 2)
            return 0;
        any |= stride;
    }
    return any;
}

static int64_t last_size(const rl_layout *layout) {
    return layout->dims ? layout->shape[layout->dims - 1] : 1;
}

/* Makes a dimension last along which the inputs are contiguous, if there is one that is long enough. */
static void turn(rl_layout *layout, int n_inputs, int64_t width) {
    if (is_contiguous(layout, n_inputs) && last_size(layout) >= width / 2)
        return;
    for (int d = layout->dims - 2; d >= 0; d--) {
        rl_layout turned = *layout;
        rl_layout_rotate(&turned, d);
        if (is_contiguous(&turned, n_inputs) && last_size(&turned) >= width / 2) {
            *layout = turned;
            return;
        }
    }
    rl_layout_lengthen(layout, width);
}

/* Into how many parts the reduced elements of an item, or of a span of columns, are cut where such pieces are too few
 * to fill a device. Of the kind of device, not of how large it is: the order of sums depends on it. */
static int64_t parts_of(const rl_accel *self, const plan *how) {
    const int64_t width = self->traits.width, group = self->traits.group, column = last_size(&how->kept);
    int64_t pieces = how->items * group, least = 4096 * group; /* of KIND_LINES: in work-items, elements of a part */
    if (how->kind == KIND_COLUMNS) {
        const int64_t wide = group > 1 ? width : span_of(&how->what, width) * width;
        pieces = how->items / column * ((column + wide - 1) / wide);
        least = group > 1 ? 4096 / width : LEAST_SPAN / (column < wide ? column : wide);
    }
    const int64_t wanted = group > 1 ? 1024 * group : 64;
    int64_t parts = (wanted + pieces - 1) / pieces, most = how->length / (least < 1 ? 1 : least);
    parts = parts > most ? most : parts;
    return parts < 1 ? 1 : parts > MOST_PARTS ? MOST_PARTS : parts;
}

static void choose(const rl_accel *self, plan *out) {
    int64_t width = self->traits.width;
    int n_inputs = out->what.prologue->n_inputs;
    turn(&out->kept, n_inputs, width);
    turn(&out->reduced, n_inputs, width);
    int64_t line = last_size(&out->reduced), column = last_size(&out->kept);
    out->is_little = out->items * (out->length ? out->length : 1) <= RL_GENERATE_LITTLE;
    if (out->is_little || (is_contiguous(&out->reduced, n_inputs) && line >= width / 2))
        out->kind = KIND_LINES;
    else if (is_contiguous(&out->kept, n_inputs) && column >= width / 2)
        out->kind = KIND_COLUMNS;
    else
        out->kind = line >= column ? KIND_LINES : KIND_COLUMNS;
    out->parts = out->is_little ? 1 : parts_of(self, out); /* 1: as the interpreter has it */
    out->chunk = (out->length + out->parts - 1) / out->parts;
    out->chunk = (out->chunk + width - 1) / width * width;
    if (out->chunk < 1)
        out->chunk = 1;
    out->parts = out->length ? (out->length + out->chunk - 1) / out->chunk : 1;
}

static int round_dims(int dims, int is_little) {
    static const int8_t up[RL_MAX_DIMS + 1] = {1, 1, 2, 3, 4, 6, 6, 8, 8, 12, 12, 12, 12};
    return !is_little ? up[dims] : dims <= 3 ? 3 : 12;
}

static int64_t *put_layout(const rl_layout *layout, int dims, int64_t *shape, int64_t *stride) {
    int skip = dims - layout->dims;
    for (int d = 0; d < dims; d++) {
        shape[d] = d < skip ? 1 : layout->shape[d - skip];
        for (int k = 0; k < layout->n; k++)
            stride[k * dims + d] = d < skip ? 0 : layout->stride[k][d - skip];
    }
    return stride + layout->n * dims;
}

static size_t fill_params(const rl_reduce_args *args, const plan *how, int64_t *params) {
    const reduction *what = &how->what;
    int kept = how->kept_dims, reduced = how->reduced_dims;
    int64_t *offset = params + 4, *kept_shape = offset + what->n, *shape = kept_shape + kept;
    params[0] = how->items;
    params[1] = how->parts;
    params[2] = how->chunk;
    params[3] = how->length;
    for (int k = 0; k < what->prologue->n_inputs; k++)
        offset[k] = rl_accel_offset(&args->inputs[k], what->prologue->input_dtype[k]);
    for (int k = 0; k < what->epilogue->n_outputs; k++)
        offset[what->prologue->n_inputs + k] = rl_accel_offset(&args->outputs[k], what->epilogue->output_dtype[k]);
    int64_t *slots =
        put_layout(&how->reduced, reduced, shape, put_layout(&how->kept, kept, kept_shape, shape + reduced));
    rl_source_slots(what->prologue, args->scalars, slots);
    rl_source_slots(what->epilogue, args->epilogue_scalars, slots + what->pro_slots + 1);
    return sizeof *params * (size_t)params_count(what, kept, reduced);
}

static rl_accel_spec specify(const plan *how, reduce_kind kind, int partial) {
    const reduction *what = &how->what;
    rl_accel_spec spec = {.family = what->prologue->flags & RL_PROGRAM_RANDOM ? &random_reduce_family : &reduce_family,
                          .program = {what->prologue, what->epilogue}};
    spec.word[WORD_KIND] = (int32_t)kind;
    spec.word[WORD_KEPT] = how->kept_dims;
    spec.word[WORD_REDUCED] = how->reduced_dims;
    spec.word[WORD_PARTIAL] = partial;
    if (kind == KIND_LINES && !how->is_little && sum_words(what) < UNROLL)
        spec.word[WORD_UNROLL] = UNROLL / sum_words(what);
    for (int k = 0; k < what->combined; k++)
        spec.word[WORD_COMBINERS] |= what->combiner[k] << 4 * k;
    rl_generate_modes(kind == KIND_LINES ? &how->reduced : &how->kept, how->is_little, spec.word + WORD_MODES);
    return spec;
}

/* The buffers that a stage's kernel takes, as write_arguments has them. */
static unsigned put_buffers(rl_backend_stream *stream, const rl_reduce_args *args, const reduction *what,
                            reduce_kind kind, int partial, rl_backend_buffer *const *parts, rl_accel_arg *out) {
    unsigned n = 0;
    for (int k = 0; k < what->prologue->n_inputs && kind != KIND_FINISH; k++)
        out[n++] = rl_accel_buffer_of(stream, &args->inputs[k]);
    for (int k = 0; k < what->epilogue->n_outputs && !partial; k++)
        out[n++] = rl_accel_buffer_of(stream, &args->outputs[k]);
    for (int k = 0; k < what->combined && (partial || kind == KIND_FINISH); k++) {
        out[n++] = (rl_accel_arg){.buffer = parts[2 * k]};
        if (is_arg(what->combiner[k]))
            out[n++] = (rl_accel_arg){.buffer = parts[2 * k + 1]};
    }
    return n;
}

static uint64_t groups_of(const rl_accel *self, const plan *how, reduce_kind kind) {
    uint64_t width = self->traits.width, cost = (uint64_t)how->chunk * how->what.prologue->n_insns;
    uint64_t column = (uint64_t)last_size(&how->kept), items = (uint64_t)how->items;
    if (kind == KIND_FINISH)
        return rl_accel_groups(self, items / column * ((column + width - 1) / width), width * (uint64_t)how->parts);
    if (kind == KIND_LINES) /* a group an item */
        return rl_accel_groups(self, items * (uint64_t)how->parts * self->traits.group, cost / width + 8);
    const uint64_t span = self->traits.group > 1 ? 1 : (uint64_t)span_of(&how->what, (int64_t)width),
                   wide = span * width;
    return rl_accel_groups(self, (uint64_t)how->parts * (items / column) * ((column + wide - 1) / wide), cost * span);
}

/* One stage. */
static rl_status run(rl_backend_stream *stream, const rl_reduce_args *args, const plan *how, reduce_kind kind,
                     int partial, rl_backend_buffer *const *parts) {
    rl_accel *self = rl_accel_of(stream);
    int64_t params[MOST_PARAMS] = {0};
    rl_accel_arg call[MOST_ARGS];
    rl_accel_kernel *kernel = NULL;
    rl_accel_spec spec = specify(how, kind, partial);
    unsigned n = put_buffers(stream, args, &how->what, kind, partial, parts, call);
    size_t bytes = fill_params(args, how, params);
    spec.word[WORD_BY_MEMORY] = bytes + 8 * n > self->traits.param_bytes;
    rl_status status = how->is_little ? rl_accel_find_ready(self, "reduce", &spec, &kernel) : RL_OK;
    if (!status && !kernel && how->is_little && rl_interpreter_takes_reduce(args->prologue, args->epilogue))
        return rl_interpreter_reduce(stream, args, &how->kept, &how->reduced,
                                     how->what.has_number ? how->what.number : -1);
    if (!status && !kernel)
        status = rl_accel_find(self, "reduce", &spec, &kernel);
    if (status)
        return status;
    return rl_accel_send(stream, "reduce", kernel, call, n, params, bytes, spec.word[WORD_BY_MEMORY],
                         groups_of(self, how, kind));
}

rl_status rl_accel_reduce(rl_backend_stream *stream, const rl_reduce_args *args) {
    rl_accel *self = rl_accel_of(stream);
    rl_backend_buffer *parts[2 * RL_MAX_COMBINED] = {0};
    plan laid = {.what = describe(args->prologue, args->epilogue, args->combiner)};
    rl_status status = RL_OK;
    lay_out(args, &laid);
    if (laid.items == 0)
        return RL_OK;
    choose(self, &laid);
    laid.kept_dims = round_dims(laid.kept.dims, laid.is_little);
    laid.reduced_dims = round_dims(laid.reduced.dims, laid.is_little);
    if (laid.parts == 1)
        return run(stream, args, &laid, laid.kind, 0, parts);
    for (unsigned k = 0; k < (unsigned)laid.what.combined && !status; k++) {
        uint64_t bytes = (uint64_t)(laid.items * laid.parts) * 8;
        status = self->driver->scratch(stream, 2 * k, bytes, &parts[2 * k]);
        if (!status && is_arg(laid.what.combiner[k]))
            status = self->driver->scratch(stream, 2 * k + 1, bytes, &parts[2 * k + 1]);
    }
    if (!status)
        status = run(stream, args, &laid, laid.kind, 1, parts);
    if (!status)
        status = run(stream, args, &laid, KIND_FINISH, 0, parts);
    return status;
}
