/* SPDX-License-Identifier: Apache-2.0 */
/* The rows that work along one dimension: gather, scatter, scan, sort. */
#include "dispatch/rows.h"

/* The operands of tensors read as `shape_of`'s shape, simplified but for dimension `dim`, which every call has: a
 * tensor without dimensions is one of one element. */
static rl_layout lay_out(const rl_tensor *shape_of, int64_t dim, rl_tensor *const *tensors, rl_operand *operands,
                         int count, int lead) {
    rl_layout layout = {.ndim = shape_of->ndim, .marked = 1u << dim, .reorder = true, .keep_marked = true};
    assert(dim >= 0 && dim < (layout.ndim > 0 ? layout.ndim : 1));
    for (int64_t d = 0; d < layout.ndim; d++)
        layout.shape[d] = shape_of->shape[d];
    for (int k = 0; k < count; k++)
        rl_operand_of(tensors[k], &operands[k]);
    if (layout.ndim == 0) {
        layout.ndim = layout.shape[0] = 1;
        for (int k = 0; k < count; k++)
            operands[k].stride[0] = 1;
    }
    rl_layout_simplify(&layout, operands, count, lead);
    return layout;
}

static int64_t size_along(const rl_tensor *self, int64_t dim) {
    return self->ndim > 0 ? self->shape[dim] : 1;
}

/* After gather and scatter: a bad index is told with the caller's dimension, which the backend does not know. */
static rl_status leave(rl_device *device, rl_backend_stream *stream, const char *op, rl_status status, int64_t dim) {
    if (status != RL_INDEX_OUT_OF_RANGE)
        return rl_row_leave(device, stream, op, status);
    rl_device_stream_leave(device, stream);
    return rl_device_bad_index(device, op, dim);
}

rl_status rl_row_gather(const char *op, rl_tensor *self, int64_t dim, rl_tensor *index, rl_tensor *out) {
    assert(self->ndim == out->ndim && index->ndim == out->ndim && self->dtype == out->dtype);
    if (out->numel == 0)
        return RL_OK;
    rl_device *device = out->storage->device;
    rl_temps temps;
    temps.count = 0;
    rl_status status = rl_temps_separate(&temps, op, &self, out, false);
    if (status == RL_OK)
        status = rl_temps_separate(&temps, op, &index, out, false);
    if (status == RL_OK) {
        rl_tensor *const tensors[] = {self, index, out};
        rl_operand operands[3];
        rl_layout layout = lay_out(out, dim, tensors, operands, 3, 2);
        rl_gather_args args = {.size = sizeof args,
                               .dtype = out->dtype,
                               .index_dtype = index->dtype,
                               .dim = rl_layout_marked_dim(&layout),
                               .ndim = layout.ndim,
                               .dim_size = size_along(self, dim),
                               .in = operands[0],
                               .index = operands[1],
                               .out = operands[2]};
        memcpy(args.shape, layout.shape, sizeof args.shape);
        rl_row_uses(device, op, tensors, 3);
        rl_backend_stream *stream = rl_device_stream_enter(device);
        status = leave(device, stream, op, device->api.gather(stream, &args), dim);
    }
    rl_temps_release(&temps);
    return status;
}

rl_status rl_row_scatter(const char *op, rl_tensor *out, int64_t dim, rl_tensor *index, rl_tensor *source,
                         rl_scatter_mode mode) {
    assert(source->ndim == out->ndim && index->ndim == out->ndim && source->dtype == out->dtype);
    if (index->numel == 0)
        return RL_OK;
    rl_device *device = out->storage->device;
    rl_temps temps;
    temps.count = 0;
    rl_status status = rl_temps_separate(&temps, op, &source, out, false);
    if (status == RL_OK)
        status = rl_temps_separate(&temps, op, &index, out, false);
    if (status == RL_OK) {
        rl_tensor *const tensors[] = {source, index, out};
        rl_operand operands[3];
        rl_layout layout = lay_out(index, dim, tensors, operands, 3, 2);
        rl_scatter_args args = {.size = sizeof args,
                                .dtype = out->dtype,
                                .index_dtype = index->dtype,
                                .dim = rl_layout_marked_dim(&layout),
                                .ndim = layout.ndim,
                                .dim_size = size_along(out, dim),
                                .mode = mode,
                                .in = operands[0],
                                .index = operands[1],
                                .out = operands[2]};
        memcpy(args.shape, layout.shape, sizeof args.shape);
        rl_row_uses(device, op, tensors, 3);
        rl_backend_stream *stream = rl_device_stream_enter(device);
        status = leave(device, stream, op, device->api.scatter(stream, &args), dim);
    }
    rl_temps_release(&temps);
    return status;
}

rl_status rl_row_scan(const char *op, rl_scan_op scan, rl_tensor *self, int64_t dim, rl_tensor *out,
                      rl_tensor *indices) {
    assert(self->numel == out->numel && self->dtype == out->dtype);
    assert(indices == NULL || (indices->dtype == RL_I64 && indices->numel == out->numel));
    if (out->numel == 0)
        return RL_OK;
    rl_device *device = out->storage->device;
    rl_temps temps;
    temps.count = 0;
    rl_status status = rl_temps_separate(&temps, op, &self, out, true);
    if (status == RL_OK && indices != NULL)
        status = rl_temps_separate(&temps, op, &self, indices, false);
    if (status == RL_OK) {
        rl_tensor *const tensors[] = {self, out, indices};
        rl_operand operands[3] = {0};
        int count = indices ? 3 : 2;
        rl_layout layout = lay_out(out, dim, tensors, operands, count, 1);
        rl_scan_args args = {.size = sizeof args,
                             .dtype = out->dtype,
                             .op = scan,
                             .dim = rl_layout_marked_dim(&layout),
                             .ndim = layout.ndim,
                             .has_indices = indices != NULL,
                             .in = operands[0],
                             .out = operands[1],
                             .indices = operands[2]};
        memcpy(args.shape, layout.shape, sizeof args.shape);
        rl_row_uses(device, op, tensors, count);
        rl_backend_stream *stream = rl_device_stream_enter(device);
        status = rl_row_leave(device, stream, op, device->api.scan(stream, &args));
    }
    rl_temps_release(&temps);
    return status;
}

rl_status rl_row_sort(const char *op, rl_tensor *self, int64_t dim, bool descending, rl_tensor *values,
                      rl_tensor *indices) {
    assert(self->numel == values->numel && self->dtype == values->dtype);
    assert(indices->dtype == RL_I64 && indices->numel == values->numel);
    if (values->numel == 0)
        return RL_OK;
    rl_device *device = values->storage->device;
    rl_temps temps;
    temps.count = 0;
    rl_status status = rl_temps_separate(&temps, op, &self, values, false);
    if (status == RL_OK)
        status = rl_temps_separate(&temps, op, &self, indices, false);
    if (status == RL_OK) {
        rl_tensor *const tensors[] = {self, values, indices};
        rl_operand operands[3];
        rl_layout layout = lay_out(values, dim, tensors, operands, 3, 1);
        rl_sort_args args = {.size = sizeof args,
                             .dtype = values->dtype,
                             .dim = rl_layout_marked_dim(&layout),
                             .descending = descending,
                             .ndim = layout.ndim,
                             .in = operands[0],
                             .values = operands[1],
                             .indices = operands[2]};
        memcpy(args.shape, layout.shape, sizeof args.shape);
        rl_row_uses(device, op, tensors, 3);
        rl_backend_stream *stream = rl_device_stream_enter(device);
        status = rl_row_leave(device, stream, op, device->api.sort(stream, &args));
    }
    rl_temps_release(&temps);
    return status;
}
