/* SPDX-License-Identifier: Apache-2.0 */
/* The backends that were loaded, their devices, and which of them is the default. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/env.h"
#include "base/fork.h"
#include "dispatch/registry.h"
#include "ref/ref.h"

static struct {
    pthread_mutex_t lock;
    bool searched;
    rl_registry_entry *backends; /* in the order in which they were met */
    rl_device **devices;         /* highest rank first */
    size_t n_devices;
    _Atomic(rl_device *) chosen; /* the default */
} registry = {.lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP};

void rl_registry_lock(void) {
    pthread_mutex_lock(&registry.lock);
}

void rl_registry_unlock(void) {
    pthread_mutex_unlock(&registry.lock);
}

enum { MOST_DEVICES = 1024 }; /* of one backend */

/* Admission ---------------------------------------------------------------------------------------------------------
 */

static const char *missing_function(const rl_backend *api) {
#define CHECK(name)                                                                                                    \
    if (api->name == NULL)                                                                                             \
        return #name;
    RL_REQUIRED_LIST(CHECK)
#undef CHECK
    if ((api->flags & RL_BACKEND_HOST_MEMORY) && api->mem_map == NULL)
        return "mem_map";
    return NULL;
}

static bool good_name(const char *name) {
    size_t length = name ? strlen(name) : 0;
    return length > 0 && length < 32 && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == length;
}

static rl_registry_entry *backend_named(const char *name, size_t length) {
    for (rl_registry_entry *b = registry.backends; b; b = b->next) {
        if (strlen(b->api.name) == length && memcmp(b->api.name, name, length) == 0)
            return b;
    }
    return NULL;
}

/* Checks the table, and copies it to the size of this host's: of a longer one the rest is ignored, of a shorter one the
 * tail is absent. False where it said in the record what is wrong. */
static bool check_table(const rl_backend *table, size_t record, rl_backend *out_api) {
    const char *missing;
    memset(out_api, 0, sizeof *out_api);
    if (table->size < offsetof(rl_backend, abi) + sizeof table->abi || table->abi != RL_ABI_VERSION) {
        rl_report_fail(record, RL_ABI_MISMATCH, "build it against this version of Rushlight",
                       "its table is of ABI %u, this host's is %u", table->size < 8 ? 0 : table->abi, RL_ABI_VERSION);
        return false;
    }
    memcpy(out_api, table, table->size < sizeof *out_api ? table->size : sizeof *out_api);
    out_api->size = sizeof *out_api;
    if (!good_name(out_api->name)) {
        rl_report_fail(record, RL_BAD_FORMAT, "", "its name must be lower case letters, digits and '_', is '%.40s'",
                       out_api->name ? out_api->name : "");
        return false;
    }
    if ((missing = missing_function(out_api)) != NULL) {
        rl_report_fail(record, RL_BAD_FORMAT, "", "its table (%u bytes) lacks %s", table->size, missing);
        return false;
    }
    for (uint32_t i = 0; i < out_api->n_fused; i++) {
        if (out_api->fused == NULL || out_api->fused[i].supports == NULL || out_api->fused[i].run == NULL) {
            rl_report_fail(record, RL_BAD_FORMAT, "", "its table lacks supports or run of fused row %u of %u", i,
                           out_api->n_fused);
            return false;
        }
    }
    rl_report_rename(record, out_api->name);
    if (backend_named(out_api->name, strlen(out_api->name))) {
        rl_report_fail(record, RL_INVALID_ARGUMENT, "take one of them away",
                       "a backend of the name '%s' was already loaded", out_api->name);
        return false;
    }
    return true;
}

static rl_status make_devices(rl_registry_entry *self) {
    size_t total = registry.n_devices + self->n_devices;
    rl_device **all = rl_realloc(registry.devices, total + 1, sizeof *all, "devices");
    self->devices = rl_alloc_zero(self->n_devices + 1, sizeof *self->devices, "devices");
    if (all)
        registry.devices = all;
    if (all == NULL || self->devices == NULL)
        return rl_error_status();
    for (uint32_t i = 0; i < self->n_devices; i++) {
        self->devices[i] = rl_device_make(self, i);
        if (self->devices[i] == NULL)
            return rl_error_status();
    }
    /* Behind all of the same or a higher rank: those met earlier come first. */
    size_t at = 0;
    while (at < registry.n_devices && all[at]->api.rank >= self->api.rank)
        at++;
    memmove(all + at + self->n_devices, all + at, (registry.n_devices - at) * sizeof *all);
    memcpy(all + at, self->devices, self->n_devices * sizeof *all);
    registry.n_devices = total;
    for (size_t i = 0; i < total; i++)
        all[i]->index = (int)i;
    return RL_OK;
}

static void entry_free(rl_registry_entry *self) {
    for (uint32_t i = 0; self->devices && i < self->n_devices; i++) {
        if (self->devices[i])
            rl_device_free(self->devices[i]);
    }
    rl_free(self->devices);
    rl_free(self);
}

bool rl_registry_admit(const rl_backend *table, void *library, size_t record) {
    rl_registry_entry *self = rl_alloc_zero(1, sizeof *self, "a backend");
    if (self == NULL) {
        rl_report_fail(record, RL_OUT_OF_MEMORY, "", "out of memory");
        return false;
    }
    self->library = library;
    self->record = record;
    if (!check_table(table, record, &self->api)) {
        rl_free(self);
        return false;
    }
    rl_report_pass(record, RL_LOAD_ABI);
    rl_host_sentence();
    rl_status status = self->api.init();
    const char *sentence = rl_host_sentence();
    if (status != RL_OK) {
        rl_report_fail(record, status, "", "%s", *sentence ? sentence : rl_status_text(status));
        rl_free(self);
        return false;
    }
    rl_report_pass(record, RL_LOAD_INIT);
    self->n_devices = self->api.device_count();
    if (self->n_devices > MOST_DEVICES) {
        rl_report_fail(record, RL_BAD_FORMAT, "", "it says that it has %u devices; at most %d are believed",
                       self->n_devices, MOST_DEVICES);
        self->api.shutdown();
        rl_free(self);
        return false;
    }
    rl_report_devices(record, self->n_devices);
    if (self->n_devices == 0)
        rl_report_fail(record, RL_NOT_FOUND, "", "it found no device");
    else
        rl_report_pass(record, RL_LOAD_DEVICES);
    if (make_devices(self) != RL_OK) {
        rl_report_fail(record, RL_OUT_OF_MEMORY, "", "out of memory");
        self->api.shutdown();
        entry_free(self);
        return false;
    }
    rl_log(RL_LOG_INFO, "load", "backend %s: %u device%s", self->api.name, self->n_devices,
           self->n_devices == 1 ? "" : "s");
    rl_registry_entry **last = &registry.backends;
    while (*last)
        last = &(*last)->next;
    *last = self;
    return true;
}

/* Life of the registry ----------------------------------------------------------------------------------------------
 */

/* Of a fork: this folder's locks, from the outermost in. */
static void take_locks(void) {
    rl_registry_lock();
    rl_shelves_take();
    rl_allocators_take();
    for (size_t i = 0; i < registry.n_devices; i++)
        rl_device_streams_take(registry.devices[i]);
}

static void give_inner_locks(void) {
    for (size_t i = registry.n_devices; i-- > 0;)
        rl_device_streams_give(registry.devices[i]);
    rl_allocators_give();
    rl_shelves_give();
}

static void give_locks(void) {
    give_inner_locks();
    rl_registry_unlock();
}

static void nothing(void) {}

/* A backend that does not go on here is not called again, not even to end it: it might wait for threads that are not
 * here, or for a driver. */
static void in_child_of_fork(void) {
    give_inner_locks();
    rl_host_forked();
    for (rl_registry_entry *b = registry.backends; b; b = b->next) {
        if (b->api.after_fork && b->api.after_fork() == RL_OK)
            continue;
        for (uint32_t i = 0; i < b->n_devices; i++)
            rl_device_abandon(b->devices[i]);
        b->api.shutdown = nothing;
        b->library = NULL;
    }
    /* Held by the thread that forked, under a number that is not this thread's: it cannot be unlocked here. */
    registry.lock = (pthread_mutex_t)PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
}

__attribute__((constructor)) static void mind_forks(void) {
    static const rl_fork_locks locks = {.take = take_locks, .give = give_locks, .child = in_child_of_fork};
    rl_at_fork(RL_FORK_REGISTRY, &locks);
}

static void shut_down(void) {
    rl_registry_lock();
    while (registry.backends) {
        rl_registry_entry *backend = registry.backends;
        registry.backends = backend->next;
        for (uint32_t i = 0; i < backend->n_devices; i++) {
            rl_device_free(backend->devices[i]);
            backend->devices[i] = NULL;
        }
        backend->api.shutdown();
        if (backend->library)
            dlclose(backend->library);
        entry_free(backend);
    }
    rl_free(registry.devices);
    registry.devices = NULL;
    registry.n_devices = 0;
    registry.searched = false;
    atomic_store(&registry.chosen, NULL);
    rl_report_clear();
    rl_programs_shutdown(); /* after the backends, which may use programs until then */
    rl_registry_unlock();
}

/* Searches once. Under the lock. */
static void search(void) {
    if (registry.searched)
        return;
    registry.searched = true;
    rl_at_shutdown(shut_down);
    rl_error_state saved;
    rl_error_push(&saved);
    size_t record = rl_report_add("ref", "(built in)");
    if (record != SIZE_MAX)
        rl_registry_admit(rl_ref_backend(&rl_host_table), NULL, record);
    rl_error_pop(&saved, NULL);
    rl_loader_search();
}

/* Public ------------------------------------------------------------------------------------------------------------
 */

size_t rl_device_list(rl_device **out_devices, size_t room) {
    rl_registry_lock();
    search();
    size_t count = registry.n_devices;
    for (size_t i = 0; out_devices && i < count && i < room; i++)
        out_devices[i] = registry.devices[i];
    rl_registry_unlock();
    return count;
}

rl_status rl_backend_load(const char *path) {
    if (rl_failed())
        return rl_error_status();
    if (path == NULL || *path == '\0')
        return rl_fail(RL_INVALID_ARGUMENT, "backend_load: path is %s", path ? "empty" : "NULL");
    rl_registry_lock();
    search();
    rl_load_record record = {.struct_size = sizeof record};
    rl_load_report_get(rl_loader_try(path), &record);
    rl_registry_unlock();
    if (record.status == RL_OK || rl_failed())
        return rl_error_status();
    return rl_fail(record.status, "backend_load: %s: %s%s%s", record.path, record.sentence, *record.hint ? "; " : "",
                   record.hint);
}

/* "device 'NAME': REASON. The candidates are: ..." */
static rl_device *not_available(const char *name, rl_status status, const char *format, ...) RL_PRINTF_(3, 4);
static rl_device *not_available(const char *name, rl_status status, const char *format, ...) {
    rl_text text = {0};
    char reason[256];
    va_list args;
    va_start(args, format);
    vsnprintf(reason, sizeof reason, format, args);
    va_end(args);
    rl_text_add(&text, "device '");
    rl_text_add_excerpt(&text, name, 60);
    rl_text_add(&text, "' is not available: %s. The candidates are:", reason);
    rl_report_describe(&text);
    rl_fail(text.failed ? RL_OUT_OF_MEMORY : status, "%s", text.failed ? "out of memory" : text.data);
    rl_text_free(&text);
    return NULL;
}

/* The number after the colon; false where there is none that could be one. */
static bool parse_number(const char *text, uint32_t *out) {
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    *out = (uint32_t)value;
    return *text >= '0' && *text <= '9' && *end == '\0' && value < 1000000;
}

static rl_device *find(const char *name) {
    const char *colon = strchrnul(name, ':');
    uint32_t number = 0;
    rl_registry_entry *backend = backend_named(name, (size_t)(colon - name));
    if (*colon && !parse_number(colon + 1, &number))
        return not_available(name, RL_INVALID_ARGUMENT, "after ':' must stand the number of a device");
    if (backend == NULL)
        return not_available(name, RL_NOT_FOUND, "no backend of this name is loaded");
    if (backend->n_devices == 0)
        return not_available(name, RL_NOT_FOUND, "its backend found no device");
    if (number >= backend->n_devices)
        return not_available(name, RL_INDEX_OUT_OF_RANGE, "%s has %u device%s, numbered from 0", backend->api.name,
                             backend->n_devices, backend->n_devices == 1 ? "" : "s");
    return backend->devices[number];
}

rl_device *rl_device_get(const char *name) {
    if (rl_failed())
        return NULL;
    if (name == NULL)
        return rl_fail_null(RL_INVALID_ARGUMENT, "device_get: name is NULL");
    rl_registry_lock();
    search();
    rl_device *found = find(name);
    if (found) {
        rl_error_state saved;
        char *text = NULL;
        rl_error_push(&saved);
        rl_device_ready(found);
        rl_status status = rl_error_pop(&saved, &text);
        if (status != RL_OK)
            found = not_available(name, status, "%s", text ? text : rl_status_text(status));
        free(text);
    }
    rl_registry_unlock();
    return found;
}

/* The usable device of the highest rank; says on stderr which, once. */
static rl_device *best(void) {
    for (size_t i = 0; i < registry.n_devices; i++) {
        rl_device *device = registry.devices[i];
        if (device->api.rank < 0 || !rl_device_usable(device)) /* below 0: only when named */
            continue;
        if (!rl_env_flag(RL_ENV_QUIET))
            fprintf(stderr, "rushlight: using %s (%s); RUSHLIGHT_DEVICE picks another\n", device->name,
                    device->info.name);
        return device;
    }
    return not_available("default", RL_NOT_FOUND, "no device is usable");
}

rl_device *rl_device_default(void) {
    rl_device *chosen = atomic_load_explicit(&registry.chosen, memory_order_acquire);
    if (chosen || rl_failed())
        return rl_failed() ? NULL : chosen;
    rl_registry_lock();
    search();
    chosen = atomic_load(&registry.chosen);
    if (chosen == NULL) {
        const char *name = rl_env_get(RL_ENV_DEVICE);
        chosen = name ? rl_device_get(name) : best();
        atomic_store_explicit(&registry.chosen, chosen, memory_order_release);
    }
    rl_registry_unlock();
    return chosen;
}

rl_status rl_device_set_default(rl_device *device) {
    if (rl_failed())
        return rl_error_status();
    if (device == NULL)
        return rl_fail(RL_INVALID_ARGUMENT, "device_set_default: device is NULL");
    rl_status status = rl_device_ready(device);
    if (status == RL_OK)
        atomic_store_explicit(&registry.chosen, device, memory_order_release);
    return status;
}
