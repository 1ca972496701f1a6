/* SPDX-License-Identifier: Apache-2.0 */
/* Programs for the checks, made as the host makes them: equal ones are one object, numbered in order. */
#include <stdlib.h>
#include <string.h>

#include "conformance.h"

struct made_program {
    struct made_program *next;
    program_maker maker;
};

void make_begin(program_maker *self) {
    memset(self, 0, sizeof *self);
    self->program.size = sizeof self->program;
}

int make_insn(program_maker *self, rl_insn_code code, int type, int dtype, int a, int b, int c, int imm) {
    rl_insn *insn = &self->insns[self->program.n_insns];
    insn->code = (uint8_t)code;
    insn->type = (uint8_t)type;
    insn->dtype = (uint8_t)dtype;
    insn->a = (uint8_t)a;
    insn->b = (uint8_t)b;
    insn->c = (uint8_t)c;
    insn->imm = (uint16_t)imm;
    if (code == RL_INSN_INDEX)
        self->program.flags |= RL_PROGRAM_INDEX;
    if (code == RL_INSN_PHILOX || code == RL_INSN_UNIFORM || code == RL_INSN_NORMAL)
        self->program.flags |= RL_PROGRAM_RANDOM;
    return self->program.n_insns++;
}

int make_input(program_maker *self, rl_dtype dtype) {
    int number = self->program.n_inputs++;
    self->program.input_dtype[number] = (uint8_t)dtype;
    return make_insn(self, RL_INSN_INPUT, (int)dtype_register(dtype), 0, 0, 0, 0, number);
}

int make_scalar(program_maker *self, rl_reg type) {
    return make_insn(self, RL_INSN_SCALAR, (int)type, 0, 0, 0, 0, self->program.n_scalars++);
}

void make_output(program_maker *self, rl_dtype dtype, int value) {
    int number = self->program.n_outputs++;
    self->program.output_dtype[number] = (uint8_t)dtype;
    self->program.output_value[number] = (uint8_t)value;
}

static uint64_t hash_bytes(const void *data, size_t bytes) { /* FNV-1a */
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < bytes; i++)
        hash = (hash ^ ((const unsigned char *)data)[i]) * 0x100000001b3u;
    return hash;
}

const rl_program *make_end(program_maker *self, suite *owner) {
    struct made_program *made;
    self->program.hash = hash_bytes(self, sizeof *self);
    for (made = owner->programs; made; made = made->next)
        if (made->maker.program.hash == self->program.hash &&
            !memcmp(made->maker.insns, self->insns, sizeof self->insns))
            return &made->maker.program;
    made = malloc(sizeof *made);
    if (!made)
        abort(); /* a test program without memory */
    made->maker = *self;
    made->maker.program.insns = made->maker.insns;
    made->maker.program.index = owner->next_program++;
    made->next = owner->programs;
    owner->programs = made;
    return &made->maker.program;
}

void free_programs(suite *self) {
    while (self->programs) {
        struct made_program *next = self->programs->next;
        free(self->programs);
        self->programs = next;
    }
}

const rl_program *copy_program(suite *self, rl_dtype from, rl_dtype to) {
    program_maker maker;
    make_begin(&maker);
    int value = make_input(&maker, from);
    if (from != to)
        value = make_insn(&maker, RL_INSN_CAST, (int)dtype_register(from), (int)to, value, 0, 0, 0);
    make_output(&maker, to, value);
    return make_end(&maker, self);
}
