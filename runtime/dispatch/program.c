/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing a program. An instruction that stands there already is not written again, so common subexpressions are found
 * as they are written; a failure sticks to the builder and is told by rl_builder_finish.
 */
#include "dispatch/program.h"

#include <string.h>

#include "dispatch/program_table.h"

rl_pw rl_builder_failed(rl_builder *self, rl_status status) {
    if (self->status == RL_OK)
        self->status = status;
    return 0;
}

rl_dtype rl_reg_dtype(rl_reg reg) {
    static const uint8_t widest[] = {
        [RL_REG_F32] = RL_F32, [RL_REG_F64] = RL_F64, [RL_REG_I32] = RL_I32, [RL_REG_I64] = RL_I64};
    return (rl_dtype)widest[reg];
}

void rl_builder_init(rl_builder *self) {
    memset(self, 0, sizeof *self);
}

static rl_pw add(rl_builder *self, rl_insn insn, rl_dtype dtype) {
    if (self->status != RL_OK)
        return 0;
    for (int i = 0; i < self->n_insns; i++)
        if (memcmp(&self->insns[i], &insn, sizeof insn) == 0)
            return (rl_pw)i;
    if (self->n_insns == RL_MAX_INSNS)
        return rl_builder_failed(self, RL_UNSUPPORTED);
    self->insns[self->n_insns] = insn;
    self->value_dtype[self->n_insns] = (uint8_t)dtype;
    return (rl_pw)self->n_insns++;
}

/* False, and the builder has failed, where x is no value yet. */
static bool is_value(rl_builder *self, rl_pw x) {
    if (self->status == RL_OK && x >= self->n_insns)
        rl_builder_failed(self, RL_INTERNAL);
    return self->status == RL_OK;
}

static rl_dtype dtype_of(const rl_builder *self, rl_pw x) {
    return (rl_dtype)self->value_dtype[x];
}

static rl_reg reg_of(const rl_builder *self, rl_pw x) {
    return rl_dtype_reg(dtype_of(self, x));
}

/* Inputs, scalars, constants -------------------------------------------------------------------------------------- */

rl_pw rl_build_input(rl_builder *self, rl_dtype dtype) {
    if (self->status != RL_OK)
        return 0;
    if (self->n_inputs == RL_MAX_INPUTS)
        return rl_builder_failed(self, RL_UNSUPPORTED);
    uint16_t k = self->n_inputs++;
    self->input_dtype[k] = (uint8_t)dtype;
    return add(self, (rl_insn){.code = RL_INSN_INPUT, .type = (uint8_t)rl_dtype_reg(dtype), .imm = k}, dtype);
}

static rl_pw add_scalar(rl_builder *self, rl_reg reg) {
    if (self->status != RL_OK)
        return 0;
    if (self->n_scalars == RL_MAX_SCALARS)
        return rl_builder_failed(self, RL_UNSUPPORTED);
    rl_insn insn = {.code = RL_INSN_SCALAR, .type = (uint8_t)reg, .imm = self->n_scalars++};
    return add(self, insn, rl_reg_dtype(reg));
}

rl_pw rl_build_scalar(rl_builder *self, rl_dtype dtype) {
    return add_scalar(self, rl_dtype_reg(dtype));
}

rl_pw rl_builder_number(rl_builder *self, rl_reg reg, rl_number number) {
    /* Bits are compared: 0 is not -0, and a NaN is itself. */
    for (int i = 0; i < self->n_insns; i++) {
        const rl_insn *insn = &self->insns[i];
        if (insn->code == RL_INSN_SCALAR && insn->type == reg && self->is_constant[insn->imm] &&
            self->constants[insn->imm].i == number.i)
            return (rl_pw)i;
    }
    uint16_t k = self->n_scalars;
    rl_pw value = add_scalar(self, reg);
    if (self->status == RL_OK) {
        self->constants[k] = number;
        self->is_constant[k] = 1;
    }
    return value;
}

/* The nearest integer toward zero within the range. */
static int64_t to_integer(double value) {
    return value >= 0x1p63 ? INT64_MAX : value >= -0x1p63 ? (int64_t)value : value < 0 ? INT64_MIN : 0;
}

rl_pw rl_build_constant(rl_builder *self, rl_dtype dtype, double value) {
    rl_reg reg = rl_dtype_reg(dtype);
    rl_number number;
    if (reg == RL_REG_F32)
        number.f = (float)value; /* as it is loaded, so that equal programs are seen to be equal */
    else if (reg == RL_REG_F64)
        number.f = value;
    else
        number.i = dtype == RL_BOOL ? value != 0 : to_integer(value);
    return rl_builder_number(self, reg, number);
}

rl_pw rl_build_integer(rl_builder *self, rl_dtype dtype, int64_t value) {
    rl_reg reg = rl_dtype_reg(dtype);
    return rl_builder_number(self, reg, (rl_number){.i = reg == RL_REG_I32 ? (int32_t)value : value});
}

/* Operations ------------------------------------------------------------------------------------------------------ */

static bool is_comparison(rl_insn_code code) {
    return code >= RL_INSN_EQ && code <= RL_INSN_GE;
}

/* Only where both orders give the same bits on every device: MIN and MAX may tell 0 from -0 by position. */
static bool commutes(rl_insn_code code) {
    return code == RL_INSN_ADD || code == RL_INSN_MUL || code == RL_INSN_EQ || code == RL_INSN_NE ||
           code == RL_INSN_AND || code == RL_INSN_OR || code == RL_INSN_XOR;
}

/* The narrowest dtype that the result is known to be exact in, from the dtypes of operands in one register. */
static rl_dtype result_dtype(rl_insn_code code, rl_dtype a, rl_dtype b) {
    rl_dtype widest = rl_reg_dtype(rl_dtype_reg(a));
    switch (code) {
    case RL_INSN_MIN:
    case RL_INSN_MAX:
    case RL_INSN_SELECT:
    case RL_INSN_AND:
    case RL_INSN_OR:
    case RL_INSN_XOR:
        return a == b ? a : widest;
    case RL_INSN_NEG:
    case RL_INSN_ABS:
        return rl_dtype_is_float(a) ? a : widest;
    case RL_INSN_FLOOR:
    case RL_INSN_CEIL:
    case RL_INSN_TRUNC:
    case RL_INSN_ROUND:
        return a;
    default:
        return is_comparison(code) ? RL_BOOL : widest;
    }
}

/* Whether an instruction of this code with so many operands is one for rl_build1 to rl_build3, in this register. */
static bool fits(rl_insn_code code, int operands, rl_reg reg) {
    if ((unsigned)code >= RL_INSN_COUNT || code == RL_INSN_CAST)
        return false;
    const rl_insn_info *info = rl_insn_describe(code);
    bool is_float = reg == RL_REG_F32 || reg == RL_REG_F64;
    return info->operands == operands && (info->types == 'A' || (info->types == 'F') == is_float);
}

static rl_pw build_bitcast(rl_builder *self, rl_pw a) {
    static const uint8_t other[] = {
        [RL_REG_F32] = RL_REG_I32, [RL_REG_I32] = RL_REG_F32, [RL_REG_F64] = RL_REG_I64, [RL_REG_I64] = RL_REG_F64};
    rl_reg reg = (rl_reg)other[reg_of(self, a)];
    return add(self, (rl_insn){.code = RL_INSN_BITCAST, .type = (uint8_t)reg, .a = a}, rl_reg_dtype(reg));
}

rl_pw rl_build1(rl_builder *self, rl_insn_code code, rl_pw a) {
    if (!is_value(self, a))
        return 0;
    if (!fits(code, 1, reg_of(self, a)))
        return rl_builder_failed(self, RL_INTERNAL);
    if (code == RL_INSN_BITCAST)
        return build_bitcast(self, a);
    rl_insn insn = {.code = (uint8_t)code, .type = (uint8_t)reg_of(self, a), .a = a};
    return add(self, insn, result_dtype(code, dtype_of(self, a), dtype_of(self, a)));
}

rl_pw rl_build2(rl_builder *self, rl_insn_code code, rl_pw a, rl_pw b) {
    if (!is_value(self, a) || !is_value(self, b))
        return 0;
    if (!fits(code, 2, reg_of(self, a)) || reg_of(self, a) != reg_of(self, b))
        return rl_builder_failed(self, RL_INTERNAL);
    rl_dtype dtype = result_dtype(code, dtype_of(self, a), dtype_of(self, b));
    bool swap = commutes(code) && a > b;
    rl_insn insn = {.code = (uint8_t)code, .type = (uint8_t)reg_of(self, a), .a = swap ? b : a, .b = swap ? a : b};
    return add(self, insn, dtype);
}

rl_pw rl_build3(rl_builder *self, rl_insn_code code, rl_pw a, rl_pw b, rl_pw c) {
    if (!is_value(self, a) || !is_value(self, b) || !is_value(self, c))
        return 0;
    rl_reg reg = reg_of(self, b);
    rl_reg first = code == RL_INSN_SELECT ? RL_REG_I32 : reg;
    if (!fits(code, 3, reg) || reg_of(self, c) != reg || reg_of(self, a) != first)
        return rl_builder_failed(self, RL_INTERNAL);
    rl_insn insn = {.code = (uint8_t)code, .type = (uint8_t)reg, .a = a, .b = b, .c = c};
    return add(self, insn, result_dtype(code, dtype_of(self, b), dtype_of(self, c)));
}

rl_pw rl_build_cast(rl_builder *self, rl_pw a, rl_dtype dtype) {
    if (!is_value(self, a))
        return 0;
    if (dtype_of(self, a) == dtype)
        return a;
    rl_insn insn = {.code = RL_INSN_CAST, .type = (uint8_t)reg_of(self, a), .dtype = (uint8_t)dtype, .a = a};
    return add(self, insn, dtype);
}

rl_pw rl_build_index(rl_builder *self, int dim) {
    if (dim < 0 || dim >= RL_MAX_DIMS)
        return rl_builder_failed(self, RL_INTERNAL);
    return add(self, (rl_insn){.code = RL_INSN_INDEX, .type = RL_REG_I64, .imm = (uint16_t)dim}, RL_I64);
}

rl_pw rl_build_random(rl_builder *self, rl_insn_code code, rl_dtype dtype, rl_pw seed) {
    if (!is_value(self, seed))
        return 0;
    const rl_insn *scalar = &self->insns[seed];
    rl_reg reg = code == RL_INSN_PHILOX ? RL_REG_I32 : rl_dtype_reg(dtype);
    bool is_random = code == RL_INSN_PHILOX || code == RL_INSN_UNIFORM || code == RL_INSN_NORMAL;
    if (!is_random || !fits(code, 0, reg) || scalar->code != RL_INSN_SCALAR || scalar->type != RL_REG_I64 ||
        scalar->imm + 1 >= self->n_scalars)
        return rl_builder_failed(self, RL_INTERNAL);
    rl_insn insn = {.code = (uint8_t)code, .type = (uint8_t)reg, .imm = scalar->imm};
    return add(self, insn, rl_reg_dtype(reg));
}

void rl_build_output(rl_builder *self, rl_pw value, rl_dtype dtype) {
    if (!is_value(self, value))
        return;
    if (self->n_outputs == RL_MAX_OUTPUTS) {
        rl_builder_failed(self, RL_UNSUPPORTED);
        return;
    }
    self->output_dtype[self->n_outputs] = (uint8_t)dtype;
    self->output_value[self->n_outputs++] = value;
}

/* Inlining -------------------------------------------------------------------------------------------------------- */

/* The values in `self` that stand for the program's launch scalars; constants come when they are met. New own scalars
 * are made all at once, so that a seed keeps its offset beside it. */
static void splice_scalars(rl_builder *self, const rl_program_entry *entry, const rl_pw *given, rl_pw *out_values) {
    int own = 0;
    for (int k = 0; k < entry->program.n_scalars; k++) {
        if (entry->constants >> k & 1)
            continue;
        rl_reg reg = RL_REG_I64; /* where nothing loads it, it is a seed or an offset */
        for (int i = 0; i < entry->program.n_insns; i++)
            if (entry->insns[i].code == RL_INSN_SCALAR && entry->insns[i].imm == k)
                reg = (rl_reg)entry->insns[i].type;
        out_values[k] = given ? given[own++] : add_scalar(self, reg);
    }
}

static rl_pw splice_insn(rl_builder *self, const rl_insn *insn, const rl_pw *v, uint64_t insn_mask) {
    rl_insn_code code = (rl_insn_code)insn->code;
    if (code == RL_INSN_CAST)
        return rl_build_cast(self, v[insn->a], (rl_dtype)insn->dtype);
    if (code >= RL_INSN_BASE_END && !(insn_mask >> code & 1))
        return rl_build_expanded(self, code, v[insn->a], v[insn->b]);
    switch (rl_insn_describe(code)->operands) {
    case 1:
        return rl_build1(self, code, v[insn->a]);
    case 2:
        return rl_build2(self, code, v[insn->a], v[insn->b]);
    default:
        return rl_build3(self, code, v[insn->a], v[insn->b], v[insn->c]);
    }
}

void rl_builder_splice(rl_builder *self, const rl_program *program, const rl_pw *args, const rl_pw *scalars,
                       uint64_t insn_mask, rl_pw *results) {
    const rl_program_entry *entry = rl_program_entry_of(program);
    rl_pw v[RL_MAX_INSNS] = {0}, own[RL_MAX_SCALARS] = {0};
    splice_scalars(self, entry, scalars, own);
    for (int i = 0; i < program->n_insns; i++) {
        const rl_insn *insn = &program->insns[i];
        switch (insn->code) {
        case RL_INSN_INPUT:
            v[i] = rl_build_cast(self, args[insn->imm], (rl_dtype)program->input_dtype[insn->imm]);
            break;
        case RL_INSN_SCALAR:
            v[i] = entry->constants >> insn->imm & 1
                       ? rl_builder_number(self, (rl_reg)insn->type, entry->constant[insn->imm])
                       : rl_build_cast(self, own[insn->imm], rl_reg_dtype((rl_reg)insn->type));
            break;
        case RL_INSN_INDEX:
            v[i] = rl_build_index(self, insn->imm);
            break;
        case RL_INSN_PHILOX:
        case RL_INSN_UNIFORM:
        case RL_INSN_NORMAL:
            v[i] = rl_build_random(self, (rl_insn_code)insn->code, rl_reg_dtype((rl_reg)insn->type), own[insn->imm]);
            break;
        default:
            v[i] = splice_insn(self, insn, v, insn_mask);
        }
    }
    for (int k = 0; k < program->n_outputs; k++)
        results[k] = rl_build_cast(self, v[program->output_value[k]], (rl_dtype)program->output_dtype[k]);
}

void rl_build_inline(rl_builder *self, const rl_program *program, const rl_pw *args, const rl_pw *scalars,
                     rl_pw *results) {
    rl_builder_splice(self, program, args, scalars, UINT64_MAX, results);
}
