/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Resizing. Every mode is separable: along each dimension, an element of the result is a sum of one, two or four
 * elements of the input, whose places and weights a table made on the host says. The places are computed as PyTorch
 * does, in float32 but for float64, so that the nearest element is the same one.
 */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "ops/op_rows.h"

#define MOST_SIZE (INT64_C(1) << 26)

#define MOST_TAPS 4

typedef enum resize_mode {
    RESIZE_NEAREST,
    RESIZE_NEAREST_EXACT,
    RESIZE_LINEAR,
    RESIZE_BILINEAR,
    RESIZE_TRILINEAR,
    RESIZE_BICUBIC,
    RESIZE_AREA,
    RESIZE_MODES
} resize_mode;

static const struct {
    const char *word;
    int8_t taps, dims; /* dims 0: 1, 2 or 3 */
} modes[RESIZE_MODES] = {{"nearest", 1, 0},   {"nearest-exact", 1, 0}, {"linear", 2, 1}, {"bilinear", 2, 2},
                         {"trilinear", 2, 3}, {"bicubic", 4, 2},       {"area", 0, 0}};

typedef struct resize {
    resize_mode mode;
    bool align, wide; /* wide: computed in float64 */
    int64_t dims;     /* the last ones of the input */
    int64_t out[3];
    double factor; /* 0: by sizes alone */
} resize;

/* Places ----------------------------------------------------------------------------------------------------------- */

typedef struct tap_table { /* [tap * out + i] */
    int64_t *place;
    double *weight;
} tap_table;

/* What a step in the result is in the input, but for aligned corners. */
static double step_of(const resize *r, int64_t in, int64_t out) {
    double step = r->factor > 0.0 ? 1.0 / r->factor : 0.0;
    if (r->factor > 0.0)
        return r->wide ? step : (float)step;
    return r->wide ? (double)in / (double)out : (float)in / (float)out;
}

/* Of these modes a dimension whose size stays is copied, whatever the factor; of the others it is sampled anew. */
static bool keeps_sizes(const resize *r) {
    return modes[r->mode].taps == 2 || (r->mode == RESIZE_NEAREST && r->dims == 2);
}

static void nearest(const resize *r, int64_t in, int64_t out, tap_table *t) {
    resize narrow = *r;
    narrow.wide = false;
    float step = (float)step_of(&narrow, in, out), half = r->mode == RESIZE_NEAREST_EXACT ? 0.5f : 0.0f;
    const bool doubles = keeps_sizes(r) && out == 2 * in; /* as PyTorch has it, also for another factor */
    for (int64_t i = 0; i < out; i++) {
        int64_t at = doubles ? i / 2 : (int64_t)floorf(((float)i + half) * step);
        t->place[i] = at < in - 1 ? at : in - 1;
    }
}

/* Where element i of the result lies between elements of the input. */
static double source_of(const resize *r, int64_t in, int64_t out, int64_t i) {
    if (r->align) {
        if (r->wide)
            return out > 1 ? (double)(in - 1) / (double)(out - 1) * (double)i : 0.0;
        return out > 1 ? (float)(in - 1) / (float)(out - 1) * (float)i : 0.0f;
    }
    double step = step_of(r, in, out);
    double at = r->wide ? step * ((double)i + 0.5) - 0.5 : (float)step * ((float)i + 0.5f) - 0.5f;
    return at < 0.0 && r->mode != RESIZE_BICUBIC ? 0.0 : at;
}

/* Keys 1981, Cubic Convolution Interpolation for Digital Image Processing, with a = -3/4. */
static double cubic_near(double x) {
    return ((-0.75 + 2.0) * x - (-0.75 + 3.0)) * x * x + 1.0;
}
static double cubic_far(double x) {
    return ((-0.75 * x + 5.0 * 0.75) * x - 8.0 * 0.75) * x + 4.0 * 0.75;
}

static int64_t within(int64_t i, int64_t size) {
    return i < 0 ? 0 : i < size ? i : size - 1;
}

static void weighted(const resize *r, int64_t in, int64_t out, tap_table *t) {
    for (int64_t i = 0; i < out; i++) {
        double at = source_of(r, in, out, i), below = floor(at);
        int64_t first = (int64_t)below;
        if (modes[r->mode].taps == 2) {
            first = within(first, in);
            double share = at - (double)first;
            share = share < 0.0 ? 0.0 : share > 1.0 ? 1.0 : share;
            t->place[i] = first;
            t->place[out + i] = within(first + 1, in);
            t->weight[i] = 1.0 - share;
            t->weight[out + i] = share;
            continue;
        }
        double x = at - below;
        const double weights[4] = {cubic_far(x + 1.0), cubic_near(x), cubic_near(1.0 - x), cubic_far(2.0 - x)};
        for (int k = 0; k < 4; k++) {
            t->place[k * out + i] = within(first - 1 + k, in);
            t->weight[k * out + i] = weights[k];
        }
    }
}

/* Weights as a tensor that broadcasts along dim of x. */
static rl_tensor *weight_tensor(rl_tensor *x, int64_t dim, const double *weight, int64_t out) {
    int64_t shape[RL_MAX_DIMS] = {out};
    for (int64_t d = 1; d < x->ndim - dim; d++)
        shape[d] = 1;
    rl_device *device = rl_tensor_device(x);
    rl_ints dims = {shape, x->ndim - dim};
    if (x->dtype == RL_F64)
        return rl_tensor_from_data(weight, dims, RL_F64, device);
    float *narrow = rl_alloc_zero((size_t)out, sizeof *narrow, "weights");
    if (narrow == NULL)
        return NULL;
    for (int64_t i = 0; i < out; i++)
        narrow[i] = (float)weight[i];
    rl_tensor *made = rl_tensor_from_data(narrow, dims, RL_F32, device);
    rl_free(narrow);
    return made;
}

static rl_tensor *apply(rl_tensor *x, int64_t dim, int64_t out, int taps, const tap_table *t) {
    rl_tensor *sum = NULL;
    for (int k = 0; k < taps; k++) {
        rl_tensor *place = rl_tensor_from_data(t->place + k * out, RL_DIMS(out), RL_I64, rl_tensor_device(x));
        rl_tensor *picked = rl_index_select(x, dim, place);
        if (taps > 1)
            picked = rl_mul(picked, weight_tensor(x, dim, t->weight + k * out, out));
        sum = sum ? rl_add(sum, picked) : picked;
        if (sum == NULL)
            return NULL;
    }
    return sum;
}

static rl_tensor *resize_along(const resize *r, rl_tensor *x, int64_t dim, int64_t out) {
    int taps = modes[r->mode].taps;
    int64_t in = x->shape[dim];
    tap_table t = {rl_alloc_zero((size_t)(out * taps), sizeof *t.place, "places"),
                   rl_alloc_zero((size_t)(out * taps), sizeof *t.weight, "weights")};
    rl_tensor *made = NULL;
    if (t.place && t.weight) {
        if (taps == 1)
            nearest(r, in, out, &t);
        else
            weighted(r, in, out, &t);
        made = apply(x, dim, out, taps, &t);
    }
    rl_free(t.place);
    rl_free(t.weight);
    return made;
}

/* interpolate ------------------------------------------------------------------------------------------------------ */

/* args: input, size, scale_factor, mode, align_corners, recompute_scale_factor */
static rl_status read_mode(const rl_call *call, resize *r) {
    const rl_tensor *x = rl_arg_tensor(call, 0);
    char text[RL_SHAPE_TEXT];
    int mode = 0;
    while (mode < RESIZE_MODES && !rl_arg_is(call, 3, modes[mode].word))
        mode++;
    if (mode == RESIZE_MODES)
        return rl_call_fail(call, RL_INVALID_ARGUMENT,
                            "mode must be 'nearest', 'nearest-exact', 'linear', 'bilinear', 'trilinear', 'bicubic' or "
                            "'area', got '%.40s'",
                            rl_arg_word(call, 3));
    r->mode = (resize_mode)mode;
    r->dims = x->ndim - 2;
    if (r->dims < 1 || r->dims > 3 || (modes[mode].dims && r->dims != modes[mode].dims))
        return rl_call_fail(call, RL_SHAPE_MISMATCH, "input must have %s dimensions for mode '%s', has shape %s",
                            modes[mode].dims == 1   ? "3"
                            : modes[mode].dims == 2 ? "4"
                            : modes[mode].dims == 3 ? "5"
                                                    : "3 to 5",
                            modes[mode].word, rl_shape_text(x->ndim, x->shape, text));
    if (rl_arg_given(call, 4) && modes[mode].taps < 2)
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "align_corners is for linear and cubic modes, not for '%s'",
                            modes[mode].word);
    r->align = rl_arg_bool(call, 4);
    return RL_OK;
}

static rl_status read_size(const rl_call *call, resize *r) {
    const rl_tensor *x = rl_arg_tensor(call, 0);
    rl_ints size = rl_arg_ints(call, 1);
    bool sized = rl_arg_given(call, 1) && size.count > 0, scaled = rl_arg_given(call, 2);
    if (sized == scaled)
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "give either size or scale_factor%s", sized ? ", not both" : "");
    if (sized && size.count != 1 && size.count != r->dims)
        return rl_call_fail(call, RL_INVALID_ARGUMENT, "size must have 1 or %lld numbers, has %lld", (long long)r->dims,
                            (long long)size.count);
    double factor = rl_arg_double(call, 2);
    for (int64_t d = 0; d < r->dims; d++) {
        int64_t in = x->shape[2 + d];
        double scaled_size = floor((double)in * factor);
        if (scaled && !(scaled_size >= 1.0 && scaled_size < 0x1p40))
            return rl_call_fail(call, RL_INVALID_ARGUMENT,
                                "scale_factor must be above 0 and keep a size, got %g for a size of %lld", factor,
                                (long long)in);
        r->out[d] = sized ? size.data[size.count == 1 ? 0 : d] : (int64_t)scaled_size;
        if (in < 1 || r->out[d] < 1 || r->out[d] > MOST_SIZE) /* there is a table of each size */
            return rl_call_fail(call, RL_INVALID_ARGUMENT,
                                "sizes must be greater than 0 and at most 2^26: dimension %lld goes from %lld to %lld",
                                (long long)d + 2, (long long)in, (long long)r->out[d]);
    }
    r->factor = scaled && !rl_arg_bool(call, 5) ? factor : 0.0;
    return RL_OK;
}

static rl_status interpolate_lower(rl_call *call) {
    rl_tensor *x = rl_arg_tensor(call, 0);
    rl_dtype dtype = rl_tensor_dtype(x);
    resize r = {.wide = dtype == RL_F64};
    rl_status status = read_mode(call, &r);
    if (status == RL_OK)
        status = read_size(call, &r);
    if (status == RL_OK && modes[r.mode].taps != 1)
        status = rl_check_float(call, 0);
    if (status != RL_OK)
        return status;
    rl_ints out = {r.out, r.dims};
    if (r.mode == RESIZE_AREA) {
        call->results[0] = r.dims == 1   ? rl_adaptive_avg_pool1d(x, out)
                           : r.dims == 2 ? rl_adaptive_avg_pool2d(x, out)
                                         : rl_adaptive_avg_pool3d(x, out);
        return rl_error_status();
    }
    bool half = modes[r.mode].taps > 1 && (dtype == RL_F16 || dtype == RL_BF16);
    x = half ? rl_to(x, .dtype = RL_F32) : x; /* rounded once */
    for (int64_t d = 0; x != NULL && d < r.dims; d++)
        if (r.out[d] != x->shape[2 + d] || (r.factor > 0.0 && !keeps_sizes(&r)))
            x = resize_along(&r, x, 2 + d, r.out[d]);
    call->results[0] = half && x ? rl_to(x, .dtype = dtype) : x;
    return rl_error_status();
}

static const rl_sample interpolate_samples[] = {
    {"f[1,2,3,4], [6,8]"},
    {"f[2,1,5], [3]"},
    {"f[1,2,3,4], scale_factor=2.5"},
    {"f[1,2,3,4], [5,3], mode=\"nearest-exact\""},
    {"f[2,2,5], [9], mode=\"linear\""},
    {"f[2,2,5], scale_factor=1.7, mode=\"linear\""},
    {"f[1,2,3,4], [6,7], mode=\"bilinear\""},
    {"f[1,2,3,4]t, [2,7], mode=\"bilinear\", align_corners=true"},
    {"f[1,2,3,4], scale_factor=0.6, mode=\"bilinear\", align_corners=false, "
     "recompute_scale_factor=true"},
    {"f[1,1,2,3,2], [3,4,5], mode=\"trilinear\""},
    {"f[1,2,3,4]s, [7,6], mode=\"bicubic\""},
    {"f[1,1,4,4], [1,9], mode=\"bicubic\", align_corners=true"},
    {"f[1,2,5,4], [2,3], mode=\"area\""},
    {"f[0,2,3], [5], mode=\"linear\""},
    {"f[1,2,4], scale_factor=1.2, mode=\"linear\""},
    {"f[1,2,3,3], scale_factor=1.2"},
    {"f[1,2,2,3], scale_factor=2.3"},
    {"f[1,2,4], scale_factor=1.2"},
    {"u8[1,1,3], [5]"},
    {0}};
static const rl_bad interpolate_bad[] = {
    {"f[1,2,3], [5], mode=\"bilinear\"", RL_SHAPE_MISMATCH, "input must have 4 dimensions for mode 'bilinear'"},
    {"f[1,2,3], [5], mode=\"lanczos\"", RL_INVALID_ARGUMENT, "mode must be 'nearest'"},
    {"f[1,2,3]", RL_INVALID_ARGUMENT, "give either size or scale_factor"},
    {"f[1,2,3], [5], 2.0", RL_INVALID_ARGUMENT, "give either size or scale_factor, not both"},
    {"f[1,2,3], [5], align_corners=true", RL_INVALID_ARGUMENT, "align_corners is for linear and cubic modes"},
    {"f[1,2,3], [0]", RL_INVALID_ARGUMENT, "and at most 2^26: dimension 2 goes from 3 to 0"},
    {"f[1,2,3], scale_factor=0.1", RL_INVALID_ARGUMENT, "got 0.1 for a size of 3"},
    {"f[1,2,3], [5,5]", RL_INVALID_ARGUMENT, "size must have 1 or 1 numbers, has 2"},
    {"i64[1,2,3], [5], mode=\"linear\"", RL_DTYPE_MISMATCH, "floating dtype"},
    {0}};

const rl_op_def rl_op_def_interpolate = {
    .schema = "interpolate(Tensor input, int[]? size=None, float? scale_factor=None, str mode='nearest', "
              "bool? align_corners=None, bool? recompute_scale_factor=None) -> Tensor",
    .doc = "y = input (N, C, ...) resized to `size`, or by scale_factor, in its dimensions behind the second",
    .note = "mode: 'nearest', 'nearest-exact', 'linear' (N, C, L), 'bilinear', 'bicubic' (N, C, H, W), 'trilinear' "
            "(N, C, D, H, W), 'area'. Places follow scale_factor itself, or the sizes where recompute_scale_factor.",
    .flags = RL_OP_COMPOSITE,
    .lower = interpolate_lower,
    .samples = interpolate_samples,
    .bad = interpolate_bad,
};
