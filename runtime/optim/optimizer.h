/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RUSHLIGHT_RUNTIME_OPTIM_OPTIMIZER_H
#define RUSHLIGHT_RUNTIME_OPTIM_OPTIMIZER_H

#include "base/object.h"
#include "dispatch/dispatch.h"
#include "rushlight/optim.h"

#define RULE_STATES 3   /* state tensors of a parameter at most */
#define RULE_SCALARS 10 /* launch scalars of a rule at most */

typedef struct rule rule;

/* The numbers of every rule; each uses its own. */
typedef struct rule_options {
    double lr, momentum, dampening, weight_decay;
    double beta1, beta2, eps;
    double alpha; /* RMSprop's alpha, Adadelta's rho */
    double lr_decay, momentum_decay;
    double initial; /* what state tensors begin with */
    bool nesterov, maximize, amsgrad, decoupled, centered;
} rule_options;

/* What a rule knows of a parameter beside its tensors. */
typedef struct rule_step {
    int64_t number; /* of the step that is about to be taken, from 1 */
    double product; /* of NAdam's momenta before that step */
} rule_step;

struct rule {
    const char *name; /* "SGD" */
    bool has_momentum, has_betas;
    rl_status (*check)(const char *function, const rule_options *options); /* function: for the sentence */
    int (*n_states)(const rule_options *options);
    const char *state_names[RULE_STATES];
    /* The program of a step: inputs parameter, gradient, states; outputs parameter, states. */
    const rl_program *(*program)(const rule_options *options, int64_t step, rl_dtype dtype, rl_dtype grad_dtype);
    /* Which of its programs a step takes (SGD's first is another one); NULL: there is but one. */
    int (*variant)(const rule_options *options, int64_t step);
    /* Its launch scalars, in the order in which program made them. */
    void (*scalars)(const rule_options *options, const rule_step *step, rl_number *out);
    /* The product after a step; NULL: the rule has none. */
    double (*product)(const rule_options *options, const rule_step *step);
};
extern const rule rule_sgd, rule_adam, rule_adamw, rule_rmsprop, rule_rmsprop_centered, rule_adagrad, rule_adadelta,
    rule_adamax, rule_nadam, rule_radam;

typedef struct slot { /* a parameter and its state */
    rl_tensor *parameter;
    int64_t group;
    rl_tensor *states[RULE_STATES]; /* NULL before its first step */
    int64_t steps;                  /* taken so far */
    double product;                 /* of rules that have one; 1 at first */
} slot;

typedef struct known_program { /* programs of a group, found without building them again */
    uint8_t dtype, grad_dtype;
    int variant;
    const rl_program *program;
} known_program;
#define KNOWN_PROGRAMS 4

typedef struct group {
    rule_options options;
    double initial_lr; /* what the first schedule found; NAN before */
    known_program known[KNOWN_PROGRAMS];
} group;

typedef struct due_slot { /* a slot with what its step runs */
    slot *slot;
    const rl_program *program;
} due_slot;

typedef struct slot_job { /* what a slot's job of a map call points to */
    rl_tensor *inputs[2 + RULE_STATES], *outputs[1 + RULE_STATES];
    rl_number scalars[RULE_SCALARS];
} slot_job;

struct rl_optimizer {
    rl_object object;
    const rule *rule;
    int64_t n_groups, count;
    group *groups;
    slot *slots;
    /* Room for one step's work, of all slots: a step is one map call for each program and device, however many. */
    due_slot *due;
    slot_job *jobs;
    rl_map_task *tasks;
};

/* What the makers of optimizers share: an optimizer of that rule over the module's parameters, or these. `function` is
 * what was called, for sentences. */
rl_optimizer *optimizer_new(const char *function, const rule *kind, const rule_options *options, rl_module *module,
                            rl_tensors parameters);
/* State tensors where the parameter is and as it is: new ones at first, moved along when the parameter was moved. */
rl_status optimizer_make_states(const rl_optimizer *self, slot *of);
/* As before the first step. */
void optimizer_drop_states(slot *of);
/* The sticky error, or one that self is NULL. */
rl_status optimizer_check_self(const void *self, const char *function);

#endif
