/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Maximum pooling. The ops without indices run the fused row, whose backward finds the first maximum of each window
 * anew: nothing but the input is kept for it. Those with indices reduce over a view of all windows.
 */
#include <string.h>

#include "ops/op_pool.h"

/* (self, kernel_size, stride, padding, dilation, ceil_mode) */
static const rl_pooling_places forward_places = {1, 2, 3, 4, 5, -1, -1};

static rl_status read_window(const rl_call *call, rl_pool_window *w) {
    return rl_pooling_read(call, "self", rl_shape_of(rl_arg_tensor(call, 0)), rl_pooling_spatial(call, &forward_places),
                           RL_POOL_MAX, &forward_places, w);
}

static rl_status check_no_bool(const rl_call *call) {
    return rl_arg_tensor(call, 0)->dtype != RL_BOOL
               ? RL_OK
               : rl_call_fail(call, RL_DTYPE_MISMATCH, "self must not be of dtype bool");
}

static rl_status max_infer(rl_call *call) {
    rl_pool_window w;
    rl_status status = check_no_bool(call);
    if (status == RL_OK)
        status = read_window(call, &w);
    if (status == RL_OK)
        rl_pooling_infer(call, rl_arg_tensor(call, 0), &w);
    return status;
}

static rl_status lower_max(const rl_call *call, rl_tensor *x, rl_tensor *out, const rl_pool_window *w) {
    rl_tensor *windows = rl_pooling_windows(call, x, w);
    if (windows == NULL)
        return rl_error_status();
    rl_dtype compute = rl_accumulator((rl_dtype)x->dtype);
    rl_reduction r = {.prologue = rl_write_value,
                      .prologue_key = RL_KEY(x->dtype, compute, 0, 0),
                      .epilogue = rl_write_result,
                      .epilogue_key = RL_KEY(0, compute, out->dtype, 0),
                      .combiner = {RL_COMBINE_MAX},
                      .inputs = {windows},
                      .outputs = {out},
                      .shape_of = windows,
                      .mask = rl_pooling_mask(w)};
    return rl_reduce(rl_call_name(call), &r);
}

static rl_status max_lower(rl_call *call) {
    rl_pool_args args = {.dtype = call->meta[0].dtype};
    rl_pool_window *w = &args.window;
    rl_status status = read_window(call, w);
    rl_tensor *x = rl_pooling_batched(rl_arg_tensor(call, 0), w->spatial);
    rl_tensor *out = rl_pooling_batched(call->results[0], w->spatial);
    if (status != RL_OK || x == NULL || out == NULL || out->numel == 0)
        return rl_error_status();
    bool ran;
    status = rl_row_fused(rl_call_name(call), RL_ROW_POOL, &args, sizeof args, (rl_tensor *[]){x, out}, 2, &ran);
    return status == RL_OK && !ran ? lower_max(call, x, out, w) : status;
}

/* gx = g at the first maximum of each window */
static void first_maximum_vjp(rl_vjp *v, int64_t spatial) {
    int64_t kernel[RL_MAX_DIMS]; /* whose count says how many dimensions there are */
    rl_vjp_set(v, 0,
               rl_max_pool_backward(G, X, rl_pooling_spread(v, 1, spatial, kernel), rl_vjp_ints(v, 2),
                                    rl_vjp_ints(v, 3), rl_vjp_ints(v, 4), rl_vjp_arg(v, 5)->as.b));
}
static void max1_vjp(rl_vjp *v) {
    first_maximum_vjp(v, 1);
}
static void max2_vjp(rl_vjp *v) {
    first_maximum_vjp(v, 2);
}
static void max3_vjp(rl_vjp *v) {
    first_maximum_vjp(v, 3);
}

static const rl_sample max1_samples[] = {{"d[2,3,8], 2"},
                                         {"d[3,9], [3], [2], 1"},
                                         {"d[2,2,11]t, 3, 2, 0, 2"},
                                         {"d[1,2,10]s, 3, 3, 1, 1, true"},
                                         {"f[0,2,5], 2"},
                                         {"d[1,1,40], 5, 1, 2"},
                                         {0}};
static const rl_sample max2_samples[] = {{"d[2,3,6,8], 2"},
                                         {"d[1,2,6,5], [3], [2], [1]"},
                                         {"d[1,2,7,9], [3,3], [2,2], [1,1]"},
                                         {"d[3,5,5], [2,3], [1,2], [0,1]"},
                                         {"d[2,5,7,3]t, 2"},
                                         {"d[1,2,8,9]s, 3, 2, 1, [1,2], true"},
                                         {"f[0,2,4,4], 2"},
                                         {"d[1,1,5,6], 2, 3, 0, 1, true"},
                                         {"d[1,2,4,20], 2"},
                                         {"n[2,2,5,5], 3, 1, 1", .dtypes = RL_SAMPLE_NO_BOOL & ~RL_SAMPLE_FLOATS},
                                         {"d[1,1,3,3], 2, 1, 1, 3, true"},
                                         {0}};
static const rl_sample max3_samples[] = {{"d[1,2,4,4,4], 2"},
                                         {"d[1,1,3,4,4], [2]"},
                                         {"d[2,3,4,5], [2,1,3], [1,2,2], [1,0,1]"},
                                         {"d[1,5,4,3,2]t, 2, 1"},
                                         {"d[1,1,4,3,6]s, 2, 2, 1, [1,2,1], true"},
                                         {"f[0,2,4,4,4], 2"},
                                         {0}};
static const rl_bad max1_bad[] = {{"f[4], 2", RL_SHAPE_MISMATCH, "self must have shape (C, L) or (N, C, L), has (4)"},
                                  {"f[2,4], 5", RL_SHAPE_MISMATCH, "no window of extent 5 fits into 4"},
                                  {"b[2,4], 2", RL_DTYPE_MISMATCH, "bool"},
                                  {0}};
static const rl_bad max2_bad[] = {
    {"f[4,4], 2", RL_SHAPE_MISMATCH, "self must have shape (C, H, W) or (N, C, H, W), has (4, 4)"},
    {"f[1,4,4], 5", RL_SHAPE_MISMATCH, "self (1, 4, 4) is too small: no window of extent 5 fits into 4"},
    {"f[1,4,4], 2, 0", RL_INVALID_ARGUMENT, "stride must be at least 1, got 0"},
    {"f[1,4,4], 0", RL_INVALID_ARGUMENT, "kernel_size must be at least 1, got 0"},
    {"f[1,4,4], 2, 2, 2", RL_INVALID_ARGUMENT, "padding must be at most half of the kernel's extent, got 2 for"},
    {"f[1,4,4], 2, 2, -1", RL_INVALID_ARGUMENT, "padding must be at least 0, got -1"},
    {"f[1,4,4], 2, 2, 0, 0", RL_INVALID_ARGUMENT, "dilation must be at least 1, got 0"},
    {"f[1,4,4], [2,2,2]", RL_INVALID_ARGUMENT, "kernel_size must have 1 or 2 numbers, has 3"},
    {"f[2,0,4,4], 2", RL_SHAPE_MISMATCH, "only the batch can be empty"},
    {"f[1,4,4], 4611686018427387904", RL_INVALID_ARGUMENT, "is too large"},
    {"f[1,4,4], 1099511627776, 1, 0, 1099511627776", RL_INVALID_ARGUMENT, "is too large"},
    {0}};
static const rl_bad max3_bad[] = {
    {"f[4,4,4], 2", RL_SHAPE_MISMATCH, "self must have shape (C, D, H, W) or (N, C, D, H, W), has (4, 4, 4)"},
    {"f[1,4,4,4], 2, [1,0,1]", RL_INVALID_ARGUMENT, "stride must be at least 1, got 0"},
    {0}};

const rl_op_def rl_op_def_max_pool1d = {
    .schema = "max_pool1d(Tensor self, int[1] kernel_size, int[1]? stride=None, int[1] padding=0, "
              "int[1] dilation=1, bool ceil_mode=False) -> Tensor",
    .doc = "y = the greatest element of each window of self (N, C, L) or (C, L)",
    .note =
        "stride is kernel_size where it is None. NaN counts as the greatest. The result lies in memory as self does.",
    .flags = RL_OP_ROWS,
    .saves = RL_SAVE_IN(0),
    .infer = max_infer,
    .lower = max_lower,
    .vjp = max1_vjp,
    .samples = max1_samples,
    .bad = max1_bad,
    .sample_dtypes = RL_SAMPLE_NO_BOOL,
};

const rl_op_def rl_op_def_max_pool2d = {
    .schema = "max_pool2d(Tensor self, int[2] kernel_size, int[2]? stride=None, int[2] padding=0, "
              "int[2] dilation=1, bool ceil_mode=False) -> Tensor",
    .doc = "y = the greatest element of each window of self (N, C, H, W) or (C, H, W)",
    .note =
        "stride is kernel_size where it is None. NaN counts as the greatest. The result lies in memory as self does.",
    .flags = RL_OP_ROWS,
    .saves = RL_SAVE_IN(0),
    .infer = max_infer,
    .lower = max_lower,
    .vjp = max2_vjp,
    .samples = max2_samples,
    .bad = max2_bad,
    .sample_dtypes = RL_SAMPLE_NO_BOOL,
};

const rl_op_def rl_op_def_max_pool3d = {
    .schema = "max_pool3d(Tensor self, int[3] kernel_size, int[3]? stride=None, int[3] padding=0, "
              "int[3] dilation=1, bool ceil_mode=False) -> Tensor",
    .doc = "y = the greatest element of each window of self (N, C, D, H, W) or (C, D, H, W)",
    .note =
        "stride is kernel_size where it is None. NaN counts as the greatest. The result lies in memory as self does.",
    .flags = RL_OP_ROWS | RL_OP_AUTOCAST_F32,
    .saves = RL_SAVE_IN(0),
    .infer = max_infer,
    .lower = max_lower,
    .vjp = max3_vjp,
    .samples = max3_samples,
    .bad = max3_bad,
    .sample_dtypes = RL_SAMPLE_NO_BOOL,
};

/* With indices ----------------------------------------------------------------------------------------------------- */

static rl_status indices_infer(rl_call *call) {
    rl_status status = max_infer(call);
    call->meta[1].dtype = RL_I64;
    return status;
}

/* One reduction finds the maxima and their numbers within the windows, a map makes places in the plane of these. */
static rl_status indices_lower(rl_call *call) {
    rl_pool_window w;
    rl_status status = read_window(call, &w);
    rl_tensor *x = rl_pooling_batched(rl_arg_tensor(call, 0), w.spatial);
    rl_tensor *values = rl_pooling_batched(call->results[0], w.spatial);
    rl_tensor *indices = rl_pooling_batched(call->results[1], w.spatial);
    if (status != RL_OK || x == NULL || values == NULL || indices == NULL || values->numel == 0)
        return rl_error_status();
    rl_tensor *windows = rl_pooling_windows(call, x, &w), *numbers = rl_pooling_temp(call, RL_I64, &w, w.out_size);
    if (windows == NULL || numbers == NULL)
        return rl_error_status();
    rl_dtype compute = rl_accumulator((rl_dtype)x->dtype);
    rl_reduction r = {.prologue = rl_pooling_write_twice,
                      .prologue_key = RL_KEY(x->dtype, compute, 0, 0),
                      .epilogue = rl_pooling_write_found,
                      .epilogue_key = RL_KEY(0, compute, values->dtype, 0),
                      .combiner = {RL_COMBINE_MAX, RL_COMBINE_ARGMAX},
                      .inputs = {windows},
                      .outputs = {values, numbers},
                      .shape_of = windows,
                      .mask = rl_pooling_mask(&w)};
    static const int64_t none[3] = {0};
    status = rl_reduce(rl_call_name(call), &r);
    return status == RL_OK ? rl_pooling_place(call, numbers, indices, &w, none, w.in_size) : status;
}

static void max1_indices_vjp(rl_vjp *v) {
    rl_pooling_indices_vjp(v, 1);
}
static void max2_indices_vjp(rl_vjp *v) {
    rl_pooling_indices_vjp(v, 2);
}
static void max3_indices_vjp(rl_vjp *v) {
    rl_pooling_indices_vjp(v, 3);
}

const rl_op_def rl_op_def_max_pool1d_with_indices = {
    .schema = "max_pool1d_with_indices(Tensor self, int[1] kernel_size, int[1]? stride=None, int[1] padding=0, "
              "int[1] dilation=1, bool ceil_mode=False) -> (Tensor values, Tensor indices)",
    .doc = "values = max_pool1d(self), indices = where these stand in the flattened (L)",
    .note = "Of equal elements the first one, in row-major order.",
    .flags = RL_OP_ROWS,
    .saves = RL_SAVE_OUT(1),
    .infer = indices_infer,
    .lower = indices_lower,
    .vjp = max1_indices_vjp,
    .samples = max1_samples,
    .bad = max1_bad,
    .sample_dtypes = RL_SAMPLE_NO_BOOL,
};

const rl_op_def rl_op_def_max_pool2d_with_indices = {
    .schema = "max_pool2d_with_indices(Tensor self, int[2] kernel_size, int[2]? stride=None, int[2] padding=0, "
              "int[2] dilation=1, bool ceil_mode=False) -> (Tensor values, Tensor indices)",
    .doc = "values = max_pool2d(self), indices = where these stand in the flattened (H, W)",
    .note = "Of equal elements the first one, in row-major order.",
    .flags = RL_OP_ROWS,
    .saves = RL_SAVE_OUT(1),
    .infer = indices_infer,
    .lower = indices_lower,
    .vjp = max2_indices_vjp,
    .samples = max2_samples,
    .bad = max2_bad,
    .sample_dtypes = RL_SAMPLE_NO_BOOL,
};

const rl_op_def rl_op_def_max_pool3d_with_indices = {
    .schema = "max_pool3d_with_indices(Tensor self, int[3] kernel_size, int[3]? stride=None, int[3] padding=0, "
              "int[3] dilation=1, bool ceil_mode=False) -> (Tensor values, Tensor indices)",
    .doc = "values = max_pool3d(self), indices = where these stand in the flattened (D, H, W)",
    .note = "Of equal elements the first one, in row-major order.",
    .flags = RL_OP_ROWS,
    .saves = RL_SAVE_OUT(1),
    .infer = indices_infer,
    .lower = indices_lower,
    .vjp = max3_indices_vjp,
    .samples = max3_samples,
    .bad = max3_bad,
    .sample_dtypes = RL_SAMPLE_NO_BOOL,
};
