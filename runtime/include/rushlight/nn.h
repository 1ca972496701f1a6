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
} rl_nn_conv_options;
/* The ops of these names as layers, on (N, C, size ...) or (C, size ...). kernel_size 0: .kernel_sizes has it. weight
 * (out_channels, in_channels / groups, kernel ...), of transposed ones (in_channels, out_channels / groups, kernel
 * ...), and bias (out_channels) are uniform in +-1/sqrt(fan_in). Errors: channels that do not divide into groups, a
 * kernel or stride below 1. rl_nn_conv2d(1, 32, 3, .padding = 1) */
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
    X(log_sigmoid, "LogSigmoid")
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

RL_API rl_module *rl_nn_identity(void);
/* In training, zeroes each element with probability p and scales the rest by 1 / (1 - p). */
RL_API rl_module *rl_nn_dropout(double p);
/* Merges dimensions start_dim .. end_dim; (1, -1) is PyTorch's default. */
RL_API rl_module *rl_nn_flatten(int64_t start_dim, int64_t end_dim);

/* Embedding and attention ------------------------------------------------------------------------------------------ */

typedef struct rl_nn_embedding_options {
    size_t struct_size;
    int64_t padding_idx; /* its row begins as zeros and gets no gradient; default none; RL_ZERO: 0; -1 is the last */
    double max_norm;     /* rows that are looked up are scaled to at most this norm, in place; default: not */
    double norm_type;    /* of max_norm; default 2 */
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
    rl_tensor **out_weights;      /* NULL: no weights are made, and memory is linear in L and S */
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

/* Modules of one's own -------------------------------------------------------------------------------------------- */

typedef struct rl_module_class { /* must outlive its modules */
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
