/* SPDX-License-Identifier: Apache-2.0 */
#include "base/sized.h"

#include <string.h>

#include "base/error.h"

/* Bytes that both sides know of; 0 and an error where struct_size was not set. */
static size_t shared(const char *function, const char *what, size_t given, size_t known) {
    if (given > sizeof given)
        return given < known ? given : known;
    rl_fail(RL_INVALID_ARGUMENT, "%s: struct_size of %s is %zu; it must be set to the size of the struct", function,
            what, given);
    return 0;
}

rl_status rl_sized_take(const char *function, void *out, size_t out_size, const void *given) {
    if (given == NULL)
        return RL_OK;
    size_t bytes = shared(function, "the options", *(const size_t *)given, out_size);
    memcpy(out, given, bytes);
    return bytes ? RL_OK : rl_error_status();
}

rl_status rl_sized_fill(const char *function, void *out, const void *full, size_t full_size) {
    if (out == NULL)
        return rl_fail(RL_INVALID_ARGUMENT, "%s: the struct to be filled is NULL", function);
    size_t bytes = shared(function, "the struct to be filled", *(const size_t *)out, full_size);
    if (bytes == 0)
        return rl_error_status();
    memcpy((char *)out + sizeof(size_t), (const char *)full + sizeof(size_t), bytes - sizeof(size_t));
    return RL_OK;
}

bool rl_sized_class(void *out, size_t out_size, const void *given, size_t required) {
    size_t size = 0;
    memset(out, 0, out_size);
    if (given == NULL)
        return false;
    memcpy(&size, given, sizeof size);
    if (size < required)
        return false;
    memcpy(out, given, size < out_size ? size : out_size);
    return true;
}
