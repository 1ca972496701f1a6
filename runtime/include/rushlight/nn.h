/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Modules: layers with parameters, in PyTorch's manner. A module is an object, owned by the innermost scope like a
 * tensor; a module that is added to another one is retained by it. Not thread-safe: one thread uses a module at a time.
 */
#ifndef RUSHLIGHT_NN_H
#define RUSHLIGHT_NN_H

#include "rushlight/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rl_module rl_module;

/* Layers. Parameters are made on the default device, or .device, with PyTorch's initialization. ------------------- */

typedef struct rl_nn_linear_options {
    size_t struct_size;
    int64_t bias; /* default true; RL_ZERO: none */
    rl_device *device;
    rl_dtype dtype; /* default f32 */
} rl_nn_linear_options;
/* y = x weight^T + bias for x (..., in_features): weight (out_features, in_features), bias (out_features). Both uniform
 * in +-1/sqrt(in_features). */
RL_API rl_module *rl_nn_linear_opt(int64_t in_features, int64_t out_features, const rl_nn_linear_options *options);
#define rl_nn_linear(...)                                                                                              \
    rl_nn_linear_opt(RL_TAKE2_(__VA_ARGS__, ),                                                                         \
                     &(rl_nn_linear_options){.struct_size = sizeof(rl_nn_linear_options), RL_DROP2_(__VA_ARGS__, )})

typedef struct rl_nn_conv_options {
    size_t struct_size;
    /* One number for all spatial dimensions; or lists, which count where they are given, of a number for each. */
    int64_t stride, padding, dilation, output_padding; /* default 1, 0, 1, 0; output_padding: transposed ones only */
    rl_ints kernel_sizes, strides, paddings, dilations, output_paddings;
    int64_t groups; /* default 1 */
    bool same;      /* padding that keeps the size, at a stride of 1; what is odd about it goes behind */
    int64_t bias;   /* default true; RL_ZERO: none */
    rl_device *device;
    rl_dtype dtype;      /* default f32 */
    int64_t kernel_size; /* set by the function */
    /* What stands in the margins: "zeros" (the default), "reflect", "replicate" or "circular"; the last three are not
     * for transposed ones. */
    const char *padding_mode;
} rl_nn_conv_options;
/* The ops of these names as layers, on (N, C, size ...) or (C, size ...). kernel_size 0: .kernel_sizes has it. weight
 * (out_channels, in_channels / groups, kernel ...), of transposed ones (in_channels, out_channels / groups, kernel
 * ...), and bias (out_channels) are uniform in +-1/sqrt(fan_in). Errors: channels that do not divide into groups, a
 * kernel or stride below 1, an unknown padding_mode. rl_nn_conv2d(1, 32, 3, .padding = 1) */
RL_API rl_module *rl_nn_conv_opt(int spatial, bool transposed, int64_t in_channels, int64_t out_channels,
                                 int64_t kernel_size, const rl_nn_conv_options *options);
#define RL_NN_CONV_(spatial, transposed, ...)                                                                          \
    rl_nn_conv_opt(spatial, transposed, RL_TAKE3_(__VA_ARGS__, ),                                                      \
                   &(rl_nn_conv_options){.struct_size = sizeof(rl_nn_conv_options), RL_DROP3_(__VA_ARGS__, )})
#define rl_nn_conv1d(...) RL_NN_CONV_(1, false, __VA_ARGS__)
#define rl_nn_conv2d(...) RL_NN_CONV_(2, false, __VA_ARGS__)
#define rl_nn_conv3d(...) RL_NN_CONV_(3, false, __VA_ARGS__)
#define rl_nn_conv_transpose1d(...) RL_NN_CONV_(1, true, __VA_ARGS__)
#define rl_nn_conv_transpose2d(...) RL_NN_CONV_(2, true, __VA_ARGS__)
#define rl_nn_conv_transpose3d(...) RL_NN_CONV_(3, true, __VA_ARGS__)

/* Activations without parameters; X(name, "Name"): rl_nn_relu() and so on apply the op of that name. */
#define RL_NN_ACTIVATION_LIST(X)                                                                                       \
    X(relu, "ReLU")                                                                                                    \
    X(sigmoid, "Sigmoid")                                                                                              \
    X(tanh, "Tanh")                                                                                                    \
    X(silu, "SiLU")                                                                                                    \
    X(log_sigmoid, "LogSigmoid")                                                                                       \
    X(relu6, "ReLU6")                                                                                                  \
    X(selu, "SELU")                                                                                                    \
    X(mish, "Mish")                                                                                                    \
    X(hardswish, "Hardswish")                                                                                          \
    X(hardsigmoid, "Hardsigmoid")                                                                                      \
    X(softsign, "Softsign")                                                                                            \
    X(tanhshrink, "Tanhshrink")
#define RL_NN_ACTIVATION_DECLARE_(name, text) RL_API rl_module *rl_nn_##name(void);
RL_NN_ACTIVATION_LIST(RL_NN_ACTIVATION_DECLARE_)
#undef RL_NN_ACTIVATION_DECLARE_
/* approximate: "none" or "tanh". */
RL_API rl_module *rl_nn_gelu(const char *approximate);
RL_API rl_module *rl_nn_leaky_relu(double negative_slope);
RL_API rl_module *rl_nn_elu(double alpha);
RL_API rl_module *rl_nn_softplus(double beta, double threshold);
RL_API rl_module *rl_nn_softmax(int64_t dim);
RL_API rl_module *rl_nn_log_softmax(int64_t dim);
RL_API rl_module *rl_nn_celu(double alpha);
RL_API rl_module *rl_nn_hardtanh(double min_val, double max_val);
RL_API rl_module *rl_nn_hardshrink(double lambd);
RL_API rl_module *rl_nn_softshrink(double lambd);
RL_API rl_module *rl_nn_threshold(double threshold, double value);
RL_API rl_module *rl_nn_rrelu(double lower, double upper); /* random slopes in training */
RL_API rl_module *rl_nn_softmin(int64_t dim);
RL_API rl_module *rl_nn_glu(int64_t dim);
/* weight (num_parameters), for all channels or each of them, begins as init: 1 and 0.25 are PyTorch's defaults. */
RL_API rl_module *rl_nn_prelu(int64_t num_parameters, double init);

/* Pooling --------------------------------------------------------------------------------------------------------- */

typedef struct rl_nn_pool_options {
    size_t struct_size;
    /* One number for all spatial dimensions; or lists, which count where they are given, of a number for each. */
    int64_t stride, padding, dilation; /* default kernel_size, 0, 1; dilation: maxima only */
    rl_ints kernel_sizes, strides, paddings, dilations;
    bool ceil_mode;
    int64_t count_include_pad; /* averages: default true; RL_ZERO: false */
    int64_t divisor_override;  /* averages: default none */
} rl_nn_pool_options;
/* The greatest element, or the mean, of windows of x (N, C, size ...) or (C, size ...). kernel_size 0: .kernel_sizes
 * has it. rl_nn_max_pool2d(3, .stride = 2, .padding = 1) */
RL_API rl_module *rl_nn_pool_opt(int spatial, bool average, int64_t kernel_size, const rl_nn_pool_options *options);
#define RL_NN_POOL_(spatial, average, ...)                                                                             \
    rl_nn_pool_opt(spatial, average, RL_TAKE1_(__VA_ARGS__, ),                                                         \
                   &(rl_nn_pool_options){.struct_size = sizeof(rl_nn_pool_options), RL_DROP1_(__VA_ARGS__, )})
#define rl_nn_max_pool1d(...) RL_NN_POOL_(1, false, __VA_ARGS__)
#define rl_nn_max_pool2d(...) RL_NN_POOL_(2, false, __VA_ARGS__)
#define rl_nn_max_pool3d(...) RL_NN_POOL_(3, false, __VA_ARGS__)
#define rl_nn_avg_pool1d(...) RL_NN_POOL_(1, true, __VA_ARGS__)
#define rl_nn_avg_pool2d(...) RL_NN_POOL_(2, true, __VA_ARGS__)
#define rl_nn_avg_pool3d(...) RL_NN_POOL_(3, true, __VA_ARGS__)
/* Windows of such sizes that the result has output_size (one number for all dimensions, or one for each):
 * rl_nn_adaptive_avg_pool2d(RL_DIMS(1)) */
RL_API rl_module *rl_nn_adaptive_pool(int spatial, bool average, rl_ints output_size);
#define rl_nn_adaptive_max_pool1d(...) rl_nn_adaptive_pool(1, false, __VA_ARGS__)
#define rl_nn_adaptive_max_pool2d(...) rl_nn_adaptive_pool(2, false, __VA_ARGS__)
#define rl_nn_adaptive_max_pool3d(...) rl_nn_adaptive_pool(3, false, __VA_ARGS__)
#define rl_nn_adaptive_avg_pool1d(...) rl_nn_adaptive_pool(1, true, __VA_ARGS__)
#define rl_nn_adaptive_avg_pool2d(...) rl_nn_adaptive_pool(2, true, __VA_ARGS__)
#define rl_nn_adaptive_avg_pool3d(...) rl_nn_adaptive_pool(3, true, __VA_ARGS__)

/* Sizes and margins ----------------------------------------------------------------------------------------------- */

typedef struct rl_nn_upsample_options {
    size_t struct_size;
    rl_ints size; /* this, or scale_factor */
    double scale_factor;
    const char *mode;      /* of the op interpolate: "nearest" (default), "bilinear" ... */
    int64_t align_corners; /* default None; 1: true; RL_ZERO: false */
} rl_nn_upsample_options;
/* x (N, C, size ...) resized: rl_nn_upsample(.scale_factor = 2) */
RL_API rl_module *rl_nn_upsample_opt(const rl_nn_upsample_options *options);
#define rl_nn_upsample(...)                                                                                            \
    rl_nn_upsample_opt(&(rl_nn_upsample_options){.struct_size = sizeof(rl_nn_upsample_options), __VA_ARGS__})

/* Margins around the last `spatial` dimensions of x. padding: one number for all sides, or (before, behind) from the
 * last dimension on. mode: "zero", "constant" (of value), "reflect", "replicate", "circular". */
RL_API rl_module *rl_nn_pad(int spatial, const char *mode, rl_ints padding, double value);
#define rl_nn_zero_pad2d(...) rl_nn_pad(2, "zero", __VA_ARGS__, 0)
#define rl_nn_reflection_pad2d(...) rl_nn_pad(2, "reflect", __VA_ARGS__, 0)
#define rl_nn_replication_pad2d(...) rl_nn_pad(2, "replicate", __VA_ARGS__, 0)
#define rl_nn_circular_pad2d(...) rl_nn_pad(2, "circular", __VA_ARGS__, 0)

RL_API rl_module *rl_nn_pixel_shuffle(int64_t upscale_factor);
RL_API rl_module *rl_nn_pixel_unshuffle(int64_t downscale_factor);
RL_API rl_module *rl_nn_channel_shuffle(int64_t groups);

/* Dropout of whole channels of (N, C, ...); alpha_dropout: dropout that keeps mean 0 and variance 1 after SELU. */
RL_API rl_module *rl_nn_dropout1d(double p);
RL_API rl_module *rl_nn_dropout2d(double p);
RL_API rl_module *rl_nn_dropout3d(double p);
RL_API rl_module *rl_nn_alpha_dropout(double p);
RL_API rl_module *rl_nn_feature_alpha_dropout(double p);

RL_API rl_module *rl_nn_identity(void);
/* In training, zeroes each element with probability p and scales the rest by 1 / (1 - p). */
RL_API rl_module *rl_nn_dropout(double p);
/* Merges dimensions start_dim .. end_dim; (1, -1) is PyTorch's default. */
RL_API rl_module *rl_nn_flatten(int64_t start_dim, int64_t end_dim);

/* Normalizations. Weights begin as 1, biases as 0. ------------------------------------------------------------------
 */

#define RL_NN_MAX_NORMALIZED 12

typedef struct rl_nn_layer_norm_options {
    size_t struct_size;
    double eps;                 /* default 1e-5 */
    int64_t elementwise_affine; /* default true: there is a weight; RL_ZERO: none */
    int64_t bias;               /* default true: and a bias; RL_ZERO: none */
    rl_device *device;
    rl_dtype dtype; /* default f32 */
} rl_nn_layer_norm_options;
/* y = (x - mean) / sqrt(var + eps) weight + bias over the last dimensions of x (..., normalized_shape): weight and bias
 * (normalized_shape). */
RL_API rl_module *rl_nn_layer_norm_opt(rl_ints normalized_shape, const rl_nn_layer_norm_options *options);
#define rl_nn_layer_norm(...)                                                                                          \
    rl_nn_layer_norm_opt(                                                                                              \
        RL_TAKE1_(__VA_ARGS__, ),                                                                                      \
        &(rl_nn_layer_norm_options){.struct_size = sizeof(rl_nn_layer_norm_options), RL_DROP1_(__VA_ARGS__, )})

typedef struct rl_nn_rms_norm_options {
    size_t struct_size;
    double eps;                 /* default None: the step above 1 of float32, of float64 that of float64 */
    int64_t elementwise_affine; /* default true: there is a weight; RL_ZERO: none */
    rl_device *device;
    rl_dtype dtype; /* default f32 */
} rl_nn_rms_norm_options;
/* y = x / sqrt(mean(x^2) + eps) weight over the last dimensions of x (..., normalized_shape). */
RL_API rl_module *rl_nn_rms_norm_opt(rl_ints normalized_shape, const rl_nn_rms_norm_options *options);
#define rl_nn_rms_norm(...)                                                                                            \
    rl_nn_rms_norm_opt(                                                                                                \
        RL_TAKE1_(__VA_ARGS__, ),                                                                                      \
        &(rl_nn_rms_norm_options){.struct_size = sizeof(rl_nn_rms_norm_options), RL_DROP1_(__VA_ARGS__, )})

typedef struct rl_nn_group_norm_options {
    size_t struct_size;
    double eps;     /* default 1e-5 */
    int64_t affine; /* default true: there is a weight; RL_ZERO: none */
    int64_t bias;   /* default true: and a bias; RL_ZERO: none */
    rl_device *device;
    rl_dtype dtype; /* default f32 */
} rl_nn_group_norm_options;
/* The same over each of num_groups groups of the channels of x (N, num_channels, ...): weight and bias (num_channels).
 * num_channels must be a multiple of num_groups. */
RL_API rl_module *rl_nn_group_norm_opt(int64_t num_groups, int64_t num_channels,
                                       const rl_nn_group_norm_options *options);
#define rl_nn_group_norm(...)                                                                                          \
    rl_nn_group_norm_opt(                                                                                              \
        RL_TAKE2_(__VA_ARGS__, ),                                                                                      \
        &(rl_nn_group_norm_options){.struct_size = sizeof(rl_nn_group_norm_options), RL_DROP2_(__VA_ARGS__, )})

typedef struct rl_nn_batch_norm_options { /* of batch norm (of instance norm) */
    size_t struct_size;
    double eps;                  /* default 1e-5 */
    double momentum;             /* default 0.1: how far the running statistics move at each batch */
    bool cumulative;             /* PyTorch's momentum=None: averages over all batches so far (they do not move) */
    int64_t affine;              /* default true (false): there is a weight; RL_ZERO: none */
    int64_t bias;                /* default true: and a bias; RL_ZERO: none */
    int64_t track_running_stats; /* default true (false): there are running statistics; RL_ZERO: none */
    rl_device *device;
    rl_dtype dtype; /* default f32 */
} rl_nn_batch_norm_options;
/*
 * y = (x - mean) / sqrt(var + eps) weight + bias for each channel of x (N, num_features, ...): in training, or where
 * there are no running statistics, with mean and variance of the batch; in evaluation with the running ones. weight and
 * bias (num_features); buffers running_mean (0 at first), running_var (1, by n - 1) and num_batches_tracked.
 * x has 2 or 3 dimensions for batch_norm1d, 4 for batch_norm2d, 5 for batch_norm3d. Errors: another number of
 * dimensions or channels; one value a channel in training.
 */
RL_API rl_module *rl_nn_batch_norm1d_opt(int64_t num_features, const rl_nn_batch_norm_options *options);
RL_API rl_module *rl_nn_batch_norm2d_opt(int64_t num_features, const rl_nn_batch_norm_options *options);
RL_API rl_module *rl_nn_batch_norm3d_opt(int64_t num_features, const rl_nn_batch_norm_options *options);
/* The same for each channel of each sample, of x (N, num_features, ...) or (num_features, ...) with 1, 2 or 3
 * dimensions after it. */
RL_API rl_module *rl_nn_instance_norm1d_opt(int64_t num_features, const rl_nn_batch_norm_options *options);
RL_API rl_module *rl_nn_instance_norm2d_opt(int64_t num_features, const rl_nn_batch_norm_options *options);
RL_API rl_module *rl_nn_instance_norm3d_opt(int64_t num_features, const rl_nn_batch_norm_options *options);
#define RL_NN_BATCH_NORM_OPTIONS_(...)                                                                                 \
    &(rl_nn_batch_norm_options) {                                                                                      \
        .struct_size = sizeof(rl_nn_batch_norm_options), RL_DROP1_(__VA_ARGS__, )                                      \
    }
#define rl_nn_batch_norm1d(...) rl_nn_batch_norm1d_opt(RL_TAKE1_(__VA_ARGS__, ), RL_NN_BATCH_NORM_OPTIONS_(__VA_ARGS__))
#define rl_nn_batch_norm2d(...) rl_nn_batch_norm2d_opt(RL_TAKE1_(__VA_ARGS__, ), RL_NN_BATCH_NORM_OPTIONS_(__VA_ARGS__))
#define rl_nn_batch_norm3d(...) rl_nn_batch_norm3d_opt(RL_TAKE1_(__VA_ARGS__, ), RL_NN_BATCH_NORM_OPTIONS_(__VA_ARGS__))
#define rl_nn_instance_norm1d(...)                                                                                     \
    rl_nn_instance_norm1d_opt(RL_TAKE1_(__VA_ARGS__, ), RL_NN_BATCH_NORM_OPTIONS_(__VA_ARGS__))
#define rl_nn_instance_norm2d(...)                                                                                     \
    rl_nn_instance_norm2d_opt(RL_TAKE1_(__VA_ARGS__, ), RL_NN_BATCH_NORM_OPTIONS_(__VA_ARGS__))
#define rl_nn_instance_norm3d(...)                                                                                     \
    rl_nn_instance_norm3d_opt(RL_TAKE1_(__VA_ARGS__, ), RL_NN_BATCH_NORM_OPTIONS_(__VA_ARGS__))

typedef struct rl_nn_local_response_norm_options {
    size_t struct_size;
    double alpha; /* default 1e-4 */
    double beta;  /* default 0.75 */
    double k;     /* default 1 */
} rl_nn_local_response_norm_options;
/* y = x / (k + alpha m)^beta, m the mean of x^2 over `size` channels around each, for x (N, C, ...). */
RL_API rl_module *rl_nn_local_response_norm_opt(int64_t size, const rl_nn_local_response_norm_options *options);
#define rl_nn_local_response_norm(...)                                                                                 \
    rl_nn_local_response_norm_opt(                                                                                     \
        RL_TAKE1_(__VA_ARGS__, ),                                                                                      \
        &(rl_nn_local_response_norm_options){.struct_size = sizeof(rl_nn_local_response_norm_options),                 \
                                             RL_DROP1_(__VA_ARGS__, )})

/* Recurrent layers ------------------------------------------------------------------------------------------------ */

typedef struct rl_nn_rnn_options {
    size_t struct_size;
    int64_t num_layers;       /* default 1 */
    const char *nonlinearity; /* of rl_nn_rnn alone: "tanh" (default) or "relu" */
    int64_t bias;             /* default true; RL_ZERO: none */
    bool batch_first;         /* input and output (batch, steps, ..) */
    double dropout;           /* in training, of the output of each layer but the last */
    bool bidirectional;
    int64_t proj_size; /* of rl_nn_lstm alone: must be 0, projections are not there */
    rl_device *device;
    rl_dtype dtype; /* default f32 */
} rl_nn_rnn_options;
/* Over x (steps, batch, input_size), or (steps, input_size) without a batch; ops rnn_tanh and rnn_relu, lstm, gru have
 * the formulas. Parameters of layer k: weight_ih_lk (G hidden_size, input_size or directions hidden_size), weight_hh_lk
 * (G hidden_size, hidden_size), bias_ih_lk, bias_hh_lk (G hidden_size), and the same with _reverse; G is 1, 4, 3. All
 * uniform in +-1/sqrt(hidden_size). forward gives the output (steps, batch, directions hidden_size);
 * rl_module_forward_many takes x and, if wanted, the first states h (and, of LSTM, c) (layers directions, batch,
 * hidden_size), which are 0 otherwise, and gives the output and the last states. */
RL_API rl_module *rl_nn_rnn_opt(int64_t input_size, int64_t hidden_size, const rl_nn_rnn_options *options);
RL_API rl_module *rl_nn_lstm_opt(int64_t input_size, int64_t hidden_size, const rl_nn_rnn_options *options);
RL_API rl_module *rl_nn_gru_opt(int64_t input_size, int64_t hidden_size, const rl_nn_rnn_options *options);
#define rl_nn_rnn(...)                                                                                                 \
    rl_nn_rnn_opt(RL_TAKE2_(__VA_ARGS__, ),                                                                            \
                  &(rl_nn_rnn_options){.struct_size = sizeof(rl_nn_rnn_options), RL_DROP2_(__VA_ARGS__, )})
#define rl_nn_lstm(...)                                                                                                \
    rl_nn_lstm_opt(RL_TAKE2_(__VA_ARGS__, ),                                                                           \
                   &(rl_nn_rnn_options){.struct_size = sizeof(rl_nn_rnn_options), RL_DROP2_(__VA_ARGS__, )})
#define rl_nn_gru(...)                                                                                                 \
    rl_nn_gru_opt(RL_TAKE2_(__VA_ARGS__, ),                                                                            \
                  &(rl_nn_rnn_options){.struct_size = sizeof(rl_nn_rnn_options), RL_DROP2_(__VA_ARGS__, )})

typedef struct rl_nn_rnn_cell_options {
    size_t struct_size;
    int64_t bias;             /* default true; RL_ZERO: none */
    const char *nonlinearity; /* of rl_nn_rnn_cell alone: "tanh" (default) or "relu" */
    rl_device *device;
    rl_dtype dtype; /* default f32 */
} rl_nn_rnn_cell_options;
/* One step, over x (batch, input_size) or (input_size): weight_ih, weight_hh, bias_ih, bias_hh as above. Takes x and,
 * if wanted, the state h (and c) (batch, hidden_size); gives the state after it, forward h alone. */
RL_API rl_module *rl_nn_rnn_cell_opt(int64_t input_size, int64_t hidden_size, const rl_nn_rnn_cell_options *options);
RL_API rl_module *rl_nn_lstm_cell_opt(int64_t input_size, int64_t hidden_size, const rl_nn_rnn_cell_options *options);
RL_API rl_module *rl_nn_gru_cell_opt(int64_t input_size, int64_t hidden_size, const rl_nn_rnn_cell_options *options);
#define rl_nn_rnn_cell(...)                                                                                            \
    rl_nn_rnn_cell_opt(                                                                                                \
        RL_TAKE2_(__VA_ARGS__, ),                                                                                      \
        &(rl_nn_rnn_cell_options){.struct_size = sizeof(rl_nn_rnn_cell_options), RL_DROP2_(__VA_ARGS__, )})
#define rl_nn_lstm_cell(...)                                                                                           \
    rl_nn_lstm_cell_opt(                                                                                               \
        RL_TAKE2_(__VA_ARGS__, ),                                                                                      \
        &(rl_nn_rnn_cell_options){.struct_size = sizeof(rl_nn_rnn_cell_options), RL_DROP2_(__VA_ARGS__, )})
#define rl_nn_gru_cell(...)                                                                                            \
    rl_nn_gru_cell_opt(                                                                                                \
        RL_TAKE2_(__VA_ARGS__, ),                                                                                      \
        &(rl_nn_rnn_cell_options){.struct_size = sizeof(rl_nn_rnn_cell_options), RL_DROP2_(__VA_ARGS__, )})

/* Embedding and attention ------------------------------------------------------------------------------------------ */

typedef struct rl_nn_embedding_options {
    size_t struct_size;
    int64_t padding_idx; /* its row begins as zeros and gets no gradient; default none; RL_ZERO: 0; -1 is the last */
    double max_norm;  /* rows that are looked up are scaled to at most this norm, in place; default: not; RL_ZERO: 0 */
    double norm_type; /* of max_norm; default 2 */
    rl_device *device;
    rl_dtype dtype; /* default f32 */
} rl_nn_embedding_options;
/* y (.., embedding_dim) = weight[x] for x (..) of int64 or int32: weight (num_embeddings, embedding_dim), standard
 * normal. */
RL_API rl_module *rl_nn_embedding_opt(int64_t num_embeddings, int64_t embedding_dim,
                                      const rl_nn_embedding_options *options);
#define rl_nn_embedding(...)                                                                                           \
    rl_nn_embedding_opt(                                                                                               \
        RL_TAKE2_(__VA_ARGS__, ),                                                                                      \
        &(rl_nn_embedding_options){.struct_size = sizeof(rl_nn_embedding_options), RL_DROP2_(__VA_ARGS__, )})

typedef struct rl_nn_multihead_attention_options {
    size_t struct_size;
    double dropout;     /* of the weights, in training */
    int64_t bias;       /* default true; RL_ZERO: none */
    bool add_bias_kv;   /* one more key and value, which are learned */
    bool add_zero_attn; /* one more key and value, which are zeros */
    int64_t kdim, vdim; /* widths of key and value; default embed_dim */
    bool batch_first;   /* tensors are (batch, length, width) */
    rl_device *device;
    rl_dtype dtype; /* default f32 */
} rl_nn_multihead_attention_options;
/* Attention of num_heads heads over projections (Vaswani et al. 2017). query (L, N, embed_dim), key (S, N, kdim), value
 * (S, N, vdim), result (L, N, embed_dim), or without the batch N; with batch_first N comes first.
 * Parameters: in_proj_weight (3 embed_dim, embed_dim), or where kdim or vdim differ q_proj_weight, k_proj_weight,
 * v_proj_weight (embed_dim, width); in_proj_bias (3 embed_dim); bias_k, bias_v (1, 1, embed_dim); out_proj, a Linear.
 * Weights are xavier_uniform, bias_k and bias_v xavier_normal, biases 0.
 * forward takes one tensor for all three. forward_many takes query, key, value and, if wanted, key_padding_mask and
 * attn_mask, and gives the result and, if wanted, the weights, their mean over heads. */
RL_API rl_module *rl_nn_multihead_attention_opt(int64_t embed_dim, int64_t num_heads,
                                                const rl_nn_multihead_attention_options *options);
#define rl_nn_multihead_attention(...)                                                                                 \
    rl_nn_multihead_attention_opt(                                                                                     \
        RL_TAKE2_(__VA_ARGS__, ),                                                                                      \
        &(rl_nn_multihead_attention_options){.struct_size = sizeof(rl_nn_multihead_attention_options),                 \
                                             RL_DROP2_(__VA_ARGS__, )})

typedef struct rl_nn_attend_options {
    size_t struct_size;
    rl_tensor *key_padding_mask;  /* (N, S) or (S): bool, true is left out, or added */
    rl_tensor *attn_mask;         /* (L, S) or (N num_heads, L, S): bool, true is left out, or added */
    bool is_causal;               /* query i sees keys 0 .. i; not looked at where there is an attn_mask */
    int64_t average_attn_weights; /* default true; RL_ZERO: weights of each head (N, num_heads, L, S) */
    rl_tensor **out_weights;      /* NULL: no weights are made, rows that see nothing are 0 before out_proj, and memory
                                     is linear in L and S but for dropout */
} rl_nn_attend_options;
/* A call of a multihead attention with all that it can take. */
RL_API rl_tensor *rl_nn_attend_opt(rl_module *self, rl_tensor *query, rl_tensor *key, rl_tensor *value,
                                   const rl_nn_attend_options *options);
#define rl_nn_attend(self, query, ...)                                                                                 \
    rl_nn_attend_opt(self, query, RL_TAKE2_(__VA_ARGS__, ),                                                            \
                     &(rl_nn_attend_options){.struct_size = sizeof(rl_nn_attend_options), RL_DROP2_(__VA_ARGS__, )})

/* One after another: rl_nn_sequential(rl_nn_linear(784, 10), rl_nn_relu()). Children are named "0", "1", ... */
RL_API rl_module *rl_nn_sequential_of(rl_module *const *modules, int64_t count);
#define rl_nn_sequential(...)                                                                                          \
    rl_nn_sequential_of((rl_module *const[]){__VA_ARGS__},                                                             \
                        (int64_t)(sizeof((rl_module *const[]){__VA_ARGS__}) / sizeof(rl_module *)))

/* Losses ----------------------------------------------------------------------------------------------------------
 * Each is the op of its name as a module. They take input and target, some of them more: rl_module_call(loss, y, t). */

typedef struct rl_nn_loss_options {
    size_t struct_size;
    const char *reduction;  /* "mean" (default), "sum", "none"; "batchmean" of kl_div_loss */
    rl_tensor *weight;      /* of classes or elements: bce_loss, bce_with_logits_loss, nll_loss, cross_entropy_loss,
                               multi_margin_loss, multilabel_soft_margin_loss; kept as a buffer */
    rl_tensor *pos_weight;  /* bce_with_logits_loss; kept as a buffer */
    int64_t ignore_index;   /* nll_loss, cross_entropy_loss: default -100; RL_ZERO: 0 */
    double label_smoothing; /* cross_entropy_loss */
    double beta;            /* smooth_l1_loss: default 1; RL_ZERO: 0 */
    double delta;           /* huber_loss: default 1 */
    double margin;          /* default 1, or 0 of cosine_embedding_loss and margin_ranking_loss; RL_ZERO: 0 */
    double p;               /* triplet_margin_loss, pairwise_distance: default 2; multi_margin_loss: 1 */
    double eps;             /* default of the op */
    bool swap;              /* triplet_margin_loss */
    bool log_target;        /* kl_div_loss */
    int64_t log_input;      /* poisson_nll_loss: default true; RL_ZERO: false */
    bool full;              /* poisson_nll_loss, gaussian_nll_loss */
    int64_t dim;            /* cosine_similarity: default 1; RL_ZERO: 0 */
    bool keepdim;           /* pairwise_distance */
} rl_nn_loss_options;
/* X(name, "Name", inputs) */
#define RL_NN_LOSS_LIST(X)                                                                                             \
    X(mse_loss, "MSELoss", 2)                                                                                          \
    X(l1_loss, "L1Loss", 2)                                                                                            \
    X(smooth_l1_loss, "SmoothL1Loss", 2)                                                                               \
    X(huber_loss, "HuberLoss", 2)                                                                                      \
    X(bce_loss, "BCELoss", 2)                                                                                          \
    X(bce_with_logits_loss, "BCEWithLogitsLoss", 2)                                                                    \
    X(nll_loss, "NLLLoss", 2)                                                                                          \
    X(cross_entropy_loss, "CrossEntropyLoss", 2)                                                                       \
    X(kl_div_loss, "KLDivLoss", 2)                                                                                     \
    X(cosine_embedding_loss, "CosineEmbeddingLoss", 3)                                                                 \
    X(triplet_margin_loss, "TripletMarginLoss", 3)                                                                     \
    X(margin_ranking_loss, "MarginRankingLoss", 3)                                                                     \
    X(hinge_embedding_loss, "HingeEmbeddingLoss", 2)                                                                   \
    X(soft_margin_loss, "SoftMarginLoss", 2)                                                                           \
    X(multi_margin_loss, "MultiMarginLoss", 2)                                                                         \
    X(multilabel_margin_loss, "MultiLabelMarginLoss", 2)                                                               \
    X(multilabel_soft_margin_loss, "MultiLabelSoftMarginLoss", 2)                                                      \
    X(poisson_nll_loss, "PoissonNLLLoss", 2)                                                                           \
    X(gaussian_nll_loss, "GaussianNLLLoss", 3)                                                                         \
    X(cosine_similarity, "CosineSimilarity", 2)                                                                        \
    X(pairwise_distance, "PairwiseDistance", 2)
#define RL_NN_LOSS_DECLARE_(name, text, inputs) RL_API rl_module *rl_nn_##name##_opt(const rl_nn_loss_options *options);
RL_NN_LOSS_LIST(RL_NN_LOSS_DECLARE_)
#undef RL_NN_LOSS_DECLARE_
#define RL_NN_LOSS_(name, ...)                                                                                         \
    rl_nn_##name##_opt(&(rl_nn_loss_options){.struct_size = sizeof(rl_nn_loss_options), __VA_ARGS__})
#define rl_nn_mse_loss(...) RL_NN_LOSS_(mse_loss, __VA_ARGS__)
#define rl_nn_l1_loss(...) RL_NN_LOSS_(l1_loss, __VA_ARGS__)
#define rl_nn_smooth_l1_loss(...) RL_NN_LOSS_(smooth_l1_loss, __VA_ARGS__)
#define rl_nn_huber_loss(...) RL_NN_LOSS_(huber_loss, __VA_ARGS__)
#define rl_nn_bce_loss(...) RL_NN_LOSS_(bce_loss, __VA_ARGS__)
#define rl_nn_bce_with_logits_loss(...) RL_NN_LOSS_(bce_with_logits_loss, __VA_ARGS__)
#define rl_nn_nll_loss(...) RL_NN_LOSS_(nll_loss, __VA_ARGS__)
#define rl_nn_cross_entropy_loss(...) RL_NN_LOSS_(cross_entropy_loss, __VA_ARGS__)
#define rl_nn_kl_div_loss(...) RL_NN_LOSS_(kl_div_loss, __VA_ARGS__)
#define rl_nn_cosine_embedding_loss(...) RL_NN_LOSS_(cosine_embedding_loss, __VA_ARGS__)
#define rl_nn_triplet_margin_loss(...) RL_NN_LOSS_(triplet_margin_loss, __VA_ARGS__)
#define rl_nn_margin_ranking_loss(...) RL_NN_LOSS_(margin_ranking_loss, __VA_ARGS__)
#define rl_nn_hinge_embedding_loss(...) RL_NN_LOSS_(hinge_embedding_loss, __VA_ARGS__)
#define rl_nn_soft_margin_loss(...) RL_NN_LOSS_(soft_margin_loss, __VA_ARGS__)
#define rl_nn_multi_margin_loss(...) RL_NN_LOSS_(multi_margin_loss, __VA_ARGS__)
#define rl_nn_multilabel_margin_loss(...) RL_NN_LOSS_(multilabel_margin_loss, __VA_ARGS__)
#define rl_nn_multilabel_soft_margin_loss(...) RL_NN_LOSS_(multilabel_soft_margin_loss, __VA_ARGS__)
#define rl_nn_poisson_nll_loss(...) RL_NN_LOSS_(poisson_nll_loss, __VA_ARGS__)
#define rl_nn_gaussian_nll_loss(...) RL_NN_LOSS_(gaussian_nll_loss, __VA_ARGS__)
#define rl_nn_cosine_similarity(...) RL_NN_LOSS_(cosine_similarity, __VA_ARGS__)
#define rl_nn_pairwise_distance(...) RL_NN_LOSS_(pairwise_distance, __VA_ARGS__)

/* Modules of one's own -------------------------------------------------------------------------------------------- */

typedef struct rl_module_class { /* is copied, but for the name, which must outlive its modules */
    size_t struct_size;
    const char *name;  /* "Net" */
    size_t data_bytes; /* room for one's own data, zeroed: rl_module_data */
    rl_tensor *(*forward)(rl_module *self, rl_tensor *input);
    void (*destroy)(rl_module *self); /* frees what data points to; may be NULL */
    /* Writes what stands within the parentheses of its printed form ("in_features=2, bias=True"); may be NULL. */
    void (*describe)(const rl_module *self, char *text, size_t room);
    /* What takes several inputs or gives several outputs; may be NULL. Fills the first n_outputs of what it gives. */
    rl_status (*forward_many)(rl_module *self, rl_tensors inputs, rl_tensor **outputs, int64_t n_outputs);
} rl_module_class;
RL_API rl_module *rl_module_new(const rl_module_class *klass);
RL_API void *rl_module_data(const rl_module *self);

/* Names hold no dot and are not taken yet. Each returns what was added, or NULL. A parameter is a leaf of floating
 * dtype that will require gradients; a buffer is state without gradients. NULL tensors and modules are errors. */
RL_API rl_tensor *rl_module_add_parameter(rl_module *self, const char *name, rl_tensor *parameter);
RL_API rl_tensor *rl_module_add_buffer(rl_module *self, const char *name, rl_tensor *buffer);
RL_API rl_module *rl_module_add(rl_module *self, const char *name, rl_module *child);

/* Use ----------------------------------------------------------------------------------------------------------------
 */

/* Runs it. The result belongs to the innermost scope. */
RL_API rl_tensor *rl_module_forward(rl_module *self, rl_tensor *input);
/* The same with several inputs and outputs: fills n_outputs of `outputs`, at most 16, which belong to the innermost
 * scope (NULL on failure). Inputs are the module's in their order; those at the end may be left out where the module
 * says so. `outputs` may be the array of the inputs. A module that has forward alone takes one input and gives one
 * output. */
RL_API rl_status rl_module_forward_many(rl_module *self, rl_tensors inputs, rl_tensor **outputs, int64_t n_outputs);

/* Several inputs, one output: rl_module_call(loss, y, target). */
RL_API rl_tensor *rl_module_call_of(rl_module *self, rl_tensors inputs);
#define rl_module_call(self, ...) rl_module_call_of(self, RL_TENSORS(__VA_ARGS__))

/* Training mode, on at first, of the module and all below it. */
RL_API rl_status rl_module_train(rl_module *self, bool training);
RL_API bool rl_module_is_training(const rl_module *self);
/* Moves parameters and buffers (floating ones also to dtype); NULL and RL_DTYPE_NONE leave as it is. Parameters stay
 * the same objects, so optimizers go on. Gradients are moved too. */
RL_API rl_status rl_module_to(rl_module *self, rl_device *device, rl_dtype dtype);
/* Lays weights of 4 dimensions (channels_last), of 5 (channels_last_3d) or all (contiguous_format) out anew, in the
 * same objects. Convolutions whose weight or input has channels innermost give results like that. */
RL_API rl_status rl_module_to_memory_format(rl_module *self, const char *memory_format);
/* Takes the gradients away. */
RL_API rl_status rl_module_zero_grad(rl_module *self);

/* By dotted name ("0.weight"), borrowed; NULL and an error where there is none. */
RL_API rl_tensor *rl_module_tensor(rl_module *self, const char *name);
RL_API rl_module *rl_module_child(rl_module *self, const char *name);
/* Fills out_parameters with up to `room` parameters in the order of their registration, each once even where shared.
 * Returns how many there are. Borrowed. */
RL_API int64_t rl_module_parameters(const rl_module *self, rl_tensor **out_parameters, int64_t room);
/* The same for the state: parameters and buffers with dotted names, shared ones under each name. Names are borrowed and
 * valid until the module changes. Either array may be NULL. */
RL_API int64_t rl_module_state(rl_module *self, const char **out_names, rl_tensor **out_tensors, int64_t room);
/* Elements of all parameters. */
RL_API int64_t rl_module_parameter_count(const rl_module *self);
/* As PyTorch prints a module, a tree of lines; free() it. */
RL_API char *rl_module_to_string(const rl_module *self);

/* The state to and from a safetensors file (io.h). Loading copies into the module's own tensors, wherever they are;
 * every name must be there with its shape, and nothing else; floats are cast; nothing is changed where the file is
 * wrong. */
RL_API rl_status rl_module_save(rl_module *self, const char *path);
RL_API rl_status rl_module_load(rl_module *self, const char *path);

/* Initializations, in place and outside of the graph; as torch.nn.init. Each returns self.
 * -------------------------------- */

RL_API rl_tensor *rl_init_uniform(rl_tensor *self, double low, double high);
RL_API rl_tensor *rl_init_normal(rl_tensor *self, double mean, double std);
RL_API rl_tensor *rl_init_constant(rl_tensor *self, double value);
/* Glorot and Bengio 2010: uniform +-gain sqrt(6 / (fan_in + fan_out)), normal of the same variance. */
RL_API rl_tensor *rl_init_xavier_uniform(rl_tensor *self, double gain);
RL_API rl_tensor *rl_init_xavier_normal(rl_tensor *self, double gain);
/* He et al. 2015, by fan_in: uniform +-gain sqrt(3 / fan_in) with gain = sqrt(2 / (1 + a^2)); a = sqrt(5) in Linear. */
RL_API rl_tensor *rl_init_kaiming_uniform(rl_tensor *self, double a);
RL_API rl_tensor *rl_init_kaiming_normal(rl_tensor *self, double a);

#ifdef __cplusplus
}
#endif
#endif
