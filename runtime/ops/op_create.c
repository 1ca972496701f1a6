/* SPDX-License-Identifier: Apache-2.0 */
/* New tensors: empty, constant, counting. Random ones stand in op_random.c. */
#include <math.h>

#include "ops/op_create.h"
#include "ops/op_shared.h"

rl_status rl_infer_new(rl_call *call, rl_ints size, rl_dtype dtype, rl_device *device) {
    int64_t numel;
    if (size.count > RL_MAX_DIMS)
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "size has %lld dimensions; at most %d are possible",
                            (long long)size.count, RL_MAX_DIMS);
    rl_status status = rl_check_shape(rl_call_name(call), size.count, size.data, dtype, &numel);
    if (status == RL_OK && device == NULL && (device = rl_device_default()) == NULL)
        return rl_error_status();
    if (status == RL_OK)
        rl_meta_set(&call->meta[0], dtype, device, size.count, size.data);
    return status;
}

rl_status rl_infer_like(rl_call *call) {
    rl_status status = rl_infer_same_as_input(call);
    const rl_schema *schema = &rl_schema_table[call->opcode];
    int device = schema->n_params - 1, dtype = device - 1; /* the last two, in every schema of this kind */
    if (rl_arg_given(call, dtype))
        call->meta[0].dtype = rl_arg_dtype(call, dtype);
    if (rl_arg_given(call, device))
        call->meta[0].device = rl_arg_device(call, device);
    call->compute = call->meta[0].dtype;
    return status;
}

static rl_dtype dtype_or(const rl_call *call, int arg, rl_dtype fallback) {
    return rl_arg_given(call, arg) ? rl_arg_dtype(call, arg) : fallback;
}

/* The dtype that PyTorch gives a tensor made of this number. */
static rl_dtype dtype_of_number(const rl_value *v) {
    return v->kind == RL_VALUE_FLOAT ? RL_F32 : v->kind == RL_VALUE_BOOL ? RL_BOOL : RL_I64;
}

/* empty, zeros, ones, full ---------------------------------------------------------------------------------------- */

/* (size, dtype, device) */
static rl_status new_infer(rl_call *call) {
    return rl_infer_new(call, call->args[0].as.ints, dtype_or(call, 1, RL_F32), rl_arg_device(call, 2));
}
static rl_status leave_as_is(rl_call *call) {
    (void)call;
    return RL_OK;
}

#define COMPUTE (call->compute ? call->compute : call->meta[0].dtype)
PROGRAM(zeros, rl_build_constant(b, COMPUTE, 0))
PROGRAM(ones, rl_build_constant(b, COMPUTE, 1))

static const rl_sample empty_samples[] = {
    {"[0, 3]"}, {"[0], dtype=int64"}, {0}}; /* with elements, there is no telling */
static const rl_sample new_samples[] = {{"[3, 4]"},
                                        {"[], dtype=int64"},
                                        {"[0, 3]"},
                                        {"[33], dtype=bool"},
                                        {"[5, 7], dtype=float16"},
                                        {"[9223372036854775807, 0]"},
                                        {0}};
static const rl_bad new_bad[] = {{"[2, -1]", RL_INVALID_ARGUMENT, "-1"},
                                 {"[4611686018427387904, 4]", RL_INVALID_ARGUMENT, "overflow"},
                                 {"[1,1,1,1,1,1,1,1,1,1,1,1,1]", RL_INVALID_ARGUMENT, "13 dimensions"},
                                 {0}};

const rl_op_def rl_op_def_empty = {
    .schema = "empty(int[] size, *, ScalarType? dtype=None, Device? device=None) -> Tensor",
    .doc = "y has this size and any values",
    .flags = RL_OP_ROWS | RL_OP_NO_GRAD,
    .infer = new_infer,
    .lower = leave_as_is,
    .samples = empty_samples,
    .bad = new_bad,
};

const rl_op_def rl_op_def_zeros = {
    .schema = "zeros(int[] size, *, ScalarType? dtype=None, Device? device=None) -> Tensor",
    .doc = "y[i] = 0",
    .flags = RL_OP_POINTWISE | RL_OP_NO_GRAD,
    .infer = new_infer,
    .pointwise = zeros_program,
    .samples = new_samples,
    .bad = new_bad,
};

const rl_op_def rl_op_def_ones = {
    .schema = "ones(int[] size, *, ScalarType? dtype=None, Device? device=None) -> Tensor",
    .doc = "y[i] = 1",
    .flags = RL_OP_POINTWISE | RL_OP_NO_GRAD,
    .infer = new_infer,
    .pointwise = ones_program,
    .samples = new_samples,
    .bad = new_bad,
};

static rl_status full_infer(rl_call *call) {
    return rl_infer_new(call, call->args[0].as.ints, dtype_or(call, 2, dtype_of_number(&call->args[1])),
                        rl_arg_device(call, 3));
}
PROGRAM(full, x[1])

static const rl_sample full_samples[] = {{"[3, 4], 2.5"},
                                         {"[], 7"},
                                         {"[0, 3], 1"},
                                         {"[33], true"},
                                         {"[5], -1, dtype=uint8"},
                                         {"[5], 0.1, dtype=float16"},
                                         {0}};
static const rl_bad full_bad[] = {
    {"[2, -1], 1", RL_INVALID_ARGUMENT, "-1"},
    {"[2], None", RL_INVALID_ARGUMENT, "fill_value"},
    {"[2], 300, dtype=uint8", RL_INVALID_ARGUMENT, "fill_value is 300, which uint8 cannot hold"},
    {"[2], 1e30, dtype=int64", RL_INVALID_ARGUMENT, "fill_value is 1e+30, which int64 cannot hold"},
    {0}};

const rl_op_def rl_op_def_full = {
    .schema = "full(int[] size, Scalar fill_value, *, ScalarType? dtype=None, Device? device=None) -> Tensor",
    .doc = "y[i] = fill_value",
    .note = "dtype None is float32, int64 or bool as fill_value is a float, an integer or a truth.",
    .flags = RL_OP_POINTWISE | RL_OP_NO_GRAD,
    .infer = full_infer,
    .pointwise = full_program,
    .samples = full_samples,
    .bad = full_bad,
};

static rl_status scalar_tensor_infer(rl_call *call) {
    return rl_infer_new(call, RL_NO_DIMS, dtype_or(call, 1, RL_F32), rl_arg_device(call, 2));
}
PROGRAM(scalar_tensor, x[0])
static const rl_sample scalar_samples[] = {{"2.5"}, {"7, dtype=int64"}, {"true, dtype=bool"}, {0}};
static const rl_bad scalar_bad[] = {{"None", RL_INVALID_ARGUMENT, "s"}, {0}};

const rl_op_def rl_op_def_scalar_tensor = {
    .schema = "scalar_tensor(Scalar s, *, ScalarType? dtype=None, Device? device=None) -> Tensor",
    .doc = "y = s, a tensor of no dimensions",
    .flags = RL_OP_POINTWISE | RL_OP_NO_GRAD,
    .infer = scalar_tensor_infer,
    .pointwise = scalar_tensor_program,
    .samples = scalar_samples,
    .bad = scalar_bad,
};

/* As another tensor ------------------------------------------------------------------------------------------------ */

static const rl_sample empty_like_samples[] = {{"n[0,3]"}, {0}};
static const rl_sample like_samples[] = {{"n[3,4]"}, {"n[]"}, {"n[0,3]"}, {"n[5,7]t"}, {"n[33]s, dtype=int64"}, {0}};
static const rl_sample full_like_samples[] = {
    {"n[3,4], 2"}, {"n[], 1"}, {"n[0,3], 1"}, {"f[5,7]t, 0.5"}, {"n[33]s, 3, dtype=int64"}, {0}};

const rl_op_def rl_op_def_empty_like = {
    .schema = "empty_like(Tensor self, *, ScalarType? dtype=None, Device? device=None) -> Tensor",
    .doc = "y has self's shape and any values",
    .flags = RL_OP_ROWS | RL_OP_NO_GRAD,
    .infer = rl_infer_like,
    .lower = leave_as_is,
    .samples = empty_like_samples,
    .bad = rl_bad_unary,
};

const rl_op_def rl_op_def_zeros_like = {
    .schema = "zeros_like(Tensor self, *, ScalarType? dtype=None, Device? device=None) -> Tensor",
    .doc = "y[i] = 0, with self's shape",
    .flags = RL_OP_POINTWISE | RL_OP_NO_GRAD,
    .infer = rl_infer_like,
    .pointwise = zeros_program,
    .samples = like_samples,
    .bad = rl_bad_unary,
};

const rl_op_def rl_op_def_ones_like = {
    .schema = "ones_like(Tensor self, *, ScalarType? dtype=None, Device? device=None) -> Tensor",
    .doc = "y[i] = 1, with self's shape",
    .flags = RL_OP_POINTWISE | RL_OP_NO_GRAD,
    .infer = rl_infer_like,
    .pointwise = ones_program,
    .samples = like_samples,
    .bad = rl_bad_unary,
};

const rl_op_def rl_op_def_full_like = {
    .schema = "full_like(Tensor self, Scalar fill_value, *, ScalarType? dtype=None, Device? device=None) -> Tensor",
    .doc = "y[i] = fill_value, with self's shape",
    .flags = RL_OP_POINTWISE | RL_OP_NO_GRAD,
    .infer = rl_infer_like,
    .pointwise = full_program,
    .samples = full_like_samples,
    .bad = rl_bad_unary,
};

/* arange, linspace, eye -------------------------------------------------------------------------------------------- */

/* How many steps lead from start to before end: exactly where all are integers. -1 where that is no sensible number. */
static double count_steps(const rl_value *start, const rl_value *end, const rl_value *step, double *out_step) {
    *out_step = rl_value_double(step);
    return ceil((rl_value_double(end) - rl_value_double(start)) / *out_step);
}

/* What a number of an element is exact in, or nearly: f16 counts to 2048 only. */
static rl_dtype counting_dtype(rl_dtype dtype) {
    return dtype == RL_F64 ? RL_F64 : rl_dtype_is_float(dtype) ? RL_F32 : RL_I64;
}

/* arange(end) counts from 0: the numbers are put in order, so that args[0], args[2] are start and step. */
static rl_status arange_infer(rl_call *call) {
    if (!rl_arg_given(call, 1)) {
        call->args[1] = call->args[0];
        call->args[0] = rl_value_of_int(0);
    }
    bool whole = true;
    for (int i = 0; i < 3; i++) {
        if (call->args[i].kind == RL_VALUE_BOOL)
            call->args[i] = rl_value_of_int(call->args[i].as.b);
        whole = whole && call->args[i].kind == RL_VALUE_INT;
    }
    double step, count = count_steps(&call->args[0], &call->args[1], &call->args[2], &step);
    if (step == 0.0)
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "step must not be 0");
    if (count < 0.0)
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "end %g cannot be reached from start %g by steps of %g",
                            rl_arg_double(call, 1), rl_arg_double(call, 0), step);
    if (!(count < 0x1p60))
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "start, end and step give no number of elements: %g", count);
    rl_status status =
        rl_infer_new(call, RL_DIMS((int64_t)count), dtype_or(call, 3, whole ? RL_I64 : RL_F32), rl_arg_device(call, 4));
    call->compute = counting_dtype(call->meta[0].dtype);
    return status;
}

static void arange_program(rl_builder *b, const rl_call *call, const rl_pw *x, rl_pw *out) {
    rl_pw i = CAST(rl_build_index(b, 0), call->compute);
    out[0] = IS_FLOAT(x[0]) ? rl_build3(b, RL_INSN_FMA, i, x[2], x[0]) : ADD(x[0], MUL(i, x[2]));
}

static const rl_sample arange_samples[] = {{"5"},
                                           {"0"},
                                           {"2, end=8"},
                                           {"1, end=2, step=0.25"},
                                           {"10, end=0, step=-3"},
                                           {"0, end=5, dtype=float16"},
                                           {"0, end=5, dtype=uint8"},
                                           {0}};
static const rl_bad arange_bad[] = {{"0, end=5, step=0", RL_INVALID_ARGUMENT, "step must not be 0"},
                                    {"0, end=5, step=-1", RL_INVALID_ARGUMENT, "cannot be reached"},
                                    {0}};

const rl_op_def rl_op_def_arange = {
    .schema = "arange(Scalar start, Scalar? end=None, Scalar step=1, *, ScalarType? dtype=None, Device? device=None) "
              "-> Tensor",
    .doc = "y[i] = start + i step, as long as that is before end; without end, `start` is the end and 0 the start",
    .note = "dtype None is int64 where all numbers are integers, else float32.",
    .flags = RL_OP_POINTWISE | RL_OP_NO_GRAD,
    .infer = arange_infer,
    .pointwise = arange_program,
    .samples = arange_samples,
    .bad = arange_bad,
};

/* start and end may be tensors of no dimensions; then they say on which device. */
static rl_status linspace_infer(rl_call *call) {
    rl_device *device = rl_arg_device(call, 4);
    for (int i = 0; i < 2; i++) {
        const rl_tensor *end = rl_arg_tensor(call, i);
        if (end != NULL && end->ndim > 0)
            return rl_call_fail(call, RL_SHAPE_MISMATCH, "%s must be a number or a tensor of no dimensions, has %d",
                                i ? "end" : "start", end->ndim);
        device = device == NULL && end != NULL ? end->storage->device : device;
    }
    if (rl_arg_int(call, 2) < 0)
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "steps must not be negative, got %lld",
                            (long long)rl_arg_int(call, 2));
    rl_status status = rl_infer_new(call, RL_DIMS(rl_arg_int(call, 2)), dtype_or(call, 3, RL_F32), device);
    if (status != RL_OK)
        return status;
    bool wide = rl_device_takes_dtype(call->meta[0].device, RL_F64);
    rl_dtype dtype = counting_dtype(call->meta[0].dtype);
    call->compute = dtype == RL_I64 ? wide ? RL_F64 : RL_F32 : dtype;
    return status;
}

/* From the nearer end, so that both ends are exact. Of integers, the ends are cut to integers first, as in PyTorch. */
static void linspace_program(rl_builder *b, const rl_call *call, const rl_pw *x, rl_pw *out) {
    bool whole = !rl_dtype_is_float(call->meta[0].dtype);
    rl_pw start = whole ? OP1(TRUNC, x[0]) : x[0], end = whole ? OP1(TRUNC, x[1]) : x[1];
    rl_pw one = rl_build_constant(b, RL_I64, 1), two = rl_build_constant(b, RL_I64, 2);
    rl_pw i = rl_build_index(b, 0), last = SUB(x[2], one);
    rl_pw step = DIV(SUB(end, start), CAST(MAX(last, one), call->compute));
    rl_pw from_start = ADD(start, MUL(step, CAST(i, call->compute)));
    rl_pw from_end = SUB(end, MUL(step, CAST(SUB(last, i), call->compute)));
    out[0] = SELECT(LT(i, OP2(IDIV, ADD(x[2], one), two)), from_start, from_end);
}

static const rl_sample linspace_samples[] = {{"0, 1, 5"}, {"-2.5, 3, 33"},           {"3, 3, 1"},
                                             {"0, 1, 0"}, {"0, 10, 4, dtype=int64"}, {0}};
static const rl_bad linspace_bad[] = {{"0, 1, -1", RL_INVALID_ARGUMENT, "steps must not be negative"}, {0}};

const rl_op_def rl_op_def_linspace = {
    .schema = "linspace(Tensor|Scalar start, Tensor|Scalar end, int steps, *, ScalarType? dtype=None, Device? "
              "device=None) -> Tensor",
    .doc = "y[i] = start + i (end - start) / (steps - 1)",
    .flags = RL_OP_POINTWISE | RL_OP_NO_GRAD,
    .infer = linspace_infer,
    .pointwise = linspace_program,
    .samples = linspace_samples,
    .bad = linspace_bad,
};

static rl_status eye_infer(rl_call *call) {
    int64_t n = rl_arg_int(call, 0), m = rl_arg_given(call, 1) ? rl_arg_int(call, 1) : n;
    if (n < 0 || m < 0)
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "n and m must not be negative, got %lld and %lld", (long long)n,
                            (long long)m);
    return rl_infer_new(call, RL_DIMS(n, m), dtype_or(call, 2, RL_F32), rl_arg_device(call, 3));
}
PROGRAM(eye, CAST(EQ(rl_build_index(b, 0), rl_build_index(b, 1)), COMPUTE))

static const rl_sample eye_samples[] = {{"3"}, {"0"}, {"3, m=5"}, {"4, m=2, dtype=int64"}, {"3, dtype=bool"}, {0}};
static const rl_bad eye_bad[] = {{"-1", RL_INVALID_ARGUMENT, "must not be negative"}, {0}};

const rl_op_def rl_op_def_eye = {
    .schema = "eye(int n, int? m=None, *, ScalarType? dtype=None, Device? device=None) -> Tensor",
    .doc = "y[i][j] = 1 where i = j, else 0",
    .flags = RL_OP_POINTWISE | RL_OP_NO_GRAD,
    .infer = eye_infer,
    .pointwise = eye_program,
    .samples = eye_samples,
    .bad = eye_bad,
};

/* tril, triu ------------------------------------------------------------------------------------------------------- */

static uint32_t dims_variant(const rl_call *call) {
    return (uint32_t)call->meta[0].ndim;
}
static rl_status triangle_infer(rl_call *call) {
    rl_status status = rl_infer_same_as_input(call);
    if (status == RL_OK && call->meta[0].ndim < 2)
        return rl_call_fail(call, RL_SHAPE_MISMATCH, "self must have at least 2 dimensions, has %lld",
                            (long long)call->meta[0].ndim);
    return status;
}

/* j - i along the last two dimensions */
static rl_pw diagonal_number(rl_builder *b, const rl_call *call) {
    int n = (int)call->meta[0].ndim;
    return SUB(rl_build_index(b, n - 1), rl_build_index(b, n - 2));
}
PROGRAM(tril, SELECT(LE(diagonal_number(b, call), x[1]), x[0], NUM(x[0], 0)))
PROGRAM(triu, SELECT(GE(diagonal_number(b, call), x[1]), x[0], NUM(x[0], 0)))
static int64_t diagonal_option(rl_vjp *v) {
    int64_t diagonal = (int64_t)NUMBER(1);
    return diagonal ? diagonal : RL_ZERO;
}
VJP(tril, rl_tril(G, .diagonal = diagonal_option(v))) /* gx = tril(g) */
VJP(triu, rl_triu(G, .diagonal = diagonal_option(v))) /* gx = triu(g) */

static const rl_sample triangle_samples[] = {{"n[3,4]"},      {"n[2,5,3], 1"}, {"n[0,3]"},
                                             {"n[5,7]t, -1"}, {"n[3,3], 10"},  {0}};
static const rl_bad triangle_bad[] = {{"f[3]", RL_SHAPE_MISMATCH, "at least 2 dimensions"}, {0}};

const rl_op_def rl_op_def_tril = {
    .schema = "tril(Tensor self, int diagonal=0) -> Tensor",
    .doc = "y[..][i][j] = self[..][i][j] where j - i <= diagonal, else 0",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE,
    .infer = triangle_infer,
    .pointwise = tril_program,
    .variant = dims_variant,
    .vjp = tril_vjp,
    .samples = triangle_samples,
    .bad = triangle_bad,
};

const rl_op_def rl_op_def_triu = {
    .schema = "triu(Tensor self, int diagonal=0) -> Tensor",
    .doc = "y[..][i][j] = self[..][i][j] where j - i >= diagonal, else 0",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE,
    .infer = triangle_infer,
    .pointwise = triu_program,
    .variant = dims_variant,
    .vjp = triu_vjp,
    .samples = triangle_samples,
    .bad = triangle_bad,
};
