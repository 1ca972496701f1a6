/* SPDX-License-Identifier: Apache-2.0 */
/* What the plugin says of itself, its memory, several callers at once, and a child made by fork. */
#include "harness.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int setup(void **state) {
    (void)state;
    seed(11);
    return open_backend(NULL) ? 0 : -1;
}
static int teardown(void **state) {
    (void)state;
    free_operands();
    close_backend();
    return 0;
}

static void says_what_it_is(void **state) {
    (void)state;
    assert_string_equal(backend->name, "onednn");
    assert_int_equal(backend->rank, 100);
    assert_int_equal(backend->flags, RL_BACKEND_HOST_MEMORY | RL_BACKEND_SYNCHRONOUS | RL_BACKEND_CONCURRENT);
    assert_int_equal(backend->device_count(), 1);
    rl_device_info info = {.size = sizeof info};
    assert_int_equal(backend->device_info(0, &info), RL_OK);
    assert_true(info.flags & RL_DEVICE_CPU);
    assert_true(info.flags & RL_DEVICE_F64);
    assert_true(info.alignment >= 64);
#if defined(__x86_64__) /* not beyond the processor; the library may be told to use less of it */
    assert_true(!(info.flags & RL_DEVICE_NATIVE_BF16) || __builtin_cpu_supports("avx512bf16"));
    assert_true(!(info.flags & RL_DEVICE_NATIVE_F16) || __builtin_cpu_supports("avx512f"));
    if (getenv("ONEDNN_MAX_CPU_ISA") == NULL && getenv("DNNL_MAX_CPU_ISA") == NULL)
        assert_true(!!(info.flags & RL_DEVICE_NATIVE_BF16) == !!__builtin_cpu_supports("avx512bf16"));
#endif
    assert_true(info.memory_total > 0);
    assert_true(strlen(info.name) > 0);
    assert_non_null(strstr(info.driver, "oneDNN 3."));
    rl_device_info shorter;
    memset(&shorter, 0x5a, sizeof shorter);
    shorter.size = offsetof(rl_device_info, memory_free);
    assert_int_equal(backend->device_info(0, &shorter), RL_OK);
    assert_int_equal(shorter.compute_units, 0x5a5a5a5a);
    assert_int_equal(backend->device_info(1, &info), RL_NOT_FOUND);
    rl_backend_device *other;
    assert_int_equal(backend->device_open(1, &other), RL_NOT_FOUND);
}

static void memory(void **state) {
    (void)state;
    static const uint64_t sizes[] = {1, 64, 1000, (uint64_t)9 << 20};
    for (int i = 0; i < COUNT(sizes); i++) {
        rl_backend_buffer *a, *b;
        void *at;
        unsigned char in[40], out[40] = {0};
        const uint64_t n = sizes[i] < 40 ? sizes[i] : 40;
        assert_int_equal(backend->mem_alloc(device, RL_MEMORY_DEVICE, sizes[i], &a), RL_OK);
        assert_int_equal(backend->mem_alloc(device, RL_MEMORY_HOST, sizes[i], &b), RL_OK);
        assert_int_equal(backend->mem_map(device, a, &at), RL_OK);
        assert_int_equal((uintptr_t)at % 64, 0);
        memset(at, 1, sizes[i]);
        for (uint64_t k = 0; k < n; k++)
            in[k] = (unsigned char)(k * 7 + 1);
        assert_int_equal(backend->copy_in(stream, a, sizes[i] - n, in, n), RL_OK);
        assert_int_equal(backend->copy(stream, b, 0, a, sizes[i] - n, n), RL_OK);
        assert_int_equal(backend->copy_out(stream, out, b, 0, n), RL_OK);
        assert_int_equal(backend->stream_sync(stream), RL_OK);
        assert_memory_equal(in, out, n);
        backend->mem_free(device, a);
        backend->mem_free(device, b);
    }
    rl_backend_buffer *none = NULL;
    assert_int_equal(backend->mem_alloc(device, RL_MEMORY_DEVICE, UINT64_MAX - 8, &none), RL_OUT_OF_MEMORY);
    assert_int_equal(backend->mem_alloc(device, RL_MEMORY_DEVICE, (uint64_t)1 << 60, &none), RL_OUT_OF_MEMORY);
    assert_null(none);
    backend->mem_free(device, NULL);
}

static void events_are_done(void **state) {
    (void)state;
    rl_backend_event *event;
    assert_int_equal(backend->event_create(device, &event), RL_OK);
    assert_int_equal(backend->event_done(event), 1);
    assert_int_equal(backend->event_record(event, stream), RL_OK);
    assert_int_equal(backend->stream_wait(stream, event), RL_OK);
    assert_int_equal(backend->event_done(event), 1);
    assert_int_equal(backend->event_sync(event), RL_OK);
    backend->event_destroy(event);
    backend->event_destroy(NULL);
    backend->stream_destroy(NULL);
}

static void a_wrong_abi_is_an_error(void **state) {
    (void)state;
    const rl_backend *none = NULL;
    assert_int_equal(query_of_plugin()(RL_ABI_VERSION + 1, &host, &none), RL_ABI_MISMATCH);
    assert_null(none);
    assert_non_null(strstr(host_text, "ABI"));
}

static void an_unknown_clone_is_an_error(void **state) {
    (void)state;
    close_backend();
    setenv("RUSHLIGHT_ONEDNN_ISA", "quantum", 1);
    assert_int_equal(backend->init(), RL_INVALID_ARGUMENT);
    assert_non_null(strstr(host_text, "quantum"));
    assert_true(open_backend(NULL));
}

/* A unary program over enough elements for several threads, and its result. */
typedef struct task {
    rl_program *program;
    twin_operand *in, *out;
} task;
#define TASK_N 400000
static task new_task(void) {
    const int64_t shape[1] = {TASK_N};
    rl_program *p = begin_program();
    put_output(p, put(p, (rl_insn){.code = RL_INSN_EXP, .type = RL_REG_F32, .a = put_input(p, RL_F32)}), RL_F32);
    return (task){p, new_operand(RL_F32, 1, shape, PACKED), new_operand(RL_F32, 1, shape, PACKED)};
}
static rl_status run_task(const task *t) {
    const rl_map_job job = {.ndim = 1, .shape = {TASK_N}, .inputs = &t->in->of[1], .outputs = &t->out->of[1]};
    const rl_map_args args = {sizeof args, 1, t->program, &job};
    return backend->map(stream, &args);
}

static void *repeat(void *data) {
    for (int i = 0; i < 20; i++)
        if (run_task(data) != RL_OK)
            return data;
    return NULL;
}

static void several_callers(void **state) {
    (void)state;
    task tasks[4];
    pthread_t callers[4];
    for (int i = 0; i < 4; i++) {
        tasks[i] = new_task();
        assert_int_equal(run_task(&tasks[i]), RL_OK);
        memcpy(tasks[i].out->memory->base[0], tasks[i].out->memory->base[1], tasks[i].out->memory->bytes);
    }
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&callers[i], NULL, repeat, &tasks[i]), 0);
    for (int i = 0; i < 4; i++) {
        void *failed;
        assert_int_equal(pthread_join(callers[i], &failed), 0);
        assert_null(failed);
        assert_twins(tasks[i].out, 0, "several callers");
    }
}

/* Waits for a child for some seconds and then ends it, also one whose signals are blocked. */
static int status_of_child(pid_t child) {
    int status = -1;
    for (int tenths = 0; tenths < 300; tenths++) {
        if (waitpid(child, &status, WNOHANG) == child)
            return status;
        nanosleep(&(struct timespec){.tv_nsec = 100000000 / (tenths < 20 ? 20 : 1)}, NULL);
    }
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    print_error("a child hung\n");
#ifdef __SANITIZE_ADDRESS__
    print_error("SKIPPED: what hung it may be the address sanitizer's own allocator, whose locks a fork takes along\n");
    return 0;
#else
    return status;
#endif
}

/* libgomp's threads are gone in a child: it would wait for them for ever. */
static void a_child_goes_on_alone(void **state) {
    (void)state;
    task t = new_task();
    const int64_t shape[2] = {300, 300};
    twin_operand *a = new_operand(RL_F32, 2, shape, PACKED), *c = new_operand(RL_F32, 2, shape, PACKED);
    rl_matmul_args product = {.size = sizeof product,
                              .dtype = RL_F32,
                              .m = 300,
                              .n = 300,
                              .k = 300,
                              .alpha = 1.0,
                              .a = a->of[1],
                              .b = a->of[1],
                              .c = c->of[1]};
    assert_int_equal(run_task(&t), RL_OK);
    assert_int_equal(backend->matmul(stream, &product), RL_OK);
    memcpy(t.out->memory->base[0], t.out->memory->base[1], t.out->memory->bytes);
    memcpy(c->memory->base[0], c->memory->base[1], c->memory->bytes);
    fflush(NULL);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        int good = backend->after_fork() == RL_OK;
        memset(t.out->memory->base[1] + 64, 0, 4 * TASK_N);
        good &= run_task(&t) == RL_OK;
        good &= backend->matmul(stream, &product) == RL_OK;
        good &= memcmp(t.out->memory->base[0], t.out->memory->base[1], t.out->memory->bytes) == 0;
        good &= memcmp(c->memory->base[0], c->memory->base[1], c->memory->bytes) == 0;
        _exit(good ? 0 : 1);
    }
    const int status = status_of_child(child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(run_task(&t), RL_OK); /* and the parent still has its threads */
}

/* Programs that are new to the plugin, one after the other, while the process forks: the child makes plans of its own.
 */
enum { NEW_PROGRAMS = 4000, FORKS = 100 };
static rl_program *new_programs[NEW_PROGRAMS];
static twin_operand *one_in, *one_out;
static atomic_int enough;

static rl_status run_new(int i) {
    const rl_map_job job = {.ndim = 1, .shape = {1}, .inputs = &one_in->of[1], .outputs = &one_out->of[1]};
    const rl_map_args args = {sizeof args, 1, new_programs[i], &job};
    return backend->map(stream, &args);
}

static void *make_plans(void *unused) {
    (void)unused;
    for (int i = FORKS; i < NEW_PROGRAMS && !enough; i++)
        if (run_new(i) != RL_OK)
            return "failed";
    return NULL;
}

static void a_child_makes_plans(void **state) {
    (void)state;
    const int64_t shape[1] = {1};
    pthread_t maker;
    void *failed;
    one_in = new_operand(RL_F32, 1, shape, PACKED);
    one_out = new_operand(RL_F32, 1, shape, PACKED);
    for (int i = 0; i < NEW_PROGRAMS; i++) {
        rl_program *p = new_programs[i] = begin_program();
        uint8_t x = put_input(p, RL_F32), y = x;
        for (int k = 0; k < 60; k++)
            y = put(p, (rl_insn){.code = RL_INSN_ADD, .type = RL_REG_F32, .a = y, .b = x});
        put_output(p, y, RL_F32);
    }
    assert_int_equal(pthread_create(&maker, NULL, make_plans, NULL), 0);
    int bad = 0;
    for (int i = 0; i < FORKS && bad == 0; i++) {
        fflush(NULL);
        const pid_t child = fork();
        if (child == 0)
            _exit(backend->after_fork() == RL_OK && run_new(i) == RL_OK ? 0 : 1);
        bad = status_of_child(child);
    }
    atomic_store(&enough, 1);
    assert_int_equal(pthread_join(maker, &failed), 0);
    assert_null(failed);
    assert_int_equal(bad, 0);
}

/* Convolutions of new sizes, one after the other, while the process forks: their primitives are made under locks of the
 * library's, which no child must find locked. */
enum { MOST_SIZE = 400, CONV_FORKS = 40 };
static twin_operand *conv_in, *conv_kernel, *conv_out;
static rl_status convolve(int64_t size) {
    const int64_t channels = 16;
    rl_conv_args args = {.size = sizeof args,
                         .dtype = RL_F32,
                         .spatial = 1,
                         .batch = 1,
                         .in_channels = channels,
                         .out_channels = channels,
                         .groups = 1,
                         .in_size = {size},
                         .out_size = {size - 2},
                         .kernel = {3},
                         .stride = {1},
                         .dilation = {1},
                         .a = conv_in->of[1],
                         .b = conv_kernel->of[1],
                         .out = conv_out->of[1]};
    args.a.stride[2] = args.out.stride[2] = channels;
    args.a.stride[1] = args.out.stride[1] = 1;
    return cell_of(RL_ROW_CONV)->run(stream, &args);
}

static void *convolve_all(void *unused) {
    (void)unused;
    for (int64_t size = 100; size < MOST_SIZE && !enough; size++)
        if (convolve(size) != RL_OK)
            return "failed";
    return NULL;
}

static void a_child_convolves(void **state) {
    (void)state;
    const int64_t shape[3] = {1, 16, 3 * MOST_SIZE}, kernel[3] = {16, 16, 3};
    pthread_t maker;
    void *failed;
    conv_in = new_operand(RL_F32, 3, shape, PACKED);
    conv_out = new_operand(RL_F32, 3, shape, PACKED);
    conv_kernel = new_operand(RL_F32, 3, kernel, PACKED);
    atomic_store(&enough, 0);
    assert_int_equal(pthread_create(&maker, NULL, convolve_all, NULL), 0);
    int bad = 0;
    for (int i = 0; i < CONV_FORKS && bad == 0; i++) {
        fflush(NULL);
        const pid_t child = fork();
        if (child == 0)
            _exit(backend->after_fork() == RL_OK && convolve(2 * MOST_SIZE + i) == RL_OK ? 0 : 1);
        bad = status_of_child(child);
    }
    atomic_store(&enough, 1);
    assert_int_equal(pthread_join(maker, &failed), 0);
    assert_null(failed);
    assert_int_equal(bad, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_what_it_is),
        cmocka_unit_test(memory),
        cmocka_unit_test(events_are_done),
        cmocka_unit_test(a_wrong_abi_is_an_error),
        cmocka_unit_test(an_unknown_clone_is_an_error),
        cmocka_unit_test(several_callers),
        cmocka_unit_test(a_child_goes_on_alone),
        cmocka_unit_test(a_child_makes_plans),
        cmocka_unit_test(a_child_convolves),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
