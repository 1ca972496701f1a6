/* SPDX-License-Identifier: Apache-2.0 */
/* The command `rushlight`. */
#include <string.h>

#include "command.h"

static int run_version(int argc, char **argv);
static const command command_version = {"version", "the version", "usage: rushlight version\n\nPrints the version.\n",
                                        run_version};
static const command *const commands[] = {&command_train, &command_compare, &command_bench, &command_devices,
                                          &command_ops,   &command_env,     &command_check, &command_version};
#define N_COMMANDS ((int)(sizeof commands / sizeof commands[0]))

static int run_version(int argc, char **argv) {
    bool done;
    int count, status = parse_options(&command_version, argc, argv, NULL, 0, NULL, 0, &count, &done);
    if (status || done)
        return status;
    printf("rushlight %s (plugin ABI %u)\n", rl_version(), RL_ABI_VERSION);
    return EXIT_OK;
}

static void print_usage(FILE *out) {
    fprintf(out, "usage: rushlight COMMAND [arguments]\n\nDeep learning on whatever device is at hand.\n\n");
    for (int i = 0; i < N_COMMANDS; i++)
        fprintf(out, "  %-10s %s\n", commands[i]->name, commands[i]->text);
    fprintf(out,
            "\n`rushlight COMMAND --help` tells more. RUSHLIGHT_DEVICE picks the device: see `rushlight devices`.\n");
}

static int run(int argc, char **argv) {
    if (argc < 2) {
        print_usage(stderr);
        return EXIT_USAGE;
    }
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
        if (argc > 2 && argv[1][0] == 'h')
            for (int i = 0; i < N_COMMANDS; i++)
                if (!strcmp(argv[2], commands[i]->name))
                    return fputs(commands[i]->help, stdout) < 0 ? EXIT_FAILED : EXIT_OK;
        print_usage(stdout);
        return EXIT_OK;
    }
    if (!strcmp(argv[1], "--version"))
        return run_version(1, argv);
    for (int i = 0; i < N_COMMANDS; i++)
        if (!strcmp(argv[1], commands[i]->name))
            return commands[i]->run(argc - 1, argv + 1);
    fprintf(stderr, "rushlight: no command '%.60s'; see rushlight --help\n", argv[1]);
    return EXIT_USAGE;
}

int main(int argc, char **argv) {
    int status = run(argc, argv);
    rl_shutdown();
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "rushlight: standard output could not be written\n");
        return status ? status : EXIT_FAILED;
    }
    return status;
}
