/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file that the host finds: it opens the backend proper, librushlight_onednn.so beside it, and hands on its table.
 *
 * Two files because of libgomp, which comes with the backend proper. Its threads wait by spinning for some ten
 * milliseconds before they sleep; where other programs want the processor too, that is a wait for a thread that does
 * not run, at every parallel region: training was seen to slow down forty times. How long they spin can only be said by
 * a variable of the environment, which libgomp reads when it is loaded. So the environment has it for that moment.
 */
#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rushlight/backend.h"

/* Some dozen microseconds to a hundred: long enough for the pause between two ops. */
static char spin_count[] = "GOMP_SPINCOUNT=3000";

/* Whoever looked at the environment meanwhile may go on looking: it is kept (volatile: or else the compiler would not).
 */
static char **volatile kept;

/* The environment with the variable before it; NULL where there is no memory. */
static char **with_spin_count(char **given) {
    size_t count = 0;
    while (given && given[count])
        count++;
    char **made = malloc((count + 2) * sizeof *made);
    if (made == NULL)
        return NULL;
    made[0] = spin_count;
    for (size_t i = 0; i < count; i++)
        made[i + 1] = given[i];
    made[count + 1] = NULL;
    return kept = made;
}

/* Once for all lives of the host: libgomp's threads sleep in the library. environ is exchanged as a whole, for setenv
 * would move strings under the eyes of other threads. */
static void *open_library(const char *path) {
    static void *library;
    static int tried;
    if (library)
        return library;
    char **given = environ;
    int ours = !tried && !getenv("GOMP_SPINCOUNT") && !getenv("OMP_WAIT_POLICY");
    char **with = ours ? with_spin_count(given) : NULL;
    if (with)
        environ = with;
    library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    tried = 1;
    if (with)
        environ = given;
    return library;
}

int rl_backend_query(uint32_t host_abi, const rl_host *host, const rl_backend **out_backend) {
    static const char name[] = "librushlight_onednn.so";
    char path[PATH_MAX];
    Dl_info info;
    void *here;
    rl_backend_query_fn query = rl_backend_query;
    memcpy(&here, &query, sizeof here);
    const char *slash = dladdr(here, &info) && info.dli_fname ? strrchr(info.dli_fname, '/') : NULL;
    int folder = slash ? (int)(slash + 1 - info.dli_fname) : 0;
    if (snprintf(path, sizeof path, "%.*s%s", folder, slash ? info.dli_fname : "", name) >= (int)sizeof path)
        return host->fail(RL_NOT_FOUND, "the path of %s is too long", name);
    void *library = open_library(path);
    void *symbol = library ? dlsym(library, RL_BACKEND_QUERY_SYMBOL) : NULL;
    if (symbol == NULL)
        return host->fail(RL_NOT_FOUND, "%s", dlerror());
    memcpy(&query, &symbol, sizeof query);
    return query(host_abi, host, out_backend);
}
