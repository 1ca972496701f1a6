/* SPDX-License-Identifier: Apache-2.0 */
/* What the rows share: which operands overlap, and how dimensions are ordered and merged for a backend. */
#include "dispatch/rows.h"

void rl_operand_of(const rl_tensor *self, rl_operand *out_operand) {
    rl_operand_base(self, out_operand);
    for (int64_t d = 0; d < self->ndim; d++)
        out_operand->stride[d] = self->stride[d];
}

/* Overlap --------------------------------------------------------------------------------------------------------- */

/* The bytes of the storage from the first to the last that the tensor reaches. */
static void byte_range(const rl_tensor *t, int64_t *out_low, int64_t *out_high) {
    int64_t low = t->offset, high = t->offset + 1, bytes = (int64_t)rl_dtype_size((rl_dtype)t->dtype);
    for (int64_t d = 0; d < t->ndim; d++) {
        int64_t reach = (t->shape[d] - 1) * t->stride[d];
        if (reach < 0)
            low += reach;
        else
            high += reach;
    }
    *out_low = low * bytes;
    *out_high = high * bytes;
}

/* Where within a row of `pitch` elements the tensor's elements lie; false where they cross the rows' ends. */
static bool row_range(const rl_tensor *t, int64_t pitch, int64_t *out_low, int64_t *out_high) {
    int64_t low = t->offset % pitch, high = low + 1;
    for (int64_t d = 0; d < t->ndim; d++) {
        if (t->shape[d] == 1 || t->stride[d] % pitch == 0)
            continue;
        if (t->stride[d] < 0)
            return false;
        high += (t->shape[d] - 1) * t->stride[d];
    }
    *out_low = low;
    *out_high = high;
    return high <= pitch;
}

/* Whether both lie in different columns of one matrix, every second element, the left and the right half ... */
static bool in_other_columns(const rl_tensor *a, const rl_tensor *b) {
    for (int64_t d = 0; d < b->ndim; d++) {
        int64_t pitch = b->stride[d], a_low, a_high, b_low, b_high;
        if (b->shape[d] > 1 && pitch > 1 && row_range(a, pitch, &a_low, &a_high) &&
            row_range(b, pitch, &b_low, &b_high) && (a_high <= b_low || b_high <= a_low))
            return true;
    }
    return false;
}

static bool has_same_elements(const rl_tensor *a, const rl_tensor *b) {
    if (a->offset != b->offset || a->numel != b->numel)
        return false;
    int64_t i = a->ndim - 1, j = b->ndim - 1;
    for (;; i--, j--) {
        while (i >= 0 && a->shape[i] == 1)
            i--;
        while (j >= 0 && b->shape[j] == 1)
            j--;
        if (i < 0 || j < 0)
            return i < 0 && j < 0;
        if (a->shape[i] != b->shape[j] || a->stride[i] != b->stride[j])
            return false;
    }
}

rl_overlap rl_overlap_of(const rl_tensor *a, const rl_tensor *b) {
    if (a->storage != b->storage || a->numel == 0 || b->numel == 0)
        return RL_APART;
    int64_t a_low, a_high, b_low, b_high;
    byte_range(a, &a_low, &a_high);
    byte_range(b, &b_low, &b_high);
    if (a_high <= b_low || b_high <= a_low)
        return RL_APART;
    if (rl_dtype_size((rl_dtype)a->dtype) != rl_dtype_size((rl_dtype)b->dtype))
        return RL_OVERLAPPING;
    if (has_same_elements(a, b))
        return RL_SAME;
    return in_other_columns(a, b) || in_other_columns(b, a) ? RL_APART : RL_OVERLAPPING;
}

rl_tensor *rl_row_copy(const char *op, rl_tensor *self) {
    const rl_program *program = rl_program_cast((rl_dtype)self->dtype, (rl_dtype)self->dtype);
    if (program == NULL)
        return NULL;
    int64_t stride[RL_MAX_DIMS];
    rl_dense_strides_like(self->ndim, self->shape, self->stride, stride);
    rl_tensor *copy = rl_tensor_empty(self->storage->device, (rl_dtype)self->dtype, self->ndim, self->shape, stride);
    if (copy != NULL && rl_row_map(op, program, &self, &copy, NULL) != RL_OK) {
        rl_release(copy);
        return NULL;
    }
    return copy;
}

rl_status rl_temps_separate(rl_temps *self, const char *op, rl_tensor **input, const rl_tensor *output,
                            bool same_passes) {
    rl_overlap overlap = rl_overlap_of(*input, output);
    if (overlap == RL_APART || (overlap == RL_SAME && same_passes))
        return RL_OK;
    rl_tensor *copy = rl_row_copy(op, *input);
    if (copy == NULL)
        return rl_error_status();
    assert(self->count < RL_MAX_INPUTS);
    self->tensors[self->count++] = copy;
    *input = copy;
    return RL_OK;
}

void rl_temps_release(rl_temps *self) {
    while (self->count > 0)
        rl_release(self->tensors[--self->count]);
}

/* Layout ---------------------------------------------------------------------------------------------------------- */

static void move_dim(rl_layout *self, rl_operand *operands, int count, int64_t to, int64_t from) {
    if (to == from)
        return;
    self->shape[to] = self->shape[from];
    self->marked = (self->marked & ~(1u << to)) | (self->marked >> from & 1) << to;
    for (int k = 0; k < count; k++)
        operands[k].stride[to] = operands[k].stride[from];
}

static void set_ndim(rl_layout *self, int64_t ndim) {
    self->ndim = ndim;
    self->marked &= (1u << ndim) - 1;
}

static void drop_ones(rl_layout *self, rl_operand *operands, int count) {
    int64_t kept = 0;
    for (int64_t d = 0; d < self->ndim; d++)
        if (self->shape[d] != 1 || (self->keep_marked && self->marked >> d & 1))
            move_dim(self, operands, count, kept++, d);
    set_ndim(self, kept);
}

/* Whether `inner` should rather lie outside of `outer`: 1 yes, -1 no, 0 the strides do not tell. */
static int misplaced(const rl_layout *self, const rl_operand *operands, int count, int lead, int64_t outer,
                     int64_t inner) {
    if (self->marked_ordered && self->marked >> outer & self->marked >> inner & 1)
        return -1;
    for (int i = 0; i < count; i++) {
        const rl_operand *operand = &operands[lead + i < count ? lead + i : lead + i - count];
        int64_t a = operand->stride[outer], b = operand->stride[inner];
        a = a < 0 ? -a : a;
        b = b < 0 ? -b : b;
        if (a != 0 && b != 0 && a != b)
            return a < b ? 1 : -1;
    }
    return 0;
}

/* An insertion sort that steps over dimensions of which the strides do not tell. */
static void order_dims(rl_layout *self, rl_operand *operands, int count, int lead) {
    int64_t order[RL_MAX_DIMS];
    bool changed = false;
    for (int64_t i = 0; i < self->ndim; i++) {
        int64_t target = i;
        for (int64_t j = i - 1; j >= 0; j--) {
            int wrong = misplaced(self, operands, count, lead, order[j], i);
            if (wrong < 0)
                break;
            if (wrong > 0)
                target = j;
        }
        memmove(order + target + 1, order + target, (size_t)(i - target) * sizeof *order);
        order[target] = i;
        changed = changed || target != i;
    }
    if (!changed)
        return;
    rl_layout old = *self;
    self->marked = 0;
    for (int64_t d = 0; d < self->ndim; d++) {
        self->shape[d] = old.shape[order[d]];
        self->marked |= (old.marked >> order[d] & 1) << d;
    }
    for (int k = 0; k < count; k++) {
        int64_t stride[RL_MAX_DIMS];
        memcpy(stride, operands[k].stride, (size_t)self->ndim * sizeof *stride);
        for (int64_t d = 0; d < self->ndim; d++)
            operands[k].stride[d] = stride[order[d]];
    }
}

/* Whether dimension `inner` goes on where the one outside of it leaves off, in every operand. */
static bool is_one_run(const rl_layout *self, const rl_operand *operands, int count, int64_t outer, int64_t inner) {
    if ((self->marked >> outer & 1) != (self->marked >> inner & 1))
        return false;
    for (int k = 0; k < count; k++)
        if (operands[k].stride[outer] != operands[k].stride[inner] * self->shape[inner])
            return false;
    return true;
}

static void merge_runs(rl_layout *self, rl_operand *operands, int count) {
    int64_t last = 0;
    for (int64_t d = 1; d < self->ndim; d++) {
        int64_t outer = self->shape[last];
        bool merged = is_one_run(self, operands, count, last, d);
        last += !merged;
        move_dim(self, operands, count, last, d);
        if (merged)
            self->shape[last] *= outer;
    }
    if (self->ndim > 0)
        set_ndim(self, last + 1);
}

void rl_layout_simplify(rl_layout *self, rl_operand *operands, int count, int lead) {
    for (int64_t d = 0; d < self->ndim; d++)
        if (self->shape[d] == 0)
            return;
    drop_ones(self, operands, count);
    if (self->reorder)
        order_dims(self, operands, count, lead);
    merge_runs(self, operands, count);
}
