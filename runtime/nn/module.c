/* SPDX-License-Identifier: Apache-2.0 */
#include "nn/module.h"

#include <stddef.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "rushlight/autograd.h"
#include "tensor/tensor.h"

static void module_destroy(rl_object *object) {
    rl_module *self = (rl_module *)object;
    if (self->klass->destroy)
        self->klass->destroy(self);
    for (int64_t i = 0; i < self->n_entries; i++) {
        rl_free(self->entries[i].name);
        rl_release(self->entries[i].object);
    }
    rl_module_forget_names(self);
    rl_free(self->entries);
    rl_free(self);
}
static const rl_object_class module_object_class = {"module", module_destroy};

rl_module *rl_module_new(const rl_module_class *klass) {
    rl_module *self;
    if (rl_failed())
        return NULL;
    if (!klass || klass->struct_size < offsetof(rl_module_class, forward_many) || !klass->name || !klass->forward)
        return rl_fail_null(RL_INVALID_ARGUMENT, "module_new: the class must have struct_size, name and forward");
    if (klass->data_bytes > SIZE_MAX / 2)
        return rl_fail_null(RL_INVALID_ARGUMENT, "module_new: data_bytes of %zu is too large", klass->data_bytes);
    if (!(self = rl_alloc_zero(1, sizeof *self + klass->data_bytes, "module")))
        return NULL;
    rl_object_init(&self->object, &module_object_class);
    self->klass = klass;
    self->training = true;
    return rl_object_own(self);
}

void *rl_module_data(const rl_module *self) {
    return self ? (void *)(uintptr_t)self->data : NULL;
}

/* Registration
 * --------------------------------------------------------------------------------------------------------- */

static rl_status check_name(const rl_module *self, const char *what, const char *name) {
    if (!name || !*name)
        return rl_fail(RL_INVALID_ARGUMENT, "%s of %s: the name must not be empty", what, self->klass->name);
    if (strchr(name, '.'))
        return rl_fail(RL_INVALID_ARGUMENT, "%s of %s: the name '%.60s' must not contain a dot", what,
                       self->klass->name, name);
    for (int64_t i = 0; i < self->n_entries; i++)
        if (!strcmp(self->entries[i].name, name))
            return rl_fail(RL_INVALID_ARGUMENT, "%s of %s: the name '%.60s' is taken", what, self->klass->name, name);
    return RL_OK;
}

static rl_status add_entry(rl_module *self, module_entry_kind kind, const char *name, void *object) {
    char *copy;
    if (self->n_entries == self->room) {
        int64_t room = self->room ? self->room * 2 : 4;
        module_entry *grown = rl_realloc(self->entries, (size_t)room, sizeof *grown, "module");
        if (!grown)
            return RL_OUT_OF_MEMORY;
        self->entries = grown;
        self->room = room;
    }
    if (!(copy = rl_strdup(name, "module")))
        return RL_OUT_OF_MEMORY;
    self->entries[self->n_entries++] = (module_entry){kind, copy, rl_retain(object)};
    rl_module_forget_names(self);
    return RL_OK;
}

/* Whether `self` can be reached from `from` by children: adding would close a circle. */
static bool reaches(const rl_module *from, const rl_module *self) {
    if (from == self)
        return true;
    for (int64_t i = 0; i < from->n_entries; i++)
        if (entry_child(&from->entries[i]) && reaches(entry_child(&from->entries[i]), self))
            return true;
    return false;
}

static void *add(rl_module *self, module_entry_kind kind, const char *what, const char *name, void *object) {
    if (rl_failed())
        return NULL;
    if (!self || !object)
        return rl_fail_null(RL_INVALID_ARGUMENT, self ? "%s: '%.60s' is NULL" : "%s: self is NULL", what,
                            name ? name : "");
    if (check_name(self, what, name))
        return NULL;
    if (kind == MODULE_CHILD && reaches(object, self))
        return rl_fail_null(RL_INVALID_ARGUMENT, "%s of %s: '%.60s' contains the module that it is added to", what,
                            self->klass->name, name);
    return add_entry(self, kind, name, object) ? NULL : object;
}

rl_tensor *rl_module_add_parameter(rl_module *self, const char *name, rl_tensor *parameter) {
    if (!rl_failed() && parameter && (!rl_dtype_is_float(rl_tensor_dtype(parameter)) || !rl_tensor_is_leaf(parameter)))
        return rl_fail_null(RL_DTYPE_MISMATCH,
                            "module_add_parameter: '%.60s' must be a leaf of floating dtype, is %s%s", name ? name : "",
                            rl_tensor_is_leaf(parameter) ? "" : "a result of an op, ",
                            rl_dtype_name(rl_tensor_dtype(parameter)));
    if (!rl_failed() && parameter && !rl_requires_grad(parameter, true))
        return NULL;
    return add(self, MODULE_PARAMETER, "module_add_parameter", name, parameter);
}
rl_tensor *rl_module_add_buffer(rl_module *self, const char *name, rl_tensor *buffer) {
    return add(self, MODULE_BUFFER, "module_add_buffer", name, buffer);
}
rl_module *rl_module_add(rl_module *self, const char *name, rl_module *child) {
    return add(self, MODULE_CHILD, "module_add", name, child);
}

/* Use ----------------------------------------------------------------------------------------------------------------
 */

rl_tensor *rl_module_forward(rl_module *self, rl_tensor *input) {
    rl_tensor *output;
    rl_barrier barrier;
    if (rl_failed())
        return NULL;
    if (!self || !input)
        return rl_fail_null(RL_INVALID_ARGUMENT, "module_forward: %s is NULL", self ? "input" : "self");
    barrier = rl_barrier_enter();
    (void)rl_scope_begin(); /* what forward makes on the way goes at its end, unless the graph keeps it */
    output = self->klass->forward(self, input);
    output = rl_barrier_leave(barrier, output);
    if (!output && !rl_failed())
        (void)rl_fail(RL_INVALID_ARGUMENT, "module_forward: forward of %s gave NULL", self->klass->name);
    return rl_failed() ? NULL : output;
}

#define MOST_OUTPUTS 16
typedef rl_status (*forward_many)(rl_module *self, rl_tensors inputs, rl_tensor **outputs, int64_t n_outputs);

/* NULL where the class has none, or was built before there was one. */
static forward_many forward_many_of(const rl_module_class *klass) {
    size_t end = offsetof(rl_module_class, forward_many) + sizeof(forward_many);
    return klass->struct_size < end ? NULL : klass->forward_many;
}

static rl_status run_many(rl_module *self, rl_tensors inputs, rl_tensor **outputs, int64_t n_outputs) {
    forward_many forward = forward_many_of(self->klass);
    if (forward)
        return forward(self, inputs, outputs, n_outputs);
    if (inputs.count != 1 || n_outputs != 1)
        return rl_fail(RL_INVALID_ARGUMENT,
                       "module_forward_many: %s takes one input and gives one output, not %lld and %lld",
                       self->klass->name, (long long)inputs.count, (long long)n_outputs);
    outputs[0] = self->klass->forward(self, inputs.data[0]);
    return rl_error_status();
}

/* The outputs outlive what was made on the way, whether all of them are there or not. */
static void leave_with(rl_barrier barrier, rl_tensor **outputs, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        rl_retain(outputs[i]);
    rl_barrier_leave(barrier, NULL);
    for (int64_t i = 0; i < count; i++)
        if (outputs[i])
            outputs[i] = rl_object_own(outputs[i]);
}

rl_status rl_module_forward_many(rl_module *self, rl_tensors inputs, rl_tensor **outputs, int64_t n_outputs) {
    rl_tensor *made[MOST_OUTPUTS] = {NULL}; /* apart, for outputs may be the array of the inputs */
    rl_barrier barrier;
    rl_status status;
    if (rl_failed())
        return rl_error_status();
    if (!self || !inputs.data || inputs.count < 1 || !inputs.data[0] || n_outputs < 1 || !outputs)
        return rl_fail(RL_INVALID_ARGUMENT, "module_forward_many: %s",
                       !self                       ? "self is NULL"
                       : n_outputs < 1 || !outputs ? "there is no room for an output"
                                                   : "there must be an input");
    if (n_outputs > MOST_OUTPUTS)
        return rl_fail(RL_INVALID_ARGUMENT, "module_forward_many: at most %d outputs, not %lld", MOST_OUTPUTS,
                       (long long)n_outputs);
    barrier = rl_barrier_enter();
    (void)rl_scope_begin();
    status = run_many(self, inputs, made, n_outputs);
    leave_with(barrier, made, n_outputs);
    for (int64_t i = 0; i < n_outputs && status == RL_OK && !rl_failed(); i++)
        if (!made[i])
            status = rl_fail(RL_INVALID_ARGUMENT, "module_forward_many: %s gave no output %lld", self->klass->name,
                             (long long)i);
    if (status == RL_OK)
        status = rl_error_status();
    for (int64_t i = 0; i < n_outputs; i++)
        outputs[i] = status == RL_OK ? made[i] : NULL;
    return status;
}

rl_status rl_module_train(rl_module *self, bool training) {
    if (rl_failed())
        return rl_error_status();
    if (!self)
        return rl_fail(RL_INVALID_ARGUMENT, "module_train: self is NULL");
    self->training = training;
    for (int64_t i = 0; i < self->n_entries; i++)
        if (entry_child(&self->entries[i]))
            rl_module_train(entry_child(&self->entries[i]), training);
    return RL_OK;
}
bool rl_module_is_training(const rl_module *self) {
    return self && self->training;
}

/* Printing, as PyTorch's __repr__
 * -------------------------------------------------------------------------------------- */

static void write_module(const rl_module *self, rl_text *text, int depth) {
    char within[512] = "";
    int64_t children = 0;
    if (self->klass->describe)
        self->klass->describe(self, within, sizeof within);
    rl_text_add(text, "%s(%s", self->klass->name, within);
    for (int64_t i = 0; i < self->n_entries; i++) {
        const rl_module *child = entry_child(&self->entries[i]);
        if (!child)
            continue;
        rl_text_add(text, "\n%*s(%s): ", 2 * (depth + 1), "", self->entries[i].name);
        write_module(child, text, depth + 1);
        children++;
    }
    if (children)
        rl_text_add(text, "\n%*s", 2 * depth, "");
    rl_text_add(text, ")");
}

char *rl_module_to_string(const rl_module *self) {
    rl_text text = {0};
    if (rl_failed())
        return NULL;
    if (!self)
        return rl_fail_null(RL_INVALID_ARGUMENT, "module_to_string: self is NULL");
    write_module(self, &text, 0);
    return rl_text_take(&text);
}
