/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How works are measured. Every work is prepared on every device first; then, round after round, each work is done on
 * each device in turn, so that whatever else the machine does falls on all of them alike. A turn runs the work for a
 * while after a run that does not count, and its mean is one figure; medians and quartiles are over the turns.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

/* Gradients of as many parameters are compared. */
enum { PARAMETERS_MOST = 256 };

static void take_failure(bench_cell *self) {
    if (rl_failed() && !*self->failure)
        snprintf(self->failure, sizeof self->failure, "%s", rl_error_text());
    rl_error_clear();
}

/* Waits for the result by reading one element of it. */
static void read_one(rl_tensor *result) {
    RL_NO_GRAD();
    for (int64_t n = rl_tensor_ndim(result); n > 0 && rl_tensor_numel(result) > 1; n--)
        result = rl_select(result, 0, 0);
    rl_item(result);
}

static void run_once(bench_cell *self, rl_tensor **out_result) {
    double start = seconds_now(), passed;
    RL_SCOPE();
    rl_tensor *result = self->work->run(&self->state);
    read_one(result);
    passed = seconds_now() - start;
    if (passed > self->longest)
        self->longest = passed;
    if (out_result)
        *out_result = rl_retain(result);
}

static uint64_t allocated(rl_device *device, bool peak) {
    rl_memory_stats stats = {.struct_size = sizeof stats};
    rl_memory_stats_get(device, &stats);
    return peak ? stats.allocated_peak : stats.allocated;
}

void bench_prepare(bench_cell *self, uint64_t seed, rl_tensor **out_result) {
    uint64_t before = 0;
    if (!rl_device_set_default(self->device) && !rl_memory_reset_peak(self->device)) {
        RL_SCOPE();
        before = allocated(self->device, false);
        rl_manual_seed(seed);
        self->work->prepare(&self->state);
        run_once(self, out_result);
        self->longest = 0.0; /* the first run is not like the others: code is loaded, programs are compiled */
    }
    self->peak_memory = rl_failed() ? (double)NAN : (double)(allocated(self->device, true) - before);
    self->prepared = !rl_failed();
    take_failure(self);
}

/* The second run may need more than the first: the optimizer's state and the gradients are there. */
static void run_again(bench_cell *self, uint64_t before) {
    double peak;
    if (!rl_device_set_default(self->device) && !rl_memory_reset_peak(self->device))
        run_once(self, NULL);
    peak = rl_failed() ? (double)NAN : (double)(allocated(self->device, true) - before);
    if (!(peak <= self->peak_memory))
        self->peak_memory = peak;
    take_failure(self);
    self->prepared = !*self->failure;
}

/* Comparing
 * ------------------------------------------------------------------------------------------------------------------ */

/* The gradients of the parameters. */
static int64_t gradients_of(const bench_cell *cell, rl_tensor **out_gradients) {
    rl_tensor *parameters[PARAMETERS_MOST];
    int64_t n = cell->state.net ? rl_module_parameters(cell->state.net, parameters, PARAMETERS_MOST) : 0, count = 0;
    for (int64_t i = 0; i < n && i < PARAMETERS_MOST; i++)
        if (rl_grad(parameters[i]))
            out_gradients[count++] = rl_grad(parameters[i]);
    return count;
}

typedef struct difference {
    double apart, whole; /* the largest |a - b| and |b| so far */
} difference;

/* NaN is larger than all, but no difference from NaN. */
static void add_elements(difference *self, const float *a, const float *b, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        bool same = a[i] == b[i] || (isnan(a[i]) && isnan(b[i])); /* infinities too */
        double apart = same ? 0.0 : fabs((double)a[i] - b[i]), whole = fabs((double)b[i]);
        if (!isnan(self->apart) && !(apart <= self->apart))
            self->apart = apart;
        if (isfinite(whole) && whole > self->whole)
            self->whole = whole;
    }
}

static void add_tensors(difference *self, rl_tensor *result, rl_tensor *expected) {
    int64_t n = rl_tensor_numel(expected);
    float *a = malloc((size_t)n * sizeof *a + 1), *b = malloc((size_t)n * sizeof *b + 1);
    if (a && b && rl_tensor_numel(result) == n && !rl_tensor_read(result, a, (size_t)n * sizeof *a) &&
        !rl_tensor_read(expected, b, (size_t)n * sizeof *b))
        add_elements(self, a, b, n);
    else
        self->apart = (double)NAN;
    free(a);
    free(b);
}

static double relative(const difference *self) {
    return self->whole > 0.0 ? self->apart / self->whole : self->apart;
}

double bench_compare(const bench_cell *self, rl_tensor *result, const bench_cell *reference, rl_tensor *expected) {
    rl_tensor *ours[PARAMETERS_MOST], *theirs[PARAMETERS_MOST];
    int64_t n = gradients_of(self, ours);
    difference of_result = {0}, of_gradients = {0};
    add_tensors(&of_result, result, expected);
    if (gradients_of(reference, theirs) != n)
        return (double)NAN;
    for (int64_t i = 0; i < n; i++)
        add_tensors(&of_gradients, ours[i], theirs[i]);
    return relative(&of_result) >= relative(&of_gradients) || isnan(of_result.apart) ? relative(&of_result)
                                                                                     : relative(&of_gradients);
}

/* Turns
 * ------------------------------------------------------------------------------------------------------------------ */

double bench_turn(bench_cell *self, double seconds) {
    int64_t runs = 0;
    double start, passed = 0.0;
    rl_device_set_default(self->device);
    if (self->longest < seconds) /* brings caches and threads back from what ran before; a long run does so itself */
        run_once(self, NULL);
    start = seconds_now();
    do {
        run_once(self, NULL);
        runs++;
        passed = seconds_now() - start;
    } while (passed < seconds && !rl_failed());
    take_failure(self);
    self->spent += passed;
    return *self->failure ? 0.0 : 1e9 * passed / (double)(runs * self->work->rounds);
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_quantile(const double *sorted, int count, double share) {
    double at = share * (count - 1);
    int low = (int)at;
    if (count == 0)
        return (double)NAN;
    return low + 1 < count ? sorted[low] + (at - low) * (sorted[low + 1] - sorted[low]) : sorted[low];
}

/* The whole
 * ------------------------------------------------------------------------------------------------------------------ */

/* The work on all devices, ref first where it is compared with. */
static void prepare_work(bench *self, int number, progress *bar) {
    rl_device *ref = self->check ? rl_device_get("ref:0") : NULL;
    bench_cell lone = {.work = self->works[number], .device = ref}, *reference = ref ? &lone : NULL;
    rl_tensor *expected = NULL;
    uint64_t before[BENCH_DEVICES_MOST];
    for (int d = 0; d < self->n_devices; d++) {
        before[d] = allocated(self->devices[d], false);
        if (self->devices[d] == ref)
            reference = bench_cell_at(self, number, d);
    }
    rl_error_clear();
    progress_show(bar, number, self->works[number]->name);
    if (reference)
        bench_prepare(reference, (uint64_t)self->seed, &expected);
    for (int d = 0; d < self->n_devices && !interrupted(); d++) {
        bench_cell *cell = bench_cell_at(self, number, d);
        rl_tensor *result = NULL;
        if (cell == reference)
            continue;
        bench_prepare(cell, (uint64_t)self->seed, reference ? &result : NULL);
        if (reference && cell->prepared && reference->prepared) {
            cell->error = bench_compare(cell, result, reference, expected);
            take_failure(cell);
        }
        rl_release(result);
    }
    rl_release(expected);
    work_state_deinit(&lone.state);
    for (int d = 0; d < self->n_devices && !interrupted(); d++)
        if (bench_cell_at(self, number, d)->prepared)
            run_again(bench_cell_at(self, number, d), before[d]);
}

/* Slow cells end early, for their time is up: three turns are enough then, or one that took very long. */
static bool wants_turn(const bench *self, const bench_cell *cell) {
    if (!cell->prepared || *cell->failure)
        return false;
    return cell->n_turns == 0 || cell->spent < self->seconds ||
           (cell->n_turns < 3 && cell->spent < 4.0 * self->seconds);
}

static void take_turns(bench *self, progress *bar) {
    char detail[96];
    int64_t done = 0;
    for (int64_t round = 0; round < self->rounds; round++)
        for (int w = 0; w < self->n_works; w++)
            for (int d = 0; d < self->n_devices && !interrupted(); d++) {
                bench_cell *cell = bench_cell_at(self, w, d);
                double cost;
                snprintf(detail, sizeof detail, "%s %s", cell->work->name, rl_device_name(cell->device));
                progress_show(bar, done++, detail);
                if (wants_turn(self, cell) && (cost = bench_turn(cell, self->seconds / (double)self->rounds)) > 0.0)
                    cell->turns[cell->n_turns++] = cost;
            }
}

static void find_peaks(bench *self) {
    for (int d = 0; d < self->n_devices && !interrupted(); d++)
        bench_find_peak(self->devices[d], self->seconds, &self->peaks[d]);
}

void bench_measure(bench *self) {
    progress bar;
    find_peaks(self);
    progress_start(&bar, "preparing", self->n_works);
    for (int w = 0; w < self->n_works && !interrupted(); w++)
        prepare_work(self, w, &bar);
    progress_end(&bar);
    progress_start(&bar, "measuring", self->rounds * self->n_works * self->n_devices);
    take_turns(self, &bar);
    progress_end(&bar);
    find_peaks(self); /* again: the machine may have been busy the first time */
    for (int i = 0; i < self->n_works * self->n_devices; i++)
        qsort(self->cells[i].turns, (size_t)self->cells[i].n_turns, sizeof(double), ascending);
}
