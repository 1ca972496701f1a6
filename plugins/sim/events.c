/* SPDX-License-Identifier: Apache-2.0 */
/* Events: marks in the work of a stream. Asking for one makes the work start. */
#include <stdlib.h>

#include "sim.h"

static rl_status no_event(const char *call, const void *event) {
    return sim.host->fail(RL_INVALID_ARGUMENT, "%s: %p is no event of sim", call, event);
}

rl_status sim_event_create(rl_backend_device *handle, rl_backend_event **out_event) {
    sim_event *event = calloc(1, sizeof *event);
    pthread_mutex_lock(&sim.lock);
    sim_device *device = sim_handle_find_locked(HANDLE_DEVICE, handle);
    uintptr_t made = event && device ? sim_handle_new_locked(HANDLE_EVENT, event) : 0;
    if (made) {
        event->device = device;
        device->n_events++;
        *out_event = (rl_backend_event *)made;
    }
    pthread_mutex_unlock(&sim.lock);
    if (made)
        return RL_OK;
    free(event);
    return device ? sim.host->fail(RL_OUT_OF_MEMORY, "event_create: no host memory for an event")
                  : sim.host->fail(RL_INVALID_ARGUMENT, "event_create: %p is no device of sim", (void *)handle);
}

void sim_event_destroy(rl_backend_event *handle) {
    pthread_mutex_lock(&sim.lock);
    sim_event *event = handle ? sim_handle_find_locked(HANDLE_EVENT, handle) : NULL;
    if (event) {
        sim_handle_free_locked(handle);
        sim_mark_drop_locked(&event->mark);
        event->device->n_events--;
        free(event);
    }
    pthread_mutex_unlock(&sim.lock);
}

rl_status sim_event_record(rl_backend_event *handle, rl_backend_stream *stream) {
    pthread_mutex_lock(&sim.lock);
    sim_event *event = sim_handle_find_locked(HANDLE_EVENT, handle);
    sim_queue *queue = sim_handle_find_locked(HANDLE_STREAM, stream);
    if (event && queue) {
        queue->count++;
        sim_mark_drop_locked(&event->mark);
        event->mark = (sim_mark){queue, queue->submitted};
    }
    pthread_mutex_unlock(&sim.lock);
    if (!queue)
        return sim.host->fail(RL_INVALID_ARGUMENT, "event_record: %p is no stream of sim", (void *)stream);
    return event ? RL_OK : no_event("event_record", handle);
}

rl_status sim_stream_wait(rl_backend_stream *stream, rl_backend_event *handle) {
    sim_task *task = sim_task_new(TASK_WAIT, 0);
    if (!task)
        return RL_OUT_OF_MEMORY;
    pthread_mutex_lock(&sim.lock);
    sim_event *event = sim_handle_find_locked(HANDLE_EVENT, handle);
    bool marked = event && event->mark.queue;
    if (marked) {
        task->args.wait = event->mark;
        task->args.wait.queue->count++;
    }
    pthread_mutex_unlock(&sim.lock);
    if (marked)
        return sim_submit(stream, FAIL_NONE, "stream_wait", task);
    free(task);
    return event ? RL_OK : no_event("stream_wait", handle);
}

int sim_event_done(rl_backend_event *handle) {
    int done = 1;
    pthread_mutex_lock(&sim.lock);
    sim_event *event = sim_handle_find_locked(HANDLE_EVENT, handle);
    if (event && event->mark.queue) {
        sim_demand_locked(event->mark.queue, event->mark.number);
        done = event->mark.queue->completed >= event->mark.number;
    }
    pthread_mutex_unlock(&sim.lock);
    return done;
}

rl_status sim_event_sync(rl_backend_event *handle) {
    pthread_mutex_lock(&sim.lock);
    sim_event *event = sim_handle_find_locked(HANDLE_EVENT, handle);
    rl_status status = event ? sim_admit_locked(event->device, FAIL_SYNC, "event_sync") : RL_OK;
    if (event && event->mark.queue) {
        sim_mark mark = event->mark; /* the event may be recorded again meanwhile */
        mark.queue->count++;
        sim_wait_locked(mark.queue, mark.number);
        sim_mark_drop_locked(&mark);
    }
    pthread_mutex_unlock(&sim.lock);
    return event ? status : no_event("event_sync", handle);
}
