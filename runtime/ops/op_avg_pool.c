/* SPDX-License-Identifier: Apache-2.0 */
/* Average pooling: the fused row, and its lowering to one reduction over a view of all windows. */
#include <string.h>

#include "ops/op_pool.h"

/* (self, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override); 1d has no divisor */
static const rl_pooling_places places = {1, 2, 3, -1, 4, 5, 6}, places_1d = {1, 2, 3, -1, 4, 5, -1};

static rl_status read_window(const rl_call *call, rl_pool_window *w) {
    int64_t spatial = rl_pooling_spatial(call, &places);
    return rl_pooling_read(call, "self", rl_shape_of(rl_arg_tensor(call, 0)), spatial, RL_POOL_AVERAGE,
                           spatial == 1 ? &places_1d : &places, w);
}

static rl_status average_infer(rl_call *call) {
    rl_pool_window w;
    rl_status status = rl_check_float(call, 0);
    if (status == RL_OK)
        status = read_window(call, &w);
    if (status == RL_OK)
        rl_pooling_infer(call, rl_arg_tensor(call, 0), &w);
    return status;
}

static rl_status lower_average(const rl_call *call, rl_tensor *x, rl_tensor *out, const rl_pool_window *w) {
    rl_dtype compute = rl_accumulator((rl_dtype)x->dtype);
    double count;
    bool uniform = rl_pooling_uniform(w, &count);
    rl_tensor *windows = rl_pooling_windows(call, x, w);
    rl_tensor *sums = uniform ? out : rl_pooling_temp(call, compute, w, w->out_size);
    if (windows == NULL || sums == NULL)
        return rl_error_status();
    rl_reduction r = {.prologue = rl_write_value,
                      .prologue_key = RL_KEY(x->dtype, compute, 0, 0),
                      .epilogue = uniform ? rl_write_mean : rl_write_result,
                      .epilogue_key = RL_KEY(0, compute, sums->dtype, 0),
                      .combiner = {RL_COMBINE_SUM},
                      .inputs = {windows},
                      .outputs = {sums},
                      .epilogue_scalars = {{.f = uniform ? count : 0.0}},
                      .shape_of = windows,
                      .mask = rl_pooling_mask(w)};
    rl_status status = rl_reduce(rl_call_name(call), &r);
    return status == RL_OK && !uniform ? rl_pooling_divide(call, sums, out, w) : status;
}

static rl_status average_lower(rl_call *call) {
    rl_pool_args args = {.dtype = call->meta[0].dtype};
    rl_pool_window *w = &args.window;
    rl_status status = read_window(call, w);
    rl_tensor *x = rl_pooling_batched(rl_arg_tensor(call, 0), w->spatial);
    rl_tensor *out = rl_pooling_batched(call->results[0], w->spatial);
    if (status != RL_OK || x == NULL || out == NULL || out->numel == 0)
        return rl_error_status();
    bool ran;
    status = rl_row_fused(rl_call_name(call), RL_ROW_POOL, &args, sizeof args, (rl_tensor *[]){x, out}, 2, &ran);
    return status == RL_OK && !ran ? lower_average(call, x, out, w) : status;
}

/* gx = each window's g over its number of elements, summed over the windows that see x */
static void gradient(rl_vjp *v, int64_t spatial, int64_t divisor) {
    int64_t kernel[RL_MAX_DIMS]; /* whose count says how many dimensions there are */
    rl_vjp_set(v, 0,
               rl_avg_pool_backward(G, rl_vjp_shape(v, 0), rl_pooling_spread(v, 1, spatial, kernel), rl_vjp_ints(v, 2),
                                    rl_vjp_ints(v, 3), rl_vjp_arg(v, 4)->as.b, rl_vjp_arg(v, 5)->as.b ? 1 : RL_ZERO,
                                    divisor));
}
static int64_t divisor_of(rl_vjp *v) {
    return rl_vjp_arg(v, 6)->kind == RL_VALUE_INT ? rl_vjp_int(v, 6) : 0;
}
static void average1_vjp(rl_vjp *v) {
    gradient(v, 1, 0);
}
static void average2_vjp(rl_vjp *v) {
    gradient(v, 2, divisor_of(v));
}
static void average3_vjp(rl_vjp *v) {
    gradient(v, 3, divisor_of(v));
}

static const rl_sample average1_samples[] = {{"f[2,3,8], 2"},
                                             {"f[3,9], [3], [2], 1"},
                                             {"f[2,2,11]t, 3, 2, 1, false, false"},
                                             {"f[1,2,10]s, 3, 3, 1, true"},
                                             {"f[0,2,5], 2"},
                                             {"f[1,1,40], 5, 1, 2"},
                                             {0}};
static const rl_sample average2_samples[] = {{"f[2,3,6,8], 2"},
                                             {"f[1,2,6,5], [3], [2], [1]"},
                                             {"f[1,2,7,9], [3,3], [2,2], [1,1]"},
                                             {"f[1,2,7,9], [3,3], [2,2], [1,1], false, false"},
                                             {"f[3,5,5], [2,3], [1,2], [0,1], true"},
                                             {"f[2,5,7,3]t, 2"},
                                             {"f[2,20,7,3]t, 3, 1, 1, true, false"},
                                             {"f[1,2,8,9]s, 3, 2, 1, true, true, 5"},
                                             {"f[0,2,4,4], 2"},
                                             {"f[2,2,6,40], [6,40]"},
                                             {0}};
static const rl_sample average3_samples[] = {{"f[1,2,4,4,4], 2"},
                                             {"f[1,1,3,4,4], [2]"},
                                             {"f[2,3,4,5], [2,1,3], [1,2,2], [1,0,1]"},
                                             {"f[1,5,4,3,2]t, 2, 1, 1, false, false"},
                                             {"f[1,1,4,3,6]s, 2, 2, 1, true, true, -3"},
                                             {"f[0,2,4,4,4], 2"},
                                             {0}};
static const rl_bad average1_bad[] = {
    {"f[4], 2", RL_SHAPE_MISMATCH, "self must have shape (C, L) or (N, C, L), has (4)"},
    {"i64[2,4], 2", RL_DTYPE_MISMATCH, "floating dtype"},
    {0}};
static const rl_bad average2_bad[] = {
    {"f[4,4], 2", RL_SHAPE_MISMATCH, "self must have shape (C, H, W) or (N, C, H, W), has (4, 4)"},
    {"f[1,4,4], 5", RL_SHAPE_MISMATCH, "self (1, 4, 4) is too small: no window of extent 5 fits into 4"},
    {"f[1,4,4], 2, 0", RL_INVALID_ARGUMENT, "stride must be at least 1, got 0"},
    {"f[1,4,4], 2, 2, 2", RL_INVALID_ARGUMENT, "padding must be at most half of the kernel's extent"},
    {"f[1,4,4], 2, 2, 0, false, true, 0", RL_INVALID_ARGUMENT, "divisor_override must not be 0"},
    {0}};
static const rl_bad average3_bad[] = {
    {"f[4,4,4], 2", RL_SHAPE_MISMATCH, "self must have shape (C, D, H, W) or (N, C, D, H, W), has (4, 4, 4)"}, {0}};

const rl_op_def rl_op_def_avg_pool1d = {
    .schema = "avg_pool1d(Tensor self, int[1] kernel_size, int[1]? stride=None, int[1] padding=0, "
              "bool ceil_mode=False, bool count_include_pad=True) -> Tensor",
    .doc = "y = the mean of each window of self (N, C, L) or (C, L)",
    .note = "stride is kernel_size where it is None. Padding counts as zeros, or not at all where count_include_pad is "
            "false. The result lies in memory as self does.",
    .flags = RL_OP_ROWS,
    .infer = average_infer,
    .lower = average_lower,
    .vjp = average1_vjp,
    .samples = average1_samples,
    .bad = average1_bad,
};

const rl_op_def rl_op_def_avg_pool2d = {
    .schema = "avg_pool2d(Tensor self, int[2] kernel_size, int[2]? stride=None, int[2] padding=0, "
              "bool ceil_mode=False, bool count_include_pad=True, int? divisor_override=None) -> Tensor",
    .doc = "y = the mean of each window of self (N, C, H, W) or (C, H, W)",
    .note = "stride is kernel_size where it is None. Padding counts as zeros, or not at all where count_include_pad is "
            "false. The result lies in memory as self does.",
    .flags = RL_OP_ROWS,
    .infer = average_infer,
    .lower = average_lower,
    .vjp = average2_vjp,
    .samples = average2_samples,
    .bad = average2_bad,
};

const rl_op_def rl_op_def_avg_pool3d = {
    .schema = "avg_pool3d(Tensor self, int[3] kernel_size, int[3]? stride=None, int[3] padding=0, "
              "bool ceil_mode=False, bool count_include_pad=True, int? divisor_override=None) -> Tensor",
    .doc = "y = the mean of each window of self (N, C, D, H, W) or (C, D, H, W)",
    .note = "stride is kernel_size where it is None. Padding counts as zeros, or not at all where count_include_pad is "
            "false. The result lies in memory as self does.",
    .flags = RL_OP_ROWS | RL_OP_AUTOCAST_F32,
    .infer = average_infer,
    .lower = average_lower,
    .vjp = average3_vjp,
    .samples = average3_samples,
    .bad = average3_bad,
};
