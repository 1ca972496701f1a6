/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The op generator: reads the declarations in runtime/ops, checks them and writes ops.h, the typed calls and the table
 * of schemas. A build tool: memory is kept until the end, errors are printed as "file:line: error: ..." and counted.
 */
#ifndef RUSHLIGHT_OPS_GEN_H
#define RUSHLIGHT_OPS_GEN_H

#include <stdio.h>

#include "ops/op.h"

typedef struct gen_op {
    const char *name, *file;
    int line;        /* of the declaration */
    int schema_line; /* of its schema */
    const char *schema_text, *doc, *note;
    uint32_t flags;
    bool has_flags, has_samples;
    rl_schema schema; /* parsed; strings and lists live until the end */
} gen_op;

typedef struct gen_ops { /* in the order of index.def once checked */
    gen_op *data;
    int count, room;
} gen_ops;

/* main.c */
void gen_error(const char *file, int line, const char *format, ...) RL_PRINTF_(3, 4);
extern int gen_error_count;
void *gen_keep(size_t bytes); /* zeroed */
char *gen_keep_text(const char *text, size_t length);

/* Adds every `const rl_op_def rl_op_def_NAME = {...}` of a C source. */
void gen_scan(const char *file, const char *source, gen_ops *ops);
/* Parses op->schema_text into op->schema; false after errors. */
bool gen_parse_schema(gen_op *op);
/* What the schema, the flags and the rest must satisfy together. */
void gen_check(const gen_op *op);

/* A parameter of the C function; else a field of the options. */
bool gen_is_positional(const rl_schema *schema, int param);
bool gen_has_options(const rl_schema *schema);
const char *gen_parameter_type(const rl_param *param); /* "rl_tensor *", "int64_t " */
/* "rl_tensor *self, rl_value other, const rl_add_options *options" */
void gen_write_parameters(FILE *out, const rl_schema *schema);
/* "rl_tensor *", "rl_tensors " or "rl_max_dim_result " */
void gen_write_result_type(FILE *out, const rl_schema *schema);

void gen_write_header(FILE *out, const gen_ops *ops);
void gen_write_cpp(FILE *out, const gen_ops *ops);
void gen_write_wrappers(FILE *out, const gen_ops *ops);
void gen_write_table(FILE *out, const gen_ops *ops);
void gen_write_typed(FILE *out, const gen_ops *ops); /* for the tests */

#endif
