/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One kernel that runs any pointwise program: for programs that are rare, and until another's own kernel is built. It
 * calls the same functions, so its results are those of the program's own kernel, bit by bit.
 */
#ifndef RL_ACCEL_INTERPRETER_H
#define RL_ACCEL_INTERPRETER_H

#include "accel.h"

/* Elements beyond which a program's own kernel pays at once. */
#define RL_INTERPRETER_MOST 65536
/* Whether the program's values fit the interpreter's registers. */
int rl_interpreter_takes(const rl_program *program);
rl_status rl_interpreter_map(rl_backend_stream *stream, const rl_program *program, const rl_map_job *job);

#endif
