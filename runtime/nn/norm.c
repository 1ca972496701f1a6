/* SPDX-License-Identifier: Apache-2.0 */
/* Normalizations: layers of the ops of their names; batch and instance norm keep running statistics as buffers. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/sized.h"
#include "nn/module.h"
#include "nn/numbers.h"
#include "rushlight/autograd.h"
#include "rushlight/ops.h"

#define DATA(self) rl_module_data(self)

static const char *word(bool x) {
    return x ? "True" : "False";
}
/* A parameter or a buffer of one number. */
static rl_tensor *filled(rl_ints shape, double value, rl_dtype dtype, rl_device *device) {
    return rl_full(shape, value, .dtype = dtype ? dtype : RL_F32, .device = device);
}

/* LayerNorm, RMSNorm ---------------------------------------------------------------------------------------------- */

typedef struct last_norm {
    int64_t ndim, shape[RL_NN_MAX_NORMALIZED];
    double eps; /* as an option: 0 for the default */
    bool affine;
    rl_tensor *weight, *bias; /* borrowed from the entries */
} last_norm;

static rl_tensor *layer_norm_forward(rl_module *self, rl_tensor *input) {
    const last_norm *n = DATA(self);
    return rl_layer_norm(input, RL_INTS(n->shape, n->ndim), .weight = n->weight, .bias = n->bias, .eps = n->eps);
}
static rl_tensor *rms_norm_forward(rl_module *self, rl_tensor *input) {
    const last_norm *n = DATA(self);
    return rl_rms_norm(input, RL_INTS(n->shape, n->ndim), .weight = n->weight, .eps = n->eps);
}

/* "(2, 3)", "(4,)" */
static size_t write_shape(const last_norm *n, char *text, size_t room) {
    size_t at = (size_t)snprintf(text, room, "(");
    for (int64_t d = 0; d < n->ndim && at < room; d++)
        at += (size_t)snprintf(text + at, room - at, "%s%lld", d > 0 ? ", " : "", (long long)n->shape[d]);
    if (at < room)
        at += (size_t)snprintf(text + at, room - at, n->ndim == 1 ? ",)" : ")");
    return at < room ? at : room;
}
static void layer_norm_describe(const rl_module *self, char *text, size_t room) {
    const last_norm *n = DATA(self);
    size_t at = write_shape(n, text, room);
    snprintf(text + at, room - at, ", eps=%s, elementwise_affine=%s, bias=%s",
             PYTHON_FLOAT(rl_option_real(n->eps, 1e-5)), word(n->affine), word(n->bias != NULL));
}
static void rms_norm_describe(const rl_module *self, char *text, size_t room) {
    const last_norm *n = DATA(self);
    size_t at = write_shape(n, text, room);
    snprintf(text + at, room - at, ", eps=%s, elementwise_affine=%s",
             n->eps == 0.0 ? "None" : PYTHON_FLOAT(rl_option_real(n->eps, 0.0)), word(n->affine));
}
static const rl_module_class layer_norm_class = {.struct_size = sizeof(rl_module_class),
                                                 .name = "LayerNorm",
                                                 .data_bytes = sizeof(last_norm),
                                                 .forward = layer_norm_forward,
                                                 .describe = layer_norm_describe};
static const rl_module_class rms_norm_class = {.struct_size = sizeof(rl_module_class),
                                               .name = "RMSNorm",
                                               .data_bytes = sizeof(last_norm),
                                               .forward = rms_norm_forward,
                                               .describe = rms_norm_describe};

static rl_module *last_norm_new(const rl_module_class *klass, const char *name, rl_ints shape, double eps, bool affine,
                                bool bias, rl_dtype dtype, rl_device *device) {
    if (shape.count < 1 || shape.count > RL_NN_MAX_NORMALIZED || shape.data == NULL)
        return rl_fail_null(RL_INVALID_ARGUMENT, "%s: normalized_shape must have 1 to %d sizes, has %lld", name,
                            RL_NN_MAX_NORMALIZED, (long long)shape.count);
    rl_module *self = rl_module_new(klass);
    if (self == NULL)
        return NULL;
    last_norm *n = DATA(self);
    n->ndim = shape.count;
    n->eps = eps;
    n->affine = affine;
    memcpy(n->shape, shape.data, (size_t)shape.count * sizeof *shape.data);
    RL_SCOPE();
    if (affine)
        n->weight = rl_module_add_parameter(self, "weight", filled(shape, 1.0, dtype, device));
    if (affine && bias)
        n->bias = rl_module_add_parameter(self, "bias", filled(shape, 0.0, dtype, device));
    return rl_failed() ? NULL : self;
}

rl_module *rl_nn_layer_norm_opt(rl_ints normalized_shape, const rl_nn_layer_norm_options *given) {
    rl_nn_layer_norm_options o = {0};
    if (rl_failed() || rl_sized_take("layer_norm", &o, sizeof o, given) != RL_OK)
        return NULL;
    return last_norm_new(&layer_norm_class, "layer_norm", normalized_shape, o.eps,
                         rl_option_truth(o.elementwise_affine, true), rl_option_truth(o.bias, true), o.dtype, o.device);
}
rl_module *rl_nn_rms_norm_opt(rl_ints normalized_shape, const rl_nn_rms_norm_options *given) {
    rl_nn_rms_norm_options o = {0};
    if (rl_failed() || rl_sized_take("rms_norm", &o, sizeof o, given) != RL_OK)
        return NULL;
    return last_norm_new(&rms_norm_class, "rms_norm", normalized_shape, o.eps,
                         rl_option_truth(o.elementwise_affine, true), false, o.dtype, o.device);
}

/* GroupNorm ------------------------------------------------------------------------------------------------------- */

typedef struct group_norm {
    int64_t groups, channels;
    double eps;
    bool affine;
    rl_tensor *weight, *bias; /* borrowed from the entries */
} group_norm;

static rl_tensor *group_norm_forward(rl_module *self, rl_tensor *input) {
    const group_norm *n = DATA(self);
    return rl_group_norm(input, n->groups, .weight = n->weight, .bias = n->bias, .eps = rl_option_of_real(n->eps));
}
static void group_norm_describe(const rl_module *self, char *text, size_t room) {
    const group_norm *n = DATA(self);
    snprintf(text, room, "%lld, %lld, eps=%s, affine=%s, bias=%s", (long long)n->groups, (long long)n->channels,
             PYTHON_FLOAT(n->eps), word(n->affine), word(n->bias != NULL));
}
static const rl_module_class group_norm_class = {.struct_size = sizeof(rl_module_class),
                                                 .name = "GroupNorm",
                                                 .data_bytes = sizeof(group_norm),
                                                 .forward = group_norm_forward,
                                                 .describe = group_norm_describe};

rl_module *rl_nn_group_norm_opt(int64_t groups, int64_t channels, const rl_nn_group_norm_options *given) {
    rl_nn_group_norm_options o = {0};
    if (rl_failed() || rl_sized_take("group_norm", &o, sizeof o, given) != RL_OK)
        return NULL;
    if (groups < 1 || channels < 0 || channels % groups != 0)
        return rl_fail_null(RL_INVALID_ARGUMENT, "group_norm: num_channels %lld must be a multiple of num_groups %lld",
                            (long long)channels, (long long)groups);
    rl_module *self = rl_module_new(&group_norm_class);
    if (self == NULL)
        return NULL;
    group_norm *n = DATA(self);
    *n = (group_norm){groups, channels, rl_option_real(o.eps, 1e-5), rl_option_truth(o.affine, true), NULL, NULL};
    RL_SCOPE();
    if (n->affine)
        n->weight = rl_module_add_parameter(self, "weight", filled(RL_DIMS(channels), 1.0, o.dtype, o.device));
    if (n->affine && rl_option_truth(o.bias, true))
        n->bias = rl_module_add_parameter(self, "bias", filled(RL_DIMS(channels), 0.0, o.dtype, o.device));
    return rl_failed() ? NULL : self;
}

/* BatchNorm, InstanceNorm ----------------------------------------------------------------------------------------- */

typedef struct channel_norm {
    int64_t features;
    double eps, momentum;
    bool affine, tracks, cumulative;
    rl_tensor *weight, *bias, *mean, *var, *count; /* borrowed from the entries; NULL where absent */
} channel_norm;

static void channel_norm_describe(const rl_module *self, char *text, size_t room) {
    const channel_norm *n = DATA(self);
    snprintf(text, room, "%lld, eps=%s, momentum=%s, affine=%s, bias=%s, track_running_stats=%s",
             (long long)n->features, PYTHON_FLOAT(n->eps), n->cumulative ? "None" : PYTHON_FLOAT(n->momentum),
             word(n->affine), word(n->bias != NULL), word(n->tracks));
}

/* The dimensions that an input may have: those of the spatial ones, and one or two before them. */
static rl_status check_dims(const rl_module *self, const rl_tensor *input, int64_t least, int64_t most) {
    const int64_t ndim = rl_tensor_ndim(input);
    if (ndim >= least && ndim <= most)
        return RL_OK;
    if (least == most)
        return rl_fail(RL_SHAPE_MISMATCH, "%s: input must have %lld dimensions, has %lld", self->klass->name,
                       (long long)least, (long long)ndim);
    return rl_fail(RL_SHAPE_MISMATCH, "%s: input must have %lld or %lld dimensions, has %lld", self->klass->name,
                   (long long)least, (long long)most, (long long)ndim);
}
static rl_status check_features(const rl_module *self, const rl_tensor *input, int64_t dim) {
    const channel_norm *n = DATA(self);
    if ((n->weight == NULL && n->mean == NULL) || rl_tensor_size(input, dim) == n->features)
        return RL_OK;
    return rl_fail(RL_SHAPE_MISMATCH, "%s: input must have %lld channels along dimension %lld, has %lld",
                   self->klass->name, (long long)n->features, (long long)dim, (long long)rl_tensor_size(input, dim));
}

/* How far the running statistics move: of a cumulative average by one over the batches so far. */
static double next_momentum(channel_norm *n) {
    RL_NO_GRAD();
    if (n->count)
        rl_add_(n->count, 1);
    return n->cumulative && n->count ? 1.0 / rl_item(n->count) : n->momentum;
}

static rl_tensor *batch_norm_forward(rl_module *self, rl_tensor *input, int64_t least, int64_t most) {
    channel_norm *n = DATA(self);
    if (check_dims(self, input, least, most) != RL_OK || check_features(self, input, 1) != RL_OK)
        return NULL;
    const bool training = rl_module_is_training(self), by_batch = training || !n->tracks;
    const double momentum = training && n->tracks ? next_momentum(n) : n->momentum;
    return rl_batch_norm(input, n->mean, n->var, .weight = n->weight, .bias = n->bias, .training = by_batch,
                         .momentum = rl_option_of_real(momentum), .eps = rl_option_of_real(n->eps));
}

/* Without a batch dimension one is lent. Instances are always normalized by themselves, but in evaluation where running
 * statistics are kept; cumulative ones stay as they are, as PyTorch's do. */
static rl_tensor *instance_norm_forward(rl_module *self, rl_tensor *input, int64_t spatial) {
    channel_norm *n = DATA(self);
    if (check_dims(self, input, spatial + 1, spatial + 2) != RL_OK)
        return NULL;
    const bool single = rl_tensor_ndim(input) == spatial + 1;
    if (check_features(self, input, single ? 0 : 1) != RL_OK)
        return NULL;
    const bool by_input = rl_module_is_training(self) || !n->tracks;
    rl_tensor *x = single ? rl_unsqueeze(input, 0) : input;
    rl_tensor *y = rl_instance_norm(x, .running_mean = n->mean, .running_var = n->var, .weight = n->weight,
                                    .bias = n->bias, .use_input_stats = rl_option_of_truth(by_input),
                                    .momentum = rl_option_of_real(n->cumulative ? 0.0 : n->momentum),
                                    .eps = rl_option_of_real(n->eps));
    return y && single ? rl_squeeze(y, .dim = RL_DIMS(0)) : y;
}

static rl_module *channel_norm_new(const rl_module_class *klass, const char *name, int64_t features,
                                   const rl_nn_batch_norm_options *given, bool otherwise) {
    rl_nn_batch_norm_options o = {0};
    if (rl_failed() || rl_sized_take(name, &o, sizeof o, given) != RL_OK)
        return NULL;
    if (features < 0)
        return rl_fail_null(RL_INVALID_ARGUMENT, "%s: num_features must not be negative, got %lld", name,
                            (long long)features);
    rl_module *self = rl_module_new(klass);
    if (self == NULL)
        return NULL;
    channel_norm *n = DATA(self);
    *n = (channel_norm){.features = features,
                        .eps = rl_option_real(o.eps, 1e-5),
                        .momentum = rl_option_real(o.momentum, 0.1),
                        .affine = rl_option_truth(o.affine, otherwise),
                        .tracks = rl_option_truth(o.track_running_stats, otherwise),
                        .cumulative = o.cumulative};
    rl_ints shape = RL_DIMS(features);
    RL_SCOPE();
    if (n->affine)
        n->weight = rl_module_add_parameter(self, "weight", filled(shape, 1.0, o.dtype, o.device));
    if (n->affine && rl_option_truth(o.bias, true))
        n->bias = rl_module_add_parameter(self, "bias", filled(shape, 0.0, o.dtype, o.device));
    if (n->tracks) {
        n->mean = rl_module_add_buffer(self, "running_mean", filled(shape, 0.0, o.dtype, o.device));
        n->var = rl_module_add_buffer(self, "running_var", filled(shape, 1.0, o.dtype, o.device));
        n->count = rl_module_add_buffer(self, "num_batches_tracked", filled(RL_NO_DIMS, 0.0, RL_I64, o.device));
    }
    return rl_failed() ? NULL : self;
}

#define BATCH_NORM(k, least, most)                                                                                     \
    static rl_tensor *batch_norm##k##d_forward(rl_module *self, rl_tensor *input) {                                    \
        return batch_norm_forward(self, input, least, most);                                                           \
    }                                                                                                                  \
    static const rl_module_class batch_norm##k##d_class = {.struct_size = sizeof(rl_module_class),                     \
                                                           .name = "BatchNorm" #k "d",                                 \
                                                           .data_bytes = sizeof(channel_norm),                         \
                                                           .forward = batch_norm##k##d_forward,                        \
                                                           .describe = channel_norm_describe};                         \
    rl_module *rl_nn_batch_norm##k##d_opt(int64_t num_features, const rl_nn_batch_norm_options *options) {             \
        return channel_norm_new(&batch_norm##k##d_class, "batch_norm" #k "d", num_features, options, true);            \
    }
BATCH_NORM(1, 2, 3)
BATCH_NORM(2, 4, 4)
BATCH_NORM(3, 5, 5)

#define INSTANCE_NORM(k)                                                                                               \
    static rl_tensor *instance_norm##k##d_forward(rl_module *self, rl_tensor *input) {                                 \
        return instance_norm_forward(self, input, k);                                                                  \
    }                                                                                                                  \
    static const rl_module_class instance_norm##k##d_class = {.struct_size = sizeof(rl_module_class),                  \
                                                              .name = "InstanceNorm" #k "d",                           \
                                                              .data_bytes = sizeof(channel_norm),                      \
                                                              .forward = instance_norm##k##d_forward,                  \
                                                              .describe = channel_norm_describe};                      \
    rl_module *rl_nn_instance_norm##k##d_opt(int64_t num_features, const rl_nn_batch_norm_options *options) {          \
        return channel_norm_new(&instance_norm##k##d_class, "instance_norm" #k "d", num_features, options, false);     \
    }
INSTANCE_NORM(1)
INSTANCE_NORM(2)
INSTANCE_NORM(3)

/* LocalResponseNorm ----------------------------------------------------------------------------------------------- */

typedef struct local_response_norm {
    int64_t size;
    double alpha, beta, k;
} local_response_norm;

static rl_tensor *local_response_norm_forward(rl_module *self, rl_tensor *input) {
    const local_response_norm *n = DATA(self);
    return rl_local_response_norm(input, n->size, .alpha = rl_option_of_real(n->alpha),
                                  .beta = rl_option_of_real(n->beta), .k = rl_option_of_real(n->k));
}
static void local_response_norm_describe(const rl_module *self, char *text, size_t room) {
    const local_response_norm *n = DATA(self);
    snprintf(text, room, "%lld, alpha=%s, beta=%s, k=%s", (long long)n->size, PYTHON_FLOAT(n->alpha),
             PYTHON_FLOAT(n->beta), PYTHON_FLOAT(n->k));
}
static const rl_module_class local_response_norm_class = {.struct_size = sizeof(rl_module_class),
                                                          .name = "LocalResponseNorm",
                                                          .data_bytes = sizeof(local_response_norm),
                                                          .forward = local_response_norm_forward,
                                                          .describe = local_response_norm_describe};

rl_module *rl_nn_local_response_norm_opt(int64_t size, const rl_nn_local_response_norm_options *given) {
    rl_nn_local_response_norm_options o = {0};
    if (rl_failed() || rl_sized_take("local_response_norm", &o, sizeof o, given) != RL_OK)
        return NULL;
    if (size < 1)
        return rl_fail_null(RL_INVALID_ARGUMENT, "local_response_norm: size must be positive, got %lld",
                            (long long)size);
    rl_module *self = rl_module_new(&local_response_norm_class);
    if (self)
        *(local_response_norm *)DATA(self) = (local_response_norm){
            size, rl_option_real(o.alpha, 1e-4), rl_option_real(o.beta, 0.75), rl_option_real(o.k, 1.0)};
    return self;
}
