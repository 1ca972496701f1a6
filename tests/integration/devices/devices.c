/* SPDX-License-Identifier: Apache-2.0 */
/* Several devices in one program: copies, foreign memory, streams, errors that come late, and lives of the library. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rushlight/rushlight.h"

#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))

static int start(void **state) {
    (void)state;
    setenv("RUSHLIGHT_SIM_DEVICES", "2", 1);
    unsetenv("RUSHLIGHT_SIM_FAIL");
    unsetenv("RUSHLIGHT_SIM_MEMORY");
    return 0;
}

static int stop(void **state) {
    (void)state;
    rl_error_clear();
    rl_shutdown();
    return 0;
}

static rl_device *device(const char *name) {
    rl_device *found = rl_device_get(name);
    if (found == NULL)
        fail_msg("%s", rl_error_text());
    return found;
}

static void no_error(void) {
    if (rl_failed())
        fail_msg("%s", rl_error_text());
}

static void expect(rl_status status, const char *words) {
    if (rl_error_status() != status || strstr(rl_error_text(), words) == NULL)
        fail_msg("%d \"%s\", expected %d \"%s\"", rl_error_status(), rl_error_text(), status, words);
    rl_error_clear();
}

static uint64_t sequence = 1;
static int64_t any(int64_t n) {
    sequence = sequence * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (int64_t)((sequence >> 33) % (uint64_t)n);
}

/* Copies ----------------------------------------------------------------------------------------------------------- */

static const char *const names[] = {"ref", "sim:0", "sim:1", "onednn"};
static int n_names(void) {
    rl_device *all[16];
    size_t n = rl_device_list(all, COUNT(all));
    for (size_t i = 0; i < n; i++) {
        if (strcmp(rl_device_name(all[i]), "onednn:0") == 0)
            return COUNT(names);
    }
    return COUNT(names) - 1;
}

/* A 3-dimensional view of a tensor with these elements, small integers, cut and turned somehow; its elements,
 * row-major, go to `values`. */
static rl_tensor *any_view(rl_device *on, rl_dtype dtype, double *values) {
    int64_t shape[] = {any(4), 1 + any(4), 1 + any(5)};
    double all[4 * 4 * 5];
    for (int i = 0; i < COUNT(all); i++)
        all[i] = dtype == RL_BOOL ? (double)any(2) : (double)any(100);
    rl_tensor *view = rl_to(rl_tensor_from_data(all, (rl_ints){shape, 3}, RL_F64, device("ref")), .dtype = dtype);
    view = rl_to(view, .device = on);
    switch (any(4)) {
    case 0:
        view = rl_transpose(view, any(3), any(3));
        break;
    case 1:
        view = rl_narrow(view, 1, shape[1] - 1, 1);
        break;
    case 2:
        view = rl_expand(rl_narrow(view, 2, 0, 1), RL_DIMS(-1, -1, 3));
        break;
    default:
        break;
    }
    assert_int_equal(rl_tensor_read(rl_to(view, .dtype = RL_F64, .device = device("ref")), values,
                                    (size_t)rl_tensor_numel(view) * sizeof *values),
                     RL_OK);
    return view;
}

static void has(rl_tensor *self, const double *values) {
    double got[4 * 4 * 5];
    assert_int_equal(rl_tensor_read(rl_to(self, .dtype = RL_F64), got, (size_t)rl_tensor_numel(self) * sizeof *got),
                     RL_OK);
    for (int64_t i = 0; i < rl_tensor_numel(self); i++)
        assert_true(got[i] == values[i]);
}

static void tensors_move_between_devices(void **state) {
    (void)state;
    int n = n_names();
    for (int round = 0; round < 600; round++) {
        RL_SCOPE();
        rl_dtype dtype = (rl_dtype)(1 + any(RL_DTYPE_COUNT - 1));
        rl_device *from = device(names[any(n)]), *to = device(names[any(n)]);
        double values[4 * 4 * 5];
        rl_tensor *view = any_view(from, dtype, values), *moved = rl_to(view, .device = to);
        no_error();
        assert_ptr_equal(rl_tensor_device(moved), to);
        assert_int_equal(rl_tensor_dtype(moved), dtype);
        has(moved, values);
        /* And into a view that lies there, with another dtype. */
        const int64_t *shape = rl_tensor_shape(view);
        rl_tensor *room = rl_zeros(RL_DIMS(shape[2] + 1, shape[0] + 1, shape[1]), .dtype = RL_F64, .device = to);
        rl_tensor *target = rl_permute(rl_narrow(rl_narrow(room, 0, 1, shape[2]), 1, 0, shape[0]), RL_DIMS(1, 2, 0));
        rl_copy_(target, view);
        no_error();
        has(target, values);
        double sum = 0;
        for (int64_t i = 0; i < rl_tensor_numel(view); i++)
            sum += values[i];
        assert_true(rl_item(rl_sum(room)) == sum); /* and nothing beside it */
    }
}

/* Larger than a piece of the way through the host's memory. */
static void much_moves_between_accelerators(void **state) {
    (void)state;
    RL_SCOPE();
    enum { MANY = (5 << 20) / 4 * 3 + 7 };
    rl_tensor *a = rl_arange(MANY, .dtype = RL_I32, .device = device("sim:0"));
    rl_tensor *b = rl_to(a, .device = device("sim:1"));
    int32_t *got = malloc(sizeof *got * MANY);
    assert_int_equal(rl_tensor_read(b, got, sizeof *got * MANY), RL_OK);
    for (int32_t i = 0; i < MANY; i++)
        assert_true(got[i] == i);
    free(got);
}

static void copies_are_counted(void **state) {
    (void)state;
    RL_SCOPE();
    rl_memory_stats before = {.struct_size = sizeof before}, after = before;
    rl_memory_stats unset = {0};
    rl_tensor *x = rl_ones(RL_DIMS(1000), .device = device("ref"));
    rl_memory_stats_get(device("sim"), &unset);
    expect(RL_INVALID_ARGUMENT, "memory_stats_get: struct_size of the struct to be filled is 0; it must be set");
    rl_memory_stats_get(device("sim"), NULL);
    expect(RL_INVALID_ARGUMENT, "memory_stats_get: the struct to be filled is NULL");
    assert_int_equal(rl_memory_stats_get(device("sim"), &before), RL_OK);
    rl_to(rl_to(x, .device = device("sim")), .device = device("ref"));
    assert_int_equal(rl_memory_stats_get(device("sim"), &after), RL_OK);
    assert_int_equal(after.bytes_in - before.bytes_in, 4000);
    assert_int_equal(after.bytes_out - before.bytes_out, 4000);
    assert_int_equal(after.allocated - before.allocated, 4096);
}

static void devices_do_not_mix(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *x = rl_ones(RL_DIMS(3), .device = device("ref")), *y = rl_ones(RL_DIMS(3), .device = device("sim:1"));
    rl_add(x, y);
    expect(RL_DEVICE_MISMATCH, "add: ");
    assert_null(rl_tensor_data(y));
    expect(RL_DEVICE_MISMATCH, "tensor_data: self is on sim:1, whose memory the host cannot see");
}

/* Foreign memory --------------------------------------------------------------------------------------------------- */

static int destroyed;
static void destroy(void *context) {
    assert_ptr_equal(context, &destroyed);
    destroyed++;
}

static void foreign_memory_is_given_back_once(void **state) {
    (void)state;
    float numbers[6] = {1, 2, 3, 4, 5, 6};
    const char *hosts[] = {"ref", "onednn"};
    for (int i = 0; i < n_names() - 2; i++) {
        rl_tensor *kept;
        int sign = i % 2 ? 1 : -1; /* each device turns the numbers over once */
        destroyed = 0;
        {
            RL_SCOPE();
            rl_tensor *x =
                rl_tensor_wrap(numbers, RL_DIMS(2, 3), (rl_ints){0}, RL_F32, device(hosts[i]), destroy, &destroyed);
            no_error();
            kept = rl_retain(rl_select(x, 1, 2));
            rl_mul_(x, -1);
            rl_synchronize(device(hosts[i]));
            assert_true(numbers[5] == 6 * sign);
        }
        assert_int_equal(destroyed, 0); /* a view holds it */
        assert_true(rl_item(rl_sum(kept)) == 9 * sign);
        rl_release(kept);
        assert_int_equal(destroyed, 1);
        for (int j = 0; j < COUNT(numbers); j++)
            assert_true(numbers[j] == sign * (j + 1));
    }
}

static void refused_memory_is_given_back_too(void **state) {
    (void)state;
    RL_SCOPE();
    float numbers[6] = {0};
    destroyed = 0;
    assert_null(rl_tensor_wrap(numbers, RL_DIMS(-1), (rl_ints){0}, RL_F32, NULL, destroy, &destroyed));
    expect(RL_INVALID_ARGUMENT, "tensor_wrap");
    assert_null(rl_tensor_wrap(numbers, RL_DIMS(6), (rl_ints){0}, RL_DTYPE_NONE, NULL, destroy, &destroyed));
    expect(RL_INVALID_ARGUMENT, "tensor_wrap");
    assert_null(rl_tensor_wrap(NULL, RL_DIMS(6), (rl_ints){0}, RL_F32, NULL, destroy, &destroyed));
    expect(RL_INVALID_ARGUMENT, "tensor_wrap");
    assert_null(rl_tensor_wrap(numbers, RL_DIMS(6), (rl_ints){0}, RL_F32, device("sim"), destroy, &destroyed));
    assert_true(rl_failed());
    assert_null(
        rl_tensor_wrap(numbers, RL_DIMS(6), (rl_ints){0}, RL_F32, NULL, destroy, &destroyed)); /* failed before */
    rl_error_clear();
    assert_int_equal(destroyed, 5);
}

/* Streams ---------------------------------------------------------------------------------------------------------- */

enum { STREAMS = 3, TENSORS = 6, STEPS = 200 };

/* Any order of work on any stream, with an event wherever a result goes from stream to stream: as without streams. */
static void events_order_work(void **state) {
    (void)state;
    for (int i = 0; i < n_names(); i++) {
        RL_SCOPE();
        rl_device *on = device(names[i]);
        rl_stream *streams[STREAMS];
        rl_event *ready[TENSORS];
        rl_tensor *tensors[TENSORS];
        double model[TENSORS];
        for (int s = 0; s < STREAMS; s++)
            streams[s] = rl_stream_new(on);
        for (int t = 0; t < TENSORS; t++) {
            ready[t] = rl_event_new(on);
            tensors[t] = rl_full(RL_DIMS(1000), t, .dtype = RL_F64, .device = on);
            rl_event_record(ready[t], NULL);
            model[t] = t;
        }
        for (int step = 0; step < STEPS; step++) {
            int a = (int)any(TENSORS), b = (int)any(TENSORS), to = (int)any(TENSORS), s = (int)any(STREAMS);
            rl_stream_use(NULL, streams[s]);
            rl_stream_wait_event(streams[s], ready[a]);
            rl_stream_wait_event(streams[s], ready[b]);
            tensors[to] = rl_sub(rl_mul(tensors[a], 0.5), tensors[b]); /* what it replaces lives on in the scope */
            rl_event_record(ready[to], NULL);
            model[to] = model[a] * 0.5 - model[b];
        }
        for (int t = 0; t < TENSORS; t++) {
            rl_event_synchronize(ready[t]);
            assert_true(rl_event_done(ready[t]));
            rl_tensor *first = rl_select(tensors[t], 0, 0), *last = rl_select(tensors[t], 0, 999);
            assert_true(rl_item(first) == model[t] && rl_item(last) == model[t]);
        }
        assert_int_equal(rl_stream_use(on, NULL), RL_OK);
        assert_int_equal(rl_synchronize(on), RL_OK);
    }
}

/* Memory that another stream used is not given out too early. */
static void freed_memory_waits_for_its_readers(void **state) {
    (void)state;
    for (int i = 0; i < n_names(); i++) {
        RL_SCOPE();
        rl_device *on = device(names[i]);
        rl_stream *reader = rl_stream_new(on);
        rl_event *ready = rl_event_new(on);
        rl_tensor *sum = rl_zeros(RL_DIMS(500), .dtype = RL_F64, .device = on);
        rl_synchronize(on);
        for (int step = 0; step < 100; step++) {
            RL_SCOPE();
            rl_tensor *x = rl_full(RL_DIMS(500), step, .dtype = RL_F64, .device = on);
            rl_event_record(ready, NULL);
            rl_stream_use(NULL, reader);
            rl_stream_wait_event(reader, ready);
            rl_add_(sum, x);
            rl_stream_use(on, NULL);
        } /* x is freed here, perhaps before it was read */
        assert_int_equal(rl_stream_synchronize(reader), RL_OK);
        assert_true(rl_item(rl_select(sum, 0, 0)) == 4950 && rl_item(rl_select(sum, 0, 499)) == 4950);
    }
}

static void wrong_streams_are_refused(void **state) {
    (void)state;
    RL_SCOPE();
    rl_stream *stream = rl_stream_new(device("sim:0"));
    rl_event *event = rl_event_new(device("sim:1"));
    assert_true(rl_event_done(event)); /* nothing was marked */
    rl_event_record(event, stream);
    expect(RL_DEVICE_MISMATCH, "event_record: the event is on sim:1, the stream on sim:0");
    rl_stream_use(device("sim:1"), stream);
    expect(RL_DEVICE_MISMATCH, "stream_use: the stream is not on sim:1");
    rl_stream_use(NULL, NULL);
    expect(RL_INVALID_ARGUMENT, "stream_use: device and stream are NULL");
    rl_stream_synchronize(NULL);
    expect(RL_INVALID_ARGUMENT, "stream_synchronize: self is NULL");
    rl_retain(stream);
    rl_retain(event);
    rl_shutdown();
    rl_stream_use(NULL, stream);
    expect(RL_INVALID_ARGUMENT, "stream_use: the stream's device was closed");
    rl_event_synchronize(event);
    expect(RL_INVALID_ARGUMENT, "event_synchronize: the event's device was closed");
    rl_release(stream);
    rl_release(event);
}

/* Threads, each with a stream of its own, and one that they share. */
static void *work(void *name) {
    RL_SCOPE();
    rl_device *on = rl_device_get(name);
    rl_stream *stream = rl_stream_new(on);
    static atomic_int turn; /* every other thread shares the default stream */
    if (atomic_fetch_add(&turn, 1) % 2)
        rl_stream_use(NULL, stream);
    rl_tensor *x = rl_ones(RL_DIMS(8, 8), .device = on);
    for (int i = 0; i < 30; i++) {
        RL_SCOPE();
        rl_tensor *y = rl_sub(rl_div(rl_matmul(x, x), 8), rl_sum(rl_zeros(RL_DIMS(i % 3, 2), .device = on)));
        rl_copy_(x, y);
        if (i % 10 == 0)
            rl_to(y, .device = rl_device_get("ref"));
        if (i % 7 == 0)
            rl_synchronize(on);
    }
    bool right = rl_item(rl_sum(x)) == 64;
    if (rl_failed())
        fprintf(stderr, "%s\n", rl_error_text());
    return right && !rl_failed() ? NULL : "wrong";
}

static void threads_compute_on_one_device(void **state) {
    (void)state;
    enum { THREADS = 4 };
    const char *on[] = {"sim:0", "ref"}; /* OpenMP's own threads are unknown to the thread sanitizer */
    for (int i = 0; i < COUNT(on); i++) {
        pthread_t threads[THREADS];
        for (int t = 0; t < THREADS; t++)
            assert_int_equal(pthread_create(&threads[t], NULL, work, (void *)(uintptr_t)on[i]), 0);
        for (int t = 0; t < THREADS; t++) {
            void *result;
            pthread_join(threads[t], &result);
            assert_null(result);
        }
    }
}

/* Errors that come late -------------------------------------------------------------------------------------------- */

static void late_errors_are_told_once(void **state) {
    (void)state;
    RL_SCOPE();
    rl_device *on = device("sim");
    rl_tensor *x = rl_arange(5, .dtype = RL_F32, .device = on);
    rl_tensor *index = rl_tensor_from_data((const int64_t[]){1, 7}, RL_DIMS(2), RL_I64, on);
    rl_tensor *y = rl_index_select(x, 0, index); /* 7 is out of range: found when the work is done */
    if (!rl_failed()) {
        rl_add_(y, 1);
        no_error();
        rl_synchronize(on);
    }
    expect(RL_INDEX_OUT_OF_RANGE, "synchronize: on sim:0: gather: index 7 is out of range for size 5");
    assert_int_equal(rl_synchronize(on), RL_OK); /* told once */
    assert_true(rl_item(rl_sum(x)) == 10);       /* and the device goes on */
}

static rl_tensor *a_step(rl_device *on) {
    rl_tensor *w = rl_requires_grad(rl_full(RL_DIMS(4, 4), 0.5, .dtype = RL_F32, .device = on), true);
    rl_tensor *x = rl_tensor_from_data((const float[]){1, 2, 3, 4}, RL_DIMS(1, 4), RL_F32, on);
    rl_tensor *loss = rl_mean(rl_pow(rl_softmax(rl_matmul(x, w), -1), 2));
    rl_backward(loss);
    RL_NO_GRAD();
    return rl_sum(rl_add(w, rl_grad(w)));
}

/* Wherever the device fails, once or from then on: an error with a sentence, and the next life is well. */
static void failures_are_errors(void **state) {
    (void)state;
    static const char *const kinds[] = {"alloc", "copy", "launch", "sync", "lost"};
    setenv("RUSHLIGHT_SIM_DEVICES", "1", 1);
    int failed = 0;
    for (int k = 0; k < COUNT(kinds); k++) {
        for (int n = 1; n <= 25; n++) {
            for (int onward = 0; onward < 2; onward++) {
                char what[32];
                snprintf(what, sizeof what, "%s:%d%s", kinds[k], n, onward ? "+" : "");
                setenv("RUSHLIGHT_SIM_FAIL", what, 1);
                {
                    RL_SCOPE();
                    rl_device *on = rl_device_get("sim");
                    double sum = on ? rl_item(a_step(on)) : 0;
                    if (rl_failed()) {
                        failed++;
                        assert_true(strlen(rl_error_text()) > 10);
                    } else if (!(sum > 7 && sum < 9)) {
                        fail_msg("%s: no error, and the result is %g", what, sum);
                    }
                }
                rl_error_clear();
                rl_shutdown();
            }
        }
    }
    unsetenv("RUSHLIGHT_SIM_FAIL");
    assert_true(failed > 100);
    RL_SCOPE();
    double sum = rl_item(a_step(device("sim")));
    no_error();
    assert_true(sum > 7 && sum < 9);
}

static void small_memory_is_told(void **state) {
    (void)state;
    setenv("RUSHLIGHT_SIM_MEMORY", "1M", 1);
    RL_SCOPE();
    rl_device *on = device("sim");
    rl_tensor *half = rl_zeros(RL_DIMS(1 << 17), .device = on);
    for (int i = 0; i < 5; i++) {
        RL_SCOPE();
        rl_zeros(RL_DIMS(1 << (12 + i)), .device = on); /* into the cache */
    }
    assert_null(rl_zeros(RL_DIMS(1 << 18), .device = on));
    expect(RL_OUT_OF_MEMORY, "out of memory on sim:0: 1048576 bytes asked for; 524288 are in use by tensors");
    rl_tensor *rest = rl_zeros(RL_DIMS(60000), .device = on);
    no_error();
    assert_true(rl_item(rl_sum(rl_narrow(half, 0, 0, 10))) == 0 && rl_tensor_numel(rest) == 60000);
}

/* Lives ------------------------------------------------------------------------------------------------------------ */

static void tensors_outlive_the_library(void **state) {
    (void)state;
    float numbers[4] = {1, 2, 3, 4}, got[4];
    for (int i = 0; i < n_names(); i++) {
        rl_tensor *kept = rl_retain(rl_tensor_from_data(numbers, RL_DIMS(4), RL_F32, device(names[i])));
        rl_shutdown();
        assert_int_equal(rl_tensor_numel(kept), 4);
        rl_release(kept); /* "valid only to be released" */
        RL_SCOPE();
        rl_tensor *next = rl_tensor_from_data(numbers, RL_DIMS(4), RL_F32, device(names[i]));
        assert_int_equal(rl_tensor_read(next, got, sizeof got), RL_OK);
        assert_memory_equal(got, numbers, sizeof got);
    }
}

/* A child of a fork goes on with the devices that can, and the others say that they cannot; both of them end. */
static int child(rl_tensor *const *tensors, int n) {
    for (int i = 0; i < n; i++) {
        double sum = rl_item(rl_sum(tensors[i]));
        bool goes_on = strncmp(names[i], "sim", 3) != 0;
        if (goes_on ? rl_failed() || sum != 10
                    : rl_error_status() != RL_DEVICE_LOST || !strstr(rl_error_text(), "in a process made by fork")) {
            fprintf(stderr, "in the child, on %s: %g %s\n", names[i], sum, rl_error_text());
            return 1;
        }
        rl_error_clear();
    }
    rl_device_get("sim:1"); /* not opened before the fork */
    bool refused = rl_error_status() == RL_DEVICE_LOST;
    rl_error_clear();
    rl_shutdown();
    return refused ? 0 : 2;
}

static void forks_go_on(void **state) {
    (void)state;
    RL_SCOPE();
    rl_tensor *tensors[COUNT(names)];
    int n = n_names(), status;
    for (int i = 0; i < n; i++)
        tensors[i] =
            rl_arange(5, .dtype = RL_F32, .device = device(strcmp(names[i], "sim:1") == 0 ? "sim:0" : names[i]));
    rl_synchronize(device("sim"));
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(child(tensors, n));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    for (int i = 0; i < n; i++)
        assert_true(rl_item(rl_sum(tensors[i])) == 10); /* nothing happened to the parent */
}

/* A stream that was chosen in one life is not that of the next. */
static void choices_end_with_a_life(void **state) {
    (void)state;
    for (int i = 0; i < 20; i++) {
        RL_SCOPE();
        rl_device *on = device("sim");
        rl_stream_use(NULL, rl_stream_new(on));
        assert_true(rl_item(rl_sum(rl_ones(RL_DIMS(100), .device = on))) == 100);
        if (i % 3)
            rl_shutdown();
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void) {
    const struct CMUnitTest tests[] = {TEST(tensors_move_between_devices),
                                       TEST(much_moves_between_accelerators),
                                       TEST(copies_are_counted),
                                       TEST(devices_do_not_mix),
                                       TEST(foreign_memory_is_given_back_once),
                                       TEST(refused_memory_is_given_back_too),
                                       TEST(events_order_work),
                                       TEST(freed_memory_waits_for_its_readers),
                                       TEST(wrong_streams_are_refused),
                                       TEST(threads_compute_on_one_device),
                                       TEST(late_errors_are_told_once),
                                       TEST(failures_are_errors),
                                       TEST(small_memory_is_told),
                                       TEST(tensors_outlive_the_library),
                                       TEST(forks_go_on),
                                       TEST(choices_end_with_a_life)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
