/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RUSHLIGHT_BACKENDS_ONEDNN_CONV_SMALL_H
#define RUSHLIGHT_BACKENDS_ONEDNN_CONV_SMALL_H

#include "conv_primitive.h"

#define OD_CONV_SMALL 20e3 /* multiplications up to which a primitive's call costs more than plain loops */

/* A convolution of f32 or one of its gradients, whatever the strides. Nothing can fail. */
void od_conv_small(const rl_conv_args *args, od_conv_kind kind);

#endif
