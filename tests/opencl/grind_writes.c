/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In front of oclgrind (LD_PRELOAD): the host's writes and copies reach a buffer by a kernel. Oclgrind 21.10 takes a
 * buffer for undefined outside of what the host last wrote, however it had been filled before (ShadowMemory::allocate),
 * and all uses of it for uninitialized ones; what kernels write, it follows exactly.
 */
#define CL_TARGET_OPENCL_VERSION 120
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS
#include <CL/cl.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define EXPORT __attribute__((visibility("default")))

static const char *const text =
    "__kernel void grind_put(__global const uchar *from, __global uchar *to, ulong from_at, ulong to_at, ulong bytes) "
    "{\n"
    "    ulong i = 0;\n"
    "    from += from_at;\n"
    "    to += to_at;\n"
    "    for (; i + 128 <= bytes; i += 128) /* as ulong16: 8 bytes aligned, as all offsets of tensors and uploads are "
    "*/\n"
    "        vstore16(vload16(0, (__global const ulong *)(from + i)), 0, (__global ulong *)(to + i));\n"
    "    for (; i < bytes; i++)\n"
    "        to[i] = from[i];\n"
    "}\n";
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void must(cl_int error, const char *what) {
    if (error) {
        fprintf(stderr, "grind_writes: %s: %d\n", what, (int)error);
        abort();
    }
}

/* The kernel in that context; one at a time is kept. */
static cl_kernel kernel_of(cl_context context) {
    static cl_kernel kernel;
    static cl_context of;
    cl_int error = CL_SUCCESS;
    if (kernel && of == context)
        return kernel;
    if (kernel)
        clReleaseKernel(kernel);
    cl_program program = clCreateProgramWithSource(context, 1, (const char **)(void *)&text, NULL, &error);
    must(error, "clCreateProgramWithSource");
    must(clBuildProgram(program, 0, NULL, "", NULL, NULL), "clBuildProgram");
    kernel = clCreateKernel(program, "grind_put", &error);
    must(error, "clCreateKernel");
    clReleaseProgram(program);
    of = context;
    return kernel;
}

static cl_int put(cl_command_queue queue, cl_mem from, cl_mem to, size_t from_at, size_t to_at, size_t bytes, cl_uint n,
                  const cl_event *wait, cl_event *event) {
    cl_context context;
    const cl_ulong numbers[] = {from_at, to_at, bytes};
    size_t one = 1;
    must(clGetCommandQueueInfo(queue, CL_QUEUE_CONTEXT, sizeof context, &context, NULL), "clGetCommandQueueInfo");
    cl_kernel kernel = kernel_of(context);
    must(clSetKernelArg(kernel, 0, sizeof from, &from), "clSetKernelArg");
    must(clSetKernelArg(kernel, 1, sizeof to, &to), "clSetKernelArg");
    for (cl_uint i = 0; i < 3; i++)
        must(clSetKernelArg(kernel, 2 + i, sizeof numbers[i], &numbers[i]), "clSetKernelArg");
    cl_int error = clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &one, &one, n, wait, event);
    clFinish(queue);
    return error;
}

/* Where data wait for the kernel: what is known of it begins anew with each write to its beginning. */
static cl_mem staging_of(cl_context context, size_t bytes) {
    static cl_mem staging;
    static cl_context of;
    static size_t room;
    cl_int error = CL_SUCCESS;
    if (of == context && room >= bytes)
        return staging;
    room = bytes < 1 << 20 ? 1 << 20 : bytes;
    staging = clCreateBuffer(context, CL_MEM_READ_WRITE, room, NULL, &error);
    must(error, "clCreateBuffer");
    of = context;
    return staging;
}

EXPORT cl_int clEnqueueWriteBuffer(cl_command_queue queue, cl_mem to, cl_bool blocking, size_t offset, size_t bytes,
                                   const void *data, cl_uint n, const cl_event *wait, cl_event *event) {
    cl_int (*write)(cl_command_queue, cl_mem, cl_bool, size_t, size_t, const void *, cl_uint, const cl_event *,
                    cl_event *);
    cl_context context;
    (void)blocking;
    *(void **)&write = dlsym(RTLD_NEXT, "clEnqueueWriteBuffer");
    must(clGetCommandQueueInfo(queue, CL_QUEUE_CONTEXT, sizeof context, &context, NULL), "clGetCommandQueueInfo");
    pthread_mutex_lock(&lock);
    cl_mem staging = staging_of(context, bytes);
    must(write(queue, staging, CL_TRUE, 0, bytes, data, n, wait, NULL), "clEnqueueWriteBuffer");
    cl_int error = put(queue, staging, to, 0, offset, bytes, 0, NULL, event);
    pthread_mutex_unlock(&lock);
    return error;
}

EXPORT cl_int clEnqueueCopyBuffer(cl_command_queue queue, cl_mem from, cl_mem to, size_t from_offset, size_t to_offset,
                                  size_t bytes, cl_uint n, const cl_event *wait, cl_event *event) {
    pthread_mutex_lock(&lock);
    cl_int error = put(queue, from, to, from_offset, to_offset, bytes, n, wait, event);
    pthread_mutex_unlock(&lock);
    return error;
}

/* No buffer goes: the next one in its place would inherit what was known of it. */
EXPORT cl_int clReleaseMemObject(cl_mem buffer) {
    (void)buffer;
    return CL_SUCCESS;
}
