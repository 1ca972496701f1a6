/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands share: exit statuses, options, output. The command uses the public C API alone. */
#ifndef RUSHLIGHT_FRONTENDS_CLI_COMMAND_H
#define RUSHLIGHT_FRONTENDS_CLI_COMMAND_H

#include <stdio.h>

#include "lockstep.h"
#include "rushlight/rushlight.h"

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_INTERRUPTED = 130 };

typedef struct command {
    const char *name;
    const char *text;                  /* one line for the list of commands */
    const char *help;                  /* the whole of `rushlight NAME --help` */
    int (*run)(int argc, char **argv); /* argv[0] is the command's name */
} command;
extern const command command_train, command_compare, command_bench, command_devices, command_ops, command_env,
    command_check;

/* Options (options.c)
 * --------------------------------------------------------------------------------------------------- */

typedef enum option_kind { OPTION_FLAG, OPTION_INT, OPTION_REAL, OPTION_TEXT } option_kind;
typedef struct option_spec {
    const char *name; /* "--epochs" */
    option_kind kind;
    void *target;     /* bool, int64_t, double, const char * */
    double low, high; /* bounds of numbers, inclusive */
} option_spec;
/* Fills targets and *out_operands (the arguments that are no options, borrowed from argv). Says what is wrong in one
 * line on stderr. --help prints `help` and sets *out_done. Returns EXIT_OK or EXIT_USAGE. */
int parse_options(const command *about, int argc, char **argv, const option_spec *specs, int n_specs,
                  const char **operands, int room, int *out_operands, bool *out_done);

/* The devices of "a,b,c", each once; "all": every usable one but sim, which is only there when named. Returns how many
 * they are; -1 and an error where one cannot be had. */
int parse_devices(const char *names, rl_device **out_devices, int room);

/* Errors
 * ------------------------------------------------------------------------------------------------------------------ */

/* "rushlight: sentence" on stderr; clears the error. Returns EXIT_FAILED. */
int report_error(void);
/* "rushlight NAME: ..." on stderr, with a pointer to --help. Returns EXIT_USAGE. */
int usage_error(const command *about, const char *format, ...) RL_PRINTF_(2, 3);

/* Progress (progress.c): a bar on a terminal; nothing when stderr is no terminal.
 * ---------------------------------------------- */

typedef struct progress {
    const char *label;
    int64_t total;
    double started, shown;
    bool live;
} progress;
void progress_start(progress *self, const char *label, int64_t total);
/* `detail` stands at the end of the bar. Redraws ten times a second at most. */
void progress_show(progress *self, int64_t done, const char *detail);
/* Takes the bar away. */
void progress_end(progress *self);
double seconds_now(void); /* of a clock that never steps */

/* Pace (pace.c): at most PACE_STEPS steps of a training are under way on the device.
 * ------------------------------------------------------------------------------------------ */

enum { PACE_STEPS = 2 };
typedef struct pace {
    rl_event *events[PACE_STEPS]; /* each behind one of the last steps; of the scope in which it was started */
    int64_t steps;
} pace;
rl_status pace_start(pace *self, rl_device *device);
/* After a step was issued: waits for the one PACE_STEPS before it. */
rl_status pace_step(pace *self);

/* Ctrl-C: true once it was pressed; a second one ends the program at once. */
void catch_interrupt(void);
bool interrupted(void);

/* A JSON string with its quotes. */
void print_json_string(FILE *out, const char *text);
/* `, "name": number` in that format; null where it is NaN. */
void print_json_number(FILE *out, const char *name, double number, const char *format);

/* Models and training (train.c)
 * ---------------------------------------------------------------------------------------------------- */

typedef struct train_options {
    const char *task, *model, *data, *device, *save, *load;
    int64_t epochs, batch, seed;
    double lr;
    double seconds;      /* time to train at most, 0: no limit */
    double test_seconds; /* for the test set at most: the accuracy is then that of its first part; 0: no limit */
    bool json, quiet;
} train_options;

typedef struct train_result {
    int64_t images;        /* trained on */
    int64_t epoch_images;  /* of the training set */
    double seconds;        /* of training alone */
    double loss, accuracy; /* mean of the last epoch; of the test set, after it; NaN where there was none */
    int64_t tested;        /* images of the test set that the accuracy is of */
    int64_t test_images;   /* of the test set */
    bool interrupted;
} train_result;

/* Passes over the training set, a part of the last where time or Ctrl-C ended it. */
double epochs_trained(const train_result *self);
/* Of training alone; NaN where there was none. */
double images_per_second(const train_result *self);

extern const train_options train_defaults;
/* The folder of the data: the option, or where Debian's package puts it. */
const char *data_folder(const train_options *options);
/* Models (models.c): on the default device; NULL and an error where that failed. */
rl_module *model_new(const char *name);
bool model_known(const char *name);
const char *model_names(void); /* for sentences */
/* Whether plain loops get through some steps of it within a minute. */
bool model_small(const char *name);
/* As an optimizer's option: 0 is meant. */
static inline double rate_option(double lr) {
    return lr == 0.0 ? (double)RL_ZERO : lr;
}
rl_status train(const train_options *options, rl_device *device, train_result *out_result);

/* Lockstep (lockstep.c): how far one step on a device is from the same step on ref, from the same state, in each of
 * the dtypes of lockstep_bounds (tests/conformance); ref computes no more than these steps.
 * ------------------------------ */

typedef struct lockstep_options {
    int points, every; /* steps that are compared: 0, every, 2 every ... */
    uint32_t dtypes;   /* bit i: in the dtype of lockstep_bounds[i] */
    double seconds;    /* the step after that long is the last one, and compared; 0: no limit */
} lockstep_options;

typedef struct lockstep_distance {
    int points;            /* that were compared; 0: not asked for, or the device does not take the dtype */
    double loss, gradient; /* the largest relative difference of the loss; of the gradients, in norm */
} lockstep_distance;

typedef struct lockstep_result {
    lockstep_distance apart[LOCKSTEP_DTYPES];
    char failure[160]; /* what went wrong where the library holds no error; "" otherwise */
} lockstep_result;
rl_status lockstep(const train_options *options, rl_device *device, const lockstep_options *how,
                   lockstep_result *out_result);

#endif
