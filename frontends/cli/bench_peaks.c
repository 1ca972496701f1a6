/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a device can do at best, so that a share of it can be told: the most operations a second over matrix products of
 * a few sizes, the most bytes a second over copies and triads (a + 2 b) of arrays that no cache holds, and of some that
 * one might. Every figure is that of the fastest run.
 */
#include "bench.h"

typedef void (*probe)(rl_tensor *a, rl_tensor *b);

static void probe_matmul(rl_tensor *a, rl_tensor *b) {
    rl_matmul(a, b);
}
static void probe_copy(rl_tensor *a, rl_tensor *b) {
    rl_copy_(b, a);
}
static void probe_triad(rl_tensor *a, rl_tensor *b) {
    rl_add(a, b, .alpha = 2.0);
}

/* Seconds of the fastest run; 0 where it fails. */
static double fastest(rl_device *device, rl_ints shape, probe run, double seconds) {
    double best = 0.0, start = seconds_now();
    RL_SCOPE();
    rl_tensor *a = rl_randn(shape), *b = rl_randn(shape);
    rl_synchronize(device);
    do {
        double before = seconds_now(), passed;
        RL_SCOPE();
        run(a, b);
        rl_synchronize(device);
        passed = seconds_now() - before;
        if (best == 0.0 || passed < best)
            best = passed;
    } while (seconds_now() - start < seconds && !rl_failed() && !interrupted());
    if (rl_failed())
        best = 0.0;
    rl_error_clear();
    return best;
}

static void keep_better(double *rate, double amount, double seconds) {
    if (seconds > 0.0 && amount / seconds > *rate)
        *rate = amount / seconds;
}

void bench_find_peak(rl_device *device, double seconds, bench_peak *peak) {
    double each = seconds < 0.02 ? 0.02 : seconds < 0.1 ? seconds : 0.1; /* less would be a cold machine's best */
    if (rl_device_set_default(device)) {
        rl_error_clear();
        return;
    }
    for (int64_t n = 256; n <= 4096 && !interrupted(); n *= 2) {
        double best = fastest(device, RL_DIMS(n, n), probe_matmul, each),
               flops = 2.0 * (double)n * (double)n * (double)n;
        keep_better(&peak->flops, flops, best);
        if (best == 0.0 || best > each / 4) /* the next takes eight times as long */
            break;
    }
    for (int64_t n = 1 << 22; n <= 1 << 24 && !interrupted(); n *= 4) {
        keep_better(&peak->bytes, 8.0 * (double)n, fastest(device, RL_DIMS(n), probe_copy, each));
        keep_better(&peak->bytes, 12.0 * (double)n, fastest(device, RL_DIMS(n), probe_triad, each));
    }
}
