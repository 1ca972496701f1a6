/* SPDX-License-Identifier: Apache-2.0 */
#include "depthwise.h"

#include "device_text.h"
#include "gemm.h"
#include "line.h"

#define SLOT_MEMORY 0
#define SLOT_PLACES 1

enum { WORD_DTYPE, WORD_COLUMNS, WORD_UNIT, WORD_TEAM, WORD_CHANNELS, WORD_GRAD_WEIGHT, WORD_ACTIVATION };

static void write_before(rl_text_buffer *out, const rl_accel *accel, const rl_accel_spec *spec) {
    rl_line_write(out, accel, spec);
    rl_gemm_write_activation(out, accel, spec);
}

static const rl_accel_family depthwise_family = {.name = "depthwise",
                                                 .text = rl_device_depthwise,
                                                 .words = "DTYPE COLUMNS UNIT TEAM CHANNELS GRAD_WEIGHT ACTIVATION",
                                                 .write = write_before};

/* With more channels of out for each of in, a product fills its vectors with them. */
int rl_depthwise_takes(const rl_accel *self, const rl_conv_args *args) {
    const int64_t multiple = args->groups ? args->out_channels / args->groups : 0;
    if (self->traits.group > 1 || args->groups != args->in_channels || multiple < 1 ||
        4 * multiple > (int64_t)self->traits.width)
        return 0;
    double places = (double)multiple, taps = 1; /* of a thread's images, about */
    for (int64_t d = 0; d < args->spatial; d++) {
        const double reach = (double)args->kernel[d] * (double)args->dilation[d];
        places *= (double)(args->in_size[d] + 2 * args->padding[d] + self->traits.width) + reach;
        places *= (double)args->stride[d]; /* of the gradient's gaps */
        taps *= (double)args->kernel[d];
        if (args->in_size[d] < 1 || args->out_size[d] < 1)
            return 0;
    }
    return args->batch > 0 && (places + taps) * self->traits.width * 8 < RL_ACCEL_MOST_MEMORY / 64.0;
}

/* Whether channels are to be the lanes: they lie next to each other everywhere, and there is work for all threads. */
static int by_channels(const rl_accel *accel, const rl_depthwise *self) {
    const rl_depthwise_params *p = &self->params;
    const int64_t width = accel->traits.width, items = rl_line_up(p->channels, width) * (self->grad ? 1 : p->batch);
    const int64_t along = self->grad ? p->grad_stride[1] : p->out_stride[1];
    return p->parts == 1 && p->divide == 1 && p->in_stride[1] == 1 && along == 1 && 2 * p->channels >= width &&
           items >= rl_accel_usual_units(&accel->traits);
}

static int64_t product(const int64_t *size) {
    return size[0] * size[1] * size[2];
}

static void fill_params(const rl_accel *accel, rl_depthwise *self, int channels) {
    rl_depthwise_params *p = &self->params;
    const int64_t width = accel->traits.width, place = channels ? width : 1, origin = p->origin[2], gap = p->gap[2];
    p->in_at = rl_accel_offset(self->in, self->dtype);
    p->out_at = rl_accel_offset(self->out, self->dtype);
    p->weight_at = rl_accel_offset(self->weight ? self->weight : self->out, self->dtype);
    p->grad_at = self->grad ? rl_accel_offset(self->grad, self->dtype) : 0;
    p->has_bias = self->bias != NULL;
    if (self->bias) {
        p->bias_at = rl_accel_offset(self->bias, self->dtype);
        p->bias_stride = self->bias->stride[0];
    }
    p->skip = origin < 0 ? rl_line_up(-origin, gap) : 0;
    p->count = origin < p->size[2] ? rl_line_up(p->size[2] - origin, gap) : 0;
    p->count = (p->count < p->in_size[2] ? p->count : p->in_size[2]) - p->skip;
    p->taps = product(p->window);
    /* Of whole vectors, also of outputs at the end and of what is stored there. */
    const int64_t reach = (p->window[2] - 1) * p->dilation[2] / p->step[2] + 1;
    const int64_t read = rl_line_up(p->out_size[2], width) * width + reach;
    const int64_t stored = rl_line_up(p->size[2], p->step[2]) + width;
    p->phase_size = channels ? stored - width + 1 : read > stored ? read : stored;
    p->image = rl_line_up(p->size[0] * p->size[1] * p->step[2] * p->phase_size * place, width) * width;
    p->memory = p->parts * (p->image + p->taps * width);
    if (self->grad)
        p->memory += p->out_size[0] * p->out_size[1] *
                     (channels ? p->out_size[2] * width : rl_line_up(p->out_size[2], width) * width);
    p->memory = rl_line_up(p->memory, width) * width;
}

rl_status rl_depthwise_run(rl_backend_stream *stream, const char *row, rl_depthwise *self) {
    static const rl_operand nothing;
    rl_accel *accel = rl_accel_of(stream);
    rl_depthwise_params *p = &self->params;
    const int channels = by_channels(accel, self), grad_weight = self->grad != NULL;
    fill_params(accel, self, channels);
    const int64_t width = accel->traits.width, vectors = channels ? rl_line_up(p->channels, width) : p->channels;
    const int64_t steps = p->parts * p->taps * product(p->out_size) / (channels ? 1 : 4);
    const uint64_t items = (uint64_t)(vectors * (grad_weight ? 1 : p->batch));
    const uint64_t bytes = rl_accel_dtype_bytes(rl_gemm_register(self->dtype));
    const uint64_t groups = rl_accel_groups_with(accel, items, (uint64_t)(steps * (grad_weight ? p->batch : 1)),
                                                 (uint64_t)p->memory * bytes);
    const int unit = channels || (p->in_stride[4] == 1 && (grad_weight ? p->grad_stride : p->out_stride)[4] == 1);
    const rl_accel_spec spec = {.family = &depthwise_family,
                                .word = {[WORD_DTYPE] = (int32_t)self->dtype,
                                         [WORD_COLUMNS] = 1,
                                         [WORD_UNIT] = unit,
                                         [WORD_TEAM] = 1,
                                         [WORD_CHANNELS] = channels,
                                         [WORD_GRAD_WEIGHT] = grad_weight,
                                         [WORD_ACTIVATION] = (int32_t)self->activation}};
    rl_backend_buffer *memory = NULL, *places = NULL;
    rl_status status = accel->driver->scratch(stream, SLOT_MEMORY, groups * (uint64_t)p->memory * bytes, &memory);
    if (!status)
        status = accel->driver->scratch(stream, SLOT_PLACES, groups * (uint64_t)(p->parts * p->taps) * 8, &places);
    if (status)
        return status;
    const rl_accel_arg args[] = {rl_accel_buffer_of(stream, self->in),
                                 rl_accel_buffer_of(stream, self->weight ? self->weight : &nothing),
                                 rl_accel_buffer_of(stream, self->bias ? self->bias : &nothing),
                                 rl_accel_buffer_of(stream, self->grad ? self->grad : &nothing),
                                 rl_accel_buffer_of(stream, self->out),
                                 {.buffer = memory},
                                 {.buffer = places},
                                 RL_ACCEL_VALUE(*p)};
    return rl_accel_run(stream, row, &spec, args, 8, groups);
}
