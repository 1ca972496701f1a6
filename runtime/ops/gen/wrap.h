/* SPDX-License-Identifier: Apache-2.0 */
/* What the typed calls are made of: C arguments and fields of options as rl_value. Included by ops_wrappers.c alone. */
#ifndef RUSHLIGHT_OPS_GEN_WRAP_H
#define RUSHLIGHT_OPS_GEN_WRAP_H

#include <math.h>

#include "ops/op.h"

#define RL_UNLIKELY_(x) __builtin_expect(!!(x), 0)

/* The field, where the caller's struct reaches so far; else its zero. */
#define RL_FIELD_(field)                                                                                               \
    (options && options->struct_size >= offsetof(__typeof__(none), field) + sizeof none.field ? options->field         \
                                                                                              : none.field)

/* A struct of options without its size would be ignored: says so. True, always. */
static inline bool rl_options_unset(const char *op, size_t size) {
    rl_fail(RL_INVALID_ARGUMENT, "%s: options.struct_size is %zu: set it to the size of the struct", op, size);
    return true;
}

static inline rl_value rl_wrap_tensor(rl_tensor *v) {
    return rl_value_of_tensor(v);
}
static inline rl_value rl_wrap_value(rl_value v) {
    return v;
}
static inline rl_value rl_wrap_tensors(rl_tensors v) {
    return (rl_value){.kind = RL_VALUE_TENSORS, .as.tensors = v};
}
static inline rl_value rl_wrap_int(int64_t v) {
    return rl_value_of_int(v);
}
static inline rl_value rl_wrap_float(double v) {
    return rl_value_of_float(v);
}
static inline rl_value rl_wrap_bool(bool v) {
    return rl_value_of_bool(v);
}
static inline rl_value rl_wrap_ints(rl_ints v) {
    return (rl_value){.kind = v.data || v.count == 0 ? RL_VALUE_INTS : RL_VALUE_NONE, .as.ints = v};
}
static inline rl_value rl_wrap_dtype(rl_dtype v) {
    return (rl_value){.kind = v ? RL_VALUE_DTYPE : RL_VALUE_NONE, .as.dtype = v};
}
static inline rl_value rl_wrap_device(rl_device *v) {
    return (rl_value){.kind = v ? RL_VALUE_DEVICE : RL_VALUE_NONE, .as.device = v};
}
static inline rl_value rl_wrap_string(const char *v) {
    return (rl_value){.kind = v ? RL_VALUE_STRING : RL_VALUE_NONE, .as.string = v};
}
static inline rl_value rl_wrap_generator(rl_generator *v) {
    return (rl_value){.kind = v ? RL_VALUE_GENERATOR : RL_VALUE_NONE, .as.generator = v};
}

/* Fields: zero is the default. */
static inline rl_value rl_field_tensor(rl_tensor *v, const rl_value *fallback) {
    return v ? rl_wrap_tensor(v) : *fallback;
}
static inline rl_value rl_field_value(rl_value v, const rl_value *fallback) {
    return v.kind ? v : *fallback;
}
static inline rl_value rl_field_tensors(rl_tensors v, const rl_value *fallback) {
    return v.data ? rl_wrap_tensors(v) : *fallback;
}
static inline rl_value rl_field_int(int64_t v, const rl_value *fallback) {
    return v == 0 ? *fallback : rl_value_of_int(v == RL_ZERO ? 0 : v);
}
static inline rl_value rl_field_float(double v, const rl_value *fallback) {
    return v == 0.0 ? *fallback : rl_value_of_float(v == (double)RL_ZERO ? 0.0 : v);
}
static inline rl_value rl_field_bool(bool v, const rl_value *fallback) {
    (void)fallback; /* false */
    return rl_value_of_bool(v);
}
/* A bool whose default is not false. */
static inline rl_value rl_field_truth(int64_t v, const rl_value *fallback) {
    return v == 0 ? *fallback : rl_value_of_bool(v != RL_ZERO);
}
/* A whole number that a double holds exactly counts as an integer. */
static inline rl_value rl_field_scalar(double v, const rl_value *fallback) {
    if (v == 0.0)
        return *fallback;
    if (v == (double)RL_ZERO)
        return rl_value_of_int(0);
    return v == trunc(v) && fabs(v) <= 9007199254740992.0 ? rl_value_of_int((int64_t)v) : rl_value_of_float(v);
}
static inline rl_value rl_field_ints(rl_ints v, const rl_value *fallback) {
    return v.data || v.count ? rl_wrap_ints(v) : *fallback;
}
static inline rl_value rl_field_dtype(rl_dtype v, const rl_value *fallback) {
    return v ? rl_wrap_dtype(v) : *fallback;
}
static inline rl_value rl_field_device(rl_device *v, const rl_value *fallback) {
    return v ? rl_wrap_device(v) : *fallback;
}
static inline rl_value rl_field_string(const char *v, const rl_value *fallback) {
    return v ? rl_wrap_string(v) : *fallback;
}
static inline rl_value rl_field_generator(rl_generator *v, const rl_value *fallback) {
    return v ? rl_wrap_generator(v) : *fallback;
}

#endif
