/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device put together by hand, for the tests of the allocator and of streams. No work is done on it: a test says
 * which stream was given work on which buffer, and later, how much of it is done; so it sees whether memory comes back
 * too early. Small memory. It fails the test where a buffer is freed twice, or while work on it is still to be done.
 * Any thread may call it.
 */
#ifndef RUSHLIGHT_TESTS_DISPATCH_STAGE_H
#define RUSHLIGHT_TESTS_DISPATCH_STAGE_H

#include "dispatch/registry.h"

enum { STAGE_STREAMS = 4096 };

struct rl_backend_stream {
    int number;           /* of all that were ever made */
    uint64_t given, done; /* pieces of work */
    rl_status error;      /* that the next stream_sync tells */
    bool alive;
};
struct rl_backend_event {
    rl_backend_stream *stream; /* NULL: never recorded */
    uint64_t mark;
};
struct rl_backend_buffer {
    uint64_t bytes;
    bool wrapped;
    int owner;      /* the test's: who holds it; 0 nobody */
    uint64_t *work; /* by stream: the last piece of work on this buffer */
    rl_backend_buffer *next;
};

typedef struct stage_state {
    uint64_t memory, in_use; /* bytes */
    int buffers, streams, events;
    int allocations; /* calls of mem_alloc that gave memory */
    bool no_events;  /* event_create fails */
} stage_state;
extern stage_state stage;
extern rl_device stage_device;

/* A device with that much memory, its allocator and its default stream. */
void stage_open(uint64_t memory, uint32_t flags);
/* Closes it; fails the test where anything of the backend is left. */
void stage_close(void);

/* One piece of work on the buffer is given to the stream (NULL: the calling thread's). */
void stage_give(rl_stream *stream, rl_backend_buffer *buffer);
/* Up to n pieces of the stream's work get done. */
void stage_do(rl_stream *stream, uint64_t n);
/* True where the buffer has work to be done on a stream other than `but`. */
bool stage_busy(const rl_backend_buffer *buffer, const rl_stream *but);
/* The stream's work meets an error. */
void stage_fail(rl_stream *stream, rl_status error);

#endif
