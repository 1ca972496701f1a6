/* SPDX-License-Identifier: Apache-2.0 */
/* Programs as this folder keeps them. Only program*.c include it. */
#ifndef RUSHLIGHT_RUNTIME_DISPATCH_PROGRAM_TABLE_H
#define RUSHLIGHT_RUNTIME_DISPATCH_PROGRAM_TABLE_H

#include <stdatomic.h>

#include "base/error.h"
#include "dispatch/program.h"

/* A program in base instructions for those backends that lack `missing`. */
typedef struct rl_expansion {
    struct rl_expansion *next;
    uint64_t missing;
    const rl_program *program;
} rl_expansion;

/* Immutable once it is in the table, but for the list of expansions, which only grows. */
typedef struct rl_program_entry {
    rl_program program;            /* at offset 0: what everybody else holds */
    struct rl_program_entry *next; /* in its bucket */
    uint64_t key;                  /* the program's hash with its constants */
    uint64_t uses;                 /* bit c is set where instruction c stands in it */
    uint32_t constants;            /* bit i is set where scalar i is a constant */
    int own_scalars;
    _Atomic(rl_expansion *) expansions;
    rl_number constant[RL_MAX_SCALARS];
    rl_insn insns[];
} rl_program_entry;

static inline const rl_program_entry *rl_program_entry_of(const rl_program *program) {
    return (const rl_program_entry *)program;
}

/* Operand k of an instruction: 0, 1 or 2. */
static inline uint8_t rl_insn_operand(const rl_insn *insn, int k) {
    return k == 0 ? insn->a : k == 1 ? insn->b : insn->c;
}

#define RL_INSN_BASE_MASK ((UINT64_C(1) << RL_INSN_BASE_END) - 1)

/* Fails the builder, unless it failed before; gives 0. */
rl_pw rl_builder_failed(rl_builder *self, rl_status status);
/* The dtype that holds every value of a register. */
rl_dtype rl_reg_dtype(rl_reg reg);
/* A scalar of the program with these bits. */
rl_pw rl_builder_number(rl_builder *self, rl_reg reg, rl_number number);
/* rl_build_inline for a backend that takes `insn_mask`: the other instructions come out expanded. */
void rl_builder_splice(rl_builder *self, const rl_program *program, const rl_pw *args, const rl_pw *scalars,
                       uint64_t insn_mask, rl_pw *results);
/* An instruction at or after RL_INSN_BASE_END over a (and b), in base instructions. */
rl_pw rl_build_expanded(rl_builder *self, rl_insn_code code, rl_pw a, rl_pw b);

#endif
