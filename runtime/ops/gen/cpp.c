/* SPDX-License-Identifier: Apache-2.0 */
/* Writes rushlight/ops.hpp: every op as a function of C++, over what rushlight.hpp defines. */
#include "gen.h"

static const char *parameter_type(const rl_param *param) {
    switch (param->type) {
    case RL_PARAM_TENSOR_OR_SCALAR:
    case RL_PARAM_SCALAR:
        return "const value &";
    case RL_PARAM_TENSORS:
        return "const tensors &";
    case RL_PARAM_INTS:
        return "const dims &";
    default:
        return gen_parameter_type(param);
    }
}

static void write_function(FILE *out, const rl_schema *schema, const char *name) {
    const char *comma = "";
    fputs("inline ", out);
    gen_write_result_type(out, schema);
    fprintf(out, "%s(", name);
    for (int i = 0; i < schema->n_params && gen_is_positional(schema, i); i++, comma = ", ")
        fprintf(out, "%s%s%s", comma, parameter_type(&schema->params[i]), schema->params[i].name);
    if (gen_has_options(schema))
        fprintf(out, "%srl_%s_options options = {}", comma, schema->name);
    fprintf(out, ") {\n%s    return rl_op_%s(",
            gen_has_options(schema) ? "    options.struct_size = sizeof options;\n" : "", name);
    comma = "";
    for (int i = 0; i < schema->n_params && gen_is_positional(schema, i); i++, comma = ", ")
        fprintf(out, "%s%s", comma, schema->params[i].name);
    fprintf(out, "%s);\n}\n", !gen_has_options(schema) ? "" : *comma ? ", &options" : "&options");
}

void gen_write_cpp(FILE *out, const gen_ops *ops) {
    fputs("/* SPDX-License-Identifier: Apache-2.0 */\n"
          "/* Every op in C++. Written by runtime/ops/gen: do not edit. ops.h says what each does. */\n"
          "#ifndef RUSHLIGHT_RUSHLIGHT_HPP\n"
          "#include \"rushlight/rushlight.hpp\" /* which includes this file */\n"
          "#elif !defined(RUSHLIGHT_OPS_HPP)\n"
          "#define RUSHLIGHT_OPS_HPP\n"
          "/* clang-format off */\n"
          "namespace rushlight {\n",
          out);
    for (int i = 0; i < ops->count; i++) {
        const rl_schema *schema = &ops->data[i].schema;
        write_function(out, schema, schema->name);
        if (ops->data[i].flags & RL_OP_INPLACE)
            write_function(out, schema, schema->inplace_name);
    }
    fputs("} // namespace rushlight\n#endif\n", out);
}
