/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batches. The loader's thread fills a ring of slots with host memory, epoch after epoch, and never touches a tensor;
 * the caller's thread makes tensors of them. Without prefetch the same code runs on the caller's thread.
 *
 * Lock: `mutex` guards ring, filled, stop. The producer alone uses `order` and `made`; the consumer the rest.
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/sized.h"
#include "data/dataset.h"
#include "rushlight/device.h"
#include "tensor/tensor.h"

#define PREFETCH_MOST 64

typedef struct batch {
    void *fields[RL_DATASET_FIELDS]; /* host memory of our own */
    int64_t count;
    rl_status status;
    char sentence[256];
} batch;

typedef struct cursor { /* a batch of an epoch */
    int64_t epoch, number;
} cursor;

struct rl_loader {
    rl_object object;
    rl_dataset *dataset;
    rl_device *device;
    int64_t batch_size, batches, prefetch;
    bool shuffle;
    uint64_t seed;

    cursor next;                           /* the batch that the consumer takes next */
    rl_tensor *current[RL_DATASET_FIELDS]; /* of the last call */

    cursor made;    /* the batch that the producer makes next */
    int64_t *order; /* sample numbers of the epoch `ordered` */
    int64_t ordered;

    pthread_t thread;
    pid_t process; /* in which the thread runs */
    bool running, stop;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    batch ring[PREFETCH_MOST];
    int64_t first, filled;
};

/* The order of an epoch
 * ------------------------------------------------------------------------------------------------ */

/* splitmix64: Steele, Lea, Flood 2014. */
static uint64_t next_random(uint64_t *state) {
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* Below n without bias: draws that fall into the incomplete last interval are thrown away. */
static uint64_t random_below(uint64_t *state, uint64_t n) {
    uint64_t limit = UINT64_MAX - UINT64_MAX % n, draw;
    do
        draw = next_random(state);
    while (draw >= limit);
    return draw % n;
}

static void order_epoch(rl_loader *self, int64_t epoch) {
    uint64_t state = self->seed ^ ((uint64_t)epoch * 0xD1342543DE82EF95u);
    if (self->ordered == epoch)
        return;
    for (int64_t i = 0; i < self->dataset->size; i++)
        self->order[i] = i;
    for (int64_t i = self->dataset->size - 1; self->shuffle && i > 0; i--) {
        int64_t j = (int64_t)random_below(&state, (uint64_t)i + 1), swap = self->order[i];
        self->order[i] = self->order[j];
        self->order[j] = swap;
    }
    self->ordered = epoch;
}

/* Making batches, on either thread
 * --------------------------------------------------------------------------------------- */

static void batch_free(batch *self) {
    for (int f = 0; f < RL_DATASET_FIELDS; f++) {
        rl_free(self->fields[f]);
        self->fields[f] = NULL;
    }
}

static void batch_fail(batch *self, rl_status status, const char *sentence) {
    self->status = status;
    snprintf(self->sentence, sizeof self->sentence, "%s", sentence);
    batch_free(self);
}

static void batch_fetch(rl_loader *self, batch *out, const int64_t *numbers) {
    const rl_dataset *dataset = self->dataset;
    char sentence[256] = "";
    rl_status status;
    for (int64_t f = 0; f < dataset->n_fields; f++) {
        size_t bytes = (size_t)out->count * dataset->sample_bytes[f];
        if (!(out->fields[f] = rl_alloc_aligned(bytes ? bytes : 1, "batch"))) {
            batch_fail(out, RL_OUT_OF_MEMORY, rl_error_text());
            return;
        }
    }
    if ((status = dataset->klass.fetch(dataset->context, numbers, out->count, out->fields, sentence, sizeof sentence)))
        batch_fail(out, status, sentence[0] ? sentence : rl_status_text(status));
}

/* Makes the batch at `made` and moves on, into the next epoch after the last. */
static void make_batch(rl_loader *self, batch *out) {
    rl_error_state saved;
    int64_t first = self->made.number * self->batch_size, left = self->dataset->size - first;
    memset(out, 0, sizeof *out);
    out->count = left < self->batch_size ? left : self->batch_size;
    rl_error_push(&saved);
    order_epoch(self, self->made.epoch);
    batch_fetch(self, out, self->order + first);
    (void)rl_error_pop(&saved, NULL);
    if (++self->made.number == self->batches) {
        self->made.number = 0;
        self->made.epoch++;
    }
}

static void *producer(void *context) {
    rl_loader *self = context;
    batch made;
    pthread_mutex_lock(&self->mutex);
    while (!self->stop) {
        if (self->filled == self->prefetch) {
            pthread_cond_wait(&self->changed, &self->mutex);
            continue;
        }
        pthread_mutex_unlock(&self->mutex);
        make_batch(self, &made);
        pthread_mutex_lock(&self->mutex);
        self->ring[(self->first + self->filled++) % self->prefetch] = made;
        pthread_cond_broadcast(&self->changed);
    }
    pthread_mutex_unlock(&self->mutex);
    return NULL;
}

/* In a child made by fork the thread is not there, though it may have held the mutex and been in the middle of
 * anything: all that it touches is begun anew, from the batch that is wanted next. What it had filled is left alone. */
static void mind_fork(rl_loader *self) {
    if (!self->running || self->process == getpid())
        return;
    self->mutex = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    self->changed = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
    self->running = self->stop = false;
    self->first = self->filled = 0;
    self->made = self->next;
    self->ordered = -1;
}

static rl_status start(rl_loader *self) {
    int code;
    self->stop = false;
    self->process = getpid();
    code = pthread_create(&self->thread, NULL, producer, self);
    if (code)
        return rl_fail(RL_OUT_OF_MEMORY, "loader: no thread could be started: %s", strerror(code));
    self->running = true;
    return RL_OK;
}

static void stop(rl_loader *self) {
    mind_fork(self);
    if (self->running) {
        pthread_mutex_lock(&self->mutex);
        self->stop = true;
        pthread_cond_broadcast(&self->changed);
        pthread_mutex_unlock(&self->mutex);
        pthread_join(self->thread, NULL);
        self->running = false;
    }
    for (; self->filled > 0; self->filled--, self->first++)
        batch_free(&self->ring[self->first % self->prefetch]);
    self->first = 0;
}

/* Taking them
 * ------------------------------------------------------------------------------------------------------------- */

static void drop_current(rl_loader *self) {
    for (int f = 0; f < RL_DATASET_FIELDS; f++) {
        rl_release(self->current[f]);
        self->current[f] = NULL;
    }
}

static rl_status take_batch(rl_loader *self, batch *out) {
    rl_status status;
    if (!self->prefetch) {
        self->made = self->next;
        make_batch(self, out);
        return RL_OK;
    }
    mind_fork(self);
    if (!self->running && (status = start(self)))
        return status;
    pthread_mutex_lock(&self->mutex);
    while (self->filled == 0)
        pthread_cond_wait(&self->changed, &self->mutex);
    *out = self->ring[self->first];
    self->first = (self->first + 1) % self->prefetch;
    self->filled--;
    pthread_cond_broadcast(&self->changed);
    pthread_mutex_unlock(&self->mutex);
    return RL_OK;
}

/* The batch's memory as a tensor: as it is on a host device, copied on another. Takes the memory over. */
static rl_tensor *batch_tensor(rl_loader *self, batch *made, int64_t f) {
    const rl_dataset_field *field = &self->dataset->fields[f];
    void *data = made->fields[f];
    int64_t shape[RL_MAX_DIMS] = {made->count};
    rl_ints sizes = {shape, field->ndim + 1};
    rl_tensor *tensor;
    memcpy(shape + 1, field->shape, (size_t)field->ndim * sizeof *shape);
    made->fields[f] = NULL;
    if (rl_device_is_host(self->device))
        return rl_tensor_wrap(data, sizes, (rl_ints){NULL, 0}, field->dtype, self->device, rl_free, data);
    tensor = rl_tensor_from_data(data, sizes, field->dtype, self->device);
    rl_free(data);
    return tensor;
}

static rl_status hand_out(rl_loader *self, batch *made, rl_tensor **out_fields) {
    RL_SCOPE(); /* the loader owns the batch, whatever scope the caller is in */
    if (made->status)
        return rl_fail(made->status, "loader: %s: %s", self->dataset->klass.name, made->sentence);
    for (int64_t f = 0; f < self->dataset->n_fields; f++)
        self->current[f] = rl_retain(batch_tensor(self, made, f));
    batch_free(made);
    if (rl_failed())
        return rl_error_status();
    memcpy(out_fields, self->current, (size_t)self->dataset->n_fields * sizeof *out_fields);
    return RL_OK;
}

bool rl_loader_next(rl_loader *self, rl_tensor **out_fields) {
    batch made;
    if (rl_failed())
        return false;
    if (!self || !out_fields) {
        (void)rl_fail(RL_INVALID_ARGUMENT, "loader_next: %s is NULL", self ? "out_fields" : "self");
        return false;
    }
    drop_current(self);
    if (self->next.number == self->batches) {
        self->next.number = 0;
        self->next.epoch++;
        return false;
    }
    if (take_batch(self, &made))
        return false;
    self->next.number++; /* past a batch that failed, too: the thread has gone on */
    return !hand_out(self, &made, out_fields);
}

bool rl_loader_next2(rl_loader *self, rl_tensor **out_input, rl_tensor **out_target) {
    rl_tensor *fields[RL_DATASET_FIELDS] = {NULL};
    if (rl_failed())
        return false;
    if (!self || !out_input || !out_target) {
        (void)rl_fail(RL_INVALID_ARGUMENT, "loader_next2: %s is NULL",
                      !self        ? "the loader"
                      : !out_input ? "out_input"
                                   : "out_target");
        return false;
    }
    if (self->dataset->n_fields != 2) {
        (void)rl_fail(RL_INVALID_ARGUMENT, "loader_next2: expected a dataset of two fields, got %lld",
                      (long long)self->dataset->n_fields);
        return false;
    }
    if (!rl_loader_next(self, fields))
        return false;
    *out_input = fields[0];
    *out_target = fields[1];
    return true;
}

int64_t rl_loader_batches(const rl_loader *self) {
    return self ? self->batches : 0;
}
int64_t rl_loader_epoch(const rl_loader *self) {
    return self ? self->next.epoch : 0;
}

rl_status rl_loader_set_epoch(rl_loader *self, int64_t epoch) {
    if (rl_failed())
        return rl_error_status();
    if (!self || epoch < 0)
        return rl_fail(RL_INVALID_ARGUMENT, "loader_set_epoch: expected a loader and an epoch of 0 or more, got %lld",
                       (long long)epoch);
    drop_current(self);
    stop(self);
    self->next = self->made = (cursor){epoch, 0};
    return RL_OK;
}

/* Life
 * --------------------------------------------------------------------------------------------------------------------
 */

static void loader_destroy(rl_object *object) {
    rl_loader *self = (rl_loader *)object;
    stop(self);
    drop_current(self);
    rl_release(self->dataset);
    rl_free(self->order);
    pthread_cond_destroy(&self->changed);
    pthread_mutex_destroy(&self->mutex);
    rl_free(self);
}
static const rl_object_class loader_class = {"loader", loader_destroy};

static rl_status loader_check(rl_dataset *dataset, const rl_loader_options *options, int64_t *out_batch_size,
                              int64_t *out_prefetch) {
    if (!dataset)
        return rl_fail(RL_INVALID_ARGUMENT, "loader_new: dataset is NULL");
    *out_batch_size = rl_option_int(options->batch_size, 1);
    if (*out_batch_size < 1)
        return rl_fail(RL_INVALID_ARGUMENT, "loader_new: batch_size must be at least 1, got %lld",
                       (long long)*out_batch_size);
    *out_prefetch = rl_option_int(options->prefetch, 2);
    if (*out_prefetch < 0 || *out_prefetch > PREFETCH_MOST)
        return rl_fail(RL_INVALID_ARGUMENT, "loader_new: prefetch must be 1 to %d, or RL_ZERO, got %lld", PREFETCH_MOST,
                       (long long)*out_prefetch);
    return RL_OK;
}

rl_loader *rl_loader_new_opt(rl_dataset *dataset, const rl_loader_options *given) {
    rl_loader_options options = {0};
    rl_loader *self;
    int64_t batch_size = 1, prefetch = 0;
    uint64_t unused;
    if (rl_failed() || rl_sized_take("loader", &options, sizeof options, given) != RL_OK)
        return NULL;
    if (loader_check(dataset, &options, &batch_size, &prefetch))
        return NULL;
    if (!options.device && !(options.device = rl_device_default()))
        return NULL;
    if (!(self = rl_alloc_zero(1, sizeof *self, "loader")))
        return NULL;
    if (!(self->order = rl_alloc_zero((size_t)dataset->size + 1, sizeof *self->order, "order of samples"))) {
        rl_free(self);
        return NULL;
    }
    rl_object_init(&self->object, &loader_class);
    pthread_mutex_init(&self->mutex, NULL);
    pthread_cond_init(&self->changed, NULL);
    self->dataset = rl_retain(dataset);
    self->device = options.device;
    self->batch_size = batch_size;
    self->prefetch = prefetch;
    self->shuffle = options.shuffle;
    self->seed = options.seed;
    self->ordered = -1;
    self->batches =
        options.drop_last ? dataset->size / batch_size : dataset->size / batch_size + (dataset->size % batch_size != 0);
    if (!self->seed) { /* so that rl_manual_seed decides on the order too */
        rl_generator_take(NULL, 4, &self->seed, &unused);
        self->seed ^= unused * 0x9E3779B97F4A7C15u;
    }
    return rl_object_own(self);
}
