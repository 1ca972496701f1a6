/* SPDX-License-Identifier: Apache-2.0 */
/* clang-format off */
/*
 * Normalizations, both directions, as one of two pictures:
 *   rows     what is normalized together is a row of `lines` lines of `length` elements next to each other: layer,
 *            group, instance, RMS norm, batch norm of (N, C, H, W) as it stands
 *   columns  channels are next to each other and each is normalized down its column: batch norm of channels-last memory
 */
/* clang-format on */
#ifndef RUSHLIGHT_BACKENDS_ONEDNN_NORM_H
#define RUSHLIGHT_BACKENDS_ONEDNN_NORM_H

#include "backend.h"
#include "space.h"

/* Y is the result that is as large as X: the output, or the gradient of the input. G, GW and GB are of the backward.
 * The last one is no memory: it tells along which dimensions weight and bias vary. */
enum { NORM_X, NORM_Y, NORM_G, NORM_W, NORM_B, NORM_MEAN, NORM_VAR, NORM_GW, NORM_GB, NORM_AFFINE, NORM_OPERANDS };

/* Elements of a row, or of some columns, that are worked on at a time: they fit the L2 cache. */
#define NORM_PART 16384
#define NORM_COLUMNS 256 /* columns whose sums are gathered, or joined, at a time */

typedef struct od_norm_task {
    const char *name;
    rl_dtype dtype, param_dtype;
    int backward, center;
    double eps;
    const rl_operand *operand[NORM_OPERANDS]; /* NULL where absent */
    int64_t bytes[NORM_OPERANDS];             /* of an element */
    int64_t n;                                /* elements normalized together */
    char *scratch;
    od_space along;           /* the normalized dimensions; offsets of the operands in bytes */
    od_space kept;            /* the others */
    od_space groups, repeats; /* of the others: those along which weight varies, and the rest; of rows alone */
} od_norm_task;

rl_status od_norm_rows(od_norm_task *self);
rl_status od_norm_columns(od_norm_task *self);

static inline char *od_norm_at(const od_norm_task *self, int k) {
    return od_address(self->operand[k]);
}
/* Room in one piece of scratch memory: gives where it begins, a multiple of 64. */
static inline size_t od_norm_take(size_t *total, int64_t bytes) {
    const size_t at = *total;
    *total += od_lines((size_t)bytes);
    return at;
}
static inline rl_status od_norm_scratch(od_norm_task *self, size_t bytes) {
    self->scratch = bytes ? od_host->scratch(bytes) : NULL;
    return bytes == 0 || self->scratch
               ? RL_OK
               : od_host->fail(RL_OUT_OF_MEMORY, "%s: no scratch memory of %zu bytes", self->name, bytes);
}

/* Mean and sum of squared differences from it, of `count` elements: joined as by Chan, Golub and LeVeque (1979). */
typedef struct od_moments {
    double count, mean, squares;
} od_moments;
static inline void od_moments_join(od_moments *self, double count, double mean, double squares) {
    const double total = self->count + count, apart = mean - self->mean;
    self->squares += squares + apart * apart * (self->count * count / total);
    self->mean += apart * (count / total);
    self->count = total;
}
#endif
