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

/* Draws that are kept, and drawn again ---------------------------------------------------------------------------- */

typedef struct rl_draw {
    uint64_t seed, offset;
} rl_draw;

static _Thread_local __attribute__((tls_model("initial-exec"))) rl_draw_scope *innermost;

void rl_draws_enter(rl_draw_scope *scope, rl_draws *draws, bool repeat) {
    *scope = (rl_draw_scope){.draws = draws, .repeat = repeat, .outer = innermost};
    innermost = scope;
}

void rl_draws_leave(rl_draw_scope *scope) {
    innermost = scope->outer;
}

void rl_draws_free(rl_draws *self) {
    rl_free(self->list);
    *self = (rl_draws){0};
}

static void keep(rl_draws *self, rl_draw draw) {
    if (self->count == self->room) {
        uint32_t room = self->room ? 2 * self->room : 8;
        rl_draw *grown = rl_realloc(self->list, room, sizeof *grown, "random numbers that are drawn again");
        if (grown == NULL)
            return;
        self->list = grown;
        self->room = room;
    }
    self->list[self->count++] = draw;
}

static rl_draw draw_from(rl_generator *self, int64_t numel) {
    uint64_t blocks = ((uint64_t)numel + 3) / 4;
    return (rl_draw){__atomic_load_n(&self->seed, __ATOMIC_RELAXED),
                     atomic_fetch_add_explicit(&self->offset, blocks, memory_order_relaxed)};
}

/* The scopes from the innermost outward: one that repeats ends the way, those passed keep what comes of it. */
static rl_draw draw_within(rl_draw_scope *scope, int64_t numel) {
    if (scope == NULL)
        return draw_from(rl_generator_default(), numel);
    if (scope->repeat && scope->next < scope->draws->count)
        return scope->draws->list[scope->next++];
    rl_draw draw = draw_within(scope->outer, numel);
    if (!scope->repeat)
        keep(scope->draws, draw);
    return draw;
}

static bool repeats(void) {
    for (const rl_draw_scope *scope = innermost; scope; scope = scope->outer)
        if (scope->repeat)
            return true;
    return false;
}

/* Generators ------------------------------------------------------------------------------------------------------- */

void rl_manual_seed(uint64_t seed) {
    if (!repeats())
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
    self = self ? self : rl_generator_default();
    if (self != &default_generator || !repeats())
        set_state(self, seed, offset);
}

void rl_generator_take(rl_generator *self, int64_t numel, uint64_t *out_seed, uint64_t *out_offset) {
    bool own = self && self != &default_generator;
    rl_draw draw = own ? draw_from(self, numel) : draw_within(innermost, numel);
    *out_seed = draw.seed;
    *out_offset = draw.offset;
}
