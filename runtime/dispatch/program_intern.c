/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finished programs, each kept but once, so that a backend finds what it compiled by the program's index. A lock guards
 * the table; what was found there is read without it.
 */
#include <pthread.h>
#include <string.h>

#include "base/fork.h"
#include "base/memory.h"
#include "dispatch/program_table.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static rl_program_entry **buckets; /* a power of two of them */
static uint32_t n_buckets, n_entries;

__attribute__((constructor)) static void mind_forks(void) {
    rl_at_fork_mutex(RL_FORK_PROGRAMS, &lock);
}

/* Finishing ------------------------------------------------------------------------------------------------------- */

/* Whether every value that is exact in `from` is so in `to`, of the same register. */
static bool holds(rl_dtype to, rl_dtype from) {
    if (to == from || to == rl_reg_dtype(rl_dtype_reg(from)))
        return true;
    return rl_dtype_reg(from) == RL_REG_I32 &&
           ((from == RL_BOOL && to != RL_BOOL) || (to == RL_I16 && (from == RL_I8 || from == RL_U8)));
}

static bool is_idle_cast(const rl_builder *b, const rl_insn *insn) {
    rl_dtype to = (rl_dtype)insn->dtype, from = (rl_dtype)b->value_dtype[insn->a];
    return insn->code == RL_INSN_CAST && rl_dtype_reg(to) == rl_dtype_reg(from) && holds(to, from);
}

/* Storing casts to the output's dtype, so a cast to that very dtype just before is not needed. */
static rl_pw output_source(const rl_builder *b, int k) {
    const rl_insn *insn = &b->insns[b->output_value[k]];
    return insn->code == RL_INSN_CAST && insn->dtype == b->output_dtype[k] ? insn->a : b->output_value[k];
}

/* Marks the values that the outputs need, looking through casts that do nothing. */
static void mark_needed(const rl_builder *b, bool *needed) {
    for (int k = 0; k < b->n_outputs; k++)
        needed[output_source(b, k)] = true;
    for (int i = b->n_insns - 1; i >= 0; i--) {
        if (!needed[i])
            continue;
        const rl_insn *insn = &b->insns[i];
        for (int k = 0; k < rl_insn_describe((rl_insn_code)insn->code)->operands; k++)
            needed[rl_insn_operand(insn, k)] = true;
        needed[i] = !is_idle_cast(b, insn);
    }
}

/* Writes what is needed into entry->insns and the values of the outputs into entry->program. */
static void compact(const rl_builder *b, rl_program_entry *entry) {
    bool needed[RL_MAX_INSNS] = {false};
    uint8_t place[RL_MAX_INSNS] = {0};
    uint16_t count = 0;
    mark_needed(b, needed);
    for (int i = 0; i < b->n_insns; i++) {
        rl_insn insn = b->insns[i];
        if (!needed[i]) {
            if (is_idle_cast(b, &insn))
                place[i] = place[insn.a];
            continue;
        }
        int operands = rl_insn_describe((rl_insn_code)insn.code)->operands;
        insn.a = operands > 0 ? place[insn.a] : 0;
        insn.b = operands > 1 ? place[insn.b] : 0;
        insn.c = operands > 2 ? place[insn.c] : 0;
        int at = 0; /* without idle casts, two instructions may have become one */
        while (at < count && memcmp(&entry->insns[at], &insn, sizeof insn) != 0)
            at++;
        if (at == count)
            entry->insns[count++] = insn;
        place[i] = (uint8_t)at;
        entry->uses |= UINT64_C(1) << insn.code;
    }
    entry->program.n_insns = count;
    for (int k = 0; k < b->n_outputs; k++)
        entry->program.output_value[k] = place[output_source(b, k)];
}

static uint64_t mix(uint64_t hash, const void *data, size_t bytes) {
    const uint8_t *at = data;
    while (bytes > 0) {
        uint64_t word = 0;
        size_t part = bytes < sizeof word ? bytes : sizeof word;
        memcpy(&word, at, part);
        hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        hash ^= hash >> 32;
        at += part;
        bytes -= part;
    }
    return hash;
}

static void fill_hashes(rl_program_entry *entry) {
    rl_program *p = &entry->program;
    const uint32_t head[] = {p->size, p->flags, p->n_inputs, p->n_outputs, p->n_scalars, p->n_insns};
    uint64_t hash = mix(UINT64_C(0x6a09e667f3bcc908), head, sizeof head);
    hash = mix(hash, p->input_dtype, sizeof p->input_dtype);
    hash = mix(hash, p->output_dtype, sizeof p->output_dtype);
    hash = mix(hash, p->output_value, sizeof p->output_value);
    p->hash = mix(hash, entry->insns, p->n_insns * sizeof *entry->insns);
    entry->key = mix(p->hash, &entry->constants, sizeof entry->constants);
    entry->key = mix(entry->key, entry->constant, sizeof entry->constant);
}

static void fill_entry(const rl_builder *b, rl_program_entry *entry) {
    rl_program *p = &entry->program;
    memset(entry, 0, sizeof *entry);
    p->size = sizeof *p;
    p->n_inputs = b->n_inputs;
    p->n_outputs = b->n_outputs;
    p->n_scalars = b->n_scalars;
    memcpy(p->input_dtype, b->input_dtype, sizeof p->input_dtype);
    memcpy(p->output_dtype, b->output_dtype, sizeof p->output_dtype);
    compact(b, entry);
    const uint64_t random =
        UINT64_C(1) << RL_INSN_PHILOX | UINT64_C(1) << RL_INSN_UNIFORM | UINT64_C(1) << RL_INSN_NORMAL;
    p->flags =
        (entry->uses >> RL_INSN_INDEX & 1 ? RL_PROGRAM_INDEX : 0) | (entry->uses & random ? RL_PROGRAM_RANDOM : 0);
    entry->own_scalars = b->n_scalars;
    for (int k = 0; k < b->n_scalars; k++) {
        if (b->is_constant[k]) {
            entry->constants |= 1u << k;
            entry->constant[k] = b->constants[k];
            entry->own_scalars--;
        }
    }
    fill_hashes(entry);
}

/* The table ------------------------------------------------------------------------------------------------------- */

static bool equal_constants(const rl_program_entry *a, const rl_program_entry *b) {
    for (int k = 0; k < a->program.n_scalars; k++)
        if (a->constant[k].i != b->constant[k].i)
            return false;
    return a->constants == b->constants;
}

static bool equal(const rl_program_entry *a, const rl_program_entry *b) {
    const rl_program *p = &a->program, *q = &b->program;
    return a->key == b->key && p->n_inputs == q->n_inputs && p->n_outputs == q->n_outputs &&
           p->n_scalars == q->n_scalars && p->n_insns == q->n_insns &&
           memcmp(p->input_dtype, q->input_dtype, sizeof p->input_dtype) == 0 &&
           memcmp(p->output_dtype, q->output_dtype, sizeof p->output_dtype) == 0 &&
           memcmp(p->output_value, q->output_value, sizeof p->output_value) == 0 && equal_constants(a, b) &&
           memcmp(a->insns, b->insns, p->n_insns * sizeof *a->insns) == 0;
}

/* Room for one more entry. */
static bool grow(void) {
    if (n_entries < n_buckets)
        return true;
    uint32_t count = n_buckets ? 2 * n_buckets : 256;
    rl_program_entry **wider = rl_alloc_zero(count, sizeof *wider, "the table of programs");
    if (wider == NULL)
        return false;
    for (uint32_t i = 0; i < n_buckets; i++) {
        while (buckets[i] != NULL) {
            rl_program_entry *entry = buckets[i];
            buckets[i] = entry->next;
            entry->next = wider[entry->key & (count - 1)];
            wider[entry->key & (count - 1)] = entry;
        }
    }
    rl_free(buckets);
    buckets = wider;
    n_buckets = count;
    return true;
}

/* A copy of `sample`, which has `insns` behind it, in the table. */
static rl_program_entry *add_copy(const rl_program_entry *sample) {
    size_t bytes = sizeof *sample + sample->program.n_insns * sizeof *sample->insns;
    rl_program_entry *entry = grow() ? rl_alloc(bytes, "a program") : NULL;
    if (entry == NULL)
        return NULL;
    memcpy(entry, sample, bytes);
    entry->program.insns = entry->insns;
    entry->program.index = n_entries++;
    atomic_init(&entry->expansions, NULL);
    entry->next = buckets[entry->key & (n_buckets - 1)];
    buckets[entry->key & (n_buckets - 1)] = entry;
    return entry;
}

static const rl_program *intern(const rl_program_entry *sample) {
    pthread_mutex_lock(&lock);
    rl_program_entry *entry = n_buckets ? buckets[sample->key & (n_buckets - 1)] : NULL;
    while (entry != NULL && !equal(entry, sample))
        entry = entry->next;
    if (entry == NULL)
        entry = add_copy(sample);
    pthread_mutex_unlock(&lock);
    return entry ? &entry->program : NULL;
}

const rl_program *rl_builder_finish(rl_builder *self) {
    if (self->status == RL_OK && self->n_outputs == 0)
        rl_builder_failed(self, RL_INTERNAL);
    if (self->status == RL_UNSUPPORTED)
        return rl_fail_null(RL_UNSUPPORTED,
                            "program: it needs more than %d instructions, %d inputs, %d outputs or %d scalars",
                            RL_MAX_INSNS, RL_MAX_INPUTS, RL_MAX_OUTPUTS, RL_MAX_SCALARS);
    if (self->status != RL_OK)
        return rl_fail_null(self->status, "program: an instruction with operands that it does not take after %d others",
                            self->n_insns);
    union {
        rl_program_entry entry;
        char room[sizeof(rl_program_entry) + RL_MAX_INSNS * sizeof(rl_insn)];
    } sample;
    fill_entry(self, &sample.entry);
    return intern(&sample.entry);
}

/* Programs of one cast, found without the lock. */
static _Atomic(const rl_program *) casts[RL_DTYPE_COUNT][RL_DTYPE_COUNT];

const rl_program *rl_program_cast(rl_dtype from, rl_dtype to) {
    const rl_program *program = atomic_load_explicit(&casts[from][to], memory_order_acquire);
    if (program == NULL) {
        rl_builder b;
        rl_builder_init(&b);
        rl_build_output(&b, rl_build_input(&b, from), to);
        program = rl_builder_finish(&b);
        atomic_store_explicit(&casts[from][to], program, memory_order_release);
    }
    return program;
}

void rl_programs_shutdown(void) {
    pthread_mutex_lock(&lock);
    for (int from = 0; from < RL_DTYPE_COUNT; from++)
        for (int to = 0; to < RL_DTYPE_COUNT; to++)
            atomic_store(&casts[from][to], NULL);
    for (uint32_t i = 0; i < n_buckets; i++) {
        while (buckets[i] != NULL) {
            rl_program_entry *entry = buckets[i];
            buckets[i] = entry->next;
            for (rl_expansion *e = atomic_load(&entry->expansions); e != NULL;) {
                rl_expansion *next = e->next;
                rl_free(e);
                e = next;
            }
            rl_free(entry);
        }
    }
    rl_free(buckets);
    buckets = NULL;
    n_buckets = n_entries = 0;
    pthread_mutex_unlock(&lock);
}

/* Launch scalars -------------------------------------------------------------------------------------------------- */

void rl_program_scalars(const rl_program *self, const rl_number *own, rl_number *out_scalars) {
    const rl_program_entry *entry = rl_program_entry_of(self);
    for (int k = 0; k < self->n_scalars; k++)
        out_scalars[k] = entry->constants >> k & 1 ? entry->constant[k] : *own++;
}

int rl_program_own_scalars(const rl_program *self) {
    return rl_program_entry_of(self)->own_scalars;
}
