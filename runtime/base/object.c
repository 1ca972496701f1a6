/* SPDX-License-Identifier: Apache-2.0 */
/* Counted objects, the scopes that own them, and the end of it all. */
#include "base/object.h"

#include <assert.h>
#include <pthread.h>

#include "base/error.h"
#include "base/fork.h"
#include "base/memory.h"
#include "base/thread.h"

RL_THREAD_LOCAL rl_thread rl_thread_;

void *rl_retain(void *object) {
    if (object)
        atomic_fetch_add_explicit(&((rl_object *)object)->count, 1, memory_order_relaxed);
    return object;
}

void rl_release(void *object) {
    rl_object *self = object;
    if (!self)
        return;
    /* The only owner needs no locked instruction: nobody else can raise or lower the count. */
    if (atomic_load_explicit(&self->count, memory_order_acquire) == 1 ||
        atomic_fetch_sub_explicit(&self->count, 1, memory_order_acq_rel) == 1)
        self->klass->destroy(self);
}

/* Scopes --------------------------------------------------------------------------------------------------------- */

static bool grow(void **array, uint32_t *room, size_t size, const char *what) {
    uint32_t more = *room ? *room * 2 : 64;
    if (*room >= UINT32_MAX / 2)
        return rl_fail(RL_OUT_OF_MEMORY, "out of memory: more than %u %s", *room, what) == RL_OK;
    if (!rl_thread_register())
        return rl_fail(RL_OUT_OF_MEMORY, "out of memory: a thread-specific value for %s", what) == RL_OK;
    void *grown = rl_realloc(*array, more, size, what);
    if (!grown)
        return false;
    *array = grown;
    *room = more;
    return true;
}

static bool grow_objects(rl_thread *t) {
    void *array = t->objects;
    bool done = grow(&array, &t->object_room, sizeof *t->objects, "the objects of a thread's scopes");
    t->objects = array;
    return done;
}

static bool grow_scopes(rl_thread *t) {
    void *array = t->scopes;
    bool done = grow(&array, &t->scope_room, sizeof *t->scopes, "a thread's scopes");
    t->scopes = array;
    return done;
}

void *rl_object_own(void *self) {
    rl_thread *t = &rl_thread_;
    if (!self)
        return NULL;
    if (t->n_objects == t->object_room && !grow_objects(t)) {
        rl_release(self);
        return NULL;
    }
    assert(t->objects != NULL);
    t->objects[t->n_objects++] = self;
    return self;
}

/* Opens a scope; its mark is its number (from 1) and its serial, or 0 where memory failed. */
static uint64_t open_scope(rl_thread *t, uint32_t outer_barrier) {
    if (t->n_scopes == t->scope_room && !grow_scopes(t))
        return 0;
    assert(t->scopes != NULL);
    t->scopes[t->n_scopes++] = (rl_scope_entry){t->n_objects, ++t->serial, outer_barrier};
    return (uint64_t)t->serial << 32 | t->n_scopes;
}

/* The number of the scope with this mark; 0 where it has ended. */
static uint32_t find_scope(const rl_thread *t, uint64_t mark) {
    uint32_t number = (uint32_t)mark;
    return number > 0 && number <= t->n_scopes && t->scopes[number - 1].serial == mark >> 32 ? number : 0;
}

/* Ends scopes until `number` are left. What is released may run code of the user, which opens and ends scopes or shuts
 * the library down: so nothing is remembered across a release. */
static void end_scopes(rl_thread *t, uint32_t number) {
    while (t->n_scopes > number) {
        assert(t->scopes != NULL);
        if (t->n_objects > t->scopes[t->n_scopes - 1].start)
            rl_release(t->objects[--t->n_objects]);
        else
            t->n_scopes--;
    }
}

rl_scope rl_scope_begin(void) {
    return (rl_scope){open_scope(&rl_thread_, RL_NO_BARRIER)};
}

void rl_scope_end(rl_scope scope) {
    rl_thread *t = &rl_thread_;
    uint32_t number = find_scope(t, scope.depth);
    if (number > t->barrier)
        end_scopes(t, number - 1);
}

void *rl_keep(void *object) {
    rl_thread *t = &rl_thread_;
    if (!object || t->n_scopes == 0)
        return object;
    rl_scope_entry *inner = &t->scopes[t->n_scopes - 1];
    for (uint32_t i = t->n_objects; i-- > inner->start;) {
        if (t->objects[i] == object) {
            t->objects[i] = t->objects[inner->start];
            t->objects[inner->start++] = object;
            break;
        }
    }
    return object;
}

rl_barrier rl_barrier_enter(void) {
    rl_thread *t = &rl_thread_;
    uint64_t mark = open_scope(t, t->barrier);
    if (mark)
        t->barrier = t->n_scopes;
    return (rl_barrier){mark};
}

void *rl_barrier_leave(rl_barrier barrier, void *result) {
    rl_thread *t = &rl_thread_;
    uint32_t number = find_scope(t, barrier.depth);
    if (number == 0)
        return result;
    rl_retain(result); /* whoever owns it inside, if anybody: it outlives the inside */
    t->barrier = t->scopes[number - 1].outer_barrier;
    end_scopes(t, number - 1);
    return rl_object_own(result);
}

/* The end of a thread and of the library ------------------------------------------------------------------------- */

static void end_thread_objects(rl_thread *t) {
    t->barrier = 0;
    do {
        end_scopes(t, 0);
        assert(t->n_objects == 0 || t->objects != NULL);
        while (t->n_objects > 0 && t->n_scopes == 0)
            rl_release(t->objects[--t->n_objects]);
    } while (t->n_scopes > 0);
    rl_free(t->objects);
    rl_free(t->scopes);
    t->objects = NULL;
    t->scopes = NULL;
    t->object_room = t->scope_room = 0;
}

static pthread_key_t key;
static pthread_once_t key_once = PTHREAD_ONCE_INIT;
static bool key_made;

/* What other folders asked to have called. */
#define MOST_WORK 64
typedef struct work_list {
    pthread_mutex_t lock;
    void (*work[MOST_WORK])(void);
    int count;
} work_list;
static work_list at_shutdown = {.lock = PTHREAD_MUTEX_INITIALIZER}, at_thread_end = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void lists_take(void) {
    pthread_mutex_lock(&at_shutdown.lock);
    pthread_mutex_lock(&at_thread_end.lock);
}
static void lists_give(void) {
    pthread_mutex_unlock(&at_thread_end.lock);
    pthread_mutex_unlock(&at_shutdown.lock);
}
__attribute__((constructor)) static void mind_forks(void) {
    static const rl_fork_locks locks = {.take = lists_take, .give = lists_give};
    rl_at_fork(RL_FORK_WORK, &locks);
}

static void work_add(work_list *self, void (*work)(void), const char *function) {
    pthread_mutex_lock(&self->lock);
    bool known = false;
    for (int i = 0; i < self->count; i++)
        known = known || self->work[i] == work;
    bool full = !known && self->count == MOST_WORK;
    if (!known && !full)
        self->work[self->count++] = work;
    pthread_mutex_unlock(&self->lock);
    if (full)
        rl_fail(RL_INTERNAL, "%s: more than %d registrations", function, MOST_WORK);
}

/* The work registered as number `at`; NULL where there is none. */
static void (*work_at(work_list *self, int at))(void) {
    pthread_mutex_lock(&self->lock);
    void (*work)(void) = at < self->count ? self->work[at] : NULL;
    pthread_mutex_unlock(&self->lock);
    return work;
}

/* Takes the work registered last off the list; NULL where it is empty. */
static void (*work_pop(work_list *self))(void) {
    pthread_mutex_lock(&self->lock);
    void (*work)(void) = self->count > 0 ? self->work[--self->count] : NULL;
    pthread_mutex_unlock(&self->lock);
    return work;
}

static void end_thread_state(rl_thread *t) {
    void (*work)(void);
    end_thread_objects(t); /* first: releasing them may use what the others hold */
    for (int i = 0; (work = work_at(&at_thread_end, i)); i++)
        work();
}

static void end_thread(void *unused) {
    (void)unused;
    rl_thread *t = &rl_thread_;
    t->registered = false; /* what runs after this may register again; it is called again then */
    end_thread_state(t);
    rl_pool_drain_thread();
    rl_error_clear();
}

static void make_key(void) {
    key_made = pthread_key_create(&key, end_thread) == 0;
}

bool rl_thread_register(void) {
    rl_thread *t = &rl_thread_;
    if (!t->registered) {
        pthread_once(&key_once, make_key);
        t->registered = key_made && pthread_setspecific(key, t) == 0;
    }
    return t->registered;
}

void rl_at_shutdown(void (*work)(void)) {
    work_add(&at_shutdown, work, "rl_at_shutdown");
}

bool rl_at_thread_end(void (*work)(void)) {
    if (!rl_thread_register())
        return false;
    work_add(&at_thread_end, work, "rl_at_thread_end");
    return true;
}

void rl_shutdown(void) {
    rl_thread *t = &rl_thread_;
    end_thread_state(t); /* first, so that devices close after the tensors on them */
    void (*work)(void);
    while ((work = work_pop(&at_shutdown)))
        work();
    end_thread_state(t); /* what the shutdown itself made */
    rl_pool_drain_thread();
    rl_log_reset();
}

const char *rl_version(void) {
    return RUSHLIGHT_VERSION;
}
