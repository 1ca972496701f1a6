/* SPDX-License-Identifier: Apache-2.0 */
/* How kernels go along lines (device/line.h): the choices of the host. */
#ifndef RL_ACCEL_LINE_H
#define RL_ACCEL_LINE_H

#include "kernel.h"
#include "layout.h"

/* What is known of lines: `size` elements each, `lines` of them, of which `inner` follow each other along the last kept
 * dimension; whether elements of a line, or lines, lie next to each other in all operands. */
typedef struct rl_line {
    int64_t size, lines, inner;
    int along_unit, across_unit;
} rl_line;

#define RL_LINE_LITTLE 16384 /* elements that are little work */

/* Writes device/line.h: the `write` of a family. */
void rl_line_write(rl_text_buffer *out, const rl_accel *accel, const rl_accel_spec *spec);
/* Whether a vector's lanes are to be lines. */
int rl_line_columns(const rl_accel *self, const rl_line *line);
/* Work-items that share a line whose lanes are its elements. */
int rl_line_team(const rl_accel *self, const rl_line *line);
/* Groups for a launch over `items` lines or vectors of lines by teams. */
uint64_t rl_line_groups(const rl_accel *self, int64_t items, int team, uint64_t cost);
/* Orders dimensions by the greatest stride of an operand along them, the greatest first. */
void rl_line_sort(rl_layout *layout);
int64_t rl_line_up(int64_t n, int64_t step); /* n / step, rounded up */

#endif
