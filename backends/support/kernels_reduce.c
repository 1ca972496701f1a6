/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Primitive 2, reduce. Runs go along one dimension, as in map. Where that is a reduced one, a run is folded into one
 * accumulator; where it is a kept one, a run of kept elements has as many accumulators, and the walk over the reduced
 * dimensions adds a run to them at a time.
 */
#include <math.h>
#include <string.h>

#include "kernels_walk.h"

#define RUN RL_INTERP_RUN

/* Floats of both widths are held in double: sums are then better than backend.h asks, the rest exact. Integers are held
 * in 64 bits: sums and products wrap in 32 when they are stored. */
typedef struct accumulator {
    uint8_t combiner, dtype; /* dtype: of the prologue's output */
    int is_float;
    union {
        double f[RUN];
        int64_t i[RUN];
    } value;
    int64_t number[RUN]; /* ARGMAX, ARGMIN: of the element held; -1: none yet */
} accumulator;

typedef struct reduction {
    const rl_reduce_args *args;
    uint32_t kept;     /* mask of the dimensions that stay */
    int inner;         /* the runs' dimension; -1: none */
    int inner_reduced; /* whether that is a reduced one */
    int64_t width;     /* accumulators in use: 1, or the length of the run of kept elements */
    uint64_t element_stride[RL_MAX_DIMS], reduced_stride[RL_MAX_DIMS]; /* row-major, of all and of reduced dimensions */
    accumulator *accumulators;
    void *memory; /* of the interpreter, for prologue and epilogue */
} reduction;

/* Accumulators ------------------------------------------------------------------------------------------------- */

static double float_identity(unsigned combiner) {
    switch (combiner) {
    case RL_COMBINE_PROD:
        return 1;
    case RL_COMBINE_MAX:
        return -INFINITY;
    case RL_COMBINE_MIN:
        return INFINITY;
    default:
        return 0;
    }
}

static int64_t integer_identity(unsigned combiner, unsigned dtype) {
    switch (combiner) {
    case RL_COMBINE_PROD:
        return 1;
    case RL_COMBINE_MAX:
        return dtype == RL_I64 ? INT64_MIN : INT32_MIN;
    case RL_COMBINE_MIN:
        return dtype == RL_I64 ? INT64_MAX : INT32_MAX;
    default:
        return 0;
    }
}

static void reset(accumulator *self, int64_t width) {
    for (int64_t j = 0; j < width; j++) {
        self->number[j] = -1;
        if (self->is_float)
            self->value.f[j] = float_identity(self->combiner);
        else
            self->value.i[j] = integer_identity(self->combiner, self->dtype);
    }
}

/* Whether a is in front of b for ARGMAX and ARGMIN: NaN is in front of everything. */
static int float_before(double a, double b, int greatest) {
    if (isnan(a) || isnan(b))
        return isnan(a) && !isnan(b);
    return greatest ? a > b : a < b;
}

/* Takes element `number` with the value v where it is in front of the one held; among equals the first stays. */
static void take_float(accumulator *self, int64_t j, double v, int64_t number) {
    int greatest = self->combiner == RL_COMBINE_ARGMAX;
    double held = self->value.f[j];
    if (self->number[j] >= 0 && !float_before(v, held, greatest) &&
        (float_before(held, v, greatest) || self->number[j] < number))
        return;
    self->value.f[j] = v;
    self->number[j] = number;
}
static void take_integer(accumulator *self, int64_t j, int64_t v, int64_t number) {
    int greatest = self->combiner == RL_COMBINE_ARGMAX;
    int64_t held = self->value.i[j];
    if (self->number[j] >= 0 && !(greatest ? v > held : v < held) && (v != held || self->number[j] < number))
        return;
    self->value.i[j] = v;
    self->number[j] = number;
}

/* One of eight running totals takes each eighth value: they do not wait for each other. */
static double total_f32(const float *v, int64_t count) {
    double lane[8] = {0};
    int64_t j = 0;
    for (; j + 8 <= count; j += 8)
        for (int l = 0; l < 8; l++)
            lane[l] += (double)v[j + l];
    for (; j < count; j++)
        lane[0] += (double)v[j];
    return ((lane[0] + lane[1]) + (lane[2] + lane[3])) + ((lane[4] + lane[5]) + (lane[6] + lane[7]));
}

/* Folds `count` values: into accumulator j for the j-th where `spread`, else all into the first. EACH_VALUE has the
 * accumulator in *acc and the value in x. */
#define EACH_VALUE(T, held, statement)                                                                                 \
    do {                                                                                                               \
        const T *v = values;                                                                                           \
        if (spread) {                                                                                                  \
            for (int64_t j = 0; j < count; j++) {                                                                      \
                held *acc = &all[j], x = (held)v[j];                                                                   \
                statement;                                                                                             \
            }                                                                                                          \
        } else {                                                                                                       \
            held one = all[0], *acc = &one;                                                                            \
            for (int64_t j = 0; j < count; j++) {                                                                      \
                held x = (held)v[j];                                                                                   \
                statement;                                                                                             \
            }                                                                                                          \
            all[0] = one;                                                                                              \
        }                                                                                                              \
    } while (0)

#define FOLD_FLOATS(T)                                                                                                 \
    switch (self->combiner) {                                                                                          \
    case RL_COMBINE_SUM:                                                                                               \
        EACH_VALUE(T, double, *acc += x);                                                                              \
        break;                                                                                                         \
    case RL_COMBINE_PROD:                                                                                              \
        EACH_VALUE(T, double, *acc *= x);                                                                              \
        break;                                                                                                         \
    case RL_COMBINE_MAX:                                                                                               \
        EACH_VALUE(T, double, *acc = x > *acc || x != x ? x : *acc);                                                   \
        break;                                                                                                         \
    default:                                                                                                           \
        EACH_VALUE(T, double, *acc = x < *acc || x != x ? x : *acc);                                                   \
        break;                                                                                                         \
    }

#define FOLD_INTEGERS(T)                                                                                               \
    switch (self->combiner) {                                                                                          \
    case RL_COMBINE_SUM:                                                                                               \
        EACH_VALUE(T, int64_t, *acc = (int64_t)((uint64_t)*acc + (uint64_t)x));                                        \
        break;                                                                                                         \
    case RL_COMBINE_PROD:                                                                                              \
        EACH_VALUE(T, int64_t, *acc = (int64_t)((uint64_t)*acc * (uint64_t)x));                                        \
        break;                                                                                                         \
    case RL_COMBINE_MAX:                                                                                               \
        EACH_VALUE(T, int64_t, *acc = x > *acc ? x : *acc);                                                            \
        break;                                                                                                         \
    default:                                                                                                           \
        EACH_VALUE(T, int64_t, *acc = x < *acc ? x : *acc);                                                            \
        break;                                                                                                         \
    }

static void fold_floats(accumulator *self, const void *values, int64_t count, int spread) {
    double *all = self->value.f;
    if (self->dtype == RL_F64) {
        FOLD_FLOATS(double)
    } else if (self->combiner == RL_COMBINE_SUM && !spread) {
        all[0] += total_f32(values, count);
    } else {
        FOLD_FLOATS(float)
    }
}

static void fold_integers(accumulator *self, const void *values, int64_t count, int spread) {
    int64_t *all = self->value.i;
    if (self->dtype == RL_I64) {
        FOLD_INTEGERS(int64_t)
    } else {
        FOLD_INTEGERS(int32_t)
    }
}

static double float_at(unsigned dtype, const void *values, int64_t j) {
    return dtype == RL_F64 ? ((const double *)values)[j] : (double)((const float *)values)[j];
}
static int64_t integer_at(unsigned dtype, const void *values, int64_t j) {
    return dtype == RL_I64 ? ((const int64_t *)values)[j] : ((const int32_t *)values)[j];
}

/* ARGMAX and ARGMIN: `number` of the first, `step` from one to the next. */
static void fold_arguments(accumulator *self, const void *values, int64_t count, int spread, int64_t number,
                           int64_t step) {
    for (int64_t j = 0; j < count; j++) {
        int64_t place = spread ? j : 0;
        if (self->is_float)
            take_float(self, place, float_at(self->dtype, values, j), number + j * step);
        else
            take_integer(self, place, integer_at(self->dtype, values, j), number + j * step);
    }
}

/* The combined values as the epilogue's input: of the prologue's dtype, or I64 for an index. */
static void finish(const accumulator *self, int64_t width, void *out_values) {
    if (self->combiner == RL_COMBINE_ARGMAX || self->combiner == RL_COMBINE_ARGMIN) {
        for (int64_t j = 0; j < width; j++)
            ((int64_t *)out_values)[j] = self->number[j] < 0 ? 0 : self->number[j];
    } else {
        rl_interp_store(self->dtype, out_values, 1, width, self->is_float ? RL_REG_F64 : RL_REG_I64, &self->value);
    }
}

/* The walk ----------------------------------------------------------------------------------------------------- */

/* Prologue and folding for the run that begins at span->index. */
static void fold_run(const reduction *self, rl_interp_span *span) {
    const rl_reduce_args *args = self->args;
    const rl_program *prologue = args->prologue;
    const void *values[RL_MAX_OUTPUTS];
    rl_reg types[RL_MAX_OUTPUTS];
    int64_t number = 0, step = self->inner_reduced ? (int64_t)self->reduced_stride[self->inner] : 0;
    span->element = 0;
    for (int64_t d = 0; d < args->ndim; d++) {
        span->element += (uint64_t)span->index[d] * self->element_stride[d];
        number += span->index[d] * (int64_t)self->reduced_stride[d];
    }
    for (int k = 0; k < prologue->n_inputs; k++)
        span->input[k] =
            rl_at(&args->inputs[k], rl_interp_dtype_bytes(prologue->input_dtype[k]), args->ndim, span->index, 0);
    rl_interp_run(prologue, args->scalars, span, self->memory, values, types);
    for (int k = 0; k < prologue->n_outputs; k++) {
        accumulator *acc = &self->accumulators[k];
        const void *combined = values[k];
        double cast[RUN];
        if (types[k] != rl_interp_dtype_reg(acc->dtype)) {
            rl_interp_store(acc->dtype, cast, 1, span->count, types[k], combined);
            combined = cast;
        }
        if (acc->combiner >= RL_COMBINE_ARGMAX)
            fold_arguments(acc, combined, span->count, !self->inner_reduced, number, step);
        else if (acc->is_float)
            fold_floats(acc, combined, span->count, !self->inner_reduced);
        else
            fold_integers(acc, combined, span->count, !self->inner_reduced);
    }
}

/* All reduced elements of the kept ones at span->index. */
static void fold_all(const reduction *self, rl_interp_span *span) {
    const rl_reduce_args *args = self->args;
    int64_t length = self->inner_reduced ? args->shape[self->inner] : 1;
    uint32_t skip = self->kept | (self->inner >= 0 ? 1u << self->inner : 0);
    do {
        for (int64_t first = 0; first < length; first += RUN) {
            span->count = self->width;
            if (self->inner_reduced) {
                span->index[self->inner] = first;
                span->count = length - first < RUN ? length - first : RUN;
            }
            fold_run(self, span);
        }
        if (self->inner_reduced)
            span->index[self->inner] = 0;
    } while (rl_next_index(args->ndim, args->shape, skip, span->index));
}

/* Epilogue and outputs for the kept elements at index. */
static void finish_run(const reduction *self, const int64_t *index) {
    const rl_reduce_args *args = self->args;
    const rl_program *epilogue = args->epilogue;
    const void *values[RL_MAX_OUTPUTS];
    rl_reg types[RL_MAX_OUTPUTS];
    int64_t combined[RL_MAX_COMBINED][RUN];
    rl_interp_span span = {.count = self->width, .inner = -1};
    for (int k = 0; k < epilogue->n_inputs; k++) {
        finish(&self->accumulators[k], self->width, combined[k]);
        span.input[k] = combined[k];
        span.stride[k] = 1;
    }
    rl_interp_run(epilogue, args->epilogue_scalars, &span, self->memory, values, types);
    for (int k = 0; k < epilogue->n_outputs; k++) {
        uint32_t dtype = epilogue->output_dtype[k];
        void *to = rl_at(&args->outputs[k], rl_interp_dtype_bytes(dtype), args->ndim, index, args->reduced);
        int64_t stride = self->inner >= 0 && !self->inner_reduced ? args->outputs[k].stride[self->inner] : 1;
        rl_interp_store(dtype, to, stride, self->width, types[k], values[k]);
    }
}

static void reduce_at(reduction *self, rl_interp_span *span, int nothing) {
    for (int k = 0; k < self->args->prologue->n_outputs; k++)
        reset(&self->accumulators[k], self->width);
    if (!nothing)
        fold_all(self, span);
    finish_run(self, span->index);
}

/* Walks over the kept dimensions, a run of the inner one at a time where that is kept. */
static void reduce_all(reduction *self, rl_interp_span *span, int nothing) {
    const rl_reduce_args *args = self->args;
    int inner_kept = self->inner >= 0 && !self->inner_reduced;
    int64_t length = inner_kept ? args->shape[self->inner] : 1;
    uint32_t skip = args->reduced | (inner_kept ? 1u << self->inner : 0);
    do {
        for (int64_t first = 0; first < length; first += RUN) {
            if (inner_kept)
                span->index[self->inner] = first;
            self->width = length - first < RUN ? length - first : RUN;
            reduce_at(self, span, nothing);
        }
        if (inner_kept)
            span->index[self->inner] = 0;
    } while (rl_next_index(args->ndim, args->shape, skip, span->index));
}

static void find_strides(reduction *self) {
    const rl_reduce_args *args = self->args;
    uint64_t all = 1, reduced = 1;
    for (int64_t d = args->ndim - 1; d >= 0; d--) {
        int is_reduced = args->reduced >> d & 1u;
        self->element_stride[d] = all;
        self->reduced_stride[d] = is_reduced ? reduced : 0;
        all *= (uint64_t)args->shape[d];
        reduced *= is_reduced ? (uint64_t)args->shape[d] : 1;
        if (!is_reduced)
            self->kept |= 1u << d;
    }
}

static void init_accumulators(reduction *self) {
    const rl_program *prologue = self->args->prologue;
    for (int k = 0; k < prologue->n_outputs; k++) {
        accumulator *acc = &self->accumulators[k];
        acc->combiner = self->args->combiner[k];
        acc->dtype = prologue->output_dtype[k];
        acc->is_float = acc->dtype == RL_F32 || acc->dtype == RL_F64;
    }
}

rl_status rl_kernel_reduce(const rl_host *host, const rl_reduce_args *args) {
    size_t prologue = rl_interp_bytes(args->prologue), epilogue = rl_interp_bytes(args->epilogue);
    size_t registers = prologue > epilogue ? prologue : epilogue;
    char *memory = rl_scratch(host, registers + RL_MAX_COMBINED * sizeof(accumulator), "reduce");
    if (!memory)
        return RL_OUT_OF_MEMORY;
    reduction self = {.args = args, .inner = rl_inner_dim(args->ndim, args->shape), .memory = memory};
    self.accumulators = (accumulator *)(void *)(memory + registers);
    self.inner_reduced = self.inner >= 0 && (args->reduced >> self.inner & 1u);
    init_accumulators(&self);
    find_strides(&self);
    int64_t kept = 1, reduced = 1;
    for (int64_t d = 0; d < args->ndim; d++)
        *(args->reduced >> d & 1u ? &reduced : &kept) *= args->shape[d];
    if (kept == 0)
        return RL_OK;
    rl_interp_span span = {.inner = self.inner};
    span.element_step = self.inner >= 0 ? self.element_stride[self.inner] : 0;
    for (int k = 0; k < args->prologue->n_inputs; k++)
        span.stride[k] = self.inner >= 0 ? args->inputs[k].stride[self.inner] : 1;
    reduce_all(&self, &span, reduced == 0);
    return RL_OK;
}
