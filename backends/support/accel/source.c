/* SPDX-License-Identifier: Apache-2.0 */
#include "source.h"

#include <string.h>

#include "rl_interp.h"

static int is_random(unsigned code) {
    return code == RL_INSN_PHILOX || code == RL_INSN_UNIFORM || code == RL_INSN_NORMAL;
}

/* A launch scalar as the register has it, in the low bytes. */
static int64_t slot_of(const rl_insn *insn, rl_number number) {
    int64_t slot = number.i;
    float narrow = (float)number.f;
    uint32_t bits;
    if (insn->type == RL_REG_F32) {
        memcpy(&bits, &narrow, sizeof bits);
        slot = (int64_t)(uint64_t)bits;
    }
    return slot;
}

int rl_source_slots(const rl_program *program, const rl_number *scalars, int64_t *out_slots) {
    int n = 0;
    for (int v = 0; v < program->n_insns; v++) {
        const rl_insn *insn = &program->insns[v];
        if (insn->code == RL_INSN_SCALAR) {
            if (out_slots)
                out_slots[n] = slot_of(insn, scalars[insn->imm]);
            n++;
        } else if (is_random(insn->code)) {
            if (out_slots) {
                out_slots[n] = scalars[insn->imm].i;
                out_slots[n + 1] = scalars[insn->imm + 1].i;
            }
            n += 2;
        }
    }
    return n;
}

uint32_t rl_source_indices(const rl_program *program) {
    uint32_t mask = 0;
    for (int v = 0; v < program->n_insns && program->flags & RL_PROGRAM_INDEX; v++)
        if (program->insns[v].code == RL_INSN_INDEX)
            mask |= 1u << program->insns[v].imm;
    return mask;
}

const char *rl_source_dtype(uint32_t dtype) {
#define NAME(NAME, code, bytes, reg, text) [code] = #NAME,
    static const char *const names[RL_DTYPE_COUNT] = {RL_DTYPE_LIST(NAME)};
#undef NAME
    const char *name = dtype < RL_DTYPE_COUNT ? names[dtype] : NULL;
    return name ? name : "NONE";
}

const char *rl_source_register(rl_reg reg) {
    static const char *const names[] = {
        [RL_REG_F32] = "rl_f32", [RL_REG_F64] = "rl_f64", [RL_REG_I32] = "rl_i32", [RL_REG_I64] = "rl_i64"};
    return names[reg];
}

int rl_source_has_f64(const rl_program *program) {
    for (int v = 0; v < program->n_insns; v++)
        if (rl_interp_result(&program->insns[v]) == RL_REG_F64 || program->insns[v].type == RL_REG_F64)
            return 1;
    for (int k = 0; k < program->n_inputs; k++)
        if (program->input_dtype[k] == RL_F64)
            return 1;
    for (int k = 0; k < program->n_outputs; k++)
        if (program->output_dtype[k] == RL_F64)
            return 1;
    return 0;
}

static void write_scalar(rl_text_buffer *out, const rl_insn *insn, const char *slots, int slot) {
    static const char *const form[] = {[RL_REG_F32] = "as_float((int)%s[%d])",
                                       [RL_REG_F64] = "as_double(%s[%d])",
                                       [RL_REG_I32] = "(int)%s[%d]",
                                       [RL_REG_I64] = "%s[%d]"};
    const char *text = form[insn->type];
    const char *at = strstr(text, "%s");
    rl_text_put(out, "(%s)(%.*s%s[%d]%s)", rl_source_register((rl_reg)insn->type), (int)(at - text), text, slots, slot,
                at + strlen("%s[%d]"));
}

static void write_random(rl_text_buffer *out, const rl_insn *insn, const char *slots, int slot) {
    const char *name = insn->code == RL_INSN_PHILOX ? "philox" : insn->code == RL_INSN_UNIFORM ? "uniform" : "normal";
    const char *type = insn->type == RL_REG_F64 ? "_f64" : "_f32";
    rl_text_put(out, "rl_lane_%s%s((rl_ulong)%s[%d], (rl_ulong)%s[%d], element)", name,
                insn->code == RL_INSN_PHILOX ? "" : type, slots, slot, slots, slot + 1);
}

static const char *insn_name(unsigned code) {
#define NAME(NAME, number, operands, types, text) [number] = #NAME,
    static const char *const names[RL_INSN_COUNT] = {RL_INSN_LIST(NAME)};
#undef NAME
    return names[code];
}

int rl_source_operands(unsigned code) {
#define COUNT(NAME, number, operands, types, text) [number] = operands,
    static const uint8_t counts[RL_INSN_COUNT] = {RL_INSN_LIST(COUNT)};
#undef COUNT
    return counts[code];
}

void rl_source_program(rl_text_buffer *out, const rl_program *program, const char *prefix, const char *slots) {
    int slot = 0;
    for (int v = 0; v < program->n_insns; v++) {
        const rl_insn *insn = &program->insns[v];
        const uint8_t operand[3] = {insn->a, insn->b, insn->c};
        rl_text_put(out, "const %s %sv%d = ", rl_source_register(rl_interp_result(insn)), prefix, v);
        if (insn->code == RL_INSN_INPUT) {
            rl_text_put(out, "%sx%d", prefix, insn->imm);
        } else if (insn->code == RL_INSN_SCALAR) {
            write_scalar(out, insn, slots, slot++);
        } else if (insn->code == RL_INSN_INDEX) {
            rl_text_put(out, "index_%d", insn->imm);
        } else if (is_random(insn->code)) {
            write_random(out, insn, slots, slot);
            slot += 2;
        } else if (insn->code == RL_INSN_CAST) {
            const char *dtype = rl_source_dtype(insn->dtype);
            rl_text_put(out, "rl_in_%s(rl_out_%s(%sv%d))", dtype, dtype, prefix, insn->a);
        } else {
            rl_text_put(out, "rl_i_%s(", insn_name(insn->code));
            for (int o = 0; o < 3 && o < rl_source_operands(insn->code); o++)
                rl_text_put(out, "%s%sv%d", o ? ", " : "", prefix, operand[o]);
            rl_text_put_all(out, ")");
        }
        rl_text_put_all(out, ";\n");
    }
}
