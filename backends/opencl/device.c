/* SPDX-License-Identifier: Apache-2.0 */
/* Platforms and devices: found once, GPUs numbered first. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "opencl.h"

#define MOST_OPTIONS 190 /* characters, of a user's */

static rl_backend_device devices[OCL_MOST_DEVICES];
static uint32_t n_devices;

/* What clGetDeviceInfo says, or 0. */
static uint64_t device_number(cl_device_id id, cl_device_info what) {
    uint64_t value = 0; /* narrower ones fill its low bytes; all that are asked for are 4 or 8 bytes */
    size_t bytes = 0;
    if (clGetDeviceInfo(id, what, 0, NULL, &bytes) || bytes > sizeof value ||
        clGetDeviceInfo(id, what, bytes, &value, NULL))
        return 0;
    return value;
}

static void device_text(cl_device_id id, cl_device_info what, char *out, size_t room) {
    char text[4096] = "";
    if (clGetDeviceInfo(id, what, sizeof text - 1, text, NULL))
        *text = '\0';
    snprintf(out, room, "%.*s", (int)room - 1, text);
}

static bool has_extension(cl_device_id id, const char *name) {
    size_t bytes = 0, length = strlen(name);
    if (clGetDeviceInfo(id, CL_DEVICE_EXTENSIONS, 0, NULL, &bytes) || bytes == 0)
        return false;
    char *text = calloc(1, bytes + 1);
    bool found = false;
    if (text && clGetDeviceInfo(id, CL_DEVICE_EXTENSIONS, bytes, text, NULL) == CL_SUCCESS)
        for (char *at = text; !found && (at = strstr(at, name)); at += length)
            found = (at == text || at[-1] == ' ') && (at[length] == ' ' || at[length] == '\0');
    free(text);
    return found;
}

static uint32_t power_of_two_below(uint64_t most) {
    uint32_t n = 1;
    while (2 * (uint64_t)n <= most)
        n *= 2;
    return n;
}

/* RUSHLIGHT_OPENCL_KERNELS: "cpu" or "gpu" writes kernels as for such a device, "interpret" runs all programs by the
 * interpreter, "build" none; several separated by commas. For tests and comparisons. */
static const char *const kernels_words[] = {"cpu", "gpu", "interpret", "build"};

/* Whether the word that begins at `at`, up to a comma or the end, is `what`. */
static bool is_word(const char *at, const char *what) {
    size_t length = strlen(what);
    return strcspn(at, ",") == length && memcmp(at, what, length) == 0;
}
static const char *next_word(const char *at) {
    at += strcspn(at, ",");
    return at + (*at == ',');
}
static bool asked_for(const char *what) {
    for (const char *at = getenv("RUSHLIGHT_OPENCL_KERNELS"); at && *at; at = next_word(at))
        if (is_word(at, what))
            return true;
    return false;
}

/* Says which of the words are none. */
static void check_words(void) {
    for (const char *at = getenv("RUSHLIGHT_OPENCL_KERNELS"); at && *at; at = next_word(at)) {
        const size_t length = strcspn(at, ",");
        bool known = length == 0;
        for (size_t i = 0; i < sizeof kernels_words / sizeof *kernels_words; i++)
            known |= is_word(at, kernels_words[i]);
        if (!known)
            ocl_host->log(RL_LOG_WARNING,
                          "opencl: RUSHLIGHT_OPENCL_KERNELS: there is no '%.*s', but cpu, gpu, interpret and build",
                          (int)(length < 40 ? length : 40), at);
    }
}

/* What RUSHLIGHT_OPENCL_OPTIONS gives the compiler besides ours; part of the identity, as binaries differ by it. */
static const char *more_options(void) {
    const char *given = getenv("RUSHLIGHT_OPENCL_OPTIONS");
    if (given && strlen(given) > MOST_OPTIONS)
        ocl_host->log(RL_LOG_WARNING, "opencl: RUSHLIGHT_OPENCL_OPTIONS is ignored: it has more than %d characters",
                      MOST_OPTIONS);
    return given && strlen(given) <= MOST_OPTIONS ? given : "";
}

static void fit_kernels(rl_backend_device *self) {
    rl_accel_traits *traits = &self->accel.traits;
    bool as_cpu = asked_for("cpu") || (self->is_cpu && !asked_for("gpu"));
    uint64_t lanes = device_number(self->id, CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT);
    traits->group = as_cpu ? 1 : power_of_two_below(device_number(self->id, CL_DEVICE_MAX_WORK_GROUP_SIZE));
    if (traits->group > 256)
        traits->group = 256;
    traits->width = !as_cpu ? 4 : lanes >= 16 ? 16 : lanes >= 4 ? 2 * power_of_two_below(lanes) : 4;
    traits->units = self->compute_units ? self->compute_units : 1;
    traits->param_bytes = device_number(self->id, CL_DEVICE_MAX_PARAMETER_SIZE);
    traits->local_bytes = device_number(self->id, CL_DEVICE_LOCAL_MEM_SIZE);
    traits->f64 = has_extension(self->id, "cl_khr_fp64");
    traits->f16 = has_extension(self->id, "cl_khr_fp16");
    traits->interpret = asked_for("interpret") ? RL_ACCEL_INTERPRET_ALWAYS
                        : asked_for("build")   ? RL_ACCEL_INTERPRET_NEVER
                                               : RL_ACCEL_INTERPRET_RARE;
}

static void describe(rl_backend_device *self, cl_platform_id platform, cl_device_id id) {
    char version[128], platform_name[128] = "", driver[96], name[128];
    memset(self, 0, sizeof *self);
    self->platform = platform;
    self->id = id;
    self->is_cpu = (device_number(id, CL_DEVICE_TYPE) & CL_DEVICE_TYPE_CPU) != 0;
    self->unified = device_number(id, CL_DEVICE_HOST_UNIFIED_MEMORY) != 0;
    self->correct = device_number(id, CL_DEVICE_SINGLE_FP_CONFIG) & CL_FP_CORRECTLY_ROUNDED_DIVIDE_SQRT;
    self->compute_units = (uint32_t)device_number(id, CL_DEVICE_MAX_COMPUTE_UNITS);
    self->memory = device_number(id, CL_DEVICE_GLOBAL_MEM_SIZE);
    self->largest = device_number(id, CL_DEVICE_MAX_MEM_ALLOC_SIZE);
    device_text(id, CL_DEVICE_NAME, name, sizeof name);
    memcpy(self->name, name, sizeof self->name);
    device_text(id, CL_DRIVER_VERSION, driver, sizeof driver);
    device_text(id, CL_DEVICE_VERSION, version, sizeof version);
    clGetPlatformInfo(platform, CL_PLATFORM_NAME, sizeof platform_name - 1, platform_name, NULL);
    snprintf(self->driver, sizeof self->driver, "%.60s %.60s", platform_name, driver);
    const char *more = more_options();
    snprintf(self->options, sizeof self->options, "-cl-std=CL1.2 -w%s %.200s",
             self->correct ? " -cl-fp32-correctly-rounded-divide-sqrt" : "", more);
    snprintf(self->accel.identity, sizeof self->accel.identity, "opencl %s: %.100s, %.60s %.60s, %.80s%s%.200s",
             RUSHLIGHT_VERSION, name, platform_name, driver, version, *more ? ", " : "", more);
    fit_kernels(self);
}

/* Devices of a platform that are available and have a compiler, of the kind (GPU and others, or CPUs) asked for. */
static void add_devices(cl_platform_id platform, bool cpus) {
    cl_device_id ids[OCL_MOST_DEVICES];
    cl_uint n = 0;
    if (clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, OCL_MOST_DEVICES, ids, &n))
        return;
    for (cl_uint i = 0; i < n && i < OCL_MOST_DEVICES && n_devices < OCL_MOST_DEVICES; i++) {
        bool is_cpu = (device_number(ids[i], CL_DEVICE_TYPE) & CL_DEVICE_TYPE_CPU) != 0;
        char name[128];
        if (is_cpu != cpus)
            continue;
        if (device_number(ids[i], CL_DEVICE_AVAILABLE) && device_number(ids[i], CL_DEVICE_COMPILER_AVAILABLE)) {
            describe(&devices[n_devices], platform, ids[i]);
            devices[n_devices].number = n_devices;
            n_devices++;
            continue;
        }
        device_text(ids[i], CL_DEVICE_NAME, name, sizeof name);
        ocl_host->log(RL_LOG_WARNING, "opencl: %s is passed over: it is not available, or has no compiler", name);
    }
}

rl_status ocl_init(void) {
    cl_platform_id platforms[OCL_MOST_DEVICES];
    cl_uint n = 0;
    n_devices = 0;
    check_words();
    cl_int error = clGetPlatformIDs(OCL_MOST_DEVICES, platforms, &n);
    if (error == -1001 || (error == CL_SUCCESS && n == 0))
        return ocl_host->fail(RL_NOT_FOUND, "the OpenCL loader knows no platform: no driver's .icd file is in "
                                            "/etc/OpenCL/vendors (or the folder OCL_ICD_VENDORS), or its library does "
                                            "not load; Debian's pocl-opencl-icd runs on any processor");
    if (error)
        return ocl_fail(error, "clGetPlatformIDs", NULL);
    n = n > OCL_MOST_DEVICES ? OCL_MOST_DEVICES : n;
    for (int cpus = 0; cpus < 2; cpus++)
        for (cl_uint i = 0; i < n; i++)
            add_devices(platforms[i], cpus);
    if (n_devices == 0)
        return ocl_host->fail(RL_NOT_FOUND,
                              "%u OpenCL platform%s found, but no device that is available and has a compiler",
                              (unsigned)n, n == 1 ? " was" : "s were");
    return RL_OK;
}

void ocl_shutdown(void) {
    n_devices = 0;
}

uint32_t ocl_device_count(void) {
    return n_devices;
}

bool ocl_has_gpu(void) {
    return n_devices && !devices[0].is_cpu;
}

static rl_status check_number(uint32_t number) {
    if (number < n_devices)
        return RL_OK;
    return ocl_host->fail(RL_INVALID_ARGUMENT, "opencl has %u device%s; number %u was asked for", (unsigned)n_devices,
                          n_devices == 1 ? "" : "s", (unsigned)number);
}

rl_status ocl_device_info(uint32_t number, rl_device_info *info) {
    rl_status status = check_number(number);
    if (status)
        return status;
    rl_backend_device *self = &devices[number];
    rl_device_info filled = {
        .size = info->size,
        .flags = (self->is_cpu ? RL_DEVICE_CPU : 0) | (self->accel.traits.f64 ? RL_DEVICE_F64 : 0) |
                 (self->unified ? RL_DEVICE_UNIFIED : 0),
        .memory_total = self->memory,
        .compute_units = self->compute_units,
        .alignment = 64,
    };
    memcpy(filled.name, self->name, sizeof filled.name);
    memcpy(filled.driver, self->driver, sizeof filled.driver);
    memcpy(info, &filled, info->size < sizeof filled ? info->size : sizeof filled);
    return RL_OK;
}

rl_status ocl_device_open(uint32_t number, rl_backend_device **out_device) {
    rl_status status = check_number(number);
    if (status)
        return status;
    rl_backend_device *self = &devices[number];
    const cl_context_properties properties[] = {CL_CONTEXT_PLATFORM, (cl_context_properties)self->platform, 0};
    cl_int error = CL_SUCCESS;
    if (self->open)
        return ocl_host->fail(RL_INVALID_ARGUMENT, "opencl:%u is open already", (unsigned)number);
    self->context = clCreateContext(properties, 1, &self->id, NULL, NULL, &error);
    if (error)
        return ocl_fail(error, "clCreateContext", NULL);
    self->accel.host = ocl_host;
    self->accel.driver = &ocl_driver;
    status = rl_accel_init(&self->accel);
    if (status) {
        clReleaseContext(self->context);
        return status;
    }
    self->memory_used = 0;
    self->profile = ocl_profile_wanted() ? ocl_profile_new() : NULL;
    self->open = true;
    *out_device = self;
    return RL_OK;
}

void ocl_device_close(rl_backend_device *self) {
    rl_accel_deinit(&self->accel);
    ocl_profile_end(self->profile, self->name);
    clReleaseContext(self->context);
    self->open = false;
}
