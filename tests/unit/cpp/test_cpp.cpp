/* SPDX-License-Identifier: Apache-2.0 */
/* The classic first script in C++, and each way that rushlight.hpp passes an argument. */
#include <rushlight/rushlight.hpp>

#include <cmath>
#include <cstdio>
#include <cstring>

namespace rl = rushlight;

static int failures;
#define EXPECT(condition)                                                                                              \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            std::printf("%s:%d: %s is false; %s\n", __FILE__, __LINE__, #condition, rl_error_text());                  \
            failures++;                                                                                                \
        }                                                                                                              \
    } while (0)

static void values() {
    rl::scope round;
    rl_tensor *x = rl::arange(6);
    rl_tensor *rows = rl::reshape(x, {2, 3});
    EXPECT(rl_tensor_ndim(rows) == 2 && rl_tensor_size(rows, 1) == 3);
    EXPECT(rl_tensor_dtype(rl::add(x, 1)) == RL_I64 && rl_tensor_dtype(rl::add(x, 1.5f)) == RL_F32);
    EXPECT(rl_tensor_dtype(rl::mul(rl::ones({2}), true)) == RL_F32);
    rl_sum_options options = {};
    rl::dims over{0};
    options.dim = over;
    options.keepdim = true;
    EXPECT(rl_item(rl::select(rl::flatten(rl::sum(rows, options)), 0, 2)) == 7);
    EXPECT(rl_tensor_ndim(rl::ones({})) == 0);
    EXPECT(rl_tensor_size(rl::cat({x, x}), 0) == 12);
    EXPECT(rl_tensor_size(rl::cat(rl::tensors(std::vector<rl_tensor *>(3, x))), 0) == 18);
    EXPECT(rl_tensor_size(rl::reshape(x, rl::dims(std::vector<int64_t>{3, -1})), 1) == 2);
    EXPECT(rl_item_int(rl::max_dim(rows, 1).indices ? rl::select(rl::max_dim(rows, 1).indices, 0, 0) : nullptr) == 2);
#if __cplusplus >= 202002L
    EXPECT(rl_item_int(rl::select(rl::sum(rows, {.dim = rl::dims{1}}), 0, 1)) == 12);
#endif
}

static void errors() {
    rl::scope round;
    EXPECT(rl::matmul(rl::ones({2, 3}), rl::ones({2, 3})) == nullptr);
    try {
        rl::check();
        EXPECT(!"an exception");
    } catch (const rl::error &e) {
        EXPECT(e.status() == RL_SHAPE_MISMATCH && std::strstr(e.what(), "matmul"));
    }
    EXPECT(!rl_failed());
    rl::check();
}

/* As README.md has it. */
static void options() {
    rl::scope all;
    rl_tensor *x = rl::ones({2, 3});
    rl_module *net = rl::nn::sequential({rl::nn::linear(3, 1), rl_nn_relu()});
    const rl::dims rows{0};
    rl_sum_options over_rows = {};
    over_rows.dim = rows;
    rl_tensor *y = rl::sum(x, over_rows);
    rl_optimizer *adam = rl::adam(net);
    rl::check();
    EXPECT(adam && rl_tensor_numel(y) == 3 && rl_tensor_numel(rl_module_forward(net, x)) == 2);
}

static void layers() {
    rl::scope all;
    rl_nn_conv_options same = {};
    same.padding = 1;
    rl_nn_upsample_options twice = {};
    twice.scale_factor = 2;
    const rl::dims one{1}, eight{8};
    rl_module *net = rl::nn::sequential(
        {rl::nn::conv2d(1, 4, 3, same), rl::nn::batch_norm2d(4), rl_nn_relu(), rl::nn::max_pool2d(2),
         rl::nn::upsample(twice), rl::nn::conv_transpose2d(4, 4, 3, same), rl::nn::group_norm(2, 4),
         rl::nn::adaptive_avg_pool2d(one), rl_nn_flatten(1, -1), rl::nn::linear(4, 8), rl::nn::layer_norm(eight),
         rl::nn::rms_norm(eight), rl::nn::multihead_attention(8, 2), rl::nn::lstm(8, 3)});
    rl::check();
    EXPECT(net && rl::nn::embedding(5, 2) && rl::nn::avg_pool1d(2) && rl::nn::instance_norm3d(2) &&
           rl::nn::local_response_norm(3) && rl::nn::conv_transpose1d(1, 1, 2) && rl::nn::gru_cell(2, 2));
    rl_tensor *x = rl_module_forward(rl_module_child(net, "0"), rl::ones({2, 1, 6, 6}));
    rl_tensor *loss = rl::nn::call(rl::nn::smooth_l1_loss(), {x, rl::zeros_like(x)});
    EXPECT(rl_tensor_size(x, 3) == 6 && rl_item(loss) >= 0.0);
    rl::check();
}

static void training() {
    rl::scope all;
    rl_manual_seed(0);
    rl_module *net = rl::nn::sequential({rl::nn::linear(1, 1), rl_nn_identity()});
    rl_optimizer_sgd_options options = {};
    options.lr = 0.01;
    rl_optimizer *sgd = rl::sgd(net, options);
    rl_tensor *x = rl::reshape(rl::arange(4.0), {4, 1}), *y = rl::mul(x, 2);
    double first = 0, last = 0;
    for (int epoch = 0; epoch < 300; epoch++) {
        rl::scope round;
        rl_tensor *loss = rl::mse_loss(rl_module_forward(net, x), y);
        rl_optimizer_zero_grad(sgd);
        rl::backward(loss);
        rl_optimizer_step(sgd);
        last = rl_item(loss);
        first = epoch ? first : last;
    }
    EXPECT(first > 0.1 && last < 0.1 * first);
    rl_tensor *w = rl_module_tensor(net, "0.weight");
    std::vector<rl_tensor *> found = rl::gradients({rl::sum(rl::square(w))}, {w});
    EXPECT(std::fabs(rl_item(found[0]) - 2 * rl_item(w)) < 1e-5);
    {
        rl::autocast region(RL_BF16);
        EXPECT(rl_tensor_dtype(rl_module_forward(net, x)) == RL_BF16);
    }
    rl_schedule *schedule = rl::schedule::multi_step_lr(sgd, {1, 2});
    rl_schedule_step(schedule);
    EXPECT(std::fabs(rl_optimizer_lr(sgd) - 0.001) < 1e-12);
    EXPECT(rl_item(rl::clip_grad_norm(net, 1.0)) >= 0);
    EXPECT(rl::nadam(net) && rl::grad_scaler());
    rl::no_grad still;
    EXPECT(!rl_tensor_requires_grad(rl::mul(w, 2)));
}

int main() {
    values();
    errors();
    options();
    layers();
    training();
    EXPECT(!rl_failed());
    rl_shutdown();
    return failures != 0;
}
