/* SPDX-License-Identifier: Apache-2.0 */
/* bench: pieces of work on several devices, side by side. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

enum { PATTERNS_MOST = 64 };

typedef struct bench_options {
    const char *devices, *baseline, *json;
    const char *patterns[PATTERNS_MOST];
    int n_patterns;
    bool list, serve, no_check;
} bench_options;

/* Every pattern must match something. Returns the number of works; 0 after an error. */
static int choose_works(const bench_options *options, const work **out_works) {
    int count = 0;
    for (int p = 0; p < options->n_patterns; p++) {
        bool any = false;
        for (int i = 0; i < WORKS_COUNT; i++)
            any = any || work_matches(&works[i], options->patterns[p]);
        if (!any) {
            usage_error(&command_bench, "no work matches '%.60s'; rushlight bench --list names them",
                        options->patterns[p]);
            return 0;
        }
    }
    for (int i = 0; i < WORKS_COUNT; i++) {
        bool wanted = options->n_patterns == 0;
        for (int p = 0; p < options->n_patterns; p++)
            wanted = wanted || work_matches(&works[i], options->patterns[p]);
        if (wanted)
            out_works[count++] = &works[i];
    }
    return count;
}

static int choose_devices(const bench_options *options, bench *self) {
    rl_device *baseline;
    self->n_devices = parse_devices(options->devices, self->devices, BENCH_DEVICES_MOST);
    if (self->n_devices < 0)
        return report_error();
    if (self->n_devices == 0)
        return usage_error(&command_bench, "no device to measure");
    if (!options->baseline)
        return EXIT_OK;
    if (!(baseline = rl_device_get(options->baseline)))
        return report_error();
    for (int d = 0; d < self->n_devices; d++)
        if (self->devices[d] == baseline) {
            self->baseline = d;
            return EXIT_OK;
        }
    return usage_error(&command_bench, "the baseline %s is not among the devices that are measured",
                       rl_device_name(baseline));
}

static int make_cells(bench *self) {
    int n = self->n_works * self->n_devices;
    self->turns = calloc((size_t)n * (size_t)self->rounds, sizeof *self->turns);
    self->cells = calloc((size_t)n, sizeof *self->cells);
    if (!self->turns || !self->cells) {
        fprintf(stderr, "rushlight: out of memory\n");
        return EXIT_FAILED;
    }
    for (int i = 0; i < n; i++)
        self->cells[i] = (bench_cell){.work = self->works[i / self->n_devices],
                                      .device = self->devices[i % self->n_devices],
                                      .turns = self->turns + (size_t)i * (size_t)self->rounds,
                                      .error = (double)NAN,
                                      .peak_memory = (double)NAN};
    return EXIT_OK;
}

static void free_cells(bench *self) {
    for (int i = 0; self->cells && i < self->n_works * self->n_devices; i++)
        work_state_deinit(&self->cells[i].state);
    free(self->turns);
    free(self->cells);
}

static int report(const bench *self, FILE *json, const char *path) {
    int status = EXIT_OK;
    for (int i = 0; i < self->n_works * self->n_devices; i++)
        if (*self->cells[i].failure)
            status = EXIT_FAILED;
    if (json != stdout)
        bench_print(self);
    if (json)
        bench_print_json(self, json);
    if (json && (fflush(json) != 0 || ferror(json))) {
        fprintf(stderr, "rushlight: %s could not be written\n", path);
        status = EXIT_FAILED;
    }
    return interrupted() ? EXIT_INTERRUPTED : status;
}

static int measure_and_report(bench *self, const char *path) {
    FILE *json = !path ? NULL : strcmp(path, "-") != 0 ? fopen(path, "w") : stdout;
    int status;
    if (path && !json) { /* before the work, not after it */
        fprintf(stderr, "rushlight: %s cannot be written: %s\n", path, strerror(errno));
        return EXIT_FAILED;
    }
    status = make_cells(self);
    if (!status) {
        catch_interrupt();
        bench_measure(self);
        status = report(self, json, path);
    }
    free_cells(self);
    if (json && json != stdout)
        fclose(json);
    return status;
}

static int run_bench(int argc, char **argv) {
    bench_options o = {.devices = "all"};
    bench self = {.seconds = 1.0, .rounds = 11};
    const work *chosen[WORKS_COUNT];
    bool done;
    const option_spec specs[] = {
        {"--devices", OPTION_TEXT, &o.devices, 0, 0},
        {"--baseline", OPTION_TEXT, &o.baseline, 0, 0},
        {"--seconds", OPTION_REAL, &self.seconds, 0, 3600},
        {"--rounds", OPTION_INT, &self.rounds, 1, BENCH_ROUNDS_MOST},
        {"--seed", OPTION_INT, &self.seed, 0, 9.2e18},
        {"--json", OPTION_TEXT, &o.json, 0, 0},
        {"--no-check", OPTION_FLAG, &o.no_check, 0, 0},
        {"--list", OPTION_FLAG, &o.list, 0, 0},
        {"--serve", OPTION_FLAG, &o.serve, 0, 0}}; /* of tests/bench alone, so the help is silent about it */
    int status = parse_options(&command_bench, argc, argv, specs, (int)(sizeof specs / sizeof specs[0]), o.patterns,
                               PATTERNS_MOST, &o.n_patterns, &done);
    if (status || done)
        return status;
    self.works = chosen;
    self.check = !o.no_check;
    if ((self.n_works = choose_works(&o, chosen)) == 0)
        return EXIT_USAGE;
    if (o.list) {
        bench_print_list(&self);
        return EXIT_OK;
    }
    if ((status = choose_devices(&o, &self)))
        return status;
    return o.serve ? bench_serve(self.devices[0], (uint64_t)self.seed) : measure_and_report(&self, o.json);
}

const command command_bench = {
    "bench", "ops and models on several devices, side by side",
    "usage: rushlight bench [ops|models|PATTERN ...] [options]\n\n"
    "Measures pieces of work on each device. Devices and works take turns in rounds, so that whatever else the "
    "machine\n"
    "does falls on all of them; every result is read. PATTERN is a work's name, a part of one, or has * and ?.\n\n"
    "  --devices A,B   or all: every usable device but sim, which is there when named (all)\n"
    "  --baseline D    the device that speedups are told against (the first)\n"
    "  --seconds X     for each work on each device, about (1)\n"
    "  --rounds N      in which these are spent (11)\n"
    "  --seed N        of the inputs, which are the same on every device (0)\n"
    "  --json FILE     write all figures there too; -: to standard output, without the table\n"
    "  --no-check      do not compare results with ref's\n"
    "  --list          name the works and leave\n\n"
    "The table: the median of one round of the work, and the spread between quartiles; GFLOP/s and GB/s by the work's\n"
    "own count of operations and of bytes that must be moved at least; the larger of the two as a share of the best\n"
    "that the device was seen to do in a matmul, in a copy; the speedup; the largest difference of the result (and of\n"
    "the gradients, in training) from ref's, relative to the largest element; the most memory in use beyond what was\n"
    "before the work.\n\n"
    "Ctrl-C prints what was measured so far and leaves with status 130; twice: at once.\n",
    run_bench};
