/* SPDX-License-Identifier: Apache-2.0 */
/* Instructions and programs as text. */
#include <ctype.h>

#include "base/text.h"
#include "dispatch/program_table.h"

static const rl_insn_info table[RL_INSN_COUNT] = {
#define ROW(NAME, number, operands, types, text) [RL_INSN_##NAME] = {#NAME, text, operands, #types[0]},
    RL_INSN_LIST(ROW)
#undef ROW
};

const rl_insn_info *rl_insn_describe(rl_insn_code code) {
    return (unsigned)code < RL_INSN_COUNT ? &table[code] : NULL;
}

static void add_lower(rl_text *text, const char *name) {
    for (; *name; name++) {
        char c = (char)tolower((unsigned char)*name);
        rl_text_add_bytes(text, &c, 1);
    }
}

static void add_constant(rl_text *text, rl_reg reg, rl_number number) {
    if (reg == RL_REG_F32 || reg == RL_REG_F64)
        rl_text_add(text, " = %.17g", number.f);
    else
        rl_text_add(text, " = %lld", (long long)number.i);
}

static void add_insn(rl_text *text, const rl_program_entry *entry, int i) {
    static const char *const regs[] = {
        [RL_REG_F32] = "f32", [RL_REG_F64] = "f64", [RL_REG_I32] = "i32", [RL_REG_I64] = "i64"};
    const rl_insn *insn = &entry->insns[i];
    const rl_insn_info *info = rl_insn_describe((rl_insn_code)insn->code);
    rl_text_add(text, "v%d = ", i);
    add_lower(text, info->name);
    rl_text_add(text, ".%s", regs[insn->type]);
    for (int k = 0; k < info->operands; k++)
        rl_text_add(text, " v%d", rl_insn_operand(insn, k));
    if (insn->code == RL_INSN_CAST)
        rl_text_add(text, " %s", rl_dtype_name((rl_dtype)insn->dtype));
    else if (info->operands == 0)
        rl_text_add(text, " %d", insn->imm);
    if (insn->code == RL_INSN_INPUT)
        rl_text_add(text, " %s", rl_dtype_name((rl_dtype)entry->program.input_dtype[insn->imm]));
    if (insn->code == RL_INSN_SCALAR && entry->constants >> insn->imm & 1)
        add_constant(text, (rl_reg)insn->type, entry->constant[insn->imm]);
    rl_text_add(text, "\n");
}

char *rl_program_to_string(const rl_program *self) {
    rl_text text = {0};
    for (int i = 0; i < self->n_insns; i++)
        add_insn(&text, rl_program_entry_of(self), i);
    for (int k = 0; k < self->n_outputs; k++)
        rl_text_add(&text, "output %d = v%d %s\n", k, self->output_value[k],
                    rl_dtype_name((rl_dtype)self->output_dtype[k]));
    return rl_text_take(&text);
}
