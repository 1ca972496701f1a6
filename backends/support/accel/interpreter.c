/* SPDX-License-Identifier: Apache-2.0 */
#include "interpreter.h"

#include <string.h>

#include "device/params.h"
#include "device_text.h"
#include "generate.h"
#include "rl_interp.h"
#include "source.h"

#define POINTERS (RL_MAX_INPUTS + RL_MAX_OUTPUTS)

_Static_assert(RL_INTERPRETER_EXCHANGED == RL_MAX_COMBINED && RL_INTERPRETER_OPERANDS == RL_LAYOUT_OPERANDS &&
                   RL_PARAM_DIMS == RL_MAX_DIMS && POINTERS == 24,
               "params.h has the numbers of backend.h");

enum { WORD_REDUCE };

/* Programs in the interpreter's form: values in RL_INTERPRETER_REGISTERS registers, used again when their value is
 * dead. */
typedef struct code {
    int64_t insn[RL_INTERPRETER_INSNS];
    int n, slots;
} code;

/* Where a program's operands are among the launch's: inputs, outputs and pseudo operands from these numbers on.
 * EXCHANGED: in registers instead. */
#define EXCHANGED (-1)
typedef struct wiring {
    int input, output, pseudo;
} wiring;

enum { FIELD_CODE = 0, FIELD_TYPE = 8, FIELD_DTYPE = 16, FIELD_TO = 24, FIELD_A = 32, FIELD_B = 40, FIELD_C = 48 };

static int64_t pack(unsigned insn, unsigned type, unsigned dtype, unsigned to, unsigned a, unsigned b, unsigned c) {
    return (int64_t)((uint64_t)insn << FIELD_CODE | (uint64_t)type << FIELD_TYPE | (uint64_t)dtype << FIELD_DTYPE |
                     (uint64_t)to << FIELD_TO | (uint64_t)a << FIELD_A | (uint64_t)b << FIELD_B |
                     (uint64_t)c << FIELD_C);
}

static int add(code *self, int64_t insn) {
    if (self->n == RL_INTERPRETER_INSNS)
        return 0;
    self->insn[self->n++] = insn;
    return 1;
}

/* The instruction after which each value is dead; outputs live to the end. */
static void last_uses(const rl_program *program, int *out_last) {
    for (int v = 0; v < program->n_insns; v++) {
        const rl_insn *insn = &program->insns[v];
        const uint8_t operand[3] = {insn->a, insn->b, insn->c};
        out_last[v] = v;
        for (int o = 0; o < 3 && o < rl_source_operands(insn->code); o++)
            out_last[operand[o]] = v;
    }
    for (int k = 0; k < program->n_outputs; k++)
        out_last[program->output_value[k]] = RL_MAX_INSNS + 1;
}

/* The number of the pseudo operand that is INDEX along `dim`; of one beyond the last, the element's. */
static unsigned pseudo_of(const rl_program *program, wiring at, int dim) {
    return (unsigned)(at.pseudo + __builtin_popcount(rl_source_indices(program) & ((1u << dim) - 1)));
}

/* The instruction for `insn`, whose operands are in registers a, b, c. */
static int64_t translate_insn(const rl_program *program, const rl_insn *insn, wiring at, unsigned to, unsigned a,
                              unsigned b, unsigned c, code *out) {
    unsigned name = insn->code, dtype = insn->dtype, slot = (unsigned)out->slots;
    switch (insn->code) {
    case RL_INSN_INPUT:
        dtype = program->input_dtype[insn->imm];
        if (at.input == EXCHANGED)
            return pack(RL_INTERPRETER_BITCAST, insn->type, dtype, to, RL_INTERPRETER_REGISTERS + insn->imm, 0, 0);
        b = (unsigned)at.input + insn->imm;
        c = insn->imm;
        break;
    case RL_INSN_INDEX:
        a = pseudo_of(program, at, insn->imm);
        break;
    case RL_INSN_SCALAR:
        a = slot & 255u, b = slot >> 8;
        out->slots++;
        break;
    case RL_INSN_PHILOX:
    case RL_INSN_UNIFORM:
    case RL_INSN_NORMAL:
        a = slot & 255u, b = slot >> 8;
        c = pseudo_of(program, at, RL_MAX_DIMS);
        out->slots += 2;
        break;
    default:
        break;
    }
    return pack(name, insn->type, dtype, to, a, b, c);
}

/* Adds a program to the code. 0: it does not fit. */
static int translate(const rl_program *program, wiring wires, code *out) {
    int last[RL_MAX_INSNS + 1], holds[RL_INTERPRETER_REGISTERS] = {0};
    uint8_t at[RL_MAX_INSNS + 1] = {0};
    uint32_t busy = 0;
    last_uses(program, last);
    for (int v = 0; v < program->n_insns; v++) {
        const rl_insn *insn = &program->insns[v];
        unsigned to = 0;
        for (unsigned r = 0; r < RL_INTERPRETER_REGISTERS; r++)
            if (busy >> r & 1u && last[holds[r]] < v)
                busy &= ~(1u << r);
        while (to < RL_INTERPRETER_REGISTERS && busy >> to & 1u)
            to++;
        if (to == RL_INTERPRETER_REGISTERS)
            return 0;
        busy |= 1u << to;
        holds[to] = v;
        at[v] = (uint8_t)to;
        if (!add(out, translate_insn(program, insn, wires, to, at[insn->a], at[insn->b], at[insn->c], out)))
            return 0;
    }
    for (unsigned k = 0; k < program->n_outputs; k++) {
        const rl_insn *insn = &program->insns[program->output_value[k]];
        unsigned type = rl_interp_result(insn), dtype = program->output_dtype[k], from = at[program->output_value[k]];
        int64_t end =
            wires.output == EXCHANGED
                ? pack(RL_INTERPRETER_CAST, type, dtype, RL_INTERPRETER_REGISTERS + k, from, 0, 0)
                : pack(RL_INTERPRETER_STORE, type, dtype, 0, from, (unsigned)wires.output + k, RL_MAX_INPUTS + k);
        if (!add(out, end))
            return 0;
    }
    return out->slots <= RL_INTERPRETER_SLOTS;
}

static int translate_map(const rl_program *program, code *out) {
    wiring wires = {.output = program->n_inputs, .pseudo = program->n_inputs + program->n_outputs};
    return translate(program, wires, out);
}

/* *out_prologue: instructions of the first program. */
static int translate_reduce(const rl_program *prologue, const rl_program *epilogue, code *out, int *out_prologue) {
    wiring first = {.output = EXCHANGED, .pseudo = prologue->n_inputs + epilogue->n_outputs};
    wiring second = {.input = EXCHANGED, .output = prologue->n_inputs};
    int fits = translate(prologue, first, out);
    *out_prologue = out->n;
    return fits && translate(epilogue, second, out);
}

int rl_interpreter_takes(const rl_program *program) {
    code translated = {.n = 0};
    return translate_map(program, &translated);
}

int rl_interpreter_takes_reduce(const rl_program *prologue, const rl_program *epilogue) {
    code translated = {.n = 0};
    int n;
    return translate_reduce(prologue, epilogue, &translated, &n);
}

/* Source: the cases of the kernel's switch ----------------------------------------------------------------------------
 */

static const char *const member[] = {[RL_REG_F32] = "f", [RL_REG_F64] = "d", [RL_REG_I32] = "i", [RL_REG_I64] = "l"};

/* "case <code, type>: r[to].f = rl_i_NAME(r[a].f, ...); break;" */
static void write_case(rl_text_buffer *out, unsigned number, const char *name, int operands, rl_reg type) {
    rl_insn insn = {.code = (uint8_t)number, .type = (uint8_t)type};
    rl_text_put(out, "case %u:\nr[to].%s = rl_i_%s(", number * 4 + (unsigned)type, member[rl_interp_result(&insn)],
                name);
    for (int o = 0; o < operands; o++)
        rl_text_put(out, "%sr[%c].%s", o ? ", " : "", "abc"[o],
                    number == RL_INSN_SELECT && o == 0 ? "i" : member[type]);
    rl_text_put_all(out, ");\nbreak;\n");
}

static void write_cases(rl_text_buffer *out, int f64) {
#define CASES(NAME, number, operands, types, text) {number, operands, #types, #NAME},
    static const struct {
        unsigned number;
        int operands;
        char types[2];
        char name[12];
    } insns[] = {RL_INSN_LIST(CASES)};
#undef CASES
    for (unsigned i = 0; i < sizeof insns / sizeof *insns; i++) {
        unsigned number = insns[i].number;
        if (number < RL_INSN_ADD)
            continue;
        for (int type = RL_REG_F32; type <= RL_REG_I64; type++) {
            int is_float = type == RL_REG_F32 || type == RL_REG_F64;
            if ((type == RL_REG_F64 && !f64) || (*insns[i].types == 'F' && !is_float) ||
                (*insns[i].types == 'I' && is_float))
                continue;
            write_case(out, number, insns[i].name, insns[i].operands, (rl_reg)type);
        }
    }
}

/* Loads, stores and casts, by dtype and register. */
static void write_memory(rl_text_buffer *out, int f64) {
    for (uint32_t dtype = 1; dtype < RL_DTYPE_COUNT; dtype++) {
        const char *name = rl_source_dtype(dtype), *in = member[rl_interp_dtype_reg(dtype)];
        if (dtype == RL_F64 && !f64)
            continue;
        rl_text_put(out,
                    "#define RL_LOADS_%s case %u: r[to].%s = "
                    "rl_in_%s(((const RL_GLOBAL rl_T_%s *)base)[place]); break;\n",
                    name, (unsigned)dtype, in, name, name);
        for (int type = RL_REG_F32; type <= RL_REG_I64; type++) {
            if (type == RL_REG_F64 && !f64)
                continue;
            rl_text_put(
                out,
                "#define RL_STORES_%s_%d case %u: ((RL_GLOBAL rl_T_%s *)base)[place] = rl_out_%s(r[a].%s); break;\n",
                name, type, (unsigned)dtype * 4 + (unsigned)type, name, name, member[type]);
            rl_text_put(out, "#define RL_CASTS_%s_%d case %u: r[to].%s = rl_in_%s(rl_out_%s(r[a].%s)); break;\n", name,
                        type, (unsigned)dtype * 4 + (unsigned)type, in, name, name, member[type]);
        }
    }
    for (const char *const *kind = (const char *const[]){"LOADS", "STORES", "CASTS", NULL}; *kind; kind++) {
        rl_text_put(out, "#define RL_%s", *kind);
        for (uint32_t dtype = 1; dtype < RL_DTYPE_COUNT; dtype++)
            for (int type = RL_REG_F32; type <= (**kind == 'L' ? RL_REG_F32 : RL_REG_I64); type++)
                if (f64 || (dtype != RL_F64 && type != RL_REG_F64))
                    rl_text_put(out, **kind == 'L' ? " RL_%s_%s" : " RL_%s_%s_%d", *kind, rl_source_dtype(dtype), type);
        rl_text_put_all(out, "\n");
    }
}

/* "case <combiner, type>: acc.value.f = rl_i_ADD(v.value.f, acc.value.f); break;" */
static void write_combines(rl_text_buffer *out, int f64) {
    static const char *const insn[] = {
        [RL_COMBINE_SUM] = "ADD", [RL_COMBINE_PROD] = "MUL", [RL_COMBINE_MAX] = "MAX", [RL_COMBINE_MIN] = "MIN"};
    rl_text_put(out, "#define RL_COMBINES");
    for (unsigned combiner = RL_COMBINE_SUM; combiner <= RL_COMBINE_ARGMIN; combiner++)
        for (unsigned type = RL_REG_F32; type <= RL_REG_I64; type++) {
            const char *in = member[type];
            if (type == RL_REG_F64 && !f64)
                continue;
            rl_text_put(out, " case %u: ", combiner * 4 + type);
            if (combiner < RL_COMBINE_ARGMAX)
                rl_text_put(out, "acc.value.%s = rl_i_%s(v.value.%s, acc.value.%s); break;", in, insn[combiner], in,
                            in);
            else
                rl_text_put(out, "RL_PREFER(%s, %s) break;", in, combiner == RL_COMBINE_ARGMAX ? ">" : "<");
        }
    rl_text_put(out, "\n#define RL_FIRST_ARG %d\n#define RL_BLOCK %d\n#define RL_MAX_COMBINED %d\n", RL_COMBINE_ARGMAX,
                RL_GENERATE_BLOCK, RL_MAX_COMBINED);
    rl_text_put(out, "#define RL_NO_NUMBER %s\n", RL_GENERATE_NO_NUMBER);
}

static void write_interpreter(rl_text_buffer *out, const rl_accel *accel, const rl_accel_spec *spec) {
    int f64 = accel->traits.f64 != 0;
    write_memory(out, f64);
    if (spec->word[WORD_REDUCE])
        write_combines(out, f64);
    rl_text_put_all(out, "#define RL_CASES(r, to, a, b, c) \\\n");
    rl_text_buffer cases = {0};
    write_cases(&cases, f64);
    for (char *at = cases.text; at && *at; at++)
        if (*at == '\n')
            *at = ' ';
    rl_text_put_all(out, cases.text ? cases.text : "");
    rl_text_put_all(out, "\n");
    out->failed |= cases.failed;
    rl_text_free(&cases);
}

static const rl_accel_family family = {.name = "interpreter",
                                       .text = rl_device_interpreter,
                                       .words = "REDUCE",
                                       .write = write_interpreter,
                                       .random = 1,
                                       .f64 = 1};

/* Launch ------------------------------------------------------------------------------------------------------------
 */

/* The last dimensions of the launch. */
static void put_layout(const rl_layout *layout, rl_interpreter_params *params) {
    for (int d = 0; d < layout->dims; d++) {
        params->shape[params->dims + d] = layout->shape[d];
        for (int k = 0; k < layout->n; k++)
            params->operand[k].stride[params->dims + d] = layout->stride[k][d];
    }
    params->dims += layout->dims;
}

static void put_operand(rl_backend_stream *stream, const rl_operand *operand, uint32_t dtype, int number, int pointer,
                        rl_interpreter_params *params, rl_accel_arg *args) {
    args[pointer] = rl_accel_buffer_of(stream, operand);
    params->operand[number].offset = rl_accel_offset(operand, dtype);
}

/* Inputs of one program and outputs of the same or another. */
static void put_operands(rl_backend_stream *stream, const rl_program *inputs, const rl_operand *input,
                         const rl_program *outputs, const rl_operand *output, rl_interpreter_params *params,
                         rl_accel_arg *args) {
    for (int k = 0; k < POINTERS; k++)
        args[k] = (rl_accel_arg){.buffer = rl_accel_of(stream)->driver->flags(stream, NULL)};
    for (int k = 0; k < inputs->n_inputs; k++)
        put_operand(stream, &input[k], inputs->input_dtype[k], k, k, params, args);
    for (int k = 0; k < outputs->n_outputs; k++)
        put_operand(stream, &output[k], outputs->output_dtype[k], inputs->n_inputs + k, RL_MAX_INPUTS + k, params,
                    args);
}

static rl_status send(rl_backend_stream *stream, const char *row, int reduce, const code *translated, int n_operands,
                      rl_interpreter_params *params, rl_accel_arg *args, uint64_t groups) {
    rl_accel_spec spec = {.family = &family, .word = {[WORD_REDUCE] = reduce}};
    rl_accel_kernel *kernel;
    memcpy(params->insn, translated->insn, sizeof params->insn);
    rl_status status = rl_accel_find(rl_accel_of(stream), row, &spec, &kernel);
    if (status)
        return status;
    uint64_t bytes = sizeof *params - (size_t)(RL_INTERPRETER_OPERANDS - n_operands) * sizeof *params->operand;
    return rl_accel_send(stream, row, kernel, args, POINTERS, (const int64_t *)(const void *)params, bytes, 1, groups);
}

rl_status rl_interpreter_map(rl_backend_stream *stream, const rl_program *program, const rl_map_job *job) {
    rl_interpreter_params params = {0};
    rl_accel_arg args[POINTERS + 2];
    rl_layout layout;
    code translated = {.n = 0};
    translate_map(program, &translated);
    rl_generate_map_layout(&layout, program, job);
    put_layout(&layout, &params);
    put_operands(stream, program, job->inputs, program, job->outputs, &params, args);
    rl_source_slots(program, job->scalars, params.slot);
    params.items = rl_layout_total(&layout);
    params.n_insns = translated.n;
    return send(stream, "map", 0, &translated, layout.n, &params, args,
                rl_accel_groups(rl_accel_of(stream), (uint64_t)params.items, 8 * (uint64_t)translated.n));
}

rl_status rl_interpreter_reduce(rl_backend_stream *stream, const rl_reduce_args *how, const rl_layout *kept,
                                const rl_layout *reduced, int number) {
    const rl_accel *self = rl_accel_of(stream);
    const rl_program *prologue = how->prologue, *epilogue = how->epilogue;
    rl_interpreter_params params = {0};
    rl_accel_arg args[POINTERS + 2];
    code translated = {.n = 0};
    int n_prologue = 0;
    translate_reduce(prologue, epilogue, &translated, &n_prologue);
    put_layout(kept, &params);
    put_layout(reduced, &params);
    put_operands(stream, prologue, how->inputs, epilogue, how->outputs, &params, args);
    rl_source_slots(epilogue, how->epilogue_scalars,
                    params.slot + rl_source_slots(prologue, how->scalars, params.slot));
    params.items = rl_layout_total(kept);
    params.n_insns = n_prologue;
    params.n_end = translated.n;
    params.reduced_dims = reduced->dims;
    params.inner = reduced->dims ? reduced->shape[reduced->dims - 1] : 1;
    params.rows = params.inner ? rl_layout_total(reduced) / params.inner : 0;
    params.number = number;
    params.combined = prologue->n_outputs;
    for (int k = 0; k < prologue->n_outputs; k++) {
        rl_reg reg = rl_interp_dtype_reg(prologue->output_dtype[k]);
        params.combiner[k] = how->combiner[k] * 4 + (int64_t)reg;
        params.identity[k] = rl_generate_identity(how->combiner[k], reg);
    }
    /* A group an item, as reduce.c has it. */
    return send(stream, "reduce", 1, &translated, kept->n, &params, args,
                rl_accel_groups(self, (uint64_t)params.items * self->traits.group,
                                8 * (uint64_t)(params.rows * params.inner * translated.n)));
}
