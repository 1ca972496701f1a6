/* SPDX-License-Identifier: Apache-2.0 */
/* Conv1d .. 3d and ConvTranspose1d .. 3d: one layer, whose class says how many spatial dimensions it has. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/sized.h"
#include "nn/module.h"
#include "nn/numbers.h"
#include "rushlight/autograd.h"
#include "rushlight/ops.h"

typedef struct conv {
    int64_t in, out, spatial, groups;
    bool transposed, same;
    const char *mode; /* of rl_pad; NULL: zeros, which the op itself sees */
    int64_t kernel[MOST_SPATIAL], stride[MOST_SPATIAL], padding[2 * MOST_SPATIAL], output_padding[MOST_SPATIAL],
        dilation[MOST_SPATIAL];
    rl_tensor *weight, *bias; /* borrowed from the entries */
} conv;

static rl_tensor *plain(const conv *c, rl_tensor *input, bool relu) {
    const int64_t spatial = c->spatial;
    rl_ints stride = RL_INTS(c->stride, spatial), dilation = RL_INTS(c->dilation, spatial),
            padding = RL_INTS(c->padding, 2 * spatial);
    bool alone = rl_tensor_ndim(input) == spatial + 1;
    rl_tensor *x = alone ? rl_unsqueeze(input, 0) : input, *y;
    if (c->mode) {
        int64_t margins[2 * MOST_SPATIAL]; /* from the last dimension on */
        for (int64_t d = 0; d < spatial; d++) {
            margins[2 * d] = c->padding[spatial - 1 - d];
            margins[2 * d + 1] = c->padding[2 * spatial - 1 - d];
        }
        x = rl_pad(x, RL_INTS(margins, 2 * spatial), .mode = c->mode);
        static const int64_t none = 0;
        padding = RL_INTS(&none, 1);
    }
    if (relu)
        y = rl_conv_activation(x, c->weight, .bias = c->bias, .stride = stride, .padding = padding,
                               .dilation = dilation, .groups = c->groups, .activation = "relu");
    else
        y = rl_conv(x, c->weight, .bias = c->bias, .stride = stride, .padding = padding, .dilation = dilation,
                    .groups = c->groups);
    return alone ? rl_squeeze(y, .dim = RL_DIMS(0)) : y;
}

static rl_tensor *conv_forward(rl_module *self, rl_tensor *x) {
    const conv *c = rl_module_data(self);
    const int64_t spatial = c->spatial, groups = c->groups;
    if (!c->transposed)
        return plain(c, x, false);
    rl_ints stride = RL_INTS(c->stride, spatial), dilation = RL_INTS(c->dilation, spatial),
            padding = RL_INTS(c->padding, spatial), more = RL_INTS(c->output_padding, spatial);
    switch (spatial) {
    case 1:
        return rl_conv_transpose1d(x, c->weight, .bias = c->bias, .stride = stride, .padding = padding,
                                   .output_padding = more, .groups = groups, .dilation = dilation);
    case 2:
        return rl_conv_transpose2d(x, c->weight, .bias = c->bias, .stride = stride, .padding = padding,
                                   .output_padding = more, .groups = groups, .dilation = dilation);
    default:
        return rl_conv_transpose3d(x, c->weight, .bias = c->bias, .stride = stride, .padding = padding,
                                   .output_padding = more, .groups = groups, .dilation = dilation);
    }
}

/* ", name=(1, 2)", as Python writes a tuple. */
static int add_tuple(char *text, size_t room, const char *name, const int64_t *values, int64_t count) {
    int used = snprintf(text, room, ", %s=(", name);
    for (int64_t d = 0; d < count; d++)
        used += snprintf(text + used, room - (size_t)used, "%s%lld", d ? ", " : "", (long long)values[d]);
    return used + snprintf(text + used, room - (size_t)used, count == 1 ? ",)" : ")");
}
static bool all_are(const int64_t *values, int64_t count, int64_t value) {
    for (int64_t d = 0; d < count; d++)
        if (values[d] != value)
            return false;
    return true;
}

static void conv_describe(const rl_module *self, char *text, size_t room) {
    const conv *c = rl_module_data(self);
    char line[512];
    int used = snprintf(line, sizeof line, "%lld, %lld", (long long)c->in, (long long)c->out);
#define TUPLE(name, values) used += add_tuple(line + used, sizeof line - (size_t)used, name, values, c->spatial)
    TUPLE("kernel_size", c->kernel);
    TUPLE("stride", c->stride);
    if (c->same)
        used += snprintf(line + used, sizeof line - (size_t)used, ", padding=same");
    else if (!all_are(c->padding, c->spatial, 0))
        TUPLE("padding", c->padding);
    if (!all_are(c->dilation, c->spatial, 1))
        TUPLE("dilation", c->dilation);
    if (!all_are(c->output_padding, c->spatial, 0))
        TUPLE("output_padding", c->output_padding);
#undef TUPLE
    if (c->groups != 1)
        used += snprintf(line + used, sizeof line - (size_t)used, ", groups=%lld", (long long)c->groups);
    if (!c->bias)
        used += snprintf(line + used, sizeof line - (size_t)used, ", bias=False");
    if (c->mode)
        snprintf(line + used, sizeof line - (size_t)used, ", padding_mode=%s", c->mode);
    snprintf(text, room, "%s", line);
}

#define CLASS(title)                                                                                                   \
    {                                                                                                                  \
        .struct_size = sizeof(rl_module_class), .name = #title, .data_bytes = sizeof(conv), .forward = conv_forward,   \
        .describe = conv_describe                                                                                      \
    }
static const rl_module_class classes[2][MOST_SPATIAL] = {
    {CLASS(Conv1d), CLASS(Conv2d), CLASS(Conv3d)},
    {CLASS(ConvTranspose1d), CLASS(ConvTranspose2d), CLASS(ConvTranspose3d)}};

rl_tensor *rl_nn_conv_with_relu(rl_module *self, rl_tensor *input) {
    const conv *c = self->klass->forward == conv_forward ? rl_module_data(self) : NULL;
    return c && !c->transposed ? plain(c, input, true) : NULL;
}

static rl_status read_mode(const char *layer, conv *c, const char *given) {
    static const char *const modes[] = {"reflect", "replicate", "circular"};
    if (given == NULL || strcmp(given, "zeros") == 0)
        return RL_OK;
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        c->mode = strcmp(given, modes[i]) == 0 ? modes[i] : c->mode;
    if (c->mode == NULL)
        return rl_fail(RL_INVALID_ARGUMENT,
                       "%s: padding_mode must be zeros, reflect, replicate or circular, got '%.40s'", layer, given);
    if (c->transposed)
        return rl_fail(RL_INVALID_ARGUMENT, "%s: padding_mode must be zeros, got %s", layer, c->mode);
    return RL_OK;
}

static rl_status read_options(const char *layer, conv *c, int64_t kernel_size, const rl_nn_conv_options *o) {
    static const int64_t zero[MOST_SPATIAL] = {0}, one[MOST_SPATIAL] = {1, 1, 1};
    const int64_t n = c->spatial;
    if (rl_nn_read_numbers(layer, "kernel_size", o->kernel_sizes, kernel_size, zero, 1, n, c->kernel) != RL_OK ||
        rl_nn_read_numbers(layer, "stride", o->strides, o->stride, one, 1, n, c->stride) != RL_OK ||
        rl_nn_read_numbers(layer, "padding", o->paddings, o->padding, zero, 0, n, c->padding) != RL_OK ||
        rl_nn_read_numbers(layer, "dilation", o->dilations, o->dilation, one, 1, n, c->dilation) != RL_OK ||
        rl_nn_read_numbers(layer, "output_padding", o->output_paddings, o->output_padding, zero, 0, n,
                           c->output_padding) != RL_OK)
        return rl_error_status();
    if (c->groups < 1 || c->in < 1 || c->out < 1 || c->in % c->groups != 0 || c->out % c->groups != 0)
        return rl_fail(RL_INVALID_ARGUMENT,
                       "%s: channels must be 1 or more and divide into the groups, got %lld to %lld in %lld groups",
                       layer, (long long)c->in, (long long)c->out, (long long)c->groups);
    if (!c->transposed && !all_are(c->output_padding, c->spatial, 0))
        return rl_fail(RL_INVALID_ARGUMENT, "%s: output_padding is for transposed convolutions", layer);
    if (c->same && (c->transposed || !all_are(c->stride, c->spatial, 1)))
        return rl_fail(RL_INVALID_ARGUMENT, "%s: same needs a stride of 1 and no transposed convolution", layer);
    for (int64_t d = 0; d < c->spatial; d++) { /* what is odd about `same` goes behind */
        int64_t all = c->dilation[d] * (c->kernel[d] - 1);
        c->padding[d] = c->same ? all / 2 : c->padding[d];
        c->padding[c->spatial + d] = c->same ? all - all / 2 : c->padding[d];
    }
    return read_mode(layer, c, o->padding_mode);
}

/* Both uniform in +-1 / sqrt(fan_in). */
static rl_status make_parameters(rl_module *self, conv *c, const rl_nn_conv_options *o) {
    const int64_t first = c->transposed ? c->in : c->out, second = (c->transposed ? c->out : c->in) / c->groups;
    int64_t shape[MOST_SPATIAL + 2] = {first, second}, fan_in = second;
    for (int64_t d = 0; d < c->spatial; d++) {
        shape[d + 2] = c->kernel[d];
        fan_in *= c->kernel[d];
    }
    c->weight = rl_empty(RL_INTS(shape, c->spatial + 2), .dtype = o->dtype, .device = o->device);
    rl_init_kaiming_uniform(c->weight, sqrt(5.0));
    rl_module_add_parameter(self, "weight", c->weight);
    if (!rl_option_truth(o->bias, true))
        return rl_error_status();
    double bound = 1.0 / sqrt((double)fan_in);
    c->bias = rl_empty(RL_DIMS(c->out), .dtype = o->dtype, .device = o->device);
    rl_init_uniform(c->bias, -bound, bound);
    rl_module_add_parameter(self, "bias", c->bias);
    return rl_error_status();
}

rl_module *rl_nn_conv_opt(int spatial, bool transposed, int64_t in, int64_t out, int64_t kernel_size,
                          const rl_nn_conv_options *given) {
    if (rl_failed())
        return NULL;
    if (spatial < 1 || spatial > MOST_SPATIAL)
        return rl_fail_null(RL_INVALID_ARGUMENT, "conv: there are 1 to 3 spatial dimensions, not %d", spatial);
    const rl_module_class *class = &classes[transposed][spatial - 1];
    rl_nn_conv_options options = {0};
    if (rl_sized_take(class->name, &options, sizeof options, given) != RL_OK)
        return NULL;
    rl_module *self = rl_module_new(class);
    if (!self)
        return NULL;
    conv *c = rl_module_data(self);
    *c = (conv){.in = in,
                .out = out,
                .spatial = spatial,
                .groups = rl_option_int(options.groups, 1),
                .transposed = transposed,
                .same = options.same};
    RL_SCOPE();
    if (read_options(class->name, c, kernel_size, &options) != RL_OK)
        return NULL;
    return make_parameters(self, c, &options) == RL_OK ? self : NULL;
}
