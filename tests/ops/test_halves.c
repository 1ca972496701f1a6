/* SPDX-License-Identifier: Apache-2.0 */
/*
 * f16 and bf16 are for storing: what an op computes of them is computed in f32 and rounded once. Long sums, where an
 * accumulator of few bits would show (256 + 1 is 256 in bf16), against the same call in f64, in units of the last
 * place.
 */
#include <stdio.h>
#include <string.h>

#include "driver.h"
#include "rushlight/ops.h"

#define ONCE 0.53 /* rounded once, after a computation in f32 */

static const struct row {
    const char *op, *line;
    double ulps;
    const char *why; /* where it is not ONCE; "" */
} rows[] = {
    {"sum", "p[4001]", ONCE, ""},
    {"sum", "p[67,3001], [1]", ONCE, ""},
    {"sum", "p[3001,67], [0]", ONCE, ""},
    {"nansum", "p[4001]", ONCE, ""},
    {"mean", "p[200001]", ONCE, ""},
    {"prod", "p[31]", ONCE, ""},
    {"var", "f[67,3001], [1]", ONCE, ""},
    {"std", "f[67,3001], [1]", ONCE, ""},
    {"var_mean", "f[67,3001], [1]", ONCE, ""},
    {"linalg_vector_norm", "p[20001]", ONCE, ""},
    {"logsumexp", "f[67,3001], [1]", ONCE, ""},
    {"softmax", "f[67,3001], 1", 1.01, "some are below the normal f16"},
    {"log_softmax", "f[67,3001], 1", ONCE, ""},
    {"softmax_backward", "f[67,3001], u[67,3001], 1", ONCE, ""},
    {"log_softmax_backward", "f[67,3001], f[67,3001], 1", ONCE, ""},
    {"mm", "p[33,2001], p[2001,35]", ONCE, ""},
    {"bmm", "p[3,33,2001], p[3,2001,35]", ONCE, ""},
    {"mv", "p[33,2001], p[2001]", ONCE, ""},
    {"dot", "p[4001], p[4001]", ONCE, ""},
    {"linear", "p[33,2001], p[35,2001], p[35]", ONCE, ""},
    {"addmm", "p[33,35], p[33,2001], p[2001,35]", ONCE, ""},
    {"baddbmm", "p[2,33,35], p[2,33,2001], p[2,2001,35]", ONCE, ""},
    {"conv2d", "p[2,65,9,9], p[5,65,3,3], p[5]", ONCE, ""},
    {"conv_grad_weight", "p[8,3,33,35], p[8,5,33,35], [3,3], [1], [1]", ONCE, ""},
    {"conv_grad_input", "p[2,65,9,9], p[65,7,3,3], None, [9,9], [1], [1]", ONCE, ""},
    {"mse_loss", "f[4001], f[4001]", ONCE, ""},
    {"l1_loss", "f[4001], f[4001]", ONCE, ""},
    {"smooth_l1_loss", "f[4001], f[4001]", ONCE, ""},
    {"huber_loss", "f[4001], f[4001]", ONCE, ""},
    {"binary_cross_entropy", "u[4001], u[4001]", ONCE, ""},
    {"binary_cross_entropy_with_logits", "f[4001], u[4001]", ONCE, ""},
    {"kl_div", "f[4001], u[4001]", ONCE, ""},
    {"nll_loss", "f[301,701], i[301]<701", ONCE, ""},
    {"cross_entropy", "f[301,701], i[301]<701", 2.0, "log_softmax is rounded, as in PyTorch"},
    {"cumsum", "p[2001], 0", ONCE, ""},
    {"cumprod", "p[15], 0", ONCE, ""},
    {"logcumsumexp", "f[2001], 0", ONCE, ""},
    {"scatter_add", "p[3,5], 1, i[3,2001]<5, p[3,2001]", ONCE, ""},
    {"index_add", "p[5,3], 0, i[2001]<5, p[2001,3]", ONCE, ""},
    {"scatter_reduce", "p[5], 0, i[2001]<5, p[2001], \"sum\"", ONCE, ""},
    {"scatter_reduce", "p[5], 0, i[2001]<5, p[2001], \"mean\"", 1.1, "the sum is rounded before it is divided"},
    {"embedding_backward", "p[2001,3], i[2001]<5, 5, -1", ONCE, ""},
    {"gelu", "f[1001]", ONCE, ""},
    {"gelu_backward", "f[1001], f[1001]", ONCE, ""},
    {"silu", "f[1001]", ONCE, ""},
    {"mish", "f[1001]", ONCE, ""},
    {"softplus", "f[1001]", ONCE, ""},
    {"addcmul", "f[1001], f[1001], f[1001]", ONCE, ""},
    {"addcdiv", "f[1001], f[1001], p[1001]", ONCE, ""},
    {"logaddexp", "f[1001], f[1001]", ONCE, ""},
};
enum { N_ROWS = sizeof rows / sizeof *rows, MOST_RESULTS = 4 };

static size_t op_of(const char *name) {
    rl_op_info info = {.struct_size = sizeof info};
    size_t op = 0;
    while (op < rl_op_count() && !(rl_op_describe(op, &info) && strcmp(info.name, name) == 0))
        op++;
    return op;
}

/* The same call in f64 on the reference device. */
static int64_t run_wide(const driver *self, const rl_test_call *call, const char *op, rl_dtype half, rl_tensor **out) {
    rl_argument wide[16];
    int64_t count, n_results = 0;
    const rl_argument *arguments = rl_test_arguments(call, &count);
    for (int64_t i = 0; i < count; i++) {
        wide[i] = arguments[i];
        if (wide[i].value.kind != RL_VALUE_TENSOR)
            continue;
        rl_tensor *t = rl_to(arguments[i].value.as.tensor, .device = self->ref);
        wide[i].value.as.tensor = rl_tensor_dtype(t) == half ? rl_to(t, .dtype = RL_F64) : t;
    }
    rl_op_call(op, wide, count, out, MOST_RESULTS, &n_results);
    return n_results;
}

/* How far apart they are at most, in units of the last place of `half` at the wide number; subnormals in the least. */
static double distance(const driver *self, rl_tensor *got, rl_tensor *want, rl_dtype half) {
    double step = half == RL_F16 ? 0x1p-10 : 0x1p-7, least = half == RL_F16 ? 0x1p-14 : 0x1p-126;
    rl_tensor *ulp = rl_mul(rl_exp2(rl_floor(rl_log2(rl_clamp_min(rl_abs(want), least)))), step);
    rl_tensor *close = rl_to(rl_to(got, .device = self->ref), .dtype = RL_F64);
    return rl_item(rl_amax(rl_div(rl_abs(rl_sub(close, want)), ulp)));
}

static int try_row(const driver *self, rl_device *device, const struct row *row, rl_dtype half) {
    RL_SCOPE();
    rl_tensor *want[MOST_RESULTS];
    double worst = 0.0;
    rl_test_call *call = rl_test_line_call(op_of(row->op), row->line, half, device, RL_TEST_CONTIGUOUS);
    if (call && rl_test_run(call, false) == RL_OK) {
        int64_t count = run_wide(self, call, row->op, half, want);
        for (int64_t i = 0; i < count && !rl_failed(); i++) {
            double apart = distance(self, rl_test_results(call).data[i], want[i], half);
            worst = apart <= worst ? worst : apart; /* NaN stays */
        }
    }
    if (!rl_failed() && worst <= row->ulps)
        return 0;
    printf("FAIL on %s: %s %s of %s: %g units in the last place, %g are allowed (%s). %s\n", rl_device_name(device),
           row->op, row->line, rl_dtype_name(half), worst, row->ulps, row->why, rl_error_text());
    rl_error_clear();
    return 1;
}

int main(void) {
    driver self = {0};
    int wrong = 0;
    if (!find_devices(&self, NULL))
        return 1;
    for (int k = 0; k < self.n_devices; k++)
        for (int i = 0; i < N_ROWS; i++) {
            wrong += try_row(&self, self.devices[k], &rows[i], RL_F16);
            wrong += try_row(&self, self.devices[k], &rows[i], RL_BF16);
        }
    printf("%d calls on %d devices, %d wrong\n", 2 * N_ROWS, self.n_devices, wrong);
    rl_shutdown();
    return wrong != 0;
}
