/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stand-in OpenCL driver: the ICD of another one with some calls replaced, that fails the n-th call of a kind and
 * counts what is made and released. The loader finds it through an .icd file.
 *   STAND_IN_ICD_LIBRARY  the driver behind it, such as libpocl.so.2
 *   STAND_IN_ICD_FAIL     clCreateBuffer:3 fails the third, clCreateBuffer:3+ all from the third on
 * At the end it writes a line for each kind of object that was made more often than released.
 */
#define CL_TARGET_OPENCL_VERSION 120
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS
#include <CL/cl.h>
#include <CL/cl_icd.h>
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

/* X(name, error when it fails) */
#define FAILING(X)                                                                                                     \
    X(clCreateContext, CL_OUT_OF_HOST_MEMORY)                                                                          \
    X(clCreateCommandQueue, CL_OUT_OF_RESOURCES)                                                                       \
    X(clCreateBuffer, CL_MEM_OBJECT_ALLOCATION_FAILURE)                                                                \
    X(clCreateProgramWithSource, CL_OUT_OF_HOST_MEMORY)                                                                \
    X(clBuildProgram, CL_BUILD_PROGRAM_FAILURE)                                                                        \
    X(clCreateKernel, CL_OUT_OF_RESOURCES)                                                                             \
    X(clSetKernelArg, CL_OUT_OF_RESOURCES)                                                                             \
    X(clEnqueueNDRangeKernel, CL_OUT_OF_RESOURCES)                                                                     \
    X(clEnqueueReadBuffer, CL_OUT_OF_RESOURCES)                                                                        \
    X(clEnqueueWriteBuffer, CL_OUT_OF_RESOURCES)                                                                       \
    X(clEnqueueMarkerWithWaitList, CL_OUT_OF_RESOURCES)                                                                \
    X(clFinish, CL_OUT_OF_RESOURCES)

enum call {
#define NUMBER(name, error) CALL_##name,
    FAILING(NUMBER)
#undef NUMBER
        CALL_COUNT
};
static const char *const names[] = {
#define NAME(name, error) #name,
    FAILING(NAME)
#undef NAME
};
static atomic_long calls[CALL_COUNT];
static cl_icd_dispatch real; /* the driver's own functions */

/* Objects. */
enum kind { CONTEXTS, QUEUES, BUFFERS, PROGRAMS, KERNELS, EVENTS, KIND_COUNT };
static const char *const kinds[] = {"contexts", "queues", "buffers", "programs", "kernels", "events"};
static atomic_long alive[KIND_COUNT];

static int fails(enum call call) {
    const char *asked = getenv("STAND_IN_ICD_FAIL");
    size_t length = strlen(names[call]);
    long number = 1 + atomic_fetch_add(&calls[call], 1);
    if (!asked || strncmp(asked, names[call], length) != 0 || asked[length] != ':')
        return 0;
    char *end;
    long from = strtol(asked + length + 1, &end, 10);
    return number == from || (*end == '+' && number > from);
}

/* A made object, or the error in its place. */
#define MAKE(name, kind, error_code, out_error, expression)                                                            \
    cl_int error = CL_SUCCESS;                                                                                         \
    void *made = NULL;                                                                                                 \
    if (fails(CALL_##name))                                                                                            \
        error = error_code;                                                                                            \
    else                                                                                                               \
        made = (expression);                                                                                           \
    if (made)                                                                                                          \
        alive[kind]++;                                                                                                 \
    if (out_error)                                                                                                     \
        *(out_error) = error;                                                                                          \
    return made

static cl_context create_context(const cl_context_properties *p, cl_uint n, const cl_device_id *d,
                                 void(CL_CALLBACK *notify)(const char *, const void *, size_t, void *), void *data,
                                 cl_int *out) {
    MAKE(clCreateContext, CONTEXTS, CL_OUT_OF_HOST_MEMORY, out, real.clCreateContext(p, n, d, notify, data, &error));
}
static cl_command_queue create_queue(cl_context c, cl_device_id d, cl_command_queue_properties p, cl_int *out) {
    MAKE(clCreateCommandQueue, QUEUES, CL_OUT_OF_RESOURCES, out, real.clCreateCommandQueue(c, d, p, &error));
}
static cl_mem create_buffer(cl_context c, cl_mem_flags f, size_t bytes, void *host, cl_int *out) {
    MAKE(clCreateBuffer, BUFFERS, CL_MEM_OBJECT_ALLOCATION_FAILURE, out,
         real.clCreateBuffer(c, f, bytes, host, &error));
}
static cl_program create_program(cl_context c, cl_uint n, const char **text, const size_t *bytes, cl_int *out) {
    MAKE(clCreateProgramWithSource, PROGRAMS, CL_OUT_OF_HOST_MEMORY, out,
         real.clCreateProgramWithSource(c, n, text, bytes, &error));
}
static cl_program create_binary(cl_context c, cl_uint n, const cl_device_id *d, const size_t *bytes,
                                const unsigned char **data, cl_int *status, cl_int *out) {
    cl_program made = real.clCreateProgramWithBinary(c, n, d, bytes, data, status, out);
    alive[PROGRAMS] += made != NULL;
    return made;
}
static cl_kernel create_kernel(cl_program p, const char *name, cl_int *out) {
    MAKE(clCreateKernel, KERNELS, CL_OUT_OF_RESOURCES, out, real.clCreateKernel(p, name, &error));
}

#define RELEASE(function, type, kind)                                                                                  \
    static cl_int release_##kind(type object) {                                                                        \
        alive[kind]--;                                                                                                 \
        return real.function(object);                                                                                  \
    }
RELEASE(clReleaseContext, cl_context, CONTEXTS)
RELEASE(clReleaseCommandQueue, cl_command_queue, QUEUES)
RELEASE(clReleaseMemObject, cl_mem, BUFFERS)
RELEASE(clReleaseProgram, cl_program, PROGRAMS)
RELEASE(clReleaseKernel, cl_kernel, KERNELS)
RELEASE(clReleaseEvent, cl_event, EVENTS)

static cl_int retain_event(cl_event event) {
    alive[EVENTS]++;
    return real.clRetainEvent(event);
}

/* A call that may fail before it does anything; an event it gives is counted. */
#define TRY(name, error_code, event, expression)                                                                       \
    if (fails(CALL_##name))                                                                                            \
        return error_code;                                                                                             \
    cl_int error = (expression);                                                                                       \
    cl_event *given = event;                                                                                           \
    alive[EVENTS] += given != NULL && error == CL_SUCCESS;                                                             \
    return error

static cl_int build(cl_program p, cl_uint n, const cl_device_id *d, const char *options,
                    void(CL_CALLBACK *notify)(cl_program, void *), void *data) {
    TRY(clBuildProgram, CL_BUILD_PROGRAM_FAILURE, NULL, real.clBuildProgram(p, n, d, options, notify, data));
}
static cl_int set_arg(cl_kernel k, cl_uint i, size_t bytes, const void *value) {
    TRY(clSetKernelArg, CL_OUT_OF_RESOURCES, NULL, real.clSetKernelArg(k, i, bytes, value));
}
static cl_int launch(cl_command_queue q, cl_kernel k, cl_uint dims, const size_t *offset, const size_t *global,
                     const size_t *local, cl_uint n, const cl_event *wait, cl_event *event) {
    TRY(clEnqueueNDRangeKernel, CL_OUT_OF_RESOURCES, event,
        real.clEnqueueNDRangeKernel(q, k, dims, offset, global, local, n, wait, event));
}
static cl_int read_buffer(cl_command_queue q, cl_mem m, cl_bool blocking, size_t offset, size_t bytes, void *to,
                          cl_uint n, const cl_event *wait, cl_event *event) {
    TRY(clEnqueueReadBuffer, CL_OUT_OF_RESOURCES, event,
        real.clEnqueueReadBuffer(q, m, blocking, offset, bytes, to, n, wait, event));
}
static cl_int write_buffer(cl_command_queue q, cl_mem m, cl_bool blocking, size_t offset, size_t bytes,
                           const void *from, cl_uint n, const cl_event *wait, cl_event *event) {
    TRY(clEnqueueWriteBuffer, CL_OUT_OF_RESOURCES, event,
        real.clEnqueueWriteBuffer(q, m, blocking, offset, bytes, from, n, wait, event));
}
static cl_int marker(cl_command_queue q, cl_uint n, const cl_event *wait, cl_event *event) {
    TRY(clEnqueueMarkerWithWaitList, CL_OUT_OF_RESOURCES, event, real.clEnqueueMarkerWithWaitList(q, n, wait, event));
}
/* It fails once all is done: what still ran would write to memory that the caller has given up. */
static cl_int finish(cl_command_queue q) {
    const cl_int done = real.clFinish(q);
    TRY(clFinish, CL_OUT_OF_RESOURCES, NULL, done);
}

static void replace(cl_icd_dispatch *table) {
    table->clCreateContext = create_context;
    table->clCreateCommandQueue = create_queue;
    table->clCreateBuffer = create_buffer;
    table->clCreateProgramWithSource = create_program;
    table->clCreateProgramWithBinary = create_binary;
    table->clCreateKernel = create_kernel;
    table->clReleaseContext = release_CONTEXTS;
    table->clReleaseCommandQueue = release_QUEUES;
    table->clReleaseMemObject = release_BUFFERS;
    table->clReleaseProgram = release_PROGRAMS;
    table->clReleaseKernel = release_KERNELS;
    table->clReleaseEvent = release_EVENTS;
    table->clRetainEvent = retain_event;
    table->clBuildProgram = build;
    table->clSetKernelArg = set_arg;
    table->clEnqueueNDRangeKernel = launch;
    table->clEnqueueReadBuffer = read_buffer;
    table->clEnqueueWriteBuffer = write_buffer;
    table->clEnqueueMarkerWithWaitList = marker;
    table->clFinish = finish;
}

/* What the driver's library gives; its objects all lead to one table, which is changed where it lies. */
static void *driver_symbol(const char *name) {
    static void *library;
    const char *path = getenv("STAND_IN_ICD_LIBRARY");
    if (!library && path)
        library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        fprintf(stderr, "stand-in ICD: STAND_IN_ICD_LIBRARY %s does not load\n", path ? path : "(not set)");
    return library ? dlsym(library, name) : NULL;
}

static void take_over(cl_platform_id platform) {
    cl_icd_dispatch *table = *(cl_icd_dispatch **)(void *)platform;
    size_t page = (size_t)sysconf(_SC_PAGESIZE), first = (size_t)table / page * page;
    size_t bytes = (size_t)table + sizeof *table - first;
    if (table->clFinish == finish)
        return;
    memcpy(&real, table, sizeof real);
    if (mprotect((void *)first, bytes, PROT_READ | PROT_WRITE))
        fprintf(stderr, "stand-in ICD: the driver's table cannot be changed\n");
    else
        replace(table);
}

EXPORT cl_int clIcdGetPlatformIDsKHR(cl_uint room, cl_platform_id *platforms, cl_uint *out_n);
EXPORT cl_int clIcdGetPlatformIDsKHR(cl_uint room, cl_platform_id *platforms, cl_uint *out_n) {
    cl_int (*function)(cl_uint, cl_platform_id *, cl_uint *);
    void *(*find)(const char *); /* drivers give this one by name alone */
    *(void **)&find = driver_symbol("clGetExtensionFunctionAddress");
    *(void **)&function = find ? find("clIcdGetPlatformIDsKHR") : NULL;
    cl_int error = function ? function(room, platforms, out_n) : -1001; /* CL_PLATFORM_NOT_FOUND_KHR */
    if (error == CL_SUCCESS && platforms && room)
        take_over(platforms[0]);
    return error;
}

EXPORT void *clGetExtensionFunctionAddress(const char *name);
EXPORT void *clGetExtensionFunctionAddress(const char *name) {
    if (strcmp(name, "clIcdGetPlatformIDsKHR") == 0) {
        void *address;
        *(cl_int(**)(cl_uint, cl_platform_id *, cl_uint *)) & address = clIcdGetPlatformIDsKHR;
        return address;
    }
    void *(*function)(const char *);
    *(void **)&function = driver_symbol("clGetExtensionFunctionAddress");
    return function ? function(name) : NULL;
}

EXPORT cl_int clGetPlatformInfo(cl_platform_id platform, cl_platform_info what, size_t room, void *out, size_t *bytes);
EXPORT cl_int clGetPlatformInfo(cl_platform_id platform, cl_platform_info what, size_t room, void *out, size_t *bytes) {
    return real.clGetPlatformInfo ? real.clGetPlatformInfo(platform, what, room, out, bytes) : CL_INVALID_PLATFORM;
}

__attribute__((destructor)) static void report(void) {
    for (int k = 0; k < KIND_COUNT; k++)
        if (alive[k] != 0)
            fprintf(stderr, "stand-in ICD: %ld %s were not released\n", (long)alive[k], kinds[k]);
}
