/* SPDX-License-Identifier: Apache-2.0 */
/* map: every instruction, dtype, shape and layout; random numbers to the bit. */
#include <string.h>

#include "conformance.h"

#define SAME_VALUE 1e-30 /* equal numbers, of whatever sign a zero has */

typedef struct map_context {
    const rl_program *program;
    int inputs[RL_MAX_INPUTS], outputs[RL_MAX_OUTPUTS];
    rl_number scalars[RL_MAX_SCALARS];
    int64_t ndim, shape[RL_MAX_DIMS];
} map_context;

static rl_status issue_map(test_case *self, const rl_backend *api, rl_backend_stream *stream, bool on_ref,
                           void *context) {
    const map_context *c = context;
    rl_operand inputs[RL_MAX_INPUTS], outputs[RL_MAX_OUTPUTS];
    rl_map_job job = {.ndim = c->ndim, .inputs = inputs, .outputs = outputs, .scalars = c->scalars};
    rl_map_args args = {.size = sizeof args, .n_jobs = 1, .program = c->program, .jobs = &job};
    memcpy(job.shape, c->shape, sizeof job.shape);
    for (int i = 0; i < c->program->n_inputs; i++)
        inputs[i] = case_operand(self, c->inputs[i], on_ref);
    for (int i = 0; i < c->program->n_outputs; i++)
        outputs[i] = case_operand(self, c->outputs[i], on_ref);
    return api->map(stream, &args);
}

static map_context on_shape(const rl_program *program, const shape_case *shape) {
    map_context c = {.program = program, .ndim = shape->ndim};
    memcpy(c.shape, shape->shape, sizeof c.shape);
    return c;
}

/* Storage: every dtype, shape and pair of layouts, unchanged. */
static void check_storage(suite *self, rl_dtype dtype) {
    for (int s = 0; s < n_shape_cases; s++)
        for (int layout = 0; layout < LAYOUT_COUNT * (LAYOUT_COUNT + 1); layout++) {
            int in = layout % (LAYOUT_COUNT + 1), out = layout / (LAYOUT_COUNT + 1);
            test_case t;
            map_context c = on_shape(copy_program(self, dtype, dtype), &shape_cases[s]);
            in = in == LAYOUT_COUNT ? LAYOUT_BROADCAST : in;
            case_begin(&t, self, "copy %s, shape %d, layouts %d, %d", dtype_text(dtype), s, in, out);
            c.inputs[0] = case_input(&t, dtype, c.ndim, c.shape, in, CONTENT_ANY, 0);
            c.outputs[0] = case_output(&t, dtype, c.ndim, c.shape, out, 0.0, 0.0);
            case_run(&t, issue_map, &c);
            case_end(&t);
        }
}

static void check_casts(suite *self, rl_dtype from) {
    for (const rl_dtype *to = suite_dtypes(self); *to; to++) {
        bool narrows = dtype_floating(from) && !dtype_floating(*to);
        test_case t;
        map_context c = on_shape(copy_program(self, from, *to), &(shape_case){2, {23, 41}});
        case_begin(&t, self, "cast %s to %s", dtype_text(from), dtype_text(*to));
        c.inputs[0] = case_input(
            &t, from, c.ndim, c.shape, LAYOUT_PLAIN,
            narrows && *to != RL_BOOL ? (*to == RL_U8 ? CONTENT_POSITIVE : CONTENT_ANY) : CONTENT_SPECIAL, 0);
        c.outputs[0] = case_output(&t, *to, c.ndim, c.shape, LAYOUT_PLAIN, 0.0, 0.0);
        case_run(&t, issue_map, &c);
        case_end(&t);
    }
}

/* NaN stays NaN, and true, whichever of its bits are set: those that are cut off may be all that there are. */
static void check_nan_casts(suite *self, rl_dtype from) {
    for (const rl_dtype *to = suite_dtypes(self); *to; to++) {
        test_case t;
        map_context c = on_shape(copy_program(self, from, *to), &(shape_case){2, {13, 41}});
        if (!dtype_floating(from) || (!dtype_floating(*to) && *to != RL_BOOL))
            continue; /* to an integer it is anything */
        case_begin(&t, self, "cast NaN of %s to %s", dtype_text(from), dtype_text(*to));
        c.inputs[0] = case_input(&t, from, c.ndim, c.shape, LAYOUT_PLAIN, CONTENT_NAN, 0);
        c.outputs[0] = case_inout(&t, *to, c.ndim, c.shape, LAYOUT_PLAIN, CONTENT_ANY, 0.0, 0.0);
        case_run(&t, issue_map, &c);
        case_end(&t);
    }
}

/* What goes into an instruction, and how near its result must be. */
static int content_of(rl_insn_code code) {
    switch (code) {
    case RL_INSN_SIN:
    case RL_INSN_COS:
    case RL_INSN_TAN:
    case RL_INSN_SHL:
    case RL_INSN_SHR:
        return CONTENT_ANY;
    default:
        return CONTENT_SPECIAL;
    }
}

static void check_insn(suite *self, const char *name, rl_insn_code code, int operands, rl_dtype dtype, int layout,
                       const shape_case *shape) {
    test_case t;
    program_maker maker;
    int v[3] = {0}, type = (int)dtype_register(dtype);
    bool compares = code >= RL_INSN_EQ && code <= RL_INSN_GE, exact = code < RL_INSN_EXP || code == RL_INSN_FMOD;
    bool to_the_bit = code == RL_INSN_MIN || code == RL_INSN_MAX; /* b of 0 and -0 */
    make_begin(&maker);
    for (int i = 0; i < operands; i++)
        v[i] = make_input(&maker, code == RL_INSN_SELECT && i == 0 ? RL_BOOL : dtype);
    make_output(&maker, compares ? RL_BOOL : dtype, make_insn(&maker, code, type, 0, v[0], v[1], v[2], 0));
    map_context c = on_shape(make_end(&maker, self), shape);
    case_begin(&t, self, "%s %s, layout %d", name, dtype_text(dtype), layout);
    for (int i = 0; i < operands; i++)
        c.inputs[i] = case_input(&t, (rl_dtype)maker.program.input_dtype[i], c.ndim, c.shape,
                                 i == 1 && layout == LAYOUT_PLAIN ? LAYOUT_BROADCAST : layout, content_of(code), 0);
    c.outputs[0] = case_output(&t, compares ? RL_BOOL : dtype, c.ndim, c.shape, layout,
                               to_the_bit ? 0.0
                               : exact    ? SAME_VALUE
                                          : 4 * dtype_rtol(dtype),
                               exact ? 0.0 : 2e-38);
    case_run(&t, issue_map, &c);
    case_end(&t);
}

static bool insn_takes(char types, rl_dtype dtype) {
    return types == 'A' || (types == 'F') == dtype_floating(dtype);
}

static void check_insns(suite *self, rl_dtype dtype) {
    static const struct {
        const char *name;
        int code, operands;
        char types;
    } insns[] = {
#define ROW(NAME, number, operands, types, text) {#NAME, number, operands, (#types)[0]},
        RL_INSN_LIST(ROW)
#undef ROW
    };
    for (size_t i = 0; i < sizeof insns / sizeof *insns; i++) {
        bool taken = insns[i].code < RL_INSN_BASE_END || (self->api->insn_mask >> insns[i].code & 1);
        if (insns[i].operands == 0 || insns[i].code == RL_INSN_CAST || insns[i].code == RL_INSN_BITCAST || !taken ||
            !insn_takes(insns[i].types, dtype))
            continue;
        const char *name = insns[i].name;
        rl_insn_code code = (rl_insn_code)insns[i].code;
        check_insn(self, name, code, insns[i].operands, dtype, LAYOUT_PLAIN, &(shape_case){2, {50, 61}});
        check_insn(self, name, code, insns[i].operands, dtype, LAYOUT_REVERSED, &(shape_case){2, {19, 7}});
        check_insn(self, name, code, insns[i].operands, dtype, LAYOUT_GAPPED, &(shape_case){0, {0}});
    }
}

/* A bit pattern through BITCAST and back; an index and a scalar; an output that is its input. */
static void check_bitcast(suite *self, rl_dtype dtype) {
    test_case t;
    program_maker maker;
    bool wide = dtype == RL_F64;
    make_begin(&maker);
    int x = make_input(&maker, dtype);
    int bits = make_insn(&maker, RL_INSN_BITCAST, wide ? RL_REG_I64 : RL_REG_I32, 0, x, 0, 0, 0);
    make_output(&maker, wide ? RL_I64 : RL_I32, bits);
    make_output(&maker, dtype, make_insn(&maker, RL_INSN_BITCAST, wide ? RL_REG_F64 : RL_REG_F32, 0, bits, 0, 0, 0));
    map_context c = on_shape(make_end(&maker, self), &(shape_case){1, {123}});
    case_begin(&t, self, "BITCAST %s", dtype_text(dtype));
    c.inputs[0] = case_input(&t, dtype, 1, c.shape, LAYOUT_PLAIN, CONTENT_SPECIAL, 0);
    c.outputs[0] = case_output(&t, wide ? RL_I64 : RL_I32, 1, c.shape, LAYOUT_PLAIN, 0.0, 0.0);
    c.outputs[1] = case_output(&t, dtype, 1, c.shape, LAYOUT_PLAIN, 0.0, 0.0);
    case_run(&t, issue_map, &c);
    case_end(&t);
}

static void check_index_scalar(suite *self, int s) {
    test_case t;
    program_maker maker;
    make_begin(&maker);
    int sum = make_scalar(&maker, RL_REG_I64);
    for (int d = 0; d < shape_cases[s].ndim; d++) {
        int index = make_insn(&maker, RL_INSN_INDEX, RL_REG_I64, 0, 0, 0, 0, d);
        sum = make_insn(&maker, RL_INSN_MUL, RL_REG_I64, 0, sum, sum, 0, 0);
        sum = make_insn(&maker, RL_INSN_ADD, RL_REG_I64, 0, sum, index, 0, 0);
    }
    make_output(&maker, RL_I64, sum);
    map_context c = on_shape(make_end(&maker, self), &shape_cases[s]);
    c.scalars[0].i = 3;
    for (int layout = 0; layout < LAYOUT_COUNT; layout++) {
        case_begin(&t, self, "INDEX and SCALAR, shape %d, layout %d", s, layout);
        c.outputs[0] = case_output(&t, RL_I64, c.ndim, c.shape, layout, 0.0, 0.0);
        case_run(&t, issue_map, &c);
        case_end(&t);
    }
}

static void check_in_place(suite *self) {
    test_case t;
    program_maker maker;
    make_begin(&maker);
    int x = make_input(&maker, RL_F32), s = make_scalar(&maker, RL_REG_F32);
    make_output(&maker, RL_F32, make_insn(&maker, RL_INSN_MUL, RL_REG_F32, 0, x, s, 0, 0));
    map_context c = on_shape(make_end(&maker, self), &(shape_case){2, {37, 53}});
    c.scalars[0].f = 1.5;
    for (int layout = 0; layout < LAYOUT_COUNT; layout++) {
        case_begin(&t, self, "an output that is its input, layout %d", layout);
        c.inputs[0] = c.outputs[0] = case_inout(&t, RL_F32, c.ndim, c.shape, layout, CONTENT_ANY, 0.0, 0.0);
        case_run(&t, issue_map, &c);
        case_end(&t);
    }
}

/* The most of everything: 16 inputs, 8 outputs, a long line of instructions. */
static void check_largest(suite *self) {
    test_case t;
    program_maker maker;
    int values[RL_MAX_INPUTS], sum;
    make_begin(&maker);
    for (int i = 0; i < RL_MAX_INPUTS; i++)
        values[i] = make_input(&maker, RL_I32);
    sum = values[0];
    while (maker.program.n_insns < RL_MAX_INSNS)
        sum = make_insn(&maker, maker.program.n_insns % 2 ? RL_INSN_ADD : RL_INSN_XOR, RL_REG_I32, 0, sum,
                        values[maker.program.n_insns % RL_MAX_INPUTS], 0, 0);
    for (int i = 0; i < RL_MAX_OUTPUTS; i++)
        make_output(&maker, RL_I32, sum - 2 * i);
    map_context c = on_shape(make_end(&maker, self), &(shape_case){2, {31, 33}});
    case_begin(&t, self, "16 inputs, 8 outputs, 255 instructions");
    for (int i = 0; i < RL_MAX_INPUTS; i++)
        c.inputs[i] = case_input(&t, RL_I32, c.ndim, c.shape, i % 2 ? LAYOUT_PLAIN : LAYOUT_BROADCAST, CONTENT_ANY, 0);
    for (int i = 0; i < RL_MAX_OUTPUTS; i++)
        c.outputs[i] = case_output(&t, RL_I32, c.ndim, c.shape, i % LAYOUT_COUNT, 0.0, 0.0);
    case_run(&t, issue_map, &c);
    case_end(&t);
}

/* Several jobs of different shapes in one call. */
static rl_status issue_jobs(test_case *self, const rl_backend *api, rl_backend_stream *stream, bool on_ref,
                            void *context) {
    const rl_program *program = context;
    rl_operand operands[2 * 14];
    rl_map_job jobs[14];
    rl_map_args args = {.size = sizeof args, .n_jobs = (uint32_t)self->count / 2, .program = program, .jobs = jobs};
    for (int j = 0; j < self->count / 2; j++) {
        operands[2 * j] = case_operand(self, 2 * j, on_ref);
        operands[2 * j + 1] = case_operand(self, 2 * j + 1, on_ref);
        jobs[j] =
            (rl_map_job){.ndim = self->fields[2 * j].ndim, .inputs = &operands[2 * j], .outputs = &operands[2 * j + 1]};
        memcpy(jobs[j].shape, self->fields[2 * j].shape, sizeof jobs[j].shape);
    }
    return api->map(stream, &args);
}

static void check_jobs(suite *self) {
    test_case t;
    case_begin(&t, self, "12 jobs in one call");
    for (int s = 0; s < 12; s++) {
        case_input(&t, RL_F32, shape_cases[s].ndim, shape_cases[s].shape, s % LAYOUT_COUNT, CONTENT_ANY, 0);
        case_output(&t, RL_F16, shape_cases[s].ndim, shape_cases[s].shape, (s + 1) % LAYOUT_COUNT, 0.0, 0.0);
    }
    case_run(&t, issue_jobs, (void *)copy_program(self, RL_F32, RL_F16));
    case_end(&t);
}

void check_map(suite *self) {
    self->section = SECTION_MAP;
    for (const rl_dtype *dtype = suite_dtypes(self); *dtype; dtype++) {
        self->dtype = *dtype;
        check_storage(self, *dtype);
        check_casts(self, *dtype);
        check_nan_casts(self, *dtype);
        check_insns(self, *dtype);
        if (*dtype == RL_F32 || *dtype == RL_F64)
            check_bitcast(self, *dtype);
    }
    self->dtype = RL_DTYPE_NONE;
    for (int s = 0; s < n_shape_cases; s++)
        check_index_scalar(self, s);
    check_in_place(self);
    check_largest(self);
    check_jobs(self);
}

void check_random(suite *self) {
    static const struct {
        const char *name;
        rl_insn_code code;
        rl_dtype dtype;
    } kinds[] = {{"PHILOX", RL_INSN_PHILOX, RL_I32},
                 {"UNIFORM", RL_INSN_UNIFORM, RL_F32},
                 {"NORMAL", RL_INSN_NORMAL, RL_F32},
                 {"UNIFORM", RL_INSN_UNIFORM, RL_F64},
                 {"NORMAL", RL_INSN_NORMAL, RL_F64}};
    self->section = SECTION_RANDOM;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        if (kinds[k].dtype == RL_F64 && !self->f64)
            continue;
        self->dtype = kinds[k].dtype;
        program_maker maker;
        make_begin(&maker);
        maker.program.n_scalars = 2;
        make_output(&maker, kinds[k].dtype,
                    make_insn(&maker, kinds[k].code, (int)dtype_register(kinds[k].dtype), 0, 0, 0, 0, 0));
        const rl_program *program = make_end(&maker, self);
        for (int s = 0; s < n_shape_cases * LAYOUT_COUNT; s++) {
            test_case t;
            map_context c = on_shape(program, &shape_cases[s / LAYOUT_COUNT]);
            c.scalars[0].i = (int64_t)(UINT64_C(0x123456789abcdef0) * (uint64_t)(s + 1));
            c.scalars[1].i = s % 3 ? s * 1000 : INT64_C(0xffffffff) - 2; /* the counter carries */
            case_begin(&t, self, "%s, shape %d, layout %d", kinds[k].name, s / LAYOUT_COUNT, s % LAYOUT_COUNT);
            c.outputs[0] = case_output(&t, kinds[k].dtype, c.ndim, c.shape, s % LAYOUT_COUNT, 0.0, 0.0);
            case_run(&t, issue_map, &c);
            case_end(&t);
        }
    }
    self->dtype = RL_DTYPE_NONE;
}
