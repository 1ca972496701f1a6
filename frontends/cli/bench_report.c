/* SPDX-License-Identifier: Apache-2.0 */
/* What was measured, as a table and as JSON. */
#include <math.h>

#include "bench.h"

/* The figures of a cell. NaN where there is none. */
typedef struct figures {
    double median, first_quarter, third_quarter, least; /* nanoseconds */
    double flops, bytes;                                /* a second */
    double share;                                       /* of the device's peak: the larger of both shares */
    double speedup;                                     /* over the baseline's median */
} figures;

static double median_of(const bench_cell *cell) {
    return bench_quantile(cell->turns, cell->n_turns, 0.5);
}

static double ratio(double a, double b) {
    return a > 0.0 && b > 0.0 ? a / b : (double)NAN;
}

static figures figures_of(const bench *self, int number, int device) {
    const bench_cell *cell = bench_cell_at(self, number, device);
    const bench_peak *peak = &self->peaks[device];
    figures f = {.median = median_of(cell),
                 .first_quarter = bench_quantile(cell->turns, cell->n_turns, 0.25),
                 .third_quarter = bench_quantile(cell->turns, cell->n_turns, 0.75),
                 .least = bench_quantile(cell->turns, cell->n_turns, 0.0)};
    f.flops = ratio(1e9 * cell->work->flops, f.median);
    f.bytes = ratio(1e9 * cell->work->bytes, f.median);
    f.share = fmax(ratio(f.flops, peak->flops), ratio(f.bytes, peak->bytes)); /* fmax: of one, where the other is NaN */
    f.speedup = ratio(median_of(bench_cell_at(self, number, self->baseline)), f.median);
    return f;
}

/* 12.3 us; of bytes 12.3 MB. */
static const char *scaled(double number, const char *const *units, char *text, size_t room) {
    int unit = 0;
    if (isnan(number))
        return "-";
    while (fabs(number) >= 999.5 && unit < 3) {
        number /= 1000.0;
        unit++;
    }
    snprintf(text, room, "%.3g %s", number, units[unit]);
    return text;
}
static const char *const time_units[] = {"ns", "us", "ms", "s"}, *const byte_units[] = {"B", "kB", "MB", "GB"};

static void print_number(int width, const char *format, double number) {
    char text[64] = "-";
    if (!isnan(number))
        snprintf(text, sizeof text, format, number);
    printf(" %*s", width, text);
}

static void print_cell(const bench *self, int number, int device) {
    const bench_cell *cell = bench_cell_at(self, number, device);
    figures f = figures_of(self, number, device);
    char text[64];
    printf("%-20s %-10s", device == 0 ? cell->work->name : "", rl_device_name(cell->device));
    if (*cell->failure) {
        printf(" failed: %s\n", cell->failure);
        return;
    }
    if (cell->n_turns == 0) {
        printf(" not measured\n");
        return;
    }
    printf(" %8s", scaled(f.median, time_units, text, sizeof text));
    print_number(7, "%.1f %%",
                 cell->n_turns > 2 ? 100.0 * (f.third_quarter - f.first_quarter) / f.median : (double)NAN);
    print_number(8, "%.3g", f.flops / 1e9);
    print_number(7, "%.3g", f.bytes / 1e9);
    print_number(6, "%.0f %%", 100.0 * f.share);
    print_number(8, "%.3g", f.speedup);
    print_number(9, "%.1e", cell->error);
    printf(" %9s\n", scaled(cell->peak_memory, byte_units, text, sizeof text));
}

static void print_devices(const bench *self) {
    for (int d = 0; d < self->n_devices; d++) {
        rl_device_info info = {.size = sizeof info};
        rl_device_info_get(self->devices[d], &info);
        rl_error_clear();
        printf("%-12s %s; at best %.4g GFLOP/s (matmul), %.4g GB/s (copy, triad)%s\n", rl_device_name(self->devices[d]),
               info.name, self->peaks[d].flops / 1e9, self->peaks[d].bytes / 1e9,
               d == self->baseline && self->n_devices > 1 ? "; the baseline" : "");
    }
}

void bench_print(const bench *self) {
    print_devices(self);
    printf("\n%-20s %-10s %8s %7s %8s %7s %6s %8s %9s %9s\n", "work", "device", "median", "spread", "GFLOP/s", "GB/s",
           "peak", "speedup", "error", "memory");
    for (int w = 0; w < self->n_works; w++)
        for (int d = 0; d < self->n_devices; d++)
            print_cell(self, w, d);
}

void bench_print_list(const bench *self) {
    for (int w = 0; w < self->n_works; w++)
        printf("%-20s %-6s %s\n", self->works[w]->name, self->works[w]->kind == WORK_OP ? "op" : "model",
               self->works[w]->what);
}

/* JSON
 * ------------------------------------------------------------------------------------------------------------------ */

static void print_json_text(FILE *out, const char *name, const char *text) {
    fprintf(out, ", \"%s\": ", name);
    print_json_string(out, text);
}

/* JSON has no infinity: that is null too. */
static void print_json_figure(FILE *out, const char *name, double number, const char *format) {
    print_json_number(out, name, isfinite(number) ? number : (double)NAN, format);
}

static void print_cell_json(const bench *self, int number, int device, FILE *out) {
    const bench_cell *cell = bench_cell_at(self, number, device);
    figures f = figures_of(self, number, device);
    fprintf(out, "      {\"device\": ");
    print_json_string(out, rl_device_name(cell->device));
    fprintf(out, ", \"turns\": %d", cell->n_turns);
    print_json_figure(out, "median_ns", f.median, "%.1f");
    print_json_figure(out, "first_quarter_ns", f.first_quarter, "%.1f");
    print_json_figure(out, "third_quarter_ns", f.third_quarter, "%.1f");
    print_json_figure(out, "least_ns", f.least, "%.1f");
    print_json_figure(out, "flops_per_second", f.flops, "%.6g");
    print_json_figure(out, "bytes_per_second", f.bytes, "%.6g");
    print_json_figure(out, "share_of_peak", f.share, "%.4f");
    print_json_figure(out, "speedup", f.speedup, "%.4g");
    print_json_figure(out, "error", cell->error, "%.3e");
    print_json_figure(out, "peak_memory", cell->peak_memory, "%.0f");
    print_json_text(out, "failure", cell->failure);
    fprintf(out, "}");
}

static void print_devices_json(const bench *self, FILE *out) {
    for (int d = 0; d < self->n_devices; d++) {
        rl_device_info info = {.size = sizeof info};
        rl_device_info_get(self->devices[d], &info);
        rl_error_clear();
        fprintf(out, "%s\n    {\"device\": ", d ? "," : "");
        print_json_string(out, rl_device_name(self->devices[d]));
        print_json_text(out, "name", info.name);
        print_json_text(out, "driver", info.driver);
        print_json_figure(out, "peak_flops_per_second", self->peaks[d].flops, "%.6g");
        print_json_figure(out, "peak_bytes_per_second", self->peaks[d].bytes, "%.6g");
        fprintf(out, "}");
    }
}

void bench_print_json(const bench *self, FILE *out) {
    fprintf(out, "{\"version\": ");
    print_json_string(out, rl_version());
    fprintf(out, ", \"seconds\": %g, \"rounds\": %lld, \"seed\": %lld", self->seconds, (long long)self->rounds,
            (long long)self->seed);
    print_json_text(out, "baseline", rl_device_name(self->devices[self->baseline]));
    fprintf(out, ", \"interrupted\": %s,\n  \"devices\": [", interrupted() ? "true" : "false");
    print_devices_json(self, out);
    fprintf(out, "\n  ],\n  \"works\": [");
    for (int w = 0; w < self->n_works; w++) {
        const work *one = self->works[w];
        fprintf(out, "%s\n    {\"name\": ", w ? "," : "");
        print_json_string(out, one->name);
        print_json_text(out, "what", one->what);
        print_json_text(out, "kind", one->kind == WORK_OP ? "op" : "model");
        fprintf(out, ", \"flops\": %.0f, \"bytes\": %.0f, \"results\": [\n", one->flops, one->bytes);
        for (int d = 0; d < self->n_devices; d++) {
            print_cell_json(self, w, d, out);
            fprintf(out, d + 1 < self->n_devices ? ",\n" : "]}");
        }
    }
    fprintf(out, "\n  ]}\n");
}
