/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams: queues of tasks that nobody runs until an event or a synchronization asks for them, and the worker of a
 * device, which is started when it is asked for the first time.
 */
#include <stdlib.h>
#include <string.h>

#include "sim.h"

static void queue_drop_locked(sim_queue *queue) {
    if (--queue->count == 0)
        free(queue);
}

void sim_mark_drop_locked(sim_mark *mark) {
    if (mark->queue)
        queue_drop_locked(mark->queue);
    mark->queue = NULL;
}

static void stick_locked(sim_queue *queue, rl_status status, const char *sentence) {
    if (!status || queue->sticky)
        return;
    queue->sticky = status;
    memcpy(queue->sentence, sentence, SENTENCE);
}

/* Takes the head off, as done. */
static void complete_locked(sim_queue *queue) {
    sim_task *task = queue->head;
    queue->head = task->next;
    if (!queue->head)
        queue->tail = NULL;
    queue->completed = task->number;
    if (task->kind == TASK_WAIT)
        sim_mark_drop_locked(&task->args.wait);
    free(task);
    if (queue->completed >= queue->wake_at) {
        queue->wake_at = UINT64_MAX;
        pthread_cond_broadcast(&sim.changed);
    }
}

/* The worker ------------------------------------------------------------------------------------------------------ */

/* Whether a mark is reached; if not, its work is asked for, and whoever sleeps now will be woken by it. */
static bool reached_locked(const sim_mark *mark, bool *out_asked) {
    sim_queue *queue = mark->queue;
    if (queue->completed >= mark->number)
        return true;
    if (queue->demanded < mark->number) {
        sim_demand_locked(queue, mark->number);
        *out_asked = true;
    }
    if (queue->wake_at > mark->number)
        queue->wake_at = mark->number;
    return false;
}

/* A queue of the device whose head is to be run now; waits that are over are taken off on the way. */
static sim_queue *runnable_locked(sim_device *device) {
    for (bool again = true; again;) {
        again = false;
        for (sim_queue *queue = device->queues; queue; queue = queue->next)
            while (queue->head && queue->head->number <= queue->demanded) {
                if (queue->head->kind != TASK_WAIT)
                    return queue;
                if (!reached_locked(&queue->head->args.wait, &again))
                    break;
                complete_locked(queue);
            }
    }
    return NULL;
}

static void run_head_locked(sim_queue *queue) {
    char sentence[SENTENCE] = "";
    rl_status status = RL_OK;
    if (!queue->device->lost) {
        pthread_mutex_unlock(&sim.lock);
        status = sim_task_run(queue->device, queue->head, sentence);
        pthread_mutex_lock(&sim.lock);
    }
    stick_locked(queue, status, sentence);
    complete_locked(queue);
}

static void *work(void *argument) {
    sim_device *device = argument;
    pthread_mutex_lock(&sim.lock);
    while (!device->stopping) {
        sim_queue *queue = runnable_locked(device);
        if (queue)
            run_head_locked(queue);
        else
            pthread_cond_wait(&sim.changed, &sim.lock);
    }
    pthread_mutex_unlock(&sim.lock);
    return NULL;
}

/* Without a thread the device can do nothing: it counts as lost, and the caller drops what waits. */
static void start_locked(sim_device *device) {
    if (device->started)
        return;
    device->stopping = false;
    device->started = pthread_create(&device->worker, NULL, work, device) == 0;
    if (!device->started) {
        device->lost = true;
        for (sim_queue *queue = device->queues; queue; queue = queue->next)
            while (queue->head)
                complete_locked(queue);
    }
}

void sim_demand_locked(sim_queue *queue, uint64_t number) {
    if (queue->demanded >= number || queue->completed >= number)
        return;
    queue->demanded = number;
    start_locked(queue->device);
    pthread_cond_broadcast(&sim.changed);
}

void sim_wait_locked(sim_queue *queue, uint64_t number) {
    sim_demand_locked(queue, number);
    while (queue->completed < number) {
        if (queue->wake_at > number)
            queue->wake_at = number;
        pthread_cond_wait(&sim.changed, &sim.lock);
    }
}

/* Streams --------------------------------------------------------------------------------------------------------- */

static void drop_task(sim_task *task) {
    if (task->kind == TASK_WAIT)
        sim_mark_drop_locked(&task->args.wait);
    free(task);
}

rl_status sim_submit(rl_backend_stream *stream, sim_failure kind, const char *call, sim_task *task) {
    if (!task)
        return RL_OUT_OF_MEMORY;
    pthread_mutex_lock(&sim.lock);
    sim_queue *queue = sim_handle_find_locked(HANDLE_STREAM, stream);
    rl_status status = RL_OK;
    if (!queue)
        status = sim.host->fail(RL_INVALID_ARGUMENT, "%s: %p is no stream of sim", call, (void *)stream);
    else if (kind != FAIL_NONE)
        status = sim_admit_locked(queue->device, kind, call);
    if (status) {
        drop_task(task);
    } else {
        task->number = ++queue->submitted;
        *(queue->tail ? &queue->tail->next : &queue->head) = task;
        queue->tail = task;
        if (sim.eager || queue->submitted - queue->completed > QUEUE_LIMIT)
            sim_demand_locked(queue, queue->submitted);
    }
    pthread_mutex_unlock(&sim.lock);
    return status;
}

rl_status sim_stream_create(rl_backend_device *handle, rl_backend_stream **out_stream) {
    sim_queue *queue = calloc(1, sizeof *queue);
    pthread_mutex_lock(&sim.lock);
    sim_device *device = sim_handle_find_locked(HANDLE_DEVICE, handle);
    uintptr_t made = queue && device ? sim_handle_new_locked(HANDLE_STREAM, queue) : 0;
    if (made) {
        queue->count = 1;
        queue->device = device;
        queue->wake_at = UINT64_MAX;
        queue->next = device->queues;
        device->queues = queue;
        device->n_streams++;
        *out_stream = (rl_backend_stream *)made;
    }
    pthread_mutex_unlock(&sim.lock);
    if (made)
        return RL_OK;
    free(queue);
    return device ? sim.host->fail(RL_OUT_OF_MEMORY, "stream_create: no host memory for a stream")
                  : sim.host->fail(RL_INVALID_ARGUMENT, "stream_create: %p is no device of sim", (void *)handle);
}

static void unlink_locked(sim_queue *queue) {
    sim_queue **at = &queue->device->queues;
    while (*at != queue)
        at = &(*at)->next;
    *at = queue->next;
    queue->device->n_streams--;
}

void sim_stream_destroy(rl_backend_stream *stream) {
    pthread_mutex_lock(&sim.lock);
    sim_queue *queue = stream ? sim_handle_find_locked(HANDLE_STREAM, stream) : NULL;
    if (queue) {
        sim_wait_locked(queue, queue->submitted);
        sim_handle_free_locked(stream);
        sim_queue_end_locked(queue);
    }
    pthread_mutex_unlock(&sim.lock);
}

rl_status sim_stream_sync(rl_backend_stream *stream) {
    char sentence[SENTENCE];
    pthread_mutex_lock(&sim.lock);
    sim_queue *queue = sim_handle_find_locked(HANDLE_STREAM, stream);
    rl_status status = RL_INVALID_ARGUMENT, sticky = RL_OK;
    if (queue) {
        sim_wait_locked(queue, queue->submitted);
        sticky = queue->sticky;
        memcpy(sentence, queue->sentence, SENTENCE);
        queue->sticky = RL_OK;
        status = sim_admit_locked(queue->device, FAIL_SYNC, "stream_sync");
    } else {
        sim.host->fail(status, "stream_sync: %p is no stream of sim", (void *)stream);
    }
    pthread_mutex_unlock(&sim.lock);
    return sticky ? sim.host->fail(sticky, "%s", sentence) : status;
}

void sim_stop(sim_device *device) {
    pthread_mutex_lock(&sim.lock);
    bool started = device->started;
    device->stopping = true;
    pthread_cond_broadcast(&sim.changed);
    pthread_mutex_unlock(&sim.lock);
    if (started)
        pthread_join(device->worker, NULL);
    device->started = false;
}

void sim_queue_end_locked(sim_queue *queue) {
    while (queue->head)
        complete_locked(queue);
    unlink_locked(queue);
    queue_drop_locked(queue);
}
