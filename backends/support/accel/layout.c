/* SPDX-License-Identifier: Apache-2.0 */
#include "layout.h"

#include <string.h>

void rl_layout_init(rl_layout *self, int64_t ndim, const int64_t *shape) {
    self->dims = (int)ndim;
    self->n = 0;
    for (int d = 0; d < self->dims; d++)
        self->shape[d] = shape[d];
}

void rl_layout_add(rl_layout *self, const int64_t *stride, uint32_t ignored) {
    int64_t *to = self->stride[self->n++];
    for (int d = 0; d < self->dims; d++)
        to[d] = ignored >> d & 1u ? 0 : stride[d];
}

void rl_layout_add_index(rl_layout *self, int dim) {
    int64_t stride[RL_MAX_DIMS] = {0};
    stride[dim] = 1;
    rl_layout_add(self, stride, 0);
}

void rl_layout_add_number(rl_layout *self, uint32_t counted) {
    int64_t stride[RL_MAX_DIMS] = {0}, next = 1;
    for (int d = self->dims - 1; d >= 0; d--)
        if (counted >> d & 1u) {
            stride[d] = next;
            next *= self->shape[d];
        }
    rl_layout_add(self, stride, 0);
}

static void copy_dim(rl_layout *to, int at, const rl_layout *from, int d) {
    to->shape[at] = from->shape[d];
    for (int k = 0; k < from->n; k++)
        to->stride[k][at] = from->stride[k][d];
}

void rl_layout_split(rl_layout *self, uint32_t mask, rl_layout *out_part) {
    int dims = self->dims;
    self->dims = out_part->dims = 0;
    out_part->n = self->n;
    for (int d = 0; d < dims; d++) {
        rl_layout *to = mask >> d & 1u ? out_part : self;
        copy_dim(to, to->dims++, self, d);
    }
}

/* Whether dimension d goes on where d + 1 ends. */
static int joins(const rl_layout *self, int last, int d) {
    for (int k = 0; k < self->n; k++)
        if (self->stride[k][last] != self->stride[k][d] * self->shape[d])
            return 0;
    return 1;
}

void rl_layout_merge(rl_layout *self) {
    int dims = 0;
    for (int d = 0; d < self->dims; d++) {
        if (self->shape[d] == 1)
            continue;
        if (dims && joins(self, dims - 1, d)) {
            int64_t size = self->shape[dims - 1] * self->shape[d];
            copy_dim(self, dims - 1, self, d);
            self->shape[dims - 1] = size;
        } else {
            copy_dim(self, dims++, self, d);
        }
    }
    self->dims = dims;
}

void rl_layout_rotate(rl_layout *self, int last) {
    rl_layout copy = *self;
    for (int d = 0, at = 0; d < self->dims; d++)
        if (d != last)
            copy_dim(self, at++, &copy, d);
    copy_dim(self, self->dims - 1, &copy, last);
}

void rl_layout_lengthen(rl_layout *self, int64_t width) {
    int last = self->dims - 1, longest = last;
    if (last < 1 || self->shape[last] >= width)
        return;
    for (int d = last - 1; d >= 0; d--)
        if (self->shape[d] > self->shape[longest])
            longest = d;
    if (longest != last)
        rl_layout_rotate(self, longest);
}

int64_t rl_layout_total(const rl_layout *self) {
    int64_t total = 1;
    for (int d = 0; d < self->dims; d++)
        total *= self->shape[d];
    return total;
}

int rl_layout_inner(const rl_layout *self, int k) {
    int64_t stride = self->dims ? self->stride[k][self->dims - 1] : 0;
    return stride == 0 || stride == 1 ? (int)stride : 2;
}

int rl_layout_narrow(const rl_layout *self) {
    for (int k = 0; k < self->n; k++) {
        int64_t reach = 0;
        for (int d = 0; d < self->dims; d++) {
            int64_t stride = self->stride[k][d];
            reach += (self->shape[d] - 1) * (stride < 0 ? -stride : stride);
        }
        if (reach >= INT32_MAX)
            return 0;
    }
    return rl_layout_total(self) < INT32_MAX;
}
