/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Short names for writing declarations, so that programs and derivatives read as mathematics. Included by op_*.c alone.
 *
 *     PROGRAM(square, MUL(x[0], x[0]))               // y = x x; b is the builder, x[i] the operands
 *     VJP(square, rl_mul(G, rl_mul(X, 2)))           // gx = 2 g x; v is the rl_vjp
 */
#ifndef RUSHLIGHT_RUNTIME_OPS_OP_SHARED_H
#define RUSHLIGHT_RUNTIME_OPS_OP_SHARED_H

#include "ops/op.h"
#include "rushlight/ops.h"

/* Programs ------------------------------------------------------------------------------------------------------- */

/* The program NAME_program of an op of one result. */
#define PROGRAM(name, expression)                                                                                      \
    static void name##_program(rl_builder *b, const rl_call *call, const rl_pw *x, rl_pw *out) {                       \
        (void)b, (void)call, (void)x;                                                                                  \
        out[0] = (expression);                                                                                         \
    }

#define OP1(code, p) rl_build1(b, RL_INSN_##code, p)
#define OP2(code, p, q) rl_build2(b, RL_INSN_##code, p, q)
#define ADD(p, q) OP2(ADD, p, q)
#define SUB(p, q) OP2(SUB, p, q)
#define MUL(p, q) OP2(MUL, p, q)
#define DIV(p, q) OP2(DIV, p, q)
#define NEG(p) OP1(NEG, p)
#define ABS(p) OP1(ABS, p)
#define MIN(p, q) OP2(MIN, p, q)
#define MAX(p, q) OP2(MAX, p, q)
#define EXP(p) OP1(EXP, p)
#define LOG(p) OP1(LOG, p)
#define TANH(p) OP1(TANH, p)
#define EQ(p, q) OP2(EQ, p, q)
#define NE(p, q) OP2(NE, p, q)
#define LT(p, q) OP2(LT, p, q)
#define LE(p, q) OP2(LE, p, q)
#define GT(p, q) OP2(GT, p, q)
#define GE(p, q) OP2(GE, p, q)
#define AND(p, q) OP2(AND, p, q)
#define OR(p, q) OP2(OR, p, q)
#define SELECT(condition, p, q) rl_build3(b, RL_INSN_SELECT, condition, p, q)
#define CAST(p, dtype) rl_build_cast(b, p, dtype)
/* The number n in the register of p. */
#define NUM(p, n) rl_build_constant(b, rl_pw_dtype(b, p), n)
#define IS_FLOAT(p) rl_dtype_is_float(rl_pw_dtype(b, p))

static inline rl_dtype rl_pw_dtype(const rl_builder *b, rl_pw p) {
    return b->status == RL_OK ? (rl_dtype)b->value_dtype[p] : RL_F32;
}
/* A truth that holds for no element, or for all, whatever p is. */
static inline rl_pw rl_pw_truth(rl_builder *b, bool truth) {
    return rl_build_constant(b, RL_BOOL, truth);
}

/* Derivatives ---------------------------------------------------------------------------------------------------- */

/* The function NAME_vjp of an op with one differentiable argument, its first. */
#define VJP(name, gradient)                                                                                            \
    static void name##_vjp(rl_vjp *v) {                                                                                \
        rl_vjp_set(v, 0, (gradient));                                                                                  \
    }
/* The same for two. */
#define VJP2(name, gradient0, gradient1)                                                                               \
    static void name##_vjp(rl_vjp *v) {                                                                                \
        if (rl_vjp_needs(v, 0))                                                                                        \
            rl_vjp_set(v, 0, (gradient0));                                                                             \
        if (rl_vjp_needs(v, 1))                                                                                        \
            rl_vjp_set(v, 1, (gradient1));                                                                             \
    }
#define G rl_vjp_grad(v, 0)
#define X rl_vjp_input(v, 0)
#define Y rl_vjp_result(v, 0)
#define ARG(i) rl_vjp_operand(v, i) /* a saved tensor, or the number given in its place */
#define NUMBER(i) rl_vjp_number(v, i)

rl_value rl_vjp_operand(rl_vjp *v, int arg);
/* A number as a double; 0 for None. */
double rl_vjp_number(rl_vjp *v, int arg);
/* The word given for a string argument; "" for None. */
const char *rl_vjp_word(rl_vjp *v, int arg);
/* The gradient of steps, signs and roundings: zero. */
void rl_vjp_zero(rl_vjp *v);
/* y times a number, or y where that is 1. */
rl_tensor *rl_times(rl_tensor *y, rl_value number);
/* y where condition holds, else 0; and the other way round. */
rl_tensor *rl_only_where(rl_tensor *condition, rl_tensor *y);
rl_tensor *rl_only_where_not(rl_tensor *condition, rl_tensor *y);

/* Calls ---------------------------------------------------------------------------------------------------------- */

/* The word given for a string argument, "" where it is None; and whether it is `word`. */
const char *rl_arg_word(const rl_call *call, int arg);
bool rl_arg_is(const rl_call *call, int arg, const char *word);
/* An integer argument; 0 where it is none. */
int64_t rl_arg_int(const rl_call *call, int arg);
rl_dtype rl_arg_dtype(const rl_call *call, int arg); /* RL_DTYPE_NONE for None */
rl_device *rl_arg_device(const rl_call *call, int arg);

/* Infers as broadcast, with pure Scalars promoting like numbers beside tensors. */
rl_status rl_infer_with_numbers(rl_call *call);
/* Infer as broadcast, and refuse dtypes that the op has no meaning for. */
rl_status rl_infer_no_bool(rl_call *call);       /* abs, floor, remainder */
rl_status rl_infer_no_float(rl_call *call);      /* bit operations */
rl_status rl_infer_integers_only(rl_call *call); /* shifts */
rl_status rl_infer_floats_only(rl_call *call);   /* those whose integer form PyTorch does not have */

/* Infers as broadcast; args[1] and args[2] are bounds, which are held within the range of an integer dtype. */
rl_status rl_infer_bounds(rl_call *call);

/* Samples that ops of one kind share ------------------------------------------------------------------------------ */

extern const rl_sample rl_samples_real[];          /* one float tensor, any real number; integers too */
extern const rl_sample rl_samples_positive[];      /* one float tensor in [0.5, 2] */
extern const rl_sample rl_samples_unit[];          /* one float tensor in [0.05, 0.95] */
extern const rl_sample rl_samples_number[];        /* one tensor of any dtype */
extern const rl_sample rl_samples_floats[];        /* one float tensor, no integers */
extern const rl_sample rl_samples_integers[];      /* one integer or bool tensor */
extern const rl_sample rl_samples_pair[];          /* two tensors of any dtype, or one and a number */
extern const rl_sample rl_samples_pair_tensors[];  /* two tensors */
extern const rl_sample rl_samples_pair_positive[]; /* the same, floats in [0.5, 2] */
extern const rl_sample rl_samples_pair_integers[]; /* the same, integers and bools */
extern const rl_bad rl_bad_unary[];                /* NULL */
extern const rl_bad rl_bad_no_bool[];              /* NULL, bool */
extern const rl_bad rl_bad_binary[];               /* shapes that do not broadcast, NULL */

#endif
