/* SPDX-License-Identifier: Apache-2.0 */
#include "space.h"

void od_space_init(od_space *self, int64_t ndim, const int64_t *shape, uint32_t dims) {
    self->ndim = 0;
    self->n_operands = 0;
    self->count = 1;
    self->dims = 0;
    for (int d = 0; d < ndim; d++)
        if (dims >> d & 1 && shape[d] != 1) {
            self->count *= shape[d];
            self->dims |= 1u << d;
            self->shape[self->ndim++] = shape[d];
        }
    if (self->ndim == 0)
        self->shape[self->ndim++] = 1;
}

int od_space_add(od_space *self, const int64_t *stride, int64_t scale) {
    int64_t *to = self->stride[self->n_operands];
    to[0] = 0; /* of the one dimension that a space has when all are gone */
    for (uint32_t dims = self->dims; dims != 0; dims &= dims - 1)
        *to++ = self->count ? stride[__builtin_ctz(dims)] * scale : 0; /* of no elements: anything may be there */
    return self->n_operands++;
}

static void swap(od_space *self, int a, int b) {
    int64_t t = self->shape[a];
    self->shape[a] = self->shape[b];
    self->shape[b] = t;
    for (int i = 0; i < self->n_operands; i++) {
        t = self->stride[i][a];
        self->stride[i][a] = self->stride[i][b];
        self->stride[i][b] = t;
    }
}

/* True where dimension b belongs outside of a: the first operand that tells them apart decides. */
static int is_outer(const od_space *self, int b, int a) {
    for (int i = 0; i < self->n_operands; i++) {
        const int64_t sa = self->stride[i][a] < 0 ? -self->stride[i][a] : self->stride[i][a];
        const int64_t sb = self->stride[i][b] < 0 ? -self->stride[i][b] : self->stride[i][b];
        if (sa != 0 && sb != 0 && sa != sb)
            return sb > sa;
    }
    return 0;
}

static int fits(const od_space *self, int outer, int inner) {
    for (int i = 0; i < self->n_operands; i++)
        if (self->stride[i][outer] != self->stride[i][inner] * self->shape[inner])
            return 0;
    return 1;
}

void od_space_finish(od_space *self, int sort) {
    if (self->ndim == 1)
        return;
    if (sort)
        for (int i = 1; i < self->ndim; i++)
            for (int j = i; j > 0 && is_outer(self, j, j - 1); j--)
                swap(self, j, j - 1);
    int last = 0; /* dimensions 0 .. last are merged as far as they can be */
    for (int d = 1; d < self->ndim; d++) {
        if (fits(self, last, d)) {
            self->shape[last] *= self->shape[d];
            for (int i = 0; i < self->n_operands; i++)
                self->stride[i][last] = self->stride[i][d];
        } else {
            last++;
            if (last != d)
                swap(self, last, d);
        }
    }
    self->ndim = last + 1;
}
