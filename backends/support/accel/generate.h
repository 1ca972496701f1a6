/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the generators of map and reduce share: the operands of a program in a layout, and the source that loads,
 * numbers and stores a vector of RL_WIDTH elements along the last dimension.
 *
 * Operands are numbered: the program's inputs, then outputs, then pseudo operands, whose offset is a number: INDEX
 * along each dimension that the program asks for, and the element's number if it draws random ones.
 */
#ifndef RL_ACCEL_GENERATE_H
#define RL_ACCEL_GENERATE_H

#include "kernel.h"
#include "layout.h"
#include "source.h"

#define RL_MODE_WORDS 3 /* two bits an operand: rl_layout_inner */

int rl_generate_pseudo_count(const rl_program *program);
void rl_generate_add_pseudo(rl_layout *layout, const rl_program *program);
/* Of little work, every operand is walked by its stride, whatever it is: a kernel for each class would cost more to
 * build than it saves. */
#define RL_GENERATE_LITTLE 16384 /* elements */
/* Inputs, outputs and pseudo operands of a job, merged. */
void rl_generate_map_layout(rl_layout *out, const rl_program *program, const rl_map_job *job);
/* What a combiner begins with, as bits of the register. The number of no element is RL_GENERATE_NO_NUMBER. */
int64_t rl_generate_identity(unsigned combiner, rl_reg reg);
#define RL_GENERATE_NO_NUMBER "9223372036854775807L"
/* A lane of reduce adds up at most so many values before its sum goes into another. */
#define RL_GENERATE_BLOCK 128
void rl_generate_modes(const rl_layout *layout, int is_little, int32_t *out_words);

/* Where a vector's elements are: operand k begins at `at`[k] (NULL: at 0) and goes on by its stride from element
 * `column`; `stride`[k][dims - 1] is a stride that is not 0 or 1. */
typedef struct rl_walk {
    const int32_t *modes;
    const char *at, *column, *stride;
    int dims;
} rl_walk;
/* Declares x0, x1, ... from in0, in1, ..., with `prefix` before x. */
void rl_generate_loads(rl_text_buffer *out, const rl_program *program, const char *prefix, const rl_walk *walk);
/* Declares index_D and element, operands from number `first` on. */
void rl_generate_pseudo(rl_text_buffer *out, const rl_program *program, int first, const rl_walk *walk);
/* Stores the program's outputs to out0, out1, ..., operands from number `first` on. */
void rl_generate_stores(rl_text_buffer *out, const rl_program *program, const char *prefix, int first,
                        const rl_walk *walk);
/* Source that sets `to`[k] of n operands to `from`[k] (NULL: 0) and the offsets of row-major element `number` in
 * dimensions 0 .. dims - 1 of arrays `shape` and `stride`; `type` is that of the divisions. */
void rl_generate_decode(rl_text_buffer *out, const char *type, const char *to, const char *from, const char *number,
                        const char *shape, const char *stride, int dims, int n);
/* The last argument of a kernel, RL_LOCAL(params) p, or where they lie in memory what stands for it; ends "{". */
void rl_generate_params(rl_text_buffer *out, int by_memory);
void rl_generate_params_end(rl_text_buffer *out, int by_memory); /* after the kernel's body */
/* Declares a number for each lane from pseudo operand k: `name` = its offset. */
void rl_generate_number(rl_text_buffer *out, const char *name, int k, const rl_walk *walk);

#endif
