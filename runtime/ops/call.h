/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the call machinery (call.c, infer.c, pointwise.c, boxed.c, memory.c) share; ops do not need it. */
#ifndef RUSHLIGHT_RUNTIME_OPS_CALL_H
#define RUSHLIGHT_RUNTIME_OPS_CALL_H

#include "ops/op.h"

/* Lowers an inferred pointwise call to one map. */
rl_status rl_pointwise_run(rl_call *call);

/* A row-major copy of self, owned by the innermost scope; `op` is named in errors. */
rl_tensor *rl_contiguous_copy(const char *op, rl_tensor *self);
/* Copies the elements of `from` to those of `to`, on the same device, cast to its dtype; shapes broadcast. */
rl_status rl_copy_into(const char *op, rl_tensor *to, rl_tensor *from);

/* Whether two different elements of t may be one place in memory. */
bool rl_overlaps_itself(const rl_tensor *t);

#endif
