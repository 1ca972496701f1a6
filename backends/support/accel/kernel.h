/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels by spec: what the rows of accel.h are written with. */
#ifndef RL_ACCEL_KERNEL_H
#define RL_ACCEL_KERNEL_H

#include "accel.h"
#include "text.h"

#define RL_ACCEL_WORDS 24 /* even */

typedef struct rl_accel_spec rl_accel_spec;

typedef struct rl_accel_family {
    const char *name; /* "gather" */
    /* Device source (device/NAME.h as an array, made by embed.cmake); its kernel is RL_KERNEL(...), its own functions
     * and types are named RL_LOCAL(name), so that specializations stand side by side in one module. NULL: all is
     * written by `write`. */
    const char *text;
    /* Names of the words, separated by spaces: "DTYPE INDEX_DTYPE DIMS". Each is #defined as its word while the text is
     * compiled; words whose name ends in DTYPE also define T_..., see device/dtype.h. */
    const char *words;
    /* NULL, or writes source before the text. */
    void (*write)(rl_text_buffer *out, const rl_accel *accel, const rl_accel_spec *spec);
    int random; /* 1: needs rl_philox.h */
    int f64;    /* 1: uses f64 where there is one, also where no word or program is of that dtype */
} rl_accel_family;

struct rl_accel_spec {
    const rl_accel_family *family;
    const rl_program *program[2]; /* of map and reduce; else NULL */
    int32_t word[RL_ACCEL_WORDS]; /* unused ones 0 */
};

/* The kernel of a spec, built now where it is not yet (RL_OK), or an error with its sentence. `row` names it. */
rl_status rl_accel_find(rl_accel *self, const char *row, const rl_accel_spec *spec, rl_accel_kernel **out_kernel);
/* As rl_accel_find, but where the kernel is neither built nor in the cache *out_kernel is NULL: the first calls are
 * only counted, a later one has the kernel built by another thread. */
rl_status rl_accel_find_ready(rl_accel *self, const char *row, const rl_accel_spec *spec, rl_accel_kernel **out_kernel);
/* rl_accel_find and a launch of `groups` groups of traits.group work-items. */
rl_status rl_accel_run(rl_backend_stream *stream, const char *row, const rl_accel_spec *spec, const rl_accel_arg *args,
                       unsigned n_args, uint64_t groups);
/* A launch of a kernel whose last argument is `params`, or where `by_memory` is set their place in memory: a buffer and
 * an offset. `args` has room for two more than n_args. */
rl_status rl_accel_send(rl_backend_stream *stream, const char *row, rl_accel_kernel *kernel, rl_accel_arg *args,
                        unsigned n_args, const int64_t *params, uint64_t bytes, int by_memory, uint64_t groups);
/* The argument for an operand's buffer (its offset goes with the parameters); absent and empty ones have a stand-in. */
rl_accel_arg rl_accel_buffer_of(rl_backend_stream *stream, const rl_operand *operand);
unsigned rl_accel_dtype_bytes(uint32_t dtype); /* 1 of what is no dtype */
/* A number as kernels take it among their parameters: the bits of the dtype's register, in the low bytes. */
int64_t rl_accel_bits(uint32_t dtype, double value);
/* An operand's offset in elements of its dtype. */
int64_t rl_accel_offset(const rl_operand *operand, uint32_t dtype);
/* Groups for `items` independent pieces of work, each of about `cost` elementary steps: enough to fill the device, no
 * more, at least 1. Kernels walk on from one piece to the next (RL_FOR_ITEMS). */
uint64_t rl_accel_groups(const rl_accel *self, uint64_t items, uint64_t cost);
/* The same where each group has `bytes` of memory of its own, of which there is this much together. */
#define RL_ACCEL_MOST_MEMORY (1 << 28)
uint64_t rl_accel_groups_with(const rl_accel *self, uint64_t items, uint64_t cost, uint64_t bytes);

#endif
