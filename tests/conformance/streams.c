/* SPDX-License-Identifier: Apache-2.0 */
/* Order within a stream, order between streams by events, and errors that stick. */
#include <string.h>

#include "conformance.h"

enum { ELEMENTS = 1000 };

static const rl_program *add_scalar(suite *self) {
    program_maker maker;
    make_begin(&maker);
    int x = make_input(&maker, RL_I32), s = make_scalar(&maker, RL_REG_I32);
    make_output(&maker, RL_I32, make_insn(&maker, RL_INSN_ADD, RL_REG_I32, 0, x, s, 0, 0));
    return make_end(&maker, self);
}

/* to[i] = from[i] + addend on a stream; from may be `to`. */
static bool add(suite *self, rl_backend_stream *stream, rl_backend_buffer *to, rl_backend_buffer *from, int addend) {
    rl_operand in = {.buffer = from, .stride = {1}}, out = {.buffer = to, .stride = {1}};
    rl_number scalar = {.i = addend};
    rl_map_job job = {.ndim = 1, .shape = {ELEMENTS}, .inputs = &in, .outputs = &out, .scalars = &scalar};
    rl_map_args args = {.size = sizeof args, .n_jobs = 1, .program = add_scalar(self), .jobs = &job};
    return self->api->map(stream, &args) == RL_OK;
}

/* True where all elements are `value`. */
static bool holds(suite *self, rl_backend_stream *stream, rl_backend_buffer *buffer, int value) {
    int32_t back[ELEMENTS];
    memset(back, 0x77, sizeof back);
    bool good =
        self->api->copy_out(stream, back, buffer, 0, sizeof back) == RL_OK && self->api->stream_sync(stream) == RL_OK;
    for (int i = 0; i < ELEMENTS; i++)
        good &= back[i] == value;
    return good;
}

typedef struct bench {
    rl_backend_buffer *x, *y;
    rl_backend_stream *other;
    rl_backend_event *event;
} bench;

static bool bench_make(suite *self, bench *b) {
    int32_t zeros[ELEMENTS] = {0};
    memset(b, 0, sizeof *b);
    return check(self,
                 self->api->mem_alloc(self->device, RL_MEMORY_DEVICE, sizeof zeros, &b->x) == RL_OK &&
                     self->api->mem_alloc(self->device, RL_MEMORY_DEVICE, sizeof zeros, &b->y) == RL_OK &&
                     self->api->copy_in(self->stream, b->x, 0, zeros, sizeof zeros) == RL_OK &&
                     self->api->stream_create(self->device, &b->other) == RL_OK &&
                     self->api->event_create(self->device, &b->event) == RL_OK,
                 "buffers, stream and event could not be made: %s", self->sentence);
}

static void bench_free(suite *self, bench *b) {
    self->api->stream_sync(self->stream);
    self->api->event_destroy(b->event);
    if (b->other)
        self->api->stream_destroy(b->other);
    self->api->mem_free(self->device, b->x);
    self->api->mem_free(self->device, b->y);
}

static void check_order(suite *self, bench *b) {
    bool queued = true;
    for (int i = 0; i < 50; i++)
        queued &= add(self, self->stream, i % 2 ? b->x : b->y, i % 2 ? b->y : b->x, 1);
    check(self, queued && holds(self, self->stream, b->x, 50), "50 dependent maps on one stream ran out of order");
}

static void check_events(suite *self, bench *b) {
    check(self, self->api->event_done(b->event) == 1, "an event that was never recorded is not done");
    check(self, self->api->event_sync(b->event) == RL_OK, "event_sync of an event that was never recorded failed");
    check(self, self->api->stream_wait(b->other, b->event) == RL_OK && self->api->stream_sync(b->other) == RL_OK,
          "waiting for an event that was never recorded failed");
    bool queued = true;
    for (int round = 0; round < 10; round++) { /* x on one stream, y on the other, in turns */
        queued &= add(self, self->stream, b->y, b->x, 1);
        queued &= self->api->event_record(b->event, self->stream) == RL_OK;
        queued &= self->api->stream_wait(b->other, b->event) == RL_OK;
        queued &= add(self, b->other, b->x, b->y, 1);
        queued &= self->api->event_record(b->event, b->other) == RL_OK;
        queued &= self->api->stream_wait(self->stream, b->event) == RL_OK;
    }
    check(self, queued && self->api->event_sync(b->event) == RL_OK && self->api->event_done(b->event) == 1,
          "an event that was waited for is not done");
    check(self, holds(self, self->stream, b->x, 70), "two streams that wait for each other's events ran out of order");
}

static void check_destroy(suite *self, bench *b) {
    rl_backend_stream *brief = NULL;
    if (!check(self, self->api->stream_create(self->device, &brief) == RL_OK, "stream_create failed"))
        return;
    self->api->stream_sync(self->stream);
    bool queued = add(self, brief, b->y, b->x, 30) && self->api->event_record(b->event, brief) == RL_OK;
    self->api->stream_destroy(brief);
    check(self, queued && holds(self, self->stream, b->y, 100), "stream_destroy did not wait for its work");
    check(self, self->api->event_done(b->event) == 1, "an event of a destroyed stream is not done");
    self->api->stream_destroy(NULL);
    self->api->event_destroy(NULL);
}

void check_streams(suite *self) {
    bench b;
    self->section = SECTION_STREAMS;
    if (bench_make(self, &b)) {
        check_order(self, &b);
        check_events(self, &b);
        check_destroy(self, &b);
    }
    bench_free(self, &b);
}

/* Errors
 * -------------------------------------------------------------------------------------------------------------------
 */

/* A gather or scatter of 4 elements, the third with a bad index. */
static rl_status bad_index(suite *self, rl_backend_buffer *data, rl_backend_buffer *index, rl_backend_buffer *out,
                           bool scatter) {
    rl_gather_args gather = {
        .size = sizeof gather, .dtype = RL_I32, .index_dtype = RL_I64, .ndim = 1, .shape = {4}, .dim_size = 4};
    rl_scatter_args set = {.size = sizeof set,
                           .dtype = RL_I32,
                           .index_dtype = RL_I64,
                           .ndim = 1,
                           .shape = {4},
                           .dim_size = 4,
                           .mode = RL_SCATTER_SET};
    gather.in = set.in = (rl_operand){.buffer = data, .stride = {1}};
    gather.index = set.index = (rl_operand){.buffer = index, .stride = {1}};
    gather.out = set.out = (rl_operand){.buffer = out, .offset = 16, .stride = {1}};
    return scatter ? self->api->scatter(self->stream, &set) : self->api->gather(self->stream, &gather);
}

static void check_bad_index(suite *self, int64_t bad, bool scatter) {
    const int32_t values[12] = {10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21};
    const int64_t indices[4] = {3, 2, bad, 0};
    const char *name = scatter ? "scatter" : "gather";
    int32_t back[12] = {0};
    rl_backend_buffer *data = NULL, *index = NULL, *out = NULL;
    self->api->mem_alloc(self->device, RL_MEMORY_DEVICE, sizeof values, &data);
    self->api->mem_alloc(self->device, RL_MEMORY_DEVICE, sizeof indices, &index);
    self->api->mem_alloc(self->device, RL_MEMORY_DEVICE, sizeof values, &out);
    self->api->copy_in(self->stream, data, 0, values, sizeof values);
    self->api->copy_in(self->stream, index, 0, indices, sizeof indices);
    self->api->copy_in(self->stream, out, 0, values, sizeof values);
    self->sentence[0] = 0;
    rl_status now = bad_index(self, data, index, out, scatter), later = self->api->stream_sync(self->stream);
    check(self, (now ? now : later) == RL_INDEX_OUT_OF_RANGE, "%s: index %lld of 4 gives status %d and %d", name,
          (long long)bad, (int)now, (int)later);
    check(self, !(now && later), "%s: the error was reported twice", name);
    check(self, strstr(self->sentence, name) != NULL, "%s: the sentence '%s' does not name the primitive", name,
          self->sentence);
    check(self, self->api->stream_sync(self->stream) == RL_OK, "%s: the error sticks to the stream for ever", name);
    self->api->copy_out(self->stream, back, out, 0, sizeof back);
    self->api->stream_sync(self->stream);
    int at = scatter ? 4 + 3 : 4;
    check(self, back[at] == (scatter ? 10 : 13), "%s: the good indices were not done", name);
    bool outside = true;
    for (int i = 0; i < 12; i++)
        outside &= (i >= 4 && i < 8) || back[i] == values[i];
    check(self, outside, "%s: wrote outside of its output", name);
    self->api->mem_free(self->device, data);
    self->api->mem_free(self->device, index);
    self->api->mem_free(self->device, out);
}

void check_errors(suite *self) {
    self->section = SECTION_ERRORS;
    const int64_t bad[] = {4, -1, INT64_MAX, INT64_MIN, (int64_t)1 << 32};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        check_bad_index(self, bad[i], false);
        check_bad_index(self, bad[i], true);
    }
}
