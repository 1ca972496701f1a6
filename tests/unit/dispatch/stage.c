/* SPDX-License-Identifier: Apache-2.0 */
#include "stage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Ends the program: under the locks of what is tested, and on any thread, there is no way back into the test. */
#define check(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                                    \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

stage_state stage;
rl_device stage_device;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static rl_backend_buffer *buffers;
static rl_backend_stream *streams[STAGE_STREAMS];
static int n_streams;

static bool busy(const rl_backend_buffer *buffer, const rl_backend_stream *but) {
    for (int i = 0; i < n_streams; i++) {
        if (streams[i] != but && buffer->work[i] > streams[i]->done)
            return true;
    }
    return false;
}

/* The backend ------------------------------------------------------------------------------------------------------ */

static rl_backend_buffer *buffer_make(uint64_t bytes, bool wrapped) {
    rl_backend_buffer *made = calloc(1, sizeof *made);
    check(made);
    made->work = calloc(STAGE_STREAMS, sizeof *made->work);
    check(made->work);
    made->bytes = bytes;
    made->wrapped = wrapped;
    made->next = buffers;
    buffers = made;
    stage.buffers++;
    return made;
}

static rl_status mem_alloc(rl_backend_device *device, uint32_t kind, uint64_t bytes, rl_backend_buffer **out) {
    (void)device, (void)kind;
    pthread_mutex_lock(&lock);
    bool room = bytes <= stage.memory - stage.in_use;
    if (room) {
        *out = buffer_make(bytes, false);
        stage.in_use += bytes;
        stage.allocations++;
    }
    pthread_mutex_unlock(&lock);
    return room ? RL_OK : rl_host_table.fail(RL_OUT_OF_MEMORY, "the stage is full");
}

static rl_status mem_wrap(rl_backend_device *device, void *address, uint64_t bytes, rl_backend_buffer **out) {
    (void)device, (void)address;
    pthread_mutex_lock(&lock);
    *out = buffer_make(bytes, true);
    pthread_mutex_unlock(&lock);
    return RL_OK;
}

static void mem_free(rl_backend_device *device, rl_backend_buffer *buffer) {
    (void)device;
    pthread_mutex_lock(&lock);
    rl_backend_buffer **at = &buffers;
    while (*at && *at != buffer)
        at = &(*at)->next;
    check(*at); /* else it was freed before */
    check(!busy(buffer, NULL));
    *at = buffer->next;
    stage.in_use -= buffer->wrapped ? 0 : buffer->bytes;
    stage.buffers--;
    free(buffer->work);
    free(buffer);
    pthread_mutex_unlock(&lock);
}

static rl_status stream_create(rl_backend_device *device, rl_backend_stream **out) {
    (void)device;
    pthread_mutex_lock(&lock);
    check(n_streams < STAGE_STREAMS);
    rl_backend_stream *made = calloc(1, sizeof *made);
    made->number = n_streams;
    made->alive = true;
    streams[n_streams++] = *out = made;
    stage.streams++;
    pthread_mutex_unlock(&lock);
    return RL_OK;
}

static void stream_destroy(rl_backend_stream *stream) {
    pthread_mutex_lock(&lock);
    check(stream->alive);
    stream->alive = false;
    stream->done = stream->given;
    stage.streams--;
    pthread_mutex_unlock(&lock);
}

static rl_status stream_sync(rl_backend_stream *stream) {
    pthread_mutex_lock(&lock);
    check(stream->alive);
    rl_status error = stream->error;
    stream->done = stream->given;
    stream->error = RL_OK;
    pthread_mutex_unlock(&lock);
    return error ? rl_host_table.fail(error, "map: the stage broke") : RL_OK;
}

static rl_status event_create(rl_backend_device *device, rl_backend_event **out) {
    (void)device;
    pthread_mutex_lock(&lock);
    *out = stage.no_events ? NULL : calloc(1, sizeof **out);
    stage.events += *out != NULL;
    pthread_mutex_unlock(&lock);
    return *out ? RL_OK : rl_host_table.fail(RL_OUT_OF_MEMORY, "no more events");
}

static void event_destroy(rl_backend_event *event) {
    pthread_mutex_lock(&lock);
    stage.events -= event != NULL;
    pthread_mutex_unlock(&lock);
    free(event);
}

static rl_status event_record(rl_backend_event *event, rl_backend_stream *stream) {
    pthread_mutex_lock(&lock);
    check(stream->alive);
    event->stream = stream;
    event->mark = stream->given;
    pthread_mutex_unlock(&lock);
    return RL_OK;
}

static rl_status event_sync(rl_backend_event *event) {
    pthread_mutex_lock(&lock);
    if (event->stream && event->stream->done < event->mark)
        event->stream->done = event->mark;
    pthread_mutex_unlock(&lock);
    return RL_OK;
}

static rl_status stream_wait(rl_backend_stream *stream, rl_backend_event *event) {
    check(stream->alive);
    return event_sync(event); /* the plain way: done at once */
}

static int event_done(rl_backend_event *event) {
    pthread_mutex_lock(&lock);
    int done = event->stream == NULL || event->stream->done >= event->mark;
    pthread_mutex_unlock(&lock);
    return done;
}

/* The device ------------------------------------------------------------------------------------------------------- */

void stage_open(uint64_t memory, uint32_t flags) {
    rl_alloc_fail_at(0, false);
    rl_error_clear();
    memset(&stage, 0, sizeof stage);
    memset(&stage_device, 0, sizeof stage_device);
    stage.memory = memory;
    stage_device.api = (rl_backend){.name = "stage",
                                    .flags = flags,
                                    .mem_alloc = mem_alloc,
                                    .mem_free = mem_free,
                                    .mem_wrap = mem_wrap,
                                    .stream_create = stream_create,
                                    .stream_destroy = stream_destroy,
                                    .stream_sync = stream_sync,
                                    .event_create = event_create,
                                    .event_destroy = event_destroy,
                                    .event_record = event_record,
                                    .stream_wait = stream_wait,
                                    .event_done = event_done,
                                    .event_sync = event_sync};
    strcpy(stage_device.name, "stage:0");
    stage_device.info.memory_total = memory;
    stage_device.handle = (rl_backend_device *)&stage;
    atomic_store(&stage_device.state, 1);
    pthread_mutex_init(&stage_device.streams_lock, NULL);
    stage_device.allocator = rl_allocator_new(&stage_device);
    check(stage_device.allocator);
    check(rl_device_streams_start(&stage_device) == RL_OK);
}

void stage_close(void) {
    rl_alloc_fail_at(0, false);
    rl_allocator_free(stage_device.allocator);
    rl_device_streams_stop(&stage_device);
    pthread_mutex_destroy(&stage_device.streams_lock);
    check(stage.buffers == 0);
    check(stage.streams == 0);
    check(stage.events == 0);
    check(stage.in_use == 0);
    while (n_streams > 0)
        free(streams[--n_streams]);
}

/* The test's side -------------------------------------------------------------------------------------------------- */

static rl_backend_stream *handle_of(rl_stream *stream) {
    return (stream ? stream : rl_stream_current(&stage_device))->handle;
}

void stage_give(rl_stream *stream, rl_backend_buffer *buffer) {
    rl_backend_stream *to = handle_of(stream);
    pthread_mutex_lock(&lock);
    check(to->alive);
    buffer->work[to->number] = ++to->given;
    pthread_mutex_unlock(&lock);
}

void stage_do(rl_stream *stream, uint64_t n) {
    rl_backend_stream *of = handle_of(stream);
    pthread_mutex_lock(&lock);
    of->done = of->given - of->done > n ? of->done + n : of->given;
    pthread_mutex_unlock(&lock);
}

bool stage_busy(const rl_backend_buffer *buffer, const rl_stream *but) {
    pthread_mutex_lock(&lock);
    bool is = busy(buffer, but ? but->handle : NULL);
    pthread_mutex_unlock(&lock);
    return is;
}

void stage_fail(rl_stream *stream, rl_status error) {
    handle_of(stream)->error = error;
}
