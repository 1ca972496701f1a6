/* SPDX-License-Identifier: Apache-2.0 */
/* PyTorch's schema grammar, as far as we take it:
 *     name(param, *, param ...) -> result
 *     param   type[(alias)] name[=default]
 *     type    Tensor | Tensor|Scalar | int | SymInt | float | bool | Scalar | ScalarType | Device | str | Generator,
 *             then [] or [N] (Tensor and int), then ? where None is allowed
 *     result  Tensor | Tensor[] | (Tensor name, Tensor name ...)
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gen.h"

typedef struct parser {
    const gen_op *op;
    const char *at;
    bool failed;
} parser;

static void fail(parser *p, const char *expected) {
    if (!p->failed)
        gen_error(p->op->file, p->op->schema_line, "schema of %s: at \"%.32s\": expected %s", p->op->name, p->at,
                  expected);
    p->failed = true;
}

static void skip_space(parser *p) {
    while (*p->at == ' ')
        p->at++;
}

static bool accept(parser *p, const char *text) {
    skip_space(p);
    size_t length = strlen(text);
    if (strncmp(p->at, text, length) != 0)
        return false;
    p->at += length;
    return true;
}

static void expect(parser *p, const char *text, const char *meaning) {
    if (!accept(p, text))
        fail(p, meaning);
}

static size_t word_length(parser *p) {
    skip_space(p);
    size_t n = 0;
    while (isalnum((unsigned char)p->at[n]) || p->at[n] == '_')
        n++;
    return n;
}

static bool accept_word(parser *p, const char *word) {
    size_t n = word_length(p);
    if (n != strlen(word) || strncmp(p->at, word, n) != 0)
        return false;
    p->at += n;
    return true;
}

static const char *read_name(parser *p) {
    size_t n = word_length(p);
    if (n == 0 || isdigit((unsigned char)*p->at)) {
        fail(p, "a name");
        return "";
    }
    const char *name = gen_keep_text(p->at, n);
    p->at += n;
    return name;
}

/* "(a)", "(a!)": accepted and without a meaning of its own, the flags of the op say it. */
static void skip_alias(parser *p) {
    if (!accept(p, "("))
        return;
    read_name(p);
    accept(p, "!");
    expect(p, ")", "')' after an alias");
}

static rl_param_type read_base_type(parser *p) {
    static const struct {
        const char *word;
        rl_param_type type;
    } types[] = {{"Tensor", RL_PARAM_TENSOR},      {"int", RL_PARAM_INT},       {"SymInt", RL_PARAM_INT},
                 {"float", RL_PARAM_FLOAT},        {"bool", RL_PARAM_BOOL},     {"Scalar", RL_PARAM_SCALAR},
                 {"ScalarType", RL_PARAM_DTYPE},   {"Device", RL_PARAM_DEVICE}, {"str", RL_PARAM_STRING},
                 {"Generator", RL_PARAM_GENERATOR}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (accept_word(p, types[i].word))
            return types[i].type;
    fail(p, "a type: Tensor, Tensor|Scalar, int, float, bool, Scalar, ScalarType, Device, str or Generator");
    return RL_PARAM_TENSOR;
}

static void read_type(parser *p, rl_param *param) {
    param->type = read_base_type(p);
    if (param->type == RL_PARAM_TENSOR) {
        skip_alias(p);
        if (accept(p, "|")) {
            if (!accept_word(p, "Scalar"))
                fail(p, "Scalar: the one union is Tensor|Scalar");
            param->type = RL_PARAM_TENSOR_OR_SCALAR;
        }
    }
    if (accept(p, "[")) {
        if (param->type != RL_PARAM_TENSOR && param->type != RL_PARAM_INT)
            fail(p, "no list: only Tensor[] and int[] are known");
        param->type = param->type == RL_PARAM_TENSOR ? RL_PARAM_TENSORS : RL_PARAM_INTS;
        skip_space(p);
        if (isdigit((unsigned char)*p->at))
            param->length = (uint8_t)strtol(p->at, (char **)&p->at, 10);
        expect(p, "]", "']'");
    }
    param->optional = accept(p, "?");
}

static rl_value read_number(parser *p) {
    skip_space(p);
    char *end_int, *end_float;
    errno = 0;
    long long i = strtoll(p->at, &end_int, 10);
    bool fits = errno == 0;
    double f = strtod(p->at, &end_float);
    if (end_float == p->at)
        fail(p, "a number");
    bool is_int = fits && end_int == end_float;
    p->at = end_float;
    return is_int ? rl_value_of_int(i) : rl_value_of_float(f);
}

static rl_value read_ints(parser *p, int length) {
    int64_t *data = gen_keep(RL_MAX_DIMS * sizeof *data);
    int64_t count = 0;
    if (accept(p, "[")) {
        while (!p->failed && !accept(p, "]")) {
            if (count == RL_MAX_DIMS || (count > 0 && !accept(p, ",")))
                fail(p, "',' or ']'");
            else
                data[count++] = read_number(p).as.i;
        }
    } else if (length > 0 && length <= RL_MAX_DIMS) {
        data[0] = read_number(p).as.i;
        for (count = 1; count < length; count++)
            data[count] = data[0];
    } else {
        fail(p, "a list of ints");
    }
    return (rl_value){.kind = RL_VALUE_INTS, .as.ints = {data, count}};
}

static rl_value read_string(parser *p) {
    skip_space(p);
    char quote = *p->at;
    const char *end = quote == '\'' || quote == '"' ? strchr(p->at + 1, quote) : NULL;
    if (end == NULL) {
        fail(p, "a string");
        return (rl_value){0};
    }
    rl_value value = {.kind = RL_VALUE_STRING, .as.string = gen_keep_text(p->at + 1, (size_t)(end - p->at - 1))};
    p->at = end + 1;
    return value;
}

static rl_value read_default(parser *p, const rl_param *param) {
    if (accept_word(p, "None")) {
        if (!param->optional)
            fail(p, "another default: only a type with '?' can be None");
        return (rl_value){.kind = RL_VALUE_NONE};
    }
    rl_value value = {0};
    switch (param->type) {
    case RL_PARAM_INT:
        value = read_number(p);
        if (value.kind != RL_VALUE_INT)
            fail(p, "an integer before this");
        return value;
    case RL_PARAM_FLOAT:
        value = read_number(p);
        return rl_value_of_float(value.kind == RL_VALUE_INT ? (double)value.as.i : value.as.f);
    case RL_PARAM_SCALAR:
    case RL_PARAM_TENSOR_OR_SCALAR:
        return read_number(p);
    case RL_PARAM_BOOL:
        if (accept_word(p, "True"))
            return rl_value_of_bool(true);
        if (!accept_word(p, "False"))
            fail(p, "True or False");
        return rl_value_of_bool(false);
    case RL_PARAM_INTS:
        return read_ints(p, param->length);
    case RL_PARAM_STRING:
        return read_string(p);
    default:
        fail(p, "None: this type has no other default");
        return value;
    }
}

static void read_params(parser *p, rl_schema *schema) {
    bool keyword = false;
    expect(p, "(", "'('");
    while (!p->failed && !accept(p, ")")) {
        if ((schema->n_params > 0 || keyword) && !accept(p, ",")) {
            fail(p, "',' or ')'");
            return;
        }
        if (accept(p, "*")) {
            keyword = true;
            continue;
        }
        if (schema->n_params == RL_MAX_ARGS) {
            fail(p, "no more parameters");
            return;
        }
        rl_param *param = &schema->params[schema->n_params++];
        param->keyword = keyword;
        read_type(p, param);
        param->name = read_name(p);
        param->has_default = accept(p, "=");
        if (param->has_default)
            param->default_value = read_default(p, param);
    }
}

static void read_result(parser *p, rl_schema *schema, bool named) {
    if (schema->n_results == RL_MAX_RESULTS) {
        fail(p, "no more results");
        return;
    }
    if (!accept_word(p, "Tensor"))
        fail(p, "Tensor");
    skip_alias(p);
    if (named)
        schema->result_names[schema->n_results] = read_name(p);
    schema->n_results++;
}

static void read_results(parser *p, rl_schema *schema) {
    expect(p, "->", "'->'");
    if (accept(p, "(")) {
        do
            read_result(p, schema, true);
        while (!p->failed && accept(p, ","));
        expect(p, ")", "',' or ')'");
    } else {
        read_result(p, schema, false);
        if (accept(p, "[")) {
            expect(p, "]", "']'");
            schema->returns_list = true;
            schema->n_results = 0;
        }
    }
    skip_space(p);
    if (*p->at != '\0')
        fail(p, "the end");
}

static bool is_number(rl_param_type type) {
    return type == RL_PARAM_SCALAR || type == RL_PARAM_FLOAT || type == RL_PARAM_TENSOR_OR_SCALAR;
}

static void set_masks(rl_schema *schema) {
    for (int i = 0; i < schema->n_params; i++) {
        const rl_param *param = &schema->params[i];
        uint16_t bit = (uint16_t)(1u << i);
        bool is_union = param->type == RL_PARAM_TENSOR_OR_SCALAR;
        bool tensor = is_union || param->type == RL_PARAM_TENSOR;
        bool integer = param->type == RL_PARAM_INT || param->type == RL_PARAM_BOOL;
        schema->tensors |= tensor ? bit : 0;
        schema->tensors_or_scalars |= is_union ? bit : 0;
        schema->lists |= param->type == RL_PARAM_TENSORS ? bit : 0;
        schema->required |= param->optional ? 0 : bit;
        schema->operands |= tensor || integer || is_number(param->type) ? bit : 0;
        schema->numbers |= is_number(param->type) ? bit : 0;
        schema->ints |= integer ? bit : 0;
        schema->generators |= param->type == RL_PARAM_GENERATOR ? bit : 0;
        schema->checked |= param->type == RL_PARAM_DTYPE || param->type == RL_PARAM_INTS ? bit : 0;
    }
}

bool gen_parse_schema(gen_op *op) {
    if (op->schema_text == NULL) {
        gen_error(op->file, op->line, "%s has no .schema", op->name);
        return false;
    }
    parser p = {op, op->schema_text, false};
    op->schema.name = read_name(&p);
    read_params(&p, &op->schema);
    if (!p.failed)
        read_results(&p, &op->schema);
    set_masks(&op->schema);
    if (op->flags & RL_OP_INPLACE_ONLY)
        op->schema.inplace_name = op->schema.name;
    if (op->flags & RL_OP_INPLACE) {
        char *name = gen_keep(strlen(op->name) + 2);
        strcat(strcpy(name, op->name), "_");
        op->schema.inplace_name = name;
    }
    return !p.failed;
}
