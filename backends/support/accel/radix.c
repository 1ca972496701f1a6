/* SPDX-License-Identifier: Apache-2.0 */
/* Radix sort from the lowest digit up, between two places in memory. */
#include "radix.h"

#include "device/params.h"
#include "device_text.h"

#define OWN 16 /* elements of a chunk for each item of a group */
#define MOST_CHUNKS 4096

static const rl_accel_family family = {
    .name = "radix", .text = rl_device_radix, .words = "KEY_DTYPE AT_DTYPE PHASE FIRST BITS"};
enum { WORD_KEY_DTYPE, WORD_AT_DTYPE, WORD_PHASE, WORD_FIRST, WORD_BITS };
enum { PHASE_COUNT, PHASE_PLACES, PHASE_MOVE, PHASE_ALL };

static int digit_bits(const rl_accel *accel) {
    return accel->traits.group > 1 ? 4 : 8;
}

static int64_t at_least(int64_t x, int64_t least) {
    return x < least ? least : x;
}

/* Chunks depend on the device, but the order of a stable sort does not. */
static void cut(const rl_accel *accel, rl_radix *self) {
    int64_t group = accel->traits.group, most = MOST_CHUNKS, each = group * OWN;
    if (group == 1) {
        most = at_least(2 * (int64_t)accel->traits.units / self->lines, 1);
        each = 4096;
    }
    each = at_least(each, (self->length + most - 1) / most);
    each = (each + group - 1) / group * group;
    self->each = each;
    self->chunks = at_least((self->length + each - 1) / each, 1);
}

/* Gives out `count` elements of memory; returns the first's number. */
static int64_t take(uint64_t *bytes, int64_t count, int wide) {
    uint64_t size = wide ? 8 : 4, at = *bytes;
    *bytes += ((uint64_t)count * size + 63) / 64 * 64;
    return (int64_t)(at / size);
}

rl_status rl_radix_init(rl_backend_stream *stream, rl_radix *self) {
    const rl_accel *accel = rl_accel_of(stream);
    int64_t total = self->lines * self->length;
    uint64_t bytes = 0;
    cut(accel, self);
    self->wide_order = self->length >= INT32_MAX;
    self->keys_at = take(&bytes, total, self->wide_key);
    self->other_keys_at = take(&bytes, total, self->wide_key);
    self->order_at = take(&bytes, total, self->wide_order);
    self->other_order_at = take(&bytes, total, self->wide_order);
    self->counts_at = take(&bytes, (self->lines * self->chunks) << digit_bits(accel), self->wide_order);
    return accel->driver->scratch(stream, 0, bytes, &self->buffer);
}

static rl_status run(rl_backend_stream *stream, const rl_radix *self, int phase, int shift, int64_t groups) {
    rl_accel *accel = rl_accel_of(stream);
    rl_radix_params p = {.lines = self->lines,
                         .length = self->length,
                         .chunks = self->chunks,
                         .each = self->each,
                         .shift = shift,
                         .keys_from = self->keys_at,
                         .keys_to = self->other_keys_at,
                         .order_from = self->order_at,
                         .order_to = self->other_order_at,
                         .counts_at = self->counts_at};
    rl_accel_arg memory = {.buffer = self->buffer}, args[] = {memory, memory, memory, RL_ACCEL_VALUE(p)};
    rl_accel_spec spec = {.family = &family};
    spec.word[WORD_KEY_DTYPE] = rl_radix_dtype(self->wide_key);
    spec.word[WORD_AT_DTYPE] = rl_radix_dtype(self->wide_order);
    spec.word[WORD_PHASE] = phase;
    spec.word[WORD_FIRST] = shift == 0 && phase >= PHASE_MOVE;
    spec.word[WORD_BITS] = digit_bits(accel);
    uint64_t most = (uint64_t)accel->traits.units * (accel->traits.group > 1 ? 32 : 4);
    return rl_accel_run(stream, self->row, &spec, args, 4, (uint64_t)groups < most ? (uint64_t)groups : most);
}

static void swap(int64_t *a, int64_t *b) {
    int64_t held = *a;
    *a = *b;
    *b = held;
}

rl_status rl_radix_sort(rl_backend_stream *stream, rl_radix *self) {
    const rl_accel *accel = rl_accel_of(stream);
    int64_t pieces = self->lines * self->chunks;
    rl_status status = RL_OK;
    for (int shift = 0; shift < self->bits && !status; shift += digit_bits(accel)) {
        if (accel->traits.group == 1 && self->chunks == 1) {
            status = run(stream, self, PHASE_ALL, shift, self->lines);
        } else {
            status = run(stream, self, PHASE_COUNT, shift, pieces);
            if (!status)
                status = run(stream, self, PHASE_PLACES, shift, self->lines);
            if (!status)
                status = run(stream, self, PHASE_MOVE, shift, pieces);
        }
        swap(&self->keys_at, &self->other_keys_at);
        swap(&self->order_at, &self->other_order_at);
    }
    return status;
}
