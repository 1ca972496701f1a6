/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RUSHLIGHT_RUNTIME_NN_MODULE_H
#define RUSHLIGHT_RUNTIME_NN_MODULE_H

#include "base/object.h"
#include "rushlight/nn.h"

typedef enum module_entry_kind { MODULE_PARAMETER, MODULE_BUFFER, MODULE_CHILD } module_entry_kind;

typedef struct module_entry {
    module_entry_kind kind;
    char *name;
    void *object; /* rl_tensor or rl_module; retained */
} module_entry;

struct rl_module {
    rl_object object;
    const rl_module_class *klass; /* own_class, a copy: what its maker did not know of is NULL */
    rl_module_class own_class;
    bool training;
    module_entry *entries; /* in the order of registration */
    int64_t n_entries, room;
    char **state_names; /* what rl_module_state gave out */
    int64_t n_state_names;
    _Alignas(max_align_t) unsigned char data[];
};

static inline rl_tensor *entry_tensor(const module_entry *entry) {
    return entry->kind == MODULE_CHILD ? NULL : entry->object;
}
static inline rl_module *entry_child(const module_entry *entry) {
    return entry->kind == MODULE_CHILD ? entry->object : NULL;
}
/* The result of a convolution's module with ReLU after it, by one op; NULL where `self` is no such module. */
rl_tensor *rl_nn_conv_with_relu(rl_module *self, rl_tensor *input);
/* The names that rl_module_state gave out are no longer right. */
void rl_module_forget_names(rl_module *self);
/* A Linear that prints as attention's projection does. */
rl_module *rl_nn_out_proj(int64_t in, int64_t out, const rl_nn_linear_options *options);

#endif
