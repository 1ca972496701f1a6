/* SPDX-License-Identifier: Apache-2.0 */
/* Autocast: each op of a region in the dtype that is right for it. */
#ifndef RUSHLIGHT_AUTOCAST_H
#define RUSHLIGHT_AUTOCAST_H

#include "rushlight/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Autocast. Within a region, ops that gain by it (linear, matmul, convolutions ...) compute in f16 or bf16, those that
 * need it (losses, prod ...) in f32, and those that join tensors in the widest dtype of these: `rushlight ops` says
 * which; they are those of torch.autocast('cpu'), on every device. Parameters stay f32: their casts are made once in a
 * region, and again where a parameter has been changed since. Casts are differentiable; a backward runs each op in the
 * dtype of its forward, inside of a region or outside. f64, integers and in-place ops are left alone. Of the thread.
 *
 *     {
 *         RL_AUTOCAST(RL_BF16);                      // until the brace ends
 *         loss = rl_cross_entropy(rl_module_forward(net, x), y);
 *     }
 *     rl_backward(loss);
 */
typedef struct rl_autocast_options {
    size_t struct_size;
    rl_device *device;     /* on devices of this kind (host or accelerator) alone; default: on all */
    int64_t cache_enabled; /* default true; RL_ZERO: parameters are cast at each use */
} rl_autocast_options;
typedef struct rl_autocast { /* what was before a region began */
    uint8_t dtype[2];
    bool cache, outermost;
} rl_autocast;
/* Begins a region: dtype RL_F16 or RL_BF16, or RL_DTYPE_NONE to switch it off. For bindings; regions nest, and the end
 * of each brings back what was. */
RL_API rl_autocast rl_autocast_begin_opt(rl_dtype dtype, const rl_autocast_options *options);
#define rl_autocast_begin(...)                                                                                         \
    rl_autocast_begin_opt(RL_TAKE1_(__VA_ARGS__, ), &(rl_autocast_options){.struct_size = sizeof(rl_autocast_options), \
                                                                           RL_DROP1_(__VA_ARGS__, )})
RL_API void rl_autocast_end(rl_autocast before);
/* What ops on `device` (NULL: on a host) are cast to; RL_DTYPE_NONE outside of every region. */
RL_API rl_dtype rl_autocast_dtype(const rl_device *device);

static inline void rl_autocast_leave_(rl_autocast *before) {
    rl_autocast_end(*before);
}
#define RL_AUTOCAST_NAME_(line) rl_autocast_guard_##line
#define RL_AUTOCAST_LINE_(line) RL_AUTOCAST_NAME_(line)
#define RL_AUTOCAST(...)                                                                                               \
    __attribute__((cleanup(rl_autocast_leave_), unused)) rl_autocast RL_AUTOCAST_LINE_(__LINE__) =                     \
        rl_autocast_begin(__VA_ARGS__)

#ifdef __cplusplus
}
#endif
#endif
