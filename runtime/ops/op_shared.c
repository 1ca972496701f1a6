/* SPDX-License-Identifier: Apache-2.0 */
/* What the declarations of ops share: reading arguments, pieces of derivatives, rules, samples. */
#include <stdio.h>
#include <string.h>

#include "ops/op_shared.h"

/* Derivatives ---------------------------------------------------------------------------------------------------- */

rl_value rl_vjp_operand(rl_vjp *v, int arg) {
    const rl_value *given = rl_vjp_arg(v, arg);
    return given != NULL && rl_value_is_number(given) ? *given : rl_value_of_tensor(rl_vjp_input(v, arg));
}

double rl_vjp_number(rl_vjp *v, int arg) {
    return rl_value_double(rl_vjp_arg(v, arg));
}

const char *rl_vjp_word(rl_vjp *v, int arg) {
    const rl_value *given = rl_vjp_arg(v, arg);
    return given->kind == RL_VALUE_STRING ? given->as.string : "";
}

void rl_vjp_zero(rl_vjp *v) {
    (void)v;
}

rl_tensor *rl_times(rl_tensor *y, rl_value number) {
    return number.kind != RL_VALUE_BOOL && rl_value_double(&number) == 1.0 ? y : rl_mul(y, number);
}

rl_tensor *rl_only_where(rl_tensor *condition, rl_tensor *y) {
    return rl_where(condition, y, 0);
}
rl_tensor *rl_only_where_not(rl_tensor *condition, rl_tensor *y) {
    return rl_where(condition, 0, y);
}

/* Calls ---------------------------------------------------------------------------------------------------------- */

const char *rl_arg_word(const rl_call *call, int arg) {
    return call->args[arg].kind == RL_VALUE_STRING ? call->args[arg].as.string : "";
}
bool rl_arg_is(const rl_call *call, int arg, const char *word) {
    return strcmp(rl_arg_word(call, arg), word) == 0;
}
int64_t rl_arg_int(const rl_call *call, int arg) {
    const rl_value *v = &call->args[arg];
    return v->kind == RL_VALUE_INT ? v->as.i : v->kind == RL_VALUE_BOOL ? v->as.b : 0;
}
rl_dtype rl_arg_dtype(const rl_call *call, int arg) {
    return call->args[arg].kind == RL_VALUE_DTYPE ? call->args[arg].as.dtype : RL_DTYPE_NONE;
}
rl_device *rl_arg_device(const rl_call *call, int arg) {
    return call->args[arg].kind == RL_VALUE_DEVICE ? call->args[arg].as.device : NULL;
}

rl_status rl_infer_with_numbers(rl_call *call) {
    rl_status status = rl_infer_broadcast(call);
    rl_value operands[RL_MAX_ARGS];
    int64_t count = 0;
    const rl_schema *schema = &rl_schema_table[call->opcode];
    for (uint32_t m = schema->tensors | schema->numbers; m != 0; m &= m - 1)
        operands[count++] = call->args[__builtin_ctz(m)];
    if (status == RL_OK)
        call->compute = call->meta[0].dtype = rl_result_dtype(operands, count);
    return status;
}

/* "self", or "self and other": the arguments that decide on the dtype. */
static rl_status fail_dtype(const rl_call *call, const char *what) {
    const rl_schema *schema = &rl_schema_table[call->opcode];
    uint32_t tensors = schema->tensors & ~call->op->as_is, others = tensors & (tensors - 1);
    const char *first = schema->params[__builtin_ctz(tensors)].name;
    const char *other = others ? schema->params[__builtin_ctz(others)].name : "";
    return rl_call_fail(call, RL_DTYPE_MISMATCH, "%s%s%s must %s", first, others ? " and " : "", other, what);
}

rl_status rl_infer_no_bool(rl_call *call) {
    rl_status status = rl_infer_broadcast(call);
    return status == RL_OK && call->compute == RL_BOOL ? fail_dtype(call, "not be bool") : status;
}

rl_status rl_infer_no_float(rl_call *call) {
    char what[80];
    rl_status status = rl_infer_broadcast(call);
    if (status != RL_OK || !rl_dtype_is_float(call->compute))
        return status;
    snprintf(what, sizeof what, "be of integer dtypes or bool, not %s", rl_dtype_name(call->compute));
    return fail_dtype(call, what);
}

rl_status rl_infer_integers_only(rl_call *call) {
    rl_status status = rl_infer_no_float(call);
    return status == RL_OK && call->compute == RL_BOOL ? fail_dtype(call, "be of integer dtypes, not bool") : status;
}

rl_status rl_infer_floats_only(rl_call *call) {
    char what[80];
    rl_status status = rl_infer_broadcast(call);
    if (status != RL_OK || rl_dtype_is_float(call->compute))
        return status;
    snprintf(what, sizeof what, "be of a floating dtype, not %s", rl_dtype_name(call->compute));
    return fail_dtype(call, what);
}

/* Samples -------------------------------------------------------------------------------------------------------- */

const rl_sample rl_samples_real[] = {{"f[3,4]"}, {"f[]"},   {"f[0,3]"}, {"f[5,7]t"},
                                     {"f[33]s"}, {"f[4]e"}, {"i32[3]"}, {0}};
const rl_sample rl_samples_positive[] = {{"p[3,4]"}, {"p[]"}, {"p[0,3]"}, {"p[5,7]t"}, {"p[33]s"}, {"p[4]e"}, {0}};
const rl_sample rl_samples_unit[] = {{"u[3,4]"}, {"u[]"}, {"u[0,3]"}, {"u[5,7]t"}, {"u[33]s"}, {"u[4]e"}, {0}};
const rl_sample rl_samples_number[] = {{"n[3,4]"}, {"n[]"}, {"n[0,3]"}, {"n[5,7]t"}, {"n[33]s"}, {"n[4]e"}, {0}};
const rl_sample rl_samples_floats[] = {{"f[3,4]"}, {"f[]"}, {"f[0,3]"}, {"f[5,7]t"}, {"f[33]s"}, {"f[4]e"}, {0}};
const rl_sample rl_samples_integers[] = {{"i32[3,4]"}, {"i64[]"}, {"u8[0,3]"}, {"i16[5,7]t"},
                                         {"i8[33]s"},  {"b[4]e"}, {0}};

const rl_sample rl_samples_pair[] = {{"n[3,4], n[3,4]"},  {"n[3,1], n[4]"},   {"n[2,3,1], n[]"}, {"n[0,3], n[3]"},
                                     {"n[5,7]t, n[5,7]"}, {"n[33]s, n[33]"},  {"n[4], n[4]e"},   {"n[7], 2"},
                                     {"f[7], 0.5"},       {"f32[3], i64[3]"}, {"f32[3], f64[]"}, {0}};
const rl_sample rl_samples_pair_tensors[] = {
    {"n[3,4], n[3,4]"},  {"n[3,1], n[4]"},  {"n[2,3,1], n[]"}, {"n[0,3], n[3]"},
    {"n[5,7]t, n[5,7]"}, {"n[33]s, n[33]"}, {"n[4], n[4]e"},   {0}};
const rl_sample rl_samples_pair_positive[] = {
    {"p[3,4], p[3,4]"},  {"p[3,1], p[4]"},  {"p[2,3,1], p[]"}, {"p[0,3], p[3]"},
    {"p[5,7]t, p[5,7]"}, {"p[33]s, p[33]"}, {"p[4], p[4]e"},   {0}};
const rl_sample rl_samples_pair_integers[] = {{"i32[3,4], i32[3,4]"}, {"i64[3,1], i64[4]"},  {"u8[2,3,1], u8[]"},
                                              {"i16[0,3], i16[3]"},   {"i8[5,7]t, i8[5,7]"}, {"b[33]s, b[33]"},
                                              {"i32[4], i64[4]e"},    {"i64[7], 2"},         {0}};
const rl_bad rl_bad_unary[] = {{"None", RL_INVALID_ARGUMENT, "self"}, {0}};
const rl_bad rl_bad_no_bool[] = {
    {"None", RL_INVALID_ARGUMENT, "self"}, {"b[2]", RL_DTYPE_MISMATCH, "self must not be bool"}, {0}};
const rl_bad rl_bad_binary[] = {{"f[2,3], f[4]", RL_SHAPE_MISMATCH, "do not broadcast: 3 and 4"},
                                {"None, f[4]", RL_INVALID_ARGUMENT, "self"},
                                {"f[4], None", RL_INVALID_ARGUMENT, "other"},
                                {0}};
