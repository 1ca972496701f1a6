/* SPDX-License-Identifier: Apache-2.0 */
/* How the elements of one tensor are written: PyTorch's rules, its default options (4 digits, 80 columns). */
#ifndef RUSHLIGHT_RUNTIME_IO_FORMAT_H
#define RUSHLIGHT_RUNTIME_IO_FORMAT_H

#include "base/text.h"
#include "rushlight/tensor.h"

/* The elements of a tensor in host memory, row-major. */
typedef struct rl_elements {
    rl_dtype dtype;
    const void *data;
} rl_elements;

typedef struct rl_format {
    bool floating;
    bool integral;   /* floats that are all whole: "1." */
    bool scientific; /* "1.0000e-05" */
    int width;       /* of the widest */
} rl_format;

/* A format for the elements that count(context) would visit: those that are shown. Add each by rl_format_look. */
typedef struct rl_format_scan {
    bool any, whole;
    double least, greatest; /* of the finite non-zero magnitudes */
} rl_format_scan;

double rl_elements_float(rl_elements self, int64_t i);
int64_t rl_elements_int(rl_elements self, int64_t i);

/* Three passes over what is shown: look at each, choose, measure each. */
void rl_format_look(rl_format_scan *scan, rl_elements elements, int64_t i);
rl_format rl_format_choose(const rl_format_scan *scan, rl_dtype dtype);
void rl_format_measure(rl_format *self, rl_elements elements, int64_t i);
/* The element, right-aligned to the width. */
void rl_format_add(const rl_format *self, rl_text *text, rl_elements elements, int64_t i);

#endif
