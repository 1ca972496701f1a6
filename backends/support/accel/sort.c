/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Primitive 7, sort: short lines are an item's, longer ones a group's, in one launch; long ones go through radix sort
 * of their keys.
 */
#include "device_text.h"
#include "move.h"
#include "radix.h"

#define SHORT_LINE 32 /* as in device/sort.h */
#define GROUP_LINE 1024

static const rl_accel_family family = {
    .name = "sort", .text = rl_device_sort, .words = "DTYPE KEY_DTYPE AT_DTYPE KIND BITS PHASE DIMS"};
enum { WORD_DTYPE, WORD_KEY_DTYPE, WORD_AT_DTYPE, WORD_KIND, WORD_BITS, WORD_PHASE, WORD_DIMS };
enum { PHASE_KEYS, PHASE_WRITE, PHASE_SHORT, PHASE_GROUP };
enum { KIND_UNSIGNED, KIND_SIGNED, KIND_FLOAT, KIND_BOOL };

/* How elements of a dtype are ordered: kind and the exponent's bits. */
static int kind_of(uint32_t dtype, int64_t *out_exponent) {
    *out_exponent = 0;
    switch (dtype) {
    case RL_F32:
        *out_exponent = 0x7f800000;
        return KIND_FLOAT;
    case RL_F64:
        *out_exponent = 0x7ff0000000000000;
        return KIND_FLOAT;
    case RL_F16:
        *out_exponent = 0x7c00;
        return KIND_FLOAT;
    case RL_BF16:
        *out_exponent = 0x7f80;
        return KIND_FLOAT;
    case RL_U8:
        return KIND_UNSIGNED;
    case RL_BOOL:
        return KIND_BOOL;
    default:
        return KIND_SIGNED;
    }
}

static void lay_out(const rl_sort_args *args, int *out_dims, rl_lines_params *p) {
    const rl_operand *operands[] = {&args->in, &args->values, &args->indices};
    rl_layout lines, along;
    rl_layout_init(&lines, args->ndim, args->shape);
    for (int k = 0; k < 3; k++)
        rl_layout_add(&lines, operands[k]->stride, 0);
    rl_layout_split(&lines, 1u << args->dim, &along);
    rl_layout_merge(&lines);
    int dims = *out_dims = rl_accel_round_dims(lines.dims, 1);
    for (int k = 0; k < 3; k++) {
        rl_accel_pad(&lines, lines.dims, dims, k, p->shape, p->stride[k]);
        p->step[k] = along.stride[k][0];
        p->offset[k] = rl_accel_offset(operands[k], k == 2 ? RL_I64 : args->dtype);
    }
    p->lines = rl_layout_total(&lines);
    p->length = args->shape[args->dim];
}

static void describe(const rl_sort_args *args, int dims, rl_accel_spec *spec, rl_lines_params *p) {
    unsigned bytes = rl_accel_dtype_bytes(args->dtype);
    *spec = (rl_accel_spec){.family = &family};
    spec->word[WORD_DTYPE] = rl_accel_bits_dtype(bytes);
    spec->word[WORD_KEY_DTYPE] = rl_radix_dtype(bytes == 8);
    spec->word[WORD_AT_DTYPE] = RL_I32;
    spec->word[WORD_KIND] = kind_of(args->dtype, &p->exponent);
    spec->word[WORD_BITS] = (int32_t)(8 * bytes);
    spec->word[WORD_DIMS] = dims;
    p->flip = args->descending ? (int64_t)(UINT64_MAX >> (64 - 8 * bytes)) : 0;
}

static rl_status sort_lines(rl_backend_stream *stream, const rl_sort_args *args, rl_accel_spec *spec,
                            rl_lines_params *p) {
    rl_accel *self = rl_accel_of(stream);
    int is_short = p->length <= SHORT_LINE;
    uint64_t lines = (uint64_t)p->lines, most = (uint64_t)self->traits.units * 32;
    spec->word[WORD_PHASE] = is_short ? PHASE_SHORT : PHASE_GROUP;
    rl_accel_arg list[] = {rl_accel_buffer_of(stream, &args->in), rl_accel_buffer_of(stream, &args->values),
                           rl_accel_buffer_of(stream, &args->indices), RL_ACCEL_VALUE(*p)};
    uint64_t groups = is_short ? rl_accel_groups(self, lines, 16 * (uint64_t)p->length) : lines < most ? lines : most;
    return rl_accel_run(stream, "sort", spec, list, 4, groups);
}

/* The first launch of radix sort's, and what comes after it. */
static rl_status write_keys(rl_backend_stream *stream, const rl_operand *in, rl_accel_spec *spec, rl_lines_params *p,
                            const rl_radix *radix) {
    rl_accel *self = rl_accel_of(stream);
    p->keys_at = radix->keys_at;
    spec->word[WORD_PHASE] = PHASE_KEYS;
    rl_accel_arg list[] = {rl_accel_buffer_of(stream, in), {.buffer = radix->buffer}, RL_ACCEL_VALUE(*p)};
    return rl_accel_run(stream, "sort", spec, list, 3, rl_accel_groups(self, (uint64_t)(p->lines * p->length), 8));
}

static rl_status write_sorted(rl_backend_stream *stream, const rl_sort_args *args, rl_accel_spec *spec,
                              rl_lines_params *p, const rl_radix *radix) {
    rl_accel *self = rl_accel_of(stream);
    p->order_at = radix->order_at;
    spec->word[WORD_AT_DTYPE] = rl_radix_dtype(radix->wide_order);
    spec->word[WORD_PHASE] = PHASE_WRITE;
    rl_accel_arg list[] = {rl_accel_buffer_of(stream, &args->in),
                           {.buffer = radix->buffer},
                           rl_accel_buffer_of(stream, &args->values),
                           rl_accel_buffer_of(stream, &args->indices),
                           RL_ACCEL_VALUE(*p)};
    return rl_accel_run(stream, "sort", spec, list, 5, rl_accel_groups(self, (uint64_t)(p->lines * p->length), 16));
}

static rl_status sort_by_radix(rl_backend_stream *stream, const rl_sort_args *args, rl_accel_spec *spec,
                               rl_lines_params *p) {
    rl_radix radix = {.row = "sort",
                      .lines = p->lines,
                      .length = p->length,
                      .bits = args->dtype == RL_BOOL ? 1 : spec->word[WORD_BITS],
                      .wide_key = spec->word[WORD_KEY_DTYPE] == RL_I64};
    rl_status status = rl_radix_init(stream, &radix);
    if (!status)
        status = write_keys(stream, &args->in, spec, p, &radix);
    if (!status)
        status = rl_radix_sort(stream, &radix);
    return status ? status : write_sorted(stream, args, spec, p, &radix);
}

rl_status rl_accel_sort(rl_backend_stream *stream, const rl_sort_args *args) {
    rl_accel *self = rl_accel_of(stream);
    rl_sort_args own = *args;
    rl_lines_params p = {0};
    rl_accel_spec spec;
    rl_status status = RL_OK;
    int dims, most = self->traits.group > 1 ? GROUP_LINE : SHORT_LINE;
    if (args->dtype == RL_DTYPE_NONE || args->dtype >= RL_DTYPE_COUNT)
        return self->host->fail(RL_UNSUPPORTED, "sort: dtype %u is not known to this backend", (unsigned)args->dtype);
    if (rl_accel_product(args->ndim, args->shape) == 0)
        return RL_OK;
    int by_lines = args->shape[args->dim] <= most;
    int covered = rl_accel_same_place(&args->values, &args->in) || rl_accel_same_place(&args->indices, &args->in);
    if (!by_lines && covered)
        status = rl_accel_set_aside(stream, "sort", 1, args->dtype, args->ndim, args->shape, &own.in);
    if (status)
        return status;
    lay_out(&own, &dims, &p);
    describe(&own, dims, &spec, &p);
    return by_lines ? sort_lines(stream, &own, &spec, &p) : sort_by_radix(stream, &own, &spec, &p);
}
