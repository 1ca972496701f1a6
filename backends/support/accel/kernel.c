/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of kernels: from spec to kernel, by source, compiler and cache. One lock guards the table, the queue of
 * what is to be built in passing, and the list of modules; nothing is compiled under it.
 */
#include "kernel.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "device_text.h"
#include "rl_interp.h"
#include "source.h"

#define BUCKETS 1024u
#define MOST_IN_MODULE 16
#define CALLS_BEFORE_BUILD 2
#define NAME_BYTES 64
#define SECONDS_UNTOLD 1.0

typedef enum entry_state { ENTRY_NEW, ENTRY_QUEUED, ENTRY_BUILDING, ENTRY_READY } entry_state;

typedef struct module module;
typedef struct entry {
    struct entry *next;  /* in its bucket */
    struct entry *later; /* in the queue */
    rl_accel_spec spec;
    entry_state state;
    unsigned calls;
    int launched;          /* the kernel was given to be launched */
    int failed;            /* building it in passing failed: the next caller builds it, and gets the error */
    char *text;            /* its source; NULL before it was asked for */
    uint64_t hash;         /* of that, the prelude and the device */
    char name[NAME_BYTES]; /* of the kernel */
    rl_accel_kernel *kernel;
    module *in;
} entry;

struct module { /* from one build, or one entry of the cache */
    module *next;
    rl_accel_module *made;
    uint64_t hash;
    entry *entries[MOST_IN_MODULE];
    int n_entries, stored;
};

struct rl_accel_table {
    pthread_mutex_t lock;
    pthread_cond_t changed; /* an entry left ENTRY_BUILDING, or there is work for the builder */
    entry *buckets[BUCKETS];
    entry *queue;
    module *modules;
    int n_unstored;
    int building, stopping, started;
    pthread_t builder;
    uint64_t prelude_hash;
    uint64_t n_built, n_cached, n_builds;
    double build_seconds;
    int told; /* that building takes its time */
};

/* Sources ------------------------------------------------------------------------------------------------------ */

static void define(rl_text_buffer *out, const char *name, long value) {
    rl_text_put(out, "#define %s %ld\n", name, value);
}

static void vectors(rl_text_buffer *out, uint32_t lanes) {
    define(out, "RL_LANES", (long)lanes);
    if (lanes > 1)
        define(out, "RL_SUFFIX", (long)lanes);
    else
        rl_text_put_all(out, "#define RL_SUFFIX\n");
    rl_text_put_all(out, rl_device_vector);
    rl_text_put_all(out, rl_device_math);
    rl_text_put_all(out, rl_device_insns);
    if (lanes > 1)
        rl_text_put_all(out, rl_device_vector_end);
    rl_text_put_all(out, lanes > 1 ? "#undef RL_LANES\n#undef RL_SUFFIX\n" : "");
}

/* What comes before every kernel; what it does not need costs compile time. Scalars last: their names of types stay. */
static void prelude(const rl_accel *self, int random, int f64, rl_text_buffer *out) {
    rl_text_put(out, "%s\n", self->driver->dialect);
    define(out, "RL_DEVICE", 1);
    define(out, "RL_HAS_F64", f64);
    define(out, "RL_HAS_F16", self->traits.f16 != 0);
    define(out, "RL_WIDTH", (long)self->traits.width);
    define(out, "RL_GROUP", (long)self->traits.group);
    rl_text_put_all(out, rl_device_dialect);
    rl_text_put_all(out, rl_device_params);
    if (self->traits.width > 1)
        vectors(out, self->traits.width);
    vectors(out, 1);
    rl_text_put_all(out, rl_device_dtype);
    if (random) { /* the table is an #include of the file */
        const char *table = strstr(rl_device_philox, "#include \"rl_normal_table.h\"");
        rl_text_put(out, "%.*s", (int)(table - rl_device_philox), rl_device_philox);
        rl_text_put_all(out, rl_device_normal_table);
        rl_text_put_all(out, table + strcspn(table, "\n"));
        rl_text_put_all(out, rl_device_random);
    }
}

static int ends_with(const char *word, size_t length, const char *end) {
    size_t n = strlen(end);
    return length >= n && memcmp(word + length - n, end, n) == 0;
}

/* #defines the words, or takes them back. */
static void define_words(rl_text_buffer *out, const rl_accel_spec *spec, int undo) {
    const char *word = spec->family->words ? spec->family->words : "";
    for (int i = 0; *word && i < RL_ACCEL_WORDS; i++) {
        size_t length = strcspn(word, " ");
        int n = (int)length, is_dtype = ends_with(word, length, "DTYPE");
        if (undo)
            rl_text_put(out, "#undef %.*s\n", n, word);
        else
            rl_text_put(out, "#define %.*s %ld\n", n, word, (long)spec->word[i]);
        for (const char *kind = is_dtype ? "TRVION" : ""; *kind; kind++)
            if (undo)
                rl_text_put(out, "#undef %c_%.*s\n", *kind, n, word);
            else
                rl_text_put(out, "#define %c_%.*s rl_%c_%s\n", *kind, n, word, *kind,
                            rl_source_dtype((uint32_t)spec->word[i]));
        word += length;
        word += strspn(word, " ");
    }
}

static int uses_f64(const rl_accel_spec *spec) {
    const char *word = spec->family->words ? spec->family->words : "";
    int uses = spec->family->f64;
    for (int i = 0; i < 2; i++)
        uses |= spec->program[i] && rl_source_has_f64(spec->program[i]);
    for (int i = 0; *word && i < RL_ACCEL_WORDS; i++) {
        size_t length = strcspn(word, " ");
        uses |= spec->word[i] == RL_F64 && ends_with(word, length, "DTYPE");
        word += length;
        word += strspn(word, " ");
    }
    return uses;
}

/* The source of one kernel, without its name. */
static rl_status write_entry(rl_accel *self, const char *row, entry *at) {
    rl_text_buffer out = {0};
    const rl_accel_family *family = at->spec.family;
    define_words(&out, &at->spec, 0);
    if (family->write)
        family->write(&out, self, &at->spec);
    if (family->text)
        rl_text_put_all(&out, family->text);
    define_words(&out, &at->spec, 1);
    if (out.failed) {
        rl_text_free(&out);
        return self->host->fail(RL_OUT_OF_MEMORY, "%s: no host memory for a kernel's source", row);
    }
    at->text = out.text;
    at->hash = rl_text_hash(self->table->prelude_hash, out.text, out.length);
    snprintf(at->name, sizeof at->name, "rl_%.24s_%016llx", family->name, (unsigned long long)at->hash);
    return RL_OK;
}

/* The cache ---------------------------------------------------------------------------------------------------- */

static void cache_key(char *out_key, size_t room, const char *kind, uint64_t hash) {
    snprintf(out_key, room, "accel %s %016llx", kind, (unsigned long long)hash);
}

static module *module_new(rl_accel *self, rl_accel_module *made, uint64_t hash) {
    module *fresh = calloc(1, sizeof *fresh);
    if (!fresh) {
        self->driver->release(made);
        return NULL;
    }
    fresh->made = made;
    fresh->hash = hash;
    return fresh;
}

static void module_link_locked(rl_accel *self, module *fresh) {
    fresh->next = self->table->modules;
    self->table->modules = fresh;
}

/* The module of a hash from the cache; NULL where it is not there or not taken. */
static module *module_from_cache(rl_accel *self, uint64_t hash) {
    char key[64];
    size_t bytes = 0;
    rl_accel_module *made = NULL;
    cache_key(key, sizeof key, "module", hash);
    if (self->host->cache_get(key, NULL, &bytes) || bytes == 0)
        return NULL;
    void *data = malloc(bytes);
    size_t got = bytes;
    if (data &&
        (self->host->cache_get(key, data, &got) || got != bytes || self->driver->build(self, NULL, data, bytes, &made)))
        made = NULL;
    free(data);
    return made ? module_new(self, made, hash) : NULL;
}

/* Looks for the entry's kernel in the cache; without the lock. */
static void find_in_cache(rl_accel *self, entry *at) {
    struct rl_accel_table *table = self->table;
    char key[64];
    uint64_t hash = 0;
    size_t bytes = sizeof hash;
    cache_key(key, sizeof key, "kernel", at->hash);
    if (self->host->cache_get(key, &hash, &bytes) || bytes != sizeof hash)
        return;
    pthread_mutex_lock(&table->lock);
    module *in = table->modules;
    while (in && in->hash != hash)
        in = in->next;
    pthread_mutex_unlock(&table->lock);
    module *fresh = in ? NULL : module_from_cache(self, hash);
    if (fresh)
        in = fresh;
    rl_accel_kernel *kernel = NULL;
    if (in && self->driver->kernel(in->made, at->name, &kernel))
        kernel = NULL;
    if (fresh)
        fresh->stored = 1;
    pthread_mutex_lock(&table->lock);
    if (fresh)
        module_link_locked(self, fresh); /* also where it lacks the kernel: released with the others */
    at->kernel = kernel;
    at->in = in;
    table->n_cached += kernel != NULL;
    pthread_mutex_unlock(&table->lock);
}

static void store_module(rl_accel *self, module *in) {
    char key[64];
    void *data = NULL;
    uint64_t bytes = 0;
    if (self->driver->binary(in->made, &data, &bytes) || !data)
        return;
    cache_key(key, sizeof key, "module", in->hash);
    if (self->host->cache_put(key, data, (size_t)bytes) == RL_OK)
        for (int i = 0; i < in->n_entries; i++) {
            cache_key(key, sizeof key, "kernel", in->entries[i]->hash);
            self->host->cache_put(key, &in->hash, sizeof in->hash);
        }
    free(data);
}

/* Some compilers finish a kernel when it is first launched, so a module is stored once all its kernels were. */
static void store(rl_accel *self, int all) {
    struct rl_accel_table *table = self->table;
    pthread_mutex_lock(&table->lock);
    for (module *in = table->n_unstored ? table->modules : NULL; in; in = in->next) {
        int ready = !in->stored;
        for (int i = 0; i < in->n_entries && !all; i++)
            ready &= in->entries[i]->launched;
        if (!ready)
            continue;
        in->stored = 1;
        __atomic_fetch_sub(&table->n_unstored, 1, __ATOMIC_RELAXED);
        pthread_mutex_unlock(&table->lock); /* modules are only ever added, in front */
        store_module(self, in);
        pthread_mutex_lock(&table->lock);
    }
    pthread_mutex_unlock(&table->lock);
}

void rl_accel_store(rl_accel *self) {
    if (__atomic_load_n(&self->table->n_unstored, __ATOMIC_RELAXED))
        store(self, 0);
}

/* Building ----------------------------------------------------------------------------------------------------- */

static rl_status build_source(rl_accel *self, const char *row, entry *const *entries, int n, rl_text_buffer *out) {
    int random = 0, f64 = 0;
    for (int i = 0; i < n; i++) {
        random |= entries[i]->spec.family->random;
        f64 |= uses_f64(&entries[i]->spec);
    }
    prelude(self, random, f64 && self->traits.f64, out);
    for (int i = 0; i < n; i++) {
        rl_text_put(out, "#define RL_ENTRY %s\n", entries[i]->name);
        rl_text_put_all(out, entries[i]->text);
        rl_text_put_all(out, "#undef RL_ENTRY\n");
    }
    return out->failed ? self->host->fail(RL_OUT_OF_MEMORY, "%s: no host memory for a kernel's source", row) : RL_OK;
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* Of the device, in its identity. */
static int name_length(const rl_accel *self) {
    return (int)strcspn(self->identity, ",");
}

/* Once, where builds have taken seconds: a first start is not what later ones are. */
static void tell_locked(rl_accel *self) {
    struct rl_accel_table *table = self->table;
    if (table->told || table->build_seconds < SECONDS_UNTOLD)
        return;
    table->told = 1;
    self->host->log(RL_LOG_WARNING, "%.*s: compiling kernels, which takes a while this once: they are kept (%s)",
                    name_length(self), self->identity, "rushlight env: RUSHLIGHT_CACHE");
}

/* Builds entries in ENTRY_BUILDING together; without the lock. They are ENTRY_READY then, or ENTRY_NEW. */
static rl_status build(rl_accel *self, const char *row, entry **entries, int n) {
    struct rl_accel_table *table = self->table;
    rl_text_buffer source = {0};
    rl_accel_module *made = NULL;
    module *fresh = NULL;
    rl_accel_kernel *kernels[MOST_IN_MODULE] = {0};
    double began = now();
    rl_status status = build_source(self, row, entries, n, &source);
    if (!status)
        status = self->driver->build(self, source.text, NULL, 0, &made);
    if (!status && !(fresh = module_new(self, made, rl_text_hash(table->prelude_hash, source.text, source.length))))
        status = self->host->fail(RL_OUT_OF_MEMORY, "%s: no host memory for a kernel", row);
    for (int i = 0; i < n && !status; i++)
        status = self->driver->kernel(made, entries[i]->name, &kernels[i]);
    rl_text_free(&source);
    for (int i = 0; i < n; i++)
        self->host->log(RL_LOG_DEBUG, "%.*s: %s built for %s, %d together in %.2f s", name_length(self), self->identity,
                        entries[i]->name, row, n, now() - began);
    pthread_mutex_lock(&table->lock);
    for (int i = 0; i < n; i++) {
        entries[i]->state = status ? ENTRY_NEW : ENTRY_READY;
        entries[i]->failed = status != RL_OK;
        entries[i]->kernel = kernels[i];
        entries[i]->in = fresh;
        if (fresh)
            fresh->entries[fresh->n_entries++] = entries[i];
    }
    if (fresh) {
        fresh->stored = status != RL_OK;
        __atomic_fetch_add(&table->n_unstored, status == RL_OK, __ATOMIC_RELAXED);
        module_link_locked(self, fresh);
    }
    table->n_built += status ? 0 : (uint64_t)n;
    table->n_builds++;
    table->build_seconds += now() - began;
    tell_locked(self);
    pthread_cond_broadcast(&table->changed);
    pthread_mutex_unlock(&table->lock);
    return status;
}

/* Takes up to `most` entries off the queue, as ENTRY_BUILDING. */
static int take_queue_locked(struct rl_accel_table *table, entry **out_entries, int most) {
    int n = 0;
    while (table->queue && n < most) {
        entry *at = table->queue;
        table->queue = at->later;
        at->state = ENTRY_BUILDING;
        out_entries[n++] = at;
    }
    return n;
}

static void *builder(void *argument) {
    rl_accel *self = argument;
    struct rl_accel_table *table = self->table;
    entry *entries[MOST_IN_MODULE];
    pthread_mutex_lock(&table->lock);
    while (!table->stopping) {
        int n = take_queue_locked(table, entries, MOST_IN_MODULE);
        if (n == 0) {
            pthread_cond_wait(&table->changed, &table->lock);
            continue;
        }
        pthread_mutex_unlock(&table->lock);
        (void)build(self, entries[0]->spec.family->name, entries, n);
        pthread_mutex_lock(&table->lock);
    }
    pthread_mutex_unlock(&table->lock);
    return NULL;
}

/* Finding ------------------------------------------------------------------------------------------------------ */

static uint64_t spec_hash(const rl_accel_spec *spec) {
    uint64_t hash = (uint64_t)(uintptr_t)spec->family;
    const uint64_t *words = (const uint64_t *)(const void *)spec->word;
    hash = hash * 0x9e3779b97f4a7c15u + (uint64_t)(uintptr_t)spec->program[0];
    hash = hash * 0x9e3779b97f4a7c15u + (uint64_t)(uintptr_t)spec->program[1];
    for (int i = 0; i < RL_ACCEL_WORDS / 2; i++)
        hash = (hash ^ words[i]) * 0x9e3779b97f4a7c15u;
    return hash ^ hash >> 32;
}

static entry *find_locked(struct rl_accel_table *table, const rl_accel_spec *spec) {
    entry **bucket = &table->buckets[spec_hash(spec) % BUCKETS];
    for (entry *at = *bucket; at; at = at->next)
        if (memcmp(&at->spec, spec, sizeof *spec) == 0)
            return at;
    entry *fresh = calloc(1, sizeof *fresh);
    if (!fresh)
        return NULL;
    fresh->spec = *spec;
    fresh->next = *bucket;
    *bucket = fresh;
    return fresh;
}

/* Writes the source and looks into the cache, for an entry in ENTRY_BUILDING; without the lock. */
static rl_status prepare(rl_accel *self, const char *row, entry *at) {
    rl_status status = at->text ? RL_OK : write_entry(self, row, at);
    if (!status && !at->kernel)
        find_in_cache(self, at);
    return status;
}

static void unqueue_locked(struct rl_accel_table *table, entry *at) {
    entry **place = &table->queue;
    while (*place && *place != at)
        place = &(*place)->later;
    if (*place)
        *place = at->later;
}

static void settle(rl_accel *self, entry *at, entry_state state) {
    pthread_mutex_lock(&self->table->lock);
    at->state = state;
    pthread_cond_broadcast(&self->table->changed);
    pthread_mutex_unlock(&self->table->lock);
}

static rl_status no_entry(rl_accel *self, const char *row) {
    pthread_mutex_unlock(&self->table->lock);
    return self->host->fail(RL_OUT_OF_MEMORY, "%s: no host memory for a kernel", row);
}

rl_status rl_accel_find(rl_accel *self, const char *row, const rl_accel_spec *spec, rl_accel_kernel **out_kernel) {
    struct rl_accel_table *table = self->table;
    entry *entries[MOST_IN_MODULE];
    rl_status status = RL_OK;
    pthread_mutex_lock(&table->lock);
    entry *at = find_locked(table, spec);
    if (!at)
        return no_entry(self, row);
    while (at->state == ENTRY_BUILDING)
        pthread_cond_wait(&table->changed, &table->lock);
    at->calls++;
    at->launched = 1;
    if (at->state == ENTRY_READY) {
        *out_kernel = at->kernel;
        pthread_mutex_unlock(&table->lock);
        return RL_OK;
    }
    if (at->state == ENTRY_QUEUED)
        unqueue_locked(table, at);
    at->state = ENTRY_BUILDING;
    pthread_mutex_unlock(&table->lock);
    status = prepare(self, row, at);
    if (status || at->kernel) {
        settle(self, at, status ? ENTRY_NEW : ENTRY_READY);
    } else { /* what waits for the builder goes along */
        pthread_mutex_lock(&table->lock);
        entries[0] = at;
        int n = 1 + (at->failed ? 0 : take_queue_locked(table, entries + 1, MOST_IN_MODULE - 1));
        pthread_mutex_unlock(&table->lock);
        status = build(self, row, entries, n);
        if (status && n > 1) /* is it this one that fails? */
            return rl_accel_find(self, row, spec, out_kernel);
    }
    *out_kernel = at->kernel;
    return status;
}

static void enqueue_locked(rl_accel *self, entry *at) {
    struct rl_accel_table *table = self->table;
    at->state = ENTRY_QUEUED;
    at->later = table->queue;
    table->queue = at;
    if (!table->started)
        table->started = pthread_create(&table->builder, NULL, builder, self) == 0;
    pthread_cond_broadcast(&table->changed);
}

rl_status rl_accel_find_ready(rl_accel *self, const char *row, const rl_accel_spec *spec,
                              rl_accel_kernel **out_kernel) {
    struct rl_accel_table *table = self->table;
    *out_kernel = NULL;
    if (self->traits.interpret == RL_ACCEL_INTERPRET_NEVER)
        return rl_accel_find(self, row, spec, out_kernel);
    if (self->traits.interpret == RL_ACCEL_INTERPRET_ALWAYS)
        return RL_OK;
    pthread_mutex_lock(&table->lock);
    entry *at = find_locked(table, spec);
    if (!at)
        return no_entry(self, row);
    unsigned calls = ++at->calls;
    entry_state state = at->state;
    int failed = at->failed;
    if (state == ENTRY_READY) {
        *out_kernel = at->kernel;
        at->launched = 1;
    }
    if (state == ENTRY_NEW && !failed) {
        at->state = ENTRY_BUILDING;
        pthread_mutex_unlock(&table->lock);
        rl_status status = prepare(self, row, at);
        *out_kernel = at->kernel;
        pthread_mutex_lock(&table->lock);
        if (status || at->kernel || calls <= CALLS_BEFORE_BUILD)
            at->state = at->kernel ? ENTRY_READY : ENTRY_NEW;
        else
            enqueue_locked(self, at);
        pthread_cond_broadcast(&table->changed);
        failed = status != RL_OK;
    }
    pthread_mutex_unlock(&table->lock);
    return failed ? rl_accel_find(self, row, spec, out_kernel) : RL_OK;
}

rl_status rl_accel_run(rl_backend_stream *stream, const char *row, const rl_accel_spec *spec, const rl_accel_arg *args,
                       unsigned n_args, uint64_t groups) {
    rl_accel *self = rl_accel_of(stream);
    rl_accel_kernel *kernel = NULL;
    rl_status status = rl_accel_find(self, row, spec, &kernel);
    if (status)
        return status;
    return self->driver->launch(stream, kernel, row, args, n_args, groups, self->traits.group);
}

rl_status rl_accel_send(rl_backend_stream *stream, const char *row, rl_accel_kernel *kernel, rl_accel_arg *args,
                        unsigned n_args, const int64_t *params, uint64_t bytes, int by_memory, uint64_t groups) {
    const rl_accel *self = rl_accel_of(stream);
    rl_backend_buffer *buffer = NULL;
    uint64_t at = 0;
    if (by_memory) {
        rl_status status = self->driver->upload(stream, params, bytes, &buffer, &at);
        if (status)
            return status;
        args[n_args++] = (rl_accel_arg){.buffer = buffer};
        args[n_args++] = RL_ACCEL_VALUE(at);
    } else {
        args[n_args++] = (rl_accel_arg){.value = params, .bytes = bytes};
    }
    return self->driver->launch(stream, kernel, row, args, n_args, groups, self->traits.group);
}

/* Arguments ---------------------------------------------------------------------------------------------------- */

rl_accel_arg rl_accel_buffer_of(rl_backend_stream *stream, const rl_operand *operand) {
    rl_backend_buffer *buffer = operand->buffer;
    return (rl_accel_arg){.buffer = buffer ? buffer : rl_accel_of(stream)->driver->flags(stream, NULL)};
}

unsigned rl_accel_dtype_bytes(uint32_t dtype) {
    size_t bytes = rl_interp_dtype_bytes(dtype);
    return bytes ? (unsigned)bytes : 1;
}

int64_t rl_accel_bits(uint32_t dtype, double value) {
    int64_t bits = (int64_t)value;
    float narrow = (float)value;
    if (dtype == RL_F64) {
        memcpy(&bits, &value, sizeof bits);
    } else if (rl_interp_dtype_reg(dtype) == RL_REG_F32) {
        bits = 0;
        memcpy(&bits, &narrow, sizeof narrow);
    }
    return bits;
}

int64_t rl_accel_offset(const rl_operand *operand, uint32_t dtype) {
    return (int64_t)(operand->offset / rl_accel_dtype_bytes(dtype));
}

uint64_t rl_accel_groups(const rl_accel *self, uint64_t items, uint64_t cost) {
    /* A group costs about as much to begin as a few thousand steps; several a unit even out what is unequal. */
    uint64_t most = (uint64_t)self->traits.units * (self->traits.group > 1 ? 32 : 4), least = 8192;
    uint64_t groups = self->traits.group > 1 ? (items + self->traits.group - 1) / self->traits.group
                                             : (items * (cost ? cost : 1) + least - 1) / least;
    if (groups > items)
        groups = items;
    return groups < 1 ? 1 : groups > most ? most : groups;
}

uint64_t rl_accel_groups_with(const rl_accel *self, uint64_t items, uint64_t cost, uint64_t bytes) {
    uint64_t groups = rl_accel_groups(self, items, cost), most = bytes ? RL_ACCEL_MOST_MEMORY / bytes : groups;
    return groups <= most ? groups : most ? most : 1;
}

/* Life --------------------------------------------------------------------------------------------------------- */

rl_status rl_accel_init(rl_accel *self) {
    struct rl_accel_table *table = calloc(1, sizeof *table);
    rl_text_buffer text = {0};
    prelude(self, 1, self->traits.f64 != 0, &text);
    if (!table || text.failed || pthread_mutex_init(&table->lock, NULL)) {
        free(table);
        rl_text_free(&text);
        return self->host->fail(RL_OUT_OF_MEMORY, "no host memory for the table of kernels");
    }
    pthread_cond_init(&table->changed, NULL);
    table->prelude_hash = rl_text_hash(RL_TEXT_HASH, text.text, text.length);
    table->prelude_hash = rl_text_hash(table->prelude_hash, self->identity, strlen(self->identity));
    rl_text_free(&text);
    self->table = table;
    return RL_OK;
}

static void free_entries(struct rl_accel_table *table) {
    for (unsigned b = 0; b < BUCKETS; b++)
        for (entry *at = table->buckets[b], *next; at; at = next) {
            next = at->next;
            free(at->text);
            free(at);
        }
}

void rl_accel_deinit(rl_accel *self) {
    struct rl_accel_table *table = self->table;
    if (!table)
        return;
    pthread_mutex_lock(&table->lock);
    table->stopping = 1;
    pthread_cond_broadcast(&table->changed);
    pthread_mutex_unlock(&table->lock);
    if (table->started)
        pthread_join(table->builder, NULL);
    store(self, 1);
    self->host->log(RL_LOG_INFO, "%.*s: %llu kernels built in %llu builds of %.1f s, %llu read from the cache",
                    name_length(self), self->identity, (unsigned long long)table->n_built,
                    (unsigned long long)table->n_builds, table->build_seconds, (unsigned long long)table->n_cached);
    for (module *in = table->modules, *next; in; in = next) {
        next = in->next;
        self->driver->release(in->made);
        free(in);
    }
    free_entries(table);
    pthread_cond_destroy(&table->changed);
    pthread_mutex_destroy(&table->lock);
    free(table);
    self->table = NULL;
}
