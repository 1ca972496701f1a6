/* SPDX-License-Identifier: Apache-2.0 */
/* Arguments for typed calls from rl_values in the order of the schema: what ops_typed.c, which is generated, uses. */
#ifndef RUSHLIGHT_TESTS_OPS_TYPED_H
#define RUSHLIGHT_TESTS_OPS_TYPED_H

#include "ops/op.h"
#include "rushlight/ops.h"

/* Calls rl_op_NAME (rl_op_NAME_ where `inplace`), fills at most `room` results and gives their number. */
int64_t typed_call(int opcode, bool inplace, const rl_value *v, rl_tensor **results, int64_t room);

static inline rl_tensor *typed_tensor(const rl_value *v) {
    return v->kind == RL_VALUE_TENSOR ? v->as.tensor : NULL;
}
static inline rl_value typed_value(const rl_value *v) {
    return *v;
}
static inline rl_tensors typed_tensors(const rl_value *v) {
    return v->kind == RL_VALUE_TENSORS ? v->as.tensors : (rl_tensors){NULL, 0};
}
static inline int64_t typed_int(const rl_value *v) {
    return v->kind == RL_VALUE_BOOL ? v->as.b : v->kind == RL_VALUE_INT ? v->as.i : 0;
}
static inline double typed_float(const rl_value *v) {
    return v->kind == RL_VALUE_FLOAT ? v->as.f : (double)typed_int(v);
}
static inline bool typed_bool(const rl_value *v) {
    return v->kind == RL_VALUE_BOOL && v->as.b;
}
static inline rl_ints typed_ints(const rl_value *v) {
    return v->kind == RL_VALUE_INTS  ? v->as.ints
           : v->kind == RL_VALUE_INT ? (rl_ints){&v->as.i, 1}
                                     : (rl_ints){NULL, 0};
}
static inline rl_dtype typed_dtype(const rl_value *v) {
    return v->kind == RL_VALUE_DTYPE ? v->as.dtype : RL_DTYPE_NONE;
}
static inline rl_device *typed_device(const rl_value *v) {
    return v->kind == RL_VALUE_DEVICE ? v->as.device : NULL;
}
static inline const char *typed_string(const rl_value *v) {
    return v->kind == RL_VALUE_STRING ? v->as.string : NULL;
}
static inline rl_generator *typed_generator(const rl_value *v) {
    return v->kind == RL_VALUE_GENERATOR ? v->as.generator : NULL;
}

/* Fields, whose zero means the default. */
static inline int64_t typed_int_field(const rl_value *v) {
    int64_t i = typed_int(v);
    return i == 0 && v->kind != RL_VALUE_NONE ? RL_ZERO : i;
}
static inline double typed_float_field(const rl_value *v) {
    double f = typed_float(v);
    return f == 0.0 && v->kind != RL_VALUE_NONE ? (double)RL_ZERO : f;
}
static inline int64_t typed_truth_field(const rl_value *v) {
    return v->kind == RL_VALUE_NONE ? 0 : typed_bool(v) ? 1 : RL_ZERO;
}

static inline int64_t typed_list(rl_tensors made, rl_tensor **results, int64_t room) {
    for (int64_t i = 0; i < made.count && i < room; i++)
        results[i] = made.data[i];
    return made.count;
}

#endif
