/* SPDX-License-Identifier: Apache-2.0 */
/* Writes rushlight/ops.h. */
#include <string.h>

#include "gen.h"

#define WIDTH 116

bool gen_is_positional(const rl_schema *schema, int param) {
    return !schema->params[param].has_default; /* check.c: those without default come first */
}

bool gen_has_options(const rl_schema *schema) {
    return schema->n_params > 0 && schema->params[schema->n_params - 1].has_default;
}

static int positional_count(const rl_schema *schema) {
    int n = 0;
    while (n < schema->n_params && gen_is_positional(schema, n))
        n++;
    return n;
}

const char *gen_parameter_type(const rl_param *param) {
    switch (param->type) {
    case RL_PARAM_TENSOR:
        return "rl_tensor *";
    case RL_PARAM_TENSOR_OR_SCALAR:
    case RL_PARAM_SCALAR:
        return "rl_value ";
    case RL_PARAM_TENSORS:
        return "rl_tensors ";
    case RL_PARAM_INT:
        return "int64_t ";
    case RL_PARAM_FLOAT:
        return "double ";
    case RL_PARAM_BOOL:
        return "bool ";
    case RL_PARAM_INTS:
        return "rl_ints ";
    case RL_PARAM_DTYPE:
        return "rl_dtype ";
    case RL_PARAM_DEVICE:
        return "rl_device *";
    case RL_PARAM_STRING:
        return "const char *";
    case RL_PARAM_GENERATOR:
        return "rl_generator *";
    }
    return "";
}

/* As gen_parameter_type, but where zero has to mean the default. */
static const char *field_type(const rl_param *param) {
    if (param->type == RL_PARAM_SCALAR)
        return "double ";
    bool plain_false = param->default_value.kind == RL_VALUE_BOOL && !param->default_value.as.b;
    return param->type == RL_PARAM_BOOL && !plain_false ? "int64_t " : gen_parameter_type(param);
}

static bool takes_zero(const rl_param *param) {
    return strcmp(field_type(param), "int64_t ") == 0 || strcmp(field_type(param), "double ") == 0;
}

static void write_default(FILE *out, const rl_param *param) {
    const rl_value *v = &param->default_value;
    switch (v->kind) {
    case RL_VALUE_INT:
        fprintf(out, "%lld", (long long)v->as.i);
        break;
    case RL_VALUE_FLOAT:
        fprintf(out, "%.17g", v->as.f);
        break;
    case RL_VALUE_BOOL:
        fputs(v->as.b ? "true" : "false", out);
        break;
    case RL_VALUE_STRING:
        fprintf(out, "\"%s\"", v->as.string);
        break;
    case RL_VALUE_INTS:
        fputc('[', out);
        for (int64_t i = 0; i < v->as.ints.count; i++)
            fprintf(out, "%s%lld", i ? ", " : "", (long long)v->as.ints.data[i]);
        fputc(']', out);
        break;
    default:
        fputs("None", out);
        break;
    }
}

/* Whether the default is a number or truth other than zero, or None, so that RL_ZERO says something of its own. */
static bool zero_differs(const rl_value *v) {
    return v->kind == RL_VALUE_NONE || (v->kind == RL_VALUE_INT && v->as.i != 0) ||
           (v->kind == RL_VALUE_FLOAT && v->as.f != 0.0) || (v->kind == RL_VALUE_BOOL && v->as.b);
}

static void write_field(FILE *out, const rl_param *param) {
    fprintf(out, "    %s%s; /* default ", field_type(param), param->name);
    write_default(out, param);
    if (takes_zero(param) && zero_differs(&param->default_value))
        fprintf(out, "; RL_ZERO: %s", param->type == RL_PARAM_BOOL ? "false" : "0");
    if (param->type == RL_PARAM_BOOL && takes_zero(param) && param->default_value.kind == RL_VALUE_NONE)
        fputs("; 1: true", out);
    if (param->type == RL_PARAM_SCALAR)
        fputs("; a whole number counts as an integer", out);
    if (param->type == RL_PARAM_TENSOR_OR_SCALAR)
        fputs("; a tensor or number x as RL_VALUE(x)", out);
    fputs(" */\n", out);
}

/* Words of `text` in a comment, wrapped; "*" "/" cannot end it. */
static void write_prose(FILE *out, const char *text) {
    size_t column = 0;
    while (*text != '\0') {
        size_t length = strcspn(text, " \n");
        if (column == 0 || column + 1 + length > WIDTH) {
            fputs(column ? "\n *" : " *", out);
            column = 2;
        }
        fputc(' ', out);
        for (size_t i = 0; i < length; i++) {
            fputc(text[i], out);
            if (text[i] == '*' && text[i + 1] == '/')
                fputc(' ', out);
        }
        column += 1 + length;
        text += length;
        while (*text == ' ')
            text++;
        for (; *text == '\n'; text++)
            column = WIDTH;
    }
    fputc('\n', out);
}

void gen_write_parameters(FILE *out, const rl_schema *schema) {
    const char *comma = "";
    for (int i = 0; i < positional_count(schema); i++, comma = ", ")
        fprintf(out, "%s%s%s", comma, gen_parameter_type(&schema->params[i]), schema->params[i].name);
    if (gen_has_options(schema))
        fprintf(out, "%sconst rl_%s_options *options", comma, schema->name);
    else if (schema->n_params == 0)
        fputs("void", out);
}

void gen_write_result_type(FILE *out, const rl_schema *schema) {
    if (schema->returns_list)
        fputs("rl_tensors ", out);
    else if (schema->n_results > 1)
        fprintf(out, "rl_%s_result ", schema->name);
    else
        fputs("rl_tensor *", out);
}

static void write_prototype(FILE *out, const rl_schema *schema, const char *name) {
    fputs("RL_API ", out);
    gen_write_result_type(out, schema);
    fprintf(out, "rl_op_%s(", name);
    gen_write_parameters(out, schema);
    fputs(");\n", out);
}

static bool is_value(const rl_param *param) {
    return param->type == RL_PARAM_TENSOR_OR_SCALAR || param->type == RL_PARAM_SCALAR;
}

/* rl_NAME: the last positional argument and the options share the variable part, so that neither pedantic compiler
 * sees it empty. A list at the end is variable too: (rl_ints){shape, ndim} has a comma. */
static void write_macro(FILE *out, const rl_schema *schema, const char *name) {
    int n = positional_count(schema);
    bool options = gen_has_options(schema);
    bool list = !options && n > 0 && schema->params[n - 1].type == RL_PARAM_INTS;
    fprintf(out, "#define rl_%s(", name);
    for (int i = 0; i < n - (options || list); i++)
        fprintf(out, "%s%s", i ? ", " : "", schema->params[i].name);
    if (options || list)
        fputs(n > 1 ? ", ..." : "...", out);
    fprintf(out, ") \\\n    rl_op_%s(", name);
    const char *comma = "";
    for (int i = 0; i < n; i++, comma = ", ") {
        const rl_param *param = &schema->params[i];
        bool last = i == n - 1;
        fprintf(out, is_value(param) ? "%sRL_VALUE(%s)" : "%s%s", comma,
                options && last ? "RL_TAKE1_(__VA_ARGS__, )"
                : list && last  ? "__VA_ARGS__"
                                : param->name);
    }
    if (options)
        fprintf(out, "%s \\\n        &(rl_%s_options){.struct_size = sizeof(rl_%s_options), %s}", n ? "," : "",
                schema->name, schema->name, n ? "RL_DROP1_(__VA_ARGS__, )" : "__VA_ARGS__");
    fputs(")\n", out);
}

static void write_op(FILE *out, const gen_op *op) {
    const rl_schema *schema = &op->schema;
    fputs("\n/*\n", out);
    write_prose(out, op->doc);
    write_prose(out, op->schema_text);
    if (op->note != NULL && *op->note != '\0')
        write_prose(out, op->note);
    fputs(" */\n", out);
    if (gen_has_options(schema)) {
        fprintf(out, "typedef struct rl_%s_options {\n    size_t struct_size;\n", op->name);
        for (int i = positional_count(schema); i < schema->n_params; i++)
            write_field(out, &schema->params[i]);
        fprintf(out, "} rl_%s_options;\n", op->name);
    }
    if (schema->n_results > 1) {
        fprintf(out, "typedef struct rl_%s_result { /* all NULL on error */\n    rl_tensor *", op->name);
        for (int i = 0; i < schema->n_results; i++)
            fprintf(out, "%s%s", i ? ", *" : "", schema->result_names[i]);
        fprintf(out, ";\n} rl_%s_result;\n", op->name);
    }
    bool both = op->flags & RL_OP_INPLACE;
    write_prototype(out, schema, op->name);
    if (both)
        write_prototype(out, schema, schema->inplace_name);
    fputs("#ifndef __cplusplus\n", out);
    write_macro(out, schema, op->name);
    if (both)
        write_macro(out, schema, schema->inplace_name);
    fputs("#endif\n", out);
}

void gen_write_header(FILE *out, const gen_ops *ops) {
    fputs(
        "/* SPDX-License-Identifier: Apache-2.0 */\n"
        "/*\n"
        " * Every op. Written by runtime/ops/gen from the declarations in runtime/ops: do not edit.\n"
        " *\n"
        " * rl_NAME(...) takes the arguments that have no default in the schema, in its order; the others follow as\n"
        " * fields of an options struct: rl_sum(x), rl_sum(x, .dim = RL_DIMS(1), .keepdim = true). A field that is\n"
        " * zero or left out means the default; RL_ZERO is a real zero or false. A Tensor|Scalar takes a tensor, a C\n"
        " * number or an rl_value. rl_op_NAME(...) is the function behind the macro; options NULL: all defaults.\n"
        " * Results belong to the innermost scope. On error they are NULL (a list: empty). NAME_ works in place and\n"
        " * returns its first argument.\n"
        " */\n"
        "#ifndef RUSHLIGHT_OPS_H\n"
        "#define RUSHLIGHT_OPS_H\n"
        "\n"
        "#include \"rushlight/tensor.h\"\n"
        "\n"
        "/* clang-format off */\n"
        "#ifdef __cplusplus\n"
        "extern \"C\" {\n"
        "#endif\n",
        out);
    for (int i = 0; i < ops->count; i++)
        write_op(out, &ops->data[i]);
    fputs("\n#ifdef __cplusplus\n}\n#endif\n#endif\n", out);
}
