/* SPDX-License-Identifier: Apache-2.0 */
/* The one table of environment variables: `rushlight env` prints it. */
#ifndef RUSHLIGHT_RUNTIME_BASE_ENV_H
#define RUSHLIGHT_RUNTIME_BASE_ENV_H

#include "rushlight/base.h"

/* X(NAME, "default", "meaning"). The last four are read by the backends of their names, not by the runtime. */
#define RL_ENV_LIST(X)                                                                                                 \
    X(DEVICE, "the usable device of highest rank", "device that tensors are made on: ref, onednn, onednn:0 ...")       \
    X(BACKEND_PATH, "", "absolute paths of further backends, files and folders, by ':'")                               \
    X(THREADS, "the cores this process may run on", "threads of a host backend, 1 to 1024")                            \
    X(VERBOSE, "", "log topics to stderr, separated by ',': load, dispatch, memory, backend, all")                     \
    X(QUIET, "0", "1: do not say which device was chosen")                                                             \
    X(STRICT, "0", "1: an op that would compute on the host instead of the device is an error")                        \
    X(CACHE, "$XDG_CACHE_HOME/rushlight", "folder of the kernel cache")                                                \
    X(MEMORY_LIMIT, "0", "bytes that the allocator takes from each device at most; 0: no limit")                       \
    X(ONEDNN_ISA, "the best of this machine", "of onednn, for tests: baseline, avx2 or avx512")                        \
    X(OPENCL_KERNELS, "what suits the device", "of opencl, for tests: cpu, gpu, build, interpret, separated by ','")   \
    X(OPENCL_PROFILE, "0", "1: what each row of opencl took is told at its end, with VERBOSE=backend")                 \
    X(OPENCL_OPTIONS, "none", "more options for the compilers of opencl: \"-cl-opt-disable\", \"-g\"")

#define RL_ENV_ENUM_(NAME, default_text, text) RL_ENV_##NAME,
typedef enum rl_env { RL_ENV_LIST(RL_ENV_ENUM_) RL_ENV_COUNT } rl_env;
#undef RL_ENV_ENUM_

typedef struct rl_env_info {
    const char *name; /* "RUSHLIGHT_DEVICE" */
    const char *default_text;
    const char *text;
} rl_env_info;
RL_API const rl_env_info *rl_env_describe(rl_env variable);
/* Its value by secure_getenv; NULL where it is unset or empty. Borrowed from the environment. */
RL_API const char *rl_env_get(rl_env variable);
/* As a number within [low, high]; unset gives `fallback`; anything else warns once and gives `fallback`. */
int64_t rl_env_int(rl_env variable, int64_t low, int64_t high, int64_t fallback);
bool rl_env_flag(rl_env variable);

#endif
