/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interpreter of pointwise programs: takes a run of elements through one instruction after the other, so that the
 * choice of an instruction is paid once a run and the loops over the run are the compiler's to vectorize. Knows all
 * instructions of backend.h. Re-entrant: all state is the caller's.
 */
#ifndef RL_INTERP_H
#define RL_INTERP_H

#include "rushlight/backend.h"

#ifdef __cplusplus
extern "C" {
#endif

#define RL_INTERP_RUN 256 /* elements of a run, at most: registers of a dozen instructions fit a first-level cache */
#define RL_INTERP_ALL ((uint64_t)-1) /* the insn_mask of a backend that interprets everything */

typedef struct rl_interp_span {       /* a run of elements along one dimension of a job */
    int64_t count;                    /* 1 .. RL_INTERP_RUN */
    const void *input[RL_MAX_INPUTS]; /* address of the first element in each input */
    int64_t stride[RL_MAX_INPUTS];    /* in elements, along the run */
    int64_t index[RL_MAX_DIMS];       /* of the first element in the job: for INDEX */
    int inner;                        /* the dimension along which the run goes; -1: none */
    uint64_t element, element_step;   /* row-major number of the first element, and from one to the next: for PHILOX */
} rl_interp_span;

/* Bytes of a dtype and the register it is computed in; 0 and RL_REG_F32 for what is no dtype. */
size_t rl_interp_dtype_bytes(uint32_t dtype);
rl_reg rl_interp_dtype_reg(uint32_t dtype);
/* The register that holds an instruction's result. */
rl_reg rl_interp_result(const rl_insn *insn);

/* Bytes of `memory` that rl_interp_run needs for a program; to be aligned to 64. */
size_t rl_interp_bytes(const rl_program *program);
/*
 * Runs the program. out_values[k] is then the address of `count` values of output k, not yet cast to its dtype, in the
 * register out_types[k]. They live in `memory`, or are an input itself where that saves a copy (never while another
 * output could overwrite it), and are valid until the next run with this memory.
 */
void rl_interp_run(const rl_program *program, const rl_number *scalars, const rl_interp_span *span, void *memory,
                   const void **out_values, rl_reg *out_types);

/* Packed values of a register from `count` elements of a dtype, and elements from values: CAST. Strides in elements;
 * a value is 4 or 8 bytes as its register says. */
void rl_interp_load(uint32_t dtype, const void *from, int64_t stride, int64_t count, void *out_values);
void rl_interp_store(uint32_t dtype, void *to, int64_t stride, int64_t count, rl_reg type, const void *values);

#ifdef __cplusplus
}
#endif
#endif
