/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel cache on disk: a file an entry, in RUSHLIGHT_CACHE or $XDG_CACHE_HOME/rushlight, named by a hash of its
 * key. A file is written beside its place and renamed, so that a reader never sees half of one and two writers do no
 * harm; it holds the key and a checksum, and what is damaged, stale or not the user's own is as if it were not there.
 * Beyond RL_CACHE_BYTES the entries that were not read for longest go. All functions are safe from any thread and
 * process.
 */
#ifndef RUSHLIGHT_DISPATCH_CACHE_H
#define RUSHLIGHT_DISPATCH_CACHE_H

#include "rushlight/backend.h"

#define RL_CACHE_BYTES (256ull << 20)

/* As rl_host.cache_get and cache_put. */
rl_status rl_cache_get(const char *key, void *data, size_t *bytes);
rl_status rl_cache_put(const char *key, const void *data, size_t bytes);
/* Removes the entries that were read longest ago until all others take no more than `most` bytes. */
void rl_cache_trim(uint64_t most);

#endif
