/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The OpenCL backend from within: devices, memory, streams and events of OpenCL 1.2 through the Khronos ICD loader. The
 * kernels are ../support/accel's; compile.c gives them their compiler and launches.
 */
#ifndef RUSHLIGHT_BACKENDS_OPENCL_OPENCL_H
#define RUSHLIGHT_BACKENDS_OPENCL_OPENCL_H

#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>
#include <pthread.h>
#include <stdbool.h>

#include "accel.h"
#include "device/params.h"

#define OCL_MOST_DEVICES 64
#define OCL_SCRATCH_SLOTS 8

extern const rl_host *ocl_host;

typedef struct ocl_profile ocl_profile;

struct rl_backend_device {
    rl_accel accel; /* first */
    cl_platform_id platform;
    cl_device_id id;
    cl_context context;
    bool open, is_cpu, unified;
    bool correct; /* can round f32 division and square root correctly */
    uint32_t number, compute_units;
    uint64_t memory, largest;                  /* bytes in all, and of one buffer at most */
    char name[128], driver[128], options[320]; /* options: of the compiler */
    ocl_profile *profile;                      /* NULL: not asked for */
    uint64_t memory_used;                      /* atomic */
};

struct rl_backend_buffer {
    cl_mem mem;
    uint64_t bytes;
};

/* Host memory, pinned where that speeds copies, through which data go whose source may change at once: slots that are
 * used in turn, each with the event of the copy that last read it. */
typedef struct ocl_ring {
    unsigned n_slots, next;
    uint64_t slot_bytes;
    unsigned char *memory;
    cl_mem pinned; /* NULL: plain memory */
    cl_event *busy;
} ocl_ring;

struct rl_backend_stream {
    rl_accel *accel; /* first */
    rl_backend_device *device;
    cl_command_queue queue;
    char last_op[48]; /* of the latest launch, or its row: for errors that come later */
    char flag_op[RL_FLAG_COUNT]
                [48]; /* the op that launched what may write this row's flag; "": several, or none known */
    ocl_ring small, large;
    rl_backend_buffer uploads; /* where uploads go, a slot of `small` each */
    rl_backend_buffer flags;   /* rl_flags */
    uint32_t flagged;          /* rows of which a kernel was launched that may have written flags, a bit each */
    rl_backend_buffer scratch[OCL_SCRATCH_SLOTS];
};

struct rl_backend_event {
    pthread_mutex_t lock;
    cl_event mark; /* NULL: nothing recorded */
};

/* errors.c: the status for an OpenCL error, with a sentence that names call and error; `row` may be NULL. */
rl_status ocl_fail(cl_int error, const char *call, const char *row);
const char *ocl_error_name(cl_int error);

/* device.c */
rl_status ocl_init(void);
void ocl_shutdown(void);
uint32_t ocl_device_count(void);
rl_status ocl_device_info(uint32_t number, rl_device_info *info);
rl_status ocl_device_open(uint32_t number, rl_backend_device **out_device);
void ocl_device_close(rl_backend_device *device);
bool ocl_has_gpu(void);

/* memory.c */
rl_status ocl_buffer_init(rl_backend_device *device, cl_mem_flags flags, uint64_t bytes, rl_backend_buffer *out);
void ocl_buffer_deinit(rl_backend_device *device, rl_backend_buffer *self);
rl_status ocl_ring_init(ocl_ring *self, rl_backend_stream *stream, unsigned n_slots, uint64_t slot_bytes);
void ocl_ring_deinit(ocl_ring *self, rl_backend_stream *stream); /* also what ocl_ring_init left half made */
unsigned ocl_ring_next(ocl_ring *self);                          /* the slot to be used now */
/* Copies `bytes`, a slot's at most, through the slot to the buffer; waits only for the slot's last copy. */
rl_status ocl_ring_write(ocl_ring *self, rl_backend_stream *stream, unsigned slot, cl_mem to, uint64_t to_offset,
                         const void *source, uint64_t bytes, const char *row);
rl_status ocl_mem_alloc(rl_backend_device *device, uint32_t kind, uint64_t bytes, rl_backend_buffer **out_buffer);
void ocl_mem_free(rl_backend_device *device, rl_backend_buffer *buffer);
rl_status ocl_copy_in(rl_backend_stream *stream, rl_backend_buffer *to, uint64_t to_offset, const void *source,
                      uint64_t bytes);
rl_status ocl_copy_out(rl_backend_stream *stream, void *target, rl_backend_buffer *from, uint64_t from_offset,
                       uint64_t bytes);
rl_status ocl_copy(rl_backend_stream *stream, rl_backend_buffer *to, uint64_t to_offset, rl_backend_buffer *from,
                   uint64_t from_offset, uint64_t bytes);

/* stream.c */
rl_status ocl_stream_create(rl_backend_device *device, rl_backend_stream **out_stream);
void ocl_stream_destroy(rl_backend_stream *stream);
rl_status ocl_stream_sync(rl_backend_stream *stream);
rl_status ocl_event_create(rl_backend_device *device, rl_backend_event **out_event);
void ocl_event_destroy(rl_backend_event *event);
rl_status ocl_event_record(rl_backend_event *event, rl_backend_stream *stream);
rl_status ocl_stream_wait(rl_backend_stream *stream, rl_backend_event *event);
int ocl_event_done(rl_backend_event *event);
rl_status ocl_event_sync(rl_backend_event *event);

/* profile.c */
bool ocl_profile_wanted(void);
ocl_profile *ocl_profile_new(void); /* NULL where memory fails */
/* Counts a launch; takes the event. [any] */
void ocl_profile_launch(ocl_profile *self, const char *row, cl_event event);
void ocl_profile_end(ocl_profile *self, const char *device); /* logs it and frees it; takes NULL */

/* compile.c */
extern const rl_accel_driver ocl_driver;

#endif
