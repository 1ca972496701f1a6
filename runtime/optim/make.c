/* SPDX-License-Identifier: Apache-2.0 */
/* From the options of each optimizer to the numbers of its rule. */
#include "base/error.h"
#include "base/sized.h"
#include "optim/optimizer.h"

rl_optimizer *rl_optimizer_sgd_opt(rl_module *module, const rl_optimizer_sgd_options *given) {
    static const char function[] = "optimizer_sgd";
    rl_optimizer_sgd_options o = {0};
    if (rl_failed() || rl_sized_take(function, &o, sizeof o, given) != RL_OK)
        return NULL;
    rule_options options = {.lr = rl_option_real(o.lr, 1e-3),
                            .momentum = rl_option_real(o.momentum, 0.0),
                            .dampening = rl_option_real(o.dampening, 0.0),
                            .weight_decay = rl_option_real(o.weight_decay, 0.0),
                            .nesterov = o.nesterov,
                            .maximize = o.maximize};
    return optimizer_new(function, &rule_sgd, &options, module, o.parameters);
}

static rl_optimizer *adam(const char *function, const rule *kind, rl_module *module,
                          const rl_optimizer_adam_options *given, double decay, bool decoupled) {
    rl_optimizer_adam_options o = {0};
    if (rl_failed() || rl_sized_take(function, &o, sizeof o, given) != RL_OK)
        return NULL;
    rule_options options = {.lr = rl_option_real(o.lr, 1e-3),
                            .beta1 = rl_option_real(o.beta1, 0.9),
                            .beta2 = rl_option_real(o.beta2, 0.999),
                            .eps = rl_option_real(o.eps, 1e-8),
                            .weight_decay = rl_option_real(o.weight_decay, decay),
                            .amsgrad = o.amsgrad,
                            .maximize = o.maximize,
                            .decoupled = decoupled};
    return optimizer_new(function, kind, &options, module, o.parameters);
}
rl_optimizer *rl_optimizer_adam_opt(rl_module *module, const rl_optimizer_adam_options *given) {
    return adam("optimizer_adam", &rule_adam, module, given, 0.0, false);
}
rl_optimizer *rl_optimizer_adamw_opt(rl_module *module, const rl_optimizer_adam_options *given) {
    return adam("optimizer_adamw", &rule_adamw, module, given, 0.01, true);
}

rl_optimizer *rl_optimizer_rmsprop_opt(rl_module *module, const rl_optimizer_rmsprop_options *given) {
    static const char function[] = "optimizer_rmsprop";
    rl_optimizer_rmsprop_options o = {0};
    if (rl_failed() || rl_sized_take(function, &o, sizeof o, given) != RL_OK)
        return NULL;
    rule_options options = {.lr = rl_option_real(o.lr, 1e-2),
                            .alpha = rl_option_real(o.alpha, 0.99),
                            .eps = rl_option_real(o.eps, 1e-8),
                            .weight_decay = rl_option_real(o.weight_decay, 0.0),
                            .momentum = rl_option_real(o.momentum, 0.0),
                            .centered = o.centered,
                            .maximize = o.maximize};
    return optimizer_new(function, o.centered ? &rule_rmsprop_centered : &rule_rmsprop, &options, module, o.parameters);
}

rl_optimizer *rl_optimizer_adagrad_opt(rl_module *module, const rl_optimizer_adagrad_options *given) {
    static const char function[] = "optimizer_adagrad";
    rl_optimizer_adagrad_options o = {0};
    if (rl_failed() || rl_sized_take(function, &o, sizeof o, given) != RL_OK)
        return NULL;
    rule_options options = {.lr = rl_option_real(o.lr, 1e-2),
                            .lr_decay = rl_option_real(o.lr_decay, 0.0),
                            .weight_decay = rl_option_real(o.weight_decay, 0.0),
                            .initial = rl_option_real(o.initial_accumulator_value, 0.0),
                            .eps = rl_option_real(o.eps, 1e-10),
                            .maximize = o.maximize};
    return optimizer_new(function, &rule_adagrad, &options, module, o.parameters);
}

rl_optimizer *rl_optimizer_adadelta_opt(rl_module *module, const rl_optimizer_adadelta_options *given) {
    static const char function[] = "optimizer_adadelta";
    rl_optimizer_adadelta_options o = {0};
    if (rl_failed() || rl_sized_take(function, &o, sizeof o, given) != RL_OK)
        return NULL;
    rule_options options = {.lr = rl_option_real(o.lr, 1.0),
                            .alpha = rl_option_real(o.rho, 0.9),
                            .eps = rl_option_real(o.eps, 1e-6),
                            .weight_decay = rl_option_real(o.weight_decay, 0.0),
                            .maximize = o.maximize};
    return optimizer_new(function, &rule_adadelta, &options, module, o.parameters);
}

static rl_optimizer *moments(const char *function, const rule *kind, rl_module *module,
                             const rl_optimizer_moments_options *given, double lr) {
    rl_optimizer_moments_options o = {0};
    if (rl_failed() || rl_sized_take(function, &o, sizeof o, given) != RL_OK)
        return NULL;
    if (kind == &rule_adamax && o.decoupled_weight_decay)
        return rl_fail_null(RL_INVALID_ARGUMENT, "%s: it has no decoupled_weight_decay", function);
    rule_options options = {.lr = rl_option_real(o.lr, lr),
                            .beta1 = rl_option_real(o.beta1, 0.9),
                            .beta2 = rl_option_real(o.beta2, 0.999),
                            .eps = rl_option_real(o.eps, 1e-8),
                            .weight_decay = rl_option_real(o.weight_decay, 0.0),
                            .momentum_decay = rl_option_real(o.momentum_decay, 4e-3),
                            .decoupled = o.decoupled_weight_decay,
                            .maximize = o.maximize};
    return optimizer_new(function, kind, &options, module, o.parameters);
}
rl_optimizer *rl_optimizer_adamax_opt(rl_module *module, const rl_optimizer_moments_options *given) {
    return moments("optimizer_adamax", &rule_adamax, module, given, 2e-3);
}
rl_optimizer *rl_optimizer_nadam_opt(rl_module *module, const rl_optimizer_moments_options *given) {
    return moments("optimizer_nadam", &rule_nadam, module, given, 2e-3);
}
rl_optimizer *rl_optimizer_radam_opt(rl_module *module, const rl_optimizer_moments_options *given) {
    return moments("optimizer_radam", &rule_radam, module, given, 1e-3);
}
