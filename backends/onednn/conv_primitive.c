/* SPDX-License-Identifier: Apache-2.0 */
#include "conv_primitive.h"

#include <stdio.h>
#include <string.h>

#include "library.h"

static rl_status make(od_prepared *entry);
static void drop(od_prepared *entry);
od_prepared_table od_convs = OD_PREPARED_TABLE(od_conv, od_conv_key, 512, 0, make, drop, NULL);

static dnnl_data_type_t type_of(int32_t dtype) {
    return dtype == RL_BF16 ? dnnl_bf16 : dtype == RL_F16 ? dnnl_f16 : dnnl_f32;
}

/* A gradient of the weight is summed up, over parts, as floats. */
static dnnl_data_type_t weight_type(const od_conv_key *k) {
    return k->kind == OD_CONV_GRAD_WEIGHT ? dnnl_f32 : type_of(k->dtype);
}

static dnnl_status_t describe(const od_conv_key *k, int64_t channels, const int64_t *size, dnnl_memory_desc_t *out) {
    static const dnnl_format_tag_t tags[] = {dnnl_nwc, dnnl_nhwc, dnnl_ndhwc};
    dnnl_dims_t dims = {k->batch, channels};
    for (int64_t d = 0; d < k->spatial; d++)
        dims[d + 2] = size[d];
    return dnnl_memory_desc_create_with_tag(out, (int)k->spatial + 2, dims, type_of(k->dtype), tags[k->spatial - 1]);
}

/* (outputs, inputs, kernel ...), or with groups before it: as it lies in memory, or in whatever order the primitive
 * likes. */
static dnnl_status_t describe_weight(const od_conv_key *k, dnnl_data_type_t type, int as_it_lies,
                                     dnnl_memory_desc_t *out) {
    dnnl_dims_t dims, strides;
    int n = 0;
    if (k->groups > 1) {
        strides[n] = k->out_channels / k->groups * k->weight_stride[0];
        dims[n++] = k->groups;
    }
    const int64_t shape[5] = {k->out_channels / k->groups, k->in_channels / k->groups, k->kernel[0], k->kernel[1],
                              k->kernel[2]};
    for (int64_t d = 0; d < k->spatial + 2; d++) {
        strides[n] = k->weight_stride[d];
        dims[n++] = shape[d];
    }
    return as_it_lies ? dnnl_memory_desc_create_with_strides(out, n, dims, type, strides)
                      : dnnl_memory_desc_create_with_tag(out, n, dims, type, dnnl_format_tag_any);
}

/* As oneDNN counts: dilation from 0, padding behind is what the windows reach over the end. */
typedef struct geometry {
    dnnl_dims_t stride, front, back, dilation;
} geometry;
static geometry geometry_of(const od_conv_key *k) {
    geometry g = {.stride = {0}};
    for (int64_t d = 0; d < k->spatial; d++) {
        const int64_t reach = (k->out_size[d] - 1) * k->stride[d] + (k->kernel[d] - 1) * k->dilation[d] + 1;
        const int64_t over = reach - k->in_size[d] - k->padding[d];
        g.stride[d] = k->stride[d];
        g.front[d] = k->padding[d];
        g.back[d] = over > 0 ? over : 0;
        g.dilation[d] = k->dilation[d] - 1;
    }
    return g;
}

/* `hint`: the weight of the forward primitive, of which the library wants to know for both gradients. */
static dnnl_status_t make_primitive(od_conv *self, dnnl_memory_desc_t src, dnnl_memory_desc_t weight,
                                    dnnl_memory_desc_t hint, dnnl_memory_desc_t bias, dnnl_memory_desc_t dst,
                                    dnnl_primitive_attr_t attr) {
    const od_conv_key *k = &self->key;
    const geometry g = geometry_of(k);
    dnnl_primitive_desc_t forward = NULL;
    dnnl_status_t status = dnnl_convolution_forward_primitive_desc_create(
        k->kind == OD_CONV_FORWARD ? &self->description : &forward, od_engine(), dnnl_forward_training,
        dnnl_convolution_direct, src, hint, bias, dst, g.stride, g.dilation, g.front, g.back, attr);
    if (status == dnnl_success && k->kind == OD_CONV_GRAD_INPUT)
        status = dnnl_convolution_backward_data_primitive_desc_create(
            &self->description, od_engine(), dnnl_convolution_direct, src, weight, dst, g.stride, g.dilation, g.front,
            g.back, forward, attr);
    if (status == dnnl_success && k->kind == OD_CONV_GRAD_WEIGHT)
        status = dnnl_convolution_backward_weights_primitive_desc_create(
            &self->description, od_engine(), dnnl_convolution_direct, src, weight, NULL, dst, g.stride, g.dilation,
            g.front, g.back, forward, attr);
    (void)dnnl_primitive_desc_destroy(forward);
    const char *name = "";
    if (status == dnnl_success && k->dtype != RL_F32)
        status = dnnl_primitive_desc_query(self->description, dnnl_query_impl_info_str, 0, (void *)&name);
    if (status == dnnl_success && strncmp(name, "ref", 3) == 0)
        status = dnnl_unimplemented;
    return status == dnnl_success ? dnnl_primitive_create(&self->primitive, self->description) : status;
}

static const_dnnl_memory_desc_t described(const od_conv *self, dnnl_query_t what, int number) {
    return dnnl_primitive_desc_query_md(self->description, what, number);
}

/* What the primitive made of the descriptions. */
static void make_launcher(od_conv *self) {
    const int kind = self->key.kind;
    od_launcher *run = &self->run;
    self->weight = described(self, kind == OD_CONV_GRAD_WEIGHT ? dnnl_query_diff_weights_md : dnnl_query_weights_md, 0);
    self->scratch = described(self, dnnl_query_scratchpad_md, 0);
    run->primitive = self->primitive;
    if (kind == OD_CONV_GRAD_INPUT)
        od_launcher_add(run, DNNL_ARG_DIFF_SRC, described(self, dnnl_query_diff_src_md, 0));
    else
        od_launcher_add(run, DNNL_ARG_SRC, described(self, dnnl_query_src_md, 0));
    od_launcher_add(run, kind == OD_CONV_GRAD_WEIGHT ? DNNL_ARG_DIFF_WEIGHTS : DNNL_ARG_WEIGHTS, self->weight);
    if (kind == OD_CONV_FORWARD)
        od_launcher_add(run, DNNL_ARG_DST, described(self, dnnl_query_dst_md, 0));
    else
        od_launcher_add(run, DNNL_ARG_DIFF_DST, described(self, dnnl_query_diff_dst_md, 0));
    od_launcher_add(run, DNNL_ARG_SCRATCHPAD, self->scratch);
    if (self->key.has_bias)
        od_launcher_add(run, DNNL_ARG_BIAS, described(self, dnnl_query_weights_md, 1));
}

/* The way of the weight to the primitive or from it. */
static dnnl_status_t make_reorder(od_conv *self) {
    dnnl_status_t status = describe_weight(&self->key, weight_type(&self->key), 1, &self->plain);
    if (status != dnnl_success)
        return status;
    const int back = self->key.kind == OD_CONV_GRAD_WEIGHT;
    const const_dnnl_memory_desc_t from = back ? self->weight : self->plain, to = back ? self->plain : self->weight;
    status = dnnl_reorder_primitive_desc_create(&self->reorder_description, from, od_engine(), to, od_engine(), NULL);
    if (status == dnnl_success)
        status = dnnl_primitive_create(&self->reorder, self->reorder_description);
    self->bring.primitive = self->reorder;
    od_launcher_add(&self->bring, DNNL_ARG_FROM, from);
    od_launcher_add(&self->bring, DNNL_ARG_TO, to);
    return status;
}

static rl_status fail(const od_conv_key *k, dnnl_status_t status) {
    static const char *const names[] = {"conv", "conv_grad_input", "conv_grad_weight"};
    char in[64] = "", kernel[64] = "";
    int a = 0, b = 0;
    for (int64_t d = 0; d < k->spatial; d++) {
        a += snprintf(in + a, sizeof in - (size_t)a, ", %lld", (long long)k->in_size[d]);
        b += snprintf(kernel + b, sizeof kernel - (size_t)b, ", %lld", (long long)k->kernel[d]);
    }
    return od_host->fail(status == dnnl_out_of_memory ? RL_OUT_OF_MEMORY : RL_INTERNAL,
                         "onednn: %s of input (%lld, %lld%s) and weight (%lld, %lld%s): %s", names[k->kind],
                         (long long)k->batch, (long long)k->in_channels, in, (long long)k->out_channels,
                         (long long)(k->in_channels / k->groups), kernel,
                         status == dnnl_out_of_memory ? "no memory for its primitive" : "oneDNN has no primitive");
}

static rl_status make(od_prepared *entry) {
    od_conv *self = (od_conv *)(void *)entry;
    const od_conv_key *k = &self->key;
    dnnl_memory_desc_t src = NULL, dst = NULL, weight = NULL, hint = NULL, bias = NULL;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_status_t status = dnnl_primitive_attr_create(&attr);
    if (status == dnnl_success)
        status = describe(k, k->in_channels, k->in_size, &src);
    if (status == dnnl_success)
        status = describe(k, k->out_channels, k->out_size, &dst);
    if (status == dnnl_success)
        status = describe_weight(k, weight_type(k), 0, &weight);
    if (status == dnnl_success)
        status = describe_weight(k, type_of(k->dtype), 0, &hint);
    if (k->has_bias && status == dnnl_success)
        status = dnnl_memory_desc_create_with_tag(&bias, 1, (dnnl_dims_t){k->out_channels}, dnnl_f32, dnnl_a);
    if (status == dnnl_success) /* scratch of our own: the library's belongs to the thread that made the primitive */
        status = dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user);
    const od_library_state saved = od_library_begin(); /* it is going to run on one thread */
    if (status == dnnl_success && od_engine() == NULL)
        status = dnnl_out_of_memory;
    if (status == dnnl_success)
        status = make_primitive(self, src, weight, hint, bias, dst, attr);
    if (status == dnnl_success) {
        make_launcher(self);
        status = make_reorder(self);
    }
    od_library_end(&saved);
    (void)dnnl_primitive_attr_destroy(attr);
    const dnnl_memory_desc_t all[] = {src, dst, weight, hint, bias};
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
        (void)dnnl_memory_desc_destroy(all[i]);
    self->slow = status == dnnl_unimplemented && k->dtype != RL_F32; /* which is kept like a primitive */
    return status == dnnl_success || self->slow ? RL_OK : fail(k, status);
}

rl_status od_conv_take(const od_conv_key *key, od_conv **out) {
    od_prepared *entry;
    const rl_status status = od_prepared_take(&od_convs, key, &entry);
    *out = (od_conv *)(void *)entry;
    if (status != RL_OK || !(*out)->slow)
        return status;
    od_conv_give(*out);
    *out = NULL;
    return RL_UNSUPPORTED;
}

static void drop(od_prepared *entry) {
    od_conv *self = (od_conv *)(void *)entry;
    od_launcher_clear(&self->run);
    od_launcher_clear(&self->bring);
    (void)dnnl_primitive_destroy(self->reorder);
    (void)dnnl_primitive_desc_destroy(self->reorder_description);
    (void)dnnl_primitive_destroy(self->primitive);
    (void)dnnl_primitive_desc_destroy(self->description);
    (void)dnnl_memory_desc_destroy(self->plain);
}

size_t od_conv_weight_bytes(const od_conv *self) {
    return dnnl_memory_desc_get_size(self->weight);
}
size_t od_conv_scratch_bytes(const od_conv *self) {
    return dnnl_memory_desc_get_size(self->scratch);
}

rl_status od_conv_reorder(od_conv *self, void *plain, void *ordered) {
    const int back = self->key.kind == OD_CONV_GRAD_WEIGHT;
    return od_launcher_run(&self->bring, (void *const[]){back ? ordered : plain, back ? plain : ordered});
}

rl_status od_conv_run(od_conv *self, void *src, void *weight, void *bias, void *dst, void *scratch) {
    return od_launcher_run(&self->run, (void *const[]){src, weight, dst, scratch, bias});
}
