/* SPDX-License-Identifier: Apache-2.0 */
/* compare: the same work on several devices, in one table. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"

#define DEVICES_MOST 64

typedef struct row {
    rl_device *device;
    train_result trained;
    lockstep_result apart;
    bool is_reference, trains;
    char failure[512]; /* "" where it went well */
} row;

static int choose_devices(const char *names, row *rows) {
    rl_device *devices[DEVICES_MOST];
    int count = parse_devices(names, devices, DEVICES_MOST);
    for (int i = 0; i < count; i++)
        rows[i].device = devices[i];
    return count;
}

/* A third of the training's time at most for the test set, and as much for lockstep. */
static void run_row(row *self, const train_options *options, const lockstep_options *how) {
    self->is_reference = self->device == rl_device_get("ref:0");
    self->trained = (train_result){.loss = (double)NAN, .accuracy = (double)NAN, .epoch_images = 1};
    self->trains = !self->is_reference || model_small(options->model);
    if (rl_device_set_default(self->device) || (self->trains && train(options, self->device, &self->trained)) ||
        (!self->is_reference && !interrupted() && lockstep(options, self->device, how, &self->apart)))
        snprintf(self->failure, sizeof self->failure, "%s", rl_failed() ? rl_error_text() : self->apart.failure);
    rl_error_clear();
}

/* The table
 * ------------------------------------------------------------------------------------------------------------------ */

/* The first of the dtypes: the one in the table's own columns. */
static int first_dtype(const lockstep_options *how) {
    int i = 0;
    while (!(how->dtypes >> i & 1))
        i++;
    return i;
}

static void print_row(const row *r, const lockstep_distance *apart) {
    printf("%-12s ", rl_device_name(r->device));
    if (*r->failure) {
        printf("failed: %s\n", r->failure);
        return;
    }
    if (r->trained.images == 0)
        printf("%12s %9s", "-", "-");
    else
        printf("%12.0f %9.2f", images_per_second(&r->trained), epochs_trained(&r->trained));
    if (isnan(r->trained.accuracy))
        printf("%12s", "-");
    else
        printf("%10.2f %%", 100.0 * r->trained.accuracy);
    if (r->is_reference)
        printf("%28s\n", "is ref");
    else if (apart->points == 0)
        printf("%28s\n", "-");
    else
        printf("%16.1e, %10.1e\n", apart->loss, apart->gradient);
}

/* What the numbers of a row do not say: on how little they stand. */
static void print_notes(const row *r, const train_options *o, const lockstep_options *how) {
    const char *name = rl_device_name(r->device);
    const train_result *t = &r->trained;
    int points = r->apart.apart[first_dtype(how)].points;
    if (*r->failure)
        return;
    if (!r->trains)
        printf("%s: %s takes its plain loops too long to train; it computes the points of lockstep\n", name, o->model);
    if (t->tested > 0 && t->tested < t->test_images)
        printf("%s: accuracy on the first %lld of %lld test images: the time was up\n", name, (long long)t->tested,
               (long long)t->test_images);
    if (!r->is_reference && points > 0 && points < how->points)
        printf("%s: lockstep at %d of %d points: the time was up\n", name, points, how->points);
}

static void print_lockstep(const row *rows, int count, const lockstep_options *how) {
    printf("\n%-12s %-10s %7s %22s %26s\n", "lockstep", "dtype", "points", "loss (may be)", "gradients (may be)");
    for (int i = 0; i < count; i++)
        for (int k = 0; k < LOCKSTEP_DTYPES; k++) {
            const lockstep_bound *bound = &lockstep_bounds[k];
            const lockstep_distance *apart = &rows[i].apart.apart[k];
            if (apart->points > 0)
                printf("%-12s %-10s %7d %12.1e (%.1e) %16.1e (%.1e)\n", rl_device_name(rows[i].device),
                       rl_dtype_name(bound->dtype), apart->points, apart->loss, bound->loss, apart->gradient,
                       bound->gradient);
            else if ((how->dtypes >> k & 1) && !rows[i].is_reference && !*rows[i].failure)
                printf("%-12s %-10s %7s  not on this device\n", rl_device_name(rows[i].device),
                       rl_dtype_name(bound->dtype), "-");
        }
}

static void print_table(const row *rows, int count, const train_options *o, const lockstep_options *how) {
    int first = first_dtype(how);
    char apart[64] = "from ref: loss, gradients";
    if (first > 0)
        snprintf(apart, sizeof apart, "in %s: loss, gradients", rl_dtype_name(lockstep_bounds[first].dtype));
    printf("\n%-12s %12s %9s %12s %28s\n", "device", "images/s", "epochs", "accuracy", apart);
    for (int i = 0; i < count; i++)
        print_row(&rows[i], &rows[i].apart.apart[first]);
    for (int i = 0; i < count; i++)
        print_notes(&rows[i], o, how);
    if (how->dtypes != 1)
        print_lockstep(rows, count, how);
}

static void print_distance_json(const lockstep_distance *apart) {
    double loss = apart->points ? apart->loss : (double)NAN, gradient = apart->points ? apart->gradient : (double)NAN;
    printf(", \"points\": %d", apart->points);
    print_json_number(stdout, "loss_difference", loss, "%.3e");
    print_json_number(stdout, "gradient_difference", gradient, "%.3e");
}

static void print_table_json(const row *rows, int count, const lockstep_options *how) {
    int first = first_dtype(how);
    printf("[");
    for (int i = 0; i < count; i++) {
        const row *r = &rows[i];
        const char *comma = "";
        printf("%s\n  {\"device\": ", i ? "," : "");
        print_json_string(stdout, rl_device_name(r->device));
        printf(", \"failure\": ");
        print_json_string(stdout, r->failure);
        print_json_number(stdout, "images_per_second", images_per_second(&r->trained), "%.1f");
        printf(", \"images\": %lld", (long long)r->trained.images);
        print_json_number(stdout, "epochs", epochs_trained(&r->trained), "%.6g");
        print_json_number(stdout, "accuracy", r->trained.accuracy, "%.4f");
        printf(", \"tested\": %lld", (long long)r->trained.tested);
        print_distance_json(&r->apart.apart[first]);
        printf(", \"lockstep\": [");
        for (int k = 0; k < LOCKSTEP_DTYPES; k++) {
            if (!(how->dtypes >> k & 1))
                continue;
            printf("%s{\"dtype\": \"%s\"", comma, rl_dtype_name(lockstep_bounds[k].dtype));
            print_distance_json(&r->apart.apart[k]);
            print_json_number(stdout, "loss_bound", lockstep_bounds[k].loss, "%.3e");
            print_json_number(stdout, "gradient_bound", lockstep_bounds[k].gradient, "%.3e");
            printf("}");
            comma = ", ";
        }
        printf("]}");
    }
    printf("\n]\n");
}

/* The command
 * ------------------------------------------------------------------------------------------------------------------ */

/* Bits of lockstep_bounds for "float32,f16", or "all"; 0 where a name is none of them. */
static uint32_t parse_dtypes(const char *names) {
    uint32_t dtypes = 0;
    char copy[128], *rest = NULL;
    if (!strcmp(names, "all"))
        return (1u << LOCKSTEP_DTYPES) - 1;
    if (strlen(names) >= sizeof copy)
        return 0;
    strcpy(copy, names);
    for (char *name = strtok_r(copy, ",", &rest); name; name = strtok_r(NULL, ",", &rest)) {
        int i = 0;
        while (i < LOCKSTEP_DTYPES && lockstep_bounds[i].dtype != rl_dtype_parse(name))
            i++;
        if (i == LOCKSTEP_DTYPES)
            return 0;
        dtypes |= 1u << i;
    }
    return dtypes;
}

static int run_compare(int argc, char **argv) {
    train_options o = train_defaults;
    static row rows[DEVICES_MOST];
    const char *task = NULL, *devices = "all", *dtypes = "float32";
    int64_t points = 10, every = 10;
    lockstep_options how;
    bool done, failed = false;
    o.seconds = 36.0;
    const option_spec specs[] = {
        {"--devices", OPTION_TEXT, &devices, 0, 0},     {"--model", OPTION_TEXT, &o.model, 0, 0},
        {"--epochs", OPTION_INT, &o.epochs, 1, 1e6},    {"--batch", OPTION_INT, &o.batch, 1, 1e6},
        {"--lr", OPTION_REAL, &o.lr, 0, 1e6},           {"--seed", OPTION_INT, &o.seed, 0, 9.2e18},
        {"--seconds", OPTION_REAL, &o.seconds, 0, 1e9}, {"--data", OPTION_TEXT, &o.data, 0, 0},
        {"--points", OPTION_INT, &points, 1, 1000},     {"--every", OPTION_INT, &every, 1, 1000},
        {"--dtypes", OPTION_TEXT, &dtypes, 0, 0},       {"--json", OPTION_FLAG, &o.json, 0, 0}};
    int operands,
        status = parse_options(&command_compare, argc, argv, specs, (int)(sizeof specs / sizeof specs[0]), &task, 1,
                               &operands, &done),
        count;
    if (status || done)
        return status;
    if (!task)
        return usage_error(&command_compare, "needs the name of the data: fashion-mnist");
    if (strcmp(task, "fashion-mnist") != 0)
        return usage_error(&command_compare, "compares on fashion-mnist, got '%.60s'", task);
    if (!model_known(o.model))
        return usage_error(&command_compare, "no model '%.60s'; there are: %s", o.model, model_names());
    o.test_seconds = o.seconds / 3.0;
    how = (lockstep_options){(int)points, (int)every, parse_dtypes(dtypes), o.seconds / 3.0};
    if (!how.dtypes)
        return usage_error(&command_compare, "--dtypes takes float32, float64, float16, bfloat16 or all, got '%.60s'",
                           dtypes);
    if ((count = choose_devices(devices, rows)) < 0)
        return report_error();
    if (!count)
        return usage_error(&command_compare, "no device to compare");
    catch_interrupt();
    for (int i = 0; i < count && !interrupted(); i++) {
        fprintf(o.json ? stderr : stdout, "%s\n", rl_device_name(rows[i].device));
        fflush(stdout);
        run_row(&rows[i], &o, &how);
        failed = failed || *rows[i].failure;
    }
    if (interrupted())
        return EXIT_INTERRUPTED;
    if (o.json)
        print_table_json(rows, count, &how);
    else
        print_table(rows, count, &o, &how);
    return failed ? EXIT_FAILED : EXIT_OK;
}

const command command_compare = {
    "compare", "the same training on several devices, in one table",
    "usage: rushlight compare fashion-mnist [options]\n\n"
    "Trains the same network on each device, then runs lockstep against ref: at steps 0, 10, 20 ... of a\n"
    "training, one step on both from the same state, and how far the device's loss (relative) and its gradients\n"
    "(relative, in norm) are from ref's. A device that is slow, as ref is, does what it can in its time: the\n"
    "table says how many epochs it trained, and under it what was tested and compared less than in full.\n"
    "ref trains mlp and cnn; for resnet18 it takes too long.\n\n"
    "  --devices A,B   or all: every usable device but sim, which is there when named (all)\n"
    "  --seconds X     of training on each device at most, and for test and lockstep a third as much each\n"
    "                  (36; 0: no limit)\n"
    "  --points N      of lockstep (10), --every N steps (10)\n"
    "  --dtypes A,B    of lockstep: float32, float64, float16, bfloat16, or all, with what they may differ by\n"
    "                  (float32); the training itself is in float32\n"
    "  --model, --epochs, --batch, --lr, --seed, --data, --json   as for train\n",
    run_compare};
