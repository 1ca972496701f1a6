/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rushlight in C++17: the C API with every op, layer and optimizer as a function of namespace rushlight.
 *
 *     rushlight::scope round;
 *     rl_tensor *y = rushlight::sum(rushlight::mul(x, 2), {.dim = rushlight::dims{1}});   // C++20 names the options;
 *     const rushlight::dims columns{1};                                                   // in C++17 they are set;
 *     rl_sum_options over_columns = {};                                                   // dims must live as long
 *     over_columns.dim = columns;
 *
 * Ownership, threads and errors are those of C: objects belong to the innermost scope, and errors are sticky.
 * rushlight::check() turns one into an exception; nothing else here throws, but for want of memory. In C++ the C macros
 * (rl_sum, rl_nn_linear, RL_DIMS ...) are not used, but for RL_SCOPE() and RL_NO_GRAD().
 */
#ifndef RUSHLIGHT_RUSHLIGHT_HPP
#define RUSHLIGHT_RUSHLIGHT_HPP

#include <initializer_list>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "rushlight/rushlight.h"

namespace rushlight {

/* A tensor or a number, where an op takes either. */
class value {
  public:
    value(rl_tensor *tensor) : value_(rl_value_of_tensor(tensor)) {}
    value(rl_value given) : value_(given) {}
    template <class T, class = std::enable_if_t<std::is_arithmetic<T>::value>> value(T number) : value_(of(number)) {}
    operator rl_value() const { return value_; }

  private:
    static rl_value of(bool number) { return rl_value_of_bool(number); }
    template <class T> static rl_value of(T number) {
        return std::is_floating_point<T>::value ? rl_value_of_float(static_cast<double>(number))
                                                : rl_value_of_int(static_cast<int64_t>(number));
    }
    rl_value value_;
};

/* A shape, or dimensions: {2, 3}. It must live as long as the rl_ints that are made of it. */
class dims {
  public:
    dims(std::initializer_list<int64_t> sizes) : sizes_(sizes) {}
    explicit dims(std::vector<int64_t> sizes) : sizes_(std::move(sizes)) {}
    dims(rl_ints sizes) : sizes_(sizes.data, sizes.data + sizes.count) {}
    operator rl_ints() const {
        static const int64_t none = 0; /* NULL would mean None */
        return rl_ints{sizes_.empty() ? &none : sizes_.data(), static_cast<int64_t>(sizes_.size())};
    }

  private:
    std::vector<int64_t> sizes_;
};

/* A list of tensors: {a, b}. It must live as long as the rl_tensors that are made of it. */
class tensors {
  public:
    tensors(std::initializer_list<rl_tensor *> list) : list_(list) {}
    explicit tensors(std::vector<rl_tensor *> list) : list_(std::move(list)) {}
    tensors(rl_tensors list) : list_(list.data, list.data + list.count) {}
    operator rl_tensors() const { return rl_tensors{list_.data(), static_cast<int64_t>(list_.size())}; }

  private:
    std::vector<rl_tensor *> list_;
};

/* Owns what is made while it lives. */
class scope {
  public:
    scope() : mark_(rl_scope_begin()) {}
    ~scope() { rl_scope_end(mark_); }
    scope(const scope &) = delete;
    scope &operator=(const scope &) = delete;

  private:
    rl_scope mark_;
};

/* Records no gradients while it lives. */
class no_grad {
  public:
    no_grad() : before_(rl_set_grad_enabled(false)) {}
    ~no_grad() { rl_set_grad_enabled(before_); }
    no_grad(const no_grad &) = delete;
    no_grad &operator=(const no_grad &) = delete;

  private:
    bool before_;
};

/* Autocast while it lives: autocast region(RL_BF16). */
class autocast {
  public:
    explicit autocast(rl_dtype dtype, rl_autocast_options options = {})
        : before_(rl_autocast_begin_opt(dtype, sized(options))) {}
    ~autocast() { rl_autocast_end(before_); }
    autocast(const autocast &) = delete;
    autocast &operator=(const autocast &) = delete;

  private:
    static const rl_autocast_options *sized(rl_autocast_options &options) {
        options.struct_size = sizeof options;
        return &options;
    }
    rl_autocast before_;
};

class error : public std::runtime_error {
  public:
    error(rl_status status, const char *text) : std::runtime_error(text), status_(status) {}
    rl_status status() const { return status_; }

  private:
    rl_status status_;
};

/* Throws the thread's error, if it has one, and clears it. */
inline void check() {
    if (!rl_failed())
        return;
    error failure(rl_error_status(), rl_error_text());
    rl_error_clear();
    throw failure;
}

inline rl_status backward(rl_tensor *self, rl_backward_options options = {}) {
    options.struct_size = sizeof options;
    return rl_backward_opt(self, &options);
}
/* One gradient for each input. */
inline std::vector<rl_tensor *> gradients(const tensors &outputs, const tensors &inputs,
                                          rl_gradients_options options = {}) {
    options.struct_size = sizeof options;
    std::vector<rl_tensor *> found(static_cast<size_t>(static_cast<rl_tensors>(inputs).count));
    rl_gradients_opt(outputs, inputs, found.data(), &options);
    return found;
}

inline rl_optimizer *sgd(rl_module *module, rl_optimizer_sgd_options options = {}) {
    options.struct_size = sizeof options;
    return rl_optimizer_sgd_opt(module, &options);
}
inline rl_optimizer *adam(rl_module *module, rl_optimizer_adam_options options = {}) {
    options.struct_size = sizeof options;
    return rl_optimizer_adam_opt(module, &options);
}
inline rl_optimizer *adamw(rl_module *module, rl_optimizer_adam_options options = {}) {
    options.struct_size = sizeof options;
    return rl_optimizer_adamw_opt(module, &options);
}
inline rl_optimizer *rmsprop(rl_module *module, rl_optimizer_rmsprop_options options = {}) {
    options.struct_size = sizeof options;
    return rl_optimizer_rmsprop_opt(module, &options);
}
inline rl_optimizer *adagrad(rl_module *module, rl_optimizer_adagrad_options options = {}) {
    options.struct_size = sizeof options;
    return rl_optimizer_adagrad_opt(module, &options);
}
inline rl_optimizer *adadelta(rl_module *module, rl_optimizer_adadelta_options options = {}) {
    options.struct_size = sizeof options;
    return rl_optimizer_adadelta_opt(module, &options);
}
inline rl_optimizer *adamax(rl_module *module, rl_optimizer_moments_options options = {}) {
    options.struct_size = sizeof options;
    return rl_optimizer_adamax_opt(module, &options);
}
inline rl_optimizer *nadam(rl_module *module, rl_optimizer_moments_options options = {}) {
    options.struct_size = sizeof options;
    return rl_optimizer_nadam_opt(module, &options);
}
inline rl_optimizer *radam(rl_module *module, rl_optimizer_moments_options options = {}) {
    options.struct_size = sizeof options;
    return rl_optimizer_radam_opt(module, &options);
}
inline rl_status add_group(rl_optimizer *self, const tensors &parameters, rl_optimizer_group_options options = {}) {
    options.struct_size = sizeof options;
    return rl_optimizer_add_group_opt(self, parameters, &options);
}
inline rl_tensor *clip_grad_norm(rl_module *module, double max_norm, rl_clip_grad_options options = {}) {
    options.struct_size = sizeof options;
    return rl_clip_grad_norm_opt(module, max_norm, &options);
}
inline rl_status clip_grad_value(rl_module *module, double clip_value, rl_clip_grad_options options = {}) {
    options.struct_size = sizeof options;
    return rl_clip_grad_value_opt(module, clip_value, &options);
}
inline rl_grad_scaler *grad_scaler(rl_grad_scaler_options options = {}) {
    options.struct_size = sizeof options;
    return rl_grad_scaler_new_opt(&options);
}

/* Schedules of learning rates; those without options are called as in C. */
namespace schedule {
inline rl_schedule *step_lr(rl_optimizer *optimizer, int64_t step_size, rl_schedule_gamma_options options = {}) {
    options.struct_size = sizeof options;
    return rl_schedule_step_lr_opt(optimizer, step_size, &options);
}
inline rl_schedule *multi_step_lr(rl_optimizer *optimizer, const dims &milestones,
                                  rl_schedule_gamma_options options = {}) {
    options.struct_size = sizeof options;
    return rl_schedule_multi_step_lr_opt(optimizer, milestones, &options);
}
inline rl_schedule *constant_lr(rl_optimizer *optimizer, rl_schedule_factor_options options = {}) {
    options.struct_size = sizeof options;
    return rl_schedule_constant_lr_opt(optimizer, &options);
}
inline rl_schedule *linear_lr(rl_optimizer *optimizer, rl_schedule_factor_options options = {}) {
    options.struct_size = sizeof options;
    return rl_schedule_linear_lr_opt(optimizer, &options);
}
inline rl_schedule *polynomial_lr(rl_optimizer *optimizer, rl_schedule_factor_options options = {}) {
    options.struct_size = sizeof options;
    return rl_schedule_polynomial_lr_opt(optimizer, &options);
}
inline rl_schedule *cosine_annealing_lr(rl_optimizer *optimizer, int64_t t_max,
                                        rl_schedule_cosine_options options = {}) {
    options.struct_size = sizeof options;
    return rl_schedule_cosine_annealing_lr_opt(optimizer, t_max, &options);
}
inline rl_schedule *cosine_annealing_warm_restarts(rl_optimizer *optimizer, int64_t t_0,
                                                   rl_schedule_cosine_options options = {}) {
    options.struct_size = sizeof options;
    return rl_schedule_cosine_annealing_warm_restarts_opt(optimizer, t_0, &options);
}
inline rl_schedule *one_cycle_lr(rl_optimizer *optimizer, double max_lr, rl_schedule_one_cycle_options options = {}) {
    options.struct_size = sizeof options;
    return rl_schedule_one_cycle_lr_opt(optimizer, max_lr, &options);
}
inline rl_schedule *reduce_lr_on_plateau(rl_optimizer *optimizer, rl_schedule_plateau_options options = {}) {
    options.struct_size = sizeof options;
    return rl_schedule_reduce_lr_on_plateau_opt(optimizer, &options);
}
} // namespace schedule

inline rl_loader *loader(rl_dataset *dataset, rl_loader_options options = {}) {
    options.struct_size = sizeof options;
    return rl_loader_new_opt(dataset, &options);
}

/* Layers, by the names of nn.h; those without options are called there. */
namespace nn {
namespace detail {
template <class Options, class... Given, class... Parameters>
rl_module *make(rl_module *(*made)(Parameters...), Options options, Given... given) {
    options.struct_size = sizeof options;
    return made(given..., &options);
}
} // namespace detail

#define RL_NN_TWO_(name, first, second, type)                                                                          \
    inline rl_module *name(int64_t first, int64_t second, type options = {}) {                                         \
        return detail::make(rl_nn_##name##_opt, options, first, second);                                               \
    }
RL_NN_TWO_(linear, in_features, out_features, rl_nn_linear_options)
RL_NN_TWO_(rnn, input_size, hidden_size, rl_nn_rnn_options)
RL_NN_TWO_(lstm, input_size, hidden_size, rl_nn_rnn_options)
RL_NN_TWO_(gru, input_size, hidden_size, rl_nn_rnn_options)
RL_NN_TWO_(rnn_cell, input_size, hidden_size, rl_nn_rnn_cell_options)
RL_NN_TWO_(lstm_cell, input_size, hidden_size, rl_nn_rnn_cell_options)
RL_NN_TWO_(gru_cell, input_size, hidden_size, rl_nn_rnn_cell_options)
RL_NN_TWO_(group_norm, num_groups, num_channels, rl_nn_group_norm_options)
RL_NN_TWO_(embedding, num_embeddings, embedding_dim, rl_nn_embedding_options)
RL_NN_TWO_(multihead_attention, embed_dim, num_heads, rl_nn_multihead_attention_options)
#undef RL_NN_TWO_

/* conv1d .. conv3d, conv_transpose1d .. 3d, max_pool1d .. 3d, avg_pool1d .. 3d, and norms of so many dimensions */
#define RL_NN_SPATIAL_(n)                                                                                              \
    inline rl_module *conv##n##d(int64_t in_channels, int64_t out_channels, int64_t kernel_size,                       \
                                 rl_nn_conv_options options = {}) {                                                    \
        return detail::make(rl_nn_conv_opt, options, n, false, in_channels, out_channels, kernel_size);                \
    }                                                                                                                  \
    inline rl_module *conv_transpose##n##d(int64_t in_channels, int64_t out_channels, int64_t kernel_size,             \
                                           rl_nn_conv_options options = {}) {                                          \
        return detail::make(rl_nn_conv_opt, options, n, true, in_channels, out_channels, kernel_size);                 \
    }                                                                                                                  \
    inline rl_module *max_pool##n##d(int64_t kernel_size, rl_nn_pool_options options = {}) {                           \
        return detail::make(rl_nn_pool_opt, options, n, false, kernel_size);                                           \
    }                                                                                                                  \
    inline rl_module *avg_pool##n##d(int64_t kernel_size, rl_nn_pool_options options = {}) {                           \
        return detail::make(rl_nn_pool_opt, options, n, true, kernel_size);                                            \
    }                                                                                                                  \
    inline rl_module *adaptive_max_pool##n##d(rl_ints output_size) {                                                   \
        return rl_nn_adaptive_pool(n, false, output_size);                                                             \
    }                                                                                                                  \
    inline rl_module *adaptive_avg_pool##n##d(rl_ints output_size) {                                                   \
        return rl_nn_adaptive_pool(n, true, output_size);                                                              \
    }                                                                                                                  \
    inline rl_module *batch_norm##n##d(int64_t num_features, rl_nn_batch_norm_options options = {}) {                  \
        return detail::make(rl_nn_batch_norm##n##d_opt, options, num_features);                                        \
    }                                                                                                                  \
    inline rl_module *instance_norm##n##d(int64_t num_features, rl_nn_batch_norm_options options = {}) {               \
        return detail::make(rl_nn_instance_norm##n##d_opt, options, num_features);                                     \
    }
RL_NN_SPATIAL_(1)
RL_NN_SPATIAL_(2)
RL_NN_SPATIAL_(3)
#undef RL_NN_SPATIAL_

inline rl_module *layer_norm(rl_ints normalized_shape, rl_nn_layer_norm_options options = {}) {
    return detail::make(rl_nn_layer_norm_opt, options, normalized_shape);
}
inline rl_module *rms_norm(rl_ints normalized_shape, rl_nn_rms_norm_options options = {}) {
    return detail::make(rl_nn_rms_norm_opt, options, normalized_shape);
}
inline rl_module *local_response_norm(int64_t size, rl_nn_local_response_norm_options options = {}) {
    return detail::make(rl_nn_local_response_norm_opt, options, size);
}
inline rl_module *upsample(rl_nn_upsample_options options) {
    return detail::make(rl_nn_upsample_opt, options);
}

/* mse_loss, cross_entropy_loss and the others */
#define RL_NN_CPP_LOSS_(name, text, inputs)                                                                            \
    inline rl_module *name(rl_nn_loss_options options = {}) {                                                          \
        return detail::make(rl_nn_##name##_opt, options);                                                              \
    }
RL_NN_LOSS_LIST(RL_NN_CPP_LOSS_)
#undef RL_NN_CPP_LOSS_

inline rl_module *sequential(std::initializer_list<rl_module *> modules) {
    return rl_nn_sequential_of(modules.begin(), static_cast<int64_t>(modules.size()));
}
/* A module of several inputs, such as a loss; see rl_module_call. */
inline rl_tensor *call(rl_module *module, std::initializer_list<rl_tensor *> inputs) {
    return rl_module_call_of(module, rl_tensors{inputs.begin(), static_cast<int64_t>(inputs.size())});
}
} // namespace nn

} // namespace rushlight

#include "rushlight/ops.hpp"

#endif
