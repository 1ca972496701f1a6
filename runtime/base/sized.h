/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Structs of the API that begin with struct_size, so that they can grow: of a struct whose maker was built with a
 * shorter one only the beginning is read or written. One whose struct_size was not set is the caller's mistake.
 */
#ifndef RUSHLIGHT_RUNTIME_BASE_SIZED_H
#define RUSHLIGHT_RUNTIME_BASE_SIZED_H

#include "rushlight/base.h"

/* Copies the options that a caller gave over `out`, of out_size bytes; NULL changes nothing. */
rl_status rl_sized_take(const char *function, void *out, size_t out_size, const void *given);
/* Copies `full`, of full_size bytes, to the struct of a caller; its struct_size stays. */
rl_status rl_sized_fill(const char *function, void *out, const void *full, size_t full_size);
/* Copies a class of functions that a caller gave to `out`, of out_size bytes: what its maker did not know of is zero
 * there. False, with nothing but zeros, where it is NULL or ends within the first `required` bytes. */
bool rl_sized_class(void *out, size_t out_size, const void *given, size_t required);

/* What a field of options means: zero is what is usual, RL_ZERO a real zero or false. */
static inline int64_t rl_option_int(int64_t field, int64_t usual) {
    return field == 0 ? usual : field == RL_ZERO ? 0 : field;
}
static inline double rl_option_real(double field, double usual) {
    return field == 0.0 ? usual : field == (double)RL_ZERO ? 0.0 : field;
}
static inline bool rl_option_truth(int64_t field, bool usual) {
    return field == 0 ? usual : field != RL_ZERO;
}
/* And the way back: the field that means x. */
static inline int64_t rl_option_of_int(int64_t x) {
    return x == 0 ? RL_ZERO : x;
}
static inline double rl_option_of_real(double x) {
    return x == 0.0 ? (double)RL_ZERO : x;
}
static inline int64_t rl_option_of_truth(bool x) {
    return x ? 1 : RL_ZERO;
}

#endif
