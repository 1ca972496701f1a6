/* SPDX-License-Identifier: Apache-2.0 */
/* Greatest and least values, and where they are. NaN is greater and less than all; of equal ones the first is taken. */
#include "ops/op_reduce.h"

/* self reduced by max or min (combiner[0]), with the index of the first such element where `indices` is given. */
static void write_value_twice(rl_builder *b, uint32_t key) {
    rl_pw x = rl_key_input(b, key);
    rl_build_output(b, x, rl_key_compute(key));
    rl_build_output(b, x, rl_key_compute(key));
}
static void write_value_and_index(rl_builder *b, uint32_t key) {
    rl_pw value = rl_build_input(b, rl_key_compute(key)), index = rl_build_input(b, RL_I64);
    rl_build_output(b, value, rl_key_out(key));
    rl_build_output(b, index, RL_I64);
}
static void write_index(rl_builder *b, uint32_t key) {
    (void)key;
    rl_build_output(b, rl_build_input(b, RL_I64), RL_I64);
}

static rl_reduction reduction_of(rl_call *call, uint32_t mask) {
    rl_tensor *self = rl_arg_tensor(call, 0);
    rl_dtype compute = rl_register_dtype((rl_dtype)self->dtype);
    return (rl_reduction){.prologue = rl_write_value,
                          .epilogue = rl_write_result,
                          .prologue_key = RL_KEY(self->dtype, compute, 0, 0),
                          .epilogue_key = RL_KEY(0, compute, self->dtype, 0),
                          .inputs = {self},
                          .outputs = {call->results[0], call->results[1]},
                          .shape_of = self,
                          .mask = mask};
}

/* max, min, amax, amin ----------------------------------------------------------------------------------------------
 */

static rl_status full_infer(rl_call *call) {
    rl_status status = rl_check_nonempty(call, -1);
    return status == RL_OK ? rl_infer_reduced(call, -1, -1, (rl_dtype)rl_arg_tensor(call, 0)->dtype) : status;
}
static rl_status over_dims_infer(rl_call *call) {
    rl_status status = rl_check_nonempty(call, 1);
    return status == RL_OK ? rl_infer_reduced(call, 1, 2, (rl_dtype)rl_arg_tensor(call, 0)->dtype) : status;
}

static rl_status lower_full(rl_call *call, rl_combiner combiner) {
    rl_reduction r = reduction_of(call, UINT32_MAX);
    r.combiner[0] = (uint8_t)combiner;
    return rl_reduce(rl_call_name(call), &r);
}
static rl_status max_lower(rl_call *call) {
    return lower_full(call, RL_COMBINE_MAX);
}
static rl_status min_lower(rl_call *call) {
    return lower_full(call, RL_COMBINE_MIN);
}

static rl_status lower_over_dims(rl_call *call, rl_combiner combiner) {
    uint32_t mask;
    if (rl_reduced_mask(call, 1, &mask) != RL_OK)
        return rl_error_status();
    rl_reduction r = reduction_of(call, mask);
    r.combiner[0] = (uint8_t)combiner;
    return rl_reduce(rl_call_name(call), &r);
}
static rl_status amax_lower(rl_call *call) {
    return lower_over_dims(call, RL_COMBINE_MAX);
}
static rl_status amin_lower(rl_call *call) {
    return lower_over_dims(call, RL_COMBINE_MIN);
}

rl_tensor *rl_shared_among(rl_tensor *x, rl_tensor *y, rl_tensor *g, rl_ints dims) {
    rl_tensor *equal = rl_logical_or(rl_eq(x, y), rl_logical_and(rl_ne(x, x), rl_ne(y, y)));
    return rl_only_where(equal, rl_div(g, rl_sum(equal, .dim = dims, .keepdim = true)));
}
VJP(full, rl_shared_among(X, Y, G, RL_NO_DIMS))
VJP(over_dims, rl_shared_among(X, rl_unreduced(v, Y, 1, 2), rl_unreduced(v, G, 1, 2), rl_vjp_ints(v, 1)))

static const rl_sample full_samples[] = {
    {"d[3,4]"}, {"d[]"}, {"d[5,7]t"}, {"d[33]s"}, {"n[4]e", .no_gradcheck = true, .why = "the elements are equal"},
    {"b[3]"},   {0}};
static const rl_bad full_bad[] = {
    {"f[0,3]", RL_INVALID_ARGUMENT, "no elements along dimension 0"}, {"None", RL_INVALID_ARGUMENT, "self"}, {0}};
static const rl_sample over_dims_samples[] = {{"d[3,4]"},
                                              {"d[3,4], 1"},
                                              {"d[2,3,4], [0,2], true"},
                                              {"d[], 0"},
                                              {"d[0,3], 1"},
                                              {"d[5,7]t, 0"},
                                              {"d[33]s"},
                                              {"n[4]e", .no_gradcheck = true, .why = "the elements are equal"},
                                              {"n[3,4], 0"},
                                              {0}};
static const rl_bad over_dims_bad[] = {{"f[3,0], 1", RL_INVALID_ARGUMENT, "no elements along dimension 1"},
                                       {"f[2,3], 2", RL_INDEX_OUT_OF_RANGE, "dim 2 is out of range"},
                                       {0}};

const rl_op_def rl_op_def_max = {
    .schema = "max(Tensor self) -> Tensor",
    .doc = "y = the greatest x[i]; NaN where there is one",
    .flags = RL_OP_ROWS,
    .saves = RL_SAVE_IN(0) | RL_SAVE_OUT(0),
    .infer = full_infer,
    .lower = max_lower,
    .vjp = full_vjp,
    .samples = full_samples,
    .bad = full_bad,
};

const rl_op_def rl_op_def_min = {
    .schema = "min(Tensor self) -> Tensor",
    .doc = "y = the least x[i]; NaN where there is one",
    .flags = RL_OP_ROWS,
    .saves = RL_SAVE_IN(0) | RL_SAVE_OUT(0),
    .infer = full_infer,
    .lower = min_lower,
    .vjp = full_vjp,
    .samples = full_samples,
    .bad = full_bad,
};

const rl_op_def rl_op_def_amax = {
    .schema = "amax(Tensor self, int[1] dim=[], bool keepdim=False) -> Tensor",
    .doc = "y = the greatest x[i] over dim, or over all; its gradient is shared among equals",
    .flags = RL_OP_ROWS,
    .saves = RL_SAVE_IN(0) | RL_SAVE_OUT(0),
    .infer = over_dims_infer,
    .lower = amax_lower,
    .vjp = over_dims_vjp,
    .samples = over_dims_samples,
    .bad = over_dims_bad,
};

const rl_op_def rl_op_def_amin = {
    .schema = "amin(Tensor self, int[1] dim=[], bool keepdim=False) -> Tensor",
    .doc = "y = the least x[i] over dim, or over all; its gradient is shared among equals",
    .flags = RL_OP_ROWS,
    .saves = RL_SAVE_IN(0) | RL_SAVE_OUT(0),
    .infer = over_dims_infer,
    .lower = amin_lower,
    .vjp = over_dims_vjp,
    .samples = over_dims_samples,
    .bad = over_dims_bad,
};

static rl_status aminmax_lower(rl_call *call) {
    rl_tensor *self = rl_arg_tensor(call, 0);
    rl_ints dim = rl_arg_given(call, 1) ? (rl_ints){&call->args[1].as.i, 1} : RL_NO_DIMS;
    bool keep = rl_arg_bool(call, 2);
    call->results[0] = rl_amin(self, .dim = dim, .keepdim = keep);
    call->results[1] = rl_amax(self, .dim = dim, .keepdim = keep);
    return rl_error_status();
}
static const rl_sample aminmax_samples[] = {{"d[3,4]"}, {"d[3,4], dim=1"}, {"d[3,4], dim=0, keepdim=true"},
                                            {"d[]"},    {"d[5,7]t"},       {0}};
static const rl_bad aminmax_bad[] = {{"f[0,3]", RL_INVALID_ARGUMENT, "no elements along dimension 0"}, {0}};

const rl_op_def rl_op_def_aminmax = {
    .schema = "aminmax(Tensor self, *, int? dim=None, bool keepdim=False) -> (Tensor min, Tensor max)",
    .doc = "min = the least x[i], max = the greatest, over dim, or over all",
    .flags = RL_OP_COMPOSITE,
    .lower = aminmax_lower,
    .samples = aminmax_samples,
    .bad = aminmax_bad,
};

/* max_dim, min_dim --------------------------------------------------------------------------------------------------
 */

static rl_status with_index_infer(rl_call *call) {
    rl_status status = over_dims_infer(call);
    call->meta[1].dtype = RL_I64;
    return status;
}

static rl_status lower_with_index(rl_call *call, rl_combiner value, rl_combiner index) {
    uint32_t mask;
    if (rl_reduced_mask(call, 1, &mask) != RL_OK)
        return rl_error_status();
    rl_reduction r = reduction_of(call, mask);
    r.prologue = write_value_twice;
    r.epilogue = write_value_and_index;
    r.combiner[0] = (uint8_t)value;
    r.combiner[1] = (uint8_t)index;
    return rl_reduce(rl_call_name(call), &r);
}
static rl_status max_dim_lower(rl_call *call) {
    return lower_with_index(call, RL_COMBINE_MAX, RL_COMBINE_ARGMAX);
}
static rl_status min_dim_lower(rl_call *call) {
    return lower_with_index(call, RL_COMBINE_MIN, RL_COMBINE_ARGMIN);
}

/* gx = g at the element taken, else 0 */
static void with_index_vjp(rl_vjp *v) {
    rl_tensor *g = rl_unreduced(v, G, 1, 2), *index = rl_unreduced(v, rl_vjp_result(v, 1), 1, 2);
    rl_vjp_set(v, 0, rl_scatter_add(rl_vjp_zeros(v, 0), rl_vjp_int(v, 1), index, g));
}

static const rl_sample with_index_samples[] = {
    {"d[3,4], 1"},    {"d[3,4], 0, true"},
    {"d[2,3,4], -2"}, {"d[], 0"},
    {"d[0,3], 1"},    {"d[5,7]t, 0"},
    {"d[33]s, 0"},    {"n[4]e, 0", .no_gradcheck = true, .why = "the elements are equal"},
    {"b[3,4], 1"},    {0}};
static const rl_bad with_index_bad[] = {{"f[3,0], 1", RL_INVALID_ARGUMENT, "no elements along dimension 1"},
                                        {"f[2,3], 2", RL_INDEX_OUT_OF_RANGE, "dim 2 is out of range"},
                                        {0}};

const rl_op_def rl_op_def_max_dim = {
    .schema = "max_dim(Tensor self, int dim, bool keepdim=False) -> (Tensor values, Tensor indices)",
    .doc = "values = the greatest x[i] along dim, indices = the first such i",
    .flags = RL_OP_ROWS,
    .saves = RL_SAVE_OUT(1),
    .infer = with_index_infer,
    .lower = max_dim_lower,
    .vjp = with_index_vjp,
    .samples = with_index_samples,
    .bad = with_index_bad,
};

const rl_op_def rl_op_def_min_dim = {
    .schema = "min_dim(Tensor self, int dim, bool keepdim=False) -> (Tensor values, Tensor indices)",
    .doc = "values = the least x[i] along dim, indices = the first such i",
    .flags = RL_OP_ROWS,
    .saves = RL_SAVE_OUT(1),
    .infer = with_index_infer,
    .lower = min_dim_lower,
    .vjp = with_index_vjp,
    .samples = with_index_samples,
    .bad = with_index_bad,
};

/* argmax, argmin ----------------------------------------------------------------------------------------------------
 */

static rl_status arg_infer(rl_call *call) {
    rl_status status = rl_check_no_bool(call, 0);
    if (status == RL_OK)
        status = rl_check_nonempty(call, 1);
    return status == RL_OK ? rl_infer_reduced(call, 1, 2, RL_I64) : status;
}

static rl_status lower_arg(rl_call *call, rl_combiner combiner) {
    uint32_t mask;
    if (rl_reduced_mask(call, 1, &mask) != RL_OK)
        return rl_error_status();
    rl_reduction r = reduction_of(call, mask);
    r.epilogue = write_index;
    r.epilogue_key = 0;
    r.combiner[0] = (uint8_t)combiner;
    return rl_reduce(rl_call_name(call), &r);
}
static rl_status argmax_lower(rl_call *call) {
    return lower_arg(call, RL_COMBINE_ARGMAX);
}
static rl_status argmin_lower(rl_call *call) {
    return lower_arg(call, RL_COMBINE_ARGMIN);
}

static const rl_sample arg_samples[] = {
    {"d[3,4]"}, {"d[3,4], 1"}, {"d[2,3,4], -2, true"}, {"d[]"}, {"d[0,3], 1"}, {"d[5,7]t, 0"}, {"d[5,7]t"}, {"d[33]s"},
    {"n[4]e"},  {"n[3,4], 0"}, {"d[2,3], None, true"}, {0}};
static const rl_bad arg_bad[] = {{"b[3]", RL_DTYPE_MISMATCH, "self must not be bool"},
                                 {"f[0,3]", RL_INVALID_ARGUMENT, "no elements along dimension 0"},
                                 {"f[2,3], 2", RL_INDEX_OUT_OF_RANGE, "dim 2 is out of range"},
                                 {0}};

const rl_op_def rl_op_def_argmax = {
    .schema = "argmax(Tensor self, int? dim=None, bool keepdim=False) -> Tensor",
    .doc = "y = the first i with the greatest x[i] along dim, or in row-major order over all",
    .flags = RL_OP_ROWS | RL_OP_NO_GRAD,
    .infer = arg_infer,
    .lower = argmax_lower,
    .samples = arg_samples,
    .bad = arg_bad,
    .sample_dtypes = RL_SAMPLE_NO_BOOL,
};

const rl_op_def rl_op_def_argmin = {
    .schema = "argmin(Tensor self, int? dim=None, bool keepdim=False) -> Tensor",
    .doc = "y = the first i with the least x[i] along dim, or in row-major order over all",
    .flags = RL_OP_ROWS | RL_OP_NO_GRAD,
    .infer = arg_infer,
    .lower = argmin_lower,
    .samples = arg_samples,
    .bad = arg_bad,
    .sample_dtypes = RL_SAMPLE_NO_BOOL,
};
