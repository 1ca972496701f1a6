/* SPDX-License-Identifier: Apache-2.0 */
#include "line.h"

#include "device_text.h"

void rl_line_write(rl_text_buffer *out, const rl_accel *accel, const rl_accel_spec *spec) {
    (void)accel, (void)spec;
    rl_text_put_all(out, rl_device_line);
}

/* Elements next to each other fill vectors, and so do lines; where neither are, the longer ones do. */
int rl_line_columns(const rl_accel *self, const rl_line *line) {
    const int64_t width = (int64_t)self->traits.width, few = self->traits.group > 1 ? 4 * width : width;
    if (line->size < few && line->inner >= width)
        return 1;
    if (line->along_unit)
        return 0;
    if (line->across_unit)
        return 2 * line->inner >= width || line->size < width;
    return line->size < width && line->inner > line->size;
}

/* Enough that neighbours read what lies next to each other, and more where there are few lines. */
int rl_line_team(const rl_accel *self, const rl_line *line) {
    const int64_t vectors = rl_line_up(line->size, (int64_t)self->traits.width), most = (int64_t)self->traits.group;
    const int64_t busy = rl_accel_usual_units(&self->traits) * 2 * most;
    int64_t team = 1;
    while (team < most && team < vectors && (team < 8 || team * 4 < vectors || line->lines * team < busy))
        team *= 2;
    return (int)team;
}

uint64_t rl_line_groups(const rl_accel *self, int64_t items, int team, uint64_t cost) {
    return rl_accel_groups(self, (uint64_t)items * (uint64_t)team, cost);
}

static int64_t greatest_stride(const rl_layout *layout, int d) {
    int64_t most = 0;
    for (int k = 0; k < layout->n; k++) {
        int64_t stride = layout->stride[k][d];
        stride = stride < 0 ? -stride : stride;
        most = stride > most ? stride : most;
    }
    return most;
}

static void swap(int64_t *a, int64_t *b) {
    int64_t held = *a;
    *a = *b;
    *b = held;
}

void rl_line_sort(rl_layout *layout) {
    for (int d = 1; d < layout->dims; d++)
        for (int e = d; e > 0 && greatest_stride(layout, e - 1) < greatest_stride(layout, e); e--) {
            swap(&layout->shape[e - 1], &layout->shape[e]);
            for (int k = 0; k < layout->n; k++)
                swap(&layout->stride[k][e - 1], &layout->stride[k][e]);
        }
}

int64_t rl_line_up(int64_t n, int64_t step) {
    return (n + step - 1) / step;
}
