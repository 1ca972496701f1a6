/* SPDX-License-Identifier: Apache-2.0 */
/* The driver of ../support/accel: programs, kernels, launches. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "opencl.h"

struct rl_accel_kernel {
    struct rl_accel_kernel *next;
    cl_kernel kernel;
    pthread_mutex_t lock; /* from setting arguments to enqueueing: they belong to the kernel */
};

struct rl_accel_module {
    rl_backend_device *device;
    cl_program program;
    rl_accel_kernel *kernels;
};

static rl_backend_device *device_of(rl_accel *accel) {
    return (rl_backend_device *)(void *)accel; /* its first member */
}

/* What the compiler said, to the log; its first line is part of the error. */
static rl_status build_failed(rl_backend_device *device, cl_program program, cl_int error, const char *source) {
    char said[4096] = "";
    clGetProgramBuildInfo(program, device->id, CL_PROGRAM_BUILD_LOG, sizeof said - 1, said, NULL);
    said[sizeof said - 1] = '\0';
    ocl_host->log(RL_LOG_INFO, "opencl: %s did not build this kernel:\n%s\n%s", device->name, source ? source : "",
                  said);
    char *line = strstr(said, "error");
    const char *hint = line || error != CL_BUILD_PROGRAM_FAILURE
                           ? ""
                           : "; has the driver a folder to write to? (PoCL's is POCL_CACHE_DIR)";
    line = line ? line : said;
    line[strcspn(line, "\n")] = '\0';
    return ocl_host->fail(RL_INTERNAL, "clBuildProgram: %s: %.200s%s", ocl_error_name(error), line, hint);
}

static rl_status build(rl_accel *accel, const char *source, const void *binary, uint64_t bytes,
                       rl_accel_module **out_module) {
    rl_backend_device *device = device_of(accel);
    cl_int error = CL_SUCCESS, taken = CL_SUCCESS;
    const unsigned char *data = binary;
    size_t length = (size_t)bytes;
    rl_accel_module *self = calloc(1, sizeof *self);
    if (!self)
        return ocl_host->fail(RL_OUT_OF_MEMORY, "no host memory for a program");
    self->device = device;
    if (binary)
        self->program = clCreateProgramWithBinary(device->context, 1, &device->id, &length, &data, &taken, &error);
    else
        self->program = clCreateProgramWithSource(device->context, 1, &source, NULL, &error);
    rl_status status = RL_OK;
    if (error || taken)
        status =
            ocl_fail(error ? error : taken, binary ? "clCreateProgramWithBinary" : "clCreateProgramWithSource", NULL);
    else if ((error = clBuildProgram(self->program, 1, &device->id, device->options, NULL, NULL)))
        status = binary ? ocl_fail(error, "clBuildProgram", NULL) : build_failed(device, self->program, error, source);
    if (!status) {
        *out_module = self;
        return RL_OK;
    }
    if (self->program)
        clReleaseProgram(self->program);
    free(self);
    return status;
}

static rl_status binary(rl_accel_module *self, void **out_data, uint64_t *out_bytes) {
    size_t bytes = 0;
    *out_data = NULL;
    cl_int error = clGetProgramInfo(self->program, CL_PROGRAM_BINARY_SIZES, sizeof bytes, &bytes, NULL);
    if (error || bytes == 0)
        return error ? ocl_fail(error, "clGetProgramInfo", NULL) : RL_OK;
    unsigned char *data = malloc(bytes);
    if (!data)
        return ocl_host->fail(RL_OUT_OF_MEMORY, "no host memory for a program's binary");
    error = clGetProgramInfo(self->program, CL_PROGRAM_BINARIES, sizeof data, &data, NULL);
    if (error) {
        free(data);
        return ocl_fail(error, "clGetProgramInfo", NULL);
    }
    *out_data = data;
    *out_bytes = bytes;
    return RL_OK;
}

static rl_status kernel(rl_accel_module *module, const char *name, rl_accel_kernel **out_kernel) {
    cl_int error = CL_SUCCESS;
    rl_accel_kernel *self = calloc(1, sizeof *self);
    if (!self)
        return ocl_host->fail(RL_OUT_OF_MEMORY, "no host memory for a kernel");
    self->kernel = clCreateKernel(module->program, name, &error);
    if (error) {
        free(self);
        return ocl_fail(error, "clCreateKernel", name);
    }
    pthread_mutex_init(&self->lock, NULL);
    do /* the builder's thread and callers may look into one module at once */
        self->next = __atomic_load_n(&module->kernels, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&module->kernels, &self->next, self, 0, __ATOMIC_RELEASE, __ATOMIC_RELAXED));
    *out_kernel = self;
    return RL_OK;
}

static void release(rl_accel_module *self) {
    for (rl_accel_kernel *at = self->kernels, *next; at; at = next) {
        next = at->next;
        clReleaseKernel(at->kernel);
        pthread_mutex_destroy(&at->lock);
        free(at);
    }
    clReleaseProgram(self->program);
    free(self);
}

/* The op that the host works for, or "". */
static const char *ocl_op(void) {
    const size_t known = offsetof(rl_host, op) + sizeof ocl_host->op;
    return ocl_host->size >= known && ocl_host->op ? ocl_host->op() : "";
}

static rl_status launch(rl_backend_stream *stream, rl_accel_kernel *self, const char *row, const rl_accel_arg *args,
                        unsigned n_args, uint64_t groups, uint32_t group) {
    size_t local = group, global = (size_t)groups * group;
    cl_int error = CL_SUCCESS;
    cl_event done = NULL;
    const char *call = "clSetKernelArg";
    const char *op = ocl_op();
    snprintf(stream->last_op, sizeof stream->last_op, "%s", *op ? op : row);
    pthread_mutex_lock(&self->lock);
    for (unsigned i = 0; i < n_args && !error; i++)
        error = args[i].buffer ? clSetKernelArg(self->kernel, i, sizeof(cl_mem), &args[i].buffer->mem)
                               : clSetKernelArg(self->kernel, i, (size_t)args[i].bytes, args[i].value);
    if (!error) {
        call = "clEnqueueNDRangeKernel";
        error = clEnqueueNDRangeKernel(stream->queue, self->kernel, 1, NULL, &global, &local, 0, NULL,
                                       stream->device->profile ? &done : NULL);
    }
    pthread_mutex_unlock(&self->lock);
    if (done)
        ocl_profile_launch(stream->device->profile, row, done);
    return error ? ocl_fail(error, call, row) : RL_OK;
}

static rl_status scratch(rl_backend_stream *stream, unsigned slot, uint64_t bytes, rl_backend_buffer **out_buffer) {
    rl_backend_buffer *self = &stream->scratch[slot];
    rl_status status = RL_OK;
    if (self->bytes < bytes || !self->mem) { /* kernels that use the old one keep it alive */
        ocl_buffer_deinit(stream->device, self);
        status = ocl_buffer_init(stream->device, 0, bytes < 4096 ? 4096 : bytes, self);
    }
    *out_buffer = self;
    return status;
}

static rl_status upload(rl_backend_stream *stream, const void *source, uint64_t bytes, rl_backend_buffer **out_buffer,
                        uint64_t *out_offset) {
    unsigned slot = ocl_ring_next(&stream->small);
    *out_buffer = &stream->uploads;
    *out_offset = slot * stream->small.slot_bytes;
    return ocl_ring_write(&stream->small, stream, slot, stream->uploads.mem, *out_offset, source, bytes, "upload");
}

static rl_backend_buffer *flags(rl_backend_stream *stream, const char *row) {
    static const char *const names[] = RL_FLAG_NAMES;
    if (!row)
        return &stream->flags;
    for (int i = 0; i < RL_FLAG_COUNT; i++)
        if (strcmp(names[i], row) == 0) {
            char *op = stream->flag_op[i];
            const int first = !(stream->flagged >> i & 1u);
            if (first)
                snprintf(op, sizeof stream->flag_op[i], "%s", ocl_op());
            else if (strcmp(op, ocl_op()) != 0)
                *op = '\0';
            stream->flagged |= 1u << i;
        }
    return &stream->flags;
}

const rl_accel_driver ocl_driver = {
    .dialect = "#define RL_OPENCL 1",
    .build = build,
    .binary = binary,
    .kernel = kernel,
    .release = release,
    .launch = launch,
    .scratch = scratch,
    .upload = upload,
    .flags = flags,
};
