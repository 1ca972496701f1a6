/* SPDX-License-Identifier: Apache-2.0 */
/* Views that take a tensor apart into a list. */
#include "ops/op_rows.h"

/* The dimension that is taken apart; -1 and an error for a tensor without one. */
static int64_t split_dim(const rl_call *call, int dim_arg) {
    const rl_tensor *self = rl_arg_tensor(call, 0);
    if (self->ndim > 0)
        return rl_wrap_dim(rl_call_name(call), rl_arg_int(call, dim_arg), self->ndim);
    rl_call_fail(call, RL_SHAPE_MISMATCH, "self has no dimensions and must have at least 1");
    return -1;
}

/* Pieces of `length` elements, the last one of what is left. */
static rl_status split_evenly(rl_call *call, int64_t dim, int64_t length, int64_t count) {
    rl_tensor *self = rl_arg_tensor(call, 0), **pieces = rl_call_list(call, count);
    int64_t size = self->shape[dim];
    for (int64_t i = 0; pieces != NULL && i < count; i++) {
        int64_t start = i * length, left = size - start;
        pieces[i] = rl_narrow(self, dim, start, left < length ? left : length);
        if (pieces[i] == NULL)
            break;
    }
    return rl_error_status();
}

static rl_status split_lower(rl_call *call) {
    int64_t dim = split_dim(call, 2), length = rl_arg_int(call, 1);
    if (dim < 0)
        return rl_error_status();
    int64_t size = rl_arg_tensor(call, 0)->shape[dim];
    if (length < 0 || (length == 0 && size != 0))
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "split_size %lld must be positive", (long long)length);
    return split_evenly(call, dim, length, size == 0 ? 1 : 1 + (size - 1) / length);
}
static const rl_sample split_samples[] = {
    {"n[7], 3"}, {"n[3,4], 2, 1"}, {"n[3,4], 9"}, {"n[0,3], 2"}, {"n[0,3], 0"}, {"n[5,7]t, 2, 1"}, {0}};
static const rl_bad split_bad[] = {{"f[4], 0", RL_INVALID_ARGUMENT, "split_size 0 must be positive"},
                                   {"f[], 1", RL_SHAPE_MISMATCH, "no dimensions"},
                                   {"f[4], 1, 1", RL_INDEX_OUT_OF_RANGE, "dim 1 is out of range"},
                                   {0}};

const rl_op_def rl_op_def_split = {
    .schema = "split(Tensor(a) self, int split_size, int dim=0) -> Tensor[]",
    .doc = "self in pieces of split_size along dim, the last one perhaps shorter",
    .flags = RL_OP_COMPOSITE,
    .lower = split_lower,
    .samples = split_samples,
    .bad = split_bad,
};

static rl_status split_with_sizes_lower(rl_call *call) {
    rl_tensor *self = rl_arg_tensor(call, 0);
    rl_ints sizes = rl_arg_ints(call, 1);
    int64_t dim = split_dim(call, 2), total = 0;
    if (dim < 0)
        return rl_error_status();
    bool fits = true;
    for (int64_t i = 0; i < sizes.count; i++)
        fits = fits && sizes.data[i] >= 0 && !__builtin_add_overflow(total, sizes.data[i], &total);
    char text[RL_SHAPE_TEXT];
    if (!fits || total != self->shape[dim])
        return rl_call_fail(call, RL_SHAPE_MISMATCH, "split_sizes %s must add up to %lld, the size of dimension %lld",
                            rl_shape_text(sizes.count, sizes.data, text), (long long)self->shape[dim], (long long)dim);
    rl_tensor **pieces = rl_call_list(call, sizes.count);
    int64_t start = 0;
    for (int64_t i = 0; pieces != NULL && i < sizes.count; start += sizes.data[i++])
        if ((pieces[i] = rl_narrow(self, dim, start, sizes.data[i])) == NULL)
            break;
    return rl_error_status();
}
static const rl_sample split_with_sizes_samples[] = {
    {"n[7], [3,0,4]"}, {"n[3,4], [1,3], 1"}, {"n[0,3], [0,0]"}, {"n[5,7]t, [2,5], -1"}, {0}};
static const rl_bad split_with_sizes_bad[] = {{"f[4], [1,2]", RL_SHAPE_MISMATCH, "(1, 2) must add up to 4"},
                                              {"f[4], [5,-1]", RL_SHAPE_MISMATCH, "must add up to 4"},
                                              {0}};

const rl_op_def rl_op_def_split_with_sizes = {
    .schema = "split_with_sizes(Tensor(a) self, int[] split_sizes, int dim=0) -> Tensor[]",
    .doc = "self in pieces of these sizes along dim",
    .flags = RL_OP_COMPOSITE,
    .lower = split_with_sizes_lower,
    .samples = split_with_sizes_samples,
    .bad = split_with_sizes_bad,
};

static rl_status chunk_lower(rl_call *call) {
    int64_t dim = split_dim(call, 2), chunks = rl_arg_int(call, 1);
    if (dim < 0)
        return rl_error_status();
    if (chunks <= 0)
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "chunks must be positive, got %lld", (long long)chunks);
    int64_t size = rl_arg_tensor(call, 0)->shape[dim];
    if (size == 0) {
        if (chunks > 1 << 20)
            return rl_call_fail(call, RL_INVALID_ARGUMENT, "%lld chunks of nothing are too many", (long long)chunks);
        return split_evenly(call, dim, 0, chunks);
    }
    int64_t length = 1 + (size - 1) / chunks;
    return split_evenly(call, dim, length, 1 + (size - 1) / length);
}
static const rl_sample chunk_samples[] = {{"n[7], 3"},   {"n[3,4], 2, 1"},  {"n[3,4], 9"},
                                          {"n[0,3], 2"}, {"n[5,7]t, 2, 1"}, {0}};
static const rl_bad chunk_bad[] = {{"f[4], 0", RL_INVALID_ARGUMENT, "chunks must be positive, got 0"},
                                   {"f[], 1", RL_SHAPE_MISMATCH, "no dimensions"},
                                   {0}};

const rl_op_def rl_op_def_chunk = {
    .schema = "chunk(Tensor(a) self, int chunks, int dim=0) -> Tensor[]",
    .doc = "self in at most `chunks` pieces of one size along dim, the last one perhaps shorter",
    .flags = RL_OP_COMPOSITE,
    .lower = chunk_lower,
    .samples = chunk_samples,
    .bad = chunk_bad,
};

static rl_status unbind_lower(rl_call *call) {
    rl_tensor *self = rl_arg_tensor(call, 0);
    int64_t dim = split_dim(call, 1);
    if (dim < 0)
        return rl_error_status();
    rl_tensor **pieces = rl_call_list(call, self->shape[dim]);
    for (int64_t i = 0; pieces != NULL && i < self->shape[dim]; i++)
        if ((pieces[i] = rl_select(self, dim, i)) == NULL)
            break;
    return rl_error_status();
}
static const rl_sample unbind_samples[] = {{"n[3,4]"}, {"n[3,4], 1"}, {"n[5]"}, {"n[0,3]"}, {"n[5,7]t"}, {0}};
static const rl_bad unbind_bad[] = {
    {"f[]", RL_SHAPE_MISMATCH, "no dimensions"}, {"f[4], 1", RL_INDEX_OUT_OF_RANGE, "dim 1 is out of range"}, {0}};

const rl_op_def rl_op_def_unbind = {
    .schema = "unbind(Tensor(a) self, int dim=0) -> Tensor[]",
    .doc = "self[0], self[1] .. along dim",
    .flags = RL_OP_COMPOSITE,
    .lower = unbind_lower,
    .samples = unbind_samples,
    .bad = unbind_bad,
};
