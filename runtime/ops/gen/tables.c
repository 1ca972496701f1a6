/* SPDX-License-Identifier: Apache-2.0 */
/* Writes the typed calls (ops_wrappers.c) and the tables (schema_table.c). */
#include <string.h>

#include "gen.h"

static const char head[] = "/* SPDX-License-Identifier: Apache-2.0 */\n"
                           "/* Written by runtime/ops/gen: do not edit. */\n"
                           "/* clang-format off */\n";

/* How a C argument or field becomes an rl_value. Fields go through rl_field_..., which know the default. */
static const char *converter(rl_param_type type) {
    switch (type) {
    case RL_PARAM_TENSOR:
        return "tensor";
    case RL_PARAM_TENSOR_OR_SCALAR:
        return "value";
    case RL_PARAM_SCALAR:
        return "value";
    case RL_PARAM_TENSORS:
        return "tensors";
    case RL_PARAM_INT:
        return "int";
    case RL_PARAM_FLOAT:
        return "float";
    case RL_PARAM_BOOL:
        return "bool";
    case RL_PARAM_INTS:
        return "ints";
    case RL_PARAM_DTYPE:
        return "dtype";
    case RL_PARAM_DEVICE:
        return "device";
    case RL_PARAM_STRING:
        return "string";
    case RL_PARAM_GENERATOR:
        return "generator";
    }
    return "";
}

static const char *field_converter(const rl_param *param) {
    if (param->type == RL_PARAM_SCALAR)
        return "scalar";
    if (param->type == RL_PARAM_BOOL && !(param->default_value.kind == RL_VALUE_BOOL && !param->default_value.as.b))
        return "truth"; /* an int64_t field */
    return converter(param->type);
}

static void write_failure(FILE *out, const rl_schema *schema) {
    if (schema->returns_list || schema->n_results > 1) {
        fputs("return (", out);
        gen_write_result_type(out, schema);
        fputs("){0};\n", out);
    } else {
        fputs("return NULL;\n", out);
    }
}

static void write_success(FILE *out, const rl_schema *schema) {
    fputs("    return ", out);
    if (schema->returns_list) {
        fputs("call.list", out);
    } else if (schema->n_results > 1) {
        fputc('(', out);
        gen_write_result_type(out, schema);
        fputs("){", out);
        for (int i = 0; i < schema->n_results; i++)
            fprintf(out, "%scall.results[%d]", i ? ", " : "", i);
        fputc('}', out);
    } else {
        fputs("call.results[0]", out);
    }
    fputs(";\n", out);
}

static void write_wrapper(FILE *out, const gen_op *op, const char *name, bool inplace) {
    const rl_schema *schema = &op->schema;
    bool options = gen_has_options(schema);
    fputc('\n', out);
    gen_write_result_type(out, schema);
    fprintf(out, "rl_op_%s(", name);
    gen_write_parameters(out, schema);
    fputs(") {\n", out);
    if (options) {
        fprintf(out, "    static const rl_%s_options none;\n", op->name);
        fprintf(out, "    const rl_param *params = rl_schema_table[RL_OPCODE_%s].params;\n", op->name);
        fprintf(out,
                "    if (RL_UNLIKELY_(options && options->struct_size < sizeof options->struct_size) &&\n"
                "        rl_options_unset(\"%s\", options->struct_size))\n        ",
                name);
        write_failure(out, schema);
    }
    fprintf(out, "    rl_call call;\n    call.inplace = %s;\n", inplace ? "true" : "false");
    for (int i = 0; i < schema->n_params; i++) {
        const rl_param *param = &schema->params[i];
        if (gen_is_positional(schema, i))
            fprintf(out, "    call.args[%d] = rl_wrap_%s(%s);\n", i, converter(param->type), param->name);
        else
            fprintf(out, "    call.args[%d] = rl_field_%s(RL_FIELD_(%s), &params[%d].default_value);\n", i,
                    field_converter(param), param->name, i);
    }
    fprintf(out, "    if (RL_UNLIKELY_(rl_call_run(&call, RL_OPCODE_%s) != RL_OK))\n        ", op->name);
    write_failure(out, schema);
    write_success(out, schema);
    fputs("}\n", out);
}

void gen_write_wrappers(FILE *out, const gen_ops *ops) {
    fprintf(out, "%s#include \"ops/gen/wrap.h\"\n#include \"rushlight/ops.h\"\n", head);
    for (int i = 0; i < ops->count; i++) {
        const gen_op *op = &ops->data[i];
        write_wrapper(out, op, op->name, op->flags & RL_OP_INPLACE_ONLY);
        if (op->flags & RL_OP_INPLACE)
            write_wrapper(out, op, op->schema.inplace_name, true);
    }
}

static void write_value(FILE *out, const rl_value *v, const char *op, const char *param) {
    switch (v->kind) {
    case RL_VALUE_INT:
        fprintf(out, "{RL_VALUE_INT, {.i = INT64_C(%lld)}}", (long long)v->as.i);
        break;
    case RL_VALUE_FLOAT:
        fprintf(out, "{RL_VALUE_FLOAT, {.f = %a}}", v->as.f);
        break;
    case RL_VALUE_BOOL:
        fprintf(out, "{RL_VALUE_BOOL, {.b = %d}}", v->as.b);
        break;
    case RL_VALUE_STRING:
        fprintf(out, "{RL_VALUE_STRING, {.string = \"%s\"}}", v->as.string);
        break;
    case RL_VALUE_INTS:
        fprintf(out, "{RL_VALUE_INTS, {.ints = {default_%s_%s, %lld}}}", op, param, (long long)v->as.ints.count);
        break;
    default:
        fputs("{RL_VALUE_NONE, {.i = 0}}", out);
        break;
    }
}

static const char *const type_names[] = {
    [RL_PARAM_TENSOR] = "TENSOR",   [RL_PARAM_TENSOR_OR_SCALAR] = "TENSOR_OR_SCALAR",
    [RL_PARAM_TENSORS] = "TENSORS", [RL_PARAM_INT] = "INT",
    [RL_PARAM_FLOAT] = "FLOAT",     [RL_PARAM_BOOL] = "BOOL",
    [RL_PARAM_SCALAR] = "SCALAR",   [RL_PARAM_INTS] = "INTS",
    [RL_PARAM_DTYPE] = "DTYPE",     [RL_PARAM_DEVICE] = "DEVICE",
    [RL_PARAM_STRING] = "STRING",   [RL_PARAM_GENERATOR] = "GENERATOR"};

static void write_schema(FILE *out, const gen_op *op) {
    const rl_schema *schema = &op->schema;
    fprintf(out, "    {.name = \"%s\", .n_params = %d, .n_results = %d, .returns_list = %s,\n", op->name,
            schema->n_params, schema->n_results, schema->returns_list ? "true" : "false");
    if (schema->inplace_name != NULL)
        fprintf(out, "     .inplace_name = \"%s\",\n", schema->inplace_name);
    fprintf(out,
            "     .tensors = 0x%x, .tensors_or_scalars = 0x%x, .lists = 0x%x, .required = 0x%x,\n"
            "     .operands = 0x%x, .numbers = 0x%x, .ints = 0x%x, .generators = 0x%x, .checked = 0x%x,\n",
            schema->tensors, schema->tensors_or_scalars, schema->lists, schema->required, schema->operands,
            schema->numbers, schema->ints, schema->generators, schema->checked);
    if (schema->result_names[0] != NULL) {
        fputs("     .result_names = {", out);
        for (int i = 0; i < schema->n_results; i++)
            fprintf(out, "%s\"%s\"", i ? ", " : "", schema->result_names[i]);
        fputs("},\n", out);
    }
    if (schema->n_params > 0)
        fputs("     .params = {\n", out);
    for (int i = 0; i < schema->n_params; i++) {
        const rl_param *param = &schema->params[i];
        fprintf(out,
                "         {.name = \"%s\", .type = RL_PARAM_%s, .optional = %d, .keyword = %d, .has_default = %d, "
                ".length = %d,\n          .default_value = ",
                param->name, type_names[param->type], param->optional, param->keyword, param->has_default,
                param->length);
        write_value(out, &param->default_value, op->name, param->name);
        fputs("},\n", out);
    }
    fputs(schema->n_params > 0 ? "     }},\n" : "    },\n", out);
}

/* The lists that stand as defaults of int[]. */
static void write_default_lists(FILE *out, const gen_op *op) {
    for (int i = 0; i < op->schema.n_params; i++) {
        const rl_param *param = &op->schema.params[i];
        if (param->default_value.kind != RL_VALUE_INTS)
            continue;
        fprintf(out, "static const int64_t default_%s_%s[] = {", op->name, param->name);
        for (int64_t k = 0; k < param->default_value.as.ints.count; k++)
            fprintf(out, "%s%lld", k ? ", " : "", (long long)param->default_value.as.ints.data[k]);
        fputs(param->default_value.as.ints.count ? "};\n" : "0};\n", out);
    }
}

void gen_write_table(FILE *out, const gen_ops *ops) {
    fprintf(out, "%s#include \"ops/op.h\"\n\n", head);
    fputs("const rl_op_def *const rl_op_table[RL_OPCODE_COUNT] = {\n", out);
    for (int i = 0; i < ops->count; i++)
        fprintf(out, "    &rl_op_def_%s,\n", ops->data[i].name);
    fputs("};\n\n", out);
    for (int i = 0; i < ops->count; i++)
        write_default_lists(out, &ops->data[i]);
    fputs("\nconst rl_schema rl_schema_table[RL_OPCODE_COUNT] = {\n", out);
    for (int i = 0; i < ops->count; i++)
        write_schema(out, &ops->data[i]);
    fputs("};\n", out);
}
