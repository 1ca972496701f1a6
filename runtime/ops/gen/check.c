/* SPDX-License-Identifier: Apache-2.0 */
/* What a declaration must satisfy beyond the grammar. Runs when the schema has been parsed. */
#include <string.h>

#include "gen.h"

/* x[i] of a pointwise program: eight of them fit into the key of its cache. */
#define MAX_OPERANDS 8

static int count_bits(uint32_t mask) {
    int n = 0;
    for (; mask != 0; mask &= mask - 1)
        n++;
    return n;
}

static bool has_null_form(rl_param_type type) {
    return type != RL_PARAM_INT && type != RL_PARAM_FLOAT && type != RL_PARAM_BOOL;
}

static void check_params(const gen_op *op) {
    const rl_schema *schema = &op->schema;
    bool seen_default = false;
    for (int i = 0; i < schema->n_params; i++) {
        const rl_param *param = &schema->params[i];
        for (int j = 0; j < i; j++)
            if (strcmp(schema->params[j].name, param->name) == 0)
                gen_error(op->file, op->schema_line, "schema of %s: %s stands there twice", op->name, param->name);
        if (seen_default && !param->has_default)
            gen_error(op->file, op->schema_line, "schema of %s: %s needs a default, as those before it have one",
                      op->name, param->name);
        if (!param->has_default && param->optional && !has_null_form(param->type))
            gen_error(op->file, op->schema_line, "schema of %s: %s may be None: give it the default None", op->name,
                      param->name);
        seen_default |= param->has_default;
    }
}

static void check_inplace(const gen_op *op) {
    size_t length = strlen(op->name);
    bool underscore = op->name[length - 1] == '_';
    bool only = op->flags & RL_OP_INPLACE_ONLY;
    if (only && (op->flags & RL_OP_INPLACE))
        gen_error(op->file, op->line, "%s is RL_OP_INPLACE and RL_OP_INPLACE_ONLY: take one", op->name);
    if (underscore != only)
        gen_error(op->file, op->line, "%s: a name ends in _ just where the op is RL_OP_INPLACE_ONLY", op->name);
    if (!(op->flags & (RL_OP_INPLACE | RL_OP_INPLACE_ONLY)))
        return;
    const rl_schema *schema = &op->schema;
    const rl_param *self = &schema->params[0];
    if (schema->n_params == 0 || self->type != RL_PARAM_TENSOR || self->optional || schema->n_results != 1)
        gen_error(op->file, op->schema_line, "schema of %s: an in-place op takes a Tensor first and gives one Tensor",
                  op->name);
    if (op->flags & RL_OP_VIEW)
        gen_error(op->file, op->line, "%s: a view cannot be in place", op->name);
}

static void check_kind(const gen_op *op) {
    const rl_schema *schema = &op->schema;
    uint32_t kinds = RL_OP_POINTWISE | RL_OP_ROWS | RL_OP_VIEW | RL_OP_COMPOSITE;
    if (count_bits(op->flags & kinds) != 1)
        gen_error(op->file, op->line,
                  "%s: .flags needs one of RL_OP_POINTWISE, RL_OP_ROWS, RL_OP_VIEW and RL_OP_COMPOSITE", op->name);
    if (schema->returns_list && !(op->flags & RL_OP_COMPOSITE))
        gen_error(op->file, op->line, "%s: only an RL_OP_COMPOSITE returns Tensor[]", op->name);
    if ((op->flags & RL_OP_VIEW) && (schema->n_params == 0 || schema->params[0].type != RL_PARAM_TENSOR))
        gen_error(op->file, op->schema_line, "schema of %s: a view takes a Tensor first", op->name);
    if (!(op->flags & RL_OP_POINTWISE))
        return;
    if (count_bits(schema->operands) > MAX_OPERANDS)
        gen_error(op->file, op->schema_line, "schema of %s: a pointwise op has at most %d operands", op->name,
                  MAX_OPERANDS);
    if (count_bits(schema->generators) > 1)
        gen_error(op->file, op->schema_line, "schema of %s: a pointwise op has at most one Generator", op->name);
}

void gen_check(const gen_op *op) {
    if (strcmp(op->schema.name, op->name) != 0)
        gen_error(op->file, op->schema_line, "the schema of %s names another op: %s", op->name, op->schema.name);
    if (op->doc == NULL || *op->doc == '\0')
        gen_error(op->file, op->line, "%s has no .doc: one line of mathematics", op->name);
    if (!op->has_samples)
        gen_error(op->file, op->line, "%s has no .samples", op->name);
    check_kind(op);
    check_inplace(op);
    check_params(op);
}
