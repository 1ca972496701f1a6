/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One set of kernels for every device with a compiler. A backend of such a device (OpenCL, CUDA) brings memory, streams
 * and the functions of rl_accel_driver; the seven primitives and the fused rows come from here: each function at the
 * end of this file looks at its args, finds or writes a kernel in the dialect of device/dialect.h, and launches it.
 *
 * A kernel is known by its spec: a family (a text of device/, or a generator) and numbers that specialize it: dtypes,
 * layout classes, modes; never a shape or a scalar. A spec becomes source once, is built once, and is kept in a table
 * of the device and in the host's kernel cache.
 *
 * Threads: functions that take a stream are [stream], as backend.h has it; the others are safe from any thread.
 */
#ifndef RL_ACCEL_H
#define RL_ACCEL_H

#include "rushlight/backend.h"

typedef struct rl_accel rl_accel;
typedef struct rl_accel_kernel rl_accel_kernel; /* a kernel of the driver's */
typedef struct rl_accel_module rl_accel_module; /* what the driver's compiler made of one source: several kernels */

typedef enum rl_accel_interpret {
    RL_ACCEL_INTERPRET_RARE = 0, /* until a program was called twice, and then until its build is ready */
    RL_ACCEL_INTERPRET_NEVER = 1,
    RL_ACCEL_INTERPRET_ALWAYS = 2 /* but for programs that the interpreter does not take */
} rl_accel_interpret;

/* What kernels are fitted to. */
typedef struct rl_accel_traits {
    uint32_t width;       /* lanes of a vector in sources: 16 or 8 on processors, 4 where work-items make vectors */
    uint32_t group;       /* work-items of a group, a power of two; 1: each is a thread of its own and takes a chunk */
    uint32_t units;       /* groups that run at once */
    uint32_t f64;         /* 1: has f64 */
    uint32_t f16;         /* 1: converts f16 to f32 and back; kernels compute in f32 all the same */
    uint32_t interpret;   /* rl_accel_interpret: when programs are interpreted */
    uint64_t param_bytes; /* of a kernel's arguments together, at most */
    uint64_t local_bytes; /* of memory that a group shares */
} rl_accel_traits;

/* Units that a device of this kind is taken to have where the way that work is cut decides the order of a sum: so that
 * its bits are those of every other such device. `units` itself is for the sizes of launches and memory alone. */
static inline int64_t rl_accel_usual_units(const rl_accel_traits *traits) {
    return traits->group > 1 ? 64 : 16;
}

/* An argument of a kernel: a buffer, or where that is NULL a value. */
typedef struct rl_accel_arg {
    rl_backend_buffer *buffer;
    const void *value;
    uint64_t bytes;
} rl_accel_arg;
#define RL_ACCEL_VALUE(x) ((rl_accel_arg){.value = &(x), .bytes = sizeof(x)})

typedef struct rl_accel_driver {
    const char *dialect; /* a line that begins every source: "#define RL_OPENCL 1" */
    /* [any] Compiles; `binary` (from the kernel cache) in place of the source where it is not NULL. */
    rl_status (*build)(rl_accel *accel, const char *source, const void *binary, uint64_t bytes,
                       rl_accel_module **out_module);
    /* [any] What build takes as binary: *out_data is malloc's and the caller's; NULL where there is none. */
    rl_status (*binary)(rl_accel_module *module, void **out_data, uint64_t *out_bytes);
    rl_status (*kernel)(rl_accel_module *module, const char *name, rl_accel_kernel **out_kernel);
    void (*release)(rl_accel_module *module); /* and its kernels */
    /* [stream] Enqueues `groups` groups of `group` work-items. `row` names the primitive in errors. */
    rl_status (*launch)(rl_backend_stream *stream, rl_accel_kernel *kernel, const char *row, const rl_accel_arg *args,
                        unsigned n_args, uint64_t groups, uint32_t group);
    /* [stream] Device memory for the kernels of the row that runs; the next row's calls of scratch may give the same.
     * Within a row, each `slot` (0 .. 7) is memory of its own. */
    rl_status (*scratch)(rl_backend_stream *stream, unsigned slot, uint64_t bytes, rl_backend_buffer **out_buffer);
    /* [stream] `bytes` (at most 16384) of `source` in device memory, for the next launch. */
    rl_status (*upload)(rl_backend_stream *stream, const void *source, uint64_t bytes, rl_backend_buffer **out_buffer,
                        uint64_t *out_offset);
    /* [stream] The stream's flags (device/params.h: rl_flags), in which kernels report bad indices; calling this says
     * that the next launch may do so for `row`, and the driver looks at the next stream_sync. Also what stands for the
     * buffer of an absent or empty operand, then with row NULL. */
    rl_backend_buffer *(*flags)(rl_backend_stream *stream, const char *row);
} rl_accel_driver;

struct rl_accel { /* first in a backend's device */
    const rl_host *host;
    const rl_accel_driver *driver;
    rl_accel_traits traits;
    char identity[640]; /* of device, driver, options and backend's version: part of the kernel cache's keys */
    struct rl_accel_table *table;
};
/* The first member of a backend's stream is a pointer to this. */
static inline rl_accel *rl_accel_of(rl_backend_stream *stream) {
    return *(rl_accel **)(void *)stream;
}

/* After host, driver, traits and identity are set. */
rl_status rl_accel_init(rl_accel *self);
/* All streams are gone. Ends the thread that builds, stores what is not stored, releases modules. */
void rl_accel_deinit(rl_accel *self);
/* Stores in the kernel cache what was built since; called after a stream was synchronized, cheap where nothing was. */
void rl_accel_store(rl_accel *self);

/* [stream] The rows: each takes the args of its row in backend.h. */
rl_status rl_accel_map(rl_backend_stream *stream, const rl_map_args *args);
rl_status rl_accel_reduce(rl_backend_stream *stream, const rl_reduce_args *args);
rl_status rl_accel_matmul(rl_backend_stream *stream, const rl_matmul_args *args);
rl_status rl_accel_gather(rl_backend_stream *stream, const rl_gather_args *args);
rl_status rl_accel_scatter(rl_backend_stream *stream, const rl_scatter_args *args);
rl_status rl_accel_scan(rl_backend_stream *stream, const rl_scan_args *args);
rl_status rl_accel_sort(rl_backend_stream *stream, const rl_sort_args *args);
/* The fused rows' cells, *out_n of them, for rl_backend.fused. */
const rl_fused_cell *rl_accel_cells(uint32_t *out_n);

#endif
