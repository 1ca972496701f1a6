/* SPDX-License-Identifier: Apache-2.0 */
/* Arithmetic with sizes. */
#ifndef RUSHLIGHT_BACKENDS_ONEDNN_SIZES_H
#define RUSHLIGHT_BACKENDS_ONEDNN_SIZES_H

#include <stddef.h>
#include <stdint.h>

static inline int64_t od_at_most(int64_t a, int64_t b) {
    return a < b ? a : b;
}
/* How many parts of up to b make a. */
static inline int64_t od_parts(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}
/* Bytes, as many as whole cache lines hold. */
static inline size_t od_lines(size_t bytes) {
    return (bytes + 63) / 64 * 64;
}

#endif
