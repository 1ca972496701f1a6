/* SPDX-License-Identifier: Apache-2.0 */
/* What the two directions of native_norm share: the reading of their arguments and the pieces of their programs. */
#ifndef RUSHLIGHT_RUNTIME_OPS_OP_NATIVE_NORM_H
#define RUSHLIGHT_RUNTIME_OPS_OP_NATIVE_NORM_H

#include "ops/op_reduce.h"

/* The variant of a program's key; the dtype of weight and bias stands above these bits. */
enum {
    RL_NORM_CENTER = 1,
    RL_NORM_WEIGHT = 2,
    RL_NORM_BIAS = 4,
    RL_NORM_GRAD_WEIGHT = 8,
    RL_NORM_GRAD_BIAS = 16,
    RL_NORM_PARAM_SHIFT = 8
};

typedef struct rl_norm_shape {
    uint32_t normalized, affine; /* masks of input's dimensions, as in rl_norm_args */
    double count;                /* of elements that are normalized together */
    rl_dtype stat;               /* of mean and var, and of what is computed: F64 for F64, else F32 */
    rl_dtype param;              /* of weight and bias */
} rl_norm_shape;

/* Checks input, dim, and one of weight and bias or none, which broadcasts to input. */
rl_status rl_norm_read(const rl_call *call, int input, int dim, const rl_tensor *affine, rl_norm_shape *out);
/* The shape with the dimensions outside of `kept` as 1. */
void rl_norm_kept(const rl_tensor *input, uint32_t kept, int64_t *out_shape);
/* Meta of a result that is absent: no elements. */
void rl_norm_absent(rl_call *call, int result);
/* `t`, which broadcasts to input, with strides over input's shape; NULL stays NULL. */
rl_tensor *rl_norm_over_input(const rl_tensor *input, rl_tensor *t);

/* The first inputs of each program: x, mean where it is centered, var; and the first scalar, eps. Gives z = (x - mean)
 * / sqrt(var + eps), and the root. */
rl_pw rl_norm_write_standard(rl_builder *b, uint32_t key, rl_pw *out_root);
/* The next input, stored as weight and bias are. */
rl_pw rl_norm_write_param(rl_builder *b, uint32_t key);

#endif
