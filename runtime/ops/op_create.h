/* SPDX-License-Identifier: Apache-2.0 */
/* How new tensors are inferred; for op_create.c and op_random.c. */
#ifndef RUSHLIGHT_RUNTIME_OPS_OP_CREATE_H
#define RUSHLIGHT_RUNTIME_OPS_OP_CREATE_H

#include "ops/op.h"

/* meta[0] of this size; device NULL: the default one. */
rl_status rl_infer_new(rl_call *call, rl_ints size, rl_dtype dtype, rl_device *device);
/* meta[0] as args[0], but for dtype and device where the last two arguments give them. */
rl_status rl_infer_like(rl_call *call);

#endif
