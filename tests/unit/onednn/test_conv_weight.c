/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Weights that are kept in their primitive's order. To see whether one is, the test changes its numbers under the same
 * stamp, which no host does: a result of the old numbers came from what was kept.
 */
#include "harness.h"

#include <pthread.h>
#include <string.h>

enum { CHANNELS = 16, SIZE = 24, KERNEL = 3, WEIGHTS = CHANNELS * CHANNELS * KERNEL * KERNEL };

typedef struct layer {
    rl_conv_args args;
    twin_operand *x, *w, *y;
} layer;

/* One image under a kernel of 3 x 3: with an image of ones, each result is the sum of an output's weights. */
static layer new_layer(rl_dtype dtype) {
    const int64_t image[4] = {1, CHANNELS, SIZE, SIZE}, out[4] = {1, CHANNELS, SIZE - 2, SIZE - 2},
                  weight[4] = {CHANNELS, CHANNELS, KERNEL, KERNEL};
    layer l = {.x = new_operand(dtype, 4, image, PACKED),
               .w = new_operand(dtype, 4, weight, PACKED),
               .y = new_operand(dtype, 4, out, PACKED)};
    l.args = (rl_conv_args){.size = sizeof l.args,
                            .dtype = (uint32_t)dtype,
                            .spatial = 2,
                            .batch = 1,
                            .in_channels = CHANNELS,
                            .out_channels = CHANNELS,
                            .groups = 1,
                            .in_size = {SIZE, SIZE},
                            .out_size = {SIZE - 2, SIZE - 2},
                            .kernel = {KERNEL, KERNEL},
                            .stride = {1, 1},
                            .dilation = {1, 1},
                            .a = l.x->of[1],
                            .b = l.w->of[1],
                            .out = l.y->of[1]};
    return l;
}

static char *numbers_of(const twin_operand *o) {
    return (char *)o->memory->base[1] + o->of[1].offset;
}

static void set_all(const twin_operand *o, int64_t count, float value) {
    char *at = numbers_of(o);
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    for (int64_t i = 0; i < count; i++)
        if (o->dtype == RL_F32)
            memcpy(at + i * 4, &value, 4);
        else /* the upper half of a float */
            memcpy(at + i * 2, (const char *)&bits + 2, 2);
}

static void set_some(const twin_operand *o, int64_t at, float value) {
    twin_operand one = *o;
    one.of[1].offset += (uint64_t)(at * (o->dtype == RL_F32 ? 4 : 2));
    set_all(&one, 1, value);
}

static float result(const layer *l, uint64_t stamp) {
    rl_conv_args args = l->args;
    const char *reason = "";
    args.weight_stamp = stamp;
    assert_true(cell_of(RL_ROW_CONV)->supports(device, &args, &reason));
    assert_int_equal(cell_of(RL_ROW_CONV)->run(stream, &args), RL_OK);
    uint32_t bits = 0;
    float value;
    memcpy((char *)&bits + (l->y->dtype == RL_F32 ? 0 : 2), numbers_of(l->y), l->y->dtype == RL_F32 ? 4 : 2);
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint64_t fresh_stamp(void) {
    static uint64_t last;
    return ++last;
}

static void check_keeping(rl_dtype dtype) {
    const float ones = CHANNELS * KERNEL * KERNEL;
    layer l = new_layer(dtype);
    set_all(l.x, (int64_t)CHANNELS * SIZE * SIZE, 1.0f);
    set_all(l.w, WEIGHTS, 1.0f);
    const uint64_t first = fresh_stamp();
    assert_true(result(&l, first) == ones); /* seen once: not kept */
    set_all(l.w, WEIGHTS, 2.0f);
    assert_true(result(&l, first) == 2 * ones); /* kept from here on */
    set_all(l.w, WEIGHTS, 0.5f);
    assert_true(result(&l, first) == 2 * ones);
    assert_true(result(&l, 0) == ones / 2); /* no stamp: nothing that was kept */
    const uint64_t second = fresh_stamp();
    assert_true(result(&l, second) == ones / 2); /* changed, says the host */
    assert_true(result(&l, second) == ones / 2);
    assert_true(result(&l, first) == ones / 2); /* of one place the newest is kept: this is read anew */
    layer other = new_layer(dtype);
    set_all(other.x, (int64_t)CHANNELS * SIZE * SIZE, 1.0f);
    set_all(other.w, WEIGHTS, 4.0f);
    other.args.b.stride[2] = 1;
    other.args.b.stride[3] = KERNEL;
    assert_true(result(&other, first) == 4 * ones); /* other strides: another weight */
    free_operands();
}

static void keeping(void) {
    threads = 2;
    check_keeping(RL_F32);
    check_keeping(RL_BF16);
}

/* Two views of one storage at one offset, of one shape, with gaps: what is kept of one is not the other. */
static void views(void) {
    const int64_t block[5] = {2 * CHANNELS, 2 * CHANNELS, KERNEL, KERNEL};
    const rl_dtype dtypes[] = {RL_F32, RL_BF16};
    threads = 2;
    for (int i = 0; i < COUNT(dtypes); i++) {
        layer l = new_layer(dtypes[i]), turned;
        twin_operand *whole = new_operand(dtypes[i], 4, block, PACKED);
        set_all(l.x, (int64_t)CHANNELS * SIZE * SIZE, 1.0f);
        set_all(whole, 4 * WEIGHTS, 0.0f);
        for (int c = 0; c < CHANNELS; c++) /* output 0 sums row 0 of the view, or column 0: of ones, or of one one */
            set_some(whole, (int64_t)c * KERNEL * KERNEL, 1.0f);
        l.args.b = whole->of[1];
        turned = l;
        turned.args.b.stride[0] = l.args.b.stride[1];
        turned.args.b.stride[1] = l.args.b.stride[0];
        const uint64_t stamp = fresh_stamp();
        for (int round = 0; round < 3; round++)
            assert_true(result(&l, stamp) == CHANNELS);
        for (int round = 0; round < 3; round++)
            assert_true(result(&turned, stamp) == 1.0f);
        free_operands();
    }
}

/* A call that has no scratch memory while it fills a place gives that place back: a later one fills it. */
static void failing(void) {
    const float ones = CHANNELS * KERNEL * KERNEL;
    layer l = new_layer(RL_F32);
    set_all(l.x, (int64_t)CHANNELS * SIZE * SIZE, 1.0f);
    set_all(l.w, WEIGHTS, 1.0f);
    const uint64_t stamp = fresh_stamp();
    assert_true(result(&l, stamp) == ones);
    rl_conv_args args = l.args;
    args.weight_stamp = stamp;
    scratch_fails = 1;
    assert_int_equal(cell_of(RL_ROW_CONV)->run(stream, &args), RL_OUT_OF_MEMORY);
    scratch_fails = 0;
    assert_true(result(&l, stamp) == ones);
    set_all(l.w, WEIGHTS, 2.0f);
    assert_true(result(&l, stamp) == ones); /* it is kept */
    free_operands();
}

/* More weights than are kept, over and over. */
static void many(void) {
    enum { LAYERS = 40, TIMES = 4 };
    layer l[LAYERS];
    for (int i = 0; i < LAYERS; i++) {
        l[i] = new_layer(RL_F32);
        set_all(l[i].x, (int64_t)CHANNELS * SIZE * SIZE, 1.0f);
        set_all(l[i].w, WEIGHTS, (float)(i + 1));
    }
    for (int round = 0; round < TIMES; round++)
        for (int i = 0; i < LAYERS; i++) {
            const float want = (float)((i + 1) * CHANNELS * KERNEL * KERNEL);
            assert_true(result(&l[i], 1000 + (uint64_t)i) == want);
            for (int once = 0; once < 40; once++) /* 1600 stamps a round, kept as they come twice */
                assert_true(result(&l[i], 10000 + (uint64_t)(40 * i + once)) == want);
        }
    free_operands();
}

/* Several threads use one weight, which changes between rounds. */
enum { USERS = 4, ROUNDS = 12 };
static layer of_users[USERS];
static pthread_barrier_t between;
static void *use_shared(void *own) {
    const layer *l = own;
    void *failed = NULL;
    for (int round = 1; round <= ROUNDS; round++) {
        if (l == &of_users[0])
            set_all(l->w, WEIGHTS, (float)round);
        pthread_barrier_wait(&between);
        for (int i = 0; i < 5; i++) {
            rl_conv_args args = l->args;
            args.b = of_users[0].args.b;
            args.weight_stamp = 100000 + (uint64_t)round;
            float sum = 0.0f;
            if (cell_of(RL_ROW_CONV)->run(stream, &args) != RL_OK)
                failed = own;
            memcpy(&sum, numbers_of(l->y), sizeof sum);
            if (sum != (float)(round * CHANNELS * KERNEL * KERNEL))
                failed = own;
        }
        pthread_barrier_wait(&between);
    }
    return failed;
}

static void sharing(void) {
    pthread_t users[USERS];
    assert_int_equal(pthread_barrier_init(&between, NULL, USERS), 0);
    for (int i = 0; i < USERS; i++) {
        of_users[i] = new_layer(RL_F32);
        set_all(of_users[i].x, (int64_t)CHANNELS * SIZE * SIZE, 1.0f);
    }
    for (int i = 0; i < USERS; i++)
        assert_int_equal(pthread_create(&users[i], NULL, use_shared, &of_users[i]), 0);
    for (int i = 0; i < USERS; i++) {
        void *failed = NULL;
        assert_int_equal(pthread_join(users[i], &failed), 0);
        assert_null(failed);
    }
    pthread_barrier_destroy(&between);
    free_operands();
}

CLONES(keeping)
CLONES(views)
CLONES(failing)
CLONES(many)
CLONES(sharing)

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(keeping_of_each_clone), cmocka_unit_test(views_of_each_clone),
                                       cmocka_unit_test(failing_of_each_clone), cmocka_unit_test(many_of_each_clone),
                                       cmocka_unit_test(sharing_of_each_clone)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
