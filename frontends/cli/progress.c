/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "command.h"

double seconds_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int terminal_columns(void) {
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col : 80;
}

void progress_start(progress *self, const char *label, int64_t total) {
    self->label = label;
    self->total = total > 0 ? total : 1;
    self->started = seconds_now();
    self->shown = 0.0;
    self->live = isatty(STDERR_FILENO);
}

void progress_show(progress *self, int64_t done, const char *detail) {
    double now = seconds_now(), share = (double)done / (double)self->total, left;
    char tail[120];
    int columns, width, full;
    if (!self->live || (now - self->shown < 0.1 && done < self->total))
        return;
    self->shown = now;
    left = done > 0 ? (now - self->started) * (1.0 - share) / share : 0.0;
    snprintf(tail, sizeof tail, " %3.0f %% %4.0f s left  %s", 100.0 * share, left, detail);
    columns = terminal_columns();
    width = columns - 1 - (int)strlen(self->label) - 3 - (int)strlen(tail);
    if (width > 30)
        width = 30;
    full = width > 0 ? (int)(share * width) : 0;
    fprintf(stderr, "\r%s [", self->label);
    for (int i = 0; i < width; i++)
        fputc(i < full ? '#' : '.', stderr);
    fprintf(stderr, "]%s\033[K", tail);
    fflush(stderr);
}

void progress_end(progress *self) {
    if (self->live && self->shown > 0.0)
        fputs("\r\033[K", stderr);
}

static volatile sig_atomic_t pressed;

static void on_interrupt(int number) {
    static const char said[] = "\nrushlight: stopping after the step in progress; again: at once\n";
    if (pressed++)
        _exit(EXIT_INTERRUPTED);
    (void)!write(STDERR_FILENO, said, sizeof said - 1);
    (void)number;
}
void catch_interrupt(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_interrupt;
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}
bool interrupted(void) {
    return pressed != 0;
}

void print_json_string(FILE *out, const char *text) {
    fputc('"', out);
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        if (*c == '"' || *c == '\\')
            fprintf(out, "\\%c", *c);
        else if (*c < 0x20 || *c == 0x7f)
            fprintf(out, "\\u%04x", *c);
        else
            fputc(*c, out);
    }
    fputc('"', out);
}

void print_json_number(FILE *out, const char *name, double number, const char *format) {
    char text[64] = "null";
    if (!isnan(number))
        snprintf(text, sizeof text, format, number);
    fprintf(out, ", \"%s\": %s", name, text);
}
