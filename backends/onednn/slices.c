/* SPDX-License-Identifier: Apache-2.0 */
#include "slices.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define SLICE_COST 20000.0 /* ns */

/* What a kernel says on a thread of the pool, until the caller's thread says it to the host. */
static _Thread_local char said[256];
static rl_status keep_sentence(rl_status status, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(said, sizeof said, format, args);
    va_end(args);
    return status;
}

typedef struct slicer {
    const od_slicing *how;
    const unsigned char *args;
    const int64_t *bytes;
    od_slice_fn kernel;
    rl_host host;
    int64_t slices;
    int d; /* the dimension that is cut */
    pthread_mutex_t lock;
    int64_t failed; /* the first slice that did */
    rl_status status;
    char sentence[sizeof said];
} slicer;

static void run_slice(void *context, int thread, int64_t slice) {
    slicer *self = context;
    union {
        unsigned char bytes[OD_SLICE_ROOM];
        int64_t align;
    } copy;
    (void)thread;
    memcpy(copy.bytes, self->args, self->how->size);
    int64_t *shape = (int64_t *)(void *)(copy.bytes + self->how->shape);
    const int64_t extent = shape[self->d], first = extent * slice / self->slices;
    shape[self->d] = extent * (slice + 1) / self->slices - first;
    for (int i = 0; i < OD_SLICE_OPERANDS && self->how->operand[i] != 0; i++) {
        rl_operand *operand = (rl_operand *)(void *)(copy.bytes + self->how->operand[i]);
        operand->offset += (uint64_t)(first * operand->stride[self->d] * self->bytes[i]);
    }
    const rl_status status = self->kernel(&self->host, copy.bytes);
    if (status == RL_OK)
        return;
    pthread_mutex_lock(&self->lock);
    if (self->status == RL_OK || slice < self->failed) {
        self->status = status;
        self->failed = slice;
        memcpy(self->sentence, said, sizeof said);
    }
    pthread_mutex_unlock(&self->lock);
}

rl_status od_slice(const od_slicing *how, const void *args, const int64_t *bytes, double cost, od_slice_fn kernel) {
    slicer self = {.how = how, .args = args, .bytes = bytes, .kernel = kernel, .host = *od_host, .d = -1};
    const int64_t *shape = (const int64_t *)(const void *)(self.args + how->shape);
    int64_t ndim, count = 1;
    int32_t dim;
    memcpy(&ndim, self.args + how->ndim, sizeof ndim);
    memcpy(&dim, self.args + how->dim, sizeof dim);
    for (int d = 0; d < ndim; d++) {
        count *= shape[d];
        if (d != dim && (self.d < 0 || shape[d] > shape[self.d]))
            self.d = d;
    }
    const int64_t wanted = (int64_t)((double)count * cost / SLICE_COST);
    if (self.d < 0 || shape[self.d] < 2 || wanted < 2)
        return kernel(od_host, args);
    self.slices = wanted < shape[self.d] ? wanted : shape[self.d];
    self.host.fail = keep_sentence;
    pthread_mutex_init(&self.lock, NULL);
    od_run(od_threads(self.slices, (double)count * cost), self.slices, run_slice, &self);
    pthread_mutex_destroy(&self.lock);
    return self.status == RL_OK ? RL_OK : od_host->fail(self.status, "%s", self.sentence);
}
