/* SPDX-License-Identifier: Apache-2.0 */
/* Prints the bits of what some ops compute on opencl, a line each: for bits.sh, which compares runs. */
#include <inttypes.h>
#include <stdio.h>

#include "rushlight/rushlight.h"

/* FNV-1a of the elements. */
static uint64_t hash_of(rl_tensor *x) {
    rl_tensor *host = rl_contiguous(rl_to(x, .device = rl_device_get("ref")));
    const unsigned char *at = rl_tensor_data(host);
    size_t bytes = at ? (size_t)rl_tensor_numel(host) * rl_dtype_size(rl_tensor_dtype(host)) : 0;
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < bytes; i++)
        hash = (hash ^ at[i]) * UINT64_C(0x100000001b3);
    return hash;
}

static void tell(const char *name, rl_tensor *x) {
    printf("%s %016" PRIx64 "\n", name, x ? hash_of(x) : 0);
}

static void work(rl_tensor *x) {
    tell("gelu", rl_gelu(rl_add(x, rl_mul(x, x))));
    rl_tensor *far = rl_add(x, rl_mul(rl_gt(x, 2.0), 1e5)); /* a lane far away must not change its neighbours */
    tell("sin", rl_sin(far));
    tell("cos", rl_cos(far));
    tell("dropout", rl_dropout(x, 0.5, true));
    tell("sum", rl_sum(x));
    tell("sum of rows", rl_sum(x, .dim = RL_DIMS(1)));
    tell("sum of columns", rl_sum(rl_transpose(x, 0, 1), .dim = RL_DIMS(1)));
    tell("mean of both", rl_mean(x, .dim = RL_DIMS(0, 1)));
    tell("var", rl_var(x, .dim = RL_DIMS(1)));
    tell("prod", rl_prod(x, .dim = RL_DIMS(0)));
    tell("argmax", rl_argmax(x, .dim = 1));
    tell("argmin", rl_argmin(x));
    tell("amax", rl_amax(rl_exp(x), .dim = RL_DIMS(0)));
    tell("logsumexp", rl_logsumexp(x, RL_DIMS(1)));
    tell("norm", rl_linalg_vector_norm(x));
    tell("matmul", rl_matmul(x, rl_transpose(x, 0, 1)));
    tell("softmax", rl_softmax(x, 1));
}

/* Beyond what is little: unrolled lines, spans of columns, parts; and where there is work to cut. */
static void large_work(rl_device *device) {
    rl_device *ref = rl_device_get("ref");
    rl_tensor *x = rl_to(rl_randn(RL_DIMS(4, 60000), .device = ref), .device = device);
    rl_tensor *image = rl_to(rl_randn(RL_DIMS(1, 3, 37, 41), .device = ref), .device = device);
    rl_tensor *kernel = rl_to(rl_randn(RL_DIMS(3, 1, 3, 3), .device = ref), .device = device);
    rl_requires_grad(image, true);
    rl_requires_grad(kernel, true);
    tell("large sum", rl_sum(x));
    tell("large sum of rows", rl_sum(x, .dim = RL_DIMS(1)));
    tell("large sum of columns", rl_sum(rl_reshape(x, RL_DIMS(240, 1000)), .dim = RL_DIMS(0)));
    tell("large cumsum", rl_cumsum(x, 1));
    tell("large layer_norm", rl_layer_norm(x, RL_DIMS(60000)));
    tell("large softmax", rl_softmax(rl_reshape(x, RL_DIMS(480, 500)), 1));
    tell("large argmax", rl_argmax(x));
    rl_tensor *y = rl_conv2d(rl_avg_pool2d(image, RL_DIMS(3), .stride = RL_DIMS(1)), kernel, .groups = 3);
    rl_backward(rl_sum(rl_mul(y, y)));
    tell("pooled depthwise", y);
    tell("its gradient", rl_grad(image));
    tell("its weight's gradient", rl_grad(kernel));
}

/* bits [f32]: all dtypes and sizes, or little float32 alone. */
int main(int argc, char **argv) {
    static const rl_dtype dtypes[] = {RL_F32, RL_F16, RL_F64};
    (void)argv;
    rl_device *device = rl_device_get("opencl");
    for (size_t i = 0; device && i < (argc > 1 ? 1 : sizeof dtypes / sizeof *dtypes); i++) {
        RL_SCOPE();
        rl_manual_seed(7);
        rl_tensor *x = rl_to(rl_randn(RL_DIMS(70, 131), .device = rl_device_get("ref")), .dtype = dtypes[i]);
        printf("%s\n", rl_dtype_name(dtypes[i]));
        work(rl_to(x, .device = device));
        if (dtypes[i] == RL_F32 && argc == 1)
            large_work(device);
    }
    if (rl_failed())
        fprintf(stderr, "bits: %s\n", rl_error_text());
    int failed = rl_failed();
    rl_shutdown();
    return failed;
}
