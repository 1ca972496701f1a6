/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gradient scaler. The scale is an f32 number on the host, as a step has to ask there anyway whether all gradients
 * are finite; that they are is found on the device, one reduction a gradient and one read a step.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/sized.h"
#include "base/text.h"
#include "optim/gradients.h"
#include "optim/rules.h"
#include "rushlight/amp.h"
#include "rushlight/autograd.h"
#include "rushlight/io.h"
#include "rushlight/ops.h"

typedef enum stage { READY, UNSCALED, STEPPED } stage;

typedef struct served { /* an optimizer since the last update */
    rl_optimizer *optimizer;
    stage stage;
    rl_tensor *bad; /* 1 where a gradient was not finite, 0-dimensional; NULL: it had no gradients */
} served;

struct rl_grad_scaler {
    rl_object object;
    bool enabled;
    float scale;
    double growth_factor, backoff_factor;
    int64_t growth_interval, since_growth;
    served *optimizers;
    int64_t count, room;
};

/* The life of a scaler ----------------------------------------------------------------------------------------------
 */

static void forget(rl_grad_scaler *self) {
    for (int64_t i = 0; i < self->count; i++) {
        rl_release(self->optimizers[i].optimizer);
        rl_release(self->optimizers[i].bad);
    }
    self->count = 0;
}
static void scaler_destroy(rl_object *object) {
    rl_grad_scaler *self = (rl_grad_scaler *)object;
    forget(self);
    rl_free(self->optimizers);
    rl_free(self);
}
static const rl_object_class scaler_class = {"gradient scaler", scaler_destroy};

static rl_status check_scale(const char *function, double scale) {
    return scale > 0.0 && isfinite((float)scale)
               ? RL_OK
               : rl_fail(RL_INVALID_ARGUMENT, "%s: the scale must be a number above 0, got %g", function, scale);
}

static rl_status check_options(const rl_grad_scaler_options *o) {
    if (!(o->growth_factor > 1.0) || isinf(o->growth_factor))
        return rl_fail(RL_INVALID_ARGUMENT, "grad_scaler: growth_factor must be above 1, got %g", o->growth_factor);
    if (!(o->backoff_factor > 0.0 && o->backoff_factor < 1.0))
        return rl_fail(RL_INVALID_ARGUMENT, "grad_scaler: backoff_factor must lie between 0 and 1, got %g",
                       o->backoff_factor);
    if (o->growth_interval < 1)
        return rl_fail(RL_INVALID_ARGUMENT, "grad_scaler: growth_interval must be above 0, got %lld",
                       (long long)o->growth_interval);
    return check_scale("grad_scaler", o->init_scale);
}

rl_grad_scaler *rl_grad_scaler_new_opt(const rl_grad_scaler_options *given) {
    rl_grad_scaler_options o = {0};
    rl_grad_scaler *self;
    if (rl_failed() || rl_sized_take("grad_scaler", &o, sizeof o, given) != RL_OK)
        return NULL;
    o.init_scale = rl_option_real(o.init_scale, 65536.0);
    o.growth_factor = rl_option_real(o.growth_factor, 2.0);
    o.backoff_factor = rl_option_real(o.backoff_factor, 0.5);
    o.growth_interval = rl_option_int(o.growth_interval, 2000);
    if (check_options(&o) || !(self = rl_alloc_zero(1, sizeof *self, "gradient scaler")))
        return NULL;
    rl_object_init(&self->object, &scaler_class);
    self->enabled = rl_option_truth(o.enabled, true);
    self->scale = (float)o.init_scale;
    self->growth_factor = o.growth_factor;
    self->backoff_factor = o.backoff_factor;
    self->growth_interval = o.growth_interval;
    return rl_object_own(self);
}

bool rl_grad_scaler_is_enabled(const rl_grad_scaler *self) {
    return self && self->enabled;
}
double rl_grad_scaler_get_scale(const rl_grad_scaler *self) {
    return rl_grad_scaler_is_enabled(self) ? (double)self->scale : 1.0;
}
rl_status rl_grad_scaler_set_scale(rl_grad_scaler *self, double scale) {
    if (optimizer_check_self(self, "grad_scaler_set_scale") || check_scale("grad_scaler_set_scale", scale))
        return rl_error_status();
    self->scale = (float)scale;
    return RL_OK;
}

/* Unscaling ---------------------------------------------------------------------------------------------------------
 */

rl_tensor *rl_grad_scaler_scale(rl_grad_scaler *self, rl_tensor *loss) {
    if (optimizer_check_self(self, "grad_scaler_scale"))
        return NULL;
    return self->enabled ? rl_mul(loss, (double)self->scale) : loss;
}

static served *served_of(rl_grad_scaler *self, rl_optimizer *optimizer) {
    for (int64_t i = 0; i < self->count; i++)
        if (self->optimizers[i].optimizer == optimizer)
            return &self->optimizers[i];
    if (self->count == self->room) {
        int64_t room = self->room ? 2 * self->room : 2;
        served *grown = rl_realloc(self->optimizers, (size_t)room, sizeof *grown, "gradient scaler");
        if (!grown)
            return NULL;
        self->optimizers = grown;
        self->room = room;
    }
    self->optimizers[self->count] = (served){.optimizer = rl_retain(optimizer)};
    return &self->optimizers[self->count++];
}

/* 1 where the element is not finite: x - x is 0 where it is, else NaN. */
static const rl_program *bad_program(rl_dtype dtype) {
    rl_builder builder, *b = &builder;
    rl_dtype c = compute_dtype(dtype);
    rl_builder_init(b);
    rl_pw g = input(b, dtype, c), none = rl_build_constant(b, c, 0.0);
    rl_build_output(b, rl_build_cast(b, OP2(NE, OP2(SUB, g, g), none), RL_F32), RL_F32);
    return rl_builder_finish(b);
}

/* Whether any element of a gradient is not finite, into a 0-dimensional f32. */
static rl_status find_bad(rl_tensor *gradient, rl_tensor *out) {
    const rl_program *program = bad_program((rl_dtype)gradient->dtype);
    if (!program || !out)
        return rl_error_status();
    uint32_t all = (1u << gradient->ndim) - 1;
    return rl_row_reduce("grad_scaler_unscale", &(rl_reduce_task){.prologue = program,
                                                                  .combiner = {RL_COMBINE_MAX},
                                                                  .inputs = &gradient,
                                                                  .outputs = &out,
                                                                  .ndim = gradient->ndim,
                                                                  .shape = gradient->shape,
                                                                  .reduced = all});
}

static const rl_program *times_program(rl_dtype grad_dtype, rl_dtype unused) {
    rl_builder builder, *b = &builder;
    rl_dtype c = compute_dtype(grad_dtype);
    (void)unused;
    rl_builder_init(b);
    rl_build_output(b, OP2(MUL, input(b, grad_dtype, c), rl_build_scalar(b, c)), grad_dtype);
    return rl_builder_finish(b);
}

/* All flags where the first gradient is, and then the largest of them. */
static rl_tensor *find_all_bad(rl_tensor **gradients, int64_t count) {
    rl_device *home = gradients[0]->storage->device;
    rl_tensor **flags = rl_alloc_zero((size_t)count, sizeof *flags, "gradient scaler"), *bad = NULL;
    for (int64_t i = 0; flags && i < count && !rl_failed(); i++) {
        rl_tensor *flag = rl_zeros(RL_NO_DIMS, .dtype = RL_F32, .device = gradients[i]->storage->device);
        if (flag && gradients[i]->numel > 0)
            find_bad(gradients[i], flag);
        flags[i] = rl_to(flag, .device = home);
    }
    if (!rl_failed())
        bad = rl_amax(rl_stack(((rl_tensors){flags, count})));
    rl_free(flags);
    return bad;
}

static rl_status unscale(const rl_grad_scaler *self, served *of) {
    const rl_optimizer *optimizer = of->optimizer;
    rl_tensor **gradients = rl_alloc_zero((size_t)optimizer->count + 1, sizeof *gradients, "gradient scaler");
    int64_t count = 0;
    rl_number factor = {.f = (double)(1.0f / self->scale)};
    gradient_work work = {"grad_scaler_unscale", times_program, NULL, &factor};
    RL_SCOPE();
    RL_NO_GRAD();
    for (int64_t i = 0; gradients && i < optimizer->count && !rl_failed(); i++) {
        rl_tensor *gradient = rl_grad(optimizer->slots[i].parameter);
        if (!gradient)
            continue;
        if (gradient->dtype == RL_F16)
            rl_fail(
                RL_INVALID_ARGUMENT,
                "grad_scaler_unscale: the gradient of parameter %lld is f16, where it may vanish when it is divided: "
                "keep parameters in f32 and use autocast",
                (long long)i);
        gradients[count++] = gradient;
    }
    rl_tensor *bad = rl_failed() || count == 0 ? NULL : find_all_bad(gradients, count);
    if (!rl_failed() && gradients_change(&work, gradients, count) == RL_OK) {
        of->bad = rl_retain(bad);
        of->stage = UNSCALED;
    }
    rl_free(gradients);
    return rl_error_status();
}

static rl_status check_both(const rl_grad_scaler *self, const rl_optimizer *optimizer, const char *function) {
    if (optimizer_check_self(self, function))
        return rl_error_status();
    return optimizer ? RL_OK : rl_fail(RL_INVALID_ARGUMENT, "%s: optimizer is NULL", function);
}

rl_status rl_grad_scaler_unscale(rl_grad_scaler *self, rl_optimizer *optimizer) {
    static const char function[] = "grad_scaler_unscale";
    if (check_both(self, optimizer, function) || !self->enabled)
        return rl_error_status();
    served *of = served_of(self, optimizer);
    if (of && of->stage != READY)
        return rl_fail(RL_INVALID_ARGUMENT, "%s: the optimizer %s since the last update", function,
                       of->stage == UNSCALED ? "was unscaled before" : "has stepped");
    return of ? unscale(self, of) : rl_error_status();
}

/* Steps -------------------------------------------------------------------------------------------------------------
 */

rl_status rl_grad_scaler_step_opt(rl_grad_scaler *self, rl_optimizer *optimizer, bool *out_stepped) {
    static const char function[] = "grad_scaler_step";
    bool unused, *stepped = out_stepped ? out_stepped : &unused;
    *stepped = false;
    if (check_both(self, optimizer, function))
        return rl_error_status();
    served *of = self->enabled ? served_of(self, optimizer) : NULL;
    if (rl_failed() || (of && of->stage == READY && unscale(self, of)))
        return rl_error_status();
    if (of && of->stage == STEPPED)
        return rl_fail(RL_INVALID_ARGUMENT, "%s: the optimizer has stepped since the last update", function);
    bool bad = of && of->bad && rl_item(of->bad) != 0.0;
    if (!rl_failed() && !bad)
        *stepped = rl_optimizer_step(optimizer) == RL_OK;
    if (of && !rl_failed())
        of->stage = STEPPED;
    return rl_error_status();
}

rl_status rl_grad_scaler_update(rl_grad_scaler *self) {
    bool bad = false, any = false;
    if (optimizer_check_self(self, "grad_scaler_update") || !self->enabled)
        return rl_error_status();
    for (int64_t i = 0; i < self->count; i++) {
        any = any || self->optimizers[i].stage != READY;
        bad = bad || (self->optimizers[i].bad && rl_item(self->optimizers[i].bad) != 0.0);
    }
    if (rl_failed())
        return rl_error_status();
    if (!any)
        return rl_fail(RL_INVALID_ARGUMENT, "grad_scaler_update: no optimizer was stepped since the last update");
    if (bad) {
        self->scale = (float)((double)self->scale * self->backoff_factor);
        self->since_growth = 0;
    } else if (++self->since_growth >= self->growth_interval) {
        float grown = (float)((double)self->scale * self->growth_factor);
        self->scale = isfinite(grown) ? grown : self->scale;
        self->since_growth = 0;
    }
    forget(self);
    return RL_OK;
}

/* Files -------------------------------------------------------------------------------------------------------------
 */

enum { LINES = 5, ROOM = 32 };
static const char *const keys[LINES] = {"scale", "growth_factor", "backoff_factor", "growth_interval",
                                        "growth_tracker"};

rl_status rl_grad_scaler_save(rl_grad_scaler *self, const char *path) {
    RL_C_LOCALE();
    char texts[LINES][ROOM];
    rl_metadata lines[LINES + 1] = {{"grad_scaler", "1"}};
    if (optimizer_check_self(self, "grad_scaler_save"))
        return rl_error_status();
    const double values[LINES] = {(double)self->scale, self->growth_factor, self->backoff_factor,
                                  (double)self->growth_interval, (double)self->since_growth};
    for (int i = 0; i < LINES; i++) {
        snprintf(texts[i], ROOM, "%.17g", values[i]);
        lines[i + 1] = (rl_metadata){keys[i], texts[i]};
    }
    return rl_safetensors_save(path, NULL, (rl_tensors){0}, lines, LINES + 1);
}

rl_status rl_grad_scaler_load(rl_grad_scaler *self, const char *path) {
    RL_C_LOCALE();
    double values[LINES] = {0};
    RL_SCOPE();
    if (optimizer_check_self(self, "grad_scaler_load"))
        return rl_error_status();
    const rl_safetensors *file = rl_safetensors_open(path);
    for (int i = 0; i < LINES && !rl_failed(); i++) {
        const char *text = rl_safetensors_metadata_value(file, keys[i]);
        char *end = NULL;
        values[i] = text ? strtod(text, &end) : NAN;
        if (!(values[i] >= 0.0 && values[i] <= 3.4028234663852886e38) || *end)
            rl_fail(RL_BAD_FORMAT, "grad_scaler_load: '%s' must be a number, got '%.32s'", keys[i], text ? text : "");
    }
    if (rl_failed() || check_options(&(rl_grad_scaler_options){.init_scale = values[0],
                                                               .growth_factor = values[1],
                                                               .backoff_factor = values[2],
                                                               .growth_interval = (int64_t)fmin(values[3], 1e15)}))
        return rl_error_status();
    self->scale = (float)values[0];
    self->growth_factor = values[1];
    self->backoff_factor = values[2];
    self->growth_interval = (int64_t)fmin(values[3], 1e15);
    self->since_growth = (int64_t)fmin(values[4], 1e15);
    return RL_OK;
}
