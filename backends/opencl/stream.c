/* SPDX-License-Identifier: Apache-2.0 */
/* Streams are in-order queues, events markers in them. */
#include <stdlib.h>
#include <string.h>

#include "device/params.h"
#include "opencl.h"

#define SMALL_SLOTS 64
#define SMALL_BYTES 16384
#define LARGE_SLOTS 4
#define LARGE_BYTES (1u << 20)

static rl_status fill_stream(rl_backend_stream *self) {
    rl_backend_device *device = self->device;
    cl_int error = CL_SUCCESS;
    const rl_flags none = {0};
    self->queue =
        clCreateCommandQueue(device->context, device->id, device->profile ? CL_QUEUE_PROFILING_ENABLE : 0, &error);
    if (error)
        return ocl_fail(error, "clCreateCommandQueue", NULL);
    rl_status status = ocl_ring_init(&self->small, self, SMALL_SLOTS, SMALL_BYTES);
    if (!status)
        status = ocl_ring_init(&self->large, self, LARGE_SLOTS, LARGE_BYTES);
    if (!status)
        status = ocl_buffer_init(device, 0, SMALL_SLOTS * SMALL_BYTES, &self->uploads);
    if (!status)
        status = ocl_buffer_init(device, 0, sizeof none, &self->flags);
    if (!status)
        status = ocl_copy_in(self, &self->flags, 0, &none, sizeof none);
    return status;
}

rl_status ocl_stream_create(rl_backend_device *device, rl_backend_stream **out_stream) {
    rl_backend_stream *self = calloc(1, sizeof *self);
    if (!self)
        return ocl_host->fail(RL_OUT_OF_MEMORY, "no host memory for a stream");
    self->accel = &device->accel;
    self->device = device;
    rl_status status = fill_stream(self);
    if (status)
        ocl_stream_destroy(self);
    else
        *out_stream = self;
    return status;
}

void ocl_stream_destroy(rl_backend_stream *self) {
    if (!self)
        return;
    if (self->queue)
        clFinish(self->queue);
    ocl_ring_deinit(&self->small, self);
    ocl_ring_deinit(&self->large, self);
    if (self->queue) {
        clFinish(self->queue);
        clReleaseCommandQueue(self->queue);
    }
    ocl_buffer_deinit(self->device, &self->uploads);
    ocl_buffer_deinit(self->device, &self->flags);
    for (int i = 0; i < OCL_SCRATCH_SLOTS; i++)
        ocl_buffer_deinit(self->device, &self->scratch[i]);
    free(self);
}

/* The error that kernels left in the flags. */
static rl_status read_flags(rl_backend_stream *self) {
    static const char *const names[] = RL_FLAG_NAMES;
    rl_flags flags;
    const rl_flags none = {0};
    cl_int error = clEnqueueReadBuffer(self->queue, self->flags.mem, CL_TRUE, 0, sizeof flags, &flags, 0, NULL, NULL);
    if (error)
        return ocl_fail(error, "clEnqueueReadBuffer", self->last_op);
    self->flagged = 0;
    if (!flags.claimed)
        return RL_OK;
    rl_status status = ocl_copy_in(self, &self->flags, 0, &none, sizeof none);
    if (status)
        return status;
    int64_t row = flags.row > 0 && flags.row < (int64_t)(sizeof names / sizeof *names) ? flags.row : 0;
    return ocl_host->fail(RL_INDEX_OUT_OF_RANGE, "%s: index %lld is out of range for size %lld",
                          *self->flag_op[row] ? self->flag_op[row] : names[row], (long long)flags.index,
                          (long long)flags.size);
}

rl_status ocl_stream_sync(rl_backend_stream *self) {
    cl_int error = clFinish(self->queue);
    if (error)
        return ocl_fail(error, "clFinish", self->last_op);
    rl_accel_store(self->accel);
    return self->flagged ? read_flags(self) : RL_OK;
}

/* Events ------------------------------------------------------------------------------------------------------- */

rl_status ocl_event_create(rl_backend_device *device, rl_backend_event **out_event) {
    rl_backend_event *self = calloc(1, sizeof *self);
    (void)device;
    if (!self || pthread_mutex_init(&self->lock, NULL)) {
        free(self);
        return ocl_host->fail(RL_OUT_OF_MEMORY, "no host memory for an event");
    }
    *out_event = self;
    return RL_OK;
}

/* The mark, retained; NULL where nothing was recorded. */
static cl_event mark_of(rl_backend_event *self) {
    pthread_mutex_lock(&self->lock);
    cl_event mark = self->mark;
    if (mark)
        clRetainEvent(mark);
    pthread_mutex_unlock(&self->lock);
    return mark;
}

static void set_mark(rl_backend_event *self, cl_event mark) {
    pthread_mutex_lock(&self->lock);
    cl_event old = self->mark;
    self->mark = mark;
    pthread_mutex_unlock(&self->lock);
    if (old)
        clReleaseEvent(old);
}

void ocl_event_destroy(rl_backend_event *self) {
    if (!self)
        return;
    set_mark(self, NULL);
    pthread_mutex_destroy(&self->lock);
    free(self);
}

rl_status ocl_event_record(rl_backend_event *self, rl_backend_stream *stream) {
    cl_event mark = NULL;
    cl_int error = clEnqueueMarkerWithWaitList(stream->queue, 0, NULL, &mark);
    if (!error && (error = clFlush(stream->queue))) /* who waits for it in another queue waits for work that began */
        clReleaseEvent(mark);
    if (error)
        return ocl_fail(error, "clEnqueueMarkerWithWaitList", "event_record");
    set_mark(self, mark);
    return RL_OK;
}

rl_status ocl_stream_wait(rl_backend_stream *stream, rl_backend_event *event) {
    cl_event mark = mark_of(event);
    if (!mark)
        return RL_OK;
    cl_int error = clEnqueueBarrierWithWaitList(stream->queue, 1, &mark, NULL);
    clReleaseEvent(mark);
    return error ? ocl_fail(error, "clEnqueueBarrierWithWaitList", "stream_wait") : RL_OK;
}

int ocl_event_done(rl_backend_event *event) {
    cl_event mark = mark_of(event);
    cl_int state = CL_COMPLETE;
    if (!mark)
        return 1;
    if (clGetEventInfo(mark, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL))
        state = CL_COMPLETE;
    clReleaseEvent(mark);
    return state <= CL_COMPLETE; /* below: it ended with an error */
}

rl_status ocl_event_sync(rl_backend_event *event) {
    cl_event mark = mark_of(event);
    if (!mark)
        return RL_OK;
    cl_int error = clWaitForEvents(1, &mark);
    clReleaseEvent(mark);
    /* An error of the work before the mark stays with its stream. */
    return error && error != CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST ? ocl_fail(error, "clWaitForEvents", NULL)
                                                                          : RL_OK;
}
