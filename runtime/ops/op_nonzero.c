/* SPDX-License-Identifier: Apache-2.0 */
/* Results whose size depends on data: nonzero reads them on the host, the others go by it. one_hot, its opposite. */
#include "base/memory.h"
#include "ops/op_rows.h"

/* nonzero -----------------------------------------------------------------------------------------------------------
 */

static rl_status nonzero_infer(rl_call *call) {
    RL_SCOPE();
    rl_tensor *self = rl_arg_tensor(call, 0);
    int64_t count = rl_item_int(rl_count_nonzero(self));
    rl_meta_set(&call->meta[0], RL_I64, self->storage->device, 2, (const int64_t[]){count, self->ndim});
    return rl_error_status();
}

/* The index of each element of `truth` that is not 0, in row-major order. */
static void write_indices(const uint8_t *truth, const rl_tensor *self, int64_t *out, const int64_t *end) {
    int64_t index[RL_MAX_DIMS] = {0};
    for (int64_t i = 0; i < self->numel; i++) {
        if (truth[i] && out < end)
            for (int64_t d = 0; d < self->ndim; d++)
                *out++ = index[d];
        for (int64_t d = self->ndim - 1; d >= 0 && ++index[d] == self->shape[d]; d--)
            index[d] = 0;
    }
}

static rl_status nonzero_lower(rl_call *call) {
    rl_tensor *self = rl_arg_tensor(call, 0), *out = call->results[0];
    if (out->numel == 0)
        return RL_OK;
    size_t bytes = (size_t)out->numel * sizeof(int64_t);
    rl_tensor *truth = rl_call_temp(call, RL_BOOL, self->ndim, self->shape);
    uint8_t *host = rl_alloc((size_t)self->numel, "the elements of nonzero");
    int64_t *indices = rl_alloc(bytes, "the indices of nonzero");
    if (truth != NULL && host != NULL && indices != NULL && rl_move("nonzero", truth, self) == RL_OK &&
        rl_tensor_read(truth, host, (size_t)self->numel) == RL_OK) {
        write_indices(host, self, indices, indices + out->numel);
        rl_tensor_write(out, indices, bytes);
    }
    rl_free(indices);
    rl_free(host);
    return rl_error_status();
}

static const rl_sample nonzero_samples[] = {{"b[3,4]"},  {"b[7]"},   {"n[]"},        {"b[0,3]"},
                                            {"b[5,7]t"}, {"b[33]s"}, {"i32[2,3,4]"}, {0}};

const rl_op_def rl_op_def_nonzero = {
    .schema = "nonzero(Tensor self) -> Tensor",
    .doc = "y[k] = the index of the k-th element of self that is not 0, in row-major order",
    .note = "Shape (count, dimensions of self). Computed on the host.",
    .flags = RL_OP_ROWS | RL_OP_NO_GRAD | RL_OP_HOST,
    .infer = nonzero_infer,
    .lower = nonzero_lower,
    .samples = nonzero_samples,
    .bad = rl_bad_unary,
};

/* masked_select -----------------------------------------------------------------------------------------------------
 */

static rl_status masked_select_lower(rl_call *call) {
    rl_tensor *self = rl_arg_tensor(call, 0), *mask = rl_arg_tensor(call, 1);
    int64_t ndim, shape[RL_MAX_DIMS];
    rl_status status = rl_check_same_device(call);
    if (status == RL_OK)
        status = rl_check_dtype_is(call, 1, RL_BOOL);
    if (status == RL_OK)
        status =
            rl_broadcast_shapes(rl_call_name(call), self->ndim, self->shape, mask->ndim, mask->shape, &ndim, shape);
    if (status != RL_OK)
        return status;
    rl_ints size = {shape, ndim};
    rl_tensor *places = rl_nonzero(rl_reshape(rl_expand(mask, size), RL_DIMS(-1)));
    call->results[0] = rl_index_select(rl_reshape(rl_expand(self, size), RL_DIMS(-1)), 0, rl_select(places, 1, 0));
    return rl_error_status();
}

static const rl_sample masked_select_samples[] = {
    {"n[3,4], b[3,4]"}, {"n[3,4], b[4]"},    {"n[4], b[3,4]"},  {"n[], b[]"},
    {"n[0,3], b[0,3]"}, {"n[5,7]t, b[5,7]"}, {"n[33]s, b[33]"}, {0}};
static const rl_bad masked_select_bad[] = {{"f[3], i64[3]", RL_DTYPE_MISMATCH, "mask must be bool, not int64"},
                                           {"f[3], b[4]", RL_SHAPE_MISMATCH, "broadcast"},
                                           {0}};

const rl_op_def rl_op_def_masked_select = {
    .schema = "masked_select(Tensor self, Tensor mask) -> Tensor",
    .doc = "y = the elements of self where mask is true, in row-major order",
    .flags = RL_OP_COMPOSITE,
    .lower = masked_select_lower,
    .samples = masked_select_samples,
    .bad = masked_select_bad,
};

/* one_hot -----------------------------------------------------------------------------------------------------------
 */

static rl_status one_hot_lower(rl_call *call) {
    rl_tensor *self = rl_arg_tensor(call, 0);
    int64_t classes = rl_arg_int(call, 1), shape[RL_MAX_DIMS];
    rl_status status = rl_check_index_dtype(call, 0);
    if (status != RL_OK)
        return status;
    if (classes < -1 || (classes == -1 && self->numel == 0) || (classes == 0 && self->numel > 0))
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "num_classes %lld must be positive%s", (long long)classes,
                            self->numel == 0 ? ", as self has no elements to count classes from" : "");
    if (self->ndim == RL_MAX_DIMS)
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "self has %d dimensions, and the result would have one more",
                            self->ndim);
    if (classes == -1) {
        int64_t largest = rl_item_int(rl_max(self));
        classes = largest < INT64_MAX ? largest + 1 : largest;
    }
    for (int64_t d = 0; d < self->ndim; d++)
        shape[d] = self->shape[d];
    shape[self->ndim] = classes > 0 ? classes : 0;
    rl_tensor *zeros = rl_zeros(((rl_ints){shape, self->ndim + 1}), .dtype = RL_I64, .device = self->storage->device);
    call->results[0] = rl_scatter(zeros, -1, rl_unsqueeze(self, -1), 1);
    return rl_error_status();
}

static const rl_sample one_hot_samples[] = {{"i[4]<3"}, {"i[2,3]<4, 5"}, {"i[]<3, 3"}, {"i[0]<3, 3"}, {0}};
static const rl_bad one_hot_bad[] = {{"f[3], 3", RL_DTYPE_MISMATCH, "self must be int64 or int32, not float32"},
                                     {"i[0]<3", RL_INVALID_ARGUMENT, "no elements to count classes from"},
                                     {"i[3]<3, 0", RL_INVALID_ARGUMENT, "num_classes 0 must be positive"},
                                     {0}};

const rl_op_def rl_op_def_one_hot = {
    .schema = "one_hot(Tensor self, int num_classes=-1) -> Tensor",
    .doc = "y[.., c] = whether self[..] = c, as int64",
    .note = "num_classes -1: one more than the greatest element, which is read on the host.",
    .flags = RL_OP_COMPOSITE,
    .lower = one_hot_lower,
    .samples = one_hot_samples,
    .bad = one_hot_bad,
};
