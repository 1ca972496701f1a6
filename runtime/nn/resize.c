/* SPDX-License-Identifier: Apache-2.0 */
/* Upsample, margins, channels into space, dropout of channels. */
#include "base/error.h"
#include "base/sized.h"
#include "nn/layer.h"

/* Upsample -----------------------------------------------------------------------------------------------------------
 */

typedef struct upsample {
    int64_t count, size[MOST_SPATIAL], align; /* align as the op's option */
    double factor;                            /* 0: size counts */
    char mode[16];
} upsample;

static rl_tensor *upsample_forward(rl_module *self, rl_tensor *x) {
    const upsample *u = rl_module_data(self);
    return rl_interpolate(x, .size = RL_INTS(u->size, u->count), .scale_factor = u->factor, .mode = u->mode,
                          .align_corners = u->align);
}
static void upsample_describe(const rl_module *self, char *text, size_t room) {
    const upsample *u = rl_module_data(self);
    if (u->factor != 0.0)
        snprintf(text, room, "scale_factor=%s, mode='%s'", PYTHON_FLOAT(u->factor), u->mode);
    else if (u->count == 1)
        snprintf(text, room, "size=%lld, mode='%s'", (long long)u->size[0], u->mode);
    else if (u->count == 2)
        snprintf(text, room, "size=(%lld, %lld), mode='%s'", (long long)u->size[0], (long long)u->size[1], u->mode);
    else
        snprintf(text, room, "size=(%lld, %lld, %lld), mode='%s'", (long long)u->size[0], (long long)u->size[1],
                 (long long)u->size[2], u->mode);
}
static const rl_module_class upsample_class = {.struct_size = sizeof(rl_module_class),
                                               .name = "Upsample",
                                               .data_bytes = sizeof(upsample),
                                               .forward = upsample_forward,
                                               .describe = upsample_describe};

rl_module *rl_nn_upsample_opt(const rl_nn_upsample_options *given) {
    rl_nn_upsample_options options = {0};
    if (rl_failed() || rl_sized_take("upsample", &options, sizeof options, given) != RL_OK)
        return NULL;
    const char *mode = options.mode ? options.mode : "nearest";
    upsample u = {.count = options.size.count,
                  .align = options.align_corners,
                  .factor = rl_option_real(options.scale_factor, 0.0)};
    if ((options.size.count > 0) == (options.scale_factor != 0.0) || options.size.count > MOST_SPATIAL)
        return rl_fail_null(RL_INVALID_ARGUMENT, "upsample: give either size, of 1 to 3 numbers, or scale_factor");
    if (u.count <= 0 && !(u.factor > 0.0))
        return rl_fail_null(RL_INVALID_ARGUMENT, "upsample: scale_factor must be above 0, got %g", u.factor);
    if (strlen(mode) >= sizeof u.mode)
        return rl_fail_null(RL_INVALID_ARGUMENT, "upsample: there is no mode '%.40s'", mode);
    memcpy(u.mode, mode, strlen(mode) + 1);
    for (int64_t d = 0; d < u.count; d++)
        u.size[d] = options.size.data[d];
    rl_module *self = rl_module_new(&upsample_class);
    if (self)
        memcpy(rl_module_data(self), &u, sizeof u);
    return self;
}

/* Margins ------------------------------------------------------------------------------------------------------------
 */

typedef struct padding {
    int64_t count, sides[2 * MOST_SPATIAL];
    const char *mode; /* of the op */
    double value;
    bool shows_value;
} padding;

static rl_tensor *padding_forward(rl_module *self, rl_tensor *x) {
    const padding *p = rl_module_data(self);
    rl_ints sides = RL_INTS(p->sides, p->count);
    return strcmp(p->mode, "constant") == 0 ? rl_constant_pad_nd(x, sides, .value = p->value)
                                            : rl_pad(x, sides, .mode = p->mode);
}
static void padding_describe(const rl_module *self, char *text, size_t room) {
    const padding *p = rl_module_data(self);
    char line[256];
    size_t used = (size_t)snprintf(line, sizeof line, "%s(", p->shows_value ? "padding=" : "");
    for (int64_t i = 0; i < p->count; i++)
        used += (size_t)snprintf(line + used, sizeof line - used, "%s%lld", i ? ", " : "", (long long)p->sides[i]);
    used += (size_t)snprintf(line + used, sizeof line - used, ")");
    if (p->shows_value)
        snprintf(line + used, sizeof line - used, ", value=%s", PYTHON_FLOAT(p->value));
    snprintf(text, room, "%s", line);
}

#define CLASS(title)                                                                                                   \
    {                                                                                                                  \
        .struct_size = sizeof(rl_module_class), .name = title, .data_bytes = sizeof(padding),                          \
        .forward = padding_forward, .describe = padding_describe                                                       \
    }
#define CLASSES(title)                                                                                                 \
    { CLASS(title "1d"), CLASS(title "2d"), CLASS(title "3d") }
static const struct {
    const char *mode, *of_op;
    rl_module_class classes[MOST_SPATIAL];
} modes[] = {{"zero", "constant", CLASSES("ZeroPad")},
             {"constant", "constant", CLASSES("ConstantPad")},
             {"reflect", "reflect", CLASSES("ReflectionPad")},
             {"replicate", "replicate", CLASSES("ReplicationPad")},
             {"circular", "circular", CLASSES("CircularPad")}};
#define MODES (sizeof modes / sizeof *modes)

rl_module *rl_nn_pad(int spatial, const char *mode, rl_ints given, double value) {
    padding p = {.count = 2 * (int64_t)spatial, .value = value};
    size_t m = 0;
    if (rl_failed())
        return NULL;
    if (spatial < 1 || spatial > MOST_SPATIAL)
        return rl_fail_null(RL_INVALID_ARGUMENT, "pad: spatial must be 1, 2 or 3, got %d", spatial);
    while (m < MODES && strcmp(mode ? mode : "", modes[m].mode) != 0)
        m++;
    if (m == MODES)
        return rl_fail_null(RL_INVALID_ARGUMENT,
                            "pad: mode must be 'zero', 'constant', 'reflect', 'replicate' or 'circular', got '%.40s'",
                            mode ? mode : "NULL");
    const rl_module_class *klass = &modes[m].classes[spatial - 1];
    if (given.count != 1 && given.count != p.count)
        return rl_fail_null(RL_INVALID_ARGUMENT, "%s: padding must be 1 number or %lld, got %lld", klass->name,
                            (long long)p.count, (long long)given.count);
    for (int64_t i = 0; i < p.count; i++)
        p.sides[i] = given.data[given.count == 1 ? 0 : i];
    p.mode = modes[m].of_op;
    p.shows_value = strcmp(modes[m].mode, "constant") == 0;
    rl_module *self = rl_module_new(klass);
    if (self)
        memcpy(rl_module_data(self), &p, sizeof p);
    return self;
}

/* Channels -----------------------------------------------------------------------------------------------------------
 */

LAYER(pixel_shuffle, "PixelShuffle", rl_pixel_shuffle(input, n->i), "upscale_factor=%lld", (long long)n->i)
LAYER(pixel_unshuffle, "PixelUnshuffle", rl_pixel_unshuffle(input, n->i), "downscale_factor=%lld", (long long)n->i)
LAYER(channel_shuffle, "ChannelShuffle", rl_channel_shuffle(input, n->i), "groups=%lld", (long long)n->i)

#define TRAINING rl_option_of_truth(rl_module_is_training(self))
#define DROPOUT(op, text)                                                                                              \
    LAYER(op, text, rl_##op(input, .p = rl_option_of_real(n->a), .train = TRAINING), "p=%s, inplace=False",            \
          PYTHON_FLOAT(n->a))                                                                                          \
    rl_module *rl_nn_##op(double p) {                                                                                  \
        return dropout_new(&op##_class, p);                                                                            \
    }
static rl_module *dropout_new(const rl_module_class *klass, double p) {
    if (!rl_failed() && !(p >= 0.0 && p <= 1.0))
        return rl_fail_null(RL_INVALID_ARGUMENT, "%s: p must lie within 0 and 1, got %g", klass->name, p);
    return layer_new(klass, (layer_numbers){.a = p});
}
DROPOUT(dropout1d, "Dropout1d")
DROPOUT(dropout2d, "Dropout2d")
DROPOUT(dropout3d, "Dropout3d")
#undef TRAINING
#define TRAINING rl_module_is_training(self)
DROPOUT(alpha_dropout, "AlphaDropout")
DROPOUT(feature_alpha_dropout, "FeatureAlphaDropout")

static rl_module *factor_new(const rl_module_class *klass, const char *name, int64_t factor) {
    if (!rl_failed() && factor < 1)
        return rl_fail_null(RL_INVALID_ARGUMENT, "%s: %s must be at least 1, got %lld", klass->name, name,
                            (long long)factor);
    return layer_new(klass, (layer_numbers){.i = factor});
}
rl_module *rl_nn_pixel_shuffle(int64_t upscale_factor) {
    return factor_new(&pixel_shuffle_class, "upscale_factor", upscale_factor);
}
rl_module *rl_nn_pixel_unshuffle(int64_t downscale_factor) {
    return factor_new(&pixel_unshuffle_class, "downscale_factor", downscale_factor);
}
rl_module *rl_nn_channel_shuffle(int64_t groups) {
    return factor_new(&channel_shuffle_class, "groups", groups);
}
