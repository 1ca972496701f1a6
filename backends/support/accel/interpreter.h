/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two kernels that run any program of map and of reduce: for programs that are rare, and until another's own kernel is
 * built. They call the same functions, so their results are those of the program's own kernel, bit by bit.
 */
#ifndef RL_ACCEL_INTERPRETER_H
#define RL_ACCEL_INTERPRETER_H

#include "accel.h"
#include "layout.h"

/* Elements beyond which a program's own kernel pays at once. */
#define RL_INTERPRETER_MOST 65536
/* Whether the program's values fit the interpreter's registers. */
int rl_interpreter_takes(const rl_program *program);
int rl_interpreter_takes_reduce(const rl_program *prologue, const rl_program *epilogue);
rl_status rl_interpreter_map(rl_backend_stream *stream, const rl_program *program, const rl_map_job *job);
/* By the layouts of reduce.c, in the order of its kernels of lines without parts; `number`: the operand that numbers
 * the reduced elements, or -1. */
rl_status rl_interpreter_reduce(rl_backend_stream *stream, const rl_reduce_args *how, const rl_layout *kept,
                                const rl_layout *reduced, int number);

#endif
