/* SPDX-License-Identifier: Apache-2.0 */
/* Streams and events. Every thread uses the device's default stream until it says otherwise. */
#include "dispatch/registry.h"

struct rl_event {
    rl_object object;
    rl_device *device; /* NULL once it was closed */
    rl_backend_event *handle;
    rl_event *next; /* of the device's list of events */
};

/* The streams that this thread has chosen, one a device, retained. Few, so a short list serves. */
enum { CHOICES = 8 };
static _Thread_local struct {
    int count;
    rl_stream *streams[CHOICES];
} chosen __attribute__((tls_model("initial-exec")));

rl_stream *rl_stream_current(rl_device *device) {
    for (int i = 0; i < chosen.count; i++) {
        if (chosen.streams[i]->device == device)
            return chosen.streams[i];
    }
    return device->default_stream;
}

/* Takes back the choice for the device. With NULL: those of devices that were closed. */
static void forget_choice(const rl_device *device) {
    for (int i = chosen.count - 1; i >= 0; i--) {
        rl_stream *stream = chosen.streams[i];
        if (stream->device == device) {
            chosen.streams[i] = chosen.streams[--chosen.count];
            rl_release(stream);
        }
    }
}

static void forget_choices(void) {
    while (chosen.count > 0)
        rl_release(chosen.streams[--chosen.count]);
}

rl_backend_stream *rl_device_stream_enter(rl_device *self) {
    if (__builtin_expect(chosen.count == 0, 1) && (self->api.flags & RL_BACKEND_CONCURRENT))
        return self->stream;
    rl_stream *stream = rl_stream_current(self);
    if (!(self->api.flags & RL_BACKEND_CONCURRENT))
        pthread_mutex_lock(&stream->lock);
    return stream->handle;
}

void rl_device_stream_leave(rl_device *self, rl_backend_stream *handle) {
    (void)handle;
    if (!(self->api.flags & RL_BACKEND_CONCURRENT))
        pthread_mutex_unlock(&rl_stream_current(self)->lock);
}

/* Life --------------------------------------------------------------------------------------------------------------
 */

/* Waits for the stream's work. */
static void close_handles(rl_stream *self) {
    self->device->api.stream_destroy(self->handle);
    self->device->api.event_destroy(self->mark);
    self->handle = NULL;
    self->mark = NULL;
}

static void stream_destroy(rl_object *object) {
    rl_stream *self = (rl_stream *)object;
    rl_device *device = self->device;
    if (device) { /* NULL once the device was closed */
        pthread_mutex_lock(&device->streams_lock);
        for (rl_stream **at = &device->streams; *at; at = &(*at)->next) {
            if (*at == self) {
                *at = self->next;
                break;
            }
        }
        close_handles(self); /* still under the lock: who does not find the stream in the list finds its work done */
        pthread_mutex_unlock(&device->streams_lock);
        rl_allocator_stream_gone(device->allocator, self->number);
    }
    pthread_mutex_destroy(&self->lock);
    rl_free(self);
}
static const rl_object_class stream_class = {"stream", stream_destroy};

static rl_stream *stream_make(rl_device *device) {
    rl_stream *self = rl_alloc_zero(1, sizeof *self, "a stream");
    if (self == NULL)
        return NULL;
    self->device = device;
    rl_status status = device->api.stream_create(device->handle, &self->handle);
    if (status == RL_OK && (status = device->api.event_create(device->handle, &self->mark)) != RL_OK) {
        self->mark = NULL;
        close_handles(self);
    }
    if (status != RL_OK) {
        rl_free(self);
        rl_device_result(device, "stream_new", status);
        return NULL;
    }
    rl_object_init(&self->object, &stream_class);
    pthread_mutex_init(&self->lock, NULL);
    pthread_mutex_lock(&device->streams_lock);
    self->number = device->next_stream++;
    self->next = device->streams;
    device->streams = self;
    pthread_mutex_unlock(&device->streams_lock);
    return self;
}

rl_status rl_device_streams_start(rl_device *device) {
    device->default_stream = stream_make(device);
    if (device->default_stream == NULL)
        return rl_error_status();
    device->stream = device->default_stream->handle;
    return RL_OK;
}

void rl_device_streams_stop(rl_device *device) {
    for (rl_stream *s = device->streams, *next; s; s = next) { /* those that users still hold become empty */
        next = s->next;
        close_handles(s);
        s->device = NULL;
    }
    device->streams = NULL;
    for (rl_event *e = device->events; e; e = e->next) {
        device->api.event_destroy(e->handle);
        e->device = NULL;
    }
    device->events = NULL;
    rl_release(device->default_stream);
    device->default_stream = NULL;
}

void rl_device_streams_take(rl_device *device) {
    pthread_mutex_lock(&device->streams_lock);
    for (rl_stream *s = device->streams; s; s = s->next)
        pthread_mutex_lock(&s->lock);
}

void rl_device_streams_give(rl_device *device) {
    for (rl_stream *s = device->streams; s; s = s->next)
        pthread_mutex_unlock(&s->lock);
    pthread_mutex_unlock(&device->streams_lock);
}

rl_stream *rl_stream_new(rl_device *device) {
    if (rl_failed() || (device == NULL && (device = rl_device_default()) == NULL) || rl_device_ready(device) != RL_OK)
        return NULL;
    rl_stream *self = stream_make(device);
    return self ? rl_object_own(self) : NULL;
}

rl_status rl_stream_use(rl_device *device, rl_stream *stream) {
    if (rl_failed())
        return rl_error_status();
    if (stream == NULL && device == NULL)
        return rl_fail(RL_INVALID_ARGUMENT, "stream_use: device and stream are NULL");
    if (stream != NULL && device != NULL && stream->device != device)
        return rl_fail(RL_DEVICE_MISMATCH, "stream_use: the stream is not on %s", device->name);
    if (stream != NULL && stream->device == NULL)
        return rl_fail(RL_INVALID_ARGUMENT, "stream_use: the stream's device was closed");
    device = stream ? stream->device : device;
    rl_retain(stream); /* before the release of the one chosen so far, which may be the same */
    forget_choice(NULL);
    forget_choice(device);
    if (stream == NULL)
        return RL_OK;
    if (chosen.count == CHOICES || !rl_at_thread_end(forget_choices)) {
        rl_release(stream);
        return chosen.count == CHOICES
                   ? rl_fail(RL_UNSUPPORTED, "stream_use: streams of more than %d devices on one thread", CHOICES)
                   : rl_fail(RL_OUT_OF_MEMORY, "stream_use: no memory for the thread's choice of stream");
    }
    chosen.streams[chosen.count++] = stream;
    return RL_OK;
}

static rl_status check_stream(const char *function, const rl_stream *self) {
    if (rl_failed())
        return rl_error_status();
    if (self == NULL || self->device == NULL)
        return rl_fail(RL_INVALID_ARGUMENT, "%s: %s", function,
                       self ? "the stream's device was closed" : "self is NULL");
    return RL_OK;
}

static rl_status sync_stream(rl_stream *self, const char *function) {
    bool lock = !(self->device->api.flags & RL_BACKEND_CONCURRENT);
    if (lock)
        pthread_mutex_lock(&self->lock);
    rl_status status = self->device->api.stream_sync(self->handle);
    if (lock)
        pthread_mutex_unlock(&self->lock);
    return rl_device_result(self->device, function, status);
}

rl_status rl_stream_synchronize(rl_stream *self) {
    rl_status status = check_stream("stream_synchronize", self);
    return status == RL_OK ? sync_stream(self, "stream_synchronize") : status;
}

rl_status rl_synchronize(rl_device *device) {
    if (rl_failed())
        return rl_error_status();
    if (device == NULL && (device = rl_device_default()) == NULL)
        return rl_error_status();
    if (atomic_load(&device->state) != 1)
        return RL_OK; /* nothing was ever done on it */
    rl_status first = RL_OK;
    pthread_mutex_lock(&device->streams_lock);
    for (rl_stream *s = device->streams; s; s = s->next) {
        rl_status status = sync_stream(s, "synchronize");
        first = first ? first : status;
    }
    pthread_mutex_unlock(&device->streams_lock);
    return first;
}

bool rl_stream_record(rl_stream *self, rl_backend_event *event) {
    pthread_mutex_lock(&self->lock);
    rl_status status = self->device->api.event_record(event, self->handle);
    pthread_mutex_unlock(&self->lock);
    return status == RL_OK;
}

void rl_stream_wait(rl_stream *self) {
    if (rl_stream_record(self, self->mark))
        self->device->api.event_sync(self->mark);
}

/* Events ------------------------------------------------------------------------------------------------------------
 */

static void event_destroy(rl_object *object) {
    rl_event *self = (rl_event *)object;
    rl_device *device = self->device;
    if (device) {
        pthread_mutex_lock(&device->streams_lock);
        for (rl_event **at = &device->events; *at; at = &(*at)->next) {
            if (*at == self) {
                *at = self->next;
                break;
            }
        }
        pthread_mutex_unlock(&device->streams_lock);
        device->api.event_destroy(self->handle);
    }
    rl_free(self);
}
static const rl_object_class event_class = {"event", event_destroy};

rl_event *rl_event_new(rl_device *device) {
    if (rl_failed() || (device == NULL && (device = rl_device_default()) == NULL) || rl_device_ready(device) != RL_OK)
        return NULL;
    rl_event *self = rl_alloc_zero(1, sizeof *self, "an event");
    if (self == NULL)
        return NULL;
    rl_status status = device->api.event_create(device->handle, &self->handle);
    if (status != RL_OK) {
        rl_free(self);
        rl_device_result(device, "event_new", status);
        return NULL;
    }
    rl_object_init(&self->object, &event_class);
    self->device = device;
    pthread_mutex_lock(&device->streams_lock);
    self->next = device->events;
    device->events = self;
    pthread_mutex_unlock(&device->streams_lock);
    return rl_object_own(self);
}

static rl_status check_event(const char *function, const rl_event *self) {
    if (rl_failed())
        return rl_error_status();
    if (self == NULL || self->device == NULL)
        return rl_fail(RL_INVALID_ARGUMENT, "%s: %s", function,
                       self ? "the event's device was closed" : "event is NULL");
    return RL_OK;
}

/* An event and a stream are of one device; stream NULL is the current one. */
static rl_status with_stream(const char *function, rl_event *event, rl_stream *stream, bool wait) {
    if (check_event(function, event) != RL_OK || (stream && check_stream(function, stream) != RL_OK))
        return rl_error_status();
    stream = stream ? stream : rl_stream_current(event->device);
    if (stream->device != event->device)
        return rl_fail(RL_DEVICE_MISMATCH, "%s: the event is on %s, the stream on %s", function, event->device->name,
                       stream->device->name);
    const rl_backend *api = &event->device->api;
    pthread_mutex_lock(&stream->lock);
    rl_status status =
        wait ? api->stream_wait(stream->handle, event->handle) : api->event_record(event->handle, stream->handle);
    pthread_mutex_unlock(&stream->lock);
    return rl_device_result(event->device, function, status);
}

rl_status rl_event_record(rl_event *self, rl_stream *stream) {
    return with_stream("event_record", self, stream, false);
}

rl_status rl_stream_wait_event(rl_stream *self, rl_event *event) {
    return with_stream("stream_wait_event", event, self, true);
}

bool rl_event_done(rl_event *self) {
    return check_event("event_done", self) == RL_OK && self->device->api.event_done(self->handle) != 0;
}

rl_status rl_event_synchronize(rl_event *self) {
    rl_status status = check_event("event_synchronize", self);
    return status == RL_OK
               ? rl_device_result(self->device, "event_synchronize", self->device->api.event_sync(self->handle))
               : status;
}
