/* SPDX-License-Identifier: Apache-2.0 */
/* Activations over a dimension or with a draw: glu, softmin, rrelu. Made of other ops. */
#include "ops/op_rows.h"

/* args: self, dim */
static rl_status glu_lower(rl_call *call) {
    rl_tensor *x = rl_arg_tensor(call, 0);
    if (x->ndim == 0)
        return rl_call_fail(call, RL_SHAPE_MISMATCH, "self has no dimensions and must have at least 1");
    int64_t dim = rl_wrap_dim(rl_call_name(call), rl_arg_int(call, 1), x->ndim);
    if (dim < 0)
        return rl_error_status();
    int64_t half = x->shape[dim] / 2;
    if (x->shape[dim] % 2 != 0)
        return rl_call_fail(call, RL_SHAPE_MISMATCH, "dimension %lld has size %lld and must have an even one",
                            (long long)dim, (long long)x->shape[dim]);
    call->results[0] = rl_mul(rl_narrow(x, dim, 0, half), rl_sigmoid(rl_narrow(x, dim, half, half)));
    return rl_error_status();
}

static const rl_sample glu_samples[] = {{"f[3,4]"}, {"f[4,3], 0"}, {"f[2,6,3]t, 1"}, {"f[34]s"}, {"f[0,4]"}, {0}};
static const rl_bad glu_bad[] = {{"f[2,3]", RL_SHAPE_MISMATCH, "dimension 1 has size 3 and must have an even one"},
                                 {"f[2,4], 2", RL_INDEX_OUT_OF_RANGE, "dim 2 is out of range"},
                                 {"f[]", RL_SHAPE_MISMATCH, "no dimensions"},
                                 {0}};

const rl_op_def rl_op_def_glu = {
    .schema = "glu(Tensor self, int dim=-1) -> Tensor",
    .doc = "y = a sigmoid(b), where a and b are the halves of self along dim",
    .note = "Dauphin et al. 2017, Language Modeling with Gated Convolutional Networks.",
    .flags = RL_OP_COMPOSITE,
    .lower = glu_lower,
    .samples = glu_samples,
    .bad = glu_bad,
};

static rl_status softmin_lower(rl_call *call) {
    call->results[0] = rl_softmax(rl_neg(rl_arg_tensor(call, 0)), rl_arg_int(call, 1), .dtype = rl_arg_dtype(call, 2));
    return rl_error_status();
}

static const rl_sample softmin_samples[] = {{"f[3,4], 1"}, {"f[3,4], 0"}, {"f[5,7]t, -1"},
                                            {"f[], 0"},    {"f[0,3], 1"}, {0}};
static const rl_bad softmin_bad[] = {{"f[2,3], 2", RL_INDEX_OUT_OF_RANGE, "dim 2 is out of range"}, {0}};

const rl_op_def rl_op_def_softmin = {
    .schema = "softmin(Tensor self, int dim, ScalarType? dtype=None) -> Tensor",
    .doc = "y[i] = exp(-x[i]) / sum_j exp(-x[j]) along dim",
    .flags = RL_OP_COMPOSITE,
    .lower = softmin_lower,
    .samples = softmin_samples,
    .bad = softmin_bad,
};

/* args: self, lower, upper, training */
static rl_status rrelu_lower(rl_call *call) {
    rl_tensor *x = rl_arg_tensor(call, 0);
    double low = rl_arg_double(call, 1), high = rl_arg_double(call, 2);
    rl_status status = rl_check_float(call, 0);
    if (status != RL_OK)
        return status;
    if (!(low <= high))
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "lower must be no greater than upper, got %g and %g", low, high);
    if (rl_arg_bool(call, 3)) {
        rl_tensor *slope = rl_add(rl_mul(rl_rand_like(x), high - low), low);
        call->results[0] = rl_where(rl_gt(x, 0), x, rl_mul(x, slope));
    } else {
        double slope = (low + high) / 2;
        call->results[0] = rl_leaky_relu(x, .negative_slope = slope == 0.0 ? (double)RL_ZERO : slope);
    }
    return rl_error_status();
}

static const rl_sample rrelu_samples[] = {{"f[3,4]"}, {"f[5,7]t, 0.25, 0.5, true"}, {"f[0,3]"}, {"f[33]s, -1, 1"}, {0}};
static const rl_bad rrelu_bad[] = {{"f[2], 1, 0", RL_INVALID_ARGUMENT, "lower must be no greater than upper"}, {0}};

const rl_op_def rl_op_def_rrelu = {
    .schema = "rrelu(Tensor self, Scalar lower=0.125, Scalar upper=0.3333333333333333, bool training=False) -> Tensor",
    .doc = "y = self where self > 0, else r self, r uniform in [lower, upper), their mean where not training",
    .flags = RL_OP_COMPOSITE | RL_OP_RANDOM,
    .lower = rrelu_lower,
    .samples = rrelu_samples,
    .bad = rrelu_bad,
};
