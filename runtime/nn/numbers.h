/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers that layers are made with: those of spatial dimensions as options give them, and floats as they are printed.
 */
#ifndef RUSHLIGHT_RUNTIME_NN_NUMBERS_H
#define RUSHLIGHT_RUNTIME_NN_NUMBERS_H

#include <stdio.h>

#include "rushlight/nn.h"

enum { MOST_SPATIAL = 3 };

/* One number for each spatial dimension, `least` or more: of the list, else the number, an option, whose zero means
 * those that are usual. `layer` and `name` are for the sentence. */
rl_status rl_nn_read_numbers(const char *layer, const char *name, rl_ints list, int64_t number, const int64_t *usual,
                             int64_t least, int64_t spatial, int64_t *out);

/* x as Python prints a float: the fewest digits that are x, and a point. */
#define FLOAT_TEXT 40
#define PYTHON_FLOAT(x) rl_nn_float_text(x, (char[FLOAT_TEXT]){0})
const char *rl_nn_float_text(double x, char *text);

#endif
