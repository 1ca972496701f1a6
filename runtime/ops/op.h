/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Declaring an op. An op is declared once, in one of the files of this folder, as a constant
 *
 *     const rl_op_def rl_op_def_softmax = {
 *         .schema = "softmax(Tensor self, int dim, *, ScalarType? dtype=None) -> Tensor",
 *         .doc = "y[i] = exp(x[i]) / sum_j exp(x[j]) along dim",
 *         .infer = softmax_infer, .lower = softmax_lower, .vjp = softmax_vjp, .saves = RL_SAVE_OUT(0),
 *         .samples = softmax_samples, .bad = softmax_bad,
 *     };
 *
 * and named in index.def. From the schema, a program built first (gen/) writes rushlight/ops.h: the macro
 * rl_softmax(...) over the typed call rl_op_softmax(...), which packs its arguments into an rl_call and runs it.
 */
#ifndef RUSHLIGHT_RUNTIME_OPS_OP_H
#define RUSHLIGHT_RUNTIME_OPS_OP_H

#include "dispatch/dispatch.h"
#include "rushlight/op.h"

#define RL_MAX_ARGS 16
#define RL_MAX_RESULTS 4

typedef struct rl_op_def rl_op_def;

/* What an op's result will be, as `infer` says. */
typedef struct rl_meta {
    rl_dtype dtype;
    rl_device *device;
    int64_t ndim;
    int64_t shape[RL_MAX_DIMS];
    bool has_stride; /* stride is to be used; else row-major */
    int64_t stride[RL_MAX_DIMS];
} rl_meta;

/*
 * One call of an op. args stand in the order of the schema, defaults filled in; None is RL_VALUE_NONE. Whoever fills it
 * sets args and inplace; rl_call_run does the rest. What the op's functions find:
 *   infer  args, checked for NULL. Fills meta[0 .. n_results), and compute where that is not meta[0].dtype.
 *   lower  POINTWISE, ROWS: results made from meta (in place: results[0] is args[0]), to be written.
 *          VIEW: sets results[0] to what rl_tensor_make gives. COMPOSITE: sets results (or list) to results of ops.
 * While lower runs, a scope of the call is open: what it makes besides the results goes when it ends. Nothing is
 * recorded within lower, but of a COMPOSITE.
 */
typedef struct rl_call {
    const rl_op_def *op;
    int opcode;
    int n_results;
    bool inplace;     /* results[0] is args[0] */
    rl_dtype compute; /* what infer chose to compute in; RL_DTYPE_NONE: meta[0].dtype */
    rl_value args[RL_MAX_ARGS];
    rl_tensor *results[RL_MAX_RESULTS]; /* made from meta before lower runs (or filled by a view or a composite) */
    rl_tensors list;                    /* of an op that returns Tensor[]: by rl_call_list */
    rl_meta meta[RL_MAX_RESULTS];       /* filled by infer */
} rl_call;

static inline rl_tensor *rl_arg_tensor(const rl_call *call, int i) {
    return call->args[i].kind == RL_VALUE_TENSOR ? call->args[i].as.tensor : NULL;
}
/* False where the argument is None. */
static inline bool rl_arg_given(const rl_call *call, int i) {
    return call->args[i].kind != RL_VALUE_NONE;
}
static inline bool rl_value_is_number(const rl_value *v) {
    return v->kind == RL_VALUE_INT || v->kind == RL_VALUE_FLOAT || v->kind == RL_VALUE_BOOL;
}
/* A number of whatever kind; 0 where it is none. */
static inline double rl_value_double(const rl_value *v) {
    return v->kind == RL_VALUE_FLOAT  ? v->as.f
           : v->kind == RL_VALUE_INT  ? (double)v->as.i
           : v->kind == RL_VALUE_BOOL ? (double)v->as.b
                                      : 0.0;
}
static inline double rl_arg_double(const rl_call *call, int i) {
    return rl_value_double(&call->args[i]);
}
/* A tensor for use within lower alone: uninitialized, row-major, on the device of meta[0]. */
rl_tensor *rl_call_temp(const rl_call *call, rl_dtype dtype, int64_t ndim, const int64_t *shape);
/* For an op that returns Tensor[]: room for `count` tensors, to be filled. Sets call->list. NULL on failure. */
rl_tensor **rl_call_list(rl_call *call, int64_t count);

/* Gradients of one node: what a vjp works on. Everything is borrowed; what it makes is owned by a scope around it. */
typedef struct rl_vjp rl_vjp;
rl_tensor *rl_vjp_grad(rl_vjp *self, int result);   /* gradient of a result; NULL stands for zero */
rl_tensor *rl_vjp_input(rl_vjp *self, int arg);     /* a saved tensor argument (declared by .saves) */
rl_tensor *rl_vjp_result(rl_vjp *self, int result); /* a saved result (declared by .saves) */
const rl_value *rl_vjp_arg(rl_vjp *self, int arg);  /* an argument that is no tensor: numbers, lists ... */
const rl_meta *rl_vjp_meta(rl_vjp *self, int arg);  /* shape, dtype and device of a tensor argument, always there */
bool rl_vjp_needs(const rl_vjp *self, int arg);     /* whether the gradient of this argument is asked for */
/* Gives the gradient of a tensor argument. It is summed to the argument's shape (broadcasting) and cast to its dtype by
 * the engine. NULL is zero. */
void rl_vjp_set(rl_vjp *self, int arg, rl_tensor *gradient);
/* The same for element `i` of an argument that is a list of tensors. */
void rl_vjp_set_element(rl_vjp *self, int arg, int64_t i, rl_tensor *gradient);
const rl_meta *rl_vjp_element_meta(rl_vjp *self, int arg, int64_t i);
int64_t rl_vjp_element_count(rl_vjp *self, int arg);

#define RL_SAVE_IN(i) (1u << (i))
#define RL_SAVE_OUT(i) (1u << (16 + (i)))

/* What an op is; exactly one of RL_OP_POINTWISE .. RL_OP_COMPOSITE. */
enum {
    RL_OP_POINTWISE = 1u << 0, /* `pointwise` writes its program; infer defaults to broadcast and promotion */
    RL_OP_ROWS = 1u << 1,      /* `lower` calls rows of the op table on results made from meta */
    RL_OP_VIEW = 1u << 2,      /* `lower` makes results[0] over args[0]'s storage by strides */
    RL_OP_COMPOSITE = 1u << 3, /* `lower` calls other ops, which record themselves; needs no infer and no vjp */

    RL_OP_INPLACE = 1u << 8,       /* NAME_(...) exists too and writes to its first argument */
    RL_OP_INPLACE_ONLY = 1u << 9,  /* the schema itself is of an in-place op (copy_, fill_ ...) */
    RL_OP_FLOAT_RESULT = 1u << 10, /* integers and bools compute as the default float (exp, sqrt, true division) */
    RL_OP_BOOL_RESULT = 1u << 11,  /* comparisons and logic: the result is bool */
    RL_OP_NO_GRAD = 1u << 12,      /* results never require gradients */
    RL_OP_RANDOM = 1u << 13,       /* draws from a generator: no gradcheck unless it is seeded anew */
    RL_OP_HOST = 1u << 14,         /* computes on the host; counted, an error under RUSHLIGHT_STRICT=1 */
    RL_OP_LAYOUT = 1u << 15,       /* what it gives, or whether it can, depends on how its arguments lie in memory */

    /* What autocast (rushlight/autocast.h) makes of its floating arguments but those of f64, before infer: at most one.
     * As PyTorch's lists for the processor; an op without a flag takes what comes. In place nothing is cast. */
    RL_OP_AUTOCAST_LOW = 1u << 16,   /* all in the region's dtype: products that are faster so */
    RL_OP_AUTOCAST_F32 = 1u << 17,   /* all in f32: long sums, large ranges */
    RL_OP_AUTOCAST_WIDEST = 1u << 18 /* all in the widest of them */
};
#define RL_OP_AUTOCAST (RL_OP_AUTOCAST_LOW | RL_OP_AUTOCAST_F32 | RL_OP_AUTOCAST_WIDEST)

/* Samples and bad inputs are data: a line of arguments in the schema's order, keyword arguments as name=value.
 *   f[2,3]  floats of the dtype under test, normal     p[..] floats in [0.5, 2]    u[..] floats in [0.05, 0.95]
 *   n[2,3]  numbers of the dtype under test (ints too) d[..] like n, all different, not near each other
 *   i[4]<3  int64 in 0 .. 2      b[3] bools            f32[2] f64[2] i32[2] u8[2] ... of this very dtype, as n
 *   f[2,3]t transposed storage   f[4]s every second element of a longer one   f[4]e expanded from size 1
 *   [f[2], f[3]] a list of tensors    [1, -1] ints    2  -0.5  true  false  None  float32 (a dtype)  "text"
 *   device (the one under test)    host (ref)
 */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers" /* of samples, mostly the first field alone is given */
typedef struct rl_sample {
    const char *args;
    double rtol, atol; /* 0: by dtype. Anything else needs `why` */
    const char *why;
    uint32_t dtypes;   /* mask of (1u << RL_F32) ...; 0: what the op's kind takes (see sample.h) */
    bool no_gradcheck; /* not differentiable there; needs `why` */
} rl_sample;
/* Masks of dtypes. */
#define RL_SAMPLE_WIDE (1u << RL_F32 | 1u << RL_F64)
#define RL_SAMPLE_HALVES (1u << RL_F16 | 1u << RL_BF16)
#define RL_SAMPLE_FLOATS (RL_SAMPLE_WIDE | RL_SAMPLE_HALVES)
/* Of an op whose two stages a device may run as one: the value between them is then not rounded, and the second stage
 * can make more of the difference. */
#define RL_SAMPLE_STAGES(args)                                                                                         \
    {args, .dtypes = RL_SAMPLE_WIDE}, {                                                                                \
        args, .dtypes = RL_SAMPLE_HALVES, .rtol = 3e-2, .atol = 1e-4, .why = "the value between may be rounded"        \
    }
#define RL_SAMPLE_NO_BOOL (RL_SAMPLE_FLOATS | 1u << RL_I8 | 1u << RL_U8 | 1u << RL_I16 | 1u << RL_I32 | 1u << RL_I64)
/* A call that must fail, and a part of the sentence with which it must. */
typedef struct rl_bad {
    const char *args;
    rl_status status;
    const char *sentence;
} rl_bad;

struct rl_op_def {
    const char *schema;
    const char *doc;  /* one line of mathematics */
    const char *note; /* more for the reference page: shapes, errors, source of the method; may be NULL */
    uint32_t flags;
    uint32_t saves; /* RL_SAVE_IN, RL_SAVE_OUT */
    /* Checks arguments and fills meta[]. Pointwise ops may leave it NULL. */
    rl_status (*infer)(rl_call *call);
    /* POINTWISE: from operands to the result(s), which are cast to meta[].dtype. x[i] stands for args[i]:
     *   Tensor, Tensor|Scalar, Scalar, float   in the compute dtype (a tensor of .as_is: in its own)
     *   int, bool                              a launch scalar in I64
     *   Generator                              the scalar `seed` of rl_build_random (None: the default generator)
     *   None, and all other types              nothing: not to be used
     * Operands that the program does not use are not read. `call` is there for what chooses a program, which `variant`
     * must then tell apart; numbers are launch scalars and must not be built in. */
    void (*pointwise)(rl_builder *b, const rl_call *call, const rl_pw *x, rl_pw *out);
    uint32_t (*variant)(const rl_call *call); /* which program: below 256; NULL: always the same */
    /* ROWS, VIEW, COMPOSITE. */
    rl_status (*lower)(rl_call *call);
    void (*vjp)(rl_vjp *vjp);
    const rl_sample *samples; /* ends with {0} */
    const rl_bad *bad;        /* ends with {0} */
    uint32_t sample_dtypes;   /* mask of what 'n' and 'd' stand for in its samples; 0: all */
    uint32_t as_is;           /* POINTWISE: RL_SAVE_IN bits of tensors neither promoted nor cast: conditions, masks */
};

/* X-macro index of all ops: RL_OP(name). */
enum {
#define RL_OP(name) RL_OPCODE_##name,
#include "ops/index.def"
#undef RL_OP
    RL_OPCODE_COUNT
};
#define RL_OP(name) extern const rl_op_def rl_op_def_##name;
#include "ops/index.def"
#undef RL_OP
extern const rl_op_def *const rl_op_table[RL_OPCODE_COUNT];

/* Parsed schemas: one per op, made by gen/ as constant tables (schema_table.c). */
typedef enum rl_param_type {
    RL_PARAM_TENSOR,           /* Tensor */
    RL_PARAM_TENSOR_OR_SCALAR, /* Tensor|Scalar */
    RL_PARAM_TENSORS,          /* Tensor[] */
    RL_PARAM_INT,
    RL_PARAM_FLOAT,
    RL_PARAM_BOOL,
    RL_PARAM_SCALAR,
    RL_PARAM_INTS,  /* int[], int[2], SymInt[] */
    RL_PARAM_DTYPE, /* ScalarType */
    RL_PARAM_DEVICE,
    RL_PARAM_STRING,
    RL_PARAM_GENERATOR
} rl_param_type;
typedef struct rl_param {
    const char *name;
    rl_param_type type;
    bool optional; /* "?" : None is allowed */
    bool keyword;  /* after "*" */
    bool has_default;
    uint8_t length; /* of int[N]: one int stands for N of them; 0 for int[] */
    rl_value default_value;
} rl_param;
typedef struct rl_schema {
    const char *name;
    const char *inplace_name; /* "add_"; NULL where there is none. An INPLACE_ONLY schema has its own name here. */
    int n_params, n_results;
    /* Bit i: the argument is a Tensor or Tensor|Scalar; a Tensor|Scalar; a Tensor[]; must be given. */
    uint16_t tensors, tensors_or_scalars, lists, required;
    /* Bit i: x[i] of a pointwise program is an operand; a number in the compute dtype; an int or bool; a generator. */
    uint16_t operands, numbers, ints, generators;
    uint16_t checked; /* bit i: a dtype or a list of integers, whose value must make sense */
    rl_param params[RL_MAX_ARGS];
    const char *result_names[RL_MAX_RESULTS]; /* "values", "indices"; NULL where unnamed */
    bool returns_list;                        /* -> Tensor[] */
} rl_schema;
extern const rl_schema rl_schema_table[RL_OPCODE_COUNT];

/* Runs a call whose args and inplace are filled in: checks, infers, allocates, lowers, records. Results are owned by
 * the innermost scope. On failure results are NULL. */
rl_status rl_call_run(rl_call *call, int opcode);

/* What autograd hangs in; set once when it starts. `record` gets a call that has run with some input that requires
 * gradients while recording is on: composites never (their ops do), NO_GRAD and integer results never. Of an in-place
 * call, which has counted its version by then, a saved args[0] is the value before, that is of the version before.
 * `before_inplace` may refuse a change (a leaf that requires gradients). `trace` gets a call of any kind but composite
 * after infer, when one of its tensors has `trace` set or rl_tracing_ is on; it fills results, owned by a scope. */
typedef struct rl_record_hooks {
    rl_status (*record)(rl_call *call, int opcode);
    rl_status (*before_inplace)(rl_call *call, int opcode);
    bool (*trace)(rl_call *call, int opcode, rl_status *out_status); /* rl_fuse: true when it took the call */
    rl_status (*view)(rl_call *call); /* a view was made while recording is on, of whatever tensor; before `record` */
    bool (*is_leaf)(const rl_tensor *t); /* requires gradients, made by no op, no view */
} rl_record_hooks;
extern rl_record_hooks rl_record_hooks_;
/* Whether this thread records, on at first; whether it traces. Initial-exec costs one instruction instead of a call. */
extern _Thread_local __attribute__((tls_model("initial-exec"))) bool rl_recording_;
extern _Thread_local __attribute__((tls_model("initial-exec"))) bool rl_tracing_;

/* Rules with names, for `infer`. All name op and argument in their errors. -------------------------------------------
 */

rl_status rl_infer_same_as_input(rl_call *call); /* meta[0] as args[0] */
/* All tensors broadcast; Tensor and Tensor|Scalar arguments promote (pure Scalars do not), by the op's flags. */
rl_status rl_infer_broadcast(rl_call *call);
rl_status rl_infer_broadcast_as(rl_call *call, uint32_t flags); /* with these flags instead: div by rounding mode */
rl_status rl_infer_view(rl_call *call);                         /* nothing to check before lower, which does */
/* "op: self is on ref:0 and other on onednn:0 ..." unless all tensor arguments are on one device. */
rl_status rl_check_same_device(const rl_call *call);
rl_status rl_check_float(const rl_call *call, int arg);
rl_status rl_check_dtype_is(const rl_call *call, int arg, rl_dtype dtype);
rl_status rl_check_no_bool(const rl_call *call, int arg);
rl_status rl_check_index_dtype(const rl_call *call, int arg); /* int32 or int64 */
/* A number given for args[arg] that dtype can hold: integers, and floats without their fraction, within its range. */
rl_status rl_check_fits(const rl_call *call, int arg, rl_dtype dtype);
/* rl_fail with "OP: " before the sentence. */
rl_status rl_call_fail(const rl_call *call, rl_status status, const char *format, ...) RL_PRINTF_(3, 4);
const char *rl_call_name(const rl_call *call);
/* Sets meta[i] from a shape. */
void rl_meta_set(rl_meta *meta, rl_dtype dtype, rl_device *device, int64_t ndim, const int64_t *shape);

/* What a pointwise call, inferred, runs: its program, built at the first use of these dtypes and kept, with the inputs
 * and launch scalars in the program's order. Draws from the generator. Fused tracing splices it. */
typedef struct rl_pointwise_launch {
    const rl_program *program;
    int n_inputs, n_scalars;
    rl_tensor *inputs[RL_MAX_ARGS]; /* borrowed */
    rl_number scalars[RL_MAX_ARGS + 1];
} rl_pointwise_launch;
rl_status rl_pointwise_prepare(const rl_call *call, int opcode, rl_pointwise_launch *out_launch);
/* Its program alone. */
const rl_program *rl_pointwise_program(const rl_call *call, int opcode);

#endif
