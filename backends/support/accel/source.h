/* SPDX-License-Identifier: Apache-2.0 */
/* Pointwise programs as source of the dialect. */
#ifndef RL_ACCEL_SOURCE_H
#define RL_ACCEL_SOURCE_H

#include "layout.h"
#include "text.h"

#define RL_MOST_SLOTS (2 * RL_MAX_INSNS)

/* The scalars of a launch in the form that kernels take them, a slot of 8 bytes each: for each SCALAR its value as its
 * register has it, for each PHILOX, UNIFORM and NORMAL its seed and offset. Fills out_slots where it is not NULL;
 * returns how many there are. */
int rl_source_slots(const rl_program *program, const rl_number *scalars, int64_t *out_slots);
/* The mask of the dimensions that INDEX asks for. */
uint32_t rl_source_indices(const rl_program *program);

int rl_source_has_f64(const rl_program *program);

/* "F32" of a dtype; the vector type of a register: "rl_f32". */
const char *rl_source_dtype(uint32_t dtype);
const char *rl_source_register(rl_reg reg);
/* How many operands an instruction has, by its code. */
int rl_source_operands(unsigned code);

/*
 * Writes the instructions as declarations of v0, v1, ... with `prefix` before v. They read x0, x1, ... (the inputs, in
 * their registers, with `prefix` before x), index_D (INDEX along D), element (the element's number), and `slots`, an
 * array of rl_long.
 */
void rl_source_program(rl_text_buffer *out, const rl_program *program, const char *prefix, const char *slots);

#endif
