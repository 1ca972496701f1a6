/* SPDX-License-Identifier: Apache-2.0 */
/* Ops by name: arguments bound to the schema, converted to the kinds that the typed calls give, and run. Any thread. */
#include <string.h>

#include "base/sized.h"
#include "base/text.h"
#include "ops/call.h"

/* Finding -------------------------------------------------------------------------------------------------------- */

/* The op of this name among the first `length` bytes of `name`; -1 where there is none. index.def is sorted. */
static int find_name(const char *name, size_t length) {
    int low = 0, high = RL_OPCODE_COUNT;
    while (low < high) {
        int middle = low + (high - low) / 2;
        const char *other = rl_schema_table[middle].name;
        int order = strncmp(other, name, length);
        if (order == 0 && other[length] == '\0')
            return middle;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return -1;
}

/* "add", "add_" (in place), "copy_" (in place only). */
static int find_op(const char *name, bool *out_inplace) {
    size_t length = strlen(name);
    int opcode = find_name(name, length);
    *out_inplace = opcode >= 0 && (rl_op_table[opcode]->flags & RL_OP_INPLACE_ONLY);
    if (opcode >= 0 || length < 2 || name[length - 1] != '_')
        return opcode;
    opcode = find_name(name, length - 1);
    *out_inplace = true;
    return opcode >= 0 && rl_schema_table[opcode].inplace_name ? opcode : -1;
}

static rl_status fail_unknown(const char *name) {
    rl_text text = {0};
    rl_text_add_excerpt(&text, name, 64);
    rl_status status = rl_fail(RL_INVALID_ARGUMENT, "op_call: there is no op named %s", text.data ? text.data : "");
    rl_text_free(&text);
    return status;
}

/* Binding -------------------------------------------------------------------------------------------------------- */

typedef struct binding {
    rl_call call;
    const rl_schema *schema;
    int64_t one[RL_MAX_ARGS][RL_MAX_DIMS]; /* what one int stands for where a list is expected */
} binding;

static const char *type_text(rl_param_type type) {
    static const char *const texts[] = {[RL_PARAM_TENSOR] = "a tensor",
                                        [RL_PARAM_TENSOR_OR_SCALAR] = "a tensor or a number",
                                        [RL_PARAM_TENSORS] = "a list of tensors",
                                        [RL_PARAM_INT] = "an integer",
                                        [RL_PARAM_FLOAT] = "a number",
                                        [RL_PARAM_BOOL] = "true or false",
                                        [RL_PARAM_SCALAR] = "a number",
                                        [RL_PARAM_INTS] = "a list of integers",
                                        [RL_PARAM_DTYPE] = "a dtype",
                                        [RL_PARAM_DEVICE] = "a device",
                                        [RL_PARAM_STRING] = "a string",
                                        [RL_PARAM_GENERATOR] = "a generator"};
    return texts[type];
}

static const char *kind_text(rl_value_kind kind) {
    static const char *const texts[] = {[RL_VALUE_NONE] = "None",
                                        [RL_VALUE_TENSOR] = "a tensor",
                                        [RL_VALUE_INT] = "an integer",
                                        [RL_VALUE_FLOAT] = "a float",
                                        [RL_VALUE_BOOL] = "a bool",
                                        [RL_VALUE_INTS] = "a list of integers",
                                        [RL_VALUE_DTYPE] = "a dtype",
                                        [RL_VALUE_TENSORS] = "a list of tensors",
                                        [RL_VALUE_DEVICE] = "a device",
                                        [RL_VALUE_STRING] = "a string",
                                        [RL_VALUE_GENERATOR] = "a generator"};
    return (size_t)kind < sizeof texts / sizeof *texts ? texts[kind] : "a value of unknown kind";
}

static rl_status fail_kind(const binding *self, int i, rl_value_kind kind) {
    const rl_param *param = &self->schema->params[i];
    return rl_call_fail(&self->call, RL_INVALID_ARGUMENT, "%s must be %s, not %s", param->name, type_text(param->type),
                        kind_text(kind));
}

/* What holds nothing is None, as a typed call has it. */
static void settle_none(rl_value *v) {
    bool nothing = (v->kind == RL_VALUE_TENSOR && v->as.tensor == NULL) ||
                   (v->kind == RL_VALUE_DTYPE && v->as.dtype == RL_DTYPE_NONE) ||
                   (v->kind == RL_VALUE_DEVICE && v->as.device == NULL) ||
                   (v->kind == RL_VALUE_STRING && v->as.string == NULL) ||
                   (v->kind == RL_VALUE_GENERATOR && v->as.generator == NULL);
    if (nothing)
        v->kind = RL_VALUE_NONE;
}

/* A dtype or a device by its name. */
static rl_status parse_word(const binding *self, int i, rl_value *v) {
    const rl_param *param = &self->schema->params[i];
    const char *word = v->as.string;
    if (param->type == RL_PARAM_DTYPE) {
        *v = (rl_value){.kind = RL_VALUE_DTYPE, .as.dtype = rl_dtype_parse(word)};
        return v->as.dtype ? RL_OK
                           : rl_call_fail(&self->call, RL_INVALID_ARGUMENT, "%s is no name of a dtype", param->name);
    }
    *v = (rl_value){.kind = RL_VALUE_DEVICE, .as.device = rl_device_get(word)};
    return v->as.device ? RL_OK : rl_error_status();
}

/* Lists: one int stands for a list of it, [] for any empty list. */
static rl_status convert_list(binding *self, int i, rl_value *v) {
    const rl_param *param = &self->schema->params[i];
    bool ints = param->type == RL_PARAM_INTS;
    if (v->kind == (ints ? RL_VALUE_INTS : RL_VALUE_TENSORS)) {
        bool missing = ints && v->as.ints.data == NULL && v->as.ints.count == 0;
        if (missing) /* an empty list is a list, not None */
            v->as.ints = RL_NO_DIMS;
        return RL_OK;
    }
    if (ints && v->kind == RL_VALUE_INT) {
        int64_t count = param->length > 1 ? param->length : 1;
        for (int64_t k = 0; k < count; k++)
            self->one[i][k] = v->as.i;
        *v = (rl_value){.kind = RL_VALUE_INTS, .as.ints = {self->one[i], count}};
        return RL_OK;
    }
    if ((ints && v->kind == RL_VALUE_TENSORS && v->as.tensors.count == 0) ||
        (!ints && v->kind == RL_VALUE_INTS && v->as.ints.count == 0)) {
        *v = ints ? (rl_value){.kind = RL_VALUE_INTS, .as.ints = RL_NO_DIMS}
                  : (rl_value){.kind = RL_VALUE_TENSORS, .as.tensors = {NULL, 0}};
        return RL_OK;
    }
    return fail_kind(self, i, v->kind);
}

/* Makes args[i] what a typed call would have made of it. */
static rl_status convert(binding *self, int i) {
    const rl_param *param = &self->schema->params[i];
    rl_value *v = &self->call.args[i];
    settle_none(v);
    if (v->kind == RL_VALUE_NONE) {
        bool none_is_default = param->has_default && param->default_value.kind == RL_VALUE_NONE;
        return param->optional || none_is_default || !param->has_default ? RL_OK : fail_kind(self, i, v->kind);
    }
    switch (param->type) {
    case RL_PARAM_TENSOR:
        return v->kind == RL_VALUE_TENSOR ? RL_OK : fail_kind(self, i, v->kind);
    case RL_PARAM_TENSOR_OR_SCALAR:
        return v->kind == RL_VALUE_TENSOR || rl_value_is_number(v) ? RL_OK : fail_kind(self, i, v->kind);
    case RL_PARAM_SCALAR:
        return rl_value_is_number(v) ? RL_OK : fail_kind(self, i, v->kind);
    case RL_PARAM_TENSORS:
    case RL_PARAM_INTS:
        return convert_list(self, i, v);
    case RL_PARAM_INT:
        if (v->kind == RL_VALUE_BOOL)
            *v = rl_value_of_int(v->as.b);
        return v->kind == RL_VALUE_INT ? RL_OK : fail_kind(self, i, v->kind);
    case RL_PARAM_FLOAT:
        if (!rl_value_is_number(v))
            return fail_kind(self, i, v->kind);
        *v = rl_value_of_float(rl_arg_double(&self->call, i));
        return RL_OK;
    case RL_PARAM_BOOL:
        return v->kind == RL_VALUE_BOOL ? RL_OK : fail_kind(self, i, v->kind);
    case RL_PARAM_DTYPE:
    case RL_PARAM_DEVICE:
        if (v->kind == RL_VALUE_STRING)
            return parse_word(self, i, v);
        return v->kind == (param->type == RL_PARAM_DTYPE ? RL_VALUE_DTYPE : RL_VALUE_DEVICE)
                   ? RL_OK
                   : fail_kind(self, i, v->kind);
    case RL_PARAM_STRING:
        return v->kind == RL_VALUE_STRING ? RL_OK : fail_kind(self, i, v->kind);
    case RL_PARAM_GENERATOR:
        return v->kind == RL_VALUE_GENERATOR ? RL_OK : fail_kind(self, i, v->kind);
    }
    return RL_OK;
}

/* The parameter that an argument goes to; -1 after an error. */
static int find_param(const binding *self, const char *name) {
    for (int i = 0; i < self->schema->n_params; i++)
        if (strcmp(self->schema->params[i].name, name) == 0)
            return i;
    rl_text text = {0};
    rl_text_add_excerpt(&text, name, 64);
    rl_call_fail(&self->call, RL_INVALID_ARGUMENT, "there is no argument %s: %s", text.data ? text.data : "",
                 rl_op_table[self->call.opcode]->schema);
    rl_text_free(&text);
    return -1;
}

static int positional_count(const rl_schema *schema) {
    int count = 0;
    while (count < schema->n_params && !schema->params[count].keyword)
        count++;
    return count;
}

static rl_status bind(binding *self, const rl_argument *arguments, int64_t count) {
    const rl_schema *schema = self->schema;
    uint32_t given = 0;
    int most = positional_count(schema);
    bool named = false;
    for (int64_t k = 0; k < count; k++) {
        const rl_argument *argument = &arguments[k];
        named |= argument->name != NULL;
        if (named && argument->name == NULL)
            return rl_call_fail(&self->call, RL_INVALID_ARGUMENT, "argument %lld has no name and follows named ones",
                                (long long)k);
        if (!named && k >= most)
            return rl_call_fail(&self->call, RL_INVALID_ARGUMENT,
                                "%lld arguments are given by position, at most %d go: %s", (long long)k + 1, most,
                                self->call.op->schema);
        int i = named ? find_param(self, argument->name) : (int)k;
        if (i < 0)
            return rl_error_status();
        if (given >> i & 1)
            return rl_call_fail(&self->call, RL_INVALID_ARGUMENT, "%s is given twice", schema->params[i].name);
        given |= 1u << i;
        self->call.args[i] = argument->value;
        rl_status status = convert(self, i);
        if (status != RL_OK)
            return status;
    }
    for (int i = 0; i < schema->n_params; i++) {
        if (given >> i & 1)
            continue;
        if (!schema->params[i].has_default)
            return rl_call_fail(&self->call, RL_INVALID_ARGUMENT, "%s is missing: %s", schema->params[i].name,
                                self->call.op->schema);
        self->call.args[i] = schema->params[i].default_value;
    }
    return RL_OK;
}

/* Calling -------------------------------------------------------------------------------------------------------- */

rl_status rl_op_call(const char *name, const rl_argument *arguments, int64_t count, rl_tensor **out_results,
                     int64_t room, int64_t *out_count) {
    binding self;
    if (out_count)
        *out_count = 0;
    if (rl_failed())
        return rl_error_status();
    if (name == NULL || count < 0 || (count > 0 && arguments == NULL) || (room > 0 && out_results == NULL))
        return rl_fail(RL_INVALID_ARGUMENT, "op_call: %s",
                       name == NULL                     ? "name is NULL"
                       : count < 0                      ? "count is negative"
                       : arguments == NULL && count > 0 ? "arguments is NULL"
                                                        : "out_results is NULL");
    int opcode = find_op(name, &self.call.inplace);
    if (opcode < 0)
        return fail_unknown(name);
    self.schema = &rl_schema_table[opcode];
    self.call.opcode = opcode;
    self.call.op = rl_op_table[opcode];
    rl_status status = bind(&self, arguments, count);
    if (status == RL_OK)
        status = rl_call_run(&self.call, opcode);
    if (status != RL_OK)
        return status;
    bool list = self.schema->returns_list;
    int64_t have = list ? self.call.list.count : self.call.n_results;
    rl_tensor *const *results = list ? self.call.list.data : self.call.results;
    for (int64_t i = 0; i < have && i < room; i++)
        out_results[i] = results[i];
    if (out_count)
        *out_count = have;
    return RL_OK;
}

/* Describing ----------------------------------------------------------------------------------------------------- */

size_t rl_op_count(void) {
    return RL_OPCODE_COUNT;
}

bool rl_op_describe(size_t number, rl_op_info *out_info) {
    if (number >= RL_OPCODE_COUNT)
        return false;
    const rl_op_def *op = rl_op_table[number];
    rl_op_info info = {.name = rl_schema_table[number].name,
                       .schema = op->schema,
                       .doc = op->doc,
                       .note = op->note ? op->note : "",
                       .kind = op->flags & RL_OP_POINTWISE ? "pointwise"
                               : op->flags & RL_OP_ROWS    ? "rows"
                               : op->flags & RL_OP_VIEW    ? "view"
                                                           : "composite",
                       .inplace = op->flags & RL_OP_INPLACE,
                       .differentiable = !(op->flags & RL_OP_NO_GRAD) && (op->vjp || op->flags & RL_OP_COMPOSITE),
                       .host = op->flags & RL_OP_HOST,
                       .autocast = op->flags & RL_OP_AUTOCAST_LOW      ? "low"
                                   : op->flags & RL_OP_AUTOCAST_F32    ? "f32"
                                   : op->flags & RL_OP_AUTOCAST_WIDEST ? "widest"
                                                                       : ""};
    return rl_sized_fill("op_describe", out_info, &info, sizeof info) == RL_OK;
}
