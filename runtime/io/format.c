/* SPDX-License-Identifier: Apache-2.0 */
#include "io/format.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "ops/call.h"

#define ELEMENT_TEXT 400 /* the largest double has 309 digits before its point */

double rl_elements_float(rl_elements self, int64_t i) {
    switch (self.dtype) {
    case RL_F32:
        return ((const float *)self.data)[i];
    case RL_F64:
        return ((const double *)self.data)[i];
    case RL_F16:
    case RL_BF16:
        return rl_half_to_double(self.dtype, ((const uint16_t *)self.data)[i]);
    default:
        return (double)rl_elements_int(self, i);
    }
}

int64_t rl_elements_int(rl_elements self, int64_t i) {
    switch (self.dtype) {
    case RL_I8:
        return ((const int8_t *)self.data)[i];
    case RL_I16:
        return ((const int16_t *)self.data)[i];
    case RL_I32:
        return ((const int32_t *)self.data)[i];
    case RL_I64:
        return ((const int64_t *)self.data)[i];
    default: /* u8 and bool */
        return ((const uint8_t *)self.data)[i];
    }
}

void rl_format_look(rl_format_scan *scan, rl_elements elements, int64_t i) {
    double value = rl_dtype_is_float(elements.dtype) ? fabs(rl_elements_float(elements, i)) : 0.0;
    if (value == 0.0 || !isfinite(value))
        return;
    if (!scan->any)
        *scan = (rl_format_scan){.any = true, .whole = true, .least = value, .greatest = value};
    scan->whole &= value == floor(value);
    scan->least = fmin(scan->least, value);
    scan->greatest = fmax(scan->greatest, value);
}

rl_format rl_format_choose(const rl_format_scan *scan, rl_dtype dtype) {
    rl_format made = {.floating = rl_dtype_is_float(dtype), .integral = !scan->any || scan->whole, .width = 1};
    made.scientific =
        scan->any && (scan->greatest / scan->least > 1000.0 || scan->greatest > 1e8 || scan->least < 1e-4);
    return made;
}

/* The element without padding; a trailing point only where `point`. Returns its length. */
static int write_element(const rl_format *self, rl_elements elements, int64_t i, bool point, char *text) {
    if (elements.dtype == RL_BOOL)
        return snprintf(text, ELEMENT_TEXT, "%s", rl_elements_int(elements, i) ? "True" : "False");
    if (!self->floating)
        return snprintf(text, ELEMENT_TEXT, "%lld", (long long)rl_elements_int(elements, i));
    double value = rl_elements_float(elements, i);
    if (isnan(value))
        return snprintf(text, ELEMENT_TEXT, "nan");
    if (isinf(value))
        return snprintf(text, ELEMENT_TEXT, value < 0 ? "-inf" : "inf");
    if (self->scientific)
        return snprintf(text, ELEMENT_TEXT, "%.4e", value);
    return self->integral ? snprintf(text, ELEMENT_TEXT, point ? "%.0f." : "%.0f", value)
                          : snprintf(text, ELEMENT_TEXT, "%.4f", value);
}

/* Zeros and what is not finite do not widen a column of floats: PyTorch pads them or lets them stand out. */
void rl_format_measure(rl_format *self, rl_elements elements, int64_t i) {
    char text[ELEMENT_TEXT];
    if (self->floating) {
        double value = rl_elements_float(elements, i);
        if (value == 0.0 || !isfinite(value))
            return;
    }
    int length = write_element(self, elements, i, true, text);
    if (length > self->width)
        self->width = length;
}

void rl_format_add(const rl_format *self, rl_text *text, rl_elements elements, int64_t i) {
    char element[ELEMENT_TEXT];
    write_element(self, elements, i, true, element);
    rl_text_add(text, "%*s", self->width, element);
}
