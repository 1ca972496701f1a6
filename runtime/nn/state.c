/* SPDX-License-Identifier: Apache-2.0 */
/* The state of a module: parameters and buffers by dotted names; moving, saving and loading it. */
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "io/state.h"
#include "nn/module.h"
#include "rushlight/autograd.h"
#include "rushlight/device.h"
#include "rushlight/io.h"
#include "rushlight/ops.h"
#include "tensor/tensor.h"

static rl_status check_self(const rl_module *self, const char *name) {
    if (rl_failed())
        return rl_error_status();
    return self ? RL_OK : rl_fail(RL_INVALID_ARGUMENT, "%s: self is NULL", name);
}

/* Walking
 * ---------------------------------------------------------------------------------------------------------------- */

/* Calls visit for every parameter and buffer, in PyTorch's order: a module's own parameters, its buffers, then what is
 * below each child, all in the order of registration; stops at a failure. */
typedef rl_status (*state_visit)(void *context, const char *prefix, const module_entry *entry);

static rl_status walk(const rl_module *self, const char *prefix, state_visit visit, void *context);

static rl_status walk_child(const module_entry *entry, const char *prefix, state_visit visit, void *context) {
    rl_text below = {0};
    rl_text_add(&below, "%s%s.", prefix, entry->name);
    rl_status status = below.failed ? rl_fail(RL_OUT_OF_MEMORY, "out of memory for names of a module")
                                    : walk(entry->object, below.data, visit, context);
    rl_text_free(&below);
    return status;
}

static rl_status walk(const rl_module *self, const char *prefix, state_visit visit, void *context) {
    static const module_entry_kind order[] = {MODULE_PARAMETER, MODULE_BUFFER, MODULE_CHILD};
    rl_status status = RL_OK;
    for (int kind = 0; kind < 3; kind++) {
        for (int64_t i = 0; i < self->n_entries && !status; i++) {
            const module_entry *entry = &self->entries[i];
            if (entry->kind == order[kind])
                status = entry->kind == MODULE_CHILD ? walk_child(entry, prefix, visit, context)
                                                     : visit(context, prefix, entry);
        }
    }
    return status;
}

/* Parameters, each once
 * ---------------------------------------------------------------------------------------------------- */

static int64_t add_once(rl_tensor **out, int64_t room, int64_t have, rl_tensor *parameter) {
    for (int64_t k = 0; k < have && k < room; k++)
        if (out[k] == parameter)
            return have;
    if (have < room)
        out[have] = parameter;
    return have + 1;
}

/* In the order of walk. */
static int64_t collect(const rl_module *self, rl_tensor **out, int64_t room, int64_t have) {
    for (int64_t i = 0; i < self->n_entries; i++)
        if (self->entries[i].kind == MODULE_PARAMETER)
            have = add_once(out, room, have, self->entries[i].object);
    for (int64_t i = 0; i < self->n_entries; i++)
        if (self->entries[i].kind == MODULE_CHILD)
            have = collect(self->entries[i].object, out, room, have);
    return have;
}

static int64_t count_entries(const rl_module *self) {
    int64_t count = 0;
    for (int64_t i = 0; i < self->n_entries; i++)
        count += entry_child(&self->entries[i]) ? count_entries(self->entries[i].object) : 1;
    return count;
}

/* All parameters in a block that the caller frees; NULL on failure. */
static rl_tensor **collect_all(const rl_module *self, int64_t *out_count) {
    int64_t room = count_entries(self);
    rl_tensor **all = rl_alloc_zero((size_t)room + 1, sizeof *all, "parameters of a module");
    if (all)
        *out_count = collect(self, all, room, 0);
    return all;
}

int64_t rl_module_parameters(const rl_module *self, rl_tensor **out_parameters, int64_t room) {
    rl_tensor **all;
    int64_t count = 0;
    if (check_self(self, "module_parameters") || !(all = collect_all(self, &count)))
        return 0;
    if (out_parameters)
        memcpy(out_parameters, all, (size_t)(count < room ? count : room) * sizeof *all);
    rl_free(all);
    return count;
}

int64_t rl_module_parameter_count(const rl_module *self) {
    rl_tensor **all;
    int64_t count = 0, elements = 0;
    if (check_self(self, "module_parameter_count") || !(all = collect_all(self, &count)))
        return 0;
    for (int64_t i = 0; i < count; i++)
        elements += all[i]->numel;
    rl_free(all);
    return elements;
}

rl_status rl_module_zero_grad(rl_module *self) {
    rl_tensor **all;
    int64_t count = 0;
    rl_status status = check_self(self, "module_zero_grad");
    if (status)
        return status;
    if (!(all = collect_all(self, &count)))
        return rl_error_status();
    for (int64_t i = 0; i < count && !status; i++)
        status = rl_set_grad(all[i], NULL);
    rl_free(all);
    return status;
}

/* Names
 * --------------------------------------------------------------------------------------------------------------------
 */

void rl_module_forget_names(rl_module *self) {
    for (int64_t i = 0; i < self->n_state_names; i++)
        rl_free(self->state_names[i]);
    rl_free(self->state_names);
    self->state_names = NULL;
    self->n_state_names = 0;
}

typedef struct state_list {
    rl_module *root;
    rl_tensor **tensors;
    int64_t room, have;
} state_list;

static rl_status list_entry(void *context, const char *prefix, const module_entry *entry) {
    state_list *list = context;
    rl_text name = {0};
    char *text;
    rl_text_add(&name, "%s%s", prefix, entry->name);
    if (!(text = rl_text_take(&name)))
        return rl_error_status();
    list->root->state_names[list->root->n_state_names++] = text;
    if (list->tensors && list->have < list->room)
        list->tensors[list->have] = entry_tensor(entry);
    list->have++;
    return RL_OK;
}

int64_t rl_module_state(rl_module *self, const char **out_names, rl_tensor **out_tensors, int64_t room) {
    state_list list = {self, out_tensors, room, 0};
    if (check_self(self, "module_state"))
        return 0;
    rl_module_forget_names(self);
    self->state_names = rl_alloc_zero((size_t)count_entries(self) + 1, sizeof *self->state_names, "state of a module");
    if (!self->state_names || walk(self, "", list_entry, &list))
        return 0;
    for (int64_t i = 0; out_names && i < list.have && i < room; i++)
        out_names[i] = self->state_names[i];
    return list.have;
}

/* The entry of a dotted name. */
static const module_entry *find(const rl_module *self, const char *name) {
    for (;;) {
        const char *dot = strchr(name, '.');
        size_t length = dot ? (size_t)(dot - name) : strlen(name);
        const module_entry *entry = NULL;
        for (int64_t i = 0; i < self->n_entries && !entry; i++)
            if (strlen(self->entries[i].name) == length && !strncmp(self->entries[i].name, name, length))
                entry = &self->entries[i];
        if (!entry || !dot)
            return entry;
        if (!(self = entry_child(entry)))
            return NULL;
        name = dot + 1;
    }
}

static void *lookup(rl_module *self, const char *what, const char *name, bool child) {
    const module_entry *entry;
    if (check_self(self, what))
        return NULL;
    entry = name ? find(self, name) : NULL;
    if (!entry || (entry->kind == MODULE_CHILD) != child)
        return rl_fail_null(RL_NOT_FOUND, "%s: %s has no %s named '%.100s'", what, self->klass->name,
                            child ? "module" : "parameter or buffer", name ? name : "");
    return entry->object;
}
rl_tensor *rl_module_tensor(rl_module *self, const char *name) {
    return lookup(self, "module_tensor", name, false);
}
rl_module *rl_module_child(rl_module *self, const char *name) {
    return lookup(self, "module_child", name, true);
}

/* Moving
 * --------------------------------------------------------------------------------------------------------------------
 */

/* Makes `self` another view of what `from` views; the object, and with it whoever holds it, stays. */
static void adopt(rl_tensor *self, rl_tensor *from) {
    rl_storage *old = self->storage;
    self->storage = rl_retain(from->storage);
    self->dtype = from->dtype;
    self->contiguous = from->contiguous;
    self->offset = from->offset;
    memcpy(self->stride, from->stride, sizeof self->stride);
    rl_release(old);
}

typedef struct target {
    rl_device *device;
    rl_dtype dtype;
    const char *memory_format; /* of what has 4 or 5 dimensions; NULL: as it is */
} target;

static rl_tensor *moved(rl_tensor *self, const target *to) {
    if (to->memory_format) {
        bool deep = strcmp(to->memory_format, "channels_last_3d") == 0, flat = !deep && self->ndim == 4;
        bool applies = strncmp(to->memory_format, "channels_last", 13) != 0 || flat || (deep && self->ndim == 5);
        return applies ? rl_contiguous(self, .memory_format = to->memory_format) : self;
    }
    return rl_to(self, .device = to->device,
                 .dtype = rl_dtype_is_float((rl_dtype)self->dtype) ? to->dtype : RL_DTYPE_NONE);
}

static rl_status move_entry(void *context, const char *prefix, const module_entry *entry) {
    const target *to = context;
    rl_tensor *self = entry_tensor(entry), *grad = rl_grad(self), *fresh;
    (void)prefix;
    RL_SCOPE();
    RL_NO_GRAD();
    fresh = moved(self, to);
    if (grad)
        grad = moved(grad, to);
    if (rl_failed())
        return rl_error_status();
    if (fresh != self)
        adopt(self, fresh);
    return grad ? rl_set_grad(self, grad) : RL_OK;
}

rl_status rl_module_to(rl_module *self, rl_device *device, rl_dtype dtype) {
    target to = {.device = device, .dtype = dtype};
    rl_status status = check_self(self, "module_to");
    if (status)
        return status;
    if (dtype != RL_DTYPE_NONE && !rl_dtype_is_float(dtype))
        return rl_fail(RL_DTYPE_MISMATCH, "module_to: dtype must be a floating one, got %s", rl_dtype_name(dtype));
    return walk(self, "", move_entry, &to);
}

rl_status rl_module_to_memory_format(rl_module *self, const char *memory_format) {
    target to = {.memory_format = memory_format ? memory_format : "contiguous_format"};
    rl_status status = check_self(self, "module_to_memory_format");
    if (status)
        return status;
    static const char *const known[] = {"contiguous_format", "channels_last", "channels_last_3d"};
    for (int i = 0; i < 3; i++)
        if (strcmp(to.memory_format, known[i]) == 0)
            return walk(self, "", move_entry, &to);
    return rl_fail(RL_INVALID_ARGUMENT,
                   "module_to_memory_format: memory_format must be contiguous_format, channels_last or "
                   "channels_last_3d, got '%.40s'",
                   to.memory_format);
}

/* Files
 * -----------------------------------------------------------------------------------------------------------------------
 */

/* The state in blocks that the caller frees with state_free. */
typedef struct state {
    const char **names;
    rl_tensor **tensors;
    int64_t count;
} state;
static void state_free(state *self) {
    rl_free((void *)self->names);
    rl_free(self->tensors);
}
static rl_status state_of(rl_module *module, state *out) {
    int64_t room = count_entries(module);
    *out = (state){0};
    out->names = rl_alloc_zero((size_t)room + 1, sizeof *out->names, "state of a module");
    out->tensors = rl_alloc_zero((size_t)room + 1, sizeof *out->tensors, "state of a module");
    if (out->names && out->tensors)
        out->count = rl_module_state(module, out->names, out->tensors, room);
    return rl_error_status();
}

rl_status rl_module_save(rl_module *self, const char *path) {
    state all = {0};
    rl_status status = check_self(self, "module_save");
    if (status == RL_OK)
        status = state_of(self, &all);
    if (status == RL_OK)
        status = rl_safetensors_save(path, all.names, (rl_tensors){all.tensors, all.count}, NULL, 0);
    state_free(&all);
    return status;
}

rl_status rl_module_load(rl_module *self, const char *path) {
    state all = {0};
    rl_status status = check_self(self, "module_load");
    RL_SCOPE();
    rl_safetensors *file = status == RL_OK ? rl_safetensors_open(path) : NULL;
    if (file == NULL)
        return rl_error_status();
    status = state_of(self, &all);
    if (status == RL_OK)
        status = rl_state_load("module_load", file, all.names, all.tensors, all.count);
    state_free(&all);
    return status;
}
