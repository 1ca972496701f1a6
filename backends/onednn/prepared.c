/* SPDX-License-Identifier: Apache-2.0 */
#include "prepared.h"

#include <stdlib.h>
#include <string.h>

static void *key_of(od_prepared *entry) {
    return entry + 1;
}

static uint64_t hash_of(const unsigned char *key, size_t bytes) {
    uint64_t hash = 0, word;
    for (size_t i = 0; i < bytes; i += sizeof word) {
        word = 0;
        memcpy(&word, key + i, bytes - i < sizeof word ? bytes - i : sizeof word);
        hash = (hash ^ word) * 0x9E3779B97F4A7C15u;
        hash ^= hash >> 29;
    }
    return hash;
}

static void drop_at(od_prepared_table *self, od_prepared **at) {
    od_prepared *gone = *at;
    *at = gone->next;
    self->count--;
    self->bytes -= gone->bytes;
    self->drop(gone);
    free(gone);
}

/* False where all entries are in use. */
static int drop_oldest(od_prepared_table *self) {
    od_prepared **oldest = NULL;
    for (int b = 0; b < OD_PREPARED_BUCKETS; b++)
        for (od_prepared **at = &self->buckets[b]; *at != NULL; at = &(*at)->next)
            if ((*at)->users == 0 && (oldest == NULL || (*at)->last_use < (*oldest)->last_use))
                oldest = at;
    if (oldest == NULL)
        return 0;
    drop_at(self, oldest);
    return 1;
}

static int is_full(const od_prepared_table *self, size_t bytes) {
    return self->count >= self->most || (self->most_bytes > 0 && self->bytes + bytes > self->most_bytes);
}

static rl_status add(od_prepared_table *self, const void *key, uint64_t hash, od_prepared **out) {
    od_prepared *made = calloc(1, self->entry_bytes);
    if (made == NULL)
        return od_host->fail(RL_OUT_OF_MEMORY, "onednn: no memory for a prepared primitive of %zu bytes",
                             self->entry_bytes);
    made->hash = hash;
    memcpy(key_of(made), key, self->key_bytes);
    const rl_status status = self->make(made);
    if (status != RL_OK) { /* not kept: it may be had another time */
        self->drop(made);
        free(made);
        return status;
    }
    while (is_full(self, made->bytes) && drop_oldest(self))
        ;
    self->count++;
    self->bytes += made->bytes;
    made->next = self->buckets[hash % OD_PREPARED_BUCKETS];
    self->buckets[hash % OD_PREPARED_BUCKETS] = *out = made;
    return RL_OK;
}

static rl_status take(od_prepared_table *self, const void *key, int or_add, od_prepared **out) {
    const uint64_t hash = hash_of(key, self->key_bytes);
    rl_status status = RL_OK;
    pthread_mutex_lock(&self->lock);
    od_prepared *found = self->buckets[hash % OD_PREPARED_BUCKETS];
    while (found != NULL && (found->hash != hash || memcmp(key_of(found), key, self->key_bytes) != 0))
        found = found->next;
    if (found == NULL && or_add)
        status = add(self, key, hash, &found);
    if (found != NULL) {
        found->users++;
        found->last_use = ++self->clock;
    }
    pthread_mutex_unlock(&self->lock);
    *out = found;
    return status;
}

rl_status od_prepared_take(od_prepared_table *self, const void *key, od_prepared **out) {
    return take(self, key, 1, out);
}
od_prepared *od_prepared_find(od_prepared_table *self, const void *key) {
    od_prepared *found;
    (void)take(self, key, 0, &found);
    return found;
}

void od_prepared_give(od_prepared_table *self, od_prepared *entry) {
    if (entry == NULL)
        return;
    pthread_mutex_lock(&self->lock);
    entry->users--;
    pthread_mutex_unlock(&self->lock);
}

void od_prepared_drop(od_prepared_table *self, int (*goes)(const od_prepared *entry, const void *context),
                      const void *context) {
    pthread_mutex_lock(&self->lock);
    for (int b = 0; b < OD_PREPARED_BUCKETS; b++)
        for (od_prepared **at = &self->buckets[b]; *at != NULL;)
            if ((*at)->users == 0 && goes(*at, context))
                drop_at(self, at);
            else
                at = &(*at)->next;
    pthread_mutex_unlock(&self->lock);
}

void od_prepared_clear(od_prepared_table *self) {
    for (int b = 0; b < OD_PREPARED_BUCKETS; b++)
        while (self->buckets[b] != NULL)
            drop_at(self, &self->buckets[b]);
}

void od_prepared_hold(od_prepared_table *self) {
    pthread_mutex_lock(&self->lock);
}
void od_prepared_release(od_prepared_table *self) {
    pthread_mutex_unlock(&self->lock);
}

/* The table is whole, since the parent held it over the fork, or at least what stands in it is good. */
void od_prepared_forked(od_prepared_table *self) {
    self->lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    self->count = 0;
    self->bytes = 0;
    for (int b = 0; b < OD_PREPARED_BUCKETS; b++)
        for (od_prepared *at = self->buckets[b]; at != NULL; at = at->next) {
            at->users = 0;
            self->bytes += at->bytes;
            self->count++;
            if (self->forked != NULL)
                self->forked(at);
        }
}
