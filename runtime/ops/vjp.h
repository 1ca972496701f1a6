/* SPDX-License-Identifier: Apache-2.0 */
/* What stands behind rl_vjp (op.h). The derivatives of ops speak to it; the layer that walks the graph implements it.
 */
#ifndef RUSHLIGHT_RUNTIME_OPS_VJP_H
#define RUSHLIGHT_RUNTIME_OPS_VJP_H

#include "ops/op.h"

typedef struct rl_vjp_methods { /* each as the function of its name in op.h */
    rl_tensor *(*grad)(rl_vjp *self, int result);
    rl_tensor *(*input)(rl_vjp *self, int arg);
    rl_tensor *(*result)(rl_vjp *self, int result);
    const rl_value *(*arg)(rl_vjp *self, int arg);
    const rl_meta *(*meta)(rl_vjp *self, int arg);
    bool (*needs)(const rl_vjp *self, int arg);
    void (*set)(rl_vjp *self, int arg, rl_tensor *gradient);
    void (*set_element)(rl_vjp *self, int arg, int64_t i, rl_tensor *gradient);
    const rl_meta *(*element_meta)(rl_vjp *self, int arg, int64_t i);
    int64_t (*element_count)(rl_vjp *self, int arg);
} rl_vjp_methods;

struct rl_vjp { /* stands first in the implementation's own struct */
    const rl_vjp_methods *methods;
};

#endif
