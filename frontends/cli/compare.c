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
    bool is_reference;
    char failure[512]; /* "" where it went well */
} row;

static int choose_devices(const char *names, row *rows) {
    rl_device *devices[DEVICES_MOST];
    int count = parse_devices(names, devices, DEVICES_MOST);
    for (int i = 0; i < count; i++)
        rows[i].device = devices[i];
    return count;
}

/* ref's plain loops train the small model only; of the others they compute the points of lockstep. */
static void run_row(row *self, const train_options *options, int points, int every) {
    self->is_reference = self->device == rl_device_get("ref:0");
    self->trained = (train_result){.loss = (double)NAN, .accuracy = (double)NAN, .epoch_images = 1};
    bool trains = !self->is_reference || !strcmp(options->model, "mlp");
    if (rl_device_set_default(self->device) || (trains && train(options, self->device, &self->trained)) ||
        (!self->is_reference && !interrupted() && lockstep(options, self->device, points, every, &self->apart)))
        snprintf(self->failure, sizeof self->failure, "%s", rl_failed() ? rl_error_text() : self->apart.failure);
    rl_error_clear();
}

static void print_table(const row *rows, int count) {
    printf("\n%-12s %12s %9s %12s %28s\n", "device", "images/s", "epochs", "accuracy", "from ref: loss, gradients");
    for (int i = 0; i < count; i++) {
        const row *r = &rows[i];
        if (*r->failure) {
            printf("%-12s failed: %s\n", rl_device_name(r->device), r->failure);
            continue;
        }
        printf("%-12s ", rl_device_name(r->device));
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
        else
            printf("%16.1e, %10.1e\n", r->apart.loss, r->apart.gradient);
    }
}

static void print_table_json(const row *rows, int count) {
    printf("[");
    for (int i = 0; i < count; i++) {
        const row *r = &rows[i];
        printf("%s\n  {\"device\": ", i ? "," : "");
        print_json_string(stdout, rl_device_name(r->device));
        printf(", \"failure\": ");
        print_json_string(stdout, r->failure);
        print_json_number(stdout, "images_per_second", images_per_second(&r->trained), "%.1f");
        printf(", \"images\": %lld", (long long)r->trained.images);
        print_json_number(stdout, "epochs", epochs_trained(&r->trained), "%.6g");
        print_json_number(stdout, "accuracy", r->trained.accuracy, "%.4f");
        printf(", \"points\": %d", r->apart.points);
        print_json_number(stdout, "loss_difference", r->apart.loss, "%.3e");
        print_json_number(stdout, "gradient_difference", r->apart.gradient, "%.3e");
        printf("}");
    }
    printf("\n]\n");
}

static int run_compare(int argc, char **argv) {
    train_options o = train_defaults;
    static row rows[DEVICES_MOST];
    const char *task = NULL, *devices = "all";
    int64_t points = 10, every = 10;
    bool done, failed = false;
    o.seconds = 45.0;
    const option_spec specs[] = {
        {"--devices", OPTION_TEXT, &devices, 0, 0},     {"--model", OPTION_TEXT, &o.model, 0, 0},
        {"--epochs", OPTION_INT, &o.epochs, 1, 1e6},    {"--batch", OPTION_INT, &o.batch, 1, 1e6},
        {"--lr", OPTION_REAL, &o.lr, 0, 1e6},           {"--seed", OPTION_INT, &o.seed, 0, 9.2e18},
        {"--seconds", OPTION_REAL, &o.seconds, 0, 1e9}, {"--data", OPTION_TEXT, &o.data, 0, 0},
        {"--points", OPTION_INT, &points, 1, 1000},     {"--every", OPTION_INT, &every, 1, 1000},
        {"--json", OPTION_FLAG, &o.json, 0, 0}};
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
    if ((count = choose_devices(devices, rows)) < 0)
        return report_error();
    if (!count)
        return usage_error(&command_compare, "no device to compare");
    catch_interrupt();
    for (int i = 0; i < count && !interrupted(); i++) {
        fprintf(o.json ? stderr : stdout, "%s\n", rl_device_name(rows[i].device));
        fflush(stdout);
        run_row(&rows[i], &o, (int)points, (int)every);
        failed = failed || *rows[i].failure;
    }
    if (interrupted())
        return EXIT_INTERRUPTED;
    if (o.json)
        print_table_json(rows, count);
    else
        print_table(rows, count);
    return failed ? EXIT_FAILED : EXIT_OK;
}

const command command_compare = {
    "compare", "the same training on several devices, in one table",
    "usage: rushlight compare fashion-mnist [options]\n\n"
    "Trains the same network on each device (ref trains only mlp, for it takes its time), then runs lockstep\n"
    "against ref: at steps 0, 10, 20 ... of a training, one step on both from the same state, and how far the\n"
    "device's loss (relative) and its gradients (relative, in norm) are from ref's.\n\n"
    "  --devices A,B   or all: every usable device but sim, which is there when named (all)\n"
    "  --seconds X     of training on each device at most (45; 0: no limit); the table says how many epochs that were\n"
    "  --points N      of lockstep (10), --every N steps (10)\n"
    "  --model, --epochs, --batch, --lr, --seed, --data, --json   as for train\n",
    run_compare};
