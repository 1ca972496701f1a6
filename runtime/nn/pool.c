/* SPDX-License-Identifier: Apache-2.0 */
/* MaxPool1d .. 3d, AvgPool1d .. 3d and the adaptive ones: one layer each, whose class says how many dimensions. */
#include "base/error.h"
#include "base/sized.h"
#include "nn/layer.h"

typedef struct pool {
    int64_t spatial, kernel[MOST_SPATIAL], stride[MOST_SPATIAL], padding[MOST_SPATIAL], dilation[MOST_SPATIAL];
    bool tuple[4]; /* which of these were lists, to be printed so */
    bool average, ceil;
    int64_t include, divisor; /* as the op's options */
} pool;

static rl_tensor *pool_forward(rl_module *self, rl_tensor *x) {
    const pool *p = rl_module_data(self);
    rl_ints kernel = RL_INTS(p->kernel, p->spatial), stride = RL_INTS(p->stride, p->spatial);
    rl_ints padding = RL_INTS(p->padding, p->spatial), dilation = RL_INTS(p->dilation, p->spatial);
    if (p->average)
        return p->spatial == 1   ? rl_avg_pool1d(x, kernel, stride, padding, p->ceil, p->include)
               : p->spatial == 2 ? rl_avg_pool2d(x, kernel, stride, padding, p->ceil, p->include, p->divisor)
                                 : rl_avg_pool3d(x, kernel, stride, padding, p->ceil, p->include, p->divisor);
    return p->spatial == 1   ? rl_max_pool1d(x, kernel, stride, padding, dilation, p->ceil)
           : p->spatial == 2 ? rl_max_pool2d(x, kernel, stride, padding, dilation, p->ceil)
                             : rl_max_pool3d(x, kernel, stride, padding, dilation, p->ceil);
}

/* "name=2", or "name=(1, 2)" as Python writes a tuple. */
static size_t add_numbers(char *text, size_t room, const char *name, const int64_t *values, int64_t count, bool tuple) {
    size_t used = (size_t)snprintf(text, room, "%s=%s", name, tuple ? "(" : "");
    for (int64_t d = 0; d < (tuple ? count : 1); d++)
        used += (size_t)snprintf(text + used, room - used, "%s%lld", d ? ", " : "", (long long)values[d]);
    return used + (size_t)snprintf(text + used, room - used, "%s", !tuple ? "" : count == 1 ? ",)" : ")");
}

static void pool_describe(const rl_module *self, char *text, size_t room) {
    const pool *p = rl_module_data(self);
    static const char *const names[4] = {"kernel_size", ", stride", ", padding", ", dilation"};
    const int64_t *const values[4] = {p->kernel, p->stride, p->padding, p->dilation};
    char line[512];
    size_t used = 0;
    for (int i = 0; i < (p->average ? 3 : 4); i++)
        used += add_numbers(line + used, sizeof line - used, names[i], values[i], p->spatial,
                            p->tuple[i] || (p->average && p->spatial == 1));
    if (!p->average)
        snprintf(line + used, sizeof line - used, ", ceil_mode=%s", p->ceil ? "True" : "False");
    snprintf(text, room, "%s", line);
}

#define CLASS(title)                                                                                                   \
    {                                                                                                                  \
        .struct_size = sizeof(rl_module_class), .name = #title, .data_bytes = sizeof(pool), .forward = pool_forward,   \
        .describe = pool_describe                                                                                      \
    }
static const rl_module_class classes[2][MOST_SPATIAL] = {{CLASS(MaxPool1d), CLASS(MaxPool2d), CLASS(MaxPool3d)},
                                                         {CLASS(AvgPool1d), CLASS(AvgPool2d), CLASS(AvgPool3d)}};
#undef CLASS

static rl_status read_options(const char *layer, pool *p, int64_t kernel_size, const rl_nn_pool_options *o) {
    static const int64_t zero[MOST_SPATIAL] = {0}, one[MOST_SPATIAL] = {1, 1, 1};
    const rl_ints kernels = kernel_size ? RL_NO_DIMS : o->kernel_sizes;
    if (rl_nn_read_numbers(layer, "kernel_size", kernels, kernel_size, zero, 1, p->spatial, p->kernel) != RL_OK ||
        rl_nn_read_numbers(layer, "stride", o->strides, o->stride, p->kernel, 1, p->spatial, p->stride) != RL_OK ||
        rl_nn_read_numbers(layer, "padding", o->paddings, o->padding, zero, 0, p->spatial, p->padding) != RL_OK ||
        rl_nn_read_numbers(layer, "dilation", o->dilations, o->dilation, one, 1, p->spatial, p->dilation) != RL_OK)
        return rl_error_status();
    p->tuple[0] = kernels.count > 1;
    p->tuple[1] = o->strides.count > 1 || (o->strides.count == 0 && o->stride == 0 && p->tuple[0]);
    p->tuple[2] = o->paddings.count > 1;
    p->tuple[3] = o->dilations.count > 1;
    return RL_OK;
}

static rl_status check_spatial(const char *what, int spatial) {
    return spatial >= 1 && spatial <= MOST_SPATIAL
               ? RL_OK
               : rl_fail(RL_INVALID_ARGUMENT, "%s: spatial must be 1, 2 or 3, got %d", what, spatial);
}

rl_module *rl_nn_pool_opt(int spatial, bool average, int64_t kernel_size, const rl_nn_pool_options *given) {
    rl_nn_pool_options options = {0};
    pool p = {.spatial = spatial, .average = average};
    if (rl_failed() || check_spatial("pool", spatial) != RL_OK ||
        rl_sized_take("pool", &options, sizeof options, given) != RL_OK)
        return NULL;
    const rl_module_class *klass = &classes[average][spatial - 1];
    if (average && (options.dilation || options.dilations.count))
        return rl_fail_null(RL_INVALID_ARGUMENT, "%s: dilation is for maxima alone", klass->name);
    if (read_options(klass->name, &p, kernel_size, &options) != RL_OK)
        return NULL;
    p.ceil = options.ceil_mode;
    p.include = options.count_include_pad;
    p.divisor = options.divisor_override;
    rl_module *self = rl_module_new(klass);
    if (self)
        memcpy(rl_module_data(self), &p, sizeof p);
    return self;
}

/* Adaptive -----------------------------------------------------------------------------------------------------------
 */

typedef struct adaptive {
    int64_t spatial, count, size[MOST_SPATIAL];
    bool average;
} adaptive;

static rl_tensor *adaptive_forward(rl_module *self, rl_tensor *x) {
    const adaptive *a = rl_module_data(self);
    rl_ints size = RL_INTS(a->size, a->count);
    if (a->average)
        return a->spatial == 1   ? rl_adaptive_avg_pool1d(x, size)
               : a->spatial == 2 ? rl_adaptive_avg_pool2d(x, size)
                                 : rl_adaptive_avg_pool3d(x, size);
    return a->spatial == 1   ? rl_adaptive_max_pool1d(x, size)
           : a->spatial == 2 ? rl_adaptive_max_pool2d(x, size)
                             : rl_adaptive_max_pool3d(x, size);
}
static void adaptive_describe(const rl_module *self, char *text, size_t room) {
    const adaptive *a = rl_module_data(self);
    char line[128];
    add_numbers(line, sizeof line, "output_size", a->size, a->count, a->count > 1);
    snprintf(text, room, "%s", line);
}

#define CLASS(title)                                                                                                   \
    {                                                                                                                  \
        .struct_size = sizeof(rl_module_class), .name = #title, .data_bytes = sizeof(adaptive),                        \
        .forward = adaptive_forward, .describe = adaptive_describe                                                     \
    }
static const rl_module_class adaptive_classes[2][MOST_SPATIAL] = {
    {CLASS(AdaptiveMaxPool1d), CLASS(AdaptiveMaxPool2d), CLASS(AdaptiveMaxPool3d)},
    {CLASS(AdaptiveAvgPool1d), CLASS(AdaptiveAvgPool2d), CLASS(AdaptiveAvgPool3d)}};

rl_module *rl_nn_adaptive_pool(int spatial, bool average, rl_ints output_size) {
    adaptive a = {.spatial = spatial, .count = output_size.count, .average = average};
    if (rl_failed() || check_spatial("adaptive_pool", spatial) != RL_OK)
        return NULL;
    static const int64_t none[MOST_SPATIAL] = {0};
    const rl_module_class *klass = &adaptive_classes[average][spatial - 1];
    if (output_size.count < 1)
        return rl_fail_null(RL_INVALID_ARGUMENT, "%s: output_size is empty", klass->name);
    if (rl_nn_read_numbers(klass->name, "output_size", output_size, 0, none, 0, spatial, a.size) != RL_OK)
        return NULL;
    rl_module *self = rl_module_new(klass);
    if (self)
        memcpy(rl_module_data(self), &a, sizeof a);
    return self;
}
