/* SPDX-License-Identifier: Apache-2.0 */
#include "clones.h"

#include <stdlib.h>
#include <string.h>

#ifdef OD_X86_CLONES
#include <cpuid.h>

static int has_f16c(void) {
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}
static int has_avx2(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
}
static int has_avx512(void) {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
#endif
static int has_baseline(void) {
    return 1;
}

static const struct clone {
    const od_kernels *kernels;
    int (*runs_here)(void);
} clones[] = {
/* best first */
#ifdef OD_X86_CLONES
    {&od_kernels_avx512, has_avx512},
    {&od_kernels_avx2, has_avx2},
#endif
    {&od_kernels_baseline, has_baseline},
};
#define N_CLONES (int)(sizeof clones / sizeof clones[0])

const od_kernels *od_pick_kernels(const char **out_reason) {
    const char *wanted = secure_getenv("RUSHLIGHT_ONEDNN_ISA");
    const int any = wanted == NULL || *wanted == '\0';
#ifdef OD_X86_CLONES
    __builtin_cpu_init();
#endif
    *out_reason = "names no instruction set that this build knows (baseline, avx2, avx512)";
    for (int i = 0; i < N_CLONES; i++) {
        if (!any && strcmp(wanted, clones[i].kernels->name) != 0)
            continue;
        if (clones[i].runs_here())
            return clones[i].kernels;
        *out_reason = "names an instruction set that this machine does not have";
    }
    return NULL;
}
