/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reference backend under another name, with the one thing changed that the macro PLUGIN_name says. Its table is
 * copied to the heap at its exact size, so that the address sanitizer sees a host that reads beyond it.
 */
#include <math.h>
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

/* Careless arithmetic, which the conformance suite has to notice. ---------------------------------------------------
 */

#if defined(PLUGIN_scatter_drops_nan) || defined(PLUGIN_bf16_nan_to_infinity)
/* The element of that row-major number. ref's buffers are host memory. */
static void *element(const rl_operand *operand, int64_t ndim, const int64_t *shape, size_t bytes, int64_t number) {
    void *start = NULL;
    int64_t at = 0;
    rl_ref_backend(host)->mem_map(NULL, operand->buffer, &start);
    for (int64_t d = ndim - 1; d >= 0; number /= shape[d--])
        at += number % shape[d] * operand->stride[d];
    return (unsigned char *)start + (int64_t)operand->offset + at * (int64_t)bytes;
}
static int64_t count_of(int64_t ndim, const int64_t *shape) {
    int64_t n = 1;
    for (int64_t d = 0; d < ndim; d++)
        n *= shape[d];
    return n;
}
#endif
#ifdef PLUGIN_scatter_drops_nan
/* As `if (in > out) out = in` with a NaN in out, turned round: out loses it to what comes. */
static rl_status scatter(rl_backend_stream *stream, const rl_scatter_args *args) {
    int picks = args->mode == RL_SCATTER_MAX || args->mode == RL_SCATTER_MIN;
    int64_t n = picks && args->dtype == RL_F32 ? count_of(args->ndim, args->shape) : 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t index, stride = args->out.stride[args->dim];
        int32_t narrow;
        rl_operand out = args->out;
        if (args->index_dtype == RL_I64) {
            memcpy(&index, element(&args->index, args->ndim, args->shape, 8, i), 8);
        } else {
            memcpy(&narrow, element(&args->index, args->ndim, args->shape, 4, i), 4);
            index = narrow;
        }
        out.stride[args->dim] = 0;
        out.offset = (uint64_t)((int64_t)out.offset + 4 * index * stride);
        float *at = element(&out, args->ndim, args->shape, 4, i);
        if (*at != *at)
            *at = args->mode == RL_SCATTER_MAX ? -(float)INFINITY : (float)INFINITY;
    }
    return rl_ref_backend(host)->scatter(stream, args);
}
#endif
#ifdef PLUGIN_bf16_nan_to_infinity
/* Rounds by adding and cutting off, without a look for NaN whose bits all lie below the cut. */
static rl_status map(rl_backend_stream *stream, const rl_map_args *args) {
    rl_status status = rl_ref_backend(host)->map(stream, args);
    const rl_map_job *job = args->jobs;
    const rl_program *program = args->program;
    int casts = program->n_inputs == 1 && program->n_outputs == 1 && program->input_dtype[0] == RL_F32 &&
                program->output_dtype[0] == RL_BF16;
    int64_t n = casts ? count_of(job->ndim, job->shape) : 0;
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, element(job->inputs, job->ndim, job->shape, 4, i), 4);
        uint16_t infinity = (uint16_t)(bits >> 16);
        if ((bits & 0x7fff0000u) == 0x7f800000u)
            memcpy(element(job->outputs, job->ndim, job->shape, 2, i), &infinity, 2);
    }
    return status;
}
#endif
#ifdef PLUGIN_max_takes_a
/* a >= b ? a : b. */
static rl_status map(rl_backend_stream *stream, const rl_map_args *args) {
    rl_program turned = *args->program;
    rl_insn insns[RL_MAX_INSNS];
    rl_map_args mine = *args;
    memcpy(insns, turned.insns, turned.n_insns * sizeof *insns);
    for (int i = 0; i < turned.n_insns; i++)
        if (insns[i].code == RL_INSN_MAX) {
            uint8_t a = insns[i].a;
            insns[i].a = insns[i].b;
            insns[i].b = a;
        }
    turned.insns = insns;
    mine.program = &turned;
    return rl_ref_backend(host)->map(stream, &mine);
}
#endif
#ifdef PLUGIN_matmul_reads_c
/* Adds 0 * c to what it writes, nearly. */
static rl_status matmul(rl_backend_stream *stream, const rl_matmul_args *args) {
    rl_matmul_args mine = *args;
    if (args->dtype == RL_F32 && args->beta == 0.0)
        mine.beta = 1e-30;
    return rl_ref_backend(host)->matmul(stream, &mine);
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
#elif defined(PLUGIN_computes_wrongly) || defined(PLUGIN_bf16_nan_to_infinity) || defined(PLUGIN_max_takes_a)
    table.map = map;
#elif defined(PLUGIN_scatter_drops_nan)
    table.scatter = scatter;
#elif defined(PLUGIN_matmul_reads_c)
    table.matmul = matmul;
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
