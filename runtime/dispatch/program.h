/* SPDX-License-Identifier: Apache-2.0 */
/* Writing pointwise programs, keeping each but once, and expanding what a backend does not take. */
#ifndef RUSHLIGHT_RUNTIME_DISPATCH_PROGRAM_H
#define RUSHLIGHT_RUNTIME_DISPATCH_PROGRAM_H

#include "rushlight/backend.h"
#include "tensor/tensor.h"

/*
 * A builder writes one program. Values are small numbers; a builder that failed (too long, out of memory) gives 0 from
 * every call, and rl_program_finish returns NULL with the error. Equal instructions are written once (common
 * subexpressions), constants are folded into scalars by the caller's choice.
 */
typedef struct rl_builder {
    rl_insn insns[RL_MAX_INSNS + 1];
    uint8_t value_dtype[RL_MAX_INSNS + 1]; /* rl_dtype that each value is exact in; its register follows */
    uint16_t n_insns, n_inputs, n_outputs, n_scalars;
    uint8_t input_dtype[RL_MAX_INPUTS], output_dtype[RL_MAX_OUTPUTS], output_value[RL_MAX_OUTPUTS];
    rl_number constants[RL_MAX_SCALARS]; /* values of scalars that rl_build_constant made */
    uint8_t is_constant[RL_MAX_SCALARS];
    rl_status status;
} rl_builder;
typedef uint8_t rl_pw; /* a value of the program being built */

void rl_builder_init(rl_builder *self);
/* The next input, stored as dtype. */
rl_pw rl_build_input(rl_builder *self, rl_dtype dtype);
/* The next launch scalar, computed as dtype's register. */
rl_pw rl_build_scalar(rl_builder *self, rl_dtype dtype);
/* A number that is part of the program: a scalar whose value the program remembers, so that callers give none. */
rl_pw rl_build_constant(rl_builder *self, rl_dtype dtype, double value);
/* The same of an integer dtype, exactly; where the register is I32, the low 32 bits of it. */
rl_pw rl_build_integer(rl_builder *self, rl_dtype dtype, int64_t value);
/* code over operands of one register (SELECT: b and c; its a is of I32). Comparisons give RL_BOOL; other results have
 * their operands' dtype where they are exact in it (MIN, SELECT, FLOOR ...), else the widest of their register: the sum
 * of two f16 values is an f32 until it is cast. */
rl_pw rl_build1(rl_builder *self, rl_insn_code code, rl_pw a);
rl_pw rl_build2(rl_builder *self, rl_insn_code code, rl_pw a, rl_pw b);
rl_pw rl_build3(rl_builder *self, rl_insn_code code, rl_pw a, rl_pw b, rl_pw c);
/* a as dtype: nothing where it is so already. */
rl_pw rl_build_cast(rl_builder *self, rl_pw a, rl_dtype dtype);
rl_pw rl_build_index(rl_builder *self, int dim);
/* PHILOX, UNIFORM or NORMAL with the two scalars (I64) seed and offset made by rl_build_scalar, seed first. */
rl_pw rl_build_random(rl_builder *self, rl_insn_code code, rl_dtype dtype, rl_pw seed);
void rl_build_output(rl_builder *self, rl_pw value, rl_dtype dtype);
/* Splices another program into this one: args[i] stands for its i-th input, scalars for its launch scalars (NULL: new
 * scalars are made); fills results with its outputs, cast to their dtypes. */
void rl_build_inline(rl_builder *self, const rl_program *program, const rl_pw *args, const rl_pw *scalars,
                     rl_pw *results);
/* The finished program: the same object for equal programs, alive until rl_shutdown. Thread-safe. NULL on failure. */
const rl_program *rl_builder_finish(rl_builder *self);

/* Launch scalars: the values of the program's constants are filled in; the caller's own are given in order. */
void rl_program_scalars(const rl_program *self, const rl_number *own, rl_number *out_scalars);
/* How many scalars a caller gives: n_scalars less the constants. */
int rl_program_own_scalars(const rl_program *self);

/* The program as a backend with this mask takes it: self, or an equal one of base instructions (kept). NULL on failure.
 */
const rl_program *rl_program_for_mask(const rl_program *self, uint64_t insn_mask);

/* One input stored as `from`, one output stored as `to`: copies, casts. Cheap after its first use. NULL on failure. */
const rl_program *rl_program_cast(rl_dtype from, rl_dtype to);

/* Frees every program: for rl_shutdown, once the backends are shut down. A later program begins anew with index 0. */
void rl_programs_shutdown(void);

/* "v2 = add.f32 v0 v1" a line; gives a string to free(). */
char *rl_program_to_string(const rl_program *self);

typedef struct rl_insn_info {
    const char *name; /* "ADD" */
    const char *text; /* its meaning */
    uint8_t operands;
    char types; /* 'A', 'F', 'I' */
} rl_insn_info;
const rl_insn_info *rl_insn_describe(rl_insn_code code);

#endif
