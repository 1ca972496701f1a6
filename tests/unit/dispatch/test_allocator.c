/* SPDX-License-Identifier: Apache-2.0 */
/* The caching allocator: against a model, at the end of its memory, with threads. */
#include "stage.h"

#include "../support/cmocka_support.h"

#include <stdlib.h>
#include <string.h>

#define ALLOCATOR stage_device.allocator

static rl_memory_stats stats(void) {
    rl_memory_stats got;
    rl_allocator_stats(ALLOCATOR, &got);
    return got;
}

static rl_block *take(uint64_t bytes) {
    rl_block *block = rl_allocator_take(ALLOCATOR, bytes);
    assert_non_null(block);
    assert_true(rl_block_buffer(block)->bytes >= bytes);
    return block;
}

static rl_backend_buffer *take_and_give(uint64_t bytes) {
    rl_block *block = take(bytes);
    rl_backend_buffer *buffer = rl_block_buffer(block);
    rl_allocator_give(block);
    return buffer;
}

static uint64_t sequence = 1;
static uint64_t any(uint64_t n) {
    sequence = sequence * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (sequence >> 33) % n;
}

static int close_stage(void **state) {
    (void)state;
    rl_error_clear();
    stage_close();
    rl_shutdown();
    return 0;
}

static void expect_error(rl_status status, const char *sentence) {
    if (rl_error_status() != status || strcmp(rl_error_text(), sentence) != 0)
        fail_msg("\"%s\", expected \"%s\"", rl_error_text(), sentence);
    rl_error_clear();
}

/* Sizes and the cache ---------------------------------------------------------------------------------------------- */

static void at_most_an_eighth_is_wasted(void **state) {
    (void)state;
    stage_open(UINT64_MAX, 0);
    for (uint64_t bytes = 1; bytes < (uint64_t)1 << 40; bytes += 1 + bytes / 61) {
        for (uint64_t n = bytes > 2 ? bytes - 1 : 1; n <= bytes + 1; n++) {
            rl_block *block = take(n);
            uint64_t has = rl_block_buffer(block)->bytes;
            assert_true(has <= 64 || has - n <= n / 8 + 1);
            assert_int_equal(has % 8, 0);
            rl_allocator_give(block);
        }
    }
}

static void a_block_is_used_again(void **state) {
    (void)state;
    stage_open((uint64_t)1 << 30, 0);
    static const uint64_t sizes[] = {1, 64, 65, 100, 4096, 65536, 65537, 1 << 20, (1 << 20) + 1};
    for (int i = 0; i < COUNT(sizes); i++) {
        rl_backend_buffer *first = take_and_give(sizes[i]);
        int allocations = stage.allocations;
        for (int j = 0; j < 3; j++)
            assert_ptr_equal(take_and_give(sizes[i]), first);
        assert_int_equal(stage.allocations, allocations);
    }
    assert_int_equal(stats().allocated, 0);
    assert_int_equal(stats().reserved, stage.in_use);
    rl_allocator_flush(ALLOCATOR);
    assert_int_equal(stats().reserved, 0);
    assert_int_equal(stage.buffers, 0);
    assert_int_equal(stats().flushes, 0); /* asked for, not for lack of memory */
}

static void statistics_are_exact(void **state) {
    (void)state;
    stage_open((uint64_t)1 << 30, 0);
    rl_block *a = take(1000), *b = take(64);
    rl_memory_stats now = stats();
    assert_int_equal(now.allocated, 1024 + 64);
    assert_int_equal(now.allocated_peak, 1024 + 64);
    assert_int_equal(now.reserved, 1024 + 64);
    rl_allocator_give(a);
    now = stats();
    assert_int_equal(now.allocated, 64);
    assert_int_equal(now.allocated_peak, 1024 + 64);
    assert_int_equal(now.reserved, 1024 + 64);
    rl_allocator_flush(ALLOCATOR);
    rl_allocator_reset_peak(ALLOCATOR);
    rl_allocator_give(take(64));
    now = stats();
    assert_int_equal(now.allocated_peak, 128);
    assert_int_equal(now.reserved, 128);
    assert_int_equal(now.reserved_peak, 128);
    assert_int_equal(now.allocations, 3);
    assert_int_equal(now.backend_allocations, 3);
    rl_allocator_count_copy(ALLOCATOR, 5, 7);
    rl_allocator_count_copy(ALLOCATOR, 10, 0);
    now = stats();
    assert_int_equal(now.bytes_in, 15);
    assert_int_equal(now.bytes_out, 7);
    rl_allocator_give(b);
}

/* The end of memory ------------------------------------------------------------------------------------------------ */

static void the_cache_is_given_back_for_lack_of_memory(void **state) {
    (void)state;
    stage_open(1 << 20, 0);
    rl_block *held = take(1 << 18);
    for (int i = 0; i < 3; i++)
        take_and_give((uint64_t)(i + 1) << 16); /* 64, 128 and 192 KiB lie in the cache */
    rl_block *large = take(3 << 18);
    assert_int_equal(stats().flushes, 1);
    assert_int_equal(stats().reserved, 1 << 20);
    assert_null(rl_allocator_take(ALLOCATOR, 5000));
    expect_error(RL_OUT_OF_MEMORY, "out of memory on stage:0: 5000 bytes asked for; 1048576 are in use by tensors, "
                                   "1048576 reserved, the device has 1048576; the stage is full");
    rl_allocator_give(large);
    assert_non_null(large = rl_allocator_take(ALLOCATOR, 5000)); /* and goes on */
    rl_allocator_give(large);
    rl_allocator_give(held);
}

static void no_size_is_too_large_to_ask_for(void **state) {
    (void)state;
    stage_open(1 << 20, 0);
    for (int bits = 21; bits < 64; bits++) {
        assert_null(rl_allocator_take(ALLOCATOR, ((uint64_t)1 << bits) + any(1000)));
        assert_int_equal(rl_error_status(), RL_OUT_OF_MEMORY);
        rl_error_clear();
    }
    assert_null(rl_allocator_take(ALLOCATOR, UINT64_MAX));
    assert_int_equal(rl_error_status(), RL_OUT_OF_MEMORY);
    rl_error_clear();
    assert_int_equal(stats().reserved, 0);
    assert_int_equal(stats().allocated, 0);
}

static void the_limit_holds(void **state) {
    (void)state;
    setenv("RUSHLIGHT_MEMORY_LIMIT", "100000", 1);
    stage_open(1 << 20, 0);
    unsetenv("RUSHLIGHT_MEMORY_LIMIT");
    rl_block *held = take(65536);
    assert_null(rl_allocator_take(ALLOCATOR, 40000));
    expect_error(RL_OUT_OF_MEMORY, "out of memory on stage:0: 40000 bytes asked for; 65536 are in use by tensors, "
                                   "65536 reserved, RUSHLIGHT_MEMORY_LIMIT is 100000, the device has 1048576");
    take_and_give(20000);
    take_and_give(30000); /* the cached block makes room for it */
    assert_int_equal(stats().flushes, 2);
    assert_true(stats().reserved_peak <= 100000);
    rl_allocator_give(held);
}

/* Each of our own allocations fails, once and from then on: an error or a block, and nothing is lost. */
static void own_allocations_fail(void **state) {
    (void)state;
    for (int onward = 0; onward < 2; onward++) {
        for (uint64_t n = 1; n < 12; n++) {
            stage_open(1 << 20, 0);
            rl_alloc_fail_at(n, onward);
            rl_block *blocks[4];
            rl_stream *stream = rl_stream_new(&stage_device);
            for (int i = 0; i < 4; i++) {
                rl_error_clear();
                if (i == 2 && stream)
                    rl_stream_use(NULL, stream);
                blocks[i] = rl_allocator_take(ALLOCATOR, 100 << (4 * i));
                assert_true(blocks[i] ? !rl_failed() : rl_error_status() == RL_OUT_OF_MEMORY);
                if (blocks[i] && stream) {
                    stage_give(stream, rl_block_buffer(blocks[i]));
                    rl_block_used_on(blocks[i], 1);
                }
            }
            rl_error_clear();
            for (int i = 0; i < 4; i++) {
                if (blocks[i])
                    rl_allocator_give(blocks[i]);
                assert_false(rl_failed());
            }
            rl_alloc_fail_at(0, false);
            rl_stream_use(&stage_device, NULL);
            rl_allocator_flush(ALLOCATOR);
            assert_int_equal(stats().reserved, 0);
            assert_int_equal(stats().allocated, 0);
            rl_shutdown(); /* releases the stream */
            stage_close();
        }
    }
    stage_open(1, 0);
}

/* Streams ---------------------------------------------------------------------------------------------------------- */

static void own_stream_may_have_it_at_once(void **state) {
    (void)state;
    stage_open(1 << 20, 0);
    rl_block *block = take(1000);
    rl_backend_buffer *buffer = rl_block_buffer(block);
    stage_give(NULL, buffer);
    rl_allocator_give(block);
    assert_true(stage_busy(buffer, NULL));
    assert_ptr_equal(take_and_give(1000), buffer);
}

static void other_streams_are_waited_for(void **state) {
    (void)state;
    RL_SCOPE();
    stage_open(1 << 20, 0);
    rl_stream *stream = rl_stream_new(&stage_device);
    rl_block *block = take(1000);
    rl_backend_buffer *buffer = rl_block_buffer(block);
    stage_give(stream, buffer);
    rl_block_used_on(block, stream->number);
    rl_allocator_give(block);
    rl_block *other = take(1000);
    assert_ptr_not_equal(rl_block_buffer(other), buffer); /* still in use over there */
    stage_do(stream, 1);
    rl_block *again = take(1000);
    assert_ptr_equal(rl_block_buffer(again), buffer);
    rl_allocator_give(other);
    rl_allocator_give(again);
    /* What a stream made is its own, until it is gone. */
    rl_stream_use(NULL, stream);
    buffer = take_and_give(5000);
    assert_ptr_equal(take_and_give(5000), buffer);
    rl_stream_use(&stage_device, NULL);
    assert_ptr_not_equal(take_and_give(5000), buffer);
    rl_allocator_flush(ALLOCATOR);
}

/* Without events, the stream itself is waited for: slower, and as safe. */
static void events_may_lack(void **state) {
    (void)state;
    RL_SCOPE();
    stage_open(1 << 20, 0);
    rl_stream *stream = rl_stream_new(&stage_device);
    rl_block *block = take(1000);
    rl_backend_buffer *buffer = rl_block_buffer(block);
    stage_give(stream, buffer);
    rl_block_used_on(block, stream->number);
    stage.no_events = true;
    rl_allocator_give(block);
    assert_false(stage_busy(buffer, NULL));
    assert_ptr_equal(take_and_give(1000), buffer);
}

/* An error of the work is its stream's: to be told by the next synchronization, not lost by a flush. */
static void a_flush_leaves_errors(void **state) {
    (void)state;
    RL_SCOPE();
    stage_open(1 << 20, 0);
    rl_stream *stream = rl_stream_new(&stage_device);
    rl_block *block = take(1000);
    stage_give(stream, rl_block_buffer(block));
    rl_block_used_on(block, stream->number);
    stage_fail(stream, RL_INTERNAL);
    rl_allocator_give(block);
    rl_allocator_flush(ALLOCATOR);
    assert_false(rl_failed());
    assert_int_equal(rl_stream_synchronize(stream), RL_INTERNAL);
    expect_error(RL_INTERNAL, "stream_synchronize: on stage:0: map: the stage broke");
    assert_int_equal(rl_stream_synchronize(stream), RL_OK);
}

/* Foreign memory is its owner's again when the block is given back: all work on it is done by then. */
static void wrapped_memory_is_let_go_done(void **state) {
    (void)state;
    RL_SCOPE();
    stage_open(1 << 20, 0);
    rl_stream *stream = rl_stream_new(&stage_device);
    for (int i = 0; i < 2; i++) {
        rl_backend_buffer *buffer;
        assert_int_equal(stage_device.api.mem_wrap(stage_device.handle, NULL, 1000, &buffer), RL_OK);
        rl_block *block = rl_allocator_wrap(ALLOCATOR, buffer, 1000);
        assert_non_null(block);
        stage_give(NULL, buffer);
        if (i) {
            stage_give(stream, buffer);
            rl_block_used_on(block, stream->number);
        }
        rl_allocator_give(block); /* mem_free fails the test where work is left */
        assert_int_equal(stage.buffers, 0);
    }
    assert_int_equal(stats().allocated, 0);
    assert_int_equal(stats().reserved, 0);
}

static void blocks_outlive_the_device(void **state) {
    (void)state;
    stage_open(1 << 20, 0);
    rl_block *a = take(1000), *b = take(1 << 18);
    stage_give(NULL, rl_block_buffer(a));
    stage_close();
    assert_null(rl_block_buffer(a));
    rl_allocator_give(a);
    rl_allocator_give(b); /* the last one takes the allocator along */
    stage_open(1, 0);
}

/* Against a model -------------------------------------------------------------------------------------------------- */

enum { MOST_LIVE = 60, MOST_STREAMS = 5 };

typedef struct held {
    rl_block *block;
    uint64_t bytes;
} held;

typedef struct model {
    held live[MOST_LIVE];
    int n_live;
    rl_stream *streams[MOST_STREAMS]; /* NULL: none now */
    uint64_t in_use, peak, takes, refused;
} model;

static rl_stream *any_stream(const model *self) {
    rl_stream *stream = self->streams[any(MOST_STREAMS)];
    return stream ? stream : stage_device.default_stream;
}

static void model_take(model *self) {
    static const uint64_t sizes[] = {1, 64, 100, 1000, 1024, 30000, 65536, 100000};
    if (self->n_live == MOST_LIVE)
        return;
    rl_stream *stream = any_stream(self);
    rl_stream_use(&stage_device, stream == stage_device.default_stream ? NULL : stream);
    rl_block *block = rl_allocator_take(ALLOCATOR, sizes[any(COUNT(sizes))]);
    if (block == NULL) {
        assert_int_equal(rl_error_status(), RL_OUT_OF_MEMORY);
        rl_error_clear();
        self->refused++;
        assert_int_equal(stats().reserved, self->in_use); /* it had given back all that it could */
        return;
    }
    rl_backend_buffer *buffer = rl_block_buffer(block);
    assert_int_equal(buffer->owner, 0);
    assert_false(stage_busy(buffer, stream)); /* what other streams still do on it, they would do to the new owner */
    buffer->owner = 1;
    self->live[self->n_live++] = (held){block, buffer->bytes};
    self->in_use += buffer->bytes;
    self->peak = self->in_use > self->peak ? self->in_use : self->peak;
    self->takes++;
}

static void model_step(model *self) {
    int at = self->n_live ? (int)any((uint64_t)self->n_live) : -1;
    held *one = at < 0 ? NULL : &self->live[at];
    rl_stream **stream = &self->streams[1 + any(MOST_STREAMS - 1)];
    switch (any(20)) {
    case 0: /* a stream comes or goes; work that it was given is done when it is gone */
        if (*stream) {
            rl_stream_use(&stage_device, NULL);
            rl_release(*stream);
            *stream = NULL;
        } else {
            *stream = rl_retain(rl_stream_new(&stage_device));
            RL_SCOPE();
        }
        break;
    case 1:
        if (any(4) == 0)
            rl_allocator_flush(ALLOCATOR);
        break;
    case 2:
    case 3:
    case 4:
    case 5:
        stage_do(any_stream(self), any(4));
        break;
    case 6:
    case 7:
    case 8:
        if (one) { /* work on another stream, or its own */
            rl_stream *on = any_stream(self);
            rl_block_used_on(one->block, on->number);
            stage_give(on, rl_block_buffer(one->block));
        }
        break;
    case 9:
    case 10:
    case 11:
    case 12:
    case 13:
        if (one) {
            rl_block_buffer(one->block)->owner = 0;
            self->in_use -= one->bytes;
            rl_allocator_give(one->block);
            *one = self->live[--self->n_live];
        }
        break;
    default:
        model_take(self);
    }
}

static void any_order_of_calls(void **state) {
    (void)state;
    for (int run = 0; run < 40; run++) {
        stage_open(run % 2 ? 400000 : (uint64_t)1 << 30, 0);
        model self = {0};
        for (int step = 0; step < 1500; step++) {
            RL_SCOPE();
            model_step(&self);
            rl_memory_stats now = stats();
            assert_int_equal(now.allocated, self.in_use);
            assert_int_equal(now.allocated_peak, self.peak);
            assert_int_equal(now.reserved, stage.in_use);
            assert_true(now.reserved_peak >= now.reserved && now.reserved_peak >= now.allocated_peak);
            assert_int_equal(now.allocations, self.takes);
            assert_int_equal(now.backend_allocations, stage.allocations);
        }
        assert_true(self.takes > 100 && (run % 2 == 0 || self.refused > 0));
        rl_stream_use(&stage_device, NULL);
        for (int i = 0; i < self.n_live; i++)
            rl_allocator_give(self.live[i].block);
        for (int i = 0; i < MOST_STREAMS; i++)
            rl_release(self.streams[i]);
        stage_close();
    }
    stage_open(1, 0);
}

/* Threads ---------------------------------------------------------------------------------------------------------- */

enum { THREADS = 4, ROUNDS = 2000, PLACES = 16 };
static _Atomic(rl_block *) places[PLACES]; /* blocks on their way from thread to thread */

static void let_go(rl_block *block, int me) {
    if (block == NULL)
        return;
    if (me)
        assert_true(rl_block_buffer(block)->owner != 0);
    rl_block_buffer(block)->owner = 0;
    rl_allocator_give(block);
}

static void *swap(void *number) {
    int me = (int)(intptr_t)number;
    uint64_t mine = (uint64_t)me;
    RL_SCOPE();
    if (me % 2)
        rl_stream_use(NULL, rl_stream_new(&stage_device));
    for (int i = 0; i < ROUNDS; i++) {
        mine = mine * UINT64_C(6364136223846793005) + 1;
        rl_block *block = rl_allocator_take(ALLOCATOR, (uint64_t)64 << (mine >> 40) % 12);
        if (block) {
            rl_backend_buffer *buffer = rl_block_buffer(block);
            if (buffer->owner != 0)
                return "a block has two owners";
            buffer->owner = me;
            rl_block_used_on(block, rl_stream_current(&stage_device)->number);
            stage_give(NULL, buffer);
        } else {
            rl_error_clear(); /* memory is short on purpose */
        }
        let_go(atomic_exchange(&places[(mine >> 33) % PLACES], block), me);
        if (me == 1 && i % 50 == 0)
            rl_allocator_flush(ALLOCATOR);
        if (me == 2 && i % 100 == 0)
            rl_synchronize(&stage_device);
        stage_do(NULL, 1);
    }
    return NULL;
}

static void threads_share_it(void **state) {
    (void)state;
    stage_open(400000, 0);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, swap, (void *)(intptr_t)(i + 1)), 0);
    for (int i = 0; i < THREADS; i++) {
        void *sentence;
        pthread_join(threads[i], &sentence);
        if (sentence)
            fail_msg("%s", (char *)sentence);
    }
    for (int i = 0; i < PLACES; i++)
        let_go(atomic_exchange(&places[i], NULL), 0);
    assert_int_equal(stats().allocated, 0);
    rl_allocator_flush(ALLOCATOR);
    assert_int_equal(stats().reserved, 0); /* the shelves of ended threads are empty too */
}

/* What another thread has on its shelf is memory too. */
static pthread_barrier_t barrier;
static void *hoard(void *unused) {
    (void)unused;
    rl_allocator_give(rl_allocator_take(ALLOCATOR, 60000));
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    rl_block *again = rl_allocator_take(ALLOCATOR, 60000);
    bool none = again == NULL && rl_error_status() == RL_OUT_OF_MEMORY;
    rl_error_clear();
    return none ? NULL : "the shelf was not emptied";
}

static void other_threads_shelves_are_emptied(void **state) {
    (void)state;
    stage_open(65536, 0);
    pthread_t thread;
    void *sentence;
    pthread_barrier_init(&barrier, NULL, 2);
    assert_int_equal(pthread_create(&thread, NULL, hoard, NULL), 0);
    pthread_barrier_wait(&barrier);
    rl_block *block = rl_allocator_take(ALLOCATOR, 60000);
    pthread_barrier_wait(&barrier);
    pthread_join(thread, &sentence);
    assert_non_null(block);
    assert_int_equal(stats().flushes, 2); /* here, and in vain over there */
    if (sentence)
        fail_msg("%s", (char *)sentence);
    rl_allocator_give(block);
    pthread_barrier_destroy(&barrier);
}

#define TEST(name) cmocka_unit_test_teardown(name, close_stage)

int main(void) {
    const struct CMUnitTest tests[] = {TEST(at_most_an_eighth_is_wasted),
                                       TEST(a_block_is_used_again),
                                       TEST(statistics_are_exact),
                                       TEST(the_cache_is_given_back_for_lack_of_memory),
                                       TEST(no_size_is_too_large_to_ask_for),
                                       TEST(the_limit_holds),
                                       TEST(own_allocations_fail),
                                       TEST(own_stream_may_have_it_at_once),
                                       TEST(other_streams_are_waited_for),
                                       TEST(events_may_lack),
                                       TEST(a_flush_leaves_errors),
                                       TEST(wrapped_memory_is_let_go_done),
                                       TEST(blocks_outlive_the_device),
                                       TEST(any_order_of_calls),
                                       TEST(threads_share_it),
                                       TEST(other_threads_shelves_are_emptied)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
