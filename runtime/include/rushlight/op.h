/* SPDX-License-Identifier: Apache-2.0 */
/* Ops by name: for bindings and tools. The typed calls are in ops.h. */
#ifndef RUSHLIGHT_OP_H
#define RUSHLIGHT_OP_H

#include "rushlight/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/* An argument by its name in the schema; name NULL: by position. */
typedef struct rl_argument {
    const char *name;
    rl_value value;
} rl_argument;

/* Calls the op named `name` ("add", "add_" for in place). Positional arguments come first. Fills out_results with at
 * most `room` results, owned by the innermost scope, and *out_count with their number. */
RL_API rl_status rl_op_call(const char *name, const rl_argument *arguments, int64_t count, rl_tensor **out_results,
                            int64_t room, int64_t *out_count);

typedef struct rl_op_info {
    size_t struct_size; /* set by the caller to the size of the struct */
    const char *name;
    const char *schema;
    const char *doc;
    const char *note; /* "" where there is none */
    const char *kind; /* "pointwise", "rows", "view", "composite" */
    bool inplace;     /* NAME_ exists too */
    bool differentiable;
    bool host;
    const char *autocast; /* what a region of autocast.h computes it in: "low", "f32", "widest"; "" leaves it alone */
} rl_op_info;
/* Ops in alphabetical order: how many, and the one of that number; false where there is none. */
RL_API size_t rl_op_count(void);
RL_API bool rl_op_describe(size_t number, rl_op_info *out_info);

#ifdef __cplusplus
}
#endif
#endif
