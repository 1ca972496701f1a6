/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the call machinery (call.c, infer.c, pointwise.c, boxed.c, memory.c) share; ops do not need it. */
#ifndef RUSHLIGHT_RUNTIME_OPS_CALL_H
#define RUSHLIGHT_RUNTIME_OPS_CALL_H

#include "ops/op.h"
#include "rushlight/autocast.h"

/* Lowers an inferred pointwise call to one map. */
rl_status rl_pointwise_run(rl_call *call);

/* Where autocast is on for some device: 0 or 1, of the thread. */
extern _Thread_local __attribute__((tls_model("initial-exec"))) bool rl_autocasting_;
/* For functions that are run again later: what the thread's regions are now, to be entered then without a cache of
 * casts, for what a first run finds there the second would not; and the way back is rl_autocast_end. */
rl_autocast rl_autocast_now(void);
rl_autocast rl_autocast_enter(rl_autocast state);
/* Puts casts in the place of the call's tensors, as the op's flag says. */
rl_status rl_autocast_arguments(rl_call *call);
/* Room for `count` tensors, owned by the innermost scope. NULL on failure. */
rl_tensor **rl_tensor_list_new(int64_t count);

/* A row-major copy of self, owned by the innermost scope; `op` is named in errors. */
rl_tensor *rl_contiguous_copy(const char *op, rl_tensor *self);
/* Copies the elements of `from` to those of `to`, on the same device, cast to its dtype; shapes broadcast. */
rl_status rl_copy_into(const char *op, rl_tensor *to, rl_tensor *from);

/* Whether two different elements of t may be one place in memory. */
bool rl_overlaps_itself(const rl_tensor *t);

#endif
