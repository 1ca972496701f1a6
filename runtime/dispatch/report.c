/* SPDX-License-Identifier: Apache-2.0 */
/* The load report: what became of each candidate. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sized.h"
#include "dispatch/registry.h"

typedef struct record {
    char *name, *path, *sentence;
    const char *hint;
    rl_load_stage stage;
    rl_status status;
    uint32_t device_count;
} record;

static struct {
    record *records;
    size_t count, room;
} report;

/* What people are shown: of a decent length, without control characters. NULL and an error where memory failed. */
static char *excerpt(const char *given, size_t limit) {
    rl_text text = {0};
    rl_text_add_excerpt(&text, given, limit);
    return rl_text_take(&text);
}

size_t rl_report_add(const char *name, const char *path) {
    if (report.count == report.room) {
        size_t room = report.room ? 2 * report.room : 8;
        record *grown = rl_realloc(report.records, room, sizeof *grown, "load report");
        if (grown == NULL)
            return SIZE_MAX;
        report.records = grown;
        report.room = room;
    }
    record made = {.name = excerpt(name, 63), .path = excerpt(path, PATH_MAX), .hint = ""};
    if (made.name == NULL || made.path == NULL) {
        free(made.name);
        free(made.path);
        return SIZE_MAX;
    }
    report.records[report.count] = made;
    return report.count++;
}

void rl_report_rename(size_t number, const char *name) {
    char *copy = excerpt(name, 63);
    if (copy) {
        free(report.records[number].name);
        report.records[number].name = copy;
    }
}

void rl_report_pass(size_t number, rl_load_stage stage) {
    record *r = &report.records[number];
    if (stage > r->stage)
        r->stage = stage;
}

void rl_report_fail(size_t number, rl_status status, const char *hint, const char *format, ...) {
    record *r = &report.records[number];
    char sentence[1024];
    if (r->status != RL_OK)
        return; /* the first reason stays, and whoever was given it may keep it */
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    r->status = status;
    r->hint = hint;
    r->sentence = excerpt(sentence, sizeof sentence);
    rl_log(RL_LOG_INFO, "load", "%s: %s", r->path, sentence);
}

void rl_report_devices(size_t number, uint32_t count) {
    report.records[number].device_count = count;
}

void rl_report_describe(rl_text *text) {
    for (size_t i = 0; i < report.count; i++) {
        const record *r = &report.records[i];
        rl_text_add(text, "\n  %s", r->name);
        if (strcmp(r->name, r->path) != 0)
            rl_text_add(text, *r->path == '(' ? " %s" : " (%s)", r->path);
        if (r->status == RL_OK)
            rl_text_add(text, ": %u device%s, %s", r->device_count, r->device_count == 1 ? "" : "s",
                        r->stage == RL_LOAD_USABLE ? "usable" : "not tried yet");
        else
            rl_text_add(text, ": %s%s%s", r->sentence ? r->sentence : rl_status_text(r->status), *r->hint ? "; " : "",
                        r->hint);
    }
}

void rl_report_clear(void) {
    for (size_t i = 0; i < report.count; i++) {
        free(report.records[i].name);
        free(report.records[i].path);
        free(report.records[i].sentence);
    }
    rl_free(report.records);
    memset(&report, 0, sizeof report);
}

size_t rl_load_report_count(void) {
    rl_device_list(NULL, 0); /* searches, where nobody has yet */
    rl_registry_lock();
    size_t count = report.count;
    rl_registry_unlock();
    return count;
}

bool rl_load_report_get(size_t number, rl_load_record *out_record) {
    rl_load_record full = {0};
    if (number >= rl_load_report_count())
        return false;
    rl_registry_lock();
    const record *r = &report.records[number];
    full.name = r->name;
    full.path = r->path;
    full.stage = r->stage;
    full.status = r->status;
    full.sentence = r->sentence ? r->sentence : r->status == RL_OK ? "" : rl_status_text(r->status);
    full.hint = r->hint;
    full.device_count = r->device_count;
    rl_registry_unlock();
    return rl_sized_fill("load_report_get", out_record, &full, sizeof full) == RL_OK;
}
