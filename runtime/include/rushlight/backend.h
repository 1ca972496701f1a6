/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rushlight's plugin ABI: all that a device backend sees of Rushlight, and all that Rushlight sees of it.
 *
 * A backend is a shared object named rushlight_backend_NAME.so that exports one symbol, rl_backend_query, and links
 * nothing of Rushlight. This header stands alone: strict C99 and C++17 compile it without any other file of ours.
 *
 * RULES
 *   Sizes     A struct with a `size` field is versioned: its owner sets size = sizeof(struct). Fields are only ever
 *             appended. A shorter struct means that its tail is absent (zero); of a longer one the rest is ignored.
 *             A struct without `size` is frozen: it never changes.
 *   Threads   [any]     any thread, at any time between init and shutdown, several at once.
 *             [stream]  the host never makes two such calls at once for one stream, unless the backend sets
 *                       RL_BACKEND_CONCURRENT. Different streams may be used at once.
 *             [init]    one thread, while nothing else of the backend runs.
 *   Borrowing Every pointer in an argument is borrowed until the call returns, except rl_program and the rl_host table,
 *             which live until shutdown has returned. A backend that works later copies what it needs.
 *   Order     Work on one stream happens as if in the order of the calls. Work on different streams is unordered, but
 *             for events. A call may return before its work is done.
 *   Errors    A call returns RL_OK or another status, after rl_host.fail(status, sentence). An error of work that was
 *             already accepted sticks to its stream: the next stream_sync of the stream returns it, once, with a
 *             sentence that names the primitive. A backend never exits, aborts, throws or writes to stdout or stderr.
 *   Memory    An operand is {buffer handle, byte offset, strides in elements}. A handle means nothing to the host.
 *             Offsets are multiples of the element size. Strides may be zero or negative; outputs never overlap
 *             themselves. An output may alias an input exactly (same buffer, offset, strides), in fused rows not
 *             even so, and never in part.
 *             A backend touches no byte of an output between or beyond the elements described.
 *   Zero      Any dimension may be zero; the call then has nothing to do (reduce, matmul: nothing to add up, so
 *             outputs get the identity). ndim may be zero: one element.
 */
#ifndef RUSHLIGHT_BACKEND_H
#define RUSHLIGHT_BACKEND_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define RL_ABI_VERSION 1u /* changes only when a struct cannot be extended by appending */

#define RL_MAX_DIMS 12    /* dimensions of an operand */
#define RL_MAX_INPUTS 16  /* inputs of a program */
#define RL_MAX_OUTPUTS 8  /* outputs of a program */
#define RL_MAX_SCALARS 32 /* launch scalars of a program */
#define RL_MAX_INSNS 255  /* instructions of a program */
#define RL_MAX_COMBINED 4 /* values that one reduce combines */

/* Status ------------------------------------------------------------------------------------------------------- */

/* X(NAME, number, "text") */
#define RL_STATUS_LIST(X)                                                                                              \
    X(OK, 0, "ok")                                                                                                     \
    X(INVALID_ARGUMENT, 1, "invalid argument")                                                                         \
    X(SHAPE_MISMATCH, 2, "shape mismatch")                                                                             \
    X(DTYPE_MISMATCH, 3, "dtype mismatch")                                                                             \
    X(DEVICE_MISMATCH, 4, "device mismatch")                                                                           \
    X(INDEX_OUT_OF_RANGE, 5, "index out of range")                                                                     \
    X(OUT_OF_MEMORY, 6, "out of memory")                                                                               \
    X(DEVICE_LOST, 7, "device lost")                                                                                   \
    X(UNSUPPORTED, 8, "unsupported")                                                                                   \
    X(NOT_FOUND, 9, "not found")                                                                                       \
    X(IO_ERROR, 10, "input/output error")                                                                              \
    X(BAD_FORMAT, 11, "bad format")                                                                                    \
    X(ABI_MISMATCH, 12, "ABI mismatch")                                                                                \
    X(AUTOGRAD, 13, "autograd error")                                                                                  \
    X(INTERRUPTED, 14, "interrupted")                                                                                  \
    X(INTERNAL, 15, "internal error")

#define RL_STATUS_ENUM_(NAME, number, text) RL_##NAME = number,
typedef enum rl_status { RL_STATUS_LIST(RL_STATUS_ENUM_) RL_STATUS_FORCE_INT_ = 0x7fffffff } rl_status;
#undef RL_STATUS_ENUM_

/* Data types --------------------------------------------------------------------------------------------------- */

/* X(NAME, code, bytes, register, "name"): codes are frozen. Reserved: 16..19 complex, 20..27 fp8, 28..30 u16 u32 u64.
 */
#define RL_DTYPE_LIST(X)                                                                                               \
    X(F32, 1, 4, F32, "float32")                                                                                       \
    X(F64, 2, 8, F64, "float64")                                                                                       \
    X(F16, 3, 2, F32, "float16")                                                                                       \
    X(BF16, 4, 2, F32, "bfloat16")                                                                                     \
    X(I8, 5, 1, I32, "int8")                                                                                           \
    X(U8, 6, 1, I32, "uint8")                                                                                          \
    X(I16, 7, 2, I32, "int16")                                                                                         \
    X(I32, 8, 4, I32, "int32")                                                                                         \
    X(I64, 9, 8, I64, "int64")                                                                                         \
    X(BOOL, 10, 1, I32, "bool")

#define RL_DTYPE_ENUM_(NAME, code, bytes, reg, text) RL_##NAME = code,
typedef enum rl_dtype { RL_DTYPE_NONE = 0, RL_DTYPE_LIST(RL_DTYPE_ENUM_) RL_DTYPE_COUNT = 11 } rl_dtype;
#undef RL_DTYPE_ENUM_

/* Pointwise programs ------------------------------------------------------------------------------------------- */

/*
 * A program is a straight line of instructions in SSA form: instruction i defines value i from earlier values. A value
 * lives in a register of one of four types. f16 and bf16 are computed in F32, i8, u8, i16, i32 and bool (0 or 1) in
 * I32. INPUT k loads the current element of input k, exactly; storing to an output of dtype D is CAST to D.
 *
 * Integer arithmetic wraps. CAST between dtypes: to a narrower integer wraps; float to integer truncates toward zero
 * (out of range or NaN: unspecified, but no trap); to f16, bf16, f32 rounds to nearest even; to bool is x != 0 (NaN is
 * true). Float instructions follow IEEE 754 with subnormals, no contraction of MUL and ADD into FMA where bits are
 * compared (UNIFORM, NORMAL); a few units in the last place are allowed for EXP and after.
 */
typedef enum rl_reg { RL_REG_F32 = 0, RL_REG_F64 = 1, RL_REG_I32 = 2, RL_REG_I64 = 3 } rl_reg;

/*
 * X(NAME, number, operands, types, "meaning"). types: A all registers, F float, I integer; the `type` of the
 * instruction is the register of its operands and its result, but: comparisons give I32; SELECT's a is I32; CAST's
 * result is the register of `dtype`; BITCAST's result is `type` and its operand the other register of that width;
 * INDEX gives I64; PHILOX gives I32. Numbers are frozen. Instructions below RL_INSN_BASE_END are the base set, which
 * every backend must take; the later ones it takes where its mask says so, else the host expands them.
 */
#define RL_INSN_LIST(X)                                                                                                \
    X(INPUT, 0, 0, A, "the current element of input imm")                                                              \
    X(SCALAR, 1, 0, A, "launch scalar imm: .f in F32 and F64 (F32 rounds), .i in I32 and I64")                         \
    X(INDEX, 2, 0, I, "the index along dimension imm of the job")                                                      \
    X(PHILOX, 3, 0, I, "32 random bits; scalars imm and imm+1 are seed and offset (rl_philox.h)")                      \
    X(UNIFORM, 4, 0, F, "a uniform in [0, 1); scalars imm and imm+1 as for PHILOX")                                    \
    X(NORMAL, 5, 0, F, "a standard normal; scalars imm and imm+1 as for PHILOX")                                       \
    X(CAST, 6, 1, A, "a, held in register type, as dtype")                                                             \
    X(BITCAST, 7, 1, A, "the bits of a: F32 with I32, F64 with I64")                                                   \
    X(ADD, 8, 2, A, "a + b")                                                                                           \
    X(SUB, 9, 2, A, "a - b")                                                                                           \
    X(MUL, 10, 2, A, "a * b")                                                                                          \
    X(DIV, 11, 2, F, "a / b")                                                                                          \
    X(FMA, 12, 3, F, "a * b + c, rounded once")                                                                        \
    X(NEG, 13, 1, A, "-a")                                                                                             \
    X(ABS, 14, 1, A, "|a|")                                                                                            \
    X(MIN, 15, 2, A, "the smaller, b if they are equal (0, -0); NaN if either is")                                     \
    X(MAX, 16, 2, A, "the larger, b if they are equal (0, -0); NaN if either is")                                      \
    X(IDIV, 17, 2, I, "a / b toward zero; 0 where b = 0")                                                              \
    X(IREM, 18, 2, I, "a - b * IDIV(a, b); 0 where b = 0")                                                             \
    X(EQ, 19, 2, A, "a == b")                                                                                          \
    X(NE, 20, 2, A, "a != b")                                                                                          \
    X(LT, 21, 2, A, "a < b")                                                                                           \
    X(LE, 22, 2, A, "a <= b")                                                                                          \
    X(GT, 23, 2, A, "a > b")                                                                                           \
    X(GE, 24, 2, A, "a >= b")                                                                                          \
    X(SELECT, 25, 3, A, "b where a is not 0, else c")                                                                  \
    X(AND, 26, 2, I, "a & b")                                                                                          \
    X(OR, 27, 2, I, "a | b")                                                                                           \
    X(XOR, 28, 2, I, "a ^ b")                                                                                          \
    X(NOT, 29, 1, I, "~a")                                                                                             \
    X(SHL, 30, 2, I, "a << b; 0 where b is negative or no less than the width")                                        \
    X(SHR, 31, 2, I, "a >> b with the sign; the sign where b is negative or no less than the width")                   \
    X(SQRT, 32, 1, F, "square root, correctly rounded")                                                                \
    X(FLOOR, 33, 1, F, "toward minus infinity")                                                                        \
    X(CEIL, 34, 1, F, "toward plus infinity")                                                                          \
    X(TRUNC, 35, 1, F, "toward zero")                                                                                  \
    X(ROUND, 36, 1, F, "to nearest, ties to even")                                                                     \
    X(EXP, 37, 1, F, "e^a")                                                                                            \
    X(LOG, 38, 1, F, "natural logarithm")                                                                              \
    X(SIN, 39, 1, F, "sine of radians")                                                                                \
    X(COS, 40, 1, F, "cosine of radians")                                                                              \
    X(TANH, 41, 1, F, "hyperbolic tangent")                                                                            \
    X(ERF, 42, 1, F, "error function")                                                                                 \
    X(ATAN, 43, 1, F, "arc tangent")                                                                                   \
    X(POW, 44, 2, F, "a^b as C's pow")                                                                                 \
    X(FMOD, 45, 2, F, "remainder with the sign of a, exact, as C's fmod")                                              \
    X(EXPM1, 46, 1, F, "e^a - 1 without cancellation")                                                                 \
    X(LOG1P, 47, 1, F, "log(1 + a) without cancellation")                                                              \
    /* the base set ends here: RL_INSN_BASE_END */                                                                     \
    X(RECIP, 48, 1, F, "1 / a")                                                                                        \
    X(RSQRT, 49, 1, F, "1 / sqrt(a)")                                                                                  \
    X(SIGMOID, 50, 1, F, "1 / (1 + e^-a)")                                                                             \
    X(EXP2, 51, 1, F, "2^a")                                                                                           \
    X(LOG2, 52, 1, F, "logarithm to base 2")                                                                           \
    X(LOG10, 53, 1, F, "logarithm to base 10")                                                                         \
    X(TAN, 54, 1, F, "tangent of radians")                                                                             \
    X(ASIN, 55, 1, F, "arc sine")                                                                                      \
    X(ACOS, 56, 1, F, "arc cosine")                                                                                    \
    X(ATAN2, 57, 2, F, "angle of the point (b, a), as C's atan2")                                                      \
    X(SINH, 58, 1, F, "hyperbolic sine")                                                                               \
    X(COSH, 59, 1, F, "hyperbolic cosine")                                                                             \
    X(ASINH, 60, 1, F, "inverse of sinh")                                                                              \
    X(ACOSH, 61, 1, F, "inverse of cosh")                                                                              \
    X(ATANH, 62, 1, F, "inverse of tanh")                                                                              \
    X(ERFC, 63, 1, F, "1 - erf(a) without cancellation")

#define RL_INSN_ENUM_(NAME, number, operands, types, text) RL_INSN_##NAME = number,
typedef enum rl_insn_code { RL_INSN_LIST(RL_INSN_ENUM_) RL_INSN_BASE_END = 48, RL_INSN_COUNT = 64 } rl_insn_code;
#undef RL_INSN_ENUM_

typedef struct rl_insn { /* frozen, 8 bytes */
    uint8_t code;        /* rl_insn_code */
    uint8_t type;        /* rl_reg in which it computes */
    uint8_t dtype;       /* CAST: the rl_dtype; else 0 */
    uint8_t a, b, c;     /* operands: numbers of earlier values; 0 where unused */
    uint16_t imm;        /* INPUT, SCALAR, INDEX, PHILOX, UNIFORM, NORMAL: a number; else 0 */
} rl_insn;

typedef union rl_number { /* frozen: a launch scalar */
    double f;
    int64_t i;
} rl_number;

#define RL_PROGRAM_INDEX 1u  /* uses INDEX: the host neither merges nor reorders dimensions of the job */
#define RL_PROGRAM_RANDOM 2u /* uses PHILOX, UNIFORM or NORMAL: the host never reorders dimensions */

/* Immutable. Equal programs are one object with one index, made by the host, alive until shutdown has returned. */
typedef struct rl_program {
    uint32_t size;
    uint32_t flags;
    uint32_t index; /* 0, 1, 2, ... in order of creation: a key for a backend's table of what it compiled */
    uint16_t n_inputs, n_outputs, n_scalars, n_insns;
    uint8_t input_dtype[RL_MAX_INPUTS];   /* rl_dtype as stored */
    uint8_t output_dtype[RL_MAX_OUTPUTS]; /* rl_dtype as stored */
    uint8_t output_value[RL_MAX_OUTPUTS]; /* the value that goes to each output */
    const rl_insn *insns;
    uint64_t hash; /* of all of the above but index: a key for a cache on disk */
} rl_program;

/* Handles of the backend: opaque to the host ---------------------------------------------------------------------- */

typedef struct rl_backend_device rl_backend_device;
typedef struct rl_backend_stream rl_backend_stream;
typedef struct rl_backend_event rl_backend_event;
typedef struct rl_backend_buffer rl_backend_buffer;

typedef struct rl_operand { /* frozen */
    rl_backend_buffer *buffer;
    uint64_t offset;             /* bytes to the element at index 0, 0, ... */
    int64_t stride[RL_MAX_DIMS]; /* in elements; the first ndim of the call are valid */
} rl_operand;

/* 1. map: out[j][x] = program(in[..][x]) for every index x of every job -------------------------------------------- */

typedef struct rl_map_job { /* frozen */
    int64_t ndim;
    int64_t shape[RL_MAX_DIMS];
    const rl_operand *inputs;  /* program->n_inputs; a stride of 0 broadcasts */
    const rl_operand *outputs; /* program->n_outputs */
    const rl_number *scalars;  /* program->n_scalars */
} rl_map_job;

/* The element number of PHILOX, UNIFORM and NORMAL is the row-major number of x in the job's shape. Jobs of one call
 * are independent: no output of one is an input of another, unless all jobs are run in their order. */
typedef struct rl_map_args {
    uint32_t size;
    uint32_t n_jobs;
    const rl_program *program;
    const rl_map_job *jobs;
} rl_map_args;

/* 2. reduce: combine the values of a prologue over some dimensions, then run an epilogue ----------------------------
 */

/*
 * For every index of the kept dimensions: run `prologue` at each index of the reduced ones, combine its k-th output
 * with combiner[k], give the combined values to `epilogue` as its inputs, store the epilogue's outputs.
 * The prologue's output dtypes are F32, F64, I32 or I64 and name the accumulator: F32 sums are kept in F32 or better,
 * in an order that depends on the shape and never on the number of threads. MAX and MIN: NaN wins. ARGMAX and ARGMIN:
 * the row-major number, within the reduced dimensions, of the first greatest (least) element, NaN greatest (least);
 * an I64 input of the epilogue. Nothing to combine gives 0, 1, the least, the greatest value of the dtype (infinities
 * for floats), 0 and 0.
 */
typedef enum rl_combiner {
    RL_COMBINE_SUM = 0,
    RL_COMBINE_PROD = 1,
    RL_COMBINE_MAX = 2,
    RL_COMBINE_MIN = 3,
    RL_COMBINE_ARGMAX = 4,
    RL_COMBINE_ARGMIN = 5
} rl_combiner;

typedef struct rl_reduce_args {
    uint32_t size;
    uint32_t reduced; /* bit d is set where dimension d is reduced; several, all or none */
    int64_t ndim;
    int64_t shape[RL_MAX_DIMS];
    const rl_program *prologue; /* at most RL_MAX_COMBINED outputs; INDEX counts within shape */
    const rl_program *epilogue; /* as many inputs as the prologue has outputs; uses neither INDEX nor random numbers */
    uint8_t combiner[RL_MAX_COMBINED];
    const rl_operand *inputs;  /* of the prologue */
    const rl_operand *outputs; /* of the epilogue; strides of reduced dimensions are to be ignored */
    const rl_number *scalars;  /* of the prologue */
    const rl_number *epilogue_scalars;
} rl_reduce_args;

/* 3. matmul: c = alpha * a b + beta * c for every index of the batch ------------------------------------------------
 */

/*
 * a (batch, m, k), b (batch, k, n), c (batch, m, n); each operand's strides are those of the batch dimensions, then
 * row, then column. f16, bf16 and f32 accumulate in F32 or better and round once; f64 in F64; integers and bool wrap
 * in their register type. With beta = 0, c is written and never read. k = 0 gives beta * c.
 */
typedef struct rl_matmul_args {
    uint32_t size;
    uint32_t dtype; /* rl_dtype of all three */
    int64_t batch_ndim;
    int64_t batch_shape[RL_MAX_DIMS - 2];
    int64_t m, n, k;
    double alpha, beta;
    rl_operand a, b, c;
} rl_matmul_args;

/* 4. gather: out[x] = in[x with x[dim] = index[x]] for every x of shape ---------------------------------------------
 */

/*
 * An index outside 0 .. dim_size - 1 touches no memory: a synchronous device returns RL_INDEX_OUT_OF_RANGE from the
 * call after doing the rest, another sets the stream's sticky error. Indices are I32 or I64.
 */
typedef struct rl_gather_args {
    uint32_t size;
    uint32_t dtype;       /* of in and out: elements move as they are */
    uint32_t index_dtype; /* RL_I32 or RL_I64 */
    int32_t dim;
    int64_t ndim;
    int64_t shape[RL_MAX_DIMS]; /* of index and out */
    int64_t dim_size;           /* extent of in along dim */
    rl_operand in, index, out;
} rl_gather_args;

/* 5. scatter: out[x with x[dim] = index[x]] op= in[x] for every x of shape ------------------------------------------
 */

/*
 * Indices as for gather. Duplicates: SET keeps any one of them; the others combine all, in any order, but the same
 * order each time on one device. Floats narrower than f32 may round at each step. bool: ADD is or, MUL is and.
 * MAX and MIN: NaN wins, be it in out or in in; of 0 and -0 either stays.
 */
typedef enum rl_scatter_mode {
    RL_SCATTER_SET = 0,
    RL_SCATTER_ADD = 1,
    RL_SCATTER_MUL = 2,
    RL_SCATTER_MAX = 3,
    RL_SCATTER_MIN = 4
} rl_scatter_mode;

typedef struct rl_scatter_args {
    uint32_t size;
    uint32_t dtype;
    uint32_t index_dtype;
    int32_t dim;
    int64_t ndim;
    int64_t shape[RL_MAX_DIMS]; /* of index and in */
    int64_t dim_size;           /* extent of out along dim */
    uint32_t mode;              /* rl_scatter_mode */
    uint32_t reserved;
    rl_operand in, index, out;
} rl_scatter_args;

/* 6. scan: out[.., i, ..] combines in[.., 0 .. i, ..] along a dimension ---------------------------------------------
 */

/* Accumulates as reduce does and rounds each output once. MAX and MIN may also give the I64 index of the value they
 * hold (the last among equals); once NaN is met it stays, with its first index. */
typedef enum rl_scan_op {
    RL_SCAN_SUM = 0,
    RL_SCAN_PROD = 1,
    RL_SCAN_MAX = 2,
    RL_SCAN_MIN = 3,
    RL_SCAN_LOGSUMEXP = 4
} rl_scan_op;

typedef struct rl_scan_args {
    uint32_t size;
    uint32_t dtype; /* of in and out */
    uint32_t op;    /* rl_scan_op */
    int32_t dim;
    int64_t ndim;
    int64_t shape[RL_MAX_DIMS];
    uint32_t has_indices; /* 1: write `indices` */
    uint32_t reserved;
    rl_operand in, out, indices;
} rl_scan_args;

/* 7. sort: stable, along a dimension; NaN is greater than everything, equal to itself -------------------------------
 */

typedef struct rl_sort_args {
    uint32_t size;
    uint32_t dtype;
    int32_t dim;
    uint32_t descending; /* equal elements keep their order here too */
    int64_t ndim;
    int64_t shape[RL_MAX_DIMS];
    rl_operand in, values, indices; /* indices are I64 */
} rl_sort_args;

/* Fused rows: optional kernels for what otherwise lowers to primitives ----------------------------------------------
 */

/* X(NAME, number, args struct, first operand, operands, outputs, "name"): closed, appended to by new versions. The
 * operands of a struct stand together, outputs last. An operand that is absent has no buffer. */
#define RL_ROW_LIST(X)                                                                                                 \
    X(SOFTMAX, 1, rl_softmax_args, in, 2, 1, "softmax")                                                                \
    X(SOFTMAX_BACKWARD, 2, rl_softmax_backward_args, grad_out, 3, 1, "softmax_backward")                               \
    X(CONV, 3, rl_conv_args, a, 4, 1, "conv")                                                                          \
    X(CONV_GRAD_INPUT, 4, rl_conv_args, a, 4, 1, "conv_grad_input")                                                    \
    X(CONV_GRAD_WEIGHT, 5, rl_conv_args, a, 4, 1, "conv_grad_weight")                                                  \
    X(POOL, 6, rl_pool_args, in, 2, 1, "pool")                                                                         \
    X(POOL_BACKWARD, 7, rl_pool_backward_args, grad_out, 3, 1, "pool_backward")                                        \
    X(NORM, 8, rl_norm_args, in, 6, 3, "norm")                                                                         \
    X(NORM_BACKWARD, 9, rl_norm_backward_args, grad_out, 8, 3, "norm_backward")                                        \
    X(CROSS_ENTROPY, 10, rl_cross_entropy_args, logits, 4, 2, "cross_entropy")                                         \
    X(CROSS_ENTROPY_BACKWARD, 11, rl_cross_entropy_backward_args, grad_loss, 5, 1, "cross_entropy_backward")           \
    X(ATTENTION, 12, rl_attention_args, q, 6, 2, "attention")                                                          \
    X(ATTENTION_BACKWARD, 13, rl_attention_backward_args, grad_out, 10, 3, "attention_backward")                       \
    X(EMBEDDING_BACKWARD, 14, rl_embedding_backward_args, grad_out, 3, 1, "embedding_backward")                        \
    X(RNN, 15, rl_rnn_args, gates, 8, 3, "rnn")                                                                        \
    X(RNN_BACKWARD, 16, rl_rnn_backward_args, grad_h, 12, 4, "rnn_backward")                                           \
    X(LINEAR, 17, rl_linear_args, in, 4, 1, "linear")

#define RL_ROW_ENUM_(NAME, number, args, first, operands, outputs, text) RL_ROW_##NAME = number,
typedef enum rl_row { RL_ROW_NONE = 0, RL_ROW_LIST(RL_ROW_ENUM_) RL_ROW_COUNT = 18 } rl_row;
#undef RL_ROW_ENUM_

/* out = softmax(in) along dim, or its logarithm; accumulates in F32 or better. */
typedef struct rl_softmax_args {
    uint32_t size;
    uint32_t dtype;
    int32_t dim;
    uint32_t log; /* 1: log_softmax */
    int64_t ndim;
    int64_t shape[RL_MAX_DIMS];
    rl_operand in, out;
} rl_softmax_args;

/* grad_in = y (g - sum(g y)) or, for log, g - exp(y) sum(g), along dim; y is the forward's output. */
typedef struct rl_softmax_backward_args {
    uint32_t size;
    uint32_t dtype;
    int32_t dim;
    uint32_t log;
    int64_t ndim;
    int64_t shape[RL_MAX_DIMS];
    rl_operand grad_out, out, grad_in;
} rl_softmax_backward_args;

/* What linear and conv may do to a result before it is stored. */
typedef enum rl_activation {
    RL_ACTIVATION_NONE = 0,
    RL_ACTIVATION_RELU = 1,     /* max(y, 0); NaN stays */
    RL_ACTIVATION_GELU = 2,     /* y Phi(y) */
    RL_ACTIVATION_GELU_TANH = 3 /* its approximation by tanh (Hendrycks and Gimpel 2016) */
} rl_activation;

/*
 * Convolution, which is correlation: y[n, o, p] = bias[o] + sum over c, k of x[n, c, p stride - padding + k dilation]
 * w[o, c, k], for the c of o's group; outside x is 0. One struct for its three rows:
 *   CONV              a = x, b = w, bias or absent, out = y; then the activation
 *   CONV_GRAD_INPUT   a = gradient of y, b = w, out = gradient of x (also: transposed convolution, with bias (C_in))
 *   CONV_GRAD_WEIGHT  a = x, b = gradient of y, out = gradient of w; no bias
 * x (batch, in_channels, in_size...), w (out_channels, in_channels / groups, kernel...), y (batch, out_channels,
 * out_size...). Strides of an operand are in this order, whatever the layout in memory: channels last is a matter of
 * strides. Padding behind is what out_size asks for. Accumulates in F32 or better and rounds once.
 */
typedef struct rl_conv_args {
    uint32_t size;
    uint32_t dtype;      /* of all operands */
    uint32_t activation; /* rl_activation; only of CONV */
    uint32_t reserved;
    int64_t spatial; /* 1 to 3 dimensions, the first ones of the arrays below */
    int64_t batch, in_channels, out_channels, groups;
    int64_t in_size[3], out_size[3], kernel[3], stride[3], padding[3], dilation[3];
    rl_operand a, b, bias, out;
    /* Of w's memory: not 0, and come before, says that the numbers are those of then at the same offset and strides, so
     * that what was made of them may serve again. A new number with each change. 0: unknown. */
    uint64_t weight_stamp;
} rl_conv_args;

/*
 * Pooling over windows: in (batch, channels, in_size...), out (batch, channels, out_size...). MAX takes the greatest
 * element of the window that lies within the input (NaN is greater than everything); AVERAGE their sum over divisor,
 * or, where that is 0, over the number of elements within the input, padding counted where count_padding is set (never
 * what lies beyond the padding). A window without elements gives MAX -infinity. The backward of MAX adds each gradient
 * to the first of the window's greatest elements, in row-major order; AVERAGE has no in and a dilation of 1. Nothing
 * but the input is kept for it, so that the result may be changed in place.
 */
typedef enum rl_pool_kind { RL_POOL_MAX = 0, RL_POOL_AVERAGE = 1 } rl_pool_kind;
typedef struct rl_pool_window {
    int64_t spatial; /* 1 to 3 */
    int64_t batch, channels;
    int64_t in_size[3], out_size[3], kernel[3], stride[3], padding[3], dilation[3];
    int64_t divisor;
    uint32_t kind; /* rl_pool_kind */
    uint32_t count_padding;
} rl_pool_window; /* frozen */
typedef struct rl_pool_args {
    uint32_t size;
    uint32_t dtype;
    rl_pool_window window;
    rl_operand in, out;
} rl_pool_args;
typedef struct rl_pool_backward_args {
    uint32_t size;
    uint32_t dtype;
    rl_pool_window window;
    rl_operand grad_out, in, grad_in;
} rl_pool_backward_args;

/*
 * Normalization over the dimensions of the mask `normalized`, of n elements together: mean = sum(x) / n (0 where
 * `center` is not set), var = sum((x - mean)^2) / n, out = (x - mean) / sqrt(var + eps) * weight + bias. Layer, group,
 * instance, batch (in training) and RMS normalization are this, with other masks and strides. weight and bias, each
 * present or not, are read by strides over `shape`: they vary along the dimensions of the mask `affine` and have stride
 * 0 along the others. mean and var are of stat_dtype (F64 for F64, else F32); their strides along normalized dimensions
 * are to be ignored; mean is absent where `center` is not set.
 * Backward, with d = grad_out weight and z = (x - mean) / sqrt(var + eps): grad_in = (d - mean(d) [where center is set]
 * - z mean(d z)) / sqrt(var + eps); grad_weight = sum(grad_out z), grad_bias = sum(grad_out), over the dimensions that
 * are not affine (strides there are to be ignored). Each of the three outputs may be absent.
 */
typedef struct rl_norm_args {
    uint32_t size;
    uint32_t dtype;       /* of in, out */
    uint32_t param_dtype; /* of weight, bias */
    uint32_t stat_dtype;  /* of mean, var */
    uint32_t normalized, affine;
    uint32_t center;
    uint32_t reserved;
    int64_t ndim;
    int64_t shape[RL_MAX_DIMS];
    double eps;
    rl_operand in, weight, bias, out, mean, var;
} rl_norm_args;
typedef struct rl_norm_backward_args {
    uint32_t size;
    uint32_t dtype, param_dtype, stat_dtype;
    uint32_t normalized, affine;
    uint32_t center;
    uint32_t reserved;
    int64_t ndim;
    int64_t shape[RL_MAX_DIMS];
    double eps;
    rl_operand grad_out, in, weight, mean, var, grad_in, grad_weight, grad_bias;
} rl_norm_backward_args;

/*
 * For each of `rows` rows of `classes` numbers: log_sum = log(sum exp(logits)), loss = log_sum - logits[target]; loss
 * is 0 where target is ignore_index. Another target outside 0 .. classes - 1 is an index error, as for gather, and
 * gives 0. Backward: grad_logits = grad_loss (exp(logits - log_sum) - [class is target]), 0 in ignored rows. loss,
 * log_sum and grad_loss are F32 (F64 for F64); strides of logits are (row, class), of the others (row).
 */
typedef struct rl_cross_entropy_args {
    uint32_t size;
    uint32_t dtype;       /* of logits */
    uint32_t index_dtype; /* of target: I32 or I64 */
    uint32_t stat_dtype;  /* of loss and log_sum */
    int64_t rows, classes, ignore_index;
    rl_operand logits, target, loss, log_sum;
} rl_cross_entropy_args;
typedef struct rl_cross_entropy_backward_args {
    uint32_t size;
    uint32_t dtype, index_dtype, stat_dtype;
    int64_t rows, classes, ignore_index;
    rl_operand grad_loss, logits, target, log_sum, grad_logits;
} rl_cross_entropy_backward_args;

/*
 * Scaled dot-product attention: out = softmax(scale q k^T + mask) v for each of (batch, head). q (batch, heads,
 * q_length, width), k (batch, heads, k_length, width), v (batch, heads, k_length, value_width), out (batch, heads,
 * q_length, value_width); a head that several share has stride 0. mask (batch, heads, q_length, k_length), by strides:
 * of dtype BOOL (true takes part) or of the operands' dtype (added), or absent. causal: row i sees columns 0 .. i only.
 * A row that sees nothing (all its scores are -infinity) gives 0, and no gradients. log_sum (batch, heads, q_length),
 * F32 (F64 for F64), is the logarithm of the row's sum of exponentials. Neither direction may need memory of q_length x
 * k_length. Outputs of the backward are never shared between heads: the host sums.
 */
typedef struct rl_attention_args {
    uint32_t size;
    uint32_t dtype;
    uint32_t mask_dtype; /* 0: no mask */
    uint32_t causal;
    int64_t batch, heads, q_length, k_length, width, value_width;
    double scale;
    rl_operand q, k, v, mask, out, log_sum;
} rl_attention_args;
typedef struct rl_attention_backward_args {
    uint32_t size;
    uint32_t dtype, mask_dtype, causal;
    int64_t batch, heads, q_length, k_length, width, value_width;
    double scale;
    rl_operand grad_out, q, k, v, mask, out, log_sum, grad_q, grad_k, grad_v;
} rl_attention_backward_args;

/* out (rows, width) = sum of grad_out (count, width) over the positions whose index is the row; positions of
 * padding_index give nothing. Another index outside 0 .. rows - 1 is an index error, as for gather. Same bits each
 * time. */
typedef struct rl_embedding_backward_args {
    uint32_t size;
    uint32_t dtype;
    uint32_t index_dtype;
    uint32_t reserved;
    int64_t count, rows, width;
    int64_t padding_index; /* -1: none */
    rl_operand grad_out, index, out;
} rl_embedding_backward_args;

/*
 * One direction of one recurrent layer. gates (steps, batch, G hidden) is the input's part, weight (G hidden, hidden)
 * and bias (G hidden), or absent, the state's; with h' and c' the state before, u = gates[t] + weight h' + bias, in
 * blocks of `hidden`:
 *   LSTM (G 4: i f g o)  c = sig(f) c' + sig(i) tanh(g); h = sig(o) tanh(c)
 *   GRU (G 3: r z n)     n = tanh(gates_n + sig(r) (weight_n h' + bias_n)); h = (1 - sig(z)) n + sig(z) h'
 *   TANH, RELU (G 1)     h = tanh(u); h = max(u, 0)
 * `reverse` walks from the last step to the first. h and c (steps, batch, hidden) hold the state after each step; h0,
 * c0 (batch, hidden) the one before the first. c and c0 are LSTM's only. reserve (steps, batch, 4 hidden), of LSTM and
 * GRU, is what the backward needs: sig(i), sig(f), tanh(g), sig(o), or sig(r), sig(z), n, weight_n h' + bias_n; absent
 * where no backward will follow. Products and what goes from step to step within the backward are of F32 or better;
 * states go on as they are stored.
 * Backward: grad_h and grad_c (steps, batch, hidden; grad_c may be absent) are the gradients of h and c from outside;
 * grad_gates (steps, batch, G hidden) of u's input part, grad_state_gates of its state's part (GRU's differs in n; for
 * the others it is grad_gates, and absent), grad_h0, grad_c0. The gradient of weight is a product that the host makes.
 */
typedef enum rl_rnn_cell { RL_RNN_LSTM = 0, RL_RNN_GRU = 1, RL_RNN_TANH = 2, RL_RNN_RELU = 3 } rl_rnn_cell;
typedef struct rl_rnn_args {
    uint32_t size;
    uint32_t dtype;
    uint32_t cell; /* rl_rnn_cell */
    uint32_t reverse;
    int64_t steps, batch, hidden;
    rl_operand gates, weight, bias, h0, c0, h, c, reserve;
} rl_rnn_args;
typedef struct rl_rnn_backward_args {
    uint32_t size;
    uint32_t dtype, cell, reverse;
    int64_t steps, batch, hidden;
    rl_operand grad_h, grad_c, weight, h0, c0, h, c, reserve, grad_gates, grad_state_gates, grad_h0, grad_c0;
} rl_rnn_backward_args;

/* out (rows, out_features) = activation(in (rows, in_features) weight^T + bias): weight (out_features, in_features),
 * bias (out_features) or absent. Accumulates as matmul does and rounds once. */
typedef struct rl_linear_args {
    uint32_t size;
    uint32_t dtype;
    uint32_t activation; /* rl_activation */
    uint32_t reserved;
    int64_t rows, in_features, out_features;
    rl_operand in, weight, bias, out;
} rl_linear_args;

typedef struct rl_fused_cell { /* frozen */
    uint32_t row;              /* rl_row */
    uint32_t reserved;
    /* [any] 1 where `run` takes these args; else 0 and *out_reason is a static sentence. Pure: operands' buffers and
     * offsets are not looked at. */
    int (*supports)(rl_backend_device *device, const void *args, const char **out_reason);
    /* [stream] Does the work. */
    rl_status (*run)(rl_backend_stream *stream, const void *args);
} rl_fused_cell;

/* The host, as a backend sees it ------------------------------------------------------------------------------------
 */

/* Warnings and errors are shown unless RUSHLIGHT_QUIET=1; the others where RUSHLIGHT_VERBOSE asks for them. */
typedef enum rl_log_level { RL_LOG_ERROR = 0, RL_LOG_WARNING = 1, RL_LOG_INFO = 2, RL_LOG_DEBUG = 3 } rl_log_level;

#if defined(__GNUC__)
#define RL_PRINTF_(text, first) __attribute__((format(printf, text, first)))
#else
#define RL_PRINTF_(text, first)
#endif

typedef struct rl_host {
    uint32_t size;
    uint32_t abi;
    /* [any] Keeps the sentence for the calling thread and returns `status`: `return host->fail(RL_..., "...")`. */
    rl_status (*fail)(rl_status status, const char *format, ...) RL_PRINTF_(2, 3);
    /* [any] One line to the log, shown under RUSHLIGHT_VERBOSE. */
    void (*log)(rl_log_level level, const char *format, ...) RL_PRINTF_(2, 3);
    /* [any] Threads that a host backend may use: RUSHLIGHT_THREADS, else the cores that this process may run on; 1 in a
     * child made by fork. */
    uint32_t (*thread_count)(void);
    /* [any] Host memory aligned to 64 bytes, the calling thread's own, valid until its next call of scratch; NULL where
     * there is none. Never freed by the backend. */
    void *(*scratch)(size_t bytes);
    /* [any] Kernel cache: copies up to *bytes bytes of the entry into data and sets *bytes to its whole size;
     * RL_NOT_FOUND where there is none. `key` is a string of the backend's own making. */
    rl_status (*cache_get)(const char *key, void *data, size_t *bytes);
    rl_status (*cache_put)(const char *key, const void *data, size_t bytes);
    /* [stream] The op on whose behalf a backend that is not SYNCHRONOUS is called, for the sentence of an error that is
     * found later; "" for none. Valid until the call returns. */
    const char *(*op)(void);
} rl_host;

/* The backend, as the host sees it ----------------------------------------------------------------------------------
 */

#define RL_DEVICE_CPU 1u          /* runs on the host's processor */
#define RL_DEVICE_F64 2u          /* takes f64 tensors */
#define RL_DEVICE_UNIFIED 4u      /* shares memory with the host, physically */
#define RL_DEVICE_NATIVE_F16 8u   /* multiplies matrices of f16 faster than those of f32 */
#define RL_DEVICE_NATIVE_BF16 16u /* of bf16 */

typedef struct rl_device_info {
    uint32_t size;  /* set by the host; the backend fills no more than this */
    uint32_t flags; /* RL_DEVICE_* */
    char name[128]; /* "AMD EPYC 7543", UTF-8 */
    char driver[128];
    uint64_t memory_total, memory_free; /* bytes; 0: not known */
    uint32_t compute_units;             /* cores, multiprocessors */
    uint32_t alignment;                 /* bytes that every buffer is aligned to, at least 64; absent: 64 */
} rl_device_info;

#define RL_MEMORY_DEVICE 1u /* the device's own, fastest there */
#define RL_MEMORY_HOST 2u   /* the host's, pinned where that speeds copies; mem_map gives its address */

#define RL_BACKEND_HOST_MEMORY 1u /* buffers of RL_MEMORY_DEVICE are host memory: mem_map works on them, at no cost */
#define RL_BACKEND_SYNCHRONOUS 2u /* work is done when a call returns */
#define RL_BACKEND_CONCURRENT 4u  /* [stream] calls may be made at once for one stream */

/* X(member): the functions of rl_backend that every backend has; the others may be NULL. */
#define RL_REQUIRED_LIST(X)                                                                                            \
    X(init)                                                                                                            \
    X(shutdown)                                                                                                        \
    X(device_count)                                                                                                    \
    X(device_info)                                                                                                     \
    X(device_open)                                                                                                     \
    X(device_close)                                                                                                    \
    X(mem_alloc)                                                                                                       \
    X(mem_free)                                                                                                        \
    X(copy_in)                                                                                                         \
    X(copy_out)                                                                                                        \
    X(copy)                                                                                                            \
    X(stream_create)                                                                                                   \
    X(stream_destroy)                                                                                                  \
    X(stream_sync)                                                                                                     \
    X(event_create)                                                                                                    \
    X(event_destroy)                                                                                                   \
    X(event_record)                                                                                                    \
    X(stream_wait)                                                                                                     \
    X(event_done)                                                                                                      \
    X(event_sync)                                                                                                      \
    X(map)                                                                                                             \
    X(reduce)                                                                                                          \
    X(matmul)                                                                                                          \
    X(gather)                                                                                                          \
    X(scatter)                                                                                                         \
    X(scan)                                                                                                            \
    X(sort)
typedef struct rl_backend {
    uint32_t size;
    uint32_t abi;        /* RL_ABI_VERSION the backend was built with */
    const char *name;    /* "ref": lower case letters, digits, '_' */
    const char *version; /* of the backend, and of the library behind it */
    const char *summary; /* one line for people */
    int32_t rank;        /* the default device is the usable one of highest rank: 0 ref, 100 CPU, 200 GPU */
    uint32_t flags;      /* RL_BACKEND_* */
    uint64_t insn_mask;  /* bit c is set where instruction c is taken; the base set is taken always */

    /* [init] Finds the devices; called once, before all else. On failure (no driver ...) shutdown is not called. */
    rl_status (*init)(void);
    /* [init] Frees all. Every device was closed before. */
    void (*shutdown)(void);

    /* [any] */
    uint32_t (*device_count)(void);
    rl_status (*device_info)(uint32_t number, rl_device_info *info);
    /* [init] A device is opened at most once at a time. */
    rl_status (*device_open)(uint32_t number, rl_backend_device **out_device);
    void (*device_close)(rl_backend_device *device);

    /* [any] bytes > 0. Uninitialized. RL_OUT_OF_MEMORY where there is none left. */
    rl_status (*mem_alloc)(rl_backend_device *device, uint32_t kind, uint64_t bytes, rl_backend_buffer **out_buffer);
    /* [any] All work that uses the buffer is done. Takes NULL. Of a wrapped buffer, only the handle goes. */
    void (*mem_free)(rl_backend_device *device, rl_backend_buffer *buffer);
    /* [any] Optional. A buffer over memory of the caller, who keeps it alive and owns it. */
    rl_status (*mem_wrap)(rl_backend_device *device, void *address, uint64_t bytes, rl_backend_buffer **out_buffer);
    /* [any] Optional. The address at which the host may read and write the buffer after a stream_sync. */
    rl_status (*mem_map)(rl_backend_device *device, rl_backend_buffer *buffer, void **out_address);

    /* [stream] Host to device; `source` may change as soon as the call returns. */
    rl_status (*copy_in)(rl_backend_stream *stream, rl_backend_buffer *to, uint64_t to_offset, const void *source,
                         uint64_t bytes);
    /* [stream] Device to host; `target` holds the data after the next stream_sync and must live until then. */
    rl_status (*copy_out)(rl_backend_stream *stream, void *target, rl_backend_buffer *from, uint64_t from_offset,
                          uint64_t bytes);
    /* [stream] Within the device. The ranges do not overlap. */
    rl_status (*copy)(rl_backend_stream *stream, rl_backend_buffer *to, uint64_t to_offset, rl_backend_buffer *from,
                      uint64_t from_offset, uint64_t bytes);

    /* [any] Streams and events. */
    rl_status (*stream_create)(rl_backend_device *device, rl_backend_stream **out_stream);
    void (*stream_destroy)(rl_backend_stream *stream); /* waits for its work; takes NULL */
    /* [stream] Waits for all work of the stream; returns and clears its sticky error. */
    rl_status (*stream_sync)(rl_backend_stream *stream);
    rl_status (*event_create)(rl_backend_device *device, rl_backend_event **out_event);
    void (*event_destroy)(rl_backend_event *event); /* takes NULL; work that waits for it goes on as recorded */
    /* [stream] Marks the work of the stream so far; a later record replaces the mark. */
    rl_status (*event_record)(rl_backend_event *event, rl_backend_stream *stream);
    /* [stream] Later work of the stream waits for the mark (an event never recorded: does not wait). */
    rl_status (*stream_wait)(rl_backend_stream *stream, rl_backend_event *event);
    /* [any] 1 when the marked work is done (or nothing was marked), else 0. Makes the work start, does not wait. */
    int (*event_done)(rl_backend_event *event);
    /* [any] Waits for the marked work. Its errors stay with their stream. */
    rl_status (*event_sync)(rl_backend_event *event);

    /* [stream] The seven primitives. */
    rl_status (*map)(rl_backend_stream *stream, const rl_map_args *args);
    rl_status (*reduce)(rl_backend_stream *stream, const rl_reduce_args *args);
    rl_status (*matmul)(rl_backend_stream *stream, const rl_matmul_args *args);
    rl_status (*gather)(rl_backend_stream *stream, const rl_gather_args *args);
    rl_status (*scatter)(rl_backend_stream *stream, const rl_scatter_args *args);
    rl_status (*scan)(rl_backend_stream *stream, const rl_scan_args *args);
    rl_status (*sort)(rl_backend_stream *stream, const rl_sort_args *args);

    /* Optional: fused rows, best first where a row stands twice. */
    const rl_fused_cell *fused;
    uint32_t n_fused;
    uint32_t reserved;

    /* [any] Optional. A table, beginning with its size, of the extension `name` in version min_version or later; else
     * NULL. None is defined in this version. */
    const void *(*extension)(const char *name, uint32_t min_version);
    /* [init] Optional. In a child made by fork: RL_OK where the backend goes on working there (with one thread). Locks
     * of the backend stand as they were when the process forked, and other threads, which are not here, may have held
     * them, in the middle of a change: make them anew, and what they guard good. */
    rl_status (*after_fork)(void);
} rl_backend;

#if defined(_WIN32)
#define RL_BACKEND_EXPORT __declspec(dllexport)
#elif defined(__GNUC__)
#define RL_BACKEND_EXPORT __attribute__((visibility("default")))
#else
#define RL_BACKEND_EXPORT
#endif

/*
 * The one symbol of a plugin. [init] host_abi is the host's RL_ABI_VERSION. Returns an rl_status: RL_OK with
 * *out_backend, which lives until the library is closed, or RL_ABI_MISMATCH or another status after host->fail.
 */
typedef int (*rl_backend_query_fn)(uint32_t host_abi, const rl_host *host, const rl_backend **out_backend);
RL_BACKEND_EXPORT int rl_backend_query(uint32_t host_abi, const rl_host *host, const rl_backend **out_backend);
#define RL_BACKEND_QUERY_SYMBOL "rl_backend_query"

#ifdef __cplusplus
}
#endif
#endif
