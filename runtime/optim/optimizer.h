/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RUSHLIGHT_RUNTIME_OPTIM_OPTIMIZER_H
#define RUSHLIGHT_RUNTIME_OPTIM_OPTIMIZER_H

#include "base/object.h"
#include "dispatch/program.h"
#include "rushlight/optim.h"

#define RULE_STATES 3 /* state tensors of a parameter at most */

typedef struct rule rule;

/* The numbers of every rule; each uses its own. */
typedef struct rule_options {
    double lr, momentum, dampening, weight_decay;
    double beta1, beta2, eps;
    bool nesterov, maximize, amsgrad, decoupled;
} rule_options;

struct rule {
    const char *name; /* "SGD" */
    rl_status (*check)(const rule_options *options);
    int (*n_states)(const rule_options *options);
    const char *state_names[RULE_STATES];
    /* The program of a step: inputs parameter, gradient, states; outputs parameter, states. `step` counts from 1 and
     * may choose another program (SGD's first). */
    const rl_program *(*program)(const rule_options *options, int64_t step, rl_dtype dtype, rl_dtype grad_dtype);
    /* Its launch scalars, in the order in which program made them. */
    void (*scalars)(const rule_options *options, int64_t step, rl_number *out);
};
extern const rule rule_sgd, rule_adam, rule_adamw;

typedef struct slot { /* a parameter and its state */
    rl_tensor *parameter;
    rl_tensor *states[RULE_STATES]; /* NULL before its first step */
    int64_t steps;                  /* taken so far */
} slot;

typedef struct known_program { /* programs of this optimizer, found without building them again */
    uint8_t dtype, grad_dtype;
    bool first_step;
    const rl_program *program;
} known_program;

struct rl_optimizer {
    rl_object object;
    const rule *rule;
    rule_options options;
    known_program known[4];
    int64_t count;
    slot *slots;
    slot **due; /* room for one step's work */
};

/* State tensors where the parameter is and as it is: zeros at first, moved along when the parameter was moved. */
rl_status optimizer_make_states(const rl_optimizer *self, slot *of);
/* As before the first step. */
void optimizer_drop_states(slot *of);

#endif
