/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reference backend under another name, with the one thing changed that the macro PLUGIN_name says. Its table is
 * copied to the heap at its exact size, so that the address sanitizer sees a host that reads beyond it.
 */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "missing.h"
#include "ref.h"

static rl_backend table, *copy;
static const rl_host *host;

/* Structs as a later version would have them: the same, and something appended. ------------------------------------ */

#define LONGER(struct_name)                                                                                            \
    typedef struct longer_##struct_name {                                                                              \
        struct_name now;                                                                                               \
        uint64_t later[4];                                                                                             \
    } longer_##struct_name
LONGER(rl_backend);
LONGER(rl_device_info);

#if defined(PLUGIN_shorter_info) || defined(PLUGIN_longer_info)
/* Fills no more than the host has room for, and no more than this version knows of. */
static rl_status device_info(uint32_t number, rl_device_info *info) {
    longer_rl_device_info mine = {.now.size = sizeof mine, .later = {1, 2, 3, 4}};
    uint32_t room = info->size;
    rl_status status = rl_ref_backend(host)->device_info(number, &mine.now);
#ifdef PLUGIN_shorter_info
    size_t known = offsetof(rl_device_info, memory_total);
#else
    size_t known = sizeof mine;
#endif
    memcpy(info, &mine, room < known ? room : known);
    info->size = (uint32_t)known; /* the host knows better */
    return status;
}
#endif

#ifdef PLUGIN_longer_args
/* Built with longer args than this host's: what the host does not give is zero, the rest is as it always was. */
#define COPIED(name)                                                                                                   \
    LONGER(rl_##name##_args);                                                                                          \
    static rl_status name(rl_backend_stream *stream, const rl_##name##_args *given) {                                  \
        longer_rl_##name##_args args = {0};                                                                            \
        if (given->size != sizeof *given)                                                                              \
            return host->fail(RL_INTERNAL, #name ": the host gives args of %u bytes", given->size);                    \
        memcpy(&args, given, given->size < sizeof args ? given->size : sizeof args);                                   \
        args.now.size = sizeof args;                                                                                   \
        if (args.later[0])                                                                                             \
            return host->fail(RL_INTERNAL, #name ": what the host did not give is not zero");                          \
        return rl_ref_backend(host)->name(stream, &args.now);                                                          \
    }
COPIED(map)
COPIED(reduce)
COPIED(matmul)
COPIED(gather)
COPIED(scatter)
COPIED(scan)
COPIED(sort)
#endif

#ifdef PLUGIN_init_fails
static rl_status init(void) {
    return host->fail(RL_UNSUPPORTED, "there is\na driver \033[31mof 1998 here");
}
#endif
#ifdef PLUGIN_no_devices
static uint32_t device_count(void) {
    return 0;
}
#endif
#ifdef PLUGIN_devices_lie
static uint32_t device_count(void) {
    return UINT32_MAX;
}
#endif
#ifdef PLUGIN_no_buffer
static rl_status mem_alloc(rl_backend_device *device, uint32_t kind, uint64_t bytes, rl_backend_buffer **out) {
    (void)device, (void)kind, (void)bytes;
    *out = NULL;
    return RL_OK;
}
#endif
#ifdef PLUGIN_computes_wrongly
static rl_status map(rl_backend_stream *stream, const rl_map_args *args) {
    (void)stream, (void)args;
    return RL_OK; /* without having done it */
}
#endif

#if defined(PLUGIN_ends_without_devices) || defined(PLUGIN_ends_unopened)
/* What init started, threads of a driver perhaps, must have been ended before the library is closed. */
static int running;
static rl_status init(void) {
    running = 1;
    return rl_ref_backend(host)->init();
}
static void shutdown(void) {
    running = 0;
    rl_ref_backend(host)->shutdown();
}
__attribute__((destructor)) static void check_ended(void) {
    fprintf(stderr, "closed%s\n", running ? " while it runs" : " after its end");
}
#endif
#ifdef PLUGIN_ends_without_devices
static uint32_t device_count(void) {
    return 0;
}
#endif
#ifdef PLUGIN_ends_unopened
static rl_status device_open(uint32_t number, rl_backend_device **out_device) {
    (void)number;
    *out_device = (rl_backend_device *)(void *)&running; /* that is no device */
    return host->fail(RL_DEVICE_LOST, "it fell off the bus");
}
#endif

/* The one thing that is changed. */
static void change(void) {
#if defined(PLUGIN_wrong_abi)
    table.abi = 2;
#elif defined(PLUGIN_no_name)
    table.name = "";
#elif defined(PLUGIN_null_name)
    table.name = NULL;
#elif defined(PLUGIN_odd_name)
    table.name = "Odd\nname \033[31m";
#elif defined(PLUGIN_lacks_map)
    table.map = NULL;
#elif defined(PLUGIN_fused_null)
    table.n_fused = 3;
    table.fused = NULL;
#elif defined(PLUGIN_tiny)
    table.size = 4;
#elif defined(PLUGIN_lacks_sort)
    table.size = offsetof(rl_backend, sort);
#elif defined(PLUGIN_shorter)
    table.size = offsetof(rl_backend, fused); /* of a version that had no fused rows yet */
#elif defined(PLUGIN_no_texts)
    table.version = NULL;
    table.summary = NULL;
#elif defined(PLUGIN_init_fails)
    table.init = init;
#elif defined(PLUGIN_no_devices) || defined(PLUGIN_devices_lie)
    table.device_count = device_count;
#elif defined(PLUGIN_ends_without_devices)
    table.init = init;
    table.shutdown = shutdown;
    table.device_count = device_count;
#elif defined(PLUGIN_ends_unopened)
    table.init = init;
    table.shutdown = shutdown;
    table.device_open = device_open;
#elif defined(PLUGIN_no_buffer)
    table.mem_alloc = mem_alloc;
#elif defined(PLUGIN_computes_wrongly)
    table.map = map;
#elif defined(PLUGIN_shorter_info) || defined(PLUGIN_longer_info)
    table.device_info = device_info;
#elif defined(PLUGIN_longer_args)
    table.map = map;
    table.reduce = reduce;
    table.matmul = matmul;
    table.gather = gather;
    table.scatter = scatter;
    table.scan = scan;
    table.sort = sort;
    table.n_fused = 0;
#elif defined(PLUGIN_dependency)
    table.rank -= rushlight_test_missing();
#elif defined(PLUGIN_undefined)
    table.rank -= rushlight_test_undefined();
#endif
}

/* The table lives as long as the library. */
__attribute__((destructor)) static void end(void) {
    free(copy);
}

#ifdef PLUGIN_no_symbol
#define rl_backend_query not_the_symbol
RL_BACKEND_EXPORT int not_the_symbol(uint32_t host_abi, const rl_host *given, const rl_backend **out_backend);
#endif
int rl_backend_query(uint32_t host_abi, const rl_host *given, const rl_backend **out_backend) {
    (void)host_abi;
    host = given;
#if defined(PLUGIN_query_fails)
    return host->fail(RL_UNSUPPORTED, "only on Tuesdays");
#elif defined(PLUGIN_query_is_silent)
    return 99;
#elif defined(PLUGIN_no_table)
    return RL_OK;
#elif defined(PLUGIN_other_abi)
    return host->fail(RL_ABI_MISMATCH, "built for version 7 of the ABI, the host has version %u", (unsigned)host_abi);
#endif
    table = *rl_ref_backend(given);
    table.name = PLUGIN_NAME;
    table.rank = -20;
    change();
#ifdef PLUGIN_longer
    static longer_rl_backend longer = {.later = {~0u, ~0u, ~0u, ~0u}};
    longer.now = table;
    longer.now.size = sizeof longer;
    *out_backend = &longer.now;
#else
    free(copy);
    copy = malloc(table.size);
    if (copy == NULL)
        return RL_OUT_OF_MEMORY;
    memcpy(copy, &table, table.size);
    *out_backend = copy;
#endif
    return RL_OK;
}
