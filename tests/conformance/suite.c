/* SPDX-License-Identifier: Apache-2.0 */
/* The plugin under test, the host that it sees, the table and the score. */
#include <dlfcn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conformance.h"
#include "ref/ref.h"

enum { FAILURES_SHOWN = 40 };

/* The host
 * ----------------------------------------------------------------------------------------------------------------- */

static suite *current; /* whose sentence host->fail keeps; one suite runs at a time */

static rl_status host_fail(rl_status status, const char *format, ...) RL_PRINTF_(2, 3);
static rl_status host_fail(rl_status status, const char *format, ...) {
    char sentence[sizeof current->sentence];
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    if (current)
        memcpy(current->sentence, sentence, sizeof sentence);
    return status;
}

static void host_log(rl_log_level level, const char *format, ...) RL_PRINTF_(2, 3);
static void host_log(rl_log_level level, const char *format, ...) {
    (void)level;
    (void)format;
}

static uint32_t host_thread_count(void) {
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    return count > 0 ? (uint32_t)count : 1;
}

static _Thread_local struct {
    void *block;
    size_t bytes;
} scratch;

static void *host_scratch(size_t bytes) {
    size_t rounded = (bytes + 64) / 64 * 64;
    if (scratch.bytes < rounded) {
        free(scratch.block);
        scratch.block = aligned_alloc(64, rounded);
        scratch.bytes = scratch.block ? rounded : 0;
    }
    return scratch.block;
}

static rl_status host_cache_get(const char *key, void *data, size_t *bytes) {
    (void)key;
    (void)data;
    *bytes = 0;
    return RL_NOT_FOUND;
}

static rl_status host_cache_put(const char *key, const void *data, size_t bytes) {
    (void)key;
    (void)data;
    (void)bytes;
    return RL_OK;
}

static const char *host_op(void) {
    return "";
}

static const rl_host host = {.size = sizeof host,
                             .abi = RL_ABI_VERSION,
                             .fail = host_fail,
                             .log = host_log,
                             .thread_count = host_thread_count,
                             .scratch = host_scratch,
                             .cache_get = host_cache_get,
                             .cache_put = host_cache_put,
                             .op = host_op};

/* Checks
 * -------------------------------------------------------------------------------------------------------------------
 */

static const char *const section_names[] = {
#define NAME(NAME, text) text,
    SECTION_LIST(NAME)
#undef NAME
};

bool check(suite *self, bool passed, const char *format, ...) {
    tally *cell = &self->tallies[self->section][self->dtype];
    if (passed)
        cell->passed++;
    else
        cell->failed++;
    if ((!passed && self->shown < FAILURES_SHOWN) || self->verbose) {
        va_list args;
        fprintf(self->out, "%s %s: ", passed ? "ok  " : "FAIL", section_names[self->section]);
        va_start(args, format);
        vfprintf(self->out, format, args);
        va_end(args);
        fputc('\n', self->out);
    }
    if (!passed && ++self->shown == FAILURES_SHOWN && !self->verbose)
        fprintf(self->out, "(further failures are only counted; --verbose names all)\n");
    return passed;
}

void skip_section(suite *self, section which, const char *why) {
    self->skipped[which] = why;
}

const rl_dtype *suite_dtypes(const suite *self) {
    static const rl_dtype all[] = {RL_F32, RL_F16, RL_BF16, RL_I64, RL_I32,       RL_I16,
                                   RL_I8,  RL_U8,  RL_BOOL, RL_F64, RL_DTYPE_NONE};
    static const rl_dtype without_f64[] = {RL_F32, RL_F16, RL_BF16, RL_I64,  RL_I32,
                                           RL_I16, RL_I8,  RL_U8,   RL_BOOL, RL_DTYPE_NONE};
    return self->f64 ? all : without_f64;
}

/* The table: a row a section, a column a dtype. */
static void print_cell(FILE *out, const tally *t) {
    char text[24];
    if (t->failed)
        snprintf(text, sizeof text, "%d/%d", t->passed, t->passed + t->failed);
    else
        snprintf(text, sizeof text, t->passed ? "%d" : "-", t->passed);
    fprintf(out, " %11s", text);
}

static int print_report(const suite *self, const char *only) {
    int passed = 0, failed = 0;
    fprintf(self->out, "\n%-16s %11s", "checks passed", "any");
    for (int d = 1; d < RL_DTYPE_COUNT; d++)
        fprintf(self->out, " %11s", dtype_text((rl_dtype)d));
    fputc('\n', self->out);
    for (int s = 0; s < SECTION_COUNT; s++) {
        int all = 0;
        for (int d = 0; d < COLUMNS; d++) {
            passed += self->tallies[s][d].passed;
            failed += self->tallies[s][d].failed;
            all += self->tallies[s][d].passed + self->tallies[s][d].failed;
        }
        if (all == 0 && only)
            continue;
        fprintf(self->out, "%-16s", section_names[s]);
        if (all == 0)
            fprintf(self->out, " not run: %s", self->skipped[s] ? self->skipped[s] : "what it needs failed above");
        else
            for (int d = 0; d < COLUMNS; d++)
                print_cell(self->out, &self->tallies[s][d]);
        fputc('\n', self->out);
    }
    fprintf(self->out, "\n%s %s%s%s: %d of %d checks passed (%.2f %%)%s\n", self->name,
            failed ? "does not conform" : "conforms", only ? " in " : "", only ? only : "", passed, passed + failed,
            passed + failed ? 100.0 * passed / (passed + failed) : 0.0, only ? "; the rest was not run" : "");
    return failed;
}

/* Running
 * ------------------------------------------------------------------------------------------------------------------ */

static bool open_ref(suite *self) {
    self->ref = rl_ref_backend(&host);
    return self->ref && self->ref->init() == RL_OK && self->ref->device_open(0, &self->ref_device) == RL_OK &&
           self->ref->stream_create(self->ref_device, &self->ref_stream) == RL_OK;
}

static void close_ref(suite *self) {
    self->ref->stream_destroy(self->ref_stream);
    self->ref->device_close(self->ref_device);
    self->ref->shutdown();
}

static bool query(suite *self, void *library) {
    rl_backend_query_fn function;
    const rl_backend *other = NULL, *api = NULL;
    *(void **)&function = dlsym(library, RL_BACKEND_QUERY_SYMBOL);
    self->section = SECTION_LIFECYCLE;
    if (!check(self, function != NULL, "there is no symbol %s", RL_BACKEND_QUERY_SYMBOL) || function == NULL)
        return false;
    rl_status status = (rl_status)function(RL_ABI_VERSION + 1000, &host, &other);
    check(self, status == RL_ABI_MISMATCH || (status == RL_OK && other && other->abi == RL_ABI_VERSION),
          "a host of another ABI must be refused with ABI mismatch, or be given a table of this one; status %d",
          (int)status);
    status = (rl_status)function(RL_ABI_VERSION, &host, &api);
    if (!check(self, status == RL_OK, "%s gave status %d: %s", RL_BACKEND_QUERY_SYMBOL, (int)status,
               *self->sentence ? self->sentence : "and no reason") ||
        !check(self, api != NULL, "%s gave RL_OK and no table", RL_BACKEND_QUERY_SYMBOL) || api == NULL)
        return false;
    /* At this host's size: of a longer table the rest is ignored, of a shorter one the tail is zero. */
    memset(&self->table, 0, sizeof self->table);
    memcpy(&self->table, api, api->size < sizeof self->table ? api->size : sizeof self->table);
    self->api = &self->table;
    snprintf(self->name, sizeof self->name, "%.60s", api->name ? api->name : "?");
    return true;
}

/* What speaks to the table, by the names that --only takes. */
static const struct {
    const char *name;
    void (*run)(suite *self);
} parts[] = {{"memory", check_memory}, {"streams", check_streams},       {"errors", check_errors},
             {"map", check_map},       {"random", check_random},         {"reduce", check_reduce},
             {"matmul", check_matmul}, {"gather", check_gather_scatter}, {"scan", check_scan_sort},
             {"fused", check_fused}};

/* What goes through the runtime. */
static bool is_runtime_part(const char *name) {
    return strcmp(name, "ops") == 0 || strcmp(name, "gradcheck") == 0 || strcmp(name, "lockstep") == 0;
}

bool conformance_has_part(const char *name) {
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (strcmp(parts[i].name, name) == 0)
            return true;
    return is_runtime_part(name);
}

static void check_calls(suite *self, const char *only) {
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (!only || strcmp(parts[i].name, only) == 0)
            parts[i].run(self);
}

static void run_abi_sections(suite *self, const char *only) {
    check_lifecycle(self);
    if (self->stream)
        check_calls(self, only);
    close_suite(self);
}

int run_conformance(const char *path, const conformance_options *options, FILE *out) {
    suite *self = calloc(1, sizeof *self);
    int failed = -1;
    if (!self) {
        fprintf(out, "out of memory\n");
        return -1;
    }
    current = self;
    self->out = out;
    self->verbose = options->verbose;
    self->random = 1;
    snprintf(self->name, sizeof self->name, "%s", "?");
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        fprintf(out, "%s\n", dlerror());
    else if (!open_ref(self))
        fprintf(out, "the reference backend could not be opened: %s\n", self->sentence);
    else {
        for (int s = 0; s < SECTION_COUNT && options->only; s++)
            skip_section(self, (section)s, "another part was asked for");
        bool found = query(self, library);
        if (found)
            run_abi_sections(self, options->only);
        close_ref(self);
        for (int s = SECTION_OPS; s < SECTION_COUNT && options->abi_only; s++)
            skip_section(self, (section)s, "asked for the ABI alone");
        if (!options->abi_only && (!options->only || is_runtime_part(options->only)) && found && self->device_worked)
            check_runtime(self, path, self->name, options->only);
        failed = print_report(self, options->only);
    }
    if (library)
        dlclose(library);
    free_programs(self);
    free(scratch.block);
    scratch.block = NULL;
    scratch.bytes = 0;
    current = NULL;
    free(self);
    return failed;
}
