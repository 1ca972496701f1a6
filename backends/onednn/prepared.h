/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table of what is costly to make and made again and again, such as oneDNN's primitives: by key, bounded, the entry
 * that was not used for longest goes first. Entries in use stay. Any thread.
 */
#ifndef RUSHLIGHT_BACKENDS_ONEDNN_PREPARED_H
#define RUSHLIGHT_BACKENDS_ONEDNN_PREPARED_H

#include <pthread.h>

#include "pool.h"

typedef struct od_prepared { /* the first member of an entry; the key follows it */
    struct od_prepared *next;
    uint64_t hash, last_use;
    size_t bytes; /* that it counts for most_bytes; set by make */
    int users;
} od_prepared;

#define OD_PREPARED_BUCKETS 256
typedef struct od_prepared_table {
    size_t entry_bytes, key_bytes;
    int most;          /* entries that are kept */
    size_t most_bytes; /* and bytes; 0: any number */
    /* Makes what the entry's key asks for, RL_OK or after host->fail another status. Alone, outside a parallel region.
     */
    rl_status (*make)(od_prepared *entry);
    void (*drop)(od_prepared *entry);   /* frees what make made, also half of it; not the entry */
    void (*forked)(od_prepared *entry); /* in a child: its users are gone; may be NULL */
    pthread_mutex_t lock;
    od_prepared *buckets[OD_PREPARED_BUCKETS];
    uint64_t clock;
    size_t bytes;
    int count;
} od_prepared_table;
#define OD_PREPARED_TABLE(entry, key, number, all_bytes, maker, dropper, forker)                                       \
    {                                                                                                                  \
        .entry_bytes = sizeof(entry), .key_bytes = sizeof(key), .most = (number), .most_bytes = (all_bytes),           \
        .make = (maker), .drop = (dropper), .forked = (forker), .lock = PTHREAD_MUTEX_INITIALIZER                      \
    }

/* The entry of a key (all its bytes count), made where there is none yet: to be given back. On failure what make or
 * host->fail gave, and *out is NULL. */
rl_status od_prepared_take(od_prepared_table *self, const void *key, od_prepared **out);
/* The entry of a key, to be given back; NULL where there is none. */
od_prepared *od_prepared_find(od_prepared_table *self, const void *key);
void od_prepared_give(od_prepared_table *self, od_prepared *entry); /* takes NULL */
/* Drops the entries of which `goes` says so, but those in use. */
void od_prepared_drop(od_prepared_table *self, int (*goes)(const od_prepared *entry, const void *context),
                      const void *context);
/* Drops all. No entry is in use. */
void od_prepared_clear(od_prepared_table *self);
/* Around a fork: no other thread is in `make` meanwhile, and so in no lock of the library's. */
void od_prepared_hold(od_prepared_table *self);
void od_prepared_release(od_prepared_table *self);
/* In a child made by fork: the lock is free, and no entry is in use by threads that are not here. */
void od_prepared_forked(od_prepared_table *self);

#endif
