/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes ops_typed.c, for the tests: the typed calls by number, so that what a C program says can be compared with what
 * rl_op_call makes of the same arguments. tests/ops/typed.h has what it is made of.
 */
#include "gen.h"

static const char *type_name(const rl_param *param) {
    static const char *const names[] = {[RL_PARAM_TENSOR] = "tensor", [RL_PARAM_TENSOR_OR_SCALAR] = "value",
                                        [RL_PARAM_SCALAR] = "value",  [RL_PARAM_TENSORS] = "tensors",
                                        [RL_PARAM_INT] = "int",       [RL_PARAM_FLOAT] = "float",
                                        [RL_PARAM_BOOL] = "bool",     [RL_PARAM_INTS] = "ints",
                                        [RL_PARAM_DTYPE] = "dtype",   [RL_PARAM_DEVICE] = "device",
                                        [RL_PARAM_STRING] = "string", [RL_PARAM_GENERATOR] = "generator"};
    return names[param->type];
}

/* Where zero means the default, a zero has to be said otherwise. */
static const char *field_name(const rl_param *param) {
    bool plain_false = param->default_value.kind == RL_VALUE_BOOL && !param->default_value.as.b;
    switch (param->type) {
    case RL_PARAM_INT:
        return "int_field";
    case RL_PARAM_FLOAT:
    case RL_PARAM_SCALAR:
        return "float_field";
    case RL_PARAM_BOOL:
        return plain_false ? "bool" : "truth_field";
    default:
        return type_name(param);
    }
}

static void write_call(FILE *out, const rl_schema *schema, const char *name) {
    fprintf(out, "rl_op_%s(", name);
    int i = 0;
    for (; i < schema->n_params && gen_is_positional(schema, i); i++)
        fprintf(out, "%styped_%s(&v[%d])", i ? ", " : "", type_name(&schema->params[i]), i);
    if (gen_has_options(schema))
        fprintf(out, "%s&options", i ? ", " : "");
    fputc(')', out);
}

static void write_results(FILE *out, const rl_schema *schema) {
    if (schema->returns_list) {
        fputs("        return typed_list(made, results, room);\n", out);
        return;
    }
    for (int i = 0; i < schema->n_results; i++)
        if (schema->n_results > 1)
            fprintf(out, "        results[%d] = made.%s;\n", i, schema->result_names[i]);
        else
            fputs("        results[0] = made;\n", out);
    fprintf(out, "        return %d;\n", schema->n_results);
}

static void write_case(FILE *out, const gen_op *op) {
    const rl_schema *schema = &op->schema;
    fprintf(out, "    case RL_OPCODE_%s: {\n", op->name);
    if (gen_has_options(schema))
        fprintf(out, "        rl_%s_options options = {.struct_size = sizeof options};\n", op->name);
    for (int i = 0; i < schema->n_params; i++)
        if (!gen_is_positional(schema, i))
            fprintf(out, "        options.%s = typed_%s(&v[%d]);\n", schema->params[i].name,
                    field_name(&schema->params[i]), i);
    fputs("        ", out);
    gen_write_result_type(out, schema);
    fputs("made = ", out);
    if (op->flags & RL_OP_INPLACE) {
        fputs("inplace ? ", out);
        write_call(out, schema, schema->inplace_name);
        fputs("\n                         : ", out);
    }
    write_call(out, schema, op->name);
    fputs(";\n", out);
    write_results(out, schema);
    fputs("    }\n", out);
}

void gen_write_typed(FILE *out, const gen_ops *ops) {
    fputs("/* SPDX-License-Identifier: Apache-2.0 */\n"
          "/* Written by runtime/ops/gen: do not edit. */\n"
          "/* clang-format off */\n"
          "#include \"typed.h\"\n"
          "\n"
          "int64_t typed_call(int opcode, bool inplace, const rl_value *v, rl_tensor **results, int64_t room) {\n"
          "    (void)inplace, (void)v, (void)room;\n"
          "    switch (opcode) {\n",
          out);
    for (int i = 0; i < ops->count; i++)
        write_case(out, &ops->data[i]);
    fputs("    default:\n        return 0;\n    }\n}\n", out);
}
