/* SPDX-License-Identifier: Apache-2.0 */
/* devices, ops, env: what there is. */
#include <string.h>

#include "command.h"

/* devices
 * ----------------------------------------------------------------------------------------------------------------- */

static const char *stage_text(rl_load_stage stage) {
#define TEXT(NAME, text) text,
    static const char *const texts[] = {RL_LOAD_STAGE_LIST(TEXT)};
#undef TEXT
    return (unsigned)stage < RL_LOAD_STAGE_COUNT ? texts[stage] : "?";
}

#define DEVICES_MOST 256

/* The sentence why a device cannot be used; "" where it can. Probes it. */
static bool probe(rl_device *device, char *sentence, size_t room) {
    bool usable = rl_device_usable(device);
    snprintf(sentence, room, "%s", usable || !rl_failed() ? "" : rl_error_text());
    rl_error_clear();
    return usable;
}

static void flags_text(uint32_t flags, char *text, size_t room) {
    snprintf(text, room, "%s%s%s%s%s", flags & RL_DEVICE_CPU ? " cpu" : "", flags & RL_DEVICE_F64 ? " f64" : "",
             flags & RL_DEVICE_NATIVE_F16 ? " f16" : "", flags & RL_DEVICE_NATIVE_BF16 ? " bf16" : "",
             flags & RL_DEVICE_UNIFIED ? " unified" : "");
}

static void print_device(rl_device *device, bool chosen) {
    rl_device_info info;
    char sentence[512], flags[64];
    bool usable = probe(device, sentence, sizeof sentence);
    memset(&info, 0, sizeof info);
    info.size = sizeof info;
    rl_device_info_get(device, &info);
    rl_error_clear();
    flags_text(info.flags, flags, sizeof flags);
    printf("%c %-12s %-10s %s\n", chosen ? '*' : ' ', rl_device_name(device), usable ? "usable" : "NOT usable",
           info.name);
    if (*sentence)
        printf("    %s\n", sentence);
    printf("    %s;%s", info.driver, flags);
    if (info.compute_units)
        printf("; %u compute unit%s", info.compute_units, info.compute_units == 1 ? "" : "s");
    if (info.memory_total && !info.memory_free)
        printf("; %.1f GiB", (double)info.memory_total / (1 << 30));
    else if (info.memory_total)
        printf("; %.1f of %.1f GiB free", (double)info.memory_free / (1 << 30), (double)info.memory_total / (1 << 30));
    printf("\n");
}

static void print_record(const rl_load_record *record) {
    printf("  %-12s got as far as %-8s %s\n", record->name, stage_text(record->stage), record->path);
    if (record->status)
        printf("    %s: %s\n", rl_status_text(record->status), record->sentence);
    if (*record->hint)
        printf("    hint: %s\n", record->hint);
}

static void print_device_json(rl_device *device, rl_device *chosen) {
    rl_device_info info;
    char sentence[512];
    bool usable = probe(device, sentence, sizeof sentence);
    memset(&info, 0, sizeof info);
    info.size = sizeof info;
    rl_device_info_get(device, &info);
    rl_error_clear();
    printf("    {\"device\": ");
    print_json_string(stdout, rl_device_name(device));
    printf(", \"default\": %s, \"usable\": %s, \"reason\": ", device == chosen ? "true" : "false",
           usable ? "true" : "false");
    print_json_string(stdout, sentence);
    printf(", \"name\": ");
    print_json_string(stdout, info.name);
    printf(", \"driver\": ");
    print_json_string(stdout, info.driver);
    printf(", \"memory_total\": %llu, \"memory_free\": %llu, \"compute_units\": %u, \"cpu\": %s, \"f64\": %s, "
           "\"f16\": %s, \"bf16\": %s, \"unified\": %s}",
           (unsigned long long)info.memory_total, (unsigned long long)info.memory_free, info.compute_units,
           info.flags & RL_DEVICE_CPU ? "true" : "false", info.flags & RL_DEVICE_F64 ? "true" : "false",
           info.flags & RL_DEVICE_NATIVE_F16 ? "true" : "false", info.flags & RL_DEVICE_NATIVE_BF16 ? "true" : "false",
           info.flags & RL_DEVICE_UNIFIED ? "true" : "false");
}

static void print_record_json(const rl_load_record *record) {
    printf("    {\"name\": ");
    print_json_string(stdout, record->name);
    printf(", \"path\": ");
    print_json_string(stdout, record->path);
    printf(", \"stage\": ");
    print_json_string(stdout, stage_text(record->stage));
    printf(", \"status\": ");
    print_json_string(stdout, rl_status_text(record->status));
    printf(", \"sentence\": ");
    print_json_string(stdout, record->sentence);
    printf(", \"hint\": ");
    print_json_string(stdout, record->hint);
    printf(", \"devices\": %u}", record->device_count);
}

static bool record_at(size_t number, rl_load_record *out) {
    memset(out, 0, sizeof *out);
    out->struct_size = sizeof *out;
    return rl_load_report_get(number, out);
}

static void print_all_json(rl_device **devices, size_t count, rl_device *chosen) {
    rl_load_record record;
    printf("{\n  \"devices\": [\n");
    for (size_t i = 0; i < count; i++) {
        print_device_json(devices[i], chosen);
        printf("%s\n", i + 1 < count ? "," : "");
    }
    printf("  ],\n  \"report\": [\n");
    for (size_t i = 0; record_at(i, &record); i++) {
        print_record_json(&record);
        printf("%s\n", i + 1 < rl_load_report_count() ? "," : "");
    }
    printf("  ]\n}\n");
}

static void print_all(rl_device **devices, size_t count, rl_device *chosen) {
    rl_load_record record;
    printf("devices, best first (* is the default):\n");
    for (size_t i = 0; i < count; i++)
        print_device(devices[i], devices[i] == chosen);
    printf("\nload report:\n");
    for (size_t i = 0; record_at(i, &record); i++)
        print_record(&record);
}

static int run_devices(int argc, char **argv) {
    rl_device *devices[DEVICES_MOST], *chosen;
    bool json = false, done;
    const option_spec specs[] = {{"--json", OPTION_FLAG, &json, 0, 0}};
    int operands, status = parse_options(&command_devices, argc, argv, specs, 1, NULL, 0, &operands, &done);
    char reason[1024] = "";
    size_t count;
    if (status || done)
        return status;
    chosen = rl_device_default();
    if (!chosen) {
        snprintf(reason, sizeof reason, "%s", rl_error_text());
        rl_error_clear();
    }
    count = rl_device_list(devices, DEVICES_MOST);
    if (json)
        print_all_json(devices, count < DEVICES_MOST ? count : DEVICES_MOST, chosen);
    else
        print_all(devices, count < DEVICES_MOST ? count : DEVICES_MOST, chosen);
    if (*reason) {
        fprintf(stderr, "rushlight: %s\n", reason);
        return EXIT_FAILED;
    }
    return EXIT_OK;
}

const command command_devices = {
    "devices", "the devices, and what became of each backend",
    "usage: rushlight devices [--json]\n\n"
    "Loads and probes every backend and prints the devices, the default first marked, then the load report:\n"
    "how far each candidate got (found, dlopen, symbol, abi, init, devices, usable), why no further, and what to\n"
    "do about it. Fails when RUSHLIGHT_DEVICE names a device that cannot be had.\n\n"
    "  --json    the same for programs\n",
    run_devices};

/* ops
 * -----------------------------------------------------------------------------------------------------------------------
 */

static void print_op(const rl_op_info *info, bool whole) {
    if (!whole) {
        printf("%-28s %-10s %s\n", info->name, info->kind, info->doc);
        return;
    }
    printf("%s\n  %s\n  %s%s%s\n", info->schema, info->doc, info->kind, info->differentiable ? ", differentiable" : "",
           info->inplace ? ", also in place" : "");
    if (info->host)
        printf("  computes on the host\n");
    if (*info->autocast)
        printf("  under autocast in %s\n", strcmp(info->autocast, "f32") == 0      ? "f32"
                                           : strcmp(info->autocast, "widest") == 0 ? "the widest dtype given"
                                                                                   : "f16 or bf16");
    if (*info->note)
        printf("  %s\n", info->note);
}

static int run_ops(int argc, char **argv) {
    const char *pattern = NULL;
    bool json = false, done;
    const option_spec specs[] = {{"--json", OPTION_FLAG, &json, 0, 0}};
    int operands, status = parse_options(&command_ops, argc, argv, specs, 1, &pattern, 1, &operands, &done), shown = 0;
    if (status || done)
        return status;
    if (json)
        printf("[\n");
    for (size_t i = 0; i < rl_op_count(); i++) {
        rl_op_info info;
        memset(&info, 0, sizeof info);
        info.struct_size = sizeof info;
        if (!rl_op_describe(i, &info) || (pattern && !strstr(info.name, pattern)))
            continue;
        if (json) {
            printf("%s  {\"name\": ", shown ? ",\n" : "");
            print_json_string(stdout, info.name);
            printf(", \"schema\": ");
            print_json_string(stdout, info.schema);
            printf(", \"doc\": ");
            print_json_string(stdout, info.doc);
            printf(", \"kind\": \"%s\", \"differentiable\": %s, \"inplace\": %s, \"host\": %s, \"autocast\": \"%s\"}",
                   info.kind, info.differentiable ? "true" : "false", info.inplace ? "true" : "false",
                   info.host ? "true" : "false", info.autocast);
        } else {
            print_op(&info, pattern != NULL);
        }
        shown++;
    }
    if (json)
        printf("\n]\n");
    if (!shown) {
        fprintf(stderr, "rushlight ops: no op's name contains '%.60s'\n", pattern ? pattern : "");
        return EXIT_FAILED;
    }
    if (!pattern && !json) {
        printf(
            "\n%d ops; `rushlight ops NAME` shows schemas. Primitives that every backend has: map reduce matmul gather "
            "scatter scan sort.\n",
            shown);
    }
    return EXIT_OK;
}

const command command_ops = {
    "ops", "the ops: schema, mathematics, kind",
    "usage: rushlight ops [TEXT] [--json]\n\n"
    "Prints every op whose name contains TEXT (all of them without): schema in PyTorch's grammar, one line of\n"
    "mathematics, and how it is made: pointwise (one program), rows (of the op table), view (no kernel) or "
    "composite.\n\n"
    "  --json    the same for programs\n",
    run_ops};

/* env
 * -----------------------------------------------------------------------------------------------------------------------
 */

static int run_env(int argc, char **argv) {
    bool done;
    int operands, status = parse_options(&command_env, argc, argv, NULL, 0, NULL, 0, &operands, &done);
    rl_env_description d;
    if (status || done)
        return status;
    for (size_t i = 0; rl_env_variable(i, &d); i++)
        printf("%-24s %s\n%-24s default: %s%s%.200s\n", d.name, d.meaning, "",
               *d.default_text ? d.default_text : "unset", d.value ? "; now: " : "", d.value ? d.value : "");
    return EXIT_OK;
}

const command command_env = {
    "env", "the environment variables, with their meaning and value",
    "usage: rushlight env\n\n"
    "Prints every variable that Rushlight and its backends read; sim, and backends by others,\n"
    "describe theirs in their own READMEs.\n",
    run_env};
