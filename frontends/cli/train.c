/* SPDX-License-Identifier: Apache-2.0 */
/* train: a network on MNIST's kind of data. */
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"

#define FASHION_FOLDER "/usr/share/datasets/fashion-mnist"

const train_options train_defaults = {.task = "fashion-mnist", .model = "mlp", .epochs = 5, .batch = 128, .lr = 1e-3};

const char *data_folder(const train_options *options) {
    return options->data ? options->data : FASHION_FOLDER;
}

/* Checkpoints: the model in FILE, the optimizer's state beside it in FILE.optimizer.
 * ------------------------------------------ */

/* Cut where it is too long: no file of that name can be opened. */
static void optimizer_path(const char *file, char *path, size_t room) {
    snprintf(path, room, "%s.optimizer", file);
}
/* Asked before the training, lest its work be lost after it. */
static rl_status can_save_all(const char *file) {
    char path[PATH_MAX + 16];
    optimizer_path(file, path, sizeof path);
    rl_safetensors_can_save(file);
    return rl_safetensors_can_save(path);
}
static rl_status save_all(const char *file, rl_module *net, rl_optimizer *optimizer) {
    char path[PATH_MAX + 16];
    optimizer_path(file, path, sizeof path);
    rl_module_save(net, file);
    return rl_optimizer_save(optimizer, path);
}
/* The optimizer's state is optional: a model alone can be loaded too. */
static rl_status load_all(const char *file, rl_module *net, rl_optimizer *optimizer) {
    char path[PATH_MAX + 16];
    optimizer_path(file, path, sizeof path);
    if (rl_module_load(net, file))
        return rl_error_status();
    return access(path, F_OK) == 0 ? rl_optimizer_load(optimizer, path) : RL_OK;
}

/* Training
 * --------------------------------------------------------------------------------------------------------------------
 */

typedef struct training {
    const train_options *options;
    rl_device *device;
    rl_module *net;
    rl_optimizer *optimizer;
    rl_loader *train, *test;
    double started;
    train_result *result;
} training;

#define TEST_BATCH 200 /* images of the test that are waited for after Ctrl-C */

double epochs_trained(const train_result *self) {
    return self->epoch_images > 0 ? (double)self->images / (double)self->epoch_images : 0.0;
}
double images_per_second(const train_result *self) {
    return self->seconds > 0.0 ? (double)self->images / self->seconds : (double)NAN;
}

static double accuracy(training *self) {
    int64_t right = 0, seen = 0;
    double started = seconds_now(), most = self->options->test_seconds;
    rl_tensor *x, *y;
    RL_NO_GRAD();
    rl_module_train(self->net, false);
    while (rl_loader_next2(self->test, &x, &y)) {
        RL_SCOPE();
        rl_tensor *hit = rl_eq(rl_argmax(rl_module_forward(self->net, x), .dim = 1), y);
        right += rl_item_int(rl_sum(hit));
        seen += rl_tensor_size(y, 0);
        if (interrupted() || (most > 0.0 && seconds_now() - started > most))
            break;
    }
    rl_loader_set_epoch(self->test, 0); /* from its first batch the next time */
    rl_module_train(self->net, true);
    self->result->tested = seen;
    return seen && !interrupted() ? (double)right / (double)seen : (double)NAN;
}

static bool out_of_time(const training *self) {
    return interrupted() || (self->options->seconds > 0.0 && seconds_now() - self->started > self->options->seconds);
}

/* Half a cosine from the given learning rate down to 0 over all epochs (Loshchilov and Hutter 2017, without restarts).
 */
static double rate_at(const training *self, int64_t epoch, int64_t batch, int64_t batches) {
    double total = (double)(self->options->epochs * batches);
    return 0.5 * self->options->lr * (1.0 + cos(3.14159265358979323846 * (double)(epoch * batches + batch) / total));
}

/* The losses are added up on the device and read once: reading one waits for it. */
static rl_status train_batch(training *self, rl_tensor *x, rl_tensor *y, rl_tensor *loss_sum) {
    RL_SCOPE();
    rl_tensor *loss = rl_cross_entropy(rl_module_forward(self->net, x), y);
    rl_optimizer_zero_grad(self->optimizer);
    rl_backward(loss);
    rl_optimizer_step(self->optimizer);
    {
        RL_NO_GRAD();
        rl_add_(loss_sum, loss);
    }
    return rl_error_status();
}

static rl_status train_epoch(training *self, int64_t epoch) {
    int64_t batches = rl_loader_batches(self->train), done = 0;
    double started = seconds_now();
    progress bar;
    pace steps;
    char label[64], detail[64];
    rl_tensor *x, *y;
    RL_SCOPE();
    pace_start(&steps, self->device);
    rl_tensor *loss_sum = rl_zeros(RL_NO_DIMS, .device = self->device);
    snprintf(label, sizeof label, "epoch %lld/%lld", (long long)epoch + 1, (long long)self->options->epochs);
    progress_start(&bar, label, batches);
    while (!out_of_time(self) && rl_loader_next2(self->train, &x, &y)) {
        int64_t images = rl_tensor_size(y, 0);
        rl_optimizer_set_lr(self->optimizer, rate_at(self, epoch, done, batches));
        if (train_batch(self, x, y, loss_sum) || pace_step(&steps))
            break;
        self->result->images += images;
        done++;
        if (bar.live && (done % 16 == 0 || done == batches)) {
            snprintf(detail, sizeof detail, "loss %.4f", rl_item(loss_sum) / (double)done);
            progress_show(&bar, done, detail);
        }
    }
    progress_end(&bar);
    if (rl_failed())
        return rl_error_status();
    self->result->loss = done ? rl_item(loss_sum) / (double)done : (double)NAN; /* waits for the device */
    self->result->seconds += seconds_now() - started;
    return rl_error_status();
}

static rl_status train_epochs(training *self) {
    for (int64_t epoch = 0; epoch < self->options->epochs && !out_of_time(self); epoch++) {
        if (train_epoch(self, epoch))
            return rl_error_status();
        if (interrupted())
            break;
        self->result->accuracy = accuracy(self);
        if (!self->options->quiet && !rl_failed()) {
            char tested[32] = "not measured";
            if (!isnan(self->result->accuracy))
                snprintf(tested, sizeof tested, "%.2f %%", 100.0 * self->result->accuracy);
            fprintf(self->options->json ? stderr : stdout, "epoch %.4g  loss %.4f  test accuracy %s  %.0f images/s\n",
                    epochs_trained(self->result), self->result->loss, tested, images_per_second(self->result));
            fflush(stdout);
        }
    }
    self->result->interrupted = interrupted();
    return rl_error_status();
}

rl_status train(const train_options *options, rl_device *device, train_result *out_result) {
    training self = {.options = options, .device = device, .result = out_result};
    const char *folder = data_folder(options);
    *out_result = (train_result){.loss = (double)NAN, .accuracy = (double)NAN};
    RL_SCOPE();
    rl_manual_seed((uint64_t)options->seed);
    self.net = model_new(options->model);
    rl_module_to(self.net, device, RL_DTYPE_NONE);
    self.optimizer = rl_optimizer_adam(self.net, .lr = rate_option(options->lr));
    rl_dataset *images = rl_dataset_mnist(folder, true);
    out_result->epoch_images = rl_dataset_size(images);
    self.train = rl_loader_new(images, .batch_size = options->batch, .shuffle = true,
                               .seed = (uint64_t)options->seed + 1, .device = device);
    rl_dataset *test_images = rl_dataset_mnist(folder, false);
    out_result->test_images = rl_dataset_size(test_images);
    self.test = rl_loader_new(test_images, .batch_size = TEST_BATCH, .device = device);
    if (!rl_failed() && options->load)
        load_all(options->load, self.net, self.optimizer);
    if (options->save)
        can_save_all(options->save);
    if (rl_failed())
        return rl_error_status();
    self.started = seconds_now();
    if (train_epochs(&self))
        return rl_error_status();
    if (options->epochs == 0) { /* how good is what was loaded? */
        out_result->accuracy = accuracy(&self);
        if (!options->quiet && !rl_failed() && !interrupted())
            fprintf(options->json ? stderr : stdout, "test accuracy %.2f %%\n", 100.0 * out_result->accuracy);
    }
    if (rl_failed())
        return rl_error_status();
    return options->save ? save_all(options->save, self.net, self.optimizer) : RL_OK;
}

/* The command
 * -------------------------------------------------------------------------------------------------------------------
 */

static void print_result_json(const train_options *options, rl_device *device, const train_result *r) {
    printf("{\"task\": ");
    print_json_string(stdout, options->task);
    printf(", \"model\": ");
    print_json_string(stdout, options->model);
    printf(", \"device\": ");
    print_json_string(stdout, rl_device_name(device));
    print_json_number(stdout, "epochs", epochs_trained(r), "%.6g");
    printf(", \"images\": %lld, \"seconds\": %.3f", (long long)r->images, r->seconds);
    print_json_number(stdout, "images_per_second", images_per_second(r), "%.1f");
    print_json_number(stdout, "loss", r->loss, "%.6f");
    print_json_number(stdout, "accuracy", r->accuracy, "%.4f");
    printf(", \"interrupted\": %s, \"saved\": ", r->interrupted ? "true" : "false");
    if (options->save)
        print_json_string(stdout, options->save);
    printf("%s}\n", options->save ? "" : "null");
}

static int run_train(int argc, char **argv) {
    train_options o = train_defaults;
    train_result result;
    rl_device *device;
    const char *task = NULL;
    bool done;
    const option_spec specs[] = {
        {"--model", OPTION_TEXT, &o.model, 0, 0},      {"--epochs", OPTION_INT, &o.epochs, 0, 1e6},
        {"--batch", OPTION_INT, &o.batch, 1, 1e6},     {"--lr", OPTION_REAL, &o.lr, 0, 1e6},
        {"--seed", OPTION_INT, &o.seed, 0, 9.2e18},    {"--device", OPTION_TEXT, &o.device, 0, 0},
        {"--data", OPTION_TEXT, &o.data, 0, 0},        {"--save", OPTION_TEXT, &o.save, 0, 0},
        {"--load", OPTION_TEXT, &o.load, 0, 0},        {"--json", OPTION_FLAG, &o.json, 0, 0},
        {"--seconds", OPTION_REAL, &o.seconds, 0, 1e9}};
    int operands, status = parse_options(&command_train, argc, argv, specs, (int)(sizeof specs / sizeof specs[0]),
                                         &task, 1, &operands, &done);
    if (status || done)
        return status;
    if (!task)
        return usage_error(&command_train, "needs the name of the data: fashion-mnist");
    if (strcmp(task, "fashion-mnist") != 0)
        return usage_error(&command_train, "trains fashion-mnist (or, with --data, what has its form), got '%.60s'",
                           task);
    if (!model_known(o.model))
        return usage_error(&command_train, "no model '%.60s'; there are: %s", o.model, model_names());
    catch_interrupt();
    device = o.device ? rl_device_get(o.device) : rl_device_default();
    if (!device || rl_device_set_default(device)) /* what makes tensors without naming a device makes them there */
        return report_error();
    if (train(&o, device, &result))
        return report_error();
    if (o.json)
        print_result_json(&o, device, &result);
    if (result.interrupted)
        fprintf(o.json ? stderr : stdout, "interrupted after %.4g epochs%s%s\n", epochs_trained(&result),
                o.save ? "; saved to " : "", o.save ? o.save : "");
    return result.interrupted ? EXIT_INTERRUPTED : EXIT_OK;
}

const command command_train = {
    "train", "train a network on real data",
    "usage: rushlight train fashion-mnist [options]\n\n"
    "Trains a network with Adam and prints loss, test accuracy and images per second of each epoch.\n\n"
    "  --model NAME    mlp: 784-512-256-10 with ReLU (default); cnn: two convolutions with batch norm and pooling, "
    "two\n"
    "                  linear layers; resnet18: ResNet-18 for small images\n"
    "  --epochs N      passes over the training set (5); 0: only the test accuracy of what --load gives\n"
    "  --batch N       images of a step (128)\n"
    "  --lr X          learning rate at first; it falls to 0 along a cosine over all epochs (0.001)\n"
    "  --seed N        of weights and order (0)\n"
    "  --device D      such as onednn or ref:0 (RUSHLIGHT_DEVICE, else the best)\n"
    "  --data DIR      folder of the four IDX files, gzipped or not (" FASHION_FOLDER ")\n"
    "  --seconds X     stop training after this time, then test as ever; 0: no limit\n"
    "  --save FILE     write the weights as safetensors at the end, the optimizer's state to FILE.optimizer\n"
    "  --load FILE     begin with weights (and state) from there\n"
    "  --json          one line of JSON at the end; progress goes to stderr\n\n"
    "Ctrl-C ends after the step in progress, saves where --save is given, and leaves with status 130; twice:\n"
    "at once. An epoch that time or Ctrl-C ends is counted as the part of it that was trained.\n",
    run_train};
