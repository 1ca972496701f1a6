/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plugin, loaded as the runtime would, beside the plain kernels of support/: random operands twice, one call each,
 * every byte compared. A small generator with a fixed seed, so that a failure comes again.
 */
#ifndef RUSHLIGHT_TESTS_ONEDNN_HARNESS_H
#define RUSHLIGHT_TESTS_ONEDNN_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernels.h"

#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))

extern rl_host host; /* threads come from `threads` */
extern uint32_t threads;
extern char host_text[512];       /* the last sentence of host.fail */
extern int scratch_fails;         /* 1: host.scratch gives NULL */
extern const rl_backend *backend; /* open, with a device and a stream */
extern rl_backend_device *device;
extern rl_backend_stream *stream;

/* Loads and opens the plugin with a clone of its loops; 0 where this machine cannot run it (said on stderr). */
int open_backend(const char *isa);
rl_backend_query_fn query_of_plugin(void); /* after open_backend */
void close_backend(void);
/* Calls `test` with each clone that this machine runs. */
void each_clone(void (*test)(void));
/* A test of cmocka, NAME_of_each_clone, that does so. */
#define CLONES(name)                                                                                                   \
    static void name##_of_each_clone(void **state) {                                                                   \
        (void)state;                                                                                                   \
        each_clone(name);                                                                                              \
    }

/* Fails where the backend has no such cell. */
const rl_fused_cell *cell_of(rl_row row);

uint64_t draw(void);           /* 64 random bits */
int64_t draw_below(int64_t n); /* 0 .. n - 1 */
void seed(uint64_t value);

/* Memory twice: [0] for the oracle, [1] for the plugin, equal to begin with, guards included. */
typedef struct twin {
    unsigned char *base[2];
    uint64_t bytes;
    rl_kernel_buffer plain;
    rl_backend_buffer *wrapped;
} twin;

typedef struct twin_operand {
    twin *memory;
    rl_operand of[2];
    rl_dtype dtype;
} twin_operand;

/* Random values of a dtype, special ones among them. */
void fill_random(void *to, rl_dtype dtype, int64_t n);
void fill_small_integers(void *to, rl_dtype dtype, int64_t n, int64_t bound);

typedef enum stride_kind { PACKED, PERMUTED, GAPS, BROADCAST, ANY } stride_kind;
/* An operand of random strides over a shape, in memory of its own. BROADCAST only for inputs. */
twin_operand *new_operand(rl_dtype dtype, int64_t ndim, const int64_t *shape, stride_kind kind);
void free_operands(void); /* all that were made */

/* Fails unless the twins hold the same: bytes, or, with `ulps`, floats that many units (of the dtype) apart at most. */
void assert_twins(const twin_operand *operand, double ulps, const char *what);

/* A program of random exact instructions over random dtypes. Freed by
 * close_backend. */
typedef struct program_box {
    rl_program program;
    rl_insn insns[RL_MAX_INSNS + 1];
    struct program_box *next;
} program_box;
rl_program *random_program(int n_inputs, int n_outputs, int n_insns, int with_index);
/* A program of given instructions: helpers to write one. */
rl_program *begin_program(void);
uint8_t put(rl_program *p, rl_insn insn);
uint8_t put_input(rl_program *p, rl_dtype dtype);
uint8_t put_scalar(rl_program *p, rl_reg reg);
void put_output(rl_program *p, uint8_t value, rl_dtype dtype);

#endif
