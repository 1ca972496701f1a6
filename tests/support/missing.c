/* SPDX-License-Identifier: Apache-2.0 */
/* The library that the plugin `dependency` needs, and that is gone when it is loaded. */
#include "missing.h"

int rushlight_test_missing(void) {
    return 0;
}
