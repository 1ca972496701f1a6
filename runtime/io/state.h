/* SPDX-License-Identifier: Apache-2.0 */
/* A set of named tensors out of a file, all of it or nothing: what modules and optimizers load by. */
#ifndef RUSHLIGHT_RUNTIME_IO_STATE_H
#define RUSHLIGHT_RUNTIME_IO_STATE_H

#include "rushlight/io.h"

/* Copies the tensors of the file into targets[i] by names[i], wherever those lie, outside of the graph; floats are
 * cast. The file must hold each name with its shape, and no other tensor; on an error of the file no target was
 * changed. `function` is named in errors. */
rl_status rl_state_load(const char *function, rl_safetensors *file, const char *const *names, rl_tensor *const *targets,
                        int64_t count);

#endif
