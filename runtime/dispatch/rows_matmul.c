/* SPDX-License-Identifier: Apache-2.0 */
/* The row `matmul`. */
#include "dispatch/rows.h"

/* The operand as (batch ..., rows, columns); the batch broadcasts to c's. */
static void fill_operand(const rl_tensor *self, const rl_tensor *c, rl_operand *out) {
    int64_t shape[RL_MAX_DIMS];
    memcpy(shape, c->shape, (size_t)c->ndim * sizeof *shape);
    shape[c->ndim - 2] = self->shape[self->ndim - 2];
    shape[c->ndim - 1] = self->shape[self->ndim - 1];
    rl_operand_broadcast(self, c->ndim, shape, out);
}

/* Orders and merges the batch dimensions, which come first in the strides; the matrices' own strides follow them. */
static void simplify_batch(rl_matmul_args *args, int64_t batch_ndim, const int64_t *batch_shape, rl_operand *operands) {
    int64_t matrix[3][2];
    for (int k = 0; k < 3; k++)
        memcpy(matrix[k], operands[k].stride + batch_ndim, sizeof matrix[k]);
    rl_layout layout = {.ndim = batch_ndim, .reorder = true};
    memcpy(layout.shape, batch_shape, (size_t)batch_ndim * sizeof *batch_shape);
    rl_layout_simplify(&layout, operands, 3, 2);
    for (int k = 0; k < 3; k++)
        memcpy(operands[k].stride + layout.ndim, matrix[k], sizeof matrix[k]);
    args->batch_ndim = layout.ndim;
    memcpy(args->batch_shape, layout.shape, (size_t)layout.ndim * sizeof *batch_shape);
}

/* A batch of a's over one b is one tall matrix where a's and c's rows go on from one to the next. */
static void fold_batch(rl_matmul_args *args, rl_operand *operands) {
    int64_t *a = operands[0].stride, *b = operands[1].stride, *c = operands[2].stride;
    if (args->batch_ndim != 1 || b[0] != 0)
        return;
    if (args->m == 1) {
        a[1] = a[0];
        c[1] = c[0];
    } else if (a[0] != args->m * a[1] || c[0] != args->m * c[1]) {
        return;
    }
    args->m *= args->batch_shape[0];
    args->batch_ndim = 0;
    for (int k = 0; k < 3; k++)
        memmove(operands[k].stride, operands[k].stride + 1, 2 * sizeof(int64_t));
}

rl_status rl_row_matmul(const char *op, rl_tensor *a, rl_tensor *b, rl_tensor *c, double alpha, double beta) {
    assert(a->ndim >= 2 && b->ndim >= 2 && c->ndim >= 2 && a->ndim <= c->ndim && b->ndim <= c->ndim);
    assert(a->dtype == c->dtype && b->dtype == c->dtype);
    assert(a->shape[a->ndim - 1] == b->shape[b->ndim - 2]);
    if (c->numel == 0)
        return RL_OK;
    rl_device *device = c->storage->device;
    rl_temps temps;
    temps.count = 0;
    rl_status status = rl_temps_separate(&temps, op, &a, c, false);
    if (status == RL_OK)
        status = rl_temps_separate(&temps, op, &b, c, false);
    if (status == RL_OK) {
        rl_matmul_args args = {.size = sizeof args,
                               .dtype = c->dtype,
                               .m = c->shape[c->ndim - 2],
                               .n = c->shape[c->ndim - 1],
                               .k = a->shape[a->ndim - 1],
                               .alpha = alpha,
                               .beta = beta};
        rl_operand operands[3];
        fill_operand(a, c, &operands[0]);
        fill_operand(b, c, &operands[1]);
        rl_operand_of(c, &operands[2]);
        simplify_batch(&args, c->ndim - 2, c->shape, operands);
        fold_batch(&args, operands);
        args.a = operands[0];
        args.b = operands[1];
        args.c = operands[2];
        rl_row_uses(device, op, (rl_tensor *[]){a, b, c}, 3);
        rl_backend_stream *stream = rl_device_stream_enter(device);
        status = rl_row_leave(device, stream, op, device->api.matmul(stream, &args));
    }
    rl_temps_release(&temps);
    return status;
}
