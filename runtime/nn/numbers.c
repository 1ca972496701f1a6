/* SPDX-License-Identifier: Apache-2.0 */
#include "nn/numbers.h"

#include <stdlib.h>

#include "base/error.h"
#include "base/sized.h"

rl_status rl_nn_read_numbers(const char *layer, const char *name, rl_ints list, int64_t number, const int64_t *usual,
                             int64_t least, int64_t spatial, int64_t *out) {
    if (list.count != 0 && list.count != 1 && list.count != spatial)
        return rl_fail(RL_INVALID_ARGUMENT, "%s: %s must be 1 number or %lld, got %lld", layer, name,
                       (long long)spatial, (long long)list.count);
    for (int64_t d = 0; d < spatial; d++) {
        out[d] = list.count ? list.data[list.count == 1 ? 0 : d] : rl_option_int(number, usual[d]);
        if (out[d] < least)
            return rl_fail(RL_INVALID_ARGUMENT, "%s: %s must be %lld or more, got %lld", layer, name, (long long)least,
                           (long long)out[d]);
        if (out[d] > INT32_MAX)
            return rl_fail(RL_INVALID_ARGUMENT, "%s: %s must be at most %lld, got %lld", layer, name,
                           (long long)INT32_MAX, (long long)out[d]);
    }
    return RL_OK;
}

const char *rl_nn_float_text(double x, char *text) {
    if (x < 1e16 && x > -1e16 && x == (double)(int64_t)x) {
        snprintf(text, FLOAT_TEXT, "%.1f", x);
        return text;
    }
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, FLOAT_TEXT, "%.*g", digits, x);
        if (strtod(text, NULL) == x)
            break;
    }
    return text;
}
