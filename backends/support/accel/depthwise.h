/* SPDX-License-Identifier: Apache-2.0 */
/* The convolutions whose groups have one input channel (device/depthwise.h has how), for conv.c. */
#ifndef RL_ACCEL_DEPTHWISE_H
#define RL_ACCEL_DEPTHWISE_H

#include "device/params.h"
#include "kernel.h"

typedef struct rl_depthwise {
    uint32_t dtype, activation;                        /* rl_activation */
    const rl_operand *in, *weight, *bias, *grad, *out; /* absent: NULL; without weight it is its gradient, `out` */
    rl_depthwise_params params; /* but what follows from the rest: offsets, skip, count, taps, sizes of memory */
} rl_depthwise;

/* Whether a device is to take these args so; then rl_depthwise_run takes them. */
int rl_depthwise_takes(const rl_accel *self, const rl_conv_args *args);
rl_status rl_depthwise_run(rl_backend_stream *stream, const char *row, rl_depthwise *depthwise);

#endif
