/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of rules share. */
#ifndef RUSHLIGHT_RUNTIME_OPTIM_RULES_H
#define RUSHLIGHT_RUNTIME_OPTIM_RULES_H

#include <math.h>

#include "base/error.h"
#include "optim/optimizer.h"

#define OP1(code, a) rl_build1(b, RL_INSN_##code, a)
#define OP2(code, x, y) rl_build2(b, RL_INSN_##code, x, y)
#define FMA(x, y, z) rl_build3(b, RL_INSN_FMA, x, y, z)

/* The register's dtype that a parameter is computed in: f32 for f16 and bf16. */
static inline rl_dtype compute_dtype(rl_dtype dtype) {
    return dtype == RL_F64 ? RL_F64 : RL_F32;
}

static inline rl_pw input(rl_builder *b, rl_dtype dtype, rl_dtype compute) {
    return rl_build_cast(b, rl_build_input(b, dtype), compute);
}
/* The gradient as a rule sees it: -g to maximize. */
static inline rl_pw gradient(rl_builder *b, const rule_options *options, rl_dtype dtype, rl_dtype compute) {
    rl_pw g = input(b, dtype, compute);
    return options->maximize ? OP1(NEG, g) : g;
}

/* a + weight (b - a), as PyTorch's lerp for weights below one half. */
static inline rl_pw toward(rl_builder *b, rl_pw from, rl_pw to, rl_pw weight) {
    return FMA(weight, OP2(SUB, to, from), from);
}
/* keep v + add g g, the running mean of squares. */
static inline rl_pw mean_square(rl_builder *b, rl_pw v, rl_pw g, rl_pw keep, rl_pw add) {
    return FMA(OP2(MUL, add, g), g, OP2(MUL, keep, v));
}

rl_status rule_check_common(const char *function, const rule_options *options);
rl_status rule_check_moments(const char *function, const rule_options *options);

#endif
