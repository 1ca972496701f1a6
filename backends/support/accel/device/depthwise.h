/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Convolutions whose groups have one input channel, on processors, after line.h and activation.h (COLUMNS 1, TEAM 1).
 * A thread copies the planes that an item needs to memory of its own, as numbers of the register, with their padding,
 * and with the gaps of a strided convolution's gradient; there each place of the window (tap) is at a fixed distance
 * from an output's first one. Where outputs are p.step[2] apart, a row is kept as so many phases, so that outputs that
 * follow each other read numbers that do. Words:
 *   CHANNELS     1: the lanes of a vector are channels; 0: places along a row
 *   GRAD_WEIGHT  0: an item is a plane (or vector of planes) of out: its taps' numbers by weight, summed over p.parts
 *                planes; 1: an item is a channel of out, for all images: the sums of tap by gradient
 */
#if CHANNELS
#define PLACE(x) ((x)*RL_WIDTH)
#define PLACES 1
#define TAP(weights, t) RL_WIDE(vload, RL_WIDTH)(t, weights)
#else
#define PLACE(x) (x)
#define PLACES RL_WIDTH
#define TAP(weights, t) RL_LOCAL(all)((weights)[t])
#endif
#define NUMBERS(at) RL_WIDE(vload, RL_WIDTH)(0, at)

/* A row of `in` from its place `first` on, `count` places, goes to memory, where it begins at `phase` and `at`. */
RL_FN void RL_LOCAL(copy_row)(const RL_GLOBAL T_DTYPE *in, rl_long stride, int lanes, rl_long count,
                              RL_GLOBAL R_DTYPE *to, rl_long phase, rl_long phases, rl_long phase_size, rl_long gap) {
#if !CHANNELS
    if (phases == 1 && gap == 1) { /* whole vectors: zeros follow */
        for (rl_long x = 0; x < count; x += RL_WIDTH)
            RL_WIDE(vstore, RL_WIDTH)
        (RL_LOCAL(load)(in + x * stride, stride, (int)rl_least(count - x, RL_WIDTH)), 0, to + x);
        return;
    }
#endif
    for (rl_long x = 0; x < count; x++) {
#if CHANNELS
        RL_WIDE(vstore, RL_WIDTH)(RL_LOCAL(load)(in + x * stride, 1, lanes), 0, to);
#else
        *to = I_DTYPE(in[x * stride]);
#endif
        to += PLACE(phase_size);
        if (++phase == phases) {
            phase = 0;
            to += PLACE(gap - phases * phase_size);
        }
    }
}

/* The plane at `in`; `image` holds zeros where none of its places go. */
RL_FN void RL_LOCAL(copy_image)(const RL_GLOBAL T_DTYPE *in, int lanes, RL_GLOBAL R_DTYPE *image,
                                const rl_depthwise_params *p) {
    const rl_long first = p->origin[2] + p->skip * p->gap[2], phase = first % p->step[2];
    for (rl_long i0 = 0; i0 < p->in_size[0]; i0++)
        for (rl_long i1 = 0; i1 < p->in_size[1]; i1++) {
            const rl_long r0 = p->origin[0] + i0 * p->gap[0], r1 = p->origin[1] + i1 * p->gap[1];
            if (r0 < 0 || r0 >= p->size[0] || r1 < 0 || r1 >= p->size[1])
                continue;
            const rl_long row = (r0 * p->size[1] + r1) * p->step[2] * p->phase_size;
            RL_LOCAL(copy_row)
            (in + i0 * p->in_stride[2] + i1 * p->in_stride[3] + p->skip * p->in_stride[4], p->in_stride[4], lanes,
             p->count, image + PLACE(row + phase * p->phase_size + first / p->step[2]), phase, p->step[2],
             p->phase_size, p->gap[2]);
        }
}

/* The distances of taps, for each part. */
RL_FN void RL_LOCAL(place_taps)(RL_GLOBAL rl_long *tap_at, const rl_depthwise_params *p) {
    rl_long t = 0;
    for (rl_long part = 0; part < p->parts; part++)
        for (rl_long k0 = 0; k0 < p->window[0]; k0++)
            for (rl_long k1 = 0; k1 < p->window[1]; k1++)
                for (rl_long k2 = 0; k2 < p->window[2]; k2++) {
                    const rl_long x0 = (p->turned ? p->window[0] - 1 - k0 : k0) * p->dilation[0];
                    const rl_long x1 = (p->turned ? p->window[1] - 1 - k1 : k1) * p->dilation[1];
                    const rl_long x2 = (p->turned ? p->window[2] - 1 - k2 : k2) * p->dilation[2];
                    const rl_long row = (x0 * p->size[1] + x1) * p->step[2];
                    tap_at[t++] = part * p->image + PLACE((row + x2 % p->step[2]) * p->phase_size + x2 / p->step[2]);
                }
}
/* For each tap: its weight's offset from the channel's first. */
#define EACH_TAP(stride)                                                                                               \
    for (rl_long k0 = 0; k0 < p->window[0]; k0++)                                                                      \
        for (rl_long k1 = 0; k1 < p->window[1]; k1++)                                                                  \
            for (rl_long k2 = 0, at = k0 * (stride)[2] + k1 * (stride)[3]; k2 < p->window[2]; k2++, at += (stride)[4])

/* Where the first tap of output (o0, o1, 0) is. */
RL_FN rl_long RL_LOCAL(row_at)(rl_long o0, rl_long o1, const rl_depthwise_params *p) {
    return PLACE((o0 * p->step[0] * p->size[1] + o1 * p->step[1]) * p->step[2] * p->phase_size);
}

#if GRAD_WEIGHT
/* Adds to the sums of each tap what an image gives; `grads` has rows of whole vectors, with zeros at their end. */
RL_FN void RL_LOCAL(add_products)(const RL_GLOBAL R_DTYPE *image, const RL_GLOBAL R_DTYPE *grads,
                                  const RL_GLOBAL rl_long *tap_at, RL_GLOBAL R_DTYPE *sums,
                                  const rl_depthwise_params *p) {
    for (rl_long t = 0; t < p->taps; t++) {
        const RL_GLOBAL R_DTYPE *x = image + tap_at[t], *g = grads;
        V_DTYPE sum = (V_DTYPE)(0);
        for (rl_long o0 = 0; o0 < p->out_size[0]; o0++)
            for (rl_long o1 = 0; o1 < p->out_size[1]; o1++) {
                const RL_GLOBAL R_DTYPE *from = x + RL_LOCAL(row_at)(o0, o1, p);
                for (rl_long o2 = 0; o2 < p->out_size[2]; o2 += PLACES, g += RL_WIDTH)
                    sum = fma(NUMBERS(g), NUMBERS(from + PLACE(o2)), sum);
            }
        RL_WIDE(vstore, RL_WIDTH)(sum + NUMBERS(sums + t * RL_WIDTH), t, sums);
    }
}

RL_FN void RL_LOCAL(copy_grads)(const RL_GLOBAL T_DTYPE *from, int lanes, RL_GLOBAL R_DTYPE *grads,
                                const rl_depthwise_params *p) {
    for (rl_long o0 = 0; o0 < p->out_size[0]; o0++)
        for (rl_long o1 = 0; o1 < p->out_size[1]; o1++)
            for (rl_long o2 = 0; o2 < p->out_size[2]; o2 += PLACES, grads += RL_WIDTH) {
                const int n = CHANNELS ? lanes : (int)rl_least(p->out_size[2] - o2, RL_WIDTH);
                const rl_long at = o0 * p->grad_stride[2] + o1 * p->grad_stride[3] + o2 * p->grad_stride[4];
                RL_WIDE(vstore, RL_WIDTH)(RL_LOCAL(load)(from + at, p->grad_stride[4], n), 0, grads);
            }
}
#else
/* A plane of out, or a vector of planes. */
RL_FN void RL_LOCAL(products)(const RL_GLOBAL R_DTYPE *image, const RL_GLOBAL rl_long *tap_at,
                              const RL_GLOBAL R_DTYPE *weights, V_DTYPE bias, RL_GLOBAL T_DTYPE *out, int lanes,
                              const rl_depthwise_params *p) {
    const rl_long taps = p->parts * p->taps;
    for (rl_long o0 = 0; o0 < p->out_size[0]; o0++)
        for (rl_long o1 = 0; o1 < p->out_size[1]; o1++) {
            const RL_GLOBAL R_DTYPE *from = image + RL_LOCAL(row_at)(o0, o1, p);
            RL_GLOBAL T_DTYPE *to = out + o0 * p->out_stride[2] + o1 * p->out_stride[3];
            for (rl_long o2 = 0; o2 < p->out_size[2]; o2 += PLACES) {
                const int n = CHANNELS ? lanes : (int)rl_least(p->out_size[2] - o2, RL_WIDTH);
                V_DTYPE sum = (V_DTYPE)(0);
                for (rl_long t = 0; t < taps; t++)
                    sum = fma(NUMBERS(from + PLACE(o2) + tap_at[t]), TAP(weights, t), sum);
                RL_LOCAL(store)(to + o2 * p->out_stride[4], p->out_stride[4], n, RL_LOCAL(activate)(sum + bias));
            }
        }
}

/* The taps' weights of channel `channel` of out. */
RL_FN void RL_LOCAL(copy_weights)(const RL_GLOBAL T_DTYPE *w, rl_long channel, int lanes, RL_GLOBAL R_DTYPE *weights,
                                  const rl_depthwise_params *p) {
    for (rl_long part = 0; part < p->parts; part++) {
        const RL_GLOBAL T_DTYPE *from = w + p->weight_at + (channel * p->parts + part) * p->weight_stride[0];
        EACH_TAP(p->weight_stride) {
#if CHANNELS
            RL_WIDE(vstore, RL_WIDTH)(I_DTYPE(rl_load(from + at, p->weight_stride[0], lanes)), 0, weights);
            weights += RL_WIDTH;
#else
            *weights++ = I_DTYPE(from[at]);
#endif
        }
    }
}
#endif

RL_KERNEL(const RL_GLOBAL T_DTYPE *in, const RL_GLOBAL T_DTYPE *w, const RL_GLOBAL T_DTYPE *bias,
          const RL_GLOBAL T_DTYPE *grad, RL_GLOBAL T_DTYPE *out, RL_GLOBAL R_DTYPE *memory, RL_GLOBAL rl_long *places,
          RL_PARAMS(rl_depthwise_params) params) {
    const rl_depthwise_params *p = &params;
    const rl_long vectors = CHANNELS ? (p->channels + RL_WIDTH - 1) / RL_WIDTH : p->channels;
    RL_GLOBAL R_DTYPE *image = memory + RL_GROUP_NUMBER * p->memory, *numbers = image + p->parts * p->image;
    RL_GLOBAL rl_long *tap_at = places + RL_GROUP_NUMBER * p->parts * p->taps;
    for (rl_long x = 0; x < p->parts * p->image; x += RL_WIDTH)
        RL_WIDE(vstore, RL_WIDTH)((V_DTYPE)(0), 0, image + x);
    RL_LOCAL(place_taps)(tap_at, p);
    RL_FOR_ITEMS(item, GRAD_WEIGHT ? vectors : p->batch * vectors, 1) {
        const rl_long batch = item / vectors, channel = (item - batch * vectors) * (CHANNELS ? RL_WIDTH : 1);
        const int lanes = CHANNELS ? (int)rl_least(p->channels - channel, RL_WIDTH) : RL_WIDTH;
#if GRAD_WEIGHT
        RL_GLOBAL R_DTYPE *grads = numbers + p->taps * RL_WIDTH;
        for (rl_long t = 0; t < p->taps; t++)
            RL_WIDE(vstore, RL_WIDTH)((V_DTYPE)(0), t, numbers);
        for (rl_long b = 0; b < p->batch; b++) {
            RL_LOCAL(copy_image)
            (in + p->in_at + b * p->in_stride[0] + channel / p->divide * p->in_stride[1], lanes, image, p);
            RL_LOCAL(copy_grads)
            (grad + p->grad_at + b * p->grad_stride[0] + channel * p->grad_stride[1], lanes, grads, p);
            RL_LOCAL(add_products)(image, grads, tap_at, numbers, p);
        }
        RL_GLOBAL T_DTYPE *to = out + p->weight_at + channel * p->weight_stride[0];
        EACH_TAP(p->weight_stride) {
#if CHANNELS
            rl_store(to + at, p->weight_stride[0], lanes, O_DTYPE(NUMBERS(numbers)));
#else
            to[at] = O_DTYPE(RL_LOCAL(sum)(NUMBERS(numbers)));
#endif
            numbers += RL_WIDTH;
        }
        numbers -= p->taps * RL_WIDTH;
#else
        RL_LOCAL(copy_weights)(w, channel, lanes, numbers, p);
        for (rl_long part = 0; part < p->parts; part++)
            RL_LOCAL(copy_image)
        (in + p->in_at + batch * p->in_stride[0] + (channel * p->parts + part) / p->divide * p->in_stride[1], lanes,
         image + part * p->image, p);
        V_DTYPE more = (V_DTYPE)(0);
        if (p->has_bias)
            more = CHANNELS ? I_DTYPE(rl_load(bias + p->bias_at + channel * p->bias_stride, p->bias_stride, lanes))
                            : RL_LOCAL(all)(I_DTYPE(bias[p->bias_at + channel * p->bias_stride]));
        RL_LOCAL(products)
        (image, tap_at, numbers, more, out + p->out_at + batch * p->out_stride[0] + channel * p->out_stride[1], lanes,
         p);
#endif
    }
}
#undef PLACE
#undef PLACES
#undef TAP
#undef NUMBERS
#undef EACH_TAP
