/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker's side of tests/bench/compare.py: reads lines "NAME SECONDS", does that work for so long, and answers
 * "NAME NANOSECONDS", of one round; 0 where it could not be done. So another program's workers can take turns with this
 * one. A work is prepared when it is first asked for.
 */
#include <stdlib.h>

#include "bench.h"

static double serve(bench_cell *cells, rl_device *device, uint64_t seed, const char *name, double seconds) {
    const work *asked = work_named(name);
    bench_cell *cell;
    if (!asked)
        return 0.0;
    cell = &cells[asked - works];
    if (!cell->work) {
        *cell = (bench_cell){.work = asked, .device = device};
        bench_prepare(cell, seed, NULL);
    }
    return *cell->failure ? 0.0 : bench_turn(cell, seconds);
}

int bench_serve(rl_device *device, uint64_t seed) {
    bench_cell *cells = calloc((size_t)WORKS_COUNT, sizeof *cells);
    char line[256], name[64];
    double seconds;
    while (cells && fgets(line, sizeof line, stdin)) {
        if (sscanf(line, "%63s %lf", name, &seconds) != 2)
            continue;
        printf("%s %.1f\n", name, serve(cells, device, seed, name, seconds));
        fflush(stdout);
        if (work_named(name) && *cells[work_named(name) - works].failure)
            fprintf(stderr, "rushlight bench: %s: %s\n", name, cells[work_named(name) - works].failure);
    }
    for (int i = 0; cells && i < WORKS_COUNT; i++)
        work_state_deinit(&cells[i].state);
    free(cells);
    return EXIT_OK;
}
