/* SPDX-License-Identifier: Apache-2.0 */
/* A tensor as PyTorch's repr shows it: layout after torch/_tensor_str.py, in our own words. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "io/format.h"
#include "rushlight/autograd.h"
#include "rushlight/device.h"
#include "tensor/tensor.h"

enum { LINE_WIDTH = 80, EDGE_ITEMS = 3, SUMMARIZE_ABOVE = 1000 };
static const char prefix[] = "tensor(";

typedef struct printer {
    const rl_tensor *tensor;
    rl_elements elements;
    bool summarize;
    rl_format format;
    rl_format_scan scan;
    int64_t row_stride[RL_MAX_DIMS];
    rl_text text;
} printer;

static bool cut(const printer *self, int64_t size) {
    return self->summarize && size > 2 * EDGE_ITEMS;
}

/* Calls visit for every element that is shown. */
static void visit_shown(printer *self, int64_t dim, int64_t at, void (*visit)(printer *self, int64_t element)) {
    if (dim == self->tensor->ndim) {
        visit(self, at);
        return;
    }
    int64_t size = self->tensor->shape[dim];
    for (int64_t i = 0; i < size; i++) {
        if (cut(self, size) && i == EDGE_ITEMS)
            i = size - EDGE_ITEMS;
        visit_shown(self, dim + 1, at + i * self->row_stride[dim], visit);
    }
}

static void look(printer *self, int64_t element) {
    rl_format_look(&self->scan, self->elements, element);
}

static void measure(printer *self, int64_t element) {
    rl_format_measure(&self->format, self->elements, element);
}

static void new_line(printer *self, int count, int indent) {
    for (int i = 0; i < count; i++)
        rl_text_add(&self->text, "\n");
    rl_text_add(&self->text, "%*s", indent, "");
}

/* The innermost dimension: as many to a line as fit. */
static void add_vector(printer *self, int64_t at, int indent) {
    int64_t size = self->tensor->shape[self->tensor->ndim - 1];
    int per_line = (LINE_WIDTH - indent) / (self->format.width + 2), on_line = 0;
    if (per_line < 1)
        per_line = 1;
    rl_text_add(&self->text, "[");
    for (int64_t i = 0; i < size; i++, on_line++) {
        bool dots = cut(self, size) && i == EDGE_ITEMS;
        if (on_line == per_line) {
            rl_text_add(&self->text, ",");
            new_line(self, 1, indent + 1);
            on_line = 0;
        } else if (i > 0) {
            rl_text_add(&self->text, ", ");
        }
        if (dots) {
            rl_text_add(&self->text, " ...");
            i = size - EDGE_ITEMS - 1;
        } else {
            rl_format_add(&self->format, &self->text, self->elements, at + i);
        }
    }
    rl_text_add(&self->text, "]");
}

static void add_nested(printer *self, int64_t dim, int64_t at, int indent) {
    int64_t ndim = self->tensor->ndim;
    if (ndim == 0) {
        rl_format_add(&self->format, &self->text, self->elements, at);
        return;
    }
    if (dim == ndim - 1) {
        add_vector(self, at, indent);
        return;
    }
    int64_t size = self->tensor->shape[dim];
    rl_text_add(&self->text, "[");
    for (int64_t i = 0; i < size; i++) {
        if (i > 0) {
            rl_text_add(&self->text, ",");
            new_line(self, (int)(ndim - dim) - 1, indent + 1);
        }
        if (cut(self, size) && i == EDGE_ITEMS) {
            rl_text_add(&self->text, "...,");
            new_line(self, (int)(ndim - dim) - 1, indent + 1);
            i = size - EDGE_ITEMS;
        }
        add_nested(self, dim + 1, at + i * self->row_stride[dim], indent + 1);
    }
    rl_text_add(&self->text, "]");
}

/* What follows the elements, on a line of its own where it would not fit. */
static void add_suffix(printer *self, int *line, const char *format, const char *value) {
    char suffix[512];
    int length = snprintf(suffix, sizeof suffix, format, value), indent = (int)sizeof prefix - 1;
    if (*line + length + 2 > LINE_WIDTH) {
        rl_text_add(&self->text, ",");
        new_line(self, 1, indent);
        *line = indent + length;
    } else {
        rl_text_add(&self->text, ", ");
        *line += length + 2;
    }
    rl_text_add(&self->text, "%s", suffix);
}

static void add_suffixes(printer *self) {
    const rl_tensor *t = self->tensor;
    const char *last = self->text.data ? strrchr(self->text.data, '\n') : NULL, *grad_fn = rl_tensor_grad_fn(t);
    int line = self->text.data ? (int)(last ? strlen(last) + 1 : self->text.length + 2) : 0;
    char shape[RL_SHAPE_TEXT], device[128];
    if (!rl_device_is_host(t->storage->device)) {
        snprintf(device, sizeof device, "'%s'", rl_device_name(t->storage->device));
        add_suffix(self, &line, "device=%s", device);
    }
    if (t->numel == 0 && t->ndim != 1)
        add_suffix(self, &line, "size=%s", rl_shape_text(t->ndim, t->shape, shape));
    bool told = t->dtype == RL_F32 || (t->numel > 0 && (t->dtype == RL_I64 || t->dtype == RL_BOOL));
    if (!told)
        add_suffix(self, &line, "dtype=torch.%s", rl_dtype_name((rl_dtype)t->dtype));
    if (grad_fn)
        add_suffix(self, &line, "grad_fn=<%s>", grad_fn);
    else if (rl_tensor_requires_grad(t))
        add_suffix(self, &line, "%s", "requires_grad=True");
}

static void add_tensor(printer *self) {
    rl_contiguous_strides(self->tensor->ndim, self->tensor->shape, self->row_stride);
    rl_text_add(&self->text, "%s", prefix);
    if (self->tensor->numel == 0) {
        rl_text_add(&self->text, "[]");
    } else {
        visit_shown(self, 0, 0, look);
        self->format = rl_format_choose(&self->scan, self->elements.dtype);
        visit_shown(self, 0, 0, measure);
        add_nested(self, 0, 0, (int)sizeof prefix - 1);
    }
    add_suffixes(self);
    rl_text_add(&self->text, ")");
}

char *rl_tensor_to_string(const rl_tensor *self) {
    if (rl_failed())
        return NULL;
    if (self == NULL)
        return rl_fail_null(RL_INVALID_ARGUMENT, "tensor_to_string: self is NULL");
    size_t bytes = (size_t)self->numel * rl_dtype_size((rl_dtype)self->dtype);
    void *data = rl_alloc(bytes, "elements to print");
    if (data == NULL || rl_tensor_read(self, data, bytes) != RL_OK) {
        rl_free(data);
        return NULL;
    }
    printer made = {
        .tensor = self, .elements = {(rl_dtype)self->dtype, data}, .summarize = self->numel > SUMMARIZE_ABOVE};
    RL_C_LOCALE();
    add_tensor(&made);
    rl_free(data);
    return rl_text_take(&made.text);
}

void rl_print(const rl_tensor *self) {
    char *text = rl_tensor_to_string(self);
    if (text)
        puts(text);
    free(text);
}
