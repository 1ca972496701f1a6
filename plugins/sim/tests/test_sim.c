/* SPDX-License-Identifier: Apache-2.0 */
/* The plugin through a host made here: what it delays, what it refuses, what it is told to fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rushlight/backend.h"

enum { N = 1000, BYTES = N * sizeof(int32_t) };

static _Thread_local char sentence[512];
static char logged[512];

static rl_status host_fail(rl_status status, const char *format, ...) {
    va_list list;
    va_start(list, format);
    vsnprintf(sentence, sizeof sentence, format, list);
    va_end(list);
    return status;
}

static void host_log(rl_log_level level, const char *format, ...) {
    va_list list;
    va_start(list, format);
    vsnprintf(logged, sizeof logged, format, list);
    va_end(list);
    assert_int_equal(level, RL_LOG_ERROR);
}

static const rl_host host = {.size = sizeof host, .abi = RL_ABI_VERSION, .fail = host_fail, .log = host_log};
static const rl_backend *api;
static rl_backend_device *device;
static rl_backend_stream *stream;

/* The variable, or none, for the next life. */
static void set(const char *name, const char *value) {
    if (value)
        setenv(name, value, 1);
    else
        unsetenv(name);
}

static void open_sim(const char *failure) {
    set("RUSHLIGHT_SIM_FAIL", failure);
    sentence[0] = 0;
    if (api->init() != RL_OK)
        fail_msg("init: %s", sentence);
    assert_int_equal(api->device_open(0, &device), RL_OK);
    if (!failure)
        assert_int_equal(api->stream_create(device, &stream), RL_OK);
}

static void close_sim(void) {
    api->stream_destroy(stream);
    api->device_close(device);
    api->shutdown();
    stream = NULL;
}

static int begin(void **state) {
    (void)state;
    open_sim(NULL);
    return 0;
}

static int end(void **state) {
    (void)state;
    close_sim();
    assert_int_equal(api->init(), RL_OK); /* no test leaves anything alive */
    api->shutdown();
    return 0;
}

static rl_backend_buffer *take(uint64_t bytes) {
    rl_backend_buffer *buffer = NULL;
    assert_int_equal(api->mem_alloc(device, RL_MEMORY_DEVICE, bytes, &buffer), RL_OK);
    return buffer;
}

static const rl_insn insns[] = {{.code = RL_INSN_INPUT, .type = RL_REG_I32},
                                {.code = RL_INSN_SCALAR, .type = RL_REG_I32},
                                {.code = RL_INSN_ADD, .type = RL_REG_I32, .a = 0, .b = 1}};
static const rl_program add_program = {.size = sizeof add_program,
                                       .n_inputs = 1,
                                       .n_outputs = 1,
                                       .n_scalars = 1,
                                       .n_insns = 3,
                                       .input_dtype = {RL_I32},
                                       .output_dtype = {RL_I32},
                                       .output_value = {2},
                                       .insns = insns};

/* to[i] = from[i] + addend for `count` elements at an offset; what it borrows is spoiled at once. */
static rl_status add_at(rl_backend_stream *on, rl_backend_buffer *to, rl_backend_buffer *from, int addend,
                        int64_t count, uint64_t offset) {
    rl_operand in = {.buffer = from, .offset = offset, .stride = {1}}, out = {.buffer = to, .stride = {1}};
    rl_number scalar = {.i = addend};
    rl_map_job job = {.ndim = 1, .shape = {count}, .inputs = &in, .outputs = &out, .scalars = &scalar};
    rl_map_args args = {.size = sizeof args, .n_jobs = 1, .program = &add_program, .jobs = &job};
    rl_status status = api->map(on, &args);
    memset(&in, 0xff, sizeof in);
    memset(&out, 0xff, sizeof out);
    memset(&job, 0xff, sizeof job);
    scalar.i = -1;
    return status;
}
static void add(rl_backend_stream *on, rl_backend_buffer *to, rl_backend_buffer *from, int addend) {
    assert_int_equal(add_at(on, to, from, addend, N, 0), RL_OK);
}

static void fill(rl_backend_stream *on, rl_backend_buffer *to, int value) {
    int32_t numbers[N];
    for (int i = 0; i < N; i++)
        numbers[i] = value;
    assert_int_equal(api->copy_in(on, to, 0, numbers, sizeof numbers), RL_OK);
    memset(numbers, 0, sizeof numbers);
}

static void expect(rl_backend_stream *on, rl_backend_buffer *from, int value) {
    int32_t numbers[N] = {0};
    assert_int_equal(api->copy_out(on, numbers, from, 0, sizeof numbers), RL_OK);
    assert_int_equal(api->stream_sync(on), RL_OK);
    for (int i = 0; i < N; i++)
        assert_int_equal(numbers[i], value);
}

/* The stream's error at the next synchronization, once. */
static void expect_sticky(rl_status status, const char *text) {
    sentence[0] = 0;
    assert_int_equal(api->stream_sync(stream), status);
    if (!strstr(sentence, text))
        fail_msg("'%s' does not have '%s' in it", sentence, text);
    assert_int_equal(api->stream_sync(stream), RL_OK);
}

/* Work ----------------------------------------------------------------------------------------------------------------
 */

static void table_says_nothing_comes_free(void **state) {
    (void)state;
    assert_int_equal(api->flags, 0);
    assert_int_equal(api->rank, -10);
    assert_null(api->mem_map);
    assert_null(api->mem_wrap);
    rl_device_info info = {.size = sizeof info};
    assert_int_equal(api->device_info(0, &info), RL_OK);
    assert_int_equal(info.memory_total, 256u << 20);
    assert_int_equal(api->device_info(1, &info), RL_INVALID_ARGUMENT);
}

static void work_waits_until_asked_for(void **state) {
    (void)state;
    int32_t back[N];
    rl_backend_buffer *x = take(BYTES);
    memset(back, 0x11, sizeof back);
    fill(stream, x, 5);
    add(stream, x, x, 2);
    assert_int_equal(api->copy_out(stream, back, x, 0, sizeof back), RL_OK);
    assert_int_equal(back[0], 0x11111111); /* nothing has begun: there is not even a thread */
    assert_int_equal(api->stream_sync(stream), RL_OK);
    for (int i = 0; i < N; i++)
        assert_int_equal(back[i], 7);
    api->mem_free(device, x);
}

static void events_order_streams(void **state) {
    (void)state;
    rl_backend_stream *other;
    rl_backend_event *event;
    rl_backend_buffer *x = take(BYTES), *y = take(BYTES);
    assert_int_equal(api->stream_create(device, &other), RL_OK);
    assert_int_equal(api->event_create(device, &event), RL_OK);
    assert_int_equal(api->event_done(event), 1);
    assert_int_equal(api->stream_wait(other, event), RL_OK);
    fill(stream, x, 0);
    for (int i = 0; i < 20; i++) {
        add(stream, y, x, 1);
        assert_int_equal(api->event_record(event, stream), RL_OK);
        assert_int_equal(api->stream_wait(other, event), RL_OK);
        add(other, x, y, 1);
        assert_int_equal(api->event_record(event, other), RL_OK);
        assert_int_equal(api->stream_wait(stream, event), RL_OK);
    }
    api->event_destroy(event); /* what waits for it goes on as recorded */
    expect(stream, x, 40);
    assert_int_equal(api->event_create(device, &event), RL_OK);
    add(other, y, x, 2);
    assert_int_equal(api->event_record(event, other), RL_OK);
    api->stream_destroy(other);
    assert_int_equal(api->event_done(event), 1);
    assert_int_equal(api->event_sync(event), RL_OK);
    expect(stream, y, 42);
    api->event_destroy(event);
    api->mem_free(device, x);
    api->mem_free(device, y);
}

/* event_done starts the work without waiting for it: asked often enough, it says yes. */
static void asking_starts_work(void **state) {
    (void)state;
    rl_backend_event *event;
    rl_backend_buffer *x = take(BYTES);
    assert_int_equal(api->event_create(device, &event), RL_OK);
    fill(stream, x, 1);
    assert_int_equal(api->event_record(event, stream), RL_OK);
    while (!api->event_done(event))
        ;
    expect(stream, x, 1);
    api->event_destroy(event);
    api->mem_free(device, x);
}

static void *busy(void *argument) {
    rl_backend_stream *own;
    rl_backend_buffer *x = take(BYTES);
    (void)argument;
    assert_int_equal(api->stream_create(device, &own), RL_OK);
    fill(own, x, 0);
    for (int i = 1; i <= 100; i++) {
        add(own, x, x, 1);
        if (i % 10 == 0)
            expect(own, x, i);
    }
    api->stream_destroy(own);
    api->mem_free(device, x);
    return NULL;
}

static void threads_have_streams(void **state) {
    (void)state;
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, busy, NULL), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
}

/* Misuse --------------------------------------------------------------------------------------------------------------
 */

static void handles_are_no_addresses(void **state) {
    (void)state;
    rl_backend_buffer *x = take(64);
    assert_int_equal((uintptr_t)device >> 56, 0x51);
    assert_int_equal((uintptr_t)stream >> 56, 0x51);
    assert_int_equal((uintptr_t)x >> 56, 0x51);
    assert_int_equal(api->stream_sync((rl_backend_stream *)(void *)x), RL_INVALID_ARGUMENT);
    assert_int_equal(api->copy(NULL, x, 0, x, 0, 1), RL_INVALID_ARGUMENT);
    api->mem_free(device, x);
}

static void use_after_free_sticks(void **state) {
    (void)state;
    rl_backend_buffer *x = take(BYTES), *y = take(BYTES);
    fill(stream, x, 1);
    add(stream, y, x, 1);
    api->mem_free(device, x); /* while work waits to use it */
    expect_sticky(RL_INVALID_ARGUMENT, "copy: target is in buffer");
    x = take(BYTES); /* the same slot, another generation */
    fill(stream, x, 3);
    add(stream, y, x, 1);
    expect(stream, y, 4);
    api->mem_free(device, x);
    add(stream, y, x, 1);
    expect_sticky(RL_INVALID_ARGUMENT, "map: input 0 is in buffer");
    api->mem_free(device, y);
}

static void outside_sticks(void **state) {
    (void)state;
    rl_backend_buffer *x = take(BYTES), *y = take(BYTES);
    fill(stream, x, 1);
    fill(stream, y, 2);
    assert_int_equal(add_at(stream, y, x, 1, N + 1, 0), RL_OK);
    expect_sticky(RL_INVALID_ARGUMENT, "map: input 0 at offset 0, elements 0 to 1000 of 4 bytes, is not within");
    assert_int_equal(add_at(stream, y, x, 1, N, 4), RL_OK);
    expect_sticky(RL_INVALID_ARGUMENT, "not within its buffer of 4000 bytes");
    assert_int_equal(add_at(stream, y, x, 1, 4, 2), RL_OK);
    expect_sticky(RL_INVALID_ARGUMENT, "has offset 2, no multiple");
    assert_int_equal(add_at(stream, y, x, 1, INT64_MAX, 0), RL_OK);
    expect_sticky(RL_INVALID_ARGUMENT, "not within");
    assert_int_equal(api->copy(stream, y, 4, x, 0, BYTES), RL_OK);
    expect_sticky(RL_INVALID_ARGUMENT, "copy: target");
    expect(stream, y, 2);
    api->mem_free(device, x);
    api->mem_free(device, y);
}

static void bad_index_sticks(void **state) {
    (void)state;
    const int64_t index[] = {1, 7, 0};
    rl_backend_buffer *x = take(BYTES), *y = take(BYTES), *at = take(sizeof index);
    fill(stream, x, 9);
    fill(stream, y, 2);
    assert_int_equal(api->copy_in(stream, at, 0, index, sizeof index), RL_OK);
    rl_gather_args args = {
        .size = sizeof args, .dtype = RL_I32, .index_dtype = RL_I64, .ndim = 1, .shape = {3}, .dim_size = 4};
    args.in = (rl_operand){.buffer = x, .stride = {1}};
    args.index = (rl_operand){.buffer = at, .stride = {1}};
    args.out = (rl_operand){.buffer = y, .stride = {1}};
    assert_int_equal(api->gather(stream, &args), RL_OK);
    expect_sticky(RL_INDEX_OUT_OF_RANGE, "gather: index 7 is out of range for size 4");
    int32_t back[4];
    assert_int_equal(api->copy_out(stream, back, y, 0, sizeof back), RL_OK);
    assert_int_equal(api->stream_sync(stream), RL_OK);
    assert_true(back[0] == 9 && back[1] == 2 && back[2] == 9 && back[3] == 2);
    api->mem_free(device, x);
    api->mem_free(device, y);
    api->mem_free(device, at);
}

static void empty_operands_need_no_buffer(void **state) {
    (void)state;
    rl_backend_buffer *c = take(BYTES);
    fill(stream, c, 7);
    rl_matmul_args args = {.size = sizeof args, .dtype = RL_I32, .m = 1, .n = N, .alpha = 1};
    args.c = (rl_operand){.buffer = c, .stride = {N, 1}};
    assert_int_equal(api->matmul(stream, &args), RL_OK);
    expect(stream, c, 0);
    assert_int_equal(add_at(stream, NULL, NULL, 1, 0, 0), RL_OK);
    assert_int_equal(api->stream_sync(stream), RL_OK);
    api->mem_free(device, c);
}

static void leaks_are_told(void **state) {
    (void)state;
    rl_backend_event *event;
    open_sim(NULL);
    rl_backend_buffer *x = take(100);
    fill(stream, x, 1); /* beyond it, and never asked for */
    assert_int_equal(api->event_create(device, &event), RL_OK);
    assert_int_equal(api->event_record(event, stream), RL_OK);
    api->device_close(device);
    api->shutdown();
    assert_non_null(strstr(logged, "closed with 1 buffers (100 bytes), 1 streams and 1 events still alive"));
    assert_int_equal(api->init(), RL_INTERNAL);
    assert_non_null(strstr(sentence, "still alive"));
    stream = NULL;
    open_sim(NULL);
    x = take(100);
    api->mem_free(device, x);
    api->mem_free(device, x);
    close_sim();
    assert_int_equal(api->init(), RL_INTERNAL);
    assert_non_null(strstr(sentence, "freed already"));
}

/* Variables -----------------------------------------------------------------------------------------------------------
 */

static void memory_is_small(void **state) {
    (void)state;
    rl_backend_buffer *x, *y = NULL;
    set("RUSHLIGHT_SIM_MEMORY", "4k");
    open_sim(NULL);
    x = take(4000);
    assert_int_equal(api->mem_alloc(device, RL_MEMORY_DEVICE, 100, &y), RL_OUT_OF_MEMORY);
    assert_string_equal(sentence, "mem_alloc: 100 bytes of sim:0, 96 of 4096 are free");
    assert_int_equal(api->mem_alloc(device, RL_MEMORY_HOST, 1, &y), RL_UNSUPPORTED);
    api->mem_free(device, x);
    api->mem_free(device, take(4096));
    close_sim();
    set("RUSHLIGHT_SIM_MEMORY", NULL);
}

static void bad_variables_are_refused(void **state) {
    (void)state;
    static const char *const bad[][2] = {
        {"RUSHLIGHT_SIM_MEMORY", "12x"},    {"RUSHLIGHT_SIM_MEMORY", "0"},
        {"RUSHLIGHT_SIM_MEMORY", "lots"},   {"RUSHLIGHT_SIM_MEMORY", "99999999999999G"},
        {"RUSHLIGHT_SIM_MEMORY", "1kk"},    {"RUSHLIGHT_SIM_DEVICES", "17"},
        {"RUSHLIGHT_SIM_DEVICES", "-1"},    {"RUSHLIGHT_SIM_FAIL", "alloc"},
        {"RUSHLIGHT_SIM_FAIL", "alloc:0"},  {"RUSHLIGHT_SIM_FAIL", "alloc:1-"},
        {"RUSHLIGHT_SIM_FAIL", "malloc:1"}, {"RUSHLIGHT_SIM_FAIL", ":1"},
        {"RUSHLIGHT_SIM_FAIL", "copy:x"},
    };
    set("RUSHLIGHT_SIM_FAIL", NULL);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        set(bad[i][0], bad[i][1]);
        assert_int_equal(api->init(), RL_INVALID_ARGUMENT);
        assert_non_null(strstr(sentence, bad[i][0]));
        assert_non_null(strstr(sentence, bad[i][1]));
        set(bad[i][0], NULL);
    }
}

static void devices_are_apart(void **state) {
    (void)state;
    rl_backend_device *second;
    rl_backend_stream *there;
    rl_backend_event *event;
    rl_backend_buffer *x, *y = NULL;
    set("RUSHLIGHT_SIM_DEVICES", "2");
    open_sim(NULL);
    assert_int_equal(api->device_count(), 2);
    assert_int_equal(api->device_open(0, &second), RL_INVALID_ARGUMENT);
    assert_int_equal(api->device_open(2, &second), RL_INVALID_ARGUMENT);
    assert_int_equal(api->device_open(1, &second), RL_OK);
    assert_int_equal(api->stream_create(second, &there), RL_OK);
    x = take(BYTES);
    assert_int_equal(api->mem_alloc(second, RL_MEMORY_DEVICE, BYTES, &y), RL_OK);
    fill(stream, x, 1);
    add(stream, x, y, 1);
    expect_sticky(RL_DEVICE_MISMATCH, "map: input 0 is in a buffer of sim:1, the stream belongs to sim:0");
    assert_int_equal(api->event_create(device, &event), RL_OK); /* one device waits for the other */
    add(stream, x, x, 1);
    assert_int_equal(api->event_record(event, stream), RL_OK);
    assert_int_equal(api->stream_wait(there, event), RL_OK);
    fill(there, y, 8);
    expect(there, y, 8);
    assert_int_equal(api->event_done(event), 1);
    api->event_destroy(event);
    api->mem_free(device, x);
    api->mem_free(second, y);
    api->stream_destroy(there);
    api->device_close(second);
    close_sim();
    set("RUSHLIGHT_SIM_DEVICES", "0");
    assert_int_equal(api->init(), RL_OK);
    assert_int_equal(api->device_count(), 0);
    api->shutdown();
    set("RUSHLIGHT_SIM_DEVICES", NULL);
}

static void eager_begins_at_once(void **state) {
    (void)state;
    rl_backend_event *event;
    set("RUSHLIGHT_SIM_EAGER", "1");
    open_sim(NULL);
    rl_backend_buffer *x = take(BYTES);
    fill(stream, x, 1);
    for (int i = 0; i < 100; i++)
        add(stream, x, x, 1);
    assert_int_equal(api->event_create(device, &event), RL_OK);
    assert_int_equal(api->event_record(event, stream), RL_OK);
    assert_int_equal(api->event_sync(event), RL_OK);
    expect(stream, x, 101);
    api->event_destroy(event);
    api->mem_free(device, x);
    close_sim();
    set("RUSHLIGHT_SIM_EAGER", NULL);
}

static void named_calls_fail(void **state) {
    (void)state;
    rl_backend_buffer *x = NULL;
    open_sim("alloc:2");
    assert_int_equal(api->stream_create(device, &stream), RL_OK);
    api->mem_free(device, take(8));
    assert_int_equal(api->mem_alloc(device, RL_MEMORY_DEVICE, 8, &x), RL_OUT_OF_MEMORY);
    assert_string_equal(sentence, "mem_alloc: alloc number 2 fails, as RUSHLIGHT_SIM_FAIL asks");
    api->mem_free(device, take(8));
    close_sim();
    open_sim("launch:2+");
    assert_int_equal(api->stream_create(device, &stream), RL_OK);
    x = take(BYTES);
    add(stream, x, x, 1);
    assert_int_equal(add_at(stream, x, x, 1, N, 0), RL_INTERNAL);
    assert_int_equal(add_at(stream, x, x, 1, N, 0), RL_INTERNAL);
    api->mem_free(device, x);
    assert_int_equal(api->stream_sync(stream), RL_INVALID_ARGUMENT); /* the one that was taken */
    close_sim();
    open_sim("copy:1");
    assert_int_equal(api->stream_create(device, &stream), RL_OK);
    x = take(BYTES);
    assert_int_equal(api->copy_in(stream, x, 0, "", 1), RL_IO_ERROR);
    fill(stream, x, 1);
    expect(stream, x, 1);
    api->mem_free(device, x);
    close_sim();
    open_sim("sync:1");
    assert_int_equal(api->stream_create(device, &stream), RL_OK);
    assert_int_equal(api->stream_sync(stream), RL_INTERNAL);
    assert_int_equal(api->stream_sync(stream), RL_OK);
    close_sim();
}

static void lost_stays_lost(void **state) {
    (void)state;
    rl_backend_buffer *x, *y = NULL;
    rl_backend_event *event;
    open_sim("lost:3");
    assert_int_equal(api->stream_create(device, &stream), RL_OK);
    assert_int_equal(api->event_create(device, &event), RL_OK);
    x = take(BYTES);
    fill(stream, x, 1);
    assert_int_equal(api->event_record(event, stream), RL_OK);
    assert_int_equal(add_at(stream, x, x, 1, N, 0), RL_DEVICE_LOST);
    assert_int_equal(api->mem_alloc(device, RL_MEMORY_DEVICE, 1, &y), RL_DEVICE_LOST);
    assert_int_equal(api->stream_sync(stream), RL_DEVICE_LOST);
    assert_int_equal(api->event_sync(event), RL_DEVICE_LOST);
    assert_int_equal(api->event_done(event), 1);
    api->event_destroy(event);
    api->mem_free(device, x);
    close_sim();
    open_sim(NULL);
    x = take(BYTES);
    fill(stream, x, 1);
    expect(stream, x, 1);
    api->mem_free(device, x);
    close_sim();
}

static void other_hosts(void **state) {
    (void)state;
    rl_backend_query_fn query;
    const rl_backend *again = NULL;
    void *library = dlopen(SIM_PLUGIN, RTLD_NOW | RTLD_LOCAL);
    assert_non_null(library);
    *(void **)&query = dlsym(library, RL_BACKEND_QUERY_SYMBOL);
    assert_int_equal(query(RL_ABI_VERSION + 1, &host, &again), RL_ABI_MISMATCH);
    assert_null(again);
    dlclose(library);
}

int main(void) {
    void *library = dlopen(SIM_PLUGIN, RTLD_NOW | RTLD_LOCAL);
    rl_backend_query_fn query;
    if (!library) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    *(void **)&query = dlsym(library, RL_BACKEND_QUERY_SYMBOL);
    if (query(RL_ABI_VERSION, &host, &api) != RL_OK)
        return 1;
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(table_says_nothing_comes_free),
        TEST(work_waits_until_asked_for),
        TEST(events_order_streams),
        TEST(asking_starts_work),
        TEST(threads_have_streams),
        TEST(handles_are_no_addresses),
        TEST(use_after_free_sticks),
        TEST(outside_sticks),
        TEST(bad_index_sticks),
        TEST(empty_operands_need_no_buffer),
        cmocka_unit_test(leaks_are_told),
        cmocka_unit_test(memory_is_small),
        cmocka_unit_test(bad_variables_are_refused),
        cmocka_unit_test(devices_are_apart),
        cmocka_unit_test(eager_begins_at_once),
        cmocka_unit_test(named_calls_fail),
        cmocka_unit_test(lost_stays_lost),
        cmocka_unit_test(other_hosts),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    dlclose(library);
    return failed;
}
