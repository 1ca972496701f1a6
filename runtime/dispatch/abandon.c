/* SPDX-License-Identifier: Apache-2.0 */
/* A device in the child of a fork whose backend does not go on there: every call says so, none reaches the backend. */
#include "dispatch/registry.h"

static rl_status lost(void) {
    return rl_host_table.fail(RL_DEVICE_LOST, "the device cannot be used in a process made by fork");
}
static rl_status lost_alloc(rl_backend_device *d, uint32_t k, uint64_t n, rl_backend_buffer **b) {
    (void)d, (void)k, (void)n, (void)b;
    return lost();
}
static void lost_free(rl_backend_device *d, rl_backend_buffer *b) {
    (void)d, (void)b;
}
static rl_status lost_copy_in(rl_backend_stream *s, rl_backend_buffer *b, uint64_t o, const void *p, uint64_t n) {
    (void)s, (void)b, (void)o, (void)p, (void)n;
    return lost();
}
static rl_status lost_copy_out(rl_backend_stream *s, void *p, rl_backend_buffer *b, uint64_t o, uint64_t n) {
    (void)s, (void)b, (void)o, (void)p, (void)n;
    return lost();
}
static rl_status lost_copy(rl_backend_stream *s, rl_backend_buffer *a, uint64_t x, rl_backend_buffer *b, uint64_t y,
                           uint64_t n) {
    (void)s, (void)a, (void)x, (void)b, (void)y, (void)n;
    return lost();
}
static rl_status lost_stream_create(rl_backend_device *d, rl_backend_stream **s) {
    (void)d, (void)s;
    return lost();
}
static void lost_stream_destroy(rl_backend_stream *s) {
    (void)s;
}
static rl_status lost_sync(rl_backend_stream *s) {
    (void)s;
    return lost();
}
static rl_status lost_event_create(rl_backend_device *d, rl_backend_event **e) {
    (void)d, (void)e;
    return lost();
}
static void lost_event_destroy(rl_backend_event *e) {
    (void)e;
}
static rl_status lost_record(rl_backend_event *e, rl_backend_stream *s) {
    (void)e, (void)s;
    return lost();
}
static rl_status lost_wait(rl_backend_stream *s, rl_backend_event *e) {
    (void)s, (void)e;
    return lost();
}
static int lost_done(rl_backend_event *e) {
    (void)e;
    return 1;
}
static rl_status lost_event_sync(rl_backend_event *e) {
    (void)e;
    return lost();
}
static void lost_close(rl_backend_device *d) {
    (void)d;
}
#define LOST_PRIMITIVE(name)                                                                                           \
    static rl_status lost_##name(rl_backend_stream *s, const rl_##name##_args *a) {                                    \
        (void)s, (void)a;                                                                                              \
        return lost();                                                                                                 \
    }
#define PRIMITIVES(X) X(map) X(reduce) X(matmul) X(gather) X(scatter) X(scan) X(sort)
PRIMITIVES(LOST_PRIMITIVE)
#undef LOST_PRIMITIVE

static rl_status lost_open(uint32_t n, rl_backend_device **d) {
    (void)n, (void)d;
    return lost();
}
static rl_status lost_wrap(rl_backend_device *d, void *a, uint64_t n, rl_backend_buffer **b) {
    (void)d, (void)a, (void)n, (void)b;
    return lost();
}
static rl_status lost_address(rl_backend_device *d, rl_backend_buffer *b, void **a) {
    (void)d, (void)b, (void)a;
    return lost();
}

void rl_device_abandon(rl_device *self) {
    rl_backend *api = &self->api;
    api->device_open = lost_open;
    api->mem_wrap = lost_wrap;
    api->mem_map = lost_address;
    api->mem_alloc = lost_alloc;
    api->mem_free = lost_free;
    api->copy_in = lost_copy_in;
    api->copy_out = lost_copy_out;
    api->copy = lost_copy;
    api->stream_create = lost_stream_create;
    api->stream_destroy = lost_stream_destroy;
    api->stream_sync = lost_sync;
    api->event_create = lost_event_create;
    api->event_destroy = lost_event_destroy;
    api->event_record = lost_record;
    api->stream_wait = lost_wait;
    api->event_done = lost_done;
    api->event_sync = lost_event_sync;
    api->device_close = lost_close;
    api->n_fused = 0;
#define ABANDON(name) api->name = lost_##name;
    PRIMITIVES(ABANDON)
#undef ABANDON
}
