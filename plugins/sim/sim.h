/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulated device from within. One lock, sim.lock, guards everything here; kernels run without it. A function
 * named ..._locked wants it held.
 */
#ifndef SIM_H
#define SIM_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "kernels.h"
#include "rushlight/backend.h"

#define MOST_DEVICES 16
#define SENTENCE 256
#define QUEUE_LIMIT 4096 /* tasks of one stream that may wait to be asked for; more begin by themselves */

typedef struct sim_device sim_device;

/* What a handle stands for: none is an address, so whoever looks inside faults at once. */
typedef enum handle_kind { HANDLE_NONE, HANDLE_DEVICE, HANDLE_BUFFER, HANDLE_STREAM, HANDLE_EVENT } handle_kind;

typedef struct sim_buffer {
    rl_kernel_buffer memory; /* first: the kernels' view of it */
    sim_device *device;
    uint64_t bytes;
    uint32_t uses; /* by the task that runs; the memory stays until none is left */
    bool freed;
} sim_buffer;

typedef struct sim_task sim_task;

/* A stream's work. It outlives its stream while a mark refers to it. */
typedef struct sim_queue {
    uint32_t count; /* of the stream and of marks */
    sim_device *device;
    struct sim_queue *next; /* of the device's */
    sim_task *head, *tail;  /* not done; the head may be running */
    uint64_t submitted, completed;
    uint64_t demanded; /* tasks up to this number are to be done; later ones wait */
    uint64_t wake_at;  /* somebody sleeps until completed gets here */
    rl_status sticky;
    char sentence[SENTENCE];
} sim_queue;

typedef struct sim_mark { /* a stream's work up to a task */
    sim_queue *queue;     /* NULL: nothing */
    uint64_t number;
} sim_mark;

typedef struct sim_event {
    sim_device *device;
    sim_mark mark;
} sim_event;

struct sim_device {
    uint32_t number;
    bool open, lost, stopping, started;
    uintptr_t handle;
    pthread_t worker;
    sim_queue *queues;
    uint64_t memory_used;
    uint32_t n_buffers, n_streams, n_events; /* alive */
    void *scratch;                           /* the worker's own */
    size_t scratch_bytes;
};

typedef enum sim_failure {
    FAIL_NONE,
    FAIL_ALLOC,
    FAIL_COPY,
    FAIL_LAUNCH,
    FAIL_SYNC,
    FAIL_LOST,
    FAIL_COUNT
} sim_failure;

typedef struct sim_state {
    pthread_mutex_t lock;
    pthread_cond_t changed; /* work was demanded, or reached a wake_at, or a worker is to stop */
    const rl_host *host;
    sim_device devices[MOST_DEVICES];
    uint32_t n_devices;
    uint64_t memory; /* bytes of each device */
    bool eager;
    sim_failure failure; /* which call is to fail ... */
    uint64_t fail_at;    /* ... the how-manieth ... */
    bool fail_on;        /* ... and all after it */
    uint64_t calls[FAIL_COUNT];
    char misuse[SENTENCE]; /* what no call could return: leaks, freeing twice; told by the next init */
} sim_state;
extern sim_state sim;

/* sim.c: keeps a sentence for the next init, and logs it. */
void sim_misuse(const char *format, ...) RL_PRINTF_(1, 2);

/* settings.c: the RUSHLIGHT_SIM_* variables, and failures that they ask for. */
rl_status sim_read_settings(void);
/* Counts a call on the device; its status where it is to fail, with the sentence. */
rl_status sim_admit_locked(sim_device *device, sim_failure kind, const char *call);

/* handles.c */
uintptr_t sim_handle_new_locked(handle_kind kind, void *object); /* 0: no memory */
void *sim_handle_find_locked(handle_kind kind, const void *handle);
void sim_handle_free_locked(const void *handle);
/* Calls fn for each object that a handle stands for; fn may free its handle. */
void sim_handles_each_locked(void (*fn)(handle_kind kind, void *object, const void *handle, void *context),
                             void *context);
void sim_handles_clear(void);

/* queue.c */
rl_status sim_submit(rl_backend_stream *stream, sim_failure kind, const char *call, sim_task *task);
void sim_stop(sim_device *device);           /* ends the worker, whatever waits */
void sim_queue_end_locked(sim_queue *queue); /* drops what waits, and the stream's count */
void sim_mark_drop_locked(sim_mark *mark);
rl_status sim_stream_create(rl_backend_device *device, rl_backend_stream **out_stream);
void sim_stream_destroy(rl_backend_stream *stream);
rl_status sim_stream_sync(rl_backend_stream *stream);

/* events.c */
rl_status sim_event_create(rl_backend_device *device, rl_backend_event **out_event);
void sim_event_destroy(rl_backend_event *event);
rl_status sim_event_record(rl_backend_event *event, rl_backend_stream *stream);
rl_status sim_stream_wait(rl_backend_stream *stream, rl_backend_event *event);
int sim_event_done(rl_backend_event *event);
rl_status sim_event_sync(rl_backend_event *event);
void sim_demand_locked(sim_queue *queue, uint64_t number);
void sim_wait_locked(sim_queue *queue, uint64_t number);

/* memory.c */
rl_status sim_mem_alloc(rl_backend_device *device, uint32_t kind, uint64_t bytes, rl_backend_buffer **out_buffer);
void sim_mem_free(rl_backend_device *device, rl_backend_buffer *buffer);
void sim_buffer_release_locked(sim_buffer *buffer);
rl_status sim_copy_in(rl_backend_stream *stream, rl_backend_buffer *to, uint64_t to_offset, const void *source,
                      uint64_t bytes);
rl_status sim_copy_out(rl_backend_stream *stream, void *target, rl_backend_buffer *from, uint64_t from_offset,
                       uint64_t bytes);
rl_status sim_copy(rl_backend_stream *stream, rl_backend_buffer *to, uint64_t to_offset, rl_backend_buffer *from,
                   uint64_t from_offset, uint64_t bytes);

/* launch.c: the primitives, as tasks with copies of their arguments. */
rl_status sim_map(rl_backend_stream *stream, const rl_map_args *args);
rl_status sim_reduce(rl_backend_stream *stream, const rl_reduce_args *args);
rl_status sim_matmul(rl_backend_stream *stream, const rl_matmul_args *args);
rl_status sim_gather(rl_backend_stream *stream, const rl_gather_args *args);
rl_status sim_scatter(rl_backend_stream *stream, const rl_scatter_args *args);
rl_status sim_scan(rl_backend_stream *stream, const rl_scan_args *args);
rl_status sim_sort(rl_backend_stream *stream, const rl_sort_args *args);

/* task.c */
typedef enum task_kind {
    TASK_WAIT,
    TASK_COPY_IN,
    TASK_COPY_OUT,
    TASK_COPY,
    TASK_MAP,
    TASK_REDUCE,
    TASK_MATMUL,
    TASK_GATHER,
    TASK_SCATTER,
    TASK_SCAN,
    TASK_SORT
} task_kind;

typedef struct copy_args { /* operands are runs of bytes */
    int64_t bytes;
    rl_operand to, from; /* one of them unused where the host is that side */
    void *target;
    const void *source;
} copy_args;

struct sim_task {
    sim_task *next;
    uint64_t number; /* in its queue, from 1 */
    task_kind kind;
    union {
        sim_mark wait;
        copy_args copy;
        rl_map_args map;
        rl_reduce_args reduce;
        rl_matmul_args matmul;
        rl_gather_args gather;
        rl_scatter_args scatter;
        rl_scan_args scan;
        rl_sort_args sort;
    } args;
    /* copies of what the args point to follow */
};

/* A task with `extra` bytes behind it; NULL and a sentence where there is no memory. */
sim_task *sim_task_new(task_kind kind, size_t extra);
/* Checks the operands, puts memory for handles, runs. Takes the lock itself. out_sentence: SENTENCE bytes. */
rl_status sim_task_run(sim_device *device, sim_task *task, char *out_sentence);

#endif
