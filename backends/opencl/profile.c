/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What kernels took on the device, by row: where RUSHLIGHT_OPENCL_PROFILE is set, queues measure, and a table goes to
 * the log when the device is closed. Events of launches are held, and read together once there are many.
 */
#include <stdlib.h>
#include <string.h>

#include "opencl.h"

#define MOST_ROWS 64 /* more than there are rows in backend.h */
#define MOST_HELD 256

typedef struct row_time {
    const char *row;
    uint64_t launches, nanoseconds;
} row_time;

typedef struct held_launch {
    const char *row;
    cl_event event;
} held_launch;

struct ocl_profile {
    pthread_mutex_t lock;
    int n_rows, n_held;
    row_time rows[MOST_ROWS];
    held_launch held[MOST_HELD];
};

bool ocl_profile_wanted(void) {
    const char *given = getenv("RUSHLIGHT_OPENCL_PROFILE");
    return given && *given && strcmp(given, "0") != 0;
}

ocl_profile *ocl_profile_new(void) {
    ocl_profile *self = calloc(1, sizeof *self);
    if (self && pthread_mutex_init(&self->lock, NULL)) {
        free(self);
        self = NULL;
    }
    return self;
}

static void add(ocl_profile *self, const char *row, uint64_t nanoseconds) {
    int at = 0;
    while (at < self->n_rows && strcmp(self->rows[at].row, row) != 0)
        at++;
    if (at == MOST_ROWS)
        return;
    self->n_rows = at == self->n_rows ? at + 1 : self->n_rows;
    self->rows[at].row = row;
    self->rows[at].launches++;
    self->rows[at].nanoseconds += nanoseconds;
}

/* Waits for what is held and adds it up. */
static void read_held_locked(ocl_profile *self) {
    for (int i = 0; i < self->n_held; i++) {
        cl_event event = self->held[i].event;
        cl_ulong begin = 0, end = 0;
        if (clWaitForEvents(1, &event) == CL_SUCCESS &&
            clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_START, sizeof begin, &begin, NULL) == CL_SUCCESS &&
            clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_END, sizeof end, &end, NULL) == CL_SUCCESS)
            add(self, self->held[i].row, end - begin);
        clReleaseEvent(event);
    }
    self->n_held = 0;
}

void ocl_profile_launch(ocl_profile *self, const char *row, cl_event event) {
    pthread_mutex_lock(&self->lock);
    if (self->n_held == MOST_HELD)
        read_held_locked(self);
    self->held[self->n_held++] = (held_launch){row, event};
    pthread_mutex_unlock(&self->lock);
}

static int slower(const void *a, const void *b) {
    const row_time *x = a, *y = b;
    return x->nanoseconds < y->nanoseconds ? 1 : x->nanoseconds > y->nanoseconds ? -1 : 0;
}

void ocl_profile_end(ocl_profile *self, const char *device) {
    if (!self)
        return;
    read_held_locked(self); /* no other thread is here any more */
    qsort(self->rows, (size_t)self->n_rows, sizeof *self->rows, slower);
    for (int i = 0; i < self->n_rows; i++)
        ocl_host->log(RL_LOG_WARNING, "opencl: %s: %-24s %8llu launches %10.3f ms %8.1f us each", device,
                      self->rows[i].row, (unsigned long long)self->rows[i].launches,
                      1e-6 * (double)self->rows[i].nanoseconds,
                      1e-3 * (double)self->rows[i].nanoseconds / (double)self->rows[i].launches);
    pthread_mutex_destroy(&self->lock);
    free(self);
}
