/* SPDX-License-Identifier: Apache-2.0 */
/* State of the counter-based generator. The numbers themselves are made on the device from seed and offset. */
#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include "base/fork.h"
#include "base/memory.h"
#include "tensor/tensor.h"

static void destroy(rl_object *object) {
    rl_free(object);
}
static void destroy_nothing(rl_object *object) {
    (void)object;
}
static const rl_object_class generator_class = {"generator", destroy};
static const rl_object_class default_class = {"generator", destroy_nothing};

static rl_generator default_generator = {.object = {.count = 1, .klass = &default_class}};
static atomic_bool seeded;
static pthread_mutex_t seed_lock = PTHREAD_MUTEX_INITIALIZER;

__attribute__((constructor)) static void mind_forks(void) {
    rl_at_fork_mutex(RL_FORK_SEED, &seed_lock);
}

static void forget_seed(void) {
    atomic_store(&seeded, false);
}

static void set_state(rl_generator *self, uint64_t seed, uint64_t offset) {
    __atomic_store_n(&self->seed, seed, __ATOMIC_RELAXED);
    atomic_store_explicit(&self->offset, offset, memory_order_relaxed);
}

static void seed_default(const uint64_t *seed_or_null) {
    pthread_mutex_lock(&seed_lock);
    bool first = !atomic_load(&seeded);
    if (first)
        rl_at_shutdown(forget_seed);
    if (seed_or_null) {
        set_state(&default_generator, *seed_or_null, 0);
    } else if (first) {
        uint64_t seed;
        if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) != sizeof seed)
            seed = (uint64_t)time(NULL) * 0x9e3779b97f4a7c15u; /* early at boot, without entropy */
        set_state(&default_generator, seed, 0);
    }
    atomic_store(&seeded, true);
    pthread_mutex_unlock(&seed_lock);
}

rl_generator *rl_generator_default(void) {
    if (!atomic_load_explicit(&seeded, memory_order_acquire))
        seed_default(NULL);
    return &default_generator;
}

void rl_manual_seed(uint64_t seed) {
    seed_default(&seed);
}

rl_generator *rl_generator_new(uint64_t seed) {
    rl_generator *self = rl_failed() ? NULL : rl_alloc(sizeof *self, "a generator");
    if (!self)
        return NULL;
    rl_object_init(&self->object, &generator_class);
    atomic_init(&self->offset, 0);
    self->seed = seed;
    return rl_object_own(self);
}

void rl_generator_get_state(const rl_generator *self, uint64_t *out_seed, uint64_t *out_offset) {
    self = self ? self : rl_generator_default();
    if (out_seed)
        *out_seed = __atomic_load_n(&self->seed, __ATOMIC_RELAXED);
    if (out_offset)
        *out_offset = atomic_load_explicit(&self->offset, memory_order_relaxed);
}

void rl_generator_set_state(rl_generator *self, uint64_t seed, uint64_t offset) {
    set_state(self ? self : rl_generator_default(), seed, offset);
}

void rl_generator_take(rl_generator *self, int64_t numel, uint64_t *out_seed, uint64_t *out_offset) {
    self = self ? self : rl_generator_default();
    uint64_t blocks = ((uint64_t)numel + 3) / 4;
    *out_seed = __atomic_load_n(&self->seed, __ATOMIC_RELAXED);
    *out_offset = atomic_fetch_add_explicit(&self->offset, blocks, memory_order_relaxed);
}
