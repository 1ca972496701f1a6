/* SPDX-License-Identifier: Apache-2.0 */
/* oneDNN's convolution primitives with channels innermost, prepared once for each geometry: of f32, and of the half
 * floats that the processor multiplies itself. */
#ifndef RUSHLIGHT_BACKENDS_ONEDNN_CONV_PRIMITIVE_H
#define RUSHLIGHT_BACKENDS_ONEDNN_CONV_PRIMITIVE_H

#include <oneapi/dnnl/dnnl.h>

#include "library.h"
#include "prepared.h"

typedef enum od_conv_kind { OD_CONV_FORWARD, OD_CONV_GRAD_INPUT, OD_CONV_GRAD_WEIGHT } od_conv_kind;

typedef struct od_conv_key { /* no padding bytes; all of them count */
    int32_t kind, has_bias;  /* od_conv_kind */
    int32_t dtype, reserved; /* of activations and the weight: rl_dtype; a bias and a gradient of the weight are F32 */
    int64_t spatial, batch, in_channels, out_channels, groups;
    int64_t in_size[3], out_size[3], kernel[3], stride[3], padding[3], dilation[3];
    int64_t weight_stride[5]; /* of the weight before it is reordered, in elements: output, input, kernel */
} od_conv_key;

typedef struct od_conv {
    od_prepared prepared;
    od_conv_key key;
    dnnl_primitive_desc_t description, reorder_description;
    dnnl_primitive_t primitive, reorder; /* reorder: the weight from memory to the primitive's order, or back */
    dnnl_memory_desc_t plain;            /* the weight in memory */
    const_dnnl_memory_desc_t weight, scratch;
    od_launcher run, bring; /* of the two primitives */
    int slow;               /* the library has only a slow way, or none: there is no primitive */
} od_conv;

extern od_prepared_table od_convs;
/* The primitive of a key, to be given back; NULL where the status is not RL_OK. RL_UNSUPPORTED, without a sentence: the
 * library has no fast one of half floats. */
rl_status od_conv_take(const od_conv_key *key, od_conv **out);
static inline void od_conv_give(od_conv *self) {
    od_prepared_give(&od_convs, self ? &self->prepared : NULL);
}

/* Bytes of the weight in the primitive's order, and of its scratch memory. */
size_t od_conv_weight_bytes(const od_conv *self);
size_t od_conv_scratch_bytes(const od_conv *self);
/* The weight between memory and the primitive's order. */
rl_status od_conv_reorder(od_conv *self, void *plain, void *ordered);
/* On the calling thread alone. src and dst are packed with channels innermost; weight is in the primitive's order. */
rl_status od_conv_run(od_conv *self, void *src, void *weight, void *bias, void *dst, void *scratch);

#endif
