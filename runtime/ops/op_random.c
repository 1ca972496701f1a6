/* SPDX-License-Identifier: Apache-2.0 */
/* Random numbers: element i takes counter offset + i / 4, lane i % 4 of Philox 4x32-10, the same on every device. */
#include <math.h>

#include "ops/call.h"
#include "ops/op_create.h"
#include "ops/op_shared.h"

/* Narrow floats are drawn as f32. */
static rl_dtype drawing_dtype(rl_dtype dtype) {
    return dtype == RL_F64 ? RL_F64 : RL_F32;
}

/* A uniform in [0, 1), stored as dtype: cut to its precision, so that rounding never gives 1. */
static rl_pw uniform(rl_builder *b, const rl_call *call, rl_pw seed) {
    rl_pw u = rl_build_random(b, RL_INSN_UNIFORM, call->compute, seed);
    rl_dtype stored = call->meta[0].dtype;
    if (stored != RL_F16 && stored != RL_BF16)
        return u;
    double steps = stored == RL_F16 ? 2048.0 : 256.0;
    return DIV(OP1(FLOOR, MUL(u, NUM(u, steps))), NUM(u, steps));
}

/* rand, randn, randint, randperm ----------------------------------------------------------------------------------- */

static rl_status check_float_dtype(const rl_call *call, rl_dtype dtype) {
    return rl_dtype_is_float(dtype)
               ? RL_OK
               : rl_call_fail(call, RL_DTYPE_MISMATCH, "dtype must be a floating one, not %s", rl_dtype_name(dtype));
}

/* (size, generator, dtype, device) */
static rl_status rand_infer(rl_call *call) {
    rl_dtype dtype = rl_arg_given(call, 2) ? rl_arg_dtype(call, 2) : RL_F32;
    rl_status status = rl_infer_new(call, call->args[0].as.ints, dtype, rl_arg_device(call, 3));
    call->compute = drawing_dtype(dtype);
    return status == RL_OK ? check_float_dtype(call, dtype) : status;
}
/* (self, dtype, device) */
static rl_status rand_like_infer(rl_call *call) {
    rl_status status = rl_infer_like(call);
    call->compute = drawing_dtype(call->meta[0].dtype);
    return status == RL_OK ? check_float_dtype(call, call->meta[0].dtype) : status;
}

PROGRAM(rand, uniform(b, call, x[1]))
PROGRAM(randn, rl_build_random(b, RL_INSN_NORMAL, call->compute, x[1]))

static const rl_sample rand_samples[] = {{"[3, 4]"}, {"[]"}, {"[0, 3]"}, {"[33]"}, {"[5, 7], dtype=float16"}, {0}};
static const rl_bad rand_bad[] = {
    {"[2, -1]", RL_INVALID_ARGUMENT, "-1"}, {"[2], dtype=int64", RL_DTYPE_MISMATCH, "floating"}, {0}};
static const rl_sample rand_like_samples[] = {{"f[3,4]"}, {"f[]"}, {"f[0,3]"}, {"f[5,7]t"}, {"f[33]s"}, {0}};
static const rl_bad rand_like_bad[] = {{"i64[2]", RL_DTYPE_MISMATCH, "floating"}, {0}};

const rl_op_def rl_op_def_rand = {
    .schema = "rand(int[] size, *, Generator? generator=None, ScalarType? dtype=None, Device? device=None) -> Tensor",
    .doc = "y[i] uniform in [0, 1)",
    .flags = RL_OP_POINTWISE | RL_OP_RANDOM | RL_OP_NO_GRAD,
    .infer = rand_infer,
    .pointwise = rand_program,
    .samples = rand_samples,
    .bad = rand_bad,
};

const rl_op_def rl_op_def_randn = {
    .schema = "randn(int[] size, *, Generator? generator=None, ScalarType? dtype=None, Device? device=None) -> Tensor",
    .doc = "y[i] normal with mean 0 and standard deviation 1",
    .flags = RL_OP_POINTWISE | RL_OP_RANDOM | RL_OP_NO_GRAD,
    .infer = rand_infer,
    .pointwise = randn_program,
    .samples = rand_samples,
    .bad = rand_bad,
};

const rl_op_def rl_op_def_rand_like = {
    .schema = "rand_like(Tensor self, *, Generator? generator=None, ScalarType? dtype=None, Device? device=None) "
              "-> Tensor",
    .doc = "y[i] uniform in [0, 1), with self's shape",
    .flags = RL_OP_POINTWISE | RL_OP_RANDOM | RL_OP_NO_GRAD,
    .infer = rand_like_infer,
    .pointwise = rand_program,
    .samples = rand_like_samples,
    .bad = rand_like_bad,
};

const rl_op_def rl_op_def_randn_like = {
    .schema = "randn_like(Tensor self, *, Generator? generator=None, ScalarType? dtype=None, Device? device=None) "
              "-> Tensor",
    .doc = "y[i] normal with mean 0 and standard deviation 1, with self's shape",
    .flags = RL_OP_POINTWISE | RL_OP_RANDOM | RL_OP_NO_GRAD,
    .infer = rand_like_infer,
    .pointwise = randn_program,
    .samples = rand_like_samples,
    .bad = rand_like_bad,
};

/* (low, high, size, generator, dtype, device) */
static rl_status randint_infer(rl_call *call) {
    int64_t low = rl_arg_int(call, 0), high = rl_arg_int(call, 1);
    if (low >= high)
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "low must be less than high, got %lld and %lld", (long long)low,
                            (long long)high);
    rl_dtype dtype = rl_arg_given(call, 4) ? rl_arg_dtype(call, 4) : RL_I64;
    rl_status status = rl_infer_new(call, call->args[2].as.ints, dtype, rl_arg_device(call, 5));
    call->compute = RL_I64;
    return status;
}

/* low + bits mod (high - low), for ranges that divide 2^32, or are small beside it. */
static void randint_program(rl_builder *b, const rl_call *call, const rl_pw *x, rl_pw *out) {
    (void)call;
    rl_pw bits = CAST(rl_build_random(b, RL_INSN_PHILOX, RL_I32, x[3]), RL_I64);
    bits = AND(bits, rl_build_constant(b, RL_I64, 4294967295.0));
    out[0] = ADD(x[0], OP2(IREM, bits, SUB(x[1], x[0])));
}

/* Beyond 2^20, 32 bits modulo the range would favour the lower numbers by more than 2^-12. */
static bool is_wide(const rl_call *call) {
    uint64_t range = (uint64_t)rl_arg_int(call, 1) - (uint64_t)rl_arg_int(call, 0);
    bool divides = range <= UINT64_C(1) << 32 && (range & (range - 1)) == 0;
    return range > UINT64_C(1) << 20 && !divides;
}

/* A wider range takes two draws: 31 bits above 32. */
static rl_status randint_lower(rl_call *call) {
    if (!is_wide(call))
        return rl_pointwise_run(call);
    rl_generator *generator = call->args[3].kind == RL_VALUE_GENERATOR ? call->args[3].as.generator : NULL;
    rl_device *device = call->meta[0].device;
    int64_t low = rl_arg_int(call, 0), range = (int64_t)((uint64_t)rl_arg_int(call, 1) - (uint64_t)low);
    rl_tensor *high_bits =
        rl_randint(0, INT64_C(1) << 31, call->args[2].as.ints, .generator = generator, .device = device);
    rl_tensor *low_bits =
        rl_randint(0, INT64_C(1) << 32, call->args[2].as.ints, .generator = generator, .device = device);
    rl_tensor *bits = rl_bitwise_or(rl_bitwise_left_shift(high_bits, 32), low_bits);
    rl_tensor *offset = range > 0 ? rl_remainder(bits, range) : bits; /* a range beyond 2^63 is cut to it */
    rl_copy_(call->results[0], rl_add(offset, low));
    return rl_error_status();
}

static const rl_sample randint_samples[] = {{"0, 10, [3, 4]"},
                                            {"-5, 5, []"},
                                            {"0, 2, [0, 3]"},
                                            {"0, 100, [33]"},
                                            {"0, 1000000000000, [5, 7]"},
                                            {"0, 10, [7], dtype=float32"},
                                            {0}};
static const rl_bad randint_bad[] = {
    {"3, 3, [2]", RL_INVALID_ARGUMENT, "low must be less than high"}, {"0, 3, [-2]", RL_INVALID_ARGUMENT, "-2"}, {0}};

const rl_op_def rl_op_def_randint = {
    .schema = "randint(int low, int high, int[] size, *, Generator? generator=None, ScalarType? dtype=None, "
              "Device? device=None) -> Tensor",
    .doc = "y[i] = an integer in low .. high - 1, all equally likely",
    .note = "Within 2^-12 for ranges up to 2^51: bits are taken modulo the range.",
    .flags = RL_OP_POINTWISE | RL_OP_RANDOM | RL_OP_NO_GRAD,
    .infer = randint_infer,
    .pointwise = randint_program,
    .lower = randint_lower,
    .samples = randint_samples,
    .bad = randint_bad,
};

static rl_status randperm_infer(rl_call *call) {
    int64_t n = rl_arg_int(call, 0);
    if (n < 0)
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "n must not be negative, got %lld", (long long)n);
    return rl_infer_new(call, RL_DIMS(n), rl_arg_given(call, 2) ? rl_arg_dtype(call, 2) : RL_I64,
                        rl_arg_device(call, 3));
}

/* The order that sorts keys of 62 random bits. */
static rl_status randperm_lower(rl_call *call) {
    int64_t n = rl_arg_int(call, 0);
    rl_generator *generator = call->args[1].kind == RL_VALUE_GENERATOR ? call->args[1].as.generator : NULL;
    rl_tensor *keys =
        rl_randint(0, INT64_C(1) << 62, RL_DIMS(n), .generator = generator, .device = call->meta[0].device);
    rl_tensor *sorted = rl_call_temp(call, RL_I64, 1, &n), *order = rl_call_temp(call, RL_I64, 1, &n);
    if (rl_failed() || rl_row_sort(rl_call_name(call), keys, 0, false, sorted, order) != RL_OK)
        return rl_error_status();
    rl_copy_(call->results[0], order);
    return rl_error_status();
}

static const rl_sample randperm_samples[] = {{"5"}, {"0"}, {"33"}, {"7, dtype=int32"}, {0}};
static const rl_bad randperm_bad[] = {{"-1", RL_INVALID_ARGUMENT, "n must not be negative"}, {0}};

const rl_op_def rl_op_def_randperm = {
    .schema = "randperm(int n, *, Generator? generator=None, ScalarType? dtype=None, Device? device=None) -> Tensor",
    .doc = "y = 0 .. n - 1 in random order",
    .flags = RL_OP_ROWS | RL_OP_RANDOM | RL_OP_NO_GRAD,
    .infer = randperm_infer,
    .lower = randperm_lower,
    .samples = randperm_samples,
    .bad = randperm_bad,
};

/* In place --------------------------------------------------------------------------------------------------------- */

static rl_status infer_drawn(rl_call *call) {
    rl_status status = rl_infer_same_as_input(call);
    call->compute = drawing_dtype(call->meta[0].dtype);
    return status;
}
static rl_status uniform_infer(rl_call *call) {
    double from = rl_arg_double(call, 1), to = rl_arg_double(call, 2);
    if (!(from <= to) || !isfinite(to - from))
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "from must be no greater than to, both finite, got %g and %g",
                            from, to);
    rl_status status = rl_check_float(call, 0);
    return status == RL_OK ? infer_drawn(call) : status;
}
static rl_status normal_infer(rl_call *call) {
    if (!(rl_arg_double(call, 2) >= 0.0))
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "std must not be negative, got %g", rl_arg_double(call, 2));
    rl_status status = rl_check_float(call, 0);
    return status == RL_OK ? infer_drawn(call) : status;
}
static rl_status check_probability(const rl_call *call, int arg) {
    double p = rl_arg_double(call, arg);
    return p >= 0.0 && p <= 1.0 ? RL_OK
                                : rl_call_fail(call, RL_INVALID_ARGUMENT, "p must lie within 0 and 1, got %g", p);
}
static rl_status bernoulli_in_place_infer(rl_call *call) {
    rl_status status = check_probability(call, 1);
    return status == RL_OK ? infer_drawn(call) : status;
}

PROGRAM(uniform, ADD(MUL(uniform(b, call, x[3]), SUB(x[2], x[1])), x[1]))
PROGRAM(normal, ADD(MUL(rl_build_random(b, RL_INSN_NORMAL, call->compute, x[3]), x[2]), x[1]))
PROGRAM(bernoulli_in_place, LT(rl_build_random(b, RL_INSN_UNIFORM, call->compute, x[2]), x[1]))

static const rl_sample uniform_samples[] = {{"f[3,4]"}, {"f[]"}, {"f[0,3]"}, {"f[5,7]t, -1.0, 2.0"}, {"f[33]s"}, {0}};
static const rl_bad uniform_bad[] = {{"f[2], 1.0, 0.0", RL_INVALID_ARGUMENT, "from must be no greater than to"},
                                     {"i64[2]", RL_DTYPE_MISMATCH, "floating"},
                                     {0}};
static const rl_sample normal_samples[] = {{"f[3,4]"}, {"f[]"}, {"f[0,3]"}, {"f[5,7]t, -1.0, 2.0"}, {"f[33]s"}, {0}};
static const rl_bad normal_bad[] = {{"f[2], 0.0, -1.0", RL_INVALID_ARGUMENT, "std must not be negative"},
                                    {"i64[2]", RL_DTYPE_MISMATCH, "floating"},
                                    {0}};
static const rl_sample bernoulli_samples[] = {{"n[3,4]"}, {"n[]"}, {"n[0,3]"}, {"n[5,7]t, 0.25"}, {"n[33]s, 1.0"}, {0}};
static const rl_bad bernoulli_bad[] = {{"f[2], 1.5", RL_INVALID_ARGUMENT, "p must lie within 0 and 1"}, {0}};

const rl_op_def rl_op_def_uniform_ = {
    .schema = "uniform_(Tensor(a!) self, float from=0, float to=1, *, Generator? generator=None) -> Tensor(a!)",
    .doc = "self[i] uniform in [from, to), or to by rounding",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE_ONLY | RL_OP_RANDOM,
    .infer = uniform_infer,
    .pointwise = uniform_program,
    .vjp = rl_vjp_zero,
    .samples = uniform_samples,
    .bad = uniform_bad,
};

const rl_op_def rl_op_def_normal_ = {
    .schema = "normal_(Tensor(a!) self, float mean=0, float std=1, *, Generator? generator=None) -> Tensor(a!)",
    .doc = "self[i] normal with mean and standard deviation std",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE_ONLY | RL_OP_RANDOM,
    .infer = normal_infer,
    .pointwise = normal_program,
    .vjp = rl_vjp_zero,
    .samples = normal_samples,
    .bad = normal_bad,
};

const rl_op_def rl_op_def_bernoulli_ = {
    .schema = "bernoulli_(Tensor(a!) self, float p=0.5, *, Generator? generator=None) -> Tensor(a!)",
    .doc = "self[i] = 1 with probability p, else 0",
    .flags = RL_OP_POINTWISE | RL_OP_INPLACE_ONLY | RL_OP_RANDOM,
    .infer = bernoulli_in_place_infer,
    .pointwise = bernoulli_in_place_program,
    .vjp = rl_vjp_zero,
    .samples = bernoulli_samples,
    .bad = bernoulli_bad,
};

/* bernoulli, dropout ------------------------------------------------------------------------------------------------
 */

static rl_status bernoulli_infer(rl_call *call) {
    rl_status status = rl_check_float(call, 0);
    return status == RL_OK ? infer_drawn(call) : status;
}
PROGRAM(bernoulli, LT(rl_build_random(b, RL_INSN_UNIFORM, call->compute, x[1]), x[0]))

static const rl_sample probability_samples[] = {{"u[3,4]"}, {"u[]"}, {"u[0,3]"}, {"u[5,7]t"}, {"u[33]s"}, {0}};
static const rl_bad probability_bad[] = {{"i64[2]", RL_DTYPE_MISMATCH, "floating"}, {0}};

const rl_op_def rl_op_def_bernoulli = {
    .schema = "bernoulli(Tensor self, *, Generator? generator=None) -> Tensor",
    .doc = "y[i] = 1 with probability self[i], else 0",
    .note = "A probability beyond 0 and 1 counts as the nearer one, NaN as 0: to see it would take a pass over self.",
    .flags = RL_OP_POINTWISE | RL_OP_RANDOM,
    .infer = bernoulli_infer,
    .pointwise = bernoulli_program,
    .vjp = rl_vjp_zero,
    .samples = probability_samples,
    .bad = probability_bad,
};

static rl_status native_dropout_infer(rl_call *call) {
    rl_status status = rl_check_float(call, 0);
    if (status == RL_OK)
        status = check_probability(call, 1);
    if (status == RL_OK)
        status = infer_drawn(call);
    call->meta[1].dtype = RL_BOOL;
    return status;
}

static void native_dropout_program(rl_builder *b, const rl_call *call, const rl_pw *x, rl_pw *out) {
    rl_pw u = rl_build_random(b, RL_INSN_UNIFORM, call->compute, x[2]);
    rl_pw scale = DIV(NUM(u, 1), SUB(NUM(u, 1), x[1]));
    out[1] = GE(u, x[1]);
    out[0] = SELECT(out[1], MUL(x[0], scale), NUM(x[0], 0));
}

/* gx = g / (1 - p) where the mask holds, else 0 */
VJP(native_dropout, rl_native_dropout_backward(G, rl_vjp_result(v, 1), 1.0 / (1.0 - NUMBER(1))))

static const rl_sample native_dropout_samples[] = {{"f[3,4], 0.5"},  {"f[], 0.25"},   {"f[0,3], 0.5"},
                                                   {"f[5,7]t, 0.0"}, {"f[33]s, 1.0"}, {0}};
static const rl_bad native_dropout_bad[] = {{"f[2], 1.5", RL_INVALID_ARGUMENT, "p must lie within 0 and 1"},
                                            {"i64[2], 0.5", RL_DTYPE_MISMATCH, "floating"},
                                            {0}};

const rl_op_def rl_op_def_native_dropout = {
    .schema = "native_dropout(Tensor input, float p, *, Generator? generator=None) -> (Tensor output, Tensor mask)",
    .doc = "output = mask input / (1 - p); mask holds with probability 1 - p",
    .flags = RL_OP_POINTWISE | RL_OP_RANDOM,
    .saves = RL_SAVE_OUT(1),
    .infer = native_dropout_infer,
    .pointwise = native_dropout_program,
    .vjp = native_dropout_vjp,
    .samples = native_dropout_samples,
    .bad = native_dropout_bad,
};

static rl_status native_dropout_backward_infer(rl_call *call) {
    rl_status status = rl_infer_broadcast(call);
    if (status == RL_OK)
        status = rl_check_float(call, 0);
    return status == RL_OK ? rl_check_dtype_is(call, 1, RL_BOOL) : status;
}

PROGRAM(native_dropout_backward, SELECT(x[1], MUL(x[0], x[2]), NUM(x[0], 0)))
VJP(native_dropout_backward, rl_native_dropout_backward(G, rl_vjp_input(v, 1), NUMBER(2))) /* linear in g */

static const rl_sample dropout_backward_samples[] = {
    {"f[3,4], b[3,4], 2.0"}, {"f[0,3], b[0,3], 2.0"}, {"f[5,7]t, b[5,7], 1.5"}, {0}};
static const rl_bad dropout_backward_bad[] = {
    {"f[2,3], b[4], 2.0", RL_SHAPE_MISMATCH, "do not broadcast"},
    {"i64[2], b[2], 2.0", RL_DTYPE_MISMATCH, "grad_output must be of a floating dtype"},
    {"f[2], f[2], 2.0", RL_DTYPE_MISMATCH, "mask must be bool"},
    {0}};

const rl_op_def rl_op_def_native_dropout_backward = {
    .schema = "native_dropout_backward(Tensor grad_output, Tensor mask, float scale) -> Tensor",
    .doc = "y = scale grad_output where mask holds, else 0",
    .flags = RL_OP_POINTWISE,
    .saves = RL_SAVE_IN(1),
    .infer = native_dropout_backward_infer,
    .pointwise = native_dropout_backward_program,
    .vjp = native_dropout_backward_vjp,
    .samples = dropout_backward_samples,
    .bad = dropout_backward_bad,
    .as_is = RL_SAVE_IN(1),
};

static rl_status dropout_lower(rl_call *call) {
    rl_tensor *input = rl_arg_tensor(call, 0);
    double p = rl_arg_double(call, 1);
    rl_status status = check_probability(call, 1);
    if (status == RL_OK)
        call->results[0] = p == 0.0 || !call->args[2].as.b ? input : rl_native_dropout(input, p).output;
    return status == RL_OK ? rl_error_status() : status;
}

static const rl_sample dropout_samples[] = {{"f[3,4], 0.5, true"},   {"f[], 0.25, true"},   {"f[0,3], 0.5, true"},
                                            {"f[5,7]t, 0.5, false"}, {"f[33]s, 1.0, true"}, {0}};
static const rl_bad dropout_bad[] = {{"f[2], 1.5, true", RL_INVALID_ARGUMENT, "p must lie within 0 and 1"}, {0}};

const rl_op_def rl_op_def_dropout = {
    .schema = "dropout(Tensor input, float p, bool train) -> Tensor",
    .doc = "y = 0 with probability p, else input / (1 - p); where train is false, y = input",
    .flags = RL_OP_COMPOSITE | RL_OP_RANDOM,
    .lower = dropout_lower,
    .samples = dropout_samples,
    .bad = dropout_bad,
};
