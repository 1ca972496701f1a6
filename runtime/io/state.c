/* SPDX-License-Identifier: Apache-2.0 */
#include "io/state.h"

#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "io/safetensors.h"
#include "rushlight/autograd.h"
#include "rushlight/ops.h"
#include "tensor/tensor.h"

static rl_status check_entry(const char *function, const rl_safetensors *file, const char *name,
                             const rl_tensor *target) {
    char have[RL_SHAPE_TEXT], want[RL_SHAPE_TEXT];
    int64_t number = rl_safetensors_find(file, name);
    if (number < 0)
        return rl_fail(RL_NOT_FOUND, "%s: %s holds no '%.100s'", function, file->path, name);
    const file_entry *entry = &file->entries[number];
    if (entry->ndim != target->ndim || memcmp(entry->shape, target->shape, sizeof(int64_t) * target->ndim) != 0)
        return rl_fail(RL_SHAPE_MISMATCH, "%s: '%.100s' must be %s, in %s it is %s", function, name,
                       rl_shape_text(target->ndim, target->shape, want), file->path,
                       rl_shape_text(entry->ndim, entry->shape, have));
    if (!rl_can_cast(entry->dtype, (rl_dtype)target->dtype))
        return rl_fail(RL_DTYPE_MISMATCH, "%s: '%.100s' must be %s, in %s it is %s", function, name,
                       rl_dtype_name((rl_dtype)target->dtype), file->path, rl_dtype_name(entry->dtype));
    return RL_OK;
}

/* Something of the file that no name asks for. Names may repeat (shared tensors), so they are looked up, not counted.
 */
static rl_status check_rest(const char *function, const rl_safetensors *file, const char *const *names, int64_t count) {
    bool *wanted = rl_alloc_zero((size_t)file->n_entries + 1, sizeof *wanted, "names of a file");
    if (!wanted)
        return rl_error_status();
    rl_status status = RL_OK;
    for (int64_t i = 0; i < count && status == RL_OK; i++)
        wanted[rl_safetensors_find(file, names[i])] = true;
    for (int64_t i = 0; i < file->n_entries && status == RL_OK; i++) {
        if (!wanted[i])
            status = rl_fail(RL_BAD_FORMAT, "%s: %s holds '%.100s', which has no place here", function, file->path,
                             file->entries[i].name);
    }
    rl_free(wanted);
    return status;
}

rl_status rl_state_load(const char *function, rl_safetensors *file, const char *const *names, rl_tensor *const *targets,
                        int64_t count) {
    rl_status status = rl_error_status();
    RL_SCOPE();
    RL_NO_GRAD();
    for (int64_t i = 0; i < count && status == RL_OK; i++)
        status = check_entry(function, file, names[i], targets[i]);
    if (status == RL_OK)
        status = check_rest(function, file, names, count);
    if (status != RL_OK)
        return status;
    rl_tensor **loaded = rl_alloc_zero((size_t)count + 1, sizeof *loaded, "state of a file");
    if (loaded == NULL)
        return rl_error_status();
    for (int64_t i = 0; i < count && !rl_failed(); i++)
        loaded[i] = rl_safetensors_load(file, rl_safetensors_find(file, names[i]), targets[i]->storage->device);
    for (int64_t i = 0; i < count && !rl_failed(); i++)
        rl_copy_(targets[i], loaded[i]);
    rl_free(loaded);
    return rl_error_status();
}
