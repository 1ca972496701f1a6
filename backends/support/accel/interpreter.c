/* SPDX-License-Identifier: Apache-2.0 */
#include "interpreter.h"

#include <string.h>

#include "device/params.h"
#include "device_text.h"
#include "kernel.h"
#include "rl_interp.h"
#include "source.h"

#define REGISTERS 16
#define OPERANDS (RL_MAX_INPUTS + RL_MAX_OUTPUTS)

/* A program in the interpreter's form: values in REGISTERS registers, used again when their value is dead. */
typedef struct code {
    int64_t insn[RL_INTERPRETER_INSNS];
    int n;
} code;

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

static int translate(const rl_program *program, code *out) {
    int last[RL_MAX_INSNS + 1], slot = 0;
    uint8_t at[RL_MAX_INSNS + 1] = {0};
    uint32_t busy = 0;
    int holds[REGISTERS] = {0};
    out->n = 0;
    last_uses(program, last);
    for (int v = 0; v < program->n_insns; v++) {
        const rl_insn *insn = &program->insns[v];
        unsigned a = at[insn->a], b = at[insn->b], c = at[insn->c], to = 0;
        for (unsigned r = 0; r < REGISTERS; r++)
            if (busy >> r & 1u && last[holds[r]] < v)
                busy &= ~(1u << r);
        while (to < REGISTERS && busy >> to & 1u)
            to++;
        if (to == REGISTERS)
            return 0;
        busy |= 1u << to;
        holds[to] = v;
        at[v] = (uint8_t)to;
        switch (insn->code) {
        case RL_INSN_INPUT:
        case RL_INSN_INDEX:
            a = insn->imm;
            break;
        case RL_INSN_SCALAR:
            a = (unsigned)slot & 255u, b = (unsigned)slot >> 8;
            slot++;
            break;
        case RL_INSN_PHILOX:
        case RL_INSN_UNIFORM:
        case RL_INSN_NORMAL:
            a = (unsigned)slot & 255u, b = (unsigned)slot >> 8;
            slot += 2;
            break;
        default:
            break;
        }
        unsigned dtype = insn->code == RL_INSN_INPUT ? program->input_dtype[insn->imm] : insn->dtype;
        if (!add(out, pack(insn->code, insn->type, dtype, to, a, b, c)))
            return 0;
    }
    for (int k = 0; k < program->n_outputs; k++) {
        const rl_insn *insn = &program->insns[program->output_value[k]];
        if (!add(out, pack(RL_INTERPRETER_STORE, rl_interp_result(insn), program->output_dtype[k], 0,
                           at[program->output_value[k]], (unsigned)k, 0)))
            return 0;
    }
    return slot <= RL_INTERPRETER_SLOTS;
}

int rl_interpreter_takes(const rl_program *program) {
    code translated;
    return program->n_insns + program->n_outputs <= RL_INTERPRETER_INSNS && translate(program, &translated);
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

static void write_interpreter(rl_text_buffer *out, const rl_accel *accel, const rl_accel_spec *spec) {
    (void)spec;
    int f64 = accel->traits.f64 != 0;
    write_memory(out, f64);
    rl_text_put_all(out, "#define RL_CASES(r, to, a, b, c) \\\n");
    rl_text_buffer cases = {0};
    write_cases(&cases, f64);
    for (char *at = cases.text; at && *at; at++)
        if (*at == '\n')
            *at = ' ';
    rl_text_put_all(out, cases.text ? cases.text : "");
    rl_text_put_all(out, "\n");
    rl_text_put(out, "#define RL_REGISTERS %d\n", REGISTERS);
    out->failed |= cases.failed;
    rl_text_free(&cases);
}

static const rl_accel_family family = {
    .name = "interpreter", .text = rl_device_interpreter, .write = write_interpreter, .random = 1, .f64 = 1};

/* Launch ------------------------------------------------------------------------------------------------------------
 */

rl_status rl_interpreter_map(rl_backend_stream *stream, const rl_program *program, const rl_map_job *job) {
    rl_accel *self = rl_accel_of(stream);
    rl_interpreter_params params = {0};
    rl_accel_arg args[OPERANDS + 2];
    code translated;
    rl_accel_spec spec = {.family = &family};
    int64_t dims = job->ndim > 0 ? job->ndim : 1;
    translate(program, &translated);
    params.n_insns = translated.n;
    params.dims = dims;
    params.rows = 1;
    params.shape[0] = 1;
    for (int64_t d = 0; d < job->ndim; d++)
        params.shape[d] = job->shape[d];
    for (int64_t d = 0; d < dims - 1; d++)
        params.rows *= params.shape[d];
    params.inner = params.shape[dims - 1];
    for (int k = 0; k < OPERANDS; k++) {
        int is_in = k < RL_MAX_INPUTS, number = is_in ? k : k - RL_MAX_INPUTS;
        int used = number < (is_in ? program->n_inputs : program->n_outputs);
        args[k] = (rl_accel_arg){.buffer = self->driver->flags(stream, NULL)};
        if (!used)
            continue;
        const rl_operand *operand = is_in ? &job->inputs[number] : &job->outputs[number];
        uint32_t dtype = is_in ? program->input_dtype[number] : program->output_dtype[number];
        args[k] = rl_accel_buffer_of(stream, operand);
        params.offset[k] = rl_accel_offset(operand, dtype);
        for (int64_t d = 0; d < job->ndim; d++)
            params.stride[k][d] = operand->stride[d];
    }
    memcpy(params.insn, translated.insn, sizeof params.insn);
    rl_source_slots(program, job->scalars, params.slot);
    rl_backend_buffer *buffer;
    uint64_t at;
    rl_accel_kernel *kernel;
    rl_status status = rl_accel_find(self, "map", &spec, &kernel);
    if (!status)
        status = self->driver->upload(stream, &params, sizeof params, &buffer, &at);
    if (status)
        return status;
    args[OPERANDS] = (rl_accel_arg){.buffer = buffer};
    args[OPERANDS + 1] = RL_ACCEL_VALUE(at);
    uint64_t items = (uint64_t)(params.rows * params.inner);
    return self->driver->launch(stream, kernel, "map", args, OPERANDS + 2,
                                rl_accel_groups(self, items, 8 * (uint64_t)translated.n), self->traits.group);
}
