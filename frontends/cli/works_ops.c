/* SPDX-License-Identifier: Apache-2.0 */
/* Works of one op, or of a few. */
#include "works.h"

/* Small ones: what a call costs
 * ------------------------------------------------------------------------------------------------------------------ */

static rl_tensor *add_b(const work_state *self, rl_tensor *x) {
    return rl_add(x, self->b);
}

void prepare_op_add_16(work_state *self) {
    self->a = work_normal(RL_DIMS(16));
    self->b = work_normal(RL_DIMS(16));
}
rl_tensor *run_op_add_16(work_state *self) {
    return work_chain(self, add_b);
}

void prepare_op_add_16_grad(work_state *self) {
    prepare_op_add_16(self);
    rl_requires_grad(self->a, true);
}
rl_tensor *run_op_add_16_grad(work_state *self) {
    return work_chain(self, add_b);
}

static rl_tensor *matmul_b(const work_state *self, rl_tensor *x) {
    return rl_matmul(x, self->b);
}
void prepare_op_matmul_4(work_state *self) {
    self->a = work_normal(RL_DIMS(4, 4));
    self->b = rl_retain(rl_eye(4));
}
rl_tensor *run_op_matmul_4(work_state *self) {
    return work_chain(self, matmul_b);
}

static rl_tensor *slice_t(const work_state *self, rl_tensor *x) {
    (void)self;
    return rl_t(rl_slice(x, .end = 8));
}
void prepare_op_view_slice(work_state *self) {
    self->a = work_normal(RL_DIMS(8, 8));
}
rl_tensor *run_op_view_slice(work_state *self) {
    return work_chain(self, slice_t);
}

static rl_tensor *convolve_b(const work_state *self, rl_tensor *x) {
    return rl_conv2d(x, self->b, .padding = RL_DIMS(1, 1));
}
void prepare_tiny_conv(work_state *self) {
    self->a = work_normal(RL_DIMS(1, 1, 8, 8));
    self->b = rl_retain(rl_mul(rl_randn(RL_DIMS(1, 1, 3, 3)), 0.25)); /* so that the chain stays in bounds */
}
rl_tensor *run_tiny_conv(work_state *self) {
    return work_chain(self, convolve_b);
}

/* Matrix products
 * ------------------------------------------------------------------------------------------------------------------ */

static void prepare_squares(work_state *self, int64_t n) {
    self->a = work_normal(RL_DIMS(n, n));
    self->b = work_normal(RL_DIMS(n, n));
}
void prepare_matmul_256(work_state *self) {
    prepare_squares(self, 256);
}
rl_tensor *run_matmul_256(work_state *self) {
    return rl_matmul(self->a, self->b);
}
void prepare_matmul_1024(work_state *self) {
    prepare_squares(self, 1024);
}
rl_tensor *run_matmul_1024(work_state *self) {
    return rl_matmul(self->a, self->b);
}

/* 4M floats, element by element
 * ------------------------------------------------------------------------------------------------------------------ */

void prepare_add_4m(work_state *self) {
    self->a = work_normal(RL_DIMS(WORK_4M));
    self->b = work_normal(RL_DIMS(WORK_4M));
}
rl_tensor *run_add_4m(work_state *self) {
    return rl_add(self->a, self->b);
}

void prepare_exp_4m(work_state *self) {
    self->a = work_normal(RL_DIMS(WORK_4M));
}
rl_tensor *run_exp_4m(work_state *self) {
    return rl_exp(self->a);
}

/* 0.5 a (1 + tanh(sqrt(2 / pi) (a + 0.044715 a^3))) */
static rl_status gelu_chain(rl_tensors in, rl_tensor **out, int64_t n, void *context) {
    rl_tensor *a = in.data[0];
    rl_tensor *inner = rl_mul(rl_add(a, rl_mul(rl_mul(rl_mul(a, 0.044715), a), a)), 0.7978845608);
    (void)n;
    (void)context;
    out[0] = rl_mul(rl_mul(a, 0.5), rl_add(rl_tanh(inner), 1.0));
    return rl_error_status();
}
void prepare_gelu_chain_4m(work_state *self) {
    prepare_exp_4m(self);
}
rl_tensor *run_gelu_chain_4m(work_state *self) {
    rl_tensor *y = NULL;
    rl_fuse(gelu_chain, NULL, RL_TENSORS(self->a), &y, 1);
    return y;
}
void prepare_gelu_chain_4m_eager(work_state *self) {
    prepare_exp_4m(self);
}
rl_tensor *run_gelu_chain_4m_eager(work_state *self) {
    rl_tensor *y = NULL;
    gelu_chain(RL_TENSORS(self->a), &y, 1, NULL);
    return y;
}

/* 4M floats, by rows
 * ------------------------------------------------------------------------------------------------------------------ */

void prepare_sum_dim_4m(work_state *self) {
    self->a = work_normal(RL_DIMS(2048, 2048));
}
rl_tensor *run_sum_dim_4m(work_state *self) {
    return rl_sum(self->a, .dim = RL_DIMS(0));
}

void prepare_transpose_copy_4m(work_state *self) {
    self->a = work_normal(RL_DIMS(2048, 2048));
}
rl_tensor *run_transpose_copy_4m(work_state *self) {
    return rl_contiguous(rl_t(self->a));
}

void prepare_softmax_4m(work_state *self) {
    self->a = work_normal(RL_DIMS(4096, 1024));
}
rl_tensor *run_softmax_4m(work_state *self) {
    return rl_softmax(self->a, -1);
}

void prepare_softmax_fb(work_state *self) {
    prepare_softmax_4m(self);
    self->b = work_normal(RL_DIMS(4096, 1024));
    rl_requires_grad(self->a, true);
}
rl_tensor *run_softmax_fb(work_state *self) {
    rl_set_grad(self->a, NULL);
    rl_backward(rl_softmax(self->a, -1), .gradient = self->b);
    return rl_grad(self->a);
}

void prepare_cross_entropy_fb(work_state *self) {
    self->a = work_normal(RL_DIMS(256, 10000));
    self->b = rl_retain(rl_randint(0, 10000, RL_DIMS(256)));
    rl_requires_grad(self->a, true);
}
rl_tensor *run_cross_entropy_fb(work_state *self) {
    rl_set_grad(self->a, NULL);
    rl_backward(rl_cross_entropy(self->a, self->b));
    return rl_grad(self->a);
}

/* Convolution
 * ------------------------------------------------------------------------------------------------------------------ */

void prepare_conv_fb(work_state *self) {
    self->net = rl_retain(rl_nn_conv2d(64, 64, 3, .padding = 1));
    self->a = work_normal(RL_DIMS(16, 64, 28, 28));
    rl_requires_grad(self->a, true);
}
rl_tensor *run_conv_fb(work_state *self) {
    rl_set_grad(self->a, NULL);
    rl_module_zero_grad(self->net);
    rl_backward(rl_sum(rl_module_forward(self->net, self->a)));
    return rl_grad(self->a);
}
